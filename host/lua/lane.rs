//! The script's side of items that are done at the same time: each has a thread with a Lua state of its own. Only plain data crosses, and
//! only one thread works at any moment: whoever speaks waits for the answer, so that the order of things stays one. The verbs that the
//! items call are the main thread's futures.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::task::Poll;

use futures::channel::oneshot;
use futures::future::LocalBoxFuture;
use mlua::Function;

use super::bind::{Questions, called_inside, polled};
use super::engine::{Core, Engine};
use super::host::LuaHost;
use super::worker::{self, Working};
use crate::base::{Error, Result, Value};
use crate::cluster::Cancel;
use crate::primitives::{Arg, Arguments, Callback, Definition, Done, Progress};
use crate::run::script::Lane;
use crate::run::{Call, CallbackId, Params, Returned, Scene, Source, State};

/// What a lane is told.
enum Told {
    Enter {
        params: Params,
        state: State,
        cancel: Cancel,
    },
    Call {
        callback: CallbackId,
        arguments: Vec<Value>,
    },
    Leave,
    /// The result of the verb that it called last.
    Answer(Box<Result<Done>>),
    /// The verb that it called last wants a function of its arguments called.
    Ask {
        function: usize,
        arguments: Vec<Value>,
    },
}

/// What a lane says.
enum Said {
    Entered(Result<()>),
    Returned(Result<Returned>),
    Left(Result<State>),
    /// The script calls a verb, and waits.
    Verb(Box<Verb>),
    /// What the function that was asked for gave.
    Answered(Result<Vec<Value>>),
}

struct Verb {
    definition: &'static Definition,
    positional: Vec<Sent>,
    options: BTreeMap<String, Sent>,
    made: Call,
}

/// An argument on its way.
enum Sent {
    Value(Value),
    /// A function, by its place among those of the call.
    Function(usize),
}

/// The way from a lane to the main thread.
pub(super) struct Port {
    out: Sender<Said>,
    inn: Receiver<Told>,
    cancel: RefCell<Cancel>,
}

/// Nobody listens any more: the run was ended.
fn gone<T>(_: T) -> Error {
    Cancel::error()
}

impl Port {
    /// The switch that stops the run.
    pub(super) fn cancel(&self) -> Cancel {
        self.cancel.borrow().clone()
    }

    /// Has the main thread call a verb, and answers for the functions among its arguments meanwhile.
    pub(super) fn verb(
        &self,
        core: &Core,
        definition: &'static Definition,
        arguments: Arguments,
        made: &Call,
        questions: &Questions,
    ) -> Result<Done> {
        let mut functions: Vec<Function> = Vec::new();
        let mut send = |arg: Arg| match arg {
            Arg::Value(value) => Ok(Sent::Value(value)),
            Arg::Function(callback) => {
                let function = questions.function(&callback).ok_or_else(|| Error::internal("a function of nobody"))?;
                functions.push(function);
                Ok(Sent::Function(functions.len() - 1))
            }
        };
        let positional = arguments.positional.into_iter().map(&mut send).collect::<Result<Vec<_>>>()?;
        let options = arguments.options.into_iter().map(|(name, arg)| Ok((name, send(arg)?))).collect::<Result<BTreeMap<_, _>>>()?;
        self.out.send(Said::Verb(Box::new(Verb { definition, positional, options, made: made.clone() }))).map_err(gone)?;
        loop {
            match self.inn.recv().map_err(gone)? {
                Told::Answer(result) => return *result,
                Told::Ask { function, arguments } => {
                    let function = functions.get(function).ok_or_else(|| Error::internal("a function that the call does not have"));
                    let answer = function.and_then(|function| core.call_values(function, &arguments));
                    self.out.send(Said::Answered(answer)).map_err(gone)?;
                }
                Told::Enter { .. } | Told::Call { .. } | Told::Leave => {
                    return Err(Error::internal("a lane is told something else while it waits for a verb"));
                }
            }
        }
    }
}

/// What the thread of a lane does, until nobody speaks to it any more.
fn work(mut host: LuaHost, port: Rc<Port>) {
    while let Ok(told) = port.inn.recv() {
        let said = match told {
            Told::Enter { params, state, cancel } => {
                *port.cancel.borrow_mut() = cancel;
                Said::Entered(host.enter_lane(&params, &state, port.clone()))
            }
            Told::Call { callback, arguments } => Said::Returned(crate::run::Script::call(&mut host, callback, arguments)),
            Told::Leave => Said::Left(crate::run::Script::leave(&mut host)),
            Told::Answer(_) | Told::Ask { .. } => continue,
        };
        if port.out.send(said).is_err() {
            return;
        }
    }
}

/// A lane as the main thread has it.
pub(super) struct LuaLane {
    /// Taken when the lane ends: then its thread does.
    out: Option<Sender<Told>>,
    inn: Receiver<Said>,
    working: Option<Working>,
    scene: Option<Scene>,
}

impl LuaLane {
    /// Has a thread with a Lua state for this file.
    pub(super) fn begin(source: &Source, modules: &[std::path::PathBuf], limits: &super::Limits) -> Result<LuaLane> {
        let (out, its_inn) = channel();
        let (its_out, inn) = channel();
        let (source, modules) = (source.clone(), modules.to_vec());
        let heard = tracing::dispatcher::get_default(Clone::clone);
        let begin = move |engine: Result<Engine>| {
            tracing::dispatcher::with_default(&heard, || {
                let port = Rc::new(Port { out: its_out, inn: its_inn, cancel: RefCell::default() });
                match engine {
                    Ok(engine) => work(LuaHost::on(&engine, source, None).with_modules(modules), port),
                    // Whoever enters it hears why.
                    Err(error) => while port.inn.recv().is_ok() && port.out.send(Said::Entered(Err(error.clone()))).is_ok() {},
                }
            });
        };
        let working = worker::begin(limits, Box::new(begin))?;
        Ok(LuaLane { out: Some(out), inn, working: Some(working), scene: None })
    }

