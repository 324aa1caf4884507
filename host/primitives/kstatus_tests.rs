//! The rules of readiness, kind by kind: a table for each, with what it is for kstatus unless the row says that it is ours.

use crate::base::json::{Value as Json, json};

use super::*;

const NOW: &str = "2001-02-03T04:10:00Z";
/// So many seconds before.
const AGO_14: &str = "2001-02-03T04:09:46Z";
const AGO_15: &str = "2001-02-03T04:09:45Z";
const AGO_59: &str = "2001-02-03T04:09:01Z";
const AGO_60: &str = "2001-02-03T04:09:00Z";

fn resource(group: &str, kind: &str) -> Resource {
    Resource {
        group: group.into(),
        version: "v1".into(),
        kind: kind.into(),
        plural: format!("{}s", kind.to_lowercase()),
        singular: kind.to_lowercase(),
        namespaced: true,
        short: Vec::new(),
        scalable: false,
    }
}

/// Each object of this kind has this status for this reason.
fn table(group: &str, kind: &str, rows: &[(Json, &str, &str)]) {
    for (object, status, reason) in rows {
        let is = of(&resource(group, kind), object, NOW.parse().unwrap());
        assert_eq!((is.status, is.reason.as_str()), (*status, *reason), "{kind} {object}");
        assert!(!is.message.is_empty(), "{kind} {object} says nothing");
    }
}

fn condition(kind: &str, status: &str, reason: &str, since: &str) -> Json {
    json!({ "type": kind, "status": status, "reason": reason, "lastTransitionTime": since })
}

/// An object with this status.
fn with(status: Json) -> Json {
    json!({ "status": status })
}

/// The same with one condition.
fn conditioned(kind: &str, status: &str, reason: &str) -> Json {
    with(json!({ "conditions": [condition(kind, status, reason, AGO_60)] }))
}

/// `base` with these fields, given by their pointers.
fn changed(base: &Json, fields: &[(&str, Json)]) -> Json {
    let mut object = base.clone();
    for (pointer, value) in fields {
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        object.pointer_mut(parent).unwrap()[key] = value.clone();
    }
    object
}

#[test]
fn every_kind_is_judged_by_its_deletion_and_its_generation_first() {
    let lag = |seen: i64| json!({ "metadata": { "generation": 2 }, "status": { "observedGeneration": seen, "phase": "Bound" } });
    for (group, kind) in [
        ("", "Pod"),
        ("", "PersistentVolumeClaim"),
        ("", "ConfigMap"),
        ("apps", "Deployment"),
        ("apps", "DaemonSet"),
        ("apps", "StatefulSet"),
        ("apps", "ReplicaSet"),
        ("batch", "Job"),
        ("policy", "PodDisruptionBudget"),
        ("apiextensions.k8s.io", "CustomResourceDefinition"),
        ("x.io", "Thing"),
    ] {
        let going = json!({ "metadata": { "deletionTimestamp": NOW, "generation": 2 }, "status": { "observedGeneration": 1 } });
        let both = changed(&lag(1), &[("/status/conditions", json!([condition("Ready", "True", "Fine", AGO_60)]))]);
        table(
            group,
            kind,
            &[
                (going, "Terminating", "Terminating"),
                (lag(1), "InProgress", "LatestGenerationNotObserved"),
                (both, "InProgress", "LatestGenerationNotObserved"),
                (conditioned("Reconciling", "True", "Syncing"), "InProgress", "Syncing"),
                (conditioned("Stalled", "True", "Broken"), "Failed", "Broken"),
            ],
        );
    }
    table("", "PersistentVolumeClaim", &[(lag(2), "Current", "Current")]);
}

