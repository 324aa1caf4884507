//! The record of a run: its folder, what is pinned there, its journal, the lock of the cluster. What `run`, `resume` and `rollback` have
//! in common.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::rc::Rc;

use super::args::{DriftBy, PlanArgs, TargetArgs};
use super::prompt::Prompter;
use super::setting::{Setting, again};
use crate::base::json::{Value as Json, json, to_value};
use crate::base::{Error, ObjectRef, Result, Value};
use crate::cluster::machines::quoted;
use crate::cluster::{Cluster, IN_CLUSTER, Lease, LiveOptions, RunId, orphan};
use crate::lua::STDLIB;
use crate::report::{Screen, escape};
use crate::run::approval::{Answers, Elsewhere};
use crate::run::event::TargetInfo;
use crate::run::journal::book::OnDrift;
use crate::run::journal::entry::{Begun, Consent, Header, VERSION};
use crate::run::journal::folder::{self, CHARTS, CHILDREN, Held, Holder};
use crate::run::journal::taken;
use crate::run::journal::{Book, Fact, Journal, Past, Pinned, Read, Redactor, RunFolder, Runs};
use crate::run::lock::{self, Errand, Lock};
use crate::run::runbook::{ParamType, shown};
use crate::run::{Operator, Recording, Source, typed};

/// The name of the pinned fixture.
pub(super) const FIXTURE: &str = "fixture.yaml";
/// The name of the pinned plan file.
pub(super) const PLAN: &str = "plan.json";
/// The name of the pinned parameter file.
pub(super) const PARAMS: &str = "params.yaml";

/// The record of a run that this process works on.
pub(super) struct Kept {
    pub(super) folder: RunFolder,
    pub(super) recording: Recording,
    pub(super) warnings: Vec<String>,
    lock: Lock,
    /// Nobody else works on it for as long as this lives.
    _held: Held,
}

/// What is recorded of a run that begins.
pub(super) struct Beginning<'a> {
    pub(super) screen: &'a Screen,
    pub(super) setting: &'a Setting,
    /// Its source as it was loaded, and the word that it was found by.
    pub(super) source: &'a Source,
    pub(super) args: &'a PlanArgs,
    /// `run`, `rollback`.
    pub(super) what: &'a str,
    /// The run that it takes back.
    pub(super) of: Option<String>,
    pub(super) consent: Consent,
    pub(super) errand: Errand,
    pub(super) on_drift: DriftBy,
    /// What makes a simulated cluster, by the names under which it is pinned.
    pub(super) world: Vec<(&'static str, String)>,
    /// What it takes back.
    pub(super) takes_back: Option<TakesBack<'a>>,
}

/// The run that a rollback takes back.
#[derive(Clone, Copy)]
pub(super) struct TakesBack<'a> {
    pub(super) folder: &'a RunFolder,
    pub(super) read: &'a Read,
    /// The step that is left as it is.
    pub(super) to: Option<&'a str>,
    /// The run in whose simulated cluster it goes on: that one, or a rollback of a part of it.
    pub(super) left: &'a RunFolder,
}

/// An id for a run that is about to begin: in a simulated cluster ids repeat, and the next free one is taken.
///
/// # Errors
/// When the folder of runs cannot be read.
pub(super) fn name(runs: &Runs, setting: &Setting) -> Result<()> {
    let Some(simulation) = setting.cluster.simulation().filter(|_| setting.cluster.label().simulated) else { return Ok(()) };
    let taken = runs.every()?;
    let now = simulation.now();
    let free = (1_u64..).map(|seed| RunId::simulated(now, seed)).find(|id| !taken.contains(&id.to_string()));
    if let Some(free) = free {
        setting.cluster.set_run(free);
    }
    Ok(())
}

