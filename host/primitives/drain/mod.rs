//! `drain`: a node without pods, or the reason why not.
//!
//! In reading order: [`terms`] are the options; [`classify`] says what each pod is and whether it may go; [`budget`] what the server
//! would answer; [`foresee`] makes a verdict of both; [`prepare`] looks at a node and says no where it must, all before the first
//! write; [`engine`] empties it, [`sets`] knows whose turn it is, [`answers`] reads what the server says meanwhile, and [`late`] puts it into words.

mod answers;
mod budget;
mod classify;
mod engine;
mod foresee;
mod late;
mod plan;
mod prepare;
mod sets;
mod terms;

use std::collections::BTreeSet;

use super::cordon::{self, CORDONED_BY, is_control_plane, is_cordoned};
use super::cx::Cx;
use super::done::{Done, Wrote};
use super::registry::Arg;
use super::types::{ArgType, Completes, NodeRef, Type};
use super::view;
use crate::base::json::{Value as Json, json};
use crate::base::{Error, Kind, ObjectRef, Reason, Result, Span, Typed, Value};
use crate::cluster::Select;
use crate::primitive;
use engine::{Emptied, Engine};
use prepare::Prepared;
use sets::Sets;
use terms::{Terms, terms};

pub use plan::DrainPlan;
pub use terms::OnImpossibleBudget;

/// The default of `timeout`, for each node.
const TIMEOUT: Span = Span::from_secs(15 * 60);

/// A node, or several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nodes(pub(super) Vec<ObjectRef>);

impl ArgType for Nodes {
    const TYPE: Type = Type::new("Ref | { Ref }", "a node such as \"w1\", or a list of nodes").completes(Completes::Reference);
    fn from_arg(arg: Arg) -> Result<Self> {
        let items: Vec<Value> = match arg {
            Arg::Value(Value::List(items)) => items,
            Arg::Value(Value::Json(Json::Array(items))) => items.into_iter().map(Value::Json).collect(),
            one => return NodeRef::from_arg(one).map(|node| Nodes(vec![node.0])),
        };
        let nodes: Result<Vec<ObjectRef>> = items.into_iter().map(|item| NodeRef::from_arg(Arg::Value(item)).map(|node| node.0)).collect();
        let nodes = nodes?;
        let names: BTreeSet<&str> = nodes.iter().map(|node| node.name.as_str()).collect();
        match (names.len(), nodes.len()) {
            (0, _) => Err(Error::usage("is an empty list: it is a node such as \"w1\", or a list of nodes")),
            (unique, all) if unique < all => Err(Error::usage("names a node twice")),
            _ => Ok(Nodes(nodes)),
        }
    }
}

primitive! {
    /// Empties a node: cordons it, evicts its pods as their disruption budgets allow, and waits until they are gone.
    ///
    /// Before anything is written every pod is looked at. When one may not go (it belongs to nobody, it has data in an `emptyDir`) the
    /// error names each with its reasons and the option that allows it; when a disruption budget will never let one go, that is found
    /// within the same second, with the budget and its numbers. What can clear by itself is waited for, and whoever waits is told
    /// with the budget's name. Pods of DaemonSets and static pods stay.
    ///
    /// Evictions are sent as budgets have room, and a change of a budget is noticed at once. Pods of one StatefulSet go one after another, over
    /// all nodes of the call: the next when the one before is ready elsewhere; one that can be nowhere but here is not waited for.
    /// A pod is told by its uid: one that is made again under its name is never evicted for it. A server that is away for a while is
    /// waited for. When the node is empty the server is asked once more; a pod that is put here again is evicted again, three times at most.
    ///
    /// Of several nodes all are looked at first, then all are cordoned, then they are emptied one after another. Two nodes of the control
    /// plane are never drained at once, nor one while another is cordoned, whoever did that; and the node of the pod that lockgate itself
    /// runs in is refused. Whatever happens a node stays cordoned: `uncordon` is another call. The server must serve `policy/v1`, evictions
    /// included, as it does from 1.22 on; with an older one nothing is written, and the error says so.
    pub write fn drain as Drain(
        /// The node, for example `w1`; or a list of nodes.
        node: Nodes,
    ) options {
        /// Leaves pods of DaemonSets alone; default true. With false they are a reason to refuse.
        ignore_daemonsets: Option<bool>,
        /// Lets pods go that have data in an `emptyDir`, which is lost.
        delete_emptydir_data: Option<bool>,
        /// Lets pods go that no controller makes again.
        force: Option<bool>,
        /// The grace period of every pod; default: each pod's own.
        grace_period: Option<Span>,
        /// Only pods with these labels, for example `app=web`.
        pod_selector: Option<String>,
        /// Deletes in the place of evicting, past all budgets; what a budget does not allow is asked for.
        disable_eviction: Option<bool>,
        /// How many pods may be on their way out at a time; default 10.
        max_evictions: Option<u32>,
        /// Does not wait for pods that should have been gone for so long: their kubelet is dead.
        skip_wait_for_delete_timeout: Option<Span>,
        /// About pods that their budgets never let go: `"fail"` (default), `"wait"`, or `"delete"` them after the operator's consent.
        on_impossible_budget: Option<OnImpossibleBudget>,
        /// The whole time allowed for each node; default 15 minutes. 0 asks once.
        timeout: Option<Span>,
        /// The time allowed without progress, counted from the end of grace periods; default 3 minutes.
        stall: Option<Span>,
    } -> "{ changed: boolean, nodes: { string }, cordoned: { string }, evicted: { string }, deleted: { string }, skipped: { { pod: string, class: string } }, rescheduled: { string }, warnings: { string }, already_empty: boolean, took: Duration }",
        "pods are `namespace/name`; `cordoned`: nodes that this call cordoned; `rescheduled`: pods that were put here meanwhile";
    since "0.1";
    example r#"drain("w1", { delete_emptydir_data = true, timeout = "10m" })"#;
    needs [
        "get,list,patch nodes", "list,watch,get pods", "create pods/eviction", "delete pods", "get daemonsets.apps",
        "list,watch poddisruptionbudgets.policy",
    ];
}

