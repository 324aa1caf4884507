//! The identity of an object.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};

use crate::json::{Text, Value};
use crate::kinds::Kind;
use crate::view;

/// The identity of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// The kind.
    pub kind: &'static Kind,
    /// The namespace; empty for a cluster-scoped kind.
    pub namespace: Text,
    /// The name.
    pub name: Text,
}

impl Key {
    /// The key of an object; the namespace is dropped for cluster-scoped kinds.
    #[must_use]
    pub fn new(kind: &'static Kind, namespace: &str, name: &str) -> Self {
        let namespace = if kind.namespaced { namespace.into() } else { Text::new() };
        Self { kind, namespace, name: name.into() }
    }

    /// The key of an object that carries its name and namespace.
    #[must_use]
    pub fn of(kind: &'static Kind, object: &Value) -> Self {
        Self::new(kind, view::namespace(object), view::name(object))
    }
}

/// By namespace and name: objects of two kinds with both the same are few.
impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write(self.namespace.as_bytes());
        state.write(self.name.as_bytes());
    }
}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// By kind, namespace and name.
impl Ord for Key {
    fn cmp(&self, other: &Self) -> Ordering {
        let by_kind = if std::ptr::eq(self.kind, other.kind) { Ordering::Equal } else { self.kind.cmp(other.kind) };
        by_kind.then_with(|| compare(&self.namespace, &other.namespace)).then_with(|| compare(&self.name, &other.name))
    }
}

/// The order of two texts, eight bytes at a time: keys are compared more often than anything else is done.
fn compare(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a.as_bytes(), b.as_bytes());
    while let (Some((head, rest)), Some((other, others))) = (a.split_first_chunk::<8>(), b.split_first_chunk::<8>()) {
        if head != other {
            return u64::from_be_bytes(*head).cmp(&u64::from_be_bytes(*other));
        }
        (a, b) = (rest, others);
    }
    begin(a).cmp(&begin(b)).then(a.len().cmp(&b.len()))
}

/// The first eight bytes as a number that has their order; zeros behind fewer. Without a loop or a call: most names have such an end.
fn begin(text: &[u8]) -> u64 {
    let (first, last, length) = (text.first_chunk::<4>(), text.last_chunk::<4>(), text.len());
    match (text.first_chunk::<8>(), first.zip(last), text) {
        (Some(eight), ..) => u64::from_be_bytes(*eight),
        // Where they overlap they are the same.
        (None, Some((first, last)), _) => {
            u64::from(u32::from_be_bytes(*first)) << 32 | u64::from(u32::from_be_bytes(*last)) << (64 - 8 * length)
        }
        (None, None, &[first, ref rest @ ..]) => {
            let (middle, last) = (rest.first().copied().unwrap_or(0), rest.get(1).copied().unwrap_or(0));
            u64::from(first) << 56 | u64::from(middle) << 48 | u64::from(last) << 40
        }
        (None, None, []) => 0,
    }
}

impl Key {
    /// Writes the key behind a text, as [`fmt::Display`] does.
    pub(crate) fn write_to(&self, line: &mut String) {
        line.push_str(self.kind.singular);
        for part in [&self.namespace, &self.name].into_iter().skip(usize::from(self.namespace.is_empty())) {
            line.push('/');
            line.push_str(part);
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        self.write_to(&mut text);
        f.write_str(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::compare;

    #[test]
    fn texts_are_in_the_order_of_their_bytes() {
        let mut texts =
            vec![String::new(), "\0".to_owned(), "ab\0".to_owned(), "ab\0\0".to_owned(), "abcdefgh\0".to_owned(), "ü".to_owned()];
        texts.extend((1..20).map(|length| "abcdefghijklmnopqrst"[..length].to_owned()));
        texts.extend((1..20).map(|length| "abcdefgzzzklmnopqrst"[..length].to_owned()));
        for a in &texts {
            for b in &texts {
                assert_eq!(compare(a, b), a.cmp(b), "{a:?} {b:?}");
            }
        }
    }
}
