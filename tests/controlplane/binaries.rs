//! Where the programs of the control plane are, or why the cases that need them are ignored.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The programs that `tests/controlplane/build` makes.
const PROGRAMS: [&str; 6] = ["etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl", "kwok"];

/// A folder that holds all of them, built from the module file of this tree.
#[derive(Clone, Debug)]
pub(crate) struct Binaries {
    folder: PathBuf,
}

impl Binaries {
    /// Looks for them where the build script puts them.
    ///
    /// # Errors
    /// Why they cannot be used, and what to do: the reason of an ignored test.
    pub(crate) fn find() -> Result<Self, String> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/controlplane/build");
        let hint = "run `tests/controlplane/build`, which needs Go 1.26";
        let folder = ask(&script, "--where").ok_or_else(|| format!("the control plane is not built: {hint}"))?;
        let folder = PathBuf::from(folder);
        if let Some(program) = PROGRAMS.iter().find(|program| !folder.join(program).is_file()) {
            return Err(format!("{program} of the control plane is not built: {hint}"));
        }
        match ask(&script, "--check") {
            Some(_) => Ok(Self { folder }),
            None => Err(format!("the control plane was built from other versions: {hint}")),
        }
    }

    /// The path of one program.
    pub(crate) fn path(&self, program: &str) -> PathBuf {
        self.folder.join(program)
    }
}

/// What the build script prints, when it ends well.
fn ask(script: &Path, question: &str) -> Option<String> {
    let output = Command::new("bash").arg(script).arg(question).stdin(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
