//! A test of the tests: with the controller switched off that a case is about, the single rule, or the behaviour of the API server, the
//! case must fail. Every case stands in a row, or says why nothing can be switched off.

use std::collections::BTreeMap;

use libtest_mimic::{Failed, Trial};

use super::case::Case;
use super::door::{BEHAVIOURS, Behaviour};
use super::golden::Golden;
use super::replay::Simulated;
use super::run::Target;
use super::{Outcome, compare, run};

/// Each controller with cases that cannot be as they were recorded without it.
const GUARDED: [(&str, &[&str]); 13] = [
    ("daemonset-controller", &["daemonset-on-delete", "daemonset-percent", "daemonset-surge", "daemonset-history", "daemonset-labels"]),
    (
        "deployment-controller",
        &["rollout", "fenceposts-3", "recreate", "rollout-undo", "proportional-scaling", "progress-deadline", "restart", "unavailable-all"],
    ),
    ("disruption-controller", &["pdb-eviction", "pdb-percent", "pdb-bookkeeping"]),
    ("endpoints-controller", &["services"]),
    ("job-controller", &["job-success", "job-failure", "job-suspend"]),
    ("kubelet", &["rollout", "drain", "drain-refusals", "statefulset-rollout"]),
    ("node-controller", &["node-not-ready", "daemonset-nodes", "drain"]),
    ("pod-garbage-collector", &["daemonset-labels"]),
    ("replicaset-controller", &["rollout", "adoption", "scale-to-zero"]),
    ("scheduler", &["rollout", "host-port", "unschedulable"]),
    ("statefulset-controller", &["statefulset-rollout", "statefulset-broken", "statefulset-partition", "statefulset-parallel"]),
    ("taint-eviction-controller", &["taint-eviction", "node-not-ready"]),
    ("ttl-after-finished-controller", &["job-ttl"]),
];

/// Each single rule with cases that cannot be as they were recorded when it does not hold.
const RULED: [(&str, &[&str]); 38] = [
    ("adoption", &["adoption"]),
    ("cordon-taint", &["daemonset-nodes", "drain", "drain-refusals"]),
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
    ("deployment-surge", &["fenceposts-2", "fenceposts-3", "fenceposts-4", "surge-none", "rollover"]),
    ("deployment-unavailable", &["fenceposts-1", "fenceposts-2", "fenceposts-4", "fenceposts-10", "surge-all", "rollover"]),
    ("endpoints-readiness", &["endpoints-readiness"]),
    ("eviction-budget", &["pdb-eviction", "pdb-two", "pdb-unready", "drain-blocked", "drain-parallel"]),
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
    ("min-ready-seconds", &["min-ready-seconds"]),
    ("namespace-gifts", &["namespace-contents"]),
    ("validation", &["deployment-refusals", "config-and-secrets", "data-kinds", "roles", "leases", "labels-and-annotations"]),
    ("generation", &["generation", "kubectl-json"]),
];

/// The cases that are about no single behaviour, and what they are there for.
const WHOLE: [(&str, &str); 2] = [
    ("probes-of-servers", "the server says that it is well, and what a group serves"),
    ("unknown-resources", "the server says of what it does not serve that it does not"),
];

