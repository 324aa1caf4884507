//! Faults: what goes wrong in a cluster, as data. Rules make requests fail, get lost or late, cut watches, hold requests
//! still, or let somebody else act in between; happenings act at a time.

mod chaos;
mod matrix;
mod rule;
mod tell;
#[cfg(test)]
mod tests;

use imbl::Vector;
use jiff::{SignedDuration, Timestamp};

pub use self::chaos::chaos;
pub use self::matrix::{Schedule, schedules};
pub use self::rule::{Act, Action, Deed, Entries, Failure, FaultsDocument, Happening, Match, Rule, Side, Skew, Write};
use crate::kinds::Kind;
use crate::store::Store;

/// What a rule looks at.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Subject<'a> {
    pub(crate) verb: &'a str,
    pub(crate) kind: &'static Kind,
    pub(crate) namespace: &'a str,
    pub(crate) name: &'a str,
    pub(crate) subresource: &'a str,
    pub(crate) client: &'a str,
}

/// Names one request that stands still.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HoldId(pub u64);

/// A request that stands still.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// Its name.
    pub id: HoldId,
    /// On which side of its commit.
    pub side: Side,
    /// What was asked: `patch deployments/shop/web`.
    pub request: String,
}

/// How a watch is disturbed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Disturbance {
    /// It ends after so many events.
    pub(crate) after: Option<u64>,
    /// It ends with `410 Expired`, not by a lost connection.
    pub(crate) expires: bool,
    /// It sends no bookmarks.
    pub(crate) no_bookmarks: bool,
}

/// The rules of a cluster, with their counts. The first rule that is due decides.
#[derive(Debug, Clone, Default)]
pub struct Faults {
    rules: Vec<Counted>,
    /// What happens by itself, soonest first; what is due at the same instant in the order in which it was added.
    due: Vec<(Timestamp, Deed)>,
    step: Option<String>,
    held: Vec<Held>,
    last_hold: u64,
    misfires: Vec<String>,
    heard: Vec<(Timestamp, String)>,
    asked: Vector<Asked>,
    /// Until when nobody can be reached.
    down_until: Option<Timestamp>,
    skew: SignedDuration,
}

/// A request that a client made, in the words of roles.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete` or `deletecollection`.
    pub verb: &'static str,
    /// The object or the objects: `deployment/shop/web`.
    pub what: String,
    /// The subresource; empty for none.
    pub subresource: String,
    /// The client's `User-Agent`.
    pub client: String,
}

#[derive(Debug, Clone)]
struct Counted {
    rule: Rule,
    since: Timestamp,
    seen: u64,
    fired: u64,
    /// The cluster as it was when a rule that gives stale answers first applied.
    stale: Option<Box<Store>>,
}

/// What the rule that decided about a request says.
pub(crate) enum Decision {
    /// Carried out as if there were no rule.
    None,
    /// This happens.
    Action(Action),
    /// The answer comes from this former state.
    Stale(Box<Store>),
}

impl Faults {
    /// Adds a rule behind the others; its times count from `now`.
    pub(crate) fn push(&mut self, rule: Rule, now: Timestamp) {
        self.rules.push(Counted { rule, since: now, seen: 0, fired: 0, stale: None });
    }

    /// Takes all rules and all that is still to happen away.
    pub fn clear(&mut self) {
        self.rules.clear();
        self.due.clear();
        self.down_until = None;
    }

    /// How far the clock of the cluster is ahead of its clients'. Whoever is their clock takes it off the time of the cluster.
    #[must_use]
    pub fn skew(&self) -> SignedDuration {
        self.skew
    }

    pub(crate) fn set_skew(&mut self, skew: SignedDuration) {
        self.skew = skew;
    }

    /// The requests for resources that clients made, in their order; those of somebody else are none.
    pub fn asked(&self) -> impl ExactSizeIterator<Item = &Asked> {
        self.asked.iter()
    }

    pub(crate) fn note(&mut self, asked: Asked) {
        self.asked.push_back(asked);
    }

    /// The rules that met no request. A fault that did not happen proves nothing: a test asks this at its end.
    pub fn unfired(&self) -> impl Iterator<Item = &Rule> {
        self.rules.iter().filter(|counted| counted.fired == 0).map(|counted| &counted.rule)
    }

    /// Lets nobody be reached until then.
    pub(crate) fn go_down(&mut self, until: Timestamp) {
        self.down_until = Some(until);
    }

    /// Whether nobody can be reached at all.
    #[must_use]
    pub fn is_down(&self, now: Timestamp) -> bool {
        self.down_until.is_some_and(|until| now < until)
    }

    /// Whether a rule about no request in particular refuses all of a time, those included that are for no resource.
    pub(crate) fn refuses_all(&self, client: &str, now: Timestamp) -> bool {
        self.rules.iter().any(|counted| {
            let when = &counted.rule.when;
            let general = Match { after: when.after, until: when.until, client: when.client.clone(), ..Match::default() };
            counted.rule.action == Action::Refuse
                && *when == general
                && in_time(counted, now)
                && when.client.as_deref().is_none_or(|part| client.contains(part))
        })
    }

