//! Custom resources: definitions, and the objects of the kinds that they define.
//!
//! A definition that is established makes a [`Kind`] for each of its versions. Kinds live as long as the process and are shared by
//! all clusters: each different definition of a version is kept once. Which of them a cluster serves is in its [`Customs`], which a
//! fork shares. All versions of a kind name the same objects.

mod check;
pub(crate) mod define;
mod format;
pub(crate) mod lifecycle;
pub(crate) mod path;
mod schema;
mod structural;

use std::collections::BTreeMap;
use std::sync::{Mutex, OnceLock, PoisonError};

use imbl::OrdMap;

use self::path::Path;
use self::schema::Schema;
use crate::json::{Text, Value, json};
use crate::kinds::{self, Kind, Modelling};
use crate::schema::Type;
use crate::status::{Cause, Status};
use crate::view;

/// What a version of a definition says of its objects.
#[derive(Debug)]
pub(crate) struct Version {
    schema: Schema,
    /// The version that is stored, when it is another one.
    stored: Option<(Schema, Type)>,
    /// The fields of an object.
    pub(crate) fields: Type,
    /// The same as a schema of OpenAPI.
    document: Value,
    pub(crate) list_kind: Text,
    pub(crate) storage: Text,
    pub(crate) columns: Vec<Column>,
    pub(crate) scale: Option<Scale>,
    /// Whether objects keep what the schema does not know.
    keeps_unknown: bool,
}

/// A column of the table of a kind.
#[derive(Debug)]
pub(crate) struct Column {
    pub(crate) name: Text,
    pub(crate) kind: Text,
    pub(crate) format: Text,
    pub(crate) description: String,
    pub(crate) priority: i64,
    /// `None` for a path that finds nothing here.
    pub(crate) path: Option<Path>,
}

/// Where the scale of an object is.
#[derive(Debug)]
pub(crate) struct Scale {
    wanted: Text,
    found: Text,
    selector: Option<Path>,
}

/// The definitions of a cluster that are established, by name.
#[derive(Debug, Clone, Default)]
pub(crate) struct Customs {
    definitions: OrdMap<Text, Definition>,
}

#[derive(Debug, Clone)]
struct Definition {
    established: bool,
    served: Vec<&'static Kind>,
    any: &'static Kind,
}

impl Customs {
    /// Takes in a definition as it is now.
    pub(crate) fn take(&mut self, name: &Text, definition: Option<&Value>) {
        let read = definition.and_then(Definition::read);
        match read {
            Some(read) => self.definitions.insert(name.clone(), read),
            None => self.definitions.remove(name),
        };
    }

    /// The kinds that are served, in the order of their definitions.
    pub(crate) fn kinds(&self) -> Vec<&'static Kind> {
        self.definitions
            .values()
            .filter(|definition| definition.established)
            .flat_map(|definition| definition.served.iter().copied())
            .collect()
    }

    /// The kind behind a resource path.
    pub(crate) fn served(&self, group: &str, version: &str, plural: &str) -> Option<&'static Kind> {
        let definition = self.definitions.get(&Text::from(format!("{plural}.{group}")))?;
        definition.served.iter().copied().find(|kind| kind.version == version).filter(|_| definition.established)
    }

    /// The kind with this `apiVersion` and `kind`.
    pub(crate) fn by_kind(&self, api_version: &str, kind: &str) -> Option<&'static Kind> {
        self.kinds().into_iter().find(|known| known.kind == kind && known.api_version() == api_version)
    }

    /// The kinds of a definition that nobody looked at yet, as if its names were accepted.
    pub(crate) fn expect(&mut self, definition: &Value) {
        let mut definition = definition.clone();
        definition.as_object_mut().map(define::defaults);
        if let Some(read) = Definition::read(&definition) {
            self.definitions.insert(view::name(&definition).into(), Definition { established: true, ..read });
        }
    }

    /// A kind of the definition with this name, established or not.
    pub(crate) fn defined(&self, name: &Text) -> Option<&'static Kind> {
        self.definitions.get(name).map(|definition| definition.any)
    }
}

