//! Kubeconfigs that are wrong, and servers that are not there.

use std::io::Write;
use std::net::TcpListener;
use std::path::PathBuf;

use lockgate::base::{Error, Kind, ObjectRef, Reason};
use lockgate::cluster::{Access, Cluster, LiveOptions, Options, RunId};
use tempfile::TempDir;

/// A certificate authority that signed nothing: enough for a client to be made without the machine's own.
const AUTHORITY: &str = "\
-----BEGIN CERTIFICATE-----
MIIBjjCCATOgAwIBAgIUI/4bM2chkgGKZ9i/7axFttBRtjgwCgYIKoZIzj0EAwIw
GzEZMBcGA1UEAwwQYSB0ZXN0IGF1dGhvcml0eTAgFw0yNjExMjEwNDUyMDZaGA8y
MTI2MTAyODA0NTIwNlowGzEZMBcGA1UEAwwQYSB0ZXN0IGF1dGhvcml0eTBZMBMG
ByqGSM49AgEGCCqGSM49AwEHA0IABItQkeD/0J5xmwa7wADwW/7BAIKfGV9+5Rx9
Noegn5mpZyvA+JomRGAnn4Xqe2BmS1xWud+Dkp2ow8INnb6SKMOjUzBRMB0GA1Ud
DgQWBBSQd4UP5mpZU5Z0NP2E1+bdqVZgDDAfBgNVHSMEGDAWgBSQd4UP5mpZU5Z0
NP2E1+bdqVZgDDAPBgNVHRMBAf8EBTADAQH/MAoGCCqGSM49BAMCA0kAMEYCIQCp
IdB/lNCw1wrHfREVHqlvU1swqTNxW6rjLAxHPfqgpgIhAO7bhOkMTk/aQD1qJ27E
wRgDAvW5JacvMq0x0OLuEiJh
-----END CERTIFICATE-----
";

fn run<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

struct Config {
    folder: TempDir,
}

impl Config {
    fn new(text: &str) -> Config {
        let text = text.replace("SERVER", "https://127.0.0.1:1");
        let folder = TempDir::new().unwrap();
        std::fs::write(folder.path().join("config"), text).unwrap();
        std::fs::write(folder.path().join("ca.pem"), AUTHORITY).unwrap();
        Config { folder }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("config")
    }

    fn open(&self, context: Option<&str>) -> Result<Cluster, Error> {
        let live = LiveOptions { kubeconfig: Some(self.path()), context: context.map(str::to_owned) };
        run(Cluster::live(live, Options::new(RunId::generate())))
    }

    /// The error of opening it, with the folder's name taken out.
    fn error(&self, context: Option<&str>) -> Error {
        let mut error = self.open(context).unwrap_err();
        assert_eq!((error.kind, error.reason), (Kind::Input, Reason::Usage), "{error}");
        let folder = format!("{}/", self.folder.path().display());
        error.message = error.message.replace(&folder, "");
        for cause in &mut error.causes {
            *cause = cause.replace(&folder, "");
        }
        error
    }
}

const GOOD: &str = "
apiVersion: v1
kind: Config
current-context: prod
contexts:
- {name: prod, context: {cluster: c, user: u, namespace: shop}}
- {name: staging, context: {cluster: gone, user: u}}
- {name: nobody, context: {cluster: c, user: gone}}
- {name: homeless, context: {cluster: bare, user: u}}
- {name: unreadable, context: {cluster: no-ca, user: u}}
clusters:
- {name: c, cluster: {server: 'SERVER', certificate-authority: ca.pem}}
- {name: bare, cluster: {}}
- {name: no-ca, cluster: {server: 'https://h', certificate-authority: missing.pem}}
users:
- {name: u, user: {}}
";

#[test]
fn a_good_kubeconfig_is_read_and_nothing_contacted() {
    let cluster = Config::new(GOOD).open(None).unwrap();
    assert_eq!((cluster.label().name.as_str(), cluster.namespace()), ("prod", "shop"));
    assert!(!cluster.label().simulated && !cluster.label().plan);
    assert_eq!(cluster.access(), Access::ReadOnly, "a live cluster is opened for writing on purpose only");
    assert_eq!(cluster.requests(), []);
    let plan = cluster.planning();
    assert!(plan.label().plan);
    assert_eq!(plan.namespace(), "shop");
    assert_eq!(plan.requests(), [], "planning reads nothing before it is asked");
}

