//! When a run goes on: is what it wrote still as it left it? Each object that it wrote is read once, many of a kind by one list.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::event::Event;
use super::journal::past::Written;
use super::journal::redact::HIDDEN;
use super::runner::{Recording, Runner, Stop};
use crate::base::diff::{changes, reaches};
use crate::base::json::Value as Json;
use crate::base::{Error, Kind, ObjectRef, Reason, Result};
use crate::cluster::keep::{Drift, Keeper as _, Key, Open};
use crate::cluster::{Access, Cluster, Select, Target};

impl Runner<'_> {
    /// Compares the cluster with the record of a run that goes on; steps that are to be done again are forgotten.
    pub(super) fn as_left(&mut self) -> Result<(), Stop> {
        let Some(record) = self.record.clone() else { return Ok(()) };
        let written = record.book.written();
        if written.is_empty() {
            return Ok(());
        }
        self.cluster.set_access(Access::ReadOnly);
        for (written, differences) in record.runtime.block_on(changed(&self.cluster, written)).map_err(Stop::Error)? {
            match record.runtime.block_on(record.book.drift(&written.target, differences)).map_err(Stop::Error)? {
                Drift::Accept => {}
                Drift::Again => self.again(&record, &written.place).map_err(Stop::Error)?,
            }
        }
        Ok(())
    }

    /// Has a step done again from its beginning. What became of writes that it was stopped in is found out first: nobody comes to them any
    /// more, and nothing is to be half-done in the record that is not so in the cluster.
    fn again(&self, record: &Recording, place: &str) -> Result<()> {
        let (ended, unsettled) = record.book.past(|past| (past.last, past.unsettled(place)));
        let tell = |text: String| self.session.emit(Event::Note { text });
        for open in unsettled {
            let settled = record.runtime.block_on(self.cluster.settle_for_good(&open, ended, &tell))?;
            let outcome = settled.outcome().ok_or_else(|| half_done(place, &open))?;
            record.book.outcome(&open.intent.op, &outcome)?;
        }
        record.book.again(place)
    }
}

/// The error of a step that cannot be done again from its beginning.
fn half_done(place: &str, open: &Open) -> Error {
    let Key { verb, part, .. } = &open.intent.key;
    let what = part.as_ref().map_or_else(|| verb.clone(), |part| format!("{verb} {part}"));
    let message = format!("{place} cannot be done again from its beginning: it was stopped in the middle of `{what}`");
    Error::new(Kind::Refused, Reason::Precondition, message)
        .about(open.intent.object())
        .hint("`--drift accept` goes on from what there is, and brings that to its end first")
}

/// What is no longer as it was written, with the differences. What a Secret held is not in the record.
pub(super) async fn changed(cluster: &Cluster, written: Vec<Written>) -> Result<Vec<(Written, Vec<String>)>> {
    let written = written.into_iter().filter(|written| !written.target.starts_with("secret/")).collect();
    let found = read(cluster, written).await?.into_iter().map(|(written, now)| {
        let differences = differences(&written, now.as_deref());
        (written, differences)
    });
    Ok(found.filter(|(_, differences)| !differences.is_empty()).collect())
}

/// Which fields are no longer as they were written.
fn differences(written: &Written, now: Option<&Json>) -> Vec<String> {
    match (&written.after, now) {
        (None, None) => Vec::new(),
        (Some(_), None) => vec!["it is gone".to_owned()],
        // What was deleted may have been made anew by whoever it belongs to.
        (None, Some(_)) => Vec::new(),
        (Some(after), Some(now)) => {
            let mut now = Cow::Borrowed(now);
            if holds_hidden(after) {
                as_kept(after, now.to_mut());
            }
            let touched = |path: &str| written.paths.iter().any(|own| reaches(path, own) || reaches(own, path));
            changes(after, &now).iter().filter(|change| touched(&change.path)).map(ToString::to_string).collect()
        }
    }
}

/// Whether something in it was kept without a secret.
fn holds_hidden(kept: &Json) -> bool {
    match kept {
        Json::String(text) => text.contains(HIDDEN),
        Json::Array(items) => items.iter().any(holds_hidden),
        Json::Object(map) => map.values().any(holds_hidden),
        _ => false,
    }
}

