//! Events that controllers record, counted up when they repeat.

use std::sync::LazyLock;

use imbl::OrdMap;

use crate::json::{Text, Value, json};
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
    /// By a number made of all four; the event itself tells whether it is the one.
    known: OrdMap<u64, Key>,
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
        let number = number(view::uid(about), said);
        let known = self.known.get(&number).and_then(|key| store.get(key).map(|event| (key.clone(), event)));
        if let Some((key, event)) = known.filter(|(_, event)| says(event, view::uid(about), said)) {
            let event = again((**event).clone(), now);
            store.update(&key, event)?;
            return Ok(());
        }
        self.recorded += 1;
        // Events about cluster-scoped objects live in `default`.
        let namespace = Some(view::namespace(about)).filter(|n| !n.is_empty()).unwrap_or("default");
        // A real server appends the nanosecond; a running number keeps names unique and repeatable.
        let named = |number: u64| {
            let name = format!("{}.{:x}", view::name(about), 0x1000_0000_0000_0000_u64 + number);
            Key::new(kinds::EVENT, namespace, &name)
        };
        loop {
            let key = named(self.recorded);
            match store.create(kinds::EVENT, event(&key, about, component, said, now), now) {
                // What was loaded may come from another simulated cluster, whose numbers are the same.
                Err(_) if store.get(&key).is_some() => self.recorded += 1,
                created => {
                    self.known.insert(number, key);
                    return created.map(drop);
                }
            }
        }
    }
}

/// FNV-1a over the uid of an object and what is said of it.
fn number(uid: &str, said: Said<'_>) -> u64 {
    let parts = [uid, said.reason, said.message, said.part];
    // No text holds the byte between the parts.
    let bytes = parts.iter().flat_map(|part| part.bytes().chain([0xff]));
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// Whether an event says this of the object.
fn says(event: &Value, uid: &str, said: Said<'_>) -> bool {
    view::text(event, &["message"]) == said.message
        && view::text(event, &["involvedObject", "uid"]) == uid
        && view::text(event, &["reason"]) == said.reason
        && view::text(event, &["involvedObject", "fieldPath"]) == said.part
}

/// A text of the metadata, shared and not copied.
fn text(object: &Value, field: &str) -> Text {
    match object.get("metadata").and_then(|meta| meta.get(field)) {
        Some(Value::String(text)) => text.clone(),
        _ => Text::new(),
    }
}

/// A new event. The scheduler records through the newer API: an exact time, an action, no count. All others count and name themselves
/// as the source, kubelets with their node.
fn event(key: &Key, about: &Value, component: &str, said: Said<'_>, now: Timestamp) -> Value {
    let Said { severity, reason, message, part } = said;
    let mut object = json!({
        "apiVersion": view::text(about, &["apiVersion"]), "kind": view::text(about, &["kind"]),
        "name": text(about, "name"), "namespace": text(about, "namespace"), "uid": text(about, "uid"),
        "resourceVersion": text(about, "resourceVersion"),
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
            (COMPONENT.clone()): "default-scheduler", (INSTANCE.clone()): "default-scheduler-sim",
        });
    }
    let stamp = Text::from(view::stamp(now));
    // This one gives the name of its program.
    let component = if component == "disruption-controller" { "controllermanager" } else { component };
    let node = if component == "kubelet" { view::text(about, &["spec", "nodeName"]) } else { "" };
    let source = if component == "kubelet" { json!({"component": component, "host": node}) } else { json!({"component": component}) };
    json!({
        "apiVersion": "v1", "kind": "Event", "metadata": metadata, "involvedObject": object,
        "type": severity, "reason": reason, "message": message,
        "eventTime": null, "firstTimestamp": stamp.clone(), "lastTimestamp": stamp, "count": 1, "source": source,
        (COMPONENT.clone()): component, (INSTANCE.clone()): node,
    })
}

/// Long keys of every event, held once.
static COMPONENT: LazyLock<Text> = LazyLock::new(|| "reportingComponent".into());
static INSTANCE: LazyLock<Text> = LazyLock::new(|| "reportingInstance".into());

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
            event(&key, &pod, component, Said { severity: "Normal", reason, message: "why", part: "" }, now)
        };
        let twice = again(again(event("scheduler", "FailedScheduling"), now), now);
        assert_eq!((&twice["series"]["count"], &twice["action"]), (&json!(3), &json!("Scheduling")));
        let pulled = again(event("kubelet", "Pulled"), now);
        assert_eq!((&pulled["count"], &pulled["source"]["host"], &pulled["reportingInstance"]), (&json!(2), &json!("n1"), &json!("n1")));
    }
}
