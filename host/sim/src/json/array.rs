//! Arrays.

use std::fmt;
use std::ops::{Deref, DerefMut};

use ecow::EcoVec;

use super::Value;

/// A JSON array: a slice of values. Changing one that is shared copies it first, but not what is in it.
#[derive(Clone, Default)]
pub struct Array(EcoVec<Value>);

impl Array {
    /// An empty array.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether both are one and the same in memory.
    #[must_use]
    pub fn shares(&self, other: &Self) -> bool {
        self.len() == other.len() && self.0.as_ptr() == other.0.as_ptr()
    }

    /// Adds a value at the end.
    pub fn push(&mut self, value: Value) {
        self.0.push(value);
    }

    /// Adds a value before the one at `at`, or at the end when there is none.
    pub fn insert(&mut self, at: usize, value: Value) {
        self.0.insert(at.min(self.len()), value);
    }

    /// Takes a value out, if there is one at this place.
    pub fn remove(&mut self, at: usize) -> Option<Value> {
        (at < self.len()).then(|| self.0.remove(at))
    }

    /// Keeps the first values.
    pub fn truncate(&mut self, count: usize) {
        self.0.truncate(count);
    }

    /// Keeps what `keep` wants.
    pub fn retain(&mut self, mut keep: impl FnMut(&Value) -> bool) {
        // An array of which everything stays is not copied.
        if self.iter().any(|value| !keep(value)) {
            self.0.retain(|value| keep(value));
        }
    }
}

impl Deref for Array {
    type Target = [Value];

    fn deref(&self) -> &[Value] {
        &self.0
    }
}

impl DerefMut for Array {
    fn deref_mut(&mut self) -> &mut [Value] {
        self.0.make_mut()
    }
}

impl PartialEq for Array {
    fn eq(&self, other: &Self) -> bool {
        self.shares(other) || self.0 == other.0
    }
}

impl fmt::Debug for Array {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl From<Vec<Value>> for Array {
    fn from(items: Vec<Value>) -> Self {
        Self(items.into())
    }
}

impl<T: Into<Value>> FromIterator<T> for Array {
    fn from_iter<I: IntoIterator<Item = T>>(items: I) -> Self {
        Self(items.into_iter().map(Into::into).collect())
    }
}

impl<T: Into<Value>> Extend<T> for Array {
    fn extend<I: IntoIterator<Item = T>>(&mut self, items: I) {
        self.0.extend(items.into_iter().map(Into::into));
    }
}

impl IntoIterator for Array {
    type Item = Value;
    type IntoIter = ecow::vec::IntoIter<Value>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'a> IntoIterator for &'a Array {
    type Item = &'a Value;
    type IntoIter = std::slice::Iter<'a, Value>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl<'a> IntoIterator for &'a mut Array {
    type Item = &'a mut Value;
    type IntoIter = std::slice::IterMut<'a, Value>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter_mut()
    }
}
