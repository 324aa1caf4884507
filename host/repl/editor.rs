//! The line editor: rustyline on a thread of its own, so that a call can run while somebody types, and the other way round.
//!
//! The session's thread owns Lua and the cluster; the editor asks it over a channel whatever it needs to know.

use std::borrow::Cow;
use std::cell::RefCell;
use std::path::PathBuf;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::JoinHandle;

use rustyline::completion::Completer;
use rustyline::error::ReadlineError;
use rustyline::highlight::{CmdKind, Highlighter, MatchingBracketHighlighter};
use rustyline::hint::Hinter;
use rustyline::history::FileHistory;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{CompletionType, Config, Editor, Helper};

use super::complete::{Completion, call_at};
use crate::base::{Error, Result};

/// What the editor tells or asks the session.
#[derive(Debug)]
pub(super) enum Message {
    /// A finished entry; the editor waits for the next [`Prompt`].
    Line(String),
    /// Ctrl-C at the prompt: the line was cleared.
    Interrupted,
    /// Ctrl-D: the session ends.
    End,
    /// The terminal failed; the session ends with this error.
    Failed(String),
    /// Asks whether the text is an unfinished chunk.
    Incomplete(String, Sender<bool>),
    /// Asks what can stand at that byte of the line.
    Complete(String, usize, Sender<Completion>),
    /// Asks for the signature of a verb.
    Signature(String, Sender<Option<String>>),
}

/// The prompt for the next line; dropping the sender ends the editor.
struct Prompt {
    text: String,
    /// Whether it is a question: its answer is no line to be remembered.
    question: bool,
}

/// A running editor.
pub(super) struct Terminal {
    prompts: Option<Sender<Prompt>>,
    messages: Receiver<Message>,
    thread: Option<JoinHandle<()>>,
}

impl Terminal {
    /// Starts the editor with a history file; `None` keeps no history.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub(super) fn start(history: Option<PathBuf>) -> Result<Self> {
        let (prompts, prompt_receiver) = mpsc::channel();
        let (sender, messages) = mpsc::channel();
        let thread = std::thread::Builder::new()
            .name("prompt".into())
            .spawn(move || edit(history, &prompt_receiver, &sender))
            .map_err(|error| Error::internal("starting the prompt").cause(error.to_string()))?;
        Ok(Terminal { prompts: Some(prompts), messages, thread: Some(thread) })
    }

    /// Shows a prompt. Messages about this line follow until [`Message::Line`] or an end.
    pub(super) fn prompt(&self, prompt: &str) -> bool {
        self.send(prompt, false)
    }

    /// The same for a question, whose answer goes into no history.
    pub(super) fn ask(&self, question: &str) -> bool {
        self.send(question, true)
    }

    fn send(&self, text: &str, question: bool) -> bool {
        self.prompts.as_ref().is_some_and(|prompts| prompts.send(Prompt { text: text.to_owned(), question }).is_ok())
    }

    /// The next message; [`Message::End`] when the editor is gone.
    pub(super) fn next(&self) -> Message {
        self.messages.recv().unwrap_or(Message::End)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.prompts = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the prompt's thread ended by a fault");
        }
    }
}

/// What rustyline asks while a line is edited, passed on to the session.
struct Asker {
    messages: Sender<Message>,
    brackets: MatchingBracketHighlighter,
    /// The entry as far as it goes, when more lines are needed; input from a pipe may end there.
    unfinished: RefCell<Option<String>>,
}

impl Asker {
    fn ask<T>(&self, message: impl FnOnce(Sender<T>) -> Message) -> Option<T> {
        let (sender, receiver) = mpsc::channel();
        self.messages.send(message(sender)).ok()?;
        receiver.recv().ok()
    }
}

impl Completer for Asker {
    type Candidate = String;

    fn complete(&self, line: &str, position: usize, _: &rustyline::Context<'_>) -> rustyline::Result<(usize, Vec<String>)> {
        let completion = self.ask(|reply| Message::Complete(line.to_owned(), position, reply));
        Ok(completion.map_or((position, Vec::new()), |completion| (completion.start, completion.candidates)))
    }
}

