//! Where errors point: the caret stands at what is wrong, or nowhere; every error of a runbook has a place.

use super::support::{HEAD, Host, Said};

/// The plan of a runbook with these declarations.
fn plan(declarations: &str) -> Said {
    Host::with_runbook(&format!("{HEAD}\n{declarations}\n")).run(&["plan", "r", "--sandbox"]).exits(1)
}

#[test]
fn of_several_calls_of_a_verb_on_a_line_none_is_marked() {
    let said = plan("step \"a\" {\n  title = \"A\",\n  run = function()\n    note(\"a\") note(\"b\") note(5)\n  end,\n}");
    said.golden("caret-ambiguous");
    let web = "wait_rollout(\"deployment/web\") wait_rollout(\"deployment/wbe\")";
    let said = plan(&format!("step \"a\" {{ title = \"A\", run = function() {web} end }}"));
    assert!(said.stderr.contains("runbook.luau:3") && !said.stderr.contains('^'), "{}", said.transcript());
    let told = "note(\"get it\") local get = get(\"deployment/wbe\") -- get(x)";
    let said = plan(&format!("step \"a\" {{ title = \"A\", run = function()\n{told}\nend }}"));
    let caret = said.stderr.lines().find(|line| line.contains('^')).and_then(|line| line.find('^')).unwrap();
    let source = said.stderr.lines().find(|line| line.contains(told)).unwrap();
    assert!(source[caret..].starts_with("get(\"deployment/wbe\")"), "{}", said.transcript());
}

#[test]
fn what_is_returned_wrongly_is_an_error_with_a_place() {
    plan("check \"c\" {\n  title = \"C\",\n  run = function()\n    return false, \"two pods wait\"\n  end,\n}").golden("check-false");
    plan("step \"a\" {\n  title = \"A\",\n  run = function() end,\n  verify = function() return false end,\n}").golden("verify-false");
    plan("step \"a\" {\n  title = \"A\",\n  run = function() error(\"no\") end,\n  recover = function() return 5 end,\n}")
        .golden("recover-number");
}

#[test]
fn what_state_cannot_hold_is_shown_where_it_is_set() {
    plan("step \"a\" {\n  title = \"A\",\n  run = function()\n    state.f = function() end\n  end,\n}").golden("state-function");
    let twice = "state.f = 1\n    state.f = function() end";
    let said = plan(&format!("step \"a\" {{\n  title = \"A\",\n  run = function()\n    {twice}\n  end,\n}}"));
    assert!(said.stderr.contains("--> r/runbook.luau:3\n"), "{}", said.transcript());
}

#[test]
fn a_file_that_ends_too_early_is_shown_at_its_end() {
    let host = Host::new().file("r/runbook.luau", &format!("{HEAD}local x = (\n\n")).file("s/runbook.luau", "local x = (");
    host.run(&["show", "r"]).exits(1).golden("syntax-at-end");
    host.run(&["show", "s"]).exits(1).tells(" 1 | local x = (\n   |            ^\n");
}

#[test]
fn the_object_of_an_error_has_one_form() {
    let caught = |call: &str| format!("do local _, err = pcall(function() {call} end) note(`{{err.reason}} {{err.object}}`) end\n");
    let body = [
        "get(\"deployment/nope\")",
        "wait_for(\"deploy/nope\", \"Available\", { timeout = 1 })",
        "patch(\"deploy/web\", { spec = { replicas = -1 } })",
        "set_image(\"deployment/web\", { nope = \"x:v1\" })",
        "get(\"node/nope\")",
    ]
    .map(caught)
    .concat();
    let text = format!("{HEAD}step \"a\" {{ title = \"A\", run = function()\n{body}end }}\n");
    let said = Host::with_runbook(&text).run(&["plan", "r", "--sandbox"]).exits(0);
    for line in [
        "not_found deployment/shop/nope",
        "timeout deployment/shop/nope",
        "invalid deployment/shop/web",
        "not_found deployment/shop/web",
        "not_found node/nope",
    ] {
        assert!(said.stdout.contains(line), "{line}\n{}", said.transcript());
    }
}

#[test]
fn an_unchanged_object_is_named_as_a_changed_one() {
    let text = format!(
        "{HEAD}step \"a\" {{ title = \"A\", run = function()\n  patch(\"deploy/web\", {{ spec = {{ replicas = 3 }} }})\n  \
         patch(\"deploy/web\", {{ spec = {{ replicas = 3 }} }})\nend }}\n"
    );
    Host::with_runbook(&text)
        .run(&["plan", "r", "--sandbox"])
        .exits(0)
        .shows("patch    deployment/web ")
        .shows("same     deployment/web: nothing to patch");
}

#[test]
fn what_a_check_says_stands_beneath_its_title() {
    let text = format!("{HEAD}check \"c\" {{ title = \"C\", run = function() note(\"looking\") return \"fine\" end }}\n");
    let host = Host::with_runbook(&text);
    host.run(&["plan", "r", "--sandbox"]).exits(0).shows("check 1/1 C\n          note     looking\ncheck 1/1 C  ok  fine  [observed]\n");
}
