//! Quantities such as `500m`, `2Gi` or `1e3`, exact down to 10⁻⁹.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::{Add, Neg, Sub};
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

const NANO: i128 = 1_000_000_000;

/// How a quantity was written, and so how it is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    DecimalSi,
    DecimalExponent,
    BinarySi,
}

/// An amount of a resource. Equality and order look at the amount, not at how it is written.
#[derive(Debug, Clone, Copy)]
pub struct Quantity {
    nano: i128,
    format: Format,
}

/// Why a text is not a quantity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QuantityError {
    /// It does not look like one.
    Malformed,
    /// The number is too large.
    OutOfRange,
}

impl fmt::Display for QuantityError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
            Self::OutOfRange => "the quantity is out of range",
        })
    }
}

impl std::error::Error for QuantityError {}

const DECIMAL: [(&str, i32); 10] =
    [("n", -9), ("u", -6), ("m", -3), ("", 0), ("k", 3), ("M", 6), ("G", 9), ("T", 12), ("P", 15), ("E", 18)];
const BINARY: [(&str, u32); 6] = [("Ki", 10), ("Mi", 20), ("Gi", 30), ("Ti", 40), ("Pi", 50), ("Ei", 60)];

impl Quantity {
    /// A whole number.
    #[must_use]
    pub fn from_int(value: i64) -> Self {
        Self { nano: i128::from(value) * NANO, format: Format::DecimalSi }
    }

    /// A number of thousandths, for example millicores.
    #[must_use]
    pub fn from_milli(value: i64) -> Self {
        Self { nano: i128::from(value) * (NANO / 1000), format: Format::DecimalSi }
    }

    /// The amount in thousandths, rounded up.
    #[must_use]
    pub fn milli(&self) -> i128 {
        ceil_div(self.nano, NANO / 1000)
    }

    /// The amount as a whole number, rounded up.
    #[must_use]
    pub fn value(&self) -> i128 {
        ceil_div(self.nano, NANO)
    }

    /// Whether the amount is zero.
    #[must_use]
    pub fn is_zero(&self) -> bool {
        self.nano == 0
    }

    /// The sum, `None` when it is out of range. It is written like `self`, or like `other` when `self` is zero.
    #[must_use]
    pub fn checked_add(self, other: Self) -> Option<Self> {
        let format = if self.nano == 0 { other.format } else { self.format };
        self.nano.checked_add(other.nano).map(|nano| Self { nano, format })
    }
}

fn ceil_div(value: i128, by: i128) -> i128 {
    value.div_euclid(by) + i128::from(value.rem_euclid(by) != 0)
}

impl FromStr for Quantity {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, QuantityError> {
        let (negative, rest) = match text.as_bytes().first() {
            Some(b'-') => (true, &text[1..]),
            Some(b'+') => (false, &text[1..]),
            _ => (false, text),
        };
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, suffix) = rest.split_at(end);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
            return Err(QuantityError::Malformed);
        }
        let (power, shift, format) = suffix_of(suffix)?;
        let nano = scaled(whole, fraction, power, shift)?;
        Ok(Self { nano: if negative { -nano } else { nano }, format })
    }
}

/// Power of ten, power of two and format of a suffix.
fn suffix_of(suffix: &str) -> Result<(i32, u32, Format), QuantityError> {
    if let Some((_, shift)) = BINARY.iter().find(|(name, _)| *name == suffix) {
        return Ok((0, *shift, Format::BinarySi));
    }
    if let Some((_, power)) = DECIMAL.iter().find(|(name, _)| *name == suffix) {
        return Ok((*power, 0, Format::DecimalSi));
    }
    let exponent = suffix.strip_prefix(['e', 'E']).ok_or(QuantityError::Malformed)?;
    let digits = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(QuantityError::Malformed);
    }
    let power = exponent.strip_prefix('+').unwrap_or(exponent).parse().map_err(|_| QuantityError::OutOfRange)?;
    Ok((power, 0, Format::DecimalExponent))
}

