//! Objects, resource versions and the history of changes.
//!
//! One counter numbers every effective change of the whole cluster. A write that changes nothing is no change. All maps are
//! persistent: a fork costs the same for ten objects as for a hundred thousand, a write copies the few nodes on the way to
//! its entry, and two stores of one descent are compared in the size of their difference.

mod content;
mod features;
mod key;
mod lookup;
mod meta;

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use imbl::ordmap::DiffItem;
use imbl::{OrdMap, OrdSet, Vector};

use crate::json::{Text, Value};
use jiff::Timestamp;

use crate::crd::Customs;
use crate::defaults;
use crate::kinds::{self, Kind};
use crate::rng::Rng;
use crate::rules::{Rule, Rules};
use crate::selector::{FieldSelector, LabelSelector};
use crate::status::Status;
use crate::view;

pub(crate) use self::content::spec_differs;
use self::features::Features;
pub use self::key::Key;
use self::lookup::Lookup;
pub(crate) use self::meta::with_rv;
use self::meta::{drop_no_owners, keep, metadata, name, set_rv, text};

/// Changes that can still be watched when nothing else is asked for.
pub const DEFAULT_HISTORY: usize = 8192;

/// One effective change.
#[derive(Debug, Clone)]
pub struct Change {
    /// What changed.
    pub key: Key,
    /// The object before; `None` when it was created.
    pub before: Option<Arc<Value>>,
    /// The object after; `None` when it was removed.
    pub after: Option<Arc<Value>>,
    /// The number of the change.
    pub rv: u64,
}

/// One object that differs between two stores.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Which object.
    pub key: Key,
    /// The object in the store that was asked; `None` when it has none.
    pub here: Option<Arc<Value>>,
    /// The object in the other store; `None` when it has none.
    pub there: Option<Arc<Value>>,
}

/// What there is of one kind.
#[derive(Debug, Clone, Default)]
struct Shelf {
    objects: Objects,
    /// How many objects there are in each namespace.
    counts: OrdMap<Text, usize>,
    lookup: Lookup,
}

type Objects = OrdMap<Key, Arc<Value>>;

/// All objects of a cluster.
#[derive(Debug, Clone)]
pub struct Store {
    /// Rules of the simulation that are switched off.
    pub(crate) rules: Rules,
    rv: u64,
    rng: Rng,
    shelves: BTreeMap<&'static Kind, Shelf>,
    /// What the definitions of custom resources say.
    customs: Customs,
    /// Keys of objects by the uids they name as owners.
    dependents: OrdMap<Text, OrdSet<Key>>,
    history: Vector<Change>,
    history_limit: usize,
    /// Changes after this number stay, whatever the limit: an open watch has not seen them yet.
    pinned: u64,
    /// Changes up to this number are forgotten.
    forgotten: u64,
    features: Features,
    changes: Vec<Change>,
}

