//! A plan asks the real server what it would say about each write: admission, authorization, and all that the plan has done before. What
//! the server stores is the same afterwards.

use std::time::Duration;

use serde_json::Value;

use super::Outcome;
use super::binaries::Binaries;
use super::command::{self, Finished};
use super::plane::{ControlPlane, Pace};

const LIMIT: Duration = Duration::from_secs(120);

/// Two policies: no image `latest`, and no ConfigMap with both `a` and `b`, which neither of two patches is by itself.
const POLICIES: &str = r#"
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: { name: no-latest }
spec:
  failurePolicy: Fail
  matchConstraints:
    resourceRules: [{ apiGroups: [apps], apiVersions: [v1], operations: [CREATE, UPDATE], resources: [deployments] }]
  validations:
  - { expression: "object.spec.template.spec.containers.all(c, !c.image.endsWith(':latest'))", message: "images have a version here" }
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: { name: no-latest }
spec: { policyName: no-latest, validationActions: [Deny] }
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: { name: not-both }
spec:
  failurePolicy: Fail
  matchConstraints:
    resourceRules: [{ apiGroups: [""], apiVersions: [v1], operations: [CREATE, UPDATE], resources: [configmaps] }]
  validations:
  - { expression: "!has(object.data) || !('a' in object.data && 'b' in object.data)", message: "a or b, not both" }
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: { name: not-both }
spec: { policyName: not-both, validationActions: [Deny] }
"#;

const OBJECTS: &str = r"
apiVersion: v1
kind: Node
metadata: { name: w1, labels: { type: kwok }, annotations: { kwok.x-k8s.io/node: fake } }
---
apiVersion: apps/v1
kind: Deployment
metadata: { name: web, namespace: shop }
spec:
  replicas: 2
  selector: { matchLabels: { app: web } }
  template:
    metadata: { labels: { app: web } }
    spec:
      automountServiceAccountToken: false
      containers: [{ name: web, image: 'registry.example/web:v1' }]
---
apiVersion: v1
kind: ConfigMap
metadata: { name: settings, namespace: shop }
data: { x: '1' }
";

/// Each a runbook of one step.
const RUNBOOKS: [(&str, &str); 6] = [
    ("latest", "set_image(\"deployment/web\", { web = \"registry.example/web:latest\" })"),
    ("both", "patch(\"configmap/settings\", { data = { a = \"1\" } })\n patch(\"configmap/settings\", { data = { b = \"1\" } })"),
    (
        "born",
        "create({ apiVersion = \"v1\", kind = \"ConfigMap\", metadata = { name = \"new\" }, data = { a = \"1\" } })\n \
         patch(\"configmap/new\", { data = { b = \"1\" } })",
    ),
    (
        "good",
        "set_image(\"deployment/web\", { web = \"registry.example/web:v2\" })\n wait_rollout(\"deployment/web\")\n \
         scale(\"deployment/web\", 1)\n label(\"configmap/settings\", { team = \"shop\" })\n \
         patch(\"configmap/settings\", { data = { a = \"1\" } })\n \
         create({ apiVersion = \"v1\", kind = \"ConfigMap\", metadata = { name = \"new\" }, data = { b = \"1\" } })\n \
         label(\"configmap/new\", { team = \"shop\" })\n delete(\"configmap/new\")\n delete(\"configmap/settings\")",
    ),
    ("exec", "exec(list(\"pods\", { labels = \"app=web\" })[1], { \"reboot\" })"),
    ("read", "note(`{get(\"configmap/settings\").data.x} is read`)"),
];

