//! The way of a led child to the cluster: an endpoint on loopback that passes its requests through the run's own layers.
//!
//! The child has a kubeconfig for this endpoint and no other, so that each of its requests is guarded and recorded like the run's own,
//! and in a plan lands in the copy. In virtual time the clock moves while the child only waits.

use std::cell::{OnceCell, RefCell};
use std::fmt;
use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::Request;
use http_body_util::BodyExt as _;
use kube::client::Body;
use tokio::task::JoinHandle;
use tower::{BoxError, service_fn};

use super::cancel::Cancel;
use super::client::Cluster;
use super::discovery::{self, Resource};
use super::error::no_connection;
use super::fence::Fence;
use super::load::{Pace, Strain};
use super::place::{Place, Server};
use super::request::{Act, Verb};
use super::serve::{Front, Moves};
use crate::base::clock::{Duration, TimeSource as _, between};
use crate::base::{Clock, Error, Kind, Reason, Result, Span, Timestamp};

/// The only context of the kubeconfig.
const NAME: &str = "lockgate";
/// How often it is looked at whether virtual time may move on to the end of a child's time.
const LOOK: Span = Span::from_millis(250);
/// How long a child may compute without a write before it is taken to wait.
const QUIET: Duration = Duration::from_secs(10);

/// An endpoint that is being served; dropping it ends it and removes its kubeconfig.
pub struct Endpoint {
    kubeconfig: File,
    time: Time,
    waits: Waits,
    served: Served,
}

/// The time that its child lives in.
pub(super) struct Time(Moves);

/// Its service.
pub(super) struct Served(JoinHandle<Result<()>>);

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Endpoint({:?})", self.time.0)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// How long requests of a child have waited for the cluster: time that is none of the child's.
#[derive(Clone)]
pub(super) struct Waits {
    clock: Clock,
    held: Arc<Mutex<Held>>,
}

/// Those that wait at this moment, since when there is one, and for how long there was one before.
#[derive(Default)]
struct Held {
    waiting: usize,
    since: Duration,
    before: Duration,
}

impl Waits {
    fn of(clock: Clock) -> Waits {
        Waits { clock, held: Arc::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts the time that this takes.
    async fn during<T>(&self, wait: impl Future<Output = T>) -> T {
        struct Waiting<'a>(&'a Waits);
        impl Drop for Waiting<'_> {
            fn drop(&mut self) {
                let (now, mut held) = (self.0.clock.steady(), self.0.lock());
                held.waiting -= 1;
                if held.waiting == 0 {
                    let waited = now.saturating_sub(held.since);
                    held.before += waited;
                }
            }
        }
        {
            let (now, mut held) = (self.clock.steady(), self.lock());
            if held.waiting == 0 {
                held.since = now;
            }
            held.waiting += 1;
        }
        let _waiting = Waiting(self);
        wait.await
    }

    /// For how long at least one has waited so far.
    pub(super) fn whole(&self) -> Duration {
        let (now, held) = (self.clock.steady(), self.lock());
        let still = if held.waiting > 0 { now.saturating_sub(held.since) } else { Duration::ZERO };
        held.before + still
    }
}

impl Endpoint {
    /// Where its kubeconfig is.
    #[must_use]
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig.0
    }

    pub(super) fn parts(&mut self) -> (&Time, &Waits, &mut Served) {
        (&self.time, &self.waits, &mut self.served)
    }
}

