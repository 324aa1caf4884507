//! Runs that are gone on with, taken back and freed, against a cluster that outlives them: what goes wrong there, and what people are told.

use std::fs;
use std::os::unix::fs::chown;
use std::path::PathBuf;
use std::process::Stdio;

use expectrl::Expect as _;
use expectrl::session::OsSession;
use lockgate::base::{ObjectRef, Timestamp};
use lockgate::cluster::{Access, Cluster, LiveOptions, Options, PatchType, RunId};
use lockgate::run::End;
use lockgate::run::journal::entry::Fact;
use serde_json::{Value, json};

use super::journals::{NEW, OLD, story, two, write};
use super::support::{HEAD, Host, MOVE, Said};
use super::terminal::{ends, start};
use super::threats::{Served, serve};

/// A write, then a gate, then another write.
pub(super) const GATED: &str = r#"
step "scale" { title = "Scale web", run = function() scale("deployment/web", 3) end }
step "rest" { title = "The rest", gate = "Go on with the rest?", run = function() label("deployment/web", { tier = "front" }) end }
"#;

/// A folder and a cluster beside it.
pub(super) struct Site {
    pub(super) host: Host,
    _served: Served,
}

impl Site {
    pub(super) fn new(body: &str) -> Site {
        Site::of(Host::with_runbook(&format!("{HEAD}{body}")))
    }

    /// The same with this folder.
    pub(super) fn of(host: Host) -> Site {
        let (served, kubeconfig) = serve(&host, "r", "record.jsonl");
        Site { host: host.file("k.yaml", &kubeconfig), _served: served }
    }

    /// The same with a run that waits at the gate of [`GATED`].
    pub(super) fn parked() -> (Site, String) {
        let site = Site::new(GATED);
        site.host.run(&["run", "r", "--yes", "--kubeconfig", "k.yaml"]).exits(4);
        let run = site.last();
        (site, run)
    }

    /// The id of the newest run.
    pub(super) fn last(&self) -> String {
        let said = self.host.run(&["status", "-o", "json"]).exits(0);
        serde_json::from_str::<Value>(&said.stdout).unwrap()["run"]["run"].as_str().unwrap().to_owned()
    }

    pub(super) fn folder(&self, run: &str) -> PathBuf {
        self.host.path().join(".local/state/lockgate/runs").join(run)
    }

    /// How many writes arrived, the lock's apart.
    pub(super) fn writes(&self) -> usize {
        let text = fs::read_to_string(self.host.path().join("record.jsonl")).unwrap();
        let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let verbs = ["create", "update", "patch", "delete"];
        let asks = |line: &Value| line["uri"].as_str().unwrap().contains("dryRun=") || line["act"]["group"] == "authorization.k8s.io";
        let writes = lines.filter(|line| verbs.contains(&line["act"]["verb"].as_str().unwrap()) && !asks(line));
        writes.filter(|line| line["act"]["resource"] != "leases").count()
    }

    /// Somebody else changes `web`.
    fn changes(&self, change: Value) {
        self.with_web(|cluster, web, runtime| {
            cluster.set_access(Access::ReadWrite);
            let patch = cluster.patch(web, PatchType::Merge, from(change), None);
            runtime.block_on(patch).unwrap();
        });
    }

    /// The lock says that it was renewed so many seconds from now.
    pub(super) fn renewed_in(&self, seconds: i64) {
        self.with_web(|cluster, _, runtime| {
            let lease = runtime.block_on(cluster.target(&ObjectRef::parse("lease/kube-system/lockgate").unwrap(), None)).unwrap();
            cluster.set_access(Access::ReadWrite);
            let now = cluster.clock().now().as_second();
            let renewed = Timestamp::from_second(now + seconds).unwrap();
            let change = json!({ "spec": { "renewTime": format!("{renewed:.6}") } });
            runtime.block_on(cluster.patch(&lease, PatchType::Merge, from(change), None)).unwrap();
        });
    }

    fn web(&self) -> Value {
        let mut found = Value::Null;
        self.with_web(|cluster, web, runtime| {
            found = serde_json::from_str(&runtime.block_on(cluster.get(web)).unwrap().to_string()).unwrap();
        });
        found
    }