/// Puts the words of the record, which holds no secret, in the place of texts that are the same but for a secret.
fn as_kept(kept: &Json, now: &mut Json) {
    match (kept, now) {
        (Json::String(kept), Json::String(now)) if fits(kept, now) => *now = kept.clone(),
        (Json::Object(kept), Json::Object(now)) => {
            for (name, kept) in kept.iter() {
                now.get_mut(name).into_iter().for_each(|now| as_kept(kept, now));
            }
        }
        (Json::Array(kept), Json::Array(now)) => {
            for (place, kept) in kept.iter().enumerate() {
                now.get_mut(place).into_iter().for_each(|now| as_kept(kept, now));
            }
        }
        _ => {}
    }
}

/// Whether a text can be the one that was kept: any text may stand where a secret was.
fn fits(kept: &str, now: &str) -> bool {
    let parts: Vec<&str> = kept.split(HIDDEN).collect();
    let Some((first, parts)) = parts.split_first() else { return false };
    let Some(mut rest) = now.strip_prefix(first) else { return false };
    let Some((last, between)) = parts.split_last() else { return rest.is_empty() };
    for part in between {
        let Some((_, after)) = rest.split_once(part) else { return false };
        rest = after;
    }
    rest.ends_with(last)
}

/// So many objects of a kind are read one by one, which needs no right to list all that there are.
const FEW: usize = 20;

/// What was written, and where it is read.
type Aimed = (Target, Written);

/// Reads every object that was written, as it is now.
async fn read(cluster: &Cluster, written: Vec<Written>) -> Result<Vec<(Written, Option<Arc<Json>>)>> {
    let mut groups: BTreeMap<(String, Option<String>), Vec<Aimed>> = BTreeMap::new();
    for written in written {
        let target = cluster.target(&ObjectRef::parse(&written.target)?, None).await?;
        groups.entry((target.resource.to_string(), target.namespace.clone())).or_default().push((target, written));
    }
    let mut found = Vec::new();
    for ((_, namespace), group) in groups {
        let whole = group.iter().filter(|(_, written)| written.part.is_none()).count();
        let listed = match group.first() {
            Some((target, _)) if whole > FEW => {
                match cluster.list(&target.resource, namespace.as_deref(), &Select::default()).await {
                    // Whoever may read each of them need not be one who may list all.
                    Err(error) if error.reason == Reason::Forbidden => None,
                    listed => Some(listed?),
                }
            }
            _ => None,
        };
        for (target, written) in group {
            let now = match &listed {
                Some(listed) if written.part.is_none() => listed
                    .items
                    .iter()
                    .find(|item| item.pointer("/metadata/name").is_some_and(|name| name == target.name.as_str()))
                    .cloned(),
                _ => match cluster.get_part(&target, written.part.as_deref()).await {
                    Ok(object) => Some(object),
                    Err(error) if error.reason == Reason::NotFound => None,
                    Err(error) => return Err(error),
                },
            };
            found.push((written, now));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::json::json;

    #[test]
    fn a_text_that_was_kept_without_its_secret_is_the_same_when_all_else_is() {
        for (kept, now, same) in [
            ("(secret)", "hunter2", true),
            ("key=(secret);user=(secret)", "key=hunter2;user=kim", true),
            ("key=(secret);user=(secret)", "key=hunter2", false),
            ("key=(secret)", "kez=hunter2", false),
            ("(secret)!", "hunter2", false),
            ("plain", "plain", true),
            ("plain", "plainer", false),
        ] {
            assert_eq!(fits(kept, now), same, "{kept} {now}");
        }
        let after = json!({ "data": { "a": "(secret)", "b": ["x(secret)"] } });
        let written = Written {
            place: "step s".to_owned(),
            target: "configmap/shop/c".to_owned(),
            part: None,
            after: Some(after.into()),
            paths: ["data".to_owned()].into(),
        };
        assert_eq!(differences(&written, Some(&json!({ "data": { "a": "hunter2", "b": ["xhunter2"] } }))), Vec::<String>::new());
        let other = differences(&written, Some(&json!({ "data": { "a": "hunter2", "b": ["y"] } })));
        assert_eq!(other.len(), 1, "{other:?}");
    }
}
