//! Machines by a privileged pod on their node, from which `nsenter` enters the machine. The pod is made for one call and taken away
//! after it; a deadline of its own ends it when nobody does.

use std::cell::RefCell;
use std::collections::HashMap;

use futures::future::LocalBoxFuture;

use super::inventory::{Inventory, PodImage};
use super::script::{Missing, Script};
use super::shell::{Remote, Said, Shell, unreachable};
use crate::base::json::{Value as Json, json};
use crate::base::{Error, Kind, ObjectRef, Reason, Result, Span};
use crate::cluster::client::{Cluster, Target};
use crate::cluster::exec;

/// The namespace of the pods when nobody says otherwise.
const NAMESPACE: &str = "lockgate";
/// After so many seconds a pod ends by itself.
const LONGEST: u64 = 6 * 3600;
/// How long a pod may take to run.
const STARTS: Span = Span::from_secs(120);
/// How often it is looked at meanwhile.
const PAUSE: Span = Span::from_millis(500);
/// What enforces the rules for pods in a namespace.
const ENFORCE: &str = "pod-security.kubernetes.io/enforce";
/// What makes such a pod known.
const LABEL: &str = "lockgate.dev/machine";

/// The way by pods.
pub(super) struct Pods {
    cluster: Cluster,
    image: PodImage,
    /// The pods that are there, by node.
    made: RefCell<HashMap<String, Target>>,
}

impl Pods {
    /// The machines behind it.
    ///
    /// # Errors
    /// `refused` unless the inventory grants a privileged pod.
    pub(super) fn remote(cluster: Cluster, inventory: &Inventory) -> Result<Remote<Pods>> {
        let granted = inventory.pod.clone().filter(|pod| pod.privileged);
        let image = granted.ok_or_else(|| {
            Error::new(Kind::Refused, Reason::Refused, "`--machines pod` makes pods that are root on their node, and nobody granted that")
                .hint("grant it in the inventory: `pod: { image: …, privileged: true }`")
        })?;
        let run = cluster.run().to_string();
        Ok(Remote::new(Pods { cluster, image, made: RefCell::default() }, run))
    }

    fn namespace(&self) -> &str {
        self.image.namespace.as_deref().unwrap_or(NAMESPACE)
    }

    /// Refuses a namespace whose rules keep such a pod out, before anything is made.
    async fn allowed(&self) -> Result<()> {
        let namespace = self.namespace();
        let target = self.cluster.target(&ObjectRef::parse(&format!("namespace/{namespace}"))?, None).await?;
        let object = self.cluster.get(&target).await?;
        let level = object.pointer("/metadata/labels").and_then(|labels| labels.get(ENFORCE)).and_then(Json::as_str);
        match level {
            None | Some("privileged") => Ok(()),
            Some(level) => {
                let message = format!("namespace `{namespace}` allows only {level} pods, and the way to a machine is a privileged one");
                Err(Error::new(Kind::Refused, Reason::Refused, message)
                    .about(format!("namespace/{namespace}"))
                    .hint(format!("name another one in the inventory (`pod: {{ namespace: … }}`), or label it `{ENFORCE}=privileged`")))
            }
        }
    }

    /// The pod on a node, running.
    async fn pod(&self, node: &str) -> Result<Target> {
        if let Some(pod) = self.made.borrow().get(node) {
            return Ok(pod.clone());
        }
        self.allowed().await?;
        let run = self.cluster.run().to_string();
        let resource = self.cluster.resolve("pod", None).await?;
        let name = name(node, &run);
        let pod = self.cluster.object(resource.clone(), Some(self.namespace().to_owned()), name.clone());
        self.made.borrow_mut().insert(node.to_owned(), pod.clone());
        // The way is the operator's choice: no permission of a runbook is about it.
        self.cluster.own_pod(self.namespace(), &name, true);
        let object = object(&name, node, &run, &self.image);
        match self.cluster.create(&resource, Some(self.namespace()), object).await {
            Ok(_) => {}
            // Of a call of this run that was cut; it says whose it is.
            Err(error) if error.reason == Reason::Conflict => self.is_ours(node, &pod, &run, error).await?,
            Err(error) => {
                drop(self.made.borrow_mut().remove(node));
                return Err(error.context(format!("making the pod to reach the machine of node `{node}`")));
            }
        }
        self.runs(node, &pod).await.map(|()| pod)
    }

    /// Whether the pod that is in the way was made by this run.
    async fn is_ours(&self, node: &str, pod: &Target, run: &str, conflict: Error) -> Result<()> {
        let found = self.cluster.find(pod).await?;
        let is_ours = found.is_some_and(|pod| {
            pod.pointer("/metadata/labels").and_then(|labels| labels.get(LABEL)).is_some_and(|label| label == run.to_lowercase().as_str())
        });
        if is_ours {
            return Ok(());
        }
        drop(self.made.borrow_mut().remove(node));
        Err(conflict.context(format!("making the pod to reach the machine of node `{node}`")))
    }

    async fn runs(&self, node: &str, pod: &Target) -> Result<()> {
        let clock = self.cluster.clock().clone();
        let last = STARTS.after(clock.now());
        loop {
            let object = self.cluster.get(pod).await?;
            let phase = object.pointer("/status/phase").and_then(Json::as_str).unwrap_or_default();
            match phase {
                "Running" => return Ok(()),
                "Failed" | "Succeeded" => return Err(self.does_not_run(node, pod, &format!("it has ended ({phase})"))),
                _ if clock.now() >= last => return Err(self.does_not_run(node, pod, &waits(&object))),
                _ => clock.sleep(PAUSE).await?,
            }
        }
    }

