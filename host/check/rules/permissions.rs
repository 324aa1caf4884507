//! Writes that no grant covers, and grants that nothing needs, as far as both can be known without a cluster.

use super::reach::{self, Hit};
use crate::base::ObjectRef;
use crate::check::finding::{Finding, Rule};
use crate::check::space::{Reached, Space, Unit};
use crate::check::tree::{Expr, Shape};
use crate::cluster::Verb;
use crate::cluster::permit::{KindName, Permissions};
use crate::primitives::{self, Definition, Effect};

/// A write that a call makes.
struct Write {
    verb: Verb,
    /// The kind; none when nobody can tell.
    kind: Option<KindName>,
    namespace: Option<String>,
    name: Option<String>,
}

/// Compares the writes that are reached from steps with the lines of `permissions`.
pub(super) fn permissions(space: &Space<'_>, unit: &Unit, found: &mut Vec<Finding>) {
    let Some(Ok(runbook)) = &unit.runbook else { return };
    let Some(granted) = &runbook.permissions else { return };
    let here = space.place_of(unit);
    let default = runbook.header.namespace.as_deref();
    let mut needed: Vec<Write> = Vec::new();
    // What helm writes is known to its charts alone.
    let mut anything = false;
    for hit in hits(space, here, unit) {
        let Some(definition) = primitives::ALL.iter().copied().find(|definition| definition.name == hit.word) else { continue };
        if definition.effect != Effect::Write {
            continue;
        }
        anything |= hit.word.starts_with("helm.");
        let writes = writes(space, &hit, definition, default);
        // Several ways lead to the same end, such as eviction and deletion: one of them is enough.
        let known = !writes.is_empty() && !hit.word.starts_with("helm.") && writes.iter().all(|write| write.kind.is_some());
        // What a module does for many runbooks, it need not do for this one.
        if known && is_own(space, unit, &hit) && !writes.iter().any(|write| covered(granted, write)) {
            uncovered(space, here, &hit, &writes, found);
        }
        needed.extend(writes);
    }
    if !anything {
        unneeded(unit, granted, &needed, found);
    }
}

/// Whether the call is in the runbook's own file, or in one of the same folder.
fn is_own(space: &Space<'_>, unit: &Unit, hit: &Hit<'_>) -> bool {
    space
        .unit(hit.unit)
        .is_some_and(|other| other.source.file == unit.source.file || other.source.beside.label("x") == unit.source.beside.label("x"))
}

/// Every word that a function of a step reaches.
fn hits<'a>(space: &'a Space<'_>, here: usize, unit: &'a Unit) -> Vec<Hit<'a>> {
    let steps = unit.tree.declarations.iter().filter(|declaration| declaration.word == "step");
    let items = steps.flat_map(|step| step.items.iter().flatten());
    let working = items.filter(|item| matches!(item.key.as_deref(), Some("run" | "recover" | "rollback")));
    working.flat_map(|item| reach::from(space, here, &item.value)).collect()
}

fn covered(granted: &Permissions, write: &Write) -> bool {
    let Some(kind) = &write.kind else { return true };
    granted.grants.iter().any(|line| line.may_cover(write.verb, kind, write.namespace.as_deref(), write.name.as_deref()))
}

/// The writes of a call, from what the verb needs.
fn writes(space: &Space<'_>, hit: &Hit<'_>, definition: &Definition, default: Option<&str>) -> Vec<Write> {
    let mut writes = Vec::new();
    for need in definition.needs {
        let Some((verbs, resource)) = need.split_once(' ') else { continue };
        let (whole, part) = match resource.split_once('/') {
            Some((whole, part)) => (whole, Some(part)),
            None => (resource, None),
        };
        let about = whole.strip_prefix('{').and_then(|name| name.strip_suffix('}'));
        let reference = about.and_then(|name| reference(space, hit, definition, name));
        let known = reference.as_ref().and_then(|known| KindName::of_reference(&known.kind, known.group.as_deref(), part));
        let (kind, namespaced) = match (about, known) {
            (None, _) => (KindName::parse(resource).ok(), false),
            (Some(_), Some((kind, namespaced))) => (Some(kind), namespaced),
            (Some(_), None) => (None, false),
        };
        for word in verbs.split(',') {
            let Some(verb) = writing(word) else { continue };
            // The name of a pod that a verb finds itself is not the workload's.
            let (namespace, name) = match &reference {
                Some(reference) => {
                    let namespace = if namespaced { place(space, hit, definition, reference, default) } else { None };
                    (namespace, Some(reference.name.clone()))
                }
                None => (None, None),
            };
            writes.push(Write { verb, kind: kind.clone(), namespace, name });
        }
    }
    writes
}

