//! The guarded door: the one place where a process is started.
//!
//! A child gets no shell, an environment that is made for it, a process group of its own (a Ctrl-C of the terminal does not reach it),
//! a time limit and room for so much output. It is asked to end (SIGTERM) before it is made to (SIGKILL), and it does not outlive the
//! call that started it. In a plan and in a simulated cluster the door is shut, except for a child that is *led*: one whose only way
//! to a cluster is an endpoint of this run ([`super::endpoint`]).

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child as Running, Command};

use super::cancel::{Cancel, Stage};
use super::client::Cluster;
use super::endpoint::Endpoint;
use super::orphan::Note;
use crate::base::clock::{Duration, later};
use crate::base::json::json;
use crate::base::{Clock, Error, Kind, Reason, Result, Span};

/// How much of each output is kept when a child says nothing else.
const KEPT: usize = 1 << 20;
/// How long a child may take to end after it was asked to.
const GRACE: Span = Span::from_secs(30);
/// How often at most it is looked at whether the time of a child is over.
const LOOK: Duration = Duration::from_millis(100);
/// How long the outputs of a child that has ended may stay open: somebody whom it left behind holds them.
const LEFT_BEHIND: Duration = Duration::from_secs(2);

/// What every child keeps of the environment: where programs and homes are, and which proxies there are.
const INHERITED: [&str; 13] = [
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "TMPDIR",
    "LANG",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
];

/// A process that is to be started.
#[derive(Clone, Debug)]
pub struct Child {
    program: PathBuf,
    arguments: Vec<OsString>,
    environment: BTreeMap<OsString, OsString>,
    folder: Option<PathBuf>,
    stdin: Vec<u8>,
    kept: usize,
    limit: Span,
    grace: Span,
    ends_at: Stage,
    noted_in: Option<PathBuf>,
}

/// How a process ended and what it said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Its exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// Whether it was asked to end because its time was over.
    pub late: bool,
    /// Its standard output, from the beginning; bytes that are no text become replacement characters.
    pub stdout: String,
    /// Its standard error, up to the end.
    pub stderr: String,
    /// Whether an output was longer than what is kept of it.
    pub truncated: bool,
}

impl Ended {
    /// Whether it ended by itself with 0.
    #[must_use]
    pub fn is_well(&self) -> bool {
        self.code == Some(0) && !self.late
    }
}

impl Child {
    /// This program with these words; no shell reads them. Give the program's whole path ([`on_path`] finds it).
    #[must_use]
    pub fn new(program: impl Into<PathBuf>, arguments: impl IntoIterator<Item = impl Into<OsString>>) -> Child {
        let inherited = INHERITED.iter().filter_map(|name| Some((OsString::from(name), std::env::var_os(name)?)));
        Child {
            program: program.into(),
            arguments: arguments.into_iter().map(Into::into).collect(),
            environment: inherited.collect(),
            folder: None,
            stdin: Vec::new(),
            kept: KEPT,
            limit: Span::from_secs(60),
            grace: GRACE,
            ends_at: Stage::Abandoned,
            noted_in: None,
        }
    }

    /// Sets a variable of its environment, which is otherwise empty but for `PATH`, `HOME`, the user, the locale and the proxies.
    #[must_use]
    pub fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Child {
        self.environment.insert(name.into(), value.into());
        self
    }

    /// Its working folder; that of this process when left out.
    #[must_use]
    pub fn folder(mut self, folder: impl Into<PathBuf>) -> Child {
        self.folder = Some(folder.into());
        self
    }

    /// What it reads; nothing when left out.
    #[must_use]
    pub fn stdin(mut self, text: impl Into<Vec<u8>>) -> Child {
        self.stdin = text.into();
        self
    }

    /// How many bytes are kept of each output. Default 1 MiB.
    #[must_use]
    pub fn kept(mut self, bytes: usize) -> Child {
        self.kept = bytes;
        self
    }

    /// How long it may take, in the time of the world; that of a led child that changes something also counts in
    /// virtual time. Default 60 s.
    #[must_use]
    pub fn limit(mut self, limit: Span) -> Child {
        self.limit = limit;
        self
    }

    /// How long it may take to end after it was asked to. Default 30 s.
    #[must_use]
    pub fn grace(mut self, grace: Span) -> Child {
        self.grace = grace;
        self
    }

    /// The first Ctrl-C ends it: it changes nothing. Otherwise the second does.
    #[must_use]
    pub fn ends_at_once(mut self) -> Child {
        self.ends_at = Stage::Stopping;
        self
    }

    /// Where it is noted while it works, so that whoever goes on with a run that was killed can end it.
    fn noted_in(mut self, folder: Option<PathBuf>) -> Child {
        self.noted_in = folder;
        self
    }

