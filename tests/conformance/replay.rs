//! The simulated cluster as a target, in this process.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use lockgate::cluster::Simulation;
use lockgate_sim::fixture::Fixture;
use lockgate_sim::model::{KubeletState, NodeModel};
use lockgate_sim::{Body, Cluster, Method, Options, Request, Response, User, WatchId, WatchPoll};
use serde_json::Value;

use super::Outcome;
use super::case::{self, Case};
use super::golden::{Answer, Sent};
use super::run::{Command, Target};

/// After so long without a change nothing happens by itself, except what has a deadline of its own.
const QUIET: SignedDuration = SignedDuration::from_millis(1000);
/// The longest time that it may take to come to rest.
const LIMIT: SignedDuration = SignedDuration::from_secs(120);

/// A simulated cluster.
pub(crate) struct Simulated {
    cluster: Simulation,
    start: Timestamp,
    watches: Vec<WatchId>,
}

impl Simulated {
    /// The cluster that a case begins with.
    ///
    /// # Errors
    /// What is wrong with its file.
    pub(crate) fn new(case: &Case) -> Outcome<Simulated> {
        let text = format!("{}\n---\n{}", case.cluster, case.model);
        let fixture = Fixture::parse("cluster.yaml", &text).map_err(|error| error.to_string())?;
        let plane = &case.text.plane;
        let options = Options {
            service_accounts: plane.service_accounts,
            emulated: plane.emulates.clone(),
            version: plane.version.clone().unwrap_or(Options::default().version),
            ..Options::default()
        };
        if plane.alone {
            return Simulated::alone(case, options);
        }
        let mut cluster = fixture.cluster(options).map_err(|error| error.to_string())?;
        cluster.furnish();
        let mut simulated = Simulated::over(cluster);
        simulated.rest()?;
        Ok(simulated)
    }

    /// An API server without anybody who works with it, and what was sent to it.
    fn alone(case: &Case, options: Options) -> Outcome<Simulated> {
        let mut cluster = Cluster::new(options);
        for controller in lockgate_sim::CONTROLLERS {
            cluster.stop_controller(controller);
        }
        let mut simulated = Simulated::over(cluster);
        for document in case.cluster.split("\n---\n").filter(|text| text.lines().any(|line| !line.is_empty() && !line.starts_with('#'))) {
            let object: Value = serde_saphyr::from_str(document).map_err(|error| format!("{}: cluster: {error}: {document}", case.name))?;
            let path = case::collection(&object)?;
            let body = object.to_string();
            let sent = Sent { method: "POST".to_owned(), path, content_type: "application/json".to_owned(), body, ..Sent::default() };
            let answer = simulated.send(&sent)?;
            if answer.status != 201 {
                return Err(format!("{}: cluster: {} {}", case.name, answer.status, answer.body));
            }
        }
        Ok(simulated)
    }

    /// The same with a controller that does nothing once the cluster stands.
    ///
    /// # Errors
    /// As [`Self::new`], or there is no such controller.
    pub(crate) fn without(case: &Case, controller: &str) -> Outcome<Simulated> {
        let simulated = Simulated::new(case)?;
        if simulated.cluster.with(|cluster| cluster.stop_controller(controller)) {
            Ok(simulated)
        } else {
            Err(format!("there is no {controller}"))
        }
    }

    /// As [`Self::new`], but a rule of the simulation does not hold.
    ///
    /// # Errors
    /// As [`Self::new`], or there is no such rule.
    pub(crate) fn without_rule(case: &Case, rule: &str) -> Outcome<Simulated> {
        let simulated = Simulated::new(case)?;
        if simulated.cluster.with(|cluster| cluster.switch_off(rule)) { Ok(simulated) } else { Err(format!("there is no rule {rule}")) }
    }

    /// This cluster.
    pub(crate) fn over(cluster: Cluster) -> Simulated {
        let start = cluster.now();
        Simulated { cluster: Simulation::new(cluster), start, watches: Vec::new() }
    }

    /// The cluster itself.
    pub(crate) fn simulation(&self) -> &Simulation {
        &self.cluster
    }

    /// Moves time on to this instant.
    fn go(&self, to: Timestamp) -> Outcome {
        self.cluster.with(|cluster| {
            cluster.advance_to(to);
            cluster.failure().map_or(Ok(()), |failure| Err(format!("the simulator says: {failure}")))
        })
    }

    /// The instant of the next event.
    fn next(&self) -> Option<Timestamp> {
        self.cluster.with(|cluster| cluster.next_event_at())
    }

    /// The version of the newest change.
    fn version(&self) -> u64 {
        self.cluster.with(|cluster| cluster.store().rv())
    }
}

impl Target for Simulated {
    fn send(&mut self, sent: &Sent) -> Outcome<Answer> {
        let request = request(sent)?;
        Ok(self.cluster.with(|cluster| {
            let response = cluster.handle(&request);
            if let Body::Watch(id) = response.body {
                cluster.close_watch(id);
            }
            answer(&response)
        }))
    }

