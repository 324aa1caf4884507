//! Runs in this process whose journal is kept in memory, and which can be killed at every line of it: from then on the journal takes
//! nothing and no request leaves, whatever the host does on its way out.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use futures::future::LocalBoxFuture;
use lockgate::base::{Error, Kind, Reason, Result, Timestamp};
use lockgate::cluster::{Cancel, Cluster, Options, RunId, Simulation};
use lockgate::lua::LuaHost;
use lockgate::primitives::AskOptions;
use lockgate::run::journal::book::OnDrift;
use lockgate::run::journal::entry::Begun;
use lockgate::run::journal::{Book, Entry, Fact, Keep, Past};
use lockgate::run::{Confirmation, Given, Job, Operator, Record, Recording, Script as _, Source, Summary, Voice, What, params, perform};
use lockgate_sim::fixture::Fixture;
use lockgate_sim::{Cluster as Sim, Options as SimOptions};

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

/// When a run is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kill {
    /// Never.
    No,
    /// Before the line of this number is on the disk.
    Before(usize),
    /// After it is.
    After(usize),
}

/// A journal in memory.
#[derive(Default)]
pub(super) struct Disk {
    pub(super) entries: RefCell<Vec<Entry>>,
    /// How many lines had been written when everything before was last synced.
    synced: Cell<usize>,
    kill: Cell<Option<Kill>>,
    written: Cell<usize>,
    killed: Cell<bool>,
}

/// The handle of one process on it.
struct Pen(Rc<Disk>, Cancel);

impl Pen {
    fn die(&self) -> Error {
        self.0.killed.set(true);
        self.1.press();
        self.1.press();
        Error::new(Kind::Cancelled, Reason::Interrupted, "killed")
    }
}

impl Keep for Pen {
    fn append(&self, at: Timestamp, fact: &Fact) -> Result<u64> {
        let disk = &self.0;
        if disk.killed.get() {
            return Err(self.die());
        }
        disk.written.set(disk.written.get() + 1);
        let number = disk.written.get();
        if disk.kill.get() == Some(Kill::Before(number)) {
            return Err(self.die());
        }
        let seq = disk.entries.borrow().len() as u64 + 1;
        disk.entries.borrow_mut().push(Entry { seq, at, fact: fact.clone() });
        if is_synced(fact) {
            disk.synced.set(disk.entries.borrow().len());
        }
        if disk.kill.get() == Some(Kill::After(number)) {
            return Err(self.die());
        }
        Ok(seq)
    }
}

/// Whether a line is on the disk when the call comes back; others are with the next one.
fn is_synced(fact: &Fact) -> bool {
    !matches!(fact, Fact::Enter { .. } | Fact::Left { .. } | Fact::Call(_) | Fact::Told { .. })
}

/// A runbook on a cluster.
pub(super) struct Scene {
    pub(super) source: Source,
    pub(super) given: Vec<String>,
    pub(super) sim: Sim,
}

/// What came of a run.
pub(super) struct Ended {
    /// None when it was killed.
    pub(super) summary: Option<Summary>,
    pub(super) cluster: Cluster,
}

impl Scene {
    pub(super) fn new(text: &str, fixture: &str) -> Scene {
        let fixture = Fixture::parse("cluster.yaml", fixture).unwrap();
        let sim = fixture.cluster(SimOptions::default()).unwrap();
        Scene { source: Source::of_text("tried", text), given: Vec::new(), sim }
    }

    /// The cluster as it is before the run.
    pub(super) fn cluster(&self) -> Simulation {
        Simulation::new(self.sim.fork())
    }

    /// One process: it begins the run or goes on with it, on this cluster.
    pub(super) fn process(&self, simulation: &Simulation, disk: &Rc<Disk>, kill: Kill, on_drift: OnDrift) -> Ended {
        let id = RunId::simulated(self.sim.now(), 1);
        let cluster = Cluster::beside(simulation, Options::new(id));
        let records: Rc<RefCell<Vec<Record>>> = Rc::default();
        disk.kill.set(Some(kill));
        disk.written.set(0);
        disk.killed.set(false);
        let summary = self.perform(&cluster, disk, on_drift, &records);
        let summary = summary.filter(|_| !disk.killed.get());
        Ended { summary, cluster }
    }

