//! Where a script is: the frames of its files, innermost first, without those of the host.

use mlua::Lua;

use super::engine::Core;
use crate::base::Place;

/// How many places an error names.
const MOST: usize = 8;
/// How many frames are looked at; a stack that overflowed has twenty thousand.
const DEEPEST: usize = 64;

/// The places of the running call, innermost first. `token` is the word that the innermost one is about.
pub(crate) fn places(core: &Core, lua: &Lua, token: Option<&str>) -> Vec<Place> {
    let mut places: Vec<Place> = Vec::new();
    for level in 0..DEEPEST {
        let frame = lua.inspect_stack(level, |frame| {
            let source = frame.source();
            let file = source.source.as_deref().and_then(|name| name.strip_prefix('@'))?;
            let function = frame.names().name.map(|name| name.into_owned()).filter(|name| !name.is_empty());
            Some((file.to_owned(), frame.current_line()?, function))
        });
        match frame {
            None => break,
            Some(None) => {}
            Some(Some((file, line, function))) => {
                let token = if places.is_empty() { token } else { None };
                let line = u32::try_from(line).unwrap_or(u32::MAX);
                places.push(place(core, &file, line, token, function));
                if places.len() == MOST {
                    break;
                }
            }
        }
    }
    places
}

/// A place with its excerpt.
pub(crate) fn place(core: &Core, file: &str, line: u32, token: Option<&str>, function: Option<String>) -> Place {
    let text = core.text(file);
    let source = text.as_deref().and_then(|text| text.lines().nth(line.saturating_sub(1) as usize)).map(str::to_owned);
    let found = source.as_deref().zip(token).and_then(|(source, token)| column(source, token).map(|column| (column, token)));
    Place {
        file: file.to_owned(),
        line,
        column: found.map(|(column, _)| column),
        length: found.map(|(_, token)| u32::try_from(token.chars().count()).unwrap_or(u32::MAX)),
        source,
        function,
    }
}

/// Where `token` stands in the line, in characters from 1: as a word of the program, not of a text or comment. Nothing where it
/// stands more than once, since the interpreter names the line only; `x = x(1)` is about the call.
pub(crate) fn column(line: &str, token: &str) -> Option<u32> {
    let code = without_texts(line);
    let all = words(&code, token);
    let (set, used): (Vec<usize>, Vec<usize>) = all.iter().partition(|at| is_set(&code, **at + token.len()));
    let at = match (&set[..], &used[..]) {
        ([only], []) | ([], [only]) => *only,
        (_, [only]) if is_called(&code, *only + token.len()) => *only,
        _ => return None,
    };
    in_characters(line, at)
}

/// Where `name = …` or `["name"] = …` begins in the line, in characters from 1.
pub(crate) fn assigned(line: &str, name: &str) -> Option<u32> {
    let at = words(line, name).into_iter().find(|at| {
        let inside = line.get(..*at).is_some_and(|before| before.ends_with('.'));
        !inside && line.get(*at + name.len()..).is_some_and(|rest| is_set(rest.trim_start_matches(['"', '\'', ']']), 0))
    });
    in_characters(line, at?)
}

fn in_characters(line: &str, at: usize) -> Option<u32> {
    u32::try_from(line.get(..at)?.chars().count() + 1).ok()
}

/// Where the word begins, in bytes.
fn words(line: &str, word: &str) -> Vec<usize> {
    if word.is_empty() {
        return Vec::new();
    }
    let is_word = |character: char| character.is_alphanumeric() || character == '_';
    let whole = |at: &usize| {
        let before = line.get(..*at).and_then(|before| before.chars().next_back());
        let after = line.get(*at + word.len()..).and_then(|after| after.chars().next());
        !before.is_some_and(is_word) && !after.is_some_and(is_word)
    };
    line.match_indices(word).map(|(at, _)| at).filter(whole).collect()
}

/// Whether what ends at this byte is given a value.
fn is_set(line: &str, end: usize) -> bool {
    let rest = line.get(end..).unwrap_or_default().trim_start();
    rest.starts_with('=') && !rest.starts_with("==")
}

/// Whether what ends at this byte is called.
fn is_called(line: &str, end: usize) -> bool {
    line.get(end..).unwrap_or_default().trim_start().starts_with(['(', '{', '"', '\'', '`', '['])
}

/// The line with what is in quotes or behind `--` blanked, byte for byte; code in the braces of a `` `text {x}` `` stays.
fn without_texts(line: &str) -> String {
    let mut bytes = line.as_bytes().to_vec();
    // What is open, innermost last: a quote, or the brace of code inside a text.
    let mut open: Vec<u8> = Vec::new();
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        match open.last().copied() {
            Some(quote @ (b'"' | b'\'' | b'`')) => {
                if byte == b'\\' {
                    bytes.iter_mut().skip(at).take(2).for_each(|byte| *byte = b' ');
                    at += 1;
                } else if byte == quote {
                    open.pop();
                } else if quote == b'`' && byte == b'{' {
                    open.push(byte);
                } else if let Some(byte) = bytes.get_mut(at) {
                    *byte = b' ';
                }
            }
            _ if byte == b'-' && bytes.get(at + 1) == Some(&b'-') => {
                bytes.iter_mut().skip(at).for_each(|byte| *byte = b' ');
            }
            inside => match byte {
                b'"' | b'\'' | b'`' => open.push(byte),
                b'{' if inside.is_some() => open.push(byte),
                b'}' if inside.is_some() => {
                    open.pop();
                }
                _ => {}
            },
        }
        at += 1;
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::{assigned, column};

    #[test]
    fn a_word_is_found_as_a_whole_and_where_there_is_one_only() {
        assert_eq!(column("  scale(ipam, 0)", "scale"), Some(3));
        assert_eq!(column("local rescale = scale { }", "scale"), Some(17));
        assert_eq!(column("upscale(x)", "scale"), None);
        assert_eq!(column("get = get(\"x\")", "get"), Some(7));
        assert_eq!(column("ä, get \"x\"", "get"), Some(4));
        assert_eq!(column("x", ""), None);
    }

    #[test]
    fn of_two_calls_of_the_same_name_none_is_marked() {
        assert_eq!(column("note(a) note(b) note(5)", "note"), None);
        assert_eq!(column("wait_rollout(a); wait_rollout(b)", "wait_rollout"), None);
        assert_eq!(column("pcall(get, x) get(y)", "get"), None);
    }

    #[test]
    fn words_in_texts_and_comments_are_no_calls() {
        assert_eq!(column("note \"get it\" get(x) -- get(y)", "get"), Some(15));
        assert_eq!(column("note(`get \\` {get(x)} get`)", "get"), Some(15));
        assert_eq!(column("note '\\'get' get(x)", "get"), Some(14));
        assert_eq!(column("-- get", "get"), None);
        assert_eq!(column("note(`ä {get({})} get`) get(x)", "get"), None);
    }

    #[test]
    fn what_is_set_is_found_where_it_is_set() {
        assert_eq!(assigned("t.x = 1; x = 2", "x"), Some(10));
        assert_eq!(assigned("get = get(1)", "get"), Some(1));
        assert_eq!(assigned("  [\"12-14\"] = 1", "12-14"), Some(5));
        assert_eq!(assigned("if x == 1 then", "x"), None);
        assert_eq!(assigned("function x() end", "x"), None);
        assert_eq!(assigned("  state.f = 1", "state.f"), Some(3));
    }
}
