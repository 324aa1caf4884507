//! Where a runbook's text comes from: the binary, a folder, or a lone file.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use include_dir::Dir;

use crate::base::{Error, Result};

/// The folders shipped in the binary, under `runbooks/`.
pub static BUNDLED: Dir<'static> = include_dir::include_dir!("$CARGO_MANIFEST_DIR/runbooks");

/// Names of a runbook's file inside its folder, in the order they are looked for.
pub const FILES: &[&str] = &["runbook.luau", "runbook.lua"];

/// A runbook's text, and the files beside it.
#[derive(Clone, Debug)]
pub struct Source {
    /// The name it is called by: its folder, or its file without the ending.
    pub name: String,
    /// The file as people know it: a path, or `cce-cni-v1-patch/runbook.luau` of a bundled one.
    pub file: String,
    /// The text.
    pub text: Arc<str>,
    /// The files beside it.
    pub beside: Beside,
    /// Folders where its modules are looked for after those beside it.
    pub modules: Vec<PathBuf>,
}

/// The files beside a runbook's own.
#[derive(Clone, Debug)]
pub enum Beside {
    /// A folder in the binary.
    Bundled(&'static Dir<'static>),
    /// A folder on disk.
    Disk(PathBuf),
    /// What is read of others, each file once.
    Kept(Arc<Kept>),
    /// None: the text came from somewhere else.
    Nothing,
}

/// Files that were read once, and names of which none was there.
#[derive(Debug)]
pub struct Kept {
    of: Beside,
    files: Mutex<HashMap<String, Option<String>>>,
}

impl Kept {
    /// Whose files these are.
    #[must_use]
    pub fn of(&self) -> &Beside {
        &self.of
    }

    fn read(&self, relative: &str) -> Result<Option<String>> {
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = files.get(relative) {
            return Ok(known.clone());
        }
        let text = self.of.read(relative)?;
        files.insert(relative.to_owned(), text.clone());
        Ok(text)
    }
}

impl Beside {
    /// Reads a file beside the runbook; `None` when it is not there.
    ///
    /// # Errors
    /// When it is there and cannot be read, or is not UTF-8.
    pub fn read(&self, relative: &str) -> Result<Option<String>> {
        match self {
            Beside::Bundled(dir) => Ok(dir.get_file(dir.path().join(relative)).and_then(|file| file.contents_utf8()).map(str::to_owned)),
            Beside::Disk(folder) => {
                let path = folder.join(relative);
                within(folder, &path)?;
                match std::fs::read_to_string(&path) {
                    Ok(text) => Ok(Some(text)),
                    Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
                    Err(error) => Err(unreadable(&path, &error)),
                }
            }
            Beside::Kept(kept) => kept.read(relative),
            Beside::Nothing => Ok(None),
        }
    }

    /// How a file beside the runbook is called in messages.
    #[must_use]
    pub fn label(&self, relative: &str) -> String {
        match self {
            Beside::Bundled(dir) => dir.path().join(relative).display().to_string(),
            Beside::Disk(folder) => tidy(&folder.join(relative)),
            Beside::Kept(kept) => kept.of.label(relative),
            Beside::Nothing => relative.to_owned(),
        }
    }
}

/// Refuses a file that a link leads out of its folder: what came from outside does not read what is elsewhere on this machine.
fn within(folder: &Path, path: &Path) -> Result<()> {
    let (Ok(folder), Ok(real)) = (folder.canonicalize(), path.canonicalize()) else { return Ok(()) };
    if real.starts_with(&folder) {
        return Ok(());
    }
    Err(Error::usage(format!("`{}` leads out of its folder", tidy(path))).hint("put a copy of the file where the link is"))
}

impl Source {
    /// A runbook that is only a text, as tests have it.
    #[must_use]
    pub fn of_text(name: &str, text: &str) -> Source {
        Source { name: name.to_owned(), file: format!("{name}.luau"), text: text.into(), beside: Beside::Nothing, modules: Vec::new() }
    }

    /// The bundled runbook of that name.
    #[must_use]
    pub fn bundled(name: &str) -> Option<Source> {
        let dir = BUNDLED.get_dir(name)?;
        FILES.iter().find_map(|file| {
            let path = dir.path().join(file);
            let text = dir.get_file(&path)?.contents_utf8()?;
            let file = path.display().to_string();
            Some(Source { name: name.to_owned(), file, text: text.into(), beside: Beside::Bundled(dir), modules: Vec::new() })
        })
    }

    /// The same, which reads each file beside it once: for those that load it many times and expect the same each time.
    #[must_use]
    pub fn kept(mut self) -> Source {
        if matches!(self.beside, Beside::Disk(_)) {
            self.beside = Beside::Kept(Arc::new(Kept { of: self.beside, files: Mutex::default() }));
        }
        self
    }

    /// The names of the bundled runbooks, sorted.
    #[must_use]
    pub fn bundled_names() -> Vec<String> {
        let mut names: Vec<String> = BUNDLED
            .dirs()
            .filter(|dir| FILES.iter().any(|file| dir.get_file(dir.path().join(file)).is_some()))
            .map(|dir| dir.path().display().to_string())
            .collect();
        names.sort();
        names
    }

    /// Whether it is a folder's runbook rather than a lone file.
    #[must_use]
    pub fn is_folder(&self) -> bool {
        FILES.iter().any(|file| self.file.ends_with(&format!("/{file}")) || self.file == *file)
    }

    /// The runbook in this folder or file.
    ///
    /// # Errors
    /// When there is none, or it cannot be read as text.
    pub fn on_disk(path: &Path) -> Result<Source> {
        let file = if path.is_dir() {
            FILES.iter().map(|file| path.join(file)).find(|file| file.is_file()).ok_or_else(|| {
                Error::usage(format!("the folder `{}` holds no `runbook.luau`", tidy(path)))
                    .hint("a runbook is a folder with a `runbook.luau`, or a file of its own")
            })?
        } else {
            path.to_path_buf()
        };
        let text = std::fs::read_to_string(&file).map_err(|error| unreadable(&file, &error))?;
        let folder = file.parent().unwrap_or(Path::new("")).to_path_buf();
        let lone = !FILES.iter().any(|name| file.file_name().is_some_and(|own| own == *name));
        let name = if lone { file.file_stem() } else { folder.file_name() };
        let name = match name {
            Some(name) => name.to_string_lossy().into_owned(),
            None => std::fs::canonicalize(&folder)
                .ok()
                .and_then(|full| full.file_name().map(|name| name.to_string_lossy().into_owned()))
                .unwrap_or_else(|| "runbook".to_owned()),
        };
        Ok(Source { name, file: tidy(&file), text: text.into(), beside: Beside::Disk(folder), modules: Vec::new() })
    }
}

/// A path without the leading `./`.
fn tidy(path: &Path) -> String {
    let shown = path.display().to_string();
    shown.strip_prefix("./").map_or(shown.clone(), str::to_owned)
}

/// A file that cannot be read, and why.
pub(crate) fn unreadable(path: &Path, error: &std::io::Error) -> Error {
    let what = match error.kind() {
        std::io::ErrorKind::NotFound => "there is no such file".to_owned(),
        std::io::ErrorKind::PermissionDenied => "it may not be read".to_owned(),
        std::io::ErrorKind::InvalidData => "it is not UTF-8 text".to_owned(),
        std::io::ErrorKind::IsADirectory => "it is a folder".to_owned(),
        _ => error.to_string(),
    };
    Error::usage(format!("cannot read `{}`", tidy(path))).cause(what)
}
