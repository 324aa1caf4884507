//! The engine: virtual time, the controllers' work queue and their timers.
//!
//! After every write all controllers run to quiescence at the same instant, in a queue order that depends on nothing but
//! seed and input. Time moves only in [`Engine::advance_to`]. In a partial cluster (an overlay over a live one) a key is not
//! reconciled before everything its controller reads was loaded; until then it waits and [`Engine::needs`] names what to load.

mod events;
mod index;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use crate::json::Value;
use imbl::Vector;
use jiff::Timestamp;

use self::events::EventIndex;
pub(crate) use self::events::Said;
pub(crate) use self::index::Index;
use crate::controllers::endpoints::Triggers;
use crate::kinds::{self, Kind};
use crate::kubelet::Kubelets;
use crate::model::Models;
use crate::rng::Rng;
use crate::status::Status;
use crate::store::{Change, Key, Store};
use crate::{controllers, gc, kubelet, scheduler, view};

/// More reconciliations than this at one instant mean that two controllers undo each other's work.
const STEPS_PER_INSTANT: u32 = 100_000;

/// A kind in one namespace, or everywhere: what an overlay loads at once.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Scope {
    /// The kind.
    pub kind: &'static Kind,
    /// `None`: all namespaces, or a cluster-scoped kind.
    pub namespace: Option<String>,
}

/// One thing to reconcile. A key is in the queue at most once and has at most one timer.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Work {
    /// A Deployment.
    Deployment(Key),
    /// A ReplicaSet.
    ReplicaSet(Key),
    /// A DaemonSet.
    DaemonSet(Key),
    /// The Endpoints and EndpointSlice of a Service.
    Endpoints(Key),
    /// The status of a PodDisruptionBudget.
    Disruption(Key),
    /// Taints that follow from the state of a Node.
    Node(Key),
    /// A pod without a node.
    Schedule(Key),
    /// A pod on a node.
    Kubelet(Key),
}

impl Work {
    /// The object that is reconciled.
    fn key(&self) -> &Key {
        match self {
            Self::Deployment(key)
            | Self::ReplicaSet(key)
            | Self::DaemonSet(key)
            | Self::Endpoints(key)
            | Self::Disruption(key)
            | Self::Node(key)
            | Self::Schedule(key)
            | Self::Kubelet(key) => key,
        }
    }

    /// What the controller reads beside the object itself: the kind, and whether in all namespaces.
    fn scopes_needed(&self) -> Vec<(&'static Kind, bool)> {
        match self {
            Self::Deployment(_) | Self::ReplicaSet(_) => vec![(kinds::REPLICA_SET, false), (kinds::POD, false)],
            Self::DaemonSet(_) => vec![(kinds::POD, false), (kinds::CONTROLLER_REVISION, false), (kinds::NODE, true)],
            Self::Endpoints(_) => vec![(kinds::POD, false), (kinds::ENDPOINTS, false), (kinds::ENDPOINT_SLICE, false)],
            Self::Disruption(_) => vec![(kinds::POD, false), (kinds::REPLICA_SET, false), (kinds::DEPLOYMENT, false)],
            Self::Node(_) => Vec::new(),
            Self::Schedule(_) => vec![(kinds::NODE, true), (kinds::POD, true)],
            Self::Kubelet(_) => vec![(kinds::NODE, true)],
        }
    }

    /// Who the log names as the author of the changes.
    fn actor(&self) -> &'static str {
        match self {
            Self::Deployment(_) => "deployment-controller",
            Self::ReplicaSet(_) => "replicaset-controller",
            Self::DaemonSet(_) => "daemonset-controller",
            Self::Endpoints(_) => "endpoints-controller",
            Self::Disruption(_) => "disruption-controller",
            Self::Node(_) => "node-controller",
            Self::Schedule(_) => "scheduler",
            Self::Kubelet(_) => "kubelet",
        }
    }
}

/// Virtual time, queue, timers and everything that controllers remember between runs.
#[derive(Debug, Clone)]
pub(crate) struct Engine {
    now: Timestamp,
    pub(crate) rng: Rng,
    pub(crate) models: Models,
    pub(crate) index: Index,
    pub(crate) kubelets: Kubelets,
    pub(crate) triggers: Triggers,
    /// Pods that no node took; they are tried again when pods go or nodes change.
    pub(crate) unschedulable: BTreeSet<Key>,
    events: EventIndex,
    queue: VecDeque<Work>,
    queued: BTreeSet<Work>,
    blocked: BTreeSet<Work>,
    timers: BTreeMap<(Timestamp, u64), Work>,
    timer_of: BTreeMap<Work, (Timestamp, u64)>,
    sequence: u64,
    partial: bool,
    loaded: BTreeSet<Scope>,
    log: Vector<String>,
    failure: Option<String>,
}

