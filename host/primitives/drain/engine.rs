//! Emptying one node that is cordoned: who is asked when, what an answer means, and when it is over.
//!
//! Nobody polls. The pods of the node and the budgets are followed; whatever changes in either wakes the loop, which then does all
//! that has become possible. Pods are told by their uid, so that one which is made again under its name is another.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::answers::{Asked, Told, read};
use super::budget::{Answer, Budgets};
use super::classify::{Class, Fate, Judged, is_overdue, short};
use super::foresee::{Row, stateful_set, tolerates_cordon};
use super::late;
use super::prepare::{BUDGETS, PODS, Prepared, refusal};
use super::sets::Sets;
use crate::base::json::{Value as Json, json};
use crate::base::{Error, Kind, Reason, Result, Span, Timestamp};
use crate::cluster::Target;
use crate::primitives::cx::Cx;
use crate::primitives::done::{Inverse, Wrote};
use crate::primitives::pace::{Pace, next};
use crate::primitives::view;

/// How often a controller may put another pod here in the place of one that was evicted.
const ROUNDS: u32 = 3;
/// How long after the last pod another one may still be put here, where pods tolerate the cordon.
const SETTLE: Span = Span::from_secs(2);
/// The pause before the second look at the server when it tells of more pods than the watch.
const CATCH_UP: Span = Span::from_secs(1);

/// Where a pod is on its way out.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Step {
    /// It has not been asked yet.
    Due,
    /// It is asked again at this time, or when this budget is no longer of this version.
    Later { at: Timestamp, unless: Option<(String, String)>, why: String },
    /// It is going.
    Going,
    /// It is gone.
    Gone,
    /// It stays.
    Stays,
}

/// One pod.
pub(super) struct Tracked {
    pub(super) pod: Arc<Json>,
    pub(super) class: Class,
    pub(super) step: Step,
    /// Whether it is deleted, and not evicted.
    pub(super) deleted: bool,
    /// How often it was refused.
    tries: u32,
    /// 0 for a pod that was there before; else the how manieth in its place.
    pub(super) round: u32,
    /// What it waits for, as the end of a sentence, while it is `Due`.
    pub(super) waits: Option<String>,
    /// The budget that it waits for.
    pub(super) budget: Option<String>,
}

impl Tracked {
    pub(super) fn name(&self) -> String {
        short(&self.pod)
    }

    pub(super) fn is_left(&self) -> bool {
        !matches!(self.step, Step::Gone | Step::Stays)
    }
}

/// What became of a node.
#[derive(Default)]
pub(super) struct Emptied {
    pub(super) evicted: Vec<String>,
    pub(super) deleted: Vec<String>,
    /// Pods that stay, with their class.
    pub(super) stay: Vec<(String, Class)>,
    /// Pods that were put here while the node was drained.
    pub(super) came: Vec<String>,
    pub(super) wrote: Vec<Wrote>,
}

/// One node, being emptied.
pub(super) struct Engine<'a> {
    pub(super) cx: &'a Cx,
    pub(super) prepared: Prepared,
    pub(super) pods: Vec<Tracked>,
    /// The pods of StatefulSets, over all nodes of the call.
    sets: &'a mut Sets,
    /// The scope in which those come back, where that is followed.
    returning: Option<usize>,
    emptied: Emptied,
    /// The sum of healthy pods under all budgets when it was last looked at.
    healthy: i64,
    last_gone: Option<Timestamp>,
}

