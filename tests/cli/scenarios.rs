//! `lockgate test`: what it finds in a runbook, in scenarios, and in scenarios that are wrong themselves.

use std::fs;

use super::support::{CLUSTER, HEAD, Host, MOVE, Said};

const NEW: &str = "registry.example/web:v1.2.4";

/// A folder with [`MOVE`] and these scenarios.
fn with_scenarios(text: &str) -> Host {
    Host::with_runbook(MOVE).file("r/test.luau", text)
}

/// The outcome of one scenario, whose committed plan is written first.
fn outcome(text: &str) -> Said {
    let host = with_scenarios(text);
    host.run(&["test", "r", "--bless", "--no-kills"]);
    host.run(&["test", "r", "--no-kills"])
}

/// A scenario of the upgrade that succeeds, with this body of `expect`.
fn expecting(body: &str) -> String {
    format!("scenario \"s\" {{\n  params = {{ image = \"{NEW}\" }},\n  expect = function(run)\n    {body}\n  end,\n}}\n")
}

#[test]
fn every_matcher_holds_when_it_is_true() {
    let text = expecting(&format!(
        "run:succeeds()\n run:did(\"patch deployment/web\", 1)\n run:did(\"delete deployment/web\", 0)\n \
         run:in_order {{ \"patch deployment/shop/web\" }}\n run:shows(\"1.2.3 -> v1.2.4\")\n run:takes(\"1h\")\n \
         run:leaves(\"deployment/web\", {{ images = {{ web = \"{NEW}\" }}, spec = {{ paused = absent }}, readyReplicas = 2 }})\n \
         run:leaves(\"configmap/none\", absent)"
    ));
    outcome(&text).exits(0).shows("ok      r  s\n").shows("5 tests: 5 passed, 0 failed");
}

#[test]
fn a_matcher_that_does_not_hold_says_what_was_and_where() {
    for (body, found) in [
        ("run:not_needed()", "should end as NotNeeded, but ended as Succeeded"),
        ("run:fails_step(\"web\")", "step `web` should fail, but did not"),
        ("run:fails_step(\"wbe\")", "step `wbe` was never begun"),
        ("run:fails_check(\"patch-only\")", "check `patch-only` should fail, but did not"),
        ("run:recovers(\"web\")", "step `web` should recover, but did not"),
        ("run:parks(\"web\")", "should end as Parked"),
        ("run:writes_nothing()", "nothing should be written, but the run did `patch deployment/shop/web`"),
        ("run:did(\"patch deployment/web\", 2)", "2 times, but did it 1 time;"),
        ("run:in_order { \"patch deployment/web\", \"patch deployment/web\" }", "was not done in this order"),
        ("run:leaves(\"deployment/web\", { spec = { replicas = 3 } })", "`spec.replicas` should be 3, but is 2"),
        ("run:leaves(\"deployment/web\", { spec = { replicas = absent } })", "`spec.replicas` should be absent, but is 2"),
        ("run:leaves(\"deployment/web\", absent)", "should be gone"),
        ("run:shows(\"no such words\")", "`no such words` is not in the transcript"),
        ("run:takes(\"1ms\")", "should take less than 1ms"),
    ] {
        outcome(&expecting(body)).exits(1).shows("FAILED  r  s\n").shows(found).shows("r/test.luau:4").shows("1 failed");
    }
}