#[test]
fn pods() {
    let pod = |phase: &str, conditions: Json| with(json!({ "phase": phase, "conditions": conditions }));
    let scheduled = |status: &str, since: &str| json!([condition("PodScheduled", status, "Unschedulable", since)]);
    let waiting = |phase: &str, reason: &str| {
        with(json!({ "phase": phase, "conditions": [condition("Ready", "False", "ContainersNotReady", AGO_60)],
                     "containerStatuses": [{ "state": { "running": {} } }, { "state": { "waiting": { "reason": reason } } }] }))
    };
    table(
        "",
        "Pod",
        &[
            (json!({}), "InProgress", "PodNotReady"),
            (pod("Pending", json!([])), "InProgress", "PodNotReady"),
            (pod("Running", json!([condition("Ready", "True", "", AGO_14)])), "Current", "Current"),
            (pod("Running", json!([condition("Ready", "False", "", AGO_14)])), "InProgress", "PodNotReady"),
            (pod("Succeeded", json!([condition("Ready", "False", "PodCompleted", AGO_14)])), "Current", "Current"),
            // Ours: kstatus takes it for done.
            (pod("Failed", json!([condition("Ready", "False", "PodFailed", AGO_14)])), "Failed", "PodFailed"),
            (pod("Pending", scheduled("False", AGO_14)), "InProgress", "Unschedulable"),
            (pod("Pending", scheduled("False", AGO_15)), "Failed", "Unschedulable"),
            (pod("Pending", scheduled("True", AGO_60)), "InProgress", "PodNotReady"),
            (waiting("Running", "CrashLoopBackOff"), "Failed", "CrashLoopBackOff"),
            (waiting("Pending", "ContainerCreating"), "InProgress", "PodNotReady"),
            (waiting("Pending", "ImagePullBackOff"), "InProgress", "PodNotReady"),
        ],
    );
}

#[test]
fn what_is_there_is_ready() {
    for (group, kind) in [
        ("", "Secret"),
        ("", "ConfigMap"),
        ("", "Namespace"),
        ("", "ServiceAccount"),
        ("batch", "CronJob"),
        ("policy", "PodDisruptionBudget"),
    ] {
        table(group, kind, &[(json!({}), "Current", "Current"), (with(json!({ "currentHealthy": 0 })), "Current", "Current")]);
    }
}

#[test]
fn claims_and_services() {
    let phase = |phase: &str| with(json!({ "phase": phase }));
    table(
        "",
        "PersistentVolumeClaim",
        &[
            (json!({}), "InProgress", "NotBound"),
            (phase("Pending"), "InProgress", "NotBound"),
            (phase("Lost"), "InProgress", "NotBound"),
            (phase("Bound"), "Current", "Current"),
        ],
    );
    let service = |kind: &str, address: &str| json!({ "spec": { "type": kind, "clusterIP": address }, "status": { "loadBalancer": {} } });
    table(
        "",
        "Service",
        &[
            (json!({ "spec": {} }), "Current", "Current"),
            (service("ClusterIP", "10.0.0.1"), "Current", "Current"),
            (service("ClusterIP", "None"), "Current", "Current"),
            (service("NodePort", "10.0.0.1"), "Current", "Current"),
            (service("ExternalName", ""), "Current", "Current"),
            (service("LoadBalancer", ""), "InProgress", "NoIPAssigned"),
            (service("LoadBalancer", "10.0.0.1"), "Current", "Current"),
        ],
    );
}

fn deployment() -> Json {
    json!({
        "metadata": { "generation": 1 },
        "spec": { "replicas": 2, "progressDeadlineSeconds": 600 },
        "status": {
            "observedGeneration": 1, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 2, "readyReplicas": 2,
            "conditions": [condition("Available", "True", "MinimumReplicasAvailable", AGO_60),
                           condition("Progressing", "True", "NewReplicaSetAvailable", AGO_60)],
        },
    })
}

