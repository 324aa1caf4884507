//! Which keys a map has: objects of one kind have the same, and maps with the same keys mostly share them.
//!
//! A map then holds its values alone, and a look for a key reads what is in the processor's cache already, instead of a place in
//! memory for every comparison. That equal keys are shared is never needed for an answer: a table of limited size remembers what
//! was met last.

use std::cell::RefCell;
use std::cmp::Ordering;
use std::sync::{Arc, OnceLock};

use super::Text;
use crate::hash;

/// More keys than this are never remembered: such a map is mostly one of its kind, and grows where it stands.
const LARGEST: usize = 40;
/// Nor are longer keys, in bytes.
const LONGEST: usize = 64;
/// How many shapes a thread remembers; a power of two.
const SHAPES: usize = 2048;
/// How many steps from one shape to the next a thread remembers; a power of two.
const STEPS: usize = 1024;

/// The keys of a map, in their order and each once.
#[derive(Debug, Clone)]
pub(super) struct Shape {
    /// The sum of the numbers of the keys.
    number: u64,
    /// The first eight bytes of each key: they decide nearly every comparison.
    heads: Vec<u64>,
    keys: Vec<Text>,
    /// Where a key is, at the place that its first eight bytes say or behind it; at least half of it is empty. Nothing at all for
    /// very many keys.
    places: Vec<u8>,
}

/// A place where no key is: more than there are keys.
const NO_KEY: u8 = u8::MAX;

impl Shape {
    /// The shape of these keys, which are in order and each once.
    pub(super) fn of(keys: Vec<Text>) -> Arc<Self> {
        let number = keys.iter().map(|key| number(key)).fold(0, u64::wrapping_add);
        let mut shape = Self { number, heads: heads(&keys), keys, places: Vec::new() };
        shape.put_places();
        if shape.is_common() { KNOWN.with_borrow_mut(|known| known.same(shape)) } else { Arc::new(shape) }
    }

    /// The keys.
    pub(super) fn keys(&self) -> &[Text] {
        &self.keys
    }

    /// The place of a key.
    pub(super) fn place(&self, key: &str) -> Option<usize> {
        if self.places.is_empty() {
            return self.find(key).ok();
        }
        let (head, last) = (head(key), self.places.len() - 1);
        let mut place = spread(head);
        loop {
            let at = usize::from(*self.places.get(place & last)?);
            let known = self.keys.get(at)?;
            if self.heads.get(at) == Some(&head) && same_with_head(known, key) {
                return Some(at);
            }
            place += 1;
        }
    }

    fn put_places(&mut self) {
        self.places.clear();
        if self.keys.len() >= usize::from(NO_KEY) {
            return;
        }
        self.places.resize((2 * self.keys.len()).next_power_of_two(), NO_KEY);
        let last = self.places.len() - 1;
        for (at, head) in (0..NO_KEY).zip(&self.heads) {
            let mut place = spread(*head);
            while self.places.get(place & last).is_some_and(|taken| *taken != NO_KEY) {
                place += 1;
            }
            if let Some(free) = self.places.get_mut(place & last) {
                *free = at;
            }
        }
    }

    /// The place of a key, or where it would be.
    pub(super) fn find(&self, key: &str) -> Result<usize, usize> {
        let head = head(key);
        // By the numbers first; then mostly the first text is the one or there is none.
        let mut at = self.heads.partition_point(|other| *other < head);
        while let Some(known) = self.keys.get(at).filter(|_| self.heads.get(at) == Some(&head)) {
            match known.as_str().cmp(key) {
                Ordering::Less => at += 1,
                Ordering::Equal => return Ok(at),
                Ordering::Greater => break,
            }
        }
        Err(at)
    }

    /// Makes it the shape with one more key, at the place that [`Self::find`] told.
    pub(super) fn grow(this: &mut Arc<Self>, at: usize, key: Text) {
        if this.keys.len() < LARGEST {
            *this = KNOWN.with_borrow_mut(|known| known.step(this, at, key, true));
        } else {
            Arc::make_mut(this).insert(at, key);
        }
    }

    /// Makes it the shape without the key at this place.
    pub(super) fn shrink(this: &mut Arc<Self>, at: usize) {
        if this.keys.len() > LARGEST + 1 {
            Arc::make_mut(this).remove(at);
            return;
        }
        if let Some(key) = this.keys.get(at).cloned() {
            *this = KNOWN.with_borrow_mut(|known| known.step(this, at, key, false));
        }
    }

    fn insert(&mut self, at: usize, key: Text) {
        self.number = self.number.wrapping_add(number(&key));
        self.heads.insert(at, head(&key));
        self.keys.insert(at, key);
        self.put_places();
    }

