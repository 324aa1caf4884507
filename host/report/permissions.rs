//! Permissions as people read them: what, where, within which bounds, and what it amounts to.

use crate::cluster::permit::{Caps, Grant, Permissions, power};

/// One row a line: what may be done, and on which terms, a line each.
#[must_use]
pub fn rows(permissions: &Permissions) -> Vec<(String, String)> {
    let mut rows: Vec<(String, String)> = permissions.grants.iter().map(|grant| (what(grant), terms(grant))).collect();
    if !permissions.charts.is_empty() {
        rows.push(("helm charts".to_owned(), format!("{}\nthat is: {}", permissions.charts.join(", "), power::OF_CHARTS)));
    }
    for command in &permissions.machine {
        rows.push(("on machines".to_owned(), format!("{} …\nthat is: {}", command.argv.join(" "), power::of_command(command))));
    }
    rows.extend(limits(&permissions.limits));
    if permissions.is_empty() {
        rows.push(("nothing".to_owned(), "it only reads".to_owned()));
    }
    rows
}

fn what(grant: &Grant) -> String {
    let verbs: Vec<&str> = grant.verbs.iter().map(|verb| verb.as_str()).collect();
    let kinds: Vec<String> = grant.kinds.iter().map(ToString::to_string).collect();
    format!("{} {}", verbs.join(", "), kinds.join(", "))
}

fn terms(grant: &Grant) -> String {
    let place = if grant.namespaces.is_empty() { "anywhere".to_owned() } else { format!("in {}", grant.namespaces.join(", ")) };
    let mut terms = vec![place];
    if !grant.names.is_empty() {
        terms.push(format!("named {}", grant.names.join(", ")));
    }
    if !grant.images.is_empty() {
        terms.push(format!("images {}", grant.images.join(", ")));
    }
    if let Some((least, most)) = grant.replicas {
        terms.push(format!("{least} to {most} replicas"));
    }
    let mut lines = vec![terms.join("; ")];
    lines.extend(power::of_line(grant).into_iter().map(|power| format!("that is: {power}")));
    lines.join("\n")
}

fn limits(caps: &Caps) -> Option<(String, String)> {
    let limits = [
        caps.nodes.map(|count| format!("{count} nodes")),
        caps.evictions.map(|count| format!("{count} evictions")),
        caps.writes_per_minute.map(|count| format!("{count} writes a minute")),
    ];
    let limits: Vec<String> = limits.into_iter().flatten().collect();
    (!limits.is_empty()).then(|| ("at most".to_owned(), limits.join(", ")))
}
