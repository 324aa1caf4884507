//! What errors look like to scripts and to people.

use lockgate::base::{Kind, Reason};
use lockgate::run::{Owner, Phase};
use lockgate_sim::json::json;

use super::support::{Book, HEADER, engine, error, load_error, value};

#[test]
fn a_caught_error_is_a_table_with_a_reason() {
    let seen = value(
        "local ok, err = pcall(function() ensure(false, \"too old\", { reason = \"skew\" }) end)
         local _, fault = pcall(function() local t = nil; return t.x end)
         local _, text = pcall(error, \"plain\")
         local _, own = pcall(error, { reason = \"quota\", extra = 1 })
         local resumed, inside = coroutine.resume(coroutine.create(function() error(\"deep\") end))
         return { ok, err.kind, err.reason, err.message, tostring(err), fault.reason, fault.message, text.message, text.reason,
                  own.reason, own.extra, resumed, inside.message }",
    );
    assert_eq!(
        seen,
        json!([
            false,
            "refused",
            "skew",
            "too old",
            "too old",
            "usage",
            "attempt to index nil with 'x'",
            "plain",
            "check_failed",
            "quota",
            1,
            false,
            "deep"
        ])
    );
}

#[test]
fn an_error_table_can_be_raised_again_and_keeps_its_place() {
    let error = error("local function inner()\n  error(\"first\")\nend\nlocal ok, err = pcall(inner)\nerror(err)");
    assert_eq!((error.message.as_str(), error.reason), ("first", Reason::CheckFailed));
    assert_eq!(error.places[0].line, 4);
    assert_eq!(error.places[0].function.as_deref(), Some("inner"));
}

#[test]
fn a_table_of_ones_own_becomes_an_error_too() {
    let error = error(
        "error({ reason = \"quota\", message = \"no room\", hint = \"ask for more\", object = \"namespace/shop\", details = { n = 1 } })",
    );
    assert_eq!((error.kind, error.reason, error.message.as_str()), (Kind::Runbook, Reason::Quota, "no room"));
    assert_eq!((error.hint.as_deref(), error.object.as_deref()), (Some("ask for more"), Some("namespace/shop")));
    assert_eq!(error.details, json!({ "n": 1 }));
    assert_eq!(error.places[0].line, 3);
}

#[test]
fn error_and_assert_name_their_callers() {
    let text = format!(
        "{HEADER}local function need(x)\n  assert(x, \"x is needed\")\nend\nstep \"s\" {{ title = \"s\", run = function()\n  need(nil)\nend }}"
    );
    let error = Book::on(&engine(), &text).call(Owner::Step(0), Phase::Run, vec![]).unwrap_err();
    assert_eq!(error.message, "x is needed");
    let lines: Vec<u32> = error.places.iter().map(|place| place.line).collect();
    assert_eq!(lines, [3, 6]);
    assert_eq!(error.places[0].source.as_deref(), Some("  assert(x, \"x is needed\")"));
    let above = self::error("local function need(x)\n  error(\"bad x\", 2)\nend\nneed(1)");
    assert_eq!(above.places[0].line, 6);
}

#[test]
fn a_fault_of_the_script_points_at_the_name() {
    let error = error("local o = {}\nreturn o.spec.replicas");
    assert_eq!(error.message, "attempt to index nil with 'replicas'");
    let place = &error.places[0];
    assert_eq!((place.file.as_str(), place.line, place.column, place.length), ("book.luau", 4, Some(15), Some(8)));
    assert!(error.hint.as_deref().unwrap().contains("at(object"));
    assert_eq!((error.kind, error.reason), (Kind::Runbook, Reason::Usage));
    let library = self::error("return (\"x\"):rep({})");
    assert!(library.message.starts_with("invalid argument #2 to 'rep'"), "{library}");
    assert_eq!(library.places[0].line, 3);
    let formatted = self::error("return (\"%d\"):format(\"x\")");
    assert!(formatted.message.contains("number expected"), "{formatted}");
    assert_eq!(formatted.places[0].line, 3);
}

#[test]
fn a_syntax_error_has_line_excerpt_and_caret() {
    let error = load_error("runbook {\n  title = \"x\"\n  summary = \"y\",\n}\n");
    assert!(error.message.starts_with("syntax error: expected"), "{error}");
    let place = &error.places[0];
    assert_eq!((place.file.as_str(), place.line, place.source.as_deref()), ("book.luau", 3, Some("  summary = \"y\",")));
    assert_eq!((place.column, place.length), (None, None), "the compiler names no word");
    let named = load_error("local x = ) 1");
    assert_eq!((named.places[0].column, named.places[0].length), (Some(11), Some(1)));
    let twice = load_error("local x = = 1");
    assert_eq!((twice.places[0].column, twice.places[0].length), (None, None), "one of two");
    let binary = load_error("\u{0}\u{1}ELF");
    assert_eq!(binary.message, "`book.luau` is not a text file");
    let unfinished = load_error("local x = function()\n");
    assert!(unfinished.message.contains("expected 'end'"), "{unfinished}");
}

#[test]
fn ensure_gives_back_what_holds_and_knows_its_reasons() {
    assert_eq!(value("return ensure(42, \"there\")"), json!(42));
    let error = error("ensure(nil, `no {version(\"1.2\")}`)");
    assert_eq!((error.message.as_str(), error.reason), ("no 1.2", Reason::CheckFailed));
    assert_eq!((error.places[0].column, error.places[0].length), (Some(1), Some(6)));
    let reason = self::error("ensure(false, \"x\", { reason = \"host_port_conflct\" })");
    assert_eq!(reason.hint.as_deref(), Some("did you mean `host_port_conflict`?"));
    let option = self::error("ensure(false, \"x\", { raeson = \"skew\" })");
    assert_eq!(option.message, "`ensure` has no option `raeson`");
}

#[test]
fn recover_is_given_the_error_as_a_table() {
    let text = format!(
        "{HEADER}step \"s\" {{ title = \"s\", run = function() end,\nrecover = function(err) state.seen = {{ err.reason, err.object, tostring(err), err.details.port }} end }}"
    );
    let given = json!({ "kind": "stuck", "reason": "host_port_conflict", "message": "it waits", "object": "deployment/ipam", "hint": null, "causes": ["a port"], "details": { "port": 9998 } });
    let mut book = Book::on(&engine(), &text);
    book.call(Owner::Step(0), Phase::Recover, vec![given.into()]).unwrap();
    assert_eq!(book.state["seen"].clone().into_json(), json!(["host_port_conflict", "deployment/ipam", "it waits: a port", 9998]));
}

#[test]
fn state_carries_json_and_typed_values_only() {
    let text = format!(
        "{HEADER}step \"a\" {{ title = \"a\", run = function() state.n = 2; state.v = version(\"1.2.3\"); state.l = array{{}} end }}
step \"b\" {{ title = \"b\", run = function() return {{ state.n, state.v.minor, #state.l }} end }}
step \"c\" {{ title = \"c\", run = function() state.f = {{ x = print }} end }}"
    );
    let mut book = Book::on(&engine(), &text);
    book.call(Owner::Step(0), Phase::Run, vec![]).unwrap();
    assert_eq!(book.state.keys().collect::<Vec<_>>(), ["l", "n", "v"]);
    let seen = book.call(Owner::Step(1), Phase::Run, vec![]).unwrap();
    assert_eq!(seen.values[0].clone().into_json(), json!([2, 2, 0]));
    let error = book.call(Owner::Step(2), Phase::Run, vec![]).unwrap_err();
    assert_eq!(error.message, "`state.f` holds a function at `x`");
}

#[test]
fn a_local_of_the_file_does_not_live_across_steps() {
    let text = format!("{HEADER}local count = 0\nstep \"a\" {{ title = \"a\", run = function() count += 1; return count end }}");
    let mut book = Book::on(&engine(), &text);
    for _ in 0..2 {
        let returned = book.call(Owner::Step(0), Phase::Run, vec![]).unwrap();
        assert_eq!(returned.values[0].clone().into_json(), json!(1));
    }
}

#[test]
fn parameters_are_read_in_functions_and_never_set() {
    let text = format!(
        "{HEADER}param \"to\" {{ type = \"version\", doc = \"D.\" }}\nparam \"extra\" {{ type = \"string\", doc = \"D.\", optional = true }}
step \"a\" {{ title = \"a\", run = function() return {{ params.to.minor, params.extra == nil }} end }}
step \"b\" {{ title = \"b\", run = function() return params.too end }}
step \"c\" {{ title = \"c\", run = function() params.to = 1 end }}"
    );
    let mut book = Book::on(&engine(), &text);
    book.params.insert("to".into(), lockgate::base::Typed::Version("1.9.3".parse().unwrap()).into());
    let seen = book.call(Owner::Step(0), Phase::Run, vec![]).unwrap();
    assert_eq!(seen.values[0].clone().into_json(), json!([9, true]));
    let unknown = book.call(Owner::Step(1), Phase::Run, vec![]).unwrap_err();
    assert_eq!((unknown.message.as_str(), unknown.hint.as_deref()), ("there is no parameter `too`", Some("did you mean `to`?")));
    assert!(book.call(Owner::Step(2), Phase::Run, vec![]).is_err());
    let early = load_error(&format!("{HEADER}local to = params.to"));
    assert_eq!(early.message, "`params` is read while the file loads");
}

#[test]
fn a_call_over_several_lines_points_at_its_verb() {
    let error = error("local x = 1\nget(\n  \"configmap/none\",\n  {\n    namespace = \"default\",\n  }\n)");
    assert_eq!((error.places[0].line, error.places[0].column, error.places[0].length), (4, Some(1), Some(3)), "{:?}", error.places);
}
