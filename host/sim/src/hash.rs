//! A quick number for keys in memory. It depends on nothing but what is hashed, and nobody iterates in its order.

use std::hash::{BuildHasherDefault, Hasher};

/// What maps and sets of the engine's work are built with.
pub(crate) type Quick = BuildHasherDefault<Mix>;

/// Mixes eight bytes at a time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mix(u64);

impl Default for Mix {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Mix {
    fn mix(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(23) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

impl Hasher for Mix {
    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        self.mix(bytes.len() as u64);
        words.iter().for_each(|word| self.mix(u64::from_le_bytes(*word)));
        if !rest.is_empty() {
            let mut last = [0; 8];
            last.iter_mut().zip(rest).for_each(|(place, byte)| *place = *byte);
            self.mix(u64::from_le_bytes(last));
        }
    }

    fn write_u8(&mut self, byte: u8) {
        self.mix(u64::from(byte));
    }

    fn write_isize(&mut self, number: isize) {
        self.mix(number as u64);
    }

    fn finish(&self) -> u64 {
        // Tables look at the lowest and at the highest bits; a product is well mixed in the highest alone.
        self.0 ^ (self.0 >> 32)
    }
}

/// The number of these texts, one after another.
pub(crate) fn of(texts: &[&str]) -> u64 {
    let mut mix = Mix::default();
    texts.iter().for_each(|text| mix.write(text.as_bytes()));
    mix.finish()
}

#[cfg(test)]
mod tests {
    use super::of;

    #[test]
    fn what_differs_has_another_number() {
        let texts = [["", "ab"], ["ab", ""], ["a", "b"], ["ab", "\0"], ["abcdefgh", "ij"], ["abcdefghij", ""], ["abcdefghi", "j"]];
        let numbers: std::collections::BTreeSet<u64> = texts.iter().map(|texts| of(texts)).collect();
        assert_eq!(numbers.len(), texts.len());
        assert_eq!(of(&["a", "b"]), of(&["a", "b"]));
    }
}
