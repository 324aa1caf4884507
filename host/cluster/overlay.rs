//! A plan on a live cluster: a simulated cluster that reads what it needs from the live one, and keeps every write to itself.
//!
//! First form (`reference/clusters.md` B5): objects are copied per kind and namespace when a request or a simulated controller
//! first touches them, whole lists in pages, once; so all reads of a plan are about one state. Nothing but GET leaves the
//! process. What may not be read is *unknown*: reading it gives the server's refusal, controllers take it for empty, and the plan
//! lists it. Custom resources are known by their definitions, which are read when one is first touched; what their operators would do
//! nobody knows, so they are not waited for. Other kinds that the simulator does not know are read through and cannot be written.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use crate::base::json::{Value as Json, json};
use futures::future::BoxFuture;
use http::{Request, Response};
use kube::client::Body;
use lockgate_sim::faults::{Action, Match, Rule};
use lockgate_sim::request::{Request as SimRequest, Response as SimResponse};
use lockgate_sim::status::Status;
use lockgate_sim::{Cluster as Sim, Options as SimOptions, Scope, kinds};
use tower::{BoxError, Layer, Service};

use super::admission::{Admission, Judged};
use super::layers::Layers;
use super::page;
use super::question::Original;
use super::request::{Act, Call, Verb};
use super::serve::Still;
use super::sim::{Reply, Simulation, to_sim};
use super::wire::Wire;
use crate::base::clock::{Advance, Busy, TimeSource};
use crate::base::{Clock, Error, Reason, Result, Timestamp};

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
}

impl fmt::Debug for Overlay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Overlay over {:?}", self.base)
    }
}

impl Overlay {
    /// An empty copy of what `base` leads to. Its virtual time begins now. Unless it `asks`, the server hears of no write.
    pub(super) fn new(base: Wire, asks: bool) -> Overlay {
        let start = base.clock().now();
        let sim = Sim::new(SimOptions { start, partial: true, ..SimOptions::default() });
        Overlay {
            simulation: Simulation::new(sim),
            base: Arc::new(base),
            turn: tokio::sync::Mutex::default(),
            unknowns: Mutex::default(),
            undefined: Mutex::default(),
            began: start,
            admission: Admission::new(asks),
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
        }
    }

    pub(super) fn simulation(&self) -> &Simulation {
        &self.simulation
    }

    /// What could not be read, one text each.
    pub(super) fn unknowns(&self) -> Vec<String> {
        self.unknowns.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
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
        if said || is_up_to_an_operator(&act) || !self.knows(&act).await? {
            return self.pass(request, act).await;
        }
        let (method, uri) = (request.method().clone(), request.uri().clone());
        let request = match to_sim(request).await {
            Ok(request) => request,
            Err(refusal) => return self.simulation.respond(*refusal),
        };
        let _turn = self.turn.lock().await;
        let scopes = self.simulation.with(|sim| {
            let mut scopes = sim.scopes(&request);
            scopes.retain(|scope| !sim.is_loaded(scope));
            scopes
        });
        for scope in scopes {
            self.load(scope).await?;
        }
        self.settle().await?;
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
        let scope = Scope { kind: kinds::POD, namespace: Some(namespace.clone()) };
        self.simulation.with(|sim| {
            if !sim.is_loaded(&scope) {
                return false;
            }
            let answer = sim.handle(&lockgate_sim::Request::get(&format!("/api/v1/namespaces/{namespace}/pods/{name}")));
            let created = answer.value().filter(|_| answer.status == 200).map(|pod| page::meta(pod, "creationTimestamp").to_owned());
            // The API counts in whole seconds.
            created
                .and_then(|created| created.parse::<Timestamp>().ok())
                .is_some_and(|created| created.as_second() >= self.began.as_second())
        })
    }

    /// Whether the copy can answer for a resource. What is none of Kubernetes itself may be a custom resource of the live cluster: its
    /// definition is read once, and its objects are copied like all others.
    async fn knows(&self, act: &Act) -> Result<bool> {
        let _turn = self.turn.lock().await;
        let (group, version, resource) = (&act.group, &act.version, &act.resource);
        let wanted = self.simulation.with(|sim| sim.definition_wanted(group, version, resource));
        if let Some(name) = wanted.filter(|name| !self.undefined().contains(name)) {
            let definitions = kinds::CUSTOM_RESOURCE_DEFINITION;
            let act = Act {
                verb: Verb::Get,
                group: definitions.group.to_owned(),
                version: definitions.version.to_owned(),
                resource: definitions.plural.to_owned(),
                namespace: None,
                name: Some(name.clone()),
                subresource: None,
            };
            let about = format!("the definition of {name}");
            let defined = match self.base.json(&Call::new(act, about.as_str())).await {
                Ok(definition) => {
                    let told = self.simulation.with(|sim| sim.define(Arc::unwrap_or_clone(definition)));
                    told.map_err(|refusal| refusal.message().to_owned())
                }
                Err(error) if error.details["code"] == 404 => Err(String::new()),
                Err(error) if matches!(error.reason, Reason::Forbidden | Reason::Unsupported) => {
                    Err(error.causes.first().cloned().unwrap_or_else(|| error.message.clone()))
                }
                Err(error) => return Err(error.context(format!("reading {about} for the plan"))),
            };
            if let Err(cause) = defined {
                if !cause.is_empty() {
                    self.unknowns.lock().unwrap_or_else(PoisonError::into_inner).insert(format!("{about}: {cause}"));
                }
                self.undefined().insert(name);
            }
        }
        Ok(self.simulation.with(|sim| sim.serves(group, version, resource)))
    }

