//! `lockgate rollback`: takes a run back by what its journal recorded, the newest step first. Plan and question first, as `run`.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use super::args::{DriftBy, Format, ResumeArgs, RollbackArgs};
use super::live::Live;
use super::prompt::Prompter;
use super::record::{self, Beginning, Kept, TakesBack};
use super::resume::{self, Found};
use super::setting::Setting;
use super::{Done, consent, run as running, told, world};
use crate::base::diff::changes;
use crate::base::json::Value as Json;
use crate::base::{Error, Kind, Reason, Result};
use crate::cluster::keep::{Open, Outcome, Prior, Settled};
use crate::cluster::{Cluster, RunId};
use crate::primitives::helm::interrupted;
use crate::primitives::{Inverse, Wrote};
use crate::report::{Screen, Transcript, escape};
use crate::run::journal::book::OnDrift;
use crate::run::journal::entry::Consent;
use crate::run::journal::view::Standing;
use crate::run::journal::{Fact, Held, Past, Runs, TakenBack, pin, taken};
use crate::run::lock::Errand;
use crate::run::rollback::{Undoing, rollback as take_back};
use crate::run::undo::{self, How};
use crate::run::{Confirmation, End, Job, Runbook, Summary, Voice, What, permissions};

/// What a rollback before this one has left.
enum Left {
    /// All of the run: there was none.
    Everything,
    /// What that one has left.
    Less(TakenBack),
    /// Nothing.
    Nothing,
    /// It was begun to the same end, and stopped half-way: this run goes on with it.
    Half(String),
}

/// What is left to do; that it is nothing is told.
///
/// # Errors
/// When a rollback was begun to another end and is not over, or is not to be found.
fn left(runs: &Runs, found: &Found, to: Option<&str>, screen: &Screen) -> Result<Left> {
    let Some(taken) = TakenBack::of(runs, &found.read) else { return Ok(Left::Everything) };
    let run = &found.header.run;
    match (&taken.standing, &taken.to) {
        (Some(standing), _) if standing.can_go_on() && taken.to.as_deref() == to => Ok(Left::Half(taken.run.clone())),
        (Some(Standing::Done | Standing::NothingToDo), Some(_)) => Ok(Left::Less(taken)),
        _ if taken.is_whole() => {
            screen.talk(&format!("run `{run}` was taken back {}: nothing is left to take back, and nothing was written", taken.told()));
            Ok(Left::Nothing)
        }
        _ => Err(taken.refuses(run)),
    }
}

/// Goes on with a rollback that was stopped half-way, as `resume` does: what is to be done was accepted when it began.
fn half(args: &RollbackArgs, run: String, screen: &Rc<Screen>) -> Done {
    screen.talk(&format!("run `{run}` takes it back already, and was stopped: this goes on with that"));
    let again = ResumeArgs {
        run,
        params: args.params.clone(),
        script: None,
        drift: args.drift,
        accept_truncated: false,
        target: args.target.clone(),
        state: args.state.clone(),
        output: args.output,
    };
    resume::resume(&again, screen)
}

/// Does it.
///
/// # Errors
/// What was wrong before anything was contacted, that there is no consent, or that the run cannot be taken back. How the rollback ended is the
/// exit code.
pub(super) fn rollback(args: &RollbackArgs, screen: &Rc<Screen>) -> Done {
    let runs = Runs::find(args.state.runs.as_deref())?;
    // Nobody may work on the run that is taken back.
    let folder = runs.open(&args.run)?;
    let held = folder.hold()?;
    let found = resume::found(folder, false).map_err(whole)?.found_at(&args.target);
    possible(args, &found)?;
    let before = match left(&runs, &found, args.to.as_deref(), screen)? {
        Left::Everything => None,
        Left::Less(taken) => Some(taken),
        Left::Nothing => return Ok(0),
        Left::Half(run) => {
            drop(held);
            return half(args, run, screen);
        }
    };
    let before = Before::of(&runs, before)?;
    let mut setting = opened(&found, before.as_ref(), &args.params)?;
    if args.local {
        setting.cluster.plan_locally();
    }
    setting.told.iter().for_each(|line| screen.talk(line));
    resume::same_cluster(&setting, &found.header)?;
    told::checked(&setting, &found, false).map_err(whole)?;
    let prompter = Rc::new(Prompter::new(screen.clone(), setting.cancel.clone()));
    // Before anything is begun.
    let by = if args.drift == DriftBy::Ask && !prompter.is_there() { DriftBy::Stop } else { args.drift };
    let reach = Reach { from: before.as_ref().and_then(Before::step), to: args.to.as_deref() };
    let tell = |text: String| screen.talk(&escape::line(&text));
    let undoing = undoing(&On::of(&setting, &tell), &found.header.run, found.past.clone(), reach, record::drift(by))?;
    if undoing.steps.is_empty() {
        screen.talk(&format!("run `{}` wrote nothing that is to be taken back: nothing was written", found.header.run));
        return Ok(0);
    }
    said_beforehand(&undoing, screen);
    let format = args.output.output;
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
    named(&runs, &setting)?;
    let (source, modules) = pin::pinned(&found.folder, &found.header)?;
    let plan_args = resume::plan_args(&found, modules)?;
    let by_whom = if args.yes { "--yes" } else { "operator" }.to_owned();
    let consent = Consent { by: by_whom, plan: None, confirmations: consented.clone(), planned: None, grants: setting.cluster.planned() };
    let world = [record::FIXTURE, world::FAULTS].into_iter().map(|name| Ok(pin::data(&found.folder, name)?.map(|text| (name, text))));
    let world = world.collect::<Result<Vec<_>>>()?.into_iter().flatten().collect();
    let errand = Errand::TakeBack { of: found.header.run.clone(), gone: taken::is_left(&found.read) };
    let run = &found.header.run;
    let of = Some(args.to.as_ref().map_or_else(|| run.clone(), |to| format!("{run} to {to}")));
    let beginning = Beginning {
        screen,
        setting: &setting,
        source: &source,
        args: &plan_args,
        what: "rollback",
        of,
        consent,
        errand,
        on_drift: by,
        world,
        takes_back: Some(TakesBack {
            folder: &found.folder,
            read: &found.read,
            to: args.to.as_deref(),
            left: before.as_ref().map_or(&found.folder, |before| &before.found.folder),
        }),
    };
    let kept = record::begin(&runs, beginning)?;
    done(&mut setting, kept, &undoing, prompter, consented, format, screen)
}

