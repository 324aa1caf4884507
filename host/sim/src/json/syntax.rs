//! Where a text stops being JSON, in the words of Go's scanner, which the server's refusals repeat.

/// What the scanner is in the middle of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Inside {
    /// An object, after a colon.
    Member,
    /// An array.
    Array,
}

/// How deep a document may be.
const DEEPEST: usize = 10_000;

/// What Go says of a text that is no JSON; `None` for one that Go accepts.
pub(crate) fn fault(text: &[u8]) -> Option<String> {
    let mut scanner = Scanner { text, at: 0, inside: Vec::new() };
    scanner.document().err()
}

struct Scanner<'a> {
    text: &'a [u8],
    at: usize,
    inside: Vec<Inside>,
}

impl Scanner<'_> {
    fn document(&mut self) -> Result<(), String> {
        loop {
            self.value()?;
            // Everything that a value can be the end of.
            loop {
                let Some(next) = self.next_word() else {
                    return if self.inside.is_empty() { Ok(()) } else { Err(self.ended()) };
                };
                let state = self.inside.last().copied();
                match (state, next) {
                    (None, _) => return Err(wrong(next, "after top-level value")),
                    (Some(Inside::Array), b',') => self.at += 1,
                    (Some(Inside::Array), b']') | (Some(Inside::Member), b'}') => {
                        self.at += 1;
                        self.inside.pop();
                        continue;
                    }
                    (Some(Inside::Array), _) => return Err(wrong(next, "after array element")),
                    (Some(Inside::Member), b',') => {
                        self.at += 1;
                        self.inside.pop();
                        self.key()?;
                    }
                    (Some(Inside::Member), _) => return Err(wrong(next, "after object key:value pair")),
                }
                break;
            }
        }
    }

    /// A value up to its end, or up to the first value in it.
    fn value(&mut self) -> Result<(), String> {
        loop {
            let next = self.next_word().ok_or_else(|| self.ended())?;
            self.at += 1;
            match next {
                b'{' => {
                    self.deeper()?;
                    if self.next_word() == Some(b'}') {
                        self.at += 1;
                        return Ok(());
                    }
                    self.key()?;
                }
                b'[' => {
                    self.deeper()?;
                    if self.next_word() == Some(b']') {
                        self.at += 1;
                        return Ok(());
                    }
                    self.inside.push(Inside::Array);
                }
                b'"' => return self.string(),
                b'-' | b'0'..=b'9' => return self.number(next),
                b't' => return self.word("true"),
                b'f' => return self.word("false"),
                b'n' => return self.word("null"),
                other => return Err(wrong(other, "looking for beginning of value")),
            }
        }
    }

    fn deeper(&self) -> Result<(), String> {
        if self.inside.len() >= DEEPEST { Err("exceeded max depth".to_owned()) } else { Ok(()) }
    }

    /// A key with its colon.
    fn key(&mut self) -> Result<(), String> {
        let next = self.next_word().ok_or_else(|| self.ended())?;
        if next != b'"' {
            return Err(wrong(next, "looking for beginning of object key string"));
        }
        self.at += 1;
        self.string()?;
        match self.next_word() {
            Some(b':') => self.at += 1,
            Some(other) => return Err(wrong(other, "after object key")),
            None => return Err(self.ended()),
        }
        self.inside.push(Inside::Member);
        Ok(())
    }

    fn string(&mut self) -> Result<(), String> {
        loop {
            match self.take()? {
                b'"' => return Ok(()),
                b'\\' => match self.take()? {
                    b'b' | b'f' | b'n' | b'r' | b't' | b'\\' | b'/' | b'"' => {}
                    b'u' => {
                        for _ in 0..4 {
                            let digit = self.take()?;
                            if !digit.is_ascii_hexdigit() {
                                return Err(wrong(digit, "in \\u hexadecimal character escape"));
                            }
                        }
                    }
                    other => return Err(wrong(other, "in string escape code")),
                },
                control if control < 0x20 => return Err(wrong(control, "in string literal")),
                _ => {}
            }
        }
    }

    fn number(&mut self, first: u8) -> Result<(), String> {
        let mut digit = first;
        if digit == b'-' {
            digit = self.within_word();
            if !digit.is_ascii_digit() {
                return Err(wrong(digit, "in numeric literal"));
            }
            self.at += 1;
        }
        if digit != b'0' {
            self.digits();
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.one_digit("after decimal point in numeric literal")?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.one_digit("in exponent of numeric literal")?;
        }
        Ok(())
    }

    fn one_digit(&mut self, place: &str) -> Result<(), String> {
        let digit = self.within_word();
        if !digit.is_ascii_digit() {
            return Err(wrong(digit, place));
        }
        self.digits();
        Ok(())
    }

    fn digits(&mut self) {
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
    }

    fn word(&mut self, word: &str) -> Result<(), String> {
        for expected in word.bytes().skip(1) {
            let found = self.within_word();
            if found != expected {
                return Err(wrong(found, &format!("in literal {word} (expecting {})", quoted(expected))));
            }
            self.at += 1;
        }
        Ok(())
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    /// The next byte of a number or a word: at the end of the text Go looks at a space.
    fn within_word(&self) -> u8 {
        self.peek().unwrap_or(b' ')
    }

    fn take(&mut self) -> Result<u8, String> {
        let byte = self.peek().ok_or_else(|| self.ended())?;
        self.at += 1;
        Ok(byte)
    }

    fn next_word(&mut self) -> Option<u8> {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\r' | b'\n')) {
            self.at += 1;
        }
        self.peek()
    }

    fn ended(&self) -> String {
        "unexpected end of JSON input".to_owned()
    }
}

