//! Runs under the lock of their cluster: one at a time, stopped when it is taken from them, given back when they are over.

use std::cell::RefCell;
use std::rc::Rc;

use lockgate::base::Kind;
use lockgate::cluster::{Cluster, Options, RunId, Simulation};
use lockgate::lua::LuaHost;
use lockgate::run::lock::{Begun, Errand, Worker, begin};
use lockgate::run::{End, Event, Given, Nobody, Operator, Record, Script as _, Sink, Source, Summary, Voice, params, run};
use lockgate_sim::Options as SimOptions;
use lockgate_sim::fixture::Fixture;
use lockgate_sim::json::{Value as Json, json};
use lockgate_sim::request::Request;

use super::harness::Yes;

const FIXTURE: &str = include_str!("cluster.yaml");
const LEASE: &str = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/lockgate";

const TWO_STEPS: &str = r#"
runbook { title = "t", summary = "s", impact = "none" }
step "one" { title = "One", run = function() annotate("deployment/web", { one = "1" }) end }
step "two" {
  title = "Two",
  run = function()
    pcall(annotate, "deployment/web", { two = "2" })
    pcall(annotate, "deployment/web", { three = "3" })
  end,
}
"#;

/// Does something to the cluster when the first step is over.
struct Between<F: FnMut()> {
    work: F,
    records: Vec<Record>,
}

impl<F: FnMut()> Sink for Between<F> {
    fn record(&mut self, record: &Record) {
        if matches!(&record.event, Event::StepFinished { step, .. } if step.id == "one") {
            (self.work)();
        }
        self.records.push(record.clone());
    }
}

fn simulation() -> Simulation {
    Simulation::new(Fixture::parse("cluster.yaml", FIXTURE).unwrap().cluster(SimOptions::default()).unwrap())
}

/// One process: a way to the cluster of its own.
struct Process {
    cluster: Cluster,
    runtime: Rc<tokio::runtime::Runtime>,
    id: RunId,
}

impl Process {
    fn new(simulation: &Simulation, seed: u64) -> Process {
        let id = RunId::simulated(simulation.now(), seed);
        let runtime = Rc::new(tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap());
        Process { cluster: Cluster::beside(simulation, Options::new(id)), runtime, id }
    }

    fn worker(&self) -> Worker {
        Worker {
            run: self.id.to_string(),
            host: "bastion".to_owned(),
            user: "ops".to_owned(),
            runbook: "tried".to_owned(),
            way: String::new(),
        }
    }

    fn begins(&self, errand: &Errand) -> lockgate::base::Result<Begun> {
        self.runtime.block_on(begin(&self.cluster, &self.worker(), errand))
    }

    fn runs(&self, text: &str, operator: Rc<dyn Operator>, between: impl FnMut() + 'static) -> Summary {
        let mut script = LuaHost::new(Source::of_text("tried", text), Some(self.runtime.clone())).unwrap();
        let runbook = Rc::new(script.load().unwrap());
        let given = Given::words(&[]).unwrap();
        let typed = Rc::new(params::resolve(&runbook, &given, &mut |pattern, text| script.matches(pattern, text)).unwrap());
        let sink = Rc::new(RefCell::new(Between { work: between, records: Vec::new() }));
        run(&mut script, &self.cluster, &runbook, &typed, Voice::Person { operator, consented: Vec::new() }, sink)
    }

    fn ends(&self, begun: Begun, summary: &Summary) -> bool {
        self.runtime.block_on(begun.end(summary)).unwrap()
    }
}

fn holder(simulation: &Simulation) -> Option<String> {
    simulation
        .with(|sim| sim.handle(&Request::get(LEASE)).value().and_then(|lease| lease["spec"]["holderIdentity"].as_str().map(str::to_owned)))
}

fn annotations(simulation: &Simulation) -> Json {
    let path = "/apis/apps/v1/namespaces/default/deployments/web";
    simulation.with(|sim| sim.handle(&Request::get(path)).value().unwrap()["metadata"]["annotations"].clone())
}

#[test]
fn a_run_that_succeeds_gives_the_lock_back() {
    let simulation = simulation();
    let process = Process::new(&simulation, 1);
    let begun = process.begins(&Errand::Begin).unwrap();
    assert_eq!(begun.warnings, [""; 0]);
    assert_eq!(holder(&simulation).unwrap(), format!("{}@bastion", process.id));
    let summary = process.runs(TWO_STEPS, Rc::new(Yes), || ());
    assert_eq!(summary.end, End::Succeeded, "{:?}", summary.error);
    assert!(!summary.requests.iter().any(|request| request.contains("lease")), "{:?}", summary.requests);
    assert!(process.ends(begun, &summary));
    assert_eq!(holder(&simulation), None);
}

#[test]
fn a_second_run_is_refused_with_who_has_it_and_how_it_is_freed() {
    let simulation = simulation();
    let (first, second) = (Process::new(&simulation, 1), Process::new(&simulation, 2));
    let _begun = first.begins(&Errand::Begin).unwrap();
    let error = second.begins(&Errand::Begin).unwrap_err();
    assert_eq!((error.kind, error.kind.exit_code()), (Kind::Refused, 5));
    assert_eq!(error.message, format!("the lock of `sandbox` is held by the run `{}`", first.id));
    assert!(error.hint.as_deref().unwrap().ends_with(&format!("`lockgate unlock {}`", first.id)), "{error:?}");
}

