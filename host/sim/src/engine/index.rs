//! Indexes over the store, so that no controller scans a namespace.

use std::sync::Arc;

use imbl::{OrdMap, OrdSet};

use crate::json::{Text, Value};

use crate::kinds::{self, Kind};
use crate::scheduler::{Load, Needs};
use crate::store::Key;
use crate::view;

/// Objects by controller, pods by node.
#[derive(Debug, Clone, Default)]
pub(crate) struct Index {
    owned: OrdMap<Text, OrdSet<Key>>,
    orphans: OrdMap<(&'static str, Text), OrdSet<Key>>,
    nodes: OrdMap<Text, Load>,
    /// Pods on nodes that keep others away, with their nodes.
    repelling: OrdMap<Key, Text>,
}

impl Index {
    /// Takes in a change of one object.
    pub(crate) fn apply(&mut self, key: &Key, before: Option<&Arc<Value>>, after: Option<&Arc<Value>>) {
        let is_pod = key.kind.is(kinds::POD);
        if !is_pod && !key.kind.is(kinds::REPLICA_SET) && !key.kind.is(kinds::CONTROLLER_REVISION) {
            return;
        }
        let owner = |object: Option<&Arc<Value>>| object.map(|o| view::controller_of(o).map(|owner| view::shared(owner, &["uid"])));
        let (old, new) = if view::same_owners(before, after) { (None, None) } else { (owner(before), owner(after)) };
        if old != new {
            if let Some(old) = old {
                self.leave(key, old.as_deref());
            }
            if let Some(new) = new {
                self.place(key, new).insert(key.clone());
            }
        }
        if is_pod {
            self.pod(key, before, after);
        }
    }

    fn place(&mut self, key: &Key, owner: Option<Text>) -> &mut OrdSet<Key> {
        match owner {
            Some(uid) => self.owned.entry(uid).or_default(),
            None => self.orphans.entry((key.kind.plural, key.namespace.clone())).or_default(),
        }
    }

    fn leave(&mut self, key: &Key, owner: Option<&str>) {
        let Some(uid) = owner else {
            if let Some(set) = self.orphans.get_mut(&(key.kind.plural, key.namespace.clone())) {
                set.remove(key);
            }
            return;
        };
        let Some(set) = self.owned.get_mut(uid) else { return };
        set.remove(key);
        if set.is_empty() {
            self.owned.remove(uid);
        }
    }

    /// What a pod takes from its node counts from binding until it is gone or has ended.
    fn pod(&mut self, key: &Key, before: Option<&Arc<Value>>, after: Option<&Arc<Value>>) {
        let node = |pod: Option<&Arc<Value>>| {
            pod.filter(|p| !matches!(view::text(p, &["status", "phase"]), "Succeeded" | "Failed"))
                .map(|p| view::shared(p, &["spec", "nodeName"]))
                .filter(|n| !n.is_empty())
        };
        let (old, new) = (node(before), node(after));
        if old == new {
            return;
        }
        if let Some(load) = old.and_then(|old| self.nodes.get_mut(&old)) {
            load.leave(key);
            self.repelling.remove(key);
        }
        if let (Some(new), Some(pod)) = (new, after) {
            let needs = Needs::of(pod);
            if needs.repels {
                self.repelling.insert(key.clone(), new.clone());
            }
            self.nodes.entry(new).or_default().come(key.clone(), needs);
        }
    }

    /// Keys of one kind whose controller has this uid.
    pub(crate) fn owned<'a>(&'a self, kind: &'static Kind, uid: &str) -> impl Iterator<Item = &'a Key> + use<'a> {
        // Keys are in the order of their kinds: of what else it owns, which may be very much, nothing is looked at.
        let first = Key { kind, namespace: Text::new(), name: Text::new() };
        self.owned.get(uid).into_iter().flat_map(move |keys| keys.range(first.clone()..)).take_while(move |key| key.kind.is(kind))
    }

    /// Keys of one kind and namespace without a controller.
    pub(crate) fn orphans<'a>(&'a self, kind: &'static Kind, namespace: &str) -> impl Iterator<Item = &'a Key> + use<'a> {
        self.orphans.get(&(kind.plural, namespace.into())).into_iter().flatten()
    }

    /// Keys of the pods on a node.
    pub(crate) fn keys_on<'a>(&'a self, node: &str) -> impl Iterator<Item = &'a Key> + use<'a> {
        self.nodes.get(node).into_iter().flat_map(Load::keys)
    }

    /// Copies of the keys of the pods on a node.
    pub(crate) fn pods_on(&self, node: &str) -> Vec<Key> {
        self.keys_on(node).cloned().collect()
    }

    /// Pods on nodes that keep others away, with their nodes.
    pub(crate) fn repelling(&self) -> &OrdMap<Key, Text> {
        &self.repelling
    }

    /// What the pods on each node take from it.
    pub(crate) fn nodes(&self) -> &OrdMap<Text, Load> {
        &self.nodes
    }
}
