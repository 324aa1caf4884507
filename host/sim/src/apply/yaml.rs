//! The body of a server-side apply: YAML, which is mostly JSON.

use serde_saphyr::DuplicateKeyPolicy;

use crate::json::{Map, Value};
use crate::schema::{ANY, Finding, findings};
use crate::status::Status;

/// Reads the configuration. The second part is what a strict reader says: keys that come twice.
///
/// # Errors
/// 400 for what is no YAML or no map.
pub(crate) fn read(body: &[u8]) -> Result<(Value, Vec<String>), Status> {
    let unreadable = |why: &str| Status::bad_request(format!("error decoding YAML: {why}"));
    let (value, twice) = match serde_json::from_slice::<Value>(body) {
        Ok(value) => (value, twice_in_json(body)),
        Err(_) => {
            let text = std::str::from_utf8(body).map_err(|_| unreadable("the body is not UTF-8"))?;
            let lenient = serde_saphyr::options! {
                strict_booleans: true, legacy_octal_numbers: true, duplicate_keys: DuplicateKeyPolicy::LastWins
            };
            let value: Value = serde_saphyr::from_str_with_options(text, lenient)
                .map_err(|error| unreadable(&format!("error converting YAML to JSON: yaml: {}", error.without_snippet())))?;
            let strict = serde_saphyr::options! { strict_booleans: true, legacy_octal_numbers: true };
            let strict: Result<Value, _> = serde_saphyr::from_str_with_options(text, strict);
            (value, strict.err().map(|error| said(&error, text)).into_iter().collect())
        }
    };
    match value {
        Value::Object(_) => Ok((value, twice)),
        Value::Null => Ok((Value::Object(Map::new()), twice)),
        other => {
            let found = if other.is_array() { "array" } else { "scalar" };
            let go = "into Go value of type map[string]interface {}";
            Err(unreadable(&format!("error unmarshaling JSON: while decoding JSON: json: cannot unmarshal {found} {go}")))
        }
    }
}

/// Keys that come twice in a JSON text.
fn twice_in_json(body: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(body);
    let key = |finding: Finding| match finding {
        Finding::Duplicate(path) => path.rsplit('.').next().map(|key| {
            let at = text.rfind(&format!("\"{key}\"")).unwrap_or(0);
            format!("line {}: key {key:?} already set in map", text[..at].matches('\n').count() + 1)
        }),
        Finding::Unknown(_) => None,
    };
    findings(&ANY, body, None).into_iter().filter_map(key).collect()
}

fn said(error: &serde_saphyr::Error, text: &str) -> String {
    let line = error.location().map_or(1, |place| place.line());
    let at = usize::try_from(line).unwrap_or(1).saturating_sub(1);
    let key = text.lines().nth(at).and_then(|line| line.split(':').next()).unwrap_or_default();
    format!("line {line}: key {:?} already set in map", key.trim().trim_matches('"'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::json;

    #[test]
    fn yaml_and_json_are_read() {
        assert_eq!(read(b"a: 1\nb: {c: [x, 'y']}\n").unwrap(), (json!({"a": 1, "b": {"c": ["x", "y"]}}), vec![]));
        assert_eq!(read(br#"{"a": "b"}"#).unwrap(), (json!({"a": "b"}), vec![]));
        assert_eq!(read(b"mode: 0400\n").unwrap().0, json!({"mode": 256}));
        assert_eq!(read(b"").unwrap().0, json!({}));
        assert_eq!(read(b"[1]").unwrap_err().code(), 400);
        assert_eq!(read(b"{a: [").unwrap_err().code(), 400);
        assert_eq!(read(b"\xff\xfe").unwrap_err().code(), 400);
    }

    #[test]
    fn keys_that_come_twice_are_told_and_the_last_one_counts() {
        let twice = |text: &[u8]| read(text).unwrap();
        assert_eq!(twice(b"{\"a\": {\"b\": 1,\n\"b\": 2}}"), (json!({"a": {"b": 2}}), vec!["line 2: key \"b\" already set in map".into()]));
        assert_eq!(twice(b"a:\n  b: 1\n  b: 2\n"), (json!({"a": {"b": 2}}), vec!["line 3: key \"b\" already set in map".into()]));
    }
}
