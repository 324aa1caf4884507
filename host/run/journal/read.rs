//! Reading a journal: the longest part of it that is as it was written. What a crash leaves at the end (the file system may have kept
//! any of the sectors that were not synced) is told from what no crash can leave; that is refused.

use std::collections::HashMap;
use std::collections::hash_map::Entry as Slot;

use serde::Deserialize;

use super::chain::{self, Fault};
use super::entry::{Entry, Fact, Header, VERSION};
use super::file::{BLOBS, Members, syncs};
use super::io::{JOURNAL, JournalIo, plain};
use crate::base::json::{self, Value as Json};
use crate::base::{Error, Kind, Reason, Result};

/// What a disk keeps or loses as one.
const SECTOR: usize = 512;

/// A journal as far as it can be read.
#[derive(Clone, Debug, PartialEq)]
pub struct Read {
    /// The run.
    pub run: String,
    /// Its entries, in order; the first is the header.
    pub entries: Vec<Entry>,
    /// SHA-256 of every line, in order.
    pub hashes: Vec<String>,
    /// SHA-256 of the last line.
    pub head: String,
    /// Where the last line ends in the file, in bytes.
    pub end: u64,
    /// What follows and is no line; `None` when the file ends there.
    pub torn: Option<Torn>,
}

/// The end of a file that was not whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Torn {
    /// It, byte by byte.
    pub bytes: Vec<u8>,
}

impl Read {
    /// What the run is.
    #[must_use]
    pub fn header(&self) -> Option<&Header> {
        match self.entries.first().map(|entry| &entry.fact) {
            Some(Fact::Header(header)) => Some(header),
            _ => None,
        }
    }

    /// The number of the line with this SHA-256, from 1.
    #[must_use]
    pub fn line_of(&self, hash: &str) -> Option<u64> {
        self.hashes.iter().position(|line| line == hash).map(|place| place as u64 + 1)
    }
}

/// Reads the journal of a run. With `truncated`, what follows a broken line is given up instead of refused: the break-glass of
/// `resume --accept-truncated`.
///
/// # Errors
/// When there is none, it is of another version, or it is broken in a way that no crash explains.
pub fn read(io: &mut dyn JournalIo, run: &str, truncated: bool) -> Result<Read> {
    let bytes = io.read(JOURNAL).map_err(|error| unreadable(run).cause(plain(&error)))?;
    let Some(bytes) = bytes else {
        return Err(half(run, &format!("the folder holds no `{JOURNAL}`")));
    };
    let mut reader = Reader {
        io,
        run,
        bytes: &bytes,
        at: 0,
        head: chain::FIRST.to_owned(),
        hashes: Vec::new(),
        entries: Vec::new(),
        blobs: HashMap::new(),
    };
    let stop = reader.go()?;
    if let Some(stop) = stop {
        reader.judge(stop, truncated)?;
    }
    let Reader { at, head, hashes, entries, .. } = reader;
    if !matches!(entries.first().map(|entry| &entry.fact), Some(Fact::Header(_))) {
        return Err(half(
            run,
            "its journal has no header: it ended while it began, before anything was written to a cluster, or it was copied by half",
        ));
    }
    let torn = bytes.get(at..).filter(|rest| !rest.is_empty()).map(|rest| Torn { bytes: rest.to_vec() });
    Ok(Read { run: run.to_owned(), entries, hashes, head, end: at as u64, torn })
}

/// Whether the last line of a journal that was read carries the mark of whoever keeps the key of these files: by the chain that holds for
/// every line before it.
///
/// # Errors
/// When the disk fails.
pub(super) fn is_marked(io: &mut dyn JournalIo, read: &Read) -> Result<bool> {
    let bytes = io.read(JOURNAL).map_err(|error| unreadable(&read.run).cause(plain(&error)))?.unwrap_or_default();
    let end = usize::try_from(read.end).ok().and_then(|end| end.checked_sub(1)).unwrap_or_default();
    let last = bytes.get(..end).unwrap_or_default().rsplit(|byte| *byte == b'\n').next().unwrap_or_default();
    let marked = chain::whole(last).filter(|_| chain::sha256(last) == read.head).and_then(|whole| whole.marked);
    Ok(marked.is_some_and(|(line, mark)| io.mark(line).is_some_and(|own| own == mark)))
}

