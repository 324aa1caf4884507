//! Following objects: one list, then one watch per scope, through everything that happens to watches.
//!
//! A watch that ends goes on from the last resource version; one that is too old (410) begins with a new list; a server that is
//! gone for a while is tried again until the caller's deadline. Nobody polls: time passes only in
//! [`Clock::park`](crate::base::Clock::park).

use std::collections::BTreeMap;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use crate::base::json::Value as Json;
use http_body::Body as _;
use kube::client::Body;

use super::at_hand::EventsAtHand;
use super::cancel::Stage;
use super::client::{Cluster, Select};
use super::discovery::Resource;
use super::error::{Trouble, of_status};
use super::page::{meta, place};
use super::request::{Call, Verb};
use super::wire::{back_off, may_recover};
use crate::base::clock::{Duration, Reached, later};
use crate::base::{Error, Kind, Reason, Result, Timestamp};

/// How long the server is asked to keep a watch open, in seconds; then it is opened anew.
const WATCH_SECONDS: u64 = 290;
/// How long after that an open watch counts as dead: the connection was lost without anybody telling.
const GRACE: Duration = Duration::from_secs(30);
/// The longest line of a watch: one object with its frame. The API server takes no larger objects than a few MiB.
const LONGEST_LINE: usize = 64 << 20;

/// Which objects to follow.
#[derive(Clone, Debug)]
pub struct Follow {
    /// Their kind.
    pub resource: Rc<Resource>,
    /// Their namespace; `None` for all, or for kinds without.
    pub namespace: Option<String>,
    /// Which of them.
    pub select: Select,
}

/// Why [`Following::changed`] came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Woke {
    /// Something changed.
    Changed,
    /// The deadline is here and nothing changed.
    Deadline,
}

/// Objects and their changes. One per wait; dropping it closes its watches.
pub struct Following {
    cluster: Cluster,
    scopes: Vec<Scope>,
    /// Something changed that the caller was not told of yet.
    changed: bool,
}

struct Scope {
    follow: Follow,
    items: BTreeMap<(String, String), Arc<Json>>,
    resource_version: String,
    state: State,
    /// Tries that failed since the last sign of life.
    failures: u32,
    trouble: Option<Error>,
}

enum State {
    /// No watch; open one when this time comes. `relist`: the resource version is of no use.
    Closed {
        not_before: Timestamp,
        relist: bool,
    },
    Open(Box<Stream>),
}

/// The lines of one watch.
struct Stream {
    body: Body,
    buffer: Vec<u8>,
    /// Where the events come from when they are answered in this process; the body then only says that there is one.
    events: Option<EventsAtHand>,
    opened: Timestamp,
}

enum Line {
    Event(Json),
    /// The stream is over; `Some` says what broke it.
    End(Option<String>),
}

impl Stream {
    fn poll_line(&mut self, cx: &mut Context<'_>) -> Poll<Line> {
        loop {
            if let Some(event) = self.events.as_ref().and_then(EventsAtHand::next) {
                return Poll::Ready(Line::Event(event));
            }
            if let Some(end) = memchr::memchr(b'\n', &self.buffer) {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                if line.iter().all(u8::is_ascii_whitespace) {
                    continue;
                }
                return Poll::Ready(match serde_json::from_slice(&line) {
                    Ok(event) => Line::Event(event),
                    Err(error) => Line::End(Some(format!("a line of the watch is no JSON: {error}"))),
                });
            }
            match Pin::new(&mut self.body).poll_frame(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(None) => return Poll::Ready(Line::End(None)),
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Line::End(Some(error.to_string()))),
                Poll::Ready(Some(Ok(frame))) => {
                    if let Ok(data) = frame.into_data() {
                        self.buffer.extend_from_slice(&data);
                    }
                    if self.buffer.len() > LONGEST_LINE {
                        return Poll::Ready(Line::End(Some("a line of the watch is too long".to_owned())));
                    }
                }
            }
        }
    }
}

impl Following {
    pub(super) async fn begin(cluster: Cluster, follows: Vec<Follow>) -> Result<Following> {
        let mut following = Following { cluster, scopes: Vec::with_capacity(follows.len()), changed: false };
        for follow in follows {
            following.also(follow).await?;
        }
        Ok(following)
    }

