//! The `run` of a scenario: what happened, as questions that raise when the answer is no.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use crate::base::json::Value as Json;
use lockgate_sim::Cluster as Sim;

use super::cluster::reference;
use super::kill::{Kill, Lived, World};
use super::life::{Life, Start, Words};
use super::names::{Act, wrong};
use super::play::is_given;
use super::pods::Pods;
use crate::base::{Error, Kind, Reason, Result, Span, Value};
use crate::cluster::{Cluster, Simulation};
use crate::lua::{ABSENT, Methods};
use crate::primitives::registry::plural;
use crate::report::Transcript;
use crate::run::event::{StepEnd, Verdict};
use crate::run::{End, Event, Record, Summary};

/// What happened in a scenario.
pub(super) struct Outcome {
    /// Why its parameters were refused, before anything was planned.
    pub(super) refused: Option<Refused>,
    /// How it ended; none when it was killed, or refused.
    pub(super) summary: Option<Summary>,
    /// Everything that happened: of the run, or of the plan when that was not run.
    pub(super) records: Vec<Record>,
    /// The cluster as each of its processes saw it.
    pub(super) clusters: Vec<Cluster>,
    /// The same past the run.
    pub(super) simulation: Simulation,
    /// What goes on with the run, or takes it back; none where there is no run.
    pub(super) alive: Option<Alive>,
    /// The cluster before plan and run.
    pub(super) before: Sim,
    /// The namespace of references that name none.
    pub(super) namespace: String,
    /// Whether there was a run at all, or only a plan.
    pub(super) ran: bool,
}

/// A run that another process can work on.
#[derive(Clone)]
pub(super) struct Alive {
    pub(super) life: Rc<Life>,
    pub(super) world: Rc<World>,
}

/// Refused parameters, and whether somebody expected that.
pub(super) struct Refused {
    pub(super) error: Error,
    pub(super) expected: Cell<bool>,
}

fn unmet(message: impl Into<String>) -> Error {
    Error::new(Kind::Runbook, Reason::CheckFailed, message)
}

impl Outcome {
    fn acts(&self) -> Vec<Act> {
        self.clusters.iter().flat_map(acts).collect()
    }

    /// Every pod that there is or was.
    fn pods(&self) -> Pods {
        self.simulation.with(|sim| Pods::ever(&self.before, sim))
    }

    fn summary(&self) -> Result<&Summary> {
        if self.refused.is_some() {
            return Err(unmet("nothing was planned: the parameters were refused"));
        }
        self.summary.as_ref().ok_or_else(|| unmet("the run was killed before its end").hint("`run:resume()` goes on with it"))
    }

    fn act(&self, text: &str) -> Result<Act> {
        let parsed = self.simulation.with(|sim| Act::parse(text, &self.namespace, sim.store()));
        // What the run has undefined was there before it.
        let act = parsed.or_else(|error| Act::parse(text, &self.namespace, self.before.store()).map_err(|_| error))?;
        let key = act.about();
        let known = self.before.store().get(&key).is_some() || self.simulation.with(|sim| sim.store().get(&key).is_some());
        if let Act::OfPods { owner, .. } = &act
            && known
            && !self.pods().any_of(owner)
        {
            return Err(wrong(format!("`{text}` can match nothing: `{owner}` never had a pod")));
        }
        if known { Ok(act) } else { Err(wrong(format!("`{text}` can match nothing: there never was a `{key}`"))) }
    }

    fn ended(&self, end: End) -> Result<Value> {
        let ended = self.summary()?.end;
        if ended == end {
            return Ok(Value::Nil);
        }
        Err(unmet(format!("the run should end as {end:?}, but ended as {ended:?}")))
    }

    fn step_error(&self, id: &str) -> Option<&Error> {
        self.records.iter().find_map(|record| match &record.event {
            Event::StepFinished { step, end: StepEnd::Failed { error }, .. } if step.id == id => Some(error),
            _ => None,
        })
    }

