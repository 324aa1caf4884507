//! The record of writes as the way to the cluster sees it: an intent before each, an outcome after it. Who keeps it (the journal of a
//! run) can say of the writes of an interrupted call what became of them, so that making the call anew has no second effect.

use std::rc::Rc;
use std::sync::Arc;

use futures::future::LocalBoxFuture;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::client::{Cluster, Target};
use super::op::OP_ANNOTATION;
use super::request::Call;
pub use super::settle::Settled;
use super::written::as_written;
use crate::base::clock::Duration;
use crate::base::diff::{RESTARTED_AT, changes, reaches};
use crate::base::json::{Value as Json, json};
use crate::base::{Error, Kind, Reason, Result, Timestamp};

/// Which write of a call it is: calls are made anew in the same way, so that verb, object and part find it again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Key {
    /// `create`, `patch`, `update`, `delete`, `evict`, `exec`, `helm`, `machine`.
    pub verb: String,
    /// The object's full name, `deployment/shop/web`; `release/NAMESPACE/NAME`; `node/NAME` for a machine.
    pub target: String,
    /// The part of it that is written: `scale`, or for a machine what is run there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part: Option<String>,
}

/// How one read tells whether a write was made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sign {
    /// By its stamp in the object's annotations.
    Stamp(String),
    /// By the fields that it set: for subresources, which have no place for a stamp.
    Fields(Json),
    /// By the end of the object: it is gone, another one of that name is there, or it is on its way out.
    Ended {
        /// Which object it was; `None` when the caller does not know.
        uid: Option<String>,
    },
    /// By whoever did it: a release's history, a unit on a machine; a command in a pod has none.
    Elsewhere,
}

/// An object as it was before a write.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Prior {
    /// It was not there.
    Absent,
    /// It was this.
    Was(Arc<Json>),
}

/// One write, before it is sent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Intent {
    /// Its operation: `RUN/NUMBER/EPOCH`.
    pub op: String,
    /// Which it is.
    #[serde(flatten)]
    pub key: Key,
    /// The object's full name, where it is made up only now; else it is the key's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<String>,
    /// How one read settles it.
    pub sign: Sign,
    /// SHA-256 of what is sent, without stamp and version; what else its maker needs to know of it again, where that is not an API
    /// request.
    pub body: Json,
    /// The object as this call read it last; none when it was not read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prior: Option<Prior>,
}

impl Intent {
    /// The full name of the object.
    #[must_use]
    pub fn object(&self) -> &str {
        self.object.as_deref().unwrap_or(&self.key.target)
    }
}

/// What became of a write.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum Outcome {
    /// It was made.
    Made {
        /// The object after it; none where it is gone, or is no object.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        after: Option<Arc<Json>>,
    },
    /// It was not: the server refused it, or it was looked at and is not there.
    NotMade {
        /// Why.
        why: String,
    },
    /// Nobody knows.
    Unknown {
        /// Why.
        why: String,
    },
}

/// A write that the record has of the call that is made anew.
#[derive(Clone, Debug, PartialEq)]
pub struct Open {
    /// The write.
    pub intent: Intent,
    /// What became of it, as far as the record says.
    pub outcome: Option<Outcome>,
}

/// What to do about an object that is not as the record says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Drift {
    /// Go on from what it is now.
    Accept,
    /// Write again what the record says was written.
    Again,
}

/// A chart that a run uses, and its content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pin {
    /// What it was asked for as, as far as that fits the name of a folder.
    pub id: String,
    /// The same for people: ``chart `cilium` 1.16.5``.
    pub chart: String,
    /// `sha256:…` over its content.
    pub digest: String,
}

/// Who keeps the record.
pub trait Keeper {
    /// The digest of the chart of this id, when the run has used it before.
    fn pinned(&self, id: &str) -> Option<String>;

