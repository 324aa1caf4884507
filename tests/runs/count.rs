//! How often all of this was tried: one file a group, written by `BLESS=1 cargo test --test tests runs::`, and one line of them all, which
//! the README quotes with its limits.

use std::fs;
use std::path::PathBuf;

use super::kill::Count;
use crate::docs::generated;

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/runs/counts")
}

/// Compares what a group counted with what is committed, or writes it. What is committed is a floor, a twentieth below what was counted when
/// it was written, so that one line of a journal more or less is not worth a change.
pub(super) fn keep(group: &str, count: Count) {
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

/// The sum of all groups, in one line.
pub(crate) fn line() -> String {
    let mut sum = [0_usize; 5];
    for entry in fs::read_dir(folder()).unwrap() {
        let text = fs::read_to_string(entry.unwrap().path()).unwrap();
        let numbers = text.split_whitespace().filter_map(|word| word.parse::<usize>().ok());
        sum.iter_mut().zip(numbers).for_each(|(sum, number)| *sum += number);
    }
    let [runbooks, points, double, seeds, events] = sum;
    let invariants = super::kill::invariants::looked_at();
    format!(
        "kills: at least {points} points of {runbooks} runbooks, {double} double kills, {seeds} seeds, {events} thousand events with {invariants} of 14 invariants, 0 differences"
    )
}
