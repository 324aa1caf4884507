//! Whatever bytes arrive at the socket: the front goes on, and what is a request is answered as Kubernetes answers.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use lockgate::cluster::serve::Speed;
use lockgate_sim::json::Value;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use tokio::sync::oneshot;

use super::{Served, served, tell, tell_all};

/// So long a client waits for the end of an answer that has no end; far longer than any answer takes.
const PATIENCE: Duration = Duration::from_secs(20);

/// What is sent, and whether it was made to be a whole request of somebody who may ask.
#[derive(Clone, Debug)]
struct Sent {
    bytes: Vec<u8>,
    whole: bool,
}

/// Parts of targets: some of the API's, some of nobody's.
const PARTS: [&str; 22] = [
    "api",
    "apis",
    "v1",
    "apps",
    "namespaces",
    "default",
    "pods",
    "lone",
    "nodes",
    "deployments",
    "web",
    "scale",
    "status",
    "log",
    "eviction",
    "%2e%2e",
    "%00",
    "%ff%fe",
    "..",
    "",
    "openapi",
    "\u{e9}",
];
const PARAMETERS: [&str; 12] = [
    "limit",
    "continue",
    "labelSelector",
    "fieldSelector",
    "resourceVersion",
    "dryRun",
    "fieldValidation",
    "timeoutSeconds",
    "pretty",
    "propagationPolicy",
    "fieldManager",
    "x",
];
const VALUES: [&str; 12] = [
    "",
    "1",
    "-1",
    "99999999999999999999",
    "All",
    "a%3Db",
    "%",
    "%zz",
    "!!(",
    "metadata.name%3Dlone",
    "true",
    "eyJ2IjoibWV0YS5rOHMuaW8vdjEi",
];
const TYPES: [&str; 9] = [
    "application/json",
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
    "application/apply-patch+yaml",
    "application/vnd.kubernetes.protobuf",
    "text/html; charset=\"",
    ";;;",
    "",
];
const BODIES: [&[u8]; 9] = [
    b"",
    b"{}",
    b"{\"metadata\":{\"name\":\"a\"},\"data\":{\"k\":\"v\"}}",
    b"{\"apiVersion\":\"policy/v1\",\"kind\":\"Eviction\",\"metadata\":{\"name\":\"lone\"}}",
    b"[{\"op\":\"replace\",\"path\":\"/spec/replicas\",\"value\":1e999}]",
    b"{\"spec\":{\"replicas\":123456789012345678901234567890}}",
    b"k8s\0\x0a\x0a\x0a\x02v1\x12\x03Pod\x12\xff\xff\xff\xff\x0f",
    b"\xff\xfe\0",
    b"{\"metadata\":",
];

fn targets() -> impl Strategy<Value = String> {
    let path = prop::collection::vec(prop::sample::select(&PARTS[..]), 0..7).prop_map(|parts| format!("/{}", parts.join("/")));
    let pair =
        (prop::sample::select(&PARAMETERS[..]), prop::sample::select(&VALUES[..])).prop_map(|(name, value)| format!("{name}={value}"));
    (path, prop::collection::vec(pair, 0..4))
        .prop_map(|(path, query)| if query.is_empty() { path } else { format!("{path}?{}", query.join("&")) })
}

fn bodies() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => prop::sample::select(&BODIES[..]).prop_map(<[u8]>::to_vec),
        1 => prop::collection::vec(any::<u8>(), 0..300),
        1 => (1_usize..20_000).prop_map(|depth| b"{\"a\":".repeat(depth)),
        1 => (1_usize..20_000).prop_map(|depth| b"[".repeat(depth)),
    ]
}

