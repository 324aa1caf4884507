//! A plan on a live cluster: a simulated cluster that reads what it needs from the live one, and keeps every write to itself.
//!
//! Objects are copied when a request or a simulated controller first touches them (`reference/clusters.md` B5): one object by its name,
//! lists with the selectors they were asked with, and what controllers need to carry on what was written by the closure of its kind
//! (`lockgate_sim::Scope`); each once, so all reads of a plan are about one state. Nothing but GET leaves the process. What may not be
//! read is *unknown*: reading it gives the server's refusal, controllers take it for empty, and the plan lists it. Custom resources are
//! known by their definitions, which are read when one is first touched; what their operators would do nobody knows, so they are not
//! waited for. Other kinds that the simulator does not know are read through and cannot be written.

mod defined;
mod drift;
mod reading;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use futures::future::BoxFuture;
use http::{Request, Response};
use kube::client::Body;
use lockgate_sim::faults::{Action, Match, Rule};
use lockgate_sim::request::{Request as SimRequest, Response as SimResponse};
use lockgate_sim::status::Status;
use lockgate_sim::store::Key;
use lockgate_sim::{Cluster as Sim, Options as SimOptions, kinds};
use tower::{BoxError, Layer, Service};

use self::drift::Inputs;
pub use self::drift::{Drift, Moved};
pub(super) use self::reading::asking;
use super::admission::{Admission, Judged};
use super::budget::Budget;
use super::calibrate::Starts;
use super::layers::Layers;
use super::page;
use super::question::Original;
use super::request::{Act, Call, Verb};
use super::serve::Still;
use super::sim::{Reply, Simulation, to_sim};
use super::wire::Wire;
use crate::base::clock::{Advance, Busy, TimeSource};
use crate::base::json::Value as Json;
use crate::base::{Clock, Result, Timestamp};

/// What is drawn here is drawn otherwise than in a simulated cluster that is copied: two objects would have one uid.
const SEED: u64 = 0x706c_616e;

/// The copy and where it copies from.
pub(super) struct Overlay {
    simulation: Simulation,
    base: Arc<Wire>,
    /// One request or step in time after the other: both may have to read.
    turn: tokio::sync::Mutex<()>,
    unknowns: Mutex<BTreeSet<String>>,
    /// Names of definitions that are not there, or cannot be used.
    undefined: Mutex<BTreeSet<String>>,
    /// When the copy began: pods that are younger are the copy's own.
    began: Timestamp,
    /// What the server says about writes.
    admission: Admission,
    /// How much may be read for the simulated controllers.
    budget: Budget,
    /// What was read.
    read: Mutex<Read>,
    /// How long pods took to come up.
    starts: Mutex<Starts>,
}

/// What a plan has read so far.
#[derive(Clone, Debug, Default)]
struct Read {
    /// Requests.
    calls: u64,
    /// About how many bytes of memory the objects take.
    bytes: u64,
    /// Objects that controllers asked for by name, by kind and namespace.
    named: BTreeMap<(&'static str, Option<String>), usize>,
    /// The objects, as far as they were read whole.
    inputs: Inputs,
    /// The resource version of the first list of each kind: later ones are asked for as they were then.
    moments: BTreeMap<&'static kinds::Kind, String>,
}

impl fmt::Debug for Overlay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Overlay over {:?}", self.base)
    }
}

impl Overlay {
    /// An empty copy of what `base` leads to. Its virtual time begins now. Unless it `asks`, the server hears of no write.
    pub(super) fn new(base: Wire, asks: bool, budget: Budget) -> Overlay {
        let start = base.clock().now();
        let sim = Sim::new(SimOptions { start, partial: true, seed: SEED, ..SimOptions::default() });
        Overlay {
            simulation: Simulation::new(sim),
            base: Arc::new(base),
            turn: tokio::sync::Mutex::default(),
            unknowns: Mutex::default(),
            undefined: Mutex::default(),
            began: start,
            admission: Admission::new(asks),
            budget,
            read: Mutex::default(),
            starts: Mutex::default(),
        }
    }

    /// The way to what is copied.
    pub(super) fn base(&self) -> &Wire {
        &self.base
    }