/// Makes the folder of a run, takes the lock, and writes the first lines of the journal.
///
/// # Errors
/// When the folder cannot be made or written, or the lock is not to be had: nothing was written to the cluster then but the lock.
pub(super) fn begin(runs: &Runs, beginning: Beginning<'_>) -> Result<Kept> {
    let Beginning { screen, setting, source, args, what, of, consent, errand, on_drift, world, takes_back } = beginning;
    let id = setting.cluster.run().to_string();
    let folder = runs.begin(&id)?;
    let made: Result<(Held, Book, lock::Begun)> = (|| {
        let held = folder.hold()?;
        if let Some(taken) = &takes_back {
            end_children(taken.folder, screen)?;
        }
        let mut pinned = Pinned::gather(source, &args.runbook.modules, &STDLIB)?;
        for (name, text) in &world {
            pinned = pinned.with(name, text);
        }
        pinned.write(&folder)?;
        if let Some(requests) = &setting.requests {
            requests.settle(&folder, takes_back.map(|taken| taken.left))?;
        }
        let redactor = Rc::new(folder.redactor()?);
        let mut header = header(setting, source, args, what, of, pinned.hashes(), &redactor)?;
        header.command = typed(header.command, header.of.as_deref(), consent.plan.is_none());
        let journal = Journal::create(Box::new(folder.disk()), Some(redactor.clone()), setting.cluster.clock().now(), header)?;
        let book = Book::new(Box::new(journal), setting.cluster.clock().clone(), Past::default(), drift(on_drift));
        let book = book.with_redactor(redactor);
        book.note(&Fact::Consent(consent))?;
        folder.born()?;
        // Last, so that nothing that fails leaves a lock behind.
        let begun = locked(setting, &args.target, &errand, screen)?;
        let noted = |()| match takes_back {
            Some(TakesBack { folder: of, read, to, .. }) => taken::note(of, read, setting.cluster.clock().now(), &id, to),
            None => Ok(()),
        };
        match first_lines(&book, begun.lock.epoch()).and_then(noted) {
            Ok(()) => Ok((held, book, begun)),
            Err(error) => Err(given_back(setting, begun.lock, error)),
        }
    })();
    let (held, book, begun) = match made {
        Ok(made) => made,
        Err(error) => {
            // Nothing has happened in it.
            std::fs::remove_dir_all(folder.path()).map_err(|left| error.clone().cause(format!("its folder stays: {left}")))?;
            return Err(error);
        }
    };
    Ok(worked(setting, folder, held, book, begun))
}

/// Goes on with the record of a run.
///
/// # Errors
/// When the journal cannot be written, or the lock is not to be had.
pub(super) fn go_on(
    setting: &Setting,
    target: &TargetArgs,
    folder: RunFolder,
    held: Held,
    read: &Read,
    on_drift: DriftBy,
    screen: &Screen,
) -> Result<Kept> {
    let past = Past::of(read.entries.iter().cloned());
    end_children(&folder, screen)?;
    if let Some(requests) = &setting.requests {
        requests.settle(&folder, None)?;
    }
    let errand = Errand::Resume { known_epoch: past.epoch, gone: taken::is_left(read) };
    let begun = locked(setting, target, &errand, screen)?;
    let redactor = Rc::new(folder.redactor()?);
    learn(setting, &redactor);
    let journal = Journal::go_on(Box::new(folder.disk()), Some(redactor.clone()), read)?;
    let book = Book::new(Box::new(journal), setting.cluster.clock().clone(), past, drift(on_drift)).with_redactor(redactor);
    // When they cannot be written, the lock stays the run's: it is no further than before.
    first_lines(&book, begun.lock.epoch())?;
    Ok(worked(setting, folder, held, book, begun))
}

/// Ends the programs that the last process of a run has left behind: nobody works on it but this process, which holds its folder.
fn end_children(folder: &RunFolder, screen: &Screen) -> Result<()> {
    for ended in orphan::end_all(&folder.path().join(CHILDREN))? {
        screen.talk(&format!("ended {}, which was left behind when the run was interrupted", escape::line(&ended)));
    }
    Ok(())
}

fn worker(setting: &Setting, target: &TargetArgs) -> lock::Worker {
    lock::Worker {
        run: setting.cluster.run().to_string(),
        host: Holder::this().host,
        user: folder::user(),
        runbook: setting.runbook.name.clone(),
        way: super::run::way(target),
    }
}

/// The lock as it is; none in a simulated cluster, where nobody else works and time is free, and none where it cannot be read: whoever
/// takes it is told why.
fn standing(setting: &Setting) -> Option<Lease> {
    let cluster = &setting.cluster;
    if cluster.label().simulated { None } else { setting.runtime.block_on(cluster.lease()).ok().flatten() }
}

/// Looks whether a run could begin now, before its plan is made: the plan of one that cannot is of no use, and what another run has left
/// half-done would be told as a fault of the cluster.
///
/// # Errors
/// Refused (exit 5), as by the lock itself.
pub(super) fn may_begin(setting: &Setting, target: &TargetArgs) -> Result<()> {
    let cluster = &setting.cluster;
    let told = |lease: Lease| lock::in_the_way(&cluster.label().name, &lease, &worker(setting, target), cluster.clock().now());
    standing(setting).and_then(told).map_or(Ok(()), Err)
}

