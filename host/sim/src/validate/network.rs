//! Ingresses, their classes, and network policies.

use std::net::IpAddr;

use crate::json::Value;

use super::common::{address, host, label, one_of, port_name, port_number, required, selector, subdomain};
use crate::status::Cause;
use crate::view;

const PATH_TYPES: [&str; 3] = ["Exact", "ImplementationSpecific", "Prefix"];
/// What a path must not have inside, and at its end.
const BAD_INSIDE: [&str; 5] = ["//", "/./", "/../", "%2f", "%2F"];
const BAD_END: [&str; 2] = ["/..", "/."];
const CLASS_ANNOTATION: &str = "kubernetes.io/ingress.class";

pub(super) fn ingress(object: &Value, causes: &mut Vec<Cause>) {
    let spec = view::at(object, &["spec"]).unwrap_or(&Value::Null);
    let rules = view::list(spec, &["rules"]);
    if rules.is_empty() && spec.get("defaultBackend").is_none() {
        causes.push(Cause::invalid("spec", &Value::Null, "either `defaultBackend` or `rules` must be specified"));
    }
    if let Some(default) = spec.get("defaultBackend") {
        backend(default, "spec.defaultBackend", causes);
    }
    for (at, rule) in rules.iter().enumerate() {
        ingress_rule(rule, &format!("spec.rules[{at}]"), causes);
    }
    for (at, tls) in view::list(spec, &["tls"]).iter().enumerate() {
        for (number, name) in view::list(tls, &["hosts"]).iter().enumerate() {
            host(name.as_str().unwrap_or_default(), &format!("spec.tls[{at}].hosts[{number}]"), causes);
        }
    }
    if let Some(class) = spec.get("ingressClassName").and_then(Value::as_str) {
        subdomain(class, "spec.ingressClassName", causes);
    }
}

/// The status that whoever serves the ingress writes.
pub(super) fn ingress_status(object: &Value, causes: &mut Vec<Cause>) {
    for (at, point) in view::list(object, &["status", "loadBalancer", "ingress"]).iter().enumerate() {
        let ip = view::text(point, &["ip"]);
        if !ip.is_empty() {
            address(ip, &format!("status.loadBalancer.ingress[{at}].ip"), causes);
        }
    }
}

/// On creation class and annotation may not disagree.
pub(super) fn ingress_class_given_twice(object: &Value, causes: &mut Vec<Cause>) {
    let class = view::text(object, &["spec", "ingressClassName"]);
    if let Some(given) = view::annotation(object, CLASS_ANNOTATION).filter(|given| !class.is_empty() && *given != class) {
        let why = "must match `ingressClassName` when both are specified";
        causes.push(Cause::invalid(format!("annotations.{CLASS_ANNOTATION}"), &given.into(), why));
    }
}

fn ingress_rule(rule: &Value, field: &str, causes: &mut Vec<Cause>) {
    let name = view::text(rule, &["host"]);
    if !name.is_empty() {
        let field = format!("{field}.host");
        if name.parse::<IpAddr>().is_ok() {
            causes.push(Cause::invalid(field, &name.into(), "must be a DNS name, not an IP address"));
        } else {
            host(name, &field, causes);
        }
    }
    let Some(http) = rule.get("http") else { return };
    let paths = view::list(http, &["paths"]);
    if paths.is_empty() {
        causes.push(Cause::required(format!("{field}.http.paths"), ""));
    }
    for (at, path) in paths.iter().enumerate() {
        let field = format!("{field}.http.paths[{at}]");
        path_of(path, &field, causes);
        if path.get("pathType").is_none() {
            // The server looks no further.
            continue;
        }
        backend(path.get("backend").unwrap_or(&Value::Null), &format!("{field}.backend"), causes);
    }
}

