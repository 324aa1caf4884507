//! `lockgate resume`: goes on with a run that was stopped, failed or was killed.

use std::cell::RefCell;
use std::path::PathBuf;
use std::rc::Rc;

use super::Done;
use super::args::{BudgetArgs, PlanArgs, ResumeArgs, TargetArgs, WhereArgs};
use super::live::Live;
use super::prompt::Prompter;
use super::setting::Setting;
use super::world::World;
use super::{consent, find, record, run as running, told};
use crate::base::json::Value as Json;
use crate::base::{Error, Kind, Reason, Result};
use crate::cluster::machines::quoted;
use crate::cluster::{Cluster, RunId};
use crate::lua::STDLIB;
use crate::report::{Screen, Transcript};
use crate::run::journal::entry::Header;
use crate::run::journal::{self, Fact, Past, Pinned, Read, RunFolder, Runs, TakenBack, pin};
use crate::run::runbook::ParamType;
use crate::run::{self, End, Given, Job, Params, Runbook, Source, Voice, What, params, typed};

/// A run of the past, found and read.
pub(super) struct Found {
    pub(super) folder: RunFolder,
    pub(super) read: Read,
    pub(super) header: Header,
    pub(super) past: Past,
}

/// Reads the run in this folder.
///
/// # Errors
/// When its journal cannot be read, or was not written with the key of its folder of runs; with `truncated` the person has said to go on from
/// what there is.
pub(super) fn found(folder: RunFolder, truncated: bool) -> Result<Found> {
    let read = journal::read(&mut folder.disk(), folder.id(), truncated)?;
    if !truncated {
        folder.is_own(&read)?;
    }
    let mut header =
        read.header().cloned().ok_or_else(|| Error::internal(format!("the journal of run `{}` has no header", folder.id())))?;
    let past = Past::of(read.entries.iter().cloned());
    if let Some(script) = &past.script {
        // What it went on with is its source from then on.
        (header.source, header.files) = (script.source.clone(), script.files.clone());
        if let (Some(word), Some(way)) = (&script.word, header.way.as_object_mut()) {
            way.insert("runbook", word.as_str().into());
        }
    }
    Ok(Found { folder, read, header, past })
}

impl Found {
    /// The same run, whose cluster is found this way now: that it is the same cluster is checked as ever.
    pub(super) fn found_at(mut self, place: &WhereArgs) -> Found {
        let Some(target) = self.header.way.get_mut("target").and_then(Json::as_object_mut) else { return self };
        if let Some(context) = &place.context {
            target.insert("context", context.as_str().into());
        }
        if let Some(kubeconfig) = &place.kubeconfig {
            target.insert("kubeconfig", record::absolute(kubeconfig).display().to_string().into());
            if place.context.is_none() {
                target.insert("context", Json::Null);
            }
        }
        self
    }
}

