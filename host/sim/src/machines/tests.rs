//! Machines in a small kubeadm cluster: one node of the control plane, one worker on Debian, one on CentOS.

use jiff::{SignedDuration, Timestamp};

use super::{Deed, Order, Progress, Refusal};
use crate::cluster::{Cluster, Options};
use crate::fixture::Fixture;
use crate::json::Value;
use crate::kinds;
use crate::model::ModelDocument;
use crate::request::{Body, Request};
use crate::store::Key;
use crate::view;
use crate::watch::WatchPoll;

const FIXTURE: &str = include_str!("tests.yaml");

fn cluster() -> Cluster {
    Fixture::parse("machines.yaml", FIXTURE).unwrap().cluster(Options::default()).unwrap()
}

fn model(cluster: &mut Cluster, machines: &str) {
    let document: ModelDocument =
        serde_saphyr::from_str(&format!("apiVersion: lockgate.dev/v1\nkind: Model\nmachines: [{machines}]\n")).unwrap();
    cluster.models_mut().extend(document);
}

fn order(node: &str, id: &str, line: &str) -> Order {
    let argv = line.split(' ').map(str::to_owned).collect();
    Order { node: node.to_owned(), id: id.to_owned(), reads: false, deed: Deed::Run { argv } }
}

/// Runs a command to its end: code, standard output, standard error.
fn run(cluster: &mut Cluster, node: &str, line: &str) -> (u8, String, String) {
    let id = format!("{}", cluster.event_log().len());
    let ends = cluster.order(&order(node, &id, line)).unwrap();
    assert!(cluster.advance_to(ends), "{:?}", cluster.failure());
    match cluster.ordered(node, &id).unwrap() {
        Progress::Ended { code, stdout, stderr } => (code, stdout, stderr),
        other => panic!("{line}: {other:?}"),
    }
}

fn well(cluster: &mut Cluster, node: &str, line: &str) -> String {
    let (code, stdout, stderr) = run(cluster, node, line);
    assert_eq!(code, 0, "{line}: {stdout}{stderr}");
    stdout
}

fn seconds(cluster: &mut Cluster, seconds: i64) {
    let to = cluster.now() + SignedDuration::from_secs(seconds);
    assert!(cluster.advance_to(to), "{:?}", cluster.failure());
}

fn node(cluster: &Cluster, name: &str) -> Value {
    (**cluster.store().get(&Key::new(kinds::NODE, "", name)).unwrap()).clone()
}

fn kubelet_version(cluster: &Cluster, name: &str) -> String {
    view::text(&node(cluster, name), &["status", "nodeInfo", "kubeletVersion"]).to_owned()
}

fn image(cluster: &Cluster, pod: &str) -> String {
    let pod = cluster.store().get(&Key::new(kinds::POD, "kube-system", pod)).unwrap();
    view::text(&view::list(pod, &["spec", "containers"])[0], &["image"]).to_owned()
}