#[test]
fn a_mistake_in_a_scenario_is_never_a_pass() {
    let act = |act: &str| expecting(&format!("run:did(\"{act}\", 0)"));
    let field = |field: &str| {
        format!("scenario \"s\" {{\n  params = {{ image = \"{NEW}\" }},\n  {field},\n  expect = function(run) run:succeeds() end,\n}}\n")
    };
    for (text, found) in [
        (act("patch deployment/wbe"), "can match nothing"),
        (act("pacth deployment/web"), "did you mean `patch`?"),
        (act("patch deploment/web"), "did you mean `deployment`?"),
        (expecting("run:suceeds()"), "did you mean `succeeds`?"),
        (field("drfit = function() end"), "did you mean `drift`?"),
        (field("kill = { at = \"patch\" }"), "`patch` is no act"),
        (field("kill = { ta = \"1s\" }"), "`kill` has no `ta`"),
        (field("kill = {}"), "`kill` says neither `at` nor `after`"),
        (field("kill = { after = \"9h\" }"), "the run was over before it could be killed"),
        (field("kill = { at = \"patch deployment/web\" }"), "the run was killed before its end"),
        (expecting("run:resume { to = \"web\" }"), "`to` is an option of a rollback"),
        (expecting("run:rollback { too = \"web\" }"), "there is no option `too`"),
        (expecting("run:rollback { to = \"wbe\" }"), "the run did no step `wbe`"),
        (field("fixture = \"other.yaml\""), "there is no fixture `other.yaml`"),
        (field("given = function(cluster) cluster:patch(\"deployment/none\", {}) end"), "the simulated cluster refused"),
        (field("given = function(cluster) cluster:never_ready(\"deployment/web\", { nod = \"n1\" }) end"), "there is no option `nod`"),
        (field("at = { [\"9h\"] = function(cluster) cluster:cordon(\"n1\") end }"), "the change at 9h was never made"),
        (field("at = { [\"1s\"] = function(cluster) cluster:delete(\"configmap/none\") end }"), "the change at 1s failed"),
        (field("at = { [\"1s\"] = function(cluster) cluster:get(\"node/n1\") end }"), "it cannot read it"),
        (field("answers = { [\"Really\"] = \"yes\" }"), "no question with `Really` was asked"),
        (field("faults = { { match = { kind = \"Secret\" }, [\"do\"] = { fail = { code = 500 } } } }"), "met no request"),
        (field("faults = { { mtch = {} } }"), "`faults`"),
        ("scenario \"s\" { params = {} }".to_owned(), "it has no `expect`"),
        ("scenario \"s\" { expect = function(run) end, params = { image = \"UPPER\" } }".to_owned(), "image"),
    ] {
        outcome(&text).exits(1).shows("FAILED  r  s\n").shows(found);
    }
}

#[test]
fn scenarios_change_the_cluster_before_between_and_during() {
    let text = format!(
        "scenario \"given\" {{ params = {{ image = \"{NEW}\" }}, given = function(cluster) cluster:never_pulls(\"*:v1.2.4\") end,\n\
         expect = function(run) run:fails_step(\"web\", {{ reason = \"image_pull\" }}) run:writes_nothing() end }}\n\
         scenario \"drift\" {{ params = {{ image = \"{NEW}\" }}, drift = function(cluster) cluster:crashes(\"deployment/web\") end,\n\
         expect = function(run) run:fails_step(\"web\", {{ reason = \"crash_loop\" }}) run:did(\"patch deployment/web\", 1) end }}\n\
         scenario \"at\" {{ params = {{ image = \"{NEW}\" }}, at = {{ [\"1s\"] = function(cluster) cluster:delete(\"deployment/web\") end }},\n\
         expect = function(run) run:fails_step(\"web\") run:leaves(\"deployment/web\", absent) end }}\n\
         scenario \"fault\" {{ params = {{ image = \"{NEW}\" }}, faults = {{ {{ match = {{ verb = \"patch\" }}, [\"do\"] = {{ fail = {{ code = 403 }} }} }} }},\n\
         expect = function(run) run:fails_step(\"web\", {{ kind = \"refused\" }}) run:writes_nothing() end }}\n\
         scenario \"looks\" {{ params = {{ image = \"{NEW}\" }}, given = function(cluster)\n\
           local web = cluster:get(\"deployment/web\")\n cluster:patch(web, {{ spec = {{ replicas = #cluster:list(\"nodes\") }} }}) end,\n\
         expect = function(run) run:succeeds() run:leaves(\"deployment/web\", {{ spec = {{ replicas = 1 }} }}) end }}\n"
    );
    outcome(&text).exits(0).shows("9 tests: 9 passed");
}