impl Definition {
    fn read(definition: &Value) -> Option<Self> {
        let kind = |version: &Value| kind_of(definition, version);
        let served: Vec<&'static Kind> =
            define::versions(definition).iter().filter(|version| view::flag(version, &["served"])).map(kind).collect();
        let any = define::versions(definition).first().map(kind)?;
        Some(Self { established: view::condition_is_true(definition, "Established"), served, any })
    }
}

fn leak(text: &str) -> &'static str {
    Box::leak(text.to_owned().into_boxed_str())
}

/// All kinds that were ever defined in this process, by what makes them.
static KNOWN: OnceLock<Mutex<BTreeMap<String, &'static Kind>>> = OnceLock::new();

/// A kind that a definition made, in whichever version; also when the definition is gone.
#[must_use]
pub fn ever_defined(group: &str, plural: &str) -> Option<&'static Kind> {
    let known = KNOWN.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner);
    known.values().copied().find(|kind| kind.group == group && kind.plural == plural)
}

/// The kind that a version of a definition makes: the same for the same definition.
fn kind_of(definition: &Value, version: &Value) -> &'static Kind {
    let spec = |path: &[&str]| view::at(definition, &[&["spec"], path].concat()).cloned().unwrap_or_default();
    let identity = json!([
        spec(&["group"]),
        spec(&["names"]),
        spec(&["scope"]),
        define::storage(definition),
        spec(&["preserveUnknownFields"]),
        version
    ])
    .to_string();
    let mut known = KNOWN.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner);
    known.entry(identity).or_insert_with(|| Box::leak(Box::new(made(definition, version))))
}

fn made(definition: &Value, version: &Value) -> Kind {
    let text = |path: &[&str]| leak(view::text(definition, path));
    let texts = |field: &str| -> &'static [&'static str] {
        let list = view::list(definition, &["spec", "names", field]).iter().filter_map(Value::as_str).map(leak);
        Box::leak(list.collect::<Vec<_>>().into_boxed_slice())
    };
    let has = |name: &&'static str| view::at(version, &["subresources", name]).is_some();
    let subresources: Vec<&'static str> = ["scale", "status"].into_iter().filter(has).collect();
    Kind {
        rank: kinds::rank(view::text(definition, &["spec", "group"]), view::text(definition, &["spec", "names", "plural"])),
        group: text(&["spec", "group"]),
        version: leak(view::text(version, &["name"])),
        kind: text(&["spec", "names", "kind"]),
        plural: text(&["spec", "names", "plural"]),
        singular: text(&["spec", "names", "singular"]),
        short: texts("shortNames"),
        namespaced: view::text(definition, &["spec", "scope"]) == "Namespaced",
        subresources: Box::leak(subresources.into_boxed_slice()),
        has_generation: true,
        categories: texts("categories"),
        status: Modelling::Modelled,
        definition: Some(Box::leak(Box::new(Version::read(definition, version)))),
    }
}

impl Version {
    fn read(definition: &Value, version: &Value) -> Self {
        let open = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
        let schema = view::at(version, &["schema", "openAPIV3Schema"]).unwrap_or(&open);
        let scale = view::at(version, &["subresources", "scale"]).map(|scale| Scale {
            wanted: view::text(scale, &["specReplicasPath"]).into(),
            found: view::text(scale, &["statusReplicasPath"]).into(),
            selector: Some(view::text(scale, &["labelSelectorPath"])).filter(|path| !path.is_empty()).and_then(Path::read),
        });
        let columns = view::list(version, &["additionalPrinterColumns"]);
        let age = [json!({"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"})];
        let columns = if columns.is_empty() { &age } else { columns };
        let storage = define::versions(definition).iter().find(|version| view::flag(version, &["storage"]));
        let stored = storage.filter(|stored| stored.get("name") != version.get("name"));
        let stored = stored.map(|stored| view::at(stored, &["schema", "openAPIV3Schema"]).unwrap_or(&open));
        Self {
            schema: Schema::read(schema),
            stored: stored.map(|stored| (Schema::read(stored), schema::types(stored))),
            fields: schema::types(schema),
            document: schema::described(schema, true),
            list_kind: view::text(definition, &["spec", "names", "listKind"]).into(),
            storage: define::storage(definition).into(),
            columns: columns.iter().map(Column::read).collect(),
            scale,
            keeps_unknown: define::keeps_unknown(definition),
        }
    }