fn prepared(binaries: &Binaries) -> Outcome<ControlPlane> {
    let plane = ControlPlane::start(binaries, Pace::default())?;
    plane.kubectl(&["create", "namespace", "shop"])?;
    plane.until("the namespace has its service account", LIMIT, |plane| {
        Ok(plane.kubectl(&["get", "serviceaccount", "-n", "shop", "default"]).is_ok())
    })?;
    plane.apply(OBJECTS)?;
    plane.apply(POLICIES)?;
    plane.kubectl(&["create", "clusterrolebinding", "nobody-views", "--clusterrole=view", "--user=nobody"])?;
    plane.kubectl(&[
        "create",
        "clusterrole",
        "sees-nodes",
        "--verb=get,list,watch",
        "--resource=nodes,namespaces,priorityclasses.scheduling.k8s.io",
    ])?;
    plane.kubectl(&["create", "clusterrolebinding", "nobody-sees-nodes", "--clusterrole=sees-nodes", "--user=nobody"])?;
    plane.kubectl(&["rollout", "status", "-n", "shop", "deployment/web", "--timeout=120s"])?;
    // A policy acts when the server has noticed it.
    let asks = [
        ["set", "image", "deployment/web", "web=registry.example/web:latest", "-n", "shop", "--dry-run=server"].as_slice(),
        &["create", "configmap", "both", "--from-literal=a=1", "--from-literal=b=1", "-n", "shop", "--dry-run=server"],
    ];
    for words in asks {
        plane.until("the policies act", LIMIT, |plane| Ok(plane.kubectl(words).is_err_and(|said| said.contains("denied request"))))?;
    }
    for (name, body) in RUNBOOKS {
        let folder = plane.path().join(name);
        let text = format!(
            "runbook {{ title = \"Try\", summary = \"Tries.\", impact = \"restarts\", namespace = \"shop\" }}\n\
             permissions {{ {{ verbs = {{ \"*\" }}, kinds = {{ \"*\" }} }} }}\n\
             step \"try\" {{ title = \"Try\", run = function()\n {body}\nend }}\n"
        );
        let written = std::fs::create_dir_all(&folder).and_then(|()| std::fs::write(folder.join("runbook.luau"), text));
        written.map_err(|error| format!("writing {}: {error}", folder.display()))?;
    }
    Ok(plane)
}

fn state(plane: &ControlPlane) -> Outcome<Vec<Value>> {
    plane.list(Some("shop"), "deployments,replicasets,pods,configmaps,poddisruptionbudgets,secrets,serviceaccounts")
}

fn told(finished: &Finished, code: i32, words: &[&str]) -> Outcome {
    finished.expect_code(code)?;
    words.iter().try_for_each(|word| finished.expect_said(word))
}

/// Plans of all kinds: the server's no is the plan's, and nothing is written.
pub(crate) fn plans(binaries: &Binaries) -> Outcome {
    let plane = prepared(binaries)?;
    let before = state(&plane)?;
    let plan = |user: &str, words: &[&str]| command::run(&plane, user, &[&["plan"], words].concat());
    told(&plan("operator", &["./latest"])?, 1, &["images have a version here", "no-latest"])?;
    told(&plan("operator", &["./both"])?, 1, &["a or b, not both", "after 1 write"])?;
    told(&plan("operator", &["./born"])?, 1, &["a or b, not both", "after 1 write"])?;
    told(&plan("operator", &["./good"])?, 0, &["[admitted]"])?;
    // Who may only read learns it from the plan, and can leave the server out.
    told(&plan("nobody", &["./read"])?, 0, &["1 is read"])?;
    told(&plan("nobody", &["./good"])?, 5, &["User \"nobody\" cannot patch resource \"deployments\"", "`patch` on `deployments`"])?;
    // No program is started, asked or not.
    told(&plan("operator", &["./exec"])?, 3, &["unknown"])?;
    let asking = plane.audit()?;
    told(&plan("nobody", &["./good", "--local"])?, 0, &["[modelled]"])?;
    told(&plan("operator", &["./latest", "--local"])?, 0, &[])?;
    told(&plan("operator", &["./exec", "--local"])?, 3, &["unknown"])?;
    let whole = plane.audit()?;
    let ours = |request: &&super::audit::Request| request.user == "operator" || request.user == "nobody";
    if let Some(request) = whole.iter().filter(ours).find(|request| !request.is_read() || request.acts()) {
        return Err(format!("a plan sent {request:?}"));
    }
    let questions = asking.iter().filter(ours).filter(|request| request.is_question()).count();
    if questions < 12 {
        return Err(format!("{questions} questions"));
    }
    // With `--local` not even a question, and whoever may only look is refused nothing.
    let local: Vec<_> = whole.iter().skip(asking.len()).filter(ours).collect();
    let wrong = |request: &&&super::audit::Request| request.is_question() || request.user == "nobody" && request.code == 403;
    if let Some(request) = local.iter().find(wrong) {
        return Err(format!("a plan with `--local` sent {request:?}"));
    }
    if local.len() < 10 {
        return Err(format!("{} requests of plans with `--local`: the record is not whole", local.len()));
    }
    if state(&plane)? == before { Ok(()) } else { Err("objects have changed during the plans".to_owned()) }
}
