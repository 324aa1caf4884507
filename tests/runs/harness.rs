//! Runs in this process whose journal is kept in memory: they hold the lock of their cluster as every run does, and can be killed anywhere.
//! How a process dies, and what it leaves, is `lockgate test`'s own engine (`lockgate::cli::test::kill`).

use std::rc::Rc;

use futures::future::LocalBoxFuture;
use lockgate::base::Result;
use lockgate::cli::test::ended;
pub(super) use lockgate::cli::test::kill::{Disk, Kill, Lived, SOMEBODY, World};
use lockgate::cli::test::kill::{Of, Process, Trace, process};
use lockgate::cluster::{Cluster, Options, RunId, Simulation};
use lockgate::lua::LuaHost;
use lockgate::primitives::AskOptions;
use lockgate::run::event::TargetInfo;
use lockgate::run::journal::book::OnDrift;
use lockgate::run::journal::entry::{Header, VERSION};
use lockgate::run::lock::Errand;
use lockgate::run::{Confirmation, Given, Job, Operator, Runbook, Script, Source, Summary, Voice, params, perform};
use lockgate_sim::faults::{FaultsDocument, Happening, Rule};
use lockgate_sim::fixture::Fixture;
use lockgate_sim::json::Value as Json;
use lockgate_sim::model::Span as SimSpan;
use lockgate_sim::{Cluster as Sim, Options as SimOptions};
use tokio::runtime::Runtime;

/// What a cluster holds a quarter of an hour later that a run may have changed, without what moves by itself.
pub(super) fn state(cluster: &Cluster) -> Vec<String> {
    cluster.simulation().unwrap().with(ended::held)
}

/// Says yes to everything, and answers every question.
#[derive(Clone, Copy, Debug)]
pub(super) struct Yes;

impl Operator for Yes {
    fn confirm<'a>(&'a self, _: &'a Confirmation) -> LocalBoxFuture<'a, Result<Option<bool>>> {
        Box::pin(async { Ok(Some(true)) })
    }

    fn ask<'a>(&'a self, _: &'a Confirmation, options: &'a AskOptions) -> LocalBoxFuture<'a, Result<Option<String>>> {
        let answer = options.default.clone().or_else(|| options.choices.first().cloned()).unwrap_or_else(|| "an answer".to_owned());
        Box::pin(async { Ok(Some(answer)) })
    }
}

/// A runbook on a cluster.
pub(super) struct Scene {
    pub(super) source: Source,
    pub(super) given: Vec<String>,
    pub(super) sim: Sim,
    /// How many nodes of workers may be out of service at a time.
    pub(super) budget: usize,
    /// Whether requests may arrive late by themselves: then the age of a lock when they do says nothing.
    pub(super) delays: bool,
    /// Whether its processes take the lock of the cluster, as every run does.
    pub(super) locked: bool,
}

/// What a process does with its script.
type Work<'a> = &'a dyn Fn(&mut dyn Script, Job, &Rc<Runtime>, &Runbook) -> Summary;

impl Scene {
    pub(super) fn new(text: &str, fixture: &str) -> Scene {
        let fixture = Fixture::parse("cluster.yaml", fixture).unwrap();
        Scene::of(Source::of_text("tried", text), fixture.cluster(SimOptions::default()).unwrap())
    }

    /// The same of a source on a cluster that is there.
    pub(super) fn of(source: Source, sim: Sim) -> Scene {
        Scene { source, given: Vec::new(), sim, budget: 1, delays: false, locked: true }
    }

    /// The cluster as it is before the run.
    pub(super) fn cluster(&self) -> Simulation {
        Simulation::new(self.sim.fork())
    }

    /// The cluster before the run, with an empty disk beside it.
    pub(super) fn world(&self) -> World {
        World::of(self.cluster(), Some(self.header()))
    }

    fn header(&self) -> Header {
        Header {
            v: VERSION,
            run: self.id().to_string(),
            what: "run".to_owned(),
            of: None,
            runbook: "tried".to_owned(),
            title: "t".to_owned(),
            source: "tried.luau".to_owned(),
            files: [].into(),
            params: [].into(),
            typed: [].into(),
            target: TargetInfo { name: "simulated".to_owned(), simulated: true },
            way: Json::Null,
            cluster: None,
            namespace: "default".to_owned(),
            version: "0".to_owned(),
            command: "lockgate run tried".to_owned(),
        }
    }

    /// All that happened in a world in which it ran.
    pub(super) fn trace<'a>(&'a self, world: &'a World) -> Trace<'a> {
        let Scene { budget, delays, .. } = *self;
        // Whether it takes it or not: it has to.
        Trace::of(Of { before: &self.sim, run: self.id().to_string(), budget, delays, locked: true }, world)
    }

    pub(super) fn id(&self) -> RunId {
        RunId::simulated(self.sim.now(), 1)
    }

    /// One process: it begins the run or goes on with it, in this world.
    pub(super) fn process(&self, world: &World, kill: Kill, on_drift: OnDrift) -> Lived {
        self.works(world, self.id(), Errand::Begin, kill, on_drift, &|script, job, _, _| perform(script, job))
    }

    /// The same of a run with this id, which does something.
    pub(super) fn works(&self, world: &World, id: RunId, begin: Errand, kill: Kill, on_drift: OnDrift, work: Work<'_>) -> Lived {
        let runtime = Rc::new(tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap());
        let mut script = LuaHost::new(self.source.clone(), Some(runtime.clone())).unwrap();
        let runbook = Rc::new(script.load().unwrap());
        let given = Given::words(&self.given).unwrap();
        let typed = params::resolve(&runbook, &given, &mut |pattern, text| script.matches(pattern, text)).unwrap();
        let made = Process {
            runtime: runtime.clone(),
            cluster: Cluster::beside(&world.simulation, Options::new(id)),
            script: &mut script,
            runbook: runbook.clone(),
            params: Rc::new(typed),
            voice: Voice::Person { operator: Rc::new(Yes), consented: Vec::new() },
            kill,
            on_drift,
            lock: self.locked.then_some(begin),
            work: &|script, job| work(script, job, &runtime, &runbook),
            beside: &Vec::new,
        };
        process(world, made)
    }

    /// A run that nobody stops, and the world after it.
    pub(super) fn whole(&self) -> (Lived, World) {
        let world = self.world();
        let ended = self.process(&world, Kill::No, OnDrift::Stop);
        (ended, world)
    }
}

/// Adds faults.
pub(super) fn happens(world: &World, rules: Vec<Rule>, happenings: Vec<Happening>) {
    world.simulation.with(|sim| sim.disturb(FaultsDocument { rules, happenings, ..FaultsDocument::default() }));
}

/// Lets so much time pass in which nobody is there.
pub(super) fn passes(world: &World, span: SimSpan) {
    world.simulation.with(|sim| {
        let until = sim.now() + span.0;
        sim.advance_to(until);
    });
}
