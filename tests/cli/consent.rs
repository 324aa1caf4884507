//! Who lets a run do what, how that is kept, and what people are told of how to go on.

use std::fs;
use std::path::PathBuf;

use expectrl::Expect as _;
use serde_json::Value;

use super::support::{CLUSTER, HEAD, Host};
use super::terminal::{ends, start};
use super::threats::{Served, serve};

/// [`CLUSTER`] with something that can be deleted.
const WITH_MAP: &str = "---\napiVersion: v1\nkind: ConfigMap\nmetadata: { name: victim, namespace: shop }\n";

/// A folder with a runbook of one step, and a cluster beside it that outlives the runs.
struct Site {
    host: Host,
    _served: Served,
}

impl Site {
    fn new(block: &str, body: &str) -> Site {
        Site::of(&one_step(block, body))
    }

    fn of(text: &str) -> Site {
        let host = Host::with_runbook(text).file("r/cluster.yaml", &format!("{CLUSTER}{WITH_MAP}")).env("USER", "kim");
        let (served, kubeconfig) = serve(&host, "r", "record.jsonl");
        Site { host: host.file("k.yaml", &kubeconfig), _served: served }
    }

    /// The newest run.
    fn run(&self) -> String {
        let said = self.host.run(&["status", "-o", "json"]).exits(0);
        serde_json::from_str::<Value>(&said.stdout).unwrap()["run"]["run"].as_str().unwrap().to_owned()
    }

    fn folder(&self) -> PathBuf {
        self.host.path().join(".local/state/lockgate/runs").join(self.run())
    }

    /// How many writes arrived, the lock's apart.
    fn writes(&self) -> usize {
        let text = fs::read_to_string(self.host.path().join("record.jsonl")).unwrap();
        let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let verbs = ["create", "update", "patch", "delete"];
        let writes = lines.filter(|line| verbs.contains(&line["act"]["verb"].as_str().unwrap()) && line["act"]["resource"] != "leases");
        // What a plan has the server try is not stored.
        writes.filter(|line| !line["uri"].as_str().unwrap().contains("dryRun")).count()
    }
}

fn one_step(block: &str, body: &str) -> String {
    format!("{HEAD}{block}\nstep \"s\" {{ title = \"S\", run = function()\n{body}\nend }}\n")
}

const NO_PLAN: &[&str] = &["run", "r", "--no-plan", "--yes", "--kubeconfig", "k.yaml"];
const DEPLOYMENTS: &str = "permissions { { verbs = { \"patch\" }, kinds = { \"deployments\" } } }";

// A run that goes on.

#[test]
fn a_run_that_began_without_a_plan_goes_on_with_no_more_than_it_had() {
    let site = Site::new("", "scale(\"deployment/web\", 1)\ndelete(\"configmap/victim\")");
    for words in [NO_PLAN, &["resume", "last"], &["resume", "last", "--script", "pinned"]] {
        site.host.run(words).exits(5).tells("nothing grants it: there is no accepted plan");
        assert_eq!(site.writes(), 0, "{words:?}");
    }
    // With a person there it is asked about, as in the run itself.
    let mut session = start(&site.host, &["resume", "last"]);
    session.expect("nothing grants it").unwrap();
    session.expect("for this run? [y/N] ").unwrap();
    session.send_line("n").unwrap();
    ends(session, 5);
    assert_eq!(site.writes(), 0);
}

#[test]
fn what_an_accepted_plan_granted_is_granted_after_a_resume() {
    let site = Site::new("", "scale(\"deployment/web\", 1)\nconfirm(\"Go on?\")\nmanual(\"Look.\")\ndelete(\"configmap/victim\")");
    site.host.run(&["run", "r", "--yes", "--kubeconfig", "k.yaml"]).exits(4).tells("Look.");
    site.host.run(&["approve", "last", "s", "--yes"]).exits(0);
    site.host.run(&["resume", "last"]).exits(0);
    assert_eq!(site.writes(), 2);
}

