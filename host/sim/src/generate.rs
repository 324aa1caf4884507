//! Clusters of any size, for benches and for trying tools out: equal size and seed give equal clusters, byte by byte.

use std::collections::BTreeSet;

use crate::cluster::{Cluster, Options};
use crate::controllers::{node, template};
use crate::fixture::{Fixture, FixtureError};
use crate::json::{Text, Value, json};
use crate::kinds::{self, Kind};
use crate::rng::Rng;
use crate::status::Status;
use crate::view;

/// Pods that one generated Deployment has, at most.
const REPLICAS: usize = 50;
/// Deployments that share a namespace, at most.
const PER_NAMESPACE: usize = 20;
/// What the generated objects are copies of. It is booted once, so that every copy is as the controllers leave it.
const PATTERN: &str = include_str!("generate/pattern.yaml");

/// How large a generated cluster is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Worker nodes, at least one.
    pub nodes: usize,
    /// Pods on each node, the one of the DaemonSet included. At most what a node takes.
    pub pods_per_node: usize,
}

/// A booted pattern: one object of each kind.
struct Pattern {
    node: Value,
    agents: Value,
    agent: Value,
    revision: Value,
    deployment: Value,
    set: Value,
    pod: Value,
}

/// Pods that a node of a generated cluster takes: the default of the kubelet.
pub const MOST_PODS: usize = 110;

impl Size {
    /// A cluster at rest: nodes, one DaemonSet `kube-system/agent` with a pod on each node, and Deployments of up to 50 pods in
    /// namespaces `team-0000`, `team-0001` and so on.
    ///
    /// # Errors
    /// A sentence that says which number is out of bounds.
    pub fn cluster(self, options: Options) -> Result<Cluster, String> {
        if self.nodes == 0 || self.nodes > 100_000 {
            return Err(format!("a generated cluster has between 1 and 100000 nodes, not {}", self.nodes));
        }
        if self.pods_per_node > MOST_PODS {
            return Err(format!("a node takes at most {MOST_PODS} pods, not {}", self.pods_per_node));
        }
        let broken = |what: String| format!("the pattern of generated clusters is broken: {what}");
        let booted = Fixture::parse("pattern.yaml", PATTERN)
            .and_then(|fixture| fixture.cluster(options.clone()))
            .map_err(|error: FixtureError| broken(error.to_string()))?;
        let pattern = Pattern::of(&booted).map_err(|missing| broken(format!("no {missing}")))?;
        let mut new = Cluster::new(Options { start: booted.now(), ..options.clone() });
        new.models_mut().clone_from(booted.models());
        let mut made = Made { cluster: new, pattern, rng: Rng::new(options.seed ^ 0x6e6f_6465), names: BTreeSet::new() };
        made.fill(self).map_err(|status| broken(status.message().to_owned()))?;
        made.cluster.settle();
        Ok(made.cluster)
    }
}

impl Pattern {
    /// The parts of the booted pattern, or the kind that it lacks.
    fn of(cluster: &Cluster) -> Result<Self, &'static str> {
        let first = |kind: &'static Kind, namespace: Option<&str>| {
            cluster.store().list(kind, namespace).next().map(|(_, object)| (**object).clone()).ok_or(kind.kind)
        };
        Ok(Self {
            node: first(kinds::NODE, None)?,
            agents: first(kinds::DAEMON_SET, None)?,
            agent: first(kinds::POD, Some("kube-system"))?,
            revision: first(kinds::CONTROLLER_REVISION, None)?,
            deployment: first(kinds::DEPLOYMENT, None)?,
            set: first(kinds::REPLICA_SET, None)?,
            pod: first(kinds::POD, Some("pattern"))?,
        })
    }
}

struct Made {
    cluster: Cluster,
    pattern: Pattern,
    rng: Rng,
    /// Names of pods that are taken.
    names: BTreeSet<Text>,
}

/// A copy under another name; identity and version are given anew when it is put in.
fn copy(of: &Value, namespace: &str, name: &str, uid: &str) -> Value {
    let mut object = of.clone();
    view::remove(&mut object, &["metadata", "resourceVersion"]);
    view::set(&mut object, &["metadata", "name"], name);
    view::set(&mut object, &["metadata", "uid"], uid);
    if !namespace.is_empty() {
        view::set(&mut object, &["metadata", "namespace"], namespace);
    }
    object
}

/// Makes the controller of an object another one.
fn owned_by(object: &mut Value, name: &str, uid: &str) {
    if let Some(owners) = view::list_mut(object, &["metadata", "ownerReferences"]) {
        for owner in owners {
            view::set(owner, &["name"], name);
            view::set(owner, &["uid"], uid);
        }
    }
}

impl Made {
    fn put(&mut self, kind: &'static Kind, object: Value) {
        self.cluster.adopt(kind, object);
    }

