//! The simulated cluster as a service: what is asked of `kube::Client` lands in [`lockgate_sim::Cluster`].

pub(super) mod deliver;
pub(super) mod tape;

use std::collections::BTreeMap;
use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use crate::base::json::Value as Json;
use bytes::Bytes;
use futures::future::BoxFuture;
use http::{Request, Response, header};
use http_body::Frame;
use kube::client::Body;
use lockgate_sim::request::{Body as SimBody, Method, Request as SimRequest, Response as SimResponse, WatchId};
use lockgate_sim::status::Status;
use lockgate_sim::{Cluster as Sim, LogFollow, LogPoll, User, WatchPoll};
use tokio::sync::Notify;
use tower::{BoxError, Layer, Service};

use super::at_hand::{AtHand, EventsAtHand};
use super::error::Lost;
use super::layers::Layers;
use super::request::decode;
use super::serve::Still;
use super::upgrade;
use crate::base::clock::{Advance, Busy, TimeSource};
use crate::base::{Clock, Error, Result, Timestamp};

/// A handle on a simulated cluster: the service, the clock and scenario tests share it. Requests through it come from the administrator, or
/// from somebody ([`Simulation::by`]).
#[derive(Clone)]
pub struct Simulation(Arc<Shared>, Option<Arc<User>>);

struct Shared {
    world: Mutex<World>,
    /// Watches that wait for something to happen.
    waiting: Mutex<Vec<Waker>>,
    /// Times that somebody waits for beside what happens in the cluster.
    expected: Mutex<Expected>,
    /// Told when there is one more of them.
    more_expected: Notify,
    /// How often a stream told a client something.
    told: AtomicU64,
    /// Who hears of a request that stands still.
    on_hold: Mutex<Option<deliver::OnHold>>,
    /// Who hears of every request.
    on_request: Mutex<Option<deliver::OnRequest>>,
    /// Who hears of every answer.
    on_answer: Mutex<Option<deliver::OnAnswer>>,
    /// Who is told what somebody else did.
    on_deed: Mutex<Option<deliver::OnDeed>>,
}

/// The cluster, and what keeps all that it is asked.
struct World {
    sim: Sim,
    tape: tape::Recorder,
}

#[derive(Default)]
struct Expected {
    last: u64,
    times: BTreeMap<u64, Timestamp>,
}

impl fmt::Debug for Simulation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Simulation({})", self.now())
    }
}

impl Simulation {
    /// A handle on this cluster.
    #[must_use]
    pub fn new(sim: Sim) -> Simulation {
        let shared = Shared {
            world: Mutex::new(World { sim, tape: tape::Recorder::default() }),
            waiting: Mutex::default(),
            expected: Mutex::default(),
            more_expected: Notify::new(),
            told: AtomicU64::new(0),
            on_hold: Mutex::default(),
            on_request: Mutex::default(),
            on_answer: Mutex::default(),
            on_deed: Mutex::default(),
        };
        Simulation(Arc::new(shared), None)
    }

    /// The same cluster for a user, who may do what roles and bindings say.
    #[must_use]
    pub fn by(&self, user: User) -> Simulation {
        Simulation(self.0.clone(), Some(Arc::new(user)))
    }

    /// The request as it comes through this handle.
    pub(super) fn signed(&self, request: SimRequest) -> SimRequest {
        let user = request.user.clone().or_else(|| self.1.as_deref().cloned());
        SimRequest { user, ..request }
    }

    fn lock(&self) -> MutexGuard<'_, World> {
        self.0.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does something with the simulated cluster, past the way to it: fixtures, faults, assertions. Watches
    /// are told, and no tape keeps it.
    pub fn with<T>(&self, work: impl FnOnce(&mut Sim) -> T) -> T {
        let result = work(&mut self.lock().sim);
        self.wake();
        result
    }

    /// An independent copy of the cluster as it is now.
    #[must_use]
    pub fn fork(&self) -> Sim {
        self.lock().sim.fork()
    }

