//! Verbs as Lua functions: the registry's table, the check of where they may be called, arguments, the call, its result.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;
use std::task::{Context, Poll};

use crate::base::json::Value as Json;
use futures::channel::oneshot;
use futures::future::LocalBoxFuture;
use mlua::{Function, Lua, MultiValue, Table, Value as LuaValue};

use super::engine::{Core, Engine};
use super::error::{broken, fault, kind};
use super::session::{Mode, Session, while_loading};
use super::stack;
use crate::base::{Error, Kind, Reason, Result, Value};
use crate::primitives::{ALL, Arg, Arguments, Callback, Definition, Done, Effect, Progress};
use crate::run::{Again, Call, Scene};

/// What telling the operator something costs, in turns; each byte costs one more.
const NOTE: u64 = 1_000;

/// Adds every verb to the words of every file; `helm.list` becomes `list` in the table `helm`.
pub(crate) fn add(core: &Rc<Core>, lua: &Lua, base: &Table) -> mlua::Result<()> {
    let mut families: BTreeMap<&str, Table> = BTreeMap::new();
    for definition in ALL.iter().copied().filter(|definition| definition.call.is_some()) {
        let function = core.function(lua, definition.name, move |core, lua, arguments| call(core, lua, definition, arguments))?;
        match definition.name.split_once('.') {
            None => base.raw_set(definition.name, function)?,
            Some((family, name)) => {
                if !families.contains_key(family) {
                    families.insert(family, lua.create_table()?);
                }
                if let Some(table) = families.get(family) {
                    table.raw_set(name, function)?;
                }
            }
        }
    }
    for (family, table) in families {
        table.set_readonly(true);
        base.raw_set(family, table)?;
    }
    Ok(())
}

/// One call of a verb by a script.
fn call(core: &Rc<Core>, lua: &Lua, definition: &'static Definition, arguments: MultiValue) -> Result<MultiValue> {
    let session = core.session().ok_or_else(|| while_loading(definition.name))?;
    session.allow(definition, says_read(definition, &arguments))?;
    let questions = Rc::new(Questions::default());
    let arguments = split(core, lua, definition, arguments, &questions)?;
    let made = Call {
        verb: definition.name.to_owned(),
        arguments: arguments.positional.iter().map(json).collect(),
        options: match arguments.options.is_empty() {
            true => Json::Null,
            false => Json::Object(arguments.options.iter().map(|(key, arg)| (key.clone(), json(arg))).collect()),
        },
        places: stack::places(core, lua, Some(definition.name)),
    };
    let result = match session.port() {
        Some(port) => port.verb(core, definition, arguments, &made, &questions),
        None => {
            let scene = session.scene().ok_or_else(|| while_loading(definition.name))?;
            if session.mode() == Mode::Prompt {
                typed(core, lua, &session, scene, definition, arguments, &made, &questions)
            } else {
                perform(core, &session, scene, definition, arguments, &made, &questions)
            }
        }
    };
    // Telling is not working: a loop that only tells is a loop without end.
    if definition.effect == Effect::Tell {
        let told: usize = made.arguments.iter().map(|told| told.as_str().map_or(0, str::len)).sum();
        core.brake.spend(NOTE + told as u64);
    } else {
        core.brake.refill();
    }
    match result {
        Ok(done) => {
            let value = core.convert.write(lua, &done.value, true).map_err(fault)?;
            Ok(MultiValue::from_vec(vec![value]))
        }
        Err(mut error) => {
            // A call with wrong arguments is a fault of the runbook, wherever in a run it happens.
            if error.kind == Kind::Input && error.reason == Reason::Usage {
                error.kind = Kind::Runbook;
            }
            if error.places.is_empty() {
                error.places = made.places;
            }
            if error.is_stop() {
                core.brake.halt(error.clone());
            }
            Err(error)
        }
    }
}

/// One call at the prompt, which can be made again later.
#[expect(clippy::too_many_arguments, reason = "as `perform`")]
fn typed(
    core: &Rc<Core>,
    lua: &Lua,
    session: &Rc<Session>,
    scene: Scene,
    definition: &'static Definition,
    arguments: Arguments,
    made: &Call,
    questions: &Rc<Questions>,
) -> Result<Done> {
    let again = again(core, lua, session, definition, arguments.clone(), questions.clone());
    let calls = scene.calls.clone();
    let inside = session.inside.replace(true);
    let result = perform(core, session, scene, definition, arguments, made, questions);
    session.inside.set(inside);
    if !inside {
        calls.made(made, &result, again);
    }
    result
}

