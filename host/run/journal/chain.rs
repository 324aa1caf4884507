//! One line of a journal: what it says, the hash of the line before, and a checksum of its own.
//!
//! `{"seq":42,"at":"…","k":"intent",…,"prev":"<SHA-256 of line 41>","mac":"<mark>","crc":"<CRC-32 of all before this member>"}`. The last
//! three members have a fixed length and place, so that a line is judged without being read as JSON. The checksum tells a line that a crash
//! left half-written from one that is whole; the hashes tie every line to all before it; the mark is made with a key that does not lie in the
//! run's folder (`seal.rs`), so that who can only write there cannot go on with the chain. A journal without a key has lines without it.

use flate2::Crc;
use sha2::{Digest as _, Sha256};

/// What the first line has in the place of the hash of the line before.
pub(super) const FIRST: &str = "0000000000000000000000000000000000000000000000000000000000000000";
/// The length of `,"prev":"…"`.
const PREV: usize = 9 + 64 + 1;
/// The length of `,"mac":"…"`.
const MAC: usize = 8 + 64 + 1;
/// The length of `,"crc":"…"}`.
const CRC: usize = 8 + 8 + 2;

/// SHA-256 in hexadecimal digits.
#[must_use]
pub fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

pub(super) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| char::from(*DIGITS.get(usize::from(nibble)).unwrap_or(&b'0'));
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

fn crc(bytes: &[u8]) -> String {
    let mut crc = Crc::new();
    crc.update(bytes);
    format!("{:08x}", crc.sum())
}

/// The line of this JSON object, without the line end; `mark` gives the mark under what is before it.
pub(super) fn line(body: &str, prev: &str, mark: impl FnOnce(&[u8]) -> Option<String>) -> String {
    let open = body.strip_suffix('}').unwrap_or(body);
    let mut line = String::with_capacity(open.len() + PREV + MAC + CRC);
    line.push_str(open);
    line.push_str(",\"prev\":\"");
    line.push_str(prev);
    line.push('"');
    if let Some(mark) = mark(line.as_bytes()) {
        line.push_str(",\"mac\":\"");
        line.push_str(&mark);
        line.push('"');
    }
    let crc = crc(line.as_bytes());
    line.push_str(",\"crc\":\"");
    line.push_str(&crc);
    line.push_str("\"}");
    line
}

/// What is wrong with a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// It is not as it was written.
    Altered,
    /// It is whole, but does not follow the line before.
    Unchained,
}

/// A line that is as it was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Whole<'a> {
    /// Its JSON up to the chain, without the closing brace.
    pub(super) open: &'a str,
    /// The hash it holds of the line before.
    pub(super) prev: &'a str,
    /// What is marked, and the mark.
    pub(super) marked: Option<(&'a [u8], &'a str)>,
}

impl Whole<'_> {
    /// What it says, as JSON.
    pub(super) fn body(&self) -> String {
        format!("{}}}", self.open)
    }
}

/// Takes a line apart; `None` when its checksum is wrong.
pub(super) fn whole(line: &[u8]) -> Option<Whole<'_>> {
    let (summed, end) = line.split_at_checked(line.len().checked_sub(CRC)?)?;
    let stated = end.strip_prefix(b",\"crc\":\"")?.strip_suffix(b"\"}")?;
    if stated != crc(summed).as_bytes() {
        return None;
    }
    let marked = mark(summed);
    let chained = marked.map_or(summed, |(chained, _)| chained);
    let (open, prev) = chained.split_at_checked(chained.len().checked_sub(PREV)?)?;
    let prev = prev.strip_prefix(b",\"prev\":\"")?.strip_suffix(b"\"")?;
    Some(Whole { open: std::str::from_utf8(open).ok()?, prev: std::str::from_utf8(prev).ok()?, marked })
}

/// What is marked of a line up to its checksum, and the mark.
fn mark(summed: &[u8]) -> Option<(&[u8], &str)> {
    let (chained, mark) = summed.split_at_checked(summed.len().checked_sub(MAC)?)?;
    let mark = mark.strip_prefix(b",\"mac\":\"")?.strip_suffix(b"\"")?;
    Some((chained, std::str::from_utf8(mark).ok()?))
}

/// The same for a line that must follow the one with this hash.
pub(super) fn next<'a>(line: &'a [u8], prev: &str) -> Result<Whole<'a>, Fault> {
    let whole = whole(line).ok_or(Fault::Altered)?;
    if whole.prev == prev { Ok(whole) } else { Err(Fault::Unchained) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_judged_by_its_sum_and_by_the_line_before() {
        let one = line(r#"{"seq":1}"#, FIRST, |_| None);
        assert_eq!(next(one.as_bytes(), FIRST).unwrap().body(), r#"{"seq":1}"#);
        assert_eq!(next(one.as_bytes(), FIRST).unwrap().marked, None);
        let mark = sha256(b"a mark");
        let two = line(r#"{"seq":2}"#, &sha256(one.as_bytes()), |_| Some(mark.clone()));
        let marked = next(two.as_bytes(), &sha256(one.as_bytes())).unwrap().marked.unwrap();
        assert_eq!(marked, (format!(r#"{{"seq":2,"prev":"{}""#, sha256(one.as_bytes())).as_bytes(), &*mark));
        assert_eq!(next(two.as_bytes(), &sha256(one.as_bytes())).unwrap().open, r#"{"seq":2"#);
        assert_eq!(next(two.as_bytes(), FIRST), Err(Fault::Unchained));
        assert!(serde_json::from_str::<serde_json::Value>(&two).is_ok(), "every line is JSON");
        for place in 0..two.len() {
            for bit in 0..8 {
                let mut bytes = two.clone().into_bytes();
                bytes[place] ^= 1 << bit;
                assert_eq!(whole(&bytes), None, "bit {bit} of byte {place}");
            }
        }
        for length in 0..two.len() {
            assert_eq!(whole(&two.as_bytes()[..length]), None);
        }
    }

    #[test]
    fn hashes_are_those_of_everybody() {
        assert_eq!(sha256(b"abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(crc(b"123456789"), "cbf43926");
    }
}
