//! Runs that are taken back by what their journal recorded.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use lockgate::base::Kind;
use lockgate::cluster::{Cluster, Options, RunId};
use lockgate::lua::LuaHost;
use lockgate::run::journal::Past;
use lockgate::run::journal::book::OnDrift;
use lockgate::run::rollback::{Undoing, rollback};
use lockgate::run::{End, Job, Params, Record, Script as _, Voice, What, undo};

use lockgate_sim::json::json;
use lockgate_sim::request::Request as SimRequest;

use super::harness::{Scene, Yes, state};

const RUNBOOK: &str = r#"
runbook { title = "t", summary = "s", impact = "none" }
step "first" {
  title = "Several writes",
  run = function()
    set_image("deployment/web", { web = "registry.example/web:v2.0.0" })
    scale("deployment/web", 0, { wait = "gone" })
    scale("deployment/web", 3)
    label("deployment/web", { tier = "front" })
    label("deployment/web", { tier = "back" })
  end,
}
step "second" {
  title = "Made and changed",
  run = function()
    create { apiVersion = "v1", kind = "ConfigMap", metadata = { name = "made" }, data = { a = "b" } }
    patch("configmap/settings", { data = { mode = "slow", extra = "x" } })
    cordon("n1")
  end,
}
"#;

#[test]
fn a_run_is_taken_back_to_where_it_began() {
    let scene = Scene::new(RUNBOOK, include_str!("cluster.yaml"));
    let untouched = Cluster::beside(&scene.cluster(), Options::new(RunId::simulated(scene.sim.now(), 7)));
    let wanted = state(&untouched);
    let (ended, world) = scene.whole();
    assert_eq!(ended.summary.unwrap().end, End::Succeeded);
    assert_ne!(state(&ended.cluster), wanted);

    let runtime = Rc::new(tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap());
    let mut script = LuaHost::new(scene.source.clone(), Some(runtime.clone())).unwrap();
    let runbook = Rc::new(script.load().unwrap());
    let past = Past::of(world.disk.entries.borrow().iter().cloned());
    let steps = undo::of(&runbook, &past, None, &BTreeMap::new()).unwrap();
    let undone: Vec<&str> = steps.iter().map(|step| step.key.as_str()).collect();
    assert_eq!(undone, ["second", "first"], "newest first");
    let only = undo::of(&runbook, &past, Some("first"), &BTreeMap::new()).unwrap();
    assert_eq!(only.len(), 1);
    assert!(undo::of(&runbook, &past, Some("frist"), &BTreeMap::new()).unwrap_err().hint.as_deref().unwrap().contains("`first`"));

    let cluster = Cluster::beside(&ended.cluster.simulation().unwrap(), Options::new(RunId::simulated(scene.sim.now(), 2)));
    let records: Rc<RefCell<Vec<Record>>> = Rc::default();
    let job = Job {
        what: What::Run,
        cluster: cluster.clone(),
        runbook,
        params: Rc::new(Params::new()),
        voice: Voice::Person { operator: Rc::new(Yes), consented: Vec::new() },
        sink: records.clone(),
        record: None,
    };
    let undoing = Undoing { of: ended.cluster.run().to_string(), past, steps, on_drift: OnDrift::Stop, runtime };
    let summary = rollback(&mut script, job, &undoing);
    assert_eq!(summary.end, End::Succeeded, "{:?}", summary.error);
    let now = state(&cluster);
    let differs: Vec<&String> = now.iter().filter(|line| !wanted.contains(line)).collect();
    assert!(differs.is_empty(), "{differs:#?}");
    // What went 3 → 0 → 3 is not scaled again, and the label is taken away once.
    let to_web = format!("{records:?}").matches("deployment/web\", changes").count();
    assert_eq!(to_web, 2, "{records:#?}");
}