#[test]
fn deployments() {
    let is = |fields: &[(&str, Json)]| changed(&deployment(), fields);
    let reason =
        |reason: &str, status: &str| is(&[("/status/conditions/1/reason", json!(reason)), ("/status/conditions/1/status", json!(status))]);
    let failing = |since: &str| {
        is(&[("/status/conditions", json!([condition("ReplicaFailure", "True", "FailedCreate", since)])), ("/status/replicas", json!(0))])
    };
    let alone = |kind: &str| json!([condition(kind, "True", "NewReplicaSetAvailable", AGO_60)]);
    table(
        "apps",
        "Deployment",
        &[
            (json!({ "spec": { "replicas": 1 } }), "InProgress", "LessReplicas"),
            (json!({ "spec": {} }), "InProgress", "LessReplicas"),
            (deployment(), "Current", "Current"),
            (is(&[("/status/replicas", json!(1))]), "InProgress", "LessReplicas"),
            (is(&[("/status/updatedReplicas", json!(1))]), "InProgress", "LessUpdated"),
            (is(&[("/status/replicas", json!(3))]), "InProgress", "ExtraPods"),
            (is(&[("/status/availableReplicas", json!(1))]), "InProgress", "LessAvailable"),
            (is(&[("/status/readyReplicas", json!(1))]), "InProgress", "LessReady"),
            // In this order, when several are so.
            (is(&[("/status/replicas", json!(3)), ("/status/updatedReplicas", json!(1))]), "InProgress", "LessUpdated"),
            (is(&[("/status/readyReplicas", json!(0)), ("/status/availableReplicas", json!(0))]), "InProgress", "LessAvailable"),
            (reason("ReplicaSetUpdated", "True"), "InProgress", "ReplicaSetUpdated"),
            (reason("NewReplicaSetAvailable", "False"), "InProgress", "NewReplicaSetAvailable"),
            (reason("ProgressDeadlineExceeded", "False"), "Failed", "ProgressDeadlineExceeded"),
            (is(&[("/status/conditions/0/status", json!("False"))]), "InProgress", "DeploymentNotAvailable"),
            (is(&[("/status/conditions", alone("Available"))]), "Current", "Current"),
            (is(&[("/status/conditions", alone("Progressing"))]), "InProgress", "DeploymentNotAvailable"),
            // Without a deadline nobody says anything about progress.
            (
                is(&[("/spec/progressDeadlineSeconds", json!(i32::MAX)), ("/status/conditions/1/reason", json!("ReplicaSetUpdated"))]),
                "Current",
                "Current",
            ),
            (is(&[("/spec/replicas", json!(0)), ("/status/replicas", json!(1))]), "InProgress", "ExtraPods"),
            // Ours: what has not been able to create pods for a minute has failed.
            (failing(AGO_59), "InProgress", "FailedCreate"),
            (failing(AGO_60), "Failed", "FailedCreate"),
        ],
    );
}

#[test]
fn replica_sets() {
    let set = json!({
        "spec": { "replicas": 2 },
        "status": { "replicas": 2, "fullyLabeledReplicas": 2, "availableReplicas": 2, "readyReplicas": 2 },
    });
    let is = |fields: &[(&str, Json)]| changed(&set, fields);
    let failing = |since: &str| is(&[("/status/conditions", json!([condition("ReplicaFailure", "True", "FailedCreate", since)]))]);
    for (group, kind) in [("apps", "ReplicaSet"), ("", "ReplicationController")] {
        table(
            group,
            kind,
            &[
                (json!({ "spec": { "replicas": 1 } }), "InProgress", "LessLabelled"),
                (set.clone(), "Current", "Current"),
                (is(&[("/status/fullyLabeledReplicas", json!(1))]), "InProgress", "LessLabelled"),
                (is(&[("/status/availableReplicas", json!(1))]), "InProgress", "LessAvailable"),
                (is(&[("/status/readyReplicas", json!(1))]), "InProgress", "LessReady"),
                (is(&[("/status/replicas", json!(3))]), "InProgress", "ExtraPods"),
                (failing(AGO_59), "InProgress", "FailedCreate"),
                // Ours.
                (failing(AGO_60), "Failed", "FailedCreate"),
            ],
        );
    }
}

