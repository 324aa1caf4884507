//! What an upgrade by `kubeadm` itself brings about and takes away again: it breaks a rule for a while, and that is expected.

use std::collections::BTreeSet;

use super::component::Component;
use super::judge::Servers;
use super::read::{Reading, Readings};
use crate::base::Version;

/// How the cluster looks while a state passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// It has the minor of the API server of its own node, and other API servers are still one minor behind.
    WithItsServer,
    /// It has the new minor, and an API server is still one minor behind.
    BeforeServers,
    /// It has the new minor, and the kubelet of its node is still one minor behind.
    BeforeKubelet,
}

/// A state that passes.
#[derive(Clone, Copy, Debug)]
pub struct Passing {
    /// The rule that it breaks.
    pub breaks: &'static str,
    /// The minors of the target that it belongs to, both included.
    pub lines: (u64, u64),
    /// How it looks.
    pub stage: Stage,
    /// Why it is so.
    pub says: &'static str,
}

/// Every state that passes. Sources: the page about kubeadm upgrades (from 1.28 the addons wait for the last control-plane node) and
/// kubeadm's own order (the static pods of one node, then those of the next).
pub const PASSING: &[Passing] = &[
    Passing {
        breaks: "R-C1",
        lines: (0, u64::MAX),
        stage: Stage::WithItsServer,
        says: "kubeadm moves the controllers and the scheduler of a node together with its API server",
    },
    Passing {
        breaks: "R-P1",
        lines: (0, 27),
        stage: Stage::BeforeServers,
        says: "kubeadm below 1.28 moves kube-proxy together with the first API server",
    },
    Passing {
        breaks: "R-P3a",
        lines: (0, 27),
        stage: Stage::BeforeKubelet,
        says: "kubeadm below 1.28 moves kube-proxy together with the first API server, before the kubelets",
    },
];

/// An upgrade by `kubeadm` to a minor that an API server has already.
#[derive(Clone, Debug)]
pub(super) struct Underway<'a> {
    minor: u64,
    servers: Servers,
    /// The nodes whose API server is there.
    moved: BTreeSet<&'a str>,
}

impl<'a> Underway<'a> {
    /// The upgrade that somebody says is on its way to this target; none when `kubeadm` did not install the cluster, when no API server
    /// is there yet, or when they are further apart than one upgrade brings them.
    pub(super) fn of(readings: &'a Readings, target: Option<&Version>, servers: Option<Servers>) -> Option<Underway<'a>> {
        let (target, servers) = (target?, servers?);
        let begun = readings.kubeadm && target.major == 1 && target.minor == servers.hi && servers.hi - servers.lo <= 1;
        let is_there = |reading: &&Reading| {
            let version = reading.version.as_ref().filter(|version| version.major == 1);
            reading.component == Component::ApiServer && version.is_some_and(|version| version.minor == target.minor)
        };
        let moved = readings.all.iter().filter(is_there).filter_map(|reading| reading.node.as_deref()).collect();
        begun.then_some(Underway { minor: target.minor, servers, moved })
    }

    /// Why a version that breaks this rule is expected; `kubelet` is the minor of its node's.
    pub(super) fn expects(&self, rule: &str, minor: u64, node: Option<&str>, kubelet: Option<u64>) -> Option<&'static str> {
        let is_so = |stage| match stage {
            _ if minor != self.minor => false,
            Stage::WithItsServer => !self.servers.are_even() && node.is_some_and(|node| self.moved.contains(node)),
            Stage::BeforeServers => !self.servers.are_even(),
            Stage::BeforeKubelet => kubelet.is_some_and(|kubelet| kubelet + 1 == minor),
        };
        let known = PASSING.iter().filter(|passing| passing.breaks == rule && (passing.lines.0..=passing.lines.1).contains(&self.minor));
        known.filter(|passing| is_so(passing.stage)).map(|passing| passing.says).next()
    }
}
