//! A kubeadm cluster from 1.35 to 1.36 over SSH: every node is a machine of its own on loopback, with files of its own and with programs that
//! stand in for kubeadm, apt and systemd and change the API as the real ones do.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};

use super::{Bench, Outcome, copy, file, is_text, rolled_out, text};
use crate::controlplane::Binaries;
use crate::machine::sshd::{Programs, Sshd, user_name};

const MASTERS: [&str; 2] = ["m1", "m2"];
const MACHINES: [&str; 4] = ["m1", "m2", "w1", LEFT_OUT];
/// It is left as it is.
const LEFT_OUT: &str = "w2";
const FROM: &str = "v1.35.2";
const TO: &str = "v1.36.1";
const COMPONENTS: [&str; 3] = ["kube-apiserver", "kube-controller-manager", "kube-scheduler"];

/// The cluster with its machines.
struct Site {
    bench: Bench,
    servers: Vec<Sshd>,
}

/// All nodes one after the other; and before that what is refused.
pub(super) fn upgrade(programs: &Programs, binaries: &Binaries) -> Outcome {
    let site = Site::start(programs, binaries)?;
    let bench = &site.bench;
    let inventory = site.inventory()?;
    let with =
        |more: &[&'static str]| [&["kubeadm-upgrade", "clean_up=true", "--machines", "ssh", "--inventory", &inventory], more].concat();
    let run = |more: &[&'static str]| [&["run"], &with(more)[..], &["--yes"]].concat();

    bench.refuses(&run(&["target=v1.37.0"]), 5, "skips a minor: go by 1.36, then 1.37")?;
    bench.refuses(&run(&["target=v1.36.1", "skip_nodes=w9"]), 2, "w9 is no worker")?;

    let whole = ["target=v1.36.1", "skip_nodes=w2"];
    // What machines say no plan on the server knows.
    let of_copy = [&["kubeadm-upgrade", "clean_up=true"], &whole[..]].concat();
    let roles = bench.roles_of_copy(&of_copy, &text("kubeadm/models.yaml")?)?;
    bench.under(&roles, || bench.run(&run(&whole))?.expect_code(0))?;
    bench.holds(&format!("node/{LEFT_OUT}"), &json!({ "status": { "nodeInfo": { "kubeletVersion": FROM } } }))?;
    // Which pods were on the node that was emptied is for the scheduler to say.
    let writes = bench.writes()?;
    let (evictions, others): (Vec<&str>, Vec<&str>) = writes.lines().partition(|line| line.ends_with("/eviction"));
    is_text("kubeadm.writes", &others.iter().map(|line| format!("{line}\n")).collect::<String>())?;
    if !evictions.contains(&"create shop/pods/web-*/eviction") {
        return Err(format!("only these were evicted: {evictions:?}"));
    }
    for node in MACHINES.iter().filter(|node| **node != LEFT_OUT) {
        let kubelet = json!({ "spec": { "unschedulable": Value::Null }, "status": { "nodeInfo": { "kubeletVersion": TO } } });
        bench.holds(&format!("node/{node}"), &kubelet)?;
        let state = |name: &str| fs::read_to_string(site.room(node).join("var/lib/packages").join(name)).unwrap_or_default();
        let (installed, held) = (state("installed"), state("held"));
        if installed != "kubeadm 1.36.1-1.1\nkubelet 1.36.1-1.1\nkubectl 1.36.1-1.1\n" || held.lines().count() != 3 {
            return Err(format!("{node} has the packages {installed:?}, and holds {held:?}"));
        }
    }
    for node in MASTERS {
        for component in COMPONENTS {
            let runs = json!({ "spec": { "containers": [{ "image": format!("registry.example/{component}:{TO}") }] } });
            bench.holds(&format!("pod/kube-system/{component}-{node}"), &runs)?;
        }
        let kept = site.room(node).join("var/lib/kubeadm-upgrade");
        for file in [format!("etc-kubernetes-before-{TO}.tar.gz"), format!("etcd-before-{TO}.db")] {
            fs::metadata(kept.join(&file)).map_err(|error| format!("{node} has no {file}: {error}"))?;
        }
        let left = site.room(node).join("etc/kubernetes/tmp");
        if fs::read_dir(&left).is_ok_and(|mut left| left.next().is_some()) {
            return Err(format!("kubeadm's own backups are still in {}", left.display()));
        }
    }
    bench.runs("daemonset/kube-system/kube-proxy", "kube-proxy", "registry.example/kube-proxy:v1.36.1")?;
    bench.holds("daemonset/kube-system/kube-proxy", &rolled_out(4))?;
    site.commands_were("kubeadm")
}

impl Site {
    fn start(programs: &Programs, binaries: &Binaries) -> Outcome<Site> {
        // The folder of a member's database, which etcdctl in its pod needs.
        let members: Vec<String> = MASTERS
            .iter()
            .map(|node| {
                let local = format!("local: {{ envs: [{{ name: MEMBER, value: machines/{node}/var/lib/etcd }}] }}");
                let of = format!("metadata: {{ name: etcd-{node}, namespace: kube-system }}");
                format!("apiVersion: kwok.x-k8s.io/v1alpha1\nkind: Exec\n{of}\nspec: {{ execs: [{{ {local} }}] }}\n")
            })
            .collect();
        let bench = Bench::empty(binaries, &members.join("---\n"))?;
        let key = bench.plane.path().join("key");
        programs.key(&key)?;
        let mut site = Site { bench, servers: Vec::new() };
        site.bench.apply(&nodes())?;
        for node in MACHINES {
            site.furnish(node, binaries).map_err(|error| format!("the files of {node}: {error}"))?;
            let server = Sshd::start_in(programs, node, &key.with_extension("pub"), &site.room(node))?;
            site.servers.push(server);
        }
        site.bench.install(&text("kubeadm.yaml")?)?;
        for node in MASTERS {
            site.mirror(node)?;
        }
        Ok(site)
    }

    /// The folder of a machine.
    fn room(&self, node: &str) -> PathBuf {
        self.bench.plane.path().join("machines").join(node)
    }

    /// What is on a machine beforehand.
    fn furnish(&self, node: &str, binaries: &Binaries) -> std::io::Result<()> {
        let room = self.room(node);
        let put = |path: &str, text: &str| {
            let path = room.join(path);
            path.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| fs::write(path, text))
        };
        copy(&file("kubeadm/bin"), &room.join("bin"))?;
        symlink(binaries.path("kubectl"), room.join("bin/kubectl"))?;
        put("etc/os-release", "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nID=debian\n")?;
        put("etc/apt/sources.list.d/kubernetes.list", "deb https://pkgs.k8s.io/core:/stable:/v1.35/deb/ /\n")?;
        put("var/lib/packages/installed", "kubeadm 1.35.2-1.1\nkubelet 1.35.2-1.1\nkubectl 1.35.2-1.1\n")?;
        put("var/lib/packages/held", "kubeadm\nkubelet\nkubectl\n")?;
        put("var/lib/packages/known", "1.35.2-1.1\n")?;
        put("var/lib/packages/repositories", "1.35.2-1.1\n1.35.3-1.1\n1.36.0-1.1\n1.36.1-1.1\n")?;
        let (from, to) = (self.bench.plane.path(), room.join("etc/kubernetes"));
        fs::create_dir_all(&to)?;
        for (name, as_name) in [("admin.kubeconfig", "admin.conf"), ("kubelets.kubeconfig", "kubelet.conf")] {
            fs::copy(from.join(name), to.join(as_name))?;
        }
        for name in ["ca.crt", "admin.crt", "admin.key", "kubelets.crt", "kubelets.key"] {
            fs::copy(from.join(name), to.join(name))?;
        }
        if MASTERS.contains(&node) {
            put("var/lib/etcd/member/snap/db", "a database\n")?;
            let whole = fs::read_to_string(file("kubeadm/static.yaml"))?;
            for component in COMPONENTS.iter().chain(&["etcd"]) {
                let image = if *component == "etcd" { "etcd:3.6.6-0".to_owned() } else { format!("{component}:{FROM}") };
                let manifest = whole.replace("COMPONENT", component).replace("IMAGE", &image);
                put(&format!("etc/kubernetes/manifests/{component}.yaml"), &manifest)?;
            }
        }
        Ok(())
    }

    /// Has the kubelet of a machine make the mirrors of its static pods.
    fn mirror(&self, node: &str) -> Outcome {
        // As on the machine, whose `/etc` is another one.
        let words = ["--mount", "sh", "-c", "mount --bind \"$0/etc\" /etc && exec \"$0/bin/mirror\""];
        let path = format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", self.room(node).join("bin").display());
        let made = Command::new("unshare").args(words).arg(self.room(node)).env("NODE", node).env("PATH", path).output();
        let made = made.map_err(|error| format!("unshare: {error}"))?;
        if !made.status.success() {
            return Err(format!("the static pods of {node}: {}", String::from_utf8_lossy(&made.stderr)));
        }
        self.bench.plane.kubectl(&[
            "wait",
            "--for=condition=Ready",
            "pods",
            "-n",
            "kube-system",
            "-l",
            "tier=control-plane",
            "--timeout=30s",
        ])?;
        Ok(())
    }

    /// Where the machines are, in a file.
    fn inventory(&self) -> Outcome<String> {
        let folder = self.bench.plane.path();
        let known = self.servers.iter().map(Sshd::known).collect::<Outcome<String>>()?;
        let mut text = format!("user: {}\nidentity: key\nknown_hosts: known_hosts\nconfig: /dev/null\nmachines:\n", user_name());
        for (node, server) in MACHINES.iter().zip(&self.servers) {
            text.push_str(&format!("  {node}: {{ address: 127.0.0.1, port: {} }}\n", server.port));
        }
        let path = folder.join("inventory.yaml");
        fs::write(folder.join("known_hosts"), known)
            .and_then(|()| fs::write(&path, text))
            .map_err(|error| format!("the inventory: {error}"))?;
        Ok(path.display().to_string())
    }

    /// What the programs of the machines noted themselves, in the order of time, is in a file.
    fn commands_were(&self, name: &str) -> Outcome {
        let path = self.bench.plane.path().join("machines/commands");
        let ran = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        is_text(&format!("{name}.commands"), &ran)
    }
}

/// The nodes, as their kubelets tell them.
fn nodes() -> String {
    let node = |name: &str| {
        let is_master = MASTERS.contains(&name);
        let mut labels = json!({ "kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64" });
        if is_master {
            labels["node-role.kubernetes.io/control-plane"] = "".into();
        }
        let taints =
            if is_master { json!([{ "key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule" }]) } else { json!([]) };
        let info = json!({
            "kubeletVersion": FROM, "osImage": "Debian GNU/Linux 12 (bookworm)", "containerRuntimeVersion": "containerd://2.1.4",
            "operatingSystem": "linux", "architecture": "amd64", "kernelVersion": "6.1.0-40-amd64", "kubeProxyVersion": "",
            "machineID": name, "systemUUID": name, "bootID": name,
        });
        json!({
            "apiVersion": "v1", "kind": "Node", "metadata": { "name": name, "labels": labels },
            "spec": { "taints": taints }, "status": { "nodeInfo": info },
        })
    };
    MACHINES.iter().map(|name| node(name).to_string()).collect::<Vec<_>>().join("\n---\n")
}