    /// The run uses a chart for the first time. When this comes back, it is on the disk which one it was.
    ///
    /// # Errors
    /// When it cannot be kept.
    fn pin(&self, pin: &Pin) -> Result<()>;

    /// The write of the interrupted call that has this key and was not met yet since; `None` when there is none, and in every call
    /// that was not interrupted.
    fn open(&self, key: &Key) -> Option<Open>;

    /// The first write of the interrupted call to this object (or part of it) that was not met yet since: reads of it are answered with
    /// what the call read then, when the write was made.
    fn open_on(&self, target: &str, part: Option<&str>) -> Option<Open>;

    /// The writes of the interrupted call that were not met yet, in order.
    fn unmet(&self) -> Vec<Open> {
        Vec::new()
    }

    /// When the record of the processes before this one ends.
    fn ended(&self) -> Option<Timestamp> {
        None
    }

    /// A write that `open` gave was looked at, and was made: it is not sent again.
    ///
    /// # Errors
    /// When that cannot be kept.
    fn met(&self, op: &str, outcome: &Outcome) -> Result<()>;

    /// The object is not as the record says: what to do. A person may be asked.
    ///
    /// # Errors
    /// To stop, with the differences.
    fn drift<'a>(&'a self, object: &'a str, differences: Vec<String>) -> LocalBoxFuture<'a, Result<Drift>>;

    /// The epoch of writes that are new.
    fn epoch(&self) -> u64;

    /// A write is about to be sent. When this comes back, it is on the disk. A write that `open` gave is met by this.
    ///
    /// # Errors
    /// When it cannot be kept, or the object is not as the record says: then nothing is sent.
    fn intend(&self, intent: &Intent) -> Result<()>;

    /// What became of it. When this comes back, it is on the disk.
    ///
    /// # Errors
    /// When it cannot be kept.
    fn outcome(&self, op: &str, outcome: &Outcome) -> Result<()>;
}

/// One write as it is being made.
#[derive(Clone, Debug)]
pub(super) struct Operation {
    pub(super) stamp: String,
    key: Key,
    /// What the record has of it.
    open: Option<Open>,
}

impl Key {
    /// A write of this object.
    pub(super) fn of(verb: &str, target: &Target, part: Option<&str>) -> Key {
        Key { verb: verb.to_owned(), target: target.full_name(), part: part.map(str::to_owned) }
    }
}

impl Cluster {
    /// From now on this keeps the record of writes.
    pub fn keep(&self, keeper: Rc<dyn Keeper>) {
        *self.shared.keeper.borrow_mut() = Some(keeper);
    }

    fn keeper(&self) -> Option<Rc<dyn Keeper>> {
        self.shared.keeper.borrow().clone()
    }

    /// Holds a run to the charts that it began with: what has this id is one content for the whole run, also after it was interrupted.
    ///
    /// # Errors
    /// When it has another digest now than when the run used it first: the `digest` in its details. When that cannot be kept.
    pub fn pin_chart(&self, pin: &Pin) -> Result<()> {
        let Some(keeper) = self.keeper() else { return Ok(()) };
        match keeper.pinned(&pin.id) {
            None => keeper.pin(pin),
            Some(then) if then == pin.digest => Ok(()),
            Some(then) => Err(Error::new(
                Kind::Refused,
                Reason::Replaced,
                format!("{} is not the one that this run began with", pin.chart),
            )
            .cause(format!("its content is {} now, and was {then}", pin.digest))
            .details(json!({ "digest": then }))
            .hint("somebody put another content under the same version: look at what it is, then begin a new run, whose plan shows it")),
        }
    }

    /// A call of a verb begins: what was read before does not count as what it saw.
    pub fn begin_call(&self) {
        self.shared.seen.borrow_mut().clear();
        self.forget_admitted();
    }

    /// Numbers after this one are new: a run that goes on does not use one twice.
    pub fn continue_after(&self, number: u64) {
        self.shared.writes.set(self.shared.writes.get().max(number));
    }

