//! JSON patches as the server's library reads RFC 6902: a copy of what is not there is null, a member that is not there can be
//! replaced, and indexes may count from the end.

use crate::json::{Array, Value};

/// One operation.
#[derive(Debug)]
pub(super) struct Operation<'a> {
    kind: Kind,
    path: &'a str,
    from: &'a str,
    value: Value,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Add,
    Remove,
    Replace,
    Move,
    Copy,
    Test,
}

impl<'a> Operation<'a> {
    /// Reads an operation; `None` for what is none.
    pub(super) fn read(document: &'a Value) -> Option<Self> {
        let text = |field: &str| document.get(field).and_then(Value::as_str);
        let kind = match text("op")? {
            "add" => Kind::Add,
            "remove" => Kind::Remove,
            "replace" => Kind::Replace,
            "move" => Kind::Move,
            "copy" => Kind::Copy,
            "test" => Kind::Test,
            _ => return None,
        };
        let from = if matches!(kind, Kind::Move | Kind::Copy) { text("from")? } else { "" };
        Some(Self { kind, path: text("path")?, from, value: document.get("value").cloned().unwrap_or_default() })
    }

    /// Applies the operation; `None` when it does not fit the document, or when it copies more than the bytes that are `left`.
    pub(super) fn apply(&self, document: &mut Value, left: &mut usize) -> Option<()> {
        match self.kind {
            Kind::Add => add(document, self.path, self.value.clone()),
            Kind::Remove => remove(document, self.path),
            Kind::Replace => replace(document, self.path, self.value.clone()),
            Kind::Test => (get(document, self.path)? == self.value).then_some(()),
            Kind::Copy => {
                let value = get(document, self.from)?;
                spend(&value, left)?;
                add(document, self.path, value)
            }
            Kind::Move => {
                let value = get(document, self.from)?;
                remove(document, self.from)?;
                add(document, self.path, value)
            }
        }
    }
}

/// The container of the last step of a path, and this step.
fn place<'a>(document: &'a mut Value, path: &str) -> Option<(&'a mut Value, String)> {
    let mut steps = path.strip_prefix('/')?.split('/').map(unescaped);
    let mut step = steps.next()?;
    let mut container = document;
    for next in steps {
        container = match container {
            Value::Object(map) => map.get_mut(&step)?,
            Value::Array(items) => {
                let at = index(items, &step, false)?;
                items.get_mut(at)?
            }
            _ => return None,
        };
        step = next;
    }
    Some((container, step))
}

/// An index of an array, which may count from the end; of a new item when `new` is set.
fn index(items: &Array, step: &str, new: bool) -> Option<usize> {
    let length = items.len() + usize::from(new);
    let at: i64 = step.parse().ok()?;
    let at = if at < 0 { usize::try_from(i64::try_from(length).ok()? + at).ok()? } else { usize::try_from(at).ok()? };
    (at < length).then_some(at)
}

/// The value at a path: null for a member that is not there.
fn get(document: &Value, path: &str) -> Option<Value> {
    if path.is_empty() {
        return Some(document.clone());
    }
    let mut steps = path.strip_prefix('/')?.split('/').map(unescaped).peekable();
    let mut value = document;
    while let Some(step) = steps.next() {
        value = match value {
            Value::Object(map) if steps.peek().is_none() => return Some(map.get(&step).cloned().unwrap_or_default()),
            Value::Object(map) => map.get(&step)?,
            Value::Array(items) => index(items, &step, false).and_then(|at| items.get(at))?,
            _ => return None,
        };
    }
    Some(value.clone())
}

/// Takes the length of a value as text from what is left; `None` when it is more. It stops as soon as that is known: copies share
/// their parts, and a small document may stand for an enormous text.
fn spend(value: &Value, left: &mut usize) -> Option<()> {
    let mut take = |bytes: usize| left.checked_sub(bytes).map(|rest| *left = rest);
    match value {
        Value::Null | Value::Bool(_) => take(4),
        Value::Number(number) => take(number.to_string().len()),
        Value::String(text) => take(text.len() + 2),
        Value::Object(map) => {
            take(2)?;
            map.iter().try_for_each(|(key, value)| {
                *left = left.checked_sub(key.len() + 4)?;
                spend(value, left)
            })
        }
        Value::Array(items) => {
            take(2)?;
            items.iter().try_for_each(|item| {
                *left = left.checked_sub(1)?;
                spend(item, left)
            })
        }
    }
}

