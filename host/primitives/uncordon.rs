//! `uncordon`: a node takes pods again.

use crate::base::json::{Value as Json, json};

use super::cordon::{CORDON_REASON, CORDONED_BY, is_cordoned};
use super::cx::Cx;
use super::done::{Done, Inverse, Wrote};
use super::tries::{Tries, version};
use super::types::NodeRef;
use super::view;
use crate::base::diff::Change;
use crate::base::{Error, Kind, Reason, Result};
use crate::cluster::{PatchType, Target};
use crate::primitive;

primitive! {
    /// Lets a node take pods again that this run cordoned.
    ///
    /// A cordon of somebody else, a person or another run, is refused: they had a reason. `foreign = true` takes it away all the same.
    /// A node that is not cordoned is left as it is, and nothing is sent.
    pub write fn uncordon as Uncordon(
        /// The node, for example `w1`.
        node: NodeRef,
    ) options {
        /// Also takes away what others cordoned; default false.
        foreign: Option<bool>,
    } -> "{ changed: boolean, node: string }", "whether the node was cordoned";
    since "0.1";
    example r#"uncordon("w1")"#;
    needs ["get,patch nodes"];
}

impl Uncordon {
    async fn run(self, cx: Cx) -> Result<Done> {
        let target = cx.target(&self.node.0, None).await?;
        let mut tries = Tries::of(&cx, &target, "uncordoning");
        loop {
            let before = tries.read().await?;
            if !is_cordoned(&before) {
                return Ok(Done::unchanged(json!({ "changed": false, "node": target.name })));
            }
            if self.foreign != Some(true) {
                refuse_foreign(&cx, &target, &before)?;
            }
            let metadata = json!({ "resourceVersion": version(&before), "annotations": { CORDONED_BY: null, CORDON_REASON: null } });
            let body = json!({ "metadata": metadata, "spec": { "unschedulable": null } });
            match cx.cluster.patch(&target, PatchType::Strategic, body, None).await {
                Err(error) => tries.again(PatchType::Strategic, &before, error).await?,
                Ok(_) => return Ok(Done::changed(json!({ "changed": true, "node": target.name }), wrote(&target, &before))),
            }
        }
    }
}

fn wrote(target: &Target, before: &Json) -> Wrote {
    let options = match view::annotation(before, CORDON_REASON) {
        Some(reason) => json!({ "reason": reason }),
        None => Json::Null,
    };
    Wrote {
        verb: "uncordon".to_owned(),
        target: target.to_string(),
        changes: vec![Change { path: "spec.unschedulable".to_owned(), before: Some(true.into()), after: None }],
        inverse: Inverse::Call { verb: "cordon".to_owned(), arguments: vec![target.full_name().into()], options },
    }
}

fn refuse_foreign(cx: &Cx, target: &Target, node: &Json) -> Result<()> {
    let who = match view::annotation(node, CORDONED_BY) {
        Some(run) if cx.cluster.is_own(run) => return Ok(()),
        Some(run) => format!("run `{run}` cordoned it"),
        None => "this run did not cordon it".to_owned(),
    };
    let message = format!("uncordoning `{target}`: {who}");
    let mut error = Error::new(Kind::Refused, Reason::Refused, message)
        .about(target.full_name())
        .hint("ask who did and why; with `foreign = true` it is uncordoned all the same");
    if let Some(reason) = view::annotation(node, CORDON_REASON) {
        error = error.cause(format!("the reason given: {reason}"));
    }
    Err(error)
}
