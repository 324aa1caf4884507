//! The `cluster` of a scenario: changes the simulated cluster past the run, as its operators and other programs would.

use std::cell::RefCell;
use std::rc::Rc;

use crate::base::json::{Value as Json, json};
use lockgate_sim::Cluster as Sim;
use lockgate_sim::faults::Rule;
use lockgate_sim::kinds::NODE;
use lockgate_sim::machines::{CommandModel, MachineModel};
use lockgate_sim::model::{ModelDocument, PodMatch};
use lockgate_sim::request::{Method, Request, Response};
use lockgate_sim::store::{Key, Store};

use super::names::{key, kind, wrong};
use super::pods::{OF, Pods};
use crate::base::{Object, Result, Span, Value};
use crate::cluster::Simulation;
use crate::lua::Methods;

/// A change of the simulated cluster, to be made now or at its time.
pub(super) type Change = Box<dyn Fn(&mut Sim) -> Result<()> + Send + Sync>;

/// How the changes of a scenario's function are made.
#[derive(Clone)]
pub(super) struct Hand {
    /// The cluster; what is meant by a kind is asked of it in any case.
    simulation: Simulation,
    /// Where changes are collected that are to be made when their time comes; a function that makes such changes cannot look.
    later: Option<Rc<RefCell<Vec<Change>>>>,
}

impl Hand {
    /// Changes are made at once.
    pub(super) fn now(simulation: &Simulation) -> Hand {
        Hand { simulation: simulation.clone(), later: None }
    }

    /// Changes are collected.
    pub(super) fn later(simulation: &Simulation, changes: &Rc<RefCell<Vec<Change>>>) -> Hand {
        Hand { simulation: simulation.clone(), later: Some(changes.clone()) }
    }

    fn make(&self, change: impl Fn(&mut Sim) -> Result<()> + Send + Sync + 'static) -> Result<Value> {
        match &self.later {
            None => self.simulation.with(|sim| change(sim))?,
            Some(changes) => changes.borrow_mut().push(Box::new(change)),
        }
        Ok(Value::Nil)
    }

    fn look<T>(&self, look: impl FnOnce(&mut Sim) -> Result<T>) -> Result<T> {
        match self.later {
            None => self.simulation.with(look),
            Some(_) => Err(wrong("a function of `at` only changes the cluster; it cannot read it")),
        }
    }

    /// The object that an argument means.
    fn reference(&self, arguments: &[Value], place: usize, namespace: &str) -> Result<Key> {
        self.simulation.with(|sim| reference(arguments, place, namespace, sim.store()))
    }
}

/// The object that scripts get.
pub(super) fn object(hand: &Hand, namespace: &str) -> Methods {
    let ns = namespace.to_owned();
    let with = |hand: &Hand| (hand.clone(), ns.clone());
    let mut methods = Methods::new("cluster");
    let (get, get_ns) = with(hand);
    methods = methods.method("get", move |arguments, _| {
        let key = get.reference(&arguments, 0, &get_ns)?;
        get.look(|sim| Ok(sim.store().get(&key).map_or(Value::Nil, |object| Value::Object(Object::read(object.clone())))))
    });
    let (all, _) = with(hand);
    methods = methods.method("list", move |arguments, _| {
        let name = text(&arguments, 0, "a kind")?;
        let (name, group) = name.split_once('.').map_or((&*name, None), |(name, group)| (name, Some(group)));
        all.look(|sim| {
            let kind = kind(name, group, sim.store())?;
            Ok(Value::List(sim.store().list(kind, None).map(|(_, object)| Value::Object(Object::read(object.clone()))).collect()))
        })
    });
    let (apply, apply_ns) = with(hand);
    methods = methods.method("apply", move |arguments, _| {
        let object = json_at(&arguments, 0, "an object")?;
        let namespace = apply_ns.clone();
        apply.make(move |sim| create_or_merge(sim, &object, &namespace))
    });
    let (patch, patch_ns) = with(hand);
    methods = methods.method("patch", move |arguments, _| {
        let (key, body) = (patch.reference(&arguments, 0, &patch_ns)?, json_at(&arguments, 1, "a change")?);
        patch.make(move |sim| strategic(sim, &key, &body))
    });
    let (delete, delete_ns) = with(hand);
    methods = methods.method("delete", move |arguments, _| {
        if let Some(owner) = arguments.first().and_then(Value::as_text).and_then(|text| text.strip_prefix(OF).map(str::to_owned)) {
            let owner = delete.simulation.with(|sim| key(&owner, &delete_ns, sim.store()))?;
            let node = on_node(&arguments)?;
            return delete.make(move |sim| delete_pods(sim, &owner, node.as_deref()));
        }
        let key = delete.reference(&arguments, 0, &delete_ns)?;
        delete.make(move |sim| done(&sim.handle(&Request::new(Method::Delete, &path(&key)))))
    });
    let (cordon, _) = with(hand);
    methods = methods.method("cordon", move |arguments, _| {
        let key = Key::new(NODE, "", text(&arguments, 0, "a node")?.trim_start_matches("node/"));
        cordon.make(move |sim| strategic(sim, &key, &json!({ "spec": { "unschedulable": true } })))
    });
    models(methods, hand, namespace)
}

