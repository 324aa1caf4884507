//! Cases as they are written: `case.yaml`, with the cluster it begins with in `cluster.yaml` where the usual one will not do.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::Outcome;

/// The namespace of everything that a case makes.
pub(crate) const NAMESPACE: &str = "case";

/// How long a `wait` lasts at most, in seconds, when it does not say.
const PATIENCE: u64 = 60;

/// What can be waited for and what a `snap` looks at: plural, path of the group, whether it lives in a namespace.
const KINDS: [(&str, &str, bool); 25] = [
    ("configmaps", "/api/v1", true),
    ("endpoints", "/api/v1", true),
    ("events", "/api/v1", true),
    ("namespaces", "/api/v1", false),
    ("nodes", "/api/v1", false),
    ("pods", "/api/v1", true),
    ("secrets", "/api/v1", true),
    ("serviceaccounts", "/api/v1", true),
    ("services", "/api/v1", true),
    ("controllerrevisions", "/apis/apps/v1", true),
    ("daemonsets", "/apis/apps/v1", true),
    ("deployments", "/apis/apps/v1", true),
    ("replicasets", "/apis/apps/v1", true),
    ("statefulsets", "/apis/apps/v1", true),
    ("horizontalpodautoscalers", "/apis/autoscaling/v2", true),
    ("cronjobs", "/apis/batch/v1", true),
    ("jobs", "/apis/batch/v1", true),
    ("leases", "/apis/coordination.k8s.io/v1", true),
    ("endpointslices", "/apis/discovery.k8s.io/v1", true),
    ("ingresses", "/apis/networking.k8s.io/v1", true),
    ("networkpolicies", "/apis/networking.k8s.io/v1", true),
    ("poddisruptionbudgets", "/apis/policy/v1", true),
    ("roles", "/apis/rbac.authorization.k8s.io/v1", true),
    ("rolebindings", "/apis/rbac.authorization.k8s.io/v1", true),
    ("customresourcedefinitions", "/apis/apiextensions.k8s.io/v1", false),
];

/// Kinds that a `snap` leaves out: namespaces are the frame of a case.
const NOT_IN_SNAPS: [&str; 1] = ["namespaces"];

/// One case: a folder.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    /// The name of the folder.
    pub(crate) name: String,
    /// The folder.
    pub(crate) folder: PathBuf,
    /// What `case.yaml` says.
    pub(crate) text: CaseFile,
    /// The cluster that it begins with, as YAML.
    pub(crate) cluster: String,
    /// How its containers behave: `model.yaml` of all cases, and its own where the folder holds one.
    pub(crate) model: String,
    /// What its own model says to KWOK: `stages.yaml` in its folder.
    pub(crate) stages: String,
    /// A digest of all that its recording depends on.
    pub(crate) digest: String,
}

/// What `case.yaml` says.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CaseFile {
    /// One sentence: what holds.
    pub(crate) title: String,
    /// The behaviour that it names: with it switched off the case must fail.
    pub(crate) guards: String,
    /// Its number in the list of the first 34 behaviours, where it is one of them.
    #[serde(default)]
    pub(crate) number: Option<u32>,
    /// How the control plane is started.
    #[serde(default)]
    pub(crate) plane: Plane,
    /// So many nodes more than those of the cluster, each with a name of its own.
    #[serde(default)]
    nodes: usize,
    /// What is compared although it is usually left out.
    #[serde(default)]
    pub(crate) keep: Keep,
    /// What is done, in this order.
    pub(crate) steps: Vec<Step>,
}

/// How the control plane of a case differs from the usual one.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct Plane {
    /// Whether there is an API server and nobody else: no controllers, no scheduler, no kubelets.
    #[serde(default)]
    pub(crate) alone: bool,
    /// Whether pods get a ServiceAccount and its token, as on most clusters.
    #[serde(default)]
    pub(crate) service_accounts: bool,
    /// The version that the server is told to behave like, such as `1.35`.
    pub(crate) emulates: Option<String>,
    /// The version that the server says to have, such as `v1.33.2`; that of the build when absent.
    pub(crate) version: Option<String>,
}

