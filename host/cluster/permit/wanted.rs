//! One request as permissions see it: what it does to which object, and the values that it would set.

use http::Method;

use crate::base::json::Value as Json;
use crate::cluster::request::{Act, Verb};
use lockgate_sim::kinds;

/// A request before it is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// What it does, with the name that only its body says.
    pub act: Act,
    /// Every image that it sets.
    pub images: Vec<String>,
    /// Every number of replicas that it sets.
    pub replicas: Vec<i64>,
    /// Why its values cannot be told.
    pub unreadable: Option<String>,
    /// Whether it makes a node unschedulable.
    pub cordons: bool,
    /// The uid of the object that it is bound to.
    pub uid: Option<String>,
    /// Whether the server shall do all but store it.
    pub dry_run: bool,
    /// What its made-up name begins with.
    pub generated: Option<String>,
}

/// Kinds in whose documents `image` is just a key.
const PLAIN: [&str; 2] = ["configmaps", "secrets"];
/// Kinds that have one replica when nobody says how many.
const SCALED: [&str; 4] = ["deployments", "statefulsets", "replicasets", "replicationcontrollers"];
/// What the server appends to the beginning of a made-up name: five characters, whichever.
const MADE_UP: &str = "xxxxx";

impl Wanted {
    /// Reads a request.
    #[must_use]
    pub fn of(method: &Method, path: &str, query: &str, content_type: &str, body: &[u8]) -> Wanted {
        let act = Act::of(method, path, query);
        let dry_run = query.split('&').any(|pair| pair == "dryRun=All");
        let mut wanted =
            Wanted { act, images: Vec::new(), replicas: Vec::new(), unreadable: None, cordons: false, uid: None, dry_run, generated: None };
        match document(&wanted.act, content_type, body) {
            Ok(Json::Null) => {}
            Ok(document) => wanted.read(&document, content_type),
            Err(why) => wanted.unreadable = Some(why),
        }
        wanted
    }

    fn read(&mut self, document: &Json, content_type: &str) {
        if let Some(operations) = document.as_array().filter(|_| content_type.starts_with("application/json-patch")) {
            operations.iter().for_each(|operation| self.operation(operation));
            return;
        }
        let text = |pointer: &str| document.pointer(pointer).and_then(Json::as_str).filter(|text| !text.is_empty()).map(str::to_owned);
        if self.act.verb == Verb::Create && self.act.name.is_none() {
            self.generated = text("/metadata/generateName");
            self.act.name = text("/metadata/name").or_else(|| self.generated.as_ref().map(|start| format!("{start}{MADE_UP}")));
        }
        self.uid = text("/deleteOptions/preconditions/uid").or_else(|| text("/preconditions/uid"));
        self.whole(document);
        let silent = document.pointer("/spec/replicas").is_none() && self.act.subresource.is_none();
        if silent && matches!(self.act.verb, Verb::Create | Verb::Update) && SCALED.contains(&self.act.resource.as_str()) {
            self.replicas.push(1);
        }
    }

    /// A document, or a patch that has the form of one.
    fn whole(&mut self, document: &Json) {
        if let Some(spec) = document.get("spec") {
            self.spec(spec);
        }
        if PLAIN.contains(&self.act.resource.as_str()) && self.act.group.is_empty() {
            return;
        }
        for (key, value) in document.as_object().into_iter().flatten() {
            if !matches!(&**key, "metadata" | "status") {
                self.images_in(key, value);
            }
        }
    }

    fn spec(&mut self, spec: &Json) {
        match spec.get("replicas") {
            None => {}
            Some(count) => self.count(count),
        }
        self.cordons |= self.act.resource == "nodes" && spec.get("unschedulable").and_then(Json::as_bool) == Some(true);
    }

    fn count(&mut self, count: &Json) {
        match (count.as_i64(), count.is_null()) {
            (Some(count), _) => self.replicas.push(count),
            // Taken away, it is the default again.
            (None, true) => self.replicas.push(1),
            (None, false) => self.unreadable = Some("`replicas` is no number".to_owned()),
        }
    }

    /// One operation of a JSON patch.
    fn operation(&mut self, operation: &Json) {
        let text = |field: &str| operation.get(field).and_then(Json::as_str).unwrap_or_default();
        let path = text("path");
        if path.starts_with("/metadata/") || path.starts_with("/status/") || text("op") == "test" {
            return;
        }
        if matches!(text("op"), "copy" | "move") {
            self.unreadable = Some(format!("it takes `{path}` from `{}`", text("from")));
            return;
        }
        let value = operation.get("value").unwrap_or(&Json::Null);
        match path {
            "" => self.whole(value),
            "/spec" => self.spec(value),
            "/spec/replicas" => self.count(value),
            "/spec/unschedulable" => self.cordons |= self.act.resource == "nodes" && value.as_bool() == Some(true),
            _ => {}
        }
        let mut parts = path.rsplit('/');
        let (last, above) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        // The image of a volume is an object with a reference.
        let key = if last == "reference" && above == "image" { "image" } else { last };
        if !path.is_empty() {
            self.images_in(key, value);
        }
    }

    /// Every image below, whatever holds it: a pod, a template of pods, a kind that makes them.
    fn images_in(&mut self, key: &str, value: &Json) {
        match value {
            Json::String(image) if key == "image" => self.images.push(image.to_string()),
            Json::Object(map) => {
                if key == "image"
                    && let Some(reference) = value.get("reference").and_then(Json::as_str)
                {
                    self.images.push(reference.to_owned());
                }
                for (key, value) in map {
                    if &**key != "metadata" {
                        self.images_in(key, value);
                    }
                }
            }
            Json::Array(items) => items.iter().for_each(|item| self.images_in("", item)),
            _ => {}
        }
    }
}

