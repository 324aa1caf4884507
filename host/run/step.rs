//! The steps of a run: each is `run`, `verify`, and once `recover`; for every item of its `each`, in batches; groups do several steps for
//! one item before the next.

use super::attempts::{Attempt, Hands};
use super::event::{Event, Item, Part, StepEnd};
use super::runbook::{Batch, BatchDecl, Each, Owner, Phase, Title};
use super::runner::{Runner, Stop, at_once, set, skipped, within};
use super::script::Returned;
use tracing::Instrument as _;

use crate::base::json::Value as Json;
use crate::base::{Error, Kind, Reason, Result, Span, Value};

/// One item of a step or group.
#[derive(Clone, Debug)]
pub(super) struct One {
    /// Its name, in keys and titles.
    pub(super) name: String,
    /// What functions get.
    pub(super) value: Value,
    pub(super) part: Part,
}

/// What is done for each item: a step, or the steps of a group.
pub(super) struct Work {
    /// `step` or `group`.
    pub(super) noun: &'static str,
    pub(super) id: String,
    /// The place of the step, or of the group's first, in the file.
    first: usize,
    /// The ids of a group's steps.
    steps: Vec<String>,
}

impl Work {
    /// What is done for this item, in order.
    pub(super) fn of(&self, one: &One) -> Vec<Doing> {
        let doing = |place, key| Doing { place, key, one: Some(one.clone()) };
        if self.noun == "step" {
            return vec![doing(self.first, format!("{}/{}", self.id, one.name))];
        }
        let steps = self.steps.iter().enumerate();
        steps.map(|(at, step)| doing(self.first + at, format!("{}/{}/{step}", self.id, one.name))).collect()
    }
}

/// A step for one item, or for none.
pub(super) struct Doing {
    /// Its place in the file.
    place: usize,
    /// `ID`, `ID/ITEM`, `GROUP/ITEM/ID`.
    pub(super) key: String,
    one: Option<One>,
}

