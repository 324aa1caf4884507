//! How little a plan on a live cluster reads, what it does when that is not enough, and that it says the same as a plan that knows
//! everything.

use std::collections::BTreeMap;

use lockgate::base::{ObjectRef, Span};
use lockgate::cluster::{Access, Budget, Cluster, Follow, Moved, Options, PatchType, RunId, Select, Target, Verb};
use lockgate_sim::fixture::Fixture;
use lockgate_sim::generate::Size;
use lockgate_sim::json::{Value, json};
use lockgate_sim::{Cluster as Sim, Options as SimOptions};

use super::support::run;

fn local() -> Options {
    Options { local: true, ..Options::new(RunId::generate()) }
}

/// A live cluster of so many nodes with ten pods each.
fn generated(nodes: usize) -> Sim {
    Size { nodes, pods_per_node: 10 }.cluster(SimOptions::default()).unwrap()
}

async fn target(cluster: &Cluster, text: &str) -> Target {
    cluster.target(&ObjectRef::parse(text).unwrap(), None).await.unwrap()
}

/// What left the process about resources, by verb and resource.
fn asked(plan: &Cluster) -> BTreeMap<String, usize> {
    let mut asked = BTreeMap::new();
    for request in plan.requests().into_iter().filter(|request| !request.dry) {
        assert!(matches!(request.verb, Verb::Get | Verb::List), "{request:?}");
        *asked.entry(format!("{} {}", request.verb, request.resource)).or_default() += 1;
    }
    asked
}

/// How many objects of each kind are in the copy.
fn held(plan: &Cluster, kind: &'static lockgate_sim::kinds::Kind) -> usize {
    plan.simulation().unwrap().with(|sim| sim.store().count(kind, None))
}

/// Time goes on until nothing happens any more.
async fn rest(cluster: &Cluster) {
    let until = cluster.clock().now() + Span::from_secs(900).as_duration();
    cluster.rest(until).await.unwrap();
}

#[test]
fn one_object_is_one_request() {
    run(async {
        let plan = Cluster::stand_in(generated(30), local()).planning();
        let node = target(&plan, "node/node-00007").await;
        plan.get(&node).await.unwrap();
        plan.get(&node).await.unwrap();
        assert_eq!(asked(&plan), BTreeMap::from([("get nodes".to_owned(), 1)]));
        assert_eq!(held(&plan, lockgate_sim::kinds::NODE), 1);
        let pods = plan.resolve("pods", None).await.unwrap();
        let on_node = Select { fields: Some("spec.nodeName=node-00007".into()), ..Select::default() };
        assert_eq!(plan.list(&pods, None, &on_node).await.unwrap().items.len(), 10);
        assert_eq!(plan.list(&pods, None, &on_node).await.unwrap().items.len(), 10);
        assert_eq!(held(&plan, lockgate_sim::kinds::POD), 10);
        assert_eq!(asked(&plan)["list pods"], 1);
    });
}

#[test]
fn what_does_not_move_a_pod_reads_no_pods() {
    run(async {
        let plan = Cluster::stand_in(generated(30), local()).planning();
        let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m"}});
        let maps = plan.resolve("cm", None).await.unwrap();
        plan.create(&maps, Some("default"), map).await.unwrap();
        let web = target(&plan, "deployment/team-0000/app-00000").await;
        plan.patch(&web, PatchType::Merge, json!({"metadata": {"labels": {"seen": "yes"}}}), None).await.unwrap();
        assert_eq!(asked(&plan).get("list pods"), Some(&1), "those of the Deployment: {:?}", asked(&plan));
        assert!(held(&plan, lockgate_sim::kinds::POD) <= 50);
    });
}

/// Rolls a Deployment out; gives what was asked.
async fn rolled(nodes: usize) -> BTreeMap<String, usize> {
    let plan = Cluster::stand_in(generated(nodes), local()).planning();
    let web = target(&plan, "deployment/team-0000/app-00000").await;
    let image = json!({"spec": {"template": {"spec": {"containers": [{"name": "app", "image": "registry.example/app:v2"}]}}}});
    plan.patch(&web, PatchType::Strategic, image, None).await.unwrap();
    rest(&plan).await;
    let after = plan.get(&web).await.unwrap();
    assert_eq!(after["status"]["updatedReplicas"], after["spec"]["replicas"]);
    assert_eq!(after["status"]["availableReplicas"], after["spec"]["replicas"]);
    assert_eq!(plan.unknowns(), Vec::<String>::new());
    let all = nodes * 10;
    assert!(held(&plan, lockgate_sim::kinds::POD) <= all);
    // What was read for the scheduler only takes a part of the memory, and is read whole when it is asked for.
    let pods = plan.resolve("pods", None).await.unwrap();
    let others = plan.list(&pods, Some("kube-system"), &Select::default()).await.unwrap().items;
    assert_eq!(others.len(), nodes);
    assert!(others.iter().all(|pod| pod["status"]["podIP"].is_string()), "{}", others[0]);
    asked(&plan)
}

