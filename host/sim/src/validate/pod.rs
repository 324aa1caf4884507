//! Checks of pods and pod templates, in the order of `ValidatePodSpec` of v1.36.

use std::collections::BTreeSet;

use crate::json::Value;

use super::volumes::Volumes;
use super::{affinity, common, container, resources, security, volumes};
use crate::status::Cause;
use crate::view;

pub(super) const PORT_TEXT: &str = "must be between 1 and 65535, inclusive";

/// Checks the spec of a template; `field` is where it stands.
pub(super) fn template(spec: Option<&Value>, field: &str, causes: &mut Vec<Cause>) {
    check(spec.unwrap_or(&Value::Null), field, None, causes);
    if spec.is_some_and(|spec| !view::list(spec, &["ephemeralContainers"]).is_empty()) {
        causes.push(Cause::forbidden(format!("{field}.ephemeralContainers"), "ephemeral containers not allowed in pod template"));
    }
}

/// Checks a pod behind its metadata.
pub(super) fn pod(pod: &Value, causes: &mut Vec<Cause>) {
    let labels = view::at(pod, &["metadata", "labels"]).unwrap_or(&Value::Null);
    check(pod.get("spec").unwrap_or(&Value::Null), "spec", Some(labels), causes);
}

/// `labels` are those of a pod; a template has none yet.
fn check(spec: &Value, field: &str, labels: Option<&Value>, causes: &mut Vec<Cause>) {
    let volumes = volumes::check(spec, field, labels.is_some(), causes);
    containers(spec, field, &volumes, causes);
    resources::of_pod(spec, field, causes);
    container::ports_of_the_host(spec, field, causes);
    policies(spec, field, causes);
    super::labels(spec.get("nodeSelector"), &format!("{field}.nodeSelector"), causes);
    security::of_pod(spec, field, causes);
    affinity::check(spec, field, labels, causes);
    dns(spec, field, causes);
    gates(spec, field, causes);
    affinity::spread(spec, field, labels, causes);
    users_and_name(spec, field, causes);
    own(spec, field, causes);
    container::files_of_volumes(spec, field, causes);
}

/// One by one; all names of both lists are different.
fn containers(spec: &Value, field: &str, volumes: &Volumes<'_>, causes: &mut Vec<Cause>) {
    if view::list(spec, &["containers"]).is_empty() {
        causes.push(Cause::required(format!("{field}.containers"), ""));
    }
    let host_users = spec.get("hostUsers").and_then(Value::as_bool).unwrap_or(true);
    let never = view::text(spec, &["restartPolicy"]) == "Never";
    let around = container::Around {
        volumes,
        host_users,
        never,
        grace: view::int(spec, &["terminationGracePeriodSeconds"]).unwrap_or(30),
        claims: claims(spec),
    };
    let mut names = BTreeSet::new();
    for (at, one) in view::list(spec, &["containers"]).iter().enumerate() {
        let field = format!("{field}.containers[{at}]");
        container::check(one, &field, &around, causes);
        let name = view::text(one, &["name"]);
        if !names.insert(name) {
            causes.push(Cause::duplicate(format!("{field}.name"), &name.into()));
        }
        container::asked(one, &field, false, &around, causes);
        container::restart_policy(one, &field, causes);
    }
    container::host_ports(view::list(spec, &["containers"]), &format!("{field}.containers"), causes);
    for (at, one) in view::list(spec, &["initContainers"]).iter().enumerate() {
        let list = format!("{field}.initContainers");
        let field = format!("{list}[{at}]");
        container::check(one, &field, &around, causes);
        container::restart_policy(one, &field, causes);
        let name = view::text(one, &["name"]);
        if names.contains(name) {
            causes.push(Cause::duplicate(format!("{field}.name"), &name.into()));
        } else if !name.is_empty() {
            names.insert(name);
        }
        // They run one after another, so that each has the ports for itself.
        container::host_ports(std::slice::from_ref(one), &list, causes);
        container::asked(one, &field, true, &around, causes);
        let sidecar = view::text(one, &["restartPolicy"]) == "Always";
        for (number, policy) in view::list(one, &["resizePolicy"]).iter().enumerate() {
            if !sidecar && view::text(policy, &["restartPolicy"]) == "RestartContainer" {
                let why = "must not be set to 'RestartContainer' for non-sidecar initContainers";
                causes.push(Cause::invalid(format!("{field}.resizePolicy[{number}].restartPolicy"), &"RestartContainer".into(), why));
            }
        }
    }
}

/// Names by which containers ask for devices of the pod.
fn claims(spec: &Value) -> BTreeSet<&str> {
    view::list(spec, &["resourceClaims"]).iter().map(|claim| view::text(claim, &["name"])).collect()
}

