//! `lockgate rbac`: the roles that it prints are enough for a plan and a run, and nothing in them is left over.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Stdio};

use serde_json::Value;

use super::support::{CLUSTER, HEAD, Host};
use crate::roles::{Asked, left_over, rights};

/// Run on a server here, by a process of its own. How every bundled runbook does as the same user, in virtual time and with somebody who
/// answers, is a test of each (`lockgate test`); here the others are planned.
const RUN: [&str; 1] = ["cce-cni-v1-patch"];
const USER: &str = "upgrader";

/// A sandbox that is served, and ended with this value.
struct Served(Child);

impl Drop for Served {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// Serves a fixture; gives the kubeconfig of the user.
fn serve(host: &Host, fixture: &str) -> (Served, String) {
    let mut command = host.command(&["sandbox", fixture, "--record", "requests.jsonl", "--print-kubeconfig"]);
    command.stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut kubeconfig = String::new();
    for line in lines.by_ref() {
        let line = line.unwrap();
        kubeconfig.push_str(&line);
        kubeconfig.push('\n');
        if line.trim_start().starts_with("token: ") {
            kubeconfig.push_str(&format!("    as: {USER}\n"));
        }
        if line.trim_start().starts_with("user: ") {
            break;
        }
    }
    // Whoever stops reading would end it.
    std::thread::spawn(move || lines.for_each(drop));
    (Served(child), kubeconfig)
}

fn requests(host: &Host) -> Vec<Asked> {
    let text = fs::read_to_string(host.path().join("requests.jsonl")).unwrap();
    text.lines().map(|line| request(&serde_json::from_str(line).unwrap())).collect()
}

fn request(line: &Value) -> Asked {
    let act = &line["act"];
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let part = act["subresource"].as_str().map(|part| format!("/{part}")).unwrap_or_default();
    let mut verbs = vec![text(&act["verb"])];
    // An apply that creates, and a command over WebSocket, are asked about twice.
    if line["status"] == 201 && verbs[0] != "create" {
        verbs.push("create".to_owned());
    }
    if line["method"] == "GET" && verbs[0] == "create" {
        verbs.push("get".to_owned());
    }
    Asked {
        verbs,
        group: text(&act["group"]),
        resource: text(&act["resource"]) + &part,
        namespace: text(&act["namespace"]),
        name: text(&act["name"]),
        status: line["status"].as_u64().unwrap(),
    }
    .with_escalation()
}

/// How a runbook is used by whom the roles are for.
#[derive(Clone, Copy, PartialEq)]
enum Use {
    Plans,
    Runs,
    /// A run that waits for a person in step `t`, and is gone on with.
    GoesOn,
}

/// Derives the roles, does this under exactly these, and compares.
#[track_caller]
fn exact(host: Host, runbook: &[&str], fixture: &str, how: Use) {
    let words = [&["rbac"], runbook, &["--subject", "user:upgrader"]].concat();
    let said = host.run(&words);
    if matches!(said.code, Some(1 | 2)) {
        // A program may not be there that its plan needs.
        said.tells("the plan does not succeed, so nobody can tell what the run needs").tells("no program of that name is on `PATH`");
        return;
    }
    // 3 where something is done by hand: the plan knows it, and not what comes of it.
    let roles = if said.code == Some(3) { said.stdout } else { said.exits(0).stdout };
    let host = host.file("served.yaml", &format!("{fixture}\n{}", roles.replace("# What", "---\n# What")));
    let (served, kubeconfig) = serve(&host, "served.yaml");
    let host = host.file("k.yaml", &kubeconfig);
    let run = |code: i32| drop(host.run(&[&["run"], runbook, &["--yes", "--kubeconfig", "k.yaml"]].concat()).exits(code));
    match how {
        Use::Runs => run(0),
        Use::GoesOn => {
            run(4);
            host.run(&["approve", "last", "t", "--yes"]).exits(0);
            host.run(&["resume", "last"]).exits(0);
        }
        Use::Plans => {
            // On a server operators are not played: a plan may end before them.
            let said = host.run(&[&["plan"], runbook, &["--kubeconfig", "k.yaml"]].concat());
            assert!(matches!(said.code, Some(0 | 3)), "{}{}", said.stdout, said.stderr);
        }
    }
    drop(served);
    let requests = requests(&host);
    let forbidden: Vec<&Asked> = requests.iter().filter(|request| request.status == 403).collect();
    assert!(forbidden.is_empty(), "{roles}\n{forbidden:#?}");
    if how != Use::Plans {
        assert!(requests.iter().any(|request| request.verbs.iter().any(|verb| verb == "patch" || verb == "create")), "{requests:?}");
        let rights = rights(&roles).unwrap();
        let over = left_over(&rights, &requests);
        assert!(over.is_empty(), "{roles}\nnot needed: {over:#?}");
    }
}

#[test]
fn every_bundled_runbook_runs_under_exactly_its_roles() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("runbooks");
    let mut seen = 0;
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap).filter(|entry| entry.path().is_dir()) {
        let name = entry.file_name().into_string().unwrap();
        let fixture = fs::read_to_string(entry.path().join("cluster.yaml")).unwrap();
        // The parameters are those of its example.
        let shown = Host::new().run(&["show", &name, "-o", "json"]).exits(0);
        let shown: Value = serde_json::from_str(&shown.stdout).unwrap();
        let required = shown["parameters"].as_array().unwrap().iter().filter(|parameter| parameter["required"] == true);
        let params: Vec<String> = required
            .map(|one| {
                let (name, example) = (one["name"].as_str().unwrap(), one["example"].as_str().unwrap());
                // Files of an example are beside the runbook.
                let file = if one["type"] == "manifests" { format!("{}/", entry.path().display()) } else { String::new() };
                format!("{name}={file}{example}")
            })
            .collect();
        let words: Vec<&str> = std::iter::once(name.as_str()).chain(params.iter().map(String::as_str)).collect();
        exact(Host::new(), &words, &fixture, if RUN.contains(&name.as_str()) { Use::Runs } else { Use::Plans });
        seen += 1;
    }
    assert!(seen > RUN.len());
}