/// How to make a call once more: with the arguments as they were, as a piece of work of its own.
fn again(
    core: &Rc<Core>,
    lua: &Lua,
    session: &Rc<Session>,
    definition: &'static Definition,
    arguments: Arguments,
    questions: Rc<Questions>,
) -> Again {
    let (engine, session) = (Engine::of(lua, core), Rc::downgrade(session));
    Rc::new(move || {
        let session = session.upgrade().ok_or_else(|| Error::internal("a call outlived its prompt"))?;
        let (function, given) = written(&engine, definition, &arguments, &questions).map_err(fault)?;
        engine.work(&session, &function, given).map(drop)
    })
}

/// A verb as a script names it, and its arguments as a script gives them.
fn written(engine: &Engine, definition: &Definition, arguments: &Arguments, questions: &Questions) -> mlua::Result<(Function, MultiValue)> {
    let (lua, core) = (engine.lua(), engine.core());
    let function: Function = match definition.name.split_once('.') {
        None => core.base.raw_get(definition.name)?,
        Some((family, name)) => core.base.raw_get::<Table>(family)?.raw_get(name)?,
    };
    let value = |arg: &Arg| match arg {
        Arg::Value(value) => core.convert.write(lua, value, true),
        Arg::Function(callback) => Ok(questions.function(callback).map_or(LuaValue::Nil, LuaValue::Function)),
    };
    let mut given: Vec<LuaValue> = arguments.positional.iter().map(value).collect::<mlua::Result<_>>()?;
    if !arguments.options.is_empty() {
        let options = lua.create_table()?;
        for (name, arg) in &arguments.options {
            options.raw_set(name.as_str(), value(arg)?)?;
        }
        given.resize(definition.params.len(), LuaValue::Nil);
        given.push(LuaValue::Table(options));
    }
    Ok((function, MultiValue::from_vec(given)))
}

fn perform(
    core: &Rc<Core>,
    session: &Session,
    scene: Scene,
    definition: &Definition,
    arguments: Arguments,
    made: &Call,
    questions: &Questions,
) -> Result<Done> {
    let verb = definition.call.ok_or_else(|| Error::internal(format!("`{}` has no function", definition.name)))?;
    let _span = tracing::debug_span!("call", verb = definition.name).entered();
    if let Some(recorded) = scene.calls.begin(made)? {
        return recorded;
    }
    let runtime = session.runtime().ok_or_else(|| Error::internal(format!("`{}` without a runtime", definition.name)))?;
    let result = if tokio::runtime::Handle::try_current().is_ok() {
        Err(called_inside(definition.name))
    } else {
        let cx = scene.cx.clone();
        let show = move || {
            for delay in cx.cluster.take_delays() {
                cx.talk.progress(Progress::Delayed(delay));
            }
        };
        let result = drive(core, runtime, questions, &show, scene.cx.whole(verb(scene.cx.clone(), arguments)));
        for warning in scene.cx.cluster.take_warnings() {
            scene.cx.talk.progress(Progress::Warned(warning));
        }
        result
    };
    scene.calls.end(made, &result);
    result
}

/// The error of a verb in a function that a verb calls without waiting for it.
pub(super) fn called_inside(verb: &str) -> Error {
    broken(format!("`{verb}` is called inside a function that a verb calls in the middle of its work"))
        .hint("use what the function is given")
}

/// Runs a verb to its end. What it asks of the script's functions meanwhile is answered outside of the runtime, so that those
/// functions may call verbs themselves.
fn drive(
    core: &Rc<Core>,
    runtime: &tokio::runtime::Runtime,
    questions: &Questions,
    show: &dyn Fn(),
    mut verb: LocalBoxFuture<'static, Result<Done>>,
) -> Result<Done> {
    enum Step {
        Done(Box<Result<Done>>),
        Asked(Question),
    }
    loop {
        let step = runtime.block_on(poll_fn(|context| {
            if let Poll::Ready(result) = polled(&mut verb, context) {
                return Poll::Ready(Step::Done(Box::new(result)));
            }
            show();
            match questions.asked.borrow_mut().pop() {
                Some(question) => Poll::Ready(Step::Asked(question)),
                None => Poll::Pending,
            }
        }));
        match step {
            Step::Done(result) => return *result,
            Step::Asked(question) => {
                let answer = core.call_values(&question.function, &question.arguments);
                if question.reply.send(answer).is_err() {
                    tracing::debug!("a verb no longer waits for the function it asked");
                }
            }
        }
    }
}

