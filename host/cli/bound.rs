//! Plan files: a plan is bound when it is written to one, and a run that is given one does exactly that or is refused.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use super::record;
use super::setting::{Made, Setting};
use crate::base::{Error, Result};
use crate::lua::STDLIB;
use crate::run::journal::Pinned;
use crate::run::params_file::ParamFile;
use crate::run::planfile::{Facts, PlanFile};

/// A plan file that a run is held to.
pub(super) struct Held {
    pub(super) file: PlanFile,
    /// Its text, to be kept with the run.
    pub(super) text: String,
    label: String,
}

/// The plan file of a plan that was made.
///
/// # Errors
/// What cannot be read now.
pub(super) fn bind(setting: &Setting, made: &Made, modules: &[PathBuf]) -> Result<PlanFile> {
    let pinned = Pinned::gather(&setting.source, modules, &STDLIB)?;
    let uid = record::identity(&setting.runtime, &setting.cluster)?;
    let inputs =
        setting.runtime.block_on(setting.cluster.inputs(&made.twin)).map_err(|error| error.context("binding the plan to what it read"))?;
    PlanFile::bind(&facts(setting, &pinned, uid), &made.steady(), &made.summary, &made.records, &inputs)
}

fn facts<'a>(setting: &'a Setting, pinned: &'a Pinned, uid: Option<String>) -> Facts<'a> {
    let label = setting.cluster.label();
    Facts {
        runbook: &setting.runbook,
        params: &setting.params,
        pinned,
        cluster: label.name,
        uid,
        simulated: label.simulated,
        namespace: setting.runbook.header.namespace.clone().unwrap_or_else(|| setting.cluster.namespace().to_owned()),
    }
}

/// Writes it whole or not at all; nobody else may read it: it holds what the plan read.
///
/// # Errors
/// When the disk takes it not.
pub(super) fn write(path: &Path, text: &str) -> Result<()> {
    replace(path, text.as_bytes(), "the plan")
}

/// Puts a file in the place of another, or of none.
///
/// # Errors
/// When the disk takes it not; the former file is as it was then.
pub(super) fn replace(path: &Path, bytes: &[u8], what: &str) -> Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let fresh = path.with_file_name(name);
    let written = (|| {
        let mut file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&fresh, path)
    })();
    written.map_err(|error: std::io::Error| {
        // A file that could not be made needs not be taken away.
        std::fs::remove_file(&fresh).ok();
        Error::usage(format!("{what} cannot be written to `{}`", path.display())).cause(error.to_string())
    })
}

impl Held {
    /// Reads the plan file.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn open(path: &Path) -> Result<Held> {
        let file = PlanFile::open(path)?;
        let text = file.text()?;
        Ok(Held { file, text, label: path.display().to_string() })
    }

    /// The parameters that it was made with.
    pub(super) fn params(&self) -> ParamFile {
        self.file.params_file(&self.label)
    }

    /// Compares it with what is about to be run. Nothing is contacted.
    ///
    /// # Errors
    /// Refused, with what is another than was planned.
    pub(super) fn is_of(&self, setting: &Setting, modules: &[PathBuf]) -> Result<()> {
        let pinned = Pinned::gather(&setting.source, modules, &STDLIB)?;
        self.file.is_of(&self.label, &facts(setting, &pinned, None))
    }

    /// Looks whether this is its cluster.
    ///
    /// # Errors
    /// It is another one, or does not answer.
    pub(super) fn meets(&self, setting: &Setting) -> Result<()> {
        let uid = record::identity(&setting.runtime, &setting.cluster)?;
        self.file.is_of_cluster(&self.label, uid.as_deref(), &setting.cluster.label().name)
    }

    /// Looks whether the plan of now is the one in the file.
    ///
    /// # Errors
    /// Refused, with what is another; exit code 5.
    pub(super) fn holds(&self, setting: &Setting, made: &Made, modules: &[PathBuf]) -> Result<()> {
        self.file.holds(&self.label, &bind(setting, made, modules)?)
    }
}
