//! Which versions a cluster has, and where each was read.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::component::Component;
use super::{programs, servers};
use crate::base::json::Value as Json;
use crate::base::{Image, Reason, Result, Version};
use crate::cluster::{Cluster, Select};
use crate::primitives::view;

/// Where Kubernetes keeps its own pods.
const SYSTEM: &str = "kube-system";
/// The pods of a control plane that is installed as mirror pods, by the label that `kubeadm` gives them.
const CONTROL_PLANE: &str = "component in (kube-apiserver,kube-controller-manager,kube-scheduler,etcd,cloud-controller-manager)";
/// The labels of nodes that run a control plane; the second is from before 1.24.
const CONTROL_PLANE_NODE: [&str; 2] = ["node-role.kubernetes.io/control-plane", "node-role.kubernetes.io/master"];

/// One version, or why there is none.
#[derive(Clone, Debug)]
pub struct Reading {
    /// Of what.
    pub component: Component,
    /// On which node, or at which address; none where it is nowhere in particular.
    pub node: Option<String>,
    /// What was read.
    pub text: Option<String>,
    /// The version in it.
    pub version: Option<Version>,
    /// Where it was read.
    pub source: String,
    /// Why there is no version.
    pub why: Option<String>,
    /// What to know about it all the same.
    pub warnings: Vec<String>,
    /// Whether its node runs a control plane.
    pub control_plane: bool,
}

impl Reading {
    /// A version in this text.
    pub(super) fn of(component: Component, node: Option<&str>, text: &str, source: impl Into<String>) -> Reading {
        let version = Version::parse(text).ok();
        let why = match (&version, text.is_empty()) {
            (Some(_), _) => None,
            (None, true) => Some("it has not reported a version".to_owned()),
            (None, false) => Some(format!("`{text}` is no version")),
        };
        Reading {
            component,
            node: node.map(str::to_owned),
            text: Some(text.to_owned()).filter(|text| !text.is_empty()),
            version,
            source: source.into(),
            why,
            warnings: Vec::new(),
            control_plane: false,
        }
    }

    /// The version in the tag of an image.
    pub(super) fn of_image(component: Component, node: Option<&str>, image: &str, source: impl Into<String>) -> Reading {
        let parsed = Image::parse(image).ok();
        let Some(tag) = parsed.as_ref().and_then(|image| image.tag.as_deref()) else {
            let why = format!("the image `{image}` has no tag");
            return Reading { text: None, ..Reading::missing(component, node, why, source) };
        };
        let reading = Reading::of(component, node, tag, source);
        Reading { why: reading.why.map(|_| format!("the tag of the image `{image}` is no version")), ..reading }
    }

    /// Something that is there, with a version that cannot be read.
    pub(super) fn missing(component: Component, node: Option<&str>, why: impl Into<String>, source: impl Into<String>) -> Reading {
        let reading = Reading::of(component, node, "", source);
        Reading { why: Some(why.into()), ..reading }
    }

    /// What people call it: `kubelet on w1`.
    #[must_use]
    pub fn name(&self) -> String {
        match &self.node {
            Some(node) => format!("{} on {node}", self.component.as_str()),
            None => self.component.as_str().to_owned(),
        }
    }
}

/// Every version of a cluster.
#[derive(Clone, Debug, Default)]
pub struct Readings {
    /// By component, then node.
    pub all: Vec<Reading>,
    /// Whether `kubeadm` installed the cluster.
    pub kubeadm: bool,
}

impl Readings {
    /// Adds what was read elsewhere, at its place.
    pub fn add(&mut self, more: impl IntoIterator<Item = Reading>) {
        self.all.extend(more);
        self.all.sort_by(|a, b| (a.component, &a.node, &a.source).cmp(&(b.component, &b.node, &b.source)));
    }
}

/// The objects of a list, or why they may not be read.
pub(super) enum Seen {
    /// All of them.
    Objects(Vec<Arc<Json>>),
    /// The server's refusal.
    Refused(String),
}

