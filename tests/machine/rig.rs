//! A cluster whose nodes are SSH servers of this machine, and calls of verbs on it.

use std::cell::RefCell;
use std::fs;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures::future::LocalBoxFuture;
use lockgate::base::{Error, Result, Value};
use lockgate::cluster::machines::{Inventory, Machines, OperationId, Reached, Way, Ways};
use lockgate::cluster::{Access, Cluster, Options, RunId};
use lockgate::primitives::{Arg, Arguments, AskOptions, Cx, Done, Progress, Talk, Wrote, find};
use lockgate_sim::fixture::Fixture;
use lockgate_sim::json::{Value as Json, json};
use tempfile::TempDir;

use super::Outcome;
use super::sshd::{Programs, Sshd, is_root, user_name};

/// What verbs told.
#[derive(Default)]
pub(super) struct Told {
    pub(super) states: RefCell<Vec<String>>,
    pub(super) wrote: RefCell<Vec<String>>,
    /// Whether it was told of a machine that does not answer: for other threads.
    pub(super) away: Arc<AtomicBool>,
}

impl Talk for Told {
    fn confirm<'a>(&'a self, _: &'a str) -> LocalBoxFuture<'a, Result<()>> {
        Box::pin(std::future::ready(Ok(())))
    }
    fn ask<'a>(&'a self, question: &'a str, _: &'a AskOptions) -> LocalBoxFuture<'a, Result<String>> {
        Box::pin(std::future::ready(Err(Error::usage(format!("nobody is asked here: {question}")))))
    }
    fn manual<'a>(&'a self, _: &'a str) -> LocalBoxFuture<'a, Result<()>> {
        Box::pin(std::future::ready(Ok(())))
    }
    fn assume(&self, _: &str, _: Option<&Error>) {}
    fn note(&self, _: &str) {}
    fn progress(&self, progress: Progress) {
        if let Progress::Waiting { state, .. } = progress {
            self.away.fetch_or(state.contains("does not answer"), Ordering::SeqCst);
            self.states.borrow_mut().push(state);
        }
    }
    fn wrote(&self, wrote: &Wrote) {
        self.wrote.borrow_mut().push(format!("{} {}", wrote.verb, wrote.target));
    }
}

/// The nodes `n1`, `n2`, … and what is needed to reach them.
pub(super) struct Rig {
    pub(super) folder: TempDir,
    pub(super) servers: Vec<Sshd>,
    pub(super) told: Rc<Told>,
    cluster: Cluster,
    run: RunId,
    runtime: tokio::runtime::Runtime,
}

