//! What a runbook may do: its `permissions`, the plan that was accepted, and what is asked for.

use super::support::{CLUSTER, HEAD, Host, MOVE};

const IMAGE: &str = "image=registry.example/web:v1.2.4";

fn with(block: &str) -> Host {
    Host::with_runbook(&format!("{MOVE}\n{block}\n"))
}

/// A runbook with one step.
fn step(block: &str, body: &str) -> Host {
    Host::with_runbook(&format!("{HEAD}{block}\nstep \"s\" {{ title = \"S\", run = function()\n{body}\nend }}\n"))
}

const WEB: &str =
    r#"{ verbs = { "patch" }, kinds = { "deployments" }, namespaces = { "shop" }, names = { "web" }, images = { "registry.example/*" } }"#;

#[test]
fn what_is_wrong_with_a_block_is_told_at_its_place() {
    for (block, message, hint) in [
        (
            "permissions { { verbs = { \"patsh\" }, kinds = { \"pods\" } } }",
            "`verbs` has `patsh`, which is no verb that writes",
            "did you mean `patch`?",
        ),
        ("permissions { { verbs = { \"get\" }, kinds = { \"pods\" } } }", "`verbs` has `get`", "reading needs no grant"),
        ("permissions { { verbs = { \"evict\" }, kinds = { \"pods\" } } }", "`verbs` has `evict`", "`pods/eviction`"),
        (
            "permissions { { verbs = { \"patch\" }, kinds = { \"deployment\" } } }",
            "`kinds` has `deployment`",
            "did you mean `deployments`?",
        ),
        (
            "permissions { { verbs = { \"patch\" }, kinds = { \"pods\" }, nmaes = { \"x\" } } }",
            "has no field `nmaes`",
            "did you mean `names`?",
        ),
        ("permissions { { kinds = { \"pods\" } } }", "has a line without `verbs`", "verbs = { \"patch\" }"),
        ("permissions { { verbs = { \"patch\" }, kinds = { \"pods\" }, names = {} } }", "`names` is empty", "leave it out"),
        (
            "permissions { { verbs = { \"patch\" }, kinds = { \"pods\" }, replicas = { 5, 1 } } }",
            "`replicas` must be the least and the greatest",
            "{ 0, 5 }",
        ),
        ("permissions { limits = { node = 1 } }", "`limits` has no field `node`", "did you mean `nodes`?"),
        ("permissions { limits = { nodes = -1 } }", "`nodes` must be a whole number from 0, got -1", ""),
        ("permissions { machine = { \"kubeadm\" } }", "`machine` must be a list of commands, got a string", "{ \"kubeadm\", \"upgrade\" }"),
        ("permissions { helms = {} }", "has no field `helms`", "did you mean `helm`?"),
        ("permissions { \"all\" }", "has a string where a line should be", "verbs = "),
        ("permissions {}\npermissions {}", "`permissions` are declared twice", "line "),
        ("permissions", "", ""),
    ] {
        let said = with(block).run(&["show", "r"]);
        if message.is_empty() {
            // Without its braces it is just a name.
            assert_ne!(said.code, Some(0), "{}", said.transcript());
            continue;
        }
        let said = said.exits(1).tells(message).tells(hint);
        assert!(said.stderr.contains("r/runbook.luau:"), "{}", said.transcript());
    }
    let said =
        with("permissions {\n  { verbs = { \"patch\" }, kinds = { \"pods\" } },\n  { verbs = { \"list\" }, kinds = { \"pods\" } },\n}")
            .run(&["show", "r"]);
    // The line of the third entry, not of the block.
    let line = format!("r/runbook.luau:{}", MOVE.lines().count() + 4);
    said.exits(1).tells(&line).tells("`list`");
}

