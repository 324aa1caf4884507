//! `lockgate snapshot`: what a cluster holds, in one file without its secrets.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::args::{BudgetArgs, ParamArgs, PlanArgs, RunbookArgs, SnapshotArgs};
use super::bound::replace;
use super::setting::Setting;
use super::{Done, host, interrupt, target};
use crate::base::{Error, Result};
use crate::cluster::snapshot::{Contents, Wanted};
use crate::cluster::{Access, Cancel, Cluster};
use crate::primitives::registry::plural;
use crate::report::{Screen, escape};

/// Makes it, and tells what is not in it.
///
/// # Errors
/// What was wrong with the words or the target; the cluster does not answer; the file cannot be written.
pub(super) fn snapshot(args: &SnapshotArgs, screen: &Rc<Screen>) -> Done {
    let (cluster, runtime, wanted) = match &args.runbook {
        Some(runbook) => planned(args, runbook, screen)?,
        None => {
            let runtime = host::runtime()?;
            let cancel = Cancel::new();
            let (cluster, told) = target::cluster(&runtime, &args.target, &target::example()?, &cancel)?;
            told.iter().for_each(|line| screen.talk(line));
            interrupt::listen(&cancel)?;
            (cluster, runtime, Wanted::Everything)
        }
    };
    cluster.set_access(Access::ReadOnly);
    let contents = runtime.block_on(cluster.snapshot(&wanted, cluster.clock().now()))?.contents;
    let bytes = contents.bytes()?;
    replace(&args.out, &bytes, "the snapshot")?;
    tell(args, &contents, bytes.len(), screen);
    Ok(0)
}

type Found = (Cluster, Rc<tokio::runtime::Runtime>, Wanted);

/// Makes the plan of a runbook, to see what it reads.
fn planned(args: &SnapshotArgs, runbook: &str, screen: &Rc<Screen>) -> Result<Found> {
    let subject = PlanArgs {
        runbook: RunbookArgs { runbook: runbook.to_owned(), modules: args.modules.clone() },
        params: ParamArgs { params: args.params.clone(), params_file: args.params_file.clone() },
        target: args.target.clone(),
        // Reading is all that is asked for.
        local: args.target.sandbox.is_none(),
        budget: BudgetArgs::default(),
    };
    let mut setting = Setting::open(&subject)?;
    // A plan of a simulated cluster reads nothing from it; one of a server shows what it takes to make the plan.
    if let Some(server) = setting.cluster.as_server() {
        setting.cluster = server;
    }
    setting.told.iter().for_each(|line| screen.talk(line));
    let made = setting.planned(None)?;
    if let Some(error) = &made.summary.error {
        screen.talk(&format!(
            "the plan does not come to its end: the snapshot has what it read until then ({})",
            escape::line(&error.message)
        ));
    }
    let purpose = setting.runbook.name.clone();
    Ok((setting.cluster.clone(), setting.runtime.clone(), Wanted::For { purpose, requests: made.twin.requests() }))
}

fn tell(args: &SnapshotArgs, contents: &Contents, size: usize, screen: &Screen) {
    let head = &contents.head;
    let kinds = contents.kinds();
    screen.data(&format!(
        "snapshot  {}: {} of {} of `{}` ({}), {} KiB\n",
        escape::line(&args.out.display().to_string()),
        plural(contents.len(), "object"),
        plural(kinds, "kind"),
        escape::line(&head.cluster),
        escape::line(&head.version),
        size.div_ceil(1024)
    ));
    for part in head.scopes.iter().filter(|part| part.slim) {
        screen.data(&format!("slim      {}: what tells where they fit and whose they are\n", escape::line(&part.about())));
    }
    for left in &head.refused {
        screen.data(&format!("left out  {}: {}\n", escape::line(&left.what), escape::line(&left.why)));
    }
    // Of Secrets there are many, and all of them are the same story.
    let (secrets, others): (Vec<_>, Vec<_>) = head.cut.iter().partition(|cut| cut.object.starts_with("secret/"));
    let mut copies: BTreeMap<&str, usize> = BTreeMap::new();
    for cut in others {
        if cut.why.starts_with("a copy") {
            *copies.entry(&cut.why).or_default() += 1;
            continue;
        }
        screen.data(&format!("cut       {} {}: {}\n", escape::line(&cut.object), escape::line(&cut.field), cut.why));
    }
    if !secrets.is_empty() {
        screen.data(&format!("cut       {} of Secrets: hashed\n", plural(secrets.len(), "field")));
    }
    for (why, count) in copies {
        screen.data(&format!("cut       {}: {why}\n", plural(count, "annotation")));
    }
}

/// A snapshot is no cluster.
///
/// # Errors
/// When it is to be written to.
pub(super) fn not_to_be_run(target: &super::args::TargetArgs) -> Result<()> {
    match &target.snapshot {
        None => Ok(()),
        Some(path) => Err(Error::usage(format!("`--snapshot {}`: a snapshot is no cluster that something could be done to", path.display()))
            .hint("`lockgate plan … --snapshot FILE --out PLAN` makes a plan of it, which `lockgate run … --plan PLAN` holds a run on the cluster to")),
    }
}
