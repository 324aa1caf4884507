//! Checks of pods and pod templates.

use std::collections::BTreeSet;

use crate::json::{Value, json};

use super::{LABEL_TEXT, NOT_NEGATIVE, common, container};
use crate::quantity::Quantity;
use crate::selector::is_dns_label;
use crate::status::Cause;
use crate::view;

pub(super) const PORT_TEXT: &str = "must be between 1 and 65535, inclusive";

/// Checks a pod spec; `field` is where it stands.
pub(super) fn spec(spec: Option<&Value>, field: &str, causes: &mut Vec<Cause>) {
    let Some(spec) = spec else {
        causes.push(Cause::required(field, ""));
        return;
    };
    let volumes: BTreeSet<&str> = view::list(spec, &["volumes"]).iter().map(|v| view::text(v, &["name"])).collect();
    for (at, volume) in view::list(spec, &["volumes"]).iter().enumerate() {
        one_type(volume, &format!("{field}.volumes[{at}]"), causes);
        name(volume, &format!("{field}.volumes[{at}].name"), causes);
    }
    unique(view::list(spec, &["volumes"]), &format!("{field}.volumes"), causes);
    if view::list(spec, &["containers"]).is_empty() {
        causes.push(Cause::required(format!("{field}.containers"), ""));
    }
    let host = view::flag(spec, &["hostNetwork"]);
    // One by one, and all names of both lists are different.
    let mut names = BTreeSet::new();
    for list in ["containers", "initContainers"] {
        for (at, one) in view::list(spec, &[list]).iter().enumerate() {
            let field = format!("{field}.{list}[{at}]");
            container(one, &field, &volumes, host, causes);
            container::asked(one, &field, list == "initContainers", causes);
            let name = view::text(one, &["name"]);
            if !name.is_empty() && !names.insert(name) {
                causes.push(Cause::duplicate(format!("{field}.name"), &name.into()));
            }
        }
    }
    container::host_ports(spec, field, causes);
    let policy = view::text(spec, &["restartPolicy"]);
    if !matches!(policy, "" | "Always" | "OnFailure" | "Never") {
        let known = ["Always", "OnFailure", "Never"];
        causes.push(Cause::not_supported(format!("{field}.restartPolicy"), &policy.into(), &known));
    }
    own(spec, field, causes);
    for (at, given) in view::list(spec, &["tolerations"]).iter().enumerate() {
        toleration(given, &format!("{field}.tolerations[{at}]"), causes);
    }
}

/// What a pod says of itself as a whole.
fn own(spec: &Value, field: &str, causes: &mut Vec<Cause>) {
    let policy = view::text(spec, &["dnsPolicy"]);
    let known = ["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"];
    if !policy.is_empty() && !known.contains(&policy) {
        causes.push(Cause::not_supported(format!("{field}.dnsPolicy"), &policy.into(), &known));
    }
    let config = spec.get("dnsConfig").filter(|config| !config.is_null());
    if policy == "None" && config.is_none() {
        causes.push(Cause::required(format!("{field}.dnsConfig"), "must provide `dnsConfig` when `dnsPolicy` is None"));
    }
    for (at, server) in config.map_or(&[][..], |config| view::list(config, &["nameservers"])).iter().enumerate() {
        common::address(server.as_str().unwrap_or_default(), &format!("{field}.dnsConfig.nameservers[{at}]"), causes);
    }
    if let Some(seconds) = view::int(spec, &["activeDeadlineSeconds"]).filter(|seconds| !(1..=i64::from(i32::MAX)).contains(seconds)) {
        let why = "must be between 1 and 2147483647, inclusive";
        causes.push(Cause::invalid(format!("{field}.activeDeadlineSeconds"), &seconds.into(), why));
    }
    for (name, check) in [
        ("serviceAccountName", common::subdomain as fn(&str, &str, &mut Vec<Cause>)),
        ("nodeName", common::subdomain),
        ("hostname", common::label),
        ("subdomain", common::label),
    ] {
        let given = view::text(spec, &[name]);
        if !given.is_empty() {
            check(given, &format!("{field}.{name}"), causes);
        }
    }
    for (at, alias) in view::list(spec, &["hostAliases"]).iter().enumerate() {
        common::address(view::text(alias, &["ip"]), &format!("{field}.hostAliases[{at}].ip"), causes);
        for (number, name) in view::list(alias, &["hostnames"]).iter().enumerate() {
            common::subdomain(name.as_str().unwrap_or_default(), &format!("{field}.hostAliases[{at}].hostnames[{number}]"), causes);
        }
    }
}