    fn check_error(&self, id: &str) -> Option<&Error> {
        self.records.iter().find_map(|record| match &record.event {
            Event::CheckFinished { check, verdict: Verdict::Failed { error }, .. } if check.id == id => Some(error),
            _ => None,
        })
    }

    fn knows(&self, what: &str, id: &str) -> Result<()> {
        let known = self.records.iter().any(|record| match &record.event {
            Event::StepStarted { step } => what == "step" && step.id == id,
            Event::CheckStarted { check } => what == "check" && check.id == id,
            _ => false,
        });
        if known { Ok(()) } else { Err(unmet(format!("{what} `{id}` was never begun"))) }
    }
}

/// What was done on one cluster, in order.
fn acts(cluster: &Cluster) -> Vec<Act> {
    let requests = cluster.requests();
    let requests = requests.iter().filter_map(|request| Some(((request.seq, 0), Act::of(request)?)));
    let machines = cluster.on_machines();
    let machines = machines.iter().filter_map(|begun| Some(((begun.after as u64, 1), Act::on_machine(begun)?)));
    let mut acts: Vec<((u64, u8), Act)> = requests.chain(machines).collect();
    acts.sort_by_key(|(order, _)| *order);
    acts.into_iter().map(|(_, act)| act).collect()
}

/// The object that scripts get.
pub(super) fn object(outcome: &Rc<RefCell<Outcome>>) -> Methods {
    let mut methods = Methods::new("run");
    type Ask = fn(&Outcome, &[Value]) -> Result<Value>;
    let asks: [(&str, Ask); 13] = [
        ("succeeds", |outcome, _| outcome.ended(End::Succeeded)),
        ("not_needed", |outcome, _| outcome.ended(End::NotNeeded)),
        ("fails_step", |outcome, arguments| fails(outcome, arguments, "step")),
        ("fails_check", |outcome, arguments| fails(outcome, arguments, "check")),
        ("refuses", refuses),
        ("recovers", recovers),
        ("parks", parks),
        ("writes_nothing", writes_nothing),
        ("did", did),
        ("in_order", in_order),
        ("leaves", leaves),
        ("shows", shows),
        ("takes", takes),
    ];
    for (name, ask) in asks {
        let outcome = outcome.clone();
        methods = methods.method(name, move |arguments, _| ask(&outcome.borrow(), &arguments));
    }
    let (first, second) = (outcome.clone(), outcome.clone());
    methods
        .maker("resume", move |arguments, _| resume(&first, &arguments).map(|()| object(&first)))
        .maker("rollback", move |arguments, _| rollback(&second.borrow(), &arguments).map(|back| object(&Rc::new(RefCell::new(back)))))
}

/// The options `{ answers = { … }, to = … }` of a process that goes on.
fn options(arguments: &[Value]) -> Result<(Words, Option<String>)> {
    let (mut words, mut to) = (Words::new(), None);
    let given = match arguments.first().cloned().unwrap_or(Value::Nil).into_json() {
        Json::Null => return Ok((words, to)),
        Json::Object(given) => given,
        _ => return Err(wrong("argument 1 must be a table of options")),
    };
    for (name, value) in &given {
        match (name.as_str(), value) {
            ("answers", Json::Object(answers)) => {
                let text = |answer: &Json| answer.as_str().map_or_else(|| answer.to_string(), str::to_owned);
                words.extend(answers.iter().map(|(pattern, answer)| (pattern.to_string(), text(answer))));
            }
            ("to", Json::String(step)) => to = Some(step.to_string()),
            (other, _) => {
                return Err(wrong(format!("there is no option `{other}` here, or it has another type"))
                    .hint("the options are `answers`, a table, and for a rollback `to`, the id of a step"));
            }
        }
    }
    Ok((words, to))
}

