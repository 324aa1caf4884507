//! Events that controllers record, counted up when they repeat.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{json, Value};

use crate::kinds;
use crate::status::Status;
use crate::store::{Key, Store};
use crate::view;

/// Which event stands for which (object, reason, message).
#[derive(Debug, Clone, Default)]
pub(crate) struct EventIndex {
    known: BTreeMap<(String, String, String), Key>,
    recorded: u64,
}

impl EventIndex {
    /// Records one event: severity (`Normal` or `Warning`), reason, message.
    pub(crate) fn record(
        &mut self,
        store: &mut Store,
        about: &Value,
        component: &str,
        (severity, reason, message): (&str, &str, &str),
        now: Timestamp,
    ) -> Result<(), Status> {
        let id = (view::uid(about).to_owned(), reason.to_owned(), message.to_owned());
        let stamp = view::stamp(now);
        if let Some((key, event)) = self.known.get(&id).and_then(|key| store.get(key).map(|e| (key.clone(), e))) {
            let mut event = (**event).clone();
            let count = view::count(&event, &["count"]) + 1;
            view::set(&mut event, &["count"], count);
            view::set(&mut event, &["lastTimestamp"], stamp);
            store.update(&key, event)?;
            return Ok(());
        }
        self.recorded += 1;
        // Events about cluster-scoped objects live in `default`.
        let namespace = Some(view::namespace(about)).filter(|n| !n.is_empty()).unwrap_or("default");
        // A real server appends the nanosecond; a running number keeps names unique and repeatable.
        let name = format!("{}.{:x}", view::name(about), 0x1000_0000_0000_0000_u64 + self.recorded);
        let source = match component {
            "kubelet" => json!({"component": component, "host": view::text(about, &["spec", "nodeName"])}),
            "scheduler" => json!({"component": "default-scheduler"}),
            other => json!({"component": other}),
        };
        let event = json!({
            "apiVersion": "v1", "kind": "Event",
            "metadata": {"name": name, "namespace": namespace},
            "involvedObject": {
                "apiVersion": view::text(about, &["apiVersion"]), "kind": view::text(about, &["kind"]),
                "name": view::name(about), "namespace": view::namespace(about), "uid": view::uid(about),
                "resourceVersion": view::text(about, &["metadata", "resourceVersion"]),
            },
            "type": severity, "reason": reason, "message": message, "count": 1,
            "firstTimestamp": stamp, "lastTimestamp": stamp, "eventTime": null,
            "source": source, "reportingComponent": view::text(&source, &["component"]), "reportingInstance": "",
        });
        self.known.insert(id, Key { kind: kinds::EVENT, namespace: namespace.to_owned(), name });
        store.create(kinds::EVENT, event, now)?;
        Ok(())
    }
}