/// `whole.fraction · 10^power · 2^shift` in nanos, rounded up.
fn scaled(whole: &str, fraction: &str, power: i32, shift: u32) -> Result<i128, QuantityError> {
    let fraction = fraction.trim_end_matches('0');
    let digits = format!("{whole}{fraction}");
    let digits = digits.trim_start_matches('0');
    if digits.is_empty() {
        return Ok(0);
    }
    let exponent = i64::from(power) + 9 - i64::try_from(fraction.len()).map_err(|_| QuantityError::OutOfRange)?;
    if exponent >= 0 {
        let number: i128 = digits.parse().map_err(|_| QuantityError::OutOfRange)?;
        let factor = u32::try_from(exponent).ok().and_then(|e| 10_i128.checked_pow(e));
        let factor = factor.and_then(|f| f.checked_mul(1 << shift)).ok_or(QuantityError::OutOfRange)?;
        return number.checked_mul(factor).ok_or(QuantityError::OutOfRange);
    }
    // More decimals than fit: digits beyond a nano of the smallest unit only decide whether to round up.
    let drop = usize::try_from(-exponent).map_err(|_| QuantityError::OutOfRange)?;
    let keep = digits.len().saturating_sub(drop.saturating_sub(30).min(digits.len()));
    let (kept, cut) = digits.split_at(keep);
    let rest = drop - cut.len();
    let number: i128 = if kept.is_empty() { 0 } else { kept.parse().map_err(|_| QuantityError::OutOfRange)? };
    let number = number.checked_mul(1 << shift).ok_or(QuantityError::OutOfRange)?;
    let inexact = cut.bytes().any(|b| b != b'0');
    match u32::try_from(rest).ok().and_then(|e| 10_i128.checked_pow(e)) {
        Some(divisor) => Ok(number / divisor + i128::from(number % divisor != 0 || inexact)),
        None => Ok(1),
    }
}

impl fmt::Display for Quantity {
    /// The canonical form: no fraction, the largest suffix that fits. Binary quantities are rounded up to whole units, and
    /// below 1024 they are printed as decimals, as the server does.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.nano == 0 {
            return f.write_str("0");
        }
        let (sign, nano) = (if self.nano < 0 { "-" } else { "" }, self.nano.abs());
        if self.format == Format::BinarySi && nano >= 1024 * NANO {
            let whole = ceil_div(nano, NANO);
            let fits = BINARY.iter().rev().find(|(_, shift)| whole % (1 << shift) == 0 && whole >= 1 << shift);
            return match fits {
                Some((suffix, shift)) => write!(f, "{sign}{}{suffix}", whole >> shift),
                None => write!(f, "{sign}{whole}"),
            };
        }
        let fits = DECIMAL.iter().rev().find(|(_, power)| nano % 10_i128.pow((power + 9).unsigned_abs()) == 0);
        let (suffix, power) = fits.copied().unwrap_or(("n", -9));
        let number = nano / 10_i128.pow((power + 9).unsigned_abs());
        match self.format {
            Format::DecimalExponent if power != 0 => write!(f, "{sign}{number}e{power}"),
            Format::DecimalExponent => write!(f, "{sign}{number}"),
            Format::DecimalSi | Format::BinarySi => write!(f, "{sign}{number}{suffix}"),
        }
    }
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Self) -> bool {
        self.nano == other.nano
    }
}

impl Eq for Quantity {}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Quantity {
    fn cmp(&self, other: &Self) -> Ordering {
        self.nano.cmp(&other.nano)
    }
}

impl Hash for Quantity {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.nano.hash(state);
    }
}

impl Add for Quantity {
    type Output = Self;

    /// The sum; the largest amount when it is out of range.
    fn add(self, other: Self) -> Self {
        self.checked_add(other).unwrap_or(Self { nano: i128::MAX, format: self.format })
    }
}

impl Sub for Quantity {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        self + -other
    }
}

impl Neg for Quantity {
    type Output = Self;

    fn neg(self) -> Self {
        Self { nano: -self.nano, format: self.format }
    }
}

impl Serialize for Quantity {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Quantity {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn q(text: &str) -> Quantity {
        text.parse().unwrap()
    }

