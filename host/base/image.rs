//! Image references, by the grammar of the distribution project (`reference.Parse`).

use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{Error, Result, Version};

/// An image reference: `registry.example/team/cni:v1.9.3@sha256:…`. Equal when its text is equal.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Image {
    /// Host and port, when the text names one.
    pub registry: Option<String>,
    /// The path, without registry, tag and digest.
    pub repository: String,
    /// The tag, when there is one.
    pub tag: Option<String>,
    /// The digest with its algorithm, when there is one.
    pub digest: Option<String>,
    text: String,
}

impl Image {
    /// Reads a reference.
    ///
    /// # Errors
    /// A usage error that names the part that is wrong.
    pub fn parse(text: &str) -> Result<Image> {
        let wrong = |why: String| Error::usage(format!("`{text}` is no image: {why}"));
        if text.is_empty() {
            return Err(wrong("it is empty".to_owned()));
        }
        if text.contains(char::is_whitespace) {
            return Err(wrong("it contains a blank".to_owned()));
        }
        if let Some((scheme, rest)) = text.split_once("://") {
            return Err(wrong(format!("it begins with `{scheme}://`")).hint(format!("write `{rest}`")));
        }
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (rest, Some(checked_digest(digest).map_err(wrong)?)),
            None => (text, None),
        };
        let name_end = rest.rfind('/').map_or(0, |slash| slash + 1);
        let (name, tag) = match rest[name_end..].find(':') {
            Some(colon) => (&rest[..name_end + colon], Some(checked_tag(&rest[name_end + colon + 1..]).map_err(wrong)?)),
            None => (rest, None),
        };
        let (registry, repository) = match name.split_once('/') {
            Some((first, path)) if is_registry(first) => (Some(checked_registry(first).map_err(wrong)?), path),
            _ => (None, name),
        };
        check_repository(repository).map_err(wrong)?;
        Ok(Image { registry, repository: repository.to_owned(), tag, digest, text: text.to_owned() })
    }

    /// The text as it was given.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The version that the tag says; `None` without a tag, or when the tag is no version.
    #[must_use]
    pub fn version(&self) -> Option<Version> {
        self.tag.as_deref().and_then(|tag| Version::parse(tag).ok())
    }

    /// Whether both come from the same registry and repository.
    #[must_use]
    pub fn same_repository(&self, other: &Image) -> bool {
        self.registry == other.registry && self.repository == other.repository
    }

    /// Tag and digest as people say them, or the whole text when there is neither.
    #[must_use]
    pub fn short(&self) -> &str {
        match (&self.tag, &self.digest) {
            (Some(tag), None) => tag,
            (_, Some(digest)) => digest,
            (None, None) => &self.text,
        }
    }
}

/// As the grammar has it: the first part is a host when it has a dot or a port, is `localhost`, or has capitals.
fn is_registry(first: &str) -> bool {
    first.contains(['.', ':', '[']) || first == "localhost" || first.contains(|c: char| c.is_ascii_uppercase())
}

fn checked_registry(text: &str) -> Result<String, String> {
    let bad = || format!("`{text}` is no registry");
    let (host, port) = match (text.rfind(':'), text.ends_with(']')) {
        (Some(at), false) => (&text[..at], Some(&text[at + 1..])),
        _ => (text, None),
    };
    if port.is_some_and(|port| port.is_empty() || port.parse::<u16>().is_err()) {
        return Err(bad());
    }
    let host_good = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => host.split('.').all(|label| {
            !label.is_empty()
                && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
                && !label.starts_with('-')
                && !label.ends_with('-')
        }),
    };
    if host_good { Ok(text.to_owned()) } else { Err(bad()) }
}

