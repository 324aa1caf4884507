//! What a client can read: the `Accept` header, and whether the answer can be given in one of these forms.
//!
//! A real server looks twice. First at the bare types: when none of them is served the answer is one text. Then, range by range,
//! at the parameters `as`, `g` and `v`, which ask for another document than the object itself; when no range can be given the
//! answer is another text. Both were recorded.

use crate::status::Status;

/// What a real server writes documents in. Of these only the first is written here.
const TYPES: [&str; 3] = ["application/json", "application/yaml", "application/vnd.kubernetes.protobuf"];
/// What it writes besides when it streams.
const STREAMS: [&str; 2] = ["application/json;stream=watch", "application/vnd.kubernetes.protobuf;stream=watch"];

/// One range of the header.
#[derive(Debug, Clone, PartialEq)]
struct Range<'a> {
    media: &'a str,
    /// In thousandths.
    quality: u32,
    parameters: Vec<(&'a str, &'a str)>,
}

impl<'a> Range<'a> {
    fn parse(text: &'a str) -> Self {
        let mut parts = text.split(';').map(str::trim);
        let media = parts.next().unwrap_or_default();
        let parameters: Vec<(&str, &str)> = parts.map(|part| part.split_once('=').unwrap_or((part, ""))).collect();
        let quality = parameters.iter().find(|(name, _)| *name == "q").and_then(|(_, value)| value.parse::<f32>().ok());
        let quality = quality.map_or(1000, |quality| (quality.clamp(0.0, 1.0) * 1000.0) as u32);
        Self { media, quality, parameters }
    }

    /// How exactly the range says what it wants: the less exact is tried later.
    fn vague(&self) -> u8 {
        if self.media.starts_with("*/") { 2 } else { u8::from(self.media.ends_with("/*")) }
    }

    fn parameter(&self, name: &str) -> &'a str {
        self.parameters.iter().find(|(found, _)| *found == name).map_or("", |(_, value)| *value)
    }

    fn is_json(&self) -> bool {
        matches!(self.media, "application/json" | "application/*" | "*/*")
    }
}

/// What a range asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Wanted<'a> {
    /// The kind that the answer is to be changed into; empty for the object as it is.
    pub(crate) kind: &'a str,
    pub(crate) group: &'a str,
    pub(crate) version: &'a str,
}

/// What the header asks for in JSON, best first. An empty header asks for the object as it is.
pub(crate) fn wanted(accept: &str) -> Vec<Wanted<'_>> {
    if accept.trim().is_empty() {
        return vec![Wanted { kind: "", group: "", version: "" }];
    }
    let mut ranges: Vec<Range<'_>> = accept.split(',').map(|range| Range::parse(range.trim())).collect();
    ranges.sort_by_key(|range| (u32::MAX - range.quality, range.vague()));
    let json = ranges.iter().filter(|range| range.is_json());
    json.map(|range| Wanted { kind: range.parameter("as"), group: range.parameter("g"), version: range.parameter("v") }).collect()
}

/// The first look: whether one of the bare types is served at all.
pub(crate) fn check_types(accept: &str, streams: bool) -> Result<(), Status> {
    let media = |range: &str| range.split(';').next().unwrap_or_default().trim().to_owned();
    if accept.trim().is_empty() || accept.split(',').any(|range| media(range) == "*/*" || TYPES.contains(&media(range).as_str())) {
        return Ok(());
    }
    let types: Vec<&str> = if streams { [&TYPES[..], &STREAMS[..]].concat() } else { TYPES.to_vec() };
    let message = format!("406: Not Acceptable\n\nAvailable representations: {}", types.join(", "));
    Err(Status::new(406, "NotAcceptable", message, crate::json::json!({})))
}

/// 406 of the second look: of a real server, or, where that one would write a type that is not written here, of this one.
pub(crate) fn not_acceptable(accept: &str) -> Status {
    let ranges = accept.split(',').map(|range| Range::parse(range.trim()));
    // Another document than the object itself there is of this group alone.
    let ranges = ranges.filter(|range| range.parameter("as").is_empty() || range.parameter("g") == "meta.k8s.io");
    let of_others = ranges.map(|range| range.media).find(|media| TYPES[1..].contains(media));
    let message = match of_others {
        Some(media) => format!("simulator: not modelled: answers in {media}; it writes {}", TYPES[0]),
        None => format!("only the following media types are accepted: {}", TYPES.join(", ")),
    };
    Status::new(406, "NotAcceptable", message, crate::json::Value::Null)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_tried_from_the_best_on() {
        let kinds = |accept: &'static str| wanted(accept).iter().map(|wanted| wanted.kind).collect::<Vec<_>>();
        assert_eq!(kinds(""), [""]);
        assert_eq!(kinds("application/json;as=Table;v=v1;g=meta.k8s.io,application/json"), ["Table", ""]);
        assert_eq!(kinds("application/json, application/json; as=Table; v=v1"), ["", "Table"]);
        assert_eq!(kinds("*/*,application/json;as=Table"), ["Table", ""]);
        assert_eq!(kinds("application/json;q=0.5,application/json;as=Table;q=0.9"), ["Table", ""]);
        assert_eq!(kinds("application/json;q=abc"), [""]);
        assert_eq!(kinds("application/yaml,text/html"), Vec::<&str>::new());
    }

    #[test]
    fn types_that_are_not_written_here_are_named() {
        let told = |accept| not_acceptable(accept).message().to_owned();
        assert_eq!(
            told("application/json;as=Tabl"),
            "only the following media types are accepted: application/json, application/yaml, application/vnd.kubernetes.protobuf"
        );
        let protobuf = "simulator: not modelled: answers in application/vnd.kubernetes.protobuf; it writes application/json";
        assert!(told("application/yaml;as=Table;v=v9;g=other").starts_with("only the following"));
        assert_eq!(told("text/html, application/vnd.kubernetes.protobuf;q=0.5"), protobuf);
    }

    #[test]
    fn types_that_nobody_writes_are_refused_at_the_first_look() {
        for good in ["", "*/*", "application/json;q=abc", "text/html, application/yaml;as=Table"] {
            assert_eq!(check_types(good, false), Ok(()), "{good}");
        }
        for bad in ["application/*", "text/plain", "APPLICATION/JSON", ";;;", "application"] {
            let status = check_types(bad, false).unwrap_err();
            assert_eq!((status.code(), status.reason()), (406, "NotAcceptable"), "{bad}");
        }
        assert!(check_types("text/plain", true).unwrap_err().message().ends_with(";stream=watch"));
    }
}