    fn watch(&mut self, path: &str) -> Outcome<Result<usize, Answer>> {
        let request = request(&Sent { method: "GET".to_owned(), path: path.to_owned(), ..Sent::default() })?;
        let response = self.cluster.with(|cluster| cluster.handle(&request));
        match response.body {
            Body::Watch(id) => {
                self.watches.push(id);
                Ok(Ok(self.watches.len() - 1))
            }
            _ => Ok(Err(answer(&response))),
        }
    }

    fn told(&mut self, watch: usize) -> Outcome<Vec<Value>> {
        let id = *self.watches.get(watch).ok_or("no such watch")?;
        Ok(self.cluster.with(|cluster| {
            let mut told = Vec::new();
            while let WatchPoll::Event(event) = cluster.poll_watch(id) {
                told.push(Value::from(&event));
            }
            told
        }))
    }

    fn kubectl(&mut self, _: &[String], _: &str, _: i32) -> Outcome<Option<Command>> {
        Ok(None)
    }

    fn drains(&mut self, _: &[String]) -> Outcome<bool> {
        Ok(false)
    }

    fn clock(&self) -> Duration {
        self.cluster.now().duration_since(self.start).try_into().unwrap_or_default()
    }

    fn tick(&mut self) -> Outcome {
        let soon = self.cluster.now() + SignedDuration::from_secs(1);
        let next = self.next().filter(|next| *next > self.cluster.now() && *next < soon);
        self.go(next.unwrap_or(soon))
    }

    fn advance(&mut self, time: Duration) -> Outcome {
        let time = SignedDuration::try_from(time).map_err(|error| error.to_string())?;
        self.go(self.cluster.now() + time)
    }

    fn compact(&mut self) -> Outcome {
        self.cluster.with(Cluster::compact);
        Ok(())
    }

    fn silence(&mut self, node: &str) -> Outcome {
        let stopped = NodeModel { pattern: node.to_owned(), kubelet: KubeletState::Stopped, why: "a step of the case".to_owned() };
        self.cluster.with(|cluster| cluster.models_mut().node(stopped));
        Ok(())
    }

    fn rest(&mut self) -> Outcome {
        let limit = self.cluster.now() + LIMIT;
        let mut quiet_since = self.cluster.now();
        let mut version = self.version();
        loop {
            let end = quiet_since + QUIET;
            let next = self.next().filter(|next| *next <= end);
            self.go(next.unwrap_or(end))?;
            if self.version() != version {
                version = self.version();
                quiet_since = self.cluster.now();
            } else if self.cluster.now() >= end {
                return Ok(());
            }
            if self.cluster.now() > limit {
                return Err("the simulated cluster does not come to rest".to_owned());
            }
        }
    }
}

fn request(sent: &Sent) -> Outcome<Request> {
    let method = match sent.method.as_str() {
        "GET" => Method::Get,
        "POST" => Method::Post,
        "PUT" => Method::Put,
        "PATCH" => Method::Patch,
        "DELETE" => Method::Delete,
        other => return Err(format!("no method {other}")),
    };
    let mut request = Request::new(method, &sent.path);
    request.path = decoded(&request.path)?;
    for (name, value) in &mut request.query {
        *name = decoded(name)?;
        *value = decoded(&value.replace('+', " "))?;
    }
    request.content_type.clone_from(&sent.content_type);
    request.accept.clone_from(&sent.accept);
    request.user_agent.clone_from(&sent.agent);
    request.body = sent.bytes();
    request.user = (!sent.user.is_empty()).then(|| User::new(&sent.user, &[]));
    Ok(request)
}

fn answer(response: &Response) -> Answer {
    let body = match &response.body {
        Body::Json(value) => Value::from(&**value),
        Body::Text(text) => Value::from(text.as_str()),
        Body::Watch(_) | Body::Log(_) | Body::Exec(_) => Value::Null,
    };
    let warnings = response.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("warning")).map(|(_, value)| value.clone());
    // What is not modelled here no other server says.
    let warnings = warnings.filter(|text| !text.contains("simulator:")).collect();
    Answer { status: response.status, warnings, body }
}

/// A part of a request line without its `%XX`.
fn decoded(text: &str) -> Outcome<String> {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, others)) = rest.split_first() {
        let code = others.get(..2).and_then(|code| u8::from_str_radix(std::str::from_utf8(code).ok()?, 16).ok());
        match code.filter(|_| *first == b'%') {
            Some(code) => {
                bytes.push(code);
                rest = &others[2..];
            }
            None => {
                bytes.push(*first);
                rest = others;
            }
        }
    }
    String::from_utf8(bytes).map_err(|_| format!("`{text}` is no text"))
}
