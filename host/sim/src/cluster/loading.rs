//! Overlays: what a request needs, and how what was read elsewhere gets under what was written here.

use super::Cluster;
use crate::api::{self, Call, Target, Verb};
use crate::defaults;
use crate::engine::{Part, Scope, closure};
use crate::json::Value;
use crate::kinds::{self, Kind};
use crate::request::Request;
use crate::scheduler;
use crate::selector::{FieldSelector, LabelSelector};
use crate::status::Status;
use crate::store::Key;

/// Kinds whose objects are deleted with their owner: what must be known before all objects of a kind are deleted.
const DEPENDENTS: &[(&str, &[&str])] = &[
    ("Deployment", &["ReplicaSet", "Pod"]),
    ("ReplicaSet", &["Pod"]),
    ("DaemonSet", &["Pod", "ControllerRevision"]),
    ("StatefulSet", &["Pod", "ControllerRevision"]),
    ("Job", &["Pod"]),
    ("Service", &["Endpoints", "EndpointSlice"]),
];

/// The objects that a request is about; nothing for what the server would not understand.
pub(super) fn primary(call: &Call, request: &Request) -> Option<Scope> {
    let namespace = call.namespace.as_deref();
    if !call.name.is_empty() {
        return Some(Scope::named(call.kind, namespace, &call.name));
    }
    if call.verb == Verb::Create {
        return None;
    }
    let (labels, fields) = (request.query("labelSelector").unwrap_or_default(), request.query("fieldSelector").unwrap_or_default());
    let parsed = FieldSelector::parse(call.kind, fields).ok()?;
    let labels = LabelSelector::parse(labels).ok()?.to_string();
    Some(match parsed.name() {
        Some(name) if labels.is_empty() && (!call.kind.namespaced || namespace.is_some()) => Scope::named(call.kind, namespace, name),
        _ => Scope::selected(call.kind, namespace, &labels, fields),
    })
}

impl Cluster {
    /// What an overlay must know before it can answer this request. Empty for what it cannot answer at all. Some of it is known only
    /// when the rest was loaded: to be asked again until everything is.
    #[must_use]
    pub fn scopes(&self, request: &Request) -> Vec<Scope> {
        let Ok(Target::Resource(call)) = api::path::target(request, self.store.customs()) else { return Vec::new() };
        if call.kind.status == kinds::Modelling::Absent {
            // It is refused.
            return Vec::new();
        }
        if matches!(call.subresource.as_str(), "exec" | "log") {
            // What containers say is no object: only the base can tell.
            return Vec::new();
        }
        let mut scopes: Vec<Scope> = primary(&call, request).into_iter().chain(created(&call, request)).collect();
        let mut add = |scope: Scope| {
            if !scopes.contains(&scope) {
                scopes.push(scope);
            }
        };
        // An apply creates what is not there.
        let applies = call.verb == Verb::Patch && request.content_type.starts_with("application/apply-patch");
        let creates = applies || matches!(call.verb, Verb::Create | Verb::Update);
        if creates && let Some(namespace) = &call.namespace {
            add(Scope::named(kinds::NAMESPACE, None, namespace));
        }
        if call.subresource == "eviction" {
            add(Scope::all(kinds::POD_DISRUPTION_BUDGET, call.namespace.as_deref()));
        }
        if creates {
            beside(call.kind).into_iter().for_each(|kind| add(Scope::all(kind, None)));
        }
        if matches!(call.verb, Verb::Delete | Verb::DeleteCollection) {
            self.deleted(&call).into_iter().for_each(add);
        }
        scopes
    }

    /// What goes with what is deleted.
    fn deleted(&self, call: &Call) -> Vec<Scope> {
        if call.kind.is(kinds::NAMESPACE) {
            let namespace = Some(call.name.as_str()).filter(|name| !name.is_empty());
            return kinds::ALL.iter().filter(|kind| kind.namespaced).map(|kind| Scope::all(kind, namespace)).collect();
        }
        if call.verb == Verb::Delete {
            let key = call.key();
            return self.store.get(&key).map(|object| closure::dependents(&key, object)).unwrap_or_default();
        }
        let owned = DEPENDENTS.iter().find(|(owner, _)| *owner == call.kind.kind).map_or(&[][..], |(_, owned)| owned);
        let kinds = kinds::ALL.iter().filter(|kind| owned.contains(&kind.kind));
        kinds.map(|kind| Scope::all(kind, call.namespace.as_deref())).collect()
    }

    /// What must be loaded before the controllers can go on, sorted. Empty in a complete cluster.
    #[must_use]
    pub fn needs(&self) -> Vec<Scope> {
        self.engine.needs(&self.store)
    }

    /// Whether controllers have something to do now, or wait for something to be loaded.
    #[must_use]
    pub fn has_work(&self) -> bool {
        self.engine.has_work()
    }

    /// Whether a scope is known, by itself or as a part of a wider one.
    #[must_use]
    pub fn is_loaded(&self, scope: &Scope) -> bool {
        self.engine.is_loaded(scope)
    }

