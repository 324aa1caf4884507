//! What is taken out of a snapshot before it is written: the values of Secrets, environment values and entries of ConfigMaps that look
//! like secrets, tokens wherever they stand, and what kubectl keeps of an object beside it. Each cut is told.

use sha2::{Digest as _, Sha256};

use super::{Cut, hex, release};
use crate::base::base64;
use crate::base::json::{Map, Value as Json};
use crate::base::release::SECRET_TYPE;

/// What stands for a text that was cut out.
pub const HIDDEN: &str = "(cut out of the snapshot)";
/// What the value of a Secret begins with that is a hash, before its base64.
const SEALED: &str = "lockgate-sha256:";
/// How many digits of a hash tell whether a secret is still the same.
const DIGITS: usize = 16;
/// Where kubectl keeps what was applied.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// Parts of names of which the value is a secret.
const NAMES: [&str; 10] =
    ["password", "passwd", "secret", "token", "apikey", "api_key", "api-key", "credential", "private_key", "access_key"];
/// Parts of names that only say where a secret is, or which.
const POINTERS: [&str; 8] = ["secretname", "secret_name", "secret-name", "secretref", "_file", "_path", "tokenexpiration", "secretkeyref"];
/// How tokens of well-known makers begin, and how long they are at least.
const TOKENS: [(&str, usize); 10] = [
    ("eyJ", 40),
    ("ghp_", 36),
    ("gho_", 36),
    ("ghs_", 36),
    ("github_pat_", 40),
    ("glpat-", 20),
    ("xoxb-", 20),
    ("xoxp-", 20),
    ("AKIA", 20),
    ("hvs.", 24),
];
/// How keys begin that are written as text.
const PEM: &str = "-----BEGIN ";

/// The hash that stands for a value of a Secret, given as its base64 is written; a hash stays what it is.
#[must_use]
pub fn sealed(value: &str) -> String {
    if let Some(Ok(text)) = base64::decode(value).map(String::from_utf8)
        && let Some(hash) = text.strip_prefix(SEALED)
    {
        return hash.to_owned();
    }
    if let Some(hash) = release::hash(value) {
        return hash;
    }
    hex(&Sha256::digest(value.as_bytes())).chars().take(DIGITS).collect()
}

/// Takes out of an object what must not be passed on; tells what.
pub fn redact(name: &str, object: &mut Json, cuts: &mut Vec<Cut>) {
    let mut told = |field: &str, why: &str| cuts.push(Cut { object: name.to_owned(), field: field.to_owned(), why: why.to_owned() });
    let kind = object.get("kind").and_then(Json::as_str).unwrap_or_default().to_owned();
    let Some(fields) = object.as_object_mut() else { return };
    if let Some(Json::Object(metadata)) = fields.get_mut("metadata") {
        drop(metadata.remove("managedFields"));
        if let Some(Json::Object(annotations)) = metadata.get_mut("annotations")
            && annotations.remove(LAST_APPLIED).is_some()
        {
            told(&format!("metadata.annotations[{LAST_APPLIED}]"), "a copy of what was applied");
        }
    }
    match kind.as_str() {
        "Secret" => {
            let is_release = fields.get("type").and_then(Json::as_str) == Some(SECRET_TYPE);
            for part in ["data", "stringData"] {
                for (key, value) in fields.get_mut(part).and_then(Json::as_object_mut).into_iter().flat_map(Map::iter_mut) {
                    let kept = match (is_release, key.as_str(), &*value) {
                        (true, "release", Json::String(text)) => release::without_secrets(text, DIGITS, &mut told),
                        _ => None,
                    };
                    if let Some(kept) = kept {
                        *value = kept.into();
                        continue;
                    }
                    let hash = sealed(value.as_str().unwrap_or_default());
                    let text = format!("{SEALED}{hash}");
                    *value = if part == "data" { base64::encode(text.as_bytes()).into() } else { text.into() };
                    told(&format!("{part}.{key}"), "the value of a Secret, hashed");
                }
            }
            return;
        }
        "ConfigMap" => {
            for (key, value) in fields.get_mut("data").and_then(Json::as_object_mut).into_iter().flat_map(Map::iter_mut) {
                let Some(text) = value.as_str() else { continue };
                if is_secret_name(key) {
                    told(&format!("data.{key}"), "its name says that it is a secret");
                    *value = HIDDEN.into();
                } else if let Some(without) = without_entries(text) {
                    told(&format!("data.{key}"), "an entry whose name says that it is a secret");
                    *value = without.into();
                }
            }
        }
        _ => {}
    }
    walk(&mut String::new(), object, &mut told);
}

