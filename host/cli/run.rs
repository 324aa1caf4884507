//! `lockgate run`: plan, ask, then do it. Consent is bound to what the plan showed.

use std::cell::RefCell;
use std::rc::Rc;

use super::Done;
use super::args::RunArgs;
use super::live::Live;
use super::prompt::Prompter;
use super::setting::{Setting, again};
use crate::base::{Error, Result};
use crate::cluster::Cluster;
use crate::primitives::registry::plural;
use crate::report::{Screen, Transcript};
use crate::run::{self, Confirmation, End, Summary, Voice, What};

/// Does it.
///
/// # Errors
/// What was wrong before anything was contacted, or that there is no consent. How the run ended is the exit code.
pub(super) fn run(args: &RunArgs, screen: &Rc<Screen>) -> Done {
    let mut setting = Setting::open(&args.plan)?;
    setting.told.iter().for_each(|line| screen.talk(line));
    let format = args.plan.output.output;
    let prompter = Rc::new(Prompter::new(screen.clone(), setting.cancel.clone()));
    let mut transcript = Transcript::new(screen.paint);
    let consented = if args.no_plan {
        Vec::new()
    } else {
        let (plan, _) = setting.plan(Some((screen.clone(), format)))?;
        match plan.end {
            End::Succeeded | End::Unknown => {}
            End::NotNeeded => return Ok(plan.exit_code),
            End::Failed | End::Parked | End::Interrupted => return Ok(refused(&plan, screen)),
        }
        transcript = transcript.predicted(plan.took);
        plan.confirmations.clone()
    };
    // Consent is to what was shown.
    screen.finish().map_err(|error| error.hint("the plan could not be shown whole, so it was not run: nothing was written"))?;
    if !accepted(args, &setting, &prompter, &consented)? {
        screen.talk("not accepted: nothing was written");
        return Ok(4);
    }
    if format == super::args::Format::Text && !args.no_plan {
        screen.data("\n");
    }
    let live = Rc::new(RefCell::new(Live::new(screen.clone(), format, What::Run, transcript)));
    let voice = Voice::Person { operator: prompter, consented };
    let summary = run::run(setting.script.as_mut(), &setting.cluster, &setting.runbook, &setting.params, voice, live.clone());
    live.borrow_mut().finish()?;
    tell(&summary, &again(&args.plan, &setting.runbook), screen);
    screen.finish().map_err(|error| error.hint(outcome(&summary)))?;
    Ok(summary.exit_code)
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

/// Says why a run did not succeed, and what to do now.
fn tell(summary: &Summary, again: &str, screen: &Screen) {
    let Some(error) = &summary.error else { return };
    let mut error = error.clone();
    if error.hint.is_none() {
        match summary.end {
            End::Parked | End::Interrupted => {
                error = error.hint(format!("a stopped run cannot be resumed yet; start it again with `{again}`"));
            }
            End::Failed if summary.writes > 0 => {
                error = error.hint(format!("when the cause is gone, start it again with `{again}`"));
            }
            _ => {}
        }
    }
    screen.error(&error);
}
