//! What a pod on the node is, and what the options say about it.
//!
//! The filters and their order are those of kubectl (`pkg/drain/filters.go`): what may go by kubectl's flags may go here. They differ
//! in what they tell: every reason of every pod, and not the last one. A pod that is on its way out already is only waited for.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::base::json::Value as Json;

use super::terms::Terms;
use crate::base::{Result, Timestamp};
use crate::primitives::cx::Cx;
use crate::primitives::view;

const MIRROR: &str = "kubernetes.io/config.mirror";

/// What a pod is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// A controller makes it again elsewhere.
    Replicated,
    /// It belongs to a DaemonSet.
    DaemonSet,
    /// It belonged to a DaemonSet that is gone.
    Orphaned,
    /// The kubelet made it from a file.
    Mirror,
    /// It has data in an `emptyDir`.
    LocalStorage,
    /// Nobody makes it again.
    Unmanaged,
    /// It has ended.
    Finished,
    /// It is on its way out already.
    Terminating,
    /// It should have been gone for long, and is not waited for.
    Overdue,
}

impl Class {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Class::Replicated => "replicated",
            Class::DaemonSet => "daemonset",
            Class::Orphaned => "orphaned",
            Class::Mirror => "mirror",
            Class::LocalStorage => "local_storage",
            Class::Unmanaged => "unmanaged",
            Class::Finished => "finished",
            Class::Terminating => "terminating",
            Class::Overdue => "overdue",
        }
    }
}

/// What is to happen to a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is asked to go.
    Go,
    /// Its end is waited for.
    Wait,
    /// It stays.
    Stay,
    /// It may not go, and so nothing on this node may.
    Refuse,
}

/// One pod, judged.
#[derive(Clone, Debug)]
pub(super) struct Judged {
    pub(super) pod: Arc<Json>,
    pub(super) class: Class,
    pub(super) fate: Fate,
    /// Why it may not go: every reason, with the option that would allow it.
    pub(super) refusals: Vec<Refusal>,
    /// What is lost when it goes, though the options allow it.
    pub(super) warning: Option<&'static str>,
}

/// One reason why a pod may not go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) why: &'static str,
    /// The option that allows it, as a script writes it.
    pub(super) option: &'static str,
}

impl Judged {
    /// `NAMESPACE/NAME`.
    pub(super) fn name(&self) -> String {
        short(&self.pod)
    }
}

/// `NAMESPACE/NAME` of an object.
pub(super) fn short(object: &Json) -> String {
    format!("{}/{}", view::text(object, "/metadata/namespace"), view::name(object))
}

/// Where a pod stands among those of its node: by namespace, then by the name of its workload, the oldest first. What was drawn of a name
/// comes last, so that which pod of a Deployment goes first, and gets the one place that is free elsewhere, is no chance: of two
/// revisions it is the older one, in a plan as in the run.
pub(super) fn order(pod: &Json) -> (String, String, String, String) {
    let text = |path: &str| view::text(pod, path);
    let own = view::name(pod);
    let generated = Some(text("/metadata/generateName")).filter(|beginning| !beginning.is_empty() && own.starts_with(beginning));
    let hash = text("/metadata/labels/pod-template-hash");
    let workload = generated.map(|beginning| {
        let set = beginning.trim_end_matches('-');
        set.strip_suffix(hash).filter(|_| !hash.is_empty()).map_or(set, |deployment| deployment.trim_end_matches('-'))
    });
    let parts = [text("/metadata/namespace"), workload.unwrap_or(own), text("/metadata/creationTimestamp"), own];
    let [namespace, workload, created, own] = parts.map(str::to_owned);
    (namespace, workload, created, own)
}

/// Judges pods, and remembers which DaemonSets there are.
pub(super) struct Classifier {
    cx: Cx,
    terms: Terms,
    daemonsets: BTreeMap<String, bool>,
}

impl Classifier {
    pub(super) fn new(cx: &Cx, terms: &Terms) -> Classifier {
        Classifier { cx: cx.clone(), terms: terms.clone(), daemonsets: BTreeMap::new() }
    }

