//! Objects whose operator is elsewhere: what becomes of them, as data.

use std::collections::BTreeMap;

use imbl::Vector;
use jiff::SignedDuration;
use serde::Deserialize;

use super::{Models, Span, glob};
use crate::json::Value;
use crate::kinds::Kind;
use crate::view;

/// What happens to objects of a kind. While all of `when` holds for one of them, and for as long as `after` says, the change is made;
/// it is made again whenever somebody takes it back. Exactly one of the changes is given: parts of the object (`set`, `status`,
/// `tags`, `conditions`), another object (`make`), or its end (`delete`).
///
/// In texts `${…}` stands for a part of the object: `${name}`, `${namespace}`, `${uid}`, `${generation}`, `${.spec.nodeName}` (a path;
/// a text that is nothing else becomes the value itself), `${tag CONTAINER}` (of that container's image), `${identity}`, a number that
/// objects of equal labels and namespace have in common, and `${table …}`, the row of `table` for any of these.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ObjectModel {
    /// A name; an entry takes the place of an earlier one of the same name.
    pub name: Option<String>,
    /// The kind, with its group where two kinds have the name: `TigeraStatus` or `Installation.operator.tigera.io`.
    pub kind: String,
    /// Which objects of the kind; all when left out.
    #[serde(rename = "match", default)]
    pub objects: ObjectMatch,
    /// What must hold.
    #[serde(default)]
    pub when: Vec<Condition>,
    /// For how long it must hold.
    pub after: Option<Span>,
    /// Whether the change is made once and not again before `when` has ceased to hold, as by a program that writes when it starts.
    #[serde(default)]
    pub once: bool,
    /// Whether objects change one after the other: after each change the conditions of the next one must hold for `after` anew.
    #[serde(default)]
    pub in_turn: bool,
    /// Another object that changes instead: `kind/name` or `kind/namespace/name`. One that does not exist is left alone.
    pub to: Option<String>,
    /// A patch of it: strategic for kinds of Kubernetes, a merge patch for others.
    #[serde(default)]
    pub set: Value,
    /// A merge patch of its status.
    #[serde(default)]
    pub status: Value,
    /// Conditions of its status; their times change with their status.
    #[serde(default)]
    pub conditions: BTreeMap<String, ConditionModel>,
    /// New tags of the images of a workload's containers, by their names; `*` stands for every other container.
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
    /// What `${table …}` looks up. A change for which it has no row is not made.
    #[serde(default)]
    pub table: BTreeMap<String, String>,
    /// An object that is to exist.
    #[serde(default)]
    pub make: Value,
    /// Whether the made object goes with the one that it is made for.
    #[serde(default)]
    pub owned: bool,
    /// Whether the object is deleted.
    #[serde(default)]
    pub delete: bool,
    /// Whether it never happens: takes an earlier entry of the same name away.
    #[serde(default)]
    pub never: bool,
    /// Why this is believed.
    pub why: String,
}

/// Which objects of a kind. Every given field must match.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ObjectMatch {
    /// Namespace, exactly.
    pub namespace: Option<String>,
    /// Pattern over the name.
    pub name: Option<String>,
    /// Labels that it must have.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
}

/// What must hold of the object, or of another one. Every given field must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Condition {
    /// The other object: `kind/name` or `kind/namespace/name`.
    pub of: Option<String>,
    /// Whether it exists. One that does not holds in nothing but this and `rolled_out: true`.
    pub exists: Option<bool>,
    /// A path into it, for example `.status.phase`, for the next three.
    pub path: Option<String>,
    /// What is there.
    #[serde(default)]
    pub is: Value,
    /// A pattern over the text that is there.
    pub like: Option<String>,
    /// Whether nothing is there.
    pub absent: Option<bool>,
    /// Containers of a workload or a pod, with patterns over their images.
    #[serde(default)]
    pub images: BTreeMap<String, String>,
    /// Whether a workload runs as it is written: all its pods are updated and available. One that does not exist has nothing to wait for.
    pub rolled_out: Option<bool>,
    /// Conditions with their status, for example `{Ready: "True"}`.
    #[serde(default)]
    pub conditions: BTreeMap<String, String>,
    /// Labels of a pod that is ready on the node: that node itself, or where the pod is. For nodes and pods alone.
    #[serde(default)]
    pub agent: BTreeMap<String, String>,
}

