//! The acceptance list of exec (`reference/primitives.md` 2.8), each case by its name. Containers run nothing in a simulated cluster, nor in
//! one whose kubelets are KWOK: what a command gives is a model's, and how it gets here is what is tested.

use lockgate::base::{Error, Kind, Reason};
use lockgate::cluster::Verb;
use lockgate_sim::faults::{Action, Match, Rule};
use lockgate_sim::json::{Value as Json, json};
use lockgate_sim::model::{ExecAnswer, ExecMatch, ExecModel, ModelDocument};

use super::support::Rig;

const TOOL: &str = r#"---
apiVersion: v1
kind: Pod
metadata: { name: tool }
spec: { nodeName: w1, containers: [{ name: tool, image: "registry.example/tool:v1" }] }
"#;

/// A pod in which `run` gives this.
fn rig(answer: ExecAnswer) -> Rig {
    let commands = ExecMatch { command: Some("run*".to_owned()), ..ExecMatch::default() };
    let exec = vec![ExecModel { commands, answer, why: "a test".to_owned() }];
    let rig = Rig::also(TOOL, |sim| sim.models_mut().extend(ModelDocument { exec, ..ModelDocument::default() }));
    rig.call("wait_for", json!(["pod/tool", "Ready"]), json!({})).unwrap();
    rig
}

fn run(rig: &Rig, options: Json) -> Json {
    rig.value("exec", json!(["pod/tool", ["run"]]), options)
}

fn fails(rig: &Rig, options: Json) -> Error {
    rig.error("exec", json!(["pod/tool", ["run"]]), options)
}

/// Something goes wrong with the stream.
fn disturbed(answer: ExecAnswer, action: Action) -> Rig {
    let rig = rig(answer);
    let when = Match { subresource: Some("exec".to_owned()), nth: Some(1), ..Match::default() };
    rig.sim(|sim| sim.add_fault(Rule { when, action }));
    rig
}

fn says(stdout: &str) -> ExecAnswer {
    ExecAnswer { stdout: stdout.to_owned(), ..ExecAnswer::default() }
}

#[test]
fn exit_codes_are_told_and_those_of_signals_too() {
    // 126 and 127 by the convention of shells, 128 and the signal's number for what was killed: HUP, INT, KILL, SEGV, TERM.
    for code in [0_u8, 1, 2, 126, 127, 129, 130, 137, 139, 143, 255] {
        let rig = rig(ExecAnswer { code, ..says("said") });
        let value = run(&rig, json!({}));
        assert_eq!((value["code"].as_i64(), value["stdout"].as_str()), (Some(i64::from(code)), Some("said")));
        let checked = rig.call("exec", json!(["pod/tool", ["run"]]), json!({ "check": true }));
        match code {
            0 => assert_eq!(checked.unwrap().value.into_json()["code"], 0),
            _ => {
                let error = checked.unwrap_err();
                assert_eq!(
                    (error.kind, error.reason, error.details["code"].as_i64()),
                    (Kind::Cluster, Reason::CommandFailed, Some(i64::from(code)))
                );
                assert!(error.message.ends_with(&format!("`run` ended with code {code}")), "{error}");
            }
        }
    }
}

#[test]
fn ten_mebibytes_of_output_are_read_to_their_end_and_the_first_is_kept() {
    let rig = rig(says(&"0123456789abcde\n".repeat(10 << 16)));
    let value = run(&rig, json!({}));
    let text = value["stdout"].as_str().unwrap();
    assert_eq!((text.len(), value["truncated"].as_bool(), value["code"].as_i64()), (1 << 20, Some(true), Some(0)));
    assert!(text.starts_with("0123456789abcde\n0123"));
}

#[test]
fn both_outputs_are_kept_apart() {
    let value = run(&rig(ExecAnswer { stderr: "a warning\n".to_owned(), ..says("a result\n") }), json!({}));
    assert_eq!((value["stdout"].as_str(), value["stderr"].as_str()), (Some("a result\n"), Some("a warning\n")));
}

#[test]
fn standard_input_has_an_end() {
    let cat = ExecAnswer { echo: true, ..ExecAnswer::default() };
    let rig = rig(cat);
    let long = "a line that is sent\n".repeat(5000);
    assert_eq!(run(&rig, json!({ "stdin": long }))["stdout"], long.as_str());
    assert_eq!(run(&rig, json!({ "stdin": "" }))["stdout"], "", "an empty input ends too");
    assert_eq!(run(&rig, json!({}))["stdout"], "", "without one there is nothing to wait for");
}

#[test]
fn standard_input_may_become_objects() {
    let effect = serde_saphyr::from_str("[{input: {}}]").unwrap();
    let rig = rig(ExecAnswer { effect, takes: serde_saphyr::from_str("20s").unwrap(), ..says("applied\n") });
    let document = "{apiVersion: v1, kind: ConfigMap, metadata: {name: made, namespace: shop}, data: {a: b}}";
    let value = run(&rig, json!({ "stdin": document }));
    assert_eq!((value["code"].as_i64(), value["stdout"].as_str()), (Some(0), Some("applied\n")));
    assert_eq!(rig.value("get", json!(["configmap/shop/made"]), json!({}))["data"]["a"], "b");
    let value = run(&rig, json!({ "stdin": "kind: Thing" }));
    let told = (value["code"].as_i64(), value["stdout"].as_str(), value["stderr"].as_str());
    assert_eq!(told, (Some(1), Some(""), Some("a document has no `kind` or no `metadata.name`\n")));
    assert_eq!(run(&rig, json!({}))["stderr"], "no resources specified\n", "none is an empty one");
}

