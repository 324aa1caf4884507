//! Commands in containers that change the cluster: what is still to come of them, and how it comes.

use std::sync::Arc;

use imbl::OrdMap;
use jiff::Timestamp;

use crate::engine::{Ctx, Engine, Work};
use crate::fixture::{definitions, values};
use crate::json::Value;
use crate::kinds;
use crate::lifecycle::change::{Outcome, changed, known, made};
use crate::lifecycle::words::{NO_TABLE, Words};
use crate::lifecycle::{referred, spoken_of};
use crate::model::{CopyModel, ObjectChange, glob};
use crate::status::Status;
use crate::store::{Key, Store};
use crate::view;

/// A command that was begun and changes something when it ends.
#[derive(Debug, Clone)]
struct Begun {
    /// The pod, as it was.
    subject: Arc<Value>,
    found: Vec<String>,
    changes: Vec<ObjectChange>,
    ends: Timestamp,
    /// The documents of its standard input; `None` while it is still read.
    given: Option<Vec<Value>>,
}

/// All of them, by number.
#[derive(Debug, Clone, Default)]
pub(crate) struct Commands {
    known: OrdMap<u64, Begun>,
    last: u64,
}

/// What a command that begins will change.
#[derive(Debug, Clone)]
pub(crate) struct Will {
    pub(crate) found: Vec<String>,
    pub(crate) changes: Vec<ObjectChange>,
    pub(crate) ends: Timestamp,
}

impl Will {
    /// Whether it takes objects from standard input.
    pub(crate) fn takes_input(&self) -> bool {
        self.changes.iter().any(|change| change.input.is_some())
    }
}

/// Where changes come from.
pub(crate) struct Origin<'a> {
    /// The pod or the node.
    pub(crate) subject: &'a Value,
    /// What the `*` of the pattern stand for.
    pub(crate) found: &'a [String],
    /// What standard input held.
    pub(crate) given: &'a [Value],
}

fn key_of(pod: &Value) -> Key {
    Key::of(kinds::POD, pod)
}

impl Engine {
    /// Notes a command that begins in a pod. Its number, when it waits for standard input: see [`Self::input`].
    pub(crate) fn begin(&mut self, pod: Arc<Value>, will: Will) -> Option<u64> {
        let waits = will.takes_input();
        self.commands.last += 1;
        let number = self.commands.last;
        self.enqueue(Work::Command(key_of(&pod)));
        let Will { found, changes, ends } = will;
        let given = (!waits).then(Vec::new);
        self.commands.known.insert(number, Begun { subject: pod, found, changes, ends, given });
        waits.then_some(number)
    }

    /// Standard input of a command has come to its end.
    pub(crate) fn input(&mut self, store: &Store, number: u64, text: &str) -> Result<(), String> {
        let Some(begun) = self.commands.known.get(&number) else { return Ok(()) };
        let documents = values(text).and_then(|documents| readable(store, begun, documents));
        let key = key_of(&begun.subject);
        match (documents, self.commands.known.get_mut(&number)) {
            (Ok(documents), Some(begun)) => begun.given = Some(documents),
            (Err(why), _) => {
                self.commands.known.remove(&number);
                return Err(why);
            }
            (Ok(_), None) => {}
        }
        self.enqueue(Work::Command(key));
        Ok(())
    }
}

/// The documents, when each of them can be kept.
fn readable(store: &Store, begun: &Begun, documents: Vec<Value>) -> Result<Vec<Value>, String> {
    if documents.is_empty() {
        return Err("no resources specified".to_owned());
    }
    for document in &documents {
        let (kind, name) = (view::text(document, &["kind"]), view::name(document));
        if kind.is_empty() || name.is_empty() {
            return Err("a document has no `kind` or no `metadata.name`".to_owned());
        }
        for model in begun.changes.iter().filter_map(|change| change.input.as_ref()) {
            let outcome = put(store, kept(document, model.version.as_deref()), &begun.subject);
            outcome.map_err(|status| format!("{kind}({name}): {}", status.message()))?;
        }
    }
    Ok(documents)
}

/// Makes what is due of the commands in a pod.
pub(crate) fn sync(ctx: &mut Ctx<'_>, key: &Key) -> Result<(), Status> {
    let now = ctx.now();
    let here = ctx.engine.commands.known.iter().filter(|(_, begun)| key_of(&begun.subject) == *key);
    let here: Vec<(u64, Begun)> = here.map(|(number, begun)| (*number, begun.clone())).collect();
    for (number, begun) in here {
        let alive = ctx.get(key).is_some_and(|pod| view::uid(&pod) == view::uid(&begun.subject));
        if !alive {
            ctx.engine.commands.known.remove(&number);
            continue;
        }
        let Some(given) = &begun.given else { continue };
        if begun.ends > now {
            ctx.engine.wake_at(Work::Command(key.clone()), begun.ends);
            continue;
        }
        ctx.engine.commands.known.remove(&number);
        carry_out(ctx, &begun.changes, &Origin { subject: &begun.subject, found: &begun.found, given })?;
    }
    Ok(())
}

