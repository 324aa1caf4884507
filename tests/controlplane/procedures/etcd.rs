//! Calico 3.22 with its data in etcd: how it gets there from 3.13, and how the data moves into the Kubernetes API. etcd is a folder, and
//! calicoctl (`etcd/bin/`) a stand-in that reads and writes it, in a pod or on a machine, and the API as the real one does.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::kubeadm::{give_access, inventory};
use super::{Bench, Outcome, copy, differs, file, fixture_of, parsed, rolled_out, text};
use crate::controlplane::plane::Server;
use crate::controlplane::{Binaries, command};
use crate::machine::sshd::{Programs, Sshd};

const AGENT: &str = "daemonset/kube-system/calico-node";
const CONTROLLERS: &str = "deployment/kube-system/calico-kube-controllers";
const ENDPOINTS: &str = "https://10.9.0.1:2379,https://10.9.0.11:2379";

/// The folder of etcd, beside the control plane and on a machine.
const ETCD: &str = "etcd-of-calico";

/// From 3.13 to 3.22 with host endpoints of all interfaces, which calicoctl in its pod labels.
pub(super) fn upgrade(_: &Programs, binaries: &Binaries) -> Outcome {
    let answers = format!(
        "apiVersion: kwok.x-k8s.io/v1alpha1\nkind: Exec\nmetadata: {{ name: calicoctl, namespace: kube-system }}\n\
         spec: {{ execs: [{{ local: {{ envs: [{{ name: CONTAINER, value: calicoctl }}, {{ name: DATA, value: {ETCD} }}] }} }}] }}\n"
    );
    let bench = Bench::with(binaries, &answers, Server { at_root: Some(file("etcd/bin")), ..Server::default() })?;
    let folder = bench.plane.path();
    symlink(binaries.path("kubectl"), folder.join("bin/kubectl")).map_err(|error| format!("kubectl: {error}"))?;
    let etcd = fill(folder.join(ETCD), "v3.13.5")?;
    install(&bench, "v3.13.5")?;
    let manifest = format!("manifest={}", file("calico-etcd-3.22.yaml").display());
    let hardening = format!("hardening={}", file("calico-hardening.yaml").display());
    let with = ["calico-upgrade", "to=v3.22.5", &manifest, &hardening, "bake=2s"];

    let other = format!("manifest={}", file("calico-3.22.yaml").display());
    // A plan on the server comes to calicoctl before the first write: runs without one, and the roles of such a run.
    bench.run(&["run", "calico-upgrade", "to=v3.22.5", &other, "--yes", "--no-plan"])?.expect_code(4)?;
    command::about(&bench.plane, &["approve", "last", "gates", "--yes"])?.expect_code(0)?;
    bench.refuses(&["resume", "last"], 1, "it is for the Kubernetes datastore")?;
    // Who comes next has to make the lock anew.
    bench.plane.kubectl(&["delete", "lease", "lockgate", "-n", "kube-system"])?;
    let models = in_a_copy("calico-upgrade", "cluster-etcd.yaml", "v3.13.5")?;
    let roles = bench.roles_of_copy(&[&with[..], &["--run-only"]].concat(), &models)?;
    let whole = || bench.run_with(&[&["run"], &with[..], &["--yes", "--no-plan"]].concat(), &["gates", "traffic", "policy-removal"]);
    bench.under(&roles, || bench.beside(|bench| agents_tell(bench, &etcd), whole))?;

    bench.expect_writes("calico-etcd")?;
    for container in ["calico-node", "mount-bpffs"] {
        bench.runs(AGENT, container, "docker.io/calico/node:v3.22.5")?;
    }
    bench.runs(AGENT, "install-cni", "docker.io/calico/cni:v3.22.5")?;
    bench.runs(CONTROLLERS, "calico-kube-controllers", "docker.io/calico/kube-controllers:v3.22.5")?;
    bench.holds(AGENT, &rolled_out(3))?;
    // As published: in octal.
    bench.holds(AGENT, &json!({ "spec": { "updateStrategy": { "type": "RollingUpdate" } } }))?;
    has_certificates(&bench, AGENT, 0o400)?;
    has_certificates(&bench, CONTROLLERS, 0o440)?;
    bench.holds(
        "configmap/kube-system/calico-config",
        &json!({ "data": { "etcd_endpoints": ENDPOINTS, "etcd_ca": "/calico-secrets/etcd-ca", "veth_mtu": "0" } }),
    )?;
    bench.holds("secret/kube-system/calico-etcd-secrets", &json!({ "data": { "etcd-ca": "Y2E=", "etcd-key": "a2V5" } }))?;
    bench.holds("pod/kube-system/calicoctl", &json!({ "spec": { "containers": [{ "image": "docker.io/calico/ctl:v3.22.5" }] } }))?;
    bench.holds("poddisruptionbudget/kube-system/calico-kube-controllers", &json!({ "spec": { "maxUnavailable": 1 } }))?;
    etcd.has("HostEndpoint", "m1-all", &json!({ "metadata": { "labels": { "host-endpoint-upgrade": "", "role": "master" } } }))?;
    etcd.has("HostEndpoint", "w2-eth0", &json!({ "metadata": { "labels": { "host-endpoint-upgrade": Value::Null } } }))?;
    etcd.has("GlobalNetworkPolicy", "hosts", &json!({ "spec": { "selector": "has(role)" } }))?;
    etcd.has("GlobalNetworkPolicy", "allow-all-upgrade", &Value::Null)
}

