use lockgate_sim::faults::chaos;
use lockgate_sim::fixture::Fixture;
use lockgate_sim::json::json;
use lockgate_sim::{Cluster as Sim, Options};

use super::*;
use crate::base::Span;
use crate::cluster::{Cluster, Options as ClusterOptions, RunId, Simulation};
use crate::run::journal::Runs;

const FIXTURE: &str = r#"
{apiVersion: v1, kind: Node, metadata: {name: n1}}
---
apiVersion: v1
kind: Secret
metadata: {name: db, namespace: shop}
stringData: {password: canary-of-the-fixture}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: 'registry.example/web:v1'}]}
---
apiVersion: lockgate.dev/v1
kind: Model
machines:
  - node: n1
    why: a machine
    os: ubuntu
    commands: [{argv: [upgrade, it], takes: 30s, stdout: done}]
"#;

fn sim(seed: Option<u64>) -> Sim {
    let mut sim = Fixture::parse("cluster.yaml", FIXTURE).unwrap().cluster(Options::default()).unwrap();
    seed.into_iter().flat_map(chaos).for_each(|rule| sim.add_fault(rule));
    sim
}

fn folder(root: &tempfile::TempDir, number: u64) -> RunFolder {
    let id = RunId::simulated(Timestamp::UNIX_EPOCH, number).to_string();
    Runs::at(root.path()).create(&id).unwrap()
}

/// A cluster with its tape.
fn recorded(sim: Sim) -> (Cluster, Simulation, Requests) {
    let cluster = Cluster::simulated(sim, ClusterOptions::new(RunId::simulated(Timestamp::UNIX_EPOCH, 1)));
    let simulation = cluster.simulation().unwrap();
    let redactor = Redactor::new([0; 32]);
    redactor.learn("canary-of-a-parameter");
    let requests = Requests::new(redactor);
    simulation.record(Box::new(requests.clone()));
    (cluster, simulation, requests)
}

fn later(simulation: &Simulation, seconds: u64) {
    simulation.with(|sim| sim.advance_to(Span::from_secs(seconds).after(sim.now())));
}

/// Everything that can be told of a cluster: each line of its log, and each object.
fn told(simulation: &Simulation) -> Vec<String> {
    simulation.with(|sim| {
        let mut lines: Vec<String> = sim.event_log().map(str::to_owned).collect();
        for kind in lockgate_sim::kinds::ALL {
            lines.extend(sim.store().list(kind, None).map(|(_, object)| object.to_string()));
        }
        lines
    })
}

const WEB: &str = "/apis/apps/v1/namespaces/shop/deployments/web";

fn image(tag: &str) -> Request {
    let body = json!({"spec": {"template": {"spec": {"containers": [{"name": "web", "image": format!("registry.example/web:{tag}")}]}}}});
    Request::patch(WEB, "application/strategic-merge-patch+json", &body)
}

/// What a run may do, in two parts.
fn first(simulation: &Simulation) {
    simulation.enter_step(Some("move")).unwrap();
    simulation.handle(&Request::get(WEB));
    simulation.handle(&Request::get("/api/v1/pods?watch=true"));
    simulation.handle(&image("v2"));
    later(simulation, 7);
}

fn second(simulation: &Simulation) {
    simulation.handle(&Request::get("/api/v1/nodes").by(&User::new("me", &["people"])));
    let order = |reads, id: &str, argv: &[&str]| Order {
        node: "n1".to_owned(),
        id: id.to_owned(),
        reads,
        deed: Deed::Run { argv: argv.iter().map(|word| (*word).to_owned()).collect() },
    };
    simulation.order(&order(true, "read 9", &["cat", "/etc/hosts"])).unwrap().ok();
    simulation.order(&order(false, "op", &["upgrade", "it"])).unwrap().unwrap();
    let deed = Deed::Write { path: "/etc/x".to_owned(), text: "a\nb".to_owned(), mode: Some(0o600) };
    simulation.order(&Order { node: "n1".to_owned(), id: "w".to_owned(), reads: false, deed }).unwrap().unwrap();
    later(simulation, 11);
    simulation.handle(&Request::delete(WEB));
    later(simulation, 40);
}

