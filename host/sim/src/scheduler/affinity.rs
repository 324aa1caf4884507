//! Node selectors, node affinity and affinity between pods.

use crate::json::Value;

use crate::view;

const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";

/// The required node selector terms of a pod; `None` when it requires nothing.
fn terms(pod: &Value) -> Option<&[Value]> {
    let required = view::at(pod, &["spec", "affinity", "nodeAffinity", REQUIRED])?;
    required.is_object().then(|| view::list(required, &["nodeSelectorTerms"]))
}

/// Whether `nodeSelector` and the required node affinity hold on a node.
pub(crate) fn node_matches(pod: &Value, node: &Value) -> bool {
    let label = |key: &str| view::labels(node).and_then(|l| l.get(key)).and_then(Value::as_str);
    let selected = view::at(pod, &["spec", "nodeSelector"])
        .and_then(Value::as_object)
        .is_none_or(|want| want.iter().all(|(key, value)| label(key) == value.as_str()));
    selected && terms(pod).is_none_or(|terms| terms.iter().any(|term| term_matches(term, node)))
}

/// Whether one term holds; an empty term selects nothing.
fn term_matches(term: &Value, node: &Value) -> bool {
    let (expressions, fields) = (view::list(term, &["matchExpressions"]), view::list(term, &["matchFields"]));
    let label = |key: &str| view::labels(node).and_then(|l| l.get(key)).and_then(Value::as_str);
    let field = |key: &str| (key == "metadata.name").then(|| view::name(node));
    let holds = |e: &Value, actual: Option<&str>| view::requirement_holds(view::text(e, &["operator"]), view::list(e, &["values"]), actual);
    !(expressions.is_empty() && fields.is_empty())
        && expressions.iter().all(|e| holds(e, label(view::text(e, &["key"]))))
        && fields.iter().all(|e| holds(e, field(view::text(e, &["key"]))))
}

/// The sum of the weights of the pod's preferences that hold on a node.
pub(super) fn preference(pod: &Value, node: &Value) -> i64 {
    view::list(pod, &["spec", "affinity", "nodeAffinity", "preferredDuringSchedulingIgnoredDuringExecution"])
        .iter()
        .filter(|p| view::at(p, &["preference"]).is_some_and(|term| term_matches(term, node)))
        .map(|p| view::count(p, &["weight"]))
        .sum()
}

/// The nodes that every term pins the pod to by `metadata.name`; `None` when one term does not.
pub(crate) fn pinned_nodes(pod: &Value) -> Option<Vec<&str>> {
    let mut nodes = Vec::new();
    for term in terms(pod)? {
        let fields = view::list(term, &["matchFields"]);
        let by_name = fields.iter().find(|f| view::text(f, &["key"]) == "metadata.name" && view::text(f, &["operator"]) == "In")?;
        nodes.extend(view::list(by_name, &["values"]).iter().filter_map(Value::as_str));
    }
    Some(nodes).filter(|nodes| !nodes.is_empty())
}

/// The one node that a pod of a DaemonSet is pinned to.
pub(crate) fn pinned_to(pod: &Value) -> Option<&str> {
    pinned_nodes(pod)?.first().copied()
}

/// The required terms of the pod's affinity (`podAffinity`) or anti-affinity (`podAntiAffinity`) to other pods.
pub(crate) fn pod_terms<'a>(pod: &'a Value, which: &str) -> &'a [Value] {
    view::list(pod, &["spec", "affinity", which, REQUIRED])
}

/// Whether a term of `owner` is about another pod: its namespace and its labels.
pub(crate) fn term_selects(term: &Value, owner: &Value, other: &Value) -> bool {
    let namespaces = view::list(term, &["namespaces"]);
    let everywhere = view::at(term, &["namespaceSelector"]).is_some_and(|s| view::selector_is_empty(Some(s)) && s.is_object());
    let here = if namespaces.is_empty() {
        everywhere || view::namespace(owner) == view::namespace(other)
    } else {
        everywhere || namespaces.iter().any(|n| n.as_str() == Some(view::namespace(other)))
    };
    here && view::selects(view::at(term, &["labelSelector"]), view::labels(other))
}

/// The value of a term's topology on a node.
pub(crate) fn topology<'a>(term: &Value, node: &'a Value) -> Option<&'a str> {
    view::labels(node)?.get(view::text(term, &["topologyKey"]))?.as_str()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::json;

    #[test]
    fn terms_are_alternatives_and_their_parts_all_hold() {
        let pod = json!({"spec": {"affinity": {"nodeAffinity": {REQUIRED: {"nodeSelectorTerms": [
            {"matchExpressions": [{"key": "disk", "operator": "In", "values": ["ssd"]}, {"key": "old", "operator": "DoesNotExist"}]},
            {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n9"]}]},
            {},
        ]}}}}});
        let node = |name: &str, labels: Value| json!({"metadata": {"name": name, "labels": labels}});
        assert!(node_matches(&pod, &node("n1", json!({"disk": "ssd"}))));
        assert!(!node_matches(&pod, &node("n1", json!({"disk": "ssd", "old": ""}))));
        assert!(node_matches(&pod, &node("n9", json!({}))));
        assert!(!node_matches(&pod, &node("n1", json!({}))));
        assert_eq!(pinned_nodes(&pod), None, "one term does not name nodes");
    }
}
