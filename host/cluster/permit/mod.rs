//! What a run may do: its permissions, kept beneath the primitives.
//!
//! [`Permit`] sits in the guard ([`super::layers`]) and judges each HTTP request from its method, path, query and body, whoever sends
//! it: a verb, a patch that a script wrote, a led helm. Reads need no grant. A line that takes something away wins over all that give
//! it. What goes on behind other doors, helm's charts and commands on machines, is judged there by the same permissions.
//!
//! While nothing restricts it, it only writes down what was asked: that is what an accepted plan grants ([`Permit::planned`]).

mod ask;
mod grant;
mod planned;
pub mod power;
mod wanted;

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

pub use self::ask::Grantor;
pub use self::grant::{Caps, Grant, KindName, Line, MachineGrant, Permissions};
pub use self::planned::Planned;
pub use self::wanted::Wanted;

use self::grant::{Says, fits};
use self::planned::Traced;
use super::request::{Act, Verb};
use crate::base::clock::Duration;
use crate::base::json::{Value as Json, json};
use crate::base::{Error, Kind, Reason, Result, Timestamp};

/// Where a run's permissions come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GrantedBy {
    /// The runbook's `permissions`.
    Block,
    /// The plan that was accepted.
    Plan,
    /// Nobody: the run has no plan, and its runbook no `permissions`.
    Nobody,
}

/// How much of the limits is used up; a run that goes on begins with what it had.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spent {
    /// The nodes that were cordoned, drained or changed.
    pub nodes: BTreeSet<String>,
    /// The pods that were evicted or deleted, by uid where it was known.
    pub pods: BTreeSet<String>,
    /// When the writes of the last minute were made, oldest first.
    #[serde(default)]
    pub writes: Vec<Timestamp>,
}

/// What a run may do, and what it asked for. Shared by all clones of a cluster.
#[derive(Clone, Default)]
pub(crate) struct Permit(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    /// What restricts it; nothing does while this is `None`.
    bound: Option<(Permissions, GrantedBy)>,
    /// Whether only what is taken away is refused: the host takes back what was granted once.
    lifted: bool,
    /// Whether it writes down what is asked.
    traces: bool,
    /// What the operator granted and refused when asked.
    granted: Permissions,
    refused: BTreeSet<String>,
    trace: BTreeSet<Traced>,
    commands: BTreeSet<(String, Vec<String>)>,
    charts: BTreeSet<String>,
    followed: BTreeSet<(String, String, Option<String>)>,
    /// The controller of each pod that was read.
    pods: HashMap<(String, String), Option<String>>,
    /// Objects that lockgate made for itself.
    own: BTreeSet<(String, String)>,
    spent: Spent,
    /// When the last writes left, for the limit per minute.
    writes: VecDeque<Timestamp>,
    /// What the newest plan on this cluster asked for.
    planned: Option<Planned>,
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Permit({:?})", self.state().bound.as_ref().map(|(_, by)| *by))
    }
}

/// Why a request may not be sent.
enum Refusal {
    /// No line grants it: the line that would.
    Missing(Box<Grant>, Option<String>),
    /// A line takes it away.
    Denied(String),
    /// A limit is reached.
    Limit(String),
}

/// What lacks a grant.
#[derive(Debug)]
pub(super) struct Lacking {
    /// What is said about it.
    pub error: Error,
    /// The line that would grant it, where a person can and was not asked yet.
    pub line: Option<Line>,
}

/// What is made only to ask something, or to leave word: outside of permissions.
const FREE: [(&str, &str); 7] = [
    ("authorization.k8s.io", "selfsubjectaccessreviews"),
    ("authorization.k8s.io", "selfsubjectrulesreviews"),
    ("authorization.k8s.io", "subjectaccessreviews"),
    ("authorization.k8s.io", "localsubjectaccessreviews"),
    ("authentication.k8s.io", "selfsubjectreviews"),
    ("", "events"),
    ("events.k8s.io", "events"),
];