    /// Follows something more from now on: the number of its scope.
    ///
    /// # Errors
    /// As [`Cluster::follow`].
    pub async fn also(&mut self, follow: Follow) -> Result<usize> {
        let (group, plural) = (&follow.resource.group, &follow.resource.plural);
        self.cluster.permit().follow(group, plural, follow.namespace.as_deref());
        let mut scope = Scope {
            follow,
            items: BTreeMap::new(),
            resource_version: String::new(),
            state: State::Closed { not_before: self.cluster.clock().now(), relist: false },
            failures: 0,
            trouble: None,
        };
        scope.relist(&self.cluster, false).await?;
        self.scopes.push(scope);
        Ok(self.scopes.len() - 1)
    }

    /// The objects of a scope as they are now, sorted by namespace and name. Scopes count from 0 in the order of
    /// [`Cluster::follow`]; one that is not there has no objects.
    pub fn items(&self, scope: usize) -> impl Iterator<Item = &Arc<Json>> + Clone {
        self.scopes.get(scope).into_iter().flat_map(|scope| scope.items.values())
    }

    /// What keeps the server from being heard at present, for those who show what is waited for.
    #[must_use]
    pub fn trouble(&self) -> Option<&Error> {
        self.scopes.iter().find_map(|scope| scope.trouble.as_ref())
    }

    /// Waits until something changes, all changes of one moment taken together, or until the deadline. A deadline that has
    /// passed still gives what open watches have already said.
    ///
    /// # Errors
    /// Interrupted by the cluster's switch; `forbidden` and other refusals of the server; in simulated time `stalled` when
    /// there is no deadline and nothing will ever happen.
    pub async fn changed(&mut self, until: Option<Timestamp>) -> Result<Woke> {
        let clock = self.cluster.clock().clone();
        let over = |until: Option<Timestamp>| until.is_some_and(|until| clock.now() >= until);
        loop {
            self.cluster.cancel().check()?;
            // Opening watches takes requests; they may not take longer than the caller waits, and are not worth it at the end.
            let last = over(until);
            tokio::select! {
                biased;
                done = self.look(last) => done?,
                parked = clock.park(until) => drop(parked?),
            }
            if std::mem::take(&mut self.changed) {
                return Ok(Woke::Changed);
            }
            if over(until) {
                return Ok(Woke::Deadline);
            }
            self.wait(until).await?;
        }
    }

    /// Takes in what has happened, the `last` time without asking anything new. May be dropped at any point: nothing that was
    /// taken in is lost.
    async fn look(&mut self, last: bool) -> Result<()> {
        if !last {
            self.open().await?;
        }
        for index in 0..self.scopes.len() {
            self.drain(index, last).await?;
        }
        Ok(())
    }

    /// Opens the watches whose time has come. A scope that needs a list and has none that changed stays as it was.
    async fn open(&mut self) -> Result<()> {
        for scope in &mut self.scopes {
            let now = self.cluster.clock().now();
            match &scope.state {
                State::Closed { not_before, .. } if *not_before <= now => {}
                // A watch that outlived its own end without one is a dead connection.
                State::Open(stream)
                    if !self.cluster.clock().is_virtual() && now > later(stream.opened, Duration::from_secs(WATCH_SECONDS) + GRACE) => {}
                State::Closed { .. } | State::Open(_) => continue,
            }
            if matches!(scope.state, State::Closed { relist: true, .. }) {
                // Done in `drain`, where it counts as a change.
                continue;
            }
            scope.watch(&self.cluster).await?;
        }
        Ok(())
    }

