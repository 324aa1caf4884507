//! The words of the transcript.

use crate::base::json::json;

use super::*;
use crate::base::Timestamp;
use crate::primitives::Inverse;
use crate::run::event::TargetInfo;

fn item(title: &str, number: usize, of: usize) -> Item {
    Item { id: "x".into(), title: title.into(), number, of, part: None }
}

fn start(what: What) -> Event {
    Event::Started {
        resumes: false,
        what,
        run: "01".into(),
        runbook: "r".into(),
        title: "A title".into(),
        target: TargetInfo { name: "sandbox".into(), simulated: true },
        namespace: "kube-system".into(),
        params: [("to".to_owned(), json!("v2"))].into(),
        checks: vec!["The longer one of both".into(), "Short".into()],
        steps: 1,
    }
}

fn patch() -> Event {
    Event::Wrote {
        verb: "patch".into(),
        target: "deployment/web".into(),
        changes: vec![Change {
            path: "spec.template.spec.containers[name=web].image".into(),
            before: Some(json!("r.example/web:v1")),
            after: Some(json!("r.example/web:v2")),
        }],
        inverse: Inverse::Irreversible("for the test".into()),
        known: Known::Modelled,
    }
}

fn waited() -> Event {
    Event::Waited { what: "rollout of deployment/web".into(), state: "2/2 pods".into(), took: Span::from_secs(71), known: Known::Modelled }
}

fn summary(end: End, exit_code: u8) -> Summary {
    Summary {
        end,
        exit_code,
        writes: 1,
        objects: vec!["deployment/web".into()],
        unsure: Vec::new(),
        invertible: 1,
        no_return: Vec::new(),
        stays: Vec::new(),
        took: Span::from_secs(71),
        unknowns: vec![],
        drift: None,
        assumptions: vec![],
        confirmations: vec![],
        requests: vec!["get deployments".into(), "patch deployments".into()],
        error: None,
    }
}

fn text(events: Vec<Event>) -> String {
    let records: Vec<Record> = events
        .into_iter()
        .enumerate()
        .map(|(place, event)| Record { seq: place as u64 + 1, at: Timestamp::UNIX_EPOCH, item: None, event })
        .collect();
    Transcript::text(&records)
}

fn events(what: What) -> Vec<Event> {
    let ok = |number, title, detail: Option<&str>| Event::CheckFinished {
        check: item(title, number, 2),
        verdict: Verdict::Ok { detail: detail.map(str::to_owned) },
        known: Known::Observed,
        took: Span::ZERO,
    };
    vec![
        start(what),
        ok(1, "The longer one of both", None),
        ok(2, "Short", Some("v1 to v2")),
        Event::StepStarted { step: item("Move web", 1, 1) },
        patch(),
        waited(),
        Event::StepFinished { step: item("Move web", 1, 1), end: StepEnd::Done { recovered: false }, took: Span::from_secs(71) },
        Event::Finished { what, summary: summary(End::Succeeded, 0) },
    ]
}

#[test]
fn a_plan_says_how_each_line_is_known() {
    let expected = "\
plan      r: A title
cluster   sandbox (simulated), namespace kube-system
param     to=v2
writes    nothing: this is a dry run on a copy

check 1/2 The longer one of both  ok  [observed]
check 2/2 Short                   ok  v1 to v2  [observed]

step 1/1  Move web
          patch    deployment/web  [modelled]
                   web  v1 -> v2
          wait     rollout of deployment/web: 2/2 pods, about 1m10s  [modelled]

would succeed: 1 write to 1 object, about 1m10s; every write can be taken back
needs     get deployments; patch deployments
";
    assert_eq!(text(events(What::Plan)), expected);
}

#[test]
fn what_a_check_says_stands_beneath_its_title() {
    let check = item("Short", 2, 2);
    let verdict = Verdict::Ok { detail: None };
    let shown = text(vec![
        start(What::Run),
        Event::CheckStarted { check: check.clone() },
        Event::Note { text: "looking".into() },
        Event::Note { text: "still".into() },
        Event::CheckFinished { check, verdict, known: Known::Observed, took: Span::ZERO },
    ]);
    let expected = "check 2/2 Short\n          note     looking\n          note     still\ncheck 2/2 Short                   ok\n";
    assert!(shown.ends_with(expected), "{shown}");
}

#[test]
fn a_run_says_the_same_words() {
    let plan = text(events(What::Plan));
    let run = text(events(What::Run));
    let strip = |text: &str| text.replace("  [observed]", "").replace("  [modelled]", "").replace("about ", "");
    let plan = strip(&plan);
    let middle = |text: &str| {
        let from = text.find("check 1/2").unwrap();
        let to = text.find("\n\nwould succeed").or_else(|| text.find("\n\ndone")).unwrap();
        text[from..to].to_owned()
    };
    assert_eq!(middle(&plan), middle(&run));
    assert!(run.ends_with("done: 1 write to 1 object, 1m10s; every write can be taken back\n"), "{run}");
}

#[test]
fn text_of_the_cluster_cannot_move_the_cursor() {
    let note = Event::Note { text: "a\u{1b}[2J\nsecond".into() };
    let shown = text(vec![start(What::Run), note]);
    assert!(!shown.contains('\u{1b}'));
    assert!(shown.ends_with("          note     a\\u{1b}[2J\n                   second\n"), "{shown}");
}

#[test]
fn a_failure_is_told_once() {
    let error = Error::usage("it broke").cause("because");
    let shown = text(vec![
        start(What::Run),
        Event::StepStarted { step: item("Move web", 1, 1) },
        Event::Recovering { step: "x".into(), phase: crate::run::Phase::Verify, error: error.clone() },
        Event::StepFinished { step: item("Move web", 1, 1), end: StepEnd::Failed { error: error.clone() }, took: Span::ZERO },
        Event::Finished { what: What::Run, summary: Summary { error: Some(error), ..summary(End::Failed, 1) } },
    ]);
    assert_eq!(shown.matches("it broke").count(), 1, "{shown}");
    assert!(shown.contains("failed   as above"), "{shown}");
    assert!(shown.contains("\nfailed after 1 write to 1 object\n"), "{shown}");
}

#[test]
fn colour_adds_nothing_but_colour() {
    let coloured = |text: &str| {
        let mut out = String::new();
        let mut rest = text;
        while let Some(start) = rest.find('\u{1b}') {
            out.push_str(&rest[..start]);
            rest = &rest[start + rest[start..].find('m').unwrap() + 1..];
        }
        out + rest
    };
    let mut painted = Transcript::new(Paint::always());
    let records: Vec<Record> =
        events(What::Plan).into_iter().map(|event| Record { seq: 1, at: Timestamp::UNIX_EPOCH, item: None, event }).collect();
    let shown: String = records.iter().map(|record| painted.lines(record)).collect();
    assert!(shown.contains('\u{1b}'));
    assert_eq!(coloured(&shown), text(events(What::Plan)));
}

#[test]
fn long_lines_are_broken_between_words() {
    let text = hanging(&"word ".repeat(60), 20);
    assert!(text.lines().all(|line| line.chars().count() <= WIDTH), "{text}");
    assert!(text.lines().skip(1).all(|line| line.starts_with(&" ".repeat(20))), "{text}");
    assert_eq!(text.split_whitespace().count(), 60);
    assert_eq!(hanging("a\nb", 3), "a\n   b");
    let long = "x".repeat(200);
    assert_eq!(hanging(&long, 10), long);
}
