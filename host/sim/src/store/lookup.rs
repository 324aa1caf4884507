//! Objects of one kind by label, and pods by node: so that a selector visits what it selects and not everything there is.

use imbl::{OrdMap, OrdSet};

use crate::json::{Text, Value};
use crate::selector::{FieldSelector, LabelSelector};
use crate::store::Key;
use crate::view;

/// Under this name the node of a pod stands beside its labels; no label has such a name.
const NODE: &str = ".spec.nodeName";

/// Keys of objects of one kind by what can be asked for.
#[derive(Debug, Clone, Default)]
pub(super) struct Lookup {
    keys: OrdMap<(Text, Text), OrdSet<Key>>,
}

impl Lookup {
    /// Takes in that an object changed, came or went.
    pub(super) fn apply(&mut self, key: &Key, before: Option<&Value>, after: Option<&Value>) {
        let labels = |object: Option<&Value>| object.and_then(view::labels).cloned().unwrap_or_default();
        let (old, new) = (labels(before), labels(after));
        if old != new {
            old.iter().for_each(|(name, value)| self.take(name, value, key));
            new.iter().for_each(|(name, value)| self.put(name, value, key));
        }
        let node = |object: Option<&Value>| object.and_then(|o| view::at(o, &["spec", "nodeName"])).cloned().unwrap_or_default();
        let (old, new) = (node(before), node(after));
        if old != new {
            self.take(&NODE.into(), &old, key);
            self.put(&NODE.into(), &new, key);
        }
    }

    fn take(&mut self, name: &Text, value: &Value, key: &Key) {
        let Value::String(value) = value else { return };
        let place = (name.clone(), value.clone());
        let Some(keys) = self.keys.get_mut(&place) else { return };
        keys.remove(key);
        if keys.is_empty() {
            self.keys.remove(&place);
        }
    }

    fn put(&mut self, name: &Text, value: &Value, key: &Key) {
        if let Value::String(value) = value {
            self.keys.entry((name.clone(), value.clone())).or_default().insert(key.clone());
        }
    }

    /// Keys among which everything selected is, in their order; `None` when only a look at all objects would tell.
    pub(super) fn candidates(&self, labels: &LabelSelector, fields: &FieldSelector) -> Option<&OrdSet<Key>> {
        static NONE: std::sync::LazyLock<OrdSet<Key>> = std::sync::LazyLock::new(OrdSet::new);
        let by_label = labels.equalities().map(|(name, value)| (Text::from(name), Text::from(value)));
        let by_node = fields.equal_to("spec.nodeName").filter(|node| !node.is_empty()).map(|node| (Text::from(NODE), Text::from(node)));
        by_label.chain(by_node).map(|place| self.keys.get(&place).unwrap_or(&NONE)).min_by_key(|keys| keys.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::json;
    use crate::kinds;
    use crate::store::Store;

    #[test]
    fn a_selector_finds_through_the_index_what_a_look_at_everything_finds() {
        let mut store = Store::new(0);
        let now = jiff::Timestamp::UNIX_EPOCH;
        for number in 0..40 {
            let labels = json!({"app": format!("a{}", number % 4), "tier": if number % 2 == 0 { "x" } else { "y" }});
            let node = format!("n{}", number % 3);
            let pod = json!({"metadata": {"name": format!("p{number:02}"), "namespace": format!("ns{}", number % 2), "labels": labels},
                "spec": {"nodeName": node, "containers": []}});
            store.create(kinds::POD, pod, now).unwrap();
        }
        let mut moved = (**store.get(&Key::new(kinds::POD, "ns0", "p00")).unwrap()).clone();
        moved["metadata"]["labels"] = json!({"app": "a1"});
        store.update(&Key::new(kinds::POD, "ns0", "p00"), moved).unwrap();
        store.remove(&Key::new(kinds::POD, "ns1", "p01"));
        for (labels, fields) in [
            ("app=a1", ""),
            ("app=a0,tier=x", ""),
            ("app in (a0)", "spec.nodeName=n0"),
            ("", "spec.nodeName=n2"),
            ("app=none", ""),
            ("tier!=x,app=a1", ""),
            ("app notin (a1)", ""),
            ("", "spec.nodeName="),
        ] {
            let selector = LabelSelector::parse(labels).unwrap();
            let terms = FieldSelector::parse(kinds::POD, fields).unwrap();
            for namespace in [None, Some("ns0")] {
                let selected = |pod: &Value| selector.matches(pod) && terms.matches(pod);
                let all: Vec<&Key> = store.list(kinds::POD, namespace).filter(|(_, pod)| selected(pod)).map(|(key, _)| key).collect();
                let Some(found) = store.candidates(kinds::POD, namespace, &selector, &terms) else {
                    assert!(matches!((labels, fields), ("app notin (a1)", _) | ("", "spec.nodeName=")), "{labels} {fields}");
                    continue;
                };
                let found: Vec<&Key> = found.filter(|(_, pod)| selected(pod)).map(|(key, _)| key).collect();
                assert_eq!(found, all, "{labels} {fields} {namespace:?}");
            }
        }
    }
}