#[test]
fn a_rollout_reads_its_closure_and_looks_once_at_what_the_scheduler_needs() {
    run(async {
        let (small, large) = (rolled(40).await, rolled(160).await);
        let sum = |asked: &BTreeMap<String, usize>| asked.values().sum::<usize>();
        assert!(sum(&small) <= 20, "{small:?}");
        // 1,200 pods more are two pages more.
        assert!(sum(&large) <= sum(&small) + 3, "{large:?}");
        assert!(small.keys().all(|what| !what.contains("secrets") && !what.contains("events")), "{small:?}");
    });
}

#[test]
fn pods_of_a_daemon_set_need_no_look_at_all_pods() {
    run(async {
        let plan = Cluster::stand_in(generated(20), local()).planning();
        let pods = plan.resolve("pods", None).await.unwrap();
        let select = Select { fields: Some("spec.nodeName=node-00003".into()), labels: Some("app=agent".into()) };
        let agent = plan.list(&pods, Some("kube-system"), &select).await.unwrap().items.remove(0);
        let name = agent["metadata"]["name"].as_str().unwrap().to_owned();
        plan.delete(&target(&plan, &format!("pod/kube-system/{name}")).await, json!({})).await.unwrap();
        rest(&plan).await;
        let after = plan.list(&pods, Some("kube-system"), &select).await.unwrap().items;
        assert_eq!(after.len(), 1);
        assert_ne!(after[0]["metadata"]["name"], name.as_str());
        assert_eq!(after[0]["status"]["phase"], "Running");
        assert!(held(&plan, lockgate_sim::kinds::POD) <= 20 + 10, "the set's, and the node's");
    });
}

/// A pod in the same zone, on a node that is in nobody's question, which keeps all other pods of `web` out of the zone.
const ZONE: &str = "
apiVersion: v1
kind: Node
metadata: {name: a, labels: {side: a, zone: z}}
---
apiVersion: v1
kind: Node
metadata: {name: b, labels: {side: b, zone: z}}
---
apiVersion: v1
kind: Pod
metadata: {name: lonely, namespace: kube-system, labels: {app: lonely}}
spec:
  nodeName: b
  containers: [{name: c, image: 'registry.example/c:v1'}]
  affinity:
    podAntiAffinity:
      requiredDuringSchedulingIgnoredDuringExecution:
      - {topologyKey: zone, namespaces: [default], labelSelector: {matchLabels: {app: web}}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: default}
spec:
  replicas: 0
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      nodeSelector: {side: a}
      containers: [{name: c, image: 'registry.example/c:v1'}]
";

#[test]
fn a_pod_elsewhere_in_the_zone_keeps_others_away_however_few_nodes_are_in_question() {
    run(async {
        for (keeps_away, ready) in [(true, 0), (false, 2)] {
            let other = if keeps_away { "web" } else { "other" };
            let text = ZONE.replace("{matchLabels: {app: web}}}\n---", &format!("{{matchLabels: {{app: {other}}}}}}}\n---"));
            let sim = Fixture::parse("zone.yaml", &text).unwrap().cluster(SimOptions::default()).unwrap();
            let plan = Cluster::stand_in(sim, local()).planning();
            let web = target(&plan, "deployment/default/web").await;
            plan.patch(&web, PatchType::Merge, json!({"spec": {"replicas": 2}}), None).await.unwrap();
            rest(&plan).await;
            let after = plan.get(&web).await.unwrap();
            assert_eq!(after["status"]["readyReplicas"].as_u64().unwrap_or_default(), ready, "{}", after["status"]);
        }
    });
}

