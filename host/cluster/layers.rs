//! The layers every request passes on its way out, whoever sends it: the guard and the recorder.
//!
//! They are tower layers around the service that answers (live, simulated, overlay), beneath `kube::Client`: no primitive can
//! go around them. The deadline of a request is kept in [`super::wire`], because a write must not be dropped by a layer.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::future::{BoxFuture, Either, FutureExt as _, Ready, ready};
use http::request::Parts;
use http::{Request, Response, header};
use kube::client::Body;
use serde::{Deserialize, Serialize};
use tower::{BoxError, Layer, Service};

use super::fence::Fence;
use super::load::{Pace, Strain};
use super::permit::{Permit, Wanted};
use super::question::{is_review, only_asks};
use super::request::{Act, Verb};
use crate::base::{Clock, Error, Kind, Reason, Timestamp};

/// What may be sent at present.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Access {
    /// Nothing: a file is being loaded.
    Load,
    /// Reads: in a check or in `verify`.
    ReadOnly,
    /// Everything.
    ReadWrite,
}

impl Access {
    /// Whether this verb may be sent.
    ///
    /// # Errors
    /// A refusal that says where it was tried.
    pub fn allows(self, act: &Act) -> Result<(), Error> {
        let refuse = |message: String| Err(Error::new(Kind::Refused, Reason::Refused, message));
        match self {
            Access::ReadWrite => Ok(()),
            Access::ReadOnly if !act.verb.is_write() => Ok(()),
            Access::ReadOnly => refuse(format!("`{act}` writes, and only reads are allowed here")),
            Access::Load => refuse(format!("`{act}` is sent while a file is loaded")),
        }
    }
}

/// The switch behind the guard, shared by all clones of a cluster.
#[derive(Clone, Debug)]
pub(crate) struct Gate {
    access: Arc<AtomicU8>,
    /// The pods, by namespace and name, in which a command may run although only reads are allowed: who sends it says that it reads.
    reading: Arc<Mutex<Vec<(String, String)>>>,
    /// Whether the lock of the run lets anything be written.
    fence: Fence,
    /// What the run may do.
    permit: Permit,
    /// Whether what is done at present stands for what people do, who need no grant of the run.
    by_hand: Arc<AtomicBool>,
    /// Whether writes may be sent that the server shall do all but store.
    asks: bool,
    /// How often the server is asked.
    pace: Arc<Pace>,
    /// How it answers.
    strain: Arc<Strain>,
}

/// Lets one command through that only reads, until it is dropped.
#[derive(Debug)]
pub(crate) struct Reading {
    gate: Gate,
    pod: (String, String),
}

impl Drop for Reading {
    fn drop(&mut self) {
        let mut reading = self.gate.reading.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(place) = reading.iter().position(|pod| *pod == self.pod) {
            reading.remove(place);
        }
    }
}

impl Gate {
    pub(crate) fn new(access: Access) -> Gate {
        let gate = Gate {
            access: Arc::new(AtomicU8::new(0)),
            reading: Arc::default(),
            fence: Fence::default(),
            permit: Permit::default(),
            by_hand: Arc::default(),
            asks: false,
            pace: Arc::default(),
            strain: Arc::default(),
        };
        gate.set(access);
        gate
    }

    /// The guard of a branch: what is allowed at present is its own; lock, permissions and what the server is asked are the same.
    pub(crate) fn branch(&self) -> Gate {
        let (fence, permit, pace, strain) = (self.fence.clone(), self.permit.clone(), self.pace.clone(), self.strain.clone());
        let gate = Gate { fence, permit, pace, strain, ..Gate::new(Access::Load) };
        gate.set(Access::ReadOnly);
        gate
    }

    /// One for reading, that lets dry runs (`dryRun=All`) of writes through: for the way of a plan to the live server.
    pub(super) fn asking() -> Gate {
        Gate { asks: true, ..Gate::new(Access::ReadOnly) }
    }

    pub(crate) fn set(&self, access: Access) {
        self.access.store(access as u8, Ordering::SeqCst);
    }

    pub(crate) fn access(&self) -> Access {
        match self.access.load(Ordering::SeqCst) {
            2 => Access::ReadWrite,
            1 => Access::ReadOnly,
            _ => Access::Load,
        }
    }

    pub(super) fn pace(&self) -> &Arc<Pace> {
        &self.pace
    }

    pub(super) fn strain(&self) -> &Arc<Strain> {
        &self.strain
    }

    pub(crate) fn fence(&self) -> &Fence {
        &self.fence
    }

    pub(crate) fn permit(&self) -> &Permit {
        &self.permit
    }

    /// From now on what is done stands for what people do, or does so no more.
    pub(crate) fn set_by_hand(&self, by_hand: bool) {
        self.by_hand.store(by_hand, Ordering::SeqCst);
    }

