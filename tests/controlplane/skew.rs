//! `lockgate skew` beside real API servers of several versions: one etcd, and servers that say they are older.
//!
//! `tests/controlplane/relink` makes those. All run on one host, where they share one lease of identity: the others' are made here.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use libtest_mimic::{Completion, Failed, Trial};
use serde_json::Value;

use super::plane::{ControlPlane, Pace};
use super::{Binaries, Outcome, found, in_turn, is_required};

type Relinked = fn(&mut ControlPlane, &[PathBuf]) -> Outcome;

/// The cases, by name; ignored with the reason where the servers are not linked.
pub(super) fn cases() -> Vec<Trial> {
    let cases: [(&str, Relinked); 2] = [("skew_behind_a_balancer", behind_a_balancer), ("skew_at_each_address", at_each_address)];
    cases.into_iter().map(|(name, case)| Trial::ignorable_test(format!("controlplane::{name}"), move || whole(name, case))).collect()
}

fn whole(name: &str, case: Relinked) -> Result<Completion, Failed> {
    let ready = found().as_ref().map_err(Clone::clone).and_then(|binaries| Ok((binaries, relinked(binaries)?)));
    match ready {
        Ok((binaries, servers)) => in_turn(&format!("controlplane::{name}"), || {
            let mut plane = ControlPlane::alone(binaries, Pace::default())?;
            case(&mut plane, &servers)?;
            Ok(Completion::Completed)
        }),
        Err(reason) if is_required("relinked") => Err(Failed::from(reason)),
        Err(reason) => Ok(Completion::ignored_with(reason)),
    }
}

/// The servers of earlier versions, newest first.
fn relinked(binaries: &Binaries) -> Outcome<Vec<PathBuf>> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/controlplane/relink");
    let checked = Command::new("bash").arg(script).arg("--check").stdin(Stdio::null()).status();
    if !checked.is_ok_and(|status| status.success()) {
        return Err("the API servers of other versions are not linked: run `tests/controlplane/relink`".to_owned());
    }
    let path = |version: &str| binaries.path("relinked").join(format!("kube-apiserver-{version}"));
    Ok(vec![path("v1.35.9"), path("v1.34.9")])
}

/// What `lockgate skew` prints as JSON, and its exit code, where no kubectl is on `PATH`.
fn skew(plane: &ControlPlane, kubeconfig: &Path, more: &[&str]) -> Outcome<(Value, Option<i32>)> {
    skew_beside(plane.path(), plane, kubeconfig, more)
}

/// The same with the programs of this folder on `PATH`.
fn skew_beside(programs: &Path, plane: &ControlPlane, kubeconfig: &Path, more: &[&str]) -> Outcome<(Value, Option<i32>)> {
    let output = Command::new(env!("CARGO_BIN_EXE_lockgate"))
        .args(["skew", "-o", "json", "--kubeconfig"])
        .arg(kubeconfig)
        .args(more)
        .current_dir(plane.path())
        .env("HOME", plane.path())
        .env("PATH", programs)
        .env_remove("KUBECONFIG")
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("starting lockgate: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let report = serde_json::from_str(&text).map_err(|error| format!("{error} in {text}{}", String::from_utf8_lossy(&output.stderr)))?;
    Ok((report, output.status.code()))
}

/// `component version rule` of each row, without repetition. This program itself is in every report: see [`own`].
fn rows(report: &Value, list: &str) -> Vec<String> {
    let text = |row: &Value, name: &str| row[name].as_str().unwrap_or("-").to_owned();
    let mut rows: Vec<String> = report[list]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|row| row["component"] != "lockgate")
        .map(|row| format!("{} {} {}", text(row, "component"), text(row, "version"), text(row, "rule")))
        .collect();
    rows.sort();
    rows.dedup();
    rows
}

/// What is said of this program itself: its version, and whether that is warned of.
fn own(report: &Value, warned: bool) -> Outcome {
    let of = |list: &str| report[list].as_array().into_iter().flatten().find(|row| row["component"] == "lockgate").cloned();
    let row = of("rows").ok_or("lockgate itself is not in the report")?;
    let warning = of("warnings").map(|row| row["message"].as_str().unwrap_or_default().to_owned());
    let is_so = row["version"] == "v1.36" && warning.is_some() == warned && warning.iter().all(|text| text.contains("v1.34.9"));
    if is_so { Ok(()) } else { Err(format!("of lockgate itself: {row} {warning:?}")) }
}