    /// Whether there are no rules, and nothing is still to happen.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty() && self.due.is_empty()
    }

    /// How often each rule has fired, in their order.
    #[must_use]
    pub fn fired(&self) -> Vec<u64> {
        self.rules.iter().map(|rule| rule.fired).collect()
    }

    /// Acts of somebody else that the API refused: a fault that did not happen proves nothing.
    #[must_use]
    pub fn misfires(&self) -> &[String] {
        &self.misfires
    }

    /// The requests that stand still.
    #[must_use]
    pub fn held(&self) -> &[Held] {
        &self.held
    }

    /// The step that the run is in; `None` between steps.
    pub(crate) fn enter(&mut self, step: Option<&str>) {
        self.step = step.map(str::to_owned);
    }

    /// Lets somebody do something at this time.
    pub(crate) fn schedule(&mut self, at: Timestamp, mut deed: Deed) {
        deed.delay = crate::model::Span::ZERO;
        let place = self.due.partition_point(|(other, _)| *other <= at);
        self.due.insert(place, (at, deed));
    }

    /// When somebody acts next, or can be reached again.
    pub(crate) fn next_at(&self) -> Option<Timestamp> {
        self.due.first().map(|(at, _)| *at).into_iter().chain(self.down_until).min()
    }

    /// What is due at or before `now`, one at a time.
    pub(crate) fn take_due(&mut self, now: Timestamp) -> Option<Deed> {
        self.down_until = self.down_until.filter(|until| now < *until);
        self.due.first().filter(|(at, _)| *at <= now)?;
        Some(self.due.remove(0).1)
    }

    pub(crate) fn misfire(&mut self, what: String) {
        self.misfires.push(what);
    }

    pub(crate) fn hear(&mut self, now: Timestamp, deed: &Deed) {
        self.heard.push((now, deed.to_string()));
    }

    /// What somebody else has done since it was taken last, in words, and when.
    pub(crate) fn take_heard(&mut self) -> Vec<(Timestamp, String)> {
        std::mem::take(&mut self.heard)
    }

    /// Lets a request stand still.
    pub(crate) fn hold(&mut self, side: Side, request: String) -> HoldId {
        self.last_hold += 1;
        let id = HoldId(self.last_hold);
        self.held.push(Held { id, side, request });
        id
    }

    /// Lets it go on; false when it does not stand still.
    pub(crate) fn release(&mut self, id: HoldId) -> bool {
        let before = self.held.len();
        self.held.retain(|held| held.id != id);
        self.held.len() < before
    }

    /// What happens to this request, and the same in words. Every rule that matches counts it, also behind the one that decides.
    pub(crate) fn check(&mut self, subject: &Subject<'_>, now: Timestamp, store: &Store) -> (Decision, Option<String>) {
        let mut decided = None;
        let step = self.step.as_deref();
        for (place, counted) in self.rules.iter_mut().enumerate() {
            let in_time = in_time(counted, now);
            let when = &counted.rule.when;
            let in_step = when.step.as_deref().is_none_or(|wanted| step == Some(wanted));
            if !in_time || !in_step || !applies(when, &counted.rule.action, subject) {
                continue;
            }
            counted.seen += 1;
            let due = when.nth.is_none_or(|nth| nth == counted.seen) && when.every.is_none_or(|every| counted.seen.is_multiple_of(every));
            if due && decided.is_none() {
                counted.fired += 1;
                decided = Some(place);
            }
        }
        let Some(counted) = decided.and_then(|place| self.rules.get_mut(place)) else { return (Decision::None, None) };
        let told = counted.rule.action.to_string();
        let decision = match &counted.rule.action {
            Action::Stale => Decision::Stale(counted.stale.get_or_insert_with(|| Box::new(store.clone())).clone()),
            action => Decision::Action(action.clone()),
        };
        (decision, Some(told))
    }
}

fn in_time(counted: &Counted, now: Timestamp) -> bool {
    let (when, age) = (&counted.rule.when, now.duration_since(counted.since));
    when.after.is_none_or(|after| age >= after.0) && when.until.is_none_or(|until| age < until.0)
}

fn applies(when: &Match, action: &Action, subject: &Subject<'_>) -> bool {
    let is = |wanted: &Option<String>, actual: &str| wanted.as_deref().is_none_or(|wanted| wanted == actual);
    action.happens_to(subject.verb)
        && is(&when.verb, subject.verb)
        && is(&when.group, subject.kind.group)
        && is(&when.kind, subject.kind.kind)
        && is(&when.namespace, subject.namespace)
        && is(&when.name, subject.name)
        && is(&when.subresource, subject.subresource)
        && when.client.as_deref().is_none_or(|part| subject.client.contains(part))
}