impl Engine {
    /// An engine at the start of time. With `partial`, only what [`Self::loaded`] was told about is known.
    pub(crate) fn new(seed: u64, start: Timestamp, partial: bool) -> Self {
        Self {
            now: start,
            // Not the store's sequence: uids must not shift when the scheduler breaks one tie more.
            rng: Rng::new(seed ^ 0x5eed_0e46_14e0_0001),
            models: Models::default(),
            index: Index::default(),
            kubelets: Kubelets::default(),
            triggers: Triggers::default(),
            unschedulable: BTreeSet::new(),
            events: EventIndex::default(),
            queue: VecDeque::new(),
            queued: BTreeSet::new(),
            blocked: BTreeSet::new(),
            timers: BTreeMap::new(),
            timer_of: BTreeMap::new(),
            sequence: 0,
            partial,
            loaded: BTreeSet::new(),
            log: Vector::new(),
            failure: None,
        }
    }

    /// The current instant.
    pub(crate) fn now(&self) -> Timestamp {
        self.now
    }

    /// When the next timer goes off.
    pub(crate) fn next_event_at(&self) -> Option<Timestamp> {
        self.timers.keys().next().map(|(at, _)| *at)
    }

    /// One line per effective change and per noted request.
    pub(crate) fn log(&self) -> &Vector<String> {
        &self.log
    }

    /// Adds a line to the log at the current instant.
    pub(crate) fn note(&mut self, line: &str) {
        self.log.push_back(format!("{} {line}", self.now));
    }

    /// What went wrong inside the simulator itself; nothing runs after that.
    pub(crate) fn failure(&self) -> Option<&str> {
        self.failure.as_deref()
    }

    /// Takes in what `actor` changed and runs all controllers to quiescence at this instant.
    pub(crate) fn run(&mut self, store: &mut Store, actor: &str) {
        self.absorb(store, actor);
        let mut steps = 0;
        while self.failure.is_none() {
            let Some(work) = self.queue.pop_front() else { return };
            self.queued.remove(&work);
            steps += 1;
            if steps > STEPS_PER_INSTANT {
                self.fail(format!("controllers do not come to rest at {}, last at `{}`", self.now, work.key()));
                return;
            }
            if self.missing(&work).next().is_some() {
                self.blocked.insert(work);
                continue;
            }
            self.cancel_timer(&work);
            if let Err(status) = self.reconcile(store, &work) {
                self.fail(format!("{} cannot reconcile `{}`: {}", work.actor(), work.key(), status.message()));
            }
        }
    }

    /// Runs all events up to `to`; afterwards it is `to`. False when it stopped earlier because something must be loaded.
    pub(crate) fn advance_to(&mut self, store: &mut Store, to: Timestamp) -> bool {
        self.run(store, "client");
        while let Some(at) = self.next_event_at().filter(|at| *at <= to && self.failure.is_none()) {
            if !self.blocked.is_empty() {
                return false;
            }
            self.now = self.now.max(at);
            while let Some(entry) = self.timers.first_entry().filter(|e| e.key().0 <= at) {
                let work = entry.remove();
                self.timer_of.remove(&work);
                self.enqueue(work);
            }
            self.run(store, "engine");
        }
        if !self.blocked.is_empty() {
            return false;
        }
        self.now = self.now.max(to);
        true
    }

    /// What must be loaded before the waiting keys can be reconciled, sorted.
    pub(crate) fn needs(&self) -> Vec<Scope> {
        let scopes: BTreeSet<Scope> = self.blocked.iter().flat_map(|work| self.missing(work)).collect();
        scopes.into_iter().collect()
    }

    /// Whether the scope is known; always in a complete cluster.
    pub(crate) fn is_loaded(&self, scope: &Scope) -> bool {
        let everywhere = || Scope { kind: scope.kind, namespace: None };
        !self.partial || self.loaded.contains(scope) || self.loaded.contains(&everywhere())
    }

    /// Marks a scope as known. What waited for it is queued; call [`Self::run`] to go on.
    pub(crate) fn scope_loaded(&mut self, scope: Scope) {
        self.loaded.insert(scope);
        for work in std::mem::take(&mut self.blocked) {
            self.enqueue(work);
        }
    }