fn same(what: &str, found: &[String], expected: &[&str]) -> Outcome {
    if found == expected { Ok(()) } else { Err(format!("{what}: {found:#?}, expected {expected:#?}")) }
}

fn exits(report: &Value, code: Option<i32>, expected: i32) -> Outcome {
    if code == Some(expected) { Ok(()) } else { Err(format!("exit {code:?}, expected {expected}: {report:#}")) }
}

/// A node whose kubelet has this version. Nobody runs it.
fn node(plane: &ControlPlane, name: &str, kubelet: &str) -> Outcome {
    plane.apply(&format!("apiVersion: v1\nkind: Node\nmetadata: {{ name: {name} }}\n"))?;
    let status = format!(
        r#"{{"status":{{"nodeInfo":{{"kubeletVersion":"{kubelet}"}},"conditions":[{{"type":"Ready","status":"True","reason":"KubeletReady","message":""}}]}}}}"#
    );
    plane.kubectl(&["patch", "node", name, "--subresource=status", "--type=merge", "-p", &status]).map(drop)
}

/// The lease that an API server of another host would hold.
fn lease(plane: &ControlPlane, name: &str) -> Outcome {
    let own = plane.list(Some("kube-system"), "leases")?;
    let own = own.iter().find(|lease| lease["metadata"]["labels"]["apiserver.kubernetes.io/identity"] == "kube-apiserver");
    let renewed = own.and_then(|lease| lease["spec"]["renewTime"].as_str()).ok_or("the API server has no lease of identity")?;
    plane.apply(&format!(
        "apiVersion: coordination.k8s.io/v1\nkind: Lease\nmetadata:\n  name: apiserver-{name}\n  namespace: kube-system\n  \
         labels: {{ apiserver.kubernetes.io/identity: kube-apiserver, kubernetes.io/hostname: {name} }}\n\
         spec: {{ holderIdentity: {name}, leaseDurationSeconds: 3600, renewTime: \"{renewed}\" }}\n"
    ))
}

/// Two servers behind one address, then three: each answer is about one of them.
fn behind_a_balancer(plane: &mut ControlPlane, servers: &[PathBuf]) -> Outcome {
    let [newer, older] = servers else { return Err("two servers are linked".to_owned()) };
    plane.until("the lease of the API server's identity", std::time::Duration::from_secs(30), |plane| {
        let leases = plane.list(Some("kube-system"), "leases")?;
        Ok(leases.iter().any(|lease| lease["metadata"]["labels"]["apiserver.kubernetes.io/identity"] == "kube-apiserver"))
    })?;
    node(plane, "n1", "v1.36.4")?;
    let mine = plane.kubeconfig("operator");
    // Alone it is known whole: one lease, one answer.
    let (report, code) = skew(plane, &mine, &[])?;
    same("alone", &rows(&report, "rows"), &["kube-apiserver v1.36.4 R-A1", "kubelet v1.36.4 R-K2"])?;
    exits(&report, code, 0)?;
    own(&report, false)?;
    clients(plane, &mine)?;
    // Who may read nothing learns what is public, and that the rest is unknown.
    let (report, code) = skew(plane, &plane.kubeconfig("nobody"), &[])?;
    let all = ["cloud-controller-manager", "kube-apiserver", "kube-controller-manager", "kube-proxy", "kube-scheduler", "kubelet"];
    let all: Vec<String> = all.iter().map(|component| format!("{component} - R-U1")).collect();
    same("nobody", &rows(&report, "unknown"), &all.iter().map(String::as_str).collect::<Vec<_>>())?;
    same("nobody", &rows(&report, "violations"), &[])?;
    exits(&report, code, 3)?;
    // Somebody else holds a lease, and only this one answers.
    lease(plane, "m2")?;
    let (report, code) = skew(plane, &mine, &[])?;
    same("one of two", &rows(&report, "unknown"), &["kube-apiserver - R-U1"])?;
    exits(&report, code, 3)?;
    let second = plane.another_apiserver(newer)?;
    let balancer = Balancer::start(vec![plane.port(), second])?;
    let through = balancer.kubeconfig(plane)?;
    let (report, code) = skew(plane, &through, &[])?;
    let two = ["kube-apiserver v1.35.9 R-A1", "kube-apiserver v1.36.4 R-A1", "kubelet v1.36.4 R-K1"];
    same("two", &rows(&report, "rows"), &two)?;
    same("two", &rows(&report, "violations"), &["kubelet v1.36.4 R-K1"])?;
    exits(&report, code, 5)?;
    // 1.37 may not begin before both are at 1.36.
    let (report, _) = skew(plane, &through, &["--target", "v1.37.0"])?;
    same("target", &rows(&report, "violations"), &["kube-apiserver v1.37.0 R-S1", "kubelet v1.36.4 R-K1"])?;
    let third = plane.another_apiserver(older)?;
    lease(plane, "m3")?;
    let balancer = Balancer::start(vec![plane.port(), second, third])?;
    let (report, code) = skew(plane, &balancer.kubeconfig(plane)?, &[])?;
    let spread = ["kube-apiserver v1.34.9 R-A1", "kube-apiserver v1.35.9 R-A1", "kube-apiserver v1.36.4 R-A1", "kubelet v1.36.4 R-K1"];
    same("three", &rows(&report, "violations"), &spread)?;
    own(&report, true)?;
    exits(&report, code, 5)
}