#[test]
fn a_record_that_does_not_say_who_accepted_it_is_asked_about_and_grants_nothing() {
    let site = Site::new("", "scale(\"deployment/web\", 1)");
    site.host.run(NO_PLAN).exits(5);
    // As a kill between its first two lines leaves it, or somebody who cuts it back.
    let journal = site.folder().join("journal.jsonl");
    let text = fs::read_to_string(&journal).unwrap();
    fs::write(&journal, format!("{}\n", text.lines().next().unwrap())).unwrap();
    let run = site.run();
    let unsaid = format!("the record of run `{run}` does not say that anybody accepted it");
    site.host.run(&["resume", "last"]).exits(5).tells("is not the one that the lock of `sandbox` was told of");
    let resume = ["resume", "last", "--accept-truncated"];
    site.host.run(&resume).exits(2).tells(&unsaid).tells("no terminal").tells("begin it anew: `lockgate run r");
    let mut session = start(&site.host, &resume);
    session.expect("without a plan? [y/N] ").unwrap();
    session.send_line("n").unwrap();
    ends(session, 4);
    let mut session = start(&site.host, &resume);
    session.expect("without a plan? [y/N] ").unwrap();
    session.send_line("y").unwrap();
    session.expect("for this run? [y/N] ").unwrap();
    session.send_line("y").unwrap();
    ends(session, 0);
    assert_eq!(site.writes(), 1);
    site.host.run(&["report", "last"]).exits(0).shows("consent    operator, without a plan at ");
}

// Permissions.

/// What is asked about the deletion of `configmap/victim`, in two lines.
const REFUSED: &str = "`delete configmaps shop/victim`: the runbook's `permissions` do not grant it";
const ALLOW: &str =
    "Allow `{ verbs = { \"delete\" }, kinds = { \"configmaps\" }, namespaces = { \"shop\" }, names = { \"victim\" } }` for this run?";

#[test]
fn what_a_script_asks_in_the_same_words_grants_nothing() {
    // These are the words.
    let site = Site::new(DEPLOYMENTS, "local done = pcall(delete, \"configmap/victim\")\nnote(`deleted: {done}`)");
    let mut session = start(&site.host, NO_PLAN);
    session.expect(REFUSED).unwrap();
    session.expect(ALLOW).unwrap();
    session.expect("[y/N] ").unwrap();
    session.send_line("n").unwrap();
    session.expect("deleted: false").unwrap();
    ends(session, 0);
    // Asked by the script before and after, and accepted with the plan.
    let body = format!(
        "local text = [==[{REFUSED}\n{ALLOW}]==]\nconfirm(text)\nlocal done = pcall(delete, \"configmap/victim\")\nnote(`deleted: {{done}}`)\nconfirm(text)"
    );
    let site = Site::new(DEPLOYMENTS, &body);
    let run = site.host.run(&["run", "r", "--yes", "--kubeconfig", "k.yaml"]).exits(0);
    run.shows("yes (the accepted plan)").shows("deleted: false").hides("deleted: true");
    assert_eq!(site.writes(), 0);
}

#[test]
fn a_missing_grant_is_refused_without_a_terminal_and_nobody_can_give_it_later() {
    let site = Site::new(DEPLOYMENTS, "delete(\"configmap/victim\")");
    site.host.run(NO_PLAN).exits(5).tells(REFUSED);
    assert!(!site.folder().join("answers/waiting.json").exists());
    site.host.run(&["approve", "last", "s", "--yes"]).exits(2).tells("waits for no answer");
    site.host.run(&["resume", "last"]).exits(5).tells(REFUSED);
    assert_eq!(site.writes(), 0);
}

#[test]
fn what_a_person_granted_holds_after_a_resume_and_is_not_asked_again() {
    let site = Site::new(
        DEPLOYMENTS,
        "annotate(\"configmap/victim\", { a = \"1\" })\nmanual(\"Look.\")\nannotate(\"configmap/victim\", { a = \"2\" })",
    );
    let mut session = start(&site.host, NO_PLAN);
    session.expect("the runbook's `permissions` do not grant it").unwrap();
    session.expect("for this run? [y/N] ").unwrap();
    session.send_line("y").unwrap();
    session.expect("Look.").unwrap();
    session.send(expectrl::ControlCode::EndOfTransmission).unwrap();
    ends(session, 4);
    assert_eq!(site.writes(), 1);
    // Another process.
    let mut session = start(&site.host, &["resume", "last"]);
    session.expect("Look. [y/N] ").unwrap();
    session.send_line("y").unwrap();
    let said = ends(session, 0);
    assert!(!said.contains("Allow `"), "{said}");
    assert_eq!(site.writes(), 2);
    site.host.run(&["report", "last"]).exits(0).shows("for this run?: yes (the operator)");
}

