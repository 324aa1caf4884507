//! `lockgate run`: plan, ask, then do it. Consent is bound to what the plan showed.

use std::cell::RefCell;
use std::rc::Rc;

use super::Done;
use super::args::{DriftBy, RunArgs, TargetArgs};
use super::bound::Held;
use super::live::Live;
use super::prompt::Prompter;
use super::record::{self, Beginning, Kept};
use super::setting::Setting;
use super::{chaos, target, world};
use crate::base::{Error, Kind, Result};
use crate::cluster::Cluster;
use crate::cluster::machines::quoted;
use crate::primitives::registry::plural;
use crate::report::runs::foresight;
use crate::report::{Screen, Transcript};
use crate::run::hindsight::{Hindsight, predictions};
use crate::run::journal::Runs;
use crate::run::journal::chain::sha256;
use crate::run::journal::entry::{Consent, Planned};
use crate::run::lock::Errand;
use crate::run::planfile::short;
use crate::run::runbook::{ParamDecl, ParamType};
use crate::run::{self, Confirmation, End, Job, Record, Sink, Summary, Voice, What};

/// Does it.
///
/// # Errors
/// What was wrong before anything was contacted, or that there is no consent. How the run ended is the exit code.
pub(super) fn run(args: &RunArgs, screen: &Rc<Screen>) -> Done {
    super::snapshot::not_to_be_run(&args.plan.target)?;
    let runs = Runs::find(args.state.runs.as_deref())?;
    let held = args.plan_file.as_deref().map(Held::open).transpose()?;
    let mut setting = Setting::open_with(&args.plan, held.as_ref().map(Held::params))?;
    held.as_ref().map_or(Ok(()), |held| held.is_of(&setting, &args.plan.runbook.modules))?;
    record::name(&runs, &setting)?;
    setting.told.iter().for_each(|line| screen.talk(line));
    record::may_begin(&setting, &args.plan.target)?;
    let format = args.output.output;
    let prompter = Rc::new(Prompter::new(screen.clone(), setting.cancel.clone()));
    let mut transcript = Transcript::new(screen.paint);
    let mut planned = None;
    let consented = if args.no_plan {
        run::permissions::unplanned(&setting.cluster, &setting.runbook);
        Vec::new()
    } else {
        held.as_ref().map_or(Ok(()), |held| held.meets(&setting))?;
        let made = setting.planned(Some((screen.clone(), format)))?;
        held.as_ref().map_or(Ok(()), |held| held.holds(&setting, &made, &args.plan.runbook.modules))?;
        let (made_up, text) = (made.made_up(), made.text()?);
        let (plan, records) = (made.summary, made.records);
        match plan.end {
            End::Succeeded | End::Unknown => {}
            End::NotNeeded => return Ok(plan.exit_code),
            End::Failed | End::Parked | End::Interrupted => return Ok(refused(&plan, screen)),
        }
        transcript = transcript.predicted(plan.took);
        planned = Some(Planned::of(&plan, &records, text, made_up)?);
        plan.confirmations.clone()
    };
    // Consent is to what was shown.
    screen.finish().map_err(|error| error.hint("the plan could not be shown whole, so it was not run: nothing was written"))?;
    if !accepted(args, &setting, &prompter, &consented)? {
        screen.talk("not accepted: nothing was written");
        return Ok(4);
    }
    let said = planned.clone();
    let consent = consent(args, &setting, &prompter, consented.clone(), planned);
    let consent = match &held {
        Some(held) => Consent { by: format!("{}, bound to plan file {}", consent.by, short(&held.file.hash)), ..consent },
        None => consent,
    };
    let kept = recorded(args, &runs, &setting, consent, held.as_ref(), screen)?;
    kept.warn(screen);
    if format == super::args::Format::Text && !args.no_plan {
        screen.data("\n");
    }
    let live = Rc::new(RefCell::new(Live::new(screen.clone(), format, What::Run, transcript)));
    let told = Rc::new(RefCell::new(Told { live: live.clone(), records: Vec::new() }));
    let job = Job {
        what: What::Run,
        cluster: setting.cluster.clone(),
        runbook: setting.runbook.clone(),
        params: setting.params.clone(),
        voice: Voice::Person { operator: kept.operator(prompter, true), consented },
        sink: told.clone(),
        record: Some(kept.recording.clone()),
    };
    let summary = run::perform(setting.script.as_mut(), job);
    if let (Some(said), super::args::Format::Text) = (&said, format) {
        let happened = predictions(&told.borrow().records, said.made_up.clone())?;
        screen.data(&foresight(&Hindsight::of(&said.predictions, &happened)));
    }
    let run = setting.cluster.run().to_string();
    ended(&setting, kept, &live, &summary, &run, screen)
}

