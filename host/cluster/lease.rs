//! The lock of a cluster as the cluster has it: one Lease, read, taken, renewed and given back.
//!
//! Taking is a create, or an update bound to the version that was read, so that of two who try one wins. A lease that has run out is
//! not free: only the run that holds it, resumed, takes it over by itself ([`Over`]), or a person frees it by the run's name. Whether
//! it has run out is not read off its clock, which may be wrong, but seen: it did not change for as long as it lasts, by our own clock
//! (client-go's leader election judges in the same way).

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::client::Cluster;
use super::fence::{Fence, Note, RENEWED_EVERY, lost};
use super::request::{Act, Call, MANAGER, Verb};
use super::wire::Wire;
use crate::base::clock::{Duration, later};
use crate::base::json::{Map, Value as Json, json};
use crate::base::{Clock, Error, Reason, Result, Span, Timestamp};

/// Its namespace.
pub const NAMESPACE: &str = "kube-system";
/// Its name.
pub const NAME: &str = "lockgate";
/// How long a lease lasts after a renewal, `spec.leaseDurationSeconds`.
pub const LASTS: Span = Span::from_secs(60);

const USER: &str = "lockgate.dev/user";
const RUNBOOK: &str = "lockgate.dev/runbook";
const STEP: &str = "lockgate.dev/step";
const HEAD: &str = "lockgate.dev/head";
const LAST: &str = "lockgate.dev/last-run";
const LEFT: &str = "lockgate.dev/left";
const FREED: &str = "lockgate.dev/freed";
const TAKES_BACK: &str = "lockgate.dev/takes-back";
/// What is left of a run that failed: no other one begins before somebody has gone on with it, taken it back or given it up.
pub const FAILED: &str = "failed";
/// What is left of a run that a person has given up.
const GIVEN_UP: &str = "given up";
/// What is left of a run whose lock a person has freed.
const TAKEN: &str = "its lock was taken from it";
/// A process that was not heard of for so long is not waited for. Far more than the clocks of two machines differ.
const COLD: Span = Span::from_secs(600);

/// What the lease says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lease {
    /// The run that holds it; `None` when it is free.
    pub run: Option<String>,
    /// The machine that works on the run.
    pub host: String,
    /// Who started it there.
    pub user: String,
    /// The runbook.
    pub runbook: String,
    /// The step that the run was in at the last renewal.
    pub step: Option<String>,
    /// The head of the run's journal at the end of its last step.
    pub head: Option<String>,
    /// How many processes have worked on the run: the epoch of its writes.
    pub epoch: u64,
    /// When the holder took it, by the holder's clock.
    pub acquired: Option<Timestamp>,
    /// When it was last renewed, by the holder's clock.
    pub renewed: Option<Timestamp>,
    /// The run that held it before it became free.
    pub last: Option<String>,
    /// What that run left half-done, in a few words.
    pub left: Option<String>,
    /// Whether a person has freed it from a process that may be at work still.
    pub freed: bool,
    /// The run that the holder, or the last one, takes back.
    pub takes_back: Option<String>,
}

impl Lease {
    pub(super) fn of(object: &Json) -> Lease {
        let spec = |field: &str| object.pointer("/spec").and_then(|spec| spec.get(field));
        let note = |name: &str| {
            let text = object.pointer("/metadata/annotations").and_then(|all| all.get(name)).and_then(Json::as_str);
            text.filter(|text| !text.is_empty()).map(str::to_owned)
        };
        let time = |field: &str| spec(field).and_then(Json::as_str).and_then(|text| text.parse().ok());
        let holder = spec("holderIdentity").and_then(Json::as_str).filter(|holder| !holder.is_empty());
        let (run, host) = match holder.map(|holder| holder.split_once('@').unwrap_or((holder, ""))) {
            Some((run, host)) => (Some(run.to_owned()), host.to_owned()),
            None => (None, String::new()),
        };
        Lease {
            run,
            host,
            user: note(USER).unwrap_or_default(),
            runbook: note(RUNBOOK).unwrap_or_default(),
            step: note(STEP),
            head: note(HEAD),
            epoch: spec("leaseTransitions").and_then(Json::as_u64).unwrap_or_default(),
            acquired: time("acquireTime"),
            renewed: time("renewTime"),
            last: note(LAST),
            left: note(LEFT),
            freed: note(FREED).is_some(),
            takes_back: note(TAKES_BACK),
        }
    }

