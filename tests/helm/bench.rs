//! A place to try the verbs in: a simulated cluster or a namespace of the real control plane, with one of the helms.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::{Mutex, PoisonError};

use futures::future::LocalBoxFuture;
use lockgate::base::{Error, Kind, Reason, Result, Span, Value};
use lockgate::cluster::door::{Child, Ended};
use lockgate::cluster::{Access, Cluster, LiveOptions, Options, RunId};
use lockgate::primitives::{Arg, Arguments, AskOptions, Cx, Done, Progress, Talk, Wrote, find};
use lockgate_sim::fixture::Fixture;
use lockgate_sim::json::{Value as Json, json};
use lockgate_sim::{Cluster as Sim, Options as SimOptions};
use tempfile::TempDir;

use crate::controlplane::Binaries;
use crate::controlplane::plane::{ControlPlane, Pace};

/// What a part of a case gives, or what went wrong.
pub(super) type Outcome<T = ()> = std::result::Result<T, String>;

/// The chart that everything is tried with.
const CHART: &str = "tests/sandbox/files/shop";
/// Where it is installed.
const CLUSTER: &str = include_str!("../sandbox/files/cluster.yaml");

/// What was said to the operator.
#[derive(Default)]
pub(super) struct Operator {
    pub(super) notes: RefCell<Vec<String>>,
    pub(super) wrote: RefCell<Vec<Wrote>>,
}

impl Talk for Operator {
    fn confirm<'a>(&'a self, _: &'a str) -> LocalBoxFuture<'a, Result<()>> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn ask<'a>(&'a self, _: &'a str, _: &'a AskOptions) -> LocalBoxFuture<'a, Result<String>> {
        Box::pin(std::future::ready(Err(Error::new(Kind::Cancelled, Reason::Declined, "nobody is asked"))))
    }

    fn manual<'a>(&'a self, _: &'a str) -> LocalBoxFuture<'a, Result<()>> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn assume(&self, _: &str, _: Option<&Error>) {}

    fn note(&self, text: &str) {
        self.notes.borrow_mut().push(text.to_owned());
    }

    fn progress(&self, _: Progress) {}

    fn wrote(&self, wrote: &Wrote) {
        self.wrote.borrow_mut().push(wrote.clone());
    }
}

/// One place.
pub(super) struct Bench {
    pub(super) cluster: Cluster,
    pub(super) operator: Rc<Operator>,
    /// Whether it is the real control plane.
    pub(super) is_real: bool,
    /// `helm3` or `helm4`.
    pub(super) helm: &'static str,
    program: PathBuf,
    home: TempDir,
    /// One for all that share a connection: it is served by the runtime that used it first.
    runtime: Rc<tokio::runtime::Runtime>,
}

fn said(error: impl std::fmt::Display) -> String {
    error.to_string()
}

impl Bench {
    /// A simulated cluster.
    pub(super) fn simulated(helm: &'static str) -> Outcome<Bench> {
        let mut sim = Fixture::parse("cluster.yaml", CLUSTER).and_then(|fixture| fixture.cluster(SimOptions::default())).map_err(said)?;
        sim.furnish();
        Bench::on(sim, helm)
    }

    /// This simulated cluster.
    pub(super) fn on(sim: Sim, helm: &'static str) -> Outcome<Bench> {
        let program = crate::sandbox::helm(helm)?;
        let options = Options { helm: Some(program.clone()), ..Options::new(RunId::simulated(sim.now(), 1)) };
        Bench::over(Cluster::simulated(sim, options), false, helm, program, Rc::new(runtime()?))
    }

    /// A fresh namespace of the real control plane.
    pub(super) fn real(helm: &'static str, binaries: &Binaries, name: &str) -> Outcome<Bench> {
        static SHARED: Mutex<Option<ControlPlane>> = Mutex::new(None);
        crate::sandbox::helm(helm)?;
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        if shared.is_none() {
            *shared = Some(Bench::plane(binaries, Pace::default())?);
        }
        let plane = shared.as_ref().ok_or("no control plane")?;
        let short: String = name.replace('_', "-").chars().take(50).collect();
        let namespace = format!("{helm}-{}", short.trim_end_matches('-'));
        plane.kubectl(&["create", "namespace", &namespace])?;
        Bench::led(helm, plane.kubeconfig("admin"), namespace)
    }

    /// A control plane of its own, with what the chart needs.
    pub(super) fn plane(binaries: &Binaries, pace: Pace) -> Outcome<ControlPlane> {
        let plane = ControlPlane::start(binaries, pace)?;
        let documents: Vec<&str> = CLUSTER.split("\n---").filter(|document| !document.contains("apiVersion: lockgate.dev/")).collect();
        plane.apply(&documents.join("\n---"))?;
        Ok(plane)
    }

