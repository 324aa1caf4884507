//! API servers whose certificate is not to be trusted: what the command says about each, and about what would be right.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener};
use std::sync::Arc;
use std::thread;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection};

use super::support::{Host, MOVE, Said};

/// An authority and its certificate.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    fn new(name: &str) -> Authority {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Authority { issuer: Issuer::new(params, key), pem }
    }

    /// A server's identity: a certificate for this name, changed as told.
    fn serves(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> Arc<ServerConfig> {
        self.identity(name, change, None)
    }

    /// The same for a server that wants clients with a certificate of this authority.
    fn identity(&self, name: &str, change: impl FnOnce(&mut CertificateParams), clients: Option<&Authority>) -> Arc<ServerConfig> {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions().unwrap();
        let config = match clients {
            None => config.with_no_client_auth(),
            Some(authority) => {
                let mut roots = RootCertStore::empty();
                roots.add(CertificateDer::from_pem_slice(authority.pem.as_bytes()).unwrap()).unwrap();
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
                config.with_client_cert_verifier(verifier)
            }
        };
        Arc::new(config.with_single_cert(vec![certificate.der().clone()], key).unwrap())
    }
}

/// A loopback server with this identity; whoever trusts it is told that the user may not do anything. Gives its address.
fn serve(config: Arc<ServerConfig>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut connection = ServerConnection::new(config.clone()).unwrap();
            let mut tls = rustls::Stream::new(&mut connection, &mut stream);
            // A client that does not trust hangs up here.
            if tls.read(&mut [0; 4096]).is_ok_and(|length| length > 0) {
                let status = "{\"kind\":\"Status\",\"reason\":\"Forbidden\",\"code\":403,\"message\":\"told by the trusted server\"}";
                let head = "HTTP/1.1 403 Forbidden\r\nContent-Type: application/json\r\nConnection: close";
                tls.write_all(format!("{head}\r\nContent-Length: {}\r\n\r\n{status}", status.len()).as_bytes()).ok();
                tls.conn.send_close_notify();
                tls.flush().ok();
            }
            // What the client sends after all is read to its end: a connection closed over it would be reset, and what was said lost.
            stream.shutdown(Shutdown::Write).ok();
            std::io::copy(&mut stream, &mut std::io::sink()).ok();
        }
    });
    address
}

/// A folder with a kubeconfig for this server that trusts this authority, and has these further fields in its cluster.
fn kubeconfig(address: &str, trusted: &Authority, fields: &str) -> Host {
    let kubeconfig = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: prod\n\
         clusters: [{{ name: c, cluster: {{ server: \"https://{address}\", certificate-authority: ca.crt{fields} }} }}]\n\
         users: [{{ name: u, user: {{ token: t }} }}]\n\
         contexts: [{{ name: prod, context: {{ cluster: c, user: u }} }}]\n"
    );
    Host::with_runbook(MOVE).file("kubeconfig", &kubeconfig).file("ca.crt", &trusted.pem)
}

/// Plans on this server.
fn planned(address: &str, trusted: &Authority, fields: &str) -> Said {
    let host = kubeconfig(address, trusted, fields);
    host.run(&["plan", "r", "image=registry.example/web:v1.2.4", "--kubeconfig", "kubeconfig"]).replacing(address, "127.0.0.1:PORT")
}

/// Everybody's mistakes are told from this: with the right authority, name and time there is nothing to say about TLS.
#[test]
fn a_certificate_that_is_as_it_should_be_is_trusted() {
    let authority = Authority::new("kubernetes");
    let address = serve(authority.serves("127.0.0.1", |_| {}));
    planned(&address, &authority, "").exits(5).tells("told by the trusted server");
}

#[test]
fn a_certificate_of_an_unknown_authority() {
    let address = serve(Authority::new("kubernetes").serves("127.0.0.1", |_| {}));
    let said = planned(&address, &Authority::new("another cluster"), "").exits(1);
    said.tells("no trusted connection to `https://127.0.0.1:PORT`").tells("certificate-authority").golden("tls-unknown-authority");
}

#[test]
fn a_certificate_for_another_name_and_the_kubeconfig_that_expects_it() {
    let authority = Authority::new("kubernetes");
    let address = serve(authority.serves("api.prod.example", |_| {}));
    let said = planned(&address, &authority, "").exits(1);
    said.tells("api.prod.example").tells("tls-server-name").golden("tls-wrong-name");
    planned(&address, &authority, ", tls-server-name: api.prod.example").exits(5).tells("told by the trusted server");
}

#[test]
fn a_certificate_that_has_expired() {
    let authority = Authority::new("kubernetes");
    let address = serve(authority.serves("127.0.0.1", |params| {
        (params.not_before, params.not_after) = (date_time_ymd(2000, 1, 1), date_time_ymd(2001, 1, 1));
    }));
    planned(&address, &authority, "").exits(1).tells("2001-01-01").golden("tls-expired");
}

#[test]
fn a_certificate_from_the_future() {
    let authority = Authority::new("kubernetes");
    let address = serve(authority.serves("127.0.0.1", |params| {
        (params.not_before, params.not_after) = (date_time_ymd(2999, 1, 1), date_time_ymd(3000, 1, 1));
    }));
    planned(&address, &authority, "").exits(1).tells("2999-01-01").tells("clock").golden("tls-not-yet-valid");
}

#[test]
fn a_run_ends_as_its_plan_does() {
    let address = serve(Authority::new("kubernetes").serves("127.0.0.1", |_| {}));
    let host = kubeconfig(&address, &Authority::new("another cluster"), "");
    let words = ["run", "r", "image=registry.example/web:v1.2.4", "--kubeconfig", "kubeconfig", "--yes"];
    host.run(&words).exits(1).tells(&format!("no trusted connection to `https://{address}`")).tells("not trusted here");
}

#[test]
fn a_client_certificate_that_the_server_does_not_know() {
    let authority = Authority::new("kubernetes");
    let address = serve(authority.identity("127.0.0.1", |_| {}, Some(&authority)));
    // The kubeconfig's user has a token and no certificate at all.
    planned(&address, &authority, "").exits(1).tells("the server refused with `CertificateRequired`").tells("client certificate");
}
