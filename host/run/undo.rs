//! What takes a run back: of each step, newest first, the recorded inverses, merged per object to their net effect. Data only; who does it
//! is `rollback.rs`.

use std::collections::BTreeMap;

use super::event::Stays;
use super::journal::past::{Past, PlacePast};
use super::journal::redact::HIDDEN;
use super::runbook::{Runbook, StepDecl};
use crate::base::json::Value as Json;
use crate::base::{Error, Kind, Reason, Result, did_you_mean};
use crate::primitives::{Inverse, Wrote};

/// How one step is taken back.
#[derive(Clone, Debug, PartialEq)]
pub struct Undo {
    /// The key of the step: `ID`, `ID/ITEM`, `GROUP/ITEM/ID`.
    pub key: String,
    /// Its place in the file.
    pub place: usize,
    /// The name of its item, when it has one.
    pub item: Option<String>,
    /// How.
    pub how: How,
    /// What cannot be taken back, and why.
    pub stays: Vec<Stays>,
}

/// The way of taking a step back.
#[derive(Clone, Debug, PartialEq)]
pub enum How {
    /// By its own `rollback`.
    Function,
    /// By these calls, in order.
    Calls(Vec<Back>),
}

/// A call that takes something back.
#[derive(Clone, Debug, PartialEq)]
pub struct Back {
    /// The object that was written.
    pub target: String,
    /// The verb.
    pub verb: String,
    /// Its positional arguments.
    pub arguments: Vec<Json>,
    /// Its options; `null` for none.
    pub options: Json,
}

/// How a run is taken back, newest step first; `to` is the step that stays done, and everything before it with it.
///
/// # Errors
/// Input when there is no such step in the run; `refused` when a step that was done says that it cannot be taken back.
pub fn of(runbook: &Runbook, past: &Past, to: Option<&str>, unfinished: &BTreeMap<String, Vec<Wrote>>) -> Result<Vec<Undo>> {
    let mut undos = Vec::new();
    let keys = past.order.iter().filter_map(|place| place.strip_prefix("step ")).filter(|key| !asks_for_items(runbook, key));
    let keys: Vec<&str> = keys.collect();
    if let Some(to) = to
        && !keys.contains(&to)
    {
        let error = Error::usage(format!("the run did no step `{to}`"));
        // The nearest name would be its first item: everything after that would be taken back.
        if let Some(last) = keys.iter().rev().find(|key| key.strip_prefix(to).is_some_and(|rest| rest.starts_with('/'))) {
            return Err(error.hint(format!("it was done item by item, `{last}` last")));
        }
        return Err(match did_you_mean(to, keys.iter().copied()) {
            Some(near) => error.hint(format!("did you mean `{near}`?")),
            None => error.hint(format!("its steps are {}", crate::primitives::registry::list(keys.iter().copied()))),
        });
    }
    for key in keys.into_iter().rev() {
        if to == Some(key) {
            break;
        }
        let Some((place, decl)) = declared(runbook, key) else {
            let message = format!("the run did a step `{key}` that its source does not declare");
            return Err(Error::new(Kind::Refused, Reason::Replaced, message)
                .hint("it went on with another source; take back by hand what `lockgate report` says of that step"));
        };
        let Some(past) = past.places.get(&format!("step {key}")) else { continue };
        let wrote = wrote(past, unfinished.get(key).map_or(&[], Vec::as_slice));
        if wrote.is_empty() && !(decl.has_rollback && past.is_done()) {
            continue;
        }
        if let Some(why) = decl.irreversible.as_ref().filter(|_| !wrote.is_empty()) {
            let error = Error::new(Kind::Refused, Reason::Refused, format!("step `{key}` cannot be taken back: {why}"));
            return Err(error.hint(format!("`--to {key}` takes back only what came after it")));
        }
        let stays = stays(&wrote);
        let how = if decl.has_rollback { How::Function } else { How::Calls(merged(&wrote)) };
        let item = item(decl, key);
        undos.push(Undo { key: key.to_owned(), place, item, how, stays });
    }
    Ok(undos)
}

/// The newest step that wrote and says that it cannot be taken back: what came after it can, and nothing else.
#[must_use]
pub fn no_return<'a>(runbook: &Runbook, past: &'a Past) -> Option<&'a str> {
    let keys = past.order.iter().rev().filter_map(|place| place.strip_prefix("step "));
    keys.filter(|key| declared(runbook, key).is_some_and(|(_, decl)| decl.irreversible.is_some()))
        .find(|key| past.places.get(&format!("step {key}")).is_some_and(|past| !wrote(past, &[]).is_empty()))
}

/// What was written at one place.
#[derive(Clone, Debug, Default)]
pub(super) struct Written {
    /// How many writes were made.
    made: usize,
    /// How many of them have an inverse.
    pub(super) invertible: usize,
    /// The others, each once.
    pub(super) stays: Vec<Stays>,
}

