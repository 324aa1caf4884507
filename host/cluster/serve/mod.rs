//! A simulated cluster behind a socket: loopback only, TLS with an authority of its own, a bearer token, HTTP/1.1.
//!
//! One way into the simulator: a request becomes what it is in process ([`super::sim`]), and the answer is the same document.
//! A client costs what it asks for: bodies, headers, connections and waiting are limited, and a client that goes away or does not
//! read what it is sent is forgotten.

mod answer;
mod holds;
mod identity;
mod pace;
mod relay;
mod stall;

use std::fmt;
use std::net::Ipv4Addr;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tower::BoxError;

use self::answer::Door;
pub use self::answer::{Asked, Witness};
use self::identity::Identity;
use self::pace::Pace;
pub use self::pace::Speed;
pub(super) use self::pace::{Counted, Moves};
pub(super) use self::relay::{Relay, Still};
use self::stall::Stall;
use super::sim::Simulation;
use crate::base::clock::{Duration, later};
use crate::base::{Clock, Error, Result};

/// Connections at the same time; further ones wait.
const CONNECTIONS: usize = 256;
/// How long a client may take for the TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How long a connection may be idle, and how long a request's head may take, as a real server has it.
const IDLE: Duration = Duration::from_secs(90);
/// How long a client may leave unread what it is sent.
const UNREAD: Duration = Duration::from_secs(30);
/// The largest head of a request.
const HEAD: usize = 64 << 10;

/// A front that is bound to a port and not served yet.
pub struct Front {
    listener: TcpListener,
    identity: Identity,
    port: u16,
}

impl Front {
    /// Takes a port of the loopback interface; a free one when none is named. Must be called inside a runtime.
    ///
    /// # Errors
    /// Input when the port is taken or may not be used.
    pub async fn bind(port: Option<u16>) -> Result<Front> {
        let wanted = port.unwrap_or(0);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, wanted)).await.map_err(|error| cannot_bind(wanted, &error))?;
        let port = listener.local_addr().map_err(|error| cannot_bind(wanted, &error))?.port();
        Ok(Front { listener, identity: Identity::new()?, port })
    }

    /// Its address, for example `https://127.0.0.1:34567`.
    #[must_use]
    pub fn address(&self) -> String {
        format!("https://127.0.0.1:{}", self.port)
    }

    /// A kubeconfig whose only context is called `name`.
    #[must_use]
    pub fn kubeconfig(&self, name: &str) -> String {
        self.identity.kubeconfig(name, &self.address())
    }

    /// Serves a cluster until something goes wrong with the front itself; dropping the future ends it and every connection.
    /// Every answered request is told to the witness.
    ///
    /// # Errors
    /// When no connection can be taken any more, or time cannot be moved.
    pub async fn serve(self, simulation: Simulation, speed: Speed, witness: Option<Witness>) -> Result<()> {
        let pace = Pace::new(Moves::Simulation(simulation.clone()), speed);
        let tls = TlsAcceptor::from(self.identity.tls.clone());
        let door = Arc::new(Door::new(simulation, pace.clone(), self.identity, witness));
        until_it_breaks(self.listener, tls, door, pace).await
    }

    /// Serves a client of a run: every request goes through the run's own layers to the run's own cluster. Time is moved as for any
    /// client outside this process, in so far as it is virtual.
    ///
    /// # Errors
    /// As [`Front::serve`].
    pub(super) async fn relay(self, client: kube::Client, moves: Moves) -> Result<()> {
        let pace = Pace::new(moves, Speed::Instant);
        let tls = TlsAcceptor::from(self.identity.tls.clone());
        let relay = Arc::new(Relay::new(client, pace.clone(), self.identity));
        until_it_breaks(self.listener, tls, relay, pace).await
    }
}

/// Whoever answers the requests of a front.
pub(super) trait Answers: Send + Sync + 'static {
    /// The body of its answers.
    type Body: http_body::Body<Data = Bytes, Error = BoxError> + Send + 'static;

    /// Answers one request. An error closes the connection without an answer.
    fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
        guest: Guest,
    ) -> impl Future<Output = std::result::Result<Response<Self::Body>, BoxError>> + Send;
}

