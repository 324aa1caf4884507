//! The session behind the prompt: one line after the other, on a copy of the cluster, or after `:live on` on the cluster itself.

use std::cell::{Cell, RefCell};
use std::path::PathBuf;
use std::rc::Rc;

use tokio::runtime::Runtime;

use super::commands::{self, Command};
use super::commit::Aside;
use super::complete;
use super::editor::{Message, Terminal};
use super::live::{Person, Recorder, Shown};
use super::loaded::{self, Loaded};
use super::pending::Pending;
use super::reporter::Reporter;
use super::show;
use crate::base::{Error, Result, Timestamp};
use crate::cluster::{Access, Cancel, Cluster, Select};
use crate::lua::{Engine, Evaluated, Prompt};
use crate::primitives::registry::plural;
use crate::primitives::{self, Cx, Definition};
use crate::report::{Screen, Transcript, escape, reference};
use crate::run::hiding;
use crate::run::journal::Redactor;
use crate::run::parts::Stage;
use crate::run::typed::Typed;
use crate::run::{Params, Scene, Source, State};

/// What a session needs.
pub struct Setting {
    /// The cluster; the session works on its planning twin until `:live on`.
    pub cluster: Cluster,
    /// The switch that Ctrl-C presses during a call.
    pub cancel: Cancel,
    /// The runtime of this thread.
    pub runtime: Rc<Runtime>,
    /// Where things are printed.
    pub screen: Rc<Screen>,
    /// Folders of modules.
    pub modules: Vec<PathBuf>,
    /// The history file; `None` keeps none.
    pub history: Option<PathBuf>,
    /// Who keeps the record of what is typed on the cluster itself.
    pub recorder: Box<dyn Recorder>,
    /// Whether a person types the lines. Else a line that failed makes the exit code 1.
    pub watched: bool,
    /// Finds the runbook that a word means.
    pub find: fn(&str) -> Result<Source>,
}

/// A session.
pub(super) struct Session {
    /// The cluster itself.
    pub(super) real: Cluster,
    /// What calls act on: a copy, or the cluster itself.
    pub(super) cluster: RefCell<Cluster>,
    /// When the copy was made, by its own time.
    pub(super) began: Cell<Timestamp>,
    /// What was called on the copy.
    pub(super) pending: RefCell<Rc<Pending>>,
    /// Copies that were put aside, the last one last.
    pub(super) forks: RefCell<Vec<Aside>>,
    /// The run that what is typed belongs to, on the cluster itself.
    pub(super) live: RefCell<Option<Typed>>,
    /// The runbook whose checks and steps can be done one by one.
    pub(super) loaded: RefCell<Option<Loaded>>,
    /// Where they are done now.
    pub(super) stage: Rc<RefCell<Stage>>,
    pub(super) find: fn(&str) -> Result<Source>,
    pub(super) modules: Vec<PathBuf>,
    recorder: RefCell<Box<dyn Recorder>>,
    person: Rc<Person>,
    cancel: Cancel,
    pub(super) runtime: Rc<Runtime>,
    pub(super) screen: Rc<Screen>,
    pub(super) prompt: Prompt,
    /// The secrets that were met: nothing of them is shown.
    pub(super) secrets: Rc<Redactor>,
    /// Whether a line failed.
    failed: Cell<bool>,
}

/// Runs a session to its end: Ctrl-D, `:quit`, or the end of the input. Gives the exit code.
///
/// # Errors
/// When the terminal or the interpreter fails. What a line raises is told, and the session goes on; where nobody watches, the exit
/// code is 1 then.
pub fn run(setting: Setting) -> Result<u8> {
    let cluster = setting.cluster.planning();
    cluster.set_access(Access::ReadWrite);
    let engine = Engine::of_thread()?;
    let (pending, began) = (Rc::<Pending>::default(), cluster.clock().now());
    let secrets = hiding::nothing_yet();
    setting.screen.hides(secrets.clone());
    let scene = scene(&cluster, &setting.screen, &pending, &secrets);
    let terminal = Rc::new(Terminal::start(setting.history)?);
    let (screen, cancel) = (setting.screen.clone(), setting.cancel.clone());
    let person = Rc::new(Person { terminal: terminal.clone(), screen, cancel, there: setting.watched });
    let stage = Rc::new(RefCell::new(loaded::stage(&scene, &setting.screen)));
    let session = Session {
        prompt: Prompt::new(&engine, setting.runtime.clone(), scene, setting.modules.clone())?,
        real: setting.cluster,
        cluster: RefCell::new(cluster),
        began: Cell::new(began),
        pending: RefCell::new(pending),
        forks: RefCell::default(),
        live: RefCell::default(),
        loaded: RefCell::default(),
        stage,
        find: setting.find,
        modules: setting.modules,
        recorder: RefCell::new(setting.recorder),
        person,
        cancel: setting.cancel,
        runtime: setting.runtime,
        screen: setting.screen,
        secrets,
        failed: Cell::new(false),
    };
    let ended = |session: &Session| {
        session.dry();
        Ok(u8::from(!setting.watched && session.failed.get()))
    };
    session.screen.talk(&commands::banner(&session.cluster.borrow().label().name));
    loop {
        if !terminal.prompt(&session.prompt_text()) {
            return ended(&session);
        }
        loop {
            match terminal.next() {
                Message::Line(line) => {
                    if session.line(&line) {
                        return ended(&session);
                    }
                    break;
                }
                Message::Interrupted => break,
                Message::End => return ended(&session),
                Message::Failed(why) => {
                    session.dry();
                    return Err(Error::internal("reading from the terminal").cause(why));
                }
                question => session.answer(question),
            }
        }
    }
}

