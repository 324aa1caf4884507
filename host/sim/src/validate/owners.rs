//! References to owners (`ValidateOwnerReferences` of `apimachinery/pkg/api/validation/objectmeta.go`).

use crate::json::Value;
use crate::status::Cause;
use crate::view;

const FIELD: &str = "metadata.ownerReferences";

/// Every reference names its owner whole, and one of them at most is the controller.
pub(super) fn check(object: &Value, causes: &mut Vec<Cause>) {
    let references = view::list(object, &["metadata", "ownerReferences"]);
    let mut controller: Option<String> = None;
    for reference in references {
        let text = |field: &str| view::text(reference, &[field]);
        let required = [
            ("apiVersion", text("apiVersion"), "version must not be empty"),
            ("kind", text("kind"), "must not be empty"),
            ("name", text("name"), "must not be empty"),
            ("uid", text("uid"), "must not be empty"),
        ];
        for (field, value, why) in required.into_iter().filter(|(_, value, _)| value.is_empty()) {
            causes.push(Cause::invalid(format!("{FIELD}.{field}"), &value.into(), why));
        }
        if (text("apiVersion"), text("kind")) == ("v1", "Event") {
            causes.push(Cause::invalid_text(FIELD, &shown(reference), "/v1, Kind=Event is disallowed from being an owner"));
        }
        if reference.get("controller").and_then(Value::as_bool) != Some(true) {
            continue;
        }
        let name = format!("{}/{}", text("kind"), text("name"));
        match &controller {
            None => controller = Some(name),
            Some(first) => {
                let why =
                    format!("Only one reference can have Controller set to true. Found \"true\" in references for {first} and {name}");
                let all: Vec<String> = references.iter().map(shown).collect();
                causes.push(Cause::invalid_text(FIELD, &format!("[{}]", all.join(",")), &why));
            }
        }
    }
}

/// A reference as Go writes it: names always, in the order of its type.
fn shown(reference: &Value) -> String {
    let names = ["apiVersion", "kind", "name", "uid"].map(|field| (field, Value::from(view::text(reference, &[field]))));
    let flags = ["controller", "blockOwnerDeletion"].into_iter().filter_map(|field| Some((field, reference.get(field)?.clone())));
    let fields: Vec<String> = names.into_iter().chain(flags).map(|(field, value)| format!("\"{field}\":{value}")).collect();
    format!("{{{}}}", fields.join(","))
}
