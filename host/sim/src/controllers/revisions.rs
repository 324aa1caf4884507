//! Revision numbers and the annotations that a Deployment keeps on its ReplicaSets.

use crate::json::Value;

use super::fenceposts::{self, Fenceposts};
use crate::view;

/// The revision number, on a Deployment and on its ReplicaSets.
pub(crate) const REVISION: &str = "deployment.kubernetes.io/revision";
const HISTORY: &str = "deployment.kubernetes.io/revision-history";
const DESIRED: &str = "deployment.kubernetes.io/desired-replicas";
const MAXIMUM: &str = "deployment.kubernetes.io/max-replicas";
/// The server shortens the list of former revisions to so many characters.
const HISTORY_CHARACTERS: usize = 2000;
/// Annotations of a Deployment that its ReplicaSets do not take over.
const NOT_COPIED: &[&str] =
    &["kubectl.kubernetes.io/last-applied-configuration", REVISION, HISTORY, DESIRED, MAXIMUM, "deprecated.deployment.rollback.to"];

/// The revision of a ReplicaSet; 0 when it has none.
pub(crate) fn of(set: &Value) -> i64 {
    view::annotation(set, REVISION).and_then(|r| r.parse().ok()).unwrap_or(0)
}

/// The number of replicas that the Deployment wanted when it last scaled this ReplicaSet.
pub(crate) fn desired(set: &Value) -> Option<i64> {
    view::annotation(set, DESIRED)?.parse().ok()
}

/// The most pods that the Deployment allowed when it last scaled this ReplicaSet.
pub(crate) fn maximum(set: &Value) -> Option<i64> {
    view::annotation(set, MAXIMUM)?.parse().ok()
}

/// Sets one annotation; true when it was different.
fn annotate(object: &mut Value, key: &str, value: String) -> bool {
    if view::annotation(object, key) == Some(&value) {
        return false;
    }
    view::set(object, &["metadata", "annotations", key], value);
    true
}

/// Writes the wanted and the greatest allowed number of replicas; true when something changed.
pub(crate) fn set_replicas(set: &mut Value, deployment: &Value) -> bool {
    let replicas = fenceposts::replicas(deployment);
    let Fenceposts { surge, .. } = fenceposts::resolve(deployment);
    let wanted = annotate(set, DESIRED, replicas.to_string());
    annotate(set, MAXIMUM, (replicas + surge).to_string()) || wanted
}

/// Copies the Deployment's annotations to its current ReplicaSet and gives it the newest revision; true when something changed.
pub(crate) fn set_current(set: &mut Value, deployment: &Value, newest: i64) -> bool {
    let mut changed = false;
    let annotations = view::at(deployment, &["metadata", "annotations"]).and_then(Value::as_object);
    for (key, value) in annotations.into_iter().flatten() {
        if let Some(value) = value.as_str().filter(|_| !NOT_COPIED.contains(&key.as_str())) {
            changed |= annotate(set, key, value.to_owned());
        }
    }
    let former = view::annotation(set, REVISION).map(str::to_owned);
    let number = former.as_deref().and_then(|r| r.parse::<i64>().ok()).unwrap_or(0);
    if number >= newest {
        return changed;
    }
    annotate(set, REVISION, newest.to_string());
    if let Some(former) = former {
        let history = match view::annotation(set, HISTORY).filter(|h| !h.is_empty()) {
            Some(history) => shorten(&format!("{history},{former}")),
            None => former,
        };
        annotate(set, HISTORY, history);
    }
    true
}

/// Drops the oldest numbers until the list fits.
fn shorten(history: &str) -> String {
    let mut history = history;
    while history.len() > HISTORY_CHARACTERS {
        match history.split_once(',') {
            Some((_, rest)) => history = rest,
            None => break,
        }
    }
    history.to_owned()
}

/// Writes the revision to the Deployment; true when it was different.
pub(crate) fn set_on_deployment(deployment: &mut Value, revision: &str) -> bool {
    annotate(deployment, REVISION, revision.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::json;

    #[test]
    fn an_old_replica_set_takes_the_newest_number_and_remembers_its_own() {
        let deployment = json!({"metadata": {"annotations": {REVISION: "3", "kubernetes.io/change-cause": "because"}}});
        let mut set = json!({"metadata": {"annotations": {REVISION: "1"}}});
        assert!(set_current(&mut set, &deployment, 4));
        assert_eq!(of(&set), 4);
        assert_eq!(view::annotation(&set, HISTORY), Some("1"));
        assert_eq!(view::annotation(&set, "kubernetes.io/change-cause"), Some("because"));
        assert!(!set_current(&mut set, &deployment, 4), "nothing is left to do");
        assert!(set_current(&mut set, &deployment, 6));
        assert_eq!(view::annotation(&set, HISTORY), Some("1,4"));
    }

    #[test]
    fn a_long_history_loses_its_oldest_numbers() {
        let long = "1,".repeat(1200) + "7";
        let short = shorten(&long);
        assert!(short.len() <= HISTORY_CHARACTERS && short.ends_with(",7"));
    }
}
