//! Small controllers that act at the same instant and need nothing but the store: rules of aggregated ClusterRoles, and the
//! ServiceAccount and the certificates that every namespace is given.
//!
//! The last two work in a furnished cluster only ([`Cluster::furnish`](crate::Cluster::furnish)): a fixture says what there is.

use std::sync::Arc;

use jiff::Timestamp;

use crate::access::aggregated;
use crate::json::{Value, json};
use crate::kinds::{self, Kind};
use crate::rules::Rule;
use crate::status::Status;
use crate::store::{Key, Store};
use crate::view;

/// What every namespace gets: the kind, the name, and which controller of a real cluster makes it.
const GIVEN: [(&Kind, &str, &str); 2] =
    [(kinds::SERVICE_ACCOUNT, "default", "serviceaccount-controller"), (kinds::CONFIG_MAP, CERTIFICATES, "root-ca-certificate-publisher")];
const CERTIFICATES: &str = "kube-root-ca.crt";
const DESCRIPTION: &str = "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the internal \
    service IP or kubernetes.default.svc. No other usage is guaranteed across distributions of Kubernetes clusters.";

/// One write that is due.
pub(crate) struct Step {
    key: Key,
    object: Value,
    /// Who the log names as the author.
    pub(crate) actor: &'static str,
}

impl Step {
    /// Does it.
    ///
    /// # Errors
    /// What the store refuses.
    pub(crate) fn write(self, store: &mut Store, now: Timestamp) -> Result<(), Status> {
        if store.get(&self.key).is_some() {
            store.update(&self.key, self.object).map(drop)
        } else {
            store.create(self.key.kind, self.object, now).map(drop)
        }
    }
}

/// The first write that is due after one to this kind.
pub(crate) fn next(store: &Store, written: &Kind, furnished: bool) -> Option<Step> {
    if written.is(kinds::CLUSTER_ROLE) {
        return aggregation(store);
    }
    let concerned = written.is(kinds::NAMESPACE) || GIVEN.iter().any(|(kind, ..)| written.is(kind));
    if furnished && concerned && store.follows(Rule::NamespaceGifts) { gift(store) } else { None }
}

fn aggregation(store: &Store) -> Option<Step> {
    let roles: Vec<&Arc<Value>> = store.list(kinds::CLUSTER_ROLE, None).map(|(_, role)| role).collect();
    let all: Vec<&Value> = roles.iter().map(|role| role.as_ref()).collect();
    roles.iter().find_map(|role| {
        let rules = aggregated(role, &all)?;
        if role.get("rules").unwrap_or(&Value::Null) == &rules {
            return None;
        }
        let mut object = role.as_ref().clone();
        view::set(&mut object, &["rules"], rules);
        Some(Step { key: Key::of(kinds::CLUSTER_ROLE, role), object, actor: "clusterrole-aggregation-controller" })
    })
}

/// What the first namespace lacks. One that is going away gets nothing.
fn gift(store: &Store) -> Option<Step> {
    let namespaces = store.list(kinds::NAMESPACE, None).filter(|(_, namespace)| !view::is_terminating(namespace));
    let wanted = namespaces.flat_map(|(namespace, _)| GIVEN.iter().map(move |given| (namespace.name.to_string(), given)));
    for (namespace, (kind, name, actor)) in wanted {
        let key = Key::new(kind, &namespace, name);
        let mut object = json!({"metadata": {"name": *name, "namespace": namespace}});
        let certificates = json!({"ca.crt": "no certificate: this cluster is simulated\n"});
        if *name == CERTIFICATES {
            view::set(&mut object, &["metadata", "annotations"], json!({"kubernetes.io/description": DESCRIPTION}));
            view::set(&mut object, &["data"], certificates.clone());
        }
        match store.get(&key) {
            None => return Some(Step { key, object, actor }),
            Some(found) if *name == CERTIFICATES && found.get("data") != Some(&certificates) && !view::is_terminating(found) => {
                let mut object = found.as_ref().clone();
                view::set(&mut object, &["data"], certificates);
                return Some(Step { key, object, actor });
            }
            Some(_) => {}
        }
    }
    None
}
