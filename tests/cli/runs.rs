//! Plans and runs on the simulated cluster, as a person sees them.

use super::support::{HEAD, Host, MOVE};

const IMAGE: &str = "image=registry.example/web:v1.2.4";

#[test]
fn a_plan_is_a_transcript() {
    Host::with_runbook(MOVE).run(&["plan", "r", IMAGE, "--sandbox"]).exits(0).golden("plan");
}

#[test]
fn a_run_is_the_plan_and_then_the_same_words() {
    Host::with_runbook(MOVE).run(&["run", "r", IMAGE, "--sandbox"]).exits(0).golden("run");
}

#[test]
fn a_plan_that_would_fail_is_not_run() {
    let words = ["run", "r", "image=registry.example/web:v1.3.0", "--sandbox", "--yes"];
    Host::with_runbook(MOVE).run(&words).exits(1).golden("run-refused");
}

#[test]
fn parameters_come_from_files_too() {
    let host = Host::with_runbook(MOVE)
        .file("p.yaml", "image: registry.example/web:v1.2.9\n")
        .file("p.json", "{\"image\": \"registry.example/web:v1.2.8\"}");
    host.run(&["plan", "r", "--params", "p.yaml", "--sandbox"]).exits(0).shows("v1.2.3 -> v1.2.9");
    host.run(&["plan", "r", "--params", "p.json", "--sandbox"]).exits(0).shows("v1.2.3 -> v1.2.8");
    host.run(&["plan", "r", "--params", "p.json", IMAGE, "--sandbox"]).exits(0).shows("v1.2.3 -> v1.2.4");
}

/// A runbook that asks for consent in its one step.
fn asking() -> Host {
    Host::with_runbook(&format!(
        "{HEAD}step \"down\" {{\n  title = \"Take web down\",\n  run = function()\n    confirm(\"Scale web to 0?\")\n    \
         scale(\"deployment/web\", 0, {{ wait = \"gone\" }})\n  end,\n}}\n"
    ))
}

#[test]
fn an_accepted_plan_answers_what_it_showed() {
    let host = asking();
    host.run(&["plan", "r", "--sandbox"]).exits(0).shows("Scale web to 0?");
    host.run(&["run", "r", "--sandbox", "--yes"]).exits(0).shows("yes (the accepted plan)");
    // In a sandbox without a terminal the plan counts as accepted.
    host.run(&["run", "r", "--sandbox"]).exits(0).shows("yes (the accepted plan)");
}

#[test]
fn without_a_plan_nothing_is_consented_to() {
    let said = asking().run(&["run", "r", "--sandbox", "--yes", "--no-plan"]).exits(4);
    said.golden("parked");
}

#[test]
fn a_question_without_a_default_makes_a_plan_unknown() {
    let host = Host::with_runbook(&format!(
        "{HEAD}step \"n\" {{ title = \"Scale\", run = function() scale(\"deployment/web\", tonumber(ask(\"How many?\"))) end }}\n\
         step \"after\" {{ title = \"After\", run = function() note(\"after\") end }}\n"
    ));
    host.run(&["plan", "r", "--sandbox"]).exits(3).golden("plan-unknown");
    let host = Host::with_runbook(&format!(
        "{HEAD}step \"n\" {{ title = \"Scale\", run = function() scale(\"deployment/web\", tonumber(ask(\"How many?\", {{ default = \"3\" }}))) end }}\n"
    ));
    host.run(&["plan", "r", "--sandbox"]).exits(3).shows("replicas  2 -> 3").shows("assumed");
}

#[test]
fn nothing_to_do_is_success() {
    let host = Host::with_runbook(&format!(
        "{HEAD}check \"c\" {{ title = \"C\", run = function() not_needed(\"it is there\") end }}\n\
         step \"a\" {{ title = \"A\", run = function() scale(\"deployment/web\", 0) end }}\n"
    ));
    host.run(&["run", "r", "--sandbox", "--yes"]).exits(0).shows("not needed").shows("it is there").shows("nothing to do").hides("scale");
}

#[test]
fn every_check_that_fails_is_shown() {
    let host = Host::with_runbook(&format!(
        "{HEAD}check \"one\" {{ title = \"One\", run = function() ensure(false, \"one is wrong\") end }}\n\
         check \"two\" {{ title = \"Two\", run = function() return false, \"two is wrong\" end }}\n\
         check \"three\" {{ title = \"Three\", when = function() return false, \"not here\" end, run = function() end }}\n\
         step \"a\" {{ title = \"A\", run = function() scale(\"deployment/web\", 0) end }}\n"
    ));
    host.run(&["plan", "r", "--sandbox"]).exits(1).golden("checks-failed");
}

