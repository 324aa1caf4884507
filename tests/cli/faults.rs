//! What goes wrong while a run goes, in the words of the command: `lockgate test` plays the fault, and tells how the run ended.

use super::support::{Host, MOVE, Said};

/// Plays one scenario of [`MOVE`] that expects success; where the run fails, its own error is what is told.
fn played(fields: &str) -> Said {
    let scenario = format!(
        "scenario \"played\" {{\n  params = {{ image = \"registry.example/web:v1.2.4\" }},\n  {fields}\n  \
         expect = function(run)\n    run:succeeds()\n  end,\n}}\n"
    );
    Host::with_runbook(MOVE).file("r/test.luau", &scenario).file("r/plan.txt", "").run(&["test", "r", "--bless"])
}

#[test]
fn a_conflict_on_a_patch_is_told() {
    let said = played("faults = { { match = { verb = \"patch\", kind = \"Deployment\" }, [\"do\"] = \"conflict\" } },");
    said.exits(1).shows("patching `deployment/web`").golden("fault-conflict");
}

#[test]
fn an_object_that_is_deleted_under_a_wait_is_told() {
    let said = played("at = { [\"5s\"] = function(cluster) cluster:delete(\"deployment/web\") end },");
    said.exits(1).shows("`deployment/web`").golden("fault-deleted");
}

#[test]
fn a_server_that_fails_at_each_patch_is_told_after_some_tries() {
    let said = played("faults = { { match = { verb = \"patch\", kind = \"Deployment\" }, [\"do\"] = { fail = { code = 500 } } } },");
    said.exits(1).shows("patching `deployment/web`").golden("fault-server-error");
}

#[test]
fn a_lost_answer_is_looked_for() {
    played("faults = { { match = { verb = \"patch\", kind = \"Deployment\" }, [\"do\"] = \"lost_after\" } },").exits(0);
}

#[test]
fn a_lost_answer_that_cannot_be_looked_for_leaves_the_outcome_open() {
    // The third look at it is the one after the write.
    let rules = "faults = { { match = { verb = \"patch\", kind = \"Deployment\" }, [\"do\"] = \"lost_after\" }, \
                 { match = { verb = \"get\", kind = \"Deployment\", nth = 3 }, [\"do\"] = { down = \"10m\" } } },";
    played(rules).exits(1).shows("`deployment/web`").golden("fault-lost-answer");
}

#[test]
fn a_watch_that_is_cut_again_and_again_changes_nothing() {
    played("faults = { { match = { verb = \"watch\", kind = \"Deployment\" }, [\"do\"] = { drop_watch = 1 } } },").exits(0);
}

#[test]
fn a_server_that_nobody_listens_at_is_told_with_its_address() {
    let kubeconfig = "apiVersion: v1\nkind: Config\nclusters: [{name: c, cluster: {server: \"https://127.0.0.1:1\"}}]\n\
                      users: [{name: u, user: {}}]\ncontexts: [{name: prod, context: {cluster: c, user: u}}]\ncurrent-context: prod\n";
    let host = Host::with_runbook(MOVE).file("kubeconfig", kubeconfig);
    for command in ["plan", "run"] {
        let words = [command, "r", "image=registry.example/web:v1.2.4", "--kubeconfig", "kubeconfig"];
        host.run(&words).exits(1).tells("no connection to `https://127.0.0.1:1`").golden(&format!("unreachable-{command}"));
    }
}
