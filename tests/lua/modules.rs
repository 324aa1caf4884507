//! `require`: where modules are found, what they see, and what goes wrong.

use std::fs;

use lockgate::run::{Owner, Phase, Source};
use lockgate_sim::json::json;

use super::support::{Book, HEADER, engine};

/// A folder with a runbook and modules.
fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    folder
}

fn run_in(folder: &tempfile::TempDir, modules: Vec<std::path::PathBuf>) -> lockgate::base::Result<lockgate_sim::json::Value> {
    let mut book = Book::of(&engine(), Source::on_disk(folder.path())?);
    book.host = book.host.with_modules(modules);
    book.call(Owner::Step(0), Phase::Run, vec![]).map(|returned| returned.value(0).clone().into_json())
}

fn runbook(head: &str, body: &str) -> String {
    format!("{HEADER}{head}\nstep \"s\" {{ title = \"s\", run = function()\n{body}\nend }}")
}

#[test]
fn modules_are_found_beside_then_in_the_folders_and_loaded_once() {
    let own = folder(&[
        ("runbook.luau", &runbook("local a, b = require \"a\", require \"sub/b\"", "return { a.n, b.n, b.a == a, require \"shared\" }")),
        ("a.luau", "return { n = 1 }"),
        ("sub/b.lua", "return { n = 2, a = require \"a\" }"),
    ]);
    let shelf = folder(&[("shared.luau", "return \"from the shelf\""), ("a.luau", "return { n = 9 }")]);
    assert_eq!(run_in(&own, vec![shelf.path().to_path_buf()]).unwrap(), json!([1, 2, true, "from the shelf"]));
}

#[test]
fn a_module_sees_verbs_but_not_the_file_that_asks() {
    let own = folder(&[
        ("runbook.luau", &runbook("local secret = 1\nlocal m = require \"m\"", "return m.look()")),
        ("m.luau", "return { look = function() return exists(\"configmap/nasty\") end, peek = function() return secret end }"),
    ]);
    assert_eq!(run_in(&own, vec![]).unwrap(), json!(true));
    let own = folder(&[("runbook.luau", &runbook("require \"m\"", "")), ("m.luau", "step \"x\" { }\nreturn 1")]);
    let error = run_in(&own, vec![]).unwrap_err();
    assert_eq!(error.message, "there is no `step` here");
    let files: Vec<&str> = error.places.iter().map(|place| place.file.rsplit('/').next().unwrap()).collect();
    assert_eq!(files, ["m.luau", "runbook.luau"]);
}

#[test]
fn an_error_from_a_verb_in_a_module_names_module_and_caller() {
    let own = folder(&[
        ("runbook.luau", &runbook("local m = require \"m\"", "  return m.look(\"configmap/none\")")),
        ("m.luau", "local m = {}\n\nfunction m.look(ref)\n  return get(ref)\nend\n\nreturn m"),
    ]);
    let error = run_in(&own, vec![]).unwrap_err();
    let places: Vec<(String, u32)> =
        error.places.iter().map(|place| (place.file.rsplit('/').next().unwrap().to_owned(), place.line)).collect();
    assert_eq!(places, [("m.luau".to_owned(), 4), ("runbook.luau".to_owned(), 4)]);
    assert_eq!((error.places[0].column, error.places[0].source.as_deref()), (Some(10), Some("  return get(ref)")));
}

#[test]
fn what_is_wrong_with_a_module_is_said() {
    for (head, module, expected) in [
        ("require \"m\"", "local x = 1", "` must return one value"),
        ("require \"m\"", "return 1, 2", "` must return one value"),
        ("require \"m\"", "return require \"m\"", "module `m` requires itself"),
        ("require \"m\"", "return }", "syntax error: "),
        ("require \"m\"", "--- @requires lockgate >= 99.1\nreturn 1", "needs lockgate 99.1 or later"),
        ("require \"m\"", "x = 1\nreturn 1", "`x` is assigned as a global"),
        ("require \"none\"", "return 1", "there is no module `none`"),
        ("require \"../m\"", "return 1", "`../m` cannot be the name of a module"),
        ("require \"/etc/passwd\"", "return 1", "`/etc/passwd` cannot be the name of a module"),
        ("require \"m.luau\"", "return 1", "`m.luau` cannot be the name of a module"),
        ("require(3)", "return 1", "`require` needs the name of a module"),
    ] {
        let own = folder(&[("runbook.luau", &runbook(head, "")), ("m.luau", module)]);
        let error = run_in(&own, vec![]).unwrap_err();
        assert!(error.to_string().contains(expected), "{head} / {module}: {error}");
        assert!(!error.places.is_empty(), "{error}");
    }
}

#[test]
fn modules_start_anew_with_every_load() {
    let own = folder(&[("runbook.luau", &runbook("local m = require \"m\"", "m.n += 1; return m.n")), ("m.luau", "return { n = 0 }")]);
    let mut book = Book::of(&engine(), Source::on_disk(own.path()).unwrap());
    for _ in 0..2 {
        assert_eq!(book.call(Owner::Step(0), Phase::Run, vec![]).unwrap().value(0).clone().into_json(), json!(1));
    }
}