fn path_of(entry: &Value, field: &str, causes: &mut Vec<Cause>) {
    let (path, kind) = (view::text(entry, &["path"]), entry.get("pathType").and_then(Value::as_str));
    let shown = format!("{field}.path");
    match kind {
        None => causes.push(Cause::required(format!("{field}.pathType"), "pathType must be specified")),
        Some("Exact" | "Prefix") => {
            if !path.starts_with('/') {
                causes.push(Cause::invalid(shown.as_str(), &path.into(), "must be an absolute path"));
            }
            for bad in BAD_INSIDE.iter().filter(|bad| path.contains(**bad)) {
                causes.push(Cause::invalid(shown.as_str(), &path.into(), &format!("must not contain '{bad}'")));
            }
            for bad in BAD_END.iter().filter(|bad| path.ends_with(**bad)) {
                causes.push(Cause::invalid(shown.as_str(), &path.into(), &format!("cannot end with '{bad}'")));
            }
        }
        Some("ImplementationSpecific") => {
            if !path.is_empty() && !path.starts_with('/') {
                causes.push(Cause::invalid(shown, &path.into(), "must be an absolute path"));
            }
        }
        Some(other) => one_of(other, &format!("{field}.pathType"), &PATH_TYPES, causes),
    }
}

fn backend(backend: &Value, field: &str, causes: &mut Vec<Cause>) {
    let mut wrong = |why: &str| causes.push(Cause::invalid(field, &"".into(), why));
    match (backend.get("service"), backend.get("resource")) {
        (None, None) => wrong("resource or service backend is required"),
        (Some(_), Some(_)) => wrong("cannot set both resource and service backends"),
        (None, Some(resource)) => {
            for part in ["kind", "name"] {
                required(view::text(resource, &[part]), &format!("{field}.resource.{part}"), "", causes);
            }
        }
        (Some(service), None) => {
            let name = view::text(service, &["name"]);
            if required(name, &format!("{field}.service.name"), "", causes) {
                label(name, &format!("{field}.service.name"), causes);
            }
            let (port, number) = (view::text(service, &["port", "name"]), view::count(service, &["port", "number"]));
            match (port.is_empty(), number) {
                (true, 0) => causes.push(Cause::required(field, "port name or number is required")),
                (true, number) => port_number(number, &format!("{field}.service.port.number"), causes),
                (false, 0) => port_name(port, &format!("{field}.service.port.name"), causes),
                (false, _) => causes.push(Cause::invalid(field, &"".into(), "cannot set both port name & port number")),
            }
        }
    }
}

pub(super) fn ingress_class(object: &Value, causes: &mut Vec<Cause>) {
    let controller = view::text(object, &["spec", "controller"]);
    if required(controller, "spec.controller", "", causes) {
        let domain = controller.split_once('/').filter(|(domain, path)| super::common::is_subdomain(domain) && !path.is_empty());
        if domain.is_none() {
            let why = "must be a domain-prefixed path (such as \"acme.io/foo\")";
            causes.push(Cause::invalid("spec.controller", &controller.into(), why));
        }
    }
    let Some(parameters) = view::at(object, &["spec", "parameters"]) else { return };
    let part = |name: &str| view::text(parameters, &[name]);
    for name in ["kind", "name"] {
        required(part(name), &format!("spec.parameters.{name}"), "", causes);
    }
    match part("scope") {
        "Namespace" => {
            required(part("namespace"), "spec.parameters.namespace", "`parameters.scope` is set to 'Namespace'", causes);
        }
        "Cluster" if parameters.get("namespace").is_some() => {
            causes.push(Cause::forbidden("spec.parameters.namespace", "`parameters.scope` is set to 'Cluster'"));
        }
        scope => one_of(scope, "spec.parameters.scope", &["Cluster", "Namespace"], causes),
    }
}

pub(super) fn policy(object: &Value, causes: &mut Vec<Cause>) {
    let spec = view::at(object, &["spec"]).unwrap_or(&Value::Null);
    selector(spec.get("podSelector"), "spec.podSelector", causes);
    for (list, peers) in [("ingress", "from"), ("egress", "to")] {
        for (at, rule) in view::list(spec, &[list]).iter().enumerate() {
            let field = format!("spec.{list}[{at}]");
            for (at, port) in view::list(rule, &["ports"]).iter().enumerate() {
                policy_port(port, &format!("{field}.ports[{at}]"), causes);
            }
            for (at, one) in view::list(rule, &[peers]).iter().enumerate() {
                peer(one, &format!("{field}.{peers}[{at}]"), causes);
            }
        }
    }
    let types = view::list(spec, &["policyTypes"]);
    if types.len() > 2 {
        causes.push(Cause::invalid("spec.policyTypes", &types.to_vec().into(), "may not specify more than two policyTypes"));
        return;
    }
    for (at, kind) in types.iter().enumerate() {
        one_of(kind.as_str().unwrap_or_default(), &format!("spec.policyTypes[{at}]"), &["Ingress", "Egress"], causes);
    }
}