    /// The next write that has this key: with a stamp of its own, or the one that the record has of it.
    pub(super) fn begin_write(&self, key: Key) -> Operation {
        let open = self.keeper().and_then(|keeper| keeper.open(&key));
        let stamp = open.as_ref().map_or_else(|| self.next_op(), |open| open.intent.op.clone());
        Operation { stamp, key, open }
    }

    /// Notes what this call read.
    pub(super) fn saw(&self, target: &Target, part: Option<&str>, object: Option<&Arc<Json>>) {
        if self.shared.keeper.borrow().is_some() {
            self.shared.seen.borrow_mut().insert((target.full_name(), part.map(str::to_owned)), object.cloned());
        }
    }

    /// What the interrupted call read of this object before its write, when the record has one that was made and that this call has not
    /// come to yet.
    ///
    /// # Errors
    /// Of the read that tells whether it was made.
    pub(super) async fn read_before(&self, target: &Target, part: Option<&str>) -> Result<Option<Prior>> {
        let Some(keeper) = self.keeper() else { return Ok(None) };
        let Some(open) = keeper.open_on(&target.full_name(), part) else { return Ok(None) };
        // What a Secret held is not in the journal: it is read as it is.
        let Some(prior) = open.intent.prior.clone().filter(|_| !is_secret(target)) else { return Ok(None) };
        Ok(self.was_made(target, part, &open).await?.is_some().then_some(prior))
    }

    /// Whether a write of the record was made, and still is: the object as it is now, when it was.
    async fn was_made(&self, target: &Target, part: Option<&str>, open: &Open) -> Result<Option<Arc<Json>>> {
        let after = match &open.outcome {
            Some(Outcome::NotMade { .. }) => return Ok(None),
            Some(Outcome::Unknown { .. }) | None => return self.looked(target, part, &open.intent.sign).await,
            Some(Outcome::Made { after }) => after,
        };
        let now = self.find_live(target, part).await?;
        if now.is_none() && after.is_some() && open.intent.key.verb != "delete" && open.intent.key.verb != "evict" {
            return self.drifted(target, vec!["it is gone".to_owned()], now).await;
        }
        let after = after.as_ref().filter(|_| !is_secret(target));
        let (Some(after), Some(now)) = (after, &now) else {
            return Ok(Some(now.unwrap_or_else(nothing)));
        };
        let differences = no_longer(open.intent.prior.as_ref(), after, now);
        if differences.is_empty() {
            return Ok(Some(now.clone()));
        }
        self.drifted(target, differences, Some(now.clone())).await
    }

    /// Whether a write of the interrupted call was made. One that was not may still be on its way, at a proxy or in the server: unless it can
    /// have no second effect, it is waited for until it cannot come any more (`reference/safety.md` §2.4, the straggler rule).
    async fn was_made_by_now(&self, call: &Call, target: &Target, open: &Open, keeper: &dyn Keeper) -> Result<Option<Arc<Json>>> {
        let part = call.act.subresource.as_deref();
        let made = self.was_made(target, part, open).await?;
        let Some(ended) = keeper.ended().filter(|_| made.is_none() && !is_bound(call)) else { return Ok(made) };
        let Some(over) = self.may_come_until(open, ended) else { return Ok(None) };
        self.wire().delayed(call, self.clock().now(), format!("not made when the run was stopped, and it may still come until {over:.0}"));
        self.wire().rest(over).await?;
        self.was_made(target, part, open).await
    }

    async fn settle_unmet(&self, open: &Open, keeper: &dyn Keeper) -> Result<()> {
        self.settle(open).await?.outcome().map_or(Ok(()), |outcome| keeper.met(&open.intent.op, &outcome))
    }

    /// What the call did before it was interrupted, as far as it has not come to it again: for who chooses by what there is, and has changed
    /// that already.
    #[must_use]
    pub fn interrupted(&self) -> Vec<Open> {
        self.keeper().map(|keeper| keeper.unmet()).unwrap_or_default()
    }

