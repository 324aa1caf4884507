//! What holds at every moment of every run, whatever fails and whoever is killed: I1 to I14 of the design's reference, as data. Some are
//! looked at after every event of the simulated cluster, some at the end of a process; those that nothing here can break say why.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use lockgate_sim::json::Value as Json;
use lockgate_sim::ledger::Effect;
use lockgate_sim::store::Change;

use super::deeds::full_name;
use super::trace::{Trace, View, images};
use crate::base::{Span, Timestamp};
use crate::cluster::fence::OPEN_FOR;
use crate::cluster::keep::{Intent, Outcome, Prior, Sign};
use crate::run::event::Event;
use crate::run::journal::{Entry, Fact};

/// One of them.
struct Invariant {
    id: &'static str,
    says: &'static str,
    look: Look,
}

/// When it is looked at.
enum Look {
    /// After every event.
    Event(fn(&Moment<'_>) -> Option<String>),
    /// When a process has ended.
    Process(fn(&Trace<'_>) -> Option<String>),
    /// Both.
    Both(fn(&Moment<'_>) -> Option<String>, fn(&Trace<'_>) -> Option<String>),
    /// When a process was killed; its world is asked: see `kill::die`.
    Death,
    /// Not here.
    Elsewhere,
}

/// An event, and what there is after it.
struct Moment<'a> {
    trace: &'a Trace<'a>,
    view: &'a View,
    change: &'a Change,
    /// Set when a client asked for it.
    effect: Option<&'a Effect>,
}

const INVARIANTS: [Invariant; 14] = [
    Invariant {
        id: "I1",
        says: "at most one control-plane node is cordoned by us, and none while another is not ready",
        look: Look::Event(one_master),
    },
    Invariant { id: "I2", says: "etcd keeps its quorum: most nodes of the control plane are well", look: Look::Event(quorum) },
    Invariant {
        id: "I3",
        says: "no eviction without room in the budget, no deletion of a pod that a budget covers",
        look: Look::Event(budgets),
    },
    Invariant { id: "I4", says: "no more workers are out of service than the runbook allows", look: Look::Event(workers) },
    Invariant { id: "I5", says: "every effect has an intent that was on the disk before it", look: Look::Process(intended) },
    Invariant { id: "I6", says: "nothing leaves a process that is dead", look: Look::Death },
    Invariant {
        id: "I7",
        says: "no kubelet is newer than an API server that it asks, or much older, none skips a minor version, and the control plane goes first",
        look: Look::Both(skew, first_of_all),
    },
    Invariant { id: "I8", says: "only what we cordoned is uncordoned", look: Look::Event(uncordons) },
    Invariant {
        id: "I9",
        says: "no machine boots twice or is upgraded twice, and no revision of a release is made twice or left out",
        look: Look::Process(once),
    },
    Invariant { id: "I10", says: "only pods of workloads that the run wrote get a new image", look: Look::Event(new_images) },
    Invariant { id: "I11", says: "what is written is the object that was looked at", look: Look::Process(the_same) },
    Invariant { id: "I12", says: "whoever writes holds the lock, renewed a short while ago", look: Look::Event(holds_the_lock) },
    Invariant { id: "I13", says: "what is half-done is named", look: Look::Process(named) },
    // No pod of its own is in these clusters; a drain of its node is refused: `primitives::drain::nodes::the_node_of_our_own_pod_is_left_alone`.
    Invariant { id: "I14", says: "the node of our own pod is drained last", look: Look::Elsewhere },
];

/// How many of the invariants of a run are looked at when it is killed.
#[must_use]
pub fn looked_at() -> usize {
    INVARIANTS.iter().filter(|invariant| !matches!(invariant.look, Look::Elsewhere)).count()
}

/// An invariant that did not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// Which: `I3`.
    pub id: &'static str,
    /// What it says.
    pub says: &'static str,
    /// How it was broken.
    pub how: String,
}

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({}): {}", self.id, self.says, self.how)
    }
}