    fn fill(&mut self, size: Size) -> Result<(), Status> {
        let deployed = size.nodes * size.pods_per_node.saturating_sub(1);
        let deployments = deployed.div_ceil(REPLICAS);
        let teams = (0..deployments.div_ceil(PER_NAMESPACE)).map(|team| format!("team-{team:04}"));
        for name in ["default", "kube-node-lease", "kube-public", "kube-system"].map(str::to_owned).into_iter().chain(teams) {
            self.cluster.load_object(kinds::NAMESPACE, json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}))?;
        }
        let names: Vec<String> = (1..=size.nodes).map(|n| format!("node-{n:05}")).collect();
        for name in &names {
            self.node(name);
        }
        if size.pods_per_node > 0 {
            self.agents(&names);
        }
        for index in 0..deployments {
            let first = index * REPLICAS;
            let pods = REPLICAS.min(deployed - first);
            self.deployment(index, pods, |pod| &names[(first + pod) % names.len()]);
        }
        Ok(())
    }

    fn node(&mut self, name: &str) {
        let uid = self.rng.uuid();
        let mut object = copy(&self.pattern.node, "", name, &uid);
        view::remove(&mut object, &["status", "addresses"]);
        view::remove(&mut object, &["metadata", "labels", "kubernetes.io/hostname"]);
        node::register(&mut object, &view::stamp(self.cluster.now()));
        self.put(kinds::NODE, object);
    }

    fn agents(&mut self, nodes: &[String]) {
        let (uid, namespace) = (self.rng.uuid(), "kube-system");
        let mut set = copy(&self.pattern.agents, namespace, "agent", &uid);
        for field in ["currentNumberScheduled", "desiredNumberScheduled", "numberAvailable", "numberReady", "updatedNumberScheduled"] {
            view::set(&mut set, &["status", field], nodes.len());
        }
        self.put(kinds::DAEMON_SET, set);
        let id = self.rng.uuid();
        let mut revision = copy(&self.pattern.revision, namespace, view::name(&self.pattern.revision), &id);
        owned_by(&mut revision, "agent", &uid);
        self.put(kinds::CONTROLLER_REVISION, revision);
        for node in nodes {
            let pattern = self.pattern.agent.clone();
            let mut pod = self.pod(&pattern, namespace, "agent", node);
            owned_by(&mut pod, "agent", &uid);
            let terms = ["spec", "affinity", "nodeAffinity", "requiredDuringSchedulingIgnoredDuringExecution", "nodeSelectorTerms"];
            if let Some(terms) = view::list_mut(&mut pod, &terms) {
                for term in terms {
                    view::set(term, &["matchFields"], json!([{"key": "metadata.name", "operator": "In", "values": [node]}]));
                }
            }
            self.put(kinds::POD, pod);
        }
    }

    /// Deployment number `index` with its ReplicaSet and its pods.
    fn deployment<'a>(&mut self, index: usize, pods: usize, node: impl Fn(usize) -> &'a String) {
        let (name, namespace) = (format!("app-{index:05}"), format!("team-{:04}", index / PER_NAMESPACE));
        let (uid, set_uid) = (self.rng.uuid(), self.rng.uuid());
        let mut deployment = copy(&self.pattern.deployment, &namespace, &name, &uid);
        view::set(&mut deployment, &["metadata", "labels", "app"], name.as_str());
        view::set(&mut deployment, &["spec", "selector", "matchLabels", "app"], name.as_str());
        view::set(&mut deployment, &["spec", "template", "metadata", "labels", "app"], name.as_str());
        view::set(&mut deployment, &["spec", "replicas"], pods);
        for field in ["replicas", "updatedReplicas", "readyReplicas", "availableReplicas"] {
            view::set(&mut deployment, &["status", field], pods);
        }
        let hash = template::hash(&deployment["spec"]["template"], 0);
        let set_name = format!("{name}-{hash}");
        let mut set = copy(&self.pattern.set, &namespace, &set_name, &set_uid);
        owned_by(&mut set, &name, &uid);
        for path in [&["metadata", "labels"][..], &["spec", "selector", "matchLabels"], &["spec", "template", "metadata", "labels"]] {
            view::set(&mut set, &[path, &["app"]].concat(), name.as_str());
            view::set(&mut set, &[path, &[template::POD_TEMPLATE_HASH]].concat(), hash.as_str());
        }
        view::set(&mut set, &["metadata", "annotations", "deployment.kubernetes.io/desired-replicas"], pods.to_string());
        view::set(&mut set, &["spec", "replicas"], pods);
        for field in ["replicas", "fullyLabeledReplicas", "readyReplicas", "availableReplicas"] {
            view::set(&mut set, &["status", field], pods);
        }
        let labels = set["spec"]["template"]["metadata"]["labels"].clone();
        // All pods of the set share what they have in common.
        let mut pattern = copy(&self.pattern.pod, &namespace, "", "");
        owned_by(&mut pattern, &set_name, &set_uid);
        view::set(&mut pattern, &["metadata", "labels"], labels);
        self.put(kinds::DEPLOYMENT, deployment);
        self.put(kinds::REPLICA_SET, set);
        for number in 0..pods {
            let pod = self.pod(&pattern, &namespace, &set_name, node(number));
            self.put(kinds::POD, pod);
        }
    }

    /// A running pod on a node, with a generated name.
    fn pod(&mut self, pattern: &Value, namespace: &str, base: &str, node: &str) -> Value {
        let name = loop {
            let name = format!("{base}-{}", self.rng.suffix(5));
            if self.names.insert(format!("{namespace}/{name}").into()) {
                break name;
            }
        };
        let uid = self.rng.uuid();
        let mut pod = copy(pattern, namespace, &name, &uid);
        view::set(&mut pod, &["metadata", "generateName"], format!("{base}-"));
        view::set(&mut pod, &["spec", "nodeName"], node);
        let host = node::address(node);
        if view::flag(&pod, &["spec", "hostNetwork"]) {
            view::set(&mut pod, &["status", "podIP"], host.as_str());
            view::set(&mut pod, &["status", "podIPs"], json!([{"ip": host}]));
        } else {
            let number = self.names.len();
            let ip = format!("10.{}.{}.{}", 128 + number / 65_536 % 64, number / 256 % 256, number % 256);
            view::set(&mut pod, &["status", "podIP"], ip.as_str());
            view::set(&mut pod, &["status", "podIPs"], json!([{"ip": ip}]));
        }
        view::set(&mut pod, &["status", "hostIP"], host.as_str());
        view::set(&mut pod, &["status", "hostIPs"], json!([{"ip": host}]));
        pod
    }
}

#[cfg(test)]
mod tests;