impl Seen {
    /// The objects; none when they may not be read.
    pub(super) fn objects(&self) -> &[Arc<Json>] {
        match self {
            Seen::Objects(objects) => objects,
            Seen::Refused(_) => &[],
        }
    }

    /// Why there are none.
    pub(super) fn refusal(&self) -> Option<&str> {
        match self {
            Seen::Objects(_) => None,
            Seen::Refused(why) => Some(why),
        }
    }
}

/// Lists objects of a namespace.
async fn list(cluster: &Cluster, kind: &str, namespace: Option<&str>, labels: Option<&str>) -> Result<Seen> {
    let resource = cluster.resolve(kind, None).await?;
    let select = Select { labels: labels.map(str::to_owned), fields: None };
    match cluster.list(&resource, namespace, &select).await {
        Ok(listed) => Ok(Seen::Objects(listed.items)),
        Err(error) if matches!(error.reason, Reason::Forbidden | Reason::Unmodelled) => Ok(Seen::Refused(error.to_string())),
        Err(error) => Err(error),
    }
}

/// The same for a kind that old servers do not have: then it has no objects.
async fn list_newer(cluster: &Cluster, kind: &str, namespace: Option<&str>, labels: Option<&str>) -> Result<Seen> {
    match list(cluster, kind, namespace, labels).await {
        Err(error) if matches!(error.reason, Reason::NotFound | Reason::Unsupported) => Ok(Seen::Objects(Vec::new())),
        other => other,
    }
}

/// What is read once and looked at by several.
pub(super) struct Lists {
    /// Nodes.
    pub(super) nodes: Seen,
    /// The control plane's mirror pods.
    pub(super) pods: Seen,
    /// Leases in `kube-system`.
    pub(super) leases: Seen,
    /// The slices of the Service `default/kubernetes`.
    pub(super) slices: Seen,
    proxies: Seen,
    daemonsets: Seen,
    deployments: Seen,
    declared: Seen,
}

impl Lists {
    async fn read(cluster: &Cluster) -> Result<Lists> {
        let system = Some(SYSTEM);
        let (nodes, pods, leases, slices, proxies, daemonsets, deployments, declared) = futures::try_join!(
            list(cluster, "nodes", None, None),
            list(cluster, "pods", system, Some(CONTROL_PLANE)),
            list_newer(cluster, "leases", system, None),
            list_newer(cluster, "endpointslices", Some("default"), Some("kubernetes.io/service-name=kubernetes")),
            list(cluster, "pods", system, Some("k8s-app=kube-proxy")),
            list(cluster, "daemonsets", system, None),
            list(cluster, "deployments", system, None),
            declared(cluster),
        )?;
        Ok(Lists { nodes, pods, leases, slices, proxies, daemonsets, deployments, declared })
    }
}

/// The ConfigMap in which `kubeadm` keeps what it was told.
async fn declared(cluster: &Cluster) -> Result<Seen> {
    let resource = cluster.resolve("configmaps", None).await?;
    let target = cluster.object(resource, Some(SYSTEM.to_owned()), "kubeadm-config");
    match cluster.find(&target).await {
        Ok(found) => Ok(Seen::Objects(found.into_iter().collect())),
        Err(error) if error.reason == Reason::Unsupported => Ok(Seen::Objects(Vec::new())),
        Err(error) if matches!(error.reason, Reason::Forbidden | Reason::Unmodelled) => Ok(Seen::Refused(error.to_string())),
        Err(error) => Err(error),
    }
}

