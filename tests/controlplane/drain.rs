//! `drain` and `drain_plan` on the real control plane: the same table as on the simulated cluster, and what kubectl makes of its flags.
//!
//! One plane for all: every situation has a namespace and two nodes of its own. The verbs are called in this process.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::LocalBoxFuture;
use futures::stream::{self, StreamExt as _};
use libtest_mimic::Trial;
use lockgate::base::{self, Error, Reason, Value as Given};
use lockgate::cluster::{Access, Cluster, LiveOptions, Options, RunId, Select};
use lockgate::primitives::{Arg, Arguments, AskOptions, Cx, Done, Progress, Talk, Wrote, find};
use lockgate_sim::json::{Value as Json, json};
use serde_json::Value;

use super::binaries::Binaries;
use super::command;
use super::plane::{ControlPlane, Pace};
use super::{Outcome, Real, drain_speed, needs_binaries, read_speed};

#[path = "../primitives/drain/given.rs"]
#[allow(clippy::unwrap_used, clippy::panic, reason = "a table that is written wrongly fails the case")]
pub(super) mod given;
#[path = "../primitives/drain/situations.rs"]
mod situations;

use given::{Act, Ends, Situation, id, node};
use situations::{FLAGGED, FLAGS, SITUATIONS, app, combinations, summary};

/// The cases of this file, by name.
pub(super) fn cases() -> Vec<Trial> {
    let cases: [(&str, Real); 5] = [
        ("drain_table", table),
        ("drain_flags", flags),
        ("drain_survives_a_restart", server_restarts),
        ("drain_planned", planned),
        ("cordon_beside_kubectl", cordons),
    ];
    let mut cases: Vec<Trial> = cases.into_iter().map(|(name, case)| needs_binaries(name, case)).collect();
    // Measured by hand, on a machine that does nothing else: `tests/bench/drain`.
    cases.push(needs_binaries("drain_speed", drain_speed::beside_kubectl).with_ignored_flag(true));
    cases.push(needs_binaries("read_speed", read_speed::beside_clients).with_ignored_flag(true));
    cases
}

/// Longer than a hundred pods take to come up.
const SETTLE: Duration = Duration::from_secs(120);
/// How many situations are played at a time.
const AT_ONCE: usize = 6;

/// Somebody who says yes to everything.
struct Yes;

impl Talk for Yes {
    fn confirm<'a>(&'a self, _: &'a str) -> LocalBoxFuture<'a, base::Result<()>> {
        Box::pin(async { Ok(()) })
    }

    fn ask<'a>(&'a self, _: &'a str, _: &'a AskOptions) -> LocalBoxFuture<'a, base::Result<String>> {
        Box::pin(async { Ok(String::new()) })
    }

    fn manual<'a>(&'a self, _: &'a str) -> LocalBoxFuture<'a, base::Result<()>> {
        Box::pin(async { Ok(()) })
    }

    fn assume(&self, _: &str, _: Option<&Error>) {}
    fn note(&self, _: &str) {}
    fn progress(&self, _: Progress) {}
    fn wrote(&self, _: &Wrote) {}
}

