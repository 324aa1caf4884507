//! Checks of where pods want to be: affinity to nodes and pods, spreading over domains.

use crate::json::Value;

use super::common;
use crate::status::Cause;
use crate::view;

const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";
const WEIGHT_TEXT: &str = "must be in the range 1-100";
const OPERATOR_TEXT: &str = "not a valid selector operator";

/// Affinity of all kinds; `field` is that of the spec.
pub(super) fn check(spec: &Value, field: &str, labels: Option<&Value>, causes: &mut Vec<Cause>) {
    let part = |name: &str| view::at(spec, &["affinity", name]).filter(|part| !part.is_null());
    if let Some(nodes) = part("nodeAffinity") {
        of_nodes(nodes, &format!("{field}.affinity.nodeAffinity"), causes);
    }
    for name in ["podAffinity", "podAntiAffinity"] {
        let Some(pods) = part(name) else { continue };
        let field = format!("{field}.affinity.{name}");
        for (at, term) in view::list(pods, &[REQUIRED]).iter().enumerate() {
            of_pods(term, &format!("{field}.{REQUIRED}[{at}]"), labels, causes);
        }
        for (at, weighted) in view::list(pods, &[PREFERRED]).iter().enumerate() {
            let field = format!("{field}.{PREFERRED}[{at}]");
            weight(weighted, &field, causes);
            of_pods(weighted.get("podAffinityTerm").unwrap_or(&Value::Null), &format!("{field}.podAffinityTerm"), labels, causes);
        }
    }
}

fn of_nodes(nodes: &Value, field: &str, causes: &mut Vec<Cause>) {
    if let Some(selector) = nodes.get(REQUIRED).filter(|selector| !selector.is_null()) {
        let field = format!("{field}.{REQUIRED}.nodeSelectorTerms");
        let terms = view::list(selector, &["nodeSelectorTerms"]);
        if terms.is_empty() {
            causes.push(Cause::required(field.as_str(), "must have at least one node selector term"));
        }
        for (at, term) in terms.iter().enumerate() {
            node_term(term, &format!("{field}[{at}]"), true, causes);
        }
    }
    for (at, weighted) in view::list(nodes, &[PREFERRED]).iter().enumerate() {
        let field = format!("{field}.{PREFERRED}[{at}]");
        weight(weighted, &field, causes);
        // What nobody must match may ask for values that no label has.
        node_term(weighted.get("preference").unwrap_or(&Value::Null), &format!("{field}.preference"), false, causes);
    }
}

fn weight(weighted: &Value, field: &str, causes: &mut Vec<Cause>) {
    let number = view::count(weighted, &["weight"]);
    if !(1..=100).contains(&number) {
        causes.push(Cause::invalid(format!("{field}.weight"), &number.into(), WEIGHT_TEXT));
    }
}

fn node_term(term: &Value, field: &str, values_of_labels: bool, causes: &mut Vec<Cause>) {
    for (at, wanted) in view::list(term, &["matchExpressions"]).iter().enumerate() {
        let field = format!("{field}.matchExpressions[{at}]");
        let (operator, values) = (view::text(wanted, &["operator"]), view::list(wanted, &["values"]));
        let place = format!("{field}.values");
        match operator {
            "In" | "NotIn" if values.is_empty() => {
                causes.push(Cause::required(place.as_str(), "must be specified when `operator` is 'In' or 'NotIn'"));
            }
            "Exists" | "DoesNotExist" if !values.is_empty() => {
                causes.push(Cause::forbidden(place.as_str(), "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"));
            }
            "Gt" | "Lt" if values.len() != 1 => {
                causes.push(Cause::required(place.as_str(), "must be specified single value when `operator` is 'Lt' or 'Gt'"));
            }
            "In" | "NotIn" | "Exists" | "DoesNotExist" | "Gt" | "Lt" => {}
            other => causes.push(Cause::invalid(format!("{field}.operator"), &other.into(), OPERATOR_TEXT)),
        }
        common::qualified(view::text(wanted, &["key"]), &format!("{field}.key"), causes);
        for (at, value) in values.iter().enumerate().filter(|_| values_of_labels) {
            common::label_value(value.as_str().unwrap_or_default(), &format!("{place}[{at}]"), causes);
        }
    }
    for (at, wanted) in view::list(term, &["matchFields"]).iter().enumerate() {
        node_field(wanted, &format!("{field}.matchFields[{at}]"), causes);
    }
}

/// Of the fields of a node only its name can be asked for, and one name at a time.
fn node_field(wanted: &Value, field: &str, causes: &mut Vec<Cause>) {
    let (key, operator, values) = (view::text(wanted, &["key"]), view::text(wanted, &["operator"]), view::list(wanted, &["values"]));
    match operator {
        "In" | "NotIn" if values.len() == 1 => {}
        "In" | "NotIn" => {
            let why = "must be only one value when `operator` is 'In' or 'NotIn' for node field selector";
            causes.push(Cause::required(format!("{field}.values"), why));
        }
        other => causes.push(Cause::invalid(format!("{field}.operator"), &other.into(), OPERATOR_TEXT)),
    }
    if key != "metadata.name" {
        causes.push(Cause::invalid(format!("{field}.key"), &key.into(), "not a valid field selector key"));
        return;
    }
    for (at, value) in values.iter().enumerate() {
        common::subdomain(value.as_str().unwrap_or_default(), &format!("{field}.values[{at}]"), causes);
    }
}

