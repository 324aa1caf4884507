//! The protobuf messages of the API types, taken from the Go types that the real server is built from.
//!
//! The tags of every field in `types.go` say its number and its JSON name; whether it may be absent is in its type. With `BLESS` in
//! the environment the case writes `host/sim/src/wire/v1.36.bin` anew; without, it says whether the file is what the module has. The
//! form of the file is told in `host/sim/src/wire/table.rs`.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use flate2::Compression;
use flate2::read::DeflateDecoder;
use flate2::write::DeflateEncoder;

use super::Outcome;
use super::binaries::Binaries;

/// The packages that are taken: their name in the file, their module, their folder in it.
const PACKAGES: [(&str, &str, &str); 16] = [
    ("admissionregistration/v1", "k8s.io/api", "admissionregistration/v1"),
    ("apiregistration/v1", "k8s.io/kube-aggregator", "pkg/apis/apiregistration/v1"),
    ("apps/v1", "k8s.io/api", "apps/v1"),
    ("authentication/v1", "k8s.io/api", "authentication/v1"),
    ("authorization/v1", "k8s.io/api", "authorization/v1"),
    ("autoscaling/v1", "k8s.io/api", "autoscaling/v1"),
    ("autoscaling/v2", "k8s.io/api", "autoscaling/v2"),
    ("batch/v1", "k8s.io/api", "batch/v1"),
    ("coordination/v1", "k8s.io/api", "coordination/v1"),
    ("core/v1", "k8s.io/api", "core/v1"),
    ("discovery/v1", "k8s.io/api", "discovery/v1"),
    ("meta/v1", "k8s.io/apimachinery", "pkg/apis/meta/v1"),
    ("networking/v1", "k8s.io/api", "networking/v1"),
    ("policy/v1", "k8s.io/api", "policy/v1"),
    ("rbac/v1", "k8s.io/api", "rbac/v1"),
    ("scheduling/v1", "k8s.io/api", "scheduling/v1"),
];

/// Types with a form of their own in JSON, by import path and name.
const SPECIAL: [(&str, &str); 9] = [
    ("k8s.io/apimachinery/pkg/api/resource.Quantity", "Q"),
    ("k8s.io/apimachinery/pkg/apis/meta/v1.FieldsV1", "R"),
    ("k8s.io/apimachinery/pkg/apis/meta/v1.MicroTime", "U"),
    ("k8s.io/apimachinery/pkg/apis/meta/v1.Time", "T"),
    ("k8s.io/apimachinery/pkg/runtime.RawExtension", "R"),
    ("k8s.io/apimachinery/pkg/types.NodeName", "s"),
    ("k8s.io/apimachinery/pkg/types.UID", "s"),
    ("k8s.io/apimachinery/pkg/util/intstr.IntOrString", "X"),
    ("encoding/json.RawMessage", "y"),
];

/// A `types.go`.
#[derive(Default)]
struct Source {
    /// Import paths by the name that the file uses.
    imports: BTreeMap<String, String>,
    /// What a type that is no struct is made of.
    named: BTreeMap<String, String>,
    /// The lines of each struct.
    structs: BTreeMap<String, Vec<String>>,
}

type Sources = BTreeMap<&'static str, Source>;

/// The file has what the module has.
///
/// # Errors
/// Messages that differ, or a source that cannot be read.
pub(crate) fn are_current(_: &Binaries) -> Outcome {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("host/sim/src/wire/v1.36.bin");
    let read = messages()?;
    if std::env::var_os("BLESS").is_some() {
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
        let bytes = encoder.write_all(read.as_bytes()).and_then(|()| encoder.finish()).map_err(|error| error.to_string())?;
        std::fs::write(&path, bytes).map_err(|error| format!("writing {}: {error}", path.display()))?;
    }
    let bytes = std::fs::read(&path).map_err(|error| format!("reading {}: {error}", path.display()))?;
    let mut kept = String::new();
    DeflateDecoder::new(bytes.as_slice()).read_to_string(&mut kept).map_err(|error| format!("{}: {error}", path.display()))?;
    match read.lines().zip(kept.lines()).find(|(read, kept)| read != kept) {
        None if read == kept => Ok(()),
        None => Err(format!("{} has {} bytes of text, the module {}", path.display(), kept.len(), read.len())),
        Some((read, kept)) => Err(format!("{} has {kept:?}, the module {read:?}", path.display())),
    }
}

