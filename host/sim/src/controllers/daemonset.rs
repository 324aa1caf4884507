//! The DaemonSet controller: one pod on every node that wants it, and their rolling update.

mod history;
mod nodes;
mod status;
mod update;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::json::{Text, Value};

use super::pods::KeyedPod;
use super::template;
use crate::defaults::workload::{self, TEMPLATE_GENERATION};
use crate::engine::Ctx;
use crate::kinds;
use crate::status::Status;
use crate::store::Key;
use crate::view;

/// Label with the hash of the revision that a pod was made of.
pub(crate) const REVISION_HASH: &str = "controller-revision-hash";
/// Older label with the generation of the template.
const POD_GENERATION: &str = "pod-template-generation";

/// A DaemonSet as one reconciliation sees it.
struct View {
    key: Key,
    set: Arc<Value>,
    /// Hash of the current revision.
    hash: String,
    /// Nodes that want a pod, by name.
    wanted: BTreeSet<Text>,
    /// Nodes that may keep a pod which runs there, by name.
    tolerated: BTreeSet<Text>,
    /// Pods by node, placed ones first, then by age; the node is the one they run on or are pinned to.
    pods: BTreeMap<Text, Vec<KeyedPod>>,
}

impl View {
    fn min_ready(&self) -> i64 {
        view::count(&self.set, &["spec", "minReadySeconds"])
    }

    /// Whether the pod is of the current revision.
    fn is_updated(&self, pod: &Value) -> bool {
        let generation = view::annotation(&self.set, TEMPLATE_GENERATION);
        view::label(pod, REVISION_HASH) == self.hash || generation.is_some_and(|g| view::label(pod, POD_GENERATION) == g)
    }
}

/// Whether a loaded DaemonSet is in the middle of something.
pub(crate) fn is_unfinished(set: &Value) -> bool {
    let of = |field: &str| view::count(set, &["status", field]);
    let on_delete = view::text(set, &["spec", "updateStrategy", "type"]) == "OnDelete";
    view::generation(set) != of("observedGeneration")
        || of("currentNumberScheduled") != of("desiredNumberScheduled")
        || of("numberAvailable") != of("desiredNumberScheduled")
        || (!on_delete && of("updatedNumberScheduled") != of("desiredNumberScheduled"))
}

/// Reconciles one DaemonSet.
pub(crate) fn sync(ctx: &mut Ctx<'_>, key: &Key) -> Result<(), Status> {
    let Some(set) = ctx.get(key) else { return Ok(()) };
    if view::selector_is_empty(view::at(&set, &["spec", "selector"])) {
        let text = "This daemon set is selecting all pods. A non-empty selector is required.";
        return ctx.event(&set, "Warning", "SelectingAll", text);
    }
    if view::is_terminating(&set) {
        return Ok(());
    }
    let set = counted(ctx, key, set)?;
    let revisions = history::revise(ctx, &set)?;
    let mut seen = look(ctx, key, set, revisions.current_hash().to_owned())?;
    refresh(ctx, &mut seen, manage)?;
    if view::text(&seen.set, &["spec", "updateStrategy", "type"]) != "OnDelete" {
        refresh(ctx, &mut seen, update::rolling)?;
    }
    history::clean_up(ctx, &seen, &revisions)?;
    status::write(ctx, &seen)
}

/// Takes a step and looks at the pods again when it changed anything.
fn refresh(ctx: &mut Ctx<'_>, seen: &mut View, step: impl Fn(&mut Ctx<'_>, &View) -> Result<(), Status>) -> Result<(), Status> {
    let before = ctx.store.rv();
    step(ctx, seen)?;
    if ctx.store.rv() != before {
        seen.pods = claim(ctx, &seen.set)?;
    }
    Ok(())
}

/// A DaemonSet of a fixture was not written through the API, which counts its templates.
fn counted(ctx: &mut Ctx<'_>, key: &Key, set: Arc<Value>) -> Result<Arc<Value>, Status> {
    if view::annotation(&set, TEMPLATE_GENERATION).is_some() {
        return Ok(set);
    }
    let mut counted = (*set).clone();
    workload::count_template(kinds::DAEMON_SET, None, &mut counted);
    ctx.update(key, counted)
}