/// A kind that is defined in the fixture, with one object of it.
const WIDGETS: &str = r#"---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: { name: widgets.example.com }
spec:
  group: example.com
  scope: Namespaced
  names: { plural: widgets, singular: widget, kind: Widget, listKind: WidgetList, shortNames: [wd] }
  versions:
    - name: v1
      served: true
      storage: true
      schema: { openAPIV3Schema: { type: object, x-kubernetes-preserve-unknown-fields: true } }
---
apiVersion: example.com/v1
kind: Widget
metadata: { name: one, namespace: shop }
spec: { size: 1, parts: { a: 1, b: 2 } }
"#;

#[test]
fn kinds_that_the_fixture_defines_are_known_like_any_other() {
    let runbook = format!(
        "{HEAD}step \"widget\" {{ title = \"W\", run = function()\n  ensure(exists(\"widget/two\"), \"no second\")\n  \
         patch(\"widget/one\", {{ spec = {{ size = 2 }} }})\n  print(logs(\"deployment/web\"))\nend }}"
    );
    let model = "cluster:model { logs = { { match = { container = \"web\" }, answer = { text = \"a line\" }, why = \"a test\" } } }";
    let scenarios = format!(
        "scenario \"done\" {{\n  given = function(cluster)\n    {model}\n    \
         cluster:apply {{ apiVersion = \"example.com/v1\", kind = \"Widget\", metadata = {{ name = \"two\", namespace = \"shop\" }} }}\n    \
         cluster:patch(\"widget/one\", {{ spec = {{ parts = {{ a = null }} }} }})\n    \
         ensure(#cluster:list(\"widgets.example.com\") == 2 and cluster:get(\"wd/one\").spec.parts.b == 2, \"not so\")\n  end,\n  \
         expect = function(run)\n    run:succeeds()\n    run:did(\"patch widget.example.com/one\", 1)\n    run:did(\"delete wd/two\", 0)\n    \
         run:leaves(\"widget/one\", {{ spec = {{ size = 2, parts = {{ a = absent, b = 2 }} }} }})\n  end,\n}}\n\
         scenario \"not done\" {{ expect = function(run) run:fails_step(\"widget\", \"no second\") run:writes_nothing() end }}\n"
    );
    let host = Host::new().file("r/runbook.luau", &runbook).file("r/cluster.yaml", &format!("{CLUSTER}{WIDGETS}"));
    let host = host.file("r/test.luau", &scenarios);
    host.run(&["test", "r", "--bless"]);
    host.run(&["test", "r"]).shows("ok      r  done\n").shows("ok      r  not done\n");
    for (body, found) in [
        ("run:writes_nothing()", "the run did `patch widget/shop/one`"),
        ("run:did(\"patch widget/three\")", "there never was a `widget/shop/three`"),
        ("run:leaves(\"widget.example.org/one\", absent)", "has no kind `widget.example.org`"),
    ] {
        let text = format!(
            "scenario \"s\" {{ given = function(cluster) {model} cluster:apply {{ apiVersion = \"example.com/v1\", kind = \"Widget\", \
             metadata = {{ name = \"two\", namespace = \"shop\" }} }} end, expect = function(run) {body} end }}\n"
        );
        let host = Host::new().file("r/runbook.luau", &runbook).file("r/cluster.yaml", &format!("{CLUSTER}{WIDGETS}"));
        host.file("r/test.luau", &text).run(&["test", "r", "--no-kills"]).shows("FAILED  r  s\n").shows(found);
    }
}

