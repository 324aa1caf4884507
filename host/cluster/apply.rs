//! Server-side apply: the server merges what is written with what is there, and knows who owns which field.

use std::sync::Arc;

use super::client::{Cluster, Target};
use super::keep::{Key, Sign};
use super::op;
use super::request::{Call, MANAGER, Verb};
use super::settle;
use crate::base::json::{Value as Json, json};
use crate::base::{Reason, Result};

/// How often a dry run is sent that was not answered.
const TRIES: u32 = 3;

/// How an object is applied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Applying {
    /// Takes fields over that others own.
    pub force: bool,
    /// The server does everything but store it.
    pub dry_run: bool,
}

impl Cluster {
    /// The name under which lockgate owns fields.
    pub const MANAGER: &'static str = MANAGER;

    /// Applies an object. With a `resourceVersion` in it the server refuses when the object has changed since. In a dry run it carries
    /// no stamp, so that the answer differs from what is there only by what the object says.
    ///
    /// # Errors
    /// As [`Cluster::patch`]; a `conflict` whose `details.causes` are of the reason `FieldManagerConflict` names fields of others.
    pub async fn apply(&self, target: &Target, object: Json, applying: Applying) -> Result<Arc<Json>> {
        let mut object = object;
        let operation = (!applying.dry_run).then(|| self.begin_write(Key::of("apply", target, None)));
        if let Some(operation) = &operation {
            op::annotate(&mut object, &operation.stamp);
        }
        let mut call = self.call(Verb::Patch, target, None).query("fieldManager", MANAGER).query("fieldValidation", "Strict");
        call.about = format!("`{target}`");
        if applying.force {
            call = call.query("force", "true");
        }
        if applying.dry_run {
            call = call.query("dryRun", "All");
        }
        call = call.body(object);
        // JSON is YAML.
        call.content_type = "application/apply-patch+yaml";
        call.idempotent = true;
        call.doing = Some("applying");
        match operation {
            Some(operation) => self.settled(call, target, &Sign::Stamp(operation.stamp.clone()), &operation).await,
            None => self.tried(&call, target).await,
        }
    }

    /// Sends a dry run, which may be sent any number of times.
    async fn tried(&self, call: &Call, target: &Target) -> Result<Arc<Json>> {
        self.permitted(call).await?;
        let mut made = 1;
        loop {
            let error = match self.wire().json(call).await {
                Ok(answer) if settle::is_it(target, &answer) => return Ok(answer),
                Ok(answer) => settle::strange(call, &answer, "the object"),
                Err(error) => error,
            };
            // A conflict with an owner is an answer; any other one is a race that the server lost.
            let names_owner = error.details.get("causes").is_some_and(|causes| !causes.is_null());
            let again = matches!(error.reason, Reason::Unreachable | Reason::Timeout) || (error.reason == Reason::Conflict && !names_owner);
            if !again || made >= TRIES {
                return Err(error);
            }
            made += 1;
        }
    }

    /// Says anew who owns which field of the object that was read as `object`, as `kubectl apply --server-side` does with what
    /// `kubectl apply` owned before (client-go: util/csaupgrade). It carries no stamp: that would be one more field that is owned by who
    /// changes it; and sent twice it has the effect of being sent once.
    ///
    /// # Errors
    /// As [`Cluster::patch`]; `conflict` when the object has changed since.
    pub async fn set_owners(&self, target: &Target, object: &Json, owners: Json) -> Result<Arc<Json>> {
        let version = object.pointer("/metadata/resourceVersion").cloned().unwrap_or(Json::Null);
        let body = json!([
            { "op": "replace", "path": "/metadata/managedFields", "value": owners },
            { "op": "replace", "path": "/metadata/resourceVersion", "value": version },
        ]);
        let mut call = self.call(Verb::Patch, target, None).query("fieldManager", MANAGER).body(body);
        call.content_type = "application/json-patch+json";
        call.idempotent = true;
        call.doing = Some("taking over the fields of");
        self.permitted(&call).await?;
        self.wire().json(&call).await
    }

    /// Forgets which kinds there are besides the built-in ones: the next unknown word asks the server again.
    pub fn forget_kinds(&self) {
        self.shared.discovered.set(false);
    }
}
