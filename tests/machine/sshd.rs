//! An SSH server on loopback, with keys and a configuration of its own.

use std::fs;
use std::io::Read as _;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::Outcome;

/// The first process of a machine.
const SYSTEMD: &str = "/usr/lib/systemd/systemd";
/// Makes a machine of namespaces with a systemd that has nothing to do but what it is told, and an SSH server as one of its units.
const MACHINE: &str = include_str!("systemd.sh");

/// Gives a machine its own `/etc`, `/var/lib` and `/run`, and runs an SSH server there.
const ROOM: &str = include_str!("room.sh");

/// The programs that are needed.
pub(crate) struct Programs {
    sshd: PathBuf,
    keygen: PathBuf,
    /// Whether its servers run under a systemd of their own.
    pub(super) systemd: bool,
}

impl Programs {
    /// Finds them.
    ///
    /// # Errors
    /// What is missing.
    pub(crate) fn find() -> Outcome<Programs> {
        let folders: Vec<PathBuf> = std::env::var_os("PATH").map(|path| std::env::split_paths(&path).collect()).unwrap_or_default();
        let find = |name: &str| {
            let places = folders.iter().cloned().chain(["/usr/sbin".into(), "/usr/local/sbin".into()]);
            places.map(|folder: PathBuf| folder.join(name)).find(|file| file.is_file())
        };
        let sshd = std::env::var_os("SSHD").map(PathBuf::from).filter(|file| file.is_file()).or_else(|| find("sshd"));
        let sshd = sshd.ok_or("there is no sshd: install openssh-server, or name one by SSHD")?;
        let keygen = find("ssh-keygen").ok_or("there is no ssh-keygen: install openssh-client")?;
        find("ssh").ok_or("there is no ssh: install openssh-client")?;
        // The server wants its folder, whoever runs it.
        if is_root() {
            fs::create_dir_all("/run/sshd").map_err(|error| format!("/run/sshd: {error}"))?;
        }
        Ok(Programs { sshd, keygen, systemd: false })
    }

    /// The same, whose servers run under a real systemd: the first process of a machine that is made of namespaces.
    ///
    /// # Errors
    /// Why there can be none.
    pub(super) fn under_systemd() -> Outcome<Programs> {
        let programs = Programs { systemd: true, ..Programs::find()? };
        if !Path::new(SYSTEMD).is_file() {
            return Err(format!("there is no {SYSTEMD}"));
        }
        if !is_root() {
            return Err("a systemd of one's own needs root".to_owned());
        }
        let words = ["--fork", "--pid", "--mount-proc", "--mount", "--uts", "--ipc", "--cgroup", "mount", "-t", "tmpfs", "run", "/run"];
        allowed(&words).map(|()| programs)
    }

    /// Whether machines can have files of their own.
    ///
    /// # Errors
    /// Why not.
    pub(crate) fn rooms(&self) -> Outcome {
        if !is_root() {
            return Err("a machine with files of its own needs root".to_owned());
        }
        allowed(&["--mount", "mount", "-t", "tmpfs", "run", "/run"])
    }

    /// A new key.
    pub(crate) fn key(&self, file: &Path) -> Outcome {
        fs::remove_file(file).ok();
        let words = ["-q", "-t", "ed25519", "-N", "", "-C", "test", "-f"];
        let status = Command::new(&self.keygen).args(words).arg(file).stdout(Stdio::null()).status();
        match status {
            Ok(status) if status.success() => Ok(()),
            other => Err(format!("{}: {other:?}", self.keygen.display())),
        }
    }
}

/// Whether `unshare` may do this.
fn allowed(words: &[&str]) -> Outcome {
    let made = Command::new("unshare").args(words).output().map_err(|error| format!("unshare: {error}"))?;
    if made.status.success() {
        return Ok(());
    }
    Err(format!("namespaces are not allowed here: {}", String::from_utf8_lossy(&made.stderr).trim()))
}

/// Whether this runs as root.
pub(crate) fn is_root() -> bool {
    user("-u") == "0"
}

/// The name of whoever runs this.
pub(crate) fn user_name() -> String {
    user("-un")
}

fn user(flag: &str) -> String {
    let output = Command::new("id").arg(flag).output().map(|output| output.stdout).unwrap_or_default();
    String::from_utf8_lossy(&output).trim().to_owned()
}

/// A server. Dropping it ends it and what is connected to it.
pub(crate) struct Sshd {
    folder: TempDir,
    program: PathBuf,
    systemd: bool,
    /// The folder of a machine with files of its own.
    room: Option<PathBuf>,
    /// Its port.
    pub(crate) port: u16,
    child: Option<Child>,
}

impl Sshd {
    /// Starts one as the node of this name. `extra` is added to its configuration, where `FOLDER` is its own folder.
    ///
    /// # Errors
    /// What it said, when it does not serve.
    pub(crate) fn start(programs: &Programs, node: &str, public_key: &Path, extra: &str) -> Outcome<Sshd> {
        Sshd::launch(programs, node, public_key, extra, None)
    }

