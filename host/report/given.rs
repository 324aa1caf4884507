//! The value of a parameter on one line.

use crate::base::json::Value as Json;
use crate::primitives::registry::plural;
use crate::run::journal::chain::sha256;

/// How much of a list or table is still shown as it is, in bytes.
const LONGEST: usize = 200;
/// How many digits of a hash are shown.
const DIGITS: usize = 12;

/// A text as it is; a list or table as JSON, or, when that is long, what it holds and a hash by which two can be told apart.
#[must_use]
pub(super) fn value(value: &Json) -> String {
    if let Some(text) = value.as_str() {
        return text.to_owned();
    }
    let whole = value.to_string();
    if whole.len() <= LONGEST {
        return whole;
    }
    let holds = match (value.as_array(), value.as_object()) {
        (Some(items), _) if items.iter().all(|item| item["kind"].as_str().is_some()) => plural(items.len(), "object"),
        (Some(items), _) => counted(items.len()),
        (None, Some(fields)) => counted(fields.len()),
        (None, None) => return whole,
    };
    let hash: String = sha256(whole.as_bytes()).chars().take(DIGITS).collect();
    format!("({holds}, sha256:{hash})")
}

fn counted(entries: usize) -> String {
    if entries == 1 { "1 entry".to_owned() } else { format!("{entries} entries") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::json::json;

    #[test]
    fn what_is_long_is_counted_and_told_apart() {
        assert_eq!(value(&json!("v1.2.3")), "v1.2.3");
        assert_eq!(value(&json!(["a", "b"])), r#"["a","b"]"#);
        let objects = |note: &str| json!([{ "kind": "ConfigMap", "data": { "note": note } }, { "kind": "Secret" }]);
        let (one, other) = (value(&objects(&"x".repeat(300))), value(&objects(&"y".repeat(300))));
        assert!(one.starts_with("(2 objects, sha256:"), "{one}");
        assert_ne!(one, other);
        assert!(value(&json!({ "note": "x".repeat(300) })).starts_with("(1 entry, "));
        assert!(value(&json!(["x".repeat(300), "y"])).starts_with("(2 entries, "));
    }
}
