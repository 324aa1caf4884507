//! `scale`: how many pods a workload has.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::base::json::{Value as Json, json};

use super::cx::Cx;
use super::done::{Done, Inverse, Wrote};
use super::pace::Pace;
use super::rollout::Rollout;
use super::view::{self, verb};
use super::watched::Watched;
use super::workload::{replicas, unsupported};
use crate::base::diff::Change;
use crate::base::{Error, Kind, ObjectRef, Reason, Result, Span};
use crate::choice;
use crate::cluster::{PatchType, Select, Target};
use crate::primitive;

choice! {
    /// What `scale` waits for.
    pub enum ScaleWait {
        /// Until the surplus pods are gone, those that are terminating included.
        Gone = "gone",
    } is "\"gone\"", "what to wait for: \"gone\""
}

primitive! {
    /// Sets how many replicas a Deployment, StatefulSet, ReplicaSet or ReplicationController has.
    ///
    /// With `wait = "gone"` it returns when no surplus pod is left, not even one that is terminating: only then are host ports and
    /// addresses free. For 0 that is when no pod of the workload is left. A workload that a HorizontalPodAutoscaler scales is refused,
    /// since it would be scaled back.
    pub write fn scale as Scale(
        /// The workload, for example `deployment/cce-eni-ipam`.
        workload: ObjectRef,
        /// The number of replicas.
        replicas: u32,
    ) options {
        /// The namespace, when the reference has none.
        namespace: Option<String>,
        /// `"gone"`: waits until surplus pods are gone.
        wait: Option<ScaleWait>,
        /// The whole time allowed for waiting; default 10 minutes. 0 asks once.
        timeout: Option<Span>,
        /// The time allowed without a pod going, counted from the end of the grace period; default 3 minutes.
        stall: Option<Span>,
        /// Scales although a HorizontalPodAutoscaler does too.
        force_hpa: Option<bool>,
    } -> "{ changed: boolean, previous: number, replicas: number }", "the number before, and the number now";
    since "0.1";
    example r#"local before = scale("deployment/cce-eni-ipam", 0, { wait = "gone" }).previous"#;
    needs ["get,patch {workload}", "list horizontalpodautoscalers.autoscaling", "list,watch {workload}", "list,watch pods", "list,watch replicasets.apps"];
}

impl Scale {
    async fn run(self, cx: Cx) -> Result<Done> {
        let target = cx.target(&self.workload, self.namespace.as_deref()).await?;
        check(&target)?;
        let before = cx.read(&target).await?;
        let (previous, wanted) = (replicas(&before), i64::from(self.replicas));
        let value = |changed: bool| json!({ "changed": changed, "previous": previous, "replicas": wanted });
        if previous == wanted {
            self.wait(&cx, &target, &before).await?;
            return Ok(Done::unchanged(value(false)));
        }
        if self.force_hpa != Some(true) {
            refuse_autoscaled(&cx, &target).await?;
        }
        let after = cx.cluster.patch(&target, PatchType::Merge, json!({ "spec": { "replicas": wanted } }), None).await?;
        let options = if self.force_hpa == Some(true) { json!({ "force_hpa": true }) } else { Json::Null };
        let wrote = Wrote {
            verb: "scale".to_owned(),
            target: target.to_string(),
            changes: vec![Change { path: "spec.replicas".to_owned(), before: Some(previous.into()), after: Some(wanted.into()) }],
            inverse: Inverse::Call { verb: "scale".to_owned(), arguments: vec![target.full_name().into(), previous.into()], options },
        };
        match self.wait(&cx, &target, &after).await {
            Ok(()) => Ok(Done::changed(value(true), wrote)),
            // The write is made, whatever became of the wait: whoever sees the error must be able to see it.
            Err(mut error) => {
                let mut details = if error.details.is_object() { error.details.clone() } else { json!({}) };
                details["wrote"] = crate::base::json::to_value(&wrote).unwrap_or(Json::Null);
                error.details = details;
                Err(error)
            }
        }
    }

    /// Waits as asked; `object` is the workload as it is now.
    async fn wait(&self, cx: &Cx, target: &Target, object: &Arc<Json>) -> Result<()> {
        let Some(ScaleWait::Gone) = self.wait else { return Ok(()) };
        let timeout = self.timeout.unwrap_or(Span::from_secs(600));
        let mut watched = Watched::begin(cx, target, object, "scaling").await?;
        let mut pace = Pace::begin(cx, format!("surplus pods of {target}"), timeout, self.stall);
        let mut fewest = usize::MAX;
        loop {
            let rollout = watched.look()?;
            if replicas(&rollout.workload) != i64::from(self.replicas) {
                let message = format!("scaling `{target}`: somebody set it to {} replicas meanwhile", replicas(&rollout.workload));
                return Err(Error::new(Kind::Cluster, Reason::Conflict, message).about(target.full_name()));
            }
            let now = cx.now();
            let left = self.surplus(&rollout);
            if left.is_empty() && view::is_observed(&rollout.workload) {
                pace.done(cx, "gone");
                return Ok(());
            }
            if left.len() < fewest {
                fewest = left.len();
                pace.moved(now);
            }
            let patience = left.iter().filter_map(|pod| view::time(pod, "/metadata/deletionTimestamp")).max();
            if let Some(ended) = pace.ended(now, patience) {
                let subject = format!("scaling `{target}` to {}", self.replicas);
                return Err(late(target, ended.reason(), &pace.says(ended, &subject), &left));
            }
            pace.show(cx, &state(&left));
            watched.changed(pace.until(patience)).await?;
        }
    }