fn scene(cluster: &Cluster, screen: &Rc<Screen>, pending: &Rc<Pending>, secrets: &Rc<Redactor>) -> Scene {
    let reporter = Rc::new(Reporter::new(screen.clone(), cluster.clone(), pending.clone(), secrets.clone()));
    Scene {
        params: Rc::new(Params::new()),
        state: State::new(),
        cx: Cx { cluster: cluster.clone(), talk: reporter.clone() },
        calls: reporter,
    }
}

impl Session {
    fn prompt_text(&self) -> String {
        let cluster = self.cluster.borrow();
        let name = cluster.label().name;
        let mode = if self.live.borrow().is_some() { "LIVE" } else { "dry" };
        match cluster.namespace() {
            "default" => format!("{} ({mode}) > ", escape::line(&name)),
            namespace => format!("{}/{} ({mode}) > ", escape::line(&name), escape::line(namespace)),
        }
    }

    /// Runs a line; true ends the session.
    fn line(&self, line: &str) -> bool {
        let text = line.trim();
        if text.is_empty() {
            return false;
        }
        if let Some(verb) = text.strip_prefix('?') {
            self.tell(commands::help(verb.trim()));
            return false;
        }
        if text.starts_with(':') {
            match commands::parse(text) {
                Ok(Command::Quit) => return true,
                Ok(Command::Help) => self.screen.data(&commands::overview()),
                Ok(command) => self.command(&command),
                Err(error) => self.failed(&error),
            }
            return false;
        }
        self.evaluate(text);
        false
    }

    fn command(&self, command: &Command) {
        let done = match command {
            Command::Live(true) => self.go_live(),
            Command::Commit => self.commit(),
            Command::Fork => self.fork(),
            Command::Undo => self.undo(),
            Command::Diff => self.diff(),
            Command::Save(file) => self.save(file),
            Command::Load(runbook, words) => self.load(runbook, words),
            Command::Checks => self.checks(),
            Command::Step(id) => self.step(id),
            Command::Plan => {
                self.show_plan();
                Ok(())
            }
            Command::Live(false) => {
                if !self.dry() {
                    self.screen.talk("calls act on a copy already");
                }
                Ok(())
            }
            Command::Namespace(name) => {
                self.change_namespace(name);
                Ok(())
            }
            Command::Help | Command::Quit => Ok(()),
        };
        if let Err(error) = done {
            self.failed(&error);
        }
        // Ctrl-C ends the command, not the session.
        self.cancel.reset();
    }

    fn tell(&self, text: Result<String>) {
        match text {
            Ok(text) => self.screen.data(&text),
            Err(error) => self.failed(&error),
        }
    }

    /// Tells what is wrong with a line.
    fn failed(&self, error: &Error) {
        self.failed.set(true);
        self.screen.error(error);
    }

    fn change_namespace(&self, name: &str) {
        let changed = self.cluster.borrow().with_namespace(name);
        self.act_on(changed);
    }

    /// Calls act on this from now on.
    pub(super) fn act_on(&self, cluster: Cluster) {
        let scene = match &*self.live.borrow() {
            None => scene(&cluster, &self.screen, &self.pending.borrow(), &self.secrets),
            Some(typed) => Scene {
                params: Rc::new(Params::new()),
                state: State::new(),
                cx: Cx { cluster: cluster.clone(), talk: typed.talk() },
                calls: typed.calls(),
            },
        };
        *self.stage.borrow_mut() = loaded::stage(&scene, &self.screen);
        self.prompt.set_scene(scene);
        *self.cluster.borrow_mut() = cluster;
    }

    /// Lets calls act on the cluster itself, after a person's yes.
    fn go_live(&self) -> Result<()> {
        if self.live.borrow().is_some() {
            self.screen.talk("calls act on the cluster itself already; `:live off` ends that");
            return Ok(());
        }
        let question = format!("Let calls act on `{}` itself, as soon as they are typed?", escape::line(&self.real.label().name));
        if !self.consents(&question)? {
            self.screen.talk("not accepted: calls act on a copy");
            return Ok(());
        }
        let left = self.pending.borrow().calls().len();
        self.begin_live()?;
        if left > 0 {
            self.screen
                .talk(&format!("what was tried on the copy is not made: {} dropped; `:commit` would have made them", plural(left, "call")));
        }
        let run = self.real.run();
        self.screen.talk(&format!(
            "live: run {run}; every write is recorded, and nobody else may run on this cluster until `:live off`; `lockgate rollback {run}` then takes back what was written"
        ));
        Ok(())
    }

