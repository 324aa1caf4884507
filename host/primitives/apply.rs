//! `apply`: objects as they are written down, by server-side apply.

use std::sync::Arc;

use crate::base::json::{Array, Map, Value as Json, json};

use super::applied::{self, Applied, Place};
use super::cx::Cx;
use super::done::{Done, Wrote};
use super::established;
use super::install_order::rank;
use super::manifest::Manifest;
use super::registry::Arg;
use super::types::{ArgType, Type, mismatch};
use crate::base::{Error, Result, Span, Value, items_of_list};
use crate::cluster::Resource;
use crate::primitive;

/// How long definitions of kinds may take to be served when nothing is said.
const TIMEOUT: Span = Span::from_secs(120);

/// One object, several, or a `List` of them.
#[derive(Clone, Debug)]
pub struct Manifests(Vec<Manifest>);

impl ArgType for Manifests {
    const TYPE: Type = Type::new("any", "an object or a list of objects, each with `apiVersion`, `kind` and `metadata`");
    fn from_arg(arg: Arg) -> Result<Self> {
        let mut objects = Vec::new();
        match arg {
            Arg::Value(Value::List(items)) => {
                for item in items {
                    flatten(Arg::Value(item), &mut objects)?;
                }
            }
            Arg::Value(Value::Json(Json::Array(items))) => {
                for item in items {
                    flatten(Arg::Value(Value::Json(item)), &mut objects)?;
                }
            }
            Arg::Function(_) | Arg::Value(Value::Nil) => return Err(mismatch::<Self>(&arg)),
            one => flatten(one, &mut objects)?,
        }
        if objects.is_empty() {
            return Err(Error::usage("has no objects"));
        }
        Ok(Manifests(objects))
    }
}

/// Adds an object, or those of a `List`.
fn flatten(arg: Arg, objects: &mut Vec<Manifest>) -> Result<()> {
    let items = match &arg {
        Arg::Value(Value::Json(list)) => items_of_list(list).cloned(),
        _ => None,
    };
    match items {
        Some(items) => items.into_iter().try_for_each(|item| flatten(Arg::Value(Value::Json(item)), objects)),
        None => {
            let place = objects.len() + 1;
            let object = Manifest::from_arg(arg).map_err(|mut error| {
                error.message = format!("has a wrong object {place}: it {}", error.message);
                error
            })?;
            objects.push(object);
            Ok(())
        }
    }
}

primitive! {
    /// Makes objects as they are written down: creates those that are missing, changes those that differ, leaves alone the rest.
    ///
    /// It is server-side apply: the server merges, and remembers which fields are lockgate's. A field that is no longer in the object is taken
    /// away when nobody else owns it, also on objects that `kubectl apply` has made: their fields are taken over from it first. A field
    /// that somebody else owns with another value is `conflict`, and the error names owners and fields; `force_conflicts` takes them over.
    ///
    /// Several objects are applied in the order in which helm installs kinds: namespaces first, definitions of kinds before what is of them, and
    /// a definition is waited for until its kind is served. Before the first write each is tried with the server (`dryRun=All`), so that what
    /// is invalid or in conflict is found before anything is changed, as far as that can be known: what lies in a namespace or is of a kind
    /// that this very call makes is not tried.
    pub write fn apply as Apply(
        /// An object, or a list of objects.
        objects: Manifests,
    ) options {
        /// The namespace of objects that name none.
        namespace: Option<String>,
        /// Takes over fields that others own.
        force_conflicts: Option<bool>,
        /// The time allowed until definitions of kinds are served; default 2 minutes.
        timeout: Option<Span>,
    } -> "{ changed: boolean, objects: { { object: string, action: string, changes: { { path: string, before: any, after: any } } } } }",
        "what became of each: `created`, `configured` or `unchanged`; values of Secrets are hidden";
    since "0.1";
    example r#"apply({ apiVersion = "v1", kind = "ConfigMap", metadata = { name = "window" }, data = { open = "yes" } })"#;
    needs ["get,create,patch {objects}", "get,list,watch customresourcedefinitions.apiextensions"];
}

