//! What differs between two states of an object, as sets of fields.

use std::sync::LazyLock;

use super::set::Set;
use crate::json::{Array, Map, Text, Value};
use crate::schema::{Field, Identity, List, Shape, Type};

/// What differs.
#[derive(Debug, Default)]
pub(super) struct Changes {
    pub(super) added: Set,
    pub(super) removed: Set,
    pub(super) modified: Set,
}

impl Changes {
    /// What is new or another.
    pub(super) fn taken(&self) -> Set {
        self.added.union(&self.modified)
    }

    /// The same without the fields at these paths.
    pub(super) fn without(self, paths: &[&[&str]]) -> Self {
        let less = |set: &Set| set.without(paths);
        Self { added: less(&self.added), removed: less(&self.removed), modified: less(&self.modified) }
    }
}

/// Compares two states.
pub(super) fn compare(kind: &Type, before: &Value, after: &Value) -> Changes {
    let mut changes = Changes::default();
    walk(kind, Some(before), Some(after), &mut Vec::new(), &mut changes);
    changes
}

static NULL: Value = Value::Null;
static EMPTY: LazyLock<Value> = LazyLock::new(|| Value::Object(Map::new()));
static NOTHING: LazyLock<[Value; 3]> = LazyLock::new(|| ["".into(), 0.into(), false.into()]);

/// The empty object: what the server compares a new one with.
pub(super) fn nothing() -> &'static Value {
    &EMPTY
}

/// What Go has in a field that is not there: structs that are no pointers, and what is written even when it is empty.
fn zero(field: &Field) -> Option<&'static Value> {
    let is_struct = matches!(field.kind.shape(), Shape::Struct(_));
    if is_struct && field.default.as_ref().and_then(Value::as_object).is_some_and(Map::is_empty) {
        return Some(&EMPTY);
    }
    if !field.required {
        return None;
    }
    Some(match field.kind.shape() {
        Shape::Text => &NOTHING[0],
        Shape::Integer(_) | Shape::Number | Shape::IntOrText => &NOTHING[1],
        Shape::Bool => &NOTHING[2],
        _ => &NULL,
    })
}

fn walk(kind: &Type, before: Option<&Value>, after: Option<&Value>, path: &mut Vec<Text>, changes: &mut Changes) {
    let descended = match (before, after) {
        (None, None) => return,
        (Some(a), Some(b)) if a.shares(b) => return,
        _ => match shape(kind, before, after) {
            Parts::One => false,
            Parts::Items(list) => items(list, before, after, path, changes),
            Parts::Members => members(kind, before, after, path, changes),
        },
    };
    match (before, after) {
        (None, _) => changes.added.insert(path),
        (_, None) => changes.removed.insert(path),
        (Some(a), Some(b)) if !descended && a != b => changes.modified.insert(path),
        _ => {}
    }
}

/// How a value is compared.
pub(super) enum Parts<'a> {
    /// As one value.
    One,
    /// Item by item.
    Items(&'a List),
    /// Member by member.
    Members,
}

/// Whether values of this type are one value for those who own fields, whatever is in them.
pub(super) fn parts<'a>(kind: &'a Type, value: Option<&Value>) -> Parts<'a> {
    if kind.is_atomic() {
        return Parts::One;
    }
    match kind.shape() {
        Shape::List(list) => Parts::Items(list),
        Shape::Map(_) | Shape::Struct(_) => Parts::Members,
        Shape::Any if value.is_some_and(Value::is_object) => Parts::Members,
        _ => Parts::One,
    }
}

/// As [`parts`]; two empty lists or maps are one value, so that null and empty differ.
fn shape<'a>(kind: &'a Type, before: Option<&Value>, after: Option<&Value>) -> Parts<'a> {
    let some = [before, after].into_iter().flatten().find(|value| !value.is_null());
    let empty_list = |value: Option<&Value>| value.is_none_or(|v| v.is_null() || v.as_array().is_some_and(|list| list.is_empty()));
    let empty_map = |value: Option<&Value>| value.is_none_or(|v| v.is_null() || v.as_object().is_some_and(Map::is_empty));
    let fits = |test: fn(&Value) -> bool| [before, after].into_iter().flatten().all(|value| value.is_null() || test(value));
    match parts(kind, some) {
        Parts::Items(list) if fits(Value::is_array) && !(empty_list(before) && empty_list(after)) => Parts::Items(list),
        Parts::Members if fits(Value::is_object) && !(empty_map(before) && empty_map(after)) => Parts::Members,
        _ => Parts::One,
    }
}