    fn with_web(&self, act: impl FnOnce(&Cluster, &lockgate::cluster::Target, &tokio::runtime::Runtime)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let live = LiveOptions { kubeconfig: Some(self.host.path().join("k.yaml")), context: None };
        let cluster = runtime.block_on(Cluster::live(live, Options::new(RunId::generate()))).unwrap();
        let web = runtime.block_on(cluster.target(&ObjectRef::parse("deployment/shop/web").unwrap(), None)).unwrap();
        act(&cluster, &web, &runtime);
    }
}

fn from(value: Value) -> lockgate_sim::json::Value {
    serde_json::from_value(value).unwrap()
}

/// What is the same each time: without ids and folders.
fn plain(said: Said, site: &Host, run: &str) -> Said {
    said.replacing(run, "RUN").replacing(&site.path().display().to_string(), "HERE")
}

// The journal and the lock (T13).

#[test]
fn t13_the_head_of_the_journal_is_in_the_lock_and_in_the_report() {
    let (site, run) = Site::parked();
    let said = site.host.run(&["report", &run, "--verify"]).exits(0);
    said.tells("was told of line ").tells("of this journal, and the line is there as it was").shows("chain head ");
}

#[test]
fn t13_a_journal_that_was_cut_back_is_refused_by_name() {
    let (site, run) = Site::parked();
    let journal = site.folder(&run).join("journal.jsonl");
    let text = fs::read_to_string(&journal).unwrap();
    // Whole lines, and a whole chain: as if the first step had never been.
    let end = text.lines().position(|line| line.contains("\"k\":\"intent\"")).unwrap();
    let cut: String = text.lines().take(end).map(|line| format!("{line}\n")).collect();
    fs::write(&journal, cut).unwrap();
    let before = site.writes();
    let head = |said: Said| {
        let at = said.stderr.find("SHA-256 ").map(|at| at + "SHA-256 ".len()).unwrap();
        let head = said.stderr[at..at + 64].to_owned();
        said.replacing(&head, "HEAD")
    };
    plain(head(site.host.run(&["resume", &run]).exits(5)), &site.host, &run).golden("journal-cut-back");
    for words in [&["rollback", &*run, "--yes"][..], &["report", &run, "--verify"]] {
        site.host.run(words).exits(5).tells(&format!("the journal of run `{run}` is not the one that the lock of `sandbox` was told of"));
    }
    assert_eq!(site.writes(), before);
    // Whoever says so goes on from what there is: the step is there already, and the gate asks.
    site.host.run(&["resume", &run, "--accept-truncated"]).exits(4);
}

#[test]
fn t13_a_journal_that_was_written_anew_is_not_believed() {
    let (site, run) = Site::parked();
    let folder = site.folder(&run);
    // The same run, told otherwise: each line whole, each chained to the one before.
    let forged = Host::new();
    let (path, held) = write(&forged, &run, &story(&run, false, Some(End::Parked)));
    drop(held);
    fs::copy(path.join("journal.jsonl"), folder.join("journal.jsonl")).unwrap();
    let said = site.host.run(&["report", &run]).exits(0);
    assert!(said.stdout.contains("Move web"), "the chain itself is whole\n{}", said.transcript());
    let told = site.host.run(&["unlock", &run, "--yes", "--kubeconfig", "k.yaml"]);
    // It names another cluster, and nothing is believed of it.
    told.exits(5).tells("is not the cluster of run");
}

// A cluster that was changed in between.

fn question(site: &Site, run: &str) -> OsSession {
    site.changes(json!({ "spec": { "replicas": 5 } }));
    let mut session = start(&site.host, &["resume", run]);
    session.expect("`deployment/shop/web` is not as this run left it:").unwrap();
    session.expect("spec.replicas 3 -> 5").unwrap();
    session.expect("accept: go on from what is there now").unwrap();
    session.expect("again: run the step that wrote it once more").unwrap();
    session.expect("stop: change nothing, and end here").unwrap();
    session.expect("What now? (accept, again, stop) [stop] ").unwrap();
    session
}

#[test]
fn a_person_accepts_what_somebody_changed() {
    let (site, run) = Site::parked();
    let mut session = question(&site, &run);
    session.send_line("keep").unwrap();
    session.expect("`keep` is none of the choices").unwrap();
    session.send_line("accept").unwrap();
    session.expect("Go on with the rest? [y/N] ").unwrap();
    session.send_line("y").unwrap();
    ends(session, 0);
    let web = site.web();
    assert_eq!((&web["spec"]["replicas"], &web["metadata"]["labels"]["tier"]), (&json!(5), &json!("front")));
    site.host.run(&["report", &run]).exits(0).shows("was not as the record says (spec.replicas 3 -> 5): accept");
}

