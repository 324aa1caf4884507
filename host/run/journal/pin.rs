//! What a run was begun with: the runbook's file and every module that it may require, the parameter file, and the hashes of what
//! is in the binary. A run goes on from these, and says so when they are another today.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use include_dir::{Dir, DirEntry};

use super::chain::sha256;
use super::entry::Header;
use super::folder::RunFolder;
use super::io::plain;
use crate::base::{Error, Kind, Reason, Result};
use crate::run::source::{Beside, FILES, Source, unreadable};

/// The folder of what is pinned.
pub const SCRIPT: &str = "script";
/// In it: the runbook's file and those beside it.
const RUNBOOK: &str = "runbook";
/// In it: one folder for each of `--modules`, by number.
const MODULES: &str = "modules";
/// In it: what else was read when the run began.
const DATA: &str = "data";
/// What is embedded in the binary, among the hashes.
const STDLIB: &str = "@stdlib";
/// The version of the program, among the hashes.
const VERSION: &str = "@version";
/// The folder of a later source, among the hashes.
const FOLDER: &str = "@folder";
/// How deep modules may lie.
const DEEP: usize = 4;
/// How much may be pinned, in bytes.
const MOST: usize = 16 << 20;

/// The sources of a run, by their names in the folder `script`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pinned {
    files: BTreeMap<String, Vec<u8>>,
    embedded: BTreeMap<String, String>,
}

impl Pinned {
    /// What this runbook may read: its own text as it was loaded, every Lua file beside it, every one in the folders of `--modules`.
    /// `stdlib` is the standard library of the binary. Beside a lone file are the modules that it and they require by name; where a name
    /// is made up while the file runs, all Lua files of its folder too.
    ///
    /// # Errors
    /// When a file cannot be read, or there is too much.
    pub fn gather(source: &Source, modules: &[PathBuf], stdlib: &Dir<'_>) -> Result<Pinned> {
        let mut pinned = Pinned::default();
        let beside = match &source.beside {
            Beside::Kept(kept) => kept.of(),
            beside => beside,
        };
        match beside {
            Beside::Bundled(folder) => pinned.embedded_folder(folder, folder.path()),
            Beside::Disk(folder) if source.is_folder() => pinned.folder(folder, RUNBOOK, DEEP)?,
            Beside::Disk(folder) => {
                if !pinned.required(&source.text, beside)? {
                    pinned.folder(folder, RUNBOOK, 1)?;
                }
            }
            Beside::Kept(_) | Beside::Nothing => {}
        }
        let own = file_name(&source.file);
        pinned.files.insert(format!("{RUNBOOK}/{own}"), source.text.as_bytes().to_vec());
        for (number, folder) in modules.iter().enumerate() {
            pinned.folder(folder, &format!("{MODULES}/{number}"), DEEP)?;
        }
        pinned.embedded.insert(STDLIB.to_owned(), hash(stdlib));
        pinned.embedded.insert(VERSION.to_owned(), env!("CARGO_PKG_VERSION").to_owned());
        match pinned.files.values().map(Vec::len).sum::<usize>() {
            size if size > MOST => {
                let error = Error::usage(format!("the Lua files beside `{}` are too many: {} MiB", source.file, size >> 20));
                Err(error.hint(format!("a run keeps at most {} MiB of them; give the runbook a folder of its own", MOST >> 20)))
            }
            _ => Ok(pinned),
        }
    }

    /// The same with something else that was read: the parameter file, the fixture of a sandbox.
    #[must_use]
    pub fn with(mut self, name: &str, text: &str) -> Pinned {
        self.files.insert(format!("{DATA}/{}", file_name(name)), text.as_bytes().to_vec());
        self
    }

    /// SHA-256 of everything by its name; for [`Header::files`].
    #[must_use]
    pub fn hashes(&self) -> BTreeMap<String, String> {
        let files = self.files.iter().map(|(name, bytes)| (name.clone(), sha256(bytes)));
        files.chain(self.embedded.clone()).collect()
    }

