//! Addresses and ports of services, and what goes when the type of a service changes.

use std::collections::BTreeSet;

use crate::json::{Value, json};

use crate::kinds;
use crate::status::{Cause, Status};
use crate::store::Store;
use crate::validate::{is_external, needs_health_check, node_port_fits};
use crate::view;

/// The first node port and how many there are, as the server has them by default.
const NODE_PORTS: (i64, u64) = (30_000, 2_768);
/// The range of cluster addresses.
const RANGE: &str = "10.96.";

/// Where a service that needs addresses comes from.
#[derive(Clone, Copy)]
pub(super) enum Given<'a> {
    /// A client creates it.
    New,
    /// A client changes this one: what it has is its own.
    Changed(&'a Value),
    /// A fixture brings it: its cluster may have another range of addresses.
    ByFixture,
}

/// Gives a service its cluster address (10.96.0.0/16) and its node ports, as far as it has none.
pub(super) fn allocate(store: &mut Store, service: &mut Value, origin: Given<'_>, dry_run: bool) -> Result<(), Status> {
    let before = if let Given::Changed(before) = origin { Some(before) } else { None };
    let mut rng = store.rng().clone();
    let own = |other: &Value| before.is_some_and(|before| view::uid(before) == view::uid(other));
    let others: Vec<&Value> = store.list(kinds::SERVICE, None).map(|(_, other)| other.as_ref()).filter(|other| !own(other)).collect();
    if view::text(service, &["spec", "type"]) != "ExternalName" {
        let taken: BTreeSet<&str> = others.iter().map(|other| view::text(other, &["spec", "clusterIP"])).collect();
        let given = view::text(service, &["spec", "clusterIP"]).to_owned();
        let kept = before.is_some_and(|before| view::text(before, &["spec", "clusterIP"]) == given);
        if !given.is_empty() && given != "None" && !kept {
            check_address(service, &given, &taken, matches!(origin, Given::ByFixture))?;
        }
        let address = if given.is_empty() {
            let found = (0..u64::from(u16::MAX)).map(|_| address(rng.below(1 << 16))).find(|a| !taken.contains(a.as_str()));
            found.ok_or_else(|| Status::internal("failed to allocate a serviceIP: range is full"))?
        } else {
            given
        };
        view::set(service, &["spec", "clusterIP"], address.as_str());
        view::set(service, &["spec", "clusterIPs"], json!([address]));
    }
    let mut taken: BTreeSet<i64> = others.iter().flat_map(|other| node_ports(other)).collect();
    let mine: BTreeSet<i64> = before.into_iter().flat_map(node_ports).collect();
    check_ports(service, &taken, &mine)?;
    taken.extend(node_ports(service));
    let mut draw = || {
        let mut drawn = (0..NODE_PORTS.1 * 4).map(|_| NODE_PORTS.0 + i64::try_from(rng.below(NODE_PORTS.1)).unwrap_or(0));
        drawn.find(|number| taken.insert(*number)).ok_or_else(|| Status::internal("failed to allocate a nodePort: range is full"))
    };
    if opens_node_ports(service) {
        for port in view::list_mut(service, &["spec", "ports"]).into_iter().flatten() {
            if view::count(port, &["nodePort"]) == 0 {
                view::set(port, &["nodePort"], draw()?);
            }
        }
    }
    if needs_health_check(service) && view::count(service, &["spec", "healthCheckNodePort"]) == 0 {
        view::set(service, &["spec", "healthCheckNodePort"], draw()?);
    }
    if !dry_run {
        *store.rng() = rng;
    }
    Ok(())
}

/// Refuses an address that somebody has, or that is out of the range. Clusters whose services lie elsewhere have another range.
fn check_address(service: &Value, given: &str, taken: &BTreeSet<&str>, any_range: bool) -> Result<(), Status> {
    let elsewhere = any_range || taken.iter().any(|other| !matches!(*other, "" | "None") && !other.starts_with(RANGE));
    let why = if taken.contains(given) {
        "provided IP is already allocated"
    } else if !given.starts_with(RANGE) && !elsewhere {
        "the provided network does not match the current range"
    } else {
        return Ok(());
    };
    let cause = Cause::invalid("spec.clusterIPs", &json!([given]), &format!("failed to allocate IP {given}: {why}"));
    Err(Status::invalid(kinds::SERVICE, view::name(service), &[cause]))
}

