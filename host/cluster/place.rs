//! Where a cluster is: simulated, live, or a plan's copy of either; and how each is made.

use std::cell::{Cell, RefCell};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;

use lockgate_sim::Cluster as Sim;
use serde::{Deserialize, Serialize};

use super::budget::Budget;
use super::cancel::Cancel;
use super::client::{Cluster, Shared, Target};
use super::discovery;
use super::endpoint::Scratch;
use super::home::Home;
use super::layers::{Access, Gate, Layers, Recorder};
use super::live::{Live, LiveOptions};
use super::load::Pace;
use super::machines::Ways;
use super::overlay::{self, Drift, Overlay};
use super::run_id::RunId;
use super::sim::{self, Simulation};
use super::snapshot::{self, Contents, Snapshot};
use super::wire::{Limits, Wire};
use crate::base::json::Value as Json;
use crate::base::{Clock, Result};

/// How a cluster is to be used.
#[derive(Clone, Debug)]
pub struct Options {
    /// The run that the writes name.
    pub run: RunId,
    /// The namespace of objects that name none; else the context's, else `default`.
    pub namespace: Option<String>,
    /// The switch that stops it.
    pub cancel: Cancel,
    /// How long requests may take.
    pub limits: Limits,
    /// What a simulated cluster is called; `sandbox` when left out.
    pub name: Option<String>,
    /// The `helm` to use; else the one that `HELM_BIN` names, else the first on `PATH`.
    pub helm: Option<PathBuf>,
    /// How the machines behind the nodes of a live cluster are reached; when left out they are not.
    pub machines: Option<Ways>,
    /// Whether a plan on a live cluster leaves its server out: then nothing but reads is sent, and what the server would say about a
    /// write (admission, authorization, defaults) is not known. Default no.
    pub local: bool,
    /// How much a plan on a live cluster may read by itself.
    pub budget: Budget,
    /// The pod of the cluster that this process runs in; of a live one it is found out.
    pub home: Option<Home>,
}

impl Options {
    /// The usual options for this run.
    #[must_use]
    pub fn new(run: RunId) -> Options {
        Options {
            run,
            namespace: None,
            cancel: Cancel::new(),
            limits: Limits::default(),
            name: None,
            helm: None,
            machines: None,
            local: false,
            budget: Budget::default(),
            home: None,
        }
    }
}

/// What a cluster is, for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Label {
    /// The context's name, or that of the simulated cluster.
    pub name: String,
    /// Whether it is simulated.
    pub simulated: bool,
    /// Whether it is the copy of a plan: nothing that is written there reaches the cluster.
    pub plan: bool,
}

/// Where the requests of a cluster end.
#[derive(Clone)]
pub(super) enum Place {
    /// In a simulated cluster.
    Simulated(Simulation),
    /// At an API server, or at a simulated cluster that stands in for one.
    Server(Server),
    /// In a plan's copy of a server.
    Copy(Arc<Overlay>),
}

impl Place {
    /// The address of a live API server, and a fingerprint of its authorities.
    pub(super) fn server(&self) -> Option<String> {
        match self {
            Place::Server(Server::Live(live)) => Some(live.identity()),
            Place::Server(Server::StandIn(_) | Server::Snapshot(_)) | Place::Simulated(_) | Place::Copy(_) => None,
        }
    }
}

/// What a plan copies from.
#[derive(Clone)]
pub(super) enum Server {
    Live(Arc<Live>),
    StandIn(Simulation),
    Snapshot(Arc<Snapshot>),
}

impl Server {
    /// A clock for reading from it that nobody else takes part in.
    fn clock(&self) -> Clock {
        match self {
            Server::Live(_) => Clock::real(),
            Server::StandIn(simulation) => simulation.clock(),
            Server::Snapshot(snapshot) => snapshot.clock(),
        }
    }

