//! `pods/exec`: a command in a container. What it does comes from the models; nothing is ever run.
//!
//! The order of the refusals is that of a real server (tried on v1.36.4): the pod, its container, its node, then whether the
//! request can become a stream at all. What only the kubelet knows, such as a container that does not run, a real server tells
//! on the stream, on the channel of the status; so it is told here.

use std::sync::Arc;

use jiff::Timestamp;

use super::{Call, Cx};
use crate::commands::Will;
use crate::engine::owners_of;
use crate::json::{Value, json};
use crate::kinds;
use crate::lifecycle::hold::Seen;
use crate::lifecycle::words::{NO_TABLE, Words};
use crate::model::Condition;
use crate::request::{Body, Conduct, Request, Response};
use crate::status::Status;
use crate::view;

/// A command in a container as it was asked for, with what comes of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Exec {
    /// The words of the command.
    pub command: Vec<String>,
    /// Whether the client sends standard input.
    pub stdin: bool,
    /// Whether the client wants standard output.
    pub stdout: bool,
    /// Whether the client wants standard error.
    pub stderr: bool,
    /// Whether both go through a terminal; then all output is standard output.
    pub tty: bool,
    /// What comes of it: a run of the command, or why there is none.
    pub outcome: Result<Ran, Status>,
}

/// What a command does once it is started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ran {
    /// What it writes to standard output.
    pub stdout: String,
    /// What it writes to standard error.
    pub stderr: String,
    /// Its exit code.
    pub code: u8,
    /// When it ends by itself, in virtual time.
    pub ends_at: Timestamp,
    /// Whether it copies standard input to standard output until the input ends.
    pub echo: bool,
    /// Its number, when it acts on standard input: whoever has the stream tells [`Cluster::input`](crate::Cluster::input) all of it when
    /// it has ended.
    pub reads: Option<u64>,
}

impl Exec {
    /// The last word on the stream, on the channel of the status: success, the exit code, or why the command did not run.
    #[must_use]
    pub fn status(&self) -> Value {
        let ran = match &self.outcome {
            Ok(ran) => ran,
            Err(status) => {
                let mut status = status.as_value().clone();
                for field in ["kind", "apiVersion"] {
                    view::remove(&mut status, &[field]);
                }
                return status;
            }
        };
        if ran.code == 0 {
            return json!({"metadata": {}, "status": "Success"});
        }
        let code = ran.code.to_string();
        json!({
            "metadata": {}, "status": "Failure", "reason": "NonZeroExitCode",
            "message": format!("command terminated with non-zero exit code: command terminated with exit code {code}"),
            "details": {"causes": [{"reason": "ExitCode", "message": code}]},
        })
    }
}

/// Answers `…/pods/NAME/exec`.
pub(super) fn answer(cx: &mut Cx<'_>, call: &Call, request: &Request) -> Result<Response, Status> {
    let pod = &cx.store.get(&call.key()).cloned().ok_or_else(|| Status::not_found(kinds::POD, &call.name))?;
    let container = container_of(pod, request)?.to_owned();
    if view::text(pod, &["spec", "nodeName"]).is_empty() {
        return Err(Status::bad_request(format!("pod {} does not have a host assigned", call.name)));
    }
    match request.upgrade.to_ascii_lowercase().as_str() {
        // Who has the connection makes a stream of the answer in this protocol.
        "websocket" | "spdy/3.1" => {}
        "" => return Err(Status::bad_request("Upgrade request required")),
        other => return Err(Status::not_modelled(&format!("exec over {other}"))),
    }
    let asked = |name: &str| request.query(name).is_some_and(|value| !matches!(value.to_ascii_lowercase().as_str(), "false" | "0"));
    let command: Vec<String> = request.query.iter().filter(|(name, _)| name == "command").map(|(_, word)| word.clone()).collect();
    let (stdin, stdout, tty) = (asked("stdin"), asked("stdout"), asked("tty"));
    let stderr = asked("stderr") && !tty;
    let outcome = if stdin || stdout || stderr {
        run(cx, pod, &container, &command)
    } else {
        Err(refused("you must specify at least 1 of stdin, stdout, stderr"))
    };
    let exec = Exec { command, stdin, stdout, stderr, tty, outcome };
    Ok(Response { status: 101, headers: Vec::new(), body: Body::Exec(Arc::new(exec)), conduct: Conduct::default() })
}

/// The words of a kubelet that does not take the request, as the API server passes them on.
fn refused(why: &str) -> Status {
    Status::internal(format!("unable to upgrade connection: {why}"))
}

fn run(cx: &mut Cx<'_>, pod: &Arc<Value>, container: &str, command: &[String]) -> Result<Ran, Status> {
    if status_of(pod, container).and_then(|status| view::at(status, &["state", "running"])).is_none() {
        return Err(refused(&format!("container not found ({container:?})")));
    }
    let (store, models) = (&*cx.store, cx.models);
    let holds = |condition: &Condition, found: &[String]| Seen { store, index: None, object: pod, found }.holds(condition);
    let unknown = || {
        let place = format!("container {container} of pod {}/{}", view::namespace(pod), view::name(pod));
        Status::not_modelled(&format!("`{}` in {place}: no `exec` entry of a Model document is about it", command.join(" ")))
    };
    let (answer, found) = models.command((pod, &owners_of(store, pod)), container, command, holds).ok_or_else(unknown)?;
    let words = Words { store, subject: pod, table: &NO_TABLE, found: &found };
    let said = |text: &str| words.text(text).ok_or_else(unknown);
    let ran = Ran {
        stdout: said(&answer.stdout)?,
        stderr: said(&answer.stderr)?,
        code: answer.code,
        ends_at: answer.takes.map_or(cx.now, |takes| view::later(cx.now, takes.0)),
        echo: answer.echo,
        reads: None,
    };
    if !answer.effect.is_empty() {
        let will = Will { found, changes: answer.effect.clone(), ends: ran.ends_at };
        cx.will = Some((Arc::clone(pod), will));
    }
    Ok(ran)
}

/// Lists of containers in a pod, with where their states are.
const LISTS: [(&str, &str); 3] = [
    ("initContainers", "initContainerStatuses"),
    ("containers", "containerStatuses"),
    ("ephemeralContainers", "ephemeralContainerStatuses"),
];

/// The container that a request means: the one it names, or the only one.
pub(super) fn container_of<'a>(pod: &'a Value, request: &'a Request) -> Result<&'a str, Status> {
    let names = |list: &str| view::list(pod, &["spec", list]).iter().map(|container| view::text(container, &["name"]));
    let all: Vec<&str> = LISTS.iter().flat_map(|(list, _)| names(list)).collect();
    match request.query("container").unwrap_or_default() {
        "" => match view::list(pod, &["spec", "containers"]) {
            [only] => Ok(view::text(only, &["name"])),
            _ => Err(Status::bad_request(format!(
                "a container name must be specified for pod {}, choose one of: [{}]",
                view::name(pod),
                all.join(" ")
            ))),
        },
        name if all.contains(&name) => Ok(name),
        name => Err(Status::bad_request(format!("container {name} is not valid for pod {}", view::name(pod)))),
    }
}

/// What the status of the pod says about a container.
pub(super) fn status_of<'a>(pod: &'a Value, container: &str) -> Option<&'a Value> {
    let named = |status: &&Value| view::text(status, &["name"]) == container;
    LISTS.iter().find_map(|(_, statuses)| view::list(pod, &["status", statuses]).iter().find(named))
}