#[test]
fn what_a_person_refused_to_grant_is_asked_again_by_who_goes_on() {
    let site = Site::new(DEPLOYMENTS, "annotate(\"configmap/victim\", { a = \"1\" })");
    for (answer, code, writes) in [("n", 5, 0), ("y", 0, 1)] {
        let mut session = start(&site.host, if code == 5 { NO_PLAN } else { &["resume", "last"] });
        session.expect("for this run? [y/N] ").unwrap();
        session.send_line(answer).unwrap();
        ends(session, code);
        assert_eq!(site.writes(), writes);
    }
}

// Questions of a run that goes on.

#[test]
fn a_gate_says_in_the_plan_that_it_asks_and_a_yes_to_it_stands_after_a_kill() {
    let text = format!(
        "{HEAD}{DEPLOYMENTS}\nstep \"s\" {{ title = \"S\", gate = \"Into the window?\", run = function() scale(\"deployment/web\", 1) end }}\n"
    );
    let site = Site::of(&text);
    let plan = site.host.run(&["plan", "r", "--kubeconfig", "k.yaml"]).exits(0);
    plan.shows("yes, for this plan (a run asks it whatever was accepted)").hides("accepting the plan answers this");
    let plan = site.host.run(&["plan", "r", "--kubeconfig", "k.yaml", "-o", "markdown"]).exits(0);
    plan.shows("a run asks").shows("Into the window? (step s)");
    site.host.run(&["run", "r", "--yes", "--kubeconfig", "k.yaml"]).exits(4).tells("nobody answered `Into the window?`");
    let status = site.host.run(&["status"]).exits(0);
    status.shows("waits      step s: Into the window?\n").shows(" s` answers what it waits for");
    site.host.run(&["approve", "last", "s", "--yes"]).exits(0);
    site.host.run(&["status"]).exits(0).hides("lockgate approve").shows("lockgate resume");
    site.host.run(&["resume", "last"]).exits(0);
    // As a kill between the answer and the step's body leaves the record; the lock was told of more.
    let journal = site.folder().join("journal.jsonl");
    let whole = fs::read_to_string(&journal).unwrap();
    let answered = whole.lines().position(|line| line.contains("\"k\":\"passed\"")).unwrap();
    fs::write(&journal, whole.lines().take(answered + 1).map(|line| format!("{line}\n")).collect::<String>()).unwrap();
    site.host.run(&["resume", "last", "--accept-truncated"]).exits(0).hides("Into the window?");
}

#[test]
fn a_question_that_the_plan_did_not_show_is_asked_after_a_resume_too() {
    let body = "confirm(\"Go on?\")\nmanual(\"Look.\")\nif env(\"AGAIN\") then confirm(\"Go on?\") end\nscale(\"deployment/web\", 1)";
    for (again, code, writes) in [(true, 4, 0), (false, 0, 1)] {
        let site = Site::new(DEPLOYMENTS, body);
        site.host.run(&["run", "r", "--yes", "--kubeconfig", "k.yaml"]).exits(4).tells("Look.");
        site.host.run(&["approve", "last", "s", "--yes"]).exits(0);
        let site = if again { Site { host: site.host.env("AGAIN", "1"), ..site } } else { site };
        // The plan showed it once, and it was asked once.
        site.host.run(&["resume", "last"]).exits(code);
        assert_eq!(site.writes(), writes);
    }
}

