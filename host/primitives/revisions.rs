//! The revisions that the controllers keep: ReplicaSets of a Deployment, ControllerRevisions of the others.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::base::json::Value as Json;

use super::cx::Cx;
use super::view;
use super::workload::{self, same_template, selector, unsupported};
use crate::base::Result;
use crate::cluster::{Select, Target};

/// The annotation that holds a Deployment's revision number.
pub(super) const REVISION: &str = "deployment.kubernetes.io/revision";
/// The annotation that says why a revision was made.
pub(super) const CHANGE_CAUSE: &str = "kubernetes.io/change-cause";

/// One revision.
#[derive(Clone, Debug)]
pub(super) struct Revision {
    /// Its number; numbers grow.
    pub(super) number: i64,
    /// The pod template, as it is stored.
    pub(super) template: Json,
    /// Why it was made, when somebody said so.
    pub(super) change_cause: Option<String>,
    /// When it was made, as the API says it.
    pub(super) created: String,
    /// Whether the workload asks for it now.
    pub(super) current: bool,
    /// The object that holds it.
    pub(super) object: Arc<Json>,
}

impl Revision {
    fn read(object: &Arc<Json>, number: i64, template: &Json, wanted: &Json) -> Revision {
        Revision {
            number,
            template: template.clone(),
            change_cause: view::annotation(object, CHANGE_CAUSE).map(str::to_owned),
            created: view::text(object, "/metadata/creationTimestamp").to_owned(),
            current: same_template(template, wanted),
            object: object.clone(),
        }
    }

    /// The image of each container, init containers included.
    pub(super) fn images(&self) -> BTreeMap<String, String> {
        workload::images(&self.template, "/spec")
    }
}

/// The kind of objects that hold the revisions of a workload.
pub(super) fn holder(target: &Target, doing: &str) -> Result<&'static str> {
    match (target.resource.group.as_str(), target.resource.kind.as_str()) {
        ("apps", "Deployment") => Ok("replicasets"),
        ("apps", "DaemonSet" | "StatefulSet") => Ok("controllerrevisions"),
        _ => {
            let message = format!("{doing} `{target}`: a {} has no revisions", target.resource);
            Err(unsupported(target, message).hint("deployments, daemonsets and statefulsets have"))
        }
    }
}

/// Reads the revisions of a workload, oldest first.
pub(super) async fn history(cx: &Cx, target: &Target, workload: &Json, doing: &str) -> Result<Vec<Revision>> {
    let holder = cx.cluster.resolve(holder(target, doing)?, Some("apps")).await?;
    let select = Select { labels: selector(workload), fields: None };
    let listed = cx.cluster.list(&holder, target.namespace.as_deref(), &select).await?;
    Ok(of(workload, &listed.items))
}

/// The revisions among these objects that belong to the workload, oldest first.
pub(super) fn of<'a>(workload: &Json, objects: impl IntoIterator<Item = &'a Arc<Json>>) -> Vec<Revision> {
    let nothing = Json::Null;
    let wanted = workload.pointer("/spec/template").unwrap_or(&nothing);
    let mut revisions: Vec<Revision> = objects
        .into_iter()
        .filter(|object| view::controller_uid(object) == view::uid(workload) && !view::uid(workload).is_empty())
        .filter_map(|object| match object.pointer("/data/spec/template") {
            Some(template) => Some(Revision::read(object, view::count(object, "/revision"), template, wanted)),
            None => {
                let number = view::annotation(object, REVISION)?.parse().ok()?;
                Some(Revision::read(object, number, object.pointer("/spec/template")?, wanted))
            }
        })
        .collect();
    revisions.sort_by_key(|revision| revision.number);
    revisions
}

#[cfg(test)]
mod tests {
    use crate::base::json::json;

    use super::*;

    fn owned(mut object: Json) -> Arc<Json> {
        object["metadata"]["ownerReferences"] = json!([{ "uid": "u", "controller": true }]);
        Arc::new(object)
    }

    #[test]
    fn both_forms_are_read_sorted_and_the_wanted_one_is_known() {
        let template = |image: &str| json!({ "spec": { "containers": [{ "name": "a", "image": image }] } });
        let workload = json!({ "metadata": { "uid": "u" }, "spec": { "template": template("a:1") } });
        let set = |number: &str, image: &str| {
            owned(
                json!({ "metadata": { "annotations": { REVISION: number, CHANGE_CAUSE: "why" } }, "spec": { "template": template(image) } }),
            )
        };
        let foreign = Arc::new(json!({ "metadata": { "annotations": { REVISION: "9" } }, "spec": { "template": template("a:1") } }));
        let read = of(&workload, &[set("10", "a:1"), set("9", "a:2"), foreign]);
        let told: Vec<_> = read.iter().map(|revision| (revision.number, revision.current)).collect();
        assert_eq!(told, [(9, false), (10, true)]);
        assert_eq!(read[0].images()["a"], "a:2");
        assert_eq!(read[0].change_cause.as_deref(), Some("why"));

        let stored = owned(json!({ "metadata": {}, "revision": 3, "data": { "spec": { "template": {
            "$patch": "replace", "spec": { "containers": [{ "name": "a", "image": "a:1" }] } } } } }));
        let read = of(&workload, &[stored]);
        assert_eq!((read[0].number, read[0].current), (3, true));
    }
}
