//! Watches against a scripted server: what it answers in which order, and what is asked of it.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::{Arc, Mutex};

use crate::base::json::{Value as Json, json};
use bytes::Bytes;
use futures::stream::{self, StreamExt};
use http::{Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use kube::client::Body;
use lockgate_sim::{Cluster as Sim, Options as SimOptions};
use tower::{BoxError, service_fn};

use super::client::Shared;
use super::layers::{Gate, Recorder};
use super::place::Place;
use super::sim::Simulation;
use super::testing::quiet;
use super::wire::{Limits, Wire};
use super::{Access, Cancel, Cluster, Follow, Following, Label, RunId, Select, Woke, discovery};
use crate::base::clock::later;
use crate::base::{Reason, Span, Timestamp};

type Answer = Response<UnsyncBoxBody<Bytes, BoxError>>;

/// What the server does with one request.
enum Turn {
    /// A list of ConfigMaps of these names at this resource version.
    List(&'static str, &'static [&'static str]),
    /// An error.
    Fail(u16),
    /// A watch with these lines, which then ends or stays open.
    Watch(Vec<Json>, End),
}

#[derive(PartialEq)]
enum End {
    Closes,
    StaysOpen,
    InTheMiddleOfALine,
}

struct Server {
    cluster: Cluster,
    asked: Arc<Mutex<Vec<String>>>,
}

fn map(name: &str, version: &str) -> Json {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "d", "resourceVersion": version}})
}

fn event(kind: &str, object: Json) -> Json {
    json!({"type": kind, "object": object})
}

fn answer(turn: Turn) -> Answer {
    let whole = |code: u16, body: Json| {
        let body = Full::from(body.to_string()).map_err(BoxError::from).boxed_unsync();
        Response::builder().status(code).body(body).unwrap()
    };
    match turn {
        Turn::List(version, names) => {
            let items: Vec<Json> = names.iter().map(|name| map(name, version)).collect();
            whole(200, json!({"metadata": {"resourceVersion": version}, "items": items}))
        }
        Turn::Fail(code) => whole(code, json!({"kind": "Status", "code": code, "message": "m"})),
        Turn::Watch(lines, end) => {
            let mut text: Vec<String> = lines.iter().map(|line| format!("{line}\n")).collect();
            if end == End::InTheMiddleOfALine {
                text.push("{\"type\":\"ADD".to_owned());
            }
            // Frames that do not keep to lines.
            let bytes: Vec<Bytes> = text.concat().into_bytes().chunks(7).map(Bytes::copy_from_slice).collect();
            let frames = stream::iter(bytes).map(|chunk| Ok::<_, BoxError>(Frame::data(chunk)));
            let body = if end == End::StaysOpen {
                StreamBody::new(frames.chain(stream::pending())).boxed_unsync()
            } else {
                StreamBody::new(frames).boxed_unsync()
            };
            Response::new(body)
        }
    }
}

fn server(turns: Vec<Turn>) -> Server {
    let clock = quiet(Timestamp::UNIX_EPOCH);
    let asked = Arc::new(Mutex::new(Vec::new()));
    let turns = Arc::new(Mutex::new(VecDeque::from(turns)));
    let (log, at) = (asked.clone(), clock.clone());
    let connect = Box::new(move |_: bool| {
        let (log, turns, at) = (log.clone(), turns.clone(), at.clone());
        Ok(kube::Client::new(
            service_fn(move |request: Request<Body>| {
                let query = request.uri().query().unwrap_or_default().to_owned();
                let version = query.split('&').find_map(|pair| pair.strip_prefix("resourceVersion=")).unwrap_or_default();
                let verb = if query.contains("watch=true") { format!("watch {version}") } else { "list".to_owned() };
                log.lock().unwrap().push(format!("{}s {verb}", at.now().as_second()));
                let turn = turns.lock().unwrap().pop_front();
                let answer = turn.map(answer).ok_or_else(|| BoxError::from("the script is over"));
                std::future::ready(answer)
            }),
            "default",
        ))
    });
    let shared = Shared {
        place: Place::Simulated(Simulation::new(Sim::new(SimOptions::default()))),
        wire: Wire::new(connect, "https://double".to_owned(), clock, Cancel::new(), Limits::default()),
        gate: Gate::new(Access::ReadWrite),
        recorder: Recorder::default(),
        label: Label { name: "double".to_owned(), simulated: false, plan: false },
        run: Cell::new(RunId::generate()),
        takes_back: RefCell::default(),
        writes: Rc::default(),
        drawn: Rc::default(),
        known: RefCell::new(discovery::built_in()),
        scratch: crate::cluster::endpoint::Scratch::default(),
        helm: None,
        ways: None,
        home: None,
        local: Cell::default(),
        budget: Cell::default(),
        looks_back: Rc::default(),
        on_machines: Rc::default(),
        reads: Rc::default(),
        discovered: Cell::new(false),
        silent: RefCell::default(),
        keeper: RefCell::default(),
        seen: RefCell::default(),
        stragglers: RefCell::default(),
        grantor: RefCell::default(),
    };
    Server { cluster: Cluster { shared: Rc::new(shared), namespace: "d".into() }, asked }
}

