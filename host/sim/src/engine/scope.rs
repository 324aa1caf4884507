//! What an overlay loads at once, and what it has loaded.

use std::collections::{BTreeMap, BTreeSet};

use imbl::OrdSet;

use crate::json::Value;
use crate::kinds::{self, Kind};
use crate::selector::{FieldSelector, LabelSelector};
use crate::store::Key;
use crate::view;

/// Objects of one kind in one namespace or everywhere: what an overlay loads at once.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Scope {
    /// The kind.
    pub kind: &'static Kind,
    /// `None`: all namespaces, or a cluster-scoped kind.
    pub namespace: Option<String>,
    /// Which of them.
    pub part: Part,
}

/// Which objects of a kind and namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part {
    /// All.
    #[default]
    All,
    /// The one of this name.
    Name(String),
    /// What these selectors select, in the form of a query; not both are empty.
    Selected {
        /// Of labels.
        labels: String,
        /// Of fields.
        fields: String,
    },
    /// All, but only what of them counts when a pod is placed: see [`reduced`](crate::scheduler::reduced). Nobody but the scheduler
    /// makes do with that.
    Reduced,
}

impl Scope {
    /// All objects of a kind, in one namespace or everywhere.
    #[must_use]
    pub fn all(kind: &'static Kind, namespace: Option<&str>) -> Self {
        Self { kind, namespace: namespace.map(str::to_owned), part: Part::All }
    }

    /// One object.
    #[must_use]
    pub fn named(kind: &'static Kind, namespace: Option<&str>, name: &str) -> Self {
        let namespace = namespace.filter(|namespace| kind.namespaced && !namespace.is_empty());
        Self { part: Part::Name(name.to_owned()), ..Self::all(kind, namespace) }
    }

    /// The object with this key.
    #[must_use]
    pub fn of(key: &Key) -> Self {
        Self::named(key.kind, Some(&key.namespace), &key.name)
    }

    /// What selectors in the form of a query select.
    #[must_use]
    pub fn selected(kind: &'static Kind, namespace: Option<&str>, labels: &str, fields: &str) -> Self {
        let part = match (labels.is_empty(), fields.is_empty()) {
            (true, true) => Part::All,
            _ => Part::Selected { labels: labels.to_owned(), fields: fields.to_owned() },
        };
        Self { part, ..Self::all(kind, namespace) }
    }

    /// Pods on one node.
    pub(crate) fn pods_on(node: &str) -> Self {
        Self::selected(kinds::POD, None, "", &format!("spec.nodeName={node}"))
    }

    /// Pods everywhere, as far as the scheduler wants to know.
    pub(crate) fn pods_reduced() -> Self {
        Self { part: Part::Reduced, ..Self::all(kinds::POD, None) }
    }
}

/// Parsed selectors of one load.
#[derive(Debug, Clone)]
struct Selection {
    namespace: Option<String>,
    labels: LabelSelector,
    fields: FieldSelector,
}

impl Selection {
    /// `None` when one of them cannot be read: nothing is selected then.
    fn of(scope: &Scope) -> Option<Self> {
        let Part::Selected { labels, fields } = &scope.part else { return None };
        let (labels, fields) = (LabelSelector::parse(labels).ok()?, FieldSelector::parse(scope.kind, fields).ok()?);
        Some(Self { namespace: scope.namespace.clone(), labels, fields })
    }

    fn is_in(&self, namespace: Option<&str>) -> bool {
        self.namespace.is_none() || self.namespace.as_deref() == namespace
    }

    /// Whether everything that the other selects is selected here.
    fn covers(&self, other: &Self) -> bool {
        self.is_in(other.namespace.as_deref()) && self.labels.covers(&other.labels) && self.fields.covers(&other.fields)
    }

    fn selects(&self, object: &Value) -> bool {
        self.is_in(Some(view::namespace(object))) && self.labels.matches(object) && self.fields.matches(object)
    }
}

/// What was loaded of one kind.
#[derive(Debug, Clone, Default)]
struct Loaded {
    everywhere: bool,
    namespaces: BTreeSet<String>,
    selections: Vec<Selection>,
    /// As far as the scheduler wants to know.
    reduced: bool,
}

/// What an overlay knows.
#[derive(Debug, Clone, Default)]
pub(crate) struct Known {
    kinds: BTreeMap<&'static Kind, Loaded>,
    /// Objects that are known by themselves, whether they are there or not.
    keys: OrdSet<Key>,
    /// What cannot be read.
    refused: BTreeSet<Scope>,
    /// Objects of which only the reduced form is here.
    reduced: OrdSet<Key>,
    /// Whether nothing more can be read.
    closed: bool,
}

impl Known {
    /// Whether a scope is known, by itself or as a part of a wider one, or cannot be known.
    pub(crate) fn has(&self, scope: &Scope) -> bool {
        self.closed || self.is_refused(scope) || self.has_read(scope)
    }

