//! That the kills would see it: a host that does not look at what its journal says of open writes, and one that does not give recorded calls
//! again, must differ.

use lockgate::cli::test::kill::{self, lies};
use lockgate::cluster::keep::Prior;
use lockgate::run::End;
use lockgate::run::journal::book::OnDrift;
use lockgate::run::journal::{Entry, Fact};
use lockgate_sim::faults::{Act, Deed, Happening};
use lockgate_sim::model::Span as SimSpan;

use super::harness::{Kill, Scene, World, happens};
use super::kill::{Reference, finished, with_entries};
use super::kinds::{KindOfAct, Shape};

/// How many kills of a kind of act end in a difference, when the next process sees only this of the journal.
fn differences(name: &str, sees: fn(&[Entry]) -> Vec<Entry>) -> (usize, usize) {
    let scene = KindOfAct::named(name).scene(Shape::Small);
    let (reference, whole, moments) = Reference::watched(&scene);
    let (mut all, mut differ) = (0, 0);
    for (_, world) in whole.worlds(&moments) {
        let (wrong, _) = finished(&scene, &reference, &with_entries(&world, sees), false);
        all += 1;
        differ += usize::from(!wrong.is_empty());
    }
    (all, differ)
}

/// All but the writes of which nobody knows what became of them.
pub(super) fn without_open_writes(entries: &[Entry]) -> Vec<Entry> {
    let known: Vec<&str> = entries
        .iter()
        .filter_map(|entry| match &entry.fact {
            Fact::Outcome { op, .. } => Some(op.as_str()),
            _ => None,
        })
        .collect();
    let is_open = |entry: &&Entry| matches!(&entry.fact, Fact::Intent { intent, .. } if !known.contains(&intent.op.as_str()));
    entries.iter().filter(|entry| !is_open(entry)).cloned().collect()
}

/// All but what was called inside of steps, and what functions gave.
fn without_calls(entries: &[Entry]) -> Vec<Entry> {
    let is_call = |entry: &&Entry| {
        matches!(entry.fact, Fact::Call(_) | Fact::Enter { .. } | Fact::Left { .. } | Fact::Intent { .. } | Fact::Outcome { .. })
    };
    entries.iter().filter(|entry| !is_call(entry)).cloned().collect()
}

#[test]
fn without_a_look_at_open_writes_the_kills_differ() {
    let (all, differ) = differences("objects", without_open_writes);
    assert!(differ > 0 && differ < all, "{differ} of {all}");
    let (all, whole) = differences("objects", <[Entry]>::to_vec);
    assert_eq!(whole, 0, "{whole} of {all} differ with the whole journal");
}

#[test]
fn without_the_recorded_calls_the_kills_differ() {
    // It would read 0 replicas after its own scaling down, and leave them so.
    let (all, differ) = differences("scale", without_calls);
    assert!(differ > 0 && differ < all, "{differ} of {all}");
}

#[test]
fn a_cluster_that_somebody_changed_meanwhile_is_no_silent_success() {
    let scene = KindOfAct::named("metadata").scene(Shape::Small);
    let reference = Reference::of(&scene);
    let world = scene.world();
    assert!(scene.process(&world, Kill::After(reference.lines - 6), OnDrift::Stop).summary.is_none());
    let theirs = lockgate_sim::json::json!({ "metadata": { "labels": { "tier": "theirs" } } });
    let request = lockgate_sim::Request::patch("/api/v1/nodes/w1", "application/merge-patch+json", &theirs);
    world.simulation.with(|sim| drop(sim.handle(&request)));
    let ended = scene.process(&world, Kill::No, OnDrift::Stop);
    assert_eq!(ended.summary.unwrap().end, End::Failed);
}

