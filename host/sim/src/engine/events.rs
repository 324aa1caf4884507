//! Events that controllers record, counted up when they repeat.

use imbl::OrdMap;

use crate::json::{Value, json};
use jiff::Timestamp;

use crate::kinds;
use crate::status::Status;
use crate::store::{Key, Store};
use crate::view;

/// What an event says.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Said<'a> {
    /// `Normal` or `Warning`.
    pub(crate) severity: &'a str,
    /// The reason, one word.
    pub(crate) reason: &'a str,
    /// The sentence.
    pub(crate) message: &'a str,
    /// The part of the object that is meant, such as `spec.containers{web}`; empty for the whole.
    pub(crate) part: &'a str,
}

/// Which event stands for which (object, reason, message, part).
#[derive(Debug, Clone, Default)]
pub(crate) struct EventIndex {
    known: OrdMap<(String, String, String, String), Key>,
    recorded: u64,
}

impl EventIndex {
    /// Records one event of a component about an object.
    pub(crate) fn record(
        &mut self,
        store: &mut Store,
        about: &Value,
        component: &str,
        said: Said<'_>,
        now: Timestamp,
    ) -> Result<(), Status> {
        let id = (view::uid(about).to_owned(), said.reason.to_owned(), said.message.to_owned(), said.part.to_owned());
        if let Some((key, event)) = self.known.get(&id).and_then(|key| store.get(key).map(|e| (key.clone(), e))) {
            let event = again((**event).clone(), now);
            store.update(&key, event)?;
            return Ok(());
        }
        self.recorded += 1;
        // Events about cluster-scoped objects live in `default`.
        let namespace = Some(view::namespace(about)).filter(|n| !n.is_empty()).unwrap_or("default");
        // A real server appends the nanosecond; a running number keeps names unique and repeatable.
        let named = |number: u64| format!("{}.{:x}", view::name(about), 0x1000_0000_0000_0000_u64 + number);
        // What was loaded may come from another simulated cluster, whose numbers are the same.
        while store.get(&Key::new(kinds::EVENT, namespace, &named(self.recorded))).is_some() {
            self.recorded += 1;
        }
        let name = named(self.recorded);
        let mut event = json!({
            "apiVersion": "v1", "kind": "Event",
            "metadata": {"name": name, "namespace": namespace},
            "involvedObject": {
                "apiVersion": view::text(about, &["apiVersion"]), "kind": view::text(about, &["kind"]),
                "name": view::name(about), "namespace": view::namespace(about), "uid": view::uid(about),
                "resourceVersion": view::text(about, &["metadata", "resourceVersion"]),
            },
            "type": said.severity, "reason": said.reason, "message": said.message,
        });
        if !said.part.is_empty() {
            view::set(&mut event, &["involvedObject", "fieldPath"], said.part);
        }
        let fields = match component {
            "scheduler" => new_style(said.reason, now),
            other => old_style(other, view::text(about, &["spec", "nodeName"]), now),
        };
        if let (Some(event), Value::Object(fields)) = (event.as_object_mut(), fields) {
            event.extend(fields);
        }
        self.known.insert(id, Key::new(kinds::EVENT, namespace, &name));
        store.create(kinds::EVENT, event, now)?;
        Ok(())
    }
}

/// The scheduler records through the newer API: an exact time, an action, no count.
fn new_style(reason: &str, now: Timestamp) -> Value {
    let action = if reason == "Scheduled" { "Binding" } else { "Scheduling" };
    json!({
        "eventTime": micro(now), "firstTimestamp": null, "lastTimestamp": null, "action": action, "source": {},
        "reportingComponent": "default-scheduler", "reportingInstance": "default-scheduler-sim",
    })
}

/// All others count and name themselves as the source, kubelets with their node.
fn old_style(component: &str, node: &str, now: Timestamp) -> Value {
    let stamp = view::stamp(now);
    // This one gives the name of its program.
    let component = if component == "disruption-controller" { "controllermanager" } else { component };
    let mut source = json!({"component": component});
    if component == "kubelet" {
        view::set(&mut source, &["host"], node);
    }
    json!({
        "eventTime": null, "firstTimestamp": stamp, "lastTimestamp": stamp, "count": 1, "source": source,
        "reportingComponent": component, "reportingInstance": if component == "kubelet" { node } else { "" },
    })
}

/// The event once more: a count, or a series in the newer form.
fn again(mut event: Value, now: Timestamp) -> Value {
    if view::text(&event, &["eventTime"]).is_empty() {
        let count = view::count(&event, &["count"]) + 1;
        view::set(&mut event, &["count"], count);
        view::set(&mut event, &["lastTimestamp"], view::stamp(now));
    } else {
        let count = view::int(&event, &["series", "count"]).unwrap_or(1) + 1;
        view::set(&mut event, &["series"], json!({"count": count, "lastObservedTime": micro(now)}));
    }
    event
}

/// A time with microseconds, as the API prints it.
fn micro(at: Timestamp) -> String {
    format!("{at:.6}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newer_form_has_exact_times_and_series() {
        let now: Timestamp = "2001-02-03T04:05:06Z".parse().unwrap();
        assert_eq!(micro(now), "2001-02-03T04:05:06.000000Z");
        let twice = again(again(new_style("FailedScheduling", now), now), now);
        assert_eq!(twice["series"]["count"], 3);
        assert_eq!(again(old_style("kubelet", "n1", now), now)["count"], 2);
    }
}
