//! Checks of what containers and pods ask for: names of resources, amounts, requests against limits.

use std::collections::BTreeSet;

use crate::json::{Map, Value, json};

use super::{NOT_NEGATIVE, common};
use crate::quantity::Quantity;
use crate::status::Cause;
use crate::view;

/// What containers can ask for by a short name.
const OF_CONTAINERS: [&str; 3] = ["cpu", "memory", "ephemeral-storage"];
/// Other short names that there are, in quotas mostly.
const STANDARD: [&str; 17] = [
    "requests.cpu",
    "requests.memory",
    "requests.ephemeral-storage",
    "limits.cpu",
    "limits.memory",
    "limits.ephemeral-storage",
    "pods",
    "resourcequotas",
    "services",
    "replicationcontrollers",
    "secrets",
    "configmaps",
    "persistentvolumeclaims",
    "storage",
    "requests.storage",
    "services.nodeports",
    "services.loadbalancers",
];
/// Those of them that are counted.
const COUNTED: [&str; 9] = [
    "pods",
    "resourcequotas",
    "services",
    "replicationcontrollers",
    "secrets",
    "configmaps",
    "persistentvolumeclaims",
    "services.nodeports",
    "services.loadbalancers",
];

/// Limits first, then each request and how it stands to its limit. What the kernel cannot promise twice, huge pages and devices,
/// needs a limit that is equal. `field` is that of the resources.
pub(super) fn check(resources: &Value, field: &str, claims: &BTreeSet<&str>, causes: &mut Vec<Cause>) {
    let side = |side: &str| resources.get(side).and_then(Value::as_object).into_iter().flatten();
    for (name, value) in side("limits") {
        amount(name, value, &format!("{field}.limits[{name}]"), causes);
        huge_page(name, value, &format!("{field}.limits[{name}]"), causes);
    }
    for (name, value) in side("requests") {
        amount(name, value, &format!("{field}.requests[{name}]"), causes);
        let shared = is_native(name) && !is_huge(name);
        let limit = view::at(resources, &["limits", name]).and_then(common::quantity);
        let place = format!("{field}.requests");
        match (common::quantity(value), limit) {
            (Some(request), Some(limit)) if !shared && request != limit => {
                let why = format!("must be equal to {name} limit of {limit}");
                causes.push(Cause::invalid(place, &json!(request.to_string()), &why));
            }
            (Some(request), Some(limit)) if request > limit => {
                let why = format!("must be less than or equal to {name} limit of {limit}");
                causes.push(Cause::invalid(place, &json!(request.to_string()), &why));
            }
            (Some(_), None) if !shared => {
                causes.push(Cause::required(format!("{field}.limits"), "Limit must be set for non overcommitable resources"));
            }
            _ => {}
        }
        huge_page(name, value, &format!("{field}.requests[{name}]"), causes);
    }
    let names: Vec<&str> = side("limits").chain(side("requests")).map(|(name, _)| name.as_str()).collect();
    if names.iter().any(|name| is_huge(name)) && !names.iter().any(|name| matches!(*name, "cpu" | "memory")) {
        causes.push(Cause::forbidden(field, "HugePages require cpu or memory"));
    }
    for (at, claim) in view::list(resources, &["claims"]).iter().enumerate() {
        let (name, field) = (view::text(claim, &["name"]), format!("{field}.claims[{at}]"));
        if !claims.contains(name) {
            let known: Vec<&str> = claims.iter().copied().collect();
            let known = if known.is_empty() { " which is empty".to_owned() } else { format!(": {}", known.join(", ")) };
            let mut cause = Cause::not_found(field, &name.into());
            cause.message.push_str(&format!(": must be one of the names in pod.spec.resourceClaims{known}"));
            causes.push(cause);
        }
    }
}

