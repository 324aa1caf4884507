//! `lockgate runs`, `status` and `report`: what the journals say. Nothing is written, and no cluster is asked but by `report --verify`.

use super::args::{Format, ReportArgs, ReportFormat, RunsArgs, SkewFormat, StateArgs, StatusArgs};
use super::{Done, host, told};
use crate::base::{Error, Result};
use crate::cluster::machines::quoted;
use crate::report::{Screen, escape, html, json, runs as shown};
use crate::run::approval::Answers;
use crate::run::journal::listed::{Line, Listed};
use crate::run::journal::view::Standing;
use crate::run::journal::{self, Read, RunFolder, Runs, Story};
use crate::run::lock;

/// Lists the runs, the newest first. One that cannot be read is listed as such.
///
/// # Errors
/// When the folder of runs cannot be read.
pub(super) fn runs(args: &RunsArgs, screen: &Screen) -> Done {
    let runs = Runs::find(args.state.runs.as_deref())?;
    let mut listed = Vec::new();
    for run in runs.all()? {
        listed.push(match runs.open(&run).and_then(|folder| story(&folder)) {
            Ok(story) => Listed::Run(Box::new(Line::of(&story))),
            Err(error) => Listed::Broken { run, error },
        });
    }
    match args.output {
        SkewFormat::Json => screen.data(&json::runs(&listed)?),
        SkewFormat::Text if listed.is_empty() => screen.talk(&format!("there are no runs in `{}`", runs.path().display())),
        SkewFormat::Text => screen.data(&shown::list(&listed, screen.paint)),
        SkewFormat::Markdown => screen.data(&shown::list_markdown(&listed)),
    }
    Ok(0)
}

/// Says where a run stands and how to go on.
///
/// # Errors
/// When there is no such run, or it cannot be read.
pub(super) fn status(args: &StatusArgs, screen: &Screen) -> Done {
    let runs = Runs::find(args.state.runs.as_deref())?;
    let folder = runs.open(args.run.as_deref().unwrap_or("last"))?;
    let mut story = story(&folder)?;
    // A question that was left out with another script stays in the folder of a run that is over.
    if story.taken_back.is_none() && (story.standing == Standing::Running || story.standing.can_go_on()) {
        story.waiting = Answers::of(folder.id(), folder.path()).unanswered()?;
    }
    let options = options(&args.state);
    match args.output.output {
        Format::Text => screen.data(&shown::status(&story, &options, screen.paint)),
        Format::Json => screen.data(&json::status(&story, &options)?),
    }
    Ok(0)
}

/// Prints all that is known of a run.
///
/// # Errors
/// As [`status`].
pub(super) fn report(args: &ReportArgs, screen: &Screen) -> Done {
    let runs = Runs::find(args.state.runs.as_deref())?;
    let folder = runs.open(&args.run)?;
    let (read, story) = both(&folder)?;
    if args.verify {
        let header = read.header().ok_or_else(|| headless(&folder))?;
        let runtime = host::runtime()?;
        let cluster = told::cluster(&runtime, header)?;
        let compared = told::compared(&runtime, &cluster, &read)?;
        screen.talk(&escape::line(&lock::told(&compared, &cluster.label().name)));
    }
    match args.output {
        ReportFormat::Text => screen.data(&shown::report(&story, screen.paint)),
        ReportFormat::Json => screen.data(&json::report(&story)?),
        ReportFormat::Markdown => screen.data(&shown::markdown(&story)),
        ReportFormat::Html => screen.data(&html::page(&story)),
    }
    Ok(0)
}

/// What the journal in this folder says.
fn story(folder: &RunFolder) -> Result<Story> {
    both(folder).map(|(_, story)| story)
}

fn both(folder: &RunFolder) -> Result<(Read, Story)> {
    let read = journal::read(&mut folder.disk(), folder.id(), false)?;
    let story = Story::of(&read, folder).ok_or_else(|| headless(folder))?;
    Ok((read, story))
}

fn headless(folder: &RunFolder) -> Error {
    Error::internal(format!("the journal of run `{}` has no header", folder.id()))
}

/// The options that a command needs to find the same runs again.
pub(super) fn options(state: &StateArgs) -> String {
    state.runs.as_ref().map_or_else(String::new, |folder| format!(" --runs {}", quoted(&folder.display().to_string())))
}
