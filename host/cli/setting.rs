//! What `plan` and `run` have in common: the script, its parameters and the cluster, each checked before the next is looked at.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::args::{Format, PlanArgs, TargetArgs};
use super::explain::Witness;
use super::live::Live;
use super::world::{self, World};
use super::{find, host, interrupt, target};
use crate::base::{Error, Result, Timestamp, Value};
use crate::cluster::downtime::{Downtime, Line, MadeUp};
use crate::cluster::machines::quoted;
use crate::cluster::{Cancel, Cluster};
use crate::report::explained::Basis;
use crate::report::{Screen, Transcript, trace};
use crate::run::journal::requests::Requests;
use crate::run::params_file::ParamFile;
use crate::run::runbook::ParamType;
use crate::run::{self, Given, Params, Record, Runbook, Script, Sink, Source, Steady, Summary, What};

/// A runbook on a cluster, ready to be planned or run.
pub(super) struct Setting {
    /// Where the script comes from, as it was loaded.
    pub(super) source: Source,
    /// The script.
    pub(super) script: Box<dyn Script>,
    /// What it declares.
    pub(super) runbook: Rc<Runbook>,
    /// Its parameters, typed.
    pub(super) params: Rc<Params>,
    /// The parameter file, when there is one.
    pub(super) file: Option<ParamFile>,
    /// The cluster.
    pub(super) cluster: Cluster,
    /// What a simulated cluster is asked, to make it again.
    pub(super) requests: Option<Requests>,
    /// Lines about the cluster for the operator.
    pub(super) told: Vec<String>,
    /// The switch that Ctrl-C presses.
    pub(super) cancel: Cancel,
    /// The runtime that the cluster lives in.
    pub(super) runtime: Rc<tokio::runtime::Runtime>,
}

impl Setting {
    /// Finds and checks everything, in the order in which a person would want to hear what is wrong: the runbook, its parameters,
    /// the cluster.
    ///
    /// # Errors
    /// What is wrong; nothing was contacted.
    pub(super) fn open(args: &PlanArgs) -> Result<Setting> {
        Setting::open_with(args, None)
    }

    /// The same with parameters of a plan file, where no other file is named; words win over it.
    ///
    /// # Errors
    /// As [`Setting::open`].
    pub(super) fn open_with(args: &PlanArgs, planned: Option<ParamFile>) -> Result<Setting> {
        let source = find::runbook(&args.runbook.runbook)?;
        let mut given = Given::words(&args.params.params)?;
        given.file = args.params.params_file.as_deref().map(ParamFile::open).transpose()?.or(planned);
        given.beside = args.target.sandbox.is_some().then(|| source.beside.clone());
        let runtime = host::runtime()?;
        let mut script = host::script(&source, &args.runbook.modules, &runtime)?;
        let runbook = script.load()?;
        let params = run::params::resolve(&runbook, &given, &mut |pattern, text| script.matches(pattern, text))?;
        hide(&runbook, &params);
        let cancel = Cancel::new();
        let (cluster, told) = target::cluster(&runtime, &args.target, &source, &cancel)?;
        if args.local {
            cluster.plan_locally();
        }
        cluster.set_budget(args.budget.budget());
        interrupt::listen(&cancel)?;
        let requests = world::kept(&cluster, &runbook, &params);
        let (runbook, params) = (Rc::new(runbook), Rc::new(params));
        Ok(Setting { source: source.clone(), script, runbook, params, file: given.file, cluster, requests, told, cancel, runtime })
    }

