//! The ordinary tests, in one binary. `tests/README.md` says what belongs where.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a helper of a test fails like the test itself")]

mod check;
mod cli;
mod cluster;
mod docs;
mod layers;
mod lua;
mod primitives;
mod repl;
#[path = "support/roles.rs"]
mod roles;
mod runs;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// A test in a file that no `mod` line names is never run, and nobody notices.
#[test]
fn no_test_file_is_forgotten() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests").canonicalize().unwrap();
    let mut reached = BTreeSet::new();
    for binary in ["main.rs", "cases.rs"] {
        reach(&folder.join(binary), &folder, &mut reached);
    }
    // What is measured by hand is no test.
    let bench = folder.join("bench");
    let forgotten: Vec<PathBuf> = files(&folder).into_iter().filter(|file| !reached.contains(file) && !file.starts_with(&bench)).collect();
    assert!(forgotten.is_empty(), "no `mod` line leads to {forgotten:?}");
}

/// Every Rust file below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let paths = entries.map(|entry| entry.unwrap().path());
    paths
        .flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] })
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .collect()
}

/// Follows the `mod` lines of a file; its modules are in `folder`.
fn reach(file: &Path, folder: &Path, reached: &mut BTreeSet<PathBuf>) {
    reached.insert(file.to_path_buf());
    let text = fs::read_to_string(file).unwrap();
    let mut path_attribute: Option<String> = None;
    for line in text.lines() {
        let line = line.trim();
        if let Some(path) = line.strip_prefix("#[path = \"").and_then(|rest| rest.strip_suffix("\"]")) {
            path_attribute = Some(path.to_owned());
            continue;
        }
        let declared = line.strip_prefix("pub(crate) ").or(line.strip_prefix("pub(super) ")).or(line.strip_prefix("pub ")).unwrap_or(line);
        let Some(name) = declared.strip_prefix("mod ").and_then(|rest| rest.strip_suffix(';')) else { continue };
        let candidates = match path_attribute.take() {
            Some(path) => vec![(file.parent().unwrap().join(path).canonicalize().unwrap(), folder.join(name))],
            None => vec![(folder.join(format!("{name}.rs")), folder.join(name)), (folder.join(name).join("mod.rs"), folder.join(name))],
        };
        if let Some((file, folder)) = candidates.into_iter().find(|(file, _)| file.is_file()) {
            reach(&file, &folder, reached);
        }
    }
}
