//! Workloads: where their pods are described, which pods they select, which containers they have.

use std::collections::BTreeMap;

use crate::base::json::{Array, Map, Value as Json, json};

use super::view;
use crate::base::{Error, Kind, Reason, Result};
use crate::cluster::{Resource, Target};

/// The kinds that describe pods, with the place of the pod's `spec`.
const POD_SPECS: [(&str, &str, &str); 8] = [
    ("apps", "Deployment", "/spec/template/spec"),
    ("apps", "DaemonSet", "/spec/template/spec"),
    ("apps", "StatefulSet", "/spec/template/spec"),
    ("apps", "ReplicaSet", "/spec/template/spec"),
    ("", "ReplicationController", "/spec/template/spec"),
    ("batch", "Job", "/spec/template/spec"),
    ("batch", "CronJob", "/spec/jobTemplate/spec/template/spec"),
    ("", "Pod", "/spec"),
];

/// The two lists of containers that a pod's `spec` has.
pub(super) const LISTS: [&str; 2] = ["containers", "initContainers"];

/// Where objects of this kind describe their pods.
pub(super) fn pod_spec(resource: &Resource) -> Option<&'static str> {
    let row = POD_SPECS.iter().find(|(group, kind, _)| resource.group == *group && resource.kind == *kind);
    row.map(|(_, _, pointer)| *pointer)
}

/// The same, or the error of a verb that needs one.
pub(super) fn need_pod_spec(target: &Target, doing: &str) -> Result<&'static str> {
    pod_spec(&target.resource).ok_or_else(|| {
        unsupported(target, format!("{doing} `{target}`: a {} has no containers", target.resource))
            .hint("it takes deployments, daemonsets, statefulsets, replicasets, jobs, cronjobs and pods")
    })
}

/// The error of a verb that this kind of object cannot do.
pub(super) fn unsupported(target: &Target, message: String) -> Error {
    Error::new(Kind::Input, Reason::Unsupported, message).about(target.full_name())
}

/// The image of each container and init container.
pub(super) fn images(object: &Json, pod_spec: &str) -> BTreeMap<String, String> {
    let mut images = BTreeMap::new();
    for list in LISTS {
        for container in view::list(object, &format!("{pod_spec}/{list}")) {
            images.insert(view::text(container, "/name").to_owned(), view::text(container, "/image").to_owned());
        }
    }
    images
}

/// A strategic merge patch that sets images; only containers that the object has are in it.
pub(super) fn image_patch(object: &Json, pod_spec: &str, images: &BTreeMap<String, String>) -> Json {
    let mut spec = Map::new();
    for list in LISTS {
        let named = view::list(object, &format!("{pod_spec}/{list}")).iter().map(|container| view::text(container, "/name"));
        let entries: Array = named.filter_map(|name| images.get(name).map(|image| json!({ "name": name, "image": image }))).collect();
        if !entries.is_empty() {
            spec.insert(list.to_owned(), Json::Array(entries));
        }
    }
    nest(pod_spec, Json::Object(spec))
}

/// The value under the keys of a pointer: `/a/b` gives `{ a: { b: value } }`.
pub(super) fn nest(pointer: &str, value: Json) -> Json {
    pointer.split('/').skip(1).collect::<Vec<_>>().into_iter().rev().fold(value, |inner, key| json!({ key: inner }))
}

/// The label selector of a workload as text; `None` when it selects nothing.
pub(super) fn selector(workload: &Json) -> Option<String> {
    let selector = workload.pointer("/spec/selector")?.as_object()?;
    let structured = selector.contains_key("matchLabels") || selector.contains_key("matchExpressions");
    let plain = if structured { selector.get("matchLabels").and_then(Json::as_object) } else { Some(selector) };
    let mut parts: Vec<String> =
        plain.into_iter().flatten().map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default())).collect();
    for expression in view::list(&Json::Object(selector.clone()), "/matchExpressions") {
        let key = view::text(expression, "/key");
        let values: Vec<&str> = view::list(expression, "/values").iter().filter_map(Json::as_str).collect();
        parts.push(match view::text(expression, "/operator") {
            "In" => format!("{key} in ({})", values.join(",")),
            "NotIn" => format!("{key} notin ({})", values.join(",")),
            "DoesNotExist" => format!("!{key}"),
            _ => key.to_owned(),
        });
    }
    if parts.is_empty() { None } else { Some(parts.join(",")) }
}

/// The replicas asked for; the API's default is 1.
pub(super) fn replicas(workload: &Json) -> i64 {
    view::int(workload, "/spec/replicas").unwrap_or(1)
}