/// The move, by a user with exactly its roles. A manifest that this server does not take is refused before.
pub(super) fn to_kubernetes(programs: &Programs, binaries: &Binaries) -> Outcome {
    let move_ = Move::begin(programs, binaries)?;
    let (bench, etcd) = (&move_.bench, &move_.etcd);
    let published = move_.run(&format!("manifest={}", file("calico-3.22.yaml").display()));
    bench.refuses(&published.each_ref().map(String::as_str), 1, "policy/v1beta1")?;
    let run = move_.run(&move_.manifest);
    let run = run.each_ref().map(String::as_str);

    // A plan on the server comes to calicoctl before the first write: the roles are those of a run without one.
    let models = in_a_copy("calico-etcd-to-kdd", "cluster.yaml", "v3.22.5")?;
    let roles = bench.roles_of_copy(&["calico-etcd-to-kdd", &move_.manifest, "machine=m1", "--run-only"], &models)?;
    bench.under(&roles, || bench.run_with(&[&run[..], &["--no-plan"]].concat(), &["lock", "unlock"]))?;
    bench.expect_writes("etcd-to-kubernetes")?;
    has_moved(bench)?;
    // etcd stays as it is, and so does what was exported.
    etcd.is_ready(false)?;
    let data = bench.plane.path().join("machines/m1/root/calico-datastore-migration/etcd-data");
    fs::metadata(&data).map(drop).map_err(|error| format!("{}: {error}", data.display()))
}

/// An import that fails when half of it is there cannot be gone on with, and is taken back. The server's own end of a definition can take
/// minutes, so `.ci/real` leaves this to people.
pub(super) fn taken_back(programs: &Programs, binaries: &Binaries) -> Outcome {
    let move_ = Move::begin(programs, binaries)?;
    let (bench, etcd) = (&move_.bench, &move_.etcd);
    let cut = etcd.folder.join("cut");
    fs::write(&cut, "").map_err(|error| format!("{}: {error}", cut.display()))?;
    let run = move_.run(&move_.manifest);
    bench.run(&run.each_ref().map(String::as_str))?.expect_code(4)?;
    command::about(&bench.plane, &["approve", "last", "lock", "--yes"])?.expect_code(0)?;
    let failed = bench.run(&["resume", "last"])?;
    failed.expect_code(1)?;
    failed.expect_said("Failed to import IPAM resources")?;
    etcd.is_ready(false)?;
    bench.holds("ippool.crd.projectcalico.org/default-ipv4-ippool", &json!({ "spec": { "cidr": "192.168.0.0/16" } }))?;
    let again = bench.run(&["resume", "last"])?;
    again.expect_code(1)?;
    again.expect_said("Datastore already has Calico resources")?;

    bench.run(&["rollback", "last", "--yes"])?.expect_code(0)?;
    etcd.is_ready(true)?;
    let definitions = bench.plane.kubectl(&["get", "customresourcedefinitions", "-o", "name"])?;
    if !definitions.trim().is_empty() {
        return Err(format!("these are left after the rollback:\n{definitions}"));
    }
    bench.holds(AGENT, &json!({ "metadata": { "generation": 1 } }))
}

/// A cluster whose Calico has its data in etcd, and the machine from which it moves.
struct Move {
    bench: Bench,
    etcd: Etcd,
    manifest: String,
    inventory: String,
    _server: Sshd,
}

impl Move {
    fn begin(programs: &Programs, binaries: &Binaries) -> Outcome<Move> {
        let bench = Bench::empty(binaries, "")?;
        install(&bench, "v3.22.5")?;
        let room = bench.plane.path().join("machines/m1");
        let etcd = fill(room.join("var/lib").join(ETCD), "v3.22.5")?;
        furnish(&bench, binaries, &room).map_err(|error| format!("the files of m1: {error}"))?;
        let key = bench.plane.path().join("key");
        programs.key(&key)?;
        let server = Sshd::start_in(programs, "m1", &key.with_extension("pub"), &room)?;
        let inventory = inventory(bench.plane.path(), [("m1", &server)])?;
        let manifest = bench.plane.path().join("calico.yaml");
        let new = for_kubernetes()?.replace("policy/v1beta1", "policy/v1");
        fs::write(&manifest, new).map_err(|error| format!("{}: {error}", manifest.display()))?;
        let manifest = format!("manifest={}", manifest.display());
        Ok(Move { bench, etcd, manifest, inventory, _server: server })
    }