impl Time {
    /// Comes when the child still waits at this time in virtual time, which may come to be later; never where time is that of the world. A
    /// child says nothing of its own waiting: when no write has come for a while (`writes` counts them; watches end and begin again while
    /// time moves), and nothing will happen before that time, it is taken to wait for something that does not come, and time moves on.
    pub(super) async fn reached(&self, at: impl Fn() -> Timestamp, writes: impl Fn() -> usize) -> Result<()> {
        let Some(simulation) = self.0.simulation() else { return std::future::pending().await };
        let world = Clock::real();
        let (mut quiet, mut seen) = (world.now(), writes());
        loop {
            world.sleep(LOOK).await?;
            let at = at();
            let is_over = simulation.now() >= at || simulation.next_event_at().is_none_or(|next| next > at);
            if writes() != seen || !is_over {
                (quiet, seen) = (world.now(), writes());
            } else if between(quiet, world.now()) >= QUIET {
                let now = simulation.now();
                return if now < at { self.0.advance(at).await } else { Ok(()) };
            }
        }
    }
}

impl Served {
    /// Comes when it is served no more, which it should not.
    pub(super) async fn broken(&mut self) -> Error {
        match (&mut self.0).await {
            Ok(Err(error)) => error,
            Ok(Ok(())) | Err(_) => Error::internal("the endpoint of a child process is not served any more"),
        }
    }
}

impl Cluster {
    /// Opens an endpoint to this cluster for one child.
    ///
    /// # Errors
    /// When there is no port or no folder to be had; or what is wrong with the way to the cluster.
    pub async fn endpoint(&self) -> Result<Endpoint> {
        let folder = self.scratch()?;
        let waits = Waits::of(self.clock().clone());
        let load = Load { pace: self.wire().pace(), strain: self.gate().strain().clone() };
        let client = fenced(self.wire().client()?, self.gate().fence().clone(), waits.clone(), load);
        let front = Front::bind(None).await?;
        let port = front.address().rsplit(':').next().unwrap_or_default().to_owned();
        let kubeconfig = File::write(folder.join(format!("kubeconfig-{port}")), front.kubeconfig(NAME).as_bytes())?;
        let moves = match &self.shared.place {
            Place::Simulated(simulation) | Place::Server(Server::StandIn(simulation)) => Moves::Simulation(simulation.clone()),
            Place::Copy(overlay) => Moves::Copy(overlay.clone()),
            Place::Server(Server::Live(_) | Server::Snapshot(_)) => Moves::Nothing,
        };
        let served = Served(tokio::spawn(front.relay(client, moves.clone())));
        Ok(Endpoint { kubeconfig, time: Time(moves), waits, served })
    }

    /// The name of the next write that has no place for an annotation: `RUN/SEQ/EPOCH`, as those that have one carry it.
    #[must_use]
    pub fn operation(&self) -> String {
        self.next_op()
    }

    /// Every kind that the server serves, asked anew.
    ///
    /// # Errors
    /// As [`Cluster::get`].
    pub async fn served_kinds(&self) -> Result<Vec<Rc<Resource>>> {
        discovery::discover(self.wire()).await.map(|discovered| discovered.found)
    }

    /// The `helm` that the options of this cluster name.
    #[must_use]
    pub fn helm(&self) -> Option<&Path> {
        self.shared.helm.as_deref()
    }

    /// A folder that only this user can read, shared by a run and its plan; gone with both.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn scratch(&self) -> Result<PathBuf> {
        self.shared.scratch.folder(&self.run().to_string())
    }

    /// Where charts are kept: in the folder of the run; until the run has one, as its plan has none, in [`Cluster::scratch`].
    ///
    /// # Errors
    /// As [`Cluster::scratch`].
    pub fn charts(&self) -> Result<PathBuf> {
        match &*self.shared.scratch.0.charts.borrow() {
            Some(folder) => Ok(folder.clone()),
            None => self.passing_charts(),
        }
    }

    /// Where charts are kept before the run has a folder.
    ///
    /// # Errors
    /// As [`Cluster::scratch`].
    pub fn passing_charts(&self) -> Result<PathBuf> {
        Ok(self.scratch()?.join("charts"))
    }

    /// From here on charts are kept in the first of these folders, of the run and of its plans, and its children are noted in the other.
    pub fn keep_in(&self, charts: PathBuf, children: PathBuf) {
        *self.shared.scratch.0.charts.borrow_mut() = Some(charts);
        *self.shared.scratch.0.children.borrow_mut() = Some(children);
    }

    /// Where children are noted; nowhere before the run has a folder.
    pub(super) fn children(&self) -> Option<PathBuf> {
        self.shared.scratch.0.children.borrow().clone()
    }
}

