//! Where runs are kept: one folder each, by their ids, in the folder of runs. Only their owner may read them, and nobody else may have
//! been able to change them.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use nix::unistd;
use serde::{Deserialize, Serialize};

use super::file::BLOBS;
use super::io::{JOURNAL, RealDisk, plain};
use super::read::{Read, is_marked};
use super::redact::Redactor;
use super::requests::REQUESTS;
use super::seal::{self, Marks};
use crate::base::clock::{self, Duration};
use crate::base::{Error, Kind, Reason, Result, did_you_mean};

/// The variable that names the folder of runs.
pub const VARIABLE: &str = "LOCKGATE_RUNS";
/// Where the charts of a run are kept, each in a folder of its own.
pub const CHARTS: &str = "charts";
/// Where the programs are noted that a run has started, while they work.
pub const CHILDREN: &str = "children";
/// The folders inside a run's: long members of lines, the pinned sources, the charts, its children.
const INSIDE: [&str; 4] = [BLOBS, super::pin::SCRIPT, CHARTS, CHILDREN];
/// Whoever works on a run holds this file.
const LOCK: &str = "lock";
/// The mark of a folder whose journal has no first line yet.
const NEW: &str = "new";
/// The key of a run's marks.
const KEY: &str = "key";
/// How often a lock is tried: who looks at a run holds it for a moment too.
const TRIES: usize = 10;
/// The time between two tries.
const BETWEEN: Duration = Duration::from_millis(20);

/// The folder of runs.
#[derive(Clone, Debug)]
pub struct Runs {
    root: PathBuf,
}

/// The folder of one run.
#[derive(Clone, Debug)]
pub struct RunFolder {
    path: PathBuf,
    id: String,
}

/// A process that works on a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// The process.
    pub pid: u32,
    /// Its machine.
    pub host: String,
}

impl Holder {
    /// This process.
    #[must_use]
    pub fn this() -> Holder {
        let host = unistd::gethostname().ok().map_or_else(|| "localhost".to_owned(), |name| name.to_string_lossy().into_owned());
        Holder { pid: unistd::getpid().as_raw().unsigned_abs(), host }
    }

    /// Whether a process of this number is there, on this machine, and is another one than this. It may be no process of ours any more:
    /// numbers are used again.
    #[must_use]
    pub fn may_live(&self) -> bool {
        let this = Holder::this();
        let pid = i32::try_from(self.pid).ok().filter(|pid| *pid > 0 && self.host == this.host && self.pid != this.pid);
        pid.is_some_and(|pid| nix::sys::signal::kill(unistd::Pid::from_raw(pid), None) != Err(nix::errno::Errno::ESRCH))
    }
}

/// The user as people know them: `USER`, `LOGNAME`, or the number.
#[must_use]
pub fn user() -> String {
    let named = ["USER", "LOGNAME"].into_iter().find_map(|name| std::env::var(name).ok().filter(|value| !value.is_empty()));
    named.unwrap_or_else(|| format!("user {}", unistd::geteuid()))
}

/// A run that this process works on; given back when it is dropped, and by the kernel when the process ends in any way.
#[derive(Debug)]
pub struct Held {
    _file: File,
    /// The folder itself, where folders can be locked: the file may be removed, or somebody may put another one in its place.
    _folder: Option<File>,
}

impl Runs {
    /// The folder that was asked for; otherwise `LOCKGATE_RUNS`, `$XDG_STATE_HOME/lockgate/runs`, `~/.local/state/lockgate/runs`.
    ///
    /// # Errors
    /// When none of these says where.
    pub fn find(asked: Option<&Path>) -> Result<Runs> {
        let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let state = || variable("XDG_STATE_HOME").filter(|path| path.is_absolute());
        let home = || variable("HOME").map(|home| home.join(".local/state"));
        let root = asked.map(Path::to_path_buf).or_else(|| variable(VARIABLE));
        let root = root.or_else(|| state().or_else(home).map(|state| state.join("lockgate/runs")));
        root.map(Runs::at).ok_or_else(|| {
            Error::usage("there is no place for runs: neither `HOME` nor `XDG_STATE_HOME` is set")
                .hint(format!("name a folder with `--runs DIR` or `{VARIABLE}`"))
        })
    }

    /// This folder.
    #[must_use]
    pub fn at(root: impl Into<PathBuf>) -> Runs {
        Runs { root: root.into() }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.root
    }

    /// Makes the folder of a run that is about to begin: until [`RunFolder::born`] it is no run to anybody.
    ///
    /// # Errors
    /// As [`Runs::create`].
    pub fn begin(&self, id: &str) -> Result<RunFolder> {
        self.made(id, &[NEW])
    }

