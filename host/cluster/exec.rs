//! Running a command in a container of a pod, on a live or a simulated cluster.
//!
//! There is no shell in between, and a command is never sent again: nobody knows what its first half did. An end without a
//! status is a lost connection, never success.

use futures::future::OptionFuture;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::AttachParams;
use serde::Serialize;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};

use super::cancel::Stage;
use super::client::{Cluster, Target};
use super::error::Trouble;
use super::request::{Call, Verb};
use crate::base::clock::later;
use crate::base::json::Value as Json;
use crate::base::{Result, Span};

/// What is kept of each output: the beginning.
const KEPT: usize = 1 << 20;

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
        self.cancel().check()?;
        let call = self.call(Verb::Create, pod, Some("exec"));
        let server = self.wire().server();
        let deadline = later(self.clock().now(), limit.as_duration());
        let trouble = tokio::select! {
            biased;
            ran = self.run_command(pod, command) => match ran {
                Ok(executed) => return Ok(executed),
                Err(trouble) => trouble,
            },
            () = self.cancel().reached(Stage::Abandoned) => Trouble::Stopped,
            parked = self.clock().park(Some(deadline)) => match parked {
                Ok(_) => Trouble::Silent(limit),
                Err(error) => Trouble::Error(error),
            },
        };
        Err(trouble.into_error(&told(call, command), server))
    }

    /// The same for a command of which the script says that it changes nothing: it is let through where only reads are allowed.
    ///
    /// # Errors
    /// As [`Cluster::exec`].
    pub async fn exec_reading(&self, pod: &Target, command: &Command, limit: Span) -> Result<Executed> {
        let _reading = self.gate().read_in(pod.namespace.as_deref().unwrap_or(self.namespace()), &pod.name);
        self.exec(pod, command, limit).await
    }

    async fn run_command(&self, pod: &Target, command: &Command) -> Result<Executed, Trouble> {
        // Virtual time stands still until the stream holds it.
        let busy = self.clock().busy();
        let client = self.wire().client().map_err(Trouble::Error)?;
        let api: Api<Pod> = Api::namespaced(client, pod.namespace.as_deref().unwrap_or(self.namespace()));
        let params = AttachParams {
            container: command.container.clone(),
            stdin: command.stdin.is_some(),
            stdout: true,
            stderr: true,
            ..AttachParams::default()
        };
        let mut process = api.exec(&pod.name, command.words.clone(), &params).await.map_err(of)?;
        drop(busy);
        let (stdin, stdout, stderr) = (process.stdin(), process.stdout(), process.stderr());
        let input = async {
            if let (Some(mut stdin), Some(text)) = (stdin, &command.stdin) {
                // A command that does not read all of its input is not at fault.
                stdin.write_all(text.as_bytes()).await.ok();
                stdin.shutdown().await.ok();
            }
        };
        // All at once: the library's pipes are small, and one that is not read holds up the others.
        let status: OptionFuture<_> = process.take_status().into();
        let answers = async { tokio::join!(keep(stdout), keep(stderr), status) };
        tokio::pin!(answers);
        let (stdout, stderr, status) = tokio::select! {
            // A command that ends before it has read its input takes the rest of it along.
            all = &mut answers => all,
            () = input => answers.await,
        };
        let ended_without = || Trouble::Lost("the stream ended without a status of the command".to_owned());
        let status = status.flatten().ok_or_else(ended_without)?;
        let code = code(&document(&status)?)?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ok(Executed { code, stdout: text(&stdout.0), stderr: text(&stderr.0), truncated: stdout.1 || stderr.1 })
    }
}

fn told(mut call: Call, command: &Command) -> Call {
    call.about = format!("`{}` in {}", command.words.join(" "), call.about);
    call
}

/// An error before the stream: the server's own document, or what the connection says.
fn of(error: kube::Error) -> Trouble {
    match error {
        kube::Error::Api(status) => {
            let code = status.code;
            match document(&status) {
                Ok(status) => Trouble::Status { code, retry_after: None, status },
                Err(trouble) => trouble,
            }
        }
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

/// Reads to the end and keeps the beginning; tells whether there was more.
async fn keep(stream: Option<impl AsyncRead + Unpin>) -> (Vec<u8>, bool) {
    let Some(mut stream) = stream else { return (Vec::new(), false) };
    let (mut kept, mut more, mut buffer) = (Vec::new(), false, [0; 8 << 10]);
    // A stream that breaks ends without a status, and that is the error.
    while let Ok(length @ 1..) = stream.read(&mut buffer).await {
        let room = KEPT.saturating_sub(kept.len()).min(length);
        kept.extend_from_slice(&buffer[..room]);
        more |= room < length;
    }
    (kept, more)
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
