//! Parameters: words and files in, typed values out. A scalar stays text until its declared type is known, so that `1.10` is
//! never 1.1.

use std::collections::BTreeMap;
use std::path::Path;

use crate::base::json::{Array, Value as Json};

use super::params_file::ParamFile;
use super::runbook::{ParamDecl, ParamType, Params, Runbook};
use super::source::Beside;
use crate::base::{Error, Image, Quantity, Result, Span, Typed, Value, Version, did_you_mean};
use crate::primitives::registry::list;

/// What was given for a run, before it is typed.
#[derive(Clone, Debug, Default)]
pub struct Given {
    /// The `name=value` words, in order.
    pub words: Vec<(String, String)>,
    /// The parameter file, when there is one. A word wins over it.
    pub file: Option<ParamFile>,
    /// Where manifests are looked for that are not in the working folder: beside the runbook, for runs in simulated clusters. A live
    /// run takes no sample for what the operator meant.
    pub beside: Option<Beside>,
}

impl Given {
    /// Splits `name=value` words.
    ///
    /// # Errors
    /// A word without `=`, without a name, or a name given twice.
    pub fn words(words: &[String]) -> Result<Given> {
        let mut given: Vec<(String, String)> = Vec::new();
        for word in words {
            let Some((name, value)) = word.split_once('=').filter(|(name, _)| !name.is_empty()) else {
                return Err(Error::usage(format!("`{word}` is no parameter")).hint("write `name=value`"));
            };
            if given.iter().any(|(earlier, _)| earlier == name) {
                return Err(Error::usage(format!("parameter `{name}` is given twice")));
            }
            given.push((name.to_owned(), value.to_owned()));
        }
        Ok(Given { words: given, ..Given::default() })
    }

    /// The manifests of a file beside the runbook, where the value names one and there is none in the working folder.
    fn found(&self, decl: &ParamDecl, value: Value) -> Result<Value> {
        let (Some(beside), ParamType::Manifests, Some(path)) = (&self.beside, decl.ty, value.as_text()) else { return Ok(value) };
        if Path::new(&path).exists() {
            return Ok(value);
        }
        match beside.read(&path)? {
            Some(text) => super::params_file::manifests_of(&beside.label(&path), &text),
            None => Ok(value),
        }
    }

    /// The names that words were given for.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.words.iter().map(|(name, _)| name.as_str())
    }

    /// What was given as a word.
    #[must_use]
    pub fn word(&self, name: &str) -> Option<&str> {
        self.words.iter().find(|(given, _)| given == name).map(|(_, value)| value.as_str())
    }
}

/// Matches a whole text against a Lua pattern; the script side knows how.
pub type Matcher<'a> = dyn FnMut(&str, &str) -> Result<bool> + 'a;

/// Types what was given by what the runbook declares, and fills in defaults. An optional parameter that is not given is `Nil`.
///
/// # Errors
/// Input errors: an unknown parameter (with the nearest known one), a missing one (with its meaning and an example), a value
/// that is not of the declared type (with what is wrong with it).
pub fn resolve(runbook: &Runbook, given: &Given, matches: &mut Matcher<'_>) -> Result<Params> {
    let decls = &runbook.params;
    let from_file = match &given.file {
        Some(file) => file.read(decls)?,
        None => BTreeMap::new(),
    };
    for name in given.words.iter().map(|(name, _)| name).chain(from_file.keys()) {
        if !decls.iter().any(|decl| decl.name == *name) {
            return Err(unknown(runbook, name));
        }
    }
    let mut params = Params::new();
    let mut missing: Vec<&ParamDecl> = Vec::new();
    for decl in decls {
        let word = given.words.iter().find(|(name, _)| *name == decl.name).map(|(_, text)| Value::from(text.clone()));
        let value = match word.or_else(|| from_file.get(&decl.name).cloned()) {
            Some(value) => typed(decl, given.found(decl, value)?, matches)?,
            None => match &decl.default {
                // A default that names a file is read like a word that does.
                Some(default) if decl.ty == ParamType::Manifests => typed(decl, given.found(decl, default.clone())?, matches)?,
                Some(default) => default.clone(),
                None => {
                    if decl.required() {
                        missing.push(decl);
                    }
                    Value::Nil
                }
            },
        };
        params.insert(decl.name.clone(), value);
    }
    if missing.is_empty() { Ok(params) } else { Err(needs(runbook, &missing)) }
}

