//! Lengths of time as people write them: `90s`, `1h30m`, `500ms`, `2d`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::clock::{Duration, Timestamp};
use super::{Error, Result};

/// The units, largest first, in milliseconds.
const UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// A length of time, to the millisecond.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Span {
    millis: u64,
}

impl Span {
    /// No time at all.
    pub const ZERO: Span = Span { millis: 0 };

    /// This many seconds.
    #[must_use]
    pub const fn from_secs(seconds: u64) -> Span {
        Span { millis: seconds.saturating_mul(1_000) }
    }

    /// This many milliseconds.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Span {
        Span { millis }
    }

    /// This many seconds, to the nearest millisecond; what is negative or no number is zero.
    #[must_use]
    pub fn from_secs_f64(seconds: f64) -> Span {
        // A float-to-integer cast saturates, and makes NaN zero.
        Span { millis: (seconds * 1_000.0).round() as u64 }
    }

    /// The time from one instant to a later one; zero when it is not later.
    #[must_use]
    pub fn between(from: Timestamp, to: Timestamp) -> Span {
        Span { millis: u64::try_from(to.as_millisecond().saturating_sub(from.as_millisecond())).unwrap_or(0) }
    }

    /// Reads `90s`, `1h30m`, `1.5h`, `500ms`, `2d`; larger units come first, each at most once.
    ///
    /// # Errors
    /// A usage error that shows the text and the form.
    pub fn parse(text: &str) -> Result<Span> {
        let wrong = || {
            let error = Error::usage(format!("`{text}` is no duration"));
            if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
                error.hint(format!("a duration has a unit: write \"{text}s\""))
            } else {
                error.hint("write numbers with units, largest first: `90s`, `1h30m`, `500ms`, `2d`")
            }
        };
        let mut rest = text.trim();
        if rest == "0" {
            return Ok(Span::ZERO);
        }
        if rest.is_empty() {
            return Err(wrong());
        }
        let (mut total, mut smallest) = (0_u64, u64::MAX);
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(wrong)?;
            let (number, after) = rest.split_at(digits);
            let letters = after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len());
            let (unit, after) = after.split_at(letters);
            let (_, size) = UNITS.into_iter().find(|(name, _)| *name == unit).ok_or_else(wrong)?;
            if size >= smallest {
                return Err(wrong());
            }
            smallest = size;
            total = amount(number, size).and_then(|millis| total.checked_add(millis)).ok_or_else(wrong)?;
            rest = after;
        }
        Ok(Span { millis: total })
    }

    /// As the standard library's type.
    #[must_use]
    pub const fn as_duration(self) -> Duration {
        Duration::from_millis(self.millis)
    }

    /// Whole milliseconds.
    #[must_use]
    pub const fn as_millis(self) -> u64 {
        self.millis
    }

    /// Seconds, with their fraction.
    #[must_use]
    pub fn as_secs_f64(self) -> f64 {
        self.as_duration().as_secs_f64()
    }

    /// Whether it is no time at all.
    #[must_use]
    pub const fn is_zero(self) -> bool {
        self.millis == 0
    }

    /// The sum; the longest span when it does not fit.
    #[must_use]
    pub const fn plus(self, other: Span) -> Span {
        Span { millis: self.millis.saturating_add(other.millis) }
    }

    /// The difference; zero when `other` is longer.
    #[must_use]
    pub const fn minus(self, other: Span) -> Span {
        Span { millis: self.millis.saturating_sub(other.millis) }
    }

    /// The instant this long after `at`; the last instant there is when it does not fit.
    #[must_use]
    pub fn after(self, at: Timestamp) -> Timestamp {
        super::clock::later(at, self.as_duration())
    }

    /// As precise as people want to hear it: seconds below a minute, ten seconds below ten minutes, minutes below a day, hours beyond.
    #[must_use]
    pub const fn rounded(self) -> Span {
        let step = match self.millis {
            0..1_000 => 1,
            1_000..60_000 => 1_000,
            60_000..600_000 => 10_000,
            600_000..86_400_000 => 60_000,
            _ => 3_600_000,
        };
        Span { millis: self.millis.saturating_add(step / 2) / step * step }
    }
}

