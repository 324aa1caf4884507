//! The command line as data. Help texts are the documentation of the commands.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use serde::{Deserialize, Serialize};

use crate::cluster::Budget;
#[path = "args_author.rs"]
mod author;
#[path = "args_plan.rs"]
mod plan;

pub use self::author::{CheckArgs, NewArgs, TestArgs};
pub use self::plan::{PlanArgs, PlanCommandArgs, RunArgs, SnapshotArgs};
use crate::cluster::serve::Speed;

/// Runs Kubernetes upgrade runbooks, and can first run each of them against a copy of the cluster.
#[derive(Debug, Parser)]
#[command(
    name = "lockgate",
    version,
    about,
    propagate_version = true,
    subcommand_required = true,
    arg_required_else_help = true,
    after_help = "Exit codes: 0 done or nothing to do, 1 failed, 2 wrong usage, 3 a plan that rests on assumptions or unknowns, \
                  4 stopped on purpose, 5 refused.\n\
                  Try it without a cluster: lockgate list, then lockgate plan NAME … --sandbox"
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,

    /// Show steps and calls on standard error; twice: everything. `LOCKGATE_LOG` sets a filter.
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List the bundled runbooks and those in this folder, one line each
    List(ListArgs),
    /// Show a runbook: what it is, parameters, checks, steps; never touches a cluster
    Show(ShowArgs),
    /// Make a dry run on a copy of the cluster and print it; writes nothing
    Plan(PlanCommandArgs),
    /// Plan, ask, then do it
    Run(RunArgs),
    /// Go on with a run that was stopped, failed or was killed
    Resume(ResumeArgs),
    /// Take a run back by what its journal recorded, the newest step first: plan, ask, then do it
    Rollback(RollbackArgs),
    /// List the runs of this machine, the newest first
    Runs(RunsArgs),
    /// Say where a run stands, what is half-done, and how to go on
    Status(StatusArgs),
    /// Print what was asked, planned, consented to and done in a run, and when
    Report(ReportArgs),
    /// Print the transcript of a run from another terminal, as it grows
    Attach(AttachArgs),
    /// Answer a gate or a confirmation that a run waits at, from another terminal
    Approve(ApproveArgs),
    /// Free the lock of a cluster, by the name of the run that holds it
    Unlock(UnlockArgs),
    /// A prompt with the verbs of runbooks, on a copy of the cluster; writes nothing
    Repl(ReplArgs),
    /// Make a folder with a runbook, its cluster and its scenarios, to begin with
    New(NewArgs),
    /// Look at Lua without running it: names, options, places of verbs, parameters, types, coverage, permissions
    Check(CheckArgs),
    /// Run the scenarios of runbooks and the tests that each gets for free
    Test(TestArgs),
    /// Print every version of a cluster and what the version skew policy says about it; writes nothing
    Skew(SkewArgs),
    /// Print the least roles for a run as YAML, from its plan; without a target on the runbook's fixture
    Rbac(RbacArgs),
    /// Serve a simulated cluster on loopback, for kubectl and helm, until Ctrl-C
    Sandbox(SandboxArgs),
    /// Write what a cluster holds to a file, without its secrets: plans can be made on it where the cluster cannot be reached
    Snapshot(SnapshotArgs),
    /// Print Luau type definitions of everything a runbook may name, for editors
    Types,
    /// Print completions for a shell
    Completions(CompletionsArgs),
}

/// How data is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// One document, or one line an event; with a version.
    Json,
}

/// `-o`.
#[derive(Clone, Copy, Debug, Args)]
pub struct OutputArgs {
    /// How to print data
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    pub output: Format,
}

/// Which runbook.
#[derive(Clone, Debug, Args)]
pub struct RunbookArgs {
    /// A bundled name, a folder, or a file
    #[arg(value_name = "RUNBOOK")]
    pub runbook: String,
    /// Look for modules in this folder too (can be repeated)
    #[arg(long, value_name = "DIR")]
    pub modules: Vec<PathBuf>,
}

