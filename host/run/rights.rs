//! Roles held against what was asked of the server: what was refused, and what nothing needed.

use std::fmt;

use super::rbac::{Roles, Rule};

/// A single right.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Right {
    /// Where it holds; in the whole cluster when there is none.
    pub namespace: Option<String>,
    /// The group.
    pub group: String,
    /// The resource, with its part: `pods/eviction`.
    pub resource: String,
    /// What may be done.
    pub verb: String,
    /// To which object; to all when there is none.
    pub name: Option<String>,
}

/// One request as an authorizer sees it; some are asked about twice.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// What it does.
    pub verbs: Vec<String>,
    /// The group.
    pub group: String,
    /// The resource, with its part.
    pub resource: String,
    /// The namespace; empty where there is none.
    pub namespace: String,
    /// The name; empty where there is none.
    pub name: String,
    /// The HTTP status of the answer.
    pub status: u64,
}

impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let dot = if self.group.is_empty() { "" } else { "." };
        write!(f, "{} {}{dot}{}", self.verb, self.resource, self.group)?;
        if let Some(name) = &self.name {
            write!(f, " `{name}`")?;
        }
        self.namespace.as_ref().map_or(Ok(()), |namespace| write!(f, " in {namespace}"))
    }
}

impl Roles {
    /// Every single right.
    #[must_use]
    pub fn rights(&self) -> Vec<Right> {
        let cluster = self.cluster.iter().flat_map(|rule| rule.rights(None));
        let namespaces = self.namespaces.iter().flat_map(|(name, rules)| rules.iter().flat_map(|rule| rule.rights(Some(name))));
        cluster.chain(namespaces).collect()
    }
}

impl Rule {
    fn rights(&self, namespace: Option<&str>) -> Vec<Right> {
        let mut found = Vec::new();
        for (group, resource, verb) in self
            .api_groups
            .iter()
            .flat_map(|group| self.resources.iter().flat_map(move |resource| self.verbs.iter().map(move |verb| (group, resource, verb))))
        {
            let right = |name: Option<&String>| Right {
                namespace: namespace.map(str::to_owned),
                group: group.clone(),
                resource: resource.clone(),
                verb: verb.clone(),
                name: name.cloned(),
            };
            if self.resource_names.is_empty() {
                found.push(right(None));
            }
            found.extend(self.resource_names.iter().map(|name| right(Some(name))));
        }
        found
    }
}

impl Asked {
    /// The same with what the server asks beside where a role is written. Which role a binding gives stands in no request line.
    #[must_use]
    pub fn with_escalation(mut self) -> Asked {
        if matches!(self.resource.as_str(), "roles" | "clusterroles") && self.writes() {
            self.verbs.push("escalate".to_owned());
        }
        self
    }

    /// Whether it writes an object whole or in part.
    fn writes(&self) -> bool {
        self.verbs.iter().any(|verb| matches!(verb.as_str(), "create" | "update" | "patch"))
    }
}

impl Right {
    /// Whether it allows this of a request.
    fn grants(&self, request: &Asked, verb: &str) -> bool {
        self.namespace.as_ref().is_none_or(|namespace| *namespace == request.namespace)
            && (&self.group, &self.resource, self.verb.as_str()) == (&request.group, &request.resource, verb)
            && self.name.as_ref().is_none_or(|name| *name == request.name)
    }
}

/// Rights without which every request would have been allowed all the same. Whoever waits lists first, and watches when it is not there
/// yet: whether that was so is a matter of time, so that a watch is left over only where nothing was listed.
#[must_use]
pub fn left_over<'a>(rights: &'a [Right], requests: &[Asked]) -> Vec<&'a Right> {
    let is_only = |right: &Right, request: &Asked, verb: &str| {
        right.grants(request, verb) && rights.iter().filter(|other| other.grants(request, verb)).count() == 1
    };
    let is_needed = |right: &Right| requests.iter().any(|request| request.verbs.iter().any(|verb| is_only(right, request, verb)));
    let is_listed = |right: &Right| {
        let same = |request: &&Asked| request.resource == right.resource && request.group == right.group;
        let asked = |request: &Asked| request.verbs.iter().any(|verb| verb == "list" || right.grants(request, verb));
        right.verb == "watch" && requests.iter().filter(same).any(asked)
    };
    let binds = |request: &Asked| request.resource.ends_with("rolebindings") && request.writes();
    let over = |right: &&Right| !(is_needed(right) || is_listed(right) || right.verb == "bind" && requests.iter().any(binds));
    rights.iter().filter(over).collect()
}
