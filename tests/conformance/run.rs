//! Runs the steps of a case against a cluster, a real one or a simulated one, in the same way.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Map, Value};

use super::Outcome;
use super::case::{self, Action, Ask, Case, NAMESPACE, Wait};
use super::golden::{Answer, Done, Exchange, Sent};
use super::names::Names;
use super::normalise;
use super::parallel;
use super::template::{self, Known};
use super::traces::Traces;

/// Somewhere to run a case.
pub(crate) trait Target {
    /// Sends a request and gives its answer.
    ///
    /// # Errors
    /// There is no answer.
    fn send(&mut self, sent: &Sent) -> Outcome<Answer>;

    /// Opens a watch and gives its number, or the answer that refuses it.
    ///
    /// # Errors
    /// There is no answer.
    fn watch(&mut self, path: &str) -> Outcome<Result<usize, Answer>>;

    /// The events that a watch has told since it was asked last.
    ///
    /// # Errors
    /// They cannot be read.
    fn told(&mut self, watch: usize) -> Outcome<Vec<Value>>;

    /// Sends a request of the case itself, by the way that clients go.
    ///
    /// # Errors
    /// There is no answer.
    fn ask(&mut self, sent: &Sent) -> Outcome<Answer> {
        self.send(sent)
    }

    /// Runs kubectl; `None` where there is no kubectl: its recorded requests are sent then.
    ///
    /// # Errors
    /// It ended with another code.
    fn kubectl(&mut self, arguments: &[String], stdin: &str, exit: i32) -> Outcome<Option<Command>>;

    /// Drains nodes at the same time, each with a kubectl of its own; false where there is no kubectl.
    ///
    /// # Errors
    /// One of them failed.
    fn drains(&mut self, nodes: &[String]) -> Outcome<bool>;

    /// The time since the case began.
    fn clock(&self) -> Duration;

    /// Lets the next thing happen.
    ///
    /// # Errors
    /// The cluster is broken.
    fn tick(&mut self) -> Outcome;

    /// Lets time pass.
    ///
    /// # Errors
    /// As [`Self::tick`].
    fn advance(&mut self, time: Duration) -> Outcome;

    /// Lets the server forget what was before now.
    ///
    /// # Errors
    /// It cannot.
    fn compact(&mut self) -> Outcome;

    /// Lets the kubelet of a node fall silent. Its node has the label [`SILENT`] before.
    ///
    /// # Errors
    /// It cannot be silenced.
    fn silence(&mut self, node: &str) -> Outcome;

    /// Lets time pass until nothing has changed for a while.
    ///
    /// # Errors
    /// Something changes on and on.
    fn rest(&mut self) -> Outcome;
}

/// The label of a node whose kubelet says nothing: nobody plays it on the real control plane.
pub(crate) const SILENT: &str = "test.io/silent";

/// What a command did.
#[derive(Debug, Default)]
pub(crate) struct Command {
    /// What it sent and what came back.
    pub(crate) passed: Vec<(Sent, Answer)>,
    /// Its standard output.
    pub(crate) stdout: String,
    /// Its standard error.
    pub(crate) stderr: String,
}

/// What was done, and why it stopped before its end.
#[derive(Debug, Default)]
pub(crate) struct Ran {
    /// The steps.
    pub(crate) steps: Vec<Done>,
    /// What failed.
    pub(crate) failure: Option<String>,
}

struct Runner<'a> {
    case: &'a Case,
    target: &'a mut dyn Target,
    names: Names,
    answers: BTreeMap<String, Value>,
    /// By their names; none for one that was refused.
    watches: BTreeMap<String, Option<usize>>,
    unexpected: Vec<String>,
}