#[test]
fn packages_are_installed_held_and_told_on_debian() {
    let mut c = cluster();
    let query = "dpkg-query -W -f ${Package} ${db:Status-Status} ${Version}\\n kubeadm";
    let words: Vec<String> =
        vec!["dpkg-query", "-W", "-f", "${Package} ${db:Status-Status} ${Version}\\n", "kubeadm"].into_iter().map(str::to_owned).collect();
    let asked = |c: &mut Cluster, id: &str| {
        let order = Order { node: "w1".to_owned(), id: id.to_owned(), reads: true, deed: Deed::Run { argv: words.clone() } };
        c.order(&order).unwrap();
        match c.ordered("w1", id).unwrap() {
            Progress::Ended { stdout, .. } => stdout,
            other => panic!("{query}: {other:?}"),
        }
    };
    assert_eq!(asked(&mut c, "a"), "kubeadm installed 1.18.4-00\n");
    assert_eq!(well(&mut c, "w1", "apt-mark showhold"), "kubeadm\nkubelet\n");
    let (code, _, told) = run(&mut c, "w1", "apt-get install -y kubeadm=1.19.16-00");
    assert_eq!((code, told.contains("Held packages were changed")), (100, true), "{told}");
    assert!(
        well(&mut c, "w1", "apt-get install -y --allow-change-held-packages kubeadm=1.19.*").contains("Setting up kubeadm (1.19.16-00)")
    );
    assert_eq!(asked(&mut c, "b"), "kubeadm installed 1.19.16-00\n");
    assert_eq!(well(&mut c, "w1", "kubeadm version -o short"), "v1.19.16\n");
    assert_eq!(well(&mut c, "w1", "apt-mark showhold"), "kubelet\n", "its hold is gone");
    assert_eq!(well(&mut c, "w1", "apt-mark hold kubeadm kubelet"), "kubeadm set on hold.\nkubelet was already set on hold.\n");
    let (code, _, told) = run(&mut c, "w1", "apt-get install -y --allow-change-held-packages kubeadm=1.18.4-00");
    assert_eq!((code, told.contains("--allow-downgrades")), (100, true), "{told}");
    let (code, _, told) = run(&mut c, "w1", "apt-get install -y kubeadm=1.99.0-00");
    assert_eq!((code, told.as_str()), (100, "E: Version '1.99.0-00' for 'kubeadm' was not found\n"));
    assert!(well(&mut c, "w1", "apt-cache madison kubeadm").starts_with("   kubeadm |   1.19.16-00 |"));
}

#[test]
fn packages_are_installed_on_red_hat_and_only_there() {
    let mut c = cluster();
    assert!(well(&mut c, "w2", "yum list --showduplicates kubeadm --disableexcludes=kubernetes").contains("kubeadm.x86_64    1.19.16-0 "));
    assert!(well(&mut c, "w2", "yum install -y kubeadm-1.19.16-0 --disableexcludes=kubernetes").contains("Complete!"));
    assert_eq!(well(&mut c, "w2", "kubeadm version -o short"), "v1.19.16\n");
    well(&mut c, "w2", "yum install -y kubeadm-1.18.4-0");
    assert_eq!(well(&mut c, "w2", "kubeadm version -o short"), "v1.19.16\n", "install does not go back");
    well(&mut c, "w2", "yum downgrade -y kubeadm-1.18.4-0");
    assert_eq!(well(&mut c, "w2", "kubeadm version -o short"), "v1.18.4\n");
    assert!(matches!(c.order(&order("w2", "x", "apt-get update")), Err(Refusal::Unmodelled(_))));
}

#[test]
fn the_kubelet_tells_its_new_version_when_it_starts_again() {
    let mut c = cluster();
    well(&mut c, "w1", "apt-get install -y --allow-change-held-packages kubelet=1.19.16-00");
    assert_eq!(kubelet_version(&c, "w1"), "v1.18.4", "the old one still runs");
    assert_eq!(well(&mut c, "w1", "kubelet --version"), "Kubernetes v1.19.16\n");
    well(&mut c, "w1", "systemctl restart kubelet");
    assert_eq!(kubelet_version(&c, "w1"), "v1.19.16");
    assert!(!view::condition_is_true(&node(&c, "w1"), "Ready"), "it has only just started");
    seconds(&mut c, 10);
    assert!(view::condition_is_true(&node(&c, "w1"), "Ready"));
}

#[test]
fn a_kubelet_may_take_longer_to_be_ready() {
    let mut c = cluster();
    model(&mut c, "{node: w1, ready: 60s, why: many volumes}");
    let ready = |c: &Cluster| view::condition_is_true(&node(c, "w1"), "Ready");
    well(&mut c, "w1", "systemctl restart kubelet");
    assert!(!ready(&c));
    seconds(&mut c, 58);
    assert!(!ready(&c), "59 s after its start");
    seconds(&mut c, 2);
    assert!(ready(&c));
}

