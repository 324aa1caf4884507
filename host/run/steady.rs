//! What of a plan is the same whenever it is made: its words without the moment, the id of the run, and the ends of names that
//! controllers make up. Two plans of the same input are equal then, byte by byte, and a run can be held to a plan of yesterday.

use std::borrow::Cow;
use std::cell::Cell;

use super::event::{Event, Record};
use crate::base::json::{Value as Json, from_value, json, to_value};
use crate::base::{Error, Result, Span, Timestamp};
use crate::cluster::downtime::MadeUp;

/// The characters that API servers end made-up names with (`k8s.io/apimachinery/pkg/util/rand`).
const LETTERS: &str = "bcdfghjklmnpqrstvwxz2456789";
/// How many of them.
const SUFFIX: usize = 5;
/// What stands for a moment of the plan itself.
const WHEN: &str = "(when it runs)";
/// So much longer than what was told of it a plan may take: while something is waited for, nothing is told.
const SLACK: Span = Span::from_secs(600);
/// What stands for the id of the run.
const RUN: &str = "(the run)";
/// Length of `2026-01-31T12:00:00`, the least that a moment has.
const MOMENT: usize = 19;

/// Makes texts steady.
#[derive(Clone, Debug)]
pub struct Steady {
    from: Timestamp,
    /// The last moment that can be one of the plan's own, as far as it was told: a later one, such as the end of a certificate, is a fact.
    until: Cell<Timestamp>,
    run: String,
    made_up: MadeUp,
}

impl Steady {
    /// For a plan that began at `from` under this id.
    #[must_use]
    pub fn new(from: Timestamp, run: impl Into<String>, made_up: MadeUp) -> Steady {
        let from = Timestamp::from_second(from.as_second()).unwrap_or(from);
        Steady { from, until: Cell::new(SLACK.after(from)), run: run.into(), made_up }
    }

    /// More names that are made up.
    pub fn learn(&mut self, made_up: MadeUp) {
        self.made_up.extend(made_up);
    }

    /// For the plan of these records.
    #[must_use]
    pub fn of(records: &[Record], made_up: MadeUp) -> Steady {
        let run = records.iter().find_map(|record| match &record.event {
            Event::Started { run, .. } => Some(run.clone()),
            _ => None,
        });
        let from = records.first().map_or(Timestamp::UNIX_EPOCH, |record| record.at);
        let steady = Steady::new(from, run.unwrap_or_default(), made_up);
        records.last().into_iter().for_each(|record| steady.at(record.at));
        steady
    }

    /// The plan has come to this moment.
    fn at(&self, now: Timestamp) {
        self.until.set(self.until.get().max(SLACK.after(now)));
    }

