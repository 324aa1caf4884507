//! The version skew policy as a table. Only minor versions count.
//!
//! Source of each row: the policy's page at kubernetes.io/releases/version-skew-policy ("policy"; the texts up to 1.27 and from
//! 1.28 differ in two rows), the page about kubeadm upgrades ("kubeadm page"), kubeadm's own code ("kubeadm"), or lockgate's
//! design ("design"). `lo` and `hi` are the minors of the oldest and of the newest API server of the cluster.

use super::component::Component::{
    self, ApiServer, CloudControllerManager, ControllerManager, KubeProxy, Kubeadm, Kubectl, Kubelet, Scheduler,
};

/// How far one may be behind another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lag {
    /// Minors, for versions from 1.25.
    pub most: u64,
    /// Minors, for versions below 1.25.
    pub before_1_25: u64,
}

impl Lag {
    const fn of(most: u64) -> Lag {
        Lag { most, before_1_25: most }
    }

    /// The limit for this minor.
    #[must_use]
    pub fn limit(self, minor: u64) -> u64 {
        if minor < 25 { self.before_1_25 } else { self.most }
    }
}

/// What must hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// There is a version, and it can be read.
    Readable,
    /// It counts as Kubernetes 1.x counts.
    MajorOne,
    /// It is no alpha, beta or candidate: else a warning.
    Released,
    /// It is not as far behind as it may be: else a warning.
    NotAtLimit,
    /// It breaks no other rule than the upgrade on its way expects ([`super::passing`]): else a warning.
    Passing,
    /// `hi - lo` is at most so much.
    Spread(u64),
    /// It is at most `lo`.
    NotNewerThanOldest,
    /// `hi` minus it is within the limit.
    BehindNewest(Lag),
    /// It has the minor of the kubelet of its node.
    SameAsKubelet,
    /// It is within the limit of the kubelet of its node, in both directions.
    NearKubelet(Lag),
    /// It is within so much of every API server, in both directions.
    NearEveryServer(u64),
    /// A step of an upgrade takes all API servers from one minor to at most the one so much later.
    StepAhead(u64),
    /// A step goes to no earlier minor.
    NoStepBack,
    /// Before an API server moves to the target, it is near enough to the target by its own rules.
    ReadyForTarget,
    /// `kubeadm` takes nodes only so far behind its target: the limit for targets up to 1.28, and from 1.29.
    NearTarget(u64, u64),
    /// It has the target's minor.
    SameAsTarget,
}

/// One rule.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// Its name in reports.
    pub id: &'static str,
    /// What it is about; nothing for all.
    pub about: &'static [Component],
    /// What must hold.
    pub bound: Bound,
    /// The values of `hi` that it counts for, both included.
    pub lines: (u64, u64),
    /// In words.
    pub says: &'static str,
    /// Where it is from.
    pub source: &'static str,
}

const ALL_LINES: (u64, u64) = (0, u64::MAX);
const NODES: Lag = Lag { most: 3, before_1_25: 2 };
const CONTROLLERS: &[Component] = &[ControllerManager, Scheduler, CloudControllerManager];

const fn rule(id: &'static str, about: &'static [Component], bound: Bound, says: &'static str, source: &'static str) -> Rule {
    Rule { id, about, bound, lines: ALL_LINES, says, source }
}

/// Every rule. For one component the first that is broken decides; when none is, the last that measures a distance is named.
pub const RULES: &[Rule] = &[
    rule(
        "R-U1",
        &[],
        Bound::Readable,
        "a version that is missing or cannot be read is unknown, and stops until it is acknowledged",
        "design",
    ),
    rule("R-U2", &[], Bound::MajorOne, "a version with another first number than 1 is unknown", "design"),
    rule("R-A1", &[ApiServer], Bound::Spread(1), "the newest and the oldest API server are within one minor", "policy"),
    rule("R-K1", &[Kubelet], Bound::NotNewerThanOldest, "a kubelet is not newer than any API server", "policy"),
    rule(
        "R-K2",
        &[Kubelet],
        Bound::BehindNewest(NODES),
        "a kubelet is at most three minors older than any API server, two if below 1.25",
        "policy",
    ),
    rule("R-P1", &[KubeProxy], Bound::NotNewerThanOldest, "kube-proxy is not newer than any API server", "policy"),
    rule(
        "R-P2",
        &[KubeProxy],
        Bound::BehindNewest(NODES),
        "kube-proxy is at most three minors older than any API server, two if below 1.25",
        "policy",
    ),
    Rule {
        lines: (0, 27),
        ..rule("R-P3a", &[KubeProxy], Bound::SameAsKubelet, "kube-proxy has the minor of its node's kubelet", "policy up to 1.27")
    },
    Rule {
        lines: (28, u64::MAX),
        ..rule(
            "R-P3",
            &[KubeProxy],
            Bound::NearKubelet(NODES),
            "kube-proxy is within three minors of its node's kubelet, two if below 1.25",
            "policy from 1.28",
        )
    },
    rule(
        "R-C1",
        CONTROLLERS,
        Bound::NotNewerThanOldest,
        "controllers and scheduler are not newer than any API server they may reach",
        "policy",
    ),
    rule(
        "R-C2",
        CONTROLLERS,
        Bound::BehindNewest(Lag::of(1)),
        "controllers and scheduler are at most one minor older than any API server",
        "policy",
    ),
    rule("R-T1", &[Kubectl], Bound::NearEveryServer(1), "kubectl is within one minor of every API server", "policy"),
    rule("R-S2", &[ApiServer], Bound::NoStepBack, "an upgrade goes to no earlier minor", "kubeadm page"),
    rule(
        "R-S1",
        &[ApiServer],
        Bound::StepAhead(1),
        "an upgrade takes all API servers from one minor to the next, skipping none",
        "policy, kubeadm page",
    ),
    rule(
        "R-S3",
        &[Kubelet, KubeProxy, ControllerManager, Scheduler, CloudControllerManager],
        Bound::ReadyForTarget,
        "before an API server moves, everything that talks to it must be near enough to its new version",
        "policy",
    ),
    rule(
        "R-S4",
        &[Kubelet],
        Bound::NearTarget(1, 3),
        "kubeadm up to 1.28 takes kubelets one minor behind its target, from 1.29 three",
        "kubeadm",
    ),
    rule("R-S4", &[Kubeadm], Bound::SameAsTarget, "kubeadm has the minor of its target", "kubeadm"),
    rule("R-W1", &[], Bound::Released, "a pre-release counts as its minor, and is warned of", "design"),
    rule(
        "R-W2",
        &[Kubelet, KubeProxy, ControllerManager, Scheduler, CloudControllerManager],
        Bound::NotAtLimit,
        "what is as old as it may be keeps the API servers from moving to the next minor",
        "policy",
    ),
    rule(
        "R-W3",
        &[KubeProxy, ControllerManager, Scheduler, CloudControllerManager],
        Bound::Passing,
        "what an upgrade by kubeadm brings about and takes away again is expected while it is on its way, and warned of",
        "design",
    ),
];

/// The id of the rule with this bound, whoever it is about.
pub(super) fn id_of(bound: Bound) -> &'static str {
    RULES.iter().find(|rule| rule.bound == bound).map_or("", |rule| rule.id)
}
