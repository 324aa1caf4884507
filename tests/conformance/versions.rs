//! The cases on servers of other versions than the one they were recorded on: what differs then is in `versions.yaml`, with the reason.
//! Where a client is led to send other requests the case has a recording of that version too: `golden-1.33.json`, made with `BLESS=all`.
//!
//! `conformance::versions::VERSION` replays all cases on a simulated cluster of that version and expects these differences and no others.
//! `controlplane::versions::VERSION::CASE` runs them on a real server: all of them with `LOCKGATE_REQUIRE=conformance`, some
//! with `LOCKGATE_REQUIRE=versions`.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::Arc;

use libtest_mimic::{Completion, Trial};
use serde::Deserialize;
use serde_json::Value;

use super::case::{self, Case};
use super::golden::Golden;
use super::replay::Simulated;
use super::{Difference, Outcome, compare, record, run};
use crate::controlplane;

/// The versions: those that a server of v1.36 can emulate, and those that `tests/controlplane/relink` makes.
const ALL: [&str; 7] = ["1.35", "1.34", "1.33", "v1.37.0", "v1.35.9", "v1.34.9", "v1.33.9"];

/// Of these the simulated cluster knows nothing but what it knows of the emulated ones: they are not replayed.
const AS_EMULATED: [&str; 3] = ["v1.35.9", "v1.34.9", "v1.33.9"];

/// What `LOCKGATE_REQUIRE=versions` asks for: one case of each sort on one server of each sort, a minute and a half.
const SOME: [(&str, &str); 7] = [
    ("1.35", "rollout"),
    ("1.34", "statefulset-rollout"),
    ("1.33", "rollout"),
    ("1.33", "field-validation"),
    ("1.33", "job-success"),
    ("v1.37.0", "rollout"),
    ("v1.35.9", "set-image-daemonset"),
];

/// How many differences are told.
const SHOWN: usize = 400;

/// A difference that is due to the version.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    /// The versions on which it is so.
    versions: Vec<String>,
    /// The case; every case when absent.
    case: Option<String>,
    /// The number of the step; every step when absent.
    step: Option<usize>,
    /// Where; a star stands for anything.
    path: String,
    /// What such a server says there; nothing when absent.
    is: Option<Value>,
    /// The part of the recorded text that is not in what it says, instead of `is`.
    without: Option<String>,
    /// Why.
    reason: String,
}

impl Row {
    fn covers(&self, version: &str, case: &str, difference: &Difference) -> bool {
        let is = match (&self.without, &self.is) {
            (Some(part), _) => difference.real.replace(part.as_str(), ""),
            (None, is) => is.as_ref().map_or_else(|| "nothing".to_owned(), Value::to_string),
        };
        self.versions.iter().any(|of| of == version)
            && self.case.as_deref().is_none_or(|of| of == case)
            && self.step.is_none_or(|step| step == difference.step)
            && fits(&self.path, &difference.path)
            && is == difference.simulated
    }
}

/// One replay of everything for each version, and the cases on real servers.
pub(super) fn trials(cases: &Arc<Vec<Case>>) -> Vec<Trial> {
    let mut trials = Vec::new();
    for version in ALL {
        if !AS_EMULATED.contains(&version) {
            let all = cases.clone();
            trials.push(Trial::test(format!("conformance::versions::{version}"), move || Ok(replayed(&all, version)?)));
        }
        let everything = controlplane::is_required("conformance");
        let wanted = |case: &&Case| {
            let chosen = controlplane::is_required("versions") && SOME.contains(&(version, case.name.as_str()));
            applies(case) && (everything || chosen)
        };
        let chosen: Vec<&Case> = cases.iter().filter(wanted).collect();
        if chosen.is_empty() {
            trials.push(Trial::ignorable_test(format!("controlplane::versions::{version}"), || {
                Ok(Completion::ignored_with("LOCKGATE_REQUIRE=conformance compares all cases, LOCKGATE_REQUIRE=versions some"))
            }));
        }
        for case in chosen {
            let case = case.clone();
            trials.push(Trial::test(format!("controlplane::versions::{version}::{}", case.name), move || Ok(real(&case, version)?)));
        }
    }
    trials
}

/// Cases about versions bring their own.
fn applies(case: &Case) -> bool {
    case.text.plane.emulates.is_none() && case.text.plane.version.is_none()
}

/// The case on a server of this version.
fn on(case: &Case, version: &str) -> Case {
    let mut case = case.clone();
    if version.starts_with('v') {
        case.text.plane.version = Some(version.to_owned());
    } else {
        case.text.plane.emulates = Some(version.to_owned());
    }
    case
}

