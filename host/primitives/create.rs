//! `create`: an object that is not there yet.

use std::collections::BTreeMap;

use crate::base::json::{Value as Json, json};

use super::cx::Cx;
use super::done::{Done, Inverse, Wrote};
use super::manifest::Manifest;
use super::view;
use crate::base::diff::{Change, changes};
use crate::base::{Error, Reason, Result, Value};
use crate::cluster::Target;
use crate::primitive;

primitive! {
    /// Creates an object. One that exists already under this name is `conflict`: `apply` changes it.
    ///
    /// An object with `metadata.generateName` and no name gets one that begins with it. A field that the server does not know is refused.
    pub write fn create as Create(
        /// The object: `apiVersion`, `kind`, `metadata` and what its kind has.
        object: Manifest,
    ) options {
        /// The namespace, when the object names none.
        namespace: Option<String>,
    } -> "{ changed: boolean, object: Object }", "the object as it is stored";
    since "0.1";
    example r#"create({ apiVersion = "v1", kind = "ConfigMap", metadata = { name = "window" }, data = { open = "yes" } })"#;
    needs ["create {object}"];
}

impl Create {
    async fn run(self, cx: Cx) -> Result<Done> {
        let object = &self.object;
        if object.name().is_empty() && object.text("/metadata/generateName").is_empty() {
            return Err(Error::usage("`create`: the object has no `metadata.name`").hint("give it a name, or a `metadata.generateName`"));
        }
        let namespace = object.namespace("create", self.namespace.as_deref())?;
        let resource = object.resource(&cx).await?;
        let stored = match cx.cluster.create(&resource, namespace.as_deref(), object.0.clone()).await {
            Err(error) if error.reason == Reason::Conflict && error.details["reason"] == "AlreadyExists" => {
                return Err(error.hint("`apply` changes an object that may be there; `exists` asks"));
            }
            other => other?,
        };
        let name = view::name(&stored).to_owned();
        let target = cx.cluster.object(resource, namespace, name);
        let wrote = wrote(&target, &object.0);
        let fields = BTreeMap::from([("changed".to_owned(), Value::from(true)), ("object".to_owned(), cx.object(stored))]);
        Ok(Done::changed(Value::Map(fields), wrote))
    }
}

/// A creation, as the record keeps it.
pub(super) fn wrote(target: &Target, object: &Json) -> Wrote {
    Wrote {
        verb: "create".to_owned(),
        target: target.to_string(),
        changes: made_of(object),
        inverse: match holds_others(&target.resource.kind) {
            Some(why) => Inverse::Irreversible(why.to_owned()),
            None => Inverse::Call { verb: "delete".to_owned(), arguments: vec![target.full_name().into()], options: Json::Null },
        },
    }
}

/// What an object is made of, without what its name says already.
fn made_of(object: &Json) -> Vec<Change> {
    let mut object = object.clone();
    if let Some(fields) = object.as_object_mut() {
        fields.remove("apiVersion");
        fields.remove("kind");
        if let Some(metadata) = fields.get_mut("metadata").and_then(Json::as_object_mut) {
            for field in ["name", "namespace", "generateName"] {
                metadata.remove(field);
            }
            if metadata.is_empty() {
                fields.remove("metadata");
            }
        }
    }
    changes(&json!({}), &object)
}

/// Why an object of this kind is not simply removed or made again: others put theirs into it.
pub(super) fn holds_others(kind: &str) -> Option<&'static str> {
    match kind {
        "Namespace" => Some("everything that others put into the namespace would go with it"),
        "CustomResourceDefinition" => Some("all objects of its kind would go with it"),
        "PersistentVolume" | "PersistentVolumeClaim" => Some("the data would go with it"),
        "Node" => Some("the node's pods would go with it"),
        _ => None,
    }
}
