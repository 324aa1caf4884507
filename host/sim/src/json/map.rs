//! Maps.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;

use ecow::EcoVec;

use super::{NULL, Text, Value};

/// A JSON map; keys are in order and unique. Changing one that is shared copies its keys and references first, but not what
/// they refer to.
#[derive(Clone, Default)]
pub struct Map(EcoVec<Member>);

#[derive(Clone, Debug)]
struct Member {
    /// The first eight bytes of the key as a number: decides nearly every comparison without a look at the text.
    head: u64,
    key: Text,
    value: Value,
}

impl Member {
    fn new(key: Text, value: Value) -> Self {
        Self { head: head(&key), key, value }
    }

    fn parts(&self) -> (&Text, &Value) {
        (&self.key, &self.value)
    }
}

/// The first eight bytes, filled up with zeros; numbers are in the order of the texts, but different texts may have the same.
fn head(key: &str) -> u64 {
    let bytes = key.as_bytes();
    if let Some(bytes) = bytes.first_chunk::<8>() {
        return u64::from_be_bytes(*bytes);
    }
    // Four to seven bytes are the first four and the last four; what is in both is the same at the same place.
    if let (Some(first), Some(last)) = (bytes.first_chunk::<4>(), bytes.last_chunk::<4>()) {
        return u64::from(u32::from_be_bytes(*first)) << 32 | u64::from(u32::from_be_bytes(*last)) << (64 - 8 * bytes.len());
    }
    bytes.iter().zip([56, 48, 40]).fold(0, |head, (byte, place)| head | u64::from(*byte) << place)
}

impl Map {
    /// An empty map.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty map with room for so many members.
    pub(crate) fn with_room(members: usize) -> Self {
        Self(EcoVec::with_capacity(members))
    }

    /// A map of members in any order; of equal keys the last counts.
    pub(super) fn from_members(mut members: Vec<(Text, Value)>) -> Self {
        if !members.is_sorted_by(|(a, _), (b, _)| a < b) {
            members.sort_by(|(a, _), (b, _)| a.cmp(b));
            members.reverse();
            members.dedup_by(|(a, _), (b, _)| a == b);
            members.reverse();
        }
        Self(members.into_iter().map(|(key, value)| Member::new(key, value)).collect())
    }

    /// Whether both are one and the same in memory.
    #[must_use]
    pub fn shares(&self, other: &Self) -> bool {
        self.len() == other.len() && self.0.as_ptr() == other.0.as_ptr()
    }

    /// How many members there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no member.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn find(&self, key: &str) -> Result<usize, usize> {
        let head = head(key);
        let members = self.0.as_slice();
        // By the numbers first, without a branch; then mostly the first text is the one or there is none.
        let mut at = members.partition_point(|member| member.head < head);
        while let Some(member) = members.get(at).filter(|member| member.head == head) {
            // Of one length and short: then the number holds all of both.
            if key.len() <= 8 && member.key.len() == key.len() {
                return Ok(at);
            }
            match member.key.as_str().cmp(key) {
                Ordering::Less => at += 1,
                Ordering::Equal => return Ok(at),
                Ordering::Greater => break,
            }
        }
        Err(at)
    }

    /// The member with this key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.find(key).ok().and_then(|at| self.0.get(at)).map(|member| &member.value)
    }

    /// The member with this key, to be changed.
    #[must_use]
    pub fn get_mut(&mut self, key: &str) -> Option<&mut Value> {
        let at = self.find(key).ok()?;
        self.0.make_mut().get_mut(at).map(|member| &mut member.value)
    }

    /// Whether there is a member with this key.
    #[must_use]
    pub fn contains_key(&self, key: &str) -> bool {
        self.find(key).is_ok()
    }

    /// Sets a member; gives back what was there.
    pub fn insert(&mut self, key: impl Into<Text> + AsRef<str>, value: Value) -> Option<Value> {
        match self.find(key.as_ref()) {
            Ok(at) => self.0.make_mut().get_mut(at).map(|member| std::mem::replace(&mut member.value, value)),
            Err(at) => {
                self.0.insert(at, Member::new(key.into(), value));
                None
            }
        }
    }

    /// The member with this key, `null` when it was not there.
    pub(crate) fn place(&mut self, key: &str) -> &mut Value {
        let at = match self.find(key) {
            Ok(at) => at,
            Err(at) => {
                self.0.insert(at, Member::new(key.into(), Value::Null));
                at
            }
        };
        &mut self.0.make_mut()[at].value
    }

    /// Takes a member out.
    pub fn remove(&mut self, key: &str) -> Option<Value> {
        self.find(key).ok().map(|at| self.0.remove(at).value)
    }

    /// The place of a member, filled or not.
    pub fn entry(&mut self, key: impl Into<Text>) -> Entry<'_> {
        Entry { map: self, key: key.into() }
    }

    /// Keeps the members that `keep` wants.
    pub fn retain(&mut self, mut keep: impl FnMut(&Text, &Value) -> bool) {
        // A map of which everything stays is not copied.
        if self.iter().any(|(key, value)| !keep(key, value)) {
            self.0.retain(|member| keep(&member.key, &member.value));
        }
    }

    /// The members in the order of their keys.
    pub fn iter(&self) -> Iter<'_> {
        self.into_iter()
    }

    /// The members in the order of their keys, to be changed.
    pub fn iter_mut(&mut self) -> impl DoubleEndedIterator<Item = (&Text, &mut Value)> {
        self.0.make_mut().iter_mut().map(|member| (&member.key, &mut member.value))
    }

    /// The keys in their order.
    pub fn keys(&self) -> impl DoubleEndedIterator<Item = &Text> + ExactSizeIterator {
        self.0.iter().map(|member| &member.key)
    }

    /// The values in the order of their keys.
    pub fn values(&self) -> impl DoubleEndedIterator<Item = &Value> + ExactSizeIterator {
        self.0.iter().map(|member| &member.value)
    }

    /// The values in the order of their keys, to be changed.
    pub fn values_mut(&mut self) -> impl DoubleEndedIterator<Item = &mut Value> {
        self.0.make_mut().iter_mut().map(|member| &mut member.value)
    }
}

