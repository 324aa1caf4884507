//! The messages: what the number of a field stands for, and how it is written in JSON.
//!
//! `v1.36.bin` is a deflate stream of text, taken from the Go types of v1.36.4. A line with the name of a message begins it; a line
//! for each field follows: its number, its name in JSON, marks, and its type. Marks: `*` may be absent, so that zero says something;
//! `?` is left out in JSON when it is zero; `^` its fields belong to the message around it. Types: `s` text, `y` bytes, `i` integer,
//! `b` yes or no, `T` time, `U` time with microseconds, `Q` quantity, `X` integer or text, `R` a JSON document as bytes, `E` a list of
//! texts in a message of its own, `m` and a name for a message; `+` before it for a list and `%` for a map with texts as keys.

use std::collections::HashMap;
use std::io::Read as _;
use std::sync::LazyLock;

static ARCHIVE: &[u8] = include_bytes!("v1.36.bin");

/// One field of a message.
#[derive(Debug, Clone, Copy)]
pub(super) struct Field {
    pub(super) name: &'static str,
    /// Whether zero is not the same as absent.
    pub(super) optional: bool,
    /// Whether JSON leaves out zero.
    pub(super) omitted: bool,
    /// Whether its fields belong to the message around it.
    pub(super) inline: bool,
    /// The type, as the table writes it.
    pub(super) kind: &'static str,
}

type Message = HashMap<u64, Field>;

static MESSAGES: LazyLock<HashMap<&'static str, Message>> = LazyLock::new(|| {
    let mut text = String::new();
    // The table is a part of this program; a test reads all of it.
    if flate2::read::DeflateDecoder::new(ARCHIVE).read_to_string(&mut text).is_err() {
        return HashMap::new();
    }
    let text: &'static str = Box::leak(text.into_boxed_str());
    let mut messages: HashMap<&'static str, Message> = HashMap::new();
    let mut current = "";
    for line in text.lines() {
        let Some(field) = line.strip_prefix(' ') else {
            current = line;
            continue;
        };
        let mut words = field.split(' ');
        let (number, name, marks, kind) = (words.next(), words.next(), words.next(), words.next());
        if let (Some(Ok(number)), Some(name), Some(marks), Some(kind)) = (number.map(str::parse), name, marks, kind) {
            let has = |mark| marks.contains(mark);
            let field = Field { name, optional: has('*'), omitted: has('?'), inline: has('^'), kind };
            messages.entry(current).or_default().insert(number, field);
        }
    }
    messages
});

/// Whether there is a message of this name.
pub(super) fn has(message: &str) -> bool {
    MESSAGES.contains_key(message)
}

/// The field of a message with this number.
pub(super) fn field(message: &str, number: u64) -> Option<Field> {
    MESSAGES.get(message)?.get(&number).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_is_known() {
        assert!(MESSAGES.len() > 400, "{}", MESSAGES.len());
        for (name, message) in MESSAGES.iter() {
            for field in message.values() {
                let kind = field.kind.trim_start_matches(['+', '%']);
                let known = match kind.strip_prefix('m') {
                    // Lists have no messages without fields.
                    Some(other) => has(other) || other == "core/v1.NodeProxyOptions",
                    None => ["s", "y", "i", "b", "T", "U", "Q", "X", "R", "E"].contains(&kind),
                };
                assert!(known, "{name}.{}: {}", field.name, field.kind);
            }
        }
    }
}
