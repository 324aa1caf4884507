//! Rules: who is granted which, and what a rule allows.

use std::sync::Arc;

use crate::json::{Value, json};

use super::{Attributes, bootstrap, texts};
use crate::kinds::{self, Kind};
use crate::request::User;
use crate::store::{Key, Store};
use crate::view;

/// One rule that a user has in a namespace, or a role that a binding names and that is not there.
pub(super) enum Granted {
    Rule {
        rule: Value,
        /// The binding, the role and the subject, as the server names them.
        by: String,
    },
    Missing(String),
}

/// Everything that is granted to a user in a namespace: by cluster-wide bindings first, each kind by name.
pub(super) fn granted(store: &Store, user: &User, namespace: &str) -> Vec<Granted> {
    let mut found = Vec::new();
    for binding in bindings(store, kinds::CLUSTER_ROLE_BINDING, None) {
        collect(store, user, &binding, "", &mut found);
    }
    if !namespace.is_empty() {
        for binding in bindings(store, kinds::ROLE_BINDING, Some(namespace)) {
            collect(store, user, &binding, namespace, &mut found);
        }
    }
    found
}

fn bindings(store: &Store, kind: &'static Kind, namespace: Option<&str>) -> Vec<Arc<Value>> {
    let stored = store.list(kind, namespace).map(|(_, binding)| Arc::clone(binding));
    let first = bootstrap::objects().iter().filter(|object| view::text(object, &["kind"]) == kind.kind && !is_furnished(store));
    first.map(|object| Arc::new(object.clone())).chain(stored).collect()
}

/// Whether the cluster has the roles of a new server, or had them.
fn is_furnished(store: &Store) -> bool {
    store.get(&Key::new(kinds::CLUSTER_ROLE, "", "cluster-admin")).is_some()
}

fn collect(store: &Store, user: &User, binding: &Value, namespace: &str, found: &mut Vec<Granted>) {
    let Some(subject) = view::list(binding, &["subjects"]).iter().find(|subject| is_user(subject, user, namespace)) else { return };
    let (kind, role) = (view::text(binding, &["roleRef", "kind"]), view::text(binding, &["roleRef", "name"]));
    let Some(rules) = rules_of(store, kind, role, namespace) else {
        found.push(Granted::Missing(format!("{}.rbac.authorization.k8s.io {role:?} not found", kind.to_lowercase())));
        return;
    };
    let place = if namespace.is_empty() { view::name(binding).to_owned() } else { format!("{}/{namespace}", view::name(binding)) };
    let of = if namespace.is_empty() { "ClusterRoleBinding" } else { "RoleBinding" };
    let to = match view::text(subject, &["kind"]) {
        "ServiceAccount" => format!("{}/{}", view::text(subject, &["name"]), account_namespace(subject, namespace)),
        _ => view::text(subject, &["name"]).to_owned(),
    };
    let by = format!("{of} {place:?} of {kind} {role:?} to {} {to:?}", view::text(subject, &["kind"]));
    found.extend(rules.into_iter().map(|rule| Granted::Rule { rule, by: by.clone() }));
}

/// The rules of the role that a binding in this namespace refers to; `None` when there is no such role.
pub(super) fn rules_of(store: &Store, kind: &str, name: &str, namespace: &str) -> Option<Vec<Value>> {
    let key = if kind == "Role" { Key::new(kinds::ROLE, namespace, name) } else { Key::new(kinds::CLUSTER_ROLE, "", name) };
    if let Some(role) = store.get(&key) {
        return Some(view::list(role, &["rules"]).to_vec());
    }
    let mut first = bootstrap::objects().iter().filter(|_| kind != "Role" && !is_furnished(store));
    let role = first.find(|object| view::text(object, &["kind"]) == kind && view::name(object) == name)?;
    Some(view::list(role, &["rules"]).to_vec())
}

fn account_namespace<'a>(subject: &'a Value, namespace: &'a str) -> &'a str {
    let own = view::text(subject, &["namespace"]);
    if own.is_empty() { namespace } else { own }
}

fn is_user(subject: &Value, user: &User, namespace: &str) -> bool {
    let name = view::text(subject, &["name"]);
    match view::text(subject, &["kind"]) {
        "User" => user.name == name,
        "Group" => user.groups.iter().any(|group| group == name),
        "ServiceAccount" => user.name == format!("system:serviceaccount:{}:{name}", account_namespace(subject, namespace)),
        _ => false,
    }
}