fn policies(spec: &Value, field: &str, causes: &mut Vec<Cause>) {
    for (name, known) in [
        ("restartPolicy", &["Always", "OnFailure", "Never"][..]),
        ("dnsPolicy", &["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"][..]),
    ] {
        let given = view::text(spec, &[name]);
        if !given.is_empty() {
            common::one_of(given, &format!("{field}.{name}"), known, causes);
        }
    }
}

/// Where names are looked up.
fn dns(spec: &Value, field: &str, causes: &mut Vec<Cause>) {
    let field = format!("{field}.dnsConfig");
    let none = view::text(spec, &["dnsPolicy"]) == "None";
    let Some(config) = spec.get("dnsConfig").filter(|config| !config.is_null()) else {
        if none {
            causes.push(Cause::required(field, "must provide `dnsConfig` when `dnsPolicy` is None"));
        }
        return;
    };
    let (servers, searches) = (view::list(config, &["nameservers"]), view::list(config, &["searches"]));
    let place = format!("{field}.nameservers");
    if none && servers.is_empty() {
        causes.push(Cause::required(place, "must provide at least one DNS nameserver when `dnsPolicy` is None"));
        return;
    }
    let whole = |name: &str| config.get(name).cloned().unwrap_or_default();
    if servers.len() > 3 {
        causes.push(Cause::invalid(place.as_str(), &whole("nameservers"), "must not have more than 3 nameservers"));
    }
    for (at, server) in servers.iter().enumerate() {
        common::address(server.as_str().unwrap_or_default(), &format!("{place}[{at}]"), causes);
    }
    let place = format!("{field}.searches");
    let domains: Vec<&str> = searches.iter().filter_map(Value::as_str).collect();
    if domains.len() > 32 {
        causes.push(Cause::invalid(place.as_str(), &whole("searches"), "must not have more than 32 search paths"));
    }
    if domains.join(" ").len() > 2048 {
        let why = "must not have more than 2048 characters (including spaces) in the search list";
        causes.push(Cause::invalid(place.as_str(), &whole("searches"), why));
    }
    for (at, domain) in domains.iter().enumerate().filter(|(_, domain)| **domain != ".") {
        common::underscored(domain.strip_suffix('.').unwrap_or(domain), &format!("{place}[{at}]"), causes);
    }
    for (at, option) in view::list(config, &["options"]).iter().enumerate() {
        common::required(view::text(option, &["name"]), &format!("{field}.options[{at}]"), "must not be empty", causes);
    }
}

/// What holds a pod back from being ready, or from being scheduled.
fn gates(spec: &Value, field: &str, causes: &mut Vec<Cause>) {
    for (at, gate) in view::list(spec, &["readinessGates"]).iter().enumerate() {
        common::qualified(view::text(gate, &["conditionType"]), &format!("{field}.readinessGates[{at}].conditionType"), causes);
    }
    let mut names = BTreeSet::new();
    for (at, gate) in view::list(spec, &["schedulingGates"]).iter().enumerate() {
        let (name, field) = (view::text(gate, &["name"]), format!("{field}.schedulingGates[{at}]"));
        common::qualified(name, &field, causes);
        if !names.insert(name) {
            causes.push(Cause::duplicate(field, &name.into()));
        }
    }
}

/// Users of its own a pod has only without the namespaces of its node; a name of its own only where it is not told another way.
fn users_and_name(spec: &Value, field: &str, causes: &mut Vec<Cause>) {
    if spec.get("hostUsers").and_then(Value::as_bool) == Some(false) {
        for (flag, shown) in [("hostNetwork", "hostNetwork"), ("hostPID", "HostPID"), ("hostIPC", "HostIPC")] {
            if view::flag(spec, &[flag]) {
                causes.push(Cause::forbidden(format!("{field}.{shown}"), "when `hostUsers` is false"));
            }
        }
    }
    let Some(name) = spec.get("hostnameOverride").and_then(Value::as_str) else { return };
    let field = format!("{field}.hostnameOverride");
    for (flag, why) in [("setHostnameAsFQDN", "setHostnameAsFQDN is true"), ("hostNetwork", "hostNetwork is true")] {
        if view::flag(spec, &[flag]) {
            causes.push(Cause::forbidden(field.as_str(), &format!("may not be specified when {why}")));
        }
    }
    common::subdomain(name, &field, causes);
}