/// Looks at everything: environments, and texts that have a token in them.
fn walk(path: &mut String, value: &mut Json, told: &mut dyn FnMut(&str, &str)) {
    match value {
        Json::String(text) => {
            if let Some(without) = without_tokens(text) {
                told(path, "it looks like a token or a key");
                *value = without.into();
            }
        }
        Json::Array(items) => {
            for place in 0..items.len() {
                let length = path.len();
                path.push_str(&format!("[{place}]"));
                if let Some(item) = items.get_mut(place) {
                    environment(path, item, told);
                    walk(path, item, told);
                }
                path.truncate(length);
            }
        }
        Json::Object(map) => {
            for (name, value) in map.iter_mut() {
                let length = path.len();
                if !path.is_empty() {
                    path.push('.');
                }
                path.push_str(name);
                walk(path, value, told);
                path.truncate(length);
            }
        }
        _ => {}
    }
}

/// A variable with a secret's name and its value beside it: `{ name: DB_PASSWORD, value: … }`.
fn environment(path: &str, item: &mut Json, told: &mut dyn FnMut(&str, &str)) {
    let secret = item.get("name").and_then(Json::as_str).is_some_and(is_secret_name);
    if let Some(value) =
        item.get_mut("value").filter(|value| secret && value.as_str().is_some_and(|text| !text.is_empty() && text != HIDDEN))
    {
        told(&format!("{path}.value"), "its name says that it is a secret");
        *value = HIDDEN.into();
    }
}

/// Whether a name says that its value is a secret.
pub(super) fn is_secret_name(name: &str) -> bool {
    let name = name.to_lowercase();
    NAMES.iter().any(|part| name.contains(part)) && !POINTERS.iter().any(|part| name.contains(part))
}

/// A text of several settings, `NAME: VALUE` or `NAME=VALUE` a line, without the values of secrets; `None` where there is none.
pub(super) fn without_entries(text: &str) -> Option<String> {
    let mut found = false;
    let lines: Vec<String> = text
        .split('\n')
        .map(|line| {
            let Some(at) = line.find([':', '=']) else { return line.to_owned() };
            let (name, value) = line.split_at(at);
            let word = name.trim().trim_start_matches("- ").trim_matches(['"', '\'']);
            let said = value.get(1..).unwrap_or_default().trim().trim_matches(['"', '\'', ',']);
            let plain = !word.contains(char::is_whitespace) && !said.is_empty() && !said.starts_with(['{', '[', '|', '>', '$']);
            if plain && is_secret_name(word) && !matches!(said, "true" | "false" | "null" | "~") {
                found = true;
                format!("{name}{} {HIDDEN}", value.get(..1).unwrap_or_default())
            } else {
                line.to_owned()
            }
        })
        .collect();
    found.then(|| lines.join("\n"))
}

/// The text without tokens and keys; `None` where there is none.
fn without_tokens(text: &str) -> Option<String> {
    if text.contains(PEM) && text.contains("PRIVATE KEY-----") {
        return Some(HIDDEN.to_owned());
    }
    let of_token = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '+' | '/');
    let mut out = String::new();
    let mut found = false;
    let mut rest = text;
    while !rest.is_empty() {
        let start = rest.find(of_token).unwrap_or(rest.len());
        let (between, from) = rest.split_at(start);
        let end = from.find(|c| !of_token(c)).unwrap_or(from.len());
        let (word, after) = from.split_at(end);
        out.push_str(between);
        if TOKENS.iter().any(|(begins, least)| word.starts_with(begins) && word.len() >= *least) {
            found = true;
            out.push_str(HIDDEN);
        } else {
            out.push_str(word);
        }
        rest = after;
    }
    found.then_some(out)
}
