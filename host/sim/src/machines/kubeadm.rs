//! `kubeadm`: its version, and `upgrade plan`, `apply` and `node` with what they do to the control plane.

use jiff::SignedDuration;

use super::effect::Effect;
use super::scene::{Answer, Scene};
use crate::json::{Array, Value};
use crate::kinds;
use crate::store::{Key, Store};
use crate::view;

/// The kubeconfig that only control-plane nodes have.
pub(super) const ADMIN: &str = "/etc/kubernetes/admin.conf";
/// The static pods in the order in which they are upgraded, with the seconds from the beginning to each.
const COMPONENTS: [(&str, i64); 3] = [("kube-apiserver", 40), ("kube-controller-manager", 70), ("kube-scheduler", 90)];
/// How long `upgrade apply` takes.
const APPLY: i64 = 120;

/// Whether a node says that it belongs to the control plane.
pub(super) fn is_control_plane(node: &Value) -> bool {
    let labels = view::labels(node);
    let has = |label: &str| labels.is_some_and(|labels| labels.get(label).is_some());
    has("node-role.kubernetes.io/control-plane") || has("node-role.kubernetes.io/master")
}

/// The ConfigMap of kubeadm.
pub(super) fn config_key() -> Key {
    Key::new(kinds::CONFIG_MAP, "kube-system", "kubeadm-config")
}

/// The version that the ConfigMap of kubeadm tells.
pub(super) fn cluster_version(store: &Store) -> Option<String> {
    let config = store.get(&config_key())?;
    let text = view::text(config, &["data", "ClusterConfiguration"]);
    text.lines().find_map(|line| line.strip_prefix("kubernetesVersion:")).map(|version| version.trim().trim_matches('"').to_owned())
}

