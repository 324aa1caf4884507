//! What a run asked of a simulated cluster, in a file beside its journal. The cluster of such a run ends with its process; who goes on
//! with the run makes it again from the pinned fixture and from this.
//!
//! A line is written before what it says reaches the cluster: what a killed process was about to ask counts as asked. What changes
//! something is on the disk then, so that a machine that goes down loses no write that the journal knows of. Reads are not synced: of
//! those behind the last write the file may lose some, or show zeros in their place ([`sound`]), and no object differs for it.
//! What holds a secret is sealed (`seal.rs`).

use std::borrow::Cow;
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lockgate_sim::machines::{Deed, Order};
use lockgate_sim::request::{Request, User};
use serde::{Deserialize, Serialize};

use super::folder::{RunFolder, Runs};
use super::io::plain;
use super::redact::Redactor;
use super::seal::Seal;
use crate::base::json::Value as Json;
use crate::base::{Error, Kind, Reason, Result, Timestamp, base64};
use crate::cluster::{Input, Tape};

/// The name of the file.
pub const REQUESTS: &str = "requests.jsonl";

/// One line.
#[derive(Serialize, Deserialize)]
struct Line<'a> {
    /// The cluster's own time.
    at: Timestamp,
    #[serde(flatten)]
    kept: Kept<'a>,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "k", rename_all = "snake_case")]
enum Kept<'a> {
    Request(Asked<'a>),
    Held(Asked<'a>),
    Released {
        hold: u64,
    },
    Run {
        node: Cow<'a, str>,
        id: Cow<'a, str>,
        reads: bool,
        argv: Cow<'a, [String]>,
    },
    Write {
        node: Cow<'a, str>,
        id: Cow<'a, str>,
        path: Cow<'a, str>,
        text: Cow<'a, str>,
        mode: Option<u32>,
    },
    Step {
        step: Option<Cow<'a, str>>,
    },
    Stdin {
        command: u64,
        text: Cow<'a, str>,
    },
    /// It held a secret: what it was about, and the line, sealed.
    Sealed {
        about: String,
        line: String,
    },
}

fn is_empty(text: &str) -> bool {
    text.is_empty()
}

#[derive(Serialize, Deserialize)]
struct Asked<'a> {
    method: Cow<'a, str>,
    path: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "<[_]>::is_empty")]
    query: Cow<'a, [(String, String)]>,
    #[serde(default, skip_serializing_if = "is_empty")]
    content_type: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "is_empty")]
    accept: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "is_empty")]
    user_agent: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "is_empty")]
    upgrade: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "is_empty")]
    if_none_match: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "is_empty")]
    body: Cow<'a, str>,
    /// A body that is no text.
    #[serde(default, skip_serializing_if = "is_empty")]
    bytes: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    user: Option<(Cow<'a, str>, Cow<'a, [String]>)>,
}

impl<'a> Asked<'a> {
    fn of(request: &'a Request) -> Asked<'a> {
        let (body, bytes) = match std::str::from_utf8(&request.body) {
            Ok(text) => (text.into(), "".into()),
            Err(_) => ("".into(), base64::encode(&request.body).into()),
        };
        Asked {
            method: request.method.as_str().into(),
            path: request.path.as_str().into(),
            query: request.query.as_slice().into(),
            content_type: request.content_type.as_str().into(),
            accept: request.accept.as_str().into(),
            user_agent: request.user_agent.as_str().into(),
            upgrade: request.upgrade.as_str().into(),
            if_none_match: request.if_none_match.as_str().into(),
            body,
            bytes,
            user: request.user.as_ref().map(|user| (user.name.as_str().into(), user.groups.as_slice().into())),
        }
    }

    fn request(self) -> Option<Request> {
        let mut request = Request::from_uri(&self.method, "/")?;
        request.path = self.path.into_owned();
        request.query = self.query.into_owned();
        request.content_type = self.content_type.into_owned();
        request.accept = self.accept.into_owned();
        request.user_agent = self.user_agent.into_owned();
        request.upgrade = self.upgrade.into_owned();
        request.if_none_match = self.if_none_match.into_owned();
        request.body = if self.bytes.is_empty() { self.body.into_owned().into_bytes() } else { base64::decode(&self.bytes)? };
        request.user = self.user.map(|(name, groups)| User { name: name.into_owned(), groups: groups.into_owned() });
        Some(request)
    }
}

impl<'a> Kept<'a> {
    fn of(input: &'a Input<'_>) -> Kept<'a> {
        match input {
            Input::Request(request) => Kept::Request(Asked::of(request)),
            Input::Held(request) => Kept::Held(Asked::of(request)),
            Input::Released(hold) => Kept::Released { hold: *hold },
            Input::Step(step) => Kept::Step { step: step.as_deref().map(Cow::Borrowed) },
            Input::Stdin(command, text) => Kept::Stdin { command: *command, text: text.as_ref().into() },
            Input::Order(order) => {
                let Order { node, id, reads, deed } = &**order;
                let (node, id) = (node.as_str().into(), id.as_str().into());
                match deed {
                    Deed::Run { argv } => Kept::Run { node, id, reads: *reads, argv: argv.as_slice().into() },
                    Deed::Write { path, text, mode } => {
                        Kept::Write { node, id, path: path.as_str().into(), text: text.as_str().into(), mode: *mode }
                    }
                }
            }
        }
    }

