//! `:plan`, `:fork`, `:undo`, `:commit`: what was tried on the copy is shown as a plan, tried otherwise, and made on the cluster itself.

use std::path::Path;
use std::process::Command;

use super::Terminal;

const IPAM: &str = "deployment/kube-system/cce-eni-ipam";

/// A session whose lines come from a file, and what it says.
pub(super) fn piped(home: &Path, lines: &[&str]) -> (Option<i32>, String, String) {
    piped_in("--sandbox", home, lines)
}

fn piped_in(sandbox: &str, home: &Path, lines: &[&str]) -> (Option<i32>, String, String) {
    std::fs::write(home.join("lines"), format!("{}\n", lines.join("\n"))).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_lockgate"));
    command.args(["repl", sandbox]).env_clear().env("HOME", home);
    let output = command.stdin(std::fs::File::open(home.join("lines")).unwrap()).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn pending_calls_are_a_plan_and_reads_are_not_in_it() {
    let home = tempfile::tempdir().unwrap();
    let lines = [
        ":plan",
        &format!("n = get(\"{IPAM}\").spec.replicas"),
        &format!("scale(\"{IPAM}\", n - 1, {{ wait = \"gone\" }})"),
        &format!("wait_rollout(\"{IPAM}\")"),
        "confirm(\"Sure?\")",
        &format!("get(\"{IPAM}\")"),
        ":plan",
    ];
    let (code, out, said) = piped(home.path(), &lines);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("nothing is pending"), "{said}");
    assert!(out.contains("plan      prompt: What was called on the copy"), "{out}");
    assert!(out.contains("step 1/3  scale(\"deployment/kube-system/cce-eni-ipam\", 1, "), "{out}");
    assert!(out.contains("replicas  2 -> 1"), "{out}");
    assert!(out.contains("step 2/3  wait_rollout("), "{out}");
    assert!(out.contains("step 3/3  confirm(\"Sure?\")") && out.contains("asks     Sure?"), "{out}");
    assert!(out.contains("would succeed: 1 write to 1 object") && out.contains("every write can be taken back"), "{out}");
    assert!(!home.path().join(".local/state/lockgate/runs").exists(), "a plan keeps no record");
}

#[test]
fn each_command_in_a_pod_is_told_whole() {
    let home = tempfile::tempdir().unwrap();
    let save = |file: &str| {
        let certificates = "\"--cacert=/etc/kubernetes/pki/etcd/ca.crt\", \"--cert=/etc/kubernetes/pki/etcd/healthcheck-client.crt\"";
        format!("exec(\"pod/kube-system/etcd-m1\", {{ \"etcdctl\", {certificates}, \"snapshot\", \"save\", \"{file}\" }})")
    };
    let (code, out, said) = piped_in("--sandbox=kubeadm-upgrade", home.path(), &[&save("/a file.db"), &save("/b.db"), ":plan", ":diff"]);
    assert_eq!(code, Some(0), "{said}");
    let words = out.split_whitespace().collect::<Vec<_>>().join(" ");
    let told = |file: &str| {
        let certificates = "--cacert=/etc/kubernetes/pki/etcd/ca.crt --cert=/etc/kubernetes/pki/etcd/healthcheck-client.crt";
        format!("exec etcdctl {certificates} snapshot save {file} in pod/kube-system/etcd-m1")
    };
    // Once in the plan and once in what has changed.
    for file in ["'/a file.db'", "/b.db"] {
        assert!(words.matches(&told(file)).count() >= 2, "{file}: {out}");
    }
}

