//! `label` and `annotate`: texts under names in an object's metadata.

use std::collections::BTreeMap;

use crate::base::json::{Map, Value as Json, json};

use super::cx::Cx;
use super::done::{Done, Inverse, Wrote};
use super::registry::Arg;
use super::tries::{Tries, version};
use super::types::{ArgType, Type, entries, mismatch};
use crate::base::diff::changes;
use crate::base::{Error, Result, Value};
use crate::cluster::{PatchType, Target};

/// What names are to be set to; `None` takes one away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings(pub BTreeMap<String, Option<String>>);

impl ArgType for Settings {
    const TYPE: Type = Type::new("{ [string]: string | boolean }", "a table from names to texts; `false` takes one away");
    fn from_arg(arg: Arg) -> Result<Self> {
        let entries = entries(arg).map_err(|other| mismatch::<Self>(&other))?;
        if entries.is_empty() {
            return Err(Error::usage("is empty: give names and texts, such as `{ window = \"1\" }`"));
        }
        let made = entries.into_iter().map(|(key, value)| match setting(value) {
            Ok(value) => Ok((key, value)),
            Err(error) => Err(Error::usage(format!("has a wrong entry `{key}`: it {}", error.message)).hint("write its value as a text")),
        });
        made.collect::<Result<_>>().map(Settings)
    }
}

/// One value: a text, or `false` or `null` for none.
fn setting(arg: Arg) -> Result<Option<String>> {
    match arg {
        Arg::Value(Value::Json(Json::Bool(false) | Json::Null)) => Ok(None),
        Arg::Value(Value::Json(other @ (Json::Bool(_) | Json::Number(_)))) => {
            Err(Error::usage(format!("must be a string or false, got `{other}`")))
        }
        other => String::from_arg(other).map(Some),
    }
}

impl Settings {
    /// The names as they are in `map`, in the form that sets them back.
    pub(super) fn now(&self, map: Option<&Json>) -> Settings {
        let of = |name: &String| map.and_then(|map| map.get(name)).and_then(Json::as_str).map(str::to_owned);
        Settings(self.0.keys().map(|name| (name.clone(), of(name))).collect())
    }

    /// As a script writes them.
    pub(super) fn told(&self) -> Json {
        let told = |text: &Option<String>| text.as_ref().map_or(Json::Bool(false), |text| text.as_str().into());
        Json::Object(self.0.iter().map(|(name, text)| (name.clone(), told(text))).collect::<Map>())
    }

    /// As a merge patch writes them.
    fn patch(&self) -> Json {
        let said = |text: &Option<String>| text.as_ref().map_or(Json::Null, |text| text.as_str().into());
        Json::Object(self.0.iter().map(|(name, text)| (name.clone(), said(text))).collect::<Map>())
    }
}

/// Which of the two maps.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    /// `metadata.labels`, by `label`.
    Labels,
    /// `metadata.annotations`, by `annotate`.
    Annotations,
}

impl Kind {
    fn verb(self) -> &'static str {
        if matches!(self, Kind::Labels) { "label" } else { "annotate" }
    }

    fn doing(self) -> &'static str {
        if matches!(self, Kind::Labels) { "labelling" } else { "annotating" }
    }

    fn field(self) -> &'static str {
        if matches!(self, Kind::Labels) { "labels" } else { "annotations" }
    }
}