/// A condition that is set.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConditionModel {
    /// `"True"`, `"False"` or `"Unknown"`.
    pub status: String,
    /// The reason; empty by default.
    #[serde(default)]
    pub reason: String,
    /// The message; empty by default.
    #[serde(default)]
    pub message: String,
}

/// What is known about definitions of kinds whose name matches a pattern.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DefinitionModel {
    /// Pattern over the name, for example `*.operator.tigera.io`.
    #[serde(rename = "match")]
    pub pattern: String,
    /// Time from their creation until their objects are served.
    pub established: Span,
    /// Why this is believed.
    pub why: String,
}

impl Models {
    /// Adds an entry about objects whose operator is elsewhere; it takes the place of one with its name. It takes effect when time or a
    /// request goes on.
    pub fn object(&mut self, model: ObjectModel) {
        self.news_of_objects = true;
        let known = model.name.as_ref().and_then(|name| self.objects.iter().position(|other| other.name.as_ref() == Some(name)));
        match known {
            Some(place) => drop(self.objects.set(place, model)),
            None => self.objects.push_back(model),
        }
    }

    /// Adds an entry about definitions of kinds; it wins over earlier ones.
    pub fn definition(&mut self, model: DefinitionModel) {
        self.definitions.push(model);
    }

    /// Whether there are entries about objects.
    pub(crate) fn has_objects(&self) -> bool {
        !self.objects.is_empty()
    }

    /// The entries about objects, in their order.
    pub(crate) fn objects(&self) -> impl Iterator<Item = &ObjectModel> {
        self.objects.iter()
    }

    /// The same, as they are now.
    pub(crate) fn object_entries(&self) -> Vector<ObjectModel> {
        self.objects.clone()
    }

    /// Whether there was news of objects since the last call.
    pub(crate) fn take_news_of_objects(&mut self) -> bool {
        std::mem::take(&mut self.news_of_objects)
    }

    /// How long a definition takes until it is served; `None` for one that is served at once.
    pub(crate) fn establishes(&self, name: &str) -> Option<SignedDuration> {
        self.definitions
            .iter()
            .rev()
            .find(|model| glob(&model.pattern, name))
            .map(|model| model.established.0)
            .filter(|span| !span.is_zero())
    }
}

impl ObjectModel {
    /// What is wrong with the entry, if anything.
    ///
    /// # Errors
    /// One sentence.
    pub(super) fn check(&self) -> Result<(), String> {
        let changes = !self.set.is_null() || !self.status.is_null() || !self.conditions.is_empty() || !self.tags.is_empty();
        let given = [changes, !self.make.is_null(), self.delete, self.never].into_iter().filter(|given| *given).count();
        if given != 1 {
            return Err(format!(
                "an entry about {} says one thing: `set`, `status`, `tags` or `conditions`, else `make`, `delete` or `never`",
                self.kind
            ));
        }
        if self.in_turn && self.after.is_none_or(|after| after == Span::ZERO) {
            return Err(format!(
                "an entry about {} that happens `in_turn` needs an `after`: the time from one object to the next",
                self.kind
            ));
        }
        if self.never && self.name.is_none() {
            return Err("an entry that never happens needs the `name` of the one that it takes away".to_owned());
        }
        let patches = [("set", &self.set), ("status", &self.status), ("make", &self.make)];
        if let Some((field, _)) = patches.iter().find(|(_, value)| !value.is_null() && !value.is_object()) {
            return Err(format!("`{field}` of an entry about {} is no mapping", self.kind));
        }
        if !self.make.is_null()
            && [&["apiVersion"][..], &["kind"], &["metadata", "name"]].iter().any(|path| view::text(&self.make, path).is_empty())
        {
            return Err("`make` needs `apiVersion`, `kind` and `metadata.name`".to_owned());
        }
        if let Some(wrong) = self.references().find(|reference| !(2..=3).contains(&reference.split('/').count())) {
            return Err(format!("`{wrong}` is no object: `kind/name` or `kind/namespace/name`"));
        }
        if self.when.iter().any(|condition| !condition.agent.is_empty()) && !matches!(self.kind.as_str(), "Node" | "Pod") {
            return Err("`agent` asks about nodes and pods alone".to_owned());
        }
        if let Some(wrong) = self.conditions.values().find(|condition| !matches!(condition.status.as_str(), "True" | "False" | "Unknown")) {
            return Err(format!("`{}` is no status of a condition: \"True\", \"False\" or \"Unknown\"", wrong.status));
        }
        self.when.iter().try_for_each(Condition::check)
    }

