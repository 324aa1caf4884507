//! `pods/log`: what a container wrote. The lines come from the models, their times from the pod.
//!
//! Options and refusals are those of a real server (tried on v1.36.4) and of its kubelet (`validateContainerLogStatus`).

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::{Call, Cx, exec};
use crate::engine::owners_of;
use crate::json::{Value, json};
use crate::kinds;
use crate::model::LogAnswer;
use crate::request::{Body, Conduct, Request, Response};
use crate::status::{Cause, Status};
use crate::store::{Key, Store};
use crate::view;

/// Which lines are wanted, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Options {
    follow: bool,
    previous: bool,
    timestamps: bool,
    tail: Option<usize>,
    since: Option<Timestamp>,
    bytes: Option<usize>,
}

/// One run of a container: from its start to its end, if it has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Run {
    started: Timestamp,
    ended: Option<Timestamp>,
}

/// A log that is followed: a place in it, to be moved on by [`Cluster::poll_log`](crate::Cluster::poll_log).
#[derive(Debug, Clone, PartialEq)]
pub struct LogFollow {
    pod: Key,
    uid: String,
    container: String,
    run: Run,
    lines: Vec<(Timestamp, String)>,
    told: usize,
    options: Options,
}

/// What a followed log has to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogPoll {
    /// Lines, each with its end.
    Text(String),
    /// Nothing yet; the next line comes at this time, as far as is known.
    Pending(Option<Timestamp>),
    /// The container has ended, or the limit is reached.
    Closed,
}

/// Answers `…/pods/NAME/log`.
pub(super) fn answer(cx: &Cx<'_>, call: &Call, request: &Request) -> Result<Response, Status> {
    let options = options(call, request, cx.now)?;
    let pod = cx.store.get(&call.key()).ok_or_else(|| Status::not_found(kinds::POD, &call.name))?;
    let container = exec::container_of(pod, request)?;
    if view::text(pod, &["spec", "nodeName"]).is_empty() {
        // There is no kubelet to be asked yet.
        return Ok(Response { status: 204, headers: Vec::new(), body: Body::Text(String::new()), conduct: Conduct::default() });
    }
    let run = run_of(pod, container, options.previous)?;
    let written = cx.models.written(pod, &owners_of(cx.store, pod), container, options.previous).ok_or_else(|| {
        let place = format!("container {container} of pod {}/{}", view::namespace(pod), view::name(pod));
        Status::not_modelled(&format!("the log of {place}: no `logs` entry of a Model document is about it"))
    })?;
    let mut follow = LogFollow {
        pod: call.key(),
        uid: view::uid(pod).to_owned(),
        container: container.to_owned(),
        run,
        lines: timed(written, run),
        told: 0,
        options,
    };
    follow.begin(cx.now);
    if options.follow {
        let headers = vec![("Content-Type".to_owned(), "text/plain".to_owned())];
        return Ok(Response { status: 200, headers, body: Body::Log(Arc::new(follow)), conduct: Conduct::default() });
    }
    let mut response = Response::text(200, &follow.take(cx.now));
    response.headers = vec![("Content-Type".to_owned(), "text/plain".to_owned())];
    Ok(response)
}

/// The lines of a run with their times. Nothing is written after its end.
fn timed(written: &LogAnswer, run: Run) -> Vec<(Timestamp, String)> {
    let at = |after: SignedDuration| view::later(run.started, after);
    let lines = written.timed().into_iter().map(|(after, text)| (at(after), text.to_owned()));
    lines.filter(|(at, _)| run.ended.is_none_or(|ended| *at <= ended)).collect()
}

impl LogFollow {
    /// Skips what `tailLines` and `sinceTime` leave out of what is there already.
    fn begin(&mut self, now: Timestamp) {
        let written = self.written(now);
        let first = self.options.tail.map_or(0, |tail| written.saturating_sub(tail));
        self.told = match self.options.since {
            Some(since) => first.max(self.lines.partition_point(|(at, _)| *at < since)),
            None => first,
        };
    }

    /// How many lines there are by now.
    fn written(&self, now: Timestamp) -> usize {
        self.lines.partition_point(|(at, _)| *at <= now)
    }

    /// The lines that came since the last call, cut at the limit.
    fn take(&mut self, now: Timestamp) -> String {
        let written = self.written(now);
        let mut text = String::new();
        for (at, line) in self.lines.get(self.told..written).unwrap_or_default() {
            if self.options.timestamps {
                text.push_str(&nanoseconds(*at));
                text.push(' ');
            }
            text.push_str(line);
            text.push('\n');
        }
        self.told = self.told.max(written);
        if let Some(left) = &mut self.options.bytes {
            let cut = text.floor_char_boundary(*left);
            // Half a character is not worth a broken text: the log ends before it.
            *left = if cut < text.len() { 0 } else { *left - cut };
            text.truncate(cut);
        }
        text
    }

    /// What came since the last call.
    pub(crate) fn poll(&mut self, store: &Store, now: Timestamp) -> LogPoll {
        let text = self.take(now);
        if !text.is_empty() {
            return LogPoll::Text(text);
        }
        let pod = store.get(&self.pod).filter(|pod| view::uid(pod) == self.uid);
        let goes_on = pod.is_some_and(|pod| run_of(pod, &self.container, false).is_ok_and(|run| run == self.run));
        if self.options.bytes == Some(0) || self.run.ended.is_some() || !goes_on {
            return LogPoll::Closed;
        }
        LogPoll::Pending(self.lines.get(self.told).map(|(at, _)| *at))
    }
}

