//! Writes whose answer did not come, or said that the server failed: one read tells whether they were made.
//!
//! The rules are those of `reference/safety.md` §5.7. What was made is not sent again; what was not is, with the same stamp, and bound
//! to the object that was seen, so that a first try that arrives late cannot have a second effect. A conflict after that is looked
//! at too: it may be our own first try that was in the way.

use std::sync::Arc;

use crate::base::clock::{Duration, later};
use crate::base::json::{Map, Value as Json, json};
use crate::base::{Error, Kind, ObjectRef, Reason, Result, Timestamp};

use super::client::{Cluster, Target};
use super::keep::{Key, Open, Operation, Outcome, SERVER, Sign, made};
use super::op::OP_ANNOTATION;
use super::request::{Call, PatchType, Verb};

/// How often one write is sent at most.
const TRIES: u32 = 5;
/// The pause before the second try; it doubles.
const PAUSE: Duration = Duration::from_millis(500);
/// A pod with two budgets, in the server's words (`pkg/registry/core/pod/storage/eviction.go`): no try will change that.
const TWO_BUDGETS: &str = "more than one PodDisruptionBudget";

/// What became of a write, as far as can be told.
#[derive(Clone, Debug, PartialEq)]
pub enum Settled {
    /// It was made: the object after it; none where it is gone, or is no object.
    Made(Option<Arc<Json>>),
    /// It was not.
    NotMade,
    /// It is nothing that the API could tell about.
    Untold,
}

impl Settled {
    /// The same for the record; none where it is nothing that the API could tell about.
    #[must_use]
    pub fn outcome(&self) -> Option<Outcome> {
        match self {
            Settled::Made(after) => Some(after.as_ref().map_or(Outcome::Made { after: None }, made)),
            Settled::NotMade => Some(Outcome::NotMade { why: "it was looked for and is not there".to_owned() }),
            Settled::Untold => None,
        }
    }
}

/// What one read says about a write.
enum Seen {
    /// It was made: the object as it is now.
    Made(Arc<Json>),
    /// It was not made; the object as it is now, if there is one.
    NotMade(Option<Arc<Json>>),
}

/// A write that was made: the object after it.
enum Sent {
    /// As the server answered.
    Answered(Arc<Json>),
    /// As a read found it later.
    Seen(Arc<Json>),
}

impl Cluster {
    /// Sends a write and settles it.
    ///
    /// # Errors
    /// Those of the server. `details.outcome` is `unknown` when nobody could tell whether it was made, and `not_made` when it was
    /// looked at and was not.
    pub(super) async fn settled(&self, call: Call, target: &Target, sign: &Sign, operation: &Operation) -> Result<Arc<Json>> {
        self.permitted(&call).await?;
        self.no_straggler(&call, target).await?;
        if let Some(answer) = self.intend(&call, target, sign, operation).await? {
            return Ok(answer);
        }
        let result = self.sent_and_settled(call.clone(), target, sign).await;
        match &result {
            Ok(Sent::Seen(now)) => self.was_seen(operation, &call, now)?,
            Ok(Sent::Answered(answer)) => self.became(operation, &Ok(answer.clone()))?,
            Err(error) => self.became(operation, &Err(error.clone()))?,
        }
        result.map(|(Sent::Answered(object) | Sent::Seen(object))| object)
    }

    /// Before an object is deleted whose creation was sent twice: the first try finds its name taken for as long as the object is there. What
    /// may still come is waited for.
    async fn no_straggler(&self, call: &Call, target: &Target) -> Result<()> {
        let until = self.shared.stragglers.borrow().get(&target.full_name()).copied().filter(|_| call.act.verb == Verb::Delete);
        let now = self.clock().now();
        let Some(until) = until.filter(|until| *until > now) else { return Ok(()) };
        self.wire().delayed(call, now, format!("its creation was sent twice, and the first try may still come until {until:.0}"));
        self.wire().rest(until).await
    }

