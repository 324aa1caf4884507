//! An API server that is away: a run waits for it, and everything else says so soon.

use super::support::{CLUSTER, HEAD, Host, Said};

/// A write before, several reads and writes after.
const BODY: &str = r#"
permissions { { verbs = { "patch" }, kinds = { "deployments", "deployments/scale" } } }
step "one" { title = "One", run = function() annotate("deployment/web", { one = "1" }) end }
step "two" { title = "Two", run = function()
  annotate("deployment/web", { two = "2" })
  scale("deployment/web", 3)
end }
"#;

/// From this request of this verb on the server is away for so long.
fn host(verb: &str, kind: &str, nth: usize, down: &str) -> Host {
    let rules = format!(
        "apiVersion: lockgate.dev/v1\nkind: Faults\nrules:\n- match: {{verb: {verb}, kind: {kind}, nth: {nth}}}\n  do: {{down: {down}}}\n"
    );
    Host::with_runbook(&format!("{HEAD}{BODY}")).file("chaos.yaml", &rules)
}

fn run(host: &Host) -> Said {
    host.run(&["run", "r", "--sandbox", "--chaos", "chaos.yaml", "--no-plan", "--yes"])
}

#[test]
fn an_outage_of_minutes_costs_a_run_nothing_but_time() {
    for (verb, nth) in [("get", 2), ("get", 3), ("patch", 1), ("patch", 2), ("patch", 3)] {
        let host = host(verb, "Deployment", nth, "10m");
        let said = run(&host).exits(0).shows("replicas  2 -> 3").shows("3 writes");
        assert!(said.stdout.contains("10m"), "{verb} {nth}: {}", said.transcript());
        let waits = if verb == "get" { "the cluster does not answer: " } else { "the lock of the run was last renewed " };
        assert!(said.stderr.contains(waits), "{verb} {nth}: {}", said.transcript());
    }
}

#[test]
fn an_outage_without_end_parks_the_run() {
    let said = run(&host("get", "Deployment", 2, "3h")).exits(4);
    let said = said.tells("could not be renewed for 30m, so nothing more is written").tells("when the cluster answers again, go on with");
    assert!(said.stderr.contains("lockgate resume"), "{}", said.transcript());
}

#[test]
fn a_request_that_fails_on_a_server_that_is_there_fails_the_run() {
    let rules = "apiVersion: lockgate.dev/v1\nkind: Faults\nrules:\n- match: {verb: get, kind: Deployment}\n  do: {fail: {code: 503}}\n";
    let host = Host::with_runbook(&format!("{HEAD}{BODY}"))
        .file("chaos.yaml", rules.replace("kind: Deployment}", "kind: Deployment, every: 1}").as_str());
    run(&host).exits(1).tells("reading `deployment/web`").tells("503");
}

/// A run with these rules of what goes wrong, and a step that asks a command in a pod.
fn asks_a_pod(rules: &str) -> Said {
    let model = "---\napiVersion: lockgate.dev/v1\nkind: Model\nexec:\n- match: {container: web, command: id}\n  answer: {stdout: root}\n  why: a test\n";
    let body = "permissions { { verbs = { \"patch\" }, kinds = { \"deployments\" } }, { verbs = { \"create\" }, kinds = { \"pods/exec\" } } }\n\
                step \"one\" { title = \"One\", run = function() annotate(\"deployment/web\", { one = \"1\" }) end }\n\
                step \"two\" { title = \"Two\", run = function() print(exec(list(\"pods\")[1], { \"id\" }, { read = true }).stdout) end }\n";
    let rules = format!("apiVersion: lockgate.dev/v1\nkind: Faults\nrules:\n- {rules}\n");
    let host = Host::new().file("r/runbook.luau", &format!("{HEAD}{body}")).file("r/cluster.yaml", &format!("{CLUSTER}{model}"));
    run(&host.file("chaos.yaml", &rules))
}

#[test]
fn a_command_that_reads_waits_for_the_server_with_the_run() {
    let said = asks_a_pod("match: {kind: Pod, subresource: exec, nth: 1}\n  do: {down: 10m}").exits(0);
    assert!(said.stderr.contains("the cluster does not answer"), "{}", said.transcript());
    asks_a_pod("match: {kind: Pod, subresource: exec, nth: 1}\n  do: {down: 3h}").exits(4).tells("could not be renewed for 30m");
}

#[test]
fn who_is_not_known_any_more_is_parked_and_not_failed() {
    for what in ["verb: get, kind: Deployment, every: 1", "kind: Pod, subresource: exec, every: 1"] {
        let said = asks_a_pod(&format!("match: {{{what}}}\n  do: {{fail: {{code: 401}}}}"));
        said.exits(4).tells("its credentials have run out").tells("sign in to the cluster again, then go on with `lockgate resume");
    }
}
