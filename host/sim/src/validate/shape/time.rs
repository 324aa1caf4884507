//! Times as Go reads them, with its words for what is none.

/// The parts of a time: what the layout shows, and whether two digits may be this large.
const PARTS: [(&str, u32, u32, &str); 11] = [
    ("2006", 0, 9999, "year"),
    ("-", 0, 0, ""),
    ("01", 1, 12, "month"),
    ("-", 0, 0, ""),
    ("02", 1, 31, "day"),
    ("T", 0, 0, ""),
    ("15", 0, 23, "hour"),
    (":", 0, 0, ""),
    ("04", 0, 59, "minute"),
    (":", 0, 0, ""),
    ("05", 0, 59, "second"),
];
const ZONE: &str = "Z07:00";
const MICROS: &str = ".000000";

/// Checks a time; `micro` wants six digits behind the seconds, otherwise any number of them may be there.
pub(super) fn check(text: &str, micro: bool) -> Result<(), String> {
    let layout = format!("2006-01-02T15:04:05{}{ZONE}", if micro { MICROS } else { "" });
    let wrong = |rest: &str, wanted: &str| Err(format!("parsing time {text:?} as {layout:?}: cannot parse {rest:?} as {wanted:?}"));
    let out_of_range = |what: &str| Err(format!("parsing time {text:?}: {what} out of range"));
    let mut rest = text;
    for (shown, least, most, what) in PARTS {
        let Some((part, after)) = rest.split_at_checked(shown.len()) else { return wrong(rest, shown) };
        match part.parse::<u32>() {
            _ if most == 0 && part == shown => {}
            Ok(number) if most > 0 && part.bytes().all(|b| b.is_ascii_digit()) => {
                if number < least || number > most {
                    return out_of_range(what);
                }
            }
            _ => return wrong(rest, shown),
        }
        rest = after;
    }
    let fraction = rest.strip_prefix('.').map_or(0, |digits| digits.bytes().take_while(u8::is_ascii_digit).count());
    if micro && fraction < 6 {
        return wrong(rest, MICROS);
    }
    let zone = if fraction == 0 { rest } else { &rest[fraction + 1..] };
    let is_offset = |zone: &str| {
        let b = zone.as_bytes();
        b.len() == 6 && matches!(b[0], b'+' | b'-') && b[3] == b':' && [1, 2, 4, 5].iter().all(|at| b[*at].is_ascii_digit())
    };
    if zone != "Z" && !is_offset(zone) {
        return match zone.strip_prefix('Z') {
            Some(extra) => Err(format!("parsing time {text:?}: extra text: {extra:?}")),
            None => wrong(zone, ZONE),
        };
    }
    let number = |from: usize, to: usize| text.get(from..to).and_then(|digits| digits.parse::<i8>().ok()).unwrap_or(0);
    let year = text.get(..4).and_then(|digits| digits.parse::<i16>().ok()).unwrap_or(0);
    match jiff::civil::Date::new(year, number(5, 7), number(8, 10)) {
        Ok(_) => Ok(()),
        Err(_) => out_of_range("day"),
    }
}

#[cfg(test)]
mod tests {
    use super::check;

    #[test]
    fn times_are_read_as_go_does() {
        for good in ["2020-01-01T00:00:00Z", "2020-02-29T23:59:59.5+02:00"] {
            assert_eq!(check(good, false), Ok(()), "{good}");
        }
        assert_eq!(check("2020-01-01T00:00:00.000000Z", true), Ok(()));
        let layout = "as \"2006-01-02T15:04:05Z07:00\": cannot parse";
        for (text, said) in [
            ("x", format!("parsing time \"x\" {layout} \"x\" as \"2006\"")),
            ("2020", format!("parsing time \"2020\" {layout} \"\" as \"-\"")),
            ("2020-13-01T00:00:00Z", "parsing time \"2020-13-01T00:00:00Z\": month out of range".to_owned()),
            ("2021-02-29T00:00:00Z", "parsing time \"2021-02-29T00:00:00Z\": day out of range".to_owned()),
        ] {
            assert_eq!(check(text, false), Err(said));
        }
        let micro = "as \"2006-01-02T15:04:05.000000Z07:00\": cannot parse \"Z\" as \".000000\"";
        assert_eq!(check("2020-01-01T00:00:00Z", true), Err(format!("parsing time \"2020-01-01T00:00:00Z\" {micro}")));
    }
}