fn members(kind: &Type, before: Option<&Value>, after: Option<&Value>, path: &mut Vec<Text>, changes: &mut Changes) -> bool {
    let (before, after) = (before.and_then(Value::as_object), after.and_then(Value::as_object));
    let fields = kind.as_struct();
    let one = |name: &Text, path: &mut Vec<Text>, changes: &mut Changes| {
        // Written even when it is empty, which no schema tells.
        let written = name == "serviceName" && kind.go_name().ends_with(".StatefulSetSpec");
        let missing = || if written { Some(&NOTHING[0]) } else { fields.and_then(|fields| fields.field(name)).and_then(zero) };
        // A map that is not there has no fields that Go would fill in.
        let of = |map: Option<&Map>| -> Option<Value> { map.and_then(|map| map.get(name).cloned().or_else(|| missing().cloned())) };
        path.push(format!("f:{name}").into());
        walk(kind.below(name), of(before).as_ref(), of(after).as_ref(), path, changes);
        path.pop();
    };
    for name in after.iter().flat_map(|map| map.keys()) {
        let same = |a: &Value, b: &Value| a.shares(b) || (!a.is_object() && !a.is_array() && a == b);
        if !matches!((before.and_then(|map| map.get(name)), after.and_then(|map| map.get(name))), (Some(a), Some(b)) if same(a, b)) {
            one(name, path, changes);
        }
    }
    for name in before.iter().flat_map(|map| map.keys()).filter(|name| after.is_none_or(|map| !map.contains_key(name))) {
        one(name, path, changes);
    }
    true
}

fn items(list: &List, before: Option<&Value>, after: Option<&Value>, path: &mut Vec<Text>, changes: &mut Changes) -> bool {
    let indexed = |value: Option<&Value>| -> Vec<(Text, Value)> {
        let items: &[Value] = value.and_then(Value::as_array).map_or(&[], |items| items);
        items.iter().filter_map(|item| Some((element(list, item)?, item.clone()))).collect()
    };
    let (old, new) = (indexed(before), indexed(after));
    let find = |list: &[(Text, Value)], step: &Text| list.iter().find(|(other, _)| other == step).map(|(_, value)| value.clone());
    for (at, (step, value)) in new.iter().enumerate() {
        path.push(step.clone());
        // Of items with the same keys nothing is known but that they are there.
        if new.iter().enumerate().any(|(other, (step_of_other, _))| other != at && step_of_other == step) {
            if find(&old, step).as_ref() != Some(value) {
                changes.added.insert(path);
            }
            path.pop();
            continue;
        }
        walk(&list.items, find(&old, step).as_ref(), Some(value), path, changes);
        path.pop();
    }
    for (step, value) in old.iter().filter(|(step, _)| find(&new, step).is_none()) {
        path.push(step.clone());
        walk(&list.items, Some(value), None, path, changes);
        path.pop();
    }
    true
}

/// The step that leads to an item of a list; `None` for an item that cannot be in such a list.
pub(super) fn element(list: &List, item: &Value) -> Option<Text> {
    match &list.identity {
        Identity::Value if !item.is_object() && !item.is_array() && !item.is_null() => Some(format!("v:{item}").into()),
        Identity::Keys(names) => {
            let fields = item.as_object()?;
            let kind = list.items.as_struct();
            let default = |name: &Text| kind.and_then(|kind| kind.field(name)).and_then(|field| field.default.clone());
            let key = |name: &Text| Some((name.clone(), fields.get(name).filter(|v| !v.is_null()).cloned().or_else(|| default(name))?));
            let keys: Map = names.iter().map(key).collect::<Option<Map>>()?;
            Some(format!("k:{}", Value::Object(keys)).into())
        }
        _ => None,
    }
}

/// The set of all fields of a configuration.
pub(super) fn fields_of(kind: &Type, value: &Value) -> Set {
    let mut set = Set::default();
    collect(kind, value, &mut Vec::new(), &mut set);
    set
}

fn collect(kind: &Type, value: &Value, path: &mut Vec<Text>, set: &mut Set) {
    match (parts(kind, Some(value)), value) {
        (Parts::Items(list), Value::Array(items)) => collect_items(list, items, path, set),
        (Parts::Members, Value::Object(map)) => {
            for (name, value) in map {
                let below = kind.below(name);
                path.push(format!("f:{name}").into());
                collect(below, value, path, set);
                let empty = value.is_null() || value.as_object().is_some_and(Map::is_empty);
                let named = kind.as_struct().is_some_and(|fields| fields.field(name).is_some());
                if empty || !named {
                    set.insert(path);
                }
                path.pop();
            }
        }
        (Parts::One, _) => set.insert(path),
        _ => {}
    }
}

fn collect_items(list: &List, items: &Array, path: &mut Vec<Text>, set: &mut Set) {
    for item in items {
        let Some(step) = element(list, item) else { continue };
        path.push(step);
        collect(&list.items, item, path, set);
        set.insert(path);
        path.pop();
    }
}
