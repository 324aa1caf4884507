//! What happens in a plan's copy while the plan is made, kept for `--explain`: what was read and whose word it is, which rule of which
//! object decided, and why pods come up as fast as they do.

use std::collections::{BTreeMap, BTreeSet};

use lockgate_sim::cluster::CONTROLLERS;
use lockgate_sim::ledger::Effect;
use lockgate_sim::store::{Change, Key};
use lockgate_sim::{Cluster as Sim, eviction, kinds};

use crate::base::json::Value as Json;
use crate::cluster::{Cluster, Recorded};
use crate::report::explained::{Basis, Written};
use crate::run::event::Known;
use crate::run::{Event, Record};

/// Keeps it.
pub(super) struct Witness {
    twin: Cluster,
    /// How many requests, effects and lines of the log were seen, and the last change.
    requests: usize,
    effects: usize,
    lines: usize,
    change: u64,
    /// The step that is under way.
    step: String,
    /// Which step last changed an object, by itself or through the controllers.
    touched: BTreeMap<String, String>,
    kept: Vec<Basis>,
}

impl Witness {
    /// From now on, on this copy.
    pub(super) fn of(twin: &Cluster) -> Witness {
        let seen = twin.simulation().map(|simulation| simulation.with(|sim| (sim.ledger().len(), sim.event_log().len(), sim.store().rv())));
        let (effects, lines, change) = seen.unwrap_or_default();
        Witness { twin: twin.clone(), requests: 0, effects, lines, change, step: String::new(), touched: BTreeMap::new(), kept: Vec::new() }
    }

    /// Something was told: what happened since the last time belongs to it.
    pub(super) fn record(&mut self, record: &Record) {
        // Not shown: what happened belongs to what it leads to.
        if matches!(record.event, Event::Waiting { .. } | Event::Delayed { .. }) {
            return;
        }
        if let Event::StepStarted { step } = &record.event {
            self.step.clone_from(&step.id);
        }
        let requests = self.twin.requests();
        let new = requests.into_iter().skip(self.requests).collect::<Vec<_>>();
        self.requests += new.len();
        // What is read now was left by what came before.
        let mut facts = self.whose(&new);
        let (mut written, mut controllers) = (Vec::new(), BTreeMap::new());
        if let Some(simulation) = self.twin.simulation() {
            let (effects, changes, lines) = simulation.with(|sim| {
                let effects: Vec<Effect> = sim.ledger().iter().skip(self.effects).cloned().collect();
                let changes: Vec<Change> =
                    sim.store().changes_after(self.change).map(|changes| changes.cloned().collect()).unwrap_or_default();
                let lines: Vec<String> = sim.event_log().skip(self.lines).map(str::to_owned).collect();
                self.change = sim.store().rv();
                (effects, changes, lines)
            });
            self.effects += effects.len();
            self.lines += lines.len();
            for effect in effects {
                let Some(change) = changes.iter().find(|change| change.rv == effect.version) else { continue };
                let object = |object: &Option<std::sync::Arc<_>>| object.as_deref().cloned();
                written.push(Written { subject: named(&change.key), before: object(&change.before), after: object(&change.after) });
            }
            let done: Vec<Done> = lines.iter().filter_map(|line| by_controller(line)).collect();
            for one in &done {
                *controllers.entry(format!("{} {} {}", one.actor, one.does, one.kind())).or_default() += 1;
            }
            facts.extend(simulation.with(|sim| rules(sim, &new, &done)));
            let by_itself = written.iter().map(|written| (&written.subject, written.after.is_some()));
            for (subject, is_there) in by_itself.chain(done.iter().map(|one| (&one.subject, one.does != "removes"))) {
                // What is gone is in no list.
                drop(if is_there { self.touched.insert(subject.clone(), self.step.clone()) } else { self.touched.remove(subject) });
            }
        }
        if record.event.known() == Some(Known::Assumed) {
            facts.extend(self.twin.unknowns().into_iter().map(|text| format!("it could not be known: {text}")));
        }
        self.kept.push(Basis { record: record.clone(), requests: new, facts, written, controllers });
    }

    /// Of what was read: what an earlier step has left in the copy, and not the cluster.
    fn whose(&self, requests: &[Recorded]) -> Vec<String> {
        let mut told = BTreeSet::new();
        for request in requests.iter().filter(|request| request.dry && !request.verb.is_write()) {
            let plural = request.resource.split('.').next().unwrap_or_default();
            let Some(kind) = kinds::ALL.iter().find(|kind| kind.plural == plural) else { continue };
            let place = [Some(kind.kind.to_lowercase()), request.namespace.clone()].into_iter().flatten().collect::<Vec<_>>().join("/");
            match &request.name {
                Some(name) => {
                    let subject = format!("{place}/{name}");
                    told.extend(self.touched.get(&subject).map(|step| format!("{subject} is as step `{step}` leaves it")));
                }
                None => {
                    let members = self.touched.iter().filter(|(subject, _)| subject.starts_with(&format!("{place}/")));
                    let mut steps: BTreeMap<&str, usize> = BTreeMap::new();
                    members.for_each(|(_, step)| *steps.entry(step).or_default() += 1);
                    told.extend(steps.iter().map(|(step, count)| format!("{count} of the {plural} are as step `{step}` leaves them")));
                }
            }
        }
        told.into_iter().collect()
    }

    /// Everything that was kept.
    pub(super) fn kept(self) -> Vec<Basis> {
        self.kept
    }
}

