//! No text from a cluster, from helm, from a node or from a script reaches a terminal, a report or a log with a character that does
//! something instead of being seen.

use std::io::Write as _;

use proptest::prelude::*;

use super::escape::{self, is_unsafe};
use super::explained::{self, Asked, Basis};
use super::paint::Paint;
use super::planned::Plan;
use super::transcript::Transcript;
use super::{catalogue, excerpt, html, json, permissions, runs, skew, table};
use crate::base::diff::Change;
use crate::base::json::json as value;
use crate::base::{Error, Kind, Place, Reason, Span, Timestamp};
use crate::cluster::downtime::{Down, Line, Outage};
use crate::cluster::keep::{Intent, Key, Outcome, Sign};
use crate::cluster::permit::{Grant, KindName, Permissions};
use crate::primitives::Inverse;
use crate::primitives::skew::{Component, Finding, Move, Report, Row};
use crate::run::Steady;
use crate::run::event::{AnsweredBy, Confirmation, End, Event, Item, Known, Record, Stays, StepEnd, Summary, TargetInfo, Verdict, What};
use crate::run::hindsight::Hindsight;
use crate::run::journal::entry::{self, Begun, Consent, Entry, Fact, Planned, VERSION};
use crate::run::journal::listed::{Line as RunLine, Listed};
use crate::run::journal::read::Read;
use crate::run::journal::view::Story;
use crate::run::runbook::{Header, Phase, Runbook};

/// Texts in which every second character is one of those that must not get through.
fn hostile() -> impl Strategy<Value = String> {
    let bad = prop_oneof![
        Just('\u{1b}'),
        Just('\r'),
        Just('\u{7}'),
        Just('\u{8}'),
        Just('\u{7f}'),
        Just('\u{9b}'),
        Just('\u{202e}'),
        Just('\u{2066}'),
        Just('\u{200b}'),
        Just('\u{feff}'),
        Just('\u{2028}'),
        Just('\u{e0041}'),
        proptest::char::range('\u{0}', '\u{9f}'),
        any::<char>(),
    ];
    let good = prop_oneof![Just('['), Just(']'), Just('m'), Just('3'), Just('1'), Just(' '), Just('\n'), proptest::char::range('a', 'z')];
    proptest::collection::vec(prop_oneof![bad, good], 1..24).prop_map(|all| all.into_iter().collect())
}

fn error(text: &str) -> Error {
    let place = Place {
        file: text.to_owned(),
        line: 3,
        column: Some(2),
        length: Some(4),
        source: Some(text.to_owned()),
        function: Some(text.to_owned()),
    };
    let mut error = Error::new(Kind::Runbook, Reason::Usage, text).cause(text).hint(text).about(text).details(value!({ "a": text }));
    error.places = vec![place.clone(), place];
    error
}

/// Every kind of event with this text wherever a text from somewhere may stand.
fn events(text: &str) -> Vec<Event> {
    let t = || text.to_owned();
    let item = || Item { id: t(), title: t(), number: 1, of: 1, part: None };
    let question = || Confirmation { at: t(), question: t(), occurrence: 1 };
    let known = Known::Modelled;
    let change = Change { path: t(), before: Some(value!(text)), after: Some(value!({ "a": text })) };
    vec![
        Event::Started {
            resumes: false,
            what: What::Plan,
            run: t(),
            runbook: t(),
            title: t(),
            target: TargetInfo { name: t(), simulated: true },
            namespace: t(),
            params: [(t(), value!(text))].into(),
            checks: vec![t()],
            steps: 1,
        },
        Event::CheckStarted { check: item() },
        Event::CheckFinished { check: item(), verdict: Verdict::Ok { detail: Some(t()) }, known, took: Span::ZERO },
        Event::CheckFinished { check: item(), verdict: Verdict::Skipped { why: t() }, known, took: Span::ZERO },
        Event::CheckFinished { check: item(), verdict: Verdict::Failed { error: error(text) }, known, took: Span::ZERO },
        Event::StepStarted { step: item() },
        Event::Wrote { verb: t(), target: t(), changes: vec![change], inverse: Inverse::Irreversible(t()), known },
        Event::Unchanged { verb: t(), target: t(), known },
        Event::Waiting { what: t(), state: t(), since: Timestamp::UNIX_EPOCH },
        Event::Delayed { what: t(), state: t(), waited: Span::from_secs(9) },
        Event::Warned { text: t() },
        Event::Waited { what: t(), state: t(), took: Span::from_secs(1), known },
        Event::Note { text: t() },
        Event::Asked { confirmation: question(), answer: Some(t()), by: AnsweredBy::Operator, who: Some(t()), known },
        Event::Recovering { step: t(), phase: Phase::Run, error: error(text) },
        Event::NoReturn { step: t(), why: t() },
        Event::Again { step: t() },
        Event::StepFinished { step: item(), end: StepEnd::Failed { error: error(text) }, took: Span::ZERO },
        Event::StepFinished { step: item(), end: StepEnd::Skipped { why: t() }, took: Span::ZERO },
        Event::StepFinished { step: item(), end: StepEnd::Unknown { why: t() }, took: Span::ZERO },
        Event::Finished {
            what: What::Plan,
            summary: Summary {
                end: End::Failed,
                exit_code: 1,
                writes: 1,
                objects: vec![t()],
                unsure: vec![t()],
                invertible: 0,
                no_return: vec![t()],
                stays: vec![Stays { verb: t(), target: t(), why: t() }],
                took: Span::ZERO,
                unknowns: vec![t()],
                drift: Some(crate::cluster::Drift { inputs: 2, changed: vec![crate::cluster::Moved { object: t(), how: t() }] }),
                assumptions: vec![t()],
                confirmations: vec![question()],
                requests: vec![t()],
                error: Some(error(text)),
            },
        },
    ]
}

