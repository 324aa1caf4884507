//! Running a command in a container of a pod, on a live or a simulated cluster.
//!
//! There is no shell in between, and a command is not started again: nobody knows what its first half did. Only what was never begun,
//! because the server was busy, was not reached or wanted other credentials, is sent again; and what only reads is, as any read. An end
//! without a status is a lost connection, never success.

use http::HeaderValue;
use http::header::USER_AGENT;
use k8s_openapi::api::core::v1::Pod;
use kube::Resource as _;
use kube::api::{AttachParams, Request};
use serde::Serialize;

use super::cancel::Stage;
use super::channels::converse;
use super::client::{Cluster, Target};
use super::error::Trouble;
use super::request::{AGENT, Call, Verb};
use crate::base::clock::{Duration, later};
use crate::base::json::Value as Json;
use crate::base::{Error, Result, Span, Timestamp};

/// What is kept of each output: the beginning.
const KEPT: usize = 1 << 20;
/// The first and the longest pause before a command that has not begun is sent again.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// A command to be run in a container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Command {
    /// Its words; the first is the program.
    pub words: Vec<String>,
    /// The container; may be left out where the pod has only one.
    pub container: Option<String>,
    /// Standard input; none when left out.
    pub stdin: Option<String>,
}

/// What a command gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Executed {
    /// Its exit code.
    pub code: i32,
    /// Its standard output; bytes that are no text become replacement characters.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
    /// Whether an output was longer than 1 MiB, of which the beginning is kept.
    pub truncated: bool,
}

impl Cluster {
    /// Runs a command in a container and waits for its end, at most for `limit`.
    ///
    /// # Errors
    /// `not_found` for the pod, `invalid` for the container, `unmodelled` when no model says what the command does, `refused`,
    /// `forbidden`; `unreachable` or `timeout` with `details.outcome` `unknown` when the end is not known. A command that fails
    /// is no error: see [`Executed::code`].
    pub async fn exec(&self, pod: &Target, command: &Command, limit: Span) -> Result<Executed> {
        self.executed(pod, command, limit, false).await
    }

    /// The same for a command of which the script says that it changes nothing: it is let through where only reads are allowed.
    ///
    /// # Errors
    /// As [`Cluster::exec`].
    pub async fn exec_reading(&self, pod: &Target, command: &Command, limit: Span) -> Result<Executed> {
        let _reading = self.gate().read_in(pod.namespace.as_deref().unwrap_or(self.namespace()), &pod.name);
        self.executed(pod, command, limit, true).await
    }

    async fn executed(&self, pod: &Target, command: &Command, limit: Span, reads: bool) -> Result<Executed> {
        self.cancel().check()?;
        let call = told(self.call(Verb::Create, pod, Some("exec")), command);
        if !reads {
            let begun = self.clock().now();
            self.gate().fence().pass(self.cancel(), |state| self.wire().delayed(&call, begun, state)).await?;
        }
        self.permitted(&call).await?;
        let wire = self.wire();
        let begun = self.clock().now();
        let mut deadline = later(begun, limit.as_duration());
        let (mut pause, mut renewed, mut last) = (PAUSES.0, false, false);
        loop {
            let trouble = match self.once(pod, command, limit, deadline).await {
                Ok(executed) => return Ok(executed),
                Err(trouble) => trouble,
            };
            // Who the server does not know has run nothing; a token may have expired.
            if matches!(trouble, Trouble::Status { code: 401, .. }) && !renewed {
                renewed = true;
                wire.renew();
                continue;
            }
            if matches!(trouble, Trouble::Status { code: 401, .. }) {
                return Err(self.gate().fence().signed_out(trouble.into_error(&call, wire.server())));
            }
            let wait = if reads { trouble.is_transient() } else { wire.again(&call, &trouble) };
            let may_run = wait.is_some();
            let now = self.clock().now();
            let next = wait.map(|asked| later(now, asked.map_or(pause, Duration::from_secs)));
            let Some(next) = next.filter(|next| *next < deadline && !last) else {
                // What has not begun, or only reads, is asked again when a server that is away has come back.
                let away = match may_run {
                    true => self.gate().fence().outlast(self.cancel(), |state| wire.delayed(&call, begun, state)).await?,
                    false => None,
                };
                if away == Some(true) || (away == Some(false) && !last) {
                    (last, pause) = (away == Some(false), PAUSES.0);
                    deadline = later(self.clock().now(), limit.as_duration());
                    continue;
                }
                let error = trouble.into_error(&call, wire.server());
                return Err(if reads { error } else { unknown(error) });
            };
            wire.delayed(&call, begun, format!("{}; trying again in {}", trouble.brief(), Span::between(now, next).rounded()));
            wire.rest(next).await?;
            pause = (pause * 2).min(PAUSES.1);
        }
    }