impl Hinter for Asker {
    type Hint = String;

    /// Shows the signature of the call whose bracket has just been opened.
    fn hint(&self, line: &str, position: usize, _: &rustyline::Context<'_>) -> Option<String> {
        if position < line.len() || !line.ends_with('(') {
            return None;
        }
        let verb = call_at(line, position)?;
        let signature = self.ask(|reply| Message::Signature(verb, reply))??;
        signature.split_once('(').map(|(_, rest)| rest.to_owned())
    }
}

impl Validator for Asker {
    fn validate(&self, context: &mut ValidationContext<'_>) -> rustyline::Result<ValidationResult> {
        let text = context.input();
        self.unfinished.take();
        if text.starts_with(':') || text.starts_with('?') || text.trim().is_empty() {
            return Ok(ValidationResult::Valid(None));
        }
        let incomplete = self.ask(|reply| Message::Incomplete(text.to_owned(), reply)).unwrap_or(false);
        if !incomplete {
            return Ok(ValidationResult::Valid(None));
        }
        self.unfinished.replace(Some(text.to_owned()));
        Ok(ValidationResult::Incomplete)
    }
}

impl Highlighter for Asker {
    fn highlight<'l>(&self, line: &'l str, position: usize) -> Cow<'l, str> {
        self.brackets.highlight(line, position)
    }

    fn highlight_hint<'h>(&self, hint: &'h str) -> Cow<'h, str> {
        if std::env::var_os("NO_COLOR").is_some() { Cow::Borrowed(hint) } else { Cow::Owned(format!("\x1b[2m{hint}\x1b[0m")) }
    }

    fn highlight_char(&self, line: &str, position: usize, kind: CmdKind) -> bool {
        self.brackets.highlight_char(line, position, kind)
    }
}

impl Helper for Asker {}

/// The editor's thread: a prompt in, a line out.
fn edit(history: Option<PathBuf>, prompts: &Receiver<Prompt>, messages: &Sender<Message>) {
    let config = Config::builder().completion_type(CompletionType::List).history_ignore_space(true).build();
    let mut editor: Editor<Asker, FileHistory> = match Editor::with_config(config) {
        Ok(editor) => editor,
        Err(error) => {
            tell(messages, Message::Failed(error.to_string()));
            return;
        }
    };
    editor.set_helper(Some(Asker {
        messages: messages.clone(),
        brackets: MatchingBracketHighlighter::new(),
        unfinished: RefCell::default(),
    }));
    if let Some(path) = &history
        && let Err(error) = editor.load_history(path)
    {
        tracing::debug!(path = %path.display(), %error, "no history read");
    }
    while let Ok(prompt) = prompts.recv() {
        let message = match editor.readline(&prompt.text) {
            Ok(line) if prompt.question => Message::Line(line),
            Ok(line) => {
                remember(&mut editor, &line, history.as_ref());
                Message::Line(line)
            }
            Err(ReadlineError::Interrupted) => {
                if let Some(asker) = editor.helper() {
                    asker.unfinished.take();
                }
                Message::Interrupted
            }
            // The session says of what was left unfinished that it is; the next prompt ends.
            Err(ReadlineError::Eof) => editor.helper().and_then(|asker| asker.unfinished.take()).map_or(Message::End, Message::Line),
            Err(error) => Message::Failed(error.to_string()),
        };
        tell(messages, message);
    }
}

/// Sends a message; a session that is gone needs none.
fn tell(messages: &Sender<Message>, message: Message) {
    if messages.send(message).is_err() {
        tracing::debug!("the session is gone");
    }
}

/// Adds a line to the history and to its file; a history that cannot be written is worth a line in the log, not an end.
fn remember(editor: &mut Editor<Asker, FileHistory>, line: &str, history: Option<&PathBuf>) {
    let added = editor.add_history_entry(line);
    if matches!(added, Ok(true))
        && let Some(path) = history
        && let Err(error) = editor.append_history(path)
    {
        tracing::warn!(path = %path.display(), %error, "history not written");
    }
}