    fn perform(&self, cluster: &Cluster, disk: &Rc<Disk>, on_drift: OnDrift, records: &Rc<RefCell<Vec<Record>>>) -> Option<Summary> {
        let runtime = Rc::new(tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap());
        let mut script = LuaHost::new(self.source.clone(), Some(runtime.clone())).unwrap();
        let runbook = Rc::new(script.load().unwrap());
        let given = Given::words(&self.given).unwrap();
        let typed = params::resolve(&runbook, &given, &mut |pattern, text| script.matches(pattern, text)).unwrap();
        let past = Past::of(disk.entries.borrow().iter().cloned());
        let pen = Pen(disk.clone(), cluster.cancel().clone());
        let book = Rc::new(Book::new(Box::new(pen), cluster.clock().clone(), past, on_drift));
        let begun = Begun { pid: 1, host: "here".into(), user: "me".into(), epoch: 1 };
        // Killed before anything.
        book.note(&Fact::Begun(begun)).ok()?;
        let voice = Voice::Person { operator: Rc::new(Yes), consented: Vec::new() };
        let job = Job {
            what: What::Run,
            cluster: cluster.clone(),
            runbook,
            params: Rc::new(typed),
            voice,
            sink: records.clone(),
            record: Some(Recording { book, runtime }),
        };
        Some(perform(&mut script, job))
    }

    /// How many lines a run of this writes that nobody stops.
    pub(super) fn whole(&self) -> (Ended, Rc<Disk>) {
        let disk = Rc::<Disk>::default();
        let ended = self.process(&self.cluster(), &disk, Kill::No, OnDrift::Stop);
        (ended, disk)
    }
}

impl Disk {
    /// Loses what was written since the last sync, as a machine that goes down may.
    pub(super) fn lose_unsynced(&self) {
        self.entries.borrow_mut().truncate(self.synced.get());
    }
}

/// What a cluster holds that a run may have changed, without what moves by itself; and each effect of the run in order.
pub(super) fn state(cluster: &Cluster) -> Vec<String> {
    use lockgate_sim::json::Value as Json;
    let simulation = cluster.simulation().unwrap();
    let mut found: Vec<String> = Vec::new();
    simulation.with(|sim| {
        let until = sim.now() + lockgate::base::Span::from_secs(900).as_duration();
        sim.advance_to(until);
        for (group, version, plural) in KINDS {
            let Some(kind) = lockgate_sim::kinds::by_resource(group, version, plural) else { continue };
            for (_, object) in sim.store().list(kind, None) {
                let mut object: Json = (**object).clone();
                tidy(&mut object);
                found.push(object.to_string());
            }
        }
    });
    found.sort();
    found
}

const KINDS: &[(&str, &str, &str)] = &[
    ("apps", "v1", "deployments"),
    ("apps", "v1", "daemonsets"),
    ("apps", "v1", "statefulsets"),
    ("", "v1", "configmaps"),
    ("", "v1", "secrets"),
    ("", "v1", "nodes"),
    ("", "v1", "pods"),
    ("policy", "v1", "poddisruptionbudgets"),
];

/// Leaves what a person would call the state.
fn tidy(object: &mut lockgate_sim::json::Value) {
    use lockgate_sim::json::{Value as Json, json};
    let kind = object["kind"].as_str().unwrap_or_default().to_owned();
    if kind == "Pod" {
        let owner = object.pointer("/metadata/ownerReferences/0/kind").cloned().unwrap_or(Json::Null);
        let image = object.pointer("/spec/containers/0/image").cloned().unwrap_or(Json::Null);
        *object = json!({ "kind": "Pod", "owner": owner, "image": image, "phase": object["status"]["phase"], "node": object["spec"]["nodeName"], "label": object["metadata"]["labels"]["app"] });
        return;
    }
    if let Some(fields) = object.as_object_mut() {
        fields.remove("status");
        if let Some(metadata) = fields.get_mut("metadata").and_then(Json::as_object_mut) {
            for field in ["resourceVersion", "uid", "managedFields", "generation", "creationTimestamp"] {
                metadata.remove(field);
            }
            if let Some(annotations) = metadata.get_mut("annotations").and_then(Json::as_object_mut) {
                annotations.remove("lockgate.dev/op");
                annotations.remove("deployment.kubernetes.io/revision");
            }
            if metadata.get("annotations").and_then(Json::as_object).is_some_and(|annotations| annotations.is_empty()) {
                metadata.remove("annotations");
            }
        }
        let template = fields.get_mut("spec").and_then(|spec| spec.get_mut("template")).and_then(|template| template.get_mut("metadata"));
        if let Some(annotations) = template.and_then(|metadata| metadata.get_mut("annotations")).and_then(Json::as_object_mut) {
            annotations.remove("kubectl.kubernetes.io/restartedAt");
        }
    }
}

/// Every effect that clients had on the cluster, the lock's apart, sorted: nothing may be in it twice that was not meant twice.
pub(super) fn effects(cluster: &Cluster) -> Vec<String> {
    let simulation = cluster.simulation().unwrap();
    let of = |effect: &lockgate_sim::ledger::Effect| format!("{} {}", effect.verb, effect.subject);
    let mut found: Vec<String> =
        simulation.with(|sim| sim.ledger().iter().filter(|effect| !effect.subject.starts_with("lease/")).map(of).collect());
    found.sort();
    found
}