fn has(rule: &Value, field: &str, wanted: &str) -> bool {
    texts(rule, field).any(|given| given == wanted)
}

/// Whether a rule allows what is wanted.
pub(super) fn allows(rule: &Value, wanted: &Attributes) -> bool {
    let any_or = |field: &str, value: &str| has(rule, field, "*") || has(rule, field, value);
    if !any_or("verbs", &wanted.verb) {
        return false;
    }
    if let Some(path) = &wanted.path {
        return texts(rule, "nonResourceURLs").any(|url| url_covers(url, path));
    }
    any_or("apiGroups", &wanted.group)
        && texts(rule, "resources").any(|given| resource_covers(given, &wanted.resource, &wanted.subresource))
        && (view::list(rule, &["resourceNames"]).is_empty() || has(rule, "resourceNames", &wanted.name))
}

fn url_covers(given: &str, path: &str) -> bool {
    given == "*" || given == path || given.strip_suffix('*').is_some_and(|start| path.starts_with(start.trim_end_matches('*')))
}

fn resource_covers(given: &str, resource: &str, subresource: &str) -> bool {
    if given == "*" {
        return true;
    }
    if subresource.is_empty() {
        return given == resource;
    }
    given.split_once('/').is_some_and(|(of, sub)| sub == subresource && (of == "*" || of == resource))
}

/// A rule in its smallest parts: one group, resource, verb and name each.
pub(super) fn parts(rule: &Value) -> Vec<Value> {
    let mut parts = Vec::new();
    for group in texts(rule, "apiGroups") {
        for resource in texts(rule, "resources") {
            for verb in texts(rule, "verbs") {
                let part = json!({"apiGroups": [group], "resources": [resource], "verbs": [verb]});
                let names: Vec<&str> = texts(rule, "resourceNames").collect();
                if names.is_empty() {
                    parts.push(part.clone());
                }
                for name in names {
                    let mut named = part.clone();
                    view::set(&mut named, &["resourceNames"], json!([name]));
                    parts.push(named);
                }
            }
        }
    }
    for url in texts(rule, "nonResourceURLs") {
        parts.extend(texts(rule, "verbs").map(|verb| json!({"nonResourceURLs": [url], "verbs": [verb]})));
    }
    parts
}

/// Whether a rule covers the smallest part of another.
pub(super) fn covers(rule: &Value, part: &Value) -> bool {
    let every = |field: &str, covered: &dyn Fn(&str) -> bool| texts(part, field).all(covered);
    let any_or = |field: &'static str| move |value: &str| has(rule, field, "*") || has(rule, field, value);
    let resource = |wanted: &str| {
        let (resource, sub) = wanted.split_once('/').unwrap_or((wanted, ""));
        has(rule, "resources", wanted) || texts(rule, "resources").any(|given| resource_covers(given, resource, sub))
    };
    let url = |path: &str| texts(rule, "nonResourceURLs").any(|given| url_covers(given, path));
    let unnamed = view::list(rule, &["resourceNames"]).is_empty();
    let named = !view::list(part, &["resourceNames"]).is_empty();
    every("verbs", &any_or("verbs"))
        && every("apiGroups", &any_or("apiGroups"))
        && every("resources", &resource)
        && every("nonResourceURLs", &url)
        && (unnamed || (named && every("resourceNames", &|name| has(rule, "resourceNames", name))))
}

/// The rules that an aggregated ClusterRole gathers from all others; `None` when it gathers none.
pub(crate) fn aggregated(role: &Value, all: &[&Value]) -> Option<Value> {
    let mut rules: Vec<Value> = Vec::new();
    for selector in view::list(role.get("aggregationRule")?, &["clusterRoleSelectors"]) {
        let selected = all.iter().filter(|other| view::selects(Some(selector), view::labels(other)));
        let mut gathered: Vec<&&Value> = selected.filter(|other| view::name(other) != view::name(role)).collect();
        gathered.sort_by_key(|other| view::name(other));
        for rule in gathered.into_iter().flat_map(|other| view::list(other, &["rules"])) {
            if !rules.contains(rule) {
                rules.push(rule.clone());
            }
        }
    }
    Some(if rules.is_empty() { Value::Null } else { rules.into() })
}