/// Polls a verb. A fault in it ends the call, not the process: the record has to say that nobody knows what became of it.
pub(super) fn polled(verb: &mut LocalBoxFuture<'static, Result<Done>>, context: &mut Context<'_>) -> Poll<Result<Done>> {
    match catch_unwind(AssertUnwindSafe(|| verb.as_mut().poll(context))) {
        Ok(polled) => polled,
        Err(thrown) if thrown.is::<&str>() || thrown.is::<String>() => Poll::Ready(Err(panicked())),
        // What is no text was thrown on purpose, by who catches it.
        Err(thrown) => resume_unwind(thrown),
    }
}

/// The error of a call in which lockgate itself failed. No script holds it, and for a journal the call is one that was interrupted.
fn panicked() -> Error {
    Error::new(Kind::Internal, Reason::Interrupted, "a fault of lockgate itself; what the call has done is unknown")
        .details(crate::base::json::json!({ "outcome": "unknown" }))
        .hint("please report it; a run with a journal can be resumed, and looks first at what was done")
}

/// Functions of the script that a verb wants called.
#[derive(Default)]
pub(super) struct Questions {
    asked: RefCell<Vec<Question>>,
    /// The functions among the arguments, by the address of what stands for each.
    given: RefCell<Vec<(*const (), Function)>>,
}

impl Questions {
    /// The function of an argument.
    pub(super) fn function(&self, callback: &Rc<dyn Callback>) -> Option<Function> {
        let address = Rc::as_ptr(callback).cast::<()>();
        self.given.borrow().iter().find(|(given, _)| *given == address).map(|(_, function)| function.clone())
    }
}

struct Question {
    function: Function,
    arguments: Vec<Value>,
    reply: oneshot::Sender<Result<Vec<Value>>>,
}

/// A function of the script as a verb sees it.
struct LuaCallback {
    core: Rc<Core>,
    function: Function,
    questions: Rc<Questions>,
}

impl Callback for LuaCallback {
    fn call(&self, arguments: Vec<Value>) -> Result<Vec<Value>> {
        self.core.call_values(&self.function, &arguments)
    }

    fn invoke(&self, arguments: Vec<Value>) -> LocalBoxFuture<'_, Result<Vec<Value>>> {
        Box::pin(async move {
            let (reply, answer) = oneshot::channel();
            self.questions.asked.borrow_mut().push(Question { function: self.function.clone(), arguments, reply });
            answer.await.map_err(|_| Error::internal("a function of the script was not called"))?
        })
    }
}

impl Core {
    /// Calls a function of the script with host values.
    pub(crate) fn call_values(&self, function: &Function, arguments: &[Value]) -> Result<Vec<Value>> {
        let Some(lua) = function.weak_lua().try_upgrade() else {
            return Err(Error::internal("a function outlived its Lua state"));
        };
        let given: mlua::Result<MultiValue> = arguments.iter().map(|value| self.convert.write(&lua, value, true)).collect();
        let returned = self.protected(function, given.map_err(fault)?)?;
        self.read_all(&lua, &returned)
    }

    /// Several returned values.
    pub(crate) fn read_all(&self, lua: &Lua, values: &MultiValue) -> Result<Vec<Value>> {
        values
            .iter()
            .map(|value| {
                self.convert.read(lua, value).map_err(|mut error| {
                    error.message = format!("the value that the function returned {}", error.message);
                    error
                })
            })
            .collect()
    }
}

