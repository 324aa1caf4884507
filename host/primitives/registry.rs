//! What a primitive is, as data: everything that shows, checks or calls verbs derives from [`Definition`].

use std::collections::BTreeMap;
use std::rc::Rc;

use futures::future::LocalBoxFuture;

use super::cx::Cx;
use super::done::Done;
use super::types::Type;
use crate::base::{Error, Result, Value, did_you_mean};

/// Where a verb may be called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Reads the cluster: in checks, `verify`, steps, and at the prompt.
    Read,
    /// Changes the cluster: refused in checks and `verify`.
    Write,
    /// Asks the operator: in checks and steps, not in `verify`.
    Ask,
    /// Tells the operator something: everywhere but at load time.
    Tell,
    /// Touches nothing but its arguments: everywhere, while a file loads too.
    Pure,
}

impl Effect {
    /// One word for the reference.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Effect::Read => "read",
            Effect::Write => "write",
            Effect::Ask => "ask",
            Effect::Tell => "tell",
            Effect::Pure => "pure",
        }
    }
}

/// One parameter or option of a verb.
#[derive(Debug)]
pub struct Param {
    /// Its name as a script writes it.
    pub name: &'static str,
    /// Its documentation, a line an entry.
    pub doc: &'static [&'static str],
    /// What it takes.
    pub ty: Type,
}

/// The function behind a verb.
pub type Call = fn(Cx, Arguments) -> LocalBoxFuture<'static, Result<Done>>;

/// A verb, declared once.
#[derive(Debug)]
pub struct Definition {
    /// The verb.
    pub name: &'static str,
    /// Where it may be called.
    pub effect: Effect,
    /// Its documentation, a line an entry; the first paragraph is the summary.
    pub doc: &'static [&'static str],
    /// Positional parameters, in order.
    pub params: &'static [Param],
    /// Fields of the options table; all are optional.
    pub options: &'static [Param],
    /// The Luau type of the result.
    pub returns: &'static str,
    /// What the result is.
    pub returns_doc: &'static str,
    /// The first version that has it.
    pub since: &'static str,
    /// A call as one would write it; run by the documentation test.
    pub example: &'static str,
    /// What the server must allow: `VERB[,VERB] RESOURCE`, where `{workload}` stands for the kind of that argument.
    pub needs: &'static [&'static str],
    /// The function; `None` for words of the language that `host/lua` implements.
    pub call: Option<Call>,
}

impl Definition {
    /// The first paragraph of the documentation, as one line.
    #[must_use]
    pub fn summary(&self) -> String {
        let lines: Vec<&str> = self.doc.iter().map(|line| line.trim()).take_while(|line| !line.is_empty()).collect();
        lines.join(" ")
    }

    /// Whether a call with these options writes: a verb with an option `read` only reads where that is true.
    #[must_use]
    pub fn effect_in(&self, reads: bool) -> Effect {
        if reads && self.effect == Effect::Write && self.options.iter().any(|option| option.name == "read") {
            Effect::Read
        } else {
            self.effect
        }
    }

    /// The call in one line, as the reference and the prompt show it: `scale(workload, replicas, { timeout?, wait? })`.
    #[must_use]
    pub fn signature(&self) -> String {
        if self.call.is_none() && self.params.is_empty() {
            // A value, not a function.
            return self.name.to_owned();
        }
        let mut parts: Vec<String> =
            self.params.iter().map(|param| if param.ty.optional { format!("{}?", param.name) } else { param.name.to_owned() }).collect();
        if !self.options.is_empty() {
            let names: Vec<String> = self.options.iter().map(|option| format!("{}?", option.name)).collect();
            parts.push(format!("{{ {} }}", names.join(", ")));
        }
        format!("{}({})", self.name, parts.join(", "))
    }
}

/// A script's function that a primitive calls, such as the condition of `wait_for`.
pub trait Callback {
    /// Calls it; the values are those it returned.
    ///
    /// # Errors
    /// What the function raised.
    fn call(&self, arguments: Vec<Value>) -> Result<Vec<Value>>;

    /// The same for a primitive in the middle of its work: the function may call verbs itself, because the script's side calls
    /// it when this future waits. Inside of `run` use this one.
    fn invoke(&self, arguments: Vec<Value>) -> LocalBoxFuture<'_, Result<Vec<Value>>> {
        Box::pin(std::future::ready(self.call(arguments)))
    }
}

/// One argument as the script gave it.
#[derive(Clone)]
pub enum Arg {
    /// A value.
    Value(Value),
    /// A function.
    Function(Rc<dyn Callback>),
}

impl std::fmt::Debug for Arg {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Arg::Value(value) => value.fmt(f),
            Arg::Function(_) => f.write_str("function"),
        }
    }
}

impl Arg {
    /// What people call this kind of argument.
    #[must_use]
    pub fn kind_name(&self) -> &'static str {
        match self {
            Arg::Value(value) => value.kind_name(),
            Arg::Function(_) => "a function",
        }
    }

    /// Whether nothing was given.
    #[must_use]
    pub fn is_nil(&self) -> bool {
        matches!(self, Arg::Value(Value::Nil))
    }
}

/// The arguments of one call, split by the binder: everything up to the last positional parameter, then the options table.
#[derive(Clone, Debug, Default)]
pub struct Arguments {
    /// Positional arguments; fewer than parameters when the script gave fewer.
    pub positional: Vec<Arg>,
    /// The options table; an option that is `nil` is absent.
    pub options: BTreeMap<String, Arg>,
}

impl Arguments {
    /// Refuses what the verb does not know: too many arguments, unknown options.
    ///
    /// # Errors
    /// A usage error that names the argument and, for an option, the nearest known one.
    pub fn check(&self, definition: &Definition) -> Result<()> {
        let name = definition.name;
        if self.positional.len() > definition.params.len() {
            return Err(Error::usage(format!(
                "`{name}` takes {}, got {}",
                plural(definition.params.len(), "argument"),
                self.positional.len()
            ))
            .hint(format!("write `{}`", definition.signature())));
        }
        for option in self.options.keys() {
            if definition.options.iter().any(|known| known.name == option) {
                continue;
            }
            let known = || definition.options.iter().map(|known| known.name);
            let error = Error::usage(format!("`{name}` has no option `{option}`"));
            if let Some(why) = super::helm::why_not(name, option) {
                return Err(error.hint(why));
            }
            return Err(match did_you_mean(option, known()) {
                Some(near) => error.hint(format!("did you mean `{near}`?")),
                None if definition.options.is_empty() => error.hint(format!("it takes no options: `{}`", definition.signature())),
                None => error.hint(format!("its options are {}", list(known()))),
            });
        }
        Ok(())
    }

    /// Takes the positional argument of that place.
    pub fn take(&mut self, place: usize) -> Arg {
        match self.positional.get_mut(place) {
            Some(arg) => std::mem::replace(arg, Arg::Value(Value::Nil)),
            None => Arg::Value(Value::Nil),
        }
    }

    /// Takes the option of that name.
    pub fn take_option(&mut self, name: &str) -> Arg {
        self.options.remove(name).unwrap_or(Arg::Value(Value::Nil))
    }
}

/// `1 argument`, `2 arguments`.
#[must_use]
pub fn plural(count: usize, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}

/// `` `a`, `b` and `c` ``.
#[must_use]
pub fn list<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<String> = names.map(|name| format!("`{name}`")).collect();
    match names.split_last() {
        None => String::new(),
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} and {last}", rest.join(", ")),
    }
}
