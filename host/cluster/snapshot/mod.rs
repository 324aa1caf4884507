//! A snapshot: what a cluster held at one moment, in one file, without its secrets. A plan, the prompt and the skew report work on it as
//! on the cluster, and contact nothing.
//!
//! The file is lines of JSON behind gzip: a head ([`Head`]), an object a line, and an end that counts them and has the SHA-256 of all
//! before it, so that a file that lost its end is told from a whole one.

mod import;
pub mod redact;
mod release;
mod serve;
mod take;
mod world;

use std::collections::BTreeMap;
use std::fmt;
use std::io::{Read as _, Write as _};
use std::path::Path;

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

pub use self::take::{Wanted, Whole};

pub(super) use self::serve::{Snapshot, client};
use super::page::meta;
use crate::base::json::{Value as Json, from_value, json};
use crate::base::{Error, Result, Timestamp};

/// The schema of a snapshot's head.
pub const SCHEMA: &str = "lockgate.dev/snapshot/v1";
/// What the names of all versions of the schema begin with.
const FAMILY: &str = "lockgate.dev/snapshot/v";
/// What every file of gzip begins with.
const GZIP: [u8; 2] = [0x1f, 0x8b];
/// The most that a snapshot may hold, in bytes: as much as a cluster of 150,000 whole pods.
const MOST: u64 = 2 << 30;

/// Where and how a snapshot was made.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Head {
    /// [`SCHEMA`].
    pub schema: String,
    /// The version of lockgate that made it; of an import, that it is one.
    pub tool: String,
    /// When.
    pub at: Timestamp,
    /// The name of the cluster.
    pub cluster: String,
    /// The `uid` of its namespace `kube-system`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
    /// What `/version` of its server says.
    pub version: String,
    /// The namespace of references that name none.
    pub namespace: String,
    /// The runbook and parameters that it was made for, where it is not of everything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub purpose: Option<String>,
    /// What it holds.
    pub scopes: Vec<Part>,
    /// What could not be read, and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refused: Vec<Left>,
    /// What was cut out of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cut: Vec<Cut>,
}

/// All objects of a kind, in one namespace or in all.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Part {
    /// API group; empty for the core group.
    pub group: String,
    /// API version inside the group.
    pub version: String,
    /// The name in paths.
    pub resource: String,
    /// The kind.
    pub kind: String,
    /// The namespace; none for all, and for kinds without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Whether only what schedulers look at is in it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub slim: bool,
}

impl Part {
    /// `pods in shop`
    #[must_use]
    pub fn about(&self) -> String {
        let resource = if self.group.is_empty() { self.resource.clone() } else { format!("{}.{}", self.resource, self.group) };
        match &self.namespace {
            Some(namespace) => format!("{resource} in {namespace}"),
            None => resource,
        }
    }
}

/// What is not in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Left {
    /// What.
    pub what: String,
    /// Why.
    pub why: String,
}

/// What was cut out, so that nobody has to fear to pass it on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cut {
    /// The object: `secret/shop/db`.
    pub object: String,
    /// The field.
    pub field: String,
    /// Why.
    pub why: String,
}

/// A snapshot in memory.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Contents {
    /// Where it is from.
    pub head: Head,
    /// The objects of each kind, by namespace and name; the kind is `version/resource` with its group.
    objects: BTreeMap<(String, String), BTreeMap<(String, String), Json>>,
}

impl Contents {
    /// One without objects.
    #[must_use]
    pub fn new(head: Head) -> Contents {
        Contents { head, objects: BTreeMap::new() }
    }

    /// Adds an object of this resource.
    pub fn add(&mut self, group: &str, resource: &str, object: Json) {
        let place = (meta(&object, "namespace").to_owned(), meta(&object, "name").to_owned());
        self.objects.entry((group.to_owned(), resource.to_owned())).or_default().insert(place, object);
    }

