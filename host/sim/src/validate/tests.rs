//! Objects that a runbook could write wrong.

use crate::json::{Value, json};

use super::{create, shape, update};
use crate::kinds::{self, Kind};
use crate::{defaults, view};

fn deployment() -> Value {
    json!({"metadata": {"name": "web", "namespace": "x"}, "spec": {
        "selector": {"matchLabels": {"app": "web"}},
        "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "a", "image": "a:1"}]}}}})
}

fn with(path: &[&str], value: Value) -> Value {
    let mut object = deployment();
    view::set(&mut object, path, value);
    object
}

/// The message without its beginning, or nothing.
fn refusal(kind: &'static Kind, mut object: Value) -> String {
    defaults::apply(kind, &mut object);
    let message = create(kind, &object).err().map(|status| status.message().to_owned()).unwrap_or_default();
    message.split_once(" is invalid: ").map_or(message.clone(), |(_, text)| text.to_owned())
}

#[test]
fn good_objects_pass() {
    assert_eq!(refusal(kinds::DEPLOYMENT, deployment()), "");
    assert_eq!(refusal(kinds::CONFIG_MAP, json!({"metadata": {"generateName": "cfg-"}, "data": {"a.b": "c"}})), "");
    assert_eq!(refusal(kinds::NODE, json!({"metadata": {"name": "n1.example", "labels": {"node-role.kubernetes.io/master": ""}}})), "");
}

#[test]
fn names_are_checked() {
    let text = refusal(kinds::CONFIG_MAP, json!({"metadata": {"name": "Web_1"}}));
    assert!(text.starts_with(r#"metadata.name: Invalid value: "Web_1": a lowercase RFC 1123 subdomain must consist of"#), "{text}");
    assert!(text.ends_with(r"regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"), "{text}");
    let text = refusal(kinds::NAMESPACE, json!({"metadata": {"name": "a.b"}}));
    assert!(text.ends_with("must not contain dots"), "{text}");
    let text = refusal(kinds::SERVICE, json!({"metadata": {"name": "A"}, "spec": {"ports": [{"port": 80}]}}));
    assert!(text.contains("a lowercase RFC 1123 label must consist of"), "{text}");
    assert_eq!(refusal(kinds::CONFIG_MAP, json!({})), "metadata.name: Required value: name or generateName is required");
}

#[test]
fn selectors_and_templates_fit_together() {
    let text = refusal(kinds::DEPLOYMENT, with(&["spec", "template", "metadata", "labels", "app"], json!("db")));
    assert_eq!(text, r#"spec.template.metadata.labels: Invalid value: {"app":"db"}: `selector` does not match template `labels`"#);
    let mut object = deployment();
    view::remove(&mut object, &["spec", "selector"]);
    assert!(refusal(kinds::DEPLOYMENT, object).starts_with("[spec.selector: Required value, spec.template.metadata.labels: "));
    let text = refusal(kinds::DAEMON_SET, with(&["spec", "selector"], json!({})));
    assert_eq!(text, "spec.selector: Invalid value: {}: empty selector is invalid for daemonset");
}

#[test]
fn counts_and_strategies_are_checked() {
    let cases = [
        (with(&["spec", "replicas"], json!(-1)), "spec.replicas: Invalid value: -1: must be greater than or equal to 0"),
        (
            with(&["spec", "strategy"], json!({"type": "Recreate", "rollingUpdate": {"maxSurge": 1}})),
            "spec.strategy.rollingUpdate: Forbidden: may not be specified when strategy `type` is 'Recreate'",
        ),
        (
            with(&["spec", "strategy"], json!({"rollingUpdate": {"maxSurge": 0, "maxUnavailable": "0%"}})),
            "spec.strategy.rollingUpdate.maxUnavailable: Invalid value: \"0%\": may not be 0 when `maxSurge` is 0",
        ),
        (
            with(&["spec", "strategy", "type"], json!("Fast")),
            r#"spec.strategy: Unsupported value: {"Type":"Fast","RollingUpdate":null}: supported values: "Recreate", "RollingUpdate""#,
        ),
        (
            with(&["spec", "minReadySeconds"], json!(600)),
            "spec.progressDeadlineSeconds: Invalid value: 600: must be greater than minReadySeconds",
        ),
    ];
    for (object, text) in cases {
        assert_eq!(refusal(kinds::DEPLOYMENT, object), text);
    }
    let both = with(&["spec", "updateStrategy"], json!({"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 1}}));
    assert!(refusal(kinds::DAEMON_SET, both).contains("may not be set when maxUnavailable is non-zero"));
}

#[test]
fn containers_are_checked() {
    let containers = |value: Value| with(&["spec", "template", "spec", "containers"], value);
    let at = "spec.template.spec.containers";
    for (value, text) in [
        (json!([]), format!("{at}: Required value")),
        (json!([{"name": "a", "image": ""}]), format!("{at}[0].image: Required value")),
        (json!([{"name": "a", "image": "a"}, {"name": "a", "image": "b"}]), format!("{at}[1].name: Duplicate value: \"a\"")),
        (
            json!([{"name": "a", "image": "a", "volumeMounts": [{"name": "v", "mountPath": "/v"}]}]),
            format!("{at}[0].volumeMounts[0].name: Not found: \"v\""),
        ),
        (
            json!([{"name": "a", "image": "a", "ports": [{"containerPort": 70000}]}]),
            format!("{at}[0].ports[0].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive"),
        ),
        (
            json!([{"name": "a", "image": "a", "resources": {"requests": {"cpu": "2"}, "limits": {"cpu": "1"}}}]),
            format!("{at}[0].resources.requests: Invalid value: \"2\": must be less than or equal to cpu limit of 1"),
        ),
    ] {
        assert_eq!(refusal(kinds::DEPLOYMENT, containers(value)), text);
    }
}

#[test]
fn some_fields_never_change() {
    let complete = |kind: &'static Kind, mut object: Value| {
        defaults::apply(kind, &mut object);
        object
    };
    let refused = |kind: &'static Kind, before: &Value, after: &Value| update(kind, before, after).unwrap_err().message().to_owned();
    let before = complete(kinds::DEPLOYMENT, deployment());
    let mut after = before.clone();
    view::set(&mut after, &["spec", "selector", "matchLabels", "app"], "db");
    view::set(&mut after, &["spec", "template", "metadata", "labels", "app"], "db");
    assert_eq!(
        refused(kinds::DEPLOYMENT, &before, &after),
        r#"Deployment.apps "web" is invalid: spec.selector: Invalid value: {"matchLabels":{"app":"db"}}: field is immutable"#
    );
    let pod = |spec: Value| json!({"metadata": {"name": "p"}, "spec": spec});
    let before = pod(json!({"containers": [{"name": "a", "image": "a:1"}], "tolerations": []}));
    let allowed = pod(json!({"containers": [{"name": "a", "image": "a:2"}], "tolerations": [{"operator": "Exists"}]}));
    assert_eq!(update(kinds::POD, &before, &allowed), Ok(()));
    let other = pod(json!({"containers": [{"name": "a", "image": "a:1"}], "nodeName": "n"}));
    assert!(refused(kinds::POD, &before, &other).contains("pod updates may not change fields other than"));
    let service = |ip: &str| {
        let spec = json!({"type": "ClusterIP", "clusterIP": ip, "ports": [{"port": 80}]});
        complete(kinds::SERVICE, json!({"metadata": {"name": "s"}, "spec": spec}))
    };
    assert!(refused(kinds::SERVICE, &service("10.96.0.9"), &service("10.96.0.8")).ends_with("may not change once set"));
    let map = |data: &str| json!({"metadata": {"name": "m"}, "data": {"a": data}, "immutable": true});
    assert!(refused(kinds::CONFIG_MAP, &map("1"), &map("2")).ends_with("field is immutable when `immutable` is set"));
}

#[test]
fn wrong_types_are_named() {
    for (path, value, text) in [
        (
            &["spec", "replicas"][..],
            json!("two"),
            "json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32",
        ),
        (
            &["metadata", "labels"],
            json!({"a": 1}),
            "json: cannot unmarshal number into Go struct field ObjectMeta.metadata.labels of type string",
        ),
        (
            &["spec", "template", "spec", "containers"],
            json!({}),
            "json: cannot unmarshal object into Go struct field PodSpec.spec.template.spec.containers of type []v1.Container",
        ),
        (
            &["spec", "template", "spec", "hostNetwork"],
            json!("true"),
            "json: cannot unmarshal string into Go struct field PodSpec.spec.template.spec.hostNetwork of type bool",
        ),
        (&["spec"], json!([]), "json: cannot unmarshal array into Go struct field Deployment.spec of type v1.DeploymentSpec"),
    ] {
        assert_eq!(shape(kinds::DEPLOYMENT, &with(path, value)), Err(text.to_owned()));
    }
    assert_eq!(shape(kinds::DEPLOYMENT, &deployment()), Ok(()));
    let node = json!({"status": {"capacity": {"cpu": "4x"}}});
    assert!(shape(kinds::NODE, &node).unwrap_err().starts_with("quantities must match the regular expression"));
}
