//! Models: what the API does not say about the world behind it.
//!
//! A model tells how long an image takes to pull, whether a pod ever gets ready, how long a container takes to stop. Without
//! a model the defaults below hold. Where several entries speak about the same thing, the last one wins, field by field.

mod answer;
mod change;
mod chart;
mod document;
mod node;
mod object;
mod pattern;
mod probe;
mod program;
mod release;

pub use answer::{ExecAnswer, ExecMatch, ExecModel, LogAnswer, LogLine, LogMatch, LogModel};
pub use change::{CopyModel, InputModel, ObjectChange};
pub use chart::ChartModel;
pub use document::ModelDocument;
pub use node::{KubeletState, NodeModel};
pub use object::{Condition, ConditionModel, DefinitionModel, ObjectMatch, ObjectModel};
pub(crate) use object::{has_labels, names};
pub use pattern::glob;
pub(crate) use pattern::parts;
pub(crate) use probe::{Concerned, Life};
pub use probe::{Hang, Lapse};
pub use program::{Program, ProgramModel};
pub use release::{PastRevision, ReleaseModel};

use std::collections::BTreeMap;
use std::fmt;

use imbl::Vector;

use crate::json::{Map, Value};
use crate::lifecycle::hold::Seen;
use crate::machines::MachineModel;
use crate::store::Store;
use jiff::SignedDuration;
use serde::Deserialize;
use serde::de::{self, Deserializer};

/// Time to pull an image that is not on the node yet.
pub const DEFAULT_PULL: SignedDuration = SignedDuration::from_secs(8);
/// Time from the last pulled image to the running container; also the running time of an init container.
pub const DEFAULT_START: SignedDuration = SignedDuration::from_secs(1);
/// Time from running to ready.
pub const DEFAULT_READY: SignedDuration = SignedDuration::from_secs(2);
/// Time a container takes to end when it is asked to; never more than the grace period.
pub const DEFAULT_STOP: SignedDuration = SignedDuration::from_secs(1);
/// Running time of a container of a Job, which then ends well.
pub const DEFAULT_RUN: SignedDuration = SignedDuration::from_secs(5);
/// Running time of a container that crashes.
pub const DEFAULT_CRASH_AFTER: SignedDuration = SignedDuration::from_secs(2);

/// A duration as people write it: `8s`, `1m30s`, `2h`. Never negative.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub SignedDuration);

impl Span {
    /// No time at all.
    pub const ZERO: Self = Self(SignedDuration::ZERO);
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#}", self.0)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        parse_span(&text).map(Self).map_err(de::Error::custom)
    }
}

/// Reads a duration such as `8s` or `1m30s`.
///
/// # Errors
/// A sentence that says what is wrong with the text.
pub fn parse_span(text: &str) -> Result<SignedDuration, String> {
    match text.parse::<SignedDuration>() {
        Ok(span) if span.is_negative() => Err(format!("the duration `{text}` is negative")),
        Ok(span) => Ok(span),
        Err(_) => Err(format!("`{text}` is not a duration such as `20s` or `1m30s`")),
    }
}

/// When a pod gets ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readiness {
    /// It never does.
    Never,
    /// So long after its containers run.
    After(SignedDuration),
}

impl<'de> Deserialize<'de> for Readiness {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text == "never" {
            return Ok(Self::Never);
        }
        parse_span(&text).map(Self::After).map_err(|e| de::Error::custom(format!("{e}, and not `never`")))
    }
}

/// How long a container runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Running {
    /// Until it is stopped.
    Forever,
    /// So long; then it ends with code 0.
    For(SignedDuration),
}

impl<'de> Deserialize<'de> for Running {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text == "forever" {
            return Ok(Self::Forever);
        }
        parse_span(&text).map(Self::For).map_err(|e| de::Error::custom(format!("{e}, and not `forever`")))
    }
}

/// How a container crashes.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Crash {
    /// Running time before each crash; default 2 s.
    pub after: Option<Span>,
    /// How often it crashes before it stays up; for ever when absent.
    pub times: Option<u32>,
    /// The exit code; default 1.
    pub exit_code: Option<i32>,
}

