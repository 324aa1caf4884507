//! Commands in containers and their logs, as the models tell them.

use lockgate_sim::json::Value;
use lockgate_sim::{Body, Exec, LogPoll, Request};

use super::support::Sim;

const FIXTURE: &str = r#"
apiVersion: v1
kind: Node
metadata: {name: n1}
---
apiVersion: v1
kind: Pod
metadata: {name: one, namespace: shop, labels: {app: one}}
spec: {containers: [{name: a, image: "registry.example/a:v1"}]}
---
apiVersion: v1
kind: Pod
metadata: {name: two, namespace: shop}
spec:
  initContainers: [{name: i, image: "registry.example/a:v1"}]
  containers: [{name: a, image: "registry.example/a:v1"}, {name: b, image: "registry.example/crash:v1"}]
---
apiVersion: v1
kind: Pod
metadata: {name: nohost, namespace: shop}
spec: {nodeSelector: {zone: nowhere}, containers: [{name: a, image: "registry.example/a:v1"}]}
---
apiVersion: v1
kind: Pod
metadata: {name: nopull, namespace: shop}
spec: {containers: [{name: a, image: "registry.example/bad:v1"}]}
---
apiVersion: lockgate.dev/v1
kind: Model
images:
- {match: "*/bad:*", never_pulls: true, why: a test}
- {match: "*/crash:*", crash: {after: 5s, exit_code: 3}, why: a test}
exec:
- {match: {}, answer: {stdout: "any\n"}, why: what an earlier entry says}
- {match: {command: "cat /etc/hostname"}, answer: {stdout: "one\n"}, why: a test}
- {match: {container: a, command: "false*"}, answer: {stderr: "no\n", code: 7, takes: 30s}, why: a test}
- {match: {command: "cat"}, answer: {echo: true}, why: a test}
logs:
- match: {container: a}
  answer: {text: "begun\nready", lines: [{after: 1m, text: late}, {after: 2h, text: later}]}
  why: a test
- {match: {container: b, previous: true}, answer: {text: "the end of b"}, why: a test}
"#;

fn sim() -> Sim {
    Sim::new(FIXTURE)
}

fn pod(rest: &str) -> Request {
    Request::get(&format!("/api/v1/namespaces/shop/pods/{rest}"))
}

fn exec(sim: &mut Sim, target: &str, command: &[&str]) -> Exec {
    let mut request = pod(target).with_query("stdout", "true").with_query("stderr", "true").with_upgrade("websocket");
    for word in command {
        request = request.with_query("command", word);
    }
    let response = sim.0.handle(&request);
    match response.body {
        Body::Exec(exec) => {
            assert_eq!(response.status, 101);
            (*exec).clone()
        }
        other => panic!("{other:?}"),
    }
}

fn refused(sim: &mut Sim, request: &Request) -> (u16, String) {
    match sim.0.handle(request).body {
        Body::Json(status) => {
            (u16::try_from(status["code"].as_u64().unwrap()).unwrap(), status["message"].as_str().unwrap_or_default().to_owned())
        }
        other => panic!("{other:?}"),
    }
}

fn log(sim: &mut Sim, target: &str) -> String {
    let response = sim.0.handle(&pod(target));
    match response.body {
        Body::Text(text) => text,
        other => panic!("{target}: {} {other:?}", response.status),
    }
}