#[test]
fn a_person_has_the_step_run_again() {
    let (site, run) = Site::parked();
    let mut session = question(&site, &run);
    session.send_line("again").unwrap();
    session.expect("replicas  5 -> 3").unwrap();
    session.expect("Go on with the rest? [y/N] ").unwrap();
    session.send_line("y").unwrap();
    ends(session, 0);
    assert_eq!(site.web()["spec"]["replicas"], 3);
}

#[test]
fn a_person_stops_and_nothing_is_written() {
    let (site, run) = Site::parked();
    let mut session = question(&site, &run);
    let before = site.writes();
    session.send_line("").unwrap();
    let said = ends(session, 5);
    assert!(said.contains("is not as this run left it"), "{said}");
    assert_eq!((site.web()["spec"]["replicas"].as_u64(), site.writes()), (Some(5), before));
}

#[test]
fn without_a_terminal_a_difference_stops() {
    let (site, run) = Site::parked();
    site.changes(json!({ "spec": { "replicas": 5 } }));
    let before = site.writes();
    plain(site.host.run(&["resume", &run]).exits(5), &site.host, &run).golden("drift-stop");
    site.host.run(&["rollback", &run, "--yes"]).exits(5).tells("`deployment/shop/web` is not as this run left it");
    assert_eq!(site.writes(), before);
    site.host.run(&["resume", &run, "--drift", "accept"]).exits(4);
}

#[test]
fn a_rollback_asks_too_and_takes_nothing_back_again() {
    let (site, run) = Site::parked();
    site.changes(json!({ "spec": { "replicas": 5 } }));
    let mut session = start(&site.host, &["rollback", &run]);
    session.expect("is not as the run left it: spec.replicas").unwrap();
    session.expect("Take this back on `sandbox`? [y/N] ").unwrap();
    session.send_line("y").unwrap();
    session.expect("What now? (accept, stop) [stop] ").unwrap();
    session.send_line("accept").unwrap();
    ends(session, 0);
    assert_eq!(site.web()["spec"]["replicas"], 2);
}

// The lock.

#[test]
fn unlock_finds_the_cluster_in_the_runs_folder() {
    let (site, run) = Site::parked();
    let said = site.host.run(&["unlock", &run[20..], "--yes"]).exits(0);
    said.shows("the lock of `sandbox` is free").shows(&run);
    site.host.run(&["unlock", &run, "--yes"]).exits(2).tells("nobody holds the lock of `sandbox`");
    // The run finds out when it goes on: it takes the lock again, which is free.
    site.host.run(&["resume", &run]).exits(4).tells("Go on with the rest?");
}

#[test]
fn a_lock_of_a_dead_run_is_freed_by_the_command_that_is_shown() {
    let (site, run) = Site::parked();
    let host = site.host.file(
        "other/runbook.luau",
        &format!("{HEAD}step \"a\" {{ title = \"A\", run = function() label(\"node/n1\", {{ a = \"b\" }}) end }}\n"),
    );
    let said = host.run(&["run", "other", "--yes", "--kubeconfig", "k.yaml"]).exits(5);
    said.tells(&format!("the lock of `sandbox` is held by the run `{run}`")).tells("was last heard of");
    let command = format!("lockgate unlock {run} --kubeconfig k.yaml");
    let said = host.run(&["run", "other", "--yes", "--kubeconfig", "k.yaml"]).exits(5).tells(&command);
    drop(said);
    host.run(&["unlock", &run, "--kubeconfig", "k.yaml"]).exits(2).tells("there is no terminal to ask on: nothing was written");
    host.run(&["unlock", &run, "--kubeconfig", "k.yaml", "--yes"]).exits(0);
    host.run(&["run", "other", "--yes", "--kubeconfig", "k.yaml"]).exits(0);
}

#[test]
fn a_lease_that_somebody_deleted_is_taken_anew_and_the_run_goes_on() {
    // The record is the run's folder; what the cluster forgets is not missed.
    let (site, run) = Site::parked();
    site.with_web(|cluster, _, runtime| {
        let lease = runtime.block_on(cluster.target(&ObjectRef::parse("lease/kube-system/lockgate").unwrap(), None)).unwrap();
        cluster.set_access(Access::ReadWrite);
        runtime.block_on(cluster.delete(&lease, from(json!({})))).unwrap();
    });
    site.host.run(&["report", &run, "--verify"]).exits(0).tells("there is nothing to compare it with");
    let mut session = start(&site.host, &["resume", &run]);
    session.expect("Go on with the rest? [y/N] ").unwrap();
    session.send_line("y").unwrap();
    ends(session, 0);
    assert_eq!(site.web()["metadata"]["labels"]["tier"], "front");
}

