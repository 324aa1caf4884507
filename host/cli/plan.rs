//! `lockgate plan`: the run itself, on a copy of the cluster.

use std::rc::Rc;

use super::Done;
use super::args::{Format, PlanArgs};
use super::setting::Setting;
use crate::report::{Screen, json};

/// Makes the plan and prints it.
///
/// # Errors
/// What was wrong before anything was contacted. How the plan ended is the exit code.
pub(super) fn plan(args: &PlanArgs, screen: &Rc<Screen>) -> Done {
    let mut setting = Setting::open(args)?;
    setting.told.iter().for_each(|line| screen.talk(line));
    let format = args.output.output;
    let shown = (format == Format::Text).then(|| (screen.clone(), format));
    let (summary, records) = setting.plan(shown)?;
    if format == Format::Json {
        screen.data(&json::plan(&summary, &records)?);
    }
    if let Some(error) = &summary.error {
        screen.error(error);
    }
    Ok(summary.exit_code)
}
