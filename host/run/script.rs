//! The script side of a run, as the runner sees it. `host/lua` implements it; a test may implement it in Rust.

use std::fmt;
use std::rc::Rc;

use crate::base::json::Value as Json;
use futures::future::LocalBoxFuture;
use serde::{Deserialize, Serialize};

use super::runbook::{CallbackId, Owner, Params, Runbook, State};
use crate::base::{Error, Kind, ObjectRef, Place, Reason, Result, Value, items_of_list};
use crate::cluster;
use crate::primitives::{Cx, Done};

/// A runbook file that can be loaded and called.
///
/// The order of calls: `load` (declarations only, no cluster), then for each check and step `enter`, any number of `call`,
/// `leave`. What lives between two `enter`s is only [`State`].
pub trait Script {
    /// Loads the file without a cluster and gives its declarations. A verb called meanwhile is an error.
    ///
    /// # Errors
    /// What is wrong with the file, with its place.
    fn load(&mut self) -> Result<Runbook>;

    /// Loads the file afresh (a new environment) for one check or step.
    ///
    /// # Errors
    /// As `load`.
    fn enter(&mut self, scene: Scene) -> Result<()>;

    /// Calls a function of a declaration. Its phase decides which verbs are allowed: reads everywhere, writes only where
    /// [`super::runbook::Phase::writes`], questions only where [`super::runbook::Phase::asks`].
    ///
    /// # Errors
    /// What the function raised, with places.
    fn call(&mut self, callback: CallbackId, arguments: Vec<Value>) -> Result<Returned>;

    /// Ends what `enter` began and gives `state` as the functions left it.
    ///
    /// # Errors
    /// When `state` holds something that cannot live across steps; names the key.
    fn leave(&mut self) -> Result<State>;

    /// Whether a Lua pattern matches a text as a whole.
    ///
    /// # Errors
    /// When it is no pattern.
    fn matches(&mut self, pattern: &str, text: &str) -> Result<bool>;

    /// Another hand on the same file, for an item that is done at the same time as others; none where there is only one, and items are
    /// done one after the other.
    ///
    /// # Errors
    /// When it cannot be made.
    fn lane(&mut self) -> Result<Option<Box<dyn Lane>>> {
        Ok(None)
    }

    /// The runtime on which its lanes work.
    fn runtime(&self) -> Option<Rc<tokio::runtime::Runtime>> {
        None
    }
}

/// A hand on a runbook file for one item of a batch. As [`Script`], but others go on while a verb that it calls waits.
pub trait Lane {
    /// Loads the file afresh for one step.
    ///
    /// # Errors
    /// As [`Script::enter`].
    fn enter(&mut self, scene: Scene) -> Result<()>;

    /// Calls a function of a declaration.
    ///
    /// # Errors
    /// As [`Script::call`].
    fn call(&mut self, callback: CallbackId, arguments: Vec<Value>) -> LocalBoxFuture<'_, Result<Returned>>;

    /// Ends what `enter` began.
    ///
    /// # Errors
    /// As [`Script::leave`].
    fn leave(&mut self) -> Result<State>;
}

/// What one check or step runs in.
#[derive(Clone)]
pub struct Scene {
    /// The parameters, typed.
    pub params: Rc<Params>,
    /// `state` as the step before left it.
    pub state: State,
    /// What primitives use.
    pub cx: Cx,
    /// Who is told of every call, and may answer from a record.
    pub calls: Rc<dyn Calls>,
}

/// What a function of a declaration gave back.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Returned {
    /// Its values.
    pub values: Vec<Value>,
    /// The reason given to `not_needed`, when it was called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_needed: Option<String>,
}

impl Returned {
    /// The value at this place; `Nil` when there are fewer.
    #[must_use]
    pub fn value(&self, place: usize) -> &Value {
        self.values.get(place).unwrap_or(&Value::Nil)
    }