    /// The name of its program.
    fn name(&self) -> String {
        self.program.file_name().map_or_else(|| self.program.display().to_string(), |name| name.to_string_lossy().into_owned())
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(&self.arguments)
            .env_clear()
            .envs(&self.environment)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        if let Some(folder) = &self.folder {
            command.current_dir(folder);
        }
        command
    }
}

/// The first program of this name in the folders of `PATH`.
#[must_use]
pub fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| is_program(file))
}

/// Whether this is a file that may be run.
#[must_use]
pub fn is_program(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::metadata(file).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

impl Cluster {
    /// Starts a process and waits for its end.
    ///
    /// # Errors
    /// `refused` in a plan or a simulated cluster; `command_missing` when the program is not there;
    /// `command_failed` when it cannot be started; `interrupted` when Ctrl-C ended it. A child that fails, or that was ended because
    /// its time was over, is no error here: see [`Ended`].
    pub async fn start(&self, child: &Child) -> Result<Ended> {
        let (label, name) = (self.label(), child.name());
        if label.plan || label.simulated {
            let place = if label.plan { "a plan" } else { "a simulated cluster" };
            let message = format!("`{name}` is not started: it would leave {place} and act on the world");
            return Err(Error::new(Kind::Refused, Reason::Refused, message));
        }
        self.cancel().check()?;
        run(child, self.cancel(), std::future::pending(), || Duration::ZERO).await
    }

    /// Starts a process whose only kubeconfig is that of the endpoint, and waits for its end. That is allowed in a plan too: what it
    /// asks of the cluster lands in the copy.
    ///
    /// # Errors
    /// As [`Cluster::start`], without the refusal.
    pub async fn lead(&self, child: &Child, endpoint: &mut Endpoint) -> Result<Ended> {
        self.cancel().check()?;
        let child = child.clone().env("KUBECONFIG", endpoint.kubeconfig()).noted_in(self.children());
        let (over, begun) = (later(self.clock().now(), child.limit.as_duration()), self.sent());
        let writes = || self.requests_after(begun).iter().filter(|request| request.verb.is_write()).count();
        // Ends of the same endpoint: its time, what of that the child had to wait for the cluster, and its service.
        let (time, waits, served) = endpoint.parts();
        // What changes nothing waits for nothing in the cluster.
        let is_over = async {
            if child.ends_at == Stage::Stopping {
                std::future::pending().await
            } else {
                time.reached(|| later(over, waits.whole()), writes).await
            }
        };
        tokio::select! {
            ended = run(&child, self.cancel(), is_over, || waits.whole()) => ended,
            error = served.broken() => Err(error),
        }
    }
}

/// The process group of a child; what is left of it ends with this value.
struct Group {
    id: Option<Pid>,
    name: String,
}

impl Group {
    fn signal(&self, signal: Signal) {
        // It may have ended in between, which is what is wanted.
        if let Some(Err(error)) = self.id.map(|id| killpg(id, signal)) {
            tracing::debug!(target: "lockgate::child", name = %self.name, %signal, %error, "not signalled");
        }
    }

    /// It has ended and its number may be somebody else's from now on.
    fn is_over(&mut self) {
        self.id = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.signal(Signal::SIGKILL);
    }
}

/// `spared`: how much of the time so far does not count.
async fn run(child: &Child, cancel: &Cancel, over: impl Future<Output = Result<()>>, spared: impl Fn() -> Duration) -> Result<Ended> {
    let name = child.name();
    let mut running = child.command().spawn().map_err(|error| cannot_start(&name, &child.program, &error))?;
    tracing::debug!(target: "lockgate::child", %name, pid = running.id(), "started");
    let id = running.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw);
    let mut group = Group { id, name: name.clone() };
    let _note = child.noted_in.as_deref().zip(id).and_then(|(folder, id)| Note::of(folder, &name, id.as_raw()));
    let (stdin, stdout, stderr) = (running.stdin.take(), running.stdout.take(), running.stderr.take());
    let input = async {
        if let Some(mut stdin) = stdin {
            // A child that does not read all of its input is not at fault.
            stdin.write_all(&child.stdin).await.ok();
        }
    };
    let (mut out, mut err) = (Kept::beginning(child.kept), Kept::end(child.kept));
    let clock = Clock::real();
    let (status, late) = {
        let mut outputs = Box::pin(async { tokio::join!(input, out.read(stdout), err.read(stderr)) });
        let mut all_said = false;
        let (status, late) = {
            let ending = end(&mut running, child, &group, cancel, over, spared);
            tokio::pin!(ending);
            loop {
                tokio::select! {
                    ended = &mut ending => break ended,
                    _ = &mut outputs, if !all_said => all_said = true,
                }
            }
        };
        if !all_said {
            tokio::select! {
                _ = &mut outputs => {}
                // Somebody of its group holds the outputs, so that the group's number is still its own.
                _ = clock.sleep_until(later(clock.now(), LEFT_BEHIND)) => group.signal(Signal::SIGKILL),
            }
        }
        (status, late)
    };
    group.is_over();
    let status = status.map_err(|error| Error::internal(format!("waiting for `{name}`")).cause(error.to_string()))?;
    tracing::debug!(target: "lockgate::child", %name, %status, late, "ended");
    let truncated = out.more || err.more;
    let ended = Ended { code: status.code(), signal: status.signal(), late, stdout: out.text(), stderr: err.text(), truncated };
    if !late && cancel.stage() >= child.ends_at && !ended.is_well() {
        return Err(Cancel::error().cause(format!("`{name}` was ended")).details(json!({ "outcome": "unknown" })));
    }
    Ok(ended)
}