    /// What came into the cluster; none when the line makes no sense.
    fn input(self) -> Option<Input<'static>> {
        let order = |node: Cow<'_, str>, id: Cow<'_, str>, reads, deed| {
            Input::Order(Cow::Owned(Order { node: node.into_owned(), id: id.into_owned(), reads, deed }))
        };
        Some(match self {
            Kept::Request(asked) => Input::Request(Cow::Owned(asked.request()?)),
            Kept::Held(asked) => Input::Held(Cow::Owned(asked.request()?)),
            Kept::Released { hold } => Input::Released(hold),
            Kept::Step { step } => Input::Step(step.map(|step| Cow::Owned(step.into_owned()))),
            Kept::Stdin { command, text } => Input::Stdin(command, Cow::Owned(text.into_owned())),
            Kept::Run { node, id, reads, argv } => order(node, id, reads, Deed::Run { argv: argv.into_owned() }),
            Kept::Write { node, id, path, text, mode } => {
                order(node, id, false, Deed::Write { path: path.into_owned(), text: text.into_owned(), mode })
            }
            Kept::Sealed { .. } => return None,
        })
    }
}

/// The tape of a run: in memory until the run has its folder.
#[derive(Clone)]
pub struct Requests(Arc<Mutex<State>>);

struct State {
    redactor: Redactor,
    place: Place,
}

enum Place {
    Memory(Vec<Plain>),
    File(Book),
}

/// The file of a run, and the key that it seals with once there is a secret.
struct Book {
    path: PathBuf,
    file: File,
    runs: Runs,
    seal: Option<Seal>,
}

/// A line as it was asked.
struct Plain {
    at: Timestamp,
    line: String,
    /// What it is about, when it holds a secret.
    about: Option<String>,
    /// Whether it is on the disk before the cluster is asked.
    synced: bool,
}

impl Book {
    fn put(&mut self, plain: &Plain) -> Result<()> {
        match &plain.about {
            None => self.file.write_all(plain.line.as_bytes()),
            Some(about) => {
                let seal = match &self.seal {
                    Some(seal) => seal,
                    None => self.seal.insert(Seal::make(&self.runs)?),
                };
                let sealed = seal.seal(about, plain.line.as_bytes()).map_err(|error| unkept(&self.path, &error))?;
                let line = text(&Line { at: plain.at, kept: Kept::Sealed { about: about.clone(), line: sealed } })?;
                self.file.write_all(line.as_bytes())
            }
        }
        .map_err(|error| unkept(&self.path, &error))
    }

    fn sync(&self) -> Result<()> {
        self.file.sync_data().map_err(|error| unkept(&self.path, &error))
    }
}

impl fmt::Debug for Requests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.lock().place {
            Place::Memory(lines) => write!(f, "Requests({} lines)", lines.len()),
            Place::File(book) => write!(f, "Requests({})", book.path.display()),
        }
    }
}

impl Requests {
    /// One that keeps everything in memory at first. What `redactor` finds is sealed.
    #[must_use]
    pub fn new(redactor: Redactor) -> Requests {
        Requests(Arc::new(Mutex::new(State { redactor, place: Place::Memory(Vec::new()) })))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps everything in the folder of the run from now on, behind what is there of a former process; first what was asked until now.
    /// A run that takes another one back begins with what that one had asked.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn settle(&self, folder: &RunFolder, before: Option<&RunFolder>) -> Result<()> {
        let path = folder.path().join(REQUESTS);
        let mut state = self.lock();
        let Place::Memory(lines) = &state.place else { return Err(Error::internal("the requests of a run are kept already")) };
        let begun = (|| {
            let mut file = OpenOptions::new().append(true).create(true).mode(0o600).open(&path)?;
            if let Some(before) = before {
                file.write_all(sound(&fs::read(before.path().join(REQUESTS))?))?;
            } else {
                let there = fs::read(&path)?;
                file.set_len(sound(&there).len() as u64)?;
            }
            Ok(file)
        })();
        let file = begun.map_err(|error| unkept(&path, &error))?;
        let mut book = Book { path, file, runs: folder.runs(), seal: None };
        lines.iter().try_for_each(|line| book.put(line))?;
        book.sync()?;
        state.place = Place::File(book);
        Ok(())
    }
}

impl Tape for Requests {
    fn keep(&mut self, at: Timestamp, input: &Input<'_>) -> Result<()> {
        let mut state = self.lock();
        let line = text(&Line { at, kept: Kept::of(input) })?;
        let about = secret(&state.redactor, input, &line);
        let plain = Plain { at, line, about, synced: changes(input) };
        match &mut state.place {
            Place::Memory(lines) => lines.push(plain),
            Place::File(book) => {
                book.put(&plain)?;
                if plain.synced {
                    book.sync()?;
                }
            }
        }
        Ok(())
    }
}