    /// The virtual time.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.lock().sim.now()
    }

    /// Tells every waiting watch to look again.
    pub(super) fn wake(&self) {
        let waiting = std::mem::take(&mut *self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner));
        waiting.into_iter().for_each(Waker::wake);
    }

    /// Begins to look at the cluster again whenever something may have happened.
    fn wait(&self, cx: &Context<'_>) {
        let mut waiting = self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if !waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
            waiting.push(cx.waker().clone());
        }
    }

    /// Makes virtual time stop at `at` on its way, until the guard is dropped.
    fn expect(&self, at: Timestamp) -> Expect {
        let mut expected = self.0.expected.lock().unwrap_or_else(PoisonError::into_inner);
        expected.last += 1;
        let id = expected.last;
        expected.times.insert(id, at);
        self.0.more_expected.notify_one();
        Expect { simulation: self.clone(), id }
    }

    /// Comes when somebody began to wait for a time since the last call.
    pub(super) async fn expected(&self) {
        self.0.more_expected.notified().await;
    }

    /// Waits until virtual time, which somebody else moves, is `at`.
    pub(super) async fn reached(&self, at: Timestamp) {
        let _expect = self.expect(at);
        // First in the list, then a look: what happens in between wakes.
        poll_fn(|cx| {
            self.wait(cx);
            if self.now() >= at { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    /// Notes that a stream tells its client something.
    pub(super) fn tell(&self) {
        self.0.told.fetch_add(1, Ordering::Relaxed);
    }

    /// How often streams told their clients something.
    pub(super) fn told(&self) -> u64 {
        self.0.told.load(Ordering::Relaxed)
    }

    /// Moves virtual time on to `to` and tells the watches.
    ///
    /// # Errors
    /// When the cluster stops on the way, which only a copy of a live one may.
    pub(super) fn advance(&self, to: Timestamp) -> Result<()> {
        let whole = self.lock().sim.advance_to(to);
        self.wake();
        self.tell_deeds();
        if whole { Ok(()) } else { Err(Error::internal("the simulated cluster stopped in the middle of a step in time")) }
    }

    /// When something happens next, or somebody waits for, by the clock of the cluster.
    pub(super) fn next_at(&self) -> Option<Timestamp> {
        let expected = self.0.expected.lock().unwrap_or_else(PoisonError::into_inner).times.values().copied().min();
        let sim = &self.lock().sim;
        [sim.next_event_at(), expected.filter(|at| *at > sim.now())].into_iter().flatten().min()
    }

    /// Whether nobody can reach the cluster for some time.
    pub(super) fn is_down(&self) -> bool {
        let sim = &self.lock().sim;
        sim.faults().is_down(sim.now())
    }

    /// When the next open watch reaches the end that its client asked for.
    pub(super) fn next_watch_end(&self) -> Option<Timestamp> {
        self.lock().sim.next_watch_end()
    }

    /// Answers one request and tells the watches.
    pub(super) fn answer(&self, request: &SimRequest) -> Result<Response<Reply>, BoxError> {
        self.respond(self.handle(request))
    }

    /// The clock of a run against this cluster alone.
    pub(super) fn clock(&self) -> Clock {
        Clock::virtual_time(Arc::new(self.clone()))
    }

    /// An answer of the simulator as HTTP.
    pub(super) fn respond(&self, answer: SimResponse) -> Result<Response<Reply>, BoxError> {
        if answer.status == 0 {
            return Err(Box::new(Lost));
        }
        let mut builder = Response::builder().status(answer.status);
        for (name, value) in &answer.headers {
            builder = builder.header(name, value);
        }
        let response = match answer.body {
            SimBody::Json(json) => builder.extension(AtHand(json.clone())).body(Reply::Json(Some(json))),
            SimBody::Text(text) => builder.body(Reply::Text(Some(Bytes::from(text)))),
            SimBody::Watch(id) => {
                let events = EventsAtHand::default();
                let body = WatchBody { simulation: self.clone(), id, events: events.clone(), end: None };
                builder.extension(events).body(Reply::Watch(body))
            }
            SimBody::Log(follow) => {
                builder.body(Reply::Log(Box::new(LogBody { simulation: self.clone(), follow: (*follow).clone(), next: None })))
            }
            // Whoever knows the connection makes a stream of it.
            SimBody::Exec(exec) => builder.extension(exec).body(Reply::Text(None)),
        };
        Ok(response?)
    }
}

/// The time as its clients have it: their clock may be another one than the cluster's.
impl TimeSource for Simulation {
    fn now(&self) -> Timestamp {
        let sim = &self.lock().sim;
        sim.now().saturating_sub(sim.faults().skew()).unwrap_or_else(|_| sim.now())
    }

    fn next_event_at(&self) -> Option<Timestamp> {
        let next = self.next_at()?;
        Some(next.saturating_sub(self.lock().sim.faults().skew()).unwrap_or(next))
    }

    fn advance_to(&self, to: Timestamp) -> Advance {
        let this = self.clone();
        let to = to.saturating_add(self.lock().sim.faults().skew()).unwrap_or(to);
        Box::pin(async move { this.advance(to) })
    }
}

/// A time that somebody waits for.
struct Expect {
    simulation: Simulation,
    id: u64,
}

impl Drop for Expect {
    fn drop(&mut self) {
        self.simulation.0.expected.lock().unwrap_or_else(PoisonError::into_inner).times.remove(&self.id);
    }
}

/// A request as the simulator reads it.
pub(super) async fn to_sim(request: Request<Body>) -> Result<SimRequest, Box<SimResponse>> {
    let (parts, body) = request.into_parts();
    let refuse = |status: Status| Box::new(SimResponse::from(status));
    let method = match parts.method {
        http::Method::GET | http::Method::HEAD => Method::Get,
        http::Method::POST => Method::Post,
        http::Method::PUT => Method::Put,
        http::Method::PATCH => Method::Patch,
        http::Method::DELETE => Method::Delete,
        _ => return Err(refuse(Status::method_not_allowed())),
    };
    let head = |name: header::HeaderName| parts.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    let body = body.collect_bytes().await.map_err(|error| refuse(Status::bad_request(error.to_string())))?;
    let query = parts.uri.query().unwrap_or_default();
    Ok(SimRequest {
        method,
        path: decode(parts.uri.path(), false),
        query: query
            .split('&')
            .filter(|pair| !pair.is_empty())
            .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
            .map(|(name, value)| (decode(name, true), decode(value, true)))
            .collect(),
        content_type: head(header::CONTENT_TYPE),
        accept: head(header::ACCEPT),
        user_agent: head(header::USER_AGENT),
        upgrade: head(header::UPGRADE),
        if_none_match: head(header::IF_NONE_MATCH),
        body: body.to_vec(),
        user: impersonated(&parts.headers),
    })
}

/// Whom a request is made for, when its headers name somebody: the administrator may speak for everybody.
fn impersonated(headers: &header::HeaderMap) -> Option<User> {
    let name = headers.get("impersonate-user")?.to_str().ok()?;
    let groups: Vec<&str> = headers.get_all("impersonate-group").iter().filter_map(|group| group.to_str().ok()).collect();
    Some(User::new(name, &groups))
}

/// The service that a simulated cluster is.
#[derive(Clone, Debug)]
struct SimService {
    simulation: Simulation,
    clock: Clock,
}

impl Service<Request<Body>> for SimService {
    type Response = Response<Reply>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Response<Reply>, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let simulation = self.simulation.clone();
        if request.headers().contains_key(header::UPGRADE) {
            return Box::pin(upgrade::in_process(simulation, self.clock.clone(), request));
        }
        Box::pin(async move {
            // Held until the answer is there; the caller goes on in the same poll.
            let busy = request.extensions_mut().remove::<Busy>();
            let still = request.extensions_mut().remove::<Still>();
            match to_sim(request).await {
                Ok(request) => simulation.deliver(&simulation.signed(request), (busy, still)).await,
                Err(refusal) => simulation.respond(*refusal),
            }
        })
    }
}

/// A client of this simulated cluster, through the layers.
pub(super) fn client(simulation: &Simulation, layers: &Layers) -> kube::Client {
    let service = SimService { simulation: simulation.clone(), clock: layers.clock.clone() };
    kube::Client::new(layers.layer(service), "default")
}

/// The body of an answer.
pub(super) enum Reply {
    /// A document; its text is made only when somebody reads it.
    Json(Option<Arc<Json>>),
    /// Text.
    Text(Option<Bytes>),
    /// A watch: one line an event.
    Watch(WatchBody),
    /// A log that goes on.
    Log(Box<LogBody>),
    /// What a fault rule made of a document.
    Spoilt(deliver::Spoilt),
}

impl http_body::Body for Reply {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match &mut *self {
            Reply::Json(json) => {
                let text = json.take().map(|json| serde_json::to_vec(&*json));
                Poll::Ready(text.map(|text| Ok(Frame::data(Bytes::from(text?)))))
            }
            Reply::Text(text) => Poll::Ready(text.take().map(|text| Ok(Frame::data(text)))),
            Reply::Watch(watch) => watch.poll_event(cx),
            Reply::Log(log) => log.poll_lines(cx),
            Reply::Spoilt(spoilt) => spoilt.poll(),
        }
    }
}

impl Reply {
    /// Ends a watch at the latest when this comes.
    pub(super) fn ends_with(&mut self, end: impl Future<Output = ()> + Send + 'static) {
        if let Reply::Watch(watch) = self {
            watch.end = Some(Box::pin(end));
        }
    }
}

/// An open watch; closes it in the simulator when it is dropped.
pub(super) struct WatchBody {
    simulation: Simulation,
    id: WatchId,
    events: EventsAtHand,
    /// Comes when it is to end, whatever the time of the cluster is then.
    end: Option<BoxFuture<'static, ()>>,
}

impl WatchBody {
    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        // First in the list, then a look: what happens in between wakes.
        self.simulation.wait(cx);
        let polled = self.simulation.lock().sim.poll_watch(self.id);
        match polled {
            WatchPoll::Pending => match &mut self.end {
                Some(end) => end.as_mut().poll(cx).map(|()| None),
                None => Poll::Pending,
            },
            WatchPoll::Closed => Poll::Ready(None),
            WatchPoll::Event(event) => {
                self.simulation.tell();
                let Some(event) = self.events.offer(event) else {
                    return Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"\n")))));
                };
                let line = serde_json::to_vec(&event).map(|mut text| {
                    text.push(b'\n');
                    Frame::data(Bytes::from(text))
                });
                Poll::Ready(Some(line.map_err(BoxError::from)))
            }
        }
    }
}