/// The run that takes it back has a name of its own.
fn named(runs: &Runs, setting: &Setting) -> Result<()> {
    if setting.cluster.label().simulated {
        return record::name(runs, setting);
    }
    setting.cluster.set_run(RunId::generate());
    Ok(())
}

/// What is asked for can be had: a rollback writes nothing again, and is not taken back itself.
fn possible(args: &RollbackArgs, found: &Found) -> Result<()> {
    if args.drift == DriftBy::Again {
        return Err(
            Error::usage("a rollback writes nothing again that the run had written").hint("`--drift accept` goes on from what there is")
        );
    }
    if found.header.what == "rollback" {
        return Err(Error::new(Kind::Refused, Reason::Unsupported, format!("run `{}` is a rollback itself", found.header.run))
            .hint("run the runbook again to have what it does"));
    }
    Ok(())
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
    let first = resume::found(runs.open(of)?, false).map_err(whole)?;
    let before = TakenBack::before(&runs, &first.read, &found.header.run);
    // What its cluster was asked is in its own folder.
    let mut setting = opened(&found, None, &args.params)?;
    resume::same_cluster(&setting, &found.header)?;
    told::checked(&setting, &found, args.accept_truncated)?;
    let reach = Reach { from: before.as_ref().and_then(|before| before.to.as_deref()), to };
    let tell = |text: String| screen.talk(&escape::line(&text));
    let undoing = undoing(&On::of(&setting, &tell), of, first.past, reach, record::drift(args.drift))?;
    let consented = found.past.consented.clone();
    let prompter = Rc::new(Prompter::new(screen.clone(), setting.cancel.clone()));
    let consent = consent::missing(&setting, &found, &prompter)?;
    match found.past.grants.clone() {
        Some(grants) => setting.cluster.set_planned(grants),
        None => permissions::unplanned(&setting.cluster, &setting.runbook),
    }
    let target = resume::target(&found.header)?;
    let kept = record::go_on(&setting, &target, found.folder, held, &found.read, args.drift, screen)?;
    if let Some(consent) = consent {
        kept.recording.book.note(&Fact::Consent(consent))?;
    }
    done(&mut setting, kept, &undoing, prompter, consented, args.output.output, screen)
}

/// A rollback is made from the whole record: from what is left of one, something would stay that nobody knows of.
fn whole(error: Error) -> Error {
    let offers = error.hint.as_ref().is_some_and(|hint| hint.contains("--accept-truncated"));
    if !offers {
        return error;
    }
    error.hint("a rollback needs the whole record: go on with the folder as it was (`--runs DIR`), or look at the cluster and take back by hand what is there")
}

/// A rollback before this one that took back a part.
struct Before {
    taken: TakenBack,
    found: Found,
}

impl Before {
    fn of(runs: &Runs, taken: Option<TakenBack>) -> Result<Option<Before>> {
        let Some(taken) = taken else { return Ok(None) };
        let found = resume::found(runs.open(&taken.run)?, false).map_err(whole)?;
        Ok(Some(Before { taken, found }))
    }

    /// The step that it left, with all before it.
    fn step(&self) -> Option<&str> {
        self.taken.to.as_deref()
    }
}

/// The setting of the run; a simulated cluster is as that rollback left it.
fn opened(found: &Found, before: Option<&Before>, words: &[String]) -> Result<Setting> {
    let (source, modules) = pin::pinned(&found.folder, &found.header)?;
    resume::setting_in(found, before.map_or(found, |before| &before.found), &source, modules, words)
}