impl Runner<'_> {
    /// Does everything that the file declares, in its order.
    pub(super) fn steps(&mut self) -> Result<(), Stop> {
        let mut place = 0;
        while let Some(decl) = self.runbook.steps.get(place) {
            let (result, next) = match decl.group {
                None => (self.single(place), place + 1),
                Some(group) => {
                    let of_it = self.runbook.steps.iter().skip(place).take_while(|step| step.group == Some(group)).count();
                    (self.group(group, place, of_it), place + of_it)
                }
            };
            if let Err(stop) = result {
                if let Stop::Unknown(error) = &stop {
                    self.unknown_from(next, error);
                }
                return Err(stop);
            }
            place = next;
        }
        Ok(())
    }

    /// A step that belongs to no group.
    fn single(&mut self, place: usize) -> Result<(), Stop> {
        let decl = &self.runbook.steps[place];
        let (id, each, batch) = (decl.id.clone(), decl.each.clone(), decl.batch.clone());
        let Some(each) = each else {
            return self.alone(&Doing { place, key: id, one: None });
        };
        let (items, batch) = self.items(Owner::Step(place), "step", &id, &each, batch.as_ref())?;
        let work = Work { noun: "step", id, first: place, steps: Vec::new() };
        self.batches(&work, items, &batch)
    }

    /// All steps of a group for each of its items.
    fn group(&mut self, group: usize, first: usize, count: usize) -> Result<(), Stop> {
        let runbook = self.runbook.clone();
        let decl = &runbook.groups[group];
        if decl.has_when
            && let Some(why) = self.asked_of_group(group, &decl.id)?
        {
            let step = Item { id: decl.id.clone(), title: decl.title.clone(), number: first + 1, of: runbook.steps.len(), part: None };
            self.session.emit(Event::StepStarted { step: step.clone() });
            self.session.emit(Event::StepFinished { step, end: StepEnd::Skipped { why }, took: Span::ZERO });
            return Ok(());
        }
        let (items, batch) = self.items(Owner::Group(group), "group", &decl.id, &decl.each, decl.batch.as_ref())?;
        let steps = runbook.steps.iter().skip(first).take(count).map(|step| step.id.clone()).collect();
        self.batches(&Work { noun: "group", id: decl.id.clone(), first, steps }, items, &batch)
    }

    /// What the `when` of a group says: why not.
    fn asked_of_group(&mut self, group: usize, id: &str) -> Result<Option<String>, Stop> {
        self.session.begin_item(format!("group {id}"));
        let asked = self.enter().and_then(|()| self.call(Owner::Group(group), Phase::When, Vec::new()));
        match self.leave(asked) {
            Ok(returned) => Ok(skipped(&returned)),
            Err(error) => Err(self.stop(error, "group", id)),
        }
    }

    /// The items of a step or group, and how many are done at once: asked once, then frozen.
    fn items(&mut self, owner: Owner, noun: &str, id: &str, each: &Each, batch: Option<&BatchDecl>) -> Result<(Vec<One>, Batch), Stop> {
        let place = format!("{noun} {id}");
        let found = self.frozen(owner, &place, each, batch).and_then(|(values, batch)| Ok((named(&place, values)?, batch)));
        found.map_err(|error| self.stop(error, noun, id))
    }

    fn frozen(&mut self, owner: Owner, place: &str, each: &Each, batch: Option<&BatchDecl>) -> Result<(Vec<Value>, Batch)> {
        let recorded = self.book().and_then(|book| book.past(|past| past.items.get(place).cloned()));
        let mut size = match batch {
            None => Batch::default(),
            Some(BatchDecl::Plain(batch)) => batch.clone(),
            Some(BatchDecl::Function) => self.once(owner, place, Phase::Batch).and_then(|value| batch_of(place, &value))?,
        };
        if batch.is_none() {
            size.serial = Some(super::runbook::Amount::Count(1));
        }
        if let Some(items) = recorded {
            return Ok((items, size));
        }
        let items = match each {
            Each::List(items) => items.clone(),
            Each::Function => list(place, self.once(owner, place, Phase::Each)?)?,
        };
        items.iter().try_for_each(|item| self.session.may_be_kept("each", item))?;
        if let Some(book) = self.book() {
            book.items(place, &items)?;
        }
        Ok((items, size))
    }

    /// What a function of a declaration says, in a scene of its own.
    fn once(&mut self, owner: Owner, place: &str, phase: Phase) -> Result<Value> {
        self.session.begin_item(place.to_owned());
        let asked = self.enter().and_then(|()| self.call(owner, phase, Vec::new()));
        self.leave(asked).map(|returned| returned.value(0).clone())
    }

    /// Does the items batch after batch, those of a batch at the same time. After one that failed no further batch begins, unless so many
    /// may fail; what has begun is done to its end.
    fn batches(&mut self, work: &Work, items: Vec<One>, batch: &Batch) -> Result<(), Stop> {
        let mut failed = 0;
        let mut items = items.into_iter();
        let sizes = if self.has_lanes() { batch.sizes(items.len()) } else { vec![1; items.len()] };
        for size in sizes {
            let these: Vec<One> = items.by_ref().take(size).collect();
            let mut stop: Option<Stop> = None;
            for ended in self.batch(work, &these)? {
                match ended {
                    Ok(()) => {}
                    Err(Stop::Error(error)) if !error.is_stop() && error.kind != Kind::Cancelled && failed < batch.max_failures => {
                        failed += 1;
                        self.session.emit(Event::Warned {
                            text: format!("`{}` goes on: {failed} of {} that may fail have failed", work.id, batch.max_failures),
                        });
                        self.failures.push(error);
                    }
                    Err(next) => stop = Some(stop.map_or_else(|| next.clone(), |first| first.and(&next))),
                }
            }
            stop.map_or(Ok(()), Err)?;
        }
        Ok(())
    }

    /// A step where nothing else goes on.
    pub(super) fn alone(&mut self, doing: &Doing) -> Result<(), Stop> {
        at_once(self.step(doing)).map_err(Stop::Error)?
    }

    fn item(&self, doing: &Doing, title: String) -> Item {
        let part = doing.one.as_ref().map(|one| one.part.clone());
        Item { id: doing.key.clone(), title, number: doing.place + 1, of: self.runbook.steps.len(), part }
    }

    pub(super) async fn step(&mut self, doing: &Doing) -> Result<(), Stop> {
        let span = tracing::info_span!(target: "lockgate::step", "step", id = %doing.key);
        self.stepped(doing).instrument(span).await
    }

    async fn stepped(&mut self, doing: &Doing) -> Result<(), Stop> {
        let runbook = self.runbook.clone();
        let decl = &runbook.steps[doing.place];
        let place = format!("step {}", doing.key);
        let mut item = self.item(doing, decl.title_or_id().to_owned());
        if self.book().is_some_and(|book| book.over(&place).is_some()) {
            if let (Some(_), Some(book)) = (&self.common, &self.record) {
                let changed = book.book.changed_state(&place);
                set(&mut self.state, changed);
            }
            self.session.emit(Event::Earlier { of: "step".to_owned(), item });
            return Ok(());
        }
        let started = self.session.now();
        self.session.begin_item(place);
        let mut begun = None;
        let done = self.inside(doing, &mut begun).await;
        match begun {
            Some(begun) => item = begun,
            None => self.session.emit(Event::StepStarted { step: item.clone() }),
        }
        let (end, stop) = match self.leave(done) {
            Ok(end) => (end, None),
            Err(error) if self.is_unknown(&error) => (StepEnd::Unknown { why: error.to_string() }, Some(Stop::Unknown(error))),
            Err(error) => (StepEnd::Failed { error: error.clone() }, Some(Stop::Error(within(error, "step", &doing.key)))),
        };
        // A run that was stopped in the middle goes on in the middle.
        let in_the_middle = matches!(&stop, Some(Stop::Error(error)) if error.is_stop());
        if !in_the_middle {
            let state = self.common.as_ref().map_or_else(|| self.state.clone(), |common| common.borrow().clone());
            self.session.ended(&end, Some(&state).filter(|_| stop.is_none())).map_err(Stop::Error)?;
        }
        let took = Span::between(started, self.session.now());
        self.session.emit(Event::StepFinished { step: item, end, took });
        stop.map_or(Ok(()), Err)
    }

    /// From its title to its end.
    async fn inside(&mut self, doing: &Doing, begun: &mut Option<Item>) -> Result<StepEnd> {
        self.enter()?;
        *begun = Some(self.begun(doing).await?);
        if self.runbook.steps[doing.place].has_when
            && let Some(why) = skipped(&self.called(Owner::Step(doing.place), Phase::When, given(doing)).await?)
        {
            return Ok(StepEnd::Skipped { why });
        }
        let runbook = self.runbook.clone();
        let decl = &runbook.steps[doing.place];
        if let Some(why) = &decl.irreversible {
            self.session.emit(Event::NoReturn { step: doing.key.clone(), why: why.clone() });
        }
        self.gate(doing).await?;
        let attempt = Attempt { decl, place: doing.place, key: &doing.key, given: given(doing) };
        attempt.made(self).await
    }

    /// Finds the title and says that the step begins.
    async fn begun(&mut self, doing: &Doing) -> Result<Item> {
        let runbook = self.runbook.clone();
        let title = match &runbook.steps[doing.place].title {
            Title::Text(text) => text.clone(),
            Title::Function => {
                let returned = self.called(Owner::Step(doing.place), Phase::Title, given(doing)).await?;
                text(&returned, &format!("the title of step `{}`", doing.key))?
            }
        };
        let item = self.item(doing, title);
        self.session.emit(Event::StepStarted { step: item.clone() });
        Ok(item)
    }

    /// Asks what is always asked, unless `run` was entered before the run was stopped.
    async fn gate(&mut self, doing: &Doing) -> Result<()> {
        let runbook = self.runbook.clone();
        let Some(gate) = &runbook.steps[doing.place].gate else { return Ok(()) };
        let question = match gate {
            Title::Text(text) => text.clone(),
            Title::Function => {
                let returned = self.called(Owner::Step(doing.place), Phase::Gate, given(doing)).await?;
                if *returned.value(0) == Value::Nil {
                    return Ok(());
                }
                text(&returned, &format!("the gate of step `{}`", doing.key))?
            }
        };
        if self.book().is_some_and(|book| book.is_inside(Phase::Run)) {
            return Ok(());
        }
        match &self.record {
            // Alone, it is waited for here.
            Some(record) if self.common.is_none() => record.runtime.block_on(self.session.gate(&question)),
            _ => self.session.gate(&question).await,
        }
    }

    /// In a plan: the steps from this one on cannot be known.
    pub(super) fn unknown_from(&self, place: usize, error: &Error) {
        for place in place..self.runbook.steps.len() {
            let decl = &self.runbook.steps[place];
            let step = self.item(&Doing { place, key: decl.id.clone(), one: None }, decl.title_or_id().to_owned());
            let end = StepEnd::Unknown { why: format!("it comes after what is unknown: {}", error.message) };
            self.session.emit(Event::StepStarted { step: step.clone() });
            self.session.emit(Event::StepFinished { step, end, took: Span::ZERO });
        }
    }

    fn stop(&self, error: Error, noun: &str, id: &str) -> Stop {
        if self.is_unknown(&error) { Stop::Unknown(error) } else { Stop::Error(within(error, noun, id)) }
    }
}