/// Reads in a pod, drains a node, and has people do something; its permissions are those of the run alone.
const ROLL: &str = r#"
permissions {
  { verbs = { "patch" }, kinds = { "nodes" }, names = { "n1" } },
  { verbs = { "create" }, kinds = { "pods/exec", "pods/eviction" }, namespaces = { "shop" } },
}
step "roll" {
  title = "Roll",
  run = function()
    ensure(exec(list("pods")[1], { "id" }, { read = true }).code == 0, "no id")
    ensure(list("nodes")[1].status.nodeInfo.kubeletVersion == "v1.16.15", "another kubelet")
    drain("n1")
    uncordon("n1")
  end,
  verify = function() wait_rollout("deployment/web") end,
}
step "hand" {
  title = "Hand",
  run = function()
    manual("make it", {
      pretend = function() create { apiVersion = "v1", kind = "ConfigMap", metadata = { name = "by-hand" } } end,
      done = function() return exists("configmap/by-hand") end,
    })
  end,
}
"#;

#[test]
fn what_is_done_to_pods_is_told_by_its_word_and_by_their_owner() {
    let play = |body: &str, more: &str| {
        let scenario = format!(
            "scenario \"s\" {{\n  given = function(cluster)\n    cluster:model {{ exec = {{ {{ match = {{ container = \"web\", command = \"id\" }}, \
             answer = {{ stdout = \"root\" }}, why = \"a test\" }} }} }}\n    \
             cluster:patch(\"node/n1\", {{ status = {{ nodeInfo = {{ kubeletVersion = \"v1.16.15\" }} }} }})\n  end,\n  {more}\n  \
             expect = function(run)\n    {body}\n  end,\n}}\n"
        );
        let host = Host::new().file("r/runbook.luau", &format!("{HEAD}{ROLL}")).file("r/cluster.yaml", CLUSTER);
        host.file("r/test.luau", &scenario).run(&["test", "r", "--no-kills"])
    };
    let holds = "run:succeeds()\n    run:did(\"evict pod of deployment/web\", 2)\n    run:did(\"delete pod of deployment/web\", 0)\n    \
                 run:in_order { \"patch node/n1\", \"evict pod of deployment/shop/web\", \"patch node/n1\" }\n    \
                 run:did(\"create configmap/by-hand\", 0)\n    run:did(\"exec pod of deployment/web\", 0)\n    \
                 run:leaves(\"configmap/by-hand\", { kind = \"ConfigMap\" })";
    play(holds, "").shows("ok      r  s\n");
    for (body, found) in [
        ("run:writes_nothing()", "the run did `patch node/n1`, `evict pod/shop/web-"),
        ("run:did(\"evict pod of deployment/wbe\")", "there never was a `deployment/shop/wbe`"),
        ("run:did(\"evict pod of node/n1\")", "`node/n1` never had a pod"),
    ] {
        play(body, "").shows("FAILED  r  s\n").shows(found);
    }
    let at = "at = { [\"1s\"] = function(cluster) cluster:delete(\"pod of deployment/web\") end },";
    play("run:succeeds()", at).shows("ok      r  s\n");
    let drift = |node: &str| format!("drift = function(cluster) cluster:delete(\"pod of deployment/web\", {{ node = \"{node}\" }}) end,");
    play("run:succeeds()", &drift("n1")).shows("ok      r  s\n");
    play("run:succeeds()", &drift("n2")).shows("FAILED  r  s\n").shows("`deployment/shop/web` has no pod on `n2` that could be deleted");
}

#[test]
fn the_committed_plan_is_compared_and_written() {
    let host = Host::with_runbook(MOVE);
    host.run(&["test", "r"]).exits(1).shows("FAILED  r  plans as committed").shows("there is no `r/plan.txt`");
    host.run(&["test", "r", "--bless"]).exits(0).shows("2 tests: 2 passed");
    let path = host.path().join("r/plan.txt");
    let plan = fs::read_to_string(&path).unwrap();
    assert!(plan.contains("would succeed"), "{plan}");
    host.run(&["test", "r"]).exits(0);
    fs::write(&path, plan.replace("Move web", "Move it")).unwrap();
    host.run(&["test", "r"]).exits(1).shows("differs in line 1").shows("committed: ").shows("planned: ");
    assert!(fs::read_to_string(&path).unwrap().contains("Move it"), "a comparison writes nothing");
}

