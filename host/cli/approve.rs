//! `lockgate approve`: the answer to what a run waits for, from another terminal.

use std::rc::Rc;

use super::Done;
use super::args::ApproveArgs;
use super::host;
use super::prompt::Prompter;
use crate::base::{Error, Result};
use crate::cluster::Cancel;
use crate::report::{Screen, escape};
use crate::run::approval::{Answers, Waiting};
use crate::run::journal::{RunFolder, Runs, folder};

/// Shows what is asked, and answers it.
///
/// # Errors
/// When there is no such run, it waits for nothing or for something else, or was answered already.
pub(super) fn approve(args: &ApproveArgs, screen: &Rc<Screen>) -> Done {
    let run = Runs::find(args.state.runs.as_deref())?.open(&args.run)?;
    let answers = Answers::of(run.id(), run.path());
    let waiting = answers.waits_at(&args.gate)?;
    show(&waiting, &run, screen);
    let yes = if args.no { false } else { args.yes || asked(screen)? };
    if !yes && !args.no {
        screen.talk("not answered");
        return Ok(4);
    }
    answers.answer(&waiting, yes, &folder::user())?;
    let word = if yes { "yes" } else { "no" };
    let next = match run.holder() {
        Some(_) => "the run takes it now".to_owned(),
        None => format!("nobody works on the run: `lockgate resume {}` takes it", run.id()),
    };
    screen.data(&screen.completed(&format!("`{}` is answered with {word}; {next}", escape::line(waiting.gate()))));
    Ok(0)
}

/// What is about to be answered: the text, and the hash that binds the answer to it.
fn show(waiting: &Waiting, run: &RunFolder, screen: &Screen) {
    let Waiting { confirmation, hash } = waiting;
    screen.talk(&format!("the run {} waits in {}:", run.id(), escape::line(&confirmation.at)));
    screen.talk(&format!("  {}", escape::lines(&confirmation.question).replace('\n', "\n  ")));
    screen.talk(&format!("  (text {})", hash.get(..12).unwrap_or(hash)));
}

fn asked(screen: &Rc<Screen>) -> Result<bool> {
    let runtime = host::runtime()?;
    let prompter = Prompter::new(screen.clone(), Cancel::new());
    match runtime.block_on(prompter.yes_or_no("Answer with yes?"))? {
        Some(answer) => Ok(answer),
        None => Err(Error::usage("there is no terminal to ask on: nothing was answered").hint("`--yes` answers yes, `--no` answers no")),
    }
}