#[test]
fn a_lock_of_the_package_tool_is_waited_for_or_not() {
    let install = |options: &str| format!("apt-get {options} install -y --allow-change-held-packages kubeadm=1.19.16-00");
    // Who does not wait fails until the time is up, which begins with the first who wants the lock.
    let mut c = cluster();
    model(&mut c, "{node: 'w*', locked: 30s, why: unattended-upgrades}");
    seconds(&mut c, 600);
    for _ in 0..3 {
        let begun = c.now();
        let (code, _, told) = run(&mut c, "w1", &install("-q"));
        assert_eq!((code, told.starts_with("E: Could not get lock /var/lib/dpkg/lock-frontend.")), (100, true), "{told}");
        assert_eq!(c.now(), begun, "it says so at once");
        assert_eq!(well(&mut c, "w1", "kubeadm version -o short"), "v1.18.4\n");
        seconds(&mut c, 10);
    }
    well(&mut c, "w1", &install("-q"));
    assert_eq!(well(&mut c, "w1", "kubeadm version -o short"), "v1.19.16\n");
    // Who waits takes so much longer, and gives up when his time ends first.
    for (timeout, code, took) in [("600", 0, 50), ("-1", 0, 50), ("12", 100, 12)] {
        let mut c = cluster();
        model(&mut c, "{node: w1, locked: 30s, why: unattended-upgrades}");
        let begun = c.now();
        assert_eq!(run(&mut c, "w1", &install(&format!("-o DPkg::Lock::Timeout={timeout}"))).0, code, "{timeout}");
        assert_eq!((c.now() - begun).get_seconds(), took, "{timeout}");
    }
    let begun = c.now();
    well(&mut c, "w2", "yum install -y kubeadm-1.19.16-0");
    assert_eq!((c.now() - begun).get_seconds(), 50, "yum waits as long as it takes");
    assert!(matches!(c.order(&order("w1", "x", &install("-o DPkg::Lock::Timeout=soon"))), Err(Refusal::Unmodelled(_))));
}

#[test]
fn the_only_api_server_may_be_away_while_it_is_replaced() {
    let mut c = cluster();
    model(&mut c, "{node: m1, api_away: 25s, why: one server alone}");
    well(&mut c, "m1", "apt-get install -y --allow-change-held-packages kubeadm=1.19.16-00");
    let watch = match c.handle(&Request::get("/api/v1/nodes?watch=true")).body {
        Body::Watch(id) => id,
        other => panic!("{other:?}"),
    };
    while matches!(c.poll_watch(watch), WatchPoll::Event(_)) {}
    let begun = c.now();
    c.order(&order("m1", "apply", "kubeadm upgrade apply v1.19.16 -y")).unwrap();
    let reached = |c: &mut Cluster, path: &str| !c.handle(&Request::get(path)).conduct.refused;
    let mut away = 0;
    for _ in 0..120 {
        seconds(&mut c, 1);
        let there = reached(&mut c, "/api/v1/nodes");
        assert_eq!(there, reached(&mut c, "/readyz"));
        away += i64::from(!there);
        if away == 1 && !there {
            assert_eq!((c.now() - begun).get_seconds(), 40, "when its static pod is replaced");
            assert_eq!(c.poll_watch(watch), WatchPoll::Closed, "connections break");
        }
    }
    assert_eq!(away, 25);
    assert_eq!(image(&c, "kube-apiserver-m1"), "registry.example/kube-apiserver:v1.19.16");
    assert!(matches!(c.ordered("m1", "apply").unwrap(), Progress::Ended { code: 0, .. }));
}

#[test]
fn a_stopped_kubelet_leaves_its_node_unknown_until_it_starts() {
    let mut c = cluster();
    well(&mut c, "w1", "systemctl stop kubelet");
    assert_eq!(run(&mut c, "w1", "systemctl is-active kubelet").1, "inactive\n");
    seconds(&mut c, 60);
    assert_eq!(view::text(view::condition(&node(&c, "w1"), "Ready").unwrap(), &["status"]), "Unknown");
    well(&mut c, "w1", "systemctl start kubelet.service");
    seconds(&mut c, 15);
    assert!(view::condition_is_true(&node(&c, "w1"), "Ready"));
    assert_eq!(run(&mut c, "w1", "systemctl restart none").0, 5);
}