/// Looks at everything; gives what is broken, and how many events there were.
#[must_use]
pub fn broken(trace: &Trace<'_>) -> (Vec<Broken>, usize) {
    let mut found = Vec::new();
    let mut view = View::before(trace.of.before);
    let effects: BTreeMap<usize, &Effect> =
        trace.change_of.iter().zip(&trace.ledger).filter_map(|(of, effect)| Some(((*of)?, effect))).collect();
    for (place, change) in trace.changes.iter().enumerate() {
        let effect = effects.get(&place).copied();
        view.take(&change.key, change.before.as_ref(), change.after.as_ref());
        if effect.is_some() {
            view.written.insert(full_name(&change.key));
            view.custom |=
                lockgate_sim::kinds::by_resource(change.key.kind.group, change.key.kind.version, change.key.kind.plural).is_none();
        }
        view.applied |= full_name(&change.key) == "configmap/kube-system/kubeadm-config";
        let moment = Moment { trace, view: &view, change, effect };
        for Invariant { id, says, look } in &INVARIANTS {
            if let Look::Event(look) | Look::Both(look, _) = look
                && let Some(what) = look(&moment)
            {
                found.push(Broken { id, says, how: format!("{what}, at change {}", change.rv) });
            }
        }
        if change.key.kind.kind == "Node" && effect.is_some() {
            let name = full_name(&change.key);
            if change.after.as_deref().is_some_and(cordoned) {
                view.ours.insert(name)
            } else {
                view.ours.remove(&name)
            };
        }
    }
    for Invariant { id, says, look } in &INVARIANTS {
        if let Look::Process(look) | Look::Both(_, look) = look
            && let Some(how) = look(trace)
        {
            found.push(Broken { id, says, how });
        }
    }
    (found, trace.changes.len())
}

fn cordoned(node: &Json) -> bool {
    node.pointer("/spec/unschedulable") == Some(&true.into())
}

fn is_ready(object: &Json) -> bool {
    let conditions = object.pointer("/status/conditions").and_then(Json::as_array);
    conditions.is_some_and(|all| all.iter().any(|one| one["type"] == "Ready" && one["status"] == "True"))
}

fn is_master(node: &Json) -> bool {
    let labels = node.pointer("/metadata/labels").and_then(Json::as_object);
    labels.is_some_and(|labels| {
        ["control-plane", "master"].iter().any(|role| labels.get(format!("node-role.kubernetes.io/{role}").as_str()).is_some())
    })
}

fn one_master(moment: &Moment<'_>) -> Option<String> {
    let name = full_name(&moment.change.key);
    let after = moment.change.after.as_ref().filter(|_| moment.change.key.kind.kind == "Node")?;
    let newly = moment.effect.is_some() && cordoned(after) && !moment.change.before.as_deref().is_some_and(cordoned);
    if !newly || !is_master(after) {
        return None;
    }
    let others = moment.view.nodes.iter().filter(|(other, node)| **other != name && is_master(node));
    let bad = others.filter(|(other, node)| moment.view.ours.contains(*other) || !is_ready(node)).map(|(other, _)| other.clone()).next()?;
    Some(format!("{name} is cordoned while {bad} is out of service"))
}

/// A member of etcd is on each node of the control plane. One of fewer than three has no quorum to keep.
fn quorum(moment: &Moment<'_>) -> Option<String> {
    if moment.change.key.kind.kind != "Node" {
        return None;
    }
    let members: Vec<&Arc<Json>> = moment.view.nodes.values().filter(|node| is_master(node)).collect();
    let well = members.iter().filter(|node| is_ready(node)).count();
    (members.len() >= 3 && well * 2 <= members.len()).then(|| format!("{well} of {} members are there", members.len()))
}

/// The workers that are out of service.
fn out(view: &View) -> Vec<&str> {
    let out = view.nodes.iter().filter(|(_, node)| !is_master(node) && (cordoned(node) || !is_ready(node)));
    out.map(|(name, _)| name.as_str()).collect()
}

impl Trace<'_> {
    /// How many nodes of workers were out of service at a time.
    #[must_use]
    pub fn out_of_service(&self) -> usize {
        let mut view = View::before(self.of.before);
        let before = out(&view).len();
        let nodes = self.changes.iter().filter(|change| change.key.kind.kind == "Node");
        nodes.fold(before, |most, change| {
            view.take(&change.key, change.before.as_ref(), change.after.as_ref());
            most.max(out(&view).len())
        })
    }
}

