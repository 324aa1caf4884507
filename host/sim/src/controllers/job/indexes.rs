//! Completion indexes of an indexed Job, and the short form in which its status lists them.

use std::collections::BTreeSet;

use crate::json::Value;
use crate::view;

/// Annotation and label of a pod with its index.
pub(super) const INDEX: &str = "batch.kubernetes.io/job-completion-index";

/// Whether the Job counts indexes instead of pods.
pub(super) fn is_indexed(job: &Value) -> bool {
    view::text(job, &["spec", "completionMode"]) == "Indexed"
}

/// The index of a pod, when it is one that the Job has.
pub(super) fn of_pod(pod: &Value, completions: i64) -> Option<i64> {
    view::annotation(pod, INDEX)?.parse().ok().filter(|index| (0..completions).contains(index))
}

/// Reads `0,2-4`. What is not below `completions` is left out: the Job may have shrunk.
pub(super) fn read(text: &str, completions: i64) -> BTreeSet<i64> {
    let mut all = BTreeSet::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        if let (Ok(first), Ok(last)) = (first.parse::<i64>(), last.parse::<i64>()) {
            all.extend(first..=last.min(completions - 1));
        }
    }
    all
}

/// Writes `0,2-4`: two neighbours are named each, from three on their ends.
pub(super) fn write(indexes: &BTreeSet<i64>) -> String {
    let mut runs: Vec<(i64, i64)> = Vec::new();
    for index in indexes {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == *index => *last = *index,
            _ => runs.push((*index, *index)),
        }
    }
    let texts: Vec<String> = runs
        .into_iter()
        .map(|(first, last)| match last - first {
            0 => first.to_string(),
            1 => format!("{first},{last}"),
            _ => format!("{first}-{last}"),
        })
        .collect();
    texts.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_indexes_are_short_and_read_back() {
        for text in ["", "0", "0,1", "0-2", "1,3-5,7,8,10"] {
            assert_eq!(write(&read(text, 11)), text);
        }
        assert_eq!(write(&read("0-9,12", 4)), "0-3");
    }
}
