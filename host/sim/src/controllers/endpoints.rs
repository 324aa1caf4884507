//! Endpoints and EndpointSlice of a Service: which of its pods are ready.

use std::sync::Arc;

use crate::json::{Value, json};

use super::{owner_reference, pods};
use crate::engine::Ctx;
use crate::kinds::{self, Kind};
use crate::status::Status;
use crate::store::Key;
use crate::view;

const MANAGED_BY: &str = "endpointslice-controller.k8s.io";
const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// Whether a Service selects a pod. Without a selector it selects none: its endpoints are somebody else's.
pub(crate) fn selects(service: &Value, pod: &Value) -> bool {
    let Some(selector) = view::at(service, &["spec", "selector"]).and_then(Value::as_object).filter(|s| !s.is_empty()) else {
        return false;
    };
    let labels = view::labels(pod);
    selector.iter().all(|(key, value)| labels.and_then(|l| l.get(key)) == Some(value))
}

/// One address behind a Service.
struct Backend {
    ip: String,
    node: String,
    target: Value,
    ready: bool,
    /// Ready, whether or not it is going away.
    serving: bool,
    terminating: bool,
}

/// Brings Endpoints and EndpointSlice of a Service up to date.
pub(crate) fn sync(ctx: &mut Ctx<'_>, key: &Key) -> Result<(), Status> {
    let endpoints = Key { kind: kinds::ENDPOINTS, ..key.clone() };
    let mut slices = slices_of(ctx, key);
    let Some(service) = ctx.get(key) else {
        for key in slices.into_iter().chain([endpoints]) {
            if ctx.get(&key).is_some_and(|object| is_ours(&object)) {
                ctx.remove(&key);
            }
        }
        return Ok(());
    };
    let selector = view::at(&service, &["spec", "selector"]).and_then(Value::as_object);
    if selector.is_none_or(crate::json::Map::is_empty) || view::text(&service, &["spec", "type"]) == "ExternalName" {
        return Ok(());
    }
    let chosen: Vec<Arc<Value>> = ctx
        .store
        .list(kinds::POD, Some(&key.namespace))
        .filter(|(_, pod)| selects(&service, pod) && !pods::has_ended(pod))
        .map(|(_, pod)| Arc::clone(pod))
        .collect();
    let backends: Vec<Backend> = chosen.iter().filter_map(|pod| backend(&service, pod)).collect();
    let first = chosen.first().map(|pod| &**pod);
    write(ctx, &endpoints, endpoints_of(&service, &ports(&service, first, false), &backends))?;
    let wanted = slice_of(&service, &ports(&service, first, true), &backends);
    match slices.pop() {
        Some(slice) => write(ctx, &slice, wanted),
        None => ctx.create(kinds::ENDPOINT_SLICE, wanted).map(drop),
    }
}

/// The slices of a Service: their names are generated, a label says whose they are.
fn slices_of(ctx: &Ctx<'_>, service: &Key) -> Vec<Key> {
    ctx.store
        .list(kinds::ENDPOINT_SLICE, Some(&service.namespace))
        .filter(|(_, slice)| is_ours(slice) && view::label(slice, SERVICE_NAME) == service.name)
        .map(|(key, _)| key.clone())
        .collect()
}

fn is_ours(object: &Value) -> bool {
    view::label(object, "endpointslice.kubernetes.io/managed-by") == MANAGED_BY
        || view::label(object, "endpoints.kubernetes.io/managed-by") == "endpoint-controller"
}

fn backend(service: &Value, pod: &Value) -> Option<Backend> {
    let ip = view::text(pod, &["status", "podIP"]);
    if ip.is_empty() {
        return None;
    }
    let terminating = view::is_terminating(pod);
    let always = view::flag(service, &["spec", "publishNotReadyAddresses"]);
    Some(Backend {
        ip: ip.to_owned(),
        node: view::text(pod, &["spec", "nodeName"]).to_owned(),
        target: json!({"kind": "Pod", "namespace": view::namespace(pod), "name": view::name(pod), "uid": view::uid(pod)}),
        ready: always || (pods::is_ready(pod) && !terminating),
        serving: always || pods::is_ready(pod),
        terminating,
    })
}

