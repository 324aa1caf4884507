//! The chain head in the lock: what the cluster was told of a run's journal, held against the journal itself (`reference/safety.md` §4,
//! T13). Whoever cuts a journal back or writes it anew makes a chain that is whole, and cannot make the line that the lock was told of.

use crate::base::{Error, Kind, Reason, Result};
use crate::cluster::Lease;
use crate::run::journal::Read;

/// What the lock of a cluster knows of a run's journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// Nobody ever took it, or its run has ended no step yet.
    Nothing,
    /// It was told by another run since.
    Other(String),
    /// It was told of this line at the end of a step, and the journal has it.
    Line(u64),
}

/// Holds a journal against the lock of the cluster that is called so.
///
/// # Errors
/// Refused when the lock was told of a line that the journal does not have.
pub fn compared(read: &Read, lease: Option<&Lease>, cluster: &str) -> Result<Told> {
    let Some(lease) = lease else { return Ok(Told::Nothing) };
    let Some(run) = lease.run.as_ref().or(lease.last.as_ref()) else { return Ok(Told::Nothing) };
    if *run != read.run {
        return Ok(Told::Other(run.clone()));
    }
    let Some(head) = &lease.head else { return Ok(Told::Nothing) };
    read.line_of(head).map(Told::Line).ok_or_else(|| {
        let message = format!("the journal of run `{run}` is not the one that the lock of `{cluster}` was told of");
        Error::new(Kind::Refused, Reason::Replaced, message)
            .cause(format!("at the end of a step it had a line with the SHA-256 {head}"))
            .cause(format!("none of its {} lines has it: it was cut back or written anew since", read.hashes.len()))
            .hint(format!(
                "look at the cluster first; go on with the folder as it was (`--runs DIR`), or with what this one says: \
                 `lockgate resume {run} --accept-truncated`"
            ))
    })
}

/// The same as a sentence.
#[must_use]
pub fn told(told: &Told, cluster: &str) -> String {
    match told {
        Told::Nothing => format!("the lock of `{cluster}` was told nothing of this run's journal: there is nothing to compare it with"),
        Told::Other(run) => format!("the lock of `{cluster}` tells of the run `{run}` by now: there is nothing to compare this one with"),
        Told::Line(line) => format!("the lock of `{cluster}` was told of line {line} of this journal, and the line is there as it was"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(hashes: &[&str]) -> Read {
        let hashes: Vec<String> = hashes.iter().map(|hash| (*hash).to_owned()).collect();
        Read { run: "R".to_owned(), entries: Vec::new(), head: hashes.last().cloned().unwrap_or_default(), hashes, end: 0, torn: None }
    }

    fn lease(run: Option<&str>, last: Option<&str>, head: Option<&str>) -> Lease {
        let owned = |text: Option<&str>| text.map(str::to_owned);
        Lease { run: owned(run), last: owned(last), head: owned(head), ..Lease::default() }
    }

    #[test]
    fn a_journal_has_the_line_that_the_lock_was_told_of() {
        let journal = read(&["a", "b", "c"]);
        let compared = |lease: Option<&Lease>| compared(&journal, lease, "prod");
        assert_eq!(compared(None).unwrap(), Told::Nothing);
        assert_eq!(compared(Some(&lease(Some("R"), None, None))).unwrap(), Told::Nothing);
        assert_eq!(compared(Some(&lease(Some("R"), None, Some("b")))).unwrap(), Told::Line(2));
        // It was given back since.
        assert_eq!(compared(Some(&lease(None, Some("R"), Some("c")))).unwrap(), Told::Line(3));
        assert_eq!(compared(Some(&lease(Some("S"), Some("R"), Some("x")))).unwrap(), Told::Other("S".to_owned()));
    }

    #[test]
    fn one_that_was_cut_back_or_forged_is_refused_by_name() {
        let error = compared(&read(&["a"]), Some(&lease(Some("R"), None, Some("b"))), "prod").unwrap_err();
        assert_eq!(error.kind.exit_code(), 5);
        assert_eq!(error.message, "the journal of run `R` is not the one that the lock of `prod` was told of");
        assert_eq!(error.causes[1], "none of its 1 lines has it: it was cut back or written anew since");
    }
}
