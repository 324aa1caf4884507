//! What a run asked of the server, in the words of a role: `get deployments`, `patch daemonsets`.

use std::collections::{BTreeMap, BTreeSet};

use crate::cluster::Cluster;

/// `VERB RESOURCE[,RESOURCE]`, one entry a verb. On a plan's twin: what the run will need, not what the plan read to copy.
#[must_use]
pub fn of(cluster: &Cluster) -> Vec<String> {
    let plan = cluster.label().plan;
    let mut verbs: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for request in cluster.requests().into_iter().filter(|request| request.dry == plan) {
        // A path such as `/version` is open to everybody.
        if request.resource.is_empty() || request.resource.starts_with('/') {
            continue;
        }
        let plural = request.resource.split('.').next().unwrap_or_default();
        let resource = match &request.subresource {
            Some(subresource) => format!("{plural}/{subresource}"),
            None => plural.to_owned(),
        };
        verbs.entry(request.verb.as_str().to_owned()).or_default().insert(resource);
    }
    verbs.into_iter().map(|(verb, resources)| format!("{verb} {}", resources.into_iter().collect::<Vec<_>>().join(","))).collect()
}
