//! What a controller must know before it can look at one object: in an overlay, the closure of that object by its kind.

use super::scope::{Known, Scope};
use super::work::Work;
use crate::controllers::endpoints::SERVICE_NAME;
use crate::json::Value;
use crate::kinds::{self, Kind};
use crate::scheduler::{self, Reach};
use crate::selector::LabelSelector;
use crate::store::{Key, Store};
use crate::view;

/// What a controller reads to carry on one object. It may be more once that is known: the object itself comes first.
pub(super) fn of(work: &Work, store: &Store, known: &Known) -> Vec<Scope> {
    let key = work.key();
    let itself = Scope::of(key);
    let Some(object) = store.get(key).filter(|_| !known.is_reduced(key)) else {
        return match work {
            Work::Endpoints(_) => [itself].into_iter().chain(backends(key)).collect(),
            _ => vec![itself],
        };
    };
    let selected = |kind| selected(kind, key, view::at(object, &["spec", "selector"]));
    let here = |kind| Scope::all(kind, Some(&key.namespace));
    let classes = Scope::all(kinds::PRIORITY_CLASS, None);
    match work {
        Work::Deployment(_) => vec![selected(kinds::REPLICA_SET), selected(kinds::POD), classes],
        Work::ReplicaSet(_) | Work::Job(_) => vec![selected(kinds::POD), classes],
        Work::DaemonSet(_) => {
            vec![selected(kinds::POD), selected(kinds::CONTROLLER_REVISION), Scope::all(kinds::NODE, None), classes]
        }
        // Its pods have names that others may have taken.
        Work::StatefulSet(_) => vec![here(kinds::POD), selected(kinds::CONTROLLER_REVISION), classes],
        Work::Endpoints(_) => {
            let labels = view::at(object, &["spec", "selector"]).and_then(Value::as_object).filter(|labels| !labels.is_empty());
            let pods = labels.map(|labels| selected_by_map(kinds::POD, key, labels));
            backends(key).into_iter().chain(pods).collect()
        }
        // The workloads above the pods are asked for when the pods are known: see [`Engine::require`](super::Engine::require).
        Work::Disruption(_) => vec![selected(kinds::POD)],
        Work::Untrack(_) => owner(object, kinds::JOB).into_iter().collect(),
        Work::Kubelet(_) | Work::Evict(_) | Work::PodGc(_) => {
            let node = view::text(object, &["spec", "nodeName"]);
            (!node.is_empty()).then(|| Scope::named(kinds::NODE, None, node)).into_iter().collect()
        }
        Work::Schedule(_) => placing(object, store, known),
        Work::Node(_)
        | Work::Namespace(_)
        | Work::Expire(_)
        | Work::Machine(_)
        | Work::Command(_)
        | Work::Lifecycle(_)
        | Work::Establish(_) => Vec::new(),
    }
}

/// What is deleted with an object.
pub(crate) fn dependents(key: &Key, object: &Value) -> Vec<Scope> {
    let selected = |kind| selected(kind, key, view::at(object, &["spec", "selector"]));
    match key.kind.built_in() {
        "Deployment" => vec![selected(kinds::REPLICA_SET), selected(kinds::POD)],
        "ReplicaSet" | "Job" => vec![selected(kinds::POD)],
        "DaemonSet" | "StatefulSet" => vec![selected(kinds::POD), selected(kinds::CONTROLLER_REVISION)],
        "Service" => backends(key).to_vec(),
        _ => Vec::new(),
    }
}

fn backends(service: &Key) -> [Scope; 2] {
    let namespace = Some(service.namespace.as_str());
    let slices = format!("{SERVICE_NAME}={}", service.name);
    [Scope::named(kinds::ENDPOINTS, namespace, &service.name), Scope::selected(kinds::ENDPOINT_SLICE, namespace, &slices, "")]
}

/// Objects of a kind beside this one that a `LabelSelector` selects; all when it cannot be read.
fn selected(kind: &'static Kind, beside: &Key, selector: Option<&Value>) -> Scope {
    let labels = selector.and_then(|selector| LabelSelector::from_value(selector).ok());
    let labels = labels.map(|labels| labels.to_string()).unwrap_or_default();
    Scope::selected(kind, Some(&beside.namespace), &labels, "")
}

fn selected_by_map(kind: &'static Kind, beside: &Key, labels: &crate::json::Map) -> Scope {
    let selector = crate::json::json!({ "matchLabels": labels.clone() });
    selected(kind, beside, Some(&selector))
}

fn owner(object: &Value, kind: &'static Kind) -> Option<Scope> {
    let owner = view::controller_of(object).filter(|owner| view::text(owner, &["kind"]) == kind.kind)?;
    Some(Scope::named(kind, Some(view::namespace(object)), view::text(owner, &["name"])))
}

/// All nodes, and then the pods that take part in the choice.
fn placing(pod: &Value, store: &Store, known: &Known) -> Vec<Scope> {
    let nodes = Scope::all(kinds::NODE, None);
    if !known.has(&nodes) {
        return vec![nodes];
    }
    match scheduler::reach(store, pod, known.nodes_looked_into()) {
        Reach::None => Vec::new(),
        Reach::Nodes(names) => names.iter().map(|name| Scope::pods_on(name)).collect(),
        Reach::All => vec![Scope::pods_reduced()],
    }
}
