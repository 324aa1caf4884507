//! The processes of one control plane, and the watchdog that ends them when the test process is gone.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};

use super::Outcome;

/// Reads `add PID` and `drop PID`; at the end of its input, which is the end of the test process however it came about, it
/// kills the process groups that are left and removes the folder.
const WATCHDOG: &str = r#"
left=""
while read -r word pid; do
  case $word in
    add) left="$left $pid" ;;
    drop) kept=""; for p in $left; do [ "$p" = "$pid" ] || kept="$kept $p"; done; left=$kept ;;
  esac
done
for p in $left; do kill -s KILL -- "-$p" 2>/dev/null; done
rm -rf -- "$1"
"#;

/// The shell that outlives the test process.
#[derive(Debug)]
pub(crate) struct Watchdog {
    shell: Child,
    orders: Option<ChildStdin>,
}

impl Watchdog {
    /// Starts it for the processes that work in this folder.
    ///
    /// # Errors
    /// The shell could not be started.
    pub(crate) fn start(folder: &Path) -> Outcome<Self> {
        let mut shell = Command::new("sh")
            .args(["-c", WATCHDOG, "watchdog"])
            .arg(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // Its own group: Ctrl-C on the test's terminal must not end it before it has done its work.
            .process_group(0)
            .spawn()
            .map_err(|error| format!("starting the watchdog: {error}"))?;
        let orders = shell.stdin.take();
        Ok(Self { shell, orders })
    }

    fn order(&mut self, word: &str, pid: u32) -> Outcome {
        let Some(orders) = &mut self.orders else { return Err("the watchdog has been ended".to_owned()) };
        writeln!(orders, "{word} {pid}").map_err(|error| format!("telling the watchdog about process {pid}: {error}"))
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.orders = None;
        // It ends by itself now; what it answers says nothing.
        self.shell.wait().ok();
    }
}

/// Where programs are looked for that work in this folder: in its `bin` first.
///
/// # Errors
/// Its name cannot stand in a path.
pub(crate) fn path_of(folder: &Path) -> Outcome<OsString> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let all = std::iter::once(folder.join("bin")).chain(std::env::split_paths(&path));
    std::env::join_paths(all).map_err(|error| format!("PATH with {}: {error}", folder.display()))
}

/// One program that runs in a process group of its own; dropping it kills it and waits until it is gone.
#[derive(Debug)]
pub(crate) struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts a program; what it prints is appended to `FOLDER/NAME.log`. What it runs is looked for in `FOLDER/bin` first:
    /// KWOK runs programs in the place of containers.
    ///
    /// # Errors
    /// The log could not be opened or the program not started.
    pub(crate) fn start(watchdog: &mut Watchdog, folder: &Path, program: &Path, arguments: &[String]) -> Outcome<Self> {
        let name = program.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        let log = folder.join(format!("{name}.log"));
        let open = || -> std::io::Result<(File, File)> {
            let file = OpenOptions::new().create(true).append(true).open(&log)?;
            Ok((file.try_clone()?, file))
        };
        let (out, err) = open().map_err(|error| format!("opening {}: {error}", log.display()))?;
        let child = Command::new(program)
            .args(arguments)
            .env("PATH", path_of(folder)?)
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(err)
            .process_group(0)
            .spawn()
            .map_err(|error| format!("starting {}: {error}", program.display()))?;
        let process = Self { name, child, log };
        watchdog.order("add", process.child.id())?;
        Ok(process)
    }

    /// Kills it as a power cut would and waits until it is gone.
    ///
    /// # Errors
    /// The watchdog could not be told.
    pub(crate) fn kill(mut self, watchdog: &mut Watchdog) -> Outcome {
        let pid = self.child.id();
        self.end();
        watchdog.order("drop", pid)
    }

    /// Why it is no longer running, with the end of its log; nothing while it runs.
    pub(crate) fn death(&mut self) -> Option<String> {
        let status = self.child.try_wait().ok().flatten()?;
        Some(format!("{} ended ({status}); its log ends with:\n{}", self.name, self.last_words()))
    }

    /// The last lines of its log.
    pub(crate) fn last_words(&self) -> String {
        let text = std::fs::read(&self.log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(12)..].join("\n")
    }

    fn end(&mut self) {
        // A process that is already gone cannot be killed: that is the wanted state.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
    }
}

/// What the watchdog is for: the test process goes without ending its processes, and they end all the same.
///
/// # Errors
/// The process or its folder is still there.
pub(crate) fn watchdog_ends_what_is_left() -> Outcome {
    let folder = tempfile::tempdir().map_err(|error| format!("making a folder: {error}"))?.keep();
    let mut watchdog = Watchdog::start(&folder)?;
    let mut start = |seconds: &str| Process::start(&mut watchdog, &folder, Path::new("sleep"), &[seconds.to_owned()]);
    let (mut left, ended) = (start("600")?, start("601")?);
    ended.kill(&mut watchdog)?;
    if let Some(death) = left.death() {
        return Err(death);
    }
    // As the end of the test process would: the pipe is closed, nobody kills anything.
    drop(watchdog);
    let status = left.child.wait().map_err(|error| format!("waiting for the process: {error}"))?;
    if status.success() || folder.exists() {
        return Err(format!("the process ended with {status}, its folder is there: {}", folder.exists()));
    }
    Ok(())
}
