//! `rollout_resume`: a paused Deployment goes on.

use super::cx::Cx;
use super::done::Done;
use super::rollout_pause::set;
use crate::base::{ObjectRef, Result};
use crate::primitive;

primitive! {
    /// Resumes a paused Deployment: what was changed meanwhile is rolled out now. One that is not paused stays as it is.
    pub write fn rollout_resume as RolloutResume(
        /// The Deployment, for example `deployment/web`.
        workload: ObjectRef,
    ) options {
        /// The namespace, when the reference has none.
        namespace: Option<String>,
    } -> "{ changed: boolean }", "whether it was paused before";
    since "0.1";
    example r#"rollout_resume("deployment/web")"#;
    needs ["get {workload}", "patch {workload}"];
}

impl RolloutResume {
    async fn run(self, cx: Cx) -> Result<Done> {
        set(&cx, &self.workload, self.namespace.as_deref(), false).await
    }
}
