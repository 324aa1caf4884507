//! A live cluster: which kubeconfig, which context, and the client for it.
//!
//! Everything that is wrong with a kubeconfig is said before anything is contacted, with the file and what would be right. The
//! client itself is made when it is first needed: it reads certificates and runs credential plugins.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, ThreadId};

use http::{Request, Response};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client as HttpClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use kube::client::{Body, ClientBuilder, ConfigExt as _};
use kube::config::{AuthInfo, KubeConfigOptions, Kubeconfig, KubeconfigError};
use sha2::{Digest as _, Sha256};
use tower::util::{BoxCloneService, option_layer};
use tower::{BoxError, Layer as _, ServiceExt as _};

use super::cancel::Cancel;
use super::error::chain;
use super::keep::hex;
use super::kuberc;
use super::layers::{Access, Gate, Layers};
use super::wire::{Limits, Neighbour, Wire};
use crate::base::clock::Duration;
use crate::base::{Clock, Error, Kind, Reason, Result, Span, did_you_mean};

/// How long a connection may take to be made, of the time that a request has.
const CONNECT: Duration = Duration::from_secs(10);

/// The same to a single API server, which may be behind a balancer that is the only way in.
const NEAR: Duration = Duration::from_secs(3);
/// The name that every API server has in its certificate.
const SERVICE: &str = "kubernetes.default.svc";

/// Which live cluster to work on.
#[derive(Clone, Debug, Default)]
pub struct LiveOptions {
    /// The kubeconfig; else `KUBECONFIG`, else `~/.kube/config`, else the service account of the pod this runs in.
    pub kubeconfig: Option<PathBuf>,
    /// The context; else the kubeconfig's current one.
    pub context: Option<String>,
}

impl LiveOptions {
    /// The kubeconfigs that count, whether they are there or not.
    #[must_use]
    pub fn files(&self) -> Vec<PathBuf> {
        if let Some(path) = &self.kubeconfig {
            return vec![path.clone()];
        }
        let listed = std::env::var_os("KUBECONFIG").filter(|value| !value.is_empty());
        let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".kube/config"));
        listed.map_or_else(|| home().into_iter().collect(), |listed| std::env::split_paths(&listed).collect())
    }
}

/// The name of the cluster whose pod this runs in.
pub const IN_CLUSTER: &str = "in-cluster";

/// A live cluster that was found and not yet contacted.
pub(super) struct Live {
    config: kube::Config,
    /// The context's name, or `in-cluster`.
    pub(super) name: String,
    /// The credential plugin that will be run, as a person would type it.
    plugin: Option<String>,
    /// Whether each request makes a connection of its own.
    unpooled: bool,
    /// Connections with the credentials that they were made with, and the thread whose runtime drives them. A plan and its run share
    /// them: one handshake, and one run of a credential plugin. Who renews a lock on another thread does not: a connection stands still
    /// while the thread that drives it is busy.
    stack: Mutex<Option<(ThreadId, Stack)>>,
}

/// What is beneath our layers: the server's address, credentials, and a pool of connections.
type Stack = BoxCloneService<Request<Body>, Response<Incoming>, BoxError>;

impl Live {
    /// Finds the cluster.
    pub(super) async fn find(options: &LiveOptions) -> Result<Live> {
        let Some((kubeconfig, files)) = kubeconfig(options.kubeconfig.as_deref())? else {
            return in_cluster(options.context.as_deref());
        };
        let (name, plugin) = check(&kubeconfig, options.context.as_deref(), &files)?;
        let chosen = KubeConfigOptions { context: Some(name.clone()), ..KubeConfigOptions::default() };
        let config = kube::Config::from_custom_kubeconfig(kubeconfig, &chosen)
            .await
            .map_err(|error| Error::usage(format!("context `{name}` of kubeconfig `{files}` cannot be used")).cause(texts(&error)))?;
        Ok(Live { config: ours(config), name, plugin, unpooled: false, stack: Mutex::default() })
    }

    /// The credential plugin that will be run, as a person would type it.
    pub(super) fn plugin(&self) -> Option<&str> {
        self.plugin.as_deref()
    }

    /// The address, for messages.
    pub(super) fn server(&self) -> String {
        self.config.cluster_url.to_string().trim_end_matches('/').to_owned()
    }

    /// The address, and a fingerprint of the authorities by which its certificate is checked.
    pub(super) fn identity(&self) -> String {
        let mut trusted = Sha256::new();
        self.config.root_cert.iter().flatten().for_each(|certificate| trusted.update(certificate));
        if let Some(file) = &self.config.root_cert_file {
            // Who cannot read it connects to nothing either, and says so.
            trusted.update(std::fs::read(file).unwrap_or_default());
        }
        let fingerprint: String = hex(&trusted.finalize()).chars().take(16).collect();
        format!("{} (authorities {fingerprint})", self.server())
    }