#[test]
fn a_lock_that_is_taken_away_stops_the_run_and_no_script_goes_on() {
    let simulation = simulation();
    let process = Process::new(&simulation, 1);
    let begun = process.begins(&Errand::Begin).unwrap();
    let meddled = simulation.clone();
    let summary = process.runs(TWO_STEPS, Rc::new(Yes), move || {
        meddled.with(|sim| {
            let mut lease = sim.handle(&Request::get(LEASE)).value().unwrap().clone();
            lease["spec"]["holderIdentity"] = "01J@laptop".into();
            assert_eq!(sim.handle(&Request::put(LEASE, &lease)).status, 200);
        });
    });
    assert_eq!((summary.end, summary.exit_code), (End::Interrupted, 4));
    let error = summary.error.clone().unwrap();
    assert!(error.message.contains("has lost its lock: the run `01J`, on `laptop`"), "{error}");
    let annotations = annotations(&simulation);
    assert_eq!((annotations.get("one").is_some(), annotations.get("two"), annotations.get("three")), (true, None, None));
    assert!(!process.ends(begun, &summary), "a stopped run gives nothing back");
    assert_eq!(holder(&simulation).as_deref(), Some("01J@laptop"));
}

#[test]
fn a_run_that_parks_keeps_it_and_the_same_run_goes_on_with_the_next_epoch() {
    let simulation = simulation();
    let process = Process::new(&simulation, 1);
    let begun = process.begins(&Errand::Begin).unwrap();
    let asks = r#"
runbook { title = "t", summary = "s", impact = "none" }
step "one" { title = "One", run = function() annotate("deployment/web", { one = "1" }) confirm("Go on?") end }
"#;
    let summary = process.runs(asks, Rc::new(Nobody), || ());
    assert_eq!((summary.end, summary.exit_code), (End::Parked, 4), "{:?}", summary.error);
    assert!(!process.ends(begun, &summary));
    let other = Process::new(&simulation, 2);
    assert_eq!(other.begins(&Errand::Begin).unwrap_err().kind, Kind::Refused);
    let again = Process::new(&simulation, 1);
    let begun = again.begins(&Errand::Resume { known_epoch: 1, gone: true }).unwrap();
    assert_eq!(begun.lock.epoch(), 2);
    // Who takes it back may have it too.
    let back = other.begins(&Errand::TakeBack { of: again.id.to_string(), gone: true }).unwrap();
    assert_eq!(back.lock.epoch(), 1);
}

#[test]
fn a_run_that_failed_gives_it_back_and_no_other_one_begins_over_it() {
    let simulation = simulation();
    let process = Process::new(&simulation, 1);
    let begun = process.begins(&Errand::Begin).unwrap();
    let fails = r#"
runbook { title = "t", summary = "s", impact = "none" }
step "one" { title = "One", run = function() annotate("deployment/web", { one = "1" }) error("no") end }
"#;
    let summary = process.runs(fails, Rc::new(Yes), || ());
    assert_eq!(summary.end, End::Failed);
    assert!(process.ends(begun, &summary));
    assert_eq!(holder(&simulation), None);
    let error = Process::new(&simulation, 2).begins(&Errand::Begin).unwrap_err();
    assert_eq!(error.message, format!("the run `{}` on `sandbox` is not finished: no other one begins over it", process.id));
    let again = Process::new(&simulation, 1).begins(&Errand::Resume { known_epoch: 1, gone: true }).unwrap();
    assert_eq!((again.lock.epoch(), again.warnings.len()), (2, 0));
}

#[test]
fn a_long_wait_closes_the_fence_and_the_next_write_renews() {
    let simulation = simulation();
    let process = Process::new(&simulation, 1);
    let begun = process.begins(&Errand::Begin).unwrap();
    let waits = r#"
runbook { title = "t", summary = "s", impact = "none" }
step "one" { title = "One", run = function() annotate("deployment/web", { one = "1" }) end }
step "two" { title = "Two", run = function()
  pcall(wait_for, "deployment/web", function(web) return false end, { timeout = "10m", stall = "10m" })
  annotate("deployment/web", { two = "2" })
end }
"#;
    let before = simulation.now();
    let summary = process.runs(waits, Rc::new(Yes), || ());
    assert_eq!(summary.end, End::Succeeded, "{:?}", summary.error);
    assert!(simulation.now().duration_since(before).as_secs() >= 600);
    assert!(process.ends(begun, &summary));
}

#[test]
fn another_program_on_the_nodes_refuses_and_the_lock_is_given_back() {
    let simulation = simulation();
    simulation.with(|sim| {
        let template = json!({"metadata": {"labels": {"app": "k"}}, "spec": {"containers": [{"name": "c", "image": "c:1"}]}});
        let lock = r#"{"nodeID":"w1","created":"2001-01-01T00:00:00Z","TTL":0}"#;
        let kured = json!({
            "apiVersion": "apps/v1", "kind": "DaemonSet",
            "metadata": {"name": "kured", "annotations": {"weave.works/kured-node-lock": lock}},
            "spec": {"selector": {"matchLabels": {"app": "k"}}, "template": template},
        });
        assert_eq!(sim.handle(&Request::post("/apis/apps/v1/namespaces/kube-system/daemonsets", &kured)).status, 201);
    });
    let process = Process::new(&simulation, 1);
    let error = process.begins(&Errand::Begin).unwrap_err();
    assert_eq!(error.message, "another program is changing the nodes of `sandbox`: nothing was written");
    assert_eq!(holder(&simulation), None);
    assert!(process.cluster.requests().is_empty());
}
