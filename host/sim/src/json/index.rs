//! Parts by key or place.

use super::{Map, NULL, Text, Value};

/// A key of a map or a place in an array.
pub trait Index {
    /// The part, if it is there.
    fn of<'a>(&self, value: &'a Value) -> Option<&'a Value>;

    /// The part to be changed, if it is there.
    fn of_mut<'a>(&self, value: &'a mut Value) -> Option<&'a mut Value>;

    /// The part to be changed, made if it can be.
    fn make<'a>(&self, value: &'a mut Value) -> Option<&'a mut Value>;
}

impl Index for str {
    fn of<'a>(&self, value: &'a Value) -> Option<&'a Value> {
        value.as_object()?.get(self)
    }

    fn of_mut<'a>(&self, value: &'a mut Value) -> Option<&'a mut Value> {
        value.as_object_mut()?.get_mut(self)
    }

    fn make<'a>(&self, value: &'a mut Value) -> Option<&'a mut Value> {
        if value.is_null() {
            *value = Value::Object(Map::new());
        }
        Some(value.as_object_mut()?.place(self))
    }
}

impl Index for usize {
    fn of<'a>(&self, value: &'a Value) -> Option<&'a Value> {
        value.as_array()?.get(*self)
    }

    fn of_mut<'a>(&self, value: &'a mut Value) -> Option<&'a mut Value> {
        value.as_array_mut()?.get_mut(*self)
    }

    fn make<'a>(&self, value: &'a mut Value) -> Option<&'a mut Value> {
        self.of_mut(value)
    }
}

macro_rules! as_text {
    ($($kind:ty),*) => {$(
        impl Index for $kind {
            fn of<'a>(&self, value: &'a Value) -> Option<&'a Value> {
                self.as_str().of(value)
            }

            fn of_mut<'a>(&self, value: &'a mut Value) -> Option<&'a mut Value> {
                self.as_str().of_mut(value)
            }

            fn make<'a>(&self, value: &'a mut Value) -> Option<&'a mut Value> {
                self.as_str().make(value)
            }
        }
    )*};
}

as_text!(String, Text);

impl<T: Index + ?Sized> Index for &T {
    fn of<'a>(&self, value: &'a Value) -> Option<&'a Value> {
        (**self).of(value)
    }

    fn of_mut<'a>(&self, value: &'a mut Value) -> Option<&'a mut Value> {
        (**self).of_mut(value)
    }

    fn make<'a>(&self, value: &'a mut Value) -> Option<&'a mut Value> {
        (**self).make(value)
    }
}

/// `null` for what is not there.
impl<I: Index> std::ops::Index<I> for Value {
    type Output = Value;

    fn index(&self, index: I) -> &Value {
        index.of(self).unwrap_or(&NULL)
    }
}

/// Makes members of maps that are not there.
///
/// # Panics
/// On a key of something that is no map, and on a place that an array does not have: for tests and for documents whose
/// shape was checked.
impl<I: Index> std::ops::IndexMut<I> for Value {
    fn index_mut(&mut self, index: I) -> &mut Value {
        match index.make(self) {
            Some(value) => value,
            None => no_such_part(),
        }
    }
}

#[cold]
#[expect(clippy::panic, reason = "as an index out of bounds does; nothing that input decides is written this way")]
fn no_such_part() -> ! {
    panic!("no such part in this JSON value")
}
