//! exec and logs.

use lockgate::base::{Kind, Reason};
use lockgate::cluster::Verb;
use lockgate::primitives::Inverse;
use lockgate_sim::faults::{Action, Failure, Match, Rule};
use lockgate_sim::json::{Value, json};

use super::support::Rig;

const MODEL: &str = r#"---
apiVersion: v1
kind: Pod
metadata: { name: tool, annotations: { kubectl.kubernetes.io/default-container: tool } }
spec:
  nodeName: w1
  containers:
    - { name: side, image: "registry.example/side:v1" }
    - { name: tool, image: "registry.example/tool:v1" }
---
apiVersion: batch/v1
kind: Job
metadata: { name: once }
spec:
  template:
    spec:
      restartPolicy: Never
      containers: [{ name: once, image: "registry.example/once:v1" }]
---
apiVersion: lockgate.dev/v1
kind: Model
exec:
- { match: { command: "hostname" }, answer: { stdout: "tool\n", stderr: "a warning\n" }, why: a test }
- { match: { command: "fails *" }, answer: { stdout: "some", stderr: "no such pool\n", code: 2 }, why: a test }
- { match: { command: "killed" }, answer: { code: 137 }, why: a test }
- { match: { command: "cat" }, answer: { echo: true }, why: a test }
- { match: { command: "where" , container: side }, answer: { stdout: side }, why: a test }
- { match: { command: "where" , container: tool }, answer: { stdout: tool }, why: a test }
- { match: { command: "slow" }, answer: { takes: 5m }, why: a test }
logs:
- { match: { container: "*" }, answer: { text: "first\nsecond\nthird\n", lines: [{ after: 1h, text: late }] }, why: a test }
"#;

fn rig() -> Rig {
    let rig = Rig::also(MODEL, |_| {});
    rig.call("wait_for", json!(["pod/tool", "Ready"]), json!({})).unwrap();
    rig
}

fn exec(rig: &Rig, argv: Value, options: Value) -> Value {
    rig.value("exec", json!(["pod/tool", argv]), options)
}

#[test]
fn a_command_gives_code_and_both_outputs() {
    let rig = rig();
    let done = rig.call("exec", json!(["pod/tool", ["hostname"]]), json!({})).unwrap();
    assert_eq!(done.value.clone().into_json(), json!({ "code": 0, "stdout": "tool\n", "stderr": "a warning\n", "truncated": false }));
    assert_eq!((done.wrote[0].verb.as_str(), done.wrote[0].target.as_str()), ("exec", "hostname in pod/tool"));
    assert!(matches!(&done.wrote[0].inverse, Inverse::Irreversible(_)));
    assert_eq!(exec(&rig, json!(["cat"]), json!({ "stdin": "a\nb" }))["stdout"], "a\nb");
}

#[test]
fn a_code_is_an_error_only_when_asked() {
    let rig = rig();
    let value = exec(&rig, json!(["fails", "so"]), json!({}));
    assert_eq!((&value["code"], &value["stderr"]), (&json!(2), &json!("no such pool\n")));
    let error = rig.error("exec", json!(["pod/tool", ["fails", "so"]]), json!({ "check": true }));
    assert_eq!((error.kind, error.reason), (Kind::Cluster, Reason::CommandFailed));
    assert_eq!(error.message, "running a command in `pod/tool`: `fails so` ended with code 2");
    assert_eq!((error.causes.as_slice(), &error.details["code"]), (&["no such pool".to_owned()][..], &json!(2)));
    assert_eq!(rig.operator.told.borrow().len(), 1, "it ran, and the record knows");
    let error = rig.error("exec", json!(["pod/tool", ["killed"]]), json!({ "check": true }));
    assert_eq!(error.hint.as_deref(), Some("code 137: it was killed, perhaps for want of memory"));
}

#[test]
fn the_pods_own_default_container_is_meant() {
    let rig = rig();
    assert_eq!(exec(&rig, json!(["where"]), json!({}))["stdout"], "tool");
    assert_eq!(exec(&rig, json!(["where"]), json!({ "container": "side" }))["stdout"], "side");
    let error = rig.error("exec", json!(["pod/tool", ["where"]]), json!({ "container": "sid" }));
    assert_eq!(error.reason, Reason::NotFound);
    assert_eq!(error.message, "running a command in `pod/tool`: it has no container `sid`");
    assert_eq!(error.hint.as_deref(), Some("did you mean `side`? it has `side` and `tool`"));
}

