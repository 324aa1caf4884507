//! Taints and tolerations.

use crate::json::Value;

use crate::view;

/// Whether a pod (or something with its `spec`) tolerates all taints of the node that have one of these effects.
pub(crate) fn tolerates_all(pod: &Value, node: &Value, effects: &[&str]) -> bool {
    untolerated(pod, node, effects).next().is_none()
}

/// The taints with one of these effects that the pod does not tolerate.
pub(crate) fn untolerated<'a>(pod: &'a Value, node: &'a Value, effects: &'a [&str]) -> impl Iterator<Item = &'a Value> {
    let tolerations = view::list(pod, &["spec", "tolerations"]);
    view::list(node, &["spec", "taints"])
        .iter()
        .filter(move |taint| effects.contains(&view::text(taint, &["effect"])))
        .filter(move |taint| !tolerations.iter().any(|toleration| tolerates(toleration, taint)))
}

/// Whether one toleration covers one taint. Empty effect or key cover all of them.
pub(crate) fn tolerates(toleration: &Value, taint: &Value) -> bool {
    let of = |value: &'static str| (view::text(toleration, &[value]), view::text(taint, &[value]));
    let ((effect, taint_effect), (key, taint_key), (value, taint_value)) = (of("effect"), of("key"), of("value"));
    let covers_value = match view::text(toleration, &["operator"]) {
        "" | "Equal" => value == taint_value,
        "Exists" => true,
        operator @ ("Gt" | "Lt") => match (taint_value.parse::<i64>(), value.parse::<i64>()) {
            (Ok(taint), Ok(bound)) => {
                if operator == "Gt" {
                    taint > bound
                } else {
                    taint < bound
                }
            }
            _ => false,
        },
        _ => false,
    };
    (effect.is_empty() || effect == taint_effect) && (key.is_empty() || key == taint_key) && covers_value
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::json;

    #[test]
    fn tolerations_cover_taints_as_the_api_says() {
        let node = json!({"spec": {"taints": [{"key": "role", "value": "master", "effect": "NoSchedule"}]}});
        for (toleration, want) in [
            (json!({"operator": "Exists"}), true),
            (json!({"key": "role", "operator": "Exists"}), true),
            (json!({"key": "role", "value": "master"}), true),
            (json!({"key": "role", "value": "other"}), false),
            (json!({"key": "role", "operator": "Exists", "effect": "NoExecute"}), false),
            (json!({"key": "other", "operator": "Exists"}), false),
        ] {
            let pod = json!({"spec": {"tolerations": [toleration]}});
            assert_eq!(tolerates_all(&pod, &node, &["NoSchedule"]), want, "{pod}");
        }
        assert!(tolerates_all(&json!({}), &node, &["NoExecute"]), "another effect does not matter");
    }
}
