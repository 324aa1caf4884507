use super::*;
use crate::json::json;
use crate::kinds;

fn deployment() -> &'static Type {
    openapi::type_of(kinds::DEPLOYMENT).unwrap()
}

fn at<'a>(kind: &'a Type, path: &str) -> &'a Type {
    path.split('.').fold(kind, |kind, step| if step == "[]" { kind.items() } else { kind.below(step) })
}

#[test]
fn lists_know_what_their_items_are() {
    let identity = |path: &str| match at(deployment(), path).shape() {
        Shape::List(list) => list.identity.clone(),
        other => panic!("{path}: {other:?}"),
    };
    let keys = |names: &[&str]| Identity::Keys(names.iter().map(|name| Text::from(*name)).collect());
    assert_eq!(identity("spec.template.spec.containers"), keys(&["name"]));
    assert_eq!(identity("spec.template.spec.containers.[].ports"), keys(&["containerPort", "protocol"]));
    assert_eq!(identity("spec.template.spec.tolerations"), Identity::Place);
    assert_eq!(identity("metadata.finalizers"), Identity::Value);
    assert!(at(deployment(), "spec.selector").is_atomic());
    assert!(at(deployment(), "spec.template.spec.nodeSelector").is_atomic());
    assert!(!at(deployment(), "metadata.labels").is_atomic());
}

#[test]
fn fields_know_how_patches_merge_them() {
    let spec = at(deployment(), "spec.template.spec").as_struct().unwrap();
    let (containers, tolerations) = (spec.field("containers").unwrap(), spec.field("tolerations").unwrap());
    assert_eq!((containers.merges, containers.merge_key.as_deref()), (true, Some("name")));
    assert_eq!((tolerations.merges, tolerations.merge_key.as_deref()), (false, None));
    let ports = at(deployment(), "spec.template.spec.containers.[]").as_struct().unwrap().field("ports").unwrap();
    assert_eq!(ports.merge_key.as_deref(), Some("containerPort"));
}

#[test]
fn special_types_are_recognised() {
    let shape = |path: &str| at(deployment(), path).shape();
    assert!(matches!(shape("spec.replicas"), Shape::Integer(32)));
    assert!(matches!(shape("spec.strategy.rollingUpdate.maxSurge"), Shape::IntOrText));
    assert!(matches!(shape("spec.template.spec.containers.[].resources.limits.cpu"), Shape::Amount));
    assert!(matches!(shape("metadata.creationTimestamp"), Shape::Time));
    assert!(matches!(openapi::type_of(kinds::SECRET).unwrap().below("data").below("x").shape(), Shape::Bytes));
    assert!(matches!(openapi::type_of(kinds::CONTROLLER_REVISION).unwrap().below("data").shape(), Shape::AnyMap));
}

#[test]
fn unknown_fields_are_found_and_taken_away() {
    let known = json!({"metadata": {"name": "a"}, "spec": {"template": {"spec": {"containers": [{"name": "a"}]}}}});
    let mut wrong = known.clone();
    wrong["zoo"] = 1.into();
    wrong["spec"]["template"]["spec"]["containers"][0]["imagePolicy"] = "x".into();
    assert_eq!(unknown(deployment(), &wrong, Some(&known)), ["spec.template.spec.containers[0].imagePolicy", "zoo"]);
    assert!(unknown(deployment(), &known, None).is_empty());
    let newer = wrong.clone();
    prune(deployment(), &mut wrong, None);
    assert_eq!(wrong, known);
    let mut kept = newer.clone();
    kept["spec"]["replicas"] = 2.into();
    assert!(unknown(deployment(), &kept, Some(&newer)).is_empty(), "a newer server may have given them");
    prune(deployment(), &mut kept, Some(&newer));
    assert_eq!(kept["zoo"], 1);
}

#[test]
fn a_strict_reader_says_what_the_server_says() {
    let text = br#"{"metadata":{"name":"a","foo":1},"data":{"a":"1","a":"2"},"zoo":1,"metadata":{"name":"a","bar":1}}"#;
    let found: Vec<String> = findings(openapi::type_of(kinds::CONFIG_MAP).unwrap(), text, None).iter().map(Finding::to_string).collect();
    assert_eq!(
        found,
        [
            "unknown field \"metadata.foo\"",
            "duplicate field \"data.a\"",
            "unknown field \"zoo\"",
            "duplicate field \"metadata\"",
            "unknown field \"metadata.bar\""
        ]
    );
    assert!(findings(&ANY, b"{\"a\":", None).is_empty());
    assert!(findings(openapi::type_of(kinds::CONFIG_MAP).unwrap(), br#"{"data":[1],"immutable":{"a":1}}"#, None).is_empty());
}

#[test]
fn types_of_custom_resources_are_read_the_same_way() {
    let kind = Type::read(&json!({"type": "object", "properties": {
        "spec": {"type": "object", "x-kubernetes-preserve-unknown-fields": true, "properties": {"size": {"type": "integer"}}},
        "port": {"x-kubernetes-int-or-string": true},
        "hosts": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["host"], "items": {"type": "object"}}}}));
    let object = json!({"spec": {"size": 1, "more": 2}, "status": {}});
    assert_eq!(unknown(&kind, &object, None), ["status"]);
    assert!(matches!(kind.below("port").shape(), Shape::IntOrText));
    assert!(!kind.below("hosts").is_atomic());
}