/// What a case can lack.
#[derive(Clone, Copy)]
enum Lacking {
    Controller(&'static str),
    Rule(&'static str),
    Behaviour(&'static Behaviour),
}

impl Lacking {
    fn name(self) -> &'static str {
        match self {
            Lacking::Controller(name) | Lacking::Rule(name) => name,
            Lacking::Behaviour(behaviour) => behaviour.name,
        }
    }

    /// The cluster of a case without it.
    fn cluster(self, case: &Case) -> Outcome<Box<dyn Target>> {
        Ok(match self {
            Lacking::Controller(name) => Box::new(Simulated::without(case, name)?),
            Lacking::Rule(name) => Box::new(Simulated::without_rule(case, name)?),
            Lacking::Behaviour(behaviour) => Box::new(behaviour.taken_from(case)?),
        })
    }
}

/// All rows.
fn rows() -> Vec<(Lacking, &'static [&'static str])> {
    let controllers = GUARDED.iter().map(|(name, cases)| (Lacking::Controller(name), *cases));
    let rules = RULED.iter().map(|(name, cases)| (Lacking::Rule(name), *cases));
    controllers.chain(rules).chain(BEHAVIOURS.iter().map(|behaviour| (Lacking::Behaviour(behaviour), behaviour.cases))).collect()
}

/// One test for each row. A case that does not agree yet proves nothing and is left out.
pub(super) fn trials(cases: &[Case], pending: &BTreeMap<String, String>) -> Vec<Trial> {
    let mut trials: Vec<Trial> = rows().into_iter().map(|(lacking, names)| row(lacking, names, cases, pending)).collect();
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
    trials.push(traced(cases));
    let names: Vec<String> = cases.iter().map(|case| case.name.clone()).collect();
    trials.push(Trial::test("conformance::without::every_case_guards_something", move || {
        let guarding: Vec<&str> = rows().iter().flat_map(|(_, cases)| *cases).chain(WHOLE.iter().map(|(name, _)| name)).copied().collect();
        let idle: Vec<&String> = names.iter().filter(|name| !guarding.contains(&name.as_str())).collect();
        if idle.is_empty() { Ok(()) } else { Err(Failed::from(format!("nothing is switched off for {idle:?}"))) }
    }));
    trials
}

/// A trace tells by itself that a strategy is not kept.
fn traced(cases: &[Case]) -> Trial {
    const NOTICED: [(&str, &str, &str); 3] = [
        ("deployment-unavailable", "fenceposts-10", "fewer than 8 are available"),
        ("deployment-surge", "fenceposts-10", "more than 13 are there"),
        ("daemonset-unavailable", "daemonset-percent", "are available"),
    ];
    let cases = cases.to_vec();
    Trial::test("conformance::without::traces_notice", move || {
        for (rule, name, wanted) in NOTICED {
            let case = cases.iter().find(|case| case.name == name).ok_or_else(|| format!("there is no case {name}"))?;
            let golden = Golden::read(&case.folder.join("golden.json"))?;
            let ran = run::run(case, &mut Simulated::without_rule(case, rule)?, &golden.steps);
            if !ran.failure.as_ref().is_some_and(|failure| failure.contains(wanted)) {
                return Err(Failed::from(format!("without {rule} the trace of {name} says {:?}", ran.failure)));
            }
        }
        Ok(())
    })
}

fn row(lacking: Lacking, names: &'static [&'static str], cases: &[Case], pending: &BTreeMap<String, String>) -> Trial {
    let guards: Vec<Case> =
        cases.iter().filter(|case| names.contains(&case.name.as_str()) && !pending.contains_key(&case.name)).cloned().collect();
    let missing = names.iter().find(|name| !cases.iter().any(|case| case.name == **name));
    let lacks = lacking.name();
    Trial::test(format!("conformance::without::{lacks}"), move || {
        if let Some(name) = missing {
            return Err(Failed::from(format!("there is no case {name}")));
        }
        let mut blind = Vec::new();
        for case in &guards {
            if agrees_without(case, lacking)? {
                blind.push(case.name.as_str());
            }
        }
        if blind.is_empty() { Ok(()) } else { Err(Failed::from(format!("without {lacks} these agree and guard nothing of it: {blind:?}"))) }
    })
}

fn agrees_without(case: &Case, lacking: Lacking) -> Outcome<bool> {
    let golden = Golden::read(&case.folder.join("golden.json"))?;
    let ran = run::run(case, &mut *lacking.cluster(case)?, &golden.steps);
    Ok(compare(&golden, &ran)?.is_empty())
}