    /// Makes the folder of a new run.
    ///
    /// # Errors
    /// When it cannot be written to, is not safe, or the run is there; nothing is left behind then.
    pub fn create(&self, id: &str) -> Result<RunFolder> {
        self.made(id, &[])
    }

    fn made(&self, id: &str, marks: &[&str]) -> Result<RunFolder> {
        let unwritable = |error: &io::Error| {
            Error::usage(format!("the folder of runs `{}` cannot be written to", self.root.display()))
                .cause(plain(error))
                .hint(format!("`--runs DIR` or `{VARIABLE}` names another one"))
        };
        DirBuilder::new().recursive(true).mode(0o700).create(&self.root).map_err(|error| unwritable(&error))?;
        check(&self.root, true)?;
        let path = self.root.join(id);
        if path.symlink_metadata().is_ok() {
            return Err(Error::usage(format!("there is a run `{id}` already")).cause(format!("`{}` exists", path.display())));
        }
        let made = (|| {
            seal::made(self)?;
            private_folder(&path)?;
            marks.iter().try_for_each(|name| private_file(&path.join(name), b""))?;
            INSIDE.iter().try_for_each(|name| private_folder(&path.join(name)))?;
            private_file(&path.join(LOCK), b"")?;
            private_file(&path.join(KEY), &seal::random()?)?;
            File::open(&path)?.sync_all()?;
            File::open(&self.root)?.sync_all()
        })();
        made.map_err(|error| {
            let refused = unwritable(&error);
            match fs::remove_dir_all(&path) {
                Err(left) if left.kind() != io::ErrorKind::NotFound => refused.cause(format!("its folder stays: {}", plain(&left))),
                _ => refused,
            }
        })?;
        Ok(RunFolder { path, id: id.to_owned() })
    }

    /// The ids of all runs, the newest first.
    ///
    /// # Errors
    /// When the folder is there and cannot be read.
    pub fn all(&self) -> Result<Vec<String>> {
        let all = self.every()?;
        Ok(all.into_iter().filter(|id| !is_unborn(&self.root.join(id))).collect())
    }

    /// The same with those that never began.
    ///
    /// # Errors
    /// As [`Runs::all`].
    pub fn every(&self) -> Result<Vec<String>> {
        let entries = match fs::read_dir(&self.root) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => {
                let error = Error::usage(format!("the folder of runs `{}` cannot be read", self.root.display())).cause(plain(&error));
                return Err(error.hint(format!("`--runs DIR` or `{VARIABLE}` names another one")));
            }
        };
        let mut runs: Vec<_> = entries
            .filter_map(|entry| {
                let entry = entry.ok()?;
                let id = entry.file_name().into_string().ok().filter(|name| is_id(name))?;
                // Ids sort by the cluster's time, which in a simulated one is not ours.
                let metadata = entry.metadata().ok().filter(fs::Metadata::is_dir)?;
                Some((metadata.created().or_else(|_| metadata.modified()).ok(), id))
            })
            .collect();
        runs.sort();
        Ok(runs.into_iter().rev().map(|(_, id)| id).collect())
    }

    /// The run that a word means: its id, a beginning or an end of it that no other run has, or `last`.
    ///
    /// # Errors
    /// When there is none or more than one; when it is not safe to believe what is in it.
    pub fn open(&self, word: &str) -> Result<RunFolder> {
        let all = self.all()?;
        let none =
            |hint: String| Err(Error::usage(format!("there is no run `{word}`")).cause(format!("in `{}`", self.root.display())).hint(hint));
        let wanted = word.to_ascii_uppercase();
        let exact = |id: &&String| **id == wanted;
        let found: Vec<&String> = match (word, all.first()) {
            (_, None) => return none(format!("no run was begun there; `--runs DIR` or `{VARIABLE}` names another folder")),
            ("last", Some(newest)) => vec![newest],
            _ if all.iter().any(|id| exact(&id)) => all.iter().filter(exact).collect(),
            _ if wanted.is_empty() => Vec::new(),
            _ => all.iter().filter(|id| id.starts_with(&wanted) || id.ends_with(&wanted)).collect(),
        };
        let id = match found.as_slice() {
            [id] => (*id).clone(),
            [] => {
                return match did_you_mean(&wanted, all.iter().map(String::as_str)).or_else(|| near_end(&wanted, &all)) {
                    Some(near) => none(format!("did you mean `{near}`?")),
                    None => none("`lockgate runs` lists them; a beginning or an end of the id is enough, or `last`".to_owned()),
                };
            }
            several => {
                let shown: Vec<String> = several.iter().take(5).map(|id| format!("`{id}`")).collect();
                let more = if several.len() > shown.len() { ", …" } else { "" };
                return Err(Error::usage(format!("`{word}` is not one run: {} begin or end so", several.len()))
                    .cause(format!("{}{more}", shown.join(", ")))
                    .hint("write more of the id"));
            }
        };
        check(&self.root, true)?;
        let folder = RunFolder { path: self.root.join(&id), id };
        folder.check()?;
        Ok(folder)
    }
}

