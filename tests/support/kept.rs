//! A record of writes in memory, and what the next process of a run gets of it when the first one was killed.

use std::cell::RefCell;

use futures::future::LocalBoxFuture;
use lockgate::base::{Error, Kind, Reason, Result};
use lockgate::cluster::keep::{Drift, Intent, Keeper, Key, Open, Outcome, Pin, Sign};

/// The record.
#[derive(Default)]
pub(crate) struct Kept {
    /// What an interrupted call wrote, as far as the call that is made anew has not come to it yet.
    open: RefCell<Vec<Open>>,
    /// What was written since.
    made: RefCell<Vec<Open>>,
    /// The operation of which an outcome was noted last.
    last: RefCell<Option<String>>,
}

impl Kept {
    /// What the next process has: of the last thing that was noted it does not know what became of it.
    pub(crate) fn interrupted(&self) -> Kept {
        let mut open = self.made.borrow().clone();
        if let Some(last) = self.last.borrow().as_ref()
            && let Some(open) = open.iter_mut().find(|open| open.intent.op == *last)
        {
            open.outcome = None;
        }
        Kept { open: RefCell::new(open), ..Kept::default() }
    }

    /// What was written before and not since.
    pub(crate) fn unmet(&self) -> Vec<String> {
        self.open.borrow().iter().map(|open| format!("{:?}", open.intent.key)).collect()
    }

    /// The operations since.
    pub(crate) fn operations(&self) -> Vec<String> {
        self.made.borrow().iter().map(|made| made.intent.op.clone()).collect()
    }
}

impl Keeper for Kept {
    fn pinned(&self, _: &str) -> Option<String> {
        None
    }

    fn pin(&self, _: &Pin) -> Result<()> {
        Ok(())
    }

    fn open(&self, key: &Key) -> Option<Open> {
        self.open.borrow().iter().find(|open| open.intent.key == *key).cloned()
    }

    fn open_on(&self, target: &str, part: Option<&str>) -> Option<Open> {
        let is_it = |open: &&Open| {
            let is_part =
                if matches!(open.intent.sign, Sign::Fields(_)) { open.intent.key.part.as_deref() == part } else { part.is_none() };
            open.intent.key.target == target && is_part
        };
        self.open.borrow().iter().find(is_it).cloned()
    }

    fn met(&self, op: &str, _: &Outcome) -> Result<()> {
        self.open.borrow_mut().retain(|open| open.intent.op != op);
        Ok(())
    }

    fn drift<'a>(&'a self, object: &'a str, differences: Vec<String>) -> LocalBoxFuture<'a, Result<Drift>> {
        let message = format!("{object} is not as the record says: {}", differences.join(", "));
        Box::pin(async move { Err(Error::new(Kind::Runbook, Reason::Precondition, message)) })
    }

    fn epoch(&self) -> u64 {
        1
    }

    fn intend(&self, intent: &Intent) -> Result<()> {
        self.open.borrow_mut().retain(|open| open.intent.op != intent.op);
        self.made.borrow_mut().push(Open { intent: intent.clone(), outcome: None });
        Ok(())
    }

    fn outcome(&self, op: &str, outcome: &Outcome) -> Result<()> {
        if let Some(made) = self.made.borrow_mut().iter_mut().find(|made| made.intent.op == op) {
            made.outcome = Some(outcome.clone());
        }
        *self.last.borrow_mut() = Some(op.to_owned());
        Ok(())
    }
}
