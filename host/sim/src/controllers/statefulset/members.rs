//! The members of a StatefulSet: a pod for each ordinal, there or to be made.

use std::sync::Arc;

use crate::json::{Value, json};
use jiff::Timestamp;

use super::REVISION_HASH;
use super::history::Revisions;
use crate::controllers::{pods, template};
use crate::engine::Ctx;
use crate::kinds;
use crate::status::Status;
use crate::store::Key;
use crate::view;

const POD_NAME: &str = "statefulset.kubernetes.io/pod-name";
const POD_INDEX: &str = "apps.kubernetes.io/pod-index";

/// The number at the end of the name of a pod.
pub(super) fn ordinal(pod: &str) -> Option<i64> {
    let (_, digits) = split(pod)?;
    digits.parse::<i32>().ok().map(i64::from)
}

/// The name of the set that a pod of this name would belong to.
pub(super) fn parent(pod: &str) -> Option<&str> {
    split(pod).map(|(parent, _)| parent)
}

fn split(pod: &str) -> Option<(&str, &str)> {
    pod.rsplit_once('-').filter(|(_, digits)| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()))
}

/// One member.
pub(super) struct Member {
    pub(super) ordinal: i64,
    pub(super) key: Key,
    /// The pod, when it is there.
    pub(super) pod: Option<Arc<Value>>,
    /// Name of the revision that the pod is or will be made of.
    pub(super) revision: String,
    /// The pod to be made; null when it is there.
    pub(super) blueprint: Value,
}

impl Member {
    pub(super) fn of(ordinal: i64, key: &Key, pod: &Arc<Value>) -> Self {
        let revision = view::label(pod, REVISION_HASH).to_owned();
        Self { ordinal, key: key.clone(), pod: Some(Arc::clone(pod)), revision, blueprint: Value::Null }
    }

    /// A member that must be made: below the partition of the current revision, else of the newest.
    pub(super) fn missing(ordinal: i64, set: &Arc<Value>, revisions: &Revisions) -> Self {
        let start = view::count(set, &["spec", "ordinals", "start"]);
        let strategy = view::at(set, &["spec", "updateStrategy"]);
        let rolling = strategy.and_then(|s| s.get("rollingUpdate")).filter(|r| !r.is_null());
        let stays = match rolling {
            Some(rolling) => ordinal < start + view::count(rolling, &["partition"]),
            None => {
                let is_rolling = strategy.is_some_and(|s| view::text(s, &["type"]) == "RollingUpdate");
                is_rolling && ordinal < start + view::count(set, &["status", "currentReplicas"])
            }
        };
        let (key, revision) = if stays { &revisions.current } else { &revisions.update };
        let name = format!("{}-{ordinal}", view::name(set));
        let blueprint = blueprint(set, revision, &key.name, &name, ordinal);
        let key_of_pod = Key { kind: kinds::POD, namespace: view::namespace(set).into(), name: name.as_str().into() };
        Self { ordinal, key: key_of_pod, pod: None, revision: key.name.to_string(), blueprint }
    }

    pub(super) fn is_terminating(&self) -> bool {
        self.pod.as_ref().is_some_and(|pod| view::is_terminating(pod))
    }

    /// Whether it runs and is ready.
    pub(super) fn is_ready(&self) -> bool {
        self.pod.as_ref().is_some_and(|pod| view::text(pod, &["status", "phase"]) == "Running" && pods::is_ready(pod))
    }

    pub(super) fn is_unavailable(&self, min_ready: i64, now: Timestamp) -> bool {
        self.pod.as_ref().is_none_or(|pod| view::is_terminating(pod) || !pods::is_available(pod, min_ready, now))
    }

    /// Puts the labels back that name the pod.
    pub(super) fn identify(&self, ctx: &mut Ctx<'_>, set: &Value) -> Result<(), Status> {
        let Some(pod) = self.pod.as_ref().filter(|pod| view::label(pod, POD_NAME) != self.key.name.as_str()) else { return Ok(()) };
        let mut named = (**pod).clone();
        view::set(&mut named, &["metadata", "labels", POD_NAME], self.key.name.as_str());
        view::set(&mut named, &["metadata", "labels", POD_INDEX], self.ordinal.to_string());
        ctx.update(&self.key, named)?;
        let text = format!("Update Pod {} in StatefulSet {} successful", self.key.name, view::name(set));
        ctx.event(set, "Normal", "SuccessfulUpdate", &text)
    }
}

/// The pod of an ordinal as a revision says.
fn blueprint(set: &Arc<Value>, revision: &Value, revision_name: &str, name: &str, ordinal: i64) -> Value {
    let mut restored = (**set).clone();
    if let Some(template) = view::at(revision, &["data", "spec", "template"]) {
        let mut template = template.clone();
        view::remove(&mut template, &["$patch"]);
        view::set(&mut restored, &["spec", "template"], template);
    }
    let mut pod = template::pod(&restored);
    view::set(&mut pod, &["metadata", "name"], name);
    for (label, value) in [(POD_NAME, name), (POD_INDEX, ordinal.to_string().as_str()), (REVISION_HASH, revision_name)] {
        view::set(&mut pod, &["metadata", "labels", label], value);
    }
    view::set(&mut pod, &["spec", "hostname"], name);
    let service = view::text(set, &["spec", "serviceName"]);
    if !service.is_empty() {
        view::set(&mut pod, &["spec", "subdomain"], service);
    }
    claims(set, &mut pod, ordinal);
    pod
}

/// Volumes of claims take the place of the template's of the same name. The claims themselves are not modelled: they are taken to
/// be there and bound.
fn claims(set: &Value, pod: &mut Value, ordinal: i64) {
    let names: Vec<&str> = view::list(set, &["spec", "volumeClaimTemplates"]).iter().map(view::name).collect();
    if names.is_empty() {
        return;
    }
    let claimed = |name: &&str| {
        let claim = format!("{name}-{}-{ordinal}", view::name(set));
        json!({"name": name, "persistentVolumeClaim": {"claimName": claim}})
    };
    let mut volumes: Vec<Value> = names.iter().map(claimed).collect();
    volumes.extend(view::list(pod, &["spec", "volumes"]).iter().filter(|v| !names.contains(&view::text(v, &["name"]))).cloned());
    view::set(pod, &["spec", "volumes"], volumes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_the_set_and_the_place() {
        assert_eq!((parent("db-12"), ordinal("db-12")), (Some("db"), Some(12)));
        assert_eq!((parent("a-b-0"), ordinal("a-b-0")), (Some("a-b"), Some(0)));
        assert_eq!((parent("db"), parent("db-x"), parent("db-"), ordinal("db-99999999999")), (None, None, None, None));
    }
}
