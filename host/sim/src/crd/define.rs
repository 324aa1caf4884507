//! Definitions of custom resources: what the server fills in, and what it refuses.

use super::schema::Schema;
use super::structural;
use crate::json::{Map, Value, json};
use crate::kinds;
use crate::selector::is_dns_label;
use crate::status::{Cause, Status};
use crate::view;

/// The server's words for a name that is no label of the older kind.
pub(super) const LABEL_1035: &str = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an \
    alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is \
    '[a-z]([-a-z0-9]*[a-z0-9])?')";

const IMMUTABLE: &str = "field is immutable";

fn is_label_1035(name: &str) -> bool {
    is_dns_label(name) && name.starts_with(|c: char| c.is_ascii_lowercase())
}

/// The versions of a definition.
pub(super) fn versions(definition: &Value) -> &[Value] {
    view::list(definition, &["spec", "versions"])
}

/// The name of the version that objects are stored in.
pub(super) fn storage(definition: &Value) -> &str {
    let version = versions(definition).iter().find(|version| view::flag(version, &["storage"]));
    version.map_or("", |version| view::text(version, &["name"]))
}

/// Fills in names and the way of conversion.
pub(crate) fn defaults(fields: &mut Map) {
    let Some(spec) = fields.get_mut("spec").filter(|spec| spec.is_object()) else { return };
    let kind = view::text(spec, &["names", "kind"]).to_owned();
    if !kind.is_empty() {
        for (name, value) in [("singular", kind.to_lowercase()), ("listKind", format!("{kind}List"))] {
            if view::text(spec, &["names", name]).is_empty() {
                view::set(spec, &["names", name], value);
            }
        }
    }
    if view::at(spec, &["conversion"]).is_none() {
        view::set(spec, &["conversion", "strategy"], "None");
    }
}

/// The status of a new definition.
pub(crate) fn first_status(definition: &Value) -> Value {
    let stored: Vec<Value> = Some(storage(definition)).filter(|name| !name.is_empty()).map(Value::from).into_iter().collect();
    let stored = if stored.is_empty() { Value::Null } else { stored.into() };
    json!({"conditions": null, "acceptedNames": {"kind": "", "plural": ""}, "storedVersions": stored})
}

/// Whether a webhook converts the versions of a definition.
pub(crate) fn converts_elsewhere(definition: &Value) -> bool {
    view::text(definition, &["spec", "conversion", "strategy"]) == "Webhook"
}

/// What of a definition the simulator does not have.
pub(crate) fn not_modelled(definition: &Value) -> Option<&'static str> {
    if converts_elsewhere(definition) {
        return Some("conversion webhooks of custom resources");
    }
    let selects = versions(definition).iter().any(|version| !view::list(version, &["selectableFields"]).is_empty());
    selects.then_some("selectableFields of custom resources")
}

/// Whether a definition has rules, which are not evaluated.
pub(crate) fn has_rules(definition: &Value) -> bool {
    let schemas = versions(definition).iter().filter_map(|version| view::at(version, &["schema", "openAPIV3Schema"]));
    schemas.into_iter().any(|schema| Schema::read(schema).has_rules())
}

/// What is wrong with a definition.
pub(crate) fn content(definition: &Value, stored: &[Value], causes: &mut Vec<Cause>) {
    let (group, plural) = (view::text(definition, &["spec", "group"]), view::text(definition, &["spec", "names", "plural"]));
    if group.is_empty() {
        causes.push(Cause::required("spec.group", ""));
    } else if !group.contains('.') {
        causes.push(Cause::invalid("spec.group", &group.into(), "should be a domain with at least one dot"));
    }
    match view::text(definition, &["spec", "scope"]) {
        "" => causes.push(Cause::required("spec.scope", "")),
        "Cluster" | "Namespaced" => {}
        other => causes.push(Cause::not_supported("spec.scope", &other.into(), &["Cluster", "Namespaced"])),
    }
    if keeps_unknown(definition) {
        let detail = "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead";
        causes.push(Cause::invalid("spec.preserveUnknownFields", &true.into(), detail));
    }
    names(definition, plural, causes);
    conversion(definition, causes);
    all_versions(definition, stored, causes);
}