    /// The run that failed and was neither gone on with nor taken back nor given up.
    #[must_use]
    pub fn unfinished(&self) -> Option<&str> {
        self.last.as_deref().filter(|_| self.run.is_none() && self.left.as_deref() == Some(FAILED))
    }

    /// Whether whoever takes it waits first: it was freed from a process that may write until its fence closes.
    #[must_use]
    pub fn is_warm(&self, now: Timestamp) -> bool {
        self.run.is_none() && self.freed && self.renewed.is_none_or(|renewed| Span::between(renewed, now) < COLD)
    }
}

/// Who takes the lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The run.
    pub run: String,
    /// The name of this machine.
    pub host: String,
    /// The user.
    pub user: String,
    /// The runbook.
    pub runbook: String,
    /// The last epoch that the run's own record knows; 0 for its first process.
    pub known_epoch: u64,
    /// Whose lock it may take over, without asking anybody.
    pub over: Option<Over>,
}

impl Claim {
    /// Whether it may begin although this run is not finished: it is that run, or takes it back.
    fn follows(&self, run: &str) -> bool {
        self.run == run || self.over.as_ref().is_some_and(|over| over.run == run)
    }
}

/// A run whose lock may be taken over: the run itself when it is resumed, or the one that it takes back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Over {
    /// The run.
    pub run: String,
    /// Whether its process on this machine is provably gone: the lock of its folder is free.
    pub gone: bool,
}

/// How a claim ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Claimed {
    /// The lease was given to us by a request sent at that steady time; it was this before.
    Ours { before: Option<Box<Lease>>, object: Json, sent: Duration },
    /// Somebody else has it.
    Held(Box<Lease>),
    /// It is free, and another run is not finished.
    Left(Box<Lease>),
}

/// The way to the lease: a wire of its own, past the guard, the fence and the record of the run.
#[derive(Debug)]
pub(super) struct Way {
    wire: Wire,
}

impl Way {
    pub(super) fn new(wire: Wire) -> Way {
        Way { wire }
    }

    pub(super) fn clock(&self) -> &Clock {
        self.wire.clock()
    }

    fn call(verb: Verb) -> Call {
        let act = Act {
            verb,
            group: "coordination.k8s.io".to_owned(),
            version: "v1".to_owned(),
            resource: "leases".to_owned(),
            namespace: Some(NAMESPACE.to_owned()),
            name: (verb != Verb::Create).then(|| NAME.to_owned()),
            subresource: None,
        };
        let call = Call::new(act, format!("the lock `lease/{NAMESPACE}/{NAME}`"));
        Call { object: Some(format!("lease/{NAMESPACE}/{NAME}")), ..call }
    }

    /// Reads it.
    pub(super) async fn read(&self) -> Result<Option<Json>> {
        match self.wire.json(&Way::call(Verb::Get)).await {
            Ok(object) => Ok(Some(Arc::unwrap_or_clone(object))),
            Err(error) if error.reason == Reason::NotFound => Ok(None),
            Err(error) => Err(explained(error)),
        }
    }

    async fn write(&self, verb: Verb, object: Json) -> Result<Json> {
        let call = Way::call(verb).query("fieldManager", MANAGER).body(object);
        self.wire.json(&call).await.map(Arc::unwrap_or_clone).map_err(explained)
    }

