//! A simulated cluster behind a socket: what clients may do to it, and what it does to them.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use lockgate::base::{ObjectRef, Reason, Span};
use lockgate::cluster::serve::{Asked, Front, Speed};
use lockgate::cluster::{Access, Cluster, Command, LiveOptions, Options, RunId, Simulation};
use lockgate_sim::Options as SimOptions;
use lockgate_sim::fixture::Fixture;
use lockgate_sim::json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::support::run;

mod raw;

const FIXTURE: &str = r#"
apiVersion: v1
kind: Node
metadata: {name: n1}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: "registry.example/web:v1"}]}
---
apiVersion: v1
kind: Pod
metadata: {name: lone}
spec: {containers: [{name: a, image: "registry.example/a:v1"}]}
---
apiVersion: lockgate.dev/v1
kind: Model
exec:
- {match: {command: "slow *"}, answer: {stdout: "done\n", code: 3, takes: 40m}, why: a test}
- {match: {command: cat}, answer: {echo: true}, why: a test}
logs:
- {match: {}, answer: {text: "one\n", lines: [{after: 2h, text: two}]}, why: a test}
"#;

/// A served cluster, and what a client needs to know of it.
struct Served {
    simulation: Simulation,
    kubeconfig: String,
    port: u16,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Served {
    fn token(&self) -> &str {
        self.kubeconfig.lines().find_map(|line| line.trim().strip_prefix("token: ")).unwrap()
    }

    fn authority(&self) -> Vec<u8> {
        let text = self.kubeconfig.lines().find_map(|line| line.trim().strip_prefix("certificate-authority-data: ")).unwrap();
        base64(text)
    }

    /// A connection that trusts the authority of the kubeconfig and nothing else.
    async fn connect(&self) -> TlsStream<TcpStream> {
        use rustls::pki_types::pem::PemObject as _;
        let mut roots = rustls::RootCertStore::empty();
        roots.add(rustls::pki_types::CertificateDer::from_pem_slice(&self.authority()).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let config = config.with_root_certificates(roots).with_no_client_auth();
        let stream = TcpStream::connect(("127.0.0.1", self.port)).await.unwrap();
        TlsConnector::from(Arc::new(config)).connect("127.0.0.1".try_into().unwrap(), stream).await.unwrap()
    }

    /// Sends these bytes and gives everything that comes back.
    async fn raw(&self, bytes: &[u8]) -> String {
        tell(self.connect().await, bytes).await
    }

    /// Sends a request with the token; gives code and document.
    async fn ask(&self, head: &str, body: &[u8]) -> (u16, Value) {
        let token = self.token();
        let head = format!("{head} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n");
        let mut bytes = format!("{head}Content-Type: application/json\r\nContent-Length: {}\r\n\r\n", body.len()).into_bytes();
        bytes.extend_from_slice(body);
        answer(&self.raw(&bytes).await)
    }

    /// The cluster as a run sees it.
    async fn cluster(&self) -> (Cluster, TempDir) {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("kubeconfig");
        std::fs::write(&path, &self.kubeconfig).unwrap();
        let live = LiveOptions { kubeconfig: Some(path), context: None };
        (Cluster::live(live, Options::new(RunId::generate())).await.unwrap(), folder)
    }

    /// It still answers.
    async fn is_well(&self) {
        let (code, node) = self.ask("GET /api/v1/nodes/n1", b"").await;
        assert_eq!((code, &node["metadata"]["name"]), (200, &json!("n1")));
    }
}

/// Writes and reads to the end; a connection that is reset has ended too.
async fn tell(mut stream: impl AsyncRead + AsyncWrite + Unpin, bytes: &[u8]) -> String {
    stream.write_all(bytes).await.ok();
    stream.flush().await.ok();
    let mut out = Vec::new();
    stream.read_to_end(&mut out).await.ok();
    String::from_utf8_lossy(&out).into_owned()
}

/// The same, and nothing more will come.
async fn tell_all(mut stream: impl AsyncRead + AsyncWrite + Unpin, bytes: &[u8]) -> String {
    stream.write_all(bytes).await.ok();
    stream.shutdown().await.ok();
    tell(stream, b"").await
}

/// Code and document of an HTTP answer that is not chunked, or whose only chunk is the document.
fn answer(text: &str) -> (u16, Value) {
    let code = text.split(' ').nth(1).unwrap_or_else(|| panic!("no answer: {text:?}")).parse().unwrap();
    let body = text.split_once("\r\n\r\n").unwrap().1;
    let document = body.find('{').map_or("null", |start| &body[start..=body.rfind('}').unwrap()]);
    (code, serde_json::from_str(document).unwrap())
}

fn base64(text: &str) -> Vec<u8> {
    const DIGITS: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digits: Vec<usize> = text.trim_end_matches('=').chars().map(|c| DIGITS.find(c).unwrap()).collect();
    let bits = digits.iter().flat_map(|digit| (0..6).rev().map(move |bit| u8::from(digit >> bit & 1 == 1))).collect::<Vec<_>>();
    bits.chunks_exact(8).map(|byte| byte.iter().fold(0, |value, bit| value << 1 | bit)).collect()
}

/// Serves the fixture for as long as the test takes.
fn served(speed: Speed, test: impl AsyncFnOnce(&Served)) {
    run(async {
        let sim = Fixture::parse("cluster.yaml", FIXTURE).unwrap().cluster(SimOptions::default()).unwrap();
        let simulation = Simulation::new(sim);
        let front = Front::bind(None).await.unwrap();
        let port = front.address().rsplit(':').next().unwrap().parse().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let served = Served { simulation: simulation.clone(), kubeconfig: front.kubeconfig("test"), port, asked: asked.clone() };
        tokio::select! {
            ended = front.serve(simulation, speed, Some(Box::new(move |one| asked.lock().unwrap().push(one)))) => panic!("{ended:?}"),
            () = test(&served) => {}
            () = tokio::time::sleep(Duration::from_secs(60)) => panic!("the test hangs"),
        }
    });
}

const MINUTE: Span = Span::from_secs(60);

#[test]
fn a_run_works_on_it_as_on_any_cluster() {
    served(Speed::Instant, async |served| {
        let (cluster, _folder) = served.cluster().await;
        let web = cluster.target(&ObjectRef::parse("deployment/web").unwrap(), None).await.unwrap();
        assert_eq!(cluster.get(&web).await.unwrap()["status"]["readyReplicas"], 2);
        let missing = cluster.target(&ObjectRef::parse("deployment/none").unwrap(), None).await.unwrap();
        assert_eq!(cluster.get(&missing).await.unwrap_err().reason, Reason::NotFound);
        let asked = served.asked.lock().unwrap();
        let last = asked.last().unwrap();
        assert_eq!((last.method.as_str(), last.status, last.length), ("GET", 404, 0));
        assert!(last.user_agent.starts_with("lockgate/"), "{last:?}");
        assert!(asked.iter().zip(1..).all(|(one, number)| one.seq == number));
    });
}

#[test]
fn a_command_runs_over_the_socket_and_takes_no_time_of_the_world() {
    served(Speed::Instant, async |served| {
        let (cluster, _folder) = served.cluster().await;
        cluster.set_access(Access::ReadWrite);
        let pod = cluster.target(&ObjectRef::parse("pod/lone").unwrap(), None).await.unwrap();
        let command = |words: &[&str], stdin: Option<String>| Command {
            words: words.iter().map(|word| (*word).to_owned()).collect(),
            container: None,
            stdin,
        };
        let start = served.simulation.now();
        let executed = cluster.exec(&pod, &command(&["slow", "er"], None), MINUTE).await.unwrap();
        assert_eq!((executed.code, executed.stdout.as_str()), (3, "done\n"));
        assert_eq!(served.simulation.now().duration_since(start).as_mins(), 40);
        let text = "0123456789abcdef".repeat(40_000);
        let executed = cluster.exec(&pod, &command(&["cat"], Some(text.clone())), MINUTE).await.unwrap();
        assert!(executed.stdout == text, "{} bytes", executed.stdout.len());
        assert_eq!(cluster.exec(&pod, &command(&["id"], None), MINUTE).await.unwrap_err().reason, Reason::Unmodelled);
    });
}

#[test]
fn a_log_is_followed_to_its_end() {
    served(Speed::Instant, async |served| {
        let token = served.token();
        let head = format!(
            "GET /api/v1/namespaces/default/pods/lone/log?follow=true HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n"
        );
        let mut stream = served.connect().await;
        stream.write_all(head.as_bytes()).await.unwrap();
        let text = until(&mut stream, "two\n").await;
        assert!(text.contains("200 OK") && text.contains("one\n"), "{text}");
    });
}

/// Reads until this has come.
async fn until(stream: &mut (impl AsyncRead + Unpin), end: &str) -> String {
    let mut text = String::new();
    while !text.contains(end) {
        let mut buffer = [0; 4096];
        let length = stream.read(&mut buffer).await.unwrap();
        assert!(length > 0, "it ends before {end:?}: {text}");
        text.push_str(&String::from_utf8_lossy(&buffer[..length]));
    }
    text
}

/// In a cluster in which nothing happens time stands still; who asked for a second gets one of the world.
#[test]
fn a_watch_ends_when_its_client_wanted_it_to() {
    served(Speed::Instant, async |served| {
        let token = served.token();
        let head = "GET /api/v1/nodes?watch=true&timeoutSeconds=1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n";
        let began = std::time::Instant::now();
        let text = served.raw(format!("{head}Authorization: Bearer {token}\r\n\r\n").as_bytes()).await;
        assert!(text.starts_with("HTTP/1.1 200") && text.contains("ADDED") && text.ends_with("0\r\n\r\n"), "{text}");
        assert!((1..20).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
        served.is_well().await;
    });
}

#[test]
fn what_goes_wrong_is_told_with_its_request() {
    served(Speed::Instant, async |served| {
        let faults = "apiVersion: lockgate.dev/v1\nkind: Faults\nrules:\n- {match: {verb: get, nth: 2}, do: {fail: {code: 503}}}\n\
                      - {match: {verb: delete}, do: lost_after}\n\
                      happenings:\n- {at: 5s, do: {write: {by: gitops, verb: delete, path: /api/v1/namespaces/default/pods/lone}}}\n";
        let heard = Arc::new(Mutex::new(Vec::new()));
        let deeds = heard.clone();
        served.simulation.on_deed(move |_, deed| deeds.lock().unwrap().push(deed.to_owned()));
        let faults = lockgate_sim::faults::FaultsDocument::parse("f.yaml", faults).unwrap();
        served.simulation.with(|sim| sim.disturb(faults));
        served.is_well().await;
        assert_eq!(served.ask("GET /api/v1/nodes/n1", b"").await.0, 503);
        let token = served.token();
        let lost = served
            .raw(
                format!("DELETE /api/v1/namespaces/default/configmaps/none HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n")
                    .as_bytes(),
            )
            .await;
        assert_eq!(lost, "");
        let told: Vec<_> = served.asked.lock().unwrap().iter().map(|one| (one.status, one.fault.clone())).collect();
        let fault = |text: &str| Some(text.to_owned());
        assert_eq!(told, [(200, None), (503, fault("is answered 503")), (0, fault("is carried out, and its answer is lost"))]);
        // A client that waits lets time pass.
        let _client = served.connect().await;
        while heard.lock().unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
        assert_eq!(*heard.lock().unwrap(), ["a DELETE of /api/v1/namespaces/default/pods/lone by gitops"]);
    });
}

#[test]
fn nobody_comes_in_without_the_token() {
    served(Speed::Instant, async |served| {
        let token = served.token().to_owned();
        for header in ["", "Authorization: Bearer nonsense\r\n", &format!("Authorization: Basic {token}\r\n"), "Authorization: \r\n"] {
            let text = served.raw(format!("GET /api/v1/nodes HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{header}\r\n").as_bytes()).await;
            let (code, status) = answer(&text);
            assert_eq!((code, &status["reason"], &status["kind"]), (401, &json!("Unauthorized"), &json!("Status")), "{header}");
        }
        assert!(served.asked.lock().unwrap().is_empty());
        served.is_well().await;
    });
}

#[test]
fn large_bodies_are_refused_and_large_heads_end_the_connection() {
    served(Speed::Instant, async |served| {
        let token = served.token();
        let post = format!(
            "POST /api/v1/namespaces/default/configmaps HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n"
        );
        // Announced: refused before it is sent.
        let (code, status) = answer(&served.raw(format!("{post}Content-Length: 4000000\r\n\r\n").as_bytes()).await);
        assert_eq!((code, &status["reason"]), (413, &json!("RequestEntityTooLarge")));
        // Unannounced: refused when it is too much.
        let chunk = format!("10000\r\n{}\r\n", "x".repeat(0x10000));
        let chunks = format!("{post}Transfer-Encoding: chunked\r\n\r\n{}0\r\n\r\n", chunk.repeat(60));
        let (mut read, mut write) = tokio::io::split(served.connect().await);
        let (_, text) = tokio::join!(write.write_all(chunks.as_bytes()), until(&mut read, "RequestEntityTooLarge"));
        assert!(text.starts_with("HTTP/1.1 413"), "{text}");
        // A document of just under the limit is taken as what it is.
        let body = format!("{{\"data\":{{\"a\":\"{}\"}},\"metadata\":{{\"name\":\"a\"}}}}", "x".repeat(900_000));
        assert_eq!(served.ask("POST /api/v1/namespaces/default/configmaps", body.as_bytes()).await.0, 201);
        let text = served.raw(format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(200_000)).as_bytes()).await;
        assert!(text.is_empty() || text.starts_with("HTTP/1.1 431"), "{text}");
        served.is_well().await;
    });
}

#[test]
fn nonsense_harms_nobody() {
    served(Speed::Instant, async |served| {
        let port = served.port;
        let plain = async |bytes: &[u8]| tell_all(TcpStream::connect(("127.0.0.1", port)).await.unwrap(), bytes).await;
        // Not TLS at all.
        assert!(plain(b"GET /version HTTP/1.1\r\nHost: x\r\n\r\n").await.contains("Client sent an HTTP request to an HTTPS server."));
        plain(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03garbage that is no handshake at all, but longer than a record head").await;
        plain(&(0..=255).cycle().take(100_000).collect::<Vec<u8>>()).await;
        // TLS, and then no HTTP.
        for garbage in [
            &b"\0\0\0\0"[..],
            b"\r\n\r\n\r\n",
            b"NONSENSE\r\n\r\n",
            b"GET\r\n\r\n",
            b"GET / HTTP/9.9\r\n\r\n",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        ] {
            let text = tell_all(served.connect().await, garbage).await;
            assert!(text.is_empty() || text.starts_with("HTTP/1.1 400"), "{garbage:?}: {text}");
        }
        // HTTP, and then no Kubernetes: always a Status.
        let long = format!("GET /api/v1/{}", "a/".repeat(5000));
        for (head, body, code) in [
            ("GET /api/v1/namespaces/default/pods/%00%ff", &b""[..], 404),
            ("GET /%2e%2e/%2e%2e/etc/passwd", b"", 404),
            (&long, b"", 404),
            ("GET /api/v1/nodes?limit=nonsense", b"", 400),
            ("GET /api/v1/nodes?continue=%F0%9F", b"", 400),
            ("POST /api/v1/namespaces", b"\xff\xfe\0", 400),
            ("POST /api/v1/namespaces", b"{", 400),
            ("POST /api/v1/namespaces", &[b'['; 100_000], 400),
            ("OPTIONS /api/v1/nodes", b"", 405),
            ("BREW /api/v1/nodes", b"", 405),
            ("HEAD /api/v1/nodes", b"", 405),
        ] {
            let (got, status) = served.ask(head, body).await;
            let head: String = head.chars().take(60).collect();
            assert_eq!(got, code, "{head}: {status}");
            // A path that is no API's has a page for people, and a HEAD has nothing.
            if !head.starts_with("HEAD") && !head.contains("passwd") {
                assert_eq!(status["kind"], "Status", "{head}");
            }
        }
        assert_eq!(served.ask("HEAD /readyz", b"").await.0, 200);
        served.is_well().await;
    });
}

#[test]
fn clients_that_vanish_leave_nothing_behind() {
    served(Speed::Instant, async |served| {
        let token = served.token();
        let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n");
        // Half a handshake, half a head, half a body.
        drop(TcpStream::connect(("127.0.0.1", served.port)).await.unwrap());
        let mut stream = TcpStream::connect(("127.0.0.1", served.port)).await.unwrap();
        stream.write_all(b"\x16\x03").await.unwrap();
        drop(stream);
        for half in [
            "GET /api".to_owned(),
            format!("POST /api/v1/namespaces HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nContent-Length: 900\r\n\r\n{{"),
        ] {
            let mut stream = served.connect().await;
            stream.write_all(half.as_bytes()).await.unwrap();
            drop(stream);
        }
        assert!(served.asked.lock().unwrap().is_empty(), "half a request is none");
        // A watch whose client goes away is closed.
        let open = |served: &Served| served.simulation.with(|sim| sim.next_watch_end().is_some());
        let mut stream = served.connect().await;
        stream.write_all(get("/api/v1/nodes?watch=true&timeoutSeconds=86400").as_bytes()).await.unwrap();
        until(&mut stream, "ADDED").await;
        assert!(open(served));
        drop(stream);
        while open(served) {
            tokio::task::yield_now().await;
        }
        // A command whose client goes away is over.
        let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: v5.channel.k8s.io\r\n\r\n";
        let head = get("/api/v1/namespaces/default/pods/lone/exec?command=cat&stdin=true&stdout=true").replace("\r\n\r\n", "\r\n");
        let mut stream = served.connect().await;
        stream.write_all(format!("{head}{upgrade}").as_bytes()).await.unwrap();
        let text = until(&mut stream, "\r\n\r\n").await;
        assert!(text.starts_with("HTTP/1.1 101") && text.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{text}");
        stream.write_all(b"this is no frame of a websocket").await.unwrap();
        drop(stream);
        served.is_well().await;
    });
}

#[test]
fn a_held_request_is_listed_and_let_go_on() {
    served(Speed::Instant, async |served| {
        let rule = json!({"match": {"verb": "create", "kind": "ConfigMap"}, "do": {"hold": "before"}});
        let rules: Vec<lockgate_sim::faults::Rule> = lockgate_sim::json::from_value(json!([rule])).unwrap();
        served.simulation.with(|sim| rules.into_iter().for_each(|rule| sim.add_fault(rule)));
        assert_eq!(served.ask("GET /lockgate.dev/holds", b"").await, (200, json!({"holds": []})));
        let create = served.ask("POST /api/v1/namespaces/default/configmaps", br#"{"metadata": {"name": "a"}}"#);
        let release = async {
            let hold = loop {
                let (_, holds) = served.ask("GET /lockgate.dev/holds", b"").await;
                if let Some(hold) = holds["holds"].get(0) {
                    break hold.clone();
                }
            };
            assert_eq!((&hold["side"], &hold["request"]), (&json!("before"), &json!("create configmap/default")));
            assert_eq!(served.ask("GET /api/v1/namespaces/default/configmaps/a", b"").await.0, 404);
            let id = hold["id"].as_u64().unwrap();
            let (code, released) = served.ask(&format!("POST /lockgate.dev/holds/{id}/release"), b"").await;
            assert_eq!((code, released), (200, json!({"released": id})));
            assert_eq!(served.ask(&format!("POST /lockgate.dev/holds/{id}/release"), b"").await.0, 404);
        };
        let ((code, _), ()) = tokio::join!(create, release);
        assert_eq!(code, 201);
        assert_eq!(served.ask("DELETE /lockgate.dev/holds", b"").await.0, 404);
    });
}

#[test]
fn many_connections_at_once_are_served_one_after_the_other() {
    served(Speed::Times(1.0), async |served| {
        let all = futures::future::join_all((0..300).map(|_| served.ask("GET /api/v1/nodes/n1", b""))).await;
        assert!(all.iter().all(|(code, _)| *code == 200));
        assert_eq!(served.asked.lock().unwrap().len(), 300);
    });
}

#[test]
fn a_connection_takes_one_request_after_the_other() {
    served(Speed::Instant, async |served| {
        let token = served.token();
        let mut stream = served.connect().await;
        for name in ["n1", "none", "n1"] {
            let head = format!("GET /api/v1/nodes/{name} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n");
            stream.write_all(head.as_bytes()).await.unwrap();
            let text = until(&mut stream, "\r\n\r\n").await;
            assert!(text.starts_with(if name == "none" { "HTTP/1.1 404" } else { "HTTP/1.1 200" }), "{text}");
            if !text.trim_end().ends_with('}') && !text.contains("0\r\n\r\n") {
                until(&mut stream, "}").await;
            }
        }
    });
}