    fn run(&self, manifest: &str) -> [String; 9] {
        ["run", "calico-etcd-to-kdd", manifest, "machine=m1", "--machines", "ssh", "--inventory", &self.inventory, "--yes"]
            .map(str::to_owned)
    }
}

/// Everything is in the API, and Calico uses it.
fn has_moved(bench: &Bench) -> Outcome {
    let unlocked = json!({ "spec": { "datastoreReady": true, "calicoVersion": "v3.22.5", "clusterType": "k8s,bgp,kdd" } });
    bench.holds("clusterinformation.crd.projectcalico.org/default", &unlocked)?;
    bench.holds("bgppeer.crd.projectcalico.org/tor", &json!({ "spec": { "asNumber": 64512 } }))?;
    bench.holds("globalnetworkpolicy.crd.projectcalico.org/default.deny-metadata", &json!({ "spec": { "types": ["Egress"] } }))?;
    bench.holds("networkpolicy.crd.projectcalico.org/default/default.web", &json!({ "spec": { "types": ["Ingress"] } }))?;
    bench.holds("hostendpoint.crd.projectcalico.org/w1-all", &json!({ "spec": { "node": "w1" } }))?;
    bench.holds("ipamblock.crd.projectcalico.org/192-168-1-0-26", &json!({ "spec": { "affinity": "host:w1" } }))?;
    bench.holds("node/w2", &json!({ "metadata": { "annotations": { "projectcalico.org/IPv4Address": "10.9.0.3/24" } } }))?;
    bench.holds(AGENT, &rolled_out(3))?;
    bench.holds(CONTROLLERS, &json!({ "status": { "readyReplicas": 1 } }))?;
    for workload in [AGENT, CONTROLLERS] {
        let template = bench.object(workload)?["spec"]["template"]["spec"].to_string();
        for left in ["ETCD_", "calico-etcd-secrets", "CALICO_K8S_NODE_REF"] {
            if template.contains(left) {
                return Err(format!("{workload} still has {left}: {template}"));
            }
        }
    }
    bench.holds(CONTROLLERS, &json!({ "spec": { "template": { "spec": { "hostNetwork": Value::Null } } } }))?;
    bench.is_gone("pod/kube-system/calico-node-probe-w1")
}

/// Installs this release with its data in etcd, as people do: by a plain `kubectl apply`.
fn install(bench: &Bench, release: &str) -> Outcome {
    let kinds = ["kind: Node\n", "kind: Pod\n", "kind: Deployment\nmetadata: { name: web"];
    let around = text("calico-3.13.yaml")?;
    let around = around.split("\n---\n").filter(|document| kinds.iter().any(|kind| document.contains(kind)));
    let around = around.collect::<Vec<_>>().join("\n---\n").replace(
        "env: [{ name: DATASTORE_TYPE, value: kubernetes }]",
        "env: [{ name: ETCD_ENDPOINTS, valueFrom: { configMapKeyRef: { name: calico-config, key: etcd_endpoints } } }]",
    );
    let mut installed = text("calico-etcd-3.22.yaml")?.replace("policy/v1beta1", "policy/v1");
    for (published, here) in [
        ("http://<ETCD_IP>:<ETCD_PORT>", ENDPOINTS),
        ("etcd_ca: \"\"", "etcd_ca: /calico-secrets/etcd-ca"),
        ("etcd_cert: \"\"", "etcd_cert: /calico-secrets/etcd-cert"),
        ("etcd_key: \"\"", "etcd_key: /calico-secrets/etcd-key"),
        ("\ndata:\n---", "\ndata: { etcd-ca: Y2E=, etcd-cert: Y2VydA==, etcd-key: a2V5 }\n---"),
    ] {
        if !installed.contains(published) {
            return Err(format!("the manifest for etcd has no {published:?}"));
        }
        installed = installed.replace(published, here);
    }
    let path = bench.plane.path().join("installed.yaml");
    let whole = format!("{around}\n---\n{installed}").replace("v3.22.5", release).replace("v3.13.5", release);
    fs::write(&path, whole).map_err(|error| format!("{}: {error}", path.display()))?;
    bench.plane.kubectl(&["apply", "-f", &path.to_string_lossy()])?;
    bench.settled()
}

