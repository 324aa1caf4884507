//! The house: which layer may use which, what may be imported where, and how long a file or function may be.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The layers of the host from the bottom up. A layer uses those before it in this list; layers on one line do not use each other
/// except as `BESIDE` says.
const LAYERS: &[&[&str]] = &[&["base"], &["cluster"], &["primitives"], &["run"], &["lua"], &["check"], &["report"], &["repl"], &["cli"]];

/// A rule about what may be named where.
struct Rule {
    /// The text that betrays it.
    names: &'static [&'static str],
    /// Files and folders under `host/` where it is allowed.
    only: &'static [&'static str],
    /// Why.
    reason: &'static str,
}

const RULES: &[Rule] = &[
    Rule {
        names: &["kube::", "hyper::", "hyper_util::"],
        only: &["cluster/"],
        reason: "there is one way to the cluster, and the layers in front of it cannot be gone around",
    },
    Rule {
        names: &["mlua::"],
        only: &["lua/", "repl/"],
        reason: "a runbook can be run from Rust, and the language can be changed in one place",
    },
    Rule { names: &["rustyline::"], only: &["repl/"], reason: "the line editor belongs to the prompt" },
    Rule {
        names: &["println!", "eprintln!", "print!(", "eprint!(", "io::stdout", "io::stderr"],
        only: &["report/"],
        reason: "what is data and what is talk is decided in one place, and a closed output is handled there",
    },
    Rule {
        names: &["std::time", "tokio::time", "SystemTime", "Instant::now", "thread::sleep"],
        only: &["base/clock.rs"],
        reason: "time is virtual in a plan, so that everybody must ask the run's clock",
    },
    Rule {
        names: &["std::process", "tokio::process"],
        only: &["main.rs", "cluster/door.rs"],
        reason: "processes are started behind the guarded door alone, and `main` gives the exit code",
    },
    Rule {
        names: &["tokio::net", "TcpStream", "TcpListener", "UdpSocket", "UnixStream"],
        only: &["cluster/"],
        reason: "nothing else opens a connection",
    },
];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Every Rust file below a folder.
fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                if path.file_name().is_none_or(|name| name != "target") {
                    folders.push(path);
                }
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    files.sort();
    files
}

/// A file of the host with its path below `host/`, without comments and without test code.
struct Source {
    path: String,
    /// Its lines; what is no product code is empty.
    lines: Vec<String>,
}

fn product() -> Vec<Source> {
    let host = root().join("host");
    rust_files(&host)
        .into_iter()
        .map(|file| (file.strip_prefix(&host).unwrap().display().to_string(), file))
        .filter(|(path, _)| !path.starts_with("sim/") && path != "build.rs" && !is_test_file(path))
        .map(|(path, file)| Source { path, lines: code(&fs::read_to_string(file).unwrap()) })
        .collect()
}

/// Files that are compiled into tests only.
fn is_test_file(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap();
    name.ends_with("_tests.rs") || name == "tests.rs" || name == "testing.rs" || path.contains("/tests/")
}

/// The lines without comments, string contents that look like code, and what follows a file's test module.
fn code(text: &str) -> Vec<String> {
    let tests = text.find("#[cfg(test)]\nmod tests {").unwrap_or(text.len());
    text[..tests]
        .lines()
        .map(|line| {
            let line = line.trim_start();
            if line.starts_with("//") { String::new() } else { line.split(" // ").next().unwrap().to_owned() }
        })
        .collect()
}

fn allowed(path: &str, only: &[&str]) -> bool {
    only.iter().any(|place| path == *place || (place.ends_with('/') && path.starts_with(place)))
}

