//! Reading: one object, and lists with selectors, pages and snapshots.

use std::sync::Arc;

use crate::json::{Map, Value, json};
use crate::kinds;

use super::{Call, Cx, Verb, scale};
use crate::base64;
use crate::request::{Request, Response};
use crate::selector::{FieldSelector, LabelSelector};
use crate::status::{Cause, Status};
use crate::store::{Key, Store};
use crate::view;

/// Reads one object, or its scale.
pub(super) fn get(cx: &Cx<'_>, call: &Call) -> Result<Response, Status> {
    let key = call.key();
    let object = cx.store.get(&key).ok_or_else(|| Status::not_found(call.kind, &call.name))?;
    Ok(Response::json(200, if call.subresource == "scale" { Arc::new(scale::of(call.kind, object)) } else { Arc::clone(object) }))
}

/// What a list or watch asks for.
#[derive(Debug, Clone)]
pub(crate) struct ListOptions {
    pub(crate) labels: LabelSelector,
    pub(crate) fields: FieldSelector,
    limit: usize,
    proceed: Option<Token>,
    /// `None` is the newest state, 0 any state.
    pub(crate) rv: Option<u64>,
    exact: bool,
}

/// In the place of the version of a snapshot: whatever is there when the list goes on.
const NEWEST: u64 = 0;

/// A continue token: the snapshot and where in it to go on.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Token {
    rv: u64,
    /// How many objects of the snapshot are still to come; unknown behind a selector.
    left: Option<usize>,
    namespace: String,
    name: String,
}

impl Token {
    /// Hexadecimal, so that it passes through every query untouched.
    fn encode(&self) -> String {
        let left = self.left.map(|left| left.to_string()).unwrap_or_default();
        let text = format!("{}/{left}/{}/{}", self.rv, self.namespace, self.name);
        text.bytes().map(|b| format!("{b:02x}")).collect()
    }

    fn decode(text: &str) -> Option<Self> {
        let digits: Option<Vec<u32>> = text.chars().map(|c| c.to_digit(16)).collect();
        let bytes = digits?.chunks(2).map(|pair| Some((pair[0] << 4 | *pair.get(1)?) as u8)).collect::<Option<Vec<u8>>>()?;
        let text = String::from_utf8(bytes).ok()?;
        let mut parts = text.splitn(4, '/');
        let rv = parts.next()?.parse().ok()?;
        let left = match parts.next()? {
            "" => None,
            left => Some(left.parse().ok()?),
        };
        Some(Self { rv, left, namespace: parts.next()?.to_owned(), name: parts.next()?.to_owned() })
    }
}

impl ListOptions {
    /// Reads the options of a list or watch from its query.
    pub(crate) fn parse(call: &Call, request: &Request) -> Result<Self, Status> {
        let labels = request.query("labelSelector").unwrap_or_default();
        let labels = LabelSelector::parse(labels).map_err(|error| {
            // The server's reader does not say which part of a requirement a bad key is.
            let said = error.to_string();
            let said = said.strip_prefix("key: ").map_or_else(|| said.clone(), |rest| format!("<nil>: {rest}"));
            Status::bad_request(format!("unable to parse requirement: {said}"))
        })?;
        let fields = FieldSelector::parse(call.kind, request.query("fieldSelector").unwrap_or_default())?;
        let limit = match request.query("limit").unwrap_or_default() {
            "" => 0,
            text => text.parse::<u32>().map_err(|_| Status::bad_request(format!("strconv.ParseInt: parsing {text:?}: invalid syntax")))?
                as usize,
        };
        let rv = match request.query("resourceVersion").unwrap_or_default() {
            "" => None,
            text => Some(text.parse::<u64>().map_err(|_| {
                Status::bad_request(format!(
                    "invalid resource version: resourceVersion: Invalid value: {text:?}: strconv.ParseUint: parsing {text:?}: \
                     invalid syntax"
                ))
            })?),
        };
        let proceed = match request.query("continue").filter(|text| !text.is_empty()) {
            None => None,
            Some(text) => {
                let token = Token::decode(text);
                let wrong = || Status::bad_request(format!("invalid continue token: continue key is not valid: {}", no_token(text)));
                Some(token.ok_or_else(wrong)?)
            }
        };
        if proceed.is_some() && rv.is_some_and(|rv| rv > 0) {
            return Err(Status::bad_request("specifying resource version is not allowed when using continue"));
        }
        let paged = limit > 0 && proceed.is_none();
        let exact = exact(request, rv, call.verb == Verb::Watch, paged)?;
        Ok(Self { labels, fields, limit, proceed, rv, exact })
    }

    /// The same selection without pages, for a watch.
    pub(crate) fn unpaged(self) -> Self {
        Self { limit: 0, proceed: None, exact: false, ..self }
    }

    /// Whether an object is selected.
    pub(crate) fn selects(&self, object: &Value) -> bool {
        self.fields.matches(object) && self.labels.matches(object)
    }

