//! Fixtures: a cluster written down as Kubernetes YAML, with `Model` documents for what the API does not say.
//!
//! What `kubectl get -o yaml` prints is accepted as it is: several documents, lists, objects with status, uids and times. What
//! a document leaves out is filled in as the server and the kubelets would.

mod boot;
mod faults;
mod include;
mod notes;
mod read;
mod releases;

pub use include::INCLUDES;
pub(crate) use include::definitions;
pub(crate) use read::values;
pub use read::{yaml_message, yaml_options};

use std::collections::BTreeMap;
use std::fmt;

use crate::crd::Customs;
use crate::json::Value;

use self::include::Included;
use crate::faults::FaultsDocument;
use crate::kinds::{self, Kind};
use crate::model::ModelDocument;
use crate::view;

/// What is wrong with a fixture, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FixtureError {
    /// The file as the caller named it.
    pub file: String,
    /// Line, from 1; 0 when the file as a whole is meant.
    pub line: u64,
    /// Column, from 1; 0 when the line as a whole is meant.
    pub column: u64,
    /// What is wrong.
    pub message: String,
}

impl fmt::Display for FixtureError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.file)?;
        for number in [self.line, self.column].into_iter().filter(|n| *n > 0) {
            write!(f, "{number}:")?;
        }
        write!(f, " {}", self.message)
    }
}

impl std::error::Error for FixtureError {}

/// An object of a fixture with the line where it begins.
#[derive(Debug, Clone)]
struct Placed {
    kind: &'static Kind,
    line: u64,
    object: Value,
}

impl Placed {
    /// `kind/namespace/name`, without the namespace for cluster-scoped kinds, and with the group for custom ones: these may have any name.
    fn id(&self) -> String {
        let name = view::name(&self.object);
        let kind = match self.kind.custom() {
            Some(_) => format!("{}.{}", self.kind.singular, self.kind.group),
            None => self.kind.singular.to_owned(),
        };
        if self.kind.namespaced { format!("{kind}/{}/{name}", view::namespace(&self.object)) } else { format!("{kind}/{name}") }
    }
}

/// A parsed fixture.
#[derive(Debug, Clone)]
pub struct Fixture {
    file: String,
    objects: Vec<Placed>,
    /// What the definitions of the fixture define.
    customs: Customs,
    models: Vec<ModelDocument>,
    faults: Vec<FaultsDocument>,
}

impl Fixture {
    /// Reads a fixture. Nothing is validated yet that needs the API server; [`Self::cluster`] does that.
    ///
    /// # Errors
    /// The first mistake with its place: no YAML, no Kubernetes object, a kind that is unknown or not modelled, a missing or
    /// mistyped name, an object given twice, a model that does not say why.
    pub fn parse(file_name: &str, text: &str) -> Result<Self, FixtureError> {
        let mut fixture =
            Self { file: file_name.to_owned(), objects: Vec::new(), customs: Customs::default(), models: Vec::new(), faults: Vec::new() };
        let documents = read::documents(text);
        let mut included = Included::default();
        if text.contains("include") {
            for document in &documents {
                // What is no model is read, and told, below.
                let Ok(model) = document.parse::<ModelDocument>() else { continue };
                included.take(&model).map_err(|wrong| fixture.error(document.first_line(), 0, wrong))?;
            }
            included.expect(&mut fixture.customs);
        }
        // A definition may stand behind what it defines.
        if text.contains(kinds::CUSTOM_RESOURCE_DEFINITION.kind) {
            documents.iter().filter_map(|document| document.parse::<Value>().ok()).for_each(|value| fixture.expect(&value));
        }
        if text.contains("releases:") {
            for model in documents.iter().filter_map(|document| document.parse::<ModelDocument>().ok()) {
                fixture.expect_releases(&model.charts)?;
            }
        }
        for document in &documents {
            fixture.document(document)?;
        }
        fixture.check_unique()?;
        fixture.release_all()?;
        fixture.add(included)?;
        Ok(fixture)
    }

    fn expect(&mut self, value: &Value) {
        let items = view::list(value, &["items"]).iter().chain([value]);
        let is_one = |value: &&Value| view::text(value, &["kind"]) == kinds::CUSTOM_RESOURCE_DEFINITION.kind;
        items.filter(is_one).for_each(|definition| self.customs.expect(definition));
    }