#[test]
fn without_the_api_the_journal_still_says_what_was_done() {
    let (Site { host, _served }, run) = Site::parked();
    drop(_served);
    host.run(&["status", &run]).exits(0).shows("1 write").shows(&format!("`lockgate rollback {run}` takes back what was done"));
    host.run(&["report", &run]).exits(0).shows("deployment/shop/web").shows("made");
    for words in [&["resume", &*run][..], &["rollback", &run, "--yes"], &["report", &run, "--verify"]] {
        host.run(words).exits(1).tells("127.0.0.1");
    }
}

// Two at once.

#[test]
fn a_resume_while_it_is_worked_on_is_refused_with_who_does() {
    let host = Host::new();
    let (_, held) = write(&host, NEW, &story(NEW, true, None));
    let process = std::process::id().to_string();
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    for (word, golden) in [("resume", "resume-running"), ("rollback", "rollback-running")] {
        let said = host.run(&[word, NEW, "--runs", "state"]).exits(5);
        said.replacing(&process, "PID").replacing(name.trim(), "MACHINE").golden(golden);
    }
    drop(held);
}

#[test]
fn of_two_resumes_one_goes_on() {
    let (site, run) = Site::parked();
    let mut first = start(&site.host, &["resume", &run]);
    first.expect("Go on with the rest? [y/N] ").unwrap();
    site.host.run(&["resume", &run]).exits(5).tells(&format!("run `{run}` is being worked on")).tells("by process ");
    site.host.run(&["rollback", &run, "--yes"]).exits(5).tells(&format!("run `{run}` is being worked on"));
    first.send_line("y").unwrap();
    ends(first, 0);
    assert_eq!(site.writes(), 2, "each step wrote once");
}

// Runs that are over, unknown, or cannot be taken back.

#[test]
fn a_run_that_is_over_is_not_gone_on_with() {
    // Its cluster is not even asked: there is none.
    two().run(&["resume", OLD, "--runs", "state"]).exits(0).golden("resume-over");
}

#[test]
fn an_unknown_run_is_told_with_the_nearest_by_every_command() {
    let host = two();
    let near = "01KAN4B7X00000000000000BBC";
    for words in
        [&["resume", near][..], &["rollback", near], &["attach", near], &["approve", near, "x"], &["status", near], &["report", near]]
    {
        let said = host.run(&[words, &["--runs", "state"]].concat()).exits(2);
        said.tells(&format!("there is no run `{near}`")).tells(&format!("did you mean `{NEW}`?"));
    }
    host.run(&["resume", "zzz", "--runs", "state"]).exits(2).golden("resume-unknown");
}

#[test]
fn a_run_with_a_point_of_no_return_is_taken_back_only_to_there() {
    let site = Site::new(
        r#"
step "before" { title = "Before", run = function() label("deployment/web", { before = "yes" }) end }
step "jump" {
  title = "Jump",
  irreversible = "web's data has another format now",
  run = function() scale("deployment/web", 3) end,
  -- What comes next is planned on a cluster at rest.
  verify = function() wait_rollout("deployment/web") end,
}
step "after" { title = "After", run = function() label("deployment/web", { after = "yes" }) end }
"#,
    );
    site.host.run(&["run", "r", "--yes", "--kubeconfig", "k.yaml"]).exits(0).shows("jump");
    let run = site.last();
    let before = site.writes();
    plain(site.host.run(&["rollback", &run, "--yes"]).exits(5), &site.host, &run).golden("rollback-no-return");
    assert_eq!(site.writes(), before, "nothing was written");
    site.host.run(&["rollback", &run, "--to", "jmup"]).exits(2).tells("the run did no step `jmup`").tells("did you mean `jump`?");
    site.host.run(&["rollback", &run, "--to", "jump", "--yes"]).exits(0);
    let labels = &site.web()["metadata"]["labels"];
    assert_eq!((labels.get("before"), labels.get("after")), (Some(&json!("yes")), None));
}

