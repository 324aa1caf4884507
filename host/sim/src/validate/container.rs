//! Checks of what a container runs, listens on, is asked and is given: ports, probes, hooks, environment, mounts.
//!
//! `pods.json` of the tests has the words of kube-apiserver v1.36.4 for each of them.

use std::collections::BTreeSet;

use crate::json::{Value, json};

use super::common::{port_name, port_number};
use super::{NOT_NEGATIVE, SUBDOMAIN_TEXT};
use crate::status::Cause;
use crate::view;

const ENV_TEXT: &str = "a valid environment variable name must consist only of printable ASCII characters other than '='";
const HEADER_TEXT: &str = "a valid HTTP header must consist of alphanumeric characters or '-' (e.g. 'X-Header-Name', regex used for \
    validation is '[-A-Za-z0-9]+')";
/// What a probe or a hook does: one of these, in the order in which the server looks for them.
const HANDLERS: [&str; 5] = ["exec", "httpGet", "tcpSocket", "grpc", "sleep"];
/// Where a variable comes from.
const SOURCES: [&str; 5] = ["fieldRef", "resourceFieldRef", "configMapKeyRef", "secretKeyRef", "fileKeyRef"];
/// Fields of a pod that a variable can have.
const FIELDS: [&str; 10] = [
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "metadata.labels",
    "metadata.annotations",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
];

/// Names of ports, which are different in a container.
pub(super) fn port_names(container: &Value, field: &str, causes: &mut Vec<Cause>) {
    let mut names = BTreeSet::new();
    for (at, port) in view::list(container, &["ports"]).iter().enumerate() {
        let (name, field) = (view::text(port, &["name"]), format!("{field}.ports[{at}].name"));
        if name.is_empty() {
            continue;
        }
        let before = causes.len();
        port_name(name, &field, causes);
        if causes.len() == before && !names.insert(name) {
            causes.push(Cause::duplicate(field, &name.into()));
        }
    }
}

/// No two containers of a pod may have the same port of the host.
pub(super) fn host_ports(spec: &Value, field: &str, causes: &mut Vec<Cause>) {
    let mut taken = BTreeSet::new();
    for (number, container) in view::list(spec, &["containers"]).iter().enumerate() {
        for (at, port) in view::list(container, &["ports"]).iter().enumerate() {
            let on_host = view::count(port, &["hostPort"]);
            let protocol = Some(view::text(port, &["protocol"])).filter(|text| !text.is_empty()).unwrap_or("TCP");
            let key = format!("{protocol}/{}/{on_host}", view::text(port, &["hostIP"]));
            if on_host != 0 && !taken.insert(key.clone()) {
                causes.push(Cause::duplicate(format!("{field}.containers[{number}].ports[{at}].hostPort"), &key.into()));
            }
        }
    }
}

/// Variables and where they come from.
pub(super) fn environment(container: &Value, field: &str, causes: &mut Vec<Cause>) {
    for (at, variable) in view::list(container, &["env"]).iter().enumerate() {
        let field = format!("{field}.env[{at}]");
        let name = view::text(variable, &["name"]);
        if name.is_empty() {
            causes.push(Cause::required(format!("{field}.name"), ""));
        } else {
            variable_name(name, &format!("{field}.name"), causes);
        }
        if let Some(source) = variable.get("valueFrom").filter(|source| !source.is_null()) {
            source_of(variable, source, &format!("{field}.valueFrom"), causes);
        }
    }
    for (at, many) in view::list(container, &["envFrom"]).iter().enumerate() {
        let all = format!("{field}.envFrom");
        let prefix = view::text(many, &["prefix"]);
        if !prefix.is_empty() {
            variable_name(prefix, &format!("{all}[{at}].prefix"), causes);
        }
        let given: Vec<&str> = ["configMapRef", "secretRef"].into_iter().filter(|name| many.get(*name).is_some()).collect();
        for name in &given {
            if view::text(many, &[name, "name"]).is_empty() {
                causes.push(Cause::required(format!("{all}[{at}].{name}.name"), ""));
            }
        }
        match given.len() {
            0 => causes.push(Cause::invalid(all, &json!(""), "must specify one of: `configMapRef` or `secretRef`")),
            1 => {}
            _ => causes.push(Cause::invalid(all, &json!(""), "may not have more than one field specified at a time")),
        }
    }
}

fn variable_name(name: &str, field: &str, causes: &mut Vec<Cause>) {
    if !name.bytes().all(|byte| (b' '..=b'~').contains(&byte) && byte != b'=') {
        causes.push(Cause::invalid(field, &name.into(), ENV_TEXT));
    }
}

fn source_of(variable: &Value, source: &Value, field: &str, causes: &mut Vec<Cause>) {
    let given: Vec<&str> = SOURCES.into_iter().filter(|name| source.get(*name).is_some_and(|part| !part.is_null())).collect();
    for name in &given {
        let text = |part: &str| view::text(source, &[name, part]);
        match *name {
            "fieldRef" if text("fieldPath").is_empty() => causes.push(Cause::required(format!("{field}.fieldRef.fieldPath"), "")),
            "fieldRef" => {
                let path = text("fieldPath");
                let known = FIELDS.contains(&path)
                    || path == "status.podIPs"
                    || path.starts_with("metadata.labels['")
                    || path.starts_with("metadata.annotations['");
                if !known {
                    let why = format!("error converting fieldPath: field label not supported: {path}");
                    causes.push(Cause::invalid(format!("{field}.fieldRef.fieldPath"), &path.into(), &why));
                }
            }
            "configMapKeyRef" | "secretKeyRef" => {
                if !super::common::is_subdomain(text("name")) {
                    causes.push(Cause::invalid(format!("{field}.{name}.name"), &text("name").into(), SUBDOMAIN_TEXT));
                }
                if text("key").is_empty() {
                    causes.push(Cause::required(format!("{field}.{name}.key"), ""));
                }
            }
            _ => {}
        }
    }
    let mut wrong = |why: &str| causes.push(Cause::invalid(field, &json!(""), why));
    if given.is_empty() {
        wrong("must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`");
    } else if !view::text(variable, &["value"]).is_empty() {
        wrong("may not be specified when `value` is not empty");
    } else if given.len() > 1 {
        wrong("may not have more than one field specified at a time");
    }
}

