//! HorizontalPodAutoscalers.

use crate::json::Value;

use super::common::{one_of, required};
use crate::status::Cause;
use crate::view;

/// The sources of a metric, each with the field that holds it.
const SOURCES: [(&str, &str); 5] = [
    ("ContainerResource", "containerResource"),
    ("External", "external"),
    ("Object", "object"),
    ("Pods", "pods"),
    ("Resource", "resource"),
];

pub(super) fn autoscaler(object: &Value, causes: &mut Vec<Cause>) {
    let most = view::count(object, &["spec", "maxReplicas"]);
    let least = view::count(object, &["spec", "minReplicas"]);
    if least < 1 {
        causes.push(Cause::invalid("spec.minReplicas", &least.into(), "must be greater than or equal to 1"));
    }
    if most < 1 {
        causes.push(Cause::required("spec.maxReplicas", "must be set and greater than 0"));
    }
    if least > most {
        causes.push(Cause::invalid("spec.maxReplicas", &most.into(), "must be greater than or equal to `minReplicas`"));
    }
    for field in ["kind", "name"] {
        required(view::text(object, &["spec", "scaleTargetRef", field]), &format!("spec.scaleTargetRef.{field}"), "", causes);
    }
    target_version(object, causes);
    let metrics = view::list(object, &["spec", "metrics"]);
    for (at, one) in metrics.iter().enumerate() {
        metric(one, &format!("spec.metrics[{at}]"), causes);
    }
    let from_outside = |metric: &Value| matches!(view::text(metric, &["type"]), "Object" | "External");
    if least == 0 && !metrics.iter().any(from_outside) {
        let why = "must specify at least one Object or External metric to support scaling to zero replicas";
        causes.push(Cause::forbidden("spec.metrics", why));
    }
    for direction in ["scaleUp", "scaleDown"] {
        if let Some(rules) = view::at(object, &["spec", "behavior", direction]) {
            scaling(rules, &format!("spec.behavior.{direction}"), causes);
        }
    }
}

fn target_version(object: &Value, causes: &mut Vec<Cause>) {
    let (version, kind) = (view::text(object, &["spec", "scaleTargetRef", "apiVersion"]), "spec.scaleTargetRef.apiVersion");
    let core = view::text(object, &["spec", "scaleTargetRef", "kind"]) == "ReplicationController";
    if version.matches('/').count() > 1 {
        causes.push(Cause::invalid(kind, &version.into(), &format!("unexpected GroupVersion string: {version}")));
    } else if !version.contains('/') && !core {
        causes.push(Cause::invalid(kind, &version.into(), "apiVersion must specify API group"));
    }
}

fn metric(metric: &Value, field: &str, causes: &mut Vec<Cause>) {
    let kind = view::text(metric, &["type"]);
    let known = SOURCES.map(|(name, _)| name);
    required(kind, &format!("{field}.type"), "must specify a metric source type", causes);
    let Some((_, source)) = SOURCES.iter().find(|(name, _)| *name == kind) else {
        // The server finds the same twice.
        for _ in 0..2 {
            one_of(kind, &format!("{field}.type"), &known, causes);
        }
        return;
    };
    let field = format!("{field}.{source}");
    let Some(given) = metric.get(*source) else {
        causes.push(Cause::required(field, "must populate information for the given metric source"));
        return;
    };
    let target = given.get("target").unwrap_or(&Value::Null);
    let resource = matches!(*source, "resource" | "containerResource");
    if resource {
        required(view::text(given, &["name"]), &format!("{field}.name"), "must specify a resource name", causes);
        if *source == "containerResource" {
            required(view::text(given, &["container"]), &format!("{field}.container"), "must specify a container", causes);
        }
    } else {
        required(view::text(given, &["metric", "name"]), &format!("{field}.metric.name"), "must specify a metric name", causes);
    }
    let field = format!("{field}.target");
    let kinds = ["Utilization", "Value", "AverageValue"];
    if required(view::text(target, &["type"]), &format!("{field}.type"), "must specify a metric target type", causes)
        && !kinds.contains(&view::text(target, &["type"]))
    {
        let why = "must be either Utilization, Value, or AverageValue";
        causes.push(Cause::invalid(format!("{field}.type"), &view::text(target, &["type"]).into(), why));
    }
    let share = view::int(target, &["averageUtilization"]);
    if let Some(share) = share.filter(|share| *share < 1) {
        causes.push(Cause::invalid(format!("{field}.averageUtilization"), &share.into(), "must be greater than 0"));
    }
    if resource && share.is_none() && target.get("averageValue").is_none() {
        let why = "must set either a target raw value or a target utilization";
        causes.push(Cause::required(format!("{field}.averageUtilization"), why));
    }
}

fn scaling(rules: &Value, field: &str, causes: &mut Vec<Cause>) {
    if let Some(window) = view::int(rules, &["stabilizationWindowSeconds"]) {
        let name = format!("{field}.stabilizationWindowSeconds");
        if window < 0 {
            causes.push(Cause::invalid(name, &window.into(), "must be greater than or equal to zero"));
        } else if window > 3_600 {
            causes.push(Cause::invalid(name, &window.into(), "must be less than or equal to 3600"));
        }
    }
    let select = view::text(rules, &["selectPolicy"]);
    if !select.is_empty() {
        one_of(select, &format!("{field}.selectPolicy"), &["Disabled", "Max", "Min"], causes);
    }
    for (at, policy) in view::list(rules, &["policies"]).iter().enumerate() {
        let field = format!("{field}.policies[{at}]");
        one_of(view::text(policy, &["type"]), &format!("{field}.type"), &["Percent", "Pods"], causes);
        for (name, most) in [("value", i64::MAX), ("periodSeconds", 1_800)] {
            let number = view::count(policy, &[name]);
            if number <= 0 {
                causes.push(Cause::invalid(format!("{field}.{name}"), &number.into(), "must be greater than zero"));
            } else if number > most {
                causes.push(Cause::invalid(format!("{field}.{name}"), &number.into(), &format!("must be less than or equal to {most}")));
            }
        }
    }
}