/// The beginning of the names of helm's release records.
const RELEASES: &str = "sh.helm.release.v1.";

impl Permit {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on it writes down what is asked.
    pub(super) fn trace(&self) {
        self.state().traces = true;
    }

    /// Whether anybody wants to know what is sent; the body of a request is looked at only then.
    pub(super) fn is_watching(&self) -> bool {
        let state = self.state();
        state.traces || state.bound.is_some()
    }

    /// Whether it matters whose a pod is.
    pub(super) fn wants_owners(&self) -> bool {
        let state = self.state();
        let by_owner = |permissions: &Permissions| permissions.grants.iter().any(|grant| !grant.owners.is_empty());
        state.traces || state.bound.as_ref().is_some_and(|(permissions, by)| *by == GrantedBy::Plan || by_owner(permissions))
    }

    /// Whether a request is outside of permissions: it reads, asks or leaves word. The run's own lock is kept by another way than this
    /// ([`crate::cluster::lease`]): a Lease that comes here is the runbook's.
    pub(super) fn is_free(act: &Act) -> bool {
        !act.verb.is_write() || act.verb == Verb::Create && FREE.contains(&(act.group.as_str(), act.resource.as_str()))
    }

    /// Judges a request that is about to be sent, and counts it.
    ///
    /// # Errors
    /// `refused`, with the line that would grant it.
    pub(super) fn admit(&self, wanted: &Wanted) -> Result<()> {
        let mut state = self.state();
        if state.is_own(&wanted.act) {
            return Ok(());
        }
        let owner = state.owner(&wanted.act);
        if state.traces {
            state.trace.insert(Traced::of(wanted, owner.as_deref()));
        }
        state.judge(wanted, owner.as_deref()).map_err(|refusal| state.error(wanted, refusal))?;
        state.count(wanted);
        Ok(())
    }

    /// Judges a request without counting it. An error that a person can lift has the line that would.
    pub(super) fn look(&self, wanted: &Wanted) -> Result<(), Lacking> {
        let state = self.state();
        if state.is_own(&wanted.act) {
            return Ok(());
        }
        state.judge(wanted, state.owner(&wanted.act).as_deref()).map_err(|refusal| {
            let line = match &refusal {
                Refusal::Missing(line, _) => Some(Line::Request(line.clone())),
                _ => None,
            };
            state.lacking(state.error(wanted, refusal), line)
        })
    }

    /// Notes what the operator answered about a line; it is not asked about again.
    pub(super) fn answered(&self, line: Line, yes: bool) {
        let mut state = self.state();
        if !yes {
            state.refused.insert(line.text());
        } else if !state.has(&line) {
            match line {
                Line::Request(grant) => state.granted.grants.push(*grant),
                Line::Command { machine } => state.granted.machine.push(machine),
                Line::Chart { chart } => state.granted.charts.push(chart),
            }
        }
    }

    /// What the operator answered about a line, where they were asked.
    pub(super) fn answer(&self, line: &Line) -> Option<bool> {
        let state = self.state();
        if state.has(line) { Some(true) } else { state.refused.contains(&line.text()).then_some(false) }
    }

    /// Whether a pod's controller is not known yet.
    pub(super) fn is_unknown(&self, act: &Act) -> bool {
        let pod = act.group.is_empty() && act.resource == "pods";
        let (Some(namespace), Some(name), true) = (&act.namespace, &act.name, pod) else { return false };
        !self.state().pods.contains_key(&(namespace.clone(), name.clone()))
    }

    /// With `true`, what no line grants may be done too, until `false`; what a line takes away, and limits, stand.
    pub(super) fn lift(&self, lifted: bool) {
        self.state().lifted = lifted;
    }

    /// Restricts it from now on.
    pub(super) fn restrict(&self, permissions: Permissions, by: GrantedBy) {
        let mut state = self.state();
        state.bound = Some((permissions, by));
        state.granted = Permissions::default();
        state.refused.clear();
    }

