//! Sending one request: deadlines, retries and cancellation, the same for every target.
//!
//! Rules (`reference/safety.md` §1.1, §5.7): `kube`'s own silent retry is off. Reads are sent again after 429, 5xx and lost
//! connections until their deadline; in a run, which holds the lock of its cluster, a server that is away is then waited for
//! ([`Fence::outlast`]). Writes are sent again here only when the server did not begin: no connection, 429, or 503 with
//! `Retry-After` where sending twice equals sending once; what else may be done about them is in `settle.rs`. A write that was sent is waited for until its deadline; only the
//! second Ctrl-C gives it up, and then its outcome is unknown and said to be so.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::base::json::Value as Json;
use bytes::Bytes;
use http::{HeaderMap, Request, Response, header};
use http_body_util::{BodyExt, Limited};
use kube::client::Body;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

use super::at_hand::AtHand;
use super::cancel::{Cancel, Stage};
use super::error::{Trouble, chain};
use super::fence::Fence;
use super::load::{Pace, Strain};
use super::request::{Call, Verb};
use crate::base::clock::{Duration, Reached, later, wall};
use crate::base::{Clock, Error, Reason, Result, Span, Timestamp};

/// The largest answer that is read: far above any page of 500 objects, far below what would hurt the host.
const LARGEST_ANSWER: usize = 256 << 20;
/// The first pause before a request is sent again; it doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// After so long without an answer somebody may begin to wonder.
const PATIENCE: Duration = Duration::from_secs(5);
/// The longest pause between two tries.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// How long requests may take, tries and pauses included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// For reads. Default 30 s.
    pub read: Span,
    /// For writes. Default 60 s.
    pub write: Span,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { read: Span::from_secs(30), write: Span::from_secs(60) }
    }
}

/// A request that takes longer than a person expects: to be shown, nothing else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delay {
    /// What is waited for: `an answer to patching deployment/web`.
    pub what: String,
    /// How it stands: `none yet`, `the server answered 500; trying again in 2s`.
    pub state: String,
    /// How long ago the request was first sent.
    pub waited: Span,
}

/// Makes a client; told whether it had made one before, whose credentials are not good any more.
type Connect = Box<dyn Fn(bool) -> Result<kube::Client> + Send + Sync>;
/// Makes a way to the same cluster over connections of its own: to the server at an address, or to any.
pub(super) type Neighbour = Box<dyn Fn(Option<&str>) -> Result<Option<Wire>> + Send + Sync>;

/// The way to one server.
pub(crate) struct Wire {
    connect: Connect,
    neighbour: Option<Neighbour>,
    fence: Fence,
    client: Mutex<Option<kube::Client>>,
    /// Whether there was a client before.
    connected: AtomicBool,
    server: String,
    clock: Clock,
    cancel: Cancel,
    limits: Limits,
    contacted: AtomicBool,
    outlasted: AtomicU64,
    delays: Mutex<Vec<Delay>>,
    warnings: Mutex<Vec<String>>,
    pace: Option<Arc<Pace>>,
    strain: Arc<Strain>,
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Wire({})", self.server)
    }
}

enum Got {
    Json(Arc<Json>),
    Text(String),
    Stream(Response<Body>),
}

impl Wire {
    /// A way to this server. The client is made when it is first needed: for a live cluster that reads certificates and runs
    /// credential plugins.
    pub(crate) fn new(connect: Connect, server: String, clock: Clock, cancel: Cancel, limits: Limits) -> Wire {
        Wire {
            connect,
            neighbour: None,
            fence: Fence::default(),
            client: Mutex::new(None),
            connected: AtomicBool::new(false),
            server,
            clock,
            cancel,
            limits,
            contacted: AtomicBool::new(false),
            outlasted: AtomicU64::new(0),
            delays: Mutex::default(),
            warnings: Mutex::default(),
            pace: None,
            strain: Arc::default(),
        }
    }

    /// The same with a way to single servers of the cluster.
    pub(super) fn with_neighbours(self, neighbour: Neighbour) -> Wire {
        Wire { neighbour: Some(neighbour), ..self }
    }

    /// The same, which sends at most as many requests as this lets through; not in virtual time.
    pub(super) fn with_pace(self, pace: Arc<Pace>) -> Wire {
        Wire { pace: Some(pace), ..self }
    }

    /// The same, which heeds how the server answered others, too.
    pub(super) fn with_strain(self, strain: Arc<Strain>) -> Wire {
        Wire { strain, ..self }
    }

    /// The pace of its requests, where they have one.
    pub(super) fn pace(&self) -> Option<Arc<Pace>> {
        self.pace.clone().filter(|_| !self.clock.is_virtual())
    }