/// Sets them: nothing is sent when all are as asked.
pub(super) async fn set(cx: &Cx, target: &Target, kind: Kind, wanted: &Settings) -> Result<Done> {
    let field = kind.field();
    let mut tries = Tries::of(cx, target, kind.doing());
    loop {
        let before = tries.read().await?;
        let previous = wanted.now(before.pointer(&format!("/metadata/{field}")));
        if previous == *wanted {
            return Ok(Done::unchanged(Value::Json(json!({ "changed": false, "previous": previous.told() }))));
        }
        // For what was read only: what is replaced goes into the record and to the script.
        let mut metadata = Map::from_iter([(field.to_owned(), wanted.patch())]);
        metadata.insert("resourceVersion".to_owned(), version(&before).into());
        let body = json!({ "metadata": Json::Object(metadata.clone()) });
        match cx.cluster.patch(target, PatchType::Merge, body, None).await {
            Err(error) => tries.again(PatchType::Merge, &before, error).await?,
            Ok(_) => {
                drop(metadata.remove("resourceVersion"));
                let mut after = (*before).clone();
                after.merge(&json!({ "metadata": Json::Object(metadata) }));
                let wrote = Wrote {
                    verb: "patch".to_owned(),
                    target: target.to_string(),
                    changes: changes(&before, &after),
                    inverse: Inverse::Call {
                        verb: kind.verb().to_owned(),
                        arguments: vec![target.full_name().into(), previous.told()],
                        options: Json::Null,
                    },
                };
                return Ok(Done::changed(Value::Json(json!({ "changed": true, "previous": previous.told() })), wrote));
            }
        }
    }
}

/// Refuses a name that no label or annotation can have. Names of both have one form; only a label's value has one too.
pub(super) fn check(kind: Kind, wanted: &Settings) -> Result<()> {
    let verb = kind.verb();
    for (name, text) in &wanted.0 {
        if name == crate::cluster::OP_ANNOTATION && matches!(kind, Kind::Annotations) {
            return Err(Error::usage(format!("`{verb}`: `{name}` is lockgate's own mark and cannot be set")));
        }
        lockgate_sim::selector::check_key(name).map_err(|_| {
            Error::usage(format!("`{verb}`: `{name}` cannot be a name of {}", kind.field()))
                .hint("a name is up to 63 letters, digits, `-`, `_` and `.`, perhaps behind a domain and `/`: `example.com/window`")
        })?;
        let Some(text) = text.as_ref().filter(|_| matches!(kind, Kind::Labels)) else { continue };
        lockgate_sim::selector::check_value(text).map_err(|_| {
            Error::usage(format!("`{verb}`: `{text}` cannot be the value of label `{name}`"))
                .hint("a label's value is up to 63 letters, digits, `-`, `_` and `.`; longer texts go into annotations")
        })?;
    }
    Ok(())
}

/// The option `namespace` of both verbs, and what they check before anything is contacted.
pub(super) async fn run(cx: &Cx, object: &crate::base::ObjectRef, namespace: Option<&str>, kind: Kind, wanted: &Settings) -> Result<Done> {
    check(kind, wanted)?;
    let target = cx.target(object, namespace).await?;
    set(cx, &target, kind, wanted).await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(json: Json) -> Result<Settings> {
        Settings::from_arg(Arg::Value(Value::Json(json)))
    }

    #[test]
    fn false_and_null_take_away_and_numbers_are_no_texts() {
        let settings = given(json!({ "a": "1", "b": false, "c": null })).unwrap();
        assert_eq!(settings.told(), json!({ "a": "1", "b": false, "c": false }));
        assert_eq!(settings.patch(), json!({ "a": "1", "b": null, "c": null }));
        for wrong in [json!({ "a": 1 }), json!({ "a": true }), json!({ "a": { "b": "c" } }), json!({}), json!(["a"]), json!("a=b")] {
            assert!(given(wrong.clone()).is_err(), "{wrong}");
        }
        let error = given(json!({ "a": 1 })).unwrap_err();
        assert_eq!(error.message, "has a wrong entry `a`: it must be a string or false, got `1`");
    }

    #[test]
    fn names_and_values_of_the_wrong_form_are_refused() {
        for (kind, name, text, good) in [
            (Kind::Labels, "a", "1", true),
            (Kind::Labels, "example.com/a", "", true),
            (Kind::Labels, "-a", "1", false),
            (Kind::Labels, "a", "not a value", false),
            (Kind::Annotations, "a", "any text\nat all", true),
            (Kind::Annotations, "a b", "1", false),
            (Kind::Annotations, "lockgate.dev/op", "1", false),
        ] {
            let settings = Settings([(name.to_owned(), Some(text.to_owned()))].into());
            assert_eq!(check(kind, &settings).is_ok(), good, "{name}={text}");
        }
    }
}
