//! What a journal costs: `cargo bench --bench journal`. The folder is in the temporary folder of the machine: what is measured is its
//! disk. `LOCKGATE_BENCH_FOLDER` names another. A figure that is missed ends it with an error.

#![allow(missing_docs, clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark prints, and ends when something is wrong")]

mod goals;

use std::cell::{Cell, RefCell};
use std::fs::File;
use std::io::{Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};

use futures::future::LocalBoxFuture;
use lockgate::base::json::{Value as Json, json};
use lockgate::base::{Result, Timestamp};
use lockgate::cluster::keep::{Intent, Key, Outcome, Prior, Sign};
use lockgate::cluster::{Cluster, Options, RunId, Simulation};
use lockgate::lua::LuaHost;
use lockgate::primitives::AskOptions;
use lockgate::run::event::TargetInfo;
use lockgate::run::journal::book::OnDrift;
use lockgate::run::journal::entry::{Begun, Fact, Header, VERSION};
use lockgate::run::journal::io::JournalIo;
use lockgate::run::journal::memory::MemoryDisk;
use lockgate::run::journal::{Book, Journal, Past, RunFolder, Runs, read};
use lockgate::run::{
    Confirmation, End, Given, Job, Operator, Record, Recording, Script as _, Source, Summary, Voice, What, params, perform,
};
use lockgate_sim::fixture::Fixture;
use lockgate_sim::{Cluster as Sim, Options as SimOptions};

use goals::Missed;

/// That of the program.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const RUN: &str = "01KAM4B7X00000000000000AAA";

fn header(run: &str) -> Header {
    Header {
        v: VERSION,
        run: run.to_owned(),
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

/// Prints the times of something, and gives the median and the 99th of a hundred.
fn told(name: &str, mut times: Vec<Duration>) -> (Duration, Duration) {
    times.sort();
    let at = |part: f64| times[((times.len() - 1) as f64 * part) as usize];
    println!("{name}: p50 {:?}, p99 {:?}, max {:?} ({} samples)", at(0.5), at(0.99), at(1.0), times.len());
    (at(0.5), at(0.99))
}

/// What the disk itself takes to keep as much, twice as a write does: what is missed then is missed by the disk, or by what else runs.
fn disk(folder: &Path) {
    let mut file = File::create(folder.join("disk")).unwrap();
    file.write_all(&vec![0; 16 << 20]).unwrap();
    file.sync_all().unwrap();
    file.rewind().unwrap();
    let times = (0..1_000).map(|_| {
        let began = Instant::now();
        for _ in 0..2 {
            file.write_all(&[b'x'; 6_000]).unwrap();
            file.sync_data().unwrap();
        }
        began.elapsed()
    });
    told("the disk alone: twice 6 kB and its sync", times.collect());
}

fn writes(folder: &RunFolder, missed: &mut Missed) {
    let redactor = Rc::new(folder.redactor().unwrap());
    let journal = Journal::create(Box::new(folder.disk()), Some(redactor), Timestamp::UNIX_EPOCH, header(RUN)).unwrap();
    let (mut lines, mut both) = (Vec::new(), Vec::new());
    for number in 0..2_000 {
        let began = Instant::now();
        for fact in write(number) {
            let line = Instant::now();
            journal.append(Timestamp::UNIX_EPOCH, &fact).unwrap();
            lines.push(line.elapsed());
        }
        both.push(began.elapsed());
    }
    told("one line with its sync", lines);
    let (median, late) = told("one write: intent and outcome, prior state and result with it", both);
    missed.within("a write, in the median", median, Duration::from_millis(1));
    missed.within("a write, 99 of 100", late, Duration::from_millis(5));
}

/// Says yes to everything, or nothing to anything; and when that was asked first.
struct Answers {
    yes: bool,
    asked: Cell<Option<Instant>>,
}

impl Operator for Answers {
    fn confirm<'a>(&'a self, _: &'a Confirmation) -> LocalBoxFuture<'a, Result<Option<bool>>> {
        self.asked.set(self.asked.get().or_else(|| Some(Instant::now())));
        Box::pin(async { Ok(self.yes.then_some(true)) })
    }

    fn ask<'a>(&'a self, _: &'a Confirmation, _: &'a AskOptions) -> LocalBoxFuture<'a, Result<Option<String>>> {
        Box::pin(async { Ok(None) })
    }
}

fn answers(yes: bool) -> Rc<Answers> {
    Rc::new(Answers { yes, asked: Cell::new(None) })
}

/// One process of a run in a simulated cluster, with this journal and this past of it.
fn process(
    run: &str,
    source: &Source,
    given: &str,
    simulation: &Simulation,
    operator: Rc<dyn Operator>,
    keep: Option<(Journal, Past)>,
) -> (Summary, Cluster) {
    let cluster = Cluster::beside(simulation, Options::new(run.parse::<RunId>().unwrap()));
    let runtime = Rc::new(tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap());
    let mut script = LuaHost::new(source.clone(), Some(runtime.clone())).unwrap();
    let runbook = Rc::new(script.load().unwrap());
    let words: Vec<String> = given.split_whitespace().map(str::to_owned).collect();
    let given = Given::words(&words).unwrap();
    let params = params::resolve(&runbook, &given, &mut |pattern, text| script.matches(pattern, text)).unwrap();
    let record = keep.map(|(journal, past)| {
        let epoch = past.attempts + 1;
        let book = Rc::new(Book::new(Box::new(journal), cluster.clock().clone(), past, OnDrift::Stop));
        book.set_epoch(epoch);
        book.note(&Fact::Begun(Begun { pid: 1, host: "here".to_owned(), user: "me".to_owned(), epoch })).unwrap();
        Recording { book, runtime: runtime.clone() }
    });
    let job = Job {
        what: What::Run,
        cluster: cluster.clone(),
        runbook,
        params: Rc::new(params),
        voice: Voice::Person { operator, consented: Vec::new() },
        sink: Rc::<RefCell<Vec<Record>>>::default(),
        record,
    };
    (perform(&mut script, job), cluster)
}

