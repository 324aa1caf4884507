//! kubeadm clusters from 1.35 to 1.36 over SSH: every node is a machine of its own on loopback, with files of its own and with programs that
//! stand in for kubeadm, for apt or yum, and for systemd, and change the API as the real ones do.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use super::{Bench, Outcome, copy, file, is_record, is_text, rolled_out, text};
use crate::controlplane::Binaries;
use crate::machine::sshd::{Programs, Sshd, user_name};

const FROM: &str = "v1.35.2";
const TO: &str = "v1.36.1";
const COMPONENTS: [&str; 3] = ["kube-apiserver", "kube-controller-manager", "kube-scheduler"];

/// The nodes of a cluster, and what their machines are.
struct Shape {
    masters: &'static [&'static str],
    /// All of them, those before too.
    machines: &'static [&'static str],
    /// It is left as it is.
    left_out: Option<&'static str>,
    /// Whether the nodes of the control plane take what belongs to nobody else.
    shared: bool,
    family: Family,
}

/// What machines of a family say of themselves, and where their packages come from.
struct Family {
    /// The folder of its programs.
    programs: &'static str,
    name: &'static str,
    /// As a `Model` names it.
    system: &'static str,
    release: &'static str,
    source: &'static str,
    repository: &'static str,
    /// The end of the version of a package.
    revision: &'static str,
    refresh: &'static str,
    own_updates: &'static str,
    /// The packages that stay at their version.
    held: &'static [&'static str],
}

const DEBIAN: Family = Family {
    programs: "apt",
    name: "Debian GNU/Linux 12 (bookworm)",
    system: "debian 12",
    release: "ID=debian\n",
    source: "/etc/apt/sources.list.d/kubernetes.list",
    repository: "deb https://pkgs.k8s.io/core:/stable:/v1.35/deb/ /\n",
    revision: "1.1",
    refresh: "apt-get -o DPkg::Lock::Timeout=600 update",
    own_updates: "{ apt-daily-upgrade.timer: inactive }",
    held: &["kubeadm", "kubelet", "kubectl"],
};

const ROCKY: Family = Family {
    programs: "yum",
    name: "Rocky Linux 9.4 (Blue Onyx)",
    system: "rocky 9",
    release: "ID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"\n",
    source: "/etc/yum.repos.d/kubernetes.repo",
    repository: "[kubernetes]\nname=Kubernetes\nbaseurl=https://pkgs.k8s.io/core:/stable:/v1.35/rpm/\nenabled=1\ngpgcheck=1\n\
                 gpgkey=https://pkgs.k8s.io/core:/stable:/v1.35/rpm/repodata/repomd.xml.key\n\
                 exclude=kubelet kubeadm kubectl cri-tools kubernetes-cni\n",
    revision: "150500.1.1",
    refresh: "yum makecache -q",
    own_updates: "{ yum-cron.service: inactive, dnf-automatic.timer: inactive, dnf-automatic-install.timer: inactive }",
    held: &[],
};

/// The cluster with its machines.
struct Site {
    bench: Bench,
    shape: Shape,
    servers: Vec<Sshd>,
}