    pub(super) fn wire(&self, layers: Layers, cancel: Cancel, limits: Limits) -> Wire {
        let clock = layers.clock.clone();
        match self.clone() {
            Server::Live(live) => {
                let server = live.server();
                let neighbour = live.neighbours(layers.clone(), cancel.clone());
                Wire::new(Box::new(move |anew| live.client(&layers, anew)), server, clock, cancel, limits).with_neighbours(neighbour)
            }
            Server::StandIn(simulation) => {
                let connect = Box::new(move |_: bool| Ok(sim::client(&simulation, &layers)));
                Wire::new(connect, "https://stand-in".to_owned(), clock, cancel, limits)
            }
            Server::Snapshot(snapshot) => {
                let connect = Box::new(move |_: bool| Ok(snapshot::client(&snapshot, &layers)));
                Wire::new(connect, "the snapshot".to_owned(), clock, cancel, limits)
            }
        }
    }
}

/// The pieces that every constructor puts together.
struct Parts {
    place: Place,
    label: Label,
    clock: Clock,
    namespace: String,
    access: Access,
    recorder: Recorder,
    run: RunId,
    cancel: Cancel,
    limits: Limits,
    scratch: Scratch,
    helm: Option<PathBuf>,
    ways: Option<Ways>,
    local: bool,
    budget: Budget,
    home: Option<Home>,
}

impl Parts {
    fn cluster(self) -> Cluster {
        let gate = Gate::new(self.access);
        if self.label.plan {
            gate.permit().trace();
        }
        let namespace = self.namespace.as_str().into();
        Cluster { shared: Rc::new(self.through(gate)), namespace }
    }

    fn through(self, gate: Gate) -> Shared {
        let layers = Layers { gate: gate.clone(), recorder: self.recorder.clone(), clock: self.clock.clone(), dry: self.label.plan };
        let name = "the simulated cluster".to_owned();
        let wire = match self.place.clone() {
            Place::Server(server) => {
                let wire = server.wire(layers, self.cancel, self.limits);
                if matches!(server, Server::Live(_)) { wire.with_pace(gate.pace().clone()) } else { wire }
            }
            Place::Simulated(simulation) => {
                let connect = Box::new(move |_: bool| Ok(sim::client(&simulation, &layers)));
                Wire::new(connect, name, self.clock, self.cancel, self.limits)
            }
            Place::Copy(overlay) => {
                let connect = Box::new(move |_: bool| Ok(overlay::client(&overlay, &layers)));
                Wire::new(connect, name, self.clock, self.cancel, self.limits)
            }
        };
        let wire = wire.with_fence(gate.fence().clone()).with_strain(gate.strain().clone());
        Shared {
            place: self.place,
            wire,
            gate,
            recorder: self.recorder,
            label: self.label,
            run: Cell::new(self.run),
            takes_back: RefCell::default(),
            writes: Rc::default(),
            keeper: RefCell::default(),
            grantor: RefCell::default(),
            seen: RefCell::default(),
            stragglers: RefCell::default(),
            drawn: Rc::default(),
            known: RefCell::new(discovery::built_in()),
            discovered: Cell::new(false),
            silent: RefCell::default(),
            scratch: self.scratch,
            helm: self.helm,
            ways: self.ways,
            local: Cell::new(self.local),
            budget: Cell::new(self.budget),
            home: self.home,
            looks_back: Rc::default(),
            on_machines: Rc::default(),
            reads: Rc::default(),
        }
    }
}

const DEFAULT_NAMESPACE: &str = "default";

impl Cluster {
    /// A simulated cluster: everything happens in this process and in virtual time. Reads and writes are allowed from the start.
    #[must_use]
    pub fn simulated(sim: Sim, options: Options) -> Cluster {
        let simulation = Simulation::new(sim);
        let clock = simulation.clock();
        Cluster::build(Place::Simulated(simulation), true, Access::ReadWrite, clock, DEFAULT_NAMESPACE, None, options)
    }

    /// Another way to a simulated cluster, as another process has one: with guard, record and clock of its own.
    #[must_use]
    pub fn beside(simulation: &Simulation, options: Options) -> Cluster {
        let clock = simulation.clock();
        Cluster::build(Place::Simulated(simulation.clone()), true, Access::ReadWrite, clock, DEFAULT_NAMESPACE, None, options)
    }