/// Ports of a Service as its endpoints carry them. A named target port is looked up in the first pod; pods that number it
/// differently are not told apart. A name that the pod does not know gives no port.
fn ports(service: &Value, pod: Option<&Value>, name_always: bool) -> Vec<Value> {
    view::list(service, &["spec", "ports"])
        .iter()
        .filter_map(|port| {
            let named = view::text(port, &["targetPort"]);
            let number = match view::int(port, &["targetPort"]) {
                _ if !named.is_empty() => container_port(pod?, named)?,
                Some(number) if number > 0 => number,
                _ => view::count(port, &["port"]),
            };
            let protocol = Some(view::text(port, &["protocol"])).filter(|p| !p.is_empty()).unwrap_or("TCP");
            let mut out = json!({"port": number, "protocol": protocol});
            let name = view::text(port, &["name"]);
            if name_always || !name.is_empty() {
                view::set(&mut out, &["name"], name);
            }
            Some(out)
        })
        .collect()
}

/// The number of a container port by its name.
fn container_port(pod: &Value, name: &str) -> Option<i64> {
    let containers = view::list(pod, &["spec", "containers"]).iter();
    let mut ports = containers.flat_map(|c| view::list(c, &["ports"]));
    ports.find(|port| view::text(port, &["name"]) == name).and_then(|port| view::int(port, &["containerPort"]))
}

fn head(service: &Value, kind: &Kind, label: (&str, &str)) -> Value {
    let mut labels = view::at(service, &["metadata", "labels"]).cloned().unwrap_or_else(|| json!({}));
    view::set(&mut labels, &[label.0], label.1);
    json!({
        "apiVersion": kind.api_version(), "kind": kind.kind,
        "metadata": {"name": view::name(service), "namespace": view::namespace(service), "labels": labels},
    })
}

fn endpoints_of(service: &Value, ports: &[Value], backends: &[Backend]) -> Value {
    let mut object = head(service, kinds::ENDPOINTS, ("endpoints.kubernetes.io/managed-by", "endpoint-controller"));
    let addresses = |ready: bool| -> Vec<Value> {
        let some = backends.iter().filter(|b| b.ready == ready && !b.terminating);
        some.map(|b| json!({"ip": b.ip, "nodeName": b.node, "targetRef": b.target})).collect()
    };
    let mut subset = json!({"ports": ports});
    for (field, list) in [("addresses", addresses(true)), ("notReadyAddresses", addresses(false))] {
        if !list.is_empty() {
            view::set(&mut subset, &[field], list);
        }
    }
    if subset.as_object().is_some_and(|s| s.len() > 1) {
        view::set(&mut object, &["subsets"], vec![subset]);
    }
    object
}

fn slice_of(service: &Value, ports: &[Value], backends: &[Backend]) -> Value {
    let mut object = head(service, kinds::ENDPOINT_SLICE, ("endpointslice.kubernetes.io/managed-by", MANAGED_BY));
    view::remove(&mut object, &["metadata", "name"]);
    view::set(&mut object, &["metadata", "generateName"], format!("{}-", view::name(service)));
    view::set(&mut object, &["metadata", "labels", SERVICE_NAME], view::name(service));
    view::set(&mut object, &["metadata", "ownerReferences"], vec![owner_reference(service)]);
    view::set(&mut object, &["addressType"], "IPv4");
    view::set(&mut object, &["ports"], ports.to_vec());
    let endpoints: Vec<Value> = backends
        .iter()
        .map(|b| {
            json!({
                "addresses": [b.ip], "nodeName": b.node, "targetRef": b.target,
                "conditions": {"ready": b.ready, "serving": b.serving, "terminating": b.terminating},
            })
        })
        .collect();
    view::set(&mut object, &["endpoints"], endpoints);
    object
}

/// Creates the object, or replaces the parts of it that are the controller's.
fn write(ctx: &mut Ctx<'_>, key: &Key, wanted: Value) -> Result<(), Status> {
    let Some(old) = ctx.get(key) else { return ctx.create(key.kind, wanted).map(drop) };
    let mut next = (*old).clone();
    for field in ["subsets", "addressType", "ports", "endpoints"] {
        match wanted.get(field) {
            Some(value) => view::set(&mut next, &[field], value.clone()),
            None => drop(view::remove(&mut next, &[field])),
        }
    }
    if let Some(labels) = view::at(&wanted, &["metadata", "labels"]) {
        view::set(&mut next, &["metadata", "labels"], labels.clone());
    }
    ctx.update(key, next).map(drop)
}
