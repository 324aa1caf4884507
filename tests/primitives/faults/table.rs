//! The expectations, column by column of the table in `reference/safety.md` §5.7.

use lockgate::base::Reason;
use lockgate_sim::faults::Asked;

/// What a call does when something goes wrong under it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Expected {
    /// It ends well, and has had every effect once.
    Comes,
    /// It ends well; an effect that somebody else had before it is not had again.
    Done,
    /// It fails for one of these reasons.
    Fails(&'static [Reason]),
}
use Expected::{Comes, Done, Fails};

const FORBIDDEN: Expected = Fails(&[Reason::Forbidden]);
/// The server does not say of what there is none; a list that is not there is a kind that is not served.
const NOT_FOUND: Expected = Fails(&[Reason::NotFound, Reason::Unsupported]);
const UNREACHABLE: Expected = Fails(&[Reason::Unreachable]);
const TIMEOUT: Expected = Fails(&[Reason::Timeout]);

/// Whether a fault belongs to this matrix. Requests that stand still are for tests that kill; an answer of 100 MB costs a second, and
/// has a test of its own.
pub(super) fn is_meant(fault: &str) -> bool {
    !matches!(fault, "held before" | "held after" | "100 MB")
}

/// What is expected of a call when this fault meets this request of it.
pub(super) fn expected(call: &str, asked: &Asked, fault: &str, waits: bool) -> Expected {
    match asked.verb {
        "watch" => of_a_watch(fault),
        "get" | "list" if waits => of_a_watch(fault),
        "get" | "list" => of_a_read(call, asked, fault),
        _ => of_a_write(asked, fault),
    }
}

/// Watches are opened again for as long as the call may take.
fn of_a_watch(fault: &str) -> Expected {
    match fault {
        "403" => FORBIDDEN,
        "404" => NOT_FOUND,
        _ => Comes,
    }
}

fn of_a_read(call: &str, asked: &Asked, fault: &str) -> Expected {
    match fault {
        "403" if is_optional(call, asked) => Comes,
        // What may not be read is reported as unknown.
        "403" if call == "versions" => Comes,
        "403" => FORBIDDEN,
        "404" if is_optional(call, asked) => Comes,
        "404" => NOT_FOUND,
        // What a verb can do without for good it need not have.
        _ if is_optional(call, asked) && asked.what.starts_with("node") => Comes,
        // Longer than a read may take.
        "down for 10 min" => UNREACHABLE,
        "late by 10 min" | "stalls" => TIMEOUT,
        // Only a good answer is replaced, and there is none of what is yet to be created.
        "of another kind" | "no object" if call == "apply new" => Comes,
        "of another kind" | "no object" => UNREACHABLE,
        // Retried, with a pause; a stale answer is what a slow server would have given.
        _ => Comes,
    }
}

/// Reads that a verb can do without.
fn is_optional(call: &str, asked: &Asked) -> bool {
    // Whether an autoscaler scales it too.
    let scaler = call.starts_with("scale") && asked.what.starts_with("horizontalpodautoscaler");
    // What old servers and other installers do not have.
    let newer = ["lease", "endpointslice", "configmap"].iter().any(|what| asked.what.starts_with(what));
    // Whether another node takes pods.
    let others = matches!(call, "cordon" | "drain") && asked.verb == "list" && asked.what.starts_with("node");
    scaler || others || call == "versions" && newer
}

fn of_a_write(asked: &Asked, fault: &str) -> Expected {
    let is_eviction = asked.subresource == "eviction";
    match (asked.verb, fault) {
        // Gone is what was wanted.
        ("delete", "404") => Done,
        ("create", "404") if is_eviction => Done,
        // A webhook may think better of it; so long it is as good as a budget.
        ("create", "denied by a webhook") if is_eviction => Comes,
        ("create", "down for 10 min") if is_eviction => Comes,
        (_, "403" | "denied by a webhook") => FORBIDDEN,
        (_, "404") => NOT_FOUND,
        (_, "422") => Fails(&[Reason::Invalid]),
        (_, "down for 10 min") => UNREACHABLE,
        ("create", "409") if is_eviction => Comes,
        ("create" | "delete", "409") => Fails(&[Reason::Conflict, Reason::Precondition]),
        // What was not made is made, what was made is found; nobody sends it twice.
        _ => Comes,
    }
}
