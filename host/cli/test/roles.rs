//! The roles of a runbook's plan are what its run needs, and no more: a run on the same fixture as a user who has these and nothing else is
//! refused nothing, and uses each right.

use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};

use lockgate_sim::User;
use lockgate_sim::request::{Method, Request};

use super::free::{FIXTURE, Planned, failed, planned};
use super::kill::{Kill, Process, World, process};
use super::life::Agrees;
use crate::base::Result;
use crate::cli::rbac::of_plan;
use crate::cli::{host, record, target};
use crate::cluster::{Act, Cancel, Cluster, Options, RunId};
use crate::report::rbac::{self, Subject};
use crate::run::journal::book::OnDrift;
use crate::run::lock::Errand;
use crate::run::rbac::Roles;
use crate::run::rights::{Asked, left_over};
use crate::run::{self, End, Source, Voice};

/// Who runs it.
const USER: &str = "upgrader";
/// How many rights or requests are told.
const TOLD: usize = 6;

/// Whether a committed plan says that the run would succeed: only then are its roles those of a whole run.
pub(super) fn is_whole(plan: &str) -> bool {
    plan.lines().any(|line| line.starts_with("would succeed"))
}

/// Runs it under the roles of its plan.
///
/// # Errors
/// What was refused; what was not needed; or how else the run ended.
pub(super) fn exact(source: &Source) -> Result<()> {
    let plan = planned(source, FIXTURE)?;
    if plan.summary.end != End::Succeeded {
        return Err(failed("the plan does not succeed, so nobody can tell what the run needs".to_owned()));
    }
    let roles = roles(&plan)?;
    let subject = Subject::parse(&format!("user:{USER}"))?;
    let documents = rbac::yaml(&roles, USER, Some(&subject), "What the run needs.").replace("# What", "---\n# What");
    let text = source.beside.read(FIXTURE)?.unwrap_or_default();
    let cluster = target::sandbox("sandbox", &source.beside.label(FIXTURE), &format!("{text}\n{documents}"), &Cancel::new())?;
    let asked = run(source, &plan, &cluster)?;
    let refused = asked.iter().filter(|request| request.status == 403);
    let refused: Vec<String> =
        refused.map(|request| format!("{} {} {}", request.verbs.join(" and "), request.resource, request.name)).collect();
    told("a run under the roles of its plan is refused what it needs", refused)?;
    let rights = roles.rights();
    told("the roles of its plan have what no run needs", left_over(&rights, &asked).into_iter().map(ToString::to_string).collect())
}

fn told(what: &str, these: Vec<String>) -> Result<()> {
    if these.is_empty() {
        return Ok(());
    }
    let error = failed(what.to_owned()).hint("`lockgate rbac` prints the roles; please report what it does not know");
    Err(these.into_iter().take(TOLD).fold(error, crate::base::Error::cause))
}

/// The roles of the run alone: the plan of a simulated cluster asks nobody.
fn roles(plan: &Planned) -> Result<Roles> {
    let runtime = host::runtime()?;
    of_plan(&runtime, &plan.cluster, plan.cluster.planned(), true)
}

/// The run, as the user; everything that it asked of the server.
fn run(source: &Source, plan: &Planned, cluster: &Cluster) -> Result<Vec<Asked>> {
    let runtime = host::runtime()?;
    let mut script = host::script(source, &[], &runtime)?;
    script.load()?;
    let simulation = cluster.simulation().ok_or_else(|| crate::base::Error::internal("a sandbox without a cluster"))?;
    let user = User::new(USER, &[]);
    let asked: Arc<Mutex<Vec<Asked>>> = Arc::default();
    let (all, own) = (asked.clone(), user.clone());
    simulation.on_answer(move |request, status| {
        if request.user.as_ref().is_some_and(|user| user.name == own.name) {
            all.lock().unwrap_or_else(PoisonError::into_inner).push(told_of(request, status));
        }
    });
    let name = Some("sandbox".to_owned());
    let cluster = Cluster::beside(&simulation.by(user), Options { name, ..Options::new(RunId::simulated(simulation.now(), 1)) });
    if let Some(planned) = plan.cluster.planned() {
        cluster.set_planned(planned);
    }
    // By its uid a cluster is known again.
    record::identity(&runtime, &cluster)?;
    let made = Process {
        runtime: runtime.clone(),
        cluster: cluster.clone(),
        script: script.as_mut(),
        runbook: plan.runbook.clone(),
        params: plan.params.clone(),
        voice: Voice::Person { operator: Rc::new(Agrees), consented: plan.summary.confirmations.clone() },
        kill: Kill::No,
        on_drift: OnDrift::Stop,
        lock: Some(Errand::Begin),
        work: &|script, job| run::perform(script, job),
        beside: &Vec::new,
    };
    let lived = process(&World::of(simulation.clone(), None), made);
    let summary = match (lived.refused, lived.summary) {
        (Some(error), _) => return Err(error.context("a run under the roles of its plan")),
        (None, summary) => summary.ok_or_else(|| crate::base::Error::internal("a run that nobody killed has no end"))?,
    };
    match summary.error {
        Some(error) => Err(error.context("a run under the roles of its plan")),
        None if summary.end == End::Succeeded => Ok(std::mem::take(&mut *asked.lock().unwrap_or_else(PoisonError::into_inner))),
        None => Err(failed(format!("a run under the roles of its plan ends as {:?}", summary.end).to_lowercase())),
    }
}

/// A request as the authorizer has it.
fn told_of(request: &Request, status: u16) -> Asked {
    let query: Vec<String> = request.query.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let method = match request.method {
        Method::Get => http::Method::GET,
        Method::Post => http::Method::POST,
        Method::Put => http::Method::PUT,
        Method::Patch => http::Method::PATCH,
        Method::Delete => http::Method::DELETE,
    };
    let act = Act::of(&method, &request.path, &query.join("&"));
    let mut verbs = vec![act.verb.as_str().to_owned()];
    // An apply that creates, and a command over WebSocket, are asked about twice.
    if status == 201 && act.verb.as_str() != "create" {
        verbs.push("create".to_owned());
    }
    if method == http::Method::GET && act.verb.as_str() == "create" {
        verbs.push("get".to_owned());
    }
    let part = act.subresource.map(|part| format!("/{part}")).unwrap_or_default();
    let (namespace, name) = (act.namespace.unwrap_or_default(), act.name.unwrap_or_default());
    Asked { verbs, group: act.group, resource: act.resource + &part, namespace, name, status: status.into() }.with_escalation()
}
