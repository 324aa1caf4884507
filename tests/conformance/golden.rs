//! What was recorded, as it stands in `golden.json`.

use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Outcome;

/// The recording of one case.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Golden {
    /// What the server calls its version.
    pub(crate) server: String,
    /// The digest of the case that was recorded.
    pub(crate) digest: String,
    /// One for each step of the case.
    pub(crate) steps: Vec<Done>,
}

/// What a step did.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Done {
    /// Number and words of the step, for messages.
    pub(crate) step: String,
    /// What was sent and what came back.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) exchanges: Vec<Exchange>,
    /// What a `snap` saw or a watch told.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub(crate) seen: Value,
    /// What kubectl said, made comparable; nothing where its recorded requests were sent.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub(crate) said: Value,
}

/// A request and its answer, both made comparable.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Exchange {
    /// The request; for steps that are requests themselves only its line.
    pub(crate) sent: Sent,
    /// The status code.
    pub(crate) status: u16,
    /// The `Warning` headers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) warnings: Vec<String>,
    /// The answer; nothing for what kubectl reads.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub(crate) answer: Value,
    /// Whether the client waited after it: the cluster comes to rest before the next request.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) rests: bool,
}

/// A request.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct Sent {
    /// The method.
    pub(crate) method: String,
    /// Path and query as they stand in the request line.
    pub(crate) path: String,
    /// The `Content-Type` header.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) content_type: String,
    /// The `Accept` header.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) accept: String,
    /// The product of the `User-Agent` header.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) agent: String,
    /// The body, when it is text.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) body: String,
    /// The body in hexadecimal digits, when it is not.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) hex: String,
    /// The user in whose place it is sent; the administrator when empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) user: String,
}

/// An answer as it came.
#[derive(Clone, Debug, Default)]
pub(crate) struct Answer {
    /// The status code.
    pub(crate) status: u16,
    /// The `Warning` headers.
    pub(crate) warnings: Vec<String>,
    /// The body; a text when it is no JSON.
    pub(crate) body: Value,
}

impl Sent {
    /// The body as bytes.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        if self.hex.is_empty() {
            return self.body.clone().into_bytes();
        }
        let digits: Vec<u8> =
            self.hex.chars().filter_map(|digit| digit.to_digit(16)).filter_map(|digit| u8::try_from(digit).ok()).collect();
        digits.chunks(2).map(|pair| pair.iter().fold(0, |byte, digit| byte << 4 | digit)).collect()
    }

    /// Puts a body in, as text when it is text.
    pub(crate) fn with_bytes(mut self, bytes: &[u8]) -> Sent {
        match std::str::from_utf8(bytes) {
            Ok(text) if !text.contains('\0') => text.clone_into(&mut self.body),
            _ => self.hex = bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
        }
        self
    }

    /// Whether it only reads.
    pub(crate) fn reads(&self) -> bool {
        self.method == "GET"
    }

    /// Whether it opens a watch.
    pub(crate) fn watches(&self) -> bool {
        self.reads() && self.path.split(['?', '&']).skip(1).any(|pair| matches!(pair, "watch=true" | "watch=1" | "watch"))
    }
}

impl Golden {
    /// Reads it.
    ///
    /// # Errors
    /// It is not there or no recording.
    pub(crate) fn read(path: &Path) -> Outcome<Golden> {
        serde_json::from_str(&super::case::read(path)?).map_err(|error| format!("{}: {error}", path.display()))
    }

    /// Writes it, one line for each exchange and each object, so that differences between two recordings can be read.
    ///
    /// # Errors
    /// It cannot be written.
    pub(crate) fn write(&self, path: &Path) -> Outcome {
        let steps: Vec<String> = self.steps.iter().map(step_lines).collect();
        let text = format!(
            "{{\"server\": {}, \"digest\": {}, \"steps\": [\n{}\n]}}\n",
            Value::from(self.server.as_str()),
            Value::from(self.digest.as_str()),
            steps.join(",\n")
        );
        std::fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))
    }
}

fn step_lines(done: &Done) -> String {
    let mut parts = vec![format!("{{\"step\": {}", Value::from(done.step.as_str()))];
    if !done.exchanges.is_empty() {
        let lines: Vec<String> = done.exchanges.iter().filter_map(|exchange| serde_json::to_string(exchange).ok()).collect();
        parts.push(format!("\"exchanges\": [\n  {}\n]", lines.join(",\n  ")));
    }
    if !done.said.is_null() {
        parts.push(format!("\"said\": {}", done.said));
    }
    match &done.seen {
        Value::Null => {}
        Value::Object(kinds) => {
            let kinds: Vec<String> =
                kinds.iter().map(|(kind, objects)| format!("  {}: {}", Value::from(kind.as_str()), objects_lines(objects))).collect();
            parts.push(format!("\"seen\": {{\n{}\n}}", kinds.join(",\n")));
        }
        Value::Array(events) => {
            let lines: Vec<String> = events.iter().map(Value::to_string).collect();
            parts.push(format!("\"seen\": [\n  {}\n]", lines.join(",\n  ")));
        }
        other => parts.push(format!("\"seen\": {other}")),
    }
    format!("{}}}", parts.join(", "))
}

fn objects_lines(objects: &Value) -> String {
    let Value::Object(objects) = objects else { return objects.to_string() };
    let lines: Vec<String> = objects.iter().map(|(name, object)| format!("    {}: {object}", Value::from(name.as_str()))).collect();
    format!("{{\n{}\n  }}", lines.join(",\n"))
}