    fn undefined(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.undefined.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the simulator has no model of: reads go to the live cluster, everything else is refused by name.
    async fn pass(&self, request: Request<Body>, act: Act) -> Result<Response<Reply>, BoxError> {
        if !matches!(act.verb, Verb::Get | Verb::List) {
            let refusal = Status::not_modelled(&format!("{act} in a plan"));
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

    /// Copies one kind of one namespace.
    async fn load(&self, scope: Scope) -> Result<()> {
        let kind = scope.kind;
        let about = match &scope.namespace {
            Some(namespace) => format!("{} in namespace `{namespace}`", kind.plural),
            None => kind.plural.to_owned(),
        };
        let act = Act {
            verb: Verb::List,
            group: kind.group.to_owned(),
            version: kind.version.to_owned(),
            resource: kind.plural.to_owned(),
            namespace: scope.namespace.clone(),
            name: None,
            subresource: None,
        };
        match page::read(&self.base, &Call::new(act, about.as_str()), &kind.api_version(), kind.kind).await {
            Ok(pages) => {
                self.admission.copied(kind, pages.items.iter());
                self.simulation.with(|sim| {
                    let objects = pages.items.into_iter().filter(|object| !is_pinned(sim, &scope, object));
                    let objects = match UNOWNED.contains(&kind.kind) {
                        true => objects.map(without_managed_fields).collect(),
                        false => objects.collect(),
                    };
                    sim.load(scope.clone(), objects);
                });
                Ok(())
            }
            Err(error) if matches!(error.reason, Reason::Forbidden | Reason::Unsupported) => {
                let cause = error.causes.first().cloned().unwrap_or_else(|| error.message.clone());
                let mut unknowns = self.unknowns.lock().unwrap_or_else(PoisonError::into_inner);
                if unknowns.insert(format!("{about}: {cause}")) {
                    tracing::info!(target: "lockgate::plan", %about, %cause, "cannot be read: unknown in this plan");
                }
                drop(unknowns);
                self.simulation.with(|sim| sim.load_refused(scope, refusal(&error, &cause)));
                Ok(())
            }
            Err(error) => Err(error.context(format!("copying {about} for the plan"))),
        }
    }

    /// Reads what the controllers ask for until they come to rest.
    async fn settle(&self) -> Result<()> {
        loop {
            let (needs, known) = self.simulation.with(|sim| {
                let needs = sim.needs();
                let known = needs.iter().filter(|scope| sim.is_loaded(scope)).count();
                (needs, known)
            });
            if needs.is_empty() {
                return Ok(());
            }
            if known > 0 {
                return Err(Error::internal("the simulated cluster asks twice for the same objects"));
            }
            for scope in needs {
                self.load(scope).await?;
            }
            self.simulation.with(Sim::settle);
        }
    }

    pub(super) async fn advance(&self, to: Timestamp) -> Result<()> {
        let _turn = self.turn.lock().await;
        loop {
            self.settle().await?;
            let (whole, stuck) = self.simulation.with(|sim| (sim.advance_to(to), sim.needs().is_empty()));
            if whole {
                return self.settle().await;
            }
            if stuck {
                return Err(Error::internal("the simulated cluster stopped in the middle of a step in time"));
            }
        }
    }
}

/// Whether a request is about what only the operator of a custom resource would do: nobody plays it in a plan. So nothing can be waited for,
/// and no scale be set.
fn is_up_to_an_operator(act: &Act) -> bool {
    let custom = kinds::by_resource(&act.group, &act.version, &act.resource).is_none();
    custom && (act.verb == Verb::Watch || act.verb.is_write() && act.subresource.as_deref() == Some("scale"))
}

/// Whether an object of a list over all namespaces is in one that was read before: what the plan has seen and done there stands.
fn is_pinned(sim: &Sim, scope: &Scope, object: &Json) -> bool {
    let namespace = page::meta(object, "namespace");
    scope.namespace.is_none() && !namespace.is_empty() && sim.is_loaded(&Scope { kind: scope.kind, namespace: Some(namespace.to_owned()) })
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
        self.0.simulation.next_event_at()
    }

    fn advance_to(&self, to: Timestamp) -> Advance {
        let overlay = self.0.clone();
        Box::pin(async move { overlay.advance(to).await })
    }
}

/// The `Status` a refused read is answered with.
fn refusal(error: &Error, cause: &str) -> Json {
    let code = error.details.get("code").and_then(Json::as_u64).unwrap_or(403);
    let reason = error.details.get("reason").and_then(Json::as_str).unwrap_or("Forbidden");
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": code, "reason": reason, "message": cause})
}

/// Kinds that there are many of and that controllers write: field ownership is the larger part of them, and nobody applies them.
const UNOWNED: [&str; 8] = ["Pod", "Node", "ReplicaSet", "ControllerRevision", "Endpoints", "EndpointSlice", "Event", "Lease"];

fn without_managed_fields(mut object: Json) -> Json {
    if let Some(meta) = object.get_mut("metadata").and_then(Json::as_object_mut) {
        drop(meta.remove("managedFields"));
    }
    object
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