#[test]
fn they_are_shown_with_what_they_amount_to() {
    let host = with(&format!(
        "permissions {{ {WEB}, limits = {{ nodes = 2 }}, helm = {{ charts = {{ \"cilium\" }} }}, machine = {{ {{ \"kubeadm\", \"upgrade\" }} }} }}"
    ));
    host.run(&["show", "r"])
        .exits(0)
        .shows("patch deployments")
        .shows("in shop; named web; images registry.example/*")
        .shows("that is: any image on any node")
        .shows("helm charts")
        .shows("kubeadm upgrade …")
        .shows("2 nodes");
    let shown = host.run(&["show", "r", "-o", "json"]).exits(0);
    let shown: serde_json::Value = serde_json::from_str(&shown.stdout).unwrap();
    assert_eq!(shown["permissions"]["grants"][0]["kinds"][0], "deployments");
    assert_eq!(shown["permissions"]["limits"]["nodes"], 2);
}

#[test]
fn what_is_granted_is_done_and_everything_else_refused_in_the_plan_already() {
    with(&format!("permissions {{ {WEB} }}")).run(&["run", "r", IMAGE, "--sandbox"]).exits(0);
    let said = with(&format!("permissions {{ {WEB} }}")).run(&["plan", "r", "image=evil.example/web:v1.2.4", "--sandbox"]).exits(5);
    said.tells("the image `evil.example/web:v1.2.4` is none of `registry.example/*`").tells("images = { \"evil.example/web:v1.2.4\" }");
    let other = WEB.replace("\"web\"", "\"db\"");
    let said = with(&format!("permissions {{ {other} }}")).run(&["plan", "r", IMAGE, "--sandbox"]).exits(5);
    said.tells("`patch deployments.apps shop/web`: the runbook's `permissions` do not grant it").tells(
        "add to `permissions`: `{ verbs = { \"patch\" }, kinds = { \"deployments\" }, namespaces = { \"shop\" }, names = { \"web\" } }`",
    );
    let said = with("permissions {}").run(&["run", "r", IMAGE, "--sandbox", "--yes"]).exits(5);
    said.tells("so it was not run: nothing was written");
}

#[test]
fn every_way_to_write_is_judged_by_its_request() {
    let grant = "permissions { { verbs = { \"patch\" }, kinds = { \"deployments\" }, names = { \"web\" }, images = { \"registry.example/*\" }, replicas = { 1, 3 } } }";
    for (body, told) in [
        ("scale(\"deployment/web\", 9)", "9 replicas are not within 1 and 3"),
        ("scale(\"deployment/web\", 0)", "0 replicas are not within 1 and 3"),
        ("delete(\"deployment/web\")", "`delete deployments.apps shop/web`"),
        ("patch(\"deployment/web\", { spec = { replicas = 7 } })", "7 replicas"),
        (
            "patch(\"deployment/web\", { { op = \"replace\", path = \"/spec/template/spec/containers/0/image\", value = \"evil/x:1\" } }, { type = \"json\" })",
            "the image `evil/x:1` is none of",
        ),
        (
            "patch(\"deployment/web\", { { op = \"copy\", from = \"/metadata/name\", path = \"/spec/template/spec/containers/0/image\" } }, { type = \"json\" })",
            "nobody can tell which values it sets",
        ),
        ("local d = get(\"deployment/web\")\nd.spec.template.spec.containers[1].image = \"evil/x:1\"\nupdate(d)", "the image `evil/x:1`"),
        (
            "create { apiVersion = \"v1\", kind = \"Pod\", metadata = { name = \"p\" }, spec = { containers = { { name = \"c\", image = \"registry.example/x:1\" } } } }",
            "`create pods shop/p`",
        ),
        ("create { apiVersion = \"v1\", kind = \"ConfigMap\", metadata = { name = \"c\" } }", "`create configmaps shop/c`"),
        ("exec(list(\"pods\")[1], { \"id\" })", "`create pods/exec shop/web-"),
        ("cordon(\"n1\")", "`patch nodes n1`"),
        ("label(\"namespace/shop\", { a = \"b\" })", "`patch namespaces shop`"),
    ] {
        step(grant, body).run(&["plan", "r", "--sandbox"]).exits(5).tells(told).tells("add to `permissions`");
        // No catching makes it go through.
        let caught = step(grant, &format!("pcall(function() {body} end)\nnote(`still {{get(\"deployment/web\").spec.replicas}}`)"));
        caught.run(&["run", "r", "--sandbox", "--yes"]).exits(0).shows("still 2");
    }
}