    /// Whether it does.
    pub(crate) fn is_by_hand(&self) -> bool {
        self.by_hand.load(Ordering::SeqCst)
    }

    /// Whether this is a command in a pod of which its sender says that it reads.
    fn only_reads(&self, act: &Act) -> bool {
        (act.group.as_str(), act.resource.as_str(), act.subresource.as_deref()) == ("", "pods", Some("exec"))
            && match (&act.namespace, &act.name) {
                (Some(namespace), Some(name)) => {
                    let reading = self.reading.lock().unwrap_or_else(PoisonError::into_inner);
                    reading.iter().any(|pod| pod.0 == *namespace && pod.1 == *name)
                }
                _ => false,
            }
    }

    /// Lets a command in this pod through where only reads are allowed.
    pub(crate) fn read_in(&self, namespace: &str, name: &str) -> Reading {
        let pod = (namespace.to_owned(), name.to_owned());
        self.reading.lock().unwrap_or_else(PoisonError::into_inner).push(pod.clone());
        Reading { gate: self.clone(), pod }
    }

    /// Whether this may be sent now. What only asks or reads needs no lock, which nobody renewed for it.
    fn allows(&self, act: &Act, query: &str) -> Result<(), Error> {
        self.opens_for(act)?;
        let needs_lock = act.verb.is_write() && !changes_nothing(act, query) && !self.only_reads(act);
        if needs_lock { self.fence.check() } else { Ok(()) }
    }

    /// Whether this may be sent where the script is now; a write may have to wait for the lock all the same.
    pub(super) fn opens_for(&self, act: &Act) -> Result<(), Error> {
        let access = self.access();
        if access == Access::ReadOnly && self.only_reads(act) {
            return Ok(());
        }
        access.allows(act)
    }
}

/// One request as it was sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recorded {
    /// Its number, from 1.
    pub seq: u64,
    /// What it did.
    pub verb: Verb,
    /// Resource with its group, for example `deployments.apps`; the path when it was no resource.
    pub resource: String,
    /// Namespace, where there is one.
    pub namespace: Option<String>,
    /// Name, where there is one.
    pub name: Option<String>,
    /// Subresource, where there is one.
    pub subresource: Option<String>,
    /// The status of the answer; `None` while, or because, there is none.
    pub status: Option<u16>,
    /// When it was sent, by the clock of whoever sent it.
    pub at: Timestamp,
    /// Whether the copy that a plan works on answered it. `false` is what went to the cluster itself.
    pub dry: bool,
    /// Whether the server was only asked: to do all but store it (`dryRun=All`), or what this user may do.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dry_run: bool,
    /// Whether it is a command that only reads.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub reads: bool,
    /// Whether it stands for what people do.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub by_hand: bool,
    /// The name of an object that is created under it: it is in no path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub made: Option<String>,
    /// The role that a binding gives which is written, as `clusterroles/NAME` or `roles/NAME`: the server asks whether it may be given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gives: Option<String>,
}

/// The list of requests, shared by all clones of a cluster and by its branches.
#[derive(Clone, Debug, Default)]
pub(crate) struct Recorder {
    list: Arc<Mutex<Vec<(usize, Recorded)>>>,
    /// How many branches were made.
    branches: Arc<AtomicUsize>,
    /// Which of them this is; 0 is none.
    branch: usize,
}

impl Recorder {
    fn lock(&self) -> MutexGuard<'_, Vec<(usize, Recorded)>> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The same list for somebody who works at the same time.
    pub(crate) fn branch(&self) -> Recorder {
        Recorder { branch: self.branches.fetch_add(1, Ordering::SeqCst) + 1, ..self.clone() }
    }

    pub(crate) fn all(&self) -> Vec<Recorded> {
        self.lock().iter().map(|(_, entry)| entry.clone()).collect()
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.lock().len()
    }

    /// Whether one after the first `count` of all changed something, in the cluster or in a plan's copy of it.
    pub(crate) fn wrote_after(&self, count: usize) -> bool {
        self.lock().iter().skip(count).any(|(_, entry)| entry.verb.is_write() && !entry.dry_run)
    }

    /// Those of this branch after the first `count` of all.
    pub(crate) fn after(&self, count: usize) -> Vec<Recorded> {
        self.lock().iter().skip(count).filter(|(branch, _)| *branch == self.branch).map(|(_, entry)| entry.clone()).collect()
    }

