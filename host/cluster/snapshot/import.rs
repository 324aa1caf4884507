//! Snapshots that lockgate did not make: what `kubectl get -A -o yaml` (or `json`) prints, and what `kubectl cluster-info dump -o json`
//! prints or writes into a folder. Secrets in them are hashed when they are read.
//!
//! What such a file has of a kind counts as all there is of it; what it has nothing of is not known.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use lockgate_sim::kinds;

use super::redact::redact;
use super::{Contents, Head, Part, SCHEMA, cannot_read};
use crate::base::json::Value as Json;
use crate::base::{Error, Result, Timestamp};
use crate::cluster::page::meta;

/// How deep the folder of a dump is looked into.
const DEEP: usize = 3;
const FORMS: &str = "a snapshot is what `lockgate snapshot -o FILE` writes, what `kubectl get KINDS -A -o yaml` prints, \
                     or what `kubectl cluster-info dump -o json` gives";

/// Reads a file.
pub(super) fn file(path: &Path, bytes: &[u8]) -> Result<Contents> {
    let label = path.display().to_string();
    let text = std::str::from_utf8(bytes).map_err(|_| Error::usage(format!("`{label}` is no snapshot: it is no text")).hint(FORMS))?;
    let mut objects = Vec::new();
    read(&label, text, &mut objects)?;
    contents(&label, objects)
}

/// Reads the folder of a dump.
pub(super) fn folder(path: &Path) -> Result<Contents> {
    let label = path.display().to_string();
    let mut files = Vec::new();
    collect(path, DEEP, &mut files)?;
    files.sort();
    let mut objects = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(&file).map_err(|error| cannot_read(&file, &error))?;
        read(&file.display().to_string(), &text, &mut objects)?;
    }
    contents(&label, objects)
}

/// The files with objects; logs are beside them.
fn collect(folder: &Path, deep: usize, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in std::fs::read_dir(folder).map_err(|error| cannot_read(folder, &error))? {
        let path = entry.map_err(|error| cannot_read(folder, &error))?.path();
        if path.is_dir() && deep > 1 {
            collect(&path, deep - 1, files)?;
        } else if path.extension().is_some_and(|ending| ["json", "yaml", "yml"].iter().any(|known| ending == *known)) {
            files.push(path);
        }
    }
    Ok(())
}

fn read(label: &str, text: &str, objects: &mut Vec<Json>) -> Result<()> {
    let broken = |why: String| Error::usage(format!("`{label}` is no snapshot")).cause(why).hint(FORMS);
    if text.trim_start().starts_with('{') {
        // A dump that is printed has documents one after the other, and the logs of containers between them.
        let mut in_log = false;
        let mut documents = String::with_capacity(text.len());
        for line in text.lines() {
            in_log |= line.starts_with("==== START logs");
            if !in_log {
                if !documents.is_empty() {
                    documents.push('\n');
                }
                documents.push_str(line);
            }
            in_log &= !line.starts_with("==== END logs");
        }
        if in_log {
            return Err(broken("it ends inside of a log".to_owned()));
        }
        for document in serde_json::Deserializer::from_str(&documents).into_iter::<Json>() {
            match document {
                Ok(document) => items(document, objects),
                Err(error) if error.is_eof() => return Err(broken("it ends too early: it is not whole".to_owned())),
                Err(error) => return Err(broken(error.to_string())),
            }
        }
        return Ok(());
    }
    let documents: Vec<Json> = serde_saphyr::from_multiple(text).map_err(|error| broken(error.without_snippet().to_string()))?;
    documents.into_iter().for_each(|document| items(document, objects));
    Ok(())
}

/// The objects of a document, which is one or a list.
fn items(mut document: Json, objects: &mut Vec<Json>) {
    let kind = document.get("kind").and_then(Json::as_str).unwrap_or_default().to_owned();
    let of = kind.strip_suffix("List").unwrap_or_default().to_owned();
    let api_version = document.get("apiVersion").and_then(Json::as_str).unwrap_or_default().to_owned();
    let Some(list) = document.get_mut("items").filter(|_| kind.ends_with("List")).map(Json::take) else {
        if !kind.is_empty() {
            objects.push(document);
        }
        return;
    };
    for mut item in list.as_array().into_iter().flatten().cloned() {
        if let Some(fields) = item.as_object_mut().filter(|_| !of.is_empty()) {
            // Typed lists leave them out.
            fields.entry("apiVersion").or_insert_with(|| api_version.as_str().into());
            fields.entry("kind").or_insert_with(|| of.as_str().into());
        }
        items(item, objects);
    }
}

fn contents(label: &str, objects: Vec<Json>) -> Result<Contents> {
    if objects.is_empty() {
        return Err(Error::usage(format!("`{label}` has no objects in it")).hint(FORMS));
    }
    let definitions: Vec<Json> = objects.iter().filter(|object| object["kind"] == "CustomResourceDefinition").cloned().collect();
    let mut contents = Contents::new(Head {
        schema: SCHEMA.to_owned(),
        tool: "imported".to_owned(),
        // A moment at which all of it was there already.
        at: objects.iter().flat_map(moments).max().unwrap_or_default(),
        cluster: label.rsplit('/').find(|part| !part.is_empty()).unwrap_or(label).to_owned(),
        namespace: "default".to_owned(),
        ..Head::default()
    });
    let (mut parts, mut cuts) = (BTreeSet::new(), Vec::new());
    for mut object in objects {
        let text = |field: &str| object.get(field).and_then(Json::as_str).unwrap_or_default().to_owned();
        let (api_version, kind) = (text("apiVersion"), text("kind"));
        let Some(part) = part(&api_version, &kind, &definitions) else { continue };
        let lower = kind.to_lowercase();
        let place = [meta(&object, "namespace"), meta(&object, "name")].into_iter().filter(|text| !text.is_empty());
        let name = std::iter::once(&*lower).chain(place).collect::<Vec<_>>().join("/");
        redact(&name, &mut object, &mut cuts);
        contents.add(&part.group, &part.resource, object);
        parts.insert(part);
    }
    contents.head.uid = contents.identity();
    let kubelet = |node: &Json| node.pointer("/status/nodeInfo/kubeletVersion").and_then(Json::as_str).map(str::to_owned);
    contents.head.version = contents.of("", "nodes", None).filter_map(kubelet).max().unwrap_or_default();
    contents.head.scopes = parts.into_iter().collect();
    contents.head.cut = cuts;
    Ok(contents)
}

/// The resource of a kind: one of Kubernetes, or one that a definition in the same file makes.
fn part(api_version: &str, kind: &str, definitions: &[Json]) -> Option<Part> {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let whole = |resource: &str| Part {
        group: group.to_owned(),
        version: version.to_owned(),
        resource: resource.to_owned(),
        kind: kind.to_owned(),
        namespace: None,
        slim: false,
    };
    if let Some(known) = kinds::by_kind(api_version, kind) {
        return Some(whole(known.plural));
    }
    let spec = definitions.iter().filter_map(|definition| definition.get("spec"));
    let own = spec.filter(|spec| spec["group"] == group).find(|spec| spec["names"]["kind"] == kind)?;
    Some(whole(own.pointer("/names/plural")?.as_str()?))
}

fn moments(object: &Json) -> Vec<Timestamp> {
    let conditions = object.pointer("/status/conditions").and_then(Json::as_array).into_iter().flatten();
    let times = conditions.map(|condition| &condition["lastTransitionTime"]);
    times.chain(object.pointer("/metadata/creationTimestamp")).filter_map(Json::as_str).filter_map(|text| text.parse().ok()).collect()
}
