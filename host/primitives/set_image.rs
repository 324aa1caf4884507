//! `set_image`: the smallest upgrade there is.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::base::json::{Map as JsonMap, Value as Json, json};

use super::cx::Cx;
use super::done::{Done, Inverse, Wrote};
use super::images::by_container;
use super::registry::list;
use super::revisions::{self, CHANGE_CAUSE, REVISION};
use super::rollout::Shape;
use super::tries::{Tries, version};
use super::types::Map;
use super::view;
use super::workload;
use crate::base::diff::changes;
use crate::base::{Error, Image, Kind, ObjectRef, Reason, Result, Value, did_you_mean};
use crate::cluster::{PatchType, Target};
use crate::primitive;

primitive! {
    /// Changes container images of a workload: all of them or none, in one request.
    ///
    /// Containers and init containers are matched by name; a name that the workload lacks is an error, and nothing is sent.
    /// When every image is as asked already nothing is sent either. It does not wait: `wait_rollout` does.
    pub write fn set_image as SetImage(
        /// Deployment, DaemonSet, StatefulSet, ReplicaSet, CronJob or Pod, for example `daemonset/cce-cni-node-agent`.
        workload: ObjectRef,
        /// The new image for each container name.
        images: Map<Image>,
    ) options {
        /// The namespace, when the reference has none.
        namespace: Option<String>,
        /// The images that these containers must have now; otherwise `precondition`, and nothing is sent.
        expect: Option<Map<Image>>,
        /// Why, for `rollout_history` and `kubectl rollout history`.
        change_cause: Option<String>,
    } -> "{ changed: boolean, previous: { [string]: Image }, images: { [string]: Image }, generation: number?, revision_before: number? }",
        "what was replaced; `revision_before` is the revision to go back to, where the kind has revisions";
    since "0.1";
    example r#"set_image("daemonset/cce-cni-node-agent", { ["cce-cni-node-agent"] = params.image, ["install-cni-binary"] = params.image })"#;
    needs ["get {workload}", "patch {workload}", "list controllerrevisions.apps"];
}

impl SetImage {
    async fn run(self, cx: Cx) -> Result<Done> {
        let target = cx.target(&self.workload, self.namespace.as_deref()).await?;
        let pod_spec = workload::need_pod_spec(&target, "setting images of")?;
        if self.images.0.is_empty() {
            return Err(Error::usage("`set_image`: no image is given").hint("write `{ container = image }`"));
        }
        let wanted: BTreeMap<String, String> = self.images.0.iter().map(|(name, image)| (name.clone(), image.to_string())).collect();
        let mut tries = Tries::of(&cx, &target, "setting images of");
        loop {
            let before = tries.read().await?;
            let now = workload::images(&before, pod_spec);
            known(&target, "setting images of", &now, wanted.keys().chain(self.expect.iter().flat_map(|expect| expect.0.keys())))?;
            self.check_expected(&target, &now)?;
            let previous = of(&now, wanted.keys());
            if previous == wanted {
                return Ok(Done::unchanged(result(false, &previous, &wanted, &before, None)));
            }
            let revision = revision_before(&cx, &target, &before).await?;
            let body = self.body(&before, pod_spec, &wanted);
            match cx.cluster.patch(&target, PatchType::Strategic, body, None).await {
                Err(error) => tries.again(PatchType::Strategic, &before, error).await?,
                Ok(after) => {
                    let stored = of(&workload::images(&after, pod_spec), wanted.keys());
                    for (name, image) in stored.iter().filter(|(name, image)| wanted.get(*name) != Some(*image)) {
                        cx.talk.note(&format!("{target}: the server stored image {image} for container {name}"));
                    }
                    let wrote = self.wrote(&target, &before, &after, pod_spec, &previous);
                    if let Some((name, image)) = stored.iter().find(|(name, image)| is_put_back((name, image), &wanted, &previous)) {
                        cx.talk.wrote(&wrote);
                        return Err(put_back(&target, name, image));
                    }
                    return Ok(Done::changed(result(true, &previous, &stored, &after, revision), wrote));
                }
            }
        }
    }

    /// One patch for everything; with `expect`, only for the object that was looked at.
    fn body(&self, before: &Json, pod_spec: &str, wanted: &BTreeMap<String, String>) -> Json {
        let mut body = workload::image_patch(before, pod_spec, wanted);
        let mut metadata = JsonMap::new();
        if self.expect.is_some() {
            metadata.insert("resourceVersion".to_owned(), version(before).into());
        }
        if let Some(cause) = &self.change_cause {
            metadata.insert("annotations".to_owned(), json!({ CHANGE_CAUSE: cause }));
        }
        if !metadata.is_empty() {
            body["metadata"] = Json::Object(metadata);
        }
        body
    }

    fn check_expected(&self, target: &Target, now: &BTreeMap<String, String>) -> Result<()> {
        let Some(expect) = &self.expect else { return Ok(()) };
        match expect.0.iter().find(|(name, image)| now.get(*name).is_some_and(|has| has != image.as_str())) {
            None => Ok(()),
            Some((name, image)) => {
                let has = now.get(name).map_or("", String::as_str);
                let message = format!("setting images of `{target}`: container `{name}` has image `{has}`, not `{image}`");
                Err(Error::new(Kind::Cluster, Reason::Precondition, message)
                    .about(target.full_name())
                    .hint("somebody changed it meanwhile; nothing was sent"))
            }
        }
    }