    /// Takes in everything that one watch has to say now.
    async fn drain(&mut self, index: usize, last: bool) -> Result<()> {
        let Following { cluster, scopes, changed } = self;
        let Some(scope) = scopes.get_mut(index) else { return Ok(()) };
        loop {
            let now = cluster.clock().now();
            let stream = match &mut scope.state {
                State::Open(stream) => stream,
                State::Closed { not_before, relist: true } if *not_before <= now && !last => {
                    *changed |= scope.relist_or_wait(cluster).await?;
                    if matches!(scope.state, State::Closed { relist: false, .. }) {
                        scope.watch(cluster).await?;
                    }
                    if matches!(scope.state, State::Open(_)) {
                        continue;
                    }
                    return Ok(());
                }
                State::Closed { .. } => return Ok(()),
            };
            let line = std::future::poll_fn(|cx| match stream.poll_line(cx) {
                Poll::Ready(line) => Poll::Ready(Some(line)),
                Poll::Pending => Poll::Ready(None),
            })
            .await;
            match line {
                None => return Ok(()),
                Some(Line::Event(event)) => *changed |= scope.event(event, now)?,
                Some(Line::End(cause)) => scope.ended(cause, cluster),
            }
        }
    }

    /// Waits until a watch has something to say, one may be opened, or the caller's deadline is here.
    async fn wait(&mut self, until: Option<Timestamp>) -> Result<()> {
        let clock = self.cluster.clock().clone();
        let cancel = self.cluster.cancel().clone();
        let reopen = self.scopes.iter().filter_map(|scope| match &scope.state {
            State::Closed { not_before, .. } => Some(*not_before),
            State::Open(stream) if !clock.is_virtual() => Some(later(stream.opened, Duration::from_secs(WATCH_SECONDS + 1) + GRACE)),
            State::Open(_) => None,
        });
        let deadline = reopen.chain(until).min();
        let scopes = &mut self.scopes;
        let ready = std::future::poll_fn(|cx| {
            for scope in scopes.iter_mut() {
                if let State::Open(stream) = &mut scope.state
                    && stream.poll_ready(cx)
                {
                    return Poll::Ready(());
                }
            }
            Poll::Pending
        });
        tokio::select! {
            biased;
            () = cancel.reached(Stage::Stopping) => Err(super::cancel::Cancel::error()),
            () = ready => Ok(()),
            parked = clock.park(deadline) => match parked? {
                Reached::Deadline => Ok(()),
                Reached::Never => Err(Error::new(
                    Kind::Stuck,
                    Reason::Stalled,
                    "waiting for a change: nothing more will happen in the simulated cluster",
                )),
            },
        }
    }
}

impl Stream {
    /// Whether [`Stream::poll_line`] has something to say; keeps what it read for it.
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> bool {
        if memchr::memchr(b'\n', &self.buffer).is_some() {
            return true;
        }
        match Pin::new(&mut self.body).poll_frame(cx) {
            Poll::Pending => false,
            Poll::Ready(Some(Ok(frame))) => {
                if let Ok(data) = frame.into_data() {
                    self.buffer.extend_from_slice(&data);
                }
                true
            }
            // Polled again after its end a body must not be: the end is kept as a line that is none.
            Poll::Ready(end) => {
                self.body = Body::empty();
                if let Some(Err(error)) = end {
                    tracing::debug!(target: "lockgate::request", %error, "a watch broke");
                }
                true
            }
        }
    }
}

impl Scope {
    fn call(&self, cluster: &Cluster, verb: Verb) -> Call {
        cluster.collection(verb, &self.follow.resource, self.follow.namespace.as_deref(), &self.follow.select)
    }

    /// Reads everything anew. True when something is different. `at_once`: who waits already tries again by itself, within its own time.
    async fn relist(&mut self, cluster: &Cluster, at_once: bool) -> Result<bool> {
        let call = Call { at_once, ..self.call(cluster, Verb::List) };
        let listed = cluster.listed(&self.follow.resource, &call).await?;
        let items: BTreeMap<_, _> = listed.items.into_iter().map(|object| (place(&object), object)).collect();
        let changed = items != self.items;
        self.items = items;
        self.resource_version = listed.resource_version;
        self.state = State::Closed { not_before: cluster.clock().now(), relist: false };
        Ok(changed)
    }

    async fn relist_or_wait(&mut self, cluster: &Cluster) -> Result<bool> {
        match self.relist(cluster, true).await {
            Ok(changed) => {
                self.trouble = None;
                Ok(changed)
            }
            Err(error) => self.failed(error, cluster, true).map(|()| false),
        }
    }

