//! Checks of what a container runs, listens on, is asked and is given: image, ports, environment, resources, probes, hooks.
//!
//! `pods.json` and `podspecs.json` of the tests have the words of kube-apiserver v1.36.4 for each of them.

use std::collections::{BTreeMap, BTreeSet};

use crate::json::{Value, json};

use super::common::{port_name, port_number};
use super::volumes::{self, Volumes};
use super::{NOT_NEGATIVE, common, resources, security, sources};
use crate::status::Cause;
use crate::view;

const ENV_TEXT: &str = "a valid environment variable name must consist only of printable ASCII characters other than '='";
const HEADER_TEXT: &str = "a valid HTTP header must consist of alphanumeric characters or '-' (e.g. 'X-Header-Name', regex used for \
    validation is '[-A-Za-z0-9]+')";
/// What a probe or a hook does: one of these, in the order in which the server looks for them.
const HANDLERS: [&str; 5] = ["exec", "httpGet", "tcpSocket", "grpc", "sleep"];
/// Where a variable comes from.
const SOURCES: [&str; 5] = ["fieldRef", "resourceFieldRef", "configMapKeyRef", "secretKeyRef", "fileKeyRef"];

/// What a container has to know of its pod.
pub(super) struct Around<'a> {
    /// Volumes that are right, by name.
    pub(super) volumes: &'a Volumes<'a>,
    /// Whether it has the users of its node.
    pub(super) host_users: bool,
    /// Whether containers of the pod are never started again.
    pub(super) never: bool,
    /// How long the pod may take to stop, in seconds.
    pub(super) grace: i64,
    /// Devices of the pod.
    pub(super) claims: BTreeSet<&'a str>,
}

/// What all containers have in common.
pub(super) fn check(one: &Value, field: &str, around: &Around<'_>, causes: &mut Vec<Cause>) {
    let name = view::text(one, &["name"]);
    if common::required(name, &format!("{field}.name"), "", causes) {
        common::label(name, &format!("{field}.name"), causes);
    }
    common::required(view::text(one, &["image"]), &format!("{field}.image"), "", causes);
    let policy = view::text(one, &["terminationMessagePolicy"]);
    if !policy.is_empty() {
        common::one_of(policy, &format!("{field}.terminationMessagePolicy"), &["File", "FallbackToLogsOnError"], causes);
    }
    ports(one, field, causes);
    environment(one, field, causes);
    volumes::mounts(one, field, around.volumes, causes);
    volumes::devices(one, field, around.volumes, causes);
    pull_policy(one, "imagePullPolicy", field, causes);
    resources::check(one.get("resources").unwrap_or(&Value::Null), &format!("{field}.resources"), &around.claims, causes);
    resizing(one, field, around, causes);
    security::of_container(one, field, around.host_users, causes);
}

/// When an image is pulled.
pub(super) fn pull_policy(of: &Value, name: &str, field: &str, causes: &mut Vec<Cause>) {
    let policy = view::text(of, &[name]);
    if !policy.is_empty() {
        common::one_of(policy, &format!("{field}.{name}"), &["Always", "IfNotPresent", "Never"], causes);
    }
}

/// What happens when a resource of a running container changes. The server names the list and not the entry.
fn resizing(one: &Value, field: &str, around: &Around<'_>, causes: &mut Vec<Cause>) {
    let field = format!("{field}.resizePolicy");
    let mut named = BTreeSet::new();
    for (at, policy) in view::list(one, &["resizePolicy"]).iter().enumerate() {
        let (resource, restart) = (view::text(policy, &["resourceName"]), view::text(policy, &["restartPolicy"]));
        if !named.insert(resource) {
            causes.push(Cause::duplicate(format!("{field}[{at}]"), &resource.into()));
        }
        if common::required(resource, &field, "", causes) {
            common::one_of(resource, &field, &["cpu", "memory"], causes);
        }
        if common::required(restart, &field, "", causes) {
            common::one_of(restart, &field, &["NotRequired", "RestartContainer"], causes);
        }
        if around.never && restart != "NotRequired" {
            let why = "must be 'NotRequired' when pod `restartPolicy` is 'Never'";
            causes.push(Cause::invalid(field.as_str(), &restart.into(), why));
        }
    }
}

