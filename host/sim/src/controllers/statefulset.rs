//! The StatefulSet controller: pods with a name of their own, made, updated and deleted in order.
//!
//! As `pkg/controller/statefulset` of v1.36 with its default features: one pod is unavailable at a time, `maxUnavailable` is not
//! known. A pod that does not get ready holds up everything after it, also when the template that broke it is put back: it has
//! to be deleted by hand.

mod history;
mod members;

use std::sync::Arc;

use crate::json::{Map, Value};
use jiff::Timestamp;

use self::history::Revisions;
use self::members::{Member, ordinal, parent};
use super::fenceposts::replicas;
use super::pods::{self, KeyedPod};
use super::{claim, replicaset};
use crate::engine::{Ctx, Work};
use crate::kinds;
use crate::rules::{Rule, Rules};
use crate::status::Status;
use crate::store::Key;
use crate::view;

/// Label of a pod with the name of its revision.
const REVISION_HASH: &str = "controller-revision-hash";

/// Whether a loaded StatefulSet is in the middle of something.
pub(crate) fn is_unfinished(set: &Value) -> bool {
    let of = |field: &str| view::count(set, &["status", field]);
    let on_delete = view::text(set, &["spec", "updateStrategy", "type"]) == "OnDelete";
    let partition = view::count(set, &["spec", "updateStrategy", "rollingUpdate", "partition"]);
    view::generation(set) != of("observedGeneration")
        || of("replicas") != replicas(set)
        || of("availableReplicas") != replicas(set)
        || (!on_delete && partition == 0 && of("updatedReplicas") != replicas(set))
}

/// The StatefulSet that a pod of this name would belong to.
pub(crate) fn named_by(pod: &Key) -> Option<Key> {
    let name = parent(&pod.name)?;
    Some(Key { kind: kinds::STATEFUL_SET, namespace: pod.namespace.clone(), name: name.into() })
}

/// Reconciles one StatefulSet.
pub(crate) fn sync(ctx: &mut Ctx<'_>, key: &Key) -> Result<(), Status> {
    let Some(set) = ctx.get(key) else { return Ok(()) };
    let name = view::name(&set).to_owned();
    let revisions = history::revise(ctx, &set)?;
    let pods = claim::pods(ctx, &set, None, |pod| parent(view::name(pod)) == Some(name.as_str()))?;
    let mut pass = Pass::new(ctx, key, set, &revisions, &pods);
    if !view::is_terminating(&pass.set) {
        pass.run(ctx)?;
    }
    let (set, status) = (Arc::clone(&pass.set), pass.status(ctx.now(), &revisions));
    write_status(ctx, key, status)?;
    if let Some(at) = replicaset::next_available(&pods, min_ready(&set), ctx.now()) {
        ctx.engine.wake_at(Work::StatefulSet(key.clone()), at);
    }
    history::clean_up(ctx, &set, &pods, &revisions)
}

fn min_ready(set: &Value) -> i64 {
    view::count(set, &["spec", "minReadySeconds"])
}

/// A StatefulSet as one reconciliation sees it.
struct Pass {
    key: Key,
    set: Arc<Value>,
    /// Name of the revision of the template.
    update: String,
    /// One for each ordinal that there should be, upwards.
    replicas: Vec<Member>,
    /// Pods beyond, the highest ordinal first.
    condemned: Vec<Member>,
    /// Place of the first unavailable member: replicas first, then condemned ones from the lowest ordinal.
    first_unavailable: Option<String>,
    /// Pods of the current revision that this pass deletes.
    replaced: i64,
    rules: Rules,
}

impl Pass {
    fn new(ctx: &Ctx<'_>, key: &Key, set: Arc<Value>, revisions: &Revisions, pods: &[KeyedPod]) -> Self {
        let start = view::count(&set, &["spec", "ordinals", "start"]);
        let range = start..start + replicas(&set);
        let mut condemned: Vec<Member> = Vec::new();
        let mut there: std::collections::BTreeMap<i64, Member> = std::collections::BTreeMap::new();
        for (pod_key, pod) in pods {
            let Some(number) = ordinal(&pod_key.name) else { continue };
            let member = Member::of(number, pod_key, pod);
            if range.contains(&number) {
                there.insert(number, member);
            } else {
                condemned.push(member);
            }
        }
        condemned.sort_by_key(|member| -member.ordinal);
        let replicas: Vec<Member> =
            range.map(|number| there.remove(&number).unwrap_or_else(|| Member::missing(number, &set, revisions))).collect();
        let (now, wait) = (ctx.now(), min_ready(&set));
        let mut all = replicas.iter().chain(condemned.iter().rev());
        let first_unavailable = all.find(|member| member.is_unavailable(wait, now)).map(|member| member.key.name.to_string());
        let update = revisions.update.0.name.to_string();
        Self { key: key.clone(), set, update, replicas, condemned, first_unavailable, replaced: 0, rules: ctx.store.rules }
    }

    /// Whether every step waits for the one before.
    fn is_ordered(&self) -> bool {
        view::text(&self.set, &["spec", "podManagementPolicy"]) != "Parallel" && self.rules.hold(Rule::StatefulSetOrder)
    }

    fn run(&mut self, ctx: &mut Ctx<'_>) -> Result<(), Status> {
        if self.fill(ctx)? || self.scale_down(ctx)? || view::text(&self.set, &["spec", "updateStrategy", "type"]) == "OnDelete" {
            return Ok(());
        }
        self.update_one(ctx)
    }