/// Why reading stopped before the end of the file.
enum Stop {
    Line(Fault),
    /// The number is another one, or the line says nothing that is known.
    Nonsense(String),
    /// A long member is not there, or is not what its name says.
    Blob(String),
}

struct Reader<'a> {
    io: &'a mut dyn JournalIo,
    run: &'a str,
    bytes: &'a [u8],
    at: usize,
    head: String,
    hashes: Vec<String>,
    entries: Vec<Entry>,
    blobs: HashMap<String, Option<Json>>,
}

/// What every version of a header says.
#[derive(Deserialize)]
struct Probe {
    k: String,
    v: Option<u32>,
    version: Option<String>,
}

impl Reader<'_> {
    fn go(&mut self) -> Result<Option<Stop>> {
        while let Some(rest) = self.bytes.get(self.at..).filter(|rest| !rest.is_empty()) {
            let Some(length) = memchr::memchr(b'\n', rest) else { return Ok(Some(Stop::Line(Fault::Altered))) };
            let line = rest.get(..length).unwrap_or_default();
            let whole = match chain::next(line, &self.head) {
                Ok(whole) => whole,
                Err(fault) => return Ok(Some(Stop::Line(fault))),
            };
            let body = whole.body();
            if self.entries.is_empty() {
                self.version(&body)?;
            }
            match self.entry(&body)? {
                Ok(entry) => self.entries.push(entry),
                Err(stop) => return Ok(Some(stop)),
            }
            self.head = chain::sha256(line);
            self.hashes.push(self.head.clone());
            self.at += length + 1;
        }
        Ok(None)
    }

    fn version(&self, body: &str) -> Result<()> {
        let Ok(Probe { k, v: Some(version), version: program }) = serde_json::from_str::<Probe>(body) else { return Ok(()) };
        if k != "header" || version == VERSION {
            return Ok(());
        }
        let program = program.map_or_else(String::new, |program| format!(", {program}"));
        Err(Error::new(
            Kind::Refused,
            Reason::Unsupported,
            format!("the journal of run `{}` is of version {version}, and this lockgate reads version {VERSION}", self.run),
        )
        .hint(format!("go on with the lockgate that began it{program}")))
    }

    /// What the line says. The outer error is of the disk.
    fn entry(&mut self, body: &str) -> Result<Result<Entry, Stop>> {
        let nonsense = |error: serde_json::Error| Stop::Nonsense(format!("it says nothing that is known: {error}"));
        let entry = if memchr::memmem::find(body.as_bytes(), b"{\"$blob\":\"sha256:").is_none() {
            serde_json::from_str::<Entry>(body).map_err(nonsense)
        } else {
            let members = match serde_json::from_str::<Members>(body) {
                Ok(Members(members)) => members,
                Err(error) => return Ok(Err(nonsense(error))),
            };
            let mut whole = json::Map::new();
            for (key, value) in members {
                let value = match blob(&value) {
                    None => value,
                    Some(name) => match self.load(name)? {
                        Some(content) => content,
                        None => return Ok(Err(Stop::Blob(name.to_owned()))),
                    },
                };
                whole.insert(key, value);
            }
            json::from_value::<Entry>(Json::Object(whole)).map_err(nonsense)
        };
        let due = self.entries.len() as u64 + 1;
        Ok(entry.and_then(|entry| match entry.seq {
            seq if seq == due => Ok(entry),
            seq => Err(Stop::Nonsense(format!("it has the number {seq} where {due} is due"))),
        }))
    }

    fn load(&mut self, name: &str) -> Result<Option<Json>> {
        let slot = match self.blobs.entry(name.to_owned()) {
            Slot::Occupied(known) => return Ok(known.get().clone()),
            Slot::Vacant(slot) => slot,
        };
        let named = name.bytes().all(|byte| byte.is_ascii_hexdigit()) && name.len() == 64;
        let content = match named {
            true => self.io.read(&format!("{BLOBS}/{name}")).map_err(|error| unreadable(self.run).cause(plain(&error)))?,
            false => None,
        };
        let content = content.filter(|content| chain::sha256(content) == name);
        Ok(slot.insert(content.and_then(|content| serde_json::from_slice(&content).ok())).clone())
    }

    /// Lets the end of the file count as torn, or refuses.
    fn judge(&self, stop: Stop, truncated: bool) -> Result<()> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let line = self.entries.len() + 1;
        let (torn, why) = match stop {
            Stop::Line(fault) => {
                let why = match fault {
                    Fault::Altered => format!("line {line} is not as it was written"),
                    Fault::Unchained => format!("line {line} does not follow the one before it"),
                };
                (fault == Fault::Altered && self.is_torn(rest) && !was_synced(rest), why)
            }
            Stop::Nonsense(why) => (false, format!("line {line}: {why}")),
            // Long members are synced before the next line that is: with such a line in the file they were there.
            Stop::Blob(name) => {
                let lines = rest.split(|byte| *byte == b'\n').filter_map(chain::whole);
                let synced = lines.into_iter().any(|whole| says_synced(&whole.body()));
                (!synced, format!("`{BLOBS}/{name}`, which line {line} names, is not there or is not what its name says"))
            }
        };
        if torn || truncated {
            return Ok(());
        }
        let run = self.run;
        let error = Error::new(
            Kind::Refused,
            Reason::Refused,
            format!("the journal of run `{run}` is broken: it was changed, or its disk is faulty"),
        )
        .cause(why);
        Err(match self.entries.len() {
            0 => error.hint("without its first line nothing can be said about the run; look at the cluster itself"),
            lines => error.hint(format!(
                "look at the cluster first: what the run did after line {lines} is not known; then `lockgate resume {run} --accept-truncated` \
                 goes on from there"
            )),
        })
    }

    /// Whether a crash can leave this: sectors that were never written are zeros or beyond the end, all others are as they were.
    fn is_torn(&self, rest: &[u8]) -> bool {
        let (line, ended) = match memchr::memchr(b'\n', rest) {
            Some(length) => (rest.get(..length).unwrap_or_default(), true),
            None => (rest, false),
        };
        match memchr::memchr(0, line) {
            Some(first) => {
                let start = self.at + first;
                let run = rest.get(first..).unwrap_or_default().iter().take_while(|byte| **byte == 0).count();
                let end = start + run;
                (first == 0 || start.is_multiple_of(SECTOR)) && (end.is_multiple_of(SECTOR) || end == self.bytes.len())
            }
            // A whole line with only its end altered was written to its end.
            None => !ended && line.split_last().is_none_or(|(_, before)| chain::whole(before).is_none()),
        }
    }
}