    /// Writes it into the folder of the run; it survives a crash from then on.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn write(&self, folder: &RunFolder) -> Result<()> {
        self.write_into(&folder.path().join(SCRIPT))
    }

    /// Writes it beside what the run began with, as its source of this number; gives the hashes, which say where it lies.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn write_as(&self, folder: &RunFolder, number: usize) -> Result<BTreeMap<String, String>> {
        let name = format!("{SCRIPT}-{number}");
        let root = folder.path().join(&name);
        // Left by somebody who died before the journal had it.
        match fs::remove_dir_all(&root) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(unkept(&root, &error)),
            _ => self.write_into(&root)?,
        }
        let mut hashes = self.hashes();
        hashes.insert(FOLDER.to_owned(), name);
        Ok(hashes)
    }

    fn write_into(&self, root: &Path) -> Result<()> {
        let root = root.to_path_buf();
        let mut folders = BTreeSet::from([root.clone()]);
        for (name, bytes) in &self.files {
            let path = root.join(name);
            let written = (|| {
                let parent = path.parent().unwrap_or(&root);
                fs::DirBuilder::new().recursive(true).mode(0o700).create(parent)?;
                folders.extend(parent.ancestors().take_while(|above| above.starts_with(&root)).map(Path::to_path_buf));
                let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path)?;
                std::io::Write::write_all(&mut file, bytes)?;
                file.sync_all()
            })();
            written.map_err(|error| unkept(&path, &error))?;
        }
        folders
            .iter()
            .try_for_each(|folder| fs::File::open(folder).and_then(|folder| folder.sync_all()).map_err(|error| unkept(folder, &error)))
    }

    /// Every Lua file in a folder of the binary.
    fn embedded_folder(&mut self, folder: &Dir<'_>, root: &Path) {
        for entry in folder.entries() {
            match entry {
                DirEntry::Dir(inner) => self.embedded_folder(inner, root),
                DirEntry::File(file) if is_lua(file.path()) => {
                    let name = file.path().strip_prefix(root).unwrap_or(file.path());
                    self.files.insert(format!("{RUNBOOK}/{}", name.display()), file.contents().to_vec());
                }
                DirEntry::File(_) => {}
            }
        }
    }

    /// Every Lua file in a folder on disk.
    fn folder(&mut self, folder: &Path, name: &str, deep: usize) -> Result<()> {
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        for entry in fs::read_dir(folder).map_err(|error| unreadable(folder, &error))? {
            let entry = entry.map_err(|error| unreadable(folder, &error))?;
            let path = entry.path();
            let Some(own) = entry.file_name().to_str().filter(|own| !own.starts_with('.')).map(str::to_owned) else { continue };
            let Ok(metadata) = fs::metadata(&path) else { continue };
            if metadata.is_dir() && deep > 1 {
                self.folder(&path, &format!("{name}/{own}"), deep - 1)?;
            } else if metadata.is_file() && is_lua(&path) {
                let bytes = fs::read(&path).map_err(|error| unreadable(&path, &error))?;
                self.files.insert(format!("{name}/{own}"), bytes);
            }
        }
        Ok(())
    }

    /// The modules beside a lone file that it and they name. Gives whether every name could be read off the texts.
    fn required(&mut self, text: &str, beside: &Beside) -> Result<bool> {
        let (names, mut all) = required(text);
        for name in names {
            for ending in ["luau", "lua"] {
                let relative = format!("{name}.{ending}");
                let key = format!("{RUNBOOK}/{relative}");
                if self.files.contains_key(&key) {
                    break;
                }
                if let Some(text) = beside.read(&relative)? {
                    self.files.insert(key, text.as_bytes().to_vec());
                    all &= self.required(&text, beside)?;
                    break;
                }
            }
        }
        Ok(all)
    }
}

/// What is another than it was when the run began.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Difference {
    /// A file is new.
    Added(String),
    /// A file is gone.
    Removed(String),
    /// A file has another content.
    Changed(String),
    /// The standard library in the binary is another.
    Library,
    /// The program is of another version.
    Version {
        /// Which one the run was begun with.
        then: String,
        /// Which one this is.
        now: String,
    },
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let own = |name: &str| name.strip_prefix("runbook/").unwrap_or(name).to_owned();
        match self {
            Difference::Added(name) => write!(f, "`{}` is new", own(name)),
            Difference::Removed(name) => write!(f, "`{}` is gone", own(name)),
            Difference::Changed(name) => write!(f, "`{}` has changed", own(name)),
            Difference::Library => f.write_str("the standard library of lockgate is another"),
            Difference::Version { then, now } => write!(f, "lockgate {then} began it, and this is {now}"),
        }
    }
}

/// What is another now. What was read beside the sources (the parameter file, a fixture) is not read again and not compared.
#[must_use]
pub fn differences(then: &BTreeMap<String, String>, now: &BTreeMap<String, String>) -> Vec<Difference> {
    let counts = |name: &&String| !name.starts_with(&format!("{DATA}/")) && *name != FOLDER;
    let names: BTreeSet<&String> = then.keys().chain(now.keys()).filter(counts).collect();
    names
        .into_iter()
        .filter_map(|name| match (then.get(name), now.get(name)) {
            (Some(then), Some(now)) if then == now => None,
            (Some(then), Some(now)) if name == VERSION => Some(Difference::Version { then: then.clone(), now: now.clone() }),
            _ if name == STDLIB => Some(Difference::Library),
            (Some(_), Some(_)) => Some(Difference::Changed(name.clone())),
            (Some(_), None) => Some(Difference::Removed(name.clone())),
            (None, _) => Some(Difference::Added(name.clone())),
        })
        .collect()
}

