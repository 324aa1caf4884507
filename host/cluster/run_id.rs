//! The name of a run: a ULID, so that names sort by time.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use ulid::Ulid;

use crate::base::{Error, Timestamp};

/// The id of one run, in every write's `lockgate.dev/op`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunId(Ulid);

impl RunId {
    /// A fresh id: the time of the machine and its randomness.
    #[must_use]
    pub fn generate() -> Self {
        RunId(Ulid::generate())
    }

    /// The id of a simulated run: the same for the same virtual time and seed.
    #[must_use]
    pub fn simulated(at: Timestamp, seed: u64) -> Self {
        let milliseconds = u64::try_from(at.as_millisecond()).unwrap_or_default();
        // Two rounds of SplitMix64 give the 80 random bits.
        let mix = |step: u64| {
            let mut z = seed.wrapping_add(step.wrapping_mul(0x9e37_79b9_7f4a_7c15));
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^ (z >> 31)
        };
        RunId(Ulid::from_parts(milliseconds, (u128::from(mix(1)) << 64) | u128::from(mix(2))))
    }
}

impl RunId {
    /// The number of that place in the run's own sequence of random numbers.
    #[must_use]
    pub fn draw(self, place: u64) -> u64 {
        let id = u128::from(self.0);
        // The low half is random, the high half mostly time. SplitMix64 as above.
        let mut z = ((id >> 64) as u64 ^ id as u64).wrapping_add(place.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for RunId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        text.parse().map(RunId).map_err(|error| Error::usage(format!("`{text}` is no run id")).cause(error.to_string()))
    }
}

impl Serialize for RunId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for RunId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn simulated_ids_depend_on_time_and_seed_only() {
        let at: Timestamp = "2001-02-03T04:05:06Z".parse().unwrap();
        let id = RunId::simulated(at, 1);
        assert_eq!(id, RunId::simulated(at, 1));
        assert_ne!(id, RunId::simulated(at, 2));
        assert_eq!(id.to_string().len(), 26);
        assert_eq!(id.to_string().parse::<RunId>().unwrap(), id);
        let later: Timestamp = "2001-02-03T04:05:07Z".parse().unwrap();
        assert!(RunId::simulated(later, 0) > id, "ids sort by time");
        assert_ne!(RunId::generate(), RunId::generate());
        assert!("nonsense".parse::<RunId>().is_err());
    }
}
