//! `rollout_restart`: all pods of a workload anew.

use crate::base::json::{Value as Json, json};

use super::cx::Cx;
use super::done::{Done, Inverse, Wrote};
use super::tries::{Tries, version};
use super::view;
use super::workload::unsupported;
use crate::base::diff::{RESTARTED_AT, changes};
use crate::base::{Error, Kind, ObjectRef, Reason, Result, Span, Timestamp, Value};
use crate::cluster::{PatchType, Target};
use crate::primitive;

const DOING: &str = "restarting";

primitive! {
    /// Restarts a Deployment, DaemonSet or StatefulSet: its controller makes all pods anew, as for any change of the template.
    ///
    /// It writes the annotation of `kubectl rollout restart`. A paused Deployment is refused, since nothing would restart. A workload with
    /// the strategy `OnDelete` restarts nothing by itself, and a note says so. It does not wait: `wait_rollout` does.
    pub write fn rollout_restart as RolloutRestart(
        /// The workload, for example `daemonset/cilium`.
        workload: ObjectRef,
    ) options {
        /// The namespace, when the reference has none.
        namespace: Option<String>,
    } -> "{ changed: boolean, restarted_at: string, generation: number? }", "what the annotation says now";
    since "0.1";
    example r#"rollout_restart("daemonset/cilium")"#;
    needs ["get {workload}", "patch {workload}"];
}

impl RolloutRestart {
    async fn run(self, cx: Cx) -> Result<Done> {
        let target = cx.target(&self.workload, self.namespace.as_deref()).await?;
        if target.resource.group != "apps" || !["Deployment", "DaemonSet", "StatefulSet"].contains(&target.resource.kind.as_str()) {
            let message = format!("{DOING} `{target}`: a {} cannot be restarted", target.resource);
            return Err(unsupported(&target, message).hint("deployments, daemonsets and statefulsets can"));
        }
        let mut tries = Tries::of(&cx, &target, DOING);
        let now = tries.read().await?;
        let at = moment(cx.now(), &now);
        let mut before = now;
        loop {
            allowed(&target, &before)?;
            let annotations = json!({ "metadata": { "annotations": { RESTARTED_AT: at } } });
            let mut body = json!({ "metadata": { "resourceVersion": version(&before) } });
            body["spec"]["template"] = annotations;
            match cx.cluster.patch(&target, PatchType::Merge, body, None).await {
                Err(error) => tries.again(PatchType::Merge, &before, error).await?,
                Ok(stored) => {
                    if is_on_delete(&before) {
                        cx.talk.note(&format!("{target} has the strategy OnDelete: each pod restarts when it is deleted, and not before"));
                    }
                    return Ok(Done::changed(result(&at, &stored), wrote(&target, &before, &at)));
                }
            }
            before = tries.read().await?;
        }
    }
}

/// The moment of a restart, to the second as kubectl writes it; a later one than the last restart's, so that two restarts within one
/// second are two.
fn moment(now: Timestamp, object: &Json) -> String {
    let whole = |at: Timestamp| Timestamp::from_second(at.as_second()).unwrap_or(at);
    let annotations = object.pointer("/spec/template/metadata/annotations");
    let last = annotations.and_then(|all| all.get(RESTARTED_AT)).and_then(Json::as_str).and_then(|text| text.parse().ok());
    match last.map(whole) {
        Some(last) if last >= whole(now) => Span::from_secs(1).after(last).to_string(),
        _ => whole(now).to_string(),
    }
}

fn allowed(target: &Target, object: &Json) -> Result<()> {
    if !view::flag(object, "/spec/paused") {
        return Ok(());
    }
    let message = format!("{DOING} `{target}`: it is paused, so that nothing would restart");
    Err(Error::new(Kind::Cluster, Reason::Paused, message).about(target.full_name()).hint("`rollout_resume` it first"))
}

fn is_on_delete(object: &Json) -> bool {
    view::text(object, "/spec/updateStrategy/type") == "OnDelete"
}

fn wrote(target: &Target, before: &Json, at: &str) -> Wrote {
    let mut after = before.clone();
    after.merge(&json!({ "spec": { "template": { "metadata": { "annotations": { RESTARTED_AT: at } } } } }));
    Wrote {
        verb: "patch".to_owned(),
        target: target.to_string(),
        changes: changes(before, &after),
        inverse: Inverse::Irreversible("a restart leaves nothing to be taken back".to_owned()),
    }
}

fn result(at: &str, object: &Json) -> Value {
    Value::Json(match view::int(object, "/metadata/generation") {
        Some(generation) => json!({ "changed": true, "restarted_at": at, "generation": generation }),
        None => json!({ "changed": true, "restarted_at": at }),
    })
}
