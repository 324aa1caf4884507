//! The only place that prints. Standard output is data, standard error is talk.
//!
//! A reader that went away (`lockgate list | head -1`) ends the output quietly and changes nothing else; any other fault of the
//! output (a full disk) is remembered and told at the end, because a run must not stop half-way for it.

use std::borrow::Cow;
use std::cell::{OnceCell, RefCell};
use std::io::{self, BufWriter, IsTerminal as _, Write};
use std::rc::Rc;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::commands;
use super::excerpt;
use super::paint::Paint;
use crate::base::clock::Duration;
use crate::base::{Error, Kind, Reason, Span};
use crate::run::journal::Redactor;

/// Both outputs of the command.
pub struct Screen {
    data: RefCell<Stream>,
    talk: RefCell<Stream>,
    progress: RefCell<Option<ProgressBar>>,
    /// What stands behind commands that look for a run.
    options: RefCell<String>,
    /// What is known of secrets: they are not shown.
    secrets: OnceCell<Rc<Redactor>>,
    live: bool,
    /// Colour of the data.
    pub paint: Paint,
    /// Colour of the talk.
    pub talk_paint: Paint,
}

struct Stream {
    to: Box<dyn Write>,
    state: State,
}

enum State {
    Open,
    /// The reader went away.
    Closed,
    /// Something else went wrong.
    Broken(io::Error),
}

impl Stream {
    fn new(to: Box<dyn Write>) -> RefCell<Stream> {
        RefCell::new(Stream { to, state: State::Open })
    }

    fn write(&mut self, text: &str) {
        if !matches!(self.state, State::Open) {
            return;
        }
        if let Err(error) = self.to.write_all(text.as_bytes()).and_then(|()| self.to.flush()) {
            self.state = match error.kind() {
                io::ErrorKind::BrokenPipe => State::Closed,
                // A terminal that went away.
                _ if error.raw_os_error() == Some(nix::libc::EIO) => State::Closed,
                _ => State::Broken(error),
            };
        }
    }
}

impl Screen {
    /// Standard output and standard error; colour and progress only where they are terminals.
    #[must_use]
    pub fn standard() -> Screen {
        let (out, err) = (io::stdout().is_terminal(), io::stderr().is_terminal());
        Screen {
            live: err,
            paint: Paint::wanted(out),
            talk_paint: Paint::wanted(err),
            ..Screen::over(Box::new(BufWriter::new(io::stdout())), Box::new(io::stderr()))
        }
    }

    /// Other outputs, without colour or moving progress.
    #[must_use]
    pub fn over(data: Box<dyn Write>, talk: Box<dyn Write>) -> Screen {
        Screen {
            data: Stream::new(data),
            talk: Stream::new(talk),
            progress: RefCell::new(None),
            options: RefCell::default(),
            secrets: OnceCell::new(),
            live: false,
            paint: Paint::plain(),
            talk_paint: Paint::plain(),
        }
    }

    /// Writes data; a line end is added where there is none.
    pub fn data(&self, text: &str) {
        self.above(|| write(&self.data, &self.without_secrets(text)));
    }

    /// Writes to the operator; a line end is added where there is none.
    pub fn talk(&self, text: &str) {
        let text = self.completed(text);
        self.above(|| write(&self.talk, &self.without_secrets(&text)));
    }

    /// From now on nothing is shown of the secrets that are known here: `(secret)` stands for them. Only the first call counts.
    pub fn hides(&self, secrets: Rc<Redactor>) {
        self.secrets.get_or_init(|| secrets);
    }

