//! Tokens of service accounts, with what kube-apiserver v1.36.4 says.

use lockgate_sim::json::{Value, json};
use lockgate_sim::{Cluster, Options, Request};

use crate::support::Api;

const ACCOUNTS: &str = "/api/v1/namespaces/x/serviceaccounts";

fn api() -> Api {
    let mut api = Api(Cluster::new(Options::default()));
    api.ok(&Request::post("/api/v1/namespaces", &json!({"metadata": {"name": "x"}})));
    api.ok(&Request::post(ACCOUNTS, &json!({"metadata": {"name": "a"}})));
    api
}

#[test]
fn a_token_is_made_for_so_long_as_is_asked() {
    let mut api = api();
    let answer = api.ok(&Request::post(&format!("{ACCOUNTS}/a/token"), &json!({"spec": {"audiences": ["me"], "expirationSeconds": 600}})));
    assert_eq!((&answer["kind"], &answer["apiVersion"]), (&json!("TokenRequest"), &json!("authentication.k8s.io/v1")));
    assert_eq!(answer["spec"], json!({"audiences": ["me"], "expirationSeconds": 600, "boundObjectRef": null}));
    let until: jiff::Timestamp = answer["status"]["expirationTimestamp"].as_str().unwrap().parse().unwrap();
    assert_eq!(until.duration_since(api.0.now()).as_secs(), 600);
    let tokens = [&answer["status"]["token"], &api.ok(&Request::post(&format!("{ACCOUNTS}/a/token"), &json!({})))["status"]["token"]]
        .map(|token| token.as_str().unwrap().to_owned());
    assert!(tokens.iter().all(|token| token.starts_with("eyJ") && token.split('.').count() == 3), "{tokens:?}");
    assert_ne!(tokens[0], tokens[1]);
}

#[test]
fn what_kubectl_sends_is_read() {
    let text = |number: u8, text: &str| [&[number << 3 | 2, u8::try_from(text.len()).unwrap()][..], text.as_bytes()].concat();
    let part = |number: u8, bytes: &[u8]| [&[number << 3 | 2, u8::try_from(bytes.len()).unwrap()][..], bytes].concat();
    let spec = [text(1, "me"), vec![4 << 3, 0x90, 0x1c]].concat(); // 3600 seconds
    let envelope = [text(1, "authentication.k8s.io/v1"), text(2, "TokenRequest")].concat();
    let body = [b"k8s\0".to_vec(), part(1, &envelope), part(2, &[part(1, &[]), part(2, &spec), part(3, &[])].concat())].concat();
    let mut request = Request::new(lockgate_sim::Method::Post, &format!("{ACCOUNTS}/a/token"));
    request.content_type = "application/vnd.kubernetes.protobuf".to_owned();
    request.body = body;
    assert_eq!(api().ok(&request)["spec"], json!({"audiences": ["me"], "expirationSeconds": 3600, "boundObjectRef": null}));
}

#[test]
fn refusals_are_those_of_a_real_server() {
    let mut api = api();
    let mut refused = |name: &str, body: &Value| {
        let (status, answer) = api.send(&Request::post(&format!("{ACCOUNTS}/{name}/token"), body));
        (status, answer["message"].as_str().unwrap_or_default().to_owned())
    };
    let bound = |kind: &str| json!({"spec": {"boundObjectRef": {"kind": kind, "apiVersion": "v1", "name": "nope"}}});
    for (name, body, status, message) in [
        ("nope", json!({"spec": {}}), 404, "serviceaccounts \"nope\" not found"),
        ("a", bound("Pod"), 404, "pods \"nope\" not found"),
        ("a", bound("ConfigMap"), 400, "cannot bind token to object of type /v1, Kind=ConfigMap"),
        (
            "a",
            json!({"spec": {"expirationSeconds": 10}}),
            422,
            "TokenRequest.authentication.k8s.io \"\" is invalid: spec.expirationSeconds: Invalid value: 10: may not specify a duration less than 10 minutes",
        ),
        (
            "a",
            json!({"metadata": {"name": "b"}, "spec": {}}),
            422,
            "TokenRequest.authentication.k8s.io \"a\" is invalid: metadata.name: Invalid value: \"b\": must match the service account name if specified",
        ),
    ] {
        assert_eq!(refused(name, &body), (status, message.to_owned()), "{body}");
    }
    assert_eq!(api.send(&Request::get(&format!("{ACCOUNTS}/a/token"))).0, 405);
}