/// Reads every version of the cluster. What may not be read is there as unknown.
///
/// # Errors
/// The cluster cannot be reached, or the run was stopped.
pub async fn read(cluster: &Cluster) -> Result<Readings> {
    let lists = Lists::read(cluster).await?;
    let control_plane: Vec<&str> =
        lists.nodes.objects().iter().filter(|node| runs_control_plane(node)).map(|node| view::name(node)).collect();
    let mut all = servers::read(cluster, &lists).await?;
    all.extend(controllers(&lists));
    all.extend(kubelets(&lists.nodes));
    all.extend(proxies(&lists));
    all.extend(others(&lists));
    let kubeadm = !lists.declared.objects().is_empty();
    if kubeadm {
        let nodes: Vec<&str> = lists.nodes.objects().iter().map(|node| view::name(node)).collect();
        all.extend(programs::kubeadm(cluster, &nodes).await?);
    }
    for reading in &mut all {
        reading.control_plane = reading.node.as_deref().is_some_and(|node| control_plane.contains(&node));
    }
    all.sort_by(|a, b| (a.component, &a.node, &a.source).cmp(&(b.component, &b.node, &b.source)));
    Ok(Readings { kubeadm, all })
}

fn runs_control_plane(node: &Json) -> bool {
    let labels = node.pointer("/metadata/labels");
    CONTROL_PLANE_NODE.iter().any(|label| labels.and_then(|labels| labels.get(label)).is_some())
}

/// Pods that are there to stay.
pub(super) fn living(pods: &Seen) -> impl Iterator<Item = &Json> {
    pods.objects().iter().map(AsRef::as_ref).filter(|pod| !view::is_terminating(pod) && !view::is_finished(pod))
}

/// The image that a container of a pod runs. A container runtime may report the digest alone: then it is the one asked for.
pub(super) fn image_of<'a>(pod: &'a Json, container: &str) -> &'a str {
    let status = view::list(pod, "/status/containerStatuses").iter().find(|status| view::text(status, "/name") == container);
    let runs = status.map_or("", |status| view::text(status, "/image"));
    if !runs.is_empty() && !runs.contains("sha256:") {
        return runs;
    }
    asked_image(pod, "/spec/containers", container)
}

/// The image that a container is to run, or the first of them where none has this name. Others may stand before it.
fn asked_image<'a>(object: &'a Json, containers: &str, name: &str) -> &'a str {
    let all = view::list(object, containers);
    all.iter().find(|item| view::text(item, "/name") == name).or(all.first()).map_or("", |asked| view::text(asked, "/image"))
}

/// A mirror pod as a reading; its node is where it runs.
pub(super) fn of_pod(component: Component, pod: &Json) -> Reading {
    let source = format!("pod/{SYSTEM}/{}", view::name(pod));
    let node = Some(view::text(pod, "/spec/nodeName")).filter(|node| !node.is_empty());
    Reading::of_image(component, node, image_of(pod, component.as_str()), source)
}

/// The control plane but for the API servers: mirror pods; where there are none, the lease of the leader tells that there is one.
fn controllers(lists: &Lists) -> Vec<Reading> {
    let mut found = Vec::new();
    for component in [Component::ControllerManager, Component::Scheduler, Component::Etcd, Component::CloudControllerManager] {
        let name = component.as_str();
        let pods: Vec<Reading> =
            living(&lists.pods).filter(|pod| view::label(pod, "component") == name).map(|pod| of_pod(component, pod)).collect();
        if !pods.is_empty() {
            found.extend(pods);
            continue;
        }
        if component == Component::CloudControllerManager {
            found.extend(cloud_controllers(lists));
            continue;
        }
        let lease = lists.leases.objects().iter().find(|lease| view::name(lease) == name);
        let unseen = match (lists.pods.refusal().or(lists.leases.refusal()), lease) {
            (_, Some(_)) => Some(("it holds its lease, and runs outside of the pods that are to be seen".to_owned(), "leases")),
            (Some(why), None) if component.has_rules() => Some((why.to_owned(), "pods and leases")),
            _ => None,
        };
        found.extend(unseen.map(|(why, at)| Reading::missing(component, None, why, format!("{at} in {SYSTEM}"))));
    }
    found
}

