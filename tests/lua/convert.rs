//! JSON to Lua and back: what a script did not touch is never altered, and what has no meaning as JSON is an error.

use std::sync::Arc;

use lockgate::base::{Object, Value};
use lockgate::run::{Owner, Phase};
use lockgate_sim::json::{Value as Json, json};

use super::support::{Book, HEADER, engine, error, value};

/// Every case that converters get wrong.
fn nasty() -> Json {
    let text = r#"{
        "kind": "Thing", "apiVersion": "v1", "metadata": { "name": "n" },
        "big": 9007199254740993, "max": 9223372036854775807, "huge": 18446744073709551615, "float": 1.0, "small": 0.1,
        "null": null, "empty": {}, "none": [], "nested": [[], {}, [null], { "a": [] }], "holes": [1, null, 1],
        "percent": "25%", "one": 1, "quantity": "500m", "8080": "numeric key", "nul": "a\u0000b", "emoji": "⛴ lock",
        "containers": [ { "name": "a", "uid": 9007199254740995, "args": [] }, { "name": "b", "uid": 9007199254740997, "env": [] } ]
    }"#;
    serde_json::from_str(text).unwrap()
}

/// Gives an object as the cluster would, and what the body makes of it.
fn through(body: &str) -> lockgate::base::Result<Value> {
    let text = format!("{HEADER}step \"s\" {{ title = \"s\", run = function(o)\n{body}\nend }}");
    let object = Value::Object(Object::read(Arc::new(nasty())));
    let returned = Book::on(&engine(), &text).call(Owner::Step(0), Phase::Run, vec![object])?;
    Ok(returned.values.into_iter().next().unwrap_or(Value::Nil))
}

fn current(body: &str) -> Json {
    let Value::Object(object) = through(body).unwrap() else { panic!("no object") };
    assert_eq!(*object.original.unwrap(), nasty());
    Arc::unwrap_or_clone(object.current)
}

#[test]
fn an_untouched_object_is_the_same_to_the_last_digit() {
    assert_eq!(current("return o"), nasty());
    assert_eq!(current("return o").to_string(), nasty().to_string());
}

#[test]
fn a_change_changes_only_what_it_names() {
    let mut expected = nasty();
    expected["one"] = json!(2);
    expected["containers"][1]["image"] = json!("x");
    expected["holes"] = json!([1, null]);
    assert_eq!(current("o.one = 2; o.containers[2].image = \"x\"; table.remove(o.holes); return o"), expected);
}

#[test]
fn a_list_that_ends_empty_stays_a_list() {
    let mut expected = nasty();
    expected["containers"] = json!([]);
    expected["nested"] = json!([]);
    expected["empty"] = json!({});
    let body = "table.remove(o.containers); table.remove(o.containers); o.nested = {}; o.empty = {}; return o";
    assert_eq!(current(body), expected);
}

#[test]
fn entries_of_a_list_are_known_by_name_when_their_places_move() {
    let mut expected = nasty();
    expected["containers"].as_array_mut().unwrap().remove(0);
    assert_eq!(current("table.remove(o.containers, 1); return o"), expected);
}

#[test]
fn a_large_number_that_was_read_elsewhere_is_refused_rather_than_rounded() {
    let error = through("return { copy = o.big }").unwrap_err();
    assert!(error.message.contains("holds the number 9007199254740992, which Lua cannot hold exactly at `copy`"), "{error}");
}

#[test]
fn null_is_there_and_nil_is_not() {
    assert_eq!(value("return { a = null, b = nil, c = { null } }"), json!({ "a": null, "c": [null] }));
    assert_eq!(value("return { null == null, null ~= nil, tostring(null), null and 1 }"), json!([true, true, "null", 1]));
}

#[test]
fn the_two_empties_can_be_told() {
    assert_eq!(value("return { array{}, object{}, {}, array{ 1 }, table.clone(array{}) }"), json!([[], {}, {}, [1], []]));
}

#[test]
fn numbers_are_whole_where_they_can_be() {
    let seen = value("return { 3 / 1, 10 / 2, 0.5, -0, 2^53 - 1, 1e15, -7 }");
    assert_eq!(seen.to_string(), "[3,5,0.5,0,9007199254740991,1000000000000000,-7]");
}