/// A log that is followed.
pub(super) struct LogBody {
    simulation: Simulation,
    follow: LogFollow,
    /// When its next line comes.
    next: Option<Expect>,
}

impl LogBody {
    fn poll_lines(&mut self, cx: &Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        self.simulation.wait(cx);
        let polled = self.simulation.lock().sim.poll_log(&mut self.follow);
        match polled {
            LogPoll::Text(text) => {
                self.simulation.tell();
                Poll::Ready(Some(Ok(Frame::data(Bytes::from(text)))))
            }
            LogPoll::Pending(next) => {
                self.next = next.map(|at| self.simulation.expect(at));
                Poll::Pending
            }
            LogPoll::Closed => Poll::Ready(None),
        }
    }
}

impl Drop for WatchBody {
    fn drop(&mut self) {
        self.simulation.lock().sim.close_watch(self.id);
    }
}

#[cfg(test)]
mod tests {
    use crate::base::json::json;
    use http_body_util::BodyExt;

    use super::*;

    #[test]
    fn the_document_at_hand_is_the_text_of_the_body() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let simulation = Simulation::new(Sim::new(lockgate_sim::Options::default()));
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "n"}});
        simulation.with(|sim| drop(sim.handle(&SimRequest::post("/api/v1/namespaces", &namespace))));
        for path in ["/api/v1/namespaces/n", "/api/v1/namespaces", "/api/v1/namespaces/none"] {
            let response = simulation.answer(&SimRequest::get(path)).unwrap();
            let at_hand = response.extensions().get::<AtHand>().unwrap().0.clone();
            let text = runtime.block_on(response.into_body().collect()).unwrap().to_bytes();
            assert_eq!(serde_json::from_slice::<Json>(&text).unwrap(), *at_hand, "{path}");
        }
    }

    #[test]
    fn a_request_arrives_as_it_was_meant() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let request = Request::builder()
            .method(http::Method::PATCH)
            .uri("/api/v1/namespaces/a%2Fb/configmaps/x?fieldManager=lock+gate&labelSelector=a%3Db&flag")
            .header("content-type", "application/merge-patch+json")
            .body(Body::from(b"{}".to_vec()))
            .unwrap();
        let request = runtime.block_on(to_sim(request)).unwrap();
        assert_eq!((request.method, request.path.as_str()), (Method::Patch, "/api/v1/namespaces/a/b/configmaps/x"));
        assert_eq!(request.query("fieldManager"), Some("lock gate"));
        assert_eq!((request.query("labelSelector"), request.query("flag")), (Some("a=b"), Some("")));
        assert_eq!((request.content_type.as_str(), request.body.as_slice()), ("application/merge-patch+json", &b"{}"[..]));
        let connect = Request::builder().method("CONNECT").uri("/").body(Body::empty()).unwrap();
        assert_eq!(runtime.block_on(to_sim(connect)).unwrap_err().status, 405);
    }
}
