//! Making a snapshot of a cluster: which kinds, whole or slim, and without what must not be passed on.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use super::redact::redact;
use super::{Contents, Cut, Head, Left, Part, SCHEMA};
use crate::base::json::{Map, Value as Json, json};
use crate::base::{Error, Reason, Result, Timestamp};
use crate::cluster::client::{Cluster, Select};
use crate::cluster::discovery::{self, Resource};
use crate::cluster::layers::Recorded;
use crate::cluster::page::meta;

/// Kinds that only say what went on.
const PASSING: [&str; 1] = ["events"];
/// Groups of questions and measurements: nothing of them is kept.
const ASKED: [&str; 4] = ["authentication.k8s.io", "authorization.k8s.io", "metrics.k8s.io", "events.k8s.io"];
/// What every plan may have to know: which cluster it is, where pods fit, what the names of kinds mean.
const ALWAYS: [(&str, &str); 5] = [
    ("", "namespaces"),
    ("", "nodes"),
    ("", "pods"),
    ("apiextensions.k8s.io", "customresourcedefinitions"),
    ("scheduling.k8s.io", "priorityclasses"),
];

/// What is to be in a snapshot.
#[derive(Clone, Debug)]
pub enum Wanted {
    /// Everything that may be read.
    Everything,
    /// What these requests of a plan read, and what its scheduler would look at.
    For {
        /// The runbook and its parameters, for people.
        purpose: String,
        /// The requests.
        requests: Vec<Recorded>,
    },
}

/// A snapshot that was made, with what was left out.
#[derive(Clone, Debug)]
pub struct Whole {
    /// The snapshot.
    pub contents: Contents,
}

impl Cluster {
    /// Makes a snapshot of this cluster. Kinds that may not be read are left out by name.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn snapshot(&self, wanted: &Wanted, at: Timestamp) -> Result<Whole> {
        let aside = self.aside();
        let version = aside.server_version().await?;
        let mut contents = Contents::new(Head {
            schema: SCHEMA.to_owned(),
            tool: env!("CARGO_PKG_VERSION").to_owned(),
            at,
            cluster: self.label().name,
            version,
            namespace: self.namespace().to_owned(),
            ..Head::default()
        });
        let mut cuts = Vec::new();
        let served = discovery::discover(aside.wire()).await?.found;
        for (resource, namespace, slim) in scopes(wanted, served) {
            let (about, part) = (part(&resource, namespace.clone(), slim).about(), part(&resource, namespace.clone(), slim));
            match aside.list(&resource, namespace.as_deref(), &Select::default()).await {
                Ok(listed) => {
                    contents.head.scopes.push(part);
                    for object in &listed.items {
                        let mut object = (**object).clone();
                        if slim {
                            object = self::slim(&object);
                        }
                        redact(&called(&resource, &object), &mut object, &mut cuts);
                        contents.add(&resource.group, &resource.plural, object);
                    }
                }
                // What can only be made, such as a binding.
                Err(error) if matches!(error.details["code"].as_u64(), Some(404 | 405)) => {}
                Err(error) if is_left_out(&error) => {
                    let why = error.causes.first().cloned().unwrap_or_else(|| error.message.clone());
                    contents.head.refused.push(Left { what: about, why });
                }
                Err(error) => return Err(error.context(format!("reading {about} for the snapshot"))),
            }
        }
        contents.head.uid = contents.identity();
        if let Wanted::For { purpose, .. } = wanted {
            contents.head.purpose = Some(purpose.clone());
        }
        contents.head.cut = merged(cuts);
        Ok(Whole { contents })
    }
}

/// Whether a kind is named as left out, and the rest goes on.
fn is_left_out(error: &Error) -> bool {
    matches!(error.reason, Reason::Forbidden | Reason::Unsupported | Reason::Unmodelled | Reason::Invalid)
}

