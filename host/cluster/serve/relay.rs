//! A front in the middle of a run: what a led child asks goes the way of the run's own requests, guard and record included.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;
use http::{HeaderValue, Method, Request, Response, header};
use http_body_util::{BodyExt as _, Full, combinators::UnsyncBoxBody};
use hyper::body::Incoming;
use kube::client::Body;
use lockgate_sim::json::Value as SimValue;
use lockgate_sim::status::Status;
use tower::BoxError;

use super::answer::{is_health, whole};
use super::identity::Identity;
use super::pace::{Counted, Pace};
use super::{Answers, Guest};
use crate::base::Clock;
use crate::cluster::error::Trouble;

/// What a child says about itself and its errand; everything else in the heads of its requests is between it and this process.
const PASSED: [header::HeaderName; 5] =
    [header::ACCEPT, header::CONTENT_TYPE, header::USER_AGENT, header::IF_NONE_MATCH, header::IF_MODIFIED_SINCE];

/// Keeps virtual time still while a request of a led child is answered.
#[derive(Clone)]
pub(in crate::cluster) struct Still(#[expect(dead_code, reason = "it counts while it lives")] Arc<Counted>);

/// Passes requests on to the client of a run.
pub(in crate::cluster) struct Relay {
    client: kube::Client,
    pace: Arc<Pace>,
    identity: Identity,
    world: Clock,
}

impl fmt::Debug for Relay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Relay({:?})", self.pace)
    }
}

type Relayed = UnsyncBoxBody<Bytes, BoxError>;

impl Relay {
    pub(super) fn new(client: kube::Client, pace: Arc<Pace>, identity: Identity) -> Relay {
        Relay { client, pace, identity, world: Clock::real() }
    }

    async fn answered(&self, request: Request<Incoming>) -> Result<Response<Relayed>, BoxError> {
        if !self.identity.admits(request.headers().get(header::AUTHORIZATION).map(HeaderValue::as_bytes)) {
            return refuse(Status::new(401, "Unauthorized", "Unauthorized", SimValue::Null));
        }
        if request.headers().contains_key(header::UPGRADE) {
            return refuse(Status::not_modelled("streams through the endpoint of a run"));
        }
        let (parts, body) = request.into_parts();
        let body = match whole(&self.world, &parts.headers, body).await? {
            Ok(body) => body,
            Err(status) => return refuse(status),
        };
        let method = if parts.method == Method::HEAD && !is_health(parts.uri.path()) { Method::OPTIONS } else { parts.method };
        let path = parts.uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
        let mut onward = Request::builder().method(method).uri(path);
        for name in PASSED {
            if let Some(value) = parts.headers.get(&name) {
                onward = onward.header(name, value);
            }
        }
        let still = Still(Arc::new(self.pace.answering()?));
        let onward = onward.extension(still.clone()).body(Body::from(body))?;
        // Without a guard of its own: where a fault lets the answer come late, time has to pass before it is there.
        drop(still);
        match self.client.send(onward).await {
            Ok(response) => Ok(response.map(|body| body.map_err(BoxError::from).boxed_unsync())),
            Err(error) => match Trouble::of(error) {
                Trouble::Error(error) => refuse(Status::new(403, "Forbidden", format!("lockgate: {error}"), SimValue::Null)),
                trouble => Err(trouble.brief().into()),
            },
        }
    }
}

impl Answers for Relay {
    type Body = Relayed;

    fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
        guest: Guest,
    ) -> impl Future<Output = Result<Response<Relayed>, BoxError>> + Send {
        let answer: BoxFuture<'static, _> = Box::pin(async move {
            let answer = self.answered(request).await;
            drop(guest);
            answer
        });
        answer
    }
}

fn refuse(status: Status) -> Result<Response<Relayed>, BoxError> {
    let text = serde_json::to_vec(status.as_value())?;
    let body = Full::new(Bytes::from(text)).map_err(|never| match never {}).boxed_unsync();
    Ok(Response::builder().status(status.code()).header(header::CONTENT_TYPE, "application/json").body(body)?)
}
