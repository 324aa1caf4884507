//! What would become of a drain, from the pods and budgets as they are: before anything is written, and for `drain_plan`.

use std::collections::BTreeMap;

use super::budget::{Answer, Block, Budgets};
use super::classify::{Class, Fate, Judged};
use super::terms::{OnImpossibleBudget, Terms};
use crate::base::json::{Value as Json, json};
use crate::primitives::cordon::UNSCHEDULABLE;
use crate::primitives::view;
use crate::primitives::wait_gone::finalizers;

/// Jobs count their pods by this one, and take it away themselves.
const JOB_TRACKING: &str = "`batch.kubernetes.io/job-tracking`";

/// How a drain would end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Verdict {
    Ok,
    Slow,
    Never,
    Refused,
}

impl Verdict {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Verdict::Ok => "ok",
            Verdict::Slow => "slow",
            Verdict::Never => "never",
            Verdict::Refused => "refused",
        }
    }
}

/// One pod, foreseen.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) judged: Judged,
    pub(super) verdict: Verdict,
    /// What holds it up, or keeps it.
    pub(super) blocker: Option<String>,
    /// The budgets that will never let it go.
    pub(super) impossible: Option<Block>,
    /// The budgets in whose despite it would be deleted.
    pub(super) despite: Vec<String>,
}

/// A node, foreseen.
#[derive(Clone, Debug)]
pub(super) struct Foreseen {
    pub(super) rows: Vec<Row>,
    pub(super) verdict: Verdict,
    pub(super) message: String,
}

/// Looks ahead.
pub(super) fn foresee(node: &Json, judged: Vec<Judged>, budgets: &Budgets, terms: &Terms) -> Foreseen {
    let mut rows: Vec<Row> = judged.into_iter().map(|judged| row(node, judged, budgets, terms)).collect();
    if !terms.disable_eviction {
        share_budgets(&mut rows, budgets, terms);
    }
    take_turns(&mut rows);
    let verdict = rows.iter().map(|row| row.verdict).max().unwrap_or(Verdict::Ok);
    let message = message(&rows, verdict);
    Foreseen { rows, verdict, message }
}

/// One pod by itself.
fn row(node: &Json, judged: Judged, budgets: &Budgets, terms: &Terms) -> Row {
    let mut row = Row { verdict: Verdict::Ok, blocker: None, impossible: None, despite: Vec::new(), judged };
    let pod = row.judged.pod.clone();
    match row.judged.fate {
        Fate::Stay => return row,
        Fate::Refuse => {
            let whys: Vec<String> = row.judged.refusals.iter().map(|refusal| refusal.why.to_owned()).collect();
            return Row { verdict: Verdict::Refused, blocker: Some(view::and(&whys)), ..row };
        }
        Fate::Go | Fate::Wait => {}
    }
    if row.judged.fate == Fate::Go {
        match budgets.answer(&pod) {
            Answer::Blocked(block) if terms.disable_eviction => row.despite = block.budgets,
            Answer::Blocked(block) if block.forever && terms.on_impossible == OnImpossibleBudget::Delete => row.despite = block.budgets,
            Answer::Blocked(block) => {
                row.verdict = if block.forever { Verdict::Never } else { Verdict::Slow };
                row.blocker = Some(block.why.clone());
                row.impossible = block.forever.then_some(block);
            }
            Answer::Free | Answer::Counted { .. } => {}
        }
    }
    let mut worse = |verdict: Verdict, why: String| {
        if verdict > row.verdict {
            row.verdict = verdict;
            row.blocker = Some(why);
        }
    };
    if is_silent(node) {
        let (verdict, until) = match terms.skip_wait.filter(|skip| !skip.is_zero()) {
            Some(skip) => (Verdict::Slow, format!("; it is waited for until {skip} after its grace period")),
            None => (Verdict::Never, String::new()),
        };
        worse(verdict, format!("the kubelet of the node does not answer, and only it can tell that the pod has ended{until}"));
    }
    let held: Vec<String> = finalizers(&pod).into_iter().filter(|name| name != JOB_TRACKING).collect();
    if !held.is_empty() {
        worse(Verdict::Slow, format!("{} {} must be taken away", view::verb(held.len(), "finalizer", "finalizers"), view::and(&held)));
    }
    if row.judged.fate == Fate::Go && tolerates_cordon(&pod) && view::controller(&pod).is_some() {
        worse(Verdict::Slow, "it tolerates the cordon, so that another may be put here in its place".to_owned());
    }
    row
}