    /// Notes the controllers of pods that were read.
    pub(super) fn learn<'a>(&self, pods: impl IntoIterator<Item = &'a Json>) {
        let mut state = self.state();
        for pod in pods {
            let meta = |field: &str| pod.pointer(field).and_then(Json::as_str).unwrap_or_default().to_owned();
            drop(state.pods.insert((meta("/metadata/namespace"), meta("/metadata/name")), planned::controller(pod)));
        }
    }

    /// Notes what is waited for.
    pub(super) fn follow(&self, group: &str, plural: &str, namespace: Option<&str>) {
        let mut state = self.state();
        if state.traces {
            state.followed.insert((group.to_owned(), plural.to_owned(), namespace.map(str::to_owned)));
        }
    }

    /// An object that lockgate makes for itself; with `false` it is gone again.
    pub(super) fn own(&self, namespace: &str, name: &str, is: bool) {
        let place = (namespace.to_owned(), name.to_owned());
        let mut state = self.state();
        if is {
            state.own.insert(place)
        } else {
            state.own.remove(&place)
        };
    }

    /// Judges a command on a node without counting it.
    pub(super) fn look_command(&self, node: &str, words: &[String]) -> Result<(), Lacking> {
        let state = self.state();
        let Some((permissions, by)) = &state.bound else { return Ok(()) };
        let mut grants = permissions.machine.iter().chain(&state.granted.machine);
        if state.lifted || grants.any(|grant| grant.allows(node, words)) {
            return Ok(());
        }
        let machine = MachineGrant::granting(words);
        let power = power::of_command(&machine);
        let error = refused(format!("`{}` on `{node}`: {}", words.join(" "), by.lacks())).about(format!("node/{node}"));
        Err(state.lacking(error.cause(format!("to grant it is to grant {power}")), Some(Line::Command { machine })))
    }

    /// Whether this command may run on this node; counts the node.
    pub(super) fn command(&self, node: &str, words: &[String]) -> Result<()> {
        if self.state().traces {
            self.state().commands.insert((node.to_owned(), words.to_vec()));
        }
        self.look_command(node, words).map_err(|lacking| lacking.error)?;
        self.state().node(node).map_err(|why| refused(format!("`{}` on `{node}`: {why}", words.join(" "))))
    }

    /// Whether this chart may be installed; it counts as asked for.
    pub(super) fn look_chart(&self, chart: &str) -> Result<(), Lacking> {
        let mut state = self.state();
        if state.traces {
            state.charts.insert(chart.to_owned());
        }
        let Some((permissions, by)) = &state.bound else { return Ok(()) };
        let granted = !permissions.charts.is_empty() && fits(&permissions.charts, Some(chart));
        if state.lifted || granted || state.granted.charts.iter().any(|known| known == chart) {
            return Ok(());
        }
        let error = refused(format!("chart `{chart}`: {}", by.lacks())).cause(format!("to grant it is to grant {}", power::OF_CHARTS));
        Err(state.lacking(error, Some(Line::Chart { chart: chart.to_owned() })))
    }

    /// When the next write may leave.
    pub(super) fn next_write(&self, now: Timestamp) -> Option<Timestamp> {
        const MINUTE: Duration = Duration::from_secs(60);
        let mut state = self.state();
        let most = state.bound.as_ref().and_then(|(permissions, _)| permissions.limits.writes_per_minute)?;
        while state.writes.front().is_some_and(|first| first.checked_add(MINUTE).is_ok_and(|end| end <= now)) {
            state.writes.pop_front();
        }
        if (state.writes.len() as u64) < most.max(1) {
            state.writes.push_back(now);
            return None;
        }
        state.writes.front().and_then(|first| first.checked_add(MINUTE).ok())
    }

    /// What was asked for so far.
    pub(super) fn asked(&self) -> Planned {
        let state = self.state();
        Planned {
            traced: state.trace.clone(),
            commands: state.commands.clone(),
            charts: state.charts.clone(),
            followed: state.followed.clone(),
            open: false,
            requests: Vec::new(),
        }
    }

    /// Keeps what the newest plan asked for.
    pub(super) fn keep_planned(&self, planned: Planned) {
        self.state().planned = Some(planned);
    }

    /// What the newest plan asked for.
    pub(super) fn planned(&self) -> Option<Planned> {
        self.state().planned.clone()
    }

    pub(super) fn spent(&self) -> Spent {
        let state = self.state();
        Spent { writes: state.writes.iter().copied().collect(), ..state.spent.clone() }
    }

    pub(super) fn set_spent(&self, spent: Spent) {
        let mut state = self.state();
        state.writes = spent.writes.iter().copied().collect();
        state.spent = spent;
    }
}

