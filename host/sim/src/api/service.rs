//! Addresses and ports of services.

use std::collections::BTreeSet;

use crate::json::{Value, json};

use crate::kinds;
use crate::status::{Cause, Status};
use crate::store::Store;
use crate::view;

/// Node ports, as the server has them by default.
const NODE_PORTS: std::ops::Range<i64> = 30_000..32_768;

/// Gives a new service its cluster address (10.96.0.0/16) and its node ports.
pub(super) fn allocate(store: &mut Store, service: &mut Value, dry_run: bool) -> Result<(), Status> {
    let kind = view::text(service, &["spec", "type"]).to_owned();
    let mut rng = store.rng().clone();
    if kind != "ExternalName" {
        let taken: BTreeSet<&str> = store.list(kinds::SERVICE, None).map(|(_, s)| view::text(s, &["spec", "clusterIP"])).collect();
        let given = view::text(service, &["spec", "clusterIP"]).to_owned();
        if !given.is_empty() && given != "None" && taken.contains(given.as_str()) {
            let why = format!("failed to allocate IP {given}: provided IP is already allocated");
            let cause = Cause::invalid("spec.clusterIPs", &json!([given]), &why);
            return Err(Status::invalid(kinds::SERVICE, view::name(service), &[cause]));
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
    if matches!(kind.as_str(), "NodePort" | "LoadBalancer") {
        let mut taken: BTreeSet<i64> = store
            .list(kinds::SERVICE, None)
            .flat_map(|(_, s)| view::list(s, &["spec", "ports"]))
            .filter_map(|port| view::int(port, &["nodePort"]))
            .collect();
        for port in view::list_mut(service, &["spec", "ports"]).into_iter().flatten() {
            if view::count(port, &["nodePort"]) == 0 {
                let span = u64::try_from(NODE_PORTS.end - NODE_PORTS.start).unwrap_or(1);
                let number = (0..span * 4)
                    .map(|_| NODE_PORTS.start + i64::try_from(rng.below(span)).unwrap_or(0))
                    .find(|number| taken.insert(*number));
                view::set(port, &["nodePort"], number.ok_or_else(|| Status::internal("failed to allocate a nodePort: range is full"))?);
            }
        }
    }
    if !dry_run {
        *store.rng() = rng;
    }
    Ok(())
}

/// The address with this number; the first ones belong to the control plane.
fn address(number: u64) -> String {
    let number = number.clamp(20, 65_000);
    format!("10.96.{}.{}", number >> 8, number & 255)
}
