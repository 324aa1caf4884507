//! Who owns which field: `metadata.managedFields`, and server-side apply.
//!
//! The rules are those of `structured-merge-diff` and of `apimachinery/pkg/util/managedfields` of v1.36. Requests are tracked,
//! and what controllers write to objects that clients made; what controllers make is owned by nobody until somebody applies.

mod compare;
mod last_applied;
mod managers;
mod merge;
mod set;
mod typed;
mod yaml;

use jiff::Timestamp;

use crate::json::{Value, json};
use crate::kinds::Kind;
use crate::openapi;
use crate::schema::{ANY, Type};
use crate::status::Status;
use crate::view;

use self::compare::{compare, fields_of, nothing};
use self::managers::Entry;
use self::set::Set;

pub(crate) use self::typed::plain_in_go;
pub(crate) use self::yaml::read;

/// Owner of what was there before anybody applied.
const BEFORE: &str = "before-first-apply";

/// Fields that nobody owns.
const SYSTEM: [&[&str]; 11] = [
    &["apiVersion"],
    &["kind"],
    &["metadata", "name"],
    &["metadata", "namespace"],
    &["metadata", "creationTimestamp"],
    &["metadata", "selfLink"],
    &["metadata", "uid"],
    &["metadata", "clusterName"],
    &["metadata", "generation"],
    &["metadata", "managedFields"],
    &["metadata", "resourceVersion"],
];

/// A write by somebody.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Writer<'a> {
    pub(crate) kind: &'static Kind,
    pub(crate) manager: &'a str,
    pub(crate) subresource: &'a str,
    /// When, as documents have it.
    pub(crate) time: &'a str,
}

impl Writer<'_> {
    fn entry(&self, applies: bool, fields: Set) -> Entry {
        Entry {
            manager: self.manager.into(),
            applies,
            version: self.kind.api_version().as_str().into(),
            subresource: self.subresource.into(),
            time: Some(self.time.into()),
            fields,
        }
    }

    fn schema(&self) -> &'static Type {
        openapi::type_of(self.kind).unwrap_or(&ANY)
    }

    /// Fields that a write of this kind does not change, whatever it says.
    fn ignored(&self) -> Vec<&'static [&'static str]> {
        let mut ignored = SYSTEM.to_vec();
        match self.subresource {
            "status" => {
                ignored.push(&["spec"]);
                if self.kind.kind == "Deployment" {
                    ignored.push(&["metadata", "labels"]);
                }
            }
            _ if self.kind.has_status() => ignored.push(&["status"]),
            _ => {}
        }
        ignored
    }
}

/// The `managedFields` of an object after a write that is no apply. `before` is missing for a new object; `after` is what the client
/// wants, with defaults. An empty list says that nobody owns anything.
pub(crate) fn updated(writer: &Writer<'_>, before: Option<&Value>, after: &Value) -> Value {
    let old = before.and_then(|before| view::at(before, &["metadata", "managedFields"]));
    let untouched = view::at(after, &["metadata", "managedFields"]).is_none_or(|given| old.is_some_and(|old| old.shares(given)));
    let mut entries = owners(writer, before, after);
    // What was never tracked is not tracked now.
    if entries.is_empty() && before.is_some() {
        return managers::write(entries);
    }
    let changed = update(writer, before.unwrap_or_else(|| nothing()), after, &mut entries);
    match old.filter(|_| untouched && !changed) {
        Some(old) => old.clone(),
        None => managers::write(entries),
    }
}

/// The controllers of a real server.
const CONTROLLERS: &str = "kube-controller-manager";
/// Kinds whose objects clients make and these controllers write to.
const CONTROLLED: [&str; 7] = ["CronJob", "DaemonSet", "Deployment", "Job", "PodDisruptionBudget", "ReplicaSet", "StatefulSet"];

/// Notes what controllers write to an object that a client made. What nobody owns is not tracked, so that this costs nothing for
/// what controllers made themselves.
pub(crate) fn written_by_controllers(kind: &'static Kind, before: &Value, after: &mut Value, now: Timestamp) {
    let path = ["metadata", "managedFields"];
    if view::at(before, &path).is_none() || !CONTROLLED.contains(&kind.kind) {
        return;
    }
    let same_spec = before.get("spec") == after.get("spec");
    let time = view::stamp(now);
    let writer = Writer { kind, manager: CONTROLLERS, subresource: if same_spec { "status" } else { "" }, time: &time };
    let owners = updated(&writer, Some(before), after);
    view::set(after, &path, owners);
}