/// The machine with calicoctl, which reaches etcd and the API.
fn furnish(bench: &Bench, binaries: &Binaries, room: &Path) -> std::io::Result<()> {
    copy(&file("etcd/bin"), &room.join("bin"))?;
    // A link would lead into the home of root, which is another one there.
    fs::copy(binaries.path("kubectl"), room.join("bin/kubectl"))?;
    fs::create_dir_all(room.join("root"))?;
    give_access(bench.plane.path(), room)?;
    fs::create_dir_all(room.join("etc/calico"))?;
    let settings = format!(
        "apiVersion: projectcalico.org/v3\nkind: CalicoAPIConfig\nmetadata:\nspec:\n  datastoreType: \"etcdv3\"\n  etcdEndpoints: \"{ENDPOINTS}\"\n"
    );
    fs::write(room.join("etc/calico/calicoctl.cfg"), settings)
}

/// The models of a fixture, with what this etcd has in its place.
fn in_a_copy(runbook: &str, fixture: &str, release: &str) -> Outcome<String> {
    let models = fixture_of(runbook, fixture)?.1;
    let all = format!("{}{}", text("etcd/information")?.replace("RELEASE", release), text("etcd/resources")?);
    let all: Vec<String> = all.lines().map(|line| line.replace("projectcalico.org/v3", "etcd.lockgate.dev/v1")).collect();
    Ok(format!("{models}\n---\n{}", all.join("\n---\n")))
}

/// What agents do when they are up: the first of a release writes it.
fn agents_tell(bench: &Bench, etcd: &Etcd) -> Outcome {
    let Some(release) = bench.newest_release("kube-system")? else { return Ok(()) };
    let (path, new) = (etcd.folder.join("information"), etcd.folder.join("information.new"));
    let text = text("etcd/information")?.replace("RELEASE", &release);
    fs::write(&new, text).and_then(|()| fs::rename(&new, &path)).map_err(|error| format!("{}: {error}", path.display()))
}

/// What is in etcd.
struct Etcd {
    folder: PathBuf,
}

/// The manifest for the Kubernetes datastore, with the definitions that the simulated calicoctl makes too: those that are there already are
/// not created.
fn for_kubernetes() -> Outcome<String> {
    let whole = text("calico-3.22.yaml")?;
    let kept = whole.split("\n---\n").filter(|document| !document.contains("caliconodestatuses.crd.projectcalico.org"));
    Ok(kept.collect::<Vec<_>>().join("\n---\n"))
}

/// Makes it, of this release.
fn fill(folder: PathBuf, release: &str) -> Outcome<Etcd> {
    let definitions = for_kubernetes()?;
    let definitions = definitions.split("\n---\n").filter(|document| document.contains("kind: CustomResourceDefinition\n"));
    let files = [
        ("information", text("etcd/information")?.replace("RELEASE", release)),
        ("resources", text("etcd/resources")?),
        ("addresses", text("etcd/addresses")?),
        ("definitions.yaml", definitions.collect::<Vec<_>>().join("\n---\n")),
    ];
    let write = || -> std::io::Result<()> {
        fs::create_dir_all(&folder)?;
        files.iter().try_for_each(|(name, text)| fs::write(folder.join(name), text))
    };
    write().map_err(|error| format!("{}: {error}", folder.display()))?;
    Ok(Etcd { folder })
}

impl Etcd {
    fn read(&self, name: &str) -> Outcome<String> {
        let path = self.folder.join(name);
        fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))
    }

    /// A resource holds all of this; a `null` says that there is none.
    fn has(&self, kind: &str, name: &str, wanted: &Value) -> Outcome {
        let all = self.read("resources")?.lines().map(parsed).collect::<Outcome<Vec<Value>>>()?;
        let found = all.into_iter().find(|one| one["kind"] == kind && one["metadata"]["name"] == name).unwrap_or_default();
        differs(&found, wanted, "").map_or(Ok(()), |difference| Err(format!("{kind} {name} in etcd: {difference}")))
    }

    /// Whether it takes work.
    fn is_ready(&self, ready: bool) -> Outcome {
        let found = parsed(&self.read("information")?)?;
        if found["spec"]["datastoreReady"] == ready { Ok(()) } else { Err(format!("etcd says of itself {}", found["spec"])) }
    }
}

/// A workload mounts the certificates, with these rights.
fn has_certificates(bench: &Bench, workload: &str, mode: u32) -> Outcome {
    let found = bench.object(workload)?;
    let volumes = found.pointer("/spec/template/spec/volumes").and_then(Value::as_array).cloned().unwrap_or_default();
    let wanted = json!({ "name": "etcd-certs", "secret": { "secretName": "calico-etcd-secrets", "defaultMode": mode } });
    if volumes.contains(&wanted) { Ok(()) } else { Err(format!("{workload} has the volumes {volumes:?}, not {wanted}")) }
}
