//! What is wrong with one pod that is not ready.

use crate::base::json::Value as Json;

use super::view::{self, verb};
use crate::base::Reason;

/// Why the kubelet has no image (`pkg/kubelet/images/types.go`).
const NO_IMAGE: [&str; 6] =
    ["ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "ImageInspectError", "RegistryUnavailable"];

/// One pod's trouble.
#[derive(Clone, Debug)]
pub(super) struct Trouble {
    /// The reason.
    pub(super) reason: Reason,
    /// What is said of one pod, and of several.
    says: (String, String),
    /// The words of who noticed.
    pub(super) evidence: Option<String>,
    /// What to do.
    pub(super) hint: Option<String>,
    /// Whether it cannot clear by itself.
    pub(super) certain: bool,
}

impl Trouble {
    fn new(reason: Reason, one: impl Into<String>, many: impl Into<String>, evidence: &str) -> Trouble {
        let evidence = Some(evidence.trim().to_owned()).filter(|text| !text.is_empty());
        Trouble { reason, says: (one.into(), many.into()), evidence, hint: None, certain: false }
    }

    fn hint(mut self, hint: &str) -> Trouble {
        self.hint = Some(hint.to_owned());
        self
    }

    /// What is said of this many pods: `cannot pull image …`.
    pub(super) fn says(&self, pods: usize) -> &str {
        verb(pods, &self.says.0, &self.says.1)
    }

    /// How much it tells; less is more.
    pub(super) fn rank(&self) -> u8 {
        match self.reason {
            _ if self.certain => 0,
            Reason::HostPortConflict => 1,
            Reason::ImagePull => 2,
            Reason::CrashLoop => 3,
            Reason::Unschedulable => 4,
            _ => 5,
        }
    }
}

/// The trouble of a pod; `None` when it is ready or has ended well. `node` is the node it is on, when that is known.
pub(super) fn of(pod: &Json, node: Option<&Json>) -> Option<Trouble> {
    if view::is_ready(pod) || view::text(pod, "/status/phase") == "Succeeded" {
        return None;
    }
    unscheduled(pod).or_else(|| lost_node(node)).or_else(|| containers(pod)).or_else(|| failed(pod)).or_else(|| Some(waiting(pod)))
}

fn unscheduled(pod: &Json) -> Option<Trouble> {
    let condition = view::condition(pod, "PodScheduled")?;
    if view::text(condition, "/status") != "False" {
        return None;
    }
    let message = view::text(condition, "/message");
    Some(if message.contains("didn't have free ports") {
        Trouble::new(Reason::HostPortConflict, "waits for a host port", "wait for host ports", message)
    } else {
        Trouble::new(Reason::Unschedulable, "fits on no node", "fit on no node", message)
            .hint("look at the node selector, the tolerations and the requests of the pod")
    })
}

fn lost_node(node: Option<&Json>) -> Option<Trouble> {
    let node = node?;
    if view::holds(node, "Ready") {
        return None;
    }
    let message = view::condition(node, "Ready").map_or("", |condition| view::text(condition, "/message"));
    let name = view::name(node);
    Some(
        Trouble::new(
            Reason::NotReady,
            format!("is on node `{name}`, which is not ready"),
            format!("are on nodes that are not ready, such as `{name}`"),
            message,
        )
        .hint("repair the node, or take its pods off it"),
    )
}

fn containers(pod: &Json) -> Option<Trouble> {
    let statuses = ["/status/initContainerStatuses", "/status/containerStatuses"];
    statuses.iter().flat_map(|list| view::list(pod, list)).find_map(container)
}

fn container(status: &Json) -> Option<Trouble> {
    let (name, image) = (view::text(status, "/name"), view::text(status, "/image"));
    let (reason, message) = (view::text(status, "/state/waiting/reason"), view::text(status, "/state/waiting/message"));
    if NO_IMAGE.contains(&reason) {
        let said = format!("cannot pull image `{image}`");
        let mut trouble = Trouble::new(Reason::ImagePull, said.clone(), said, &join(reason, message))
            .hint("check the image's name, the registry from that node, and the pull secret");
        trouble.certain = reason == "InvalidImageName";
        return Some(trouble);
    }
    if matches!(reason, "CrashLoopBackOff" | "RunContainerError" | "StartError") {
        let last = view::text(status, "/lastState/terminated/reason");
        let code = view::int(status, "/lastState/terminated/exitCode");
        let ended = match code {
            Some(code) => format!("last ended with {last} (exit code {code})"),
            None => join(reason, message),
        };
        let restarts = view::count(status, "/restartCount");
        return Some(
            Trouble::new(
                Reason::CrashLoop,
                format!("crashes: container `{name}` was restarted {restarts} times"),
                format!("crash: container `{name}` is restarted again and again"),
                &ended,
            )
            .hint("the end of the container's log says why"),
        );
    }
    if reason.is_empty() || matches!(reason, "ContainerCreating" | "PodInitializing") {
        return None;
    }
    let said = format!("container `{name}` cannot be started");
    Some(
        Trouble::new(Reason::NotReady, format!("waits: {said}"), format!("wait: {said}"), &join(reason, message))
            .hint("look at what the pod refers to: ConfigMaps, Secrets, volumes"),
    )
}

fn failed(pod: &Json) -> Option<Trouble> {
    (view::text(pod, "/status/phase") == "Failed").then(|| {
        let words = join(view::text(pod, "/status/reason"), view::text(pod, "/status/message"));
        Trouble::new(Reason::NotReady, "failed", "failed", &words)
    })
}

/// On its way, as far as anybody can see.
fn waiting(pod: &Json) -> Trouble {
    let node = view::text(pod, "/spec/nodeName");
    if view::text(pod, "/status/phase") == "Running" {
        let message = view::condition(pod, "Ready").map_or("", |condition| view::text(condition, "/message"));
        return Trouble::new(Reason::NotReady, "runs but is not ready", "run but are not ready", message)
            .hint("its readiness probe says no: look at its log");
    }
    let place = if node.is_empty() { String::new() } else { format!(" on node `{node}`") };
    Trouble::new(Reason::NotReady, format!("is not started yet{place}"), "are not started yet", "")
}

fn join(reason: &str, message: &str) -> String {
    match (reason.is_empty(), message.is_empty()) {
        (_, true) => reason.to_owned(),
        (true, false) => message.to_owned(),
        (false, false) => format!("{reason}: {message}"),
    }
}

#[cfg(test)]
mod tests {
    use crate::base::json::json;

    use super::*;

    fn trouble(pod: &Json) -> (Reason, String) {
        let found = of(pod, None).unwrap();
        (found.reason, found.says(1).to_owned())
    }

    fn waiting_for(reason: &str, message: &str) -> Json {
        json!({ "spec": { "nodeName": "n1" }, "status": { "phase": "Pending", "containerStatuses": [
            { "name": "a", "image": "r/a:1", "restartCount": 4, "state": { "waiting": { "reason": reason, "message": message } },
              "lastState": { "terminated": { "reason": "Error", "exitCode": 3 } } }] } })
    }

    #[test]
    fn each_state_has_its_reason() {
        let unscheduled = |message: &str| json!({ "status": { "phase": "Pending", "conditions": [{ "type": "PodScheduled", "status": "False", "message": message }] } });
        for (pod, reason, says) in [
            (
                unscheduled("2 node(s) didn't have free ports for the requested pod ports"),
                Reason::HostPortConflict,
                "waits for a host port",
            ),
            (unscheduled("1 Insufficient cpu"), Reason::Unschedulable, "fits on no node"),
            (waiting_for("ImagePullBackOff", "no such tag"), Reason::ImagePull, "cannot pull image `r/a:1`"),
            (waiting_for("CrashLoopBackOff", ""), Reason::CrashLoop, "crashes: container `a` was restarted 4 times"),
            (waiting_for("CreateContainerConfigError", "no secret"), Reason::NotReady, "waits: container `a` cannot be started"),
            (waiting_for("ContainerCreating", ""), Reason::NotReady, "is not started yet on node `n1`"),
            (json!({ "status": { "phase": "Running" } }), Reason::NotReady, "runs but is not ready"),
            (json!({ "status": { "phase": "Failed", "reason": "Evicted" } }), Reason::NotReady, "failed"),
        ] {
            assert_eq!(trouble(&pod), (reason, says.to_owned()), "{pod}");
        }
    }

    #[test]
    fn only_a_name_that_is_no_image_can_never_be_pulled() {
        assert!(of(&waiting_for("InvalidImageName", ""), None).unwrap().certain);
        assert!(!of(&waiting_for("ErrImagePull", ""), None).unwrap().certain);
        assert_eq!(of(&waiting_for("ErrImagePull", "gone"), None).unwrap().evidence.as_deref(), Some("ErrImagePull: gone"));
    }

    #[test]
    fn a_node_that_is_not_ready_explains_its_pods() {
        let node = json!({ "metadata": { "name": "n1" }, "status": { "conditions": [{ "type": "Ready", "status": "Unknown", "message": "Kubelet stopped" }] } });
        let found = of(&json!({ "status": { "phase": "Running" } }), Some(&node)).unwrap();
        assert_eq!(found.says(1), "is on node `n1`, which is not ready");
        assert_eq!(found.evidence.as_deref(), Some("Kubelet stopped"));
    }

    #[test]
    fn ready_and_finished_pods_have_none() {
        assert!(of(&json!({ "status": { "phase": "Running", "conditions": [{ "type": "Ready", "status": "True" }] } }), None).is_none());
        assert!(of(&json!({ "status": { "phase": "Succeeded" } }), None).is_none());
    }
}
