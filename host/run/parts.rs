//! The checks and steps of a runbook one by one, as a person at the prompt asks for them: on the copy, or on the cluster itself as part of
//! the line that is typed.

use std::cell::Cell;
use std::rc::Rc;

use super::attempts::{Attempt, Hands, asked};
use super::event::{Event, Item, Known, Part, StepEnd, Verdict};
use super::replay::Replay;
use super::runbook::{CallbackId, Each, Owner, Params, Phase, Runbook, State, StepDecl, Title};
use super::runner::{at_once, skipped, within};
use super::script::{Again, Call, Calls, Returned, Scene, Script};
use super::step::{list, named, text};
use crate::base::{Error, Kind, Reason, Result, Span, Value, did_you_mean};
use crate::cluster::Access;
use crate::cluster::permit::GrantedBy;
use crate::primitives::{Cx, Done};

/// A runbook whose parts are done one by one. `state` lives from one to the next.
pub struct Parts {
    script: Box<dyn Script>,
    runbook: Rc<Runbook>,
    params: Rc<Params>,
    state: State,
}

/// Where a part is done.
#[derive(Clone)]
pub struct Stage {
    /// What primitives use. The runbook's own namespace stands before that of the cluster.
    pub cx: Cx,
    /// Who is told of every call.
    pub calls: Rc<dyn Calls>,
    /// Who is told of checks and steps.
    pub tell: Rc<dyn Fn(Event)>,
}

impl Parts {
    /// The parts of this runbook with these parameters.
    #[must_use]
    pub fn of(script: Box<dyn Script>, runbook: Rc<Runbook>, params: Rc<Params>) -> Parts {
        Parts { script, runbook, params, state: State::new() }
    }

    /// What the file declares.
    #[must_use]
    pub fn runbook(&self) -> &Runbook {
        &self.runbook
    }

    /// `state` as the last part left it.
    #[must_use]
    pub fn state(&self) -> &State {
        &self.state
    }

    /// The next part begins with this `state`.
    pub fn set_state(&mut self, state: State) {
        self.state = state;
    }

    /// Asks every check.
    ///
    /// # Errors
    /// The first that does not hold, after all were asked.
    pub fn checks(&mut self, stage: &Stage) -> Result<()> {
        let runbook = self.runbook.clone();
        let mut outcome = Ok(());
        for (place, decl) in runbook.checks.iter().enumerate() {
            let check = Item { id: decl.id.clone(), title: decl.title.clone(), number: place + 1, of: runbook.checks.len(), part: None };
            let (owner, started) = (Owner::Check(place), stage.cx.cluster.clock().now());
            (stage.tell)(Event::CheckStarted { check: check.clone() });
            let asked = self.within(stage, |hand| asked(decl, owner, |phase| hand.call(owner, phase, Vec::new())));
            let verdict = asked.unwrap_or_else(|error| Verdict::Failed { error });
            let took = Span::between(started, stage.cx.cluster.clock().now());
            (stage.tell)(Event::CheckFinished { check, verdict: verdict.clone(), known: Known::Observed, took });
            if let Verdict::Failed { error } = verdict {
                if error.kind == Kind::Cancelled {
                    return Err(error);
                }
                outcome = outcome.and(Err(within(error, "check", &decl.id)));
            }
        }
        outcome
    }