impl Hands for Runner<'_> {
    async fn called(&mut self, owner: Owner, phase: Phase, arguments: Vec<Value>) -> Result<Returned> {
        Runner::called(self, owner, phase, arguments).await
    }

    /// Not where the operator or a limit stopped the run, nor where the plan ends.
    fn recoverable(&self, error: &Error) -> bool {
        error.kind != Kind::Cancelled && error.kind != Kind::Internal && !error.is_stop() && !self.is_unknown(error)
    }

    fn tell(&self, event: Event) {
        self.session.emit(event);
    }

    fn begin_again(&mut self) -> Result<()> {
        self.left()?;
        self.session.begin_again();
        self.enter()
    }
}

/// What the functions of a step get.
fn given(doing: &Doing) -> Vec<Value> {
    doing.one.iter().map(|one| one.value.clone()).collect()
}

pub(super) fn text(returned: &Returned, what: &str) -> Result<String> {
    returned
        .value(0)
        .as_text()
        .ok_or_else(|| Error::new(Kind::Runbook, Reason::Usage, format!("{what} must be a text, got {}", returned.value(0).kind_name())))
}

/// What `each` gave, as values.
pub(super) fn list(place: &str, value: Value) -> Result<Vec<Value>> {
    match value {
        Value::Json(Json::Array(items)) => Ok(items.into_iter().map(Value::Json).collect()),
        Value::List(items) => Ok(items),
        Value::Json(Json::Object(fields)) if fields.is_empty() => Ok(Vec::new()),
        other => {
            Err(Error::new(Kind::Runbook, Reason::Usage, format!("the `each` of {place} must give a list, got {}", other.kind_name()))
                .hint("give names, or tables with an `id`"))
        }
    }
}

