//! `lockgate rbac`: the least roles for a run, from its plan.

use std::collections::BTreeSet;
use std::rc::Rc;

use tokio::runtime::Runtime;

use super::Done;
use super::args::{BudgetArgs, PlanArgs, RbacArgs};
use super::setting::Setting;
use crate::base::{Error, Kind, ObjectRef, Reason, Result};
use crate::cluster::permit::Planned;
use crate::cluster::{Cluster, Recorded, Verb, given};
use crate::primitives::foreign::{self, Touch};
use crate::report::Screen;
use crate::report::rbac::{self, Subject};
use crate::run::End;
use crate::run::rbac::Roles;

/// Makes the plan and prints the roles. Without a target it is made on the runbook's fixture.
///
/// # Errors
/// What was wrong before anything was contacted; or that the plan does not succeed, so that nobody can tell what the run needs.
pub(super) fn rbac(args: &RbacArgs, screen: &Rc<Screen>) -> Done {
    let subject = args.subject.as_deref().map(Subject::parse).transpose()?;
    let mut plan = PlanArgs {
        runbook: args.runbook.clone(),
        params: args.params.clone(),
        target: args.target.clone(),
        // Who derives a role need not have it.
        local: args.target.sandbox.is_none(),
        budget: BudgetArgs::default(),
    };
    if plan.target.context.is_none() && plan.target.kubeconfig.is_none() && plan.target.sandbox.is_none() && plan.target.snapshot.is_none()
    {
        plan.target.sandbox = Some(String::new());
    }
    let mut setting = Setting::open(&plan)?;
    setting.told.iter().for_each(|line| screen.talk(line));
    let (mut summary, _) = setting.plan(None)?;
    let mut planned = setting.cluster.planned();
    // A plan of a simulated cluster reads nothing from it; one of a server shows what it takes to make the plan. There nobody plays what
    // no plan knows, and the plan may end before the other.
    let is_followed = |end: End| matches!(end, End::Succeeded | End::Unknown);
    if let Some(server) = setting.cluster.as_server().filter(|_| is_followed(summary.end)) {
        setting.cluster = server;
        let (asked, _) = setting.plan(None)?;
        if is_followed(asked.end) {
            planned = planned.zip(setting.cluster.planned()).map(|(whole, asked)| whole.and(asked));
        } else {
            summary = asked;
        }
    }
    let unknown = summary.end == End::Unknown;
    if !is_followed(summary.end) {
        let why = summary.error.as_ref().map_or_else(|| "there is nothing to do".to_owned(), ToString::to_string);
        let (kind, reason) = summary.error.as_ref().map_or((Kind::Input, Reason::Precondition), |error| (error.kind, error.reason));
        return Err(Error::new(kind, reason, "the plan does not succeed, so nobody can tell what the run needs")
            .cause(why)
            .hint("make it succeed first: `lockgate plan` shows it"));
    }
    let roles = of_plan(&setting.runtime, &setting.cluster, planned, args.run_only)?;
    let name = format!("lockgate-{}", setting.runbook.name.to_lowercase().replace(|c: char| !c.is_ascii_alphanumeric() && c != '-', "-"));
    let covers = if args.run_only { "`run --no-plan`" } else { "`plan` and `run`" };
    let about = format!(
        "What {covers} of `{}` need on `{}`, from the requests of a plan.\nA role knows no values: images and replicas are kept by the \
         runbook's `permissions`.",
        setting.runbook.name,
        setting.cluster.label().name
    );
    screen.data(&rbac::yaml(&roles, &name, subject.as_ref(), &about));
    if unknown {
        screen.talk(
            "the plan ends where nobody knows how it goes on: the run may need more. A copy of the cluster in a file (`kubectl get -o yaml`), \
             with `Model` documents for whom nobody plays here, gives the roles of the whole run: `--sandbox=FILE`",
        );
    }
    Ok(summary.exit_code)
}

/// The roles of what a plan on this cluster noted; `run_only`: without what it takes to make the plan.
///
/// # Errors
/// When nothing was noted; when the cluster does not answer.
pub(super) fn of_plan(runtime: &Runtime, cluster: &Cluster, planned: Option<Planned>, run_only: bool) -> Result<Roles> {
    let mut planned = planned.ok_or_else(|| Error::internal("a plan was made, and nothing was noted of it"))?;
    if planned.writes() {
        // A run looks for others at work before its first write.
        let asked = runtime.block_on(foreign::requests(cluster, &Touch::of_plan(&planned)))?;
        planned.requests.extend(asked.into_iter().map(|request| Recorded { dry: true, ..request }));
    }
    give_bindings_their_roles(runtime, cluster, &mut planned)?;
    Ok(Roles::of(&planned, run_only, &absent(runtime, cluster, &planned)?))
}

/// Tells of every write to a binding which role it gives: whoever changes no more than a label is asked, too, whether he may give that
/// role, and the role of a binding stays the same. One that may not be read, or is not there, is left as it is.
///
/// # Errors
/// When the cluster does not answer.
fn give_bindings_their_roles(runtime: &Runtime, cluster: &Cluster, planned: &mut Planned) -> Result<()> {
    let aside = cluster.aside();
    let of_bindings = |request: &&mut Recorded| {
        let kind = request.resource.strip_suffix("bindings.rbac.authorization.k8s.io");
        matches!(kind, Some("role" | "clusterrole")) && matches!(request.verb, Verb::Patch | Verb::Update) && request.gives.is_none()
    };
    for request in planned.requests.iter_mut().filter(of_bindings) {
        let Some(name) = &request.name else { continue };
        let (kind, namespace) = match &request.namespace {
            Some(namespace) => ("rolebinding", format!("{namespace}/")),
            None => ("clusterrolebinding", String::new()),
        };
        let found = runtime.block_on(async {
            let target = aside.target(&ObjectRef::parse(&format!("{kind}/{namespace}{name}"))?, None).await?;
            aside.find(&target).await
        });
        let binding = match found {
            Err(error) if error.reason == Reason::Forbidden => None,
            found => found.map_err(|error| error.context(format!("looking which role {kind} `{namespace}{name}` gives")))?,
        };
        request.gives = binding.as_deref().and_then(given);
    }
    Ok(())
}

/// The namespaces of these requests that are not there. One that may not be read counts as there.
///
/// # Errors
/// When the cluster does not answer.
fn absent(runtime: &Runtime, cluster: &Cluster, planned: &Planned) -> Result<BTreeSet<String>> {
    let aside = cluster.aside();
    let named: BTreeSet<&String> = planned.requests.iter().filter_map(|request| request.namespace.as_ref()).collect();
    let mut absent = BTreeSet::new();
    for name in named {
        let found = runtime.block_on(async {
            let target = aside.target(&ObjectRef::parse(&format!("namespace/{name}"))?, None).await?;
            aside.find(&target).await
        });
        match found {
            Ok(Some(_)) => {}
            Ok(None) => drop(absent.insert(name.clone())),
            Err(error) if error.reason == Reason::Forbidden => {}
            Err(error) => return Err(error.context(format!("looking whether namespace `{name}` is there"))),
        }
    }
    Ok(absent)
}
