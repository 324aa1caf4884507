//! What extends a cluster: API services, webhooks, classes of priority.

use crate::json::Value;

use super::common::{label_1035, one_of, one_of_if_any, port_number, required, selector, subdomain};
use crate::status::Cause;
use crate::view;

/// The highest priority that a user may give.
const HIGHEST: i64 = 1_000_000_000;
/// Classes that every server has, with their values.
const SYSTEM_CLASSES: [(&str, i64); 2] = [("system-cluster-critical", 2_000_000_000), ("system-node-critical", 2_000_001_000)];
const OPERATIONS: [&str; 5] = ["*", "CONNECT", "CREATE", "DELETE", "UPDATE"];

pub(super) fn priority_class(object: &Value, causes: &mut Vec<Cause>) {
    let (name, value) = (view::name(object), view::count(object, &["value"]));
    if !name.starts_with("system-") {
        if value > HIGHEST {
            let why = format!("maximum allowed value of a user defined priority is {HIGHEST}");
            causes.push(Cause::forbidden("value", &why));
        }
    } else if let Err(error) = system_class(name, value, view::flag(object, &["globalDefault"])) {
        let why = format!("priority class names with 'system-' prefix are reserved for system use only. error: {error}");
        causes.push(Cause::forbidden("metadata.name", &why));
    }
    one_of(view::text(object, &["preemptionPolicy"]), "preemptionPolicy", &["PreemptLowerPriority", "Never"], causes);
}

fn system_class(name: &str, value: i64, default: bool) -> Result<(), String> {
    match SYSTEM_CLASSES.iter().find(|(known, _)| *known == name) {
        None => Err(format!("{name} is not a known system priority class")),
        Some((_, known)) if *known != value => Err(format!("value of {name} PriorityClass must be {known}")),
        Some(_) if default => Err(format!("globalDefault of {name} PriorityClass must be false")),
        Some(_) => Ok(()),
    }
}

pub(super) fn priority_class_update(before: &Value, after: &Value, causes: &mut Vec<Cause>) {
    if before.get("value") != after.get("value") {
        causes.push(Cause::forbidden("value", "may not be changed in an update."));
    }
    if before.get("preemptionPolicy") != after.get("preemptionPolicy") {
        let value = after.get("preemptionPolicy").cloned().unwrap_or_default();
        causes.push(Cause::invalid("preemptionPolicy", &value, super::IMMUTABLE));
    }
}

pub(super) fn api_service(object: &Value, causes: &mut Vec<Cause>) {
    let spec = view::at(object, &["spec"]).unwrap_or(&Value::Null);
    let (group, version) = (view::text(spec, &["group"]), view::text(spec, &["version"]));
    let (name, wanted) = (view::name(object), format!("{version}.{group}"));
    // The legacy group has no name at all: its service is `v1.`.
    if name != wanted {
        let why = format!("must be `spec.version+\".\"+spec.group`: {wanted:?}");
        causes.push(Cause::invalid("metadata.name", &name.into(), &why));
    }
    if !group.is_empty() {
        subdomain(group, "spec.group", causes);
    } else if version != "v1" {
        causes.push(Cause::required("spec.group", "only v1 may have an empty group and it better be legacy kube"));
    }
    label_1035(version, "spec.version", causes);
    for (field, most) in [("groupPriorityMinimum", 20_000), ("versionPriority", 1_000)] {
        let given = view::count(spec, &[field]);
        if given <= 0 || given > most {
            causes.push(Cause::invalid(format!("spec.{field}"), &given.into(), &format!("must be positive and less than {most}")));
        }
    }
    let (bundle, insecure) = (!view::text(spec, &["caBundle"]).is_empty(), view::flag(spec, &["insecureSkipTLSVerify"]));
    let Some(to) = spec.get("service") else {
        if bundle {
            let value = spec.get("caBundle").cloned().unwrap_or_default();
            causes.push(Cause::invalid("spec.caBundle", &value, "local APIServices may not have a caBundle"));
        }
        if insecure {
            let why = "local APIServices may not have insecureSkipTLSVerify";
            causes.push(Cause::invalid("spec.insecureSkipTLSVerify", &true.into(), why));
        }
        return;
    };
    for part in ["namespace", "name"] {
        required(view::text(to, &[part]), &format!("spec.service.{part}"), "", causes);
    }
    port_number(view::count(to, &["port"]), "spec.service.port", causes);
    if insecure && bundle {
        causes.push(Cause::invalid("spec.insecureSkipTLSVerify", &true.into(), "may not be true if caBundle is present"));
    }
}

/// A configuration of webhooks; only one of mutating webhooks says whether they are asked again.
pub(super) fn webhooks(object: &Value, mutating: bool, causes: &mut Vec<Cause>) {
    let hooks = view::list(object, &["webhooks"]);
    for (at, hook) in hooks.iter().enumerate() {
        let field = format!("webhooks[{at}]");
        webhook(hook, &field, causes);
        if mutating {
            one_of_if_any(hook, &["reinvocationPolicy"], &format!("{field}.reinvocationPolicy"), &["IfNeeded", "Never"], causes);
        }
        let name = hook.get("name");
        if name.is_some() && hooks[..at].iter().any(|earlier| earlier.get("name") == name) {
            causes.push(Cause::duplicate(format!("{field}.name"), name.unwrap_or(&Value::Null)));
        }
    }
}

