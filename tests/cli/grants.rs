//! What a person lets a run do beyond its permissions: commands on machines and charts, asked once each with what they mean, and what no
//! rollback takes back.

use expectrl::Expect as _;

use super::support::{CLUSTER, HEAD, Host};
use super::terminal::{ends, start};

/// Two nodes with a machine each, and a chart.
const MORE: &str = r#"---
apiVersion: v1
kind: Node
metadata: { name: n2 }
---
apiVersion: lockgate.dev/v1
kind: Model
machines:
- { node: n1, why: a test, commands: [{ argv: [kubeadm, upgrade, node], takes: 20s }, { argv: [sh, -c, reload], takes: 1s }] }
- { node: n2, why: a test, commands: [{ argv: [kubeadm, upgrade, node], takes: 20s }] }
charts:
- name: conf
  version: 1.0.0
  manifest: "apiVersion: v1\nkind: ConfigMap\nmetadata: { name: conf, namespace: shop }\ndata: { mode: fast }"
  why: a chart of the test
"#;

const BLOCK: &str = "permissions { { verbs = { \"patch\", \"create\" }, kinds = { \"deployments\", \"configmaps\" } } }\n";
const RUN: &[&str] = &["run", "r", "--sandbox", "--no-plan", "--yes"];

fn host(steps: &str) -> Host {
    Host::with_runbook(&format!("{HEAD}{BLOCK}{steps}")).file("r/cluster.yaml", &format!("{CLUSTER}{MORE}"))
}

fn step(body: &str) -> String {
    format!("step \"s\" {{ title = \"S\", run = function()\n{body}\nend }}\n")
}

const UPGRADE: &str = "`kubeadm upgrade node` on `n1`: the runbook's `permissions` do not grant it";
const ROOT: &str = "to grant it is to grant root on every node: `kubeadm upgrade`, with whatever follows these words";

#[test]
fn a_command_that_nothing_grants_is_asked_for_once_with_what_it_means_and_held_after_a_resume() {
    let body = "machine.run(\"n1\", { \"kubeadm\", \"upgrade\", \"node\" })\nmanual(\"Look.\")\nmachine.run(\"n2\", { \"kubeadm\", \"upgrade\", \"node\" })";
    let host = host(&step(body));
    let mut session = start(&host, RUN);
    session.expect(UPGRADE).unwrap();
    session.expect(ROOT).unwrap();
    session.expect("Allow `machine = { { \"kubeadm\", \"upgrade\" } }` for this run? [y/N] ").unwrap();
    session.send_line("y").unwrap();
    session.expect("Look.").unwrap();
    session.send(expectrl::ControlCode::EndOfTransmission).unwrap();
    ends(session, 4);
    let mut session = start(&host, &["resume", "last"]);
    session.expect("Look. [y/N] ").unwrap();
    session.send_line("y").unwrap();
    let said = ends(session, 0);
    assert!(!said.contains("Allow `") && said.contains("kubeadm upgrade node"), "{said}");
    host.run(&["report", "last"]).exits(0).shows("for this run?: yes (the operator)");
}

#[test]
fn without_a_terminal_a_command_and_a_chart_are_refused_with_the_line_that_grants_them() {
    for (body, message, line) in [
        ("machine.run(\"n1\", { \"kubeadm\", \"upgrade\", \"node\" })", UPGRADE, "machine = { { \"kubeadm\", \"upgrade\" } }"),
        // What a shell runs, its first words do not say.
        ("machine.run(\"n1\", { \"sh\", \"-c\", \"reload\" })", "`sh -c reload` on `n1`", "machine = { { \"sh\", \"-c\", \"reload\" } }"),
        ("machine.write(\"n1\", \"/etc/x\", \"text\")", "`write /etc/x` on `n1`", "machine = { { \"write\", \"/etc/x\" } }"),
        (INSTALL, "chart `conf`: the runbook's `permissions` do not grant it", "helm = { charts = { \"conf\" } }"),
    ] {
        let said = host(&step(body)).run(RUN).exits(5).tells(message).tells("to grant it is to grant ");
        said.tells(&format!("hint: add to `permissions`: `{line}`")).shows("before any write");
    }
}

const INSTALL: &str = "helm.install(\"conf\", \"conf\", { version = \"1.0.0\", namespace = \"shop\", repo = \"https://charts.example\" })";