    /// A check or `verify` that returns `false` (and perhaps why) does not hold. Who tells the error says whose it is.
    ///
    /// # Errors
    /// `check_failed`, when it does not hold.
    pub fn holds(&self, owner: Owner) -> Result<()> {
        if *self.value(0) != Value::Json(Json::Bool(false)) {
            return Ok(());
        }
        let message = match owner {
            Owner::Check(_) => "it does not hold",
            Owner::Step(_) | Owner::Group(_) => "its `verify` does not hold",
        };
        let error = Error::new(Kind::Runbook, Reason::CheckFailed, message);
        Err(error.cause(self.value(1).as_text().unwrap_or_else(|| "it returned false".to_owned())))
    }

    /// What `recover` may answer: `false`, `true`, nothing, or `"again"`.
    ///
    /// # Errors
    /// Says what it answered instead.
    pub fn answers(&self) -> Result<()> {
        match self.value(0) {
            Value::Nil | Value::Json(Json::Bool(_)) => Ok(()),
            Value::Json(Json::String(word)) if word == "again" => Ok(()),
            other => Err(Error::new(Kind::Runbook, Reason::Usage, format!("its `recover` returned {}", other.kind_name()))
                .hint("return `false` to decline, nothing to have `verify` judge, or \"again\"")),
        }
    }
}

/// One call of a verb, before it is made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Call {
    /// The verb.
    pub verb: String,
    /// Its positional arguments as JSON; a function is `null`.
    pub arguments: Vec<Json>,
    /// Its options as JSON; `null` when none were given.
    pub options: Json,
    /// Where it is called: innermost first.
    pub places: Vec<Place>,
}

impl Call {
    /// Whether it is the same call: place apart.
    #[must_use]
    pub fn same(&self, other: &Call) -> bool {
        (&self.verb, &self.arguments, &self.options) == (&other.verb, &other.arguments, &other.options)
    }

    /// The object it is about, as far as its first argument says; a kind that everybody knows by its singular name, the
    /// namespace when it is not `home`, the one of the run. Of several objects the first few, and how many more there are.
    #[must_use]
    pub fn target(&self, home: &str) -> String {
        self.arguments.first().map(|argument| named(argument, home)).unwrap_or_default()
    }
}

/// So many of several objects are named.
const NAMED: usize = 3;

fn named(argument: &Json, home: &str) -> String {
    match argument {
        Json::String(text) => match ObjectRef::parse(text) {
            Ok(written) => {
                let known = cluster::singular(&written.kind).filter(|_| written.group.is_none());
                let namespace = written.namespace.clone().filter(|namespace| namespace != home);
                ObjectRef { kind: known.unwrap_or_else(|| written.kind.clone()), namespace, ..written }.to_string()
            }
            Err(_) => text.to_string(),
        },
        Json::Array(several) => all_named(several, home),
        object @ Json::Object(_) => {
            if let Some(items) = items_of_list(object) {
                return all_named(items, home);
            }
            let text = |pointer: &str| object.pointer(pointer).and_then(Json::as_str).unwrap_or_default();
            let kind = text("/kind").to_lowercase();
            match text("/metadata/namespace") {
                namespace if namespace.is_empty() || namespace == home => format!("{kind}/{}", text("/metadata/name")),
                namespace => format!("{kind}/{namespace}/{}", text("/metadata/name")),
            }
        }
        _ => String::new(),
    }
}

fn all_named(several: &[Json], home: &str) -> String {
    let names: Vec<String> = several.iter().take(NAMED).map(|one| named(one, home)).collect();
    let more = if several.len() > NAMED { format!(" and {} more", several.len() - NAMED) } else { String::new() };
    format!("{}{more}", names.join(", "))
}