    async fn watch(&mut self, cluster: &Cluster) -> Result<()> {
        let call = self
            .call(cluster, Verb::Watch)
            .query("watch", "true")
            .query("allowWatchBookmarks", "true")
            .query("timeoutSeconds", WATCH_SECONDS.to_string())
            .query("resourceVersion", self.resource_version.clone());
        match cluster.wire().stream(&call).await {
            Ok(response) => {
                let opened = cluster.clock().now();
                self.trouble = None;
                let events = response.extensions().get::<EventsAtHand>().cloned();
                if let Some(events) = &events {
                    events.take_over();
                }
                self.state = State::Open(Box::new(Stream { body: response.into_body(), buffer: Vec::new(), events, opened }));
                Ok(())
            }
            Err(error) if error.details["code"] == 410 => {
                self.state = State::Closed { not_before: cluster.clock().now(), relist: true };
                Ok(())
            }
            Err(error) => self.failed(error, cluster, false),
        }
    }

    /// Notes a failed try and when the next one may be made, unless it will fail for ever.
    fn failed(&mut self, error: Error, cluster: &Cluster, relist: bool) -> Result<()> {
        if !may_recover(&error) {
            return Err(error);
        }
        self.failures += 1;
        let asked = error.details.get("retry_after").and_then(Json::as_u64).map(Duration::from_secs);
        let pause = back_off(self.failures).max(asked.unwrap_or_default());
        tracing::info!(target: "lockgate::cluster", %error, "the watch is tried again in {pause:?}");
        self.state = State::Closed { not_before: later(cluster.clock().now(), pause), relist };
        self.trouble = Some(error);
        Ok(())
    }

    /// A watch ended: go on at once the first time, later when it keeps ending without a word.
    fn ended(&mut self, cause: Option<String>, cluster: &Cluster) {
        let pause = if self.failures == 0 { Duration::ZERO } else { back_off(self.failures) };
        self.failures += 1;
        tracing::debug!(target: "lockgate::request", ?cause, kind = %self.follow.resource, "a watch ended");
        self.state = State::Closed { not_before: later(cluster.clock().now(), pause), relist: false };
    }

    /// Takes in one event. True when an object changed.
    fn event(&mut self, mut event: Json, now: Timestamp) -> Result<bool> {
        let object = event["object"].take();
        let kind = event["type"].as_str().unwrap_or_default();
        if kind == "ERROR" {
            return self.error(&object, now).map(|()| false);
        }
        self.failures = 0;
        if let Some(version) = Some(meta(&object, "resourceVersion")).filter(|version| !version.is_empty()) {
            version.clone_into(&mut self.resource_version);
        }
        Ok(match kind {
            "ADDED" | "MODIFIED" => {
                let key = place(&object);
                let same = self.items.get(&key).is_some_and(|known| **known == object);
                if !same {
                    drop(self.items.insert(key, Arc::new(object)));
                }
                !same
            }
            "DELETED" => self.items.remove(&place(&object)).is_some(),
            _ => false,
        })
    }

    /// The server gave up on this watch.
    fn error(&mut self, status: &Json, now: Timestamp) -> Result<()> {
        let code = status["code"].as_u64().and_then(|code| u16::try_from(code).ok()).unwrap_or(500);
        if code == 410 {
            self.state = State::Closed { not_before: now, relist: true };
            return Ok(());
        }
        let act = super::request::Act {
            verb: Verb::Watch,
            group: self.follow.resource.group.clone(),
            version: self.follow.resource.version.clone(),
            resource: self.follow.resource.plural.clone(),
            namespace: self.follow.namespace.clone(),
            name: None,
            subresource: None,
        };
        let error = of_status(&Call::new(act, self.follow.resource.plural.clone()), code, None, status);
        let transient = Trouble::Status { code, retry_after: None, status: Json::Null }.is_transient().is_some();
        if !transient {
            return Err(error);
        }
        self.failures += 1;
        self.state = State::Closed { not_before: later(now, back_off(self.failures)), relist: true };
        self.trouble = Some(error);
        Ok(())
    }
}