fn workers(moment: &Moment<'_>) -> Option<String> {
    if moment.change.key.kind.kind != "Node" {
        return None;
    }
    let out = out(moment.view);
    (out.len() > moment.trace.of.budget).then(|| format!("{} of {} that may be are out of service", out.join(", "), moment.trace.of.budget))
}

fn covers(budget: &Json, pod: &Json) -> bool {
    let same = budget.pointer("/metadata/namespace") == pod.pointer("/metadata/namespace");
    let wanted = budget.pointer("/spec/selector/matchLabels").and_then(Json::as_object);
    same && wanted.is_some_and(|wanted| wanted.iter().all(|(name, value)| pod["metadata"]["labels"].get(name) == Some(value)))
}

fn budgets(moment: &Moment<'_>) -> Option<String> {
    let (effect, pod) = (moment.effect?, moment.change.before.as_ref()?);
    if moment.change.key.kind.kind != "Pod" || !is_ready(pod) {
        return None;
    }
    let mut covering = moment.view.budgets.iter().filter(|(_, [now, _])| covers(now, pod));
    let name = &*moment.change.key.name;
    if effect.subject.ends_with("/eviction") {
        let has_room = |budget: &Json| {
            let noted = budget.pointer("/status/disruptedPods").is_some_and(|pods| pods.get(name).is_some());
            noted || budget.pointer("/status/disruptionsAllowed").and_then(Json::as_i64).unwrap_or(0) > 0
        };
        let (budget, _) = covering.find(|(_, [now, before])| !has_room(now) && !has_room(before))?;
        return Some(format!("{name} is evicted, and {budget} has no room"));
    }
    // A workload of which every pod is replaced by hand has no budget.
    (effect.verb == "delete").then(|| covering.next())?.map(|(budget, _)| format!("{name} is deleted past {budget}"))
}

fn minor(version: &str) -> Option<u32> {
    version.trim_start_matches('v').split('.').nth(1)?.parse().ok()
}

/// So many minor versions a kubelet may be behind its API server.
const BEHIND: u32 = 3;

fn kubelet(node: &Json) -> Option<(u32, &str)> {
    let version = node.pointer("/status/nodeInfo/kubeletVersion").and_then(Json::as_str)?;
    Some((minor(version)?, version))
}

/// The minor version of the API server in a pod, whatever else runs beside it there.
fn api_server(pod: &Json) -> Option<u32> {
    let containers = pod.pointer("/spec/containers").and_then(Json::as_array)?;
    let image = containers.iter().find(|container| container["name"] == "kube-apiserver")?["image"].as_str()?;
    minor(image.rsplit_once(':')?.1)
}

fn skew(moment: &Moment<'_>) -> Option<String> {
    let node = moment.change.after.as_ref().filter(|_| moment.change.key.kind.kind == "Node")?;
    let (name, (is, version)) = (full_name(&moment.change.key), kubelet(node)?);
    let was = moment.change.before.as_deref().and_then(kubelet).map(|(minor, _)| minor);
    // The kubelet of a control-plane node asks the API server beside it.
    let own = |pod: &Json| !is_master(node) || pod["spec"]["nodeName"].as_str() == Some(&*moment.change.key.name);
    let is_server = |pod: &Json| pod["metadata"]["labels"].get("component") == Some(&"kube-apiserver".into());
    let servers = moment.view.pods.values().filter(|pod| is_server(pod) && own(pod));
    let servers: Vec<u32> = servers.filter_map(|pod| api_server(pod)).collect();
    if let Some(oldest) = servers.iter().min().filter(|oldest| is > **oldest) {
        return Some(format!("{name} has kubelet {version} beside an API server 1.{oldest}"));
    }
    // What was so before the run is not its doing.
    if let Some(newest) = servers.iter().max().filter(|newest| was != Some(is) && is + BEHIND < **newest) {
        return Some(format!("{name} has kubelet {version} beside an API server 1.{newest}"));
    }
    if let Some(was) = was.filter(|was| is != *was && is != *was + 1) {
        return Some(format!("{name} goes from kubelet 1.{was} to {version}"));
    }
    let moved = !is_master(node) && was.is_some_and(|was| was != is);
    let mut masters = moment.view.nodes.iter().filter(|(_, other)| is_master(other));
    let behind = masters.find(|(_, other)| kubelet(other).is_some_and(|(other, _)| other < is)).filter(|_| moved)?;
    Some(format!("{name} gets kubelet {version} before {} of the control plane", behind.0))
}