    /// The namespace of the context.
    pub(super) fn namespace(&self) -> String {
        self.config.default_namespace.clone()
    }

    /// A client, through the layers; `anew` with credentials that are asked for anew. Must be called inside the runtime that will
    /// drive it, which is one and the same for all clients of a thread.
    pub(super) fn client(&self, layers: &Layers, anew: bool) -> Result<kube::Client> {
        let client = if self.config.proxy_url.is_some() {
            self.signs_in();
            ClientBuilder::try_from(self.config.clone()).map(|builder| builder.with_layer(layers).build())
        } else {
            self.direct(anew).map(|stack| ClientBuilder::new(stack, self.namespace()).with_layer(layers).build())
        };
        client.map_err(|error| self.cannot_connect(&error))
    }

    fn signs_in(&self) {
        if let Some(plugin) = &self.plugin {
            tracing::info!(target: "lockgate::cluster", "credential plugin: {plugin}");
        }
    }

    /// The way to an API server that is reached without a proxy, made when it is first needed.
    fn direct(&self, anew: bool) -> kube::Result<Stack> {
        let here = thread::current().id();
        let mut known = self.stack.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, stack)) = known.as_ref().filter(|(thread, _)| *thread == here && !anew) {
            return Ok(stack.clone());
        }
        let made = self.stack()?;
        if known.as_ref().is_none_or(|(thread, _)| *thread == here) {
            *known = Some((here, made.clone()));
        }
        Ok(made)
    }

    /// Makes it. The library's own leaves Nagle's algorithm on, with which each first request on a connection, and each with a body,
    /// waits 40 ms for an acknowledgement.
    fn stack(&self) -> kube::Result<Stack> {
        self.signs_in();
        let mut connector = HttpConnector::new();
        connector.enforce_http(false);
        connector.set_nodelay(true);
        connector.set_connect_timeout(self.config.connect_timeout);
        let connector = self.config.rustls_https_connector_with_connector(connector)?;
        let client: HttpClient<_, Body> =
            HttpClient::builder(TokioExecutor::new()).pool_max_idle_per_host(if self.unpooled { 0 } else { usize::MAX }).build(connector);
        let service = self.config.extra_headers_layer()?.layer(client.map_err(BoxError::from));
        let service = option_layer(self.config.auth_layer()?).layer(service);
        Ok(BoxCloneService::new(self.config.base_uri_layer().layer(service)))
    }

    /// The ways to single API servers of the cluster, for reading.
    pub(super) fn neighbours(self: &Arc<Self>, layers: Layers, cancel: Cancel) -> Neighbour {
        let live = self.clone();
        let limits = Limits { read: Span::from_secs(5), ..Limits::default() };
        Box::new(move |address| {
            let Some(one) = live.one(address)? else { return Ok(None) };
            let (layers, server) = (Layers { gate: Gate::new(Access::ReadOnly), ..layers.clone() }, one.server());
            Ok(Some(Wire::new(Box::new(move |anew| one.client(&layers, anew)), server, Clock::real(), cancel.clone(), limits)))
        })
    }

    /// The same cluster over new connections; at this address only where its certificate can be checked, since it gets the
    /// credentials: all API servers have the name of the Service in theirs.
    fn one(&self, address: Option<&str>) -> Result<Option<Live>> {
        let mut config = self.config.clone();
        let Some(address) = address else {
            let direct = config.proxy_url.is_none();
            return Ok(direct.then(|| self.alone(config)));
        };
        let checked = (config.root_cert.is_some() || config.root_cert_file.is_some()) && !config.accept_invalid_certs;
        if !checked || config.proxy_url.is_some() || config.cluster_url.scheme_str() != Some("https") {
            return Ok(None);
        }
        config.cluster_url = format!("https://{address}").parse().map_err(|error: http::uri::InvalidUri| {
            Error::new(Kind::Cluster, Reason::Invalid, format!("the address `{address}` of an API server is none")).cause(error.to_string())
        })?;
        config.tls_server_name = Some(SERVICE.to_owned());
        config.connect_timeout = Some(NEAR);
        Ok(Some(self.alone(config)))
    }

    /// The same with another configuration, over connections of its own.
    fn alone(&self, config: kube::Config) -> Live {
        Live { config, name: self.name.clone(), plugin: self.plugin.clone(), unpooled: true, stack: Mutex::default() }
    }

    fn cannot_connect(&self, error: &kube::Error) -> Error {
        let server = self.server();
        let error = match (error, &self.plugin) {
            (kube::Error::Auth(cause), Some(plugin)) => {
                Error::new(Kind::Refused, Reason::Forbidden, format!("signing in to `{server}` by `{plugin}`"))
                    .cause(texts(cause))
                    .hint("run the command by hand; it is named in the kubeconfig's `exec` block")
            }
            (kube::Error::Auth(cause), None) => {
                Error::new(Kind::Refused, Reason::Forbidden, format!("signing in to `{server}`")).cause(texts(cause))
            }
            (error, _) => Error::usage(format!("connecting to `{server}` with context `{}`", self.name)).cause(texts(error)),
        };
        error.about(&self.name)
    }
}

