//! Versions as Kubernetes, its vendors and image tags write them.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{Error, Result};

/// A version: `v1.31.2`, `1.31`, `v1.31.0-rc.1`, `v1.29.5-eks-a5ec690`, `v1.30.1-gke.100`, `v1.31.2+k3s1`.
///
/// Ordered by its numbers, then a pre-release (`alpha`, `beta`, `rc` with a number) before its release. What vendors append
/// takes no part in the order or in equality, nor does a leading `v`; a missing patch counts as 0.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Version {
    /// The first number.
    pub major: u64,
    /// The second number.
    pub minor: u64,
    /// The third number; versions of two parts have none.
    pub patch: Option<u64>,
    /// An upstream pre-release without its dash: `rc.1`.
    pub pre: Option<String>,
    /// What else is appended, with its separator: `-gke.100`, `+k3s1`.
    pub suffix: Option<String>,
    text: String,
}

impl Version {
    /// Reads a version; blanks around it are ignored.
    ///
    /// # Errors
    /// A usage error that shows the text and the form.
    pub fn parse(text: &str) -> Result<Version> {
        let given = text.trim();
        read(given).ok_or_else(|| {
            let error = Error::usage(format!("`{text}` is no version"));
            error.hint("a version has two or three numbers: `v1.9.3`, `1.31`, `v1.31.0-rc.1`, `v1.31.2+k3s1`")
        })
    }

    /// The text as it was given, without blanks around it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether both have the same first two numbers.
    #[must_use]
    pub fn same_minor(&self, other: &Version) -> bool {
        (self.major, self.minor) == (other.major, other.minor)
    }

    /// Whether this is a later patch of the same minor release as `other`.
    #[must_use]
    pub fn is_patch_of(&self, other: &Version) -> bool {
        self.same_minor(other) && self > other
    }
}

/// `^v?MAJOR\.MINOR\+?(\.PATCH)?(-SUFFIX)?(\+BUILD)?$`
fn read(text: &str) -> Option<Version> {
    let rest = text.strip_prefix('v').unwrap_or(text);
    let (major, rest) = number(rest)?;
    let (minor, rest) = number(rest.strip_prefix('.')?)?;
    // The `minor` field of `/version` reads `27+` on vendor builds.
    let rest = match rest.strip_prefix('+') {
        Some(after) if after.is_empty() || after.starts_with(['.', '-']) => after,
        _ => rest,
    };
    let (patch, rest) = match rest.strip_prefix('.') {
        Some(after) => number(after).map(|(patch, rest)| (Some(patch), rest))?,
        None => (None, rest),
    };
    let (dashed, build) = match rest.find('+') {
        Some(at) => rest.split_at(at),
        None => (rest, ""),
    };
    let dashed = if dashed.is_empty() { None } else { Some(dashed.strip_prefix('-').filter(|word| is_suffix(word))?) };
    if !build.is_empty() && !is_suffix(build.strip_prefix('+')?) {
        return None;
    }
    let pre = dashed.filter(|word| is_pre_release(word)).map(str::to_owned);
    let vendor = match (&pre, dashed) {
        (None, Some(word)) => format!("-{word}{build}"),
        _ => build.to_owned(),
    };
    let suffix = Some(vendor).filter(|vendor| !vendor.is_empty());
    Some(Version { major, minor, patch, pre, suffix, text: text.to_owned() })
}

fn number(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    digits.parse().ok().map(|number| (number, rest))
}

fn is_suffix(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '+' | '~'))
}