/// Where volumes are mounted: each at a place of its own.
pub(super) fn places(container: &Value, field: &str, causes: &mut Vec<Cause>) {
    let mut taken = BTreeSet::new();
    for (at, mount) in view::list(container, &["volumeMounts"]).iter().enumerate() {
        let place = view::text(mount, &["mountPath"]);
        if !place.is_empty() && !taken.insert(place) {
            causes.push(Cause::invalid(format!("{field}.volumeMounts[{at}].mountPath"), &place.into(), "must be unique"));
        }
        let part = view::text(mount, &["subPath"]);
        if part.starts_with('/') {
            causes.push(Cause::invalid(format!("{field}.volumeMounts.subPath"), &part.into(), "must be a relative path"));
        } else if part.split('/').any(|step| step == "..") {
            causes.push(Cause::invalid(format!("{field}.volumeMounts.subPath"), &part.into(), "must not contain '..'"));
        }
    }
}

/// Hooks and probes. What ends before the others begin, a plain init container, has none.
pub(super) fn asked(container: &Value, field: &str, init: bool, causes: &mut Vec<Cause>) {
    let alone = init && view::text(container, &["restartPolicy"]) != "Always";
    for part in ["lifecycle", "livenessProbe", "readinessProbe", "startupProbe"] {
        let Some(given) = container.get(part).filter(|given| !given.is_null()) else { continue };
        let field = format!("{field}.{part}");
        if alone {
            causes.push(Cause::forbidden(field, "may not be set for init containers without restartPolicy=Always"));
        } else if part == "lifecycle" {
            for hook in ["postStart", "preStop"] {
                if let Some(handler) = given.get(hook).filter(|hook| !hook.is_null()) {
                    handles(handler, &format!("{field}.{hook}"), causes);
                }
            }
        } else {
            probe(given, part, &field, causes);
        }
    }
}

fn probe(probe: &Value, part: &str, field: &str, causes: &mut Vec<Cause>) {
    handles(probe, field, causes);
    for count in ["initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"] {
        if let Some(number) = view::int(probe, &[count]).filter(|number| *number < 0) {
            causes.push(Cause::invalid(format!("{field}.{count}"), &number.into(), NOT_NEGATIVE));
        }
    }
    let grace = view::int(probe, &["terminationGracePeriodSeconds"]);
    if part == "readinessProbe" {
        if let Some(seconds) = grace {
            let why = "must not be set for readinessProbes";
            causes.push(Cause::invalid(format!("{field}.terminationGracePeriodSeconds"), &seconds.into(), why));
        }
        return;
    }
    if let Some(seconds) = grace.filter(|seconds| *seconds <= 0) {
        causes.push(Cause::invalid(format!("{field}.terminationGracePeriodSeconds"), &seconds.into(), "must be greater than 0"));
    }
    if let Some(times) = view::int(probe, &["successThreshold"]).filter(|times| *times != 1) {
        causes.push(Cause::invalid(format!("{field}.successThreshold"), &times.into(), "must be 1"));
    }
}

/// Exactly one thing is done.
fn handles(object: &Value, field: &str, causes: &mut Vec<Cause>) {
    let given: Vec<&str> = HANDLERS.into_iter().filter(|name| object.get(*name).is_some_and(|part| !part.is_null())).collect();
    for (number, name) in given.iter().enumerate() {
        let field = format!("{field}.{name}");
        if number > 0 {
            causes.push(Cause::forbidden(field, "may not specify more than 1 handler type"));
        } else {
            handler(name, &object[*name], &field, causes);
        }
    }
    if given.is_empty() {
        causes.push(Cause::required(field, "must specify a handler type"));
    }
}

fn handler(name: &str, handler: &Value, field: &str, causes: &mut Vec<Cause>) {
    match name {
        "exec" if view::list(handler, &["command"]).is_empty() => causes.push(Cause::required(format!("{field}.command"), "")),
        "httpGet" => {
            if handler.get("path").is_some_and(|path| path.as_str() == Some("")) {
                causes.push(Cause::required(format!("{field}.path"), ""));
            }
            port(handler.get("port"), field, causes);
            let scheme = view::text(handler, &["scheme"]);
            if !matches!(scheme, "" | "HTTP" | "HTTPS") {
                causes.push(Cause::not_supported(format!("{field}.scheme"), &scheme.into(), &["HTTP", "HTTPS"]));
            }
            for header in view::list(handler, &["httpHeaders"]) {
                let name = view::text(header, &["name"]);
                if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
                    causes.push(Cause::invalid(format!("{field}.httpHeaders"), &name.into(), HEADER_TEXT));
                }
            }
        }
        "tcpSocket" | "grpc" => port(handler.get("port"), field, causes),
        _ => {}
    }
}

fn port(port: Option<&Value>, field: &str, causes: &mut Vec<Cause>) {
    let field = format!("{field}.port");
    match port {
        Some(Value::String(name)) => port_name(name, &field, causes),
        port => port_number(port.and_then(Value::as_i64).unwrap_or(0), &field, causes),
    }
}
