//! What the tests of this folder share: a runbook from a text, a small simulated cluster, and ears for calls and notes.

use std::cell::RefCell;
use std::rc::Rc;

use futures::future::LocalBoxFuture;
use lockgate::base::{Error, Result, Value};
use lockgate::cluster::{Cluster, Options, RunId};
use lockgate::lua::{Engine, Limits, LuaHost};
use lockgate::primitives::{AskOptions, Cx, Done, Progress, Talk, Wrote};
use lockgate::run::{Call, CallbackId, Calls, Owner, Params, Phase, Returned, Scene, Script, Source, State};
use lockgate_sim::json::{Value as Json, json};
use lockgate_sim::request::Request;
use lockgate_sim::{Cluster as Sim, Options as SimOptions};

/// Hears what a script says and calls.
#[derive(Default)]
pub(super) struct Ears {
    pub(super) notes: RefCell<Vec<String>>,
    pub(super) calls: RefCell<Vec<Call>>,
}

impl Talk for Ears {
    fn confirm<'a>(&'a self, _: &'a str) -> LocalBoxFuture<'a, Result<()>> {
        Box::pin(std::future::ready(Ok(())))
    }
    fn ask<'a>(&'a self, _: &'a str, options: &'a AskOptions) -> LocalBoxFuture<'a, Result<String>> {
        Box::pin(std::future::ready(Ok(options.default.clone().unwrap_or_default())))
    }
    fn manual<'a>(&'a self, _: &'a str) -> LocalBoxFuture<'a, Result<()>> {
        Box::pin(std::future::ready(Ok(())))
    }
    fn assume(&self, text: &str, _: Option<&Error>) {
        self.notes.borrow_mut().push(format!("assumed: {text}"));
    }
    fn note(&self, text: &str) {
        self.notes.borrow_mut().push(text.to_owned());
    }
    fn progress(&self, _: Progress) {}
    fn wrote(&self, _: &Wrote) {}
}

impl Calls for Ears {
    fn begin(&self, call: &Call) -> Result<Option<Result<Done>>> {
        self.calls.borrow_mut().push(call.clone());
        Ok(None)
    }
    fn end(&self, _: &Call, _: &Result<Done>) {}
}

/// A ConfigMap with what a careless converter would change.
pub(super) fn nasty() -> Json {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": { "name": "nasty", "namespace": "default", "annotations": {}, "finalizers": [] },
        "data": { "8080": "web", "percent": "25%" },
    })
}

fn sim() -> Sim {
    let mut sim = Sim::new(SimOptions::default());
    for name in ["default", "kube-system"] {
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
        sim.handle(&Request::post("/api/v1/namespaces", &namespace));
    }
    sim.handle(&Request::post("/api/v1/namespaces/default/configmaps", &nasty()));
    sim
}

/// One runbook on a Lua state.
pub(super) struct Book {
    pub(super) host: LuaHost,
    pub(super) ears: Rc<Ears>,
    pub(super) cluster: Cluster,
    pub(super) params: Params,
    pub(super) state: State,
}

pub(super) const HEADER: &str = "runbook { title = \"T\", summary = \"S.\", impact = \"none\" }\n";

impl Book {
    pub(super) fn on(engine: &Engine, text: &str) -> Book {
        Self::of(engine, Source::of_text("book", text))
    }

    pub(super) fn of(engine: &Engine, source: Source) -> Book {
        let runtime = Rc::new(tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap());
        Book {
            host: LuaHost::on(engine, source, Some(runtime)),
            ears: Rc::new(Ears::default()),
            cluster: Cluster::simulated(sim(), Options::new(run_id())),
            params: Params::new(),
            state: State::new(),
        }
    }

    pub(super) fn scene(&self) -> Scene {
        Scene {
            params: Rc::new(self.params.clone()),
            state: self.state.clone(),
            cx: Cx { cluster: self.cluster.clone(), talk: self.ears.clone() },
            calls: self.ears.clone(),
        }
    }

    /// Enters, calls one function, leaves.
    pub(super) fn call(&mut self, owner: Owner, phase: Phase, arguments: Vec<Value>) -> Result<Returned> {
        self.host.enter(self.scene())?;
        let returned = self.host.call(CallbackId { owner, phase }, arguments);
        let left = self.host.leave();
        let returned = returned?;
        self.state = left?;
        Ok(returned)
    }
}

fn run_id() -> RunId {
    RunId::simulated(lockgate::base::Timestamp::UNIX_EPOCH, 1)
}

/// A state with small limits, so that stops come soon.
pub(super) fn engine() -> Engine {
    Engine::new(Limits { memory: 32 << 20, turns: 300_000, ..Limits::default() }).unwrap()
}

/// Runs the body of a step's `run` and gives what it returns.
pub(super) fn run_on(engine: &Engine, body: &str) -> Result<Vec<Value>> {
    let text = format!("{HEADER}step \"s\" {{ title = \"s\", run = function(...)\n{body}\nend }}");
    Book::on(engine, &text).call(Owner::Step(0), Phase::Run, Vec::new()).map(|returned| returned.values)
}

/// The same on a new state.
pub(super) fn run(body: &str) -> Result<Vec<Value>> {
    run_on(&engine(), body)
}

/// The first value that the body returns, as JSON.
pub(super) fn value(body: &str) -> Json {
    match run(body) {
        Ok(values) => values.into_iter().next().map_or(Json::Null, Value::into_json),
        Err(error) => panic!("{body}\n{error}\n{error:?}"),
    }
}

/// The error that the body ends with.
pub(super) fn error(body: &str) -> Error {
    match run(body) {
        Ok(values) => panic!("no error: {values:?}"),
        Err(error) => error,
    }
}

/// The error of loading this text.
pub(super) fn load_error(text: &str) -> Error {
    match Book::on(&engine(), text).host.load() {
        Ok(book) => panic!("no error: {book:?}"),
        Err(error) => error,
    }
}
