use super::*;
use crate::base::json::{Value as Json, json};
use crate::cluster::keep::{Intent, Key, Outcome, Sign};
use crate::report::html;
use crate::run::Confirmation;
use crate::run::event::{End, Event, Item, Known, Part, Summary, TargetInfo, What};
use crate::run::journal::entry::{Begun, Consent, Entry, Fact, Header, Planned, VERSION};
use crate::run::journal::folder::Holder;
use crate::run::journal::listed::Line;
use crate::run::journal::read::Read;

const RUN: &str = "01KAM4B7X00000000000000AAA";
/// What a cluster may say to harm whoever reads it.
const EVIL: &str = "<script>alert(1)</script> \u{1b}[2J\u{202e} | `x` \"y\"";

fn header() -> Header {
    Header {
        v: VERSION,
        run: RUN.to_owned(),
        what: "run".to_owned(),
        of: None,
        runbook: "web".to_owned(),
        title: "Move web".to_owned(),
        source: "web/runbook.luau".to_owned(),
        files: [("runbook/runbook.luau".to_owned(), "ab".repeat(32)), ("@version".to_owned(), "0.1.0".to_owned())].into(),
        params: [("to".to_owned(), json!("v2")), ("key".to_owned(), json!({ "secret": "hmac-sha256:00" }))].into(),
        typed: [].into(),
        target: TargetInfo { name: "prod".to_owned(), simulated: false },
        way: Json::Null,
        cluster: Some("7d9f".to_owned()),
        namespace: "shop".to_owned(),
        version: "0.1.0".to_owned(),
        command: "lockgate run web to=v2".to_owned(),
    }
}

fn item(id: &str, title: &str) -> Item {
    Item { id: id.to_owned(), title: title.to_owned(), number: 1, of: 1, part: None }
}

fn begun(epoch: u64) -> Fact {
    Fact::Begun(Begun { pid: 71, host: "laptop".to_owned(), user: "ops".to_owned(), epoch })
}

fn intent(number: u64) -> Fact {
    let op = format!("{RUN}/{number}/1");
    let key = Key { verb: "patch".to_owned(), target: "deployment/shop/web".to_owned(), part: None };
    Fact::Intent {
        place: "step web".to_owned(),
        intent: Box::new(Intent { op: op.clone(), key, object: None, sign: Sign::Stamp(op), body: String::new().into(), prior: None }),
    }
}

fn outcome(number: u64, outcome: Outcome) -> Fact {
    Fact::Outcome { op: format!("{RUN}/{number}/1"), outcome }
}

/// A run that was killed between its second intent and the outcome.
fn killed() -> Vec<Fact> {
    let step = item("web", EVIL);
    let question = || Confirmation { at: "step web".to_owned(), question: "Restart web?".to_owned(), occurrence: 1 };
    let told = |event: Event| Fact::Told { n: 0, item: None, event: Box::new(event) };
    let steps = [("web".to_owned(), Span::from_secs(40))].into();
    vec![
        Fact::Header(Box::new(header())),
        begun(1),
        Fact::Consent(Consent {
            grants: None,
            by: "operator".to_owned(),
            plan: Some("cd".repeat(32)),
            confirmations: vec![question()],
            planned: Some(Planned {
                text: "plan: two writes\n".to_owned(),
                took: Span::from_secs(40),
                writes: 2,
                steps,
                predictions: Vec::new(),
                made_up: Default::default(),
            }),
        }),
        told(Event::Started {
            what: What::Run,
            run: RUN.to_owned(),
            runbook: "web".to_owned(),
            title: "Move web".to_owned(),
            target: header().target,
            namespace: "shop".to_owned(),
            params: [].into(),
            checks: vec!["web is ready".to_owned()],
            steps: 1,
            resumes: false,
        }),
        told(Event::CheckStarted { check: item("ready", "web is ready") }),
        told(Event::CheckFinished {
            check: item("ready", "web is ready"),
            verdict: Verdict::Ok { detail: None },
            known: Known::Observed,
            took: Span::from_secs(1),
        }),
        told(Event::StepStarted { step: step.clone() }),
        told(Event::Asked {
            confirmation: question(),
            answer: Some("yes".to_owned()),
            by: AnsweredBy::Plan,
            who: None,
            known: Known::Observed,
        }),
        intent(1),
        outcome(1, Outcome::Made { after: None }),
        told(Event::Note { text: EVIL.to_owned() }),
        intent(2),
    ]
}

