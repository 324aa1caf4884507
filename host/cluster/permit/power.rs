//! What a grant amounts to: the rights behind harmless words (`reference/safety.md` §4, T2).

use super::grant::{Grant, KindName, MachineGrant};
use super::wanted::Wanted;
use crate::cluster::request::{Act, Verb};

/// Kinds whose pods run on many nodes or anywhere.
const TEMPLATES: [&str; 7] = ["deployments", "daemonsets", "statefulsets", "replicasets", "replicationcontrollers", "jobs", "cronjobs"];

/// What the right to send this amounts to; `None` where it is what it says.
#[must_use]
pub fn of(wanted: &Wanted) -> Option<String> {
    effective(&wanted.act)
}

/// What a whole line amounts to, the strongest first; nothing where it is what it says.
#[must_use]
pub fn of_line(grant: &Grant) -> Vec<String> {
    let mut found = Vec::new();
    for verb in &grant.verbs {
        for kind in &grant.kinds {
            let text = match kind {
                KindName::All => Some("everything that this user may do, root on every node included".to_owned()),
                KindName::One { group, plural, subresource } => effective(&Act {
                    verb: *verb,
                    group: group.clone(),
                    version: "v1".to_owned(),
                    resource: plural.clone(),
                    namespace: None,
                    name: None,
                    subresource: subresource.clone(),
                }),
            };
            found.extend(text.filter(|text| !found.contains(text)));
        }
    }
    found
}

/// What the right to run commands amounts to that begin so: words that are not said may be any.
#[must_use]
pub fn of_command(grant: &MachineGrant) -> String {
    let place = if grant.nodes.is_empty() { "every node".to_owned() } else { grant.nodes.join(", ") };
    match grant.argv.as_slice() {
        [write, path] if write == "write" => format!("root on {place}: whatever reads `{path}` does as it says"),
        words => format!("root on {place}: `{}`, with whatever follows these words", words.join(" ")),
    }
}

/// What the right to install charts amounts to.
pub const OF_CHARTS: &str = "helm's records of every release; what a chart holds needs grants of its own";

fn effective(act: &Act) -> Option<String> {
    let writes = matches!(act.verb, Verb::Create | Verb::Update | Verb::Patch);
    let text = match (act.group.as_str(), act.resource.as_str(), act.subresource.as_deref()) {
        ("", "pods", Some("exec" | "attach" | "portforward" | "ephemeralcontainers")) => {
            "everything that the pod may do: its files, its network, its account"
        }
        ("", "nodes", Some(part)) if part.starts_with("proxy") => "root on the node: its kubelet runs commands in every pod",
        ("", "pods" | "services", Some(part)) if part.starts_with("proxy") => {
            "everything that listens there, as if from inside the cluster"
        }
        ("", "serviceaccounts", Some("token")) => "everything that the account may do",
        ("apps", "daemonsets", None) if writes => "root on every node that it runs on, when its pods are privileged",
        (_, resource, None) if writes && TEMPLATES.contains(&resource) => {
            "any image on any node, with every account and Secret of the namespace; root on the node where privileged pods are allowed"
        }
        ("", "pods", None) if writes => "any image, with every account and Secret of the namespace",
        ("", "secrets", None) if writes => "what reads the Secret does as it says: credentials, releases of helm",
        ("rbac.authorization.k8s.io", _, _) if writes => "any right that this user has, for anybody",
        ("admissionregistration.k8s.io", _, _) => "every later request to the cluster: webhooks see and change it",
        ("apiextensions.k8s.io", _, _) if act.verb == Verb::Delete => "every object of the kind goes with it",
        ("", "namespaces", None) if act.verb == Verb::Delete => "everything in the namespace goes with it",
        ("", "nodes", None) if writes => "where pods may run: labels and taints decide it",
        (_, _, _) if act.verb == Verb::DeleteCollection => "every object of the kind at once",
        _ => return None,
    };
    Some(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn harmless_words_are_told_for_what_they_are() {
        let of = |verb, kind: &str| of_line(&Grant { verbs: vec![verb], kinds: vec![KindName::parse(kind).unwrap()], ..Grant::default() });
        assert!(of(Verb::Patch, "daemonsets")[0].starts_with("root on every node"));
        assert!(of(Verb::Create, "pods/exec")[0].contains("its account"));
        assert!(of(Verb::Create, "nodes/proxy")[0].starts_with("root on the node"));
        assert!(of(Verb::Create, "serviceaccounts/token")[0].contains("the account"));
        assert!(of(Verb::Patch, "clusterroles")[0].contains("any right"));
        assert!(of(Verb::Patch, "*")[0].contains("root on every node"));
        assert!(of(Verb::Create, "pods/eviction").is_empty());
    }
}