#[test]
fn what_has_no_meaning_as_json_is_named_with_its_path() {
    for (body, expected) in [
        ("{ spec = { x = { function() end } } }", "holds a function at `spec.x[1]`"),
        ("{ a = 0/0 }", "holds a number that is not one (0/0) at `a`"),
        ("{ a = { 1/0 } }", "holds an infinite number at `a[1]`"),
        ("{ a = { 1, 2, x = 1 } }", "holds a table that is both a list and a map (it has [1] and `x`) at `a`"),
        ("{ a = { [2] = \"b\" } }", "holds a list with a hole: [1] is nil and [2] is not at `a`"),
        ("{ a = { 1, nil, 3 } }", "holds a list with a hole: [2] is nil and [3] is not at `a`"),
        ("{ [\"a b\"] = { [1.5] = 1 } }", "holds the key [1.5]: keys are names or places from 1 at `[\"a b\"]`"),
        ("{ a = { [0] = 1 } }", "holds the key [0]: a list begins at [1] at `a`"),
        ("{ a = { [true] = 1 } }", "holds the key [true]: keys are names or places from 1 at `a`"),
        ("{ a = coroutine.create(print) }", "holds a coroutine at `a`"),
        ("{ a = \"\\xff\" }", "holds bytes that are not UTF-8 text at `a`"),
        ("{ a = buffer.create(1) }", "holds a buffer at `a`"),
        ("print", "is a function"),
    ] {
        let error = error(&format!("return {body}"));
        let stem = "`run`: the value that the function returned ";
        assert_eq!(error.message.strip_prefix(stem).unwrap_or(&error.message), expected, "{body}");
    }
    let cycle = error("local t = {}; t.a = { t }; return t");
    assert!(cycle.message.ends_with("holds a table that contains itself at `a[1]`"), "{cycle}");
    let deep = error("local t = {}; for i = 1, 200 do t = { t } end; return t");
    assert!(deep.message.contains("nested more than 128 deep at `[1][1]"), "{deep}");
    assert_eq!(value("local t = 1; for i = 1, 128 do t = { t } end; return t").to_string().len(), 128 * 2 + 1);
}

#[test]
fn the_same_table_twice_is_no_cycle() {
    assert_eq!(value("local t = { 1 }; return { t, t }"), json!([[1], [1]]));
}

#[test]
fn at_reads_what_may_be_absent() {
    let seen = value(
        "local o = { spec = { replicas = 2, list = { { name = \"a\" } }, gone = null } }
         return { at(o, { \"spec\", \"replicas\" }), at(o, { \"spec\", \"list\", 1, \"name\" }), at(o, { \"x\", \"y\" }, 7), at(nil, { \"x\" }, \"d\"), at(o, { \"spec\", \"gone\" }, 1) }",
    );
    assert_eq!(seen, json!([2, "a", 7, "d", 1]));
}

#[test]
fn merge_is_a_json_merge_into_a_new_table() {
    let seen = value(
        "local a = { x = 1, y = { p = 1, q = 2 }, l = { 1, 2 }, v = version(\"1.2.3\") }
         local m = merge(a, { y = { q = null, r = 3 }, l = { 9 }, z = array{} })
         return { m = m, a = a.y.q, same = m.v == a.v }",
    );
    assert_eq!(seen["m"], json!({ "x": 1, "y": { "p": 1, "r": 3 }, "l": [9], "z": [], "v": "1.2.3" }));
    assert_eq!((&seen["a"], &seen["same"]), (&json!(2), &json!(true)));
}

#[test]
fn json_is_read_as_objects_of_the_cluster_are() {
    let text = r#"{ "a": [1, 2.5, null], "none": [], "empty": {}, "exact": 9007199254740991 }"#;
    let seen = value(&format!("local v = json([==[{text}]==]); return {{ v = v, null = v.a[3] == null, n = #v.a }}"));
    assert_eq!(seen["v"], serde_json::from_str::<Json>(text).unwrap());
    assert!(error("return json('9007199254740993')").message.contains("Lua cannot hold exactly"), "and no digit is lost in silence");
    assert_eq!((&seen["null"], &seen["n"]), (&json!(true), &json!(3)));
    assert_eq!(value("return { json('7'), json(' \"x\" '), json('null') == null }"), json!([7, "x", true]));
    for (given, says) in [
        ("{\n  a: 1 }", "`json`: line 2, column 3: key must be a string"),
        ("{} {}", "`json`: line 1, column 4: trailing characters"),
        ("[1,", "`json`: line 1, column 3: EOF while parsing a value"),
        (" \n ", "`json`: the text is empty"),
    ] {
        let error = error(&format!("json([==[{given}]==])"));
        assert_eq!((error.reason.as_str(), error.message.as_str()), ("invalid", says), "{given:?}");
        assert!(error.hint.is_some());
    }
    assert!(error("json({})").message.contains("`json` needs a text, got a table"));
    assert!(error("json()").message.contains("`json` needs a text, got nothing"));
}

#[test]
fn the_original_is_known_by_the_very_table_only() {
    assert!(through("return table.clone(o)").unwrap_err().message.contains("Lua cannot hold exactly"), "a clone has no original");
    let Value::Map(parts) = through("return { o = o, v = version(\"1.2\") }").unwrap() else { panic!("no map") };
    assert!(matches!(&parts["o"], Value::Object(object) if object.original.is_some()));
    let Value::Json(copied) =
        through("local c = {}; for k, v in pairs(o.containers[1]) do if k ~= \"uid\" then c[k] = v end end; return c").unwrap()
    else {
        panic!("a copy has no original")
    };
    assert_eq!(copied, json!({ "name": "a", "args": [] }));
}