fn names(definition: &Value, plural: &str, causes: &mut Vec<Cause>) {
    for (field, mixed) in [("plural", false), ("singular", false), ("kind", true), ("listKind", true)] {
        let name = if field == "plural" { plural } else { view::text(definition, &["spec", "names", field]) };
        let path = format!("spec.names.{field}");
        if name.is_empty() {
            causes.push(Cause::required(path, ""));
        } else if mixed && !is_label_1035(&name.to_lowercase()) {
            causes.push(Cause::invalid(path, &name.into(), &format!("may have mixed case, but should otherwise match: {LABEL_1035}")));
        } else if !mixed && !is_label_1035(name) {
            causes.push(Cause::invalid(path, &name.into(), LABEL_1035));
        }
    }
    for field in ["shortNames", "categories"] {
        for (at, name) in view::list(definition, &["spec", "names", field]).iter().enumerate() {
            if !name.as_str().is_some_and(is_label_1035) {
                causes.push(Cause::invalid(format!("spec.names.{field}[{at}]"), name, LABEL_1035));
            }
        }
    }
}

fn conversion(definition: &Value, causes: &mut Vec<Cause>) {
    let conversion = |path: &[&str]| view::at(definition, &[&["spec", "conversion"], path].concat()).is_some();
    match view::text(definition, &["spec", "conversion", "strategy"]) {
        "None" => {}
        "Webhook" => {
            if !conversion(&["webhook", "clientConfig"]) {
                causes.push(Cause::required("spec.conversion.webhookClientConfig", "required when strategy is set to Webhook"));
            }
            if !conversion(&["webhook", "conversionReviewVersions"]) {
                causes.push(Cause::required("spec.conversion.conversionReviewVersions", ""));
            }
        }
        "" if definition.get("spec").is_none() => {}
        "" => causes.push(Cause::required("spec.conversion.strategy", "")),
        other => causes.push(Cause::not_supported("spec.conversion.strategy", &other.into(), &["None", "Webhook"])),
    }
}

/// A part that all versions have in common is described once, for all of them: the path says so.
fn place(versions: &[Value], at: usize, part: &str) -> Option<String> {
    let common = versions.iter().all(|version| version.get(part) == versions[0].get(part));
    let path = |long: &str| if part == "schema" { long.replace("schema.", "validation.") } else { long.to_owned() };
    let tail = if part == "schema" { "schema.openAPIV3Schema" } else { part };
    match (common, at) {
        (true, 0) => Some(path(&format!("spec.{tail}"))),
        (true, _) => None,
        (false, at) => Some(format!("spec.versions[{at}].{tail}")),
    }
}

fn all_versions(definition: &Value, stored: &[Value], causes: &mut Vec<Cause>) {
    let all = versions(definition);
    for (at, version) in all.iter().enumerate() {
        let name = view::text(version, &["name"]);
        if !is_label_1035(name) {
            causes.push(Cause::invalid(format!("spec.versions[{at}].name"), &name.into(), LABEL_1035));
            if at == 0 {
                causes.push(Cause::invalid("spec.version", &name.into(), LABEL_1035));
            }
        }
        match view::at(version, &["schema", "openAPIV3Schema"]) {
            None => causes.push(Cause::required(format!("spec.versions[{at}].schema.openAPIV3Schema"), "")),
            Some(schema) => {
                if let Some(path) = place(all, at, "schema") {
                    structural::root(schema, &path, causes);
                }
            }
        }
        subresources(version, place(all, at, "subresources"), causes);
        columns(version, place(all, at, "additionalPrinterColumns"), causes);
    }
    let shown = |what: &str| {
        let rows: Vec<String> = all.iter().map(internal).collect();
        let given = definition.get("spec").is_some_and(|spec| spec.get("versions").is_some());
        let value = if given { format!("[{}]", rows.join(",")) } else { "null".to_owned() };
        Cause { reason: "FieldValueInvalid", field: "spec.versions".to_owned(), message: format!("Invalid value: {value}: {what}") }
    };
    let mut seen: Vec<&str> = all.iter().map(|version| view::text(version, &["name"])).collect();
    seen.sort_unstable();
    seen.dedup();
    if seen.len() != all.len() {
        causes.push(shown("must contain unique version names"));
    }
    if all.iter().filter(|version| view::flag(version, &["storage"])).count() != 1 {
        causes.push(shown("must have exactly one version marked as storage version"));
    }
    stored_versions(definition, stored, causes);
}