/// The methods that say how images and pods behave.
fn models(mut methods: Methods, hand: &Hand, namespace: &str) -> Methods {
    let slow = hand.clone();
    methods = methods.method("slow", move |arguments, _| {
        let (image, pull) = (text(&arguments, 0, "an image pattern")?, span(&arguments, 1)?);
        slow.make(move |sim| {
            sim.models_mut().slow(&image, pull);
            Ok(())
        })
    });
    let never_pulls = hand.clone();
    methods = methods.method("never_pulls", move |arguments, _| {
        let image = text(&arguments, 0, "an image pattern")?;
        never_pulls.make(move |sim| {
            sim.models_mut().never_pulls(&image);
            Ok(())
        })
    });
    type Model = fn(&mut Sim, PodMatch);
    let of_pods: [(&str, Model); 3] = [
        ("never_ready", |sim, pods| sim.models_mut().never_ready(pods)),
        ("crashes", |sim, pods| sim.models_mut().crashes(pods)),
        ("stuck_terminating", |sim, pods| sim.models_mut().stuck_terminating(pods)),
    ];
    for (name, model) in of_pods {
        let (hand, namespace) = (hand.clone(), namespace.to_owned());
        methods = methods.method(name, move |arguments, _| {
            let pods = pods(&hand, &arguments, &namespace)?;
            hand.make(move |sim| {
                model(sim, pods.clone());
                Ok(())
            })
        });
    }
    let command = hand.clone();
    methods = methods.method("command", move |arguments, _| {
        let entry = machine(&arguments)?;
        command.make(move |sim| {
            sim.models_mut().machine(entry.clone());
            Ok(())
        })
    });
    let model = hand.clone();
    methods = methods.method("model", move |arguments, _| {
        let mut entries = json_at(&arguments, 0, "entries of a Model document")?;
        entries.merge(&json!({ "apiVersion": "lockgate.dev/v1", "kind": "Model" }));
        let document: ModelDocument =
            crate::base::json::from_value(entries).map_err(|error| wrong(format!("these are no entries of a Model document: {error}")))?;
        if !document.include.is_empty() {
            return Err(wrong("`include` has no effect here: definitions come with a fixture"));
        }
        model.make(move |sim| {
            sim.models_mut().extend(document.clone());
            Ok(())
        })
    });
    let fault = hand.clone();
    methods.method("fault", move |arguments, _| {
        let rule: Rule = crate::base::json::from_value(json_at(&arguments, 0, "a fault rule")?)
            .map_err(|error| wrong(format!("this is no fault rule: {error}")))?;
        fault.make(move |sim| {
            sim.add_fault(rule.clone());
            Ok(())
        })
    })
}

/// What a command on a machine does: node, words or a pattern, `{ takes, code, stdout, effect }`.
fn machine(arguments: &[Value]) -> Result<MachineModel> {
    let node = text(arguments, 0, "a node")?;
    let mut command = arguments.get(2).cloned().map_or_else(|| json!({}), Value::into_json);
    command["argv"] = json_at(arguments, 1, "the words of a command, or a pattern")?;
    let command: CommandModel =
        crate::base::json::from_value(command).map_err(|error| wrong(format!("this is no command of a machine: {error}")))?;
    let mut entry = MachineModel::new(node.trim_start_matches("node/"), "set by a scenario");
    entry.commands.push(command);
    Ok(entry)
}

fn text(arguments: &[Value], place: usize, what: &str) -> Result<String> {
    arguments.get(place).and_then(Value::as_text).ok_or_else(|| wrong(format!("argument {} must be {what}", place + 1)))
}

fn json_at(arguments: &[Value], place: usize, what: &str) -> Result<Json> {
    match arguments.get(place) {
        None | Some(Value::Nil) => Err(wrong(format!("argument {} must be {what}", place + 1))),
        Some(value) => Ok(value.clone().into_json()),
    }
}

fn span(arguments: &[Value], place: usize) -> Result<jiff::SignedDuration> {
    let span = Span::parse(&text(arguments, place, "a duration such as \"4m\"")?)?;
    Ok(jiff::SignedDuration::from_millis(i64::try_from(span.as_millis()).unwrap_or(i64::MAX)))
}

