//! Reading a whole collection, page by page.

use std::sync::Arc;

use crate::base::json::Value as Json;

use super::request::Call;
use super::settle;
use super::wire::Wire;
use crate::base::Result;

/// Objects a page: what `kubectl` asks for too.
const PAGE: &str = "500";
/// How often a list is begun again because the server forgot where it was.
const RESTARTS: u32 = 3;

/// A collection as it was at one resource version.
#[derive(Debug)]
pub(super) struct Pages {
    pub(super) items: Vec<Json>,
    pub(super) resource_version: String,
}

/// Reads all pages. Items get the `apiVersion` and `kind` that servers leave out in lists.
pub(super) async fn read(wire: &Wire, call: &Call, api_version: &str, kind: &str) -> Result<Pages> {
    let mut restarts = 0;
    'list: loop {
        let mut items = Vec::new();
        let mut next: Option<String> = None;
        loop {
            let mut page = call.clone().query("limit", PAGE);
            if let Some(token) = &next {
                page = page.query("continue", token.clone());
            }
            let document = match wire.json(&page).await {
                Ok(document) => document,
                // Where the list was is forgotten: only from the beginning is it of one moment.
                Err(error) if restarts < RESTARTS && error.details["code"] == 410 => {
                    restarts += 1;
                    continue 'list;
                }
                Err(error) => return Err(error),
            };
            let of_kind =
                document.get("kind").and_then(Json::as_str).is_none_or(|of| of == "List" || of.strip_suffix("List") == Some(kind));
            let mut document = Arc::unwrap_or_clone(document);
            match document.get_mut("items").map(Json::take) {
                Some(Json::Array(page)) if of_kind => items.extend(page),
                // How Go writes a list of nothing.
                Some(Json::Null) if of_kind => {}
                // To take it for an empty list would be to say that there is nothing.
                _ => return Err(settle::strange(call, &document, "a list")),
            }
            let meta = |field: &str| document["metadata"][field].as_str().filter(|text| !text.is_empty()).map(str::to_owned);
            next = meta("continue");
            if next.is_none() {
                for item in &mut items {
                    fill(item, "apiVersion", api_version);
                    fill(item, "kind", kind);
                }
                return Ok(Pages { items, resource_version: meta("resourceVersion").unwrap_or_default() });
            }
        }
    }
}

fn fill(item: &mut Json, field: &str, text: &str) {
    if let Some(map) = item.as_object_mut() {
        map.entry(field).or_insert_with(|| text.into());
    }
}

/// A text of an object's metadata; empty when absent.
pub(super) fn meta<'a>(object: &'a Json, field: &str) -> &'a str {
    object.get("metadata").and_then(|meta| meta.get(field)).and_then(Json::as_str).unwrap_or_default()
}

/// Where an object comes in a list.
pub(super) fn place(object: &Json) -> (String, String) {
    (meta(object, "namespace").to_owned(), meta(object, "name").to_owned())
}
