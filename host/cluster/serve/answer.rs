//! One request over the socket: who sends it, how large it is, and then what the simulator says.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, header};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::Incoming;
use kube::client::Body;
use lockgate_sim::json::Value as SimValue;
use lockgate_sim::request::{Request as SimRequest, Response as SimResponse};
use lockgate_sim::status::Status;
use serde::{Deserialize, Serialize};
use tower::BoxError;

use super::holds;
use super::identity::Identity;
use super::pace::Pace;
use super::{Answers, Guest};
use crate::base::clock::{Duration, later};
use crate::base::{Clock, Timestamp};
use crate::cluster::channels::Hold;
use crate::cluster::error::{Lost, Refused};
use crate::cluster::request::Act;
use crate::cluster::sim::{Reply, Simulation, to_sim};
use crate::cluster::upgrade::switch;

/// The largest body, as a real server has it: 3 MiB.
const LARGEST_BODY: usize = 3 << 20;
/// How long a body may take to come.
const BODY: Duration = Duration::from_secs(60);

/// A request that was answered, without its body: that may hold secrets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// Its number, from 1.
    pub seq: u64,
    /// The virtual time.
    pub at: Timestamp,
    /// The method.
    pub method: String,
    /// Path and query as they were sent.
    pub uri: String,
    /// What it does, in the words of roles.
    pub act: Act,
    /// The `User-Agent`.
    pub user_agent: String,
    /// The `Content-Type` of the body; empty without one.
    pub content_type: String,
    /// Length of the body in bytes.
    pub length: usize,
    /// The status of the answer; 0 when a fault lost it.
    pub status: u16,
    /// What a fault rule did to it, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
}

/// Who is told of every answered request.
pub type Witness = Box<dyn Fn(Asked) + Send + Sync>;

/// What all connections share.
pub(super) struct Door {
    simulation: Simulation,
    pace: Arc<Pace>,
    identity: Identity,
    witness: Option<Witness>,
    asked: std::sync::atomic::AtomicU64,
    world: Clock,
}

impl fmt::Debug for Door {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Door({:?})", self.simulation)
    }
}

impl Door {
    pub(super) fn new(simulation: Simulation, pace: Arc<Pace>, identity: Identity, witness: Option<Witness>) -> Door {
        Door { simulation, pace, identity, witness, asked: 0.into(), world: Clock::real() }
    }

    /// An error closes the connection without an answer: a fault wants that, or the client went away.
    async fn answered(self: Arc<Self>, mut request: Request<Incoming>, guest: Guest) -> Result<Response<Reply>, BoxError> {
        if !self.identity.admits(request.headers().get(header::AUTHORIZATION).map(HeaderValue::as_bytes)) {
            return self.refuse(Status::new(401, "Unauthorized", "Unauthorized", SimValue::Null));
        }
        if let Some(answer) = holds::answer(&self.simulation, request.method(), request.uri()).await {
            return self.simulation.respond(answer);
        }
        let on = hyper::upgrade::on(&mut request);
        let headers = request.headers().clone();
        let (mut parts, body) = request.into_parts();
        let body = match whole(&self.world, &headers, body).await? {
            Ok(body) => body,
            Err(status) => return self.refuse(status),
        };
        let length = body.len();
        let (method, uri) = (parts.method.clone(), parts.uri.clone());
        if method == Method::HEAD && !is_health(uri.path()) {
            // A real server has HEAD for files and health alone.
            parts.method = Method::OPTIONS;
        }
        let busy = self.pace.answering()?;
        let (mut fault, mut ends) = (None, None);
        let answer = match to_sim(Request::from_parts(parts, Body::from(body))).await {
            Ok(request) => {
                ends = self.ends(&request);
                self.simulation.deliver_to(&request, &mut Some(busy), &mut fault).await
            }
            Err(refusal) => self.simulation.respond(*refusal),
        };
        let status = match &answer {
            Ok(answer) => answer.status().as_u16(),
            Err(error) if error.is::<Lost>() || error.is::<Refused>() => 0,
            Err(_) => 500,
        };
        self.tell(&method, &uri, &headers, length, (status, fault));
        let mut answer = answer?;
        if let Some(at) = ends {
            let world = self.world.clone();
            answer.body_mut().ends_with(async move { world.sleep_until(at).await.unwrap_or_default() });
        }
        // A connection that became a stream is none of the server's any more; its client is still there.
        switch(&self.simulation, on, &headers, answer, || Hold::Outside { _kept: Box::new(guest) })
    }

    /// When a request for a watch is to end at the latest. Time that moves from event to event stands still where nothing happens, and
    /// its client counts in the time of the world.
    fn ends(&self, request: &SimRequest) -> Option<Timestamp> {
        let seconds = request.query("timeoutSeconds").filter(|_| self.pace.is_instant())?.parse().ok()?;
        Some(later(self.world.now(), Duration::from_secs(seconds)))
    }

    fn refuse(&self, status: Status) -> Result<Response<Reply>, BoxError> {
        self.simulation.respond(SimResponse::from(status))
    }

    fn tell(&self, method: &Method, uri: &http::Uri, headers: &http::HeaderMap, length: usize, (status, fault): (u16, Option<String>)) {
        tracing::debug!(target: "lockgate::request", %method, %uri, status, "served");
        let Some(witness) = &self.witness else { return };
        let head = |name: header::HeaderName| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
        witness(Asked {
            seq: self.asked.fetch_add(1, std::sync::atomic::Ordering::Relaxed) + 1,
            at: self.simulation.now(),
            method: method.to_string(),
            uri: uri.to_string(),
            act: Act::of(method, uri.path(), uri.query().unwrap_or_default()),
            user_agent: head(header::USER_AGENT),
            content_type: head(header::CONTENT_TYPE),
            length,
            status,
            fault,
        });
    }
}

impl Answers for Door {
    type Body = Reply;

    async fn answer(self: Arc<Self>, request: Request<Incoming>, guest: Guest) -> Result<Response<Reply>, BoxError> {
        self.answered(request, guest).await
    }
}

/// The whole body, unless it is too large. The outer error is a client that went away or takes too long.
pub(super) async fn whole(world: &Clock, headers: &http::HeaderMap, body: Incoming) -> Result<Result<Bytes, Status>, BoxError> {
    let too_large =
        || Status::new(413, "RequestEntityTooLarge", format!("Request entity too large: limit is {LARGEST_BODY}"), SimValue::Null);
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|length| length > LARGEST_BODY as u64) {
        return Ok(Err(too_large()));
    }
    let collected = tokio::select! {
        collected = Limited::new(body, LARGEST_BODY).collect() => collected,
        _ = world.sleep_until(later(world.now(), BODY)) => return Err("the body takes too long".into()),
    };
    match collected {
        Ok(body) => Ok(Ok(body.to_bytes())),
        Err(error) if error.is::<LengthLimitError>() => Ok(Err(too_large())),
        Err(error) => Err(error),
    }
}

pub(super) fn is_health(path: &str) -> bool {
    ["/readyz", "/livez", "/healthz", "/openapi"].iter().any(|health| path == *health || path.starts_with(&format!("{health}/")))
}