fn messages() -> Outcome<String> {
    let mut sources = Sources::new();
    for (package, module, folder) in PACKAGES {
        let path = module_folder(module)?.join(folder).join("types.go");
        let text = std::fs::read_to_string(&path).map_err(|error| format!("reading {}: {error}", path.display()))?;
        sources.insert(package, source(&text));
    }
    let mut out = String::new();
    for (package, source) in &sources {
        for (name, lines) in &source.structs {
            let fields: Vec<String> = lines.iter().filter_map(|line| field(&sources, package, line)).collect();
            if !fields.is_empty() {
                out.push_str(&format!("{package}.{name}\n{}", fields.concat()));
            }
        }
    }
    Ok(out)
}

/// Where Go keeps a module of the control plane.
fn module_folder(module: &str) -> Outcome<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/controlplane");
    let output = Command::new("go")
        .args(["list", "-mod=readonly", "-m", "-f", "{{.Dir}}", module])
        .current_dir(folder)
        .output()
        .map_err(|error| format!("starting go: {error}"))?;
    let found = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    if output.status.success() && !found.is_empty() {
        return Ok(PathBuf::from(found));
    }
    Err(format!("the module {module} is not there: {}", String::from_utf8_lossy(&output.stderr).trim()))
}

fn source(text: &str) -> Source {
    let mut source = Source::default();
    let mut of = None;
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("type ").and_then(|rest| rest.strip_suffix(" struct {")) {
            of = Some(name.to_owned());
        } else if line == "}" {
            of = None;
        } else if let Some(name) = &of {
            source.structs.entry(name.clone()).or_default().push(line.to_owned());
        } else if let Some((name, made_of)) = line.strip_prefix("type ").and_then(|rest| rest.split_once(' ')) {
            source.named.insert(name.to_owned(), made_of.split(" //").next().unwrap_or_default().trim().to_owned());
        } else if let Some((before, path)) = line.strip_suffix('"').and_then(|line| line.rsplit_once('"')) {
            let alias = before.trim().trim_start_matches("import").trim();
            let alias = if alias.is_empty() { path.rsplit('/').next().unwrap_or_default() } else { alias };
            source.imports.insert(alias.to_owned(), path.to_owned());
        }
    }
    source
}

/// The line of a field, `None` for what is on no wire.
fn field(sources: &Sources, package: &str, line: &str) -> Option<String> {
    let tag = |key: &str| Some(line.split_once(&format!("{key}:\""))?.1.split_once('"')?.0);
    let (json, protobuf) = (tag("json")?, tag("protobuf")?);
    let declaration = line.split('`').next()?;
    let ty = declaration.split_whitespace().next_back()?;
    let (name, options) = json.split_once(',').unwrap_or((json, ""));
    let number = protobuf.split(',').nth(1)?;
    let mut marks = String::new();
    for (mark, given) in [
        ('*', ty.starts_with('*')),
        ('?', options.contains("omitempty") || options.contains("omitzero")),
        ('^', options.contains("inline")),
    ] {
        marks.extend(given.then_some(mark));
    }
    let or_none = |text: &str| if text.is_empty() { "-".to_owned() } else { text.to_owned() };
    Some(format!(" {number} {} {} {}\n", or_none(name), or_none(&marks), kind(sources, package, ty.trim_start_matches('*'))?))
}

/// A Go type as the table writes it.
fn kind(sources: &Sources, package: &str, ty: &str) -> Option<String> {
    let source = sources.get(package)?;
    if ty == "[]byte" {
        return Some("y".to_owned());
    }
    if let Some(item) = ty.strip_prefix("[]") {
        return Some(format!("+{}", kind(sources, package, item.trim_start_matches('*'))?));
    }
    if let Some((_, item)) = ty.strip_prefix("map[").and_then(|rest| rest.split_once(']')) {
        return Some(format!("%{}", kind(sources, package, item)?));
    }
    match ty {
        "string" => return Some("s".to_owned()),
        "int" | "int32" | "int64" => return Some("i".to_owned()),
        "bool" => return Some("b".to_owned()),
        _ => {}
    }
    let own = |path: &str| PACKAGES.iter().find(|(_, module, folder)| format!("{module}/{folder}") == path).map(|(name, ..)| *name);
    let (path, name) = match ty.split_once('.') {
        Some((alias, name)) => (source.imports.get(alias)?.clone(), name),
        None => {
            let (_, module, folder) = PACKAGES.iter().find(|(name, ..)| *name == package)?;
            (format!("{module}/{folder}"), ty)
        }
    };
    if let Some((_, special)) = SPECIAL.iter().find(|(known, _)| *known == format!("{path}.{name}")) {
        return Some((*special).to_owned());
    }
    let package = own(&path)?;
    let source = sources.get(package)?;
    if source.structs.contains_key(name) {
        return Some(format!("m{package}.{name}"));
    }
    match source.named.get(name)?.as_str() {
        "[]string" => Some("E".to_owned()),
        made_of => kind(sources, package, made_of),
    }
}