/// `resume { answers }`: another process goes on with the run; `run` means both from then on.
fn resume(outcome: &RefCell<Outcome>, arguments: &[Value]) -> Result<()> {
    let (answers, to) = options(arguments)?;
    if to.is_some() {
        return Err(wrong("`to` is an option of a rollback"));
    }
    let alive = outcome.borrow().alive.clone();
    let alive = alive.ok_or_else(|| unmet("there is no run to go on with"))?;
    let lived = alive.life.process(Start { world: &alive.world, kill: Kill::No, answers })?;
    let mut outcome = outcome.borrow_mut();
    outcome.summary = lived.summary;
    outcome.records.extend(lived.records);
    outcome.clusters.push(lived.cluster);
    Ok(())
}

/// `rollback { answers, to }`: takes the run back; gives what came of that alone.
fn rollback(outcome: &Outcome, arguments: &[Value]) -> Result<Outcome> {
    let (answers, to) = options(arguments)?;
    let alive = outcome.alive.as_ref().ok_or_else(|| unmet("there is no run to take back"))?;
    let before = outcome.simulation.fork();
    let start = Start { world: &alive.world, kill: Kill::No, answers };
    let lived = alive.life.back(start, to.as_deref())?;
    let (lived, _) = lived.ok_or_else(|| unmet("the run wrote nothing that is to be taken back"))?;
    let Lived { summary, records, cluster, .. } = lived;
    Ok(Outcome {
        refused: None,
        summary,
        records,
        clusters: vec![cluster],
        simulation: outcome.simulation.clone(),
        alive: None,
        before,
        namespace: outcome.namespace.clone(),
        ran: true,
    })
}

fn text(arguments: &[Value], place: usize, what: &str) -> Result<String> {
    arguments.get(place).and_then(Value::as_text).ok_or_else(|| wrong(format!("argument {} must be {what}", place + 1)))
}

/// `fails_step(id, { reason, kind, message })`, `fails_check(…)`: the message is a part of the real one.
fn fails(outcome: &Outcome, arguments: &[Value], what: &str) -> Result<Value> {
    let id = text(arguments, 0, &format!("the id of a {what}"))?;
    outcome.knows(what, &id)?;
    let error = if what == "step" { outcome.step_error(&id) } else { outcome.check_error(&id) };
    let Some(error) = error else {
        return Err(unmet(format!("{what} `{id}` should fail, but did not")));
    };
    looks(error, arguments, 1, &format!("{what} `{id}` failed"))
}

/// `refuses { reason, kind, message }`: the parameters were refused, before anything was planned or contacted.
fn refuses(outcome: &Outcome, arguments: &[Value]) -> Result<Value> {
    match &outcome.refused {
        Some(refused) => {
            refused.expected.set(true);
            looks(&refused.error, arguments, 0, "the parameters were refused")
        }
        None => Err(unmet("the parameters should be refused, but were taken")),
    }
}

/// Whether an error is the one that is expected: the text, or the table, at this place of the arguments; anything where there is none.
fn looks(error: &Error, arguments: &[Value], place: usize, what: &str) -> Result<Value> {
    let expected = arguments.get(place).cloned().unwrap_or(Value::Nil).into_json();
    let whole = error.to_string();
    let fields = match &expected {
        Json::Null => return Ok(Value::Nil),
        Json::String(part) => vec![("message", part.as_str())],
        Json::Object(map) => map.iter().map(|(key, value)| (key.as_str(), value.as_str().unwrap_or_default())).collect(),
        _ => return Err(wrong(format!("argument {} must be a text or a table with `reason`, `kind`, `message`", place + 1))),
    };
    for (field, wanted) in fields {
        let (is, holds) = match field {
            "reason" => (error.reason.as_str(), error.reason.as_str() == wanted),
            "kind" => (error.kind.as_str(), error.kind.as_str() == wanted),
            "message" => (whole.as_str(), whole.contains(wanted)),
            other => return Err(wrong(format!("an error has no `{other}` to look at")).hint("look at `reason`, `kind` or `message`")),
        };
        if !holds {
            return Err(unmet(format!("{what} with {field} `{is}`, expected `{wanted}`")));
        }
    }
    Ok(Value::Nil)
}