    fn wrote(&self, target: &Target, before: &Json, after: &Json, pod_spec: &str, previous: &BTreeMap<String, String>) -> Wrote {
        // Only what this call asked for: others may have written between reading and writing.
        let mut expected = before.clone();
        for list in workload::LISTS {
            let stored = view::list(after, &format!("{pod_spec}/{list}"));
            let Some(containers) = expected.pointer_mut(&format!("{pod_spec}/{list}")).and_then(Json::as_array_mut) else { continue };
            for container in containers {
                let name = view::text(container, "/name").to_owned();
                if let Some(image) = stored.iter().find(|other| view::text(other, "/name") == name).map(|other| other["image"].clone())
                    && previous.contains_key(&name)
                {
                    container["image"] = image;
                }
            }
        }
        let mut options = Json::Null;
        if let Some(cause) = &self.change_cause {
            match expected.pointer_mut("/metadata/annotations").and_then(Json::as_object_mut) {
                Some(annotations) => drop(annotations.insert(CHANGE_CAUSE.to_owned(), cause.clone().into())),
                None => expected["metadata"]["annotations"] = json!({ CHANGE_CAUSE: cause }),
            }
            if let Some(former) = view::annotation(before, CHANGE_CAUSE) {
                options = json!({ "change_cause": former });
            }
        }
        Wrote {
            verb: "patch".to_owned(),
            target: target.to_string(),
            changes: changes(before, &expected),
            inverse: Inverse::Call { verb: "set_image".to_owned(), arguments: vec![target.full_name().into(), json!(previous)], options },
        }
    }
}

/// Refuses names that the workload has no container for.
pub(super) fn known<'a>(
    target: &Target,
    doing: &str,
    now: &BTreeMap<String, String>,
    names: impl Iterator<Item = &'a String>,
) -> Result<()> {
    let has = || now.keys().map(String::as_str);
    let mut unknown: Vec<&str> = names.map(String::as_str).filter(|name| !now.contains_key(*name)).collect();
    unknown.dedup();
    let Some(first) = unknown.first() else { return Ok(()) };
    let message = format!("{doing} `{target}`: it has no container {}", list(unknown.iter().copied()));
    let error = Error::new(Kind::Cluster, Reason::NotFound, message).about(target.full_name());
    Err(match did_you_mean(first, has()) {
        Some(near) => error.hint(format!("did you mean `{near}`? it has {}; nothing was sent", list(has()))),
        None => error.hint(format!("it has {}; nothing was sent", list(has()))),
    })
}

/// The images of these containers.
fn of<'a>(images: &BTreeMap<String, String>, names: impl Iterator<Item = &'a String>) -> BTreeMap<String, String> {
    names.filter_map(|name| images.get(name).map(|image| (name.clone(), image.clone()))).collect()
}

/// The revision that is in force before the write. `None` while the controller has not caught up: a number that is one too old
/// would lead back too far.
async fn revision_before(cx: &Cx, target: &Target, before: &Arc<Json>) -> Result<Option<i64>> {
    match Shape::of(target) {
        _ if !view::is_observed(before) => Ok(None),
        Some(Shape::Deployment) => Ok(view::annotation(before, REVISION).and_then(|number| number.parse().ok())),
        Some(Shape::DaemonSet | Shape::StatefulSet) => {
            let history = revisions::history(cx, target, before, "reading the revisions of").await?;
            Ok(history.iter().rev().find(|revision| revision.current).map(|revision| revision.number))
        }
        Some(Shape::Replicas) | None => Ok(None),
    }
}

fn result(
    changed: bool,
    previous: &BTreeMap<String, String>,
    images: &BTreeMap<String, String>,
    object: &Json,
    revision: Option<i64>,
) -> Value {
    let mut fields = BTreeMap::from([
        ("changed".to_owned(), Value::from(changed)),
        ("previous".to_owned(), by_container(previous)),
        ("images".to_owned(), by_container(images)),
    ]);
    let numbers = [("generation", view::int(object, "/metadata/generation")), ("revision_before", revision)];
    for (name, number) in numbers {
        if let Some(number) = number {
            fields.insert(name.to_owned(), Value::Json(number.into()));
        }
    }
    Value::Map(fields)
}
/// Whether a container has its former image again after the very write that set another.
fn is_put_back((name, image): (&String, &String), wanted: &BTreeMap<String, String>, previous: &BTreeMap<String, String>) -> bool {
    wanted.get(name) != Some(image) && previous.get(name) == Some(image)
}

/// The error of a write that the server took and did not keep: a rollout of the former image would pass for one of the new.
fn put_back(target: &Target, name: &str, image: &str) -> Error {
    let message = format!("setting images of `{target}`: the server stored the former image {image} for container `{name}`");
    Error::new(Kind::Cluster, Reason::Conflict, message)
        .about(target.full_name())
        .hint("an admission webhook has put it back: look for one with `kubectl get mutatingwebhookconfigurations`")
}
