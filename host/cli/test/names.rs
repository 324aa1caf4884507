//! References and acts in scenarios, resolved against the simulated cluster without any request.

use lockgate_sim::kinds::{self, Kind as ApiKind};
use lockgate_sim::store::Key;

use crate::base::{Error, Kind, ObjectRef, Reason, Result, did_you_mean};
use crate::cluster::Recorded;
use crate::primitives::registry::list;

/// The verbs that an act may begin with: those of writing requests.
const VERBS: &[&str] = &["create", "update", "patch", "delete", "deletecollection"];

/// A mistake in a scenario.
pub(super) fn wrong(message: impl Into<String>) -> Error {
    Error::new(Kind::Runbook, Reason::Usage, message)
}

/// The kind of that name: singular, plural or short.
pub(super) fn kind(name: &str, group: Option<&str>) -> Result<&'static ApiKind> {
    let named = |kind: &&ApiKind| kind.singular == name || kind.plural == name || kind.short.contains(&name);
    let found = kinds::ALL.iter().copied().find(|kind| named(kind) && group.is_none_or(|group| group == kind.group));
    found.ok_or_else(|| {
        let error = wrong(format!("the simulated cluster has no kind `{name}`"));
        match did_you_mean(name, kinds::ALL.iter().map(|kind| kind.singular)) {
            Some(near) => error.hint(format!("did you mean `{near}`?")),
            None => error,
        }
    })
}

/// The key of a reference.
pub(super) fn key(text: &str, namespace: &str) -> Result<Key> {
    let reference = ObjectRef::parse_node(text)?;
    let kind = kind(&reference.kind, reference.group.as_deref())?;
    Ok(Key::new(kind, reference.namespace.as_deref().unwrap_or(namespace), &reference.name))
}

/// A write that was made: `patch deployment/kube-system/cce-eni-ipam`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Act {
    /// The request's verb.
    pub(super) verb: String,
    /// The object.
    pub(super) key: Key,
}

impl Act {
    /// Reads `verb kind/name` or `verb kind/namespace/name`.
    pub(super) fn parse(text: &str, namespace: &str) -> Result<Act> {
        let hint = "write for example `patch deployment/web`";
        let (verb, reference) =
            text.split_once(' ').ok_or_else(|| wrong(format!("`{text}` is no act: it has no verb and object")).hint(hint))?;
        if !VERBS.contains(&verb) {
            let error = wrong(format!("`{verb}` in `{text}` is no verb of a write"));
            return Err(match did_you_mean(verb, VERBS.iter().copied()) {
                Some(near) => error.hint(format!("did you mean `{near}`?")),
                None => error.hint(format!("the verbs are {}", list(VERBS.iter().copied()))),
            });
        }
        Ok(Act { verb: verb.to_owned(), key: key(reference.trim(), namespace)? })
    }

    /// The act of a request; `None` for reads, for what the server refused, and for the bookkeeping of locks and events.
    pub(super) fn of(request: &Recorded) -> Option<Act> {
        let refused = request.status.is_some_and(|status| status >= 400);
        if request.dry || refused || !request.verb.is_write() {
            return None;
        }
        let (plural, group) = request.resource.split_once('.').unwrap_or((&request.resource, ""));
        let kind = kinds::ALL.iter().copied().find(|kind| kind.plural == plural && kind.group == group)?;
        if kind.is(kinds::LEASE) || kind.is(kinds::EVENT) {
            return None;
        }
        let key = Key::new(kind, request.namespace.as_deref().unwrap_or_default(), request.name.as_deref().unwrap_or_default());
        Some(Act { verb: request.verb.as_str().to_owned(), key })
    }
}

impl std::fmt::Display for Act {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.verb, self.key)
    }
}
