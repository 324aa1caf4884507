//! Who else changes nodes.

use std::sync::Arc;

use super::{Found, listed, skip};
use crate::base::clock::{Duration, later};
use crate::base::json::Value as Json;
use crate::base::{Result, Timestamp};
use crate::cluster::{Cluster, Select};

/// kured's lock on its own DaemonSet; the first name is that of its releases so far.
const KURED: [&str; 2] = ["weave.works/kured-node-lock", "kured.dev/kured-node-lock"];
/// The conditions of a node that somebody works on, and of one that somebody will (well-known from Kubernetes 1.37 on).
const AT_WORK: [&str; 2] = ["DrainInProgress", "MaintenanceInProgress"];
const PLANNED: [&str; 2] = ["MaintenancePlanned", "Drained"];

fn text<'a>(object: &'a Json, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Json::as_str).unwrap_or_default()
}

fn name(object: &Json) -> &str {
    text(object, "/metadata/name")
}

fn place(object: &Json) -> String {
    format!("{}/{}", text(object, "/metadata/namespace"), name(object))
}

fn note<'a>(object: &'a Json, key: &str) -> Option<&'a str> {
    object.pointer("/metadata/annotations")?.get(key)?.as_str()
}

pub(super) async fn look(cluster: &Cluster, found: &mut Found) -> Result<()> {
    let all = Select::default();
    let nodes = listed(cluster, "node", "", None, &all, found).await?.map(|listed| listed.items).unwrap_or_default();
    conditions(&nodes, found);
    if let Some(sets) = listed(cluster, "daemonset", "apps", None, &all, found).await? {
        kured(&sets.items, cluster.clock().now(), found);
    }
    upgrade_controller(cluster, found).await?;
    cluster_api(cluster, &nodes, found).await?;
    autoscalers(cluster, found).await
}

fn conditions(nodes: &[Arc<Json>], found: &mut Found) {
    for node in nodes {
        let conditions = node.pointer("/status/conditions").and_then(Json::as_array).into_iter().flatten();
        let set = conditions.filter(|condition| condition["status"] == "True").filter_map(|condition| condition["type"].as_str());
        for condition in set {
            let name = name(node);
            if AT_WORK.contains(&condition) {
                found.refuses(
                    format!("`node/{name}` has the condition `{condition}`: somebody works on it"),
                    "wait for whoever set the condition, or clear it when nobody does",
                );
            } else if PLANNED.contains(&condition) {
                found.warns(format!("`node/{name}` has the condition `{condition}`"), "somebody else has plans for it");
            }
        }
    }
}

/// kured drains and reboots the node that its lock names.
pub(super) fn kured(sets: &[Arc<Json>], now: Timestamp, found: &mut Found) {
    for set in sets {
        let lock = KURED.into_iter().find_map(|key| Some((key, note(set, key)?)));
        let is_kured = name(set) == "kured" || text(set, "/metadata/labels/app.kubernetes.io~1name") == "kured";
        match lock {
            Some((key, lock)) => {
                let lock: Json = serde_json::from_str(lock).unwrap_or_default();
                let node = lock["nodeID"].as_str().unwrap_or("an unknown node");
                if has_run_out(&lock, now) {
                    found.warns(
                        format!("kured (`daemonset/{}`) has a lock for `{node}` that has run out", place(set)),
                        "it may reboot another node during the run",
                    );
                } else {
                    let hint = format!(
                        "wait until it is done; a lock that is left over is removed with `kubectl annotate daemonset -n {} {} {key}-`",
                        text(set, "/metadata/namespace"),
                        name(set)
                    );
                    found
                        .refuses(format!("kured (`daemonset/{}`) holds its lock for `{node}`: it drains and reboots it", place(set)), hint);
                }
            }
            None if is_kured => found.warns(
                format!("kured (`daemonset/{}`) may reboot a node during the run", place(set)),
                "stop it for that time, for example by its blocking Prometheus alert or a node selector that fits no node",
            ),
            None => {}
        }
    }
}