    /// A live cluster. Read-only until [`Cluster::set_access`] opens it. Nothing is contacted here.
    ///
    /// # Errors
    /// Input: what is wrong with the kubeconfig, the context or what it names, and what there is instead.
    pub async fn live(live: LiveOptions, options: Options) -> Result<Cluster> {
        let live = Live::find(&live).await?;
        let (name, namespace) = (live.name.clone(), live.namespace());
        let place = Place::Server(Server::Live(Arc::new(live)));
        let options = Options { home: options.home.or_else(Home::find), ..options };
        Ok(Cluster::build(place, false, Access::ReadOnly, Clock::real(), &namespace, Some(name), options))
    }

    /// A simulated cluster in the place of an API server: plans on it are made as on a live cluster. For tests.
    #[must_use]
    pub fn stand_in(sim: Sim, options: Options) -> Cluster {
        let simulation = Simulation::new(sim);
        let clock = simulation.clock();
        let place = Place::Server(Server::StandIn(simulation));
        Cluster::build(place, false, Access::ReadOnly, clock, DEFAULT_NAMESPACE, Some("stand-in".to_owned()), options)
    }

    /// A snapshot in the place of a cluster: it is read and nothing else, and plans on it ask no server.
    #[must_use]
    pub fn on_snapshot(label: &str, contents: Contents, options: Options) -> Cluster {
        let (name, namespace) = (format!("{} (snapshot {label})", contents.head.cluster), contents.head.namespace.clone());
        let snapshot = Arc::new(Snapshot::new(label, contents));
        let clock = snapshot.clock();
        let options = Options { local: true, ..options };
        Cluster::build(Place::Server(Server::Snapshot(snapshot)), false, Access::ReadOnly, clock, &namespace, Some(name), options)
    }

    /// The pod of the cluster that this process runs in, where it runs in one.
    #[must_use]
    pub fn home(&self) -> Option<&Home> {
        self.shared.home.as_ref()
    }

    /// Whether it is a snapshot: there is nothing that could be written.
    #[must_use]
    pub fn is_snapshot(&self) -> bool {
        matches!(&self.shared.place, Place::Server(Server::Snapshot(_)))
    }

    fn build(
        place: Place,
        simulated: bool,
        access: Access,
        clock: Clock,
        namespace: &str,
        name: Option<String>,
        options: Options,
    ) -> Cluster {
        let name = name.or(options.name).unwrap_or_else(|| "sandbox".to_owned());
        Parts {
            place,
            label: Label { name, simulated, plan: false },
            clock,
            namespace: options.namespace.unwrap_or_else(|| namespace.to_owned()),
            access,
            recorder: Recorder::default(),
            run: options.run,
            cancel: options.cancel,
            limits: options.limits,
            scratch: Scratch::default(),
            helm: options.helm,
            ways: options.machines,
            local: options.local,
            budget: options.budget,
            home: options.home,
        }
        .cluster()
    }

    /// A simulated cluster in the place of an API server, whose plans read from it as from one; `None` for everything else.
    #[must_use]
    pub fn as_server(&self) -> Option<Cluster> {
        let Place::Simulated(simulation) = &self.shared.place else { return None };
        let options = Options {
            namespace: Some(self.namespace().to_owned()),
            cancel: self.cancel().clone(),
            limits: self.wire().limits(),
            helm: self.shared.helm.clone(),
            local: self.shared.local.get(),
            budget: self.shared.budget.get(),
            home: self.shared.home.clone(),
            ..Options::new(self.run())
        };
        let (place, clock) = (Place::Server(Server::StandIn(simulation.clone())), simulation.clock());
        Some(Cluster::build(place, false, Access::ReadOnly, clock, DEFAULT_NAMESPACE, Some(self.label().name), options))
    }