    #[test]
    fn amounts_are_exact() {
        for (a, b) in [
            ("1", "1000m"),
            ("1k", "1000"),
            ("1Ki", "1024"),
            ("0.5Gi", "512Mi"),
            ("1e3", "1k"),
            ("1.5e-3", "1500u"),
            ("-2M", "-2000k"),
            ("+7", "7.000"),
            (".5", "500m"),
            ("5.", "5"),
            ("1E", "1e18"),
            ("0.0000000001", "1n"),
            ("9007199254740993", "9007199254740.993k"),
        ] {
            assert_eq!(q(a), q(b), "{a} {b}");
        }
        assert!(q("999m") < q("1"));
        assert!(q("1Gi") > q("1G"));
        assert_eq!(q("1500m").value(), 2);
        assert_eq!(q("1u").milli(), 1);
        assert_eq!(q("-1500m").value(), -1);
    }

    #[test]
    fn printing_is_canonical() {
        for (given, printed) in [
            ("1024Ki", "1Mi"),
            ("1.5Gi", "1536Mi"),
            ("1500m", "1500m"),
            ("1000m", "1"),
            ("2000", "2k"),
            ("0.1", "100m"),
            ("1e3", "1e3"),
            ("12e6", "12e6"),
            ("0Gi", "0"),
            ("-1.5", "-1500m"),
            ("100", "100"),
            ("0.5Ki", "512"),
            ("1025Ki", "1025Ki"),
        ] {
            assert_eq!(q(given).to_string(), printed, "{given}");
        }
        assert_eq!((q("1Gi") + q("512Mi")).to_string(), "1536Mi");
        assert_eq!((q("1") - q("300m")).to_string(), "700m");
    }

    proptest::proptest! {
        #[test]
        fn order_follows_the_amounts(a in -1_000_000_i64..1_000_000, b in -1_000_000_i64..1_000_000, i in 0..16_usize, j in 0..16_usize) {
            let all: Vec<(&str, f64)> = DECIMAL.iter().map(|(s, p)| (*s, 10_f64.powi(*p)))
                .chain(BINARY.iter().map(|(s, p)| (*s, 2_f64.powi(*p as i32)))).collect();
            let (x, y) = (q(&format!("{a}{}", all[i].0)), q(&format!("{b}{}", all[j].0)));
            let (f, g) = (a as f64 * all[i].1, b as f64 * all[j].1);
            // Floats this far apart cannot have been brought together by rounding.
            if (f - g).abs() > 1e-6 * f.abs().max(g.abs()) {
                proptest::prop_assert_eq!(x.cmp(&y), f.partial_cmp(&g).unwrap());
            }
            proptest::prop_assert_eq!(x + y - y, x);
        }

        #[test]
        fn printing_and_reading_are_inverse(a: i32, i in 0..10_usize) {
            let x = Quantity { nano: i128::from(a) * 10_i128.pow((DECIMAL[i].1 + 9).unsigned_abs()), format: Format::DecimalSi };
            proptest::prop_assert_eq!(q(&x.to_string()), x);
            let e = Quantity { format: Format::DecimalExponent, ..x };
            proptest::prop_assert_eq!(q(&e.to_string()), x);
            let whole = Quantity { nano: i128::from(a) * NANO, format: Format::BinarySi };
            proptest::prop_assert_eq!(q(&whole.to_string()), whole);
        }

        #[test]
        fn any_text_is_read_or_refused(text in "[-+.0-9eEKMGTPEimunk]{0,60}|\\PC{0,8}") {
            if let Ok(x) = text.parse::<Quantity>() {
                proptest::prop_assert_eq!(q(&x.to_string()).value(), x.value());
            }
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["", "x", "1x", "1.2.3", "1KiB", "1K", "--1", "1e", "1e+", "1 Gi", "Gi", "1ee3", "0x10", "1e1.5", "."] {
            assert_eq!(text.parse::<Quantity>(), Err(QuantityError::Malformed), "{text}");
        }
        assert_eq!("1e40".parse::<Quantity>(), Err(QuantityError::OutOfRange));
        assert_eq!("1e99999999999".parse::<Quantity>(), Err(QuantityError::OutOfRange));
    }
}
