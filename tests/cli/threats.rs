//! The threat table: what somebody tries, and that it does not work. Numbers are those of the table; what a row needs beyond the
//! command line is tested where it is made: T1 and T2 in `permissions.rs` and `rbac.rs` too, T3 in `host/cluster/permit`, T4 in
//! `host/report/escape_tests.rs`, T9 and T12 in `tests/lua`; T17 is in `tampered.rs`.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use expectrl::session::OsSession;
use expectrl::{Eof, Expect as _};
use serde_json::Value;

use super::support::{CLUSTER, HEAD, Host, MOVE, Said};
use super::tampered::mode;

pub(super) const IMAGE: &str = "image=registry.example/web:v1.2.4";

fn step(block: &str, body: &str) -> Host {
    Host::with_runbook(&format!("{HEAD}{block}\nstep \"s\" {{ title = \"S\", run = function()\n{body}\nend }}\n"))
}

/// Fails when a character is there that does something instead of being seen.
#[track_caller]
fn harmless(said: &Said) {
    let bad = |c: &char| {
        (c.is_control() && *c != '\n') || matches!(*c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    for text in [&said.stdout, &said.stderr] {
        assert_eq!(text.chars().find(bad), None, "{text:?}");
    }
}

/// A sandbox that is served, and ended with this value.
pub(super) struct Served(Child);

impl Drop for Served {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// Serves a fixture; gives its kubeconfig.
pub(super) fn serve(host: &Host, fixture: &str, record: &str) -> (Served, String) {
    serve_seed(host, fixture, record, "1")
}

/// The same with names and uids that this seed gives.
fn serve_seed(host: &Host, fixture: &str, record: &str, seed: &str) -> (Served, String) {
    let mut command = host.command(&["sandbox", fixture, "--record", record, "--print-kubeconfig", "--seed", seed]);
    command.stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut kubeconfig = String::new();
    for line in lines.by_ref() {
        let line = line.unwrap();
        kubeconfig.push_str(&format!("{line}\n"));
        // The last line: the context's user.
        if line.trim_start().starts_with("user: ") {
            break;
        }
    }
    std::thread::spawn(move || lines.for_each(drop));
    (Served(child), kubeconfig)
}

#[test]
fn t01_a_careless_runbook_does_only_what_it_declared() {
    let block = "permissions { { verbs = { \"patch\" }, kinds = { \"deployments\" }, names = { \"web\" } } }";
    for body in [
        "delete(\"namespace/shop\")",
        "for _, pod in list(\"pods\", { all_namespaces = true }) do delete(pod) end",
        "patch(\"node/n1\", { spec = { unschedulable = true } })",
        "create { apiVersion = \"v1\", kind = \"Secret\", metadata = { name = \"x\" } }",
    ] {
        step(block, body).run(&["run", "r", "--sandbox", "--yes"]).exits(5).tells("do not grant it").tells("nothing was written");
    }
    step(block, "scale(\"deployment/web\", 1)").run(&["run", "r", "--sandbox", "--yes"]).exits(0);
}

#[test]
fn t02_harmless_words_are_told_for_what_they_are() {
    let agent = "---\napiVersion: apps/v1\nkind: DaemonSet\nmetadata: { name: agent, namespace: shop }\nspec:\n  selector: { matchLabels: { app: agent } }\n  \
                 template:\n    metadata: { labels: { app: agent } }\n    spec: { containers: [{ name: a, image: \"x:1\" }] }\n";
    let host =
        step("permissions {}", "set_image(\"daemonset/agent\", { a = \"x:2\" })").file("r/cluster.yaml", &format!("{CLUSTER}{agent}"));
    host.run(&["plan", "r", "--sandbox"]).exits(5).tells("to grant it is to grant root on every node");
    for (kind, power) in [
        ("pods/exec", "its account"),
        ("nodes/proxy", "root on the node"),
        ("serviceaccounts/token", "the account may do"),
        ("clusterroles", "any right"),
    ] {
        let block = format!("permissions {{ {{ verbs = {{ \"create\" }}, kinds = {{ \"{kind}\" }} }} }}");
        step(&block, "").run(&["show", "r"]).exits(0).shows(power);
    }
}

#[test]
fn t03_a_command_in_a_pod_is_a_write_whatever_its_method() {
    let pod = "local pod = list(\"pods\")[1]\n";
    let check = format!(
        "{HEAD}check \"c\" {{ title = \"C\", run = function()\n{pod}exec(pod, {{ \"id\" }})\nend }}\nstep \"s\" {{ title = \"S\", run = function() end }}\n"
    );
    Host::with_runbook(&check).run(&["plan", "r", "--sandbox"]).exits(1).tells("`exec` writes, and is called in a check");
    step("permissions {}", &format!("{pod}exec(pod, {{ \"id\" }})")).run(&["plan", "r", "--sandbox"]).exits(5).tells("create pods/exec");
    step("permissions {}", &format!("{pod}exec(pod, {{ \"id\" }}, {{ read = true }})"))
        .run(&["plan", "r", "--sandbox"])
        .exits(5)
        .tells("create pods/exec");
}

#[test]
fn t04_text_from_the_cluster_moves_nothing_on_the_terminal() {
    let hostile = "\\u001b]0;owned\\u0007\\u001b[2J\\r\\u202eevil\\u200b\\u009b31m";
    let fixture = CLUSTER.replace(
        "metadata: { name: web, namespace: shop }",
        &format!("metadata: {{ name: web, namespace: shop, annotations: {{ x: \"{hostile}\" }} }}"),
    );
    let body = "local x = get(\"deployment/web\").metadata.annotations.x\nnote(x)\nannotate(\"deployment/web\", { y = x })\nerror(x)";
    for words in [
        &["plan", "r", "--sandbox"][..],
        &["plan", "r", "--sandbox", "-o", "json"],
        &["run", "r", "--sandbox", "--yes", "--no-plan"],
        &["plan", "r", "--sandbox", "-vvv"],
    ] {
        let block = "permissions { { verbs = { \"*\" }, kinds = { \"*\" } } }";
        let said = step(block, body).file("r/cluster.yaml", &fixture).run(words).exits(1);
        assert!(said.stdout.contains("owned"), "{}", said.transcript());
        harmless(&said);
    }
    // The runbook's own words too.
    let titled = MOVE.replace("Moves web to another image.", "Moves \\27[2J\\226\\128\\174web.");
    for words in [&["show", "r"][..], &["show", "r", "-o", "json"], &["plan", "r", IMAGE, "--sandbox"]] {
        harmless(&Host::with_runbook(&titled).run(words).exits(0));
    }
}

/// A lease of the lock whose every text is hostile.
fn hostile_lock(run: &str, hostile: &str) -> String {
    let names = ["user", "runbook", "step", "head", "last-run", "left"];
    let texts: String = names.iter().map(|name| format!("    lockgate.dev/{name}: \"{hostile}\"\n")).collect();
    format!(
        "---\napiVersion: coordination.k8s.io/v1\nkind: Lease\nmetadata:\n  name: lockgate\n  namespace: kube-system\n  annotations:\n{texts}\
         spec: {{ holderIdentity: \"{run}@{hostile}\", leaseDurationSeconds: 60, leaseTransitions: 1 }}\n"
    )
}

#[test]
fn t04_text_in_the_lock_is_shown_and_does_nothing() {
    let hostile = "\\u001b]0;owned\\u0007\\u001b[2J\\r\\u202eevil\\u200b\\u009b31m\\nerror: forged\\n  hint: run `evil`";
    let run = "01KAM4B7X00000000000000AAA";
    let served = |lease: &str| {
        let host = Host::with_runbook(MOVE).file("r/cluster.yaml", &format!("{CLUSTER}{lease}"));
        let (served, kubeconfig) = serve(&host, "r", "record");
        (host.file("k.yaml", &kubeconfig), served)
    };
    let plain = |said: Said| {
        harmless(&said);
        for text in [&said.stdout, &said.stderr] {
            let forged = text.lines().find(|line| {
                line.trim_start().starts_with("error: forged") || line.contains("  hint: run `evil`") && !line.contains("owned")
            });
            assert_eq!(forged, None, "{text}");
        }
        assert!(said.stderr.contains("owned") || said.stdout.contains("owned"), "{}", said.transcript());
    };
    let (host, _served) = served(&hostile_lock(run, hostile));
    plain(host.run(&["run", "r", IMAGE, "--yes", "--kubeconfig", "k.yaml"]).exits(5).tells("is held by the run"));
    plain(host.run(&["unlock", run, "--kubeconfig", "k.yaml"]).exits(2));
    plain(host.run(&["unlock", run, "--yes", "--kubeconfig", "k.yaml"]).exits(0));
    // What the run before left behind is a warning, and a name that is none is no command to be copied.
    let left = hostile_lock(run, hostile).replace(&format!("holderIdentity: \"{run}@{hostile}\", "), "");
    let (host, _served) = served(&left);
    plain(host.run(&["run", "r", IMAGE, "--yes", "--kubeconfig", "k.yaml"]));
}

#[test]
fn t04_text_that_a_run_was_asked_with_does_nothing_on_another_terminal() {
    let hostile = "\\u001b]0;owned\\u0007\\u001b[2J\\r\\u202eevil\\u200b\\u009b31m";
    let fixture = CLUSTER.replace(
        "metadata: { name: web, namespace: shop }",
        &format!("metadata: {{ name: web, namespace: shop, annotations: {{ x: \"{hostile}\" }} }}"),
    );
    let body = "local x = get(\"deployment/web\").metadata.annotations.x\nnote(x)\nannotate(\"deployment/web\", { y = x })\nmanual(x)";
    let block = "permissions { { verbs = { \"*\" }, kinds = { \"*\" } } }";
    let host = step(block, body).file("r/cluster.yaml", &fixture).env("USER", "kim\u{1b}[2J\u{202e}");
    host.run(&["run", "r", "--sandbox", "--yes"]).exits(4);
    for (words, code) in [
        (&["status", "last"][..], 0),
        (&["status", "last", "-o", "json"], 0),
        (&["attach", "last"], 4),
        (&["report", "last"], 0),
        (&["report", "last", "-o", "markdown"], 0),
        (&["report", "last", "-o", "html"], 0),
        (&["report", "last", "-o", "json"], 0),
        (&["approve", "last", "s"], 2),
        (&["approve", "last", "x"], 2),
        (&["approve", "last", "s", "--yes"], 0),
        (&["resume", "last"], 0),
        (&["report", "last"], 0),
    ] {
        let said = host.run(words).exits(code);
        harmless(&said);
        assert!(words[0] == "approve" || said.stdout.contains("owned"), "{}", said.transcript());
    }
    host.run(&["report", "last"]).shows("done (kim\\u{1b}[2J\\u{202e}, from another terminal)");
    for words in [&["rollback", "last", "--yes"][..], &["runs"]] {
        harmless(&host.run(words).exits(0));
    }
}

#[test]
fn t05_nothing_secret_is_left_behind() {
    let host = Host::with_runbook(&format!(
        "{HEAD}param \"key\" {{ type = \"secret\", doc = \"A key.\" }}\nstep \"s\" {{ title = \"S\", run = function() note(`{{params.key}}`) end }}\n"
    ));
    for words in [
        &["plan", "r", "key=hunter2", "--sandbox"][..],
        &["run", "r", "key=hunter2", "--sandbox", "-o", "json"],
        &["plan", "r", "key=hunter2", "--sandbox", "-vvv"],
    ] {
        let said = host.run(words);
        assert!(!said.stdout.contains("hunter2") && !said.stderr.contains("hunter2"), "{}", said.transcript());
    }
    // A crash leaves no core file.
    let host = Host::new().file("c.yaml", CLUSTER);
    let (served, _) = serve(&host, "c.yaml", "record");
    let limits = fs::read_to_string(format!("/proc/{}/limits", served.0.id())).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().skip(4).take(2).collect::<Vec<_>>(), ["0", "0"], "{core}");
}

#[test]
fn t06_a_runbook_chooses_neither_cluster_nor_the_command_that_signs_in() {
    let plugin = "apiVersion: v1\nkind: Config\nclusters: [{ name: c, cluster: { server: \"https://127.0.0.1:1\" } }]\n\
                  users: [{ name: u, user: { exec: { apiVersion: client.authentication.k8s.io/v1, command: sh, args: [\"-c\", \"exit 1\"], interactiveMode: Never } } }]\n\
                  contexts: [{ name: x, context: { cluster: c, user: u } }]\ncurrent-context: x\n";
    let host = Host::with_runbook(MOVE).file("k.yaml", plugin).file("r/k.yaml", plugin).env("PATH", "/usr/bin:/bin");
    let said = host.run(&["plan", "r", IMAGE, "--kubeconfig", "k.yaml"]);
    assert_ne!(said.code, Some(0));
    said.tells("signing in runs `sh -c exit 1` (/").tells("which the kubeconfig names");
    host.run(&["plan", "r", IMAGE, "--kubeconfig", "r/k.yaml"]).exits(5).tells("is in the folder of the runbook").tells("move it out");
    let host = host.env("KUBECONFIG", "r/k.yaml");
    host.run(&["plan", "r", IMAGE]).exits(5).tells("is in the folder of the runbook");
}

#[test]
fn t06_what_the_user_forbade_kubectl_to_run_is_not_run() {
    let signs = "#!/bin/sh\ntouch was-run\nexit 1\n";
    let plugin = "apiVersion: v1\nkind: Config\nclusters: [{ name: c, cluster: { server: \"https://127.0.0.1:1\" } }]\n\
                  users: [{ name: u, user: { exec: { apiVersion: client.authentication.k8s.io/v1, command: ./sign-in, interactiveMode: Never } } }]\n\
                  contexts: [{ name: x, context: { cluster: c, user: u } }]\ncurrent-context: x\n";
    let preferences = |more: &str| format!("apiVersion: kubectl.config.k8s.io/v1beta1\nkind: Preference\n{more}");
    let list = "credentialPluginPolicy: Allowlist\ncredentialPluginAllowlist:\n- command: ";
    let plan = |text: &str, env: &[(&str, &str)]| {
        let host = Host::with_runbook(MOVE).file("k.yaml", plugin).file("sign-in", signs).file(".kube/kuberc", text);
        let host = env.iter().fold(host.env("PATH", "/usr/bin:/bin"), |host, (name, value)| host.env(name, value));
        mode(&host.path().join("sign-in"), 0o755);
        let said = host.run(&["plan", "r", IMAGE, "--kubeconfig", "k.yaml"]);
        (said, host.path().join("was-run").exists())
    };
    for (text, told) in [
        (preferences("credentialPluginPolicy: DenyAll\n"), "allows no command (`credentialPluginPolicy: DenyAll`)"),
        (preferences(&format!("{list}sh\n")), "does not name it (`credentialPluginAllowlist`)"),
    ] {
        let (said, ran) = plan(&text, &[]);
        said.exits(5).tells("`./sign-in`, by which the kubeconfig signs in, is not run").tells(told).tells("hint: ");
        assert!(!ran, "{text}");
    }
    // Whoever cannot be understood has not allowed it.
    for (text, told) in [
        (preferences("credentialPluginPolicy: Never\n"), "`credentialPluginPolicy: Never` is none of"),
        (preferences("credentialPluginPolicy: [\n"), "cannot be used"),
    ] {
        let (said, ran) = plan(&text, &[]);
        said.exits(2).tells(told);
        assert!(!ran, "{text}");
    }
    let denies = preferences("credentialPluginPolicy: DenyAll\n");
    for (text, env) in [
        (preferences(&format!("{list}./sign-in\n")), &[][..]),
        (preferences(""), &[]),
        (denies.clone(), &[("KUBERC", "off")]),
        (denies.clone(), &[("KUBECTL_KUBERC", "false")]),
    ] {
        let (said, ran) = plan(&text, env);
        assert!(ran, "{text}{env:?}\n{}", said.transcript());
    }
    plan(&preferences(""), &[("KUBERC", "none.yaml")]).0.exits(2).tells("the preferences `none.yaml` cannot be used");
}

#[test]
fn t08_modules_are_found_in_their_folders_only() {
    let secret = Host::new().file("secret.luau", "return { word = \"hunter2\" }");
    for name in ["../secret", "/etc/passwd", "a/../../secret", "..", "a//b", "a\\0b", "file:secret"] {
        let host = step("", "").file("secret.luau", "return { word = \"hunter2\" }");
        let host = host.file(
            "r/runbook.luau",
            &format!("local m = require(\"{name}\")\n{HEAD}step \"s\" {{ title = m.word, run = function() end }}\n"),
        );
        host.run(&["show", "r"]).exits(1).tells("cannot be the name of a module").hides("hunter2");
    }
    let host = step("", "");
    std::os::unix::fs::symlink(secret.path().join("secret.luau"), host.path().join("r/linked.luau")).unwrap();
    let host = host
        .file("r/runbook.luau", &format!("local m = require(\"linked\")\n{HEAD}step \"s\" {{ title = m.word, run = function() end }}\n"));
    let said = host.run(&["show", "r"]);
    assert!(matches!(said.code, Some(1 | 2)), "{}", said.transcript());
    said.tells("leads out of its folder").hides("hunter2");
}

#[test]
fn t09_documents_that_unfold_without_end_are_refused_at_once() {
    let mut bomb = "a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]\n".to_owned();
    for level in 1..9 {
        bomb.push_str(&format!("a{level}: &a{level} [{}]\n", vec![format!("*a{}", level - 1); 10].join(", ")));
    }
    let deep = format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{ name: x }}\nspec: {}1{}\n", "[".repeat(50_000), "]".repeat(50_000));
    let begun = Instant::now();
    for text in [&bomb, &deep] {
        for words in [
            &["plan", "r", IMAGE, "--sandbox"][..],
            &["plan", "r", IMAGE, "--params", "p.yaml", "--sandbox=c.yaml"],
            &["sandbox", "r/cluster.yaml"],
        ] {
            let host = Host::with_runbook(MOVE).file("r/cluster.yaml", text).file("p.yaml", text).file("c.yaml", CLUSTER);
            host.run(words).exits(2).tells("error:");
        }
    }
    assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
}

#[test]
fn t11_words_are_words_and_no_shell_reads_them() {
    for (body, told) in [
        ("helm.install(\"-x\", \"./chart\")", "no name of a release"),
        ("helm.install(\"a;b\", \"./chart\")", "no name of a release"),
        ("helm.install(\"web\", \"--post-renderer=sh\")", "`helm.install`: `--post-renderer=sh` is no chart"),
        ("helm.install(\"web\", \"-x\")", "`helm.install`: `-x` is no chart"),
        ("helm.install(\"web\", \"./chart\", { version = \"--devel\" })", "`helm.install`: `--devel` is no exact version"),
        ("helm.install(\"web\", \"./chart\", { version = \"1.0.0 --set a=b\" })", "`helm.install`: `1.0.0 --set a=b` is no exact version"),
        ("helm.install(\"--kube-token=x/web\", \"./chart\")", "no name of a release"),
        ("machine.read(\"-oProxyCommand=id\", { \"true\" })", "-oProxyCommand=id"),
    ] {
        let said = step("", body).run(&["plan", "r", "--sandbox"]).exits(1);
        said.tells(told).tells("--> ").tells("runbook.luau");
    }
    for address in ["-oProxyCommand=id", "a b", "x@y"] {
        let inventory = format!("nodes: {{ n1: {{ address: \"{address}\" }} }}\n");
        let kubeconfig = "apiVersion: v1\nkind: Config\nclusters: [{ name: c, cluster: { server: \"https://127.0.0.1:1\" } }]\n\
                          contexts: [{ name: x, context: { cluster: c } }]\ncurrent-context: x\n";
        let host = Host::with_runbook(MOVE).file("i.yaml", &inventory).file("k.yaml", kubeconfig);
        host.run(&["plan", "r", IMAGE, "--kubeconfig", "k.yaml", "--machines", "ssh", "--inventory", "i.yaml"]).exits(2).tells("inventory");
    }
}

#[test]
fn t12_a_script_has_nothing_of_the_machine_and_takes_no_more_than_its_share() {
    // Loops without end, and patterns that search for ever: `tests/lua/hostile.rs`.
    for (body, told) in [
        ("os.execute(\"id\")", "there is no `os` here"),
        ("io.open(\"/etc/passwd\")", "there is no `io` here"),
        ("debug.getinfo(1)", "there is no `debug` here"),
        ("loadstring(\"return 1\")()", "there is no `loadstring` here"),
        ("load(\"return 1\")()", "there is no `load` here"),
        ("string.dump(print)", "`string` has no `dump`"),
        ("package.loadlib(\"x\", \"y\")", "nothing is called `package`"),
        ("getfenv(0).x = 1", "there is no `getfenv` here"),
        ("string.rep = nil", "readonly"),
        ("getmetatable(\"\").__index = {}", "attempt to index boolean"),
        ("local t = {} while true do t[#t + 1] = string.rep(`x{#t}`, 1000000) end", "the script needs more than 256 MiB of memory"),
        ("local function f() return f() + 1 end f()", "the script's functions call each other too deeply"),
    ] {
        let begun = Instant::now();
        let said = step("", body).run(&["plan", "r", "--sandbox"]).exits(1);
        assert!(said.stderr.contains(told), "{body}\n{}", said.transcript());
        said.tells("--> ").tells("runbook.luau");
        assert!(begun.elapsed() < Duration::from_secs(60), "{body}");
    }
    // Nor is a file that was compiled elsewhere a script.
    let host = Host::with_runbook("").bytes("r/runbook.luau", b"\x1bLuaQ\x00\x01\x04");
    host.run(&["show", "r"]).exits(1).tells("is not a text file");
    let host = Host::with_runbook("").bytes("r/runbook.luau", &[6, 1, 0, 0, 0, 0]);
    host.run(&["show", "r"]).exits(1).tells("is not a text file");
}

#[test]
fn t15_the_cluster_is_the_one_that_was_planned_on() {
    // Somebody switches the context while the question stands.
    let host = Host::with_runbook(MOVE);
    let (_served, kubeconfig) = serve(&host, "r", "record");
    let host = host.file("k.yaml", &kubeconfig);
    let mut command = host.command(&["run", "r", IMAGE, "--kubeconfig", "k.yaml"]);
    command.env("TERM", "xterm").stdin(Stdio::inherit());
    let mut session = OsSession::spawn(command).unwrap();
    session.set_expect_timeout(Some(Duration::from_secs(60)));
    session.expect("[y/N] ").unwrap();
    let start = kubeconfig.find("server: ").unwrap() + "server: ".len();
    let end = start + kubeconfig[start..].find('\n').unwrap();
    fs::write(host.path().join("k.yaml"), format!("{}https://127.0.0.1:1{}", &kubeconfig[..start], &kubeconfig[end..])).unwrap();
    session.send_line("y").unwrap();
    session.expect("done").unwrap();
    session.expect("1 write to 1 object").unwrap();
    session.expect(Eof).unwrap();
}

#[test]
fn t15_a_run_goes_on_in_its_own_cluster_only() {
    let gated = format!(
        "{HEAD}step \"scale\" {{ title = \"Scale\", run = function() scale(\"deployment/web\", 3) end }}\n\
         step \"rest\" {{ title = \"Rest\", gate = \"Go on?\", run = function() scale(\"deployment/web\", 4) end }}\n"
    );
    let host = Host::with_runbook(&gated);
    let (_own, own) = serve(&host, "r", "record");
    let (_other, other) = serve_seed(&host, "r", "other", "2");
    let host = host.file("k.yaml", &own);
    host.run(&["run", "r", "--yes", "--kubeconfig", "k.yaml"]).exits(4);
    // The same name of the same file leads to another cluster now, whose `web` looks as the run has left it.
    fs::write(host.path().join("k.yaml"), &other).unwrap();
    host.run(&["approve", "last", "rest", "--yes"]).exits(0);
    let before = fs::read_to_string(host.path().join("other")).unwrap();
    for words in [&["resume", "last"][..], &["rollback", "last", "--yes"], &["unlock", "last", "--yes"], &["report", "last", "--verify"]] {
        host.run(words).exits(5).tells("is not the cluster of run");
    }
    let writes = |text: &str| text.lines().filter(|line| !line.contains("\"verb\":\"get\"") && !line.contains("\"verb\":\"list\"")).count();
    let after = fs::read_to_string(host.path().join("other")).unwrap();
    assert_eq!(writes(&after), writes(&before), "{after}");
    assert!(after.len() > before.len(), "it was looked at");
    fs::write(host.path().join("k.yaml"), &own).unwrap();
    host.run(&["resume", "last"]).exits(0);
}

#[test]
fn t16_the_server_is_watched_and_not_asked_again_and_again() {
    let image = "image=registry.example/cce-plugin-pro/cce-cni:v1.8.4";
    let host = Host::new();
    let (served, kubeconfig) = serve(&host, "cce-cni-v1-patch", "record.jsonl");
    let host = host.file("k.yaml", &kubeconfig);
    host.run(&["run", "cce-cni-v1-patch", image, "--yes", "--kubeconfig", "k.yaml"]).exits(0);
    drop(served);
    let text = fs::read_to_string(host.path().join("record.jsonl")).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let first: lockgate::base::Timestamp = lines[0]["at"].as_str().unwrap().parse().unwrap();
    let last: lockgate::base::Timestamp = lines.last().unwrap()["at"].as_str().unwrap().parse().unwrap();
    // It takes minutes; whoever asks each second would have asked hundreds of times.
    assert!(last.duration_since(first).as_secs() >= 60, "{first} {last}");
    let mut lists: BTreeMap<String, usize> = BTreeMap::new();
    for line in lines.iter().filter(|line| line["act"]["verb"] == "list" || line["act"]["verb"] == "get") {
        let uri = line["uri"].as_str().unwrap().split('?').next().unwrap().to_owned();
        *lists.entry(uri).or_default() += 1;
    }
    let most = lists.iter().max_by_key(|(_, count)| **count).unwrap();
    assert!(*most.1 <= 40 && lines.len() <= 250, "{} requests, most: {most:?}", lines.len());
    assert!(lines.iter().any(|line| line["act"]["verb"] == "watch"));
}

#[test]
fn t16_a_server_that_can_hardly_answer_is_left_alone() {
    // Two of three requests fail, as on a server that is drowning: each is sent again, and goes well in the end.
    let rules = "apiVersion: lockgate.dev/v1\nkind: Faults\nrules:\n- match: {verb: get, kind: Deployment, every: 2}\n  do: {fail: {code: 503}}\n\
                 - match: {verb: get, kind: Deployment, every: 3}\n  do: {fail: {code: 429}}\n";
    let body = "for n = 1, 40 do\n  get(\"deployment/web\")\n  end\nannotate(\"deployment/web\", { done = \"1\" })";
    let block = "permissions { { verbs = { \"patch\" }, kinds = { \"deployments\" } } }";
    let host = step(block, body).file("chaos.yaml", rules);
    let said = host.run(&["run", "r", "--sandbox", "--chaos", "chaos.yaml", "--no-plan", "--yes"]).exits(4);
    said.tells("the API server can hardly answer, so nothing more is asked of it")
        .tells("answers of the API server, within 1m, were 429 or 5xx")
        .tells("when it is well again, go on with `lockgate resume ");
}
