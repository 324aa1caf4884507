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
use crate::cluster::RunId;
use crate::lua::STDLIB;
use crate::report::{Screen, escape};
use crate::run::approval::{Answers, Elsewhere};
use crate::run::event::TargetInfo;
use crate::run::journal::book::OnDrift;
use crate::run::journal::entry::{Begun, Consent, Header, VERSION};
use crate::run::journal::folder::{self, Held, Holder};
use crate::run::journal::{Book, Fact, Journal, Past, Pinned, Read, Redactor, RunFolder, Runs};
use crate::run::lock::{self, Errand, Lock};
use crate::run::runbook::{ParamType, shown};
use crate::run::{Operator, Recording, Source};

/// The name of the pinned fixture.
pub(super) const FIXTURE: &str = "fixture.yaml";

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
    /// The fixture of a simulated cluster.
    pub(super) fixture: Option<String>,
}

/// An id for a run that is about to begin: in a simulated cluster ids repeat, and the next free one is taken.
///
/// # Errors
/// When the folder of runs cannot be read.
pub(super) fn name(runs: &Runs, setting: &Setting) -> Result<()> {
    let Some(simulation) = setting.cluster.simulation().filter(|_| setting.cluster.label().simulated) else { return Ok(()) };
    let taken = runs.all()?;
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
    let Beginning { setting, source, args, what, of, consent, errand, on_drift, fixture } = beginning;
    let id = setting.cluster.run().to_string();
    let folder = runs.create(&id)?;
    let made: Result<(Held, Book, lock::Begun)> = (|| {
        let held = folder.hold()?;
        let mut pinned = Pinned::gather(source, &args.runbook.modules, &STDLIB)?;
        if let Some(fixture) = &fixture {
            pinned = pinned.with(FIXTURE, fixture);
        }
        pinned.write(&folder)?;
        let redactor = Rc::new(folder.redactor()?);
        let header = header(setting, source, args, what, of, pinned.hashes(), &redactor)?;
        let journal = Journal::create(Box::new(folder.disk()), Some(redactor.clone()), setting.cluster.clock().now(), header)?;
        let book = Book::new(Box::new(journal), setting.cluster.clock().clone(), Past::default(), drift(on_drift));
        let book = book.with_redactor(redactor);
        book.note(&Fact::Consent(consent))?;
        // Last, so that nothing that fails leaves a lock behind.
        let begun = taken(setting, &args.target, &errand)?;
        Ok((held, book, begun))
    })();
    let (held, book, begun) = match made {
        Ok(made) => made,
        Err(error) => {
            // Nothing has happened in it.
            std::fs::remove_dir_all(folder.path()).map_err(|left| error.clone().cause(format!("its folder stays: {left}")))?;
            return Err(error);
        }
    };
    worked(setting, folder, held, book, begun)
}

/// Goes on with the record of a run.
///
/// # Errors
/// When the journal cannot be written, or the lock is not to be had.
pub(super) fn go_on(setting: &Setting, target: &TargetArgs, folder: RunFolder, held: Held, read: &Read, on_drift: DriftBy) -> Result<Kept> {
    let past = Past::of(read.entries.iter().cloned());
    let begun = taken(setting, target, &Errand::Resume { known_epoch: past.epoch, gone: true })?;
    let redactor = Rc::new(folder.redactor()?);
    learn(setting, &redactor);
    let journal = Journal::go_on(Box::new(folder.disk()), Some(redactor.clone()), read)?;
    let book = Book::new(Box::new(journal), setting.cluster.clock().clone(), past, drift(on_drift)).with_redactor(redactor);
    worked(setting, folder, held, book, begun)
}

/// Takes the lock of the cluster, and looks whether other programs work on it.
fn taken(setting: &Setting, target: &TargetArgs, errand: &Errand) -> Result<lock::Begun> {
    let worker = lock::Worker {
        run: setting.cluster.run().to_string(),
        host: Holder::this().host,
        user: folder::user(),
        runbook: setting.runbook.name.clone(),
        way: super::run::way(target),
    };
    setting.runtime.block_on(lock::begin(&setting.cluster, &worker, errand))
}

fn worked(setting: &Setting, folder: RunFolder, held: Held, book: Book, begun: lock::Begun) -> Result<Kept> {
    let epoch = begun.lock.epoch();
    book.set_epoch(epoch);
    let Holder { pid, host, .. } = Holder::this();
    book.note(&Fact::Begun(Begun { pid, host, user: folder::user(), epoch }))?;
    book.note(&Fact::Lock { what: "taken".to_owned(), epoch })?;
    let recording = Recording { book: Rc::new(book), runtime: setting.runtime.clone() };
    Ok(Kept { folder, recording, warnings: begun.warnings, lock: begun.lock, _held: held })
}

impl Kept {
    /// Who is asked: the person here, or whoever answers from another terminal.
    pub(super) fn operator(&self, prompter: Rc<Prompter>) -> Rc<dyn Operator> {
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
        way: json!({ "runbook": found_by(args), "modules": modules, "target": to_value(&target).map_err(broken)? }),
        cluster: identity(setting)?,
        namespace: cluster.namespace().to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        command: again(args, &setting.runbook),
    })
}

/// The word that finds the runbook again from anywhere.
fn found_by(args: &PlanArgs) -> String {
    let word = &args.runbook.runbook;
    let path = PathBuf::from(word);
    if path.exists() && Source::bundled(word).is_none() { absolute(&path).display().to_string() } else { word.clone() }
}

fn absolute(path: &std::path::Path) -> PathBuf {
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
    marks
}

/// What tells this cluster from every other: the `uid` of its namespace `kube-system`. None where that may not be read.
///
/// # Errors
/// When the cluster does not answer.
pub(super) fn identity(setting: &Setting) -> Result<Option<String>> {
    let aside = setting.cluster.aside();
    let read = setting.runtime.block_on(async {
        let target = aside.target(&ObjectRef::parse("namespace/kube-system")?, None).await?;
        aside.find(&target).await
    });
    match read {
        Ok(found) => Ok(found.and_then(|namespace| namespace.pointer("/metadata/uid")?.as_str().map(str::to_owned))),
        Err(error) if error.reason == crate::base::Reason::Forbidden => Ok(None),
        Err(error) => Err(error.context("finding out which cluster this is")),
    }
}