fn part(resource: &Resource, namespace: Option<String>, slim: bool) -> Part {
    Part {
        group: resource.group.clone(),
        version: resource.version.clone(),
        resource: resource.plural.clone(),
        kind: resource.kind.clone(),
        namespace,
        slim,
    }
}

fn called(resource: &Resource, object: &Json) -> String {
    match meta(object, "namespace") {
        "" => format!("{}/{}", resource.singular, meta(object, "name")),
        namespace => format!("{}/{namespace}/{}", resource.singular, meta(object, "name")),
    }
}

/// One of each cut, in order.
fn merged(cuts: Vec<Cut>) -> Vec<Cut> {
    let mut seen = BTreeSet::new();
    cuts.into_iter().filter(|cut| seen.insert((cut.object.clone(), cut.field.clone()))).collect()
}

type Scope = (Rc<Resource>, Option<String>, bool);

/// What is read, whole kinds before those of one namespace.
fn scopes(wanted: &Wanted, served: Vec<Rc<Resource>>) -> Vec<Scope> {
    let listed = |resource: &&Rc<Resource>| !PASSING.contains(&resource.plural.as_str()) && !ASKED.contains(&resource.group.as_str());
    let served: Vec<Rc<Resource>> = served.iter().filter(listed).cloned().collect();
    let always = |resource: &Rc<Resource>| ALWAYS.contains(&(resource.group.as_str(), resource.plural.as_str()));
    match wanted {
        Wanted::Everything => served.into_iter().map(|resource| (resource, None, false)).collect(),
        Wanted::For { requests, .. } => {
            let mut touched: BTreeMap<String, BTreeSet<Option<String>>> = BTreeMap::new();
            for request in requests {
                let name = request.resource.clone();
                touched.entry(name).or_default().insert(request.namespace.clone());
            }
            let mut scopes = Vec::new();
            for resource in served {
                let namespaces = touched.remove(&resource.group_resource()).unwrap_or_default();
                let whole = namespaces.contains(&None);
                if always(&resource) || whole {
                    // Pods are many: whole where the plan looked at them, else what a scheduler looks at.
                    let slim = resource.plural == "pods" && resource.group.is_empty() && !whole;
                    scopes.push((resource.clone(), None, slim));
                }
                if !whole {
                    scopes.extend(namespaces.into_iter().map(|namespace| (resource.clone(), namespace, false)));
                }
            }
            scopes
        }
    }
}

/// Of a pod, what tells where pods fit and who owns them.
fn slim(pod: &Json) -> Json {
    let of = |part: &str, fields: &[&str]| -> Json {
        let map = pod.get(part).and_then(Json::as_object);
        let kept: Map = fields.iter().filter_map(|field| Some((*field, map?.get(field)?.clone()))).collect();
        Json::Object(kept)
    };
    let mut spec = of(
        "spec",
        &[
            "nodeName",
            "hostNetwork",
            "priority",
            "priorityClassName",
            "tolerations",
            "nodeSelector",
            "affinity",
            "topologySpreadConstraints",
            "overhead",
            "terminationGracePeriodSeconds",
            "schedulerName",
            "volumes",
            "restartPolicy",
        ],
    );
    for list in ["containers", "initContainers"] {
        let Some(containers) = pod.pointer(&format!("/spec/{list}")).and_then(Json::as_array) else { continue };
        let few = |container: &Json| -> Json {
            let fields = ["name", "image", "resources", "ports", "restartPolicy"];
            Json::Object(fields.iter().filter_map(|field| Some((*field, container.get(field)?.clone()))).collect())
        };
        spec[list] = containers.iter().map(few).collect::<Vec<_>>().into();
    }
    let metadata = of(
        "metadata",
        &[
            "name",
            "namespace",
            "uid",
            "labels",
            "ownerReferences",
            "generateName",
            "creationTimestamp",
            "deletionTimestamp",
            "resourceVersion",
        ],
    );
    let status = of("status", &["phase", "conditions", "containerStatuses", "startTime", "qosClass"]);
    json!({ "apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec, "status": status })
}
