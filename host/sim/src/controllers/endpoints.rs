//! Endpoints and EndpointSlice of a Service: which of its pods are ready.

use std::collections::BTreeMap;
use std::sync::Arc;

use imbl::OrdMap;
use jiff::Timestamp;

use crate::json::{Value, json};

use super::{owner_reference, pods};
use crate::engine::Ctx;
use crate::kinds::{self, Kind};
use crate::rules::Rule;
use crate::status::Status;
use crate::store::Key;
use crate::view;

const MANAGED_BY: &str = "endpointslice-controller.k8s.io";
pub(crate) const SERVICE_NAME: &str = "kubernetes.io/service-name";
/// When the change came that led to the last write: how late the endpoints of a Service follow its pods is measured by it.
const TRIGGERED: &str = "endpoints.kubernetes.io/last-change-trigger-time";

/// For every Service that was looked at: since when each of its pods is ready or not, and which, as it was seen last.
#[derive(Debug, Clone, Default)]
pub(crate) struct Triggers(OrdMap<Key, BTreeMap<String, (Timestamp, bool)>>);

impl Triggers {
    /// The earliest change since the last look, and for a Service not looked at before its creation; nothing when only
    /// something else has changed (a pod that goes has no time of its own). The API tells whole seconds; a model may let a pod get ready
    /// in the second in which it came, and that is a change too.
    ///
    /// In an overlay somebody else has looked before it `began`.
    fn look(&mut self, key: &Key, service: &Value, pods: &[Arc<Value>], began: Option<Timestamp>) -> Option<Timestamp> {
        let since = |pod: &Value| {
            let ready = view::condition(pod, "Ready")?;
            Some((view::time(ready, &["lastTransitionTime"])?, view::text(ready, &["status"]) == "True"))
        };
        let seen: BTreeMap<String, (Timestamp, bool)> =
            pods.iter().filter_map(|pod| Some((view::name(pod).to_owned(), since(pod)?))).collect();
        let Some(before) = self.0.insert(key.clone(), seen.clone()) else {
            let created = view::time(service, &["metadata", "creationTimestamp"])?;
            let Some(began) = began.filter(|began| created.as_second() < began.as_second()) else { return Some(created) };
            return seen.into_values().map(|(since, _)| since).filter(|since| since.as_second() >= began.as_second()).min();
        };
        let is_news = |pod: &str, (since, ready): (Timestamp, bool)| {
            before.get(pod).is_none_or(|(then, was_ready)| since > *then || (since == *then && ready != *was_ready))
        };
        seen.into_iter().filter(|(pod, since)| is_news(pod, *since)).map(|(_, (since, _))| since).min()
    }
}

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
        ctx.engine.triggers.0.remove(key);
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
    let mut chosen: Vec<Arc<Value>> = ctx
        .store
        .list(kinds::POD, Some(&key.namespace))
        .filter(|(_, pod)| selects(&service, pod))
        .map(|(_, pod)| Arc::clone(pod))
        .collect();
    let began = ctx.engine.began();
    let trigger = ctx.engine.triggers.look(key, &service, &chosen, began);
    chosen.retain(|pod| !pods::has_ended(pod));
    let backends: Vec<Backend> = chosen.iter().filter_map(|pod| backend(ctx, &service, pod)).collect();
    let first = chosen.first().map(|pod| &**pod);
    write(ctx, &endpoints, endpoints_of(&service, &ports(&service, first, false), &backends), trigger)?;
    let wanted = slice_of(&service, &ports(&service, first, true), &backends);
    match slices.pop() {
        Some(slice) => write(ctx, &slice, wanted, trigger),
        None => ctx.create(kinds::ENDPOINT_SLICE, triggered(wanted, trigger)).map(drop),
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

fn backend(ctx: &Ctx<'_>, service: &Value, pod: &Value) -> Option<Backend> {
    let ip = view::text(pod, &["status", "podIP"]);
    if ip.is_empty() {
        return None;
    }
    let terminating = view::is_terminating(pod);
    let always = view::flag(service, &["spec", "publishNotReadyAddresses"]) || !ctx.store.follows(Rule::EndpointsReadiness);
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
    if view::text(service, &["spec", "clusterIP"]) == "None" {
        view::set(&mut labels, &["service.kubernetes.io/headless"], "");
    }
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
    if backends.is_empty() {
        // A slice that stands for nothing has neither, and an encoder that writes that down.
        view::set(&mut object, &["ports"], Value::Null);
        view::set(&mut object, &["endpoints"], Value::Null);
        return object;
    }
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

/// Creates the object, or replaces the parts of it that are the controller's. A trigger alone is no reason to write.
fn write(ctx: &mut Ctx<'_>, key: &Key, wanted: Value, trigger: Option<Timestamp>) -> Result<(), Status> {
    let Some(old) = ctx.get(key) else { return ctx.create(key.kind, triggered(wanted, trigger)).map(drop) };
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
    if next == *old {
        return Ok(());
    }
    ctx.update(key, triggered(next, trigger)).map(drop)
}

/// The object with the time of its trigger; without one a former time goes.
fn triggered(mut object: Value, trigger: Option<Timestamp>) -> Value {
    match trigger {
        Some(trigger) => view::set(&mut object, &["metadata", "annotations", TRIGGERED], view::stamp(trigger)),
        None => {
            view::remove(&mut object, &["metadata", "annotations", TRIGGERED]);
            if view::at(&object, &["metadata", "annotations"]).and_then(Value::as_object).is_some_and(crate::json::Map::is_empty) {
                view::remove(&mut object, &["metadata", "annotations"]);
            }
        }
    }
    object
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trigger_is_the_earliest_change_since_the_last_look() {
        let time = |second: i64| Timestamp::from_second(second).unwrap();
        let pod = |name: &str, second: i64| {
            let ready = json!([{"type": "Ready", "status": "True", "lastTransitionTime": view::stamp(time(second))}]);
            Arc::new(json!({"metadata": {"name": name}, "status": {"conditions": ready}}))
        };
        let service = json!({"metadata": {"creationTimestamp": view::stamp(time(10))}});
        let key = Key::new(kinds::SERVICE, "n", "s");
        let mut triggers = Triggers::default();
        let mut look = |pods: &[Arc<Value>]| triggers.look(&key, &service, pods, None).map(Timestamp::as_second);
        assert_eq!(look(&[pod("a", 20)]), Some(10), "at first it is the Service itself");
        assert_eq!(look(&[pod("a", 20)]), None);
        assert_eq!(look(&[pod("a", 40), pod("b", 30)]), Some(30));
        assert_eq!(look(&[pod("b", 30)]), None, "a pod that is gone has no time");
        assert_eq!(look(&[pod("a", 20), pod("b", 30)]), Some(20), "and is a new one when it comes again");
        let late = |pods: &[Arc<Value>]| Triggers::default().look(&key, &service, pods, Some(time(25))).map(Timestamp::as_second);
        assert_eq!(late(&[pod("a", 20)]), None, "somebody has looked before");
        assert_eq!(late(&[pod("a", 20), pod("b", 30)]), Some(30));
    }
}