#[test]
fn a_commit_makes_the_pending_calls_as_one_run() {
    let home = tempfile::tempdir().unwrap();
    let lines = [
        &format!("scale(\"{IPAM}\", 1, {{ wait = \"gone\" }})"),
        ":ns kube-system",
        "web = get(\"deployment/cce-eni-ipam\")",
        "web.metadata.annotations.mark = \"first\"",
        "update(web)",
        // A call has its arguments as they were then, and a function what it knew.
        "web.metadata.annotations.mark = \"second\"",
        "local wanted = 1 wait_for(\"deployment/cce-eni-ipam\", function(now) return now.status.readyReplicas == wanted end)",
        ":commit",
        ":plan",
        "`now {get(\"deployment/cce-eni-ipam\").spec.replicas} {get(\"deployment/cce-eni-ipam\").metadata.annotations.mark}`",
    ];
    let (code, out, said) = piped(home.path(), &lines);
    assert_eq!(code, Some(0), "{out}{said}");
    assert!(
        said.contains("call 1/3  scale(")
            && said.contains("call 2/3  update(deployment/cce-eni-ipam)")
            && said.contains("call 3/3  wait_for(\"deployment/cce-eni-ipam\", function)"),
        "{said}"
    );
    assert!(said.contains("is over, 2 writes to "), "{said}");
    assert!(said.contains("nothing is pending"), "{said}");
    // The new copy is of the cluster as it is now.
    assert!(out.contains("now 1 first"), "{out}");
    let mut report = Command::new(env!("CARGO_BIN_EXE_lockgate"));
    let output = report.args(["report", "last"]).env_clear().env("HOME", home.path()).output().unwrap();
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(told.contains("scale(\"deployment") && told.contains("update(deployment/cce-eni-ipam)") && told.contains("made"), "{told}");
    let mut back = Command::new(env!("CARGO_BIN_EXE_lockgate"));
    let output = back.args(["rollback", "last", "--yes"]).env_clear().env("HOME", home.path()).output().unwrap();
    let told = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.code() == Some(0) && told.contains("replicas  1 -> 2"), "{told}");
}

#[test]
fn what_failed_after_a_write_is_not_committed() {
    let home = tempfile::tempdir().unwrap();
    let lines = [
        "get(\"deployment/none\")",
        "drain(\"none\")",
        // It writes, and its wait ends too early.
        &format!("scale(\"{IPAM}\", 1, {{ wait = \"gone\", timeout = \"1s\" }})"),
        ":plan",
        ":commit",
    ];
    let (code, out, said) = piped(home.path(), &lines);
    assert_eq!(code, Some(1), "a line failed: {said}");
    // What failed before it wrote is no part of the plan.
    assert!(out.contains("step 1/1  scale(") && !out.contains("drain("), "{out}");
    assert!(out.contains("failed   scaling") && out.contains("would fail"), "{out}");
    assert!(said.contains("failed on the copy after it had written: this plan would fail"), "{said}");
    assert!(!said.contains("call 1/1") && !home.path().join(".local/state/lockgate/runs").exists(), "{said}");
}

#[test]
fn a_fork_is_tried_and_dropped() {
    let mut terminal = Terminal::start();
    terminal.asks(&format!("scale(\"{IPAM}\", 1)"), "replicas  2 -> 1");
    terminal.asks(":fork", "`:undo` goes back to this point");
    terminal.asks(&format!("scale(\"{IPAM}\", 0, {{ wait = \"gone\" }})"), "replicas  1 -> 0");
    terminal.asks(":plan", "step 2/2  scale(");
    terminal.asks(":undo", "back at the last fork: 1 call dropped, 1 pending");
    terminal.asks(&format!("`now {{get(\"{IPAM}\").spec.replicas}}`"), "now 1\r\n");
    terminal.asks(":undo", "back at the cluster as it is: 1 call dropped, 0 pending");
    terminal.asks(&format!("`now {{get(\"{IPAM}\").spec.replicas}}`"), "now 2\r\n");
    terminal.asks(":commit", "nothing is pending");
    terminal.ends();
}

#[test]
fn no_is_no_and_a_yes_is_asked_for_once() {
    let mut terminal = Terminal::start();
    terminal.asks(&format!("annotate(\"{IPAM}\", {{ typed = \"yes\" }})"), "annotations.typed  added yes");
    terminal.types(":commit");
    terminal.sees("would succeed: 1 write to 1 object");
    terminal.sees("Make 1 call on `sandbox` itself? [y/N] ");
    terminal.types("");
    terminal.sees("not accepted: the calls stay pending");
    terminal.sees("(dry) > ");
    terminal.types(":commit");
    terminal.sees("itself? [y/N] ");
    terminal.types("y");
    terminal.sees("call 1/1  annotate(");
    terminal.sees("is over, 1 write to 1 object");
    terminal.sees("(dry) > ");
    terminal.asks(":plan", "nothing is pending");
    terminal.ends();
}
