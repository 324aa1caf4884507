//! What commands change in the cluster: objects, as if a program had written them.

use serde::Deserialize;

use crate::fixture::INCLUDES;
use crate::json::Value;
use crate::view;

/// A change of objects that a command makes when it ends. Exactly one of `merge`, `make`, `delete`, `copy`, `input` and `include` is
/// given.
///
/// In texts `${…}` stands for a part of the pod that the command runs in, or of the node of the machine, as in
/// [`ObjectModel`](super::ObjectModel), and `${1}`, `${2}` … for what the first, the second `*` of the command's pattern stands for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ObjectChange {
    /// `kind/name`, or `kind/namespace/name`, of what is merged into or deleted. The name may be a pattern: every such object then.
    #[serde(default)]
    pub object: String,
    /// A JSON merge patch of it; a text holds one.
    #[serde(default)]
    pub merge: Value,
    /// Whether it is deleted; one that is gone already is no fault.
    #[serde(default)]
    pub delete: bool,
    /// An object that is to be there: it is made, or takes the place of the one that is there.
    #[serde(default)]
    pub make: Value,
    /// Objects that are copied as ones of another version.
    pub copy: Option<CopyModel>,
    /// What standard input holds: its documents are made, or take the place of those that are there.
    pub input: Option<InputModel>,
    /// The definitions behind this name of [`INCLUDES`](crate::fixture::INCLUDES) are made, where they are not there.
    pub include: Option<String>,
}

/// Objects that are copied. The kinds stay, and the names.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CopyModel {
    /// The kind, or `*.GROUP` for all kinds of a group.
    pub every: String,
    /// What the copies have as `apiVersion`. Kinds that it does not have are left out.
    #[serde(rename = "apiVersion")]
    pub version: String,
}

/// How documents of standard input are kept.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InputModel {
    /// What they have as `apiVersion` from then on; their own when left out.
    #[serde(rename = "apiVersion")]
    pub version: Option<String>,
}

impl ObjectChange {
    /// What is wrong with it, if anything.
    ///
    /// # Errors
    /// One sentence.
    pub(crate) fn check(&self) -> Result<(), String> {
        let given = [!self.merge.is_null(), self.delete, !self.make.is_null(), self.copy.is_some(), self.input.is_some()];
        let given = given.into_iter().chain([self.include.is_some()]);
        if given.filter(|given| *given).count() != 1 {
            return Err("a change of `objects` says one thing: `merge`, `delete`, `make`, `copy`, `input` or `include`".to_owned());
        }
        if let Some(name) = self.include.as_deref().filter(|name| !INCLUDES.contains(name)) {
            return Err(format!("there is nothing to include as `{name}`; there are {}", INCLUDES.join(", ")));
        }
        let named = !self.merge.is_null() || self.delete;
        if named == self.object.is_empty() {
            return Err("`merge` and `delete` of `objects` need an `object`, and nothing else has one".to_owned());
        }
        if named && !(2..=3).contains(&self.object.split('/').count()) {
            return Err(format!("`{}` is no object: `kind/name` or `kind/namespace/name`", self.object));
        }
        let made = &self.make;
        if !made.is_null() && [&["apiVersion"][..], &["kind"], &["metadata", "name"]].iter().any(|path| view::text(made, path).is_empty()) {
            return Err("`make` needs `apiVersion`, `kind` and `metadata.name`".to_owned());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::{from_value, json};

    #[test]
    fn a_change_says_one_thing() {
        let check = |change: Value| from_value::<ObjectChange>(change).unwrap().check();
        for right in [
            json!({"object": "node/n1", "merge": {"metadata": {}}}),
            json!({"object": "configmap/kube-system/*", "delete": true}),
            json!({"make": {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}}}),
            json!({"copy": {"every": "*.a.example", "apiVersion": "b.example/v1"}}),
            json!({"input": {}}),
        ] {
            assert_eq!(check(right.clone()), Ok(()), "{right}");
        }
        for (wrong, word) in [
            (json!({"object": "node/n1"}), "one thing"),
            (json!({"object": "node/n1", "delete": true, "merge": {}}), "one thing"),
            (json!({"delete": true}), "need an `object`"),
            (json!({"object": "node/n1", "input": {}}), "nothing else has one"),
            (json!({"object": "n1", "delete": true}), "is no object"),
            (json!({"make": {"kind": "ConfigMap"}}), "`make` needs"),
        ] {
            assert!(check(wrong.clone()).unwrap_err().contains(word), "{wrong}");
        }
    }
}
