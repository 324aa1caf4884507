//! References and acts in scenarios, resolved against the simulated cluster without any request.

use lockgate_sim::ever_defined;
use lockgate_sim::kinds::{self, Kind as ApiKind};
pub(super) use lockgate_sim::model::glob;
use lockgate_sim::store::{Key, Store};

use super::kill::full_name;
use super::pods::{OF, Pods};
use crate::base::{Error, Kind, ObjectRef, Reason, Result, did_you_mean};
use crate::cluster::Recorded;
use crate::cluster::keep::Intent;
use crate::cluster::machines::OnMachine;
use crate::primitives::registry::list;

/// The verbs that an act may begin with: those of writing requests; what is sent to a part of a pod has a word of its own.
const VERBS: &[&str] = &["create", "update", "patch", "delete", "deletecollection", "evict", "exec"];

/// A mistake in a scenario.
pub(super) fn wrong(message: impl Into<String>) -> Error {
    Error::new(Kind::Runbook, Reason::Usage, message)
}

/// The kind of that name, singular, plural or short: of Kubernetes, or defined in this cluster.
pub(super) fn kind(name: &str, group: Option<&str>, store: &Store) -> Result<&'static ApiKind> {
    let served = store.served_kinds();
    let named = |kind: &&ApiKind| kind.singular == name || kind.plural == name || kind.short.contains(&name);
    let found = served.iter().copied().find(|kind| named(kind) && group.is_none_or(|group| group == kind.group));
    found.ok_or_else(|| {
        let named = group.map_or_else(|| name.to_owned(), |group| format!("{name}.{group}"));
        let error = wrong(format!("the simulated cluster has no kind `{named}`"));
        match did_you_mean(name, served.iter().map(|kind| kind.singular)) {
            Some(near) => error.hint(format!("did you mean `{near}`?")),
            None => error,
        }
    })
}

/// The key of a reference.
pub(super) fn key(text: &str, namespace: &str, store: &Store) -> Result<Key> {
    let reference = ObjectRef::parse_node(text)?;
    let kind = kind(&reference.kind, reference.group.as_deref(), store)?;
    Ok(Key::new(kind, reference.namespace.as_deref().unwrap_or(namespace), &reference.name))
}

/// The verbs of acts on machines.
const ON_MACHINES: &[&str] = &["run", "write"];

/// Something that was done: `patch deployment/kube-system/cce-eni-ipam`, or `run kubeadm upgrade node on w1`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Act {
    /// A write to an object.
    Write {
        /// The request's verb.
        verb: String,
        /// The object.
        key: Key,
    },
    /// A write to any pod of an owner, as a scenario says it: `delete pod of daemonset/agent`.
    OfPods {
        /// The request's verb.
        verb: String,
        /// Whose pods.
        owner: Key,
    },
    /// A command that ran on a machine, or a file that was written there.
    Machine {
        /// `run` or `write`.
        verb: String,
        /// The command, its words joined by one space each, or the path. In a scenario `*` stands for any text.
        what: String,
        /// The node.
        node: String,
    },
}

impl Act {
    /// Whether the write that this intent announces is the act.
    pub(super) fn is(&self, intent: &Intent) -> bool {
        let key = &intent.key;
        match self {
            Act::Write { verb, key: object } => *verb == key.verb && intent.object() == full_name(object),
            // Whose pod it is is not known here.
            Act::OfPods { .. } => false,
            Act::Machine { what, node, .. } => {
                let part = key.part.as_deref().unwrap_or_default();
                key.verb == "machine" && key.target == format!("node/{node}") && glob(what, part)
            }
        }
    }