fn look(ctx: &mut Ctx<'_>, key: &Key, set: Arc<Value>, hash: String) -> Result<View, Status> {
    let (mut wanted, mut tolerated) = (BTreeSet::new(), BTreeSet::new());
    let placement = nodes::Placement::of(&set);
    for (node_key, node) in ctx.store.list(kinds::NODE, None) {
        let (run, keep) = placement.on(node);
        if run {
            wanted.insert(node_key.name.clone());
        }
        if keep {
            tolerated.insert(node_key.name.clone());
        }
    }
    let pods = claim(ctx, &set)?;
    Ok(View { key: key.clone(), set, hash, wanted, tolerated, pods })
}

/// What pods of one node are sorted by: placed ones first, then the older ones.
fn age(pod: &Value) -> (bool, &str) {
    (view::text(pod, &["spec", "nodeName"]).is_empty(), view::text(pod, &["metadata", "creationTimestamp"]))
}

/// The pods that the DaemonSet controls by node, placed ones first, then by age. Matching orphans are adopted.
fn claim(ctx: &mut Ctx<'_>, set: &Arc<Value>) -> Result<BTreeMap<Text, Vec<KeyedPod>>, Status> {
    let pods = super::claim::pods(ctx, set, None, |_| true)?;
    let mut by_node: BTreeMap<Text, Vec<KeyedPod>> = BTreeMap::new();
    for (key, pod) in pods {
        by_node.entry(nodes::target(&pod).into()).or_default().push((key, pod));
    }
    // Most nodes have one pod: sorting node by node is little work.
    for pods in by_node.values_mut().filter(|pods| pods.len() > 1) {
        pods.sort_by(|(ka, a), (kb, b)| age(a).cmp(&age(b)).then_with(|| ka.name.cmp(&kb.name)));
    }
    Ok(by_node)
}

/// Makes pods on nodes that miss one; deletes failed and surplus pods and those on nodes that do not want one.
fn manage(ctx: &mut Ctx<'_>, seen: &View) -> Result<(), Status> {
    let surges = update::surge(seen) > 0;
    for node in &seen.wanted {
        let pods = seen.pods.get(node).map_or(&[][..], Vec::as_slice);
        let mut running: Vec<&KeyedPod> = Vec::new();
        let mut terminating = false;
        for pod in pods {
            if view::is_terminating(&pod.1) {
                terminating = true;
            } else if view::text(&pod.1, &["status", "phase"]) == "Failed" {
                let text = format!("Found failed daemon pod {}/{} on node {node}, will try to kill it", pod.0.namespace, pod.0.name);
                ctx.event(&seen.set, "Warning", "FailedDaemonPod", &text)?;
                delete(ctx, seen, &pod.0)?;
                terminating = true;
            } else {
                running.push(pod);
            }
        }
        if running.is_empty() && !terminating {
            create(ctx, seen, node)?;
        }
        // A surge has an old and a new pod on the node on purpose; of each revision the oldest stays.
        let (new, old): (Vec<_>, Vec<_>) = running.into_iter().partition(|(_, pod)| !surges || seen.is_updated(pod));
        for (key, _) in new.into_iter().skip(1).chain(old.into_iter().skip(1)) {
            delete(ctx, seen, key)?;
        }
    }
    for (node, pods) in &seen.pods {
        if !seen.tolerated.contains(node) {
            for (key, _) in pods.iter().filter(|(_, pod)| !view::is_terminating(pod)) {
                delete(ctx, seen, key)?;
            }
        }
    }
    Ok(())
}

fn create(ctx: &mut Ctx<'_>, seen: &View, node: &str) -> Result<(), Status> {
    let mut pod = template::pod(&seen.set);
    view::set(&mut pod, &["metadata", "labels", REVISION_HASH], seen.hash.as_str());
    let generation = view::annotation(&seen.set, TEMPLATE_GENERATION).unwrap_or_default();
    view::set(&mut pod, &["metadata", "labels", POD_GENERATION], generation);
    nodes::pin(&mut pod, node);
    match ctx.create(kinds::POD, pod) {
        Ok(pod) => ctx.event(&seen.set, "Normal", "SuccessfulCreate", &format!("Created pod: {}", view::name(&pod))),
        Err(refused) => ctx.event(&seen.set, "Warning", "FailedCreate", &format!("Error creating: {}", refused.message())),
    }
}

fn delete(ctx: &mut Ctx<'_>, seen: &View, key: &Key) -> Result<(), Status> {
    ctx.delete(key)?;
    ctx.event(&seen.set, "Normal", "SuccessfulDelete", &format!("Deleted pod: {}", key.name))
}