impl Written {
    pub(super) fn add(&mut self, wrote: &Wrote) {
        self.made += 1;
        match Stays::of(&wrote.verb, &wrote.target, &wrote.inverse) {
            Some(stays) if self.stays.contains(&stays) => {}
            Some(stays) => self.stays.push(stays),
            None => self.invertible += usize::from(matches!(wrote.inverse, Inverse::Call { .. })),
        }
    }
}

/// How many of these writes can be taken back, why the run as a whole cannot, and which single writes stay: a step that has a `rollback` of
/// its own takes everything back, one that is `irreversible` nothing.
pub(super) fn invertible(runbook: &Runbook, by_place: &[(String, Written)]) -> (usize, Vec<String>, Vec<Stays>) {
    let (mut count, mut stay) = (0, Vec::new());
    // A reason is told once, with all steps that have it.
    let mut no_return: Vec<(&str, Vec<&str>)> = Vec::new();
    for (place, Written { made, invertible, stays }) in by_place {
        let key = place.strip_prefix("step ").unwrap_or(place);
        match declared(runbook, key).map(|(_, decl)| decl) {
            Some(StepDecl { irreversible: Some(why), .. }) => match no_return.iter_mut().find(|(known, _)| known == why) {
                Some((_, steps)) => steps.push(key),
                None => no_return.push((why, vec![key])),
            },
            Some(StepDecl { has_rollback: true, .. }) => count += made,
            Some(_) | None => {
                count += invertible;
                stay.extend(stays.iter().cloned());
            }
        }
    }
    let told = |(why, steps): (&str, Vec<&str>)| {
        let word = if steps.len() == 1 { "step" } else { "steps" };
        let named: Vec<String> = steps.iter().map(|step| format!("`{step}`")).collect();
        format!("{word} {} cannot be taken back: {why}", named.join(", "))
    };
    (count, no_return.into_iter().map(told).collect(), stay)
}

/// Whether this is where a step was asked for its items: its `each` and `batch` read, and only its items write.
fn asks_for_items(runbook: &Runbook, key: &str) -> bool {
    runbook.steps.iter().any(|step| step.id == key && step.group.is_none() && step.each.is_some())
}

/// The declaration of a step by its key.
fn declared<'a>(runbook: &'a Runbook, key: &str) -> Option<(usize, &'a StepDecl)> {
    let parts: Vec<&str> = key.split('/').collect();
    runbook.steps.iter().enumerate().find(|(_, step)| match (parts.as_slice(), step.group) {
        ([id] | [id, _], None) => step.id == *id && step.each.is_some() == (parts.len() == 2),
        ([group, _, id], Some(own)) => step.id == *id && runbook.groups.get(own).is_some_and(|own| own.id == *group),
        _ => false,
    })
}

fn item(decl: &StepDecl, key: &str) -> Option<String> {
    let named = decl.group.is_some() || decl.each.is_some();
    key.split('/').nth(1).filter(|_| named).map(str::to_owned)
}

/// Everything that a step wrote, in order.
fn wrote(past: &PlacePast, unfinished: &[Wrote]) -> Vec<Wrote> {
    let over = past.calls.iter().flat_map(|call| call.done.iter().flat_map(|done| &done.wrote).chain(&call.wrote));
    over.chain(unfinished).cloned().map(without_hidden).collect()
}

/// A way back that holds what the record hides is none: the mark that stands for a secret must not be written.
fn without_hidden(mut wrote: Wrote) -> Wrote {
    fn holds(value: &Json) -> bool {
        match value {
            Json::String(text) => text.contains(HIDDEN),
            Json::Array(items) => items.iter().any(holds),
            Json::Object(fields) => fields.iter().any(|(name, value)| name.contains(HIDDEN) || holds(value)),
            _ => false,
        }
    }
    if let Inverse::Call { arguments, options, .. } = &wrote.inverse
        && (arguments.iter().any(holds) || holds(options))
    {
        wrote.inverse = Inverse::Irreversible("what was there before holds a secret, which no record keeps".to_owned());
    }
    wrote
}

fn stays(wrote: &[Wrote]) -> Vec<Stays> {
    let mut stays: Vec<Stays> = Vec::new();
    for one in wrote.iter().filter_map(|wrote| Stays::of(&wrote.verb, &wrote.target, &wrote.inverse)) {
        if !stays.contains(&one) {
            stays.push(one);
        }
    }
    stays
}

/// The calls that take these writes back: newest first, without those whose effect is gone already or is taken back by an older one.
fn merged(wrote: &[Wrote]) -> Vec<Back> {
    let mut objects: BTreeMap<&str, Vec<&Wrote>> = BTreeMap::new();
    for wrote in wrote {
        objects.entry(&wrote.target).or_default().push(wrote);
    }
    let needed: Vec<&Wrote> = objects.values().flat_map(|writes| needed(writes)).collect();
    let mut backs = Vec::new();
    for wrote in wrote.iter().rev().filter(|wrote| needed.iter().any(|needed| std::ptr::eq(*needed, *wrote))) {
        if let Inverse::Call { verb, arguments, options } = &wrote.inverse {
            let back = Back { target: wrote.target.clone(), verb: verb.clone(), arguments: arguments.clone(), options: options.clone() };
            if !backs.contains(&back) {
                backs.push(back);
            }
        }
    }
    backs
}

