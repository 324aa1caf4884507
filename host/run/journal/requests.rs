//! What a run asked of a simulated cluster, in a file beside its journal. The cluster of such a run ends with its process; who goes on
//! with the run makes it again from the pinned fixture and from this.
//!
//! A line is written before what it says reaches the cluster, and is not synced: what a killed process was about to ask counts as asked.
//! A machine that goes down may lose the last lines; then the journal knows of writes that the cluster does not have, and says so as of
//! any cluster that is not as the run left it. What holds a secret is not kept, and a run that wrote such a thing cannot go on.

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

use super::folder::RunFolder;
use super::io::plain;
use super::redact::Redactor;
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
    /// It held a secret: only what it was about is kept.
    Secret {
        about: String,
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

    /// What came into the cluster; the error is what a secret was about, or none when the line makes no sense.
    fn input(self) -> std::result::Result<Input<'static>, Option<String>> {
        let order = |node: Cow<'_, str>, id: Cow<'_, str>, reads, deed| {
            Input::Order(Cow::Owned(Order { node: node.into_owned(), id: id.into_owned(), reads, deed }))
        };
        Ok(match self {
            Kept::Request(asked) => Input::Request(Cow::Owned(asked.request().ok_or(None)?)),
            Kept::Held(asked) => Input::Held(Cow::Owned(asked.request().ok_or(None)?)),
            Kept::Released { hold } => Input::Released(hold),
            Kept::Step { step } => Input::Step(step.map(|step| Cow::Owned(step.into_owned()))),
            Kept::Run { node, id, reads, argv } => order(node, id, reads, Deed::Run { argv: argv.into_owned() }),
            Kept::Write { node, id, path, text, mode } => {
                order(node, id, false, Deed::Write { path: path.into_owned(), text: text.into_owned(), mode })
            }
            Kept::Secret { about } => return Err(Some(about)),
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
    Memory(Vec<u8>),
    File(PathBuf, File),
}

impl fmt::Debug for Requests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.lock().place {
            Place::Memory(lines) => write!(f, "Requests({} bytes)", lines.len()),
            Place::File(path, _) => write!(f, "Requests({})", path.display()),
        }
    }
}

impl Requests {
    /// One that keeps everything in memory at first. What `redactor` finds is no text that may be kept.
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
        let kept = (|| {
            let mut file = OpenOptions::new().append(true).create(true).mode(0o600).open(&path)?;
            if let Some(before) = before {
                file.write_all(whole(&fs::read(before.path().join(REQUESTS))?))?;
            } else {
                let there = fs::read(&path)?;
                file.set_len(whole(&there).len() as u64)?;
            }
            file.write_all(lines)?;
            file.sync_data()?;
            Ok(file)
        })();
        state.place = Place::File(path.clone(), kept.map_err(|error| unkept(&path, &error))?);
        Ok(())
    }
}

impl Tape for Requests {
    fn keep(&mut self, at: Timestamp, input: &Input<'_>) -> Result<()> {
        let mut state = self.lock();
        let mut line = text(&Line { at, kept: Kept::of(input) })?;
        if let Some(about) = secret(&state.redactor, input, &line) {
            line = text(&Line { at, kept: Kept::Secret { about } })?;
        }
        match &mut state.place {
            Place::Memory(lines) => lines.extend_from_slice(line.as_bytes()),
            Place::File(path, file) => file.write_all(line.as_bytes()).map_err(|error| unkept(path, &error))?,
        }
        Ok(())
    }
}

fn text(line: &Line<'_>) -> Result<String> {
    let text = serde_json::to_string(line).map_err(|error| Error::internal("keeping a request").cause(error.to_string()))?;
    Ok(text + "\n")
}

/// What the line is about, when it holds something that no file may have.
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
        Input::Released(_) | Input::Step(_) => return None,
    };
    matches!(redactor.text(line), Cow::Owned(_)).then(|| redactor.text(&about).into_owned())
}

fn learn(redactor: &Redactor, body: &[u8]) {
    if let Ok(body) = serde_json::from_slice::<Json>(body) {
        redactor.learn_part(&body);
    }
}

/// Without a last line that is torn: what it says reached no cluster.
fn whole(bytes: &[u8]) -> &[u8] {
    let end = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    bytes.get(..end).unwrap_or_default()
}

/// What the processes of a run asked of their cluster.
///
/// # Errors
/// When nothing of it was kept, a line of it is broken, or something in it held a secret.
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
    let mut inputs = Vec::new();
    for (number, line) in whole(&bytes).split(|byte| *byte == b'\n').enumerate().filter(|(_, line)| !line.is_empty()) {
        let broken = |why: &str| {
            refused(format!("line {} of its file `{REQUESTS}` {why}", number + 1)).hint("nobody may write in that file but lockgate")
        };
        let line: Line<'_> = serde_json::from_slice(line).map_err(|error| broken(&format!("cannot be read: {error}")))?;
        let input = line.kept.input().map_err(|about| match about {
            Some(about) => refused(format!("`{about}` held a secret, which no record keeps"))
                .hint("begin the run again; `lockgate sandbox` serves a simulated cluster that outlives a run"),
            None => broken("makes no sense"),
        })?;
        inputs.push((line.at, input));
    }
    Ok(inputs)
}

fn unkept(path: &Path, error: &std::io::Error) -> Error {
    Error::internal(format!("`{}` cannot be written", path.display())).cause(plain(error))
}

#[cfg(test)]
#[path = "requests_tests.rs"]
mod tests;
