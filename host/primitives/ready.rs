//! `ready`: whether an object is as it should be.

use crate::base::json::json;

use super::cx::Cx;
use super::done::Done;
use super::kstatus::{self, Readiness};
use crate::base::{ObjectRef, Reason, Result};
use crate::primitive;

primitive! {
    /// Says whether an object is as its owner wants it, for any kind.
    ///
    /// `status` is `Current`, `InProgress`, `Failed`, `Terminating` or `NotFound`. The rules are those of kstatus, except:
    /// a failed pod is `Failed`; a running Job is `InProgress`; a Deployment that has not been able to create pods for 60 s is
    /// `Failed`; with strategy `OnDelete` a DaemonSet or StatefulSet must have its pods ready, but not of its new revision; a Node must
    /// be ready and have its network; an `APIService` must be available; a `TigeraStatus` must be available, not degraded and not progressing;
    /// an object of another kind that is younger than 5 s and has no status yet is `InProgress`.
    pub read fn ready as Ready(
        /// The object, for example `node/w1`.
        object: ObjectRef,
    ) options {
        /// The namespace, when the reference has none.
        namespace: Option<String>,
    } -> "{ status: string, reason: string, message: string }", "how it is, in one word and in a sentence";
    since "0.1";
    example r#"ensure(ready("daemonset/cce-cni-node-agent").status == "Current", "the node agent is not healthy")"#;
    needs ["get {object}"];
}

impl Ready {
    async fn run(self, cx: Cx) -> Result<Done> {
        let target = cx.target(&self.object, self.namespace.as_deref()).await?;
        let readiness = match cx.read(&target).await {
            Ok(object) => {
                cx.must_be_modelled(&target, &object)?;
                kstatus::of(&target.resource, &object, cx.now())
            }
            Err(error) if error.reason == Reason::NotFound => {
                let hint = error.hint.as_ref().map_or_else(String::new, |hint| format!("; {hint}"));
                Readiness::new("NotFound", "NotFound", format!("there is no `{target}`{hint}"))
            }
            Err(error) => return Err(error),
        };
        let Readiness { status, reason, message } = readiness;
        Ok(Done::read(json!({ "status": status, "reason": reason, "message": message })))
    }
}