/// The verb of a file that was written on a machine.
const FILE: &str = "write";

/// Which of the writes of one object have to be taken back.
fn needed<'a>(writes: &[&'a Wrote]) -> Vec<&'a Wrote> {
    if writes.first().is_some_and(|first| first.verb == "create") && writes.last().is_some_and(|last| last.verb == "delete") {
        return Vec::new();
    }
    let mut net: BTreeMap<&str, (Option<&Json>, Option<&Json>)> = BTreeMap::new();
    for change in writes.iter().flat_map(|wrote| &wrote.changes) {
        net.entry(&change.path).or_insert((change.before.as_ref(), None)).1 = change.after.as_ref();
    }
    // Of a file the record says how long it is, not what is in it.
    let is_file = writes.iter().any(|wrote| wrote.verb == FILE);
    let differs = |path: &str| is_file || net.get(path).is_none_or(|(before, after)| before != after);
    let mut needed = Vec::new();
    for (at, wrote) in writes.iter().enumerate() {
        let left: Vec<&str> = wrote.changes.iter().map(|change| change.path.as_str()).filter(|path| differs(path)).collect();
        if left.is_empty() && !wrote.changes.is_empty() {
            continue;
        }
        let older = writes.iter().take(at).flat_map(|older| older.changes.iter().map(|change| change.path.as_str()));
        let older: Vec<&str> = older.collect();
        if !left.is_empty() && left.iter().all(|path| older.contains(path)) {
            continue;
        }
        needed.push(*wrote);
    }
    needed
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::diff::Change;
    use crate::base::json::json;

    fn wrote(target: &str, verb: &str, path: &str, before: Json, after: Json) -> Wrote {
        let inverse = Inverse::Call { verb: verb.to_owned(), arguments: vec![target.into(), before.clone()], options: Json::Null };
        let changes = vec![Change { path: path.to_owned(), before: Some(before), after: Some(after) }];
        Wrote { verb: "patch".to_owned(), target: target.to_owned(), changes, inverse }
    }

    fn said(backs: &[Back]) -> Vec<String> {
        backs.iter().map(|back| format!("{} {} {}", back.verb, back.target, back.arguments[1])).collect()
    }

    #[test]
    fn what_came_back_by_itself_is_not_taken_back() {
        let writes = [
            wrote("deployment/ipam", "set_image", "image", json!("v1"), json!("v2")),
            wrote("deployment/ipam", "scale", "spec.replicas", json!(2), json!(0)),
            wrote("deployment/ipam", "scale", "spec.replicas", json!(0), json!(2)),
        ];
        assert_eq!(said(&merged(&writes)), ["set_image deployment/ipam \"v1\""]);
    }

    #[test]
    fn the_oldest_value_is_restored_and_objects_go_newest_first() {
        let writes = [
            wrote("deployment/a", "scale", "spec.replicas", json!(2), json!(3)),
            wrote("deployment/b", "scale", "spec.replicas", json!(1), json!(0)),
            wrote("deployment/a", "scale", "spec.replicas", json!(3), json!(5)),
        ];
        assert_eq!(said(&merged(&writes)), ["scale deployment/b 1", "scale deployment/a 2"]);
    }

    #[test]
    fn the_mark_of_a_secret_is_never_written() {
        let plain = wrote("configmap/a", "patch", "data.url", json!("http://a"), json!("http://b"));
        let hidden = wrote("configmap/a", "patch", "data.url", json!("http://kim:(secret)@a"), json!("http://b"));
        assert_eq!(without_hidden(plain.clone()), plain);
        assert!(matches!(without_hidden(hidden).inverse, Inverse::Irreversible(_)));
    }

    #[test]
    fn a_file_is_taken_back_whatever_its_length() {
        let of = |text: &str| Wrote {
            verb: FILE.to_owned(),
            inverse: wrote("w1 /etc/repository", "machine.write", "content", json!(text), json!(null)).inverse,
            ..wrote("w1 /etc/repository", "machine.write", "content", json!("108 bytes"), json!("108 bytes"))
        };
        assert_eq!(merged(&[of("old")]).len(), 1);
        // The text of the beginning comes back, and no other.
        let backs = merged(&[of("old"), of("between")]);
        assert_eq!((backs.len(), &backs[0].arguments[1]), (1, &json!("old")));
    }

    #[test]
    fn what_was_made_and_deleted_again_needs_nothing() {
        let inverse = |verb: &str| Inverse::Call { verb: verb.to_owned(), arguments: vec![json!("x"), json!(0)], options: Json::Null };
        let made = Wrote { verb: "create".into(), target: "configmap/x".into(), changes: vec![], inverse: inverse("delete") };
        let gone = Wrote { verb: "delete".into(), target: "configmap/x".into(), changes: vec![], inverse: inverse("create") };
        assert!(merged(&[made.clone(), gone.clone()]).is_empty());
        assert_eq!(merged(&[made]).len(), 1);
        assert_eq!(merged(&[gone]).len(), 1);
    }
}
