//! A snapshot in the place of an API server that is only read.

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::future::BoxFuture;
use http::{Request, Response};
use kube::client::Body;
use lockgate_sim::request::Response as SimResponse;
use lockgate_sim::selector::{FieldSelector, LabelSelector};
use lockgate_sim::status::Status;
use lockgate_sim::{Cluster as Sim, kinds};
use tower::{BoxError, Layer as _, Service};

use super::{Contents, Part};
use crate::base::Clock;
use crate::base::clock::Busy;
use crate::base::json::{Array, Value as Json, json};
use crate::cluster::layers::Layers;
use crate::cluster::request::{Act, Verb};
use crate::cluster::serve::Still;
use crate::cluster::sim::{Reply, Simulation, to_sim};

/// A snapshot that answers requests.
pub(in crate::cluster) struct Snapshot {
    label: String,
    contents: Contents,
    /// Says what is served, and of which version; time stands still in it.
    paths: Simulation,
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Snapshot({})", self.label)
    }
}

impl Snapshot {
    /// Serves it under this name.
    pub(in crate::cluster) fn new(label: &str, contents: Contents) -> Snapshot {
        let mut sim = Sim::new(contents.options());
        let definitions = kinds::CUSTOM_RESOURCE_DEFINITION;
        for definition in contents.of(definitions.group, definitions.plural, None) {
            // What cannot be used is told when a plan touches it, by the same words.
            sim.define(definition.clone()).ok();
        }
        Snapshot { label: label.to_owned(), contents, paths: Simulation::new(sim) }
    }

    /// The time of the snapshot, which does not go on by itself.
    pub(in crate::cluster) fn clock(&self) -> Clock {
        self.paths.clock()
    }

    async fn answer(&self, request: Request<Body>) -> Result<Response<Reply>, BoxError> {
        let act = Act::of(request.method(), request.uri().path(), request.uri().query().unwrap_or_default());
        let refuse = |status: Status| self.paths.respond(SimResponse::from(status));
        let request = match to_sim(request).await {
            Ok(request) => request,
            Err(refusal) => return self.paths.respond(*refusal),
        };
        if !act.is_resource() {
            return self.paths.answer(&request);
        }
        let Act { group, resource, namespace, .. } = &act;
        if !matches!(act.verb, Verb::Get | Verb::List) || act.subresource.as_deref().is_some_and(|part| part != "status") {
            return refuse(self.lacks(&format!("no answer to `{act}`")));
        }
        // A namespace is known by itself as a kind without one is.
        if !self.contents.knows(group, resource, namespace.as_deref()) {
            let part = Part { group: group.clone(), resource: resource.clone(), namespace: namespace.clone(), ..Part::default() };
            return refuse(self.lacks(&self.why_not(&part)));
        }
        if let Some(name) = &act.name {
            let found = self.contents.of(group, resource, namespace.as_deref()).find(|object| object["metadata"]["name"] == name.as_str());
            return match found {
                Some(object) => self.paths.respond(SimResponse::json(200, Arc::new(in_form(object.clone(), &request.accept, false)))),
                None => refuse(Status::new(
                    404,
                    "NotFound",
                    format!("{resource} \"{name}\" not found"),
                    json!({ "name": name, "kind": resource }),
                )),
            };
        }
        let labels = LabelSelector::parse(request.query("labelSelector").unwrap_or_default());
        let kind = kinds::by_resource(group, &act.version, resource);
        let asked = request.query("fieldSelector").unwrap_or_default();
        // Custom resources are selected by name and namespace, as these are.
        let fields = FieldSelector::parse(kind.unwrap_or(kinds::CONFIG_MAP), asked);
        let (labels, fields) = match (labels, fields) {
            (Ok(labels), Ok(fields)) => (labels, fields),
            (Err(error), _) => return refuse(Status::bad_request(error.to_string())),
            (_, Err(status)) => return refuse(status),
        };
        let chosen =
            self.contents.of(group, resource, namespace.as_deref()).filter(|object| labels.matches(object) && fields.matches(object));
        let items: Array = chosen.map(|object| in_form(object.clone(), &request.accept, true)).collect();
        let part = self.contents.head.scopes.iter().find(|part| part.group == *group && part.resource == *resource);
        let (of, version) = part.map_or((String::new(), act.version.clone()), |part| (part.kind.clone(), part.version.clone()));
        let api_version = if group.is_empty() { version } else { format!("{group}/{version}") };
        let metadata_only = request.accept.contains("PartialObjectMetadata");
        let (api_version, of) =
            if metadata_only { ("meta.k8s.io/v1".to_owned(), "PartialObjectMetadata".to_owned()) } else { (api_version, of) };
        let list = json!({ "apiVersion": api_version, "kind": (format!("{of}List")), "metadata": { "resourceVersion": "1" }, "items": (Json::Array(items)) });
        self.paths.respond(SimResponse::json(200, Arc::new(list)))
    }

    /// Why something is not in it.
    fn why_not(&self, part: &Part) -> String {
        let about = part.about();
        let kind = Part { namespace: None, ..part.clone() }.about();
        let refused = self.contents.head.refused.iter().find(|left| left.what == about || left.what == kind);
        refused.map_or_else(|| format!("no {about}"), |left| format!("no {about}: {}", left.why))
    }

    /// The answer for what is not in it: the same as of what a simulated cluster does not model, so that a plan calls it unknown.
    fn lacks(&self, what: &str) -> Status {
        Status::new(501, "NotImplemented", format!("the snapshot `{}` has {what}", self.label), Json::Null)
    }
}

/// An object in the form that is asked for.
fn in_form(object: Json, accept: &str, in_list: bool) -> Json {
    if !accept.contains("PartialObjectMetadata") {
        return object;
    }
    let metadata = object.get("metadata").cloned().unwrap_or_default();
    match in_list {
        true => json!({ "metadata": metadata }),
        false => json!({ "apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata", "metadata": metadata }),
    }
}

#[derive(Clone, Debug)]
struct SnapshotService(Arc<Snapshot>);

impl Service<Request<Body>> for SnapshotService {
    type Response = Response<Reply>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Response<Reply>, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let snapshot = self.0.clone();
        Box::pin(async move {
            // Nothing happens in it while it answers.
            let _busy = request.extensions_mut().remove::<Busy>();
            let _still = request.extensions_mut().remove::<Still>();
            snapshot.answer(request).await
        })
    }
}

/// A client of this snapshot, through the layers.
pub(in crate::cluster) fn client(snapshot: &Arc<Snapshot>, layers: &Layers) -> kube::Client {
    kube::Client::new(layers.layer(SnapshotService(snapshot.clone())), "default")
}