fn sim(fixture: &str) -> Sim {
    Fixture::parse("cluster.yaml", fixture).unwrap().cluster(SimOptions::default()).unwrap()
}

/// The bundled CCE runbook through the port trap, with a journal in memory and without one.
fn runs(missed: &mut Missed) {
    let sim = sim(include_str!("../runbooks/cce-cni-v1-patch/cluster.yaml"));
    let source = Source::bundled("cce-cni-v1-patch").unwrap();
    let given = "image=registry.example/cce-plugin-pro/cce-cni:v1.8.4";
    let (mut with, mut without) = (Vec::new(), Vec::new());
    for _ in 0..30 {
        for (times, kept) in [(&mut without, false), (&mut with, true)] {
            let simulation = Simulation::new(sim.fork());
            let keep = kept.then(|| {
                let disk = Box::new(MemoryDisk::new());
                (Journal::create(disk, None, Timestamp::UNIX_EPOCH, header(RUN)).unwrap(), Past::default())
            });
            let began = Instant::now();
            let (summary, _) = process(RUN, &source, given, &simulation, answers(true), keep);
            times.push(began.elapsed());
            assert_eq!(summary.end, End::Succeeded, "{:?}", summary.error);
        }
    }
    let (without, _) = told("a simulated run without a journal", without);
    let (with, _) = told("a simulated run with one, in memory", with);
    println!("with a journal it takes {:.2} times as long", with.as_secs_f64() / without.as_secs_f64());
    missed.within("a simulated run with a journal", with, without * 2);
}

/// How many objects the long run writes.
const OBJECTS: usize = 1_200;

/// A run that has written many objects parks at a question; it is gone on with.
fn resume(folder: &RunFolder, missed: &mut Missed) {
    let mut fixture = "apiVersion: v1\nkind: Node\nmetadata: { name: n1 }\n".to_owned();
    for number in 0..OBJECTS {
        fixture.push_str(&format!("---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{ name: c{number}, namespace: default }}\n"));
    }
    let text = format!(
        "runbook {{ title = \"t\", summary = \"s\", impact = \"none\" }}\n\
         step \"many\" {{\n  title = \"Many\",\n  each = function()\n    local names = {{}}\n    \
         for number = 0, {} do table.insert(names, \"c\" .. number) end\n    return names\n  end,\n  \
         run = function(name) label(\"configmap/\" .. name, {{ done = \"yes\" }}) end,\n}}\n\
         step \"last\" {{ title = \"Last\", gate = \"Go on?\", run = function() label(\"node/n1\", {{ done = \"yes\" }}) end }}\n",
        OBJECTS - 1
    );
    let source = Source::of_text("many", &text);
    let simulation = Simulation::new(sim(&fixture));
    let redactor = Rc::new(folder.redactor().unwrap());
    let journal = Journal::create(Box::new(folder.disk()), Some(redactor), Timestamp::UNIX_EPOCH, header(folder.id())).unwrap();
    let (summary, _) = process(folder.id(), &source, "", &simulation, answers(false), Some((journal, Past::default())));
    assert_eq!(summary.end, End::Parked, "{:?}", summary.error);

    let began = Instant::now();
    let records = read(&mut folder.disk(), folder.id(), false).unwrap();
    println!("reading {} records: {:?}", records.entries.len(), began.elapsed());
    let io: Box<dyn JournalIo> = Box::new(folder.disk());
    let journal = Journal::go_on(io, Some(Rc::new(folder.redactor().unwrap())), &records).unwrap();
    let past = Past::of(records.entries.iter().cloned());
    let operator = answers(true);
    let (summary, cluster) = process(folder.id(), &source, "", &simulation, operator.clone(), Some((journal, past)));
    let took = operator.asked.get().unwrap() - began;
    assert_eq!(summary.end, End::Succeeded, "{:?}", summary.error);
    assert!(records.entries.len() >= 10_000, "{} records", records.entries.len());
    let requests = cluster.requests().len();
    println!("a resume with {} records and {OBJECTS} objects: {took:?} to the first live call; {requests} requests", records.entries.len());
    missed.within("a resume to its first live call", took, Duration::from_secs(2));
    assert!(requests <= OBJECTS, "more than one read for each object");
}

fn main() {
    let root = folder();
    let kept = Runs::at(&root);
    let mut missed = Missed::default();
    let first = kept.create(RUN).unwrap();
    disk(first.path());
    writes(&first, &mut missed);
    runs(&mut missed);
    resume(&kept.create("01KAM4B7X00000000000000BBB").unwrap(), &mut missed);
    std::fs::remove_dir_all(&root).unwrap();
    missed.end();
}