/// Takes the lock of the cluster, and looks whether other programs work on it.
fn locked(setting: &Setting, target: &TargetArgs, errand: &Errand, screen: &Screen) -> Result<lock::Begun> {
    let worker = worker(setting, target);
    let cluster = &setting.cluster;
    if let Some(lease) = standing(setting)
        && let Some(waits) = lock::waits(&cluster.label().name, &lease, &worker, errand, cluster.clock().now())
    {
        screen.talk(&escape::line(&waits));
    }
    setting.runtime.block_on(lock::begin(cluster, &worker, errand))
}

fn worked(setting: &Setting, folder: RunFolder, held: Held, book: Book, begun: lock::Begun) -> Kept {
    // A child that is given one stands in a folder of its own.
    setting.cluster.keep_in(absolute(&folder.path().join(CHARTS)), absolute(&folder.path().join(CHILDREN)));
    let recording = Recording { book: Rc::new(book), runtime: setting.runtime.clone() };
    Kept { folder, recording, warnings: begun.warnings, lock: begun.lock, _held: held }
}

/// The error of a journal that takes nothing, after the lock was given back: nothing of the run has happened.
fn given_back(setting: &Setting, lock: crate::cluster::Lock, error: Error) -> Error {
    let run = setting.cluster.run();
    match setting.runtime.block_on(lock.release(None)) {
        Ok(()) => error,
        Err(kept) => error
            .cause(format!("and the lock of the cluster could not be given back: {kept}"))
            .hint(format!("`lockgate unlock {run}` frees it")),
    }
}

/// The first lines of a process that works on a run, which has the lock now.
fn first_lines(book: &Book, epoch: u64) -> Result<()> {
    book.set_epoch(epoch);
    let Holder { pid, host, .. } = Holder::this();
    book.note(&Fact::Begun(Begun { pid, host, user: folder::user(), epoch }))?;
    book.note(&Fact::Lock { what: "taken".to_owned(), epoch })
}

impl Kept {
    /// Who is asked: the person here, or whoever answers from another terminal. `again`: whether its steps can be run again.
    pub(super) fn operator(&self, prompter: Rc<Prompter>, again: bool) -> Rc<dyn Operator> {
        self.recording.book.ask(prompter.clone(), again);
        Rc::new(Elsewhere::new(prompter, Answers::of(self.folder.id(), self.folder.path())))
    }

    /// Ends the work of this process; gives the lock back when the run is over.
    pub(super) fn end(self, setting: &Setting, summary: &crate::run::Summary, screen: &Screen) {
        let Kept { recording, lock, .. } = self;
        let epoch = lock.epoch();
        for what in super::interrupt::came() {
            // A journal that takes nothing more has said so where it mattered.
            recording.book.note(&Fact::Signal { what: what.to_owned() }).ok();
        }
        let ended = setting.runtime.block_on(lock::Begun { lock, warnings: Vec::new() }.end(summary));
        let run = setting.cluster.run();
        let noted = match ended {
            Ok(true) => recording.book.note(&Fact::Lock { what: "given back".to_owned(), epoch }),
            Ok(false) => recording.book.note(&Fact::Lock { what: "kept for who resumes the run".to_owned(), epoch }),
            Err(error) => {
                screen.error(
                    &error.context("the lock of the cluster could not be given back").hint(format!("`lockgate unlock {run}` frees it")),
                );
                Ok(())
            }
        };
        if let Err(error) = noted {
            screen.error(&error.context("the end of the run was not kept"));
        }
    }

    /// Says what came up when it began.
    pub(super) fn warn(&self, screen: &Screen) {
        self.warnings.iter().for_each(|warning| screen.talk(&format!("warning: {}", escape::line(warning))));
    }
}

pub(super) fn drift(by: DriftBy) -> OnDrift {
    match by {
        DriftBy::Ask => OnDrift::Ask,
        DriftBy::Stop => OnDrift::Stop,
        DriftBy::Accept => OnDrift::Accept,
        DriftBy::Again => OnDrift::Again,
    }
}