/// `^(alpha|beta|rc)\.\d+(\.|$)`: everything else after a dash is a vendor's.
fn is_pre_release(text: &str) -> bool {
    let mut parts = text.split('.');
    matches!(parts.next(), Some("alpha" | "beta" | "rc"))
        && parts.next().is_some_and(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Pre-releases by their parts: numbers by size, words by text, numbers before words.
fn compare_pre(a: &str, b: &str) -> Ordering {
    let (mut left, mut right) = (a.split('.'), b.split('.'));
    loop {
        let order = match (left.next(), right.next()) {
            (None, None) => return Ordering::Equal,
            (None, Some(_)) => return Ordering::Less,
            (Some(_), None) => return Ordering::Greater,
            (Some(a), Some(b)) => match (a.parse::<u64>(), b.parse::<u64>()) {
                (Ok(a), Ok(b)) => a.cmp(&b),
                (Ok(_), Err(_)) => Ordering::Less,
                (Err(_), Ok(_)) => Ordering::Greater,
                (Err(_), Err(_)) => a.cmp(b),
            },
        };
        if order != Ordering::Equal {
            return order;
        }
    }
}

impl Ord for Version {
    fn cmp(&self, other: &Self) -> Ordering {
        let numbers = |v: &Version| (v.major, v.minor, v.patch.unwrap_or(0));
        numbers(self).cmp(&numbers(other)).then_with(|| match (&self.pre, &other.pre) {
            (None, None) => Ordering::Equal,
            (None, Some(_)) => Ordering::Greater,
            (Some(_), None) => Ordering::Less,
            (Some(a), Some(b)) => compare_pre(a, b),
        })
    }
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Version {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Version {}

impl Hash for Version {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.major, self.minor, self.patch.unwrap_or(0)).hash(state);
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

impl FromStr for Version {
    type Err = Error;
    fn from_str(text: &str) -> Result<Version> {
        Version::parse(text)
    }
}

impl TryFrom<String> for Version {
    type Error = Error;
    fn try_from(text: String) -> Result<Version> {
        Version::parse(&text)
    }
}

impl From<Version> for String {
    fn from(version: Version) -> String {
        version.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(text: &str) -> Version {
        Version::parse(text).unwrap()
    }

    #[test]
    fn reads_the_forms_seen_in_the_field() {
        for (text, numbers, pre, suffix) in [
            ("v1.9.3", (1, 9, Some(3)), None, None),
            ("1.31", (1, 31, None), None, None),
            ("1.27+", (1, 27, None), None, None),
            ("1.27+.3-rc.1", (1, 27, Some(3)), Some("rc.1"), None),
            ("v1.31.0-rc.1", (1, 31, Some(0)), Some("rc.1"), None),
            ("v1.31.0-alpha.2.45+abcdef", (1, 31, Some(0)), Some("alpha.2.45"), Some("+abcdef")),
            ("v1.29.5-eks-a5ec690", (1, 29, Some(5)), None, Some("-eks-a5ec690")),
            ("v1.30.1-gke.100", (1, 30, Some(1)), None, Some("-gke.100")),
            ("v1.31.2+k3s1", (1, 31, Some(2)), None, Some("+k3s1")),
            ("1.28.4-00", (1, 28, Some(4)), None, Some("-00")),
            ("v1.20.4-aliyun.1", (1, 20, Some(4)), None, Some("-aliyun.1")),
            ("1.2.3-rc1", (1, 2, Some(3)), None, Some("-rc1")),
        ] {
            let read = version(text);
            assert_eq!((read.major, read.minor, read.patch), numbers, "{text}");
            assert_eq!(read.pre.as_deref(), pre, "{text}");
            assert_eq!(read.suffix.as_deref(), suffix, "{text}");
            assert_eq!(read.to_string(), text);
        }
        assert_eq!(version(" v1.2.3\n").to_string(), "v1.2.3");
    }

    #[test]
    fn refuses_what_is_no_version() {
        for text in
            ["", "v", "latest", "1", "v1", "1.2.3.4", "1.2.", "1.2.3-", "1.2.3+", "v1.x", "vv1.2", "1.2.3 4", "99999999999999999999.1"]
        {
            assert!(Version::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn orders_by_numbers_then_pre_release() {
        let sorted = ["v1.9.9", "1.10.0-alpha.1", "1.10.0-alpha.10", "1.10.0-beta.0", "1.10.0-rc.1", "1.10.0", "1.10.1", "2.0"];
        for pair in sorted.windows(2) {
            assert!(version(pair[0]) < version(pair[1]), "{} < {}", pair[0], pair[1]);
        }
        assert_eq!(version("v1.31.2+k3s1"), version("1.31.2-gke.7"));
        assert_eq!(version("1.31"), version("v1.31.0"));
        assert_ne!(version("1.10"), version("1.1"));
    }

    #[test]
    fn a_patch_is_later_in_the_same_minor() {
        assert!(version("v1.9.4").is_patch_of(&version("v1.9.3")));
        assert!(!version("v1.9.3").is_patch_of(&version("v1.9.3")));
        assert!(!version("v1.9.2").is_patch_of(&version("v1.9.3")));
        assert!(!version("v1.10.0").is_patch_of(&version("v1.9.3")));
        assert!(!version("v2.9.4").is_patch_of(&version("v1.9.3")));
        assert!(version("1.9").same_minor(&version("v1.9.3")));
    }
}