#[test]
fn bad_calls_are_refused_before_anything_is_contacted() {
    let rig = Rig::new();
    for (arguments, options, says) in [
        (json!(["pod/tool", []]), json!({}), "names no program"),
        (json!(["pod/tool", [""]]), json!({}), "names no program"),
        (json!(["pod/tool", "ls -l"]), json!({}), "`exec`: argument `argv` must be a list of strings, got"),
        (json!(["pod/tool", ["ls"]]), json!({ "timeout": 0 }), "option `timeout` is 0"),
        (json!(["pod/tool", ["ls"]]), json!({ "tty": true }), "no option `tty`"),
    ] {
        let error = rig.error("exec", arguments, options);
        assert_eq!((error.kind, error.reason), (Kind::Input, Reason::Usage), "{error}");
        assert!(error.message.contains(says), "{}", error.message);
    }
    assert_eq!(rig.error("logs", json!(["pod/tool"]), json!({ "since": 0 })).reason, Reason::Usage);
    assert_eq!(rig.cluster.requests().len(), 0);
    for (verb, arguments) in [("exec", json!(["deployment/web", ["ls"]])), ("logs", json!(["service/web"]))] {
        let error = rig.error(verb, arguments, json!({}));
        assert_eq!((error.kind, error.reason), (Kind::Input, Reason::Unsupported), "{verb}");
    }
}

#[test]
fn what_has_ended_or_is_not_there_runs_nothing() {
    let rig = rig();
    rig.call("wait_for", json!(["job/once", "Complete"]), json!({})).unwrap();
    let pods = rig.value("list", json!(["pods"]), json!({ "labels": "batch.kubernetes.io/job-name=once" }));
    let pod = format!("pod/{}", pods[0]["metadata"]["name"].as_str().unwrap());
    let error = rig.error("exec", json!([pod, ["hostname"]]), json!({}));
    assert_eq!((error.reason, error.message.ends_with("it has ended (Succeeded)")), (Reason::Precondition, true));
    assert_eq!(rig.error("exec", json!(["pod/tol", ["hostname"]]), json!({})).hint.as_deref(), Some("did you mean `pod/tool`?"));
    assert_eq!(rig.requests(Verb::Create, "pods"), 0);
}

#[test]
fn nobody_knows_what_an_unmodelled_command_does() {
    let rig = rig();
    let error = rig.error("exec", json!(["pod/tool", ["rm", "-rf", "/"]]), json!({}));
    assert_eq!(error.reason, Reason::Unmodelled, "{error}");
}

#[test]
fn a_command_that_takes_too_long_has_an_unknown_outcome_and_is_not_started_again() {
    let rig = rig();
    let error = rig.error("exec", json!(["pod/tool", ["slow"]]), json!({}));
    assert_eq!((error.reason, &error.details["outcome"]), (Reason::Timeout, &json!("unknown")));
    assert_eq!(rig.requests(Verb::Create, "pods"), 1);
    exec(&rig, json!(["slow"]), json!({ "timeout": "10m" }));
}

#[test]
fn a_lost_connection_is_no_success() {
    let rig = rig();
    rig.sim(|sim| {
        sim.add_fault(Rule {
            when: Match { kind: Some("Pod".into()), subresource: Some("exec".into()), ..Match::default() },
            action: Action::LostBefore,
        });
    });
    let error = rig.error("exec", json!(["pod/tool", ["hostname"]]), json!({}));
    assert_eq!((error.reason, &error.details["outcome"]), (Reason::Unreachable, &json!("unknown")), "{error}");
    assert_eq!(rig.sim(|sim| sim.faults().fired()), [1]);
}

#[test]
fn a_program_that_is_not_there_is_told_apart_from_a_server_that_fails() {
    let said = "error executing command in container: exec: \"sh\": executable file not found in $PATH: unknown";
    for (message, reason) in [(said, Reason::CommandMissing), ("etcd is slow", Reason::Unreachable)] {
        let rig = rig();
        rig.sim(|sim| {
            let failure = Failure { code: 500, reason: None, message: Some(message.to_owned()), retry_after: None, causes: Vec::new() };
            let when = Match { kind: Some("Pod".into()), subresource: Some("exec".into()), ..Match::default() };
            sim.add_fault(Rule { when, action: Action::Fail(failure) });
        });
        let error = rig.error("exec", json!(["pod/tool", ["sh", "-c", "ls"]]), json!({}));
        assert_eq!(error.reason, reason, "{error}");
        assert_eq!(rig.requests(Verb::Create, "pods"), 1, "a command is never sent twice");
    }
}

