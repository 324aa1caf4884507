//! Runs that are killed twice: once, and once more while the next process recovers. All pairs of the smallest runbooks, and of the others
//! some that are drawn: equal draws in every run of the tests.

use std::collections::BTreeMap;

use lockgate_sim::rng::Rng;

use super::harness::Scene;
use super::kill::{Count, Reference, finished, summed, told, watched};
use super::kinds::{KindOfAct, Shape};

/// Kills twice: first at each of the worlds that `first` takes, then at each of those of the recovery that `second` takes.
fn twice(name: &str, scene: &Scene, first: &mut dyn FnMut() -> bool, second: &mut dyn FnMut() -> bool) -> Count {
    let (reference, whole, moments) = Reference::watched(scene);
    let (mut count, mut wrong) = (Count::default(), Vec::new());
    for (points, world) in whole.worlds(&moments) {
        if !first() {
            continue;
        }
        // The recovery that nobody stops says where it can be killed.
        let (_, again) = watched(scene, &world);
        for (others, last) in world.worlds(&again) {
            if !second() {
                continue;
            }
            let (found, events) = finished(scene, &reference, &last, false);
            count += Count { double: points.len() * others.len(), events, ..Count::default() };
            if !found.is_empty() {
                let at = [(&moments, &points[0]), (&again, &others[0])].map(|(moments, point)| moments[point.moment].told(point));
                wrong.push(format!("{name}: killed {}, then {}\n  {}\n{}", at[0], at[1], found.join("\n  "), told(&last)));
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {} differ:\n{}", wrong.len(), count.double, summed(&wrong));
    count
}

/// Two lines of writes: small enough for all pairs.
const SMALLEST: [(&str, &str); 3] = [
    ("patched", r#"step "one" { title = "One", run = function() patch("configmap/settings", { data = { mode = "slow" } }) end }"#),
    (
        "made",
        r#"step "one" { title = "One", run = function() create { apiVersion = "v1", kind = "ConfigMap", metadata = { name = "new" } } end }"#,
    ),
    ("gone", r#"step "one" { title = "One", run = function() delete("configmap/old") end }"#),
];

fn all_pairs(number: usize) -> Count {
    let (name, steps) = SMALLEST[number];
    let kind = KindOfAct { steps, ..*KindOfAct::named("questions") };
    let scene = kind.scene(Shape::Small);
    twice(name, &scene, &mut || true, &mut || true)
}

#[test]
fn a_patch_is_killed_twice_everywhere() {
    super::count::keep("double-patch", all_pairs(0));
}

#[test]
fn a_creation_is_killed_twice_everywhere() {
    super::count::keep("double-create", all_pairs(1));
}

#[test]
fn a_deletion_is_killed_twice_everywhere() {
    super::count::keep("double-delete", all_pairs(2));
}

/// How many of the first and of the second points are drawn, in a hundred; the short runbooks more often.
const DRAWN: [(&str, u64, u64); 17] = [
    ("cordon", 20, 20),
    ("drain", 3, 3),
    ("set_image", 4, 4),
    ("scale", 6, 6),
    ("apply", 12, 12),
    ("objects", 8, 8),
    ("metadata", 6, 6),
    ("rollouts", 4, 4),
    ("replace_pod", 6, 6),
    ("jobs", 8, 8),
    ("custom", 12, 12),
    ("exec", 15, 15),
    ("questions", 10, 10),
    ("batches", 6, 6),
    ("recover", 8, 8),
    ("helm", 5, 5),
    ("machines", 5, 5),
];

fn drawn(names: &[&str]) -> Count {
    let shares: BTreeMap<&str, (u64, u64)> = DRAWN.iter().map(|(name, first, second)| (*name, (*first, *second))).collect();
    let mut count = Count::default();
    for name in names {
        let (first, second) = shares[name];
        let (mut one, mut other) = (Rng::new(first * 7919), Rng::new(second * 104_729));
        let scene = KindOfAct::named(name).scene(Shape::Small);
        count += twice(name, &scene, &mut || one.below(100) < first, &mut || other.below(100) < second);
    }
    count
}

#[test]
fn acts_on_nodes_are_killed_twice() {
    super::count::keep("double-nodes", drawn(&["cordon", "drain", "replace_pod", "batches"]));
}

#[test]
fn acts_on_workloads_are_killed_twice() {
    super::count::keep("double-workloads", drawn(&["set_image", "scale", "rollouts", "metadata", "recover"]));
}

#[test]
fn acts_on_objects_are_killed_twice() {
    super::count::keep("double-objects", drawn(&["apply", "objects", "jobs", "custom", "questions"]));
}

#[test]
fn acts_elsewhere_are_killed_twice() {
    super::count::keep("double-elsewhere", drawn(&["exec", "helm", "machines"]));
}
