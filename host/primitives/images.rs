//! `images`: which images a workload asks for.

use std::collections::BTreeMap;

use super::cx::Cx;
use super::done::Done;
use super::view;
use super::workload;
use crate::base::{ObjectRef, Result, Value};
use crate::primitive;

primitive! {
    /// Reads the image of each container of a workload, init containers included.
    ///
    /// These are the images asked for; those of a pod that runs may be older until the rollout has ended.
    pub read fn images as Images(
        /// A workload or pod, for example `daemonset/cce-cni-node-agent`.
        workload: ObjectRef,
    ) options {
        /// The namespace, when the reference has none.
        namespace: Option<String>,
    } -> "{ [string]: Image }", "the images by container name";
    since "0.1";
    example r#"print(images("daemonset/cce-cni-node-agent")["install-cni-binary"].tag)"#;
    needs ["get {workload}"];
}

impl Images {
    async fn run(self, cx: Cx) -> Result<Done> {
        let target = cx.target(&self.workload, self.namespace.as_deref()).await?;
        let pod_spec = workload::need_pod_spec(&target, "reading the images of")?;
        let object = cx.read(&target).await?;
        Ok(Done::read(by_container(&workload::images(&object, pod_spec))))
    }
}

/// Images by container, for a script.
pub(super) fn by_container(images: &BTreeMap<String, String>) -> Value {
    Value::Map(images.iter().map(|(name, text)| (name.clone(), view::image(text))).collect())
}