/// `kubeadm upgrade apply` on one node of the control plane comes before `kubeadm upgrade node` on any.
fn first_of_all(trace: &Trace<'_>) -> Option<String> {
    let ordered = |what: &str| trace.machines.iter().position(|line| line.split_once(' ').is_some_and(|(_, said)| said.starts_with(what)));
    let (apply, node) = (ordered("kubeadm upgrade apply"), ordered("kubeadm upgrade node")?);
    // Where the new version was noted before the run began, its control plane is a matter of that run.
    let begun = apply.is_some_and(|apply| node < apply);
    begun.then(|| format!("`{}` comes before any `kubeadm upgrade apply`", trace.machines.get(node).map_or("", String::as_str)))
}

fn uncordons(moment: &Moment<'_>) -> Option<String> {
    moment.effect?;
    let (before, after) = (moment.change.before.as_ref()?, moment.change.after.as_ref()?);
    let name = full_name(&moment.change.key);
    let taken_away = moment.change.key.kind.kind == "Node" && cordoned(before) && !cordoned(after);
    (taken_away && !moment.view.ours.contains(&name)).then(|| format!("{name} was cordoned by somebody else"))
}

fn new_images(moment: &Moment<'_>) -> Option<String> {
    let pod = moment.change.after.as_ref().filter(|_| moment.change.key.kind.kind == "Pod" && moment.change.before.is_none())?;
    // Of a static pod the file on its machine decides.
    if pod.pointer("/metadata/annotations").is_some_and(|all| all.get("kubernetes.io/config.mirror").is_some()) {
        return None;
    }
    let new = images(pod).into_iter().find(|image| !moment.view.images.contains(image))?;
    let namespace = pod["metadata"]["namespace"].as_str().unwrap_or_default();
    let owner_of = |object: &Json| {
        let owner = object.pointer("/metadata/ownerReferences/0")?;
        Some(format!("{}/{namespace}/{}", owner["kind"].as_str()?.to_lowercase(), owner["name"].as_str()?))
    };
    let Some(mut owner) = owner_of(pod) else { return moment.effect.is_none().then(|| format!("a pod with {new} came from nowhere")) };
    if let Some(above) = moment.view.sets.get(&owner).and_then(|set| owner_of(set)) {
        owner = above;
    }
    let by_another = moment.view.applied && BY_KUBEADM.contains(&owner.as_str()) || moment.view.custom;
    let written = moment.view.written.contains(&owner) || by_another;
    (!written).then(|| format!("a pod of {owner} got {new}, which the run never wrote"))
}

/// What `kubeadm upgrade apply`, which a run orders on a machine, brings to the new version by itself, after it has noted that version.
const BY_KUBEADM: [&str; 2] = ["daemonset/kube-system/kube-proxy", "deployment/kube-system/coredns"];

/// The stamp of whoever wrote an object last.
fn stamp(object: Option<&Arc<Json>>) -> Option<&str> {
    object?.pointer("/metadata/annotations")?.get("lockgate.dev/op")?.as_str()
}