#[test]
fn state_is_what_lives_across_steps() {
    let host = Host::with_runbook(&format!(
        "{HEAD}local count = 0\n\
         step \"a\" {{ title = \"A\", run = function() count += 1 state.n = get(\"deployment/web\").spec.replicas end }}\n\
         step \"b\" {{ title = \"B\", run = function() note(`count {{count}}, n {{state.n}}`) end }}\n"
    ));
    host.run(&["plan", "r", "--sandbox"]).exits(0).shows("count 0, n 2");
}

/// A step whose `verify` holds only after `recover` has scaled.
fn recovering(answer: &str) -> Host {
    Host::with_runbook(&format!(
        "{HEAD}step \"a\" {{\n  title = \"A\",\n  run = function()\n    note(\"run\")\n    \
         set_image(\"deployment/web\", {{ web = \"registry.example/web:v2\" }})\n    \
         ensure(get(\"deployment/web\").spec.replicas == 3, \"there must be three\", {{ reason = \"precondition\" }})\n  end,\n  \
         verify = function() wait_rollout(\"deployment/web\") end,\n  \
         recover = function(err)\n    if err.reason ~= \"precondition\" then return false end\n    \
         scale(\"deployment/web\", 3)\n    return {answer}\n  end,\n}}\n"
    ))
}

#[test]
fn recover_answers_three_ways() {
    recovering("nil").run(&["plan", "r", "--sandbox"]).exits(0).shows("recover").shows("3/3");
    let declined = recovering("false").run(&["plan", "r", "--sandbox"]).exits(1);
    assert!(declined.stderr.contains("there must be three"), "{}", declined.transcript());
    recovering("7").run(&["plan", "r", "--sandbox"]).exits(1).tells("its `recover` returned a number");
}

#[test]
fn again_does_not_repeat_what_is_done() {
    let host = Host::with_runbook(&format!(
        "{HEAD}step \"a\" {{\n  title = \"A\",\n  run = function()\n    note(\"begin\")\n    \
         set_image(\"deployment/web\", {{ web = \"registry.example/web:v2\" }})\n    \
         set_image(\"deployment/later\", {{ web = \"registry.example/web:v2\" }})\n  end,\n  \
         recover = function(err) return if err.reason == \"not_found\" then \"again\" else false end,\n}}\n"
    ));
    let said = host.run(&["plan", "r", "--sandbox"]).exits(1).shows("again");
    assert_eq!(said.stdout.matches("note     begin").count(), 1, "{}", said.transcript());
    assert_eq!(said.stdout.matches("patch    deployment/web").count(), 1, "{}", said.transcript());
    assert_eq!(said.stdout.matches("recover").count(), 1, "an error after `again` stands\n{}", said.transcript());
}

#[test]
fn two_plans_are_the_same() {
    let host = Host::with_runbook(MOVE);
    let plan = || host.run(&["plan", "r", IMAGE, "--sandbox", "-o", "json"]).exits(0).stdout;
    assert_eq!(plan(), plan());
}

#[test]
fn text_of_the_runbook_cannot_move_the_cursor() {
    let host = Host::with_runbook(&format!("{HEAD}step \"a\" {{ title = \"A\", run = function() note(\"a\\27[2Jb\") end }}\n"));
    let said = host.run(&["plan", "r", "--sandbox"]).exits(0).shows("a\\u{1b}[2Jb");
    assert!(!said.stdout.contains('\u{1b}'));
}

#[test]
fn a_write_whose_call_fails_is_named() {
    let host = Host::with_runbook(&format!(
        "{HEAD}step \"a\" {{ title = \"A\", run = function()\n \
         scale(\"deployment/web\", 0, {{ wait = \"gone\", timeout = \"500ms\" }})\n end }}\n"
    ));
    host.run(&["plan", "r", "--sandbox"]).exits(1).shows("scale    deployment/web").shows("would fail after 1 write to 1 object");
}

#[test]
fn secrets_are_not_printed() {
    let host = Host::with_runbook(&format!(
        "{HEAD}param \"key\" {{ type = \"secret\", doc = \"A key.\" }}\n\
         step \"a\" {{ title = \"A\", run = function() confirm(\"Now?\") end }}\n"
    ));
    for format in ["text", "json"] {
        let said = host.run(&["run", "r", "key=hunter2", "--sandbox", "--no-plan", "--yes", "-o", format]).exits(4);
        assert!(!said.stdout.contains("hunter2") && !said.stderr.contains("hunter2"), "{}", said.transcript());
        said.tells("key=…");
    }
}