#[test]
fn a_command_that_leaves_its_input_unread_ends_all_the_same() {
    let value = run(&rig(ExecAnswer { code: 1, ..says("no\n") }), json!({ "stdin": "x".repeat(4 << 20) }));
    assert_eq!((value["code"].as_i64(), value["stdout"].as_str()), (Some(1), Some("no\n")));
}

#[test]
fn a_letter_that_lies_in_two_messages_is_one_letter() {
    // Messages are of 32 KiB: with one byte before them, a letter of two bytes lies on the border.
    let text = format!("x{}", "\u{e9}".repeat(40_000));
    assert_eq!(run(&rig(says(&text)), json!({}))["stdout"], text.as_str());
}

#[test]
fn a_time_limit_ends_the_waiting_and_says_that_nobody_knows() {
    let slow = || ExecAnswer { takes: serde_saphyr::from_str("5m").unwrap(), ..says("done\n") };
    let rig = rig(slow());
    let begun = rig.cx().now();
    let error = fails(&rig, json!({ "timeout": "20s" }));
    assert_eq!((error.reason, &error.details["outcome"]), (Reason::Timeout, &json!("unknown")), "{error}");
    assert_eq!(lockgate::base::Span::between(begun, rig.cx().now()).to_string(), "20s");
    assert!(error.message.starts_with("running `run` in `pod/tool`: no answer from"), "{error}");
    assert_eq!(rig.requests(Verb::Create, "pods"), 1);
    assert_eq!(run(&rig, json!({ "timeout": "6m" }))["stdout"], "done\n");
}

#[test]
fn a_connection_that_is_cut_midway_is_no_success_and_is_told_at_once() {
    // 4 bytes are through, and of the status none.
    let rig = disturbed(says("some"), Action::Truncate(10));
    let begun = rig.cx().now();
    let error = fails(&rig, json!({ "timeout": "1h" }));
    assert_eq!((error.kind, error.reason, &error.details["outcome"]), (Kind::Cluster, Reason::Unreachable, &json!("unknown")), "{error}");
    assert!(error.to_string().contains("the stream ended without a status of the command"), "{error}");
    assert_eq!(rig.cx().now(), begun, "nobody waits for a connection that is gone");
    assert_eq!((rig.requests(Verb::Create, "pods"), rig.sim(|sim| sim.ledger().len())), (1, 1), "it ran, and is not begun again");
}

#[test]
fn a_kubelet_that_says_nothing_more_is_waited_for_until_the_limit() {
    let error = fails(&disturbed(says("some"), Action::Stall(10)), json!({ "timeout": "30s" }));
    assert_eq!((error.reason, &error.details["outcome"]), (Reason::Timeout, &json!("unknown")), "{error}");
}

#[test]
fn what_only_reads_is_run_anew() {
    let rig = disturbed(says("some"), Action::Truncate(10));
    assert_eq!(run(&rig, json!({ "read": true }))["stdout"], "some");
    assert_eq!(rig.requests(Verb::Create, "pods"), 2);
}

#[test]
fn what_was_not_begun_is_sent_again() {
    let busy = lockgate_sim::faults::Failure { code: 429, reason: None, message: None, retry_after: Some(7), causes: Vec::new() };
    for (action, seconds) in [(Action::Fail(busy), 7.0), (Action::Refuse, 0.1)] {
        let rig = disturbed(says("some"), action);
        let begun = rig.cx().now();
        assert_eq!(run(&rig, json!({}))["stdout"], "some");
        assert!(rig.cx().now().duration_since(begun).as_secs_f64() >= seconds);
        assert_eq!(rig.sim(|sim| sim.ledger().len()), 1, "it ran once");
    }
}

#[test]
fn a_container_that_does_not_run_is_told_before_anything_is_sent() {
    let rig = Rig::with(|sim| sim.models_mut().never_pulls("*tool*"));
    let tool = json!({ "containers": [{ "name": "tool", "image": "registry.example/tool:v1" }], "nodeName": "w1" });
    rig.value("create", json!([{ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "tool" }, "spec": tool }]), json!({}));
    rig.error("wait_for", json!(["pod/tool", "Ready"]), json!({ "stall": "1m" }));
    let error = fails(&rig, json!({}));
    assert_eq!((error.kind, error.reason, error.object.as_deref()), (Kind::Cluster, Reason::NotReady, Some("pod/default/tool")));
    let waits = error.message.strip_prefix("running a command in `pod/tool`: container `tool` does not run: it waits: ");
    assert!(waits.is_some_and(|why| why.starts_with("ImagePullBackOff") || why.starts_with("ErrImagePull")), "{error}");
    assert_eq!(error.hint.as_deref(), Some("wait for it: `wait_for(\"pod/default/tool\", \"Ready\")`"));
    assert_eq!(rig.requests(Verb::Create, "pods"), 1, "the pod itself");
}

#[test]
fn logs_of_a_deployment_with_three_pods_are_three() {
    let model =
        "---\napiVersion: lockgate.dev/v1\nkind: Model\nlogs: [{ match: { container: web }, answer: { text: \"one\\n\" }, why: a test }]\n";
    let rig = Rig::also(model, |_| {});
    rig.call("scale", json!(["deployment/web", 3]), json!({ "force_hpa": true })).unwrap();
    rig.call("wait_rollout", json!(["deployment/web"]), json!({})).unwrap();
    let logs = rig.value("logs", json!(["deployment/web"]), json!({}));
    assert_eq!(logs.as_array().map(|logs| logs.iter().filter(|log| log["text"] == "one\n").count()), Some(3), "{logs}");
}