    /// Takes in an object that was put into the store without a change: it is indexed, and worked on only when it is
    /// in the middle of something (a rollout under way, a pod not placed, not started or being deleted).
    pub(crate) fn object_loaded(&mut self, key: &Key, object: &Arc<Value>) {
        self.index.apply(key, None, Some(object));
        self.kubelets.adopt(key, object);
        match key.kind.kind {
            "Deployment" if controllers::deployment::is_unfinished(object) => self.enqueue(Work::Deployment(key.clone())),
            "DaemonSet" if controllers::daemonset::is_unfinished(object) => self.enqueue(Work::DaemonSet(key.clone())),
            "ReplicaSet" if controllers::replicaset::is_unfinished(object) => self.enqueue(Work::ReplicaSet(key.clone())),
            "Pod" if !kubelet::is_settled(object) => self.enqueue_pod(key, object),
            _ => {}
        }
    }

    /// Queues a key for this instant.
    pub(crate) fn enqueue(&mut self, work: Work) {
        if self.queued.insert(work.clone()) {
            self.queue.push_back(work);
        }
    }

    /// Sets the one timer of a key; an earlier one stays. Reconciling the key clears it.
    pub(crate) fn wake_at(&mut self, work: Work, at: Timestamp) {
        if let Some(old) = self.timer_of.get(&work) {
            if old.0 <= at {
                return;
            }
            self.timers.remove(old);
        }
        self.sequence += 1;
        self.timer_of.insert(work.clone(), (at, self.sequence));
        self.timers.insert((at, self.sequence), work);
    }

    fn cancel_timer(&mut self, work: &Work) {
        if let Some(old) = self.timer_of.remove(work) {
            self.timers.remove(&old);
        }
    }

    fn fail(&mut self, what: String) {
        self.note(&format!("FAILURE {what}"));
        self.failure = Some(what);
        self.queue.clear();
        self.queued.clear();
        self.timers.clear();
        self.timer_of.clear();
    }

    fn missing<'a>(&'a self, work: &'a Work) -> impl Iterator<Item = Scope> + 'a {
        let table = if self.partial { work.scopes_needed() } else { Vec::new() };
        let namespace = &work.key().namespace;
        table
            .into_iter()
            .map(|(kind, everywhere)| Scope { kind, namespace: (!everywhere).then(|| namespace.to_string()) })
            .filter(|scope| !self.is_loaded(scope))
    }

    fn reconcile(&mut self, store: &mut Store, work: &Work) -> Result<(), Status> {
        let mut ctx = Ctx { store, engine: self, actor: work.actor() };
        match work {
            Work::Deployment(key) => controllers::deployment::sync(&mut ctx, key),
            Work::ReplicaSet(key) => controllers::replicaset::sync(&mut ctx, key),
            Work::DaemonSet(key) => controllers::daemonset::sync(&mut ctx, key),
            Work::Endpoints(key) => controllers::endpoints::sync(&mut ctx, key),
            Work::Disruption(key) => controllers::disruption::sync(&mut ctx, key),
            Work::Node(key) => controllers::node::sync(&mut ctx, key),
            Work::Schedule(key) => scheduler::sync(&mut ctx, key),
            Work::Kubelet(key) => kubelet::sync(&mut ctx, key),
        }
    }

    /// Logs, indexes and queues what changed since the last call.
    fn absorb(&mut self, store: &mut Store, actor: &str) {
        loop {
            let changes = store.take_changes();
            if changes.is_empty() {
                return;
            }
            for change in changes {
                let verb = match (&change.before, &change.after) {
                    (None, _) => "ADDED",
                    (_, Some(_)) => "MODIFIED",
                    (_, None) => "DELETED",
                };
                self.log.push_back(format!("{} {verb} {} rv={} {actor}", self.now, change.key, change.rv));
                self.changed(store, &change);
                gc::changed(store, &change, self.now);
            }
        }
    }

    fn changed(&mut self, store: &Store, change: &Change) {
        let key = &change.key;
        self.index.apply(key, change.before.as_ref(), change.after.as_ref());
        let Some(object) = change.after.as_ref().or(change.before.as_ref()) else { return };
        match key.kind.kind {
            "Deployment" => self.enqueue(Work::Deployment(key.clone())),
            "ReplicaSet" => {
                self.enqueue(Work::ReplicaSet(key.clone()));
                self.enqueue_owner(store, object);
            }
            "DaemonSet" => self.enqueue(Work::DaemonSet(key.clone())),
            "ControllerRevision" => self.enqueue_owner(store, object),
            "Service" => self.enqueue(Work::Endpoints(key.clone())),
            "PodDisruptionBudget" => self.enqueue(Work::Disruption(key.clone())),
            "Node" => self.node_changed(store, change),
            "Pod" => self.pod_changed(store, change, object),
            _ => {}
        }
    }