/// What a pod asks for as a whole: no less than its containers together, and nothing but what is shared.
pub(super) fn of_pod(spec: &Value, field: &str, causes: &mut Vec<Cause>) {
    let Some(resources) = spec.get("resources").filter(|resources| !resources.is_null()) else { return };
    let place = format!("{field}.resources");
    let named = |side: &str| resources.get(side).and_then(Value::as_object).into_iter().flatten().map(|(name, _)| name);
    for side in ["limits", "requests"] {
        for name in named(side).filter(|name| !matches!(name.as_str(), "cpu" | "memory") && !is_huge(name)) {
            let known = ["cpu", "hugepages-", "memory"];
            causes.push(Cause::not_supported(format!("{place}.{side}[{name}]"), &name.as_str().into(), &known));
        }
    }
    check(resources, &place, &BTreeSet::new(), causes);
    let amounts = |of: &Value, side: &str, name: &str| view::at(of, &["resources", side, name]).and_then(common::quantity);
    let containers = view::list(spec, &["containers"]);
    for (name, whole) in resources.get("requests").and_then(Value::as_object).into_iter().flatten() {
        let (Some(whole), zero) = (common::quantity(whole), Quantity::from_int(0)) else { continue };
        let together = containers.iter().filter_map(|c| amounts(c, "requests", name)).try_fold(zero, Quantity::checked_add);
        if let Some(together) = together.filter(|together| *together > whole) {
            let why = format!("must be greater than or equal to aggregate container requests of {together}");
            causes.push(Cause::invalid(format!("{place}.requests[{name}]"), &json!(whole.to_string()), &why));
        }
    }
    for (name, whole) in resources.get("limits").and_then(Value::as_object).into_iter().flatten() {
        let Some(whole) = common::quantity(whole) else { continue };
        for (at, one) in containers.iter().enumerate() {
            if let Some(limit) = amounts(one, "limits", name).filter(|limit| *limit > whole) {
                let why = format!("must be less than or equal to pod limits of {whole}");
                causes.push(Cause::invalid(format!("{place}.containers[{at}][{name}].limits"), &json!(limit.to_string()), &why));
            }
        }
    }
}

/// What a pod costs beyond its containers.
pub(super) fn overhead(overhead: &Value, field: &str, causes: &mut Vec<Cause>) {
    let mut resources = Map::new();
    resources.insert("limits".to_owned(), overhead.clone());
    check(&resources.into(), field, &BTreeSet::new(), causes);
}

fn amount(name: &str, value: &Value, field: &str, causes: &mut Vec<Cause>) {
    resource_name(name, field, causes);
    let Some(amount) = common::quantity(value) else { return };
    if amount < Quantity::from_int(0) {
        causes.push(Cause::invalid(field, &json!(amount.to_string()), NOT_NEGATIVE));
    }
    if (COUNTED.contains(&name) || is_extended(name)) && amount.milli() % 1000 != 0 {
        causes.push(Cause::invalid(field, &json!(amount.to_string()), "must be an integer"));
    }
}

fn resource_name(name: &str, field: &str, causes: &mut Vec<Cause>) {
    let mut spelling = Vec::new();
    common::qualified(name, field, &mut spelling);
    let spelt = spelling.is_empty();
    causes.extend(spelling);
    let mut wrong = |why: &str| causes.push(Cause::invalid(field, &name.into(), why));
    if name.contains('/') {
        if !is_native(name) && !is_extended(name) {
            wrong("doesn't follow extended resource name standard");
        }
        return;
    }
    let of_container = OF_CONTAINERS.contains(&name) || is_huge(name);
    let known = of_container || STANDARD.contains(&name) || name.starts_with("requests.hugepages-");
    if spelt && !known {
        wrong("must be a standard resource type or fully qualified");
    }
    if !of_container {
        wrong("must be a standard resource for containers");
    }
}

/// Whole pages only.
fn huge_page(name: &str, value: &Value, field: &str, causes: &mut Vec<Cause>) {
    let Some(size) = name.strip_prefix("hugepages-") else { return };
    let (Some(amount), Ok(size)) = (common::quantity(value), size.parse::<Quantity>()) else {
        let shown = common::quantity(value).map_or_else(String::new, |amount| amount.to_string());
        let why = format!("{shown} is not positive integer multiple of {name}");
        causes.push(Cause::invalid(field, &json!(shown), &why));
        return;
    };
    if size.value() <= 0 || amount.value() % size.value() != 0 {
        let why = format!("{amount} is not positive integer multiple of {name}");
        causes.push(Cause::invalid(field, &json!(amount.to_string()), &why));
    }
}

fn is_huge(name: &str) -> bool {
    name.starts_with("hugepages-")
}

/// Names of the project itself; those without a prefix are.
fn is_native(name: &str) -> bool {
    !name.contains('/') || name.contains("kubernetes.io/")
}

fn is_extended(name: &str) -> bool {
    let mut wrong = Vec::new();
    common::qualified(&format!("requests.{name}"), "", &mut wrong);
    !is_native(name) && !name.starts_with("requests.") && wrong.is_empty()
}