/// A parameter that is given once more, as it was typed when the run began; `None` when it is not given. What stood in a parameter file, a
/// map or a list of tables, is given as JSON. That it fits its declaration was looked at then: whoever takes it compares it with what was
/// given.
///
/// # Errors
/// Input errors: a value that is not of its type, a file that cannot be read.
pub fn again(decl: &ParamDecl, given: &Given) -> Result<Option<Value>> {
    let Some(word) = given.word(&decl.name) else { return Ok(None) };
    let is_json = decl.ty == ParamType::Map || decl.ty == ParamType::List && word.trim_start().starts_with('[');
    let value = match serde_json::from_str::<Json>(word) {
        // What is wrong with it is not repeated: it holds a secret.
        Err(_) if decl.ty == ParamType::Map => {
            let wrong = Error::usage(format!("parameter `{}`: it is no JSON", decl.name));
            return Err(wrong.hint(format!("give the table of the parameter file as JSON: {}='{{\"key\": \"value\"}}'", decl.name)));
        }
        Ok(json) if is_json => Value::Json(json),
        _ => given.found(decl, Value::from(word.to_owned()))?,
    };
    typed(decl, value, &mut |_, _| Ok(true)).map(Some)
}

fn unknown(runbook: &Runbook, name: &str) -> Error {
    let names = || runbook.params.iter().map(|decl| decl.name.as_str());
    let error = Error::usage(format!("runbook `{}` has no parameter `{name}`", runbook.name));
    match did_you_mean(name, names()) {
        Some(near) => error.hint(format!("did you mean `{near}`?")),
        None if runbook.params.is_empty() => error.hint("it has no parameters"),
        None => error.hint(format!("its parameters are {}", list(names()))),
    }
}

fn needs(runbook: &Runbook, missing: &[&ParamDecl]) -> Error {
    let names = list(missing.iter().map(|decl| decl.name.as_str()));
    let noun = if missing.len() == 1 { "parameter" } else { "parameters" };
    let mut error = Error::usage(format!("runbook `{}` needs the {noun} {names}", runbook.name));
    for decl in missing {
        error = error.cause(format!("`{}` is {}: {}", decl.name, decl.ty.text(), decl.doc));
    }
    let examples: Vec<String> = missing.iter().map(|decl| format!("{}={}", decl.name, decl.example.as_deref().unwrap_or("…"))).collect();
    error.hint(format!("for example `{}`", examples.join(" ")))
}

/// Makes a value of the declared type and checks its bounds. Also used for the default that a file declares.
///
/// # Errors
/// An input error that names the parameter and says what is wrong with the value.
pub fn typed(decl: &ParamDecl, value: Value, matches: &mut Matcher<'_>) -> Result<Value> {
    let wrong = |fault: &str, error: Error| {
        let shown = match (&value, decl.ty) {
            (_, ParamType::Secret) => String::new(),
            (Value::Json(Json::String(text)), _) => format!(" `{text}`"),
            _ => String::new(),
        };
        let mut told = Error::usage(format!("parameter `{}`:{shown} {fault}", decl.name)).cause(error.message.clone());
        told.causes.extend(error.causes.iter().cloned());
        match (&error.hint, &decl.example) {
            (Some(hint), _) => told.hint(hint.clone()),
            (None, Some(example)) => told.hint(format!("for example `{}={example}`", decl.name)),
            (None, None) => told,
        }
    };
    let made = of_type(decl, &value).map_err(|error| wrong(&format!("is not {}", decl.ty.text()), error))?;
    bounds(decl, &made).map_err(|error| wrong("is out of bounds", error))?;
    if let (Some(pattern), Some(text)) = (&decl.pattern, made.as_text())
        && !matches(pattern, &text)?
    {
        return Err(wrong("does not have the right form", Error::usage(format!("it must match the pattern `{pattern}`"))));
    }
    Ok(made)
}

