//! Which of a fixture's charts is meant: by name and version, and by the values that it is rendered with.

use lockgate_sim::model::{ChartModel, Program};

use super::binary;
use super::source::{Named, plain};
use crate::base::json::Value as Json;
use crate::base::{Error, Kind, Reason, Result};
use crate::primitives::cx::Cx;
use crate::primitives::view;

/// A chart as the fixture has it.
pub(super) struct Found {
    /// The entry that fits the values, with the chart's own values.
    pub(super) model: ChartModel,
    /// The objects of all entries of this chart and version: what its digest is over.
    pub(super) content: String,
}

/// The chart of the fixture that is meant, as it is with these values; without values any of its entries. `None` where the fixture has no
/// chart of that name at all, and helm is to be asked.
///
/// # Errors
/// `command_missing` when the fixture says that there is no helm; `helm_chart_not_found` when it has others only, or none for such
/// values; `helm_render` when the chart refuses them.
pub(super) fn find(cx: &Cx, named: &Named<'_>, values: Option<&Json>) -> Result<Option<Found>> {
    let label = cx.cluster.label();
    let Some(simulation) = cx.cluster.simulation().filter(|_| label.simulated) else { return Ok(None) };
    if simulation.with(|sim| sim.models().lacks(Program::Helm)) {
        return Err(binary::not_on_path());
    }
    let charts = simulation.with(|sim| sim.models().charts().to_vec());
    let name = named.short();
    let fits = |chart: &&ChartModel| {
        let packed = format!("{}-{}.tgz", chart.name, chart.version);
        (chart.name == name || packed == name) && named.version.is_none_or(|version| plain(version) == plain(&chart.version))
    };
    let Some(last) = charts.iter().rev().find(fits) else {
        let mut versions: Vec<String> =
            charts.iter().filter(|chart| chart.name == name).map(|chart| format!("`{}`", chart.version)).collect();
        versions.dedup();
        if versions.is_empty() {
            return Ok(None);
        }
        return Err(Error::new(Kind::Input, Reason::HelmChartNotFound, format!("{} is not in the fixture", named.told()))
            .hint(format!("the fixture has {}", view::and(&versions))));
    };
    let same: Vec<&ChartModel> = charts.iter().filter(|chart| chart.name == last.name && chart.version == last.version).collect();
    let own = same.iter().rev().map(|chart| &chart.values).find(|values| !is_empty(values)).unwrap_or(&last.values).clone();
    let content = same.iter().map(|chart| chart.manifest.as_str()).collect();
    let mut effective = own.clone();
    if let Some(values) = values {
        effective.merge(values);
    }
    let found = same.iter().rev().find(|chart| holds(&effective, &chart.when)).or(values.is_none().then_some(&last));
    let Some(found) = found else { return Err(no_such(named, &same)) };
    if let (Some(text), Some(_)) = (&found.fails, values) {
        return Err(Error::new(Kind::Input, Reason::HelmRender, format!("rendering {}", named.told()))
            .cause(text.clone())
            .hint("the chart refuses these values in its own words"));
    }
    Ok(Some(Found { model: ChartModel { values: own, ..(*found).clone() }, content }))
}

/// Whether the fixture has this chart, given as `NAME-VERSION`.
pub(super) fn has(cx: &Cx, chart: &str) -> bool {
    let simulation = cx.cluster.simulation().filter(|_| cx.cluster.label().simulated);
    let is_it =
        |model: &ChartModel| chart.strip_prefix(&model.name).and_then(|rest| rest.strip_prefix('-')) == Some(model.version.as_str());
    simulation.is_some_and(|simulation| simulation.with(|sim| sim.models().charts().iter().any(is_it)))
}

/// The error of values that no entry is for.
fn no_such(named: &Named<'_>, entries: &[&ChartModel]) -> Error {
    let whens: Vec<String> = entries.iter().map(|entry| format!("`{}`", entry.when)).collect();
    Error::new(Kind::Input, Reason::HelmChartNotFound, format!("{} is not in the fixture with these values", named.told()))
        .hint(format!("the fixture has it when the values hold {}", whens.join(" or ")))
}

fn is_empty(value: &Json) -> bool {
    value.as_object().is_none_or(|map| map.is_empty())
}

/// Whether values hold everything that is wanted of them.
pub(super) fn holds(values: &Json, wanted: &Json) -> bool {
    match wanted.as_object() {
        Some(wanted) => wanted.iter().all(|(key, wanted)| values.get(key.as_str()).is_some_and(|value| holds(value, wanted))),
        None => values == wanted,
    }
}