fn header(
    setting: &Setting,
    source: &Source,
    args: &PlanArgs,
    what: &str,
    of: Option<String>,
    files: BTreeMap<String, String>,
    redactor: &Redactor,
) -> Result<Header> {
    let cluster = &setting.cluster;
    let label = cluster.label();
    let marks = learn(setting, redactor);
    let mut params = shown(&setting.runbook, &setting.params);
    params.extend(marks.iter().map(|(name, mark)| (name.clone(), json!({ "secret": mark }))));
    let typed = setting.params.iter().filter(|(name, _)| !marks.contains_key(*name));
    let broken = |error: serde_json::Error| Error::internal("keeping the options of the target").cause(error.to_string());
    let modules: Vec<Json> = args.runbook.modules.iter().map(|folder| absolute(folder).display().to_string().into()).collect();
    let mut target = args.target.clone();
    if !label.simulated {
        // What the environment and the kubeconfig say today may be something else tomorrow.
        let live = LiveOptions { kubeconfig: target.kubeconfig.clone(), context: None };
        target.kubeconfig = match live.files().as_slice() {
            [only] if only.exists() => Some(only.clone()),
            _ => target.kubeconfig,
        };
        if label.name != IN_CLUSTER {
            target.context = Some(label.name.clone());
        }
    }
    target.kubeconfig = target.kubeconfig.as_deref().map(absolute);
    target.inventory = target.inventory.as_deref().map(absolute);
    Ok(Header {
        v: VERSION,
        run: cluster.run().to_string(),
        what: what.to_owned(),
        of,
        runbook: setting.runbook.name.clone(),
        title: setting.runbook.header.title.clone(),
        source: source.file.clone(),
        files,
        params,
        typed: typed.map(|(name, value)| (name.clone(), value.clone())).collect(),
        target: TargetInfo { name: label.name, simulated: label.simulated },
        way: json!({ "runbook": found_by(&args.runbook.runbook), "modules": modules, "target": to_value(&target).map_err(broken)?, "server": cluster.server() }),
        cluster: identity(&setting.runtime, cluster)?,
        namespace: cluster.namespace().to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        command: match what {
            // Nobody starts again what was typed.
            typed::PROMPT => again(args, &setting.runbook).replacen(" run prompt", " repl", 1),
            _ => again(args, &setting.runbook),
        },
    })
}

/// The command as it was typed: of a rollback, and of a run `without` a plan, more than what begins the runbook.
fn typed(begins: String, of: Option<&str>, without: bool) -> String {
    match of.map(|of| of.split_once(" to ").map_or((of, None), |(run, step)| (run, Some(step)))) {
        Some((run, None)) => format!("lockgate rollback {run}"),
        Some((run, Some(step))) => format!("lockgate rollback {run} --to {}", quoted(step)),
        None if without => format!("{begins} --no-plan"),
        None => begins,
    }
}

/// The word that finds the runbook again from anywhere.
pub(super) fn found_by(word: &str) -> String {
    let path = PathBuf::from(word);
    if path.exists() && Source::bundled(word).is_none() { absolute(&path).display().to_string() } else { word.to_owned() }
}

pub(super) fn absolute(path: &std::path::Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf())
}

/// Teaches the redactor the secret parameters; gives the HMAC of each.
fn learn(setting: &Setting, redactor: &Redactor) -> BTreeMap<String, String> {
    let secrets = setting.runbook.params.iter().filter(|decl| decl.ty == ParamType::Secret);
    let mut marks = BTreeMap::new();
    for decl in secrets {
        if let Some(text) = setting.params.get(&decl.name).and_then(Value::as_text) {
            redactor.learn(&text);
            marks.insert(decl.name.clone(), redactor.mark(&text.into()));
        }
    }
    learn_more(setting, redactor, &mut marks);
    marks
}

/// The same of what holds a secret without being one: a manifest with a Secret in it, a text with a secret parameter in it. A journal would
/// keep `(secret)` in its place, and who went on would write that.
fn learn_more(setting: &Setting, redactor: &Redactor, marks: &mut BTreeMap<String, String>) {
    for (name, value) in setting.params.iter().filter(|(_, value)| !matches!(value, Value::Nil)) {
        let json = value.clone().into_json();
        if !marks.contains_key(name) && redactor.json(&mut json.clone()) {
            marks.insert(name.clone(), redactor.mark(&json));
        }
    }
}

/// What tells this cluster from every other: the `uid` of its namespace `kube-system`. None where that may not be read.
///
/// # Errors
/// When the cluster does not answer.
pub(super) fn identity(runtime: &tokio::runtime::Runtime, cluster: &Cluster) -> Result<Option<String>> {
    let aside = cluster.aside();
    let read = runtime.block_on(async {
        let target = aside.target(&ObjectRef::parse("namespace/kube-system")?, None).await?;
        aside.find(&target).await
    });
    match read {
        Ok(found) => Ok(found.and_then(|namespace| namespace.pointer("/metadata/uid")?.as_str().map(str::to_owned))),
        Err(error) if error.reason == crate::base::Reason::Forbidden => Ok(None),
        Err(error) => Err(error.context("finding out which cluster this is")),
    }
}
