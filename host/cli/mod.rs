//! L5: the command line, one file a command. What a command gives is its exit code; what it says goes through the screen.

mod approve;
pub mod args;
mod attach;
mod bound;
mod chaos;
mod check;
mod consent;
mod explain;
mod find;
mod host;
mod interrupt;
mod list;
mod live;
mod new;
mod plan;
mod process;
mod prompt;
mod rbac;
mod record;
mod repl;
mod resume;
mod rollback;
mod run;
mod runs;
mod sandbox;
mod setting;
mod show;
mod skew;
mod snapshot;
mod target;
pub mod test;
mod told;
mod unlock;
mod words;
mod world;

use std::ffi::OsString;
use std::rc::Rc;

use clap::Parser as _;

use crate::base::{Error, Result};
use crate::report::{Screen, json, screen, trace};
use args::{Cli, Command, Format, ReportFormat, SkewFormat};

pub use list::bundled;
pub use show::known;

/// What a command gives: its exit code.
pub type Done = Result<u8>;

/// Runs the command line of this process; gives its exit code. A fault of lockgate itself is told and gives 1.
#[must_use]
pub fn main() -> u8 {
    screen::tell_faults();
    std::panic::catch_unwind(|| go(std::env::args_os(), &Rc::new(Screen::standard()))).unwrap_or(1)
}

/// Runs a command line; gives its exit code.
pub fn go(words: impl IntoIterator<Item = OsString>, screen: &Rc<Screen>) -> u8 {
    let words: Vec<OsString> = words.into_iter().collect();
    let code = match Cli::try_parse_from(&words) {
        Ok(cli) => execute(&cli, screen),
        Err(error) => usage(&error, wants_json(&words), screen),
    };
    match screen.finish() {
        Ok(()) => code,
        Err(error) => {
            screen.error(&error);
            if code == 0 { error.kind.exit_code() } else { code }
        }
    }
}

/// Whether JSON is asked for in words that cannot be read as a whole.
fn wants_json(words: &[OsString]) -> bool {
    let words: Vec<&str> = words.iter().map_while(|word| word.to_str()).take_while(|word| *word != "--").collect();
    let joined = |word: &&str| matches!(*word, "-ojson" | "-o=json" | "--output=json");
    words.iter().any(joined) || words.windows(2).any(|pair| matches!(pair, ["-o" | "--output", "json"]))
}

/// What clap has to say: help and version are data, the rest is talk, and data too where JSON is asked for.
fn usage(error: &clap::Error, as_json: bool, screen: &Screen) -> u8 {
    let rendered = error.render();
    if as_json && error.use_stderr() {
        tell_as_json(&unreadable(&rendered.to_string()), screen);
    }
    let show = |coloured: bool| if coloured { rendered.ansi().to_string() } else { rendered.to_string() };
    if error.use_stderr() {
        screen.talk(&show(screen.talk_paint.is_on()));
        2
    } else {
        screen.data(&show(screen.paint.is_on()));
        0
    }
}

/// What clap says about words, as an error: its first paragraph is the message, its tips are the hint.
fn unreadable(said: &str) -> Error {
    let mut paragraphs = said.trim().split("\n\n").map(|text| text.split_whitespace().collect::<Vec<_>>().join(" "));
    let message = paragraphs.next().unwrap_or_default();
    let error = Error::usage(message.strip_prefix("error: ").unwrap_or(&message));
    let tips: Vec<String> = paragraphs.filter_map(|text| text.strip_prefix("tip: ").map(str::to_owned)).collect();
    if tips.is_empty() { error } else { error.hint(tips.join("; ")) }
}