/// Shows what a run tells, and keeps it for the comparison with its plan.
struct Told {
    live: Rc<RefCell<Live>>,
    records: Vec<Record>,
}

impl Sink for Told {
    fn record(&mut self, record: &Record) {
        self.live.borrow_mut().record(record);
        self.records.push(record.clone());
    }
}

/// The end of a run, a resumed one or a rollback: the lock, what could not be shown, why it did not succeed, the exit code.
pub(super) fn ended(setting: &Setting, kept: Kept, live: &RefCell<Live>, summary: &Summary, run: &str, screen: &Screen) -> Done {
    kept.end(setting, summary, screen);
    live.borrow_mut().finish()?;
    tell(summary, &again(run, setting), setting.cluster.takes_back(), screen);
    screen.finish().map_err(|error| error.hint(outcome(summary)))?;
    Ok(summary.exit_code)
}

/// The words that find the same cluster again.
pub(super) fn way(target: &TargetArgs) -> String {
    let path = target.kubeconfig.as_ref().map(|path| path.display().to_string());
    let flags = [("--context", target.context.clone()), ("--kubeconfig", path)];
    let words = flags.into_iter().filter_map(|(flag, value)| Some(format!("{flag} {}", quoted(&value?))));
    words.collect::<Vec<_>>().join(" ")
}

/// Begins the record of the run.
fn recorded(args: &RunArgs, runs: &Runs, setting: &Setting, consent: Consent, held: Option<&Held>, screen: &Screen) -> Result<Kept> {
    let mut world = Vec::new();
    world.extend(held.map(|held| (record::PLAN, held.text.clone())));
    if let Some(word) = &args.plan.target.sandbox {
        world.push((record::FIXTURE, target::text(&setting.source, word)?.text));
    }
    if let Some(text) = args.plan.target.chaos.as_deref().map(chaos::text).transpose()?.flatten() {
        world.push((world::FAULTS, text));
    }
    if let Some(file) = &setting.file {
        let given = file.read(&setting.runbook.params)?;
        let secret = |decl: &ParamDecl| decl.ty == ParamType::Secret && given.contains_key(&decl.name);
        // What holds a secret is not kept; the other parameters are in the header all the same.
        if !setting.runbook.params.iter().any(secret) {
            world.push((record::PARAMS, file.text.clone()));
        }
    }
    let beginning = Beginning {
        screen,
        setting,
        source: &setting.source,
        args: &args.plan,
        what: "run",
        of: None,
        consent,
        errand: Errand::Begin,
        on_drift: DriftBy::Stop,
        world,
        takes_back: None,
    };
    record::begin(runs, beginning)
}

/// Who let the run begin.
fn consent(args: &RunArgs, setting: &Setting, prompter: &Prompter, confirmations: Vec<Confirmation>, planned: Option<Planned>) -> Consent {
    let by = match args.yes {
        true => "--yes",
        false if setting.cluster.label().simulated && !prompter.is_there() => "sandbox",
        false => "operator",
    };
    let by = super::consent::word(by, args.no_plan);
    let plan = planned.as_ref().map(|planned| sha256(planned.text.as_bytes()));
    Consent { by, plan, confirmations, planned, grants: setting.cluster.planned() }
}

