//! The commands that need no cluster.

use super::support::{Host, MOVE};

#[test]
fn list_names_bundled_and_local_runbooks() {
    let host = Host::with_runbook(MOVE).file("broken/runbook.luau", "step step step\n");
    let said = host.run(&["list"]).exits(0).shows("cce-cni-v1-patch").shows("./r").shows("Move web").hides("./broken");
    assert!(said.stderr.contains("broken/runbook.luau"), "{}", said.transcript());
    assert!(said.stdout.starts_with("NAME "), "{}", said.stdout);
}

#[test]
fn show_says_what_a_file_declares() {
    Host::with_runbook(MOVE).run(&["show", "r"]).exits(0).golden("show");
    Host::with_runbook(MOVE).run(&["show", "r/runbook.luau"]).exits(0).shows("Move web");
}

#[test]
fn every_bundled_runbook_can_be_shown() {
    for name in lockgate::run::Source::bundled_names() {
        Host::new().run(&["show", &name]).exits(0).shows("must hold before").shows("steps").shows("try it: lockgate plan");
    }
}

#[test]
fn types_and_completions_are_data() {
    let host = Host::new();
    host.run(&["types"]).exits(0).shows("declare function set_image(").shows("export type Ref");
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        host.run(&["completions", shell]).exits(0).shows("lockgate").shows("sandbox");
    }
}

#[test]
fn help_and_version_are_data() {
    let host = Host::new();
    host.run(&["--help"]).exits(0).shows("Exit codes:");
    host.run(&["--version"]).exits(0).shows("lockgate 0.");
    host.run(&["run", "--help"]).exits(0).shows("--no-plan");
    host.run(&[]).exits(2).tells("Usage:");
}

#[test]
fn the_log_goes_to_standard_error() {
    let host = Host::with_runbook(MOVE);
    let words = ["plan", "r", "image=registry.example/web:v1.2.4", "--sandbox", "-v"];
    let said = host.run(&words).exits(0).tells("set_image").tells("step").tells("patch");
    assert_eq!(said.stdout, host.run(&words[..4]).stdout, "the log must not change the data");
    let log = |filter: &str| Host::with_runbook(MOVE).env("LOCKGATE_LOG", filter).run(&words[..4]).exits(0).stderr;
    let steps = log("info");
    assert!(steps.contains("step{id=web}") && steps.contains("check{id=patch-only}") && !steps.contains("set_image"), "{steps}");
    let all = log("debug");
    assert!(all.contains("set_image") && !all.contains("tower"), "{all}");
    assert!(log("tower=debug").contains("tower"));
    host.env("LOCKGATE_LOG", "=]").run(&["list"]).exits(2).tells("LOCKGATE_LOG");
}