async fn until_it_breaks<A: Answers>(listener: TcpListener, tls: TlsAcceptor, answers: Arc<A>, pace: Arc<Pace>) -> Result<()> {
    let accept = accept(listener, tls, answers, pace.clone());
    tokio::select! {
        error = pace::run(pace) => Err(error),
        error = accept => Err(error),
    }
}

fn cannot_bind(port: u16, error: &std::io::Error) -> Error {
    let told = match port {
        0 => Error::usage("there is no free port on 127.0.0.1"),
        port => Error::usage(format!("port {port} of 127.0.0.1 cannot be used")),
    };
    let hint = match error.kind() {
        std::io::ErrorKind::AddrInUse => "something else listens there; name another port, or none to get a free one",
        std::io::ErrorKind::PermissionDenied => "ports below 1024 need rights that lockgate should not have; name another one",
        _ => "name another port, or none to get a free one",
    };
    told.cause(error.to_string().split(" (os error").next().unwrap_or_default().to_lowercase()).hint(hint)
}

/// Takes connections for ever; the tasks end with it.
async fn accept<A: Answers>(listener: TcpListener, tls: TlsAcceptor, door: Arc<A>, pace: Arc<Pace>) -> Error {
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    let world = Clock::real();
    let mut tasks = JoinSet::new();
    let mut failures = 0;
    loop {
        // A closed semaphore would be a fault of this function, which owns it.
        let Ok(place) = room.clone().acquire_owned().await else { return Error::internal("counting connections") };
        while let Some(ended) = tasks.try_join_next() {
            // The client sees a connection that ends; nobody else would see a fault of this program.
            if let Err(error) = ended {
                return Error::internal("answering a client").cause(error.to_string());
            }
        }
        match listener.accept().await {
            Ok((stream, _)) => {
                failures = 0;
                let (tls, door, pace, world) = (tls.clone(), door.clone(), pace.clone(), world.clone());
                tasks.spawn(async move {
                    let guest = Arc::new((place, pace.connected()));
                    connection(stream, tls, door, world, guest).await
                });
            }
            Err(error) => {
                // A connection that was gone before it was taken, or no file handle left: that passes.
                failures += 1;
                if failures > 100 {
                    return Error::internal("taking connections").cause(error.to_string());
                }
                world.sleep_until(later(world.now(), Duration::from_millis(50))).await.unwrap_or_default();
            }
        }
    }
}

/// The place and the presence of one client, for as long as its connection, or the stream that it became.
pub(super) type Guest = Arc<(OwnedSemaphorePermit, Counted)>;

/// One connection from its first byte to its last. What goes wrong on it is the client's to notice.
async fn connection<A: Answers>(stream: TcpStream, tls: TlsAcceptor, door: Arc<A>, world: Clock, guest: Guest) -> Option<()> {
    stream.set_nodelay(true).ok()?;
    let deadline = later(world.now(), HANDSHAKE);
    let handshake = async {
        let mut first = [0];
        if stream.peek(&mut first).await.ok()? == 1 && first[0].is_ascii_uppercase() {
            return plain(stream).await;
        }
        tls.accept(Stall::new(stream, world.clone(), UNREAD)).await.ok()
    };
    let stream = tokio::select! {
        stream = handshake => stream?,
        _ = world.sleep_until(deadline) => return None,
    };
    let service = hyper::service::service_fn(move |request| {
        let answer = door.clone().answer(request, guest.clone());
        async move { answer.await.map(|response| response.map(|body| body.map_err(Dropped))).map_err(Dropped) }
    });
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(IDLE)
        .max_buf_size(HEAD)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    served.await.ok()
}

/// Why a connection ends without an answer. A type of its own, because hyper's tasks cannot name a boxed error.
#[derive(Debug)]
struct Dropped(BoxError);

impl fmt::Display for Dropped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Dropped {}

/// What a real server says to a client that speaks no TLS.
async fn plain<T>(mut stream: TcpStream) -> Option<T> {
    let text = "HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n";
    stream.write_all(text.as_bytes()).await.ok()?;
    stream.shutdown().await.ok()?;
    None
}