fn of_type(decl: &ParamDecl, value: &Value) -> Result<Value> {
    let text = || value.as_text().ok_or_else(|| Error::usage(format!("got {}", value.kind_name())));
    Ok(match decl.ty {
        ParamType::String | ParamType::Secret => Value::from(text()?),
        ParamType::Boolean => match value {
            Value::Json(Json::Bool(_)) => value.clone(),
            _ => Value::from(boolean(&text()?)?),
        },
        ParamType::Integer | ParamType::Number => match value {
            Value::Json(Json::Number(number)) => self::number(decl.ty, &number.to_string())?,
            _ => self::number(decl.ty, &text()?)?,
        },
        ParamType::Version => Value::Typed(Typed::Version(Version::parse(&text()?)?)),
        ParamType::Image => Value::Typed(Typed::Image(Image::parse(&text()?)?)),
        ParamType::Quantity => {
            let text = text()?;
            Value::Typed(Typed::Quantity(text.parse::<Quantity>().map_err(|error| Error::usage(error.to_string()))?))
        }
        ParamType::Duration => match value {
            Value::Json(Json::Number(seconds)) => Value::Typed(Typed::Duration(Span::from_secs_f64(seconds.as_f64().unwrap_or_default()))),
            _ => Value::Typed(Typed::Duration(duration(&text()?)?)),
        },
        ParamType::Choice => choice(decl, text()?)?,
        ParamType::List => items(value)?,
        ParamType::Map => match value {
            Value::Json(Json::Object(_)) | Value::Map(_) => value.clone(),
            _ => return Err(Error::usage(format!("got {}", value.kind_name())).hint("give it in a file: `--params FILE`")),
        },
        ParamType::Manifests => match value {
            Value::Json(Json::Array(_)) => value.clone(),
            _ => super::params_file::manifests(&text()?)?,
        },
    })
}

/// A number with units, or one of seconds.
fn duration(text: &str) -> Result<Span> {
    match text.parse::<f64>() {
        Ok(seconds) if text.starts_with(|first: char| first.is_ascii_digit()) && seconds.is_finite() => Ok(Span::from_secs_f64(seconds)),
        _ => Span::parse(text),
    }
}

fn boolean(text: &str) -> Result<bool> {
    match text {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(Error::usage("it is neither `true` nor `false`")),
    }
}

fn number(ty: ParamType, text: &str) -> Result<Value> {
    if ty == ParamType::Integer {
        let whole: i64 = text.parse().map_err(|_| Error::usage("it has something else than digits, or too many"))?;
        return Ok(Value::Json(whole.into()));
    }
    let number = text.parse::<f64>().ok().and_then(crate::base::json::Number::from_f64);
    number.map(|number| Value::Json(Json::Number(number))).ok_or_else(|| Error::usage("it is no finite decimal number"))
}

fn choice(decl: &ParamDecl, text: String) -> Result<Value> {
    if decl.choices.contains(&text) {
        return Ok(Value::from(text));
    }
    let choices = || decl.choices.iter().map(String::as_str);
    let error = Error::usage(format!("the choices are {}", list(choices())));
    Err(match did_you_mean(&text, choices()) {
        Some(near) => error.hint(format!("did you mean `{near}`?")),
        None => error,
    })
}

fn items(value: &Value) -> Result<Value> {
    match value {
        Value::Json(Json::Array(_)) | Value::List(_) => Ok(value.clone()),
        // `{}` of a scenario is an empty list too.
        Value::Json(Json::Object(map)) if map.is_empty() => Ok(Value::Json(Json::Array(Array::new()))),
        Value::Json(Json::String(text)) if text.is_empty() => Ok(Value::Json(Json::Array(Array::new()))),
        Value::Json(Json::String(text)) => Ok(Value::Json(Json::Array(text.split(',').map(|item| Json::from(item.trim())).collect()))),
        _ => Err(Error::usage(format!("got {}", value.kind_name()))),
    }
}

