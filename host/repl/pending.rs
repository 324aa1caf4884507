//! What was called on the copy and is not done on the cluster itself: writes, waits and questions, in order.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use crate::base::json::Value as Json;
use crate::base::{Error, Span, Timestamp};
use crate::cluster::{Cluster, Drift};
use crate::primitives::{self, Effect, Inverse};
use crate::report::{Paint, Transcript};
use crate::run::event::{Item, Stays, StepEnd, TargetInfo};
use crate::run::{Again, Call, End, Event, Known, Record, Summary, What, typed};

/// Stands for the verb where a whole step of a runbook was done: its id and the runbook are the arguments.
pub(super) const PART: &str = ":step";

/// A call on the copy.
#[derive(Clone)]
pub(super) struct Made {
    /// The call.
    pub(super) call: Call,
    /// The namespace of references that named none.
    pub(super) namespace: String,
    /// What it did there.
    events: Vec<Event>,
    /// What it took for granted.
    assumed: Vec<String>,
    /// Why it failed, after it had written.
    pub(super) error: Option<Error>,
    /// When it was over, by the time of the copy.
    until: Timestamp,
    /// Makes it once more.
    pub(super) again: Again,
}

impl Made {
    /// What it did there.
    pub(super) fn events(&self) -> &[Event] {
        &self.events
    }

    /// The call in one line: an object by its name, a function by that word.
    pub(super) fn title(&self) -> String {
        let Call { verb, arguments, options, .. } = &self.call;
        if verb == PART {
            let words: Vec<&str> = arguments.iter().filter_map(Json::as_str).collect();
            return format!("step {}", words.join(" of "));
        }
        let argument = |argument: &Json| match argument {
            Json::Null => "function".to_owned(),
            Json::Object(fields) if fields.get("kind").is_some() => {
                Call { arguments: vec![argument.clone()], ..self.call.clone() }.target(&self.namespace)
            }
            other => other.to_string(),
        };
        let options = Some(options).filter(|options| !options.is_null()).map(Json::to_string);
        let all: Vec<String> = arguments.iter().map(argument).chain(options).collect();
        let (all, most) = (all.join(", "), 200);
        match all.char_indices().nth(most) {
            Some((end, _)) => format!("{verb}({}…)", all.get(..end).unwrap_or_default()),
            None => format!("{verb}({all})"),
        }
    }
}

/// The calls since the copy was made.
#[derive(Default)]
pub(super) struct Pending {
    calls: RefCell<Vec<Made>>,
    /// What the running call has done so far.
    events: RefCell<Vec<Event>>,
    assumed: RefCell<Vec<String>>,
    /// How many requests there were before it.
    sent: Cell<Option<usize>>,
}

impl Pending {
    /// These calls are pending.
    pub(super) fn of(calls: Vec<Made>) -> Rc<Pending> {
        Rc::new(Pending { calls: RefCell::new(calls), ..Pending::default() })
    }

    /// They.
    pub(super) fn calls(&self) -> Vec<Made> {
        self.calls.borrow().clone()
    }

    /// A call begins, perhaps inside of another.
    pub(super) fn begin(&self, cluster: &Cluster) {
        if self.sent.get().is_none() {
            self.sent.set(Some(cluster.sent()));
        }
    }

    /// What was called since [`Pending::begin`] is nothing to be done.
    pub(super) fn forget(&self) {
        self.events.borrow_mut().clear();
        self.assumed.borrow_mut().clear();
        self.sent.set(None);
    }

    /// Something happened.
    pub(super) fn keep(&self, event: &Event) {
        self.events.borrow_mut().push(event.clone());
    }

    /// Something was taken for granted.
    pub(super) fn assume(&self, text: &str) {
        self.assumed.borrow_mut().push(text.to_owned());
    }

    /// A call that a line made is over. It is pending when there is something in it to be done: reads, notes, and what failed before it
    /// had written are not.
    pub(super) fn made(&self, cluster: &Cluster, call: &Call, error: Option<&Error>, again: Again) {
        let events = std::mem::take(&mut *self.events.borrow_mut());
        let assumed = std::mem::take(&mut *self.assumed.borrow_mut());
        let sent = self.sent.take().unwrap_or_else(|| cluster.sent());
        let wrote = || {
            let done = |status: Option<u16>| status.is_some_and(|status| status < 300);
            cluster.requests_after(sent).iter().any(|request| request.verb.is_write() && !request.dry_run && done(request.status))
        };
        if !counts(call) || error.is_some() && !wrote() {
            return;
        }
        let (namespace, until) = (cluster.namespace().to_owned(), cluster.clock().now());
        let made = Made { call: call.clone(), namespace, events, assumed, error: error.cloned(), until, again };
        self.calls.borrow_mut().push(made);
    }
}