    /// Starts one on a machine with an `/etc`, a `/var/lib` and a `/run` of its own: `etc` and `var/lib` in this folder are laid over the ones
    /// that are here, or take their place; the programs in its `bin` come before all others.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub(crate) fn start_in(programs: &Programs, node: &str, public_key: &Path, room: &Path) -> Outcome<Sshd> {
        Sshd::launch(programs, node, public_key, "", Some(room.to_path_buf()))
    }

    fn launch(programs: &Programs, node: &str, public_key: &Path, extra: &str, room: Option<PathBuf>) -> Outcome<Sshd> {
        let folder = TempDir::new().map_err(|error| error.to_string())?;
        let at = |name: &str| folder.path().join(name);
        programs.key(&at("host"))?;
        let port = free_port()?;
        let path = room.as_ref().map_or_else(String::new, |room| format!(" PATH={}/bin:/usr/sbin:/usr/bin:/sbin:/bin", room.display()));
        // A home of its own: what somebody's shell reads at its start here would take longer than everything else.
        // And of the ways to agree on keys the quickest: the usual one takes a third of all the time of a short command.
        let text = format!(
            "Port {port}\nListenAddress 127.0.0.1\nHostKey {0}/host\nPidFile {0}/pid\nAuthorizedKeysFile {1}\nStrictModes no\nUsePAM no\n\
             PasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitRootLogin prohibit-password\nMaxStartups 50\n\
             MaxSessions 50\nPrintMotd no\nKexAlgorithms curve25519-sha256\nAllowTcpForwarding yes\nLogLevel ERROR\n\
             SetEnv NODE={node} HOME={0}{path}\n{2}\n",
            folder.path().display(),
            public_key.display(),
            extra.replace("FOLDER", &folder.path().display().to_string()),
        );
        fs::write(at("config"), text).map_err(|error| error.to_string())?;
        let mut server = Sshd { folder, program: programs.sshd.clone(), systemd: programs.systemd, room, port, child: None };
        server.up()?;
        Ok(server)
    }

    /// A file beside it, to be run by it.
    pub(super) fn program(&self, name: &str, text: &str) -> Outcome {
        use std::os::unix::fs::PermissionsExt as _;
        let file = self.folder.path().join(name);
        let made = file.parent().map_or(Ok(()), fs::create_dir_all);
        made.and_then(|()| fs::write(&file, text))
            .and_then(|()| fs::set_permissions(&file, fs::Permissions::from_mode(0o755)))
            .map_err(|error| format!("{}: {error}", file.display()))
    }

    /// Starts it, or starts it again.
    pub(super) fn up(&mut self) -> Outcome {
        let config = self.folder.path().join("config");
        let unshared = self.systemd || self.room.is_some();
        let mut command = Command::new(if unshared { Path::new("unshare") } else { &self.program });
        if let Some(room) = &self.room {
            command.args(["--mount", "sh", "-c", ROOM]).arg(room).arg(&self.program).arg(config);
        } else if self.systemd {
            command.args(["--fork", "--pid", "--kill-child", "--mount-proc", "--mount", "--uts", "--ipc", "--cgroup", "sh", "-c", MACHINE]);
            command.arg(SYSTEMD).arg(&self.program).arg(config);
        } else {
            command.args(["-D", "-e", "-f"]).arg(config);
        }
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| format!("{}: {error}", self.program.display()))?;
        let child = self.child.insert(child);
        let begun = Instant::now();
        while TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_err() {
            let over = child.try_wait().map_err(|error| error.to_string())?;
            if over.is_some() || begun.elapsed() > Duration::from_secs(30) {
                let mut said = String::new();
                child.kill().ok();
                child.stderr.take().map(|mut stderr| stderr.read_to_string(&mut said));
                return Err(format!("sshd does not serve: {said}"));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    /// Ends it and every connection to it.
    pub(super) fn down(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().ok();
            child.wait().ok();
            self.cut(child.id());
        }
    }

    /// Cuts every connection that there is at this moment; gives how many.
    pub(super) fn cut_all(&self) -> usize {
        self.child.as_ref().map_or(0, |child| self.cut(child.id()))
    }

    /// Ends the processes that speak with one client each: the children of the listener, and theirs that are sshd still.
    fn cut(&self, listener: u32) -> usize {
        // The listener of a machine of its own is beneath its systemd.
        let listener = if self.systemd { children(listener).first().copied().unwrap_or(listener) } else { listener };
        let sessions = children(listener);
        for session in sessions.iter().rev() {
            Command::new("kill").args(["-KILL", &session.to_string()]).stderr(Stdio::null()).status().ok();
        }
        sessions.len()
    }

    /// Its public host key as a line of known hosts.
    pub(crate) fn known(&self) -> Outcome<String> {
        let key = fs::read_to_string(self.folder.path().join("host.pub")).map_err(|error| error.to_string())?;
        Ok(format!("[127.0.0.1]:{} {key}", self.port))
    }

    /// Gives it another host key, from its next start on.
    pub(super) fn new_key(&self, programs: &Programs) -> Outcome {
        programs.key(&self.folder.path().join("host"))
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        self.down();
    }
}

/// The descendants of a process that are `sshd` (or one of its parts) too, parents first.
fn children(of: u32) -> Vec<u32> {
    let mut found = Vec::new();
    let mut parents = vec![of];
    while let Some(parent) = parents.pop() {
        let list = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).unwrap_or_default();
        for child in list.split_whitespace().filter_map(|id| id.parse::<u32>().ok()) {
            let name = fs::read_to_string(format!("/proc/{child}/comm")).unwrap_or_default();
            if name.starts_with("sshd") {
                found.push(child);
            }
            if name.starts_with("sshd") || ["unshare", "systemd"].contains(&name.trim()) {
                parents.push(child);
            }
        }
    }
    found
}

fn free_port() -> Outcome<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(|error| error.to_string())?;
    listener.local_addr().map(|address| address.port()).map_err(|error| error.to_string())
}