impl RunFolder {
    /// The folder of runs that it is in.
    #[must_use]
    pub fn runs(&self) -> Runs {
        Runs::at(self.path.parent().unwrap_or(&self.path))
    }

    /// The run's id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// From here on it is a run: its journal has a first line.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn born(&self) -> Result<()> {
        let removed = fs::remove_file(self.path.join(NEW)).and_then(|()| File::open(&self.path)?.sync_all());
        removed.map_err(|error| Error::internal(format!("run `{}` cannot be begun in its folder", self.id)).cause(plain(&error)))
    }

    /// Its files, for the journal, whose lines are marked where the key of the folder of runs is there.
    #[must_use]
    pub fn disk(&self) -> RealDisk {
        RealDisk::new(&self.path).marked(Marks::of(&self.runs(), &self.id).ok())
    }

    /// Refuses a journal that was not written with the key of this folder of runs (`reference/safety.md` §4, T17): its last line, and with it
    /// all before, is by somebody who has not got it.
    ///
    /// # Errors
    /// That, and what keeps the key or the journal from being read.
    pub fn is_own(&self, read: &Read) -> Result<()> {
        let marks = Marks::of(&self.runs(), &self.id);
        let mut disk = RealDisk::new(&self.path).marked(marks.as_ref().ok().cloned());
        if is_marked(&mut disk, read)? {
            return Ok(());
        }
        let (run, key) = (&self.id, seal::path(&self.runs()));
        let message = format!("the journal of run `{run}` was not written with the key of this folder of runs");
        let mut error = Error::new(Kind::Refused, Reason::Replaced, message).cause(format!(
            "its last line does not carry the mark of `{}`: it was copied here without that key, or somebody wrote it anew",
            key.display()
        ));
        if let Err(why) = marks {
            error = why.causes.iter().fold(error.cause(why.message.clone()), |error, cause| error.cause(cause.clone()));
        }
        Err(error.hint(format!(
            "go on where the run began; of a copy, copy the key of the folder of runs too; or look at the cluster first, and go on with what \
             this journal says: `lockgate resume {run} --accept-truncated`"
        )))
    }

    /// One that makes marks with the run's key.
    ///
    /// # Errors
    /// When the key is gone: what was marked cannot be compared any more.
    pub fn redactor(&self) -> Result<Redactor> {
        let missing = |why: String| {
            Error::new(Kind::Refused, Reason::Refused, format!("run `{}` cannot be read", self.id))
                .cause(format!("its file `{KEY}` {why}"))
                .hint("of a copy, copy the whole folder again")
        };
        let bytes = fs::read(self.path.join(KEY)).map_err(|error| missing(format!("cannot be read: {}", plain(&error))))?;
        let key = <[u8; 32]>::try_from(bytes).map_err(|bytes| missing(format!("has {} bytes instead of 32", bytes.len())))?;
        Ok(Redactor::new(key))
    }

    /// Takes the run for this process.
    ///
    /// # Errors
    /// When another one works on it, named by process and machine.
    pub fn hold(&self) -> Result<Held> {
        let broken = |error: &io::Error| {
            Error::internal(format!("run `{}` cannot be taken: its file `{LOCK}` cannot be locked", self.id)).cause(plain(error))
        };
        // A run whose key is lost is not gone on with unasked; what comes then is marked with this one.
        seal::made(&self.runs()).map_err(|error| broken(&error))?;
        let path = self.path.join(LOCK);
        let open = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path);
        let mut file = open.map_err(|error| broken(&error))?;
        let mut folder = None;
        for left in (0..TRIES).rev() {
            match file.try_lock().and_then(|()| locked(&self.path)) {
                Ok(own) => {
                    folder = own;
                    break;
                }
                Err(TryLockError::WouldBlock) if left > 0 => clock::pause(BETWEEN),
                Err(TryLockError::WouldBlock) => return Err(self.taken(&mut file)),
                Err(TryLockError::Error(error)) => return Err(broken(&error)),
            }
        }
        let holder = serde_json::to_vec(&Holder::this()).unwrap_or_default();
        let written = file.set_len(0).and_then(|()| file.rewind()).and_then(|()| file.write_all(&holder));
        written.map_err(|error| broken(&error))?;
        Ok(Held { _file: file, _folder: folder })
    }

    fn taken(&self, file: &mut File) -> Error {
        let error = Error::new(Kind::Refused, Reason::Refused, format!("run `{}` is being worked on", self.id));
        match said(file) {
            Some(Holder { pid, host }) => error
                .cause(format!("by process {pid} on `{host}`"))
                .hint(format!("`lockgate attach {}` shows what it does; when it has ended, try again", self.id)),
            None => error.hint("when the process that works on it has ended, try again"),
        }
    }

    /// Who works on the run now; `None` when nobody does. Process 0 is one that is not known: its file is gone.
    #[must_use]
    pub fn holder(&self) -> Option<Holder> {
        // Locks are given back when the files are closed, at the end of this function.
        let is_held = |file: &File| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock));
        let unknown = Holder { pid: 0, host: String::new() };
        if let Some(mut file) = File::open(self.path.join(LOCK)).ok().filter(is_held) {
            return Some(said(&mut file).unwrap_or(unknown));
        }
        File::open(&self.path).ok().filter(is_held).map(|_| unknown)
    }

    /// A folder that somebody else owns or can write to may say anything.
    fn check(&self) -> Result<()> {
        check(&self.path, false)?;
        let names = INSIDE.iter().chain([&JOURNAL, &LOCK, &KEY, &REQUESTS]);
        names.map(|name| self.path.join(name)).try_for_each(|path| match path.symlink_metadata() {
            // What is missing is told by who needs it.
            Err(_) => Ok(()),
            Ok(_) => check(&path, false),
        })
    }
}

