//! The product's own binary, serving a cluster beside the test.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use super::Outcome;

/// The folder in which the commands of transcripts run.
pub(super) fn files() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sandbox/files")
}

/// A sandbox that is served. Dropping it ends it.
pub(super) struct Served {
    child: Child,
    home: TempDir,
    /// How its clients find it.
    pub(super) kubeconfig: PathBuf,
}

impl Served {
    /// Starts `lockgate sandbox WORDS`.
    ///
    /// # Errors
    /// What it said, when it does not serve.
    pub(super) fn start(words: &[&str]) -> Outcome<Served> {
        let home = TempDir::new().map_err(|error| error.to_string())?;
        let mut child = Command::new(env!("CARGO_BIN_EXE_lockgate"))
            .arg("sandbox")
            .args(words)
            .current_dir(files())
            .env_clear()
            .envs([("HOME", home.path()), ("TMPDIR", home.path())])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| format!("starting lockgate: {error}"))?;
        let mut line = String::new();
        let stdout = child.stdout.take().ok_or("no standard output")?;
        BufReader::new(stdout).read_line(&mut line).map_err(|error| error.to_string())?;
        let Some(kubeconfig) = line.trim().strip_prefix("export KUBECONFIG=").map(PathBuf::from) else {
            child.wait().ok();
            let mut said = String::new();
            child.stderr.take().map(|mut stderr| stderr.read_to_string(&mut said));
            return Err(format!("lockgate sandbox {} does not serve: {line}{said}", words.join(" ")));
        };
        Ok(Served { child, home, kubeconfig })
    }

    /// The folder that is home to its clients.
    pub(super) fn home(&self) -> &Path {
        self.home.path()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // It may be over already.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