/// What is known about images that match a pattern.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageModel {
    /// Pattern over the whole image reference; `*` stands for any text, `?` for one character.
    #[serde(rename = "match")]
    pub pattern: String,
    /// Time to pull it to a node that does not have it.
    pub pull: Option<Span>,
    /// Time from pulled to running.
    pub start: Option<Span>,
    /// Time from running until the startup probe of its container is answered well, if there is one; default at once.
    pub startup: Option<Readiness>,
    /// Time from running, or from the end of the startup, to ready. It is not cut to the period of a readiness probe.
    pub ready: Option<Readiness>,
    /// When its readiness probe fails later.
    pub lapses: Option<Vec<Lapse>>,
    /// When its liveness probe fails.
    pub hangs: Option<Hang>,
    /// How long it runs; by default for ever, and 5 s in a pod of a Job.
    pub run: Option<Running>,
    /// Time to stop.
    pub stop: Option<Span>,
    /// Whether every pull fails.
    pub never_pulls: Option<bool>,
    /// How its containers crash.
    pub crash: Option<Crash>,
    /// Why this is believed.
    pub why: String,
}

impl ImageModel {
    /// An entry that says nothing yet about images that match `pattern`.
    #[must_use]
    pub fn new(pattern: &str, why: &str) -> Self {
        Self {
            pattern: pattern.to_owned(),
            pull: None,
            start: None,
            startup: None,
            ready: None,
            lapses: None,
            hangs: None,
            run: None,
            stop: None,
            never_pulls: None,
            crash: None,
            why: why.to_owned(),
        }
    }
}

/// Which pods a model is about. Every given field must match; a match without fields matches every pod.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PodMatch {
    /// Namespace, exactly.
    pub namespace: Option<String>,
    /// Pattern over the name of the pod.
    pub name: Option<String>,
    /// Labels that the pod must have.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Node that the pod runs on, exactly.
    pub node: Option<String>,
    /// `kind/name` of a direct or indirect owner, for example `deployment/web` or `daemonset/agent`.
    pub owner: Option<String>,
}

impl PodMatch {
    /// Whether the pod is meant. `owners` are its owners as `kind/name`, nearest first.
    #[must_use]
    pub fn matches(&self, pod: &Value, owners: &[String]) -> bool {
        let text = |path: &[&str]| crate::view::text(pod, path).to_owned();
        let labels = crate::view::labels(pod);
        let label_is = |(key, want): (&String, &String)| labels.and_then(|l: &Map| l.get(key)).and_then(Value::as_str) == Some(want);
        self.namespace.as_ref().is_none_or(|ns| *ns == text(&["metadata", "namespace"]))
            && self.name.as_ref().is_none_or(|n| glob(n, &text(&["metadata", "name"])))
            && self.node.as_ref().is_none_or(|n| *n == text(&["spec", "nodeName"]))
            && self.owner.as_ref().is_none_or(|o| owners.iter().any(|owner| owner.eq_ignore_ascii_case(o)))
            && self.labels.iter().all(label_is)
    }
}

/// What is known about some pods.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PodModel {
    /// Which pods.
    #[serde(rename = "match")]
    pub pods: PodMatch,
    /// When they answer their startup probes well.
    pub startup: Option<Readiness>,
    /// When they get ready.
    pub ready: Option<Readiness>,
    /// When their readiness probes fail later.
    pub lapses: Option<Vec<Lapse>>,
    /// When their liveness probes fail.
    pub hangs: Option<Hang>,
    /// How long their containers run.
    pub run: Option<Running>,
    /// When new ones get no network, so that their containers do not start; those in the network of their host need none.
    pub no_network: Option<NoNetwork>,
    /// Whether their deletion never ends.
    pub stuck_terminating: Option<bool>,
    /// How their containers crash.
    pub crash: Option<Crash>,
    /// Why this is believed.
    pub why: String,
}

impl PodModel {
    /// An entry that says nothing yet about these pods.
    #[must_use]
    pub fn new(pods: PodMatch, why: &str) -> Self {
        Self {
            pods,
            startup: None,
            ready: None,
            lapses: None,
            hangs: None,
            run: None,
            no_network: None,
            stuck_terminating: None,
            crash: None,
            why: why.to_owned(),
        }
    }
}

/// When the network plugin refuses pods.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoNetwork {
    /// As long as all of these hold, seen from the pod.
    #[serde(rename = "while")]
    pub conditions: Vec<Condition>,
    /// What it says.
    pub message: String,
}

impl PodModel {
    /// What is wrong with the entry, if anything.
    ///
    /// # Errors
    /// One sentence.
    fn check(&self) -> Result<(), String> {
        self.no_network.iter().flat_map(|refusal| &refusal.conditions).try_for_each(Condition::check_for_commands)
    }
}