#[test]
fn a_reboot_kills_what_runs_and_gives_another_boot_id() {
    let mut c = cluster();
    let boot = |c: &mut Cluster| well(c, "w1", "cat /proc/sys/kernel/random/boot_id");
    let before = boot(&mut c);
    model(&mut c, "{node: w1, boot: 90s, why: a slow firmware, commands: [{argv: sleep *, takes: 10m}]}");
    c.order(&order("w1", "long", "sleep 600")).unwrap();
    c.order(&order("w1", "boot", "systemctl reboot")).unwrap();
    seconds(&mut c, 2);
    assert!(matches!(c.ordered("w1", "long"), Err(Refusal::Away(_))));
    assert!(matches!(c.order(&order("w1", "now", "true")), Err(Refusal::Away(_))));
    seconds(&mut c, 55);
    assert_eq!(view::text(view::condition(&node(&c, "w1"), "Ready").unwrap(), &["status"]), "Unknown");
    seconds(&mut c, 60);
    assert_eq!(c.ordered("w1", "long").unwrap(), Progress::Killed);
    let after = boot(&mut c);
    assert_ne!(before, after);
    assert!(view::condition_is_true(&node(&c, "w1"), "Ready"));
    assert_eq!(format!("{}\n", view::text(&node(&c, "w1"), &["status", "nodeInfo", "bootID"])), after);
}

#[test]
fn a_second_order_of_the_same_name_does_nothing() {
    let mut c = cluster();
    model(&mut c, "{node: w1, why: counted, commands: [{argv: touch it, takes: 30s, effect: {files: {/it: one}}}]}");
    let first = c.order(&order("w1", "op", "touch it")).unwrap();
    seconds(&mut c, 10);
    assert_eq!(c.order(&order("w1", "op", "touch it")).unwrap(), first);
    assert_eq!(c.ordered("w1", "op").unwrap(), Progress::Running(first));
    assert_eq!(c.ordered("w1", "other").unwrap(), Progress::Unknown);
    seconds(&mut c, 20);
    assert_eq!(well(&mut c, "w1", "cat /it"), "one");
    assert_eq!(c.event_log().filter(|line| line.ends_with("MACHINE w1 touch it")).count(), 1);
}

#[test]
fn kubeadm_upgrades_the_control_plane_then_the_rest() {
    let mut c = cluster();
    let proxy = |c: &Cluster| {
        let set = c.store().get(&Key::new(kinds::DAEMON_SET, "kube-system", "kube-proxy")).unwrap().clone();
        view::text(&view::list(&set, &["spec", "template", "spec", "containers"])[0], &["image"]).to_owned()
    };
    assert!(run(&mut c, "w1", "kubeadm upgrade plan").2.contains("admin.conf"), "only where the kubeconfig is");
    well(&mut c, "m1", "apt-get install -y --allow-change-held-packages kubeadm=1.19.16-00");
    assert!(well(&mut c, "m1", "kubeadm upgrade plan v1.19.16").contains("kubeadm upgrade apply v1.19.16"));
    assert_eq!(run(&mut c, "m1", "kubeadm upgrade apply v1.19.16").0, 1, "nobody said yes");
    assert_eq!(run(&mut c, "m1", "kubeadm upgrade apply v1.20.1 -y").0, 1, "two minors at once");
    assert_eq!(image(&c, "kube-apiserver-m1"), "registry.example/kube-apiserver:v1.18.4");
    let begun = c.now();
    well(&mut c, "m1", "kubeadm upgrade apply v1.19.16 -y");
    assert_eq!(c.now(), begun + SignedDuration::from_secs(120));
    for component in ["kube-apiserver", "kube-controller-manager", "kube-scheduler"] {
        assert_eq!(image(&c, &format!("{component}-m1")), format!("registry.example/{component}:v1.19.16"));
    }
    assert_eq!(proxy(&c), "registry.example/kube-proxy:v1.19.16");
    seconds(&mut c, 300);
    let proxies = c.store().list(kinds::POD, Some("kube-system")).filter(|(_, pod)| view::label(pod, "k8s-app") == "kube-proxy");
    let images: Vec<&str> = proxies.map(|(_, pod)| view::text(&view::list(pod, &["spec", "containers"])[0], &["image"])).collect();
    assert!(!images.is_empty() && images.iter().all(|image| image.ends_with(":v1.19.16")), "{images:?}");
    let config = c.store().get(&Key::new(kinds::CONFIG_MAP, "kube-system", "kubeadm-config")).unwrap();
    assert!(view::text(config, &["data", "ClusterConfiguration"]).contains("\nkubernetesVersion: v1.19.16\n"));
    assert!(c.store().get(&Key::new(kinds::CONFIG_MAP, "kube-system", "kubelet-config-1.19")).is_some());
    well(&mut c, "m1", "kubeadm upgrade apply v1.19.16 -y");
    let (code, _, told) = run(&mut c, "w1", "kubeadm upgrade node");
    assert_eq!((code, told.contains("v1.19.16 is newer")), (1, true), "{told}");
    well(&mut c, "w1", "apt-get install -y --allow-change-held-packages kubeadm=1.19.16-00");
    well(&mut c, "w1", "kubeadm upgrade node");
}

