//! Checks of StatefulSets.

use crate::json::{Value, json};
use crate::status::Cause;
use crate::view;

use super::{LABEL_TEXT, counts, is_dns_label, selector};

/// Claims for volumes are no kind of this simulator: what a new set asks for that is not modelled.
pub(super) fn not_modelled(object: &Value) -> Option<String> {
    let claims = view::list(object, &["spec", "volumeClaimTemplates"]);
    (!claims.is_empty()).then(|| "volumeClaimTemplates of a StatefulSet".to_owned())
}

/// The name of the service is looked at only when a set is created.
pub(super) fn service_name(object: &Value, causes: &mut Vec<Cause>) {
    let service = view::text(object, &["spec", "serviceName"]);
    if !service.is_empty() && !is_dns_label(service) {
        causes.push(Cause::invalid("spec.serviceName", &service.into(), LABEL_TEXT));
    }
}

/// Checks everything behind the metadata.
pub(super) fn content(object: &Value, causes: &mut Vec<Cause>) {
    let policy = view::text(object, &["spec", "podManagementPolicy"]);
    if !matches!(policy, "OrderedReady" | "Parallel") {
        causes.push(Cause::invalid("spec.podManagementPolicy", &policy.into(), "must be 'OrderedReady' or 'Parallel'"));
    }
    strategy(object, causes);
    for field in ["whenDeleted", "whenScaled"] {
        let given = view::text(object, &["spec", "persistentVolumeClaimRetentionPolicy", field]);
        if !matches!(given, "Retain" | "Delete") {
            let field = format!("spec.persistentVolumeClaimRetentionPolicy.{field}");
            causes.push(Cause::not_supported(field, &given.into(), &["Retain", "Delete"]));
        }
    }
    counts(object, &["replicas", "minReadySeconds"], causes);
    if let Some(start) = view::int(object, &["spec", "ordinals", "start"]).filter(|start| *start < 0) {
        causes.push(Cause::invalid("spec.ordinals.start", &start.into(), super::NOT_NEGATIVE));
    }
    selector(object, "statefulset", causes);
    // The server looks at the metadata of the template twice.
    super::template_metadata(object, causes);
    super::pod_template(object, causes);
    let restart = view::text(object, &["spec", "template", "spec", "restartPolicy"]);
    if restart != "Always" {
        causes.push(Cause::not_supported("spec.template.spec.restartPolicy", &restart.into(), &["Always"]));
    }
    if view::at(object, &["spec", "template", "spec", "activeDeadlineSeconds"]).is_some() {
        let why = "activeDeadlineSeconds in StatefulSet is not Supported";
        causes.push(Cause::forbidden("spec.template.spec.activeDeadlineSeconds", why));
    }
}

fn strategy(object: &Value, causes: &mut Vec<Cause>) {
    let rolling = view::at(object, &["spec", "updateStrategy", "rollingUpdate"]);
    let partition = || view::count(object, &["spec", "updateStrategy", "rollingUpdate", "partition"]);
    match view::text(object, &["spec", "updateStrategy", "type"]) {
        "RollingUpdate" if partition() < 0 => {
            causes.push(Cause::invalid("spec.updateStrategy.rollingUpdate.partition", &partition().into(), super::NOT_NEGATIVE));
        }
        "RollingUpdate" => {}
        "OnDelete" => {
            if rolling.is_some() {
                // The server shows its own type here.
                let shown = json!({"Partition": partition(), "MaxUnavailable": null});
                shown_as(
                    causes,
                    "spec.updateStrategy.rollingUpdate",
                    &shown,
                    &["Partition", "MaxUnavailable"],
                    "only allowed for \
                    updateStrategy 'RollingUpdate'",
                );
            }
        }
        other => {
            let shown = json!({"Type": other, "RollingUpdate": null});
            shown_as(causes, "spec.updateStrategy", &shown, &["Type", "RollingUpdate"], "must be 'RollingUpdate' or 'OnDelete'");
        }
    }
}

/// An invalid value whose members stand in the order of the server's type.
fn shown_as(causes: &mut Vec<Cause>, field: &str, value: &Value, order: &[&str], why: &str) {
    let members: Vec<String> = order.iter().map(|name| format!("{name:?}:{}", value[*name])).collect();
    let message = format!("Invalid value: {{{}}}: {why}", members.join(","));
    causes.push(Cause { reason: "FieldValueInvalid", field: field.to_owned(), message });
}

/// Whether anything but the few changeable fields of the spec differs.
pub(super) fn update(before: &Value, after: &Value, causes: &mut Vec<Cause>) {
    const FREE: [&str; 7] = [
        "replicas",
        "template",
        "updateStrategy",
        "minReadySeconds",
        "ordinals",
        "revisionHistoryLimit",
        "persistentVolumeClaimRetentionPolicy",
    ];
    let fixed = |object: &Value| {
        let mut spec = view::at(object, &["spec"]).cloned().unwrap_or_default();
        if let Some(fields) = spec.as_object_mut() {
            fields.retain(|name, _| !FREE.contains(&name.as_str()));
        }
        spec
    };
    if fixed(before) != fixed(after) {
        let why = "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', \
            'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden";
        causes.push(Cause::forbidden("spec", why));
    }
}
