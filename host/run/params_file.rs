//! Parameter files, YAML or JSON (which the same parser reads): what is declared as a scalar is taken as the text in the file.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use crate::base::json::Value as Json;
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

use super::runbook::{ParamDecl, ParamType};
use super::source::unreadable;
use crate::base::{Error, Place, Result, Value, items_of_list};

/// A parameter file as text.
#[derive(Clone, Debug)]
pub struct ParamFile {
    /// What it is called in messages.
    pub label: String,
    /// Its text.
    pub text: String,
}

impl ParamFile {
    /// Reads it.
    ///
    /// # Errors
    /// When it is not there or is no text.
    pub fn open(path: &Path) -> Result<ParamFile> {
        let text = std::fs::read_to_string(path).map_err(|error| unreadable(path, &error))?;
        Ok(ParamFile { label: path.display().to_string(), text })
    }

    /// Its entries: text for scalars, JSON for lists and maps.
    ///
    /// # Errors
    /// What the parser says, with file and line.
    pub fn read(&self, decls: &[ParamDecl]) -> Result<BTreeMap<String, Value>> {
        if self.text.trim().is_empty() {
            return Ok(BTreeMap::new());
        }
        let parse = |plain_lists: bool| {
            let options = lockgate_sim::fixture::yaml_options();
            serde_saphyr::with_deserializer_from_str_with_options(&self.text, options, |deserializer| {
                Entries { decls, plain_lists }.deserialize(deserializer)
            })
        };
        // A list of scalars keeps their text; only one that holds tables is read as JSON.
        parse(true)
            .or_else(|_| parse(false))
            .map_err(|error| yaml_error(&format!("reading the parameters in `{}`", self.label), &self.label, &self.text, &error))
    }
}

/// An error of the YAML parser at its place in a file.
pub(crate) fn yaml_error(doing: &str, label: &str, text: &str, error: &serde_saphyr::Error) -> Error {
    let plain = error.without_snippet();
    let shown = plain.render_with_options(serde_saphyr::render_options! {
        formatter: &serde_saphyr::UserMessageFormatter,
        snippets: serde_saphyr::SnippetMode::Off,
    });
    let location = plain.location();
    // The parser ends its text with the place, which is shown better below.
    let mut told = Error::usage(doing).cause(lockgate_sim::fixture::yaml_message(&shown));
    if let Some(location) = location {
        let line = u32::try_from(location.line()).unwrap_or(0);
        told.places.push(Place {
            file: label.to_owned(),
            line,
            column: u32::try_from(location.column()).ok(),
            length: None,
            source: text.lines().nth(line.saturating_sub(1) as usize).map(str::to_owned),
            function: None,
        });
    }
    told
}

/// Reads the manifests in a file.
///
/// # Errors
/// When the file cannot be read, is no YAML, or holds something that is no object.
pub(crate) fn manifests(path: &str) -> Result<Value> {
    let text = std::fs::read_to_string(path).map_err(|error| unreadable(Path::new(path), &error))?;
    manifests_of(path, &text)
}

/// Reads manifests from the text of a file.
///
/// # Errors
/// When it is no YAML, or holds something that is no object.
pub(crate) fn manifests_of(path: &str, text: &str) -> Result<Value> {
    let documents: Vec<Json> = serde_saphyr::from_multiple_with_options(text, lockgate_sim::fixture::yaml_options())
        .map_err(|error| yaml_error(&format!("reading the manifests in `{path}`"), path, text, &error))?;
    let mut objects = Vec::new();
    for (place, document) in documents.into_iter().filter(|document| !document.is_null()).enumerate() {
        opened(document, &mut objects).map_err(|lacks| Error::usage(format!("document {} of `{path}` {lacks}", place + 1)))?;
    }
    Ok(Value::Json(objects.into()))
}