/// All models of a cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Models {
    images: Vec<ImageModel>,
    pods: Vec<PodModel>,
    exec: Vec<ExecModel>,
    logs: Vec<LogModel>,
    nodes: Vec<NodeModel>,
    machines: Vec<MachineModel>,
    charts: Vec<ChartModel>,
    programs: Vec<ProgramModel>,
    definitions: Vec<DefinitionModel>,
    objects: Vector<ObjectModel>,
    /// Whether an entry about nodes came since the engine last looked.
    news_of_nodes: bool,
    /// The same for objects.
    news_of_objects: bool,
    /// Entries that pods heed which run already.
    news_of_probes: Vec<Concerned>,
}

impl Models {
    /// Adds an entry about images; it wins over earlier ones.
    pub fn image(&mut self, model: ImageModel) {
        self.heed_image(&model);
        self.images.push(model);
    }

    /// Adds an entry about pods; it wins over earlier ones and over entries about images.
    pub fn pod(&mut self, model: PodModel) {
        self.heed_pods(&model);
        self.pods.push(model);
    }

    /// Adds everything from a `Model` document.
    pub fn extend(&mut self, document: ModelDocument) {
        document.images.into_iter().for_each(|entry| self.image(entry));
        document.pods.into_iter().for_each(|entry| self.pod(entry));
        self.exec.extend(document.exec);
        self.logs.extend(document.logs);
        self.news_of_nodes |= !document.nodes.is_empty();
        self.nodes.extend(document.nodes);
        self.machines.extend(document.machines);
        self.charts.extend(document.charts);
        self.programs.extend(document.programs);
        self.definitions.extend(document.definitions);
        document.objects.into_iter().for_each(|entry| self.object(entry));
    }

    /// Adds an entry about nodes; it wins over earlier ones. It takes effect when time or a request goes on.
    pub fn node(&mut self, model: NodeModel) {
        self.news_of_nodes = true;
        self.nodes.push(model);
    }

    /// Whether the operator's machine is said to be without a program.
    #[must_use]
    pub fn lacks(&self, program: Program) -> bool {
        self.programs.iter().any(|entry| entry.missing == program)
    }

    /// The entries about charts, in their order; the last one that fits counts.
    #[must_use]
    pub fn charts(&self) -> &[ChartModel] {
        &self.charts
    }

    /// Adds an entry about machines; it wins over earlier ones. What it says of files, packages and units counts for a machine that
    /// nobody looked at yet.
    pub fn machine(&mut self, model: MachineModel) {
        self.machines.push(model);
    }

    /// The entries about the machine of a node, in their order.
    pub(crate) fn machines<'a>(&'a self, node: &'a str) -> impl DoubleEndedIterator<Item = &'a MachineModel> {
        self.machines.iter().filter(move |entry| entry.matches(node))
    }

    /// Whether there was news of nodes since the last call.
    pub(crate) fn take_news_of_nodes(&mut self) -> bool {
        std::mem::take(&mut self.news_of_nodes)
    }

    /// Whether the kubelet of a node works.
    pub(crate) fn kubelet_runs(&self, node: &str) -> bool {
        let entry = self.nodes.iter().rev().find(|model| glob(&model.pattern, node));
        entry.is_none_or(|model| model.kubelet == KubeletState::Running)
    }

    /// Adds an entry about commands in containers; it wins over earlier ones.
    pub fn exec(&mut self, model: ExecModel) {
        self.exec.push(model);
    }

    /// Adds an entry about logs; it wins over earlier ones.
    pub fn log(&mut self, model: LogModel) {
        self.logs.push(model);
    }

    /// What this command does, and what the `*` of the entry's pattern stand for; `None` when no entry is about it. `holds` tells of
    /// conditions.
    pub(crate) fn command(
        &self,
        (pod, owners): (&Value, &[String]),
        container: &str,
        command: &[String],
        holds: impl Fn(&Condition, &[String]) -> bool,
    ) -> Option<(&ExecAnswer, Vec<String>)> {
        let text = command.join(" ");
        self.exec.iter().rev().find_map(|model| {
            let found = model.matches(pod, owners, container, &text)?;
            model.commands.when.iter().all(|condition| holds(condition, &found)).then_some((&model.answer, found))
        })
    }

    /// What a container writes; `None` when no entry is about it.
    pub(crate) fn written(&self, pod: &Value, owners: &[String], container: &str, previous: bool) -> Option<&LogAnswer> {
        self.logs.iter().rev().find(|model| model.matches(pod, owners, container, previous)).map(|model| &model.answer)
    }

