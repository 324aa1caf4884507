//! What a DaemonSet has on each node, kept from one reconciliation to the next: a node is looked at again when it, or a pod that is
//! meant for it, has changed, or when a pod there has been ready long enough. So a rollout costs as much as it changes, however many
//! nodes there are.

use std::sync::Arc;

use imbl::{OrdMap, OrdSet};
use jiff::Timestamp;

use super::judge::{Basis, Cover, Step};
use super::nodes;
use crate::controllers::claim;
use crate::engine::Ctx;
use crate::json::{Text, Value};
use crate::kinds;
use crate::status::Status;
use crate::store::Key;
use crate::view;

/// What all DaemonSets have, by their uids. A DaemonSet that was never reconciled is not there.
#[derive(Debug, Clone, Default)]
pub(crate) struct Coverages(OrdMap<Text, Coverage>);

/// What one DaemonSet has.
#[derive(Debug, Clone)]
pub(crate) struct Coverage {
    pub(super) basis: Basis,
    /// Its pods by the node that they run on or are pinned to.
    pods: OrdMap<Text, Vec<Key>>,
    covers: OrdMap<Text, Cover>,
    /// Nodes to be looked at again.
    stale: OrdSet<Text>,
    /// When pods become available by waiting, with their nodes.
    ripe: OrdSet<(Timestamp, Text)>,
    /// Nodes where there is something to make or to delete.
    pub(super) busy: OrdSet<Text>,
    /// Nodes by how far the update is there.
    steps: OrdMap<Step, OrdSet<Text>>,
    pub(super) tally: Tally,
    /// Back-offs of deletions of failed pods, by node.
    pub(super) failures: OrdMap<Text, Failure>,
}

/// The last deletion of a failed pod on a node.
#[derive(Debug, Clone)]
pub(super) struct Failure {
    /// The generation that was observed then; another one starts anew.
    pub(super) generation: i64,
    pub(super) at: Timestamp,
    /// Seconds until the next one may be deleted.
    pub(super) delay: i64,
}

/// How many nodes there are of each sort.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) desired: i64,
    pub(super) current: i64,
    pub(super) ready: i64,
    pub(super) available: i64,
    pub(super) updated: i64,
    pub(super) misplaced: i64,
    /// Nodes with an available pod that is not being replaced, as a surge counts them.
    pub(super) serving: i64,
}

impl Tally {
    fn count(&mut self, cover: &Cover, by: i64) {
        for (number, holds) in [
            (&mut self.desired, cover.run),
            (&mut self.current, cover.current),
            (&mut self.ready, cover.ready),
            (&mut self.available, cover.available),
            (&mut self.updated, cover.updated),
            (&mut self.misplaced, cover.misplaced),
            (&mut self.serving, cover.serving),
        ] {
            *number += if holds { by } else { 0 };
        }
    }
}

impl Coverages {
    /// Takes in a change of a pod.
    pub(crate) fn pod_changed(&mut self, key: &Key, before: Option<&Arc<Value>>, after: Option<&Arc<Value>>) {
        if self.0.is_empty() {
            return;
        }
        let place = |pod: Option<&Arc<Value>>| -> Option<(Text, Text)> {
            let pod = pod?;
            let uid = view::controller_of(pod).map(|owner| view::shared(owner, &["uid"])).filter(|uid| self.0.contains_key(uid))?;
            Some((uid, nodes::target(pod).into()))
        };
        // Mostly neither owner nor node changed, and both versions share them.
        let stays = before.zip(after).is_some_and(|(before, after)| {
            let same = |path: &[&str]| view::at(before, path) == view::at(after, path);
            same(&["metadata", "ownerReferences"]) && same(&["spec"])
        });
        let new = place(after);
        let old = if stays { new.clone() } else { place(before) };
        let moved = old != new;
        if let Some((uid, node)) = old.filter(|_| moved)
            && let Some(coverage) = self.0.get_mut(&uid)
        {
            coverage.leave(&node, key);
        }
        if let Some((uid, node)) = new
            && let Some(coverage) = self.0.get_mut(&uid)
        {
            coverage.come(node, key, moved);
        }
    }

    /// Takes in that a node came, went or changed.
    pub(crate) fn node_changed(&mut self, name: &Text) {
        let uids: Vec<Text> = self.0.keys().cloned().collect();
        for uid in uids {
            if let Some(coverage) = self.0.get_mut(&uid) {
                coverage.stale.insert(name.clone());
            }
        }
    }

    /// Forgets a DaemonSet that is gone.
    pub(crate) fn forget(&mut self, uid: &str) {
        self.0.remove(uid);
    }

    /// What a DaemonSet has; `None` before its first reconciliation.
    pub(crate) fn of(&self, uid: &str) -> Option<&Coverage> {
        self.0.get(uid)
    }

    pub(super) fn of_mut(&mut self, uid: &str) -> Option<&mut Coverage> {
        self.0.get_mut(uid)
    }
}

impl Coverage {
    fn new(basis: Basis) -> Self {
        Self {
            basis,
            pods: OrdMap::new(),
            covers: OrdMap::new(),
            stale: OrdSet::new(),
            ripe: OrdSet::new(),
            busy: OrdSet::new(),
            steps: OrdMap::new(),
            tally: Tally::default(),
            failures: OrdMap::new(),
        }
    }