fn stored_versions(definition: &Value, stored: &[Value], causes: &mut Vec<Cause>) {
    if stored.is_empty() {
        causes.push(Cause::invalid("status.storedVersions", &Value::Null, "must have at least one stored version"));
        return;
    }
    for (at, name) in stored.iter().enumerate() {
        if !versions(definition).iter().any(|version| version.get("name") == Some(name)) {
            let name = name.as_str().unwrap_or_default();
            let detail = format!(
                "missing from spec.versions; {name} was previously a storage version, and must remain in spec.versions until a storage \
                 migration ensures no data remains persisted in {name} and removes {name} from status.storedVersions"
            );
            causes.push(Cause::invalid(format!("status.storedVersions[{at}]"), &name.into(), &detail));
        }
    }
    let marked = versions(definition).iter().rfind(|version| view::flag(version, &["storage"]));
    if let Some(name) = marked.and_then(|version| version.get("name")).filter(|name| !stored.contains(name)) {
        let detail = format!("must have the storage version {}", name.as_str().unwrap_or_default());
        causes.push(Cause::invalid("status.storedVersions", &stored.to_vec().into(), &detail));
    }
}

/// A version as the server shows it in messages: in its own form, without what all versions have in common.
fn internal(version: &Value) -> String {
    let part = |name: &str| version.get(name).cloned().unwrap_or_default();
    let first = format!(r#""Name":{},"Served":{},"Storage":{}"#, part("name"), part("served"), part("storage"));
    let rest = r#""DeprecationWarning":null,"Schema":null,"Subresources":null,"AdditionalPrinterColumns":null,"SelectableFields":null"#;
    format!(r#"{{{first},"Deprecated":false,{rest}}}"#)
}

fn is_simple_path(path: &str) -> bool {
    path.starts_with('.')
}

fn subresources(version: &Value, path: Option<String>, causes: &mut Vec<Cause>) {
    let (Some(path), Some(scale)) = (path, view::at(version, &["subresources", "scale"])) else { return };
    for (field, needed) in [("specReplicasPath", true), ("statusReplicasPath", true), ("labelSelectorPath", false)] {
        let text = view::text(scale, &[field]);
        let field = format!("{path}.scale.{field}");
        match text {
            "" if needed => causes.push(Cause::required(field, "")),
            "" => {}
            text if !is_simple_path(text) => {
                causes.push(Cause::invalid(field, &text.into(), "must be a simple json path starting with ."));
            }
            _ => {}
        }
    }
}

fn columns(version: &Value, path: Option<String>, causes: &mut Vec<Cause>) {
    let Some(path) = path else { return };
    for (at, column) in view::list(version, &["additionalPrinterColumns"]).iter().enumerate() {
        let at = format!("{path}[{at}]");
        let text = |field: &str| view::text(column, &[field]);
        if text("name").is_empty() {
            causes.push(Cause::required(format!("{at}.name"), ""));
        }
        match text("type") {
            "" => causes.push(Cause::required(format!("{at}.type"), "must be one of boolean,date,integer,number,string")),
            "boolean" | "date" | "integer" | "number" | "string" => {}
            other => {
                causes.push(Cause::invalid(format!("{at}.type"), &other.into(), "must be one of boolean,date,integer,number,string"));
            }
        }
        match text("jsonPath") {
            "" => causes.push(Cause::required(format!("{at}.JSONPath"), "")),
            other if !is_simple_path(other) => {
                causes.push(Cause::invalid(format!("{at}.JSONPath"), &other.into(), "must be a simple json path starting with ."));
            }
            _ => {}
        }
    }
}

/// What is wrong with a new definition, besides its metadata.
pub(crate) fn create(definition: &Value, causes: &mut Vec<Cause>) {
    let (group, plural) = (view::text(definition, &["spec", "group"]), view::text(definition, &["spec", "names", "plural"]));
    let name = view::name(definition);
    if name != format!("{plural}.{group}") {
        causes.push(Cause::invalid("metadata.name", &name.into(), r#"must be spec.names.plural+"."+spec.group"#));
    }
    let status = first_status(definition);
    content(definition, view::list(&status, &["storedVersions"]), causes);
}

/// Whether objects keep what the schema does not know: only a definition that was born in v1beta1 says so.
pub(crate) fn keeps_unknown(definition: &Value) -> bool {
    view::flag(definition, &["spec", "preserveUnknownFields"])
}

/// A definition that was born in v1beta1 as the rules of v1 would have it: one that is stored may stay as it was made.
pub(crate) fn as_if_new(definition: &Value) -> Value {
    let mut definition = definition.clone();
    if keeps_unknown(&definition) {
        view::remove(&mut definition, &["spec", "preserveUnknownFields"]);
        let all = view::list_mut(&mut definition, &["spec", "versions"]);
        for version in all.into_iter().flat_map(|all| all.iter_mut()).filter(|version| version.get("schema").is_none()) {
            view::set(version, &["schema"], json!({"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}));
        }
    }
    definition
}

/// Whether a schema says what is there when nobody says it.
fn has_defaults(schema: &Value) -> bool {
    match schema {
        Value::Object(fields) => fields.iter().any(|(name, below)| match name.as_str() {
            "default" => true,
            // The names in here are those of fields.
            "properties" => below.as_object().is_some_and(|fields| fields.iter().any(|(_, below)| has_defaults(below))),
            "enum" | "example" => false,
            _ => has_defaults(below),
        }),
        Value::Array(all) => all.iter().any(has_defaults),
        _ => false,
    }
}

/// What is wrong with a change of a definition.
pub(crate) fn update(before: &Value, after: &Value, causes: &mut Vec<Cause>) {
    let stored = view::list(after, &["status", "storedVersions"]);
    if keeps_unknown(before) && keeps_unknown(after) {
        let schemas = versions(after).iter().filter_map(|version| view::at(version, &["schema", "openAPIV3Schema"]));
        if schemas.into_iter().any(has_defaults) {
            let detail = "must be false in order to use defaults in the schema";
            causes.push(Cause::invalid("spec.preserveUnknownFields", &true.into(), detail));
        }
        content(&as_if_new(after), stored, causes);
    } else {
        content(after, stored, causes);
    }
    let mut fixed = |path: &[&str]| {
        let (old, new) = (view::at(before, path), view::at(after, path));
        if old != new {
            causes.push(Cause::invalid(path.join("."), new.unwrap_or(&Value::Null), IMMUTABLE));
        }
    };
    fixed(&["spec", "group"]);
    fixed(&["spec", "names", "plural"]);
    if view::condition_is_true(before, "Established") {
        fixed(&["spec", "scope"]);
        fixed(&["spec", "names", "kind"]);
    }
}

/// Notes the storage version of a changed definition.
pub(crate) fn keep_stored(definition: &mut Value) {
    let name = storage(definition).to_owned();
    let stored = view::list(definition, &["status", "storedVersions"]);
    if !name.is_empty() && !stored.iter().any(|known| known.as_str() == Some(&name)) {
        let all: Vec<Value> = stored.iter().cloned().chain([name.into()]).collect();
        view::set(definition, &["status", "storedVersions"], all);
    }
}

/// Refuses what no simulated cluster has.
///
/// # Errors
/// 501 by name.
pub(crate) fn refuse(definition: &Value) -> Result<(), Status> {
    not_modelled(definition).map_or(Ok(()), |what| Err(Status::not_modelled(what)))
}

/// Whether this kind is that of the definitions.
pub(crate) fn is_definition(kind: &kinds::Kind) -> bool {
    kind.is(kinds::CUSTOM_RESOURCE_DEFINITION)
}