/// Runs a case. `recorded` has the requests of kubectl for a target that has none.
pub(crate) fn run(case: &Case, target: &mut dyn Target, recorded: &[Done]) -> Ran {
    let mut runner =
        Runner { case, target, names: Names::default(), answers: BTreeMap::new(), watches: BTreeMap::new(), unexpected: Vec::new() };
    let mut ran = Ran::default();
    let traces = match Traces::begin(&case.name, runner.target) {
        Ok(traces) => traces,
        Err(error) => return Ran { failure: Some(error), ..ran },
    };
    for (index, step) in case.text.steps.iter().enumerate() {
        let exchanges = recorded.get(index).map_or(&[][..], |done| done.exchanges.as_slice());
        let done = step.action().and_then(|action| runner.step(index, &action, step.rests(), exchanges));
        match done {
            Ok(done) => ran.steps.push(done),
            Err(error) => {
                ran.failure = Some(format!("step {}: {error}", index + 1));
                break;
            }
        }
    }
    if ran.failure.is_none() {
        match traces.end(runner.target) {
            Ok(broken) => runner.unexpected.extend(broken),
            Err(error) => runner.unexpected.push(error),
        }
    }
    if !runner.unexpected.is_empty() {
        ran.failure = Some(runner.unexpected.join("\n"));
    }
    ran
}