/// What is compared although it is usually left out.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct Keep {
    /// On which nodes pods are: only where the case leaves the scheduler no choice.
    #[serde(default)]
    pub(crate) nodes: bool,
    /// `metadata.managedFields`, without its times.
    #[serde(default)]
    pub(crate) managed_fields: bool,
}

/// One step: exactly one of the first ten fields is given, and what belongs to it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Step {
    /// Arguments of kubectl. On replay the requests are sent that it sent when it was recorded.
    kubectl: Option<Vec<String>>,
    /// Drains these nodes at the same time, each with a kubectl of its own. What they send and say depends on who is faster: it is not
    /// compared, and on replay somebody else does what kubectl does.
    drains: Option<Vec<String>>,
    /// A request: `METHOD PATH`. Names of the form `{{STEP:POINTER}}` stand for what an earlier answer said.
    request: Option<String>,
    /// Waits until something holds.
    wait: Option<Wait>,
    /// Compares all that the namespace holds, and the nodes.
    snap: Option<String>,
    /// Lets so many seconds pass.
    advance: Option<u64>,
    /// Opens a watch on this path; `as` names it.
    watch: Option<String>,
    /// Compares what the watch of this name has told since it was looked at last.
    events: Option<String>,
    /// Lets the server forget what was before: what is stored is compacted, and the server starts again.
    #[serde(default)]
    compact: bool,
    /// The kubelet of this node falls silent, and the node gets a label that says so.
    silence: Option<String>,
    /// Standard input of kubectl.
    #[serde(default)]
    stdin: String,
    /// The code that kubectl ends with.
    #[serde(default)]
    exit: i32,
    /// The body of a request.
    body: Option<Value>,
    /// The body of a request, when it is no JSON.
    text: Option<String>,
    /// Its content type; JSON when absent.
    #[serde(rename = "type")]
    content_type: Option<String>,
    /// Its `Accept` header; JSON when absent.
    accept: Option<String>,
    /// The user in whose place it is sent; the administrator when absent.
    #[serde(default)]
    user: String,
    /// The status code of its answer; any below 300 when absent.
    status: Option<u16>,
    /// The name under which later steps speak of the answer or of the watch.
    #[serde(rename = "as")]
    name: Option<String>,
    /// Whether the step is followed at once by the next one, before anything else happens.
    #[serde(default)]
    at_once: bool,
}

/// What a step waits for.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Wait {
    /// `PLURAL/NAME`, `PLURAL?labelSelector=…`, or a path from the root.
    of: String,
    /// Where to look: a JSON pointer in which `type=Ready` picks an element of a list. Of a list every item must fulfil it.
    at: Option<String>,
    /// What must be there; nothing when absent.
    is: Option<Value>,
    /// How many items the list must have.
    count: Option<usize>,
    /// Whether the object must be gone.
    #[serde(default)]
    gone: bool,
    /// For so many seconds at most.
    within: Option<u64>,
}

/// A step, taken apart.
#[derive(Clone, Debug)]
pub(crate) enum Action {
    /// Arguments, standard input, the code at the end.
    Kubectl(Vec<String>, String, i32),
    /// Nodes.
    Drains(Vec<String>),
    /// A request, the expected status.
    Request(Ask, Option<u16>),
    /// A predicate.
    Wait(Wait),
    /// A name for the reader.
    Snap(String),
    /// Seconds.
    Advance(u64),
    /// A name and the path.
    Watch(String, String),
    /// The name of a watch.
    Events(String),
    /// The past is forgotten.
    Compact,
    /// The node whose kubelet falls silent.
    Silence(String),
}

/// A request as it is written.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    /// The method.
    pub(crate) method: String,
    /// The path with its query.
    pub(crate) path: String,
    /// The content type.
    pub(crate) content_type: String,
    /// The `Accept` header.
    pub(crate) accept: String,
    /// The body; empty for none.
    pub(crate) body: String,
    /// The user in whose place it is sent.
    pub(crate) user: String,
    /// The name under which later steps speak of the answer.
    pub(crate) name: Option<String>,
}

impl Case {
    /// Whether a step of it is one of kubectl.
    pub(crate) fn needs_kubectl(&self) -> bool {
        self.text.steps.iter().any(|step| step.kubectl.is_some() || step.drains.is_some())
    }
}

