//! Text that did not come from us, made safe for a terminal, a report and a log: a cluster's message must not move the cursor, change a
//! title, read otherwise than it is, or hide a part of itself. It is escaped and not dropped, so that what is shown is what there is.

use std::borrow::Cow;
use std::io;

/// Replaces control characters (and those that reorder or hide text) by a visible form; keeps line ends.
#[must_use]
pub fn lines(text: &str) -> Cow<'_, str> {
    escape(text, |c| c == '\n')
}

/// The same on one line: line ends become visible too.
#[must_use]
pub fn line(text: &str) -> Cow<'_, str> {
    escape(text, |_| false)
}

/// The same in a JSON text, in the words of JSON: what it means stays the same.
#[must_use]
pub fn json(text: &str) -> Cow<'_, str> {
    let bad = |c: char| c != '\n' && is_unsafe(c);
    if !text.contains(bad) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if bad(c) {
            for unit in c.encode_utf16(&mut [0; 2]) {
                out.push_str(&format!("\\u{unit:04x}"));
            }
        } else {
            out.push(c);
        }
    }
    Cow::Owned(out)
}

/// A stream to which only what is safe gets through.
#[derive(Debug)]
pub struct Safe<W>(pub W);

impl<W: io::Write> io::Write for Safe<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write_all(lines(&String::from_utf8_lossy(bytes)).as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

fn escape(text: &str, keep: impl Fn(char) -> bool) -> Cow<'_, str> {
    let bad = |c: char| !keep(c) && is_unsafe(c);
    if !text.contains(bad) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match c {
            c if !bad(c) => out.push(c),
            '\t' => out.push_str("    "),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            c => out.extend(c.escape_unicode()),
        }
    }
    Cow::Owned(out)
}

/// Whether a character does something instead of being seen.
#[must_use]
pub fn is_unsafe(c: char) -> bool {
    c.is_control() || reorders(c) || hides(c)
}

/// Bidirectional controls: they can make a line read otherwise than it is.
fn reorders(c: char) -> bool {
    matches!(c, '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Characters without any width, and ends of lines that no program counts as one: two texts look the same and are not.
fn hides(c: char) -> bool {
    matches!(
        c,
        '\u{00ad}' | '\u{034f}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200d}'
            | '\u{2028}' | '\u{2029}' | '\u{2060}'..='\u{2065}' | '\u{206a}'..='\u{206f}' | '\u{3164}' | '\u{feff}' | '\u{ffa0}'
            | '\u{fff0}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_moves_the_cursor() {
        assert_eq!(line("plain – text"), "plain – text");
        assert_eq!(line("a\u{1b}[2Jb"), "a\\u{1b}[2Jb");
        assert_eq!(line("a\nb\tc\rd"), "a\\nb    c\\rd");
        assert_eq!(lines("a\nb\u{7}"), "a\nb\\u{7}");
        assert_eq!(line("x\u{202e}y"), "x\\u{202e}y");
        assert_eq!(line("\u{9b}31m"), "\\u{9b}31m");
        assert_eq!(line("we\u{200b}b"), "we\\u{200b}b");
    }

    #[test]
    fn json_means_the_same_afterwards() {
        let text = serde_json::json!({ "a": "x\u{202e}y\u{7f}\u{9b}\u{e0041}\n" }).to_string();
        let safe = json(&text);
        assert_eq!(safe, r#"{"a":"x\u202ey\u007f\u009b\udb40\udc41\n"}"#);
        assert_eq!(serde_json::from_str::<serde_json::Value>(&safe).unwrap(), serde_json::from_str::<serde_json::Value>(&text).unwrap());
    }
}
