//! Scripts that try to run for ever, eat all memory, or break what the next script uses. Each is stopped or contained, and the
//! next script in the same state runs as if nothing had been.

use std::time::Duration;

use lockgate::base::{Error, Result, Value};
use lockgate::lua::{Engine, Limits};
use lockgate::run::Script;
use lockgate_sim::json::json;

use super::support::{Book, HEADER, engine, run_on};

/// How long the processor has worked for this thread.
fn computed() -> Duration {
    let worked = nix::time::clock_gettime(nix::time::ClockId::CLOCK_THREAD_CPUTIME_ID).unwrap();
    Duration::from(worked)
}

/// How a script must end.
#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    /// Stopped: too many turns without a call.
    Turns,
    /// Stopped: too much memory.
    Memory,
    /// Stopped: calls too deep.
    Deep,
    /// Ended by an ordinary error that says this.
    Error(&'static str),
    /// Ended by itself, well or not.
    Itself,
}

use End::{Deep, Error as Fails, Itself, Memory, Turns};

#[rustfmt::skip]
const SCRIPTS: &[(&str, End, &str)] = &[
    // Loops, wherever code can run.
    ("endless loop", Turns, "while true do end"),
    ("endless repeat with continue", Turns, "repeat if true then continue end until false"),
    ("endless number loop", Turns, "for i = 1, math.huge do end"),
    ("endless generic loop", Turns, "for _ in function() return 1 end do end"),
    ("endless __iter", Turns, "for _ in setmetatable({}, { __iter = function() return function() return 1 end end }) do end"),
    ("endless coroutine", Turns, "coroutine.wrap(function() while true do end end)()"),
    ("endless gsub callback", Turns, "return (\"x\"):gsub(\"x\", function() while true do end end)"),
    ("endless comparator", Turns, "table.sort({ 1, 2, 3 }, function() while true do end end)"),
    ("endless __index", Turns, "return setmetatable({}, { __index = function() while true do end end }).x"),
    ("endless __newindex", Turns, "setmetatable({}, { __newindex = function() while true do end end }).x = 1"),
    ("endless __eq", Turns, "local m = { __eq = function() while true do end end }; return setmetatable({}, m) == setmetatable({}, m)"),
    ("endless __lt", Turns, "local m = { __lt = function() while true do end end }; return setmetatable({}, m) < setmetatable({}, m)"),
    ("endless __concat", Turns, "return setmetatable({}, { __concat = function() while true do end end }) .. \"\""),
    ("endless __call", Turns, "return setmetatable({}, { __call = function() while true do end end })()"),
    ("endless __tostring", Turns, "return tostring(setmetatable({}, { __tostring = function() while true do end end }))"),
    ("endless __len in an interpolation", Turns, "return `{#setmetatable({}, { __len = function() while true do end end })}`"),
    ("generator that yields for ever", Turns, "local g = coroutine.wrap(function() while true do coroutine.yield(1) end end); while true do g() end"),
    // Errors that are swallowed.
    ("pcall loop", Turns, "while true do pcall(function() while true do end end) end"),
    ("pcall nested", Turns, "local function f(n) while true do pcall(if n > 0 then f else function() while true do end end, n - 1) end end; f(100)"),
    ("pcall of itself", Itself, "local function f() return pcall(f) end; while true do f() end"),
    ("pcall of pcall", Itself, "while true do pcall(pcall, pcall, pcall, error) end"),
    ("xpcall whose handler loops", Turns, "while true do xpcall(function() error(\"x\") end, function() while true do end end) end"),
    ("xpcall whose handler raises", Turns, "while true do xpcall(function() error(\"x\") end, function(e) error(e) end) end"),
    ("coroutine swallowed by pcall", Turns, "while true do pcall(coroutine.wrap(function() while true do end end)) end"),
    ("coroutine swallowed by resume", Turns, "while true do coroutine.resume(coroutine.create(function() while true do end end)) end"),
    ("coroutine closed in a loop", Turns, "while true do local c = coroutine.create(function() error(\"x\") end); coroutine.resume(c); coroutine.close(c) end"),
    ("inconsistent comparator in pcall", Turns, "local t = {}; for i = 1, 100 do t[i] = i end; while true do pcall(table.sort, t, function() return true end) end"),
    ("memory swallowed by pcall", Memory, "while true do pcall(function() local s = \"x\"; while true do s ..= s end end) end"),
    ("overflow swallowed by pcall", Deep, "local function f() return 1 + f() end; while true do pcall(f) end"),
    ("stop swallowed by a comparator's pcall", Turns, "table.sort({ 3, 2, 1 }, function(a, b) pcall(function() while true do end end); return a < b end)"),
    // Patterns.
    ("exponential pattern", Turns, "return (\"a\"):rep(40):find((\"a?\"):rep(40) .. (\"a\"):rep(40))"),
    ("polynomial pattern", Turns, "return (\"a\"):rep(2000):match((\".-\"):rep(6) .. \"b\")"),
    ("too complex pattern", Fails("pattern too complex"), "return (\"a\"):rep(1e5):match((\"a?\"):rep(1e5))"),
    ("gmatch without progress", Turns, "while true do for _ in (\"x\"):gmatch(\"\") do end end"),
    ("malformed pattern", Fails("malformed pattern"), "return (\"x\"):find(\"[a\")"),
    ("replacement that explodes", Memory, "return (\"x\"):rep(1e5):gsub(\"\", (\"y\"):rep(1e5))"),
    // Memory.
    ("string.rep", Memory, "return #(\"x\"):rep(1e9)"),
    ("string doubling", Memory, "local s = \"x\"; while true do s ..= s end"),
    ("buffers", Memory, "local t = {}; while true do table.insert(t, buffer.create(1e6)) end"),
    ("one huge buffer", Memory, "return buffer.create(2^30 - 1)"),
    ("table.create", Memory, "return #table.create(6e7, 1)"),
    ("table.concat", Memory, "local t = {}; local s = (\"x\"):rep(1e5); for i = 1, 1e5 do t[i] = s end; return #table.concat(t)"),
    ("growing table", Memory, "local t = {}; for i = 1, 1e5 do t[i] = { {}, {}, {}, {}, {} , {}, {}, {} } end"),
    ("strings kept alive", Memory, "local kept = {}; while true do pcall(function() kept[#kept + 1] = (\"x\"):rep(1e6) .. #kept end) end"),
    ("threads kept alive", Memory, "local kept = {}; for i = 1, 1e5 do kept[i] = coroutine.create(function() end) end"),
    ("empty string repeated", Itself, "return #(\"\"):rep(2^53)"),
    ("unpack of nothing", Itself, "return select(\"#\", table.unpack({}, 1, 1e8))"),
    ("format width", Itself, "return (\"%99999d\"):format(1)"),
    ("message that is huge", Memory, "error((\"x\"):rep(2^24) .. (\"y\"):rep(2^24))"),
    // Depth.
    ("recursion", Deep, "local function f() return 1 + f() end; return f()"),
    ("mutual recursion", Deep, "local a, b; function a() b() end; function b() a() end; a()"),
    ("recursion through gsub", Deep, "local function f() return ((\"x\"):gsub(\"x\", f)) end; f()"),
    ("recursion through sort", Deep, "local function f() table.sort({ 1, 2 }, f); return true end; f()"),
    ("recursion through __index", Deep, "local t; t = setmetatable({}, { __index = function(_, k) return t[k .. \"x\"] end }); return t.a"),
    ("nested coroutines", Deep, "local function f() return coroutine.wrap(f)() end; f()"),
    ("recursion through __tostring", Deep, "local t; t = setmetatable({}, { __tostring = function() return tostring(t) end }); return tostring(t)"),
    ("__index chain", Fails("'__index' chain too long"), "local t = {}; setmetatable(t, { __index = t }); return t.x"),
    ("deep table handed to the host", Fails("nested more than 128 deep"), "local t = {}; for i = 1, 1e5 do t = { t } end; return t"),
    ("cyclic table handed to the host", Fails("contains itself"), "local t = {}; t.t = t; return t"),
    // Error objects.
    ("__tostring that raises", Itself, "error(setmetatable({}, { __tostring = function() error(\"again\") end }))"),
    ("__tostring that loops in an error", Itself, "error(setmetatable({}, { __tostring = function() while true do end end }))"),
    ("__tostring that gives a table", Itself, "error(setmetatable({}, { __tostring = function() return {} end }))"),
    ("__index of an error that loops", Itself, "error(setmetatable({}, { __index = function() while true do end end }))"),
    ("error that is a coroutine", Itself, "error(coroutine.create(function() end))"),
    ("nothing as an error", Fails("an error without a message"), "error()"),
    // Code and libraries.
    ("bytecode", Fails("there is no `loadstring` here"), "return loadstring(\"\\27Lua\")"),
    ("the metatable of strings", Fails("attempt to index boolean"), "getmetatable(\"\").__index = nil"),
    ("string.format removed", Fails("attempt to modify a readonly table"), "string.format = nil"),
    ("rawset into a library", Fails("attempt to modify a readonly table"), "rawset(table, \"insert\", nil)"),
    ("yield outside of a coroutine", Fails("attempt to yield"), "coroutine.yield()"),
    // Library loops in C.
    ("table.move", Turns, "table.move({}, 1, 2^31 - 3, 2)"),
    ("plain find", Itself, "return (\"a\"):rep(2^23):find((\"a\"):rep(2^22) .. \"b\", 1, true)"),
    ("find without specials", Itself, "return (\"a\"):rep(2^23):find((\"a\"):rep(2^22) .. \"b\")"),
    ("split", Itself, "return #(\"a\"):rep(2^23):split((\"a\"):rep(2^22) .. \"b\")"),
    ("notes without end", Turns, "while true do print(\"x\") end"),
    ("pairs over a table that grows", Itself, "local t = { 1 }; for k in pairs(t) do t[k + 1] = 1 end; return #t"),
];