    /// Judges one pod.
    ///
    /// # Errors
    /// Those of reading its DaemonSet.
    pub(super) async fn judge(&mut self, pod: &Arc<Json>) -> Result<Judged> {
        let daemonset = match daemonset(pod) {
            Some(name) if !view::is_finished(pod) => Some(self.exists(pod, name).await?),
            _ => None,
        };
        Ok(judge(pod, daemonset, &self.terms, self.cx.now()))
    }

    async fn exists(&mut self, pod: &Json, name: &str) -> Result<bool> {
        let namespace = view::text(pod, "/metadata/namespace");
        let key = format!("{namespace}/{name}");
        if let Some(known) = self.daemonsets.get(&key) {
            return Ok(*known);
        }
        let resource = self.cx.cluster.resolve("daemonsets", Some("apps")).await?;
        let target = self.cx.cluster.object(resource, Some(namespace.to_owned()), name);
        let found = self.cx.cluster.find(&target).await?.is_some();
        self.daemonsets.insert(key, found);
        Ok(found)
    }
}

/// The DaemonSet that a pod belongs to.
fn daemonset(pod: &Json) -> Option<&str> {
    let owner = view::controller(pod)?;
    (view::text(owner, "/kind") == "DaemonSet" && view::text(owner, "/apiVersion") == "apps/v1").then(|| view::text(owner, "/name"))
}

/// Judges a pod. `daemonset` says whether the DaemonSet is there that it belongs to, if it belongs to one.
fn judge(pod: &Arc<Json>, daemonset: Option<bool>, terms: &Terms, now: Timestamp) -> Judged {
    let made = |class, fate| Judged { pod: pod.clone(), class, fate, refusals: Vec::new(), warning: None };
    let refused = |class, why, option| Judged { refusals: vec![Refusal { why, option }], ..made(class, Fate::Refuse) };
    if is_overdue(pod, terms, now) {
        return made(Class::Overdue, Fate::Stay);
    }
    match daemonset {
        Some(true) if terms.ignore_daemonsets => return made(Class::DaemonSet, Fate::Stay),
        Some(true) => return refused(Class::DaemonSet, "a DaemonSet puts it back at once", "ignore_daemonsets = true"),
        Some(false) | None => {}
    }
    if view::annotation(pod, MIRROR).is_some() {
        return made(Class::Mirror, Fate::Stay);
    }
    if view::is_terminating(pod) {
        return made(Class::Terminating, Fate::Wait);
    }
    if view::is_finished(pod) {
        return made(Class::Finished, Fate::Go);
    }
    let mut refusals = Vec::new();
    let mut warning = None;
    let mut check = |holds: bool, allowed: bool, why: &'static str, option: &'static str, told: bool| {
        if holds && !allowed {
            refusals.push(Refusal { why, option });
        } else if holds && told {
            warning = Some(why);
        }
        holds
    };
    let orphaned = check(daemonset == Some(false), terms.force, "its DaemonSet is gone", "force = true", true);
    let storage =
        check(has_local_storage(pod), terms.delete_emptydir_data, "it has data in an emptyDir", "delete_emptydir_data = true", false);
    let unmanaged = check(view::controller(pod).is_none(), terms.force, "no controller makes it again", "force = true", true);
    let class = match (orphaned, unmanaged, storage) {
        (true, ..) => Class::Orphaned,
        (_, true, _) => Class::Unmanaged,
        (_, _, true) => Class::LocalStorage,
        _ => Class::Replicated,
    };
    let fate = if refusals.is_empty() { Fate::Go } else { Fate::Refuse };
    Judged { pod: pod.clone(), class, fate, refusals, warning }
}

/// Whether a pod should have been gone for longer than is waited for: `deletionTimestamp` is the end of its grace period.
pub(super) fn is_overdue(pod: &Json, terms: &Terms, now: Timestamp) -> bool {
    let (Some(skip), Some(end)) = (terms.skip_wait, view::time(pod, "/metadata/deletionTimestamp")) else { return false };
    !skip.is_zero() && now > skip.after(end)
}

