use super::*;
use crate::base::diff::Change;
use crate::base::json::json;
use crate::base::{Span, Value};
use crate::cluster::keep::{Intent, Key, Outcome, Prior, Sign};
use crate::primitives::{Done, Inverse, Wrote};
use crate::run::event::{AnsweredBy, Confirmation, End, Item, Known, Part, StepEnd, Summary, TargetInfo, Verdict, What};
use crate::run::journal::entry::{Begun, Consent, Finished, VERSION};
use crate::run::journal::memory::{Fault, MemoryDisk};
use crate::run::journal::read::{Read, read};
use crate::run::runbook::Phase;
use crate::run::script::{Call, Returned};

const RUN: &str = "01J00000000000000000000000";

fn header() -> Header {
    Header {
        v: VERSION,
        run: RUN.to_owned(),
        what: "run".to_owned(),
        of: None,
        runbook: "web".to_owned(),
        title: "Web".to_owned(),
        source: "web.luau".to_owned(),
        files: [("web.luau".to_owned(), "00".to_owned())].into(),
        params: [].into(),
        typed: [].into(),
        target: TargetInfo { name: "kind".to_owned(), simulated: false },
        way: Json::Null,
        cluster: Some("uid".to_owned()),
        namespace: "default".to_owned(),
        version: "0.1.0".to_owned(),
        command: "lockgate run web".to_owned(),
    }
}

fn intent(number: u64, prior: Option<Json>) -> Fact {
    let op = format!("{RUN}/{number}/1");
    Fact::Intent {
        place: "step a".to_owned(),
        intent: Box::new(Intent {
            op: op.clone(),
            key: Key { verb: "patch".to_owned(), target: "deployment/shop/web".to_owned(), part: None },
            object: None,
            sign: Sign::Stamp(op),
            body: "ab".repeat(32).into(),
            prior: prior.map(|object| Prior::Was(object.into())),
        }),
    }
}

fn outcome(number: u64) -> Fact {
    Fact::Outcome { op: format!("{RUN}/{number}/1"), outcome: Outcome::Made { after: None } }
}

fn note(text: &str) -> Fact {
    Fact::Told { n: 1, item: None, event: Box::new(Event::Note { text: text.to_owned() }) }
}

fn begun() -> Fact {
    Fact::Begun(Begun { pid: 7, host: "laptop".to_owned(), user: "ops".to_owned(), epoch: 1 })
}

fn long(letter: char) -> Json {
    json!({ "kind": "Deployment", "text": letter.to_string().repeat(17_000) })
}

/// Everything that a journal does: short lines and long ones, synced ones and others.
fn story() -> Vec<Fact> {
    vec![
        begun(),
        note("looks at the world"),
        intent(1, Some(long('a'))),
        outcome(1),
        note(&"n".repeat(700)),
        note("between"),
        intent(2, Some(long('a'))),
        outcome(2),
        note("the end is near"),
    ]
}

fn boxed(disk: &MemoryDisk) -> Box<dyn JournalIo> {
    Box::new(disk.clone())
}

/// Writes a story until the disk fails; gives how many lines were promised to survive.
fn tell(disk: &MemoryDisk, facts: &[Fact]) -> usize {
    let Ok(journal) = Journal::create(boxed(disk), None, Timestamp::UNIX_EPOCH, header()) else { return 0 };
    let mut promised = 1;
    for (place, fact) in facts.iter().enumerate() {
        match journal.append(Timestamp::UNIX_EPOCH, fact) {
            Ok(_) if syncs(fact) => promised = place + 2,
            Ok(_) => {}
            Err(_) => {
                let again = journal.append(Timestamp::UNIX_EPOCH, &begun()).unwrap_err();
                assert!(again.message.contains("takes nothing more"), "{again}");
                break;
            }
        }
    }
    promised
}

fn read_back(disk: &MemoryDisk) -> Result<Read> {
    read(&mut disk.clone(), RUN, false)
}

fn told(disk: &MemoryDisk) -> Vec<Fact> {
    read_back(disk).unwrap().entries.into_iter().map(|entry| entry.fact).collect()
}

