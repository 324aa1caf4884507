//! `replace_pod`: one pod of a workload on one node, deleted for its successor: how a DaemonSet with `OnDelete` is upgraded.

use std::sync::Arc;

use crate::base::json::{Value as Json, json};

use super::cx::Cx;
use super::delete::is_absent;
use super::diagnosis::{self, Diagnosis};
use super::done::{Done, Inverse, Wrote};
use super::pace::Pace;
use super::rollout::{Rollout, Shape};
use super::types::NodeRef;
use super::view;
use super::watched::Watched;
use super::workload::unsupported;
use crate::base::{Error, Kind, ObjectRef, Reason, Result, Span, Timestamp, Value};
use crate::cluster::Target;
use crate::primitive;

const DOING: &str = "replacing the pod of";
/// How often the deletion is tried while the server says that the pod is not there, and shows it.
const TRIES: usize = 3;
/// How long the controller may take to see the latest change: before that, a new pod could be one of the former template.
const OBSERVE: Span = Span::from_secs(60);

primitive! {
    /// Deletes the pod that a workload has on a node, and waits until its successor is ready.
    ///
    /// This is how a DaemonSet or StatefulSet with the strategy `OnDelete` is upgraded, node by node. The controller is first given a
    /// minute to see the latest change of the template, so that the new pod is of it. The successor of a DaemonSet's pod is the new one on
    /// the same node, any new one of the workload otherwise. Without a pod there nothing is done, and that is an error. What keeps the
    /// successor from getting ready is told as `wait_rollout` tells it.
    pub write fn replace_pod as ReplacePod(
        /// The workload, for example `daemonset/calico-node`.
        workload: ObjectRef,
    ) options {
        /// The node, for example `w1`. It must be given.
        node: Option<NodeRef>,
        /// The namespace, when the reference has none.
        namespace: Option<String>,
        /// The whole time allowed; default 5 minutes. 0 asks once.
        timeout: Option<Span>,
        /// The time allowed without any progress; default 3 minutes, counted from the end of the pod's grace period.
        stall: Option<Span>,
    } -> "{ changed: boolean, old: string, pod: string, node: string, revision: number? }", "the pod that went and the one that came";
    since "0.1";
    example r#"replace_pod("daemonset/calico-node", { node = "w1", timeout = "5m" })"#;
    needs ["get,list,watch {workload}", "list,watch,delete pods", "list,watch controllerrevisions.apps", "list,watch replicasets.apps"];
}

impl ReplacePod {
    async fn run(self, cx: Cx) -> Result<Done> {
        let Some(node) = self.node.as_ref().map(|node| node.0.name.clone()) else {
            return Err(Error::usage("`replace_pod`: option `node` is missing").hint("write `{ node = \"w1\" }`"));
        };
        let target = cx.target(&self.workload, self.namespace.as_deref()).await?;
        if Shape::of(&target).is_none() {
            let message = format!("{DOING} `{target}`: a {} has no pods of its own", target.resource);
            return Err(
                unsupported(&target, message).hint("daemonsets, statefulsets, deployments and replicasets have; `delete` takes a pod")
            );
        }
        let object = cx.read(&target).await?;
        let mut watched = Watched::begin(&cx, &target, &object, DOING).await?;
        let rollout = observed(&cx, &target, &mut watched).await?;
        let (old, known) = match interrupted(&cx, &target, &rollout, &node) {
            Some(former) => former,
            None => {
                let known = rollout.pods.iter().map(|pod| view::uid(pod).to_owned()).collect();
                (the_pod(&target, &rollout, &node)?, known)
            }
        };
        let wrote = delete(&cx, &target, &old).await?;
        cx.talk.wrote(&wrote);
        let there = Some(node.as_str()).filter(|_| rollout.shape == Shape::DaemonSet);
        let (pod, rollout) = self.successor(&cx, &target, &mut watched, &old, &known, there).await?;
        let mut value = json!({
            "changed": true,
            "old": view::name(&old),
            "pod": view::name(&pod),
            "node": view::text(&pod, "/spec/nodeName"),
        });
        if let Some(revision) = rollout.revision() {
            value["revision"] = revision.into();
        }
        Ok(Done::wrote(Value::Json(value), vec![wrote]))
    }