    /// Brings an object into a version: its fields, its defaults, its `apiVersion`.
    fn shape(&self, api_version: String, object: &mut Value) {
        if !self.keeps_unknown {
            crate::schema::prune(&self.fields, object, None);
        }
        self.schema.drop_nulls(object);
        self.schema.fill(object);
        view::set(object, &["apiVersion"], api_version);
    }
}

impl Column {
    fn read(column: &Value) -> Self {
        let text = |field: &str| view::text(column, &[field]);
        let description = match text("description") {
            "" => format!("Custom resource definition column (in JSONPath format): {}", text("jsonPath")),
            words => words.to_owned(),
        };
        Self {
            name: text("name").into(),
            kind: text("type").into(),
            format: text("format").into(),
            description,
            priority: view::count(column, &["priority"]),
            path: Path::read(text("jsonPath")),
        }
    }
}

/// Prepares a custom resource of a fixture, and checks it.
///
/// # Errors
/// As [`validate`].
pub(crate) fn load(kind: &Kind, object: &mut Value) -> Result<(), Status> {
    prepare(kind, object);
    validate(kind, object, None, false)?;
    into_storage(kind, object);
    Ok(())
}

/// Prepares a custom resource that was written in a version: fields and defaults.
pub(crate) fn prepare(kind: &Kind, object: &mut Value) {
    if let Some(version) = kind.custom() {
        version.shape(kind.api_version(), object);
    }
}

/// Checks a custom resource against its schema; `status` checks the status alone.
///
/// # Errors
/// 422 with all causes.
pub(crate) fn validate(kind: &Kind, object: &Value, before: Option<&Value>, status: bool) -> Result<(), Status> {
    let Some(version) = kind.custom() else { return Ok(()) };
    let mut causes = check::object(&version.schema, object, before, status);
    if let Some(scale) = &version.scale {
        let path = if status { &scale.found } else { &scale.wanted };
        causes.extend(check::replicas(object, path));
    }
    if causes.is_empty() { Ok(()) } else { Err(Status::invalid(kind, view::name(object), &causes)) }
}

/// The `apiVersion` in which objects of a kind are stored.
pub(crate) fn stored_version(kind: &Kind) -> String {
    kind.custom().map_or_else(|| kind.api_version(), |version| format!("{}/{}", kind.group, version.storage))
}

/// A stored custom resource as this version has it.
pub(crate) fn presented(kind: &Kind, object: &Value) -> Option<Value> {
    let version = kind.custom()?;
    let mut object = object.clone();
    if version.stored.is_some() {
        // Defaults are those of the version that is stored; conversion takes and gives nothing.
        into_storage(kind, &mut object);
        crate::schema::prune(&version.fields, &mut object, None);
        view::set(&mut object, &["apiVersion"], kind.api_version());
    } else {
        version.shape(kind.api_version(), &mut object);
    }
    Some(object)
}

/// Brings a custom resource into the version that is stored.
pub(crate) fn into_storage(kind: &Kind, object: &mut Value) {
    if let Some((schema, fields)) = kind.custom().and_then(|version| version.stored.as_ref()) {
        if !kind.custom().is_some_and(|version| version.keeps_unknown) {
            crate::schema::prune(fields, object, None);
        }
        schema.drop_nulls(object);
        schema.fill(object);
        view::set(object, &["apiVersion"], stored_version(kind));
    }
}

