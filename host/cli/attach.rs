//! `lockgate attach`: the transcript of a run from another terminal, as it grows.

use std::rc::Rc;

use super::args::AttachArgs;
use super::live::Live;
use super::{Done, host, interrupt};
use crate::base::{Clock, Error, Result, Span};
use crate::report::{Screen, Transcript, escape};
use crate::run::journal::io::JOURNAL;
use crate::run::journal::view::Standing;
use crate::run::journal::{self, RunFolder, Runs, Story};
use crate::run::{Sink as _, What};

/// How often the journal is looked at.
const LOOK: Span = Span::from_millis(300);

/// Prints what the run's journal was told, and goes on until nobody works on the run any more.
///
/// # Errors
/// When there is no such run, or its journal cannot be read. How the run ended is the exit code.
pub(super) fn attach(args: &AttachArgs, screen: &Rc<Screen>) -> Done {
    let folder = Runs::find(args.state.runs.as_deref())?.open(args.run.as_deref().unwrap_or("last"))?;
    let runtime = host::runtime()?;
    let mut live = Live::new(screen.clone(), args.output.output, What::Run, Transcript::new(screen.paint));
    let story = runtime.block_on(async {
        let end = interrupt::end()?;
        tokio::select! {
            biased;
            story = follow(&folder, &mut live) => story.map(Some),
            () = end => Ok(None),
        }
    })?;
    live.finish()?;
    // Who stops looking changes nothing about the run.
    let Some(story) = story else { return Ok(0) };
    if let Some(summary) = &story.summary {
        return Ok(summary.exit_code);
    }
    let standing = if story.standing == Standing::Killed { "its process was ended in the middle of it" } else { "it has no end" };
    let run = escape::line(&story.run);
    screen.talk(&format!("nobody works on the run `{run}` any more: {standing}; `lockgate resume {run}` goes on with it"));
    Ok(1)
}

/// Shows each record once, until the run has ended. What is on a line that is not whole yet is shown when it is.
async fn follow(folder: &RunFolder, live: &mut Live) -> Result<Story> {
    let clock = Clock::real();
    let (mut shown, mut changed) = (0, None);
    loop {
        // Who works on it is asked first: what it wrote before it ended is read after that.
        let working = folder.holder().is_some();
        let now = folder.path().join(JOURNAL).metadata().and_then(|file| file.modified()).ok();
        if changed != now || !working {
            changed = now;
            let story = story(folder)?;
            for record in story.events.iter().skip(shown) {
                live.record(record);
            }
            shown = story.events.len();
            if !working {
                return Ok(story);
            }
        }
        clock.sleep(LOOK).await?;
    }
}

fn story(folder: &RunFolder) -> Result<Story> {
    let read = journal::read(&mut folder.disk(), folder.id(), false)?;
    Story::of(&read, folder).ok_or_else(|| Error::internal(format!("the journal of run `{}` has no header", folder.id())))
}
