//! Random programs of patches: all four types, on a Deployment, a DaemonSet, a ConfigMap and a custom resource.
//!
//! `programs.jsonl` has one program a line: the object it begins with, its patches, and what an API server without any controllers
//! answered to the last of them and to all that it refused. `BLESS=all cargo test --test cases controlplane::programs` makes it anew.

use std::path::PathBuf;

use libtest_mimic::{Completion, Failed, Trial};
use lockgate_sim::{Cluster, Options};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::case::{self, Keep};
use super::golden::{Answer, Sent};
use super::live::Live;
use super::names::{Names, text};
use super::random::Random;
use super::replay::Simulated;
use super::run::Target;
use super::{Outcome, normalise, subject};
use crate::controlplane::{self, plane::ControlPlane};

/// How many programs there are of each subject.
const EACH: usize = 125;

/// The seed of the first program; changing it makes other programs.
const SEED: u64 = 20_261_121;

/// Where the objects live.
const NAMESPACE: &str = "programs";

/// A program and what came of it.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Program {
    /// Its subject: `deployment`, `daemonset`, `configmap`, `custom`.
    of: String,
    /// The name of its object.
    name: String,
    /// The object as it is created.
    start: Value,
    /// The patches, in this order.
    patches: Vec<Patch>,
    /// The object after the last patch.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    end: Value,
}

/// One patch.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Patch {
    /// The part of the content type that tells the types apart.
    r#type: String,
    /// Who applies, with `force`; empty for the other types.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    query: String,
    /// The patch.
    body: Value,
    /// The status code.
    #[serde(default)]
    status: u16,
    /// Why it was refused.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    refusal: Value,
}

/// The replays, one for each subject, and the recording.
pub(super) fn trials(pending: &std::collections::BTreeMap<String, String>) -> Vec<Trial> {
    let mut trials = Vec::new();
    for of in subject::ALL {
        let reason = pending.get(&format!("programs::{of}")).cloned();
        trials.push(Trial::ignorable_test(format!("conformance::programs::{of}"), move || match (replay(of), reason) {
            (Ok(()), None) => Ok(Completion::Completed),
            (Ok(()), Some(_)) => Ok(Completion::ignored_with("they agree now: take them out of pending.txt")),
            (Err(_), Some(reason)) if !controlplane::is_required("conformance") => Ok(Completion::ignored_with(reason)),
            (Err(error), _) => Err(Failed::from(error)),
        }));
    }
    trials.push(Trial::ignorable_test("controlplane::programs", || {
        let bless = std::env::var("BLESS").is_ok_and(|bless| bless == "all");
        if !bless && !controlplane::is_required("conformance") {
            return Ok(Completion::ignored_with("recorded; BLESS=all records them anew, LOCKGATE_REQUIRE=conformance compares"));
        }
        let now = record()?;
        if bless {
            std::fs::write(path(), now).map_err(|error| format!("{}: {error}", path().display()))?;
        } else {
            hold(&case::read(&path())?, &now)?;
        }
        Ok(Completion::Completed)
    }));
    trials
}

fn path() -> PathBuf {
    case::home().join("programs.jsonl")
}

