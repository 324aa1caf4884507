//! Watches: cursors into the history of changes.

use std::collections::{BTreeMap, VecDeque};

use crate::faults::Disturbance;
use crate::json::{Value, json};
use jiff::{SignedDuration, Timestamp};

use crate::api::table::Form;
use crate::api::{Call, ListOptions, Listing, too_new};
use crate::request::{Request, WatchId};
use crate::status::{Cause, Status};
use crate::store::{Change, Store, with_rv};
use crate::view;

/// The server closes a watch after this time when the client names none.
const DEFAULT_TIMEOUT: SignedDuration = SignedDuration::from_mins(30);
/// How often a bookmark is sent while nothing else happens.
const BOOKMARK_EVERY: SignedDuration = SignedDuration::from_mins(1);

/// What a watch has to say.
#[derive(Debug, Clone, PartialEq)]
pub enum WatchPoll {
    /// An event: `{"type": "ADDED", "object": {…}}`.
    Event(Value),
    /// Nothing yet.
    Pending,
    /// The watch is over.
    Closed,
}

#[derive(Debug)]
struct Watch {
    call: Call,
    options: ListOptions,
    form: Form,
    cursor: u64,
    queue: VecDeque<Value>,
    bookmarks: bool,
    next_bookmark: Timestamp,
    deadline: Timestamp,
    /// Set at the deadline: what happens later is not told any more.
    last: Option<u64>,
    closed: bool,
    /// What a fault rule does to it.
    disturbance: Disturbance,
}

/// The open watches of a cluster.
#[derive(Debug, Default)]
pub(crate) struct Watches {
    next: u64,
    open: BTreeMap<WatchId, Watch>,
}

impl Watches {
    /// Opens a watch.
    pub(crate) fn open(
        &mut self,
        store: &Store,
        call: &Call,
        request: &Request,
        now: Timestamp,
        form: Form,
        disturbance: Disturbance,
    ) -> Result<WatchId, Status> {
        let options = ListOptions::parse(call, request)?.unpaged();
        let flag = |name: &str| request.query(name).is_some_and(|v| matches!(v, "" | "true" | "1"));
        let bookmarks = flag("allowWatchBookmarks");
        let initial = flag("sendInitialEvents");
        check_initial(store, request, initial)?;
        let timeout = match request.query("timeoutSeconds").filter(|text| !text.is_empty()) {
            None => DEFAULT_TIMEOUT,
            Some(text) => {
                let seconds: u32 = text.parse().map_err(|_| Status::bad_request(format!("invalid timeoutSeconds {text:?}")))?;
                if seconds == 0 { DEFAULT_TIMEOUT } else { SignedDuration::from_secs(i64::from(seconds)) }
            }
        };
        let mut watch = Watch {
            call: call.clone(),
            cursor: store.rv(),
            queue: VecDeque::new(),
            bookmarks: bookmarks && !disturbance.no_bookmarks,
            next_bookmark: view::later(now, BOOKMARK_EVERY),
            deadline: view::later(now, timeout),
            last: None,
            closed: false,
            disturbance,
            options,
            form,
        };
        watch.begin(store, initial)?;
        self.next += 1;
        let id = WatchId(self.next);
        self.open.insert(id, watch);
        Ok(id)
    }

    /// The next thing a watch has to say. An unknown one is closed.
    pub(crate) fn poll(&mut self, id: WatchId, store: &Store, now: Timestamp) -> WatchPoll {
        let Some(watch) = self.open.get_mut(&id) else { return WatchPoll::Closed };
        let poll = watch.poll(store, now);
        if poll == WatchPoll::Closed {
            self.open.remove(&id);
        }
        poll
    }

    /// Forgets a watch.
    pub(crate) fn close(&mut self, id: WatchId) {
        self.open.remove(&id);
    }

    /// The last change that every open watch has seen; the history after it is still needed.
    pub(crate) fn seen(&self) -> u64 {
        self.open.values().map(|watch| watch.cursor).min().unwrap_or(u64::MAX)
    }

    /// When the next watch runs out.
    pub(crate) fn next_deadline(&self) -> Option<Timestamp> {
        self.open.values().filter(|watch| watch.last.is_none()).map(|watch| watch.deadline).min()
    }

    /// Ends the watches that have run out by now: they tell what has happened up to `rv` and close.
    pub(crate) fn expire(&mut self, now: Timestamp, rv: u64) {
        for watch in self.open.values_mut().filter(|watch| watch.last.is_none() && watch.deadline <= now) {
            watch.last = Some(rv);
        }
    }
}