fn execute(cli: &Cli, screen: &Rc<Screen>) -> u8 {
    if let Some(state) = state(&cli.command) {
        screen.runs_are_found_by(runs::options(state));
    }
    let done = process::keep_to_itself().and_then(|()| trace::begin(cli.verbose)).and_then(|()| match &cli.command {
        Command::List(args) => list::list(args, screen),
        Command::Show(args) => show::show(args, screen),
        Command::Plan(args) => plan::plan(args, screen),
        Command::Run(args) => run::run(args, screen),
        Command::Resume(args) => resume::resume(args, screen),
        Command::Rollback(args) => rollback::rollback(args, screen),
        Command::Runs(args) => runs::runs(args, screen),
        Command::Status(args) => runs::status(args, screen),
        Command::Report(args) => runs::report(args, screen),
        Command::Attach(args) => attach::attach(args, screen),
        Command::Approve(args) => approve::approve(args, screen),
        Command::Unlock(args) => unlock::unlock(args, screen),
        Command::Repl(args) => repl::repl(args, screen),
        Command::New(args) => new::new(args, screen),
        Command::Check(args) => check::check(args, screen),
        Command::Test(args) => test::test(args, screen),
        Command::Skew(args) => skew::skew(args, screen),
        Command::Rbac(args) => rbac::rbac(args, screen),
        Command::Sandbox(args) => sandbox::sandbox(args, screen),
        Command::Snapshot(args) => snapshot::snapshot(args, screen),
        Command::Types => words::types(screen),
        Command::Completions(args) => words::completions(*args, screen),
    });
    done.unwrap_or_else(|error| {
        if format(&cli.command) == Format::Json {
            tell_as_json(&error, screen);
        }
        screen.error(&error);
        error.kind.exit_code()
    })
}

fn tell_as_json(error: &Error, screen: &Screen) {
    let hint = error.hint.as_ref().map(|hint| screen.completed(hint).into_owned());
    let mut error = error.clone();
    error.hint = hint;
    match json::error(&error) {
        Ok(text) => screen.data(&text),
        Err(fault) => screen.error(&fault),
    }
}

/// Where the command is told that runs are kept.
fn state(command: &Command) -> Option<&args::StateArgs> {
    match command {
        Command::Run(args) => Some(&args.state),
        Command::Resume(args) => Some(&args.state),
        Command::Rollback(args) => Some(&args.state),
        Command::Runs(args) => Some(&args.state),
        Command::Status(args) => Some(&args.state),
        Command::Report(args) => Some(&args.state),
        Command::Attach(args) => Some(&args.state),
        Command::Approve(args) => Some(&args.state),
        Command::Unlock(args) => Some(&args.state),
        _ => None,
    }
}

fn format(command: &Command) -> Format {
    match command {
        Command::List(args) => args.output.output,
        Command::Show(args) => args.output.output,
        Command::Plan(args) if args.output == ReportFormat::Json => Format::Json,
        Command::Run(args) => args.output.output,
        Command::Resume(args) => args.output.output,
        Command::Rollback(args) => args.output.output,
        Command::Check(args) => args.output.output,
        Command::Test(args) => args.output.output,
        Command::Skew(args) if args.output == SkewFormat::Json => Format::Json,
        Command::Skew(_) => Format::Text,
        Command::Runs(args) if args.output == SkewFormat::Json => Format::Json,
        Command::Status(args) => args.output.output,
        Command::Attach(args) => args.output.output,
        Command::Approve(_) | Command::Unlock(_) | Command::New(_) => Format::Text,
        Command::Report(args) if args.output == ReportFormat::Json => Format::Json,
        Command::Plan(_) | Command::Runs(_) | Command::Report(_) => Format::Text,
        Command::Repl(_) | Command::Rbac(_) | Command::Sandbox(_) | Command::Snapshot(_) | Command::Types | Command::Completions(_) => {
            Format::Text
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_wanted_in_each_form_and_before_the_dashes_only() {
        let wants = |words: &str| wants_json(&words.split(' ').map(OsString::from).collect::<Vec<_>>());
        for words in ["lockgate plan -o json", "lockgate -ojson", "lockgate --output json x", "lockgate --output=json", "lockgate -o=json"]
        {
            assert!(wants(words), "{words}");
        }
        for words in ["lockgate plan -o text json", "lockgate json", "lockgate run x -- -o json", "lockgate -o"] {
            assert!(!wants(words), "{words}");
        }
    }
}
