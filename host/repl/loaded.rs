//! A runbook at the prompt: its checks asked, its steps done one by one, on the copy or on the cluster itself.

use std::cell::RefCell;
use std::rc::Rc;

use super::pending::PART;
use super::session::Session;
use crate::base::json::Value as Json;
use crate::base::{Error, Result};
use crate::lua::LuaHost;
use crate::primitives::registry::plural;
use crate::report::{Screen, Transcript, escape};
use crate::run::parts::{Parts, Stage};
use crate::run::runbook::ParamType;
use crate::run::{Again, Call, Event, Given, Record, Runbook, Scene, Script as _, State, params};

/// The runbook of the session.
pub(super) struct Loaded {
    parts: Rc<RefCell<Parts>>,
    /// `state` as it was when the copy was made.
    base: State,
    /// Whether its checks were asked: what they find may stand in `state`.
    asked: bool,
}

impl Loaded {
    /// `state` as it is now.
    pub(super) fn state(&self) -> State {
        self.parts.borrow().state().clone()
    }

    /// `state` is this again.
    pub(super) fn goes_back(&self, state: State) {
        self.parts.borrow_mut().set_state(state);
    }

    /// `state` is what it was when the copy was made.
    pub(super) fn goes_back_to_copy(&self) {
        self.goes_back(self.base.clone());
    }

    /// A new copy begins with `state` as it is now.
    pub(super) fn is_copied(&mut self) {
        self.base = self.state();
    }
}

/// Where the parts of a runbook are done now.
pub(super) fn stage(scene: &Scene, screen: &Rc<Screen>) -> Stage {
    let (screen, clock) = (screen.clone(), scene.cx.cluster.clock().clone());
    let transcript = RefCell::new(Transcript::new(screen.talk_paint));
    let tell = move |event: Event| {
        screen.rest();
        let lines = transcript.borrow_mut().lines(&Record { seq: 0, at: clock.now(), item: None, event });
        if !lines.is_empty() {
            screen.talk(&lines);
        }
    };
    Stage { cx: scene.cx.clone(), calls: scene.calls.clone(), tell: Rc::new(tell) }
}

impl Session {
    /// Takes a runbook in, with its parameters; `params` and `state` of the prompt are its own from then on.
    pub(super) fn load(&self, word: &str, words: &[String]) -> Result<()> {
        let source = (self.find)(word)?;
        let mut script = LuaHost::new(source, Some(self.runtime.clone()))?.with_modules(self.modules.clone());
        let runbook = Rc::new(script.load()?);
        if let Some(secret) = runbook.params.iter().find(|decl| decl.ty == ParamType::Secret) {
            return Err(Error::usage(format!(
                "`{}` takes the secret `{}`, and what is typed here is kept in the history",
                runbook.name, secret.name
            ))
            .hint(format!("run it: `lockgate run {word}`")));
        }
        let given = params::resolve(&runbook, &Given::words(words)?, &mut |pattern, text| script.matches(pattern, text))?;
        let given = Rc::new(given);
        self.prompt.set_params(&given)?;
        self.screen.data(&contents(&runbook));
        let parts = Rc::new(RefCell::new(Parts::of(Box::new(script), runbook, given)));
        *self.loaded.borrow_mut() = Some(Loaded { parts, base: State::new(), asked: false });
        Ok(())
    }

    fn parts(&self) -> Result<Rc<RefCell<Parts>>> {
        let loaded = self.loaded.borrow();
        let loaded = loaded.as_ref().ok_or_else(|| Error::usage("no runbook is loaded").hint("`:load RUNBOOK name=value …` loads one"))?;
        Ok(loaded.parts.clone())
    }

    /// Asks every check of the runbook.
    pub(super) fn checks(&self) -> Result<()> {
        let parts = self.parts()?;
        let stage = self.stage.borrow().clone();
        let ask = || parts.borrow_mut().checks(&stage);
        let asked = match &*self.live.borrow() {
            None => ask(),
            Some(typed) => typed.line(":checks", ask),
        };
        // What a check reads is nothing to be done on the cluster.
        self.pending.borrow().forget();
        self.screen.rest();
        self.loaded.borrow_mut().iter_mut().for_each(|loaded| loaded.asked = true);
        asked?;
        self.screen.talk(&format!("{} asked, none failed", plural(parts.borrow().runbook().checks.len(), "check")));
        Ok(())
    }

    /// Does a step of the runbook. On a copy it is pending afterwards, as a whole.
    pub(super) fn step(&self, id: &str) -> Result<()> {
        let parts = self.parts()?;
        let unasked = self.loaded.borrow().as_ref().is_some_and(|loaded| !loaded.asked);
        if unasked && !parts.borrow().runbook().checks.is_empty() {
            self.screen.talk("its checks were not asked yet, and steps may need what they find: `:checks` asks them");
        }
        let stage = self.stage.clone();
        let again: Again = {
            let (parts, stage, id) = (parts.clone(), stage.clone(), id.to_owned());
            Rc::new(move || {
                let now = stage.borrow().clone();
                parts.borrow_mut().step(&id, &now)
            })
        };
        let done = match &*self.live.borrow() {
            None => {
                let cluster = self.cluster.borrow().clone();
                self.pending.borrow().begin(&cluster);
                let done = again();
                let name = parts.borrow().runbook().name.clone();
                let arguments = vec![Json::from(id), Json::from(name.as_str())];
                let call = Call { verb: PART.to_owned(), arguments, options: Json::Null, places: Vec::new() };
                self.pending.borrow().made(&cluster, &call, done.as_ref().err(), again.clone());
                done
            }
            Some(typed) => typed.line(&format!(":step {id}"), || again()),
        };
        self.screen.rest();
        done
    }
}

/// What there is to be asked and done.
fn contents(runbook: &Runbook) -> String {
    let width = runbook.checks.iter().map(|check| &check.id).chain(runbook.steps.iter().map(|step| &step.id));
    let width = width.map(|id| id.chars().count()).max().unwrap_or_default();
    let mut text = format!("{}: {}\n", runbook.name, runbook.header.title);
    if !runbook.checks.is_empty() {
        text.push_str("checks    `:checks` asks them\n");
        runbook.checks.iter().for_each(|check| text.push_str(&format!("  {:<width$}  {}\n", check.id, check.title)));
    }
    text.push_str("steps     `:step ID` does one\n");
    for step in &runbook.steps {
        let title = step.title_or_id();
        let each = if step.each.is_some() || step.group.is_some() { "  (for each item; `ID/ITEM` for one)" } else { "" };
        let title = if title == step.id { "" } else { title };
        text.push_str(format!("  {:<width$}  {title}{each}", step.id).trim_end());
        text.push('\n');
    }
    escape::lines(&text).into_owned()
}
