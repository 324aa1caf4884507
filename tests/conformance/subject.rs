//! What the random programs are about: objects to begin with, and parts to patch into them.

use serde_json::{Map, Value, json};

use super::random::Random;

/// The subjects.
pub(super) const ALL: [&str; 4] = ["deployment", "daemonset", "configmap", "custom"];

const NAMES: [&str; 3] = ["a", "b", "c"];
const WORDS: [&str; 4] = ["one", "two", "three", ""];

/// The collection of a subject.
pub(super) fn path(of: &str, namespace: &str) -> String {
    match of {
        "configmap" => format!("/api/v1/namespaces/{namespace}/configmaps"),
        "custom" => format!("/apis/programs.test.io/v1/namespaces/{namespace}/things"),
        of => format!("/apis/apps/v1/namespaces/{namespace}/{of}s"),
    }
}

/// The kind of the custom resources.
pub(super) fn definition() -> Value {
    let text = json!({"type": "string"});
    let spec = json!({
        "type": "object",
        "properties": {
            "size": {"type": "integer", "default": 3, "maximum": 9},
            "words": {"type": "object", "additionalProperties": text},
            "list": {"type": "array", "items": text},
            "set": {"type": "array", "items": text, "x-kubernetes-list-type": "set"},
            "parts": {
                "type": "array",
                "items": {"type": "object", "required": ["name"], "properties": {"name": text, "value": text, "count": {"type": "integer", "default": 1}}},
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["name"],
            },
            "whole": {"type": "object", "x-kubernetes-map-type": "atomic", "additionalProperties": text},
            "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
        },
    });
    json!({
        "metadata": {"name": "things.programs.test.io"},
        "spec": {
            "group": "programs.test.io",
            "scope": "Namespaced",
            "names": {"plural": "things", "singular": "thing", "kind": "Thing"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": spec}}}}],
        },
    })
}

/// The object that a program begins with.
pub(super) fn start(of: &str, name: &str, random: &mut Random) -> Value {
    let mut object = match of {
        "configmap" => json!({"apiVersion": "v1", "kind": "ConfigMap", "data": words(random, false)}),
        "custom" => json!({"apiVersion": "programs.test.io/v1", "kind": "Thing", "spec": custom(random, false)}),
        of => {
            let kind = if of == "deployment" { "Deployment" } else { "DaemonSet" };
            let mut containers = vec![container("a", random, false)];
            if random.chance(60) {
                containers.push(container("b", random, false));
            }
            for container in &mut containers {
                container["image"] = "registry.test/x:1".into();
            }
            let template =
                json!({"metadata": {"labels": {"app": name}}, "spec": {"containers": containers, "volumes": volumes(random, false)}});
            let mut spec = json!({"selector": {"matchLabels": {"app": name}}, "template": template});
            if of == "deployment" {
                spec["replicas"] = 0.into();
            }
            json!({"apiVersion": "apps/v1", "kind": kind, "spec": spec})
        }
    };
    object["metadata"] = json!({"name": name, "labels": words(random, false)});
    object
}

/// A part of a subject: with directives of strategic merge, with nulls.
pub(super) fn part(of: &str, random: &mut Random, strategic: bool, nulls: bool) -> Value {
    let mut part = Map::new();
    if random.chance(40) {
        let field = *random.one_of(&["labels", "annotations"]);
        part.insert("metadata".to_owned(), json!({ field: words(random, nulls) }));
    }
    match of {
        "configmap" => {
            part.insert("data".to_owned(), words(random, nulls));
        }
        "custom" => {
            part.insert("spec".to_owned(), custom(random, nulls));
        }
        of => {
            part.insert("spec".to_owned(), workload(of, random, strategic, nulls));
        }
    }
    Value::Object(part)
}

/// A JSON patch. About a third of them refers to what may not be there.
pub(super) fn operations(of: &str, random: &mut Random) -> Value {
    let places: &[&str] = match of {
        "configmap" => &["/data/a", "/data/b", "/data/c", "/metadata/labels", "/data"],
        "custom" => {
            &["/spec/size", "/spec/list/0", "/spec/list/-", "/spec/words/a", "/spec/parts/0/value", "/metadata/labels/a", "/spec/free"]
        }
        _ => &[
            "/spec/minReadySeconds",
            "/spec/template/spec/containers/0/image",
            "/spec/template/spec/containers/0/env",
            "/spec/template/spec/containers/1",
            "/spec/template/spec/volumes/0",
            "/metadata/labels/a",
            "/spec/template/spec/nodeSelector",
            "/spec/template/spec/containers/0/args",
        ],
    };
    let mut operations = Vec::new();
    for _ in 0..=random.below(3) {
        let at = *random.one_of(places);
        let value = value_at(at, random);
        operations.push(match random.below(6) {
            0 => json!({"op": "remove", "path": at}),
            1 => json!({"op": "replace", "path": at, "value": value}),
            2 => json!({"op": "test", "path": at, "value": value}),
            3 => json!({"op": "copy", "from": random.one_of(places), "path": at}),
            _ => json!({"op": "add", "path": at, "value": value}),
        });
    }
    Value::Array(operations)
}

fn value_at(place: &str, random: &mut Random) -> Value {
    match place {
        "/data" | "/metadata/labels" | "/spec/template/spec/nodeSelector" | "/spec/free" => words(random, false),
        "/spec/minReadySeconds" | "/spec/size" => random.below(5).into(),
        "/spec/template/spec/containers/0/env" => env(random, false),
        "/spec/template/spec/containers/1" => {
            let mut container = container("b", random, false);
            container["image"] = "registry.test/x:1".into();
            container
        }
        "/spec/template/spec/volumes/0" => json!({"name": "v", "emptyDir": {}}),
        "/spec/template/spec/containers/0/args" => json!(["one", "two"]),
        _ => (*random.one_of(&WORDS)).into(),
    }
}

/// Some of three keys with a word each; with nulls, keys to be taken away.
fn words(random: &mut Random, nulls: bool) -> Value {
    let mut words = Map::new();
    for name in NAMES {
        if random.chance(50) {
            let word = if nulls && random.chance(30) { Value::Null } else { (*random.one_of(&WORDS)).into() };
            words.insert(name.to_owned(), word);
        }
    }
    Value::Object(words)
}

fn custom(random: &mut Random, nulls: bool) -> Value {
    let mut spec = Map::new();
    let list = |random: &mut Random| -> Vec<&str> { NAMES.into_iter().filter(|_| random.chance(50)).collect() };
    for field in ["size", "words", "list", "set", "parts", "whole", "free", "unknown"] {
        if !random.chance(40) {
            continue;
        }
        let value = match field {
            "size" => random.below(12).into(),
            "words" | "whole" => words(random, nulls),
            "list" | "set" => list(random).into(),
            "parts" => list(random).into_iter().map(|name| json!({"name": name, "value": random.one_of(&WORDS)})).collect(),
            "free" => json!({"any": random.below(3), "deep": {"list": [1, {"x": "y"}]}}),
            _ => json!(1),
        };
        spec.insert(field.to_owned(), if nulls && random.chance(15) { Value::Null } else { value });
    }
    Value::Object(spec)
}

fn workload(of: &str, random: &mut Random, strategic: bool, nulls: bool) -> Value {
    let mut spec = Map::new();
    if random.chance(20) {
        spec.insert("minReadySeconds".to_owned(), random.below(5).into());
    }
    if random.chance(25) {
        let (field, replace) = if of == "deployment" { ("strategy", "Recreate") } else { ("updateStrategy", "OnDelete") };
        let strategy = match random.below(3) {
            0 if strategic => json!({"$patch": "replace", "type": replace}),
            0 => json!({"type": replace, "rollingUpdate": null}),
            1 => json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": random.below(3)}}),
            _ => json!({"rollingUpdate": {"maxUnavailable": "30%"}}),
        };
        spec.insert(field.to_owned(), strategy);
    }
    let mut pod = Map::new();
    if random.chance(75) {
        pod.insert("containers".to_owned(), containers(random, strategic, nulls));
    }
    if random.chance(30) {
        pod.insert("volumes".to_owned(), volumes(random, strategic));
    }
    if random.chance(30) {
        pod.insert("nodeSelector".to_owned(), words(random, nulls));
    }
    if random.chance(20) {
        pod.insert("tolerations".to_owned(), json!([{"key": random.one_of(&NAMES), "operator": "Exists"}]));
    }
    spec.insert("template".to_owned(), json!({ "spec": pod }));
    Value::Object(spec)
}

fn containers(random: &mut Random, strategic: bool, nulls: bool) -> Value {
    let mut list = Vec::new();
    for name in NAMES {
        if strategic && random.chance(10) {
            list.push(json!({"name": name, "$patch": "delete"}));
        } else if random.chance(50) {
            list.push(container(name, random, nulls));
        }
    }
    Value::Array(list)
}

fn container(name: &str, random: &mut Random, nulls: bool) -> Value {
    let mut container = json!({ "name": name });
    if random.chance(80) {
        container["image"] = format!("registry.test/x:{}", random.below(4)).into();
    }
    if random.chance(40) {
        container["env"] = env(random, nulls);
    }
    if random.chance(30) {
        let port = |random: &mut Random| json!({"containerPort": 80 + random.below(2), "protocol": random.one_of(&["TCP", "UDP"])});
        container["ports"] = if random.chance(50) { json!([port(random)]) } else { json!([{"containerPort": 90}, port(random)]) };
    }
    if random.chance(20) {
        container["args"] = json!([random.one_of(&WORDS)]);
    }
    if random.chance(20) {
        container["resources"] = json!({"requests": {"cpu": random.one_of(&["1", "0.5", "250m"])}});
    }
    container
}

fn env(random: &mut Random, nulls: bool) -> Value {
    let mut list = Vec::new();
    for name in ["A", "B", "C"] {
        if random.chance(50) {
            list.push(if nulls && random.chance(10) {
                json!({"name": name, "value": null})
            } else {
                json!({"name": name, "value": random.one_of(&WORDS)})
            });
        }
    }
    Value::Array(list)
}

fn volumes(random: &mut Random, strategic: bool) -> Value {
    let mut list = Vec::new();
    for name in ["v", "w"] {
        if strategic && random.chance(15) {
            list.push(json!({"name": name, "$patch": "delete"}));
        } else if random.chance(40) {
            list.push(match random.below(3) {
                0 if strategic => json!({"name": name, "$retainKeys": ["name", "emptyDir"], "emptyDir": {}}),
                0 | 1 => json!({"name": name, "emptyDir": {}}),
                _ => json!({"name": name, "configMap": {"name": "c"}}),
            });
        }
    }
    Value::Array(list)
}