impl Server {
    async fn follow(&self) -> Following {
        let resource = self.cluster.resolve("cm", None).await.unwrap();
        let scope = Follow { resource, namespace: Some("d".to_owned()), select: Select::default() };
        self.cluster.follow(vec![scope]).await.unwrap()
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }

    fn in_seconds(&self, seconds: u64) -> Option<Timestamp> {
        Some(later(self.cluster.clock().now(), Span::from_secs(seconds).as_duration()))
    }
}

fn names(following: &Following) -> Vec<&str> {
    following.items(0).filter_map(|item| item["metadata"]["name"].as_str()).collect()
}

fn run<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

#[test]
fn one_list_then_one_watch() {
    run(async {
        let events = vec![
            event("ADDED", map("b", "11")),
            event("MODIFIED", map("a", "12")),
            event("DELETED", map("a", "13")),
            event("BOOKMARK", json!({"kind": "ConfigMap", "metadata": {"resourceVersion": "20"}})),
        ];
        let server = server(vec![Turn::List("10", &["a"]), Turn::Watch(events, End::StaysOpen)]);
        let mut following = server.follow().await;
        assert_eq!(names(&following), ["a"]);
        assert_eq!(server.asked(), ["0s list"], "no watch before somebody waits");
        assert_eq!(following.changed(server.in_seconds(60)).await.unwrap(), Woke::Changed);
        assert_eq!(names(&following), ["b"]);
        assert_eq!(following.changed(server.in_seconds(60)).await.unwrap(), Woke::Deadline);
        assert_eq!(server.cluster.clock().now().as_second(), 60);
        assert_eq!(server.asked(), ["0s list", "0s watch 10"]);
        assert!(following.items(1).next().is_none());
    });
}

#[test]
fn a_cut_watch_goes_on_from_where_it_was() {
    for cut in [End::Closes, End::InTheMiddleOfALine] {
        run(async {
            let server = server(vec![
                Turn::List("10", &["a"]),
                Turn::Watch(vec![event("ADDED", map("b", "11"))], cut),
                Turn::Watch(vec![event("ADDED", map("c", "12"))], End::StaysOpen),
            ]);
            let mut following = server.follow().await;
            while names(&following) != ["a", "b", "c"] {
                assert_eq!(following.changed(server.in_seconds(60)).await.unwrap(), Woke::Changed);
            }
            assert_eq!(server.asked(), ["0s list", "0s watch 10", "0s watch 11"]);
        });
    }
}

#[test]
fn a_bookmark_moves_the_place_to_go_on_from() {
    run(async {
        let bookmark = event("BOOKMARK", json!({"metadata": {"resourceVersion": "40"}}));
        let server = server(vec![Turn::List("10", &[]), Turn::Watch(vec![bookmark], End::Closes), Turn::Watch(vec![], End::StaysOpen)]);
        let mut following = server.follow().await;
        assert_eq!(following.changed(server.in_seconds(5)).await.unwrap(), Woke::Deadline);
        assert_eq!(server.asked(), ["0s list", "0s watch 10", "0s watch 40"]);
    });
}