/// The settings that differ from the library's: no silent retry of any method (`reference/safety.md` §1.1).
fn ours(mut config: kube::Config) -> kube::Config {
    config.default_retry = false;
    config.connect_timeout = Some(CONNECT);
    config
}

/// The texts of an error and its sources on one line, without those that repeat what the one before said.
fn texts(error: &dyn std::error::Error) -> String {
    let mut out: Vec<String> = Vec::new();
    for text in chain(error) {
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        if !out.iter().any(|said| said.contains(&text)) {
            out.push(text);
        }
    }
    out.join(": ")
}

/// The merged kubeconfig and the names of its files; `None` where there is none and this may be a pod.
fn kubeconfig(explicit: Option<&Path>) -> Result<Option<(Kubeconfig, String)>> {
    if let Some(path) = explicit {
        return Ok(Some((read(path)?, path.display().to_string())));
    }
    let listed: Vec<PathBuf> = std::env::var_os("KUBECONFIG")
        .map(|value| std::env::split_paths(&value).filter(|path| !path.as_os_str().is_empty()).collect())
        .unwrap_or_default();
    let present: Vec<&PathBuf> = listed.iter().filter(|path| path.exists()).collect();
    if let (Some(first), true) = (listed.first(), present.is_empty()) {
        return Err(missing(first).hint("`KUBECONFIG` names it; set it right, or try `--sandbox`"));
    }
    if !present.is_empty() {
        let mut merged = Kubeconfig::default();
        for path in &present {
            merged = merged.merge(read(path)?).map_err(|error| {
                Error::usage(format!("kubeconfig `{}` does not fit the ones before it", path.display())).cause(texts(&error))
            })?;
        }
        let names: Vec<String> = present.iter().map(|path| path.display().to_string()).collect();
        return Ok(Some((merged, names.join(":"))));
    }
    let home = std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".kube/config"));
    match home.filter(|path| path.exists()) {
        Some(path) => Ok(Some((read(&path)?, path.display().to_string()))),
        None => Ok(None),
    }
}

fn missing(path: &Path) -> Error {
    Error::usage(format!("kubeconfig `{}` does not exist", path.display()))
}

fn read(path: &Path) -> Result<Kubeconfig> {
    Kubeconfig::read_from(path).map_err(|error| {
        let file = path.display();
        match error {
            KubeconfigError::ReadConfig(error, _) if error.kind() == std::io::ErrorKind::NotFound => {
                missing(path).hint("name another with `--kubeconfig`, or try `--sandbox`")
            }
            KubeconfigError::ReadConfig(error, _) => Error::usage(format!("kubeconfig `{file}` cannot be read")).cause(error.to_string()),
            KubeconfigError::Parse(error) => {
                let place = error.location().map_or_else(String::new, |at| format!(":{}:{}", at.line(), at.column()));
                let text = error.without_snippet().to_string();
                let first = text.lines().next().unwrap_or_default().to_owned();
                Error::usage(format!("kubeconfig `{file}{place}` is not valid YAML of a kubeconfig")).cause(first)
            }
            error => Error::usage(format!("kubeconfig `{file}` cannot be used")).cause(texts(&error)),
        }
    })
}

