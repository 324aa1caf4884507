//! What a plan asked for, and the permissions that follow from it.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::grant::{Grant, KindName, MachineGrant, Permissions};
use super::wanted::Wanted;
use crate::base::json::Value as Json;
use crate::cluster::layers::Recorded;
use crate::cluster::request::Verb;

/// One write, as far as it is the same in a run.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Traced {
    verb: Verb,
    kind: KindName,
    namespace: Option<String>,
    name: Option<String>,
    /// What the made-up name begins with.
    generated: Option<String>,
    /// The controller of the pod.
    owner: Option<String>,
}

impl Traced {
    pub(super) fn of(wanted: &Wanted, owner: Option<&str>) -> Traced {
        let Wanted { act, generated, .. } = wanted;
        Traced {
            verb: act.verb,
            kind: KindName::of(act),
            namespace: act.namespace.clone(),
            // One pod of a controller is as good as another.
            name: act.name.clone().filter(|_| owner.is_none()),
            generated: generated.clone(),
            owner: owner.map(str::to_owned),
        }
    }
}

/// Everything that a plan asked for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Planned {
    pub(super) traced: BTreeSet<Traced>,
    pub(super) commands: BTreeSet<(String, Vec<String>)>,
    pub(super) charts: BTreeSet<String>,
    /// Kinds that somebody waited for, by group, plural and namespace: whether a watch is needed is a matter of time.
    #[serde(default)]
    pub followed: BTreeSet<(String, String, Option<String>)>,
    /// Whether it ended where nobody knows how it goes on: the run may do more.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub open: bool,
    /// Every request, those that copied the cluster included.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub requests: Vec<Recorded>,
}

impl Planned {
    /// What accepting the plan grants: the verbs and objects that it showed, pods by their controller, nothing else.
    #[must_use]
    pub fn permissions(&self) -> Permissions {
        // Verbs of the same object make one line.
        let mut lines: BTreeMap<(KindName, Option<String>, Which), BTreeSet<Verb>> = BTreeMap::new();
        for traced in &self.traced {
            let key = (traced.kind.clone(), traced.namespace.clone(), self.which(traced));
            lines.entry(key).or_default().insert(traced.verb);
        }
        let grants = lines.into_iter().map(|((kind, namespace, which), verbs)| {
            let grant = Grant {
                verbs: verbs.into_iter().collect(),
                kinds: vec![kind],
                namespaces: namespace.into_iter().collect(),
                exact: true,
                ..Grant::default()
            };
            match which {
                Which::All => grant,
                Which::Name(name) => Grant { names: vec![name], ..grant },
                Which::MadeUp(start) => Grant { names: vec![format!("{start}?????")], exact: false, ..grant },
                Which::Owner(owner) => Grant { owners: vec![owner], ..grant },
            }
        });
        let commands = self.commands.iter();
        Permissions {
            grants: grants.collect(),
            charts: self.charts.iter().cloned().collect(),
            machine: commands.map(|(node, argv)| MachineGrant { argv: argv.clone(), nodes: vec![node.clone()], whole: true }).collect(),
            ..Permissions::default()
        }
    }

    /// What both asked for: two plans of the same runbook, of which each knows what the other does not.
    #[must_use]
    pub fn and(mut self, other: Planned) -> Planned {
        self.traced.extend(other.traced);
        self.commands.extend(other.commands);
        self.charts.extend(other.charts);
        self.followed.extend(other.followed);
        self.requests.extend(other.requests);
        self.open |= other.open;
        self
    }

    /// Whether anything was written, in the API or beside it.
    #[must_use]
    pub fn writes(&self) -> bool {
        !(self.traced.is_empty() && self.commands.is_empty())
    }