    fn sent(&self, act: &Act, at: Timestamp, (dry, dry_run): (bool, bool), gate: &Gate, said: Said) -> usize {
        let mut list = self.lock();
        let index = list.len();
        let resource = if act.group.is_empty() { act.resource.clone() } else { format!("{}.{}", act.resource, act.group) };
        let entry = Recorded {
            seq: index as u64 + 1,
            verb: act.verb,
            resource,
            namespace: act.namespace.clone(),
            name: act.name.clone(),
            subresource: act.subresource.clone(),
            status: None,
            at,
            dry,
            dry_run,
            reads: gate.only_reads(act),
            by_hand: gate.is_by_hand(),
            made: said.made,
            gives: said.gives,
        };
        list.push((self.branch, entry));
        index
    }

    fn answered(&self, index: usize, status: u16) {
        if let Some((_, entry)) = self.lock().get_mut(index) {
            entry.status = Some(status);
        }
    }
}

/// Both layers as one.
#[derive(Clone, Debug)]
pub(crate) struct Layers {
    /// The guard's switch.
    pub(crate) gate: Gate,
    /// The recorder's list.
    pub(crate) recorder: Recorder,
    /// The clock of the record.
    pub(crate) clock: Clock,
    /// Whether what answers is the copy of a plan.
    pub(crate) dry: bool,
}

impl<S> Layer<S> for Layers {
    type Service = Guard<Record<S>>;

    fn layer(&self, inner: S) -> Self::Service {
        let record = Record { inner, recorder: self.recorder.clone(), gate: self.gate.clone(), clock: self.clock.clone(), dry: self.dry };
        Guard { inner: record, gate: self.gate.clone() }
    }
}

/// Refuses what may not be sent, before it is sent.
#[derive(Clone, Debug)]
pub(crate) struct Guard<S> {
    inner: S,
    gate: Gate,
}

fn act_of(request: &Request<Body>) -> Act {
    Act::of(request.method(), request.uri().path(), request.uri().query().unwrap_or_default())
}

impl<S, B> Service<Request<Body>> for Guard<S>
where
    S: Service<Request<Body>, Response = Response<B>, Error = BoxError>,
{
    type Response = Response<B>;
    type Error = BoxError;
    type Future = Either<Ready<Result<Response<B>, BoxError>>, S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let act = act_of(&request);
        match self.gate.let_through(&act, request) {
            Ok(request) => Either::Right(self.inner.call(request)),
            Err(error) => Either::Left(ready(Err(error.into()))),
        }
    }
}

impl Gate {
    /// Gives a request back that may be sent now.
    fn let_through(&self, act: &Act, request: Request<Body>) -> Result<Request<Body>, Error> {
        match self.allows(act, request.uri().query().unwrap_or_default()) {
            Ok(()) => self.permitted(act, request),
            Err(refusal) if self.asks => {
                let (parts, body) = opened(act, request)?;
                let asks = only_asks(act, parts.uri.query().unwrap_or_default(), &body);
                if asks { Ok(Request::from_parts(parts, Body::from(body.to_vec()))) } else { Err(refusal) }
            }
            Err(refusal) => Err(refusal),
        }
    }

    /// Judges a request by the permissions, body included, and gives it back.
    fn permitted(&self, act: &Act, request: Request<Body>) -> Result<Request<Body>, Error> {
        if Permit::is_free(act) || self.is_by_hand() || !self.permit.is_watching() {
            return Ok(request);
        }
        let (parts, body) = opened(act, request)?;
        let content_type = parts.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let (path, query) = (parts.uri.path(), parts.uri.query().unwrap_or_default());
        self.permit.admit(&Wanted::of(&parts.method, path, query, content_type, &body))?;
        Ok(Request::from_parts(parts, Body::from(body.to_vec())))
    }
}

/// Whether the server is only asked, whatever the verb.
fn changes_nothing(act: &Act, query: &str) -> bool {
    is_review(act) || query.split('&').any(|pair| pair == "dryRun=All")
}

/// A request with the whole of its body.
fn opened(act: &Act, request: Request<Body>) -> Result<(Parts, Bytes), Error> {
    let (parts, body) = request.into_parts();
    // Every request here was made whole before it is sent; a stream cannot be judged.
    let body = body.collect_bytes().now_or_never().and_then(Result::ok);
    let body = body.ok_or_else(|| Error::internal(format!("`{act}` has no body that could be judged")))?;
    Ok((parts, body))
}

/// What only the body of a request says.
#[derive(Debug, Default)]
struct Said {
    /// The name of the object that is created; none when the server makes it up.
    made: Option<String>,
    /// The role of a binding.
    gives: Option<String>,
}

