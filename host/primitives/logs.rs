//! `logs`: what containers have written.

use std::sync::Arc;

use crate::base::json::{Array, Value as Json, json};

use super::containers::{has_ended_before, has_started, meant, regular};
use super::cx::Cx;
use super::done::Done;
use super::rollout::Shape;
use super::view;
use super::watched::Watched;
use super::workload::{selector, unsupported};
use crate::base::{Error, ObjectRef, Reason, Result, Span, Value};
use crate::cluster::{LogPart, Select, Target};
use crate::primitive;

const DOING: &str = "reading the logs of";
/// How many lines of each container when nothing is said.
const TAIL: u32 = 1000;
/// How much of each container at most, in bytes.
const LARGEST: u32 = 1 << 20;
/// Of how many pods at most.
const PODS: usize = 50;

primitive! {
    /// Reads what the containers of a pod, or of all pods of a workload, have written.
    ///
    /// Of each container the last 1,000 lines, at most 1 MiB, of 50 pods at most: a log is read to be looked at. A container that has not
    /// started has an empty text. With `previous` only containers that have been started again are in the result, with what they wrote
    /// before that.
    pub read fn logs as Logs(
        /// A pod, or a workload whose pods are meant, for example `deployment/cilium-pre-flight-check`.
        object: ObjectRef,
    ) options {
        /// The namespace, when the reference has none.
        namespace: Option<String>,
        /// The container; all but init containers when left out.
        container: Option<String>,
        /// Reads what was written before the last restart.
        previous: Option<bool>,
        /// How many lines from the end.
        tail: Option<u32>,
        /// Only what is not older than this.
        since: Option<Span>,
    } -> "{ { pod: string, container: string, text: string } }", "one entry for each container, by pod";
    since "0.1";
    example r#"for _, log in logs("deployment/web", { tail = 20 }) do note(`{log.pod}: {log.text}`) end"#;
    needs ["get {object}", "list,watch pods", "get pods/log"];
}

impl Logs {
    async fn run(self, cx: Cx) -> Result<Done> {
        if self.since.is_some_and(Span::is_zero) {
            return Err(Error::usage("`logs`: option `since` is 0").hint("leave it out to read from the beginning"));
        }
        let target = cx.target(&self.object, self.namespace.as_deref()).await?;
        let pods = pods(&cx, &target).await?;
        if pods.len() > PODS {
            cx.talk.note(&format!("{target} has {} pods: the logs of the first {PODS} are read", pods.len()));
        }
        let resource = cx.cluster.resolve("pods", Some("")).await?;
        let mut entries = Array::new();
        for pod in pods.iter().take(PODS) {
            let the_pod = cx.cluster.object(resource.clone(), target.namespace.clone(), view::name(pod));
            let containers = match self.container.as_deref() {
                Some(named) => vec![meant(&the_pod, DOING, pod, Some(named))?],
                None => regular(pod).into_iter().map(str::to_owned).collect(),
            };
            for container in containers {
                let Some(text) = self.text(&cx, &the_pod, pod, &container).await? else { continue };
                entries.push(json!({ "pod": view::name(pod), "container": container, "text": text }));
            }
        }
        Ok(Done::read(Value::Json(Json::Array(entries))))
    }

    /// What one container wrote; `None` where there is nothing that was asked for.
    async fn text(&self, cx: &Cx, target: &Target, pod: &Json, container: &str) -> Result<Option<String>> {
        let previous = self.previous == Some(true);
        if previous && !has_ended_before(pod, container) {
            return Ok(None);
        }
        if !has_started(pod, container) {
            return Ok(Some(String::new()));
        }
        let part = LogPart {
            container: Some(container.to_owned()),
            previous,
            tail: Some(self.tail.unwrap_or(TAIL)),
            since: self.since,
            limit: Some(LARGEST),
        };
        match cx.cluster.log(target, &part).await {
            Ok(text) => Ok(Some(text)),
            // It went while the others were read.
            Err(error) if error.reason == Reason::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// The pods that are meant, by name.
pub(in crate::primitives) async fn pods(cx: &Cx, target: &Target) -> Result<Vec<Arc<Json>>> {
    let object = cx.read(target).await?;
    let mut pods = match (target.resource.group.as_str(), target.resource.kind.as_str()) {
        ("", "Pod") => vec![object],
        ("batch", "Job") => {
            let resource = cx.cluster.resolve("pods", Some("")).await?;
            let select = Select { labels: selector(&object), fields: None };
            let listed = cx.cluster.list(&resource, target.namespace.as_deref(), &select).await?;
            listed.items.into_iter().filter(|pod| view::controller_uid(pod) == view::uid(&object)).collect()
        }
        _ if Shape::of(target).is_some() => Watched::begin(cx, target, &object, DOING).await?.look()?.pods,
        _ => {
            let message = format!("{DOING} `{target}`: a {} has no pods", target.resource);
            return Err(unsupported(target, message).hint("pods, jobs, deployments, daemonsets, statefulsets and replicasets have logs"));
        }
    };
    pods.sort_by(|a, b| view::name(a).cmp(view::name(b)));
    Ok(pods)
}
