//! Kinds that only definitions tell of: those of the live cluster, and those that the plan applied.

use std::sync::{Arc, PoisonError};

use crate::base::json::Value as Json;
use http::{Request, Response};
use kube::client::Body;
use lockgate_sim::kinds;
use tower::BoxError;

use super::Overlay;
use super::reading::why;
use crate::base::{Reason, Result};
use crate::cluster::request::{Act, Call, Verb};
use crate::cluster::sim::{Reply, to_sim};

impl Overlay {
    /// Whether the copy can answer for a resource. What is none of Kubernetes itself may be a custom resource of the live cluster: its
    /// definition is read once, and its objects are copied like all others.
    pub(super) async fn knows(&self, act: &Act) -> Result<bool> {
        let _turn = self.turn.lock().await;
        let (group, version, resource) = (&act.group, &act.version, &act.resource);
        let wanted = self.simulation.with(|sim| sim.definition_wanted(group, version, resource));
        if let Some(name) = wanted.filter(|name| !self.undefined().contains(name)) {
            let definitions = kinds::CUSTOM_RESOURCE_DEFINITION;
            let act = Act {
                verb: Verb::Get,
                group: definitions.group.to_owned(),
                version: definitions.version.to_owned(),
                resource: definitions.plural.to_owned(),
                namespace: None,
                name: Some(name.clone()),
                subresource: None,
            };
            let about = format!("the definition of {name}");
            let defined = match self.base.json(&Call::new(act, about.as_str())).await {
                Ok(definition) => {
                    let told = self.simulation.with(|sim| sim.define(Arc::unwrap_or_clone(definition)));
                    told.map_err(|refusal| refusal.message().to_owned())
                }
                Err(error) if error.details["code"] == 404 => Err(String::new()),
                Err(error) if matches!(error.reason, Reason::Forbidden | Reason::Unsupported | Reason::Unmodelled) => Err(why(&error)),
                Err(error) => return Err(error.context(format!("reading {about} for the plan"))),
            };
            if let Err(cause) = defined {
                if !cause.is_empty() {
                    self.unknowns.lock().unwrap_or_else(PoisonError::into_inner).insert(format!("{about}: {cause}"));
                }
                self.undefined().insert(name);
            }
        }
        Ok(self.simulation.with(|sim| sim.serves(group, version, resource)))
    }

    /// Whether the copy has definitions of its own.
    pub(super) fn defines(&self) -> bool {
        self.simulation.with(|sim| sim.store().count(kinds::CUSTOM_RESOURCE_DEFINITION, None) > 0)
    }

    /// What the live cluster serves, with what the plan has defined since.
    pub(super) async fn discovery(&self, request: Request<Body>, act: Act) -> Result<Response<Reply>, BoxError> {
        let path = act.resource.clone();
        if path != "/apis" && !path.starts_with("/apis/") {
            return self.pass(request, act).await;
        }
        let mut builder = Request::builder().method(http::Method::GET).uri(request.uri().clone());
        for name in [http::header::ACCEPT, http::header::USER_AGENT] {
            if let Some(value) = request.headers().get(&name) {
                builder = builder.header(name, value);
            }
        }
        let own = match to_sim(request).await {
            Ok(request) => self.simulation.with(|sim| sim.handle(&request)),
            Err(refusal) => return self.simulation.respond(*refusal),
        };
        let answer = self.base.forward(builder.body(Body::empty())?, &Call::new(act, path)).await?;
        let ours = own.value().filter(|_| own.status == 200).cloned();
        let theirs = serde_json::from_slice::<Json>(answer.body()).ok().filter(|_| answer.status() == 200);
        let both = match (ours, theirs) {
            (Some(ours), Some(mut theirs)) => {
                add(&mut theirs, &ours);
                theirs
            }
            (Some(ours), None) if answer.status() == 404 => ours,
            _ => return Ok(answer.map(|text| Reply::Text(Some(text)))),
        };
        let (mut parts, _) = answer.into_parts();
        parts.status = http::StatusCode::OK;
        // What came beside the text is only theirs.
        parts.extensions.clear();
        drop(parts.headers.remove(http::header::CONTENT_LENGTH));
        Ok(Response::from_parts(parts, Reply::Text(Some(both.to_string().into()))))
    }
}

/// Adds groups, versions and resources of custom resources that a document of discovery lacks.
fn add(document: &mut Json, more: &Json) {
    if document.get("kind") != more.get("kind") {
        return;
    }
    match document["kind"].as_str() {
        Some("APIGroupDiscoveryList") => add_all(document, more, "items", &["metadata", "name"], &mut |group, other| {
            add_all(group, other, "versions", &["version"], &mut |version, other| {
                add_all(version, other, "resources", &["resource"], &mut |_, _| {});
            });
        }),
        Some("APIGroupList") => add_all(document, more, "groups", &["name"], &mut |group, other| {
            add_all(group, other, "versions", &["version"], &mut |_, _| {});
        }),
        Some("APIGroup") => add_all(document, more, "versions", &["version"], &mut |_, _| {}),
        Some("APIResourceList") => add_all(document, more, "resources", &["name"], &mut |_, _| {}),
        _ => {}
    }
}

/// Adds the items of a list that the first lacks, and goes into those that both have.
fn add_all(document: &mut Json, more: &Json, list: &str, id: &[&str], both: &mut dyn FnMut(&mut Json, &Json)) {
    let name = |item: &Json| id.iter().try_fold(item, |part, field| part.get(*field)).cloned();
    let is_own = |item: &Json| match list {
        // What Kubernetes itself has, the live cluster knows better.
        "items" | "groups" => name(item).and_then(|name| name.as_str().map(str::to_owned)).is_some_and(|group| !is_built_in(&group)),
        _ => true,
    };
    for item in more.get(list).and_then(Json::as_array).into_iter().flatten().filter(|item| is_own(item)) {
        let Some(items) = document.get_mut(list).and_then(Json::as_array_mut) else { return };
        match items.iter_mut().find(|known| name(known) == name(item)) {
            Some(known) => both(known, item),
            None => items.push(item.clone()),
        }
    }
}

fn is_built_in(group: &str) -> bool {
    kinds::ALL.iter().any(|kind| kind.group == group)
}
