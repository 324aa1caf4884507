//! One script as a plan and as a run: how each ends, what each writes, and what the cluster holds when it has come to rest.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::rc::Rc;

use futures::future::LocalBoxFuture;
use lockgate::base::Result;
use lockgate::cluster::{Cluster, Select};
use lockgate::lua::LuaHost;
use lockgate::primitives::AskOptions;
use lockgate::run::event::StepEnd;
use lockgate::run::{Confirmation, End, Event, Job, Operator, Record, Script as _, Source, Voice, What, perform};
use serde_json::{Value, json};

use crate::controlplane::Outcome;
use crate::controlplane::normalise::{self, State};

/// The scripts, and what all of them find.
pub(crate) const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/truth");

/// Kinds that are compared in the script's namespace. What a script defines itself comes on top.
const COMPARED: [&str; 12] = [
    "deployments.apps",
    "replicasets.apps",
    "daemonsets.apps",
    "statefulsets.apps",
    "controllerrevisions.apps",
    "jobs.batch",
    "pods",
    "services",
    "endpointslices.discovery.k8s.io",
    "configmaps",
    "poddisruptionbudgets.policy",
    "customresourcedefinitions.apiextensions.k8s.io",
];

/// A script with its expectation: written down beforehand, so that a plan and a run cannot be wrong together.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) name: String,
    text: String,
    /// How both end; nothing where nobody wrote it down, and plan and run have to end alike only.
    expected: Option<String>,
    pub(crate) world: String,
}

/// What a plan or a run came to.
#[derive(Debug)]
pub(crate) struct Judged {
    /// `succeeds`, or the step, the reason and the object of its failure.
    pub(crate) ends: String,
    /// `verb object`, sorted, each once: who goes first among equals, and how many of them were on a node, is chance.
    pub(crate) writes: Vec<String>,
    pub(crate) told: String,
}

/// Says yes to everything.
struct Yes;

impl Operator for Yes {
    fn confirm<'a>(&'a self, _: &'a Confirmation) -> LocalBoxFuture<'a, Result<Option<bool>>> {
        Box::pin(async { Ok(Some(true)) })
    }

    fn ask<'a>(&'a self, _: &'a Confirmation, _: &'a AskOptions) -> LocalBoxFuture<'a, Result<Option<String>>> {
        Box::pin(async { Ok(None) })
    }
}

/// All the scripts, by name.
///
/// # Errors
/// A file cannot be read, or does not say how it ends.
pub(crate) fn cases() -> Outcome<Vec<Case>> {
    let told = |error: std::io::Error| format!("reading {FOLDER}: {error}");
    let world = std::fs::read_to_string(format!("{FOLDER}/world.yaml")).map_err(told)?;
    let mut cases = Vec::new();
    for entry in std::fs::read_dir(format!("{FOLDER}/scripts")).map_err(told)? {
        let path = entry.map_err(told)?.path();
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&path).map_err(told)?;
        let first = text.lines().next().unwrap_or_default();
        let expected = first.strip_prefix("--- ends: ").ok_or_else(|| format!("{}: its first line says how it ends", path.display()))?;
        let named = |text: &str| text.replace("ID", &name);
        cases.push(Case { expected: Some(named(expected)), text: named(&text), world: named(&world), name });
    }
    cases.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(cases)
}

impl Case {
    /// A script of which nobody knows how it ends.
    pub(crate) fn new(name: &str, text: &str, world: &str) -> Case {
        Case { name: name.to_owned(), text: format!("--- {name}\n{text}"), expected: None, world: world.to_owned() }
    }

