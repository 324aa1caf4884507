//! Cells of services and what belongs to them.

use std::collections::BTreeSet;

use super::cells;
use crate::json::Value;
use crate::view;

/// How many endpoints, ports or hosts are shown.
const SHOWN: usize = 3;

fn join_port(address: &str, port: i64) -> String {
    if address.contains(':') { format!("[{address}]:{port}") } else { format!("{address}:{port}") }
}

/// The ready addresses of Endpoints, each with each port.
pub(super) fn endpoints(object: &Value) -> String {
    let subsets = view::list(object, &["subsets"]);
    if subsets.is_empty() {
        return "<none>".to_owned();
    }
    let mut found = Vec::new();
    for subset in subsets {
        let addresses = view::list(subset, &["addresses"]).iter().map(|address| view::text(address, &["ip"]));
        match view::list(subset, &["ports"]) {
            [] => found.extend(addresses.map(str::to_owned)),
            ports => {
                for port in ports {
                    found.extend(addresses.clone().map(|address| join_port(address, view::count(port, &["port"]))));
                }
            }
        }
    }
    cells::cut(&found, ",", SHOWN)
}

/// The ports of an EndpointSlice.
pub(super) fn slice_ports(slice: &Value) -> String {
    let port = |port: &Value| match view::int(port, &["port"]) {
        Some(number) => number.to_string(),
        None => cells::or(view::text(port, &["name"]), "*"),
    };
    let ports: Vec<String> = view::list(slice, &["ports"]).iter().map(port).collect();
    cells::or(&cells::cut(&ports, ",", SHOWN), "<unset>")
}

/// The addresses of an EndpointSlice.
pub(super) fn slice_endpoints(slice: &Value) -> String {
    let endpoints = view::list(slice, &["endpoints"]).iter();
    let addresses: Vec<&str> = endpoints.flat_map(|endpoint| view::list(endpoint, &["addresses"])).filter_map(Value::as_str).collect();
    cells::or(&cells::cut(&addresses, ",", SHOWN), "<unset>")
}

/// The addresses of load balancers, each once.
pub(super) fn balancers(object: &Value) -> String {
    let address = |ingress: &Value| {
        let (ip, host) = (view::text(ingress, &["ip"]), view::text(ingress, &["hostname"]));
        if ip.is_empty() { host.to_owned() } else { ip.to_owned() }
    };
    let found: BTreeSet<String> = view::list(object, &["status", "loadBalancer", "ingress"]).iter().map(address).collect();
    found.into_iter().filter(|address| !address.is_empty()).collect::<Vec<_>>().join(",")
}

/// Where a service is reached from outside.
pub(super) fn external(service: &Value) -> String {
    let given: Vec<&str> = view::list(service, &["spec", "externalIPs"]).iter().filter_map(Value::as_str).collect();
    match view::text(service, &["spec", "type"]) {
        "ClusterIP" | "NodePort" => cells::or(&given.join(","), "<none>"),
        "ExternalName" => view::text(service, &["spec", "externalName"]).to_owned(),
        "LoadBalancer" => {
            let balancers = balancers(service);
            let all: Vec<&str> = [balancers.as_str()].into_iter().filter(|b| !b.is_empty()).chain(given).collect();
            cells::or(&all.join(","), "<pending>")
        }
        _ => "<unknown>".to_owned(),
    }
}

/// The ports of a service.
pub(super) fn service_ports(service: &Value) -> String {
    let port = |port: &Value| {
        let (number, protocol) = (view::count(port, &["port"]), view::text(port, &["protocol"]));
        match view::count(port, &["nodePort"]) {
            0 => format!("{number}/{protocol}"),
            node => format!("{number}:{node}/{protocol}"),
        }
    };
    let ports: Vec<String> = view::list(service, &["spec", "ports"]).iter().map(port).collect();
    cells::or(&ports.join(","), "<none>")
}

/// The class of an Ingress.
pub(super) fn ingress_class(ingress: &Value) -> String {
    cells::or(view::text(ingress, &["spec", "ingressClassName"]), "<none>")
}

/// The hosts of an Ingress.
pub(super) fn ingress_hosts(ingress: &Value) -> String {
    let hosts: Vec<&str> =
        view::list(ingress, &["spec", "rules"]).iter().map(|rule| view::text(rule, &["host"])).filter(|host| !host.is_empty()).collect();
    cells::or(&cells::cut(&hosts, ",", SHOWN), "*")
}

/// The parameters of an IngressClass.
pub(super) fn class_parameters(class: &Value) -> String {
    let Some(parameters) = view::at(class, &["spec", "parameters"]) else { return "<none>".to_owned() };
    let (kind, name) = (view::text(parameters, &["kind"]), view::text(parameters, &["name"]));
    match view::text(parameters, &["apiGroup"]) {
        "" => format!("{kind}/{name}"),
        group => format!("{kind}.{group}/{name}"),
    }
}

/// Who serves an API.
pub(super) fn api_service(object: &Value) -> String {
    match view::at(object, &["spec", "service"]) {
        Some(service) => format!("{}/{}", view::text(service, &["namespace"]), view::text(service, &["name"])),
        None => "Local".to_owned(),
    }
}

/// Whether an API is served.
pub(super) fn api_available(object: &Value) -> String {
    let Some(condition) = view::condition(object, "Available") else { return "Unknown".to_owned() };
    match (view::text(condition, &["status"]), view::text(condition, &["reason"])) {
        ("True", _) => "True".to_owned(),
        (status, reason) => format!("{status} ({reason})"),
    }
}