    /// Says something, and waits for what comes back.
    fn exchange(&self, told: Told) -> Result<Said> {
        let ended = || Error::internal("the thread of an item has ended");
        let out = self.out.as_ref().ok_or_else(ended)?;
        out.send(told).map_err(|_| ended())?;
        self.inn.recv().map_err(|_| ended())
    }

    /// Makes the call that the script waits for.
    fn verb<'a>(&'a self, verb: Box<Verb>) -> LocalBoxFuture<'a, Result<Done>> {
        Box::pin(async move {
            let Verb { definition, positional, options, made } = *verb;
            let scene = self.scene.clone().ok_or_else(|| Error::internal("a lane calls a verb before it was entered"))?;
            if let Some(recorded) = scene.calls.begin(&made)? {
                return recorded;
            }
            let call = definition.call.ok_or_else(|| Error::internal(format!("`{}` has no function", definition.name)))?;
            let asked = Rc::new(Asked::default());
            let take = |sent: Sent| match sent {
                Sent::Value(value) => Arg::Value(value),
                Sent::Function(function) => Arg::Function(Rc::new(Far { function, asked: asked.clone(), verb: definition.name })),
            };
            let arguments = Arguments {
                positional: positional.into_iter().map(take).collect(),
                options: options.into_iter().map(|(name, sent)| (name, take(sent))).collect(),
            };
            let result = self.drive(&scene, &asked, scene.cx.whole(call(scene.cx.clone(), arguments))).await;
            for warning in scene.cx.cluster.take_warnings() {
                scene.cx.talk.progress(Progress::Warned(warning));
            }
            scene.calls.end(&made, &result);
            result
        })
    }

    /// Runs a verb to its end; the functions that it asks for are called when it waits, so that they may call verbs themselves.
    async fn drive(&self, scene: &Scene, asked: &Asked, mut verb: LocalBoxFuture<'static, Result<Done>>) -> Result<Done> {
        loop {
            let question = poll_fn(|context| {
                if let Poll::Ready(result) = polled(&mut verb, context) {
                    return Poll::Ready(Err(result));
                }
                for delay in scene.cx.cluster.take_delays() {
                    scene.cx.talk.progress(Progress::Delayed(delay));
                }
                asked.0.borrow_mut().pop().map_or(Poll::Pending, |question| Poll::Ready(Ok(question)))
            });
            match question.await {
                Err(result) => return result,
                Ok(Question { function, arguments, reply }) => {
                    let answer = self.answer(function, arguments).await;
                    if reply.send(answer).is_err() {
                        tracing::debug!("a verb no longer waits for the function it asked");
                    }
                }
            }
        }
    }

    /// Has the lane call a function.
    async fn answer(&self, function: usize, arguments: Vec<Value>) -> Result<Vec<Value>> {
        let mut said = self.exchange(Told::Ask { function, arguments })?;
        loop {
            match said {
                Said::Answered(answer) => return answer,
                Said::Verb(verb) => said = self.exchange(Told::Answer(Box::new(self.verb(verb).await)))?,
                _ => return Err(Error::internal("a lane says something else than what was asked for")),
            }
        }
    }
}

impl Lane for LuaLane {
    fn enter(&mut self, scene: Scene) -> Result<()> {
        let (params, state) = ((*scene.params).clone(), scene.state.clone());
        let cancel = scene.cx.cluster.cancel().clone();
        self.scene = Some(scene);
        match self.exchange(Told::Enter { params, state, cancel })? {
            Said::Entered(entered) => entered,
            _ => Err(Error::internal("a lane says something else than that it was entered")),
        }
    }

    fn call(&mut self, callback: CallbackId, arguments: Vec<Value>) -> LocalBoxFuture<'_, Result<Returned>> {
        Box::pin(async move {
            let mut said = self.exchange(Told::Call { callback, arguments })?;
            loop {
                match said {
                    Said::Returned(returned) => return returned,
                    Said::Verb(verb) => said = self.exchange(Told::Answer(Box::new(self.verb(verb).await)))?,
                    _ => return Err(Error::internal("a lane says something else than what its function gave")),
                }
            }
        })
    }

    fn leave(&mut self) -> Result<State> {
        self.scene = None;
        match self.exchange(Told::Leave)? {
            Said::Left(state) => state,
            _ => Err(Error::internal("a lane says something else than what it left")),
        }
    }
}

impl Drop for LuaLane {
    fn drop(&mut self) {
        // Its thread waits for what it is told, or works on nothing: it is done at once.
        drop(self.out.take());
        drop(self.working.take());
    }
}

/// Functions of the lane's script that a verb wants called.
#[derive(Default)]
struct Asked(RefCell<Vec<Question>>);

struct Question {
    function: usize,
    arguments: Vec<Value>,
    reply: oneshot::Sender<Result<Vec<Value>>>,
}

/// A function of the lane's script as a verb sees it.
struct Far {
    function: usize,
    asked: Rc<Asked>,
    verb: &'static str,
}

impl Callback for Far {
    fn call(&self, _: Vec<Value>) -> Result<Vec<Value>> {
        Err(called_inside(self.verb))
    }

    fn invoke(&self, arguments: Vec<Value>) -> LocalBoxFuture<'_, Result<Vec<Value>>> {
        Box::pin(async move {
            let (reply, answer) = oneshot::channel();
            self.asked.0.borrow_mut().push(Question { function: self.function, arguments, reply });
            answer.await.map_err(|_| Error::internal("a function of the script was not called"))?
        })
    }
}
