//! How many pods a rolling update may have too many and too few.

use crate::json::Value;

use crate::view;

/// The resolved limits of a Deployment's strategy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fenceposts {
    /// Pods above the wanted number; percentages round up.
    pub(crate) surge: i64,
    /// Pods below the wanted number; percentages round down, and 1 when both would be 0.
    pub(crate) unavailable: i64,
}

/// Resolves `maxSurge` and `maxUnavailable` of a Deployment for its replicas.
pub(crate) fn resolve(deployment: &Value) -> Fenceposts {
    let replicas = replicas(deployment);
    if !is_rolling(deployment) {
        return Fenceposts { surge: 0, unavailable: 0 };
    }
    let rolling = &["spec", "strategy", "rollingUpdate"];
    let part = |name: &str, up: bool| {
        let value = view::at(deployment, rolling).and_then(|r| r.get(name));
        view::int_or_percent(value, replicas, up)
    };
    let (surge, mut unavailable) = (part("maxSurge", true), part("maxUnavailable", false));
    if surge == 0 && unavailable == 0 {
        unavailable = 1;
    }
    if replicas == 0 {
        unavailable = 0;
    }
    Fenceposts { surge, unavailable: unavailable.min(replicas) }
}

/// Whether the strategy is `RollingUpdate`, the default.
pub(crate) fn is_rolling(deployment: &Value) -> bool {
    matches!(view::text(deployment, &["spec", "strategy", "type"]), "" | "RollingUpdate")
}

/// `spec.replicas`; 1 when absent.
pub(crate) fn replicas(object: &Value) -> i64 {
    view::int(object, &["spec", "replicas"]).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::json;

    fn of(replicas: i64, surge: Value, unavailable: Value) -> (i64, i64) {
        let d = json!({"spec": {"replicas": replicas, "strategy": {"type": "RollingUpdate",
            "rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}}}});
        let f = resolve(&d);
        (f.surge, f.unavailable)
    }

    #[test]
    fn the_default_strategy_rounds_surge_up_and_unavailable_down() {
        let quarter = || json!("25%");
        let got: Vec<_> = [1, 2, 3, 4, 10].into_iter().map(|r| of(r, quarter(), quarter())).collect();
        assert_eq!(got, [(1, 0), (1, 0), (1, 0), (1, 1), (3, 2)]);
    }

    #[test]
    fn both_zero_means_one_may_be_missing() {
        assert_eq!(of(4, json!(0), json!("10%")), (0, 1));
        assert_eq!(of(4, json!(0), json!(0)), (0, 1));
        assert_eq!(of(0, json!(1), json!(1)), (1, 0));
        assert_eq!(of(2, json!(0), json!(5)), (0, 2));
        let recreate = json!({"spec": {"replicas": 3, "strategy": {"type": "Recreate"}}});
        assert_eq!(resolve(&recreate), Fenceposts { surge: 0, unavailable: 0 });
    }
}