impl Apply {
    async fn run(self, cx: Cx) -> Result<Done> {
        let places = self.places()?;
        let force = self.force_conflicts == Some(true);
        // Everything that can be asked before the first write.
        let mut tried = Vec::new();
        for place in &places {
            let known = match self.resource(&cx, place, &places).await? {
                None => None,
                Some(resource) => Some(applied::look(&cx, place, resource, force, &places).await?),
            };
            tried.push(known);
        }
        let mut done: Vec<Applied> = Vec::new();
        let mut definitions = Vec::new();
        for (place, looked) in places.iter().zip(tried) {
            if !definitions.is_empty() && !place.is_definition() {
                established::wait(&cx, &std::mem::take(&mut definitions), self.timeout.unwrap_or(TIMEOUT)).await?;
            }
            let looked = match looked {
                Some(looked) => looked,
                None => {
                    let resource = place.manifest.resource(&cx).await?;
                    established::served(&cx, &resource, self.timeout.unwrap_or(TIMEOUT)).await?;
                    applied::look(&cx, place, resource, force, &[]).await?
                }
            };
            let applied = applied::write(&cx, place, looked, force).await?;
            applied.wrote.iter().for_each(|wrote| cx.talk.wrote(wrote));
            if place.is_definition() {
                definitions.push(applied.target.clone());
            }
            done.push(applied);
        }
        if !definitions.is_empty() {
            established::wait(&cx, &definitions, self.timeout.unwrap_or(TIMEOUT)).await?;
        }
        Ok(result(done))
    }

    /// The objects in the order of their kinds, with their namespaces.
    fn places(&self) -> Result<Vec<Place>> {
        let mut places = Vec::new();
        for manifest in &self.objects.0 {
            if manifest.name().is_empty() {
                let error = Error::usage(format!("`apply`: `{}` has no `metadata.name`", manifest.label()));
                return Err(match manifest.text("/metadata/generateName") {
                    "" => error.hint("give it a name"),
                    _ => error.hint("an object with `generateName` is another one each time: `create` makes it"),
                });
            }
            let namespace = manifest.namespace("apply", self.namespace.as_deref())?;
            places.push(Place { manifest: manifest.clone(), namespace });
        }
        places.sort_by_key(|place| rank(place.manifest.text("/apiVersion"), place.manifest.kind()));
        for (at, place) in places.iter().enumerate() {
            let same = |other: &Place| {
                (place.manifest.kind(), group(place), place.manifest.name(), &place.namespace)
                    == (other.manifest.kind(), group(other), other.manifest.name(), &other.namespace)
            };
            if places.iter().skip(at + 1).any(same) {
                return Err(Error::usage(format!("`apply`: `{}` is there twice", place.manifest.label())));
            }
        }
        Ok(places)
    }

    /// The kind of an object; `None` for one that a definition of this call makes and that is not served yet.
    async fn resource(&self, cx: &Cx, place: &Place, all: &[Place]) -> Result<Option<std::rc::Rc<Resource>>> {
        match place.manifest.resource(cx).await {
            Ok(resource) => Ok(Some(resource)),
            Err(_) if all.iter().any(|other| other.defines(place)) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

fn group(place: &Place) -> &str {
    place.manifest.text("/apiVersion").split_once('/').map_or("", |(group, _)| group)
}

fn result(done: Vec<Applied>) -> Done {
    let mut rows = Array::new();
    let mut wrote: Vec<Wrote> = Vec::new();
    for applied in done {
        let changes: Array = applied
            .changes
            .iter()
            .map(|change| {
                let mut row = Map::from_iter([("path".to_owned(), Json::from(change.path.as_str()))]);
                row.extend(change.before.clone().map(|value| ("before".to_owned(), value)));
                row.extend(change.after.clone().map(|value| ("after".to_owned(), value)));
                Json::Object(row)
            })
            .collect();
        rows.push(json!({ "object": applied.target.full_name(), "action": applied.action, "changes": Json::Array(changes) }));
        wrote.extend(applied.wrote);
    }
    let value = Value::Json(json!({ "changed": !wrote.is_empty(), "objects": Json::Array(rows) }));
    if wrote.is_empty() { Done::unchanged(value) } else { Done::wrote(value, wrote) }
}

/// What one look at an object before its write has found.
pub(super) struct Looked {
    /// The kind.
    pub(super) resource: std::rc::Rc<Resource>,
    /// The object as it is; `None` where there is none.
    pub(super) live: Option<Arc<Json>>,
    /// What the server would make of it; `None` where it was not asked.
    pub(super) dry: Option<Arc<Json>>,
}
