//! Single rules of the simulated cluster that can be switched off, for tests of tests: a recorded case that does not notice that a rule
//! is missing does not guard it. [`crate::Cluster::switch_off`] does it.

macro_rules! rules {
    ($($(#[$doc:meta])* $rule:ident $name:literal;)*) => {
        /// One rule.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Rule {
            $($(#[$doc])* $rule,)*
        }

        const ALL: &[(&str, Rule)] = &[$(($name, Rule::$rule)),*];

        /// The names of all rules.
        pub const RULES: &[&str] = &[$($name),*];
    };
}

rules! {
    /// What nobody owns any more goes.
    OwnersGone "garbage-collection";
    /// A foreground deletion takes the dependants first.
    Foreground "foreground-deletion";
    /// An orphaning deletion takes the owner off its dependants.
    Orphans "orphaning-deletion";
    /// What is in a namespace that goes is deleted.
    NamespaceContent "namespace-content";
    /// Finalizers hold a deletion up.
    Finalizers "finalizers";
    /// Deletions look at uid and version.
    Preconditions "preconditions";
    /// Pods on nodes get time to stop.
    Grace "grace-period";
    /// Evictions ask the budgets.
    EvictionBudget "eviction-budget";
    /// No more pods of a Deployment are away than it allows.
    DeploymentUnavailable "deployment-unavailable";
    /// No more pods of a Deployment are there than it allows.
    DeploymentSurge "deployment-surge";
    /// Scaling in the middle of a rollout is proportional.
    DeploymentProportional "deployment-proportional";
    /// A rollout that does not get on is told.
    DeploymentDeadline "deployment-deadline";
    /// Old ReplicaSets beyond the limit go.
    DeploymentHistory "deployment-history";
    /// A paused Deployment is not rolled out.
    DeploymentPause "deployment-pause";
    /// `Recreate` waits until the old pods are gone.
    DeploymentRecreate "deployment-recreate";
    /// Matching orphans are adopted.
    Adoption "adoption";
    /// Pods that do not match any more are released.
    Release "release";
    /// The least useful pods go first.
    DeletionOrder "deletion-order";
    /// No more pods of a DaemonSet are away than it allows.
    DaemonSetUnavailable "daemonset-unavailable";
    /// No more nodes than allowed have two pods of a DaemonSet.
    DaemonSetSurge "daemonset-surge";
    /// Old pods that are not available are replaced whatever the limit is.
    DaemonSetBroken "daemonset-broken";
    /// Old revisions of a DaemonSet beyond the limit go.
    DaemonSetHistory "daemonset-history";
    /// DaemonSets heed changes of nodes.
    DaemonSetNodes "daemonset-nodes";
    /// Members of a StatefulSet come and go one after another.
    StatefulSetOrder "statefulset-order";
    /// A rollout of a StatefulSet stops at its partition.
    StatefulSetPartition "statefulset-partition";
    /// A rollout of a StatefulSet waits for members that are not available.
    StatefulSetWait "statefulset-wait";
    /// A Job fails after so many failures.
    JobBackOffLimit "job-backoff-limit";
    /// A suspended Job has no pods.
    JobSuspension "job-suspension";
    /// A cordoned node gets a taint.
    CordonTaint "cordon-taint";
    /// A node whose kubelet says nothing is lost.
    LostNodes "lost-nodes";
    /// Pods stay on a tainted node as long as they tolerate it.
    TolerationSeconds "toleration-seconds";
    /// Taints keep pods away.
    SchedulerTaints "scheduler-taints";
    /// A port of a host is given once.
    SchedulerPorts "scheduler-ports";
    /// Pods that are not ready are no endpoints.
    EndpointsReadiness "endpoints-readiness";
    /// Pods count as available only after `minReadySeconds`.
    MinReadySeconds "min-ready-seconds";
    /// Every namespace is given an account and the certificates of the cluster.
    NamespaceGifts "namespace-gifts";
    /// What makes no sense is refused.
    Validation "validation";
    /// A change of what is wanted raises the generation.
    Generation "generation";
}

/// Which rules do not hold.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Rules(u64);

impl Rules {
    /// Whether a rule holds.
    pub(crate) fn hold(self, rule: Rule) -> bool {
        self.0 & (1 << rule as u32) == 0
    }

    /// Switches a rule off by its name; false when there is none of that name.
    pub(crate) fn switch_off(&mut self, name: &str) -> bool {
        let found = ALL.iter().find(|(known, _)| *known == name);
        if let Some((_, rule)) = found {
            self.0 |= 1 << *rule as u32;
        }
        found.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rule_holds_until_it_is_switched_off_alone() {
        assert!(ALL.len() <= 64 && ALL.len() == RULES.len());
        for (name, rule) in ALL {
            let mut rules = Rules::default();
            assert!(rules.hold(*rule) && rules.switch_off(name) && !rules.hold(*rule), "{name}");
            assert!(ALL.iter().all(|(_, other)| other == rule || rules.hold(*other)), "{name}");
        }
        assert!(!Rules::default().switch_off("gravity"));
    }
}