impl<'a> Engine<'a> {
    pub(super) fn new(cx: &'a Cx, prepared: Prepared, sets: &'a mut Sets) -> Engine<'a> {
        let pods = prepared.rows().iter().map(|row| tracked(row, prepared.terms.disable_eviction)).collect();
        Engine { cx, prepared, pods, sets, returning: None, emptied: Emptied::default(), healthy: 0, last_gone: None }
    }

    /// Empties the node.
    ///
    /// # Errors
    /// `timeout`, `stalled`, `blocked_by_budget` when pods are left; `refused` for a pod that came meanwhile and may not go; those of
    /// the server that no waiting changes.
    pub(super) async fn run(mut self, timeout: Span, stall: Option<Span>) -> Result<Emptied> {
        let mut pace = Pace::begin(self.cx, format!("drain of {}", self.prepared.node), timeout, stall);
        if let Some(follow) = self.sets.follow(&self.prepared.pods) {
            self.returning = Some(self.prepared.following.also(follow).await?);
        }
        loop {
            let moved = self.look().await?;
            let asked = self.ask().await?;
            if moved || asked {
                pace.moved(self.cx.now());
            }
            let mut again = self.next_try();
            if !self.pods.iter().any(Tracked::is_left) {
                match self.over().await? {
                    Some(at) => again = Some(at),
                    None => {
                        pace.done(self.cx, &late::gone(&self));
                        return Ok(self.finish());
                    }
                }
            }
            let patience =
                self.pods.iter().filter_map(|pod| view::time(&pod.pod, "/metadata/deletionTimestamp").filter(|_| pod.is_left())).max();
            if let Some(ended) = pace.ended(self.cx.now(), patience) {
                return Err(late::error(&self, ended, &pace).await);
            }
            pace.show(self.cx, &late::state(&self));
            let until = again.map_or(pace.until(patience), |at| at.min(pace.until(patience)));
            next(self.cx, &mut pace, &mut self.prepared.following, until).await?;
        }
    }

    fn finish(mut self) -> Emptied {
        self.emptied.stay = self.pods.iter().filter(|pod| pod.step == Step::Stays).map(|pod| (pod.name(), pod.class)).collect();
        self.emptied
    }

    /// Takes in how the pods are now. True when something got on.
    async fn look(&mut self) -> Result<bool> {
        let present: Vec<Arc<Json>> = self.prepared.following.items(PODS).cloned().collect();
        let mut moved = self.take_in(&present);
        for pod in present.iter().filter(|pod| !self.knows(pod)).cloned().collect::<Vec<_>>() {
            self.arrived(&pod).await?;
            moved = true;
        }
        let budgets = Budgets::new(self.prepared.following.items(BUDGETS));
        let waited: Vec<String> = self.pods.iter().filter_map(|pod| pod.budget.clone()).collect();
        let healthy = waited.iter().filter_map(|name| budgets.find(name)).map(|budget| view::count(budget, "/status/currentHealthy")).sum();
        moved |= healthy > self.healthy;
        self.healthy = healthy;
        if let Some(scope) = self.returning {
            moved |= self.sets.moved(self.prepared.following.items(scope));
        }
        Ok(moved)
    }

    fn knows(&self, pod: &Json) -> bool {
        self.pods.iter().any(|known| view::uid(&known.pod) == view::uid(pod))
    }

    /// Takes in the pods that are known already.
    fn take_in(&mut self, present: &[Arc<Json>]) -> bool {
        let by_uid: BTreeMap<&str, &Arc<Json>> = present.iter().map(|pod| (view::uid(pod), pod)).collect();
        let (now, mut moved) = (self.cx.now(), false);
        for pod in self.pods.iter_mut().filter(|pod| pod.is_left()) {
            let Some(is) = by_uid.get(view::uid(&pod.pod)) else {
                self.sets.goes(&pod.pod);
                pod.step = Step::Gone;
                self.last_gone = Some(now);
                moved = true;
                continue;
            };
            if view::is_terminating(is) && pod.step != Step::Going {
                self.sets.goes(&pod.pod);
            }
            pod.pod = Arc::clone(is);
            if is_overdue(is, &self.prepared.terms, now) {
                (pod.step, pod.class) = (Step::Stays, Class::Overdue);
                moved = true;
            } else if view::is_terminating(is) && pod.step != Step::Going {
                pod.step = Step::Going;
                moved = true;
            }
        }
        moved
    }

    /// A pod that was not here before.
    async fn arrived(&mut self, pod: &Arc<Json>) -> Result<()> {
        let judged = self.prepared.classifier.judge(pod).await?;
        match judged.fate {
            Fate::Refuse => {
                return Err(refusal(&self.prepared.node, &[&judged]).hint("it came while the node was drained, which stays cordoned"));
            }
            Fate::Stay => {}
            Fate::Go | Fate::Wait => self.emptied.came.push(judged.name()),
        }
        let round = 1 + self.rounds(&judged);
        if round > ROUNDS && judged.fate == Fate::Go {
            return Err(self.comes_back(&judged));
        }
        self.pods.push(Tracked { round, ..tracked_as(&judged, self.prepared.terms.disable_eviction) });
        Ok(())
    }

    /// The how manieth place the pods of this controller are in.
    fn rounds(&self, judged: &Judged) -> u32 {
        let owner = view::controller_uid(&judged.pod);
        let siblings = self.pods.iter().filter(|pod| !owner.is_empty() && view::controller_uid(&pod.pod) == owner);
        siblings.filter(|pod| matches!(pod.step, Step::Going | Step::Gone)).map(|pod| pod.round).max().unwrap_or(0)
    }

    fn comes_back(&self, judged: &Judged) -> Error {
        let message = format!("draining `{}`: each time a pod is evicted another one is put in its place", self.prepared.node);
        let why = if tolerates_cordon(&judged.pod) { "tolerates the cordon" } else { "is put here by its controller itself" };
        Error::new(Kind::Stuck, Reason::Stalled, message)
            .about(self.prepared.node.full_name())
            .cause(format!("`pod/{}` {why}, and is number {ROUNDS} that came back", judged.name()))
            .hint("take the toleration or the node's name from its workload, scale it down, or leave it alone by `pod_selector`; the node stays cordoned")
    }

    /// Asks every pod to go that may go now. True when one of them goes.
    async fn ask(&mut self) -> Result<bool> {
        let mut moved = false;
        loop {
            self.cx.cluster.cancel().check()?;
            let batch = self.batch();
            if batch.is_empty() {
                return Ok(moved);
            }
            moved |= self.send(batch).await?;
        }
    }

    /// The pods that are asked at once, marked as going. Of one budget it is one: the server lets the second one wait until it has counted
    /// the first. A simulated server needs no time, and there one order of things is worth more.
    fn batch(&mut self) -> Vec<(usize, Asked)> {
        let most = if self.cx.clock().is_virtual() { 1 } else { self.prepared.terms.max_evictions };
        let mut batch: Vec<(usize, Asked)> = Vec::new();
        for index in 0..self.pods.len() {
            if batch.len() >= most {
                break;
            }
            let Some(asked) = self.may_go(index) else { continue };
            let name = asked.budget.as_ref().map(|(name, _)| name.clone());
            if name.is_some() && batch.iter().any(|(_, other)| other.budget.as_ref().map(|(name, _)| name) == name.as_ref()) {
                continue;
            }
            if let Some(pod) = self.pods.get_mut(index) {
                (pod.step, pod.budget) = (Step::Going, name);
            }
            batch.push((index, asked));
        }
        batch
    }

    /// Whether a pod may be asked to go now; notes what it waits for otherwise.
    fn may_go(&mut self, index: usize) -> Option<Asked> {
        let budgets = Budgets::new(self.prepared.following.items(BUDGETS));
        let pod = self.pods.get(index)?;
        let version = |name: &str| budgets.find(name).map(|budget| view::text(budget, "/metadata/resourceVersion").to_owned());
        match &pod.step {
            Step::Due => {}
            Step::Later { at, unless, .. } => {
                let same = unless.as_ref().is_none_or(|(name, seen)| version(name).as_ref() == Some(seen));
                if self.cx.now() < *at && same {
                    return None;
                }
            }
            Step::Going | Step::Gone | Step::Stays => return None,
        }
        let verdict = self.turn(pod).map_or_else(|| self.allowed(pod, &budgets), |waits| Err((waits, None)));
        let pod = self.pods.get_mut(index)?;
        match verdict {
            Ok(budget) => {
                pod.waits = None;
                let unless = budget.and_then(|name| version(&name).map(|version| (name, version)));
                Some(Asked { deleted: pod.deleted, tries: pod.tries, budget: unless })
            }
            Err((waits, budget)) => {
                (pod.step, pod.waits, pod.budget) = (Step::Due, Some(waits), budget);
                None
            }
        }
    }

    /// What a pod waits for besides budgets.
    fn turn(&self, pod: &Tracked) -> Option<String> {
        let going = || self.pods.iter().filter(|other| other.step == Step::Going);
        if going().count() >= self.prepared.terms.max_evictions {
            return Some(format!("{} others go first", self.prepared.terms.max_evictions));
        }
        let set = stateful_set(&pod.pod)?;
        if going().any(|other| stateful_set(&other.pod) == Some(set)) {
            return Some("pods of its StatefulSet go one after another".to_owned());
        }
        self.sets.waits(&pod.pod, self.prepared.following.items(self.returning?))
    }

    /// Whether budgets let a pod go, and which one counts it; else why not.
    fn allowed(&self, pod: &Tracked, budgets: &Budgets) -> std::result::Result<Option<String>, (String, Option<String>)> {
        if pod.deleted {
            return Ok(None);
        }
        match budgets.answer(&pod.pod) {
            Answer::Free => Ok(None),
            Answer::Blocked(block) => {
                let first = block.budgets.first().cloned();
                Err((block.why, first))
            }
            Answer::Counted { budget, left } => {
                let spent = i64::try_from(self.spent(&budget, budgets)).unwrap_or(i64::MAX);
                if spent < left { Ok(Some(budget)) } else { Err((format!("budget `{budget}` lets {left} go at a time"), Some(budget))) }
            }
        }
    }

    /// How many of those that go are not counted in a budget yet as it was last seen.
    fn spent(&self, name: &str, budgets: &Budgets) -> usize {
        let Some(budget) = budgets.find(name) else { return 0 };
        let going = self.pods.iter().filter(|pod| pod.step == Step::Going && pod.budget.as_deref() == Some(name));
        let uncounted = |pod: &&Tracked| {
            let noted = budget.pointer("/status/disruptedPods").and_then(|noted| noted.get(view::name(&pod.pod))).is_some();
            !noted && !view::is_terminating(&pod.pod)
        };
        going.filter(uncounted).count()
    }

    /// Asks these pods to go. True when one of them goes, or is gone.
    async fn send(&mut self, batch: Vec<(usize, Asked)>) -> Result<bool> {
        let options = self.prepared.terms.delete_options();
        let requests: Vec<_> = batch
            .into_iter()
            .filter_map(|(index, asked)| {
                let pod = self.pods.get(index)?;
                let (cx, target, uid) = (self.cx, self.target(&pod.pod), view::uid(&pod.pod).to_owned());
                let options = options.clone();
                Some(async move {
                    let told = one(cx, &target, &uid, &asked, options).await;
                    (index, target, asked, told)
                })
            })
            .collect();
        let mut moved = false;
        let mut failed = None;
        for (index, target, asked, told) in futures::future::join_all(requests).await {
            // What another one of them made is told before its error ends everything.
            match told {
                Ok(told) => moved |= self.answered(index, &target, asked.deleted, told),
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        failed.map_or(Ok(moved), Err)
    }

    /// Notes what became of one request.
    fn answered(&mut self, index: usize, target: &Target, deleted: bool, told: Told) -> bool {
        let now = self.cx.now();
        let Some(pod) = self.pods.get_mut(index) else { return false };
        if !matches!(told, Told::Later { .. }) {
            self.sets.goes(&pod.pod);
        }
        match told {
            Told::Goes => {
                let list = if deleted { &mut self.emptied.deleted } else { &mut self.emptied.evicted };
                list.push(short(&pod.pod));
                let wrote = wrote(target, deleted);
                self.cx.talk.wrote(&wrote);
                self.emptied.wrote.push(wrote);
                true
            }
            Told::IsGoing => true,
            Told::Gone => {
                pod.step = Step::Gone;
                self.last_gone = Some(now);
                true
            }
            Told::Later { after, unless, why } => {
                pod.tries += 1;
                pod.step = Step::Later { at: after.after(now), unless, why };
                false
            }
        }
    }

    fn target(&self, pod: &Json) -> Target {
        let namespace = view::text(pod, "/metadata/namespace").to_owned();
        self.cx.cluster.object(self.prepared.pods.clone(), Some(namespace), view::name(pod))
    }

    /// When the next pod is to be asked again.
    fn next_try(&self) -> Option<Timestamp> {
        let later = self.pods.iter().filter_map(|pod| match &pod.step {
            Step::Later { at, .. } => Some(*at),
            _ => None,
        });
        let overdue = self.pods.iter().filter(|pod| pod.step == Step::Going).filter_map(|pod| {
            let end = view::time(&pod.pod, "/metadata/deletionTimestamp")?;
            let skip = self.prepared.terms.skip_wait.filter(|skip| !skip.is_zero())?;
            Some(skip.plus(Span::from_millis(1)).after(end))
        });
        later.chain(overdue).min()
    }

    /// Whether it stays empty: asks the server once more. Gives a time to look again when it does not seem so.
    async fn over(&mut self) -> Result<Option<Timestamp>> {
        let now = self.cx.now();
        let tolerant =
            self.pods.iter().any(|pod| pod.step == Step::Gone && tolerates_cordon(&pod.pod) && view::controller(&pod.pod).is_some());
        let settled = self.last_gone.map(|at| SETTLE.after(at)).filter(|at| tolerant && now < *at);
        if settled.is_some() {
            return Ok(settled);
        }
        let again = Some(CATCH_UP.after(now));
        match self.cx.cluster.list(&self.prepared.pods, None, &self.prepared.select()).await {
            Err(error) if matches!(error.reason, Reason::Unreachable | Reason::Timeout) => Ok(again),
            Err(error) => Err(error),
            Ok(listed) => Ok(if self.again(&listed.items) { again } else { None }),
        }
    }

    /// Whether the server knows of pods that are to go still. One that seemed to be gone is asked once more.
    fn again(&mut self, listed: &[Arc<Json>]) -> bool {
        let mut left = false;
        for pod in listed {
            let known = self.pods.iter_mut().find(|known| view::uid(&known.pod) == view::uid(pod));
            match known.map(|known| &mut known.step) {
                Some(Step::Stays) => {}
                Some(step) => (*step, left) = (Step::Due, true),
                None => left = true,
            }
        }
        left
    }
}

/// Asks one pod to go.
async fn one(cx: &Cx, target: &Target, uid: &str, asked: &Asked, mut options: Json) -> Result<Told> {
    let result = if asked.deleted {
        options["preconditions"] = json!({ "uid": uid });
        cx.cluster.delete(target, options).await
    } else {
        cx.cluster.evict(target, uid, options).await
    };
    match result {
        Ok(_) => Ok(Told::Goes),
        Err(error) => read(cx, target, uid, asked, error).await,
    }
}

fn tracked(row: &Row, delete: bool) -> Tracked {
    let mut tracked = tracked_as(&row.judged, delete);
    tracked.deleted |= !row.despite.is_empty();
    tracked
}

fn tracked_as(judged: &Judged, delete: bool) -> Tracked {
    let step = match judged.fate {
        Fate::Go | Fate::Refuse => Step::Due,
        Fate::Wait => Step::Going,
        Fate::Stay => Step::Stays,
    };
    Tracked { pod: judged.pod.clone(), class: judged.class, step, deleted: delete, tries: 0, round: 0, waits: None, budget: None }
}

fn wrote(target: &Target, deleted: bool) -> Wrote {
    Wrote {
        verb: if deleted { "delete" } else { "evict" }.to_owned(),
        target: target.full_name(),
        changes: Vec::new(),
        inverse: Inverse::Irreversible("a pod that is gone does not come back; its controller makes another".to_owned()),
    }
}
