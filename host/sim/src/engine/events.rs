//! Events that controllers record, counted up when they repeat.

use ecow::eco_format;
use imbl::OrdMap;

use crate::json::{Text, Value, json};
use jiff::Timestamp;

use crate::hash;
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
    /// By a number made of all four; the event itself tells whether it is the one.
    known: OrdMap<u64, Key>,
    recorded: u64,
    /// Who said something last, as events tell it: mostly the one who says the next thing.
    source: Option<(Text, Text, Value)>,
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
        let number = hash::of(&[view::uid(about), said.reason, said.message, said.part]);
        let known = self.known.get(&number).and_then(|key| store.get(key).map(|event| (key.clone(), event)));
        if let Some((key, event)) = known.filter(|(_, event)| says(event, view::uid(about), said)) {
            let event = again((**event).clone(), now);
            store.update(&key, event)?;
            return Ok(());
        }
        self.recorded += 1;
        // Events about cluster-scoped objects live in `default`.
        let namespace = Some(view::shared(about, &["metadata", "namespace"])).filter(|n| !n.is_empty()).unwrap_or("default".into());
        // A real server appends the nanosecond; a running number keeps names unique and repeatable.
        let named = |number: u64| {
            let name = eco_format!("{}.{:x}", view::name(about), 0x1000_0000_0000_0000_u64 + number);
            Key { kind: kinds::EVENT, namespace: namespace.clone(), name }
        };
        let mut key = named(self.recorded);
        // What was loaded may come from another simulated cluster, whose numbers are the same.
        while store.get(&key).is_some() {
            self.recorded += 1;
            key = named(self.recorded);
        }
        let source = self.source_of(component, about);
        self.known.insert(number, key.clone());
        let made = event(&key, about, component, said, source, now);
        store.add(key, made, now);
        Ok(())
    }
}

impl EventIndex {
    /// Who speaks: a component, a kubelet with its node. Events of one speaker share it.
    fn source_of(&mut self, component: &str, about: &Value) -> Value {
        // This one gives the name of its program.
        let component = if component == "disruption-controller" { "controllermanager" } else { component };
        let node = if component == "kubelet" { view::shared(about, &["spec", "nodeName"]) } else { Text::new() };
        match &self.source {
            Some((known, there, source)) if known == component && *there == node => source.clone(),
            _ => {
                let component = Text::from(component);
                let source = match component.as_str() {
                    "kubelet" => json!({"component": component, "host": node}),
                    _ => json!({"component": component}),
                };
                self.source = Some((component, node, source.clone()));
                source
            }
        }
    }
}

/// Whether an event says this of the object.
fn says(event: &Value, uid: &str, said: Said<'_>) -> bool {
    view::text(event, &["message"]) == said.message
        && view::text(event, &["involvedObject", "uid"]) == uid
        && view::text(event, &["reason"]) == said.reason
        && view::text(event, &["involvedObject", "fieldPath"]) == said.part
}

/// A new event. The scheduler records through the newer API: an exact time, an action, no count. All others count and name themselves
/// as the source, kubelets with their node.
fn event(key: &Key, about: &Value, component: &str, said: Said<'_>, source: Value, now: Timestamp) -> Value {
    let Said { severity, reason, message, part } = said;
    let text = |field: &str| view::shared(about, &["metadata", field]);
    let mut object = json!({
        "apiVersion": view::shared(about, &["apiVersion"]), "kind": view::shared(about, &["kind"]),
        "name": text("name"), "namespace": text("namespace"), "uid": text("uid"), "resourceVersion": text("resourceVersion"),
    });
    if !part.is_empty() {
        view::set(&mut object, &["fieldPath"], part);
    }
    // Room for what the store fills in.
    let metadata = json!({
        "name": key.name.clone(), "namespace": key.namespace.clone(), "uid": null, "creationTimestamp": null, "resourceVersion": null,
    });
    if component == "scheduler" {
        let action = if reason == "Scheduled" { "Binding" } else { "Scheduling" };
        return json!({
            "apiVersion": "v1", "kind": "Event", "metadata": metadata, "involvedObject": object,
            "type": severity, "reason": reason, "message": message,
            "eventTime": micro(now), "firstTimestamp": null, "lastTimestamp": null, "action": action, "source": {},
            "reportingComponent": "default-scheduler", "reportingInstance": "default-scheduler-sim",
        });
    }
    let stamp = view::stamp(now);
    let (component, node) = (view::shared(&source, &["component"]), view::shared(&source, &["host"]));
    json!({
        "apiVersion": "v1", "kind": "Event", "metadata": metadata, "involvedObject": object,
        "type": severity, "reason": reason, "message": message,
        "eventTime": null, "firstTimestamp": stamp.clone(), "lastTimestamp": stamp, "count": 1, "source": source,
        "reportingComponent": component, "reportingInstance": node,
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
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "uid": "u"}, "spec": {"nodeName": "n1"}});
        let key = Key::new(kinds::EVENT, "x", "a.1");
        let event = |component: &str, reason: &str| {
            let said = Said { severity: "Normal", reason, message: "why", part: "" };
            event(&key, &pod, component, said, EventIndex::default().source_of(component, &pod), now)
        };
        let twice = again(again(event("scheduler", "FailedScheduling"), now), now);
        assert_eq!((&twice["series"]["count"], &twice["action"]), (&json!(3), &json!("Scheduling")));
        let pulled = again(event("kubelet", "Pulled"), now);
        assert_eq!((&pulled["count"], &pulled["source"]["host"], &pulled["reportingInstance"]), (&json!(2), &json!("n1"), &json!("n1")));
    }
}