    /// The same from what a journal says: the parameters are those that `params` gives for what the source declares, and a simulated cluster
    /// is made again.
    ///
    /// # Errors
    /// What is wrong; nothing was contacted.
    pub(super) fn again(
        source: &Source,
        modules: Vec<PathBuf>,
        args: &TargetArgs,
        world: Option<World>,
        params: impl FnOnce(&Runbook) -> Result<Params>,
    ) -> Result<Setting> {
        let runtime = host::runtime()?;
        let mut script = host::script(source, &modules, &runtime)?;
        let runbook = script.load()?;
        let params = params(&runbook)?;
        hide(&runbook, &params);
        let cancel = Cancel::new();
        let (cluster, told) = match world {
            Some(world) => world.cluster(args, &cancel)?,
            None => target::cluster(&runtime, args, source, &cancel)?,
        };
        interrupt::listen(&cancel)?;
        let requests = world::kept(&cluster, &runbook, &params);
        let (runbook, params) = (Rc::new(runbook), Rc::new(params));
        Ok(Setting { source: source.clone(), script, runbook, params, file: None, cluster, requests, told, cancel, runtime })
    }

    /// Makes the plan; it is shown as it grows, and kept.
    ///
    /// # Errors
    /// What could not be shown. How the plan ended is in its summary.
    pub(super) fn plan(&mut self, shown: Option<(Rc<Screen>, Format)>) -> Result<(Summary, Vec<Record>)> {
        self.planned(shown).map(|made| (made.summary, made.records))
    }

    /// The same with all that is known of it.
    ///
    /// # Errors
    /// As [`Setting::plan`].
    pub(super) fn planned(&mut self, shown: Option<(Rc<Screen>, Format)>) -> Result<Made> {
        self.made(shown, false)
    }

    /// The same, not shown, with what each line rests on.
    ///
    /// # Errors
    /// As [`Setting::plan`].
    pub(super) fn explained(&mut self) -> Result<Made> {
        self.made(None, true)
    }

    fn made(&mut self, shown: Option<(Rc<Screen>, Format)>, explained: bool) -> Result<Made> {
        let twin = self.cluster.planning();
        twin.looks_back_on(&self.runtime);
        let view = Rc::new(RefCell::new(Kept {
            kept: Vec::new(),
            began: twin.clock().now(),
            steady: Steady::new(twin.clock().now(), twin.run().to_string(), MadeUp::new()),
            downtime: Downtime::of(&twin),
            twin: twin.clone(),
            witness: explained.then(|| Witness::of(&twin)),
            fault: None,
            live: shown.map(|(screen, format)| {
                let paint = screen.paint;
                (Live::new(screen, format, What::Plan, Transcript::new(paint)), format)
            }),
        }));
        let summary = run::plan_on(self.script.as_mut(), &self.cluster, &twin, &self.runbook, &self.params, view.clone());
        let mut view = view.borrow_mut();
        if let Some((live, _)) = &mut view.live {
            live.finish()?;
        }
        view.fault.take().map_or(Ok(()), Err)?;
        let (downtime, names) = view.downtime.as_ref().map(|seen| (seen.lines(), seen.names())).unwrap_or_default();
        let basis = view.witness.take().map(Witness::kept).unwrap_or_default();
        Ok(Made { summary, records: std::mem::take(&mut view.kept), downtime, names, basis, twin })
    }
}

/// A plan that was made.
pub(super) struct Made {
    /// How it ended.
    pub(super) summary: Summary,
    /// Everything that happened in it, as it was told.
    pub(super) records: Vec<Record>,
    /// What is down when.
    pub(super) downtime: Vec<Line>,
    /// The names that were made up in it.
    names: MadeUp,
    /// What each line rests on, where that was asked for.
    pub(super) basis: Vec<Basis>,
    /// The copy that it was made on, as the plan left it.
    pub(super) twin: Cluster,
}

impl Made {
    /// What of its words does not change by itself.
    pub(super) fn steady(&self) -> Steady {
        Steady::of(&self.records, self.made_up())
    }

    /// The transcript as it is shown.
    ///
    /// # Errors
    /// Internal, when a record cannot be written as JSON.
    pub(super) fn text(&self) -> Result<String> {
        transcript(&self.records, &self.twin)
    }

