//! `rollout_history`: the revisions of a workload.

use std::collections::BTreeMap;

use crate::base::json::Value as Json;

use super::cx::Cx;
use super::done::Done;
use super::images::by_container;
use super::revisions::{self, Revision};
use crate::base::{ObjectRef, Result, Value};
use crate::primitive;

primitive! {
    /// Reads the revisions that are kept of a Deployment, DaemonSet or StatefulSet, oldest first.
    ///
    /// Numbers are those of `kubectl rollout history`; after an undo the revision gone back to has a new number.
    pub read fn rollout_history as RolloutHistory(
        /// The workload, for example `deployment/cce-eni-ipam`.
        workload: ObjectRef,
    ) options {
        /// The namespace, when the reference has none.
        namespace: Option<String>,
    } -> "{ { revision: number, images: { [string]: Image }, change_cause: string?, current: boolean, created: string } }",
        "the revisions, oldest first; `current` is the one that the workload asks for";
    since "0.1";
    example r#"for _, one in rollout_history("deployment/cce-eni-ipam") do print(one.revision, one.images["cce-eni-ipam"], one.current) end"#;
    needs ["get {workload}", "list replicasets.apps", "list controllerrevisions.apps"];
}

impl RolloutHistory {
    async fn run(self, cx: Cx) -> Result<Done> {
        let doing = "reading the revisions of";
        let target = cx.target(&self.workload, self.namespace.as_deref()).await?;
        revisions::holder(&target, doing)?;
        let object = cx.read(&target).await?;
        let history = revisions::history(&cx, &target, &object, doing).await?;
        Ok(Done::read(Value::List(history.iter().map(row).collect())))
    }
}

fn row(revision: &Revision) -> Value {
    let mut row = BTreeMap::from([
        ("revision".to_owned(), Value::Json(revision.number.into())),
        ("images".to_owned(), by_container(&revision.images())),
        ("current".to_owned(), Value::from(revision.current)),
        ("created".to_owned(), Value::Json(Json::from(revision.created.clone()))),
    ]);
    if let Some(cause) = &revision.change_cause {
        row.insert("change_cause".to_owned(), Value::from(cause.clone()));
    }
    Value::Map(row)
}