/// `set_image("deployment/web", {"web":"v2"})`: for the log, so it is cut where it gets long.
impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let options = Some(&self.options).filter(|options| !options.is_null());
        let arguments: Vec<String> = self.arguments.iter().chain(options).map(Json::to_string).collect();
        let arguments: String = arguments.join(", ");
        match arguments.char_indices().nth(200) {
            Some((end, _)) => write!(f, "{}({}…)", self.verb, &arguments[..end]),
            None => write!(f, "{}({arguments})", self.verb),
        }
    }
}

/// Who is told of every call of a verb (those with [`crate::primitives::Definition::call`]).
pub trait Calls {
    /// Before a call. `Some` is the recorded result of the same call of an earlier attempt, given instead of making it;
    /// `end` is not called then.
    ///
    /// # Errors
    /// When the script asks otherwise than the record says, or the run was interrupted.
    fn begin(&self, call: &Call) -> Result<Option<Result<Done>>>;

    /// After a call was made.
    fn end(&self, call: &Call, result: &Result<Done>);

    /// After a call that a line at the prompt made, and not a function that it gave to a verb: how to make it once more.
    fn made(&self, _call: &Call, _result: &Result<Done>, _again: Again) {}
}

/// Makes a call once more, in the scene that is set then.
pub type Again = Rc<dyn Fn() -> Result<()>>;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::json::json;

    #[test]
    fn a_call_names_its_object_as_writes_do() {
        let target = |argument: Json| {
            let call = Call { verb: "patch".into(), arguments: vec![argument], options: Json::Null, places: vec![] };
            call.target("shop")
        };
        assert_eq!(target("cm/cfg".into()), "configmap/cfg");
        assert_eq!(target("Deployments/shop/web".into()), "deployment/web");
        assert_eq!(target("Deployments/till/web".into()), "deployment/till/web");
        assert_eq!(target("issuer.cert-manager.io/ca".into()), "issuer.cert-manager.io/ca");
        assert_eq!(target("widget/a".into()), "widget/a");
        assert_eq!(target(json!({ "kind": "ConfigMap", "metadata": { "name": "cfg", "namespace": "shop" } })), "configmap/cfg");
        assert_eq!(target(json!({ "kind": "ConfigMap", "metadata": { "name": "cfg", "namespace": "till" } })), "configmap/till/cfg");
        let map = |name: &str| json!({ "kind": "ConfigMap", "metadata": { "name": name } });
        assert_eq!(target(json!([map("a"), map("b")])), "configmap/a, configmap/b");
        assert_eq!(
            target(json!({ "kind": "List", "items": [map("a"), map("b"), map("c"), map("d"), map("e")] })),
            "configmap/a, configmap/b, configmap/c and 2 more"
        );
        assert_eq!(target(json!(["n1", "n2"])), "n1, n2");
    }

    #[test]
    fn only_false_does_not_hold() {
        let returned = |values: Vec<Value>| Returned { values, not_needed: None };
        for good in [vec![], vec![Value::from(true)], vec![Value::from("v1".to_owned())]] {
            assert!(returned(good).holds(Owner::Check(0)).is_ok());
        }
        let why = returned(vec![Value::from(false), Value::from("two pods wait".to_owned())]).holds(Owner::Check(0)).unwrap_err();
        assert_eq!((why.to_string(), why.reason), ("it does not hold: two pods wait".to_owned(), Reason::CheckFailed));
        let silent = returned(vec![Value::from(false)]).holds(Owner::Step(0)).unwrap_err();
        assert_eq!(silent.to_string(), "its `verify` does not hold: it returned false");
    }

    #[test]
    fn recover_has_four_answers() {
        let answers = |value: Value| Returned { values: vec![value], not_needed: None }.answers();
        for good in [Value::Nil, Value::from(true), Value::from(false), Value::from("again".to_owned())] {
            assert!(answers(good).is_ok());
        }
        assert!(answers(Value::Json(5.into())).unwrap_err().message.starts_with("its `recover` returned "));
        assert!(answers(Value::from("twice".to_owned())).is_err());
    }
}
