//! A disk in memory that crashes on demand: what a journal must survive, without a disk.
//!
//! It is as unkind as file systems are: of what was written and not synced, each sector may have arrived or not, in any order; the
//! length of a file may lag behind; a new name may be lost. A failed sync marks what it could not write as written.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::rc::Rc;

use super::io::JournalIo;

/// What a disk keeps or loses as one.
pub const SECTOR: usize = 512;

/// A disk. Clones are the same disk.
#[derive(Clone, Debug, Default)]
pub struct MemoryDisk(Rc<RefCell<State>>);

#[derive(Clone, Debug, Default)]
struct State {
    files: BTreeMap<String, Stored>,
    asked: usize,
    fault: Option<(usize, Fault)>,
    crashed: bool,
    flipped: Option<usize>,
}

/// What goes wrong at one operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The machine stops before it; every later one fails too.
    Crash,
    /// The operation fails, and has done nothing that lasts; later ones succeed.
    Fails(io::ErrorKind),
}

#[derive(Clone, Debug, Default)]
struct Stored {
    /// Whether its name survives.
    named: bool,
    /// What survives for sure.
    kept: Vec<u8>,
    /// What was done since.
    since: Vec<Change>,
    /// What a program sees.
    seen: Vec<u8>,
    /// A sync failed: what it could not write counts as written, and no later one tries again.
    forgotten: bool,
}

#[derive(Clone, Debug)]
enum Change {
    Write { at: usize, bytes: Vec<u8> },
    Cut(usize),
}

impl MemoryDisk {
    /// An empty disk.
    #[must_use]
    pub fn new() -> MemoryDisk {
        MemoryDisk::default()
    }

    /// Another disk with the same content and the same past.
    #[must_use]
    pub fn copy(&self) -> MemoryDisk {
        MemoryDisk(Rc::new(RefCell::new(self.0.borrow().clone())))
    }

    /// Lets this go wrong at the operation of that number, from 1.
    pub fn fault_at(&self, number: usize, fault: Fault) {
        self.0.borrow_mut().fault = Some((number, fault));
    }

    /// How many operations were asked for.
    #[must_use]
    pub fn asked(&self) -> usize {
        self.0.borrow().asked
    }

    /// Lets a bit of every later reading of the journal be another one: bit 0 is the first of the first byte.
    pub fn flip(&self, bit: Option<usize>) {
        self.0.borrow_mut().flipped = bit;
    }

    /// The files as a program sees them now.
    #[must_use]
    pub fn files(&self) -> BTreeMap<String, Vec<u8>> {
        self.0.borrow().files.iter().map(|(path, file)| (path.clone(), file.seen.clone())).collect()
    }

    /// Puts a file there for good.
    pub fn put(&self, path: &str, bytes: &[u8]) {
        self.0.borrow_mut().files.insert(path.to_owned(), Stored::at_rest(bytes.to_vec()));
    }

    /// The machine has stopped and starts again: what was not synced survives as `choose` says. It is given a number of possibilities,
    /// at least two, and gives the one that happened, from 0.
    pub fn crash(&self, choose: &mut dyn FnMut(usize) -> usize) {
        let mut state = self.0.borrow_mut();
        (state.crashed, state.fault) = (false, None);
        let files = std::mem::take(&mut state.files);
        for (path, file) in files {
            if !file.named && choose(2) == 0 {
                continue;
            }
            let bytes = file.after_crash(choose);
            state.files.insert(path, Stored::at_rest(bytes));
        }
    }

    fn fails_next(&self) -> bool {
        let state = self.0.borrow();
        matches!(state.fault, Some((number, Fault::Fails(_))) if number == state.asked + 1)
    }

    fn act<T>(&self, act: impl FnOnce(&mut State) -> io::Result<T>) -> io::Result<T> {
        let mut state = self.0.borrow_mut();
        state.asked += 1;
        if state.crashed {
            return Err(io::Error::other("the machine has stopped"));
        }
        match state.fault {
            Some((number, Fault::Crash)) if number == state.asked => {
                state.crashed = true;
                Err(io::Error::other("the machine has stopped"))
            }
            Some((number, Fault::Fails(kind))) if number == state.asked => Err(kind.into()),
            _ => act(&mut state),
        }
    }
}

impl Stored {
    fn at_rest(bytes: Vec<u8>) -> Stored {
        Stored { named: true, kept: bytes.clone(), since: Vec::new(), seen: bytes, forgotten: false }
    }