#[test]
fn deny_wins_and_limits_end_it() {
    let deny = "permissions { { verbs = { \"*\" }, kinds = { \"*\" } }, { verbs = { \"delete\" }, kinds = { \"deployments\" }, names = { \"!web\" } } }";
    step(deny, "delete(\"deployment/web\")")
        .run(&["plan", "r", "--sandbox"])
        .exits(5)
        .tells("`permissions` deny it")
        .tells("take `web` away");
    let limited = "permissions { { verbs = { \"*\" }, kinds = { \"*\" } }, limits = { nodes = 1, evictions = 1 } }";
    let two = format!("{CLUSTER}---\napiVersion: v1\nkind: Node\nmetadata: {{ name: n2 }}\n");
    step(limited, "cordon(\"n1\") uncordon(\"n1\") cordon(\"n1\") cordon(\"n2\")")
        .file("r/cluster.yaml", &two)
        .run(&["plan", "r", "--sandbox"])
        .exits(5)
        .tells("`limits.nodes` of `permissions` is 1, and so many were touched: `n1`");
    let delete = "for _, pod in list(\"pods\") do delete(pod) end";
    step(limited, delete).run(&["plan", "r", "--sandbox"]).exits(5).tells("`limits.evictions` of `permissions` is 1");
    let slow = "permissions { { verbs = { \"*\" }, kinds = { \"*\" } }, limits = { writes_per_minute = 1 } }";
    let said = step(slow, "for i = 1, 4 do annotate(\"deployment/web\", { a = tostring(i) }) end")
        .run(&["run", "r", "--sandbox", "--yes"])
        .exits(0);
    said.shows("3m");
}

#[test]
fn an_accepted_plan_grants_what_it_showed_and_no_more() {
    // What the plan cannot foresee happens in the run: the image is not there any more.
    let text = MOVE.replace(
        "  verify = function() wait_rollout(\"deployment/web\") end,",
        "  verify = function() wait_rollout(\"deployment/web\", { stall = \"1m\" }) end,\n  recover = function() delete(\"service/web\") end,",
    );
    let service = "---\napiVersion: v1\nkind: Service\nmetadata: { name: web, namespace: shop }\nspec: { selector: { app: web }, ports: [{ port: 80 }] }\n";
    let scenario = "scenario \"s\" {\n  params = { image = \"registry.example/web:v1.2.4\" },\n  drift = function(cluster) cluster:never_pulls(\"*:v1.2.4\") end,\n  \
                    expect = function(run)\n    run:fails_step(\"web\", { kind = \"refused\" })\n    run:leaves(\"service/web\", {})\n  end,\n}\n";
    let host = Host::with_runbook(&text).file("r/cluster.yaml", &format!("{CLUSTER}{service}")).file("r/test.luau", scenario);
    host.run(&["test", "r"]).shows("ok      r  s\n");
    // Pods by their controller: their names are others each time.
    let two = format!("{CLUSTER}---\napiVersion: v1\nkind: Node\nmetadata: {{ name: n2 }}\n");
    let twice = "drain(\"n1\") uncordon(\"n1\") drain(\"n2\") uncordon(\"n2\")";
    step("", twice).file("r/cluster.yaml", &two).run(&["run", "r", "--sandbox"]).exits(0).shows("evict");
}

#[test]
fn without_plan_and_block_nothing_is_granted_where_nobody_is_asked() {
    let host = step("", "scale(\"deployment/web\", 1)");
    let said = host.run(&["run", "r", "--sandbox", "--yes", "--no-plan"]).exits(5);
    said.tells("there is no accepted plan, and the runbook has no `permissions`").tells("add to `permissions`");
    step("permissions { { verbs = { \"patch\" }, kinds = { \"deployments\" } } }", "scale(\"deployment/web\", 1)")
        .run(&["run", "r", "--sandbox", "--yes", "--no-plan"])
        .exits(0);
}

