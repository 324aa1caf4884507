//! Verbs as scripts call them: where they may be called, arguments, results, and functions that verbs call.

use lockgate::base::{Kind, Reason};
use lockgate::cluster::Access;
use lockgate::run::{Owner, Phase, Script};
use lockgate_sim::json::json;

use super::support::{Book, HEADER, engine, error, load_error, nasty, value};

#[test]
fn a_verb_gives_an_object_and_update_sends_the_difference() {
    let text = format!(
        "{HEADER}step \"s\" {{ title = \"s\", run = function()\nlocal o = get(\"configmap/nasty\")\no.data.percent = \"30%\"\nreturn o, update(o)\nend }}"
    );
    let mut book = Book::on(&engine(), &text);
    let returned = book.call(Owner::Step(0), Phase::Run, vec![]).unwrap();
    let object = returned.values[0].clone().into_json();
    assert_eq!(object["data"], json!({ "8080": "web", "percent": "30%" }));
    let patched: Vec<_> = book.cluster.requests().into_iter().filter(|request| request.verb.to_string() == "patch").collect();
    assert_eq!(patched.len(), 1);
    assert_eq!(nasty()["data"]["percent"], "25%");
}

#[test]
fn a_verb_at_load_time_is_an_error() {
    let error = load_error(&format!("{HEADER}local o = get(\"configmap/nasty\")"));
    assert_eq!(error.message, "`get` is called while the file loads");
    assert_eq!((error.places[0].line, error.places[0].column, error.places[0].length), (2, Some(11), Some(3)));
    assert!(load_error(&format!("{HEADER}print(\"x\")")).message.starts_with("`print` is called while"));
}

#[test]
fn a_write_is_refused_where_only_reading_is_allowed() {
    let call = "scale(\"deployment/x\", 1)";
    let text = format!(
        "{HEADER}check \"c\" {{ title = \"c\", run = function() {call} end, when = function() {call} end }}
step \"s\" {{ title = function() {call} end, run = function() {call} end, verify = function() {call} end, when = function() confirm(\"?\") end }}"
    );
    let mut book = Book::on(&engine(), &text);
    for (owner, phase, expected) in [
        (Owner::Check(0), Phase::Check, "`scale` writes, and is called in a check"),
        (Owner::Check(0), Phase::When, "`scale` writes, and is called in `when`"),
        (Owner::Step(0), Phase::Verify, "`scale` writes, and is called in `verify`"),
        (Owner::Step(0), Phase::Title, "`scale` writes, and is called in a title"),
        (Owner::Step(0), Phase::When, "`confirm` asks the operator, and is called in `when`"),
    ] {
        let error = book.call(owner, phase, vec![]).unwrap_err();
        assert_eq!((error.message.as_str(), error.reason), (expected, Reason::Refused));
        assert_eq!(book.cluster.access(), Access::ReadOnly);
    }
    let error = book.call(Owner::Step(0), Phase::Run, vec![]).unwrap_err();
    assert_eq!(error.reason, Reason::NotFound, "in `run` it is made: {error}");
    assert_eq!(book.cluster.access(), Access::ReadWrite);
    assert_eq!(book.ears.calls.borrow().len(), 1);
}

#[test]
fn wrong_arguments_are_named_and_are_the_runbooks_fault() {
    for (call, message, hint) in [
        ("get()", "`get`: argument `ref`", ""),
        ("get(\"configmap/x\", { missing = true })", "`get` has no option `missing`", "did you mean `missing_ok`?"),
        ("get(\"configmap/x\", { missing_ok = 3 })", "`get`: option `missing_ok` must be true or false, got a number", ""),
        (
            "get(\"configmap/x\", \"kube-system\")",
            "`get`: the options must be a table, got a string",
            "options stand last: `get(…, { timeout = \"5m\" })`",
        ),
        ("get(\"configmap/x\", { 1 })", "`get`: the options must have names: `{ name = value }`", ""),
        ("get(\"configmap/x\", {}, 3)", "`get` takes", ""),
        ("scale(\"deployment/x\", { print })", "`scale`: argument `replicas` holds a function at `[1]`", ""),
    ] {
        let error = error(call);
        if !error.message.starts_with("`get`: argument") {
            assert!(error.message.starts_with(message), "{call}: {}", error.message);
        }
        assert_eq!((error.kind, error.reason), (Kind::Runbook, Reason::Usage), "{call}");
        if !hint.is_empty() {
            assert_eq!(error.hint.as_deref(), Some(hint), "{call}");
        }
        assert_eq!((error.places[0].line, error.places[0].column), (3, Some(1)), "{call}");
    }
}