/// Where a run is taken back.
pub(super) struct On<'a> {
    pub(super) runtime: &'a Rc<tokio::runtime::Runtime>,
    pub(super) cluster: &'a Cluster,
    pub(super) runbook: &'a Runbook,
    /// Who is told what is waited for.
    pub(super) tell: &'a dyn Fn(String),
}

impl<'a> On<'a> {
    fn of(setting: &'a Setting, tell: &'a dyn Fn(String)) -> On<'a> {
        On { runtime: &setting.runtime, cluster: &setting.cluster, runbook: &setting.runbook, tell }
    }
}

/// Which steps are taken back.
#[derive(Clone, Copy)]
pub(super) struct Reach<'a> {
    /// The last of them; the last of the run when there is none. What came after it was taken back before.
    pub(super) from: Option<&'a str>,
    /// The step before the first of them; when there is none, they begin with the first of the run.
    pub(super) to: Option<&'a str>,
}

/// What is to be done, after one read of every write whose outcome the record does not have. One that was not made and may still come is
/// waited for: it would stay.
pub(super) fn undoing(on: &On<'_>, of: &str, past: Past, reach: Reach<'_>, on_drift: OnDrift) -> Result<Undoing> {
    let aside = on.cluster.aside();
    let mut unfinished: BTreeMap<String, Vec<Wrote>> = BTreeMap::new();
    for (place, known) in &past.places {
        let Some(key) = place.strip_prefix("step ") else { continue };
        for pending in &known.open {
            let open = &pending.open;
            let settled = on.runtime.block_on(aside.settle_for_good(open, past.last, on.tell))?;
            unfinished.entry(key.to_owned()).or_default().extend(match settled {
                Settled::NotMade => Vec::new(),
                Settled::Made(Some(after)) => vec![wrote(open, &after)],
                Settled::Made(None) | Settled::Untold if open.intent.key.verb == "helm" => {
                    on.runtime.block_on(interrupted::way_back(&aside, open))?
                }
                Settled::Made(None) | Settled::Untold => elsewhere(open),
            });
        }
    }
    let mut steps = undo::of(on.runbook, &past, reach.to, &unfinished)?;
    if let Some(from) = reach.from {
        let place = |key: &str| past.order.iter().position(|place| place.strip_prefix("step ") == Some(key));
        steps.retain(|undo| place(&undo.key) <= place(from));
    }
    Ok(Undoing { of: of.to_owned(), past, steps, on_drift, runtime: on.runtime.clone() })
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

/// What is no object of the API, or left none: with the way back where its record tells one.
fn elsewhere(open: &Open) -> Vec<Wrote> {
    let key = &open.intent.key;
    let what = key.part.as_ref().map_or_else(|| key.verb.clone(), |part| format!("{} {part}", key.verb));
    let wrote = |inverse: Inverse| Wrote { verb: what.clone(), target: open.intent.object().to_owned(), changes: Vec::new(), inverse };
    let stays = |why: &str| vec![wrote(Inverse::Irreversible(why.to_owned()))];
    match (&open.intent.prior, key.verb.as_str()) {
        (Some(Prior::Was(prior)), "delete") => {
            let arguments = vec![crate::primitives::plain(prior)];
            vec![wrote(Inverse::Call { verb: "create".to_owned(), arguments, options: Json::Null })]
        }
        (_, "evict") => stays("an eviction cannot be taken back"),
        _ if matches!(open.outcome, Some(Outcome::Made { .. })) => stays("it was done when the run was stopped; look at what it did"),
        _ => stays("it was being done when the run was stopped, and may have been done: look there"),
    }
}

/// Says before anything is done what stays.
fn said_beforehand(undoing: &Undoing, screen: &Screen) {
    for undo in &undoing.steps {
        for stays in &undo.stays {
            screen.talk(&format!("stays as it is after step {}: {}", escape::line(&undo.key), escape::line(&stays.to_string())));
        }
        if matches!(&undo.how, How::Calls(calls) if calls.is_empty()) && undo.stays.is_empty() {
            screen.talk(&format!("step {} left nothing to take back", escape::line(&undo.key)));
        }
    }
}

/// The rollback on a copy of the cluster.
fn planned(setting: &mut Setting, undoing: &Undoing, screen: &Rc<Screen>, format: Format) -> Result<(Summary, Vec<Confirmation>)> {
    let live = Rc::new(RefCell::new(Live::new(screen.clone(), format, What::Plan, Transcript::new(screen.paint))));
    let twin = setting.cluster.planning();
    let job = Job {
        what: What::Plan,
        cluster: twin.clone(),
        runbook: setting.runbook.clone(),
        params: setting.params.clone(),
        voice: Voice::Plan,
        sink: live.clone(),
        record: None,
    };
    let plan = take_back(setting.script.as_mut(), job, undoing);
    setting.cluster.remember_plan(&twin, plan.end == End::Unknown);
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
        voice: Voice::Person { operator: kept.operator(prompter, false), consented },
        sink: live.clone(),
        record: Some(kept.recording.clone()),
    };
    let summary = take_back(setting.script.as_mut(), job, undoing);
    running::ended(setting, kept, &live, &summary, &run, screen)
}