impl Runner<'_> {
    fn step(&mut self, index: usize, action: &Action, rests: bool, recorded: &[Exchange]) -> Outcome<Done> {
        let mut done = Done { step: format!("{} {}", index + 1, words(action)), ..Done::default() };
        match action {
            Action::Kubectl(arguments, stdin, exit) => {
                let command = self.target.kubectl(arguments, stdin, *exit)?;
                self.learn()?;
                match command {
                    Some(command) => {
                        done.said = normalise::said(&command.stdout, &command.stderr, &self.names, self.case.text.keep);
                        done.exchanges = self.of_kubectl(command.passed);
                    }
                    None => done.exchanges = self.replay(recorded)?,
                }
            }
            Action::Drains(nodes) => {
                if !self.target.drains(nodes)? {
                    parallel::drain(self.target, nodes)?;
                }
                self.learn()?;
            }
            Action::Request(ask, status) => {
                let (sent, answer) = self.request(ask)?;
                self.rest(rests)?;
                done.exchanges = vec![self.exchange(&sent, &answer, true)];
                let wanted = status.map_or(answer.status < 300, |status| status == answer.status);
                if !wanted && recorded.is_empty() {
                    // The rest of the case is run all the same: whoever writes a case wants to see all that is wrong with it.
                    self.unexpected.push(format!("step {}: {} {}: {} {}", index + 1, ask.method, ask.path, answer.status, answer.body));
                }
            }
            Action::Wait(wait) => self.wait(wait)?,
            Action::Snap(_) => done.seen = Value::Object(self.snap()?),
            Action::Advance(seconds) => self.target.advance(Duration::from_secs(*seconds))?,
            Action::Compact => self.target.compact()?,
            Action::Silence(node) => self.silence(node)?,
            Action::Watch(name, path) => done.exchanges = self.watch(name, path)?,
            Action::Events(name) => {
                self.rest(rests)?;
                let watch = *self.watches.get(name).ok_or_else(|| format!("no watch is called {name}"))?;
                if let Some(watch) = watch {
                    let told = self.target.told(watch)?;
                    told.iter().for_each(|event| self.names.learn_made(event));
                    done.seen = told.iter().map(|event| normalise::told(event, &self.names, self.case.text.keep)).collect();
                }
            }
        }
        self.rest(rests && !matches!(action, Action::Snap(_) | Action::Events(_) | Action::Request(..)))?;
        Ok(done)
    }

    fn silence(&mut self, node: &str) -> Outcome {
        let label = Sent {
            method: "PATCH".to_owned(),
            path: format!("/api/v1/nodes/{node}"),
            content_type: "application/merge-patch+json".to_owned(),
            body: serde_json::json!({"metadata": {"labels": {SILENT: "yes"}}}).to_string(),
            ..Sent::default()
        };
        let answer = self.target.send(&label)?;
        if answer.status != 200 {
            return Err(format!("a label for node {node}: {} {}", answer.status, answer.body));
        }
        self.target.silence(node)
    }

    /// Opens a watch; a refusal is an exchange.
    fn watch(&mut self, name: &str, path: &str) -> Outcome<Vec<Exchange>> {
        let watch = self.target.watch(&self.fill(path)?)?;
        self.watches.insert(name.to_owned(), watch.as_ref().ok().copied());
        Ok(match watch {
            Ok(_) => Vec::new(),
            Err(answer) => vec![self.exchange(&Sent { method: "GET".to_owned(), path: path.to_owned(), ..Sent::default() }, &answer, true)],
        })
    }

    fn rest(&mut self, rests: bool) -> Outcome {
        if rests {
            self.target.rest()?;
        }
        self.learn()
    }

    /// Learns the names that were made up since.
    fn learn(&mut self) -> Outcome {
        for path in ["apps/v1/namespaces/NS/replicasets", "apps/v1/namespaces/NS/controllerrevisions"] {
            let list = self.get(&format!("/apis/{}", path.replace("NS", NAMESPACE)))?;
            self.names.learn_hashes(&list.body);
        }
        let pods = self.get(&format!("/api/v1/namespaces/{NAMESPACE}/pods"))?;
        self.names.learn_made(&pods.body);
        Ok(())
    }

    fn get(&mut self, path: &str) -> Outcome<Answer> {
        self.target.send(&Sent {
            method: "GET".to_owned(),
            path: path.to_owned(),
            accept: "application/json".to_owned(),
            ..Sent::default()
        })
    }

    fn request(&mut self, ask: &Ask) -> Outcome<(Sent, Answer)> {
        let sent = Sent {
            method: ask.method.clone(),
            path: self.fill(&ask.path)?,
            content_type: ask.content_type.clone(),
            accept: ask.accept.clone(),
            agent: "case".to_owned(),
            body: self.fill(&ask.body)?,
            hex: String::new(),
            user: ask.user.clone(),
        };
        let answer = self.target.ask(&sent)?;
        self.names.learn_made(&answer.body);
        if let Some(name) = &ask.name {
            self.answers.insert(name.clone(), answer.body.clone());
        }
        let line = Sent { method: ask.method.clone(), path: ask.path.clone(), user: ask.user.clone(), ..Sent::default() };
        Ok((line, answer))
    }

    /// A text of the case with what earlier answers say.
    fn fill(&self, text: &str) -> Outcome<String> {
        let find = |reference: &str| -> Option<String> {
            let (name, pointer) = reference.split_once(':')?;
            match case::pick(self.answers.get(name)?, pointer)? {
                Value::String(text) => Some(text.clone()),
                other => Some(other.to_string()),
            }
        };
        template::replace(text, &find)
    }

    /// The exchanges of kubectl that are kept, with references in the place of what it took from answers.
    fn of_kubectl(&self, all: Vec<(Sent, Answer)>) -> Vec<Exchange> {
        let mut kept: Vec<(Sent, Answer, bool)> = Vec::new();
        for (sent, answer) in all {
            if is_discovery(&sent.path) {
                continue;
            }
            // What is asked or tried again and again is polled: how often depends on the clock.
            let again = |(earlier, before, _): &(Sent, Answer, bool)| {
                let same = earlier.method == sent.method && unversioned(&earlier.path) == unversioned(&sent.path);
                same && (sent.reads() || (before.status == 429 && answer.status == 429))
            };
            if kept.iter().any(again) {
                if let Some((_, _, rests)) = kept.last_mut() {
                    *rests = true;
                }
                continue;
            }
            let watches = sent.watches();
            kept.push((sent, answer, watches));
        }
        let mut exchanges = Vec::new();
        for (index, (sent, answer, rests)) in kept.iter().enumerate() {
            let known = Known::of(kept.iter().take(index).map(|(_, answer, _)| answer), &self.names);
            let mut exchange = self.exchange(&known.template(sent), answer, !sent.reads());
            exchange.rests = *rests;
            exchanges.push(exchange);
        }
        in_order(exchanges)
    }

    /// Sends what kubectl sent when it was recorded.
    fn replay(&mut self, recorded: &[Exchange]) -> Outcome<Vec<Exchange>> {
        let (mut answers, mut exchanges): (Vec<Answer>, Vec<Exchange>) = (Vec::new(), Vec::new());
        for before in recorded {
            let answer = match template::resolve(&before.sent, &answers, &self.names) {
                Ok(sent) => self.target.send(&sent)?,
                Err(error) => return Err(format!("{} {}: {error}", before.sent.method, before.sent.path)),
            };
            if before.rests {
                self.target.rest()?;
            }
            self.learn()?;
            let mut exchange = self.exchange(&before.sent, &answer, !before.sent.reads());
            exchange.rests = before.rests;
            exchanges.push(exchange);
            answers.push(answer);
        }
        Ok(exchanges)
    }

    fn exchange(&self, sent: &Sent, answer: &Answer, whole: bool) -> Exchange {
        let body = if whole { normalise::answer(&answer.body, &self.names, self.case.text.keep) } else { Value::Null };
        Exchange { sent: sent.clone(), status: answer.status, warnings: answer.warnings.clone(), answer: body, rests: false }
    }

    fn wait(&mut self, wait: &Wait) -> Outcome {
        let path = self.fill(&wait.path()?)?;
        let end = self.target.clock() + Duration::from_secs(wait.patience());
        loop {
            let answer = self.get(&path)?;
            if wait.holds(answer.status, &answer.body) {
                return Ok(());
            }
            if self.target.clock() > end {
                let body: String = answer.body.to_string().chars().take(1500).collect();
                return Err(format!("waited {} s: not so: {}\n{} {body}", wait.patience(), wait.words(), answer.status));
            }
            self.target.tick()?;
        }
    }

    fn snap(&mut self) -> Outcome<Map<String, Value>> {
        self.learn()?;
        let mut lists = Vec::new();
        for (plural, path) in case::snap_lists() {
            let answer = self.get(&path)?;
            self.names.learn_made(&answer.body);
            lists.push((plural, answer));
        }
        let mut seen = Map::new();
        for (plural, answer) in lists.into_iter().filter(|(_, answer)| answer.status == 200) {
            let objects = normalise::objects(plural, &answer.body, &self.names, self.case.text.keep);
            if !objects.is_empty() {
                seen.insert(plural.to_owned(), Value::Object(objects));
            }
        }
        Ok(seen)
    }
}

