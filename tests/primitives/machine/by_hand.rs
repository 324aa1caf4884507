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

/// What `sha256sum` tells of `/etc/x` with the text `a = 1` and the end of its line.
const SUM: &str = "cb78bd8a17f7b751fe0d4663366dcbc257204033ef7ddd64b1f2969573b5b2e2  /etc/x";
/// The same without that end.
const SUM_WITHOUT_LINE_END: &str = "b5bc1ffd90912fb18bef6e7d80909192c7a6492896320156d67fbaf104c6544a  /etc/x";

/// An operator with answers at hand.
#[derive(Default)]
struct Hands {
    answers: RefCell<VecDeque<&'static str>>,
    asked: RefCell<Vec<String>>,
    notes: RefCell<Vec<String>>,
    wrote: RefCell<Vec<String>>,
    assumed: RefCell<Vec<String>>,
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
    fn assume(&self, text: &str, _: Option<&Error>) {
        self.assumed.borrow_mut().push(text.to_owned());
    }
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
    call_with(answers, verb, positional, Json::Null, access)
}

/// The same with options.
fn call_with(answers: &[&'static str], verb: &str, positional: Json, options: Json, access: Access) -> (Result<Done>, Rc<Hands>) {
    let sim = super::sim();
    let ways = Ways { kind: Way::Manual, inventory: Inventory::default() };
    let setting = Options { machines: Some(ways), ..Options::new(RunId::simulated(sim.now(), 1)) };
    let cluster = Cluster::stand_in(sim, setting);
    cluster.set_access(access);
    let hands = Rc::new(Hands { answers: RefCell::new(answers.iter().copied().collect()), ..Hands::default() });
    let Json::Array(positional) = positional else { panic!("positional arguments are a list") };
    let options = options.as_object().into_iter().flatten().map(|(key, value)| (key.to_string(), arg(value.clone()))).collect();
    let arguments = Arguments { positional: positional.into_iter().map(arg).collect(), options };
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
        ["On `w1`: run `kubeadm version -o 'it'\\''s short'` and type what it says (`exit N` when it fails, `<<` before several lines)"]
    );
    let (done, _) = call(&["exit 3"], "machine.read", json!(["w1", ["false"]]), Access::ReadOnly);
    assert_eq!(done.unwrap_err().details["code"], 3);
}

#[test]
fn several_lines_are_typed_one_by_one() {
    let answers = ["<<", "HOME=/root", "", "PATH=/bin", "."];
    let (done, hands) = call(&answers, "machine.read", json!(["w1", ["env"]]), Access::ReadOnly);
    assert_eq!(done.unwrap().value.into_json()["stdout"], "HOME=/root\n\nPATH=/bin\n");
    let asked = hands.asked.borrow();
    assert_eq!((asked.len(), asked[2].as_str()), (5, "`env` on `w1`, line 2 (`.` after the last)"));
    assert_eq!(asked.iter().collect::<std::collections::BTreeSet<_>>().len(), 5, "no question is asked twice");
    let (done, _) = call(&["<<", "half of it"], "machine.file", json!(["w1", "/etc/x"]), Access::ReadOnly);
    assert_eq!(done.unwrap_err().reason, Reason::Declined, "he went before it was all there");
}

#[test]
fn what_is_to_be_run_is_run_by_the_operator_who_tells_how_it_ended() {
    let (done, hands) = call(&["0"], "machine.run", json!(["w1", ["kubeadm", "upgrade", "node"]]), Access::ReadWrite);
    assert_eq!(done.unwrap().wrote[0].target, "kubeadm upgrade node on w1");
    assert_eq!(*hands.asked.borrow(), ["On `w1`, as root: run `kubeadm upgrade node`; then type its exit code"]);
    assert_eq!(*hands.assumed.borrow(), ["done by hand: kubeadm upgrade node on w1 ended with exit code 0"], "it is his word");
    let (done, hands) = call(&["2"], "machine.run", json!(["w1", ["kubeadm", "upgrade", "node"]]), Access::ReadWrite);
    assert_eq!(done.unwrap_err().reason, Reason::CommandFailed);
    assert_eq!(*hands.wrote.borrow(), ["run kubeadm upgrade node on w1"]);
    let (done, _) = call(&["well"], "machine.run", json!(["w1", ["true"]]), Access::ReadWrite);
    assert_eq!(done.unwrap_err().message, "`well` is no exit code");
    let (done, hands) = call(&["0"], "machine.run", json!(["w1", ["true"]]), Access::ReadOnly);
    assert_eq!((done.unwrap_err().reason, hands.asked.borrow().len()), (Reason::Refused, 0));
    let (done, hands) = call(&[], "machine.run", json!(["w1", ["true"]]), Access::ReadWrite);
    assert_eq!((done.unwrap_err().reason, hands.wrote.borrow().len()), (Reason::Declined, 0), "nobody there: parked, and nothing was done");
    assert!(hands.assumed.borrow().is_empty());
}

