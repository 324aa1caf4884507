//! `scale`: how many pods a workload has.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::base::json::{Value as Json, json};

use super::cx::Cx;
use super::done::{Done, Inverse, Wrote};
use super::pace::Pace;
use super::scaled::{Now, Scaled, Way, selector};
use super::tries::{Tries, version};
use super::view::{self, verb};
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
    /// Sets how many replicas a Deployment, StatefulSet, ReplicaSet, ReplicationController or custom resource has.
    ///
    /// With `wait = "gone"` it returns when no surplus pod is left, not even one that is terminating: only then are host ports and
    /// addresses free. For 0 that is when no pod of the workload is left. A workload that a HorizontalPodAutoscaler scales is refused,
    /// since it would be scaled back. When somebody else writes at the same moment it is read and judged anew, so that `previous` is the
    /// number that was replaced.
    ///
    /// A custom resource is scaled through its `scale` subresource, where the server lists one for its kind; its pods are those that
    /// the subresource's `status.selector` finds. In a plan the write is `unmodelled` where the definition of the kind may not be read.
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
    needs ["get,patch {workload}", "get,patch {workload}/scale", "list horizontalpodautoscalers.autoscaling", "list,watch {workload}", "list,watch pods", "list,watch replicasets.apps"];
}

impl Scale {
    async fn run(self, cx: Cx) -> Result<Done> {
        let target = cx.target(&self.workload, self.namespace.as_deref()).await?;
        let way = Way::of(&target)?;
        let wanted = i64::from(self.replicas);
        let mut tries = Tries::of(&cx, &target, "scaling").part(way.part());
        let mut is_mine = self.force_hpa == Some(true);
        loop {
            let before = tries.read().await?;
            let previous = way.replicas(&before);
            if way == Way::Subresource && self.wait.is_some() {
                // Found out before anything is written.
                drop(selector(&target, &before)?);
            }
            if previous == wanted {
                self.wait(&cx, &target, way, &before).await?;
                return Ok(Done::unchanged(json!({ "changed": false, "previous": previous, "replicas": wanted })));
            }
            if !is_mine {
                refuse_autoscaled(&cx, &target).await?;
                is_mine = true;
            }
            // For what was read only: the number that is replaced goes into the record and to the script.
            let body = json!({ "metadata": { "resourceVersion": version(&before) }, "spec": { "replicas": wanted } });
            match cx.cluster.patch(&target, PatchType::Merge, body, way.part()).await {
                Err(error) => tries.again(PatchType::Merge, &before, error).await?,
                Ok(after) => return self.written(&cx, &target, way, previous, &after).await,
            }
        }
    }

    /// After the write: waits as asked, and tells.
    async fn written(&self, cx: &Cx, target: &Target, way: Way, previous: i64, after: &Arc<Json>) -> Result<Done> {
        let options = if self.force_hpa == Some(true) { json!({ "force_hpa": true }) } else { Json::Null };
        let change = Change { path: "spec.replicas".to_owned(), before: Some(previous.into()), after: Some(self.replicas.into()) };
        let wrote = Wrote {
            verb: "scale".to_owned(),
            target: target.to_string(),
            changes: vec![change],
            inverse: Inverse::Call { verb: "scale".to_owned(), arguments: vec![target.full_name().into(), previous.into()], options },
        };
        match self.wait(cx, target, way, after).await {
            Ok(()) => Ok(Done::changed(json!({ "changed": true, "previous": previous, "replicas": self.replicas }), wrote)),
            // The write is made, whatever became of the wait.
            Err(error) => {
                cx.talk.wrote(&wrote);
                Err(error)
            }
        }
    }

    /// Waits as asked; `read` is what [`Way::part`] gives now.
    async fn wait(&self, cx: &Cx, target: &Target, way: Way, read: &Arc<Json>) -> Result<()> {
        let Some(ScaleWait::Gone) = self.wait else { return Ok(()) };
        let timeout = self.timeout.unwrap_or(Span::from_secs(600));
        let mut scaled = Scaled::follow(way, cx, target, read).await?;
        let mut pace = Pace::begin(cx, format!("surplus pods of {target}"), timeout, self.stall);
        let mut fewest = usize::MAX;
        loop {
            let seen = scaled.look(cx).await?;
            if seen.replicas != i64::from(self.replicas) {
                let message = format!("scaling `{target}`: somebody set it to {} replicas meanwhile", seen.replicas);
                return Err(Error::new(Kind::Cluster, Reason::Conflict, message).about(target.full_name()));
            }
            let now = cx.now();
            let left = self.surplus(&seen);
            if left.is_empty() && seen.observed {
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
            scaled.changed(pace.until(patience)).await?;
        }
    }

    /// The pods that are too many: all that terminate, and what is beyond the number. Pods that have ended hold nothing.
    fn surplus(&self, seen: &Now) -> Vec<Arc<Json>> {
        let alive: Vec<&Arc<Json>> = seen.pods.iter().filter(|pod| view::is_terminating(pod) || !view::is_finished(pod)).collect();
        let going: Vec<Arc<Json>> = alive.iter().filter(|pod| view::is_terminating(pod)).map(|pod| (*pod).clone()).collect();
        let stays = alive.len() - going.len();
        let wanted = usize::try_from(self.replicas).unwrap_or(usize::MAX);
        if stays > wanted { alive.into_iter().cloned().collect() } else { going }
    }
}

/// Refuses a workload that an autoscaler would scale back.
async fn refuse_autoscaled(cx: &Cx, target: &Target) -> Result<()> {
    let resource = cx.cluster.resolve("horizontalpodautoscalers", Some("autoscaling")).await?;
    let listed = match cx.cluster.list(&resource, target.namespace.as_deref(), &Select::default()).await {
        // A server without autoscaling has no autoscalers.
        Err(error) if error.reason == Reason::Unsupported => return Ok(()),
        Err(error) if error.reason == Reason::Forbidden => {
            cx.talk.note(&format!("whether an autoscaler also scales `{target}` may not be read here"));
            return Ok(());
        }
        other => other?,
    };
    let is_mine = |hpa: &&Arc<Json>| {
        let of = |field: &str| view::text(hpa, &format!("/spec/scaleTargetRef/{field}"));
        let group = of("apiVersion").split_once('/').map_or("", |(group, _)| group);
        // The API version may be left out.
        let same_group = of("apiVersion").is_empty() || group == target.resource.group;
        same_group && of("kind") == target.resource.kind && of("name") == target.name
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