/// The object an argument means: a reference or an object.
pub(super) fn reference(arguments: &[Value], place: usize, namespace: &str, store: &Store) -> Result<Key> {
    match arguments.get(place) {
        Some(Value::Object(object)) => {
            let reference = crate::base::ObjectRef::of(&object.current)?;
            let kind = kind(&reference.kind, Some(reference.group.as_deref().unwrap_or_default()), store)?;
            Ok(Key::new(kind, reference.namespace.as_deref().unwrap_or(namespace), &reference.name))
        }
        _ => key(&text(arguments, place, "a reference such as \"deployment/web\"")?, namespace, store),
    }
}

/// Which pods: `"deployment/web"` (with all pods of that owner), `"pod/name"`, or both with `{ node = "w1" }`.
fn pods(hand: &Hand, arguments: &[Value], namespace: &str) -> Result<PodMatch> {
    let key = hand.reference(arguments, 0, namespace)?;
    let mut pods = PodMatch { namespace: Some(key.namespace.to_string()), ..PodMatch::default() };
    if key.kind.is(lockgate_sim::kinds::POD) {
        pods.name = Some(key.name.to_string());
    } else {
        pods.owner = Some(format!("{}/{}", key.kind.singular, key.name));
    }
    pods.node = on_node(arguments)?;
    Ok(pods)
}

/// The option `node`.
fn on_node(arguments: &[Value]) -> Result<Option<String>> {
    let mut found = None;
    let options = arguments.get(1).cloned().unwrap_or(Value::Nil).into_json();
    for (name, value) in options.as_object().into_iter().flatten() {
        match (name.as_str(), value.as_str()) {
            ("node", Some(node)) => found = Some(node.trim_start_matches("node/").to_owned()),
            _ => return Err(wrong(format!("there is no option `{name}` here")).hint("the option is `node`")),
        }
    }
    Ok(found)
}

/// Deletes the pods of an owner; that there is none is a mistake.
fn delete_pods(sim: &mut Sim, owner: &Key, node: Option<&str>) -> Result<()> {
    let all = Pods::now(sim);
    let mut these = all.staying_of(owner, node).peekable();
    if these.peek().is_none() {
        let there = node.map_or_else(String::new, |node| format!(" on `{node}`"));
        return Err(wrong(format!("`{owner}` has no pod{there} that could be deleted")));
    }
    these.try_for_each(|pod| done(&sim.handle(&Request::new(Method::Delete, &path(pod)))))
}

/// The path of an object.
fn path(key: &Key) -> String {
    format!("{}/{}", collection(key), key.name)
}

fn collection(key: &Key) -> String {
    let root = if key.kind.group.is_empty() { "/api" } else { "/apis" };
    let namespace = if key.namespace.is_empty() { String::new() } else { format!("/namespaces/{}", key.namespace) };
    format!("{root}/{}{namespace}/{}", key.kind.api_version(), key.kind.plural)
}

fn done(response: &Response) -> Result<()> {
    if (200..300).contains(&response.status) {
        return Ok(());
    }
    let message = response.value().and_then(|status| status["message"].as_str()).unwrap_or("the request failed").to_owned();
    Err(wrong(format!("the simulated cluster refused: {message}")))
}

/// Changes an object; there are no strategic patches of kinds that were defined.
fn strategic(sim: &mut Sim, key: &Key, body: &Json) -> Result<()> {
    let of_kubernetes = lockgate_sim::kinds::ALL.iter().any(|kind| kind.is(key.kind));
    let form = if of_kubernetes { "application/strategic-merge-patch+json" } else { "application/merge-patch+json" };
    let mut rest = body.clone();
    // A server takes a status by another path only, and says nothing about one on this.
    let status = key.kind.subresources.contains(&"status").then(|| rest.as_object_mut()?.remove("status")).flatten();
    let identity = ["apiVersion", "kind"].into_iter().filter(|field| rest.get(field).is_some()).count();
    if status.is_none() || rest.as_object().is_none_or(|fields| fields.len() > identity) {
        done(&sim.handle(&Request::patch(&path(key), form, &rest)))?;
    }
    match status {
        Some(status) => done(&sim.handle(&Request::patch(&format!("{}/status", path(key)), form, &json!({ "status": status })))),
        None => Ok(()),
    }
}

/// Creates the object, or merges it into the one there is.
fn create_or_merge(sim: &mut Sim, object: &Json, namespace: &str) -> Result<()> {
    let reference = crate::base::ObjectRef::of(object)?;
    let kind = kind(&reference.kind, Some(reference.group.as_deref().unwrap_or_default()), sim.store())?;
    let key = Key::new(kind, reference.namespace.as_deref().unwrap_or(namespace), &reference.name);
    if sim.store().get(&key).is_some() {
        return strategic(sim, &key, object);
    }
    done(&sim.handle(&Request::post(&collection(&key), object)))?;
    match object.get("status") {
        Some(status) => strategic(sim, &key, &json!({ "status": status.clone() })),
        None => Ok(()),
    }
}
