//! `lockgate check` as a command: what it looks at, how it tells, and its exit codes.

use std::time::Instant;

use super::json_schema::fits;
use super::support::{HEAD, Host, MOVE};

/// Two mistakes, in a folder with its scenarios.
const WRONG: &str = "step \"a\" {\n  title = \"Move web\",\n  run = function()\n    wait_rollout(\"deployment/web\", { timeot = \"5m\" })\n  end,\n  verify = function() scale(\"deployment/web\", 1) end,\n}\n";

#[test]
fn findings_have_place_caret_reason_and_hint() {
    let host = Host::with_runbook(&format!("{HEAD}{WRONG}"));
    let text = host.run(&["check", "r"]).exits(1);
    if cfg!(feature = "check") {
        text.golden("check");
    }
    let said = host.run(&["check", "r", "-o", "json"]).exits(1);
    let report = fits("check.v1.json", &said.stdout);
    assert_eq!(report["files"][0], "r/runbook.luau");
    let finding = &report["findings"][0];
    assert_eq!((&finding["rule"], &finding["line"], &finding["column"]), (&"option".into(), &5.into(), &38.into()));
    assert_eq!(report["findings"].as_array().unwrap().len(), 2);
}

#[test]
fn what_is_right_is_zero() {
    let host = Host::with_runbook(MOVE);
    host.run(&["check", "r"]).exits(0).shows("1 file: nothing found");
    host.run(&["check", "r/runbook.luau", "cce-cni-v1-patch"]).exits(0);
    fits("check.v1.json", &host.run(&["check", "r", "-o", "json"]).exits(0).stdout);
}

#[test]
fn a_folder_is_looked_into_and_a_word_that_names_nothing_is_wrong_usage() {
    let host = Host::new()
        .file("all/a/runbook.luau", MOVE)
        .file("all/a/test.luau", "scenario \"s\" { expect = function(run) run:succeeds() end }\n")
        .file("all/b/helper.lua", "return { x = nobody }\n")
        .file("all/.hidden/x.luau", "= =\n")
        .file("empty/readme.txt", "x");
    host.run(&["check", "all"]).exits(1).shows("3 files: 1 finding").shows("all/b/helper.lua:1:14");
    host.run(&["check", "empty"]).exits(2).tells("holds no Lua");
    host.run(&["check", "cce-cni-v1-ptch"]).exits(2).tells("did you mean `cce-cni-v1-patch`?");
    host.run(&["check", "all", "--modules", "nowhere"]).exits(2).tells("there is no such folder");
}

#[test]
fn modules_are_found_where_they_are_said_to_be() {
    let text = format!("local helper = require(\"helper\")\n{MOVE}step \"x\" {{ title = \"X\", run = function() helper.go() end }}\n");
    let host = Host::with_runbook(&text).file("shelf/helper.luau", "return { go = function() note(\"x\") end }\n");
    host.run(&["check", "r"]).exits(1).shows("there is no module `helper`");
    host.run(&["check", "r", "--modules", "shelf"]).exits(0);
    host.run(&["test", "r", "--bless", "--modules", "shelf"]).exits(0);
}

/// Built without the type checker, it says so in both formats, whether it finds anything or not; everything else it finds.
#[cfg(not(feature = "check"))]
#[test]
fn without_types_the_rest_is_looked_at_and_what_is_missing_is_said() {
    const MISSING: &str = "types: this lockgate was built without the feature `check`";
    let host = Host::with_runbook(&format!("{HEAD}{WRONG}")).file("right/runbook.luau", MOVE);
    host.run(&["check", "r"])
        .exits(1)
        .shows("option: `wait_rollout` has no option `timeot`")
        .shows("place: `scale` writes, and is called in `verify`")
        .shows(&format!("1 file: 2 findings; not looked at: {MISSING}"));
    host.run(&["check", "right"]).exits(0).shows(&format!("1 file: nothing found; not looked at: {MISSING}"));
    for (folder, code, findings) in [("r", 1, 2), ("right", 0, 0)] {
        let report = fits("check.v1.json", &host.run(&["check", folder, "--strict", "-o", "json"]).exits(code).stdout);
        assert_eq!(report["left_out"][0], MISSING, "{folder}");
        assert_eq!(report["findings"].as_array().unwrap().len(), findings, "{folder}");
    }
}

/// Everything in the binary: runbooks, scenarios, data, the standard library and its tests.
#[test]
fn everything_bundled_passes_strictly() {
    let started = Instant::now();
    let said = Host::new().run(&["check", "--strict"]).exits(0).shows("nothing found");
    println!("{} in {:?}", said.stdout.trim(), started.elapsed());
}
