//! What a journal asks of the disk: few operations, each of which may fail or be the last one before a crash. The disk of this machine
//! is [`RealDisk`]; [`super::memory::MemoryDisk`] is one that crashes on demand.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::PathBuf;

use super::seal::Marks;

/// The files of one run's folder. Paths are relative to it, with `/`.
pub trait JournalIo {
    /// Makes a new, empty file that only its owner may read; it fails when the file is there.
    ///
    /// # Errors
    /// What the disk says.
    fn create(&mut self, path: &str) -> io::Result<()>;

    /// Writes at the end of a file, by one write.
    ///
    /// # Errors
    /// What the disk says; also when not all of it was written.
    fn append(&mut self, path: &str, bytes: &[u8]) -> io::Result<()>;

    /// Sees to it that a file can grow to this many bytes. Its length stays.
    ///
    /// # Errors
    /// When there is not so much room. A disk that cannot reserve says nothing.
    fn reserve(&mut self, path: &str, length: u64) -> io::Result<()>;

    /// Gives back the room behind the end of the file that was reserved and is not needed. A disk that reserves nothing has none.
    ///
    /// # Errors
    /// As the disk says.
    fn give_back(&mut self, _path: &str) -> io::Result<()> {
        Ok(())
    }

    /// When this comes back, what was written to the file survives a crash. A failed one must not be asked again: what it could not
    /// write may be forgotten by then.
    ///
    /// # Errors
    /// What the disk says.
    fn sync(&mut self, path: &str) -> io::Result<()>;

    /// The same for the names in a folder; the run's own is the empty path.
    ///
    /// # Errors
    /// What the disk says.
    fn sync_folder(&mut self, path: &str) -> io::Result<()>;

    /// Whether the file is the one that was written to, and of this length: nobody else has written to it since. What cannot tell says yes.
    ///
    /// # Errors
    /// What the disk says.
    fn is_as_left(&mut self, _path: &str, _length: u64) -> io::Result<bool> {
        Ok(true)
    }

    /// The mark of whoever keeps the key of these files under a line; none where there is no key.
    fn mark(&self, _line: &[u8]) -> Option<String> {
        None
    }

    /// Shortens a file.
    ///
    /// # Errors
    /// What the disk says.
    fn cut(&mut self, path: &str, length: u64) -> io::Result<()>;

    /// All of a file; `None` when it is not there.
    ///
    /// # Errors
    /// What the disk says.
    fn read(&mut self, path: &str) -> io::Result<Option<Vec<u8>>>;
}

/// A folder on this machine. Files that were written to stay open until they are synced; the journal itself for good.
#[derive(Debug)]
pub struct RealDisk {
    folder: PathBuf,
    open: HashMap<String, File>,
    marks: Option<Marks>,
}

/// The file that is open for the whole run.
pub const JOURNAL: &str = "journal.jsonl";

impl RealDisk {
    /// The folder of a run.
    #[must_use]
    pub fn new(folder: impl Into<PathBuf>) -> RealDisk {
        RealDisk { folder: folder.into(), open: HashMap::new(), marks: None }
    }

    /// The same, whose lines are marked.
    pub(super) fn marked(self, marks: Option<Marks>) -> RealDisk {
        RealDisk { marks, ..self }
    }

    fn file(&mut self, path: &str) -> io::Result<&mut File> {
        if !self.open.contains_key(path) {
            let file = OpenOptions::new().append(true).open(self.folder.join(path))?;
            self.open.insert(path.to_owned(), file);
        }
        self.open.get_mut(path).ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl JournalIo for RealDisk {
    fn create(&mut self, path: &str) -> io::Result<()> {
        let file = OpenOptions::new().append(true).create_new(true).mode(0o600).open(self.folder.join(path))?;
        // The mask of the process may have taken away what the owner needs.
        file.set_permissions(std::fs::Permissions::from_mode(0o600))?;
        self.open.insert(path.to_owned(), file);
        Ok(())
    }

    fn append(&mut self, path: &str, bytes: &[u8]) -> io::Result<()> {
        let file = self.file(path)?;
        let written = loop {
            match file.write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => break other?,
            }
        };
        // The rest would say why; a second write could be torn from the first by a crash.
        if written < bytes.len() { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    fn reserve(&mut self, path: &str, length: u64) -> io::Result<()> {
        let file = self.file(path)?;
        reserve(file, length)
    }

    fn give_back(&mut self, path: &str) -> io::Result<()> {
        let file = self.file(path)?;
        // The length stays; what was reserved behind it goes.
        file.set_len(file.metadata()?.len())
    }

    fn sync(&mut self, path: &str) -> io::Result<()> {
        let synced = self.file(path)?.sync_data();
        if path != JOURNAL {
            self.open.remove(path);
        }
        synced
    }

    fn sync_folder(&mut self, path: &str) -> io::Result<()> {
        File::open(self.folder.join(path))?.sync_all()
    }

    fn is_as_left(&mut self, path: &str, length: u64) -> io::Result<bool> {
        let named = match std::fs::metadata(self.folder.join(path)) {
            Ok(named) => named,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error),
        };
        let own = self.file(path)?.metadata()?;
        Ok((own.dev(), own.ino(), own.len()) == (named.dev(), named.ino(), length))
    }

    fn mark(&self, line: &[u8]) -> Option<String> {
        self.marks.as_ref().map(|marks| marks.under(&[line]))
    }

    fn cut(&mut self, path: &str, length: u64) -> io::Result<()> {
        self.file(path)?.set_len(length)
    }

    fn read(&mut self, path: &str) -> io::Result<Option<Vec<u8>>> {
        match File::open(self.folder.join(path)) {
            Ok(mut file) => {
                let mut bytes = Vec::new();
                file.read_to_end(&mut bytes)?;
                Ok(Some(bytes))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Room for a file up to this length, without making it longer: a reader sees no zeros.
#[cfg(target_os = "linux")]
fn reserve(file: &File, length: u64) -> io::Result<()> {
    use nix::errno::Errno;
    use nix::fcntl::{FallocateFlags, fallocate};
    let length = i64::try_from(length).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    match fallocate(file, FallocateFlags::FALLOC_FL_KEEP_SIZE, 0, length) {
        Ok(()) | Err(Errno::EOPNOTSUPP | Errno::ENOSYS) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Elsewhere there is no such call.
#[cfg(not(target_os = "linux"))]
fn reserve(_: &File, _: u64) -> io::Result<()> {
    Ok(())
}

/// What the disk says, in words and without its number.
#[must_use]
pub(super) fn plain(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::StorageFull => "there is no room left on the disk".to_owned(),
        io::ErrorKind::QuotaExceeded => "your quota of the disk is used up".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        io::ErrorKind::ReadOnlyFilesystem => "the disk is read-only".to_owned(),
        _ => error.to_string().split(" (os error").next().unwrap_or_default().to_lowercase(),
    }
}