    /// One try, until the deadline of all of them.
    async fn once(&self, pod: &Target, command: &Command, limit: Span, deadline: Timestamp) -> Result<Executed, Trouble> {
        tokio::select! {
            biased;
            ran = self.run_command(pod, command) => ran,
            () = self.cancel().reached(Stage::Abandoned) => Err(Trouble::Stopped),
            parked = self.clock().park(Some(deadline)) => Err(match parked {
                Ok(_) => Trouble::Silent(limit),
                Err(error) => Trouble::Error(error),
            }),
        }
    }

    async fn run_command(&self, pod: &Target, command: &Command) -> Result<Executed, Trouble> {
        let client = self.wire().client().map_err(Trouble::Error)?;
        let params = AttachParams {
            container: command.container.clone(),
            stdin: command.stdin.is_some(),
            stdout: true,
            stderr: true,
            ..AttachParams::default()
        };
        let path = Pod::url_path(&(), Some(pod.namespace.as_deref().unwrap_or(self.namespace())));
        let request = Request::new(path).exec(&pod.name, command.words.clone(), &params);
        let mut request = request.map_err(|error| Trouble::Error(Error::internal("a command is no request").cause(error.to_string())))?;
        drop(request.headers_mut().insert(USER_AGENT, HeaderValue::from_static(AGENT)));
        // Virtual time stands still until whoever answers has taken the request over.
        drop(request.extensions_mut().insert(self.clock().busy()));
        let connection = client.connect(request).await.map_err(of)?;
        let ends = connection.supports_stream_close();
        let said = converse(connection.into_stream(), command.stdin.as_deref(), ends, KEPT).await.map_err(Trouble::Lost)?;
        let status =
            serde_json::from_slice(&said.status).map_err(|error| Trouble::Strange(format!("the status of the command: {error}")))?;
        let code = code(&status)?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ok(Executed { code, stdout: text(&said.stdout), stderr: text(&said.stderr), truncated: said.truncated })
    }
}

/// A server or kubelet that failed does not say how far the command came.
fn unknown(mut error: Error) -> Error {
    if error.details.get("code").and_then(Json::as_u64).is_some_and(|code| (500..600).contains(&code) && code != 501) {
        error.details["outcome"] = "unknown".into();
        error.message.push_str("; whether it ran is unknown");
    }
    error
}

fn told(mut call: Call, command: &Command) -> Call {
    call.doing = Some("running");
    call.about = format!("`{}` in {}", command.words.join(" "), call.about);
    call
}

/// An error before the stream: the server's own document, or what the connection says.
fn of(error: kube::Error) -> Trouble {
    match error {
        kube::Error::Api(status) => {
            let code = status.code;
            match document(&status) {
                Ok(status) => {
                    let retry_after = status.pointer("/details/retryAfterSeconds").and_then(Json::as_u64).filter(|seconds| *seconds > 0);
                    Trouble::Status { code, retry_after, status }
                }
                Err(trouble) => trouble,
            }
        }
        // It answered, and did not make a stream of it.
        kube::Error::UpgradeConnection(error) => Trouble::Strange(error.to_string()),
        error => Trouble::of(error),
    }
}

/// One of the library's documents as ours.
fn document(status: &impl Serialize) -> Result<Json, Trouble> {
    let text = serde_json::to_vec(status).map_err(|error| Trouble::Strange(error.to_string()))?;
    serde_json::from_slice(&text).map_err(|error| Trouble::Strange(error.to_string()))
}

/// The exit code that a status tells; one that tells none says why the command did not run.
fn code(status: &Json) -> Result<i32, Trouble> {
    let text = |field: &str| status.get(field).and_then(Json::as_str).unwrap_or_default();
    if text("status") == "Success" {
        return Ok(0);
    }
    let causes = status.pointer("/details/causes").and_then(Json::as_array).into_iter().flatten();
    let exit = causes.filter(|cause| cause.get("reason").and_then(Json::as_str) == Some("ExitCode"));
    let code = exit.filter_map(|cause| cause.get("message")?.as_str()?.parse().ok()).next();
    match code {
        Some(code) if text("reason") == "NonZeroExitCode" => Ok(code),
        _ => {
            let code = status.get("code").and_then(Json::as_u64).and_then(|code| u16::try_from(code).ok()).unwrap_or(500);
            Err(Trouble::Status { code, retry_after: None, status: status.clone() })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::json::json;

    #[test]
    fn only_a_status_of_success_is_zero() {
        assert_eq!(code(&json!({"status": "Success"})).unwrap(), 0);
        let failed = json!({"status": "Failure", "reason": "NonZeroExitCode",
            "details": {"causes": [{"reason": "ExitCode", "message": "137"}]}});
        assert_eq!(code(&failed).unwrap(), 137);
        for not_run in [json!({}), json!({"status": "Failure", "reason": "NonZeroExitCode"}), json!({"status": "Failure", "code": 501})] {
            assert!(code(&not_run).is_err(), "{not_run}");
        }
    }
}
