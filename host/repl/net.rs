//! `:diff`: what the calls since the last `:fork` have changed altogether, object by object.

use std::collections::BTreeMap;

use super::pending::Made;
use crate::base::Timestamp;
use crate::base::diff::Change;
use crate::base::json::Value as Json;
use crate::primitives::Inverse;
use crate::report::{Paint, Transcript};
use crate::run::{Event, Known, Record};

/// One object that was written.
struct Touched {
    object: String,
    created: bool,
    gone: bool,
    known: Known,
    /// By path: what it was at first, and what it is.
    fields: BTreeMap<String, (Option<Json>, Option<Json>)>,
    /// How it was written, where no field tells it.
    verbs: Vec<String>,
}

/// The changes of these calls as the transcript of a plan shows them; nothing where each was taken back by another.
pub(super) fn diff(calls: &[Made], at: Timestamp, paint: Paint) -> String {
    let mut transcript = Transcript::new(paint);
    let records = net(calls).into_iter().map(|event| Record { seq: 0, at, item: None, event });
    records.map(|record| transcript.lines(&record)).collect()
}

/// One write for each object, as if all had been done at once.
fn net(calls: &[Made]) -> Vec<Event> {
    let mut touched: Vec<Touched> = Vec::new();
    for event in calls.iter().flat_map(Made::events) {
        let Event::Wrote { verb, target, changes, known, .. } = event else { continue };
        let place = touched.iter().position(|one| one.object == *target).unwrap_or_else(|| {
            touched.push(Touched {
                object: target.clone(),
                created: false,
                gone: false,
                known: *known,
                fields: BTreeMap::new(),
                verbs: Vec::new(),
            });
            touched.len() - 1
        });
        let one = &mut touched[place];
        one.known = one.known.max(*known);
        match verb.as_str() {
            "create" if one.gone => one.gone = false,
            "create" => one.created = true,
            "delete" | "evict" => one.gone = true,
            _ => {}
        }
        if changes.is_empty() && !one.verbs.contains(verb) {
            one.verbs.push(verb.clone());
        }
        for Change { path, before, after } in changes {
            let field = one.fields.entry(path.clone()).or_insert_with(|| (before.clone(), None));
            field.1.clone_from(after);
        }
    }
    touched.into_iter().flat_map(events).collect()
}

/// What is left of it: nothing of an object that was made and is gone again.
fn events(one: Touched) -> Vec<Event> {
    let Touched { object, created, gone, known, fields, verbs } = one;
    let wrote = |verb: &str, changes: Vec<Change>| Event::Wrote {
        verb: verb.to_owned(),
        target: object.clone(),
        changes,
        inverse: Inverse::Irreversible("a sum of writes".to_owned()),
        known,
    };
    let changes: Vec<Change> = fields
        .into_iter()
        .filter(|(_, (before, after))| before != after)
        .map(|(path, (before, after))| Change { path, before, after })
        .collect();
    match (created, gone) {
        (true, true) => Vec::new(),
        (false, true) => vec![wrote("delete", Vec::new())],
        (true, false) => vec![wrote("create", changes)],
        (false, false) if changes.is_empty() => verbs.iter().map(|verb| wrote(verb, Vec::new())).collect(),
        (false, false) => vec![wrote("patch", changes)],
    }
}
