//! Answers in another form than the object itself: tables as `kubectl get` prints them, and metadata alone.
//!
//! A client asks for them in its `Accept` header, for reads, writes and watches alike. What a table of a kind shows stands in one
//! table of columns ([`columns`]); words about a column (`description`) are left empty. `tests/api/table.json` holds what a real
//! server showed for the same objects.

mod cells;
mod columns;
mod duration;
mod network;
mod pods;
mod workloads;

use std::sync::Arc;

use jiff::Timestamp;

use self::columns::Column;
use super::accept::{self, Wanted};
use super::{Call, Verb};
use crate::crd::{self, Version};
use crate::json::{Map, Value, json};
use crate::kinds::{self, Kind};
use crate::request::{Body, Request, Response};
use crate::status::Status;
use crate::view;

/// What the client asked for with `as`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    /// The object as it is stored.
    Whole,
    /// `PartialObjectMetadata`.
    Metadata,
    /// `PartialObjectMetadataList`.
    MetadataList,
    Table,
}

/// How much of an object a row of a table carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Include {
    Nothing,
    Metadata,
    Object,
}

/// The form in which a client gets what it asked for.
#[derive(Debug, Clone)]
pub(crate) struct Form {
    shape: Shape,
    /// `v1` or `v1beta1` of `meta.k8s.io`.
    version: &'static str,
    kind: &'static Kind,
    /// What the definition says, when the answer is a custom resource and not its scale.
    custom: Option<&'static Version>,
    columns: &'static [Column],
    include: String,
    /// In a watch the columns stand in the first event only.
    told: bool,
}

impl Form {
    /// Finds the form that the client asks for.
    ///
    /// # Errors
    /// 406 when the answer can be given in none of the forms that the client can read.
    pub(crate) fn negotiate(call: &Call, request: &Request) -> Result<Self, Status> {
        accept::check_types(&request.accept, matches!(call.verb, Verb::List | Verb::Watch))?;
        let columns = if call.subresource == "scale" { columns::SCALE } else { columns::of(call.kind) };
        let include = request.query("includeObject").unwrap_or_default().to_owned();
        let custom = call.kind.custom().filter(|_| call.subresource != "scale");
        let mut form = Self { shape: Shape::Whole, version: "v1", kind: call.kind, custom, columns, include, told: false };
        if matches!(call.subresource.as_str(), "exec" | "log") {
            return Ok(form);
        }
        // A review is answered, not stored: it is nothing but itself.
        let is_review = kinds::REVIEWS.contains(&call.kind);
        let found = accept::wanted(&request.accept)
            .iter()
            .find_map(|wanted| shape(wanted).filter(|(shape, _)| *shape == Shape::Whole || !is_review));
        (form.shape, form.version) = found.ok_or_else(|| accept::not_acceptable(&request.accept))?;
        Ok(form)
    }

    /// Brings an answer into the form. Failures stay as they are.
    pub(crate) fn answer(&self, response: Response, now: Timestamp) -> Response {
        let Body::Json(document) = &response.body else { return response };
        let is_status = document.get("kind").and_then(Value::as_str) == Some("Status");
        let untouched = self.shape == Shape::Whole && self.custom.is_none();
        if untouched || is_status || !(200..300).contains(&response.status) {
            return response;
        }
        match self.document(&self.current(document), now) {
            Ok(formed) => Response { body: Body::Json(Arc::new(formed)), ..response },
            Err(status) => status.into(),
        }
    }

    /// Brings an event of a watch into the form; `None` when the client asked for what no event has, and the watch ends.
    pub(crate) fn event(&mut self, mut event: Value, now: Timestamp) -> Option<Value> {
        let untouched = self.shape == Shape::Whole && self.custom.is_none();
        if untouched || view::text(&event, &["type"]) == "ERROR" {
            return Some(event);
        }
        let bookmark = view::text(&event, &["type"]) == "BOOKMARK";
        let object = event.get("object")?;
        let mut formed = if bookmark { self.document(object, now) } else { self.document(&self.current(object), now) }.ok()?;
        if self.shape == Shape::Table && std::mem::replace(&mut self.told, true) {
            view::set(&mut formed, &["columnDefinitions"], Value::Null);
        }
        view::set(&mut event, &["object"], formed);
        Some(event)
    }

    /// A custom resource, or a list of them, in the version that was asked for.
    fn current(&self, document: &Value) -> Value {
        let Some(items) = document.get("items").and_then(Value::as_array).filter(|_| is_list(document)) else {
            return self.in_version(document);
        };
        let mut list = document.clone();
        view::set(&mut list, &["items"], items.iter().map(|item| self.in_version(item)).collect::<Value>());
        list
    }

    fn in_version(&self, object: &Value) -> Value {
        self.custom.and_then(|_| crd::presented(self.kind, object)).unwrap_or_else(|| object.clone())
    }

