//! Services.

use std::collections::BTreeSet;

use crate::json::{Value, json};

use super::common::{address, label, one_of, one_of_if_any, port_name, port_number, required, subdomain};
use super::{labels, pod};
use crate::status::Cause;
use crate::view;

const KINDS: [&str; 4] = ["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];
const FOR_BALANCERS: &str = "may only be used when `type` is 'LoadBalancer'";
/// The range of node ports.
const NODE_PORTS: std::ops::RangeInclusive<i64> = 30_000..=32_767;

/// Whether clients from outside can reach the service.
pub(crate) fn is_external(service: &Value) -> bool {
    matches!(view::text(service, &["spec", "type"]), "NodePort" | "LoadBalancer")
        || (view::text(service, &["spec", "type"]) == "ClusterIP" && !view::list(service, &["spec", "externalIPs"]).is_empty())
}

/// Whether the balancer of the service asks for the health of nodes.
pub(crate) fn needs_health_check(service: &Value) -> bool {
    view::text(service, &["spec", "type"]) == "LoadBalancer" && view::text(service, &["spec", "externalTrafficPolicy"]) == "Local"
}

pub(super) fn service(object: &Value, causes: &mut Vec<Cause>) {
    let kind = view::text(object, &["spec", "type"]);
    let ports = view::list(object, &["spec", "ports"]);
    let headless = view::text(object, &["spec", "clusterIP"]) == "None";
    if ports.is_empty() && kind != "ExternalName" && !headless {
        causes.push(Cause::required("spec.ports", ""));
    }
    match kind {
        "LoadBalancer" | "NodePort" if headless => {
            let why = format!("may not be set to 'None' for {kind} services");
            causes.push(Cause::invalid("spec.clusterIPs[0]", &"None".into(), &why));
        }
        "ExternalName" => {
            let given = !view::text(object, &["spec", "clusterIP"]).is_empty();
            if given || !view::list(object, &["spec", "clusterIPs"]).is_empty() {
                causes.push(Cause::forbidden("spec.clusterIPs", "may not be set for ExternalName services"));
            }
            let name = view::text(object, &["spec", "externalName"]).trim_end_matches('.');
            if required(name, "spec.externalName", "", causes) {
                subdomain(name, "spec.externalName", causes);
            }
        }
        _ => {}
    }
    all_ports(ports, kind, causes);
    labels(view::at(object, &["spec", "selector"]), "spec.selector", causes);
    affinity(object, causes);
    for (at, ip) in view::list(object, &["spec", "externalIPs"]).iter().enumerate() {
        external_ip(ip.as_str().unwrap_or_default(), &format!("spec.externalIPs[{at}]"), causes);
    }
    one_of(kind, "spec.type", &KINDS, causes);
    policies(object, kind, causes);
    if kind != "ExternalName" {
        families(object, headless, causes);
    }
    let known = ["PreferClose", "PreferSameZone", "PreferSameNode"];
    one_of_if_any(object, &["spec", "trafficDistribution"], "spec.trafficDistribution", &known, causes);
}

fn all_ports(ports: &[Value], kind: &str, causes: &mut Vec<Cause>) {
    let mut names = BTreeSet::new();
    for (at, one) in ports.iter().enumerate() {
        let field = format!("spec.ports[{at}]");
        let name = view::text(one, &["name"]);
        if name.is_empty() {
            if ports.len() > 1 {
                causes.push(Cause::required(format!("{field}.name"), ""));
            }
        } else {
            label(name, &format!("{field}.name"), causes);
            if !names.insert(name) {
                causes.push(Cause::duplicate(format!("{field}.name"), &name.into()));
            }
        }
        port_number(view::count(one, &["port"]), &format!("{field}.port"), causes);
        one_of(view::text(one, &["protocol"]), &format!("{field}.protocol"), &["SCTP", "TCP", "UDP"], causes);
        match one.get("targetPort") {
            Some(Value::Number(number)) => {
                let number = number.as_i64().unwrap_or(0);
                if !(1..=65_535).contains(&number) {
                    causes.push(Cause::invalid(format!("{field}.targetPort"), &number.into(), pod::PORT_TEXT));
                }
            }
            Some(Value::String(name)) => port_name(name.as_str(), &format!("{field}.targetPort"), causes),
            _ => {}
        }
        if kind == "ClusterIP" && view::count(one, &["nodePort"]) != 0 {
            causes.push(Cause::forbidden(format!("{field}.nodePort"), "may not be used when `type` is 'ClusterIP'"));
        }
    }
    twice(ports, causes);
}

/// Two ports of one number and protocol. The server shows its own type without what does not count.
fn twice(ports: &[Value], causes: &mut Vec<Cause>) {
    let mut seen = BTreeSet::new();
    for (at, port) in ports.iter().enumerate() {
        let (protocol, number) = (view::text(port, &["protocol"]), view::count(port, &["port"]));
        if !seen.insert((protocol, number)) {
            let fields = format!(r#"{{"Name":"","Protocol":"{protocol}","AppProtocol":null,"Port":{number},"TargetPort":0,"NodePort":0}}"#);
            let message = format!("Duplicate value: {fields}");
            causes.push(Cause { reason: "FieldValueDuplicate", field: format!("spec.ports[{at}]"), message });
        }
    }
}

fn affinity(object: &Value, causes: &mut Vec<Cause>) {
    let affinity = view::text(object, &["spec", "sessionAffinity"]);
    one_of(affinity, "spec.sessionAffinity", &["ClientIP", "None"], causes);
    let seconds = view::int(object, &["spec", "sessionAffinityConfig", "clientIP", "timeoutSeconds"]);
    if let Some(seconds) = seconds.filter(|seconds| affinity == "ClientIP" && !(1..=86_400).contains(seconds)) {
        let why = "must be greater than 0 and less than 86400";
        causes.push(Cause::invalid("spec.sessionAffinityConfig.clientIP.timeoutSeconds", &seconds.into(), why));
    }
}

fn external_ip(text: &str, field: &str, causes: &mut Vec<Cause>) {
    let mut wrong = |why: &str| causes.push(Cause::invalid(field, &text.into(), why));
    match text.parse::<std::net::IpAddr>() {
        Err(_) => address(text, field, causes),
        Ok(ip) if ip.is_unspecified() => wrong("may not be unspecified (0.0.0.0 or ::)"),
        Ok(ip) if ip.is_loopback() => wrong("may not be in the loopback range (127.0.0.0/8, ::1/128)"),
        Ok(std::net::IpAddr::V4(ip)) if ip.is_link_local() => wrong("may not be in the link-local range (169.254.0.0/16, fe80::/10)"),
        Ok(_) => {}
    }
}

fn policies(object: &Value, kind: &str, causes: &mut Vec<Cause>) {
    let spec = view::at(object, &["spec"]).unwrap_or(&Value::Null);
    if kind != "LoadBalancer" {
        if !view::list(spec, &["loadBalancerSourceRanges"]).is_empty() {
            causes.push(Cause::forbidden("spec.LoadBalancerSourceRanges", FOR_BALANCERS));
        }
        for name in ["allocateLoadBalancerNodePorts", "loadBalancerClass"] {
            if spec.get(name).is_some() {
                causes.push(Cause::forbidden(format!("spec.{name}"), FOR_BALANCERS));
            }
        }
    }
    let external = view::text(spec, &["externalTrafficPolicy"]);
    if !external.is_empty() && !is_external(object) {
        causes.push(Cause::invalid("spec.externalTrafficPolicy", &external.into(), "may only be set for externally-accessible services"));
    } else if !external.is_empty() {
        one_of(external, "spec.externalTrafficPolicy", &["Cluster", "Local"], causes);
    }
    let health = view::count(spec, &["healthCheckNodePort"]);
    if health != 0 && !needs_health_check(object) {
        let why = "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'";
        causes.push(Cause::invalid("spec.healthCheckNodePort", &health.into(), why));
    }
    if kind != "ExternalName" {
        one_of_if_any(spec, &["internalTrafficPolicy"], "spec.internalTrafficPolicy", &["Cluster", "Local"], causes);
    }
}

/// Addresses and their families, as far as the fields can tell. This cluster speaks IPv4 alone.
fn families(object: &Value, headless: bool, causes: &mut Vec<Cause>) {
    let ips = view::list(object, &["spec", "clusterIPs"]);
    let given = view::text(object, &["spec", "clusterIP"]);
    if !headless && !given.is_empty() && given.parse::<std::net::IpAddr>().is_err() {
        causes.push(Cause::invalid("spec.clusterIPs[0]", &given.into(), super::common::ADDRESS_TEXT));
    }
    let policy = view::text(object, &["spec", "ipFamilyPolicy"]);
    let known = ["PreferDualStack", "RequireDualStack", "SingleStack"];
    if !policy.is_empty() {
        one_of(policy, "spec.ipFamilyPolicy", &known, causes);
    }
    let selects = view::at(object, &["spec", "selector"]).and_then(Value::as_object).is_some_and(|s| !s.is_empty());
    // Nobody knows the families of what is behind a headless service without a selector.
    if headless && !selects {
        return;
    }
    if policy == "RequireDualStack" {
        let why = "this cluster is not configured for dual-stack services";
        causes.push(Cause::invalid("spec.ipFamilyPolicy", &policy.into(), why));
    }
    for (at, family) in view::list(object, &["spec", "ipFamilies"]).iter().enumerate() {
        if family != "IPv4" {
            causes.push(Cause::invalid(format!("spec.ipFamilies[{at}]"), family, "not configured on this cluster"));
        }
    }
    if ips.len() > 1 {
        causes.push(Cause::invalid("spec.clusterIPs", &ips.to_vec().into(), "may specify no more than one IP for single-stack services"));
    }
}

/// What may not change once it is set, unless the type makes room for it.
pub(super) fn update(before: &Value, after: &Value, causes: &mut Vec<Cause>) {
    let kind = |service: &Value| view::text(service, &["spec", "type"]).to_owned();
    let (old, new) = (view::at(before, &["spec", "clusterIP"]), view::at(after, &["spec", "clusterIP"]));
    // The families of the addresses are looked at first, and alone.
    let families = causes.iter().any(|cause| cause.field.starts_with("spec.ipFamil"));
    if !families && kind(before) != "ExternalName" && kind(after) != "ExternalName" && old.is_some() && old != new {
        let value = json!([new.cloned().unwrap_or_default()]);
        causes.push(Cause::invalid("spec.clusterIPs[0]", &value, "may not change once set"));
    }
    let class = |service: &Value| view::at(service, &["spec", "loadBalancerClass"]).cloned();
    if kind(before) == "LoadBalancer" && kind(after) == "LoadBalancer" && class(before) != class(after) {
        causes.push(Cause::invalid("spec.loadBalancerClass", &class(after).unwrap_or_default(), "may not change once set"));
    }
}

/// The range that a node port must be in; the allocator says so.
pub(crate) fn node_port_fits(number: i64) -> bool {
    NODE_PORTS.contains(&number)
}
