//! `exec`: a command in a container.

use crate::base::json::json;

use super::containers::{does_not_run, meant};
use super::cx::Cx;
use super::done::{Done, Inverse, Wrote};
use super::view;
use super::workload::unsupported;
use crate::base::{Error, Kind, ObjectRef, Reason, Result, Span, Value};
use crate::cluster::keep::Outcome;
use crate::cluster::machines::line;
use crate::cluster::{Command, Executed, Target};
use crate::primitive;

const DOING: &str = "running a command in";
/// How long a command may take when nothing is said.
const TIMEOUT: Span = Span::from_secs(60);
/// How much of an error's text goes into the error of `check`.
const SHOWN: usize = 2000;

primitive! {
    /// Runs a command in a container of a pod and waits for its end. There is no shell in between: `argv` is the program and its arguments.
    ///
    /// A command that ends with another code than 0 is no error unless `check` is set. It is never started twice: when the connection breaks
    /// the error says that its outcome is unknown; only one that reads is run anew then. When a run was interrupted in the middle of it, it
    /// is run again only when a person says so. In a plan nothing runs; only a model of the simulated cluster can answer, else the plan
    /// is unknown from there on (see `assume`). With `read = true` it is said to change nothing, and may be called in checks and `verify`.
    pub write fn exec as Exec(
        /// The pod, for example `pod/calicoctl`.
        pod: ObjectRef,
        /// The program and its arguments.
        argv: Vec<String>,
    ) options {
        /// The namespace, when the reference has none.
        namespace: Option<String>,
        /// The container; else the one of the pod's annotation `kubectl.kubernetes.io/default-container`, else the first.
        container: Option<String>,
        /// Standard input; none when left out.
        stdin: Option<String>,
        /// Makes a code other than 0 an error, `command_failed`.
        check: Option<bool>,
        /// Says that the command changes nothing.
        read: Option<bool>,
        /// The time allowed; default 1 minute.
        timeout: Option<Span>,
    } -> "{ code: number, stdout: string, stderr: string, truncated: boolean }",
        "the exit code and both outputs; of an output beyond 1 MiB the beginning, and `truncated` is true";
    since "0.1";
    example r#"local found = json(exec("pod/calicoctl", { "calicoctl", "get", "hostendpoints", "-o", "json" }, { check = true, read = true }).stdout)"#;
    needs ["get pods", "get,create pods/exec"];
}

impl Exec {
    async fn run(self, cx: Cx) -> Result<Done> {
        let timeout = self.timeout.unwrap_or(TIMEOUT);
        self.check_words(timeout)?;
        let target = cx.target(&self.pod, self.namespace.as_deref()).await?;
        if (target.resource.group.as_str(), target.resource.kind.as_str()) != ("", "Pod") {
            let message = format!("{DOING} `{target}`: a {} has no containers that run", target.resource);
            return Err(unsupported(&target, message).hint("give one of its pods: `list(\"pods\", { labels = … })`"));
        }
        let pod = cx.read(&target).await?;
        let phase = view::text(&pod, "/status/phase");
        if view::is_finished(&pod) {
            let message = format!("{DOING} `{target}`: it has ended ({phase})");
            return Err(Error::new(Kind::Cluster, Reason::Precondition, message)
                .about(target.full_name())
                .hint("nothing runs in it any more"));
        }
        let container = meant(&target, DOING, &pod, self.container.as_deref())?;
        if let Some(why) = does_not_run(&pod, &container) {
            let message = format!("{DOING} `{target}`: container `{container}` does not run: {why}");
            return Err(Error::new(Kind::Cluster, Reason::NotReady, message)
                .about(target.full_name())
                .hint(format!("wait for it: `wait_for(\"{}\", \"Ready\")`", target.full_name())));
        }
        let command = Command { words: self.argv.clone(), container: Some(container), stdin: self.stdin.clone() };
        let reads = self.read == Some(true);
        let ran = match reads {
            true => cx.cluster.exec_reading(&target, &command, timeout).await,
            false => self.once(&cx, &target, &command, timeout).await?,
        };
        let ran = ran.map_err(|error| explained(&target, &self.argv, error))?;
        let wrote = if reads { Vec::new() } else { vec![self.wrote(&target)] };
        if self.check == Some(true) && ran.code != 0 {
            wrote.iter().for_each(|wrote| cx.talk.wrote(wrote));
            return Err(failed(&target, &self.argv, &ran));
        }
        let Executed { code, stdout, stderr, truncated } = ran;
        let value = Value::Json(json!({ "code": code, "stdout": stdout, "stderr": stderr, "truncated": truncated }));
        Ok(Done::wrote(value, wrote))
    }

