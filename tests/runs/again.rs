//! A step that somebody changed what it had written of, and that is done again from its beginning (`--drift again`): nothing of its first try
//! stays half-done in the record, and whoever is killed in the middle of the second try goes on with that.

use std::rc::Rc;

use jiff::SignedDuration;
use lockgate::cli::test::kill::{Wrote, lies};
use lockgate::run::journal::book::OnDrift;
use lockgate::run::journal::view::Became;
use lockgate::run::{End, Summary};
use lockgate_sim::faults::{Act, Deed, Happening, Write};
use lockgate_sim::json::json;
use lockgate_sim::model::Span as SimSpan;
use lockgate_sim::request::Method;

use super::harness::{Kill, SOMEBODY, Scene, World, happens, passes, state};

const STEPS: &str = r#"
runbook { title = "t", summary = "s", impact = "none" }
step "web" { title = "Web", run = function()
  scale("deployment/web", 2)
  patch("configmap/settings", { data = { mode = "slow" } })
  label("node/n1", { done = "yes" })
end }
step "rest" { title = "Rest", run = function() annotate("deployment/web", { rest = "yes" }) end }
"#;

fn scene() -> Scene {
    Scene::new(STEPS, include_str!("cluster.yaml"))
}

/// A run that dies while its second write is on its way, and somebody who takes its first one back.
fn interrupted(scene: &Scene) -> World {
    let world = scene.world();
    let kill = Kill::Wrote(Wrote(Rc::new(|intent| intent.object().starts_with("configmap/"))), None);
    assert!(scene.process(&world, kill, OnDrift::Stop).summary.is_none(), "it was not killed");
    let write = Write {
        by: SOMEBODY.to_owned(),
        verb: Method::Patch,
        path: "/apis/apps/v1/namespaces/default/deployments/web".to_owned(),
        body: json!({ "spec": { "replicas": 5 } }),
    };
    let second = SimSpan(SignedDuration::from_secs(1));
    happens(&world, Vec::new(), vec![Happening { at: second, deed: Deed { delay: SimSpan::ZERO, act: Act::Write(write) } }]);
    passes(&world, SimSpan(SignedDuration::from_secs(2)));
    world
}

/// What is wrong with a run that came to its end.
fn wrong(scene: &Scene, world: &World, summary: Option<Summary>, wanted: &[String]) -> Vec<String> {
    let Some(summary) = summary else { return vec!["it was not begun".to_owned()] };
    let mut wrong = Vec::new();
    if summary.end != End::Succeeded {
        wrong.push(format!("it ended as {:?}: {:?}", summary.end, summary.error));
    }
    let trace = scene.trace(world);
    wrong.extend(trace.story().unwrap().half_done().map(|write| format!("{} {} is half-done", write.verb, write.target)));
    wrong.extend(lies(&trace));
    let found = world.simulation.with(lockgate::cli::test::ended::held);
    wrong.extend(lockgate::cli::test::difference(wanted, &found));
    wrong
}

/// How the cluster ends when nobody disturbs the run.
fn undisturbed(scene: &Scene) -> Vec<String> {
    let (lived, _) = scene.whole();
    state(&lived.cluster)
}

#[test]
fn what_it_was_stopped_in_is_settled_first() {
    let scene = scene();
    let wanted = undisturbed(&scene);
    let world = interrupted(&scene);
    let stopped = scene.process(&world.fork(), Kill::No, OnDrift::Stop).summary.unwrap();
    assert!(stopped.error.is_some_and(|error| error.message.contains("`deployment/default/web` is not as this run left it")));
    let lived = scene.process(&world, Kill::No, OnDrift::Again);
    assert_eq!(wrong(&scene, &world, lived.summary, &wanted), [""; 0]);
    let story = scene.trace(&world).story().unwrap();
    let settings: Vec<Became> =
        story.writes.iter().filter(|write| write.target.starts_with("configmap/")).map(|write| write.became).collect();
    assert_eq!(settings, [Became::Made], "it was made the first time, and is left alone the second time");
}

#[test]
fn who_is_killed_while_it_is_done_again_goes_on_with_that() {
    let scene = scene();
    let wanted = undisturbed(&scene);
    let world = interrupted(&scene);
    world.watch();
    assert!(scene.process(&world, Kill::No, OnDrift::Again).summary.is_some());
    let moments = world.moments();
    let mut found = Vec::new();
    let worlds = world.worlds(&moments);
    assert!(worlds.len() > 40, "{}", worlds.len());
    for (points, left) in worlds {
        let lived = scene.process(&left, Kill::No, OnDrift::Again);
        let at = moments[points[0].moment].told(&points[0]);
        found.extend(wrong(&scene, &left, lived.summary, &wanted).into_iter().map(|what| format!("killed {at}: {what}")));
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}
