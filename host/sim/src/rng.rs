//! The only source of randomness: SplitMix64, seeded by the user.

use crate::json::Text;

/// Characters of generated name suffixes: no vowels and no characters that look alike, as on a real server.
const SUFFIX: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";

/// A seeded generator. Equal seeds give equal sequences on every machine.
#[derive(Debug, Clone)]
pub struct Rng(u64);

impl Rng {
    /// A generator for this seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number in `0..bound`; 0 when `bound` is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        // Multiply-shift instead of modulo: no division, and the bias is below 2^-32 for every bound used here.
        ((u128::from(self.next_u64()) * u128::from(bound)) >> 64) as u64
    }

    /// A random name suffix of `length` characters, as the server appends to `generateName`.
    pub fn suffix(&mut self, length: usize) -> String {
        (0..length).map(|_| char::from(SUFFIX[self.below(SUFFIX.len() as u64) as usize])).collect()
    }

    /// A random UUID, version 4.
    pub fn uuid(&mut self) -> Text {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let high = (self.next_u64() & 0xffff_ffff_ffff_0fff) | 0x4000;
        let low = (self.next_u64() & 0x3fff_ffff_ffff_ffff) | 0x8000_0000_0000_0000;
        let both = u128::from(high) << 64 | u128::from(low);
        let mut text = [b'-'; 36];
        let digits = text.iter_mut().enumerate().filter(|(at, _)| !matches!(at, 8 | 13 | 18 | 23));
        for (place, (_, digit)) in (0..32).rev().zip(digits) {
            *digit = DIGITS[(both >> (4 * place)) as usize & 15];
        }
        std::str::from_utf8(&text).unwrap_or_default().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_seeds_give_equal_sequences() {
        let (mut a, mut b, mut c) = (Rng::new(7), Rng::new(7), Rng::new(8));
        let first: Vec<u64> = (0..5).map(|_| a.next_u64()).collect();
        assert_eq!(first, (0..5).map(|_| b.next_u64()).collect::<Vec<_>>());
        assert_ne!(first, (0..5).map(|_| c.next_u64()).collect::<Vec<_>>());
        // The published first output of SplitMix64 for seed 0.
        assert_eq!(Rng::new(0).next_u64(), 0xe220_a839_7b1d_cdaf);
    }

    #[test]
    fn names_and_ids_have_their_shape() {
        let mut rng = Rng::new(1);
        let suffix = rng.suffix(5);
        assert_eq!(suffix.len(), 5);
        assert!(suffix.bytes().all(|b| SUFFIX.contains(&b)), "{suffix}");
        let uuid = rng.uuid();
        assert_eq!(uuid.len(), 36);
        assert!(uuid.char_indices().all(|(at, c)| if [8, 13, 18, 23].contains(&at) { c == '-' } else { c.is_ascii_hexdigit() }), "{uuid}");
        assert_eq!(&uuid[14..15], "4");
        assert!("89ab".contains(&uuid[19..20]), "{uuid}");
        assert!((0..1000).all(|_| rng.below(3) < 3));
    }
}