fn check_repository(path: &str) -> Result<(), String> {
    if path.is_empty() {
        return Err("it has no repository".to_owned());
    }
    if path.len() > 255 {
        return Err("its repository is longer than 255 characters".to_owned());
    }
    if path.contains(|c: char| c.is_ascii_uppercase()) {
        return Err(format!("the repository `{path}` has capital letters"));
    }
    for part in path.split('/') {
        if !is_path_part(part) {
            let shown = if part.is_empty() { "an empty part".to_owned() } else { format!("the part `{part}`") };
            return Err(format!("the repository `{path}` has {shown}"));
        }
    }
    Ok(())
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`
fn is_path_part(part: &str) -> bool {
    let is_word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    if !part.starts_with(is_word) || !part.ends_with(is_word) {
        return false;
    }
    let mut between = part.split(is_word).filter(|separator| !separator.is_empty());
    between.all(|separator| matches!(separator, "." | "_" | "__") || separator.bytes().all(|byte| byte == b'-'))
}

fn checked_tag(tag: &str) -> Result<String, String> {
    if tag.is_empty() {
        return Err("its tag is empty".to_owned());
    }
    if tag.len() > 128 {
        return Err("its tag is longer than 128 characters".to_owned());
    }
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    if !tag.chars().all(good) || tag.starts_with(['.', '-']) {
        return Err(format!("`{tag}` is no tag"));
    }
    Ok(tag.to_owned())
}

fn checked_digest(digest: &str) -> Result<String, String> {
    let good = digest.split_once(':').is_some_and(|(algorithm, hex)| {
        algorithm.starts_with(|c: char| c.is_ascii_alphabetic())
            && algorithm.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '.' | '_' | '-'))
            && hex.chars().all(|c| c.is_ascii_hexdigit() && !c.is_ascii_uppercase())
            && match algorithm {
                "sha256" => hex.len() == 64,
                "sha512" => hex.len() == 128,
                _ => hex.len() >= 32,
            }
    });
    if good { Ok(digest.to_owned()) } else { Err(format!("`{digest}` is no digest")) }
}

impl PartialEq for Image {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Image {}

impl Hash for Image {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}

impl fmt::Display for Image {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

impl FromStr for Image {
    type Err = Error;
    fn from_str(text: &str) -> Result<Image> {
        Image::parse(text)
    }
}

impl TryFrom<String> for Image {
    type Error = Error;
    fn try_from(text: String) -> Result<Image> {
        Image::parse(&text)
    }
}

impl From<Image> for String {
    fn from(image: Image) -> String {
        image.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Parts<'a> = (Option<&'a str>, &'a str, Option<&'a str>, Option<&'a str>);

    #[test]
    fn reads_the_parts() {
        let digest = format!("sha256:{}", "0a".repeat(32));
        let both = format!("web:v1@{digest}");
        let cases: [(&str, Parts<'_>); 8] = [
            ("web", (None, "web", None, None)),
            ("library/web:1.2", (None, "library/web", Some("1.2"), None)),
            ("registry.example/a/b:v1.9.3", (Some("registry.example"), "a/b", Some("v1.9.3"), None)),
            ("localhost/web", (Some("localhost"), "web", None, None)),
            ("localhost:5000/web", (Some("localhost:5000"), "web", None, None)),
            ("10.0.0.1:5000/a__b/c--d:latest", (Some("10.0.0.1:5000"), "a__b/c--d", Some("latest"), None)),
            ("[2001:db8::1]:5000/web", (Some("[2001:db8::1]:5000"), "web", None, None)),
            (&both, (None, "web", Some("v1"), Some(&digest))),
        ];
        for (text, parts) in cases {
            let image = Image::parse(text).unwrap();
            let read = (image.registry.as_deref(), image.repository.as_str(), image.tag.as_deref(), image.digest.as_deref());
            assert_eq!(read, parts, "{text}");
            assert_eq!(image.to_string(), text);
        }
    }

    #[test]
    fn says_which_part_is_wrong() {
        for (text, message) in [
            ("", "it is empty"),
            ("my web", "it contains a blank"),
            ("https://registry.example/web", "it begins with `https://`"),
            ("Web", "the repository `Web` has capital letters"),
            ("registry.example/Team/web", "the repository `Team/web` has capital letters"),
            ("web:", "its tag is empty"),
            ("web:-x", "`-x` is no tag"),
            ("web:a:b", "`a:b` is no tag"),
            ("web@sha256:12", "`sha256:12` is no digest"),
            ("a//b", "the repository `a//b` has an empty part"),
            ("registry.example/", "it has no repository"),
            (":v1", "it has no repository"),
            ("reg:port/web", "`reg:port` is no registry"),
            ("-x/web", "the repository `-x/web` has the part `-x`"),
        ] {
            let error = Image::parse(text).unwrap_err();
            assert_eq!(error.message, format!("`{text}` is no image: {message}"));
        }
    }

    #[test]
    fn a_tag_may_be_a_version() {
        let version = |text: &str| Image::parse(text).unwrap().version();
        assert_eq!(version("a/b:v1.9.3").unwrap().to_string(), "v1.9.3");
        assert!(version("a/b:latest").is_none());
        assert!(version("a/b").is_none());
    }

    #[test]
    fn equal_by_text_only() {
        assert_eq!(Image::parse("web:v1").unwrap(), Image::parse("web:v1").unwrap());
        assert_ne!(Image::parse("web").unwrap(), Image::parse("web:latest").unwrap());
    }
}
