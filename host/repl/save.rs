//! `:save FILE`: the pending calls as a runbook, a step each, which does the same in a run of its own.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;

use super::pending::{Made, PART};
use crate::base::json::Value as Json;
use crate::base::{Error, ObjectRef, Result};
use crate::primitives::{self, Definition};

/// Writes the calls to a new file.
///
/// # Errors
/// Nothing is pending; a call cannot be written down, with the reason; the file is there already or cannot be written.
pub(super) fn save(calls: &[Made], file: &Path) -> Result<()> {
    let text = runbook(calls)?;
    let cannot = |error: std::io::Error| {
        let told = Error::usage(format!("cannot write `{}`", file.display()));
        match error.kind() {
            std::io::ErrorKind::AlreadyExists => told.cause("there is such a file").hint("name another one: nothing is overwritten"),
            _ => told.cause(error.to_string()),
        }
    };
    let mut out = std::fs::OpenOptions::new().write(true).create_new(true).open(file).map_err(cannot)?;
    out.write_all(text.as_bytes()).map_err(cannot)
}

/// The text of the runbook.
fn runbook(calls: &[Made]) -> Result<String> {
    let Some(first) = calls.first() else {
        return Err(Error::usage("nothing is pending: there is nothing to save").hint("`:plan` shows what is"));
    };
    let namespaced = |made: &&Made| written(made).is_ok_and(|(_, depends)| depends);
    let namespaces: Vec<&str> = calls.iter().filter(namespaced).map(|made| made.namespace.as_str()).collect();
    let namespace = namespaces.first().copied().unwrap_or(first.namespace.as_str());
    if let Some(other) = namespaces.iter().find(|other| **other != namespace) {
        return Err(Error::usage(format!("the calls speak of objects in `{namespace}` and in `{other}` without saying so"))
            .hint("a runbook has one namespace: write the others into the references, as in \"deployment/shop/web\""));
    }
    let mut text = String::from("--- What was tried at the prompt of lockgate, as it was typed: a step each. Read it before it is run.\n");
    let count = primitives::registry::plural(calls.len(), "call");
    text.push_str("runbook {\n  title = \"Saved at the prompt\",\n");
    let lines = [
        format!("  summary = {},\n", quoted(&format!("Makes {count} that were tried on a copy of a cluster."))),
        "  impact = \"outage\",\n".to_owned(),
        format!("  namespace = {},\n}}\n", quoted(namespace)),
    ];
    lines.iter().for_each(|line| text.push_str(line));
    let mut ids: Vec<String> = Vec::new();
    for made in calls {
        let (call, _) = written(made)?;
        let base = made.call.verb.replace(['_', '.'], "-");
        let same =
            ids.iter().filter(|id| **id == base || id.strip_prefix(&format!("{base}-")).is_some_and(|rest| rest.parse::<usize>().is_ok()));
        let id = match same.count() {
            0 => base,
            earlier => format!("{base}-{}", earlier + 1),
        };
        let title = format!("{} {}", made.call.verb.replace(['_', '.'], " "), made.call.target(&made.namespace));
        // Writing to a string cannot fail.
        write!(text, "\nstep {} {{\n  title = {},\n  run = function()\n    {call}\n  end,\n}}\n", quoted(&id), quoted(title.trim()))
            .unwrap_or_default();
        ids.push(id);
    }
    Ok(text)
}

/// A call as Luau, and whether it depends on the namespace of the prompt.
fn written(made: &Made) -> Result<(String, bool)> {
    let cannot = |why: &str| Err(Error::usage(format!("`{}` cannot be saved", made.title())).cause(why.to_owned()));
    if made.call.verb == PART {
        return cannot("it is a step of a runbook that is there already").map_err(|error| error.hint("run that runbook: `lockgate run`"));
    }
    let Some(verb) = primitives::find(&made.call.verb) else { return cannot("there is no such verb") };
    if made.error.is_some() {
        return cannot("it failed after it had written").map_err(|error| error.hint("`:undo` goes back to the last `:fork`"));
    }
    let mut depends = false;
    let mut arguments = Vec::new();
    for (place, argument) in made.call.arguments.iter().enumerate() {
        if holds_secret(argument) {
            return cannot("it holds a Secret")
                .map_err(|error| error.hint("write the runbook by hand, with a parameter of the type \"secret\""));
        }
        depends |= argument.as_str().is_some_and(|text| ObjectRef::parse(text).is_ok_and(|object| object.namespace.is_none()));
        // What a manifest does not say is the prompt's.
        depends |= place == 0 && !is_reference(verb, place) && argument.pointer("/metadata/namespace").is_none();
        if is_reference(verb, place) && argument.is_object() {
            // An object that was read: what is meant is which one, not what it was.
            if made.call.verb == "update" {
                return cannot("it sends an object that was read before").map_err(|error| error.hint("`patch` says what is to change"));
            }
            arguments.push(quoted(&made.call.target("")));
            continue;
        }
        arguments.push(match literal(argument, 2) {
            Some(text) => text,
            None => {
                return cannot("a function cannot be written down")
                    .map_err(|error| error.hint("write the runbook by hand: `lockgate new` begins one"));
            }
        });
    }
    if !made.call.options.is_null() {
        match literal(&made.call.options, 2) {
            Some(text) => arguments.push(text),
            None => {
                return cannot("one of its options is a function, or null")
                    .map_err(|error| error.hint("write the runbook by hand: `lockgate new` begins one"));
            }
        }
    }
    Ok((format!("{}({})", made.call.verb, arguments.join(", ")), depends))
}