    /// Makes what is missing; in order each member waits for the one before. True when nothing further may happen now.
    fn fill(&self, ctx: &mut Ctx<'_>) -> Result<bool, Status> {
        let (ordered, wait) = (self.is_ordered(), min_ready(&self.set));
        for member in &self.replicas {
            let stop = match &member.pod {
                Some(pod) if pods::has_ended(pod) => {
                    if !view::is_terminating(pod) {
                        self.delete(ctx, &member.key)?;
                    }
                    true
                }
                Some(pod) => {
                    let holds_up = view::is_terminating(pod) || !member.is_ready() || !pods::is_available(pod, wait, ctx.now());
                    if !(ordered && holds_up) {
                        member.identify(ctx, &self.set)?;
                    }
                    holds_up
                }
                None => {
                    if !self.create(ctx, member)? {
                        return Ok(true);
                    }
                    true
                }
            };
            if stop && ordered {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Deletes what is too much, from the highest ordinal down. True when nothing further may happen now.
    fn scale_down(&self, ctx: &mut Ctx<'_>) -> Result<bool, Status> {
        let (ordered, wait) = (self.is_ordered(), min_ready(&self.set));
        for member in &self.condemned {
            if member.is_terminating() {
                if ordered {
                    return Ok(true);
                }
                continue;
            }
            let ready = member.is_ready() && member.pod.as_ref().is_some_and(|pod| pods::is_available(pod, wait, ctx.now()));
            let is_first = self.first_unavailable.as_deref() == Some(member.key.name.as_str());
            if ordered && !ready && !is_first {
                return Ok(true);
            }
            self.delete(ctx, &member.key)?;
            if ordered {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Deletes the highest member that is not of the newest revision, unless one above it is unavailable.
    fn update_one(&mut self, ctx: &mut Ctx<'_>) -> Result<(), Status> {
        let partition = view::count(&self.set, &["spec", "updateStrategy", "rollingUpdate", "partition"]);
        let lowest = if self.rules.hold(Rule::StatefulSetPartition) { usize::try_from(partition).unwrap_or(0) } else { 0 };
        let wait = min_ready(&self.set);
        for member in self.replicas.iter().skip(lowest).rev() {
            if member.revision != self.update && !member.is_terminating() {
                self.delete(ctx, &member.key)?;
                self.replaced += 1;
                return Ok(());
            }
            if member.is_unavailable(wait, ctx.now()) && self.rules.hold(Rule::StatefulSetWait) {
                return Ok(());
            }
        }
        Ok(())
    }

    fn create(&self, ctx: &mut Ctx<'_>, member: &Member) -> Result<bool, Status> {
        let (pod, set) = (&member.key.name, view::name(&self.set));
        match ctx.create(kinds::POD, member.blueprint.clone()) {
            Ok(_) => ctx.event(&self.set, "Normal", "SuccessfulCreate", &format!("Create Pod {pod} in StatefulSet {set} successful"))?,
            // The pod of that name is somebody else's: its removal is waited for.
            Err(refused) if refused.reason() == "AlreadyExists" => return Ok(false),
            Err(refused) => {
                let text = format!("Create Pod {pod} in StatefulSet {set} failed error: {}", refused.message());
                ctx.event(&self.set, "Warning", "FailedCreate", &text)?;
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn delete(&self, ctx: &mut Ctx<'_>, pod: &Key) -> Result<(), Status> {
        ctx.delete(pod)?;
        let text = format!("Delete Pod {} in StatefulSet {} successful", pod.name, self.key.name);
        ctx.event(&self.set, "Normal", "SuccessfulDelete", &text)
    }

    /// The counters, of what was seen before this pass made or deleted anything.
    fn status(&self, now: Timestamp, revisions: &Revisions) -> Value {
        let wait = min_ready(&self.set);
        let members = || self.replicas.iter().chain(&self.condemned).filter_map(|m| m.pod.as_ref().map(|pod| (m, pod)));
        let count = |what: &dyn Fn(&Member, &Value) -> bool| members().filter(|(m, pod)| what(m, pod)).count() as i64;
        let (current, update) = (revisions.current.0.name.as_str(), self.update.as_str());
        let of_revision = |m: &Member, name: &str| !m.is_terminating() && m.revision == name;
        let all = count(&|_, _| true);
        let ready = count(&|m, _| m.is_ready());
        let updated = count(&|m, _| of_revision(m, update));
        let mut current_replicas = count(&|m, _| of_revision(m, current)) - self.replaced;
        let mut current = current;
        let wanted = replicas(&self.set);
        let rolling = view::text(&self.set, &["spec", "updateStrategy", "type"]) != "OnDelete";
        if rolling && updated == wanted && ready == wanted && all == wanted {
            (current, current_replicas) = (update, updated);
        }
        let available = count(&|m, pod| m.is_ready() && pods::is_available(pod, wait, now));
        let mut status = Map::new();
        status.insert("observedGeneration".to_owned(), view::generation(&self.set).into());
        status.insert("replicas".to_owned(), all.into());
        for (field, number) in [("readyReplicas", ready), ("currentReplicas", current_replicas), ("updatedReplicas", updated)] {
            if number != 0 {
                status.insert(field.to_owned(), number.into());
            }
        }
        status.insert("currentRevision".to_owned(), current.into());
        status.insert("updateRevision".to_owned(), update.into());
        status.insert("collisionCount".to_owned(), revisions.collisions.into());
        status.insert("availableReplicas".to_owned(), available.into());
        status.into()
    }
}

fn write_status(ctx: &mut Ctx<'_>, key: &Key, status: Value) -> Result<(), Status> {
    let Some(set) = ctx.get(key) else { return Ok(()) };
    if view::at(&set, &["status"]) == Some(&status) {
        return Ok(());
    }
    let mut next = (*set).clone();
    view::set(&mut next, &["status"], status);
    ctx.update(key, next).map(drop)
}
