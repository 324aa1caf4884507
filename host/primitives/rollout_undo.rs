//! `rollout_undo`: back to an earlier revision.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::base::json::{Value as Json, json};

use super::cx::Cx;
use super::delete::is_absent;
use super::done::{Done, Inverse, Wrote};
use super::images::by_container;
use super::pace::Pace;
use super::registry::{Arg, list};
use super::revisions::{self, CHANGE_CAUSE, Revision};
use super::rollout::{Rollout, Shape};
use super::tries::{Tries, version};
use super::types::{ArgType, Map, Type};
use super::view;
use super::watched::{Watched, by_name, deleted, same};
use super::workload::{plain_template, same_template};
use crate::base::diff::changes;
use crate::base::{Error, Image, Kind, ObjectRef, Reason, Result, Span, Value};
use crate::cluster::keep::{Open, Outcome};
use crate::cluster::{PatchType, Target};
use crate::primitive;

const DOING: &str = "undoing the rollout of";
/// How the change cause begins; the number of the revision comes next.
const CAUSE: &str = "rollback to revision ";
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
    /// for the change cause. A paused workload, one that Helm manages, and one that another object controls, such as an operator's, is
    /// refused. It does not wait: `wait_rollout` does.
    ///
    /// The controller of a StatefulSet waits for a pod that does not get ready, also when the template that broke it is put back. So pods
    /// that are not ready, and of the revision that is undone or of one that was given up before, are deleted once the controller has seen
    /// the undo: it makes them anew. With the strategy `OnDelete` none is deleted, nor where the pods are managed in parallel.
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
    needs [
        "get,list,watch,patch {workload}", "list replicasets.apps", "list controllerrevisions.apps", "list,watch,get,delete pods",
    ];
}