    fn document(&self, document: &Value, now: Timestamp) -> Result<Value, Status> {
        let items = document.get("items").and_then(Value::as_array).filter(|_| is_list(document));
        let unfit = |asked: &str, is: &str, list: &str| {
            let package = if self.kind.group.is_empty() { "core" } else { self.kind.group.split('.').next().unwrap_or_default() };
            let message = format!("you requested {asked}, but the requested object {is} (*{package}.{}{list})", self.kind.kind);
            Err(Status::new(406, "NotAcceptable", message, Value::Null))
        };
        let api_version = format!("meta.k8s.io/{}", self.version);
        match (self.shape, items) {
            (Shape::Whole, _) => Ok(document.clone()),
            (Shape::Metadata, Some(_)) => unfit("PartialObjectMetadata", "is a list", "List"),
            (Shape::MetadataList, None) if self.custom.is_some() => Err(Status::new(500, "", "content is not a list", Value::Null)),
            (Shape::MetadataList, None) => unfit("PartialObjectMetadataList", "is not a list", ""),
            (Shape::Metadata, None) => Ok(self.metadata(document)),
            (Shape::MetadataList, Some(items)) => {
                let items: Value = items.iter().map(|item| self.metadata(item)).collect();
                let meta = self.list_metadata(document, true);
                Ok(json!({"kind": "PartialObjectMetadataList", "apiVersion": api_version, "metadata": meta, "items": items}))
            }
            (Shape::Table, items) => {
                let include = self.include()?;
                let one = [document.clone()];
                let rows: Value = items.map_or(&one[..], |items| items).iter().map(|object| self.row(object, include, now)).collect();
                let columns: Value = match self.custom {
                    Some(version) => columns::of_custom(version).collect(),
                    None => self.columns.iter().map(Column::definition).collect(),
                };
                let meta = self.list_metadata(document, items.is_some());
                Ok(json!({"kind": "Table", "apiVersion": api_version, "metadata": meta, "columnDefinitions": columns, "rows": rows}))
            }
        }
    }

    fn include(&self) -> Result<Include, Status> {
        match self.include.as_str() {
            "" | "Metadata" => Ok(Include::Metadata),
            "Object" => Ok(Include::Object),
            "None" => Ok(Include::Nothing),
            other => Err(Status::bad_request(format!(
                "Unable to convert to Table as requested: includeObject: Invalid value: {other:?}: must be 'Metadata', 'Object', 'None', \
                 or empty"
            ))),
        }
    }

    /// The metadata of a table: that of the list, or the version of the only object.
    fn list_metadata(&self, document: &Value, list: bool) -> Value {
        if list {
            let mut meta = document.get("metadata").cloned().unwrap_or_else(|| json!({}));
            if view::text(&meta, &["continue"]).is_empty() {
                view::remove(&mut meta, &["continue"]);
            }
            return meta;
        }
        match view::text(document, &["metadata", "resourceVersion"]) {
            "" => json!({}),
            version => json!({"resourceVersion": version}),
        }
    }

    fn row(&self, object: &Value, include: Include, now: Timestamp) -> Value {
        let cells: Value = match self.custom {
            Some(version) => columns::custom_cells(version, object, now).collect(),
            None => self.columns.iter().map(|column| column.cell(object, now)).collect(),
        };
        let object_of_row = match include {
            Include::Nothing => Value::Null,
            Include::Metadata => self.metadata(object),
            Include::Object => self.typed(object),
        };
        let mut row = json!({"cells": cells, "object": object_of_row});
        if self.kind.is(kinds::POD)
            && let Some(conditions) = pods::conditions(object)
        {
            view::set(&mut row, &["conditions"], conditions);
        }
        row
    }

    fn metadata(&self, object: &Value) -> Value {
        let meta = object.get("metadata").cloned().unwrap_or_else(|| json!({}));
        json!({"kind": "PartialObjectMetadata", "apiVersion": format!("meta.k8s.io/{}", self.version), "metadata": meta})
    }

    /// The object with its kind and version, which items of a list lack.
    fn typed(&self, object: &Value) -> Value {
        let mut fields: Map = object.as_object().cloned().unwrap_or_default();
        if !fields.contains_key("kind") {
            fields.insert("kind", self.kind.kind.into());
            fields.insert("apiVersion", self.kind.api_version().into());
        }
        fields.into()
    }
}

fn is_list(document: &Value) -> bool {
    view::text(document, &["kind"]).ends_with("List") && document.get("items").is_some_and(Value::is_array)
}

/// What a range of the header asks for, if it is anything that can be given.
fn shape(wanted: &Wanted<'_>) -> Option<(Shape, &'static str)> {
    if wanted.kind.is_empty() {
        return Some((Shape::Whole, "v1"));
    }
    let version = match (wanted.group, wanted.version) {
        ("meta.k8s.io", "v1") => "v1",
        ("meta.k8s.io", "v1beta1") => "v1beta1",
        _ => return None,
    };
    match wanted.kind {
        "Table" => Some((Shape::Table, version)),
        "PartialObjectMetadata" => Some((Shape::Metadata, version)),
        "PartialObjectMetadataList" => Some((Shape::MetadataList, version)),
        _ => None,
    }
}