impl Rig {
    /// So many servers, all with the same configuration beside the usual one.
    pub(super) fn new(programs: &Programs, count: usize, extra: &str) -> Outcome<Rig> {
        let folder = TempDir::new().map_err(|error| error.to_string())?;
        let key = folder.path().join("key");
        programs.key(&key)?;
        let server = |place: usize| Sshd::start(programs, &format!("n{}", place + 1), &folder.path().join("key.pub"), extra);
        let servers = (0..count).map(server).collect::<Outcome<Vec<Sshd>>>()?;
        let known = servers.iter().map(Sshd::known).collect::<Outcome<String>>()?;
        fs::write(folder.path().join("known_hosts"), known).map_err(|error| error.to_string())?;
        let run = RunId::generate();
        let inventory = inventory(folder.path(), &servers, "");
        let cluster = cluster(run, &inventory)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| error.to_string())?;
        Ok(Rig { folder, servers, told: Rc::default(), cluster, run, runtime })
    }

    /// The same machines by another inventory: the usual one with these lines, of which the first ones win.
    pub(super) fn with(&mut self, lines: &str) -> Outcome {
        self.cluster = cluster(self.run, &inventory(self.folder.path(), &self.servers, lines))?;
        Ok(())
    }

    /// The machines as another process of the same run has them: it knows the run, and has no memory.
    pub(super) fn another_process(&mut self) -> Outcome {
        self.with("")
    }

    /// A call that ends without a word as soon as `begun` is there, as when its process is killed.
    pub(super) fn cut_short(&self, verb: &str, positional: Json, options: Json, begun: &Path) -> Outcome {
        let call = self.calling(verb, positional, options).map_err(|error| error.to_string())?;
        self.runtime.block_on(async {
            let clock = lockgate::base::Clock::real();
            let is_there = async {
                while !begun.exists() {
                    clock.sleep(lockgate::base::Span::from_millis(10)).await?;
                }
                Ok::<(), Error>(())
            };
            tokio::select! {
                done = call => Err(format!("{verb} ended before it was cut: {:?}", done.map(|done| done.value))),
                there = is_there => there.map_err(|error| error.to_string()),
            }
        })
    }

    /// The same machines by this inventory alone.
    pub(super) fn by(&mut self, inventory: &str) -> Outcome {
        self.cluster = cluster(self.run, inventory)?;
        Ok(())
    }

    /// A file beside it.
    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Runs a future on this thread.
    pub(super) fn block<F: Future>(&self, future: F) -> F::Output {
        self.runtime.block_on(future)
    }

    /// The name of an operation of this run, far behind those of its verbs.
    pub(super) fn operation(&self) -> OperationId {
        OperationId::of(&format!("{}/1000/1", self.run))
    }

    /// The machines, past the verbs.
    pub(super) fn reached(&self) -> Outcome<Reached> {
        match self.cluster.machines() {
            Ok(Machines::Reached(reached)) => Ok(reached),
            Ok(Machines::Manual) => Err("these machines are worked on by hand".to_owned()),
            Err(error) => Err(error.to_string()),
        }
    }

    /// A call of a verb.
    pub(super) fn call(&self, verb: &str, positional: Json, options: Json) -> Result<Done> {
        self.runtime.block_on(self.calling(verb, positional, options)?)
    }

    fn calling(&self, verb: &str, positional: Json, options: Json) -> Result<LocalBoxFuture<'static, Result<Done>>> {
        let arg = |value: Json| Arg::Value(if value.is_null() { Value::Nil } else { Value::Json(value) });
        let positional = positional.as_array().map(|list| list.iter().cloned().map(arg).collect()).unwrap_or_default();
        let options = options.as_object().into_iter().flatten().map(|(key, value)| (key.to_string(), arg(value.clone()))).collect();
        let call = find(verb).and_then(|verb| verb.call).ok_or_else(|| Error::internal(format!("there is no verb `{verb}`")))?;
        let cx = Cx { cluster: self.cluster.clone(), talk: self.told.clone() };
        Ok(call(cx, Arguments { positional, options }))
    }

    /// The value of a call that must end well.
    pub(super) fn value(&self, verb: &str, positional: Json, options: Json) -> Outcome<Json> {
        self.call(verb, positional, options)
            .map(|done| done.value.into_json())
            .map_err(|error| format!("{verb}: {error} ({:?})", error.details))
    }

    /// The standard output of a reading command.
    pub(super) fn read(&self, node: &str, words: Json) -> Outcome<String> {
        let value = self.value("machine.read", json!([node, words]), Json::Null)?;
        Ok(value["stdout"].as_str().unwrap_or_default().to_owned())
    }

    /// The error of a call that must fail.
    pub(super) fn error(&self, verb: &str, positional: Json, options: Json) -> Outcome<Error> {
        match self.call(verb, positional, options) {
            Err(error) => Ok(error),
            Ok(done) => Err(format!("{verb} gave {:?}", done.value)),
        }
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        // What the operations of this run left on this machine.
        let home = std::env::var_os("HOME").map(PathBuf::from).unwrap_or_default();
        let base = if is_root() { PathBuf::from("/var/lib/lockgate") } else { home.join(".local/state/lockgate") };
        fs::remove_dir_all(base.join(self.run.to_string())).ok();
    }
}

/// The usual inventory, after these lines.
fn inventory(folder: &Path, servers: &[Sshd], lines: &str) -> String {
    let mut text = lines.to_owned();
    for (name, value) in [("user", user_name()), ("identity", folder.join("key").display().to_string())] {
        if !lines.lines().any(|line| line.starts_with(&format!("{name}:"))) {
            text.push_str(&format!("{name}: {value}\n"));
        }
    }
    if !lines.contains("known_hosts:") {
        text.push_str(&format!("known_hosts: {}/known_hosts\n", folder.display()));
    }
    // Nothing of the configuration of whoever runs the tests.
    // A machine that it does not name has nobody at its port.
    text.push_str("config: /dev/null\nport: 1\nmachines:\n");
    for (place, server) in servers.iter().enumerate() {
        text.push_str(&format!("  n{}: {{ address: 127.0.0.1, port: {} }}\n", place + 1, server.port));
    }
    text
}

/// A cluster that stands in for a live one, with its machines by SSH.
fn cluster(run: RunId, inventory: &str) -> Outcome<Cluster> {
    let node = |number: usize| {
        format!(
            "apiVersion: v1\nkind: Node\nmetadata: {{name: n{number}}}\nstatus: {{addresses: [{{type: InternalIP, address: 127.0.0.1}}]}}\n---\n"
        )
    };
    let nodes: String = (1..=4).map(node).collect();
    let sim = Fixture::parse("nodes.yaml", &nodes).and_then(|fixture| fixture.cluster(lockgate_sim::Options::default()));
    let inventory = Inventory::parse("inventory.yaml", inventory).map_err(|error| error.to_string())?;
    let ways = Ways { kind: Way::Ssh, inventory };
    let cluster = Cluster::stand_in(sim.map_err(|error| error.to_string())?, Options { machines: Some(ways), ..Options::new(run) });
    cluster.set_access(Access::ReadWrite);
    Ok(cluster)
}