/// A provider's controllers have no fixed label: the name has it, or a label.
fn cloud_controllers(lists: &Lists) -> Vec<Reading> {
    let component = Component::CloudControllerManager;
    let is_one = |object: &Json| {
        [view::name(object), view::label(object, "component"), view::label(object, "k8s-app"), view::label(object, "app")]
            .iter()
            .any(|text| text.contains(component.as_str()))
    };
    let mut found = Vec::new();
    for (kind, seen) in [("daemonset", &lists.daemonsets), ("deployment", &lists.deployments)] {
        if let Some(why) = seen.refusal() {
            return vec![Reading::missing(component, None, why, format!("{kind}s in {SYSTEM}"))];
        }
        for workload in seen.objects().iter().filter(|workload| is_one(workload)) {
            let containers = view::list(workload, "/spec/template/spec/containers");
            let main = containers.iter().find(|container| is_one_image(container)).or(containers.first());
            let source = format!("{kind}/{SYSTEM}/{}", view::name(workload));
            found.push(Reading::of_image(component, None, main.map_or("", |main| view::text(main, "/image")), source));
        }
    }
    found
}

fn is_one_image(container: &Json) -> bool {
    let name = Component::CloudControllerManager.as_str();
    view::text(container, "/name").contains(name) || view::text(container, "/image").contains(name)
}

fn kubelets(nodes: &Seen) -> Vec<Reading> {
    if let Some(why) = nodes.refusal() {
        return vec![Reading::missing(Component::Kubelet, None, why, "nodes")];
    }
    let kubelet = |node: &Arc<Json>| {
        let name = view::name(node);
        let text = view::text(node, "/status/nodeInfo/kubeletVersion");
        let mut reading = Reading::of(Component::Kubelet, Some(name), text, format!("node/{name}"));
        if !view::holds(node, "Ready") && reading.version.is_some() {
            let heard = view::condition(node, "Ready").map_or("", |ready| view::text(ready, "/lastHeartbeatTime"));
            let since = if heard.is_empty() { String::new() } else { format!(", last heard of at {heard}") };
            reading.warnings.push(format!("the node is not ready{since}: its version may be an old one"));
        }
        reading
    };
    nodes.objects().iter().map(kubelet).collect()
}

/// The Service proxies: what runs on each node. `nodeInfo.kubeProxyVersion` was always the kubelet's own and is not looked at.
fn proxies(lists: &Lists) -> Vec<Reading> {
    let component = Component::KubeProxy;
    let pods: Vec<Reading> = living(&lists.proxies).map(|pod| of_pod(component, pod)).collect();
    if !pods.is_empty() {
        return pods;
    }
    if let Some(why) = lists.proxies.refusal() {
        return vec![Reading::missing(component, None, why, format!("pods in {SYSTEM}"))];
    }
    let daemonset = lists.daemonsets.objects().iter().find(|daemonset| view::name(daemonset) == component.as_str());
    let asked = daemonset.map(|daemonset| {
        let image = asked_image(daemonset, "/spec/template/spec/containers", component.as_str());
        Reading::of_image(component, None, image, format!("daemonset/{SYSTEM}/{}", component.as_str()))
    });
    asked.into_iter().collect()
}

/// What no skew rule is about.
fn others(lists: &Lists) -> Vec<Reading> {
    let mut found = Vec::new();
    for dns in lists.deployments.objects().iter().filter(|deployment| view::name(deployment) == "coredns") {
        let image = asked_image(dns, "/spec/template/spec/containers", Component::CoreDns.as_str());
        found.push(Reading::of_image(Component::CoreDns, None, image, format!("deployment/{SYSTEM}/coredns")));
    }
    for config in lists.declared.objects() {
        let text = view::text(config, "/data/ClusterConfiguration");
        let declared = text.lines().find_map(|line| line.strip_prefix("kubernetesVersion:")).unwrap_or_default();
        let source = format!("configmap/{SYSTEM}/kubeadm-config");
        found.push(Reading::of(Component::Declared, None, declared.trim().trim_matches('"'), source));
    }
    found
}

/// The kubelet's version of each node.
pub(super) fn kubelet_versions(readings: &[Reading]) -> BTreeMap<&str, &Version> {
    let kubelets = readings.iter().filter(|reading| reading.component == Component::Kubelet);
    kubelets.filter_map(|reading| Some((reading.node.as_deref()?, reading.version.as_ref()?))).collect()
}
