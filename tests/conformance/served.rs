//! The simulated cluster as it is served: kubectl and the requests of a case go through a socket. A command has one of its own, with
//! the time that clients have without `--speed`, and that one is gone before anything else is looked at. At the socket of the
//! requests, which may have to follow at once, time hardly moves. What the harness itself reads goes past both.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::mpsc;
use std::time::Duration;

use lockgate::cluster::Simulation;
use lockgate::cluster::serve::{Front, Speed};
use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::oneshot;

use super::Outcome;
use super::case::{Case, NAMESPACE};
use super::golden::{Answer, Sent};
use super::parallel;
use super::proxy::{self, Proxy};
use super::replay::Simulated;
use super::run::{Command, Target};

/// The slowest speed there is: a millisecond in a second.
const SLOW: Speed = Speed::Times(0.001);

/// Longer than any command of a case takes, in seconds.
const COMMAND: &str = "120";

/// A simulated cluster behind a socket.
pub(super) struct Served {
    simulated: Simulated,
    runtime: tokio::runtime::Runtime,
    client: kube::Client,
    _slow: Serving,
    home: TempDir,
    program: Option<PathBuf>,
}

impl Served {
    /// The cluster that a case begins with, and the kubectl that it is for.
    ///
    /// # Errors
    /// As [`Simulated::new`], or it cannot be served.
    pub(super) fn new(case: &Case, program: Option<PathBuf>) -> Outcome<Served> {
        let simulated = Simulated::new(case)?;
        let home = TempDir::new().map_err(|error| error.to_string())?;
        let kubeconfig = home.path().join("slow");
        let slow = Serving::start(simulated.simulation(), SLOW, &kubeconfig)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| format!("runtime: {error}"))?;
        let client = runtime.block_on(proxy::client(&kubeconfig))?;
        Ok(Served { simulated, runtime, client, _slow: slow, home, program })
    }
}

impl Target for Served {
    fn send(&mut self, sent: &Sent) -> Outcome<Answer> {
        self.simulated.send(sent)
    }

    fn ask(&mut self, sent: &Sent) -> Outcome<Answer> {
        let client = &self.client;
        self.runtime.block_on(async { Ok(proxy::whole(proxy::forward(client, sent).await?).await?.0) })
    }

    fn watch(&mut self, path: &str) -> Outcome<Result<usize, Answer>> {
        self.simulated.watch(path)
    }

    fn told(&mut self, watch: usize) -> Outcome<Vec<Value>> {
        self.simulated.told(watch)
    }

    fn kubectl(&mut self, arguments: &[String], stdin: &str, exit: i32) -> Outcome<Option<Command>> {
        let program = self.program.as_ref().ok_or("this case was said to need no kubectl")?;
        let (home, input) = (self.home.path(), self.home.path().join("stdin"));
        let front = Serving::start(self.simulated.simulation(), Speed::Instant, &home.join("served"))?;
        let proxy = Proxy::start(&home.join("served"))?;
        std::fs::write(home.join("config"), proxy.kubeconfig(NAMESPACE)).map_err(|error| error.to_string())?;
        std::fs::write(&input, stdin).map_err(|error| error.to_string())?;
        let output = std::process::Command::new("timeout")
            .arg(COMMAND)
            .arg(program)
            .args(arguments)
            .env("HOME", home)
            .env("KUBECONFIG", home.join("config"))
            .current_dir(home)
            .stdin(Stdio::from(std::fs::File::open(&input).map_err(|error| error.to_string())?))
            .output()
            .map_err(|error| format!("starting kubectl: {error}"))?;
        let passed = proxy.take();
        drop((proxy, front));
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
        if output.status.code() != Some(exit) {
            return Err(format!("kubectl {}: {}, not {exit}: {stderr}", arguments.join(" "), output.status));
        }
        Ok(Some(Command { passed, stdout, stderr }))
    }

    fn drains(&mut self, nodes: &[String]) -> Outcome<bool> {
        let alone = self.program.clone().ok_or("this case was said to need no kubectl")?;
        self.program = Some(parallel::script(self.home.path(), &alone)?);
        let drained = self.kubectl(nodes, "", 0);
        self.program = Some(alone);
        drained.map(|command| command.is_some())
    }

    fn clock(&self) -> Duration {
        self.simulated.clock()
    }

    fn tick(&mut self) -> Outcome {
        self.simulated.tick()
    }

    fn advance(&mut self, time: Duration) -> Outcome {
        self.simulated.advance(time)
    }

    fn compact(&mut self) -> Outcome {
        self.simulated.compact()
    }

    fn silence(&mut self, node: &str) -> Outcome {
        self.simulated.silence(node)
    }

    fn rest(&mut self) -> Outcome {
        self.simulated.rest()
    }
}

/// A front that serves until it is dropped; afterwards it is gone, and time stands still.
struct Serving {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Serving {
    /// Serves it; what clients need is written to a file.
    fn start(simulation: &Simulation, speed: Speed, kubeconfig: &Path) -> Outcome<Serving> {
        let simulation = simulation.clone();
        let (tell, told) = mpsc::channel();
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let served = runtime.map_err(|error| error.to_string()).and_then(|runtime| {
                runtime.block_on(async {
                    let front = Front::bind(None).await.map_err(|error| error.to_string())?;
                    tell.send(Ok(front.kubeconfig("served"))).map_err(|error| error.to_string())?;
                    tokio::select! {
                        served = front.serve(simulation, speed, None) => served.map_err(|error| error.to_string()),
                        _ = stopped => Ok(()),
                    }
                })
            });
            // Who waits for the kubeconfig is told why there is none; who has it notices that nobody answers.
            tell.send(served.map(|()| String::new())).ok();
        });
        let serving = Serving { stop: Some(stop), thread: Some(thread) };
        let text = told.recv().map_err(|error| error.to_string())??;
        std::fs::write(kubeconfig, text).map_err(|error| format!("{}: {error}", kubeconfig.display()))?;
        Ok(serving)
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}
