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

/// Where `token` stands in the line as a word of its own, best where it is called; counted in characters from 1.
pub(crate) fn column(line: &str, token: &str) -> Option<u32> {
    if token.is_empty() {
        return None;
    }
    let is_word = |character: char| character.is_alphanumeric() || character == '_';
    let whole = |at: usize| {
        let before = line.get(..at).and_then(|before| before.chars().next_back());
        let after = line.get(at + token.len()..).and_then(|after| after.chars().next());
        !before.is_some_and(is_word) && !after.is_some_and(is_word)
    };
    let words: Vec<usize> = line.match_indices(token).map(|(at, _)| at).filter(|at| whole(*at)).collect();
    let called = words.iter().find(|at| {
        let after = line.get(**at + token.len()..).unwrap_or_default().trim_start();
        after.starts_with(['(', '{', '"', '\'', '`', '['])
    });
    let at = called.or(words.first())?;
    u32::try_from(line.get(..*at)?.chars().count() + 1).ok()
}

#[cfg(test)]
mod tests {
    use super::column;

    #[test]
    fn a_word_is_found_as_a_whole_and_best_where_it_is_called() {
        assert_eq!(column("  scale(ipam, 0)", "scale"), Some(3));
        assert_eq!(column("local rescale = scale { }", "scale"), Some(17));
        assert_eq!(column("upscale(x)", "scale"), None);
        assert_eq!(column("get = get(\"x\")", "get"), Some(7));
        assert_eq!(column("ä, get \"x\"", "get"), Some(4));
        assert_eq!(column("x", ""), None);
    }
}
