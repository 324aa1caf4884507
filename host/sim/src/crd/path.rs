//! JSON paths, as columns and the scale of custom resources use them: fields, indexes, all items, and items with an equal field.

use crate::json::{Text, Value};
use crate::view;

/// A path.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Path(Vec<Step>);

#[derive(Debug, Clone, PartialEq)]
enum Step {
    Field(Text),
    /// Counted from the end when negative.
    Index(i64),
    All,
    /// Items in which the value at a path is equal (or not) to this.
    Where(Vec<Text>, bool, Value),
}

impl Path {
    /// Reads a path; `None` for one in a form that is not modelled, which finds nothing.
    pub(crate) fn read(text: &str) -> Option<Self> {
        let mut steps = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            if let Some(inner) = rest.strip_prefix('[') {
                let end = closing(inner)?;
                steps.push(bracket(&inner[..end])?);
                rest = &inner[end + 1..];
            } else {
                let name = rest.strip_prefix('.')?;
                let (name, after) = field(name);
                if name.is_empty() {
                    return None;
                }
                steps.push(if name == "*" { Step::All } else { Step::Field(name.into()) });
                rest = after;
            }
        }
        Some(Self(steps))
    }

    /// All values that the path leads to.
    pub(crate) fn find<'a>(&self, value: &'a Value) -> Vec<&'a Value> {
        let mut found = vec![value];
        for step in &self.0 {
            found = found.into_iter().flat_map(|value| step.below(value)).collect();
        }
        found
    }

    /// Puts a value at a path of fields.
    pub(crate) fn set(&self, value: &mut Value, new: Value) {
        let names: Vec<&str> =
            self.0.iter().filter_map(|step| if let Step::Field(name) = step { Some(name.as_str()) } else { None }).collect();
        view::set(value, &names, new);
    }
}

impl Step {
    fn below<'a>(&self, value: &'a Value) -> Vec<&'a Value> {
        match (self, value) {
            (Self::Field(name), Value::Object(map)) => map.get(name).into_iter().collect(),
            (Self::Index(at), Value::Array(items)) => {
                let at = if *at < 0 { at + items.len() as i64 } else { *at };
                usize::try_from(at).ok().and_then(|at| items.get(at)).into_iter().collect()
            }
            (Self::All, Value::Array(items)) => items.iter().collect(),
            (Self::All, Value::Object(map)) => map.values().collect(),
            (Self::Where(path, equal, wanted), Value::Array(items)) => {
                let path: Vec<&str> = path.iter().map(Text::as_str).collect();
                items.iter().filter(|item| view::at(item, &path).is_some_and(|found| (found == wanted) == *equal)).collect()
            }
            _ => Vec::new(),
        }
    }
}

/// The place of the bracket that ends this one; what is quoted does not count.
fn closing(text: &str) -> Option<usize> {
    let (mut quote, mut depth) = (None, 0);
    for (at, c) in text.char_indices() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (Some(_), _) => {}
            (None, '\'' | '"') => quote = Some(c),
            (None, '[') => depth += 1,
            (None, ']') if depth == 0 => return Some(at),
            (None, ']') => depth -= 1,
            _ => {}
        }
    }
    None
}

/// A name up to the next step; a dot behind a backslash belongs to it.
fn field(text: &str) -> (String, &str) {
    let mut name = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '.' | '[' => return (name, &text[at..]),
            '\\' => name.extend(chars.next().map(|(_, c)| c)),
            c => name.push(c),
        }
    }
    (name, "")
}

fn bracket(text: &str) -> Option<Step> {
    let text = text.trim();
    if text == "*" {
        return Some(Step::All);
    }
    if let Some(quoted) = quoted(text) {
        return Some(Step::Field(quoted.replace("\\.", ".").into()));
    }
    if let Ok(at) = text.parse() {
        return Some(Step::Index(at));
    }
    let condition = text.strip_prefix("?(")?.strip_suffix(')')?.trim();
    let (path, equal, literal) = match condition.split_once("==") {
        Some((path, literal)) => (path, true, literal),
        None => condition.split_once("!=").map(|(path, literal)| (path, false, literal))?,
    };
    let literal = literal.trim();
    let wanted = quoted(literal).map_or_else(|| serde_json::from_str(literal).ok(), |text| Some(text.into()))?;
    let path = path.trim().strip_prefix("@.")?;
    Some(Step::Where(path.split('.').map(Text::from).collect(), equal, wanted))
}

fn quoted(text: &str) -> Option<&str> {
    let inner = |quote: char| text.strip_prefix(quote)?.strip_suffix(quote);
    inner('\'').or_else(|| inner('"'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::json;

    #[test]
    fn paths_find_what_they_lead_to() {
        let value = json!({"spec": {"items": [{"key": "a", "n": 1}, {"key": "b", "n": 2}], "x.y/z": "q"},
            "status": {"conditions": [{"type": "Ready", "status": "True"}, {"type": "Other", "status": "False"}]}});
        for (path, found) in [
            (".spec.items[0].key", json!(["a"])),
            (".spec.items[-1].key", json!(["b"])),
            (".spec.items[*].key", json!(["a", "b"])),
            (".spec.items[?(@.n==2)].key", json!(["b"])),
            (".spec.items[?(@.n!=2)].key", json!(["a"])),
            (r".spec['x\.y/z']", json!(["q"])),
            (r".spec.x\.y/z", json!(["q"])),
            (r#".status.conditions[?(@.type=="Ready")].status"#, json!(["True"])),
            (".spec.none", json!([])),
            (".spec.items.key", json!([])),
        ] {
            let all: Value = Path::read(path).unwrap().find(&value).into_iter().cloned().collect();
            assert_eq!(all, found, "{path}");
        }
        for unread in ["spec", ".spec..x", ".a[", ".a[?(@.b>1)]"] {
            assert_eq!(Path::read(unread), None, "{unread}");
        }
    }
}
