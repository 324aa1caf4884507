//! What runs now: which file's functions, in which phase, against which cluster.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use super::error::broken;
use super::lane::Port;
use crate::base::{Error, Kind, Reason, Result};
use crate::cluster::Cancel;
use crate::primitives::{Definition, Effect};
use crate::run::{Phase, Scene};

/// What the script is allowed at present.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// A file is being loaded: declarations only.
    Load,
    /// A function of a check or step.
    Call(Phase),
    /// A line at the prompt.
    Prompt,
    /// A function of a scenario: it has objects of its own, and no verbs.
    Scenario,
}

/// The state of one load of one file, or of one prompt.
pub(crate) struct Session {
    mode: Cell<Mode>,
    scene: RefCell<Option<Scene>>,
    /// The way to the main thread, in the thread of an item.
    port: RefCell<Option<Rc<Port>>>,
    runtime: Option<Rc<tokio::runtime::Runtime>>,
    /// The reason given to `not_needed`.
    pub(crate) not_needed: RefCell<Option<String>>,
    /// At the prompt: whether a verb is at work, so that what is called now is called by a function that it was given.
    pub(super) inside: Cell<bool>,
}

impl Session {
    pub(crate) fn new(mode: Mode, runtime: Option<Rc<tokio::runtime::Runtime>>) -> Rc<Session> {
        Rc::new(Session {
            mode: Cell::new(mode),
            scene: RefCell::default(),
            port: RefCell::default(),
            runtime,
            not_needed: RefCell::default(),
            inside: Cell::default(),
        })
    }

    pub(crate) fn mode(&self) -> Mode {
        self.mode.get()
    }

    pub(crate) fn set_mode(&self, mode: Mode) {
        self.mode.set(mode);
    }

    pub(crate) fn set_scene(&self, scene: Option<Scene>) {
        *self.scene.borrow_mut() = scene;
    }

    pub(crate) fn scene(&self) -> Option<Scene> {
        self.scene.borrow().clone()
    }

    pub(super) fn set_port(&self, port: Option<Rc<Port>>) {
        *self.port.borrow_mut() = port;
    }

    pub(super) fn port(&self) -> Option<Rc<Port>> {
        self.port.borrow().clone()
    }

    pub(crate) fn runtime(&self) -> Option<&Rc<tokio::runtime::Runtime>> {
        self.runtime.as_ref()
    }

    /// The switch of its cluster.
    pub(crate) fn cancel(&self) -> Option<Cancel> {
        let here = self.scene.borrow().as_ref().map(|scene| scene.cx.cluster.cancel().clone());
        here.or_else(|| self.port().map(|port| port.cancel()))
    }

    /// Whether this verb may be called now; `reads` says that the call has the option `read = true`.
    ///
    /// # Errors
    /// Says where it may be called.
    pub(crate) fn allow(&self, definition: &Definition, reads: bool) -> Result<()> {
        let name = definition.name;
        match (self.mode.get(), definition.effect_in(reads)) {
            (_, Effect::Pure) => Ok(()),
            (Mode::Load, _) => Err(while_loading(name)),
            (Mode::Scenario, _) => Err(in_scenario(name)),
            (Mode::Prompt, _) => Ok(()),
            (Mode::Call(phase), effect) if may_call(phase, effect) => Ok(()),
            (Mode::Call(phase), effect) => Err(out_of_place(phase, name, effect)),
        }
    }
}

/// Whether a verb of this effect may be called in this function of a declaration.
#[must_use]
pub(crate) fn may_call(phase: Phase, effect: Effect) -> bool {
    match effect {
        Effect::Pure | Effect::Read | Effect::Tell => true,
        Effect::Write => phase.writes(),
        Effect::Ask => phase.asks(),
    }
}

/// The error of a verb that may not be called in this function of a declaration.
pub(crate) fn out_of_place(phase: Phase, name: &str, effect: Effect) -> Error {
    let does = if effect == Effect::Write { "writes" } else { "asks the operator" };
    let (place, rule) = place(phase, effect);
    refused(format!("`{name}` {does}, and is called in {place}")).hint(rule)
}

/// The error of a verb in a scenario.
pub(crate) fn in_scenario(name: &str) -> Error {
    refused(format!("`{name}` is called in a scenario")).hint("a scenario acts through its `cluster` and looks through its `run`")
}

/// A verb or value that there is only in functions.
pub(crate) fn while_loading(name: &str) -> Error {
    broken(format!("`{name}` is called while the file loads"))
        .hint("a file only declares when it loads: put the call into a function of a `check` or `step`")
}

/// The same for `params` and `state`.
pub(crate) fn read_while_loading(name: &str) -> Error {
    broken(format!("`{name}` is read while the file loads"))
        .hint(format!("a file only declares when it loads: read `{name}` in a function of a `check` or `step`"))
}

fn refused(message: String) -> Error {
    Error::new(Kind::Runbook, Reason::Refused, message)
}

fn place(phase: Phase, effect: Effect) -> (&'static str, &'static str) {
    match (phase, effect) {
        (Phase::Check, _) => ("a check", "a check only reads: writes belong into the `run` of a step"),
        (Phase::Verify, Effect::Write) => ("`verify`", "`verify` only reads: writes belong into `run` or `recover`"),
        (Phase::Verify, _) => ("`verify`", "questions belong into a check, `run` or `recover`"),
        (Phase::When, _) => ("`when`", "`when` only reads and decides whether the step is needed"),
        (Phase::Title, _) => ("a title", "a title only reads"),
        (Phase::Each | Phase::Batch, _) => ("`each`", "it only reads and says what is to be done"),
        (Phase::Gate, _) => ("a gate", "a gate only reads; what it gives is asked"),
        (Phase::Run | Phase::Recover | Phase::Rollback, _) => ("a step", "this verb is not for steps"),
    }
}
