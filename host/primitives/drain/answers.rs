//! What the server's answer to an eviction means for the pod.
//!
//! `Cluster::evict` has found out by the pod's uid whether it was made when the answer did not come. What is left is read here, by the
//! fault table of `reference/safety.md` §5.7.

use crate::base::json::Value as Json;
use crate::base::{Error, Kind, Reason, Result, Span};
use crate::cluster::Target;
use crate::primitives::cx::Cx;
use crate::primitives::view;

/// The first pause after a refusal; it doubles.
const PAUSE: Span = Span::from_secs(1);
/// The longest pause.
const LONGEST: u64 = 5_000;

/// How a pod is asked to go.
pub(super) struct Asked {
    /// By deletion, and not by eviction.
    pub(super) deleted: bool,
    /// How often it was refused before.
    pub(super) tries: u32,
    /// The budget that counts it, with the version that was seen.
    pub(super) budget: Option<(String, String)>,
}

/// What came of it.
pub(super) enum Told {
    /// It goes, and this request made it go.
    Goes,
    /// It goes, and somebody else did it.
    IsGoing,
    /// It is gone.
    Gone,
    /// It may be asked again after this time, or as soon as this budget has another version.
    Later { after: Span, unless: Option<(String, String)>, why: String },
}

/// Reads an error.
///
/// # Errors
/// The error itself when no waiting changes it.
pub(super) async fn read(cx: &Cx, pod: &Target, uid: &str, asked: &Asked, error: Error) -> Result<Told> {
    if error.is_stop() {
        return Err(error);
    }
    let said = error.causes.first().cloned().unwrap_or_else(|| error.message.clone());
    let code = error.details.get("code").and_then(Json::as_u64);
    let later =
        |after: Option<Span>, why: String| Told::Later { after: after.unwrap_or_else(|| pause(uid, asked.tries)), unless: None, why };
    let wanted = error.details.get("retry_after").and_then(Json::as_u64).filter(|seconds| *seconds > 0).map(Span::from_secs);
    match code {
        // Nobody says that it is gone but a read: a subresource can be missing too.
        Some(404 | 409) => Ok(match cx.cluster.find(pod).await? {
            None => Told::Gone,
            Some(now) if view::uid(&now) != uid => Told::Gone,
            Some(now) if view::is_terminating(&now) => Told::IsGoing,
            Some(_) => later(None, format!("the server is not of one mind: {said}")),
        }),
        Some(429) => match cause(&error, "DisruptionBudget") {
            Some(why) => {
                let after = wanted.unwrap_or_else(|| pause(uid, asked.tries));
                Ok(Told::Later { after, unless: asked.budget.clone(), why })
            }
            None => Ok(later(wanted, "the server is busy".to_owned())),
        },
        Some(403) if cause(&error, "NamespaceTerminating").is_some() => {
            Ok(later(None, "its namespace is going, and takes it along".to_owned()))
        }
        Some(403) if said.contains("poddisruptionbudget") => Ok(later(None, said)),
        // Of a webhook: it may think better of it, and until then this is as good as a budget.
        Some(400..=499) if said.contains("admission webhook") => Ok(later(None, said)),
        Some(500) if said.contains("more than one PodDisruptionBudget") => {
            let message = format!("draining: `{pod}` is covered by several budgets, and the server evicts no such pod");
            Err(Error::new(Kind::Stuck, Reason::BlockedByBudget, message)
                .about(pod.full_name())
                .cause(said)
                .hint("let one budget cover it; the node stays cordoned"))
        }
        _ if matches!(error.reason, Reason::Unreachable | Reason::Timeout) => {
            Ok(later(wanted, format!("the server cannot be heard: {said}")))
        }
        _ => Err(error),
    }
}

/// The words of a cause of this type in the server's answer.
fn cause(error: &Error, kind: &str) -> Option<String> {
    let causes = error.details.get("causes").and_then(Json::as_array)?;
    let cause = causes.iter().find(|cause| view::text(cause, "/reason") == kind)?;
    Some(view::text(cause, "/message").to_owned())
}

/// The pause before the next try: 1 s, 2 s, 4 s, 5 s, and a little more by the pod, so that not all ask at once.
fn pause(uid: &str, tries: u32) -> Span {
    let doubled = PAUSE.as_millis().saturating_mul(1 << tries.min(3)).min(LONGEST);
    let apart: u64 = uid.bytes().map(u64::from).sum::<u64>() % 250;
    Span::from_millis(doubled + apart)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_up_to_five_seconds_and_pods_are_set_apart() {
        let seconds: Vec<u64> = (0..6).map(|tries| pause("", tries).as_millis() / 1000).collect();
        assert_eq!(seconds, [1, 2, 4, 5, 5, 5]);
        assert_ne!(pause("a", 0), pause("b", 0));
    }
}