/// How a run ended whose record could not be written.
fn outcome(summary: &Summary) -> String {
    let end = match summary.end {
        End::Succeeded => "succeeded",
        End::NotNeeded => "had nothing to do",
        End::Failed | End::Unknown => "failed",
        End::Parked | End::Interrupted => "was stopped",
    };
    let unsure = if summary.unsure.is_empty() { String::new() } else { format!("; unknown: {}", summary.unsure.join(", ")) };
    match summary.writes {
        0 => format!("the run itself {end}, with no writes{unsure}"),
        writes => format!("the run itself {end}, with {}: {}{unsure}", plural(writes, "write"), summary.objects.join(", ")),
    }
}

/// A plan that would fail is not run.
fn refused(plan: &Summary, screen: &Screen) -> u8 {
    if let Some(error) = &plan.error {
        screen.error(error);
    }
    screen.talk("the plan would not succeed, so it was not run: nothing was written");
    plan.exit_code
}

/// Whether the run may begin: `--yes`, a sandbox that nobody watches, or a person's yes.
fn accepted(args: &RunArgs, setting: &Setting, prompter: &Prompter, consented: &[Confirmation]) -> Result<bool> {
    if args.yes || (setting.cluster.label().simulated && !prompter.is_there()) {
        return Ok(true);
    }
    let question = question(&setting.cluster, consented, args.no_plan);
    match setting.runtime.block_on(prompter.yes_or_no(&question))? {
        Some(answer) => Ok(answer),
        None => Err(Error::usage("there is no terminal to ask for consent: nothing was written")
            .hint("`--yes` accepts the plan; what the plan does not show still asks")),
    }
}

fn question(cluster: &Cluster, consented: &[Confirmation], no_plan: bool) -> String {
    let name = cluster.label().name;
    if no_plan {
        return format!("Run this on `{name}` without a plan?");
    }
    match consented.len() {
        0 => format!("Run this on `{name}`?"),
        count => format!("Run this on `{name}`? Yes also answers the {} above.", plural(count, "confirmation")),
    }
}

/// The run with the secret parameters that have to be given again with it.
fn again(run: &str, setting: &Setting) -> String {
    let secrets = setting.runbook.params.iter().filter(|decl| decl.ty == ParamType::Secret && setting.params.contains_key(&decl.name));
    secrets.fold(run.to_owned(), |words, decl| format!("{words} {}=…", decl.name))
}

/// Says why a run did not succeed, and what to do now.
fn tell(summary: &Summary, run: &str, is_rollback: bool, screen: &Screen) {
    let Some(error) = summary.error.clone() else { return };
    let resume = format!("`lockgate resume {run}`");
    let next = match summary.end {
        End::Parked | End::Interrupted => Some(format!("{resume} goes on with it")),
        End::Failed if is_rollback => Some(format!("when the cause is gone, {resume} goes on with taking it back")),
        // What refuses does not go away by itself.
        End::Failed if error.kind == Kind::Refused && (summary.writes > 0 || !summary.unsure.is_empty()) => Some(format!(
            "{resume} is refused again until that is changed (a runbook that was changed: `--script PATH`); `lockgate rollback {run}` takes it back"
        )),
        End::Failed if summary.writes > 0 || !summary.unsure.is_empty() => {
            Some(format!("when the cause is gone, {resume} goes on; `lockgate rollback {run}` takes it back"))
        }
        _ => None,
    };
    match (next, &error.hint) {
        (Some(next), None) => screen.error(&error.hint(next)),
        // What would be right in the first place is said first.
        (Some(next), Some(hint)) if !hint.contains(&resume) => {
            screen.error(&error);
            screen.talk(&next);
        }
        _ => screen.error(&error),
    }
}
