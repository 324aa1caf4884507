//! `lockgate plan`: the run itself, on a copy of the cluster.

use std::rc::Rc;

use super::args::{Format, PlanCommandArgs, ReportFormat};
use super::setting::Setting;
use super::{Done, bound};
use crate::report::explained::{self, Asked};
use crate::report::planned::Plan;
use crate::report::{Screen, json};
use crate::run::End;
use crate::run::planfile::short;

/// Makes the plan and prints it.
///
/// # Errors
/// What was wrong before anything was contacted. How the plan ended is the exit code.
pub(super) fn plan(args: &PlanCommandArgs, screen: &Rc<Screen>) -> Done {
    let mut setting = Setting::open(&args.plan)?;
    setting.told.iter().for_each(|line| screen.talk(line));
    let shown = (args.output == ReportFormat::Text).then(|| (screen.clone(), Format::Text));
    let made = if args.explain.is_some() { setting.explained()? } else { setting.planned(shown)? };
    let steady = made.steady();
    if let Some(step) = &args.explain {
        screen.data(&explained::text(step, &made.basis, &steady, asked(args, &setting), screen.paint)?);
    }
    match args.output {
        ReportFormat::Text => {}
        ReportFormat::Json => screen.data(&json::plan(&steady, &made.summary, &made.records, &made.downtime)?),
        ReportFormat::Markdown => {
            let records = steady.records(&made.records)?;
            screen.data(&Plan { records: &records, downtime: &made.downtime }.markdown());
        }
        ReportFormat::Html => {
            let records = steady.records(&made.records)?;
            screen.data(&Plan { records: &records, downtime: &made.downtime }.html());
        }
    }
    if let Some(path) = &args.out {
        match made.summary.end {
            End::Succeeded | End::Unknown => {
                let file = bound::bind(&setting, &made, &args.plan.runbook.modules)?;
                bound::write(path, &file.text()?)?;
                let (path, hash) = (path.display(), short(&file.hash));
                screen.talk(&format!("the plan is in `{path}`, with the hash {hash}; `--plan {path}` holds a run to it"));
            }
            _ => screen.talk(&format!("there is nothing that could be run: `{}` was not written", path.display())),
        }
    }
    if let Some(error) = &made.summary.error {
        screen.error(error);
    }
    Ok(made.summary.exit_code)
}

/// Who is asked about the writes of this plan.
fn asked(args: &PlanCommandArgs, setting: &Setting) -> Asked {
    match (setting.cluster.label().simulated, setting.cluster.is_snapshot()) {
        (true, _) => Asked::Simulated,
        (_, true) => Asked::Snapshot,
        _ if args.plan.local => Asked::Local,
        _ => Asked::Server,
    }
}
