//! What a journal costs: `cargo bench --bench journal`. The folder is in the temporary folder of the machine: what is measured is its
//! disk. `LOCKGATE_BENCH_FOLDER` names another.

#![allow(missing_docs, clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark prints, and ends when something is wrong")]

use std::hint::black_box;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use lockgate::base::Timestamp;
use lockgate::base::json::{Value as Json, json};
use lockgate::cluster::keep::{Intent, Key, Outcome, Prior, Sign};
use lockgate::run::event::{Event, TargetInfo};
use lockgate::run::journal::entry::{Fact, Header, VERSION};
use lockgate::run::journal::memory::MemoryDisk;
use lockgate::run::journal::{Journal, Runs, read};

const RUN: &str = "01KAM4B7X00000000000000AAA";

fn header() -> Header {
    Header {
        v: VERSION,
        run: RUN.to_owned(),
        what: "run".to_owned(),
        of: None,
        runbook: "bench".to_owned(),
        title: String::new(),
        source: String::new(),
        files: [].into(),
        params: [].into(),
        typed: [].into(),
        target: TargetInfo { name: "bench".to_owned(), simulated: false },
        way: Json::Null,
        cluster: None,
        namespace: "default".to_owned(),
        version: "0.1.0".to_owned(),
        command: String::new(),
    }
}

/// A deployment of about 3 KiB, each time of another version.
fn object(version: u64) -> Json {
    let containers: Vec<Json> = (0..4)
        .map(|place| {
            let env: Vec<Json> = (0..8).map(|name| json!({ "name": format!("VARIABLE_{name}"), "value": "some text of it" })).collect();
            json!({ "name": format!("c{place}"), "image": "registry.example/web:v1.2.3", "env": env })
        })
        .collect();
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": { "name": "web", "namespace": "shop", "resourceVersion": version.to_string() },
        "spec": { "replicas": 3, "template": { "spec": { "containers": containers } } },
    })
}

/// The two lines of a write.
fn write(number: u64) -> [Fact; 2] {
    let op = format!("{RUN}/{number}/1");
    let key = Key { verb: "patch".to_owned(), target: "deployment/shop/web".to_owned(), part: None };
    let prior = Some(Prior::Was(object(number).into()));
    let intent = Intent { op: op.clone(), key, object: None, sign: Sign::Stamp(op.clone()), body: "ab".repeat(32).into(), prior };
    [
        Fact::Intent { place: "step web".to_owned(), intent: Box::new(intent) },
        Fact::Outcome { op, outcome: Outcome::Made { after: Some(object(number + 1).into()) } },
    ]
}

fn folder() -> PathBuf {
    std::env::var_os("LOCKGATE_BENCH_FOLDER")
        .map_or_else(std::env::temp_dir, PathBuf::from)
        .join(format!("lockgate-bench-{}", std::process::id()))
}

fn told(name: &str, mut times: Vec<Duration>) {
    times.sort();
    let at = |part: f64| times[((times.len() - 1) as f64 * part) as usize];
    println!("{name}: p50 {:?}, p99 {:?}, max {:?} ({} samples)", at(0.5), at(0.99), at(1.0), times.len());
}

fn benches(c: &mut Criterion) {
    let root = folder();
    let runs = Runs::at(&root);
    let run = runs.create(RUN).unwrap();
    let redactor = std::rc::Rc::new(run.redactor().unwrap());
    let journal = Journal::create(Box::new(run.disk()), Some(redactor), Timestamp::UNIX_EPOCH, header()).unwrap();
    let (mut lines, mut writes) = (Vec::new(), Vec::new());
    for number in 0..2_000 {
        let began = Instant::now();
        for fact in write(number) {
            let line = Instant::now();
            journal.append(Timestamp::UNIX_EPOCH, &fact).unwrap();
            lines.push(line.elapsed());
        }
        writes.push(began.elapsed());
    }
    told("one line with its sync", lines);
    told("one write: intent and outcome, prior state and result with it", writes);
    std::fs::remove_dir_all(&root).unwrap();

    let disk = MemoryDisk::new();
    let journal = Journal::create(Box::new(disk.clone()), None, Timestamp::UNIX_EPOCH, header()).unwrap();
    for number in 0..2_500 {
        let [intent, outcome] = write(number);
        journal.append(Timestamp::UNIX_EPOCH, &intent).unwrap();
        journal.append(Timestamp::UNIX_EPOCH, &outcome).unwrap();
        for text in ["looks", "waits"] {
            let event = Event::Note { text: text.to_owned() };
            journal.append(Timestamp::UNIX_EPOCH, &Fact::Told { n: number, event: Box::new(event) }).unwrap();
        }
    }
    c.bench_function("reading 10,000 records", |b| {
        b.iter(|| black_box(read(&mut disk.clone(), RUN, false).unwrap().entries.len()));
    });
}

criterion_group! { name = all; config = Criterion::default().sample_size(10); targets = benches }
criterion_main!(all);
