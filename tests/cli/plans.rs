//! Plans as pages and files: what a reviewer reads, and what a run is held to.

use std::fs;

use super::json_schema::fits;
use super::served::Served;
use super::support::{CLUSTER, HEAD, Host, MOVE};

const IMAGE: &str = "image=registry.example/web:v1.2.4";
const FORMS: [&str; 4] = ["text", "json", "markdown", "html"];

/// Restarts pods, makes one whose name the server chooses, asks, and takes an answer on trust.
const MANY: &str = r#"runbook { title = "Many <b>things</b> | `now`", summary = "S.", impact = "restarts", namespace = "shop" }
check "c" { title = "It *is* there", run = function() return "a | b" end }
step "restart" { title = "Restart", run = function()
  confirm("Restart <script>alert(1)</script>?")
  rollout_restart("deployment/web")
  wait_rollout("deployment/web")
end }
step "drain" { title = "Drain n1", run = function()
  note("runs in ```a fence```")
  drain("n1")
  create { apiVersion = "v1", kind = "ConfigMap", metadata = { generateName = "made-" }, data = { a = "b" } }
  uncordon("n1")
end }
step "ask" { title = "Ask", run = function() note(ask("Which?", { default = "this" })) end }
"#;

/// [`CLUSTER`] with a second node, so that what is drained has a place to go to.
fn two_nodes() -> String {
    format!("apiVersion: v1\nkind: Node\nmetadata: {{ name: n2 }}\n---\n{CLUSTER}")
}

fn many() -> Host {
    Host::with_runbook(MANY).file("r/cluster.yaml", &two_nodes())
}

#[test]
fn forms_of_a_plan() {
    let host = many();
    for (form, name) in [("markdown", "plan-markdown"), ("html", "plan-html"), ("text", "plan-text"), ("json", "plan-json")] {
        host.run(&["plan", "r", "--sandbox", "-o", form]).exits(3).golden(name);
    }
    let failing = Host::with_runbook(MOVE);
    failing.run(&["plan", "r", "image=registry.example/web:v1.3.0", "--sandbox", "-o", "markdown"]).exits(1).golden("plan-markdown-fails");
    let unknown = Host::with_runbook(&format!("{HEAD}step \"a\" {{ title = \"A\", run = function() ask(\"Which?\") end }}\n"));
    unknown.run(&["plan", "r", "--sandbox", "-o", "markdown"]).exits(3).golden("plan-markdown-unknown");
}

#[test]
fn nothing_of_others_is_markup() {
    let said = many().run(&["plan", "r", "--sandbox", "-o", "html"]).exits(3);
    assert!(!said.stdout.contains("<script") && !said.stdout.contains("<b>"), "{}", said.transcript());
    assert!(said.stdout.contains("default-src 'none'"), "{}", said.transcript());
    let said = many().run(&["plan", "r", "--sandbox", "-o", "markdown"]).exits(3);
    assert!(!said.stdout.contains("<script>") || said.stdout.matches("<script>").count() == 1, "only in the fence: {}", said.transcript());
    assert!(said.stdout.contains("Restart &lt;script>"), "{}", said.transcript());
}

/// Plans on a live cluster have ids and moments of their own, and generated names differ; none of that is in any form.
#[test]
fn two_plans_of_the_same_input_are_the_same_text_in_every_form() {
    let host = many();
    let served = Served::start(&host, &["r"]);
    let plans = || FORMS.map(|form| host.run(&["plan", "r", "--kubeconfig", served.kubeconfig(), "-o", form]).exits(3).stdout);
    let (first, second) = (plans(), plans());
    for ((form, first), second) in FORMS.iter().zip(first).zip(second) {
        assert_eq!(first, second, "{form}");
        assert!(!first.contains("20260"), "{form}");
    }
}

