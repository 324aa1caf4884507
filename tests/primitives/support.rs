//! What the tests of this folder share: a cluster, an operator who answers as told, and calls as a script makes them.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use futures::future::LocalBoxFuture;
use lockgate::base::{Error, Kind, ObjectRef, Reason, Result, Value};
use lockgate::cluster::{Access, Cluster, Options, RunId, Verb};
use lockgate::primitives::{Arg, Arguments, AskOptions, Cx, Done, Inverse, Progress, Talk, Wrote, find};
use lockgate_sim::fixture::Fixture;
use lockgate_sim::json::{Value as Json, json};
use lockgate_sim::{Cluster as Sim, Options as SimOptions};

/// An operator who says yes unless told otherwise, and a record of what was said.
#[derive(Default)]
pub(super) struct Operator {
    pub(super) declines: Cell<bool>,
    pub(super) notes: RefCell<Vec<String>>,
    pub(super) assumed: RefCell<Vec<String>>,
    pub(super) states: RefCell<Vec<String>>,
    pub(super) asked: RefCell<Vec<(String, AskOptions)>>,
    /// The writes that verbs with several told when they made them.
    pub(super) told: RefCell<Vec<Wrote>>,
}

impl Talk for Operator {
    fn confirm<'a>(&'a self, question: &'a str) -> LocalBoxFuture<'a, Result<()>> {
        self.asked.borrow_mut().push((question.to_owned(), AskOptions::default()));
        let no = Error::new(Kind::Cancelled, Reason::Declined, "declined");
        Box::pin(std::future::ready(if self.declines.get() { Err(no) } else { Ok(()) }))
    }

    fn ask<'a>(&'a self, question: &'a str, options: &'a AskOptions) -> LocalBoxFuture<'a, Result<String>> {
        self.asked.borrow_mut().push((question.to_owned(), options.clone()));
        Box::pin(std::future::ready(Ok(options.default.clone().unwrap_or_else(|| "2".to_owned()))))
    }

    fn manual<'a>(&'a self, text: &'a str) -> LocalBoxFuture<'a, Result<()>> {
        self.confirm(text)
    }

    fn assume(&self, text: &str, _: Option<&Error>) {
        self.assumed.borrow_mut().push(text.to_owned());
    }

    fn note(&self, text: &str) {
        self.notes.borrow_mut().push(text.to_owned());
    }

    fn wrote(&self, wrote: &Wrote) {
        self.told.borrow_mut().push(wrote.clone());
    }

    fn progress(&self, progress: Progress) {
        self.states.borrow_mut().push(match progress {
            Progress::Warned(text) => format!("warning: {text}"),
            Progress::Delayed(delay) => format!("{}: {}", delay.what, delay.state),
            Progress::Waiting { what, state, .. } => format!("{what}: {state}"),
            Progress::Done { what, state, took } => format!("{what}: {state} after {took}"),
        });
    }
}

/// A cluster with somebody to call verbs on it.
pub(super) struct Rig {
    pub(super) cluster: Cluster,
    pub(super) operator: Rc<Operator>,
    runtime: tokio::runtime::Runtime,
}

impl Rig {
    /// The cluster of this folder's fixture.
    pub(super) fn new() -> Rig {
        Rig::with(|_| {})
    }

    /// The same with something done to it first.
    pub(super) fn with(given: impl FnOnce(&mut Sim)) -> Rig {
        Rig::also("", given)
    }

    /// The same with more documents behind those of the fixture.
    pub(super) fn also(documents: &str, given: impl FnOnce(&mut Sim)) -> Rig {
        let text = format!("{}\n{documents}", include_str!("cluster.yaml"));
        let fixture = Fixture::parse("cluster.yaml", &text).unwrap();
        let mut sim = fixture.cluster(SimOptions::default()).unwrap();
        given(&mut sim);
        Rig::on(sim)
    }

    /// Another simulated cluster.
    pub(super) fn on(sim: Sim) -> Rig {
        let options = Options::new(RunId::simulated(sim.now(), 1));
        Rig::over(Cluster::simulated(sim, options))
    }

    /// Any cluster.
    pub(super) fn over(cluster: Cluster) -> Rig {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Rig { cluster, operator: Rc::default(), runtime }
    }

