//! Maps.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use ecow::EcoVec;

use super::shape::{Name, Shape, Site};
use super::{NULL, Text, Value};

/// A JSON map; keys are in order and unique. Changing one that is shared copies the references to its values first, but not what
/// they refer to.
#[derive(Clone, Default)]
pub struct Map(EcoVec<Slot>);

/// A shape, and behind it a value for each of its keys; an empty map has nothing at all. One piece of memory for both, which is
/// about as large as the values alone.
#[derive(Clone, Debug)]
enum Slot {
    Shape(Arc<Shape>),
    Value(Value),
}

impl Slot {
    fn value(&self) -> &Value {
        match self {
            Self::Value(value) => value,
            Self::Shape(_) => &NULL,
        }
    }

    fn into_value(self) -> Value {
        match self {
            Self::Value(value) => value,
            Self::Shape(_) => Value::Null,
        }
    }

    fn value_mut(&mut self) -> Option<&mut Value> {
        match self {
            Self::Value(value) => Some(value),
            Self::Shape(_) => None,
        }
    }
}

impl Map {
    /// An empty map.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A map of members in any order; of equal keys the last counts.
    pub(super) fn from_members(mut members: Vec<(Text, Value)>) -> Self {
        if !members.is_sorted_by(|(a, _), (b, _)| a < b) {
            members.sort_by(|(a, _), (b, _)| a.cmp(b));
            members.reverse();
            members.dedup_by(|(a, _), (b, _)| a == b);
            members.reverse();
        }
        if members.is_empty() {
            return Self::new();
        }
        let (keys, values): (Vec<_>, Vec<_>) = members.into_iter().unzip();
        Self::of(Shape::of(keys), values.into_iter())
    }

    /// What [`json!`](crate::json!) makes at one place in the code.
    #[doc(hidden)]
    #[must_use]
    pub fn made_at<const N: usize>(site: &Site, mut members: [(Name, Value); N]) -> Self {
        match site.plan(members.iter().map(|(name, _)| name)) {
            Some(plan) => {
                let values = plan.order.iter().map(|at| members.get_mut(*at).map(|(_, value)| value.take()).unwrap_or_default());
                Self::of(Arc::clone(&plan.shape), values)
            }
            None => members.into_iter().collect(),
        }
    }

    fn of(shape: Arc<Shape>, values: impl ExactSizeIterator<Item = Value>) -> Self {
        if values.len() == 0 {
            return Self::new();
        }
        // Cheaper than to push one after another.
        let mut slots = EcoVec::from_elem(Slot::Value(Value::Null), values.len() + 1);
        let first = std::iter::once(Slot::Shape(shape));
        slots.make_mut().iter_mut().zip(first.chain(values.map(Slot::Value))).for_each(|(place, slot)| *place = slot);
        Self(slots)
    }

    fn parts(&self) -> Option<(&Arc<Shape>, &[Slot])> {
        match self.0.split_first() {
            Some((Slot::Shape(shape), slots)) => Some((shape, slots)),
            _ => None,
        }
    }

    /// Whether both are one and the same in memory.
    #[must_use]
    pub fn shares(&self, other: &Self) -> bool {
        self.len() == other.len() && self.0.as_ptr() == other.0.as_ptr()
    }

