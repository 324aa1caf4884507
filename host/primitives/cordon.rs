//! `cordon`: a node takes no more pods.

use std::sync::Arc;

use crate::base::json::{Value as Json, json};

use super::cx::Cx;
use super::done::{Done, Inverse, Wrote};
use super::tries::{Tries, version};
use super::types::NodeRef;
use super::view;
use crate::base::diff::Change;
use crate::base::{Error, Kind, Reason, Result};
use crate::cluster::{PatchType, Select, Target};
use crate::primitive;

/// Which run cordoned a node. Written in the same request, so that nobody else's cordon is ever undone.
pub const CORDONED_BY: &str = "lockgate.dev/cordoned-by";
/// Why it did.
pub(super) const CORDON_REASON: &str = "lockgate.dev/cordon-reason";

const ROLE: &str = "node-role.kubernetes.io/";
/// The taint that the node life cycle controller makes of `spec.unschedulable`.
pub(super) const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";

primitive! {
    /// Marks a node so that no more pods are put on it. Pods that run there stay.
    ///
    /// Who did it is written into the same request, as annotation `lockgate.dev/cordoned-by`: `uncordon` undoes only what this run did.
    /// A node that is cordoned already is left as it is, and whose cordon that is stays so. When no node that takes pods would be left,
    /// a note says so.
    pub write fn cordon as Cordon(
        /// The node, for example `w1`.
        node: NodeRef,
    ) options {
        /// Why, for people who look at the node.
        reason: Option<String>,
    } -> "{ changed: boolean, node: string, previous: boolean }", "`previous`: whether the node was cordoned before";
    since "0.1";
    example r#"cordon("w1", { reason = "kubelet upgrade" })"#;
    needs ["get,list,patch nodes"];
}

impl Cordon {
    async fn run(self, cx: Cx) -> Result<Done> {
        let target = cx.target(&self.node.0, None).await?;
        let cordoned = set(&cx, &target, self.reason.as_deref()).await?;
        let value = json!({ "changed": cordoned.wrote.is_some(), "node": target.name, "previous": cordoned.wrote.is_none() });
        Ok(match cordoned.wrote {
            Some(wrote) => Done::changed(value, wrote),
            None => Done::unchanged(value),
        })
    }
}

/// A node that is cordoned now.
pub(super) struct Cordoned {
    /// The write; nothing when it was cordoned before.
    pub(super) wrote: Option<Wrote>,
}

/// Cordons a node, for this verb and for `drain`.
///
/// # Errors
/// Those of a read and of a write. The server's answer must say that the node is unschedulable: an admission hook may have taken that
/// away again, and then nothing may be evicted.
pub(super) async fn set(cx: &Cx, target: &Target, reason: Option<&str>) -> Result<Cordoned> {
    let mut tries = Tries::of(cx, target, "cordoning");
    loop {
        let before = tries.read().await?;
        if is_cordoned(&before) {
            return Ok(Cordoned { wrote: None });
        }
        let mut annotations = json!({ CORDONED_BY: cx.cluster.run().to_string() });
        if let Some(reason) = reason {
            annotations[CORDON_REASON] = reason.into();
        }
        // Bound to what was read: a cordon that somebody else makes at this moment must stay theirs.
        let metadata = json!({ "resourceVersion": version(&before), "annotations": annotations });
        let body = json!({ "metadata": metadata, "spec": { "unschedulable": true } });
        match cx.cluster.patch(target, PatchType::Strategic, body, None).await {
            Err(error) => tries.again(PatchType::Strategic, &before, error).await?,
            Ok(after) if is_cordoned(&after) => {
                warn_if_last(cx, target, &before).await?;
                let inverse =
                    Inverse::Call { verb: "uncordon".to_owned(), arguments: vec![target.full_name().into()], options: Json::Null };
                let change = Change { path: "spec.unschedulable".to_owned(), before: None, after: Some(true.into()) };
                let wrote = Wrote { verb: "cordon".to_owned(), target: target.to_string(), changes: vec![change], inverse };
                return Ok(Cordoned { wrote: Some(wrote) });
            }
            Ok(_) => {
                let message = format!("cordoning `{target}`: the server stored the node without `spec.unschedulable`");
                return Err(Error::new(Kind::Cluster, Reason::Refused, message)
                    .about(target.full_name())
                    .hint("find out which admission webhook changes nodes"));
            }
        }
    }
}

/// Whether no more pods are put on a node.
pub(super) fn is_cordoned(node: &Json) -> bool {
    view::flag(node, "/spec/unschedulable")
}

/// Whether a node runs the control plane.
pub(super) fn is_control_plane(node: &Json) -> bool {
    roles(node).any(|role| matches!(role, "control-plane" | "master"))
}

/// The roles of a node, as its labels name them.
fn roles(node: &Json) -> impl Iterator<Item = &str> {
    let labels = node.pointer("/metadata/labels").and_then(Json::as_object);
    labels.into_iter().flatten().filter_map(|(key, _)| key.strip_prefix(ROLE))
}

/// Whether pods without tolerations may be put on a node, its cordon aside.
fn takes_pods(node: &Json) -> bool {
    let taints = view::list(node, "/spec/taints").iter();
    taints.filter(|taint| view::text(taint, "/key") != UNSCHEDULABLE).all(|taint| view::text(taint, "/effect") == "PreferNoSchedule")
}

/// Says so when nothing, or nothing of the node's role, can take the pods that leave it.
async fn warn_if_last(cx: &Cx, target: &Target, node: &Json) -> Result<()> {
    if !takes_pods(node) {
        return Ok(());
    }
    let listed = match cx.cluster.list(&target.resource, None, &Select::default()).await {
        Err(stop) if stop.is_stop() => return Err(stop),
        // The node is cordoned all the same; who may not list nodes is not warned.
        Err(error) => {
            tracing::debug!(target: "lockgate::primitives", %error, "whether another node takes pods is not known");
            return Ok(());
        }
        Ok(listed) => listed.items,
    };
    let is_open =
        |other: &&Arc<Json>| view::name(other) != target.name && !is_cordoned(other) && takes_pods(other) && view::holds(other, "Ready");
    let open: Vec<&Arc<Json>> = listed.iter().filter(is_open).collect();
    if open.is_empty() {
        cx.talk.note(&format!("{target} was the last node that takes pods: no other is ready, without taints and not cordoned"));
        return Ok(());
    }
    for role in roles(node).filter(|role| !open.iter().any(|other| roles(other).any(|has| has == *role))) {
        cx.talk.note(&format!("{target} was the last node of role {role} that takes pods"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taint_keeps_pods_away_and_the_one_of_the_cordon_does_not_count() {
        let with = |taints: Json| json!({ "spec": { "taints": taints } });
        assert!(takes_pods(&with(json!([]))));
        assert!(takes_pods(&with(json!([{ "key": UNSCHEDULABLE, "effect": "NoSchedule" }]))));
        assert!(takes_pods(&with(json!([{ "key": "slow", "effect": "PreferNoSchedule" }]))));
        assert!(!takes_pods(&with(json!([{ "key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule" }]))));
    }

    #[test]
    fn both_names_of_the_control_plane_count() {
        for (label, is) in [("control-plane", true), ("master", true), ("worker", false)] {
            let node = json!({ "metadata": { "labels": { (format!("{ROLE}{label}")): "" } } });
            assert_eq!(is_control_plane(&node), is, "{label}");
        }
    }
}
