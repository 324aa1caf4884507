//! Situations of a node, as data: what is there, what is asked, and what must come of it. Used by the tests on the simulated
//! cluster and by those on the real control plane.
//!
//! `given` is one thing a line: `KIND NAME [COUNT] [MARK…]`. Everything is put on the first node of the situation, `ID-a`; then the
//! second one, `ID-b`, comes, where pods can go. The marks are explained at [`pod_spec`] and [`budget`].

use lockgate_sim::json::{Value as Json, json};

/// One situation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Situation {
    /// What it is about.
    pub(crate) name: &'static str,
    /// What is there.
    pub(crate) given: &'static str,
    /// The options of `drain` and `drain_plan`, as JSON.
    pub(crate) options: &'static str,
    /// The verdict of `drain_plan`.
    pub(crate) verdict: &'static str,
    /// What its message says, apart from the verdict.
    pub(crate) says: &'static str,
    /// How `drain` ends.
    pub(crate) ends: Ends,
}

/// How `drain` ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ends {
    /// The node is empty, but for these pods (`app` labels).
    Empty(&'static [&'static str]),
    /// With this reason and before anything was written.
    Refused(&'static str),
    /// With this reason; the node stays cordoned.
    Stuck(&'static str),
}

/// What is done to the cluster, in order.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Act {
    /// An object is created: its collection and itself.
    Create(String, Json),
    /// Everything so far has come to rest.
    Rest,
    /// The status of every pod of this app is set.
    Status { app: String, status: Json },
    /// An object is deleted, with these options.
    Delete { path: String, options: Json },
    /// Every pod of this app is deleted.
    DeletePods { app: String },
    /// An object is patched (merge patch).
    Patch { path: String, patch: Json },
}

/// An image that no node can pull.
pub(super) const NEVER: &str = "registry.example/never:v1";

/// The id of a situation by its place in the table: also its namespace, and the label of its nodes.
pub(crate) fn id(index: usize) -> String {
    format!("s{index:02}")
}

/// The node that is drained.
pub(crate) fn node(id: &str) -> String {
    format!("{id}-a")
}

impl Situation {
    /// What makes it.
    pub(crate) fn acts(&self, id: &str) -> Vec<Act> {
        let mut acts = vec![Act::Create("/api/v1/nodes".to_owned(), cluster_node(id, "a"))];
        let mut late = Vec::new();
        for line in self.given.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let words: Vec<&str> = line.split_whitespace().collect();
            let [kind, name, marks @ ..] = words.as_slice() else { panic!("{}: `{line}`", self.name) };
            match *kind {
                "budget" => acts.push(budget(id, name, marks)),
                "orphan" => late.push(Act::Delete {
                    path: format!("/apis/apps/v1/namespaces/{id}/daemonsets/{name}"),
                    options: json!({ "propagationPolicy": "Orphan" }),
                }),
                "going" => late.push(Act::DeletePods { app: (*name).to_owned() }),
                "cordoned" => late
                    .push(Act::Patch { path: format!("/api/v1/nodes/{}", node(id)), patch: json!({ "spec": { "unschedulable": true } }) }),
                _ => {
                    acts.push(workload(id, kind, name, marks));
                    late.extend(status(name, marks));
                }
            }
        }
        acts.push(Act::Rest);
        acts.push(Act::Create("/api/v1/nodes".to_owned(), cluster_node(id, "b")));
        acts.extend(late);
        acts.push(Act::Rest);
        acts
    }
}

fn cluster_node(id: &str, which: &str) -> Json {
    let name = format!("{id}-{which}");
    json!({ "apiVersion": "v1", "kind": "Node", "metadata": { "name": name, "labels": { "situation": id, "which": which } } })
}

fn number(marks: &[&str]) -> i64 {
    marks.first().and_then(|mark| mark.parse().ok()).unwrap_or(1)
}