#[test]
fn the_last_entry_about_a_command_answers() {
    let mut sim = sim();
    let ran = exec(&mut sim, "one/exec", &["cat", "/etc/hostname"]).outcome.unwrap();
    assert_eq!((ran.stdout.as_str(), ran.code, ran.ends_at), ("one\n", 0, sim.0.now()));
    let ended = exec(&mut sim, "one/exec", &["false", "x"]);
    assert_eq!(ended.status()["details"]["causes"][0]["message"], "7");
    assert_eq!(ended.status()["reason"], "NonZeroExitCode");
    let ran = ended.outcome.unwrap();
    assert_eq!((ran.stderr.as_str(), ran.code, ran.ends_at.duration_since(sim.0.now()).as_secs()), ("no\n", 7, 30));
    assert!(exec(&mut sim, "one/exec", &["cat"]).outcome.unwrap().echo);
    let other = exec(&mut sim, "two/exec?container=a", &["uname"]);
    assert_eq!(other.status().to_string(), r#"{"metadata":{},"status":"Success"}"#);
}

#[test]
fn what_no_entry_is_about_is_refused_by_name() {
    let mut sim = Sim::new(FIXTURE.split("exec:").next().unwrap());
    let told = exec(&mut sim, "one/exec", &["rm", "-rf", "/"]).status();
    assert_eq!((told["status"].as_str(), told["code"].as_u64()), (Some("Failure"), Some(501)));
    let message = told["message"].as_str().unwrap();
    assert!(message.contains("not modelled: `rm -rf /` in container a of pod shop/one"), "{message}");
    assert_eq!(told.get("kind"), None, "{told}");
    let (code, message) = refused(&mut sim, &pod("one/log"));
    assert_eq!(code, 501);
    assert!(message.contains("the log of container a of pod shop/one"), "{message}");
}

/// Texts and order as kube-apiserver v1.36.4 gave them.
#[test]
fn refusals_of_exec_are_the_servers() {
    let mut sim = sim();
    let upgrade = |rest: &str| pod(rest).with_query("command", "id").with_query("stdout", "1").with_upgrade("websocket");
    for (request, code, message) in [
        (upgrade("none/exec"), 404, "pods \"none\" not found"),
        (upgrade("two/exec"), 400, "a container name must be specified for pod two, choose one of: [i a b]"),
        (upgrade("two/exec?container=zz"), 400, "container zz is not valid for pod two"),
        (upgrade("nohost/exec"), 400, "pod nohost does not have a host assigned"),
        (pod("one/exec?command=id&stdout=true"), 400, "Upgrade request required"),
        (pod("two/exec?command=id&stdout=true"), 400, "a container name must be specified for pod two, choose one of: [i a b]"),
    ] {
        assert_eq!(refused(&mut sim, &request), (code, message.to_owned()), "{}", request.path);
    }
    let mut spdy = upgrade("one/exec").with_upgrade("SPDY/2");
    spdy.method = lockgate_sim::Method::Post;
    let (code, message) = refused(&mut sim, &spdy);
    assert!(code == 501 && message.contains("exec over spdy/2"), "{code} {message}");
    let mut put = upgrade("one/exec");
    put.method = lockgate_sim::Method::Put;
    assert_eq!(refused(&mut sim, &put).0, 405);
}

#[test]
fn what_the_kubelet_refuses_comes_on_the_stream() {
    let mut sim = sim();
    for target in ["nopull/exec", "two/exec?container=i"] {
        let told = exec(&mut sim, target, &["id"]).status();
        let message = told["message"].as_str().unwrap().to_owned();
        assert!(message.starts_with("Internal error occurred: unable to upgrade connection: container not found (\""), "{message}");
        assert_eq!(told["reason"], "InternalError");
    }
    let nothing = pod("one/exec?command=id").with_upgrade("websocket");
    let Body::Exec(exec) = sim.0.handle(&nothing).body else { panic!("no stream") };
    assert!(exec.status()["message"].as_str().unwrap().contains("at least 1 of stdin, stdout, stderr"));
}

#[test]
fn logs_have_the_lines_that_were_written_by_now() {
    let mut sim = sim();
    assert_eq!(log(&mut sim, "one/log"), "begun\nready\nlate\n", "the fixture ran for a while");
    assert_eq!(log(&mut sim, "one/log?tailLines=1"), "late\n");
    assert_eq!(log(&mut sim, "one/log?tailLines=0"), "");
    assert_eq!(log(&mut sim, "one/log?limitBytes=7"), "begun\nr");
    let stamped = log(&mut sim, "one/log?timestamps=true&tailLines=2");
    let started = sim.get("pod/one")["status"]["containerStatuses"][0]["state"]["running"]["startedAt"].as_str().unwrap().to_owned();
    let first = stamped.lines().next().unwrap();
    assert_eq!(first, format!("{}.000000000Z ready", started.trim_end_matches('Z')));
    assert_eq!(log(&mut sim, &format!("one/log?sinceTime={}", stamped.lines().nth(1).unwrap().split(' ').next().unwrap())), "late\n");
    assert_eq!(log(&mut sim, "one/log?sinceSeconds=1"), "");
    assert_eq!(log(&mut sim, "two/log?container=b&previous=true"), "the end of b\n");
}

/// Texts and order as kube-apiserver v1.36.4 gave them, and those of its kubelet's source.
#[test]
fn refusals_of_logs_are_the_servers() {
    let mut sim = sim();
    for (target, code, message) in [
        ("none/log", 404, "pods \"none\" not found"),
        ("two/log", 400, "a container name must be specified for pod two, choose one of: [i a b]"),
        ("one/log?container=zz", 400, "container zz is not valid for pod one"),
        ("one/log?tailLines=x", 400, "strconv.ParseInt: parsing \"x\": invalid syntax"),
        ("one/log?sinceSeconds=99999999999999999999", 400, "strconv.ParseInt: parsing \"99999999999999999999\": value out of range"),
        ("one/log?sinceTime=x", 400, "parsing time \"x\" as \"2006-01-02T15:04:05Z07:00\": cannot parse \"x\" as \"2006\""),
        (
            "nohost/log?tailLines=-1&limitBytes=-1",
            422,
            "PodLogOptions \"nohost\" is invalid: [tailLines: Invalid value: -1: must be greater than or equal to 0, limitBytes: Invalid \
             value: -1: must be greater than 0]",
        ),
        (
            "one/log?sinceSeconds=5&sinceTime=2001-01-01T00:00:00Z",
            422,
            "PodLogOptions \"one\" is invalid: []: Forbidden: at most one of `sinceTime` or `sinceSeconds` may be specified",
        ),
        ("one/log?previous=true", 400, "previous terminated container \"a\" in pod \"one\" not found"),
        ("nopull/log", 400, "container \"a\" in pod \"nopull\" is waiting to start: trying and failing to pull image"),
    ] {
        assert_eq!(refused(&mut sim, &pod(target)), (code, message.to_owned()), "{target}");
    }
    let nowhere = sim.0.handle(&pod("nohost/log"));
    assert_eq!((nowhere.status, nowhere.headers.len()), (204, 0), "there is no kubelet to be asked");
    let mut put = pod("one/log");
    put.method = lockgate_sim::Method::Put;
    assert_eq!(refused(&mut sim, &put).0, 405);
}

#[test]
fn a_followed_log_goes_on_in_virtual_time_and_ends_with_its_container() {
    let mut sim = sim();
    let Body::Log(follow) = sim.0.handle(&pod("one/log?follow=true&tailLines=1")).body else { panic!("no log") };
    let mut follow = (*follow).clone();
    assert_eq!(sim.0.poll_log(&mut follow), LogPoll::Text("late\n".to_owned()));
    let LogPoll::Pending(Some(next)) = sim.0.poll_log(&mut follow) else { panic!("a line comes later") };
    assert!(sim.0.advance_to(next));
    assert_eq!(sim.0.poll_log(&mut follow), LogPoll::Text("later\n".to_owned()));
    assert_eq!(sim.0.poll_log(&mut follow), LogPoll::Pending(None));
    let gone: Value = sim.ok(&Request::delete("/api/v1/namespaces/shop/pods/one?gracePeriodSeconds=0"));
    assert_eq!(gone["metadata"]["name"], "one");
    assert_eq!(sim.0.poll_log(&mut follow), LogPoll::Closed);
}