    /// This namespace of the server that a kubeconfig leads to.
    pub(super) fn led(helm: &'static str, kubeconfig: PathBuf, namespace: String) -> Outcome<Bench> {
        let program = crate::sandbox::helm(helm)?;
        let options = Options { helm: Some(program.clone()), namespace: Some(namespace), ..Options::new(RunId::generate()) };
        let live = LiveOptions { kubeconfig: Some(kubeconfig), context: None };
        let runtime = Rc::new(runtime()?);
        let cluster = runtime.block_on(Cluster::live(live, options)).map_err(said)?;
        cluster.set_access(Access::ReadWrite);
        Bench::over(cluster, true, helm, program, runtime)
    }

    fn over(cluster: Cluster, is_real: bool, helm: &'static str, program: PathBuf, runtime: Rc<tokio::runtime::Runtime>) -> Outcome<Bench> {
        let home = TempDir::new().map_err(said)?;
        Ok(Bench { cluster, operator: Rc::default(), is_real, helm, program, home, runtime })
    }

    /// The same place as a plan sees it: of a server, whichever it is.
    pub(super) fn planning_beside(&self) -> Outcome<Bench> {
        let cluster = self.cluster.as_server().unwrap_or_else(|| self.cluster.clone()).planning();
        Bench::over(cluster, self.is_real, self.helm, self.program.clone(), Rc::clone(&self.runtime))
    }

    /// The same place as a plan sees it.
    pub(super) fn planning(&self) -> Outcome<Bench> {
        let cluster = self.cluster.planning();
        Bench::over(cluster, self.is_real, self.helm, self.program.clone(), Rc::clone(&self.runtime))
    }

    pub(super) fn run<F: Future>(&self, future: F) -> F::Output {
        self.runtime.block_on(future)
    }

