//! Logs and commands of containers: what a Model document says, and the refusals of a real server.
//!
//! `streams.json` holds what kube-apiserver v1.36.4 answered, with the pods of [`PODS`] on a node that has no kubelet.

use lockgate_sim::fixture::Fixture;
use lockgate_sim::json::{Value, json};
use lockgate_sim::{Body, Cluster, Exec, LogFollow, LogPoll, Options, Request};

use super::support::Api;

const CLUSTER: &str = r#"
apiVersion: v1
kind: Node
metadata: {name: n1}
---
apiVersion: v1
kind: Pod
metadata: {name: one, namespace: x}
spec: {containers: [{name: a, image: i}]}
---
apiVersion: v1
kind: Pod
metadata: {name: two, namespace: x}
spec: {initContainers: [{name: i, image: i}], containers: [{name: a, image: i}, {name: b, image: i}]}
---
apiVersion: v1
kind: Pod
metadata: {name: homeless, namespace: x}
spec: {nodeSelector: {no: where}, containers: [{name: a, image: i}]}
---
apiVersion: v1
kind: Pod
metadata: {name: pulling, namespace: x}
spec: {containers: [{name: a, image: nowhere}]}
---
apiVersion: lockgate.dev/v1
kind: Model
images:
- {match: nowhere, never_pulls: true, why: a test}
- {match: crashing, crash: {after: 5s}, why: a test}
logs:
- match: {pod: {name: one}}
  answer: {text: "one\ntwo\n", lines: [{after: 5h, text: three}, {after: 6h, text: "vier: ä"}]}
  why: a test
- {match: {pod: {name: crashing}, previous: true}, answer: {text: "the run before\n"}, why: a test}
- {match: {pod: {name: crashing}, previous: false}, answer: {text: "this run\n"}, why: a test}
exec:
- {match: {command: "echo *"}, answer: {stdout: "first\n"}, why: a test}
- {match: {command: "echo *", container: b}, answer: {stderr: "no\n", code: 7, takes: 3s}, why: a test}
"#;

fn api() -> Api {
    Api(Fixture::parse("cluster.yaml", CLUSTER).unwrap().cluster(Options::default()).unwrap())
}

fn path(of: &str) -> Request {
    let (path, query) = of.split_once('?').unwrap_or((of, ""));
    let mut request = Request::get(&format!("/api/v1/namespaces/x/pods/{path}"));
    request.query = query.split('&').filter_map(|pair| pair.split_once('=')).map(|(name, value)| (name.into(), value.into())).collect();
    request
}

fn log(api: &mut Api, of: &str) -> String {
    let (code, text) = api.send(&path(of));
    assert_eq!(code, 200, "{of}: {text}");
    text.as_str().unwrap().to_owned()
}

#[test]
fn refusals_are_those_of_a_real_server() {
    let rows: Vec<Value> = serde_json::from_str(include_str!("streams.json")).unwrap();
    assert!(rows.len() > 20);
    let mut api = api();
    for row in &rows {
        let asked = row["get"].as_str().unwrap();
        let (code, answer) = api.send(&path(asked.strip_prefix("/api/v1/namespaces/x/pods/").unwrap()));
        let answer = if answer == json!("") { Value::Null } else { answer };
        assert_eq!((&json!(code), &answer), (&row["code"], &row["answer"]), "{asked}");
    }
}

#[test]
fn a_log_has_the_lines_that_are_written_by_now() {
    let mut api = api();
    assert_eq!(log(&mut api, "one/log"), "one\ntwo\n");
    api.advance(5 * 3600);
    assert_eq!(log(&mut api, "one/log"), "one\ntwo\nthree\n");
    assert_eq!(log(&mut api, "one/log?tailLines=1"), "three\n");
    assert_eq!(log(&mut api, "one/log?tailLines=0"), "");
    assert_eq!(log(&mut api, "one/log?sinceSeconds=3600"), "three\n");
    assert_eq!(log(&mut api, "one/log?sinceTime=2001-02-03T00:00:00Z&limitBytes=5"), "one\nt");
    assert_eq!(log(&mut api, "one/log?sinceTime=2031-02-03T00:00:00Z"), "");
    let stamped = log(&mut api, "one/log?timestamps=true&tailLines=2");
    let started = api.get("/api/v1/namespaces/x/pods/one")["status"]["containerStatuses"][0]["state"]["running"]["startedAt"].clone();
    let started = started.as_str().unwrap().trim_end_matches('Z').to_owned();
    let (second, third) = stamped.split_once('\n').unwrap();
    assert_eq!(second, format!("{started}.000000000Z two"));
    assert!(third.ends_with(".000000000Z three\n") && third > started.as_str(), "{stamped}");
    api.advance(3600);
    // Half a character is left out.
    assert_eq!(log(&mut api, "one/log?tailLines=1&limitBytes=7"), "vier: ");
}