fn runbook(text: &str) -> Runbook {
    let t = || text.to_owned();
    let header = Header {
        title: t(),
        summary: t(),
        source: Some(t()),
        namespace: Some(t()),
        versions: Some(t()),
        duration: Some(t()),
        labels: [(t(), t())].into(),
        ..Header::default()
    };
    let kind = KindName::One { group: t(), plural: t(), subresource: Some(t()) };
    let grant = Grant { kinds: vec![kind], namespaces: vec![t()], names: vec![t()], images: vec![t()], ..Grant::default() };
    Runbook {
        name: t(),
        header,
        params: vec![],
        checks: vec![],
        steps: vec![],
        groups: vec![],
        coverage: vec![],
        permissions: Some(Permissions { grants: vec![grant], charts: vec![t()], ..Permissions::default() }),
    }
}

/// A run in whose journal each text is this one; it is over, and nobody knows of one of its writes whether it was made.
fn story(text: &str) -> Story {
    let t = || text.to_owned();
    let told = |event| Fact::Told { n: 0, item: None, event: Box::new(event) };
    let header = entry::Header {
        v: VERSION,
        run: t(),
        what: "run".to_owned(),
        of: Some(t()),
        runbook: t(),
        title: t(),
        source: t(),
        files: [(t(), t())].into(),
        params: [(t(), value!(text)), ("secret".to_owned(), value!({ "secret": text }))].into(),
        typed: [].into(),
        target: TargetInfo { name: t(), simulated: false },
        way: value!(null),
        cluster: Some(t()),
        namespace: t(),
        version: t(),
        command: t(),
    };
    let confirmations = vec![Confirmation { at: t(), question: t(), occurrence: 1 }];
    let planned = Planned {
        text: t(),
        took: Span::from_secs(1),
        writes: 1,
        steps: [(t(), Span::from_secs(1))].into(),
        predictions: vec![],
        made_up: Default::default(),
    };
    let intent = |op: String| Fact::Intent {
        place: t(),
        intent: Box::new(Intent {
            op: op.clone(),
            key: Key { verb: t(), target: t(), part: Some(t()) },
            object: None,
            sign: Sign::Stamp(op),
            body: t().into(),
            prior: None,
        }),
    };
    let mut facts = vec![
        Fact::Header(Box::new(header)),
        Fact::Begun(Begun { pid: 1, host: t(), user: t(), epoch: 1 }),
        Fact::Consent(Consent { by: t(), plan: Some(t()), confirmations, planned: Some(planned), grants: None }),
        intent(format!("{text}/1")),
        Fact::Outcome { op: format!("{text}/1"), outcome: Outcome::NotMade { why: t() } },
        intent(format!("{text}/2")),
        Fact::Lock { what: t(), epoch: 1 },
        Fact::Drift { object: t(), differences: vec![t()], choice: t() },
        Fact::Script { source: t(), word: Some(t()), files: [(t(), t())].into() },
        Fact::TakenBack { run: t(), place: Some(t()) },
        Fact::Signal { what: t() },
    ];
    facts.extend(events(text).into_iter().map(told));
    let entries = facts.into_iter().enumerate();
    let entries = entries.map(|(place, fact)| Entry { seq: place as u64 + 1, at: Timestamp::UNIX_EPOCH, fact }).collect();
    Story::told(&Read { run: t(), entries, hashes: Vec::new(), head: t(), end: 0, torn: None }, None).unwrap()
}

/// A skew report of a cluster that says this of everything.
fn versions(text: &str) -> Report {
    let t = || text.to_owned();
    let finding = || Finding { component: Component::Kubelet, node: Some(t()), version: Some(t()), rule: None, message: t() };
    let verdict = crate::primitives::skew::Verdict::Unknown;
    Report {
        ok: false,
        target: Some(t()),
        rows: vec![Row {
            component: Component::Kubelet,
            node: Some(t()),
            version: Some(t()),
            allowed: Some(t()),
            verdict,
            rule: None,
            source: t(),
        }],
        violations: vec![finding()],
        warnings: vec![finding()],
        unknown: vec![finding()],
        path: vec![t(), t()],
        order: vec![Move { component: Component::Kubelet, nodes: vec![t()], from: vec![t()], to: t(), note: "" }],
    }
}