    /// How many members there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len().saturating_sub(1)
    }

    /// Whether there is no member.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn place_of(&self, key: &str) -> Option<usize> {
        self.parts()?.0.place(key)
    }

    /// The place of a key, or where it would be.
    fn find(&self, key: &str) -> Result<usize, usize> {
        let Some((shape, _)) = self.parts() else { return Err(0) };
        shape.place(key).map_or_else(|| shape.find(key), Ok)
    }

    /// The member with this key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Value> {
        let (shape, slots) = self.parts()?;
        slots.get(shape.place(key)?).map(Slot::value)
    }

    /// The member with this key, to be changed.
    #[must_use]
    pub fn get_mut(&mut self, key: &str) -> Option<&mut Value> {
        let at = self.place_of(key)?;
        self.0.make_mut().get_mut(at + 1)?.value_mut()
    }

    /// Whether there is a member with this key.
    #[must_use]
    pub fn contains_key(&self, key: &str) -> bool {
        self.place_of(key).is_some()
    }

    /// Sets a member; gives back what was there.
    pub fn insert(&mut self, key: impl Into<Text> + AsRef<str>, value: Value) -> Option<Value> {
        match self.find(key.as_ref()) {
            Ok(at) => self.0.make_mut().get_mut(at + 1).map(|slot| std::mem::replace(slot, Slot::Value(value)).into_value()),
            Err(at) => {
                self.put(at, key.into(), value);
                None
            }
        }
    }

    /// Adds a member where [`Self::find`] did not find it.
    fn put(&mut self, at: usize, key: Text, value: Value) {
        if self.is_empty() {
            self.0.push(Slot::Shape(Shape::of(vec![key])));
            self.0.push(Slot::Value(value));
            return;
        }
        self.0.insert(at + 1, Slot::Value(value));
        if let Some(Slot::Shape(shape)) = self.0.make_mut().first_mut() {
            Shape::grow(shape, at, key);
        }
    }

    /// The member with this key, `null` when it was not there.
    pub(crate) fn place(&mut self, key: &str) -> &mut Value {
        let at = self.find(key).unwrap_or_else(|at| {
            self.put(at, key.into(), Value::Null);
            at
        });
        self.filled(at)
    }

    /// The member at a place that there is.
    fn filled(&mut self, at: usize) -> &mut Value {
        match &mut self.0.make_mut()[at + 1] {
            Slot::Value(value) => value,
            Slot::Shape(_) => unreachable!("the shape stands before the values"),
        }
    }

    /// Takes a member out.
    pub fn remove(&mut self, key: &str) -> Option<Value> {
        let at = self.place_of(key)?;
        let slot = self.0.remove(at + 1);
        if self.is_empty() {
            self.0.clear();
        } else if let Some(Slot::Shape(shape)) = self.0.make_mut().first_mut() {
            Shape::shrink(shape, at);
        }
        Some(slot.into_value())
    }

    /// The place of a member, filled or not.
    pub fn entry(&mut self, key: impl Into<Text>) -> Entry<'_> {
        Entry { map: self, key: key.into() }
    }

    /// Keeps the members that `keep` wants.
    pub fn retain(&mut self, mut keep: impl FnMut(&Text, &Value) -> bool) {
        // A map of which everything stays is not copied.
        if self.iter().any(|(key, value)| !keep(key, value)) {
            let kept = self.iter().filter(|(key, value)| keep(key, value));
            *self = Self::from_members(kept.map(|(key, value)| (key.clone(), value.clone())).collect());
        }
    }

    /// The members in the order of their keys.
    pub fn iter(&self) -> Iter<'_> {
        self.into_iter()
    }

    /// The members in the order of their keys, to be changed.
    pub fn iter_mut(&mut self) -> impl DoubleEndedIterator<Item = (&Text, &mut Value)> {
        let (keys, slots): (&[Text], &mut [Slot]) = match self.0.make_mut().split_first_mut() {
            Some((Slot::Shape(shape), slots)) => (shape.keys(), slots),
            _ => (&[], &mut []),
        };
        keys.iter().zip(slots).filter_map(|(key, slot)| slot.value_mut().map(|value| (key, value)))
    }

    /// The keys in their order.
    pub fn keys(&self) -> impl DoubleEndedIterator<Item = &Text> + ExactSizeIterator {
        self.parts().map_or(&[][..], |(shape, _)| shape.keys()).iter()
    }

    /// The values in the order of their keys.
    pub fn values(&self) -> impl DoubleEndedIterator<Item = &Value> + ExactSizeIterator {
        self.parts().map_or(&[][..], |(_, slots)| slots).iter().map(Slot::value)
    }

    /// The values in the order of their keys, to be changed.
    pub fn values_mut(&mut self) -> impl DoubleEndedIterator<Item = &mut Value> {
        self.0.make_mut().iter_mut().filter_map(Slot::value_mut)
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
        let at = self.map.find(&self.key);
        let at = at.unwrap_or_else(|at| {
            self.map.put(at, self.key, make());
            at
        });
        self.map.filled(at)
    }

    /// The member, set to `value` when it is not there.
    pub fn or_insert(self, value: Value) -> &'a mut Value {
        self.or_insert_with(|| value)
    }
}

/// The members of a map in the order of their keys.
#[derive(Clone, Debug)]
pub struct Iter<'a>(std::iter::Zip<std::slice::Iter<'a, Text>, std::slice::Iter<'a, Slot>>);

impl<'a> Iterator for Iter<'a> {
    type Item = (&'a Text, &'a Value);

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next().map(|(key, slot)| (key, slot.value()))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }
}

impl DoubleEndedIterator for Iter<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.0.next_back().map(|(key, slot)| (key, slot.value()))
    }
}

impl ExactSizeIterator for Iter<'_> {}

impl PartialEq for Map {
    fn eq(&self, other: &Self) -> bool {
        self.shares(other)
            || match (self.parts(), other.parts()) {
                (Some((a, _)), Some((b, _))) => (Arc::ptr_eq(a, b) || a.keys() == b.keys()) && self.values().eq(other.values()),
                (a, b) => a.is_none() && b.is_none(),
            }
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
    /// Of equal keys the last counts.
    fn from(members: [(Text, Value); N]) -> Self {
        Self::from_members(members.into())
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
pub struct IntoIter {
    shape: Option<Arc<Shape>>,
    at: usize,
    slots: ecow::vec::IntoIter<Slot>,
}

impl Iterator for IntoIter {
    type Item = (Text, Value);

    fn next(&mut self) -> Option<Self::Item> {
        let key = self.shape.as_ref()?.keys().get(self.at)?.clone();
        self.at += 1;
        Some((key, self.slots.next()?.into_value()))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.slots.size_hint()
    }
}

impl fmt::Debug for IntoIter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.slots.as_slice().iter().map(Slot::value)).finish()
    }
}

impl IntoIterator for Map {
    type Item = (Text, Value);
    type IntoIter = IntoIter;

    fn into_iter(self) -> IntoIter {
        let mut slots = self.0.into_iter();
        let shape = match slots.next() {
            Some(Slot::Shape(shape)) => Some(shape),
            _ => None,
        };
        IntoIter { shape, at: 0, slots }
    }
}

impl<'a> IntoIterator for &'a Map {
    type Item = (&'a Text, &'a Value);
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        let (keys, slots) = self.parts().map_or((&[][..], &[][..]), |(shape, slots)| (shape.keys(), slots));
        Iter(keys.iter().zip(slots))
    }
}

/// `null` for what is not there.
impl std::ops::Index<&str> for Map {
    type Output = Value;

    fn index(&self, key: &str) -> &Value {
        self.get(key).unwrap_or(&NULL)
    }
}