#[test]
fn the_document_fits_its_schema() {
    let plan = fits("plan.v1.json", &many().run(&["plan", "r", "--sandbox", "-o", "json"]).exits(3).stdout);
    let lines = plan["downtime"].as_array().unwrap();
    let node = lines.iter().find(|line| line["object"] == "node/n1").unwrap();
    assert_eq!(node["outages"][0]["is"], "cordoned", "{node}");
    assert!(plan["events"].as_array().unwrap().iter().all(|event| event.get("run").is_none()));
    let asked = plan["events"].as_array().unwrap().iter().find(|event| event["event"] == "asked").unwrap();
    assert_eq!((&asked["place"], &asked["after"]), (&"step restart".into(), &"0s".into()), "where it is asked, and when");
}

#[test]
fn the_picture_says_what_is_down_when() {
    let fixture = CLUSTER.replace("replicas: 2", "replicas: 2\n  strategy: { type: Recreate }");
    let host = Host::with_runbook(MOVE).file("r/cluster.yaml", &fixture);
    let said = host.run(&["plan", "r", IMAGE, "--sandbox", "-o", "html"]).exits(0);
    said.shows("deployment/shop/web: 0 of 2 ready, ").shows("</svg>").golden("plan-html-recreate");
}

/// A runbook that asks, with a check that reads a status and a step that writes.
const BOUND: &str = r#"runbook { title = "Move web", summary = "S.", impact = "restarts", namespace = "shop" }
param "image" { type = "image", doc = "The new image.", example = "registry.example/web:v1.2.4" }
param "token" { type = "secret", doc = "A token.", default = "none-at-all" }
check "ready" { title = "It is ready", run = function()
  local web = get("deployment/web")
  for _, pod in list("pods", { labels = "app=web" }) do ensure(pod.spec.nodeName, "a pod waits") end
  get("configmap/none", { missing_ok = true })
  return `{web.status.readyReplicas} ready`
end }
step "web" { title = "Move web", run = function()
  confirm("Move it now?")
  set_image("deployment/web", { web = params.image })
  wait_rollout("deployment/web")
end }
"#;

fn bound() -> Host {
    Host::with_runbook(BOUND).env("LOCKGATE_RUNS", "runs")
}

#[test]
fn a_run_that_is_held_to_a_plan_does_it() {
    let host = bound();
    let plan = ["plan", "r", IMAGE, "token=hunter2-hunter2", "--sandbox", "--out", "plan.json"];
    host.run(&plan).exits(0).tells("--plan plan.json");
    let text = fs::read_to_string(host.path().join("plan.json")).unwrap();
    assert!(!text.contains("hunter2"), "{text}");
    assert!(text.contains("Move it now?") && text.contains("deployment/shop/web"), "{text}");
    fits("planfile.v1.json", &text);
    // Two plans of the same input are the same file.
    host.run(&["plan", "r", IMAGE, "token=hunter2-hunter2", "--sandbox", "--out", "again.json"]).exits(0);
    assert_eq!(fs::read_to_string(host.path().join("again.json")).unwrap(), text);
    let run = ["run", "r", IMAGE, "token=hunter2-hunter2", "--sandbox", "--plan", "plan.json", "--yes"];
    host.run(&run).exits(0).shows("yes (the accepted plan)").shows("done: 1 write");
    // Parameters that are not given are the plan's; a secret is not in it.
    host.run(&["run", "r", "token=hunter2-hunter2", "--sandbox", "--plan", "plan.json", "--yes"])
        .exits(0)
        .shows("param     image=registry.example/web:v1.2.4");
    let report = host.run(&["report", "last", "-o", "json"]).exits(0);
    assert!(report.stdout.contains("bound to plan file"), "{}", report.transcript());
    let pinned = fs::read_dir(host.path().join("runs")).unwrap().map(|entry| entry.unwrap().path()).find(|path| path.is_dir()).unwrap();
    assert_eq!(fs::read_to_string(pinned.join("script/data/plan.json")).unwrap(), text);
}

