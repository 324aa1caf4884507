//! Who has to look at what when something has changed.

use std::sync::Arc;

use super::{Engine, Scope, Work};
use crate::json::Value;
use crate::kinds::{self, Kind};
use crate::model::Concerned;
use crate::rules::Rule;
use crate::store::{Change, Key, Store};
use crate::{controllers, view};

impl Engine {
    pub(super) fn changed(&mut self, store: &Store, change: &Change) {
        let key = &change.key;
        self.index.apply(key, change.before.as_ref(), change.after.as_ref());
        let Some(object) = change.after.as_ref().or(change.before.as_ref()) else { return };
        let later = self.partial && {
            let wanted = self.wanted(change, object);
            self.defer(wanted, change)
        };
        if !self.going_namespaces.is_empty() && self.going_namespaces.contains(&key.namespace) {
            let namespace = Key::new(kinds::NAMESPACE, "", &key.namespace);
            self.wake_at(Work::Namespace(namespace), view::later_s(self.now, controllers::namespace::PAUSE));
        }
        match key.kind.built_in() {
            "Deployment" => self.enqueue(Work::Deployment(key.clone())),
            "ReplicaSet" => {
                self.enqueue(Work::ReplicaSet(key.clone()));
                self.enqueue_owner(store, object);
            }
            "DaemonSet" => {
                if change.after.is_none() {
                    self.coverages.forget(view::uid(object));
                }
                self.enqueue(Work::DaemonSet(key.clone()));
            }
            "StatefulSet" => self.enqueue(Work::StatefulSet(key.clone())),
            "Job" => self.job_changed(key, object, change.after.is_none()),
            "ControllerRevision" => self.enqueue_owner(store, object),
            "Service" => self.enqueue(Work::Endpoints(key.clone())),
            "PodDisruptionBudget" => self.enqueue(Work::Disruption(key.clone())),
            "Node" => self.node_changed(store, change, later),
            "Namespace" => self.namespace_changed(change),
            "CustomResourceDefinition" => self.enqueue(Work::Establish(key.clone())),
            "Pod" => self.pod_changed(store, change, object, later),
            _ => {}
        }
    }

    /// What an overlay must know before it can tell who heeds a change.
    fn wanted(&mut self, change: &Change, object: &Arc<Value>) -> Vec<Scope> {
        let key = &change.key;
        if change.before.is_none() {
            self.known.add_object(key, false);
        }
        let (before, after) = (change.before.as_deref(), change.after.as_deref());
        let differs = |path: &[&str]| before.and_then(|object| view::at(object, path)) != after.and_then(|object| view::at(object, path));
        let namespace = Some(key.namespace.as_str());
        let pending = || Scope::selected(kinds::POD, None, "", "spec.nodeName=");
        let mut wanted = Vec::new();
        match key.kind.built_in() {
            "Pod" => {
                wanted.extend([kinds::SERVICE, kinds::POD_DISRUPTION_BUDGET].map(|kind| Scope::all(kind, namespace)));
                if after.is_none() && !view::text(object, &["spec", "nodeName"]).is_empty() {
                    wanted.push(pending());
                }
            }
            "Node" => {
                if controllers::node::matters(before, after) {
                    wanted.push(Scope::pods_on(&key.name));
                }
                if differs(&["metadata", "labels"]) || differs(&["spec", "taints"]) {
                    wanted.push(Scope::all(kinds::DAEMON_SET, None));
                }
                if controllers::node::takes_more(before, after) {
                    wanted.push(pending());
                }
            }
            _ => {}
        }
        let loose = view::controller_of(object).is_none();
        if loose && (before.is_none() || differs(&["metadata", "labels"]) || differs(&["metadata", "ownerReferences"])) {
            wanted.extend(adopters(object).into_iter().map(|kind| Scope::all(kind, namespace)));
        }
        wanted
    }

    /// Queues everybody who heeds a change of another object.
    pub(super) fn heeded(&mut self, store: &Store, change: &Change) {
        let Some(object) = change.after.as_ref().or(change.before.as_ref()) else { return };
        match change.key.kind.built_in() {
            "Node" => self.node_heeded(store, change),
            "Pod" => {
                self.enqueue_owner(store, object);
                self.enqueue_selecting(store, change);
            }
            _ => self.enqueue_owner(store, object),
        }
    }

