//! Bodies in the protobuf form of Kubernetes, read as JSON documents.
//!
//! helm writes its release Secrets this way, kubectl what `create` makes. The body is an envelope with the type, and in it a message.
//! What the numbers in a message stand for is in a table of all messages ([`table`]); nothing here knows a single one.

mod read;
mod table;

use crate::api::{Call, Verb};
use crate::json::Value;
use crate::request::Request;
use crate::status::Status;
use crate::view;

use self::read::{Cursor, Part};

const MEDIA_TYPE: &str = "application/vnd.kubernetes.protobuf";
/// What every body begins with.
const MAGIC: &[u8] = b"k8s\0";

/// Whether the body of a request is in this form. Patches never are.
pub(crate) fn is_protobuf(call: &Call, request: &Request) -> bool {
    let media = request.content_type.split(';').next().unwrap_or_default().trim();
    call.verb != Verb::Patch && media.eq_ignore_ascii_case(MEDIA_TYPE)
}

/// Why a body cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Unreadable {
    /// It is no envelope.
    Envelope(String),
    /// It is one, with a type that is not known.
    Type { version: String, kind: String },
    /// The message does not fit its type.
    Message { version: String, kind: String, why: String },
}

/// The same request with a JSON body.
///
/// # Errors
/// 400 with the server's text for what cannot be read; 415 for kinds that a definition made, as on a real server, and for definitions.
pub(crate) fn readable(call: &Call, request: &Request) -> Result<Request, Status> {
    // Definitions of kinds are the one kind of Kubernetes that has no messages here.
    if call.kind.custom().is_some() || call.kind.group == "apiextensions.k8s.io" {
        return Err(Status::unsupported_media_type(&["application/json", "application/yaml"]));
    }
    let mut readable = request.clone();
    "application/json".clone_into(&mut readable.content_type);
    let is_empty_delete = request.body.is_empty() && matches!(call.verb, Verb::Delete | Verb::DeleteCollection);
    if !is_empty_delete {
        let deletes = matches!(call.verb, Verb::Delete | Verb::DeleteCollection);
        let kind = if deletes { "DeleteOptions" } else { call.kind.kind };
        let document = document(&request.body, &call.kind.api_version(), kind).map_err(|why| refusal(call, &request.body, why))?;
        readable.body = document.to_string().into_bytes();
    }
    Ok(readable)
}

fn refusal(call: &Call, body: &[u8], why: Unreadable) -> Status {
    let into = call.kind.kind;
    Status::bad_request(match why {
        Unreadable::Envelope(why) if matches!(call.verb, Verb::Delete | Verb::DeleteCollection) => why,
        Unreadable::Envelope(why) => {
            format!("the object provided is unrecognized (must be of type {into}): {why} ({})", summary(body))
        }
        Unreadable::Type { version, kind } => format!(
            "{kind} in version {version:?} cannot be handled as a {into}: no kind {kind:?} is registered for version {version:?} in scheme \
             \"pkg/runtime/scheme.go:111\""
        ),
        Unreadable::Message { version, kind, why } => format!("{kind} in version {version:?} cannot be handled as a {into}: {why}"),
    })
}

/// The beginning of a body: as text when it looks like JSON, else in hexadecimal digits.
fn summary(body: &[u8]) -> String {
    const SHOWN: usize = 30;
    let shown = &body[..body.len().min(SHOWN)];
    let text = match shown.first() {
        None => "<empty>".to_owned(),
        Some(b'{') => String::from_utf8_lossy(shown).into_owned(),
        Some(_) => shown.iter().map(|byte| format!("{byte:02x}")).collect(),
    };
    if body.len() > SHOWN { text + " ..." } else { text }
}

/// The document in a body. One that does not say its type is taken for what the path leads to.
fn document(body: &[u8], default_version: &str, default_kind: &str) -> Result<Value, Unreadable> {
    let envelope = |why: &str| Unreadable::Envelope(why.to_owned());
    if body.is_empty() {
        return Err(envelope("empty data"));
    }
    let Some(content) = body.strip_prefix(MAGIC) else {
        return Err(envelope("provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]"));
    };
    if content.is_empty() {
        return Err(envelope("empty body"));
    }
    let (mut version, mut kind, mut raw) = (String::new(), String::new(), &[][..]);
    let mut parts = Cursor::new(content);
    while let Some((number, part)) = parts.next().map_err(|why| envelope(&why))? {
        match (number, part) {
            (1, Part::Bytes(bytes)) => (version, kind) = type_of(bytes).map_err(|why| envelope(&why))?,
            (2, Part::Bytes(bytes)) => raw = bytes,
            _ => {}
        }
    }
    if version.is_empty() && kind.is_empty() {
        (version, kind) = (default_version.to_owned(), default_kind.to_owned());
    }
    let name = message_name(&version, &kind);
    if !table::has(&name) {
        return Err(Unreadable::Type { version, kind });
    }
    let mut document = match read::message(&name, raw) {
        Ok(document) => document,
        Err(why) => return Err(Unreadable::Message { version, kind, why }),
    };
    for (field, value) in [("apiVersion", version), ("kind", kind)] {
        view::set(&mut document, &[field], value);
    }
    Ok(document)
}