    /// Takes it, if it may be taken.
    pub(super) async fn claim(&self, claim: &Claim) -> Result<Claimed> {
        loop {
            let found = self.read().await?;
            let before = found.as_ref().map(Lease::of);
            if let Some(lease) = before.as_ref().filter(|lease| lease.run.is_some())
                && !self.may_take(claim, lease, found.as_ref()).await?
            {
                return Ok(Claimed::Held(Box::new(lease.clone())));
            }
            if let Some(lease) = before.as_ref().filter(|lease| lease.unfinished().is_some_and(|run| !claim.follows(run))) {
                return Ok(Claimed::Left(Box::new(lease.clone())));
            }
            if before.as_ref().is_some_and(|lease| lease.is_warm(self.clock().now())) && !self.stands(found.as_ref()).await? {
                continue;
            }
            let theirs = before.as_ref().filter(|lease| lease.run.as_deref() == Some(&*claim.run)).map_or(0, |lease| lease.epoch);
            let epoch = claim.known_epoch.max(theirs) + 1;
            let sent = self.clock().steady();
            let wanted = taken(found.clone(), claim, epoch, self.clock().now());
            let verb = if found.is_some() { Verb::Update } else { Verb::Create };
            let object = match self.write(verb, wanted.clone()).await {
                Ok(object) => object,
                // Somebody was faster, or it was we ourselves and the answer was lost.
                Err(error) => match self.read().await? {
                    Some(now) if now.get("spec") == wanted.get("spec") => now,
                    now if error.reason == Reason::Conflict && now != found => continue,
                    _ => return Err(error),
                },
            };
            return Ok(Claimed::Ours { before: before.map(Box::new), object, sent });
        }
    }

    /// Whether a lease that somebody holds may be taken all the same.
    async fn may_take(&self, claim: &Claim, lease: &Lease, found: Option<&Json>) -> Result<bool> {
        let Some(over) = claim.over.as_ref().filter(|over| lease.run.as_deref() == Some(&*over.run)) else { return Ok(false) };
        if over.gone && lease.host == claim.host {
            return Ok(true);
        }
        self.stands(found).await
    }