    /// Asks the person at the prompt; on the sandbox nobody is asked where nobody is, as with a run.
    pub(super) fn consents(&self, question: &str) -> Result<bool> {
        match self.person.yes_or_no(question)? {
            Some(answer) => Ok(answer),
            None if self.real.label().simulated => Ok(true),
            None => Err(Error::usage("there is no terminal to ask for consent: calls act on a copy").hint("write a runbook, and run it")),
        }
    }

    /// Takes the lock and begins a run: what is called belongs to it from now on.
    pub(super) fn begin_live(&self) -> Result<()> {
        let shown = Shown { screen: self.screen.clone(), transcript: Transcript::new(self.screen.talk_paint) };
        let job = self.recorder.borrow_mut().begin(self.person.clone(), Rc::new(RefCell::new(shown)))?;
        let namespace = self.cluster.borrow().namespace().to_owned();
        let cluster = job.cluster.with_namespace(&namespace);
        *self.live.borrow_mut() = Some(Typed::begin(job, self.secrets.clone()));
        self.act_on(cluster);
        Ok(())
    }

    /// Lets calls act on a copy again, as the cluster is now; the lock is given back. False when they do already.
    pub(super) fn dry(&self) -> bool {
        let Some(typed) = self.live.borrow_mut().take() else { return false };
        let run = self.real.run();
        let summary = typed.end();
        self.recorder.borrow_mut().end(&summary);
        let written = match summary.writes {
            0 => "nothing was written".to_owned(),
            writes => format!("{} to {}", plural(writes, "write"), plural(summary.objects.len(), "object")),
        };
        self.screen.talk(&format!("dry: run {run} is over, {written}; calls act on a new copy"));
        self.loaded.borrow_mut().iter_mut().for_each(Loaded::is_copied);
        self.copies_anew();
        true
    }

    fn evaluate(&self, text: &str) {
        let outcome = match &*self.live.borrow() {
            None => self.prompt.eval(text),
            Some(typed) => typed.line(text, || self.prompt.eval(text)),
        };
        self.screen.rest();
        match outcome {
            Ok(Evaluated::Values(values)) => {
                let now = self.cluster.borrow().clock().now();
                for value in &values {
                    match show::show(value, now, &self.secrets) {
                        Ok(text) if text.is_empty() => {}
                        Ok(text) => self.screen.data(&escape::lines(&text)),
                        Err(error) => self.failed(&error),
                    }
                }
            }
            Ok(Evaluated::Incomplete) => self.failed(&Error::usage("the line is not complete")),
            Err(error) => self.failed(&error),
        }
        // Ctrl-C ends the call, not the session.
        self.cancel.reset();
    }

    /// Answers what the editor asks while a line is typed.
    fn answer(&self, message: Message) {
        // An editor that no longer listens needs no answer.
        match message {
            Message::Incomplete(text, reply) => drop(reply.send(self.prompt.incomplete(&text))),
            Message::Complete(line, position, reply) => drop(reply.send(complete::complete(&line, position, self))),
            Message::Signature(verb, reply) => drop(reply.send(primitives::find(&verb).map(Definition::signature))),
            Message::Line(_) | Message::Interrupted | Message::End | Message::Failed(_) => {}
        }
    }
}

impl complete::Source for Session {
    fn definitions(&self) -> Vec<&'static Definition> {
        commands::words()
    }

    fn session_names(&self) -> Vec<String> {
        self.prompt.names()
    }

    fn kinds(&self) -> Vec<String> {
        let mut kinds: Vec<String> = self.cluster.borrow().known_kinds().iter().map(|kind| kind.singular.clone()).collect();
        kinds.sort();
        kinds.dedup();
        kinds
    }

    fn object_names(&self, kind: &str, namespace: Option<&str>) -> Vec<String> {
        let cluster = self.cluster.borrow().clone();
        let listed = self.runtime.block_on(async {
            let (kind, group) = kind.split_once('.').map_or((kind, None), |(kind, group)| (kind, Some(group)));
            let resource = cluster.resolve(kind, group).await?;
            let namespace = resource.namespaced.then(|| namespace.unwrap_or(cluster.namespace()).to_owned());
            cluster.list(&resource, namespace.as_deref(), &Select::default()).await
        });
        match listed {
            Ok(listed) => listed.items.iter().filter_map(|item| Some(item["metadata"]["name"].as_str()?.to_owned())).collect(),
            Err(error) => {
                tracing::debug!(%error, kind, "nothing to complete");
                Vec::new()
            }
        }
    }

    fn commands(&self) -> Vec<&'static str> {
        commands::NAMES.iter().map(|(name, _)| *name).collect()
    }
}

/// The reference of one verb, for `?verb`.
pub(super) fn reference_of(definition: &Definition) -> String {
    reference::verb(definition)
}