#[test]
fn a_check_that_finds_a_parameter_wrong_is_wrong_usage_until_something_is_written() {
    for (check, code) in [
        ("ensure(false, \"first=w9 is no node\", { reason = \"usage\" })", 2),
        ("error({ reason = \"usage\", message = \"first=w9 is no node\" })", 2),
        ("ensure(false, \"first=w9 is no node\", { reason = \"not_found\" })", 1),
        ("ensure(false, \"first=w9 is no node\")", 1),
    ] {
        let text = format!(
            "{HEAD}check \"c\" {{ title = \"C\", run = function() {check} end }}\nstep \"s\" {{ title = \"S\", run = function() end }}\n"
        );
        for words in [["plan", "r", "--sandbox"].as_slice(), &["run", "r", "--sandbox", "--no-plan", "--yes"]] {
            Host::with_runbook(&text).run(words).exits(code).tells("first=w9 is no node");
        }
    }
    let late = "scale(\"deployment/web\", 1)\nensure(false, \"too late\", { reason = \"usage\" })";
    Host::with_runbook(&one_step("", late)).run(&["run", "r", "--sandbox", "--no-plan", "--yes"]).exits(5);
    Host::with_runbook(&one_step(DEPLOYMENTS, late)).run(&["run", "r", "--sandbox", "--no-plan", "--yes"]).exits(1).tells("too late");
}

#[test]
fn a_lease_is_the_runbooks_like_any_other_object() {
    let lock = "---\napiVersion: coordination.k8s.io/v1\nkind: Lease\nmetadata: { name: lockgate, namespace: kube-system }\nspec: {}\n";
    for (body, told) in [
        (
            "create { apiVersion = \"coordination.k8s.io/v1\", kind = \"Lease\", metadata = { name = \"kured\" }, spec = {} }",
            "`create leases.coordination.k8s.io shop/kured`",
        ),
        (
            "patch(\"lease/kube-system/lockgate\", { spec = { holderIdentity = \"me\" } })",
            "`patch leases.coordination.k8s.io kube-system/lockgate`",
        ),
        ("delete(\"lease/kube-system/lockgate\")", "`delete leases.coordination.k8s.io kube-system/lockgate`"),
    ] {
        let host = Host::with_runbook(&one_step(DEPLOYMENTS, body)).file("r/cluster.yaml", &format!("{CLUSTER}{lock}"));
        host.run(&["run", "r", "--sandbox", "--yes"]).exits(5).tells(told).tells("do not grant it").tells("nothing was written");
    }
}

// Answers from another terminal.

#[test]
fn an_answer_is_to_what_was_shown_and_the_record_says_whose_it_is() {
    let site = Site::new(DEPLOYMENTS, "confirm(\"Look at it?\")\nconfirm(\"Remove it?\")\nscale(\"deployment/web\", 1)");
    let mut run = start(&site.host, NO_PLAN);
    run.expect("Look at it? [y/N] ").unwrap();
    let mut slow = start(&site.host, &["approve", "last", "s"]);
    slow.expect("Look at it?").unwrap();
    slow.expect("Answer with yes? [y/N] ").unwrap();
    site.host.run(&["approve", "last", "s", "--yes"]).exits(0).shows("`s` is answered with yes; the run takes it now");
    run.expect("yes (kim, from another terminal)").unwrap();
    run.expect("Remove it? [y/N] ").unwrap();
    slow.send_line("y").unwrap();
    slow.expect("does not ask that any more: nothing was answered").unwrap();
    ends(slow, 5);
    run.send_line("n").unwrap();
    ends(run, 4);
    assert_eq!(site.writes(), 0);
    let report = site.host.run(&["report", "last"]).exits(0);
    let report = report.shows("step s: Look at it?: yes (kim, from another terminal)").shows("step s: Remove it?: no (the operator)");
    report.shows("consent    --yes, without a plan at ").shows("asked      lockgate run r --kubeconfig k.yaml --no-plan\n");
    let report = site.host.run(&["report", "last", "-o", "json"]).exits(0);
    let report: Value = serde_json::from_str(&report.stdout).unwrap();
    assert_eq!((&report["asked"][0]["who"], &report["asked"][1]["who"]), (&"kim".into(), &Value::Null));
}