fn of_pods(term: &Value, field: &str, labels: Option<&Value>, causes: &mut Vec<Cause>) {
    for name in ["labelSelector", "namespaceSelector"] {
        common::selector(term.get(name), &format!("{field}.{name}"), causes);
    }
    for name in view::list(term, &["namespaces"]).iter().filter_map(Value::as_str) {
        common::label(name, &format!("{field}.namespace"), causes);
    }
    label_keys(term, field, labels, causes);
    let key = view::text(term, &["topologyKey"]);
    common::required(key, &format!("{field}.topologyKey"), "can not be empty", causes);
    common::qualified(key, &format!("{field}.topologyKey"), causes);
}

/// Keys whose values of the pod itself are asked for, or must differ.
fn label_keys(term: &Value, field: &str, own: Option<&Value>, causes: &mut Vec<Cause>) {
    let selector = term.get("labelSelector").filter(|selector| !selector.is_null());
    let list = |name: &str| view::list(term, &[name]).iter().filter_map(Value::as_str).collect::<Vec<_>>();
    let (wanted, unwanted) = (list("matchLabelKeys"), list("mismatchLabelKeys"));
    for (name, keys) in [("matchLabelKeys", &wanted), ("mismatchLabelKeys", &unwanted)] {
        let field = format!("{field}.{name}");
        if !keys.is_empty() && selector.is_none() {
            causes.push(Cause::forbidden(field, "must not be specified when labelSelector is not set"));
            continue;
        }
        for (at, key) in keys.iter().enumerate() {
            common::qualified(key, &format!("{field}[{at}]"), causes);
        }
    }
    // The server has added the values of a pod by then, so that a key that was there is there twice.
    if let Some(selector) = selector {
        let has = |of: Option<&Value>, key: &str| of.and_then(|of| of.get(key)).is_some();
        let twice = |key: &str| {
            let expressions = view::list(selector, &["matchExpressions"]).iter().filter(|one| view::text(one, &["key"]) == key).count();
            expressions + usize::from(has(selector.get("matchLabels"), key)) + usize::from(has(own, key)) > 1
        };
        for (at, key) in wanted.iter().enumerate().filter(|(_, key)| twice(key)) {
            causes.push(Cause::invalid(format!("{field}[{at}]"), &(*key).into(), "exists in both matchLabelKeys and labelSelector"));
        }
    }
    for (at, key) in wanted.iter().enumerate().filter(|(_, key)| unwanted.contains(key)) {
        let why = "exists in both matchLabelKeys and mismatchLabelKeys";
        causes.push(Cause::invalid(format!("{field}.matchLabelKeys[{at}]"), &(*key).into(), why));
    }
}

/// Constraints on how pods spread over domains.
pub(super) fn spread(spec: &Value, field: &str, labels: Option<&Value>, causes: &mut Vec<Cause>) {
    let all = view::list(spec, &["topologySpreadConstraints"]);
    for (at, one) in all.iter().enumerate() {
        let field = format!("{field}.topologySpreadConstraints[{at}]");
        let text = |of: &'_ Value, name: &str| view::text(of, &[name]).to_owned();
        let skew = view::count(one, &["maxSkew"]);
        if skew <= 0 {
            causes.push(Cause::invalid(format!("{field}.maxSkew"), &skew.into(), "must be greater than zero"));
        }
        let (key, action) = (text(one, "topologyKey"), text(one, "whenUnsatisfiable"));
        common::required(&key, &format!("{field}.topologyKey"), "can not be empty", causes);
        common::one_of(&action, &format!("{field}.whenUnsatisfiable"), &["DoNotSchedule", "ScheduleAnyway"], causes);
        if all.iter().skip(at + 1).any(|other| text(other, "topologyKey") == key && text(other, "whenUnsatisfiable") == action) {
            let field = format!("{field}.{{topologyKey, whenUnsatisfiable}}");
            causes.push(Cause::duplicate(field, &format!("{{{key}, {action}}}").into()));
        }
        if let Some(domains) = view::int(one, &["minDomains"]) {
            let field = format!("{field}.minDomains");
            if domains <= 0 {
                causes.push(Cause::invalid(field.as_str(), &domains.into(), "must be greater than zero"));
            }
            if action != "DoNotSchedule" {
                let why = format!("can only use minDomains if whenUnsatisfiable=DoNotSchedule, not {action}");
                causes.push(Cause::invalid(field, &domains.into(), &why));
            }
        }
        for name in ["nodeAffinityPolicy", "nodeTaintsPolicy"] {
            common::one_of_if_any(one, &[name], &format!("{field}.{name}"), &["Honor", "Ignore"], causes);
        }
        label_keys(one, &field, labels, causes);
        common::selector(one.get("labelSelector"), &format!("{field}.labelSelector"), causes);
    }
}
