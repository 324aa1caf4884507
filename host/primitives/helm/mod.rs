//! `helm.*`: releases are read natively; charts are rendered and releases changed by the real helm, led through the run's own
//! endpoint (`cluster/endpoint.rs`), or from a fixture's rendered charts.
//!
//! `release` is how Helm stores what it did, `values` how it puts values together, `source` where charts come from, `binary` and
//! `errors` the program and what it says, `explain` what it leaves out, `contents` what a manifest puts into the cluster, `change` what every change goes through.

mod binary;
mod change;
mod contents;
mod crds;
mod errors;
mod explain;
mod fixture;
mod release;
mod rendered;
mod source;
mod values_file;

pub mod chart;
pub mod diff;
pub mod get;
pub mod history;
pub mod install;
pub mod interrupted;
pub mod list;
pub mod manifest;
pub mod rollback;
pub mod template;
pub mod uninstall;
pub mod unlock;
pub mod upgrade;
pub mod values;

/// Why an option that people know from helm is none of a verb here.
pub(super) fn why_not(verb: &str, option: &str) -> Option<&'static str> {
    if !verb.starts_with("helm.") {
        return None;
    }
    Some(match option {
        "reuse_values" => {
            "with `--reuse-values` helm renders the new chart with the defaults of the old one, so that what is new in the chart has no \
             value; `values_from = \"previous\"` keeps the release's own values over the new chart's defaults"
        }
        "reset_values" => "the chart's own values always count beneath the others; `values_from = \"none\"` drops those of the release",
        "reset_then_reuse_values" => "write `values_from = \"previous\"`",
        "set" | "values_files" => "write `values = { … }`",
        "atomic" | "rollback_on_failure" => {
            "a failed upgrade is left as it is: say in `recover` what is to be done, for example `helm.rollback(release)`"
        }
        "force_conflicts" | "take_ownership" | "force" => "what belongs to others is not taken silently: the error names it",
        _ => return None,
    })
}
