//! The Deployment controller: finds or makes the ReplicaSet of the current template and leads the rollout to it.
//!
//! The steps and their order are those of the real controller (`pkg/controller/deployment` of Kubernetes 1.36).

use std::sync::Arc;

use crate::json::{Value, json};

use super::deployment_status::{self as status, Condition};
use super::template::{self, POD_TEMPLATE_HASH};
use super::{deployment_scale as scale, fenceposts, owner_reference, revisions, rollout};
use crate::engine::Ctx;
use crate::kinds;
use crate::rules::Rule;
use crate::status::Status;
use crate::store::Key;
use crate::view;

/// A ReplicaSet with its key.
pub(crate) type Set = (Key, Arc<Value>);

/// A Deployment and its ReplicaSets, as one reconciliation sees them.
pub(crate) struct View {
    /// Key of the Deployment.
    pub(crate) key: Key,
    /// The Deployment.
    pub(crate) deployment: Arc<Value>,
    /// The ReplicaSet whose template is the Deployment's.
    pub(crate) new: Option<Set>,
    /// All others, oldest first.
    pub(crate) old: Vec<Set>,
}

impl View {
    /// Old ReplicaSets, then the new one.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Set> {
        self.old.iter().chain(self.new.as_ref())
    }

    /// Sum over all ReplicaSets.
    pub(crate) fn sum(&self, path: &[&str]) -> i64 {
        self.all().map(|(_, set)| view::count(set, path)).sum()
    }
}

/// Whether a loaded Deployment is in the middle of something.
pub(crate) fn is_unfinished(deployment: &Value) -> bool {
    let of = |field: &str| view::count(deployment, &["status", field]);
    let replicas = fenceposts::replicas(deployment);
    view::generation(deployment) != of("observedGeneration")
        || [of("replicas"), of("updatedReplicas"), of("availableReplicas")] != [replicas; 3]
}

/// Reconciles one Deployment.
pub(crate) fn sync(ctx: &mut Ctx<'_>, key: &Key) -> Result<(), Status> {
    let Some(deployment) = ctx.get(key) else { return Ok(()) };
    if view::selector_is_empty(view::at(&deployment, &["spec", "selector"])) {
        let text = "This deployment is selecting all pods. A non-empty selector is required.";
        ctx.event(&deployment, "Warning", "SelectingAll", text)?;
        return status::observe(ctx, key, &deployment);
    }
    let sets = replica_sets(ctx, &deployment)?;
    if view::is_terminating(&deployment) {
        let seen = divide(key, deployment, sets);
        return status::sync(ctx, &seen);
    }
    let pauses = ctx.store.follows(Rule::DeploymentPause);
    let deployment = if pauses { status::sync_paused(ctx, key, deployment)? } else { deployment };
    let mut seen = divide(key, deployment, sets);
    let paused = view::flag(&seen.deployment, &["spec", "paused"]) && pauses;
    if paused || scale::is_scaling_event(&seen) {
        revise(ctx, &mut seen, false)?;
        scale::scale(ctx, &mut seen)?;
        if paused {
            clean_up(ctx, &seen)?;
        }
        return status::sync(ctx, &seen);
    }
    if fenceposts::is_rolling(&seen.deployment) { rollout::rolling(ctx, &mut seen) } else { rollout::recreate(ctx, &mut seen) }
}

/// The ReplicaSets that the Deployment controls, oldest first. Matching orphans are adopted.
fn replica_sets(ctx: &mut Ctx<'_>, deployment: &Arc<Value>) -> Result<Vec<Set>, Status> {
    let selector = view::at(deployment, &["spec", "selector"]);
    let mut sets = ctx.owned(kinds::REPLICA_SET, view::uid(deployment));
    for (key, set) in ctx.orphans(kinds::REPLICA_SET, view::namespace(deployment)) {
        let adopt = !view::is_terminating(deployment) && !view::is_terminating(&set) && view::selects(selector, view::labels(&set));
        if adopt {
            let mut adopted = (*set).clone();
            if let Some(owners) = view::list_mut(&mut adopted, &["metadata", "ownerReferences"]) {
                owners.push(owner_reference(deployment));
            }
            sets.push((key.clone(), ctx.update(&key, adopted)?));
        }
    }
    let age = |set: &Value| view::text(set, &["metadata", "creationTimestamp"]).to_owned();
    sets.sort_by(|(ka, a), (kb, b)| age(a).cmp(&age(b)).then_with(|| ka.name.cmp(&kb.name)));
    Ok(sets)
}

/// Splits the ReplicaSets, which come oldest first: the oldest whose template matches is the new one.
fn divide(key: &Key, deployment: Arc<Value>, mut sets: Vec<Set>) -> View {
    let wanted = view::at(&deployment, &["spec", "template"]).unwrap_or(&Value::Null);
    let of = |set: &Value| view::at(set, &["spec", "template"]).is_some_and(|t| template::equal(t, wanted));
    let new = sets.iter().position(|(_, set)| of(set)).map(|i| sets.remove(i));
    View { key: key.clone(), deployment, new, old: sets }
}

/// Brings revision numbers up to date; with `create`, makes the new ReplicaSet when there is none.
pub(crate) fn revise(ctx: &mut Ctx<'_>, seen: &mut View, create: bool) -> Result<(), Status> {
    let newest = seen.old.iter().map(|(_, set)| revisions::of(set)).max().unwrap_or(0) + 1;
    match seen.new.clone() {
        Some((key, set)) => revise_existing(ctx, seen, (key, set), newest),
        None if create => make(ctx, seen, newest),
        None => Ok(()),
    }
}