/// Adds an object, or those of a `List`; what is wrong with it otherwise.
fn opened(object: Json, objects: &mut Vec<Json>) -> Result<(), &'static str> {
    match items_of_list(&object) {
        Some(items) => items.iter().try_for_each(|item| opened(item.clone(), objects)).map_err(|_| "has an item without `kind`"),
        None if object["kind"].as_str().is_none() => Err("has no `kind`"),
        None => {
            objects.push(object);
            Ok(())
        }
    }
}

struct Entries<'a> {
    decls: &'a [ParamDecl],
    plain_lists: bool,
}

impl<'de> DeserializeSeed<'de> for Entries<'_> {
    type Value = BTreeMap<String, Value>;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Entries<'_> {
    type Value = BTreeMap<String, Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a table of parameters")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut entries = BTreeMap::new();
        while let Some(name) = map.next_key::<String>()? {
            let ty = self.decls.iter().find(|decl| decl.name == name).map(|decl| decl.ty);
            let value = match ty {
                // An unknown one is reported by its name, whatever it holds.
                None | Some(ParamType::Map | ParamType::Manifests) => Value::Json(map.next_value::<Json>()?),
                Some(ParamType::Image) => Value::from(map.next_value_seed(ImageText(&name))?),
                Some(ParamType::List) if self.plain_lists => Value::Json(map.next_value_seed(Texts)?),
                Some(ParamType::List) => Value::Json(map.next_value::<Json>()?),
                Some(_) => Value::from(map.next_value_seed(Text)?),
            };
            entries.insert(name, value);
        }
        Ok(entries)
    }
}

/// A scalar as it is written.
struct Text;

impl<'de> DeserializeSeed<'de> for Text {
    type Value = String;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<String, D::Error> {
        String::deserialize(deserializer)
    }
}

/// The text of an image, which is no number.
struct ImageText<'a>(&'a str);

impl<'de> DeserializeSeed<'de> for ImageText<'_> {
    type Value = String;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<String, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Visitor<'_> for ImageText<'_> {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an image for `{}`", self.0)
    }

    fn visit_str<E>(self, text: &str) -> Result<String, E> {
        Ok(text.to_owned())
    }
}

/// A list of scalars as they are written.
struct Texts;