/// Whether a pod keeps data on the node that goes with it. Other volumes on the node, `hostPath` above all, stay there.
fn has_local_storage(pod: &Json) -> bool {
    view::list(pod, "/spec/volumes").iter().any(|volume| volume.get("emptyDir").is_some())
}

#[cfg(test)]
mod tests {
    use super::super::OnImpossibleBudget;
    use super::*;
    use crate::base::Span;
    use crate::base::json::json;

    #[test]
    fn what_was_drawn_of_a_name_decides_last() {
        let pod = |name: &str, generated: &str, hash: &str, created: &str| {
            json!({ "metadata": { "namespace": "shop", "name": name, "generateName": generated, "creationTimestamp": created,
                "labels": { "pod-template-hash": hash } } })
        };
        let mut pods = [
            pod("web-9d-a", "web-9d-", "9d", "2026-01-01T00:00:05Z"),
            pod("web-5c-a", "web-5c-", "5c", "2026-01-01T00:00:09Z"),
            pod("web-9d-b", "web-9d-", "9d", "2026-01-01T00:00:04Z"),
            pod("tool", "", "", "2026-01-01T00:00:10Z"),
            pod("zeta-x", "zeta-", "", "2026-01-01T00:00:01Z"),
        ];
        pods.sort_by_key(order);
        let names: Vec<&str> = pods.iter().map(view::name).collect();
        assert_eq!(names, ["tool", "web-9d-b", "web-9d-a", "web-5c-a", "zeta-x"], "by workload, the oldest first");
    }

    fn terms() -> Terms {
        Terms {
            ignore_daemonsets: true,
            delete_emptydir_data: false,
            force: false,
            disable_eviction: false,
            grace_period: None,
            pod_selector: None,
            skip_wait: None,
            on_impossible: OnImpossibleBudget::Fail,
            max_evictions: 10,
        }
    }

    fn judged(pod: &Json, daemonset: Option<bool>, terms: &Terms) -> (Class, Fate, usize) {
        let judged = judge(&Arc::new(pod.clone()), daemonset, terms, "2001-02-03T04:10:00Z".parse().unwrap());
        (judged.class, judged.fate, judged.refusals.len())
    }

    #[test]
    fn every_reason_of_a_pod_is_told() {
        let pod = json!({ "spec": { "volumes": [{ "name": "x", "emptyDir": { "medium": "Memory" } }] } });
        assert_eq!(judged(&pod, None, &terms()), (Class::Unmanaged, Fate::Refuse, 2));
        let forced = Terms { force: true, ..terms() };
        assert_eq!(judged(&pod, None, &forced), (Class::Unmanaged, Fate::Refuse, 1));
        let both = Terms { force: true, delete_emptydir_data: true, ..terms() };
        assert_eq!(judged(&pod, None, &both), (Class::Unmanaged, Fate::Go, 0));
    }

    #[test]
    fn a_pod_that_has_ended_may_always_go() {
        let pod = json!({ "spec": { "volumes": [{ "name": "x", "emptyDir": {} }] }, "status": { "phase": "Failed" } });
        assert_eq!(judged(&pod, None, &terms()), (Class::Finished, Fate::Go, 0));
    }

    #[test]
    fn the_time_to_skip_counts_from_the_end_of_the_grace_period() {
        let pod = json!({ "metadata": { "deletionTimestamp": "2001-02-03T04:09:30Z" } });
        assert_eq!(judged(&pod, None, &terms()).1, Fate::Wait);
        for (seconds, fate) in [(29, Fate::Stay), (30, Fate::Wait), (0, Fate::Wait)] {
            let skips = Terms { skip_wait: Some(Span::from_secs(seconds)), ..terms() };
            assert_eq!(judged(&pod, None, &skips).1, fate, "{seconds}");
        }
    }

    #[test]
    fn only_daemonsets_of_apps_v1_count() {
        let owned = |version: &str| {
            let owner = json!({ "apiVersion": version, "kind": "DaemonSet", "name": "agent", "controller": true });
            json!({ "metadata": { "ownerReferences": [owner] } })
        };
        assert_eq!(daemonset(&owned("apps/v1")), Some("agent"));
        assert_eq!(daemonset(&owned("apps.kruise.io/v1")), None);
    }
}
