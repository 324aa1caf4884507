//! `wait_gone`: until an object is gone.

use crate::base::json::Value as Json;

use super::cx::Cx;
use super::done::Done;
use super::pace::{Pace, next};
use super::registry::Arg;
use super::types::{ArgType, Completes, Type};
use super::view;
use super::watched::by_name;
use crate::base::{Error, Kind, ObjectRef, Reason, Result, Span, Typed, Value};
use crate::cluster::Target;
use crate::primitive;

/// An object by reference, or exactly the one that was read: then its uid counts too.
#[derive(Clone, Debug)]
pub struct Subject {
    pub(super) reference: ObjectRef,
    pub(super) uid: Option<String>,
}

impl ArgType for Subject {
    const TYPE: Type = Type::new("Ref", ObjectRef::TYPE.text).completes(Completes::Reference);
    fn from_arg(arg: Arg) -> Result<Self> {
        let uid = match &arg {
            Arg::Value(Value::Object(object)) => view::uid(&object.current),
            Arg::Value(Value::Json(json)) => view::uid(json),
            _ => "",
        };
        let uid = Some(uid.to_owned()).filter(|uid| !uid.is_empty());
        Ok(Subject { reference: ObjectRef::from_arg(arg)?, uid })
    }
}

primitive! {
    /// Waits until an object is gone.
    ///
    /// The object is told by its uid: another one under the same name counts as gone. Given the table that `get` or `list` gave it
    /// waits for exactly that object, so that one which is created again at once is no trap.
    pub read fn wait_gone as WaitGone(
        /// The object, for example `pod/web-0`.
        object: Subject,
    ) options {
        /// The namespace, when the reference has none.
        namespace: Option<String>,
        /// The whole time allowed; default 5 minutes. 0 asks once.
        timeout: Option<Span>,
        /// The time allowed without any progress; default 3 minutes, counted from the end of the pod's grace period.
        stall: Option<Span>,
    } -> "{ took: Duration }", "how long it took";
    since "0.1";
    example r#"wait_gone("pod/cce-eni-ipam-7d9f-x2x", { timeout = "2m" })"#;
    needs ["get {object}", "list,watch {object}"];
}

impl WaitGone {
    async fn run(self, cx: Cx) -> Result<Done> {
        let target = cx.target(&self.object.reference, self.namespace.as_deref()).await?;
        let took = until_gone(&cx, &target, self.object.uid, self.timeout, self.stall).await?;
        Ok(Done::read(Value::Map([("took".to_owned(), Value::Typed(Typed::Duration(took)))].into())))
    }
}

/// Waits until the object is gone, or the one of this uid, and says how long it took.
pub(super) async fn until_gone(cx: &Cx, target: &Target, uid: Option<String>, timeout: Option<Span>, stall: Option<Span>) -> Result<Span> {
    let mut pace = Pace::begin(cx, format!("end of {target}"), timeout.unwrap_or(Span::from_secs(300)), stall);
    let mut following = cx.cluster.follow(vec![by_name(target)]).await?;
    let mut uid = uid;
    let mut seen = String::new();
    loop {
        let now = cx.now();
        let object = following.items(0).next().filter(|object| uid.as_deref().is_none_or(|uid| view::uid(object) == uid)).cloned();
        let Some(object) = object else {
            pace.done(cx, "gone");
            return Ok(pace.took(now));
        };
        uid.get_or_insert_with(|| view::uid(&object).to_owned());
        let state = state(&object);
        if seen != state {
            pace.moved(now);
            seen.clone_from(&state);
        }
        let grace = view::time(&object, "/metadata/deletionTimestamp");
        if let Some(ended) = pace.ended(now, grace) {
            let message = pace.says(ended, &format!("the wait for the end of `{target}`"));
            return Err(late(target, ended.reason(), format!("{message}: {state}"), &object));
        }
        pace.show(cx, &state);
        let until = pace.until(grace);
        next(cx, &mut pace, &mut following, until).await?;
    }
}

/// Who holds it, in backticks.
pub(super) fn finalizers(object: &Json) -> Vec<String> {
    view::list(object, "/metadata/finalizers").iter().filter_map(Json::as_str).map(|name| format!("`{name}`")).collect()
}

/// What is left in a namespace that is going, in its controller's words.
fn content(object: &Json) -> Option<String> {
    let told = ["NamespaceDeletionContentFailure", "NamespaceFinalizersRemaining", "NamespaceContentRemaining"]
        .iter()
        .filter_map(|kind| view::condition(object, kind))
        .find(|condition| view::text(condition, "/status") == "True")?;
    Some(view::text(told, "/message").to_owned())
}

fn state(object: &Json) -> String {
    if !view::is_terminating(object) {
        return "nobody has asked for its deletion".to_owned();
    }
    if let Some(left) = content(object) {
        return format!("terminating: {left}");
    }
    match finalizers(object).as_slice() {
        [] => "terminating".to_owned(),
        [one] => format!("terminating, held by finalizer {one}"),
        many => format!("terminating, held by finalizers {}", view::and(many)),
    }
}

fn late(target: &Target, reason: Reason, message: String, object: &Json) -> Error {
    let error = Error::new(Kind::Stuck, reason, message).about(target.full_name());
    if !view::is_terminating(object) {
        error.hint("delete it first")
    } else if finalizers(object).is_empty() {
        error.hint("is the kubelet of its node running?")
    } else {
        error.hint("find out why those who put the finalizers there do not take them away")
    }
}
