//! One real control plane: etcd, API server, controllers, scheduler and KWOK in the place of the kubelets.

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use super::Outcome;
use super::audit::{self, Request};
use super::binaries::Binaries;
use super::identity;
use super::process::{Process, Watchdog};

/// How long the servers may take to come up on a busy machine with two cores.
const START: Duration = Duration::from_secs(120);

/// A running control plane on loopback; dropping it ends every process and removes its folder.
///
/// Fields are dropped in this order: first the processes, newest first, then the watchdog, then the folder.
#[derive(Debug)]
pub(crate) struct ControlPlane {
    others: Vec<Process>,
    /// All of them in one process, or the ones for ReplicaSets in a second.
    controllers: Vec<Process>,
    apiserver: Option<Process>,
    etcd: Process,
    watchdog: Watchdog,
    binaries: Binaries,
    server: Server,
    ports: Ports,
    folder: TempDir,
}

/// How long pods take. The document of the stages has these times as words to be replaced.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    /// From being bound to a node to being ready.
    pub(crate) ready: Duration,
    /// From being deleted to being gone.
    pub(crate) gone: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self { ready: Duration::from_millis(300), gone: Duration::from_millis(500) }
    }
}

impl Pace {
    /// The usual stages of KWOK at this pace.
    fn stages(self) -> String {
        include_str!("stages.yaml")
            .replace("READY_MILLISECONDS", &self.ready.as_millis().to_string())
            .replace("GONE_MILLISECONDS", &self.gone.as_millis().to_string())
    }

    /// The same with nodes whose kubelets can be asked, and documents that say what these answer.
    ///
    /// # Errors
    /// Nodes get their addresses in another way than this expects.
    pub(crate) fn asked(self, answers: &str) -> Outcome<String> {
        let (stages, address) = (self.stages(), "      - { address: {{ NodeIP | Quote }}, type: InternalIP }\n");
        if !stages.contains(address) {
            return Err("the stages of KWOK give nodes their addresses in another way".to_owned());
        }
        // The server asks a kubelet at the first of these kinds of addresses that a node has.
        let asked =
            "      - { address: 127.0.0.1, type: Hostname }\n      daemonEndpoints: { kubeletEndpoint: { Port: {{ NodePort }} } }\n";
        Ok(format!("{}\n---\n{answers}", stages.replace(address, &format!("{address}{asked}"))))
    }
}

/// How the API server differs from the usual one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Server {
    /// Whether pods get a ServiceAccount and its token.
    pub(crate) accounts: bool,
    /// The version that it behaves like, such as `1.35`.
    pub(crate) emulates: Option<String>,
    /// The version that it says to have, such as `v1.33.2`: another program, made by `tests/controlplane/relink`.
    pub(crate) version: Option<String>,
    /// A folder of programs that stand at `/` for what is run in containers, as in the images that a procedure calls by their paths. It needs
    /// what [`crate::machine::sshd::Programs::rooms`] asks for.
    pub(crate) at_root: Option<PathBuf>,
}