/// Whether what stands there says which object is meant.
fn is_reference(verb: &Definition, place: usize) -> bool {
    place == 0 && verb.name != "apply" && verb.name != "create"
}

/// Whether it is a manifest of a Secret, as a table or as text.
fn holds_secret(argument: &Json) -> bool {
    match argument {
        Json::Object(fields) => fields.get("kind") == Some(&Json::from("Secret")) || fields.values().any(holds_secret),
        Json::Array(items) => items.iter().any(holds_secret),
        Json::String(text) => text.lines().any(|line| line.trim_end() == "kind: Secret"),
        _ => false,
    }
}

/// A value as Luau; none of what is null, which may have been a function.
fn literal(value: &Json, depth: usize) -> Option<String> {
    let indent = "  ".repeat(depth + 1);
    let all = |parts: Vec<String>, open: &str, empty: &str| {
        let one_line = format!("{open} {} }}", parts.join(", "));
        match parts.is_empty() {
            true => empty.to_owned(),
            false if one_line.len() <= 80 && !one_line.contains('\n') => one_line,
            false => format!("{open}\n{indent}{},\n{}}}", parts.join(&format!(",\n{indent}")), "  ".repeat(depth)),
        }
    };
    Some(match value {
        Json::Null => return None,
        Json::Bool(flag) => flag.to_string(),
        Json::Number(number) => number.to_string(),
        Json::String(text) => quoted(text),
        Json::Array(items) => {
            let items = items.iter().map(|item| literal(item, depth + 1)).collect::<Option<Vec<_>>>()?;
            all(items, "{", "array {}")
        }
        Json::Object(fields) => {
            let field = |(name, value): (&_, &Json)| {
                let name: &str = AsRef::<str>::as_ref(name);
                let key = if is_name(name) { name.to_owned() } else { format!("[{}]", quoted(name)) };
                Some(format!("{key} = {}", literal(value, depth + 1)?))
            };
            let fields = fields.iter().map(field).collect::<Option<Vec<_>>>()?;
            all(fields, "{", "{}")
        }
    })
}

/// Whether it can stand as a field of a table.
fn is_name(text: &str) -> bool {
    const WORDS: [&str; 22] = [
        "and", "break", "continue", "do", "else", "elseif", "end", "false", "for", "function", "if", "in", "local", "nil", "not", "or",
        "repeat", "return", "then", "true", "until", "while",
    ];
    let begins = |letter: char| letter.is_ascii_alphabetic() || letter == '_';
    text.starts_with(begins) && text.chars().all(|letter| begins(letter) || letter.is_ascii_digit()) && !WORDS.contains(&text)
}

/// A text as Luau.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for letter in text.chars() {
        match letter {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            control if control.is_control() => {
                let _ = write!(out, "\\u{{{:x}}}", u32::from(control));
            }
            other => out.push(other),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::json::json;

    #[test]
    fn values_are_written_as_luau_reads_them() {
        let written = |value: Json| literal(&value, 0).unwrap();
        assert_eq!(
            written(json!({ "a": 1, "end": [true, "x\"y\n"], "b c": {} })),
            "{ a = 1, [\"b c\"] = {}, [\"end\"] = { true, \"x\\\"y\\n\" } }"
        );
        assert_eq!(written(json!([])), "array {}");
        assert_eq!(written(json!("\u{1b}[31m")), "\"\\u{1b}[31m\"");
        assert_eq!(literal(&json!({ "a": null }), 0), None);
        assert!(
            holds_secret(&json!([{ "kind": "Secret" }])) && holds_secret(&json!("a: b\nkind: Secret\n")) && !holds_secret(&json!("Secret"))
        );
    }
}
