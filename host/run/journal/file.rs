//! Writing a journal: one line a fact, each chained to the one before, on the disk before the act that it announces.

use std::cell::RefCell;
use std::collections::HashSet;
use std::fmt;
use std::io;
use std::rc::Rc;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::Keep;
use super::chain;
use super::entry::{Entry, Fact, Header};
use super::io::{JOURNAL, JournalIo, plain};
use super::read::Read;
use super::redact::Redactor;
use crate::base::json::{self, Value as Json};
use crate::base::{Error, Kind, Reason, Result, Timestamp};
use crate::run::event::Event;

/// Room that is kept free for the journal: a full disk is met before an act, never between an act and what became of it.
const AHEAD: u64 = 8 << 20;
/// What to do about a full disk.
const ROOM: &str = "make room on the disk that holds the runs, then resume";
/// With less than this left, room is asked for again before the next intent.
const LEAST: u64 = 4 << 20;
/// A member of a line that is longer than this has a file of its own. Most objects stay in the line: a file of its own costs two more
/// syncs, and a line of any length is told from a torn one.
const LONG: usize = 16 << 10;
/// The folder of long members.
pub(super) const BLOBS: &str = "blobs";
/// What could not be read at the end of a journal.
pub(super) const TORN: &str = "journal.torn";
/// Members that say where and which: the run finds itself again by them, so that nothing in them is ever replaced.
const KEYS: [&str; 15] = ["seq", "at", "k", "n", "run", "item", "place", "phase", "op", "verb", "target", "object", "part", "epoch", "is"];

/// The journal of a run that is being written.
pub struct Journal {
    run: String,
    redactor: Option<Rc<Redactor>>,
    writer: RefCell<Writer>,
}

struct Writer {
    io: Box<dyn JournalIo>,
    seq: u64,
    head: String,
    length: u64,
    reserved: u64,
    /// Long members that are in files.
    known: HashSet<String>,
    /// Those of them that are not yet sure to survive.
    fresh: Vec<String>,
    dead: bool,
}

/// Whether a fact is on the disk before the run goes on. The others arrive there with the next one that is.
#[must_use]
pub fn syncs(fact: &Fact) -> bool {
    match fact {
        Fact::Header(_)
        | Fact::Begun(_)
        | Fact::Consent(_)
        | Fact::Intent { .. }
        | Fact::Outcome { .. }
        | Fact::Items { .. }
        | Fact::Batch { .. }
        | Fact::Ended { .. }
        | Fact::Lock { .. }
        | Fact::Drift { .. }
        | Fact::Again { .. }
        | Fact::Signal { .. }
        | Fact::TakenBack { .. }
        | Fact::Granted { .. }
        | Fact::Passed { .. }
        | Fact::Chart(_)
        | Fact::Script { .. } => true,
        Fact::Told { event, .. } => matches!(**event, Event::StepFinished { .. } | Event::Asked { .. } | Event::Finished { .. }),
        // What can be asked again.
        Fact::Enter { .. } | Fact::Left { .. } | Fact::Call(_) => false,
    }
}

impl Journal {
    /// A new journal; its header is on the disk when this comes back.
    ///
    /// # Errors
    /// When there is one already, there is no room, or the disk fails.
    pub fn create(io: Box<dyn JournalIo>, redactor: Option<Rc<Redactor>>, at: Timestamp, header: Header) -> Result<Journal> {
        let run = header.run.clone();
        let writer = Writer {
            io,
            seq: 0,
            head: chain::FIRST.to_owned(),
            length: 0,
            reserved: 0,
            known: HashSet::new(),
            fresh: Vec::new(),
            dead: false,
        };
        let journal = Journal { run, redactor, writer: RefCell::new(writer) };
        journal.careful(|writer| {
            writer.io.create(JOURNAL).map_err(|error| failed("making its file", &error))?;
            writer.make_room(0).map_err(unbegun)
        })?;
        journal.append(at, &Fact::Header(Box::new(header)))?;
        journal.careful(|writer| writer.io.sync_folder("").map_err(|error| failed("keeping its name", &error)))?;
        Ok(journal)
    }