    fn node_changed(&mut self, store: &Store, change: &Change, later: bool) {
        self.enqueue(Work::Node(change.key.clone()));
        if self.zones.apply(&change.key, change.after.as_ref()) {
            self.zones.unready().into_iter().for_each(|key| self.enqueue(Work::Node(key)));
        }
        if !later {
            self.node_heeded(store, change);
        }
    }

    fn node_heeded(&mut self, store: &Store, change: &Change) {
        let (before, after) = (change.before.as_deref(), change.after.as_deref());
        let matters = controllers::node::matters(before, after);
        if matters {
            self.enqueue_daemon_sets(store, change);
        }
        self.node_drives_away(change);
        if !matters {
            return;
        }
        self.retry_unschedulable();
        for key in self.index.pods_on(&change.key.name) {
            self.enqueue(Work::Kubelet(key));
        }
    }

    /// Queues the DaemonSets that heed a change of a node: of its labels and taints. None heeds that a node is gone.
    fn enqueue_daemon_sets(&mut self, store: &Store, change: &Change) {
        let name = &change.key.name;
        let differs = |path: &[&str]| {
            let of = |node: &Option<Arc<Value>>| node.as_ref().and_then(|node| view::at(node, path).cloned());
            change.before.is_none() || of(&change.before) != of(&change.after)
        };
        self.coverages.node_changed(name);
        let Some(node) = change.after.as_ref().filter(|_| store.follows(Rule::DaemonSetNodes)) else { return };
        if !differs(&["metadata", "labels"]) && !differs(&["spec", "taints"]) {
            return;
        }
        let owners: Vec<&str> =
            self.index.keys_on(name).filter_map(|pod| store.get(pod)).filter_map(|pod| view::controller_uid(pod)).collect();
        let heeds = |set: &Value| controllers::daemonset::heeds(&self.coverages, set, node, || owners.contains(&view::uid(set)));
        let sets: Vec<Key> = store.list(kinds::DAEMON_SET, None).filter(|(_, set)| heeds(set)).map(|(key, _)| key.clone()).collect();
        sets.into_iter().for_each(|key| self.enqueue(Work::DaemonSet(key)));
    }

    /// A namespace that begins to go counts what it waits for a moment later.
    fn namespace_changed(&mut self, change: &Change) {
        let going = change.after.as_ref().is_some_and(|namespace| view::is_terminating(namespace));
        if !going {
            self.going_namespaces.remove(&change.key.name);
        } else if self.going_namespaces.insert(change.key.name.clone()).is_none() {
            self.wake_at(Work::Namespace(change.key.clone()), view::later_s(self.now, controllers::namespace::FIRST));
        }
    }

    /// Queues the pods that a change of their node drives away, or lets stay, or leaves behind.
    fn node_drives_away(&mut self, change: &Change) {
        let name = &change.key.name;
        match &change.after {
            None => drop(self.gone_nodes.insert(name.clone(), self.now)),
            Some(_) => drop(self.gone_nodes.remove(name)),
        }
        if controllers::taint_eviction::differs(change.before.as_deref(), change.after.as_deref()) || change.after.is_none() {
            for key in self.index.pods_on(name) {
                self.enqueue(Work::Evict(key.clone()));
                self.enqueue(Work::PodGc(key));
            }
        }
    }

    /// Queues everything that depends on which kubelets work.
    pub(super) fn look_at_nodes(&mut self, store: &Store) {
        let nodes: Vec<Key> = store.list(kinds::NODE, None).map(|(key, _)| key.clone()).collect();
        for key in nodes {
            self.index.pods_on(&key.name).into_iter().for_each(|pod| self.enqueue(Work::Kubelet(pod)));
            self.enqueue(Work::Node(key));
        }
    }

    /// Queues the pods whose containers answer their probes otherwise from now on.
    pub(super) fn look_at_probes(&mut self, store: &Store, news: &[Concerned]) {
        let concerned = |pod: &Value| news.iter().any(|entry| entry.are(pod, || super::owners_of(store, pod)));
        let bound = |pod: &Value| !view::text(pod, &["spec", "nodeName"]).is_empty();
        let pods: Vec<Key> =
            store.list(kinds::POD, None).filter(|(_, pod)| bound(pod) && concerned(pod)).map(|(key, _)| key.clone()).collect();
        for key in pods {
            self.kubelets.plan_anew(&key);
            self.enqueue(Work::Kubelet(key));
        }
    }