#[test]
fn a_command_that_only_reads_passes_where_only_reads_are_allowed() {
    let rig = rig();
    rig.read_only();
    let error = rig.error("exec", json!(["pod/tool", ["hostname"]]), json!({}));
    assert_eq!((error.kind, error.reason), (Kind::Refused, Reason::Refused));
    let done = rig.call("exec", json!(["pod/tool", ["hostname"]]), json!({ "read": true })).unwrap();
    assert_eq!(done.wrote, []);
    let error = rig.error("exec", json!(["pod/tool", ["hostname"]]), json!({ "read": false }));
    assert_eq!(error.reason, Reason::Refused, "the leave ended with its call");
}

#[test]
fn logs_of_all_containers_of_all_pods() {
    let rig = rig();
    let logs = rig.value("logs", json!(["deployment/web"]), json!({}));
    let pods: Vec<&str> = logs.as_array().unwrap().iter().map(|log| log["pod"].as_str().unwrap()).collect();
    assert_eq!(pods.len(), 2);
    assert!(pods[0] < pods[1] && pods[0].starts_with("web-"), "{pods:?}");
    assert_eq!((&logs[0]["container"], &logs[0]["text"]), (&json!("web"), &json!("first\nsecond\nthird\n")));
    let logs = rig.value("logs", json!(["pod/tool"]), json!({ "tail": 1 }));
    let told: Vec<(&str, &str)> =
        logs.as_array().unwrap().iter().map(|log| (log["container"].as_str().unwrap(), log["text"].as_str().unwrap())).collect();
    assert_eq!(told, [("side", "third\n"), ("tool", "third\n")]);
    let named = rig.value("logs", json!(["daemonset/agent"]), json!({ "container": "setup" }));
    assert_eq!(named.as_array().unwrap().len(), 3, "an init container, by its name");
    rig.call("wait_for", json!(["job/once", "Complete"]), json!({})).unwrap();
    assert_eq!(rig.value("logs", json!(["job/once"]), json!({}))[0]["text"], "first\nsecond\nthird\n");
}

#[test]
fn recent_lines_only() {
    let rig = rig();
    rig.call("wait_for", json!(["deployment/web", "Available"]), json!({ "stable": "65m", "timeout": "2h" })).unwrap();
    let logs = rig.value("logs", json!(["pod/tool"]), json!({ "container": "tool", "since": "30m" }));
    assert_eq!(logs, json!([{ "pod": "tool", "container": "tool", "text": "late\n" }]));
}

#[test]
fn what_was_written_before_a_restart() {
    let rig = rig();
    assert_eq!(rig.value("logs", json!(["pod/tool"]), json!({ "previous": true })), json!([]), "nothing was started again");
    let rig = Rig::also(MODEL, |sim| {
        let labels = [("app".to_owned(), "web".to_owned())].into();
        sim.models_mut().crashes(lockgate_sim::model::PodMatch { labels, ..Default::default() });
    });
    rig.call("set_image", json!(["deployment/web", { "web": "registry.example/web:v2" }]), json!({})).unwrap();
    rig.error("wait_rollout", json!(["deployment/web"]), json!({}));
    let logs = rig.value("logs", json!(["deployment/web"]), json!({ "previous": true }));
    assert!(!logs.as_array().unwrap().is_empty() && logs[0]["text"] == "first\nsecond\nthird\n", "{logs}");
}

#[test]
fn what_has_not_started_has_written_nothing() {
    let rig = Rig::also(MODEL, |sim| sim.models_mut().never_pulls("*:v2"));
    rig.call("set_image", json!(["deployment/web", { "web": "registry.example/web:v2" }]), json!({})).unwrap();
    rig.error("wait_rollout", json!(["deployment/web"]), json!({}));
    let logs = rig.value("logs", json!(["deployment/web"]), json!({}));
    let texts: Vec<&str> = logs.as_array().unwrap().iter().map(|log| log["text"].as_str().unwrap()).collect();
    assert!(texts.contains(&"") && texts.contains(&"first\nsecond\nthird\n"), "{texts:?}");
}

#[test]
fn a_log_that_nobody_models_is_unmodelled() {
    let rig = Rig::new();
    let error = rig.error("logs", json!(["deployment/web"]), json!({}));
    assert_eq!(error.reason, Reason::Unmodelled, "{error}");
}