/// The place of one member of a map.
#[derive(Debug)]
pub struct Entry<'a> {
    map: &'a mut Map,
    key: Text,
}

impl<'a> Entry<'a> {
    /// The member, made by `make` when it is not there.
    pub fn or_insert_with(self, make: impl FnOnce() -> Value) -> &'a mut Value {
        let at = match self.map.find(&self.key) {
            Ok(at) => at,
            Err(at) => {
                self.map.0.insert(at, Member::new(self.key, make()));
                at
            }
        };
        &mut self.map.0.make_mut()[at].value
    }

    /// The member, set to `value` when it is not there.
    pub fn or_insert(self, value: Value) -> &'a mut Value {
        self.or_insert_with(|| value)
    }
}

/// The members of a map in the order of their keys.
#[derive(Clone, Debug)]
pub struct Iter<'a>(std::slice::Iter<'a, Member>);

impl<'a> Iterator for Iter<'a> {
    type Item = (&'a Text, &'a Value);

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next().map(Member::parts)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }
}

impl DoubleEndedIterator for Iter<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.0.next_back().map(Member::parts)
    }
}

impl ExactSizeIterator for Iter<'_> {}

impl PartialEq for Map {
    fn eq(&self, other: &Self) -> bool {
        self.shares(other) || (self.len() == other.len() && self.iter().eq(other.iter()))
    }
}

impl fmt::Debug for Map {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl<K: Into<Text>, V: Into<Value>> FromIterator<(K, V)> for Map {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(members: I) -> Self {
        Self::from_members(members.into_iter().map(|(key, value)| (key.into(), value.into())).collect())
    }
}

impl<const N: usize> From<[(Text, Value); N]> for Map {
    /// Of equal keys the last counts. One allocation, of the right size.
    fn from(members: [(Text, Value); N]) -> Self {
        let mut members = members.map(|(key, value)| Member::new(key, value));
        if !members.is_sorted_by(|a, b| a.key < b.key) {
            members.sort_by(|a, b| a.head.cmp(&b.head).then_with(|| a.key.cmp(&b.key)));
            if members.windows(2).any(|pair| matches!(pair, [a, b] if a.key == b.key)) {
                return Self::from_members(members.into_iter().map(|member| (member.key, member.value)).collect());
            }
        }
        Self(members.into_iter().collect())
    }
}

impl<K: Into<Text>, V: Into<Value>> Extend<(K, V)> for Map {
    fn extend<I: IntoIterator<Item = (K, V)>>(&mut self, members: I) {
        for (key, value) in members {
            self.insert(key.into(), value.into());
        }
    }
}

impl<K: Into<Text>, V: Into<Value>> From<BTreeMap<K, V>> for Map {
    fn from(members: BTreeMap<K, V>) -> Self {
        members.into_iter().collect()
    }
}

/// The members of a map that is given away, in the order of their keys.
pub struct IntoIter(ecow::vec::IntoIter<Member>);

impl Iterator for IntoIter {
    type Item = (Text, Value);

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next().map(|member| (member.key, member.value))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }
}

impl fmt::Debug for IntoIter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.as_slice().iter().map(Member::parts)).finish()
    }
}

impl IntoIterator for Map {
    type Item = (Text, Value);
    type IntoIter = IntoIter;

    fn into_iter(self) -> IntoIter {
        IntoIter(self.0.into_iter())
    }
}

impl<'a> IntoIterator for &'a Map {
    type Item = (&'a Text, &'a Value);
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        Iter(self.0.iter())
    }
}

/// `null` for what is not there.
impl std::ops::Index<&str> for Map {
    type Output = Value;

    fn index(&self, key: &str) -> &Value {
        self.get(key).unwrap_or(&NULL)
    }
}