/// Requests, some of them spoiled: a wrong length, no token, a version that there is not, bytes that are missing at the end.
fn requests(token: String) -> impl Strategy<Value = Sent> {
    let method = prop::sample::select(&["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "BREW"][..]);
    let types = (prop::sample::select(&TYPES[..]), prop::sample::select(&TYPES[..]));
    let spoiled = prop_oneof![6 => Just(0_u8), 4 => 1_u8..7];
    (method, targets(), types, bodies(), spoiled, any::<prop::sample::Index>()).prop_map(
        move |(method, target, (content, accept), body, spoiled, at)| {
            let (length, token) = match spoiled {
                1 => (body.len().saturating_add(5).to_string(), token.as_str()),
                2 => ("-1".to_owned(), token.as_str()),
                3 => ("99999999999999999999999".to_owned(), token.as_str()),
                4 => (body.len().to_string(), "wrong"),
                _ => (body.len().to_string(), token.as_str()),
            };
            let version = if spoiled == 5 { "HTTP/7.0" } else { "HTTP/1.1" };
            let head = format!(
                "{method} {target} {version}\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer {token}\r\nContent-Type: {content}\r\n\
                 Accept: {accept}\r\nContent-Length: {length}\r\n\r\n"
            );
            let mut bytes = head.into_bytes();
            bytes.extend_from_slice(&body);
            if spoiled == 6 {
                bytes.truncate(at.index(bytes.len()));
            }
            // A target is text of seven bits.
            Sent { bytes, whole: spoiled == 0 && target.is_ascii() && method != "HEAD" }
        },
    )
}

fn sent(token: String) -> impl Strategy<Value = Sent> {
    let noise = prop::collection::vec(any::<u8>(), 0..600).prop_map(|bytes| Sent { bytes, whole: false });
    let twice = (requests(token.clone()), requests(token.clone()))
        .prop_map(|(first, second)| Sent { bytes: first.bytes.iter().chain(&second.bytes).copied().collect(), whole: false });
    prop_oneof![8 => requests(token), 1 => noise, 1 => twice]
}

/// What is wrong with what came back.
fn judged(sent: &Sent, text: &str) -> Result<(), String> {
    if text.is_empty() {
        return if sent.whole { Err("a whole request is not answered".to_owned()) } else { Ok(()) };
    }
    let code = text.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)?.parse::<u16>().ok());
    let code = code.filter(|code| (100..600).contains(code)).ok_or("no status line")?;
    if code >= 500 && code != 501 && code != 504 {
        return Err(format!("{code}"));
    }
    let (head, body) = text.split_once("\r\n\r\n").ok_or("no end of the head")?;
    let of_the_api =
        sent.bytes.windows(2).any(|pair| pair == b" /") && head.to_ascii_lowercase().contains("content-type: application/json");
    if code >= 400 && of_the_api && sent.whole && !head.to_ascii_lowercase().contains("transfer-encoding") {
        let status: Value = serde_json::from_str(body).map_err(|error| format!("{code} without a document: {error}"))?;
        if status["kind"] != "Status" || status["code"] != code {
            return Err(format!("{code} with {status}"));
        }
    }
    Ok(())
}

#[test]
fn any_bytes_at_all_are_taken() {
    let (ready, told) = mpsc::channel();
    let (stop, stopped) = oneshot::channel::<()>();
    let server = thread::spawn(move || {
        served(Speed::Instant, async |served| {
            ready.send((served.kubeconfig.clone(), served.port, served.simulation.clone())).unwrap();
            stopped.await.ok();
            served.is_well().await;
        });
    });
    let (kubeconfig, port, simulation) = told.recv().unwrap();
    let client = Served { simulation, kubeconfig, port, asked: std::sync::Arc::default() };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut runner = TestRunner::new(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() });
    let outcome = runner.run(&sent(client.token().to_owned()), |sent| {
        let text = runtime.block_on(async {
            // Who has asked all of it waits for the answer; of anything else nothing more comes.
            let answer = async {
                let stream = client.connect().await;
                if sent.whole { tell(stream, &sent.bytes).await } else { tell_all(stream, &sent.bytes).await }
            };
            tokio::time::timeout(PATIENCE, answer).await.map_err(|_| TestCaseError::fail("the answer does not end"))
        })?;
        judged(&sent, &text).map_err(|why| TestCaseError::fail(format!("{why}\n{}\n{text}", String::from_utf8_lossy(&sent.bytes))))
    });
    drop(stop);
    server.join().unwrap();
    outcome.unwrap();
}