#[test]
fn a_gate_that_failed_is_asked_when_the_run_goes_on() {
    let site = Site::new(
        r#"
step "first" { title = "First", run = function() note("first") end }
step "rest" {
  title = "The rest",
  gate = function()
    ensure(get("deployment/web").spec.replicas == 3, "web is not scaled yet")
    return "Go on with the rest?"
  end,
  run = function() note("the rest was done") end,
}
"#,
    );
    let said = site.host.run(&["run", "r", "--yes", "--no-plan", "--kubeconfig", "k.yaml"]).exits(1);
    said.tells("web is not scaled yet").hides("the rest was done");
    let run = site.last();
    site.changes(json!({ "spec": { "replicas": 3 } }));
    // Nobody is there: the run parks at the question, and does not go past it.
    site.host.run(&["resume", &run]).exits(4).tells("Go on with the rest?").hides("the rest was done");
    site.host.run(&["approve", &run, "rest", "--yes"]).exits(0);
    site.host.run(&["resume", &run]).exits(0).shows("the rest was done");
}

// Folders that nobody should go on from.

#[test]
fn a_folder_of_runs_that_cannot_be_written_is_named_before_anything_is_done() {
    let host = Host::with_runbook(MOVE).file("file", "");
    let said = host.run(&["run", "r", "image=registry.example/web:v1.2.4", "--sandbox", "--yes", "--runs", "file/runs"]).exits(2);
    assert!(said.stderr.contains("the folder of runs `file/runs` cannot be"), "{}", said.transcript());
    said.golden("runs-unwritable");
}

#[test]
fn a_folder_of_somebody_else_is_refused() {
    let own = nix_uid();
    if own != 0 {
        // Only root can give a folder away; whoever is not root has root's folders to try.
        let said = Host::with_runbook(MOVE).run(&["run", "r", "image=registry.example/web:v1.2.4", "--sandbox", "--yes", "--runs", "/usr"]);
        said.exits(5).tells(&format!("it belongs to user 0, and you are user {own}"));
        return;
    }
    let host = two();
    chown(host.path().join("state").join(NEW), Some(65534), Some(65534)).unwrap();
    for words in [&["resume", NEW][..], &["rollback", NEW], &["status", NEW], &["report", NEW]] {
        let said = host.run(&[words, &["--runs", "state"]].concat()).exits(5);
        said.tells(&format!("`state/{NEW}` is not safe to go on from")).tells("it belongs to user 65534, and you are user 0");
    }
}

fn nix_uid() -> u32 {
    use std::os::unix::fs::MetadataExt as _;
    fs::metadata("/proc/self").unwrap().uid()
}

#[test]
fn nobody_goes_on_from_a_journal_that_is_not_whole() {
    /// What is done to the folder, and what is told of it.
    type Row = (fn(&std::path::Path), &'static str);
    let rows: [Row; 4] = [
        (|folder| edit(folder, "\"by\":\"operator\"", "\"by\":\"nobody!!\""), "is broken: it was changed, or its disk is faulty"),
        (|folder| fs::remove_file(folder.join("journal.jsonl")).unwrap(), "the folder holds no `journal.jsonl`"),
        (|folder| fs::write(folder.join("journal.jsonl"), "").unwrap(), "its journal has no header"),
        (|folder| std::fs::remove_dir_all(folder.join("script")).unwrap(), "what run `01KAN4B7X00000000000000BBB` began with is not whole"),
    ];
    for (spoil, told) in rows {
        let host = two();
        spoil(&host.path().join("state").join(NEW));
        for word in ["resume", "rollback"] {
            // The source is not asked for: only what is pinned counts.
            let words = [word, NEW, "--runs", "state"];
            let words = if word == "resume" { [&words[..], &["--script", "pinned"]].concat() } else { words.to_vec() };
            let said = host.run(&words);
            assert_eq!(said.code, Some(5), "{told}\n{}", said.transcript());
            said.tells(told);
        }
    }
}

#[test]
fn half_a_copy_of_a_run_is_not_gone_on_with() {
    let (site, run) = Site::parked();
    let folder = site.folder(&run);
    let before = site.writes();
    let key = fs::read(folder.join("key")).unwrap();
    fs::write(folder.join("key"), "short").unwrap();
    for words in [&["resume", &*run][..], &["rollback", &run, "--yes"]] {
        let said = site.host.run(words).exits(5).tells(&format!("run `{run}` cannot be read"));
        said.tells("its file `key` has 5 bytes instead of 32").tells("of a copy, copy the whole folder again");
    }
    fs::write(folder.join("key"), key).unwrap();
    let pinned = folder.join("script/runbook/runbook.luau");
    let text = fs::read_to_string(&pinned).unwrap();
    fs::write(&pinned, text.replace("tier", "else")).unwrap();
    plain(site.host.run(&["resume", &run]).exits(5), &site.host, &run).golden("pinned-edited");
    fs::remove_file(&pinned).unwrap();
    site.host.run(&["resume", &run]).exits(5).tells(&format!("what run `{run}` began with is not whole"));
    assert_eq!(site.writes(), before);
}

fn edit(folder: &std::path::Path, from: &str, to: &str) {
    let path = folder.join("journal.jsonl");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replacen(from, to, 1)).unwrap();
}

