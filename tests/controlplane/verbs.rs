//! Verbs on a real API server, side by side with kubectl: the same thing done twice, in two namespaces, must leave the same.
//!
//! KWOK has no kubelet: what is proven on the simulated cluster only is in `tests/support/simulated_only.rs`, and printed.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use futures::future::LocalBoxFuture;
use lockgate::base::{Error, Result as Answer, Value};
use lockgate::cluster::{Access, Cluster, LiveOptions, Options, RunId};
use lockgate::primitives::{Arg, Arguments, AskOptions, Cx, Done, Progress, Talk, Wrote, find};
use lockgate_sim::json::{Value as Json, json};

use super::Outcome;
use super::binaries::Binaries;
use super::plane::{ControlPlane, Pace};

/// How long what was begun may take to come to rest.
pub(super) const LIMIT: Duration = Duration::from_secs(60);

/// Nobody: says yes, and keeps what is said.
#[derive(Default)]
pub(super) struct Ears(pub(super) RefCell<Vec<String>>);

impl Talk for Ears {
    fn confirm<'a>(&'a self, _: &'a str) -> LocalBoxFuture<'a, Answer<()>> {
        Box::pin(std::future::ready(Ok(())))
    }
    fn ask<'a>(&'a self, _: &'a str, options: &'a AskOptions) -> LocalBoxFuture<'a, Answer<String>> {
        Box::pin(std::future::ready(Ok(options.default.clone().unwrap_or_default())))
    }
    fn manual<'a>(&'a self, _: &'a str) -> LocalBoxFuture<'a, Answer<()>> {
        Box::pin(std::future::ready(Ok(())))
    }
    fn assume(&self, text: &str, _: Option<&Error>) {
        self.note(text);
    }
    fn note(&self, text: &str) {
        self.0.borrow_mut().push(text.to_owned());
    }
    fn progress(&self, _: Progress) {}
    fn wrote(&self, _: &Wrote) {}
}

/// A real control plane with the namespaces `ours` and `theirs`, and somebody who calls verbs in `ours`.
pub(super) struct Bench {
    pub(super) plane: ControlPlane,
    pub(super) ears: Rc<Ears>,
    cluster: Cluster,
    runtime: tokio::runtime::Runtime,
}