    /// The objects in the order of the file.
    pub fn objects(&self) -> impl Iterator<Item = &Value> {
        self.objects.iter().map(|placed| &placed.object)
    }

    /// The `Model` documents, those that were included first.
    pub(crate) fn models(&self) -> impl Iterator<Item = &ModelDocument> {
        self.models.iter()
    }

    fn error(&self, line: u64, column: u64, message: impl Into<String>) -> FixtureError {
        FixtureError { file: self.file.clone(), line, column, message: message.into() }
    }

    fn document(&mut self, document: &read::Document) -> Result<(), FixtureError> {
        let yaml_error = |fixture: &Self, e: read::YamlError| fixture.error(e.line, e.column, e.message);
        let value: Value = document.parse().map_err(|e| yaml_error(self, e))?;
        let line = document.first_line();
        match value {
            Value::Null => return Ok(()),
            Value::Object(_) => {}
            other => return Err(self.error(line, 0, format!("a Kubernetes object is expected here, not {}", shape(&other)))),
        }
        if view::text(&value, &["apiVersion"]) == "lockgate.dev/v1" && view::text(&value, &["kind"]) == "Model" {
            let model = document.parse().map_err(|e| yaml_error(self, e))?;
            self.models.push(model);
            return Ok(());
        }
        if FaultsDocument::is_one(&value) {
            let read = faults::faults(document).map_err(|e| yaml_error(self, e))?;
            self.faults.push(read);
            return Ok(());
        }
        if view::text(&value, &["kind"]).ends_with("List") && view::at(&value, &["items"]).is_some() {
            for (line, item) in document.items().map_err(|e| yaml_error(self, e))? {
                let item = with_type_of_list(item, &value);
                self.object(line, item)?;
            }
            return Ok(());
        }
        self.object(line, value)
    }

    fn object(&mut self, line: u64, mut object: Value) -> Result<(), FixtureError> {
        for field in ["apiVersion", "kind"] {
            match object.get(field) {
                Some(Value::String(_)) => {}
                Some(other) => return Err(self.error(line, 0, format!("`{field}` must be a string, not {}", shape(other)))),
                None => return Err(self.error(line, 0, format!("the object has no `{field}`"))),
            }
        }
        let kind = self.kind_of(line, &object)?;
        match view::at(&object, &["metadata", "name"]) {
            Some(Value::String(name)) if !name.is_empty() => {}
            None | Some(Value::Null | Value::String(_)) => {
                return Err(self.error(line, 0, format!("the {} has no `metadata.name`", kind.kind)));
            }
            Some(other) => {
                let text = format!("`metadata.name` of the {} must be a string, not {}; quote it", kind.kind, shape(other));
                return Err(self.error(line, 0, text));
            }
        }
        let namespace = view::at(&object, &["metadata", "namespace"]).filter(|n| !n.is_null());
        match (kind.namespaced, namespace) {
            (true, None) => view::set(&mut object, &["metadata", "namespace"], "default"),
            (true, Some(Value::String(_))) | (false, None) => {}
            (true, Some(other)) => {
                let text = format!("`metadata.namespace` of the {} must be a string, not {}", kind.kind, shape(other));
                return Err(self.error(line, 0, text));
            }
            (false, Some(_)) => {
                let text = format!("a {} belongs to no namespace; leave `metadata.namespace` out", kind.kind);
                return Err(self.error(line, 0, text));
            }
        }
        self.objects.push(Placed { kind, line, object });
        Ok(())
    }

    fn kind_of(&self, line: u64, object: &Value) -> Result<&'static Kind, FixtureError> {
        let (version, name) = (view::text(object, &["apiVersion"]), view::text(object, &["kind"]));
        if let Some(kind) = kinds::by_kind(version, name).or_else(|| self.customs.by_kind(version, name)) {
            return Ok(kind);
        }
        if let Some(what) = kinds::kind_not_modelled(version, name) {
            return Err(self.error(line, 0, format!("simulator: not modelled: {what}")));
        }
        let near = kinds::ALL.iter().find(|k| k.kind.eq_ignore_ascii_case(name));
        let hint = near.map_or_else(String::new, |k| format!("; did you mean `{}` of `{}`?", k.kind, k.api_version()));
        Err(self.error(line, 0, format!("unknown kind `{name}` of `{version}`{hint}")))
    }

    fn check_unique(&self) -> Result<(), FixtureError> {
        let mut seen: BTreeMap<String, u64> = BTreeMap::new();
        for placed in &self.objects {
            if let Some(first) = seen.insert(placed.id(), placed.line) {
                let text = format!("`{}` is given twice, first in line {first}", placed.id());
                return Err(self.error(placed.line, 0, text));
            }
        }
        Ok(())
    }
}

