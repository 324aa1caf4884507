//! The engine: virtual time, the controllers' work queue and their timers.
//!
//! After every write all controllers run to quiescence at the same instant, in a queue order that depends on nothing but
//! seed and input. Time moves only in [`Engine::advance_to`]. In a partial cluster (an overlay over a live one) a key is not
//! reconciled before everything its controller reads was loaded; until then it waits and [`Engine::needs`] names what to load.

pub(crate) mod closure;
mod ctx;
mod events;
mod index;
mod news;
mod scope;
mod work;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Arc;

use crate::json::{Text, Value};
use imbl::{OrdMap, OrdSet, Vector};
use jiff::Timestamp;

pub(crate) use self::ctx::{Ctx, owners_of};
use self::events::EventIndex;
pub(crate) use self::events::Said;
pub(crate) use self::index::Index;
use self::scope::Known;
pub use self::scope::{Part, Scope};
pub(crate) use self::work::Work;
use crate::commands::Commands;
use crate::controllers::endpoints::Triggers;
use crate::hash::Quick;
use crate::kinds;
use crate::kubelet::Kubelets;
use crate::machines::{self, Machines};
use crate::model::Models;
use crate::rng::Rng;
use crate::status::Status;
use crate::store::{Change, Key, Store};
use crate::unmodelled::Unmodelled;
use crate::{commands, controllers, crd, gc, kubelet, lifecycle, scheduler, view};

/// More reconciliations than this at one instant mean that two controllers undo each other's work.
const STEPS_PER_INSTANT: u32 = 100_000;

