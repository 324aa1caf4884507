//! Children that outlive the process that started them: their numbers are in the folder of the run while they work, and whoever goes on with
//! the run ends them first (design §5). They can do nothing more: their only way to the cluster was an endpoint of that process.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use crate::base::clock::{self, Duration};
use crate::base::{Error, Result};

/// How long one that was asked to end may take.
const GRACE: Duration = Duration::from_secs(5);
/// The pause between two looks.
const PAUSE: Duration = Duration::from_millis(50);

/// What is noted of a child, which leads a process group of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Noted {
    name: String,
    pid: i32,
    /// When it was started, as the kernel counts: another process of its number has another time. None where the kernel does not tell.
    started: Option<u64>,
}

/// The note of a child that works; gone with this value.
#[derive(Debug)]
pub(super) struct Note(PathBuf);

impl Note {
    /// Notes it in this folder. A child that cannot be noted works all the same.
    pub(super) fn of(folder: &Path, name: &str, pid: i32) -> Option<Note> {
        let path = folder.join(pid.to_string());
        let noted = Noted { name: name.to_owned(), pid, started: started(pid) };
        let written = serde_json::to_vec(&noted).map_err(std::io::Error::other).and_then(|text| {
            let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path)?;
            file.write_all(&text)
        });
        match written {
            Ok(()) => Some(Note(path)),
            Err(error) => {
                tracing::warn!(target: "lockgate::child", %error, path = %path.display(), "not noted");
                None
            }
        }
    }
}

impl Drop for Note {
    fn drop(&mut self) {
        // Who goes on with the run may have removed it.
        fs::remove_file(&self.0).ok();
    }
}

/// Ends what an earlier process of a run has left behind, with all that it started; gives what was ended, as ``helm (process 7)``.
///
/// # Errors
/// When the folder cannot be read or a note not removed.
pub fn end_all(folder: &Path) -> Result<Vec<String>> {
    let broken = |error: std::io::Error| Error::internal(format!("reading `{}`", folder.display())).cause(error.to_string());
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(broken)?,
    };
    let mut ended = Vec::new();
    for entry in entries {
        let path = entry.map_err(broken)?.path();
        // What is half written was noted by who died over it.
        let noted = fs::read(&path).ok().and_then(|text| serde_json::from_slice::<Noted>(&text).ok());
        if let Some(noted) = noted.filter(Noted::lives) {
            noted.end();
            ended.push(format!("{} (process {})", noted.name, noted.pid));
        }
        fs::remove_file(&path).map_err(broken)?;
    }
    Ok(ended)
}

impl Noted {
    /// Whether the very process is there: where its start is not known, nobody can say.
    fn lives(&self) -> bool {
        self.pid > 1 && self.started.is_some() && started(self.pid) == self.started
    }

    fn end(&self) {
        let group = Pid::from_raw(self.pid);
        for signal in [Signal::SIGTERM, Signal::SIGKILL] {
            if let Err(error) = killpg(group, signal) {
                tracing::debug!(target: "lockgate::child", %error, %signal, pid = self.pid, "not signalled");
            }
            let mut waited = Duration::ZERO;
            while self.lives() && waited < GRACE {
                clock::pause(PAUSE);
                waited += PAUSE;
            }
            if !self.lives() {
                return;
            }
        }
    }
}

/// The start of a process, in ticks since the machine began; none for one that is not there, or has ended and was not waited for.
fn started(pid: i32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in brackets may hold anything, brackets too.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    if fields.next()? == "Z" {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::CommandExt as _;
    use std::process::{Child, Command};

    use super::*;

    fn sleeper() -> Child {
        Command::new("/bin/sh").args(["-c", "sleep 60 & sleep 60"]).process_group(0).spawn().unwrap()
    }

    fn pid(child: &Child) -> i32 {
        i32::try_from(child.id()).unwrap()
    }

    #[test]
    fn what_was_left_is_ended_and_forgotten() {
        let folder = tempfile::TempDir::new().unwrap();
        let mut child = sleeper();
        std::mem::forget(Note::of(folder.path(), "helm", pid(&child)).unwrap());
        assert_eq!(end_all(folder.path()).unwrap(), [format!("helm (process {})", child.id())]);
        assert!(!child.wait().unwrap().success());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        assert_eq!(end_all(&folder.path().join("none")).unwrap(), Vec::<String>::new());
    }

    #[test]
    fn another_process_of_that_number_is_left_alone() {
        let folder = tempfile::TempDir::new().unwrap();
        let mut child = sleeper();
        for started in [Some(1), None] {
            let noted = Noted { name: "helm".to_owned(), pid: pid(&child), started };
            fs::write(folder.path().join("7"), serde_json::to_vec(&noted).unwrap()).unwrap();
            assert_eq!(end_all(folder.path()).unwrap(), Vec::<String>::new());
        }
        fs::write(folder.path().join("8"), "{").unwrap();
        assert_eq!(end_all(folder.path()).unwrap(), Vec::<String>::new());
        assert!(child.try_wait().unwrap().is_none(), "it lives");
        killpg(Pid::from_raw(pid(&child)), Signal::SIGKILL).unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn a_note_goes_with_its_child() {
        let folder = tempfile::TempDir::new().unwrap();
        drop(Note::of(folder.path(), "helm", 7).unwrap());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        assert!(Note::of(&folder.path().join("none"), "helm", 7).is_none());
    }
}