/// The namespace of a reference, where it can be told.
fn place(space: &Space<'_>, hit: &Hit<'_>, definition: &Definition, reference: &ObjectRef, default: Option<&str>) -> Option<String> {
    let options = hit.call.and_then(|call| call.arguments.get(definition.params.len()));
    let named = match options.map(|options| &options.shape) {
        None | Some(Shape::Nil) => None,
        Some(Shape::Table(items)) => match items.iter().find(|item| item.key.as_deref() == Some("namespace")) {
            Some(item) => Some(text(space, hit.unit, &item.value)?),
            None if items.iter().all(|item| item.key.is_some()) => None,
            None => return None,
        },
        Some(_) => return None,
    };
    reference.namespace.clone().or(named).or_else(|| default.map(str::to_owned))
}

fn writing(word: &str) -> Option<Verb> {
    match word {
        "create" => Some(Verb::Create),
        "update" => Some(Verb::Update),
        "patch" => Some(Verb::Patch),
        "delete" => Some(Verb::Delete),
        _ => None,
    }
}

/// The object that an argument names, when it is written out.
fn reference(space: &Space<'_>, hit: &Hit<'_>, definition: &Definition, name: &str) -> Option<ObjectRef> {
    let place = definition.params.iter().position(|param| param.name == name)?;
    let text = text(space, hit.unit, hit.call?.arguments.get(place)?)?;
    ObjectRef::parse(&text).ok()
}

/// A text that is written out, or has a name in this file or another.
fn text(space: &Space<'_>, unit: usize, value: &Expr) -> Option<String> {
    match &value.shape {
        Shape::Text(text) => Some(text.clone()),
        Shape::Name(target) => match space.meant(unit, target) {
            Reached::Value(Shape::Text(text)) => Some(text.clone()),
            _ => None,
        },
        _ => None,
    }
}

fn uncovered(space: &Space<'_>, here: usize, hit: &Hit<'_>, writes: &[Write], found: &mut Vec<Finding>) {
    let Some(write) = writes.first() else { return };
    let Some(kind) = &write.kind else { return };
    let at = if hit.unit == here { Some(hit.at) } else { hit.way.iter().rfind(|(unit, ..)| *unit == here).map(|(_, at, _)| *at) };
    let (Some(unit), Some(at)) = (space.unit(here), at) else { return };
    let name = write.name.as_ref().map(|name| format!(" `{name}`")).unwrap_or_default();
    let message = format!("`{}` needs to {} {kind}{name}, which `permissions` does not grant", hit.word, write.verb.as_str());
    let names = write.name.as_ref().map(|name| format!(", names = {{ \"{name}\" }}")).unwrap_or_default();
    let hint = format!("add `{{ verbs = {{ \"{}\" }}, kinds = {{ \"{kind}\" }}{names} }}`", write.verb.as_str());
    found.push(Finding::new(Rule::Permission, unit.tree.place(at), message).hint(hint));
}

/// Lines of which no verb and kind is needed by anything that the steps reach, taking back included.
fn unneeded(unit: &Unit, granted: &Permissions, needed: &[Write], found: &mut Vec<Finding>) {
    let Some(declaration) = unit.tree.declarations.iter().find(|declaration| declaration.word == "permissions") else { return };
    let lines: Vec<_> = declaration.items.iter().flatten().filter(|item| !item.keyed).collect();
    for (place, grant) in granted.grants.iter().enumerate() {
        let wanted = needed.iter().any(|write| {
            let kinds = |kind: &KindName| grant.kinds.iter().any(|known| *known == KindName::All || known == kind);
            grant.verbs.iter().any(|verb| *verb == write.verb || inverse(*verb, write.verb)) && write.kind.as_ref().is_none_or(kinds)
        });
        if !wanted {
            let at = lines.get(place).map_or(declaration.at, |item| item.value.at);
            let kinds: Vec<String> = grant.kinds.iter().map(ToString::to_string).collect();
            let verbs: Vec<&str> = grant.verbs.iter().map(|verb| verb.as_str()).collect();
            let message = format!("nothing needs this line: no step comes to {} {}", verbs.join(" or "), kinds.join(" or "));
            found.push(Finding::new(Rule::Permission, unit.tree.place(at), message).hint("grant only what the steps do: leave it out"));
        }
    }
}

/// Whether a verb takes back what the other did.
fn inverse(verb: Verb, of: Verb) -> bool {
    matches!(
        (verb, of),
        (Verb::Delete, Verb::Create | Verb::Patch)
            | (Verb::Create, Verb::Delete)
            | (Verb::Update, Verb::Patch)
            | (Verb::Patch, Verb::Update)
    )
}