/// A plan's hash is that of its modules too, and is another one with every change of those.
fn without_hashes(text: &str) -> String {
    let is_hash = |word: &str| word.len() == 12 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
    let hidden = |word: &str| if is_hash(word.trim_end_matches([',', '\n'])) { word.replace(&word[..12], "HASH") } else { word.to_owned() };
    text.split(' ').map(hidden).collect::<Vec<_>>().join(" ")
}

#[test]
fn a_plan_of_something_else_is_refused_before_anything_is_contacted() {
    let host = bound();
    host.run(&["plan", "r", IMAGE, "--sandbox", "--out", "plan.json"]).exits(0);
    let path = |name: &str| host.path().join(name);
    let text = fs::read_to_string(path("plan.json")).unwrap();
    fs::write(path("edited.json"), text.replace("Move it now?", "Move it?")).unwrap();
    fs::write(path("short.json"), &text[..text.len() - 40]).unwrap();
    fs::write(path("newer.json"), text.replace("planfile/v1", "planfile/v9")).unwrap();
    fs::write(path("other.json"), "{}").unwrap();
    // A server that does not answer: whoever is refused has not asked it.
    fs::write(
        path("k.yaml"),
        "apiVersion: v1\nkind: Config\ncurrent-context: prod\nclusters: [{ name: c, cluster: { server: \"http://127.0.0.1:1\" } }]\n\
         users: [{ name: u, user: {} }]\ncontexts: [{ name: prod, context: { cluster: c, user: u } }]\n",
    )
    .unwrap();
    let other = "image=registry.example/web:v1.2.5";
    for (name, code, words) in [
        ("plan-file-edited", 5, &["run", "r", IMAGE, "--sandbox", "--plan", "edited.json", "--yes"][..]),
        ("plan-file-short", 2, &["run", "r", IMAGE, "--sandbox", "--plan", "short.json", "--yes"]),
        ("plan-file-newer", 2, &["run", "r", IMAGE, "--sandbox", "--plan", "newer.json", "--yes"]),
        ("plan-file-none", 2, &["run", "r", IMAGE, "--sandbox", "--plan", "other.json", "--yes"]),
        ("plan-file-missing", 2, &["run", "r", IMAGE, "--sandbox", "--plan", "nothing.json", "--yes"]),
        ("plan-file-parameter", 5, &["run", "r", other, "--sandbox", "--plan", "plan.json", "--yes"]),
        ("plan-file-live", 5, &["run", "r", IMAGE, "--kubeconfig", "k.yaml", "--plan", "plan.json", "--yes"]),
        ("plan-file-no-plan", 2, &["run", "r", IMAGE, "--sandbox", "--plan", "plan.json", "--no-plan"]),
    ] {
        let mut said = host.run(words).exits(code);
        said.stderr = without_hashes(&said.stderr);
        said.golden(name);
    }
    fs::write(path("r/runbook.luau"), BOUND.replace("It is ready", "It is there")).unwrap();
    host.run(&["run", "r", IMAGE, "--sandbox", "--plan", "plan.json", "--yes"]).exits(5).tells("`runbook.luau` has changed");
    assert!(!path("runs").exists() || fs::read_dir(path("runs")).unwrap().next().is_none(), "nothing was begun");
}

#[test]
fn a_cluster_that_moved_is_refused_with_the_difference() {
    let host = bound();
    host.run(&["plan", "r", IMAGE, "--sandbox", "--out", "plan.json"]).exits(0);
    let config = "---\napiVersion: v1\nkind: ConfigMap\nmetadata: { name: none, namespace: shop }\n";
    for (name, fixture) in [
        ("plan-file-replicas", CLUSTER.replace("replicas: 2", "replicas: 3")),
        ("plan-file-image", CLUSTER.replace("web:v1.2.3", "web:v1.2.2")),
        ("plan-file-appeared", format!("{CLUSTER}{config}")),
    ] {
        let host = bound().file("r/cluster.yaml", &fixture).file("plan.json", &fs::read_to_string(host.path().join("plan.json")).unwrap());
        host.run(&["run", "r", IMAGE, "--sandbox", "--plan", "plan.json", "--yes"]).exits(5).golden(name);
    }
}

