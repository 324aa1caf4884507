//! A test of the tests: with the controller switched off that a case is about, or the single rule, the case must fail.

use std::collections::BTreeMap;

use libtest_mimic::{Failed, Trial};

use super::case::Case;
use super::golden::Golden;
use super::replay::Simulated;
use super::{Outcome, compare, run};

/// Each controller with cases that cannot be as they were recorded without it.
const GUARDED: [(&str, &[&str]); 13] = [
    ("daemonset-controller", &["daemonset-on-delete", "daemonset-percent", "daemonset-surge", "daemonset-history", "daemonset-labels"]),
    ("deployment-controller", &["rollout", "fenceposts-3", "recreate", "rollout-undo", "proportional-scaling", "progress-deadline"]),
    ("disruption-controller", &["pdb-eviction", "pdb-percent", "pdb-bookkeeping"]),
    ("endpoints-controller", &["services"]),
    ("job-controller", &["job-success", "job-failure", "job-suspend"]),
    ("kubelet", &["rollout", "drain", "statefulset-rollout"]),
    ("node-controller", &["node-not-ready", "daemonset-nodes", "drain"]),
    ("pod-garbage-collector", &["daemonset-labels"]),
    ("replicaset-controller", &["rollout", "adoption", "scale-to-zero"]),
    ("scheduler", &["rollout", "host-port", "unschedulable"]),
    ("statefulset-controller", &["statefulset-rollout", "statefulset-broken", "statefulset-partition", "statefulset-parallel"]),
    ("taint-eviction-controller", &["taint-eviction", "node-not-ready"]),
    ("ttl-after-finished-controller", &["job-ttl"]),
];

/// Each single rule with cases that cannot be as they were recorded when it does not hold.
const RULED: [(&str, &[&str]); 34] = [
    ("adoption", &["adoption"]),
    ("cordon-taint", &["daemonset-nodes", "drain"]),
    ("daemonset-broken", &["daemonset-unavailable"]),
    ("daemonset-history", &["daemonset-history"]),
    ("daemonset-nodes", &["daemonset-nodes"]),
    ("daemonset-surge", &["daemonset-surge"]),
    ("daemonset-unavailable", &["daemonset-percent", "daemonset-unavailable"]),
    ("deletion-order", &["deletion-order"]),
    ("deployment-deadline", &["progress-deadline"]),
    ("deployment-history", &["history-limit"]),
    ("deployment-pause", &["pause-resume", "paused-at-creation"]),
    ("deployment-proportional", &["proportional-scaling"]),
    ("deployment-recreate", &["recreate-waits"]),
    ("deployment-surge", &["fenceposts-3", "surge-none", "rollover"]),
    ("deployment-unavailable", &["fenceposts-1", "fenceposts-10", "surge-all", "rollover"]),
    ("endpoints-readiness", &["endpoints-readiness"]),
    ("eviction-budget", &["pdb-eviction", "pdb-two", "pdb-unready", "drain-blocked"]),
    ("finalizers", &["finalizers", "node-not-ready"]),
    ("foreground-deletion", &["delete-foreground", "job-ttl"]),
    ("garbage-collection", &["delete-background", "owners"]),
    ("grace-period", &["grace-period", "drain", "statefulset-broken"]),
    ("job-backoff-limit", &["job-failure"]),
    ("job-suspension", &["job-suspend"]),
    ("lost-nodes", &["lost-nodes"]),
    ("namespace-content", &["namespace-deletion"]),
    ("orphaning-deletion", &["delete-orphan"]),
    ("preconditions", &["delete-preconditions"]),
    ("release", &["adoption"]),
    ("scheduler-ports", &["host-port"]),
    ("scheduler-taints", &["unschedulable"]),
    ("statefulset-order", &["statefulset-broken"]),
    ("statefulset-partition", &["statefulset-partition"]),
    ("statefulset-wait", &["statefulset-waits"]),
    ("toleration-seconds", &["taint-eviction"]),
];

/// One test for each controller and for each rule. A case that does not agree yet proves nothing and is left out.
pub(super) fn trials(cases: &[Case], pending: &BTreeMap<String, String>) -> Vec<Trial> {
    let mut trials = Vec::new();
    let controllers = GUARDED.iter().map(|row| (row, Simulated::without as Lacking));
    for ((lacks, names), lacking) in controllers.chain(RULED.iter().map(|row| (row, Simulated::without_rule as Lacking))) {
        let guards: Vec<Case> =
            cases.iter().filter(|case| names.contains(&case.name.as_str()) && !pending.contains_key(&case.name)).cloned().collect();
        let missing = names.iter().find(|name| !cases.iter().any(|case| case.name == **name));
        trials.push(Trial::test(format!("conformance::without::{lacks}"), move || {
            if let Some(name) = missing {
                return Err(Failed::from(format!("there is no case {name}")));
            }
            let mut blind = Vec::new();
            for case in &guards {
                if agrees_without(case, lacks, lacking)? {
                    blind.push(case.name.as_str());
                }
            }
            if blind.is_empty() {
                Ok(())
            } else {
                Err(Failed::from(format!("without {lacks} these agree and guard nothing of it: {blind:?}")))
            }
        }));
    }
    let everything: [(&str, &[&str], Vec<&str>); 2] = [
        ("every_controller_is_guarded", &lockgate_sim::CONTROLLERS, GUARDED.iter().map(|row| row.0).collect()),
        ("every_rule_is_guarded", lockgate_sim::RULES, RULED.iter().map(|row| row.0).collect()),
    ];
    for (name, all, guarded) in everything {
        trials.push(Trial::test(format!("conformance::without::{name}"), move || {
            let left_out: Vec<&&str> = all.iter().filter(|name| !guarded.contains(name)).collect();
            if left_out.is_empty() { Ok(()) } else { Err(Failed::from(format!("no case is about {left_out:?}"))) }
        }));
    }
    trials
}

/// Makes the cluster of a case that lacks something.
type Lacking = fn(&Case, &str) -> Outcome<Simulated>;

fn agrees_without(case: &Case, lacks: &str, lacking: Lacking) -> Outcome<bool> {
    let golden = Golden::read(&case.folder.join("golden.json"))?;
    let ran = run::run(case, &mut lacking(case, lacks)?, &golden.steps);
    Ok(compare(&golden, &ran)?.is_empty())
}
