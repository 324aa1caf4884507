//! `lockgate new`: what it makes passes everything at once, and nothing is overwritten.

use std::fs;

use super::support::Host;

#[test]
fn a_new_runbook_passes_its_tests_and_the_check() {
    let host = Host::new();
    host.run(&["new", "web-upgrade"]).exits(0).shows("web-upgrade: runbook.luau").shows("lockgate test web-upgrade");
    host.run(&["test", "web-upgrade"]).exits(0).shows("8 tests: 8 passed").hides("FAILED");
    host.run(&["check", "web-upgrade", "--strict"]).exits(0).shows("nothing found");
    host.run(&["plan", "web-upgrade", "image=registry.example/web:v1.2.4", "--sandbox"]).exits(0).shows("web-upgrade: move web");
    host.run(&["list"]).exits(0).shows("./web-upgrade");
}

#[test]
fn nothing_is_overwritten() {
    let host = Host::new();
    host.run(&["new", "a", "--dir", "some/where"]).exits(0);
    let runbook = host.path().join("some/where/a/runbook.luau");
    fs::write(&runbook, "mine").unwrap();
    host.run(&["new", "a", "--dir", "some/where"]).exits(2).tells("`some/where/a` is there already");
    assert_eq!(fs::read_to_string(runbook).unwrap(), "mine");
    fs::write(host.path().join("b"), "mine").unwrap();
    host.run(&["new", "b"]).exits(2).tells("`b` is there already");
}

#[test]
fn names_that_no_runbook_can_have_are_refused() {
    let host = Host::new();
    for name in ["", "Web", "1a", "a b", "../a", "a/b", "a-", "ä", &"a".repeat(61)] {
        host.run(&["new", name]).exits(2).tells("cannot be the name of a runbook");
    }
    host.run(&["new", "cce-cni-v1-patch"]).exits(2).tells("bundled runbook");
    assert_eq!(fs::read_dir(host.path()).unwrap().count(), 0);
}