#[test]
fn an_image_that_cannot_be_pulled_leaves_the_control_plane_as_it_was() {
    let mut c = cluster();
    c.models_mut().never_pulls("*kube-scheduler:v1.19.16");
    well(&mut c, "m1", "apt-get install -y --allow-change-held-packages kubeadm=1.19.16-00");
    let (code, _, told) = run(&mut c, "m1", "kubeadm upgrade apply v1.19.16 -y");
    assert_eq!((code, told.contains("recover everything into the earlier state")), (1, true), "{told}");
    assert_eq!(image(&c, "kube-apiserver-m1"), "registry.example/kube-apiserver:v1.18.4");
}

#[test]
fn an_unready_control_plane_is_not_upgraded() {
    let mut c = cluster();
    well(&mut c, "m1", "apt-get install -y --allow-change-held-packages kubeadm=1.19.16-00");
    well(&mut c, "m1", "systemctl stop kubelet");
    seconds(&mut c, 60);
    let (code, _, told) = run(&mut c, "m1", "kubeadm upgrade apply v1.19.16 -y");
    assert_eq!((code, told.contains("ControlPlaneNodesReady")), (2, true), "{told}");
}

#[test]
fn files_are_written_read_copied_and_removed() {
    let mut c = cluster();
    assert_eq!(run(&mut c, "w1", "cat /none"), (1, String::new(), "cat: /none: No such file or directory\n".to_owned()));
    let deed = Deed::Write { path: "/etc/x.conf".to_owned(), text: "a\nb\n".to_owned(), mode: Some(0o600) };
    c.order(&Order { node: "w1".to_owned(), id: "w".to_owned(), reads: false, deed }).unwrap();
    assert_eq!(well(&mut c, "w1", "cat /etc/x.conf"), "a\nb\n");
    well(&mut c, "w1", "cp -a -- /etc/x.conf /var/x");
    well(&mut c, "w1", "rm -f -- /etc/x.conf /etc/y.conf");
    assert_eq!(run(&mut c, "w1", "test -e /etc/x.conf").0, 1);
    assert_eq!(well(&mut c, "w1", "cat /var/x"), "a\nb\n");
    assert!(well(&mut c, "w2", "cat /etc/os-release").contains("ID=centos\nID_LIKE=\"rhel fedora\""));
    assert_eq!(well(&mut c, "w1", "swapon --show"), "");
}

#[test]
fn what_nobody_modelled_is_refused_by_name_and_readers_change_nothing() {
    let mut c = cluster();
    let refused = c.order(&order("w1", "a", "etcdctl snapshot save x")).unwrap_err();
    assert_eq!(
        refused,
        Refusal::Unmodelled("`etcdctl snapshot save x` on the machine of node w1: no `commands` entry is about it".to_owned())
    );
    assert_eq!(c.order(&Order { reads: true, ..order("w1", "b", "systemctl stop kubelet") }), Err(Refusal::Changes));
    assert_eq!(run(&mut c, "w1", "systemctl is-active kubelet").1, "active\n");
    assert_eq!(c.order(&order("z9", "c", "true")), Err(Refusal::NoNode));
    let mut unmodelled = Cluster::new(Options::default());
    let text = "the machine of node w1: no `machines` entry of a Model document is about it";
    assert_eq!(unmodelled.order(&order("w1", "c", "true")), Err(Refusal::Unmodelled(text.to_owned())));
}