impl Bench {
    /// Starts it, with two nodes for each side.
    pub(super) fn start(binaries: &Binaries) -> Outcome<Bench> {
        let plane = ControlPlane::start(binaries, Pace::default())?;
        for namespace in ["ours", "theirs"] {
            plane.kubectl(&["create", "namespace", namespace])?;
        }
        let node = |name: &str| {
            format!(
                "apiVersion: v1\nkind: Node\nmetadata: {{ name: {name}, labels: {{ kubernetes.io/hostname: {name} }}, \
                 annotations: {{ kwok.x-k8s.io/node: fake }} }}\n"
            )
        };
        plane.apply(&["ours-1", "theirs-1"].map(node).join("---\n"))?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| error.to_string())?;
        let options = Options { namespace: Some("ours".to_owned()), ..Options::new(RunId::generate()) };
        let live = LiveOptions { kubeconfig: Some(plane.kubeconfig("operator")), context: None };
        let cluster = runtime.block_on(Cluster::live(live, options)).map_err(|error| error.to_string())?;
        cluster.set_access(Access::ReadWrite);
        let bench = Bench { plane, ears: Rc::default(), cluster, runtime };
        for namespace in ["ours", "theirs"] {
            bench.until("the namespace has its service account", |plane| {
                Ok(plane.kubectl(&["get", "serviceaccount", "default", "-n", namespace]).is_ok())
            })?;
        }
        Ok(bench)
    }

    /// A call as a script makes it.
    pub(super) fn call(&self, verb: &str, positional: Json, options: Json) -> Answer<Done> {
        let arg = |value: Json| Arg::Value(if value.is_null() { Value::Nil } else { Value::Json(value) });
        let positional = positional.as_array().into_iter().flatten().cloned().map(arg).collect();
        let options: BTreeMap<String, Arg> =
            options.as_object().into_iter().flatten().map(|(key, value)| (key.to_string(), arg(value.clone()))).collect();
        let call = find(verb).and_then(|definition| definition.call).ok_or_else(|| Error::internal(format!("no verb `{verb}`")))?;
        let cx = Cx { cluster: self.cluster.clone(), talk: self.ears.clone() };
        self.runtime.block_on(call(cx, Arguments { positional, options }))
    }

    /// A call that must succeed.
    pub(super) fn does(&self, verb: &str, positional: Json, options: Json) -> Outcome<Done> {
        self.call(verb, positional, options).map_err(|error| format!("{verb}: {error} ({:?})", error.hint))
    }

    /// A call that must fail.
    pub(super) fn fails(&self, verb: &str, positional: Json, options: Json) -> Outcome<Error> {
        match self.call(verb, positional, options) {
            Err(error) => Ok(error),
            Ok(done) => Err(format!("{verb} gave {}", done.value.into_json())),
        }
    }

    /// An object as kubectl gives it.
    pub(super) fn object(&self, namespace: &str, reference: &str) -> Outcome<serde_json::Value> {
        let text = self.plane.kubectl(&["get", reference, "-n", namespace, "-o", "json"])?;
        serde_json::from_str(&text).map_err(|error| format!("{reference}: {error}"))
    }

    /// Whether it is there.
    pub(super) fn exists(&self, namespace: &str, reference: &str) -> bool {
        self.plane.kubectl(&["get", reference, "-n", namespace]).is_ok()
    }

    pub(super) fn until(&self, what: &str, holds: impl FnMut(&ControlPlane) -> Outcome<bool>) -> Outcome {
        self.plane.until(what, LIMIT, holds)
    }

    /// Says the same YAML to kubectl in both namespaces.
    pub(super) fn both(&self, yaml: &str) -> Outcome {
        for namespace in ["ours", "theirs"] {
            self.write(namespace, yaml)?;
        }
        Ok(())
    }

    /// `kubectl create -f` in one of them.
    fn write(&self, namespace: &str, yaml: &str) -> Outcome {
        let path = self.file("objects.yaml", yaml)?;
        self.plane.kubectl(&["create", "-n", namespace, "-f", &path]).map(drop)
    }

    /// A file with this text.
    pub(super) fn file(&self, name: &str, text: &str) -> Outcome<String> {
        let path = self.plane.path().join(name);
        std::fs::write(&path, text).map_err(|error| format!("writing {}: {error}", path.display()))?;
        Ok(path.to_string_lossy().into_owned())
    }
}

/// Says what differs.
pub(super) fn same<T: PartialEq + std::fmt::Debug>(what: &str, ours: T, theirs: T) -> Outcome {
    if ours == theirs { Ok(()) } else { Err(format!("{what}: ours {ours:#?}, not {theirs:#?}")) }
}

const WORKLOADS: &str = "apiVersion: apps/v1
kind: Deployment
metadata: { name: web, labels: { app: web, old: yes-it-is } }
spec:
  replicas: 2
  selector: { matchLabels: { app: web } }
  template:
    metadata: { labels: { app: web } }
    spec:
      automountServiceAccountToken: false
      initContainers: [{ name: setup, image: registry.example/setup:v1 }]
      containers:
        - name: web
          image: registry.example/web:v1
          env: [{ name: OLD, value: gone }, { name: KEY, valueFrom: { configMapKeyRef: { name: keys, key: main, optional: true } } }]
";

/// What both sides say of themselves, without what a clock or a name makes different.
fn essence(bench: &Bench, namespace: &str, reference: &str) -> Outcome<serde_json::Value> {
    let mut object = bench.object(namespace, reference)?;
    let mut kept = serde_json::json!({ "spec": object["spec"].take(), "labels": object["metadata"]["labels"].take() });
    let annotations = kept.pointer_mut("/spec/template/metadata/annotations").and_then(serde_json::Value::as_object_mut);
    if let Some(at) = annotations.and_then(|annotations| annotations.get_mut("kubectl.kubernetes.io/restartedAt")) {
        *at = "a time".into();
    }
    Ok(kept)
}