/// Refuses what is not ours or can be changed by others. The folder of runs itself may be one like `/tmp`, where nobody can rename
/// what belongs to somebody else.
pub(super) fn check(path: &Path, root: bool) -> Result<()> {
    let refused =
        |why: String| Error::new(Kind::Refused, Reason::Refused, format!("`{}` is not safe to go on from", path.display())).cause(why);
    let metadata = path.symlink_metadata().map_err(|error| refused(format!("it cannot be looked at: {}", plain(&error))))?;
    if metadata.is_symlink() && !root {
        return Err(refused("it is a symbolic link".to_owned()).hint("put the run's own file in its place"));
    }
    let metadata = if root { path.metadata().map_err(|error| refused(plain(&error)))? } else { metadata };
    let (mode, owner, own) = (metadata.mode(), metadata.uid(), unistd::geteuid().as_raw());
    let sticky = root && mode & 0o1000 != 0;
    if owner != own && !(sticky && owner == 0) {
        return Err(refused(format!("it belongs to user {owner}, and you are user {own}")).hint("go on as the user who began the run"));
    }
    if mode & 0o022 != 0 && !sticky {
        return Err(refused(format!("others can write to it: its mode is {:03o}", mode & 0o777))
            .hint(format!("if nobody did, `chmod go-w {}`", path.display())));
    }
    Ok(())
}

/// Takes a folder itself; `None` on a disk where folders cannot be locked.
fn locked(path: &Path) -> Result<Option<File>, TryLockError> {
    let folder = File::open(path).map_err(TryLockError::Error)?;
    match folder.try_lock() {
        Ok(()) => Ok(Some(folder)),
        Err(TryLockError::WouldBlock) => Err(TryLockError::WouldBlock),
        Err(TryLockError::Error(_)) => Ok(None),
    }
}

/// Whether a folder is what a process left that ended before its run began.
fn is_unborn(path: &Path) -> bool {
    let is_empty = || fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_none());
    let has_line = || fs::read(path.join(JOURNAL)).is_ok_and(|bytes| bytes.contains(&b'\n'));
    if path.join(NEW).exists() { !has_line() } else { is_empty() }
}

/// A folder for its owner alone, whatever the mask of the process.
fn private_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().mode(0o700).create(path)?;
    fs::set_permissions(path, Permissions::from_mode(0o700))
}

pub(super) fn private_file(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.set_permissions(Permissions::from_mode(0o600))?;
    file.write_all(content)?;
    file.sync_all()
}

fn said(file: &mut File) -> Option<Holder> {
    let mut text = String::new();
    file.rewind().ok()?;
    file.read_to_string(&mut text).ok()?;
    serde_json::from_str(&text).ok()
}

/// Whether a name is an id: 26 letters and digits.
fn is_id(name: &str) -> bool {
    name.parse::<crate::cluster::RunId>().is_ok()
}

/// The run whose id has the nearest end of that length.
fn near_end<'a>(wanted: &str, all: &'a [String]) -> Option<&'a str> {
    let end = |id: &'a String| id.get(id.len().saturating_sub(wanted.len())..);
    let near = did_you_mean(wanted, all.iter().filter_map(end))?;
    all.iter().find(|id| id.ends_with(near)).map(String::as_str)
}

#[cfg(test)]
#[path = "folder_tests.rs"]
mod tests;