#[test]
fn over_the_budget_of_requests_the_plan_goes_on_and_says_what_it_left_out() {
    run(async {
        let budget = Budget { calls: 3, ..Budget::default() };
        let plan = Cluster::stand_in(generated(30), Options { budget, ..local() }).planning();
        let web = target(&plan, "deployment/team-0000/app-00000").await;
        plan.patch(&web, PatchType::Merge, json!({"spec": {"replicas": 3}}), None).await.unwrap();
        assert_eq!(plan.get(&web).await.unwrap()["spec"]["replicas"], 3);
        rest(&plan).await;
        let unknowns = plan.unknowns();
        assert!(!unknowns.is_empty());
        assert!(unknowns.iter().all(|text| text.ends_with("not read: the plan may send 3 requests (`--overlay-calls`)")), "{unknowns:?}");
        // What the script reads is read.
        let maps = plan.resolve("cm", None).await.unwrap();
        plan.list(&maps, None, &Select::default()).await.unwrap();
    });
}

#[test]
fn over_the_budget_of_memory_a_list_ends_early_and_says_so() {
    run(async {
        let budget = Budget { bytes: 100_000, ..Budget::default() };
        let plan = Cluster::stand_in(generated(220), Options { budget, ..local() }).planning();
        let web = target(&plan, "deployment/team-0000/app-00000").await;
        let image = json!({"spec": {"template": {"spec": {"containers": [{"name": "app", "image": "registry.example/app:v2"}]}}}});
        plan.patch(&web, PatchType::Strategic, image, None).await.unwrap();
        rest(&plan).await;
        let after = plan.get(&web).await.unwrap();
        assert_eq!(after["status"]["updatedReplicas"], after["spec"]["replicas"], "what is not known to be taken is taken for free");
        let unknowns = plan.unknowns();
        assert!(unknowns.iter().any(|text| text.starts_with("pods: 1000 of 2200 were read: ")), "{unknowns:?}");
        assert!(unknowns[0].ends_with("(`--overlay-mem`); what depends on the others is assumed"), "{unknowns:?}");
    });
}

const MAPS: &str = "
apiVersion: v1
kind: Node
metadata: {name: n1}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: a, namespace: default}
data: {k: '1'}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: b, namespace: default}
data: {k: '1'}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: c, namespace: default}
data: {k: '1'}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: d, namespace: default}
data: {k: '1'}
";

fn maps() -> Cluster {
    let sim = Fixture::parse("maps.yaml", MAPS).unwrap().cluster(SimOptions::default()).unwrap();
    Cluster::stand_in(sim, local())
}

#[test]
fn what_changed_while_planning_is_named() {
    run(async {
        let live = maps();
        let plan = live.planning();
        for text in ["cm/a", "cm/b", "cm/c", "cm/d", "node/n1"] {
            plan.get(&target(&plan, text).await).await.unwrap();
        }
        let a = target(&plan, "cm/a").await;
        plan.patch(&a, PatchType::Merge, json!({"data": {"k": "of the plan"}}), None).await.unwrap();
        let still = plan.drift().await.unwrap().unwrap();
        assert_eq!((still.inputs, still.changed.as_slice(), still.text()), (5, &[][..], None), "its own writes are no drift");
        live.set_access(Access::ReadWrite);
        live.patch(&a, PatchType::Merge, json!({"data": {"k": "2"}}), None).await.unwrap();
        live.delete(&target(&live, "cm/b").await, json!({})).await.unwrap();
        live.delete(&target(&live, "cm/c").await, json!({})).await.unwrap();
        live.create(&a.resource, Some("default"), json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}}))
            .await
            .unwrap();
        // A heartbeat is none either.
        let beat = json!({"status": {"conditions": [{"type": "Ready", "status": "True", "lastHeartbeatTime": "2030-01-01T00:00:00Z"}]}});
        live.patch(&target(&live, "node/n1").await, PatchType::Strategic, beat, Some("status")).await.unwrap();
        let drift = plan.drift().await.unwrap().unwrap();
        let moved = |object: &str, how: &str| Moved { object: object.to_owned(), how: how.to_owned() };
        let expected =
            [moved("configmap/default/a", "changed"), moved("configmap/default/b", "gone"), moved("configmap/default/c", "replaced")];
        assert_eq!(drift.changed, expected);
        let told = "3 of 5 inputs changed while planning: configmap/default/a (changed), configmap/default/b (gone), \
                    configmap/default/c (replaced)";
        assert_eq!(drift.text().unwrap(), told);
        assert_eq!(maps().drift().await.unwrap(), None, "only a plan looks back");
    });
}