    /// Waits until the old pod is gone and a new one is ready; `there` is the node that it must be on.
    async fn successor(
        &self,
        cx: &Cx,
        target: &Target,
        watched: &mut Watched,
        old: &Json,
        known: &[String],
        there: Option<&str>,
    ) -> Result<(Arc<Json>, Rollout)> {
        let what = format!("successor of pod/{}", view::name(old));
        let mut pace = Pace::begin(cx, what.clone(), self.timeout.unwrap_or(Span::from_secs(300)), self.stall);
        let mut seen = String::new();
        loop {
            let (now, rollout) = (cx.now(), watched.look()?);
            let gone = !rollout.pods.iter().any(|pod| view::uid(pod) == view::uid(old));
            let is_new = |pod: &&Arc<Json>| {
                let place = view::text(pod, "/spec/nodeName");
                !known.iter().any(|uid| uid == view::uid(pod)) && there.is_none_or(|node| place == node || intended(pod) == Some(node))
            };
            let new = rollout.pods.iter().filter(|pod| !view::is_terminating(pod)).find(is_new).cloned();
            if let Some(pod) = new.as_ref().filter(|pod| gone && view::is_ready(pod)) {
                pace.done(cx, &format!("pod/{} is ready", view::name(pod)));
                return Ok((pod.clone(), rollout));
            }
            let state = state(gone, new.as_deref());
            if seen != state {
                pace.moved(now);
                seen.clone_from(&state);
            }
            let only = rollout_of(&rollout, new.as_ref());
            if let Some(found) = diagnosis::of(&only, &std::collections::BTreeMap::default()).filter(|found| found.certain && new.is_some())
            {
                return Err(failed(target, found.reason, format!("{DOING} `{target}`: {}", found.message), Some(found)));
            }
            let patience = view::time(old, "/metadata/deletionTimestamp").or_else(|| grace_of(&rollout, old));
            if let Some(ended) = pace.ended(now, patience) {
                let found = if new.is_some() { diagnosis::with_nodes(cx, &only).await? } else { None };
                let why = found.as_ref().map_or(state, |found| found.message.clone());
                let message = format!("{}: {why}", pace.says(ended, &format!("the wait for the {what}")));
                return Err(failed(target, ended.reason(), message, found));
            }
            pace.show(cx, &state);
            watched.changed(pace.until(patience)).await?;
            if let Some(trouble) = watched.trouble() {
                pace.show(cx, &format!("the server cannot be heard: {trouble}"));
            }
        }
    }
}

/// The workload once its controller has seen the latest change.
async fn observed(cx: &Cx, target: &Target, watched: &mut Watched) -> Result<Rollout> {
    let mut pace = Pace::begin(cx, format!("controller of {target}"), OBSERVE, Some(OBSERVE));
    loop {
        let rollout = watched.look()?;
        let has_revision = rollout.shape != Shape::DaemonSet || rollout.wanted().is_some();
        if view::is_observed(&rollout.workload) && has_revision {
            return Ok(rollout);
        }
        if pace.ended(cx.now(), None).is_some() {
            let message = format!("{DOING} `{target}`: its controller has not seen the latest change for {OBSERVE}; nothing was deleted");
            return Err(Error::new(Kind::Stuck, Reason::Timeout, message)
                .about(target.full_name())
                .hint("is the controller manager running?"));
        }
        pace.show(cx, "has not seen the latest change yet");
        watched.changed(pace.until(None)).await?;
    }
}

/// The pod that this call chose before it was interrupted, and those that were there then, which are not its successor: all but the
/// youngest of those that may be.
fn interrupted(cx: &Cx, target: &Target, rollout: &Rollout, node: &str) -> Option<(Arc<Json>, Vec<String>)> {
    let pods = format!("pod/{}/", target.namespace.as_deref().unwrap_or_default());
    let former =
        cx.cluster.interrupted().into_iter().find(|open| open.intent.key.verb == "delete" && open.intent.object().starts_with(&pods))?;
    let (name, uid) = (former.intent.object().strip_prefix(&pods)?.to_owned(), former.intent.key.part.clone()?);
    let old = rollout.pods.iter().find(|pod| view::uid(pod) == uid).cloned();
    let old = old.unwrap_or_else(|| {
        let metadata = json!({ "name": name, "namespace": target.namespace, "uid": uid });
        Arc::new(json!({ "metadata": metadata, "spec": { "nodeName": node } }))
    });
    let on_node = |pod: &Arc<Json>| view::text(pod, "/spec/nodeName") == node || intended(pod) == Some(node);
    let may_be = |pod: &&Arc<Json>| {
        let fits = match rollout.shape {
            Shape::DaemonSet => on_node(pod),
            Shape::StatefulSet => view::name(pod) == name,
            _ => true,
        };
        fits && view::uid(pod) != uid && !view::is_terminating(pod)
    };
    let newest = rollout.pods.iter().filter(may_be).max_by_key(|pod| view::time(pod, "/metadata/creationTimestamp"));
    let gone = !rollout.pods.iter().any(|pod| view::uid(pod) == uid && !view::is_terminating(pod));
    let newest = newest.filter(|_| gone).map(|pod| view::uid(pod).to_owned());
    let known = rollout.pods.iter().map(|pod| view::uid(pod).to_owned()).filter(|uid| Some(uid) != newest.as_ref()).collect();
    Some((old, known))
}