    /// Runs it, and notes that before and after. A command leaves no trace by which it could be found again: whether one that was being run
    /// when the run was interrupted is to be run anew is for a person to say.
    async fn once(&self, cx: &Cx, target: &Target, command: &Command, timeout: Span) -> Result<Result<Executed>> {
        let record = cx.cluster.begin_elsewhere("exec", &target.full_name(), Some(&self.argv.join(" ")));
        let question = match record.before() {
            None | Some((_, Some(Outcome::NotMade { .. }))) => None,
            Some((_, Some(Outcome::Made { .. }))) => Some("ran before this run was interrupted, and what it gave is lost"),
            Some((_, Some(Outcome::Unknown { .. }) | None)) => Some("was being run when this run was interrupted, and may have run"),
        };
        if let Some(what) = question {
            cx.talk.confirm(&format!("`{}` in {target} {what}. Run it again?", self.argv.join(" "))).await?;
        }
        record.intend(json!({ "container": command.container }))?;
        let ran = cx.cluster.exec(target, command, timeout).await;
        record.became(&ran)?;
        Ok(ran)
    }

    fn check_words(&self, timeout: Span) -> Result<()> {
        if self.argv.first().is_none_or(String::is_empty) {
            return Err(Error::usage("`exec`: argument `argv` names no program").hint("write `{ \"program\", \"argument\" }`"));
        }
        if self.argv.iter().any(|word| word.contains('\0')) {
            return Err(Error::usage("`exec`: argument `argv` holds a word with a zero byte, which no command can take"));
        }
        if timeout.is_zero() {
            return Err(Error::usage("`exec`: option `timeout` is 0").hint("a command needs some time"));
        }
        Ok(())
    }

    /// What the record says it did: `exec rndc reload in pod/dns-0`. The command is told whole, since it is all that is known of what changes.
    fn wrote(&self, target: &Target) -> Wrote {
        Wrote {
            verb: "exec".to_owned(),
            target: format!("{} in {target}", line(&self.argv)),
            changes: Vec::new(),
            inverse: Inverse::Irreversible("only who wrote the command knows what takes it back".to_owned()),
        }
    }
}

/// The container's runtime says in its own words that there is no such program (runc: `exec failed: … executable file not found`,
/// `no such file or directory`); the server passes that on as a fault of its own.
fn explained(target: &Target, argv: &[String], error: Error) -> Error {
    let said = error.causes.iter().any(|cause| {
        cause.contains("executable file not found") || (cause.contains("exec failed") && cause.contains("no such file or directory"))
    });
    if !said {
        return error;
    }
    let message = format!("{DOING} `{target}`: there is no program `{}` in the container", argv.first().map_or("", String::as_str));
    let mut missing = Error::new(Kind::Cluster, Reason::CommandMissing, message).about(target.full_name());
    missing.causes.clone_from(&error.causes);
    missing
}

fn failed(target: &Target, argv: &[String], ran: &Executed) -> Error {
    let message = format!("{DOING} `{target}`: `{}` ended with code {}", argv.join(" "), ran.code);
    let last = |text: &str| {
        let text = text.trim_end();
        let skipped = text.chars().count().saturating_sub(SHOWN);
        text.chars().skip(skipped).collect::<String>()
    };
    let said = if ran.stderr.trim().is_empty() { last(&ran.stdout) } else { last(&ran.stderr) };
    let mut error = Error::new(Kind::Cluster, Reason::CommandFailed, message)
        .about(target.full_name())
        .details(json!({ "code": ran.code, "stdout": ran.stdout, "stderr": ran.stderr }));
    if !said.is_empty() {
        error = error.cause(said);
    }
    // The conventions of shells (POSIX, 2.8.2), which images' entry scripts follow.
    match ran.code {
        126 => error.hint("code 126: the program is there and cannot be run"),
        127 => error.hint("code 127: a program was not found"),
        137 => error.hint("code 137: it was killed, perhaps for want of memory"),
        _ => error,
    }
}
