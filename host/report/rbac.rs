//! Roles as YAML that `kubectl apply` takes.

use crate::base::json::{Value as Json, json};
use crate::base::{Error, Result};
use crate::run::rbac::{Roles, Rule};

/// Who gets the roles.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    /// `User`, `Group` or `ServiceAccount`.
    pub kind: &'static str,
    /// The name.
    pub name: String,
    /// The namespace of a service account.
    pub namespace: Option<String>,
}

impl Subject {
    /// Reads `user:NAME`, `group:NAME` or `serviceaccount:NAMESPACE/NAME`.
    ///
    /// # Errors
    /// Input, with the forms that there are.
    pub fn parse(text: &str) -> Result<Subject> {
        let wrong =
            || Error::usage(format!("`{text}` is nobody")).hint("write `user:NAME`, `group:NAME` or `serviceaccount:NAMESPACE/NAME`");
        let (kind, name) = text.split_once(':').ok_or_else(wrong)?;
        if name.is_empty() || name.chars().any(char::is_control) {
            return Err(wrong());
        }
        match kind {
            "user" => Ok(Subject { kind: "User", name: name.to_owned(), namespace: None }),
            "group" => Ok(Subject { kind: "Group", name: name.to_owned(), namespace: None }),
            "serviceaccount" => {
                let (namespace, name) =
                    name.split_once('/').filter(|(namespace, name)| !namespace.is_empty() && !name.is_empty()).ok_or_else(wrong)?;
                Ok(Subject { kind: "ServiceAccount", name: name.to_owned(), namespace: Some(namespace.to_owned()) })
            }
            _ => Err(wrong()),
        }
    }

    fn json(&self) -> Json {
        match &self.namespace {
            Some(namespace) => json!({ "kind": self.kind, "name": self.name, "namespace": namespace }),
            None => json!({ "kind": self.kind, "name": self.name, "apiGroup": "rbac.authorization.k8s.io" }),
        }
    }
}

/// Roles and bindings of this name, as one YAML stream. Without a subject the bindings are comments to be filled in.
#[must_use]
pub fn yaml(roles: &Roles, name: &str, subject: Option<&Subject>, about: &str) -> String {
    let mut out: String = about.lines().map(|line| format!("# {}\n", super::escape::line(line))).collect();
    if !roles.early.is_empty() {
        out.push_str("# Roles live in namespaces: these are made beforehand, and the run finds them.\n");
    }
    for namespace in &roles.early {
        out.push_str(&format!("---\napiVersion: v1\nkind: Namespace\nmetadata: {{ name: {} }}\n", text(namespace)));
    }
    let mut place = |kind: &str, namespace: Option<&str>, rules: &[Rule]| {
        if rules.is_empty() {
            return;
        }
        let metadata = match namespace {
            Some(namespace) => format!("metadata: {{ name: {}, namespace: {} }}\n", text(name), text(namespace)),
            None => format!("metadata: {{ name: {} }}\n", text(name)),
        };
        out.push_str(&format!("---\napiVersion: rbac.authorization.k8s.io/v1\nkind: {kind}\n{metadata}rules:\n"));
        for rule in rules {
            out.push_str(&self::rule(rule));
        }
        out.push_str(&binding(kind, &metadata, name, subject));
    };
    place("ClusterRole", None, &roles.cluster);
    for (namespace, rules) in &roles.namespaces {
        place("Role", Some(namespace), rules);
    }
    out
}

fn rule(rule: &Rule) -> String {
    let grants = |verb: &str| rule.verbs.iter().any(|granted| granted == verb);
    // Both are as much as what the roles grant, and a reader has to know it.
    let why = if grants("escalate") {
        "  # The run writes these roles, whatever they grant:\n"
    } else if grants("bind") {
        "  # The run gives these roles to others:\n"
    } else {
        ""
    };
    let mut out = format!("{why}  - apiGroups: {}\n    resources: {}\n", list(&rule.api_groups), list(&rule.resources));
    if !rule.resource_names.is_empty() {
        out.push_str(&format!("    resourceNames: {}\n", list(&rule.resource_names)));
    }
    out.push_str(&format!("    verbs: {}\n", list(&rule.verbs)));
    out
}

fn binding(kind: &str, metadata: &str, name: &str, subject: Option<&Subject>) -> String {
    let nobody = Subject { kind: "User", name: "SOMEBODY".to_owned(), namespace: None };
    let to = subject.unwrap_or(&nobody).json();
    let role = json!({ "apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": name });
    let lines =
        format!("---\napiVersion: rbac.authorization.k8s.io/v1\nkind: {kind}Binding\n{metadata}roleRef: {role}\nsubjects: [{to}]\n");
    if subject.is_some() { lines } else { lines.lines().map(|line| format!("# {line}\n")).collect() }
}

/// A list in one line; JSON is YAML.
fn list(items: &[String]) -> String {
    format!("[{}]", items.iter().map(|item| text(item)).collect::<Vec<_>>().join(", "))
}

fn text(text: &str) -> String {
    Json::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_is_yaml_of_the_api() {
        let rule = Rule {
            api_groups: vec![String::new()],
            resources: vec!["pods/eviction".to_owned()],
            resource_names: vec!["a".to_owned()],
            verbs: vec!["create".to_owned()],
        };
        let roles = Roles { cluster: vec![rule], ..Roles::default() };
        let subject = Subject::parse("serviceaccount:ops/upgrader").unwrap();
        let text = yaml(&roles, "lockgate-x", Some(&subject), "one\nx\u{1b}");
        assert_eq!(
            text,
            "# one\n# x\\u{1b}\n---\napiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: { name: \"lockgate-x\" }\nrules:\n\
             \x20 - apiGroups: [\"\"]\n    resources: [\"pods/eviction\"]\n    resourceNames: [\"a\"]\n    verbs: [\"create\"]\n\
             ---\napiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRoleBinding\nmetadata: { name: \"lockgate-x\" }\n\
             roleRef: {\"apiGroup\":\"rbac.authorization.k8s.io\",\"kind\":\"ClusterRole\",\"name\":\"lockgate-x\"}\n\
             subjects: [{\"kind\":\"ServiceAccount\",\"name\":\"upgrader\",\"namespace\":\"ops\"}]\n"
        );
        let open = yaml(&roles, "lockgate-x", None, "");
        assert!(open.contains("# kind: ClusterRoleBinding\n") && open.contains("SOMEBODY"));
        assert!(Subject::parse("jane").is_err() && Subject::parse("serviceaccount:x").is_err());
        assert_eq!(Subject::parse("group:system:masters").unwrap().name, "system:masters");
    }
}