fn holds_the_lock(moment: &Moment<'_>) -> Option<String> {
    let (effect, trace) = (moment.effect.filter(|_| moment.trace.of.locked)?, moment.trace);
    let lock = moment.view.lock.as_ref().map(|lock| &lock["spec"]);
    let run = &trace.of.run;
    let held = lock.filter(|lock| lock["holderIdentity"].as_str().is_some_and(|holder| holder.split('@').next() == Some(run.as_str())));
    let Some(held) = held else { return Some(format!("{} {} without the lock", effect.verb, effect.subject)) };
    let (before, after) = (stamp(moment.change.before.as_ref()), stamp(moment.change.after.as_ref()));
    let written = after.filter(|after| Some(*after) != before);
    let epoch = written.and_then(|after| after.rsplit_once('/')?.1.parse::<u64>().ok());
    let (now, straggles) = (held["leaseTransitions"].as_u64().unwrap_or(0), trace.of.delays || !trace.world.stragglers.is_empty());
    match epoch {
        // What a process did not live to send is sent by the next one under the same name; what it sent may arrive later.
        Some(epoch) if epoch != now && !(epoch < now && (straggles || trace.announces_again(written, now))) => {
            return Some(format!("{} is of process {epoch}, and process {now} has the lock", effect.subject));
        }
        _ if straggles => return None,
        _ => {}
    }
    let renewed: Timestamp = held["renewTime"].as_str()?.parse().ok()?;
    let age = Span::between(renewed, effect.at);
    (age >= OPEN_FOR).then(|| format!("{} {}, {age} after the lock was renewed", effect.verb, effect.subject))
}

/// Whether an intent announces this effect.
fn announces(intent: &Intent, object: &str) -> bool {
    intent.object() == object || (matches!(intent.sign, Sign::Elsewhere) && intent.key.target.starts_with("release/"))
}

fn intended(trace: &Trace<'_>) -> Option<String> {
    (0..trace.ledger.len()).filter(|effect| !trace.only_read(*effect)).find_map(|effect| {
        let object = trace.object_of(effect);
        let known = trace.intents_before(effect).any(|intent| announces(intent, &object));
        (!known).then(|| format!("{} {object}", trace.ledger[effect].verb))
    })
}

fn once(trace: &Trace<'_>) -> Option<String> {
    const ONCE: [&str; 3] = ["systemctl reboot", "kubeadm upgrade apply", "kubeadm upgrade node"];
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    for line in trace.machines.iter() {
        let Some((node, what)) = line.split_once(' ').filter(|(_, what)| ONCE.iter().any(|once| what.starts_with(once))) else {
            continue;
        };
        let times = seen.entry(line).or_default();
        if *times > 0 && *times > recovered(&trace.entries, node, what) {
            return Some(line.clone());
        }
        *times += 1;
    }
    revisions(trace)
}

/// How often the journal announces a command once more after it has told how the one before ended, and of a recovery: what failed may be
/// tried again by the runbook itself.
fn recovered(entries: &[Entry], node: &str, what: &str) -> usize {
    let object = format!("node/{node}");
    let (mut last, mut ended, mut failed, mut times) = (None, false, false, 0);
    for entry in entries {
        match &entry.fact {
            Fact::Intent { intent, .. } if intent.object() == object && intent.key.part.as_deref() == Some(what) => {
                times += usize::from(failed && last != Some(&intent.op));
                (last, ended, failed) = (Some(&intent.op), false, false);
            }
            Fact::Outcome { op, .. } if last == Some(op) => ended = true,
            Fact::Told { event, .. } if matches!(**event, Event::Recovering { .. }) => failed = ended,
            _ => {}
        }
    }
    times
}

/// Each operation of helm makes the revision after the last one that is there.
fn revisions(trace: &Trace<'_>) -> Option<String> {
    let revision = |name: &str| {
        let (release, number) = name.strip_prefix("sh.helm.release.v1.")?.rsplit_once(".v")?;
        Some((release.to_owned(), number.parse::<u64>().ok()?))
    };
    let secrets = trace.of.before.store().list(lockgate_sim::kinds::SECRET, None);
    let mut there: BTreeMap<(String, String), BTreeSet<u64>> = BTreeMap::new();
    for (key, _) in secrets {
        if let Some((release, number)) = revision(&key.name) {
            there.entry((key.namespace.to_string(), release)).or_default().insert(number);
        }
    }
    for change in trace.changes.iter().filter(|change| change.key.kind.kind == "Secret") {
        let Some((release, number)) = revision(&change.key.name) else { continue };
        let numbers = there.entry((change.key.namespace.to_string(), release)).or_default();
        let last = numbers.last().copied().unwrap_or_default();
        match (&change.before, &change.after) {
            (None, Some(_)) if number != last + 1 => return Some(format!("{} is made after revision {last}", full_name(&change.key))),
            (None, Some(_)) => drop(numbers.insert(number)),
            (_, None) => drop(numbers.remove(&number)),
            _ => {}
        }
    }
    None
}