    /// A plan on that cluster as if it were a live one.
    pub(super) fn planning(given: impl FnOnce(&mut Sim)) -> Rig {
        let fixture = Fixture::parse("cluster.yaml", include_str!("cluster.yaml")).unwrap();
        let mut sim = fixture.cluster(SimOptions::default()).unwrap();
        given(&mut sim);
        let options = Options::new(RunId::simulated(sim.now(), 1));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Rig { cluster: Cluster::stand_in(sim, options).planning(), operator: Rc::default(), runtime }
    }

    pub(super) fn cx(&self) -> Cx {
        Cx { cluster: self.cluster.clone(), talk: self.operator.clone() }
    }

    /// Runs a future to its end on this rig's thread.
    pub(super) fn run<F: Future>(&self, future: F) -> F::Output {
        self.runtime.block_on(future)
    }

    /// A call as a script makes it, not yet run.
    pub(super) fn calling(&self, verb: &str, positional: Vec<Arg>, options: &Json) -> LocalBoxFuture<'static, Result<Done>> {
        let options: BTreeMap<String, Arg> =
            options.as_object().into_iter().flatten().map(|(key, value)| (key.to_string(), arg(value.clone()))).collect();
        let call = find(verb).unwrap().call.unwrap();
        call(self.cx(), Arguments { positional, options })
    }

    /// The same, run. `positional` is a list of plain values.
    pub(super) fn call(&self, verb: &str, positional: Json, options: Json) -> Result<Done> {
        let Json::Array(positional) = positional else { panic!("positional arguments are a list") };
        self.run(self.calling(verb, positional.into_iter().map(arg).collect(), &options))
    }

    /// The value of a call that must succeed.
    pub(super) fn value(&self, verb: &str, positional: Json, options: Json) -> Json {
        self.call(verb, positional, options).unwrap().value.into_json()
    }

    /// The error of a call that must fail.
    pub(super) fn error(&self, verb: &str, positional: Json, options: Json) -> Error {
        self.call(verb, positional, options).unwrap_err()
    }

    /// The object as it is now.
    pub(super) fn object(&self, reference: &str) -> Json {
        self.run(async {
            let target = self.cluster.target(&ObjectRef::parse(reference).unwrap(), None).await.unwrap();
            (*self.cluster.get(&target).await.unwrap()).clone()
        })
    }

    /// The pods with this label, those that are terminating included.
    pub(super) fn pods_of(&self, app: &str) -> Vec<Json> {
        let pods = self.value("list", json!(["pods"]), json!({ "labels": format!("app={app}") }));
        pods.as_array().unwrap().to_vec()
    }

    /// The image of the first container of each pod with this label that is there to stay, sorted.
    pub(super) fn images_of(&self, app: &str) -> Vec<String> {
        let stays = |pod: &&Json| pod["metadata"]["deletionTimestamp"].is_null();
        let image = |pod: &Json| pod["spec"]["containers"][0]["image"].as_str().unwrap().to_owned();
        let mut images: Vec<String> = self.pods_of(app).iter().filter(stays).map(image).collect();
        images.sort();
        images
    }

    /// How many writes have left so far.
    pub(super) fn writes(&self) -> usize {
        self.cluster.requests().iter().filter(|request| request.verb.is_write() && !request.dry_run).count()
    }

    /// How many requests of this verb for a resource such as `pods` or `deployments.apps` have left so far.
    pub(super) fn requests(&self, verb: Verb, resource: &str) -> usize {
        self.cluster.requests().iter().filter(|request| request.verb == verb && request.resource == resource && !request.dry_run).count()
    }

    /// Something done to the simulated cluster past the client.
    pub(super) fn sim<T>(&self, work: impl FnOnce(&mut Sim) -> T) -> T {
        self.cluster.simulation().unwrap().with(work)
    }

    /// Calls the inverse that a write recorded.
    pub(super) fn undo(&self, done: &Done) -> Done {
        match &done.wrote[0].inverse {
            Inverse::Call { verb, arguments, options } => self.call(verb, arguments.clone().into(), options.clone()).unwrap(),
            Inverse::Irreversible(why) => panic!("irreversible: {why}"),
        }
    }

    /// Nothing may be written from now on.
    pub(super) fn read_only(&self) {
        self.cluster.set_access(Access::ReadOnly);
    }
}

/// A plain value as an argument.
pub(super) fn arg(value: Json) -> Arg {
    Arg::Value(if value.is_null() { Value::Nil } else { Value::Json(value) })
}

/// What a write changed, as the transcript shows it.
pub(super) fn changes(done: &Done) -> Vec<String> {
    done.wrote[0].changes.iter().map(ToString::to_string).collect()
}