    /// Images that match take this long to pull.
    pub fn slow(&mut self, pattern: &str, pull: SignedDuration) {
        self.image(ImageModel { pull: Some(Span(pull)), ..ImageModel::new(pattern, "set by a scenario") });
    }

    /// Images that match cannot be pulled.
    pub fn never_pulls(&mut self, pattern: &str) {
        self.image(ImageModel { never_pulls: Some(true), ..ImageModel::new(pattern, "set by a scenario") });
    }

    /// Pods that match never get ready. Pods that are ready already stay so.
    pub fn never_ready(&mut self, pods: PodMatch) {
        self.pod(PodModel { ready: Some(Readiness::Never), ..PodModel::new(pods, "set by a scenario") });
    }

    /// Containers of pods that match crash again and again, from their next start on.
    pub fn crashes(&mut self, pods: PodMatch) {
        let crash = Crash { after: None, times: None, exit_code: None };
        self.pod(PodModel { crash: Some(crash), ..PodModel::new(pods, "set by a scenario") });
    }

    /// Deletions of pods that match never end.
    pub fn stuck_terminating(&mut self, pods: PodMatch) {
        self.pod(PodModel { stuck_terminating: Some(true), ..PodModel::new(pods, "set by a scenario") });
    }

    /// Whether any entry is about pods; owners need not be looked up otherwise.
    pub(crate) fn knows_pods(&self) -> bool {
        !self.pods.is_empty()
    }

    /// What the network plugin says when it refuses a pod.
    pub(crate) fn refused_network(&self, pod: &Value, owners: &[String], store: &Store) -> Option<&str> {
        let seen = Seen { store, index: None, object: pod, found: &[] };
        let meant = self.pods.iter().filter(|entry| entry.no_network.is_some() && entry.pods.matches(pod, owners));
        let refusal =
            meant.filter_map(|entry| entry.no_network.as_ref()).find(|refusal| refusal.conditions.iter().all(|c| seen.holds(c)))?;
        Some(&refusal.message)
    }

    /// Why a pod comes up as it does here: the reasons of the entries about it and its images; none where it is like any.
    #[must_use]
    pub fn because(&self, pod: &Value, owners: &[String]) -> Vec<&str> {
        let of_pod = self.pods.iter().rev().filter(|entry| entry.pods.matches(pod, owners)).map(|entry| entry.why.as_str());
        let containers = ["initContainers", "containers"].iter().flat_map(|list| crate::view::list(pod, &["spec", list]));
        let images = containers.filter_map(|container| container.get("image").and_then(Value::as_str));
        let of_images = images.filter_map(|image| self.images.iter().rev().find(|entry| glob(&entry.pattern, image)));
        let mut whys: Vec<&str> = of_pod.chain(of_images.map(|entry| entry.why.as_str())).collect();
        whys.dedup();
        whys
    }

    fn of_image<T>(&self, image: &str, field: impl Fn(&ImageModel) -> Option<T>) -> Option<T> {
        self.images.iter().rev().filter(|m| glob(&m.pattern, image)).find_map(field)
    }

    fn of_pod<T>(&self, pod: &Value, owners: &[String], field: impl Fn(&PodModel) -> Option<T>) -> Option<T> {
        self.pods.iter().rev().filter(|m| m.pods.matches(pod, owners)).find_map(field)
    }

    pub(crate) fn pull_time(&self, image: &str) -> SignedDuration {
        self.of_image(image, |m| m.pull).map_or(DEFAULT_PULL, |s| s.0)
    }

    pub(crate) fn pull_fails(&self, image: &str) -> bool {
        self.of_image(image, |m| m.never_pulls).unwrap_or(false)
    }

    pub(crate) fn start_time(&self, image: &str) -> SignedDuration {
        self.of_image(image, |m| m.start).map_or(DEFAULT_START, |s| s.0)
    }

    pub(crate) fn stop_time(&self, image: &str) -> SignedDuration {
        self.of_image(image, |m| m.stop).map_or(DEFAULT_STOP, |s| s.0)
    }

    /// How long a container runs before it ends well; `None` for ever.
    pub(crate) fn run_time(&self, image: &str, pod: &Value, owners: &[String]) -> Option<SignedDuration> {
        match self.of_pod(pod, owners, |m| m.run).or_else(|| self.of_image(image, |m| m.run)) {
            Some(Running::Forever) => None,
            Some(Running::For(span)) => Some(span),
            None => {
                let of_job = crate::view::controller_of(pod).is_some_and(|owner| crate::view::text(owner, &["kind"]) == "Job");
                of_job.then_some(DEFAULT_RUN)
            }
        }
    }