/// The document of a body.
fn document(act: &Act, content_type: &str, body: &[u8]) -> Result<Json, String> {
    if body.is_empty() {
        return Ok(Json::Null);
    }
    let kind = kinds::by_resource(&act.group, &act.version, &act.resource).map_or("", |kind| kind.kind);
    let version = if act.group.is_empty() { act.version.clone() } else { format!("{}/{}", act.group, act.version) };
    lockgate_sim::document(content_type, body, &version, kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WEB: &str = "/apis/apps/v1/namespaces/shop/deployments/web";

    fn patch(content_type: &str, body: &str) -> Wanted {
        Wanted::of(&Method::PATCH, WEB, "", content_type, body.as_bytes())
    }

    #[test]
    fn images_are_found_in_every_form_of_a_write() {
        let pods = r#"{"spec":{"template":{"spec":{"initContainers":[{"image":"a"}],"containers":[{"name":"c","image":"b"}],
            "volumes":[{"name":"v","image":{"reference":"c"}}]}}}}"#;
        for content_type in ["application/merge-patch+json", "application/strategic-merge-patch+json", "application/apply-patch+yaml"] {
            let mut images = patch(content_type, pods).images;
            images.sort();
            assert_eq!(images, ["a", "b", "c"], "{content_type}");
        }
        let json = |operations: &str| patch("application/json-patch+json", operations);
        for operations in [
            r#"[{"op":"replace","path":"/spec/template/spec/containers/0/image","value":"b"}]"#,
            r#"[{"op":"add","path":"/spec/template/spec/containers/-","value":{"name":"x","image":"b"}}]"#,
            r#"[{"op":"replace","path":"/spec","value":{"template":{"spec":{"containers":[{"image":"b"}]}}}}]"#,
            r#"[{"op":"replace","path":"","value":{"spec":{"template":{"spec":{"containers":[{"image":"b"}]}}}}}]"#,
            r#"[{"op":"replace","path":"/spec/template/spec/volumes/0/image/reference","value":"b"}]"#,
        ] {
            assert_eq!(json(operations).images, ["b"], "{operations}");
        }
        let copied = json(r#"[{"op":"copy","from":"/metadata/annotations/x","path":"/spec/template/spec/containers/0/image"}]"#);
        assert!(copied.unreadable.is_some());
        assert!(patch("application/x-unknown", "?").unreadable.is_some());
    }

    #[test]
    fn replicas_are_found_where_they_are_set() {
        let merge = |body: &str| patch("application/merge-patch+json", body).replicas;
        assert_eq!(merge(r#"{"spec":{"replicas":7}}"#), [7]);
        assert_eq!(merge(r#"{"spec":{"replicas":null}}"#), [1]);
        assert_eq!(merge(r#"{"spec":{"paused":true}}"#), [0_i64; 0]);
        let json = |body: &str| patch("application/json-patch+json", body).replicas;
        assert_eq!(json(r#"[{"op":"replace","path":"/spec/replicas","value":9}]"#), [9]);
        assert_eq!(json(r#"[{"op":"replace","path":"/spec","value":{"replicas":8}}]"#), [8]);
        let put = Wanted::of(&Method::PUT, WEB, "", "application/json", br#"{"spec":{}}"#);
        assert_eq!(put.replicas, [1]);
        let scale = Wanted::of(&Method::PUT, &format!("{WEB}/scale"), "", "application/json", br#"{"spec":{"replicas":4}}"#);
        assert_eq!(scale.replicas, [4]);
    }

    #[test]
    fn the_name_of_what_is_created_stands_in_its_body() {
        let create = |body: &str| Wanted::of(&Method::POST, "/api/v1/namespaces/shop/pods", "", "application/json", body.as_bytes());
        assert_eq!(create(r#"{"metadata":{"name":"x"}}"#).act.name.as_deref(), Some("x"));
        assert_eq!(create(r#"{"metadata":{"generateName":"web-"}}"#).act.name.as_deref(), Some("web-xxxxx"));
        // A key of a ConfigMap is no image.
        let map = Wanted::of(&Method::POST, "/api/v1/namespaces/shop/configmaps", "", "application/json", br#"{"data":{"image":"a"}}"#);
        assert_eq!(map.images, [""; 0]);
        let cordon = br#"{"spec":{"unschedulable":true}}"#;
        assert!(Wanted::of(&Method::PATCH, "/api/v1/nodes/n1", "", "application/merge-patch+json", cordon).cordons);
    }

    #[test]
    fn protobuf_is_read() {
        // v1 Pod: metadata (1) name (1) = p; spec (2) containers (2) image (2) = img.
        let message = [b"\n\x03\n\x01p\x12\x07\x12\x05\x12\x03img".as_slice()].concat();
        let mut body = b"k8s\0\n\x09\n\x02v1\x12\x03Pod\x12".to_vec();
        body.push(u8::try_from(message.len()).unwrap());
        body.extend(message);
        let wanted = Wanted::of(&Method::POST, "/api/v1/namespaces/shop/pods", "", "application/vnd.kubernetes.protobuf", &body);
        assert_eq!((wanted.unreadable, wanted.act.name.as_deref(), wanted.images), (None, Some("p"), vec!["img".to_owned()]));
    }
}
