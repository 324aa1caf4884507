//! `runbook`, `param`, `check`, `step`, `coverage`: what they give, and what is wrong with them.

use lockgate::base::{Typed, Value};
use lockgate::lua::declarations::{Field, WORDS, Word};
use lockgate::run::runbook::{At, CoveredBy, Impact, ParamType, Title};
use lockgate::run::{Owner, Phase, Script};
use lockgate_sim::json::json;

use super::support::{Book, HEADER, engine, load_error};

const WHOLE: &str = r#"--- @requires lockgate >= 0.1
runbook {
  title = "T", summary = "S.", impact = "restarts", source = "doc", namespace = "kube-system",
  versions = "1.x", duration = "10 min", labels = { team = "net" },
}
param "image" { type = "image", doc = "The image.", example = "r.example/a:v1" }
param "to" { type = "version", doc = "To.", default = "v1.9.4" }
param "mode" { type = "choice", doc = "How.", choices = { "fast", "slow" }, default = "slow" }
param "count" { type = "integer", doc = "How many.", default = 3, min = 1, max = 5, optional = true }
check "health" { title = "It is healthy", at = "always", run = function() end, when = function() return true end }
check "second" { title = "Second", run = function() end }
step "ipam" {
  title = function() return "dynamic" end,
  run = function() return 1 end, verify = function() return 2 end, recover = function() return "again" end,
  when = function() return true, "why" end, irreversible = "no way back",
}
coverage "002" { ["12-14"] = "step ipam recover", ["3"] = waived "a heading" }
"#;

#[test]
fn a_whole_file_becomes_plain_data() {
    let book = Book::on(&engine(), WHOLE).host.load().unwrap();
    assert_eq!((book.name.as_str(), book.header.impact, book.header.namespace.as_deref()), ("book", Impact::Restarts, Some("kube-system")));
    assert_eq!(book.header.labels["team"], "net");
    let types: Vec<ParamType> = book.params.iter().map(|param| param.ty).collect();
    assert_eq!(types, [ParamType::Image, ParamType::Version, ParamType::Choice, ParamType::Integer]);
    assert_eq!(book.params[1].default, Some(Value::Typed(Typed::Version("v1.9.4".parse().unwrap()))));
    assert!(book.params[0].required() && !book.params[1].required());
    assert_eq!((book.params[3].min, book.params[3].max), (Some(1.0), Some(5.0)));
    assert_eq!((book.checks[0].at, book.checks[0].has_when, book.checks[1].at), (At::Always, true, At::Start));
    let step = &book.steps[0];
    assert_eq!((&step.title, step.has_verify, step.has_recover, step.has_when), (&Title::Function, true, true, true));
    assert_eq!(step.irreversible.as_deref(), Some("no way back"));
    assert_eq!((step.place.line, step.place.column), (12, Some(1)));
    let coverage = &book.coverage[0];
    assert_eq!((coverage.document.as_str(), coverage.entries[0].from, coverage.entries[1].to), ("002", 3, 14));
    assert_eq!(coverage.entries[0].by, CoveredBy::Waived("a heading".into()));
    assert_eq!(coverage.entries[1].by, CoveredBy::Part("step ipam recover".into()));
}

#[test]
fn every_function_can_be_called_by_its_place() {
    let mut book = Book::on(&engine(), WHOLE);
    for (phase, expected) in
        [(Phase::Run, json!(1)), (Phase::Verify, json!(2)), (Phase::Recover, json!("again")), (Phase::Title, json!("dynamic"))]
    {
        let returned = book.call(Owner::Step(0), phase, vec![]).unwrap();
        assert_eq!(returned.value(0).clone().into_json(), expected, "{phase:?}");
    }
    let when = book.call(Owner::Step(0), Phase::When, vec![]).unwrap();
    assert_eq!((when.value(0).clone().into_json(), when.value(1).clone().into_json()), (json!(true), json!("why")));
    assert_eq!(when.value(2), &Value::Nil);
}

#[test]
fn not_needed_belongs_to_checks() {
    let text = format!(
        "{HEADER}check \"c\" {{ title = \"c\", run = function() not_needed(`all run {{version(\"1.2\")}}`) end }}\nstep \"s\" {{ title = \"s\", run = function() not_needed(\"x\") end }}"
    );
    let mut book = Book::on(&engine(), &text);
    let returned = book.call(Owner::Check(0), Phase::Check, vec![]).unwrap();
    assert_eq!(returned.not_needed.as_deref(), Some("all run 1.2"));
    let error = book.call(Owner::Step(0), Phase::Run, vec![]).unwrap_err();
    assert_eq!(error.message, "`not_needed` is called outside of a check");
}

