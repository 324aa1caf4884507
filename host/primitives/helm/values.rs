//! `helm.values`, and Helm's own rules for putting values together.

use std::collections::BTreeSet;

use super::release::ReleaseRef;
use crate::base::json::{Map, Text, Value as Json};
use crate::base::{Result, Value};
use crate::primitive;
use crate::primitives::cx::Cx;
use crate::primitives::done::Done;

primitive! {
    /// Reads the values of a release: those that a person gave it, or with `all` those that its chart was rendered with.
    ///
    /// The values of the last revision, whatever became of it. No helm is needed.
    pub read fn helm.values as HelmValues(
        /// The release, for example `cilium`, or `kube-system/cilium`.
        release: ReleaseRef,
    ) options {
        /// The namespace, when the release names none.
        namespace: Option<String>,
        /// The chart's own values too, under those of the release.
        all: Option<bool>,
    } -> "{ [string]: any }", "the values";
    since "0.1";
    example r#"print(helm.values("cilium").ipam)"#;
    needs ["list secrets", "list configmaps"];
}

impl HelmValues {
    async fn run(self, cx: Cx) -> Result<Done> {
        let place = cx.release(&self.release, self.namespace.as_deref());
        let revisions = cx.revisions_there(&place, "reading the values of").await?;
        let Some(last) = revisions.last() else { return Ok(Done::read(Value::Nil)) };
        let release = last.release()?;
        let mut values = release.config();
        if self.all == Some(true) {
            values = rendered(values, release.defaults());
        }
        Ok(Done::read(Value::Json(values)))
    }
}

/// The values that a chart is rendered with: those that were given, over the chart's own. A given `null` takes a value of the chart
/// away; what the chart itself sets to `null` is not there. Source: helm 4.2, `coalesceValues`.
pub(super) fn rendered(given: Json, defaults: Json) -> Json {
    let (Json::Object(mut given), Json::Object(defaults)) = (given, defaults) else { return Json::Object(Map::new()) };
    for (key, mut default) in defaults {
        match given.get_mut(&key) {
            Some(Json::Null) => drop(given.remove(&key)),
            Some(Json::Object(table)) => {
                if let Json::Object(mut source) = default {
                    without_nulls(&mut source);
                    coalesce(table, source);
                }
            }
            Some(_) => {}
            None if default.is_null() => {}
            None => {
                if let Json::Object(table) = &mut default {
                    without_nulls(table);
                }
                given.insert(key, default);
            }
        }
    }
    Json::Object(given)
}

/// The values given now over those that a release was given before, as `--reset-then-reuse-values` does it: a `null` takes a former
/// value back.
pub(super) fn over(given: Json, former: Json) -> Json {
    match (given, former) {
        (Json::Object(mut given), Json::Object(former)) => {
            coalesce(&mut given, former);
            Json::Object(given)
        }
        (given, _) => given,
    }
}

/// Lays one table over another. Source: helm 4.2, `coalesceTablesFullKey` without `merge`.
fn coalesce(over: &mut Map, under: Map) {
    let nulls: BTreeSet<Text> = over.iter().filter(|(_, value)| value.is_null()).map(|(key, _)| key.clone()).collect();
    for (key, value) in under {
        if nulls.contains(&key) {
            // It takes away what is there; where that is null already, there is nothing to take and the null stays.
            if !value.is_null() {
                drop(over.remove(&key));
            }
            continue;
        }
        match (over.get_mut(&key), value) {
            (None, value) => drop(over.insert(key, value)),
            (Some(Json::Object(table)), Json::Object(source)) => coalesce(table, source),
            (Some(_), _) => {}
        }
    }
}

fn without_nulls(table: &mut Map) {
    table.retain(|_, value| !value.is_null());
    for value in table.values_mut() {
        if let Json::Object(table) = value {
            without_nulls(table);
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::base::json::json;

    use super::*;

    #[test]
    fn given_values_lie_over_those_of_the_chart() {
        let chart = json!({ "a": 1, "b": { "c": [1, 2], "d": 2, "n": null }, "gone": 1, "empty": null, "t": { "x": 1 } });
        let given = json!({ "b": { "c": [3], "d": null }, "gone": null, "t": "text", "own": null });
        assert_eq!(rendered(given, chart), json!({ "a": 1, "b": { "c": [3] }, "t": "text", "own": null }));
    }

    #[test]
    fn a_null_takes_a_former_value_back() {
        let former = json!({ "a": 1, "b": { "c": 1, "d": 2 }, "e": 5 });
        let given = json!({ "a": null, "b": { "d": null, "f": 3 }, "new": null });
        assert_eq!(over(given, former), json!({ "b": { "c": 1, "f": 3 }, "e": 5, "new": null }));
        assert_eq!(over(json!({}), json!({ "a": 1 })), json!({ "a": 1 }));
    }
}
