//! `wait_for`: until an object is as wanted.

use std::rc::Rc;
use std::sync::Arc;

use crate::base::json::Value as Json;

use super::cx::Cx;
use super::done::Done;
use super::pace::{Pace, next};
use super::registry::Callback;
use super::types::Condition;
use super::view;
use super::watched::{by_name, deleted, same};
use crate::base::{Error, Kind, ObjectRef, Reason, Result, Span, Timestamp, Value};
use crate::cluster::Target;
use crate::primitive;

primitive! {
    /// Waits until a condition of an object holds.
    ///
    /// A named condition holds when it is `True` for the object as it is now, not for an earlier generation. A function gets the
    /// object, `nil` while there is none, and returns whether it holds, and if it likes a second value that shows progress: for as
    /// long as that value changes the wait is not stalled. An object that is not there is waited for. With a named condition, one
    /// that is deleted under the wait is `not_found`, one that is created anew is `replaced`.
    pub read fn wait_for as WaitFor(
        /// The object, for example `node/w1`.
        object: ObjectRef,
        /// `"Ready"`, `"Available"`, any type of condition, or a function of the object.
        condition: Condition,
    ) options {
        /// The namespace, when the reference has none.
        namespace: Option<String>,
        /// The whole time allowed; default 5 minutes. 0 asks once.
        timeout: Option<Span>,
        /// The time allowed without any change of what is waited for; default 3 minutes.
        stall: Option<Span>,
        /// How long it must hold without a break; default not at all.
        stable: Option<Span>,
    } -> "any", "the object as it is then";
    since "0.1";
    example r#"wait_for("node/w1", function(node) return node and node.status.nodeInfo.kubeletVersion == "v1.31.2" end)"#;
    needs ["list,watch {object}"];
}

/// How it is at one moment.
struct Look {
    holds: bool,
    /// In a few words.
    state: String,
    /// What changes with progress.
    progress: Json,
}

impl WaitFor {
    pub(in crate::primitives) async fn run(self, cx: Cx) -> Result<Done> {
        let target = cx.target(&self.object, self.namespace.as_deref()).await?;
        let what = match &self.condition {
            Condition::Named(name) => format!("{name} of {target}"),
            Condition::Function(_) => target.to_string(),
        };
        let mut pace = Pace::begin(&cx, what, self.timeout.unwrap_or(Span::from_secs(300)), self.stall);
        let stable = self.stable.unwrap_or_default();
        let mut following = cx.cluster.follow(vec![by_name(&target)]).await?;
        let mut uid: Option<String> = None;
        let mut progress = None;
        let mut holding_since: Option<Timestamp> = None;
        loop {
            let object = following.items(0).next().cloned();
            let look = self.look(&cx, &target, object.as_ref(), &mut uid).await?;
            let now = cx.now();
            let stable_at = if look.holds { Some(stable.after(*holding_since.get_or_insert(now))) } else { None };
            if stable_at.is_none() {
                holding_since = None;
            } else if stable_at.is_some_and(|at| at <= now) {
                pace.done(&cx, &look.state);
                return Ok(Done::read(object.map_or(Value::Nil, |object| cx.object(object))));
            }
            if look.holds || progress.as_ref() != Some(&look.progress) {
                progress = Some(look.progress);
                pace.moved(now);
            }
            if let Some(ended) = pace.ended(now, stable_at) {
                let message = pace.says(ended, &subject(&self.condition, &target));
                if object.is_none() && cx.cluster.may_come(&target) {
                    return Err(nobody_knows(&target));
                }
                return Err(late(&target, ended.reason(), &format!("{message}: {}", look.state), &self.condition, object.as_deref()));
            }
            match stable_at {
                Some(_) => pace.show(&cx, &format!("{}, to hold for {stable}", look.state)),
                None => pace.show(&cx, &look.state),
            }
            let until = pace.until(stable_at);
            next(&cx, &mut pace, &mut following, stable_at.map_or(until, |at| at.min(until))).await?;
        }
    }

    /// Looks once. `uid` is that of the object that a named condition was first seen on.
    async fn look(&self, cx: &Cx, target: &Target, object: Option<&Arc<Json>>, uid: &mut Option<String>) -> Result<Look> {
        let name = match &self.condition {
            Condition::Function(function) => return asked(cx, function, object).await,
            Condition::Named(name) => name,
        };
        match (object, uid.as_deref()) {
            (Some(object), Some(uid)) => same(target, uid, object)?,
            (Some(object), None) => *uid = Some(view::uid(object).to_owned()),
            (None, Some(_)) => return Err(deleted(target)),
            (None, None) => {}
        }
        if let Some(object) = object {
            cannot(target, object, name)?;
            cx.must_be_modelled(target, object)?;
        }
        Ok(named(name, object.map(Arc::as_ref)))
    }
}

/// What is waited for, as the subject of a sentence.
fn subject(condition: &Condition, target: &Target) -> String {
    match condition {
        Condition::Named(name) => format!("the wait for condition `{name}` of `{target}`"),
        Condition::Function(_) => format!("the wait for `{target}`"),
    }
}

/// The condition of that name, whatever its capitals.
fn find<'a>(object: &'a Json, name: &str) -> Option<&'a Json> {
    view::list(object, "/status/conditions").iter().find(|condition| view::text(condition, "/type").eq_ignore_ascii_case(name))
}