/// Refuses node ports that another service has, or that no service may have.
fn check_ports(service: &Value, taken: &BTreeSet<i64>, mine: &BTreeSet<i64>) -> Result<(), Status> {
    for (at, port) in view::list(service, &["spec", "ports"]).iter().enumerate() {
        let number = view::count(port, &["nodePort"]);
        if number == 0 || mine.contains(&number) {
            continue;
        }
        let why = if taken.contains(&number) {
            "provided port is already allocated"
        } else if !node_port_fits(number) {
            "provided port is not in the valid range. The range of valid ports is 30000-32767"
        } else {
            continue;
        };
        let cause = Cause::invalid(format!("spec.ports[{at}].nodePort"), &number.into(), why);
        return Err(Status::invalid(kinds::SERVICE, view::name(service), &[cause]));
    }
    Ok(())
}

fn node_ports(service: &Value) -> impl Iterator<Item = i64> {
    let ports = view::list(service, &["spec", "ports"]).iter().map(|port| view::count(port, &["nodePort"]));
    ports.chain([view::count(service, &["spec", "healthCheckNodePort"])]).filter(|number| *number != 0)
}

/// Whether the service is given node ports.
fn opens_node_ports(service: &Value) -> bool {
    match view::text(service, &["spec", "type"]) {
        "NodePort" => true,
        "LoadBalancer" => view::at(service, &["spec", "allocateLoadBalancerNodePorts"]) != Some(&Value::Bool(false)),
        _ => false,
    }
}

/// Takes over what a change leaves out and drops what the new type has no use for, unless the change sets it anew.
pub(super) fn carry_over(before: &Value, after: &mut Value) {
    let kind = |service: &Value| view::text(service, &["spec", "type"]).to_owned();
    let (old, new) = (kind(before), kind(after));
    let with_ports = |kind: &str| matches!(kind, "NodePort" | "LoadBalancer");
    if old != "ExternalName" && new != "ExternalName" {
        for path in [["spec", "clusterIP"], ["spec", "clusterIPs"]] {
            let missing = view::at(after, &path).is_none_or(Value::is_null);
            if let Some(value) = view::at(before, &path).filter(|_| missing) {
                view::set(after, &path, value.clone());
            }
        }
    }
    if with_ports(&old) && with_ports(&new) {
        keep_node_ports(before, after);
    }
    if needs_health_check(before) && needs_health_check(after) {
        keep(before, after, "healthCheckNodePort");
    }
    if old != "ExternalName" && new == "ExternalName" {
        drop_same(before, after, &["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy", "internalTrafficPolicy"]);
    }
    if with_ports(&old) && !with_ports(&new) {
        let same = node_ports(before).collect::<Vec<_>>() == node_ports(after).collect::<Vec<_>>();
        for port in view::list_mut(after, &["spec", "ports"]).into_iter().flatten().filter(|_| same) {
            view::remove(port, &["nodePort"]);
        }
    }
    if needs_health_check(before) && !needs_health_check(after) {
        drop_same(before, after, &["healthCheckNodePort"]);
    }
    if old == "LoadBalancer" && new != "LoadBalancer" {
        drop_same(before, after, &["allocateLoadBalancerNodePorts", "loadBalancerClass"]);
    }
    if is_external(before) && !is_external(after) {
        drop_same(before, after, &["externalTrafficPolicy"]);
    }
}

/// A port keeps its node port when number and protocol are the same.
fn keep_node_ports(before: &Value, after: &mut Value) {
    let name = |port: &Value| (view::text(port, &["protocol"]).to_owned(), view::count(port, &["port"]));
    for port in view::list_mut(after, &["spec", "ports"]).into_iter().flatten() {
        if view::count(port, &["nodePort"]) == 0
            && let Some(old) = view::list(before, &["spec", "ports"]).iter().find(|old| name(old) == name(port))
            && let Some(number) = old.get("nodePort")
        {
            view::set(port, &["nodePort"], number.clone());
        }
    }
}

fn keep(before: &Value, after: &mut Value, field: &str) {
    let path = ["spec", field];
    let missing = view::at(after, &path).is_none();
    if let Some(value) = view::at(before, &path).filter(|_| missing) {
        view::set(after, &path, value.clone());
    }
}

fn drop_same(before: &Value, after: &mut Value, fields: &[&str]) {
    for field in fields {
        let path = ["spec", *field];
        if view::at(before, &path) == view::at(after, &path) {
            view::remove(after, &path);
        }
    }
}

/// The address with this number; the first ones belong to the control plane.
fn address(number: u64) -> String {
    let number = number.clamp(20, 65_000);
    format!("10.96.{}.{}", number >> 8, number & 255)
}
