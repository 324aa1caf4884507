//! `:load`, `:checks`, `:step`, `:diff`, `:save`: parts of a runbook at the prompt, and a runbook of what was typed.

use std::process::Command;

use super::pending::piped;

const IPAM: &str = "deployment/kube-system/cce-eni-ipam";
const LOAD: &str = ":load cce-cni-v1-patch image=registry.example/cce-plugin-pro/cce-cni:v1.8.4";

/// A command of the program in this folder: code, output, errors.
fn lockgate(home: &std::path::Path, words: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lockgate"));
    command.args(words).env_clear().env("HOME", home).current_dir(home);
    let output = command.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn a_runbook_is_done_step_by_step_and_committed_as_one_run() {
    let home = tempfile::tempdir().unwrap();
    let lines = [
        LOAD,
        ":checks",
        "params.image",
        ":step node-agent",
        ":fork",
        ":step ipam",
        ":plan",
        ":undo",
        ":commit",
        "images(\"daemonset/kube-system/cce-cni-node-agent\")[\"cce-cni-node-agent\"]",
        &format!("get(\"{IPAM}\").spec.replicas"),
        ":plan",
    ];
    let (code, out, said) = piped(home.path(), &lines);
    assert_eq!(code, Some(0), "{said}");
    assert!(out.contains("checks    `:checks` asks them\n  v1-network    The cluster runs the v1 container network"), "{out}");
    assert!(out.contains("  ipam          Move ipam to the same image"), "{out}");
    assert!(said.contains("check 2/4 The target is a later patch of the running release"), "{said}");
    assert!(said.contains("4 checks asked, none failed") && !said.contains("were not asked yet"), "{said}");
    // On the copy the step meets the port trap and recovers, by what the step before it has kept in `state`.
    assert!(said.contains("Scale ipam to 0 and back to 2? (counts as yes: this is a copy)"), "{said}");
    assert!(out.contains("step 2/2  step ipam of cce-cni-v1-patch") && out.contains("would succeed: 4 writes to 2 objects"), "{out}");
    assert!(said.contains("back at the last fork: 1 call dropped, 1 pending"), "{said}");
    assert!(said.contains("call 1/1  step node-agent of cce-cni-v1-patch") && said.contains("is over, 1 write to 1 object"), "{said}");
    assert!(out.contains("cce-cni:v1.8.4") && said.contains("nothing is pending"), "{out}{said}");
    assert!(home.path().join(".local/state/lockgate/runs").exists(), "a commit is a run");
}

#[test]
fn a_step_on_the_cluster_itself_is_part_of_the_run_and_is_taken_back_with_it() {
    let home = tempfile::tempdir().unwrap();
    let (code, _, said) = piped(home.path(), &[LOAD, ":live on", ":step node-agent", ":live off"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("its checks were not asked yet") && said.contains("install-cni-binary  v1.8.3 -> v1.8.4"), "{said}");
    let run = said.split("live: run ").nth(1).unwrap().split(';').next().unwrap().to_owned();
    let (code, out, told) = lockgate(home.path(), &["rollback", &run, "--yes"]);
    assert_eq!(code, Some(0), "{out}{told}");
    assert!(told.contains("install-cni-binary  v1.8.4 -> v1.8.3") || out.contains("install-cni-binary  v1.8.4 -> v1.8.3"), "{out}{told}");
}

#[test]
fn what_is_wrong_with_a_part_is_said_before_anything_is_done() {
    let home = tempfile::tempdir().unwrap();
    let one = |line: &str| {
        let (code, _, said) = piped(home.path(), &[LOAD, line]);
        assert_eq!(code, Some(1), "{line}: {said}");
        said
    };
    assert!(one(":step node-agnt").contains("runbook `cce-cni-v1-patch` has no step `node-agnt`\n  hint: did you mean `node-agent`?"));
    assert!(one(":step ipam/w1").contains("step `ipam` is done once: it has no item `w1`"));
    assert!(one(":step").contains("`:step` takes the id of one step"));
    assert!(one(":load nothing-of-it").contains("there is no runbook `nothing-of-it`"));
    assert!(one(":load cce-cni-v1-patch").contains("needs the parameter `image`"));
    let (code, _, said) = piped(home.path(), &[":checks"]);
    assert!(code == Some(1) && said.contains("no runbook is loaded\n  hint: `:load RUNBOOK name=value …` loads one"), "{said}");
    std::fs::write(
        home.path().join("secret.luau"),
        "runbook { title = \"t\", summary = \"s\", impact = \"none\" }\nparam \"key\" { type = \"secret\", doc = \"d\" }\nstep \"a\" { title = \"A\", run = function() end }\n",
    )
    .unwrap();
    let said = one(&format!(":load {}/secret.luau key=x", home.path().display()));
    assert!(said.contains("`secret` takes the secret `key`, and what is typed here is kept in the history"), "{said}");
}

#[test]
fn permissions_of_the_runbook_hold_for_its_steps_and_not_for_what_is_typed() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("narrow.luau");
    let text = format!(
        "runbook {{ title = \"t\", summary = \"s\", impact = \"none\" }}\npermissions {{ {{ verbs = {{ \"patch\" }}, kinds = {{ \"deployments\" }}, names = {{ \"other\" }} }} }}\n\
         step \"a\" {{ title = \"A\", run = function() label(\"{IPAM}\", {{ mark = \"yes\" }}) end }}\n"
    );
    std::fs::write(&file, text).unwrap();
    let lines = [&*format!(":load {}", file.display()), ":step a", &*format!("label(\"{IPAM}\", {{ mark = \"yes\" }})")];
    let (code, _, said) = piped(home.path(), &lines.map(|line: &str| line));
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("step `a`: ") && said.contains("permissions"), "{said}");
    assert!(said.contains("labels.mark  added yes"), "what is typed is the person's own: {said}");
}