    /// Reads `verb kind/name` or `verb kind/namespace/name`, and for any pod of an owner `verb pod of kind/name`; for machines `run COMMAND on NODE` and `write PATH on NODE`.
    pub(super) fn parse(text: &str, namespace: &str, store: &Store) -> Result<Act> {
        let hint = "write for example `patch deployment/web`, or `run kubeadm upgrade node on w1`";
        let (verb, reference) =
            text.split_once(' ').ok_or_else(|| wrong(format!("`{text}` is no act: it has no verb and object")).hint(hint))?;
        if ON_MACHINES.contains(&verb) {
            let (what, node) = reference.rsplit_once(" on ").ok_or_else(|| wrong(format!("`{text}` names no node")).hint(hint))?;
            return Ok(Act::Machine { verb: verb.to_owned(), what: what.trim().to_owned(), node: node.trim().to_owned() });
        }
        if !VERBS.contains(&verb) {
            let verbs = || VERBS.iter().chain(ON_MACHINES).copied();
            let error = wrong(format!("`{verb}` in `{text}` is no verb of a write"));
            return Err(match did_you_mean(verb, verbs()) {
                Some(near) => error.hint(format!("did you mean `{near}`?")),
                None => error.hint(format!("the verbs are {}", list(verbs()))),
            });
        }
        let verb = verb.to_owned();
        Ok(match reference.trim().strip_prefix(OF) {
            Some(owner) => Act::OfPods { verb, owner: key(owner.trim(), namespace, store)? },
            None => Act::Write { verb, key: key(reference.trim(), namespace, store)? },
        })
    }

    /// The act of a request; `None` for reads, for what the server refused, for what stands for people's work, and for the bookkeeping of
    /// locks and events.
    pub(super) fn of(request: &Recorded) -> Option<Act> {
        let refused = request.status.is_some_and(|status| status >= 400);
        if request.dry || request.dry_run || refused || request.reads || request.by_hand || !request.verb.is_write() {
            return None;
        }
        let (plural, group) = request.resource.split_once('.').unwrap_or((&request.resource, ""));
        let of_kubernetes = kinds::ALL.iter().copied().find(|kind| kind.plural == plural && kind.group == group);
        let kind = of_kubernetes.or_else(|| ever_defined(group, plural))?;
        if kind.is(kinds::LEASE) || kind.is(kinds::EVENT) {
            return None;
        }
        let key = Key::new(
            kind,
            request.namespace.as_deref().unwrap_or_default(),
            request.name.as_deref().or(request.made.as_deref()).unwrap_or_default(),
        );
        let verb = match request.subresource.as_deref() {
            Some("eviction") => "evict",
            Some("exec" | "attach" | "portforward") => "exec",
            _ => request.verb.as_str(),
        };
        Some(Act::Write { verb: verb.to_owned(), key })
    }

    /// The act on a machine.
    pub(super) fn on_machine(begun: &OnMachine) -> Option<Act> {
        let (verb, what) = match (&begun.words, &begun.path) {
            (Some(words), _) => ("run", words.join(" ")),
            (None, Some(path)) => ("write", path.clone()),
            (None, None) => return None,
        };
        Some(Act::Machine { verb: verb.to_owned(), what, node: begun.node.clone() })
    }

    /// The object that it is about; the node of what is done to its machine.
    pub(super) fn about(&self) -> Key {
        match self {
            Act::Write { key, .. } | Act::OfPods { owner: key, .. } => key.clone(),
            Act::Machine { node, .. } => Key::new(kinds::NODE, "", node),
        }
    }

    /// Whether this one, as a scenario writes it, means that one.
    pub(super) fn means(&self, done: &Act, pods: &Pods) -> bool {
        match (self, done) {
            (Act::OfPods { verb, owner }, Act::Write { verb: done, key }) => verb == done && pods.is_of(key, owner),
            (Act::Machine { verb, what, node }, Act::Machine { verb: other, what: command, node: on }) => {
                verb == other && node == on && glob(what, command)
            }
            _ => self == done,
        }
    }
}

impl std::fmt::Display for Act {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Act::Write { verb, key } => write!(f, "{verb} {key}"),
            Act::OfPods { verb, owner } => write!(f, "{verb} {OF}{owner}"),
            Act::Machine { verb, what, node } => write!(f, "{verb} {what} on {node}"),
        }
    }
}