/// The kubectl that is first on `PATH` is read by asking it, and judged as the policy says.
fn clients(plane: &ControlPlane, kubeconfig: &Path) -> Outcome {
    let binaries = found().as_ref().map_err(Clone::clone)?;
    let real = binaries.path("kubectl");
    let folder = real.parent().ok_or("kubectl is in a folder")?;
    let (report, code) = skew_beside(folder, plane, kubeconfig, &[])?;
    same("kubectl", &rows(&report, "rows"), &["kube-apiserver v1.36.4 R-A1", "kubectl v1.36.4 R-T1", "kubelet v1.36.4 R-K2"])?;
    exits(&report, code, 0)?;
    // One that says another version, and one that says none. Neither has a way to a cluster.
    let other = plane.path().join("other");
    std::fs::create_dir_all(&other).map_err(|error| error.to_string())?;
    for (says, found, list, expected) in [
        (r#"echo '{"clientVersion":{"gitVersion":"v1.34.1"}}'"#, "kubectl v1.34.1 R-T1", "violations", 5),
        ("echo $KUBECONFIG; exit 1", "kubectl - R-U1", "unknown", 3),
        (r#"test "$KUBECONFIG" = /dev/null && echo '{"clientVersion":{"gitVersion":"v1.37.0"}}'"#, "kubectl v1.37.0 R-T1", "rows", 0),
    ] {
        program(&other.join("kubectl"), says)?;
        let (report, code) = skew_beside(&other, plane, kubeconfig, &[])?;
        if !rows(&report, list).contains(&found.to_owned()) {
            return Err(format!("no `{found}` among {list}: {report:#}"));
        }
        exits(&report, code, expected)?;
    }
    Ok(())
}

/// Writes a program that does so.
fn program(file: &Path, says: &str) -> Outcome {
    use std::os::unix::fs::PermissionsExt as _;
    let said = |error: std::io::Error| error.to_string();
    std::fs::write(file, format!("#!/bin/sh\n{says}\n")).map_err(said)?;
    std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o755)).map_err(said)
}

/// Each server is asked at the address that the cluster itself has for it, with its certificate checked.
fn at_each_address(plane: &mut ControlPlane, servers: &[PathBuf]) -> Outcome {
    let host = own_address()?;
    let mut slices = String::new();
    let mut expected = Vec::new();
    for (name, (program, version)) in servers.iter().zip(["v1.35.9", "v1.34.9"]).enumerate() {
        let port = plane.another_apiserver(program)?;
        slices += &slice(&format!("m{name}"), host, port);
        expected.push((format!("https://{host}:{port}/version"), version));
    }
    plane.apply(&slices)?;
    let (report, code) = skew(plane, &plane.kubeconfig("operator"), &[])?;
    for (source, version) in &expected {
        let rows = report["rows"].as_array().into_iter().flatten();
        if !rows.clone().any(|row| row["source"] == source.as_str() && row["version"] == *version) {
            return Err(format!("no {version} from {source}: {report:#}"));
        }
    }
    // The one that answers everybody is a third, which has no address there.
    let all = ["kube-apiserver v1.34.9 R-A1", "kube-apiserver v1.35.9 R-A1", "kube-apiserver v1.36.4 R-A1"];
    same("addresses", &rows(&report, "rows"), &all)?;
    exits(&report, code, 5)?;
    planned(plane)?;
    // An address where nobody answers is one that is not known.
    let dead = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| listener.local_addr()).map_err(|error| error.to_string())?;
    plane.apply(&slice("dead", host, dead.port()))?;
    let (report, _) = skew(plane, &plane.kubeconfig("operator"), &[])?;
    same("dead", &rows(&report, "unknown"), &["kube-apiserver - R-U1"])
}