    /// The twin that a plan works on: a copy of the simulated cluster, or a copy that reads from the live one as it needs.
    /// What is written there stays there. It starts with its own record of requests, may read and write, and shares run,
    /// namespace and the switch that stops it.
    #[must_use]
    pub fn planning(&self) -> Cluster {
        let recorder = Recorder::default();
        let (place, clock) = match &self.shared.place {
            Place::Simulated(simulation) => {
                let mut sim = simulation.fork();
                // No plan foresees what goes wrong.
                sim.clear_faults();
                // What stands there is the world of the plan; what a plan has changed stays its own.
                if !self.label().plan {
                    sim.take_as_modelled();
                }
                let copy = Simulation::new(sim);
                let clock = copy.clock();
                (Place::Simulated(copy), clock)
            }
            Place::Copy(overlay) => {
                let copy = Arc::new(overlay.fork());
                let clock = overlay::clock(&copy);
                (Place::Copy(copy), clock)
            }
            Place::Server(server) => {
                // Whatever the plan is allowed, this way is for reading, and for asking what the server would say.
                let asks = !self.shared.local.get();
                let gate = if asks { Gate::asking() } else { Gate::new(Access::ReadOnly) };
                let layers = Layers { gate, recorder: recorder.clone(), clock: server.clock(), dry: false };
                let budget = self.shared.budget.get();
                let base = server
                    .wire(layers, self.cancel().clone(), self.wire().limits())
                    .with_pace(Arc::new(Pace::new(budget.per_second, budget.per_second.saturating_mul(2))));
                let copy = Arc::new(Overlay::new(base, asks, budget));
                let clock = overlay::clock(&copy);
                (Place::Copy(copy), clock)
            }
        };
        let label = Label { plan: true, ..self.label() };
        Parts {
            place,
            label,
            clock,
            namespace: self.namespace().to_owned(),
            access: Access::ReadWrite,
            recorder,
            run: self.run(),
            cancel: self.cancel().clone(),
            limits: self.wire().limits(),
            scratch: self.shared.scratch.clone(),
            helm: self.shared.helm.clone(),
            ways: self.shared.ways.clone(),
            local: self.shared.local.get(),
            budget: self.shared.budget.get(),
            home: self.shared.home.clone(),
        }
        .cluster()
    }

    /// The same cluster to look at beside a run: for reading only, with a record and a guard of its own.
    #[must_use]
    pub fn aside(&self) -> Cluster {
        Parts {
            place: self.shared.place.clone(),
            label: self.label(),
            clock: self.clock().clone(),
            namespace: self.namespace().to_owned(),
            access: Access::ReadOnly,
            recorder: Recorder::default(),
            run: self.run(),
            cancel: self.cancel().clone(),
            limits: self.wire().limits(),
            scratch: self.shared.scratch.clone(),
            helm: self.shared.helm.clone(),
            ways: self.shared.ways.clone(),
            local: self.shared.local.get(),
            budget: self.shared.budget.get(),
            home: self.shared.home.clone(),
        }
        .cluster()
    }

    /// The same cluster for a part of a run that works at the same time as others: what it may do at present, whom it asks, who keeps its
    /// record and its place in time are its own; numbers of writes, permissions, lock and the list of requests are the run's.
    #[must_use]
    pub fn branch(&self) -> Cluster {
        let shared = &self.shared;
        let parts = Parts {
            place: shared.place.clone(),
            label: self.label(),
            clock: self.clock().join(),
            namespace: self.namespace().to_owned(),
            access: Access::ReadOnly,
            recorder: shared.recorder.branch(),
            run: self.run(),
            cancel: self.cancel().clone(),
            limits: self.wire().limits(),
            scratch: shared.scratch.clone(),
            helm: shared.helm.clone(),
            ways: shared.ways.clone(),
            local: shared.local.get(),
            budget: shared.budget.get(),
            home: shared.home.clone(),
        };
        let shared = Shared {
            takes_back: shared.takes_back.clone(),
            writes: shared.writes.clone(),
            drawn: shared.drawn.clone(),
            looks_back: shared.looks_back.clone(),
            known: shared.known.clone(),
            discovered: shared.discovered.clone(),
            silent: shared.silent.clone(),
            on_machines: shared.on_machines.clone(),
            reads: shared.reads.clone(),
            ..parts.through(self.gate().branch())
        };
        Cluster { shared: Rc::new(shared), namespace: self.namespace.clone() }
    }

    /// The simulated cluster behind this one; `None` for a live cluster.
    #[must_use]
    pub fn simulation(&self) -> Option<Simulation> {
        match &self.shared.place {
            Place::Simulated(simulation) | Place::Server(Server::StandIn(simulation)) => Some(simulation.clone()),
            Place::Copy(overlay) => Some(overlay.simulation().clone()),
            Place::Server(Server::Live(_) | Server::Snapshot(_)) => None,
        }
    }