impl State {
    /// Whether the operator granted this line.
    fn has(&self, line: &Line) -> bool {
        match line {
            Line::Request(grant) => self.granted.grants.contains(grant),
            Line::Command { machine } => self.granted.machine.contains(machine),
            Line::Chart { chart } => self.granted.charts.contains(chart),
        }
    }

    /// An error about this line, which says what would grant it; nobody is asked twice.
    fn lacking(&self, error: Error, line: Option<Line>) -> Lacking {
        let error = match &line {
            Some(line) => error.hint(format!("add to `permissions`: `{}`", line.text())),
            None => error,
        };
        Lacking { error, line: line.filter(|line| !self.refused.contains(&line.text())) }
    }

    fn is_own(&self, act: &Act) -> bool {
        let (Some(namespace), Some(name)) = (&act.namespace, &act.name) else { return false };
        act.group.is_empty() && act.resource == "pods" && self.own.contains(&(namespace.clone(), name.clone()))
    }

    /// The controller of the pod that this is about, as far as the pod was read.
    fn owner(&self, act: &Act) -> Option<String> {
        if !act.group.is_empty() || act.resource != "pods" {
            return None;
        }
        let place = (act.namespace.clone()?, act.name.clone()?);
        self.pods.get(&place)?.clone()
    }

    fn judge(&self, wanted: &Wanted, owner: Option<&str>) -> Result<(), Refusal> {
        let Some((permissions, _)) = &self.bound else { return Ok(()) };
        let mut almost = None;
        let charts = !(permissions.charts.is_empty() && self.granted.charts.is_empty());
        let mut allowed = self.lifted || charts && is_release(&wanted.act);
        for grant in permissions.grants.iter().chain(&self.granted.grants) {
            match grant.says(wanted, owner) {
                Says::Nothing => {}
                Says::Denies(why) => return Err(Refusal::Denied(why)),
                Says::Almost(why) => almost = Some(why),
                Says::Allows => allowed = true,
            }
        }
        if !allowed {
            return Err(Refusal::Missing(Box::new(planned::line(wanted, owner, almost.is_some())), almost));
        }
        self.within(wanted, &permissions.limits)
    }

    /// Whether the limits leave room for it.
    fn within(&self, wanted: &Wanted, limits: &Caps) -> Result<(), Refusal> {
        if wanted.dry_run {
            return Ok(());
        }
        if let (Some(node), Some(most)) = (touched(wanted), limits.nodes)
            && !self.spent.nodes.contains(&node)
            && self.spent.nodes.len() as u64 >= most
        {
            return Err(Refusal::Limit(over_nodes(most, &self.spent)));
        }
        if let (Some(pod), Some(most)) = (removed(wanted), limits.evictions)
            && !self.spent.pods.contains(&pod)
            && self.spent.pods.len() as u64 >= most
        {
            return Err(Refusal::Limit(format!("`limits.evictions` of `permissions` is {most}, and so many pods were taken away")));
        }
        Ok(())
    }