/// The host ports that a pod takes.
pub(super) fn host_ports(pod: &Json) -> Vec<i64> {
    let on_host = view::flag(pod, "/spec/hostNetwork");
    let mut ports: Vec<i64> = LISTS
        .iter()
        .flat_map(|list| view::list(pod, &format!("/spec/{list}")))
        .flat_map(|container| view::list(container, "/ports"))
        .filter_map(|port| {
            // The API server fills in `hostPort` for pods on the host's network.
            view::int(port, "/hostPort").or_else(|| view::int(port, "/containerPort").filter(|_| on_host))
        })
        .filter(|port| *port > 0)
        .collect();
    ports.sort_unstable();
    ports.dedup();
    ports
}

/// Whether two pod templates mean the same: bookkeeping labels, nulls and empty fields aside.
pub(super) fn same_template(a: &Json, b: &Json) -> bool {
    plain_template(a) == plain_template(b)
}

/// A pod template without what controllers and servers add to it.
pub(super) fn plain_template(template: &Json) -> Json {
    let mut template = template.clone();
    if let Some(fields) = template.as_object_mut() {
        fields.remove("$patch");
    }
    if let Some(labels) = template.pointer_mut("/metadata/labels").and_then(Json::as_object_mut) {
        labels.remove("pod-template-hash");
    }
    without_empty(template).unwrap_or(Json::Null)
}

/// The value without nulls, empty maps and empty lists; `None` when nothing is left. An empty map inside a list stays: there it
/// is an element.
fn without_empty(value: Json) -> Option<Json> {
    match value {
        Json::Null => None,
        Json::Object(fields) => {
            let kept: Map = fields.into_iter().filter_map(|(key, value)| without_empty(value).map(|value| (key, value))).collect();
            if kept.is_empty() { None } else { Some(Json::Object(kept)) }
        }
        Json::Array(items) if items.is_empty() => None,
        Json::Array(items) => Some(Json::Array(items.into_iter().map(|item| without_empty(item).unwrap_or_else(|| json!({}))).collect())),
        other => Some(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_patch_names_only_what_is_there_in_its_list() {
        let object = json!({ "spec": { "template": { "spec": {
            "containers": [{ "name": "a", "image": "a:1" }, { "name": "b", "image": "b:1" }],
            "initContainers": [{ "name": "i", "image": "i:1" }] } } } });
        let wanted = BTreeMap::from([("a".to_owned(), "a:2".to_owned()), ("i".to_owned(), "i:2".to_owned())]);
        assert_eq!(
            image_patch(&object, "/spec/template/spec", &wanted),
            json!({ "spec": { "template": { "spec": {
                "containers": [{ "name": "a", "image": "a:2" }],
                "initContainers": [{ "name": "i", "image": "i:2" }] } } } })
        );
    }

    #[test]
    fn selectors_of_both_forms_become_text() {
        assert_eq!(selector(&json!({ "spec": { "selector": { "app": "web" } } })).as_deref(), Some("app=web"));
        let object = json!({ "spec": { "selector": { "matchLabels": { "a": "1", "b": "2" }, "matchExpressions": [
            { "key": "t", "operator": "In", "values": ["x", "y"] }, { "key": "u", "operator": "NotIn", "values": ["z"] },
            { "key": "v", "operator": "Exists" }, { "key": "w", "operator": "DoesNotExist" }] } } });
        assert_eq!(selector(&object).as_deref(), Some("a=1,b=2,t in (x,y),u notin (z),v,!w"));
        assert_eq!(selector(&json!({ "spec": {} })), None);
    }

    #[test]
    fn templates_are_compared_by_meaning() {
        let spec =
            json!({ "metadata": { "labels": { "a": "1" }, "creationTimestamp": null }, "spec": { "x": [], "v": [{ "emptyDir": {} }] } });
        let stored = json!({ "$patch": "replace", "metadata": { "labels": { "a": "1", "pod-template-hash": "h" } },
                             "spec": { "v": [{ "emptyDir": {} }] } });
        assert!(same_template(&spec, &stored));
        assert!(!same_template(&spec, &json!({ "metadata": { "labels": { "a": "2" } } })));
    }

    #[test]
    fn pods_on_the_host_take_their_container_ports() {
        let containers = json!([{ "ports": [{ "containerPort": 9998 }, { "containerPort": 9997, "hostPort": 9997 }] }]);
        assert_eq!(host_ports(&json!({ "spec": { "hostNetwork": true, "containers": containers } })), [9997, 9998]);
        assert_eq!(host_ports(&json!({ "spec": { "containers": containers } })), [9997]);
    }
}