#[test]
fn what_somebody_changed_since_is_not_taken_back() {
    for (on_drift, wanted) in [(OnDrift::Stop, End::Failed), (OnDrift::Accept, End::Succeeded)] {
        let scene = Scene::new(RUNBOOK, include_str!("cluster.yaml"));
        let (ended, world) = scene.whole();
        let simulation = ended.cluster.simulation().unwrap();
        let change = json!({ "data": { "mode": "theirs" } });
        let path = "/api/v1/namespaces/default/configmaps/settings";
        simulation.with(|sim| drop(sim.handle(&SimRequest::patch(path, "application/merge-patch+json", &change))));
        let runtime = Rc::new(tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap());
        let mut script = LuaHost::new(scene.source.clone(), Some(runtime.clone())).unwrap();
        let runbook = Rc::new(script.load().unwrap());
        let past = Past::of(world.disk.entries.borrow().iter().cloned());
        let steps = undo::of(&runbook, &past, None, &BTreeMap::new()).unwrap();
        let cluster = Cluster::beside(&simulation, Options::new(RunId::simulated(scene.sim.now(), 2)));
        let before = cluster.simulation().unwrap().with(|sim| sim.ledger().len());
        let job = Job {
            what: What::Run,
            cluster: cluster.clone(),
            runbook,
            params: Rc::new(Params::new()),
            voice: Voice::Person { operator: Rc::new(Yes), consented: Vec::new() },
            sink: Rc::<RefCell<Vec<Record>>>::default(),
            record: None,
        };
        let undoing = Undoing { of: ended.cluster.run().to_string(), past, steps, on_drift, runtime };
        let summary = rollback(&mut script, job, &undoing);
        assert_eq!(summary.end, wanted, "{:?}", summary.error);
        if on_drift == OnDrift::Stop {
            let error = summary.error.unwrap();
            assert_eq!((error.kind, error.object.as_deref()), (Kind::Refused, Some("configmap/default/settings")), "{error:?}");
            assert!(error.causes.iter().any(|cause| cause.contains("slow -> theirs")), "{error:?}");
            let after = cluster.simulation().unwrap().with(|sim| sim.ledger().len());
            assert_eq!(after, before, "nothing was written");
        }
    }
}

#[test]
fn items_that_were_asked_of_the_cluster_are_taken_back_too() {
    // What `each` and `batch` read is in the record, at a place where nothing is written.
    let scene = Scene::new(
        r#"
runbook { title = "t", summary = "s", impact = "none" }
step "mark" {
  title = "Every node",
  each = function()
    local names = {}
    for _, node in list("nodes") do table.insert(names, node.metadata.name) end
    return names
  end,
  batch = function() return { serial = #list("nodes") } end,
  run = function(node) label("node/" .. node, { marked = "yes" }) end,
}
group "round" {
  title = "Every node again",
  each = function() return { list("nodes")[1].metadata.name } end,
  when = function() return #list("nodes") > 0 end,
  steps = {
    step "again" { title = "Again", run = function(node) annotate("node/" .. node, { again = "yes" }) end },
  },
}
"#,
        include_str!("cluster.yaml"),
    );
    let untouched = Cluster::beside(&scene.cluster(), Options::new(RunId::simulated(scene.sim.now(), 7)));
    let wanted = state(&untouched);
    let (ended, world) = scene.whole();
    assert_eq!(ended.summary.unwrap().end, End::Succeeded);
    assert_ne!(state(&ended.cluster), wanted);
    // Its name alone is not that of its first item, which would take the others back.
    let runbook = LuaHost::new(scene.source.clone(), None).unwrap().load().unwrap();
    let past = Past::of(world.disk.entries.borrow().iter().cloned());
    let error = undo::of(&runbook, &past, Some("mark"), &BTreeMap::new()).unwrap_err();
    assert!(error.hint.as_deref().unwrap().starts_with("it was done item by item, `mark/"), "{error:?}");
    let back = super::taken::take_back(
        &scene,
        &world.disk,
        &super::taken::way_back(&ended.cluster.simulation().unwrap()),
        super::harness::Kill::No,
    );
    assert_eq!(back.summary.unwrap().end, End::Succeeded);
    assert_eq!(state(&back.cluster), wanted);
}

#[test]
fn a_step_that_was_left_out_is_neither_taken_back_nor_asked() {
    let scene = Scene::new(
        r#"
runbook { title = "t", summary = "s", impact = "none" }
step "a" { title = "A", run = function() label("node/n1", { a = "1" }) end, verify = function() return true end }
step "b" {
  title = "B",
  when = function() return false, "not here" end,
  run = function() end,
  verify = function() error("nobody did b") end,
  rollback = function() error("nobody did b") end,
}
step "c" {
  title = "C",
  run = function() label("node/n1", { c = "1" }) end,
  rollback = function() label("node/n1", { c = false }) end,
}
"#,
        include_str!("cluster.yaml"),
    );
    let (ended, world) = scene.whole();
    assert_eq!(ended.summary.unwrap().end, End::Succeeded);
    let back = super::taken::take_back(
        &scene,
        &world.disk,
        &super::taken::way_back(&ended.cluster.simulation().unwrap()),
        super::harness::Kill::No,
    );
    let summary = back.summary.unwrap();
    assert_eq!(summary.end, End::Succeeded, "{:?}", summary.error);
}