impl Step {
    /// What is to be done.
    ///
    /// # Errors
    /// None or several of the fields are given, or a request is not `METHOD PATH`.
    pub(crate) fn action(&self) -> Outcome<Action> {
        let mut actions = Vec::new();
        if let Some(arguments) = &self.kubectl {
            actions.push(Action::Kubectl(arguments.clone(), self.stdin.clone(), self.exit));
        }
        if let Some(line) = &self.request {
            actions.push(Action::Request(self.ask(line)?, self.status));
        }
        actions.extend(self.drains.clone().map(Action::Drains));
        actions.extend(self.wait.clone().map(Action::Wait));
        actions.extend(self.snap.clone().map(Action::Snap));
        actions.extend(self.advance.map(Action::Advance));
        if let Some(path) = &self.watch {
            let name = self.name.clone().ok_or("a watch has no name: give it one with `as`")?;
            actions.push(Action::Watch(name, path.clone()));
        }
        actions.extend(self.events.clone().map(Action::Events));
        actions.extend(self.compact.then_some(Action::Compact));
        actions.extend(self.silence.clone().map(Action::Silence));
        match (actions.pop(), actions.is_empty()) {
            (Some(action), true) => Ok(action),
            _ => Err(format!(
                "a step is exactly one of kubectl, drains, request, wait, snap, advance, watch, events, compact, silence: {self:?}"
            )),
        }
    }

    /// Whether the cluster comes to rest after it.
    pub(crate) fn rests(&self) -> bool {
        !self.at_once
    }

    fn ask(&self, line: &str) -> Outcome<Ask> {
        let (method, path) = line.split_once(' ').ok_or_else(|| format!("`{line}` is not `METHOD PATH`"))?;
        let body = match (&self.body, &self.text) {
            (Some(body), _) => body.to_string(),
            (None, text) => text.clone().unwrap_or_default(),
        };
        let of_method = if method == "PATCH" { "application/strategic-merge-patch+json" } else { "application/json" };
        let content_type = self.content_type.clone().unwrap_or_else(|| if body.is_empty() { String::new() } else { of_method.to_owned() });
        let accept = self.accept.clone().unwrap_or_else(|| "application/json".to_owned());
        Ok(Ask {
            method: method.to_owned(),
            path: path.to_owned(),
            content_type,
            accept,
            body,
            user: self.user.clone(),
            name: self.name.clone(),
        })
    }
}

impl Wait {
    /// The path to read.
    ///
    /// # Errors
    /// The kind is not in the table.
    pub(crate) fn path(&self) -> Outcome<String> {
        resource_path(&self.of)
    }

    /// How long it may take, in seconds.
    pub(crate) fn patience(&self) -> u64 {
        self.within.unwrap_or(PATIENCE)
    }

    /// Whether an answer fulfils it.
    pub(crate) fn holds(&self, status: u16, answer: &Value) -> bool {
        if self.gone {
            return status == 404;
        }
        if status != 200 {
            return false;
        }
        let items = answer.get("items").and_then(Value::as_array);
        if let Some(count) = self.count
            && items.is_none_or(|items| items.len() != count)
        {
            return false;
        }
        let Some(at) = &self.at else { return true };
        let fulfils = |object: &Value| pick(object, at) == self.is.as_ref();
        match items {
            Some(items) => items.iter().all(fulfils),
            None => fulfils(answer),
        }
    }

    /// What it waits for, in words.
    pub(crate) fn words(&self) -> String {
        let wanted = self.is.as_ref().map_or_else(|| "nothing".to_owned(), Value::to_string);
        let count = self.count.map_or_else(String::new, |count| format!(" has {count} items"));
        let at = self.at.as_ref().map_or_else(String::new, |at| format!(" has {wanted} at {at}"));
        format!("{}{}{count}{at}", self.of, if self.gone { " is gone" } else { "" })
    }
}