#[test]
fn a_document_is_answered_for_line_by_line() {
    let covered = |entries: &str| format!("{MOVE}\ncoverage \"007\" {{ {entries} }}\n");
    let complete = covered("[\"1\"] = waived \"heading\", [\"3-4\"] = \"step web verify\"");
    let host = Host::with_runbook(&complete).file("doc.txt", "# Title\n\nfirst\nsecond\n");
    host.run(&["test", "r", "--bless"]).exits(1).shows("there is no `coverage-007.lines`").shows("--document 007=FILE --bless");
    host.run(&["test", "r", "--document", "007=doc.txt", "--bless"]).exits(0).shows("wrote coverage-007.lines: 3 lines with text");
    host.run(&["test", "r"]).exits(0).shows("ok      r  answers for every line of its source");
    host.run(&["test", "r", "--document", "007=doc.txt"]).exits(0).shows("document 007 is the one");

    let host = host.file("doc.txt", "# Title\n\nfirst\nchanged\n").file("r/runbook.luau", &covered("[\"1-3\"] = \"step web run\""));
    host.run(&["test", "r", "--document", "007=doc.txt"]).exits(1).tells("document 007 has changed in lines 4");
    host.run(&["test", "r"]).exits(1).shows("nobody answers for lines 4").shows("r/runbook.luau:");
}

#[test]
fn what_does_not_load_fails_and_the_rest_is_run() {
    let host = Host::with_runbook(MOVE)
        .file("all/a/runbook.luau", "step \"x\" {")
        .file("all/b/runbook.luau", MOVE)
        .file("all/b/test.luau", "scenario \"x\" { expect = function(run) ")
        .file("all/c/runbook.luau", MOVE)
        .file("all/no/notes.txt", "nothing");
    let said = host.run(&["test", "all"]).exits(1);
    let said = said.shows("FAILED  a  loads without a cluster").shows("FAILED  b  its scenarios load").shows("all/b/test.luau:1");
    said.shows("ok      c  loads without a cluster").shows("3 tests: 1 passed, 2 failed");
    host.run(&["test", "all/c/runbook.luau", "r"]).exits(1).shows("ok      c  loads").shows("ok      r  loads");
    host.run(&["test", "all/no"]).exits(2).tells("holds no `runbook.luau`");
    host.run(&["test", "cce-cni-v1-ptach"]).exits(2).tells("did you mean `cce-cni-v1-patch`?");
    let host = with_scenarios(
        "scenario \"s\" { expect = function(run) run:fails_check(\"patch-only\") end, params = { image = \"registry.example/web:v2.0.0\" } }",
    );
    host.run(&["test", "r/test.luau"]).shows("ok      r  s\n");
}

#[test]
fn a_bundled_runbook_is_tested_without_its_folder() {
    let said = Host::new().run(&["test", "cce-cni-v1-patch", "--no-kills"]).exits(0);
    said.shows("ok      cce-cni-v1-patch  answers for every line of its source").shows(", 0 failed");
}

/// A runbook that works on a machine.
const MACHINE: &str = r#"runbook { title = "Backup", summary = "Backs up a node.", impact = "none", source = "a test" }
check "reachable" {
  title = "The machine answers",
  run = function() machine.read("w1", { "true" }) end,
}
step "backup" {
  title = "Back up",
  run = function()
    cordon("w1")
    machine.run("w1", { "backup", "all of it" })
    machine.write("w1", "/etc/motd", "backed up\n")
    uncordon("w1")
  end,
}
"#;

const MACHINES: &str = "apiVersion: v1\nkind: Node\nmetadata: {name: w1}\n---\napiVersion: lockgate.dev/v1\nkind: Model\n\
                        machines: [{node: w1, os: debian 12, why: a test}]\n";