    fn node_changed(&mut self, store: &Store, change: &Change) {
        self.enqueue(Work::Node(change.key.clone()));
        let (before, after) = (change.before.as_deref(), change.after.as_deref());
        if !controllers::node::matters(before, after) {
            return;
        }
        let sets: Vec<Key> = store.list(kinds::DAEMON_SET, None).map(|(key, _)| key.clone()).collect();
        sets.into_iter().for_each(|key| self.enqueue(Work::DaemonSet(key)));
        self.retry_unschedulable();
        for key in self.index.pods_on(&change.key.name) {
            self.enqueue(Work::Kubelet(key));
        }
    }

    fn pod_changed(&mut self, store: &Store, change: &Change, pod: &Arc<Value>) {
        let key = &change.key;
        self.enqueue_owner(store, pod);
        let removed = change.after.is_none();
        if removed {
            self.kubelets.forget(view::uid(pod));
            self.unschedulable.remove(key);
            for work in [Work::Schedule(key.clone()), Work::Kubelet(key.clone())] {
                self.cancel_timer(&work);
                // Nothing need be loaded for the sake of a pod that is gone.
                self.blocked.remove(&work);
            }
            self.enqueue_rollout_owner(store, pod);
            if !view::text(pod, &["spec", "nodeName"]).is_empty() {
                self.retry_unschedulable();
            }
        } else if placement_may_differ(change) {
            self.enqueue_pod(key, pod);
        }
        self.enqueue_selecting(store, change);
    }

    fn enqueue_pod(&mut self, key: &Key, pod: &Value) {
        if view::text(pod, &["spec", "nodeName"]).is_empty() {
            self.enqueue(Work::Schedule(key.clone()));
        } else {
            self.enqueue(Work::Kubelet(key.clone()));
        }
    }

    fn retry_unschedulable(&mut self) {
        for key in std::mem::take(&mut self.unschedulable) {
            self.enqueue(Work::Schedule(key));
        }
    }

    /// Queues the controller of an object; for an orphan, everything in its namespace that might adopt it.
    fn enqueue_owner(&mut self, store: &Store, object: &Value) {
        if let Some(work) = controllers::owner_work(object) {
            self.enqueue(work);
            return;
        }
        let namespace = view::namespace(object);
        let adopters: &[&'static Kind] = match view::text(object, &["kind"]) {
            "Pod" => &[kinds::REPLICA_SET, kinds::DAEMON_SET],
            "ReplicaSet" => &[kinds::DEPLOYMENT],
            "ControllerRevision" => &[kinds::DAEMON_SET],
            _ => return,
        };
        for kind in adopters {
            let candidates: Vec<Key> = store
                .list(kind, Some(namespace))
                .filter(|(_, owner)| view::selects(view::at(owner, &["spec", "selector"]), view::labels(object)))
                .map(|(key, _)| key.clone())
                .collect();
            candidates.into_iter().filter_map(controllers::work_of).for_each(|work| self.enqueue(work));
        }
    }

    /// A pod that is gone lets a `Recreate` rollout go on: queues the Deployment above its ReplicaSet.
    fn enqueue_rollout_owner(&mut self, store: &Store, pod: &Value) {
        let Some(Work::ReplicaSet(key)) = controllers::owner_work(pod) else { return };
        if let Some(work) = store.get(&key).and_then(|set| controllers::owner_work(set)) {
            self.enqueue(work);
        }
    }

    /// Queues Services and budgets that select the pod, before or after the change.
    fn enqueue_selecting(&mut self, store: &Store, change: &Change) {
        let namespace = Some(change.key.namespace.as_str());
        let sides: Vec<&Value> = [&change.before, &change.after].into_iter().flatten().map(|v| &**v).collect();
        let mut found = Vec::new();
        for (key, service) in store.list(kinds::SERVICE, namespace) {
            if sides.iter().any(|pod| controllers::endpoints::selects(service, pod)) {
                found.push(Work::Endpoints(key.clone()));
            }
        }
        for (key, budget) in store.list(kinds::POD_DISRUPTION_BUDGET, namespace) {
            let selector = view::at(budget, &["spec", "selector"]);
            if sides.iter().any(|pod| view::selects(selector, view::labels(pod))) {
                found.push(Work::Disruption(key.clone()));
            }
        }
        found.into_iter().for_each(|work| self.enqueue(work));
    }
}