    fn does_not_run(&self, node: &str, pod: &Target, why: &str) -> Error {
        let message = format!("machine of node `{node}`: the pod to reach it does not run: {why}");
        Error::new(Kind::Stuck, Reason::NotReady, message)
            .about(pod.full_name())
            .hint(format!("is `{}` on the node, or can it be pulled?", self.image.image))
    }
}

/// Why a pod does not run yet.
fn waits(pod: &Json) -> String {
    let waiting = pod.pointer("/status/containerStatuses/0/state/waiting");
    let text = |field: &str| waiting.and_then(|waiting| waiting.get(field)).and_then(Json::as_str).unwrap_or_default();
    match (text("reason"), text("message")) {
        ("", _) => format!("nothing happened to it in {STARTS}"),
        (reason, "") => reason.to_owned(),
        (reason, message) => format!("{reason}: {message}"),
    }
}

/// The name of the pod of a run on a node: the same in every attempt.
fn name(node: &str, run: &str) -> String {
    let short = run.to_lowercase();
    let tail = short.get(short.len().saturating_sub(10)..).unwrap_or(&short);
    // Together at most 63 characters.
    let node: String = node.chars().take(40).collect();
    format!("lockgate-{}-{tail}", node.replace('.', "-").trim_end_matches('-'))
}

fn object(name: &str, node: &str, run: &str, image: &PodImage) -> Json {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": name,
            "labels": { "app.kubernetes.io/managed-by": "lockgate", LABEL: run.to_lowercase() },
            "annotations": { "cluster-autoscaler.kubernetes.io/safe-to-evict": "true" },
        },
        "spec": {
            "nodeName": node, "restartPolicy": "Never", "activeDeadlineSeconds": LONGEST, "terminationGracePeriodSeconds": 0,
            "hostPID": true, "hostNetwork": true, "hostIPC": true, "automountServiceAccountToken": false, "enableServiceLinks": false,
            "tolerations": [{ "operator": "Exists" }],
            "containers": [{
                "name": "machine", "image": image.image, "imagePullPolicy": "IfNotPresent",
                "command": ["sleep", LONGEST.to_string()],
                "securityContext": { "privileged": true },
                "resources": { "requests": { "cpu": "10m", "memory": "16Mi" }, "limits": { "memory": "128Mi" } },
            }],
        },
    })
}

/// What enters the machine from the pod. Everybody is root there, so that `sudo` changes nothing.
const ENTER: [&str; 11] = ["nsenter", "-t", "1", "-m", "-u", "-i", "-n", "-p", "--", "/bin/sh", "-s"];

impl Shell for Pods {
    fn say<'a>(&'a self, node: &'a str, script: &'a Script, limit: Span) -> LocalBoxFuture<'a, Result<Said>> {
        Box::pin(async move {
            let pod = self.pod(node).await?;
            let command = exec::Command {
                words: ENTER.iter().map(|word| (*word).to_owned()).collect(),
                container: Some("machine".to_owned()),
                stdin: Some(script.text.clone()),
            };
            let said = self.cluster.exec(&pod, &command, limit).await.map_err(|mut error| {
                // A stream that says nothing is a way that is not there now.
                if error.reason == Reason::Timeout {
                    error.reason = Reason::Unreachable;
                }
                error
            })?;
            Ok(Said { code: Some(said.code), stdout: said.stdout, stderr: said.stderr, late: false })
        })
    }

    fn explain(&self, node: &str, said: &Said, missing: Missing) -> Error {
        let text = said.stderr.trim();
        if missing == Missing::NotBegun && matches!(said.code, Some(126 | 127)) {
            let message =
                format!("machine of node `{node}`: the image `{}` has no `nsenter`, or the machine no `/bin/sh`", self.image.image);
            return Error::new(Kind::Cluster, Reason::CommandMissing, message).about(format!("node/{node}")).cause(text);
        }
        let error = unreachable(node, "the answer by its pod is not whole", missing);
        if text.is_empty() { error } else { error.cause(text.lines().last().unwrap_or_default()) }
    }

    fn leave<'a>(&'a self, node: &'a str) -> LocalBoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let Some(pod) = self.made.borrow_mut().remove(node) else { return Ok(()) };
            let gone = self.cluster.delete(&pod, json!({ "gracePeriodSeconds": 0 })).await;
            self.cluster.own_pod(self.namespace(), &pod.name, false);
            match gone {
                Ok(_) => Ok(()),
                Err(error) if error.details.get("code").is_some_and(|code| code == 404) => Ok(()),
                Err(error) => Err(error.context(format!("taking away `{pod}`, which reached the machine of node `{node}`"))),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_pods_are_names() {
        let run = "01J8ZQ2V5B9XKQ4T7M3N6P8R1S";
        assert_eq!(name("ip-10-0-0-1.eu.example", run), "lockgate-ip-10-0-0-1-eu-example-7m3n6p8r1s");
        let long = name(&"x".repeat(63), run);
        assert!(long.len() <= 63, "{long}");
        assert!(!name(&format!("{}.-a", "y".repeat(39)), run).contains("--"));
    }

    #[test]
    fn such_a_pod_is_root_on_its_node_and_ends_by_itself() {
        let image = PodImage { image: "busybox".to_owned(), namespace: None, privileged: true };
        let pod = object("n", "w1", "R", &image);
        assert_eq!(pod["spec"]["containers"][0]["securityContext"]["privileged"], true);
        assert_eq!(pod["spec"]["nodeName"], "w1", "no scheduler is asked: the node may be cordoned");
        assert!(pod["spec"]["activeDeadlineSeconds"].as_u64().unwrap() > 0);
    }
}
