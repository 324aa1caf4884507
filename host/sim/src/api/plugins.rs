//! Admission plugins that look at other objects than the one that is written: `Priority`, and `DefaultIngressClass`.
//!
//! Both are on by default in a real server; texts and order were recorded from v1.36.4.

use crate::json::{Value, json};

use super::Call;
use crate::kinds::{self, Kind};
use crate::status::Status;
use crate::store::{Key, Store};
use crate::view;

/// Classes that every server has, with their values.
const SYSTEM_CLASSES: [(&str, i64); 2] = [("system-cluster-critical", 2_000_000_000), ("system-node-critical", 2_000_001_000)];
const LOWER: &str = "PreemptLowerPriority";
const DEFAULT_CLASS: &str = "ingressclass.kubernetes.io/is-default-class";
const OLD_CLASS: &str = "kubernetes.io/ingress.class";

/// Fills in what a new object takes from others, and refuses what contradicts them.
///
/// # Errors
/// 403 of the plugin.
pub(super) fn create(store: &Store, call: &Call, object: &mut Value) -> Result<(), Status> {
    if call.kind.is(kinds::POD) {
        priority(store, object)?;
    } else if call.kind.is(kinds::PRIORITY_CLASS) {
        one_default(store, object)?;
    } else if call.kind.is(kinds::INGRESS) {
        ingress_class(store, object)?;
    } else if call.kind.is(kinds::NODE) {
        unready_node(object);
    }
    Ok(())
}

/// A new node takes no pods until it is known to be ready (`TaintNodesByCondition`).
fn unready_node(node: &mut Value) {
    const KEY: &str = "node.kubernetes.io/not-ready";
    let is_it = |taint: &Value| view::text(taint, &["key"]) == KEY && view::text(taint, &["effect"]) == "NoSchedule";
    if !view::list(node, &["spec", "taints"]).iter().any(is_it)
        && let Some(taints) = view::list_mut(node, &["spec", "taints"])
    {
        taints.push(json!({"key": KEY, "effect": "NoSchedule"}));
    }
}

/// Refuses a second class that is the default.
///
/// # Errors
/// 403 with the name of the first one.
pub(super) fn update(store: &Store, kind: &Kind, object: &Value) -> Result<(), Status> {
    if kind.is(kinds::PRIORITY_CLASS) { one_default(store, object) } else { Ok(()) }
}

/// Refuses to delete a class of the system.
///
/// # Errors
/// 403.
pub(super) fn delete(call: &Call) -> Result<(), Status> {
    let guarded = call.kind.is(kinds::PRIORITY_CLASS) && SYSTEM_CLASSES.iter().any(|(name, _)| *name == call.name);
    if guarded { Err(Status::forbidden(call.kind, &call.name, "this is a system priority class and cannot be deleted")) } else { Ok(()) }
}

/// Gives a pod the priority of its class. What its creator wrote must be the same.
///
/// # Errors
/// 403 for a class that does not exist, and for another priority than that of the class.
pub(crate) fn priority(store: &Store, pod: &mut Value) -> Result<(), Status> {
    let class = view::text(pod, &["spec", "priorityClassName"]).to_owned();
    let forbidden = |why: &str| Err(Status::forbidden(kinds::POD, &shown(pod), why));
    let found = if class.is_empty() { default_class(store) } else { known_class(store, &class) };
    let (name, value, policy) = match found {
        Some(found) => found,
        None if class.is_empty() => (String::new(), 0, LOWER.to_owned()),
        // A cluster that holds no class at all does not know its classes: what a fixture left out is not refused.
        None if store.list(kinds::PRIORITY_CLASS, None).next().is_none() => return Ok(()),
        None => return forbidden(&format!("no PriorityClass with name {class} was found")),
    };
    let computed = "must not be provided in pod spec; priority admission controller computed";
    if let Some(given) = view::int(pod, &["spec", "priority"]).filter(|given| *given != value) {
        return forbidden(&format!("the integer value of priority ({given}) {computed} {value} from the given PriorityClass name"));
    }
    let given = view::text(pod, &["spec", "preemptionPolicy"]);
    if !given.is_empty() && given != policy {
        return forbidden(&format!("the string value of PreemptionPolicy ({given}) {computed} {policy} from the given PriorityClass name"));
    }
    if !name.is_empty() {
        view::set(pod, &["spec", "priorityClassName"], name);
    }
    view::set(pod, &["spec", "priority"], value);
    view::set(pod, &["spec", "preemptionPolicy"], policy);
    Ok(())
}

/// The name of an object, or the beginning of one that is yet to be made.
fn shown(object: &Value) -> String {
    let name = view::name(object);
    if name.is_empty() { view::text(object, &["metadata", "generateName"]).to_owned() } else { name.to_owned() }
}

type Class = (String, i64, String);

fn class_of(object: &Value) -> Class {
    let policy = view::text(object, &["preemptionPolicy"]);
    let policy = if policy.is_empty() { LOWER } else { policy };
    (view::name(object).to_owned(), view::count(object, &["value"]), policy.to_owned())
}

fn known_class(store: &Store, name: &str) -> Option<Class> {
    let stored = store.get(&Key::new(kinds::PRIORITY_CLASS, "", name)).map(|class| class_of(class));
    let system = SYSTEM_CLASSES.iter().find(|(known, _)| *known == name);
    stored.or_else(|| system.map(|(name, value)| ((*name).to_owned(), *value, LOWER.to_owned())))
}

/// Of several defaults the lowest counts.
fn default_class(store: &Store) -> Option<Class> {
    let classes = store.list(kinds::PRIORITY_CLASS, None).map(|(_, class)| class);
    classes.filter(|class| view::flag(class, &["globalDefault"])).map(|class| class_of(class)).min_by_key(|(_, value, _)| *value)
}

fn one_default(store: &Store, class: &Value) -> Result<(), Status> {
    if !view::flag(class, &["globalDefault"]) {
        return Ok(());
    }
    let other = default_class(store).filter(|(name, ..)| name != view::name(class));
    other.map_or(Ok(()), |(other, ..)| {
        let why = format!("PriorityClass {other} is already marked as default. Only one default can exist");
        Err(Status::forbidden(kinds::PRIORITY_CLASS, view::name(class), &why))
    })
}

/// An ingress that names no class gets the default one, if there is one.
fn ingress_class(store: &Store, ingress: &mut Value) -> Result<(), Status> {
    if view::at(ingress, &["spec", "ingressClassName"]).is_some_and(|name| !name.is_null())
        || view::annotation(ingress, OLD_CLASS).is_some()
    {
        return Ok(());
    }
    let classes = store.list(kinds::INGRESS_CLASS, None).map(|(_, class)| class);
    let mut defaults: Vec<_> = classes.filter(|class| view::annotation(class, DEFAULT_CLASS) == Some("true")).collect();
    // The newest, and of those of one instant the first by name.
    let created = |class: &Value| view::text(class, &["metadata", "creationTimestamp"]).to_owned();
    defaults.sort_by(|a, b| created(b).cmp(&created(a)).then_with(|| view::name(a).cmp(view::name(b))));
    if let Some(class) = defaults.first() {
        view::set(ingress, &["spec", "ingressClassName"], view::name(class));
    }
    Ok(())
}