fn named(name: &str, object: Option<&Json>) -> Look {
    let Some(object) = object else {
        return Look { holds: false, state: "it is not there yet".to_owned(), progress: Json::Null };
    };
    let status = timeless(object.get("status").unwrap_or(&Json::Null));
    let Some(condition) = find(object, name) else {
        return Look { holds: false, state: "it has no such condition yet".to_owned(), progress: status };
    };
    let generation = view::count(object, "/metadata/generation");
    let seen = view::int(condition, "/observedGeneration").or_else(|| view::int(object, "/status/observedGeneration"));
    if seen.is_some_and(|seen| seen < generation) {
        return Look { holds: false, state: "the controller has not seen the latest change yet".to_owned(), progress: status };
    }
    let holds = view::text(condition, "/status").eq_ignore_ascii_case("true");
    let words: Vec<&str> =
        ["/reason", "/message"].into_iter().map(|field| view::text(condition, field)).filter(|text| !text.is_empty()).collect();
    let state = match (holds, words.is_empty()) {
        (true, _) => "it holds".to_owned(),
        (false, true) => format!("it is {}", view::text(condition, "/status")),
        (false, false) => words.join(": "),
    };
    Look { holds, state, progress: status }
}

/// Asks the script's function.
async fn asked(cx: &Cx, function: &Rc<dyn Callback>, object: Option<&Arc<Json>>) -> Result<Look> {
    let argument = object.map_or(Value::Nil, |object| cx.object(object.clone()));
    let mut answers = function.invoke(vec![argument]).await?.into_iter();
    let holds = match answers.next() {
        None | Some(Value::Nil) => false,
        Some(Value::Json(Json::Bool(holds))) => holds,
        Some(other) => {
            return Err(Error::usage(format!("`wait_for`: the function must return true or false, got {}", other.kind_name()))
                .hint("write `return ok, progress`"));
        }
    };
    let progress = match answers.next() {
        None | Some(Value::Nil) => None,
        Some(value) => Some(value.into_json()),
    };
    let state = match (&progress, object) {
        (Some(Json::String(text)), _) => text.to_string(),
        (Some(value), _) => value.to_string(),
        (None, None) => "it is not there yet".to_owned(),
        (None, Some(_)) if holds => "it holds".to_owned(),
        (None, Some(_)) => "not yet".to_owned(),
    };
    let progress = progress.unwrap_or_else(|| object.map_or(Json::Null, |object| timeless(object)));
    Ok(Look { holds, state, progress })
}

/// The value without times and versions: what merely says that somebody is alive is no progress.
fn timeless(value: &Json) -> Json {
    match value {
        Json::Object(fields) => {
            let told = fields.iter().filter(|(key, _)| {
                !key.ends_with("Time") && !key.ends_with("Timestamp") && !matches!(key.as_str(), "resourceVersion" | "managedFields")
            });
            Json::Object(told.map(|(key, value)| (key.clone(), timeless(value))).collect())
        }
        Json::Array(items) => Json::Array(items.iter().map(timeless).collect()),
        other => other.clone(),
    }
}

/// Says no when the condition can never hold any more: a Job that failed, a pod that ended.
fn cannot(target: &Target, object: &Json, name: &str) -> Result<()> {
    let (reason, why) = match target.resource.kind.as_str() {
        "Job" if name.eq_ignore_ascii_case("Complete") && view::holds(object, "Failed") => (Reason::CommandFailed, "the job failed"),
        "Pod" if name.eq_ignore_ascii_case("Ready") && view::is_finished(object) => (Reason::NotReady, "the pod has ended"),
        _ => return Ok(()),
    };
    let message = format!("condition `{name}` of `{target}` cannot come any more: {why}");
    Err(Error::new(Kind::Stuck, reason, message).about(target.full_name()))
}

/// The error of a plan that waits for what a program may make that it has started or changed itself.
fn nobody_knows(target: &Target) -> Error {
    let message =
        format!("whether `{target}` comes is not known: the plan has started or changed programs that may make it, and nobody plays them");
    Error::new(Kind::Cluster, Reason::Unmodelled, message)
        .about(target.full_name())
        .hint("where the plan may take something for granted, say so: `assume(function() return … end, value, \"why\")`")
}

fn late(target: &Target, reason: Reason, message: &str, condition: &Condition, object: Option<&Json>) -> Error {
    let error = Error::new(Kind::Stuck, reason, message).about(target.full_name());
    let (Condition::Named(name), Some(object)) = (condition, object) else { return error };
    if find(object, name).is_some() {
        return error;
    }
    let has: Vec<String> = view::list(object, "/status/conditions").iter().map(|one| format!("`{}`", view::text(one, "/type"))).collect();
    if has.is_empty() { error.hint("it has no conditions at all") } else { error.hint(format!("its conditions are {}", view::and(&has))) }
}

#[cfg(test)]
mod tests {
    use crate::base::json::json;

    use super::*;

    #[test]
    fn a_condition_of_an_earlier_generation_does_not_hold() {
        let object = |seen: i64| json!({ "metadata": { "generation": 2 }, "status": { "observedGeneration": seen, "conditions": [{ "type": "Ready", "status": "True" }] } });
        assert!(!named("Ready", Some(&object(1))).holds);
        assert!(named("ready", Some(&object(2))).holds);
        let mut own = object(2);
        own["status"]["conditions"][0]["observedGeneration"] = json!(1);
        assert!(!named("Ready", Some(&own)).holds);
    }

    #[test]
    fn heartbeats_are_no_progress() {
        let node = |beat: &str, reason: &str| json!({ "status": { "conditions": [{ "type": "Ready", "status": "False", "reason": reason, "lastHeartbeatTime": beat }] } });
        let progress = |object: &Json| named("Ready", Some(object)).progress;
        assert_eq!(progress(&node("1", "A")), progress(&node("2", "A")));
        assert_ne!(progress(&node("1", "A")), progress(&node("1", "B")));
    }

    #[test]
    fn what_is_not_there_is_waited_for() {
        assert_eq!(named("Ready", None).state, "it is not there yet");
        assert_eq!(named("Nope", Some(&json!({}))).state, "it has no such condition yet");
    }
}
