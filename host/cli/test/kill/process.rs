//! One process of a run in this one: it begins the run or goes on with it, under the lock of the cluster, and may be killed.

use std::cell::RefCell;
use std::rc::Rc;

use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

use super::disk::{Kill, Pen};
use super::point::At;
use super::world::World;
use crate::base::{Error, Span};
use crate::cluster::{Cluster, Stage};
use crate::run::journal::book::OnDrift;
use crate::run::journal::entry::Begun;
use crate::run::journal::{Book, Fact, Past};
use crate::run::lock::{self, Errand, Worker};
use crate::run::{Job, Params, Record, Recording, Runbook, Script, Summary, Voice, What};

/// Who works on runs here.
const HERE: &str = "here";
/// How long after its beginning a watched run is looked at in its waits for the first time; each look is half as much later than the one before.
const FIRST_LOOK: Span = Span::from_secs(2);
/// How often it is: the last look is a quarter of an hour after the beginning.
const LOOKS: usize = 12;

/// What a process is made of.
pub struct Process<'a> {
    /// Where its asynchronous parts run.
    pub runtime: Rc<Runtime>,
    /// Its way to the cluster of the world.
    pub cluster: Cluster,
    /// The script.
    pub script: &'a mut dyn Script,
    /// What it declares.
    pub runbook: Rc<Runbook>,
    /// The parameters.
    pub params: Rc<Params>,
    /// Who is asked.
    pub voice: Voice,
    /// When it dies.
    pub kill: Kill,
    /// What is done about a cluster that is not as the record says.
    pub on_drift: OnDrift,
    /// Why the first process takes the lock of the cluster, those after it go on; none without a lock.
    pub lock: Option<Errand>,
    /// What it does: `perform`, or a rollback.
    pub work: &'a dyn Fn(&mut dyn Script, Job) -> Summary,
    /// What happens beside it, from its beginning to its end.
    pub beside: &'a dyn Fn() -> Vec<JoinHandle<()>>,
}

/// What came of a process.
pub struct Lived {
    /// None when it was killed, or could not begin.
    pub summary: Option<Summary>,
    /// Why it could not begin, or could not give the lock back.
    pub refused: Option<Error>,
    /// What the transcript was told.
    pub records: Vec<Record>,
    /// Its way to the cluster.
    pub cluster: Cluster,
}

/// One process in a world.
pub fn process(world: &World, process: Process<'_>) -> Lived {
    let Process { runtime, cluster, script, runbook, params, voice, kill, on_drift, lock, work, beside } = process;
    let disk = world.disk.clone();
    disk.death.rise();
    let first = disk.begin();
    let past = Past::of(disk.entries.borrow().iter().cloned());
    let (attempts, known_epoch) = (past.attempts, past.epoch);
    world.arm(&kill, cluster.cancel());
    let pen = Pen {
        disk: disk.clone(),
        kill: RefCell::new(kill.clone()),
        cancel: cluster.cancel().clone(),
        clock: cluster.clock().clone(),
        runtime: runtime.clone(),
        simulation: world.simulation.clone(),
        former: world.former(),
        op: RefCell::default(),
    };
    if let Kill::Later(after) = kill {
        pen.kill_after(after);
    }
    let looks = looks(&runtime, &cluster, world);
    let book = Rc::new(Book::new(Box::new(pen), cluster.clock().clone(), past, on_drift));
    let records: Rc<RefCell<Vec<Record>>> = Rc::default();
    let lived = |summary, refused: Option<Error>| Lived { summary, refused, records: records.take(), cluster: cluster.clone() };
    let stop = |looks: Vec<JoinHandle<()>>| looks.iter().for_each(JoinHandle::abort);

    let errand = lock.map(|begin| if first { begin } else { Errand::Resume { known_epoch, gone: true } });
    let mut taken = None;
    if let Some(errand) = errand {
        let worker = worker(&cluster, &runbook);
        match whole(&runtime, &cluster, lock::begin(&cluster, &worker, &errand)) {
            Some(Ok(begun)) => taken = Some(begun),
            Some(Err(error)) => {
                stop(looks);
                let error = (!disk.is_killed()).then_some(error);
                return lived(None, error);
            }
            None => return lived(None, None),
        }
    }
    let epoch = taken.as_ref().map_or(attempts + 1, |begun| begun.lock.epoch());
    book.set_epoch(epoch);
    let mut first_lines = vec![Fact::Begun(Begun { pid: 1, host: HERE.to_owned(), user: "me".to_owned(), epoch })];
    if taken.is_some() {
        first_lines.push(Fact::Lock { what: "taken".to_owned(), epoch });
    }
    if first_lines.iter().any(|fact| book.note(fact).is_err()) {
        stop(looks);
        return lived(None, None);
    }
    let tasks = beside();
    let recording = Recording { book: book.clone(), runtime: runtime.clone() };
    let job = Job { what: What::Run, cluster: cluster.clone(), runbook, params, voice, sink: records.clone(), record: Some(recording) };
    let summary = work(script, job);
    stop(tasks);
    stop(looks);
    if disk.is_killed() {
        return lived(None, None);
    }
    let ended = taken.and_then(|begun| whole(&runtime, &cluster, begun.end(&summary)));
    let (what, refused) = match ended {
        Some(Ok(true)) => (Some("given back"), None),
        Some(Ok(false)) => (Some("kept for who resumes the run"), None),
        Some(Err(error)) => (None, Some(error)),
        None => (None, None),
    };
    if let Some(what) = what {
        // A journal that takes nothing more is that of a killed process.
        book.note(&Fact::Lock { what: what.to_owned(), epoch }).ok();
    }
    if disk.is_killed() { lived(None, None) } else { lived(Some(summary), refused) }
}

fn worker(cluster: &Cluster, runbook: &Runbook) -> Worker {
    Worker {
        run: cluster.run().to_string(),
        host: HERE.to_owned(),
        user: "me".to_owned(),
        runbook: runbook.name.clone(),
        way: String::new(),
    }
}

/// Waits for it, unless the process dies over it.
fn whole<T>(runtime: &Runtime, cluster: &Cluster, work: impl Future<Output = T>) -> Option<T> {
    runtime.block_on(async {
        tokio::select! {
            biased;
            done = work => Some(done),
            () = cluster.cancel().reached(Stage::Stopping) => None,
        }
    })
}

/// Looks at a watched run while it waits: a participant of its time.
fn looks(runtime: &Runtime, cluster: &Cluster, world: &World) -> Vec<JoinHandle<()>> {
    let Some(watch) = world.disk.watch.borrow().clone() else { return Vec::new() };
    let (clock, simulation) = (cluster.clock().join(), world.simulation.clone());
    vec![runtime.spawn(async move {
        let mut pause = FIRST_LOOK;
        for _ in 0..LOOKS {
            if clock.sleep(pause).await.is_err() {
                return;
            }
            watch.look(&simulation, At::Waiting);
            pause = Span::from_millis(pause.as_millis() * 3 / 2);
        }
    })]
}