/// Calls with every way to choose, or with so many drawn ones when there are more.
fn every_choice(most: usize, mut act: impl FnMut(&mut dyn FnMut(usize) -> usize)) {
    let mut fixed: Vec<(usize, usize)> = Vec::new();
    for round in 0..most {
        let mut depth = 0;
        act(&mut |of| {
            if depth == fixed.len() {
                // Without an end to the ways, they begin with a drawn one each.
                let drawn = if round > most / 2 { (round * 7 + depth * 13) % of } else { 0 };
                fixed.push((drawn, of));
            }
            depth += 1;
            fixed[depth - 1].0
        });
        while fixed.last().is_some_and(|(choice, of)| choice + 1 == *of) {
            fixed.pop();
        }
        match fixed.last_mut() {
            Some((choice, _)) => *choice += 1,
            None => return,
        }
    }
}

#[test]
fn what_was_written_is_read_and_a_line_begins_with_what_people_look_for() {
    let disk = MemoryDisk::new();
    assert_eq!(tell(&disk, &story()), 9);
    let mut facts = vec![Fact::Header(Box::new(header()))];
    facts.extend(story());
    assert_eq!(told(&disk), facts);
    let files = disk.files();
    let text = String::from_utf8(files[JOURNAL].clone()).unwrap();
    assert!(text.starts_with(r#"{"seq":1,"at":"1970-01-01T00:00:00Z","k":"header","v":1,"run":"01J"#), "{text}");
    for line in text.lines() {
        assert!(line.len() < 4096, "{line}");
        assert!(line.contains(r#","prev":""#) && line.ends_with("\"}"), "{line}");
    }
    let blobs: Vec<&String> = files.keys().filter(|path| path.starts_with(BLOBS)).collect();
    assert_eq!(blobs.len(), 1, "the same content is written once");
    assert_eq!(text.matches("$blob").count(), 2);
    assert_eq!(read_back(&disk).unwrap().head, chain::sha256(text.lines().last().unwrap().as_bytes()));
}

fn wrong() -> Error {
    Error::usage("wrong").cause("why").hint("right").details(json!({ "n": 1 }))
}

fn question() -> Confirmation {
    Confirmation { at: "step a".to_owned(), question: "now?".to_owned(), occurrence: 2 }
}

fn patched(inverse: Inverse) -> Wrote {
    let change = Change { path: "spec.replicas".to_owned(), before: None, after: Some(Json::Null) };
    Wrote { verb: "patch".to_owned(), target: "deployment/web".to_owned(), changes: vec![change], inverse }
}

fn undone() -> Inverse {
    Inverse::Call { verb: "scale".to_owned(), arguments: vec![json!(1.5)], options: Json::Null }
}

/// Each event that a journal keeps, with as little in it as it may have.
fn events() -> Vec<Event> {
    let item = |part: Option<Part>| Item { id: "a".to_owned(), title: "A".to_owned(), number: 1, of: 2, part };
    let part = Part { name: "w1".to_owned(), number: 1, of: 3 };
    let summary = Summary {
        end: End::Failed,
        exit_code: 1,
        writes: 0,
        objects: Vec::new(),
        unsure: Vec::new(),
        invertible: 0,
        no_return: Vec::new(),
        stays: Vec::new(),
        took: Span::from_secs(90),
        unknowns: Vec::new(),
        drift: None,
        assumptions: Vec::new(),
        confirmations: Vec::new(),
        requests: Vec::new(),
        error: None,
    };
    let (took, known) = (Span::from_millis(1_500), Known::Observed);
    vec![
        Event::CheckStarted { check: item(None) },
        Event::CheckFinished { check: item(None), verdict: Verdict::Ok { detail: None }, known, took },
        Event::CheckFinished { check: item(None), verdict: Verdict::Failed { error: wrong() }, known, took },
        Event::StepStarted { step: item(Some(part.clone())) },
        Event::Earlier { of: "step".to_owned(), item: item(Some(part)) },
        Event::Recovering { step: "a".to_owned(), phase: Phase::Verify, error: wrong() },
        Event::Again { step: "a".to_owned() },
        Event::wrote(&patched(undone()), known),
        Event::wrote(&patched(Inverse::Irreversible("why".to_owned())), known),
        Event::Unchanged { verb: "scale".to_owned(), target: "deployment/web".to_owned(), known },
        Event::Waited { what: "rollout".to_owned(), state: "ready".to_owned(), took, known },
        Event::Asked { confirmation: question(), answer: None, by: AnsweredBy::Nobody, who: None, known: Known::Unknown },
        Event::StepFinished { step: item(None), end: StepEnd::Skipped { why: "no".to_owned() }, took },
        Event::StepFinished { step: item(None), end: StepEnd::Failed { error: wrong() }, took },
        Event::Finished { what: What::Run, summary: summary.clone() },
        Event::Finished { what: What::Run, summary: Summary { error: Some(wrong()), unsure: vec!["x".to_owned()], ..summary } },
    ]
}

/// Each kind of value that a script may get.
fn values() -> Vec<Value> {
    let typed = Value::Typed(crate::base::Typed::Duration(Span::from_secs(90)));
    let object = Value::Object(crate::base::Object::read(json!({ "kind": "Pod", "n": -0.25, "big": u64::MAX }).into()));
    let list = Value::List(vec![Value::Nil, typed.clone()]);
    vec![Value::Nil, Value::Json(Json::Null), typed.clone(), object, list, Value::Map([("k".to_owned(), typed)].into())]
}

fn finished(done: Option<Done>, error: Option<Error>) -> Fact {
    let arguments = vec![Json::Null, "x".into()];
    let call = Call { verb: "get".to_owned(), arguments, options: json!({ "k": [] }), places: Vec::new() };
    let (place, phase) = ("step a".to_owned(), Phase::Run);
    Fact::Call(Box::new(Finished { place, phase, call, done, error, wrote: Vec::new(), reread: None, writes: Vec::new() }))
}

#[test]
fn every_kind_of_fact_comes_back_as_it_was() {
    let place = "step a".to_owned();
    let state = Some([("a".to_owned(), Value::Nil)].into());
    let mut facts = vec![
        begun(),
        Fact::Consent(Consent { by: "--yes".to_owned(), plan: None, confirmations: vec![question()], planned: None, grants: None }),
        Fact::Enter { place: place.clone(), phase: Phase::When },
        Fact::Left { place: place.clone(), phase: Phase::When, returned: Some(Returned::default()), error: None },
        Fact::Left { place: place.clone(), phase: Phase::Run, returned: None, error: Some(wrong()) },
        finished(None, Some(wrong())),
        intent(1, None),
        intent(2, Some(json!({ "kind": "Pod" }))),
        outcome(1),
        Fact::Outcome { op: "x".to_owned(), outcome: Outcome::Unknown { why: "lost".to_owned() } },
        Fact::Items { place: place.clone(), items: values() },
        Fact::Ended { place, verdict: None, end: Some(StepEnd::Done { recovered: true }), state },
        Fact::Lock { what: "taken".to_owned(), epoch: 2 },
        Fact::Drift { object: "x".to_owned(), differences: vec!["y".to_owned()], choice: "stop".to_owned() },
        Fact::Again { place: "step s".to_owned() },
        Fact::Signal { what: "SIGTERM".to_owned() },
    ];
    facts.extend(values().into_iter().map(|value| finished(Some(Done { value, wrote: vec![patched(undone())] }), None)));
    facts.extend(events().into_iter().enumerate().map(|(n, event)| Fact::Told { n: n as u64, item: None, event: Box::new(event) }));
    for redactor in [None, Some(Rc::new(Redactor::new([1; 32])))] {
        let disk = MemoryDisk::new();
        let journal = Journal::create(boxed(&disk), redactor, Timestamp::UNIX_EPOCH, header()).unwrap();
        for fact in &facts {
            journal.append(Timestamp::UNIX_EPOCH, fact).unwrap();
        }
        let back = told(&disk);
        for (wrote, read) in facts.iter().zip(&back[1..]) {
            assert_eq!(wrote, read);
        }
        assert_eq!(back.len(), facts.len() + 1);
    }
}

#[test]
fn a_resumed_journal_goes_on_where_it_was() {
    let disk = MemoryDisk::new();
    tell(&disk, &story());
    let before = read_back(&disk).unwrap();
    let journal = Journal::go_on(boxed(&disk), None, &before).unwrap();
    assert_eq!(journal.append(Timestamp::UNIX_EPOCH, &intent(3, Some(long('a')))).unwrap(), 11);
    assert_eq!(journal.head(), read_back(&disk).unwrap().head);
    assert_eq!(told(&disk).last(), Some(&intent(3, Some(long('a')))));
    assert_eq!(disk.files().keys().filter(|path| path.starts_with(BLOBS)).count(), 1);
}

#[test]
fn a_crash_at_any_operation_leaves_all_that_was_promised() {
    let whole = MemoryDisk::new();
    tell(&whole, &story());
    let mut facts = vec![Fact::Header(Box::new(header()))];
    facts.extend(story());
    for number in 1..=whole.asked() + 1 {
        let disk = MemoryDisk::new();
        disk.fault_at(number, Fault::Crash);
        let promised = tell(&disk, &story());
        every_choice(150, |choose| {
            let disk = disk.copy();
            disk.crash(choose);
            survived(&disk, &facts, promised, number);
        });
    }
}

#[test]
fn a_disk_that_fails_once_is_never_trusted_again() {
    let whole = MemoryDisk::new();
    tell(&whole, &story());
    let mut facts = vec![Fact::Header(Box::new(header()))];
    facts.extend(story());
    for kind in [io::ErrorKind::StorageFull, io::ErrorKind::Other] {
        for number in 1..=whole.asked() {
            let disk = MemoryDisk::new();
            disk.fault_at(number, Fault::Fails(kind));
            let promised = tell(&disk, &story());
            assert!(promised < 9 || number == whole.asked(), "operation {number} failed and nobody noticed");
            every_choice(60, |choose| {
                let disk = disk.copy();
                disk.crash(choose);
                survived(&disk, &facts, promised, number);
            });
        }
    }
}

/// After a crash the journal is a beginning of what was told with all that was promised, and it can be gone on with.
fn survived(disk: &MemoryDisk, facts: &[Fact], promised: usize, number: usize) {
    let read = match read_back(disk) {
        Ok(read) => read,
        Err(error) => {
            assert_eq!(promised, 0, "crash at operation {number}: {error:?}");
            assert!(error.message.contains("cannot be read"), "{error}");
            return;
        }
    };
    let told: Vec<Fact> = read.entries.iter().map(|entry| entry.fact.clone()).collect();
    assert!(told.len() >= promised, "crash at operation {number}: {} of {promised} lines", told.len());
    assert_eq!(told, facts[..told.len()], "crash at operation {number}");
    let journal = Journal::go_on(boxed(disk), None, &read).unwrap();
    journal.append(Timestamp::UNIX_EPOCH, &intent(9, Some(long('a')))).unwrap();
    let again = read_back(disk).unwrap();
    assert_eq!((again.entries.len(), again.torn), (told.len() + 1, None), "crash at operation {number}");
    if let Some(torn) = read.torn {
        let aside = disk.files().remove(TORN).unwrap();
        assert!(memchr::memmem::find(&aside, &torn.bytes).is_some());
    }
}

#[test]
fn a_crash_while_a_torn_end_is_moved_aside_loses_nothing() {
    let facts: Vec<Fact> = story();
    let disk = MemoryDisk::new();
    tell(&disk, &facts);
    let mut bytes = disk.files()[JOURNAL].clone();
    bytes.extend_from_slice(br#"{"seq":11,"at":"19"#);
    let blobs: Vec<(String, Vec<u8>)> = disk.files().into_iter().filter(|(path, _)| path != JOURNAL).collect();
    let fresh = || {
        let disk = MemoryDisk::new();
        disk.put(JOURNAL, &bytes);
        blobs.iter().for_each(|(path, bytes)| disk.put(path, bytes));
        disk
    };
    for number in 1.. {
        let disk = fresh();
        let read = read_back(&disk).unwrap();
        disk.fault_at(disk.asked() + number, Fault::Crash);
        if Journal::go_on(boxed(&disk), None, &read).is_ok() {
            assert!(number > 5);
            break;
        }
        every_choice(500, |choose| {
            let disk = disk.copy();
            disk.crash(choose);
            let again = read_back(&disk).unwrap();
            assert_eq!(again.entries, read.entries);
            Journal::go_on(boxed(&disk), None, &again).unwrap();
            assert_eq!(read_back(&disk).unwrap().torn, None);
        });
    }
}

#[test]
fn a_flipped_bit_is_refused_wherever_it_is() {
    let disk = MemoryDisk::new();
    tell(&disk, &[begun(), intent(1, None), outcome(1)]);
    let bits = disk.files()[JOURNAL].len() * 8;
    for bit in 0..bits {
        disk.flip(Some(bit));
        match read_back(&disk) {
            Err(error) => assert_eq!(error.kind, crate::base::Kind::Refused, "bit {bit}: {error}"),
            Ok(read) => panic!("bit {bit} of byte {} of {bits}: {} lines, torn {:?}", bit / 8, read.entries.len(), read.torn),
        }
    }
}

#[test]
fn what_no_crash_explains_is_refused_with_the_line_and_the_way_out() {
    let disk = MemoryDisk::new();
    tell(&disk, &story());
    let text = String::from_utf8(disk.files()[JOURNAL].clone()).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let with = |lines: &[String]| {
        let changed = disk.copy();
        changed.put(JOURNAL, format!("{}\n", lines.join("\n")).as_bytes());
        changed
    };
    let own = || lines.iter().map(|line| (*line).to_owned()).collect::<Vec<String>>();
    let refused = |disk: &MemoryDisk| {
        let error = read_back(disk).unwrap_err();
        assert_eq!(error.message, format!("the journal of run `{RUN}` is broken: it was changed, or its disk is faulty"));
        assert!(error.hint.as_deref().unwrap().contains("--accept-truncated"), "{error:?}");
        error.causes[0].clone()
    };
    let mut edited = own();
    edited[3] = edited[3].replace("patch", "patsh");
    assert_eq!(refused(&with(&edited)), "line 4 is not as it was written");
    let mut resealed = own();
    let body = chain::whole(resealed[3].as_bytes()).unwrap().body().replace("shop/web", "shop/db");
    resealed[3] = chain::line(&body, &chain::sha256(resealed[2].as_bytes()), |_| None);
    assert_eq!(refused(&with(&resealed)), "line 5 does not follow the one before it");
    let mut shorter = own();
    shorter.remove(4);
    assert_eq!(refused(&with(&shorter)), "line 5 does not follow the one before it");
    let given_up = read(&mut with(&shorter).clone(), RUN, true).unwrap();
    assert_eq!(given_up.entries.len(), 4);
    let kept = given_up.torn.clone().unwrap();
    assert!(kept.bytes.starts_with(lines[5].as_bytes()), "what is given up is kept aside");
}

#[test]
fn a_hole_before_a_line_that_was_synced_is_no_torn_end() {
    let disk = MemoryDisk::new();
    tell(&disk, &story());
    let mut bytes = disk.files()[JOURNAL].clone();
    bytes[512..1024].fill(0);
    disk.put(JOURNAL, &bytes);
    assert_eq!(read_back(&disk).unwrap_err().causes.len(), 1);
}

#[test]
fn a_long_part_that_is_gone_or_changed_is_named() {
    let disk = MemoryDisk::new();
    tell(&disk, &story());
    let path = disk.files().into_keys().find(|path| path.starts_with(BLOBS)).unwrap();
    disk.put(&path, b"{}");
    let error = read_back(&disk).unwrap_err();
    assert_eq!(error.causes[0], format!("`{path}`, which line 4 names, is not there or is not what its name says"));
}

#[test]
fn another_version_is_refused_by_its_name() {
    let disk = MemoryDisk::new();
    let newer = Header { v: 2, version: "9.0.0".to_owned(), ..header() };
    Journal::create(boxed(&disk), None, Timestamp::UNIX_EPOCH, newer).unwrap();
    let error = read_back(&disk).unwrap_err();
    assert_eq!(error.message, format!("the journal of run `{RUN}` is of version 2, and this lockgate reads version 1"));
    assert_eq!(error.hint.as_deref(), Some("go on with the lockgate that began it, 9.0.0"));
}

#[test]
fn half_a_folder_is_told_as_such() {
    let disk = MemoryDisk::new();
    let none = read_back(&disk).unwrap_err();
    assert_eq!(
        (none.message.as_str(), none.causes[0].as_str()),
        (&*format!("run `{RUN}` cannot be read"), "the folder holds no `journal.jsonl`")
    );
    disk.put(JOURNAL, b"");
    assert!(read_back(&disk).unwrap_err().causes[0].starts_with("its journal has no header"));
}

#[test]
fn a_full_disk_stops_an_intent_and_says_that_nothing_was_sent() {
    let disk = MemoryDisk::new();
    let journal = Journal::create(boxed(&disk), None, Timestamp::UNIX_EPOCH, header()).unwrap();
    disk.fault_at(disk.asked() + 1, Fault::Fails(io::ErrorKind::StorageFull));
    let error = journal.append(Timestamp::UNIX_EPOCH, &intent(1, None)).unwrap_err();
    assert_eq!(error.message, format!("the journal of run `{RUN}` cannot be written"));
    assert_eq!(error.causes, ["writing a line", "there is no room left on the disk", "nothing was sent"]);
    assert_eq!(error.hint.as_deref(), Some("make room on the disk that holds the runs, then resume"));
}

#[test]
fn a_full_disk_lets_no_run_begin_and_names_another_folder() {
    let disk = MemoryDisk::new();
    disk.fault_at(2, Fault::Fails(io::ErrorKind::StorageFull));
    let error = Journal::create(boxed(&disk), None, Timestamp::UNIX_EPOCH, header()).unwrap_err();
    assert_eq!(error.causes, ["reserving room for it", "there is no room left on the disk"]);
    assert!(error.hint.as_deref().unwrap().ends_with("name another folder: `--runs DIR`"), "{error:?}");
}

#[test]
fn a_run_is_never_begun_over_another() {
    let disk = MemoryDisk::new();
    tell(&disk, &[]);
    let error = Journal::create(boxed(&disk), None, Timestamp::UNIX_EPOCH, header()).unwrap_err();
    assert_eq!(error.hint.as_deref(), Some("each run has a folder of its own; begin a new one"));
}

#[test]
fn secrets_never_arrive_in_lines_or_long_parts() {
    let disk = MemoryDisk::new();
    let redactor = Rc::new(Redactor::new([1; 32]));
    redactor.learn("canary-0001");
    let journal = Journal::create(boxed(&disk), Some(redactor), Timestamp::UNIX_EPOCH, header()).unwrap();
    let secret = json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "db" }, "data": { "a": "Y2FuYXJ5LTAwMDI=" },
        "text": "x".repeat(17_000) });
    journal.append(Timestamp::UNIX_EPOCH, &intent(1, Some(secret))).unwrap();
    journal.append(Timestamp::UNIX_EPOCH, &note("canary-0001 and canary-0002")).unwrap();
    for (path, bytes) in disk.files() {
        let text = String::from_utf8(bytes).unwrap();
        assert!(!text.contains("canary-000") && !text.contains("Y2FuYXJ5"), "{path}: {text}");
    }
    let facts = told(&disk);
    assert_eq!(facts.last(), Some(&note("(secret) and (secret)")));
    assert!(matches!(&facts[1], Fact::Intent { intent, .. } if intent.key.target == "deployment/shop/web"));
}

#[test]
fn a_run_that_is_over_gives_its_reserved_room_back_and_one_that_goes_on_takes_it_again() {
    use std::os::unix::fs::MetadataExt as _;
    let folder = tempfile::tempdir().unwrap();
    let run = crate::run::journal::Runs::at(folder.path()).create(RUN).unwrap();
    let journal = Journal::create(Box::new(run.disk()), None, Timestamp::UNIX_EPOCH, header()).unwrap();
    let taken = || std::fs::metadata(run.path().join(JOURNAL)).unwrap().blocks() * 512;
    // Nothing where the disk cannot reserve.
    let reserved = taken();
    let over = events().into_iter().find(|event| matches!(event, Event::Finished { .. })).unwrap();
    journal.append(Timestamp::UNIX_EPOCH, &Fact::Told { n: 1, item: None, event: Box::new(over) }).unwrap();
    assert!(taken() < AHEAD / 8, "{} bytes, {reserved} before", taken());
    assert_eq!(read(&mut run.disk(), RUN, false).unwrap().entries.len(), 2, "what was written stays");
    journal.append(Timestamp::UNIX_EPOCH, &intent(1, None)).unwrap();
    assert!(taken() >= reserved, "{} bytes, {reserved} before", taken());
}

#[test]
fn two_who_write_it_do_not_write_it_to_pieces() {
    let folder = tempfile::tempdir().unwrap();
    let runs = crate::run::journal::Runs::at(folder.path());
    let run = runs.create(RUN).unwrap();
    let journal = Journal::create(Box::new(run.disk()), None, Timestamp::UNIX_EPOCH, header()).unwrap();
    journal.append(Timestamp::UNIX_EPOCH, &begun()).unwrap();
    let seen = read(&mut run.disk(), RUN, false).unwrap();
    let other = Journal::go_on(Box::new(run.disk()), None, &seen).unwrap();
    other.append(Timestamp::UNIX_EPOCH, &begun()).unwrap();
    let stopped = journal.append(Timestamp::UNIX_EPOCH, &intent(1, None)).unwrap_err();
    assert!(stopped.is_stop() && stopped.kind.exit_code() == 4, "{stopped:?}");
    assert!(stopped.causes.contains(&"somebody else has written to it meanwhile, so this process stops".to_owned()), "{stopped:?}");
    assert!(stopped.causes.contains(&"nothing was sent".to_owned()));
    other.append(Timestamp::UNIX_EPOCH, &outcome(1)).unwrap();
    assert_eq!(read(&mut run.disk(), RUN, false).unwrap().entries.len(), 4);
    std::fs::remove_file(run.path().join(JOURNAL)).unwrap();
    assert!(other.append(Timestamp::UNIX_EPOCH, &outcome(2)).unwrap_err().is_stop(), "what nobody can read again is no journal");
}