/// Virtual time, queue, timers and everything that controllers remember between runs.
#[derive(Debug, Clone)]
pub(crate) struct Engine {
    now: Timestamp,
    pub(crate) rng: Rng,
    pub(crate) models: Models,
    pub(crate) index: Index,
    pub(crate) kubelets: Kubelets,
    pub(crate) machines: Machines,
    pub(crate) triggers: Triggers,
    pub(crate) job_back_offs: controllers::job::BackOffs,
    pub(crate) coverages: controllers::daemonset::Coverages,
    pub(crate) evictions: controllers::taint_eviction::Evictions,
    pub(crate) zones: controllers::node::zones::Zones,
    /// Namespaces whose content goes.
    pub(crate) going_namespaces: OrdSet<Text>,
    /// Nodes whose kubelet says nothing, since when.
    pub(crate) silent_nodes: OrdMap<Text, Timestamp>,
    /// Nodes that were deleted, since when.
    pub(crate) gone_nodes: OrdMap<Text, Timestamp>,
    /// Pods that no node took; they are tried again when pods go or nodes change.
    pub(crate) unschedulable: scheduler::Waiting,
    events: EventIndex,
    queue: VecDeque<Work>,
    queued: HashSet<Work, Quick>,
    blocked: BTreeSet<Work>,
    /// Controllers that do nothing, by the names of their writes.
    pub(crate) stopped: BTreeSet<&'static str>,
    /// What a key turned out to need beyond what its kind always needs.
    required: BTreeMap<Work, BTreeSet<Scope>>,
    timers: BTreeMap<(Timestamp, u64), Work>,
    timer_of: HashMap<Work, (Timestamp, u64), Quick>,
    sequence: u64,
    partial: bool,
    /// The first instant.
    began: Timestamp,
    known: Known,
    /// Changes that concern objects which must be loaded first.
    deferred: Vec<(Vec<Scope>, Change)>,
    log: Vector<String>,
    /// The present as the log prints it.
    printed: (Timestamp, String),
    failure: Option<String>,
    /// What was noted about objects whose operator is a model.
    pub(crate) lifecycles: lifecycle::Progresses,
    /// When an entry that changes objects one after the other did so last, by its place.
    pub(crate) turns: OrdMap<usize, Timestamp>,
    /// Commands in containers that will change something.
    pub(crate) commands: Commands,
    /// Objects that have an operator which nobody plays.
    pub(crate) unmodelled: Unmodelled,
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
            machines: Machines::default(),
            triggers: Triggers::default(),
            job_back_offs: controllers::job::BackOffs::default(),
            coverages: controllers::daemonset::Coverages::default(),
            evictions: controllers::taint_eviction::Evictions::default(),
            zones: controllers::node::zones::Zones::default(),
            going_namespaces: OrdSet::new(),
            silent_nodes: OrdMap::new(),
            gone_nodes: OrdMap::new(),
            unschedulable: scheduler::Waiting::default(),
            events: EventIndex::default(),
            queue: VecDeque::new(),
            queued: HashSet::default(),
            blocked: BTreeSet::new(),
            stopped: BTreeSet::new(),
            required: BTreeMap::new(),
            timers: BTreeMap::new(),
            timer_of: HashMap::default(),
            sequence: 0,
            partial,
            began: start,
            known: Known::default(),
            deferred: Vec::new(),
            log: Vector::new(),
            printed: (start, start.to_string()),
            failure: None,
            lifecycles: lifecycle::Progresses::new(),
            turns: OrdMap::new(),
            commands: Commands::default(),
            unmodelled: Unmodelled::default(),
        }
    }

    /// Whether the kubelet of a node works: neither an entry about nodes nor its machine says otherwise.
    pub(crate) fn kubelet_runs(&self, node: &str) -> bool {
        self.models.kubelet_runs(node) && self.machines.kubelet_runs(node)
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
        let mut text = self.line();
        text.push_str(line);
        self.log.push_back(text);
    }

    /// The beginning of a line of the log.
    fn line(&mut self) -> String {
        if self.printed.0 != self.now {
            self.printed = (self.now, self.now.to_string());
        }
        let mut line = String::with_capacity(128);
        line.push_str(&self.printed.1);
        line.push(' ');
        line
    }

    /// What went wrong inside the simulator itself; nothing runs after that.
    pub(crate) fn failure(&self) -> Option<&str> {
        self.failure.as_deref()
    }

    /// Takes in what `actor` changed and runs all controllers to quiescence at this instant.
    pub(crate) fn run(&mut self, store: &mut Store, actor: &str) {
        self.absorb(store, actor);
        if self.models.take_news_of_nodes() {
            self.look_at_nodes(store);
        }
        let answers = self.models.take_news_of_probes();
        if !answers.is_empty() {
            self.look_at_probes(store, &answers);
        }
        if self.models.take_news_of_objects() {
            lifecycle::all(&self.models, store).into_iter().for_each(|work| self.enqueue(work));
        }
        let mut steps = 0;
        while self.failure.is_none() {
            let Some(work) = self.queue.pop_front() else { return };
            self.queued.remove(&work);
            steps += 1;
            if steps > STEPS_PER_INSTANT {
                self.fail(format!("controllers do not come to rest at {}, last at `{}`", self.now, work.key()));
                return;
            }
            if self.partial && !self.missing(store, &work).is_empty() {
                self.blocked.insert(work);
                continue;
            }
            if self.waits(store, &work) {
                self.enqueue(work);
                continue;
            }
            self.required.remove(&work);
            self.cancel_timer(&work);
            if let Err(status) = self.reconcile(store, &work) {
                self.fail(format!("{} cannot reconcile `{}`: {}", work.actor(), work.key(), status.message()));
            }
        }
    }

    /// A Deployment counts what its ReplicaSets say: those that have something to do come first, or it would take pods for available
    /// that are being deleted.
    fn waits(&self, store: &Store, work: &Work) -> bool {
        let Work::Deployment(key) = work else { return false };
        let Some(deployment) = store.get(key) else { return false };
        self.index.owned(kinds::REPLICA_SET, view::uid(deployment)).any(|set| self.queued.contains(&Work::ReplicaSet(set.clone())))
    }

    /// Runs all events up to `to`; afterwards it is `to`. False when it stopped earlier because something must be loaded.
    pub(crate) fn advance_to(&mut self, store: &mut Store, to: Timestamp) -> bool {
        self.run(store, "client");
        while let Some(at) = self.next_event_at().filter(|at| *at <= to && self.failure.is_none()) {
            if self.is_waiting() {
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
        if self.is_waiting() {
            return false;
        }
        self.now = self.now.max(to);
        true
    }

    /// Whether something must be loaded before time may go on.
    fn is_waiting(&self) -> bool {
        !self.blocked.is_empty() || !self.deferred.is_empty()
    }

    /// When an overlay began: what was before it, others have seen to.
    pub(crate) fn began(&self) -> Option<Timestamp> {
        self.partial.then_some(self.began)
    }

    /// Whether there is something to do now, or to be loaded.
    pub(crate) fn has_work(&self) -> bool {
        self.is_waiting() || !self.queue.is_empty()
    }

    /// What must be loaded before the waiting keys can be reconciled, sorted.
    pub(crate) fn needs(&self, store: &Store) -> Vec<Scope> {
        let scopes: BTreeSet<Scope> = self.blocked.iter().flat_map(|work| self.missing(store, work)).collect();
        let deferred = self.deferred.iter().flat_map(|(scopes, _)| scopes).filter(|scope| !self.is_loaded(scope));
        scopes.into_iter().chain(deferred.cloned()).collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// Whether the scope is known; always in a complete cluster.
    pub(crate) fn is_loaded(&self, scope: &Scope) -> bool {
        !self.partial || self.known.has(scope)
    }

    /// Whether a scope is known. If not, the key waits until it is, and is reconciled again from the beginning.
    pub(crate) fn require(&mut self, work: &Work, scope: Scope) -> bool {
        if self.is_loaded(&scope) {
            return true;
        }
        self.required.entry(work.clone()).or_default().insert(scope);
        self.blocked.insert(work.clone());
        false
    }

    /// What an overlay knows.
    pub(crate) fn known(&self) -> &Known {
        &self.known
    }

    /// What an overlay knows, to be changed.
    pub(crate) fn known_mut(&mut self) -> &mut Known {
        &mut self.known
    }

    /// Goes on with what waited for something that is known now; call [`Self::run`] after that.
    pub(crate) fn known_more(&mut self, store: &Store) {
        for work in std::mem::take(&mut self.blocked) {
            self.enqueue(work);
        }
        for (scopes, change) in std::mem::take(&mut self.deferred) {
            if scopes.iter().all(|scope| self.is_loaded(scope)) {
                self.heeded(store, &change);
            } else {
                self.deferred.push((scopes, change));
            }
        }
    }

    /// Looks for those who heed a change when all of these are known. Whether that is later.
    fn defer(&mut self, mut scopes: Vec<Scope>, change: &Change) -> bool {
        scopes.retain(|scope| !self.is_loaded(scope));
        let later = !scopes.is_empty();
        if later {
            self.deferred.push((scopes, change.clone()));
        }
        later
    }

    /// Takes in an object that was put into the store as far as the scheduler wants to know. Nobody works on it.
    pub(crate) fn reduced_loaded(&mut self, key: &Key, object: &Arc<Value>) {
        self.index.apply(key, None, Some(object));
        self.known.add_object(key, true);
    }

    /// An object that was there in the reduced form is gone, or comes whole.
    pub(crate) fn reduced_gone(&mut self, key: &Key, object: &Arc<Value>) {
        self.index.apply(key, Some(object), None);
        self.known.forget_reduced(key);
    }

    /// Takes in an object that was put into the store without a change: it is indexed, and worked on only when it is
    /// in the middle of something (a rollout under way, a pod not placed, not started or being deleted).
    pub(crate) fn object_loaded(&mut self, key: &Key, object: &Arc<Value>) {
        self.index.apply(key, None, Some(object));
        self.kubelets.adopt(key, object);
        if key.kind.is(kinds::NODE) {
            self.zones.apply(key, Some(object));
            self.coverages.node_changed(&key.name);
        } else if key.kind.is(kinds::POD) {
            self.coverages.pod_changed(key, None, Some(object));
        }
        match key.kind.built_in() {
            "Deployment" if controllers::deployment::is_unfinished(object) => self.enqueue(Work::Deployment(key.clone())),
            "DaemonSet" if controllers::daemonset::is_unfinished(object) => self.enqueue(Work::DaemonSet(key.clone())),
            "StatefulSet" if controllers::statefulset::is_unfinished(object) => self.enqueue(Work::StatefulSet(key.clone())),
            "Job" if controllers::job::is_unfinished(object) => {
                self.enqueue(Work::Job(key.clone()));
                self.enqueue(Work::Expire(key.clone()));
            }
            "ReplicaSet" if controllers::replicaset::is_unfinished(object) => self.enqueue(Work::ReplicaSet(key.clone())),
            "Pod" if !kubelet::is_settled(object) || (self.partial && kubelet::may_be_starting(object, self.now)) => {
                self.enqueue_pod(key, object);
            }
            "Pod" if self.models.knows_probes() => {
                self.kubelets.plan_anew(key);
                self.enqueue(Work::Kubelet(key.clone()));
            }
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

    fn missing(&self, store: &Store, work: &Work) -> Vec<Scope> {
        let closure = if self.partial { closure::of(work, store, &self.known) } else { Vec::new() };
        let required = self.required.get(work).into_iter().flatten().cloned();
        closure.into_iter().chain(required).filter(|scope| !self.is_loaded(scope)).collect()
    }

    fn reconcile(&mut self, store: &mut Store, work: &Work) -> Result<(), Status> {
        if self.stopped.contains(work.actor()) {
            return Ok(());
        }
        let mut ctx = Ctx { store, engine: self, actor: work.actor() };
        match work {
            Work::Deployment(key) => controllers::deployment::sync(&mut ctx, key),
            Work::ReplicaSet(key) => controllers::replicaset::sync(&mut ctx, key),
            Work::DaemonSet(key) => controllers::daemonset::sync(&mut ctx, key),
            Work::StatefulSet(key) => controllers::statefulset::sync(&mut ctx, key),
            Work::Job(key) => controllers::job::sync(&mut ctx, key),
            Work::Expire(key) => controllers::job::expire(&mut ctx, key),
            Work::Untrack(key) => controllers::job::release(&mut ctx, key),
            Work::Endpoints(key) => controllers::endpoints::sync(&mut ctx, key),
            Work::Disruption(key) => controllers::disruption::sync(&mut ctx, key),
            Work::Node(key) => controllers::node::sync(&mut ctx, key),
            Work::Namespace(key) => controllers::namespace::sync(&mut ctx, key),
            Work::Evict(key) => controllers::taint_eviction::sync(&mut ctx, key),
            Work::PodGc(key) => controllers::pod_gc::sync(&mut ctx, key),
            Work::Schedule(key) => scheduler::sync(&mut ctx, key),
            Work::Kubelet(key) => kubelet::sync(&mut ctx, key),
            Work::Lifecycle(key) => lifecycle::sync(&mut ctx, key),
            Work::Establish(key) => crd::lifecycle::establish(&mut ctx, key),
            Work::Machine(key) => machines::sync(&mut ctx, key),
            Work::Command(key) => commands::sync(&mut ctx, key),
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
                let mut line = self.line();
                line.push_str(verb);
                line.push(' ');
                change.key.write_to(&mut line);
                for part in [" rv=", &view::number(change.rv), " ", actor] {
                    line.push_str(part);
                }
                self.log.push_back(line);
                self.changed(store, &change);
                self.unmodelled.note(&self.models, &change);
                gc::changed(store, &change, self.now, !self.partial);
                crd::lifecycle::changed(store, &change, self.now, &|name| self.models.establishes(name).is_some());
                if self.models.has_objects() {
                    lifecycle::changed(&self.models, store, &self.index, &change).into_iter().for_each(|work| self.enqueue(work));
                }
            }
        }
    }
}
