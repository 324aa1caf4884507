//! `lockgate check`: what is wrong with Lua before it runs; never touches a cluster.

use std::path::{Path, PathBuf};

use super::args::{CheckArgs, Format};
use super::{Done, find, host};
use crate::base::{Error, Result};
use crate::check::Checker;
use crate::lua::STDLIB;
use crate::report::{Screen, check as report};
use crate::run::Source;
use crate::run::source::{BUNDLED, Beside, unreadable};

/// The endings of files of Lua.
const ENDINGS: [&str; 2] = ["luau", "lua"];

/// Looks at what was named, or at everything bundled. Findings are the exit code.
///
/// # Errors
/// A word that names nothing, or a file that cannot be read.
pub(super) fn check(args: &CheckArgs, screen: &Screen) -> Done {
    host::folders(&args.modules)?;
    let sources =
        if args.what.is_empty() { bundled() } else { args.what.iter().map(|word| named(word)).collect::<Result<Vec<_>>>()?.concat() };
    let checked = Checker::new(args.strict, args.modules.clone())?.check(&sources)?;
    match args.output.output {
        Format::Text => {
            for finding in &checked.findings {
                screen.data(&report::finding(finding, screen.paint));
            }
            screen.data(&report::sum(&checked));
        }
        Format::Json => screen.data(&report::json(&checked)?),
    }
    Ok(u8::from(!checked.findings.is_empty()))
}

/// Every bundled file of Lua: runbooks, their scenarios and data, and the standard library.
fn bundled() -> Vec<Source> {
    let mut dirs: Vec<_> = BUNDLED.dirs().collect();
    dirs.push(&STDLIB);
    dirs.iter().flat_map(|dir| of_bundled(dir)).collect()
}

fn of_bundled(dir: &'static include_dir::Dir<'static>) -> Vec<Source> {
    let folder = dir.path().display().to_string();
    let mut sources: Vec<Source> = dir
        .files()
        .filter(|file| is_lua(file.path()))
        .filter_map(|file| {
            let shown = file.path().display().to_string();
            // The standard library has no folder of its own.
            let shown = if folder.is_empty() { format!("stdlib/{shown}") } else { shown };
            let stem = file.path().file_stem()?.to_string_lossy().into_owned();
            let name = if stem == "runbook" { folder.clone() } else { stem };
            Some(Source { name, file: shown, text: file.contents_utf8()?.into(), beside: Beside::Bundled(dir), modules: Vec::new() })
        })
        .collect();
    sources.sort_by(|left, right| left.file.cmp(&right.file));
    sources
}

/// The files that a word means: those of a bundled runbook, those of a folder and the folders in it, or one.
fn named(word: &str) -> Result<Vec<Source>> {
    let path = Path::new(word);
    if let Some(dir) = BUNDLED.get_dir(word) {
        return Ok(of_bundled(dir));
    }
    if !path.is_dir() {
        return find::runbook(word).map(|source| vec![source]);
    }
    let mut files = Vec::new();
    let mut folders = vec![path.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).map_err(|error| unreadable(&folder, &error))? {
            let path = entry.map_err(|error| unreadable(&folder, &error))?.path();
            let hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
            if path.is_dir() && !hidden {
                folders.push(path);
            } else if is_lua(&path) {
                files.push(path);
            }
        }
    }
    files.sort();
    if files.is_empty() {
        return Err(Error::usage(format!("the folder `{word}` holds no Lua")).hint("files of Lua end with `.luau` or `.lua`"));
    }
    files.iter().map(|file| Source::on_disk(file)).collect()
}

/// Whether it is a script: definitions of types are not.
fn is_lua(path: &Path) -> bool {
    let name: PathBuf = path.file_name().map(PathBuf::from).unwrap_or_default();
    ENDINGS.iter().any(|ending| name.extension().is_some_and(|own| own == *ending)) && !name.to_string_lossy().ends_with(".d.luau")
}