/// Splits a script's arguments: positional ones up to the last parameter, then the options table.
fn split(core: &Rc<Core>, lua: &Lua, definition: &Definition, arguments: MultiValue, questions: &Rc<Questions>) -> Result<Arguments> {
    let name = definition.name;
    let convert = |value: &LuaValue, what: String| -> Result<Arg> {
        if let LuaValue::Function(function) = value {
            let callback: Rc<dyn Callback> =
                Rc::new(LuaCallback { core: core.clone(), function: function.clone(), questions: questions.clone() });
            questions.given.borrow_mut().push((Rc::as_ptr(&callback).cast::<()>(), function.clone()));
            return Ok(Arg::Function(callback));
        }
        core.convert.read(lua, value).map(Arg::Value).map_err(|mut error| {
            error.message = format!("`{name}`: {what} {}", error.message);
            error
        })
    };
    let mut made = Arguments::default();
    for (place, value) in arguments.iter().enumerate() {
        if let Some(param) = definition.params.get(place) {
            made.positional.push(convert(value, format!("argument `{}`", param.name))?);
        } else if place == definition.params.len() && !definition.options.is_empty() {
            made.options = options(name, value, &convert)?;
        } else if !matches!(value, LuaValue::Nil) {
            made.positional.push(convert(value, format!("argument {}", place + 1))?);
        }
    }
    // Values that are not there at the end are not counted as given.
    while made.positional.last().is_some_and(Arg::is_nil) {
        made.positional.pop();
    }
    Ok(made)
}

fn options(name: &str, value: &LuaValue, convert: &dyn Fn(&LuaValue, String) -> Result<Arg>) -> Result<BTreeMap<String, Arg>> {
    let table = match value {
        LuaValue::Nil => return Ok(BTreeMap::new()),
        LuaValue::Table(table) => table,
        other => {
            return Err(broken(format!("`{name}`: the options must be a table, got a {}", kind(other)))
                .hint(format!("options stand last: `{name}(…, {{ timeout = \"5m\" }})`")));
        }
    };
    let mut options = BTreeMap::new();
    let mut failed = None;
    let walked = table.for_each(|key: LuaValue, value: LuaValue| {
        match &key {
            LuaValue::String(key) => {
                let key = key.to_string_lossy();
                match convert(&value, format!("option `{key}`")) {
                    Ok(arg) => {
                        options.insert(key, arg);
                    }
                    Err(error) => {
                        failed.get_or_insert(error);
                    }
                }
            }
            _ => {
                failed.get_or_insert(broken(format!("`{name}`: the options must have names: `{{ name = value }}`")));
            }
        }
        Ok(())
    });
    walked.map_err(fault)?;
    failed.map_or(Ok(options), Err)
}

/// Whether the options of a call say `read = true`; asked before anything else is looked at.
fn says_read(definition: &Definition, arguments: &MultiValue) -> bool {
    match arguments.get(definition.params.len()) {
        Some(LuaValue::Table(options)) => matches!(options.raw_get("read"), Ok(LuaValue::Boolean(true))),
        _ => false,
    }
}

fn json(arg: &Arg) -> Json {
    match arg {
        Arg::Value(value) => value.clone().into_json(),
        Arg::Function(_) => Json::Null,
    }
}

/// `print`: a note, when something runs; the place to note is the operator's transcript, so that a file that loads has none.
pub(crate) fn print(core: &Rc<Core>, lua: &Lua, arguments: &MultiValue) -> Result<MultiValue> {
    if core.session().is_none_or(|session| session.mode() == Mode::Load) {
        return Err(while_loading("print"));
    }
    if let Some(note) = crate::primitives::find("note") {
        return call(core, lua, note, arguments.clone());
    }
    let session = core.session().and_then(|session| session.scene()).ok_or_else(|| while_loading("print"))?;
    let text = arguments.front().map(LuaValue::to_string).transpose().map_err(fault)?.unwrap_or_default();
    session.cx.talk.note(&text);
    Ok(MultiValue::new())
}

#[cfg(test)]
mod tests {
    use std::panic::panic_any;
    use std::task::Waker;

    use super::*;

    fn poll(verb: LocalBoxFuture<'static, Result<Done>>) -> Poll<Result<Done>> {
        let mut verb = verb;
        polled(&mut verb, &mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn a_fault_of_ours_in_a_verb_is_an_error_that_no_script_holds_and_that_says_so() {
        let Poll::Ready(Err(error)) = poll(Box::pin(async { panic!("a bug in {}", "a verb") })) else { panic!("no error") };
        assert_eq!((error.kind, error.kind.exit_code(), error.is_stop()), (Kind::Internal, 1, true));
        assert_eq!(error.details["outcome"], "unknown");
        assert!(error.hint.as_deref().unwrap().contains("resumed"));
    }

    #[test]
    fn what_is_thrown_on_purpose_goes_through() {
        struct Thrown;
        let caught = catch_unwind(|| poll(Box::pin(async { panic_any(Thrown) })).is_ready());
        assert!(caught.unwrap_err().is::<Thrown>());
    }
}