/// The run whose log is meant, or why there is none: the order of the kubelet.
fn run_of(pod: &Value, container: &str, previous: bool) -> Result<Run, Status> {
    let pod_name = view::name(pod);
    let place = format!("container {container:?} in pod {pod_name:?}");
    let Some(status) = exec::status_of(pod, container) else {
        return Err(Status::bad_request(format!("{place} is not available")));
    };
    let time = |path: &[&str], field: &str| view::time(view::at(status, path)?, &[field]);
    let ended = |path: &[&str]| {
        let started = time(path, "startedAt").or_else(|| time(path, "finishedAt")).unwrap_or(Timestamp::UNIX_EPOCH);
        Run { started, ended: Some(time(path, "finishedAt").unwrap_or(started)) }
    };
    let has = |path: &[&str]| view::at(status, path).is_some();
    let last = ["lastState", "terminated"];
    if previous {
        return if has(&last) { Ok(ended(&last)) } else { Err(Status::bad_request(format!("previous terminated {place} not found"))) };
    }
    if has(&["state", "running"]) {
        return Ok(Run { started: time(&["state", "running"], "startedAt").unwrap_or(Timestamp::UNIX_EPOCH), ended: None });
    }
    if has(&["state", "terminated"]) {
        return Ok(ended(&["state", "terminated"]));
    }
    if has(&last) {
        return Ok(ended(&last));
    }
    let why = match view::text(status, &["state", "waiting", "reason"]) {
        _ if !has(&["state", "waiting"]) => " - no logs yet".to_owned(),
        "ErrImagePull" => ": image can't be pulled".to_owned(),
        "ImagePullBackOff" => ": trying and failing to pull image".to_owned(),
        reason => format!(": {reason}"),
    };
    Err(Status::bad_request(format!("{place} is waiting to start{why}")))
}

/// Nine digits behind the second, as a kubelet writes them.
fn nanoseconds(at: Timestamp) -> String {
    let whole = view::stamp(at);
    format!("{}.{:09}Z", whole.trim_end_matches('Z'), at.subsec_nanosecond())
}

fn options(call: &Call, request: &Request, now: Timestamp) -> Result<Options, Status> {
    let flag = |name: &str| request.query(name).is_some_and(|value| !matches!(value.to_ascii_lowercase().as_str(), "false" | "0"));
    let (tail, bytes) = (number(request, "tailLines")?, number(request, "limitBytes")?);
    let (since_seconds, since_time) = (number(request, "sinceSeconds")?, time(request)?);
    let mut causes = Vec::new();
    if let Some(tail) = tail.filter(|tail| *tail < 0) {
        causes.push(Cause::invalid("tailLines", &tail.into(), "must be greater than or equal to 0"));
    }
    if let Some(bytes) = bytes.filter(|bytes| *bytes < 1) {
        causes.push(Cause::invalid("limitBytes", &bytes.into(), "must be greater than 0"));
    }
    match (since_seconds, since_time) {
        (Some(_), Some(_)) => causes.push(Cause::forbidden("[]", "at most one of `sinceTime` or `sinceSeconds` may be specified")),
        (Some(seconds), None) if seconds < 1 => {
            causes.push(Cause::invalid("sinceSeconds", &seconds.into(), "must be greater than 0"));
        }
        _ => {}
    }
    if request.query("stream").is_some_and(|stream| !stream.is_empty()) {
        causes.push(Cause::forbidden("stream", "may not be specified"));
    }
    if !causes.is_empty() {
        return Err(invalid(&call.name, &causes));
    }
    let ago = |seconds: i64| now.checked_sub(SignedDuration::from_secs(seconds)).unwrap_or(Timestamp::MIN);
    Ok(Options {
        follow: flag("follow"),
        previous: flag("previous"),
        timestamps: flag("timestamps"),
        tail: tail.map(|tail| usize::try_from(tail).unwrap_or(usize::MAX)),
        since: since_time.or(since_seconds.map(ago)),
        bytes: bytes.map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX)),
    })
}

fn invalid(name: &str, causes: &[Cause]) -> Status {
    let texts: Vec<String> = causes.iter().map(|c| format!("{}: {}", c.field, c.message)).collect();
    let text = if let [one] = texts.as_slice() { one.clone() } else { format!("[{}]", texts.join(", ")) };
    let list: Vec<Value> = causes.iter().map(|c| json!({"reason": c.reason, "message": c.message, "field": c.field})).collect();
    let details = json!({"name": name, "kind": "PodLogOptions", "causes": list});
    Status::new(422, "Invalid", format!("PodLogOptions {name:?} is invalid: {text}"), details)
}

/// An integer of the query; the error is that of the server's library.
fn number(request: &Request, name: &str) -> Result<Option<i64>, Status> {
    let Some(text) = request.query(name).filter(|text| !text.is_empty()) else { return Ok(None) };
    text.parse().map(Some).map_err(|_| {
        let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
        let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        let why = if is_number { "value out of range" } else { "invalid syntax" };
        Status::bad_request(format!("strconv.ParseInt: parsing {text:?}: {why}"))
    })
}

fn time(request: &Request) -> Result<Option<Timestamp>, Status> {
    let Some(text) = request.query("sinceTime").filter(|text| !text.is_empty()) else { return Ok(None) };
    text.parse().map(Some).map_err(|_| {
        let form = "2006-01-02T15:04:05Z07:00";
        Status::bad_request(format!("parsing time {text:?} as {form:?}: cannot parse {text:?} as \"2006\""))
    })
}
