//! Requests under fault rules, and what somebody else does in between.

use jiff::Timestamp;

use super::{Cluster, Order, actor};
use crate::api::{self, Call, Target};
use crate::engine::Work;
use crate::faults::{Act, Action, Decision, Deed, Disturbance, FaultsDocument, Held, HoldId, Rule, Side, Subject};
use crate::kinds;
use crate::model::Span;
use crate::request::{Body, Conduct, Request, Response};
use crate::status::Status;
use crate::view;

impl Cluster {
    /// Adds a fault rule behind the others; its times count from now.
    pub fn add_fault(&mut self, rule: Rule) {
        self.faults.push(rule, self.engine.now());
    }

    /// Adds everything from a `Faults` document; its times count from now.
    pub fn disturb(&mut self, document: FaultsDocument) {
        let now = self.engine.now();
        document.rules.into_iter().for_each(|rule| self.faults.push(rule, now));
        if let Some(skew) = document.clock {
            self.faults.set_skew(skew.0);
        }
        for happening in document.happenings {
            let at = view::later(now, happening.at.0);
            self.faults.schedule(view::later(at, happening.deed.delay.0), happening.deed);
        }
    }

    /// Takes all fault rules away, and what was still to happen.
    pub fn clear_faults(&mut self) {
        self.faults.clear();
    }

    /// Says in which step the run is, for rules that hold in one step alone; `None` between steps.
    pub fn enter_step(&mut self, step: Option<&str>) {
        self.faults.enter(step);
    }

    /// What somebody else has done since this was asked last, as fault rules and happenings wanted it: when, and in words.
    pub fn take_heard(&mut self) -> Vec<(Timestamp, String)> {
        self.faults.take_heard()
    }

    /// Lets a request go on that a rule holds; false when it does not stand still.
    pub fn release(&mut self, hold: HoldId) -> bool {
        self.faults.release(hold)
    }

    /// Carries out a request that stood still before its commit. No rule looks at it again.
    pub fn handle_held(&mut self, request: &Request) -> Response {
        self.carry_out(request, actor(request), |cluster, call| cluster.answer(call, request, &Order::default()))
    }

    pub(super) fn disturbed(&mut self, call: &Call, request: &Request) -> Response {
        let subject = Subject {
            verb: call.verb.as_str(),
            kind: call.kind,
            namespace: call.namespace.as_deref().unwrap_or_default(),
            name: &call.name,
            subresource: &call.subresource,
            client: &request.user_agent,
        };
        let (decision, fault) = self.faults.check(&subject, self.engine.now(), &self.store);
        let response = self.under(decision, call, request);
        Response { conduct: Conduct { fault, ..response.conduct }, ..response }
    }

    fn under(&mut self, decision: Decision, call: &Call, request: &Request) -> Response {
        let action = match decision {
            Decision::None => return self.answer(call, request, &Order::default()),
            Decision::Stale(former) => {
                let present = std::mem::replace(&mut self.store, *former);
                let response = self.answer(call, request, &Order::default());
                self.store = present;
                return response;
            }
            Decision::Action(action) => action,
        };
        let mut order = Order::default();
        let mut conduct = Conduct::default();
        match action {
            Action::Fail(failure) => return failure.status().into(),
            Action::Conflict => return Status::modified(call.kind, &call.name).into(),
            Action::Refuse => return Response::refused(),
            Action::LostBefore => return Response::lost(),
            Action::LostAfter => return self.lost_after(call, request),
            Action::Delayed(delay) => {
                let deed = Deed { delay: Span::ZERO, act: Act::Late(Box::new(request.clone())) };
                self.faults.schedule(view::later(self.engine.now(), delay.0), deed);
                return Response::lost();
            }
            Action::Down(span) => {
                self.faults.go_down(view::later(self.engine.now(), span.0));
                return Response::refused();
            }
            Action::Answer(document) => {
                let response = self.answer(call, request, &order);
                if let Body::Watch(id) = response.body {
                    self.close_watch(id);
                }
                return if response.status < 300 { Response::json(200, document.into()) } else { response };
            }
            Action::Hold(Side::Before) => {
                let held = self.hold(Side::Before, call);
                return Response { conduct: Conduct { held: Some(held), ..conduct }, ..Response::lost() };
            }
            Action::Before(deed) => self.soon(deed, true),
            Action::After(deed) => self.soon(deed, false),
            Action::Late(late) => conduct.late = late.0,
            Action::Truncate(bytes) => conduct.cut = Some(bytes),
            Action::Stall(bytes) => conduct.stalls = Some(bytes),
            Action::Pad(blanks) => conduct.pad = blanks,
            Action::DropWatch(events) => order.watch = Disturbance { after: Some(events), ..Disturbance::default() },
            Action::ExpireWatch(events) => {
                order.watch = Disturbance { after: Some(events), expires: true, ..Disturbance::default() };
            }
            Action::NoBookmarks => order.watch.no_bookmarks = true,
            Action::Admit(patch) => order.admit = Some(patch),
            Action::Hold(Side::After) => conduct.held = Some(self.hold(Side::After, call)),
            // Decided above.
            Action::Stale => {}
        }
        Response { conduct, ..self.answer(call, request, &order) }
    }