#[test]
fn a_list_is_looked_at_again_as_a_list() {
    run(async {
        let live = maps();
        let plan = live.planning();
        let a = target(&plan, "cm/a").await;
        plan.list(&a.resource, Some("default"), &Select::default()).await.unwrap();
        let before = plan.drift().await.unwrap().unwrap();
        assert_eq!(before.changed, []);
        live.set_access(Access::ReadWrite);
        let new = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "new"}});
        live.create(&a.resource, Some("default"), new).await.unwrap();
        live.patch(&a, PatchType::Merge, json!({"data": {"k": "2"}}), None).await.unwrap();
        let count = plan.requests().len();
        let drift = plan.drift().await.unwrap().unwrap();
        let moved = |object: &str, how: &str| Moved { object: object.to_owned(), how: how.to_owned() };
        assert_eq!(drift.changed, [moved("configmap/default/a", "changed"), moved("configmap/default/new", "new")]);
        assert_eq!(drift.inputs, before.inputs + 1);
        // Who may only list can make the plan, and this look too.
        let looked = plan.requests_after(count);
        assert!(!looked.is_empty() && looked.iter().all(|request| request.verb == Verb::List), "{looked:?}");
    });
}

/// A stream of numbers of its seed (splitmix64).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }

    fn of<'a>(&mut self, words: &[&'a str]) -> &'a str {
        words[usize::try_from(self.below(words.len() as u64)).unwrap()]
    }
}

/// An object without what two clusters draw or count each for itself.
fn plain(object: &Value) -> Value {
    let pick = |part: &Value, fields: &[&str]| -> Value {
        let members = part.as_object().into_iter().flatten().filter(|(name, _)| fields.contains(&name.as_str()));
        members.map(|(name, value)| (name.clone(), value.clone())).collect()
    };
    let mut kept = json!({"data": object["data"].clone(), "labels": object["metadata"]["labels"].clone(), "spec": null, "status": null});
    if object["kind"] == "Pod" {
        kept["labels"] = pick(&object["metadata"]["labels"], &["app", "mark", "tier"]);
        kept["spec"] = pick(&object["spec"], &["containers", "tolerations"]);
        kept["status"] = pick(&object["status"], &["phase"]);
        kept["going"] = object["metadata"]["deletionTimestamp"].is_string().into();
    } else {
        kept["name"] = object["metadata"]["name"].clone();
        kept["namespace"] = object["metadata"]["namespace"].clone();
        kept["spec"] = object["spec"].clone();
        let counts =
            ["availableReplicas", "currentHealthy", "desiredHealthy", "disruptionsAllowed", "readyReplicas", "replicas", "updatedReplicas"];
        kept["status"] = pick(&object["status"], &counts);
    }
    kept
}

