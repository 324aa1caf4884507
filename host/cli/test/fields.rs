//! The fields of a scenario, typed. What is not known is an error with the nearest known word.

use crate::base::json::{Map, Value as Json};
use lockgate_sim::faults::Rule;

use crate::base::{Error, Kind, Reason, Result, Span, Value, did_you_mean};
use crate::lua::{Field, RawScenario, TestFunction};
use crate::primitives::registry::list;
use crate::run::Given;
use crate::run::params_file::ParamFile;

/// The fields that a scenario may have.
pub(super) const KNOWN: &[&str] = &["answers", "at", "drift", "expect", "faults", "fixture", "given", "kill", "params"];

/// A scenario, ready to be played.
pub(super) struct Scenario {
    /// The fixture beside the runbook.
    pub(super) fixture: String,
    /// The parameters of the run.
    pub(super) params: Given,
    /// Changes the cluster before the plan.
    pub(super) given: Option<TestFunction>,
    /// Changes the cluster between plan and run.
    pub(super) drift: Option<TestFunction>,
    /// Changes the cluster while the run goes, each at its time after the start.
    pub(super) at: Vec<(Span, TestFunction)>,
    /// What the operator answers: patterns over questions.
    pub(super) answers: Vec<(String, String)>,
    /// What goes wrong at the API server during the run.
    pub(super) faults: Vec<Rule>,
    /// When the run is killed.
    pub(super) kill: Option<KillAt>,
    /// Looks at the outcome.
    pub(super) expect: TestFunction,
    /// As it was written, for places.
    raw: RawScenario,
}

/// When a run is killed: after a write, so long after one, or so long after its beginning.
#[derive(Clone, Debug)]
pub(super) struct KillAt {
    /// The act, as it was written.
    pub(super) at: Option<String>,
    /// How much later.
    pub(super) after: Option<Span>,
}

/// An error at a field of a scenario.
fn wrong(raw: &RawScenario, field: &str, message: impl std::fmt::Display) -> Error {
    let mut error = Error::new(Kind::Runbook, Reason::Usage, format!("`scenario \"{}\"`: {message}", raw.name));
    error.places.push(raw.field_place(field).clone());
    error
}

impl Scenario {
    /// Reads the fields.
    ///
    /// # Errors
    /// An unknown field, a field of the wrong type, or no `expect`; with its place.
    pub(super) fn read(raw: &RawScenario) -> Result<Scenario> {
        for field in raw.fields.keys() {
            if !KNOWN.contains(&field.as_str()) {
                let error = wrong(raw, field, format!("it has no field `{field}`"));
                return Err(match did_you_mean(field, KNOWN.iter().copied()) {
                    Some(near) => error.hint(format!("did you mean `{near}`?")),
                    None => error.hint(format!("its fields are {}", list(KNOWN.iter().copied()))),
                });
            }
        }
        let expect = function(raw, "expect")?
            .ok_or_else(|| wrong(raw, "expect", "it has no `expect`").hint("write `expect = function(run) run:succeeds() end`"))?;
        Ok(Scenario {
            fixture: text(raw, "fixture")?.unwrap_or_else(|| "cluster.yaml".to_owned()),
            params: params(raw)?,
            given: function(raw, "given")?,
            drift: function(raw, "drift")?,
            at: at(raw)?,
            answers: answers(raw)?,
            faults: faults(raw)?,
            kill: kill(raw)?,
            expect,
            raw: raw.clone(),
        })
    }

    /// The same error at the place of the scenario.
    pub(super) fn at_place(&self, mut error: Error) -> Error {
        error.places.insert(0, self.raw.place.clone());
        error
    }

    /// An error at one of its fields.
    pub(super) fn wrong(&self, field: &str, message: impl std::fmt::Display) -> Error {
        wrong(&self.raw, field, message)
    }
}

fn function(raw: &RawScenario, name: &str) -> Result<Option<TestFunction>> {
    match raw.fields.get(name) {
        None | Some(Field::Value(Value::Nil)) => Ok(None),
        Some(Field::Function(function)) => Ok(Some(function.clone())),
        Some(_) => Err(wrong(raw, name, format!("`{name}` must be a function"))),
    }
}

fn text(raw: &RawScenario, name: &str) -> Result<Option<String>> {
    match raw.fields.get(name) {
        None => Ok(None),
        Some(Field::Value(value)) if value.as_text().is_some() => Ok(value.as_text()),
        Some(_) => Err(wrong(raw, name, format!("`{name}` must be a text"))),
    }
}

