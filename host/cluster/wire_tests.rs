//! Requests to a scripted server: what is sent again, when, and what becomes of a write without an answer.

use std::collections::VecDeque;
use std::future::pending;

use crate::base::json::json;
use bytes::Bytes;
use futures::FutureExt;
use http::Method;
use http_body_util::Full;
use tower::{BoxError, service_fn};

use super::super::error::Lost;
use super::super::request::Act;
use super::super::testing::quiet;
use super::*;
use crate::base::Kind;

/// What a scripted server does with one request.
#[derive(Clone)]
enum Deed {
    Answer(u16),
    RetryAfter(u16, u64),
    Warn(&'static str),
    Text(u16, &'static str),
    Lose,
    Hang,
}
use Deed::{Answer, Hang, Lose, RetryAfter, Text, Warn};

struct Server {
    wire: Wire,
    seen: Arc<Mutex<Vec<f64>>>,
    start: Timestamp,
}

/// A server that does these things in turn, the last one again and again.
fn server(script: &[Deed]) -> Server {
    let start = Timestamp::UNIX_EPOCH;
    let clock = quiet(start);
    let seen = Arc::new(Mutex::new(Vec::new()));
    let script = Arc::new(Mutex::new(VecDeque::from(script.to_vec())));
    let (times, at) = (seen.clone(), clock.clone());
    let connect = Box::new(move |_: bool| {
        let (times, at, script) = (times.clone(), at.clone(), script.clone());
        Ok(kube::Client::new(
            service_fn(move |request: Request<Body>| {
                times.lock().unwrap().push(at.now().as_millisecond() as f64 / 1000.0);
                let mut script = script.lock().unwrap();
                let next = if script.len() > 1 { script.pop_front() } else { script.front().cloned() };
                drop(request);
                async move { respond(next.unwrap()).await }
            }),
            "default",
        ))
    });
    Server { wire: Wire::new(connect, "https://double".into(), clock, Cancel::new(), Limits::default()), seen, start }
}

async fn respond(deed: Deed) -> Result<Response<Full<Bytes>>, BoxError> {
    let document = |code: u16| json!({"kind": "Status", "code": code, "message": "m", "details": {"name": "x"}}).to_string();
    let answer = Response::builder();
    Ok(match deed {
        Answer(code) => answer.status(code).body(Full::from(document(code)))?,
        RetryAfter(code, seconds) => answer.status(code).header("Retry-After", seconds).body(Full::from(document(code)))?,
        Warn(text) => answer.header(header::WARNING, text).body(Full::from(document(200)))?,
        Text(code, text) => answer.status(code).body(Full::from(text))?,
        Lose => return Err(Box::new(Lost)),
        Hang => pending().await,
    })
}

fn call(method: &Method) -> Call {
    let mut call = Call::new(Act::of(method, "/api/v1/nodes/n1", ""), "`node/n1`");
    call.idempotent = *method == Method::PATCH;
    call
}

impl Server {
    /// Sends one request; gives its result, when each try was made and how long it took in all, in seconds.
    fn send(&self, method: &Method) -> (Result<Arc<Json>>, Vec<f64>, f64) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let result = runtime.block_on(self.wire.json(&call(method)));
        let took = Span::between(self.start, self.wire.clock().now()).as_secs_f64();
        (result, self.seen.lock().unwrap().clone(), took)
    }
}

#[test]
fn reads_are_sent_again() {
    for trouble in [Answer(500), Answer(502), Answer(503), Answer(504), Answer(429), Lose] {
        let (result, tries, took) = server(&[trouble.clone(), trouble, Answer(200)]).send(&Method::GET);
        result.unwrap();
        assert_eq!((tries, took), (vec![0.0, 0.1, 0.3], 0.3));
    }
}

#[test]
fn who_waits_is_told_why() {
    let said = |server: &Server| -> Vec<(String, f64)> {
        server
            .wire
            .take_delays()
            .into_iter()
            .map(|delay| (format!("{}: {}", delay.what, delay.state), delay.waited.as_secs_f64()))
            .collect()
    };
    let failing = server(&[Answer(500), Lose, Answer(200)]);
    failing.send(&Method::GET).0.unwrap();
    let what = "an answer to reading `node/n1`";
    assert_eq!(
        said(&failing),
        [
            (format!("{what}: the server answered 500; trying again in 100ms"), 0.0),
            (format!("{what}: the connection was lost; trying again in 200ms"), 0.1),
        ]
    );
    let hanging = server(&[Hang]);
    assert_eq!(hanging.send(&Method::PATCH).0.unwrap_err().reason, Reason::Timeout);
    let told = said(&hanging);
    assert_eq!(told.first(), Some(&("an answer to patching `node/n1`: none yet".to_owned(), 5.0)));
    assert_eq!(told.last().map(|(_, waited)| *waited), Some(55.0));
    assert_eq!(said(&hanging), [], "each is told once");
}

#[test]
fn answers_that_will_not_change_are_not_asked_for_again() {
    for (answer, reason) in [
        (Answer(403), Reason::Forbidden),
        (Answer(404), Reason::NotFound),
        (Answer(409), Reason::Conflict),
        (Answer(501), Reason::Unmodelled),
        (Text(200, "<html>login</html>"), Reason::Unreachable),
    ] {
        let (result, tries, _) = server(&[answer]).send(&Method::GET);
        assert_eq!((result.unwrap_err().reason, tries.len()), (reason, 1));
    }
}

#[test]
fn retry_after_is_honoured_within_the_deadline() {
    let (result, tries, _) = server(&[RetryAfter(429, 7), Answer(200)]).send(&Method::GET);
    result.unwrap();
    assert_eq!(tries, [0.0, 7.0]);
    let (result, tries, took) = server(&[RetryAfter(429, 86_400)]).send(&Method::GET);
    let error = result.unwrap_err();
    assert_eq!((tries.len(), took), (1, 0.0), "a day is not waited for");
    assert_eq!(error.details["retry_after"], 86_400);
}

#[test]
fn a_read_ends_at_its_deadline() {
    let (result, tries, took) = server(&[Answer(503)]).send(&Method::GET);
    assert_eq!(result.unwrap_err().reason, Reason::Unreachable);
    assert!(took < 30.0 && tries.len() > 5, "{tries:?}");
    let (result, tries, took) = server(&[Hang]).send(&Method::GET);
    let error = result.unwrap_err();
    assert_eq!((error.reason, tries.len(), took), (Reason::Timeout, 1, 30.0));
    assert_eq!(error.message, "reading `node/n1`: no answer from `https://double` within 30s");
}

#[test]
fn writes_are_sent_again_only_when_they_did_not_begin() {
    for (method, trouble, tries) in [
        (Method::PATCH, Answer(500), 1),
        (Method::PATCH, Answer(503), 1),
        (Method::PATCH, Lose, 1),
        (Method::PATCH, Answer(429), 2),
        (Method::PATCH, RetryAfter(503, 1), 2),
        (Method::PUT, Answer(429), 2),
        (Method::POST, Answer(429), 2),
        (Method::DELETE, RetryAfter(503, 1), 1),
    ] {
        let (_, seen, _) = server(&[trouble, Answer(200)]).send(&method);
        assert_eq!(seen.len(), tries, "{method}");
    }
}

#[test]
fn a_write_without_an_answer_has_an_unknown_outcome() {
    let (result, tries, took) = server(&[Hang]).send(&Method::PATCH);
    let error = result.unwrap_err();
    assert_eq!((tries.len(), took), (1, 60.0));
    assert_eq!((error.kind, error.reason, &error.details["outcome"]), (Kind::Cluster, Reason::Timeout, &json!("unknown")));
    let (result, ..) = server(&[Lose]).send(&Method::POST);
    let error = result.unwrap_err();
    assert_eq!((error.reason, &error.details["outcome"]), (Reason::Unreachable, &json!("unknown")));
}

#[test]
fn one_press_stops_reads_and_pauses_two_give_up_on_writes() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let server = server(&[Hang]);
        // Held still, so that no deadline can pass meanwhile.
        let other = server.wire.clock().join();
        let (get, patch) = (call(&Method::GET), call(&Method::PATCH));
        let mut read = Box::pin(server.wire.json(&get));
        let mut write = Box::pin(server.wire.json(&patch));
        for _ in 0..4 {
            assert!(futures::poll!(&mut read).is_pending() && futures::poll!(&mut write).is_pending());
            tokio::task::yield_now().await;
        }
        assert_eq!(server.seen.lock().unwrap().len(), 2, "both are on their way");
        server.wire.cancel().press();
        assert!(read.await.unwrap_err().is_stop());
        assert!(futures::poll!(&mut write).is_pending(), "a write that was sent is waited for");
        let refused = server.wire.json(&patch).now_or_never().unwrap().unwrap_err();
        assert!(refused.is_stop(), "and no other one is begun");
        server.wire.cancel().press();
        let error = write.await.unwrap_err();
        assert_eq!((error.is_stop(), &error.details["outcome"]), (true, &json!("unknown")));
        assert_eq!(server.seen.lock().unwrap().len(), 2);
        drop(other);
    });
}

#[test]
fn what_the_server_warns_of_is_kept_for_writes() {
    let warned = |method: &Method| {
        let server = server(&[Warn("299 - \"unknown field \\\"spec.foo\\\"\"")]);
        server.send(method).0.unwrap();
        [server.wire.take_warnings(), server.wire.take_warnings()]
    };
    assert_eq!(warned(&Method::GET).concat(), Vec::<String>::new(), "reads warn of what others wrote");
    assert_eq!(warned(&Method::PATCH), [vec!["unknown field \"spec.foo\"".to_owned()], vec![]], "each is given once");
    for other in ["110 - \"stale\"", "299 - \"without end", "299", ""] {
        assert_eq!(warning(other), None, "{other}");
    }
}