fn policy_port(port: &Value, field: &str, causes: &mut Vec<Cause>) {
    one_of(view::text(port, &["protocol"]), &format!("{field}.protocol"), &["TCP", "UDP", "SCTP"], causes);
    let (shown, given) = (format!("{field}.port"), port.get("port"));
    let end = view::int(port, &["endPort"]);
    let mut wrong_end = |end: i64, why: &str| causes.push(Cause::invalid(format!("{field}.endPort"), &end.into(), why));
    match (given.and_then(Value::as_i64), given.and_then(Value::as_str), end) {
        // The server shows the port here.
        (Some(first), _, Some(end)) if end < first => wrong_end(first, "must be greater than or equal to `port`"),
        (None, Some(_), Some(end)) => wrong_end(end, "may not be specified when `port` is non-numeric"),
        (None, None, Some(end)) => wrong_end(end, "may not be specified when `port` is not specified"),
        (Some(number), ..) => {
            port_number(number, &shown, causes);
            if let Some(end) = end {
                port_number(end, &format!("{field}.endPort"), causes);
            }
        }
        (None, Some(name), None) => port_name(name, &shown, causes),
        (None, None, None) => {}
    }
}

fn peer(peer: &Value, field: &str, causes: &mut Vec<Cause>) {
    let mut kinds = 0;
    for name in ["podSelector", "namespaceSelector"] {
        if let Some(value) = peer.get(name) {
            kinds += 1;
            selector(Some(value), &format!("{field}.{name}"), causes);
        }
    }
    match (peer.get("ipBlock"), kinds) {
        (None, 0) => causes.push(Cause::required(field, "must specify a peer")),
        (None, _) => {}
        (Some(_), 1..) => causes.push(Cause::forbidden(field, "may not specify both ipBlock and another peer")),
        (Some(block), _) => ip_block(block, &format!("{field}.ipBlock"), causes),
    }
}

fn ip_block(block: &Value, field: &str, causes: &mut Vec<Cause>) {
    let text = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)";
    let given = view::text(block, &["cidr"]);
    if !required(given, &format!("{field}.cidr"), "", causes) {
        return;
    }
    let Some(whole) = network(given) else {
        causes.push(Cause::invalid(format!("{field}.cidr"), &given.into(), text));
        return;
    };
    for (at, except) in view::list(block, &["except"]).iter().enumerate() {
        let field = format!("{field}.except[{at}]");
        match network(except.as_str().unwrap_or_default()) {
            None => causes.push(Cause::invalid(field, except, text)),
            Some(part) if !(part.0 > whole.0 && part.1.checked_shr(128 - whole.0) == whole.1.checked_shr(128 - whole.0)) => {
                causes.push(Cause::invalid(field, except, "must be a strict subset of `cidr`"));
            }
            Some(_) => {}
        }
    }
}

/// The length of the prefix and the address of a network, as those of IPv6.
fn network(text: &str) -> Option<(u32, u128)> {
    let (address, length) = text.split_once('/')?;
    let length: u32 = length.parse().ok()?;
    let (most, bits) = match address.parse::<IpAddr>().ok()? {
        IpAddr::V4(four) => (32, u128::from(four.to_ipv6_mapped())),
        IpAddr::V6(six) => (128, u128::from(six)),
    };
    (length <= most).then_some((length + 128 - most, bits))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::json;

    #[test]
    fn networks_contain_their_parts() {
        let wrong = |cidr: &str, except: &str| {
            let mut causes = Vec::new();
            ip_block(&json!({"cidr": cidr, "except": [except]}), "b", &mut causes);
            causes.len()
        };
        assert_eq!(wrong("10.0.0.0/8", "10.1.0.0/16"), 0);
        assert_eq!(wrong("10.0.0.0/8", "11.1.0.0/16"), 1);
        assert_eq!(wrong("10.0.0.0/8", "10.0.0.0/8"), 1);
        assert_eq!(wrong("0.0.0.0/0", "10.0.0.0/8"), 0);
        assert_eq!(wrong("2001:db8::/32", "2001:db8:1::/48"), 0);
        assert_eq!(wrong("::/0", "2001:db8:1::/48"), 0);
        assert_eq!(wrong("10.0.0.0/33", "10.1.0.0/16"), 1);
    }
}