/// What a child asks of a server counts for the run: both have one pace, and what the server answers one of them says how it is to the other.
#[derive(Clone)]
struct Load {
    /// None where nobody is overburdened: in virtual time, and in a plan's copy.
    pace: Option<Arc<Pace>>,
    strain: Arc<Strain>,
}

impl Load {
    /// Waits until the next request may be sent. helm's own pace is slower than this one (5 requests a second after a burst of 100, as
    /// client-go has them), so that it waits only where the run has asked a lot.
    async fn next(&self, waits: &Waits) -> Result<()> {
        let Some(pace) = &self.pace else { return Ok(()) };
        let now = waits.clock.now();
        let next = pace.next(now);
        if next > now { waits.during(waits.clock.sleep_until(next)).await } else { Ok(()) }
    }

    /// Notes how the server is. The child is not stopped in the middle of what it does: the run is, before its next request.
    fn answered(&self, waits: &Waits, code: u16) {
        self.strain.answered(waits.clock.now(), code == 429 || (code >= 500 && code != 501));
    }
}

/// The same client, whose writes wait until the lock of the run lets them through: a child does not know why it is refused. What met no
/// server waits for it with the run. The first Ctrl-C does not reach a child, so that it does not end the wait either.
fn fenced(client: kube::Client, fence: Fence, waits: Waits, load: Load) -> kube::Client {
    let service = service_fn(move |request: Request<Body>| {
        let (client, fence, waits, load) = (client.clone(), fence.clone(), waits.clone(), load.clone());
        async move {
            load.next(&waits).await?;
            let act = Act::of(request.method(), request.uri().path(), request.uri().query().unwrap_or_default());
            // A watch is begun anew by whoever reads it.
            if act.verb == Verb::Watch {
                return client.send(request).await.map_err(boxed);
            }
            let (parts, body) = request.into_parts();
            let body = body.collect().await?.to_bytes();
            let mut last = false;
            loop {
                if act.verb.is_write() {
                    waits.during(fence.pass(&Cancel::new(), |_| ())).await?;
                }
                let error = match client.send(Request::from_parts(parts.clone(), Body::from(body.clone()))).await {
                    Ok(answer) => {
                        load.answered(&waits, answer.status().as_u16());
                        return Ok(answer);
                    }
                    Err(error) => error,
                };
                // A write that was sent may have been made.
                let again = if act.verb.is_write() { no_connection(&error) } else { !is_own(&error) };
                let was_away = if again && !last { waits.during(fence.outlast(&Cancel::new(), |_| ())).await? } else { None };
                match was_away {
                    None => return Err(boxed(error)),
                    // It may have come back at this moment.
                    Some(was_away) => last = !was_away,
                }
            }
        }
    });
    kube::Client::new(service, NAME)
}

/// Whether a layer of this process said it, and not the way to the server.
fn is_own(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Service(inner) if inner.is::<Error>())
}

fn boxed(error: kube::Error) -> BoxError {
    match error {
        kube::Error::Service(inner) => inner,
        other => BoxError::from(other),
    }
}

/// A file with something to be kept to oneself; gone with this value.
#[derive(Debug)]
pub struct File(PathBuf);

impl File {
    /// Writes it, readable by its owner only.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(path: PathBuf, text: &[u8]) -> Result<File> {
        let cannot = |error: io::Error| cannot("write", &path, &error);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).map_err(cannot)?;
        let written = File(path.clone());
        file.write_all(text).map_err(cannot)?;
        Ok(written)
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for File {
    fn drop(&mut self) {
        // Somebody else may have removed it.
        std::fs::remove_file(&self.0).ok();
    }
}

