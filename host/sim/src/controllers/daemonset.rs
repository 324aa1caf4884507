//! The DaemonSet controller: one pod on every node that wants it, and their rolling update.

mod coverage;
mod history;
mod judge;
mod nodes;
mod status;
mod update;

use std::sync::Arc;

use crate::json::{Text, Value};

pub(crate) use self::coverage::Coverages;
use self::coverage::Failure;
use self::judge::Duties;
use super::template;
use crate::defaults::workload::{self, TEMPLATE_GENERATION};
use crate::engine::{Ctx, Work};
use crate::kinds;
use crate::status::Status;
use crate::store::Key;
use crate::view;

/// Label with the hash of the revision that a pod was made of.
pub(crate) const REVISION_HASH: &str = "controller-revision-hash";
/// Older label with the generation of the template.
const POD_GENERATION: &str = "pod-template-generation";
/// So long a node is left alone at most, in seconds, when pods fail there.
const LONGEST_BACK_OFF: i64 = 15 * 60;

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
    let hash = revisions.current_hash().to_owned();
    coverage::refresh(ctx, &set, &hash)?;
    manage(ctx, &set, &hash)?;
    coverage::refresh(ctx, &set, &hash)?;
    if view::text(&set, &["spec", "updateStrategy", "type"]) != "OnDelete" {
        update::rolling(ctx, &set, &hash)?;
        coverage::refresh(ctx, &set, &hash)?;
    }
    history::clean_up(ctx, &set, &revisions)?;
    status::write(ctx, key, &set)
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

/// Makes pods on nodes that miss one; deletes failed and surplus pods and those on nodes that do not want one.
fn manage(ctx: &mut Ctx<'_>, set: &Arc<Value>, hash: &str) -> Result<(), Status> {
    let Some(coverage) = ctx.engine.coverages.of(view::uid(set)) else { return Ok(()) };
    // Persistent: this is no copy.
    for node in &coverage.busy.clone() {
        let duties = duties(ctx, set, node);
        for (key, failed) in &duties.ended {
            end(ctx, set, node, key, *failed)?;
        }
        if duties.create {
            create(ctx, set, hash, node)?;
        }
        for key in &duties.delete {
            delete(ctx, set, key)?;
        }
    }
    Ok(())
}

/// What is to be done on a node, as things are now.
fn duties(ctx: &Ctx<'_>, set: &Value, node: &str) -> Duties {
    let Some(coverage) = ctx.engine.coverages.of(view::uid(set)) else { return Duties::default() };
    let pods = coverage.pods_on(node).iter().filter_map(|key| ctx.get(key).map(|pod| (key.clone(), pod))).collect();
    let exists = ctx.store.get(&Key::new(kinds::NODE, "", node)).is_some();
    coverage.basis.duties(exists, coverage.wishes(node), pods, ctx.now())
}

/// Deletes a pod that has ended. A node where pods fail again and again is left alone for longer and longer.
fn end(ctx: &mut Ctx<'_>, set: &Arc<Value>, node: &Text, key: &Key, failed: bool) -> Result<(), Status> {
    let place = format!("{}/{} on node {node}", key.namespace, key.name);
    if !failed {
        ctx.event(set, "Normal", "SucceededDaemonPod", &format!("Found succeeded daemon pod {place}, will try to delete it"))?;
        return delete(ctx, set, key);
    }
    let (now, generation) = (ctx.now(), view::count(set, &["status", "observedGeneration"]));
    let Some(coverage) = ctx.engine.coverages.of_mut(view::uid(set)) else { return Ok(()) };
    let known = coverage.failures.get(node).filter(|known| known.generation == generation);
    let known = known.filter(|known| now <= view::later_s(known.at, 2 * LONGEST_BACK_OFF));
    let delay = match known {
        Some(known) if now < view::later_s(known.at, known.delay) => {
            let at = view::later_s(known.at, known.delay);
            ctx.engine.wake_at(Work::DaemonSet(Key::of(kinds::DAEMON_SET, set)), at);
            return Ok(());
        }
        Some(known) => (2 * known.delay).min(LONGEST_BACK_OFF),
        None => 1,
    };
    coverage.failures.insert(node.clone(), Failure { generation, at: now, delay });
    ctx.event(set, "Warning", "FailedDaemonPod", &format!("Found failed daemon pod {place}, will try to kill it"))?;
    delete(ctx, set, key)
}

fn create(ctx: &mut Ctx<'_>, set: &Arc<Value>, hash: &str, node: &str) -> Result<(), Status> {
    // Pods of one revision differ in their node alone, and share everything else.
    let made = ctx.engine.coverages.of(view::uid(set)).filter(|coverage| coverage.basis.is_of(set, hash));
    let mut pod = made.map_or_else(|| pattern(set, hash), |coverage| coverage.basis.pattern.clone());
    nodes::pin(&mut pod, node);
    match ctx.create(kinds::POD, pod) {
        Ok(pod) => ctx.event(set, "Normal", "SuccessfulCreate", &format!("Created pod: {}", view::name(&pod))),
        Err(refused) => ctx.event(set, "Warning", "FailedCreate", &format!("Error creating: {}", refused.message())),
    }
}

/// A pod of this revision, but for the node that it is for.
fn pattern(set: &Value, hash: &str) -> Value {
    let mut pod = template::pod(set);
    view::set(&mut pod, &["metadata", "labels", REVISION_HASH], hash);
    let generation = view::annotation(set, TEMPLATE_GENERATION).unwrap_or_default();
    view::set(&mut pod, &["metadata", "labels", POD_GENERATION], generation);
    nodes::tolerate(&mut pod);
    pod
}

fn delete(ctx: &mut Ctx<'_>, set: &Arc<Value>, key: &Key) -> Result<(), Status> {
    ctx.delete(key)?;
    ctx.event(set, "Normal", "SuccessfulDelete", &format!("Deleted pod: {}", key.name))
}

/// Whether a change of a node is one that a DaemonSet looks at: what it wants there is not there, or what it has may not stay, or it has
/// pods where none should be and this one may be right again. Other changes are seen at the next reconciliation.
pub(crate) fn heeds(coverages: &Coverages, set: &Value, node: &Value, is_there: impl FnOnce() -> bool) -> bool {
    let (run, keep) = match coverages.of(view::uid(set)) {
        Some(coverage) => coverage.basis.placement.on(node),
        None => nodes::Placement::of(set).on(node),
    };
    let there = is_there();
    (run && !there) || (there && (!keep || view::count(set, &["status", "numberMisscheduled"]) > 0))
}