/// What a runbook is given.
#[derive(Clone, Debug, Args)]
pub struct ParamArgs {
    /// Parameters as `name=value`
    #[arg(value_name = "NAME=VALUE")]
    pub params: Vec<String>,
    /// Read parameters from a YAML or JSON file; words win over it
    #[arg(long = "params", value_name = "FILE")]
    pub params_file: Option<PathBuf>,
}

/// Which cluster.
#[derive(Clone, Debug, Default, Args, Serialize, Deserialize)]
pub struct TargetArgs {
    /// The context of the kubeconfig
    #[arg(long, value_name = "NAME", help_heading = "Target")]
    pub context: Option<String>,
    /// The kubeconfig; otherwise KUBECONFIG, ~/.kube/config, or the cluster this runs in
    #[arg(long, value_name = "FILE", help_heading = "Target")]
    pub kubeconfig: Option<PathBuf>,
    /// A simulated cluster: the runbook's own fixture, or the one in FIXTURE
    #[arg(
        long,
        value_name = "FIXTURE",
        help_heading = "Target",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "",
        conflicts_with_all = ["context", "kubeconfig"]
    )]
    pub sandbox: Option<String>,
    /// A snapshot of a cluster (`lockgate snapshot`), or what `kubectl get -A -o yaml` or `kubectl cluster-info dump` gave; nothing is
    /// contacted
    #[arg(
        long,
        value_name = "FILE",
        help_heading = "Target",
        conflicts_with_all = ["context", "kubeconfig", "sandbox", "machines"]
    )]
    pub snapshot: Option<PathBuf>,
    /// Let things go wrong in the simulated cluster: by the rules in FILE, or drawn from the number SEED
    #[arg(long, value_name = "FILE|SEED", help_heading = "Target", requires = "sandbox")]
    pub chaos: Option<String>,
    /// How commands on nodes (`machine.*`) reach the machines of a live cluster
    #[arg(long, value_enum, value_name = "WAY", help_heading = "Target", conflicts_with = "sandbox")]
    pub machines: Option<MachinesBy>,
    /// What is said about the machines beside: addresses, users, ports, the pod; YAML
    #[arg(long, value_name = "FILE", help_heading = "Target", requires = "machines")]
    pub inventory: Option<PathBuf>,
}

/// Where the cluster of an earlier run is found now.
#[derive(Clone, Debug, Default, Args)]
pub struct WhereArgs {
    /// The context, when the cluster is no longer found as the run found it
    #[arg(long, value_name = "NAME", help_heading = "Target")]
    pub context: Option<String>,
    /// The kubeconfig, when the cluster is no longer found as the run found it
    #[arg(long, value_name = "FILE", help_heading = "Target")]
    pub kubeconfig: Option<PathBuf>,
}

/// The way to machines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
pub enum MachinesBy {
    /// The `ssh` of this machine, with your configuration and agent, and strict host keys
    Ssh,
    /// A privileged pod on the node, which the inventory must grant
    Pod,
    /// You do it by hand and tell how it ended
    Manual,
}

/// `lockgate list`.
#[derive(Clone, Copy, Debug, Args)]
pub struct ListArgs {
    /// How to print.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// `lockgate show`.
#[derive(Clone, Debug, Args)]
pub struct ShowArgs {
    /// Which.
    #[command(flatten)]
    pub runbook: RunbookArgs,
    /// How to print.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// How much a plan may read from a live cluster for what its controllers would do; what the runbook reads it always gets.
#[derive(Clone, Copy, Debug, Default, Args)]
pub struct BudgetArgs {
    /// Memory that the objects may take which the plan reads by itself, for example `512MiB`; beyond it the plan assumes (default 256MiB)
    #[arg(long, value_name = "SIZE", value_parser = size, help_heading = "Target")]
    pub overlay_mem: Option<u64>,
    /// Requests that the plan may send by itself; beyond it the plan assumes (default 2000)
    #[arg(long, value_name = "N", help_heading = "Target")]
    pub overlay_calls: Option<u64>,
    /// Requests a second that the plan may send by itself (default 20)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..), help_heading = "Target")]
    pub overlay_qps: Option<u32>,
}

impl BudgetArgs {
    /// It as it was typed.
    #[must_use]
    pub fn words(self) -> Vec<String> {
        let flags = [
            ("--overlay-mem", self.overlay_mem),
            ("--overlay-calls", self.overlay_calls),
            ("--overlay-qps", self.overlay_qps.map(u64::from)),
        ];
        flags.into_iter().filter_map(|(flag, value)| Some([flag.to_owned(), value?.to_string()])).flatten().collect()
    }