    async fn sent_and_settled(&self, mut call: Call, target: &Target, sign: &Sign) -> Result<Sent> {
        let begun = self.clock().now();
        let limit = self.wire().limits().write.as_duration();
        let mut deadline = later(begun, limit);
        let mut pause = PAUSE;
        let mut unsure = false;
        for made in 1.. {
            let error = match self.wire().json(&call).await {
                Ok(answer) if !matches!(sign, Sign::Stamp(_)) || is_it(target, &answer) => return Ok(Sent::Answered(answer)),
                Ok(answer) => strange(&call, &answer, "the object"),
                Err(error) => error,
            };
            let in_the_way = unsure && matches!(code(&error), Some(404 | 409 | 422));
            if error.is_stop() || !(is_unknown(&error) || in_the_way) {
                return Err(error);
            }
            self.wire().delayed(&call, begun, format!("{}; looking whether it was made", brief(&error)));
            let outlasted = self.wire().outlasted();
            let seen = match self.look(target, call.act.subresource.as_deref(), sign).await {
                Ok(seen) => seen,
                Err(stop) if stop.is_stop() => return Err(outcome(stop, "unknown")),
                Err(read) => return Err(outcome(error, "unknown").cause(format!("looking whether it was made failed too: {read}"))),
            };
            let now = match seen {
                Seen::Made(object) => return Ok(Sent::Seen(object)),
                Seen::NotMade(now) => now,
            };
            // A server that was away has had no time to answer.
            if self.wire().outlasted() != outlasted {
                deadline = later(self.clock().now(), limit);
            }
            let next = later(self.clock().now(), pause);
            if in_the_way || made >= TRIES || next >= deadline {
                return Err(outcome(error, "not_made"));
            }
            unsure = true;
            if matches!(sign, Sign::Stamp(_)) && call.act.verb == Verb::Create {
                self.shared.stragglers.borrow_mut().insert(target.full_name(), later(deadline, SERVER));
            }
            bind(&mut call, now.as_deref());
            self.wire().rest(next).await?;
            pause *= 2;
        }
        Err(Error::internal("a write was neither made nor refused"))
    }

    /// What became of a write of a record that nobody goes on with, by one read.
    ///
    /// # Errors
    /// Of that read.
    pub async fn settle(&self, open: &Open) -> Result<Settled> {
        match &open.outcome {
            Some(Outcome::Made { after }) => return Ok(Settled::Made(after.clone())),
            Some(Outcome::NotMade { .. }) => return Ok(Settled::NotMade),
            Some(Outcome::Unknown { .. }) | None => {}
        }
        if matches!(open.intent.sign, Sign::Elsewhere) {
            return Ok(Settled::Untold);
        }
        let target = self.target(&ObjectRef::parse(open.intent.object())?, None).await?;
        let part = open.intent.key.part.as_deref().filter(|_| matches!(open.intent.sign, Sign::Fields(_)));
        let looked = self.looked(&target, part, &open.intent.sign).await?;
        Ok(looked.map_or(Settled::NotMade, |after| Settled::Made(Some(after))))
    }

    /// The same once and for all: what is not made and may still be on its way is waited for, and `tell` is told so. `ended` is the end of the
    /// record that has the write.
    ///
    /// # Errors
    /// Of a read; when somebody stops the waiting.
    pub async fn settle_for_good(&self, open: &Open, ended: Option<Timestamp>, tell: &dyn Fn(String)) -> Result<Settled> {
        let settled = self.settle(open).await?;
        let over = ended.filter(|_| settled == Settled::NotMade).and_then(|ended| self.may_come_until(open, ended));
        let Some(over) = over else { return Ok(settled) };
        let Key { verb, .. } = &open.intent.key;
        tell(format!(
            "`{verb} {}` was not made when the run was stopped, and may still come until {over:.0}: waiting",
            open.intent.object()
        ));
        self.rest(over).await?;
        self.settle(open).await
    }

    /// Until when a write that was not found made may still arrive, of which the record of a process says nothing more that ends then; none
    /// when it cannot any more, or its outcome is known.
    pub(super) fn may_come_until(&self, open: &Open, ended: Timestamp) -> Option<Timestamp> {
        let is_known = matches!(open.outcome, Some(Outcome::Made { .. } | Outcome::NotMade { .. }));
        let over = later(later(ended, self.wire().limits().write.as_duration()), SERVER);
        (!is_known && over > self.clock().now()).then_some(over)
    }

    /// Whether a write of the record was made: the object as it is now, when it was.
    ///
    /// # Errors
    /// Of the read.
    pub(super) async fn looked(&self, target: &Target, subresource: Option<&str>, sign: &Sign) -> Result<Option<Arc<Json>>> {
        Ok(match self.look(target, subresource, sign).await? {
            Seen::Made(now) => Some(now),
            Seen::NotMade(_) => None,
        })
    }

    async fn look(&self, target: &Target, subresource: Option<&str>, sign: &Sign) -> Result<Seen> {
        let found = match sign {
            Sign::Fields(_) => self.as_it_is(target, subresource).await.map(Some),
            Sign::Stamp(_) | Sign::Ended { .. } | Sign::Elsewhere => self.find_live(target, None).await,
        }?;
        let made = match (sign, &found) {
            (Sign::Stamp(stamp), Some(now)) => {
                now.pointer("/metadata/annotations").and_then(|all| all.get(OP_ANNOTATION)).is_some_and(|at| at == stamp.as_str())
            }
            (Sign::Fields(fields), Some(now)) => contains(now, fields),
            (Sign::Stamp(_) | Sign::Fields(_), None) | (Sign::Elsewhere, _) => false,
            (Sign::Ended { uid }, Some(now)) => {
                let other = uid.as_ref().is_some_and(|uid| now["metadata"]["uid"] != uid.as_str());
                other || now.pointer("/metadata/deletionTimestamp").is_some()
            }
            (Sign::Ended { .. }, None) => true,
        };
        Ok(match (made, found) {
            (true, Some(now)) => Seen::Made(now),
            (true, None) => Seen::Made(Arc::new(json!({ "kind": "Status", "apiVersion": "v1", "status": "Success" }))),
            (false, found) => Seen::NotMade(found),
        })
    }

