//! `lockgate rollback`: takes a run back by what its journal recorded, the newest step first. Plan and question first, as `run`.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use super::args::{DriftBy, Format, ResumeArgs, RollbackArgs};
use super::live::Live;
use super::prompt::Prompter;
use super::record::{self, Beginning, Kept};
use super::resume::{self, Found};
use super::setting::Setting;
use super::{Done, run as running};
use crate::base::diff::changes;
use crate::base::json::Value as Json;
use crate::base::{Error, Kind, Reason, Result};
use crate::cluster::RunId;
use crate::cluster::keep::{Open, Prior};
use crate::primitives::{Inverse, Wrote};
use crate::report::{Screen, Transcript, escape};
use crate::run::journal::entry::Consent;
use crate::run::journal::{Held, Past, Runs, pin};
use crate::run::lock::Errand;
use crate::run::rollback::{Undoing, rollback as take_back};
use crate::run::undo::{self, How};
use crate::run::{Confirmation, End, Job, Summary, Voice, What};

/// Does it.
///
/// # Errors
/// What was wrong before anything was contacted, that there is no consent, or that the run cannot be taken back. How the rollback ended is the
/// exit code.
pub(super) fn rollback(args: &RollbackArgs, screen: &Rc<Screen>) -> Done {
    if args.drift == DriftBy::Again {
        return Err(
            Error::usage("a rollback writes nothing again that the run had written").hint("`--drift accept` goes on from what there is")
        );
    }
    let runs = Runs::find(args.state.runs.as_deref())?;
    // Nobody may work on the run that is taken back.
    let _held = runs.open(&args.run)?.hold()?;
    let found = resume::found(&runs, &args.run, false)?;
    if found.header.what == "rollback" {
        return Err(Error::new(Kind::Refused, Reason::Unsupported, format!("run `{}` is a rollback itself", found.header.run))
            .hint("run the runbook again to have what it does"));
    }
    resume::reachable(&found.header)?;
    let mut setting = opened(&found, &args.params)?;
    setting.told.iter().for_each(|line| screen.talk(line));
    resume::same_cluster(&setting, &found.header)?;
    let undoing = undoing(&setting, &found.header.run, found.past.clone(), args.to.as_deref(), args.drift)?;
    if undoing.steps.is_empty() {
        screen.talk(&format!("run `{}` wrote nothing that is to be taken back: nothing was written", found.header.run));
        return Ok(0);
    }
    said_beforehand(&undoing, screen);
    let format = args.output.output;
    let prompter = Rc::new(Prompter::new(screen.clone(), setting.cancel.clone()));
    let (plan, consented) = planned(&mut setting, &undoing, screen, format)?;
    if !matches!(plan.end, End::Succeeded | End::Unknown) {
        if let Some(error) = &plan.error {
            screen.error(error);
        }
        screen.talk("the plan would not succeed, so nothing was taken back: nothing was written");
        return Ok(plan.exit_code);
    }
    screen.finish().map_err(|error| error.hint("the plan could not be shown whole, so nothing was taken back: nothing was written"))?;
    if !accepted(args, &setting, &prompter)? {
        screen.talk("not accepted: nothing was written");
        return Ok(4);
    }
    setting.cluster.set_run(RunId::generate());
    let (source, modules) = pin::pinned(&found.folder, &found.header)?;
    let plan_args = resume::plan_args(&found, modules)?;
    let consent = Consent {
        by: if args.yes { "--yes" } else { "operator" }.to_owned(),
        plan: None,
        confirmations: consented.clone(),
        planned: None,
        grants: None,
    };
    let fixture = pin::data(&found.folder, record::FIXTURE)?;
    let errand = Errand::TakeBack { of: found.header.run.clone(), gone: true };
    let of = Some(match &args.to {
        Some(to) => format!("{} to {to}", found.header.run),
        None => found.header.run.clone(),
    });
    let beginning = Beginning {
        setting: &setting,
        source: &source,
        args: &plan_args,
        what: "rollback",
        of,
        consent,
        errand,
        on_drift: args.drift,
        fixture,
    };
    let kept = record::begin(&runs, beginning)?;
    done(&mut setting, kept, &undoing, prompter, consented, format, screen)
}

/// Goes on with a rollback that was stopped.
///
/// # Errors
/// As [`rollback`].
pub(super) fn go_on(args: &ResumeArgs, found: Found, held: Held, screen: &Rc<Screen>) -> Done {
    let runs = Runs::find(args.state.runs.as_deref())?;
    let word = found.header.of.clone().ok_or_else(|| Error::internal("a rollback that does not say of which run"))?;
    let (of, to) = match word.split_once(" to ") {
        Some((of, to)) => (of, Some(to)),
        None => (word.as_str(), None),
    };
    let first = resume::found(&runs, of, false)?;
    let mut setting = opened(&found, &args.params)?;
    resume::same_cluster(&setting, &found.header)?;
    let undoing = undoing(&setting, of, first.past, to, args.drift)?;
    let consented = found.past.consented.clone();
    let target = resume::target(&found.header)?;
    let kept = record::go_on(&setting, &target, found.folder, held, &found.read, args.drift)?;
    let prompter = Rc::new(Prompter::new(screen.clone(), setting.cancel.clone()));
    done(&mut setting, kept, &undoing, prompter, consented, args.output.output, screen)
}

