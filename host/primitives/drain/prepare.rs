//! A node before the first write: who is on it, what is to become of each, and whether that can come to an end.

use std::rc::Rc;
use std::sync::Arc;

use super::budget::Budgets;
use super::classify::{Classifier, Fate, Judged, Refusal, order};
use super::foresee::{Foreseen, Row, Verdict, foresee, pods};
use super::terms::{OnImpossibleBudget, Terms};
use crate::base::json::{Value as Json, json};
use crate::base::{Error, Kind, ObjectRef, Reason, Result};
use crate::cluster::{Cluster, Follow, Following, Resource, Select, Target};
use crate::primitives::cx::Cx;
use crate::primitives::view;

/// The scope of the pods of the node in [`Prepared::following`].
pub(super) const PODS: usize = 0;
/// The scope of all disruption budgets.
pub(super) const BUDGETS: usize = 1;

/// A node that is looked at.
pub(super) struct Prepared {
    pub(super) node: Target,
    /// The node as it was read.
    pub(super) object: Arc<Json>,
    /// Its pods, and all budgets.
    pub(super) following: Following,
    pub(super) classifier: Classifier,
    pub(super) foreseen: Foreseen,
    pub(super) pods: Rc<Resource>,
    pub(super) terms: Terms,
}

impl Prepared {
    /// Looks at a node: one list of its pods and one of the budgets, and each DaemonSet once.
    ///
    /// # Errors
    /// `not_found` for a node that is not there; those of reads; `unsupported` where the server does not serve `policy/v1`.
    pub(super) async fn begin(cx: &Cx, node: &ObjectRef, terms: &Terms) -> Result<Prepared> {
        let node = cx.target(node, None).await?;
        let object = cx.read(&node).await?;
        let resource = cx.cluster.resolve("pods", None).await?;
        let following = cx.cluster.follow(scopes(&cx.cluster, &node, resource.clone(), terms).await?).await.map_err(too_old)?;
        let mut classifier = Classifier::new(cx, terms);
        let mut judged: Vec<Judged> = Vec::new();
        let mut pods: Vec<&Arc<Json>> = following.items(PODS).collect();
        pods.sort_by_key(|pod| order(pod));
        for pod in pods {
            judged.push(classifier.judge(pod).await?);
        }
        let budgets = Budgets::new(following.items(BUDGETS));
        let foreseen = foresee(&object, judged, &budgets, terms);
        Ok(Prepared { node, object, following, classifier, foreseen, pods: resource, terms: terms.clone() })
    }

    pub(super) fn rows(&self) -> &[Row] {
        &self.foreseen.rows
    }

    /// The pods of the node, as a question to the server.
    pub(super) fn select(&self) -> Select {
        of_node(&self.node, &self.terms)
    }
}

/// The error of a server without `policy/v1`, with the version that has it.
fn too_old(error: Error) -> Error {
    match error.reason {
        Reason::Unsupported => error.hint("draining needs `policy/v1`, which API servers have with evictions from 1.22 on"),
        _ => error,
    }
}

fn of_node(node: &Target, terms: &Terms) -> Select {
    Select { labels: terms.pod_selector.clone(), fields: Some(format!("spec.nodeName={}", node.name)) }
}

async fn scopes(cluster: &Cluster, node: &Target, pods: Rc<Resource>, terms: &Terms) -> Result<Vec<Follow>> {
    let budgets = cluster.resolve("poddisruptionbudgets", Some("policy")).await?;
    Ok(vec![
        Follow { resource: pods, namespace: None, select: of_node(node, terms) },
        Follow { resource: budgets, namespace: None, select: Select::default() },
    ])
}

/// Says no when the options do not allow every pod to go.
pub(super) fn refuse(prepared: &[Prepared]) -> Result<()> {
    let refused = |node: &Prepared| node.rows().iter().filter(|row| row.judged.fate == Fate::Refuse).cloned().collect::<Vec<Row>>();
    let rows: Vec<(&Prepared, Vec<Row>)> = prepared.iter().map(|node| (node, refused(node))).collect();
    let all: Vec<&Judged> = rows.iter().flat_map(|(_, rows)| rows).map(|row| &row.judged).collect();
    let Some((first, _)) = rows.iter().find(|(_, rows)| !rows.is_empty()) else { return Ok(()) };
    Err(refusal(&first.node, &all))
}

/// The error of pods that the options do not allow to go.
pub(super) fn refusal(node: &Target, refused: &[&Judged]) -> Error {
    let message = format!("draining `{node}`: {} of it may not go", pods(refused.len()));
    let mut error = Error::new(Kind::Refused, Reason::Refused, message).about(node.full_name());
    for judged in refused {
        let whys: Vec<String> = judged.refusals.iter().map(|refusal| refusal.why.to_owned()).collect();
        error = error.cause(format!("`pod/{}`: {}", judged.name(), view::and(&whys)));
    }
    let mut options: Vec<&str> = Vec::new();
    for Refusal { option, .. } in refused.iter().flat_map(|judged| &judged.refusals) {
        if !options.contains(option) {
            options.push(option);
        }
    }
    let options: Vec<String> = options.into_iter().map(|option| format!("`{option}`")).collect();
    let pods: Vec<Json> = refused.iter().map(|judged| json!({ "pod": judged.name(), "class": judged.class.as_str() })).collect();
    let allow = view::verb(options.len(), "allows", "allow");
    error.details(json!({ "pods": pods })).hint(format!("nothing was evicted; {} {allow} it", view::and(&options)))
}