    /// The command that signs in to a live cluster, when its kubeconfig names one.
    #[must_use]
    pub fn signs_in_by(&self) -> Option<String> {
        match &self.shared.place {
            Place::Server(Server::Live(live)) => live.plugin().map(str::to_owned),
            Place::Server(Server::StandIn(_) | Server::Snapshot(_)) | Place::Simulated(_) | Place::Copy(_) => None,
        }
    }

    /// From now on a plan on this cluster leaves the server out ([`Options::local`]).
    pub fn plan_locally(&self) {
        self.shared.local.set(true);
    }

    /// From now on a plan on this cluster may read this much by itself.
    pub fn set_budget(&self, budget: Budget) {
        self.shared.budget.set(budget);
    }

    /// Whether the server was asked about every write of the present call so far, and would do all of them. Only in a plan on a live
    /// cluster.
    #[must_use]
    pub fn admitted(&self) -> bool {
        match &self.shared.place {
            Place::Copy(overlay) => overlay.admission().all_admitted(),
            Place::Simulated(_) | Place::Server(_) => false,
        }
    }

    /// A call begins: what was admitted before is not its own.
    pub(super) fn forget_admitted(&self) {
        if let Place::Copy(overlay) = &self.shared.place {
            overlay.admission().begin();
        }
    }

    /// Whether what a plan on a live cluster has read is still so; nothing for everything else. Reads it again.
    ///
    /// # Errors
    /// What keeps it from being read.
    pub async fn drift(&self) -> Result<Option<Drift>> {
        match &self.shared.place {
            Place::Copy(overlay) => overlay.drift().await.map(Some),
            Place::Simulated(_) | Place::Server(_) => Ok(None),
        }
    }

    /// In a plan: whether the plan has changed what this object asks for, and nobody plays who would answer that in its status.
    #[must_use]
    pub fn is_unmodelled(&self, object: &Json) -> bool {
        let simulation = match &self.shared.place {
            Place::Simulated(simulation) if self.shared.label.plan => simulation,
            Place::Copy(overlay) => overlay.simulation(),
            Place::Simulated(_) | Place::Server(_) => return false,
        };
        simulation.with(|sim| sim.is_unmodelled(object))
    }

    /// In a plan on a live cluster: whether an object that is not there may come all the same. The plan has started or changed programs, nobody
    /// plays what they do, and the kind is none of those that only controllers make which are played.
    #[must_use]
    pub fn may_come(&self, target: &Target) -> bool {
        const PLAYED: [&str; 7] = ["pods", "replicasets", "controllerrevisions", "jobs", "endpoints", "endpointslices", "nodes"];
        matches!(self.shared.place, Place::Copy(_))
            && !PLAYED.contains(&target.resource.plural.as_str())
            && self.permit().asked().changes_programs()
    }

    /// In a plan on a live cluster: reads what the models of machines look at.
    pub(super) async fn knows_machines(&self) -> Result<()> {
        match &self.shared.place {
            Place::Copy(overlay) => overlay.machines().await,
            Place::Simulated(_) | Place::Server(_) => Ok(()),
        }
    }

    /// From now on [`Cluster::moved_since`] can look, on this runtime.
    pub fn looks_back_on(&self, runtime: &Rc<tokio::runtime::Runtime>) {
        drop(self.shared.looks_back.replace(Some(runtime.clone())));
    }

    /// What of the live cluster has changed since this plan has read it; nothing when nothing has, and where nobody can look. Not to be
    /// called by what runs on a runtime.
    #[must_use]
    pub fn moved_since(&self) -> Option<Drift> {
        let runtime = self.shared.looks_back.borrow().clone()?;
        match runtime.block_on(self.drift()) {
            Ok(drift) => drift.filter(|drift| !drift.changed.is_empty()),
            Err(error) => {
                tracing::warn!(target: "lockgate::plan", %error, "whether the cluster has changed while it was planned is not known");
                None
            }
        }
    }

    /// What a plan on a live cluster could not read, one text each; what it says about that is a guess.
    #[must_use]
    pub fn unknowns(&self) -> Vec<String> {
        match &self.shared.place {
            Place::Copy(overlay) => overlay.unknowns(),
            Place::Simulated(_) | Place::Server(_) => Vec::new(),
        }
    }
}
