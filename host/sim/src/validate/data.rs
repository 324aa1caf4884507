//! ConfigMaps and Secrets.

use crate::json::Value;

use super::common::required;
use crate::base64;
use crate::status::Cause;
use crate::view;

/// All values together, in bytes.
const LARGEST: usize = 1 << 20;
const KEY_TEXT: &str = "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or \
    'key-name', regex used for validation is '[-._a-zA-Z0-9]+')";
const ACCOUNT: &str = "kubernetes.io/service-account.name";

pub(super) fn config_map(object: &Value, causes: &mut Vec<Cause>) {
    let (mut size, binary) = (0, object.get("binaryData"));
    for (key, value) in entries(object, "data") {
        let field = format!("data[{key}]");
        config_key(key, &field, causes);
        if binary.is_some_and(|binary| binary.get(key).is_some()) {
            causes.push(Cause::invalid(field, &key.into(), "duplicate of key present in binaryData"));
        }
        size += value.as_str().unwrap_or_default().len();
    }
    for (key, value) in entries(object, "binaryData") {
        config_key(key, &format!("binaryData[{key}]"), causes);
        size += decoded_len(value);
    }
    too_long(size, "[]", causes);
}

pub(super) fn secret(object: &Value, causes: &mut Vec<Cause>) {
    let mut size = 0;
    for (key, value) in entries(object, "data") {
        config_key(key, &format!("data[{key}]"), causes);
        size += decoded_len(value);
    }
    too_long(size, "data", causes);
    let kept = |key: &str| view::at(object, &["data", key]);
    let need = |key: &str| {
        if kept(key).is_none() {
            causes.push(Cause::required(format!("data[{key}]"), ""));
        }
    };
    match view::text(object, &["type"]) {
        "kubernetes.io/tls" => ["tls.crt", "tls.key"].into_iter().for_each(need),
        "kubernetes.io/basic-auth" if kept("username").is_none() && kept("password").is_none() => {
            ["username", "password"].into_iter().for_each(need);
        }
        "kubernetes.io/ssh-auth" if kept("ssh-privatekey").is_none_or(|key| decoded_len(key) == 0) => {
            causes.push(Cause::required("data[ssh-privatekey]", ""));
        }
        "kubernetes.io/dockerconfigjson" => need_json(object, ".dockerconfigjson", causes),
        "kubernetes.io/dockercfg" => need_json(object, ".dockercfg", causes),
        "kubernetes.io/service-account-token" => {
            let name = view::annotation(object, ACCOUNT).unwrap_or_default();
            required(name, &format!("metadata.annotations[{ACCOUNT}]"), "", causes);
        }
        _ => {}
    }
}

fn need_json(object: &Value, key: &str, causes: &mut Vec<Cause>) {
    let field = format!("data[{key}]");
    let Some(text) = view::at(object, &["data", key]).and_then(Value::as_str) else {
        causes.push(Cause::required(field, ""));
        return;
    };
    let bytes = base64::decode(text).unwrap_or_default();
    if serde_json::from_slice::<serde::de::IgnoredAny>(&bytes).is_err() {
        let why = match bytes.iter().find(|byte| !byte.is_ascii_whitespace()) {
            Some(first) => format!("invalid character '{}' looking for beginning of value", char::from(*first)),
            None => "unexpected end of JSON input".to_owned(),
        };
        causes.push(Cause::invalid(field, &"<secret contents redacted>".into(), &why));
    }
}

fn entries<'a>(object: &'a Value, field: &str) -> impl Iterator<Item = (&'a str, &'a Value)> {
    object.get(field).and_then(Value::as_object).into_iter().flatten().map(|(key, value)| (key.as_str(), value))
}

pub(super) fn config_key(key: &str, field: &str, causes: &mut Vec<Cause>) {
    let why = if key.len() > 253 {
        "must be no more than 253 characters"
    } else if key.is_empty() || !key.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)) {
        KEY_TEXT
    } else if matches!(key, "." | "..") {
        if key == "." { "must not be '.'" } else { "must not be '..'" }
    } else if key.starts_with("..") {
        "must not start with '..'"
    } else {
        return;
    };
    causes.push(Cause::invalid(field, &key.into(), why));
}

/// How many bytes a text in base64 stands for.
fn decoded_len(value: &Value) -> usize {
    let digits = value.as_str().unwrap_or_default().bytes().filter(|b| !matches!(b, b'=' | b'\n' | b'\r')).count();
    digits * 3 / 4
}

fn too_long(size: usize, field: &str, causes: &mut Vec<Cause>) {
    if size > LARGEST {
        let message = format!("Too long: may not be more than {LARGEST} bytes");
        causes.push(Cause { reason: "FieldValueTooLong", field: field.to_owned(), message });
    }
}