    /// What the disk holds after a crash.
    fn after_crash(mut self, choose: &mut dyn FnMut(usize) -> usize) -> Vec<u8> {
        let mut bytes = std::mem::take(&mut self.kept);
        let mut changes = self.since.as_slice();
        while let [Change::Cut(length), rest @ ..] = changes {
            // What was written behind a cut that did not arrive is not there either.
            if choose(2) == 0 {
                return bytes;
            }
            bytes.truncate(*length);
            changes = rest;
        }
        let writes: Vec<(usize, &[u8])> = changes
            .iter()
            .map_while(|change| match change {
                Change::Write { at, bytes } => Some((*at, bytes.as_slice())),
                Change::Cut(_) => None,
            })
            .collect();
        if writes.is_empty() {
            return bytes;
        }
        let first = writes.first().map_or(0, |(at, _)| *at);
        let end = writes.last().map_or(0, |(at, bytes)| at + bytes.len());
        let mut all = bytes.clone();
        all.resize(end, 0);
        for sector in first / SECTOR..=end.saturating_sub(1) / SECTOR {
            let (from, to) = (sector * SECTOR, (sector + 1) * SECTOR);
            let touching: Vec<_> = writes.iter().filter(|(at, bytes)| *at < to && at + bytes.len() > from).collect();
            if touching.is_empty() {
                continue;
            }
            // A sector arrives as it was after one of the writes, or not at all.
            for (at, bytes) in touching.iter().take(choose(touching.len() + 1)) {
                for (place, byte) in bytes.iter().enumerate().map(|(offset, byte)| (at + offset, byte)) {
                    if (from..to).contains(&place)
                        && let Some(slot) = all.get_mut(place)
                    {
                        *slot = *byte;
                    }
                }
            }
        }
        let lengths: Vec<usize> = std::iter::once(bytes.len()).chain(writes.iter().map(|(at, bytes)| at + bytes.len())).collect();
        all.truncate(lengths.get(choose(lengths.len())).copied().unwrap_or(end));
        all
    }
}

impl JournalIo for MemoryDisk {
    fn create(&mut self, path: &str) -> io::Result<()> {
        self.act(|state| {
            if state.files.contains_key(path) {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            state.files.insert(path.to_owned(), Stored::default());
            Ok(())
        })
    }

    fn append(&mut self, path: &str, bytes: &[u8]) -> io::Result<()> {
        self.act(|state| {
            let file = state.files.get_mut(path).ok_or(io::ErrorKind::NotFound)?;
            file.since.push(Change::Write { at: file.seen.len(), bytes: bytes.to_vec() });
            file.seen.extend_from_slice(bytes);
            Ok(())
        })
    }

    fn reserve(&mut self, path: &str, _: u64) -> io::Result<()> {
        self.act(|state| state.files.get(path).map(|_| ()).ok_or_else(|| io::ErrorKind::NotFound.into()))
    }

    fn sync(&mut self, path: &str) -> io::Result<()> {
        if self.fails_next()
            && let Some(file) = self.0.borrow_mut().files.get_mut(path)
        {
            file.forgotten = true;
        }
        self.act(|state| {
            let file = state.files.get_mut(path).ok_or(io::ErrorKind::NotFound)?;
            if !file.forgotten {
                for change in std::mem::take(&mut file.since) {
                    match change {
                        Change::Write { bytes, .. } => file.kept.extend_from_slice(&bytes),
                        Change::Cut(length) => file.kept.truncate(length),
                    }
                }
            }
            Ok(())
        })
    }

    fn sync_folder(&mut self, path: &str) -> io::Result<()> {
        self.act(|state| {
            let inside = |file: &str| match path {
                "" => !file.contains('/'),
                folder => file.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/')),
            };
            state.files.iter_mut().filter(|(path, _)| inside(path)).for_each(|(_, file)| file.named = true);
            Ok(())
        })
    }

    fn cut(&mut self, path: &str, length: u64) -> io::Result<()> {
        self.act(|state| {
            let file = state.files.get_mut(path).ok_or(io::ErrorKind::NotFound)?;
            let length = usize::try_from(length).unwrap_or(usize::MAX);
            file.since.push(Change::Cut(length));
            file.seen.truncate(length);
            Ok(())
        })
    }

    fn read(&mut self, path: &str) -> io::Result<Option<Vec<u8>>> {
        self.act(|state| {
            let mut bytes = state.files.get(path).map(|file| file.seen.clone());
            if let (Some(bytes), Some(bit), super::io::JOURNAL) = (&mut bytes, state.flipped, path)
                && let Some(byte) = bytes.get_mut(bit / 8)
            {
                *byte ^= 1 << (bit % 8);
            }
            Ok(bytes)
        })
    }
}
