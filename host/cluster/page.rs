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

/// The parameters that say of which moment a list is to be.
const MOMENT: [&str; 2] = ["resourceVersion", "resourceVersionMatch"];

/// The same list as it was at this resource version, which the server may have forgotten.
pub(super) fn at_moment(call: &Call, version: &str) -> Call {
    let [name, how] = MOMENT;
    call.clone().query(name, version.to_owned()).query(how, "Exact".to_owned())
}

/// A collection as it was at one resource version.
#[derive(Debug)]
pub(super) struct Pages {
    pub(super) items: Vec<Json>,
    pub(super) resource_version: String,
}

/// What a list comes as.
pub(super) enum Step {
    /// It begins, or begins again because the server forgot where it was: what came before does not count.
    Begin,
    /// Some of its items, and how many are left as far as the server says so.
    Page(Vec<Json>, u64),
}

/// Reads all pages. Items get the `apiVersion` and `kind` that servers leave out in lists.
pub(super) async fn read(wire: &Wire, call: &Call, api_version: &str, kind: &str) -> Result<Pages> {
    let mut items = Vec::new();
    let mut take = |step| {
        match step {
            Step::Begin => items.clear(),
            Step::Page(page, _) => items.extend(page),
        }
        true
    };
    let resource_version = each(wire, call, (api_version, kind), PAGE, &mut take).await?;
    Ok(Pages { items, resource_version })
}

/// Reads page after page of this size, as long as `take` says yes. Returns the list's resource version.
pub(super) async fn each(
    wire: &Wire,
    call: &Call,
    (api_version, kind): (&str, &str),
    size: &str,
    take: &mut (dyn FnMut(Step) -> bool + Send),
) -> Result<String> {
    let mut restarts = 0;
    'list: loop {
        let mut go_on = take(Step::Begin);
        let mut next: Option<String> = None;
        loop {
            let mut page = call.clone().query("limit", size);
            if let Some(token) = &next {
                // The token says of which moment the list is.
                page.query.retain(|(name, _)| !MOMENT.contains(name));
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
            let left = document["metadata"]["remainingItemCount"].as_u64().unwrap_or_default();
            let items = match document.get_mut("items").map(Json::take) {
                Some(Json::Array(page)) if of_kind => page.into_iter().map(|item| filled(item, api_version, kind)).collect(),
                // How Go writes a list of nothing.
                Some(Json::Null) if of_kind => Vec::new(),
                // To take it for an empty list would be to say that there is nothing.
                _ => return Err(settle::strange(call, &document, "a list")),
            };
            go_on &= take(Step::Page(items, left));
            let meta = |field: &str| document["metadata"][field].as_str().filter(|text| !text.is_empty()).map(str::to_owned);
            next = meta("continue");
            if next.is_none() || !go_on {
                return Ok(meta("resourceVersion").unwrap_or_default());
            }
        }
    }
}

fn filled(mut item: Json, api_version: &str, kind: &str) -> Json {
    fill(&mut item, "apiVersion", api_version);
    fill(&mut item, "kind", kind);
    item
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
