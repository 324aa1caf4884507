//! `drain_plan`: what `drain` would come to, without doing it.

use super::foresee::Verdict;
use super::prepare::{self, Prepared};
use super::terms::{OnImpossibleBudget, terms};
use super::{Nodes, foresee, look_at, spare_control_plane};
use crate::base::json::{Value as Json, json};
use crate::base::{Reason, Result, Span};
use crate::primitive;
use crate::primitives::cx::Cx;
use crate::primitives::done::Done;

primitive! {
    /// What `drain` with these options would come to, without writing anything.
    ///
    /// `verdict` is `ok`; `slow` when it ends but has to wait for something, a budget above all; `never` when nothing that happens by
    /// itself would let it end; `refused` when the options do not allow every pod to go. Each pod has its class, what would be done about it, and what holds
    /// it up. It is a picture of this moment: who makes a decision of it calls it in a check.
    pub read fn drain_plan as DrainPlan(
        /// The node, for example `w1`; or a list of nodes.
        node: Nodes,
    ) options {
        /// As for `drain`.
        ignore_daemonsets: Option<bool>,
        /// As for `drain`.
        delete_emptydir_data: Option<bool>,
        /// As for `drain`.
        force: Option<bool>,
        /// As for `drain`.
        grace_period: Option<Span>,
        /// As for `drain`.
        pod_selector: Option<String>,
        /// As for `drain`.
        disable_eviction: Option<bool>,
        /// As for `drain`.
        max_evictions: Option<u32>,
        /// As for `drain`.
        skip_wait_for_delete_timeout: Option<Span>,
        /// As for `drain`.
        on_impossible_budget: Option<OnImpossibleBudget>,
    } -> "{ verdict: \"ok\" | \"slow\" | \"never\" | \"refused\", message: string, pods: { { pod: string, class: string, action: string, blocker: string? } } }",
        "`class`: replicated, daemonset, orphaned, mirror, local_storage, unmanaged, finished, terminating or overdue; `action`: evict, delete, wait, stay or refuse";
    since "0.1";
    example r#"ensure(drain_plan("w1").verdict ~= "never", "the node can never be drained", { reason = "blocked_by_budget" })"#;
    needs ["get nodes", "list,watch pods", "get daemonsets.apps", "list,watch poddisruptionbudgets.policy"];
}

impl DrainPlan {
    async fn run(self, cx: Cx) -> Result<Done> {
        let terms = terms!(self, "drain_plan")?;
        let prepared = look_at(&cx, &self.node, &terms).await?;
        let (verdict, message) = match spare_control_plane(&cx, &prepared).await {
            Err(error) if error.reason == Reason::Refused => (Verdict::Refused, format!("refused: {}", error.message)),
            Err(error) => return Err(error),
            Ok(()) => prepare::worst(&cx, &prepared),
        };
        let pods: Vec<Json> = prepared.iter().flat_map(Prepared::rows).map(|row| foresee::told(row, &terms)).collect();
        Ok(Done::read(json!({ "verdict": verdict.as_str(), "message": message, "pods": pods })))
    }
}