    /// A call as a script makes it, not yet run.
    pub(super) fn calling(&self, verb: &str, positional: Json, options: Json) -> LocalBoxFuture<'static, Result<Done>> {
        let arg = |value: Json| Arg::Value(if value.is_null() { Value::Nil } else { Value::Json(value) });
        let positional = positional.as_array().into_iter().flatten().cloned().map(arg).collect();
        let options: BTreeMap<String, Arg> =
            options.as_object().into_iter().flatten().map(|(key, value)| (key.to_string(), arg(value.clone()))).collect();
        let cx = Cx { cluster: self.cluster.clone(), talk: self.operator.clone() };
        match find(verb).and_then(|definition| definition.call) {
            Some(call) => call(cx, Arguments { positional, options }),
            None => Box::pin(std::future::ready(Err(Error::internal(format!("there is no verb `{verb}`"))))),
        }
    }

    pub(super) fn call(&self, verb: &str, positional: Json, options: Json) -> Result<Done> {
        self.run(self.calling(verb, positional, options))
    }

    /// The value of a call that must succeed.
    pub(super) fn value(&self, verb: &str, positional: Json, options: Json) -> Outcome<Json> {
        self.call(verb, positional, options)
            .map(|done| done.value.into_json())
            .map_err(|error| format!("{verb}: {error} ({:?})", error.hint))
    }

    /// The error of a call that must fail, for this reason.
    pub(super) fn fails(&self, reason: Reason, verb: &str, positional: Json, options: Json) -> Outcome<Error> {
        match self.call(verb, positional, options) {
            Ok(done) => Err(format!("{verb} succeeded: {:?}", done.value)),
            Err(error) if error.reason == reason => Ok(error),
            Err(error) => Err(format!("{verb}: {:?} in the place of {reason:?}: {error}", error.reason)),
        }
    }

    fn child(&self, program: &Path, words: &[&str]) -> Child {
        let home = self.home.path();
        Child::new(program, words.iter().copied())
            .env("HELM_CACHE_HOME", home.join("cache"))
            .env("HELM_CONFIG_HOME", home.join("config"))
            .env("HELM_DATA_HOME", home.join("data"))
            .env("HELM_NAMESPACE", self.cluster.namespace())
            .kept(64 << 20)
            .limit(Span::from_secs(600))
    }

    /// helm as a person runs it, by the same way to the cluster.
    pub(super) async fn helming(&self, words: &[&str]) -> Result<Ended> {
        self.helming_in(None, words).await
    }

    /// The same with the releases kept there: `configmap`.
    pub(super) async fn helming_in(&self, driver: Option<&str>, words: &[&str]) -> Result<Ended> {
        let mut endpoint = self.cluster.endpoint().await?;
        let child = self.child(&self.program, words);
        let child = driver.into_iter().fold(child, |child, driver| child.env("HELM_DRIVER", driver));
        self.cluster.lead(&child, &mut endpoint).await
    }

    /// The same to its good end: its standard output.
    pub(super) fn helm_in(&self, driver: &str, words: &[&str]) -> Outcome<String> {
        let ended = self.run(self.helming_in(Some(driver), words)).map_err(said)?;
        if ended.is_well() { Ok(ended.stdout) } else { Err(format!("helm {words:?}: {ended:?}")) }
    }

    /// The other helm as a person runs it, to its good end: its standard output. Verbs go on with their own.
    pub(super) fn other_helm(&self, words: &[&str]) -> Outcome<String> {
        let program = crate::sandbox::helm(if self.helm == "helm3" { "helm4" } else { "helm3" })?;
        let ended = self.run(async {
            let mut endpoint = self.cluster.endpoint().await?;
            self.cluster.lead(&self.child(&program, words), &mut endpoint).await
        });
        let ended = ended.map_err(said)?;
        if ended.is_well() { Ok(ended.stdout) } else { Err(format!("the other helm {words:?}: {ended:?}")) }
    }

    /// The same with JSON.
    pub(super) fn other_json(&self, words: &[&str]) -> Outcome<Json> {
        let said = self.other_helm(&[words, &["--output", "json"]].concat())?;
        serde_json::from_str(&said).map_err(|error| format!("{error}: {said}"))
    }

    /// The same to its good end: its standard output.
    pub(super) fn helm(&self, words: &[&str]) -> Outcome<String> {
        let ended = self.run(self.helming(words)).map_err(said)?;
        if ended.is_well() { Ok(ended.stdout) } else { Err(format!("helm {words:?}: {ended:?}")) }
    }

    /// The same with JSON.
    pub(super) fn helm_json(&self, words: &[&str]) -> Outcome<Json> {
        let said = self.helm(&[words, &["--output", "json"]].concat())?;
        serde_json::from_str(&said).map_err(|error| format!("{error}: {said}"))
    }

    /// A copy of the chart of this version, with these texts in its files replaced.
    pub(super) fn chart(&self, version: &str, changes: &[(&str, &str)]) -> Outcome<String> {
        let group = format!("{}.example", self.cluster.namespace());
        let mut all = vec![("version: 0.1.0", format!("version: {version}")), ("shop.example", group)];
        all.extend(changes.iter().map(|(from, to)| (*from, (*to).to_owned())));
        let own = std::fs::read_dir(self.home.path()).map_err(said)?.count();
        let to = self.home.path().join(format!("chart-{own}")).join("shop");
        copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join(CHART), &to, &all)?;
        Ok(to.display().to_string())
    }

    /// The same without custom resources: the copy of a live cluster has none.
    pub(super) fn plain_chart(&self, version: &str, changes: &[(&str, &str)]) -> Outcome<String> {
        let chart = self.chart(version, changes)?;
        std::fs::remove_file(Path::new(&chart).join("templates/cart.yaml")).map_err(said)?;
        std::fs::remove_dir_all(Path::new(&chart).join("crds")).map_err(said)?;
        Ok(chart)
    }

    /// The release as it is.
    pub(super) fn release(&self) -> Outcome<Json> {
        self.value("helm.get", json!(["shop"]), json!({}))
    }

    /// An object as it is.
    pub(super) fn object(&self, reference: &str) -> Outcome<Json> {
        self.value("get", json!([reference]), json!({}))
    }

    /// How many writes have left so far.
    pub(super) fn writes(&self) -> usize {
        self.cluster.requests().iter().filter(|request| request.verb.is_write()).count()
    }
}

fn runtime() -> Outcome<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(said)
}

fn copy(from: &Path, to: &Path, changes: &[(&str, String)]) -> Outcome {
    if !from.is_dir() {
        let text = std::fs::read_to_string(from).map_err(said)?;
        let text = changes.iter().fold(text, |text, (from, to)| text.replace(from, to));
        return std::fs::write(to, text).map_err(said);
    }
    std::fs::create_dir_all(to).map_err(said)?;
    for entry in std::fs::read_dir(from).map_err(said)? {
        let entry = entry.map_err(said)?;
        copy(&entry.path(), &to.join(entry.file_name()), changes)?;
    }
    Ok(())
}

/// Says no, with what was looked at.
pub(super) fn ensure(holds: bool, what: impl FnOnce() -> String) -> Outcome {
    if holds { Ok(()) } else { Err(what()) }
}

/// The same for two things that must be equal.
pub(super) fn same<A: PartialEq<B> + std::fmt::Debug, B: std::fmt::Debug>(what: &str, a: A, b: B) -> Outcome {
    ensure(a == b, || format!("{what}:\n  {a:?}\n  {b:?}"))
}

/// The same for a field and what it must be.
pub(super) fn is(what: &str, field: &Json, wanted: impl Into<Json>) -> Outcome {
    same(what, field, &wanted.into())
}