#[test]
fn a_diff_is_what_remains_since_the_last_fork() {
    let home = tempfile::tempdir().unwrap();
    let lines = [
        &format!("scale(\"{IPAM}\", 1)"),
        ":fork",
        &format!("scale(\"{IPAM}\", 0)"),
        &format!("scale(\"{IPAM}\", 3)"),
        "apply { apiVersion = \"v1\", kind = \"ConfigMap\", metadata = { name = \"a\" }, data = { k = \"v\" } }",
        "delete(\"configmap/a\")",
        ":diff",
        ":undo",
        ":diff",
    ];
    let (code, out, said) = piped(home.path(), &lines.map(|line: &str| line));
    assert_eq!(code, Some(0), "{said}");
    let diffs: Vec<&str> = out.lines().filter(|line| line.contains("replicas  ")).map(str::trim).collect();
    assert_eq!(diffs, ["replicas  1 -> 3", "replicas  2 -> 1"], "{out}");
    assert!(!out.contains("configmap/a"), "made and gone again: {out}");
    let (_, _, said) = piped(home.path(), &[&format!("scale(\"{IPAM}\", 1)"), &format!("scale(\"{IPAM}\", 2)"), ":diff"]);
    assert!(said.contains("nothing that was called since the copy was made makes a difference"), "{said}");
}

#[test]
fn what_was_typed_is_saved_as_a_runbook_that_does_the_same() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("fix.luau");
    let lines = [
        &format!("scale(\"{IPAM}\", 1, {{ wait = \"gone\" }})"),
        &format!("patch(\"{IPAM}\", {{ metadata = {{ annotations = {{ [\"x.io/y\"] = \"a \\\"b\\\"\" }} }} }})"),
        "apply { apiVersion = \"v1\", kind = \"ConfigMap\", metadata = { name = \"a\" }, data = { k = \"v\" } }",
        &format!("scale(\"{IPAM}\", 2)"),
        &format!(":save {}", file.display()),
        &format!(":save {}", file.display()),
    ];
    let (code, _, said) = piped(home.path(), &lines.map(|line: &str| line));
    assert_eq!(code, Some(1), "the second is refused: {said}");
    assert!(
        said.contains("saved: 4 calls in") && said.contains("there is such a file") && said.contains("nothing is overwritten"),
        "{said}"
    );
    let (code, out, said) = lockgate(home.path(), &["check", "fix.luau"]);
    assert_eq!(code, Some(0), "{out}{said}");
    let fixture = concat!(env!("CARGO_MANIFEST_DIR"), "/runbooks/cce-cni-v1-patch/cluster.yaml");
    let (code, out, said) = lockgate(home.path(), &["plan", "./fix.luau", &format!("--sandbox={fixture}")]);
    assert_eq!(code, Some(0), "{out}{said}");
    for part in
        ["replicas  2 -> 1", "metadata.annotations[x.io/y]  added a \"b\"", "configmap/a", "replicas  1 -> 2", "4 writes to 2 objects"]
    {
        assert!(out.contains(part), "{part}: {out}");
    }
}

#[test]
fn what_cannot_be_saved_says_why() {
    let home = tempfile::tempdir().unwrap();
    let refused = |line: &str| {
        let lines = [line, &format!(":save {}", home.path().join("x.luau").display())];
        let (_, _, said) = piped(home.path(), &lines);
        assert!(!home.path().join("x.luau").exists(), "{line}");
        said
    };
    assert!(refused("1 + 1").contains("nothing is pending: there is nothing to save"));
    let said = refused(&format!("wait_for(\"{IPAM}\", function() return true end)"));
    assert!(said.contains("cannot be saved") && said.contains("a function cannot be written down"), "{said}");
    let secret = "apply { apiVersion = \"v1\", kind = \"Secret\", metadata = { name = \"a\" }, stringData = { k = \"v\" } }";
    assert!(refused(secret).contains("it holds a Secret"));
    let update = format!("o = get(\"{IPAM}\") o.metadata.annotations.x = \"y\" update(o)");
    assert!(refused(&update).contains("`patch` says what is to change"));
    let lines = [
        ":ns kube-system",
        "label(\"deployment/cce-eni-ipam\", { a = \"b\" })",
        ":ns default",
        "apply { apiVersion = \"v1\", kind = \"ConfigMap\", metadata = { name = \"a\" } }",
        &format!(":save {}", home.path().join("x.luau").display()),
    ];
    let (_, _, said) = piped(home.path(), &lines.map(|line: &str| line));
    assert!(said.contains("the calls speak of objects in `kube-system` and in `default` without saying so"), "{said}");
}
