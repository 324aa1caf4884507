//! `rollout_undo`: back to an earlier revision.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::base::json::{Value as Json, json};

use super::cx::Cx;
use super::done::{Done, Inverse, Wrote};
use super::images::by_container;
use super::pace::Pace;
use super::registry::{Arg, list};
use super::revisions::{self, CHANGE_CAUSE, Revision};
use super::tries::{Tries, version};
use super::types::{ArgType, Map, Type};
use super::view;
use super::watched::{by_name, deleted, same};
use super::workload::plain_template;
use crate::base::diff::changes;
use crate::base::{Error, Image, Kind, ObjectRef, Reason, Result, Span, Value};
use crate::cluster::{PatchType, Target};
use crate::primitive;

/// How long the controller may take to see the latest change before its revisions are trusted.
const OBSERVE: Span = Span::from_secs(60);
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Which revision to go back to.
#[derive(Clone, Debug)]
pub enum To {
    /// The one of this number.
    Revision(u32),
    /// The newest with these images.
    Images(Map<Image>),
}

impl ArgType for To {
    const TYPE: Type = Type::new("number | { [string]: Image | string }", "a revision number, or a table from container names to images");
    fn from_arg(arg: Arg) -> Result<Self> {
        match arg {
            Arg::Value(Value::Json(Json::Number(_))) => u32::from_arg(arg).map(To::Revision),
            other => match Map::<Image>::from_arg(other)? {
                Map(images) if images.is_empty() => Err(Error::usage(format!("must be {}, got an empty table", Self::TYPE.text))),
                images => Ok(To::Images(images)),
            },
        }
    }
}

primitive! {
    /// Goes back to an earlier revision of a Deployment, DaemonSet or StatefulSet: its pod template, and nothing else.
    ///
    /// Without `to` that is the newest revision whose template differs from the one asked for now. Before that the controller is given
    /// a minute to see the latest change, so that "previous" is not one too far back. Replicas and annotations stay as they are, except
    /// for the change cause. A paused workload, and one that Helm manages, is refused. It does not wait: `wait_rollout` does.
    pub write fn rollout_undo as RolloutUndo(
        /// The workload, for example `deployment/cce-eni-ipam`.
        workload: ObjectRef,
    ) options {
        /// The namespace, when the reference has none.
        namespace: Option<String>,
        /// The revision's number, or images it must have: safer, since numbers move.
        to: Option<To>,
    } -> "{ changed: boolean, from: number?, to: number, images: { [string]: Image } }", "the revisions, and the images it is back at";
    since "0.1";
    example r#"rollout_undo("deployment/cce-eni-ipam", { to = { ["cce-eni-ipam"] = "registry.example/cce-cni:v1.9.2" } })"#;
    needs ["get,list,watch,patch {workload}", "list replicasets.apps", "list controllerrevisions.apps"];
}

impl RolloutUndo {
    async fn run(self, cx: Cx) -> Result<Done> {
        let doing = "undoing the rollout of";
        let target = cx.target(&self.workload, self.namespace.as_deref()).await?;
        let holder = revisions::holder(&target, doing)?;
        let mut tries = Tries::of(&cx, &target, doing);
        loop {
            let before = observed(&cx, &target, tries.read().await?).await?;
            allowed(&target, &before)?;
            let history = revisions::history(&cx, &target, &before, doing).await?;
            let to = self.choose(&target, &history)?;
            let from = history.iter().rev().find(|revision| revision.current).map(|revision| revision.number);
            if to.current {
                return Ok(Done::unchanged(result(false, from, to)));
            }
            let (kind, body) = request(&cx, holder, &before, to);
            match cx.cluster.patch(&target, kind, body, None).await {
                Err(error) => tries.again(kind, &before, error).await?,
                Ok(_) => {
                    warn(&cx, &target, &before);
                    return Ok(Done::changed(result(true, from, to), wrote(&target, &before, to)));
                }
            }
        }
    }

    fn choose<'a>(&self, target: &Target, history: &'a [Revision]) -> Result<&'a Revision> {
        let not_found = |what: String| {
            let error =
                Error::new(Kind::Cluster, Reason::NotFound, format!("undoing the rollout of `{target}`: {what}")).about(target.full_name());
            let known: Vec<String> = history.iter().map(|revision| revision.number.to_string()).collect();
            if known.is_empty() { error } else { error.hint(format!("its revisions are {}", list(known.iter().map(String::as_str)))) }
        };
        match &self.to {
            None => {
                history.iter().rev().find(|revision| !revision.current).ok_or_else(|| not_found("there is no earlier revision".to_owned()))
            }
            Some(To::Revision(number)) => history
                .iter()
                .find(|revision| revision.number == i64::from(*number))
                .ok_or_else(|| not_found(format!("there is no revision {number}"))),
            Some(To::Images(Map(images))) => {
                let has = |revision: &&Revision| {
                    let found = revision.images();
                    images.iter().all(|(name, image)| found.get(name).is_some_and(|has| has == image.as_str()))
                };
                history.iter().rev().find(has).ok_or_else(|| not_found("no revision has these images".to_owned()))
            }
        }
    }
}