fn bounds(decl: &ParamDecl, value: &Value) -> Result<()> {
    let Value::Json(Json::Number(number)) = value else { return Ok(()) };
    let Some(number) = number.as_f64() else { return Ok(()) };
    if decl.min.is_some_and(|min| number < min) || decl.max.is_some_and(|max| number > max) {
        let bound = match (decl.min, decl.max) {
            (Some(min), Some(max)) => format!("from {min} to {max}"),
            (Some(min), None) => format!("at least {min}"),
            (None, Some(max)) => format!("at most {max}"),
            (None, None) => String::new(),
        };
        return Err(Error::usage(format!("it must be {bound}")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Place;
    use crate::run::runbook::Header;

    fn decl(name: &str, ty: ParamType) -> ParamDecl {
        ParamDecl {
            name: name.to_owned(),
            ty,
            doc: format!("The {name}."),
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

    fn runbook(params: Vec<ParamDecl>) -> Runbook {
        Runbook {
            name: "r".into(),
            header: Header::default(),
            params,
            checks: vec![],
            steps: vec![],
            groups: vec![],
            coverage: vec![],
            permissions: None,
        }
    }

    fn resolved(decls: Vec<ParamDecl>, words: &[&str]) -> Result<Params> {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        resolve(&runbook(decls), &Given::words(&words)?, &mut |pattern, text| Ok(pattern == text))
    }

    fn failed(decl: ParamDecl, word: &str) -> Error {
        resolved(vec![decl], &[word]).unwrap_err()
    }

    #[test]
    fn words_become_what_is_declared() {
        let decls = vec![
            decl("to", ParamType::Version),
            decl("n", ParamType::Integer),
            decl("on", ParamType::Boolean),
            decl("nodes", ParamType::List),
            decl("wait", ParamType::Duration),
            ParamDecl { optional: true, ..decl("extra", ParamType::String) },
            ParamDecl { default: Some(Value::from(true)), ..decl("deep", ParamType::Boolean) },
        ];
        let params = resolved(decls, &["to=1.10", "n=3", "on=false", "nodes=a, b", "wait=90s"]).unwrap();
        assert_eq!(params["to"].as_text().unwrap(), "1.10");
        assert_eq!(params["n"], Value::Json(3.into()));
        assert_eq!(params["on"], Value::from(false));
        assert_eq!(params["nodes"], Value::Json(crate::base::json::json!(["a", "b"])));
        assert_eq!(params["wait"], Value::Typed(Typed::Duration(Span::from_secs(90))));
        assert_eq!(params["extra"], Value::Nil);
        assert_eq!(params["deep"], Value::from(true));
    }

    #[test]
    fn what_is_wrong_is_said_with_what_would_be_right() {
        let near = failed(decl("image", ParamType::Image), "imgae=x:1");
        assert_eq!(near.hint.as_deref(), Some("did you mean `image`?"));
        let example = ParamDecl { example: Some("v1.2.3".into()), ..decl("to", ParamType::Version) };
        let missing = resolved(vec![example.clone(), decl("n", ParamType::Integer)], &[]).unwrap_err();
        assert_eq!(missing.message, "runbook `r` needs the parameters `to` and `n`");
        assert_eq!(missing.causes.len(), 2);
        assert_eq!(missing.hint.as_deref(), Some("for example `to=v1.2.3 n=…`"));
        let bad = failed(example, "to=latest");
        assert!(bad.message.contains("`latest` is not a version"), "{bad}");
        assert!(failed(decl("n", ParamType::Integer), "n=3.5").message.contains("whole number"));
        let bound = ParamDecl { min: Some(1.0), max: Some(5.0), ..decl("n", ParamType::Integer) };
        assert_eq!(failed(bound.clone(), "n=9").to_string(), "parameter `n`: `9` is out of bounds: it must be from 1 to 5");
        assert!(failed(bound, "n=x").to_string().starts_with("parameter `n`: `x` is not a whole number: "));
        let choice = ParamDecl { choices: vec!["fast".into(), "slow".into()], ..decl("pace", ParamType::Choice) };
        assert_eq!(failed(choice, "pace=fats").hint.as_deref(), Some("did you mean `fast`?"));
        assert!(failed(decl("m", ParamType::Map), "m=x").hint.as_deref().unwrap().contains("--params"));
        let pattern = ParamDecl { pattern: Some("ab".into()), ..decl("x", ParamType::String) };
        let form = failed(pattern, "x=cd").to_string();
        assert_eq!(form, "parameter `x`: `cd` does not have the right form: it must match the pattern `ab`");
    }

    #[test]
    fn a_duration_without_a_unit_is_in_seconds() {
        for (word, millis) in [("d=90", 90_000), ("d=1.5", 1_500), ("d=1m30s", 90_000), ("d=0", 0)] {
            let params = resolved(vec![decl("d", ParamType::Duration)], &[word]).unwrap();
            assert_eq!(params["d"], Value::Typed(Typed::Duration(Span::from_millis(millis))), "{word}");
        }
        for word in ["d=", "d=-1", "d=inf", "d=nan", "d=soon"] {
            assert!(resolved(vec![decl("d", ParamType::Duration)], &[word]).is_err(), "{word}");
        }
    }

    #[test]
    fn secrets_are_not_repeated_in_errors() {
        let secret = ParamDecl { pattern: Some("ab".into()), ..decl("key", ParamType::Secret) };
        assert!(!failed(secret, "key=hunter2").to_string().contains("hunter2"));
    }

    #[test]
    fn words_must_be_words() {
        assert!(Given::words(&["image".to_owned()]).is_err());
        assert!(Given::words(&["=x".to_owned()]).is_err());
        assert!(Given::words(&["a=1".to_owned(), "a=2".to_owned()]).is_err());
        assert_eq!(Given::words(&["a=b=c".to_owned()]).unwrap().words, [("a".to_owned(), "b=c".to_owned())]);
    }
}