    fn remove(&mut self, at: usize) {
        self.heads.remove(at);
        self.number = self.number.wrapping_sub(number(&self.keys.remove(at)));
        self.put_places();
    }

    /// Whether others may well have the same keys.
    fn is_common(&self) -> bool {
        self.keys.len() <= LARGEST && self.keys.iter().all(|key| key.len() <= LONGEST)
    }
}

thread_local! {
    static KNOWN: RefCell<Known> = const { RefCell::new(Known { shapes: Vec::new(), steps: Vec::new() }) };
}

/// A shape, a key that follows, and the shape that this makes.
type Step = (Arc<Shape>, Text, Arc<Shape>);
/// The shapes that were met last, each at the one place that its number allows.
struct Known {
    shapes: Vec<Option<Arc<Shape>>>,
    /// From a shape, with a key more or less, to a shape.
    steps: Vec<Option<Step>>,
}

impl Known {
    /// The shape with these keys that is remembered, or this one from now on.
    fn same(&mut self, shape: Shape) -> Arc<Shape> {
        if self.shapes.is_empty() {
            self.shapes.resize(SHAPES, None);
        }
        let Some(place) = self.shapes.get_mut(spread(shape.number) % SHAPES) else { return Arc::new(shape) };
        match place {
            Some(known) if known.number == shape.number && known.keys == shape.keys => Arc::clone(known),
            _ => Arc::clone(place.insert(Arc::new(shape))),
        }
    }

    /// The shape with a key more or less.
    fn step(&mut self, from: &Arc<Shape>, at: usize, key: Text, grows: bool) -> Arc<Shape> {
        if self.steps.is_empty() {
            self.steps.resize(STEPS, None);
        }
        let step = spread(from.number ^ number(&key).rotate_left(32) ^ u64::from(grows)) % STEPS;
        if let Some(Some((known, with, to))) = self.steps.get(step)
            && Arc::ptr_eq(known, from)
            && *with == key
            && (to.keys.len() > from.keys.len()) == grows
        {
            return Arc::clone(to);
        }
        let mut shape = Shape::clone(from);
        if grows {
            shape.insert(at, key.clone());
        } else {
            shape.remove(at);
        }
        if !shape.is_common() {
            return Arc::new(shape);
        }
        let to = self.same(shape);
        if let Some(place) = self.steps.get_mut(step) {
            *place = Some((Arc::clone(from), key, Arc::clone(&to)));
        }
        to
    }
}