impl<'de> DeserializeSeed<'de> for Texts {
    type Value = Json;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Json, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Texts {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Json, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element_seed(Text)? {
            items.push(Json::from(item));
        }
        Ok(items.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decl(name: &str, ty: ParamType) -> ParamDecl {
        ParamDecl {
            name: name.to_owned(),
            ty,
            doc: String::new(),
            default: None,
            optional: false,
            choices: Vec::new(),
            min: None,
            max: None,
            pattern: None,
            example: None,
            place: Place::default(),
        }
    }

    fn read(text: &str) -> Result<BTreeMap<String, Value>> {
        let decls =
            [decl("to", ParamType::Version), decl("on", ParamType::Boolean), decl("tags", ParamType::List), decl("values", ParamType::Map)];
        ParamFile { label: "p.yaml".into(), text: text.into() }.read(&decls)
    }

    #[test]
    fn scalars_keep_the_text_of_the_file() {
        for text in ["to: 1.10\non: true\ntags: [1.10, x]\n", r#"{"to": 1.10, "on": true, "tags": [1.10, "x"]}"#] {
            let entries = read(text).unwrap();
            assert_eq!(entries["to"], Value::from("1.10".to_owned()), "{text}");
            assert_eq!(entries["on"], Value::from("true".to_owned()));
            assert_eq!(entries["tags"], Value::Json(crate::base::json::json!(["1.10", "x"])));
        }
    }

    #[test]
    fn tables_and_lists_of_tables_are_json() {
        let entries = read("values: {a: {b: 1}}\ntags: [{k: 1}]\n").unwrap();
        assert_eq!(entries["values"], Value::Json(crate::base::json::json!({"a": {"b": 1}})));
        assert_eq!(entries["tags"], Value::Json(crate::base::json::json!([{"k": 1}])));
        assert!(read("").unwrap().is_empty());
        assert!(read("other: 1\n").unwrap().contains_key("other"));
    }

    #[test]
    fn aliases_that_unfold_without_end_are_told_in_words() {
        let mut bomb = "values:\n  a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]\n".to_owned();
        for level in 1..8 {
            let inner = format!("*a{}", level - 1);
            bomb.push_str(&format!("  a{level}: &a{level} [{}]\n", vec![inner; 10].join(", ")));
        }
        let error = read(&bomb).unwrap_err();
        assert_eq!(error.causes, ["the document is too large, or its aliases (`*name`) unfold to too much"]);
    }

    #[test]
    fn an_image_is_a_text() {
        let decls = [decl("image", ParamType::Image)];
        let read = |text: &str| ParamFile { label: "p.yaml".into(), text: text.into() }.read(&decls);
        for text in ["image: web:1.25\n", "image: 'web:1.25'\n", r#"{"image": "web:1.25"}"#] {
            assert_eq!(read(text).unwrap()["image"], Value::from("web:1.25".to_owned()), "{text}");
        }
        assert_eq!(read("image: \"3\"\n").unwrap()["image"], Value::from("3".to_owned()));
        for text in [r#"{"image": 3}"#, "image: 1.25\n", "image: true\n", "image: null\n", "image: [a]\n"] {
            let error = read(text).unwrap_err();
            assert_eq!(error.places[0].line, 1, "{text} {error:?}");
        }
    }

    #[test]
    fn manifests_are_what_other_tools_write() {
        let text = "# a comment\r\n---\r\nkind: ConfigMap\r\nmetadata: {name: a}\r\ndata: &d {k: v}\r\n---\r\n# nothing\r\n---\r\nkind: List\r\n\
                    items:\r\n- {kind: ConfigMap, metadata: {name: b}, data: {k: w}}\r\n- kind: PodList\r\n  items: [{kind: Pod, metadata: {name: p}}]\r\n";
        let objects = manifests_of("m.yaml", text).unwrap().into_json();
        let names: Vec<&str> = objects.as_array().unwrap().iter().map(|object| object["metadata"]["name"].as_str().unwrap()).collect();
        assert_eq!(names, ["a", "b", "p"]);
        let anchored = "kind: ConfigMap\ndata: &d {k: v}\nbinaryData: *d\n";
        let objects = manifests_of("m.yaml", anchored).unwrap().into_json();
        assert_eq!(objects[0]["binaryData"]["k"], "v");
        for (text, message) in [
            ("kind: A\n---\nname: b\n", "document 2 of `m.yaml` has no `kind`"),
            ("kind: List\nitems: [{name: b}]\n", "document 1 of `m.yaml` has an item without `kind`"),
        ] {
            assert_eq!(manifests_of("m.yaml", text).unwrap_err().message, message);
        }
    }

    #[test]
    fn modes_of_files_are_octal_as_published_manifests_write_them() {
        let text = "kind: DaemonSet\nmodes: [0400, 0440, 0o400, 420, 0, '0400', 1.10]\n";
        let objects = manifests_of("m.yaml", text).unwrap().into_json();
        assert_eq!(objects[0]["modes"], crate::base::json::json!([256, 288, 256, 420, 0, "0400", 1.1]));
        assert_eq!(read("values: {mode: 0400}\nto: 0400\n").unwrap()["values"], Value::Json(crate::base::json::json!({"mode": 256})));
        assert_eq!(read("to: 0400\n").unwrap()["to"], Value::from("0400".to_owned()));
    }

    #[test]
    fn errors_say_where() {
        let error = read("to: v1.2.3\non: [unclosed\n").unwrap_err();
        assert_eq!(error.places[0].file, "p.yaml");
        assert!(error.places[0].line >= 2, "{error:?}");
        let error = read("to: [1, 2]\n").unwrap_err();
        assert_eq!(error.places[0].line, 1, "{error:?}");
    }
}