fn revise_existing(ctx: &mut Ctx<'_>, seen: &mut View, (key, set): Set, newest: i64) -> Result<(), Status> {
    let mut revised = (*set).clone();
    let min_ready = view::count(&seen.deployment, &["spec", "minReadySeconds"]);
    let stale = view::count(&set, &["spec", "minReadySeconds"]) != min_ready;
    if stale {
        view::set(&mut revised, &["spec", "minReadySeconds"], min_ready);
    }
    if revisions::set_current(&mut revised, &seen.deployment, newest) || stale {
        // As in the real controller the Deployment itself follows in the next pass, which this write causes.
        seen.new = Some((key.clone(), ctx.update(&key, revised)?));
        return Ok(());
    }
    let revision = view::annotation(&set, revisions::REVISION).unwrap_or_default().to_owned();
    let mut deployment = (*seen.deployment).clone();
    let mut changed = revisions::set_on_deployment(&mut deployment, &revision);
    if status::has_deadline(&deployment) && view::condition(&deployment, "Progressing").is_none() {
        let text = format!("Found new replica set \"{}\"", key.name);
        status::put(&mut deployment, Condition::progressing("True", "FoundNewReplicaSet", text), ctx.now());
        changed = true;
    }
    if changed {
        seen.deployment = ctx.update(&seen.key, deployment)?;
    }
    Ok(())
}

fn make(ctx: &mut Ctx<'_>, seen: &mut View, newest: i64) -> Result<(), Status> {
    let deployment = Arc::clone(&seen.deployment);
    let pod_template = view::at(&deployment, &["spec", "template"]).cloned().unwrap_or_default();
    let mut collisions = view::count(&deployment, &["status", "collisionCount"]);
    let name = loop {
        let hash = template::hash(&pod_template, collisions);
        let name = format!("{}-{hash}", seen.key.name).into();
        let key = Key { kind: kinds::REPLICA_SET, namespace: seen.key.namespace.clone(), name };
        if ctx.get(&key).is_none() {
            break key.name;
        }
        collisions += 1;
    };
    let hash = &name[seen.key.name.len() + 1..];
    let labelled = template::with_label(pod_template, &["metadata", "labels", POD_TEMPLATE_HASH], hash);
    let selector = view::at(&deployment, &["spec", "selector"]).cloned().unwrap_or_default();
    let replicas = rollout::new_replicas(seen);
    let mut set = json!({
        "apiVersion": "apps/v1", "kind": "ReplicaSet",
        "metadata": {
            "name": name, "namespace": seen.key.namespace, "labels": labelled["metadata"]["labels"],
            "ownerReferences": [owner_reference(&deployment)],
        },
        "spec": {
            "replicas": replicas,
            "selector": template::with_label(selector, &["matchLabels", POD_TEMPLATE_HASH], hash),
            "template": labelled,
        },
        "status": {"replicas": 0},
    });
    let min_ready = view::count(&deployment, &["spec", "minReadySeconds"]);
    if min_ready > 0 {
        view::set(&mut set, &["spec", "minReadySeconds"], min_ready);
    }
    revisions::set_current(&mut set, &deployment, newest);
    revisions::set_replicas(&mut set, &deployment);
    let created = ctx.create(kinds::REPLICA_SET, set)?;
    // Otherwise no ReplicaSet would ever match, and each pass would make another one.
    let wanted = view::at(&deployment, &["spec", "template"]).unwrap_or(&Value::Null);
    if !view::at(&created, &["spec", "template"]).is_some_and(|made| template::equal(made, wanted)) {
        return Err(Status::internal("the template of the ReplicaSet is not the Deployment's after defaulting"));
    }
    let key = Key { kind: kinds::REPLICA_SET, namespace: seen.key.namespace.clone(), name };
    if replicas > 0 {
        let text = format!("Scaled up replica set {} from 0 to {replicas}", key.name);
        ctx.event(&deployment, "Normal", "ScalingReplicaSet", &text)?;
    }
    let mut deployment = (*deployment).clone();
    revisions::set_on_deployment(&mut deployment, &newest.to_string());
    if collisions > 0 {
        view::set(&mut deployment, &["status", "collisionCount"], collisions);
    }
    if status::has_deadline(&deployment) {
        let text = format!("Created new replica set \"{}\"", key.name);
        status::put(&mut deployment, Condition::progressing("True", "NewReplicaSetCreated", text), ctx.now());
    }
    seen.deployment = ctx.update(&seen.key, deployment)?;
    seen.new = Some((key, created));
    Ok(())
}

/// Deletes the oldest revisions beyond the history limit, when nothing of them is left.
pub(crate) fn clean_up(ctx: &mut Ctx<'_>, seen: &View) -> Result<(), Status> {
    let Some(limit) = view::int(&seen.deployment, &["spec", "revisionHistoryLimit"]) else { return Ok(()) };
    if !ctx.store.follows(Rule::DeploymentHistory) {
        return Ok(());
    }
    let mut old: Vec<&Set> = seen.old.iter().filter(|(_, set)| !view::is_terminating(set)).collect();
    old.sort_by_key(|(_, set)| revisions::of(set));
    let excess = old.len().saturating_sub(usize::try_from(limit).unwrap_or(usize::MAX));
    for (key, set) in old.into_iter().take(excess) {
        let in_use = view::count(set, &["status", "replicas"]) != 0
            || fenceposts::replicas(set) != 0
            || view::generation(set) > view::count(set, &["status", "observedGeneration"]);
        if !in_use {
            ctx.delete(key)?;
        }
    }
    Ok(())
}
