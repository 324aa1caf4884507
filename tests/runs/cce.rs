//! The bundled CCE runbook, taken back: ipam first, then the agent, with the replicas that there were. The way back leads through the
//! port trap again, because ipam's default strategy is the same in both directions.

use std::rc::Rc;

use lockgate::base::Reason;
use lockgate::cli::test::kill::Deeds;
use lockgate::cluster::{Cluster, Options, RunId, Simulation};
use lockgate::run::event::{Event, StepEnd};
use lockgate::run::journal::Fact;
use lockgate::run::journal::book::OnDrift;
use lockgate::run::{End, Source};
use lockgate_sim::json::json;
use lockgate_sim::model::PodMatch;
use lockgate_sim::request::Request;

use super::harness::{Disk, Kill, Scene, World, state};
use super::taken::{take_back, way_back};

const TRAP: &str = include_str!("../../runbooks/cce-cni-v1-patch/cluster.yaml");
const RECREATE: &str = include_str!("../../runbooks/cce-cni-v1-patch/cluster-recreate.yaml");
const IPAM: &str = "/apis/apps/v1/namespaces/kube-system/deployments/cce-eni-ipam";

fn scene(fixture: &str) -> Scene {
    let given = vec!["image=registry.example/cce-plugin-pro/cce-cni:v1.8.4".to_owned()];
    Scene { source: Source::bundled("cce-cni-v1-patch").unwrap(), given, ..Scene::new("", fixture) }
}

/// The cluster after a run, and its journal.
fn upgraded(scene: &Scene) -> (Simulation, Rc<Disk>) {
    let (ended, world) = scene.whole();
    assert_eq!(ended.summary.unwrap().end, End::Succeeded);
    (world.simulation.clone(), world.disk.clone())
}

/// What a person would call the state of the cluster before the run.
fn untouched(scene: &Scene) -> Vec<String> {
    as_it_is(&Cluster::beside(&scene.cluster(), Options::new(RunId::simulated(scene.sim.now(), 7))))
}

/// The state without the number of templates that a DaemonSet has had, which grows on the way back too.
fn as_it_is(cluster: &Cluster) -> Vec<String> {
    let plain = |object: String| match object.split_once("\"deprecated.daemonset.template.generation\":\"") {
        Some((before, after)) => format!("{before}{}", after.trim_start_matches(|c: char| c.is_ascii_digit())),
        None => object,
    };
    state(cluster).into_iter().map(plain).collect()
}

/// What clients wrote since there were so many effects, in order.
fn writes(simulation: &Simulation, since: usize) -> Vec<String> {
    simulation.with(|sim| {
        let since = sim.ledger().iter().skip(since);
        since.map(|effect| effect.subject.clone()).filter(|subject| !subject.starts_with("lease/")).collect()
    })
}

fn count(simulation: &Simulation) -> usize {
    simulation.with(|sim| sim.ledger().len())
}

fn events(back: &World) -> Vec<Event> {
    let told = |fact: &Fact| match fact {
        Fact::Told { event, .. } => Some((**event).clone()),
        _ => None,
    };
    back.disk.entries.borrow().iter().filter_map(|entry| told(&entry.fact)).collect()
}

fn replicas(simulation: &Simulation) -> u64 {
    simulation.with(|sim| sim.handle(&Request::get(IPAM)).value().unwrap()["spec"]["replicas"].as_u64().unwrap())
}

const AGENT: &str = "daemonset/kube-system/cce-cni-node-agent";
const IPAMS: &str = "deployment/kube-system/cce-eni-ipam";

#[test]
fn the_way_back_meets_the_port_trap_again_and_recovers() {
    let scene = scene(TRAP);
    let wanted = untouched(&scene);
    let (simulation, of) = upgraded(&scene);
    let before = count(&simulation);
    let back = way_back(&simulation);
    let ended = take_back(&scene, &of, &back, Kill::No);
    let summary = ended.summary.unwrap();
    assert_eq!(summary.end, End::Succeeded, "{:?}", summary.error);
    // ipam's image, the trap (0 and back to the 2 that there were), then the agent in one request.
    assert_eq!(writes(&simulation, before), [IPAMS, IPAMS, IPAMS, AGENT]);
    let events = events(&back);
    let steps: Vec<(&str, &StepEnd)> = events
        .iter()
        .filter_map(|event| match event {
            Event::StepFinished { step, end, .. } => Some((step.id.as_str(), end)),
            _ => None,
        })
        .collect();
    assert_eq!(steps, [("ipam", &StepEnd::Done { recovered: true }), ("node-agent", &StepEnd::Done { recovered: false })]);
    let met = events.iter().any(|event| matches!(event, Event::Recovering { error, .. } if error.reason == Reason::HostPortConflict));
    assert!(met, "{events:#?}");
    assert_eq!(as_it_is(&ended.cluster), wanted, "as before the run");
}