#[test]
fn runs_of_a_container_have_logs_of_their_own() {
    let mut api = api();
    let pod = json!({"metadata": {"name": "crashing"}, "spec": {"containers": [{"name": "a", "image": "crashing"}]}});
    api.ok(&Request::post("/api/v1/namespaces/x/pods", &pod));
    let (code, _, text) = api.fails(&path("crashing/log"));
    assert_eq!((code, text.as_str()), (400, "container \"a\" in pod \"crashing\" is waiting to start: ContainerCreating"));
    api.advance(14);
    assert_eq!(log(&mut api, "crashing/log"), "this run\n");
    let (code, reason, text) = api.fails(&path("crashing/log?previous=true"));
    assert_eq!((code, reason.as_str()), (400, "BadRequest"), "{text}");
    assert_eq!(text, "previous terminated container \"a\" in pod \"crashing\" not found");
    api.advance(30);
    assert_eq!(log(&mut api, "crashing/log"), "this run\n");
    assert_eq!(log(&mut api, "crashing/log?previous=true"), "the run before\n");
    let (code, _, text) = api.fails(&path("pulling/log"));
    assert_eq!((code, text.as_str()), (400, "container \"a\" in pod \"pulling\" is waiting to start: trying and failing to pull image"));
}

#[test]
fn a_log_without_a_model_is_refused_by_name() {
    let (code, reason, text) = api().fails(&path("two/log?container=b"));
    assert_eq!((code, reason.as_str()), (501, "NotImplemented"));
    assert_eq!(text, "simulator: not modelled: the log of container b of pod x/two: no `logs` entry of a Model document is about it");
}

fn follow(cluster: &mut Cluster, of: &str) -> LogFollow {
    match cluster.handle(&path(of)).body {
        Body::Log(follow) => (*follow).clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_followed_log_goes_on_until_its_container_ends() {
    let mut api = api();
    let mut one = follow(&mut api.0, "one/log?follow=true&tailLines=1");
    assert_eq!(api.0.poll_log(&mut one), LogPoll::Text("two\n".to_owned()));
    let LogPoll::Pending(Some(next)) = api.0.poll_log(&mut one) else { panic!("a line is to come") };
    assert!(api.0.advance_to(next));
    assert_eq!(api.0.poll_log(&mut one), LogPoll::Text("three\n".to_owned()));
    let mut short = follow(&mut api.0, "one/log?follow=true&limitBytes=2");
    assert_eq!(api.0.poll_log(&mut short), LogPoll::Text("on".to_owned()));
    assert_eq!(api.0.poll_log(&mut short), LogPoll::Closed);
    let mut delete = Request::delete("/api/v1/namespaces/x/pods/one");
    delete.query.push(("gracePeriodSeconds".into(), "0".into()));
    api.ok(&delete);
    assert_eq!(api.0.poll_log(&mut one), LogPoll::Closed);
}

/// A command that is allowed to become a stream.
fn run(api: &mut Api, of: &str) -> Exec {
    let mut request = path(of);
    request.upgrade = "websocket".to_owned();
    let response = api.0.handle(&request);
    match response.body {
        Body::Exec(exec) if response.status == 101 => (*exec).clone(),
        other => panic!("{of}: {other:?}"),
    }
}

#[test]
fn a_command_does_what_its_model_says() {
    let mut api = api();
    let exec = run(&mut api, "one/exec?command=echo&command=a+b&stdout=true&stderr=true");
    let ran = exec.outcome.as_ref().unwrap();
    assert_eq!((ran.stdout.as_str(), ran.code, ran.ends_at), ("first\n", 0, api.0.now()));
    assert_eq!(exec.status(), json!({"metadata": {}, "status": "Success"}));
    let exec = run(&mut api, "two/exec?command=echo&command=a&container=b&stderr=true&tty=true&stdout=true");
    let ran = exec.outcome.as_ref().unwrap();
    assert_eq!((ran.stderr.as_str(), ran.code, exec.stderr), ("no\n", 7, false));
    assert_eq!(ran.ends_at.duration_since(api.0.now()).as_secs(), 3);
    // The words of a kubelet with containerd.
    assert_eq!(
        exec.status(),
        json!({"metadata": {}, "status": "Failure", "reason": "NonZeroExitCode",
            "message": "command terminated with non-zero exit code: command terminated with exit code 7",
            "details": {"causes": [{"reason": "ExitCode", "message": "7"}]}})
    );
}

#[test]
fn a_command_that_cannot_run_says_why_on_the_stream() {
    let mut api = api();
    for (of, code, text) in [
        (
            "one/exec?command=rm&stdout=true",
            501,
            "simulator: not modelled: `rm` in container a of pod x/one: no `exec` entry of a Model document is about it",
        ),
        (
            "pulling/exec?command=echo&stdout=true",
            500,
            "Internal error occurred: unable to upgrade connection: container not found (\"a\")",
        ),
        (
            "two/exec?command=echo&container=i&stdout=true",
            500,
            "Internal error occurred: unable to upgrade connection: container not found (\"i\")",
        ),
        (
            "one/exec?command=echo",
            500,
            "Internal error occurred: unable to upgrade connection: you must specify at least 1 of stdin, stdout, stderr",
        ),
    ] {
        let status = run(&mut api, of).status();
        assert_eq!((&status["code"], &status["message"], &status["status"]), (&json!(code), &json!(text), &json!("Failure")), "{of}");
    }
    let mut old = path("one/exec?command=echo&stdout=true");
    for (upgrade, expected) in [("SPDY/3.1", 101), ("spdy/3.1", 101), ("SPDY/2", 501), ("h2c", 501)] {
        old.upgrade = upgrade.to_owned();
        assert_eq!(api.0.handle(&old).status, expected, "{upgrade}");
    }
}
