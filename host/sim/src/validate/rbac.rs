//! Roles and bindings.

use crate::json::{Value, json};

use super::common::{one_of, required, segment_text, selector, subdomain};
use crate::status::Cause;
use crate::view;

const GROUP: &str = "rbac.authorization.k8s.io";

/// The rules of a role, and of a ClusterRole also what it gathers.
pub(super) fn role(object: &Value, namespaced: bool, causes: &mut Vec<Cause>) {
    for (at, one) in view::list(object, &["rules"]).iter().enumerate() {
        rule(one, &format!("rules[{at}]"), namespaced, causes);
    }
    let Some(aggregation) = object.get("aggregationRule").filter(|_| !namespaced) else { return };
    let field = "aggregationRule.clusterRoleSelectors";
    let selectors = view::list(aggregation, &["clusterRoleSelectors"]);
    if selectors.is_empty() {
        causes.push(Cause::required(field, "at least one clusterRoleSelector required if aggregationRule is non-nil"));
    }
    for (at, one) in selectors.iter().enumerate() {
        let before = causes.len();
        selector(Some(one), &format!("{field}[{at}]"), causes);
        if causes.len() > before {
            causes.push(Cause::invalid(format!("{field}[{at}]"), &Value::Null, "invalid label selector."));
        }
    }
}

fn rule(rule: &Value, field: &str, namespaced: bool, causes: &mut Vec<Cause>) {
    let empty = |name: &str| view::list(rule, &[name]).is_empty();
    if empty("verbs") {
        causes.push(Cause::required(format!("{field}.verbs"), "verbs must contain at least one value"));
    }
    if !empty("nonResourceURLs") {
        let mut wrong = |why: &str| {
            let urls = rule.get("nonResourceURLs").cloned().unwrap_or_default();
            causes.push(Cause::invalid(format!("{field}.nonResourceURLs"), &urls, why));
        };
        if namespaced {
            wrong("namespaced rules cannot apply to non-resource URLs");
        }
        if !["apiGroups", "resources", "resourceNames"].into_iter().all(empty) {
            wrong("rules cannot apply to both regular resources and non-resource URLs");
        }
        return;
    }
    if empty("apiGroups") {
        causes.push(Cause::required(format!("{field}.apiGroups"), "resource rules must supply at least one api group"));
    }
    if empty("resources") {
        causes.push(Cause::required(format!("{field}.resources"), "resource rules must supply at least one resource"));
    }
}

/// What a binding refers to, and whom it binds.
pub(super) fn binding(object: &Value, namespaced: bool, causes: &mut Vec<Cause>) {
    let role = |name: &str| view::text(object, &["roleRef", name]);
    one_of(role("apiGroup"), "roleRef.apiGroup", &[GROUP], causes);
    let kinds: &[&str] = if namespaced { &["Role", "ClusterRole"] } else { &["ClusterRole"] };
    one_of(role("kind"), "roleRef.kind", kinds, causes);
    if required(role("name"), "roleRef.name", "", causes)
        && let Some(text) = segment_text(role("name"))
    {
        causes.push(Cause::invalid("roleRef.name", &role("name").into(), text));
    }
    for (at, one) in view::list(object, &["subjects"]).iter().enumerate() {
        subject(one, &format!("subjects[{at}]"), namespaced, causes);
    }
}

fn subject(subject: &Value, field: &str, namespaced: bool, causes: &mut Vec<Cause>) {
    let part = |name: &str| view::text(subject, &[name]);
    let named = required(part("name"), &format!("{field}.name"), "", causes);
    match part("kind") {
        "ServiceAccount" => {
            if named {
                subdomain(part("name"), &format!("{field}.name"), causes);
            }
            one_of(part("apiGroup"), &format!("{field}.apiGroup"), &[""], causes);
            if !namespaced {
                required(part("namespace"), &format!("{field}.namespace"), "", causes);
            }
        }
        "User" | "Group" => one_of(part("apiGroup"), &format!("{field}.apiGroup"), &[GROUP], causes),
        kind => one_of(kind, &format!("{field}.kind"), &["ServiceAccount", "User", "Group"], causes),
    }
}

/// A binding is for one role, for ever.
pub(super) fn rebinding(before: &Value, after: &Value, causes: &mut Vec<Cause>) {
    if before.get("roleRef") != after.get("roleRef") {
        let role = |name: &str| view::text(after, &["roleRef", name]);
        // The server shows its own type here.
        let shown = json!({"APIGroup": role("apiGroup"), "Kind": role("kind"), "Name": role("name")});
        causes.push(Cause::invalid("roleRef", &shown, "cannot change roleRef"));
    }
}