#[test]
fn what_is_imported_where() {
    let mut broken = Vec::new();
    for source in product() {
        for rule in RULES.iter().filter(|rule| !allowed(&source.path, rule.only)) {
            for (number, line) in source.lines.iter().enumerate() {
                if let Some(name) = rule.names.iter().find(|name| names(line, name)) {
                    broken.push(format!("host/{}:{}: `{name}`: {}", source.path, number + 1, rule.reason));
                }
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

/// Whether the line has the name, not as the end of a longer one.
fn names(line: &str, name: &str) -> bool {
    line.match_indices(name).any(|(at, _)| !line[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':'))
}

#[test]
fn a_layer_uses_only_those_beneath_it() {
    let height: BTreeMap<&str, usize> =
        LAYERS.iter().enumerate().flat_map(|(height, layers)| layers.iter().map(move |layer| (*layer, height))).collect();
    let mut broken = Vec::new();
    for source in product() {
        let Some((layer, _)) = source.path.split_once('/') else { continue };
        let own = *height.get(layer).unwrap_or_else(|| panic!("host/{layer} is no layer: give it its place in LAYERS"));
        for (number, line) in source.lines.iter().enumerate() {
            for used in line.match_indices("crate::").map(|(at, name)| &line[at + name.len()..]) {
                let used: String = used.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
                if height.get(used.as_str()).is_some_and(|height| *height > own) {
                    broken.push(format!("host/{}:{}: `{layer}` uses `{used}`, which is above it", source.path, number + 1));
                }
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn the_simulator_knows_nothing_of_the_host() {
    let forbidden = [
        ("lockgate::", "the host"),
        ("kube::", "a client"),
        ("tokio", "a runtime"),
        ("std::time", "a wall clock"),
        ("SystemTime", "a wall clock"),
        ("std::fs", "files"),
        // Addresses may be read; whoever speaks to one needs a name of these.
        ("TcpStream", "the network"),
        ("TcpListener", "the network"),
        ("UdpSocket", "the network"),
        ("ToSocketAddrs", "the network"),
        ("std::net::*", "the network"),
        ("std::thread", "threads"),
        ("std::env", "the environment"),
        ("async fn", "waiting"),
    ];
    let mut broken = Vec::new();
    for file in rust_files(&root().join("host/sim/src")) {
        for (number, line) in code(&fs::read_to_string(&file).unwrap()).iter().enumerate() {
            for (name, what) in forbidden.iter().filter(|(name, _)| names(line, name)) {
                broken.push(format!("{}:{}: `{name}`: the simulator has no business with {what}", file.display(), number + 1));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
    let manifest = fs::read_to_string(root().join("host/sim/Cargo.toml")).unwrap();
    let needs = manifest.split("[dependencies]").nth(1).unwrap().split("\n[").next().unwrap();
    assert!(!needs.contains("lockgate") && !needs.contains("kube") && !needs.contains("tokio"), "{needs}");
}

/// Longest file, without its test module.
const FILE: usize = 600;
/// Longest function.
const FUNCTION: usize = 80;

#[test]
fn files_and_functions_stay_short() {
    let mut long = Vec::new();
    for folder in ["host", "tests"] {
        for file in rust_files(&root().join(folder)) {
            let text = fs::read_to_string(&file).unwrap();
            let name = file.strip_prefix(root()).unwrap().display().to_string();
            let lines = text.split("#[cfg(test)]\nmod tests {").next().unwrap().lines().count();
            if lines > FILE {
                long.push(format!("{name}: {lines} lines; split it at {FILE}"));
            }
            long.extend(
                functions(&text)
                    .filter(|(_, length)| *length > FUNCTION)
                    .map(|(function, length)| format!("{name}: `{function}` has {length} lines; split it at {FUNCTION}")),
            );
        }
    }
    assert!(long.is_empty(), "{}", long.join("\n"));
}

/// The functions of a formatted file and their lengths: from `fn` to the closing brace at the same indentation.
fn functions(text: &str) -> impl Iterator<Item = (String, usize)> {
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    for (start, line) in lines.iter().enumerate() {
        let indent = line.len() - line.trim_start().len();
        let head = line.trim_start();
        let Some((before, after)) = head.split_once("fn ") else { continue };
        let is_head =
            before.split_whitespace().all(|word| ["pub", "const", "async", "unsafe", "extern"].contains(&word) || word.starts_with("pub("));
        if !is_head || head.starts_with("//") {
            continue;
        }
        // What a trait only asks for has no body.
        let opened = lines[start..].iter().find(|line| line.trim_end().ends_with(['{', ';', '}']));
        if opened.is_none_or(|line| line.trim_end().ends_with(';')) {
            continue;
        }
        let name: String = after.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        let end = lines[start..].iter().position(|line| line.trim_end() == format!("{}}}", " ".repeat(indent)));
        if let Some(length) = end {
            found.push((name, length + 1));
        }
    }
    found.into_iter()
}

#[test]
fn plain_cargo_test_tests_the_simulator_too() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let line = manifest.lines().find(|line| line.starts_with("default-members")).expect("default-members in Cargo.toml");
    for member in ["\".\"", "\"host/sim\""] {
        assert!(line.contains(member), "{member} must be in {line}: without it a panicking test there stays unseen");
    }
}

#[test]
fn main_is_short() {
    let main = fs::read_to_string(root().join("host/main.rs")).unwrap();
    assert!(main.lines().count() < 40, "host/main.rs only runs the command line");
}

#[test]
fn the_rules_would_be_noticed() {
    assert!(names("use kube::Client;", "kube::"));
    assert!(names("    std::time::Instant::now()", "std::time"));
    assert!(!names("use mykube::x;", "kube::"));
    let text = "fn a() {\n    1\n}\n\nimpl X {\n    pub(crate) fn b(&self) {\n        2\n    }\n}\n";
    assert_eq!(functions(text).collect::<Vec<_>>(), [("a".to_owned(), 3), ("b".to_owned(), 3)]);
    let lines = code("use a;\n// kube::x\nlet b; // kube::y\n#[cfg(test)]\nmod tests {\n kube::z\n}\n");
    assert_eq!(lines, ["use a;", "", "let b;"]);
}