#[test]
fn stateful_sets() {
    let set = json!({
        "metadata": { "generation": 1 },
        "spec": { "replicas": 3, "updateStrategy": { "type": "RollingUpdate", "rollingUpdate": { "partition": 0 } } },
        "status": { "observedGeneration": 1, "replicas": 3, "readyReplicas": 3, "updatedReplicas": 3 },
    });
    let is = |fields: &[(&str, Json)]| changed(&set, fields);
    let on_delete = [("/spec/updateStrategy", json!({ "type": "OnDelete" })), ("/status/updatedReplicas", json!(0))];
    let partition = |partition: i64, updated: i64| {
        is(&[("/spec/updateStrategy/rollingUpdate/partition", json!(partition)), ("/status/updatedReplicas", json!(updated))])
    };
    table(
        "apps",
        "StatefulSet",
        &[
            (json!({ "spec": { "replicas": 1 } }), "InProgress", "LessReplicas"),
            (set.clone(), "Current", "Current"),
            (is(&[("/status/replicas", json!(2))]), "InProgress", "LessReplicas"),
            (is(&[("/status/readyReplicas", json!(2))]), "InProgress", "LessReady"),
            (is(&[("/status/replicas", json!(4))]), "InProgress", "ExtraPods"),
            (is(&[("/status/updatedReplicas", json!(2))]), "InProgress", "LessUpdated"),
            (partition(2, 0), "InProgress", "LessUpdated"),
            (partition(2, 1), "Current", "Current"),
            (partition(5, 0), "Current", "Current"),
            (is(&on_delete), "Current", "Current"),
            // Ours: kstatus says of OnDelete that it is current, whatever its pods do.
            (is(&[on_delete[0].clone(), ("/status/readyReplicas", json!(2))]), "InProgress", "LessReady"),
        ],
    );
}

#[test]
fn daemon_sets() {
    let set = json!({
        "metadata": { "generation": 1 },
        "spec": { "updateStrategy": { "type": "RollingUpdate" } },
        "status": {
            "observedGeneration": 1, "desiredNumberScheduled": 3, "currentNumberScheduled": 3, "updatedNumberScheduled": 3,
            "numberAvailable": 3, "numberReady": 3,
        },
    });
    let is = |fields: &[(&str, Json)]| changed(&set, fields);
    let on_delete = ("/spec/updateStrategy/type", json!("OnDelete"));
    table(
        "apps",
        "DaemonSet",
        &[
            (json!({}), "InProgress", "NoObservedGeneration"),
            (set.clone(), "Current", "Current"),
            (is(&[("/status/currentNumberScheduled", json!(2))]), "InProgress", "LessNodes"),
            (is(&[("/status/updatedNumberScheduled", json!(2))]), "InProgress", "LessUpdated"),
            (is(&[("/status/numberAvailable", json!(2))]), "InProgress", "LessAvailable"),
            (is(&[("/status/numberReady", json!(2))]), "InProgress", "LessReady"),
            (is(&[("/status/desiredNumberScheduled", json!(0))]), "Current", "Current"),
            // Ours: kstatus waits for ever for pods that somebody has to delete.
            (is(&[on_delete.clone(), ("/status/updatedNumberScheduled", json!(0))]), "Current", "Current"),
            (is(&[on_delete, ("/status/numberReady", json!(2))]), "InProgress", "LessReady"),
        ],
    );
}

#[test]
fn jobs() {
    let ended = |kind: &str, reason: &str| conditioned(kind, "True", reason);
    table(
        "batch",
        "Job",
        &[
            (json!({}), "InProgress", "JobRunning"),
            // Ours: kstatus takes a running Job for done.
            (with(json!({ "startTime": AGO_60, "active": 1 })), "InProgress", "JobRunning"),
            (with(json!({ "startTime": AGO_60, "active": 1, "failed": 2 })), "InProgress", "JobRunning"),
            (ended("Complete", ""), "Current", "Current"),
            (ended("Failed", "BackoffLimitExceeded"), "Failed", "BackoffLimitExceeded"),
            (conditioned("Failed", "False", ""), "InProgress", "JobRunning"),
            (
                json!({ "spec": { "suspend": true }, "status": { "conditions": [condition("Suspended", "True", "", AGO_60)] } }),
                "Current",
                "Current",
            ),
        ],
    );
}