/// A plan asks each server too: its time is virtual, and the servers are not.
fn planned(plane: &ControlPlane) -> Outcome {
    let text = "runbook { title = \"T\", summary = \"S.\", impact = \"none\" }\n\
                check \"all\" { title = \"All are read\", run = function()\n  local servers = {}\n  \
                for _, found in versions() do\n    if found.component == \"kube-apiserver\" then table.insert(servers, tostring(found.version)) end\n  end\n  \
                table.sort(servers)\n  return table.concat(servers, \" \")\nend }\n\
                step \"s\" { title = \"S\", run = function() end }\n";
    std::fs::write(plane.path().join("all.luau"), text).map_err(|error| error.to_string())?;
    let output = Command::new(env!("CARGO_BIN_EXE_lockgate"))
        .args(["plan", "all.luau", "--kubeconfig"])
        .arg(plane.kubeconfig("operator"))
        .current_dir(plane.path())
        .env("HOME", plane.path())
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("starting lockgate: {error}"))?;
    let said = String::from_utf8_lossy(&output.stdout);
    let all = output.status.success() && said.contains("v1.34.9 v1.35.9 v1.36.4");
    if all { Ok(()) } else { Err(format!("the plan: {said}{}", String::from_utf8_lossy(&output.stderr))) }
}

fn slice(name: &str, host: IpAddr, port: u16) -> String {
    format!(
        "---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata:\n  name: kubernetes-{name}\n  namespace: default\n  \
         labels: {{ kubernetes.io/service-name: kubernetes }}\naddressType: {}\nendpoints: [{{ addresses: [\"{host}\"] }}]\n\
         ports: [{{ name: https, port: {port}, protocol: TCP }}]\n",
        if host.is_ipv4() { "IPv4" } else { "IPv6" }
    )
}

/// An address of this host that is not loopback, which the server refuses in a slice. Nothing is sent.
fn own_address() -> Outcome<IpAddr> {
    let found = || {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        socket.connect((Ipv4Addr::new(192, 0, 2, 77), 9))?;
        socket.local_addr()
    };
    let address = found().map_err(|error| format!("finding this host's own address: {error}"))?.ip();
    if address.is_loopback() { Err("this host has no address but loopback".to_owned()) } else { Ok(address) }
}

/// A balancer that gives each connection to the next server.
struct Balancer {
    port: u16,
}

impl Balancer {
    fn start(servers: Vec<u16>) -> Outcome<Balancer> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(|error| format!("the balancer: {error}"))?;
        let port = listener.local_addr().map_err(|error| format!("the balancer: {error}"))?.port();
        let turn = AtomicUsize::new(0);
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let Some(server) = servers.get(turn.fetch_add(1, Ordering::Relaxed) % servers.len()) else { return };
                let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, *server)) else { continue };
                let (client, server) = (Arc::new(client), Arc::new(server));
                for (from, to) in [(client.clone(), server.clone()), (server, client)] {
                    std::thread::spawn(move || pass(&from, &to));
                }
            }
        });
        Ok(Balancer { port })
    }

    /// A kubeconfig that leads here.
    fn kubeconfig(&self, plane: &ControlPlane) -> Outcome<PathBuf> {
        let path = plane.path().join(format!("balancer-{}.kubeconfig", self.port));
        let own = std::fs::read_to_string(plane.kubeconfig("operator")).map_err(|error| error.to_string())?;
        let text = own.replace(&format!(":{}", plane.port()), &format!(":{}", self.port));
        std::fs::write(&path, text).map_err(|error| error.to_string())?;
        Ok(path)
    }
}

/// Passes on what one side says until it ends.
fn pass(mut from: &TcpStream, mut to: &TcpStream) {
    let mut bytes = [0; 16 << 10];
    while let Ok(count) = from.read(&mut bytes) {
        if count == 0 || to.write_all(bytes.get(..count).unwrap_or_default()).is_err() {
            break;
        }
    }
    // Whoever is already gone need not be told.
    drop(to.shutdown(Shutdown::Write));
}