/// Of a write that carries its operation, the version that its intent had read is the one that it changed; of every other, the object.
fn the_same(trace: &Trace<'_>) -> Option<String> {
    (0..trace.ledger.len()).find_map(|effect| {
        let change = trace.changes.get(trace.change_of.get(effect).copied()??)?;
        let before = change.before.as_ref()?;
        let (object, uid) = (trace.object_of(effect), &before["metadata"]["uid"]);
        let prior = |intent: &&Intent| match &intent.prior {
            Some(Prior::Was(prior)) => Some(prior.clone()),
            _ => None,
        };
        let guarded: Vec<_> = trace.intents_before(effect).filter(|intent| intent.object() == object).collect();
        let uids: Vec<_> = guarded.iter().filter_map(prior).collect();
        if !uids.is_empty() && !uids.iter().any(|prior| prior.pointer("/metadata/uid") == Some(uid)) {
            return Some(format!("{} {object}", trace.ledger.get(effect)?.verb));
        }
        let op = stamp(change.after.as_ref()).filter(|op| stamp(change.before.as_ref()) != Some(op))?;
        let read: Vec<_> = guarded.iter().filter(|intent| intent.op == op).filter_map(prior).collect();
        // Where others write, one that met a conflict reads again, and its intent keeps what it read first.
        let met = read.is_empty() || trace.others_wrote() || read.iter().any(|prior| is_as_it_was(prior, before));
        (!met).then(|| format!("{op} {object}: it was not read as it was when it changed"))
    })
}

/// Whether nobody changed what is wanted of an object: by its generation; of a kind that has none, by what it holds beside status and
/// metadata. What a Secret held is in no record.
fn is_as_it_was(prior: &Json, now: &Json) -> bool {
    let generation = |object: &Json| object.pointer("/metadata/generation").cloned();
    if generation(prior).is_some() || generation(now).is_some() || now["kind"] == "Secret" {
        return generation(prior) == generation(now);
    }
    let held = |object: &Json| {
        let fields = object.as_object().into_iter().flat_map(|fields| fields.iter());
        let of_its_own = fields.filter(|(name, _)| !["apiVersion", "kind", "metadata", "status"].contains(&name.as_ref()));
        of_its_own.map(|(name, value)| (name.to_string(), value.clone())).collect::<BTreeMap<_, _>>()
    };
    held(prior) == held(now)
}

fn named(trace: &Trace<'_>) -> Option<String> {
    let mut made = BTreeSet::new();
    let mut of = BTreeMap::new();
    for entry in &trace.entries {
        match &entry.fact {
            Fact::Intent { intent, .. } => drop(of.insert(intent.op.clone(), intent.object().to_owned())),
            Fact::Outcome { op, outcome: Outcome::Made { .. } } => made.extend(of.get(op).cloned()),
            _ => {}
        }
    }
    let story = trace.story()?;
    let half: Vec<&str> = story.half_done().map(|write| write.target.as_str()).collect();
    let is_release = of.values().any(|target| target.starts_with("release/"));
    (0..trace.ledger.len())
        .filter(|effect| !trace.only_read(*effect))
        .map(|effect| trace.object_of(effect))
        .find(|object| !made.contains(object) && !half.contains(&object.as_str()) && !is_release)
}

#[cfg(test)]
mod tests {
    use lockgate_sim::json;

    use super::*;

    #[test]
    fn each_has_its_place() {
        let ids: Vec<&str> = INVARIANTS.iter().map(|invariant| invariant.id).collect();
        assert_eq!(ids, (1..=14).map(|number| format!("I{number}")).collect::<Vec<_>>());
    }

    #[test]
    fn an_api_server_is_known_by_the_name_of_its_container() {
        let other = json!({"name": "audit", "image": "registry.example/audit:v9.1.0"});
        let server = json!({"name": "kube-apiserver", "image": "registry.example:5000/kube-apiserver:v1.25.16"});
        assert_eq!(api_server(&json!({"spec": {"containers": [other, server]}})), Some(25));
        assert_eq!(api_server(&json!({"spec": {"containers": [other]}})), None);
    }
}
