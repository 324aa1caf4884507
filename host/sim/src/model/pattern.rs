//! Patterns over texts: `*` stands for any text, `?` for one character.

/// Whether a pattern with `*` and `?` covers a whole text. Linear in the text for each `*`.
pub fn glob(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    let (mut p, mut t, mut back) = (0, 0, None);
    while t < text.len() {
        match pattern.get(p) {
            Some('*') => {
                back = Some((p, t));
                p += 1;
            }
            Some(c) if *c == '?' || *c == text[t] => {
                p += 1;
                t += 1;
            }
            _ => match back {
                Some((star, from)) => {
                    back = Some((star, from + 1));
                    (p, t) = (star + 1, from + 1);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}

/// What the `*` of a pattern stand for in a text that it covers, each as short as can be; `None` when it does not.
pub(crate) fn parts(pattern: &str, text: &str) -> Option<Vec<String>> {
    let text: Vec<char> = text.chars().collect();
    let pieces: Vec<Vec<char>> = pattern.split('*').map(|piece| piece.chars().collect()).collect();
    let is_at = |piece: &[char], at: usize| {
        let there = text.get(at..).and_then(|rest| rest.get(..piece.len()));
        there.is_some_and(|there| piece.iter().zip(there).all(|(wanted, c)| *wanted == '?' || wanted == c))
    };
    let (first, rest) = pieces.split_first()?;
    if !is_at(first, 0) {
        return None;
    }
    let mut at = first.len();
    let Some((last, between)) = rest.split_last() else { return (at == text.len()).then(Vec::new) };
    let mut found = Vec::new();
    let mut take = |from: usize, to: usize| found.push(text.get(from..to).unwrap_or_default().iter().collect());
    for piece in between {
        let place = (at..=text.len()).find(|place| is_at(piece, *place))?;
        take(at, place);
        at = place + piece.len();
    }
    let end = text.len().checked_sub(last.len()).filter(|end| *end >= at && is_at(last, *end))?;
    take(at, end);
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_cover_the_whole_text() {
        for (pattern, text, want) in [
            ("*", "", true),
            ("a*c", "abc", true),
            ("a*c", "abcd", false),
            ("*cni:v?.8*", "registry.example/cni:v1.8.4", true),
            ("", "x", false),
            ("**a**b", "xxaxxb", true),
            ("registry.example/*", "registry.example", false),
        ] {
            assert_eq!(glob(pattern, text), want, "{pattern} {text}");
            assert_eq!(parts(pattern, text).is_some(), want, "{pattern} {text}");
        }
    }

    #[test]
    fn the_parts_of_a_pattern_are_as_short_as_can_be() {
        let parts = |pattern, text| parts(pattern, text).unwrap();
        assert_eq!(parts("label hep * *=*", "label hep n1 a=b=c"), ["n1", "a", "b=c"]);
        assert_eq!(parts("*ctl version", "/calicoctl version"), ["/calico"]);
        assert_eq!(parts("get", "get"), [""; 0]);
        assert_eq!(parts("*", "ä ö"), ["ä ö"]);
    }
}