    /// From now on nothing more can be read.
    pub(crate) fn close(&mut self) {
        self.closed = true;
    }

    fn is_refused(&self, scope: &Scope) -> bool {
        if self.refused.is_empty() {
            return false;
        }
        // Who may not list may still read one by its name.
        let wider = |namespace: Option<&str>| self.refused.contains(&Scope::all(scope.kind, namespace));
        let is_one = matches!(scope.part, Part::Name(_));
        self.refused.contains(scope) || !is_one && (wider(scope.namespace.as_deref()) || wider(None))
    }

    /// Whether a scope was loaded, by itself or as a part of a wider one.
    pub(crate) fn has_read(&self, scope: &Scope) -> bool {
        let namespace = scope.namespace.as_deref();
        if let Part::Name(name) = &scope.part {
            let key = Key::new(scope.kind, namespace.unwrap_or_default(), name);
            if self.keys.contains(&key) {
                return !self.reduced.contains(&key);
            }
        }
        let Some(loaded) = self.kinds.get(scope.kind) else { return false };
        if loaded.everywhere || namespace.is_some_and(|namespace| loaded.namespaces.contains(namespace)) {
            return true;
        }
        match &scope.part {
            Part::All | Part::Name(_) => false,
            Part::Reduced => loaded.reduced,
            Part::Selected { .. } => Selection::of(scope).is_none_or(|wanted| loaded.selections.iter().any(|known| known.covers(&wanted))),
        }
    }

    /// Whether this object would have come with something that was loaded before: then what is here of it stands, be it nothing.
    pub(crate) fn has_seen(&self, key: &Key, object: &Value) -> bool {
        let Some(loaded) = self.kinds.get(key.kind) else { return self.keys.contains(key) };
        loaded.everywhere
            || loaded.reduced && !self.reduced.contains(key)
            || loaded.namespaces.contains(key.namespace.as_str())
            || self.keys.contains(key)
            || loaded.selections.iter().any(|known| known.selects(object))
    }

    /// From now on this object is known, in the reduced form or whole.
    pub(crate) fn add_object(&mut self, key: &Key, reduced: bool) {
        if reduced {
            self.reduced.insert(key.clone());
        } else {
            self.keys.insert(key.clone());
            self.reduced.remove(key);
        }
    }

    /// From now on this scope is known.
    pub(crate) fn add(&mut self, scope: &Scope) {
        self.refused.remove(scope);
        let loaded = self.kinds.entry(scope.kind).or_default();
        match (&scope.part, &scope.namespace) {
            (Part::All, None) => loaded.everywhere = true,
            (Part::All, Some(namespace)) => drop(loaded.namespaces.insert(namespace.clone())),
            (Part::Reduced, _) => loaded.reduced = true,
            (Part::Selected { .. }, _) => loaded.selections.extend(Selection::of(scope)),
            (Part::Name(name), namespace) => {
                let key = Key::new(scope.kind, namespace.as_deref().unwrap_or_default(), name);
                self.add_object(&key, false);
            }
        }
    }

    /// From now on it is known that this scope cannot be read.
    pub(crate) fn refuse(&mut self, scope: Scope) {
        self.refused.insert(scope);
    }

    /// Whether only the reduced form of an object is here.
    pub(crate) fn is_reduced(&self, key: &Key) -> bool {
        !self.reduced.is_empty() && self.reduced.contains(key)
    }

    /// Objects of a scope of which only the reduced form is here.
    pub(crate) fn reduced_in(&self, scope: &Scope, is_there: impl Fn(&Key) -> Option<std::sync::Arc<Value>>) -> Vec<Key> {
        let selection = Selection::of(scope);
        let fits = |key: &&Key| {
            key.kind.is(scope.kind)
                && scope.namespace.as_deref().is_none_or(|namespace| namespace == key.namespace)
                && match &scope.part {
                    Part::All => true,
                    Part::Reduced => false,
                    Part::Name(name) => name.as_str() == key.name.as_str(),
                    Part::Selected { .. } => {
                        is_there(key).is_some_and(|object| selection.as_ref().is_some_and(|selection| selection.selects(&object)))
                    }
                }
        };
        self.reduced.iter().filter(fits).cloned().collect()
    }

    /// An object is gone from the overlay without a change.
    pub(crate) fn forget_reduced(&mut self, key: &Key) {
        self.reduced.remove(key);
    }

    /// For how many nodes the pods were loaded by themselves.
    pub(crate) fn nodes_looked_into(&self) -> usize {
        let by_node = |selection: &&Selection| selection.fields.equal_to("spec.nodeName").is_some_and(|node| !node.is_empty());
        self.kinds.get(kinds::POD).map_or(0, |loaded| loaded.selections.iter().filter(by_node).count())
    }
}