fn opened(found: &Found, words: &[String]) -> Result<Setting> {
    let (source, modules) = pin::pinned(&found.folder, &found.header)?;
    resume::setting(found, &source, modules, words)
}

/// What is to be done, after one read of every write whose outcome the record does not have.
fn undoing(setting: &Setting, of: &str, past: Past, to: Option<&str>, on_drift: DriftBy) -> Result<Undoing> {
    let aside = setting.cluster.aside();
    let mut unfinished: BTreeMap<String, Vec<Wrote>> = BTreeMap::new();
    for (place, known) in &past.places {
        let Some(key) = place.strip_prefix("step ") else { continue };
        for open in &known.open {
            if let Some(after) = setting.runtime.block_on(aside.settle(open))? {
                unfinished.entry(key.to_owned()).or_default().push(wrote(open, &after));
            }
        }
    }
    let steps = undo::of(&setting.runbook, &past, to, &unfinished)?;
    Ok(Undoing { of: of.to_owned(), past, steps, on_drift: record::drift(on_drift), runtime: setting.runtime.clone() })
}

/// A write of a call that was not over, with the way back to what was there before.
fn wrote(open: &Open, after: &Json) -> Wrote {
    let key = &open.intent.key;
    let target = open.intent.object().to_owned();
    let call = |verb: &str, arguments: Vec<Json>| Inverse::Call { verb: verb.to_owned(), arguments, options: Json::Null };
    let held = || Inverse::Irreversible("what a Secret holds is not kept in the record".to_owned());
    let (changes, inverse) = match (&open.intent.prior, key.verb.as_str()) {
        (Some(Prior::Was(_)), _) if target.starts_with("secret/") => (Vec::new(), held()),
        (_, "evict") => (Vec::new(), Inverse::Irreversible("an eviction cannot be taken back".to_owned())),
        (Some(Prior::Was(prior)), "delete") => (Vec::new(), call("create", vec![crate::primitives::plain(prior)])),
        (Some(Prior::Was(prior)), _) => {
            let back = crate::primitives::restoring(after, prior);
            (changes(prior, after), call("patch", vec![target.clone().into(), back]))
        }
        (Some(Prior::Absent), _) => (Vec::new(), call("delete", vec![target.clone().into()])),
        (None, _) => (Vec::new(), Inverse::Irreversible("what was there before was not read".to_owned())),
    };
    Wrote { verb: key.verb.clone(), target, changes, inverse }
}

/// Says before anything is done what stays.
fn said_beforehand(undoing: &Undoing, screen: &Screen) {
    for undo in &undoing.steps {
        for stays in &undo.stays {
            screen.talk(&format!("stays as it is after step {}: {}", escape::line(&undo.key), escape::line(stays)));
        }
        if matches!(&undo.how, How::Calls(calls) if calls.is_empty()) && undo.stays.is_empty() {
            screen.talk(&format!("step {} left nothing to take back", escape::line(&undo.key)));
        }
    }
}

/// The rollback on a copy of the cluster.
fn planned(setting: &mut Setting, undoing: &Undoing, screen: &Rc<Screen>, format: Format) -> Result<(Summary, Vec<Confirmation>)> {
    let live = Rc::new(RefCell::new(Live::new(screen.clone(), format, What::Plan, Transcript::new(screen.paint))));
    let job = Job {
        what: What::Plan,
        cluster: setting.cluster.planning(),
        runbook: setting.runbook.clone(),
        params: setting.params.clone(),
        voice: Voice::Plan,
        sink: live.clone(),
        record: None,
    };
    let plan = take_back(setting.script.as_mut(), job, undoing);
    live.borrow_mut().finish()?;
    let confirmations = plan.confirmations.clone();
    Ok((plan, confirmations))
}

fn accepted(args: &RollbackArgs, setting: &Setting, prompter: &Prompter) -> Result<bool> {
    if args.yes || (setting.cluster.label().simulated && !prompter.is_there()) {
        return Ok(true);
    }
    let question = format!("Take this back on `{}`?", setting.cluster.label().name);
    match setting.runtime.block_on(prompter.yes_or_no(&question))? {
        Some(answer) => Ok(answer),
        None => Err(Error::usage("there is no terminal to ask for consent: nothing was written").hint("`--yes` accepts the plan")),
    }
}

/// Does it on the cluster itself.
fn done(
    setting: &mut Setting,
    kept: Kept,
    undoing: &Undoing,
    prompter: Rc<Prompter>,
    consented: Vec<Confirmation>,
    format: Format,
    screen: &Rc<Screen>,
) -> Done {
    kept.warn(screen);
    let run = setting.cluster.run().to_string();
    let live = Rc::new(RefCell::new(Live::new(screen.clone(), format, What::Run, Transcript::new(screen.paint))));
    let job = Job {
        what: What::Run,
        cluster: setting.cluster.clone(),
        runbook: setting.runbook.clone(),
        params: setting.params.clone(),
        voice: Voice::Person { operator: kept.operator(prompter), consented },
        sink: live.clone(),
        record: Some(kept.recording.clone()),
    };
    let summary = take_back(setting.script.as_mut(), job, undoing);
    running::ended(setting, kept, &live, &summary, &running::Next::Resume(run), screen)
}
