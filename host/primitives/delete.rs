//! `delete`: an object that shall be gone.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::base::json::{Map, Value as Json, json};

use super::create::holds_others;
use super::cx::Cx;
use super::done::{Done, Inverse, Wrote};
use super::edit::plain;
use super::tries::Tries;
use super::view;
use super::wait_gone::{Subject, until_gone};
use crate::base::{Error, Reason, Result, Span, Value};
use crate::choice;
use crate::cluster::Target;
use crate::primitive;

/// How often it is tried while the server says that it is not there, and shows it.
const TRIES: usize = 3;

choice! {
    /// What becomes of the objects that belong to a deleted one.
    pub enum Cascade {
        /// They are deleted after it.
        Background = "background",
        /// They are deleted first, and it stays until they are gone.
        Foreground = "foreground",
        /// They stay, and belong to nobody.
        Orphan = "orphan",
    } is "\"background\" | \"foreground\" | \"orphan\"", "what becomes of the objects that belong to it"
}

primitive! {
    /// Deletes an object and waits until it is gone.
    ///
    /// The deletion is for the very object that was looked at: one that is created again under its name is not touched. An object that is
    /// not there is no error, nor is one that was read earlier and has been replaced since. `kubectl` would ask for `--force` where a grace
    /// period of 0 is given: the pod's containers may then still run.
    pub write fn delete as Delete(
        /// The object, for example `pod/web-0`.
        object: Subject,
    ) options {
        /// The namespace, when the reference has none.
        namespace: Option<String>,
        /// `background` (default), `foreground` or `orphan`.
        cascade: Option<Cascade>,
        /// The time that a pod's containers get to end, in place of its own.
        grace_period: Option<Span>,
        /// `false`: returns when the deletion has begun.
        wait: Option<bool>,
        /// The whole time allowed for waiting; default 5 minutes. 0 asks once.
        timeout: Option<Span>,
        /// The time allowed without any progress; default 3 minutes, counted from the end of the pod's grace period.
        stall: Option<Span>,
    } -> "{ changed: boolean, previous: Object? }", "the object as it was";
    since "0.1";
    example r#"delete("pod/calico-node-x2x4v", { grace_period = "10s" })"#;
    needs ["get {object}", "delete {object}", "list,watch {object}"];
}

impl Delete {
    async fn run(self, cx: Cx) -> Result<Done> {
        let target = cx.target(&self.object.reference, self.namespace.as_deref()).await?;
        let Some((object, wrote)) = self.request(&cx, &target).await? else {
            return Ok(Done::unchanged(Value::Json(json!({ "changed": false }))));
        };
        if let Some(wrote) = &wrote {
            cx.talk.wrote(wrote);
        }
        if self.wait != Some(false) {
            until_gone(&cx, &target, Some(view::uid(&object).to_owned()), self.timeout, self.stall).await?;
        }
        let changed = wrote.is_some();
        let mut fields = BTreeMap::from([("changed".to_owned(), Value::from(changed))]);
        if changed {
            fields.insert("previous".to_owned(), Value::Json(Arc::unwrap_or_clone(object)));
        }
        Ok(Done::wrote(Value::Map(fields), wrote.into_iter().collect()))
    }

    /// The object as it was, and the write when one was needed; `None` where there is nothing to delete.
    async fn request(&self, cx: &Cx, target: &Target) -> Result<Option<(Arc<Json>, Option<Wrote>)>> {
        let mut tries = Tries::of(cx, target, "deleting");
        let mut made = 0;
        loop {
            let object = match tries.find().await? {
                Some(object) if self.object.uid.as_deref().is_none_or(|uid| uid == view::uid(&object)) => object,
                _ => return Ok(None),
            };
            if view::is_terminating(&object) && self.grace_period.is_none() {
                return Ok(Some((object, None)));
            }
            if made == 0 && self.grace_period.is_some_and(Span::is_zero) && target.resource.kind == "Pod" {
                cx.talk.note(&format!("{target} is deleted at once: its containers may still run for a while"));
            }
            made += 1;
            match cx.cluster.delete(target, self.options(&object)).await {
                Ok(_) => {
                    let wrote = wrote(target, &object);
                    return Ok(Some((object, Some(wrote))));
                }
                // It is gone already, which the next look says; or a server of several knows nothing of it.
                Err(error) if is_absent(&error) && made < TRIES => {}
                // It is not the one that was looked at: gone, or replaced, which the next look says.
                Err(error) if error.reason == Reason::Conflict => return tries.find().await?.map_or(Ok(None), |_| Err(error)),
                Err(error) => return Err(error),
            }
        }
    }

    fn options(&self, object: &Json) -> Json {
        let policy = match self.cascade {
            None | Some(Cascade::Background) => "Background",
            Some(Cascade::Foreground) => "Foreground",
            Some(Cascade::Orphan) => "Orphan",
        };
        let mut options = Map::from_iter([
            ("preconditions".to_owned(), json!({ "uid": view::uid(object) })),
            ("propagationPolicy".to_owned(), policy.into()),
        ]);
        if let Some(grace) = self.grace_period {
            options.insert("gracePeriodSeconds".to_owned(), grace.as_millis().div_ceil(1000).into());
        }
        Json::Object(options)
    }
}

/// Whether a deletion was answered with 404. Some servers do not say of what there is none.
pub(super) fn is_absent(error: &Error) -> bool {
    error.details.get("code").and_then(Json::as_u64) == Some(404)
}

fn wrote(target: &Target, object: &Json) -> Wrote {
    let owner =
        view::controller(object).map(|owner| format!("{}/{}", view::text(owner, "/kind").to_lowercase(), view::text(owner, "/name")));
    let inverse = match (holds_others(&target.resource.kind), owner) {
        (Some(why), _) => Inverse::Irreversible(why.replace("would go", "goes")),
        (None, Some(owner)) => Inverse::Irreversible(format!("it belongs to {owner}, which makes another as it sees fit")),
        (None, None) => Inverse::Call { verb: "create".to_owned(), arguments: vec![again(object)], options: Json::Null },
    };
    Wrote { verb: "delete".to_owned(), target: target.to_string(), changes: Vec::new(), inverse }
}

/// The object as it can be created again.
fn again(object: &Json) -> Json {
    let mut object = plain(object);
    if let Some(metadata) = object.get_mut("metadata").and_then(Json::as_object_mut) {
        for field in ["deletionTimestamp", "deletionGracePeriodSeconds", "selfLink"] {
            metadata.remove(field);
        }
        if let Some(annotations) = metadata.get_mut("annotations").and_then(Json::as_object_mut) {
            annotations.remove(crate::cluster::OP_ANNOTATION);
        }
    }
    object
}