/// The items with their names: a text is its own, a table has an `id`, an object of the cluster its name.
pub(super) fn named(place: &str, values: Vec<Value>) -> Result<Vec<One>> {
    let of = values.len();
    let mut items: Vec<One> = Vec::new();
    for (at, value) in values.into_iter().enumerate() {
        let wrong = |what: String| Err(Error::new(Kind::Runbook, Reason::Usage, format!("item {} of {place} {what}", at + 1)));
        let Some(name) = name(&value) else {
            return wrong("has no name".to_owned()).map_err(|error: Error| error.hint("give names, or tables with an `id`"));
        };
        if name.is_empty() || name.contains('/') || name.chars().any(char::is_control) {
            return wrong(format!("has the name `{}`, which cannot be part of a step's", name.escape_default()));
        }
        if items.iter().any(|item| item.name == name) {
            return wrong(format!("is the second of the name `{name}`"));
        }
        let part = Part { name: name.clone(), number: at + 1, of };
        items.push(One { name, value, part });
    }
    Ok(items)
}

pub(super) fn name(value: &Value) -> Option<String> {
    let of = |json: &Json| json.get("id").or_else(|| json.pointer("/metadata/name")).and_then(Json::as_str).map(str::to_owned);
    match value {
        Value::Map(fields) => fields.get("id").and_then(Value::as_text),
        Value::Json(json @ Json::Object(_)) => of(json),
        Value::Object(object) => of(&object.current),
        other => other.as_text(),
    }
}

/// What a function said of batches.
fn batch_of(place: &str, value: &Value) -> Result<Batch> {
    super::runbook::Batch::of(&value.clone().into_json())
        .map_err(|why| Error::new(Kind::Runbook, Reason::Usage, format!("the `batch` of {place}: {why}")))
}
