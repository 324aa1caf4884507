//! The rights of printed roles.

pub(crate) use lockgate::run::rights::{Asked, Right, left_over};

/// Every single right of a stream of roles.
///
/// # Errors
/// When a document is no YAML.
pub(crate) fn rights(yaml: &str) -> Result<Vec<Right>, String> {
    let mut found = Vec::new();
    for document in yaml.split("---\n").filter(|document| document.contains("rules:")) {
        let role = lockgate_sim::document("application/yaml", document.as_bytes(), "", "")?;
        let text = |value: &lockgate_sim::json::Value| value.as_str().unwrap_or_default().to_owned();
        let list = |rule: &lockgate_sim::json::Value, field: &str| -> Vec<String> {
            rule.get(field).and_then(|items| items.as_array()).into_iter().flatten().map(text).collect()
        };
        let namespace = role["metadata"]["namespace"].as_str().filter(|_| role["kind"] == "Role").map(str::to_owned);
        for rule in role["rules"].as_array().into_iter().flatten() {
            let mut names: Vec<Option<String>> = list(rule, "resourceNames").into_iter().map(Some).collect();
            if names.is_empty() {
                names.push(None);
            }
            for group in list(rule, "apiGroups") {
                for resource in list(rule, "resources") {
                    for verb in list(rule, "verbs") {
                        let (group, resource) = (group.clone(), resource.clone());
                        let one = Right { namespace: namespace.clone(), group, resource, verb, name: None };
                        found.extend(names.iter().map(|name| Right { name: name.clone(), ..one.clone() }));
                    }
                }
            }
        }
    }
    Ok(found)
}
