//! Live clusters that are wrong in some way: kubeconfigs, addresses, certificates, rights.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::thread;

use super::support::{HEAD, Host, MOVE};

const IMAGE: &str = "image=registry.example/web:v1.2.4";

/// A kubeconfig with one context `prod` for this server.
fn kubeconfig(server: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: prod\n\
         clusters: [{{ name: c, cluster: {{ server: \"{server}\" }} }}]\n\
         users: [{{ name: u, user: {{ token: t }} }}]\n\
         contexts: [{{ name: prod, context: {{ cluster: c, user: u }} }}]\n"
    )
}

fn host() -> Host {
    Host::with_runbook(MOVE)
}

#[test]
fn no_target_says_how_to_try_without_one() {
    host().run(&["plan", "r", IMAGE]).exits(2).tells("--sandbox");
}

#[test]
fn kubeconfigs() {
    let host = host().file("good.yaml", &kubeconfig("https://127.0.0.1:1")).file("broken.yaml", "apiVersion: v1\nclusters: [unclosed\n");
    for (words, expected) in [
        (&["--kubeconfig", "nothing.yaml"][..], "nothing.yaml"),
        (&["--kubeconfig", "broken.yaml"], "broken.yaml"),
        (&["--kubeconfig", "good.yaml", "--context", "prd"], "did you mean `prod`?"),
    ] {
        let words: Vec<&str> = ["plan", "r", IMAGE].iter().chain(words).copied().collect();
        let said = host.run(&words).exits(2).tells(expected);
        assert!(said.stdout.is_empty(), "{}", said.transcript());
    }
    host.env("KUBECONFIG", "nothing.yaml").run(&["plan", "r", IMAGE]).exits(2).tells("KUBECONFIG");
}

/// A loopback server that gives every connection to this function.
fn serve(answer: impl Fn(std::net::TcpStream) + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    thread::spawn(move || {
        for stream in listener.incoming() {
            answer(stream.unwrap());
        }
    });
    address
}

#[test]
fn a_server_that_says_no_is_a_refusal() {
    let address = serve(|stream| {
        let mut reader = BufReader::new(stream);
        let mut line = String::new();
        while reader.read_line(&mut line).is_ok_and(|length| length > 2) {
            line.clear();
        }
        let status = "{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"status\":\"Failure\",\"reason\":\"Forbidden\",\"code\":403,\
                      \"message\":\"deployments.apps \\\"web\\\" is forbidden: User \\\"nobody\\\" cannot get resource\"}";
        let answer = format!(
            "HTTP/1.1 403 Forbidden\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{status}",
            status.len()
        );
        reader.into_inner().write_all(answer.as_bytes()).ok();
    });
    let host = host().file("k.yaml", &kubeconfig(&format!("http://{address}")));
    for words in [&["plan", "r", IMAGE, "--kubeconfig", "k.yaml"][..], &["run", "r", IMAGE, "--kubeconfig", "k.yaml", "--yes"]] {
        host.run(words).exits(5).tells("User \"nobody\" cannot");
    }
}

#[test]
fn a_server_in_trouble_is_told_while_it_is_waited_for() {
    let answered = std::sync::atomic::AtomicUsize::new(0);
    let address = serve(move |stream| {
        let mut reader = BufReader::new(stream);
        let mut line = String::new();
        while reader.read_line(&mut line).is_ok_and(|length| length > 2) {
            line.clear();
        }
        // In trouble once, then without rights: a plan that comes to an end soon.
        let (head, code) = match answered.fetch_add(1, std::sync::atomic::Ordering::SeqCst) {
            0 => ("503 Service Unavailable", 503),
            _ => ("403 Forbidden", 403),
        };
        let status = format!("{{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"status\":\"Failure\",\"code\":{code}}}");
        let length = status.len();
        let answer =
            format!("HTTP/1.1 {head}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{status}");
        reader.into_inner().write_all(answer.as_bytes()).ok();
    });
    let host = host().file("k.yaml", &kubeconfig(&format!("http://{address}")));
    let said = host.run(&["plan", "r", IMAGE, "--kubeconfig", "k.yaml"]).exits(5);
    said.tells("waiting  an answer to").tells("the server answered 503; trying again in 100ms");
}

#[test]
fn a_server_that_speaks_no_tls_is_told_by_its_address() {
    let address = serve(|mut stream| {
        let mut greeting = [0; 64];
        // What it says does not matter.
        let _length = stream.read(&mut greeting);
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").ok();
    });
    let host = host().file("k.yaml", &kubeconfig(&format!("https://{address}")));
    host.run(&["plan", "r", IMAGE, "--kubeconfig", "k.yaml"]).exits(1).tells(&address).tells("answers without TLS");
}

#[test]
fn no_terminal_and_no_yes_is_no_consent() {
    // The server is never asked: nobody can consent to a run without a plan.
    let host = host().file("k.yaml", &kubeconfig("https://127.0.0.1:1"));
    host.run(&["run", "r", IMAGE, "--kubeconfig", "k.yaml", "--no-plan"]).exits(2).tells("--yes");
}

/// Where nobody answers, or nobody knows the user, one question is enough: the other checks would only say so again.
#[test]
fn a_plan_asks_once_who_does_not_answer() {
    let check = |id: &str| format!("check \"{id}\" {{ title = \"{id}\", run = function() get(\"deployment/{id}\") end }}\n");
    let text = format!("{HEAD}{}{}{}step \"s\" {{ title = \"S\", run = function() end }}\n", check("one"), check("two"), check("three"));
    let unknown = serve(|stream| {
        let mut reader = BufReader::new(stream);
        let mut line = String::new();
        while reader.read_line(&mut line).is_ok_and(|length| length > 2) {
            line.clear();
        }
        let status = "{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"status\":\"Failure\",\"reason\":\"Unauthorized\",\"code\":401}";
        let length = status.len();
        let head = "HTTP/1.1 401 Unauthorized\r\nContent-Type: application/json";
        let answer = format!("{head}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{status}");
        reader.into_inner().write_all(answer.as_bytes()).ok();
    });
    for (server, told, code) in
        [("https://127.0.0.1:1".to_owned(), "no connection to", 1), (format!("http://{unknown}"), "does not know this user", 5)]
    {
        let host = Host::with_runbook(&text).file("k.yaml", &kubeconfig(&server));
        let said = host.run(&["plan", "r", "--kubeconfig", "k.yaml"]).exits(code).tells(told).shows("check 1/3");
        assert!(!said.stdout.contains("check 2/3"), "{}", said.transcript());
    }
}