    fn selects_all(&self) -> bool {
        self.fields.is_empty() && self.labels.is_empty()
    }
}

/// Whether a list asks for exactly one resource version. A page of one does so without saying it.
fn exact(request: &Request, rv: Option<u64>, watch: bool, paged: bool) -> Result<bool, Status> {
    let field = "resourceVersionMatch";
    let refuse = |cause: &Cause| Err(Status::invalid_options("ListOptions", cause));
    match (request.query(field).unwrap_or_default(), rv) {
        ("", rv) => Ok(paged && !watch && rv.is_some_and(|rv| rv > 0)),
        // What a watch may ask for is checked where it is opened.
        (_, _) if watch => Ok(false),
        ("NotOlderThan" | "Exact", None) => {
            refuse(&Cause::forbidden(field, "resourceVersionMatch is forbidden unless resourceVersion is provided"))
        }
        ("NotOlderThan", _) => Ok(false),
        ("Exact", Some(0)) => refuse(&Cause::forbidden(field, r#"resourceVersionMatch "exact" is forbidden for resourceVersion "0""#)),
        ("Exact", _) => Ok(true),
        (other, _) => refuse(&Cause::not_supported(field, &other.into(), &["Exact", "NotOlderThan", ""])),
    }
}

/// 504 for a resource version that is still to come.
pub(crate) fn too_new(wanted: u64, current: u64) -> Status {
    let message = format!("Timeout: Too large resource version: {wanted}, current: {current}");
    let cause = json!([{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}]);
    Status::new(504, "Timeout", message, json!({"causes": cause, "retryAfterSeconds": 1}))
}

/// Selected objects of one kind.
pub(crate) struct Listing {
    pub(crate) rv: u64,
    pub(crate) objects: Vec<Arc<Value>>,
    proceed: Option<Token>,
    remaining: Option<usize>,
}

impl Listing {
    /// Selects what a list or watch asks for.
    pub(crate) fn of(store: &Store, call: &Call, options: &ListOptions) -> Result<Self, Status> {
        let current = store.rv();
        if let Some(rv) = options.rv.filter(|rv| *rv > current) {
            return Err(too_new(rv, current));
        }
        if options.proceed.is_some() || options.exact {
            return Self::snapshot(store, call, options);
        }
        if let Some(name) = options.fields.name().filter(|_| call.namespace.is_some() || !call.kind.namespaced) {
            let key = Key::new(call.kind, call.namespace.as_deref().unwrap_or_default(), name);
            let objects = store.get(&key).filter(|object| options.selects(object)).cloned().into_iter().collect();
            return Ok(Self { rv: current, objects, proceed: None, remaining: None });
        }
        let namespace = call.namespace.as_deref();
        // Behind a selector a page ends with a token when there is anything after it, selected or not. Only of the pods of a node the
        // server has an index.
        let beyond = |last: &Key| store.list_after(call.kind, namespace, Some((&last.namespace, &last.name))).next().is_some();
        let indexed = call.kind.is(kinds::POD) && options.fields.equal_to("spec.nodeName").is_some();
        let beyond = Some(&beyond as &dyn Fn(&Key) -> bool).filter(|_| !indexed);
        if let Some(found) = store.candidates(call.kind, namespace, &options.labels, &options.fields) {
            let limit = if options.rv == Some(0) { 0 } else { options.limit };
            return Ok(Self::page(current, found, options, limit, None, beyond));
        }
        let all = store.list(call.kind, namespace);
        // A list that may come from a cache is not paged by the server.
        let limit = if options.rv == Some(0) { 0 } else { options.limit };
        Ok(Self::page(current, all, options, limit, Some(store.count(call.kind, namespace)), beyond))
    }

    /// A list of the state at an earlier resource version.
    fn snapshot(store: &Store, call: &Call, options: &ListOptions) -> Result<Self, Status> {
        let rv = options.proceed.as_ref().map_or(options.rv.unwrap_or(0), |token| token.rv);
        let rv = if rv == NEWEST && options.proceed.is_some() { store.rv() } else { rv };
        if rv > store.rv() {
            return Err(too_new(rv, store.rv()));
        }
        let start = options.proceed.as_ref().map(|t| (t.namespace.as_str(), t.name.as_str()));
        let Some(rest) = store.list_at(call.kind, call.namespace.as_deref(), rv, start) else {
            return Err(expired(options.proceed.as_ref()));
        };
        let beyond = |last: &Key| {
            let after = Some((last.namespace.as_str(), last.name.as_str()));
            store.list_at(call.kind, call.namespace.as_deref(), rv, after).is_some_and(|mut rest| rest.next().is_some())
        };
        Ok(Self::page(rv, rest, options, options.limit, options.proceed.as_ref().and_then(|token| token.left), Some(&beyond)))
    }

    /// The first `limit` selected objects of `all`, of which there are `count` if that is known. `beyond` tells whether there is
    /// anything after an object, where it is not what is selected that counts.
    fn page<'a>(
        rv: u64,
        all: impl Iterator<Item = (&'a Key, &'a Arc<Value>)>,
        options: &ListOptions,
        limit: usize,
        count: Option<usize>,
        beyond: Option<&dyn Fn(&Key) -> bool>,
    ) -> Self {
        let mut selected = all.filter(|(_, object)| options.selects(object));
        let mut listing = Self { rv, objects: Vec::new(), proceed: None, remaining: None };
        let mut last = None;
        for (key, object) in selected.by_ref() {
            listing.objects.push(Arc::clone(object));
            last = Some(key);
            if limit > 0 && listing.objects.len() == limit {
                break;
            }
        }
        // The server does not count behind a selector.
        let rest = match count.filter(|_| options.selects_all()) {
            Some(count) => count.saturating_sub(listing.objects.len()),
            None if options.selects_all() => selected.count(),
            None if limit == 0 || listing.objects.len() < limit => 0,
            None => usize::from(match (beyond, last) {
                (Some(beyond), Some(last)) => beyond(last),
                _ => selected.next().is_some(),
            }),
        };
        if let Some(last) = last.filter(|_| rest > 0) {
            let left = options.selects_all().then_some(rest);
            listing.proceed = Some(Token { rv, left, namespace: last.namespace.to_string(), name: last.name.to_string() });
            listing.remaining = left;
        }
        listing
    }

    /// The list as a document.
    pub(crate) fn document(&self, call: &Call) -> Value {
        let mut meta = Map::new();
        meta.insert("resourceVersion", self.rv.to_string().into());
        if let Some(token) = &self.proceed {
            meta.insert("continue", token.encode().into());
        }
        if let Some(remaining) = self.remaining {
            meta.insert("remainingItemCount", remaining.into());
        }
        let custom = call.kind.custom().is_some();
        if custom && self.proceed.is_none() {
            meta.insert("continue", "".into());
        }
        let items: Vec<Value> = self.objects.iter().map(|object| if custom { (**object).clone() } else { without_type(object) }).collect();
        json!({"kind": call.kind.list_kind(), "apiVersion": call.kind.api_version(), "metadata": meta, "items": items})
    }
}

/// Items of a list carry no kind and version on a real server.
fn without_type(object: &Value) -> Value {
    let fields = object.as_object().into_iter().flatten();
    Value::Object(fields.filter(|(name, _)| !matches!(name.as_str(), "kind" | "apiVersion")).map(|(n, v)| (n.clone(), v.clone())).collect())
}

fn expired(token: Option<&Token>) -> Status {
    let Some(token) = token else {
        return Status::expired("The resourceVersion for the provided list is too old.");
    };
    let status = Status::expired(
        "The provided continue parameter is too old to display a consistent list result. You can start a new list without the \
         continue parameter, or use the continue token in this response to retrieve the remainder of the results. Continuing with \
         the provided token results in an inconsistent list - objects that were created, modified, or deleted between the time \
         the first chunk was returned and now may show up in the list.",
    );
    let fresh = Token { rv: NEWEST, left: None, ..token.clone() };
    let mut value = status.into_value();
    view::set(&mut value, &["metadata", "continue"], fresh.encode());
    Status::from_value(value)
}

/// Lists a collection.
pub(super) fn list(cx: &Cx<'_>, call: &Call, request: &Request) -> Result<Response, Status> {
    let options = ListOptions::parse(call, request)?;
    let listing = Listing::of(cx.store, call, &options)?;
    Ok(Response::json(200, Arc::new(listing.document(call))))
}

/// Why a text is no continue token, in the words of a real server, whose tokens are JSON in the URL form of base64.
fn no_token(text: &str) -> String {
    let mut padded: String = text
        .chars()
        .map(|c| {
            if c == '-' {
                '+'
            } else if c == '_' {
                '/'
            } else {
                c
            }
        })
        .collect();
    padded.extend(std::iter::repeat_n('=', (4 - text.len() % 4) % 4));
    let Some(bytes) = base64::decode(&padded) else {
        let digit = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        return format!("illegal base64 data at input byte {}", text.find(|c| !digit(c)).unwrap_or(text.len()));
    };
    match bytes.iter().find(|byte| !byte.is_ascii_whitespace()) {
        None => "unexpected end of JSON input".to_owned(),
        Some(first) => format!("invalid character '{}' looking for beginning of value", char::from(*first)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_survive_the_wire() {
        for left in [None, Some(7)] {
            let token = Token { rv: 42, left, namespace: "kube-system".into(), name: "a.b/ü".into() };
            assert_eq!(Token::decode(&token.encode()), Some(token));
        }
        for wrong in ["x", "0", "zz", "31", "2f2f2f", "ff2f2f", "é"] {
            assert_eq!(Token::decode(wrong), None, "{wrong}");
        }
    }
}