/// The plane, with everything of these situations in place.
pub(super) fn staged(binaries: &Binaries, situations: &[(String, &Situation)]) -> Outcome<ControlPlane> {
    let plane = ControlPlane::start(binaries, Pace::default())?;
    let acts: Vec<(&str, Vec<Act>)> = situations.iter().map(|(id, situation)| (id.as_str(), situation.acts(id))).collect();
    let spaces = situations.iter().map(|(id, _)| json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": id } }));
    apply(&plane, spaces.collect())?;
    plane.until("the namespaces have their service accounts", SETTLE, |plane| Ok(accounts(plane)? >= situations.len()))?;
    // The acts of all situations up to their first rest, then the rest of them.
    let split = |acts: &[Act]| acts.iter().position(|act| *act == Act::Rest).unwrap_or(acts.len());
    let created = |acts: &[Act]| -> Vec<Json> {
        acts.iter().filter_map(|act| if let Act::Create(_, object) = act { Some(object.clone()) } else { None }).collect()
    };
    apply(&plane, acts.iter().flat_map(|(_, acts)| created(&acts[..split(acts)])).collect())?;
    at_rest(&plane)?;
    apply(&plane, acts.iter().flat_map(|(_, acts)| created(&acts[split(acts)..])).collect())?;
    for (id, acts) in &acts {
        for act in acts {
            play(&plane, id, act)?;
        }
    }
    at_rest(&plane)?;
    Ok(plane)
}

fn accounts(plane: &ControlPlane) -> Outcome<usize> {
    let names = plane.kubectl(&["get", "serviceaccounts", "-A", "--field-selector=metadata.name=default", "-o", "name"])?;
    // `default`, `kube-system`, `kube-public` and `kube-node-lease` have theirs too.
    Ok(names.lines().count().saturating_sub(4))
}

fn apply(plane: &ControlPlane, objects: Vec<Json>) -> Outcome {
    if objects.is_empty() {
        return Ok(());
    }
    let documents: Vec<String> = objects.iter().map(Json::to_string).collect();
    plane.apply(&documents.join("\n---\n"))
}

/// What is done by hand.
fn play(plane: &ControlPlane, id: &str, act: &Act) -> Outcome {
    match act {
        Act::Create(..) | Act::Rest => Ok(()),
        Act::Status { app, status } => {
            let patch = json!({ "status": status }).to_string();
            for pod in plane.kubectl(&["get", "pods", "-n", id, "-l", &format!("app={app}"), "-o", "name"])?.lines() {
                plane.kubectl(&["patch", pod, "-n", id, "--subresource=status", "--type=merge", "-p", &patch])?;
            }
            Ok(())
        }
        Act::Delete { path, .. } => {
            let name = path.rsplit('/').next().unwrap_or_default();
            plane.kubectl(&["delete", "daemonset", name, "-n", id, "--cascade=orphan"]).map(drop)
        }
        Act::DeletePods { app } => plane.kubectl(&["delete", "pods", "-n", id, "-l", &format!("app={app}"), "--wait=false"]).map(drop),
        Act::Patch { path, patch } => {
            let name = path.rsplit('/').next().unwrap_or_default();
            plane.kubectl(&["patch", "node", name, "--type=merge", "-p", &patch.to_string()]).map(drop)
        }
    }
}

/// Waits until every workload has its pods, every pod is as ready as it will get, every budget was counted, and nothing moves.
fn at_rest(plane: &ControlPlane) -> Outcome {
    let mut last = None;
    plane.until("everything is at rest", SETTLE, |plane| {
        std::thread::sleep(Duration::from_millis(500));
        let text =
            plane.kubectl(&["get", "pods,poddisruptionbudgets,deployments,statefulsets,replicasets,daemonsets", "-A", "-o", "json"])?;
        let all: Value = serde_json::from_str(&text).map_err(|error| error.to_string())?;
        let items = all["items"].as_array().cloned().unwrap_or_default();
        if let Some(object) = items.iter().find(|object| !is_settled(object)) {
            return Err(format!("{}/{} is not", object["kind"], object["metadata"]["name"]));
        }
        let versions: Vec<String> = items.iter().map(|object| object["metadata"]["resourceVersion"].to_string()).collect();
        Ok(last.replace(versions.clone()) == Some(versions))
    })
}

fn is_settled(object: &Value) -> bool {
    let status = |field: &str| object["status"][field].as_i64().unwrap_or_default();
    let condition = |kind: &str| object["status"]["conditions"].as_array().into_iter().flatten().find(|c| c["type"] == kind).cloned();
    let observed = status("observedGeneration") >= object["metadata"]["generation"].as_i64().unwrap_or_default();
    match object["kind"].as_str() {
        Some("Pod") => {
            let stays = object["metadata"]["annotations"]["never-ready"].is_string() || object["metadata"]["deletionTimestamp"].is_string();
            object["spec"]["nodeName"].is_string() && (stays || condition("Ready").is_some_and(|ready| ready["status"] == "True"))
        }
        Some("PodDisruptionBudget") => observed || condition("DisruptionAllowed").is_some_and(|c| c["reason"] == "SyncFailed"),
        Some("DaemonSet") => observed && status("currentNumberScheduled") == status("desiredNumberScheduled"),
        _ => observed && object["spec"]["replicas"].as_i64() == Some(status("replicas")),
    }
}

/// A way to the plane for verbs called in this process.
pub(super) async fn live(plane: &ControlPlane) -> Outcome<Cluster> {
    live_as(plane, "operator").await
}

/// The same as another user.
async fn live_as(plane: &ControlPlane, user: &str) -> Outcome<Cluster> {
    let options = LiveOptions { kubeconfig: Some(plane.kubeconfig(user)), context: None };
    let cluster = Cluster::live(options, Options::new(RunId::generate())).await.map_err(|error| error.to_string())?;
    cluster.set_access(Access::ReadWrite);
    Ok(cluster)
}

fn arg(value: Json) -> Arg {
    Arg::Value(Given::Json(value))
}

async fn call(cluster: &Cluster, verb: &str, node: &str, options: &Json) -> base::Result<Done> {
    let cx = Cx { cluster: cluster.clone(), talk: Rc::new(Yes) };
    let call = find(verb).and_then(|definition| definition.call).ok_or_else(|| Error::internal(format!("no verb {verb}")))?;
    let options: BTreeMap<String, Arg> =
        options.as_object().into_iter().flatten().map(|(key, value)| (key.to_string(), arg(value.clone()))).collect();
    call(cx, Arguments { positional: vec![arg(node.into())], options }).await
}

/// The pods that are left on a node.
pub(super) async fn left_pods(cluster: &Cluster, node: &str) -> Outcome<Vec<Arc<Json>>> {
    let pods = cluster.resolve("pods", None).await.map_err(|error| error.to_string())?;
    let select = Select { labels: None, fields: Some(format!("spec.nodeName={node}")) };
    Ok(cluster.list(&pods, None, &select).await.map_err(|error| error.to_string())?.items)
}

/// Their apps.
async fn left(cluster: &Cluster, node: &str) -> Outcome<Vec<String>> {
    let pods = left_pods(cluster, node).await?;
    let mut apps: Vec<String> = pods.iter().filter_map(|pod| Some(pod["metadata"]["labels"]["app"].as_str()?.to_owned())).collect();
    apps.sort();
    apps.dedup();
    Ok(apps)
}

/// Plays one situation: the verdict, then the drain itself.
async fn played(cluster: &Cluster, id: &str, situation: &Situation) -> Outcome {
    let node = node(id);
    let options: Json = serde_json::from_str(situation.options).map_err(|error| error.to_string())?;
    let mut asked = options.clone();
    if let Some(asked) = asked.as_object_mut() {
        asked.remove("stall");
    }
    let plan = call(cluster, "drain_plan", &node, &asked).await.map_err(|error| error.to_string())?.value.into_json();
    if plan["verdict"] != situation.verdict || !plan["message"].as_str().is_some_and(|message| message.contains(situation.says)) {
        return Err(format!("the plan says {}", plan["message"]));
    }
    let begun = Instant::now();
    let ended = call(cluster, "drain", &node, &options).await;
    let took = begun.elapsed();
    let target = cluster.target(&base::ObjectRef::new("node", node.as_str()), None).await.map_err(|error| error.to_string())?;
    let cordoned = cluster.get(&target).await.map_err(|error| error.to_string())?["spec"]["unschedulable"] == true;
    let left = left(cluster, &node).await?;
    let came = match (situation.ends, &ended) {
        (Ends::Empty(stay), Ok(_)) => cordoned && left == stay,
        (Ends::Refused(reason), Err(error)) => Reason::parse(reason) == Some(error.reason) && !cordoned && took < Duration::from_secs(1),
        (Ends::Stuck(reason), Err(error)) => Reason::parse(reason) == Some(error.reason) && cordoned,
        _ => false,
    };
    let how = match &ended {
        Ok(done) => done.value.clone().into_json().to_string(),
        Err(error) => format!("{} {error}", error.reason.as_str()),
    };
    if came { Ok(()) } else { Err(format!("after {} ms it ends with {how}; left {left:?}", took.as_millis())) }
}

/// Every situation of the table ends on a real server as on the simulated one, and as its verdict said.
fn table(binaries: &Binaries) -> Outcome {
    let situations: Vec<(String, &Situation)> = SITUATIONS.iter().enumerate().map(|(index, row)| (id(index), row)).collect();
    let plane = staged(binaries, &situations)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| format!("runtime: {error}"))?;
    let wrong: Vec<String> = runtime.block_on(async {
        let cluster = live(&plane).await?;
        let all = situations.iter().map(|(id, situation)| {
            let cluster = cluster.clone();
            async move { played(&cluster, id, situation).await.map_err(|wrong| format!("{id} {}: {wrong}", situation.name)) }
        });
        let results: Vec<Outcome> = stream::iter(all).buffer_unordered(AT_ONCE).collect().await;
        Outcome::Ok(results.into_iter().filter_map(Result::err).collect())
    })?;
    if wrong.is_empty() { Ok(()) } else { Err(format!("{} of {}:\n{}", wrong.len(), situations.len(), wrong.join("\n"))) }
}

