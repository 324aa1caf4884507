//! From an answer to a stream: the handshakes of `pods/exec`, over a socket or inside this process.
//!
//! A library that upgrades a connection needs a connection. In process that is a pipe with an HTTP server at one end and a
//! client at the other: the same code as over the socket, and what `kube` and real clients see is the same.

use std::sync::{Arc, Mutex, PoisonError};

use futures::FutureExt as _;
use futures::future::BoxFuture;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use kube::client::Body;
use lockgate_sim::Exec;
use lockgate_sim::json::Value as SimValue;
use lockgate_sim::request::Response as SimResponse;
use lockgate_sim::status::Status;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tower::BoxError;

use super::channels::{self, Hold, WebSocket};
use super::serve::Still;
use super::sim::deliver::Break;
use super::sim::{Reply, Simulation, to_sim};
use super::spdy::{self, Spdy};
use crate::base::clock::Busy;
use crate::base::{Clock, Result};

/// Bytes that wait in the pipe of a stream in this process.
const PIPE: usize = 64 << 10;

/// The versions of the stream protocol, best first. Version 5 can say that standard input has ended.
const PROTOCOLS: [&str; 2] = ["v5.channel.k8s.io", "v4.channel.k8s.io"];

/// Where a client that speaks SPDY says which versions it knows, and is told which it is.
const STREAM_PROTOCOL: header::HeaderName = header::HeaderName::from_static("x-stream-protocol-version");

/// Answers a request that wants a stream; the stream itself goes through a connection of its own inside this process.
pub(super) async fn in_process(simulation: Simulation, clock: Clock, mut request: Request<Body>) -> Result<Response<Reply>, BoxError> {
    let mut still = Some((request.extensions_mut().remove::<Busy>(), request.extensions_mut().remove::<Still>()));
    let (parts, body) = request.into_parts();
    let body = body.collect_bytes().await?;
    let asked = match to_sim(Request::from_parts(parts.clone(), Body::from(body.clone()))).await {
        Ok(asked) => simulation.signed(asked),
        Err(refusal) => return simulation.respond(*refusal),
    };
    let answer = simulation.deliver_to(&asked, &mut still, &mut None).await?;
    if answer.extensions().get::<Arc<Exec>>().is_none() {
        return Ok(answer);
    }
    // A participant of its own holds virtual time for as long as the stream has something to do.
    let clock = clock.join();
    drop(still);
    let (near, far) = tokio::io::duplex(PIPE);
    let answer = Mutex::new(Some((answer, clock)));
    let service = service_fn(move |request: Request<Incoming>| -> BoxFuture<'static, Result<Response<Reply>, BoxError>> {
        let answer = answer.lock().unwrap_or_else(PoisonError::into_inner).take();
        Box::pin(std::future::ready(serve(&simulation, answer, request)))
    });
    let server = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(far), service).with_upgrades();
    // Both ends stop when the stream is over or the other side is gone; what went wrong is told by the answer.
    drop(tokio::spawn(server.map(drop)));
    let (mut sender, client) = hyper::client::conn::http1::handshake(TokioIo::new(near)).await?;
    drop(tokio::spawn(client.with_upgrades().map(drop)));
    let mut request = Request::from_parts(parts, Full::new(body));
    request.extensions_mut().clear();
    request.headers_mut().insert(header::HOST, HeaderValue::from_static("simulated"));
    let (parts, body) = sender.send_request(request).await?.into_parts();
    if parts.status == StatusCode::SWITCHING_PROTOCOLS {
        return Ok(Response::from_parts(parts, Reply::Text(None)));
    }
    let text = body.collect().await?.to_bytes();
    Ok(Response::from_parts(parts, Reply::Text(Some(text))))
}

/// The far end of [`in_process`].
fn serve(
    simulation: &Simulation,
    answer: Option<(Response<Reply>, Clock)>,
    mut request: Request<Incoming>,
) -> Result<Response<Reply>, BoxError> {
    let (answer, clock) = answer.ok_or("a connection carries one stream")?;
    let on = hyper::upgrade::on(&mut request);
    switch(simulation, on, request.headers(), answer, || Hold::Clock(clock))
}