fn webhook(hook: &Value, field: &str, causes: &mut Vec<Cause>) {
    let name = view::text(hook, &["name"]);
    let shown = format!("{field}.name");
    if required(name, &shown, "", causes) {
        let before = causes.len();
        subdomain(name, &shown, causes);
        if before == causes.len() && name.split('.').count() < 3 {
            causes.push(Cause::invalid(shown, &name.into(), "should be a domain with at least three segments separated by dots"));
        }
    }
    for (at, rule) in view::list(hook, &["rules"]).iter().enumerate() {
        hook_rule(rule, &format!("{field}.rules[{at}]"), causes);
    }
    one_of_if_any(hook, &["failurePolicy"], &format!("{field}.failurePolicy"), &["Fail", "Ignore"], causes);
    one_of_if_any(hook, &["matchPolicy"], &format!("{field}.matchPolicy"), &["Equivalent", "Exact"], causes);
    match hook.get("sideEffects").and_then(Value::as_str) {
        None => causes.push(Cause::required(format!("{field}.sideEffects"), "must specify one of None, NoneOnDryRun")),
        Some(effects) => one_of(effects, &format!("{field}.sideEffects"), &["None", "NoneOnDryRun"], causes),
    }
    let versions = view::list(hook, &["admissionReviewVersions"]);
    let shown = format!("{field}.admissionReviewVersions");
    if versions.is_empty() {
        causes.push(Cause::required(shown, "must specify one of v1, v1beta1"));
    } else if !versions.iter().any(|version| matches!(version.as_str(), Some("v1" | "v1beta1"))) {
        causes.push(Cause::invalid(shown, &versions.to_vec().into(), "must include at least one of v1, v1beta1"));
    }
    if let Some(seconds) = view::int(hook, &["timeoutSeconds"]).filter(|seconds| !(1..=30).contains(seconds)) {
        let why = "the timeout value must be between 1 and 30 seconds";
        causes.push(Cause::invalid(format!("{field}.timeoutSeconds"), &seconds.into(), why));
    }
    for name in ["namespaceSelector", "objectSelector"] {
        selector(hook.get(name), &format!("{field}.{name}"), causes);
    }
    called(hook.get("clientConfig").unwrap_or(&Value::Null), &format!("{field}.clientConfig"), causes);
}

fn hook_rule(rule: &Value, field: &str, causes: &mut Vec<Cause>) {
    let operations = view::list(rule, &["operations"]);
    if operations.is_empty() {
        causes.push(Cause::required(format!("{field}.operations"), ""));
    } else if operations.len() > 1 && operations.iter().any(|one| one == "*") {
        let why = "if '*' is present, must not specify other operations";
        causes.push(Cause::invalid(format!("{field}.operations"), &operations.to_vec().into(), why));
    }
    for (at, operation) in operations.iter().enumerate() {
        one_of(operation.as_str().unwrap_or_default(), &format!("{field}.operations[{at}]"), &OPERATIONS, causes);
    }
    for (list, what) in [("apiGroups", "API groups"), ("apiVersions", "API versions")] {
        let given = view::list(rule, &[list]);
        let shown = format!("{field}.{list}");
        if given.is_empty() {
            causes.push(Cause::required(shown, ""));
        } else if given.len() > 1 && given.iter().any(|one| one == "*") {
            let why = format!("if '*' is present, must not specify other {what}");
            causes.push(Cause::invalid(shown, &given.to_vec().into(), &why));
        }
    }
    let resources = view::list(rule, &["resources"]);
    let shown = format!("{field}.resources");
    if resources.is_empty() {
        causes.push(Cause::required(shown, ""));
    } else if resources.len() > 1 && resources.iter().any(|one| one == "*/*") {
        let why = "if '*/*' is present, must not specify other resources";
        causes.push(Cause::invalid(shown, &resources.to_vec().into(), why));
    }
    one_of_if_any(rule, &["scope"], &format!("{field}.scope"), &["*", "Cluster", "Namespaced"], causes);
}

fn called(client: &Value, field: &str, causes: &mut Vec<Cause>) {
    match (client.get("url").and_then(Value::as_str), client.get("service")) {
        (Some(url), None) => {
            let form = "desired format: https://host[/path]";
            let scheme = url.split_once("://").map_or("", |(scheme, _)| scheme);
            if scheme != "https" {
                let why = format!("'https' is the only allowed URL scheme; {form}");
                causes.push(Cause::invalid(format!("{field}.url"), &scheme.into(), &why));
            }
        }
        (None, Some(to)) => {
            for part in ["name", "namespace"] {
                required(view::text(to, &[part]), &format!("{field}.service.{part}"), "", causes);
            }
            port_number(view::count(to, &["port"]), &format!("{field}.service.port"), causes);
        }
        _ => causes.push(Cause::required(field, "exactly one of url or service is required")),
    }
}