fn recorded() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/controlplane/recorded/drain-flags.json")
}

/// What `kubectl drain --dry-run=client` says to a combination of flags: which pods would go, and which stand in the way.
fn by_kubectl(plane: &ControlPlane, flags: &str) -> Outcome<Json> {
    let node = node(FLAGS);
    let mut arguments = vec!["drain", node.as_str(), "--dry-run=client"];
    arguments.extend(flags.split(' '));
    let said = match plane.kubectl(&arguments) {
        Ok(said) => (said, String::new()),
        Err(said) => (String::new(), said),
    };
    let apps = |text: &str| {
        let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '-' && c != '/').filter(|word| word.starts_with("flags/"));
        let mut apps: Vec<String> = words.filter_map(app).collect();
        apps.sort();
        apps.dedup();
        apps
    };
    Ok(json!({ "goes": apps(&said.0), "refused": apps(&said.1) }))
}

/// The same pods go by the same flags as with kubectl, in all sixteen combinations. With `BLESS` in the environment what kubectl
/// says is recorded, for the test that needs no server.
fn flags(binaries: &Binaries) -> Outcome {
    let plane = staged(binaries, &[(FLAGS.to_owned(), &FLAGGED)])?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| format!("runtime: {error}"))?;
    let mut said = json!({});
    let mut wrong = Vec::new();
    for (flags, options) in combinations() {
        let kubectl = by_kubectl(&plane, &flags)?;
        let plan = runtime.block_on(async {
            call(&live(&plane).await?, "drain_plan", &node(FLAGS), &options).await.map_err(|error| error.to_string())
        })?;
        let ours = summary(&plan.value.into_json());
        if ours != kubectl {
            wrong.push(format!("{flags}: {ours} here, {kubectl} there"));
        }
        said[&*flags] = kubectl;
    }
    let path = recorded();
    if std::env::var_os("BLESS").is_some() {
        let lines: Vec<String> = said.as_object().into_iter().flatten().map(|(flags, said)| format!("  \"{flags}\": {said}")).collect();
        std::fs::write(&path, format!("{{\n{}\n}}\n", lines.join(",\n")))
            .map_err(|error| format!("writing {}: {error}", path.display()))?;
    }
    let text = std::fs::read_to_string(&path).map_err(|error| format!("reading {}: {error}", path.display()))?;
    let kept: Json = serde_json::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))?;
    if kept != said {
        wrong.push("kubectl is recorded otherwise".to_owned());
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n")) }
}