/// The owners before a write: a client may set them on the object itself.
fn owners(writer: &Writer<'_>, before: Option<&Value>, after: &Value) -> Vec<Entry> {
    let list = |object: &Value| managers::read(view::at(object, &["metadata", "managedFields"]));
    let stored = || before.and_then(list).unwrap_or_default();
    let given = view::at(after, &["metadata", "managedFields"]).filter(|given| given.is_array());
    let items: Option<&[Value]> = given.and_then(Value::as_array).map(|items| &items[..]);
    match items {
        _ if !writer.subresource.is_empty() => stored(),
        None => stored(),
        Some([]) => Vec::new(),
        Some([one]) if *one == json!({}) => Vec::new(),
        Some(_) => list(after).unwrap_or_else(stored),
    }
}

/// Notes what a write changes; whether there is anything to note.
fn update(writer: &Writer<'_>, before: &Value, after: &Value, entries: &mut Vec<Entry>) -> bool {
    let changes = compare(writer.schema(), before, after).without(&writer.ignored());
    let taken = changes.taken();
    if taken.is_empty() && changes.removed.is_empty() {
        return false;
    }
    for entry in entries.iter_mut() {
        entry.fields = entry.fields.difference(&taken).difference(&changes.removed);
    }
    if taken.is_empty() {
        return true;
    }
    let own = writer.entry(false, taken);
    match entries.iter_mut().find(|entry| entry.is(&own)) {
        Some(entry) => {
            entry.fields = entry.fields.union(&own.fields);
            entry.time = own.time;
        }
        None => entries.push(own),
    }
    true
}

/// Who owns the replicas of a workload after a write to its scale. Zero replicas are not in a scale, and so nobody owns them; what
/// nobody owns is not tracked.
pub(crate) fn scaled(writer: &Writer<'_>, before: &Value, after: &Value) -> Value {
    let mut entries = owners(writer, Some(before), after);
    let mut replicas = Set::default();
    replicas.insert(&["f:spec".into(), "f:replicas".into()]);
    let replicas_of = |object: &Value| view::int(object, &["spec", "replicas"]).unwrap_or(1);
    let owned = entries.iter().any(|entry| !entry.fields.intersection(&replicas).is_empty());
    if owned && replicas_of(after) == 0 {
        entries.iter_mut().for_each(|entry| entry.fields = entry.fields.difference(&replicas));
    } else if owned {
        update(writer, before, after, &mut entries);
    }
    managers::write(entries)
}

/// An object after an apply, with its `managedFields`; `before` is missing for a new one.
///
/// # Errors
/// 400 for a configuration of another kind, 409 for fields of others unless `force` is set, 500 (as the server does) for one that
/// is not of the type.
pub(crate) fn applied(writer: &Writer<'_>, before: Option<&Value>, config: &Value, force: bool) -> Result<Value, Status> {
    check(writer, config)?;
    let outcome = last_applied::outcome(writer, before, config, force)?;
    Ok(last_applied::synced(writer, outcome, config))
}

fn check(writer: &Writer<'_>, config: &Value) -> Result<(), Status> {
    let (version, kind) = (view::text(config, &["apiVersion"]), view::text(config, &["kind"]));
    if version != writer.kind.api_version() || kind != writer.kind.kind {
        return Err(Status::bad_request(format!("invalid object type: {}", named(version, kind))));
    }
    if view::at(config, &["metadata", "managedFields"]).is_some_and(|given| !given.is_null()) {
        return Err(Status::bad_request("metadata.managedFields must be nil"));
    }
    let errors = typed::errors(writer.schema(), config);
    let what = match errors.as_slice() {
        [] => return Ok(()),
        [one] => one.clone(),
        many => format!("errors:\n  {}", many.join("\n  ")),
    };
    let about = about(config);
    Err(Status::new(500, "", format!("failed to create typed patch object ({about}): {what}"), Value::Null))
}