/// The id of the only run of a folder.
fn only_run(host: &Host) -> String {
    let runs = host.runs_in(".local/state/lockgate/runs");
    assert_eq!(runs.len(), 1, "{runs:?}");
    runs[0].file_name().unwrap().to_str().unwrap().to_owned()
}

#[test]
fn the_limits_of_a_run_count_what_it_did_before_it_was_stopped() {
    let host = Host::with_runbook(&format!(
        "{HEAD}permissions {{ {{ verbs = {{ \"patch\" }}, kinds = {{ \"nodes\" }} }}, limits = {{ nodes = 1 }} }}\n\
         step \"one\" {{ title = \"One\", run = function() cordon(\"n1\") end }}\n\
         step \"two\" {{ title = \"Two\", gate = \"Go on?\", run = function() cordon(env(\"NODE\") or \"n1\") end }}\n"
    ))
    .file("r/cluster.yaml", &format!("{CLUSTER}---\napiVersion: v1\nkind: Node\nmetadata: {{ name: n2 }}\n"));
    // Nobody answers the gate.
    host.run(&["run", "r", "--sandbox"]).exits(4);
    let run = only_run(&host);
    host.run(&["approve", &run, "two", "--yes"]).exits(0);
    let host = host.env("NODE", "n2");
    host.run(&["resume", &run]).exits(5).tells("`limits.nodes` of `permissions` is 1, and so many were touched: `n1`");
}

#[test]
fn a_rollback_takes_back_what_was_granted_and_nothing_else() {
    let grants = "permissions { { verbs = { \"create\" }, kinds = { \"configmaps\" }, namespaces = { \"shop\" } } }\n";
    let makes = "step \"make\" { title = \"Make\", run = function()\n create { apiVersion = \"v1\", kind = \"ConfigMap\", \
                 metadata = { name = \"made\" }, data = { a = \"b\" } }\n end";
    // The host's own way back deletes, which the block has no line for: it is the inverse of what the block granted.
    let host = Host::with_runbook(&format!("{HEAD}{grants}{makes} }}\n"));
    host.run(&["run", "r", "--sandbox"]).exits(0);
    let run = only_run(&host);
    host.run(&["rollback", &run, "--yes"]).exits(0).shows("configmap/made");
    // What the runbook itself does on the way back needs a line.
    let back = "rollback = function() annotate(\"deployment/web\", { back = \"yes\" }) end";
    let host = Host::with_runbook(&format!("{HEAD}{grants}{makes},\n {back} }}\n"));
    host.run(&["run", "r", "--sandbox"]).exits(0);
    let run = only_run(&host);
    let said = host.run(&["rollback", &run, "--yes"]).exits(5);
    let said = said.tells("the runbook's `permissions` do not grant it").tells("add to `permissions`: `{ verbs = { \"patch\" }");
    said.tells("nothing was written");
}

#[test]
fn what_a_runbook_takes_away_a_rollback_does_not_touch() {
    let host = Host::with_runbook(&format!(
        "{HEAD}permissions {{ {{ verbs = {{ \"create\" }}, kinds = {{ \"configmaps\" }} }}, \
         {{ verbs = {{ \"delete\" }}, kinds = {{ \"configmaps\" }}, names = {{ \"!made\" }} }} }}\n\
         step \"make\" {{ title = \"Make\", run = function()\n create {{ apiVersion = \"v1\", kind = \"ConfigMap\", \
         metadata = {{ name = \"made\" }} }}\n end }}\n"
    ));
    host.run(&["run", "r", "--sandbox"]).exits(0);
    let run = only_run(&host);
    host.run(&["rollback", &run, "--yes"]).exits(5).tells("`permissions` deny it");
}