/// The runbook as it was pinned, and the folders of its modules.
///
/// # Errors
/// When a pinned file is gone or is not what the journal says.
pub fn pinned(folder: &RunFolder, header: &Header) -> Result<(Source, Vec<PathBuf>)> {
    let within = header.files.get(FOLDER).map_or(SCRIPT, String::as_str);
    let root = folder.path().join(within);
    for (name, hash) in header.files.iter().filter(|(name, _)| !name.starts_with('@')) {
        let bytes = fs::read(root.join(name)).map_err(|error| spoilt(folder, name, &format!("cannot be read: {}", plain(&error))))?;
        if sha256(&bytes) != *hash {
            return Err(spoilt(folder, name, "is not as the run began with it"));
        }
    }
    let known = |own: &&str| header.files.contains_key(&format!("{RUNBOOK}/{own}"));
    let lone = file_name(&header.source);
    let own = std::iter::once(lone.as_str()).chain(FILES.iter().copied()).find(known);
    let own = own.ok_or_else(|| spoilt(folder, &header.source, "is not among what was pinned"))?;
    let path = root.join(RUNBOOK).join(own);
    let text = fs::read_to_string(&path).map_err(|error| unreadable(&path, &error))?;
    let source = Source {
        name: header.runbook.clone(),
        file: header.source.clone(),
        text: text.into(),
        beside: Beside::Disk(root.join(RUNBOOK)),
        modules: Vec::new(),
    };
    // Of a folder without a Lua file in it nothing was pinned.
    let number = |name: &String| name.strip_prefix(MODULES)?.strip_prefix('/')?.split('/').next()?.parse::<usize>().ok();
    let numbers: BTreeSet<usize> = header.files.keys().filter_map(number).collect();
    Ok((source, numbers.into_iter().map(|number| root.join(MODULES).join(number.to_string())).collect()))
}

/// Something else that was pinned: the parameter file, the fixture; `None` when there was none.
///
/// # Errors
/// When it cannot be read any more.
pub fn data(folder: &RunFolder, name: &str) -> Result<Option<String>> {
    Beside::Disk(folder.path().join(SCRIPT).join(DATA)).read(&file_name(name))
}

/// One hash over the files of a folder in the binary, names included.
fn hash(folder: &Dir<'_>) -> String {
    fn add(folder: &Dir<'_>, lines: &mut Vec<String>) {
        for entry in folder.entries() {
            match entry {
                DirEntry::Dir(inner) => add(inner, lines),
                DirEntry::File(file) => lines.push(format!("{} {}\n", sha256(file.contents()), file.path().display())),
            }
        }
    }
    let mut lines = Vec::new();
    add(folder, &mut lines);
    lines.sort();
    sha256(lines.concat().as_bytes())
}

/// The names that a text requires as they stand there, and whether there are no others: a name may be made up while the text runs.
fn required(text: &str) -> (Vec<String>, bool) {
    let of_a_word = |c: char| c.is_alphanumeric() || c == '_';
    let part = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
    let (mut names, mut all) = (Vec::new(), true);
    for line in text.lines() {
        for (at, word) in line.match_indices("require") {
            let (before, rest) = (line.get(..at).unwrap_or_default(), line.get(at + word.len()..).unwrap_or_default());
            if before.ends_with(of_a_word) || rest.starts_with(of_a_word) {
                continue;
            }
            let rest = rest.trim_start().strip_prefix('(').unwrap_or(rest).trim_start();
            let quoted = rest.strip_prefix(['"', '\'']).zip(rest.chars().next());
            match quoted.and_then(|(rest, quote)| rest.split(quote).next()) {
                Some(name) if name.split('/').all(part) => names.push(name.to_owned()),
                Some(_) => {}
                // A remark names nothing.
                None => all &= before.contains("--"),
            }
        }
    }
    (names, all)
}

fn is_lua(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending == "luau" || ending == "lua")
}

fn file_name(path: &str) -> String {
    path.rsplit('/').next().unwrap_or(path).to_owned()
}

fn unkept(path: &Path, error: &std::io::Error) -> Error {
    Error::internal(format!("`{}` cannot be written", path.display())).cause(plain(error)).cause("nothing was sent")
}

fn spoilt(folder: &RunFolder, name: &str, why: &str) -> Error {
    Error::new(Kind::Refused, Reason::Refused, format!("what run `{}` began with is not whole", folder.id()))
        .cause(format!("`{SCRIPT}/{name}` {why}"))
        .hint("of a copy, copy the whole folder again")
}

#[cfg(test)]
#[path = "pin_tests.rs"]
mod tests;
