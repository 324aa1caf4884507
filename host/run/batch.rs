//! Several items of a step or group at the same time: each on a branch of the cluster, of the session and of the journal, with a hand of
//! its own on the file. All of them are futures of one thread, looked after in the order of the items, so that the same run goes the same
//! way.

use std::cell::RefCell;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;

use futures::future::LocalBoxFuture;

use super::permissions;
use super::runbook::State;
use super::runner::{Hand, Recording, Runner, Stop};
use super::step::{Doing, One, Work};
use crate::base::Error;

/// How an item ended.
type Ended = Result<(), Stop>;

impl Runner<'_> {
    /// Does the items of one batch; how each of them ended, in their order.
    pub(super) fn batch(&mut self, work: &Work, items: &[One]) -> Result<Vec<Ended>, Stop> {
        if let [one] = items {
            return Ok(vec![work.of(one).iter().try_for_each(|doing| self.alone(doing))]);
        }
        let first = items.first().map_or(1, |one| one.part.number);
        let (over, doings): (Vec<Vec<Doing>>, Vec<Vec<Doing>>) = items.iter().map(|one| work.of(one)).partition(|item| self.is_over(item));
        // They only say so.
        over.iter().flatten().try_for_each(|doing| self.alone(doing))?;
        if doings.is_empty() {
            return Ok(Vec::new());
        }
        let place = format!("{} {}", work.noun, work.id);
        let found = self.book().map_or_else(|| Ok(self.state.clone()), |book| book.batch(&place, first, &self.state));
        let found = found.map_err(Stop::Error)?;
        let common = Rc::new(RefCell::new(self.state.clone()));
        let ended = self.at_the_same_time(&doings, &found, &common);
        self.state = common.borrow().clone();
        ended
    }

    /// Whether items can be done at the same time at all.
    pub(super) fn has_lanes(&self) -> bool {
        matches!(&self.hand, Hand::Here(script) if script.runtime().is_some())
    }

    fn is_over(&self, item: &[Doing]) -> bool {
        self.book().is_some_and(|book| item.iter().all(|doing| book.over(&format!("step {}", doing.key)).is_some()))
    }

    fn at_the_same_time(&mut self, doings: &[Vec<Doing>], found: &State, common: &Rc<RefCell<State>>) -> Result<Vec<Ended>, Stop> {
        let Hand::Here(script) = &mut self.hand else { return Err(Stop::Error(Error::internal("a batch inside of a batch"))) };
        let runtime = script.runtime().ok_or_else(|| Stop::Error(Error::internal("a batch without a runtime")))?;
        let mut lanes = Vec::new();
        for _ in doings {
            let lane = script.lane().map_err(Stop::Error)?;
            lanes.push(lane.ok_or_else(|| Stop::Error(Error::internal("an item without a hand on its file")))?);
        }
        let runners: Vec<Runner<'static>> = lanes
            .into_iter()
            .map(|lane| {
                let cluster = self.cluster.branch();
                let record =
                    self.record.as_ref().map(|record| Recording { book: Rc::new(record.book.branch()), runtime: record.runtime.clone() });
                let book = record.as_ref().map(|record| record.book.clone());
                if let Some(book) = &book {
                    cluster.keep(book.clone());
                }
                let session = self.session.branch(cluster.clone(), book);
                permissions::asks(&cluster, self.what, &session);
                Runner {
                    hand: Hand::Lane(lane),
                    cluster,
                    session,
                    runbook: self.runbook.clone(),
                    params: self.params.clone(),
                    what: self.what,
                    state: found.clone(),
                    record,
                    failures: Vec::new(),
                    common: Some(common.clone()),
                }
            })
            .collect();
        let mut going: Vec<Going<'_>> = runners.into_iter().zip(doings).map(|(runner, item)| Going::Yes(does(runner, item))).collect();
        // The items wait in its place.
        let aside = self.cluster.clock().stand_aside();
        runtime.block_on(poll_fn(|context| {
            for item in &mut going {
                if let Going::Yes(does) = item
                    && let Poll::Ready(ended) = does.as_mut().poll(context)
                {
                    *item = Going::No(ended);
                }
            }
            if going.iter().any(|item| matches!(item, Going::Yes(_))) { Poll::Pending } else { Poll::Ready(()) }
        }));
        drop(aside);
        let ended = going.into_iter().map(|item| match item {
            Going::No(ended) => ended,
            Going::Yes(_) => Err(Stop::Error(Error::internal("an item has not ended"))),
        });
        Ok(ended.collect())
    }
}

/// An item and its end.
enum Going<'a> {
    Yes(LocalBoxFuture<'a, Ended>),
    No(Ended),
}

/// What is done for one item.
fn does<'a>(mut runner: Runner<'static>, item: &'a [Doing]) -> LocalBoxFuture<'a, Ended> {
    Box::pin(async move {
        let mut ended = Ok(());
        for doing in item {
            ended = runner.step(doing).await;
            if ended.is_err() {
                break;
            }
        }
        // Its session holds this branch of the cluster, which would hold the session: time would wait for it for ever.
        runner.cluster.set_grantor(None);
        ended
    })
}

impl Stop {
    /// Both, as one: the first, with the second among its causes.
    pub(super) fn and(self, other: &Stop) -> Stop {
        match (self, other) {
            // What the operator asked for comes first, and what is unknown last.
            (first, Stop::Error(second)) if second.is_stop() && !matches!(&first, Stop::Error(error) if error.is_stop()) => {
                Stop::Error(second.clone())
            }
            (Stop::Error(first), Stop::Error(second)) if !first.is_stop() => Stop::Error(first.cause(format!("and {second}"))),
            (Stop::Unknown(_), Stop::Error(second)) => Stop::Error(second.clone()),
            (first, _) => first,
        }
    }
}