/// The same, resumed and ended.
fn ended() -> Vec<Fact> {
    let told = |event: Event| Fact::Told { n: 0, item: None, event: Box::new(event) };
    let summary = Summary {
        end: End::Succeeded,
        exit_code: 0,
        writes: 2,
        objects: vec!["deployment/web".to_owned()],
        unsure: Vec::new(),
        invertible: 2,
        no_return: Vec::new(),
        stays: Vec::new(),
        took: Span::from_secs(60),
        unknowns: Vec::new(),
        drift: None,
        assumptions: Vec::new(),
        confirmations: Vec::new(),
        requests: Vec::new(),
        error: None,
    };
    let mut facts = killed();
    facts.extend([
        begun(2),
        Fact::Lock { what: "taken again".to_owned(), epoch: 2 },
        outcome(2, Outcome::Made { after: None }),
        told(Event::StepFinished { step: item("web", EVIL), end: StepEnd::Done { recovered: false }, took: Span::from_secs(50) }),
        told(Event::Finished { what: What::Run, summary }),
    ]);
    facts
}

fn story(facts: Vec<Fact>, holder: Option<Holder>) -> Story {
    let at = |second: usize| Timestamp::from_second(1_800_000_000 + 5 * second as i64).unwrap();
    let entries = facts.into_iter().enumerate().map(|(place, fact)| Entry { seq: place as u64 + 1, at: at(place), fact }).collect();
    Story::told(&Read { run: RUN.to_owned(), entries, hashes: Vec::new(), head: "ef".repeat(32), end: 0, torn: None }, holder).unwrap()
}