#[test]
fn roles_have_what_each_verb_needs() {
    let text = format!(
        "{HEAD}step \"s\" {{ title = \"S\", run = function()\n\
         apply {{ apiVersion = \"v1\", kind = \"ConfigMap\", metadata = {{ name = \"c\" }}, data = {{ a = \"b\" }} }}\n\
         label(\"node/n1\", {{ a = \"b\" }})\n\
         drain(\"n1\")\nuncordon(\"n1\")\nwait_rollout(\"deployment/web\")\nend }}\n"
    );
    let two = format!(
        "{CLUSTER}---\napiVersion: v1\nkind: Node\nmetadata: {{ name: n2 }}\n---\napiVersion: v1\nkind: Namespace\nmetadata: {{ name: shop }}\n"
    );
    let host = Host::with_runbook(&text).file("r/cluster.yaml", &two);
    let said = host.run(&["rbac", "r"]).exits(0);
    let said = said.shows("\"pods/eviction\"]").shows("resourceNames: [\"n1\"]").shows("# kind: RoleBinding").shows("leases");
    assert!(rights(&said.stdout).unwrap().iter().all(|right| right.resource != "pods/eviction" || right.name.is_none()), "{}", said.stdout);
    exact(host, &["r"], &two, Use::Runs);
}

/// A binding gives its role anew with whatever is changed of it.
#[test]
fn roles_may_give_what_a_binding_gives_that_is_labelled() {
    let text = format!(
        "{HEAD}step \"s\" {{ title = \"S\", run = function()\n\
         label(\"clusterrolebinding/all\", {{ a = \"b\" }})\nannotate(\"rolebinding/default/some\", {{ a = \"b\" }})\nend }}\n"
    );
    let group = "apiVersion: rbac.authorization.k8s.io/v1\n";
    let rules = "rules: [{ apiGroups: [\"\"], resources: [secrets], verbs: [get] }]\n";
    let fixture = format!(
        "{CLUSTER}---\n{group}kind: ClusterRole\nmetadata: {{ name: all }}\n{rules}\
         ---\n{group}kind: ClusterRoleBinding\nmetadata: {{ name: all }}\nroleRef: {{ kind: ClusterRole, name: all }}\n\
         ---\n{group}kind: Role\nmetadata: {{ name: some, namespace: default }}\n{rules}\
         ---\n{group}kind: RoleBinding\nmetadata: {{ name: some, namespace: default }}\nroleRef: {{ kind: Role, name: some }}\n"
    );
    let host = Host::with_runbook(&text).file("r/cluster.yaml", &fixture);
    let said = host.run(&["rbac", "r"]).exits(0);
    let rights = rights(&said.stdout).unwrap();
    let binds: Vec<String> = rights.iter().filter(|right| right.verb == "bind").map(ToString::to_string).collect();
    assert_eq!(binds, ["bind clusterroles.rbac.authorization.k8s.io `all`", "bind roles.rbac.authorization.k8s.io `some` in default"]);
    exact(host, &["r"], &fixture, Use::Runs);
}

/// What was written is looked at again, each object by its name.
#[test]
fn roles_are_enough_to_go_on() {
    let text = format!(
        "{HEAD}step \"s\" {{ title = \"S\", run = function()\n\
         for _, name in {{ \"a\", \"b\", \"c\" }} do label(`node/{{name}}`, {{ a = \"b\" }}) end\nend }}\n\
         step \"t\" {{ title = \"T\", run = function() manual \"Look.\" end }}\n"
    );
    let nodes = ["a", "b", "c"].map(|name| format!("---\napiVersion: v1\nkind: Node\nmetadata: {{ name: {name} }}\n")).concat();
    let fixture = format!("{CLUSTER}{nodes}");
    exact(Host::with_runbook(&text).file("r/cluster.yaml", &fixture), &["r"], &fixture, Use::GoesOn);
}

#[test]
fn a_plan_that_does_not_succeed_gives_no_roles() {
    let host = Host::with_runbook(&format!("{HEAD}step \"s\" {{ title = \"S\", run = function() scale(\"deployment/none\", 1) end }}\n"));
    let said = host.run(&["rbac", "r"]).exits(1);
    assert!(said.stdout.is_empty());
    said.tells("nobody can tell what the run needs").tells("deployment/none");
    host.run(&["rbac", "r", "--subject", "jane"]).exits(2).tells("`jane` is nobody");
}
