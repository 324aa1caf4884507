//! The helm program: where it is, what surroundings it gets, and what its end means.

use std::ffi::OsString;
use std::path::PathBuf;

use super::errors;
use crate::base::{Error, Kind, Reason, Result, Span, Version};
use crate::cluster::door::{Child, Ended, is_program, on_path};
use crate::cluster::endpoint::Endpoint;
use crate::primitives::cx::Cx;

/// How much of an output is kept: a release with its chart, as JSON.
const KEPT: usize = 64 << 20;
/// How long helm may take for what changes nothing, downloads included.
const READING: Span = Span::from_secs(120);
/// `--timeout` of helm: for each of its waits, such as a hook.
pub(super) const TIMEOUT: Span = Span::from_secs(300);

/// A helm that can be asked, with its way to the cluster.
pub(super) struct Helm {
    cx: Cx,
    program: PathBuf,
    endpoint: Endpoint,
    home: PathBuf,
    /// Where Helm keeps releases here: `secret` or `configmap`.
    driver: &'static str,
}

impl Helm {
    /// Finds helm and opens its way to the cluster.
    ///
    /// # Errors
    /// `command_missing`, with what to install.
    pub(super) async fn new(cx: &Cx, driver: &'static str) -> Result<Helm> {
        let program = find(cx)?;
        let endpoint = cx.cluster.endpoint().await?;
        let home = cx.cluster.scratch()?.join("helm");
        std::fs::create_dir_all(&home).map_err(|error| Error::internal("making a folder for helm").cause(error.to_string()))?;
        Ok(Helm { cx: cx.clone(), program, endpoint, home, driver })
    }

    /// Asks helm something that changes nothing; its standard output. The first Ctrl-C ends it.
    ///
    /// # Errors
    /// What helm said.
    pub(super) async fn ask(&mut self, doing: &str, words: &[OsString]) -> Result<String> {
        let child = self.child(words).limit(READING).ends_at_once();
        let ended = self.cx.cluster.lead(&child, &mut self.endpoint).await?;
        if !ended.is_well() {
            return Err(failed(doing, &ended, READING));
        }
        if ended.truncated {
            return Err(Error::new(Kind::Cluster, Reason::Unsupported, doing).cause(format!("helm said more than {} MiB", KEPT >> 20)));
        }
        Ok(ended.stdout)
    }

    /// Lets helm change something. The first Ctrl-C lets it finish; when its time is over it is asked to end, so that the release is
    /// marked as failed and not left pending.
    ///
    /// # Errors
    /// What the start of a child can fail with, and interruption. A helm that fails is told by [`Ended`].
    pub(super) async fn change(&mut self, words: &[OsString], limit: Span) -> Result<Ended> {
        let child = self.child(words).limit(limit);
        self.cx.cluster.lead(&child, &mut self.endpoint).await
    }

    /// The version of this helm.
    ///
    /// # Errors
    /// When it does not say.
    pub(super) async fn version(&mut self) -> Result<Version> {
        let doing = "asking helm for its version";
        let words = ["version", "--template", "{{.Version}}"].map(OsString::from);
        let said = self.ask(doing, &words).await?;
        let strange = || Error::new(Kind::Input, Reason::Unsupported, doing).cause(format!("`{}` is no version", said.trim()));
        Version::parse(said.trim()).map_err(|_| strange())
    }

    fn child(&self, words: &[OsString]) -> Child {
        let mut child = Child::new(&self.program, words.iter().cloned())
            .kept(KEPT)
            .folder(&self.home)
            .env("HELM_CACHE_HOME", self.home.join("cache"))
            .env("HELM_CONFIG_HOME", self.home.join("config"))
            .env("HELM_DATA_HOME", self.home.join("data"))
            .env("HELM_PLUGINS", "")
            .env("HELM_DRIVER", self.driver);
        // Who may read from registries is the operator's.
        if let Some(registry) = registry() {
            child = child.env("HELM_REGISTRY_CONFIG", registry);
        }
        child
    }
}

/// The file with the operator's logins to registries, where there is one.
fn registry() -> Option<PathBuf> {
    let named = std::env::var_os("HELM_REGISTRY_CONFIG").map(PathBuf::from);
    let usual = || {
        let config = std::env::var_os("XDG_CONFIG_HOME").map(PathBuf::from);
        let config = config.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".config")))?;
        Some(config.join("helm/registry/config.json"))
    };
    named.or_else(usual).filter(|file| file.is_file())
}

/// The error of a machine without helm.
fn missing(what: impl Into<String>) -> Error {
    Error::new(Kind::Input, Reason::CommandMissing, what)
        .hint("install helm 4, or 3.14 or later, from https://helm.sh, or name it in `HELM_BIN`; releases can be read without it")
}

/// The error of a `PATH` without helm.
pub(super) fn not_on_path() -> Error {
    missing("helm is not there: no program of that name is on `PATH`")
}

/// The helm to use: the one that the cluster's options name, else `HELM_BIN`, else the first on `PATH`.
fn find(cx: &Cx) -> Result<PathBuf> {
    let named = cx.cluster.helm().map(PathBuf::from).or_else(|| std::env::var_os("HELM_BIN").map(PathBuf::from));
    match named {
        Some(file) if is_program(&file) => Ok(file),
        Some(file) => Err(missing(format!("`{}`, which is to be used as helm, is no program", file.display()))),
        None => on_path("helm").ok_or_else(not_on_path),
    }
}

/// The error of a helm that did not end well.
pub(super) fn failed(doing: &str, ended: &Ended, limit: Span) -> Error {
    if ended.late {
        return Error::new(Kind::Stuck, Reason::Timeout, format!("{doing}: helm did not finish within {limit} and was asked to end"));
    }
    if let (None, Some(signal)) = (ended.code, ended.signal) {
        return Error::new(Kind::Cluster, Reason::HelmFailed, doing).cause(format!("signal {signal} ended helm"));
    }
    errors::of(doing, &ended.stderr)
}

/// A length of time as helm reads it.
pub(super) fn go(span: Span) -> String {
    format!("{}ms", span.as_millis())
}
