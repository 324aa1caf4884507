//! Which nodes and workloads are down when, in the virtual time of a plan: what its pictures are drawn from.

use std::collections::{BTreeMap, BTreeSet};

use lockgate_sim::kinds::{self, Kind};
use lockgate_sim::store::{Change, Key};
use serde::Serialize;

use super::client::Cluster;
use crate::base::json::Value as Json;
use crate::base::{Span, Timestamp};

/// How something is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum Down {
    /// A node takes no new pods.
    Cordoned,
    /// A node is not ready.
    NotReady,
    /// A workload has fewer ready pods than it is to have, of `of` pods `ready`.
    Short {
        /// Ready pods.
        ready: i64,
        /// Pods that it is to have.
        of: i64,
    },
}

impl Down {
    /// In words.
    #[must_use]
    pub fn told(&self) -> String {
        match self {
            Down::Cordoned => "cordoned".to_owned(),
            Down::NotReady => "not ready".to_owned(),
            Down::Short { of: 0, .. } => "scaled to 0".to_owned(),
            Down::Short { ready, of } => format!("{ready} of {of} ready"),
        }
    }

    /// Whether nothing of it works.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        matches!(self, Down::NotReady | Down::Short { ready: 0, .. })
    }
}

/// A time in which something was down.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Outage {
    /// Since when, after the beginning of the plan.
    pub from: Span,
    /// Until when; none where it was so at the end of the plan.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<Span>,
    /// How.
    #[serde(flatten)]
    pub how: Down,
}

/// One node or workload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Line {
    /// `node/w1`, `deployment/shop/web`.
    pub object: String,
    /// When it was down, in order.
    pub outages: Vec<Outage>,
}

/// Looks at a plan's copy while the plan is made.
#[derive(Debug)]
pub struct Downtime {
    began: Timestamp,
    /// The last moment that is known of.
    now: Timestamp,
    /// The last change that was looked at.
    seen: u64,
    open: BTreeMap<String, (Timestamp, Down)>,
    lines: BTreeMap<String, Vec<Outage>>,
    /// What was made in the plan and was never whole yet.
    fresh: BTreeSet<String>,
    /// The names that were made up in it, also those of what is gone since; those of ReplicaSets by themselves.
    names: MadeUp,
    sets: MadeUp,
}

/// Kinds whose pods are counted, with the fields of their status that say how many are ready and how many there are to be.
const WORKLOADS: [(&Kind, &str, &str); 3] = [
    (kinds::DEPLOYMENT, "readyReplicas", "/spec/replicas"),
    (kinds::STATEFUL_SET, "readyReplicas", "/spec/replicas"),
    (kinds::DAEMON_SET, "numberReady", "/status/desiredNumberScheduled"),
];

impl Downtime {
    /// From now on, on this copy. `None` where the cluster is none of a plan.
    #[must_use]
    pub fn of(twin: &Cluster) -> Option<Downtime> {
        let simulation = twin.simulation()?;
        let (seen, began) = (simulation.with(|sim| sim.store().rv()), simulation.now());
        let (open, lines, fresh) = (BTreeMap::new(), BTreeMap::new(), BTreeSet::new());
        Some(Downtime { began, now: began, seen, open, lines, fresh, names: MadeUp::new(), sets: MadeUp::new() })
    }

    /// Looks at what changed since the last time.
    pub fn look(&mut self, twin: &Cluster) {
        let Some(simulation) = twin.simulation() else { return };
        let now = simulation.now();
        let (seen, changes): (u64, Vec<Change>) = simulation.with(|sim| {
            let changes = sim.store().changes_after(self.seen);
            (sim.store().rv(), changes.map(|changes| changes.filter(|change| is_seen(&change.key)).cloned().collect()).unwrap_or_default())
        });
        self.seen = seen;
        for change in &changes {
            // Changes carry no time; what they changed does, and they come in their order.
            let moments = change.after.iter().flat_map(|object| moments(object));
            self.now = moments.filter(|at| *at <= now).fold(self.now, Timestamp::max);
            self.changed(change);
        }
        self.now = now;
    }