    /// A Job that is gone leaves pods that nobody counts.
    fn job_changed(&mut self, key: &Key, job: &Value, removed: bool) {
        self.enqueue(Work::Job(key.clone()));
        self.enqueue(Work::Expire(key.clone()));
        if removed {
            let pods: Vec<Key> = self.index.owned(kinds::POD, view::uid(job)).cloned().collect();
            pods.into_iter().for_each(|pod| self.enqueue(Work::Untrack(pod)));
        }
    }

    fn pod_changed(&mut self, store: &Store, change: &Change, pod: &Arc<Value>, later: bool) {
        let key = &change.key;
        self.enqueue_owner(store, pod);
        self.coverages.pod_changed(key, change.before.as_ref(), change.after.as_ref());
        let removed = change.after.is_none();
        if removed {
            self.kubelets.forget(pod);
            self.unschedulable.remove(key);
            for work in [Work::Schedule(key.clone()), Work::Kubelet(key.clone())] {
                self.cancel_timer(&work);
                // Nothing need be loaded for the sake of a pod that is gone.
                self.blocked.remove(&work);
            }
            self.enqueue_rollout_owner(store, pod);
            // A pod that was in the way of a member of a StatefulSet.
            if let Some(set) = controllers::statefulset::named_by(key).filter(|set| store.get(set).is_some()) {
                self.enqueue(Work::StatefulSet(set));
            }
            if !view::text(pod, &["spec", "nodeName"]).is_empty() {
                self.retry_unschedulable();
            }
        } else if placement_may_differ(change) && !self.kubelets.writes(key) {
            self.enqueue_pod(key, pod);
        }
        if !removed {
            if let Some(before) = change.before.as_deref().filter(|_| !self.kubelets.writes(key)) {
                self.kubelets.take_over(before, pod);
            }
            self.pod_on_node(store, change, pod);
        }
        if !removed && controllers::job::is_forgotten(store, pod) {
            self.enqueue(Work::Untrack(key.clone()));
        }
        if !later {
            self.enqueue_selecting(store, change);
        }
    }

    /// A pod that comes to a node that drives pods away, or that is going on one that is out of service.
    fn pod_on_node(&mut self, store: &Store, change: &Change, pod: &Value) {
        let node = view::text(pod, &["spec", "nodeName"]);
        if node.is_empty() {
            return;
        }
        let was = |path: &[&str]| change.before.as_ref().and_then(|before| view::at(before, path)) != view::at(pod, path);
        let moved = was(&["spec", "nodeName"]) || was(&["spec", "tolerations"]) || was(&["metadata", "deletionTimestamp"]);
        let away = || store.get(&Key::new(kinds::NODE, "", node)).is_some_and(|node| controllers::taint_eviction::drives_away(node));
        if moved && (away() || self.gone_nodes.contains_key(node)) {
            self.enqueue(Work::Evict(change.key.clone()));
            self.enqueue(Work::PodGc(change.key.clone()));
        }
    }

    pub(super) fn enqueue_pod(&mut self, key: &Key, pod: &Value) {
        if view::text(pod, &["spec", "nodeName"]).is_empty() {
            self.enqueue(Work::Schedule(key.clone()));
        } else {
            self.enqueue(Work::Kubelet(key.clone()));
        }
    }

    fn retry_unschedulable(&mut self) {
        for key in self.unschedulable.take() {
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
        for kind in adopters(object) {
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

/// Kinds of which an object without a controller may become one's.
fn adopters(object: &Value) -> Vec<&'static Kind> {
    match view::text(object, &["kind"]) {
        "Pod" => vec![kinds::REPLICA_SET, kinds::DAEMON_SET, kinds::STATEFUL_SET, kinds::JOB],
        "ReplicaSet" => vec![kinds::DEPLOYMENT],
        "ControllerRevision" => vec![kinds::DAEMON_SET, kinds::STATEFUL_SET],
        _ => Vec::new(),
    }
}

/// Whether a change of a pod is a reason to look at it again: always on a node, else not when only its status changed, which
/// the scheduler itself writes.
fn placement_may_differ(change: &Change) -> bool {
    let (Some(before), Some(after)) = (&change.before, &change.after) else { return true };
    !view::text(after, &["spec", "nodeName"]).is_empty()
        || [&["spec"][..], &["metadata", "labels"]].iter().any(|path| view::at(before, path) != view::at(after, path))
}
