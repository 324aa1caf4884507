//! Objects that a script writes down itself, for `create` and `apply`.

use std::rc::Rc;

use crate::base::json::Value as Json;

use super::cx::Cx;
use super::registry::Arg;
use super::types::{ArgType, Type, mismatch};
use super::view;
use crate::base::object_ref::check_name;
use crate::base::{Error, Reason, Result, Value};
use crate::cluster::Resource;

/// A whole object.
#[derive(Clone, Debug, PartialEq)]
pub struct Manifest(pub Json);

impl ArgType for Manifest {
    const TYPE: Type = Type::new("Object", "an object with `apiVersion`, `kind` and `metadata`");
    fn from_arg(arg: Arg) -> Result<Self> {
        match arg {
            Arg::Value(Value::Object(object)) => Manifest::of((*object.current).clone()),
            Arg::Value(Value::Json(json @ Json::Object(_))) => Manifest::of(json),
            // A table with typed values in it.
            Arg::Value(value @ Value::Map(_)) => Manifest::of(value.into_json()),
            other => Err(mismatch::<Self>(&other)),
        }
    }
}

impl Manifest {
    fn of(object: Json) -> Result<Manifest> {
        let lacks = |field: &str| Error::usage(format!("must be {}, but has no `{field}`", Self::TYPE.text));
        for field in ["apiVersion", "kind"] {
            if view::text(&object, &format!("/{field}")).is_empty() {
                return Err(lacks(field));
            }
        }
        if !object.get("metadata").is_some_and(Json::is_object) {
            return Err(lacks("metadata"));
        }
        Ok(Manifest(object))
    }

    /// The text there; empty when absent.
    pub(super) fn text(&self, pointer: &str) -> &str {
        view::text(&self.0, pointer)
    }

    pub(super) fn kind(&self) -> &str {
        self.text("/kind")
    }

    pub(super) fn name(&self) -> &str {
        view::name(&self.0)
    }

    /// Its namespace: its own, else the option's.
    ///
    /// # Errors
    /// When both are given and differ, or it is no name.
    pub(super) fn namespace(&self, verb: &str, option: Option<&str>) -> Result<Option<String>> {
        let own = Some(self.text("/metadata/namespace")).filter(|own| !own.is_empty());
        if let (Some(own), Some(option)) = (own, option)
            && own != option
        {
            let message = format!("`{verb}`: `{}` is in namespace `{own}`, and the option says `{option}`", self.label());
            return Err(Error::usage(message).hint("leave out one of them"));
        }
        if let Some(namespace) = own.or(option) {
            check_name(namespace).map_err(|error| Error::usage(format!("`{verb}`: namespace {}", error.message)))?;
        }
        Ok(own.or(option).map(str::to_owned))
    }

    /// How it is called in errors before the cluster knows it: `configmap/window`.
    pub(super) fn label(&self) -> String {
        let name = if self.name().is_empty() { self.text("/metadata/generateName") } else { self.name() };
        format!("{}/{name}", self.kind().to_lowercase())
    }

    /// The kind that it is of, in the version that it is written in.
    ///
    /// # Errors
    /// As [`crate::cluster::Cluster::resolve`].
    pub(super) async fn resource(&self, cx: &Cx) -> Result<Rc<Resource>> {
        let (group, version) = self.text("/apiVersion").split_once('/').unwrap_or(("", self.text("/apiVersion")));
        let kind = self.kind().to_lowercase();
        let word = if group.is_empty() { format!("{kind}.{version}") } else { format!("{kind}.{version}.{group}") };
        cx.cluster.resolve(&word, None).await.map_err(|mut error| {
            if error.reason == Reason::Usage {
                error.message = format!("`{}`: the cluster has no kind `{}` of `{}`", self.label(), self.kind(), self.text("/apiVersion"));
            }
            error
        })
    }
}