    /// Its steps.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    fn source(&self) -> Source {
        let (comment, body) = self.text.split_once('\n').unwrap_or((&self.text, ""));
        let text = format!(
            "{comment}\nrunbook {{ title = \"Try\", summary = \"Tries.\", impact = \"restarts\", namespace = \"{}\" }}\n\
             permissions {{ {{ verbs = {{ \"*\" }}, kinds = {{ \"*\" }} }} }}\n{body}",
            self.name
        );
        Source::of_text(&self.name, &text)
    }

    /// Performs it on this cluster, which is a plan's copy or the cluster itself.
    ///
    /// # Errors
    /// The script does not load.
    pub(crate) fn perform(&self, runtime: &Rc<tokio::runtime::Runtime>, cluster: &Cluster, what: What) -> Outcome<Judged> {
        let words = |error: lockgate::base::Error| format!("{}: {error}", self.name);
        let mut script = LuaHost::new(self.source(), Some(runtime.clone())).map_err(words)?;
        let runbook = Rc::new(script.load().map_err(words)?);
        let voice = match what {
            What::Plan => Voice::Plan,
            What::Run => Voice::Person { operator: Rc::new(Yes), consented: Vec::new() },
        };
        let records: Rc<RefCell<Vec<Record>>> = Rc::default();
        let (cluster, sink, params) = (cluster.clone(), records.clone(), Rc::default());
        let summary = perform(&mut script, Job { what, cluster, runbook, params, voice, sink, record: None });
        let records = records.borrow();
        let failed = records.iter().find_map(|record| match &record.event {
            Event::StepFinished { step, end: StepEnd::Failed { .. }, .. } => Some(step.id.clone()),
            _ => None,
        });
        let ends = match (&summary.error, failed) {
            (None, None) if summary.end == End::Succeeded => "succeeds".to_owned(),
            (Some(error), Some(step)) => {
                let object = error.object.as_deref().map(|object| format!(" {}", of_owner(object))).unwrap_or_default();
                format!("step {step} {}{object}", error.reason.as_str())
            }
            (error, step) => format!("{:?}, step {step:?}, {error:?}", summary.end),
        };
        let mut writes: Vec<String> = records.iter().filter_map(|record| written(&record.event)).collect();
        writes.sort();
        writes.dedup();
        let mut told = String::new();
        if let Some(error) = &summary.error {
            write!(told, "{error}").ok();
        }
        Ok(Judged { ends, writes, told })
    }
}

fn written(event: &Event) -> Option<String> {
    match event {
        Event::Wrote { verb, target, .. } => Some(format!("{verb} {}", of_owner(target))),
        _ => None,
    }
}

/// `pod/shop/web-5d9c4-x7k2p` is a pod of `web`: what follows is drawn anew in each cluster. Pods of a set are named by their number.
fn of_owner(object: &str) -> String {
    let Some(rest) = object.strip_prefix("pod/") else { return object.to_owned() };
    let (place, name) = rest.rsplit_once('/').map_or(("", rest), |(place, name)| (place, name));
    let mut parts: Vec<&str> = name.split('-').collect();
    while parts.len() > 1 && parts.last().is_some_and(|part| part.len() >= 5 && !part.contains(['a', 'e', 'i', 'o', 'u'])) {
        parts.pop();
    }
    let name = parts.join("-");
    if place.is_empty() { format!("pod/{name}") } else { format!("pod/{place}/{name}") }
}

/// What the cluster holds, made comparable. Where a pod without a place of its own runs is the scheduler's choice among equals.
///
/// # Errors
/// A list cannot be read.
pub(crate) async fn state(cluster: &Cluster, case: &Case) -> Outcome<State> {
    let mut objects = Vec::new();
    for kind in COMPARED.iter().copied().chain(["nodes"]) {
        let (kind, group) = kind.split_once('.').map_or((kind, None), |(kind, group)| (kind, Some(group)));
        let told = |error: lockgate::base::Error| format!("{}: {kind}: {error}", case.name);
        let resource = cluster.resolve(kind, group).await.map_err(told)?;
        let namespace = resource.namespaced.then_some(case.name.as_str());
        let listed = cluster.list(&resource, namespace, &Select::default()).await.map_err(told)?;
        objects.extend(listed.items.iter().map(|object| Value::from(&**object)));
    }
    objects.retain(|object| belongs(object, &case.name));
    Ok(normalise::normalise(objects.into_iter().map(tidy).collect()))
}

fn belongs(object: &Value, id: &str) -> bool {
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    match object["kind"].as_str() {
        Some("Node") => object.pointer("/metadata/labels/truth").and_then(Value::as_str) == Some(id),
        Some("CustomResourceDefinition") => name.ends_with(&format!(".{id}.example")),
        // Every server puts it into every namespace when it comes to it.
        Some("ConfigMap") => name != "kube-root-ca.crt",
        _ => true,
    }
}