/// A drain evicts and asks for all pods at once, each time in another order: first all evictions then, by their paths, and one rest
/// at the end. Where a budget refuses some the order matters and stays.
fn in_order(mut exchanges: Vec<Exchange>) -> Vec<Exchange> {
    let evicts = |exchange: &Exchange| exchange.sent.path.contains("/eviction");
    let Some(first) = exchanges.iter().position(evicts).filter(|_| exchanges.iter().all(|exchange| exchange.status != 429)) else {
        return exchanges;
    };
    let tail = &mut exchanges[first..];
    let rests = tail.iter().any(|exchange| exchange.rests);
    tail.iter_mut().for_each(|exchange| exchange.rests = false);
    tail.sort_by_key(|exchange| (exchange.sent.reads(), exchange.sent.path.clone()));
    if let Some(last) = tail.last_mut() {
        last.rests = rests;
    }
    exchanges
}

/// Discovery and documents: a client asks for them when its cache is old. Cases about them ask by themselves.
fn is_discovery(path: &str) -> bool {
    let path = path.split('?').next().unwrap_or_default();
    let parts: Vec<&str> = path.split('/').skip(1).collect();
    match parts.as_slice() {
        ["api", rest @ ..] => rest.len() <= 1,
        ["apis", rest @ ..] => rest.len() <= 2,
        [first, ..] => matches!(*first, "openapi" | "version" | "healthz"),
        [] => true,
    }
}

/// A path without what differs from poll to poll.
fn unversioned(path: &str) -> String {
    let volatile = |pair: &&str| !["resourceVersion=", "timeoutSeconds=", "timeout="].iter().any(|name| pair.starts_with(name));
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    format!("{path}?{}", query.split('&').filter(volatile).collect::<Vec<_>>().join("&"))
}

fn words(action: &Action) -> String {
    match action {
        Action::Kubectl(arguments, ..) => format!("kubectl {}", arguments.join(" ")),
        Action::Request(ask, _) => format!("{} {}", ask.method, ask.path),
        Action::Wait(wait) => format!("wait: {}", wait.words()),
        Action::Snap(name) => format!("snap: {name}"),
        Action::Advance(seconds) => format!("advance {seconds} s"),
        Action::Watch(name, path) => format!("watch {name}: {path}"),
        Action::Events(name) => format!("events of {name}"),
        Action::Compact => "compact".to_owned(),
        Action::Silence(node) => format!("silence {node}"),
        Action::Drains(nodes) => format!("drains {}", nodes.join(" ")),
    }
}