fn wrong(byte: u8, place: &str) -> String {
    format!("invalid character {} {place}", quoted(byte))
}

/// A byte as Go quotes it: as the character of this number.
fn quoted(byte: u8) -> String {
    match byte {
        b'\'' => r"'\''".to_owned(),
        b'\\' => r"'\\'".to_owned(),
        0x07 => r"'\a'".to_owned(),
        0x08 => r"'\b'".to_owned(),
        0x0c => r"'\f'".to_owned(),
        b'\n' => r"'\n'".to_owned(),
        b'\r' => r"'\r'".to_owned(),
        b'\t' => r"'\t'".to_owned(),
        0x0b => r"'\v'".to_owned(),
        0x00..0x20 | 0x7f => format!("'\\x{byte:02x}'"),
        0x80..0xa0 | 0xad => format!("'\\u{byte:04x}'"),
        other => format!("'{}'", char::from(other)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_told_as_go_tells_them() {
        for (text, fault) in [
            ("{", "unexpected end of JSON input"),
            ("", "unexpected end of JSON input"),
            (r#"{"a":"#, "unexpected end of JSON input"),
            (r#"{"a" 1}"#, "invalid character '1' after object key"),
            ("{,}", "invalid character ',' looking for beginning of object key string"),
            (r#"{"a":1,}"#, "invalid character '}' looking for beginning of object key string"),
            (r#"{"a":1 "b":2}"#, "invalid character '\"' after object key:value pair"),
            ("nul", "invalid character ' ' in literal null (expecting 'l')"),
            (r#"{"a":1}x"#, "invalid character 'x' after top-level value"),
            ("tru3", "invalid character '3' in literal true (expecting 'e')"),
            (r#"{"a":"\x"}"#, "invalid character 'x' in string escape code"),
            (r#"{"a":"\u12x4"}"#, r"invalid character 'x' in \u hexadecimal character escape"),
            ("-", "invalid character ' ' in numeric literal"),
            ("1.x", "invalid character 'x' after decimal point in numeric literal"),
            ("1ex", "invalid character 'x' in exponent of numeric literal"),
            ("01", "invalid character '1' after top-level value"),
            ("[1 2]", "invalid character '2' after array element"),
            ("[1,]", "invalid character ']' looking for beginning of value"),
            ("\u{1}", r"invalid character '\x01' looking for beginning of value"),
            ("\"a\nb\"", r"invalid character '\n' in string literal"),
            ("é", "invalid character 'Ã' looking for beginning of value"),
        ] {
            assert_eq!(super::fault(text.as_bytes()).as_deref(), Some(fault), "{text:?}");
        }
    }

    #[test]
    fn json_has_no_fault() {
        for text in ["null", " 1 ", "-0.5e+3", r#"{"a":[{},[],{"b":"\u00e9\n"}],"c":true}"#, r#"[[[1],{"a":{"b":2}}],false]"#] {
            assert_eq!(fault(text.as_bytes()), None, "{text}");
        }
        assert_eq!(fault("[".repeat(DEEPEST + 1).as_bytes()).as_deref(), Some("exceeded max depth"));
    }
}