impl Drain {
    async fn run(self, cx: Cx) -> Result<Done> {
        let terms = terms!(self, "drain")?;
        let begun = cx.now();
        let prepared = look_at(&cx, &self.node, &terms).await?;
        spare_control_plane(&cx, &prepared).await?;
        prepare::spare_home(&cx, &prepared)?;
        prepare::refuse(&prepared)?;
        prepare::refuse_impossible(&cx, &prepared).await?;
        prepare::consent(&cx, &prepared).await?;
        let mut told = Told { nodes: prepared.iter().map(|node| node.node.name.clone()).collect(), ..Told::default() };
        for row in prepared.iter().flat_map(Prepared::rows) {
            if let Some(warning) = row.judged.warning {
                let text = format!("pod/{}: {warning}", row.judged.name());
                cx.talk.note(&text);
                told.warnings.push(text);
            }
        }
        for node in &prepared {
            if let Some(wrote) = cordon::set(&cx, &node.node, None).await?.wrote {
                cx.talk.wrote(&wrote);
                told.cordoned.push(node.node.name.clone());
                told.wrote.push(wrote);
            }
        }
        let timeout = self.timeout.unwrap_or(TIMEOUT);
        let mut sets = Sets::of(&prepared);
        for node in prepared {
            told.take(Engine::new(&cx, node, &mut sets).run(timeout, self.stall).await?);
        }
        Ok(told.done(Span::between(begun, cx.now())))
    }
}

/// Looks at every node before anything is written to one.
async fn look_at(cx: &Cx, nodes: &Nodes, terms: &Terms) -> Result<Vec<Prepared>> {
    let mut prepared = Vec::with_capacity(nodes.0.len());
    for node in &nodes.0 {
        prepared.push(Prepared::begin(cx, node, terms).await?);
    }
    Ok(prepared)
}

/// Never two nodes of the control plane at once: not in one call, and not while another one is out of service, whoever cordoned it.
///
/// # Errors
/// Refused; those of a read.
async fn spare_control_plane(cx: &Cx, prepared: &[Prepared]) -> Result<()> {
    let mut planes = prepared.iter().filter(|node| is_control_plane(&node.object));
    let Some(first) = planes.next() else { return Ok(()) };
    let refused = |message: String| Error::new(Kind::Refused, Reason::Refused, message).about(first.node.full_name());
    if let Some(second) = planes.next() {
        let message = format!("draining `{}` and `{}`: both are of the control plane, and one of them must stay", first.node, second.node);
        return Err(refused(message).hint("drain, upgrade and uncordon them one after another"));
    }
    let listed = match cx.cluster.list(&first.node.resource, None, &Select::default()).await {
        Err(error) if error.reason == Reason::Forbidden => {
            cx.talk.note("whether another node of the control plane is out of service may not be read here");
            return Ok(());
        }
        other => other?,
    };
    for other in listed.items.iter().filter(|other| view::name(other) != first.node.name && is_control_plane(other)) {
        let name = view::name(other);
        if is_cordoned(other) {
            let (by, back) = match view::annotation(other, CORDONED_BY) {
                Some(run) => (format!("run `{run}` has it cordoned"), format!("`uncordon(\"{name}\")` when it is ready")),
                None => {
                    ("is cordoned, by no run".to_owned(), format!("`uncordon(\"{name}\", {{ foreign = true }})` when whoever did is done"))
                }
            };
            let message = format!("draining `{}`: `node/{name}` is of the control plane too, and {by}", first.node);
            return Err(refused(message).hint(format!("bring `{name}` back first: {back}")));
        }
        if !view::holds(other, "Ready") {
            cx.talk.note(&format!("node/{name} of the control plane is not ready, and {} goes too", first.node));
        }
    }
    Ok(())
}

/// What is given back.
#[derive(Default)]
struct Told {
    nodes: Vec<String>,
    cordoned: Vec<String>,
    warnings: Vec<String>,
    emptied: Emptied,
    wrote: Vec<Wrote>,
}

impl Told {
    fn take(&mut self, emptied: Emptied) {
        self.emptied.evicted.extend(emptied.evicted);
        self.emptied.deleted.extend(emptied.deleted);
        self.emptied.stay.extend(emptied.stay);
        self.emptied.came.extend(emptied.came);
        self.wrote.extend(emptied.wrote);
    }

    fn done(self, took: Span) -> Done {
        let Told { nodes, cordoned, warnings, emptied, wrote } = self;
        let skipped: Vec<Json> = emptied.stay.iter().map(|(pod, class)| json!({ "pod": pod, "class": class.as_str() })).collect();
        let fields: [(&str, Json); 9] = [
            ("changed", (!wrote.is_empty()).into()),
            ("nodes", nodes.into()),
            ("cordoned", cordoned.into()),
            ("already_empty", (emptied.evicted.is_empty() && emptied.deleted.is_empty() && emptied.came.is_empty()).into()),
            ("evicted", emptied.evicted.into()),
            ("deleted", emptied.deleted.into()),
            ("skipped", skipped.into()),
            ("rescheduled", emptied.came.into()),
            ("warnings", warnings.into()),
        ];
        let mut value: std::collections::BTreeMap<String, Value> =
            fields.into_iter().map(|(name, value)| (name.to_owned(), Value::Json(value))).collect();
        value.insert("took".to_owned(), Value::Typed(Typed::Duration(took)));
        Done::wrote(Value::Map(value), wrote)
    }
}