    /// The text with `…` for what made-up names end with, and words for the id of the run and for moments since the plan began.
    #[must_use]
    pub fn text<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let mut text = Cow::Borrowed(text);
        if !self.run.is_empty() && text.contains(&self.run) {
            text = Cow::Owned(text.replace(&self.run, RUN));
        }
        if let Some(without) = self.without_moments(&text) {
            text = Cow::Owned(without);
        }
        if let Some(without) = self.without_ends(&text) {
            text = Cow::Owned(without);
        }
        text
    }

    /// `None` where there is none.
    fn without_moments(&self, text: &str) -> Option<String> {
        let mut out = String::new();
        let mut rest = text;
        let mut found = false;
        while let Some(length) = rest.find('T').map(|t| t.saturating_sub(10)) {
            let (before, from) = rest.split_at_checked(length)?;
            let end = from.find(|c: char| !(c.is_ascii_digit() || "-:.TZ+".contains(c))).unwrap_or(from.len());
            let (word, after) = from.split_at(end);
            let word_end = word.trim_end_matches(['.', ':', '-', '+']);
            let moment = Some(word_end).filter(|word| word.len() >= MOMENT).and_then(|word| word.parse::<Timestamp>().ok());
            out.push_str(before);
            match moment {
                Some(at) if at >= self.from && at <= self.until.get() => {
                    found = true;
                    out.push_str(WHEN);
                    out.push_str(word.get(word_end.len()..).unwrap_or_default());
                    rest = after;
                }
                Some(_) => {
                    out.push_str(word);
                    rest = after;
                }
                None => {
                    // Behind this `T`.
                    let next = from.find('T').map_or(from.len(), |at| at + 1);
                    let (passed, after) = from.split_at(next);
                    out.push_str(passed);
                    rest = after;
                }
            }
        }
        out.push_str(rest);
        found.then_some(out)
    }

    fn without_ends(&self, text: &str) -> Option<String> {
        if self.made_up.is_empty() {
            return None;
        }
        let in_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.';
        let mut out = String::new();
        let mut found = false;
        let mut rest = text;
        while !rest.is_empty() {
            let start = rest.find(in_name).unwrap_or(rest.len());
            let (between, from) = rest.split_at(start);
            let end = from.find(|c| !in_name(c)).unwrap_or(from.len());
            let (word, after) = from.split_at(end);
            out.push_str(between);
            let name = word.trim_end_matches('.');
            let stands = self.made_up.get(name).filter(|_| !name.ends_with('-'));
            match stands.or_else(|| self.made_up.get(self.beginning(name)?)) {
                Some(stands) => {
                    found = true;
                    out.push_str(stands);
                    out.push_str(word.get(name.len()..).unwrap_or_default());
                }
                None => out.push_str(word),
            }
            rest = after;
        }
        found.then_some(out)
    }

    /// What a made-up name begins with; `None` for every other name.
    #[must_use]
    pub fn beginning<'a>(&self, name: &'a str) -> Option<&'a str> {
        let (beginning, end) = name.split_at_checked(name.len().checked_sub(SUFFIX)?)?;
        (self.made_up.contains_key(beginning) && end.chars().all(|c| LETTERS.contains(c))).then_some(beginning)
    }

    /// Every text of a document.
    pub fn json(&self, value: &mut Json) {
        match value {
            Json::String(text) => {
                if let Cow::Owned(steady) = self.text(text) {
                    *value = steady.into();
                }
            }
            Json::Array(items) => {
                for place in 0..items.len() {
                    items.get_mut(place).into_iter().for_each(|item| self.json(item));
                }
            }
            Json::Object(map) => map.values_mut().for_each(|value| self.json(value)),
            _ => {}
        }
    }

    /// The record with steady words.
    ///
    /// # Errors
    /// Internal, when it cannot be written as JSON.
    pub fn record(&self, record: &Record) -> Result<Record> {
        self.at(record.at);
        let event = from_value(&self.event(&record.event)?).map_err(|error| broken(&error))?;
        Ok(Record { event, ..record.clone() })
    }

    /// An event as JSON with steady words.
    fn event(&self, event: &Event) -> Result<Json> {
        let mut value = to_value(event).map_err(|error| broken(&error))?;
        // A moment by itself.
        let since = value.as_object_mut().and_then(|fields| fields.remove("since"));
        self.json(&mut value);
        if let (Some(fields), Some(since)) = (value.as_object_mut(), since) {
            fields.insert("since", since);
        }
        Ok(value)
    }

    /// The records with steady words.
    ///
    /// # Errors
    /// As [`Steady::record`].
    pub fn records(&self, records: &[Record]) -> Result<Vec<Record>> {
        records.iter().map(|record| self.record(record)).collect()
    }

    /// The records as a document that is the same whenever the plan is made: `after` says how long after its beginning something
    /// happens. What tells how long something lasts already is left out, and so is what the server took in real time.
    ///
    /// # Errors
    /// As [`Steady::record`].
    pub fn document(&self, records: &[Record]) -> Result<Vec<Json>> {
        let began = records.first().map_or(self.from, |record| record.at);
        let passing = |record: &&Record| !matches!(record.event, Event::Waiting { .. } | Event::Delayed { .. });
        let mut all = Vec::new();
        for (place, record) in records.iter().filter(passing).enumerate() {
            self.at(record.at);
            let mut value = self.event(&record.event)?;
            if let Some(fields) = value.as_object_mut() {
                fields.remove("run");
                fields.insert("seq", json!(place + 1));
                if let Some(item) = &record.item {
                    fields.insert("item_key", item.clone().into());
                }
                fields.insert("after", Span::between(began, record.at).to_string().into());
            }
            all.push(value);
        }
        Ok(all)
    }
}

fn broken(error: &serde_json::Error) -> Error {
    Error::internal("comparing what a plan says").cause(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steady() -> Steady {
        let names = [("web-5d4f8b7c9-", "web-5d4f8b7c9-…"), ("agent-", "agent-…"), ("api-777-", "api-…"), ("api-777", "api-…")];
        let names = names.map(|(name, stands)| (name.to_owned(), stands.to_owned()));
        Steady::new("2026-01-31T12:00:00Z".parse().unwrap(), "01JABC", names.into())
    }

    #[test]
    fn made_up_ends_moments_and_the_run_are_left_out() {
        for (text, steady_text) in [
            ("pod/web-5d4f8b7c9-x2x9k: waits", "pod/web-5d4f8b7c9-…: waits"),
            ("agent-bcdfg and agent-proxy and agents", "agent-… and agent-proxy and agents"),
            ("agent-bcdfg.", "agent-…."),
            ("replicaset/api-777 has api-777-bcdfg", "replicaset/api-… has api-…"),
            ("xagent-bcdfg", "xagent-bcdfg"),
            ("restarted at 2026-01-31T12:00:05Z.", "restarted at (when it runs)."),
            ("valid until 2026-02-01T12:00:05Z.", "valid until 2026-02-01T12:00:05Z."),
            ("\"2026-01-31T12:00:00.123456Z\"", "\"(when it runs)\""),
            ("made 2026-01-31T11:59:59Z", "made 2026-01-31T11:59:59Z"),
            ("THE TIME, Ünïcode T", "THE TIME, Ünïcode T"),
            ("ü-01-31T12:00:05Z", "ü-01-31T12:00:05Z"),
            ("lock of 01JABC/1", "lock of (the run)/1"),
            ("", ""),
        ] {
            assert_eq!(steady().text(text), steady_text, "{text}");
        }
    }
}