/// Whether something was written after a line that was synced, so that everything up to that line was on the disk: what is broken
/// before it, no crash has broken.
fn was_synced(rest: &[u8]) -> bool {
    let mut at = 0;
    rest.split(|byte| matches!(byte, b'\n' | 0)).any(|line| {
        at += line.len() + 1;
        let more = rest.get(at..).is_some_and(|after| after.iter().any(|byte| *byte != 0));
        more && chain::whole(line).is_some_and(|whole| says_synced(&whole.body()))
    })
}

/// Whether a line is of a kind that is synced; one that cannot be read for its missing parts is taken for one.
fn says_synced(body: &str) -> bool {
    #[derive(Deserialize)]
    struct Kindly {
        k: String,
        event: Option<Json>,
    }
    match serde_json::from_str::<Kindly>(body) {
        Ok(Kindly { k, event }) => match k.as_str() {
            "call" | "enter" | "left" => false,
            "told" => event.is_none_or(|event| {
                let name = event.get("event").and_then(Json::as_str);
                name.is_none_or(|name| matches!(name, "step_finished" | "asked" | "finished"))
            }),
            _ => true,
        },
        Err(_) => serde_json::from_str::<Entry>(body).map_or(true, |entry| syncs(&entry.fact)),
    }
}

/// The name in `{"$blob": "sha256:NAME"}`.
fn blob(value: &Json) -> Option<&str> {
    let map = value.as_object().filter(|map| map.len() == 1)?;
    map.get("$blob")?.as_str()?.strip_prefix("sha256:")
}

fn unreadable(run: &str) -> Error {
    Error::new(Kind::Refused, Reason::Refused, format!("the journal of run `{run}` cannot be read"))
}

fn half(run: &str, why: &str) -> Error {
    Error::new(Kind::Refused, Reason::Refused, format!("run `{run}` cannot be read"))
        .cause(why)
        .hint("of a copy, copy the whole folder again")
}
