//! A cluster that knows only what was loaded, as the overlay over a live one.

use lockgate_sim::json::{Value, json};
use lockgate_sim::kinds::{self, Kind};
use lockgate_sim::model::{ImageModel, Readiness};
use lockgate_sim::selector::{FieldSelector, LabelSelector};
use lockgate_sim::{Cluster, Options, Part, Scope};

use crate::support::{Sim, condition, deployment, nodes};

fn fixture() -> String {
    nodes(&["n1", "n2"]) + &deployment(2, "")
}

/// Answers what a partial cluster asks for from a complete one; returns what was asked, in order.
fn serve(sim: &mut Sim, live: &mut Sim) -> Vec<String> {
    let mut asked = Vec::new();
    loop {
        let needs = sim.0.needs();
        if needs.is_empty() {
            return asked;
        }
        for scope in needs {
            asked.push(shown(&scope));
            let objects = read(live, &scope);
            sim.0.load(scope, objects);
        }
        sim.0.settle();
    }
}

fn shown(scope: &Scope) -> String {
    let part = match &scope.part {
        Part::All => String::new(),
        Part::Name(name) => format!("/{name}"),
        Part::Selected { labels, fields } => format!("?{labels}{fields}"),
        Part::Reduced => "~".to_owned(),
    };
    format!("{}/{}{part}", scope.kind.singular, scope.namespace.as_deref().unwrap_or("*"))
}

fn read(live: &mut Sim, scope: &Scope) -> Vec<Value> {
    let chosen = |object: &Value| match &scope.part {
        Part::All | Part::Reduced => true,
        Part::Name(name) => object["metadata"]["name"] == **name,
        Part::Selected { labels, fields } => {
            let fields = FieldSelector::parse(scope.kind, fields).unwrap();
            LabelSelector::parse(labels).unwrap().matches(object) && fields.matches(object)
        }
    };
    let all = live.0.store().list(scope.kind, scope.namespace.as_deref());
    all.map(|(_, object)| (**object).clone()).filter(chosen).collect()
}