#[test]
fn definitions() {
    let definition = |names: (&str, &str), established: (&str, &str)| {
        with(json!({ "conditions": [condition("NamesAccepted", names.0, names.1, AGO_60),
                                    condition("Established", established.0, established.1, AGO_60)] }))
    };
    let fine = ("True", "NoConflicts");
    table(
        "apiextensions.k8s.io",
        "CustomResourceDefinition",
        &[
            (json!({}), "InProgress", "NoCondition"),
            (conditioned("NamesAccepted", "True", "NoConflicts"), "InProgress", "NoCondition"),
            (definition(fine, ("False", "Installing")), "InProgress", "Installing"),
            (definition(fine, ("True", "InitialNamesAccepted")), "Current", "InitialNamesAccepted"),
            (definition(("False", "PluralConflict"), ("False", "NotAccepted")), "Failed", "PluralConflict"),
            (definition(fine, ("False", "NotAccepted")), "Failed", "NotAccepted"),
        ],
    );
}

/// Ours, all of them: kstatus knows none of these kinds.
#[test]
fn kinds_with_conditions_of_their_own() {
    let node = |ready: &str, network: &str| {
        with(
            json!({ "conditions": [condition("NetworkUnavailable", network, "NoRoute", AGO_60), condition("Ready", ready, "Kubelet", AGO_60)] }),
        )
    };
    table(
        "",
        "Node",
        &[
            (json!({}), "InProgress", "NoCondition"),
            (node("True", "False"), "Current", "Kubelet"),
            (node("True", "True"), "InProgress", "NoRoute"),
            (node("Unknown", "False"), "InProgress", "Kubelet"),
            (node("False", "True"), "InProgress", "Kubelet"),
        ],
    );
    table(
        "apiregistration.k8s.io",
        "APIService",
        &[
            (json!({}), "InProgress", "NoCondition"),
            (conditioned("Available", "False", "ServiceNotFound"), "InProgress", "ServiceNotFound"),
            (conditioned("Available", "True", "Passed"), "Current", "Passed"),
        ],
    );
    let operator = |available: &str, progressing: &str, degraded: &str| {
        with(
            json!({ "conditions": [condition("Available", available, "Up", AGO_60), condition("Progressing", progressing, "Rolling", AGO_60),
                                    condition("Degraded", degraded, "PodsFail", AGO_60)] }),
        )
    };
    table(
        "operator.tigera.io",
        "TigeraStatus",
        &[
            (json!({}), "InProgress", "NoCondition"),
            (operator("True", "False", "False"), "Current", "Up"),
            (operator("False", "False", "False"), "InProgress", "Up"),
            (operator("True", "True", "False"), "InProgress", "Rolling"),
            (operator("True", "True", "True"), "Failed", "PodsFail"),
        ],
    );
}

#[test]
fn other_kinds_are_judged_by_their_condition_ready() {
    for (group, kind) in [("x.io", "Thing"), ("operator.tigera.io", "Installation"), ("helm.toolkit.fluxcd.io", "HelmRelease")] {
        table(
            group,
            kind,
            &[
                (conditioned("Ready", "True", "Fine"), "Current", "Fine"),
                (conditioned("Ready", "False", "Waiting"), "InProgress", "Waiting"),
                (conditioned("Ready", "Unknown", "Asking"), "InProgress", "Asking"),
                (conditioned("Ready", "False", ""), "InProgress", "Ready"),
                (conditioned("Synced", "False", "Other"), "Current", "Current"),
                // Ours: a new one may get its status yet.
                (json!({ "metadata": { "creationTimestamp": "2001-02-03T04:09:56Z" } }), "InProgress", "NoStatus"),
                (json!({ "metadata": { "creationTimestamp": "2001-02-03T04:09:55Z" } }), "Current", "Current"),
                (json!({ "metadata": { "creationTimestamp": "2001-02-03T04:09:58Z" }, "status": {} }), "Current", "Current"),
                (json!({}), "Current", "Current"),
            ],
        );
    }
}