    /// The pods that are too many: all that terminate, and what is beyond the number. Pods that have ended hold nothing.
    fn surplus(&self, rollout: &Rollout) -> Vec<Arc<Json>> {
        // A pod that nobody controls is adopted or deleted by the workload: until then it may hold what others wait for.
        let pods = rollout.pods.iter().chain(&rollout.orphans);
        let alive: Vec<&Arc<Json>> = pods.filter(|pod| view::is_terminating(pod) || !view::is_finished(pod)).collect();
        let going: Vec<Arc<Json>> = alive.iter().filter(|pod| view::is_terminating(pod)).map(|pod| (*pod).clone()).collect();
        let stays = alive.len() - going.len();
        let wanted = usize::try_from(self.replicas).unwrap_or(usize::MAX);
        if stays > wanted { alive.into_iter().cloned().collect() } else { going }
    }
}

fn check(target: &Target) -> Result<()> {
    match (target.resource.group.as_str(), target.resource.kind.as_str()) {
        ("apps", "Deployment" | "StatefulSet" | "ReplicaSet") | ("", "ReplicationController") => Ok(()),
        ("apps", "DaemonSet") => Err(unsupported(target, format!("scaling `{target}`: a daemonset has as many pods as it has nodes"))),
        _ => Err(unsupported(target, format!("scaling `{target}`: a {} cannot be scaled", target.resource))
            .hint("it takes deployments, statefulsets, replicasets and replicationcontrollers")),
    }
}

/// Refuses a workload that an autoscaler would scale back.
async fn refuse_autoscaled(cx: &Cx, target: &Target) -> Result<()> {
    let resource = cx.cluster.resolve("horizontalpodautoscalers", Some("autoscaling")).await?;
    let listed = match cx.cluster.list(&resource, target.namespace.as_deref(), &Select::default()).await {
        // A server without autoscaling has no autoscalers.
        Err(error) if error.reason == Reason::Unsupported => return Ok(()),
        other => other?,
    };
    let is_mine = |hpa: &&Arc<Json>| {
        view::text(hpa, "/spec/scaleTargetRef/kind") == target.resource.kind && view::text(hpa, "/spec/scaleTargetRef/name") == target.name
    };
    let Some(hpa) = listed.items.iter().find(is_mine) else { return Ok(()) };
    let message = format!("scaling `{target}`: `horizontalpodautoscaler/{}` scales it too, and would scale it back", view::name(hpa));
    Err(Error::new(Kind::Refused, Reason::Refused, message)
        .about(target.full_name())
        .hint("scale by the autoscaler's `minReplicas` and `maxReplicas`, or say `force_hpa = true`"))
}

fn state(left: &[Arc<Json>]) -> String {
    let going = left.iter().filter(|pod| view::is_terminating(pod)).count();
    let stay = left.len() - going;
    match (stay, going) {
        (0, going) => format!("{going} {} terminating", verb(going, "pod", "pods")),
        (stay, 0) => format!("{stay} {} left", verb(stay, "pod", "pods")),
        (stay, going) => format!("{} pods left, {going} of them terminating", stay + going),
    }
}

fn late(target: &Target, reason: Reason, message: &str, left: &[Arc<Json>]) -> Error {
    let pods: Vec<String> = left.iter().map(|pod| view::name(pod).to_owned()).collect();
    let nodes: BTreeSet<&str> = left.iter().map(|pod| view::text(pod, "/spec/nodeName")).filter(|name| !name.is_empty()).collect();
    let on = if nodes.is_empty() {
        String::new()
    } else {
        format!(" on {}", nodes.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", "))
    };
    let error = Error::new(Kind::Stuck, reason, format!("{message}: {}{on}", state(left)))
        .about(target.full_name())
        .details(json!({ "pods": pods, "nodes": nodes }));
    if left.iter().all(|pod| view::is_terminating(pod)) {
        error.hint("is the kubelet there running? a forced deletion frees the name, not the ports")
    } else {
        error.hint("is the controller manager running?")
    }
}
