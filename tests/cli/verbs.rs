//! Verbs that stand between a plan and a run: `manual`, `assume`, commands in containers, what is journaled.

use super::support::{CLUSTER, HEAD, Host};

const MODEL: &str =
    "---\napiVersion: lockgate.dev/v1\nkind: Model\nexec:\n- { match: { command: \"pools\" }, answer: { stdout: \"two\" }, why: a test }\n";

/// A runbook with this body of its one step, on a cluster where one command is modelled.
fn step(body: &str) -> Host {
    runbook(&format!("step \"s\" {{ title = \"S\", run = function()\n{body}\nend }}\n"))
}

fn runbook(declarations: &str) -> Host {
    Host::with_runbook(&format!("{HEAD}{declarations}")).file("r/cluster.yaml", &format!("{CLUSTER}{MODEL}"))
}

const ALL: &str = "permissions { { verbs = { \"*\" }, kinds = { \"*\" } } }\n";
const POD: &str = "local pod = list(\"pods\", { labels = \"app=web\" })[1]\n";

#[test]
fn what_people_do_is_assumed_in_a_plan_and_asked_for_in_a_run() {
    let host = step("manual(\"Replace the disk of n1.\")\nnote(\"after\")");
    let plan = host.run(&["plan", "r", "--sandbox"]).exits(3);
    plan.shows("asks").shows("Replace the disk of n1.").shows("assumed").shows("done by hand: Replace the disk of n1.").shows("after");
    // Consent to the plan is no word that it was done.
    host.run(&["run", "r", "--sandbox", "--yes"]).exits(4).shows("nobody answered `Replace the disk of n1.`");
}

#[test]
fn done_is_looked_at_first_and_pretend_stands_in() {
    let done = "done = function() return exists(\"configmap/disk\") end";
    let there = "create({ apiVersion = \"v1\", kind = \"ConfigMap\", metadata = { name = \"disk\" } })";
    let host = step(&format!("{there}\nlocal m = manual(\"Replace it.\", {{ {done} }})\nnote(`changed {{m.changed}}`)"));
    host.run(&["plan", "r", "--sandbox"]).exits(0).shows("changed false").hides("Replace it.");

    let host = step(&format!(
        "manual(\"Replace it.\", {{ {done}, pretend = function() {there} end }})\nnote(tostring(exists(\"configmap/disk\")))"
    ));
    host.run(&["plan", "r", "--sandbox"]).exits(3).shows("create").shows("done by hand: Replace it.").shows("true");
    host.run(&["run", "r", "--sandbox", "--yes"]).exits(0).shows("done by hand: Replace it.");

    let host = step(&format!("manual(\"Replace it.\", {{ {done}, pretend = function() end }})"));
    host.run(&["plan", "r", "--sandbox"]).exits(1).shows("after `pretend` it is still not done: Replace it.");

    let host = step(&format!("manual(\"Replace it.\", {{ {done} }})"));
    host.run(&["plan", "r", "--sandbox"]).exits(3).shows("a plan cannot know what people bring about: Replace it.");
    host.run(&["run", "r", "--sandbox", "--yes", "--no-plan"]).exits(1).shows("it was not done by hand within 1h: Replace it.");
}

#[test]
fn done_only_reads_and_manual_is_not_for_checks() {
    let host = step("manual(\"x\", { done = function() delete(\"deployment/web\") return true end })");
    host.run(&["plan", "r", "--sandbox"]).exits(5).shows("only reads are allowed here");
    let host = runbook("check \"c\" { title = \"C\", run = function() manual(\"x\") end }\n");
    host.run(&["plan", "r", "--sandbox"]).exits(1).shows("`manual` has things changed, and is called where only reads are allowed");
}

