//! Checks that many kinds share.

use std::net::IpAddr;

use crate::json::Value;

use super::{LABEL_TEXT, SUBDOMAIN_TEXT, labels};
use crate::quantity::Quantity;
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

const NAME_TEXT: &str = "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character \
    (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
const VALUE_TEXT: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start \
    and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is \
    '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";
const UNDERSCORED_TEXT: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '_', '-' or '.', and \
    must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is \
    '_?[a-z0-9]([-_a-z0-9]*[a-z0-9])?(\\._?[a-z0-9]([-_a-z0-9]*[a-z0-9])?)*')";

/// An amount, written as a text or as a number.
pub(super) fn quantity(value: &Value) -> Option<Quantity> {
    match value {
        Value::String(text) => text.parse().ok(),
        other => other.to_string().parse().ok(),
    }
}

/// The form of names and of values of labels.
fn is_name(text: &str) -> bool {
    let edge = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric());
    text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)) && edge(text.bytes().next()) && edge(text.bytes().last())
}

/// A name that may have a domain before it, such as a key of a label (`IsQualifiedName`).
pub(super) fn qualified(name: &str, field: &str, causes: &mut Vec<Cause>) {
    let mut wrong = |why: &str| causes.push(Cause::invalid(field, &name.into(), why));
    let parts: Vec<&str> = name.split('/').collect();
    let last = match parts[..] {
        [last] => last,
        [prefix, last] => {
            if prefix.is_empty() {
                wrong("prefix part must be non-empty");
            } else if prefix.len() > 253 {
                wrong("prefix part must be no more than 253 characters");
            } else if !is_subdomain(prefix) {
                wrong(&format!("prefix part {SUBDOMAIN_TEXT}"));
            }
            last
        }
        _ => {
            wrong(&format!("a valid label key {NAME_TEXT} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"));
            return;
        }
    };
    if last.is_empty() {
        wrong("name part must be non-empty");
    } else if last.len() > 63 {
        wrong("name part must be no more than 63 characters");
    }
    if !is_name(last) {
        wrong(&format!("name part {NAME_TEXT}"));
    }
}

/// A value of a label.
pub(super) fn label_value(value: &str, field: &str, causes: &mut Vec<Cause>) {
    if value.len() > 63 {
        causes.push(Cause::invalid(field, &value.into(), "must be no more than 63 characters"));
    }
    if !value.is_empty() && !is_name(value) {
        causes.push(Cause::invalid(field, &value.into(), VALUE_TEXT));
    }
}

/// A domain whose parts may begin with an underscore.
pub(super) fn underscored(name: &str, field: &str, causes: &mut Vec<Cause>) {
    if name.len() > 253 {
        causes.push(Cause::invalid(field, &name.into(), "must be no more than 253 characters"));
    }
    let part = |part: &str| {
        let part = part.strip_prefix('_').unwrap_or(part);
        !part.starts_with('_') && !part.ends_with('_') && is_dns_label(&part.replace('_', "a"))
    };
    if !name.split('.').all(part) {
        causes.push(Cause::invalid(field, &name.into(), UNDERSCORED_TEXT));
    }
}

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
    } else if name.contains('.') {
        causes.push(Cause::invalid(field, &name.into(), "must not contain dots"));
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
        qualified(view::text(expression, &["key"]), &format!("{field}.key"), causes);
        for (at, value) in values.iter().enumerate() {
            label_value(value.as_str().unwrap_or_default(), &format!("{field}.values[{at}]"), causes);
        }
    }
}