/// Says no when the pod that this process runs in would go: the run would end in the middle, with the node cordoned.
pub(super) fn spare_home(cx: &Cx, prepared: &[Prepared]) -> Result<()> {
    let Some((node, judged)) = prepared.iter().find_map(|node| Some((node, at_home(&cx.cluster, node)?))) else { return Ok(()) };
    let message =
        format!("draining `{}`: `pod/{}` on it is the one that lockgate runs in, and the run would end with it", node.node, judged.name());
    let hint = format!(
        "nothing was written; go on from elsewhere, or cordon `{0}` and start lockgate on another node: drain `{0}` last",
        node.node.name
    );
    Err(Error::new(Kind::Refused, Reason::Refused, message).about(node.node.full_name()).hint(hint))
}

/// The pod that this process runs in, when it is one of those that would go.
fn at_home<'a>(cluster: &Cluster, node: &'a Prepared) -> Option<&'a Judged> {
    let home = cluster.home().map(|home| format!("{}/{}", home.namespace, home.pod))?;
    let goes = |judged: &&Judged| matches!(judged.fate, Fate::Go | Fate::Refuse) && judged.name() == home;
    node.rows().iter().map(|row| &row.judged).find(goes)
}

/// Says no when budgets will never let a pod go, unless somebody is about to change them.
pub(super) async fn refuse_impossible(cx: &Cx, prepared: &[Prepared]) -> Result<()> {
    for node in prepared.iter().filter(|node| node.terms.on_impossible != OnImpossibleBudget::Wait) {
        let stuck: Vec<&Row> = node.rows().iter().filter(|row| row.impossible.is_some()).collect();
        if !stuck.is_empty() {
            return Err(impossible(cx, node, &stuck).await?);
        }
    }
    Ok(())
}

async fn impossible(cx: &Cx, node: &Prepared, stuck: &[&Row]) -> Result<Error> {
    let message = format!("draining `{}`: {} of it can never go", node.node, pods(stuck.len()));
    let mut error = Error::new(Kind::Stuck, Reason::BlockedByBudget, message).about(node.node.full_name());
    let mut details = Vec::new();
    for row in stuck {
        let Some(block) = &row.impossible else { continue };
        error = error.cause(format!("`pod/{}`: {}", row.judged.name(), block.why));
        let mut numbers = block.details.clone();
        numbers["pod"] = row.judged.name().into();
        numbers["unhealthy_pods"] = unready(cx, node, block.budgets.first()).await?.into();
        details.push(numbers);
    }
    let unready_only = stuck.iter().all(|row| !view::is_ready(&row.judged.pod));
    let hint = if unready_only {
        "nothing was written; `unhealthyPodEvictionPolicy: AlwaysAllow` in the budget lets pods go that are not ready"
    } else {
        "nothing was written; change the budget or add replicas, or say `on_impossible_budget = \"delete\"`"
    };
    Ok(error.details(json!({ "blocked": details })).hint(hint))
}

/// The pods under a budget, `NAMESPACE/NAME`, that are not ready: they are what a person looks at next.
async fn unready(cx: &Cx, node: &Prepared, budget: Option<&String>) -> Result<Vec<Json>> {
    let budgets = Budgets::new(node.following.items(BUDGETS));
    let Some((budget, (namespace, _))) = budget.and_then(|name| budgets.find(name).zip(name.split_once('/'))) else {
        return Ok(Vec::new());
    };
    match cx.cluster.list(&node.pods, Some(namespace), &Select::default()).await {
        Err(stop) if stop.is_stop() => Err(stop),
        // They are told for convenience: the error says enough without them.
        Err(_) => Ok(Vec::new()),
        Ok(listed) => {
            let covered = listed.items.iter().filter(|pod| lockgate_sim::eviction::covers(budget, pod) && !view::is_ready(pod));
            Ok(covered.map(|pod| view::name(pod).into()).collect())
        }
    }
}

/// Asks for consent to what happens in despite of budgets.
pub(super) async fn consent(cx: &Cx, prepared: &[Prepared]) -> Result<()> {
    let rows: Vec<&Row> = prepared.iter().flat_map(Prepared::rows).filter(|row| !row.despite.is_empty()).collect();
    if rows.is_empty() {
        return Ok(());
    }
    let told: Vec<String> = rows
        .iter()
        .map(|row| {
            let budgets: Vec<String> = row.despite.iter().map(|name| format!("`{name}`")).collect();
            let noun = view::verb(budgets.len(), "budget", "budgets");
            format!("`pod/{}` in despite of {noun} {}", row.judged.name(), view::and(&budgets))
        })
        .collect();
    cx.talk.confirm(&format!("delete {}?", view::and(&told))).await
}

/// The verdict over several nodes: the worst, in its words.
pub(super) fn worst(cx: &Cx, prepared: &[Prepared]) -> (Verdict, String) {
    if let Err(error) = spare_home(cx, prepared) {
        return (Verdict::Refused, format!("refused: {}", error.message));
    }
    let worst = prepared.iter().max_by_key(|node| node.foreseen.verdict);
    worst.map_or((Verdict::Ok, String::new()), |node| (node.foreseen.verdict, node.foreseen.message.clone()))
}