/// The document in the body of a request, whatever its form: JSON, YAML, protobuf, or a patch of any type. `version` and `kind` are
/// what its path leads to.
///
/// # Errors
/// Why it cannot be read.
pub fn read_document(content_type: &str, body: &[u8], version: &str, kind: &str) -> Result<Value, String> {
    let media = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match media.as_str() {
        MEDIA_TYPE => document(body, version, kind).map_err(|why| match why {
            Unreadable::Envelope(why) | Unreadable::Message { why, .. } => why,
            Unreadable::Type { version, kind } => format!("nothing is known of {kind} in {version}"),
        }),
        "application/yaml" | "application/apply-patch+yaml" => {
            crate::apply::read(body).map(|(document, _)| document).map_err(|status| status.message().to_owned())
        }
        "" | "application/json" => serde_json::from_slice(body).map_err(|error| error.to_string()),
        patch if patch.starts_with("application/") && patch.ends_with("patch+json") => {
            serde_json::from_slice(body).map_err(|error| error.to_string())
        }
        other => Err(format!("nobody knows the type `{other}`")),
    }
}

/// Version and kind of an envelope.
fn type_of(bytes: &[u8]) -> Result<(String, String), String> {
    let (mut version, mut kind) = (String::new(), String::new());
    let mut parts = Cursor::new(bytes);
    while let Some((number, part)) = parts.next()? {
        match (number, part) {
            (1, Part::Bytes(bytes)) => version = String::from_utf8_lossy(bytes).into_owned(),
            (2, Part::Bytes(bytes)) => kind = String::from_utf8_lossy(bytes).into_owned(),
            _ => {}
        }
    }
    Ok((version, kind))
}

/// The name of the message of a kind: `apps/v1.Deployment`. Options of a deletion come under any group.
fn message_name(version: &str, kind: &str) -> String {
    if kind == "DeleteOptions" {
        return "meta/v1.DeleteOptions".to_owned();
    }
    match version.split_once('/') {
        Some((group, version)) => format!("{}/{version}.{kind}", group.split('.').next().unwrap_or_default()),
        None => format!("core/{version}.{kind}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds;

    #[test]
    fn every_kind_has_its_message() {
        for kind in kinds::ALL.iter().chain(kinds::REVIEWS) {
            let known = table::has(&message_name(&kind.api_version(), kind.kind));
            assert_eq!(known, kind.group != "apiextensions.k8s.io", "{kind}");
        }
        for (version, kind) in [("policy/v1", "Eviction"), ("autoscaling/v1", "Scale"), ("v1", "Binding"), ("apps/v1", "DeleteOptions")] {
            assert!(table::has(&message_name(version, kind)), "{kind}");
        }
    }

    fn read(body: &[u8]) -> Result<Value, Unreadable> {
        document(body, "v1", "ConfigMap")
    }

    /// Without what is null.
    fn plain(value: &Value) -> Value {
        match value {
            Value::Object(fields) => {
                let kept = fields.iter().filter(|(_, value)| !value.is_null());
                Value::Object(kept.map(|(name, value)| (name.clone(), plain(value))).collect())
            }
            Value::Array(items) => items.iter().map(plain).collect(),
            other => other.clone(),
        }
    }

    /// `messages.json` holds objects as kube-apiserver v1.36.4 gives them in both forms.
    #[test]
    fn a_message_says_what_the_document_says() {
        let pairs: Vec<Value> = serde_json::from_str(include_str!("messages.json")).unwrap();
        assert!(pairs.len() >= 24);
        for pair in &pairs {
            let body = crate::base64::decode(pair["body"].as_str().unwrap()).unwrap();
            assert_eq!(plain(&read(&body).unwrap()), plain(&pair["object"]));
        }
    }

    #[test]
    fn anything_can_come() {
        let good = b"k8s\0\x0a\x0f\x0a\x02v1\x12\x09ConfigMap\x12\x0b\x0a\x09\x0a\x01a\x12\x00\x1a\x00\x22\x00";
        assert_eq!(read(good).unwrap()["metadata"]["name"], "a");
        for end in 0..good.len() {
            for byte in [0, 1, 8, 127, 128, 255] {
                let mut bytes = good[..end].to_vec();
                bytes.extend([byte, byte, byte]);
                // It is read or refused; nothing else can happen.
                assert!(read(&bytes).is_ok_and(|document| document.is_object()) || read(&bytes).is_err());
            }
        }
        assert_eq!(read(b"").unwrap_err(), Unreadable::Envelope("empty data".into()));
    }
}
