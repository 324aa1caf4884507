//! A bundled runbook under exactly the roles that `lockgate rbac` prints for it.

use lockgate::cluster::Act;

use super::Outcome;
use super::audit::Request;
use super::binaries::Binaries;
use super::command;
use super::fixture::{self, RUNBOOK};
use super::plane::{ControlPlane, Pace};
use super::procedures;
use super::trials::{IMAGE, TRAP};
use crate::roles::{Asked, left_over, rights};

/// Who has no rights of his own.
pub(super) const USER: &str = "nobody";

/// The roles are those of a plan on this cluster. With them, and nothing else, plan and run succeed; none of them is left over.
pub(crate) fn exact(binaries: &Binaries) -> Outcome {
    let plane = ControlPlane::start(binaries, Pace::default())?;
    fixture::put(&plane, TRAP)?;
    let printed = command::run(&plane, "operator", &["rbac", RUNBOOK, IMAGE, "--subject", &format!("user:{USER}")])?;
    printed.expect_code(0)?;
    plane.apply(&printed.stdout)?;
    command::run(&plane, USER, &["run", RUNBOOK, IMAGE, "--yes"])?.expect_code(0)?;
    are_exact(&plane, USER, &printed.stdout)?;
    // What it writes is compared in cases of its own.
    procedures::is_record(&plane, "cce", "")
}

/// Of what this user asked nothing was refused, and nothing of these roles was not needed for it.
///
/// # Errors
/// What was, or was not.
fn are_exact(plane: &ControlPlane, user: &str, roles: &str) -> Outcome {
    are_exact_since(plane, user, roles, 0)
}

/// The same from a request of the server's log on.
///
/// # Errors
/// As [`are_exact`].
pub(super) fn are_exact_since(plane: &ControlPlane, user: &str, roles: &str, since: usize) -> Outcome {
    let requests: Vec<Request> = plane.audit()?.into_iter().skip(since).filter(|request| request.user == user).collect();
    let forbidden = requests.iter().filter(|request| request.code == 403);
    let forbidden: Vec<String> = forbidden.map(|request| format!("{} {} ({})", request.verb, request.uri, request.user_agent)).collect();
    if !forbidden.is_empty() {
        return Err(format!("{roles}\nforbidden: {forbidden:#?}"));
    }
    let asked: Vec<Asked> = requests.iter().map(asked).collect();
    let rights = rights(roles)?;
    let over = left_over(&rights, &asked);
    if over.is_empty() { Ok(()) } else { Err(format!("{roles}\nnot needed: {over:#?}")) }
}

fn asked(request: &Request) -> Asked {
    let (path, query) = request.uri.split_once('?').unwrap_or((&request.uri, ""));
    let act = Act::of(&http::Method::GET, path, query);
    let streams = matches!(act.subresource.as_deref(), Some("exec" | "attach" | "portforward"));
    let part = act.subresource.map(|part| format!("/{part}")).unwrap_or_default();
    let mut verbs = vec![request.verb.clone()];
    if request.code == 201 && request.verb != "create" {
        verbs.push("create".to_owned());
    }
    // Over WebSocket it is a GET, and the server asks about `create` besides.
    if streams && request.verb == "get" {
        verbs.push("create".to_owned());
    }
    Asked {
        verbs,
        group: act.group,
        resource: act.resource + &part,
        namespace: act.namespace.unwrap_or_default(),
        name: act.name.unwrap_or_default(),
        status: request.code,
    }
    .with_escalation()
}
