//! Checks that many kinds share.

use std::net::IpAddr;

use crate::json::Value;

use super::{LABEL_TEXT, SUBDOMAIN_TEXT, labels};
use crate::selector::is_dns_label;
use crate::status::Cause;
use crate::view;

pub(super) const ADDRESS_TEXT: &str = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";
const LABEL_1035_TEXT: &str = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic \
    character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is \
    '[a-z]([-a-z0-9]*[a-z0-9])?')";
const WILDCARD_TEXT: &str = "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must consist of \
    lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character (e.g. '*.example.com', regex used for \
    validation is '\\*\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";

/// The text of a value that must be one of these. An absent one is checked as an empty one.
pub(super) fn one_of(value: &str, field: &str, known: &[&str], causes: &mut Vec<Cause>) {
    if !known.contains(&value) {
        causes.push(Cause::not_supported(field, &value.into(), known));
    }
}

/// As [`one_of`], but the value may be absent.
pub(super) fn one_of_if_any(object: &Value, path: &[&str], field: &str, known: &[&str], causes: &mut Vec<Cause>) {
    if let Some(value) = view::at(object, path).and_then(Value::as_str) {
        one_of(value, field, known, causes);
    }
}

/// A text that must not be empty; false when it is.
pub(super) fn required(value: &str, field: &str, detail: &str, causes: &mut Vec<Cause>) -> bool {
    if value.is_empty() {
        causes.push(Cause::required(field, detail));
    }
    !value.is_empty()
}

pub(super) fn is_subdomain(name: &str) -> bool {
    !name.is_empty() && name.len() <= 253 && name.split('.').all(is_dns_label)
}

pub(super) fn subdomain(name: &str, field: &str, causes: &mut Vec<Cause>) {
    if name.len() > 253 {
        causes.push(Cause::invalid(field, &name.into(), "must be no more than 253 characters"));
    } else if !is_subdomain(name) {
        causes.push(Cause::invalid(field, &name.into(), SUBDOMAIN_TEXT));
    }
}

/// A domain, perhaps with `*.` before it.
pub(super) fn host(name: &str, field: &str, causes: &mut Vec<Cause>) {
    if !name.contains('*') {
        subdomain(name, field, causes);
    } else if !name.strip_prefix("*.").is_some_and(is_subdomain) {
        causes.push(Cause::invalid(field, &name.into(), WILDCARD_TEXT));
    }
}

pub(super) fn label(name: &str, field: &str, causes: &mut Vec<Cause>) {
    if name.len() > 63 {
        causes.push(Cause::invalid(field, &name.into(), "must be no more than 63 characters"));
    } else if !is_dns_label(name) {
        causes.push(Cause::invalid(field, &name.into(), LABEL_TEXT));
    }
}

pub(super) fn label_1035(name: &str, field: &str, causes: &mut Vec<Cause>) {
    if name.len() > 63 || !is_dns_label(name) || !name.starts_with(|c: char| c.is_ascii_lowercase()) {
        causes.push(Cause::invalid(field, &name.into(), LABEL_1035_TEXT));
    }
}

/// What is wrong with a name that is a part of a path, and may otherwise hold anything.
pub(super) fn segment_text(name: &str) -> Option<&'static str> {
    match name {
        "." => Some("may not be '.'"),
        ".." => Some("may not be '..'"),
        _ if name.contains('/') => Some("may not contain '/'"),
        _ if name.contains('%') => Some("may not contain '%'"),
        _ => None,
    }
}

/// The name of a port: at most 15 letters, digits and hyphens, with a letter.
pub(super) fn port_name(name: &str, field: &str, causes: &mut Vec<Cause>) {
    let mut wrong = |text: &str| causes.push(Cause::invalid(field, &name.into(), text));
    if name.len() > 15 {
        wrong("must be no more than 15 characters");
    }
    if !name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-') {
        wrong("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)");
    }
    if !name.bytes().any(|b| b.is_ascii_lowercase()) {
        wrong("must contain at least one letter (a-z)");
    }
    if name.contains("--") {
        wrong("must not contain consecutive hyphens");
    }
    if name.starts_with('-') || name.ends_with('-') {
        wrong("must not begin or end with a hyphen");
    }
}

/// A number from 1 to 65535.
pub(super) fn port_number(number: i64, field: &str, causes: &mut Vec<Cause>) {
    if !(1..=65_535).contains(&number) {
        causes.push(Cause::invalid(field, &number.into(), super::pod::PORT_TEXT));
    }
}

pub(super) fn address(text: &str, field: &str, causes: &mut Vec<Cause>) {
    if text.parse::<IpAddr>().is_err() {
        causes.push(Cause::invalid(field, &text.into(), ADDRESS_TEXT));
    }
}

/// A label selector: labels that can exist, operators that do.
pub(super) fn selector(selector: Option<&Value>, field: &str, causes: &mut Vec<Cause>) {
    let Some(selector) = selector else { return };
    labels(selector.get("matchLabels"), &format!("{field}.matchLabels"), causes);
    for (at, expression) in view::list(selector, &["matchExpressions"]).iter().enumerate() {
        let field = format!("{field}.matchExpressions[{at}]");
        let (operator, values) = (view::text(expression, &["operator"]), view::list(expression, &["values"]));
        match operator {
            "In" | "NotIn" if values.is_empty() => {
                causes.push(Cause::required(format!("{field}.values"), "must be specified when `operator` is 'In' or 'NotIn'"));
            }
            "Exists" | "DoesNotExist" if !values.is_empty() => {
                let why = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'";
                causes.push(Cause::forbidden(format!("{field}.values"), why));
            }
            "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
            other => causes.push(Cause::invalid(format!("{field}.operator"), &other.into(), "not a valid selector operator")),
        }
    }
}