fn text(line: &Line<'_>) -> Result<String> {
    let text = serde_json::to_string(line).map_err(|error| Error::internal("keeping a request").cause(error.to_string()))?;
    Ok(text + "\n")
}

/// Whether the cluster may be another one after it.
fn changes(input: &Input<'_>) -> bool {
    match input {
        // A command in a container is asked for with GET, and may do anything.
        Input::Request(request) => request.method.as_str() != "GET" || !request.upgrade.is_empty(),
        Input::Order(order) => !order.reads,
        Input::Held(_) | Input::Released(_) | Input::Stdin(..) => true,
        Input::Step(_) => false,
    }
}

/// What the line is about, when it holds something that no file may have as it is.
fn secret(redactor: &Redactor, input: &Input<'_>, line: &str) -> Option<String> {
    let about = match input {
        Input::Request(request) | Input::Held(request) => {
            let writes = request.method.as_str() != "GET";
            let is_secret = request.path.contains("/secrets");
            if writes && is_secret && !request.body.is_empty() {
                learn(redactor, &request.body);
                // Its body is one, known or not.
                let options = request.method.as_str() == "DELETE";
                if !options {
                    return Some(format!("{} {}", request.method.as_str(), request.path));
                }
            }
            format!("{} {}", request.method.as_str(), request.path)
        }
        Input::Order(order) => match &order.deed {
            Deed::Run { argv } => format!("{} on {}", argv.first().map_or("", String::as_str), order.node),
            Deed::Write { path, .. } => format!("{path} on {}", order.node),
        },
        Input::Stdin(..) => "standard input of a command".to_owned(),
        Input::Released(_) | Input::Step(_) => return None,
    };
    matches!(redactor.text(line), Cow::Owned(_)).then(|| redactor.text(&about).into_owned())
}

fn learn(redactor: &Redactor, body: &[u8]) {
    if let Ok(body) = serde_json::from_slice::<Json>(body) {
        redactor.learn_part(&body);
    }
}

/// Without an end that is torn: a last line without its end, and everything behind the first zero, which stands where the disk has
/// nothing. What it says is nothing but reads, or reached no cluster.
fn sound(bytes: &[u8]) -> &[u8] {
    let written = memchr::memchr(0, bytes).and_then(|at| bytes.get(..at)).unwrap_or(bytes);
    let end = memchr::memrchr(b'\n', written).map_or(0, |at| at + 1);
    written.get(..end).unwrap_or_default()
}

/// What the processes of a run asked of their cluster.
///
/// # Errors
/// When nothing of it was kept, a line of it is broken, or one of it is sealed and the key is not in the folder of runs.
pub fn read(folder: &RunFolder) -> Result<Vec<(Timestamp, Input<'static>)>> {
    let run = folder.id();
    let refused = |why: String| {
        let message = format!("the simulated cluster of run `{run}` cannot be made again");
        Error::new(Kind::Refused, Reason::Refused, message).cause(why)
    };
    let bytes = match fs::read(folder.path().join(REQUESTS)) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Err(refused(format!("its folder has no `{REQUESTS}`")).hint("of a copy, copy the whole folder again"));
        }
        Err(error) => return Err(refused(format!("its file `{REQUESTS}` cannot be read: {}", plain(&error)))),
    };
    let (mut inputs, mut seal) = (Vec::new(), None);
    for (number, line) in sound(&bytes).split(|byte| *byte == b'\n').enumerate().filter(|(_, line)| !line.is_empty()) {
        let broken = |why: &str| {
            refused(format!("line {} of its file `{REQUESTS}` {why}", number + 1)).hint("nobody may write in that file but lockgate")
        };
        let mut line: Line<'_> = serde_json::from_slice(line).map_err(|error| broken(&format!("cannot be read: {error}")))?;
        if let Kept::Sealed { about, line: sealed } = &line.kept {
            let seal = match &seal {
                Some(seal) => seal,
                None => seal.insert(Seal::find(&folder.runs()).map_err(|error| {
                    let why = refused(format!("`{about}` held a secret, which is sealed")).cause(error.message.clone());
                    let why = error.causes.iter().cloned().fold(why, Error::cause);
                    error.hint.iter().cloned().fold(why, Error::hint)
                })?),
            };
            let opened = seal
                .open(about, sealed)
                .ok_or_else(|| broken("is sealed with another key than the one in the folder of runs, or was changed"))?;
            line = serde_json::from_slice(&opened).map_err(|error| broken(&format!("cannot be read: {error}")))?;
        }
        let at = line.at;
        inputs.push((at, line.kept.input().ok_or_else(|| broken("makes no sense"))?));
    }
    Ok(inputs)
}

fn unkept(path: &Path, error: &std::io::Error) -> Error {
    Error::internal(format!("`{}` cannot be written", path.display())).cause(plain(error))
}

#[cfg(test)]
#[path = "requests_tests.rs"]
mod tests;