/// A request, and what its body says.
fn said(act: &Act, request: Request<Body>) -> Result<(Request<Body>, Said), Error> {
    let creates = act.verb == Verb::Create && act.name.is_none();
    let binds = act.verb.is_write() && act.group == "rbac.authorization.k8s.io" && act.resource.ends_with("rolebindings");
    if !creates && !binds {
        return Ok((request, Said::default()));
    }
    let (parts, body) = opened(act, request)?;
    let object: Option<crate::base::json::Value> = serde_json::from_slice(&body).ok();
    let made = object.as_ref().and_then(|object| object.pointer("/metadata/name")?.as_str()).map(str::to_owned);
    let said = Said { made: made.filter(|_| creates), gives: object.as_ref().and_then(given) };
    Ok((Request::from_parts(parts, Body::from(body.to_vec())), said))
}

/// The role that a binding gives, as `clusterroles/NAME` or `roles/NAME`.
#[must_use]
pub fn given(binding: &crate::base::json::Value) -> Option<String> {
    let text = |pointer: &str| binding.pointer(pointer)?.as_str();
    text("/roleRef/kind").zip(text("/roleRef/name")).map(|(kind, name)| format!("{}s/{name}", kind.to_lowercase()))
}

/// Writes down what is sent and what came back.
#[derive(Clone, Debug)]
pub(crate) struct Record<S> {
    inner: S,
    recorder: Recorder,
    gate: Gate,
    clock: Clock,
    dry: bool,
}

impl<S, B> Service<Request<Body>> for Record<S>
where
    S: Service<Request<Body>, Response = Response<B>, Error = BoxError>,
    S::Future: Send + 'static,
{
    type Response = Response<B>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Response<B>, BoxError>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let act = act_of(&request);
        let (request, said) = match said(&act, request) {
            Ok(said) => said,
            Err(error) => return Box::pin(async move { Err(error.into()) }),
        };
        let query = request.uri().query().unwrap_or_default();
        let dry_run = changes_nothing(&act, query);
        let index = self.recorder.sent(&act, self.clock.now(), (self.dry, dry_run), &self.gate, said);
        let recorder = self.recorder.clone();
        let dry = self.dry;
        let answer = self.inner.call(request);
        Box::pin(async move {
            let result = answer.await;
            match &result {
                Ok(response) => {
                    let status = response.status().as_u16();
                    recorder.answered(index, status);
                    tracing::debug!(target: "lockgate::request", %act, status, dry, "answered");
                }
                Err(error) => tracing::debug!(target: "lockgate::request", %act, %error, dry, "no answer"),
            }
            result
        })
    }
}

#[cfg(test)]
mod tests {
    use http::Method;
    use http_body_util::Empty;
    use tower::service_fn;

    use super::*;

    #[test]
    fn access_by_verb() {
        let act = |method: Method| Act::of(&method, "/api/v1/nodes/n1", "");
        for (access, read, write) in [(Access::Load, false, false), (Access::ReadOnly, true, false), (Access::ReadWrite, true, true)] {
            assert_eq!(access.allows(&act(Method::GET)).is_ok(), read, "{access:?}");
            assert_eq!(access.allows(&act(Method::PATCH)).is_ok(), write, "{access:?}");
            let gate = Gate::new(access);
            assert_eq!(gate.access(), access);
        }
        let exec = Act::of(&Method::GET, "/api/v1/namespaces/d/pods/p/exec", "command=id");
        assert_eq!(Access::ReadOnly.allows(&exec).unwrap_err().kind, Kind::Refused);
    }

    #[test]
    fn what_is_refused_is_neither_sent_nor_recorded() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let sent = Arc::new(AtomicUsize::new(0));
        let counter = sent.clone();
        let inner = service_fn(move |_: Request<Body>| {
            counter.fetch_add(1, Ordering::SeqCst);
            ready(Ok::<_, BoxError>(Response::new(Empty::<Bytes>::new())))
        });
        let recorder = Recorder::default();
        let gate = Gate::new(Access::ReadOnly);
        let layers = Layers { gate: gate.clone(), recorder: recorder.clone(), clock: Clock::real(), dry: false };
        let mut service = layers.layer(inner);
        let request =
            |method: Method| Request::builder().method(method).uri("/apis/apps/v1/namespaces/d/deployments/x").body(Body::empty()).unwrap();
        runtime.block_on(async {
            assert!(service.call(request(Method::DELETE)).await.is_err());
            assert_eq!((sent.load(Ordering::SeqCst), recorder.all().len()), (0, 0));
            service.call(request(Method::GET)).await.unwrap();
            gate.set(Access::ReadWrite);
            service.call(request(Method::DELETE)).await.unwrap();
        });
        let all = recorder.all();
        assert_eq!(sent.load(Ordering::SeqCst), 2);
        assert_eq!(
            all.iter().map(|entry| (entry.seq, entry.verb, entry.status)).collect::<Vec<_>>(),
            [(1, Verb::Get, Some(200)), (2, Verb::Delete, Some(200))]
        );
        assert_eq!(all[0].resource, "deployments.apps");
    }
}
