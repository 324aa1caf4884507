//! A real cluster as a target: the control plane of the tests, or whatever a kubeconfig leads to.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use http_body_util::BodyExt as _;
use serde_json::Value;
use tempfile::TempDir;

use super::Outcome;
use super::case::NAMESPACE;
use super::golden::{Answer, Sent};
use super::parallel;
use super::proxy::{self, Proxy};
use super::run::{self, Target};

/// After so long without a change nothing happens by itself: longer than KWOK takes for a pod.
const QUIET: Duration = Duration::from_millis(900);
/// The longest time that it may take to come to rest.
const LIMIT: Duration = Duration::from_secs(90);
/// Longer than any command of a case takes.
const COMMAND: Duration = Duration::from_secs(120);

/// A cluster behind a kubeconfig.
pub(crate) struct Live {
    runtime: tokio::runtime::Runtime,
    client: kube::Client,
    proxy: Proxy,
    program: PathBuf,
    home: TempDir,
    began: Instant,
    watches: Vec<Arc<Mutex<Vec<u8>>>>,
    compaction: Option<Compaction>,
}

/// Lets a server forget the past; only who has started it can.
type Compaction = Box<dyn FnMut() -> Outcome>;

impl Live {
    /// The cluster that this kubeconfig leads to, with this kubectl.
    ///
    /// # Errors
    /// The kubeconfig is of no use.
    pub(crate) fn open(kubeconfig: &Path, program: &Path) -> Outcome<Live> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| format!("runtime: {error}"))?;
        let client = runtime.block_on(proxy::client(kubeconfig))?;
        let proxy = Proxy::start(kubeconfig)?;
        let home = TempDir::new().map_err(|error| error.to_string())?;
        std::fs::write(home.path().join("config"), proxy.kubeconfig(NAMESPACE)).map_err(|error| error.to_string())?;
        Ok(Live { runtime, client, proxy, program: program.to_owned(), home, began: Instant::now(), watches: Vec::new(), compaction: None })
    }

    /// How the server forgets the past.
    pub(crate) fn with_compaction(mut self, compaction: Compaction) -> Live {
        self.compaction = Some(compaction);
        self
    }

    fn version(&mut self) -> Outcome<String> {
        let path = "/api/v1/namespaces?limit=1".to_owned();
        let answer = self.send(&Sent { method: "GET".to_owned(), path, ..Sent::default() })?;
        Ok(answer.body.pointer("/metadata/resourceVersion").and_then(Value::as_str).unwrap_or_default().to_owned())
    }
}

impl Target for Live {
    fn send(&mut self, sent: &Sent) -> Outcome<Answer> {
        let client = &self.client;
        self.runtime.block_on(async { Ok(proxy::whole(proxy::forward(client, sent).await?).await?.0) })
    }

    fn watch(&mut self, path: &str) -> Outcome<Result<usize, Answer>> {
        let sent = Sent { method: "GET".to_owned(), path: path.to_owned(), ..Sent::default() };
        let client = &self.client;
        let response = self.runtime.block_on(proxy::forward(client, &sent))?;
        if !response.status().is_success() {
            return self.runtime.block_on(proxy::whole(response)).map(|(answer, ..)| Err(answer));
        }
        let told: Arc<Mutex<Vec<u8>>> = Arc::default();
        self.watches.push(told.clone());
        self.runtime.spawn(async move {
            let mut body = response.into_body();
            while let Some(Ok(frame)) = body.frame().await {
                if let Ok(data) = frame.into_data() {
                    told.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(&data);
                }
            }
        });
        Ok(Ok(self.watches.len() - 1))
    }

    fn told(&mut self, watch: usize) -> Outcome<Vec<Value>> {
        self.advance(Duration::from_millis(200))?;
        let told = self.watches.get(watch).ok_or("no such watch")?;
        let bytes = std::mem::take(&mut *told.lock().unwrap_or_else(PoisonError::into_inner));
        let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        lines.map(|line| serde_json::from_slice(line).map_err(|error| format!("an event: {error}"))).collect()
    }

    fn kubectl(&mut self, arguments: &[String], stdin: &str, exit: i32) -> Outcome<Option<run::Command>> {
        drop(self.proxy.take());
        let input = self.home.path().join("stdin");
        std::fs::write(&input, stdin).map_err(|error| error.to_string())?;
        let file = |name: &str| std::fs::File::create(self.home.path().join(name)).map_err(|error| error.to_string());
        let mut child = Command::new(&self.program)
            .args(arguments)
            .env("HOME", self.home.path())
            .env("KUBECONFIG", self.home.path().join("config"))
            .current_dir(self.home.path())
            .stdin(std::fs::File::open(&input).map_err(|error| error.to_string())?)
            .stdout(file("stdout")?)
            .stderr(file("stderr")?)
            .spawn()
            .map_err(|error| format!("starting kubectl: {error}"))?;
        let began = Instant::now();
        let status = loop {
            if let Some(status) = child.try_wait().map_err(|error| error.to_string())? {
                break status;
            }
            if began.elapsed() > COMMAND {
                child.kill().ok();
                child.wait().ok();
                return Err(format!("kubectl {} does not end", arguments.join(" ")));
            }
            self.advance(Duration::from_millis(20))?;
        };
        let read = |name: &str| super::case::read(&self.home.path().join(name));
        let (stdout, stderr) = (read("stdout")?, read("stderr")?);
        if status.code() != Some(exit) {
            return Err(format!("kubectl {}: {status}, not {exit}: {stderr}", arguments.join(" ")));
        }
        Ok(Some(run::Command { passed: self.proxy.take(), stdout, stderr }))
    }

    fn drains(&mut self, nodes: &[String]) -> Outcome<bool> {
        let together = parallel::script(self.home.path(), &self.program)?;
        let alone = std::mem::replace(&mut self.program, together);
        let drained = self.kubectl(nodes, "", 0);
        self.program = alone;
        drained.map(|command| command.is_some())
    }

    fn clock(&self) -> Duration {
        self.began.elapsed()
    }

    fn tick(&mut self) -> Outcome {
        self.advance(Duration::from_millis(50))
    }

    /// Watches are read meanwhile.
    fn advance(&mut self, time: Duration) -> Outcome {
        self.runtime.block_on(async { tokio::time::sleep(time).await });
        Ok(())
    }

    fn compact(&mut self) -> Outcome {
        let compaction = self.compaction.as_mut().ok_or("this cluster is not ours to be compacted")?;
        compaction()
    }

    /// KWOK leaves nodes with that label alone.
    fn silence(&mut self, _: &str) -> Outcome {
        Ok(())
    }

    fn rest(&mut self) -> Outcome {
        let began = Instant::now();
        let mut version = self.version()?;
        let mut quiet_since = Instant::now();
        while quiet_since.elapsed() < QUIET {
            self.advance(Duration::from_millis(50))?;
            let now = self.version()?;
            if now != version {
                version = now;
                quiet_since = Instant::now();
            }
            if began.elapsed() > LIMIT {
                return Err("the cluster does not come to rest".to_owned());
            }
        }
        Ok(())
    }
}