#[test]
fn a_chart_that_nothing_grants_is_asked_for() {
    for (answer, code) in [("n", 5), ("y", 0)] {
        let host = host(&step(INSTALL));
        let mut session = start(&host, RUN);
        session.expect("chart `conf`: the runbook's `permissions` do not grant it").unwrap();
        session.expect("to grant it is to grant helm's records of every release").unwrap();
        session.expect("Allow `helm = { charts = { \"conf\" } }` for this run? [y/N] ").unwrap();
        session.send_line(answer).unwrap();
        ends(session, code);
    }
}

#[test]
fn items_that_want_the_same_at_once_ask_once_and_a_no_is_the_answer_to_all() {
    let steps = "step \"up\" {\n  title = \"Up\",\n  each = function() return { \"n1\", \"n2\" } end,\n  batch = { serial = 2 },\n  \
                 run = function(node) machine.run(node, { \"kubeadm\", \"upgrade\", \"node\" }) end,\n}\n";
    for (answer, code) in [("n", 5), ("y", 0)] {
        let host = host(steps);
        let mut session = start(&host, RUN);
        session.expect("for this run? [y/N] ").unwrap();
        session.send_line(answer).unwrap();
        let rest = ends(session, code);
        assert!(!rest.contains("for this run? [y/N]"), "{rest}");
    }
}

#[test]
fn they_are_shown_with_what_they_amount_to() {
    let block = "permissions { machine = { { \"kubeadm\", \"upgrade\" } }, helm = { charts = { \"conf\" } } }\n";
    let said = Host::with_runbook(&format!("{HEAD}{block}{}", step("note(\"x\")"))).run(&["show", "r"]).exits(0);
    said.shows("that is: root on every node: `kubeadm upgrade`").shows("that is: helm's records of every release");
}

// What stays.

#[test]
fn what_cannot_be_taken_back_is_named_in_plan_run_status_and_report() {
    let body = "scale(\"deployment/web\", 1)\nmachine.run(\"n1\", { \"kubeadm\", \"upgrade\", \"node\" })\n\
                machine.run(\"n2\", { \"kubeadm\", \"upgrade\", \"node\" })\nmanual(\"Look.\")";
    let host = Host::with_runbook(&format!("{HEAD}{}", step(body))).file("r/cluster.yaml", &format!("{CLUSTER}{MORE}"));
    let stays = "stays     run kubeadm upgrade node on n1, n2: what a command does on a machine is not known";
    host.run(&["plan", "r", "--sandbox"]).exits(3).shows("1 of 3 writes can be taken back").shows(stays);
    host.run(&["plan", "r", "--sandbox", "-o", "markdown"]).exits(3).shows("run kubeadm upgrade node on n1, n2: ");
    host.run(&["run", "r", "--sandbox", "--yes"]).exits(4).shows(stays);
    for words in [["status", "last"], ["report", "last"]] {
        host.run(&words).exits(0).shows("stays      run kubeadm upgrade node on n1, n2: ");
    }
    let said = host.run(&["report", "last", "-o", "json"]).exits(0);
    let report: serde_json::Value = serde_json::from_str(&said.stdout).unwrap();
    let stays = report["summary"]["stays"].as_array().unwrap();
    assert_eq!((stays.len(), &stays[1]["target"]), (2, &"kubeadm upgrade node on n2".into()));
}

#[test]
fn what_stays_of_a_killed_run_is_named_too() {
    let body = "machine.run(\"n1\", { \"kubeadm\", \"upgrade\", \"node\" })\nmanual(\"Look.\")";
    let host = Host::with_runbook(&format!("{HEAD}{}", step(body))).file("r/cluster.yaml", &format!("{CLUSTER}{MORE}"));
    host.run(&["run", "r", "--sandbox", "--yes"]).exits(4);
    // As a kill before its last lines leaves it.
    let journal = host.runs_in(".local/state/lockgate/runs")[0].join("journal.jsonl");
    let text = std::fs::read_to_string(&journal).unwrap();
    let until = text.lines().position(|line| line.contains("\"event\":\"finished\"")).unwrap();
    let cut: String = text.lines().take(until).map(|line| format!("{line}\n")).collect();
    std::fs::write(&journal, cut).unwrap();
    host.run(&["status", "last"]).exits(0).shows("killed: ").shows("stays      run kubeadm upgrade node on n1: ");
}