/// Whether a call does something that would have to be done on the cluster too.
fn counts(call: &Call) -> bool {
    if call.verb == PART {
        return true;
    }
    let Some(verb) = primitives::find(&call.verb) else { return false };
    match verb.effect_in(call.options.get("read") == Some(&true.into())) {
        Effect::Write | Effect::Ask => true,
        Effect::Read => call.verb.starts_with("wait_"),
        Effect::Tell | Effect::Pure => false,
    }
}

/// The pending calls as a plan, a step each.
pub(super) fn plan(calls: &[Made], cluster: &Cluster, began: Timestamp, drift: Option<Drift>, paint: Paint) -> String {
    let label = cluster.label();
    let target = TargetInfo { name: label.name, simulated: label.simulated };
    let mut events = vec![Event::Started {
        what: What::Plan,
        run: cluster.run().to_string(),
        runbook: typed::PROMPT.to_owned(),
        title: "What was called on the copy".to_owned(),
        target,
        namespace: cluster.namespace().to_owned(),
        params: BTreeMap::new(),
        checks: Vec::new(),
        steps: calls.len(),
        resumes: false,
    }];
    for (place, made) in calls.iter().enumerate() {
        let step = Item { id: made.call.verb.clone(), title: made.title(), number: place + 1, of: calls.len(), part: None };
        events.push(Event::StepStarted { step: step.clone() });
        events.extend(made.events.iter().cloned());
        let end = made.error.as_ref().map_or(StepEnd::Done { recovered: false }, |error| StepEnd::Failed { error: error.clone() });
        events.push(Event::StepFinished { step, end, took: Span::ZERO });
    }
    events.push(Event::Finished { what: What::Plan, summary: summary(calls, cluster, began, drift) });
    let mut transcript = Transcript::new(paint);
    let at = cluster.clock().now();
    let records = events.into_iter().zip(1..).map(|(event, seq)| Record { seq, at, item: None, event });
    records.map(|record| transcript.lines(&record)).collect()
}

/// The sum of the calls.
fn summary(calls: &[Made], cluster: &Cluster, began: Timestamp, drift: Option<Drift>) -> Summary {
    let events = || calls.iter().flat_map(|made| &made.events);
    let (mut writes, mut invertible) = (0, 0);
    let (mut objects, mut confirmations, mut stays) = (Vec::new(), Vec::new(), Vec::<Stays>::new());
    let mut assumptions: Vec<String> = calls.iter().flat_map(|made| made.assumed.iter().cloned()).collect();
    for event in events() {
        match event {
            Event::Wrote { verb, target, inverse, .. } => {
                writes += 1;
                invertible += usize::from(matches!(inverse, Inverse::Call { .. }));
                stays.extend(Stays::of(verb, target, inverse).filter(|one| !stays.contains(one)));
                if !objects.contains(target) {
                    objects.push(target.clone());
                }
            }
            Event::Asked { confirmation, answer, known: Known::Assumed, .. } => {
                assumptions.push(format!("the answer to `{}`: {}", confirmation.question, answer.as_deref().unwrap_or_default()));
            }
            Event::Asked { confirmation, .. } => confirmations.push(confirmation.clone()),
            _ => {}
        }
    }
    let error = calls.iter().find_map(|made| made.error.clone());
    let unknowns = cluster.unknowns();
    let (end, exit_code) = match &error {
        Some(error) => (End::Failed, error.kind.exit_code()),
        None if unknowns.is_empty() && assumptions.is_empty() => (End::Succeeded, 0),
        None => (End::Succeeded, 3),
    };
    let took = Span::between(began, calls.last().map_or(began, |made| made.until));
    Summary {
        end,
        exit_code,
        writes,
        objects,
        unsure: Vec::new(),
        invertible,
        no_return: Vec::new(),
        stays,
        took,
        unknowns,
        assumptions,
        drift,
        confirmations,
        requests: Vec::new(),
        error,
    }
}