fn rows() -> Outcome<Vec<Row>> {
    let path = case::home().join("versions.yaml");
    let rows: Vec<Row> = serde_saphyr::from_str(&case::read(&path)?).map_err(|error| format!("{}: {error}", path.display()))?;
    let wrong = |row: &&Row| row.reason.is_empty() || row.versions.is_empty() || row.versions.iter().any(|of| !ALL.contains(&of.as_str()));
    match rows.iter().find(wrong) {
        Some(row) => Err(format!("{}: no reason, or no version of {ALL:?}: {row:?}", path.display())),
        None => Ok(rows),
    }
}

/// All cases on the simulated cluster: every difference has its row, and every row its difference.
fn replayed(cases: &[Case], version: &str) -> Outcome {
    let rows = rows()?;
    let (mut used, mut text, mut count) = (BTreeSet::new(), String::new(), 0);
    for case in cases.iter().filter(|case| applies(case)) {
        let golden = recording(case, version)?;
        let case = on(case, version);
        let ran = run::run(&case, &mut Simulated::new(&case)?, &golden.steps);
        for difference in compare(&golden, &ran)? {
            match rows.iter().position(|row| row.covers(version, &case.name, &difference)) {
                Some(row) => drop(used.insert(row)),
                None => {
                    count += 1;
                    tell(&mut text, version, &case.name, &difference, count);
                }
            }
        }
    }
    let unused = |(index, row): &(usize, &Row)| row.versions.iter().any(|of| of == version) && !used.contains(index);
    for (_, row) in rows.iter().enumerate().filter(unused) {
        count += 1;
        writeln!(text, "versions.yaml: not so on {version}: {row:?}").unwrap_or_default();
    }
    if count == 0 { Ok(()) } else { Err(format!("{count} differences on {version}:\n{text}")) }
}

/// The recording of this version, or of the one that a relinked server behaves like, or the one of v1.36 where there is none.
fn recording(case: &Case, version: &str) -> Outcome<Golden> {
    let minor: Vec<&str> = version.trim_start_matches('v').split('.').take(2).collect();
    let named = [format!("golden-{version}.json"), format!("golden-{}.json", minor.join("."))].map(|name| case.folder.join(name));
    let own = named.into_iter().find(|path| path.is_file());
    let golden = Golden::read(&own.unwrap_or_else(|| case.folder.join("golden.json")))?;
    if golden.digest == case.digest { Ok(golden) } else { Err(format!("{} was recorded before it was changed", case.name)) }
}

fn real(case: &Case, version: &str) -> Outcome {
    let (rows, case) = (rows()?, on(case, version));
    let before = recording(&case, version)?;
    let now = record(&case)?;
    if std::env::var("BLESS").is_ok_and(|bless| bless == "all") {
        return now.write(&case.folder.join(format!("golden-{version}.json")));
    }
    let found = compare(&before, &run::Ran { steps: now.steps, failure: None })?;
    let (mut text, mut count) = (String::new(), 0);
    for difference in found.iter().filter(|difference| !rows.iter().any(|row| row.covers(version, &case.name, difference))) {
        count += 1;
        tell(&mut text, version, &case.name, difference, count);
    }
    if count == 0 { Ok(()) } else { Err(format!("{count} differences on {version}:\n{text}")) }
}

/// A difference, as a row would say it.
fn tell(text: &mut String, version: &str, case: &str, difference: &Difference, count: usize) {
    let Difference { step, path, real, simulated, words } = difference;
    if count <= SHOWN {
        // Writing to a string cannot fail.
        writeln!(
            text,
            "- {{versions: [{version:?}], case: {case}, step: {step}, path: {path:?}, is: {simulated}}} # {words}; recorded: {real}"
        )
        .unwrap_or_default();
    }
}

/// Whether a text is one of a pattern, in which a star stands for anything.
fn fits(pattern: &str, text: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(mut left) = text.strip_prefix(start) else { return false };
    let mut parts: Vec<&str> = rest.split('*').collect();
    let last = parts.pop().unwrap_or_default();
    for part in parts {
        match left.find(part) {
            Some(at) => left = &left[at + part.len()..],
            None => return false,
        }
    }
    left.ends_with(last)
}

/// The patterns, on examples.
///
/// # Errors
/// One that does not do what it should.
pub(super) fn patterns() -> Outcome {
    let examples = [
        ("/a/b", "/a/b", true),
        ("/a/b", "/a/bc", false),
        ("*/b", "/a/b", true),
        ("*/b", "/a/b/c", false),
        ("/seen/*/status/x", "/seen/pods/p/status/x", true),
        ("/seen/*/status/*", "/seen/pods/p/spec/x", false),
        ("a*a", "a", false),
    ];
    match examples.iter().find(|(pattern, text, is)| fits(pattern, text) != *is) {
        Some(wrong) => Err(format!("{wrong:?} is not so")),
        None => Ok(()),
    }
}