fn verdict(end: End, result: &Result<Vec<Value>>) -> std::result::Result<(), String> {
    let error: Option<&Error> = result.as_ref().err();
    let stopped = |part: &str| error.is_some_and(|error| error.is_stop() && error.message.contains(part));
    let held = match end {
        Turns => stopped("loop turns and calls"),
        Memory => stopped("MiB of memory"),
        Deep => stopped("too deeply"),
        Fails(text) => error.is_some_and(|error| !error.is_stop() && error.message.contains(text)),
        Itself => true,
    };
    if held { Ok(()) } else { Err(format!("should end by {end:?}, but {result:?}").chars().take(600).collect()) }
}

/// The next script in the same state finds everything as it was.
fn next_runs(engine: &Engine) -> bool {
    let sound = "local t = {}; for i = 1, 1000 do t[i] = (\"x\"):rep(1000) .. i end
        return { #t, (\"%s\"):format(1), (\"a,b\"):split(\",\")[2], get(\"configmap/nasty\").metadata.name, pcall(error, \"x\") }";
    match run_on(engine, sound) {
        Ok(values) => {
            let seen = values.into_iter().next().map_or(lockgate_sim::json::Value::Null, Value::into_json);
            seen.as_array().is_some_and(|seen| seen.get(..4) == json!([1000, "1", "b", "nasty"]).as_array().map(|wanted| &**wanted))
        }
        Err(error) => panic!("{error:?}"),
    }
}

#[test]
fn every_hostile_script_is_stopped_or_contained_and_the_next_one_runs() {
    assert!(SCRIPTS.len() >= 56);
    let engine = engine();
    let mut wrong = Vec::new();
    for (name, end, script) in SCRIPTS {
        let result = run_on(&engine, script);
        if let Err(why) = verdict(*end, &result) {
            wrong.push(format!("{name}: {why}"));
        }
        if !next_runs(&engine) {
            wrong.push(format!("{name}: the next script does not run"));
        }
        assert!(engine.memory() < 40 << 20, "{name}: {} bytes", engine.memory());
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_loop_of_long_turns_is_stopped_by_its_time() {
    let work = Duration::from_millis(300);
    let engine = Engine::new(Limits { work, ..Limits::default() }).unwrap();
    for script in [
        "while true do local s = (\"x\"):rep(1e6) end",
        "local s = (\"x\"):rep(1e6) while true do local t = s .. \"y\" end",
        "local t = {} for i = 1, 1e5 do t[i] = \"abc\" end while true do table.concat(t) end",
        "while true do pcall(function() while true do local s = (\"x\"):rep(1e6):upper() end end) end",
        // Long turns behind short ones.
        "for i = 1, 1e6 do end while true do local s = (\"x\"):rep(1e6):upper():reverse() end",
        "local t = {} for i = 1, 1e5 do t[i] = (i * 7919) % 100003 end while true do local s = table.clone(t) table.sort(s) end",
    ] {
        let began = computed();
        let error = run_on(&engine, script).unwrap_err();
        let took = computed() - began;
        assert!(error.is_stop() && error.message.starts_with("the script has computed for 300ms"), "{script}: {error:?}");
        // With the turn in which its time is over: each of these is far shorter than a tenth of a second (`reference/safety.md` G12).
        assert!(took < work + Duration::from_millis(100), "{script}: {took:?}");
        assert!(next_runs(&engine), "{script}");
    }
}

#[test]
fn a_stop_has_a_place_and_a_hint() {
    let error = run_on(&engine(), "local x = 1\nwhile true do\n  x += 1\nend").unwrap_err();
    assert!(error.hint.is_some());
    let place = &error.places[0];
    assert!((4..=6).contains(&place.line), "{place:?}");
}

#[test]
fn hostile_sources_end_in_the_compiler() {
    let engine = engine();
    let parentheses = format!("local x = {}1{}", "(".repeat(200_000), ")".repeat(200_000));
    let joined = format!("local x = \"\"{}", " .. \"\"".repeat(150_000));
    let branches = format!("local x if x == 0 then{} end", " elseif x == 1 then".repeat(50_000));
    let tables = format!("local x = {}{}", "{".repeat(200_000), "}".repeat(200_000));
    let functions = format!("local x = {}{}", "function() return ".repeat(20_000), " end".repeat(20_000));
    for (name, source) in
        [("parentheses", parentheses), ("joined", joined), ("branches", branches), ("tables", tables), ("functions", functions)]
    {
        let error = Book::on(&engine, &format!("{HEADER}{source}")).host.load().unwrap_err();
        assert!(error.message.starts_with("syntax error") || error.message.contains("too large"), "{name}: {}", error.message);
        assert!(next_runs(&engine), "{name}");
    }
    let large = format!("{HEADER}local x = {{ {} }}", "1,".repeat(600_000));
    let error = Book::on(&engine, &large).host.load().unwrap_err();
    assert!(error.message.starts_with("`book.luau` is too large"), "{error}");
}

#[test]
fn a_file_that_is_hostile_while_it_loads_is_stopped_too() {
    let engine = engine();
    for (body, part) in [("while true do end", "loop turns"), ("local s = \"x\" while true do s ..= s end", "memory")] {
        let error = Book::on(&engine, &format!("{HEADER}{body}")).host.load().unwrap_err();
        assert!(error.is_stop() && error.message.contains(part), "{error}");
        assert!(next_runs(&engine));
    }
}
