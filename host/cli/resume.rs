//! `lockgate resume`: goes on with a run that was stopped, failed or was killed.

use std::cell::RefCell;
use std::path::PathBuf;
use std::rc::Rc;

use super::Done;
use super::args::{PlanArgs, ResumeArgs, TargetArgs};
use super::live::Live;
use super::prompt::Prompter;
use super::setting::Setting;
use super::{find, record, run as running};
use crate::base::json::Value as Json;
use crate::base::{Error, Kind, Reason, Result, Value};
use crate::cluster::RunId;
use crate::cluster::machines::quoted;
use crate::lua::STDLIB;
use crate::report::{Screen, Transcript};
use crate::run::journal::entry::Header;
use crate::run::journal::{self, Fact, Past, Pinned, Read, RunFolder, Runs, pin};
use crate::run::runbook::ParamType;
use crate::run::{self, End, Given, Job, Params, Runbook, Source, Voice, What};

/// A run of the past, found and read.
pub(super) struct Found {
    pub(super) folder: RunFolder,
    pub(super) read: Read,
    pub(super) header: Header,
    pub(super) past: Past,
}

/// Finds and reads a run.
///
/// # Errors
/// When there is no such run, or its journal cannot be read.
pub(super) fn found(runs: &Runs, word: &str, truncated: bool) -> Result<Found> {
    let folder = runs.open(word)?;
    let read = journal::read(&mut folder.disk(), folder.id(), truncated)?;
    let header = read.header().cloned().ok_or_else(|| Error::internal(format!("the journal of run `{}` has no header", folder.id())))?;
    let past = Past::of(read.entries.iter().cloned());
    Ok(Found { folder, read, header, past })
}

/// Does it.
///
/// # Errors
/// What was wrong before anything was contacted. How the run ended is the exit code.
pub(super) fn resume(args: &ResumeArgs, screen: &Rc<Screen>) -> Done {
    let runs = Runs::find(args.state.runs.as_deref())?;
    let held = runs.open(&args.run)?.hold()?;
    let found = found(&runs, &args.run, args.accept_truncated)?;
    let run = found.header.run.clone();
    if let Some(summary) = &found.past.ended
        && matches!(summary.end, End::Succeeded | End::NotNeeded)
    {
        screen.talk(&format!("run `{run}` is over: nothing is left to do, and nothing was written"));
        return Ok(0);
    }
    reachable(&found.header)?;
    if found.header.what == "rollback" {
        return super::rollback::go_on(args, found, held, screen);
    }
    let (source, modules) = chosen(args, &found)?;
    let mut setting = setting(&found, &source, modules.clone(), &args.params)?;
    setting.told.iter().for_each(|line| screen.talk(line));
    same_cluster(&setting, &found.header)?;
    let target = target(&found.header)?;
    let Found { folder, read, past, .. } = found;
    if let Some(grants) = past.grants {
        setting.cluster.set_planned(grants);
    }
    let kept = record::go_on(&setting, &target, folder, held, &read, args.drift)?;
    kept.warn(screen);
    if args.script.as_deref().is_some_and(|script| script != "pinned") {
        let files = Pinned::gather(&source, &modules, &STDLIB)?.hashes();
        kept.recording.book.note(&Fact::Script { source: source.file.clone(), files })?;
    }
    let prompter = Rc::new(Prompter::new(screen.clone(), setting.cancel.clone()));
    let voice = Voice::Person { operator: kept.operator(prompter), consented: past.consented };
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
    running::ended(&setting, kept, &live, &summary, &running::Next::Resume(run), screen)
}

/// Refuses a run whose cluster was a part of its process.
///
/// # Errors
/// Says how to begin anew.
pub(super) fn reachable(header: &Header) -> Result<()> {
    if !header.target.simulated {
        return Ok(());
    }
    let message = format!("run `{}` was made in a simulated cluster, which ended with its process", header.run);
    Err(Error::new(Kind::Refused, Reason::Unsupported, message)
        .hint(format!("begin it again with `{}`; `lockgate sandbox` serves a simulated cluster that outlives a run", header.command)))
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
    let differences = match find::runbook(word).and_then(|source| Pinned::gather(&source, &modules(header), &STDLIB)) {
        Ok(now) => pin::differences(&header.files, &now.hashes()).iter().map(ToString::to_string).collect(),
        Err(error) => vec![error.to_string()],
    };
    if differences.is_empty() {
        return Ok(());
    }
    let message = format!("the source of run `{}` is not what it was when the run began", header.run);
    let error = Error::new(Kind::Refused, Reason::Replaced, message);
    Err(differences.into_iter().fold(error, Error::cause).hint(format!(
        "`lockgate resume {run} --script pinned` goes on with the source that the run began with, `--script {word}` with the one of now",
        run = header.run,
        word = quoted(word)
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
    let header = &found.header;
    let fixture = pin::data(&found.folder, record::FIXTURE)?;
    let redactor = found.folder.redactor()?;
    let secrets = |runbook: &Runbook| -> Result<Params> {
        let given = Given::words(words)?;
        let mut params: Params = header.typed.clone();
        for name in given.names() {
            let is_secret = runbook.params.iter().any(|decl| decl.name == name && decl.ty == ParamType::Secret);
            if !is_secret {
                return Err(Error::usage(format!("parameter `{name}` cannot be given again: the run has it"))
                    .hint("only secret parameters, which no journal keeps, are given to a run that goes on"));
            }
        }
        for decl in runbook.params.iter().filter(|decl| decl.ty == ParamType::Secret) {
            let Some(mark) = header.params.get(&decl.name).and_then(|kept| kept.get("secret")).and_then(Json::as_str) else { continue };
            let Some(text) = given.word(&decl.name) else {
                return Err(Error::usage(format!("the secret parameter `{}` has to be given again: no journal keeps it", decl.name))
                    .hint(format!("`lockgate resume {} {}=…`", header.run, decl.name)));
            };
            if redactor.mark(&text.into()) != mark {
                return Err(Error::usage(format!("the secret parameter `{}` is not the one that the run began with", decl.name)));
            }
            params.insert(decl.name.clone(), Value::from(text.to_owned()));
        }
        Ok(params)
    };
    let setting = Setting::again(source, modules, &target(header)?, fixture.as_deref(), secrets)?;
    let id: RunId = header.run.parse()?;
    setting.cluster.set_run(id);
    Ok(setting)
}

/// Refuses another cluster than the run's.
///
/// # Errors
/// Names both.
pub(super) fn same_cluster(setting: &Setting, header: &Header) -> Result<()> {
    let now = record::identity(setting)?;
    match (&header.cluster, &now) {
        (Some(then), Some(now)) if then != now => {
            let message = format!("`{}` is not the cluster of run `{}`", setting.cluster.label().name, header.run);
            Err(Error::new(Kind::Refused, Reason::Replaced, message)
                .cause(format!("its namespace `kube-system` has the uid {now}, and that of the run's cluster has {then}"))
                .hint("point the context at the cluster that the run began on"))
        }
        _ => Ok(()),
    }
}

/// The plan arguments that a run's journal stands for.
pub(super) fn plan_args(found: &Found, modules: Vec<PathBuf>) -> Result<PlanArgs> {
    let word = found.header.way.get("runbook").and_then(Json::as_str).unwrap_or(&found.header.runbook);
    Ok(PlanArgs {
        runbook: super::args::RunbookArgs { runbook: word.to_owned(), modules },
        params: super::args::ParamArgs { params: Vec::new(), params_file: None },
        target: target(&found.header)?,
        output: super::args::OutputArgs { output: super::args::Format::Text },
    })
}