/// Whether kured's own time limit for its lock is over; its figure is in nanoseconds, and 0 means none.
fn has_run_out(lock: &Json, now: Timestamp) -> bool {
    let created = lock["created"].as_str().and_then(|text| text.parse::<Timestamp>().ok());
    let limit = lock["TTL"].as_u64().filter(|limit| *limit > 0).map(Duration::from_nanos);
    matches!((created, limit), (Some(created), Some(limit)) if later(created, limit) < now)
}

async fn upgrade_controller(cluster: &Cluster, found: &mut Found) -> Result<()> {
    let all = Select::default();
    let Some(plans) = listed(cluster, "plan", "upgrade.cattle.io", None, &all, found).await? else { return Ok(()) };
    if plans.items.is_empty() {
        return Ok(());
    }
    let of_plans = Select { labels: Some("upgrade.cattle.io/plan".to_owned()), fields: None };
    let Some(jobs) = listed(cluster, "job", "batch", None, &of_plans, found).await? else { return Ok(()) };
    for job in jobs.items.iter().filter(|job| job.pointer("/status/active").and_then(Json::as_u64).unwrap_or_default() > 0) {
        let plan = text(job, "/metadata/labels/upgrade.cattle.io~1plan");
        let node = text(job, "/metadata/labels/upgrade.cattle.io~1node");
        let on = if node.is_empty() { String::new() } else { format!(" on `{node}`") };
        found.refuses(
            format!("the system-upgrade-controller works on its plan `{plan}`{on} (`job/{}`)", place(job)),
            "wait until its jobs are done, or take the plan's label off the nodes",
        );
    }
    Ok(())
}

/// Machines of Cluster API are replaced, not changed: one that comes or goes is a roll-out. Only those of the cluster that these nodes
/// say they belong to count; a management cluster has those of others too.
async fn cluster_api(cluster: &Cluster, nodes: &[Arc<Json>], found: &mut Found) -> Result<()> {
    let of: Vec<&str> = nodes.iter().filter_map(|node| note(node, "cluster.x-k8s.io/cluster-name")).collect();
    if of.is_empty() {
        return Ok(());
    }
    let Some(machines) = listed(cluster, "machine", "cluster.x-k8s.io", None, &Select::default(), found).await? else { return Ok(()) };
    for machine in machines.items.iter().filter(|machine| of.contains(&text(machine, "/spec/clusterName"))) {
        let phase = text(machine, "/status/phase");
        let goes = machine.pointer("/metadata/deletionTimestamp").is_some();
        if goes || matches!(phase, "Pending" | "Provisioning" | "Provisioned" | "Deleting" | "Updating") {
            let phase = if goes { "Deleting" } else { phase };
            found.refuses(
                format!("Cluster API is rolling machines: `machine/{}` is {phase}", place(machine)),
                "wait until the roll-out is done, or pause it: `spec.paused` of the Cluster",
            );
        }
    }
    Ok(())
}

async fn autoscalers(cluster: &Cluster, found: &mut Found) -> Result<()> {
    let status = cluster.target(&"configmap/cluster-autoscaler-status".parse()?, Some("kube-system")).await?;
    let status = match cluster.find(&status).await {
        Ok(status) => status,
        Err(error) => skip(error, "configmap/kube-system/cluster-autoscaler-status", found)?,
    };
    if status.is_some() {
        found.warns(
            "the cluster-autoscaler may remove nodes that the run empties",
            "pause its scale-down, or annotate the nodes with `cluster-autoscaler.kubernetes.io/scale-down-disabled=true`",
        );
    }
    let pools = listed(cluster, "nodepool", "karpenter.sh", None, &Select::default(), found).await?;
    if let Some(pool) = pools.as_ref().and_then(|pools| pools.items.first()) {
        found.warns(
            format!("Karpenter (`nodepool/{}`) may replace nodes that the run empties", name(pool)),
            "set its disruption budget to 0 for that time, or annotate the nodes with `karpenter.sh/do-not-disrupt=true`",
        );
    }
    Ok(())
}
