//! How often all of this was tried: one file a group, written by `BLESS=1 cargo test --test tests runs::`, and one line of them all, which
//! the README quotes with its limits.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use super::kill::Count;
use crate::docs::generated;

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/runs/counts")
}

/// Compares what a group counted with what is committed, or writes it. What is committed is a floor, a twentieth below what was counted when
/// it was written, so that one line of a journal more or less is not worth a change.
pub(super) fn keep(group: &str, count: Count) {
    counted(group, count);
    let Count { points, double, seeds, runbooks, events } = count;
    let path = folder().join(format!("{group}.txt"));
    let numbers = [runbooks, points, double, seeds, events / 1000];
    let committed = fs::read_to_string(&path).unwrap_or_default();
    let floors: Vec<usize> = committed.split_whitespace().filter_map(|word| word.parse().ok()).take(numbers.len()).collect();
    let holds = floors.len() == numbers.len() && numbers.iter().zip(&floors).all(|(number, floor)| number >= floor);
    if holds && std::env::var_os("BLESS").is_none() {
        return;
    }
    let floor = |number: usize| number * 19 / 20;
    let (points, double, events) = (floor(points), floor(double), floor(events) / 1000);
    let text =
        format!("{runbooks} runbooks, {points} points, {double} double kills, {seeds} seeds, {events} thousand events, 0 differences\n");
    generated(&path, &text);
}

/// What the groups of this run of the tests counted.
static COUNTED: Mutex<BTreeMap<String, [usize; 5]>> = Mutex::new(BTreeMap::new());

/// Notes what a group counted; with the last of them the sum is told beside the results, where nobody has to ask for it.
fn counted(group: &str, count: Count) {
    let Count { points, double, seeds, runbooks, events } = count;
    let mut counted = COUNTED.lock().unwrap_or_else(PoisonError::into_inner);
    counted.insert(group.to_owned(), [runbooks, points, double, seeds, events]);
    if counted.len() < fs::read_dir(folder()).map(Iterator::count).unwrap_or_default() {
        return;
    }
    let mut sum = counted.values().copied().fold([0; 5], added);
    sum[4] /= 1000;
    // What a test prints is kept from people unless it fails.
    let line = format!("\nkills: {}\n", told(sum));
    std::io::stderr().write_all(line.as_bytes()).unwrap();
}

fn added(mut sum: [usize; 5], more: [usize; 5]) -> [usize; 5] {
    sum.iter_mut().zip(more).for_each(|(sum, number)| *sum += number);
    sum
}

fn told([runbooks, points, double, seeds, events]: [usize; 5]) -> String {
    let invariants = lockgate::cli::test::kill::looked_at();
    format!(
        "{points} points of {runbooks} runbooks on two shapes of cluster, {double} double kills, {seeds} seeds, {events} thousand events with {invariants} of 14 invariants, 0 differences"
    )
}

/// The sum of what is committed, in one line: a floor.
pub(crate) fn line() -> String {
    let mut sum = [0_usize; 5];
    for entry in fs::read_dir(folder()).unwrap() {
        let text = fs::read_to_string(entry.unwrap().path()).unwrap();
        let numbers = text.split_whitespace().filter_map(|word| word.parse::<usize>().ok());
        sum.iter_mut().zip(numbers).for_each(|(sum, number)| *sum += number);
    }
    format!("kills: at least {}", told(sum))
}
