//! Operators that are not here: what `objects` entries of the models say is done to objects, in time.

pub(crate) mod change;
pub(crate) mod hold;
pub(crate) mod words;

use std::sync::Arc;

use imbl::OrdMap;
use jiff::{SignedDuration, Timestamp};

use self::change::{Outcome, outcome};
use self::hold::Seen;
use crate::engine::{Ctx, Index, Work};
use crate::json::Value;
use crate::kinds::{self, Kind};
use crate::model::{Models, ObjectModel, has_labels, names};
use crate::status::Status;
use crate::store::{Change, Key, Store};
use crate::view;

/// What was noted about an object and an entry: since when its conditions hold, and whether the change was made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Progress {
    since: Timestamp,
    done: bool,
}

/// What is noted about all of them.
pub(crate) type Progresses = OrdMap<(Key, usize), Progress>;

/// What a change of an object gives to do.
pub(crate) fn changed(models: &Models, store: &Store, index: &Index, change: &Change) -> Vec<Work> {
    let key = &change.key;
    let mut found = Vec::new();
    for entry in models.objects() {
        if entry.is_about_kind(key.kind) {
            found.push(Work::Lifecycle(key.clone()));
        }
        let is_named = entry.references().any(|reference| may_mean(reference, key));
        if is_named || (change.after.is_none() && entry.makes(key.kind)) {
            found.extend(subjects(store, entry));
        }
        if key.kind.is(kinds::POD) {
            found.extend(beside(store, index, entry, change));
        }
    }
    found.dedup();
    found
}

/// What there is to look at when entries were added.
pub(crate) fn all(models: &Models, store: &Store) -> Vec<Work> {
    models.objects().flat_map(|entry| subjects(store, entry)).collect()
}

/// Every object that an entry is about.
fn subjects<'a>(store: &'a Store, entry: &'a ObjectModel) -> impl Iterator<Item = Work> + 'a {
    spoken_of(store, &entry.kind).map(|(key, _)| Work::Lifecycle(key.clone()))
}

/// Every kind that a word names; `*.GROUP` names all of a group.
pub(crate) fn kinds_of<'a>(store: &'a Store, word: &'a str) -> impl Iterator<Item = &'static Kind> + 'a {
    let group = word.strip_prefix("*.");
    let meant = move |kind: &&'static Kind| group.map_or_else(|| names(kind, word), |group| kind.group == group);
    kinds::ALL.iter().copied().chain(store.customs().kinds()).filter(meant)
}

/// Every object of the kinds that a word names.
pub(crate) fn spoken_of<'a>(store: &'a Store, word: &'a str) -> impl Iterator<Item = (&'a Key, &'a Arc<Value>)> {
    kinds_of(store, word).flat_map(|kind| store.list(kind, None))
}

/// Nodes and pods for which a pod may be the agent.
fn beside(store: &Store, index: &Index, entry: &ObjectModel, change: &Change) -> Vec<Work> {
    let Some(pod) = change.after.as_ref().or(change.before.as_ref()) else { return Vec::new() };
    if !entry.when.iter().any(|condition| !condition.agent.is_empty() && has_labels(pod, &condition.agent)) {
        return Vec::new();
    }
    let node = view::text(pod, &["spec", "nodeName"]);
    let keys = if names(kinds::NODE, &entry.kind) { vec![Key::new(kinds::NODE, "", node)] } else { index.pods_on(node) };
    keys.into_iter().filter(|key| store.get(key).is_some()).map(Work::Lifecycle).collect()
}

/// Whether a reference may mean this object: the namespace may be that of the one it is written for.
fn may_mean(reference: &str, key: &Key) -> bool {
    let mut parts = reference.split('/');
    let kind = parts.next().unwrap_or_default();
    names(key.kind, kind) && parts.next_back().is_some_and(|name| key.name == name || could_be(name, &key.name))
}

/// Whether a name with words in it may be this one.
fn could_be(name: &str, is: &str) -> bool {
    let Some((start, rest)) = name.split_once("${") else { return false };
    is.starts_with(start) && rest.rsplit_once('}').is_some_and(|(_, end)| is.ends_with(end))
}

/// The object that a reference means, seen from another one.
pub(crate) fn referred(store: &Store, reference: &str, from: &Value) -> Option<Key> {
    let parts: Vec<&str> = reference.split('/').collect();
    let (word, namespace, name) = match parts.as_slice() {
        [kind, name] => (*kind, view::namespace(from), *name),
        [kind, namespace, name] => (*kind, *namespace, *name),
        _ => return None,
    };
    let kind = kinds_of(store, word).next()?;
    let namespace = match (kind.namespaced, namespace) {
        (false, _) => "",
        (true, "") => "default",
        (true, namespace) => namespace,
    };
    Some(Key::new(kind, namespace, name))
}

fn holds(ctx: &Ctx<'_>, entry: &ObjectModel, object: &Value) -> bool {
    let seen = Seen { store: ctx.store, index: Some(&ctx.engine.index), object, found: &[] };
    entry.when.iter().all(|condition| seen.holds(condition))
}

/// Does to an object what is due.
pub(crate) fn sync(ctx: &mut Ctx<'_>, key: &Key) -> Result<(), Status> {
    let entries = ctx.engine.models.object_entries();
    for (place, entry) in entries.iter().enumerate() {
        let id = (key.clone(), place);
        let Some(object) = ctx.get(key) else {
            ctx.engine.lifecycles.remove(&id);
            continue;
        };
        if entry.never || !entry.is_about(key.kind, &object) || !holds(ctx, entry, &object) {
            ctx.engine.lifecycles.remove(&id);
            continue;
        }
        let outcome = outcome(ctx, entry, key, &object)?;
        let known = ctx.engine.lifecycles.get(&id).copied();
        if matches!(outcome, Outcome::Nothing) {
            // What is taken back later takes its time again.
            match entry.once {
                true => drop(ctx.engine.lifecycles.insert(id, Progress { since: ctx.now(), done: true })),
                false => drop(ctx.engine.lifecycles.remove(&id)),
            }
            continue;
        }
        let progress = known.unwrap_or(Progress { since: ctx.now(), done: false });
        if entry.once && progress.done {
            continue;
        }
        // Where one comes after the other, nothing counts that was before the last change.
        let turn = ctx.engine.turns.get(&place).copied().filter(|_| entry.in_turn);
        let since = progress.since.max(turn.unwrap_or(progress.since));
        let due = view::later(since, entry.after.map_or(SignedDuration::ZERO, |after| after.0));
        if due > ctx.now() {
            ctx.engine.lifecycles.insert(id, progress);
            ctx.engine.wake_at(Work::Lifecycle(key.clone()), due);
            continue;
        }
        ctx.engine.lifecycles.insert(id, Progress { done: true, ..progress });
        if entry.in_turn {
            ctx.engine.turns.insert(place, ctx.now());
        }
        outcome.make(ctx)?;
    }
    Ok(())
}
