//! Answers on their way: what fault rules do to them between the simulated cluster and its client.

use std::future::poll_fn;
use std::sync::{Arc, PoisonError};
use std::task::Poll;

use bytes::Bytes;
use http::Response;
use http_body::Frame;
use lockgate_sim::faults::{HoldId, Side};
use lockgate_sim::request::{Body as SimBody, Request as SimRequest, Response as SimResponse};
use tower::BoxError;

use super::{Reply, Simulation};
use crate::base::Timestamp;
use crate::cluster::error::{Lost, Refused};

/// Who hears of a request that stands still: before it does, with nothing locked.
pub(super) type OnHold = Arc<dyn Fn(&Simulation, &SimRequest, HoldId) + Send + Sync>;

/// Who hears of a request before it is carried out, with nothing locked.
pub(super) type OnRequest = Arc<dyn Fn(&Simulation, &SimRequest) + Send + Sync>;

/// Who hears of a request and of the status that it was answered with, with nothing locked.
pub(super) type OnAnswer = Arc<dyn Fn(&SimRequest, u16) + Send + Sync>;

/// Who hears what somebody else has done in the cluster, and when, with nothing locked.
pub(super) type OnDeed = Arc<dyn Fn(Timestamp, &str) + Send + Sync>;

impl Simulation {
    /// From now on this is told what fault rules and happenings let somebody else do, after they did it.
    pub fn on_deed(&self, told: impl Fn(Timestamp, &str) + Send + Sync + 'static) {
        *self.0.on_deed.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(told));
    }

    pub(super) fn tell_deeds(&self) {
        let Some(told) = self.0.on_deed.lock().unwrap_or_else(PoisonError::into_inner).clone() else { return };
        let heard = self.lock().sim.take_heard();
        heard.iter().for_each(|(at, deed)| told(*at, deed));
    }

    /// From now on this is told of every request that was answered, and how; 0 where the connection was lost.
    pub fn on_answer(&self, told: impl Fn(&SimRequest, u16) + Send + Sync + 'static) {
        *self.0.on_answer.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(told));
    }

    fn tell_answer(&self, request: &SimRequest, status: u16) {
        let told = self.0.on_answer.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(told) = told {
            told(request, status);
        }
    }

    /// From now on this is told of every request before it is carried out, whatever a rule does to it then. It may look at the cluster.
    pub fn on_request(&self, told: impl Fn(&Simulation, &SimRequest) + Send + Sync + 'static) {
        *self.0.on_request.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(told));
    }

    fn tell_request(&self, request: &SimRequest) {
        let told = self.0.on_request.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(told) = told {
            told(self, request);
        }
    }

    /// From now on this is told of every request that a rule holds, at the moment at which it begins to stand still. It may release
    /// it, or stop who sent it: a process that is killed while its request is on the way.
    pub fn on_hold(&self, told: impl Fn(&Simulation, &SimRequest, HoldId) + Send + Sync + 'static) {
        *self.0.on_hold.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(told));
    }

    fn tell_hold(&self, request: &SimRequest, hold: HoldId) {
        let told = self.0.on_hold.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(told) = told {
            told(self, request, hold);
        }
    }

    /// Answers one request as the fault rules want it delivered. `still` keeps virtual time still; it is dropped where time is to
    /// pass before the answer is there. Where a rule holds the request, nothing moves until somebody releases it.
    pub(in crate::cluster) async fn deliver<S>(&self, request: &SimRequest, still: S) -> Result<Response<Reply>, BoxError> {
        self.deliver_to(request, &mut Some(still), &mut None).await
    }

    /// The same for who goes on with what keeps time still, where that is still there, and wants to know which `fault` a rule made.
    pub(in crate::cluster) async fn deliver_to<S>(
        &self,
        request: &SimRequest,
        still: &mut Option<S>,
        fault: &mut Option<String>,
    ) -> Result<Response<Reply>, BoxError> {
        self.tell_request(request);
        let mut answer = self.handle(request);
        *fault = answer.conduct.fault.take();
        if let Some(held) = answer.conduct.held.take() {
            self.tell_hold(request, held.id);
            self.released(held.id).await;
            if held.side == Side::Before {
                answer = self.handle_held(request);
            }
        }
        self.tell_answer(request, answer.status);
        if !answer.conduct.late.is_zero() {
            let due = self.now().checked_add(answer.conduct.late)?;
            drop(still.take());
            self.reached(due).await;
        }
        if answer.conduct.refused {
            return Err(Box::new(Refused));
        }
        let conduct = &answer.conduct;
        match (conduct.cut, conduct.stalls, conduct.pad) {
            (Some(bytes), _, _) => self.spoilt(answer, Some(bytes), End::Lost),
            (_, Some(bytes), _) => self.spoilt(answer, Some(bytes), End::Never),
            (_, _, blanks) if blanks > 0 => self.spoilt(answer, None, End::Blanks(blanks)),
            _ => self.respond(answer),
        }
    }

    /// Comes when a rule holds a request.
    pub(in crate::cluster) async fn holds(&self) {
        poll_fn(|cx| {
            self.wait(cx);
            if self.lock().sim.faults().held().is_empty() { Poll::Pending } else { Poll::Ready(()) }
        })
        .await;
    }

    async fn released(&self, hold: HoldId) {
        // First in the list, then a look: what happens in between wakes.
        poll_fn(|cx| {
            self.wait(cx);
            let standing = self.lock().sim.faults().held().iter().any(|held| held.id == hold);
            if standing { Poll::Pending } else { Poll::Ready(()) }
        })
        .await;
    }

    /// The beginning of an answer or all of it, and then another end than its own. Watches and logs are cut by rules of their own; of a
    /// command the stream that follows the answer is.
    fn spoilt(&self, answer: SimResponse, bytes: Option<usize>, end: End) -> Result<Response<Reply>, BoxError> {
        let text = match &answer.body {
            SimBody::Json(json) => serde_json::to_vec(&**json)?,
            SimBody::Text(text) => text.clone().into_bytes(),
            SimBody::Watch(_) | SimBody::Log(_) => return self.respond(answer),
            SimBody::Exec(_) => {
                let mut response = self.respond(answer)?;
                if let Some(after) = bytes {
                    response.extensions_mut().insert(Break { after, silent: matches!(end, End::Never) });
                }
                return Ok(response);
            }
        };
        if answer.status == 0 {
            return Err(Box::new(Lost));
        }
        let mut response = Response::builder().status(answer.status);
        for (name, value) in &answer.headers {
            response = response.header(name, value);
        }
        let start = text.get(..bytes.unwrap_or(usize::MAX).min(text.len())).unwrap_or_default();
        Ok(response.body(Reply::Spoilt(Spoilt { start: Some(Bytes::copy_from_slice(start)), end }))?)
    }
}

