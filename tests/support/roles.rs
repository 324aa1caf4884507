//! The rights of printed roles, compared with requests.

/// A single right: kind of role, namespace, group, resource, verb, name (empty: any).
pub(crate) type Right = [String; 6];

/// One request as an authorizer sees it; some are asked about twice.
#[derive(Clone, Debug, Default)]
pub(crate) struct Asked {
    pub(crate) verbs: Vec<String>,
    pub(crate) group: String,
    /// With its part: `pods/eviction`.
    pub(crate) resource: String,
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) status: u64,
}

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
        for rule in role["rules"].as_array().into_iter().flatten() {
            let mut names = list(rule, "resourceNames");
            if names.is_empty() {
                names.push(String::new());
            }
            for group in list(rule, "apiGroups") {
                for resource in list(rule, "resources") {
                    for verb in list(rule, "verbs") {
                        let right = |name: &String| {
                            let place = text(&role["metadata"]["namespace"]);
                            [text(&role["kind"]), place, group.clone(), resource.clone(), verb.clone(), name.clone()]
                        };
                        found.extend(names.iter().map(right));
                    }
                }
            }
        }
    }
    Ok(found)
}

/// Whether it writes an object whole or in part.
fn writes(request: &Asked) -> bool {
    request.verbs.iter().any(|verb| matches!(verb.as_str(), "create" | "update" | "patch"))
}

impl Asked {
    /// The same with what the server asks beside where a role is written. Which role a binding gives stands in no request line.
    pub(crate) fn with_escalation(mut self) -> Asked {
        if matches!(self.resource.as_str(), "roles" | "clusterroles") && writes(&self) {
            self.verbs.push("escalate".to_owned());
        }
        self
    }
}

/// Rights without which every request would have been allowed all the same. Whoever waits lists first, and watches when it is not there
/// yet: whether that was so is a matter of time, so that a watch is left over only where nothing was listed.
pub(crate) fn left_over(rights: &[Right], requests: &[Asked]) -> Vec<Right> {
    let grants = |right: &Right, request: &Asked, verb: &str| {
        let [kind, namespace, group, resource, of, name] = right;
        (kind == "ClusterRole" || *namespace == request.namespace)
            && (group, resource, of.as_str()) == (&request.group, &request.resource, verb)
            && (name.is_empty() || *name == request.name)
    };
    let needed = |at: usize| {
        requests.iter().any(|request| {
            request.verbs.iter().any(|verb| {
                let by: Vec<usize> = (0..rights.len()).filter(|place| grants(&rights[*place], request, verb)).collect();
                by == [at]
            })
        })
    };
    let listed = |right: &Right| {
        let asked = |request: &Asked| request.verbs.iter().any(|verb| grants(right, request, verb) || verb == "list");
        requests.iter().any(|request| request.resource == right[3] && request.group == right[2] && asked(request))
    };
    let binds =
        |right: &Right| right[4] == "bind" && requests.iter().any(|request| request.resource.ends_with("rolebindings") && writes(request));
    let is_needed = |at: usize| needed(at) || binds(&rights[at]) || rights[at][4] == "watch" && listed(&rights[at]);
    let over = (0..rights.len()).filter(|at| !is_needed(*at));
    over.map(|at| rights[at].clone()).collect()
}