fn workload(id: &str, kind: &str, name: &str, marks: &[&str]) -> Act {
    let labels = json!({ "app": name, "all": id });
    let mut metadata = json!({ "name": name, "namespace": id });
    let (spec, annotations, finalizers) = pod_spec(id, marks);
    let mut pod = json!({ "labels": labels });
    if annotations.as_object().is_some_and(|annotations| !annotations.is_empty()) {
        pod["annotations"] = annotations;
    }
    if !finalizers.is_empty() {
        pod["finalizers"] = finalizers.into();
    }
    if kind == "pod" {
        for (field, value) in pod.as_object().into_iter().flatten() {
            metadata[&**field] = value.clone();
        }
        return Act::Create(
            format!("/api/v1/namespaces/{id}/pods"),
            json!({ "apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec }),
        );
    }
    let (api, plural) = match kind {
        "deployment" => ("Deployment", "deployments"),
        "replicaset" => ("ReplicaSet", "replicasets"),
        "statefulset" => ("StatefulSet", "statefulsets"),
        "daemonset" => ("DaemonSet", "daemonsets"),
        other => panic!("`{other}` is no kind of this table"),
    };
    let mut workload = json!({ "selector": { "matchLabels": { "app": name } }, "template": { "metadata": pod, "spec": spec } });
    if kind != "daemonset" {
        workload["replicas"] = number(marks).into();
    }
    if kind == "statefulset" {
        workload["serviceName"] = name.into();
    }
    let object = json!({ "apiVersion": "apps/v1", "kind": api, "metadata": metadata, "spec": workload });
    Act::Create(format!("/apis/apps/v1/namespaces/{id}/{plural}"), object)
}

/// The pods of a workload, by its marks: `emptydir`, `memory`, `hostpath` (volumes), `pinned` (only the first node will do), `tolerant` (of every
/// taint), `held` (by a finalizer), `mirror`, and `unready`, `pending`, `succeeded`, `failed` (what it comes to).
fn pod_spec(id: &str, marks: &[&str]) -> (Json, Json, Vec<Json>) {
    let mut spec = json!({
        "nodeSelector": { "situation": id },
        "containers": [{ "name": "c", "image": "registry.example/app:v1" }],
        "automountServiceAccountToken": false,
        "terminationGracePeriodSeconds": 1,
    });
    let (mut annotations, mut finalizers, mut volumes) = (json!({}), Vec::new(), Vec::new());
    for mark in marks {
        match *mark {
            "emptydir" => volumes.push(json!({ "name": "data", "emptyDir": {} })),
            "memory" => volumes.push(json!({ "name": "data", "emptyDir": { "medium": "Memory" } })),
            "hostpath" => volumes.push(json!({ "name": "logs", "hostPath": { "path": "/var/log" } })),
            "pinned" => spec["nodeSelector"]["which"] = "a".into(),
            "tolerant" => spec["tolerations"] = json!([{ "operator": "Exists" }]),
            "held" => finalizers.push("example.com/held".into()),
            "mirror" => {
                annotations["kubernetes.io/config.mirror"] = "1".into();
                spec["nodeName"] = node(id).into();
            }
            "pending" => {
                annotations["never-ready"] = "true".into();
                spec["containers"][0]["image"] = NEVER.into();
            }
            "unready" | "succeeded" | "failed" => annotations["never-ready"] = "true".into(),
            number => assert!(number.parse::<u32>().is_ok(), "`{number}` is no mark of this table"),
        }
    }
    if !volumes.is_empty() {
        spec["volumes"] = volumes.into();
    }
    (spec, annotations, finalizers)
}

/// What a kubelet would say of pods that do not simply become ready.
fn status(app: &str, marks: &[&str]) -> Option<Act> {
    let ready = |reason: &str| json!([{ "type": "Ready", "status": "False", "reason": reason }]);
    let status = match *marks.iter().find(|mark| ["unready", "succeeded", "failed"].contains(*mark))? {
        "unready" => {
            json!({ "phase": "Running", "podIP": "10.9.9.9", "podIPs": [{ "ip": "10.9.9.9" }], "conditions": ready("ContainersNotReady") })
        }
        "succeeded" => json!({ "phase": "Succeeded", "conditions": ready("PodCompleted") }),
        _ => json!({ "phase": "Failed", "conditions": ready("PodFailed") }),
    };
    Some(Act::Status { app: app.to_owned(), status })
}

/// A budget `NAME min=N|N%` or `max=N|N%`, of the pods of the app of its name, with marks: `of=APP,APP` (other apps), `of=all` (an empty
/// selector), `of=none` (no selector), `always` (unready pods go), `in=NAMESPACE`.
fn budget(id: &str, name: &str, marks: &[&str]) -> Act {
    let mut spec = json!({ "selector": { "matchLabels": { "app": name } } });
    let mut namespace = id.to_owned();
    for mark in marks {
        let (key, value) = mark.split_once('=').unwrap_or((mark, ""));
        let amount = || value.parse::<i64>().map_or_else(|_| Json::from(value), Json::from);
        match (key, value) {
            ("min", _) => spec["minAvailable"] = amount(),
            ("max", _) => spec["maxUnavailable"] = amount(),
            ("always", _) => spec["unhealthyPodEvictionPolicy"] = "AlwaysAllow".into(),
            ("of", "all") => spec["selector"] = json!({}),
            ("of", "none") => drop(spec.as_object_mut().unwrap().remove("selector")),
            ("of", apps) => {
                let apps: Vec<Json> = apps.split(',').map(Json::from).collect();
                spec["selector"] = json!({ "matchExpressions": [{ "key": "app", "operator": "In", "values": apps }] });
            }
            ("in", other) => other.clone_into(&mut namespace),
            (other, _) => panic!("`{other}` is no mark of a budget"),
        }
    }
    let metadata = json!({ "name": name, "namespace": namespace });
    let object = json!({ "apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": metadata, "spec": spec });
    Act::Create(format!("/apis/policy/v1/namespaces/{namespace}/poddisruptionbudgets"), object)
}
