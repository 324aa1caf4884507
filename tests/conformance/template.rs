//! Requests that hold on every cluster: what a client took from an earlier answer stands there as a reference to it.
//!
//! kubectl puts into its requests what it was told before: uids, resource versions, tokens, names with a made-up end. A recorded
//! request has `{{ANSWER:OBJECT:POINTER}}` in their place, where ANSWER counts the exchanges of the step from 0 and OBJECT is `-`
//! for the answer itself or counts the objects of a list in the order of their content; `{{hash:N}}` is the hash of a template.

use serde_json::Value;

use super::Outcome;
use super::golden::{Answer, Sent};
use super::names::{Names, is_made, items, text};
use super::normalise;

/// The fields of metadata that are taken over only as a whole.
const WHOLE: [&str; 2] = ["uid", "resourceVersion"];

/// What a client may have taken from answers, and the references to it.
#[derive(Debug, Default)]
pub(crate) struct Known {
    /// Values of fields: taken over as a whole.
    whole: Vec<(String, String)>,
    /// Names and hashes: taken over inside of texts too.
    inside: Vec<(String, String)>,
}

impl Known {
    /// What these answers say.
    pub(crate) fn of<'a>(answers: impl IntoIterator<Item = &'a Answer>, names: &Names) -> Known {
        let mut known = Known::default();
        for (number, answer) in answers.into_iter().enumerate() {
            known.add(&answer.body, &format!("{number}:-"));
            for field in ["continue", "resourceVersion"] {
                let value = text(&answer.body, &format!("/metadata/{field}"));
                if !value.is_empty() {
                    known.whole.push((value.to_owned(), format!("{{{{{number}:-:/metadata/{field}}}}}")));
                }
            }
            for (index, item) in in_order(&answer.body, names).into_iter().enumerate() {
                known.add(item, &format!("{number}:{index}"));
            }
        }
        known.inside.extend(names.hashes().map(|(number, hash)| (hash.to_owned(), format!("{{{{hash:{number}}}}}"))));
        known
    }

    fn add(&mut self, object: &Value, place: &str) {
        for field in WHOLE {
            let value = text(object, &format!("/metadata/{field}"));
            if !value.is_empty() {
                self.whole.push((value.to_owned(), format!("{{{{{place}:/metadata/{field}}}}}")));
            }
        }
        let name = text(object, "/metadata/name");
        if is_made(text(object, "/metadata/generateName"), name) {
            self.inside.push((name.to_owned(), format!("{{{{{place}:/metadata/name}}}}")));
        }
    }

    /// The request with references.
    pub(crate) fn template(&self, sent: &Sent) -> Sent {
        let mut sent = sent.clone();
        let (path, query) = sent.path.split_once('?').map_or((sent.path.as_str(), None), |(path, query)| (path, Some(query)));
        let mut whole = self.inner(path);
        if let Some(query) = query {
            let pairs: Vec<String> = query.split('&').map(|pair| self.pair(pair)).collect();
            whole = format!("{whole}?{}", pairs.join("&"));
        }
        sent.path = whole;
        sent.body = match serde_json::from_str::<Value>(&sent.body) {
            Ok(mut body) => {
                self.value(&mut body, "");
                body.to_string()
            }
            Err(_) => self.inner(&sent.body),
        };
        sent
    }

    fn pair(&self, pair: &str) -> String {
        match pair.split_once('=') {
            Some((name @ ("resourceVersion" | "continue"), value)) => format!("{name}={}", self.exactly(value)),
            _ => self.inner(pair),
        }
    }

    fn value(&self, value: &mut Value, field: &str) {
        match value {
            Value::Object(fields) => fields.iter_mut().for_each(|(name, value)| self.value(value, name)),
            Value::Array(items) => items.iter_mut().for_each(|item| self.value(item, field)),
            Value::String(text) if WHOLE.contains(&field) => *text = self.exactly(text),
            Value::String(text) => *text = self.inner(text),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    fn exactly(&self, text: &str) -> String {
        self.whole.iter().find(|(value, _)| value == text).map_or_else(|| text.to_owned(), |(_, reference)| reference.clone())
    }

    fn inner(&self, text: &str) -> String {
        self.inside.iter().fold(text.to_owned(), |text, (name, reference)| text.replace(name.as_str(), reference))
    }
}

/// The request with what these answers say in the places of the references.
///
/// # Errors
/// An answer does not say it.
pub(crate) fn resolve(sent: &Sent, answers: &[Answer], names: &Names) -> Outcome<Sent> {
    let find = |reference: &str| -> Option<String> {
        if let Some(number) = reference.strip_prefix("hash:") {
            return names.hash(number.parse().ok()?).map(str::to_owned);
        }
        let mut parts = reference.splitn(3, ':');
        let body = &answers.get(parts.next()?.parse::<usize>().ok()?)?.body;
        let object = match parts.next()? {
            "-" => body,
            index => *in_order(body, names).get(index.parse::<usize>().ok()?)?,
        };
        object.pointer(parts.next()?)?.as_str().map(str::to_owned)
    };
    let mut sent = sent.clone();
    sent.path = replace(&sent.path, &find)?;
    sent.body = replace(&sent.body, &find)?;
    Ok(sent)
}

/// A text with every `{{REFERENCE}}` replaced.
///
/// # Errors
/// `find` finds nothing for one.
pub(crate) fn replace(text: &str, find: &dyn Fn(&str) -> Option<String>) -> Outcome<String> {
    let mut parts = text.split("{{");
    let mut done = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        match part.split_once("}}") {
            Some((reference, rest)) => {
                let value = find(reference).ok_or_else(|| format!("nothing is known about {{{{{reference}}}}}"))?;
                done = done + &value + rest;
            }
            // Braces that mean something else, as in JSON.
            None => done = done + "{{" + part,
        }
    }
    Ok(done)
}

/// The items of a list in the order of their content: the same in two clusters, although names differ.
fn in_order<'a>(list: &'a Value, names: &Names) -> Vec<&'a Value> {
    let mut items: Vec<&Value> = items(list).iter().collect();
    items.sort_by_cached_key(|item| (text(item, "/spec/nodeName").to_owned(), normalise::content(item, names)));
    items
}