    /// Evicts a pod: `POST pods/NAME/eviction` of `policy/v1`, for the pod of this uid only. `options` are further fields of its
    /// `deleteOptions`, such as `gracePeriodSeconds`. A pod that is gone, or on its way out, after an answer that did not come counts as evicted.
    ///
    /// # Errors
    /// `not_found` when there is no such pod; `unreachable` with `details.code` 429 when a budget does not allow it now, its causes in
    /// `details.causes`; `conflict` when the pod is another one; those of a write.
    pub async fn evict(&self, pod: &Target, uid: &str, options: Json) -> Result<Arc<Json>> {
        let mut options = if options.is_object() { options } else { Json::Object(Map::new()) };
        options["preconditions"] = json!({ "uid": uid });
        let body = json!({
            "apiVersion": "policy/v1", "kind": "Eviction",
            "metadata": { "name": pod.name, "namespace": pod.namespace },
            "deleteOptions": options,
        });
        let mut call = self.call(Verb::Create, pod, Some("eviction")).body(body);
        call.about = format!("the eviction of {}", call.about);
        let operation = self.begin_write(Key::of("evict", pod, Some(uid)));
        self.settled(call, pod, &Sign::Ended { uid: Some(uid.to_owned()) }, &operation).await
    }
}

/// Whether whoever sent it cannot know if the write was made.
fn is_unknown(error: &Error) -> bool {
    if error.details.get("outcome").is_some_and(|outcome| outcome == "unknown") {
        return true;
    }
    matches!(code(error), Some(500 | 502 | 503 | 504))
        && error.reason != Reason::Invalid
        && !error.causes.iter().any(|cause| cause.contains(TWO_BUDGETS))
}

fn code(error: &Error) -> Option<u64> {
    error.details.get("code").and_then(Json::as_u64)
}

fn brief(error: &Error) -> String {
    match code(error) {
        Some(code) => format!("the server answered {code}"),
        None if error.reason == Reason::Timeout => "no answer".to_owned(),
        None => "the answer was lost".to_owned(),
    }
}

fn outcome(mut error: Error, outcome: &str) -> Error {
    if !error.details.is_object() {
        error.details = Json::Object(Map::new());
    }
    error.details["outcome"] = outcome.into();
    if outcome == "not_made" {
        error.message = error.message.replace("; whether the change was made is unknown", "; the change was not made");
    }
    error
}

/// Whether the answer is this object.
pub(super) fn is_it(target: &Target, answer: &Json) -> bool {
    let kind = answer.get("kind").and_then(Json::as_str).is_none_or(|kind| kind == target.resource.kind);
    let name = answer.pointer("/metadata/name").is_some_and(|name| name == target.name.as_str());
    kind && name
}

/// The error of an answer that is something else.
pub(super) fn strange(call: &Call, answer: &Json, wanted: &str) -> Error {
    let is = answer.get("kind").and_then(Json::as_str).map_or_else(|| "no object".to_owned(), |kind| format!("a {kind}"));
    let error = Error::new(Kind::Cluster, Reason::Unreachable, format!("{}: the answer is {is}, not {wanted}", call.doing()))
        .hint("check whether a proxy is in the way");
    if call.writes() { error.details(json!({ "outcome": "unknown" })) } else { error }
}

/// Binds the next try to the object that was seen, where its body has a place for that.
fn bind(call: &mut Call, now: Option<&Json>) {
    let version = now.map(|now| &now["metadata"]["resourceVersion"]).filter(|version| version.is_string());
    let Some(version) = version else { return };
    if call.content_type == PatchType::Merge.content_type() || call.content_type == PatchType::Strategic.content_type() {
        let Some(body) = call.body.as_mut().filter(|body| body.is_object()) else { return };
        // Who bound it already wants that version or none.
        if body.pointer("/metadata/resourceVersion").is_none() {
            body["metadata"]["resourceVersion"] = version.clone();
        }
    }
}

/// Whether an object has all the fields of another, a version apart.
fn contains(object: &Json, fields: &Json) -> bool {
    match (object, fields) {
        (Json::Object(object), Json::Object(fields)) => fields
            .iter()
            .filter(|(name, _)| &***name != "resourceVersion")
            .all(|(name, value)| object.get(name).map_or(value.is_null(), |has| contains(has, value))),
        (has, wanted) => has == wanted,
    }
}
