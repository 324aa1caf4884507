//! The values of a call: put together here, never by helm, and handed over in one private file.

use std::ffi::OsString;

use super::release::Release;
use super::values::over;
use crate::base::json::{Map, Value as Json};
use crate::base::{Error, Result};
use crate::choice;
use crate::cluster::endpoint::File;
use crate::primitives::cx::Cx;

choice! {
    /// What the values of an upgrade begin with.
    pub enum ValuesFrom {
        /// The values that the release has.
        Previous = "previous",
        /// None: what is not given here is as the chart has it.
        Nothing = "none",
    } is "\"previous\" | \"none\"", "\"previous\" or \"none\""
}

/// The values given, as a table.
///
/// # Errors
/// Usage, when they are none.
pub(super) fn given(verb: &str, values: Option<&Json>) -> Result<Json> {
    match values {
        None => Ok(Json::Object(Map::new())),
        Some(Json::Object(map)) => Ok(Json::Object(map.clone())),
        Some(Json::Array(items)) if items.is_empty() => Ok(Json::Object(Map::new())),
        Some(_) => Err(Error::usage(format!("`{verb}`: option `values` must be a table of values"))),
    }
}

/// The whole values of an upgrade: with `previous` those of the revision that helm builds on beneath those given, as `--reset-then-reuse-values` has it.
///
/// # Errors
/// Usage: which values an upgrade begins with must be said.
pub(super) fn of_upgrade(verb: &str, given: Json, from: Option<ValuesFrom>, base: &Release) -> Result<Json> {
    match from {
        Some(ValuesFrom::Previous) => Ok(over(given, base.config())),
        Some(ValuesFrom::Nothing) => Ok(given),
        None => {
            Err(Error::usage(format!("`{verb}`: `values_from` is missing: the release exists, and its values must be kept or dropped"))
                .hint("`values_from = \"previous\"` keeps them beneath those given here, `values_from = \"none\"` drops them"))
        }
    }
}

/// Writes them for helm to read; the file is gone with the value.
///
/// # Errors
/// When it cannot be written.
pub(super) fn file(cx: &Cx, values: &Json) -> Result<File> {
    // JSON is YAML.
    let text = serde_json::to_vec(values).map_err(|error| Error::internal("writing values").cause(error.to_string()))?;
    let own = crate::cluster::RunId::generate();
    File::write(cx.cluster.scratch()?.join(format!("values-{own}.yaml")), &text)
}

/// The words that hand it over: these values and no others.
pub(super) fn words(file: &File) -> [OsString; 2] {
    ["--values".into(), file.path().into()]
}