#[test]
fn with_the_charts_strategy_two_writes_take_it_back() {
    let scene = scene(RECREATE);
    let (simulation, of) = upgraded(&scene);
    let before = count(&simulation);
    let ended = take_back(&scene, &of, &way_back(&simulation), Kill::No);
    assert_eq!(ended.summary.unwrap().end, End::Succeeded);
    assert_eq!(writes(&simulation, before), [IPAMS, AGENT]);
    assert_eq!(replicas(&simulation), 3);
}

#[test]
fn an_ipam_that_crashes_with_the_old_image_stops_the_way_back_and_is_not_scaled() {
    let scene = scene(RECREATE);
    let (simulation, of) = upgraded(&scene);
    let ipam = PodMatch { owner: Some("deployment/cce-eni-ipam".to_owned()), ..PodMatch::default() };
    simulation.with(|sim| sim.models_mut().crashes(ipam));
    let before = count(&simulation);
    let ended = take_back(&scene, &of, &way_back(&simulation), Kill::No);
    let summary = ended.summary.unwrap();
    assert_eq!((summary.end, summary.error.unwrap().reason), (End::Failed, Reason::CrashLoop));
    // Neither scaled to 0 nor gone on with the agent.
    assert_eq!(writes(&simulation, before), [IPAMS]);
    assert_eq!(replicas(&simulation), 3);
}

#[test]
fn replicas_that_somebody_changed_since_are_not_taken_back() {
    let scene = scene(TRAP);
    let (simulation, of) = upgraded(&scene);
    let change = Request::patch(IPAM, "application/merge-patch+json", &json!({ "spec": { "replicas": 1 } }));
    simulation.with(|sim| drop(sim.handle(&change)));
    let before = count(&simulation);
    let ended = take_back(&scene, &of, &way_back(&simulation), Kill::No);
    let error = ended.summary.unwrap().error.unwrap();
    assert_eq!(error.object.as_deref(), Some(IPAMS), "{error:?}");
    assert!(error.causes.iter().any(|cause| cause.contains("spec.replicas") && cause.contains("2 -> 1")), "{error:?}");
    assert_eq!(writes(&simulation, before), [""; 0]);
}

#[test]
fn a_rollback_is_killed_everywhere_and_goes_on() {
    let scene = scene(TRAP);
    let (done, of) = upgraded(&scene);
    let whole = way_back(&Simulation::new(done.fork()));
    whole.watch();
    let ended = take_back(&scene, &of, &whole, Kill::No);
    assert_eq!(ended.summary.as_ref().unwrap().end, End::Succeeded);
    let moments = whole.moments();
    let deeds = Deeds::of(&whole);
    let (made, wanted) = (deeds.effective(), state(&ended.cluster));
    let mut killed = 0;
    for (points, world) in whole.worlds(&moments) {
        let what = || moments[points[0].moment].told(&points[0]);
        let second = take_back(&scene, &of, &world, Kill::No);
        let summary = second.summary.unwrap_or_else(|| panic!("{}: {:?}", what(), second.refused));
        assert_eq!(summary.end, End::Succeeded, "{}: {:?}\n{:#?}", what(), summary.error, world.disk.entries.borrow());
        assert_eq!(Deeds::of(&world).effective(), made, "{}", what());
        assert_eq!(state(&second.cluster), wanted, "{}", what());
        killed += points.len();
    }
    assert!(killed > 80, "{killed}");
}

#[test]
fn a_run_that_stopped_half_way_is_taken_back_as_far_as_it_came() {
    // The agent is moved, ipam's new pod waits in the trap, and nobody consents to scaling it: killed there.
    let scene = scene(TRAP);
    let wanted = untouched(&scene);
    let (_, whole) = scene.whole();
    let asked = |fact: &Fact| matches!(fact, Fact::Told { event, .. } if matches!(**event, Event::Recovering { .. }));
    let line = whole.disk.entries.borrow().iter().position(|entry| asked(&entry.fact)).unwrap() + 1;
    let world = scene.world();
    let (simulation, of) = (world.simulation.clone(), world.disk.clone());
    assert!(scene.process(&world, Kill::After(line), OnDrift::Stop).summary.is_none());
    let before = count(&simulation);
    let back = way_back(&simulation);
    let ended = take_back(&scene, &of, &back, Kill::No);
    assert_eq!(ended.summary.as_ref().unwrap().end, End::Succeeded, "{:?}", ended.summary);
    // The old ipam pods never went away, so that nothing is in their way.
    assert_eq!(writes(&simulation, before), [IPAMS, AGENT]);
    assert_eq!(as_it_is(&ended.cluster), wanted);
}
