//! The schemas of the API types, and the OpenAPI documents that are made of them.
//!
//! `v1.36.bin` holds every schema of `/openapi/v3` of kube-apiserver v1.36.4 without its words (the case
//! `controlplane::schemas_are_current` writes it): a line for each package with its name and the length of what follows, an empty
//! line, then the packages. A package is a deflate stream of lines with the name of a type and its schema. A package is unpacked
//! when one of its types is asked for, a type is read when it is met; both once per process.

mod document;

use std::collections::HashMap;
use std::io::Read;
use std::sync::OnceLock;

use crate::json::Value;
use crate::kinds::Kind;
use crate::schema::Type;

pub(crate) use self::document::{answer, second};

static ARCHIVE: &[u8] = include_bytes!("v1.36.bin");

/// Where schemas refer to each other.
pub(crate) const REFERENCE: &str = "#/components/schemas/";

#[derive(Debug)]
struct Package {
    stream: &'static [u8],
    types: OnceLock<HashMap<&'static str, Definition>>,
}

#[derive(Debug)]
struct Definition {
    text: &'static str,
    read: OnceLock<Option<Type>>,
}

fn packages() -> &'static HashMap<&'static str, Package> {
    static PACKAGES: OnceLock<HashMap<&'static str, Package>> = OnceLock::new();
    PACKAGES.get_or_init(|| {
        let Some(end) = ARCHIVE.windows(2).position(|pair| pair == b"\n\n") else { return HashMap::new() };
        let (head, mut body) = (std::str::from_utf8(&ARCHIVE[..end]).unwrap_or_default(), &ARCHIVE[end + 2..]);
        let mut packages = HashMap::new();
        for (name, length) in head.lines().filter_map(|line| line.split_once(' ')) {
            let Some((stream, rest)) = length.parse().ok().and_then(|length| body.split_at_checked(length)) else { break };
            packages.insert(name, Package { stream, types: OnceLock::new() });
            body = rest;
        }
        packages
    })
}

impl Package {
    fn types(&self) -> &HashMap<&'static str, Definition> {
        self.types.get_or_init(|| {
            let mut text = String::new();
            // The archive is a part of this program; a test reads all of it.
            if flate2::read::DeflateDecoder::new(self.stream).read_to_string(&mut text).is_err() {
                return HashMap::new();
            }
            let text: &'static str = Box::leak(text.into_boxed_str());
            let lines = text.lines().filter_map(|line| line.split_once(' '));
            lines.map(|(name, text)| (name, Definition { text, read: OnceLock::new() })).collect()
        })
    }
}

fn definition(name: &str) -> Option<&'static Definition> {
    let (package, short) = name.rsplit_once('.')?;
    packages().get(package)?.types().get(short)
}

/// The type with this name, for example `io.k8s.api.core.v1.Pod`.
pub(crate) fn type_named(name: &str) -> Option<&'static Type> {
    let definition = definition(name)?;
    let read = || schema_named(name).map(|schema| Type::read(&schema));
    definition.read.get_or_init(read).as_ref()
}

/// The schema with this name as a document.
pub(crate) fn schema_named(name: &str) -> Option<Value> {
    serde_json::from_str(definition(name)?.text).ok()
}

/// The name of the schema of a kind of Kubernetes itself; nothing says that there is one.
pub(crate) fn name_of(group: &str, version: &str, kind: &str) -> String {
    let name = own_name_of(group, version, kind);
    if !group.contains('.') || definition(&name).is_some() {
        return name;
    }
    // Of a custom resource the group is read from behind.
    let group: Vec<&str> = group.rsplit('.').collect();
    format!("{}.{version}.{kind}", group.join("."))
}

fn own_name_of(group: &str, version: &str, kind: &str) -> String {
    match group {
        "" => format!("io.k8s.api.core.{version}.{kind}"),
        "apiextensions.k8s.io" => format!("io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.{version}.{kind}"),
        "apiregistration.k8s.io" => format!("io.k8s.kube-aggregator.pkg.apis.apiregistration.{version}.{kind}"),
        group => format!("io.k8s.api.{}.{version}.{kind}", group.split('.').next().unwrap_or_default()),
    }
}

/// The type of a kind; `None` for one that Kubernetes itself does not have.
pub(crate) fn type_of(kind: &Kind) -> Option<&'static Type> {
    if let Some(version) = kind.custom() {
        return Some(&version.fields);
    }
    type_named(&name_of(kind.group, kind.version, kind.kind))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds;

    #[test]
    fn every_schema_can_be_read_and_refers_to_others_that_exist() {
        let mut count = 0;
        for (package, content) in packages() {
            assert!(!content.types().is_empty(), "{package}");
            for short in content.types().keys() {
                let name = format!("{package}.{short}");
                let read = type_named(&name).unwrap();
                read.references(&mut |name| assert!(definition(name).is_some(), "{name}"));
                count += 1;
            }
        }
        assert!(count > 550, "{count}");
    }

    #[test]
    fn every_served_kind_of_kubernetes_has_its_type() {
        for kind in kinds::ALL {
            assert!(type_of(kind).is_some(), "{}", kind.group_kind());
        }
    }
}
