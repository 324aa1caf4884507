//! The words of `plan`, `run` and `snapshot`.

use std::path::PathBuf;

use clap::Args;

use super::{BudgetArgs, OutputArgs, ParamArgs, ReportFormat, RunbookArgs, StateArgs, TargetArgs};

/// `lockgate plan`.
#[derive(Clone, Debug, Args)]
#[command(
    after_help = "Exit codes: 0 would succeed, 1 would fail, 3 would succeed as far as can be known: it rests on assumptions or unknowns."
)]
pub struct PlanCommandArgs {
    /// What is planned.
    #[command(flatten)]
    pub plan: PlanArgs,
    /// Write the plan to FILE, bound to what it read: `lockgate run … --plan FILE` does that and nothing else
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Print this step in full instead: the difference of every object, and what each line rests on
    #[arg(long, value_name = "STEP", conflicts_with = "output")]
    pub explain: Option<String>,
    /// How to print the plan
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    pub output: ReportFormat,
}

/// What is planned: by `lockgate plan`, and by `lockgate run` before it runs.
#[derive(Clone, Debug, Args)]
pub struct PlanArgs {
    /// Which.
    #[command(flatten)]
    pub runbook: RunbookArgs,
    /// With what.
    #[command(flatten)]
    pub params: ParamArgs,
    /// Where.
    #[command(flatten)]
    pub target: TargetArgs,
    /// Leave the live server out of the plan: nothing but reads is sent, and what the server would say about a write is not known
    #[arg(long, conflicts_with = "sandbox")]
    pub local: bool,
    /// How much it may read.
    #[command(flatten)]
    pub budget: BudgetArgs,
}

/// `lockgate run`.
#[derive(Clone, Debug, Args)]
pub struct RunArgs {
    /// What is planned first.
    #[command(flatten)]
    pub plan: PlanArgs,
    /// How to print.
    #[command(flatten)]
    pub output: OutputArgs,
    /// Accept the plan without a question; what it did not show still asks
    #[arg(short, long)]
    pub yes: bool,
    /// Run without a plan; nothing is consented to beforehand
    #[arg(long)]
    pub no_plan: bool,
    /// Do what this file of `lockgate plan --out` says, or nothing: refused when the cluster, the runbook or a parameter is another
    #[arg(long = "plan", value_name = "FILE", conflicts_with = "no_plan")]
    pub plan_file: Option<PathBuf>,
    /// Where runs are kept.
    #[command(flatten)]
    pub state: StateArgs,
}

/// `lockgate snapshot`.
#[derive(Clone, Debug, Args)]
pub struct SnapshotArgs {
    /// Write it to FILE
    #[arg(short, long, value_name = "FILE")]
    pub out: PathBuf,
    /// Only what a plan of this runbook reads, and what tells where pods fit
    #[arg(long = "for", value_name = "RUNBOOK")]
    pub runbook: Option<String>,
    /// The parameters of that runbook, as `name=value`
    #[arg(value_name = "NAME=VALUE", requires = "runbook")]
    pub params: Vec<String>,
    /// Read its parameters from a YAML or JSON file; words win over it
    #[arg(long = "params", value_name = "FILE", requires = "runbook")]
    pub params_file: Option<PathBuf>,
    /// Look for its modules in this folder too (can be repeated)
    #[arg(long, value_name = "DIR", requires = "runbook")]
    pub modules: Vec<PathBuf>,
    /// Where.
    #[command(flatten)]
    pub target: TargetArgs,
}