/// `$1` is an empty folder, which gets all that `/` has and the programs in `$2`; what follows is run there.
const ROOT: &str = r#"
set -e
mount -t tmpfs root "$1"
for entry in /*; do
  if [ -L "$entry" ]; then cp -P "$entry" "$1$entry"
  elif [ -d "$entry" ]; then mkdir "$1$entry" && mount --rbind "$entry" "$1$entry"
  fi
done
for program in "$2"/*; do install -m 755 "$program" "$1/"; done
root=$1 folder=$PWD
shift 2
exec chroot "$root" sh -c 'cd "$0" && exec "$@"' "$folder" "$@"
"#;

impl Server {
    fn program(&self) -> String {
        self.version.as_ref().map_or_else(|| "kube-apiserver".to_owned(), |version| format!("relinked/kube-apiserver-{version}"))
    }

    /// What the server is told of the version.
    fn emulation(&self) -> Option<String> {
        self.emulates.as_ref().map(|version| format!("--emulated-version={version}"))
    }

    /// What everybody else is told of it: nobody may be newer than the server. A scheduler of v1.36 places no pod at all before it has
    /// read kinds that a server of v1.33 does not have (resource.k8s.io/v1). Older than the server they may be.
    fn company(&self) -> Option<String> {
        let minor = |version: &str| version.trim_start_matches('v').split('.').nth(1).and_then(|minor| minor.parse::<u32>().ok());
        let said =
            self.version.as_deref().and_then(minor).filter(|minor| *minor < BUILT).map(|minor| format!("--emulated-version=1.{minor}"));
        self.emulation().or(said)
    }
}

/// The minor version of the programs that are built.
const BUILT: u32 = 36;

#[derive(Clone, Copy, Debug)]
struct Ports {
    etcd: u16,
    peers: u16,
    api: u16,
    controllers: u16,
    scheduler: u16,
    /// Where KWOK answers for the kubelets: commands and logs, for nodes whose stages name this port.
    kubelets: u16,
}

impl ControlPlane {
    /// Starts one and waits until the server is ready and KWOK and the controllers can do their work.
    ///
    /// # Errors
    /// What did not start, with the end of its log.
    pub(crate) fn start(binaries: &Binaries, pace: Pace) -> Outcome<Self> {
        Self::alone(binaries, pace)?.with_everybody()
    }

    /// Starts one whose pods follow these stages of KWOK.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub(crate) fn start_with(binaries: &Binaries, stages: &str, server: Server) -> Outcome<Self> {
        let plane = Self::server(binaries, server)?;
        std::fs::write(plane.path().join("stages.yaml"), stages).map_err(|error| format!("writing stages.yaml: {error}"))?;
        plane.with_everybody()
    }

    fn with_everybody(self) -> Outcome<Self> {
        let mut plane = self;
        let ports = plane.ports;
        plane.start_controllers("*", ports.controllers)?;
        let mut scheduler = scheduler_arguments(plane.path(), ports);
        scheduler.extend(plane.server.company());
        let kwok = kwok_arguments(plane.path(), ports);
        let (kwok, arguments) = match &plane.server.at_root {
            Some(programs) => plane.rooted(programs, kwok)?,
            None => (plane.binaries.path("kwok"), kwok),
        };
        for (program, arguments) in [(plane.binaries.path("kube-scheduler"), scheduler), (kwok, arguments)] {
            let process = Process::start(&mut plane.watchdog, plane.folder.path(), &program, &arguments)?;
            plane.others.push(process);
        }
        Ok(plane)
    }

    /// How KWOK is started with these programs at `/`.
    fn rooted(&self, programs: &Path, arguments: Vec<String>) -> Outcome<(PathBuf, Vec<String>)> {
        let root = self.path().join("root");
        std::fs::create_dir(&root).map_err(|error| format!("making {}: {error}", root.display()))?;
        let (kwok, text) = (self.binaries.path("kwok"), |path: &Path| path.display().to_string());
        let words = ["--mount", "sh", "-c", ROOT, "root"].map(str::to_owned);
        Ok(("unshare".into(), words.into_iter().chain([text(&root), text(programs), text(&kwok)]).chain(arguments).collect()))
    }

    /// Starts an API server with nobody else: what is written stays as it is.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub(crate) fn alone(binaries: &Binaries, pace: Pace) -> Outcome<Self> {
        Self::with(binaries, pace, Server::default())
    }

    /// As [`Self::alone`], with another API server.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub(crate) fn server(binaries: &Binaries, server: Server) -> Outcome<Self> {
        Self::with(binaries, Pace::default(), server)
    }

    fn with(binaries: &Binaries, pace: Pace, server: Server) -> Outcome<Self> {
        let folder =
            tempfile::Builder::new().prefix("lockgate-controlplane-").tempdir().map_err(|error| format!("making a folder: {error}"))?;
        let path = folder.path();
        let ports = Ports::free()?;
        identity::write(path, ports.api)?;
        for (name, text) in [("stages.yaml", pace.stages().as_str()), ("audit.yaml", include_str!("audit.yaml"))] {
            std::fs::write(path.join(name), text).map_err(|error| format!("writing {name}: {error}"))?;
        }
        let mut watchdog = Watchdog::start(path)?;
        let etcd = Process::start(&mut watchdog, path, &binaries.path("etcd"), &etcd_arguments(path, ports))?;
        let mut plane = Self {
            others: Vec::new(),
            controllers: Vec::new(),
            apiserver: None,
            etcd,
            watchdog,
            binaries: binaries.clone(),
            server,
            ports,
            folder,
        };
        plane.start_apiserver()?;
        Ok(plane)
    }

    /// The folder with kubeconfigs, logs and certificates.
    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The kubeconfig of a user: `admin` (the tests themselves), `operator` (lockgate), `nobody` (no rights). Its only context is `real`.
    pub(crate) fn kubeconfig(&self, user: &str) -> PathBuf {
        self.path().join(format!("{}.kubeconfig", identity::file_name(user)))
    }

    /// Runs kubectl as `admin` and gives what it prints.
    ///
    /// # Errors
    /// kubectl failed: its arguments and what it said.
    pub(crate) fn kubectl(&self, arguments: &[&str]) -> Outcome<String> {
        let output = self.kubectl_raw(arguments)?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        Err(format!("kubectl {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim()))
    }

    /// Runs kubectl, however it ends.
    ///
    /// # Errors
    /// It could not be started.
    pub(super) fn kubectl_raw(&self, arguments: &[&str]) -> Outcome<Output> {
        Command::new(self.binaries.path("kubectl"))
            .arg("--kubeconfig")
            .arg(self.kubeconfig("admin"))
            .args(arguments)
            // The user's own settings and cache must not matter.
            .env("HOME", self.path())
            .env_remove("KUBECONFIG")
            .stdin(Stdio::null())
            .output()
            .map_err(|error| format!("starting kubectl: {error}"))
    }

    /// The objects of one kind, parsed.
    ///
    /// # Errors
    /// kubectl failed or its output is not a list.
    pub(crate) fn list(&self, namespace: Option<&str>, kind: &str) -> Outcome<Vec<Value>> {
        let mut arguments = vec!["get", kind, "-o", "json"];
        if let Some(namespace) = namespace {
            arguments.extend(["-n", namespace]);
        }
        let text = self.kubectl(&arguments)?;
        let mut list: Value = serde_json::from_str(&text).map_err(|error| format!("list of {kind}: {error}"))?;
        match list.get_mut("items").map(Value::take) {
            Some(Value::Array(items)) => Ok(items),
            _ => Err(format!("list of {kind} has no items")),
        }
    }

    /// Applies the documents of a YAML file, namespaces first as they stand in the file.
    ///
    /// # Errors
    /// As [`ControlPlane::kubectl`].
    pub(crate) fn apply(&self, yaml: &str) -> Outcome {
        let path = self.path().join("apply.yaml");
        std::fs::write(&path, yaml).map_err(|error| format!("writing {}: {error}", path.display()))?;
        self.kubectl(&["apply", "--server-side", "-f", &path.to_string_lossy()]).map(drop)
    }

    /// What was asked of the server so far, without the control plane's own requests.
    ///
    /// # Errors
    /// The log cannot be read.
    pub(crate) fn audit(&self) -> Outcome<Vec<Request>> {
        audit::read(&self.path().join("audit.log"))
    }

    /// Kills the API server, cutting every watch, and starts it again on the same port.
    ///
    /// # Errors
    /// It did not come back.
    pub(crate) fn restart_apiserver(&mut self) -> Outcome {
        if let Some(process) = self.apiserver.take() {
            process.kill(&mut self.watchdog)?;
        }
        self.start_apiserver()
    }

    fn start_apiserver(&mut self) -> Outcome {
        let program = self.binaries.path(&self.server.program());
        if !program.is_file() {
            return Err(format!("{} is not linked: run `tests/controlplane/relink`", self.server.program()));
        }
        let arguments = apiserver_arguments(self.path(), self.ports, &self.server);
        self.apiserver = Some(Process::start(&mut self.watchdog, self.folder.path(), &program, &arguments)?);
        self.wait_ready()
    }

    /// Lets etcd forget every version of every object but the last one, and starts the API server again, which would remember some.
    ///
    /// # Errors
    /// etcd does not answer, or the server did not come back.
    pub(crate) fn compact(&mut self) -> Outcome {
        let status = self.ask_etcd("/v3/maintenance/status", "{}")?;
        let revision =
            status.pointer("/header/revision").and_then(Value::as_str).ok_or_else(|| format!("etcd has no revision: {status}"))?;
        self.ask_etcd("/v3/kv/compaction", &format!(r#"{{"revision": "{revision}", "physical": true}}"#))?;
        self.restart_apiserver()
    }

    /// Asks etcd through its gateway for JSON.
    fn ask_etcd(&self, path: &str, body: &str) -> Outcome<Value> {
        let talk = || -> std::io::Result<String> {
            let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.ports.etcd))?;
            write!(stream, "POST {path} HTTP/1.0\r\nContent-Length: {}\r\n\r\n{body}", body.len())?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            Ok(answer)
        };
        let answer = talk().map_err(|error| format!("etcd: {error}"))?;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
        if head.split(' ').nth(1) != Some("200") {
            return Err(format!("etcd says to {path}: {answer}"));
        }
        serde_json::from_str(body).map_err(|error| format!("etcd says to {path}: {error}: {body}"))
    }

    /// Starts another API server over the same etcd, on all addresses of this host; gives its port when it is ready.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub(crate) fn another_apiserver(&mut self, program: &Path) -> Outcome<u16> {
        let port = Ports::free()?.api;
        let mut arguments = apiserver_arguments(self.path(), Ports { api: port, ..self.ports }, &self.server);
        arguments.retain(|argument| !argument.starts_with("--bind-address=") && !argument.starts_with("--audit-"));
        arguments.push("--bind-address=0.0.0.0".to_owned());
        self.others.push(Process::start(&mut self.watchdog, self.folder.path(), program, &arguments)?);
        let server = format!("https://127.0.0.1:{port}");
        self.until("the other API server is ready", START, |plane| {
            plane.kubectl(&["--server", &server, "get", "--raw", "/readyz"]).map(|answer| answer == "ok")
        })?;
        Ok(port)
    }

    /// The port of the API server.
    pub(crate) fn port(&self) -> u16 {
        self.ports.api
    }

    /// Starts the controllers anew without the one for ReplicaSets: a Deployment can make one, and no pod comes of it.
    ///
    /// # Errors
    /// They did not start.
    pub(crate) fn hold_replicasets(&mut self) -> Outcome {
        for process in std::mem::take(&mut self.controllers) {
            process.kill(&mut self.watchdog)?;
        }
        self.start_controllers("*,-replicaset-controller", self.ports.controllers)
    }

    /// Starts what [`ControlPlane::hold_replicasets`] held back.
    ///
    /// # Errors
    /// It did not start.
    pub(crate) fn release_replicasets(&mut self) -> Outcome {
        // Nobody asks this one for its health: it needs no port.
        self.start_controllers("replicaset-controller", 0)
    }

    /// Starts these controllers and nobody else.
    ///
    /// # Errors
    /// They did not start.
    pub(crate) fn start_only(&mut self, which: &str) -> Outcome {
        self.start_controllers(which, self.ports.controllers)
    }

    fn start_controllers(&mut self, which: &str, port: u16) -> Outcome {
        let mut arguments = controllers_arguments(self.path(), which, port);
        arguments.extend(self.server.company());
        let program = self.binaries.path("kube-controller-manager");
        self.controllers.push(Process::start(&mut self.watchdog, self.folder.path(), &program, &arguments)?);
        Ok(())
    }

    /// Asks again and again until it holds: the tests' own waiting, since nothing can be waited for before the server is there.
    ///
    /// # Errors
    /// It did not hold in time: what was waited for and the last answer.
    pub(crate) fn until(&self, what: &str, limit: Duration, mut holds: impl FnMut(&Self) -> Outcome<bool>) -> Outcome {
        let start = Instant::now();
        loop {
            let answer = holds(self);
            if answer == Ok(true) {
                return Ok(());
            }
            if start.elapsed() > limit {
                let last = answer.err().map_or_else(String::new, |error| format!("; the last answer was: {error}"));
                return Err(format!("{what}: not so after {} s{last}\n{}", limit.as_secs(), self.logs()));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn wait_ready(&mut self) -> Outcome {
        let start = Instant::now();
        loop {
            let death = self.etcd.death().or_else(|| self.apiserver.as_mut().and_then(Process::death));
            if let Some(death) = death {
                return Err(death);
            }
            // `default` is made by the server after it says that it is ready; nothing can be created in it before.
            if self.kubectl(&["get", "--raw", "/readyz"]).is_ok() && self.kubectl(&["get", "namespace", "default", "kube-system"]).is_ok() {
                return Ok(());
            }
            if start.elapsed() > START {
                return Err(format!("the API server is not ready after {} s\n{}", START.as_secs(), self.logs()));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn logs(&self) -> String {
        let mut text = String::new();
        for process in self.others.iter().chain(&self.controllers).chain(self.apiserver.as_ref()).chain([&self.etcd]) {
            // Writing to a string cannot fail.
            writeln!(text, "{process:?} says:\n{}", process.last_words()).unwrap_or_default();
        }
        text
    }
}

/// Below what the system gives to connections, which would otherwise take a port between its choice and its use.
const PORTS: std::ops::Range<u16> = 20_000..32_000;

impl Ports {
    /// Six ports that nobody uses, and that no other control plane of this process gets.
    fn free() -> Outcome<Self> {
        static NEXT: Mutex<Option<u16>> = Mutex::new(None);
        let mut next = NEXT.lock().unwrap_or_else(PoisonError::into_inner);
        // Several processes begin at different places.
        let first = u16::try_from(std::process::id() * 100 % u32::from(PORTS.end - PORTS.start)).unwrap_or(0);
        let mut port = next.unwrap_or(PORTS.start + first);
        let mut tried = 0;
        let mut one = || -> Outcome<u16> {
            loop {
                tried += 1;
                if tried > PORTS.len() {
                    return Err(format!("no free port between {} and {}", PORTS.start, PORTS.end));
                }
                port = if port + 1 < PORTS.end { port + 1 } else { PORTS.start };
                if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
                    return Ok(port);
                }
            }
        };
        let ports = Self { etcd: one()?, peers: one()?, api: one()?, controllers: one()?, scheduler: one()?, kubelets: one()? };
        *next = Some(port);
        Ok(ports)
    }
}

fn etcd_arguments(folder: &Path, ports: Ports) -> Vec<String> {
    let (client, peer) = (format!("http://127.0.0.1:{}", ports.etcd), format!("http://127.0.0.1:{}", ports.peers));
    vec![
        format!("--data-dir={}", folder.join("etcd").display()),
        format!("--listen-client-urls={client}"),
        format!("--advertise-client-urls={client}"),
        format!("--listen-peer-urls={peer}"),
        format!("--initial-advertise-peer-urls={peer}"),
        format!("--initial-cluster=default={peer}"),
        "--unsafe-no-fsync=true".to_owned(),
    ]
}

fn apiserver_arguments(folder: &Path, ports: Ports, server: &Server) -> Vec<String> {
    let file = |name: &str| folder.join(name).display().to_string();
    let mut arguments = vec![
        format!("--etcd-servers=http://127.0.0.1:{}", ports.etcd),
        format!("--tls-cert-file={}", file("server.crt")),
        format!("--tls-private-key-file={}", file("server.key")),
        format!("--client-ca-file={}", file("ca.crt")),
        "--bind-address=127.0.0.1".to_owned(),
        "--advertise-address=127.0.0.1".to_owned(),
        format!("--secure-port={}", ports.api),
        "--authorization-mode=RBAC".to_owned(),
        "--allow-privileged=true".to_owned(),
        "--service-cluster-ip-range=10.0.0.0/24".to_owned(),
        "--endpoint-reconciler-type=none".to_owned(),
        "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
        format!("--service-account-key-file={}", file("accounts.pub")),
        format!("--service-account-signing-key-file={}", file("accounts.key")),
        format!("--audit-policy-file={}", file("audit.yaml")),
        format!("--audit-log-path={}", file("audit.log")),
    ];
    if !server.accounts {
        // Pods then need no service account and get no token volume.
        arguments.push("--disable-admission-plugins=ServiceAccount".to_owned());
    }
    arguments.extend(server.emulation());
    arguments
}

fn controllers_arguments(folder: &Path, which: &str, port: u16) -> Vec<String> {
    vec![
        format!("--kubeconfig={}", folder.join("controllers.kubeconfig").display()),
        format!("--controllers={which}"),
        "--leader-elect=false".to_owned(),
        format!("--service-account-private-key-file={}", folder.join("accounts.key").display()),
        format!("--root-ca-file={}", folder.join("ca.crt").display()),
        "--kube-api-qps=2000".to_owned(),
        "--kube-api-burst=4000".to_owned(),
        // Pods that become ready together are written together. With nothing between two writes the second one finds its
        // cache outdated, tries again, and by then has forgotten the time that triggered it.
        "--endpoint-updates-batch-period=100ms".to_owned(),
        "--endpointslice-updates-batch-period=100ms".to_owned(),
        "--bind-address=127.0.0.1".to_owned(),
        format!("--secure-port={port}"),
    ]
}

fn scheduler_arguments(folder: &Path, ports: Ports) -> Vec<String> {
    vec![
        format!("--kubeconfig={}", folder.join("system-kube-scheduler.kubeconfig").display()),
        "--leader-elect=false".to_owned(),
        "--bind-address=127.0.0.1".to_owned(),
        format!("--secure-port={}", ports.scheduler),
    ]
}

fn kwok_arguments(folder: &Path, ports: Ports) -> Vec<String> {
    vec![
        format!("--server-address=127.0.0.1:{}", ports.kubelets),
        format!("--node-port={}", ports.kubelets),
        format!("--tls-cert-file={}", folder.join("server.crt").display()),
        format!("--tls-private-key-file={}", folder.join("server.key").display()),
        format!("--kubeconfig={}", folder.join("kubelets.kubeconfig").display()),
        // All but those whose kubelet is to say nothing.
        "--manage-nodes-with-label-selector=!test.io/silent".to_owned(),
        "--node-lease-duration-seconds=40".to_owned(),
        // For nodes that come without an address: a pod without one would never count as an endpoint.
        "--node-ip=10.9.0.1".to_owned(),
        format!("--config={}", folder.join("stages.yaml").display()),
    ]
}