fn recovers(outcome: &Outcome, arguments: &[Value]) -> Result<Value> {
    let id = text(arguments, 0, "the id of a step")?;
    outcome.knows("step", &id)?;
    let recovered = outcome
        .records
        .iter()
        .any(|record| matches!(&record.event, Event::StepFinished { step, end: StepEnd::Done { recovered: true }, .. } if step.id == id));
    if recovered { Ok(Value::Nil) } else { Err(unmet(format!("step `{id}` should recover, but did not"))) }
}

/// `parks(id)`: the run stopped there and can be started again.
fn parks(outcome: &Outcome, arguments: &[Value]) -> Result<Value> {
    outcome.ended(End::Parked)?;
    let id = text(arguments, 0, "the id of a step or check")?;
    let last = outcome.records.iter().rev().find_map(|record| match &record.event {
        Event::StepStarted { step } => Some(step.id.as_str()),
        Event::CheckStarted { check } => Some(check.id.as_str()),
        _ => None,
    });
    if last == Some(id.as_str()) {
        return Ok(Value::Nil);
    }
    Err(unmet(format!("the run should park at `{id}`, but parked at `{}`", last.unwrap_or("its beginning"))))
}

fn writes_nothing(outcome: &Outcome, _: &[Value]) -> Result<Value> {
    let unsure = outcome.summary.as_ref().map(|summary| summary.unsure.as_slice()).unwrap_or_default();
    if !unsure.is_empty() {
        return Err(unmet(format!("nothing should be written, but the outcome of a write to `{}` is unknown", unsure.join("`, `"))));
    }
    match outcome.acts().as_slice() {
        [] => Ok(Value::Nil),
        acts => Err(unmet(format!("nothing should be written, but the run did {}", shown(acts)))),
    }
}

fn shown(acts: &[Act]) -> String {
    if acts.is_empty() {
        return "nothing".to_owned();
    }
    acts.iter().map(|act| format!("`{act}`")).collect::<Vec<_>>().join(", ")
}

/// `did(act, n)`: exactly `n` times, at least once without it.
fn did(outcome: &Outcome, arguments: &[Value]) -> Result<Value> {
    let act = outcome.act(&text(arguments, 0, "an act such as \"patch deployment/web\"")?)?;
    let acts = outcome.acts();
    let pods = outcome.pods();
    let count = acts.iter().filter(|done| act.means(done, &pods)).count();
    let wanted = if is_given(arguments.get(1)) { arguments.get(1).cloned().unwrap_or(Value::Nil).into_json().as_u64() } else { None };
    let holds = wanted.map_or(count > 0, |wanted| u64::try_from(count) == Ok(wanted));
    if holds {
        return Ok(Value::Nil);
    }
    let wanted = wanted.map_or("at least once".to_owned(), |wanted| plural(usize::try_from(wanted).unwrap_or(usize::MAX), "time"));
    let count = plural(count, "time");
    Err(unmet(format!("the run should do `{act}` {wanted}, but did it {count}; the run did {}", shown(&acts))))
}

fn in_order(outcome: &Outcome, arguments: &[Value]) -> Result<Value> {
    let wanted = match arguments.first().cloned().unwrap_or(Value::Nil).into_json() {
        Json::Array(items) => items,
        _ => return Err(wrong("argument 1 must be a list of acts")),
    };
    let acts = outcome.acts();
    let pods = outcome.pods();
    let mut rest = acts.iter();
    for text in &wanted {
        let act = outcome.act(text.as_str().ok_or_else(|| wrong("an act is a text"))?)?;
        if !rest.any(|done| act.means(done, &pods)) {
            return Err(unmet(format!("`{act}` was not done in this order; the run did {}", shown(&acts))));
        }
    }
    Ok(Value::Nil)
}