fn unescaped(step: &str) -> String {
    step.replace("~1", "/").replace("~0", "~")
}

fn add(document: &mut Value, path: &str, value: Value) -> Option<()> {
    if path.is_empty() {
        *document = value;
        return Some(());
    }
    let (container, step) = place(document, path)?;
    match container {
        Value::Object(map) => drop(map.insert(step, value)),
        Value::Array(items) if step == "-" => items.push(value),
        Value::Array(items) => {
            let at = index(items, &step, true)?;
            items.insert(at, value);
        }
        _ => return None,
    }
    Some(())
}

fn replace(document: &mut Value, path: &str, value: Value) -> Option<()> {
    if path.is_empty() {
        *document = value;
        return Some(());
    }
    let (container, step) = place(document, path)?;
    match container {
        Value::Object(map) => drop(map.insert(step, value)),
        Value::Array(items) => {
            let at = index(items, &step, false)?;
            *items.get_mut(at)? = value;
        }
        _ => return None,
    }
    Some(())
}

fn remove(document: &mut Value, path: &str) -> Option<()> {
    let (container, step) = place(document, path)?;
    match container {
        Value::Object(map) => map.remove(&step).map(drop),
        Value::Array(items) => {
            let at = index(items, &step, false)?;
            items.remove(at).map(drop)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::json;

    fn patched(document: Value, operations: Value) -> Option<Value> {
        let (mut document, mut left) = (document, usize::MAX);
        for operation in operations.as_array().unwrap() {
            Operation::read(operation)?.apply(&mut document, &mut left)?;
        }
        Some(document)
    }

    #[test]
    fn operations_do_what_the_servers_library_does() {
        let object = || json!({"a": {"b": "1"}, "l": ["x", "y"]});
        for (operation, result) in [
            (json!({"op": "add", "path": "/a/c", "value": "2"}), Some(json!({"a": {"b": "1", "c": "2"}, "l": ["x", "y"]}))),
            (json!({"op": "add", "path": "/l/1", "value": "z"}), Some(json!({"a": {"b": "1"}, "l": ["x", "z", "y"]}))),
            (json!({"op": "add", "path": "/l/-", "value": "z"}), Some(json!({"a": {"b": "1"}, "l": ["x", "y", "z"]}))),
            (json!({"op": "add", "path": "/l/3", "value": "z"}), None),
            (json!({"op": "add", "path": "/n/c", "value": "z"}), None),
            (json!({"op": "replace", "path": "/a/n", "value": "z"}), Some(json!({"a": {"b": "1", "n": "z"}, "l": ["x", "y"]}))),
            (json!({"op": "replace", "path": "/l/2", "value": "z"}), None),
            (json!({"op": "remove", "path": "/a/n"}), None),
            (json!({"op": "remove", "path": "/l/-1"}), Some(json!({"a": {"b": "1"}, "l": ["x"]}))),
            (json!({"op": "copy", "from": "/a/n", "path": "/a/b"}), Some(json!({"a": {"b": null}, "l": ["x", "y"]}))),
            (json!({"op": "move", "from": "/a/b", "path": "/l/0"}), Some(json!({"a": {}, "l": ["1", "x", "y"]}))),
            (json!({"op": "move", "from": "/a/n", "path": "/l/0"}), None),
            (json!({"op": "test", "path": "/a/n", "value": null}), Some(object())),
            (json!({"op": "test", "path": "/a/b", "value": "2"}), None),
            (json!({"op": "jump", "path": "/a/b"}), None),
        ] {
            assert_eq!(patched(object(), json!([operation.clone()])), result, "{operation}");
        }
    }
}
