//! What an upgrade moves, and in which order: API servers, then controllers and scheduler, then kubelets, then kube-proxy; and
//! before all of them what is too old for the new API servers.

use std::collections::BTreeSet;

use serde::Serialize;

use super::component::Component;
use super::judge::{Servers, minors};
use super::read::{Reading, Readings};
use super::rules::{Bound, Lag, RULES, id_of};
use crate::base::Version;

/// Programs that move together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Move {
    /// What moves.
    pub component: Component,
    /// Where; empty where it is nowhere in particular.
    pub nodes: Vec<String>,
    /// The versions now.
    pub from: Vec<String>,
    /// The version then; `1.30` is any patch of it.
    pub to: String,
    /// What to know.
    pub note: &'static str,
}

/// What an upgrade needs.
pub(super) struct Ahead<'a> {
    /// What must move before the API servers may, with the rule and the reason.
    pub(super) blockers: Vec<(&'a Reading, &'static str, String)>,
    /// What is itself exchanged at the beginning of the upgrade of its node.
    pub(super) installers: Vec<(&'a Reading, &'static str, String)>,
    /// Everything that moves, in order.
    pub(super) moves: Vec<Move>,
}

/// The next upgrade on the way to the target.
struct Hop<'a> {
    minor: u64,
    /// The target itself when this is the last upgrade.
    version: Option<&'a Version>,
}

impl Hop<'_> {
    fn to(&self) -> String {
        self.version.map_or_else(|| format!("1.{}", self.minor), ToString::to_string)
    }

    /// Whether a version is not there yet.
    fn is_behind(&self, version: &Version) -> bool {
        match self.version {
            Some(target) => version < target,
            None => version.minor < self.minor,
        }
    }
}

/// The order of the next upgrade to the target, which is not an earlier minor than the API servers have.
pub(super) fn order<'a>(readings: &'a Readings, target: &Version, servers: Servers) -> Ahead<'a> {
    let minor = if servers.are_even() { target.minor.min(servers.hi + 1) } else { servers.hi };
    let hop = Hop { minor, version: Some(target).filter(|target| target.minor == minor) };
    let blockers = blockers(readings, &hop);
    let mut moves = Vec::new();
    let late: BTreeSet<(Component, Option<&str>)> =
        blockers.iter().map(|(reading, ..)| (reading.component, reading.node.as_deref())).collect();
    for component in late.iter().map(|(component, _)| *component).collect::<BTreeSet<_>>() {
        let note = "first: too old for the API servers to come";
        let those = readings.all.iter().filter(|reading| late.contains(&(reading.component, reading.node.as_deref())));
        moves.extend(group(those, component, format!("1.{}", servers.lo), note));
    }
    let behind = |component: Component| {
        let here = readings.all.iter().filter(move |reading| reading.component == component);
        here.filter(|reading| reading.version.as_ref().is_some_and(|version| hop.is_behind(version)))
    };
    let installers = installers(readings, &hop);
    let first = "first on each node, before it upgrades that node";
    moves.extend(group(installers.iter().map(|(reading, ..)| *reading), Component::Kubeadm, hop.to(), first));
    moves.extend(group(behind(Component::ApiServer), Component::ApiServer, hop.to(), "one after the other"));
    for component in [Component::ControllerManager, Component::Scheduler, Component::CloudControllerManager] {
        moves.extend(group(behind(component), component, hop.to(), "after every API server"));
    }
    for (control_plane, patch, note) in [
        (true, false, "node by node, drained first; the control plane's"),
        (true, true, "node by node; the control plane's"),
        (false, false, "node by node, drained first"),
        (false, true, "node by node"),
    ] {
        // A patch of a kubelet needs no drain, another minor does.
        let same = |reading: &Reading| reading.version.as_ref().is_some_and(|version| version.minor == hop.minor);
        let kubelets = behind(Component::Kubelet).filter(|reading| reading.control_plane == control_plane && same(reading) == patch);
        moves.extend(group(kubelets, Component::Kubelet, hop.to(), note));
    }
    moves.extend(group(behind(Component::KubeProxy), Component::KubeProxy, hop.to(), "after the kubelets and every API server"));
    let far = |reading: &&Reading| reading.version.as_ref().is_some_and(|version| version.minor.abs_diff(hop.minor) > 1);
    let clients = readings.all.iter().filter(|reading| reading.component == Component::Kubectl).filter(far);
    moves.extend(group(clients, Component::Kubectl, hop.to(), "before the API servers are asked with it"));
    Ahead { blockers, installers, moves }
}

fn group<'a>(readings: impl Iterator<Item = &'a Reading>, component: Component, to: String, note: &'static str) -> Option<Move> {
    let mut from: Vec<&Version> = Vec::new();
    let mut nodes = Vec::new();
    for reading in readings.filter(|reading| reading.component == component) {
        from.extend(&reading.version);
        nodes.extend(reading.node.clone());
    }
    from.sort();
    from.dedup();
    let from: Vec<String> = from.iter().map(ToString::to_string).collect();
    (!from.is_empty()).then_some(Move { component, nodes, from, to, note })
}

/// What is too old, or of the wrong minor, for an API server to move.
fn blockers<'a>(readings: &'a Readings, hop: &Hop<'_>) -> Vec<(&'a Reading, &'static str, String)> {
    let mut found = Vec::new();
    for reading in &readings.all {
        let Some(version) = reading.version.as_ref().filter(|version| version.major == 1) else { continue };
        let distance = hop.minor.saturating_sub(version.minor);
        let lag = lag(reading.component).map(|lag| lag.limit(version.minor));
        if let Some(limit) = lag.filter(|limit| distance > *limit) {
            let why = format!("1.{} is {} behind 1.{}; {limit} allowed: it must move first", version.minor, minors(distance), hop.minor);
            found.push((reading, id_of(Bound::ReadyForTarget), why));
            continue;
        }
        if !readings.kubeadm {
            continue;
        }
        let by_kubeadm = RULES.iter().filter(|rule| rule.about.contains(&reading.component)).find_map(|rule| match rule.bound {
            Bound::NearTarget(old, new) => {
                let limit = if hop.minor <= 28 { old } else { new };
                let why = format!("1.{} is {} behind 1.{}; kubeadm allows {limit}", version.minor, minors(distance), hop.minor);
                (distance > limit).then_some((rule.id, why))
            }
            _ => None,
        });
        found.extend(by_kubeadm.map(|(rule, why)| (reading, rule, why)));
    }
    found
}

/// Each kubeadm that cannot make this upgrade: it has another minor, or an earlier patch. That is no obstacle: an upgrade begins with it.
fn installers<'a>(readings: &'a Readings, hop: &Hop<'_>) -> Vec<(&'a Reading, &'static str, String)> {
    let rule = id_of(Bound::SameAsTarget);
    let of = |reading: &'a Reading| {
        let version = reading.version.as_ref().filter(|version| reading.component == Component::Kubeadm && version.major == 1)?;
        let why = match version.minor == hop.minor {
            false => format!("it upgrades to 1.{}, not to 1.{}: it moves first", version.minor, hop.minor),
            true if hop.is_behind(version) => format!("it upgrades to nothing newer than itself, not to `{}`: it moves first", hop.to()),
            true => return None,
        };
        Some((reading, rule, why))
    };
    readings.all.iter().filter_map(of).collect()
}

/// How far a component may be behind the newest API server.
fn lag(component: Component) -> Option<Lag> {
    RULES.iter().filter(|rule| rule.about.contains(&component)).find_map(|rule| match rule.bound {
        Bound::BehindNewest(lag) => Some(lag),
        _ => None,
    })
}