/// Major and minor.
pub(super) fn minor(version: &str) -> Option<(u32, u32)> {
    let mut parts = version.trim_start_matches('v').split('.');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

/// The static pod of a component on a node.
pub(super) fn static_pod(component: &str, node: &str) -> Key {
    Key::new(kinds::POD, "kube-system", format!("{component}-{node}").as_str())
}

/// The image of the component that a static pod runs: of the container that is called like it, as kubeadm calls it, or of the first. Patches
/// of kubeadm can add containers, also before it.
pub(crate) fn image_of_component(pod: &Value) -> Option<&str> {
    let (containers, component) = (view::list(pod, &["spec", "containers"]), view::label(pod, "component"));
    let named = containers.iter().find(|container| view::text(container, &["name"]) == component);
    named.or(containers.first()).map(|container| view::text(container, &["image"]))
}

/// Gives the containers of this name another tag; all of them where none has it.
pub(super) fn retag(containers: Option<&mut Array>, name: &str, tag: &str) {
    let Some(containers) = containers else { return };
    let named = containers.iter().any(|container| view::text(container, &["name"]) == name);
    for container in containers.iter_mut().filter(|container| !named || view::text(container, &["name"]) == name) {
        let image = with_tag(view::text(container, &["image"]), tag);
        view::set(container, &["image"], image);
    }
}

/// The static pods of API servers.
pub(super) fn api_servers(store: &Store) -> impl Iterator<Item = &Value> {
    let pods = store.list(kinds::POD, Some("kube-system")).map(|(_, pod)| &**pod);
    pods.filter(|pod| view::label(pod, "component") == COMPONENTS[0].0)
}

/// Whether it is one of them.
pub(super) fn is_api_server(store: &Store, pod: &Key) -> bool {
    store.get(pod).is_some_and(|pod| view::label(pod, "component") == COMPONENTS[0].0)
}

/// Runs `kubeadm`; `None` when it is called in a way that is not known, or is not installed.
pub(super) fn run(scene: &Scene<'_>, words: &[&str]) -> Option<Answer> {
    let version = scene.version_of("kubeadm")?;
    match words {
        ["version", "-o", "short"] | ["version", "-o=short"] => Some(Answer::says(format!("{version}\n"))),
        ["upgrade", "plan", rest @ ..] => Some(plan(scene, &version, rest)),
        ["upgrade", "apply", target, rest @ ..] if !target.starts_with('-') => Some(apply(scene, &version, target, rest)),
        ["upgrade", "node", rest @ ..] if rest.iter().all(|word| word.starts_with('-')) => Some(node(scene, &version)),
        _ => None,
    }
}

fn no_admin() -> Answer {
    let text = format!(
        "couldn't create a Kubernetes client from file \"{ADMIN}\": failed to load admin kubeconfig: open {ADMIN}: no such file or directory\n\
         To see the stack trace of this error execute with --v=5 or higher\n"
    );
    Answer::fails(1, text)
}

const NO_CONFIG: &str = "[upgrade/config] FATAL: failed to get config map: configmaps \"kubeadm-config\" not found\n";

fn plan(scene: &Scene<'_>, version: &str, words: &[&str]) -> Answer {
    if !scene.machine.files.contains_key(ADMIN) {
        return no_admin();
    }
    let Some(now) = cluster_version(scene.store) else { return Answer::fails(1, NO_CONFIG) };
    let target = words.iter().find(|word| !word.starts_with('-')).copied().unwrap_or(version);
    let mut text = format!(
        "[upgrade/config] Making sure the configuration is correct:\n[preflight] Running pre-flight checks.\n\
         [upgrade] Running cluster health checks\n[upgrade] Fetching available versions to upgrade to\n\
         [upgrade/versions] Cluster version: {now}\n[upgrade/versions] kubeadm version: {version}\n\n"
    );
    text.push_str("Components that must be upgraded manually after you have upgraded the control plane with 'kubeadm upgrade apply':\n");
    text.push_str("COMPONENT   CURRENT   AVAILABLE\n");
    for node in scene.store.list(kinds::NODE, None).map(|(_, node)| node) {
        text.push_str(&format!("kubelet     {}   {target}\n", view::text(node, &["status", "nodeInfo", "kubeletVersion"])));
    }
    text.push_str("\nUpgrade to the latest version:\n\nCOMPONENT   CURRENT   AVAILABLE\n");
    for component in COMPONENTS.iter().map(|(component, _)| *component).chain(["kube-proxy"]) {
        text.push_str(&format!("{component}   {now}   {target}\n"));
    }
    text.push_str(&format!(
        "\nYou can now apply the upgrade by executing the following command:\n\n\tkubeadm upgrade apply {target}\n\n\
         The table below shows the current state of component configs as understood by this version of kubeadm.\n\
         API GROUP                 CURRENT VERSION   PREFERRED VERSION   MANUAL UPGRADE REQUIRED\n\
         kubeproxy.config.k8s.io   v1alpha1          v1alpha1            no\n\
         kubelet.config.k8s.io     v1beta1           v1beta1             no\n"
    ));
    Answer::says(text).takes(5)
}

fn apply(scene: &Scene<'_>, version: &str, target: &str, flags: &[&str]) -> Answer {
    if !scene.machine.files.contains_key(ADMIN) {
        return no_admin();
    }
    let Some(now) = cluster_version(scene.store) else { return Answer::fails(1, NO_CONFIG) };
    if let Some(refusal) = unready_control_plane(scene.store).or_else(|| too_far(&now, version, target)) {
        return refusal;
    }
    let consents = flags.iter().any(|flag| matches!(*flag, "-y" | "--yes" | "-f" | "--force"));
    if !consents {
        let text = "[upgrade/confirm] Are you sure you want to proceed with the upgrade? [y/N]: \n";
        return Answer {
            stdout: text.to_owned(),
            ..Answer::fails(1, "won't proceed; the user didn't answer (Y|y) in order to continue\n")
        };
    }
    if let Some(failure) = does_not_start(scene, target) {
        return failure;
    }
    let text = format!(
        "[upgrade/version] You have chosen to change the cluster version to \"{target}\"\n[upgrade/versions] Cluster version: {now}\n\
         [upgrade/versions] kubeadm version: {version}\n\
         [upgrade/successful] SUCCESS! Your cluster was upgraded to \"{target}\". Enjoy!\n"
    );
    let answer = Answer { takes: SignedDuration::from_secs(APPLY), ..Answer::says(text) };
    control_plane(scene, answer, target).after(APPLY - 10, Effect::ClusterVersion(target.to_owned())).after(APPLY, Effect::Addons)
}

/// With the static pods of this node on the target, one after the other.
fn control_plane(scene: &Scene<'_>, answer: Answer, target: &str) -> Answer {
    let name = view::name(scene.node);
    let tag = target.to_owned();
    COMPONENTS.iter().fold(answer, |answer, (component, at)| {
        let key = static_pod(component, name);
        if scene.store.get(&key).is_some() { answer.after(*at, Effect::StaticPod(key, tag.clone())) } else { answer }
    })
}

fn node(scene: &Scene<'_>, version: &str) -> Answer {
    let Some(target) = cluster_version(scene.store) else { return Answer::fails(1, NO_CONFIG) };
    if minor(version) < minor(&target) {
        let text = format!(
            "this version of kubeadm only supports deploying clusters with a control plane version <= {version}; {target} is newer\n"
        );
        return Answer::fails(1, text);
    }
    let done = "[upgrade] The configuration for this node was successfully updated!\n\
                [upgrade] Now you should go ahead and upgrade the kubelet package using your package manager.\n";
    if !is_control_plane(scene.node) {
        return Answer::says(done).takes(5);
    }
    if let Some(failure) = does_not_start(scene, &target) {
        return failure;
    }
    let text = format!("[upgrade] Upgrading your Static Pod-hosted control plane instance to version \"{target}\"...\n{done}");
    let answer = Answer { takes: SignedDuration::from_secs(APPLY - 20), ..Answer::says(text) };
    control_plane(scene, answer, &target).after(APPLY - 20, Effect::Addons)
}

/// The refusal while a node of the control plane is not ready.
fn unready_control_plane(store: &Store) -> Option<Answer> {
    let nodes = store.list(kinds::NODE, None).map(|(_, node)| node);
    let unready: Vec<&str> =
        nodes.filter(|node| is_control_plane(node) && !view::condition_is_true(node, "Ready")).map(|node| view::name(node)).collect();
    if unready.is_empty() {
        return None;
    }
    let text = format!(
        "[upgrade/health] FATAL: [preflight] Some fatal errors occurred:\n\
         \t[ERROR ControlPlaneNodesReady]: there are NotReady control-planes in the cluster: [{}]\n",
        unready.join(" ")
    );
    Some(Answer::fails(2, text))
}

/// The refusal of a target that is too far away.
fn too_far(now: &str, kubeadm: &str, target: &str) -> Option<Answer> {
    let fatal = |why: String| {
        let text = format!("[upgrade/version] FATAL: the --version argument is invalid due to these fatal errors:\n\n\t- {why}\n");
        Some(Answer::fails(1, text))
    };
    let (Some(from), Some(to), Some(own)) = (minor(now), minor(target), minor(kubeadm)) else {
        return fatal(format!("couldn't parse kubernetes version {target:?}"));
    };
    if to.1 > from.1 + 1 {
        return fatal(format!(
            "Specified version to upgrade to {target:?} is too high; kubeadm can upgrade only 1 minor version at a time"
        ));
    }
    if own < to {
        return fatal(format!(
            "Specified version to upgrade to {target:?} is at least one minor release higher than the kubeadm minor release ({} > {}). Such an upgrade is not supported",
            to.1, own.1
        ));
    }
    None
}

/// When the new image of a static pod cannot be pulled, kubeadm waits and puts the old manifests back.
fn does_not_start(scene: &Scene<'_>, target: &str) -> Option<Answer> {
    let name = view::name(scene.node);
    let images = COMPONENTS.iter().filter_map(|(component, _)| {
        let pod = scene.store.get(&static_pod(component, name))?;
        Some(with_tag(image_of_component(pod)?, target))
    });
    let bad = images.into_iter().find(|image| scene.models.pull_fails(image))?;
    let text = format!(
        "[upgrade/apply] FATAL: couldn't upgrade control plane. kubeadm has tried to recover everything into the earlier state. \
         Errors faced: timed out waiting for the condition ({bad})\n"
    );
    Some(Answer::fails(1, text).takes(300))
}

/// An image with another tag.
fn with_tag(image: &str, tag: &str) -> String {
    let name = image.split('@').next().unwrap_or(image);
    let end = name.rfind(':').filter(|colon| !name[*colon..].contains('/')).unwrap_or(name.len());
    format!("{}:{tag}", &name[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_tag_changes() {
        assert_eq!(with_tag("registry.example:5000/kube-proxy:v1.18.4", "v1.19.16"), "registry.example:5000/kube-proxy:v1.19.16");
        assert_eq!(with_tag("registry.example:5000/kube-proxy", "v1"), "registry.example:5000/kube-proxy:v1");
        assert_eq!(with_tag("k8s.gcr.io/x:v1@sha256:00", "v2"), "k8s.gcr.io/x:v2");
    }

    #[test]
    fn one_minor_at_a_time_and_never_beyond_kubeadm() {
        assert!(too_far("v1.18.4", "v1.19.16", "v1.19.16").is_none());
        assert!(too_far("v1.18.4", "v1.20.0", "v1.20.0").unwrap().stderr.contains("only 1 minor version at a time"));
        assert!(too_far("v1.18.4", "v1.18.9", "v1.19.0").unwrap().stderr.contains("higher than the kubeadm minor release (19 > 18)"));
        assert!(too_far("v1.18.4", "v1.19.16", "soon").unwrap().stderr.contains("couldn't parse"));
    }
}