    /// Goes on with a journal that was read: what could not be read at its end is moved aside first.
    ///
    /// # Errors
    /// When the disk fails; the journal is as it was.
    pub fn go_on(io: Box<dyn JournalIo>, redactor: Option<Rc<Redactor>>, read: &Read) -> Result<Journal> {
        let seq = read.entries.last().map_or(0, |entry| entry.seq);
        let writer = Writer {
            io,
            seq,
            head: read.head.clone(),
            length: read.end,
            reserved: 0,
            known: HashSet::new(),
            fresh: Vec::new(),
            dead: false,
        };
        let journal = Journal { run: read.run.clone(), redactor, writer: RefCell::new(writer) };
        journal.careful(|writer| {
            if let Some(torn) = &read.torn {
                writer.set_aside(&torn.bytes, read.end).map_err(|error| failed("moving its torn end aside", &error))?;
            }
            writer.make_room(read.end)
        })?;
        Ok(journal)
    }

    /// Keeps a fact, and gives the number of its line. For facts that announce an act or what became of it, and for the end of steps
    /// and answers, it is on the disk when this comes back.
    ///
    /// # Errors
    /// When it cannot be kept. From then on the journal takes nothing more, because nobody knows what of it the disk has.
    pub fn append(&self, at: Timestamp, fact: &Fact) -> Result<u64> {
        let redactor = self.redactor.as_deref();
        self.careful(|writer| writer.append(at, fact, redactor)).map_err(|error| match fact {
            Fact::Intent { .. } => error.cause("nothing was sent"),
            _ => error,
        })
    }

    /// SHA-256 of the last line: who keeps it elsewhere can tell later whether the journal was rewritten.
    #[must_use]
    pub fn head(&self) -> String {
        self.writer.borrow().head.clone()
    }

    /// How many lines there are.
    #[must_use]
    pub fn lines(&self) -> u64 {
        self.writer.borrow().seq
    }

    /// Does something with the disk that must not fail half-way: after a failure nothing more is written.
    fn careful<T>(&self, act: impl FnOnce(&mut Writer) -> Result<T>) -> Result<T> {
        let mut writer = self.writer.borrow_mut();
        if writer.dead {
            return Err(Error::internal(format!("the journal of run `{}` takes nothing more: writing it failed before", self.run)));
        }
        act(&mut writer).map_err(|error| {
            writer.dead = true;
            error.context(format!("the journal of run `{}` cannot be written", self.run))
        })
    }
}

impl Keep for Journal {
    fn append(&self, at: Timestamp, fact: &Fact) -> Result<u64> {
        Journal::append(self, at, fact)
    }

    fn head(&self) -> Option<String> {
        Some(Journal::head(self))
    }
}

impl fmt::Debug for Journal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Journal").field("run", &self.run).field("lines", &self.lines()).finish_non_exhaustive()
    }
}

impl Writer {
    fn append(&mut self, at: Timestamp, fact: &Fact, redactor: Option<&Redactor>) -> Result<u64> {
        let seq = self.seq + 1;
        let body = self.body(&Entry { seq, at, fact: fact.clone() }, redactor)?;
        let mut line = chain::line(&body, &self.head, |line| self.io.mark(line));
        let head = chain::sha256(line.as_bytes());
        line.push('\n');
        let length = self.length + line.len() as u64;
        if matches!(fact, Fact::Intent { .. }) && length + LEAST > self.reserved {
            self.make_room(length)?;
        }
        let synced = syncs(fact);
        if synced {
            self.keep_fresh().map_err(|error| failed("keeping a long part of it", &error))?;
        }
        if !self.io.is_as_left(JOURNAL, self.length).map_err(|error| failed("looking after it", &error))? {
            return Err(meddled());
        }
        self.io.append(JOURNAL, line.as_bytes()).map_err(|error| failed("writing a line", &error))?;
        if synced {
            self.io.sync(JOURNAL).map_err(|error| failed("keeping a line", &error))?;
        }
        (self.seq, self.head, self.length) = (seq, head, length);
        if matches!(fact, Fact::Told { event, .. } if matches!(**event, Event::Finished { .. })) {
            // Runs stay for years. Who goes on with this one reserves room anew, before the first intent.
            self.reserved = 0;
            if let Err(error) = self.io.give_back(JOURNAL) {
                // Room that stays reserved harms no run; what it did is kept.
                tracing::warn!(target: "lockgate::journal", %error, "room that the journal does not need is not given back");
            }
        }
        Ok(seq)
    }