#[test]
fn what_is_wrong_with_a_context_is_said_with_what_there_is() {
    let config = Config::new(GOOD);
    let error = config.error(Some("prd"));
    assert_eq!(error.message, "kubeconfig `config` has no context `prd`");
    assert_eq!(error.hint.as_deref(), Some("did you mean `prod`? there are: `prod`, `staging`, `nobody`, `homeless`, `unreadable`"));
    for (context, message) in [
        ("staging", "context `staging` names cluster `gone`, which kubeconfig `config` does not have"),
        ("nobody", "context `nobody` names user `gone`, which kubeconfig `config` does not have"),
        ("homeless", "cluster `bare` of kubeconfig `config` has no `server`"),
        ("unreadable", "context `unreadable` of kubeconfig `config` cannot be used"),
    ] {
        assert_eq!(config.error(Some(context)).message, message);
    }
    let cause = config.error(Some("unreadable")).causes.join(" ");
    assert!(cause.contains("missing.pem") && cause.contains("certificate authority"), "{cause}");
    let error = Config::new(&GOOD.replace("current-context: prod", "")).error(None);
    assert_eq!(error.message, "kubeconfig `config` has no current context");
    assert!(error.hint.clone().unwrap().starts_with("name one with `--context`: `prod`, "));
    assert_eq!(Config::new("").error(None).message, "kubeconfig `config` has no contexts");
}

#[test]
fn broken_yaml_is_shown_with_its_place() {
    let error = Config::new("apiVersion: v1\nclusters:\n- name: [\n").error(None);
    assert!(error.message.starts_with("kubeconfig `config:"), "{}", error.message);
    assert!(error.message.ends_with("` is not valid YAML of a kubeconfig"), "{}", error.message);
    assert!(!error.causes[0].contains('\n'), "{error}");
    let error = Config::new("apiVersion: v1\nclusters: 7\n").error(None);
    assert!(error.message.starts_with("kubeconfig `config:2:"), "{}", error.message);
}

#[test]
fn a_missing_file_is_named() {
    let config = Config::new(GOOD);
    let live = LiveOptions { kubeconfig: Some("/nonexistent/kubeconfig".into()), context: None };
    let error = run(Cluster::live(live, Options::new(RunId::generate()))).unwrap_err();
    assert_eq!(error.message, "kubeconfig `/nonexistent/kubeconfig` does not exist");
    assert!(error.hint.as_deref().unwrap().contains("--sandbox"));
    let live = LiveOptions { kubeconfig: Some(config.folder.path().to_owned()), context: None };
    let error = run(Cluster::live(live, Options::new(RunId::generate()))).unwrap_err();
    assert!(error.message.ends_with("cannot be read"), "{error}");
}

/// Reads a node from a server at this address.
fn read_from(server: &str) -> Error {
    let config = Config::new(&GOOD.replace("SERVER", server));
    let cluster = config.open(None).unwrap();
    run(async {
        let target = cluster.target(&ObjectRef::new("node", "n1"), None).await.unwrap();
        cluster.get(&target).await.unwrap_err()
    })
}

#[test]
fn a_server_that_is_not_there_is_said_at_once_with_its_address() {
    for scheme in ["http", "https"] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = format!("{scheme}://{}", listener.local_addr().unwrap());
        drop(listener);
        let error = read_from(&server);
        assert_eq!((error.kind, error.reason), (Kind::Cluster, Reason::Unreachable));
        assert_eq!(error.message, format!("reading `node/n1`: no connection to `{server}`"));
        assert!(error.causes[0].to_lowercase().contains("refused"), "{error}");
        assert_eq!(error.object.as_deref(), Some("node/n1"));
    }
}

#[test]
fn a_server_that_speaks_no_tls_is_a_tls_error() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = format!("https://{}", listener.local_addr().unwrap());
    let thread = std::thread::spawn(move || {
        let (mut connection, _) = listener.accept().unwrap();
        connection.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap();
    });
    let error = read_from(&server);
    thread.join().unwrap();
    assert_eq!(error.reason, Reason::Unreachable);
    assert_eq!(error.message, format!("reading `node/n1`: no trusted connection to `{server}`"));
}

#[test]
fn a_credential_plugin_that_cannot_run_is_named() {
    let exec = "{name: u, user: {exec: {apiVersion: client.authentication.k8s.io/v1, command: no-such-plugin, args: [get, token], interactiveMode: Never}}}";
    let config = Config::new(&GOOD.replace("{name: u, user: {}}", exec).replace("SERVER", "https://127.0.0.1:1"));
    let cluster = config.open(None).unwrap();
    let error = run(async {
        let target = cluster.target(&ObjectRef::new("node", "n1"), None).await.unwrap();
        cluster.get(&target).await.unwrap_err()
    });
    assert_eq!((error.kind, error.reason), (Kind::Refused, Reason::Forbidden));
    assert_eq!(error.message, "signing in to `https://127.0.0.1:1` by `no-such-plugin get token`");
}
