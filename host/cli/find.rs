//! From the word on the command line to a runbook's text.

use std::path::Path;

use crate::base::{Error, Result, did_you_mean};
use crate::primitives::registry::list;
use crate::run::Source;

/// The runbook that the word means: a bundled name, else a folder or a file.
///
/// # Errors
/// When it is none of these; with the nearest bundled name.
pub(super) fn runbook(word: &str) -> Result<Source> {
    if let Some(source) = Source::bundled(word) {
        return Ok(source);
    }
    let path = Path::new(word);
    if path.exists() {
        return Source::on_disk(path);
    }
    let names = Source::bundled_names();
    let names = || names.iter().map(String::as_str);
    let error = Error::usage(format!("there is no runbook `{word}`"));
    if word.contains(['/', '\\']) || word.ends_with(".luau") || word.ends_with(".lua") {
        return Err(error.cause("no such file or folder"));
    }
    Err(match did_you_mean(word, names()) {
        Some(near) => error.hint(format!("did you mean `{near}`?")),
        None => error.hint(format!("a runbook is one of {}, a folder, or a file; `lockgate list` shows more", list(names()))),
    })
}

/// The runbooks in this folder and in its `runbooks/`, without copies of bundled ones. There are none in what cannot be read.
#[must_use]
pub(super) fn local(folder: &Path) -> Vec<Source> {
    let mut found: Vec<Source> = [folder.to_path_buf(), folder.join("runbooks")]
        .iter()
        .filter_map(|folder| std::fs::read_dir(folder).ok())
        .flatten()
        .filter_map(|entry| Source::on_disk(&entry.ok()?.path()).ok().filter(Source::is_folder))
        .filter(|source| Source::bundled(&source.name).is_none_or(|bundled| bundled.text != source.text))
        .collect();
    found.sort_by(|a, b| a.file.cmp(&b.file));
    found
}