#[test]
fn a_version_that_is_too_old_means_a_new_list() {
    let gone = || event("ERROR", json!({"kind": "Status", "code": 410, "reason": "Expired"}));
    for turn in [Turn::Watch(vec![gone()], End::Closes), Turn::Fail(410)] {
        run(async {
            let server =
                server(vec![Turn::List("10", &["a", "b"]), turn, Turn::List("50", &["b", "c"]), Turn::Watch(vec![], End::StaysOpen)]);
            let mut following = server.follow().await;
            assert_eq!(following.changed(server.in_seconds(60)).await.unwrap(), Woke::Changed);
            assert_eq!(names(&following), ["b", "c"], "what went missing meanwhile is gone");
            assert_eq!(following.changed(server.in_seconds(60)).await.unwrap(), Woke::Deadline);
            assert_eq!(server.asked(), ["0s list", "0s watch 10", "0s list", "0s watch 50"]);
        });
    }
}

#[test]
fn a_server_that_is_away_is_waited_for_until_the_callers_deadline() {
    run(async {
        let mut turns = vec![Turn::List("10", &["a"]), Turn::Watch(vec![], End::Closes)];
        turns.extend((0..100).map(|_| Turn::Fail(503)));
        let server = server(turns);
        let mut following = server.follow().await;
        assert_eq!(following.changed(server.in_seconds(300)).await.unwrap(), Woke::Deadline);
        assert_eq!(server.cluster.clock().now().as_second(), 300);
        assert_eq!(following.trouble().unwrap().reason, Reason::Unreachable);
        assert_eq!(names(&following), ["a"], "what was known is kept");
    });
    run(async {
        let mut turns = vec![Turn::List("10", &["a"])];
        turns.extend((0..20).map(|_| Turn::Fail(500)));
        turns.push(Turn::Watch(vec![event("DELETED", map("a", "11"))], End::StaysOpen));
        let server = server(turns);
        let mut following = server.follow().await;
        assert_eq!(following.changed(server.in_seconds(600)).await.unwrap(), Woke::Changed);
        assert!(names(&following).is_empty() && following.trouble().is_none());
    });
}

#[test]
fn a_watch_that_ends_at_once_again_and_again_is_not_a_busy_loop() {
    run(async {
        let mut turns = vec![Turn::List("10", &[])];
        turns.extend((0..200).map(|_| Turn::Watch(vec![], End::Closes)));
        let server = server(turns);
        let mut following = server.follow().await;
        assert_eq!(following.changed(server.in_seconds(120)).await.unwrap(), Woke::Deadline);
        let asked = server.asked().len();
        assert!((8..18).contains(&asked), "{:?}", server.asked());
    });
}

#[test]
fn what_will_never_work_is_an_error() {
    for (turn, reason) in [
        (Turn::Fail(403), Reason::Forbidden),
        (Turn::Watch(vec![event("ERROR", json!({"kind": "Status", "code": 403}))], End::Closes), Reason::Forbidden),
    ] {
        run(async {
            let server = server(vec![Turn::List("10", &[]), turn]);
            let mut following = server.follow().await;
            assert_eq!(following.changed(server.in_seconds(60)).await.unwrap_err().reason, reason);
        });
    }
}

#[test]
fn a_stop_ends_the_wait_and_nothing_else_is_asked() {
    run(async {
        let server = server(vec![Turn::List("10", &[]), Turn::Watch(vec![], End::StaysOpen)]);
        let mut following = server.follow().await;
        let held = server.cluster.clock().join();
        let stop = async {
            for _ in 0..5 {
                tokio::task::yield_now().await;
            }
            server.cluster.cancel().press();
        };
        let (woke, ()) = futures::join!(following.changed(server.in_seconds(60)), stop);
        assert!(woke.unwrap_err().is_stop());
        assert!(following.changed(None).await.unwrap_err().is_stop());
        assert_eq!(server.asked().len(), 2);
        drop(held);
    });
}

#[test]
fn waiting_without_end_for_what_cannot_happen_is_said() {
    run(async {
        let server = server(vec![Turn::List("10", &[]), Turn::Watch(vec![], End::StaysOpen)]);
        let mut following = server.follow().await;
        assert_eq!(following.changed(None).await.unwrap_err().reason, Reason::Stalled);
    });
}