    fn changed(&mut self, change: &Change) {
        if let (None, Some(made)) = (&change.before, &change.after) {
            self.names.extend(names_of(&change.key, made));
            self.sets.extend(set_since(&change.key, made, self.began));
        }
        if !is_watched(&change.key) {
            return;
        }
        let name = name(&change.key);
        let of = |object: &Option<_>| object.as_deref().and_then(|object| state(&change.key, object));
        let (was, is) = (of(&change.before), of(&change.after));
        if change.before.is_none() {
            self.fresh.insert(name.clone());
        }
        if self.fresh.contains(&name) {
            if is.is_some() && change.after.is_some() {
                return;
            }
            self.fresh.remove(&name);
        }
        if let Some(was) = was.filter(|_| !self.open.contains_key(&name) && !self.lines.contains_key(&name)) {
            self.open.insert(name.clone(), (self.began, was));
        }
        if self.open.get(&name).map(|(_, how)| how) == is.as_ref() {
            return;
        }
        if let Some((from, how)) = self.open.remove(&name) {
            let (from, to) = (Span::between(self.began, from), Span::between(self.began, self.now));
            if from != to {
                self.lines.entry(name.clone()).or_default().push(Outage { from, to: Some(to), how });
            }
        }
        if let Some(how) = is {
            self.open.insert(name, (self.now, how));
        }
    }

    /// The names that were made up while it was looked at.
    #[must_use]
    pub fn names(&self) -> MadeUp {
        let mut names = self.names.clone();
        names.extend(self.sets.clone());
        names
    }

    /// What was down and when, nodes first.
    #[must_use]
    pub fn lines(&self) -> Vec<Line> {
        let mut lines = self.lines.clone();
        for (name, (from, how)) in &self.open {
            let outage = Outage { from: Span::between(self.began, *from), to: None, how: how.clone() };
            lines.entry(name.clone()).or_default().push(outage);
        }
        let (nodes, workloads): (Vec<Line>, Vec<Line>) =
            lines.into_iter().map(|(object, outages)| Line { object, outages }).partition(|line| line.object.starts_with("node/"));
        nodes.into_iter().chain(workloads).collect()
    }
}

fn is_watched(key: &Key) -> bool {
    key.kind.is(kinds::NODE) || WORKLOADS.iter().any(|(kind, ..)| key.kind.is(kind))
}

/// Whether changes of it tell of downtime, of moments or of made-up names.
fn is_seen(key: &Key) -> bool {
    is_watched(key) || NAMED.iter().any(|kind| key.kind.is(kind))
}

fn name(key: &Key) -> String {
    let kind = key.kind.kind.to_lowercase();
    if key.namespace.is_empty() { format!("{kind}/{}", key.name) } else { format!("{kind}/{}/{}", key.namespace, key.name) }
}

/// How an object is down; `None` when it is as it should be.
fn state(key: &Key, object: &Json) -> Option<Down> {
    if key.kind.is(kinds::NODE) {
        let conditions = object.pointer("/status/conditions").and_then(Json::as_array);
        let ready = conditions.into_iter().flatten().find(|condition| condition["type"] == "Ready");
        return match ready {
            Some(ready) if ready["status"] != "True" => Some(Down::NotReady),
            _ if object.pointer("/spec/unschedulable").and_then(Json::as_bool) == Some(true) => Some(Down::Cordoned),
            _ => None,
        };
    }
    let (_, ready, desired) = WORKLOADS.iter().find(|(kind, ..)| key.kind.is(kind))?;
    let ready = object.pointer("/status").and_then(|status| status.get(*ready)).and_then(Json::as_i64).unwrap_or(0);
    let of = object.pointer(desired).and_then(Json::as_i64)?;
    let scaled_down = of == 0 && key.kind.has_subresource("scale");
    (ready < of || scaled_down).then_some(Down::Short { ready, of })
}

