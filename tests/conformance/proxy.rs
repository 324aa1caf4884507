//! A server on loopback in front of a real one that writes down what passes. It speaks plain HTTP to kubectl and has the
//! certificate of the administrator itself.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use http::header::{ACCEPT, CONTENT_TYPE, USER_AGENT, WARNING};
use http::{HeaderMap, Request, Response};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use kube::client::Body;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use super::Outcome;
use super::golden::{Answer, Sent};

/// What has passed.
type Passed = Arc<Mutex<Vec<(Sent, Answer)>>>;

/// Listens on loopback until it is dropped.
pub(crate) struct Proxy {
    passed: Passed,
    address: SocketAddr,
    thread: Option<std::thread::JoinHandle<()>>,
    stop: Option<oneshot::Sender<()>>,
}

impl Proxy {
    /// Starts it in front of the server of this kubeconfig.
    ///
    /// # Errors
    /// It cannot listen, or the kubeconfig is of no use.
    pub(crate) fn start(kubeconfig: &std::path::Path) -> Outcome<Proxy> {
        let passed = Passed::default();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").map_err(|error| format!("listening: {error}"))?;
        let address = listener.local_addr().map_err(|error| error.to_string())?;
        listener.set_nonblocking(true).map_err(|error| error.to_string())?;
        let (stop, stopped) = oneshot::channel();
        let (kubeconfig, seen) = (kubeconfig.to_owned(), passed.clone());
        let thread = std::thread::spawn(move || {
            let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return };
            runtime.block_on(async {
                tokio::select! {
                    () = serve(listener, &kubeconfig, seen) => {}
                    _ = stopped => {}
                }
            });
        });
        Ok(Proxy { passed, address, thread: Some(thread), stop: Some(stop) })
    }

    /// How clients find it, with the namespace of their commands.
    pub(crate) fn kubeconfig(&self, namespace: &str) -> String {
        format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: c\nclusters: [{{name: c, cluster: {{server: \"http://{}\"}}}}]\n\
             contexts: [{{name: c, context: {{cluster: c, namespace: {namespace}}}}}]\n",
            self.address
        )
    }

    /// What has passed since this was asked last. What is not answered yet, as a watch, is there too.
    pub(crate) fn take(&self) -> Vec<(Sent, Answer)> {
        std::mem::take(&mut *self.passed.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

/// A client with the rights of a kubeconfig.
///
/// # Errors
/// It cannot be read.
pub(crate) async fn client(kubeconfig: &std::path::Path) -> Outcome<kube::Client> {
    let config = kube::config::Kubeconfig::read_from(kubeconfig).map_err(|error| format!("kubeconfig: {error}"))?;
    let config = kube::Config::from_custom_kubeconfig(config, &kube::config::KubeConfigOptions::default()).await;
    let mut config = config.map_err(|error| format!("kubeconfig: {error}"))?;
    config.read_timeout = None;
    // What the server says is to be recorded, not what it says at last.
    config.default_retry = false;
    kube::Client::try_from(config).map_err(|error| format!("client: {error}"))
}

/// Sends a request; the body of the answer is still to be read.
///
/// # Errors
/// There is no answer.
pub(crate) async fn forward(client: &kube::Client, sent: &Sent) -> Outcome<Response<Body>> {
    let mut request = Request::builder().method(sent.method.as_str()).uri(sent.path.as_str());
    for (name, value) in [(CONTENT_TYPE, &sent.content_type), (ACCEPT, &sent.accept), (USER_AGENT, &sent.agent)] {
        if !value.is_empty() {
            request = request.header(name, value.as_str());
        }
    }
    if !sent.user.is_empty() {
        request = request.header("Impersonate-User", sent.user.as_str());
    }
    let request = request.body(Body::from(sent.bytes())).map_err(|error| format!("{} {}: {error}", sent.method, sent.path))?;
    client.send(request).await.map_err(|error| format!("{} {}: {error}", sent.method, sent.path))
}

/// The whole answer.
///
/// # Errors
/// It does not come to its end.
pub(crate) async fn whole(response: Response<Body>) -> Outcome<(Answer, HeaderMap, bytes::Bytes)> {
    let (parts, body) = response.into_parts();
    let bytes = body.collect().await.map_err(|error| format!("reading an answer: {error}"))?.to_bytes();
    let body = serde_json::from_slice(&bytes).unwrap_or_else(|_| Value::from(String::from_utf8_lossy(&bytes)));
    let warnings = parts.headers.get_all(WARNING).iter().map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    // What is not modelled in the simulator no other server says.
    let warnings = warnings.filter(|text| !text.contains("simulator:")).collect();
    Ok((Answer { status: parts.status.as_u16(), warnings, body }, parts.headers, bytes))
}

async fn serve(listener: std::net::TcpListener, kubeconfig: &std::path::Path, passed: Passed) {
    let (Ok(listener), Ok(client)) = (TcpListener::from_std(listener), client(kubeconfig).await) else { return };
    loop {
        let Ok((stream, _)) = listener.accept().await else { return };
        let (client, passed) = (client.clone(), passed.clone());
        tokio::spawn(async move {
            let service = service_fn(move |request| {
                let (client, passed) = (client.clone(), passed.clone());
                async move { Ok::<_, Infallible>(pass(&client, &passed, request).await) }
            });
            // A client that goes away ends its connection in any way it likes.
            hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await.ok();
        });
    }
}

async fn pass(client: &kube::Client, passed: &Passed, request: Request<Incoming>) -> Response<Body> {
    match exchange(client, passed, request).await {
        Ok(response) => response,
        Err(error) => {
            let mut response = Response::new(Body::from(error.into_bytes()));
            *response.status_mut() = http::StatusCode::BAD_GATEWAY;
            response
        }
    }
}

async fn exchange(client: &kube::Client, passed: &Passed, request: Request<Incoming>) -> Outcome<Response<Body>> {
    let (parts, body) = request.into_parts();
    let bytes = body.collect().await.map_err(|error| format!("reading a request: {error}"))?.to_bytes();
    let header = |name: http::HeaderName| parts.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    let agent = header(USER_AGENT);
    let sent = Sent {
        method: parts.method.to_string(),
        path: parts.uri.path_and_query().map(ToString::to_string).unwrap_or_default(),
        content_type: header(CONTENT_TYPE),
        accept: header(ACCEPT),
        agent: agent.split(['/', ' ']).next().unwrap_or_default().to_owned(),
        ..Sent::default()
    }
    .with_bytes(&bytes);
    let place = {
        let mut passed = passed.lock().unwrap_or_else(PoisonError::into_inner);
        passed.push((sent.clone(), Answer::default()));
        passed.len() - 1
    };
    let note = |answer: Answer| {
        // Its place is gone when nobody waited for the answer.
        if let Some((_, noted)) = passed.lock().unwrap_or_else(PoisonError::into_inner).get_mut(place) {
            *noted = answer;
        }
    };
    // kubectl is content with JSON where it would like protobuf better; only JSON can be compared.
    let mut asked = sent.clone();
    if asked.accept.contains("application/vnd.kubernetes.protobuf") {
        "application/json".clone_into(&mut asked.accept);
    }
    let response = forward(client, &asked).await?;
    if sent.watches() && response.status().is_success() {
        note(Answer { status: response.status().as_u16(), ..Answer::default() });
        return Ok(response);
    }
    let (answer, headers, bytes) = whole(response).await?;
    let mut response = Response::new(Body::from(bytes.to_vec()));
    *response.status_mut() = http::StatusCode::from_u16(answer.status).map_err(|error| error.to_string())?;
    for name in [CONTENT_TYPE, WARNING, http::header::RETRY_AFTER] {
        for value in headers.get_all(&name) {
            response.headers_mut().append(name.clone(), value.clone());
        }
    }
    note(answer);
    Ok(response)
}