/// Whether a change of a pod is a reason to look at it again: always on a node, else not when only its status changed, which
/// the scheduler itself writes.
fn placement_may_differ(change: &Change) -> bool {
    let (Some(before), Some(after)) = (&change.before, &change.after) else { return true };
    !view::text(after, &["spec", "nodeName"]).is_empty()
        || [&["spec"][..], &["metadata", "labels"]].iter().any(|path| view::at(before, path) != view::at(after, path))
}

/// What a controller works with: the store, the engine's memory, and its own name for the log.
pub(crate) struct Ctx<'a> {
    pub(crate) store: &'a mut Store,
    pub(crate) engine: &'a mut Engine,
    actor: &'static str,
}

impl Ctx<'_> {
    /// The current instant.
    pub(crate) fn now(&self) -> Timestamp {
        self.engine.now
    }

    /// An object; the `Arc` keeps it while the store changes.
    pub(crate) fn get(&self, key: &Key) -> Option<Arc<Value>> {
        self.store.get(key).cloned()
    }

    /// Creates an object.
    pub(crate) fn create(&mut self, kind: &'static Kind, object: Value) -> Result<Arc<Value>, Status> {
        let created = self.store.create(kind, object, self.engine.now);
        self.engine.absorb(self.store, self.actor);
        created
    }

    /// Replaces an object; equal content is no change.
    pub(crate) fn update(&mut self, key: &Key, object: Value) -> Result<Arc<Value>, Status> {
        let updated = self.store.update(key, object);
        self.engine.absorb(self.store, self.actor);
        updated
    }

    /// Replaces an object whose changed `spec` does not count as a new generation, as when a pod is bound.
    pub(crate) fn update_in_generation(&mut self, key: &Key, object: Value) -> Result<Arc<Value>, Status> {
        let updated = self.store.update_with(key, object, |_, _, _| false, false);
        self.engine.absorb(self.store, self.actor);
        updated
    }

    /// Removes an object at once, whatever its finalizers say.
    pub(crate) fn remove(&mut self, key: &Key) {
        self.store.remove(key);
        self.engine.absorb(self.store, self.actor);
    }

    /// Deletes an object as the API does: gracefully for a pod on a node, held up by finalizers.
    pub(crate) fn delete(&mut self, key: &Key) -> Result<(), Status> {
        gc::delete(self.store, key, self.engine.now)?;
        self.engine.absorb(self.store, self.actor);
        Ok(())
    }

    /// Pods, ReplicaSets or revisions whose controller has this uid, by name.
    pub(crate) fn owned(&self, kind: &'static Kind, uid: &str) -> Vec<(Key, Arc<Value>)> {
        self.objects(self.engine.index.owned(kind, uid))
    }

    /// Objects of a namespace without a controller, by name.
    pub(crate) fn orphans(&self, kind: &'static Kind, namespace: &str) -> Vec<(Key, Arc<Value>)> {
        self.objects(self.engine.index.orphans(kind, namespace))
    }

    fn objects<'a>(&self, keys: impl Iterator<Item = &'a Key>) -> Vec<(Key, Arc<Value>)> {
        keys.filter_map(|key| self.store.get(key).map(|object| (key.clone(), Arc::clone(object)))).collect()
    }

    /// Records an event about an object. The same event again raises its count.
    pub(crate) fn event(&mut self, about: &Value, severity: &str, reason: &str, message: &str) -> Result<(), Status> {
        self.say(about, Said { severity, reason, message, part: "" })
    }

    /// Records an event about an object or a part of it.
    pub(crate) fn say(&mut self, about: &Value, said: Said<'_>) -> Result<(), Status> {
        self.engine.events.record(self.store, about, self.actor, said, self.engine.now)?;
        self.engine.absorb(self.store, self.actor);
        Ok(())
    }

    /// Owners of a pod as `kind/name`, nearest first.
    pub(crate) fn owners(&self, pod: &Value) -> Vec<String> {
        let mut owners = Vec::new();
        let mut next = view::controller_of(pod).cloned();
        while let Some(owner) = next {
            let (api, kind, name) = (view::text(&owner, &["apiVersion"]), view::text(&owner, &["kind"]), view::text(&owner, &["name"]));
            owners.push(format!("{}/{name}", kind.to_ascii_lowercase()));
            next = kinds::by_kind(api, kind)
                .map(|kind| Key::new(kind, view::namespace(pod), name))
                .and_then(|key| self.store.get(&key))
                .and_then(|object| view::controller_of(object).cloned())
                .filter(|_| owners.len() < 4);
        }
        owners
    }
}