/// A place in a table for a number of this kind.
fn spread(number: u64) -> usize {
    (number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as usize
}

fn number(key: &str) -> u64 {
    hash::of(&[key])
}

fn heads(keys: &[Text]) -> Vec<u64> {
    keys.iter().map(|key| head(key)).collect()
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

/// Whether two keys with the same first eight bytes are the same.
fn same_with_head(a: &str, b: &str) -> bool {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    a.len() == b.len()
        && match a.len() {
            0..=8 => true,
            9..=16 => a.last_chunk::<8>() == b.last_chunk::<8>(),
            _ => a == b,
        }
}

/// A key in [`json!`](crate::json!): as it stands in the code, or made there.
#[doc(hidden)]
#[derive(Debug)]
pub enum Name {
    /// As it stands in the code.
    Fixed(&'static str),
    /// Made when the document is.
    Made(Text),
}

impl From<Name> for Text {
    fn from(name: Name) -> Self {
        match name {
            Name::Fixed(name) => name.into(),
            Name::Made(name) => name,
        }
    }
}

/// A place in the code where maps of one shape are made.
#[doc(hidden)]
#[derive(Debug, Default)]
pub struct Site(OnceLock<Plan>);

#[derive(Debug)]
pub(super) struct Plan {
    names: Vec<&'static str>,
    /// Where the values of the keys in their order are.
    pub(super) order: Vec<usize>,
    pub(super) shape: Arc<Shape>,
}

impl Site {
    /// One where nothing was made yet.
    #[must_use]
    pub const fn new() -> Self {
        Self(OnceLock::new())
    }

    /// What is known about maps of these names; `None` when a name is not fixed, or given twice.
    pub(super) fn plan<'a>(&self, names: impl Iterator<Item = &'a Name> + Clone) -> Option<&Plan> {
        let fixed = names.map(|name| match name {
            Name::Fixed(name) => Some(*name),
            Name::Made(_) => None,
        });
        let plan = match self.0.get() {
            Some(plan) => plan,
            None => {
                let plan = Plan::new(fixed.clone().collect::<Option<_>>()?)?;
                self.0.get_or_init(|| plan)
            }
        };
        // The same place in the code has the same texts; that is cheap to see.
        let same = |(known, name): (&&'static str, Option<&'static str>)| name.is_some_and(|name| std::ptr::eq(*known, name));
        plan.names.iter().zip(fixed).all(same).then_some(plan)
    }
}

impl Plan {
    fn new(names: Vec<&'static str>) -> Option<Self> {
        let mut order: Vec<usize> = (0..names.len()).collect();
        order.sort_by_key(|at| names.get(*at));
        let keys: Vec<Text> = order.iter().filter_map(|at| names.get(*at)).map(|name| Text::from(*name)).collect();
        let once = keys.is_sorted_by(|a, b| a < b);
        once.then(|| Self { names, order, shape: Shape::of(keys) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(keys: &[&str]) -> Arc<Shape> {
        Shape::of(keys.iter().map(|key| Text::from(*key)).collect())
    }

    #[test]
    fn the_same_keys_are_held_once() {
        let (mut ab, abc) = (shape(&["a", "b"]), shape(&["a", "b", "c"]));
        assert!(Arc::ptr_eq(&abc, &shape(&["a", "b", "c"])));
        for _ in 0..2 {
            Shape::grow(&mut ab, 2, "c".into());
            assert!(Arc::ptr_eq(&ab, &abc));
            Shape::shrink(&mut ab, 2);
            assert!(Arc::ptr_eq(&ab, &shape(&["a", "b"])));
        }
    }

    #[test]
    fn many_and_long_keys_are_not_remembered() {
        let long = "x".repeat(LONGEST + 1);
        assert!(!Arc::ptr_eq(&shape(&[&long]), &shape(&[&long])));
        let mut grown = shape(&["a"]);
        Shape::grow(&mut grown, 1, long.as_str().into());
        assert_eq!(grown.keys(), ["a", &long]);
        for number in 0..100 {
            let key = format!("k{number:03}");
            let at = grown.find(&key).unwrap_err();
            Shape::grow(&mut grown, at, key.into());
        }
        // Nobody else holds it: it grew where it stands.
        assert_eq!((grown.keys().len(), Arc::strong_count(&grown)), (102, 1));
        assert!(grown.keys().is_sorted());
        while grown.keys().len() > 1 {
            Shape::shrink(&mut grown, 1);
        }
        assert!(Arc::ptr_eq(&grown, &shape(&["a"])));
    }

    #[test]
    fn every_key_is_found_and_no_other() {
        // Keys of every length, and such as differ at the end, in the middle or by a zero byte alone.
        let mut keys = vec![String::new(), "\0".to_owned(), "ab\0".to_owned(), "abcdefgh\0".to_owned()];
        keys.extend((1..30).map(|length| "abcdefghijklmnopqrstuvwxyzabcdef"[..length].to_owned()));
        keys.extend((0..20).map(|number| format!("abcdefgh{number}")).chain((0..20).map(|number| format!("abcdefgh{number:02}rstuvwxy"))));
        keys.sort();
        for count in [0, 1, 2, 3, 40, 41, keys.len()] {
            let (there, missing) = keys.split_at(count);
            let shape = Shape::of(there.iter().map(|key| Text::from(key.as_str())).collect());
            for (at, key) in there.iter().enumerate() {
                assert_eq!((shape.place(key), shape.find(key)), (Some(at), Ok(at)), "{key:?}");
            }
            for key in missing {
                assert_eq!((shape.place(key), shape.find(key)), (None, Err(count)), "{key:?}");
            }
        }
        let many: Vec<Text> = (0..1000).map(|number| format!("k{number:04}").into()).collect();
        let shape = Shape::of(many.clone());
        assert!(many.iter().enumerate().all(|(at, key)| shape.place(key) == Some(at)));
        assert_eq!(shape.place("k"), None);
    }

    #[test]
    fn more_shapes_than_there_is_room_for_are_told_apart() {
        for round in 0..2 {
            for number in 0..2 * SHAPES {
                let (first, second) = (format!("k{number}"), format!("l{}", number * 7));
                let mut grown = shape(&[&first]);
                Shape::grow(&mut grown, 1, second.as_str().into());
                assert_eq!(grown.keys(), [first.as_str(), second.as_str()], "{round}");
                assert_eq!((grown.find(&first), grown.find(&second), grown.find("m")), (Ok(0), Ok(1), Err(2)));
                assert_eq!((grown.place(&first), grown.place(&second), grown.place("m")), (Some(0), Some(1), None));
            }
        }
        KNOWN.with_borrow(|known| assert_eq!((known.shapes.len(), known.steps.len()), (SHAPES, STEPS)));
    }
}
