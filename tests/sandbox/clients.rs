//! Where the clients are, or why the cases that need them are ignored.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

use super::Outcome;
use crate::controlplane;

/// A folder with the clients of a transcript, by the names that it calls them by.
pub(super) struct Clients(TempDir);

impl Clients {
    fn new(programs: &[(&str, PathBuf)]) -> Outcome<Clients> {
        let folder = TempDir::new().map_err(|error| error.to_string())?;
        for (name, program) in programs {
            symlink(program, folder.path().join(name)).map_err(|error| format!("{name}: {error}"))?;
        }
        Ok(Clients(folder))
    }

    /// The `PATH` of the shell.
    pub(super) fn path(&self) -> String {
        format!("{}:/usr/local/bin:/usr/bin:/bin", self.0.path().display())
    }
}

/// kubectl, a new or an old one, and the helm of that name.
///
/// # Errors
/// Why there is none, and what to do: the reason of an ignored test.
pub(super) fn find(client: &str) -> Outcome<Clients> {
    if client == "kubectl-old" {
        let hint = "run `tests/sandbox/old/build`, which needs Go 1.26, or set LOCKGATE_KUBECTL_OLD to a kubectl 1.29";
        ask("old/build", "--check").ok_or_else(|| format!("the old kubectl is not built, or another version: {hint}"))?;
        let program = ask("old/build", "--where").ok_or_else(|| format!("the old kubectl is not built: {hint}"))?;
        return Clients::new(&[("kubectl", PathBuf::from(program))]);
    }
    let kubectl = ("kubectl", controlplane::kubectl()?);
    if client == "kubectl" {
        return Clients::new(&[kubectl]);
    }
    Clients::new(&[kubectl, ("helm", helm(client)?)])
}

/// The helm of that name.
///
/// # Errors
/// Why there is none, and what to do: the reason of an ignored test.
pub(crate) fn helm(client: &str) -> Outcome<PathBuf> {
    let hint = "run `tests/sandbox/build`, which needs Go 1.26";
    let folder = ask("build", "--where").ok_or_else(|| format!("helm is not built: {hint}"))?;
    ask("build", "--check").ok_or_else(|| format!("helm is not built, or in other versions: {hint}"))?;
    Ok(PathBuf::from(folder).join(client))
}

/// What a build script prints, when it ends well.
fn ask(script: &str, question: &str) -> Option<String> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sandbox").join(script);
    let output = Command::new("bash").arg(script).arg(question).stdin(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