/// Labels, annotations, variables, restarts and pauses: what ours leave is what kubectl's leave.
pub(crate) fn equal_kubectl(binaries: &Binaries) -> Outcome {
    let bench = Bench::start(binaries)?;
    bench.both(WORKLOADS)?;
    let steps: [(&str, Json, Json, &[&str]); 9] = [
        ("label", json!(["deploy/web", { "new": "1", "old": false }]), json!({}), &["label", "deploy/web", "--overwrite", "new=1", "old-"]),
        ("label", json!(["deploy/web", { "new": "2" }]), json!({}), &["label", "deploy/web", "--overwrite", "new=2"]),
        (
            "set_env",
            json!(["deploy/web", { "A": "1", "B": "x y", "OLD": false }]),
            json!({}),
            &["set", "env", "deploy/web", "A=1", "B=x y", "OLD-"],
        ),
        (
            "set_env",
            json!(["deploy/web", { "A": "3" }]),
            json!({ "containers": ["setup"] }),
            &["set", "env", "deploy/web", "-c", "setup", "A=3"],
        ),
        (
            "set_env",
            json!(["deploy/web", { "KEY": "plain" }]),
            json!({ "containers": ["web"] }),
            &["set", "env", "deploy/web", "-c", "web", "KEY=plain"],
        ),
        ("rollout_pause", json!(["deploy/web"]), json!({}), &["rollout", "pause", "deploy/web"]),
        ("rollout_resume", json!(["deploy/web"]), json!({}), &["rollout", "resume", "deploy/web"]),
        ("rollout_restart", json!(["deploy/web"]), json!({}), &["rollout", "restart", "deploy/web"]),
        ("scale", json!(["deploy/web", 3]), json!({}), &["scale", "deploy/web", "--replicas=3"]),
    ];
    for (verb, positional, options, kubectl) in steps {
        let done = bench.does(verb, positional.clone(), options.clone())?;
        let arguments: Vec<&str> = kubectl.iter().copied().chain(["-n", "theirs"]).collect();
        bench.plane.kubectl(&arguments)?;
        same(&format!("{verb} {positional}"), essence(&bench, "ours", "deploy/web")?, essence(&bench, "theirs", "deploy/web")?)?;
        same(&format!("{verb} wrote"), done.wrote.len(), 1)?;
        if verb != "rollout_restart" {
            let again = bench.does(verb, positional, options)?;
            same(&format!("{verb} again"), again.wrote.len(), 0)?;
        }
    }
    bench.does("wait_rollout", json!(["deploy/web"]), json!({}))?;
    taints(&bench)
}

/// Taints of two nodes.
fn taints(bench: &Bench) -> Outcome {
    for (ours, theirs) in [
        (json!(["a=one:NoSchedule", "b:NoExecute"]), &["a=one:NoSchedule", "b:NoExecute"][..]),
        (json!(["a=two:NoSchedule", "b:NoExecute-"]), &["a=two:NoSchedule", "b:NoExecute-"]),
        (json!(["a-"]), &["a-"]),
    ] {
        let done = bench.does("taint", json!(["ours-1", ours]), json!({}))?;
        let mut arguments = vec!["taint", "node", "theirs-1", "--overwrite"];
        arguments.extend(theirs);
        bench.plane.kubectl(&arguments)?;
        let taints = |node: &str| -> Outcome<Vec<String>> {
            let object = bench.object("default", &format!("node/{node}"))?;
            let list = object["spec"]["taints"].as_array().cloned().unwrap_or_default();
            let mut texts: Vec<String> =
                list.iter().map(|taint| format!("{}={}:{}", taint["key"], taint["value"], taint["effect"])).collect();
            texts.sort();
            Ok(texts)
        };
        same("taints", taints("ours-1")?, taints("theirs-1")?)?;
        same("taint wrote", done.wrote.len(), 1)?;
    }
    let error = bench.fails("label", json!(["node/ours-1", { "a": "not a value" }]), json!({}))?;
    same("a bad label", error.reason.as_str(), "usage")
}
