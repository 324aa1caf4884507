//! An API server behind the real one: it has a group with nothing in it, and answers over TLS as the real one asks.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection};

use super::Outcome;

/// A server on loopback; dropping it ends it.
pub(super) struct Aggregated {
    pub(super) port: u16,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Aggregated {
    /// Starts one that serves this group, such as `projectcalico.org/v3`, with the certificate of the control plane in a folder.
    pub(super) fn start(folder: &Path, group: &'static str) -> Outcome<Aggregated> {
        let config = Arc::new(identity(folder)?);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(|error| error.to_string())?;
        let port = listener.local_addr().map_err(|error| error.to_string())?.port();
        let over = Arc::new(AtomicBool::new(false));
        let is_over = Arc::clone(&over);
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if is_over.load(Ordering::SeqCst) {
                    return;
                }
                // Who asks asks again when nothing came.
                if let (Ok(stream), Ok(connection)) = (stream, ServerConnection::new(Arc::clone(&config))) {
                    answer(stream, connection, group).ok();
                }
            }
        });
        Ok(Aggregated { port, over, thread: Some(thread) })
    }
}

impl Drop for Aggregated {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).ok();
        self.thread.take().map(JoinHandle::join);
    }
}

fn identity(folder: &Path) -> Outcome<ServerConfig> {
    let (certificate, key) = (folder.join("server.crt"), folder.join("server.key"));
    let certificate = CertificateDer::from_pem_file(&certificate).map_err(|error| format!("{}: {error}", certificate.display()))?;
    let key = PrivateKeyDer::from_pem_file(&key).map_err(|error| format!("{}: {error}", key.display()))?;
    let made = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|config| config.with_no_client_auth().with_single_cert(vec![certificate], key));
    made.map_err(|error| format!("TLS: {error}"))
}

/// Answers one request, and hangs up.
fn answer(mut stream: TcpStream, mut connection: ServerConnection, group: &str) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let mut tls = rustls::Stream::new(&mut connection, &mut stream);
    let mut asked = Vec::new();
    let mut room = [0; 4096];
    while !asked.windows(4).any(|end| end == b"\r\n\r\n") {
        match tls.read(&mut room)? {
            0 => return Ok(()),
            length => asked.extend_from_slice(&room[..length]),
        }
    }
    let asked = String::from_utf8_lossy(&asked).into_owned();
    let path = asked.split(' ').nth(1).unwrap_or_default().split('?').next().unwrap_or_default();
    let (status, body) = if path == format!("/apis/{group}") {
        ("200 OK", format!(r#"{{"kind":"APIResourceList","apiVersion":"v1","groupVersion":"{group}","resources":[]}}"#))
    } else {
        ("404 Not Found", r#"{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"NotFound","code":404}"#.to_owned())
    };
    let head = format!("HTTP/1.1 {status}\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: {}", body.len());
    tls.write_all(format!("{head}\r\n\r\n{body}").as_bytes())?;
    tls.conn.send_close_notify();
    tls.flush()?;
    stream.shutdown(Shutdown::Write)
}