/// Text after the header, what is said, the hint, and the line it points at.
const WRONG: &[(&str, &str, &str, u32)] = &[
    ("step \"x\"\nlocal y = 1", "`step \"x\"` has no body", "write `step \"x\" { … }`", 2),
    ("step { title = \"x\" }", "`step` needs a name first", "write `step \"name\" { … }`", 2),
    ("step \"x\" \"y\"", "`step` takes a table in braces, got string", "write `step \"name\" { … }`", 2),
    ("step \"X y\" { }", "`X y` cannot be the name of a step", "names have small letters, digits, `-` and `_`", 2),
    ("param \"a-b\" { }", "`a-b` cannot be the name of a param", "names have small letters, digits and `_`", 2),
    ("step \"x\" { title = \"t\" }", "`step \"x\"` has no `run`", "write `run = function() … end`", 2),
    (
        "step \"x\" {\n  title = \"t\",\n  run = 3,\n}",
        "`step \"x\"`: `run` must be a function, got a number",
        "write `run = function() … end`",
        4,
    ),
    ("step \"x\" { run = function() end }", "`step \"x\"` has no `title`", "", 2),
    ("step \"x\" {\n  titel = \"t\",\n}", "`step \"x\"` has no field `titel`", "did you mean `title`?", 3),
    (
        "step \"x\" { title = \"t\", run = print, each = { \"a\" }, batch = { serial = 0 } }",
        "`step \"x\"`: `batch` is wrong: `serial` must be a whole number from 1, or a share such as \"10%\", got `0`",
        "",
        2,
    ),
    (
        "check \"x\" { title = \"t\", run = print, at = \"begin\" }",
        "`check \"x\"`: `at` must be one of `start` and `always`, got `begin`",
        "",
        2,
    ),
    (
        "check \"x\" { title = \"t\", run = print }\ncheck \"x\" { title = \"t\", run = print }",
        "`check \"x\"` is declared twice",
        "it is declared in line 2 already",
        3,
    ),
    ("param \"x\" { type = \"imge\", doc = \"d\" }", "`param \"x\"`: `type` must be one of", "did you mean `image`?", 2),
    ("param \"x\" { type = \"image\" }", "`param \"x\"` has no `doc`", "", 2),
    ("param \"x\" { type = \"integer\", doc = \"d\", default = \"3\" }", "`param \"x\"`: `default` must be a whole number, got `3`", "", 2),
    (
        "param \"x\" { type = \"integer\", doc = \"d\", default = 1.5 }",
        "`param \"x\"`: `default` must be a whole number, got a number",
        "",
        2,
    ),
    ("param \"x\" { type = \"version\", doc = \"d\", default = \"one\" }", "`param \"x\"`: `default` must be a version", "", 2),
    ("param \"x\" { type = \"choice\", doc = \"d\" }", "`param \"x\"`: `choices` has no `choices`", "", 2),
    (
        "param \"x\" { type = \"choice\", doc = \"d\", choices = { \"a\" }, default = \"b\" }",
        "`param \"x\"`: `default` must be one of its choices, got `b`",
        "",
        2,
    ),
    (
        "param \"x\" { type = \"string\", doc = \"d\", optional = \"yes\" }",
        "`param \"x\"`: `optional` must be true or false, got a string",
        "",
        2,
    ),
    (
        "runbook { title = \"T\", summary = \"S.\", impact = \"none\" }",
        "`runbook` is declared twice",
        "it is declared in line 1 already",
        2,
    ),
    (
        "coverage \"002\" { [\"x\"] = \"step a\" }",
        "`coverage \"002\"`: `x` is no line and no range of lines",
        "write `\"12\"` or `\"12-14\"`",
        2,
    ),
    (
        "coverage \"002\" { [\"9-3\"] = \"step a\" }",
        "`coverage \"002\"`: `9-3` is no line and no range of lines",
        "write `\"12\"` or `\"12-14\"`",
        2,
    ),
    ("coverage \"002\" { [\"9\"] = waived \" \" }", "`coverage \"002\"`: `9` is waived without a reason", "", 2),
    ("group \"g\" { }", "`group \"g\"` has no `title`", "", 2),
];