fn partial(live: &mut Sim, known: &[(&'static Kind, Option<&str>)]) -> Sim {
    let start = live.0.now();
    let mut sim = Sim(Cluster::new(Options { partial: true, start, ..Options::default() }));
    for (kind, namespace) in known {
        let scope = Scope::all(kind, *namespace);
        let objects = read(live, &scope);
        sim.0.load(scope, objects);
    }
    sim.0.settle();
    sim
}

#[test]
fn what_is_at_rest_stays_at_rest() {
    let mut live = Sim::new(&fixture());
    let everything: Vec<_> = kinds::ALL.iter().map(|kind| (*kind, None)).collect();
    let sim = partial(&mut live, &everything);
    assert_eq!(sim.0.needs(), []);
    assert_eq!(sim.0.next_event_at(), None);
    let changes = sim.0.event_log().filter(|line| line.contains("controller") || line.contains("kubelet")).count();
    assert_eq!(changes, 0, "{:?}", sim.0.event_log().collect::<Vec<_>>());
}

#[test]
fn controllers_ask_for_what_they_need_and_then_do_the_same() {
    let mut live = Sim::new(&fixture());
    let mut sim = partial(&mut live, &[(kinds::DEPLOYMENT, Some("shop"))]);
    sim.set_image("deploy/web", "shop/web:v2");
    let asked = serve(&mut sim, &mut live);
    // The Deployment's closure; who selects its pods; where they go. Pods anywhere in a zone may keep others away from it, so in a
    // cluster of this size all are read once, as far as the scheduler wants to know.
    let closure = ["pod/shop?app=web", "replicaset/shop?app=web", "priorityclass/*"];
    assert!(closure.iter().all(|scope| asked[..3].iter().any(|known| known == scope)), "{asked:?}");
    let wanted = ["service/shop", "poddisruptionbudget/shop", "node/*", "pod/*~"];
    assert!(wanted.iter().all(|scope| asked.iter().any(|known| known == scope)), "{asked:?}");
    assert!(!asked.iter().any(|scope| scope == "pod/*" || scope.contains("spec.nodeName")), "{asked:?}");
    while !sim.0.advance_to(live.0.now().checked_add(jiff::SignedDuration::from_secs(60)).unwrap()) {
        serve(&mut sim, &mut live);
    }
    assert_eq!(sim.images(), ["shop/web:v2"; 2]);
    assert_eq!(sim.counters("deploy/web"), [2, 2, 2, 2, 0]);
    assert_eq!(condition(&sim.get("deploy/web"), "Progressing").1, "NewReplicaSetAvailable");
    assert_eq!(live.images(), ["shop/web:v1"; 2], "the live cluster was only read");
}

#[test]
fn for_pods_that_are_bound_to_a_node_only_the_pods_of_that_node_are_asked_for() {
    let mut live = Sim::new(&fixture());
    let mut sim = partial(&mut live, &[(kinds::NAMESPACE, None), (kinds::DAEMON_SET, None), (kinds::NODE, None)]);
    sim.create(
        "ds",
        &json!({"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "agent", "namespace": "shop"},
            "spec": {"selector": {"matchLabels": {"app": "agent"}}, "template": {"metadata": {"labels": {"app": "agent"}},
                "spec": {"containers": [{"name": "c", "image": "shop/agent:v1"}]}}}}),
    );
    let asked = serve(&mut sim, &mut live);
    assert!(["n1", "n2"].iter().all(|node| asked.contains(&format!("pod/*?spec.nodeName={node}"))), "{asked:?}");
    assert!(!asked.iter().any(|scope| ["pod/*", "pod/*~"].contains(&scope.as_str())), "{asked:?}");
}

#[test]
fn a_rollout_that_was_under_way_goes_on() {
    let mut live = Sim::new(&fixture());
    live.set_image("deploy/web", "shop/web:v2");
    live.go(4);
    let everything: Vec<_> = kinds::ALL.iter().map(|kind| (*kind, None)).collect();
    let mut sim = partial(&mut live, &everything);
    sim.go(120);
    assert_eq!(sim.images(), ["shop/web:v2"; 2]);
    assert_eq!(sim.counters("deploy/web"), [2, 2, 2, 2, 0]);
}

#[test]
fn a_pod_that_was_read_while_it_started_gets_ready_and_one_that_hangs_does_not() {
    let never = |sim: &mut Sim| {
        sim.0.models_mut().image(ImageModel { ready: Some(Readiness::Never), ..ImageModel::new("*:v2", "hangs") });
    };
    let everything: Vec<_> = kinds::ALL.iter().map(|kind| (*kind, None)).collect();
    // Read a second after its container began to run, it is ready a second later, and the rollout goes on.
    let mut live = Sim::new(&fixture());
    live.set_image("deploy/web", "shop/web:v2");
    live.go(10);
    let unready = |sim: &mut Sim| sim.list("pod").iter().filter(|pod| condition(pod, "Ready").0 != "True").count();
    let running = live.list("pod").iter().filter(|pod| pod["status"]["phase"] == "Running").count();
    assert_eq!((unready(&mut live), running), (1, 3));
    let mut sim = partial(&mut live, &everything);
    sim.go(1);
    assert_eq!(unready(&mut sim), 1, "the next one comes");
    sim.go(60);
    assert_eq!((unready(&mut sim), sim.counters("deploy/web")), (0, [2, 2, 2, 2, 0]));
    // One that runs longer than its model says stays as it is.
    let mut live = Sim::new(&fixture());
    never(&mut live);
    live.set_image("deploy/web", "shop/web:v2");
    live.go(30);
    let mut sim = partial(&mut live, &everything);
    sim.go(60);
    assert_eq!(unready(&mut sim), 1);
}

#[test]
fn what_was_deleted_here_does_not_come_back_with_a_wider_load() {
    let mut live = Sim::new(&deployment(1, ""));
    let mut sim = partial(&mut live, &[(kinds::DEPLOYMENT, Some("shop"))]);
    sim.scale("deploy/web", 0);
    serve(&mut sim, &mut live);
    assert_eq!(sim.list("pod").len(), 0, "a pod without a node goes at once");
    sim.scale("deploy/web", 1);
    serve(&mut sim, &mut live);
    assert_eq!(sim.list("pod").len(), 1);
    assert_ne!(sim.list("pod")[0]["metadata"]["uid"], live.list("pod")[0]["metadata"]["uid"]);
}