/// The path of `PLURAL`, `PLURAL/NAME` or `PLURAL?QUERY`; what begins with a slash is a path already.
fn resource_path(of: &str) -> Outcome<String> {
    if of.starts_with('/') {
        return Ok(of.to_owned());
    }
    let end = of.find(['/', '?']).unwrap_or(of.len());
    let (plural, rest) = of.split_at(end);
    let (_, group, namespaced) = KINDS.iter().find(|(name, ..)| *name == plural).ok_or_else(|| format!("`{plural}` is no known kind"))?;
    let namespace = if *namespaced { format!("/namespaces/{NAMESPACE}") } else { String::new() };
    Ok(format!("{group}{namespace}/{plural}{rest}"))
}

/// The collection to which an object of the cluster is sent.
///
/// # Errors
/// It is no kind of the beginning of a case.
pub(crate) fn collection(object: &Value) -> Outcome<String> {
    match object.get("kind").and_then(Value::as_str) {
        Some("Namespace") => Ok("/api/v1/namespaces".to_owned()),
        Some("Node") => Ok("/api/v1/nodes".to_owned()),
        other => Err(format!("{other:?} is no kind of the cluster of a case without controllers")),
    }
}

/// The lists that a snap reads: plural and path.
pub(crate) fn snap_lists() -> impl Iterator<Item = (&'static str, String)> {
    let wanted = KINDS.iter().filter(|(plural, ..)| !NOT_IN_SNAPS.contains(plural));
    wanted.filter_map(|(plural, ..)| Some((*plural, resource_path(plural).ok()?)))
}

/// The value at a pointer in which `name=value` picks the first element of a list that has this field.
pub(crate) fn pick<'a>(value: &'a Value, pointer: &str) -> Option<&'a Value> {
    pointer.split('/').skip(1).try_fold(value, |value, step| match (value, step.split_once('=')) {
        (Value::Array(items), Some((field, wanted))) => items.iter().find(|item| item.get(field).and_then(Value::as_str) == Some(wanted)),
        (Value::Array(items), None) => items.get(step.parse::<usize>().ok()?),
        (value, _) => value.get(step.replace("~1", "/").replace("~0", "~")),
    })
}

/// The folder of all cases.
pub(crate) fn home() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance")
}

/// All cases, by name.
///
/// # Errors
/// A folder cannot be read, or a file in it is not what it should be.
pub(crate) fn all() -> Outcome<Vec<Case>> {
    let home = home();
    let usual = read(&home.join("cluster.yaml"))?;
    let model = read(&home.join("model.yaml"))?;
    let entries = std::fs::read_dir(&home).map_err(|error| format!("{}: {error}", home.display()))?;
    let mut folders: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).filter(|path| path.join("case.yaml").is_file()).collect();
    folders.sort();
    folders.into_iter().map(|folder| one(folder, &usual, &model)).collect()
}

fn one(folder: PathBuf, usual: &str, model: &str) -> Outcome<Case> {
    let written = read(&folder.join("case.yaml"))?;
    let text: CaseFile = serde_saphyr::from_str(&written).map_err(|error| format!("{}/case.yaml: {error}", folder.display()))?;
    for step in &text.steps {
        step.action().map_err(|error| format!("{}/case.yaml: {error}", folder.display()))?;
    }
    let own = folder.join("cluster.yaml");
    let mut cluster = if own.is_file() { read(&own)? } else { usual.to_owned() };
    for number in 0..text.nodes {
        // Writing to a string cannot fail.
        write!(cluster, "\n---\napiVersion: v1\nkind: Node\nmetadata: {{name: node-{number:05}}}\n").unwrap_or_default();
    }
    let own = |name: &str| {
        let path = folder.join(name);
        if path.is_file() { read(&path) } else { Ok(String::new()) }
    };
    let (own_model, stages) = (own("model.yaml")?, own("stages.yaml")?);
    let mut sha = Sha256::new();
    for part in [&written, &cluster, model, &own_model, &stages] {
        sha.update(part.as_bytes());
    }
    let digest = sha.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    let name = folder.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let model = if own_model.is_empty() { model.to_owned() } else { format!("{model}\n---\n{own_model}") };
    Ok(Case { name, folder, text, cluster, model, stages, digest })
}

/// Reads a file.
///
/// # Errors
/// With its path.
pub(crate) fn read(path: &Path) -> Outcome<String> {
    std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
}