    /// What is not said is as usual.
    #[must_use]
    pub fn budget(self) -> Budget {
        let usual = Budget::default();
        Budget {
            calls: self.overlay_calls.unwrap_or(usual.calls),
            bytes: self.overlay_mem.unwrap_or(usual.bytes),
            per_second: self.overlay_qps.unwrap_or(usual.per_second),
        }
    }
}

/// Reads a size of memory: a number of bytes, or with `KiB`, `MiB` or `GiB`.
fn size(text: &str) -> Result<u64, String> {
    let end = text.find(|character: char| !character.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(end);
    let factor = match unit {
        "" => Some(1),
        "KiB" | "Ki" => Some(1 << 10),
        "MiB" | "Mi" => Some(1 << 20),
        "GiB" | "Gi" => Some(1 << 30),
        _ => None,
    };
    let bytes = digits.parse::<u64>().ok().zip(factor).and_then(|(number, factor): (u64, u64)| number.checked_mul(factor));
    bytes.ok_or_else(|| "write a number with `KiB`, `MiB` or `GiB`".to_owned())
}

/// What is done when the cluster is not as a run left it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum DriftBy {
    /// Ask on a terminal; without one, stop.
    #[default]
    Ask,
    /// Stop with the differences.
    Stop,
    /// Go on from what there is.
    Accept,
    /// Write again what the run had written.
    Again,
}

/// `lockgate resume`.
#[derive(Clone, Debug, Args)]
pub struct ResumeArgs {
    /// The run, the beginning or the end of its name, or `last`
    #[arg(value_name = "RUN")]
    pub run: String,
    /// Its secret parameters, which no journal keeps
    #[arg(value_name = "NAME=VALUE")]
    pub params: Vec<String>,
    /// The source to go on with when it has changed since: `pinned`, or a runbook that begins as the pinned one did
    #[arg(long, value_name = "pinned|PATH")]
    pub script: Option<String>,
    /// What to do when the cluster is not as the run left it
    #[arg(long, value_enum, default_value_t, value_name = "CHOICE")]
    pub drift: DriftBy,
    /// Go on although the journal is broken before its end, or somebody else may have written it: look at the cluster first
    #[arg(long)]
    pub accept_truncated: bool,
    /// Where the cluster is.
    #[command(flatten)]
    pub target: WhereArgs,
    /// Where runs are kept.
    #[command(flatten)]
    pub state: StateArgs,
    /// How data is printed.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// `lockgate rollback`.
#[derive(Clone, Debug, Args)]
pub struct RollbackArgs {
    /// The run, the beginning or the end of its name, or `last`
    #[arg(value_name = "RUN")]
    pub run: String,
    /// Its secret parameters, which no journal keeps
    #[arg(value_name = "NAME=VALUE")]
    pub params: Vec<String>,
    /// Take back only what came after this step
    #[arg(long, value_name = "STEP")]
    pub to: Option<String>,
    /// Accept the plan without a question
    #[arg(short, long)]
    pub yes: bool,
    /// Leave the live server out of the plan: nothing but reads is sent, and what the server would say about a write is not known
    #[arg(long)]
    pub local: bool,
    /// What to do when the cluster is not as the run left it
    #[arg(long, value_enum, default_value_t, value_name = "CHOICE")]
    pub drift: DriftBy,
    /// Where the cluster is.
    #[command(flatten)]
    pub target: WhereArgs,
    /// Where runs are kept.
    #[command(flatten)]
    pub state: StateArgs,
    /// How data is printed.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Where runs are kept.
#[derive(Clone, Debug, Default, Args)]
pub struct StateArgs {
    /// The folder of runs; otherwise `LOCKGATE_RUNS`, or `lockgate/runs` in your state folder
    #[arg(long = "runs", value_name = "DIR")]
    pub runs: Option<PathBuf>,
}

/// `lockgate runs`.
#[derive(Clone, Debug, Args)]
pub struct RunsArgs {
    /// Where.
    #[command(flatten)]
    pub state: StateArgs,
    /// How to print the list
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    pub output: SkewFormat,
}

/// `lockgate status`.
#[derive(Clone, Debug, Args)]
pub struct StatusArgs {
    /// A run: its id, a beginning or an end of it, or `last`, which is meant when it is left out
    #[arg(value_name = "RUN")]
    pub run: Option<String>,
    /// Where.
    #[command(flatten)]
    pub state: StateArgs,
    /// How to print.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// `lockgate attach`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "The exit code is the run's own.")]
pub struct AttachArgs {
    /// A run: its id, a beginning or an end of it, or `last`, which is meant when it is left out
    #[arg(value_name = "RUN")]
    pub run: Option<String>,
    /// Where.
    #[command(flatten)]
    pub state: StateArgs,
    /// How to print.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// `lockgate approve`.
#[derive(Clone, Debug, Args)]
pub struct ApproveArgs {
    /// A run: its id, a beginning or an end of it, or `last`
    #[arg(value_name = "RUN")]
    pub run: String,
    /// The step that it waits at
    #[arg(value_name = "GATE")]
    pub gate: String,
    /// Answer yes without a question
    #[arg(short, long, conflicts_with = "no")]
    pub yes: bool,
    /// Answer no
    #[arg(long)]
    pub no: bool,
    /// Where.
    #[command(flatten)]
    pub state: StateArgs,
}

/// `lockgate unlock`.
#[derive(Clone, Debug, Args)]
pub struct UnlockArgs {
    /// The run that holds the lock: its whole id, or a part of that of a run of this machine
    #[arg(value_name = "RUN")]
    pub run: String,
    /// Free it without a question
    #[arg(short, long)]
    pub yes: bool,
    /// The context of the kubeconfig
    #[arg(long, value_name = "NAME", help_heading = "Target")]
    pub context: Option<String>,
    /// The kubeconfig; otherwise KUBECONFIG, ~/.kube/config, or the cluster this runs in
    #[arg(long, value_name = "FILE", help_heading = "Target")]
    pub kubeconfig: Option<PathBuf>,
    /// Where.
    #[command(flatten)]
    pub state: StateArgs,
}

/// How the report of a run is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum ReportFormat {
    /// For people.
    #[default]
    Text,
    /// One document, with a version.
    Json,
    /// A page to be kept.
    Markdown,
    /// One file for a browser, with a timeline; it needs nothing else.
    Html,
}

/// `lockgate report`.
#[derive(Clone, Debug, Args)]
pub struct ReportArgs {
    /// A run: its id, a beginning or an end of it, or `last`
    #[arg(value_name = "RUN")]
    pub run: String,
    /// Ask the run's cluster too: its lock was told the head of the journal, which no journal that was changed since has
    #[arg(long)]
    pub verify: bool,
    /// Where.
    #[command(flatten)]
    pub state: StateArgs,
    /// How to print the report
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    pub output: ReportFormat,
}

/// `lockgate repl`.
#[derive(Clone, Debug, Args)]
pub struct ReplArgs {
    /// Where.
    #[command(flatten)]
    pub target: TargetArgs,
    /// Leave the live server out of the plan: nothing but reads is sent, and what the server would say about a write is not known
    #[arg(long, conflicts_with = "sandbox")]
    pub local: bool,
    /// Look for modules in this folder too (can be repeated)
    #[arg(long, value_name = "DIR")]
    pub modules: Vec<PathBuf>,
    /// Where the record of `:live on` is kept.
    #[command(flatten)]
    pub state: StateArgs,
}

/// How a report is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum SkewFormat {
    /// For people.
    #[default]
    Text,
    /// One document, with a version.
    Json,
    /// A page to be kept.
    Markdown,
}

/// `lockgate skew`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Exit codes: 0 clean, 3 something is unknown, 5 a rule is broken.")]
pub struct SkewArgs {
    /// Also say whether an upgrade to this version may begin, and in which order things move
    #[arg(long = "target", value_name = "VERSION")]
    pub to: Option<String>,
    /// A version that cannot be read, as `COMPONENT=VERSION` or `COMPONENT/NODE=VERSION`; also kubectl's (can be repeated)
    #[arg(long, value_name = "WHAT=VERSION")]
    pub assume: Vec<String>,
    /// Where.
    #[command(flatten)]
    pub target: TargetArgs,
    /// How to print the report
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    pub output: SkewFormat,
}

/// `lockgate rbac`.
#[derive(Clone, Debug, Args)]
pub struct RbacArgs {
    /// Which.
    #[command(flatten)]
    pub runbook: RunbookArgs,
    /// With what.
    #[command(flatten)]
    pub params: ParamArgs,
    /// Bind the roles to `user:NAME`, `group:NAME` or `serviceaccount:NAMESPACE/NAME`
    #[arg(long, value_name = "WHO")]
    pub subject: Option<String>,
    /// Leave out what only the plan reads: enough for `run --no-plan`
    #[arg(long)]
    pub run_only: bool,
    /// Where.
    #[command(flatten)]
    pub target: TargetArgs,
}

/// `lockgate sandbox`.
#[derive(Clone, Debug, Args)]
pub struct SandboxArgs {
    /// A fixture file, or a runbook whose fixture is meant; a small cluster when left out
    #[arg(value_name = "FIXTURE")]
    pub fixture: Option<String>,
    /// The port on 127.0.0.1; a free one when left out
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub port: Option<u16>,
    /// How time goes: `instant` (while clients wait, on to the next event), `real`, or `xN` times as fast
    #[arg(long, value_name = "SPEED", default_value = "instant")]
    pub speed: Speed,
    /// The seed of names, uids and addresses: the same seed and requests give the same cluster
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,
    /// Let things go wrong: by the rules in FILE, or drawn from the number SEED
    #[arg(long, value_name = "FILE|SEED")]
    pub chaos: Option<String>,
    /// Print the kubeconfig itself, and write no file
    #[arg(long)]
    pub print_kubeconfig: bool,
    /// Write one line of JSON for each answered request, without its body
    #[arg(long, value_name = "FILE")]
    pub record: Option<PathBuf>,
    /// Generate a cluster with so many worker nodes
    #[arg(long, value_name = "N", conflicts_with = "fixture")]
    pub nodes: Option<usize>,
    /// Pods on each generated node
    #[arg(long, value_name = "M", default_value_t = 10, requires = "nodes")]
    pub pods_per_node: usize,
    /// Print what the simulated cluster does not model, and end
    #[arg(long, exclusive = true)]
    pub gaps: bool,
    /// Print the models of the fixture as stages for KWOK, and end
    #[arg(long, requires = "fixture", conflicts_with_all = ["port", "record", "print_kubeconfig", "chaos"])]
    pub stages: bool,
}

/// `lockgate completions`.
#[derive(Clone, Copy, Debug, Args)]
pub struct CompletionsArgs {
    /// The shell
    #[arg(value_enum)]
    pub shell: clap_complete::Shell,
}