    /// Whether a program was started, or one that runs was changed.
    #[must_use]
    pub fn changes_programs(&self) -> bool {
        const PROGRAMS: [&str; 7] = ["pods", "deployments", "daemonsets", "statefulsets", "replicasets", "jobs", "cronjobs"];
        self.traced.iter().any(|traced| {
            let KindName::One { plural, .. } = &traced.kind else { return false };
            matches!(traced.verb, Verb::Create | Verb::Patch | Verb::Update) && PROGRAMS.contains(&plural.as_str())
        })
    }

    /// Whether an object of this kind (`pods`, `jobs.batch`) was created with a made-up name, and this is one.
    #[must_use]
    pub fn is_made_up(&self, resource: &str, name: &str) -> bool {
        self.traced.iter().any(|made| {
            let KindName::One { group, plural, .. } = &made.kind else { return false };
            let kind = if group.is_empty() { plural.clone() } else { format!("{plural}.{group}") };
            kind == resource && made.generated.as_ref().is_some_and(|start| name.starts_with(start.as_str()))
        })
    }

    fn which(&self, traced: &Traced) -> Which {
        let Traced { name, owner, .. } = traced;
        if let Some(owner) = owner {
            return Which::Owner(owner.clone());
        }
        let Some(name) = name else { return Which::All };
        // Later requests about what was created with a made-up name say that name.
        let made = self.traced.iter().filter(|made| made.namespace == traced.namespace && same_kind(&made.kind, &traced.kind));
        let start = made
            .filter_map(|made| made.generated.as_ref())
            .find(|start| !start.contains(['*', '?', '!']) && name.strip_prefix(start.as_str()).is_some_and(|rest| rest.len() == 5));
        start.map_or_else(|| Which::Name(name.clone()), |start| Which::MadeUp(start.clone()))
    }
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Which {
    /// The whole collection.
    All,
    Name(String),
    MadeUp(String),
    Owner(String),
}

fn same_kind(one: &KindName, other: &KindName) -> bool {
    match (one, other) {
        (KindName::One { group, plural, .. }, KindName::One { group: other_group, plural: other_plural, .. }) => {
            group == other_group && plural == other_plural
        }
        _ => false,
    }
}

/// The line that would grant a request: its object, or all pods of its controller.
pub(super) fn line(wanted: &Wanted, owner: Option<&str>, bounded: bool) -> Grant {
    let Wanted { act, images, replicas, generated, .. } = wanted;
    let among = owner.and_then(|owner| owner.split_once('/')).map(|(_, name)| format!("{name}-*"));
    let name = among.or_else(|| generated.as_ref().map(|start| format!("{start}*"))).or_else(|| act.name.clone());
    let (least, most) = (replicas.iter().min(), replicas.iter().max());
    Grant {
        verbs: vec![act.verb],
        kinds: vec![KindName::of(act)],
        namespaces: act.namespace.iter().cloned().collect(),
        names: name.into_iter().collect(),
        images: if bounded { images.clone() } else { Vec::new() },
        replicas: least.copied().zip(most.copied()).filter(|_| bounded),
        ..Grant::default()
    }
}

/// The controller of a pod, `deployment/web`; of a pod of a ReplicaSet the Deployment that its name says.
pub(super) fn controller(pod: &Json) -> Option<String> {
    let owners = pod.pointer("/metadata/ownerReferences").and_then(Json::as_array)?;
    let owner = owners.iter().find(|owner| owner.get("controller").and_then(Json::as_bool) == Some(true))?;
    let text = |field: &str| owner.get(field).and_then(Json::as_str).unwrap_or_default();
    let hash = pod.pointer("/metadata/labels").and_then(|labels| labels.get("pod-template-hash")).and_then(Json::as_str);
    let of_deployment = hash.filter(|_| text("kind") == "ReplicaSet").and_then(|hash| text("name").strip_suffix(hash)?.strip_suffix('-'));
    Some(match of_deployment {
        Some(deployment) => format!("deployment/{deployment}"),
        None => format!("{}/{}", text("kind").to_lowercase(), text("name")),
    })
}