/// Does it.
///
/// # Errors
/// What was wrong before anything was contacted. How the run ended is the exit code.
pub(super) fn resume(args: &ResumeArgs, screen: &Rc<Screen>) -> Done {
    let runs = Runs::find(args.state.runs.as_deref())?;
    let folder = runs.open(&args.run)?;
    let held = folder.hold()?;
    let found = found(folder, args.accept_truncated)?.found_at(&args.target);
    let run = found.header.run.clone();
    if let Some(taken) = TakenBack::of(&runs, &found.read) {
        return Err(taken.refuses(&run));
    }
    if let Some(summary) = &found.past.ended
        && matches!(summary.end, End::Succeeded | End::NotNeeded)
        && !has_lock(&found.read)
    {
        screen.talk(&format!("run `{run}` is over: nothing is left to do, and nothing was written"));
        return Ok(0);
    }
    if found.header.what == typed::PROMPT {
        return Err(Error::new(Kind::Refused, Reason::Unsupported, format!("run `{run}` was typed at the prompt: nobody types it again"))
            .hint(format!(
                "`lockgate rollback {run}` takes back what was written; `lockgate unlock {run}` frees the lock, where it is still its"
            )));
    }
    if found.header.what == "rollback" {
        return super::rollback::go_on(args, found, held, screen);
    }
    let (source, modules) = chosen(args, &found)?;
    let mut setting = setting(&found, &source, modules.clone(), &args.params)?;
    if args.script.as_deref().is_some_and(|script| script != "pinned") {
        run::prefix::begins_as(&setting.runbook, &found.past, &run)?;
    }
    setting.told.iter().for_each(|line| screen.talk(line));
    same_cluster(&setting, &found.header)?;
    told::checked(&setting, &found, args.accept_truncated)?;
    let target = target(&found.header)?;
    let prompter = Rc::new(Prompter::new(screen.clone(), setting.cancel.clone()));
    let consent = consent::missing(&setting, &found, &prompter)?;
    let Found { folder, read, past, .. } = found;
    match past.grants {
        Some(grants) => setting.cluster.set_planned(grants),
        // It began without a plan, and goes on with no more than it had.
        None => run::permissions::unplanned(&setting.cluster, &setting.runbook),
    }
    let kept = record::go_on(&setting, &target, folder, held, &read, args.drift, screen)?;
    kept.warn(screen);
    if args.script.as_deref().is_some_and(|script| script != "pinned") {
        let number = past.script.as_ref().map_or(1, |script| script.number) + 1;
        let files = Pinned::gather(&source, &modules, &STDLIB)?.write_as(&kept.folder, number)?;
        let word = args.script.as_deref().map(record::found_by);
        kept.recording.book.note(&Fact::Script { source: source.file.clone(), word, files })?;
    }
    if let Some(consent) = consent {
        kept.recording.book.note(&Fact::Consent(consent))?;
    }
    let voice = Voice::Person { operator: kept.operator(prompter, true), consented: past.consented };
    let live = Rc::new(RefCell::new(Live::new(screen.clone(), args.output.output, What::Run, Transcript::new(screen.paint))));
    let job = Job {
        what: What::Run,
        cluster: setting.cluster.clone(),
        runbook: setting.runbook.clone(),
        params: setting.params.clone(),
        voice,
        sink: live.clone(),
        record: Some(kept.recording.clone()),
    };
    let summary = run::perform(setting.script.as_mut(), job);
    running::ended(&setting, kept, &live, &summary, &run, screen)
}

/// Whether its last process was killed between its end and giving back the lock: to go on is to give it back then.
fn has_lock(read: &Read) -> bool {
    let last = read.entries.iter().rev().find_map(|entry| match &entry.fact {
        Fact::Lock { what, .. } => Some(what),
        _ => None,
    });
    last.is_some_and(|what| what == "taken")
}

/// The source to go on with.
fn chosen(args: &ResumeArgs, found: &Found) -> Result<(Source, Vec<PathBuf>)> {
    match args.script.as_deref() {
        Some("pinned") => pin::pinned(&found.folder, &found.header),
        Some(path) => Ok((find::runbook(path)?, modules(&found.header))),
        None => {
            unchanged(&found.header)?;
            pin::pinned(&found.folder, &found.header)
        }
    }
}

fn modules(header: &Header) -> Vec<PathBuf> {
    let folders = header.way.get("modules").and_then(Json::as_array);
    folders.into_iter().flatten().filter_map(Json::as_str).map(PathBuf::from).collect()
}

/// Refuses a source that is not the pinned one: nobody knows then which of the two is meant.
fn unchanged(header: &Header) -> Result<()> {
    let word = header.way.get("runbook").and_then(Json::as_str).unwrap_or(&header.runbook);
    let now = find::runbook(word).and_then(|source| Pinned::gather(&source, &modules(header), &STDLIB));
    // What is not there any more cannot be gone on with.
    let other =
        if now.is_ok() { format!("`--script {}` with the one of now", quoted(word)) } else { "`--script PATH` with another".to_owned() };
    let differences = match now {
        Ok(now) => pin::differences(&header.files, &now.hashes()).iter().map(ToString::to_string).collect(),
        Err(error) => vec![error.to_string()],
    };
    if differences.is_empty() {
        return Ok(());
    }
    let message = format!("the source of run `{}` is not what it was when the run began", header.run);
    let error = Error::new(Kind::Refused, Reason::Replaced, message);
    Err(differences.into_iter().fold(error, Error::cause).hint(format!(
        "`lockgate resume {run} --script pinned` goes on with the source that the run began with, {other}",
        run = header.run
    )))
}

/// The options of the target as they were given.
pub(super) fn target(header: &Header) -> Result<TargetArgs> {
    let broken = |error: serde_json::Error| {
        Error::internal("the journal says how the cluster is found in a way that is not known").cause(error.to_string())
    };
    crate::base::json::from_value(header.way.get("target").cloned().unwrap_or_default()).map_err(broken)
}

/// The runbook, its parameters and its cluster, as the journal has them.
///
/// # Errors
/// What is wrong, before anything is contacted.
pub(super) fn setting(found: &Found, source: &Source, modules: Vec<PathBuf>, words: &[String]) -> Result<Setting> {
    setting_in(found, found, source, modules, words)
}