#[test]
fn what_is_done_on_machines_is_modelled_and_asked_for_by_scenarios() {
    let told = |given: &str, body: &str| {
        let text = format!("scenario \"s\" {{\n  given = function(cluster) {given} end,\n  expect = function(run) {body} end,\n}}\n");
        let host = Host::with_runbook(MACHINE).file("r/cluster.yaml", MACHINES).file("r/test.luau", &text);
        host.run(&["test", "r", "--bless"]);
        host.run(&["test", "r"])
    };
    let known =
        "cluster:command(\"w1\", { \"backup\", \"all of it\" }, { takes = \"4m\", effect = { files = { [\"/backup\"] = \"x\" } } })";
    let body = "run:succeeds() run:did(\"run backup all of it on w1\", 1) run:did(\"run true on w1\", 0) run:did(\"write * on w1\", 1) \
                run:in_order { \"patch node/w1\", \"run backup * on w1\", \"write /etc/motd on w1\", \"patch node/w1\" } \
                run:takes(\"5m\") run:shows(\"backup 'all of it' on w1\")";
    told(known, body).shows("ok      r  s\n");
    told(known, "run:writes_nothing()").exits(1).shows("nothing should be written, but the run did").shows("`run backup all of it on w1`");
    told(known, "run:did(\"run backup on w2\", 0)").exits(1).shows("can match nothing");
    told(known, "run:did(\"run backup\", 0)").exits(1).shows("names no node");
    told("", "run:succeeds()").exits(1).shows("FAILED  r  s\n").shows("`backup all of it` on the machine of node w1");
    told("cluster:command(\"w1\", \"backup *\", { tkes = \"4m\" })", "run:succeeds()").exits(1).shows("this is no command of a machine");
}

#[test]
fn a_run_is_killed_resumed_and_taken_back_by_its_scenario() {
    let back = "local back = run:rollback()\n back:succeeds()\n back:did(\"patch deployment/web\", 1)\n \
                back:leaves(\"deployment/web\", { images = { web = \"registry.example/web:v1.2.3\" } })\n";
    let scenario = |name: &str, kill: &str, body: &str| {
        format!("scenario \"{name}\" {{\n  params = {{ image = \"{NEW}\" }},\n  {kill}\n  expect = function(run)\n    {body}\n  end,\n}}\n")
    };
    let goes_on = format!(
        "run:did(\"patch deployment/web\", 1)\n run:resume()\n run:succeeds()\n run:did(\"patch deployment/web\", 1)\n \
         run:leaves(\"deployment/web\", {{ images = {{ web = \"{NEW}\" }} }})\n {back}"
    );
    let text = [
        scenario("at once", "kill = { at = \"patch deployment/web\" },", &goes_on),
        scenario("later", "kill = { at = \"patch deployment/web\", after = \"2s\" },", &goes_on),
        scenario("by the clock", "kill = { after = \"3s\" },", &goes_on),
        scenario("taken back at once", "kill = { at = \"patch deployment/web\" },", back),
        scenario("whole", "", back),
    ];
    let host = with_scenarios(&text.concat());
    host.run(&["test", "r", "--bless", "--no-kills"]);
    let said = host.run(&["test", "r"]).exits(0);
    let lines: Vec<&str> = said.stdout.lines().filter(|line| line.contains("killed at")).collect();
    // Only one of them is undisturbed, and the sum is told once more at the end.
    assert_eq!(lines.len(), 2, "{}", said.transcript());
    assert!(lines.iter().all(|line| line.ends_with(" times, 0 differences")), "{}", said.transcript());
    let number = |line: &str| line.split("killed at ").nth(1).unwrap().split(' ').next().unwrap().parse::<usize>().unwrap();
    assert!(number(lines[0]) > 50 && number(lines[0]) == number(lines[1]), "{}", said.transcript());
}