const SMALL: &str = "
apiVersion: v1
kind: Node
metadata: {name: n1, labels: {side: a}}
---
apiVersion: v1
kind: Node
metadata: {name: n2, labels: {side: b}}
---
apiVersion: v1
kind: Namespace
metadata: {name: other}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: one, namespace: default, labels: {mark: x}}
data: {k: '1'}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: two, namespace: other, labels: {mark: y}}
data: {k: '1'}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: default}
spec: {selector: {app: web}, ports: [{port: 80}]}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: web, namespace: default}
spec: {minAvailable: 1, selector: {matchLabels: {app: web}}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: default, labels: {app: web}}
spec:
  replicas: 3
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web, tier: front}}
    spec: {containers: [{name: c, image: 'registry.example/web:1'}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: db, namespace: other, labels: {app: db}}
spec:
  replicas: 2
  selector: {matchLabels: {app: db}}
  template:
    metadata: {labels: {app: db, tier: back}}
    spec: {containers: [{name: c, image: 'registry.example/db:1'}]}
";

async fn pause(cluster: &Cluster) {
    let until = cluster.clock().now() + Span::from_secs(120).as_duration();
    cluster.rest(until).await.unwrap();
}

/// One thing that a script might do, on one of the two; what it was answered.
async fn act(cluster: &Cluster, numbers: &mut Numbers) -> (String, Value) {
    let (place, name) = (numbers.of(&["default", "other"]), numbers.of(&["one", "two", "three"]));
    let mark = numbers.of(&["x", "y"]);
    let map = format!("cm/{place}/{name}");
    let workload = numbers.of(&["deployment/default/web", "deployment/other/db"]);
    let said = |answer: lockgate::base::Result<std::sync::Arc<Value>>| match answer {
        Ok(object) => plain(&object),
        Err(error) => error.reason.as_str().into(),
    };
    match numbers.below(9) {
        0 => (format!("get {map}"), said(cluster.get(&target(cluster, &map).await).await)),
        1 => (format!("get {workload}"), said(cluster.get(&target(cluster, workload).await).await)),
        2 => {
            let body = json!({"metadata": {"labels": {"mark": mark}}});
            (format!("mark {map} {mark}"), said(cluster.patch(&target(cluster, &map).await, PatchType::Merge, body, None).await))
        }
        3 => {
            let maps = cluster.resolve("cm", None).await.unwrap();
            let body = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "labels": {"mark": mark}}});
            (format!("create {map}"), said(cluster.create(&maps, Some(place), body).await))
        }
        4 => {
            let answer = cluster.delete(&target(cluster, &map).await, json!({})).await;
            (format!("delete {map}"), answer.map_or_else(|error| error.reason.as_str().into(), |_| Value::Null))
        }
        5 => {
            let replicas = numbers.below(5);
            let body = json!({"spec": {"replicas": replicas}});
            let answer = cluster.patch(&target(cluster, workload).await, PatchType::Merge, body, None).await;
            // How long a pod takes, a plan on a live cluster reads off the pods that are there.
            pause(cluster).await;
            (format!("scale {workload} {replicas}"), said(answer))
        }
        6 => {
            let node = target(cluster, numbers.of(&["node/n1", "node/n2"])).await;
            let body = json!({"spec": {"unschedulable": numbers.below(2) == 0}});
            (format!("cordon {}", node.name), said(cluster.patch(&node, PatchType::Merge, body, None).await))
        }
        7 => {
            pause(cluster).await;
            ("wait".to_owned(), Value::Null)
        }
        _ => {
            let kind = numbers.of(&["cm", "pods", "deployments", "replicasets", "nodes", "pdb", "services"]);
            let labels = numbers.of(&["", "mark=x", "mark!=x", "app=web", "app in (web,db),tier", "mark"]);
            let fields = numbers.of(&["", "", "metadata.name=one", "metadata.namespace=other"]);
            let fields = if kind == "nodes" { "" } else { fields };
            let resource = cluster.resolve(kind, None).await.unwrap();
            let place = [None, Some(place)][usize::from(numbers.below(2) == 0)].filter(|_| resource.namespaced);
            let some = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
            let select = Select { labels: some(labels), fields: some(fields) };
            let items = cluster.list(&resource, place, &select).await.unwrap().items;
            let mut items: Vec<String> = items.iter().map(|item| plain(item).to_string()).collect();
            // Names of pods are drawn, and they are in the order of their names.
            items.sort();
            (format!("list {kind} {place:?} {labels} {fields}"), items.into_iter().collect())
        }
    }
}

#[test]
fn a_plan_that_reads_as_it_goes_answers_as_one_that_knows_everything() {
    run(async {
        for seed in 0..60 {
            let sim = Fixture::parse("small.yaml", SMALL).unwrap().cluster(SimOptions::default()).unwrap();
            let whole = Cluster::simulated(sim.fork(), Options::new(RunId::generate())).planning();
            let live = Cluster::stand_in(sim, local());
            let before = live.simulation().unwrap().with(|sim| sim.store().rv());
            let lazy = live.planning();
            let mut told = Vec::new();
            for step in 0..14 {
                let (mut here, mut there) = (Numbers(seed * 1_000 + step), Numbers(seed * 1_000 + step));
                let (what, expected) = act(&whole, &mut here).await;
                let (_, found) = act(&lazy, &mut there).await;
                told.push(what);
                assert_eq!(found, expected, "seed {seed}: {told:#?}");
            }
            asked(&lazy);
            assert_eq!(live.simulation().unwrap().with(|sim| sim.store().rv()), before, "seed {seed}");
        }
    });
}

#[test]
fn a_watch_with_a_selector_hears_what_the_plan_does() {
    run(async {
        let live = maps();
        let plan = live.planning();
        let a = target(&plan, "cm/a").await;
        let select = Select { labels: Some("mark=x".into()), ..Select::default() };
        let scope = Follow { resource: a.resource.clone(), namespace: Some("default".into()), select };
        let mut following = plan.follow(vec![scope]).await.unwrap();
        assert_eq!(following.items(0).count(), 0);
        plan.patch(&a, PatchType::Merge, json!({"metadata": {"labels": {"mark": "x"}}}), None).await.unwrap();
        following.changed(None).await.unwrap();
        assert_eq!(following.items(0).count(), 1);
        // What else is read later is no news.
        plan.list(&a.resource, None, &Select::default()).await.unwrap();
        plan.patch(&a, PatchType::Merge, json!({"metadata": {"labels": {"mark": null}}}), None).await.unwrap();
        following.changed(None).await.unwrap();
        assert_eq!(following.items(0).count(), 0);
        assert!(!asked(&plan).keys().any(|what| what.starts_with("watch")));
    });
}