/// Pods under one budget that lets fewer go than there are.
fn share_budgets(rows: &mut [Row], budgets: &Budgets, terms: &Terms) {
    let mut counted: BTreeMap<String, (i64, Vec<usize>)> = BTreeMap::new();
    for (index, row) in rows.iter().enumerate().filter(|(_, row)| row.judged.fate == Fate::Go) {
        if let Answer::Counted { budget, left } = budgets.answer(&row.judged.pod) {
            counted.entry(budget).or_insert_with(|| (left, Vec::new())).1.push(index);
        }
    }
    for (name, (left, pods)) in counted {
        let left = usize::try_from(left).unwrap_or(0);
        // What nobody makes again does not come back to let the next one go.
        let is_lost = |index: &&usize| rows.get(**index).is_some_and(|row| view::controller(&row.judged.pod).is_none());
        let lost: Vec<usize> = pods.iter().filter(is_lost).copied().collect();
        let beyond: Vec<usize> = lost.into_iter().skip(left).collect();
        for index in pods.iter().skip(left) {
            let Some(row) = rows.get_mut(*index) else { continue };
            if row.verdict < Verdict::Slow {
                row.verdict = Verdict::Slow;
                row.blocker = Some(format!("budget `{name}` lets {left} of {} pods go at a time", pods.len()));
            }
        }
        for index in beyond {
            let Some(row) = rows.get_mut(index) else { continue };
            if terms.on_impossible == OnImpossibleBudget::Delete {
                row.despite = vec![name.clone()];
                row.verdict = Verdict::Ok;
                row.blocker = None;
                continue;
            }
            let why = format!("budget `{name}` lets {left} go, and no controller makes another in its place");
            let details = json!({ "budgets": [name.clone()], "disruptionsAllowed": left });
            row.verdict = Verdict::Never;
            row.blocker = Some(why.clone());
            row.impossible = Some(Block { budgets: vec![name.clone()], why, forever: true, details });
        }
    }
}

/// Pods of one StatefulSet go one after another.
fn take_turns(rows: &mut [Row]) {
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for row in rows.iter_mut().filter(|row| row.judged.fate == Fate::Go) {
        let Some(set) = stateful_set(&row.judged.pod) else { continue };
        let before = seen.entry(set.to_owned()).or_default();
        *before += 1;
        if *before > 1 && row.verdict < Verdict::Slow {
            row.verdict = Verdict::Slow;
            row.blocker = Some("pods of its StatefulSet go one after another".to_owned());
        }
    }
}

/// The uid of the StatefulSet that a pod belongs to.
pub(super) fn stateful_set(pod: &Json) -> Option<&str> {
    let owner = view::controller(pod)?;
    (view::text(owner, "/kind") == "StatefulSet").then(|| view::text(owner, "/uid"))
}

/// Whether nobody has heard of the node's kubelet for a while. One that says that it is not ready still works.
pub(super) fn is_silent(node: &Json) -> bool {
    view::condition(node, "Ready").is_some_and(|condition| view::text(condition, "/status") == "Unknown")
}

/// Whether a pod may be put on a node although it is cordoned.
pub(super) fn tolerates_cordon(pod: &Json) -> bool {
    view::list(pod, "/spec/tolerations").iter().any(|toleration| {
        let (key, operator) = (view::text(toleration, "/key"), view::text(toleration, "/operator"));
        let key_fits = if key.is_empty() { operator == "Exists" } else { key == UNSCHEDULABLE };
        let value_fits = operator == "Exists" || view::text(toleration, "/value").is_empty();
        key_fits && value_fits && matches!(view::text(toleration, "/effect"), "" | "NoSchedule")
    })
}

fn count(rows: &[Row], fates: &[Fate]) -> usize {
    rows.iter().filter(|row| fates.contains(&row.judged.fate)).count()
}

/// `2 pods`
pub(super) fn pods(count: usize) -> String {
    format!("{count} {}", view::verb(count, "pod", "pods"))
}

/// The verdict in one sentence.
fn message(rows: &[Row], verdict: Verdict) -> String {
    let stay = count(rows, &[Fate::Stay]);
    let stays = if stay == 0 { String::new() } else { format!(", {stay} {}", view::verb(stay, "stays", "stay")) };
    let going = count(rows, &[Fate::Go, Fate::Wait]);
    let first = rows.iter().find(|row| row.verdict == verdict);
    let why = first.map_or_else(String::new, |row| {
        let more = rows.iter().filter(|other| other.verdict == verdict && other.judged.name() != row.judged.name()).count();
        let more = if more == 0 { String::new() } else { format!(" (and {more} more like it)") };
        format!("`pod/{}`: {}{more}", row.judged.name(), row.blocker.as_deref().unwrap_or_default())
    });
    match verdict {
        Verdict::Ok if going == 0 => format!("ok: there is nothing to evict{stays}"),
        Verdict::Ok => format!("ok: {} {}{stays}", pods(going), view::verb(going, "goes", "go")),
        Verdict::Slow => format!("ok, but slow because of {why}"),
        Verdict::Never => format!("never, because of {why}"),
        Verdict::Refused => format!("refused because of {why}"),
    }
}

/// What `drain_plan` tells of one pod.
pub(super) fn told(row: &Row, terms: &Terms) -> Json {
    let action = match row.judged.fate {
        Fate::Go if terms.disable_eviction || !row.despite.is_empty() => "delete",
        Fate::Go => "evict",
        Fate::Wait => "wait",
        Fate::Stay => "stay",
        Fate::Refuse => "refuse",
    };
    let class = row.judged.class;
    let mut told = json!({ "pod": row.judged.name(), "class": class.as_str(), "action": action });
    let blocker = match class {
        Class::DaemonSet | Class::Mirror if row.judged.fate == Fate::Stay => None,
        _ => row.blocker.clone(),
    };
    if let Some(blocker) = blocker {
        told["blocker"] = blocker.into();
    }
    told
}