    /// An independent copy of the copy, over the same cluster.
    pub(super) fn fork(&self) -> Overlay {
        Overlay {
            simulation: Simulation::new(self.simulation.fork()),
            base: self.base.clone(),
            turn: tokio::sync::Mutex::default(),
            unknowns: Mutex::new(self.unknowns.lock().unwrap_or_else(PoisonError::into_inner).clone()),
            undefined: Mutex::new(self.undefined().clone()),
            began: self.began,
            admission: self.admission.fork(),
            budget: self.budget,
            read: Mutex::new(self.read().clone()),
            starts: Mutex::new(self.starts.lock().unwrap_or_else(PoisonError::into_inner).clone()),
        }
    }

    pub(super) fn simulation(&self) -> &Simulation {
        &self.simulation
    }

    /// What could not be read, one text each. Priority classes count where a pod has a priority: without any all pods are alike.
    pub(super) fn unknowns(&self) -> Vec<String> {
        let classes = kinds::PRIORITY_CLASS.plural;
        let all = self.unknowns.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let is_idle = |text: &String| {
            text.starts_with(classes) && !self.simulation.with(|sim| sim.store().list(kinds::POD, None).any(|(_, pod)| has_priority(pod)))
        };
        all.into_iter().filter(|text| !is_idle(text)).collect()
    }

    /// What the server says about writes.
    pub(super) fn admission(&self) -> &Admission {
        &self.admission
    }

    async fn answer(&self, request: Request<Body>) -> Result<Response<Reply>, BoxError> {
        let act = Act::of(request.method(), request.uri().path(), request.uri().query().unwrap_or_default());
        // What containers say is no object: only the live cluster can tell, and of pods that the copy made itself only its model.
        let said = matches!(act.subresource.as_deref(), Some("exec" | "log"));
        if said && self.made_here(&act) {
            let answered = to_sim(request).await.map(|request| self.simulation.answer(&request));
            return answered.unwrap_or_else(|refusal| self.simulation.respond(*refusal));
        }
        if act.verb == Verb::Get && !act.is_resource() && self.defines() {
            return self.discovery(request, act).await;
        }
        if said || is_up_to_an_operator(&act) || !self.knows(&act).await? {
            return self.pass(request, act).await;
        }
        let (method, uri) = (request.method().clone(), request.uri().clone());
        let request = match to_sim(request).await {
            Ok(request) => request,
            Err(refusal) => return self.simulation.respond(*refusal),
        };
        let _turn = self.turn.lock().await;
        self.prepare(&request).await?;
        if !act.verb.is_write() {
            // What is read is answered as it is; who has something to do with it goes to work when time goes on.
            return self.simulation.answer(&request);
        }
        self.settle().await?;
        // What came in on the way may be of more concern than it was.
        self.prepare(&request).await?;
        let response = if self.admission.asks() && act.verb.is_write() && !request.query.iter().any(|(name, _)| name == "dryRun") {
            let uri = uri.path_and_query().map(ToString::to_string).unwrap_or_default();
            let original = Original { method, uri, content_type: request.content_type.clone(), body: request.body.clone() };
            self.write(&act, &original, &request).await?
        } else {
            self.simulation.answer(&request)?
        };
        self.settle().await?;
        Ok(response)
    }

    /// Carries a write out that the server would carry out, as it would.
    async fn write(&self, act: &Act, original: &Original, request: &SimRequest) -> Result<Response<Reply>, BoxError> {
        let (admitted, warnings) = match self.admission.judge(&self.base, &self.simulation, act, original, request).await? {
            Judged::Refused(refusal) => return self.simulation.respond(refusal),
            Judged::Goes { admitted, warnings } => (admitted, warnings),
        };
        let mut answer = self.simulation.with(|sim| {
            let Some(patch) = admitted else { return sim.handle(request) };
            sim.add_fault(Rule { when: Match::default(), action: Action::Admit(patch) });
            let answer = sim.handle(request);
            sim.clear_faults();
            answer
        });
        answer.headers.extend(warnings.into_iter().map(|text| ("Warning".to_owned(), text)));
        self.simulation.respond(answer)
    }

    /// Whether it is about a pod that is younger than the copy: no live one, whatever its name.
    fn made_here(&self, act: &Act) -> bool {
        let (Some(namespace), Some(name)) = (&act.namespace, &act.name) else { return false };
        self.simulation.with(|sim| {
            let pod = sim.store().get(&Key::new(kinds::POD, namespace, name));
            let created = pod.map(|pod| page::meta(pod, "creationTimestamp").to_owned());
            // The API counts in whole seconds.
            created
                .and_then(|created| created.parse::<Timestamp>().ok())
                .is_some_and(|created| created.as_second() >= self.began.as_second())
        })
    }