    /// Whether the object is as a write left it that the interrupted call made and that this call has not come to again: a Secret, whose
    /// former content no record tells, is read as it is.
    #[must_use]
    pub fn is_made_already(&self, target: &Target, object: &Json) -> bool {
        let stamp = object.pointer("/metadata/annotations").and_then(|all| all.get(OP_ANNOTATION)).and_then(Json::as_str);
        stamp.is_some_and(|stamp| {
            let full = target.full_name();
            self.interrupted().iter().any(|open| open.intent.object() == full && open.intent.op == stamp)
        })
    }

    /// When the call that was interrupted is over: it may have found what it did before, and not have asked for it again. What became of such
    /// writes is found out and noted, so that nothing is half-done in the record that is not so in the cluster.
    ///
    /// # Errors
    /// Those of a read; when it cannot be kept.
    pub async fn settle_rest(&self) -> Result<()> {
        let Some(keeper) = self.keeper() else { return Ok(()) };
        for open in keeper.unmet() {
            self.settle_unmet(&open, &*keeper).await?;
        }
        Ok(())
    }

    /// What is done about an object that is not as a write of the record left it: `None` when it is written again.
    async fn drifted(&self, target: &Target, differences: Vec<String>, now: Option<Arc<Json>>) -> Result<Option<Arc<Json>>> {
        let keeper = self.keeper().ok_or_else(|| Error::internal("a record without a keeper"))?;
        Ok(match keeper.drift(&target.full_name(), differences).await? {
            Drift::Accept => Some(now.unwrap_or_else(nothing)),
            Drift::Again => None,
        })
    }

    /// Before a write is sent: it is on the disk when this comes back. `Some` is the answer to one that was made before.
    ///
    /// # Errors
    /// When it cannot be kept, when the cluster is not as the record says, or when the call asks for something else than before.
    pub(super) async fn intend(&self, call: &Call, target: &Target, sign: &Sign, operation: &Operation) -> Result<Option<Arc<Json>>> {
        let Some(keeper) = self.keeper() else { return Ok(None) };
        self.gate().access().allows(&call.act)?;
        self.cancel().check()?;
        let body = Json::from(call.body.as_ref().map_or_else(String::new, digest));
        if let Some(open) = &operation.open
            && let Some(now) = self.was_made_by_now(call, target, open, &*keeper).await?
        {
            if open.intent.body != body {
                return Err(other(call));
            }
            let left = as_written(open.intent.prior.as_ref(), call, &now);
            keeper.met(&operation.stamp, &made(&left))?;
            return Ok(Some(now));
        }
        if operation.open.is_none() {
            // Made anew the call does something else with this object: what it did before is over.
            let full = target.full_name();
            for open in keeper.unmet().into_iter().filter(|open| open.intent.object() == full) {
                self.settle_unmet(&open, &*keeper).await?;
            }
        }
        let prior = self.seen_before(call, operation);
        if let (Some(Open { intent: Intent { prior: Some(then), .. }, .. }), Some(now)) = (&operation.open, &prior) {
            let differences = differences(then, now);
            if !differences.is_empty() && !is_secret(target) {
                keeper.drift(&target.full_name(), differences).await?;
            }
        }
        let full = target.full_name();
        let object = (full != operation.key.target).then_some(full);
        keeper.intend(&Intent { op: operation.stamp.clone(), key: operation.key.clone(), object, sign: sign.clone(), body, prior })?;
        Ok(None)
    }

    /// The object of a write as this call read it last.
    fn seen_before(&self, call: &Call, operation: &Operation) -> Option<Prior> {
        let place = (operation.key.target.clone(), call.act.subresource.clone());
        match self.shared.seen.borrow().get(&place) {
            Some(Some(object)) => Some(Prior::Was(object.clone())),
            Some(None) => Some(Prior::Absent),
            None if call.act.verb == super::request::Verb::Create => Some(Prior::Absent),
            None => None,
        }
    }