fn replay(of: &str) -> Outcome {
    let text = case::read(&path())?;
    let mut cluster = Simulated::over(Cluster::new(Options::default()));
    prepare(&mut cluster)?;
    let (mut differ, mut count) = (Vec::new(), 0);
    for line in text.lines() {
        let recorded: Program = serde_json::from_str(line).map_err(|error| format!("programs.jsonl: {error}"))?;
        if recorded.of != of {
            continue;
        }
        count += 1;
        let now = run(&mut cluster, &recorded)?;
        let mut found = Vec::new();
        let value = |program: &Program| serde_json::to_value(program).map_err(|error| error.to_string());
        normalise::differences("", Some(&value(&recorded)?), Some(&value(&now)?), &mut found);
        if let Some((place, real, simulated)) = found.first() {
            let patch = place.strip_prefix("/patches/").and_then(|rest| rest.split('/').next()?.parse::<usize>().ok());
            let of_patch = patch.and_then(|index| recorded.patches.get(index));
            let body = of_patch.map_or_else(String::new, |patch| format!("\n  {}: {}", patch.r#type, patch.body));
            differ.push(format!("{} {place}\n  real:      {real}\n  simulated: {simulated}{body}", recorded.name));
        }
    }
    if count == EACH && differ.is_empty() {
        return Ok(());
    }
    let shown: Vec<&str> = differ.iter().take(12).map(String::as_str).collect();
    Err(format!("{} of {count} programs differ ({EACH} are wanted):\n{}", differ.len(), shown.join("\n")))
}

/// What the real server makes of the programs now.
fn record() -> Outcome<String> {
    let binaries = controlplane::found().as_ref().map_err(Clone::clone)?;
    let plane = ControlPlane::alone(binaries, crate::controlplane::plane::Pace::default())?;
    let mut live = Live::open(&plane.kubeconfig("admin"), &binaries.path("kubectl"))?;
    prepare(&mut live)?;
    let mut lines = String::new();
    for (kind, of) in subject::ALL.into_iter().enumerate() {
        for number in 0..EACH {
            let program = random(of, number, SEED + (kind * EACH + number) as u64);
            let done = run(&mut live, &program)?;
            lines += &serde_json::to_string(&done).map_err(|error| error.to_string())?;
            lines.push('\n');
        }
    }
    Ok(lines)
}

/// Whether the recording still holds.
fn hold(before: &str, now: &str) -> Outcome {
    if before.lines().count() != now.lines().count() {
        return Err(format!("{} programs are recorded, and {} are made now", before.lines().count(), now.lines().count()));
    }
    let differ = before.lines().zip(now.lines()).filter(|(before, now)| before != now);
    let shown: Vec<String> = differ.map(|(before, now)| format!("recorded: {before}\nnow:      {now}")).collect();
    if shown.is_empty() { Ok(()) } else { Err(format!("{} programs do not hold any more:\n{}", shown.len(), shown.join("\n"))) }
}

/// The namespace, and the kind of the custom resources.
fn prepare(target: &mut dyn Target) -> Outcome {
    let mut post = |path: &str, body: &Value| -> Outcome {
        let sent = Sent {
            method: "POST".to_owned(),
            path: path.to_owned(),
            content_type: "application/json".to_owned(),
            body: body.to_string(),
            ..Sent::default()
        };
        // A cluster that does not know the kind says so again when it is used.
        target.send(&sent).map(drop)
    };
    post("/api/v1/namespaces", &json!({"metadata": {"name": NAMESPACE}}))?;
    post("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", &subject::definition())?;
    target.advance(std::time::Duration::from_secs(5))
}

fn run(target: &mut dyn Target, program: &Program) -> Outcome<Program> {
    let collection = subject::path(&program.of, NAMESPACE);
    let start = Sent {
        method: "POST".to_owned(),
        path: collection.clone(),
        content_type: "application/json".to_owned(),
        body: program.start.to_string(),
        agent: "creator".to_owned(),
        ..Sent::default()
    };
    let mut last = target.send(&start)?;
    let mut done = program.clone();
    if last.status != 201 {
        done.end = refusal(&last);
        return Ok(done);
    }
    for patch in &mut done.patches {
        let kind = if patch.r#type == "apply" { "apply-patch+yaml".to_owned() } else { format!("{}+json", patch.r#type) };
        let sent = Sent {
            method: "PATCH".to_owned(),
            path: format!("{collection}/{}?{}", program.name, patch.query),
            content_type: format!("application/{kind}"),
            body: patch.body.to_string(),
            agent: "patcher".to_owned(),
            ..Sent::default()
        };
        let answer = target.send(&sent)?;
        patch.status = answer.status;
        patch.refusal = Value::Null;
        if answer.status == 200 {
            last = answer;
        } else {
            patch.refusal = refusal(&answer);
        }
    }
    done.end = end(&last, &program.of);
    Ok(done)
}

fn refusal(answer: &Answer) -> Value {
    let plain = normalise::answer(&answer.body, &Names::default(), Keep::default());
    json!({"reason": plain.get("reason"), "message": plain.get("message")})
}

/// An object without what controllers write: there are none on the real side.
fn end(answer: &Answer, of: &str) -> Value {
    let keep = Keep { nodes: false, managed_fields: matches!(of, "configmap" | "custom") };
    let mut object = normalise::answer(&answer.body, &Names::default(), keep);
    if let Some(fields) = object.as_object_mut() {
        fields.remove("status");
    }
    let annotations = object.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut);
    if let Some(annotations) = annotations {
        annotations.remove("deployment.kubernetes.io/revision");
    }
    if object.pointer("/metadata/annotations").and_then(Value::as_object).is_some_and(Map::is_empty)
        && let Some(metadata) = object.pointer_mut("/metadata").and_then(Value::as_object_mut)
    {
        metadata.remove("annotations");
    }
    object
}

/// The program of a seed.
fn random(of: &str, number: usize, seed: u64) -> Program {
    let mut random = Random::new(seed);
    let name = format!("{of}-{number}");
    let start = subject::start(of, &name, &mut random);
    let count = 1 + random.below(4);
    let mut patches = Vec::new();
    for _ in 0..count {
        patches.push(patch(of, &name, &mut random));
    }
    Program { of: of.to_owned(), name, start, patches, end: Value::Null }
}

fn patch(of: &str, name: &str, random: &mut Random) -> Patch {
    let kinds: &[&str] = if of == "custom" {
        &["merge-patch", "json-patch", "apply"]
    } else {
        &["strategic-merge-patch", "merge-patch", "json-patch", "apply"]
    };
    let kind = *random.one_of(kinds);
    let mut query = String::new();
    let body = match kind {
        "json-patch" => subject::operations(of, random),
        "apply" => {
            query = format!("fieldManager={}", random.one_of(&["one", "two"]));
            if random.chance(50) {
                query += "&force=true";
            }
            let mut body = subject::part(of, random, false, false);
            body["apiVersion"] = text(&subject::start(of, name, &mut Random::new(0)), "/apiVersion").into();
            body["kind"] = text(&subject::start(of, name, &mut Random::new(0)), "/kind").into();
            body["metadata"]["name"] = name.into();
            body
        }
        kind => subject::part(of, random, kind.starts_with("strategic"), true),
    };
    Patch { r#type: kind.to_owned(), query, body, status: 0, refusal: Value::Null }
}
