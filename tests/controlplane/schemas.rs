//! The schemas of the simulated API server, taken from the real one.
//!
//! With `BLESS` in the environment the case writes `host/sim/src/openapi/v1.36.bin` anew; without, it says whether the file is
//! what this server serves. The form of the file is told in `host/sim/src/openapi/mod.rs`.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::read::DeflateDecoder;
use flate2::write::DeflateEncoder;
use serde_json::{Map, Value};

use super::Outcome;
use super::binaries::Binaries;
use super::plane::{ControlPlane, Pace};

/// Parts of a schema that are for readers.
const FOR_READERS: [&str; 3] = ["description", "example", "externalDocs"];

/// Schemas that name the groups of the document they stand in.
const OF_EVERY_GROUP: [&str; 2] = ["io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions", "io.k8s.apimachinery.pkg.apis.meta.v1.WatchEvent"];

/// Schemas by package and name, as text.
type Packages = BTreeMap<String, BTreeMap<String, String>>;

/// The file has what the server serves.
///
/// # Errors
/// A schema that differs, is missing or is too many.
pub(crate) fn are_current(binaries: &Binaries) -> Outcome {
    let plane = ControlPlane::start(binaries, Pace::default())?;
    let served = fetch(&plane)?;
    let path = path();
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&path, packed(&served)?).map_err(|error| format!("writing {}: {error}", path.display()))?;
    }
    let bytes = std::fs::read(&path).map_err(|error| format!("reading {}: {error}", path.display()))?;
    let kept = unpacked(&bytes)?;
    let lines = |packages: &Packages| -> BTreeMap<String, String> {
        let all = packages.iter().flat_map(|(package, types)| types.iter().map(move |(name, text)| (format!("{package}.{name}"), text)));
        all.map(|(name, text)| (name, text.clone())).collect()
    };
    let (served, kept) = (lines(&served), lines(&kept));
    let names: Vec<&String> = served.keys().chain(kept.keys()).filter(|name| served.get(*name) != kept.get(*name)).collect();
    if names.is_empty() { Ok(()) } else { Err(format!("{} schemas differ from {}: {names:?}", names.len(), path.display())) }
}

fn path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("host/sim/src/openapi/v1.36.bin")
}

fn fetch(plane: &ControlPlane) -> Outcome<Packages> {
    let get = |path: &str| -> Outcome<Value> {
        let text = plane.kubectl(&["get", "--raw", path])?;
        serde_json::from_str(&text).map_err(|error| format!("{path}: {error}"))
    };
    let index = get("/openapi/v3")?;
    let paths = index["paths"].as_object().ok_or("the index has no paths")?;
    let mut packages = Packages::new();
    for path in paths.keys() {
        let document = get(&format!("/openapi/v3/{path}"))?;
        for (name, schema) in document["components"]["schemas"].as_object().into_iter().flatten() {
            let (package, short) = name.rsplit_once('.').ok_or_else(|| format!("{name} is in no package"))?;
            let mut schema = without_words(schema);
            if OF_EVERY_GROUP.contains(&name.as_str()) {
                schema.as_object_mut().map(|schema| schema.remove("x-kubernetes-group-version-kind"));
            }
            let text = schema.to_string();
            let before = packages.entry(package.to_owned()).or_default().insert(short.to_owned(), text.clone());
            if before.is_some_and(|before| before != text) {
                return Err(format!("{name} is not the same in {path} as in another document"));
            }
        }
    }
    Ok(packages)
}

/// A schema without what is for readers. The names of properties are no keywords.
fn without_words(schema: &Value) -> Value {
    let Value::Object(fields) = schema else { return schema.clone() };
    let keep = |(keyword, value): (&String, &Value)| {
        let value = match (keyword.as_str(), value) {
            ("properties", Value::Object(all)) => {
                Value::Object(all.iter().map(|(name, schema)| (name.clone(), without_words(schema))).collect())
            }
            ("items" | "additionalProperties", value) => without_words(value),
            ("allOf" | "anyOf" | "oneOf", Value::Array(all)) => Value::Array(all.iter().map(without_words).collect()),
            (_, value) => value.clone(),
        };
        (keyword.clone(), value)
    };
    let kept = fields.iter().filter(|(keyword, _)| !FOR_READERS.contains(&keyword.as_str())).map(keep);
    Value::Object(kept.collect::<Map<String, Value>>())
}

/// A line for each package with its name and the length of what follows, an empty line, then the packages: each a deflate stream
/// of lines with the name of a type and its schema.
fn packed(packages: &Packages) -> Outcome<Vec<u8>> {
    let (mut head, mut body) = (String::new(), Vec::new());
    for (package, types) in packages {
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
        for (name, schema) in types {
            writeln!(encoder, "{name} {schema}").map_err(|error| format!("packing {package}: {error}"))?;
        }
        let bytes = encoder.finish().map_err(|error| format!("packing {package}: {error}"))?;
        head.push_str(&format!("{package} {}\n", bytes.len()));
        body.extend(bytes);
    }
    Ok([head.as_bytes(), b"\n", &body].concat())
}

fn unpacked(bytes: &[u8]) -> Outcome<Packages> {
    let end = bytes.windows(2).position(|pair| pair == b"\n\n").ok_or("no head")?;
    let (head, mut body) = (String::from_utf8_lossy(&bytes[..end]).into_owned(), &bytes[end + 2..]);
    let mut packages = Packages::new();
    for line in head.lines() {
        let (package, length) = line.split_once(' ').ok_or("a line of the head has no length")?;
        let length: usize = length.parse().map_err(|error| format!("{line}: {error}"))?;
        let (stream, rest) = body.split_at_checked(length).ok_or("the file is too short")?;
        let mut text = String::new();
        DeflateDecoder::new(stream).read_to_string(&mut text).map_err(|error| format!("unpacking {package}: {error}"))?;
        let types = text.lines().filter_map(|line| line.split_once(' ')).map(|(name, schema)| (name.to_owned(), schema.to_owned()));
        packages.insert(package.to_owned(), types.collect());
        body = rest;
    }
    Ok(packages)
}