    /// The entry as JSON: without secrets, and with what is long in files of its own.
    fn body(&mut self, entry: &Entry, redactor: Option<&Redactor>) -> Result<String> {
        let unwritable = |error: serde_json::Error| Error::internal("a fact cannot be written as JSON").cause(error.to_string());
        let text = serde_json::to_string(entry).map_err(unwritable)?;
        if redactor.is_none() && text.len() <= LONG {
            return Ok(text);
        }
        let Members(mut members) = serde_json::from_str(&text).map_err(unwritable)?;
        if let Some(redactor) = redactor {
            let mut hidden = false;
            for (_, value) in members.iter_mut().filter(|(key, _)| !KEYS.contains(&key.as_str())) {
                hidden |= redactor.json(value);
            }
            if hidden {
                // A line that could not be read again would make the whole journal useless.
                let whole = members.iter().map(|(key, value)| (key.as_str(), value.clone())).collect::<Json>();
                json::from_value::<Entry>(whole)
                    .map_err(|error| Error::internal("a fact cannot be kept without the secret in it").cause(error.to_string()))?;
            }
        }
        let mut body = String::with_capacity(text.len());
        for (place, (key, value)) in members.iter().enumerate() {
            body.push(if place == 0 { '{' } else { ',' });
            body.push_str(&format!("\"{key}\":"));
            let value = value.to_string();
            if value.len() <= LONG || KEYS.contains(&key.as_str()) {
                body.push_str(&value);
            } else {
                let name = self.put(&value).map_err(|error| failed("writing a long part of it", &error))?;
                body.push_str(&format!("{{\"$blob\":\"sha256:{name}\"}}"));
            }
        }
        body.push('}');
        Ok(body)
    }

    /// Writes a long member under the name of its content, once.
    fn put(&mut self, content: &str) -> io::Result<String> {
        let name = chain::sha256(content.as_bytes());
        if self.known.contains(&name) {
            return Ok(name);
        }
        let path = format!("{BLOBS}/{name}");
        match self.io.read(&path)? {
            Some(there) if there == content.as_bytes() => {}
            Some(_) => {
                self.io.cut(&path, 0)?;
                self.io.append(&path, content.as_bytes())?;
            }
            None => {
                self.io.create(&path)?;
                self.io.append(&path, content.as_bytes())?;
            }
        }
        self.known.insert(name.clone());
        self.fresh.push(path);
        Ok(name)
    }

    /// Long members survive before the line that names them, and everything before it, is said to.
    fn keep_fresh(&mut self) -> io::Result<()> {
        if self.fresh.is_empty() {
            return Ok(());
        }
        for path in std::mem::take(&mut self.fresh) {
            self.io.sync(&path)?;
        }
        self.io.sync_folder(BLOBS)
    }

    fn make_room(&mut self, length: u64) -> Result<()> {
        self.io.reserve(JOURNAL, length + AHEAD).map_err(|error| failed("reserving room for it", &error))?;
        self.reserved = length + AHEAD;
        Ok(())
    }

    fn set_aside(&mut self, torn: &[u8], end: u64) -> io::Result<()> {
        if self.io.read(TORN)?.is_none() {
            self.io.create(TORN)?;
        }
        self.io.append(TORN, torn)?;
        self.io.append(TORN, b"\n")?;
        self.io.sync(TORN)?;
        self.io.sync_folder("")?;
        self.io.cut(JOURNAL, end)?;
        self.io.sync(JOURNAL)
    }
}

/// Somebody else goes on with the run: two would write it to pieces. A script cannot catch it.
fn meddled() -> Error {
    Error::new(Kind::Cancelled, Reason::Interrupted, "somebody else has written to it meanwhile, so this process stops")
        .hint("`lockgate status` says where the run stands")
}

fn failed(doing: &str, error: &io::Error) -> Error {
    let failed = Error::internal(doing).cause(plain(error));
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => failed.hint(ROOM),
        io::ErrorKind::AlreadyExists => failed.hint("each run has a folder of its own; begin a new one"),
        _ => failed.hint("look after the disk that holds the runs, then resume"),
    }
}

/// There is nothing to resume yet.
fn unbegun(error: Error) -> Error {
    let is_full = error.hint.as_deref() == Some(ROOM);
    if is_full {
        return error.hint("the run has not begun; make room on the disk that holds the runs, or name another folder: `--runs DIR`");
    }
    error
}

/// The members of a JSON object in the order in which they are written.
pub(super) struct Members(pub(super) Vec<(String, Json)>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Members, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Members;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(InOrder)
    }
}

#[cfg(test)]
#[path = "file_tests.rs"]
mod tests;
