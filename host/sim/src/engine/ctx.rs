//! What a controller works with.

use std::sync::Arc;

use jiff::Timestamp;

use super::{Engine, Said};
use crate::api::{accounts, plugins};
use crate::apply;
use crate::gc;
use crate::json::Value;
use crate::kinds::{self, Kind};
use crate::status::Status;
use crate::store::{Key, Store};
use crate::view;

/// Owners of a pod as `kind/name`, nearest first.
pub(crate) fn owners_of(store: &Store, pod: &Value) -> Vec<String> {
    let mut owners = Vec::new();
    let mut next = view::controller_of(pod).cloned();
    while let Some(owner) = next {
        let (api, kind, name) = (view::text(&owner, &["apiVersion"]), view::text(&owner, &["kind"]), view::text(&owner, &["name"]));
        owners.push(format!("{}/{name}", kind.to_ascii_lowercase()));
        next = kinds::by_kind(api, kind)
            .map(|kind| Key::new(kind, view::namespace(pod), name))
            .and_then(|key| store.get(&key))
            .and_then(|object| view::controller_of(object).cloned())
            .filter(|_| owners.len() < 4);
    }
    owners
}

/// What a controller works with: the store, the engine's memory, and its own name for the log.
pub(crate) struct Ctx<'a> {
    pub(crate) store: &'a mut Store,
    pub(crate) engine: &'a mut Engine,
    pub(super) actor: &'static str,
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
    pub(crate) fn create(&mut self, kind: &'static Kind, mut object: Value) -> Result<Arc<Value>, Status> {
        if kind.is(kinds::POD) {
            accounts::admit(self.store, &mut object)?;
            plugins::priority(self.store, &mut object)?;
        }
        let created = self.store.create(kind, object, self.engine.now);
        self.engine.absorb(self.store, self.actor);
        created
    }

    /// Replaces an object; equal content is no change.
    pub(crate) fn update(&mut self, key: &Key, mut object: Value) -> Result<Arc<Value>, Status> {
        if let Some(before) = self.store.get(key) {
            apply::written_by_controllers(key.kind, before, &mut object, self.engine.now);
        }
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

    /// Deletes an object in a chosen way.
    pub(crate) fn delete_with(&mut self, key: &Key, options: &gc::Options) -> Result<(), Status> {
        gc::delete_with(self.store, key, options, self.engine.now, false)?;
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
        owners_of(self.store, pod)
    }
}