    /// Does a step: `ID`, or `ID/ITEM` for one item of its `each` or of its group's.
    ///
    /// # Errors
    /// There is no such step or item; what the step raised.
    pub fn step(&mut self, id: &str, stage: &Stage) -> Result<()> {
        let (wanted, item) = id.split_once('/').map_or((id, None), |(step, item)| (step, Some(item)));
        let place = self.find(wanted)?;
        let runbook = self.runbook.clone();
        let decl = &runbook.steps[place];
        let each = match decl.group {
            Some(group) => Some((Owner::Group(group), &runbook.groups[group].each)),
            None => decl.each.as_ref().map(|each| (Owner::Step(place), each)),
        };
        let Some((owner, each)) = each else {
            return match item {
                None => self.one(stage, place, decl, None),
                Some(item) => Err(Error::usage(format!("step `{wanted}` is done once: it has no item `{item}`"))),
            };
        };
        let items = match each {
            Each::List(items) => items.clone(),
            Each::Function => {
                let given = self.within(stage, |hand| hand.call(owner, Phase::Each, Vec::new()))?;
                list(&format!("step {wanted}"), given.value(0).clone())?
            }
        };
        let items = named(&format!("step {wanted}"), items)?;
        if let Some(item) = item
            && !items.iter().any(|one| one.name == item)
        {
            let error = Error::usage(format!("step `{wanted}` has no item `{item}`"));
            let names = || items.iter().map(|one| one.name.as_str());
            return Err(match did_you_mean(item, names()) {
                Some(near) => error.hint(format!("did you mean `{wanted}/{near}`?")),
                None if items.is_empty() => error.hint("it has no items now"),
                None => error.hint(format!("its items are {}", names().collect::<Vec<_>>().join(", "))),
            });
        }
        for one in items.into_iter().filter(|one| item.is_none_or(|item| one.name == item)) {
            self.one(stage, place, decl, Some((one.value, one.part)))?;
        }
        Ok(())
    }

    fn find(&self, id: &str) -> Result<usize> {
        if let Some(place) = self.runbook.steps.iter().position(|step| step.id == id) {
            return Ok(place);
        }
        let names = || self.runbook.steps.iter().map(|step| step.id.as_str());
        let error = Error::usage(format!("runbook `{}` has no step `{id}`", self.runbook.name));
        Err(match did_you_mean(id, names()) {
            Some(near) => error.hint(format!("did you mean `{near}`?")),
            None => error.hint(format!("its steps are {}", names().collect::<Vec<_>>().join(", "))),
        })
    }

    /// A step for one item, or for none.
    fn one(&mut self, stage: &Stage, place: usize, decl: &StepDecl, one: Option<(Value, Part)>) -> Result<()> {
        let key = one.as_ref().map_or_else(|| decl.id.clone(), |(_, part)| format!("{}/{}", decl.id, part.name));
        let (given, part) = one.map_or((Vec::new(), None), |(value, part)| (vec![value], Some(part)));
        let of = self.runbook.steps.len();
        let item = |title: String| Item { id: key.clone(), title, number: place + 1, of, part: part.clone() };
        let (owner, started) = (Owner::Step(place), stage.cx.cluster.clock().now());
        let begun = Cell::new(false);
        let done = self.within(stage, |hand| {
            let title = match &decl.title {
                Title::Text(text) => text.clone(),
                Title::Function => text(&hand.call(owner, Phase::Title, given.clone())?, &format!("the title of step `{key}`"))?,
            };
            begun.set(true);
            (stage.tell)(Event::StepStarted { step: item(title) });
            if decl.has_when
                && let Some(why) = skipped(&hand.call(owner, Phase::When, given.clone())?)
            {
                return Ok(StepEnd::Skipped { why });
            }
            hand.gate(owner, decl, &given, &key)?;
            let attempt = Attempt { decl, place, key: &key, given: given.clone() };
            at_once(attempt.made(hand))?
        });
        let step = item(decl.title_or_id().to_owned());
        if !begun.get() {
            (stage.tell)(Event::StepStarted { step: step.clone() });
        }
        let took = Span::between(started, stage.cx.cluster.clock().now());
        let end = done.clone().unwrap_or_else(|error| StepEnd::Failed { error });
        (stage.tell)(Event::StepFinished { step, end, took });
        done.map(drop).map_err(|error| within(error, "step", &key))
    }

