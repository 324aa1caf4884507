//! `rollout_pause`: a Deployment that makes no new pods for changes of its template.

use crate::base::json::{Value as Json, json};

use super::cx::Cx;
use super::done::{Done, Inverse, Wrote};
use super::tries::{Tries, version};
use super::view;
use super::workload::unsupported;
use crate::base::diff::changes;
use crate::base::{ObjectRef, Result, Value};
use crate::cluster::PatchType;
use crate::primitive;

primitive! {
    /// Pauses a Deployment: changes of its template have no effect until it is resumed. One that is paused already stays so.
    pub write fn rollout_pause as RolloutPause(
        /// The Deployment, for example `deployment/web`.
        workload: ObjectRef,
    ) options {
        /// The namespace, when the reference has none.
        namespace: Option<String>,
    } -> "{ changed: boolean }", "whether it was not paused before";
    since "0.1";
    example r#"rollout_pause("deployment/web")"#;
    needs ["get {workload}", "patch {workload}"];
}

impl RolloutPause {
    async fn run(self, cx: Cx) -> Result<Done> {
        set(&cx, &self.workload, self.namespace.as_deref(), true).await
    }
}

/// Pauses or resumes.
pub(super) async fn set(cx: &Cx, workload: &ObjectRef, namespace: Option<&str>, paused: bool) -> Result<Done> {
    let (doing, back) = if paused { ("pausing", "rollout_resume") } else { ("resuming", "rollout_pause") };
    let target = cx.target(workload, namespace).await?;
    if (target.resource.group.as_str(), target.resource.kind.as_str()) != ("apps", "Deployment") {
        let message = format!("{doing} `{target}`: a {} has no rollouts that pause", target.resource);
        return Err(unsupported(&target, message).hint("only deployments have"));
    }
    let mut tries = Tries::of(cx, &target, doing);
    loop {
        let before = tries.read().await?;
        if view::flag(&before, "/spec/paused") == paused {
            return Ok(Done::unchanged(told(false)));
        }
        let value = if paused { Json::Bool(true) } else { Json::Null };
        let body = json!({ "metadata": { "resourceVersion": version(&before) }, "spec": { "paused": value } });
        match cx.cluster.patch(&target, PatchType::Merge, body, None).await {
            Err(error) => tries.again(PatchType::Merge, &before, error).await?,
            Ok(_) => {
                let mut after = (*before).clone();
                after.merge(&json!({ "spec": { "paused": if paused { Json::Bool(true) } else { Json::Null } } }));
                let wrote = Wrote {
                    verb: "patch".to_owned(),
                    target: target.to_string(),
                    changes: changes(&before, &after),
                    inverse: Inverse::Call { verb: back.to_owned(), arguments: vec![target.full_name().into()], options: Json::Null },
                };
                return Ok(Done::changed(told(true), wrote));
            }
        }
    }
}

fn told(changed: bool) -> Value {
    Value::Json(json!({ "changed": changed }))
}
