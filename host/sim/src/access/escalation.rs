//! Nobody can grant what he does not have: checks on roles and bindings that are written.

use std::collections::{BTreeMap, BTreeSet};

use crate::json::{Value, json};

use super::rules::{Granted, covers, granted, parts, rules_of};
use super::{Attributes, MASTERS, decide, texts};
use crate::api::Call;
use crate::request::User;
use crate::status::Status;
use crate::store::Store;
use crate::view;

const GROUP: &str = "rbac.authorization.k8s.io";

/// Refuses a role or a binding that grants more than its writer has, unless a rule allows to `escalate` or to `bind`.
///
/// # Errors
/// 403 with what is missing; 404 for a binding to a role that is not there.
pub(crate) fn check(store: &Store, user: Option<&User>, call: &Call, before: Option<&Value>, after: &Value) -> Result<(), Status> {
    let Some(user) = user.filter(|user| call.kind.group == GROUP && !user.groups.iter().any(|group| group == MASTERS)) else {
        return Ok(());
    };
    let namespace = call.namespace.as_deref().unwrap_or_default();
    let may = |verb: &str, resource: &str, name: &str| {
        let wanted = Attributes {
            verb: verb.to_owned(),
            group: GROUP.to_owned(),
            resource: resource.to_owned(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            ..Attributes::default()
        };
        decide(store, user, &wanted).allowed
    };
    let name = view::name(after);
    if matches!(call.kind.kind, "Role" | "ClusterRole") {
        if may("escalate", call.kind.plural, &call.name) {
            return Ok(());
        }
        let gathers = |role: &Value| role.get("aggregationRule").is_some();
        if (gathers(after) || before.is_some_and(gathers)) && !missing(store, user, "", &everything()).is_empty() {
            let why = "must have cluster-admin privileges to use the aggregationRule";
            return Err(Status::forbidden(call.kind, name, why));
        }
        return confirm(store, user, call, name, view::list(after, &["rules"]));
    }
    let (kind, role) = (view::text(after, &["roleRef", "kind"]), view::text(after, &["roleRef", "name"]));
    let resource = if kind == "Role" { "roles" } else { "clusterroles" };
    if may("bind", resource, role) {
        return Ok(());
    }
    // The server names the binding's resource here, and the role.
    let rules = rules_of(store, kind, role, namespace).ok_or_else(|| Status::not_found(call.kind, role))?;
    confirm(store, user, call, name, &rules)
}

/// The rules of somebody who may do everything.
fn everything() -> Vec<Value> {
    vec![json!({"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}), json!({"nonResourceURLs": ["*"], "verbs": ["*"]})]
}

fn confirm(store: &Store, user: &User, call: &Call, name: &str, rules: &[Value]) -> Result<(), Status> {
    let namespace = call.namespace.as_deref().unwrap_or_default();
    let missing = missing(store, user, namespace, rules);
    if missing.is_empty() {
        return Ok(());
    }
    let lines: BTreeSet<String> = compact(missing).iter().map(shown).collect();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let why = format!(
        "user {:?} (groups={}) is attempting to grant RBAC permissions not currently held:\n{}",
        user.name,
        quoted(user.groups.iter().map(String::as_str)),
        lines.join("\n")
    );
    Err(Status::forbidden(call.kind, name, &why))
}

/// The smallest parts of the rules that the user does not have.
fn missing(store: &Store, user: &User, namespace: &str, rules: &[Value]) -> Vec<Value> {
    let own: Vec<Value> = granted(store, user, namespace)
        .into_iter()
        .filter_map(|granted| match granted {
            Granted::Rule { rule, .. } => Some(rule),
            Granted::Missing(_) => None,
        })
        .collect();
    rules.iter().flat_map(parts).filter(|part| !own.iter().any(|rule| covers(rule, part))).collect()
}

/// Parts about one resource become one rule with all verbs.
fn compact(parts: Vec<Value>) -> Vec<Value> {
    let mut places: BTreeMap<String, usize> = BTreeMap::new();
    let mut rules: Vec<Value> = Vec::new();
    for part in parts {
        if part.get("nonResourceURLs").is_some() {
            rules.push(part);
            continue;
        }
        let about = ["apiGroups", "resources", "resourceNames"].map(|field| part.get(field).cloned().unwrap_or_default().to_string());
        match places.get(&about.concat()) {
            Some(at) => {
                let verb = part["verbs"][0].clone();
                if let Some(verbs) = view::list_mut(&mut rules[*at], &["verbs"]) {
                    verbs.push(verb);
                }
            }
            None => {
                places.insert(about.concat(), rules.len());
                rules.push(part);
            }
        }
    }
    rules
}

fn shown(rule: &Value) -> String {
    let fields = [
        ("apiGroups", "APIGroups"),
        ("resources", "Resources"),
        ("nonResourceURLs", "NonResourceURLs"),
        ("resourceNames", "ResourceNames"),
        ("verbs", "Verbs"),
    ];
    let given = fields.iter().filter(|(field, _)| rule.get(*field).is_some());
    let given: Vec<String> = given.map(|(field, name)| format!("{name}:{}", quoted(texts(rule, field)))).collect();
    format!("{{{}}}", given.join(", "))
}

/// A list of texts as Go prints it.
fn quoted<'a>(texts: impl Iterator<Item = &'a str>) -> String {
    let texts: Vec<String> = texts.map(|text| format!("{text:?}")).collect();
    format!("[{}]", texts.join(" "))
}