#[test]
fn what_a_plan_cannot_know_stays_unknown_when_the_script_catches_it() {
    let host = Host::with_runbook(&format!(
        "{HEAD}step \"n\" {{ title = \"Ask\", run = function() pcall(ask, \"How many?\") note(\"on\") end }}\n"
    ));
    let said = host.run(&["plan", "r", "--sandbox"]).exits(3);
    said.shows("a plan cannot know the answer to `How many?`").shows("as far as can be known");
}

#[test]
fn a_no_cannot_be_caught() {
    let host = Host::with_runbook(&format!(
        "{HEAD}step \"n\" {{ title = \"Ask\", run = function()\n pcall(confirm, \"Sure?\")\n note(\"went on\")\n end }}\n"
    ));
    let said = host.run(&["run", "r", "--sandbox", "--yes", "--no-plan"]).exits(4);
    said.hides("went on").tells("nobody answered `Sure?`");
}

#[test]
fn a_loop_that_only_asks_ends_in_a_plan() {
    let host = Host::with_runbook(&format!(
        "{HEAD}step \"poll\" {{\n  title = \"Poll\",\n  run = function()\n    local found = false\n    while not found do\n      \
         pcall(function() found = get(\"deployment/web\").spec.replicas == 99 end)\n    end\n  end,\n}}\n"
    ));
    host.run(&["plan", "r", "--sandbox"]).exits(1).golden("plan-endless");
}

#[test]
fn a_loop_that_waits_for_ever_ends_in_a_plan() {
    let host = Host::with_runbook(&format!(
        "{HEAD}step \"poll\" {{\n  title = \"Poll\",\n  run = function()\n    \
         while not pcall(wait_for, \"deployment/web\", function() return false end, {{ timeout = \"1h\" }}) do end\n  end,\n}}\n"
    ));
    host.run(&["plan", "r", "--sandbox"]).exits(1).tells("has taken 7 days of virtual time").tells("r/runbook.luau:5");
}

/// What goes wrong, in a file of its own.
const CHAOS: &str = "apiVersion: lockgate.dev/v1\nkind: Faults\nrules:\n";

#[test]
fn a_run_comes_through_chaos_and_a_plan_does_not_see_it() {
    let host = Host::with_runbook(MOVE).file("chaos.yaml", &format!("{CHAOS}- match: {{verb: get}}\n  do: {{fail: {{code: 503}}}}\n"));
    host.run(&["plan", "r", IMAGE, "--sandbox", "--chaos", "chaos.yaml"]).exits(0);
    for seed in 0..20 {
        let said = host.run(&["run", "r", IMAGE, "--sandbox", "--chaos", &seed.to_string()]);
        // What cannot be known is said, and everything else succeeds.
        let told = said.transcript();
        assert!(said.code == Some(0) || told.contains("is unknown"), "seed {seed}: {told}");
    }
}

#[test]
fn a_fault_in_one_step_is_met_there() {
    let rule = "- match: {step: web, verb: patch}\n  do: {fail: {code: 500, message: no disk}}\n";
    let host = Host::with_runbook(MOVE).file("chaos.yaml", &format!("{CHAOS}{rule}"));
    host.run(&["run", "r", IMAGE, "--sandbox", "--chaos", "chaos.yaml"]).exits(1).tells("no disk").golden("run-chaos");
    let host = Host::with_runbook(MOVE).file("chaos.yaml", &format!("{CHAOS}{}", rule.replace("web", "other")));
    host.run(&["run", "r", IMAGE, "--sandbox", "--chaos", "chaos.yaml"]).exits(0);
}

#[test]
fn faults_that_cannot_be_read_are_refused_before_anything_is_done() {
    let host = Host::with_runbook(MOVE).file("chaos.yaml", &format!("{CHAOS}- match: {{nth: 0}}\n  do: refuse\n"));
    host.run(&["run", "r", IMAGE, "--sandbox", "--chaos", "chaos.yaml"]).exits(2).golden("chaos-broken");
    host.run(&["run", "r", IMAGE, "--sandbox", "--chaos", "none.yaml"]).exits(2).golden("chaos-missing");
    host.run(&["run", "r", IMAGE, "--chaos", "1"]).exits(2).tells("--sandbox");
}

#[test]
fn a_field_that_nobody_knows_is_warned_of_and_not_told_as_a_change() {
    let host = Host::with_runbook(&format!(
        "{HEAD}step \"a\" {{ title = \"A\", run = function() patch(\"deployment/web\", {{ spec = {{ replcas = 3, paused = true }} }}) end }}\n"
    ));
    host.run(&["plan", "r", "--sandbox"]).exits(0).hides("replcas  added").golden("plan-unknown-field");
}