#[test]
fn a_file_is_shown_and_written_by_hand() {
    let (done, hands) = call(&["exit 1", "0"], "machine.write", json!(["w1", "/etc/x", "a = 1\n"]), Access::ReadWrite);
    assert!(done.is_err(), "that `cat` failed does not say that there is no file");
    assert_eq!(hands.asked.borrow().len(), 1);
    let (done, hands) = call(&["old", "0", SUM], "machine.write", json!(["w1", "/etc/x", "a = 1\n"]), Access::ReadWrite);
    assert_eq!(done.unwrap().value.into_json(), json!({ "changed": true }));
    assert_eq!(*hands.notes.borrow(), ["`/etc/x` on `w1` is to hold:\na = 1\n"]);
    assert_eq!(
        *hands.asked.borrow(),
        [
            "On `w1`, as root: run `cat -- /etc/x` and type what it says (`exit N` when it fails, `<<` before several lines)",
            "On `w1`, as root: write the text above into `/etc/x`; then type its exit code",
            "On `w1`, as root: run `sha256sum -- /etc/x` and type what it says (`exit N` when it fails, `<<` before several lines)",
        ]
    );
    assert!(hands.assumed.borrow().is_empty(), "it was seen");
    let (done, _) = call(&["a = 1"], "machine.write", json!(["w1", "/etc/x", "a = 1\n"]), Access::ReadWrite);
    assert_eq!(done.unwrap().value.into_json(), json!({ "changed": false }));
}

#[test]
fn a_file_that_is_said_to_be_written_and_holds_something_else_is_an_error() {
    let file = || json!(["w1", "/etc/x", "a = 1\n"]);
    let (done, hands) = call(&["old", "0", SUM_WITHOUT_LINE_END], "machine.write", file(), Access::ReadWrite);
    let error = done.unwrap_err();
    assert_eq!((error.kind, error.reason, error.object.as_deref()), (Kind::Cluster, Reason::CommandFailed, Some("node/w1")));
    assert_eq!(error.message, "writing `/etc/x` on `w1`: it does not hold the text");
    let hint = error.hint.as_deref().unwrap();
    assert!(hint.contains("with the end of its last line") && SUM.starts_with(error.details["wanted"].as_str().unwrap()), "{hint}");
    assert_eq!(*hands.wrote.borrow(), ["write /etc/x on w1"], "something was written there, and the record says so");
    let (done, _) = call(&["old", "0", "exit 1"], "machine.write", file(), Access::ReadWrite);
    assert_eq!(done.unwrap_err().message, "`sha256sum -- /etc/x` on `w1` ended with exit code 1");
    let (done, hands) = call(&["old", "0"], "machine.write", file(), Access::ReadWrite);
    assert_eq!((done.unwrap_err().reason, hands.wrote.borrow().len()), (Reason::Declined, 1), "he went before it was seen");
    let with_mode =
        |told: &'static str| call_with(&["old", "0", SUM, told], "machine.write", file(), json!({ "mode": "0600" }), Access::ReadWrite);
    let (done, hands) = with_mode("600");
    assert!(done.is_ok() && hands.asked.borrow()[1].contains("into `/etc/x`, with mode 0600; then"), "{:?}", hands.asked);
    let error = with_mode("644").0.unwrap_err();
    assert_eq!(error.to_string(), "writing `/etc/x` on `w1`: it does not have the mode 0600");
}

