//! `why`: what keeps an object from being as it should be.

use crate::base::json::{Value as Json, json};

use super::cx::Cx;
use super::diagnosis::{self, Diagnosis};
use super::done::Done;
use super::kstatus;
use super::pod_trouble;
use super::rollout::{Judgement, Shape};
use super::view;
use super::watched::Watched;
use crate::base::{ObjectRef, Reason, Result};
use crate::cluster::Target;
use crate::primitive;

primitive! {
    /// Says why an object is not as it should be, from what the scheduler, the kubelets and the controllers wrote down.
    ///
    /// `reason` is one of the reasons of errors, and absent when nothing is wrong. `wait_rollout` raises the same reasons.
    pub read fn why as Why(
        /// The object, for example `deployment/cce-eni-ipam`.
        object: ObjectRef,
    ) options {
        /// The namespace, when the reference has none.
        namespace: Option<String>,
    } -> "{ reason: string?, message: string, pods: { string }, nodes: { string }, object: string, hint: string? }",
        "the diagnosis: a reason, a sentence, and the pods, nodes and object it is about";
    since "0.1";
    example r#"print(why("deployment/cce-eni-ipam").message)"#;
    needs ["get {object}", "list pods", "list replicasets.apps", "list controllerrevisions.apps", "get nodes"];
}

impl Why {
    pub(in crate::primitives) async fn run(self, cx: Cx) -> Result<Done> {
        let target = cx.target(&self.object, self.namespace.as_deref()).await?;
        let object = cx.read(&target).await?;
        let found = if Shape::of(&target).is_some() {
            let rollout = Watched::begin(&cx, &target, &object, "looking at").await?.look()?;
            match rollout.judge(None, None) {
                Judgement::Done => None,
                Judgement::Going | Judgement::Never(..) => match diagnosis::with_nodes(&cx, &rollout).await? {
                    Some(found) => Some(found),
                    None => Some(Diagnosis::new(Reason::NotReady, target.to_string(), rollout.state())),
                },
            }
        } else if target.resource.kind == "Pod" && target.resource.group.is_empty() {
            pod(&cx, &target, &object).await?
        } else {
            cx.must_be_modelled(&target, &object)?;
            let readiness = kstatus::of(&target.resource, &object, cx.now());
            (readiness.status != "Current").then(|| Diagnosis::new(Reason::NotReady, target.to_string(), readiness.message))
        };
        Ok(Done::read(match found {
            Some(found) => found.into_json(),
            None => json!({ "message": "nothing is wrong", "object": target.to_string(), "pods": [], "nodes": [] }),
        }))
    }
}

async fn pod(cx: &Cx, target: &Target, pod: &Json) -> Result<Option<Diagnosis>> {
    let name = view::text(pod, "/spec/nodeName");
    let node = if name.is_empty() || view::is_ready(pod) {
        None
    } else {
        let resource = cx.cluster.resolve("nodes", None).await?;
        cx.cluster.find(&cx.cluster.object(resource, None, name)).await?
    };
    if view::is_terminating(pod) {
        let mut found = Diagnosis::new(Reason::NotReady, target.to_string(), "it is terminating");
        found.nodes = vec![name.to_owned()];
        return Ok(Some(found));
    }
    Ok(pod_trouble::of(pod, node.as_deref()).map(|trouble| {
        let mut found = Diagnosis::new(trouble.reason, target.to_string(), format!("it {}", trouble.says(1)));
        found.pods = vec![target.name.clone()];
        found.nodes = Some(name.to_owned()).filter(|name| !name.is_empty()).into_iter().collect();
        found.evidence = trouble.evidence;
        found.hint = trouble.hint;
        found
    }))
}
