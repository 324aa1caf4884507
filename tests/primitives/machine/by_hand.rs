//! `--machines manual`: the operator does what is asked, and what can be observed is.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use futures::future::LocalBoxFuture;
use lockgate::base::{Error, Kind, Reason, Result};
use lockgate::cluster::machines::{Inventory, Way, Ways};
use lockgate::cluster::{Access, Cluster, Options, RunId};
use lockgate::primitives::{Arguments, AskOptions, Cx, Done, Progress, Talk, Wrote, find};
use lockgate_sim::json::{Value as Json, json};

use crate::primitives::support::arg;

/// An operator with answers at hand.
#[derive(Default)]
struct Hands {
    answers: RefCell<VecDeque<&'static str>>,
    asked: RefCell<Vec<String>>,
    notes: RefCell<Vec<String>>,
    wrote: RefCell<Vec<String>>,
}

impl Talk for Hands {
    fn confirm<'a>(&'a self, _: &'a str) -> LocalBoxFuture<'a, Result<()>> {
        Box::pin(std::future::ready(Ok(())))
    }
    fn ask<'a>(&'a self, question: &'a str, _: &'a AskOptions) -> LocalBoxFuture<'a, Result<String>> {
        self.asked.borrow_mut().push(question.to_owned());
        let answer = self.answers.borrow_mut().pop_front();
        let nobody = || Error::new(Kind::Cancelled, Reason::Declined, "nobody answers");
        Box::pin(std::future::ready(answer.map(str::to_owned).ok_or_else(nobody)))
    }
    fn manual<'a>(&'a self, _: &'a str) -> LocalBoxFuture<'a, Result<()>> {
        Box::pin(std::future::ready(Ok(())))
    }
    fn assume(&self, _: &str, _: Option<&Error>) {}
    fn note(&self, text: &str) {
        self.notes.borrow_mut().push(text.to_owned());
    }
    fn progress(&self, _: Progress) {}
    fn wrote(&self, wrote: &Wrote) {
        self.wrote.borrow_mut().push(format!("{} {}", wrote.verb, wrote.target));
    }
}

/// A call on a cluster whose machines are worked on by hand.
fn call(answers: &[&'static str], verb: &str, positional: Json, access: Access) -> (Result<Done>, Rc<Hands>) {
    let sim = super::sim();
    let ways = Ways { kind: Way::Manual, inventory: Inventory::default() };
    let options = Options { machines: Some(ways), ..Options::new(RunId::simulated(sim.now(), 1)) };
    let cluster = Cluster::stand_in(sim, options);
    cluster.set_access(access);
    let hands = Rc::new(Hands { answers: RefCell::new(answers.iter().copied().collect()), ..Hands::default() });
    let Json::Array(positional) = positional else { panic!("positional arguments are a list") };
    let arguments = Arguments { positional: positional.into_iter().map(arg).collect(), ..Arguments::default() };
    let cx = Cx { cluster, talk: hands.clone() };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    (runtime.block_on(find(verb).unwrap().call.unwrap()(cx, arguments)), hands)
}

#[test]
fn what_is_to_be_read_is_asked_for() {
    let (done, hands) = call(&["v1.18.4"], "machine.read", json!(["w1", ["kubeadm", "version", "-o", "it's short"]]), Access::ReadOnly);
    assert_eq!(done.unwrap().value.into_json()["stdout"], "v1.18.4\n");
    assert_eq!(
        *hands.asked.borrow(),
        ["On `w1`: run `kubeadm version -o 'it'\\''s short'` and type what it says in one line (`exit N` when it fails)"]
    );
    let (done, _) = call(&["exit 3"], "machine.read", json!(["w1", ["false"]]), Access::ReadOnly);
    assert_eq!(done.unwrap_err().details["code"], 3);
}

#[test]
fn what_is_to_be_run_is_run_by_the_operator_who_tells_how_it_ended() {
    let (done, hands) = call(&["0"], "machine.run", json!(["w1", ["kubeadm", "upgrade", "node"]]), Access::ReadWrite);
    assert_eq!(done.unwrap().wrote[0].target, "kubeadm upgrade node on w1");
    assert_eq!(*hands.asked.borrow(), ["On `w1`, as root: run `kubeadm upgrade node`; then type its exit code"]);
    let (done, hands) = call(&["2"], "machine.run", json!(["w1", ["kubeadm", "upgrade", "node"]]), Access::ReadWrite);
    assert_eq!(done.unwrap_err().reason, Reason::CommandFailed);
    assert_eq!(*hands.wrote.borrow(), ["run kubeadm upgrade node on w1"]);
    let (done, _) = call(&["well"], "machine.run", json!(["w1", ["true"]]), Access::ReadWrite);
    assert_eq!(done.unwrap_err().message, "`well` is no exit code");
    let (done, hands) = call(&["0"], "machine.run", json!(["w1", ["true"]]), Access::ReadOnly);
    assert_eq!((done.unwrap_err().reason, hands.asked.borrow().len()), (Reason::Refused, 0));
    let (done, hands) = call(&[], "machine.run", json!(["w1", ["true"]]), Access::ReadWrite);
    assert_eq!((done.unwrap_err().reason, hands.wrote.borrow().len()), (Reason::Declined, 0), "nobody there: parked, and nothing was done");
}

#[test]
fn a_file_is_shown_and_written_by_hand() {
    let (done, hands) = call(&["exit 1", "0"], "machine.write", json!(["w1", "/etc/x", "a = 1\n"]), Access::ReadWrite);
    assert!(done.is_err(), "that `cat` failed does not say that there is no file");
    assert_eq!(hands.asked.borrow().len(), 1);
    let (done, hands) = call(&["old", "0"], "machine.write", json!(["w1", "/etc/x", "a = 1\n"]), Access::ReadWrite);
    assert_eq!(done.unwrap().value.into_json(), json!({ "changed": true }));
    assert_eq!(*hands.notes.borrow(), ["`/etc/x` on `w1` is to hold:\na = 1\n"]);
    let (done, _) = call(&["a = 1"], "machine.write", json!(["w1", "/etc/x", "a = 1\n"]), Access::ReadWrite);
    assert_eq!(done.unwrap().value.into_json(), json!({ "changed": false }));
}

#[test]
fn a_reboot_by_hand_counts_when_the_node_tells_another_boot() {
    let (done, hands) = call(&["0"], "machine.reboot", json!(["w1"]), Access::ReadWrite);
    let error = done.unwrap_err();
    assert_eq!((error.kind, error.reason), (Kind::Stuck, Reason::NotReady));
    assert!(error.message.ends_with("its node tells the former boot"), "{error}");
    assert_eq!(*hands.asked.borrow(), ["On `w1`, as root: run `systemctl reboot`; then type its exit code"]);
}