    /// The objects that it names.
    pub(crate) fn references(&self) -> impl Iterator<Item = &str> {
        self.when.iter().filter_map(|condition| condition.of.as_deref()).chain(self.to.as_deref())
    }

    /// Whether it is about objects of a kind.
    pub(crate) fn is_about_kind(&self, kind: &Kind) -> bool {
        names(kind, &self.kind)
    }

    /// Whether it is about this object.
    pub(crate) fn is_about(&self, kind: &Kind, object: &Value) -> bool {
        let wanted = &self.objects;
        self.is_about_kind(kind)
            && wanted.namespace.as_deref().is_none_or(|namespace| namespace == view::namespace(object))
            && wanted.name.as_deref().is_none_or(|pattern| glob(pattern, view::name(object)))
            && has_labels(object, &wanted.labels)
    }

    /// Whether it makes objects of a kind.
    pub(crate) fn makes(&self, kind: &Kind) -> bool {
        view::text(&self.make, &["kind"]) == kind.kind
    }
}

impl Condition {
    /// Whether it holds of an object that does not exist.
    pub(crate) fn may_be_absent(&self) -> bool {
        let rolled_out = Self { of: self.of.clone(), rolled_out: Some(true), ..Self::default() };
        let gone = Self { of: self.of.clone(), exists: Some(false), ..Self::default() };
        *self == rolled_out || *self == gone
    }

    /// As [`Self::check`], for conditions of commands.
    pub(crate) fn check_for_commands(&self) -> Result<(), String> {
        if !self.agent.is_empty() {
            return Err("`agent` asks about nodes and pods of `objects` entries alone".to_owned());
        }
        self.check()
    }

    fn check(&self) -> Result<(), String> {
        let asks = [self.exists.is_some(), self.path.is_some(), !self.images.is_empty(), self.rolled_out.is_some()];
        if asks.into_iter().chain([!self.conditions.is_empty(), !self.agent.is_empty()]).all(|given| !given) {
            return Err("a condition of `when` asks nothing".to_owned());
        }
        let about = [!self.is.is_null(), self.like.is_some(), self.absent.is_some()].into_iter().filter(|given| *given).count();
        match (&self.path, about) {
            (None, 0) | (Some(_), 1) => {}
            (None, _) => return Err("`is`, `like` and `absent` need a `path`".to_owned()),
            (Some(_), _) => return Err("a `path` needs one of `is`, `like` and `absent`".to_owned()),
        }
        match &self.path {
            Some(path) if crate::crd::path::Path::read(path).is_none() => Err(format!("`{path}` is no path such as `.status.phase`")),
            _ => Ok(()),
        }
    }
}

/// Whether a word names a kind: `Node`, `node`, `no`, `Installation.operator.tigera.io`.
pub(crate) fn names(kind: &Kind, word: &str) -> bool {
    let (name, group) = word.split_once('.').map_or((word, None), |(name, group)| (name, Some(group)));
    let is_called = kind.kind.eq_ignore_ascii_case(name) || kind.singular == name || kind.plural == name || kind.short.contains(&name);
    is_called && group.is_none_or(|group| kind.group == group)
}

/// Whether an object has all of these labels.
pub(crate) fn has_labels(object: &Value, labels: &BTreeMap<String, String>) -> bool {
    labels.iter().all(|(key, wanted)| view::label(object, key) == wanted)
}