fn check_initial(store: &Store, request: &Request, initial: bool) -> Result<(), Status> {
    // On by default in 1.32, off again in 1.33, on since 1.34 (gate WatchList of k8s.io/apiserver).
    let knows = store.is_at_least(34) || (store.is_at_least(32) && !store.is_at_least(33));
    let matching = request.query("resourceVersionMatch").unwrap_or_default();
    let asks = request.query("sendInitialEvents").is_some();
    let mut causes = Vec::new();
    if initial && matching != "NotOlderThan" {
        causes.push(Cause::forbidden("resourceVersionMatch", "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"));
    }
    if asks && !knows {
        let wrong = "sendInitialEvents is forbidden for watch unless the WatchList feature gate is enabled";
        causes.push(Cause::forbidden("sendInitialEvents", wrong));
    }
    if !matching.is_empty() && !asks {
        let wrong = "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided";
        causes.push(Cause::forbidden("resourceVersionMatch", wrong));
    }
    if causes.is_empty() { Ok(()) } else { Err(Status::invalid_options_all("ListOptions", &causes)) }
}

impl Watch {
    /// Queues what is there already, when the client has not said from where it knows the state.
    fn begin(&mut self, store: &Store, initial: bool) -> Result<(), Status> {
        let known = self.options.rv.filter(|rv| *rv > 0);
        if let Some(rv) = known.filter(|_| !initial) {
            if rv > store.rv() {
                return Err(too_new(rv, store.rv()));
            }
            self.cursor = rv;
            return Ok(());
        }
        let listing = Listing::of(store, &self.call, &self.options)?;
        self.cursor = listing.rv;
        self.queue.extend(listing.objects.iter().map(|object| event("ADDED", (**object).clone())));
        if initial && self.bookmarks {
            let mut end = self.bookmark(listing.rv);
            view::set(&mut end, &["object", "metadata", "annotations", "k8s.io/initial-events-end"], "true");
            self.queue.push_back(end);
        }
        Ok(())
    }

    fn poll(&mut self, store: &Store, now: Timestamp) -> WatchPoll {
        if self.closed {
            return WatchPoll::Closed;
        }
        if self.disturbance.after == Some(0) {
            self.closed = true;
            if !self.disturbance.expires {
                return WatchPoll::Closed;
            }
            let message = format!("too old resource version: {} ({})", self.cursor, store.rv());
            return WatchPoll::Event(event("ERROR", Status::expired(message).into_value()));
        }
        match self.next_event(store, now) {
            Some(event) => {
                self.disturbance.after = self.disturbance.after.map(|left| left.saturating_sub(1));
                self.form.event(event, now).map_or(WatchPoll::Closed, WatchPoll::Event)
            }
            None if self.closed => WatchPoll::Closed,
            None => WatchPoll::Pending,
        }
    }

    fn next_event(&mut self, store: &Store, now: Timestamp) -> Option<Value> {
        if let Some(event) = self.queue.pop_front() {
            return Some(event);
        }
        let Some(changes) = store.changes_after(self.cursor) else {
            self.closed = true;
            let message = format!("too old resource version: {} ({})", self.cursor, store.rv());
            return Some(event("ERROR", Status::expired(message).into_value()));
        };
        let last = self.last.unwrap_or(u64::MAX);
        let mut cursor = self.cursor;
        let mut found = None;
        for change in changes.take_while(|change| change.rv <= last) {
            cursor = change.rv;
            found = self.event_of(change);
            if found.is_some() {
                break;
            }
        }
        self.cursor = cursor;
        if found.is_some() {
            return found;
        }
        // What was loaded later can have raised the counter without a change.
        self.cursor = self.cursor.max(store.rv().min(last));
        if self.last.is_some() {
            self.closed = true;
            return self.bookmarks.then(|| self.bookmark(self.cursor));
        }
        if self.bookmarks && now >= self.next_bookmark {
            self.next_bookmark = view::later(now, BOOKMARK_EVERY);
            return Some(self.bookmark(self.cursor));
        }
        None
    }

    /// What a change means for this watch: an object that begins to be selected is added, one that ceases to be is deleted.
    fn event_of(&self, change: &Change) -> Option<Value> {
        let here =
            self.call.kind.is(change.key.kind) && self.call.namespace.as_ref().is_none_or(|namespace| *namespace == change.key.namespace);
        if !here {
            return None;
        }
        let before = change.before.as_ref().filter(|object| self.options.selects(object));
        let after = change.after.as_ref().filter(|object| self.options.selects(object));
        match (before, after) {
            (None, None) => None,
            (None, Some(after)) => Some(event("ADDED", (**after).clone())),
            (Some(_), Some(after)) => Some(event("MODIFIED", (**after).clone())),
            (Some(before), None) => Some(event("DELETED", with_rv(before, change.rv))),
        }
    }

    fn bookmark(&self, rv: u64) -> Value {
        let kind = self.call.kind;
        let object = json!({"kind": kind.kind, "apiVersion": kind.api_version(), "metadata": {"resourceVersion": rv.to_string()}});
        event("BOOKMARK", object)
    }
}

fn event(kind: &str, object: Value) -> Value {
    json!({"type": kind, "object": object})
}