#[test]
fn an_assumption_stands_where_nobody_models_it_and_only_in_a_plan() {
    let body = format!(
        "{POD}local text = assume(function() return exec(pod, {{ \"peers\" }}).stdout end, \"none\", \"there are no peers yet\")\nnote(`peers: {{text}}`)"
    );
    let host = step(&body);
    let plan = host.run(&["plan", "r", "--sandbox"]).exits(3);
    plan.shows("peers: none").shows("assumed").shows("\"none\" (there are no peers yet)").hides("unknown");
    let host = step(&format!("{body}\nend }}\n{ALL}step \"after\" {{ title = \"A\", run = function()"));
    host.run(&["run", "r", "--sandbox", "--yes", "--no-plan"])
        .exits(1)
        .shows("the simulated cluster cannot answer that")
        .hides("peers: none");
    // What is modelled needs no assumption, and what fails fails.
    let host = step(&body.replace("peers\" }", "pools\" }"));
    host.run(&["plan", "r", "--sandbox"]).exits(0).shows("peers: two").hides("assumed");
    let host = step("assume(function() return get(\"configmap/none\") end, {}, \"why\")");
    host.run(&["plan", "r", "--sandbox"]).exits(1).shows("no such object");
}

#[test]
fn an_unmodelled_command_makes_a_plan_unknown() {
    let host = step(&format!("{POD}exec(pod, {{ \"peers\" }})"));
    host.run(&["plan", "r", "--sandbox"]).exits(3).shows("unknown");
}

#[test]
fn a_command_that_says_that_it_reads_may_be_asked_in_a_check() {
    let check = |options: &str| {
        runbook(&format!(
            "check \"c\" {{ title = \"C\", run = function()\n{POD}return exec(pod, {{ \"pools\" }}{options}).stdout\nend }}\n"
        ))
    };
    check(", { read = true }").run(&["plan", "r", "--sandbox"]).exits(0).shows("two").shows("no writes");
    let said = check("").run(&["plan", "r", "--sandbox"]).exits(1);
    said.shows("`exec` writes, and is called in a check");
    check(", { read = false }").run(&["plan", "r", "--sandbox"]).exits(1).shows("`exec` writes");
}

#[test]
fn time_and_chance_are_those_of_the_run_and_stay_when_it_is_entered_again() {
    let text = format!(
        "{HEAD}step \"s\" {{ title = \"S\",\n  run = function()\n    local at, n = now(), random(1000000)\n    note(`one: {{at}} {{n}}`)\n    \
         wait_gone(\"deployment/web\", {{ timeout = \"1m\" }})\n    note(`two: {{at}} {{n}}`)\n  end,\n  \
         recover = function() delete(\"deployment/web\") return \"again\" end,\n}}\n"
    );
    let host = Host::with_runbook(&text);
    let told = |words: &[&str]| {
        let said = host.run(words).exits(0).transcript();
        let find = |word: &str| said.lines().filter_map(|line| Some(line.split_once(word)?.1.to_owned())).collect::<Vec<_>>();
        (find("one: "), find("two: "))
    };
    // The second attempt has the time and number of the first one, which was a minute earlier.
    let (first, again) = told(&["plan", "r", "--sandbox"]);
    assert_eq!((first.len(), again.len()), (1, 1), "what was told is not told again");
    assert!(first.iter().chain(&again).all(|text| *text == first[0]), "{first:?} {again:?}");
    assert_eq!(told(&["plan", "r", "--sandbox"]).0, first, "the same seed, the same run");
}

#[test]
fn the_environment_is_read_by_name() {
    let host = step("note(`{env(\"TICKET\")} {env(\"NOTHING\")}`)").env("TICKET", "CHG-7");
    host.run(&["plan", "r", "--sandbox"]).exits(0).shows("CHG-7 nil");
    step("env(\"A=B\")").run(&["plan", "r", "--sandbox"]).exits(1).shows("`env`: `A=B` cannot be the name of a variable");
    step("random(0)").run(&["plan", "r", "--sandbox"]).exits(1).shows("`random`: argument `n` is 0");
}
