//! What `plan` and `run` have in common: the script, its parameters and the cluster, each checked before the next is looked at.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::args::{Format, PlanArgs, TargetArgs};
use super::live::Live;
use super::world::{self, World};
use super::{find, host, interrupt, target};
use crate::base::{Result, Value};
use crate::cluster::machines::quoted;
use crate::cluster::{Cancel, Cluster};
use crate::report::{Screen, Transcript, trace};
use crate::run::journal::requests::Requests;
use crate::run::params_file::ParamFile;
use crate::run::runbook::ParamType;
use crate::run::{self, Given, Params, Record, Runbook, Script, Sink, Source, Summary, What};

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
        let source = find::runbook(&args.runbook.runbook)?;
        let mut given = Given::words(&args.params.params)?;
        given.file = args.params.params_file.as_deref().map(ParamFile::open).transpose()?;
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
        let view = Rc::new(RefCell::new(Kept {
            kept: Vec::new(),
            live: shown.map(|(screen, format)| {
                let paint = screen.paint;
                Live::new(screen, format, What::Plan, Transcript::new(paint))
            }),
        }));
        let summary = run::plan(self.script.as_mut(), &self.cluster, &self.runbook, &self.params, view.clone());
        let mut view = view.borrow_mut();
        if let Some(live) = &mut view.live {
            live.finish()?;
        }
        Ok((summary, std::mem::take(&mut view.kept)))
    }
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
    live: Option<Live>,
}

impl Sink for Kept {
    fn record(&mut self, record: &Record) {
        if let Some(live) = &mut self.live {
            live.record(record);
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
    let TargetArgs { context, kubeconfig, sandbox, chaos, machines, inventory } = &args.target;
    let way = machines.and_then(|way| clap::ValueEnum::to_possible_value(&way)).map(|value| value.get_name().to_owned());
    let flags = [
        ("--params", args.params.params_file.as_deref().map(path)),
        ("--context", context.clone()),
        ("--kubeconfig", kubeconfig.as_deref().map(path)),
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
    words.extend(args.runbook.modules.iter().flat_map(|folder| ["--modules".to_owned(), path(folder)]));
    match sandbox.as_deref() {
        Some("") => words.push("--sandbox".to_owned()),
        Some(fixture) => words.push(format!("--sandbox={fixture}")),
        None => {}
    }
    words.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ")
}
