//! Merging a configuration into an object, and taking away what an applier no longer mentions.

use super::compare::{Parts, element, fields_of, parts};
use super::set::Set;
use crate::json::{Array, Map, Text, Value};
use crate::schema::{List, Type};

/// The object with everything that the configuration says.
pub(super) fn merge(kind: &Type, live: &Value, config: &Value) -> Value {
    match (parts(kind, Some(config)), live, config) {
        (Parts::Members, Value::Object(old), Value::Object(new)) if !(old.is_empty() && new.is_empty()) => {
            let mut merged = old.clone();
            for (name, value) in new {
                let value = match old.get(name) {
                    Some(live) => merge(kind.below(name), live, value),
                    None => value.clone(),
                };
                merged.insert(name.clone(), value);
            }
            Value::Object(merged)
        }
        (Parts::Items(list), Value::Array(old), Value::Array(new)) if !(old.is_empty() && new.is_empty()) => {
            Value::Array(merge_items(list, old, new))
        }
        // A list or map that is named without content takes nothing away.
        (Parts::Members, Value::Object(_), Value::Null) | (Parts::Items(_), Value::Array(_), Value::Null) => live.clone(),
        _ => config.clone(),
    }
}

/// Merges lists: items of the configuration come in its order, those it does not have keep their places before the next one that
/// both have. The order is that of the server's own algorithm.
fn merge_items(list: &List, old: &Array, new: &Array) -> Array {
    let steps = |items: &Array| -> Vec<(Option<Text>, Value)> { items.iter().map(|item| (element(list, item), item.clone())).collect() };
    let (left, right) = (steps(old), steps(new));
    let in_left = |step: &Option<Text>| step.is_some() && left.iter().any(|(other, _)| other == step);
    let in_right = |step: &Option<Text>| step.is_some() && right.iter().any(|(other, _)| other == step);
    let mut shared = right.iter().map(|(step, _)| step).filter(|step| in_left(step));
    let mut next = shared.next();
    let mut taken: Vec<&Option<Text>> = Vec::new();
    let take = |step: &Option<Text>, item: &Value| match left.iter().find(|(other, _)| other == step && step.is_some()) {
        Some((_, live)) => merge(&list.items, live, item),
        None => item.clone(),
    };
    let (mut out, mut l, mut r) = (Vec::new(), 0, 0);
    while l < left.len() || r < right.len() {
        if let (Some((step, _)), Some((wanted, item))) = (left.get(l), right.get(r)) {
            if step.is_some() && step == wanted {
                taken.push(wanted);
                out.push(take(wanted, item));
                (l, r) = (l + 1, r + 1);
                next = shared.next();
                continue;
            }
            if in_right(step) && next.is_some_and(|next| next != step) {
                // Both have it, but its turn is later.
                l += 1;
                continue;
            }
        }
        if let Some((step, item)) = left.get(l) {
            if !in_right(step) {
                out.push(item.clone());
                l += 1;
                continue;
            }
            if taken.contains(&step) {
                l += 1;
            }
        }
        if let Some((step, item)) = right.get(r) {
            taken.push(step);
            out.push(take(step, item));
            r += 1;
            if next == Some(step) {
                next = shared.next();
            }
        }
    }
    out.into_iter().collect()
}

/// The value without the members of a set. What becomes empty is null.
fn without(kind: &Type, value: &Value, gone: &Set) -> Value {
    match (parts(kind, Some(value)), value) {
        (Parts::Items(list), Value::Array(items)) => {
            let left = |item: &Value| {
                let Some(step) = element(list, item) else { return Some(item.clone()) };
                if gone.has(&step) {
                    return None;
                }
                Some(gone.below(&step).map_or_else(|| item.clone(), |below| without(&list.items, item, &below)))
            };
            let left: Array = items.iter().filter_map(left).collect();
            if left.is_empty() { Value::Null } else { Value::Array(left) }
        }
        (Parts::Members, Value::Object(map)) => {
            let mut left = Map::new();
            for (name, value) in map {
                let step = format!("f:{name}");
                if gone.has(&step) {
                    continue;
                }
                let value = gone.below(&step).map_or_else(|| value.clone(), |below| without(kind.below(name), value, &below));
                left.insert(name.clone(), value);
            }
            if left.is_empty() { Value::Null } else { Value::Object(left) }
        }
        _ => value.clone(),
    }
}

/// Takes away what the applier applied the last time (`last`) and nobody owns now (`owned`: the fields of all, the new ones of the
/// applier included).
pub(super) fn prune(kind: &Type, merged: Value, last: &Set, owned: &Set) -> Value {
    if last.is_empty() {
        return merged;
    }
    let named = |set: &Set| set.with_named_fields(kind);
    let last = named(last);
    let all = named(&fields_of(kind, &merged));
    let pruned = without(kind, &merged, &last);
    // What others own comes back, with all that is not below what was applied.
    let kept = named(&fields_of(kind, &pruned)).union(&named(owned));
    let pruned = without(kind, &merged, &all.difference(&kept));
    let gone = all.difference(&named(&fields_of(kind, &pruned))).intersection(&last);
    without(kind, &merged, &gone)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::json;
    use crate::kinds;
    use crate::openapi;

    fn kind() -> &'static Type {
        openapi::type_of(kinds::DEPLOYMENT).unwrap()
    }

    fn containers(names: &[&str]) -> Value {
        let items: Array = names.iter().map(|name| json!({"name": name, "image": format!("{name}:1")})).collect();
        json!({"spec": {"template": {"spec": {"containers": items}}}})
    }

    fn names(object: &Value) -> Vec<&str> {
        let list = object["spec"]["template"]["spec"]["containers"].as_array().unwrap();
        list.iter().map(|item| item["name"].as_str().unwrap()).collect()
    }

    #[test]
    fn items_of_the_configuration_come_in_its_order() {
        for (live, config, merged) in [
            (vec!["a", "b", "c"], vec!["c", "a"], vec!["b", "c", "a"]),
            (vec!["a", "b"], vec!["x", "b"], vec!["a", "x", "b"]),
            (vec!["a"], vec!["b", "c"], vec!["a", "b", "c"]),
            (vec![], vec!["b", "a"], vec!["b", "a"]),
        ] {
            assert_eq!(names(&merge(kind(), &containers(&live), &containers(&config))), merged, "{live:?} {config:?}");
        }
    }

    #[test]
    fn what_is_no_longer_applied_goes_unless_another_one_owns_it() {
        let live = json!({"metadata": {"labels": {"a": "1", "b": "2", "c": "3"}}, "spec": {"paused": true}});
        let last = Set::read(&json!({"f:metadata": {"f:labels": {"f:a": {}, "f:b": {}}}, "f:spec": {"f:paused": {}}}));
        let owned = Set::read(&json!({"f:metadata": {"f:labels": {"f:b": {}}}}));
        assert_eq!(prune(kind(), live, &last, &owned), json!({"metadata": {"labels": {"b": "2", "c": "3"}}}));
    }
}