#[test]
fn what_was_asked_makes_the_same_cluster_again() {
    // Without faults, and with rules that count what is asked.
    for seed in [None, Some(3), Some(4), Some(5), Some(6)] {
        let root = tempfile::tempdir().unwrap();
        let (run, back) = (folder(&root, 1), folder(&root, 2));
        let (_cluster, simulation, requests) = recorded(sim(seed));
        // Before the run has a folder.
        first(&simulation);
        requests.settle(&run, None).unwrap();
        second(&simulation);
        let again = Simulation::new(sim(seed));
        again.replay(read(&run).unwrap(), Some(simulation.now())).unwrap();
        assert_eq!(told(&again), told(&simulation), "{seed:?}");

        // Another process goes on, and one takes it back.
        let requests = Requests::new(Redactor::new([0; 32]));
        again.record(Box::new(requests.clone()));
        again.handle(&image("v3"));
        requests.settle(&back, Some(&run)).unwrap();
        again.handle(&Request::get(WEB));
        let third = Simulation::new(sim(seed));
        third.replay(read(&back).unwrap(), Some(again.now())).unwrap();
        assert_eq!(told(&third), told(&again), "{seed:?}");
    }
}

#[test]
fn a_line_that_is_torn_reached_no_cluster() {
    let root = tempfile::tempdir().unwrap();
    let run = folder(&root, 1);
    let (_cluster, simulation, requests) = recorded(sim(None));
    requests.settle(&run, None).unwrap();
    simulation.handle(&image("v2"));
    let path = run.path().join(REQUESTS);
    let mut bytes = fs::read(&path).unwrap();
    bytes.extend_from_slice(br#"{"at":"2001-02"#);
    fs::write(&path, &bytes).unwrap();
    assert_eq!(read(&run).unwrap().len(), 1);

    let requests = Requests::new(Redactor::new([0; 32]));
    simulation.record(Box::new(requests.clone()));
    requests.settle(&run, None).unwrap();
    simulation.handle(&image("v3"));
    assert_eq!(read(&run).unwrap().len(), 2, "the next line begins where the torn one did");

    fs::write(&path, b"{}\n").unwrap();
    let error = read(&run).unwrap_err();
    assert!(error.causes[0].contains("line 1 of its file `requests.jsonl` cannot be read"), "{error:?}");
    fs::remove_file(&path).unwrap();
    let error = read(&run).unwrap_err();
    assert_eq!((error.kind, error.causes[0].as_str()), (Kind::Refused, "its folder has no `requests.jsonl`"));
}

#[test]
fn what_holds_a_secret_is_sealed() {
    let secret = json!({"metadata": {"name": "new", "namespace": "shop"}, "stringData": {"a": "canary-that-is-new"}});
    let label = |text: &str| {
        let body = json!({"metadata": {"annotations": {"a": text}}});
        Request::patch(WEB, "application/merge-patch+json", &body)
    };
    for (request, canary, about) in [
        (Request::post("/api/v1/namespaces/shop/secrets", &secret), "canary-that-is-new", "POST /api/v1/namespaces/shop/secrets"),
        (label("for canary-of-a-parameter"), "canary-of-a-parameter", "PATCH /apis/apps/v1/namespaces/shop/deployments/web"),
    ] {
        let root = tempfile::tempdir().unwrap();
        let run = folder(&root, 1);
        let (_cluster, simulation, requests) = recorded(sim(None));
        requests.settle(&run, None).unwrap();
        simulation.handle(&request);
        let path = run.path().join(REQUESTS);
        let text = fs::read_to_string(&path).unwrap();
        assert!(!text.contains(canary) && !text.contains(&base64::encode(canary.as_bytes())), "{text}");
        assert!(text.contains(r#""k":"sealed""#) && text.contains(about), "{text}");
        let again = Simulation::new(sim(None));
        again.replay(read(&run).unwrap(), Some(simulation.now())).unwrap();
        assert_eq!(told(&again), told(&simulation));
        assert!(told(&again).iter().any(|line| line.contains(canary) || line.contains(&base64::encode(canary.as_bytes()))));

        // Said of something else.
        fs::write(&path, text.replace(about, "POST /elsewhere")).unwrap();
        assert!(
            read(&run).unwrap_err().causes[0].contains("is sealed with another key than the one in the folder of runs, or was changed")
        );
        // A copy of the folder, without the key beside it.
        fs::write(&path, &text).unwrap();
        let elsewhere = tempfile::tempdir().unwrap();
        let copy = folder(&elsewhere, 1);
        fs::remove_file(elsewhere.path().join("seal")).unwrap();
        fs::copy(&path, copy.path().join(REQUESTS)).unwrap();
        let error = read(&copy).unwrap_err();
        assert_eq!((error.kind, &*error.causes[0]), (Kind::Refused, &*format!("`{about}` held a secret, which is sealed")));
        assert!(error.hint.as_ref().is_some_and(|hint| hint.contains("go on where the run began")), "{error:?}");
    }
}

#[test]
fn a_secret_that_was_asked_before_the_run_had_a_folder_is_sealed_with_it() {
    let root = tempfile::tempdir().unwrap();
    let run = folder(&root, 1);
    let (_cluster, simulation, requests) = recorded(sim(None));
    let secret = json!({"metadata": {"name": "new", "namespace": "shop"}, "stringData": {"a": "canary-that-is-new"}});
    simulation.handle(&Request::post("/api/v1/namespaces/shop/secrets", &secret));
    simulation.handle(&image("v2"));
    requests.settle(&run, None).unwrap();
    assert!(!fs::read_to_string(run.path().join(REQUESTS)).unwrap().contains("canary"));
    let again = Simulation::new(sim(None));
    again.replay(read(&run).unwrap(), Some(simulation.now())).unwrap();
    assert_eq!(told(&again), told(&simulation));
}

/// A machine that goes down loses reads behind the last write, and nothing else: whatever of them is left, the objects are the same.
#[test]
fn what_a_disk_loses_of_the_end_makes_no_other_cluster() {
    let root = tempfile::tempdir().unwrap();
    let run = folder(&root, 1);
    let (_cluster, simulation, requests) = recorded(sim(None));
    requests.settle(&run, None).unwrap();
    first(&simulation);
    second(&simulation);
    let written = fs::metadata(run.path().join(REQUESTS)).unwrap().len() as usize;
    simulation.handle(&Request::get("/api/v1/pods"));
    simulation.handle(&Request::get("/api/v1/nodes/n1"));
    later(&simulation, 3);
    let path = run.path().join(REQUESTS);
    let bytes = fs::read(&path).unwrap();
    assert!(bytes.len() > written + 100);
    let objects = |simulation: &Simulation| -> Vec<String> {
        let all = |sim: &mut Sim| {
            let kinds = lockgate_sim::kinds::ALL.iter();
            kinds.flat_map(|kind| sim.store().list(kind, None).map(|(_, object)| object.to_string()).collect::<Vec<_>>()).collect()
        };
        simulation.with(all)
    };
    let wanted = objects(&simulation);
    for end in (written..bytes.len()).step_by(13).chain([bytes.len()]) {
        for zeros in [0, 1, 300] {
            let mut torn = bytes[..end].to_vec();
            torn.extend(vec![0; zeros]);
            // What arrived behind a part that did not.
            torn.extend(&bytes[bytes.len().min(end + zeros)..]);
            if zeros == 0 {
                torn.truncate(end);
            }
            fs::write(&path, &torn).unwrap();
            let again = Simulation::new(sim(None));
            again.replay(read(&run).unwrap(), Some(simulation.now())).unwrap();
            assert_eq!(objects(&again), wanted, "cut at {end}, {zeros} zeros");
        }
    }
}

/// A file that takes nothing.
#[test]
fn what_cannot_be_kept_does_not_reach_the_cluster() {
    struct Full;
    impl Tape for Full {
        fn keep(&mut self, _: Timestamp, _: &Input<'_>) -> Result<()> {
            Err(Error::internal("no room"))
        }
    }
    let (_cluster, simulation, _) = recorded(sim(None));
    let before = told(&simulation);
    simulation.record(Box::new(Full));
    assert_eq!(simulation.handle(&image("v2")).status, 500);
    assert_eq!(told(&simulation), before);
}