    /// The names that were made up in it.
    pub(super) fn made_up(&self) -> MadeUp {
        let began = self.records.first().map_or_else(|| self.twin.clock().now(), |record| record.at);
        // Those that are gone, too.
        let mut names = self.twin.made_up(began);
        names.extend(self.names.clone());
        names
    }
}

/// The transcript of a plan on this copy, without what is another whenever the plan is made: what `plan.txt` holds.
///
/// # Errors
/// Internal, when a record cannot be written as JSON.
pub(super) fn transcript(records: &[Record], twin: &Cluster) -> Result<String> {
    let began = records.first().map_or_else(|| twin.clock().now(), |record| record.at);
    Ok(Transcript::text(&Steady::of(records, twin.moving(began)).records(records)?))
}

/// The log shows no secret parameter.
fn hide(runbook: &Runbook, params: &Params) {
    for decl in runbook.params.iter().filter(|decl| decl.ty == ParamType::Secret) {
        params.get(&decl.name).and_then(Value::as_text).iter().for_each(|text| trace::hide(text));
    }
}

/// Keeps every record, and shows it.
struct Kept {
    kept: Vec<Record>,
    /// What is shown as text is the same whenever the plan is made.
    steady: Steady,
    began: Timestamp,
    downtime: Option<Downtime>,
    twin: Cluster,
    witness: Option<Witness>,
    /// A record that could not be shown.
    fault: Option<Error>,
    live: Option<(Live, Format)>,
}

impl Sink for Kept {
    fn record(&mut self, record: &Record) {
        if let Some(downtime) = &mut self.downtime {
            downtime.look(&self.twin);
        }
        if let Some(witness) = &mut self.witness {
            witness.record(record);
        }
        match &mut self.live {
            Some((live, Format::Text)) => {
                self.steady.learn(self.twin.moving(self.began));
                match self.steady.record(record) {
                    Ok(steady) => live.record(&steady),
                    Err(error) => self.fault = Some(error),
                }
            }
            Some((live, Format::Json)) => live.record(record),
            None => {}
        }
        self.kept.push(record.clone());
    }
}

/// The command that starts a run again, as one would type it; secrets are left for the person to fill in.
#[must_use]
pub(super) fn again(args: &PlanArgs, runbook: &Runbook) -> String {
    let mut words = vec!["lockgate".to_owned(), "run".to_owned(), args.runbook.runbook.clone()];
    let secret = |name: &str| runbook.params.iter().any(|decl| decl.name == name && decl.ty == ParamType::Secret);
    words.extend(args.params.params.iter().map(|word| match word.split_once('=') {
        Some((name, _)) if secret(name) => format!("{name}=…"),
        _ => word.clone(),
    }));
    let path = |path: &Path| path.display().to_string();
    let TargetArgs { context, kubeconfig, sandbox, snapshot, chaos, machines, inventory } = &args.target;
    let way = machines.and_then(|way| clap::ValueEnum::to_possible_value(&way)).map(|value| value.get_name().to_owned());
    let flags = [
        ("--params", args.params.params_file.as_deref().map(path)),
        ("--context", context.clone()),
        ("--kubeconfig", kubeconfig.as_deref().map(path)),
        ("--snapshot", snapshot.as_deref().map(path)),
        ("--chaos", chaos.clone()),
        ("--machines", way),
        ("--inventory", inventory.as_deref().map(path)),
    ];
    for (flag, value) in flags {
        if let Some(value) = value {
            words.extend([flag.to_owned(), value]);
        }
    }
    if args.local {
        words.push("--local".to_owned());
    }
    words.extend(args.budget.words());
    words.extend(args.runbook.modules.iter().flat_map(|folder| ["--modules".to_owned(), path(folder)]));
    match sandbox.as_deref() {
        Some("") => words.push("--sandbox".to_owned()),
        Some(fixture) => words.push(format!("--sandbox={fixture}")),
        None => {}
    }
    words.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ")
}