/// A plane with three pods under a budget that lets one go at a time, and a runbook that drains their node.
fn with_runbook(binaries: &Binaries) -> Outcome<ControlPlane> {
    let situation = SITUATIONS.iter().find(|row| row.name == "one of three may go").ok_or("no such situation")?;
    let plane = staged(binaries, &[("shop".to_owned(), situation)])?;
    let folder = plane.path().join("empty");
    let text = "runbook { title = \"Drain\", summary = \"Drains.\", impact = \"restarts\" }\n\
                permissions { { verbs = { \"*\" }, kinds = { \"*\" } } }\n\
                step \"drain\" { title = \"Drain\", run = function() note(`{#drain(\"shop-a\").evicted} pods went`) end }\n";
    let written = std::fs::create_dir_all(&folder).and_then(|()| std::fs::write(folder.join("runbook.luau"), text));
    written.map_err(|error| format!("writing {}: {error}", folder.display()))?;
    Ok(plane)
}

/// The API server is killed in the middle of a drain and comes back: the drain ends well.
fn server_restarts(binaries: &Binaries) -> Outcome {
    let mut plane = with_runbook(binaries)?;
    let running = command::start(&plane, "operator", &["run", "./empty", "--yes", "--no-plan"])?;
    plane.until("the first pod is evicted", SETTLE, |plane| {
        Ok(plane.audit()?.iter().any(|request| request.user == "operator" && request.uri.contains("/eviction")))
    })?;
    plane.restart_apiserver()?;
    let finished = running.finish()?;
    finished.expect_code(0)?;
    finished.expect_said("3 pods went")?;
    let left = plane.kubectl(&["get", "pods", "-n", "shop", "--field-selector=spec.nodeName=shop-a", "-o", "name"])?;
    if left.is_empty() { Ok(()) } else { Err(format!("left: {left}")) }
}