#[test]
fn the_report_of_a_rollback_says_what_was_typed() {
    let site = Site::new(DEPLOYMENTS, "scale(\"deployment/web\", 1)");
    site.host.run(&["run", "r", "--yes", "--kubeconfig", "k.yaml"]).exits(0);
    let run = site.run();
    site.host.run(&["rollback", "last", "--yes"]).exits(0);
    site.host.run(&["report", "last"]).exits(0).shows(&format!("asked      lockgate rollback {run}\n")).shows("consent    --yes at ");
}

// Secrets.

#[test]
fn a_secret_that_is_given_again_is_in_no_log() {
    let text = format!(
        "{HEAD}{DEPLOYMENTS}\nparam \"key\" {{ type = \"secret\", doc = \"A key.\" }}\nstep \"s\" {{ title = \"S\", run = function()\n\
         annotate(\"deployment/web\", {{ key = params.key }})\nmanual(\"Look.\")\nend }}\n"
    );
    let site = Site::of(&text);
    site.host.run(&["run", "r", "key=hunter2-resumed", "--yes", "--kubeconfig", "k.yaml"]).exits(4);
    for (words, code) in [(["resume", "last", "key=hunter2-resumed", "-vv"], 4), (["rollback", "last", "key=hunter2-resumed", "-vv"], 2)] {
        let said = site.host.run(&words).exits(code);
        assert!(said.stderr.contains("lockgate::"), "the log is on\n{}", said.transcript());
        assert!(!said.stdout.contains("hunter2") && !said.stderr.contains("hunter2"), "{}", said.transcript());
    }
    // What the run wrote is known again although the record does not have the secret.
    site.host.run(&["rollback", "last", "key=hunter2-resumed", "--yes"]).exits(0);
}

// How to go on.

#[test]
fn a_failed_run_names_the_ways_on_whatever_else_is_said() {
    // Its error has a hint of its own.
    let site = Site::new(DEPLOYMENTS, "scale(\"deployment/web\", 1)\ndelete(\"configmap/victim\")");
    let said = site.host.run(&[NO_PLAN, &["--runs", "my runs"]].concat()).exits(5).tells("hint: add to `permissions`");
    let run = site.host.runs_in("my runs")[0].file_name().unwrap().to_str().unwrap().to_owned();
    let (resume, rollback) = (format!("`lockgate resume {run} --runs 'my runs'`"), format!("`lockgate rollback {run} --runs 'my runs'`"));
    let said = said.tells(&format!("{resume} is refused again until that is changed")).tells(&format!("{rollback} takes it back"));
    assert_eq!(said.stderr.matches("lockgate resume").count(), 1, "{}", said.transcript());
    // In JSON too.
    let said = site.host.run(&["resume", "last", "--script", "pinned", "--runs", "my runs", "-o", "json"]).exits(5);
    said.tells(&resume);
}

/// A write that nobody knows of: its answer is lost, and it cannot be looked at.
const LOST: &str = "apiVersion: lockgate.dev/v1\nkind: Faults\nrules:\n- match: { verb: create, kind: ConfigMap, namespace: shop, nth: 1 }\n  \
                    do: lost_after\n- match: { verb: get, kind: ConfigMap, namespace: shop }\n  do: { fail: { code: 403, message: \"no\" } }\n";

#[test]
fn a_run_with_one_write_that_nobody_knows_of_can_be_gone_on_with_and_taken_back() {
    let block = "permissions { { verbs = { \"create\" }, kinds = { \"configmaps\" } } }";
    for (metadata, unknown) in [("name = \"job\"", "`configmap/job`"), ("generateName = \"job-\"", "`a new configmap`")] {
        let body = format!("create {{ apiVersion = \"v1\", kind = \"ConfigMap\", metadata = {{ {metadata} }} }}");
        let host = Host::with_runbook(&one_step(block, &body)).file("chaos.yaml", LOST);
        let said = host.run(&["run", "r", "--sandbox", "--chaos", "chaos.yaml", "--yes"]);
        assert_eq!(said.code, Some(1), "{}", said.transcript());
        let said = said.shows(&format!("whether {unknown} was written"));
        let run = said.stderr.split("lockgate resume ").nth(1).unwrap().split('`').next().unwrap().to_owned();
        let said = said.tells(&format!("`lockgate resume {run}` goes on")).tells(&format!("`lockgate rollback {run}` takes it back"));
        drop(said);
        let status = host.run(&["status", "last"]).exits(0).shows("half-done  create");
        status.shows(&format!("`lockgate resume {run}` goes on")).shows(&format!("`lockgate rollback {run}` takes back"));
    }
}