/// The pages and tables that are made of a run, of a plan, and of the versions of a cluster.
fn reports(text: &str, records: &[Record]) -> Vec<(&'static str, String)> {
    let story = story(text);
    let broken = Listed::Broken { run: text.to_owned(), error: error(text) };
    let listed = [Listed::Run(Box::new(RunLine::of(&story))), broken];
    let outage = |how| Outage { from: Span::ZERO, to: None, how };
    let downtime = [Line { object: text.to_owned(), outages: vec![outage(Down::Cordoned), outage(Down::Short { ready: 1, of: 2 })] }];
    let plan = Plan { records, downtime: &downtime };
    // The id of a run is ours: what is like it is replaced in a plan.
    let steady = Steady::new(Timestamp::UNIX_EPOCH, "01KAM4B7X00000000000000AAA", Default::default());
    let basis = |record: &Record| Basis {
        record: record.clone(),
        requests: vec![],
        facts: vec![text.to_owned()],
        written: vec![written(text)],
        controllers: [(text.to_owned(), 1)].into(),
    };
    let basis: Vec<Basis> = records.iter().map(basis).collect();
    let foresight = Hindsight { predicted: 1, right: 0, not_reached: 1, wrong: vec![text.to_owned()], surprises: vec![text.to_owned()] };
    let summary = records.iter().find_map(|record| match &record.event {
        Event::Finished { summary, .. } => Some(summary),
        _ => None,
    });
    let versions = versions(text);
    vec![
        ("runs", runs::list(&listed, Paint::plain())),
        ("runs as Markdown", runs::list_markdown(&listed)),
        ("runs as JSON", json::runs(&listed).unwrap()),
        ("status", runs::status(&story, text, Paint::plain())),
        ("status as JSON", json::status(&story, text).unwrap()),
        ("report", runs::report(&story, Paint::plain())),
        ("report as Markdown", runs::markdown(&story)),
        ("report as HTML", html::page(&story)),
        ("report as JSON", json::report(&story).unwrap()),
        ("comparison with the plan", runs::foresight(&foresight)),
        ("plan as Markdown", plan.markdown()),
        ("plan as HTML", plan.html()),
        ("plan as JSON", json::plan(&steady, summary.unwrap(), records, &downtime).unwrap()),
        ("plan --explain", explained::text(text, &basis, &steady, Asked::Server, Paint::plain()).unwrap()),
        ("skew", skew::text(&versions, text, Paint::plain())),
        ("skew as Markdown", skew::markdown(&versions, text)),
        ("skew as JSON", json::skew(&versions, text).unwrap()),
    ]
}

/// An object that came to be this.
fn written(text: &str) -> explained::Written {
    let after = value!({ "kind": text, "metadata": { "name": text }, text: [text] });
    explained::Written { subject: text.to_owned(), before: None, after: Some(after) }
}

/// Everything that is made of a text, by the name of where it goes.
fn sinks(text: &str) -> Vec<(&'static str, String)> {
    let numbered = |(place, event)| Record { seq: place as u64 + 1, at: Timestamp::UNIX_EPOCH, item: None, event };
    let records: Vec<Record> = events(text).into_iter().enumerate().map(numbered).collect();
    let book = runbook(text);
    let mut log = escape::Safe(Vec::new());
    log.write_all(text.as_bytes()).unwrap();
    let mut sinks = vec![
        ("transcript", Transcript::text(&records)),
        ("error", excerpt::error(&error(text), Paint::plain())),
        ("error as JSON", json::error(&error(text)).unwrap()),
        ("show", catalogue::show(&book, text, &catalogue::Known::default(), Paint::plain())),
        ("show as JSON", json::show(&book, text).unwrap()),
        ("list", catalogue::list(std::slice::from_ref(&book), Paint::plain())),
        ("table", table::columns(&["A"], &[vec![text.to_owned()]], Paint::plain())),
        ("roles", super::rbac::yaml(&crate::run::rbac::Roles::default(), "x", None, text)),
        ("log", String::from_utf8(log.0).unwrap()),
    ];
    sinks.extend(reports(text, &records));
    sinks.extend(records.iter().map(|record| ("event as JSON", json::event(What::Run, record).unwrap())));
    sinks.extend(
        permissions::rows(book.permissions.as_ref().unwrap())
            .into_iter()
            .map(|(what, terms)| ("permissions", format!("{}{}", escape::line(&what), escape::lines(&terms)))),
    );
    sinks
}

proptest! {
    // Each of them is some thirty texts, and each text all the events.
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn nothing_gets_through(text in hostile()) {
        for (sink, out) in sinks(&text) {
            let found = out.chars().find(|c| *c != '\n' && is_unsafe(*c));
            prop_assert_eq!(found, None, "{}: {:?}", sink, out);
        }
    }

    #[test]
    fn what_is_escaped_is_still_there(text in hostile()) {
        // Not dropped: two texts that differ are shown differently.
        let bare: String = text.chars().filter(|c| !is_unsafe(*c)).collect();
        if text.chars().any(|c| c != '\n' && is_unsafe(c)) {
            prop_assert_ne!(escape::lines(&text).into_owned(), bare);
        }
    }
}