/// A number with an optional fraction, in units of `size` milliseconds.
fn amount(number: &str, size: u64) -> Option<u64> {
    match number.split_once('.') {
        None => number.parse::<u64>().ok()?.checked_mul(size),
        Some((whole, part)) if !whole.is_empty() && !part.is_empty() && !part.contains('.') => {
            let fraction = format!("0.{part}").parse::<f64>().ok()?;
            whole.parse::<u64>().ok()?.checked_mul(size)?.checked_add((fraction * size as f64).round() as u64)
        }
        Some(_) => None,
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.millis == 0 {
            return f.write_str("0s");
        }
        let mut left = self.millis;
        for (unit, size) in UNITS {
            let count = left / size;
            left %= size;
            if count > 0 {
                write!(f, "{count}{unit}")?;
            }
        }
        Ok(())
    }
}

impl FromStr for Span {
    type Err = Error;
    fn from_str(text: &str) -> Result<Span> {
        Span::parse(text)
    }
}

impl TryFrom<String> for Span {
    type Error = Error;
    fn try_from(text: String) -> Result<Span> {
        Span::parse(&text)
    }
}

impl From<Span> for String {
    fn from(span: Span) -> String {
        span.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_people_write_and_prints_it_canonically() {
        for (text, millis, canonical) in [
            ("90s", 90_000, "1m30s"),
            ("1h30m", 5_400_000, "1h30m"),
            ("1.5h", 5_400_000, "1h30m"),
            ("500ms", 500, "500ms"),
            ("1s500ms", 1_500, "1s500ms"),
            ("2d", 172_800_000, "2d"),
            ("0", 0, "0s"),
            ("0s", 0, "0s"),
            (" 10m ", 600_000, "10m"),
        ] {
            let span = Span::parse(text).unwrap();
            assert_eq!(span.as_millis(), millis, "{text}");
            assert_eq!(span.to_string(), canonical, "{text}");
            assert_eq!(Span::parse(canonical).unwrap(), span, "{text}");
        }
    }

    #[test]
    fn refuses_what_is_ambiguous_or_wrong() {
        for text in ["", "90", "s", "1m1h", "1s1s", "-5s", "1 h", "1x", "1..5s", "5.s", ".5s", "99999999999999999999d"] {
            assert!(Span::parse(text).is_err(), "{text}");
        }
        assert_eq!(Span::parse("90").unwrap_err().hint.as_deref(), Some("a duration has a unit: write \"90s\""));
    }

    #[test]
    fn rounds_for_people() {
        for (text, rounded) in
            [("71s400ms", "1m10s"), ("8s700ms", "9s"), ("12m31s", "13m"), ("59s900ms", "1m"), ("3d5h40m", "3d6h"), ("12ms", "12ms")]
        {
            assert_eq!(Span::parse(text).unwrap().rounded().to_string(), rounded, "{text}");
        }
    }

    #[test]
    fn odd_seconds_are_zero_or_the_longest() {
        assert_eq!(Span::from_secs_f64(-1.0), Span::ZERO);
        assert_eq!(Span::from_secs_f64(f64::NAN), Span::ZERO);
        assert_eq!(Span::from_secs_f64(0.2504).as_millis(), 250);
        let late = Span::from_secs(u64::MAX).after(Timestamp::UNIX_EPOCH);
        assert_eq!(late, Timestamp::MAX);
        assert_eq!(Span::between(late, Timestamp::UNIX_EPOCH), Span::ZERO);
    }

    #[test]
    fn crosses_json_as_text() {
        let span = Span::from_secs(90);
        assert_eq!(serde_json::to_string(&span).unwrap(), "\"1m30s\"");
        assert_eq!(serde_json::from_str::<Span>("\"90s\"").unwrap(), span);
        assert!(serde_json::from_str::<Span>("\"soon\"").is_err());
    }
}