#[test]
fn every_command_is_told_with_the_folder_of_runs() {
    let site = Site::new(DEPLOYMENTS, "scale(\"deployment/web\", 1)\nmanual(\"Look.\")\nscale(\"deployment/web\", 2)");
    let with = |words: &[&'static str]| [words, &["--runs", "state"][..]].concat();
    let said = site.host.run(&with(&["run", "r", "--yes", "--kubeconfig", "k.yaml"])).exits(4);
    let run = said.stderr.split("lockgate resume ").nth(1).unwrap().split(' ').next().unwrap().to_owned();
    said.tells(&format!("`lockgate resume {run} --runs state` goes on with it"));
    // The lock is held by it.
    let held = site.host.run(&with(&["run", "r", "--yes", "--kubeconfig", "k.yaml"])).exits(5);
    held.tells(&format!("go on with it (`lockgate resume {run} --runs state`)"))
        .tells(&format!("`lockgate unlock {run} --kubeconfig k.yaml --runs state`"));
    let answered = site.host.run(&with(&["approve", "last", "s", "--yes"])).exits(0);
    answered.shows(&format!("`lockgate resume {run} --runs state` takes it"));
    fs::write(site.host.path().join("r/runbook.luau"), one_step(DEPLOYMENTS, "")).unwrap();
    site.host.run(&with(&["resume", "last"])).exits(5).tells(&format!("`lockgate resume {run} --script pinned --runs state` goes on"));
    // Without the option, and with the variable in its place, there is nothing to add.
    let host = site.host.env("LOCKGATE_RUNS", "state");
    host.run(&["resume", "last"]).exits(5).tells(&format!("`lockgate resume {run} --script pinned` goes on"));
}

#[test]
fn a_rollback_is_not_told_what_only_a_resume_can_do() {
    let site = Site::of(&format!(
        "{}step \"t\" {{ title = \"T\", run = function() manual(\"Look.\") end }}\n",
        one_step(DEPLOYMENTS, "scale(\"deployment/web\", 1)")
    ));
    site.host.run(&["run", "r", "--yes", "--kubeconfig", "k.yaml"]).exits(4);
    let journal = site.folder().join("journal.jsonl");
    let whole = fs::read_to_string(&journal).unwrap();
    for spoiled in [whole.replacen("\"op\":\"", "\"op\":\"x", 1), whole.lines().take(2).map(|line| format!("{line}\n")).collect()] {
        fs::write(&journal, &spoiled).unwrap();
        let said = site.host.run(&["rollback", "last", "--yes"]).exits(5);
        assert!(!said.stderr.contains("--accept-truncated"), "{}", said.transcript());
        said.tells("a rollback needs the whole record");
        site.host.run(&["resume", "last"]).exits(5).tells("--accept-truncated");
    }
    fs::write(&journal, &whole).unwrap();
    // Somebody changes what the run wrote.
    let other = site.host.path().join("other");
    fs::create_dir(&other).unwrap();
    fs::write(other.join("runbook.luau"), one_step(DEPLOYMENTS, "scale(\"deployment/web\", 5)")).unwrap();
    site.host.run(&["unlock", "last", "--yes"]).exits(0);
    let spent = site.run();
    site.host.run(&["run", "other", "--yes", "--kubeconfig", "k.yaml"]).exits(0);
    let said = site.host.run(&["rollback", &spent, "--yes"]).exits(5).tells("`--drift accept` goes on from what is there");
    assert!(!said.stderr.contains("--drift again"), "{}", said.transcript());
    site.host.run(&["resume", &spent]).exits(5).tells("`--drift again` writes it as this run had written it");
}
