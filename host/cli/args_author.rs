//! The words of those who write runbooks: `new`, `check` and `test`.

use std::path::PathBuf;

use clap::Args;

use super::OutputArgs;

/// `lockgate new`.
#[derive(Debug, Args)]
pub struct NewArgs {
    /// What it is called: `cilium-upgrade`
    #[arg(value_name = "NAME")]
    pub name: String,
    /// The folder that the new one is made in
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub dir: PathBuf,
}

/// `lockgate check`.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// Bundled names, folders or files; everything bundled when nothing is named
    #[arg(value_name = "FILE|DIR|RUNBOOK")]
    pub what: Vec<String>,
    /// Look at types as strictly as `--!strict` says, in every file; otherwise as each file's first line says
    #[arg(long)]
    pub strict: bool,
    /// Look for modules in this folder too (can be repeated)
    #[arg(long, value_name = "DIR")]
    pub modules: Vec<PathBuf>,
    /// How to print.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// `lockgate test`.
#[derive(Clone, Debug, Args)]
pub struct TestArgs {
    /// Bundled names, folders or files; all bundled ones when none is named
    #[arg(value_name = "RUNBOOK")]
    pub runbooks: Vec<String>,
    /// Write `plan.txt`, or with `--document` the line hashes, instead of comparing
    #[arg(long)]
    pub bless: bool,
    /// Do not kill the runs of scenarios at every line of their journals
    #[arg(long)]
    pub no_kills: bool,
    /// Also let each step do nothing in turn, and see whether a scenario notices
    #[arg(long)]
    pub hollow: bool,
    /// Look for modules in this folder too (can be repeated)
    #[arg(long, value_name = "DIR")]
    pub modules: Vec<PathBuf>,
    /// Plan and play on this snapshot of a cluster instead of on `cluster.yaml`, as `--snapshot` of `lockgate plan`; scenarios with a
    /// fixture of their own are skipped
    #[arg(long, value_name = "FILE", conflicts_with_all = ["bless", "hollow", "documents"])]
    pub snapshot: Option<PathBuf>,
    /// Compare the line hashes of a source document with the document itself
    #[arg(long = "document", value_name = "NUMBER=FILE")]
    pub documents: Vec<String>,
    /// How to print.
    #[command(flatten)]
    pub output: OutputArgs,
}
