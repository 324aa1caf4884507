//! What the texts of model entries stand for.

use std::collections::BTreeMap;

use super::hold::containers;
use super::{kinds_of, referred, spoken_of};
use crate::crd::path::Path;
use crate::json::{Text, Value, json};
use crate::store::Store;
use crate::view;

/// What `${…}` in the texts of an entry stands for. What a table has no row for is not there, and with it the whole text.
#[derive(Clone, Copy)]
pub(crate) struct Words<'a> {
    pub(crate) store: &'a Store,
    /// The object that the entry is about, or that a command runs in.
    pub(crate) subject: &'a Value,
    pub(crate) table: &'a BTreeMap<String, String>,
    /// What the `*` of a command's pattern stand for.
    pub(crate) found: &'a [String],
}

/// A table for entries that have none.
pub(crate) static NO_TABLE: BTreeMap<String, String> = BTreeMap::new();

impl Words<'_> {
    pub(super) fn tags(self, tags: &BTreeMap<String, String>) -> Option<BTreeMap<String, String>> {
        tags.iter().map(|(name, tag)| Some((name.clone(), self.text(tag)?))).collect()
    }

    /// A value with its texts filled in; a text that is nothing but one word becomes what that stands for.
    pub(crate) fn filled(self, template: &Value) -> Option<Value> {
        Some(match template {
            Value::Object(map) => {
                let entry = |(key, value): (&Text, &Value)| Some((Text::from(self.text(key)?), self.filled(value)?));
                Value::Object(map.iter().map(entry).collect::<Option<_>>()?)
            }
            Value::Array(items) => items.iter().map(|item| self.filled(item)).collect::<Option<_>>()?,
            Value::String(text) => match text.strip_prefix("${").and_then(|rest| rest.strip_suffix('}')) {
                Some(word) if !word.contains("${") => self.meaning(word)?,
                _ => self.text(text)?.into(),
            },
            other => other.clone(),
        })
    }

    /// A text filled in.
    pub(crate) fn text(self, text: &str) -> Option<String> {
        let mut parts = text.split("${");
        let mut out = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let Some((word, rest)) = part.split_once('}') else {
                out.push_str(part);
                continue;
            };
            match self.meaning(word)? {
                Value::String(text) => out.push_str(&text),
                Value::Null => {}
                other => out.push_str(&other.to_string()),
            }
            out.push_str(rest);
        }
        Some(out)
    }

    /// What a word in braces stands for; null for a part that the object does not have.
    fn meaning(self, word: &str) -> Option<Value> {
        let subject = self.subject;
        Some(match word.split_once(' ') {
            Some(("table", word)) => {
                let key = self.meaning(word)?;
                self.table.get(key.as_str()?)?.as_str().into()
            }
            Some(("tag", container)) => {
                let found = containers(subject).find(|found| view::text(found, &["name"]) == container);
                split(found.map(|found| view::text(found, &["image"])).unwrap_or_default()).1.into()
            }
            Some(("of", rest)) => {
                let (reference, word) = rest.split_once(' ')?;
                let other = referred(self.store, &self.numbered(reference), subject).and_then(|key| self.store.get(&key));
                other.map_or(Some(Value::Null), |subject| Words { subject, ..self }.meaning(word))?
            }
            Some(("list", rest)) => self.list(&self.numbered(rest))?,
            Some(("object", version)) => in_version(subject, version.trim_start_matches("as ")),
            Some(("names", kind)) => spoken_of(self.store, &self.numbered(kind))
                .map(|(_, object)| format!("{}\n", view::name(object)))
                .collect::<String>()
                .into(),
            _ if word.starts_with('.') => {
                let path = Path::read(word);
                path.and_then(|path| path.find(subject).first().map(|value| (*value).clone())).unwrap_or_default()
            }
            _ => match word {
                "object" => subject.clone(),
                "name" => view::name(subject).into(),
                "namespace" => view::namespace(subject).into(),
                "uid" => view::uid(subject).into(),
                "generation" => view::generation(subject).into(),
                "identity" => identity(subject).into(),
                number => number.parse().ok().and_then(|number| self.nth(number)).map_or(Value::Null, Value::from),
            },
        })
    }

    /// What the n-th `*` stands for.
    fn nth(&self, number: usize) -> Option<&str> {
        self.found.get(number.checked_sub(1)?).map(String::as_str)
    }

    /// A reference within a word, where `$1` stands for what `${1}` does elsewhere.
    fn numbered(self, reference: &str) -> String {
        let fill = |text: String, number: usize| text.replace(&format!("${number}"), self.nth(number).unwrap_or_default());
        (1..=self.found.len().min(9)).fold(reference.to_owned(), fill)
    }

    /// Every object of a kind as one document: `KIND`, or `KIND as VERSION` with another `apiVersion` in it.
    fn list(self, asked: &str) -> Option<Value> {
        let (word, version) = asked.split_once(" as ").map_or((asked, None), |(word, version)| (word, Some(version)));
        let kind = kinds_of(self.store, word).next()?;
        let version = version.map_or_else(|| kind.api_version(), str::to_owned);
        let items: Vec<Value> = spoken_of(self.store, word).map(|(_, object)| in_version(object, &version)).collect();
        let name = if word.starts_with("*.") { "List".to_owned() } else { format!("{}List", kind.kind) };
        Some(json!({"apiVersion": version, "kind": name, "items": items}))
    }
}

fn in_version(object: &Value, version: &str) -> Value {
    let mut object = object.clone();
    view::set(&mut object, &["apiVersion"], version);
    object
}

/// Repository and tag of an image; an empty tag for none.
pub(super) fn split(image: &str) -> (&str, &str) {
    let image = image.split('@').next().unwrap_or(image);
    let name = image.rfind('/').map_or(0, |at| at + 1);
    match image[name..].find(':') {
        Some(at) => (&image[..name + at], &image[name + at + 1..]),
        None => (image, ""),
    }
}

/// A number for a namespace and a set of labels, as identities of security have it: from 256 to 65,535.
fn identity(subject: &Value) -> i64 {
    let labels = view::at(subject, &["metadata", "labels"]).map(ToString::to_string).unwrap_or_default();
    let text = format!("{} {labels}", view::namespace(subject));
    // FNV-1a: the same number everywhere and always.
    let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    256 + i64::try_from(hash % (65_536 - 256)).unwrap_or_default()
}