    /// Puts what a scope holds under the overlay. What was changed here since a smaller scope was loaded stays as it is. No
    /// controller starts, except for rollouts under way and pods that are not running yet.
    pub fn load(&mut self, scope: Scope, objects: Vec<Value>) {
        self.load_part(&scope, objects);
        self.load_done(scope);
    }

    /// Puts some of what a scope holds under the overlay; more is to come, until [`Self::load_done`].
    pub fn load_part(&mut self, scope: &Scope, objects: Vec<Value>) {
        for object in objects {
            self.load_one(scope, object);
        }
    }

    fn load_one(&mut self, scope: &Scope, mut object: Value) {
        let now = self.engine.now();
        let reduced = scope.part == Part::Reduced;
        if reduced {
            object = scheduler::reduced(&object);
        } else {
            defaults::apply(scope.kind, &mut object);
        }
        let key = Key::of(scope.kind, &object);
        if key.name.is_empty() {
            return;
        }
        match self.store.get(&key).cloned() {
            Some(there) if !reduced && self.engine.known().is_reduced(&key) => self.engine.reduced_gone(&key, &there),
            Some(_) => return,
            None if self.engine.known().has_seen(&key, &object) => return,
            None => {}
        }
        let (key, object) = self.store.put_loaded(scope.kind, object, now);
        if reduced {
            self.engine.reduced_loaded(&key, &object);
            return;
        }
        if !matches!(scope.part, Part::All) {
            self.engine.known_mut().add_object(&key, false);
        }
        self.engine.object_loaded(&key, &object);
    }

    /// A scope was loaded to its end.
    pub fn load_done(&mut self, scope: Scope) {
        // Of what came reduced before and did not come now, nothing is left.
        for key in self.engine.known().reduced_in(&scope, |key| self.store.get(key).cloned()) {
            if let Some(gone) = self.store.drop_loaded(&key) {
                self.engine.reduced_gone(&key, &gone);
            }
        }
        self.refused.remove(&scope);
        self.engine.known_mut().add(&scope);
        self.engine.known_more(&self.store);
    }

    /// Notes that a scope cannot be read: reading it answers with this `Status`, and controllers take it for empty.
    pub fn load_refused(&mut self, scope: Scope, status: Value) {
        self.refused.insert(scope.clone(), Status::from_value(status));
        self.engine.known_mut().refuse(scope);
        self.engine.known_more(&self.store);
    }

    /// From now on nothing more is loaded: what was not, controllers take for empty, and reading it is answered with 501 and this text
    /// before the name of its kind, such as `the snapshot has no`.
    pub fn close(&mut self, lacks: &str) {
        self.engine.known_mut().close();
        self.engine.known_more(&self.store);
        self.closed = Some(lacks.to_owned());
    }

    /// The answer for what nobody can load any more.
    pub(super) fn lacking(&self, call: &Call, scope: Option<&Scope>) -> Option<Status> {
        let lacks = self.closed.as_ref()?;
        if scope.is_none_or(|scope| self.engine.known().has_read(scope)) {
            return None;
        }
        let place = call.namespace.as_ref().map_or_else(String::new, |namespace| format!(" in {namespace}"));
        Some(Status::new(501, "NotImplemented", format!("{lacks} {}{place}", call.kind.plural), Value::Null))
    }

    /// Whether it cannot be told if the namespace of a call is there.
    pub(super) fn is_unreadable_namespace(&self, call: &Call) -> bool {
        if self.closed.is_some() && !self.engine.known().has_read(&Scope::all(kinds::NAMESPACE, None)) {
            return true;
        }
        let named = call.namespace.as_deref().map(|name| Scope::named(kinds::NAMESPACE, None, name));
        let refused = |scope: &Scope| self.refused.contains_key(scope);
        !self.refused.is_empty() && (named.is_some_and(|scope| refused(&scope)) || refused(&Scope::all(kinds::NAMESPACE, None)))
    }
}

/// The object that a request would create. What cannot be read here may be in another encoding: then all of its kind.
fn created(call: &Call, request: &Request) -> Option<Scope> {
    if call.verb != Verb::Create || !call.name.is_empty() {
        return None;
    }
    let namespace = call.namespace.as_deref();
    let Ok(object) = serde_json::from_slice::<Value>(&request.body) else { return Some(Scope::all(call.kind, namespace)) };
    let name = crate::view::name(&object);
    (!name.is_empty()).then(|| Scope::named(call.kind, namespace, name))
}

/// Kinds whose objects are looked at when one of this kind is written.
fn beside(kind: &Kind) -> Option<&'static Kind> {
    match kind.built_in() {
        // Addresses and node ports are unique in the whole cluster.
        "Service" => Some(kinds::SERVICE),
        "Pod" | "PriorityClass" => Some(kinds::PRIORITY_CLASS),
        "Ingress" => Some(kinds::INGRESS_CLASS),
        _ => None,
    }
}