/// The workload, read just now, once its controller has seen the latest change.
async fn observed(cx: &Cx, target: &Target, object: Arc<Json>) -> Result<Arc<Json>> {
    if view::is_observed(&object) {
        return Ok(object);
    }
    let mut following = cx.cluster.follow(vec![by_name(target)]).await?;
    let mut pace = Pace::begin(cx, format!("controller of {target}"), OBSERVE, Some(OBSERVE));
    loop {
        let Some(now) = following.items(0).next().cloned() else { return Err(deleted(target)) };
        same(target, view::uid(&object), &now)?;
        if view::is_observed(&now) {
            return Ok(now);
        }
        if pace.ended(cx.now(), None).is_some() {
            let message = format!("undoing the rollout of `{target}`: its controller has not seen the latest change for {OBSERVE}");
            let error = Error::new(Kind::Stuck, Reason::Timeout, message).about(target.full_name());
            return Err(error.hint("is the controller manager running? or name the images to go back to"));
        }
        pace.show(cx, "has not seen the latest change yet");
        let until = pace.until(None);
        super::pace::next(cx, &mut pace, &mut following, until).await?;
    }
}

/// Refuses what would not go back, or not stay back.
fn allowed(target: &Target, object: &Json) -> Result<()> {
    if view::flag(object, "/spec/paused") {
        let message = format!("undoing the rollout of `{target}`: it is paused");
        return Err(Error::new(Kind::Cluster, Reason::Paused, message).about(target.full_name()).hint("resume it first"));
    }
    let release = view::annotation(object, "meta.helm.sh/release-name");
    if release.is_some() || view::label(object, "app.kubernetes.io/managed-by") == "Helm" {
        let by = release.map_or_else(|| "Helm".to_owned(), |release| format!("Helm release `{release}`"));
        let message = format!("undoing the rollout of `{target}`: it belongs to {by}, which would not know of it");
        return Err(Error::new(Kind::Refused, Reason::Refused, message).about(target.full_name()).hint("roll the release back with helm"));
    }
    Ok(())
}

/// The request that sets the template, for the object that was looked at and no other.
fn request(cx: &Cx, holder: &str, before: &Json, to: &Revision) -> (PatchType, Json) {
    let version = version(before);
    let cause = format!("rollback to revision {} ({})", to.number, cx.cluster.run());
    if holder == "controllerrevisions" {
        // The data of a ControllerRevision is itself a strategic merge patch that replaces the template.
        let mut body = to.object.get("data").cloned().unwrap_or_else(|| json!({}));
        body["metadata"] = json!({ "resourceVersion": version, "annotations": { CHANGE_CAUSE: cause } });
        return (PatchType::Strategic, body);
    }
    let mut operations = vec![
        json!({ "op": "test", "path": "/metadata/resourceVersion", "value": version }),
        json!({ "op": "replace", "path": "/spec/template", "value": template(to) }),
    ];
    if before.pointer("/metadata/annotations").is_some_and(Json::is_object) {
        let path = format!("/metadata/annotations/{}", CHANGE_CAUSE.replace('/', "~1"));
        operations.push(json!({ "op": "add", "path": path, "value": cause }));
    }
    (PatchType::Json, operations.into())
}

/// The template of a revision as the workload writes it.
fn template(revision: &Revision) -> Json {
    let mut template = revision.template.clone();
    if let Some(fields) = template.as_object_mut() {
        fields.remove("$patch");
    }
    if let Some(labels) = template.pointer_mut("/metadata/labels").and_then(Json::as_object_mut) {
        labels.remove("pod-template-hash");
    }
    template
}

/// What `kubectl apply` remembers is not undone.
fn warn(cx: &Cx, target: &Target, before: &Json) {
    if view::annotation(before, LAST_APPLIED).is_some() {
        cx.talk.note(&format!(
            "{target} was made by `kubectl apply`, which still remembers the newer template: its next apply compares with that one"
        ));
    }
}

fn wrote(target: &Target, before: &Json, to: &Revision) -> Wrote {
    // Told by meaning: a stored template may lack what the server fills in.
    let (mut old, mut new) = (json!({}), json!({}));
    old["spec"]["template"] = plain_template(&before["spec"]["template"]);
    new["spec"]["template"] = plain_template(&to.template);
    Wrote {
        verb: "patch".to_owned(),
        target: target.to_string(),
        changes: changes(&old, &new),
        inverse: Inverse::Call {
            verb: "patch".to_owned(),
            arguments: vec![
                target.full_name().into(),
                json!([{ "op": "replace", "path": "/spec/template", "value": before["spec"]["template"] }]),
            ],
            options: json!({ "type": "json" }),
        },
    }
}

fn result(changed: bool, from: Option<i64>, to: &Revision) -> Value {
    let mut fields = BTreeMap::from([
        ("changed".to_owned(), Value::from(changed)),
        ("to".to_owned(), Value::Json(to.number.into())),
        ("images".to_owned(), by_container(&to.images())),
    ]);
    if let Some(from) = from {
        fields.insert("from".to_owned(), Value::Json(from.into()));
    }
    Value::Map(fields)
}