/// Makes changes, one after the other.
///
/// # Errors
/// An object that is not there or that the API would refuse: the entry is wrong.
pub(crate) fn carry_out(ctx: &mut Ctx<'_>, changes: &[ObjectChange], origin: &Origin<'_>) -> Result<(), Status> {
    for change in changes {
        let filled = |value: &Value| {
            let words = Words { store: ctx.store, subject: origin.subject, table: &NO_TABLE, found: origin.found };
            words.filled(value).unwrap_or_default()
        };
        if !change.make.is_null() {
            put(ctx.store, filled(&change.make), origin.subject)?.make(ctx)?;
        } else if let Some(model) = &change.input {
            for document in origin.given {
                put(ctx.store, kept(document, model.version.as_deref()), origin.subject)?.make(ctx)?;
            }
        } else if let Some(name) = &change.include {
            for definition in definitions(name).map_err(Status::bad_request)? {
                let there = ctx.get(&Key::new(kinds::CUSTOM_RESOURCE_DEFINITION, "", view::name(&definition))).is_some();
                if !there {
                    put(ctx.store, definition, origin.subject)?.make(ctx)?;
                }
            }
        } else if let Some(model) = &change.copy {
            for copy in copies(ctx.store, model) {
                put(ctx.store, copy, origin.subject)?.make(ctx)?;
            }
        } else {
            let reference = filled(&change.object.as_str().into());
            let mut merge = filled(&change.merge);
            if let Some(text) = merge.as_str() {
                merge = serde_json::from_str(text).map_err(|error| Status::bad_request(format!("`merge` is no JSON: {error}")))?;
            }
            for key in meant(ctx.store, reference.as_str().unwrap_or_default(), origin.subject, change.delete)? {
                match ctx.get(&key) {
                    Some(object) if change.delete && !view::is_terminating(&object) => ctx.delete(&key)?,
                    Some(object) if !change.delete => {
                        let mut next = (*object).clone();
                        next.merge(&merge);
                        changed(key, &object, next)?.make(ctx)?;
                    }
                    _ => {}
                }
            }
        }
    }
    Ok(())
}

/// The objects that a reference means, whose name may be a pattern.
fn meant(store: &Store, reference: &str, from: &Value, may_be_gone: bool) -> Result<Vec<Key>, Status> {
    let key = referred(store, reference, from);
    let name = reference.rsplit('/').next().unwrap_or_default();
    if name.contains('*') {
        let Some(like) = key else { return Ok(Vec::new()) };
        let all = store.list(like.kind, Some(like.namespace.as_str()).filter(|namespace| !namespace.is_empty()));
        return Ok(all.map(|(key, _)| key.clone()).filter(|key| glob(name, &key.name)).collect());
    }
    match key.filter(|key| store.get(key).is_some()) {
        Some(key) => Ok(vec![key]),
        None if may_be_gone => Ok(Vec::new()),
        None => Err(Status::bad_request(format!("the effect of a command changes `{reference}`, which is not there"))),
    }
}

/// A document as it is kept.
fn kept(document: &Value, version: Option<&str>) -> Value {
    let mut document = document.clone();
    if let Some(version) = version {
        view::set(&mut document, &["apiVersion"], version);
    }
    document
}

fn copies(store: &Store, model: &CopyModel) -> Vec<Value> {
    let all = spoken_of(store, &model.every).filter(|(key, _)| known(store, &model.version, key.kind.kind).is_some());
    all.map(|(_, object)| {
        let mut copy = kept(object, Some(&model.version));
        for field in ["uid", "resourceVersion", "creationTimestamp", "generation", "managedFields", "ownerReferences"] {
            view::remove(&mut copy, &["metadata", field]);
        }
        copy
    })
    .collect()
}

/// What comes of an object that is to be there as it is given: what the server has noted about one that is there stays.
fn put(store: &Store, mut object: Value, beside: &Value) -> Result<Outcome, Status> {
    let (version, name) = (view::text(&object, &["apiVersion"]).to_owned(), view::text(&object, &["kind"]).to_owned());
    let Some(kind) = known(store, &version, &name) else {
        return Err(Status::bad_request(format!("no matches for kind \"{name}\" in version \"{version}\"")));
    };
    if kind.namespaced && view::namespace(&object).is_empty() {
        let namespace = Some(view::namespace(beside)).filter(|namespace| !namespace.is_empty()).unwrap_or("default").to_owned();
        view::set(&mut object, &["metadata", "namespace"], namespace);
    }
    let key = Key::of(kind, &object);
    let Some(before) = store.get(&key) else { return made(kind, object) };
    for field in ["uid", "resourceVersion", "creationTimestamp", "generation", "managedFields", "ownerReferences"] {
        if let Some(value) = view::at(before, &["metadata", field]) {
            view::set(&mut object, &["metadata", field], value.clone());
        }
    }
    changed(key, before, object)
}