    async fn paced(&self) -> Result<()> {
        let Some(pace) = self.pace.as_ref().filter(|_| !self.clock.is_virtual()) else { return Ok(()) };
        let now = self.clock.now();
        let next = pace.next(now);
        if next > now { self.rest(next).await } else { Ok(()) }
    }

    /// The same, whose writes wait at this fence.
    pub(super) fn with_fence(self, fence: Fence) -> Wire {
        Wire { fence, ..self }
    }

    /// A way to the server at this address, or over new connections to any; `None` where servers cannot be told apart.
    pub(super) fn neighbour(&self, address: Option<&str>) -> Result<Option<Wire>> {
        self.neighbour.as_ref().map_or(Ok(None), |neighbour| neighbour(address))
    }

    /// What has taken long since the last call of this function.
    pub(crate) fn take_delays(&self) -> Vec<Delay> {
        std::mem::take(&mut *self.delays.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What the server warned of in its answers to writes since the last call of this function.
    pub(crate) fn take_warnings(&self) -> Vec<String> {
        std::mem::take(&mut *self.warnings.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn warned(&self, headers: &HeaderMap, verb: Verb) {
        for text in headers.get_all(header::WARNING).iter().filter_map(|value| warning(&String::from_utf8_lossy(value.as_bytes()))) {
            // What is only read was not written by this runbook: its age is not the operator's concern.
            if !verb.is_write() {
                tracing::debug!(target: "lockgate::request", warning = %text, "the server warns");
                continue;
            }
            let mut warnings = self.warnings.lock().unwrap_or_else(PoisonError::into_inner);
            if !warnings.contains(&text) {
                warnings.push(text);
            }
        }
    }

    pub(super) fn delayed(&self, call: &Call, since: Timestamp, state: String) {
        let delay = Delay { what: format!("an answer to {}", call.doing()), state, waited: Span::between(since, self.clock.now()) };
        self.delays.lock().unwrap_or_else(PoisonError::into_inner).push(delay);
    }

    pub(super) fn server(&self) -> &str {
        &self.server
    }

    pub(crate) fn clock(&self) -> &Clock {
        &self.clock
    }

    pub(crate) fn limits(&self) -> Limits {
        self.limits
    }

    pub(crate) fn cancel(&self) -> &Cancel {
        &self.cancel
    }

    pub(super) fn client(&self) -> Result<kube::Client> {
        let mut client = self.client.lock().unwrap_or_else(PoisonError::into_inner);
        // A credential plugin may have given a certificate with an end: then the next one is asked for.
        let valid = |client: &&kube::Client| client.valid_until().is_none_or(|end| end > wall());
        if let Some(client) = client.as_ref().filter(valid) {
            return Ok(client.clone());
        }
        let made = (self.connect)(self.connected.swap(true, Ordering::Relaxed))?;
        *client = Some(made.clone());
        Ok(made)
    }

    /// Sends a request whose answer is JSON.
    pub(crate) async fn json(&self, call: &Call) -> Result<Arc<Json>> {
        match self.send(call).await? {
            Got::Json(json) => Ok(json),
            Got::Text(_) | Got::Stream(_) => Err(Error::internal(format!("{}: no document where one was asked for", call.doing()))),
        }
    }

    /// Sends a request whose answer is a text. Bytes that are no text become replacement characters.
    pub(crate) async fn text(&self, call: &Call) -> Result<String> {
        let call = Call { plain: true, ..call.clone() };
        match self.send(&call).await? {
            Got::Text(text) => Ok(text),
            Got::Json(_) | Got::Stream(_) => Err(Error::internal(format!("{}: no text where one was asked for", call.doing()))),
        }
    }

    /// Opens a watch.
    pub(crate) async fn stream(&self, call: &Call) -> Result<Response<Body>> {
        match self.send(call).await? {
            Got::Stream(response) => Ok(response),
            Got::Json(_) | Got::Text(_) => Err(Error::internal(format!("{}: no stream where one was asked for", call.doing()))),
        }
    }

    /// Passes a read on as it is, once, for an overlay that cannot answer it. Errors of the server are answers too. The answer is
    /// here whole: whoever reads it stands in virtual time, which does not wait for a network.
    pub(crate) async fn forward(&self, request: Request<Body>, call: &Call) -> Result<Response<Bytes>> {
        self.paced().await?;
        let client = self.client()?;
        let deadline = later(self.clock.now(), self.limits.read.as_duration());
        tokio::select! {
            biased;
            answer = async { whole(client.send(request).await.map_err(Trouble::of)?).await } => {
                answer.map_err(|trouble| trouble.into_error(call, &self.server))
            }
            () = self.cancel.reached(Stage::Stopping) => Err(Cancel::error()),
            parked = self.clock.park(Some(deadline)) => {
                Err(parked.err().unwrap_or_else(|| Trouble::Silent(self.limits.read).into_error(call, &self.server)))
            }
        }
    }

    async fn send(&self, call: &Call) -> Result<Got> {
        self.cancel.check()?;
        if let Some(why) = self.strain.told(self.clock.now()) {
            self.fence.spares(why)?;
        }
        self.paced().await?;
        let write = call.writes();
        let limit = if write { self.limits.write } else { self.limits.read };
        let mut begun = self.clock.now();
        let mut deadline = later(begun, limit.as_duration());
        let mut pause = FIRST_PAUSE;
        let (mut renewed, mut last) = (false, false);
        loop {
            // Time at the fence is none of the request's.
            if write && self.fence.pass(&self.cancel, |state| self.delayed(call, begun, state)).await? {
                begun = self.clock.now();
                deadline = later(begun, limit.as_duration());
                self.outlasted.fetch_add(1, Ordering::Relaxed);
            }
            let got = self.once(call, limit, begun, deadline).await;
            self.strain.note(self.clock.now(), got.as_ref().err());
            let trouble = match got {
                Ok(got) => return Ok(got),
                Err(trouble) => trouble,
            };
            // A token may have expired in the middle: once, the credentials are asked for anew.
            if matches!(trouble, Trouble::Status { code: 401, .. }) && !renewed && self.contacted.load(Ordering::Relaxed) {
                renewed = true;
                self.renew();
                continue;
            }
            if matches!(trouble, Trouble::Status { code: 401, .. }) && renewed {
                return Err(self.fence.signed_out(trouble.into_error(call, &self.server)));
            }
            let wait = self.again(call, &trouble).map(|asked| asked.map_or(pause, Duration::from_secs));
            let now = self.clock.now();
            let next = wait.map(|wait| later(now, wait)).filter(|next| *next < deadline && !last);
            let Some(next) = next else {
                last = match self.outlast(call, &trouble, begun).await? {
                    Some(true) => false,
                    // It may have come back at this moment.
                    Some(false) if !last => true,
                    Some(false) | None => return Err(trouble.into_error(call, &self.server)),
                };
                (begun, pause) = (self.clock.now(), FIRST_PAUSE);
                deadline = later(begun, limit.as_duration());
                continue;
            };
            let why = trouble.brief();
            tracing::debug!(target: "lockgate::request", act = %call.act, %why, until = %next, "trying again");
            let pause_left = Span::between(now, next).rounded();
            self.delayed(call, begun, format!("{why}; trying again in {pause_left}"));
            self.rest(next).await?;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Waits, in a run, for a server that is away to come back: gives whether it was away; `None` for what is not waited for here. A write
    /// waits at the fence before it is sent, and one whose answer did not come is looked at by a read.
    async fn outlast(&self, call: &Call, trouble: &Trouble, begun: Timestamp) -> Result<Option<bool>> {
        if call.at_once || call.writes() || call.act.verb == Verb::Watch || trouble.is_transient().is_none() {
            return Ok(None);
        }
        let was_away = self.fence.outlast(&self.cancel, |state| self.delayed(call, begun, state)).await?;
        if was_away == Some(true) {
            self.outlasted.fetch_add(1, Ordering::Relaxed);
        }
        Ok(was_away)
    }

    /// How often a request waited for the server to come back: time that is none of the request's.
    pub(super) fn outlasted(&self) -> u64 {
        self.outlasted.load(Ordering::Relaxed)
    }

    /// Asks for the credentials anew before the next request.
    pub(super) fn renew(&self) {
        *self.client.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Does nothing until then.
    ///
    /// # Errors
    /// When the operator stops it.
    pub(super) async fn rest(&self, until: Timestamp) -> Result<()> {
        tokio::select! {
            biased;
            () = self.cancel.reached(Stage::Stopping) => Err(Cancel::error()),
            parked = self.clock.park(Some(until)) => parked.map(drop),
        }
    }

    /// Whether to send it again, and after how many seconds if the server said so.
    pub(super) fn again(&self, call: &Call, trouble: &Trouble) -> Option<Option<u64>> {
        let asked = trouble.is_transient()?;
        // A server that never answered is more likely a wrong address than a restart: say so at once.
        let known = self.contacted.load(Ordering::Relaxed) || self.fence.is_armed();
        match trouble {
            // Whoever follows objects tries again by itself, and tells people what it waits for.
            _ if call.act.verb == Verb::Watch => None,
            Trouble::Connect(_) if !known => None,
            _ if !call.writes() => Some(asked),
            // Nothing was sent, or nothing was done with it. A budget that does not allow an eviction is another thing than a busy
            // server: who evicts waits for the budget.
            Trouble::Connect(_) => Some(asked),
            Trouble::Status { code: 429, .. } if !trouble.names_budget() => Some(asked),
            Trouble::Status { code: 503, retry_after: Some(_), .. } if call.idempotent => Some(asked),
            _ => None,
        }
    }

    /// Waits until the deadline, and now and then says so.
    async fn patience(&self, call: &Call, begun: Timestamp, deadline: Timestamp) -> Result<Reached> {
        loop {
            let next = later(self.clock.now(), PATIENCE);
            if next >= deadline {
                return self.clock.park(Some(deadline)).await;
            }
            self.clock.park(Some(next)).await?;
            self.delayed(call, begun, "none yet".to_owned());
        }
    }

    async fn once(&self, call: &Call, limit: Span, begun: Timestamp, deadline: Timestamp) -> Result<Got, Trouble> {
        let mut request = call.to_http().map_err(Trouble::Error)?.map(Body::from);
        // Virtual time stands still until whoever answers has taken the request over.
        let previous = request.extensions_mut().insert(self.clock.busy());
        debug_assert!(previous.is_none(), "a fresh request has no guard");
        let client = self.client().map_err(Trouble::Error)?;
        let stage = if call.writes() { Stage::Abandoned } else { Stage::Stopping };
        tokio::select! {
            biased;
            got = self.answer(client, request, call) => got,
            () = self.cancel.reached(stage) => Err(Trouble::Stopped),
            parked = self.patience(call, begun, deadline) => Err(match parked {
                Ok(_) => Trouble::Silent(limit),
                Err(error) => Trouble::Error(error),
            }),
        }
    }

    async fn answer(&self, client: kube::Client, request: Request<Body>, call: &Call) -> Result<Got, Trouble> {
        let response = client.send(request).await.map_err(Trouble::of)?;
        self.contacted.store(true, Ordering::Relaxed);
        self.warned(response.headers(), call.act.verb);
        let code = response.status();
        if code.is_success() && call.act.verb == Verb::Watch {
            return Ok(Got::Stream(response));
        }
        if code.is_success() && call.plain {
            let bytes = whole(response).await?.into_body();
            return Ok(Got::Text(String::from_utf8_lossy(&bytes).into_owned()));
        }
        let retry_after = response
            .headers()
            .get(header::RETRY_AFTER)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.trim().parse::<u64>().ok());
        let body = read(response).await;
        if code.is_success() {
            return body.map(Got::Json);
        }
        // An error without a document is still an error with a code.
        let status = match body {
            Ok(json) => Arc::unwrap_or_clone(json),
            Err(Trouble::Strange(_)) => Json::Null,
            Err(trouble) => return Err(trouble),
        };
        let retry_after = retry_after.or_else(|| status.pointer("/details/retryAfterSeconds").and_then(Json::as_u64).filter(|s| *s > 0));
        Err(Trouble::Status { code: code.as_u16(), retry_after, status })
    }
}

/// The text of a `Warning` header as API servers send it (RFC 7234 §5.5): `299 - "text"`; others are not for people.
fn warning(value: &str) -> Option<String> {
    let quoted = value.trim().strip_prefix("299 ")?.split_once(" \"")?.1;
    let mut text = String::new();
    let mut characters = quoted.chars();
    loop {
        match characters.next()? {
            '"' => return Some(text),
            '\\' => text.push(characters.next()?),
            character => text.push(character),
        }
    }
}

async fn read(response: Response<Body>) -> Result<Arc<Json>, Trouble> {
    let (parts, body) = response.into_parts();
    if let Some(AtHand(json)) = parts.extensions.get() {
        return Ok(json.clone());
    }
    let bytes = whole(Response::new(body)).await?.into_body();
    serde_json::from_slice(&bytes).map(Arc::new).map_err(|error| {
        let start: String = String::from_utf8_lossy(&bytes).chars().take(80).collect();
        Trouble::Strange(format!("{error} in `{}`", start.escape_debug()))
    })
}

/// The answer with its whole body.
async fn whole(response: Response<Body>) -> Result<Response<Bytes>, Trouble> {
    let (parts, body) = response.into_parts();
    let collected = Limited::new(body, LARGEST_ANSWER).collect().await;
    let bytes = collected.map_err(|error| Trouble::Lost(chain(&*error).join(": ")))?.to_bytes();
    Ok(Response::from_parts(parts, bytes))
}

/// Whether an error of a request may go away by itself, for those who wait for longer than one request.
#[must_use]
pub fn may_recover(error: &Error) -> bool {
    match error.reason {
        Reason::Unreachable | Reason::Timeout => true,
        _ => error.details.get("code").and_then(Json::as_u64) == Some(429),
    }
}

/// The pause before try number `failures` of something that is tried without end: 250 ms doubling to 15 s.
pub(crate) fn back_off(failures: u32) -> Duration {
    Duration::from_millis(250 << failures.clamp(1, 8).saturating_sub(1)).min(Duration::from_secs(15))
}

#[cfg(test)]
#[path = "wire_tests.rs"]
mod tests;
