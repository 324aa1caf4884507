//! L5: the command line, one file a command. What a command gives is its exit code; what it says goes through the screen.

pub mod args;
mod find;
mod host;
mod interrupt;
mod list;
mod live;
mod plan;
mod prompt;
mod repl;
mod run;
mod setting;
mod show;
mod target;
pub mod test;
mod words;

use std::ffi::OsString;
use std::rc::Rc;

use clap::Parser as _;

use crate::base::{Error, Result};
use crate::report::{Screen, json, screen, trace};
use args::{Cli, Command, Format};

pub use list::bundled;

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
    let code = match Cli::try_parse_from(words) {
        Ok(cli) => execute(&cli, screen),
        Err(error) => usage(&error, screen),
    };
    match screen.finish() {
        Ok(()) => code,
        Err(error) => {
            screen.error(&error);
            if code == 0 { error.kind.exit_code() } else { code }
        }
    }
}

/// What clap has to say: help and version are data, the rest is talk.
fn usage(error: &clap::Error, screen: &Screen) -> u8 {
    let rendered = error.render();
    let show = |coloured: bool| if coloured { rendered.ansi().to_string() } else { rendered.to_string() };
    if error.use_stderr() {
        screen.talk(&show(screen.talk_paint.is_on()));
        2
    } else {
        screen.data(&show(screen.paint.is_on()));
        0
    }
}

fn execute(cli: &Cli, screen: &Rc<Screen>) -> u8 {
    let done = trace::begin(cli.verbose).and_then(|()| match &cli.command {
        Command::List(args) => list::list(args, screen),
        Command::Show(args) => show::show(args, screen),
        Command::Plan(args) => plan::plan(args, screen),
        Command::Run(args) => run::run(args, screen),
        Command::Repl(args) => repl::repl(args, screen),
        Command::Test(args) => test::test(args, screen),
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
    match json::error(error) {
        Ok(text) => screen.data(&text),
        Err(fault) => screen.error(&fault),
    }
}

fn format(command: &Command) -> Format {
    match command {
        Command::List(args) => args.output.output,
        Command::Show(args) => args.output.output,
        Command::Plan(args) => args.output.output,
        Command::Run(args) => args.plan.output.output,
        Command::Test(args) => args.output.output,
        Command::Repl(_) | Command::Types | Command::Completions(_) => Format::Text,
    }
}