    fn read(&self) -> MutexGuard<'_, Read> {
        self.read.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn undefined(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.undefined.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the simulator has no model of: reads go to the live cluster, everything else is refused by name.
    async fn pass(&self, request: Request<Body>, act: Act) -> Result<Response<Reply>, BoxError> {
        if !matches!(act.verb, Verb::Get | Verb::List) {
            let refusal = if act.verb == Verb::Watch {
                let what =
                    format!("whether {}.{} changes is not known: nobody plays in a plan what its operator does", act.resource, act.group);
                Status::new(501, "NotImplemented", what, Json::Null)
            } else {
                Status::not_modelled(&format!("{act} in a plan"))
            };
            return self.simulation.respond(SimResponse::from(refusal));
        }
        let about = format!("`{act}`");
        let (parts, _) = request.into_parts();
        let mut builder = Request::builder().method(http::Method::GET).uri(parts.uri);
        for name in [http::header::ACCEPT, http::header::USER_AGENT] {
            if let Some(value) = parts.headers.get(&name) {
                builder = builder.header(name, value);
            }
        }
        let answer = self.base.forward(builder.body(Body::empty())?, &Call::new(act, about)).await?;
        Ok(answer.map(|text| Reply::Text(Some(text))))
    }

    pub(super) async fn advance(&self, to: Timestamp) -> Result<()> {
        let _turn = self.turn.lock().await;
        self.advance_to(to).await
    }
}

/// The highest priority that a class may have; those of the system are above.
const HIGHEST: i64 = 1_000_000_000;

/// Whether a pod has a priority that a class of the cluster gives; the classes of the system are the same everywhere.
fn has_priority(pod: &Json) -> bool {
    let class = pod.pointer("/spec/priorityClassName").and_then(Json::as_str).unwrap_or_default();
    let number = pod.pointer("/spec/priority").and_then(Json::as_i64).unwrap_or_default();
    !class.starts_with("system-") && (!class.is_empty() || (number != 0 && number <= HIGHEST))
}

/// Whether a request is about what only the operator of a custom resource would do: nobody plays it in a plan. So nothing can be waited for,
/// and no scale be set.
fn is_up_to_an_operator(act: &Act) -> bool {
    let custom = kinds::by_resource(&act.group, &act.version, &act.resource).is_none();
    custom && (act.verb == Verb::Watch || act.verb.is_write() && act.subresource.as_deref() == Some("scale"))
}

/// The time of a plan on a live cluster: virtual, and reading on the way.
struct OverlayTime(Arc<Overlay>);

/// The clock of a plan on this copy.
pub(super) fn clock(overlay: &Arc<Overlay>) -> Clock {
    Clock::virtual_time(Arc::new(OverlayTime(overlay.clone())))
}

impl TimeSource for OverlayTime {
    fn now(&self) -> Timestamp {
        self.0.simulation.now()
    }

    fn next_event_at(&self) -> Option<Timestamp> {
        let overlay = &self.0;
        // What was read may have set somebody to work, at once.
        let waiting = overlay.simulation.with(|sim| sim.has_work());
        if waiting { Some(overlay.simulation.now()) } else { overlay.simulation.next_event_at() }
    }

    fn advance_to(&self, to: Timestamp) -> Advance {
        let overlay = self.0.clone();
        Box::pin(async move { overlay.advance(to).await })
    }
}

#[derive(Clone, Debug)]
struct OverlayService(Arc<Overlay>);

impl Service<Request<Body>> for OverlayService {
    type Response = Response<Reply>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Response<Reply>, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let overlay = self.0.clone();
        Box::pin(async move {
            // The virtual time of the plan stands still while it reads; the live cluster's own deadlines go on.
            let _busy = request.extensions_mut().remove::<Busy>();
            let _still = request.extensions_mut().remove::<Still>();
            overlay.answer(request).await
        })
    }
}

/// A client of this copy, through the layers.
pub(super) fn client(overlay: &Arc<Overlay>, layers: &Layers) -> kube::Client {
    kube::Client::new(layers.layer(OverlayService(overlay.clone())), "default")
}