/// `leaves(ref, fields)`: the object's fields afterwards. A field that the object has not at its top is looked for in `spec`, then
/// in `status`; `images` are those of its containers.
fn leaves(outcome: &Outcome, arguments: &[Value]) -> Result<Value> {
    let named = outcome.simulation.with(|sim| reference(arguments, 0, &outcome.namespace, sim.store()));
    let key = named.or_else(|error| reference(arguments, 0, &outcome.namespace, outcome.before.store()).map_err(|_| error))?;
    let fields = arguments.get(1).cloned().unwrap_or(Value::Nil).into_json();
    let object = outcome.simulation.with(|sim| sim.store().get(&key).cloned());
    if fields.as_str() == Some(ABSENT) {
        return if object.is_none() { Ok(Value::Nil) } else { Err(unmet(format!("`{key}` should be gone"))) };
    }
    let object = object.ok_or_else(|| unmet(format!("there is no `{key}` afterwards")))?;
    let Json::Object(fields) = fields else { return Err(wrong("argument 2 must be a table of fields, or `absent`")) };
    for (name, wanted) in &fields {
        let images;
        let found = if name == "images" {
            images = images_of(&object);
            Some(&images)
        } else {
            [object.get(name), object["spec"].get(name), object["status"].get(name)].into_iter().flatten().next()
        };
        matches(found, wanted, name).map_err(|why| unmet(format!("`{key}` afterwards: {why}")))?;
    }
    Ok(Value::Nil)
}

/// The images of a workload's template, or of a pod.
fn images_of(object: &Json) -> Json {
    let spec = object.pointer("/spec/template/spec").unwrap_or(&object["spec"]);
    let lists = ["initContainers", "containers"].into_iter().filter_map(|list| spec[list].as_array());
    let pairs = lists.flatten().filter_map(|container| Some((container["name"].as_str()?.to_owned(), container["image"].clone())));
    Json::Object(pairs.collect())
}

/// Whether the wanted fields are in what was found; lists are compared whole.
fn matches(found: Option<&Json>, wanted: &Json, path: &str) -> Result<(), String> {
    let gone = wanted.as_str() == Some(ABSENT);
    match (found, wanted) {
        (None, _) if gone => Ok(()),
        (Some(found), _) if gone => Err(format!("`{path}` should be absent, but is {found}")),
        (None, _) => Err(format!("`{path}` should be {wanted}, but is absent")),
        (Some(Json::Object(found)), Json::Object(wanted)) => {
            wanted.iter().try_for_each(|(name, wanted)| matches(found.get(name), wanted, &format!("{path}.{name}")))
        }
        (Some(Json::Array(found)), Json::Array(wanted)) if found.len() == wanted.len() => found
            .iter()
            .zip(wanted)
            .enumerate()
            .try_for_each(|(place, (found, wanted))| matches(Some(found), wanted, &format!("{path}[{place}]"))),
        (Some(Json::Number(found)), Json::Number(wanted)) if found.as_f64() == wanted.as_f64() => Ok(()),
        (Some(found), wanted) if found == wanted => Ok(()),
        (Some(found), wanted) => Err(format!("`{path}` should be {wanted}, but is {found}")),
    }
}

fn shows(outcome: &Outcome, arguments: &[Value]) -> Result<Value> {
    let part = text(arguments, 0, "a text")?;
    let mut transcript = Transcript::text(&outcome.records);
    if let Some(error) = outcome.summary.as_ref().and_then(|summary| summary.error.as_ref()) {
        transcript.push_str(&error.to_string());
    }
    // Where the transcript breaks its lines does not matter.
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    if words(&transcript).contains(&words(&part)) {
        return Ok(Value::Nil);
    }
    Err(unmet(format!("`{part}` is not in the transcript")).cause(transcript))
}

fn takes(outcome: &Outcome, arguments: &[Value]) -> Result<Value> {
    if !outcome.ran {
        return Err(unmet("there was no run: the plan did not succeed"));
    }
    let limit = Span::parse(&text(arguments, 0, "a duration")?)?;
    let took = outcome.summary()?.took;
    if took < limit {
        return Ok(Value::Nil);
    }
    Err(unmet(format!("the run should take less than {limit}, but took {took}")))
}
