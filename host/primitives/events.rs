//! `events`: what was reported about an object.

use crate::base::json::{Value as Json, json};

use super::cx::Cx;
use super::done::Done;
use super::view;
use crate::base::{ObjectRef, Result};
use crate::cluster::Select;
use crate::primitive;

primitive! {
    /// Reads the events about an object, newest last. The object itself may be gone; servers keep events for about an hour.
    pub read fn events as Events(
        /// The object, for example `pod/cce-eni-ipam-7d9f-x2x`.
        object: ObjectRef,
    ) options {
        /// The namespace, when the reference has none.
        namespace: Option<String>,
    } -> "{ { time: string, type: string, reason: string, message: string, count: number, source: string } }",
        "the events, newest last";
    since "0.1";
    example r#"for _, event in events("deployment/cce-eni-ipam") do print(event.reason, event.message) end"#;
    needs ["list events"];
}

impl Events {
    async fn run(self, cx: Cx) -> Result<Done> {
        let target = cx.target(&self.object, self.namespace.as_deref()).await?;
        let resource = cx.cluster.resolve("events", None).await?;
        let fields = format!("involvedObject.kind={},involvedObject.name={}", target.resource.kind, target.name);
        // Events about objects without a namespace are kept in `default`.
        let namespace = target.namespace.as_deref().unwrap_or("default");
        let listed = cx.cluster.list(&resource, Some(namespace), &Select { labels: None, fields: Some(fields) }).await?;
        let mut events: Vec<(&str, &Json)> = listed.items.iter().map(|event| (time(event), event.as_ref())).collect();
        events.sort_by_key(|(time, event)| (*time, view::name(event)));
        let rows = events.into_iter().map(|(time, event)| row(time, event)).collect();
        Ok(Done::read(Json::Array(rows)))
    }
}

/// When it was last seen; events of the newer form have no `lastTimestamp`.
fn time(event: &Json) -> &str {
    ["/series/lastObservedTime", "/lastTimestamp", "/eventTime", "/firstTimestamp", "/metadata/creationTimestamp"]
        .iter()
        .map(|pointer| view::text(event, pointer))
        .find(|text| !text.is_empty())
        .unwrap_or_default()
}

fn row(time: &str, event: &Json) -> Json {
    let first = |pointers: [&str; 2]| pointers.map(|pointer| view::text(event, pointer)).into_iter().find(|text| !text.is_empty());
    let seen = view::int(event, "/series/count").or_else(|| view::int(event, "/count")).unwrap_or(1);
    json!({
        "time": time,
        "type": view::text(event, "/type"),
        "reason": view::text(event, "/reason"),
        "message": view::text(event, "/message"),
        "count": seen.max(1),
        "source": first(["/source/component", "/reportingComponent"]).unwrap_or_default(),
    })
}