    /// After a write whose answer was lost, and which was seen to be made.
    ///
    /// # Errors
    /// When it cannot be kept.
    pub(super) fn was_seen(&self, operation: &Operation, call: &Call, now: &Arc<Json>) -> Result<()> {
        let left = as_written(self.seen_before(call, operation).as_ref(), call, now);
        self.became(operation, &Ok(left))
    }

    /// After a write was sent.
    ///
    /// # Errors
    /// When it cannot be kept.
    pub(super) fn became(&self, operation: &Operation, result: &Result<Arc<Json>>) -> Result<()> {
        let Some(keeper) = self.keeper() else { return Ok(()) };
        let outcome = match result {
            Ok(now) => made(now),
            Err(error) => match error.details.get("outcome").and_then(Json::as_str) {
                Some("unknown") => Outcome::Unknown { why: error.to_string() },
                _ => Outcome::NotMade { why: error.to_string() },
            },
        };
        keeper.outcome(&operation.stamp, &outcome)
    }
}

/// What there is outside of the API that a call may find again after an interruption.
impl Cluster {
    /// A write that is no request of its own (a release, a command): its operation, and what the record has of it from before.
    ///
    /// # Errors
    /// When it cannot be kept.
    pub fn begin_elsewhere(&self, verb: &str, target: &str, part: Option<&str>) -> Elsewhere {
        let key = Key { verb: verb.to_owned(), target: target.to_owned(), part: part.map(str::to_owned) };
        Elsewhere { cluster: self.clone(), operation: self.begin_write(key) }
    }
}

/// A write outside of the API: an intent before it, an outcome after it.
#[derive(Clone, Debug)]
pub struct Elsewhere {
    cluster: Cluster,
    operation: Operation,
}

impl Elsewhere {
    /// Its operation: `RUN/NUMBER/EPOCH`.
    #[must_use]
    pub fn op(&self) -> &str {
        &self.operation.stamp
    }

    /// What was noted of it before an interruption: the `about` of [`Elsewhere::intend`], and what became of it as far as the record says.
    #[must_use]
    pub fn before(&self) -> Option<(&Json, Option<&Outcome>)> {
        self.operation.open.as_ref().map(|open| (&open.intent.body, open.outcome.as_ref()))
    }

    /// It is about to be done; `about` is what finds it again.
    ///
    /// # Errors
    /// When it cannot be kept: it is not to be done then.
    pub fn intend(&self, about: Json) -> Result<()> {
        let Some(keeper) = self.cluster.keeper() else { return Ok(()) };
        let Operation { stamp, key, .. } = &self.operation;
        let sign = Sign::Elsewhere;
        keeper.intend(&Intent { op: stamp.clone(), key: key.clone(), object: None, sign, body: about, prior: None })
    }

    /// What became of it.
    ///
    /// # Errors
    /// When it cannot be kept.
    pub fn became<T>(&self, result: &Result<T>) -> Result<()> {
        let result = result.as_ref().map(|_| Arc::new(Json::Null)).map_err(Clone::clone);
        self.cluster.became(&self.operation, &result)
    }
}

fn is_secret(target: &Target) -> bool {
    target.resource.group.is_empty() && target.resource.kind == "Secret"
}

/// What a server answers where there is no object.
fn nothing() -> Arc<Json> {
    Arc::new(json!({ "kind": "Status", "apiVersion": "v1", "status": "Success" }))
}

pub(super) fn made(now: &Arc<Json>) -> Outcome {
    Outcome::Made { after: now.pointer("/metadata/name").is_some().then(|| now.clone()) }
}