/// A plan of a drain on the live cluster counts the budgets itself and writes nothing.
fn planned(binaries: &Binaries) -> Outcome {
    let plane = with_runbook(binaries)?;
    let finished = command::run(&plane, "operator", &["plan", "./empty"])?;
    finished.expect_code(0)?;
    finished.expect_said("3 pods went")?;
    let audit = plane.audit()?;
    let writes: Vec<&str> =
        audit.iter().filter(|request| request.user == "operator" && !request.is_read()).map(|request| request.uri.as_str()).collect();
    if writes.is_empty() { Ok(()) } else { Err(format!("written: {writes:?}")) }
}

/// What `cordon` and `uncordon` make is what kubectl sees, the second call writes nothing, and a cordon of kubectl stays.
fn cordons(binaries: &Binaries) -> Outcome {
    let plane = staged(binaries, &[])?;
    let nodes = ["a", "b"].map(|name| json!({ "apiVersion": "v1", "kind": "Node", "metadata": { "name": name } }));
    apply(&plane, nodes.to_vec())?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| format!("runtime: {error}"))?;
    let cluster = runtime.block_on(live(&plane))?;
    let changed = |verb: &str, node: &str| {
        let done = runtime.block_on(call(&cluster, verb, node, &json!({}))).map_err(|error| error.to_string())?;
        Outcome::Ok(done.value.into_json()["changed"] == true)
    };
    let seen = |path: &str| plane.kubectl(&["get", "node", "a", "-o", &format!("jsonpath={{{path}}}")]);
    let told = |what: &str, holds: bool| if holds { Ok(()) } else { Err(what.to_owned()) };
    told("a node that was never cordoned is uncordoned", !changed("uncordon", "a")?)?;
    told("the first cordon changes nothing", changed("cordon", "a")? && seen(".spec.unschedulable")? == "true")?;
    plane.until("kubectl describes the taint", SETTLE, |plane| {
        Ok(plane.kubectl(&["describe", "node", "a"])?.contains("node.kubernetes.io/unschedulable:NoSchedule"))
    })?;
    told("the second cordon changes something", !changed("cordon", "a")?)?;
    plane.kubectl(&["cordon", "b"])?;
    let refused = runtime.block_on(call(&cluster, "uncordon", "b", &json!({}))).err().map(|error| error.reason);
    told("a cordon of kubectl is undone", refused == Some(Reason::Refused))?;
    told("the cordon is not undone", changed("uncordon", "a")? && seen(".spec.unschedulable")?.is_empty())?;
    let annotations = seen(".metadata.annotations")?;
    told("an annotation of the cordon is left", !annotations.contains("lockgate.dev/cordoned-by"))?;
    let forbidden = runtime.block_on(async {
        let nobody = live_as(&plane, "nobody").await?;
        Outcome::Ok(call(&nobody, "cordon", "a", &json!({})).await.err().map(|error| error.reason))
    })?;
    told("a user without rights is not refused", forbidden == Some(Reason::Forbidden))?;
    let patches = plane.audit()?.iter().filter(|request| request.user == "operator" && request.verb == "patch").count();
    if patches == 2 { Ok(()) } else { Err(format!("{patches} patches in the place of 2")) }
}