    fn without_secrets<'a>(&self, text: &'a str) -> Cow<'a, str> {
        self.secrets.get().map_or(Cow::Borrowed(text), |secrets| secrets.text(text))
    }

    /// From now on commands that look for a run are told with these options: ` --runs DIR`.
    pub fn runs_are_found_by(&self, options: String) {
        *self.options.borrow_mut() = options;
    }

    /// The text with its commands as they have to be typed here.
    #[must_use]
    pub fn completed<'a>(&self, text: &'a str) -> Cow<'a, str> {
        commands::with_options(text, &self.options.borrow())
    }

    /// Writes a question, without a line end.
    pub fn prompt(&self, text: &str) {
        self.rest();
        self.talk.borrow_mut().write(&self.without_secrets(text));
    }

    /// Tells an error.
    pub fn error(&self, error: &Error) {
        self.rest();
        self.talk(&excerpt::error(error, self.talk_paint));
    }

    /// Prints above the progress line.
    fn above(&self, print: impl FnOnce()) {
        match &*self.progress.borrow() {
            Some(bar) => bar.suspend(print),
            None => print(),
        }
    }

    /// Whether what is said to the operator still arrives somewhere.
    #[must_use]
    pub fn is_heard(&self) -> bool {
        matches!(self.talk.borrow().state, State::Open)
    }

    /// Whether progress moves here; otherwise it is told in lines.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.live
    }

    /// Shows what is being waited for, with a running time; only where [`Screen::is_live`].
    pub fn wait(&self, text: &str, since: Span) {
        if !self.live {
            return;
        }
        let mut progress = self.progress.borrow_mut();
        let bar = progress.get_or_insert_with(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
            if let Ok(style) = ProgressStyle::with_template("{spinner} {wide_msg} {elapsed}") {
                bar.set_style(style.tick_strings(&["|", "/", "-", "\\", " "]));
            }
            bar.enable_steady_tick(Duration::from_millis(200));
            bar
        });
        // The line may begin later than the wait, and in virtual time the wait is longer than it took.
        bar.clone().with_elapsed(since.as_duration());
        bar.set_message(self.without_secrets(text).into_owned());
    }

    /// Takes the progress line away.
    pub fn rest(&self) {
        if let Some(bar) = self.progress.borrow_mut().take() {
            bar.finish_and_clear();
        }
    }

    /// Ends the output. `Err` is a fault of the output that the command's exit code must not hide.
    ///
    /// # Errors
    /// When something else than a reader that went away kept data from being written.
    pub fn finish(&self) -> Result<(), Error> {
        self.rest();
        self.data.borrow_mut().write("");
        match &self.data.borrow().state {
            State::Broken(error) => {
                Err(Error::new(Kind::Internal, Reason::Unsupported, "writing to standard output: the output is not complete")
                    .cause(plain(error)))
            }
            State::Open | State::Closed => Ok(()),
        }
    }
}

/// Tells the operator something from another thread than the one that owns the screen.
pub fn aside(text: &str) {
    // Talk that cannot be heard is no fault.
    io::stderr().write_all(format!("{text}\n").as_bytes()).ok();
}

/// Makes a fault of lockgate itself read like an error.
pub fn tell_faults() {
    std::panic::set_hook(Box::new(|fault| {
        let text = fault.payload_as_str().unwrap_or("unknown");
        let at = fault.location().map(|at| format!("\n   --> {}:{}", at.file(), at.line())).unwrap_or_default();
        aside(&format!("error: a fault of lockgate itself\n  cause: {text}{at}\n  hint: please report it with the command"));
    }));
}

fn write(stream: &RefCell<Stream>, text: &str) {
    if text.ends_with('\n') || text.is_empty() {
        stream.borrow_mut().write(text);
    } else {
        stream.borrow_mut().write(&format!("{text}\n"));
    }
}

/// The system's words without its number.
fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Failing(io::ErrorKind);

    impl Write for Failing {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reader_that_went_away_is_no_fault() {
        let screen = Screen::over(Box::new(Failing(io::ErrorKind::BrokenPipe)), Box::new(Vec::new()));
        screen.data("one");
        screen.data("two");
        assert!(screen.finish().is_ok());
    }

    #[test]
    fn a_full_disk_is_told_at_the_end() {
        let screen = Screen::over(Box::new(Failing(io::ErrorKind::StorageFull)), Box::new(Vec::new()));
        screen.data("one");
        screen.talk("talk still works");
        let error = screen.finish().unwrap_err();
        assert!(error.message.contains("standard output"), "{error}");
        assert_eq!(error.kind.exit_code(), 1);
    }
}
