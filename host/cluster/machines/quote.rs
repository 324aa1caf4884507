//! Words for a shell, so that it gives them on as they are.

/// A word as the POSIX shell reads it back: unchanged, whatever is in it. It must hold no NUL.
#[must_use]
pub fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@%+,".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// A command as people would type it.
#[must_use]
pub fn line(words: &[String]) -> String {
    words.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_words_stay_plain_and_all_else_is_quoted() {
        assert_eq!(quoted("kubeadm=1.19.16-00"), "kubeadm=1.19.16-00");
        assert_eq!(quoted("image=r.example/a:v1"), "image=r.example/a:v1");
        assert_eq!(quoted("reason=it's late"), r"'reason=it'\''s late'");
        assert_eq!(quoted(""), "''");
        assert_eq!(quoted("it's"), r"'it'\''s'");
        for word in ["a b", "$HOME", "`id`", "a;b", "*", "~", "a\nb", "\\", "!x", "#", "{a,b}", "ä"] {
            assert_eq!(quoted(word), format!("'{word}'"));
        }
        assert_eq!(line(&["echo".to_owned(), "a b".to_owned()]), "echo 'a b'");
    }
}