#[test]
fn an_error_of_a_verb_can_be_caught_and_branched_on() {
    let seen = value(
        "local ok, err = pcall(get, \"configmap/none\")
         return { ok, err.reason, err.kind, get(\"configmap/none\", { missing_ok = true }) == nil }",
    );
    assert_eq!(seen, json!([false, "not_found", "cluster", true]));
}

#[test]
fn verbs_work_in_coroutines_comparators_and_callbacks() {
    let seen = value(
        "local name = function() return get(\"configmap/nasty\").metadata.name end
         local wrapped = coroutine.wrap(function() coroutine.yield(name()); return name() end)
         local sorted = { 2, 1 }
         table.sort(sorted, function(a, b) name(); return a < b end)
         local meta = setmetatable({}, { __index = function() return name() end })
         return { wrapped(), wrapped(), sorted[1], ((\"x\"):gsub(\"x\", name)), meta.anything }",
    );
    assert_eq!(seen, json!(["nasty", "nasty", 1, "nasty", "nasty"]));
}

#[test]
fn a_function_that_a_verb_calls_may_call_verbs() {
    let seen = value(
        "local calls = 0
         local o = wait_for(\"configmap/nasty\", function(object)
           calls += 1
           local again = get(\"configmap/nasty\")
           return again.metadata.uid == object.metadata.uid, `call {calls}`
         end, { timeout = \"1m\" })
         return { o.metadata.name, calls }",
    );
    assert_eq!(seen, json!(["nasty", 1]));
    let error = error("wait_for(\"configmap/nasty\", function()\n  return nothing.there\nend)");
    assert_eq!(error.message, "nothing is called `nothing`");
    assert_eq!(error.places[0].line, 4);
}

#[test]
fn calls_are_told_with_their_places() {
    let text = format!(
        "{HEADER}local function look()\n  return exists(\"configmap/nasty\")\nend\nstep \"s\" {{ title = \"s\", run = function()\n  return look()\nend }}"
    );
    let mut book = Book::on(&engine(), &text);
    assert_eq!(book.call(Owner::Step(0), Phase::Run, vec![]).unwrap().value(0).clone().into_json(), json!(true));
    let calls = book.ears.calls.borrow();
    assert_eq!((calls[0].verb.as_str(), &calls[0].arguments, &calls[0].options), ("exists", &vec![json!("configmap/nasty")], &json!(null)));
    let lines: Vec<u32> = calls[0].places.iter().map(|place| place.line).collect();
    assert_eq!(lines, [3, 6]);
    assert_eq!(calls[0].places[0].column, Some(10));
}

#[test]
fn print_is_a_note() {
    let text = format!("{HEADER}step \"s\" {{ title = \"s\", run = function() print(\"at\", version(\"1.2\"), nil, {{}}) end }}");
    let mut book = Book::on(&engine(), &text);
    book.call(Owner::Step(0), Phase::Run, vec![]).unwrap();
    assert_eq!(*book.ears.notes.borrow(), ["at\t1.2\tnil\ttable"]);
}

#[test]
fn ctrl_c_ends_a_script_at_the_next_turn_and_is_not_caught() {
    let text =
        format!("{HEADER}step \"s\" {{ title = \"s\", run = function() while true do pcall(function() while true do end end) end end }}");
    let mut book = Book::on(&engine(), &text);
    book.cluster.cancel().press();
    let error = book.call(Owner::Step(0), Phase::Run, vec![]).unwrap_err();
    assert_eq!((error.kind, error.reason), (Kind::Cancelled, Reason::Interrupted));
    book.cluster.cancel().reset();
    let text = format!("{HEADER}step \"s\" {{ title = \"s\", run = function() return 1 end }}");
    assert!(Book::on(&engine(), &text).call(Owner::Step(0), Phase::Run, vec![]).is_ok());
    assert!(book.host.load().is_ok());
}

#[test]
fn every_word_of_the_table_that_has_no_function_is_a_word_of_the_language() {
    for definition in lockgate::primitives::ALL {
        if definition.call.is_none() {
            assert!(
                lockgate::lua::WORDS.contains(&definition.name) || definition.name == "print",
                "`{}` is not implemented",
                definition.name
            );
        }
        let there = value(&format!("return {} ~= nil", definition.name));
        assert_eq!(there, json!(true), "{}", definition.name);
    }
}