/// A table of a scenario as JSON entries; absent is none.
fn entries(raw: &RawScenario, name: &str) -> Result<Vec<(String, Json)>> {
    match raw.fields.get(name) {
        None => Ok(Vec::new()),
        Some(Field::Value(value)) => match value.clone().into_json() {
            Json::Object(map) => Ok(map.into_iter().map(|(key, value)| (key.into(), value)).collect()),
            Json::Array(items) if items.is_empty() => Ok(Vec::new()),
            _ => Err(wrong(raw, name, format!("`{name}` must be a table of names"))),
        },
        Some(_) => Err(wrong(raw, name, format!("`{name}` must be a table of values"))),
    }
}

fn scalar(value: &Json) -> Option<String> {
    match value {
        Json::String(text) => Some(text.to_string()),
        Json::Bool(_) | Json::Number(_) => Some(value.to_string()),
        Json::Array(items) => items.iter().map(scalar).collect::<Option<Vec<_>>>().map(|items| items.join(",")),
        Json::Null | Json::Object(_) => None,
    }
}

/// Parameters are given as a person would type them, tables as they would be in a file.
fn params(raw: &RawScenario) -> Result<Given> {
    let (mut words, mut tables) = (Vec::new(), Map::new());
    for (name, value) in entries(raw, "params")? {
        match (scalar(&value), value) {
            (Some(text), _) => words.push((name, text)),
            // What no word can say is said in a file.
            (None, table @ (Json::Object(_) | Json::Array(_))) => drop(tables.insert(name, table)),
            (None, _) => {
                return Err(wrong(raw, "params", format!("parameter `{name}` must be a text, a number, true, false, a list or a table")));
            }
        }
    }
    let file = (!tables.is_empty()).then(|| ParamFile { label: format!("params of {}", raw.name), text: Json::Object(tables).to_string() });
    Ok(Given { words, file, ..Given::default() })
}

fn at(raw: &RawScenario) -> Result<Vec<(Span, TestFunction)>> {
    let functions = match raw.fields.get("at") {
        None => return Ok(Vec::new()),
        Some(Field::Functions(functions)) => functions,
        Some(_) => return Err(wrong(raw, "at", "`at` must be a table from times such as [\"5m\"] to functions")),
    };
    let mut timed: Vec<(Span, TestFunction)> = Vec::new();
    for (time, function) in functions {
        let span = Span::parse(time).map_err(|error| wrong(raw, "at", format!("`at`: {error}")))?;
        timed.push((span, function.clone()));
    }
    timed.sort_by_key(|(span, _)| *span);
    Ok(timed)
}

fn answers(raw: &RawScenario) -> Result<Vec<(String, String)>> {
    entries(raw, "answers")?
        .into_iter()
        .map(|(pattern, answer)| match scalar(&answer) {
            Some(text) => Ok((pattern, text)),
            None => Err(wrong(raw, "answers", format!("the answer to `{pattern}` must be a text"))),
        })
        .collect()
}

fn kill(raw: &RawScenario) -> Result<Option<KillAt>> {
    if !raw.fields.contains_key("kill") {
        return Ok(None);
    }
    let hint = "write `kill = { at = \"patch deployment/web\" }`, with `after = \"30s\"` where it is to be later";
    let mut found = KillAt { at: None, after: None };
    for (name, value) in entries(raw, "kill")? {
        match (name.as_str(), scalar(&value)) {
            ("at", Some(act)) => found.at = Some(act),
            ("after", Some(span)) => {
                found.after = Some(Span::parse(&span).map_err(|error| wrong(raw, "kill", format!("`kill`: {error}")))?);
            }
            _ => return Err(wrong(raw, "kill", format!("`kill` has no `{name}`, or it is no text")).hint(hint)),
        }
    }
    if found.at.is_none() && found.after.is_none() {
        return Err(wrong(raw, "kill", "`kill` says neither `at` nor `after`").hint(hint));
    }
    Ok(Some(found))
}

fn faults(raw: &RawScenario) -> Result<Vec<Rule>> {
    let value = match raw.fields.get("faults") {
        None => return Ok(Vec::new()),
        Some(Field::Value(value)) => value.clone().into_json(),
        Some(_) => return Err(wrong(raw, "faults", "`faults` must be a list of rules")),
    };
    crate::base::json::from_value(value).map_err(|error| wrong(raw, "faults", format!("`faults`: {error}")))
}
