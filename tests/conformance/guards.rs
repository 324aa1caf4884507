//! A test of the tests: with the controller switched off that a case is about, the case must fail.

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

/// One test for each controller. A case that does not agree yet proves nothing and is left out.
pub(super) fn trials(cases: &[Case], pending: &BTreeMap<String, String>) -> Vec<Trial> {
    let mut trials = Vec::new();
    for (controller, names) in GUARDED {
        let guards: Vec<Case> =
            cases.iter().filter(|case| names.contains(&case.name.as_str()) && !pending.contains_key(&case.name)).cloned().collect();
        let missing = names.iter().find(|name| !cases.iter().any(|case| case.name == **name));
        trials.push(Trial::test(format!("conformance::without::{controller}"), move || {
            if let Some(name) = missing {
                return Err(Failed::from(format!("there is no case {name}")));
            }
            Ok(guards.iter().try_for_each(|case| fails_without(case, controller))?)
        }));
    }
    let all: Vec<Case> = cases.to_vec();
    trials.push(Trial::test("conformance::explore", move || {
        for rule in lockgate_sim::RULES {
            let mut hits = Vec::new();
            for case in &all {
                let golden = Golden::read(&case.folder.join("golden.json"))?;
                let ran = run::run(case, &mut Simulated::without_rule(case, rule)?, &golden.steps);
                if !compare(&golden, &ran)?.is_empty() { hits.push(case.name.as_str()); }
            }
            println!("EXPLORE {rule}: {hits:?}");
        }
        Ok(())
    }));
    trials.push(Trial::test("conformance::without::every_controller_is_guarded", || {
        let left_out: Vec<&&str> =
            lockgate_sim::CONTROLLERS.iter().filter(|name| !GUARDED.iter().any(|(guarded, _)| guarded == *name)).collect();
        if left_out.is_empty() { Ok(()) } else { Err(Failed::from(format!("no case is about {left_out:?}"))) }
    }));
    trials
}

fn fails_without(case: &Case, controller: &str) -> Outcome {
    let golden = Golden::read(&case.folder.join("golden.json"))?;
    let ran = run::run(case, &mut Simulated::without(case, controller)?, &golden.steps);
    if compare(&golden, &ran)?.is_empty() {
        return Err(format!("{} agrees without the {controller}: it guards nothing of it", case.name));
    }
    Ok(())
}
