//! Running the product's own binary against a control plane.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::Outcome;
use super::plane::ControlPlane;
use super::process::path_of;

/// Longer than any run here takes; a run that is not over by then hangs.
const LIMIT: Duration = Duration::from_secs(600);

static STARTED: AtomicUsize = AtomicUsize::new(0);

/// A run that goes on beside the test. Dropping it kills it.
#[derive(Debug)]
pub(crate) struct Running {
    command: String,
    child: Child,
    out: PathBuf,
    err: PathBuf,
}

/// How a run ended and what it said.
#[derive(Clone, Debug)]
pub(crate) struct Finished {
    /// The command line, for messages.
    pub(crate) command: String,
    /// Its exit code; nothing when a signal ended it.
    pub(crate) code: Option<i32>,
    /// What it wrote as data.
    pub(crate) stdout: String,
    /// What it said.
    pub(crate) stderr: String,
}

/// Starts `lockgate ARGUMENTS` as this user of the control plane, without a terminal.
///
/// # Errors
/// It could not be started.
pub(crate) fn start(plane: &ControlPlane, user: &str, arguments: &[&str]) -> Outcome<Running> {
    launch(plane, Some(user), arguments)
}

/// Starts it, with a cluster when it is somebody's.
fn launch(plane: &ControlPlane, user: Option<&str>, arguments: &[&str]) -> Outcome<Running> {
    let number = STARTED.fetch_add(1, Ordering::Relaxed);
    let file = |name: &str| plane.path().join(format!("lockgate-{number}.{name}"));
    let (out, err) = (file("out"), file("err"));
    let create = |path: &Path| File::create(path).map_err(|error| format!("creating {}: {error}", path.display()));
    let mut command = Command::new(env!("CARGO_BIN_EXE_lockgate"));
    command.args(arguments);
    if let Some(user) = user {
        command.args(["--context", "real", "--kubeconfig"]).arg(plane.kubeconfig(user));
    }
    let child = command
        .current_dir(plane.path())
        // The user's own settings must not matter.
        .env("HOME", plane.path())
        .env("PATH", path_of(plane.path())?)
        .env_remove("KUBECONFIG")
        .env_remove("LOCKGATE_LOG")
        .env("NO_COLOR", "1")
        .stdin(Stdio::null())
        .stdout(create(&out)?)
        .stderr(create(&err)?)
        .spawn()
        .map_err(|error| format!("starting lockgate: {error}"))?;
    Ok(Running { command: format!("lockgate {}", arguments.join(" ")), child, out, err })
}

/// Runs it to its end.
///
/// # Errors
/// As [`start`] and [`Running::finish`].
pub(crate) fn run(plane: &ControlPlane, user: &str, arguments: &[&str]) -> Outcome<Finished> {
    start(plane, user, arguments)?.finish()
}

/// Runs a command that is about runs of this machine and no cluster, to its end.
///
/// # Errors
/// As [`run`].
pub(crate) fn about(plane: &ControlPlane, arguments: &[&str]) -> Outcome<Finished> {
    launch(plane, None, arguments)?.finish()
}

impl Running {
    /// Sends it a signal.
    ///
    /// # Errors
    /// It is over.
    pub(crate) fn signal(&self, signal: Signal) -> Outcome {
        let id = i32::try_from(self.child.id()).map_err(|error| error.to_string())?;
        kill(Pid::from_raw(id), signal).map_err(|error| format!("{signal} to {}: {error}", self.command))
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// It is not over in time; it is killed then.
    pub(crate) fn finish(mut self) -> Outcome<Finished> {
        let start = Instant::now();
        loop {
            match self.child.try_wait() {
                Ok(Some(status)) => return Ok(self.said(status.code())),
                Ok(None) if start.elapsed() < LIMIT => std::thread::sleep(Duration::from_millis(10)),
                Ok(None) => return Err(format!("not over after {} s: {:?}", LIMIT.as_secs(), self.said(None))),
                Err(error) => return Err(format!("waiting for {}: {error}", self.command)),
            }
        }
    }

    fn said(&self, code: Option<i32>) -> Finished {
        let text = |path: &Path| std::fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
        Finished { command: self.command.clone(), code, stdout: text(&self.out), stderr: text(&self.err) }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // One that is over already cannot be killed: that is the wanted state.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

impl Finished {
    /// Fails unless it ended with this code.
    ///
    /// # Errors
    /// The code that it ended with, and all that it said.
    pub(crate) fn expect_code(&self, code: i32) -> Outcome {
        if self.code == Some(code) { Ok(()) } else { Err(format!("exit {:?} instead of {code}\n{}", self.code, self.transcript())) }
    }

    /// Fails unless it said this, on either stream.
    ///
    /// # Errors
    /// All that it said.
    pub(crate) fn expect_said(&self, words: &str) -> Outcome {
        if self.stdout.contains(words) || self.stderr.contains(words) {
            Ok(())
        } else {
            Err(format!("nothing was said about {words:?}\n{}", self.transcript()))
        }
    }

    fn transcript(&self) -> String {
        format!("$ {}\n{}--- stderr ---\n{}", self.command, self.stdout, self.stderr)
    }
}
