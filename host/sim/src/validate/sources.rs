//! Checks of what comes from elsewhere into a container: fields of the pod, resources of a container, keys of ConfigMaps and Secrets.

use crate::json::Value;

use super::{SUBDOMAIN_TEXT, common, data};
use crate::quantity::Quantity;
use crate::status::Cause;
use crate::view;

/// Fields of a pod that its own API can name; more than may be asked for.
const KNOWN: [&str; 14] = [
    "metadata.annotations",
    "metadata.labels",
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.restartPolicy",
    "spec.serviceAccountName",
    "spec.schedulerName",
    "status.phase",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];
/// Those that a variable can have.
pub(super) const OF_VARIABLES: [&str; 9] = [
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];
/// Those that a file can have.
pub(super) const OF_FILES: [&str; 5] = ["metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid"];
/// Amounts of a container that can be asked for.
const RESOURCES: [&str; 6] =
    ["limits.cpu", "limits.ephemeral-storage", "limits.memory", "requests.cpu", "requests.ephemeral-storage", "requests.memory"];
/// In what sizes amounts of memory are told.
const UNITS: [&str; 13] = ["1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei"];

/// A field of the pod; `allowed` in the order of the alphabet.
pub(super) fn field_of_pod(source: &Value, field: &str, allowed: &[&str], causes: &mut Vec<Cause>) {
    let (version, path) = (view::text(source, &["apiVersion"]), view::text(source, &["fieldPath"]));
    if path.is_empty() {
        causes.push(Cause::required(format!("{field}.fieldPath"), ""));
        return;
    }
    let split = path.strip_suffix("']").and_then(|rest| rest.split_once("['"));
    let wrong = match split {
        _ if !matches!(version, "" | "v1") => Some(format!("unsupported pod version: {version}")),
        Some(("metadata.annotations" | "metadata.labels", _)) => None,
        Some(_) => Some(format!("field label does not support subscript: {path}")),
        None if KNOWN.contains(&path) => None,
        None => Some(format!("field label not supported: {path}")),
    };
    if let Some(why) = wrong {
        causes.push(Cause::invalid(format!("{field}.fieldPath"), &path.into(), &format!("error converting fieldPath: {why}")));
        return;
    }
    match split {
        Some((of, key)) => {
            let key = if of == "metadata.annotations" { key.to_lowercase() } else { key.to_owned() };
            common::qualified(&key, field, causes);
        }
        None if !allowed.contains(&path) => {
            let mut allowed = allowed.to_vec();
            allowed.sort_unstable();
            causes.push(Cause::not_supported(format!("{field}.fieldPath"), &path.into(), &allowed));
        }
        None => {}
    }
}

/// An amount of a container; a file must say of which.
pub(super) fn amount_of_container(source: &Value, field: &str, in_file: bool, causes: &mut Vec<Cause>) {
    let resource = view::text(source, &["resource"]);
    let huge = resource.starts_with("limits.hugepages-") || resource.starts_with("requests.hugepages-");
    if in_file && view::text(source, &["containerName"]).is_empty() {
        causes.push(Cause::required(format!("{field}.containerName"), ""));
    } else if resource.is_empty() {
        causes.push(Cause::required(format!("{field}.resource"), ""));
    } else if !RESOURCES.contains(&resource) && !huge {
        causes.push(Cause::not_supported(format!("{field}.resource"), &resource.into(), &RESOURCES));
    }
    let divisor = source.get("divisor").and_then(common::quantity).filter(|divisor| *divisor != Quantity::from_int(0));
    let Some(divisor) = divisor.map(|divisor| divisor.to_string()) else { return };
    let units = UNITS[..].join(", ");
    let (fits, why) = match resource.split_once('.').map_or("", |(_, name)| name) {
        "cpu" => (matches!(divisor.as_str(), "1" | "1m"), "1m and 1 are supported with the cpu resource".to_owned()),
        "memory" => (UNITS.contains(&divisor.as_str()), format!("{units} are supported with the memory resource")),
        "ephemeral-storage" => {
            (UNITS.contains(&divisor.as_str()), format!("{units} are supported with the local ephemeral storage resource"))
        }
        _ if huge => (UNITS.contains(&divisor.as_str()), format!("{units} are supported with the hugepages resource")),
        _ => return,
    };
    if !fits {
        causes.push(Cause::invalid(format!("{field}.divisor"), &resource.into(), &format!("only divisor's values {why}")));
    }
}

/// A key of a ConfigMap or of a Secret.
pub(super) fn key_of(source: &Value, field: &str, causes: &mut Vec<Cause>) {
    let (name, key) = (view::text(source, &["name"]), view::text(source, &["key"]));
    if !common::is_subdomain(name) {
        causes.push(Cause::invalid(format!("{field}.name"), &name.into(), SUBDOMAIN_TEXT));
    }
    let field = format!("{field}.key");
    if common::required(key, &field, "", causes) {
        data::config_key(key, &field, causes);
    }
}