/// Why a workload was changed, in words (`kubectl rollout history`).
const CHANGE_CAUSE: &str = "kubernetes.io/change-cause";
/// So long an API server works on a request at most (its `--request-timeout`), whoever still waits for it.
pub(super) const SERVER: Duration = Duration::from_secs(60);

/// Whether a write is refused when the object is another one, or of another version, than when it was asked for.
fn is_bound(call: &Call) -> bool {
    let Some(body) = &call.body else { return false };
    let tests = |operation: &Json| operation["op"] == "test" && operation["path"] == "/metadata/resourceVersion";
    let conditions = body.get("preconditions").or_else(|| body.pointer("/deleteOptions/preconditions"));
    body.as_array().is_some_and(|operations| operations.iter().any(tests))
        || body.pointer("/metadata/resourceVersion").is_some_and(|version| version.is_string())
        || conditions.is_some_and(|conditions| conditions.get("uid").is_some() || conditions.get("resourceVersion").is_some())
}

/// SHA-256 of a body without what says which try it is.
fn digest(body: &Json) -> String {
    let mut body = body.clone();
    if let Some(metadata) = body.get_mut("metadata").and_then(Json::as_object_mut) {
        metadata.remove("resourceVersion");
        if let Some(annotations) = metadata.get_mut("annotations").and_then(Json::as_object_mut) {
            annotations.remove(OP_ANNOTATION);
            // Says the number of a revision, which the write itself moves.
            annotations.remove(CHANGE_CAUSE);
        }
    }
    // The time of the first try: of a restart that was made nothing else can be asked for now.
    let restarted = body.pointer_mut("/spec/template/metadata/annotations").and_then(Json::as_object_mut);
    if let Some(restarted) = restarted {
        restarted.remove(RESTARTED_AT);
    }
    if let Some(preconditions) = body.get_mut("preconditions").and_then(Json::as_object_mut) {
        preconditions.remove("resourceVersion");
    }
    if let Some(operations) = body.as_array_mut() {
        let own = [
            "/metadata/resourceVersion",
            "/metadata/annotations/lockgate.dev~1op",
            "/metadata/annotations/kubernetes.io~1change-cause",
            "/metadata/annotations",
        ];
        operations.retain(|operation| !operation["path"].as_str().is_some_and(|path| own.contains(&path)));
    }
    hex(&Sha256::digest(body.to_string()))
}

/// Bytes as hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The error of a call that is made anew and asks for something else.
fn other(call: &Call) -> Error {
    let message = format!("{}: the call was interrupted after it, and asks for something else now", call.doing());
    Error::new(Kind::Runbook, Reason::Precondition, message)
        .hint("what a step asks for must depend only on parameters, `state` and what it reads")
}

/// What differs between an object as an interrupted call saw it and as it is.
fn differences(then: &Prior, now: &Prior) -> Vec<String> {
    match (then, now) {
        (Prior::Absent, Prior::Absent) => Vec::new(),
        (Prior::Was(then), Prior::Was(now)) => changes(then, now).iter().map(ToString::to_string).collect(),
        (Prior::Absent, Prior::Was(_)) => vec!["it is there, and was not".to_owned()],
        (Prior::Was(_), Prior::Absent) => vec!["it is gone".to_owned()],
    }
}

/// Which of the fields that a write set are no longer as it left them.
#[must_use]
pub fn no_longer(prior: Option<&Prior>, after: &Json, now: &Json) -> Vec<String> {
    let set = match prior {
        Some(Prior::Was(prior)) => changes(prior, after),
        // A whole object was written.
        Some(Prior::Absent) => {
            return changes(after, now)
                .iter()
                .filter(|change| change.after.is_none() || change.before.is_some())
                .map(ToString::to_string)
                .collect();
        }
        None => return Vec::new(),
    };
    let touches = |path: &str| set.iter().any(|change| reaches(path, &change.path) || reaches(&change.path, path));
    changes(after, now).iter().filter(|change| touches(&change.path)).map(ToString::to_string).collect()
}