impl RolloutUndo {
    async fn run(self, cx: Cx) -> Result<Done> {
        let target = cx.target(&self.workload, self.namespace.as_deref()).await?;
        let holder = revisions::holder(&target, DOING)?;
        let left = left(&cx, &target).await?;
        let mut tries = Tries::of(&cx, &target, DOING);
        loop {
            let before = observed(&cx, &target, tries.read().await?).await?;
            allowed(&target, &before)?;
            let history = revisions::history(&cx, &target, &before, DOING).await?;
            let to = match left.as_ref().and_then(|left| restored(left, &history)) {
                Some(to) => to,
                None => self.choose(&target, &history)?.clone(),
            };
            let from = history.iter().rev().find(|revision| revision.current).map(|revision| revision.number);
            // Who may not read the pods is told so before anything is written.
            let stuck = Stuck::of(&cx, &target, &before).await?;
            if to.current {
                let wrote = match stuck {
                    Some(stuck) => stuck.clear(&cx, &target, 0).await?,
                    None => Vec::new(),
                };
                return Ok(Done::wrote(result(!wrote.is_empty(), from, &to), wrote));
            }
            let (kind, body) = request(&cx, holder, &before, &to);
            match cx.cluster.patch(&target, kind, body, None).await {
                Err(error) => tries.again(kind, &before, error).await?,
                Ok(after) => {
                    warn(&cx, &target, &before);
                    let mut writes = vec![wrote(&target, &before, &to)];
                    if let Some(stuck) = stuck {
                        writes.iter().for_each(|wrote| cx.talk.wrote(wrote));
                        writes.extend(stuck.clear(&cx, &target, view::count(&after, "/metadata/generation")).await?);
                    }
                    return Ok(Done::wrote(result(true, from, &to), writes));
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

/// The workload as this call left it before it was interrupted.
async fn left(cx: &Cx, target: &Target) -> Result<Option<Arc<Json>>> {
    let name = target.full_name();
    let is_it = |open: &Open| open.intent.key.verb == "patch" && open.intent.key.part.is_none() && open.intent.object() == name;
    let Some(open) = cx.cluster.interrupted().into_iter().find(is_it) else { return Ok(None) };
    Ok(match cx.cluster.settle(&open).await?.outcome() {
        Some(Outcome::Made { after }) => after,
        _ => None,
    })
}

/// The revision that it was brought back to, with the number that it had then: the controller has given it another since.
fn restored(left: &Json, history: &[Revision]) -> Option<Revision> {
    let template = left.pointer("/spec/template")?;
    let mut to = history.iter().rev().find(|revision| same_template(&revision.template, template))?.clone();
    let cause = view::annotation(left, CHANGE_CAUSE).and_then(|cause| cause.strip_prefix(CAUSE));
    if let Some(number) = cause.and_then(|rest| rest.split(' ').next()).and_then(|number| number.parse().ok()) {
        to.number = number;
    }
    Some(to)
}

/// The pods that hold up the rollout of a StatefulSet: its controller waits for the first that is not ready, and replaces none until it
/// is, whatever the template says since (kubernetes/kubernetes#67250).
struct Stuck {
    watched: Watched,
    /// The revision that is undone.
    undone: String,
}

impl Stuck {
    /// Of a workload as it was before the undo; `None` where the controller goes on without, or leaves all pods to people.
    async fn of(cx: &Cx, target: &Target, before: &Arc<Json>) -> Result<Option<Stuck>> {
        let waits =
            view::text(before, "/spec/podManagementPolicy") != "Parallel" && view::text(before, "/spec/updateStrategy/type") != "OnDelete";
        if Shape::of(target) != Some(Shape::StatefulSet) || !waits {
            return Ok(None);
        }
        let watched = Watched::begin(cx, target, before, DOING).await?;
        Ok(Some(Stuck { watched, undone: view::text(before, "/status/updateRevision").to_owned() }))
    }

    /// Deletes them, once the controller knows what to make in their place: it has seen this generation. What may not be deleted, or would
    /// come again as it is, is told: the undo itself is made.
    async fn clear(mut self, cx: &Cx, target: &Target, generation: i64) -> Result<Vec<Wrote>> {
        let mut wrote = Vec::new();
        // Those that this call deleted before it was interrupted: their successors are there by now.
        for (name, uid) in deleted_before(cx, target) {
            wrote.extend(delete(cx, target, &name, &uid).await?);
        }
        if !self.watched.look()?.pods.iter().any(|pod| is_waited_for(pod)) {
            return Ok(wrote);
        }
        let Some(rollout) = self.seen(cx, target, generation).await? else {
            let rollout = self.watched.look()?;
            let waited: Vec<&str> = rollout.pods.iter().filter(|pod| is_waited_for(pod)).map(|pod| view::name(pod)).collect();
            by_hand(cx, target, &waited, &format!("its controller has not seen the undo for {OBSERVE}: once it has, "));
            return Ok(wrote);
        };
        let mut kept = Vec::new();
        for pod in rollout.pods.iter().filter(|pod| self.has(&rollout, pod)) {
            match delete(cx, target, view::name(pod), view::uid(pod)).await {
                Ok(made) => wrote.extend(made),
                Err(error) if matches!(error.reason, Reason::Forbidden | Reason::Refused) => {
                    cx.talk.note(&error.to_string());
                    kept.push(view::name(pod));
                }
                Err(error) => return Err(error),
            }
        }
        by_hand(cx, target, &kept, "");
        Ok(wrote)
    }

    /// The set and its pods once the controller has seen this generation; `None` when that takes too long.
    async fn seen(&mut self, cx: &Cx, target: &Target, generation: i64) -> Result<Option<Rollout>> {
        let mut pace = Pace::begin(cx, format!("controller of {target}"), OBSERVE, Some(OBSERVE));
        loop {
            let rollout = self.watched.look()?;
            if view::count(&rollout.workload, "/metadata/generation") >= generation && view::is_observed(&rollout.workload) {
                return Ok(Some(rollout));
            }
            if pace.ended(cx.now(), None).is_some() {
                return Ok(None);
            }
            pace.show(cx, "has not seen the undo yet");
            self.watched.changed(pace.until(None)).await?;
            if let Some(trouble) = self.watched.trouble() {
                pace.show(cx, &format!("the server cannot be heard: {trouble}"));
            }
        }
    }

    /// Whether a pod is one of them: of the undone revision, or of one that is neither the current nor the wanted.
    fn has(&self, rollout: &Rollout, pod: &Json) -> bool {
        let set = &rollout.workload;
        let revision = view::label(pod, "controller-revision-hash");
        if !is_waited_for(pod) || revision.is_empty() || rollout.is_updated(pod) {
            return false;
        }
        if revision != view::text(set, "/status/currentRevision") {
            return true;
        }
        // Below the partition it would come again as it is.
        let first = view::count(set, "/spec/ordinals/start") + view::count(set, "/spec/updateStrategy/rollingUpdate/partition");
        let ordinal = view::name(pod).rsplit_once('-').and_then(|(_, digits)| digits.parse::<i64>().ok());
        revision == self.undone && ordinal.is_some_and(|ordinal| ordinal >= first)
    }
}

/// Whether the controller of a StatefulSet waits for a pod: those that have ended it replaces by itself.
fn is_waited_for(pod: &Json) -> bool {
    !view::is_ready(pod) && !view::is_terminating(pod) && !view::is_finished(pod)
}

/// Name and uid of the pods of a set that this call deleted before it was interrupted.
fn deleted_before(cx: &Cx, target: &Target) -> Vec<(String, String)> {
    let prefix = format!("pod/{}/", target.namespace.as_deref().unwrap_or_default());
    let is_member = |name: &str| name.rsplit_once('-').is_some_and(|(set, _)| set == target.name);
    let open = cx.cluster.interrupted().into_iter().filter(|open| open.intent.key.verb == "delete");
    let named = open.filter_map(|open| Some((open.intent.object().strip_prefix(&prefix)?.to_owned(), open.intent.key.part.clone()?)));
    named.filter(|(name, _)| is_member(name)).collect()
}

/// Deletes the pod of this uid and no other, and tells it; `None` when it is gone already, or another has its name.
async fn delete(cx: &Cx, target: &Target, name: &str, uid: &str) -> Result<Option<Wrote>> {
    let pods = cx.cluster.resolve("pods", Some("")).await?;
    let pod = cx.cluster.object(pods, target.namespace.clone(), name);
    let options = json!({ "preconditions": { "uid": uid }, "propagationPolicy": "Background" });
    match cx.cluster.delete(&pod, options).await {
        Ok(_) => {
            let inverse = Inverse::Irreversible(format!("its successor is made by {target}"));
            let wrote = Wrote { verb: "delete".to_owned(), target: pod.to_string(), changes: Vec::new(), inverse };
            cx.talk.wrote(&wrote);
            Ok(Some(wrote))
        }
        // Somebody else was quicker. Unless it is there still.
        Err(error) if is_absent(&error) || error.reason == Reason::Conflict => match cx.cluster.find(&pod).await? {
            Some(now) if view::uid(&now) == uid && !view::is_terminating(&now) => Err(error),
            _ => Ok(None),
        },
        Err(error) => Err(error),
    }
}

/// Says which pods are left for people to delete; `first` is what has to happen before that.
fn by_hand(cx: &Cx, target: &Target, pods: &[&str], first: &str) {
    let names: Vec<String> = pods.iter().map(|name| format!("pod/{name}")).collect();
    if !names.is_empty() {
        let many = names.len();
        let (are, hold, them) = (view::verb(many, "is", "are"), view::verb(many, "holds", "hold"), view::verb(many, "it", "them"));
        cx.talk.note(&format!(
            "{} {are} not ready and {hold} up the rollout of {target}: {first}`delete` {them}, and the controller makes {them} anew",
            view::and(&names)
        ));
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
    if let Some(owner) = view::controller(object) {
        let group = view::text(owner, "/apiVersion").split_once('/').map_or_else(String::new, |(group, _)| format!(".{group}"));
        let owner = format!("{}{group}/{}", view::text(owner, "/kind").to_lowercase(), view::text(owner, "/name"));
        let message = format!("undoing the rollout of `{target}`: it belongs to `{owner}`, which would put its own template back");
        return Err(Error::new(Kind::Refused, Reason::Refused, message)
            .about(target.full_name())
            .hint(format!("undo it there: `{owner}` says what its template is")));
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
    let cause = format!("{CAUSE}{} ({})", to.number, cx.cluster.run());
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