/// `deployment/shop/web`
fn named(key: &Key) -> String {
    let kind = key.kind.kind.to_lowercase();
    [kind.as_str(), key.namespace.as_str(), key.name.as_str()].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("/")
}

/// What a controller did to an object.
struct Done {
    actor: String,
    does: &'static str,
    subject: String,
}

impl Done {
    fn kind(&self) -> &str {
        self.subject.split('/').next().unwrap_or_default()
    }

    /// The object as it is now.
    fn object<'a>(&self, sim: &'a Sim) -> Option<&'a Json> {
        let parts: Vec<&str> = self.subject.split('/').collect();
        let (kind, namespace, name) = match parts.as_slice() {
            [kind, namespace, name] => (*kind, *namespace, *name),
            [kind, name] => (*kind, "", *name),
            _ => return None,
        };
        let kind = kinds::ALL.iter().find(|known| known.kind.to_lowercase() == kind)?;
        sim.store().get(&Key::new(kind, namespace, name)).map(|object| &**object)
    }
}

/// By a line of the simulated cluster's log: `TIME ADDED pod/shop/web-x rv=7 replicaset-controller`.
fn by_controller(line: &str) -> Option<Done> {
    let mut words = line.split(' ').skip(1);
    let (does, subject, actor) = (words.next()?, words.next()?, words.last()?);
    if subject.starts_with("event/") || !CONTROLLERS.contains(&actor) {
        return None;
    }
    let does = match does {
        "ADDED" => "makes",
        "MODIFIED" => "changes",
        "DELETED" => "removes",
        _ => return None,
    };
    Some(Done { actor: actor.to_owned(), does, subject: subject.to_owned() })
}

/// The rules that decided, with the objects that they stand in.
fn rules(sim: &Sim, requests: &[Recorded], done: &[Done]) -> Vec<String> {
    let mut told: Vec<String> = Vec::new();
    let mut add = |text: String| {
        if !told.contains(&text) {
            told.push(text);
        }
    };
    let evicts = |request: &&Recorded| {
        request.subresource.as_deref() == Some("eviction") && request.status.is_some_and(|status| (200..300).contains(&status))
    };
    for request in requests.iter().filter(evicts) {
        if let (Some(namespace), Some(name)) = (&request.namespace, &request.name) {
            budgets(sim, &Key::new(kinds::POD, namespace, name)).into_iter().for_each(&mut add);
        }
    }
    for one in done {
        let Some(object) = one.object(sim) else { continue };
        match (one.kind(), one.does) {
            ("deployment" | "daemonset" | "statefulset", "changes") => {
                strategy(object).into_iter().for_each(|rule| add(format!("{} {rule}", one.subject)));
            }
            ("pod", "changes") if one.actor == "scheduler" => {
                let node = object.pointer("/spec/nodeName").and_then(Json::as_str).unwrap_or_default();
                if !node.is_empty() {
                    add(format!("{} fits on {node}", one.subject));
                }
            }
            ("pod", "makes") => {
                let whys = sim.models().because(object, &[]);
                match whys.is_empty() {
                    true => add(format!("{} comes up like any pod: nothing is known of how long its image takes", one.subject)),
                    false => whys.into_iter().for_each(|why| add(format!("{} comes up as it does because: {why}", one.subject))),
                }
            }
            _ => {}
        }
    }
    told
}

/// How a workload replaces its pods.
fn strategy(object: &Json) -> Option<String> {
    let at = |path: &str| object.pointer(path).cloned().unwrap_or_default();
    let number = |value: Json| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let (of, name) = match object["kind"].as_str()? {
        "Deployment" => ("/spec/strategy", at("/spec/strategy/type")),
        _ => ("/spec/updateStrategy", at("/spec/updateStrategy/type")),
    };
    let name = name.as_str()?.to_owned();
    let parts: Vec<String> = ["maxUnavailable", "maxSurge", "partition"]
        .iter()
        .filter_map(|field| Some((field, object.pointer(&format!("{of}/rollingUpdate/{field}"))?)))
        .map(|(field, value)| format!("{field} {}", number(value.clone())))
        .collect();
    let parts = if parts.is_empty() { String::new() } else { format!(", {}", parts.join(", ")) };
    Some(format!("replaces its pods by {name}{parts}"))
}

/// What the budgets say that cover an evicted pod.
fn budgets(sim: &Sim, key: &Key) -> Vec<String> {
    let Some(pod) = sim.store().get(key) else { return Vec::new() };
    let covering = sim.store().list(kinds::POD_DISRUPTION_BUDGET, Some(&key.namespace)).filter(|(_, budget)| eviction::covers(budget, pod));
    let told: Vec<String> = covering
        .map(|(key, budget)| {
            let at = |path: &str| budget.pointer(path).map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned));
            let rule =
                ["minAvailable", "maxUnavailable"].iter().find_map(|field| Some(format!("{field} {}", at(&format!("/spec/{field}"))?)));
            let left = at("/status/disruptionsAllowed").unwrap_or_else(|| "0".to_owned());
            let rule = rule.unwrap_or_else(|| "minAvailable 1".to_owned());
            format!("poddisruptionbudget/{}/{} ({rule}) lets it go; {left} more may go after it", key.namespace, key.name)
        })
        .collect();
    if told.is_empty() { vec![format!("no disruption budget covers {}", named(key))] } else { told }
}