#[test]
fn packages_are_installed_by_hand_and_their_versions_are_asked_for() {
    let packages = || json!(["w1", { "kubectl": "v1.19.16", "kubelet": "1.19.16" }]);
    let before = ["ID=debian", "exit 1", "kubelet installed 1.18.4-00"];
    let done = ["kubectl | 1.19.16-00 | x", "kubelet | 1.19.16-00 | x", "", "0"];
    let both = |after: &[&'static str]| {
        let answers: Vec<&'static str> = before.iter().chain(&done).chain(after).copied().collect();
        call(&answers, "machine.packages", packages(), Access::ReadWrite)
    };
    let (made, hands) = both(&["kubectl installed 1.19.16-00", "kubelet installed 1.19.16-00"]);
    let now = json!({ "kubectl": "1.19.16-00", "kubelet": "1.19.16-00" });
    let made = made.unwrap();
    assert_eq!(made.value.into_json(), json!({ "changed": true, "previous": { "kubelet": "1.18.4-00" }, "packages": now }));
    let asked = hands.asked.borrow();
    let queries: Vec<&String> = asked.iter().filter(|question| question.contains("dpkg-query")).collect();
    assert_eq!((asked.len(), queries.len()), (9, 4), "each package before and after, in one line: {asked:?}");
    assert!(hands.assumed.borrow().is_empty(), "it was seen");

    let (failed, hands) = both(&["kubectl installed 1.19.16-00", "kubelet installed 1.18.4-00"]);
    let error = failed.unwrap_err();
    assert_eq!((error.kind, error.reason, error.object.as_deref()), (Kind::Cluster, Reason::CommandFailed, Some("node/w1")));
    assert_eq!(error.message, "packages on `w1`: the installation ended well, and `kubelet` is not at its version");
    assert!(error.hint.is_some());
    assert_eq!(error.details["packages"], json!({ "kubectl": "1.19.16-00", "kubelet": "1.18.4-00" }));
    assert_eq!(*hands.wrote.borrow(), ["install kubectl=1.19.16-00 kubelet=1.19.16-00 on w1"]);
    let (left, hands) = both(&[]);
    assert_eq!((left.unwrap_err().reason, hands.wrote.borrow().len()), (Reason::Declined, 1), "he went before it was seen");
}

#[test]
fn a_unit_is_worked_on_by_hand_and_looked_at() {
    let service =
        |answers: &[&'static str], action: &str| call(answers, "machine.service", json!(["w1", "kubelet", action]), Access::ReadWrite);
    let (done, hands) = service(&["active", "enabled", "0", "0", "active", "enabled"], "restart");
    assert_eq!(done.unwrap().value.into_json(), json!({ "changed": true, "active": true, "enabled": true }));
    let state = ["is-active", "is-enabled"].map(|word| {
        format!("On `w1`: run `systemctl {word} -- kubelet` and type what it says (`exit N` when it fails, `<<` before several lines)")
    });
    assert_eq!(hands.asked.borrow()[..2], state);
    assert_eq!(hands.asked.borrow()[4..], state);
    let wrong: [(&[&'static str], &str, &str); 5] = [
        (&["active", "enabled", "0", "0", "failed", "enabled"], "restart", "does not run after its restart"),
        (&["exit 3", "enabled", "0", "0", "", "enabled"], "start", "does not run after its start"),
        (&["active", "enabled", "0", "active", "enabled"], "stop", "still runs after its stop"),
        (&["active", "exit 1", "0", "active", "disabled"], "enable", "does not start with the machine after its enable"),
        (&["active", "enabled", "0", "active", "enabled"], "disable", "still starts with the machine after its disable"),
    ];
    for (answers, action, message) in wrong {
        let (done, hands) = service(answers, action);
        let error = done.unwrap_err();
        assert_eq!((error.kind, error.reason), (Kind::Cluster, Reason::CommandFailed), "{action}");
        assert_eq!(error.message, format!("unit `kubelet` on `w1` {message}"));
        assert_eq!(error.hint.as_deref(), Some("its journal is on the machine: `journalctl -xeu kubelet`"));
        assert_eq!((hands.asked.borrow().len(), hands.wrote.borrow().len()), (answers.len(), 1), "{action}: no journal is to be typed");
    }
    for (answers, action) in [
        (["active", "enabled", "0", "exit 3", "enabled"], "stop"),
        (["active", "disabled", "0", "active", "enabled"], "enable"),
        (["active", "enabled", "0", "active", "exit 1"], "disable"),
    ] {
        assert!(service(&answers, action).0.is_ok(), "{action}");
    }
}

#[test]
fn a_reboot_by_hand_counts_when_the_node_tells_another_boot() {
    let (done, hands) = call(&["0"], "machine.reboot", json!(["w1"]), Access::ReadWrite);
    let error = done.unwrap_err();
    assert_eq!((error.kind, error.reason), (Kind::Stuck, Reason::NotReady));
    assert!(error.message.ends_with("its node tells the former boot"), "{error}");
    assert_eq!(*hands.asked.borrow(), ["On `w1`, as root: run `systemctl reboot`; then type its exit code"]);
}