fn toleration(toleration: &Value, field: &str, causes: &mut Vec<Cause>) {
    let text = |name: &str| view::text(toleration, &[name]);
    let (operator, effect) = (text("operator"), text("effect"));
    if text("key").is_empty() && operator != "Exists" {
        let why = "operator must be Exists when `key` is empty, which means \"match all values and all keys\"";
        causes.push(Cause::invalid(format!("{field}.operator"), &operator.into(), why));
    }
    if view::int(toleration, &["tolerationSeconds"]).is_some() && effect != "NoExecute" {
        let why = "effect must be 'NoExecute' when `tolerationSeconds` is set";
        causes.push(Cause::invalid(format!("{field}.effect"), &effect.into(), why));
    }
    match operator {
        "" | "Equal" => {}
        "Exists" if text("value").is_empty() => {}
        "Exists" => {
            let why = "value must be empty when `operator` is 'Exists'";
            causes.push(Cause::invalid(format!("{field}.operator"), &text("value").into(), why));
        }
        other => causes.push(Cause::not_supported(format!("{field}.operator"), &other.into(), &["Equal", "Exists"])),
    }
    let known = ["NoSchedule", "PreferNoSchedule", "NoExecute"];
    if !effect.is_empty() && !known.contains(&effect) {
        causes.push(Cause::not_supported(format!("{field}.effect"), &effect.into(), &known));
    }
}

fn name(item: &Value, field: &str, causes: &mut Vec<Cause>) {
    let name = view::text(item, &["name"]);
    if name.is_empty() {
        causes.push(Cause::required(field, ""));
    } else if name.len() > 63 || !is_dns_label(name) {
        causes.push(Cause::invalid(field, &name.into(), LABEL_TEXT));
    }
}

fn unique(items: &[Value], field: &str, causes: &mut Vec<Cause>) {
    let mut seen = BTreeSet::new();
    for (at, item) in items.iter().enumerate() {
        let name = view::text(item, &["name"]);
        if !name.is_empty() && !seen.insert(name) {
            causes.push(Cause::duplicate(format!("{field}[{at}].name"), &name.into()));
        }
    }
}

/// The types of volumes, in the order in which the server looks for them.
const VOLUME_TYPES: [&str; 28] = [
    "emptyDir",
    "hostPath",
    "gitRepo",
    "gcePersistentDisk",
    "awsElasticBlockStore",
    "secret",
    "nfs",
    "iscsi",
    "glusterfs",
    "flocker",
    "persistentVolumeClaim",
    "rbd",
    "cephfs",
    "quobyte",
    "downwardAPI",
    "fc",
    "configMap",
    "azureFile",
    "vsphereVolume",
    "photonPersistentDisk",
    "portworxVolume",
    "azureDisk",
    "storageos",
    "scaleIO",
    "cinder",
    "projected",
    "csi",
    "ephemeral",
];

/// A volume is of one type.
fn one_type(volume: &Value, field: &str, causes: &mut Vec<Cause>) {
    let given = VOLUME_TYPES.iter().filter(|kind| volume.get(**kind).is_some_and(|source| !source.is_null()));
    causes.extend(given.skip(1).map(|kind| Cause::forbidden(format!("{field}.{kind}"), "may not specify more than 1 volume type")));
}

fn container(one: &Value, field: &str, volumes: &BTreeSet<&str>, host: bool, causes: &mut Vec<Cause>) {
    name(one, &format!("{field}.name"), causes);
    let image = view::text(one, &["image"]);
    if image.is_empty() {
        causes.push(Cause::required(format!("{field}.image"), ""));
    }
    let policy = view::text(one, &["imagePullPolicy"]);
    if !matches!(policy, "" | "Always" | "IfNotPresent" | "Never") {
        let known = ["Always", "IfNotPresent", "Never"];
        causes.push(Cause::not_supported(format!("{field}.imagePullPolicy"), &policy.into(), &known));
    }
    for (at, port) in view::list(one, &["ports"]).iter().enumerate() {
        self::port(port, &format!("{field}.ports[{at}]"), host, causes);
    }
    container::port_names(one, field, causes);
    container::environment(one, field, causes);
    for (at, mount) in view::list(one, &["volumeMounts"]).iter().enumerate() {
        let volume = view::text(mount, &["name"]);
        if volume.is_empty() {
            causes.push(Cause::required(format!("{field}.volumeMounts[{at}].name"), ""));
        } else if !volumes.contains(volume) {
            causes.push(Cause::not_found(format!("{field}.volumeMounts[{at}].name"), &volume.into()));
        }
        if view::text(mount, &["mountPath"]).is_empty() {
            causes.push(Cause::required(format!("{field}.volumeMounts[{at}].mountPath"), ""));
        }
    }
    container::places(one, field, causes);
    let policy = view::text(one, &["terminationMessagePolicy"]);
    let known = ["File", "FallbackToLogsOnError"];
    if !policy.is_empty() && !known.contains(&policy) {
        causes.push(Cause::not_supported(format!("{field}.terminationMessagePolicy"), &policy.into(), &known));
    }
    resources(one, field, causes);
}

