//! What a file can see and do.

use super::support::{HEADER, error, load_error, run, value};
use lockgate_sim::json::json;

#[test]
fn nothing_of_the_machine_is_there() {
    for name in ["io", "os", "debug", "load", "loadstring", "dofile", "getfenv", "setfenv", "newproxy", "collectgarbage", "_G"] {
        let error = error(&format!("return {name}"));
        assert_eq!(error.message, format!("there is no `{name}` here"));
        assert!(error.hint.is_some());
        assert_eq!(error.places[0].line, 3, "{error:?}");
    }
    let random = error("return math.random(3)");
    assert_eq!(random.message, "`math` has no `random`");
    assert!(random.hint.as_deref().unwrap().contains("repeatable"));
}

#[test]
fn a_global_cannot_be_assigned() {
    let error = error("counter = 1");
    assert_eq!(error.message, "`counter` is assigned as a global");
    assert!(error.hint.as_deref().unwrap().contains("local counter = …"));
    let place = &error.places[0];
    assert_eq!((place.line, place.column, place.length, place.source.as_deref()), (3, Some(1), Some(7), Some("counter = 1")));
    let function = load_error(&format!("{HEADER}function helper() end"));
    assert_eq!(function.hint.as_deref(), Some("write `local function helper(…)`"));
    let word = self::error("get = 1");
    assert_eq!(word.message, "`get` is a word of lockgate and cannot be replaced");
}

#[test]
fn an_unknown_name_comes_with_a_suggestion() {
    let error = error("wait_rolout(\"deployment/x\")");
    assert_eq!(error.message, "nothing is called `wait_rolout`");
    assert_eq!(error.hint.as_deref(), Some("did you mean `wait_rollout`?"));
    let member = self::error("return string.trim(\" x \")");
    assert_eq!(member.message, "`string` has no `trim`");
    let member = self::error("return (\"x\"):uper()");
    assert_eq!(member.hint.as_deref(), Some("did you mean `upper`?"));
}

#[test]
fn libraries_cannot_be_poisoned() {
    for attack in [
        "string.format = nil",
        "getmetatable(\"\").__index = {}",
        "table.insert = print",
        "rawset(string, \"format\", 1)",
        "rawset(math, \"pi\", 3)",
        "setmetatable(string, nil)",
        "params.x = 1",
    ] {
        assert!(run(attack).is_err(), "{attack}");
    }
    assert_eq!(value("return getmetatable(\"\")"), json!(false));
}

#[test]
fn nothing_printed_holds_an_address() {
    let text = value(
        "local t, f, c = {}, function() end, coroutine.create(print)
         return table.concat({ tostring(t), tostring(f), tostring(c), `{t}|{f}|{null}`, (\"%s %s\"):format(t, null), tostring(print) }, \" \")",
    );
    assert_eq!(text, json!("table function thread table|function|null table null function"));
    assert_eq!(value("return tostring(setmetatable({}, { __tostring = function() return \"me\" end }))"), json!("me"));
}

#[test]
fn pairs_and_next_go_in_sorted_order() {
    let text = value(
        "local t = { c = 1, [3] = 1, a = 1, [1] = 1, b = 1, [true] = 1, [-1] = 1, [false] = 1 }
         local seen = {}
         for k in pairs(t) do table.insert(seen, tostring(k)) end
         local walked, k = {}, nil
         repeat k = next(t, k); if k ~= nil then table.insert(walked, tostring(k)) end until k == nil
         for k in next, t do table.insert(walked, tostring(k)) end
         return table.concat(seen, \" \") .. \" / \" .. table.concat(walked, \" \")",
    );
    assert_eq!(text, json!("-1 1 3 a b c false true / -1 1 3 a b c false true -1 1 3 a b c false true"));
}

#[test]
fn entries_may_be_removed_while_they_are_walked() {
    let text = value(
        "local t, seen = { a = 1, b = 2, c = 3 }, {}
         for k in pairs(t) do t.b = nil; table.insert(seen, k) end
         for k in next, t do t[k] = nil end
         return table.concat(seen, \" \") .. \" \" .. tostring(next(t))",
    );
    assert_eq!(text, json!("a c nil"));
}

#[test]
fn the_rewritten_library_functions_do_what_the_originals_did() {
    let text = value(
        "local t = table.move({ 1, 2, 3, 4 }, 2, 4, 1)
         local out = { table.concat(t, \",\"), table.concat(table.move({ 1, 2, 3 }, 1, 3, 2), \",\"), table.concat(table.move({ 1, 2 }, 1, 2, 3, { 9, 9 }), \",\") }
         local function found(...) table.insert(out, tostring((...)) .. \":\" .. tostring((select(2, ...)))) end
         found((\"a.b.c\"):find(\".\", 3, true)); found((\"abc\"):find(\"bc\")); found((\"abc\"):find(\"x\", 1, true)); found((\"abc\"):find(\"\", 4, true))
         found((\"abc\"):find(\"\", 5, true)); found((\"abcabc\"):find(\"c\", -3)); found((\"abc\"):find(\"(b)\"))
         table.insert(out, table.concat((\"a,b,,c\"):split(\",\"), \"|\")); table.insert(out, table.concat((\"abc\"):split(\"\"), \"|\")); table.insert(out, #(\"\"):split(\",\"))
         return table.concat(out, \" \")",
    );
    assert_eq!(text, json!("2,3,4,4 1,1,2,3 9,9,1,2 4:4 2:3 nil:nil 4:3 nil:nil 6:6 2:2 a|b||c a|b|c 1"));
}

#[test]
fn what_lua_does_still_works() {
    let text = value(
        "local gen = coroutine.wrap(function() for i = 1, 3 do pcall(coroutine.yield, i) end end)
         local sum = gen() + gen() + gen()
         local ok, err = xpcall(function() error({ reason = \"quota\" }) end, function(e) return e.reason end)
         local a, b = select(2, pcall(function(...) return ... end, 1, 2))
         local n = 0; for _ in string.gmatch(\"a b c\", \"%a\") do n += 1 end
         table.sort({ 3, 1 }, function(x, y) return x < y end)
         return { sum, ok, err, a, b, n, math.max(1, 2), #{ 1, 2 }, (\"x\"):rep(3), tonumber(\"0x10\") }",
    );
    assert_eq!(text, json!([6, false, "quota", 1, 2, 3, 2, 2, "xxx", 16]));
}
