//! A folder with files, and the real binary run in it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

/// A runbook's head: the namespace of the fixture [`CLUSTER`].
pub(super) const HEAD: &str = "runbook { title = \"T\", summary = \"S.\", impact = \"none\", namespace = \"shop\" }\n";

/// A cluster with one node and a deployment `web` of two pods in `shop`.
pub(super) const CLUSTER: &str = r#"apiVersion: v1
kind: Node
metadata: { name: n1 }
---
apiVersion: apps/v1
kind: Deployment
metadata: { name: web, namespace: shop }
spec:
  replicas: 2
  selector: { matchLabels: { app: web } }
  template:
    metadata: { labels: { app: web } }
    spec:
      containers:
        - { name: web, image: "registry.example/web:v1.2.3" }
"#;

/// A runbook that moves `web` to another image, with a parameter, a check and a verified step.
pub(super) const MOVE: &str = r#"runbook { title = "Move web", summary = "Moves web to another image.", impact = "restarts", namespace = "shop" }

param "image" { type = "image", doc = "The new image.", example = "registry.example/web:v1.2.4" }

check "patch-only" {
  title = "The target is a later patch",
  run = function()
    local running, target = images("deployment/web").web.version, params.image.version
    ensure(target:is_patch_of(running), `{running} to {target} is not a patch`)
    return `{running} to {target}`
  end,
}

step "web" {
  title = "Move web",
  run = function() set_image("deployment/web", { web = params.image }) end,
  verify = function() wait_rollout("deployment/web") end,
}
"#;

/// A folder for one test, and what the command is to see there.
pub(super) struct Host {
    folder: TempDir,
    env: Vec<(String, String)>,
}

impl Host {
    /// An empty folder.
    pub(super) fn new() -> Host {
        Host { folder: TempDir::new().unwrap(), env: Vec::new() }
    }

    /// A folder with this runbook in `r/`, and [`CLUSTER`] beside it.
    pub(super) fn with_runbook(text: &str) -> Host {
        Host::new().file("r/runbook.luau", text).file("r/cluster.yaml", CLUSTER)
    }

    /// Adds a file.
    pub(super) fn file(self, path: &str, text: &str) -> Host {
        self.bytes(path, text.as_bytes())
    }

    /// Adds a file that may be no text.
    pub(super) fn bytes(self, path: &str, bytes: &[u8]) -> Host {
        let path = self.folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
        self
    }

    /// Sets a variable.
    pub(super) fn env(mut self, name: &str, value: &str) -> Host {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The folder.
    pub(super) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The folders of the runs in a folder of runs; its key lies beside them.
    pub(super) fn runs_in(&self, state: &str) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.path().join(state)).into_iter().flatten();
        entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()).collect()
    }

    /// The binary, ready to be started in the folder: without terminal, kubeconfig or the user's settings.
    pub(super) fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lockgate"));
        command.args(words).current_dir(self.path()).env_clear().env("HOME", self.path()).stdin(Stdio::null());
        for (name, value) in &self.env {
            command.env(name, value);
        }
        command
    }

    /// Runs it to its end.
    pub(super) fn run(&self, words: &[&str]) -> Said {
        let mut command = self.command(words);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let output = command.output().unwrap();
        Said {
            words: words.join(" "),
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

/// How a command ended and what it said.
#[derive(Debug)]
pub(super) struct Said {
    words: String,
    /// Its exit code; nothing when a signal ended it.
    pub(super) code: Option<i32>,
    /// Data.
    pub(super) stdout: String,
    /// Talk.
    pub(super) stderr: String,
}

impl Said {
    /// Fails unless it ended so.
    #[track_caller]
    pub(super) fn exits(self, code: i32) -> Said {
        assert_eq!(self.code, Some(code), "{}", self.transcript());
        assert!(!self.stderr.contains("a fault of lockgate"), "{}", self.transcript());
        self
    }

    /// Fails unless the talk has these words.
    #[track_caller]
    pub(super) fn tells(self, words: &str) -> Said {
        assert!(self.stderr.contains(words), "{words:?} is not told\n{}", self.transcript());
        self
    }

    /// Fails unless the data has these words.
    #[track_caller]
    pub(super) fn shows(self, words: &str) -> Said {
        assert!(self.stdout.contains(words), "{words:?} is not shown\n{}", self.transcript());
        self
    }

    /// Fails when the data has these words.
    #[track_caller]
    pub(super) fn hides(self, words: &str) -> Said {
        assert!(!self.stdout.contains(words), "{words:?} is shown\n{}", self.transcript());
        self
    }

    /// The same with this text, which no two runs share, replaced everywhere.
    pub(super) fn replacing(self, text: &str, by: &str) -> Said {
        let (stdout, stderr) = (self.stdout.replace(text, by), self.stderr.replace(text, by));
        Said { words: self.words.replace(text, by), stdout, stderr, ..self }
    }

    /// The same without the hash of the journal's last line: a mark in it is made with a key that is drawn.
    pub(super) fn without_head(self) -> Said {
        let Some(at) = self.stdout.find("chain head ").map(|at| at + "chain head ".len()) else { return self };
        let head = self.stdout[at..].chars().take_while(char::is_ascii_hexdigit).collect::<String>();
        self.replacing(&head, "HEAD")
    }

    /// The whole as a transcript.
    pub(super) fn transcript(&self) -> String {
        let code = self.code.map_or("signal".to_owned(), |code| code.to_string());
        format!("$ lockgate {}\nexit {code}\n--- stdout\n{}--- stderr\n{}", self.words, self.stdout, self.stderr)
    }

    /// Compares the transcript with `tests/cli/golden/NAME.txt`.
    #[track_caller]
    pub(super) fn golden(&self, name: &str) {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/cli/golden").join(format!("{name}.txt"));
        crate::docs::generated(&path, &self.transcript());
    }
}