/// The one pod of the workload on this node.
fn the_pod(target: &Target, rollout: &Rollout, node: &str) -> Result<Arc<Json>> {
    let there: Vec<&Arc<Json>> =
        rollout.pods.iter().filter(|pod| view::text(pod, "/spec/nodeName") == node && !view::is_terminating(pod)).collect();
    match there.as_slice() {
        [one] => Ok((*one).clone()),
        [] => {
            let mut nodes: Vec<String> = rollout.pods.iter().map(|pod| view::text(pod, "/spec/nodeName").to_owned()).collect();
            nodes.retain(|name| !name.is_empty());
            nodes.sort();
            nodes.dedup();
            let message = format!("{DOING} `{target}`: it has no pod on node `{node}`");
            let error = Error::new(Kind::Cluster, Reason::NotFound, message).about(target.full_name());
            Err(match nodes.len() {
                0 => error.hint("it has no pods on any node"),
                _ => error.hint(format!("it has on {}", super::registry::list(nodes.iter().take(8).map(String::as_str)))),
            })
        }
        many => {
            let names: Vec<String> = many.iter().map(|pod| format!("`{}`", view::name(pod))).collect();
            let message = format!("{DOING} `{target}`: it has {} pods on node `{node}`: {}", many.len(), view::and(&names));
            Err(Error::new(Kind::Cluster, Reason::Precondition, message).about(target.full_name()).hint("`delete` takes one of them"))
        }
    }
}

/// Deletes the pod that was looked at, and no other.
async fn delete(cx: &Cx, target: &Target, pod: &Json) -> Result<Wrote> {
    let pods = cx.cluster.resolve("pods", Some("")).await?;
    let the_pod = cx.cluster.object(pods, target.namespace.clone(), view::name(pod));
    let options = json!({ "preconditions": { "uid": view::uid(pod) }, "propagationPolicy": "Background" });
    for made in 1.. {
        match cx.cluster.delete(&the_pod, options.clone()).await {
            Ok(_) => break,
            // Somebody else was quicker: its successor is waited for all the same. Unless it is there still.
            Err(error) if is_absent(&error) => match cx.cluster.find(&the_pod).await? {
                Some(now) if view::uid(&now) == view::uid(pod) && !view::is_terminating(&now) && made < TRIES => {}
                Some(now) if view::uid(&now) == view::uid(pod) && !view::is_terminating(&now) => return Err(error),
                _ => break,
            },
            Err(error) => return Err(error),
        }
    }
    Ok(Wrote {
        verb: "delete".to_owned(),
        target: the_pod.to_string(),
        changes: Vec::new(),
        inverse: Inverse::Irreversible(format!("its successor is made by {target}")),
    })
}

/// The node that the DaemonSet controller made a pod for, while no scheduler has put it there.
fn intended(pod: &Json) -> Option<&str> {
    let terms = pod.pointer("/spec/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution/nodeSelectorTerms")?.as_array()?;
    let fields = terms.iter().flat_map(|term| view::list(term, "/matchFields"));
    fields.filter(|field| view::text(field, "/key") == "metadata.name").find_map(|field| view::list(field, "/values").first()?.as_str())
}

/// When the old pod's grace period ends.
fn grace_of(rollout: &Rollout, old: &Json) -> Option<Timestamp> {
    let now = rollout.pods.iter().find(|pod| view::uid(pod) == view::uid(old))?;
    view::time(now, "/metadata/deletionTimestamp")
}

/// The rollout as if this were its only pod: what is wrong with the others is not this call's concern.
fn rollout_of(rollout: &Rollout, pod: Option<&Arc<Json>>) -> Rollout {
    Rollout { pods: pod.into_iter().cloned().collect(), orphans: Vec::new(), ..rollout.clone() }
}

fn state(gone: bool, new: Option<&Json>) -> String {
    match new {
        _ if !gone => "the old pod is terminating".to_owned(),
        None => "there is no new pod yet".to_owned(),
        Some(pod) if view::text(pod, "/spec/nodeName").is_empty() => format!("pod/{} is not scheduled", view::name(pod)),
        Some(pod) => format!("pod/{} is {}, not ready", view::name(pod), view::text(pod, "/status/phase")),
    }
}

fn failed(target: &Target, reason: Reason, message: String, found: Option<Diagnosis>) -> Error {
    let mut error = Error::new(Kind::Stuck, reason, message).about(target.full_name());
    if let Some(found) = found {
        error = error.details(found.details());
        if let Some(evidence) = found.evidence {
            error = error.cause(evidence);
        }
        if let Some(hint) = found.hint {
            error = error.hint(hint);
        }
    }
    error
}