#[test]
fn entries_win_over_programs_and_later_ones_over_earlier_ones() {
    let mut c = cluster();
    model(&mut c, "{node: 'w*', why: seen, commands: [{argv: kubelet --version, stdout: one}, {argv: 'kubelet *', code: 7, stderr: two}]}");
    assert_eq!(run(&mut c, "w1", "kubelet --version"), (7, String::new(), "two".to_owned()));
    model(
        &mut c,
        "{node: w1, why: a new repository, commands: [{argv: apt-get update, when: {file: /etc/apt/k8s.list, contains: v1.20}, \
         effect: {available: {kubeadm: [1.20.1-00]}}}]}",
    );
    well(&mut c, "w1", "apt-get update");
    assert!(!well(&mut c, "w1", "apt-cache madison kubeadm").contains("1.20.1-00"), "the file does not say so yet");
    let deed = Deed::Write { path: "/etc/apt/k8s.list".to_owned(), text: "deb v1.20\n".to_owned(), mode: None };
    c.order(&Order { node: "w1".to_owned(), id: "w".to_owned(), reads: false, deed }).unwrap();
    well(&mut c, "w1", "apt-get update");
    assert!(well(&mut c, "w1", "apt-cache madison kubeadm").contains("1.20.1-00"));
    model(
        &mut c,
        "{node: w1, why: seen, commands: [{argv: relabel, effect: {objects: [{object: node/w1, merge: {metadata: {labels: {a: b}}}}]}}]}",
    );
    well(&mut c, "w1", "relabel");
    assert_eq!(view::label(&node(&c, "w1"), "a"), "b");
}

#[test]
fn a_fork_goes_its_own_way() {
    let mut c = cluster();
    well(&mut c, "w1", "cat /etc/os-release");
    let mut fork = c.fork();
    well(&mut fork, "w1", "apt-get install -y --allow-change-held-packages kubelet=1.19.16-00");
    well(&mut fork, "w1", "systemctl restart kubelet");
    assert_eq!((kubelet_version(&fork, "w1").as_str(), kubelet_version(&c, "w1").as_str()), ("v1.19.16", "v1.18.4"));
    let at: Timestamp = c.now();
    assert!(fork.now() > at);
}

#[test]
fn files_are_looked_at() {
    let mut c = cluster();
    let deed = Deed::Write { path: "/srv/data".to_owned(), text: "a\n===\nb\n===\n".to_owned(), mode: None };
    c.order(&Order { node: "w1".to_owned(), id: "data".to_owned(), reads: false, deed }).unwrap();
    assert_eq!(well(&mut c, "w1", "grep -c ^===$ /srv/data"), "2\n");
    assert!(well(&mut c, "w1", "sha256sum /srv/data").ends_with("  /srv/data\n"));
    assert_eq!(well(&mut c, "w1", "ls -1 /srv"), "data\n");
    assert_eq!(run(&mut c, "w1", "grep -c nothing /srv/data").0, 1);
    assert_eq!(run(&mut c, "w1", "ls -1 /nowhere").0, 2);
    well(&mut c, "w1", "tar -C /srv -czf /var/backup.tgz data");
    well(&mut c, "w1", "test -s /var/backup.tgz");
    assert_eq!(run(&mut c, "w1", "tar -C /srv -czf /var/none.tgz nothing").0, 2);
    assert_eq!(run(&mut c, "w1", "test -e /var/none.tgz").0, 1);
    assert_eq!(run(&mut c, "w1", "sha256sum /nowhere").0, 1);
    assert!(matches!(c.order(&order("w1", "y", "grep -c a+ /srv/data")), Err(Refusal::Unmodelled(_))), "it means another thing elsewhere");
}