/// Forgets the run's id, and how many nodes of other scripts the scheduler looked at.
fn texts(value: &mut Value) {
    match value {
        Value::Object(fields) => fields.values_mut().for_each(texts),
        Value::Array(items) => items.iter_mut().for_each(texts),
        Value::String(text) if text.starts_with("0/") && text.contains("nodes are available") => "<no node>".clone_into(text),
        Value::String(text) => {
            let is_id = |word: &&str| word.len() == 26 && word.starts_with("01") && word.parse::<lockgate::cluster::RunId>().is_ok();
            let found = text.split(|letter: char| !letter.is_ascii_alphanumeric()).find(is_id).map(str::to_owned);
            if let Some(id) = found {
                *text = text.replace(&id, "<run>");
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// A rollout on its way says `NewReplicaSetCreated` or `ReplicaSetUpdated`: which is a race between the controllers of Deployments
/// and of ReplicaSets (`controlplane::trials::trap_declined` explains it).
fn going(condition: &mut Value) {
    if matches!(condition["reason"].as_str(), Some("NewReplicaSetCreated" | "ReplicaSetUpdated")) {
        condition["reason"] = json!("<on its way>");
        condition["message"] = json!("<on its way>");
    }
}

fn tidy(mut object: Value) -> Value {
    // How manieth a write was depends on how many pods were on a node.
    if let Some(annotations) = object.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut) {
        drop(annotations.remove("lockgate.dev/op"));
        // How often kubelets look again grows with the number of nodes, which have come from many scripts.
        drop(annotations.remove("node.alpha.kubernetes.io/ttl"));
        // Whether the last write of a slice knows which change it answers depends on how many came at once.
        drop(annotations.remove("endpoints.kubernetes.io/last-change-trigger-time"));
        let none = annotations.is_empty();
        if let (true, Some(meta)) = (none, object.get_mut("metadata").and_then(Value::as_object_mut)) {
            drop(meta.remove("annotations"));
        }
    }
    // A condition that was lost and came back is the last: whether it was depends on how many pods were on one node.
    if let Some(conditions) = object.pointer_mut("/status/conditions").and_then(Value::as_array_mut) {
        conditions.sort_by_key(|condition| condition["type"].to_string());
        conditions.iter_mut().for_each(going);
    }
    texts(&mut object);
    match object["kind"].as_str().unwrap_or_default() {
        "Pod" => {
            let owner = object.pointer("/metadata/ownerReferences/0/kind").cloned();
            let by_chance = owner.as_ref().is_none_or(|owner| owner != "DaemonSet");
            let mut status: BTreeMap<&str, Value> = BTreeMap::new();
            for field in ["phase", "reason", "conditions"] {
                if let Some(value) = object["status"].get(field) {
                    status.insert(field, value.clone());
                }
            }
            object["status"] = json!(status);
            if let (true, Some(spec)) = (by_chance, object["spec"].as_object_mut()) {
                drop(spec.remove("nodeName"));
            }
            object
        }
        "Node" => {
            let (meta, spec) = (&object["metadata"], &object["spec"]);
            let kept = json!({"name": meta["name"], "labels": meta["labels"], "annotations": meta["annotations"]});
            json!({"kind": "Node", "metadata": kept, "spec": {"unschedulable": spec["unschedulable"], "taints": spec["taints"]}})
        }
        "EndpointSlice" => {
            for endpoint in object["endpoints"].as_array_mut().into_iter().flatten() {
                drop(endpoint.as_object_mut().and_then(|endpoint| endpoint.remove("nodeName")));
            }
            object
        }
        _ => object,
    }
}

/// Where plan and run disagree, or either is not as the script says; nothing when they are one.
pub(crate) fn disagreements(case: &Case, (plan, planned): (&Judged, &State), (run, state): (&Judged, &State)) -> Vec<String> {
    let mut found = Vec::new();
    let expected = case.expected.as_ref().unwrap_or(&run.ends);
    for (who, judged) in [("the plan", plan), ("the run", run)] {
        if judged.ends != *expected {
            found.push(format!("{who}: {} instead of {expected}: {}", judged.ends, judged.told));
        }
    }
    if plan.writes != run.writes {
        found.push(format!("writes: the plan {:?}, the run {:?}", plan.writes, run.writes));
    }
    found.extend(normalise::differences(planned, state).into_iter().map(|line| format!("plan | run: {line}")));
    found.into_iter().map(|line| format!("{}: {line}", case.name)).collect()
}