/// A configuration as the server names it in its refusals.
pub(crate) fn about(config: &Value) -> String {
    let kind = named(view::text(config, &["apiVersion"]), view::text(config, &["kind"]));
    format!("{}/{}; {kind}", view::namespace(config), view::name(config))
}

fn named(version: &str, kind: &str) -> String {
    let version = if version.contains('/') { version.to_owned() } else { format!("/{version}") };
    format!("{version}, Kind={kind}")
}

/// Fields that belong to others: the manager and the paths of each.
#[derive(Debug)]
struct Conflicts(Vec<(Entry, Set)>);

impl Conflicts {
    fn status(&self) -> Status {
        let all: Vec<(String, String)> =
            self.0.iter().flat_map(|(entry, fields)| fields.paths().into_iter().map(|path| (entry.named(), path))).collect();
        let message = match all.as_slice() {
            [(manager, path)] => format!("Apply failed with 1 conflict: conflict with {manager}: {path}"),
            many => {
                let mut text = format!("Apply failed with {} conflicts: ", many.len());
                let parts = self.0.iter().map(|(entry, fields)| {
                    let paths: Vec<String> = fields.paths().iter().map(|path| format!("- {path}")).collect();
                    format!("conflicts with {}:\n{}", entry.named(), paths.join("\n"))
                });
                text.push_str(&parts.collect::<Vec<_>>().join("\n"));
                text
            }
        };
        let cause = |(manager, path): &(String, String)| json!({"reason": "FieldManagerConflict", "message": format!("conflict with {manager}"), "field": path});
        let causes: Value = all.iter().map(cause).collect();
        Status::new(409, "Conflict", message, json!({"causes": causes}))
    }
}

/// The heart of an apply.
fn merged(writer: &Writer<'_>, before: Option<&Value>, config: &Value, force: bool) -> Result<Value, Conflicts> {
    let (schema, ignored) = (writer.schema(), writer.ignored());
    let live = before.unwrap_or_else(|| nothing());
    let mut entries = before.and_then(|object| managers::read(view::at(object, &["metadata", "managedFields"]))).unwrap_or_default();
    if entries.is_empty() && before.is_some() {
        let first = Writer { manager: BEFORE, ..*writer };
        update(&first, nothing(), live, &mut entries);
    }
    let mut own = writer.entry(true, fields_of(schema, config).without(&ignored));
    let at = entries.iter().position(|entry| entry.is(&own));
    let last = at.map(|at| entries.remove(at));
    let owned = entries.iter().fold(own.fields.clone(), |all, entry| all.union(&entry.fields));
    let none = Set::default();
    let last_fields = last.as_ref().map_or(&none, |last| &last.fields);
    let mut object = merge::prune(schema, merge::merge(schema, live, config), last_fields, &owned);
    let changes = compare(schema, live, &object).without(&ignored);
    let taken = changes.taken();
    let conflicts = |entry: &Entry| Some((entry.clone(), entry.fields.intersection(&taken))).filter(|(_, fields)| !fields.is_empty());
    let mut conflicts: Vec<(Entry, Set)> = entries.iter().filter_map(conflicts).collect();
    if !force && !conflicts.is_empty() {
        conflicts.sort_by(|(a, _), (b, _)| a.order(b));
        return Err(Conflicts(conflicts));
    }
    for entry in &mut entries {
        entry.fields = entry.fields.difference(&taken).difference(&changes.removed);
    }
    if object == *live {
        own.time = last.and_then(|last| last.time);
    }
    entries.push(own);
    view::set(&mut object, &["metadata", "managedFields"], managers::write(entries));
    Ok(object)
}

/// Whether two lists of owners say the same but for their times.
pub(crate) fn same_owners(a: Option<&Value>, b: Option<&Value>) -> bool {
    let timeless = |list: Option<&Value>| -> Option<Vec<Entry>> {
        let entries = managers::read(list)?;
        Some(entries.into_iter().map(|entry| Entry { time: None, ..entry }).collect())
    };
    let (Some(a), Some(b)) = (timeless(a), timeless(b)) else { return false };
    a.len() == b.len() && a.iter().all(|entry| b.contains(entry))
}