    /// The objects of a resource, sorted by namespace and name.
    pub(super) fn of<'a>(&'a self, group: &str, resource: &str, namespace: Option<&str>) -> impl Iterator<Item = &'a Json> {
        let all = self.objects.get(&(group.to_owned(), resource.to_owned()));
        let namespace = namespace.map(str::to_owned);
        all.into_iter()
            .flatten()
            .filter(move |((own, _), _)| namespace.as_ref().is_none_or(|wanted| wanted == own))
            .map(|(_, object)| object)
    }

    /// The `uid` of the namespace `kube-system`, which tells a cluster from every other.
    fn identity(&self) -> Option<String> {
        let namespace = self.of("", "namespaces", None).find(|object| meta(object, "name") == "kube-system");
        namespace.map(|object| meta(object, "uid").to_owned()).filter(|uid| !uid.is_empty())
    }

    /// How many objects there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.objects.values().map(BTreeMap::len).sum()
    }

    /// Of how many kinds.
    #[must_use]
    pub fn kinds(&self) -> usize {
        self.objects.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether it knows all objects of a resource, in this namespace or, for `None`, in all.
    pub(super) fn knows(&self, group: &str, resource: &str, namespace: Option<&str>) -> bool {
        let of_kind = |part: &&Part| part.group == group && part.resource == resource;
        self.head.scopes.iter().filter(of_kind).any(|part| part.namespace.is_none() || part.namespace.as_deref() == namespace)
    }

    /// The file.
    ///
    /// # Errors
    /// Internal, when something cannot be written as JSON.
    pub fn bytes(&self) -> Result<Vec<u8>> {
        let broken = |error: &dyn fmt::Display| Error::internal("writing a snapshot").cause(error.to_string());
        let mut sum = Sha256::new();
        let mut zip = GzEncoder::new(Vec::new(), Compression::default());
        let mut line = |zip: &mut GzEncoder<Vec<u8>>, text: String| {
            let text = format!("{text}\n");
            sum.update(text.as_bytes());
            zip.write_all(text.as_bytes()).map_err(|error| broken(&error))
        };
        line(&mut zip, serde_json::to_string(&self.head).map_err(|error| broken(&error))?)?;
        for ((group, resource), objects) in &self.objects {
            for object in objects.values() {
                line(&mut zip, json!({ "group": group, "resource": resource, "object": object }).to_string())?;
            }
        }
        let end = json!({ "end": self.len(), "sha256": hex(&sum.finalize()) });
        zip.write_all(format!("{end}\n").as_bytes()).map_err(|error| broken(&error))?;
        zip.finish().map_err(|error| broken(&error))
    }

    /// Reads a snapshot, or what `kubectl get -o yaml` and `kubectl cluster-info dump` gave: a file, or the folder of a dump. `now` is the
    /// moment of an import whose objects tell none.
    ///
    /// # Errors
    /// Input: it is not there, is none of these, lost its end, or is of a newer version.
    pub fn open(path: &Path) -> Result<Contents> {
        if path.is_dir() {
            return import::folder(path);
        }
        let bytes = std::fs::read(path).map_err(|error| cannot_read(path, &error))?;
        if bytes.starts_with(&GZIP) { Contents::read(&path.display().to_string(), &bytes) } else { import::file(path, &bytes) }
    }

    /// Reads the bytes of a snapshot.
    ///
    /// # Errors
    /// As [`Contents::open`].
    pub fn read(label: &str, bytes: &[u8]) -> Result<Contents> {
        let short = || Error::usage(format!("the snapshot `{label}` is not whole: it ends too early")).hint(AGAIN);
        let mut text = String::new();
        let unpacked = GzDecoder::new(bytes).take(MOST).read_to_string(&mut text);
        // What can be read of a file that lost its end says of which version it is.
        let mut lines = text.lines();
        let head: Json = lines.next().and_then(|line| serde_json::from_str(line).ok()).ok_or_else(|| match &unpacked {
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => short(),
            _ => Error::usage(format!("`{label}` is no snapshot of lockgate")).hint(AGAIN),
        })?;
        match head.get("schema").and_then(Json::as_str) {
            Some(SCHEMA) => {}
            Some(other) if other.starts_with(FAMILY) => {
                return Err(Error::usage(format!("the snapshot `{label}` is of another version than this lockgate reads"))
                    .cause(format!("it is `{other}`, and this one reads `{SCHEMA}`"))
                    .hint("use the lockgate that made it, or make it again with this one"));
            }
            _ => return Err(Error::usage(format!("`{label}` is no snapshot of lockgate")).hint(AGAIN)),
        }
        unpacked.map_err(|_| short())?;
        let spoilt = |why: &str| Error::usage(format!("the snapshot `{label}` is damaged")).cause(why).hint(AGAIN);
        let mut contents = Contents::new(from_value(&head).map_err(|error| spoilt(&error.to_string()))?);
        let (body, end) = text.trim_end_matches('\n').rsplit_once('\n').ok_or_else(short)?;
        let end: Json = serde_json::from_str(end).map_err(|_| short())?;
        let Some(count) = end.get("end").and_then(Json::as_u64) else { return Err(short()) };
        let mut sum = Sha256::new();
        sum.update(body.as_bytes());
        sum.update(b"\n");
        if end["sha256"] != hex(&sum.finalize()).as_str() {
            return Err(spoilt("its content is not what was written"));
        }
        for line in body.lines().skip(1) {
            let line: Json = serde_json::from_str(line).map_err(|error| spoilt(&error.to_string()))?;
            let text = |field: &str| line.get(field).and_then(Json::as_str).unwrap_or_default().to_owned();
            contents.add(&text("group"), &text("resource"), line.get("object").cloned().unwrap_or_default());
        }
        if contents.len() as u64 != count {
            return Err(spoilt("objects are missing"));
        }
        Ok(contents)
    }
}

const AGAIN: &str = "make it again: `lockgate snapshot -o FILE`";

fn cannot_read(path: &Path, error: &std::io::Error) -> Error {
    let why = match error.kind() {
        std::io::ErrorKind::NotFound => "there is no such file".to_owned(),
        _ => error.to_string(),
    };
    Error::usage(format!("cannot read the snapshot `{}`", path.display())).cause(why)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests;
