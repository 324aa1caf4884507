//! Cells that many kinds have.

use crate::json::Value;
use crate::view;

/// A list with commas, cut after some items: what was cut is counted.
pub(super) fn cut<I: AsRef<str>>(items: &[I], separator: &str, most: usize) -> String {
    let shown: Vec<&str> = items.iter().take(most).map(AsRef::as_ref).collect();
    let shown = shown.join(separator);
    match items.len().saturating_sub(most) {
        0 => shown,
        more => format!("{shown} + {more} more..."),
    }
}

/// The text, or this when it is empty.
pub(super) fn or(text: &str, empty: &str) -> String {
    if text.is_empty() { empty.to_owned() } else { text.to_owned() }
}

/// A map of labels as `a=b,c=d`.
pub(super) fn labels(map: Option<&Value>) -> String {
    let pairs = map.and_then(Value::as_object).into_iter().flatten();
    let pairs: Vec<String> = pairs.map(|(name, value)| format!("{name}={}", value.as_str().unwrap_or_default())).collect();
    or(&pairs.join(","), "<none>")
}

/// A label selector as it is written in a query, its requirements by key.
pub(super) fn selector(selector: Option<&Value>) -> String {
    let Some(selector) = selector else { return "<none>".to_owned() };
    let mut parts: Vec<(String, String)> = Vec::new();
    for (key, value) in view::at(selector, &["matchLabels"]).and_then(Value::as_object).into_iter().flatten() {
        parts.push((key.to_string(), format!("{key}={}", value.as_str().unwrap_or_default())));
    }
    for expression in view::list(selector, &["matchExpressions"]) {
        let key = view::text(expression, &["key"]);
        let mut values: Vec<&str> = view::list(expression, &["values"]).iter().filter_map(Value::as_str).collect();
        values.sort_unstable();
        let values = values.join(",");
        let text = match view::text(expression, &["operator"]) {
            "In" => format!("{key} in ({values})"),
            "NotIn" => format!("{key} notin ({values})"),
            "DoesNotExist" => format!("!{key}"),
            _ => key.to_owned(),
        };
        parts.push((key.to_owned(), text));
    }
    parts.sort_by(|a, b| a.0.cmp(&b.0));
    let parts: Vec<String> = parts.into_iter().map(|(_, text)| text).collect();
    or(&parts.join(","), "<none>")
}

/// A number or a text, as text.
pub(super) fn int_or_text(value: Option<&Value>, absent: &str) -> String {
    match value {
        Some(Value::String(text)) => text.to_string(),
        Some(Value::Number(number)) => number.to_string(),
        _ => absent.to_owned(),
    }
}
