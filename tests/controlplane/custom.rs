//! Custom resources on the real API server: what `scale` finds out by discovery, and what it refuses.

use std::time::Duration;

use super::Outcome;
use super::binaries::Binaries;
use super::command;
use super::plane::{ControlPlane, Pace};

const GROUP: &str = "shop.example.com";
const SCALE: &str = "/apis/shop.example.com/v1/namespaces/shop/widgets/w/scale";
const LIMIT: Duration = Duration::from_secs(60);

/// A definition of this kind; `subresources` is YAML.
fn definition(kind: &str, subresources: &str) -> String {
    let singular = kind.to_lowercase();
    format!(
        "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {{ name: {singular}s.{GROUP} }}\nspec:\n  \
         group: {GROUP}\n  scope: Namespaced\n  names: {{ kind: {kind}, plural: {singular}s, singular: {singular} }}\n  versions:\n  \
         - name: v1\n    served: true\n    storage: true\n    subresources: {subresources}\n    \
         schema: {{ openAPIV3Schema: {{ type: object, x-kubernetes-preserve-unknown-fields: true }} }}\n---\n"
    )
}

const OBJECTS: &str = r"
apiVersion: shop.example.com/v1
kind: Widget
metadata: { name: w, namespace: shop }
spec: { size: 2 }
---
apiVersion: shop.example.com/v1
kind: Gadget
metadata: { name: g, namespace: shop }
spec: { size: 2 }
---
apiVersion: v1
kind: Pod
metadata: { name: w-1, namespace: shop, labels: { app: w } }
spec: { containers: [{ name: c, image: registry.example/w:v1 }], nodeSelector: { no: node }, automountServiceAccountToken: false }
---
apiVersion: v1
kind: Pod
metadata: { name: other, namespace: shop, labels: { app: other } }
spec: { containers: [{ name: c, image: registry.example/w:v1 }], nodeSelector: { no: node }, automountServiceAccountToken: false }
";

/// A plane with widgets, which can be scaled, and gadgets, which cannot; and a runbook for each.
fn prepared(binaries: &Binaries) -> Outcome<ControlPlane> {
    let plane = ControlPlane::start(binaries, Pace::default())?;
    let scale =
        "{ status: {}, scale: { specReplicasPath: .spec.size, statusReplicasPath: .status.size, labelSelectorPath: .status.labels } }";
    plane.apply(&format!("{}{}", definition("Widget", scale), definition("Gadget", "{ status: {} }")))?;
    plane.kubectl(&["wait", "--for=condition=Established", "crd", "--all"])?;
    plane.kubectl(&["create", "namespace", "shop"])?;
    plane.until("the namespace has its service account", LIMIT, |plane| {
        plane.kubectl(&["get", "serviceaccount", "-n", "shop", "default"]).map(|_| true)
    })?;
    plane.apply(OBJECTS)?;
    status(&plane, 2)?;
    for object in ["widget/w", "gadget/g"] {
        let (kind, _) = object.split_once('/').unwrap_or_default();
        let text = format!(
            "runbook {{ title = \"Scale\", summary = \"Scales.\", impact = \"outage\", namespace = \"shop\" }}\n\
             permissions {{ {{ verbs = {{ \"*\" }}, kinds = {{ \"*\" }} }} }}\n\
             step \"scale\" {{\n  title = \"Scale to zero\",\n  \
             run = function() note(`replaced {{scale(\"{object}\", 0, {{ wait = \"gone\" }}).previous}}`) end,\n}}\n"
        );
        let folder = plane.path().join(kind);
        let written = std::fs::create_dir_all(&folder).and_then(|()| std::fs::write(folder.join("runbook.luau"), text));
        written.map_err(|error| format!("writing {}: {error}", folder.display()))?;
    }
    Ok(plane)
}

/// What the widget's controller, which is this test, says of it.
fn status(plane: &ControlPlane, size: u32) -> Outcome {
    let patch = format!("{{\"status\":{{\"size\":{size},\"labels\":\"app=w\"}}}}");
    plane.kubectl(&["patch", "widget", "w", "-n", "shop", "--subresource=status", "--type=merge", "-p", &patch]).map(drop)
}

/// A kind whose definition has a `scale` subresource is scaled by it, whatever its fields are called, and its pods are waited for.
pub(crate) fn scaled(binaries: &Binaries) -> Outcome {
    let plane = prepared(binaries)?;
    let running = command::start(&plane, "operator", &["run", "./widget", "--yes", "--no-plan"])?;
    plane.until("the pods are being watched", LIMIT, |plane| {
        let requests = plane.audit()?;
        Ok(requests.iter().any(|request| request.user == "operator" && request.verb == "watch" && request.uri.contains("/pods?")))
    })?;
    plane.kubectl(&["delete", "pod", "-n", "shop", "w-1"])?;
    status(&plane, 0)?;
    let finished = running.finish()?;
    finished.expect_code(0)?;
    finished.expect_said("replaced 2")?;
    let size = plane.kubectl(&["get", "widget", "w", "-n", "shop", "-o", "jsonpath={.spec.size}"])?;
    let writes: Vec<String> = plane
        .audit()?
        .iter()
        .filter(|request| request.user == "operator" && !request.is_read() && request.resource != "leases")
        .map(|request| format!("{} {}", request.verb, request.uri.split('?').next().unwrap_or_default()))
        .collect();
    if size == "0" && writes == [format!("patch {SCALE}")] { Ok(()) } else { Err(format!("size {size}, writes {writes:?}")) }
}

/// A plan has no model of operators and says so; a kind without the subresource is refused. Neither writes.
pub(crate) fn refused(binaries: &Binaries) -> Outcome {
    let plane = prepared(binaries)?;
    let planned = command::run(&plane, "operator", &["plan", "./widget"])?;
    planned.expect_code(3)?;
    planned.expect_said("the simulated cluster cannot answer that")?;
    let gadget = command::run(&plane, "operator", &["run", "./gadget", "--yes", "--no-plan"])?;
    gadget.expect_code(2)?;
    gadget.expect_said("scaling `gadget/g`: the server serves no `gadgets.shop.example.com/scale`")?;
    // What needs no operator is planned: the kind is known by its definition.
    let folder = plane.path().join("sized");
    let text = "runbook { title = \"Size\", summary = \"Sizes.\", impact = \"none\", namespace = \"shop\" }\n\
                permissions { { verbs = { \"*\" }, kinds = { \"*\" } } }\n\
                step \"size\" {\n  title = \"Another size\",\n  \
                run = function()\n    patch(\"widget/w\", { spec = { size = 5 } })\n    \
                assert(get(\"widget/w\").spec.size == 5)\n  end,\n}\n";
    let written = std::fs::create_dir_all(&folder).and_then(|()| std::fs::write(folder.join("runbook.luau"), text));
    written.map_err(|error| format!("writing {}: {error}", folder.display()))?;
    command::run(&plane, "operator", &["plan", "./sized"])?.expect_code(0)?;
    let size = plane.kubectl(&["get", "widget", "w", "-n", "shop", "-o", "jsonpath={.spec.size}"])?;
    if size == "2" { Ok(()) } else { Err(format!("size {size}")) }
}