/// When what an object says of itself last changed.
fn moments(object: &Json) -> Vec<Timestamp> {
    let conditions = object.pointer("/status/conditions").and_then(Json::as_array).into_iter().flatten();
    let times = conditions.map(|condition| &condition["lastTransitionTime"]);
    let own = ["/metadata/creationTimestamp", "/status/startTime"].into_iter().filter_map(|path| object.pointer(path));
    times.chain(own).filter_map(Json::as_str).filter_map(|text| text.parse().ok()).collect()
}

/// Names that controllers, or runs, make up, and what stands for each: of a key that ends with a dash every name that begins with it and
/// has five characters more; every other key is a whole name.
pub type MadeUp = BTreeMap<String, String>;

impl Cluster {
    /// The names that are made up here, by what they begin with.
    #[must_use]
    pub fn made_up(&self, began: Timestamp) -> MadeUp {
        let mut names = MadeUp::new();
        let Some(simulation) = self.simulation() else { return names };
        simulation.with(|sim| {
            let all = NAMED.into_iter().flat_map(|kind| sim.store().list(kind, None));
            names.extend(all.flat_map(|(key, object)| names_of(key, object)));
        });
        // The hash in the name of a new set may be another one in the run: it is left out too.
        names.extend(self.sets_since(began, |_| true));
        names
    }

    /// Those that are others whenever the plan is made, which began then: the names of its ReplicaSets have a hash in them of all that it
    /// wrote, and that may be a moment.
    #[must_use]
    pub fn moving(&self, began: Timestamp) -> MadeUp {
        let is_moment = |value: &Json| {
            value.as_str().and_then(|text| text.parse::<Timestamp>().ok()).is_some_and(|at| at.as_second() >= began.as_second())
        };
        self.sets_since(began, |set| {
            let annotations = set.pointer("/spec/template/metadata/annotations").and_then(Json::as_object);
            annotations.is_some_and(|annotations| annotations.values().any(is_moment))
        })
    }

    /// ReplicaSets that were made since then, and how the names of their pods begin.
    fn sets_since(&self, began: Timestamp, counts: impl Fn(&Json) -> bool) -> MadeUp {
        let mut names = MadeUp::new();
        let Some(simulation) = self.simulation() else { return names };
        simulation.with(|sim| {
            let sets = sim.store().list(kinds::REPLICA_SET, None).filter(|(_, set)| counts(set));
            names.extend(sets.flat_map(|(key, set)| set_since(key, set, began)));
        });
        names
    }
}

/// Kinds whose names are made up, or those of whose pods are.
const NAMED: [&Kind; 4] = [kinds::POD, kinds::JOB, kinds::REPLICA_SET, kinds::DAEMON_SET];

/// The made-up names that an object of [`NAMED`] brings, by what they begin with.
fn names_of(key: &Key, object: &Json) -> Vec<(String, String)> {
    let generated = object.pointer("/metadata/generateName").and_then(Json::as_str).map(str::to_owned);
    let of_pods = (!key.kind.is(kinds::POD) && NAMED.iter().any(|kind| key.kind.is(kind))).then(|| format!("{}-", key.name));
    let stands = |beginning: String| {
        let stands = format!("{beginning}…");
        (beginning, stands)
    };
    generated.into_iter().chain(of_pods).map(stands).collect()
}

/// The name of a ReplicaSet that was made since then, and how those of its pods begin.
fn set_since(key: &Key, set: &Json, began: Timestamp) -> Vec<(String, String)> {
    let created = set.pointer("/metadata/creationTimestamp").and_then(Json::as_str).and_then(|text| text.parse::<Timestamp>().ok());
    let hash = set.pointer("/metadata/labels").and_then(|labels| labels.get("pod-template-hash")).and_then(Json::as_str);
    let is_fresh = key.kind.is(kinds::REPLICA_SET) && created.is_some_and(|at| at.as_second() >= began.as_second());
    let deployment = hash.filter(|_| is_fresh).and_then(|hash| key.name.strip_suffix(hash));
    let names = deployment.map(|deployment| [key.name.to_string(), format!("{}-", key.name)].map(|name| (name, format!("{deployment}…"))));
    names.into_iter().flatten().collect()
}
