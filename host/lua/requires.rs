//! `--- @requires lockgate >= 0.1`: the first line of a file says which versions of lockgate can run it.

use super::error::broken;
use crate::base::{Error, Place, Result, Version};

/// The version of this program.
const OWN: &str = env!("CARGO_PKG_VERSION");

/// Refuses a file that asks for a later version, before anything of it runs.
///
/// # Errors
/// Names both versions; or says that the line cannot be read.
pub(crate) fn check(file: &str, text: &str) -> Result<()> {
    let first = text.lines().next().unwrap_or_default();
    let Some(line) = first.trim_start_matches('\u{feff}').strip_prefix("---").map(str::trim_start) else { return Ok(()) };
    let Some(wanted) = line.strip_prefix("@requires") else { return Ok(()) };
    let unreadable = || at(file, first, broken(format!("`{}` cannot be read", first.trim()))).hint("write `--- @requires lockgate >= 0.1`");
    let wanted = wanted.trim().strip_prefix("lockgate").map(str::trim).and_then(|rest| rest.strip_prefix(">="));
    let wanted = wanted.and_then(|text| Version::parse(text.trim()).ok()).ok_or_else(unreadable)?;
    let own = Version::parse(OWN)?;
    if own >= wanted {
        return Ok(());
    }
    Err(at(file, first, broken(format!("`{file}` needs lockgate {wanted} or later, this is {own}"))).hint("install a later lockgate"))
}

fn at(file: &str, source: &str, mut error: Error) -> Error {
    let place = Place { file: file.to_owned(), line: 1, column: Some(1), source: Some(source.to_owned()), ..Place::default() };
    error.places.push(place);
    error
}

#[cfg(test)]
mod tests {
    use super::check;

    #[test]
    fn only_a_later_version_is_refused() {
        for good in
            ["", "-- a comment", "--- @requires lockgate >= 0.1", "--- @requires lockgate >= 0.1.0\nlocal x", "---@requires lockgate>=0.0"]
        {
            assert!(check("a.luau", good).is_ok(), "{good}");
        }
        let error = check("a.luau", "--- @requires lockgate >= 99.1\n").unwrap_err();
        assert!(error.message.starts_with("`a.luau` needs lockgate 99.1 or later"), "{error}");
        assert_eq!(error.places[0].line, 1);
        for bad in ["--- @requires lockgate", "--- @requires kubectl >= 1.0", "--- @requires lockgate >= soon"] {
            assert!(check("a.luau", bad).unwrap_err().message.ends_with("cannot be read"), "{bad}");
        }
    }
}