#[test]
fn kills_can_be_left_out_and_are_counted_in_json() {
    let host = with_scenarios(&expecting("run:succeeds()"));
    host.run(&["test", "r", "--bless", "--no-kills"]);
    host.run(&["test", "r", "--no-kills"]).exits(0).hides("killed at");
    let said = host.run(&["test", "r", "-o", "json"]).exits(0);
    let document = super::json_schema::fits("test.v1.json", &said.stdout);
    assert!(document["killed"].as_u64().unwrap() > 50, "{document}");
    assert_eq!((document["asked"].as_u64(), document["tests"][4]["killed"].as_u64()), (Some(0), document["killed"].as_u64()));
}

#[test]
fn an_empty_table_is_an_empty_list_too() {
    let block = "param \"nodes\" { type = \"list\", default = { \"n1\" }, doc = \"Which.\" }\n";
    let step = "step \"s\" { title = \"S\", run = function() note(`{#params.nodes} nodes`) end }\n";
    let host = Host::with_runbook(&format!("{HEAD}{block}{step}"));
    let scenario = "scenario \"none\" { params = { nodes = {} }, expect = function(run) run:shows(\"0 nodes\") end }\n";
    host.file("r/test.luau", scenario).run(&["test", "r", "--no-kills"]).shows("ok      r  none\n");
}

#[test]
fn what_a_step_does_not_restore_it_says() {
    let tested = |more: &str| {
        let step = format!("step \"s\" {{ title = \"S\", {more} run = function() scale(\"deployment/web\", 3) end }}\n");
        let host = Host::with_runbook(&format!("{HEAD}{step}"));
        host.run(&["test", "r", "--bless"]);
        host.run(&["test", "r"])
    };
    let passes = "ok      r  is taken back from every step\n        taken back from 1 step, 0 differences\n";
    tested("").exits(0).shows(passes);
    tested("irreversible = \"pods are counted\",").exits(0).shows(passes);
    tested("rollback = function() scale(\"deployment/web\", 2) end,").exits(0).shows(passes);
    for (more, found) in [
        ("rollback = function() end,", "spec.replicas: 2 -> 3"),
        ("rollback = function() scale(\"deployment/web\", 1) end,", "spec.replicas: 2 -> 1"),
        ("rollback = function() error(\"not today\") end,", "not today"),
    ] {
        let said = tested(more).exits(1).shows("FAILED  r  is taken back from every step").shows("taken back after step `s`");
        said.shows(found).shows("4 tests: 3 passed, 1 failed");
    }
}

/// A command in a container: what became of it is told by nobody.
#[test]
fn a_run_that_nobody_can_know_the_state_of_asks() {
    let runbook = format!(
        "{HEAD}step \"exec\" {{\n  title = \"A command\",\n  run = function()\n    exec(\"pod/lone\", {{ \"upgrade\", \"it\" }})\n    \
         label(\"deployment/web\", {{ done = \"yes\" }})\n  end,\n}}\n"
    );
    let fixture = format!(
        "{CLUSTER}---\napiVersion: v1\nkind: Pod\nmetadata: {{ name: lone, namespace: shop }}\n\
         spec: {{ containers: [{{ name: a, image: \"registry.example/a:v1\" }}] }}\n---\napiVersion: lockgate.dev/v1\nkind: Model\n\
         exec:\n- {{ match: {{ command: \"upgrade *\" }}, answer: {{ stdout: done, takes: 30s }}, why: a test }}\n"
    );
    let host = Host::new().file("r/runbook.luau", &runbook).file("r/cluster.yaml", &fixture);
    let host = host.file("r/test.luau", "scenario \"s\" { expect = function(run) run:succeeds() end }\n");
    host.run(&["test", "r", "--bless", "--no-kills"]);
    let said = host.run(&["test", "r"]).exits(0).shows("0 differences; ");
    assert!(said.stdout.contains("stopped to ask what nobody can know"), "{}", said.transcript());
}