    fn count(&mut self, wanted: &Wanted) {
        if wanted.dry_run {
            return;
        }
        let node = touched(wanted);
        self.spent.nodes.extend(node);
        self.spent.pods.extend(removed(wanted));
    }

    fn node(&mut self, node: &str) -> Result<(), String> {
        let most = self.bound.as_ref().and_then(|(permissions, _)| permissions.limits.nodes);
        if let Some(most) = most
            && !self.spent.nodes.contains(node)
            && self.spent.nodes.len() as u64 >= most
        {
            return Err(over_nodes(most, &self.spent));
        }
        self.spent.nodes.insert(node.to_owned());
        Ok(())
    }

    fn error(&self, wanted: &Wanted, refusal: Refusal) -> Error {
        let act = &wanted.act;
        let by = self.bound.as_ref().map_or(GrantedBy::Nobody, |(_, by)| *by);
        let object = act.name.as_ref().map(|name| match &act.namespace {
            Some(namespace) => format!("{}/{namespace}/{name}", act.resource),
            None => format!("{}/{name}", act.resource),
        });
        let error = match refusal {
            Refusal::Denied(why) => refused(format!("`{act}`: `permissions` deny it")).cause(why).details(json!({ "denied": true })),
            Refusal::Limit(why) => refused(format!("`{act}`: a limit is reached")).cause(why).details(json!({ "limit": true })),
            Refusal::Missing(line, almost) => {
                let error = refused(format!("`{act}`: {}", by.lacks()));
                let error = almost.into_iter().fold(error, Error::cause);
                let error = match power::of(wanted) {
                    Some(power) => error.cause(format!("to grant it is to grant {power}")),
                    None => error,
                };
                let grant = serde_json::to_value(&*line).map(|text| text.to_string()).unwrap_or_default();
                error.hint(format!("add to `permissions`: `{}`", line.line())).details(json!({ "grant": grant }))
            }
        };
        match object {
            Some(object) => error.about(object),
            None => error,
        }
    }
}

impl GrantedBy {
    /// What is said where a grant is missing.
    fn lacks(self) -> &'static str {
        match self {
            GrantedBy::Block => "the runbook's `permissions` do not grant it",
            GrantedBy::Plan => "the accepted plan did not show it",
            GrantedBy::Nobody => "nothing grants it: there is no accepted plan, and the runbook has no `permissions`",
        }
    }
}

fn refused(message: String) -> Error {
    Error::new(Kind::Refused, Reason::Refused, message)
}

fn over_nodes(most: u64, spent: &Spent) -> String {
    let nodes = spent.nodes.iter().map(|node| format!("`{node}`")).collect::<Vec<_>>().join(", ");
    format!("`limits.nodes` of `permissions` is {most}, and so many were touched: {nodes}")
}

/// The node that this cordons: a drain begins so.
fn touched(wanted: &Wanted) -> Option<String> {
    wanted.act.name.clone().filter(|_| wanted.cordons)
}

/// The pod that this takes away, by its uid where the request names it.
fn removed(wanted: &Wanted) -> Option<String> {
    let act = &wanted.act;
    let is_pod = act.group.is_empty() && act.resource == "pods";
    let takes = match act.subresource.as_deref() {
        Some("eviction") => act.verb == Verb::Create,
        None => matches!(act.verb, Verb::Delete | Verb::DeleteCollection),
        Some(_) => false,
    };
    let place = || format!("{}/{}", act.namespace.as_deref().unwrap_or_default(), act.name.as_deref().unwrap_or("*"));
    (is_pod && takes).then(|| wanted.uid.clone().unwrap_or_else(place))
}

/// Whether it is one of helm's own records of a release.
fn is_release(act: &Act) -> bool {
    act.group.is_empty()
        && act.resource == "secrets"
        && act.subresource.is_none()
        && act.name.as_deref().is_some_and(|name| name.starts_with(RELEASES))
}

#[cfg(test)]
mod tests;