/// A policy of a container's own.
pub(super) fn restart_policy(one: &Value, field: &str, causes: &mut Vec<Cause>) {
    let place = format!("{field}.restartPolicy");
    let rules = view::list(one, &["restartPolicyRules"]);
    match one.get("restartPolicy").and_then(Value::as_str) {
        Some(policy) => common::one_of(policy, &place, &["Always", "Never", "OnFailure"], causes),
        None if rules.is_empty() => {}
        None => causes.push(Cause::required(place, "must specify restartPolicy when restart rules are used")),
    }
}

/// Ports; their names are different in a container.
fn ports(one: &Value, field: &str, causes: &mut Vec<Cause>) {
    let mut names = BTreeSet::new();
    for (at, port) in view::list(one, &["ports"]).iter().enumerate() {
        let field = format!("{field}.ports[{at}]");
        let name = view::text(port, &["name"]);
        if !name.is_empty() {
            let before = causes.len();
            port_name(name, &format!("{field}.name"), causes);
            if causes.len() == before && !names.insert(name) {
                causes.push(Cause::duplicate(format!("{field}.name"), &name.into()));
            }
        }
        match view::count(port, &["containerPort"]) {
            0 => causes.push(Cause::required(format!("{field}.containerPort"), "")),
            number => port_number(number, &format!("{field}.containerPort"), causes),
        }
        match view::count(port, &["hostPort"]) {
            0 => {}
            number => port_number(number, &format!("{field}.hostPort"), causes),
        }
        let protocol = view::text(port, &["protocol"]);
        if !protocol.is_empty() {
            common::one_of(protocol, &format!("{field}.protocol"), &["SCTP", "TCP", "UDP"], causes);
        }
    }
}

/// In the network of the node a port of the node is the port itself.
pub(super) fn ports_of_the_host(spec: &Value, field: &str, causes: &mut Vec<Cause>) {
    if !view::flag(spec, &["hostNetwork"]) {
        return;
    }
    for (number, container) in view::list(spec, &["containers"]).iter().enumerate() {
        for (at, port) in view::list(container, &["ports"]).iter().enumerate() {
            let (own, on_host) = (view::count(port, &["containerPort"]), view::count(port, &["hostPort"]));
            if on_host != 0 && on_host != own {
                let why = "must match `containerPort` when `hostNetwork` is true";
                causes.push(Cause::invalid(format!("{field}.containers[{number}].ports[{at}].hostPort"), &on_host.into(), why));
            }
        }
    }
}

/// No two containers that run at once may have the same port of the host; `field` is that of their list.
pub(super) fn host_ports(containers: &[Value], field: &str, causes: &mut Vec<Cause>) {
    let mut taken = BTreeSet::new();
    for (number, container) in containers.iter().enumerate() {
        for (at, port) in view::list(container, &["ports"]).iter().enumerate() {
            let on_host = view::count(port, &["hostPort"]);
            let protocol = Some(view::text(port, &["protocol"])).filter(|text| !text.is_empty()).unwrap_or("TCP");
            let key = format!("{protocol}/{}/{on_host}", view::text(port, &["hostIP"]));
            if on_host != 0 && !taken.insert(key.clone()) {
                causes.push(Cause::duplicate(format!("{field}[{number}].ports[{at}].hostPort"), &key.into()));
            }
        }
    }
}

/// Variables that come from files need a volume that holds files of the pod.
pub(super) fn files_of_volumes(spec: &Value, field: &str, causes: &mut Vec<Cause>) {
    let volumes: BTreeMap<&str, &Value> =
        view::list(spec, &["volumes"]).iter().map(|volume| (view::text(volume, &["name"]), volume)).collect();
    for list in ["initContainers", "containers"] {
        for (number, container) in view::list(spec, &[list]).iter().enumerate() {
            for (at, variable) in view::list(container, &["env"]).iter().enumerate() {
                let Some(file) = view::at(variable, &["valueFrom", "fileKeyRef"]).filter(|file| !file.is_null()) else { continue };
                let field = format!("{field}.{list}[{number}].env[{at}].valueFrom.fileKeyRef.volumeName");
                let name = view::text(file, &["volumeName"]);
                match volumes.get(name) {
                    None => causes.push(Cause::not_found(field, &name.into())),
                    Some(volume) if volume.get("emptyDir").is_none() => {
                        causes.push(Cause::invalid(field, &name.into(), "referenced volume must be of type emptyDir"));
                    }
                    Some(_) => {}
                }
            }
        }
    }
}