/// What is said of the invariants after a whole run of this.
fn broken(scene: &Scene, world: &World) -> String {
    let summary = scene.process(world, Kill::No, OnDrift::Stop).summary.unwrap();
    assert_eq!(summary.end, End::Succeeded, "{:?}", summary.error);
    kill::broken(&scene.trace(world)).0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_run_without_the_lock_is_noticed() {
    let scene = Scene { locked: false, ..KindOfAct::named("metadata").scene(Shape::Small) };
    let said = broken(&scene, &scene.world());
    assert!(said.contains("I12") && said.contains("patch node/w1 without the lock"), "{said}");
}

#[test]
fn two_members_of_etcd_that_are_away_are_noticed() {
    let steps = r#"
step "wait" {
  title = "Wait",
  run = function()
    pcall(wait_for, "configmap/settings", function() return false end, { timeout = "3m", stall = "3m" })
    label("configmap/settings", { waited = "yes" })
  end,
}
"#;
    let scene = KindOfAct { steps, ..*KindOfAct::named("metadata") }.scene(Shape::HighlyAvailable);
    let away = |node: &str| {
        let entries = format!("nodes: [{{match: {node}, kubelet: stopped, why: a test}}]");
        let act = Act::Model(Box::new(serde_saphyr::from_str(&entries).unwrap()));
        Happening { at: SimSpan::ZERO, deed: Deed { delay: SimSpan::ZERO, act } }
    };
    let world = scene.world();
    happens(&world, Vec::new(), vec![away("m1")]);
    assert_eq!(broken(&scene, &world), "", "one of three may be away");
    let world = scene.world();
    happens(&world, Vec::new(), vec![away("m1"), away("m2")]);
    let said = broken(&scene, &world);
    assert!(said.contains("I2") && said.contains("1 of 3 members are there"), "{said}");
}

#[test]
fn a_report_that_leaves_a_write_out_is_noticed() {
    let scene = KindOfAct::named("objects").scene(Shape::Small);
    let (_, world) = scene.whole();
    assert_eq!(lies(&scene.trace(&world)), [""; 0]);
    // The first write is told of no more.
    let world = with_entries(&world, |entries| {
        let op = entries.iter().find_map(|entry| match &entry.fact {
            Fact::Intent { intent, .. } => Some(intent.op.clone()),
            _ => None,
        });
        let is_it = |entry: &&Entry| match &entry.fact {
            Fact::Intent { intent, .. } => Some(&intent.op) == op.as_ref(),
            Fact::Outcome { op: other, .. } => Some(other) == op.as_ref(),
            _ => false,
        };
        entries.iter().filter(|entry| !is_it(entry)).cloned().collect()
    });
    let said = lies(&scene.trace(&world)).join("\n");
    assert!(said.contains("it tells of 0 writes to configmap/default/made-") && said.contains("and there were 1"), "{said}");
}

/// Something is done with this kind of act, and what is said of it.
fn said_of(name: &str, steps: &'static str, deed: Option<Act>) -> String {
    let scene = KindOfAct { steps, ..*KindOfAct::named(name) }.scene(Shape::HighlyAvailable);
    let world = scene.world();
    let deeds = deed.map(|act| Happening { at: SimSpan::ZERO, deed: Deed { delay: SimSpan::ZERO, act } });
    happens(&world, Vec::new(), deeds.into_iter().collect());
    broken(&scene, &world)
}

#[test]
fn a_machine_that_is_upgraded_twice_is_noticed() {
    let once = "step \"run\" { title = \"Run\", run = function() machine.reboot(\"m1\") end }";
    assert_eq!(said_of("control_plane", once, None), "");
    let twice = "step \"run\" { title = \"Run\", run = function() machine.reboot(\"m1\") machine.reboot(\"m1\") end }";
    let said = said_of("control_plane", twice, None);
    assert!(said.contains("I9") && said.contains("m1 systemctl reboot"), "{said}");
}

#[test]
fn a_revision_of_a_release_that_is_left_out_is_noticed() {
    let steps = "step \"make\" { title = \"Make\", run = function()\n\
                 create { apiVersion = \"v1\", kind = \"Secret\", metadata = { name = \"sh.helm.release.v1.shop.v7\" }, data = object{} }\nend }";
    let said = said_of("objects", steps, None);
    assert!(said.contains("I9") && said.contains("secret/default/sh.helm.release.v1.shop.v7 is made after revision 0"), "{said}");
}

#[test]
fn a_kubelet_that_skips_a_version_is_noticed() {
    let steps = r#"step "label" { title = "Label", run = function() label("configmap/settings", { a = "1" }) end }"#;
    for (node, version, what) in [
        ("w1", "v1.38.0", "node/w1 goes from kubelet 1.36 to v1.38.0"),
        ("m1", "v1.34.9", "node/m1 goes from kubelet 1.36 to v1.34.9"),
        ("w1", "v1.37.0", "node/w1 gets kubelet v1.37.0 before node/m1 of the control plane"),
        ("m1", "v1.37.0", ""),
    ] {
        let change = lockgate_sim::json::json!({ "status": { "nodeInfo": { "kubeletVersion": version } } });
        let request = lockgate_sim::Request::patch(&format!("/api/v1/nodes/{node}/status"), "application/merge-patch+json", &change);
        let said = said_of("objects", steps, Some(Act::Late(Box::new(request))));
        let said: Vec<&str> = said.lines().filter(|line| line.starts_with("I7")).collect();
        assert!(said.iter().all(|line| line.contains(what)) && said.is_empty() == what.is_empty(), "{node} {version}: {said:?}");
    }
}

#[test]
fn a_node_that_is_upgraded_before_the_first_of_the_control_plane_is_noticed() {
    let steps = |first: &str, second: &str| -> String {
        let run = |what: &str| format!("  machine.run({what})\n");
        let packages = "  for _, node in { \"m1\", \"w1\" } do machine.packages(node, { kubeadm = \"1.19.16\" }) end\n";
        format!("step \"run\" {{ title = \"Run\", run = function()\n{packages}{}{}end }}", run(first), run(second))
    };
    let (apply, node) = (r#""m1", { "kubeadm", "upgrade", "apply", "v1.19.16", "-y" }"#, r#""w1", { "kubeadm", "upgrade", "node" }"#);
    assert_eq!(said_of("machines", steps(apply, node).leak(), None), "");
    let said = said_of("machines", steps(node, apply).leak(), None);
    assert!(said.contains("I7") && said.contains("`w1 kubeadm upgrade node` comes before any `kubeadm upgrade apply`"), "{said}");
}

/// A kind without generations is known by what it holds.
#[test]
fn a_write_over_what_somebody_else_wrote_is_noticed() {
    let steps = r#"step "mode" { title = "Mode", run = function() patch("configmap/settings", { data = { mode = "slow" } }) end }"#;
    let scene = KindOfAct { steps, ..*KindOfAct::named("objects") }.scene(Shape::Small);
    let (_, world) = scene.whole();
    assert_eq!(kill::broken(&scene.trace(&world)).0, []);
    // As if it had read what was not there any more.
    let world = with_entries(&world, |entries| {
        let mut entries = entries.to_vec();
        for entry in &mut entries {
            if let Fact::Intent { intent, .. } = &mut entry.fact
                && let Some(Prior::Was(prior)) = &mut intent.prior
            {
                let mut read = (**prior).clone();
                read["data"]["mode"] = "theirs".into();
                *prior = std::sync::Arc::new(read);
            }
        }
        entries
    });
    let said = kill::broken(&scene.trace(&world)).0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    assert!(said.contains("I11") && said.contains("it was not read as it was when it changed"), "{said}");
}