/// Checks that the context and what it names are there. Gives its name and its credential plugin.
fn check(kubeconfig: &Kubeconfig, wanted: Option<&str>, files: &str) -> Result<(String, Option<String>)> {
    let contexts: Vec<&str> = kubeconfig.contexts.iter().map(|context| context.name.as_str()).collect();
    let list = |names: &[&str]| names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    if contexts.is_empty() {
        return Err(Error::usage(format!("kubeconfig `{files}` has no contexts")).hint("name another with `--kubeconfig`"));
    }
    let current = kubeconfig.current_context.as_deref().filter(|name| !name.is_empty());
    let Some(name) = wanted.or(current) else {
        return Err(Error::usage(format!("kubeconfig `{files}` has no current context"))
            .hint(format!("name one with `--context`: {}", list(&contexts))));
    };
    let Some(context) = kubeconfig.contexts.iter().find(|context| context.name == name).and_then(|found| found.context.as_ref()) else {
        let hint = match did_you_mean(name, contexts.iter().copied()) {
            Some(near) => format!("did you mean `{near}`? there are: {}", list(&contexts)),
            None => format!("there are: {}", list(&contexts)),
        };
        return Err(Error::usage(format!("kubeconfig `{files}` has no context `{name}`")).hint(hint));
    };
    let names_missing = |what: &str, missing: &str| {
        Error::usage(format!("context `{name}` names {what} `{missing}`, which kubeconfig `{files}` does not have"))
    };
    let cluster = kubeconfig.clusters.iter().find(|cluster| cluster.name == context.cluster);
    let Some(cluster) = cluster.and_then(|named| named.cluster.as_ref()) else {
        let clusters: Vec<&str> = kubeconfig.clusters.iter().map(|cluster| cluster.name.as_str()).collect();
        return Err(names_missing("cluster", &context.cluster).hint(format!("there are: {}", list(&clusters))));
    };
    if cluster.server.as_deref().unwrap_or_default().is_empty() {
        return Err(Error::usage(format!("cluster `{}` of kubeconfig `{files}` has no `server`", context.cluster)));
    }
    let plugin = match context.user.as_deref().filter(|user| !user.is_empty()) {
        None => None,
        Some(user) => {
            let found = kubeconfig.auth_infos.iter().find(|info| info.name == user);
            let info = found.ok_or_else(|| names_missing("user", user))?.auth_info.as_ref();
            if let Some(command) = info.and_then(|info| info.exec.as_ref()).and_then(|exec| exec.command.as_deref()) {
                kuberc::allows(command)?;
            }
            info.and_then(plugin)
        }
    };
    Ok((name.to_owned(), plugin))
}

fn plugin(info: &AuthInfo) -> Option<String> {
    let exec = info.exec.as_ref()?;
    let words = std::iter::once(exec.command.clone().unwrap_or_default()).chain(exec.args.iter().flatten().cloned());
    Some(words.collect::<Vec<_>>().join(" "))
}

fn in_cluster(context: Option<&str>) -> Result<Live> {
    let none = || Error::usage("no cluster to work on: there is no kubeconfig");
    if context.is_some() || std::env::var_os("KUBERNETES_SERVICE_HOST").is_none() {
        return Err(none().hint("name one with `--kubeconfig`, or try `--sandbox`: a simulated cluster, nothing to set up"));
    }
    let config = kube::Config::incluster()
        .map_err(|error| none().cause(format!("and the service account of this pod cannot be used: {}", texts(&error))))?;
    Ok(Live { config: ours(config), name: IN_CLUSTER.to_owned(), plugin: None, unpooled: false, stack: Mutex::default() })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    /// A kubeconfig whose credential plugin writes a line for each of its runs, and how many there were.
    struct Plugin {
        folder: tempfile::TempDir,
        live: Arc<Live>,
    }

    impl Plugin {
        async fn new() -> Plugin {
            let folder = tempfile::TempDir::new().unwrap();
            let path = |name: &str| folder.path().join(name);
            let token = r#"{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{"token":"t"}}"#;
            std::fs::write(path("plugin"), format!("#!/bin/sh\necho run >> {}\necho '{token}'\n", path("runs").display())).unwrap();
            std::fs::set_permissions(path("plugin"), std::fs::Permissions::from_mode(0o755)).unwrap();
            let text = format!(
                "current-context: c\ncontexts: [{{name: c, context: {{cluster: c, user: u}}}}]\n\
                 clusters: [{{name: c, cluster: {{server: 'https://127.0.0.1:1', insecure-skip-tls-verify: true}}}}]\n\
                 users: [{{name: u, user: {{exec: {{apiVersion: client.authentication.k8s.io/v1, command: '{}', interactiveMode: Never}}}}}}]\n",
                path("plugin").display()
            );
            std::fs::write(path("kubeconfig"), text).unwrap();
            let options = LiveOptions { kubeconfig: Some(path("kubeconfig")), context: None };
            let live = Arc::new(Live::find(&options).await.unwrap());
            Plugin { folder, live }
        }

        fn runs(&self) -> usize {
            std::fs::read_to_string(self.folder.path().join("runs")).unwrap_or_default().lines().count()
        }
    }

    #[tokio::test]
    async fn a_thread_signs_in_once_and_again_when_it_must() {
        let plugin = Plugin::new().await;
        assert_eq!(plugin.runs(), 0, "nothing is asked before it is needed");
        drop(plugin.live.direct(false).unwrap());
        let once = plugin.runs();
        assert!(once > 0);
        drop(plugin.live.direct(false).unwrap());
        assert_eq!(plugin.runs(), once, "a plan's credentials and connections are the run's");
        drop(plugin.live.direct(true).unwrap());
        assert_eq!(plugin.runs(), 2 * once, "what the server does not take any more is asked for anew");
        let live = plugin.live.clone();
        let other = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async { live.direct(false).map(drop) })
        });
        other.join().unwrap().unwrap();
        assert_eq!(plugin.runs(), 3 * once, "another thread has its own");
        drop(plugin.live.direct(false).unwrap());
        assert_eq!(plugin.runs(), 3 * once);
    }
}