/// Waits for the end of a child, and brings it about when its time is over or Ctrl-C wants it. Tells whether its time was over.
async fn end(
    running: &mut Running,
    child: &Child,
    group: &Group,
    cancel: &Cancel,
    over: impl Future<Output = Result<()>>,
    spared: impl Fn() -> Duration,
) -> (std::io::Result<ExitStatus>, bool) {
    let clock = Clock::real();
    let deadline = later(clock.now(), child.limit.as_duration());
    let too_late = async {
        loop {
            let next = later(deadline, spared());
            if clock.now() >= next {
                return;
            }
            // What is spared meanwhile is seen then; while it grows with the time, not more often than now and then.
            let pause = later(clock.now(), LOOK);
            if clock.sleep_until(next.max(pause)).await.is_err() {
                return;
            }
        }
    };
    let late = tokio::select! {
        biased;
        status = running.wait() => return (status, false),
        () = cancel.reached(child.ends_at) => false,
        () = too_late => true,
        // A cluster whose time cannot be moved will answer nothing either.
        _ = over => true,
    };
    group.signal(Signal::SIGTERM);
    let last = later(clock.now(), child.grace.as_duration());
    tokio::select! {
        biased;
        status = running.wait() => return (status, late),
        _ = clock.sleep_until(last) => {}
    }
    group.signal(Signal::SIGKILL);
    (running.wait().await, late)
}

fn cannot_start(name: &str, program: &Path, error: &std::io::Error) -> Error {
    let said = error.to_string().split(" (os error").next().unwrap_or_default().to_lowercase();
    let reason = match error.kind() {
        std::io::ErrorKind::NotFound => Reason::CommandMissing,
        _ => Reason::CommandFailed,
    };
    let message = format!("cannot start `{name}`");
    Error::new(Kind::Input, reason, message).cause(format!("{}: {said}", program.display()))
}

/// What is kept of an output.
struct Kept {
    bytes: Vec<u8>,
    limit: usize,
    /// Whether the end is kept instead of the beginning.
    end: bool,
    more: bool,
}

impl Kept {
    fn beginning(limit: usize) -> Kept {
        Kept { bytes: Vec::new(), limit, end: false, more: false }
    }

    fn end(limit: usize) -> Kept {
        Kept { end: true, ..Kept::beginning(limit) }
    }

    async fn read(&mut self, stream: Option<impl AsyncRead + Unpin>) {
        let Some(mut stream) = stream else { return };
        let mut buffer = vec![0; 64 << 10];
        // A pipe that breaks ends as one that is closed: the exit code tells.
        while let Ok(length @ 1..) = stream.read(&mut buffer).await {
            self.take(buffer.get(..length).unwrap_or_default());
        }
    }

    fn take(&mut self, bytes: &[u8]) {
        let room = if self.end { bytes.len() } else { self.limit.saturating_sub(self.bytes.len()).min(bytes.len()) };
        self.bytes.extend_from_slice(bytes.get(..room).unwrap_or_default());
        self.more |= room < bytes.len();
        // Cutting now and then costs less than always.
        if self.end && self.bytes.len() > self.limit.saturating_mul(2) {
            self.cut();
        }
    }

    fn cut(&mut self) {
        let surplus = self.bytes.len().saturating_sub(self.limit);
        self.more |= surplus > 0;
        self.bytes.drain(..surplus);
    }

    fn text(&mut self) -> String {
        self.cut();
        String::from_utf8_lossy(&self.bytes).into_owned()
    }
}

#[cfg(test)]
#[path = "door_tests.rs"]
mod tests;