/// Variables and where they come from.
fn environment(container: &Value, field: &str, causes: &mut Vec<Cause>) {
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
            let (name, field) = (view::text(many, &[name, "name"]), format!("{all}[{at}].{name}.name"));
            if common::required(name, &field, "", causes) {
                common::subdomain(name, &field, causes);
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
        let (part, field) = (source.get(*name).unwrap_or(&Value::Null), format!("{field}.{name}"));
        match *name {
            "fieldRef" => sources::field_of_pod(part, &field, &sources::OF_VARIABLES, causes),
            "resourceFieldRef" => sources::amount_of_container(part, &field, false, causes),
            "configMapKeyRef" | "secretKeyRef" => sources::key_of(part, &field, causes),
            _ => of_file(part, &field, causes),
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

/// A line of a file of the pod.
fn of_file(source: &Value, field: &str, causes: &mut Vec<Cause>) {
    let (key, volume, path) = (view::text(source, &["key"]), view::text(source, &["volumeName"]), view::text(source, &["path"]));
    if common::required(key, &format!("{field}.key"), "", causes) {
        variable_name(key, &format!("{field}.key"), causes);
    }
    if common::required(volume, &format!("{field}.volumeName"), "", causes) {
        common::label(volume, &format!("{field}.volumeName"), causes);
    }
    if common::required(path, &format!("{field}.path"), "", causes) {
        volumes::descends(path, &format!("{field}.path"), causes);
    }
}

/// Hooks and probes. What ends before the others begin, a plain init container, has none.
pub(super) fn asked(container: &Value, field: &str, init: bool, around: &Around<'_>, causes: &mut Vec<Cause>) {
    let alone = init && view::text(container, &["restartPolicy"]) != "Always";
    for part in ["lifecycle", "livenessProbe", "readinessProbe", "startupProbe"] {
        let Some(given) = container.get(part).filter(|given| !given.is_null()) else { continue };
        let field = format!("{field}.{part}");
        if alone {
            causes.push(Cause::forbidden(field, "may not be set for init containers without restartPolicy=Always"));
        } else if part == "lifecycle" {
            for hook in ["postStart", "preStop"] {
                if let Some(handler) = given.get(hook).filter(|hook| !hook.is_null()) {
                    handles(handler, &format!("{field}.{hook}"), around.grace, causes);
                }
            }
        } else {
            probe(given, part, &field, around.grace, causes);
        }
    }
}

fn probe(probe: &Value, part: &str, field: &str, whole: i64, causes: &mut Vec<Cause>) {
    handles(probe, field, whole, causes);
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
fn handles(object: &Value, field: &str, grace: i64, causes: &mut Vec<Cause>) {
    let given: Vec<&str> = HANDLERS.into_iter().filter(|name| object.get(*name).is_some_and(|part| !part.is_null())).collect();
    for (number, name) in given.iter().enumerate() {
        let field = format!("{field}.{name}");
        if number > 0 {
            causes.push(Cause::forbidden(field, "may not specify more than 1 handler type"));
        } else {
            handler(name, &object[*name], &field, grace, causes);
        }
    }
    if given.is_empty() {
        causes.push(Cause::required(field, "must specify a handler type"));
    }
}

fn handler(name: &str, handler: &Value, field: &str, grace: i64, causes: &mut Vec<Cause>) {
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
        "sleep" => {
            let seconds = view::count(handler, &["seconds"]);
            if !(0..=grace).contains(&seconds) {
                let why = format!("must be non-negative and less than terminationGracePeriodSeconds ({grace})");
                causes.push(Cause::invalid(field, &seconds.into(), &why));
            }
        }
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