    /// Watches it for as long as it lasts; whether nobody wrote to it.
    async fn stands(&self, found: Option<&Json>) -> Result<bool> {
        let until = later(self.clock().now(), LASTS.as_duration());
        while self.clock().now() < until {
            self.clock().sleep_until(later(self.clock().now(), RENEWED_EVERY.as_duration()).min(until)).await?;
            if self.read().await?.as_ref() != found {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Gives it back: nobody holds it any more. Says what the run left half-done, if anything.
    pub(super) async fn free(&self, object: &Json, left: Option<&str>) -> Result<Json> {
        self.write(Verb::Update, freed(object, left)).await
    }
}

/// The object that says that nobody holds it.
fn freed(object: &Json, left: Option<&str>) -> Json {
    let lease = Lease::of(object);
    let mut free = object.clone();
    set(&mut free, "spec", "holderIdentity", Json::Null);
    annotate(&mut free, LAST, lease.run.or(lease.last).as_deref());
    annotate(&mut free, LEFT, left);
    free
}

/// The object that says that this claim holds it.
fn taken(found: Option<Json>, claim: &Claim, epoch: u64, now: Timestamp) -> Json {
    let mut object = found.unwrap_or_else(
        || json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": NAME, "namespace": NAMESPACE}}),
    );
    let again = Lease::of(&object).run.as_deref() == Some(&*claim.run) || Lease::of(&object).last.as_deref() == Some(&*claim.run);
    object["spec"] = json!({
        "holderIdentity": format!("{}@{}", claim.run, claim.host),
        "leaseDurationSeconds": LASTS.as_millis() / 1000,
        "leaseTransitions": epoch,
        "acquireTime": time(now),
        "renewTime": time(now),
    });
    annotate(&mut object, USER, Some(&claim.user));
    annotate(&mut object, RUNBOOK, Some(&claim.runbook));
    annotate(&mut object, LAST, None);
    annotate(&mut object, LEFT, None);
    annotate(&mut object, FREED, None);
    let takes_back = claim.over.as_ref().map(|over| &over.run).filter(|run| **run != claim.run);
    if takes_back.is_some() || !again {
        annotate(&mut object, TAKES_BACK, takes_back.map(String::as_str));
    }
    if !again {
        annotate(&mut object, STEP, None);
        annotate(&mut object, HEAD, None);
    }
    object
}

/// A time as a Lease has it: with six digits behind the second, no more and no fewer.
fn time(at: Timestamp) -> String {
    format!("{at:.6}")
}

fn set(object: &mut Json, part: &str, field: &str, value: Json) {
    if !object[part].is_object() {
        object[part] = Json::Object(Map::new());
    }
    object[part][field] = value;
}

fn annotate(object: &mut Json, name: &str, value: Option<&str>) {
    let Some(annotations) = object.pointer_mut("/metadata/annotations").and_then(Json::as_object_mut) else {
        if let Some(value) = value {
            object["metadata"]["annotations"] = json!({ name: value });
        }
        return;
    };
    match value {
        Some(value) => drop(annotations.insert(name.to_owned(), value.into())),
        None => drop(annotations.remove(name)),
    }
}

/// What has to be granted where a lease may not be touched.
fn explained(error: Error) -> Error {
    if error.reason != Reason::Forbidden {
        return error;
    }
    error.hint(format!(
        "a run takes the lock of the cluster: grant `get`, `create`, `update` on `leases.coordination.k8s.io` in `{NAMESPACE}`"
    ))
}

/// The lease of a run while it holds it. Whoever renews it has the same one.
#[derive(Debug)]
pub(super) struct Mine {
    run: String,
    object: Mutex<Json>,
    notes: Mutex<Notes>,
    /// What of the notes stands in the lease.
    told: Mutex<Notes>,
    fence: Fence,
}

/// What is told with the next renewal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Notes {
    step: Option<String>,
    head: Option<String>,
}

impl Mine {
    pub(super) fn new(run: String, object: Json, fence: Fence) -> Mine {
        Mine { run, object: Mutex::new(object), notes: Mutex::default(), told: Mutex::default(), fence }
    }

    fn object(&self) -> MutexGuard<'_, Json> {
        self.object.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps what is to be told with the next renewal.
    pub(super) fn tell(&self, note: Note) {
        let mut notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
        match note {
            Note::Step(step) => notes.step = Some(step),
            Note::Head(head) => notes.head = Some(head),
        }
    }

    fn notes(&self) -> Notes {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether something of what is to be told does not stand in the lease yet.
    pub(super) fn is_behind(&self) -> bool {
        *self.told.lock().unwrap_or_else(PoisonError::into_inner) != self.notes()
    }

    /// The object as it was last seen, with what is to be told.
    fn next(&self, notes: &Notes) -> Json {
        let mut object = self.object().clone();
        for (name, value) in [(STEP, &notes.step), (HEAD, &notes.head)] {
            if let Some(value) = value {
                annotate(&mut object, name, Some(value));
            }
        }
        object
    }

    /// Whether this is our lease still: held by this process of the run.
    fn is_ours(&self, now: &Json) -> bool {
        let at = |object: &Json, field: &str| object.pointer("/spec").and_then(|spec| spec.get(field)).cloned();
        let known = self.object();
        let same = |field| at(now, field) == at(&known, field);
        same("holderIdentity") && same("leaseTransitions") && now.pointer("/metadata/uid") == known.pointer("/metadata/uid")
    }

    /// Why a lease like that is not ours.
    fn why_not(&self, now: Option<&Json>) -> Error {
        let run = &self.run;
        let Some(lease) = now.map(Lease::of) else {
            return lost(run, format!("somebody has deleted `lease/{NAMESPACE}/{NAME}`"));
        };
        match &lease.run {
            None => lost(run, format!("somebody has freed it (`lockgate unlock {run}`)")),
            Some(other) if other == run => {
                lost(run, format!("process {} of it, on `{}` by {}, has resumed the run", lease.epoch, lease.host, lease.user))
            }
            Some(other) => lost(run, format!("the run `{other}`, on `{}` by {}, has it now", lease.host, lease.user)),
        }
    }

    /// Renews it, and tells the fence what came of it. Gives whether it went well.
    pub(super) async fn renew(&self, way: &Way) -> bool {
        for _ in 0..2 {
            let sent = way.clock().steady();
            let notes = self.notes();
            let mut wanted = self.next(&notes);
            set(&mut wanted, "spec", "renewTime", time(way.clock().now()).into());
            let error = match way.write(Verb::Update, wanted).await {
                Ok(object) => {
                    *self.object() = object;
                    *self.told.lock().unwrap_or_else(PoisonError::into_inner) = notes;
                    self.fence.renewed(sent);
                    return true;
                }
                Err(error) => error,
            };
            // Somebody has written to it, or the answer was lost: it is looked at.
            match way.read().await {
                Ok(Some(now)) if self.is_ours(&now) => *self.object() = now,
                Ok(now) => {
                    self.fence.lose(self.why_not(now.as_ref()));
                    return false;
                }
                Err(_) => {
                    self.fence.failed(error.to_string());
                    return false;
                }
            }
            self.fence.failed(error.to_string());
        }
        false
    }

    /// Gives it back. What became of it on the way is no error: it is not ours any more.
    pub(super) async fn free(&self, way: &Way, left: Option<&str>) -> Result<()> {
        loop {
            let Err(error) = way.free(&self.next(&self.notes()), left).await else { return Ok(()) };
            match way.read().await? {
                Some(now) if self.is_ours(&now) && error.reason == Reason::Conflict => *self.object() = now,
                Some(now) if self.is_ours(&now) => return Err(error),
                _ => return Ok(()),
            }
        }
    }
}

impl Cluster {
    /// The lock of the cluster as it is; `None` when nobody ever took it.
    ///
    /// # Errors
    /// Those of a read.
    pub async fn lease(&self) -> Result<Option<Lease>> {
        Ok(self.lease_way()?.read().await?.as_ref().map(Lease::of))
    }

    /// Frees the lock of this run, whatever has become of it; one that failed and gave it back is given up. Gives the lease as it was.
    /// `gone`: whether no process works on the run for sure; else whoever takes the lock next waits until none can.
    ///
    /// # Errors
    /// `not_found` when nobody holds it, `precondition` when another run does; those of a write.
    pub async fn unlock(&self, run: &str, gone: bool) -> Result<Lease> {
        let way = self.lease_way()?;
        loop {
            let found = way.read().await?;
            let lease = found.as_ref().map(Lease::of).unwrap_or_default();
            let (Some(object), Some(holder)) = (&found, lease.run.as_deref().or(lease.unfinished().filter(|last| *last == run))) else {
                return Err(Error::not_found(format!("nobody holds the lock of `{}`", self.label().name)));
            };
            if holder != run {
                let message = format!("the lock of `{}` is held by the run `{holder}`, not by `{run}`", self.label().name);
                return Err(Error::new(crate::base::Kind::Refused, Reason::Precondition, message));
            }
            let mut wanted = freed(object, Some(if lease.run.is_some() { TAKEN } else { GIVEN_UP }));
            if lease.run.is_some() && !gone {
                annotate(&mut wanted, FREED, Some(run));
            }
            match way.write(Verb::Update, wanted).await {
                Ok(_) => return Ok(lease),
                Err(error) if error.reason == Reason::Conflict => {}
                // The answer may have been lost.
                Err(error) => match way.read().await?.as_ref().map(Lease::of) {
                    Some(now) if now.run.is_none() && now.unfinished().is_none() => return Ok(lease),
                    _ => return Err(error),
                },
            }
        }
    }
}

#[cfg(test)]
#[path = "lease_tests.rs"]
mod tests;