fn port(port: &Value, field: &str, host: bool, causes: &mut Vec<Cause>) {
    let number = view::count(port, &["containerPort"]);
    if number == 0 {
        causes.push(Cause::required(format!("{field}.containerPort"), ""));
    } else if !(1..=65_535).contains(&number) {
        causes.push(Cause::invalid(format!("{field}.containerPort"), &number.into(), PORT_TEXT));
    }
    let on_host = view::count(port, &["hostPort"]);
    if on_host != 0 && !(1..=65_535).contains(&on_host) {
        causes.push(Cause::invalid(format!("{field}.hostPort"), &on_host.into(), PORT_TEXT));
    } else if host && on_host != 0 && on_host != number {
        let why = "must match `containerPort` when `hostNetwork` is true";
        causes.push(Cause::invalid(format!("{field}.hostPort"), &on_host.into(), why));
    }
    let protocol = view::text(port, &["protocol"]);
    if !matches!(protocol, "" | "TCP" | "UDP" | "SCTP") {
        causes.push(Cause::not_supported(format!("{field}.protocol"), &protocol.into(), &["SCTP", "TCP", "UDP"]));
    }
}

/// Limits first, then each request and how it stands to its limit. What the kernel cannot promise twice, huge pages and devices,
/// needs a limit that is equal.
fn resources(one: &Value, field: &str, causes: &mut Vec<Cause>) {
    let side = |side: &str| view::at(one, &["resources", side]).and_then(Value::as_object).into_iter().flatten();
    let negative = |side: &str, name: &str, value: &Value, causes: &mut Vec<Cause>| {
        if quantity(value).is_some_and(|amount| amount < Quantity::from_int(0)) {
            let shown = quantity(value).map_or_else(|| value.to_string(), |amount| amount.to_string());
            causes.push(Cause::invalid(format!("{field}.resources.{side}[{name}]"), &json!(shown), NOT_NEGATIVE));
        }
    };
    for (name, value) in side("limits") {
        negative("limits", name, value, causes);
    }
    for (name, value) in side("requests") {
        negative("requests", name, value, causes);
        let shared = !name.contains('/') && !name.starts_with("hugepages-");
        let limit = view::at(one, &["resources", "limits", name]).and_then(quantity);
        let (request, place) = (quantity(value), format!("{field}.resources.requests"));
        match (request, limit) {
            (Some(request), Some(limit)) if !shared && request != limit => {
                let why = format!("must be equal to {name} limit of {limit}");
                causes.push(Cause::invalid(place, &json!(request.to_string()), &why));
            }
            (Some(request), Some(limit)) if request > limit => {
                let why = format!("must be less than or equal to {name} limit of {limit}");
                causes.push(Cause::invalid(place, &json!(request.to_string()), &why));
            }
            (Some(_), None) if !shared => {
                causes.push(Cause::required(format!("{field}.resources.limits"), "Limit must be set for non overcommitable resources"));
            }
            _ => {}
        }
    }
}

fn quantity(value: &Value) -> Option<Quantity> {
    match value {
        Value::String(text) => text.parse().ok(),
        other => other.to_string().parse().ok(),
    }
}

/// Checks what is checked on a pod but not in a template: the spelling of images.
pub(super) fn images(pod: &Value, causes: &mut Vec<Cause>) {
    for list in ["containers", "initContainers"] {
        for (at, container) in view::list(pod, &["spec", list]).iter().enumerate() {
            let image = view::text(container, &["image"]);
            if image.trim() != image {
                let why = "must not have leading or trailing whitespace";
                causes.push(Cause::invalid(format!("spec.{list}[{at}].image"), &image.into(), why));
            }
        }
    }
}

/// A pod is made once: only images, its deadline and further tolerations may change.
pub(super) fn update(before: &Value, after: &Value, causes: &mut Vec<Cause>) {
    if fixed_part(before, before) == fixed_part(after, before) {
        return;
    }
    causes.push(Cause::forbidden(
        "spec",
        "pod updates may not change fields other than \
         `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to \
         existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)",
    ));
}

/// The spec without what may change.
fn fixed_part(pod: &Value, before: &Value) -> Value {
    let mut spec = view::at(pod, &["spec"]).cloned().unwrap_or_default();
    for list in ["containers", "initContainers"] {
        for container in spec.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
            view::remove(container, &["image"]);
            // Comes with the image.
            view::remove(container, &["imagePullPolicy"]);
        }
    }
    view::remove(&mut spec, &["activeDeadlineSeconds"]);
    let old = view::list(before, &["spec", "tolerations"]);
    if let Some(tolerations) = spec.get_mut("tolerations").and_then(Value::as_array_mut) {
        tolerations.retain(|toleration| old.contains(toleration));
    }
    spec
}