/// The same where a simulated cluster is as another run has left it.
///
/// # Errors
/// As [`setting`].
pub(super) fn setting_in(found: &Found, left: &Found, source: &Source, modules: Vec<PathBuf>, words: &[String]) -> Result<Setting> {
    let header = &found.header;
    let redactor = found.folder.redactor()?;
    let secrets = |runbook: &Runbook| -> Result<Params> {
        let given = Given::words(words)?;
        let mut params: Params = header.typed.clone();
        let kept = |name: &str| header.params.get(name).filter(|_| !header.typed.contains_key(name));
        let mark = |name: &str| kept(name).and_then(|kept| kept.get("secret")).and_then(Json::as_str);
        for name in given.names() {
            if mark(name).is_none() {
                return Err(Error::usage(format!("parameter `{name}` cannot be given again: the run has it"))
                    .hint("only secret parameters, which no journal keeps, are given to a run that goes on"));
            }
        }
        for decl in &runbook.params {
            let Some(mark) = mark(&decl.name) else { continue };
            let what = if decl.ty == ParamType::Secret { "secret parameter" } else { "parameter" };
            let Some(value) = params::again(decl, &given)? else {
                let why = if decl.ty == ParamType::Secret { "no journal keeps it" } else { "it holds a secret, which no journal keeps" };
                let form = if decl.ty == ParamType::Map { "'{…}'`, the table as JSON" } else { "…`" };
                return Err(Error::usage(format!("the {what} `{}` has to be given again: {why}", decl.name))
                    .hint(format!("`lockgate resume {} {}={form}", header.run, decl.name)));
            };
            if redactor.mark(&value.clone().into_json()) != mark {
                return Err(Error::usage(format!("the {what} `{}` is not the one that the run began with", decl.name)));
            }
            params.insert(decl.name.clone(), value);
        }
        Ok(params)
    };
    let setting = Setting::again(source, modules, &target(header)?, World::of(left)?, secrets)?;
    let id: RunId = header.run.parse()?;
    setting.cluster.set_run(id);
    Ok(setting)
}

/// Refuses another cluster than the run's.
///
/// # Errors
/// Names both.
pub(super) fn same_cluster(setting: &Setting, header: &Header) -> Result<()> {
    is_cluster_of(&setting.runtime, &setting.cluster, header)
}

/// The same for a cluster that nothing is run on.
///
/// # Errors
/// As [`same_cluster`].
pub(super) fn is_cluster_of(runtime: &tokio::runtime::Runtime, cluster: &Cluster, header: &Header) -> Result<()> {
    let now = record::identity(runtime, cluster)?;
    let here = cluster.label().name;
    let (then_at, now_at) = (header.way.get("server").and_then(Json::as_str), cluster.server());
    let other = |message: String, why: String| {
        Error::new(Kind::Refused, Reason::Replaced, message).cause(why).hint(format!(
            "the run began on context `{}`; `--context` and `--kubeconfig` say where that cluster is found now",
            header.target.name
        ))
    };
    let not_it = || format!("`{here}` is not the cluster of run `{}`", header.run);
    match (&header.cluster, &now, then_at, &now_at) {
        (Some(then), Some(now), ..) if then != now => {
            Err(other(not_it(), format!("its namespace `kube-system` has the uid {now}, and that of the run's cluster has {then}")))
        }
        (Some(_), Some(_), ..) => Ok(()),
        (Some(then), None, ..) => Err(other(
            format!("nobody can tell whether `{here}` is the cluster of run `{}`", header.run),
            format!("its namespace `kube-system` may not be read (`get namespaces`), and that of the run's cluster has the uid {then}"),
        )),
        (None, _, Some(then), Some(now)) if then != now => {
            Err(other(not_it(), format!("it is at {now}, and the run's cluster was at {then}")))
        }
        (None, ..) => Ok(()),
    }
}

/// The plan arguments that a run's journal stands for.
pub(super) fn plan_args(found: &Found, modules: Vec<PathBuf>) -> Result<PlanArgs> {
    let word = found.header.way.get("runbook").and_then(Json::as_str).unwrap_or(&found.header.runbook);
    Ok(PlanArgs {
        runbook: super::args::RunbookArgs { runbook: word.to_owned(), modules },
        params: super::args::ParamArgs { params: Vec::new(), params_file: None },
        target: target(&found.header)?,
        local: false,
        budget: BudgetArgs::default(),
    })
}