/// Items of a typed list (`PodList`) leave out what the list says.
fn with_type_of_list(mut item: Value, list: &Value) -> Value {
    let kind = view::text(list, &["kind"]).strip_suffix("List").unwrap_or_default();
    if !kind.is_empty() && item.is_object() && item.get("kind").is_none() {
        view::set(&mut item, &["kind"], kind);
        view::set(&mut item, &["apiVersion"], view::text(list, &["apiVersion"]));
    }
    item
}

/// What a value is, in words.
fn shape(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "a mapping",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        Fixture::parse("c.yaml", text).unwrap_err().to_string()
    }

    const POD: &str = "apiVersion: v1\nkind: Pod\nmetadata:\n  name: a\n";

    #[test]
    fn documents_and_lists_give_objects() {
        let text = format!(
            "# nodes\n---\napiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: Node\n  metadata: {{name: n1}}\n---\n\n{POD}---\n\
             apiVersion: v1\nkind: PodList\nitems:\n- metadata: {{name: b, namespace: x}}\n"
        );
        let fixture = Fixture::parse("c.yaml", &text).unwrap();
        let ids: Vec<String> = fixture.objects.iter().map(Placed::id).collect();
        assert_eq!(ids, ["node/n1", "pod/default/a", "pod/x/b"]);
        let lines: Vec<u64> = fixture.objects.iter().map(|placed| placed.line).collect();
        assert_eq!(lines, [6, 11, 19]);
    }

    #[test]
    fn mistakes_are_named_with_their_line() {
        assert_eq!(error("apiVersion: v1\nkind: Pod\n"), "c.yaml:1: the Pod has no `metadata.name`");
        assert_eq!(error(&format!("{POD}---\n{POD}")), "c.yaml:6: `pod/default/a` is given twice, first in line 1");
        assert_eq!(
            error(&format!("{POD}---\napiVersion: apps/v1\nkind: deployment\nmetadata: {{name: x}}\n")),
            "c.yaml:6: unknown kind `deployment` of `apps/v1`; did you mean `Deployment` of `apps/v1`?"
        );
        assert_eq!(
            error("\n\napiVersion: storage.k8s.io/v1\nkind: StorageClass\nmetadata: {name: x}\n"),
            "c.yaml:3: simulator: not modelled: StorageClass.storage.k8s.io"
        );
        assert_eq!(error("kind: Pod\n"), "c.yaml:1: the object has no `apiVersion`");
        assert_eq!(error("- 1\n"), "c.yaml:1: a Kubernetes object is expected here, not a list");
        assert_eq!(
            error("apiVersion: v1\nkind: Pod\nmetadata: {name: 7}\n"),
            "c.yaml:1: `metadata.name` of the Pod must be a string, not a number; quote it"
        );
        assert!(error("apiVersion: v1\nkind: Node\nmetadata: {name: n, namespace: x}\n").contains("belongs to no namespace"));
    }

    #[test]
    fn yaml_errors_point_into_the_file() {
        let text = format!("{POD}---\napiVersion: v1\n  kind: Pod\n");
        let e = Fixture::parse("c.yaml", &text).unwrap_err();
        assert_eq!((e.line, e.column > 0), (7, true), "{e}");
        assert!(!e.message.contains("line"), "{e}");
        let tens = |inner: &str| [inner; 10].join(", ");
        let mut bomb = format!("{POD}a0: &a0 [{}]\n", tens("1"));
        for level in 1..8 {
            bomb.push_str(&format!("a{level}: &a{level} [{}]\n", tens(&format!("*a{}", level - 1))));
        }
        let e = Fixture::parse("c.yaml", &bomb).unwrap_err();
        assert_eq!(e.message, "the document is too large, or its aliases (`*name`) unfold to too much");
        let model = "apiVersion: lockgate.dev/v1\nkind: Model\nimages:\n- match: '*'\n  pul: 3s\n  why: seen\n";
        let e = Fixture::parse("c.yaml", &format!("{POD}---\n{model}")).unwrap_err();
        assert_eq!((e.line, e.column), (10, 3), "{e}");
        assert!(e.message.starts_with("unknown field `pul`"), "{e}");
    }
}
