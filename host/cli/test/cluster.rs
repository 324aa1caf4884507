//! The `cluster` of a scenario: changes the simulated cluster past the run, as its operators and other programs would.

use std::cell::RefCell;
use std::rc::Rc;

use crate::base::json::{Value as Json, json};
use lockgate_sim::Cluster as Sim;
use lockgate_sim::faults::Rule;
use lockgate_sim::machines::{CommandModel, MachineModel};
use lockgate_sim::model::PodMatch;
use lockgate_sim::request::{Method, Request, Response};
use lockgate_sim::store::Key;

use super::names::{key, kind, wrong};
use crate::base::{Object, Result, Span, Value};
use crate::cluster::Simulation;
use crate::lua::Methods;

/// A change of the simulated cluster, to be made now or at its time.
pub(super) type Change = Box<dyn Fn(&mut Sim) -> Result<()> + Send + Sync>;

/// How the changes of a scenario's function are made.
#[derive(Clone)]
pub(super) enum Hand {
    /// At once.
    Now(Simulation),
    /// Collected, to be made when their time comes; such a function cannot look.
    Later(Rc<RefCell<Vec<Change>>>),
}

impl Hand {
    fn make(&self, change: impl Fn(&mut Sim) -> Result<()> + Send + Sync + 'static) -> Result<Value> {
        match self {
            Hand::Now(simulation) => simulation.with(|sim| change(sim))?,
            Hand::Later(changes) => changes.borrow_mut().push(Box::new(change)),
        }
        Ok(Value::Nil)
    }

    fn look<T>(&self, look: impl FnOnce(&mut Sim) -> Result<T>) -> Result<T> {
        match self {
            Hand::Now(simulation) => simulation.with(look),
            Hand::Later(_) => Err(wrong("a function of `at` only changes the cluster; it cannot read it")),
        }
    }
}

/// The object that scripts get.
pub(super) fn object(hand: &Hand, namespace: &str) -> Methods {
    let ns = namespace.to_owned();
    let with = |hand: &Hand| (hand.clone(), ns.clone());
    let mut methods = Methods::new("cluster");
    let (get, get_ns) = with(hand);
    methods = methods.method("get", move |arguments, _| {
        let key = reference(&arguments, 0, &get_ns)?;
        get.look(|sim| Ok(sim.store().get(&key).map_or(Value::Nil, |object| Value::Object(Object::read(object.clone())))))
    });
    let (all, _) = with(hand);
    methods = methods.method("list", move |arguments, _| {
        let kind = kind(&text(&arguments, 0, "a kind")?, None)?;
        all.look(|sim| {
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
        let (key, body) = (reference(&arguments, 0, &patch_ns)?, json_at(&arguments, 1, "a change")?);
        patch.make(move |sim| strategic(sim, &key, &body))
    });
    let (delete, delete_ns) = with(hand);
    methods = methods.method("delete", move |arguments, _| {
        let key = reference(&arguments, 0, &delete_ns)?;
        delete.make(move |sim| done(&sim.handle(&Request::new(Method::Delete, &path(&key)))))
    });
    let (cordon, _) = with(hand);
    methods = methods.method("cordon", move |arguments, _| {
        let key = key(&format!("node/{}", text(&arguments, 0, "a node")?.trim_start_matches("node/")), "")?;
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
            let pods = pods(&arguments, &namespace)?;
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
pub(super) fn reference(arguments: &[Value], place: usize, namespace: &str) -> Result<Key> {
    match arguments.get(place) {
        Some(Value::Object(object)) => {
            let reference = crate::base::ObjectRef::of(&object.current)?;
            let kind = kind(&reference.kind, Some(reference.group.as_deref().unwrap_or_default()))?;
            Ok(Key::new(kind, reference.namespace.as_deref().unwrap_or(namespace), &reference.name))
        }
        _ => key(&text(arguments, place, "a reference such as \"deployment/web\"")?, namespace),
    }
}

/// Which pods: `"deployment/web"` (with all pods of that owner), `"pod/name"`, or both with `{ node = "w1" }`.
fn pods(arguments: &[Value], namespace: &str) -> Result<PodMatch> {
    let key = reference(arguments, 0, namespace)?;
    let mut pods = PodMatch { namespace: Some(key.namespace.to_string()), ..PodMatch::default() };
    if key.kind.is(lockgate_sim::kinds::POD) {
        pods.name = Some(key.name.to_string());
    } else {
        pods.owner = Some(format!("{}/{}", key.kind.singular, key.name));
    }
    if let Some(options) = arguments.get(1) {
        let options = options.clone().into_json();
        for (name, value) in options.as_object().into_iter().flatten() {
            match (name.as_str(), value.as_str()) {
                ("node", Some(node)) => pods.node = Some(node.to_owned()),
                _ => return Err(wrong(format!("there is no option `{name}` here")).hint("the option is `node`")),
            }
        }
    }
    Ok(pods)
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

fn strategic(sim: &mut Sim, key: &Key, body: &Json) -> Result<()> {
    done(&sim.handle(&Request::patch(&path(key), "application/strategic-merge-patch+json", body)))
}

/// Creates the object, or merges it into the one there is.
fn create_or_merge(sim: &mut Sim, object: &Json, namespace: &str) -> Result<()> {
    let reference = crate::base::ObjectRef::of(object)?;
    let kind = kind(&reference.kind, Some(reference.group.as_deref().unwrap_or_default()))?;
    let key = Key::new(kind, reference.namespace.as_deref().unwrap_or(namespace), &reference.name);
    if sim.store().get(&key).is_some() {
        return strategic(sim, &key, object);
    }
    done(&sim.handle(&Request::post(&collection(&key), object)))
}