    /// In a scene of its own, under the runbook's permissions; `state` counts when all went well.
    fn within<T>(&mut self, stage: &Stage, work: impl FnOnce(&mut Hand<'_>) -> Result<T>) -> Result<T> {
        let cluster = match &self.runbook.header.namespace {
            Some(namespace) => stage.cx.cluster.with_namespace(namespace),
            None => stage.cx.cluster.clone(),
        };
        let before = cluster.access();
        if let Some(permissions) = &self.runbook.permissions {
            cluster.restrict(permissions.clone(), GrantedBy::Block);
            cluster.lift_permissions(false);
        }
        let calls = Rc::new(Recalled {
            inner: stage.calls.clone(),
            replay: Replay::default(),
            depth: Cell::new(0),
            phase: Cell::new(Phase::Title),
        });
        let cx = Cx { cluster: cluster.clone(), talk: stage.cx.talk.clone() };
        let scene = Scene { params: self.params.clone(), state: self.state.clone(), cx, calls: calls.clone() };
        let mut hand = Hand { script: &mut *self.script, scene, calls, tell: stage.tell.clone() };
        let done = hand.enter().and_then(|()| work(&mut hand));
        let left = hand.script.leave();
        cluster.set_access(before);
        if self.runbook.permissions.is_some() {
            cluster.lift_permissions(true);
        }
        let (done, state) = (done?, left?);
        self.state = state;
        Ok(done)
    }
}

/// Calls the functions of one check or step.
struct Hand<'a> {
    script: &'a mut dyn Script,
    scene: Scene,
    calls: Rc<Recalled>,
    tell: Rc<dyn Fn(Event)>,
}

impl Hand<'_> {
    fn enter(&mut self) -> Result<()> {
        self.scene.cx.cluster.set_access(Access::Load);
        self.script.enter(self.scene.clone())
    }

    fn call(&mut self, owner: Owner, phase: Phase, arguments: Vec<Value>) -> Result<Returned> {
        let cluster = &self.scene.cx.cluster;
        cluster.cancel().check()?;
        cluster.set_access(if phase.writes() { Access::ReadWrite } else { Access::ReadOnly });
        self.calls.phase.set(phase);
        let result = self.script.call(CallbackId { owner, phase }, arguments);
        cluster.set_access(Access::ReadOnly);
        // A script may have caught the interruption of a call; it is one all the same.
        if result.is_ok() { cluster.cancel().check().and(result) } else { result }
    }

    /// Asks what is always asked before the step.
    fn gate(&mut self, owner: Owner, decl: &StepDecl, given: &[Value], key: &str) -> Result<()> {
        let question = match &decl.gate {
            None => return Ok(()),
            Some(Title::Text(text)) => text.clone(),
            Some(Title::Function) => {
                let returned = self.call(owner, Phase::Gate, given.to_vec())?;
                if *returned.value(0) == Value::Nil {
                    return Ok(());
                }
                text(&returned, &format!("the gate of step `{key}`"))?
            }
        };
        at_once(self.scene.cx.talk.confirm(&question))?
    }
}

impl Hands for Hand<'_> {
    async fn called(&mut self, owner: Owner, phase: Phase, arguments: Vec<Value>) -> Result<Returned> {
        self.call(owner, phase, arguments)
    }

    /// Not where the person stopped it, nor what nobody can know on a copy.
    fn recoverable(&self, error: &Error) -> bool {
        !matches!(error.kind, Kind::Cancelled | Kind::Internal) && !error.is_stop() && error.reason != Reason::Unmodelled
    }

    fn tell(&self, event: Event) {
        (self.tell)(event);
    }

    fn begin_again(&mut self) -> Result<()> {
        self.script.leave()?;
        self.calls.replay.begin_again();
        self.enter()
    }
}

/// Stands before whoever is told of calls: a second attempt of `run` is given what the first one was.
struct Recalled {
    inner: Rc<dyn Calls>,
    replay: Replay,
    depth: Cell<usize>,
    phase: Cell<Phase>,
}

impl Recalled {
    fn is_of_run(&self) -> bool {
        self.depth.get() == 0 && self.phase.get() == Phase::Run
    }
}

impl Calls for Recalled {
    fn begin(&self, call: &Call) -> Result<Option<Result<Done>>> {
        if self.is_of_run()
            && let Some(result) = self.replay.recorded(call)?
        {
            return Ok(Some(result));
        }
        let begun = self.inner.begin(call)?;
        if begun.is_none() {
            self.depth.set(self.depth.get() + 1);
        }
        Ok(begun)
    }

    fn end(&self, call: &Call, result: &Result<Done>) {
        self.depth.set(self.depth.get().saturating_sub(1));
        self.inner.end(call, result);
        if self.is_of_run() {
            self.replay.keep(call, result);
        }
    }

    fn made(&self, _: &Call, _: &Result<Done>, _: Again) {}
}