/// Makes a stream of an answer that is one; every other answer goes through as it is.
pub(super) fn switch(
    simulation: &Simulation,
    on: OnUpgrade,
    headers: &HeaderMap,
    mut answer: Response<Reply>,
    hold: impl FnOnce() -> Hold,
) -> Result<Response<Reply>, BoxError> {
    let Some(exec) = answer.extensions_mut().remove::<Arc<Exec>>() else { return Ok(answer) };
    let over_spdy = text(headers, &header::UPGRADE).eq_ignore_ascii_case(spdy::UPGRADE);
    let agreed = if over_spdy { agree_spdy(headers).map(|protocol| (protocol, String::new())) } else { agree(headers) };
    let (protocol, accept) = match agreed {
        Ok(agreed) => agreed,
        Err(status) => return simulation.respond(SimResponse::from(status)),
    };
    let (simulation, hold) = (simulation.clone(), hold());
    let ends = answer.extensions_mut().remove::<Break>();
    drop(tokio::spawn(async move {
        // A client that does not take the stream is gone: there is nobody to be told.
        let io = TokioIo::new(on.await.ok()?);
        if over_spdy {
            channels::carry(Spdy::open(io, &exec, protocol).await?, &exec, &simulation, hold, ends).await
        } else {
            channels::carry(WebSocket::new(io).await, &exec, &simulation, hold, ends).await
        }
    }));
    let switched = Response::builder().status(StatusCode::SWITCHING_PROTOCOLS).header(header::CONNECTION, "Upgrade");
    let switched = if over_spdy {
        switched.header(header::UPGRADE, spdy::UPGRADE).header(STREAM_PROTOCOL, protocol)
    } else {
        let switched = switched.header(header::UPGRADE, "websocket").header(header::SEC_WEBSOCKET_ACCEPT, accept);
        switched.header(header::SEC_WEBSOCKET_PROTOCOL, protocol)
    };
    Ok(switched.body(Reply::Text(None))?)
}

fn text<'a>(headers: &'a HeaderMap, name: &header::HeaderName) -> &'a str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

/// All values of a header that is a list.
fn list<'a>(headers: &'a HeaderMap, name: &header::HeaderName) -> Vec<&'a str> {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|list| list.split(',')).map(str::trim).filter(|offer| !offer.is_empty()).collect()
}

/// The version of the stream protocol for a client that speaks SPDY: the first of its own that is known here, as a kubelet takes it.
fn agree_spdy(headers: &HeaderMap) -> Result<&'static str, Status> {
    let offered = list(headers, &STREAM_PROTOCOL);
    if offered.is_empty() {
        return Err(Status::bad_request("unable to upgrade: X-Stream-Protocol-Version is required"));
    }
    offered.iter().find_map(|offer| spdy::PROTOCOLS.into_iter().find(|known| known == offer)).ok_or_else(|| {
        let (offered, spoken) = (offered.join(" "), spdy::PROTOCOLS.join(" "));
        let text = format!("unable to upgrade: unable to negotiate protocol: client supports [{offered}], server accepts [{spoken}]");
        Status::new(403, "Forbidden", text, SimValue::Null)
    })
}

/// The protocol that both sides speak, and the answer to the client's key.
fn agree(headers: &HeaderMap) -> Result<(&'static str, String), Status> {
    let key = text(headers, &header::SEC_WEBSOCKET_KEY);
    if key.is_empty() || text(headers, &header::SEC_WEBSOCKET_VERSION) != "13" {
        return Err(Status::bad_request("a WebSocket handshake has a Sec-WebSocket-Key, and a Sec-WebSocket-Version of 13"));
    }
    let offered = list(headers, &header::SEC_WEBSOCKET_PROTOCOL);
    let Some(protocol) = PROTOCOLS.into_iter().find(|protocol| offered.contains(protocol)) else {
        let (offered, spoken) = (offered.join(" "), PROTOCOLS.join(" "));
        return Err(Status::not_modelled(&format!("the stream protocols [{offered}]; [{spoken}] are")));
    };
    Ok((protocol, derive_accept_key(key.as_bytes())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn the_best_protocol_that_both_speak_is_taken() {
        // The key and its answer are the example of RFC 6455, section 1.3.
        let key = ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
        let version = ("sec-websocket-version", "13");
        let with = |protocol: &'static str| agree(&headers(&[key, version, ("sec-websocket-protocol", protocol)]));
        assert_eq!(with("v4.channel.k8s.io, v5.channel.k8s.io"), Ok((PROTOCOLS[0], "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=".to_owned())));
        assert_eq!(with("x,v4.channel.k8s.io").unwrap().0, PROTOCOLS[1]);
        assert_eq!(with("base64.channel.k8s.io").unwrap_err().code(), 501);
        assert_eq!(agree(&headers(&[key, version])).unwrap_err().code(), 501);
        assert_eq!(agree(&headers(&[version])).unwrap_err().code(), 400);
        assert_eq!(agree(&headers(&[key])).unwrap_err().code(), 400);
    }
    #[test]
    fn a_client_that_speaks_spdy_is_told_the_first_version_that_both_know() {
        let with = |protocols: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for protocol in protocols {
                headers.append("x-stream-protocol-version", HeaderValue::from_static(protocol));
            }
            agree_spdy(&headers)
        };
        assert_eq!(with(&["v5.channel.k8s.io", "v4.channel.k8s.io", "v3.channel.k8s.io"]), Ok("v4.channel.k8s.io"));
        assert_eq!(with(&["v2.channel.k8s.io, v4.channel.k8s.io"]), Ok("v2.channel.k8s.io"));
        assert_eq!(with(&["v5.channel.k8s.io"]).unwrap_err().code(), 403);
        assert_eq!(with(&[]).unwrap_err().code(), 400);
    }
}