impl Store {
    /// An empty store.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            rules: Rules::default(),
            rv: 0,
            rng: Rng::new(seed),
            shelves: BTreeMap::new(),
            customs: Customs::default(),
            dependents: OrdMap::new(),
            history: Vector::new(),
            history_limit: DEFAULT_HISTORY,
            pinned: u64::MAX,
            forgotten: 0,
            features: Features::default(),
            changes: Vec::new(),
        }
    }

    /// Whether a rule of the simulation holds; it does unless a test has switched it off.
    pub(crate) fn follows(&self, rule: Rule) -> bool {
        self.rules.hold(rule)
    }

    /// The object with this key.
    #[must_use]
    pub fn get(&self, key: &Key) -> Option<&Arc<Value>> {
        self.shelves.get(key.kind)?.objects.get(key)
    }

    /// Objects of a kind in one namespace or, with `None`, everywhere; by namespace and name.
    pub fn list<'a>(&'a self, kind: &'static Kind, namespace: Option<&str>) -> impl Iterator<Item = (&'a Key, &'a Arc<Value>)> + use<'a> {
        self.list_after(kind, namespace, None)
    }

    /// As [`Self::list`], but only what comes after a namespace and name.
    pub(crate) fn list_after<'a>(
        &'a self,
        kind: &'static Kind,
        namespace: Option<&str>,
        after: Option<(&str, &str)>,
    ) -> impl Iterator<Item = (&'a Key, &'a Arc<Value>)> + use<'a> {
        let within = namespace.filter(|_| kind.namespaced).map(Text::from);
        let begin = match after {
            Some((namespace, name)) => Bound::Excluded(Key { kind, namespace: namespace.into(), name: name.into() }),
            None => Bound::Included(Key { kind, namespace: within.clone().unwrap_or_default(), name: Text::new() }),
        };
        self.shelves
            .get(kind)
            .into_iter()
            .flat_map(move |shelf| shelf.objects.range((begin.clone(), Bound::Unbounded)))
            .take_while(move |(key, _)| within.as_ref().is_none_or(|ns| *ns == key.namespace))
    }

    /// How many objects of a kind there are in one namespace or, with `None`, everywhere.
    #[must_use]
    pub fn count(&self, kind: &'static Kind, namespace: Option<&str>) -> usize {
        let Some(shelf) = self.shelves.get(kind) else { return 0 };
        match namespace.filter(|_| kind.namespaced) {
            Some(namespace) => shelf.counts.get(namespace).copied().unwrap_or(0),
            None => shelf.objects.len(),
        }
    }

    /// Objects among which everything is that these selectors select, by namespace and name; `None` when no index helps.
    pub(crate) fn candidates<'a>(
        &'a self,
        kind: &'static Kind,
        namespace: Option<&'a str>,
        labels: &LabelSelector,
        fields: &FieldSelector,
    ) -> Option<impl Iterator<Item = (&'a Key, &'a Arc<Value>)> + use<'a>> {
        let shelf = self.shelves.get(kind)?;
        let keys = shelf.lookup.candidates(labels, fields)?;
        let here = keys.iter().filter(move |key| namespace.is_none_or(|namespace| namespace == key.namespace));
        Some(here.filter_map(|key| shelf.objects.get_key_value(key)))
    }

    /// The custom resources that are defined.
    pub(crate) fn customs(&self) -> &Customs {
        &self.customs
    }

    /// The kind with this `apiVersion` and `kind`, of Kubernetes itself or defined.
    #[must_use]
    pub fn kind_named(&self, api_version: &str, kind: &str) -> Option<&'static Kind> {
        kinds::by_kind(api_version, kind).or_else(|| self.customs.by_kind(api_version, kind))
    }

    /// Every kind that is served now: those of Kubernetes, then those that were defined.
    #[must_use]
    pub fn served_kinds(&self) -> Vec<&'static Kind> {
        kinds::ALL.iter().copied().chain(self.customs.kinds()).collect()
    }

    /// The kinds of which there is anything, and have been.
    pub(crate) fn kinds(&self) -> impl Iterator<Item = &'static Kind> {
        self.shelves.keys().copied()
    }

    /// The number of the last change.
    #[must_use]
    pub fn rv(&self) -> u64 {
        self.rv
    }

    /// Creates an object: fills in defaults, uid, generation, times and a generated name.
    ///
    /// # Errors
    /// `AlreadyExists`, or `Invalid` for an object without a name.
    pub fn create(&mut self, kind: &'static Kind, object: Value, now: Timestamp) -> Result<Arc<Value>, Status> {
        let mut rng = self.rng.clone();
        let object = self.stage(kind, object, now, &mut rng)?;
        self.rng = rng;
        Ok(self.insert(kind, object))
    }

    /// What [`Self::create`] would store, without storing it. It has no resource version.
    ///
    /// # Errors
    /// As [`Self::create`].
    pub fn preview(&self, kind: &'static Kind, object: Value, now: Timestamp) -> Result<Value, Status> {
        self.stage(kind, object, now, &mut self.rng.clone())
    }

    /// Gives an object its name and uid before it is created, for a kind whose content depends on them.
    pub(crate) fn identify(&mut self, object: &mut Value) {
        if let Some(meta) = metadata(object) {
            name(meta, &mut self.rng);
            meta.insert("uid", self.rng.uuid().into());
        }
    }

    fn stage(&self, kind: &'static Kind, mut object: Value, now: Timestamp, rng: &mut Rng) -> Result<Value, Status> {
        defaults::apply(kind, &mut object);
        defaults::reset_for_create(kind, &mut object);
        let Some(meta) = metadata(&mut object) else {
            return Err(Status::bad_request("metadata is not an object"));
        };
        name(meta, rng);
        for field in ["resourceVersion", "deletionTimestamp", "deletionGracePeriodSeconds", "selfLink"] {
            meta.remove(field);
        }
        drop_no_owners(meta);
        // The uid of a Job is in its selector and was given before: see [`Self::identify`].
        if !kind.is(kinds::JOB) || text(meta, "uid").is_empty() {
            meta.insert("uid", rng.uuid().into());
        }
        meta.insert("creationTimestamp", view::stamp(now).into());
        // What a client writes stays where the server does not count.
        if kind.has_generation {
            meta.insert("generation", 1.into());
        }
        if !kind.namespaced {
            meta.remove("namespace");
        }
        let key = Key::of(kind, &object);
        match self.get(&key) {
            None => Ok(object),
            Some(there) => Err(Status::already_exists(kind, &key.name, view::is_terminating(there))),
        }
    }

    /// Creates what the simulator has made whole, under a key that is free: only its identity and its times are filled in.
    pub(crate) fn add(&mut self, key: Key, mut object: Value, now: Timestamp) {
        if let Some(meta) = metadata(&mut object) {
            meta.insert("uid", self.rng.uuid().into());
            meta.insert("creationTimestamp", view::stamp(now).into());
        }
        self.put_new(key, object);
    }

    fn insert(&mut self, kind: &'static Kind, object: Value) -> Arc<Value> {
        let key = Key::of(kind, &object);
        self.put_new(key, object)
    }

    fn put_new(&mut self, key: Key, mut object: Value) -> Arc<Value> {
        self.rv += 1;
        set_rv(&mut object, self.rv);
        let after = Arc::new(object);
        self.record(Change { key, before: None, after: Some(Arc::clone(&after)), rv: self.rv });
        after
    }

    /// Replaces an object. Equal content is no change; a changed `spec` raises the generation; a terminating object whose
    /// last finalizer goes is removed. Identity and creation time cannot be changed this way.
    ///
    /// # Errors
    /// `NotFound`, or `Conflict` when the object carries a `resourceVersion` that is not the current one.
    pub fn update(&mut self, key: &Key, object: Value) -> Result<Arc<Value>, Status> {
        let (before, after) = self.stage_update(key, object, spec_differs)?;
        Ok(self.commit_update(key, before, after))
    }

    /// As [`Self::update`], but `bumps` decides from the state before and after whether the generation is raised.
    ///
    /// # Errors
    /// As [`Self::update`].
    pub(crate) fn update_with(
        &mut self,
        key: &Key,
        object: Value,
        bumps: impl Fn(&Kind, &Value, &Value) -> bool,
        dry_run: bool,
    ) -> Result<Arc<Value>, Status> {
        let (before, after) = self.stage_update(key, object, bumps)?;
        if dry_run { Ok(Arc::new(after)) } else { Ok(self.commit_update(key, before, after)) }
    }

    fn stage_update(
        &self,
        key: &Key,
        mut object: Value,
        bumps: impl Fn(&Kind, &Value, &Value) -> bool,
    ) -> Result<(Arc<Value>, Value), Status> {
        let Some(before) = self.get(key) else {
            return Err(Status::not_found(key.kind, &key.name));
        };
        let Some(meta) = metadata(&mut object) else {
            return Err(Status::bad_request("metadata is not an object"));
        };
        let old = before.get("metadata").and_then(Value::as_object);
        let given = text(meta, "resourceVersion");
        if !given.is_empty() && old.and_then(|m| m.get("resourceVersion")).and_then(Value::as_str) != Some(given) {
            return Err(Status::modified(key.kind, &key.name));
        }
        for field in ["name", "namespace", "uid", "creationTimestamp", "resourceVersion", "generation", "generateName"] {
            keep(meta, field, old.and_then(|m| m.get(field)));
        }
        // Who does not know of owners leaves them as they are.
        if let Some(owners) = old.and_then(|m| m.get("managedFields")).filter(|_| !meta.contains_key("managedFields")) {
            meta.insert("managedFields", owners.clone());
        }
        drop_no_owners(meta);
        meta.remove("selfLink");
        if key.kind.has_generation && bumps(key.kind, before, &object) {
            let generation = view::generation(before) + 1;
            view::set(&mut object, &["metadata", "generation"], generation);
        }
        Ok((Arc::clone(before), object))
    }

    fn commit_update(&mut self, key: &Key, before: Arc<Value>, mut after: Value) -> Arc<Value> {
        // A namespace waits for its content, not for finalizers in its metadata alone.
        let finished = !key.kind.is(kinds::NAMESPACE)
            && view::is_terminating(&after)
            && view::list(&after, &["metadata", "finalizers"]).is_empty()
            && view::count(&after, &["metadata", "deletionGracePeriodSeconds"]) == 0;
        if *before == after && !finished {
            return before;
        }
        if finished {
            self.remove(key);
            return Arc::new(after);
        }
        self.rv += 1;
        set_rv(&mut after, self.rv);
        let after = Arc::new(after);
        self.record(Change { key: key.clone(), before: Some(before), after: Some(Arc::clone(&after)), rv: self.rv });
        after
    }

    /// Removes an object at once, whatever its finalizers say.
    pub fn remove(&mut self, key: &Key) -> Option<Arc<Value>> {
        let before = Arc::clone(self.get(key)?);
        self.rv += 1;
        self.record(Change { key: key.clone(), before: Some(Arc::clone(&before)), after: None, rv: self.rv });
        Some(before)
    }

    /// Changes since the last call.
    pub fn take_changes(&mut self) -> Vec<Change> {
        std::mem::take(&mut self.changes)
    }

    /// Puts an object into the store without a change: it was there before anybody looked. What it carries is kept; uid,
    /// resource version, creation time and generation are filled in when missing. An object of the same key is replaced.
    pub fn put_loaded(&mut self, kind: &'static Kind, mut object: Value, now: Timestamp) -> (Key, Arc<Value>) {
        let uid = self.rng.uuid();
        let known = view::text(&object, &["metadata", "resourceVersion"]).parse::<u64>().ok().filter(|rv| *rv > 0);
        self.rv = known.map_or(self.rv + 1, |rv| rv.max(self.rv));
        let rv = known.unwrap_or(self.rv);
        set_rv(&mut object, rv);
        if let Some(meta) = metadata(&mut object) {
            meta.remove("selfLink");
            let mut fill = |field: &str, value: Value| {
                if meta.get(field).is_none_or(Value::is_null) {
                    meta.insert(field.to_owned(), value);
                }
            };
            fill("uid", uid.into());
            fill("creationTimestamp", view::stamp(now).into());
            if kind.has_generation {
                fill("generation", 1.into());
            }
        }
        let key = Key::of(kind, &object);
        let object = Arc::new(object);
        let before = self.place(&key, Some(&object));
        self.index_owners(&key, before.as_deref(), Some(&object));
        (key, object)
    }

    /// Takes an object out of the store without a change: as if it had never been loaded.
    pub(crate) fn drop_loaded(&mut self, key: &Key) -> Option<Arc<Value>> {
        let before = self.place(key, None)?;
        self.index_owners(key, Some(&before), None);
        Some(before)
    }

    /// Tells the controllers about a loaded object as if it had just been created.
    pub(crate) fn announce(&mut self, key: &Key) {
        if let Some(object) = self.get(key).cloned() {
            self.changes.push(Change { key: key.clone(), before: None, after: Some(object), rv: self.rv });
        }
    }

    /// Keys of the objects that name this uid among their owners.
    pub fn dependents<'a>(&'a self, uid: &str) -> impl Iterator<Item = &'a Key> + use<'a> {
        self.dependents.get(uid).into_iter().flatten()
    }

    /// Changes after `rv` in their order; `None` when some of them are forgotten.
    #[must_use]
    pub fn changes_after(&self, rv: u64) -> Option<impl Iterator<Item = &Change> + use<'_>> {
        if rv < self.forgotten {
            return None;
        }
        // By place: skipping through an iterator would visit all that was skipped.
        Some((self.first_after(rv)..self.history.len()).filter_map(|at| self.history.get(at)))
    }

    /// Objects of a kind as they were at `rv`, by namespace and name, from a place on; `None` when that is forgotten.
    pub(crate) fn list_at<'a>(
        &'a self,
        kind: &'static Kind,
        namespace: Option<&str>,
        rv: u64,
        after: Option<(&str, &str)>,
    ) -> Option<impl Iterator<Item = (&'a Key, &'a Arc<Value>)> + use<'a>> {
        let mut undone: BTreeMap<&Key, Option<&Arc<Value>>> = BTreeMap::new();
        for change in self.changes_after(rv)? {
            let later = after.is_none_or(|after| (change.key.namespace.as_str(), change.key.name.as_str()) > after);
            let here = later && change.key.kind.is(kind) && namespace.is_none_or(|ns| ns == change.key.namespace);
            if here {
                undone.entry(&change.key).or_insert(change.before.as_ref());
            }
        }
        let mut then = undone.clone().into_iter().filter_map(|(key, before)| before.map(|object| (key, object))).peekable();
        let mut now = self.list_after(kind, namespace, after).filter(move |(key, _)| !undone.contains_key(key)).peekable();
        Some(std::iter::from_fn(move || match (now.peek(), then.peek()) {
            (Some((a, _)), Some((b, _))) if a < b => now.next(),
            (_, Some(_)) => then.next(),
            (_, None) => now.next(),
        }))
    }

    /// What differs between this store and another, by key: the object here and the object there. Fast when one is a fork
    /// of the other: what both share is not looked at. An object that was written
    /// and written back differs by its resource version.
    #[must_use]
    pub fn diff(&self, other: &Store) -> Vec<Difference> {
        let none = Shelf::default();
        let mut kinds: Vec<&'static Kind> = self.shelves.keys().chain(other.shelves.keys()).copied().collect();
        kinds.sort_unstable();
        kinds.dedup();
        let mut found = Vec::new();
        for kind in kinds {
            let of = |store: &'_ Store| store.shelves.get(kind).unwrap_or(&none).objects.clone();
            let (ours, theirs) = (of(self), of(other));
            if ours.ptr_eq(&theirs) {
                continue;
            }
            found.extend(ours.diff(&theirs).map(|item| match item {
                DiffItem::Add(key, there) => Difference { key: key.clone(), here: None, there: Some(Arc::clone(there)) },
                DiffItem::Remove(key, here) => Difference { key: key.clone(), here: Some(Arc::clone(here)), there: None },
                DiffItem::Update { old, new } => {
                    Difference { key: old.0.clone(), here: Some(Arc::clone(old.1)), there: Some(Arc::clone(new.1)) }
                }
            }));
        }
        found
    }

    /// Forgets every change so far, whoever still wants to see it.
    pub(crate) fn forget(&mut self) {
        self.history.clear();
        self.forgotten = self.rv;
    }

    /// Limits how many changes can still be watched; at least one.
    pub fn set_history_limit(&mut self, changes: usize) {
        self.history_limit = changes.max(1);
        self.trim();
    }

    /// Keeps changes after `rv` in spite of the limit; `u64::MAX` keeps none.
    pub(crate) fn pin(&mut self, rv: u64) {
        self.pinned = rv;
        self.trim();
    }

    /// A seeded number for choices of the API server itself, such as service addresses.
    pub(crate) fn rng(&mut self) -> &mut Rng {
        &mut self.rng
    }

    fn record(&mut self, change: Change) {
        let before = self.place(&change.key, change.after.as_ref());
        debug_assert_eq!(before.is_some(), change.before.is_some());
        self.index_owners(&change.key, change.before.as_deref(), change.after.as_deref());
        self.history.push_back(change.clone());
        self.trim();
        self.changes.push(change);
    }

    /// The place in the history of the first change after `rv`.
    fn first_after(&self, rv: u64) -> usize {
        // The vector has no partition point of its own; its elements are numbered upwards.
        let (mut low, mut high) = (0, self.history.len());
        while low < high {
            let middle = low.midpoint(high);
            if self.history.get(middle).is_some_and(|change| change.rv <= rv) { low = middle + 1 } else { high = middle }
        }
        low
    }

    fn place(&mut self, key: &Key, object: Option<&Arc<Value>>) -> Option<Arc<Value>> {
        if key.kind.is(kinds::CUSTOM_RESOURCE_DEFINITION) {
            self.customs.take(&key.name, object.map(|object| &**object));
        }
        let shelf = self.shelves.entry(key.kind).or_default();
        let before = match object {
            Some(object) => shelf.objects.insert(key.clone(), Arc::clone(object)),
            None => shelf.objects.remove(key),
        };
        match (before.is_some(), object.is_some()) {
            (false, true) => *shelf.counts.entry(key.namespace.clone()).or_default() += 1,
            (true, false) => {
                if let Some(count) = shelf.counts.get_mut(&key.namespace) {
                    *count -= 1;
                }
            }
            _ => {}
        }
        shelf.lookup.apply(key, before.as_deref(), object.map(|object| &**object));
        before
    }

    fn index_owners(&mut self, key: &Key, before: Option<&Value>, after: Option<&Value>) {
        let lists = [before, after].map(|object| object.map_or(&[][..], |o| view::list(o, &["metadata", "ownerReferences"])));
        // Mostly nobody touched them.
        if lists[0].len() == lists[1].len() && lists[0].as_ptr() == lists[1].as_ptr() {
            return;
        }
        let owners = |list: &[Value]| -> Vec<Text> { list.iter().map(|owner| view::shared(owner, &["uid"])).collect() };
        let (old, new) = (owners(lists[0]), owners(lists[1]));
        if old == new {
            return;
        }
        for uid in old {
            if let Some(keys) = self.dependents.get_mut(&uid) {
                keys.remove(key);
                if keys.is_empty() {
                    self.dependents.remove(&uid);
                }
            }
        }
        for uid in new {
            self.dependents.entry(uid).or_default().insert(key.clone());
        }
    }

    fn trim(&mut self) {
        while self.history.len() > self.history_limit && self.history.front().is_some_and(|c| c.rv <= self.pinned) {
            if let Some(gone) = self.history.pop_front() {
                self.forgotten = gone.rv;
            }
        }
    }
}