#[test]
fn what_is_wrong_is_said_and_pointed_at() {
    for (text, message, hint, line) in WRONG {
        let error = load_error(&format!("{HEADER}{text}"));
        assert!(error.message.starts_with(message), "{text}\n{}", error.message);
        if !hint.is_empty() {
            assert_eq!(error.hint.as_deref(), Some(*hint), "{text}");
        }
        let place = error.places.first().unwrap_or_else(|| panic!("no place: {text}"));
        assert_eq!((place.file.as_str(), place.line), ("book.luau", *line), "{text}");
        assert!(place.source.is_some() && place.column.is_some(), "{text}: {place:?}");
    }
}

#[test]
fn a_header_is_needed_and_whole() {
    assert_eq!(load_error("local x = 1").message, "`book.luau` declares no `runbook`");
    assert_eq!(load_error("runbook { title = \"T\", summary = \"S.\" }").message, "`runbook` has no `impact`");
    let impact = load_error("runbook { title = \"T\", summary = \"S.\", impact = \"restart\" }");
    assert_eq!(impact.hint.as_deref(), Some("did you mean `restarts`?"));
    let word = load_error("runbook \"x\"");
    assert_eq!(word.message, "`runbook` takes a table in braces, got string");
}

#[test]
fn a_later_lockgate_is_asked_for_before_anything_runs() {
    let error = load_error("--- @requires lockgate >= 99.0\nthis is no Luau");
    assert!(error.message.starts_with("`book.luau` needs lockgate 99.0 or later"), "{error}");
}

#[test]
fn a_load_of_sixty_lines_is_cheap_in_memory() {
    let engine = engine();
    let mut book = Book::on(&engine, WHOLE);
    book.host.load().unwrap();
    let before = engine.memory();
    for _ in 0..2_000 {
        book.host.load().unwrap();
    }
    assert!(engine.memory() < before + (4 << 20), "{} → {}", before, engine.memory());
}

/// The table that the reference and the editor's types are made of says what the loader does, field by field: what is required,
/// what may be left out, and that each is read.
#[test]
fn the_reference_and_the_loader_agree_about_every_field() {
    let load = |word: &Word, fields: &[(&str, &str)]| {
        let table: String = fields.iter().map(|(name, value)| format!("{name} = {value}, ")).collect();
        let header = if word.name == "runbook" { "" } else { HEADER };
        let id = if word.id { " \"x\"" } else { "" };
        Book::on(&engine(), &format!("{header}{}{id} {{ {table} }}", word.name)).host.load().map(drop)
    };
    for word in WORDS.iter().filter(|word| !word.fields.is_empty()) {
        let required: Vec<(&str, &str)> =
            word.fields.iter().filter(|field| field.required).map(|field| (field.name, good(field))).collect();
        load(word, &required).unwrap_or_else(|error| panic!("{} with what is required only: {error}", word.name));
        for field in word.fields.iter().filter(|field| !field.name.starts_with('[')) {
            let others = required.iter().filter(|(name, _)| *name != field.name).copied().collect::<Vec<_>>();
            let with = |value: &'static str| {
                let mut fields = others.clone();
                if field.name == "choices" {
                    fields.retain(|(name, _)| *name != "type");
                    fields.push(("type", "\"choice\""));
                }
                if field.name == "batch" {
                    fields.retain(|(name, _)| *name != "each");
                    fields.push(("each", "{ \"a\" }"));
                }
                fields.push((field.name, value));
                load(word, &fields)
            };
            with(good(field)).unwrap_or_else(|error| panic!("{}.{}: {error}", word.name, field.name));
            if field.required {
                let error = load(word, &others).unwrap_err();
                assert!(error.message.ends_with(&format!("has no `{}`", field.name)), "{}.{}: {error}", word.name, field.name);
            }
            if field.luau != "any" {
                let error = with("coroutine.create(function() end)").unwrap_err();
                assert!(error.message.contains(&format!("`{}` must be", field.name)), "{}.{}: {error}", word.name, field.name);
            }
        }
    }
}

/// A value of a field's type.
fn good(field: &Field) -> &'static str {
    match field.luau {
        "string" | "any" | "string | () -> string" => "\"x\"",
        "number" => "1",
        "boolean" => "true",
        "{ string }" => "{ \"x\" }",
        "{ charts: { string } }" => "{ charts = { \"web\" } }",
        "{ { string } }" => "{ { \"kubeadm\" } }",
        limits if limits.starts_with("{ nodes: number?") => "{ nodes = 1 }",
        "{ any }" => "{ step \"s\" { title = \"t\", run = print } }",
        "{ [string]: string }" => "{ x = \"y\" }",
        function if function.contains("->") => "function() end",
        // The first of some words.
        union => union.split(" | ").next().unwrap(),
    }
}