/// Where the stream that follows an answer ends before its time.
#[derive(Clone, Copy, Debug)]
pub(in crate::cluster) struct Break {
    /// So many bytes of its channels go through, in whole messages.
    pub(in crate::cluster) after: usize,
    /// Whether the connection stays, and nothing more comes; else it is lost.
    pub(in crate::cluster) silent: bool,
}

/// The body of an answer that does not end as it should.
pub(in crate::cluster) struct Spoilt {
    start: Option<Bytes>,
    end: End,
}

/// What comes behind the beginning.
enum End {
    /// The connection is lost.
    Lost,
    /// Nothing, and the connection stays.
    Never,
    /// So many blanks.
    Blanks(u64),
}

impl Spoilt {
    pub(super) fn poll(&mut self) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        const BLANKS: &[u8] = &[b' '; 64 << 10];
        if let Some(start) = self.start.take().filter(|start| !start.is_empty()) {
            return Poll::Ready(Some(Ok(Frame::data(start))));
        }
        match &mut self.end {
            End::Lost => Poll::Ready(Some(Err(Box::new(Lost)))),
            // Whoever waits gives up by his own clock, which wakes him.
            End::Never => Poll::Pending,
            End::Blanks(0) => Poll::Ready(None),
            End::Blanks(left) => {
                let length = BLANKS.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                *left = left.saturating_sub(length as u64);
                Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(BLANKS.get(..length).unwrap_or(BLANKS))))))
            }
        }
    }
}