// Clocks.

#[test]
fn a_clock_that_was_set_back_is_told_and_nothing_takes_less_than_no_time() {
    let host = Host::new();
    let facts: Vec<Fact> = story(OLD, false, Some(End::Succeeded));
    let at = |place: usize| {
        let second = 1_800_000_000 + 2 * i64::try_from(place).unwrap();
        // In its middle the clock is set back by three hours.
        Timestamp::from_second(if place >= 5 { second - 3 * 3600 } else { second }).unwrap()
    };
    drop(super::journals::write_at(&host, OLD, &facts, at));
    let said = host.run(&["report", OLD, "--runs", "state"]).exits(0);
    said.shows("the clock went back by 3h before line 6: times after it are not those of before").without_head().golden("report-clock");
    host.run(&["runs", "--runs", "state"]).exits(0).shows("done");
    host.run(&["resume", OLD, "--runs", "state"]).exits(0).tells("is over");
}

#[test]
fn a_lock_from_the_future_is_told_as_a_wrong_clock() {
    let (site, run) = Site::parked();
    // Whoever holds it has a clock that is a day ahead.
    site.renewed_in(26 * 3600);
    let said = site.host.run(&["run", "r", "--yes", "--kubeconfig", "k.yaml"]).exits(5);
    said.tells("from now: the clock of one of the two machines is wrong").tells(&run);
    // The run itself goes on: who holds the lock is not read off a clock.
    let mut command = site.host.command(&["resume", &run]);
    let output = command.stdout(Stdio::piped()).stderr(Stdio::piped()).output().unwrap();
    assert_eq!(output.status.code(), Some(4), "{}", String::from_utf8_lossy(&output.stderr));
}

// Secrets (G11) and what moves a cursor (G13) in what is asked and told anew.

const KEPT: &str = r#"
param "key" { type = "secret", doc = "A key.", example = "x" }
step "note" { title = "Note", run = function() annotate("deployment/web", { note = "for " .. params.key }) end }
step "rest" { title = "The rest", gate = "Go on with the rest?", run = function() label("deployment/web", { tier = "front" }) end }
"#;

#[test]
fn a_secret_that_was_written_is_no_difference_and_is_not_shown_as_one() {
    let site = Site::new(KEPT);
    site.host.run(&["run", "r", "key=canary-comeback", "--yes", "--kubeconfig", "k.yaml"]).exits(4);
    let run = site.last();
    let silent = |said: Said| {
        assert!(!said.transcript().replace("key=canary-comeback", "").contains("canary-comeback"), "{}", said.transcript());
        said
    };
    silent(site.host.run(&["resume", &run, "key=canary-comeback"]).exits(4)).tells("Go on with the rest?");
    // Somebody changes it: that is one, and neither the former nor what it was is told.
    site.changes(json!({ "metadata": { "annotations": { "note": "theirs\u{1b}[2J" } } }));
    let said = silent(site.host.run(&["resume", &run, "key=canary-comeback"]).exits(5));
    let said = said.tells("is not as this run left it").tells("theirs\\u{1b}[2J");
    assert!(!said.stderr.contains('\u{1b}'), "{}", said.transcript());
    for words in [
        &["status", &*run][..],
        &["report", &run],
        &["report", &run, "-o", "html"],
        &["report", &run, "-o", "json"],
        &["report", &run, "-o", "markdown"],
    ] {
        let said = silent(site.host.run(words).exits(0));
        assert!(!said.stdout.contains('\u{1b}'), "{}", said.transcript());
    }
    site.host.run(&["report", &run, "-o", "html"]).exits(0).shows("was not as the record says").shows("theirs");
}