/// A custom resource as a read of what is stored gives it.
pub(crate) fn stored(kind: &Kind, object: &Value) -> Value {
    let mut object = object.clone();
    match kind.custom() {
        Some(version) if version.stored.is_none() => version.shape(kind.api_version(), &mut object),
        _ => into_storage(kind, &mut object),
    }
    object
}

/// The schema of a custom resource as OpenAPI describes it.
pub(crate) fn document(kind: &Kind) -> Option<&'static Value> {
    kind.custom().map(|version| &version.document)
}

/// The type of what every custom resource has, of which alone the decoder knows.
pub(crate) fn frame() -> &'static Type {
    static FRAME: OnceLock<Type> = OnceLock::new();
    FRAME.get_or_init(|| schema::types(&json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true})))
}

impl Scale {
    /// The scale of an object: counts wanted and found, and the selector.
    pub(crate) fn read(&self, object: &Value) -> (Option<i64>, i64, Option<String>) {
        let count = |path: &str| Path::read(path).and_then(|path| path.find(object).first().and_then(|value| value.as_i64()));
        let selector =
            self.selector.as_ref().map(|path| path.find(object).first().and_then(|value| value.as_str()).unwrap_or_default().to_owned());
        (count(&self.wanted), count(&self.found).unwrap_or(0), selector.filter(|text| !text.is_empty()))
    }

    /// Sets how many replicas are wanted.
    pub(crate) fn write(&self, object: &mut Value, replicas: i64) {
        if let Some(path) = Path::read(&self.wanted) {
            path.set(object, replicas.into());
        }
    }
}

/// Whether a body is of the kind that the path says; a custom resource has to say it itself.
///
/// # Errors
/// 400 for one that does not say it, 422 for another kind.
pub(crate) fn check_kind(kind: &Kind, object: &Value, text: &[u8]) -> Result<(), Status> {
    if kind.custom().is_none() {
        return Ok(());
    }
    let given = view::text(object, &["kind"]);
    if given.is_empty() {
        let text = String::from_utf8_lossy(text);
        let start: String =
            if text.chars().count() > 30 { format!("{} ...", text.chars().take(30).collect::<String>()) } else { text.to_string() };
        return Err(Status::bad_request(format!(
            "the object provided is unrecognized (must be of type {}): Object 'Kind' is missing in '{text}' ({start})",
            kind.kind
        )));
    }
    if given != kind.kind && view::text(object, &["apiVersion"]) == kind.api_version() {
        let cause = Cause::invalid("kind", &given.into(), &format!("must be {}", kind.kind));
        let message = format!("{given}.{} {:?} is invalid: {}: {}", kind.group, view::name(object), cause.field, cause.message);
        let causes = json!([{"reason": cause.reason, "message": cause.message, "field": cause.field}]);
        let details = json!({"name": view::name(object), "group": kind.group, "kind": given, "causes": causes});
        return Err(Status::new(422, "Invalid", message, details));
    }
    Ok(())
}

/// Notes the storage version of a changed definition.
pub(crate) fn keep_stored(kind: &Kind, definition: &mut Value) {
    if define::is_definition(kind) {
        define::keep_stored(definition);
    }
}

/// Refuses a definition with what no simulated cluster has.
///
/// # Errors
/// 501 by name.
pub(crate) fn refuse(kind: &Kind, definition: &Value) -> Result<(), Status> {
    if define::is_definition(kind) { define::refuse(definition) } else { Ok(()) }
}

/// Warns of what a definition has and nobody here evaluates.
pub(crate) fn warning(kind: &Kind, object: &Value) -> Option<String> {
    let rules = define::is_definition(kind) && define::has_rules(object);
    rules.then(|| "simulator: not modelled: x-kubernetes-validations are not evaluated".to_owned())
}