#[test]
fn a_killed_run_says_what_is_half_done_and_how_to_go_on() {
    let story = story(killed(), None);
    assert_eq!(story.standing, Standing::Killed);
    let text = status(&story, " --runs /r", Paint::plain());
    for line in [
        "state      killed: its process ended without a word\n",
        "inside     step web\n",
        "asked      Restart web?: yes (the accepted plan)\n",
        "writes     1 write\n",
        "half-done  patch deployment/shop/web in step web: whether it was made is not known, the process ended before its answer was kept\n",
        "next       `lockgate resume 01KAM4B7X00000000000000AAA --runs /r` goes on\n",
        "next       `lockgate rollback 01KAM4B7X00000000000000AAA --runs /r` takes back what was done, after a plan and a question\n",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
}

#[test]
fn how_long_a_killed_run_took_is_not_said() {
    let text = status(&story(killed(), None), "", Paint::plain());
    assert!(text.contains("began      2027-01-15T08:00:00Z, last entry 2027-01-15T08:00:55Z\n"), "{text}");
    let text = status(&story(ended(), None), "", Paint::plain());
    assert!(text.contains("began      2027-01-15T08:00:00Z, took 1m20s\n"), "{text}");
}

#[test]
fn a_step_of_several_items_is_over_with_the_last_of_them() {
    let told = |event: Event| Fact::Told { n: 0, item: None, event: Box::new(event) };
    let ends = |number: usize| {
        let part = Some(Part { name: format!("w{number}"), number, of: 2 });
        let step = Item { part, ..item(&format!("web/w{number}"), "Move web") };
        let end = StepEnd::Done { recovered: false };
        [told(Event::StepStarted { step: step.clone() }), told(Event::StepFinished { step, end, took: Span::from_secs(1) })]
    };
    let mut facts: Vec<Fact> = killed().into_iter().take(4).collect();
    for (number, line) in [(1, "\nsteps      0 of 1 done"), (2, "\nsteps      1 of 1 done")] {
        facts.extend(ends(number));
        let text = status(&story(facts.clone(), None), "", Paint::plain());
        assert!(text.contains(line), "{line}{text}");
    }
}

#[test]
fn the_report_names_the_namespace_that_the_run_worked_in() {
    let mut facts = killed();
    if let Some(Fact::Header(header)) = facts.first_mut() {
        header.namespace = "default".to_owned();
    }
    assert!(report(&story(facts, None), Paint::plain()).contains("cluster    prod, kube-system 7d9f, namespace shop\n"));
}

#[test]
fn a_run_that_goes_is_not_killed_and_is_not_resumed() {
    let story = story(killed(), Some(Holder { pid: 71, host: "laptop".to_owned() }));
    let text = status(&story, "", Paint::plain());
    assert!(text.contains("state      running, by process 71 on laptop\n"), "{text}");
    assert!(text.contains("`lockgate attach ") && !text.contains("resume") && !text.contains("rollback"), "{text}");
}

#[test]
fn a_report_says_who_planned_consented_did_and_when() {
    let story = story(ended(), None);
    assert_eq!((story.standing, story.made(), story.half_done().count()), (Standing::Done, 2, 0));
    let text = report(&story, Paint::plain());
    for part in [
        "cluster    prod, kube-system 7d9f, namespace shop\n",
        "asked      lockgate run web to=v2\n",
        "param      key=(secret)\n",
        "param      to=v2\n",
        "script     web/runbook.luau, 1 file pinned, by lockgate 0.1.0\n",
        &format!("planned    2 writes in 40s; SHA-256 {}\n", "cd".repeat(32)),
        "consent    operator at 2027-01-15T08:00:10Z\n",
        "           with it, step web: Restart web?\n",
        "process    2027-01-15T08:00:05Z ops on laptop, process 71, epoch 1\n",
        "process    2027-01-15T08:01:00Z ops on laptop, process 71, epoch 2\n",
        "incident   2027-01-15T08:01:05Z lock: taken again (epoch 2)\n",
        "steps      1 of 1 done; 1 of 1 check held\n",
        "2027-01-15T08:00:30Z step 1/1  ",
        "done  50s   40s      2\n",
        "2027-01-15T08:00:40Z  patch  deployment/shop/web  step web  made\n",
        "2027-01-15T08:00:50Z           note",
        &format!("journal: 17 lines, chain head {}\n", "ef".repeat(32)),
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
}

#[test]
fn nothing_that_a_cluster_says_is_markup_or_moves_a_cursor() {
    for story in [story(killed(), None), story(ended(), None)] {
        let html = html::page(&story);
        assert!(!html.contains("<script") && html.contains("&lt;script&gt;alert(1)"), "{html}");
        assert!(!html.contains(" \"y\"") && html.contains("&quot;y&quot;"), "{html}");
        assert!(!html.contains("http://") && !html.contains("https://") && !html.contains("src="), "{html}");
        let markdown = markdown(&story);
        let outside: String = markdown.split("```").step_by(2).collect();
        assert!(!outside.contains("<script") && outside.contains("\\| \\`x\\`"), "{outside}");
        for text in [html, markdown, report(&story, Paint::plain()), status(&story, "", Paint::plain())] {
            assert!(!text.contains(['\u{1b}', '\u{202e}', '\u{7}']), "{text}");
        }
    }
}

#[test]
fn the_page_draws_each_step_with_its_writes_and_its_prediction() {
    let html = html::page(&story(ended(), None));
    assert_eq!(html.matches("<rect ").count(), 2, "the step and its prediction");
    assert_eq!(html.matches("<circle ").count(), 2, "two writes");
    assert_eq!(html.matches("<line ").count(), 2, "two processes");
    assert!(html.starts_with("<!doctype html>") && html.trim_end().ends_with("</html>"));
    for open in ["table", "svg", "pre", "title", "text", "ul", "h2"] {
        assert_eq!(html.matches(&format!("<{open}")).count(), html.matches(&format!("</{open}>")).count(), "{open}");
    }
}

#[test]
fn the_list_has_a_line_for_what_cannot_be_read_too() {
    let broken = Listed::Broken { run: "01B".to_owned(), error: Error::usage("run `01B` cannot be read").cause("no header") };
    let runs = [Listed::Run(Box::new(Line::of(&story(killed(), None)))), broken];
    let text = list(&runs, Paint::plain());
    assert!(text.contains("web      prod     killed      2027-01-15T08:00:00Z  55s   1 and 1 unknown\n"), "{text}");
    assert!(text.ends_with("run `01B` cannot be read: no header\n"), "{text}");
    assert!(list_markdown(&runs).contains("| 01B | - | - | unreadable | - | - | - |"));
    assert_eq!(list(&[], Paint::plain()), "");
}