    fn come(&mut self, node: Text, key: &Key, is_new: bool) {
        if is_new {
            self.pods.entry(node.clone()).or_default().push(key.clone());
        }
        self.stale.insert(node);
    }

    fn leave(&mut self, node: &Text, key: &Key) {
        if let Some(keys) = self.pods.get_mut(node) {
            keys.retain(|other| other != key);
            if keys.is_empty() {
                self.pods.remove(node);
            }
        }
        self.stale.insert(node.clone());
    }

    /// Keys of the pods that run on a node or are pinned to it.
    pub(super) fn pods_on(&self, node: &str) -> &[Key] {
        self.pods.get(node).map_or(&[], Vec::as_slice)
    }

    /// Keys of all pods.
    pub(super) fn all_pods(&self) -> impl Iterator<Item = &Key> {
        self.pods.values().flatten()
    }

    /// The nodes where the update is this far, by name.
    pub(super) fn at(&self, step: Step) -> impl Iterator<Item = &Text> {
        self.steps.get(&step).into_iter().flatten()
    }

    /// How many nodes there are where the update is this far.
    pub(super) fn count(&self, step: Step) -> usize {
        self.steps.get(&step).map_or(0, OrdSet::len)
    }

    /// When the next pod becomes available by waiting.
    pub(super) fn next_ripe(&self) -> Option<Timestamp> {
        self.ripe.get_min().map(|(at, _)| *at)
    }

    /// What a node wants: a new pod, and whether it keeps what it has. Of a node that was not looked at yet, nothing.
    pub(super) fn wishes(&self, node: &str) -> (bool, bool) {
        self.covers.get(node).map_or((false, false), |cover| (cover.run, cover.keep))
    }

    /// Puts down what was found on a node in place of what was known before.
    fn put(&mut self, node: &Text, cover: Cover) {
        if let Some(old) = self.covers.get(node) {
            let old = old.clone();
            self.tally.count(&old, -1);
            if let Some(nodes) = old.step.filter(|step| cover.step != Some(*step)).and_then(|step| self.steps.get_mut(&step)) {
                nodes.remove(node);
            }
            if let Some(at) = old.ripe {
                self.ripe.remove(&(at, node.clone()));
            }
        }
        self.tally.count(&cover, 1);
        if let Some(step) = cover.step {
            self.steps.entry(step).or_default().insert(node.clone());
        }
        if let Some(at) = cover.ripe {
            self.ripe.insert((at, node.clone()));
        }
        if cover.busy {
            self.busy.insert(node.clone());
        } else {
            self.busy.remove(node);
        }
        if cover == Cover::default() {
            self.covers.remove(node);
        } else {
            self.covers.insert(node.clone(), cover);
        }
    }

    /// The nodes to be looked at now.
    fn take_stale(&mut self, now: Timestamp) -> OrdSet<Text> {
        while let Some((at, node)) = self.ripe.get_min().filter(|(at, _)| *at <= now).cloned() {
            self.ripe.remove(&(at, node.clone()));
            self.stale.insert(node);
        }
        std::mem::take(&mut self.stale)
    }
}

/// Brings what is known of a DaemonSet up to now: pods that its selector does not select any more are released, orphans that it selects
/// are adopted, and nodes with changes are looked at.
pub(super) fn refresh(ctx: &mut Ctx<'_>, set: &Arc<Value>, hash: &str) -> Result<(), Status> {
    let (uid, now) = (view::uid(set), ctx.now());
    if ctx.engine.coverages.of(uid).is_none_or(|coverage| !coverage.basis.is_of(set, hash)) {
        let coverage = everything(ctx, set, hash);
        ctx.engine.coverages.0.insert(uid.into(), coverage);
    }
    let selector = view::at(set, &["spec", "selector"]);
    claim::adopt(ctx, set, None, &|_| true)?;
    loop {
        let Some(coverage) = ctx.engine.coverages.of_mut(uid) else { return Ok(()) };
        let stale = coverage.take_stale(now);
        if stale.is_empty() {
            return Ok(());
        }
        for node in &stale {
            let keys = ctx.engine.coverages.of(uid).map_or(&[][..], |coverage| coverage.pods_on(node)).to_vec();
            let mut pods = Vec::with_capacity(keys.len());
            for key in keys {
                let Some(pod) = ctx.get(&key) else { continue };
                if view::selects(selector, view::labels(&pod)) {
                    pods.push((key, pod));
                } else {
                    claim::release(ctx, set, None, &key, &pod)?;
                }
            }
            let there = ctx.store.get(&Key::new(kinds::NODE, "", node)).map(|node| &**node);
            if let Some(coverage) = ctx.engine.coverages.of_mut(uid) {
                let cover = coverage.basis.judge(there, pods, now);
                coverage.put(node, cover);
            }
        }
    }
}

/// All that there is for a DaemonSet, to be looked at for the first time.
fn everything(ctx: &Ctx<'_>, set: &Value, hash: &str) -> Coverage {
    let old = ctx.engine.coverages.of(view::uid(set));
    let mut coverage = Coverage::new(Basis::of(set, hash));
    coverage.failures = old.map(|old| old.failures.clone()).unwrap_or_default();
    for (key, pod) in ctx.owned(kinds::POD, view::uid(set)) {
        coverage.come(nodes::target(&pod).into(), &key, true);
    }
    for (key, _) in ctx.store.list(kinds::NODE, None) {
        coverage.stale.insert(key.name.clone());
    }
    coverage
}
