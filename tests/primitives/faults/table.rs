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
    /// It fails, and says that nobody knows what became of it.
    Unknown(&'static [Reason]),
}
use Expected::{Comes, Done, Fails, Unknown};

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

/// Whether what this call runs may run twice: it changes nothing, or a second start of the same operation does nothing.
pub(super) fn may_run_again(call: &str) -> bool {
    call == "exec that reads" || call.starts_with("machine.")
}

/// Whether something may come a second time all the same. A pod that was made by a second try and has done its work is taken away; when the
/// first try arrives after that, it is made once more, does nothing, and ends by its own deadline.
pub(super) fn may_come_back(call: &str, what: &str, fault: &str) -> bool {
    call.ends_with("by a pod") && what == "create pod/machines" && fault == "delayed by 30 s"
}

/// What the error must say when this fault meets this request, in whatever words around it: texts that must be there, and texts that must
/// not. The table wants the missing right of a 403, the server's own text of what it refuses, and which object it is about; what may have
/// been done and is not known is said to be so.
pub(super) fn says(asked: &Asked, fault: &str) -> (Vec<String>, &'static [&'static str]) {
    let kind = asked.what.split('/').next().unwrap_or_default();
    let text = |text: &str| vec![text.to_owned()];
    match fault {
        "403" => (vec![right(asked, kind)], &["webhook"]),
        "denied by a webhook" => (text("admission webhook \"guard.example\" denied the request: not now"), &["the user needs"]),
        "422" => (text("the server rejected our request due to an error in our request"), &["the user needs"]),
        "409" if asked.verb == "create" && asked.subresource.is_empty() => (text("an object of this name already exists"), &[]),
        "409" if asked.verb == "delete" => (text("the object has been modified"), &[]),
        "404" => (text(kind), &[]),
        "late by 10 min" | "stalls" => (text("no answer from"), &["no connection to"]),
        // Who waits is told what he waits for.
        "down for 10 min" if asked.verb != "watch" => (text("no connection to"), &["no answer from"]),
        "of another kind" | "no object" => {
            (vec!["the answer".to_owned(), "whether a proxy is in the way".to_owned()], &["no connection to"])
        }
        _ => (Vec::new(), &[]),
    }
}

/// The right that a request needs, as people say it.
fn right(asked: &Asked, kind: &str) -> String {
    let part = if asked.subresource.is_empty() { String::new() } else { format!("/{}", asked.subresource) };
    let plural = if kind.ends_with('s') { kind.to_owned() } else { format!("{kind}s") };
    match asked.subresource.as_str() {
        // A stream begins with a GET, and since 1.35 the server wants the right to create one besides.
        "exec" => format!("the user needs `get` and `create` on `{plural}{part}`"),
        _ => format!("the user needs `{}` on `{plural}{part}`", asked.verb),
    }
}

/// What is expected of a call when this fault meets this request of it, after those before.
pub(super) fn expected(call: &str, asked: &Asked, fault: &str, before: &[Asked]) -> Expected {
    // Who waits already goes on waiting; a drain does from its first eviction on.
    let waits = before.iter().any(|before| before.subresource == "eviction");
    if call.ends_with("by a pod") {
        return on_a_machine(call, asked, fault, before);
    }
    match asked.verb {
        _ if asked.subresource == "exec" => of_a_command(call == "exec that reads", fault),
        // Its rollout is waited for no longer than a rollout may make no progress, 3 minutes.
        "watch" if call == "helm.unlock back" && asked.what.starts_with("deployment") && fault == "down for 10 min" => {
            Fails(&[Reason::NotReady, Reason::Stalled])
        }
        // The API server may be on the very machine that boots.
        "get" if call == "machine.reboot" && before.len() > 1 => of_a_watch(fault),
        "watch" => of_a_watch(fault),
        "get" | "list" if waits => of_a_watch(fault),
        "get" | "list" => of_a_read(call, asked, fault),
        _ => of_a_write(call, asked, fault),
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
        // What a container wrote is any text.
        "of another kind" | "no object" if asked.subresource == "log" => Comes,
        // Longer than a read may take.
        "down for 10 min" => UNREACHABLE,
        "late by 10 min" | "stalls" => TIMEOUT,
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

fn of_a_write(call: &str, asked: &Asked, fault: &str) -> Expected {
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
        // Who makes the record of a revision first holds the release.
        ("create", "409") if call.starts_with("helm.") => Fails(&[Reason::HelmLocked]),
        ("create" | "delete", "409") => Fails(&[Reason::Conflict, Reason::Precondition]),
        // What was not made is made, what was made is found; nobody sends it twice.
        _ => Comes,
    }
}

/// A command is never begun twice, unless it changes nothing.
fn of_a_command(reads: bool, fault: &str) -> Expected {
    match fault {
        "403" | "denied by a webhook" => FORBIDDEN,
        "404" => NOT_FOUND,
        "409" => Fails(&[Reason::Conflict, Reason::Precondition]),
        "422" => Fails(&[Reason::Invalid]),
        "down for 10 min" => UNREACHABLE,
        // Nothing was begun.
        "429" | "401" | "refused" => Comes,
        // What is no stream is no answer of an API server.
        "of another kind" | "no object" => Unknown(&[Reason::Unreachable]),
        "late by 10 min" | "stalls" => Unknown(&[Reason::Timeout]),
        _ if reads => Comes,
        _ => Unknown(&[Reason::Unreachable]),
    }
}

/// The requests of the way to a machine by a pod: the rules of the namespace, the pod, what is said through it, the end of the pod.
fn on_a_machine(call: &str, asked: &Asked, fault: &str, before: &[Asked]) -> Expected {
    let begun = before.iter().any(|before| before.subresource == "exec");
    let is_said = asked.subresource == "exec";
    match (asked.verb, fault) {
        _ if !is_said && asked.verb != "get" => of_a_write(call, asked, fault),
        (_, "403" | "denied by a webhook") => FORBIDDEN,
        (_, "404") => NOT_FOUND,
        (_, "409") => Fails(&[Reason::Conflict]),
        (_, "422") => Fails(&[Reason::Invalid]),
        // What runs on the machine goes on, and is asked for its end for as long as it may take.
        _ if is_said && begun && call.starts_with("machine.run") => Comes,
        (_, "down for 10 min") => UNREACHABLE,
        (_, "late by 10 min" | "stalls") if is_said => UNREACHABLE,
        (_, "late by 10 min" | "stalls") => TIMEOUT,
        // Whoever reaches for a machine tries again for half a minute; a second start of an operation does nothing.
        _ => Comes,
    }
}