/// A resource whose status nobody in the simulated cluster writes, with a check that reads it and says the same whatever it finds.
const GEAR: &str = "---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: { name: gears.example.org }
spec:
  group: example.org
  scope: Namespaced
  names: { kind: Gear, plural: gears, singular: gear }
  versions: [{ name: v1, served: true, storage: true, subresources: { status: {} }, schema: { openAPIV3Schema: { type: object, x-kubernetes-preserve-unknown-fields: true } } }]
---
apiVersion: example.org/v1
kind: Gear
metadata: { name: g, namespace: shop, uid: 3f0d8a52-0000-4000-8000-000000000001 }
status: { phase: Turning, seen: 4, at: \"2020-01-01T00:00:00Z\", conditions: [{ type: Oiled, status: \"True\", message: fine }] }
";

#[test]
fn the_status_that_a_check_read_is_compared_by_value() {
    let by_name = "get(\"gears.example.org/g\")";
    for (read, is_made) in [(by_name, false), ("list(\"gears.example.org\")[1]", false), ("list(\"gears.example.org\")[1]", true)] {
        compared_by_value(read, is_made);
    }
}

/// What a run by a plan says of a gear that is another, which its check read so. What a controller made is read by its verdict in a list.
fn compared_by_value(read: &str, is_made: bool) {
    let text = format!(
        "{HEAD}check \"g\" {{ title = \"It has a gear\", run = function() assert({read}.status.phase ~= \"Broken\") end }}\n\
         step \"a\" {{ title = \"A\", run = function() label(\"deployment/web\", {{ team = \"a\" }}) end }}\n"
    );
    let cluster = CLUSTER.replace("name: n1", "name: n1, uid: 3f0d8a52-0000-4000-8000-000000000002");
    let host = |gear: &str| Host::with_runbook(&text).env("LOCKGATE_RUNS", "runs").file("r/cluster.yaml", &format!("{cluster}{gear}"));
    let (uid, node) = ("3f0d8a52-0000-4000-8000-000000000001", "3f0d8a52-0000-4000-8000-000000000002");
    let owner = format!("{uid}, ownerReferences: [{{ apiVersion: v1, kind: Node, name: n1, uid: {node}, controller: true }}]");
    let gear = if is_made { GEAR.replace(uid, &owner) } else { GEAR.to_owned() };
    let first = host(&gear);
    first.run(&["plan", "r", "--sandbox", "--out", "plan.json"]).exits(0);
    let plan = fs::read_to_string(first.path().join("plan.json")).unwrap();
    fits("planfile.v1.json", &plan);
    for (from, to, told) in [
        ("phase: Turning", "phase: Waiting", Some("gear.example.org/shop/g: status.phase Turning -> Waiting")),
        ("status: \"True\"", "status: \"False\"", Some("status.conditions.Oiled.status True -> False")),
        ("seen: 4", "seen: 5", None),
        ("message: fine", "message: still fine", None),
        ("at: \"2020", "at: \"2021", None),
    ] {
        let host = host(&gear.replace(from, to)).file("plan.json", &plan);
        let said = host.run(&["run", "r", "--sandbox", "--plan", "plan.json", "--yes"]);
        match told.filter(|_| !is_made) {
            Some(told) => said.exits(5).tells(told).tells("what a check read of a status counts"),
            None => said.exits(0),
        };
    }
}

#[test]
fn what_rests_on_what_was_left_out_is_not_claimed() {
    let host = Host::with_runbook(MOVE);
    let served = Served::start(&host, &["r"]);
    let plan = |calls: &str| {
        let words = ["plan", "r", IMAGE, "--kubeconfig", served.kubeconfig(), "--local", "--overlay-calls", calls];
        host.run(&words).exits(3)
    };
    // Without its nodes no pod fits anywhere: that is no prediction.
    let said = plan("3").shows("nodes: not read: the plan may send 3 requests (`--overlay-calls`)").shows("fits on no node");
    assert!(!said.stdout.contains("would fail") && said.stdout.contains("unknown: the plan cannot be followed"), "{}", said.transcript());
    plan("8").shows("patch    deployment/web  [modelled]").shows("rollout of deployment/web: 2/2 pods, about 14s  [assumed]");
}

/// A chart of the fixture, rendered.
const CHART: &str = "---
apiVersion: lockgate.dev/v1
kind: Model
charts:
- { name: conf, version: 1.0.0, manifest: \"(rendered)\", why: a chart of the test }
";
const RENDERED: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: { name: conf, namespace: shop }\ndata: { mode: fast }";

#[test]
fn a_chart_that_moved_is_refused_with_its_digests() {
    let text = format!(
        "{HEAD}step \"a\" {{ title = \"A\", run = function() helm.install(\"conf\", \"conf\", {{ version = \"1.0.0\", namespace = \"shop\", repo = \"https://charts.example\" }}) end }}\n"
    );
    let host = |rendered: &str| {
        let host = Host::with_runbook(&text).env("LOCKGATE_RUNS", "runs");
        host.file("r/cluster.yaml", &format!("{CLUSTER}{}", CHART.replace("(rendered)", &rendered.replace('\n', "\\n"))))
    };
    let first = host(RENDERED);
    first.run(&["plan", "r", "--sandbox", "--out", "plan.json"]).exits(0);
    let plan = fs::read_to_string(first.path().join("plan.json")).unwrap();
    let digest = fits("planfile.v1.json", &plan)["charts"]["chart `conf` 1.0.0"].as_str().unwrap().to_owned();
    assert!(digest.starts_with("sha256:"), "{plan}");
    first.run(&["run", "r", "--sandbox", "--plan", "plan.json", "--yes"]).exits(0);
    let moved = host(&RENDERED.replace("mode: fast", "mode: slow")).file("plan.json", &plan);
    let said = moved.run(&["run", "r", "--sandbox", "--plan", "plan.json", "--yes"]).exits(5);
    said.tells("a chart is not what it was when the plan `plan.json` was made")
        .tells(&format!("chart `conf` 1.0.0: its content is another: {}", &digest[..19]))
        .tells("nothing was written");
}

#[test]
fn the_plan_of_another_cluster_is_refused() {
    let host = bound();
    let one = Served::start(&host, &["r", "--seed", "1"]);
    host.run(&["plan", "r", IMAGE, "--kubeconfig", one.kubeconfig(), "--out", "plan.json"]).exits(0);
    let other = Served::start(&host, &["r", "--seed", "2"]);
    let words = ["run", "r", IMAGE, "--kubeconfig", other.kubeconfig(), "--plan", "plan.json", "--yes"];
    host.run(&words).exits(5).tells("is of another cluster").tells("nothing was written");
    // In its own cluster it is done: pods, times and versions have moved since, and none of that is a difference.
    host.run(&["run", "r", IMAGE, "--kubeconfig", one.kubeconfig(), "--plan", "plan.json", "--yes"]).exits(0).shows("done: 1 write");
    // And not twice.
    host.run(&["run", "r", IMAGE, "--kubeconfig", one.kubeconfig(), "--plan", "plan.json", "--yes"]).exits(5).tells("deployment/shop/web");
}

#[test]
fn a_step_is_explained_in_full() {
    let host = many();
    host.run(&["plan", "r", "--sandbox", "--explain", "drain"]).exits(3).golden("plan-explain");
    host.run(&["plan", "r", "--sandbox", "--explain", "drian"]).exits(2).tells("the plan came to `restart`, `drain`, `ask`");
    let served = Served::start(&host, &["r"]);
    let live = ["plan", "r", "--kubeconfig", served.kubeconfig(), "--explain", "2"];
    let said = host.run(&live).exits(3);
    let said = said.shows("because  the server was asked: patch nodes n1?dryRun=All -> 200").shows("+   unschedulable: true");
    // Which budget let a pod go, where its successor fits, why that takes so long, and what an earlier step has left.
    let said = said.shows("because  no disruption budget covers pod/shop/web-").shows("fits on n2").shows("leaves them");
    said.shows("so long the pods of this cluster took");
    let local: Vec<&str> = live.iter().copied().chain(["--local"]).collect();
    host.run(&local).exits(3).shows("because  the server was not asked (`--local`)").hides("dryRun");
}

#[test]
fn what_a_secret_holds_is_not_explained() {
    let text = format!(
        "{HEAD}step \"a\" {{ title = \"A\", run = function() patch(\"secret/db\", {{ stringData = {{ key = \"hunter2-new\" }} }}) end }}\n"
    );
    let secret = "---\napiVersion: v1\nkind: Secret\nmetadata: { name: db, namespace: shop }\nstringData: { key: hunter2-old }\n";
    let host = Host::with_runbook(&text).file("r/cluster.yaml", &format!("{CLUSTER}{secret}"));
    let said = host.run(&["plan", "r", "--sandbox", "--explain", "a"]).exits(0);
    assert!(!said.stdout.contains("hunter2") && !said.stdout.contains("aHVudGVyMi"), "{}", said.transcript());
    said.shows("-   key: (secret)").shows("+   key: (secret) another");
}

#[test]
fn a_run_is_compared_with_its_plan() {
    let host = bound();
    host.run(&["run", "r", IMAGE, "--sandbox", "--yes"]).exits(0).shows("plan      predicted 6, right 6, wrong 0\n");
    host.run(&["report", "last"]).exits(0).shows("predicted 6, right 6, wrong 0");
    let report = fits("report.v1.json", &host.run(&["report", "last", "-o", "json"]).exits(0).stdout);
    assert_eq!((&report["hindsight"]["predicted"], &report["hindsight"]["right"]), (&6.into(), &6.into()));
    let faults = "apiVersion: lockgate.dev/v1\nkind: Faults\nrules:\n- match: {verb: patch, kind: Deployment}\n  do: {fail: {code: 403, message: \"no\"}}\n";
    fs::write(host.path().join("chaos.yaml"), faults).unwrap();
    let said = host.run(&["run", "r", IMAGE, "--sandbox", "--yes", "--chaos", "chaos.yaml"]).exits(5);
    said.shows("wrong 1 (step web: predicted `is done`, and it came `fails: ").shows("not reached 3");
}

/// A probe that comes and goes in one run: the names of its pods are made up in the plan, and others in the run.
const PROBE: &str = r#"
step "probe" { title = "A probe comes", run = function()
  apply { apiVersion = "apps/v1", kind = "Deployment", metadata = { name = "probe" }, spec = {
    replicas = 3, selector = { matchLabels = { app = "probe" } },
    template = {
      metadata = { labels = { app = "probe" } }, spec = { containers = { { name = "probe", image = "registry.example/probe:v1" } } },
    },
  } }
  wait_rollout("deployment/probe")
end }
step "gone" { title = "The probe goes", run = function() delete("deployment/probe") end, verify = function()
  for _, pod in list("pods", { labels = "app=probe" }) do wait_gone(pod) end
end }
"#;

#[test]
fn what_a_plan_says_of_pods_whose_names_it_made_up_is_found_again_when_they_are_gone() {
    let host = Host::with_runbook(&format!("{HEAD}{PROBE}"));
    let said = host.run(&["run", "r", "--sandbox", "--yes"]).exits(0);
    assert!(said.stdout.matches("end of pod/probe-").count() == 2, "{}", said.transcript());
    said.shows("plan      predicted 10, right 10, wrong 0\n");
    host.run(&["report", "last"]).exits(0).shows("predicted 10, right 10, wrong 0");
}