/// The private folder of a run, made when it is first needed; and where its charts are kept once the run has a folder that stays.
#[derive(Clone, Debug, Default)]
pub(super) struct Scratch(Rc<Folders>);

#[derive(Debug, Default)]
struct Folders {
    own: OnceCell<Folder>,
    charts: RefCell<Option<PathBuf>>,
    children: RefCell<Option<PathBuf>>,
}

#[derive(Debug)]
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).ok();
    }
}

impl Scratch {
    fn folder(&self, run: &str) -> Result<PathBuf> {
        if let Some(folder) = self.0.own.get() {
            return Ok(folder.0.clone());
        }
        // The run of a simulated cluster has the same name each time.
        let own = super::RunId::generate().to_string();
        let path = std::env::temp_dir().join(format!("lockgate-{run}-{own}"));
        std::fs::DirBuilder::new().mode(0o700).create(&path).map_err(|error| cannot("make", &path, &error))?;
        Ok(self.0.own.get_or_init(|| Folder(path)).0.clone())
    }
}

fn cannot(what: &str, path: &Path, error: &io::Error) -> Error {
    let said = error.to_string().split(" (os error").next().unwrap_or_default().to_lowercase();
    Error::new(Kind::Input, Reason::CommandFailed, format!("cannot {what} `{}`", path.display()))
        .cause(said)
        .hint("set TMPDIR to a folder that can be written to")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::testing::quiet;

    /// A child that asks so often, and when each of its requests came to the server, in milliseconds.
    async fn asks(load: Load, times: usize, code: u16) -> (Vec<u64>, Duration) {
        let clock = quiet(Timestamp::UNIX_EPOCH);
        let arrived: Arc<Mutex<Vec<u64>>> = Arc::default();
        let server = {
            let (arrived, clock) = (arrived.clone(), clock.clone());
            service_fn(move |_: Request<Body>| {
                arrived.lock().unwrap().push(Span::between(Timestamp::UNIX_EPOCH, clock.now()).as_millis());
                let answer = http::Response::builder().status(code).body(Body::empty()).unwrap();
                std::future::ready(Ok::<_, BoxError>(answer))
            })
        };
        let waits = Waits::of(clock);
        let child = fenced(kube::Client::new(server, NAME), Fence::default(), waits.clone(), load);
        for _ in 0..times {
            child.send(Request::get("/api/v1/namespaces/shop/pods/web").body(Body::empty()).unwrap()).await.unwrap();
        }
        let arrived = arrived.lock().unwrap().clone();
        (arrived, waits.whole())
    }

    #[tokio::test]
    async fn a_child_has_the_pace_of_its_run() {
        let pace = Arc::new(Pace::new(10, 4));
        let load = Load { pace: Some(pace.clone()), strain: Arc::default() };
        // The run itself has used half of the burst.
        pace.next(Timestamp::UNIX_EPOCH);
        pace.next(Timestamp::UNIX_EPOCH);
        let (arrived, waited) = asks(load, 6, 200).await;
        assert_eq!(arrived, [0, 0, 0, 100, 200, 300]);
        assert_eq!(waited, Duration::from_millis(300), "the time is none of the child's");
        let free = Load { pace: None, strain: Arc::default() };
        assert_eq!(asks(free, 6, 200).await.0, [0; 6]);
    }

    #[tokio::test]
    async fn what_a_child_is_answered_tells_the_run_how_the_server_is() {
        let told = async |code| {
            let strain: Arc<Strain> = Arc::default();
            asks(Load { pace: None, strain: strain.clone() }, 20, code).await;
            strain.told(Timestamp::UNIX_EPOCH)
        };
        assert_eq!(told(503).await.as_deref(), Some("20 of the last 20 answers of the API server, within 1m, were 429 or 5xx"));
        assert!(told(429).await.is_some());
        assert_eq!(told(404).await, None);
    }
}