/// What a pod says of itself as a whole.
fn own(spec: &Value, field: &str, causes: &mut Vec<Cause>) {
    if let Some(seconds) = view::int(spec, &["activeDeadlineSeconds"]).filter(|seconds| !(1..=i64::from(i32::MAX)).contains(seconds)) {
        let why = "must be between 1 and 2147483647, inclusive";
        causes.push(Cause::invalid(format!("{field}.activeDeadlineSeconds"), &seconds.into(), why));
    }
    let names = |names: &[&str], check: fn(&str, &str, &mut Vec<Cause>), causes: &mut Vec<Cause>| {
        for name in names {
            let given = view::text(spec, &[name]);
            if !given.is_empty() {
                check(given, &format!("{field}.{name}"), causes);
            }
        }
    };
    names(&["serviceAccountName", "nodeName"], common::subdomain, causes);
    names(&["hostname", "subdomain"], common::label, causes);
    for (at, given) in view::list(spec, &["tolerations"]).iter().enumerate() {
        toleration(given, &format!("{field}.tolerations[{at}]"), causes);
    }
    for (at, alias) in view::list(spec, &["hostAliases"]).iter().enumerate() {
        common::address(view::text(alias, &["ip"]), &format!("{field}.hostAliases[{at}].ip"), causes);
        for (number, name) in view::list(alias, &["hostnames"]).iter().enumerate() {
            common::subdomain(name.as_str().unwrap_or_default(), &format!("{field}.hostAliases[{at}].hostnames[{number}]"), causes);
        }
    }
    names(&["priorityClassName", "runtimeClassName"], common::subdomain, causes);
    let known = ["PreemptLowerPriority", "Never"];
    common::one_of_if_any(spec, &["preemptionPolicy"], &format!("{field}.preemptionPolicy"), &known, causes);
    if let Some(overhead) = spec.get("overhead").filter(|overhead| !overhead.is_null()) {
        resources::overhead(overhead, &format!("{field}.overhead"), causes);
    }
    if let Some(system) = spec.get("os").filter(|system| !system.is_null()) {
        let name = view::text(system, &["name"]);
        if common::required(name, &format!("{field}.os.name"), "", causes) {
            common::one_of(name, &format!("{field}.os"), &["linux", "windows"], causes);
        }
    }
}

fn toleration(toleration: &Value, field: &str, causes: &mut Vec<Cause>) {
    let text = |name: &str| view::text(toleration, &[name]);
    let (operator, effect) = (text("operator"), text("effect"));
    let place = format!("{field}.operator");
    if text("key").is_empty() {
        if operator != "Exists" {
            let why = "operator must be Exists when `key` is empty, which means \"match all values and all keys\"";
            causes.push(Cause::invalid(place.as_str(), &operator.into(), why));
        }
    } else {
        common::qualified(text("key"), &format!("{field}.key"), causes);
    }
    if view::int(toleration, &["tolerationSeconds"]).is_some() && effect != "NoExecute" {
        let why = "effect must be 'NoExecute' when `tolerationSeconds` is set";
        causes.push(Cause::invalid(format!("{field}.effect"), &effect.into(), why));
    }
    match operator {
        "" | "Equal" => common::label_value(text("value"), &place, causes),
        "Exists" if text("value").is_empty() => {}
        "Exists" => causes.push(Cause::invalid(place, &text("value").into(), "value must be empty when `operator` is 'Exists'")),
        // A feature that is off by default.
        "Lt" | "Gt" => causes.push(Cause::not_supported(place, &operator.into(), &["Equal", "Exists", "Lt", "Gt"])),
        other => common::one_of(other, &place, &["Equal", "Exists"], causes),
    }
    let known = ["NoSchedule", "PreferNoSchedule", "NoExecute"];
    if !effect.is_empty() {
        common::one_of(effect, &format!("{field}.effect"), &known, causes);
    }
}

/// Checks what is checked on a new pod but not in a template, nor on one that changes.
pub(super) fn create(pod: &Value, causes: &mut Vec<Cause>) {
    let spec = pod.get("spec").unwrap_or(&Value::Null);
    volumes::tokens_need_an_account(spec, causes);
    for list in ["containers", "initContainers"] {
        for (at, container) in view::list(spec, &[list]).iter().enumerate() {
            let image = view::text(container, &["image"]);
            if image.trim() != image {
                let why = "must not have leading or trailing whitespace";
                causes.push(Cause::invalid(format!("spec.{list}[{at}].image"), &image.into(), why));
            }
        }
    }
    if !view::list(spec, &["ephemeralContainers"]).is_empty() {
        causes.push(Cause::forbidden("spec.ephemeralContainers", "cannot be set on create"));
    }
    if !view::text(spec, &["nodeName"]).is_empty() && !view::list(spec, &["schedulingGates"]).is_empty() {
        causes.push(Cause::forbidden("spec.nodeName", "cannot be set until all schedulingGates have been cleared"));
    }
}

/// A pod is made once: only images, its deadline and further tolerations may change.
pub(super) fn update(before: &Value, after: &Value, causes: &mut Vec<Cause>) {
    let deadline = |pod: &Value| view::int(pod, &["spec", "activeDeadlineSeconds"]);
    let field = "spec.activeDeadlineSeconds";
    match (deadline(before), deadline(after)) {
        (Some(old), Some(new)) if new > old => {
            causes.push(Cause::invalid(field, &new.into(), "must be less than or equal to previous value"));
        }
        (Some(_), None) => causes.push(Cause::invalid(field, &Value::Null, "must not update from a positive integer to nil value")),
        _ => {}
    }
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