    /// Whether nobody can be reached for this; rules about requests for resources count what they refuse, elsewhere.
    pub(super) fn is_unreachable(&self, request: &Request, target: &Target) -> bool {
        let (now, resource) = (self.engine.now(), matches!(target, Target::Resource(_)));
        self.faults.is_down(now) || self.engine.machines.no_api(now) || (!resource && self.faults.refuses_all(&request.user_agent, now))
    }

    fn lost_after(&mut self, call: &Call, request: &Request) -> Response {
        let response = self.answer(call, request, &Order::default());
        if let Body::Watch(id) = response.body {
            self.close_watch(id);
        }
        Response::lost()
    }

    fn hold(&mut self, side: Side, call: &Call) -> Held {
        let request = format!("{} {}", call.verb.as_str(), call.subject());
        let id = self.faults.hold(side, request.clone());
        Held { id, side, request }
    }

    /// Somebody else acts: at once when it is before the request, else after it or after the delay.
    fn soon(&mut self, deed: Deed, before: bool) {
        if before && deed.delay.0.is_zero() {
            self.act(&deed);
        } else {
            let at = view::later(self.engine.now(), deed.delay.0);
            self.faults.schedule(at, deed);
        }
    }

    /// What is due by now happens.
    pub(super) fn happen(&mut self, now: Timestamp) {
        while let Some(deed) = self.faults.take_due(now) {
            self.act(&deed);
        }
    }

    fn act(&mut self, deed: &Deed) {
        self.faults.hear(self.engine.now(), deed);
        let write = match &deed.act {
            Act::Clock(skew) => return self.faults.set_skew(skew.0),
            Act::Model(entries) => {
                self.engine.models.extend((**entries).clone().into());
                // A kubelet that is silent from now on is noticed by nobody but who counts the time.
                let nodes: Vec<_> = self.store.list(kinds::NODE, None).map(|(key, _)| Work::Node(key.clone())).collect();
                nodes.into_iter().for_each(|node| self.engine.enqueue(node));
                self.engine.run(&mut self.store, "model");
                return;
            }
            Act::Late(request) => {
                // The client's own doing: whether it still fits is for the API to say, and for nobody to hear.
                self.carry_out(request, actor(request), |cluster, call| cluster.answer(call, request, &Order::default()));
                return;
            }
            Act::Write(write) => write,
        };
        let request = write.request();
        let response = self.carry_out(&request, &write.by, |cluster, call| cluster.answer(call, &request, &Order::default()));
        if response.status >= 300 {
            let why = response.value().map(|status| view::text(status, &["message"]).to_owned()).unwrap_or_default();
            self.faults.misfire(format!("{} {} of `{}`: {why}", request.method.as_str(), request.path, write.by));
        }
    }

    /// Answers a request for a resource without a look at the rules, and lets the controllers run.
    fn carry_out(&mut self, request: &Request, actor: &str, answer: impl FnOnce(&mut Cluster, &Call) -> Response) -> Response {
        let (response, subject) = match api::path::target(request, self.store.customs()) {
            Ok(Target::Resource(call)) => {
                let subject = format!("{} {}", call.verb.as_str(), call.subject());
                (answer(self, &call), subject)
            }
            Ok(_) => (Status::method_not_allowed().into(), request.path.clone()),
            Err(status) => (status.into(), request.path.clone()),
        };
        self.engine.note(&format!("REQUEST {subject} {} rv={} {actor}", response.status, self.store.rv()));
        self.engine.run(&mut self.store, actor);
        response
    }
}