/// All nodes one after the other; and before that what is refused.
pub(super) fn upgrade(programs: &Programs, binaries: &Binaries) -> Outcome {
    let machines = &["m1", "m2", "w1", "w2"];
    let shape = Shape { masters: &["m1", "m2"], machines, left_out: Some("w2"), shared: false, family: DEBIAN };
    let site = Site::start(programs, binaries, shape)?;
    let bench = &site.bench;
    let inventory = site.inventory()?;
    let with =
        |more: &[&'static str]| [&["kubeadm-upgrade", "clean_up=true", "--machines", "ssh", "--inventory", &inventory], more].concat();
    let run = |more: &[&'static str]| [&["run"], &with(more)[..], &["--yes"]].concat();

    bench.refuses(&run(&["target=v1.37.0"]), 5, "skips a minor: go by 1.36, then 1.37")?;
    bench.refuses(&run(&["target=v1.36.1", "skip_nodes=w9"]), 2, "w9 is no worker")?;

    site.upgraded(&["kubeadm-upgrade", "clean_up=true", "target=v1.36.1", "skip_nodes=w2"], &inventory)?;
    site.is_as_in("kubeadm")
}

/// Nodes are emptied before kubeadm, on machines with yum; one of the two is the control plane and takes pods too.
pub(super) fn emptied_first(programs: &Programs, binaries: &Binaries) -> Outcome {
    let shape = Shape { masters: &["m1"], machines: &["m1", "w1"], left_out: None, shared: true, family: ROCKY };
    let site = Site::start(programs, binaries, shape)?;
    let inventory = site.inventory()?;
    site.upgraded(&["kubeadm-upgrade", "clean_up=true", "target=v1.36.1", "order=seed"], &inventory)?;
    site.is_as_in("kubeadm-yum")
}

impl Site {
    fn start(programs: &Programs, binaries: &Binaries, shape: Shape) -> Outcome<Site> {
        // The folder of a member's database, which etcdctl in its pod needs.
        let members: Vec<String> = shape
            .masters
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
        let mut site = Site { bench, shape, servers: Vec::new() };
        site.bench.apply(&site.shape.nodes())?;
        for node in site.shape.machines {
            site.furnish(node, binaries).map_err(|error| format!("the files of {node}: {error}"))?;
            let server = Sshd::start_in(programs, node, &key.with_extension("pub"), &site.room(node))?;
            site.servers.push(server);
        }
        site.bench.install(&text("kubeadm.yaml")?)?;
        for node in site.shape.masters {
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
        let family = &self.shape.family;
        for programs in ["bin", family.programs] {
            copy(&file("kubeadm").join(programs), &room.join("bin"))?;
        }
        symlink(binaries.path("kubectl"), room.join("bin/kubectl"))?;
        put("etc/os-release", &format!("PRETTY_NAME=\"{}\"\n{}", family.name, family.release))?;
        put(family.source.trim_start_matches('/'), family.repository)?;
        let versions = |all: &[&str]| all.iter().map(|version| format!("{version}-{}\n", family.revision)).collect::<String>();
        put("var/lib/packages/installed", &family.packages("1.35.2"))?;
        put("var/lib/packages/held", &family.held.iter().map(|name| format!("{name}\n")).collect::<String>())?;
        put("var/lib/packages/known", &versions(&["1.35.2"]))?;
        put("var/lib/packages/repositories", &versions(&["1.35.2", "1.35.3", "1.36.0", "1.36.1"]))?;
        give_access(self.bench.plane.path(), &room)?;
        if self.shape.masters.contains(&node) {
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
        inventory(self.bench.plane.path(), self.shape.machines.iter().copied().zip(&self.servers))
    }

    /// Runs the upgrade under exactly its roles, and looks at every node.
    fn upgraded(&self, runbook: &[&str], inventory: &str) -> Outcome {
        let (bench, Shape { masters, machines, left_out, family, .. }) = (&self.bench, &self.shape);
        // What machines say no plan on the server knows.
        let roles = bench.roles_of_copy(runbook, &family.models()?)?;
        let run = [&["run"], runbook, &["--machines", "ssh", "--inventory", inventory, "--yes"]].concat();
        bench.under(&roles, || bench.run(&run)?.expect_code(0))?;
        if let Some(node) = left_out {
            bench.holds(&format!("node/{node}"), &json!({ "status": { "nodeInfo": { "kubeletVersion": FROM } } }))?;
        }
        for node in machines.iter().filter(|node| Some(**node) != *left_out) {
            let kubelet = json!({ "spec": { "unschedulable": Value::Null }, "status": { "nodeInfo": { "kubeletVersion": TO } } });
            bench.holds(&format!("node/{node}"), &kubelet)?;
            let state = |name: &str| fs::read_to_string(self.room(node).join("var/lib/packages").join(name)).unwrap_or_default();
            let (installed, held) = (state("installed"), state("held"));
            if installed != family.packages("1.36.1") || held.lines().count() != family.held.len() {
                return Err(format!("{node} has the packages {installed:?}, and holds {held:?}"));
            }
        }
        for node in *masters {
            for component in COMPONENTS {
                let runs = json!({ "spec": { "containers": [{ "image": format!("registry.example/{component}:{TO}") }] } });
                bench.holds(&format!("pod/kube-system/{component}-{node}"), &runs)?;
            }
            let kept = self.room(node).join("var/lib/kubeadm-upgrade");
            for file in [format!("etc-kubernetes-before-{TO}.tar.gz"), format!("etcd-before-{TO}.db")] {
                fs::metadata(kept.join(&file)).map_err(|error| format!("{node} has no {file}: {error}"))?;
            }
            let left = self.room(node).join("etc/kubernetes/tmp");
            if fs::read_dir(&left).is_ok_and(|mut left| left.next().is_some()) {
                return Err(format!("kubeadm's own backups are still in {}", left.display()));
            }
        }
        bench.runs("daemonset/kube-system/kube-proxy", "kube-proxy", "registry.example/kube-proxy:v1.36.1")?;
        bench.holds("daemonset/kube-system/kube-proxy", &rolled_out(machines.len() as u64))
    }

    /// What was written, and what the programs of the machines noted themselves, both in the order of time, are in files.
    fn is_as_in(&self, name: &str) -> Outcome {
        // Which pods were on the node that was emptied is for the scheduler to say.
        let writes = self.bench.writes()?;
        let (evictions, others): (Vec<&str>, Vec<&str>) = writes.lines().partition(|line| line.ends_with("/eviction"));
        is_record(&self.bench.plane, name, &others.iter().map(|line| format!("{line}\n")).collect::<String>())?;
        if !evictions.contains(&"create shop/pods/web-*/eviction") {
            return Err(format!("only these were evicted: {evictions:?}"));
        }
        let path = self.bench.plane.path().join("machines/commands");
        let ran = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        is_text(&format!("{name}.commands"), &ran)
    }
}

/// Gives the machine of this room, as a node of the control plane has it, what leads to the API server.
pub(super) fn give_access(folder: &Path, room: &Path) -> std::io::Result<()> {
    let to = room.join("etc/kubernetes");
    fs::create_dir_all(&to)?;
    for (name, as_name) in [("admin.kubeconfig", "admin.conf"), ("kubelets.kubeconfig", "kubelet.conf")] {
        fs::copy(folder.join(name), to.join(as_name))?;
    }
    for name in ["ca.crt", "admin.crt", "admin.key", "kubelets.crt", "kubelets.key"] {
        fs::copy(folder.join(name), to.join(name))?;
    }
    Ok(())
}

/// Writes where machines are, and by which key they are reached, to a file of this folder; gives its path.
pub(super) fn inventory<'a>(folder: &Path, machines: impl IntoIterator<Item = (&'a str, &'a Sshd)>) -> Outcome<String> {
    let mut text = format!("user: {}\nidentity: key\nknown_hosts: known_hosts\nconfig: /dev/null\nmachines:\n", user_name());
    let mut known = String::new();
    for (node, server) in machines {
        text.push_str(&format!("  {node}: {{ address: 127.0.0.1, port: {} }}\n", server.port));
        known.push_str(&server.known()?);
    }
    let path = folder.join("inventory.yaml");
    fs::write(folder.join("known_hosts"), known)
        .and_then(|()| fs::write(&path, text))
        .map_err(|error| format!("the inventory: {error}"))?;
    Ok(path.display().to_string())
}

impl Family {
    /// What is installed of a version, as the machine notes it.
    fn packages(&self, version: &str) -> String {
        ["kubeadm", "kubelet", "kubectl"].iter().map(|name| format!("{name} {version}-{}\n", self.revision)).collect()
    }

    /// The models that play the machines in a copy.
    fn models(&self) -> Outcome<String> {
        let held = self.held.join(", ");
        Ok(text("kubeadm/models.yaml")?
            .replace("SYSTEM", self.system)
            .replace("REVISION", self.revision)
            .replace("SOURCE", self.source)
            .replace("TEXT", &Value::from(self.repository).to_string())
            .replace("REFRESH", self.refresh)
            .replace("OWN_UPDATES", self.own_updates)
            .replace("HELD", &format!("[{held}]")))
    }
}

impl Shape {
    /// The nodes, as their kubelets tell them.
    fn nodes(&self) -> String {
        let node = |name: &str| {
            let is_master = self.masters.contains(&name);
            let mut labels = json!({ "kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64" });
            if is_master {
                labels["node-role.kubernetes.io/control-plane"] = "".into();
            }
            let own = json!([{ "key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule" }]);
            let taints = if is_master && !self.shared { own } else { json!([]) };
            let info = json!({
                "kubeletVersion": FROM, "osImage": self.family.name, "containerRuntimeVersion": "containerd://2.1.4",
                "operatingSystem": "linux", "architecture": "amd64", "kernelVersion": "6.1.0-40-amd64", "kubeProxyVersion": "",
                "machineID": name, "systemUUID": name, "bootID": name,
            });
            json!({
                "apiVersion": "v1", "kind": "Node", "metadata": { "name": name, "labels": labels },
                "spec": { "taints": taints }, "status": { "nodeInfo": info },
            })
        };
        self.machines.iter().map(|name| node(name).to_string()).collect::<Vec<_>>().join("\n---\n")
    }
}
