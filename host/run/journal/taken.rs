//! Runs that were taken back: what the journal of a run says of its rollback, and how far that one came.

use serde::Serialize;

use super::entry::{Entry, Fact};
use super::file::Journal;
use super::folder::{Holder, RunFolder, Runs};
use super::read::{Read, read};
use super::view::{Standing, Story};
use crate::base::{Error, Kind, Reason, Result, Timestamp};

/// The rollback of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TakenBack {
    /// The run that takes it back.
    pub run: String,
    /// The step that is left as it is, with all before it; none where all is taken back.
    pub to: Option<String>,
    /// Where that run stands; none when its folder is gone or cannot be read.
    pub standing: Option<Standing>,
}

impl TakenBack {
    /// What took back something of the run with this journal, or is about to; `None` when nothing did. `runs` is where its rollback is.
    #[must_use]
    pub fn of(runs: &Runs, journal: &Read) -> Option<TakenBack> {
        TakenBack::newest(runs, &journal.entries)
    }

    /// The one before this rollback of the run with this journal.
    #[must_use]
    pub fn before(runs: &Runs, journal: &Read, rollback: &str) -> Option<TakenBack> {
        let its = |entry: &Entry| matches!(&entry.fact, Fact::TakenBack { run, .. } if run == rollback);
        let place = journal.entries.iter().rposition(its)?;
        TakenBack::newest(runs, journal.entries.get(..place).unwrap_or_default())
    }

    fn newest(runs: &Runs, entries: &[Entry]) -> Option<TakenBack> {
        entries.iter().rev().find_map(|Entry { fact, .. }| match fact {
            Fact::TakenBack { run, place } => TakenBack::by(runs, run, place.as_deref()),
            _ => None,
        })
    }

    /// `None` for a rollback that stopped before its first write: the run stands as it did.
    fn by(runs: &Runs, run: &str, place: Option<&str>) -> Option<TakenBack> {
        let story = runs.open(run).ok().and_then(|folder| {
            let read = read(&mut folder.disk(), folder.id(), true).ok()?;
            Story::told(&read, folder.holder())
        });
        let standing = story.as_ref().map(|story| story.standing);
        let idle = story.is_some_and(|story| story.standing.can_go_on() && story.made() == 0 && story.half_done().next().is_none());
        let to = place.map(|place| place.strip_prefix("step ").unwrap_or(place).to_owned());
        (!idle).then(|| TakenBack { run: run.to_owned(), to, standing })
    }

    /// Whether nothing of the run is left that could be taken back.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.to.is_none() && matches!(self.standing, Some(Standing::Done | Standing::NothingToDo))
    }

    /// In a few words: `by run 01…`.
    #[must_use]
    pub fn told(&self) -> String {
        let to = self.to.as_ref().map(|to| format!(" to step `{to}`")).unwrap_or_default();
        let run = &self.run;
        match self.standing {
            Some(Standing::Done | Standing::NothingToDo) => format!("{to} by run `{run}`"),
            Some(standing) => format!("{to} by run `{run}`, which is not over: {}", standing.as_str()),
            None => format!("{to} by run `{run}`, whose folder is not there"),
        }
        .trim_start()
        .to_owned()
    }

    /// The refusal of whoever would go on with the run, or take it back, as if nothing had happened.
    #[must_use]
    pub fn refuses(&self, of: &str) -> Error {
        let error = Error::new(Kind::Refused, Reason::Refused, format!("run `{of}` was taken back {}", self.told()));
        let by = &self.run;
        match self.standing {
            Some(Standing::Running) => error.hint(format!("`lockgate attach {by}` shows what it does")),
            Some(standing) if standing.can_go_on() => error.hint(format!("`lockgate resume {by}` goes on with that")),
            _ => error.hint("what its journal says is done is not there any more; begin a new run to have what the runbook does"),
        }
    }
}

/// Keeps in the journal of a run that another one takes it back from here on, down to this step.
///
/// # Errors
/// When it cannot be kept.
pub fn note(folder: &RunFolder, journal: &Read, at: Timestamp, run: &str, to: Option<&str>) -> Result<()> {
    let fact = Fact::TakenBack { run: run.to_owned(), place: to.map(|to| format!("step {to}")) };
    Journal::go_on(Box::new(folder.disk()), None, journal)?.append(at, &fact).map(drop)
}

/// Whether no process of this machine that worked on the run may still live: the lock of its folder says so for that folder, and this for
/// a copy of it.
#[must_use]
pub fn is_left(journal: &Read) -> bool {
    let last = journal.entries.iter().rev().find_map(|entry| match &entry.fact {
        Fact::Begun(begun) => Some(Holder { pid: begun.pid, host: begun.host.clone() }),
        _ => None,
    });
    !last.is_some_and(|holder| holder.may_live())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::journal::entry::Begun;

    fn worked(pid: u32, host: &str) -> Read {
        let begun = Fact::Begun(Begun { pid, host: host.to_owned(), user: "ops".to_owned(), epoch: 1 });
        let entries = vec![Entry { seq: 1, at: Timestamp::UNIX_EPOCH, fact: begun }];
        Read { run: "R".to_owned(), entries, hashes: Vec::new(), head: String::new(), end: 0, torn: None }
    }

    #[test]
    fn a_copy_of_a_run_whose_process_lives_is_not_left() {
        let this = Holder::this();
        let parent = nix::unistd::getppid().as_raw().unsigned_abs();
        assert!(!is_left(&worked(parent, &this.host)));
        assert!(
            is_left(&worked(this.pid, &this.host)) && is_left(&worked(parent, "elsewhere")) && is_left(&worked(0x7fff_fff0, &this.host))
        );
        assert!(is_left(&Read { entries: Vec::new(), ..worked(1, "") }));
    }

    #[test]
    fn what_became_of_it_is_told_with_the_way_on() {
        let taken = |to: Option<&str>, standing| TakenBack { run: "B".to_owned(), to: to.map(str::to_owned), standing };
        let rows = [
            (taken(None, Some(Standing::Done)), "by run `B`", "begin a new run"),
            (taken(Some("two"), Some(Standing::Done)), "to step `two` by run `B`", "begin a new run"),
            (taken(None, Some(Standing::Killed)), "by run `B`, which is not over: killed", "`lockgate resume B` goes on with that"),
            (taken(None, Some(Standing::Running)), "by run `B`, which is not over: running", "`lockgate attach B` shows what it does"),
            (taken(None, None), "by run `B`, whose folder is not there", "begin a new run"),
        ];
        for (taken, told, hint) in rows {
            let error = taken.refuses("A");
            assert_eq!((error.kind.exit_code(), &*error.message), (5, &*format!("run `A` was taken back {told}")));
            assert!(error.hint.as_deref().unwrap().contains(hint), "{error:?}");
        }
    }
}
