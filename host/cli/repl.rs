//! `lockgate repl`: the same verbs, one line after the other, on a copy of the cluster; after `:live on` on the cluster itself, as a run
//! with a folder, a journal and the lock.

use std::cell::RefCell;
use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::rc::Rc;

use super::args::{BudgetArgs, DriftBy, ParamArgs, PlanArgs, ReplArgs, RunbookArgs};
use super::record::{self, Beginning, Kept};
use super::setting::Setting;
use super::{Done, chaos, host, interrupt, target, world};
use crate::base::{Error, Result};
use crate::cluster::{Cancel, Cluster, RunId};
use crate::repl;
use crate::report::Screen;
use crate::run::journal::Runs;
use crate::run::journal::entry::Consent;
use crate::run::lock::Errand;
use crate::run::{Job, Operator, Params, Sink, Summary, Voice, What, typed};

/// Runs a session.
///
/// # Errors
/// What was wrong with the target, or with the terminal. What a line raises is told, and the session goes on.
pub(super) fn repl(args: &ReplArgs, screen: &Rc<Screen>) -> Done {
    host::folders(&args.modules)?;
    let runtime = host::runtime()?;
    let cancel = Cancel::new();
    let (cluster, told) = target::cluster(&runtime, &args.target, &target::example()?, &cancel)?;
    if args.local {
        cluster.plan_locally();
    }
    told.iter().for_each(|line| screen.talk(line));
    interrupt::listen(&cancel)?;
    let watched = std::io::stdin().is_terminal();
    let history = if watched { history()? } else { None };
    let recorder = Box::new(Recorder {
        args: args.clone(),
        cluster: cluster.clone(),
        runtime: runtime.clone(),
        cancel: cancel.clone(),
        screen: screen.clone(),
        now: None,
    });
    let (screen, modules) = (screen.clone(), args.modules.clone());
    repl::run(repl::Setting { cluster, cancel, runtime, screen, modules, history, recorder, watched, find: super::find::runbook })
}

/// Begins and ends the record of what is typed on the cluster itself.
struct Recorder {
    args: ReplArgs,
    cluster: Cluster,
    runtime: Rc<tokio::runtime::Runtime>,
    cancel: Cancel,
    screen: Rc<Screen>,
    /// The run that goes now.
    now: Option<(Setting, Kept)>,
}

impl repl::Recorder for Recorder {
    fn begin(&mut self, operator: Rc<dyn Operator>, sink: Rc<RefCell<dyn Sink>>) -> Result<Job> {
        super::snapshot::not_to_be_run(&self.args.target)?;
        let runs = Runs::find(self.args.state.runs.as_deref())?;
        let source = typed::source();
        let mut script = host::script(&source, &self.args.modules, &self.runtime)?;
        let (runbook, params) = (Rc::new(script.load()?), Rc::new(Params::new()));
        let requests = world::kept(&self.cluster, &runbook, &params);
        let setting = Setting {
            source: source.clone(),
            script,
            runbook: runbook.clone(),
            params: params.clone(),
            file: None,
            cluster: self.cluster.clone(),
            requests,
            told: Vec::new(),
            cancel: self.cancel.clone(),
            runtime: self.runtime.clone(),
        };
        if self.cluster.label().simulated {
            record::name(&runs, &setting)?;
        } else {
            self.cluster.set_run(RunId::generate());
        }
        let mut world = Vec::new();
        if let Some(word) = &self.args.target.sandbox {
            world.push((record::FIXTURE, target::text(&target::example()?, word)?.text));
        }
        if let Some(text) = self.args.target.chaos.as_deref().map(chaos::text).transpose()?.flatten() {
            world.push((world::FAULTS, text));
        }
        let args = PlanArgs {
            runbook: RunbookArgs { runbook: typed::PROMPT.to_owned(), modules: self.args.modules.clone() },
            params: ParamArgs { params: Vec::new(), params_file: None },
            target: self.args.target.clone(),
            local: self.args.local,
            budget: BudgetArgs::default(),
        };
        let consent = Consent { by: "operator".to_owned(), plan: None, confirmations: Vec::new(), planned: None, grants: None };
        let beginning = Beginning {
            screen: &self.screen,
            setting: &setting,
            source: &source,
            args: &args,
            what: typed::PROMPT,
            of: None,
            consent,
            errand: Errand::Begin,
            on_drift: DriftBy::Stop,
            world,
            takes_back: None,
        };
        let kept = record::begin(&runs, beginning)?;
        kept.warn(&self.screen);
        let record = Some(kept.recording.clone());
        self.now = Some((setting, kept));
        let voice = Voice::Person { operator, consented: Vec::new() };
        Ok(Job { what: What::Run, cluster: self.cluster.clone(), runbook, params, voice, sink, record })
    }

    fn end(&mut self, summary: &Summary) {
        if let Some((setting, kept)) = self.now.take() {
            kept.end(&setting, summary, &self.screen);
        }
    }
}

/// The history file, in the user's state folder; none where there is no such folder.
fn history() -> Result<Option<PathBuf>> {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let Some(state) = variable("XDG_STATE_HOME").or_else(|| Some(variable("HOME")?.join(".local/state"))) else { return Ok(None) };
    let folder = state.join("lockgate");
    std::fs::create_dir_all(&folder)
        .map_err(|error| Error::usage(format!("cannot make `{}` for the history", folder.display())).cause(error.to_string()))?;
    Ok(Some(folder.join("history")))
}