    pub(crate) fn crash(&self, image: &str, pod: &Value, owners: &[String]) -> Option<Crash> {
        self.of_pod(pod, owners, |m| m.crash.clone()).or_else(|| self.of_image(image, |m| m.crash.clone()))
    }

    pub(crate) fn is_stuck(&self, pod: &Value, owners: &[String]) -> bool {
        self.of_pod(pod, owners, |m| m.stuck_terminating).unwrap_or(false)
    }
}

impl fmt::Display for PodMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts: Vec<String> = self.labels.iter().map(|(k, v)| format!("{k}={v}")).collect();
        let fields = [("namespace", &self.namespace), ("name", &self.name), ("node", &self.node), ("owner", &self.owner)];
        parts.extend(fields.iter().filter_map(|(key, value)| value.as_ref().map(|v| format!("{key} {v}"))));
        if parts.is_empty() { f.write_str("every pod") } else { f.write_str(&parts.join(", ")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::json;

    #[test]
    fn the_last_entry_that_speaks_wins() {
        let mut models = Models::default();
        models.slow("registry.example/*", SignedDuration::from_secs(60));
        models.never_pulls("*:bad");
        models.slow("*:v2", SignedDuration::from_secs(5));
        assert_eq!(models.pull_time("registry.example/a:v1"), SignedDuration::from_secs(60));
        assert_eq!(models.pull_time("registry.example/a:v2"), SignedDuration::from_secs(5));
        assert_eq!(models.pull_time("other/a:v1"), DEFAULT_PULL);
        assert!(models.pull_fails("registry.example/a:bad") && !models.pull_fails("registry.example/a:v1"));
        models.image(ImageModel { never_pulls: Some(false), ..ImageModel::new("*", "repaired") });
        assert!(!models.pull_fails("registry.example/a:bad"));
    }

    #[test]
    fn pods_are_matched_by_every_given_field() {
        let pod = json!({"metadata": {"name": "web-1", "namespace": "shop", "labels": {"app": "web"}},
            "spec": {"nodeName": "n1"}});
        let owners = ["replicaset/web-5d".to_owned(), "deployment/web".to_owned()];
        let matches = |m: Value| crate::json::from_value::<PodMatch>(m).unwrap().matches(&pod, &owners);
        assert!(matches(json!({})));
        assert!(matches(json!({"owner": "deployment/web", "node": "n1", "labels": {"app": "web"}})));
        assert!(matches(json!({"name": "web-*", "namespace": "shop"})));
        assert!(!matches(json!({"owner": "deployment/api"})));
        assert!(!matches(json!({"labels": {"app": "db"}})));
        let mut models = Models::default();
        models.never_ready(PodMatch { node: Some("n1".to_owned()), ..PodMatch::default() });
        assert_eq!(models.life("x", &pod, &owners, 0).ready, Readiness::Never);
    }

    #[test]
    fn documents_are_checked() {
        let parse = |v: Value| crate::json::from_value::<ModelDocument>(v).map_err(|e| e.to_string());
        let head = |mut v: Value| {
            v["apiVersion"] = json!("lockgate.dev/v1");
            v["kind"] = json!("Model");
            v
        };
        let ok = parse(head(json!({"images": [{"match": "*", "pull": "1m30s", "ready": "never", "why": "seen"}]}))).unwrap();
        assert_eq!(ok.images[0].pull, Some(Span(SignedDuration::from_secs(90))));
        assert_eq!(ok.images[0].ready, Some(Readiness::Never));
        for (document, error) in [
            (json!({"images": [{"match": "*"}]}), "missing field `why`"),
            (json!({"images": [{"match": "*", "why": " "}]}), "`why` of a model entry is empty"),
            (json!({"images": [{"match": "*", "pul": "1s", "why": "x"}]}), "unknown field `pul`"),
            (json!({"images": [{"match": "*", "pull": "soon", "why": "x"}]}), "`soon` is not a duration"),
            (json!({"images": [{"match": "*", "pull": "-1s", "why": "x"}]}), "is negative"),
            (json!({"weather": []}), "unknown field `weather`"),
            (json!({"machines": [{"node": "*", "os": "debian"}]}), "missing field `why`"),
        ] {
            let got = parse(head(document)).unwrap_err();
            assert!(got.contains(error), "{got}");
        }
    }
}
