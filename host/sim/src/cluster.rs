//! A cluster: the API server in front of a store, and the engine that carries on what was written.

mod define;
mod faulty;
mod loading;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::json::{Value, json};
use jiff::{Timestamp, ToSpan};

use crate::api::log::{LogFollow, LogPoll};
use crate::api::table::Form;
use crate::api::{self, Call, Cx, Target, Verb};
use crate::engine::{Engine, Scope};
use crate::faults::{Asked, Disturbance, Faults};
use crate::kinds::{self, Kind};
use crate::ledger::Effect;
use crate::machines::{self, Progress, Refusal};
use crate::model::Models;
use crate::request::{Body, Conduct, Request, Response, WatchId};
use crate::status::Status;
use crate::store::{Key, Store};
use crate::watch::{WatchPoll, Watches};
use crate::{access, crd, defaults, openapi, upkeep, validate, view};

/// How a cluster begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Seed of everything random: uids, name suffixes, addresses, tie-breaks.
    pub seed: u64,
    /// The first instant of virtual time; 2001-02-03T04:05:06Z by default.
    pub start: Timestamp,
    /// Whether this is an overlay: only what was loaded is known.
    pub partial: bool,
    /// What `/version` reports.
    pub version: String,
    /// The version that the server behaves like (`--emulated-version`), such as `1.35`; its own when absent. What is known of the
    /// differences: before v1.35 nobody counts `terminatingReplicas`.
    pub emulated: Option<String>,
    /// Whether pods get a ServiceAccount and its token, as the admission plugin of that name does; no by default. Namespaces need
    /// their accounts then: see [`Cluster::furnish`].
    pub service_accounts: bool,
}

impl Default for Options {
    fn default() -> Self {
        // 2001-02-03T04:05:06Z.
        let start = Timestamp::UNIX_EPOCH + 981_173_106.seconds();
        Self { seed: 0, start, partial: false, version: "v1.36.4".to_owned(), emulated: None, service_accounts: false }
    }
}

/// What a fault rule asks of one answer.
#[derive(Debug, Default)]
struct Order {
    watch: Disturbance,
    admit: Option<Value>,
}

/// A simulated cluster.
#[derive(Debug)]
pub struct Cluster {
    store: Store,
    engine: Engine,
    faults: Faults,
    watches: Watches,
    refused: BTreeMap<Scope, Status>,
    /// How what was not loaded is told once nothing more can be.
    closed: Option<String>,
    version: String,
    emulated: Option<String>,
    furnished: bool,
    ledger: Vec<Effect>,
}

/// What can be stopped with [`Cluster::stop_controller`], by the names under which it writes.
pub const CONTROLLERS: [&str; 13] = [
    "daemonset-controller",
    "deployment-controller",
    "disruption-controller",
    "endpoints-controller",
    "job-controller",
    "kubelet",
    "node-controller",
    "pod-garbage-collector",
    "replicaset-controller",
    "scheduler",
    "statefulset-controller",
    "taint-eviction-controller",
    "ttl-after-finished-controller",
];

impl Cluster {
    /// An empty cluster: not even a namespace. [`Fixture`](crate::fixture::Fixture) makes one with content.
    #[must_use]
    pub fn new(options: Options) -> Self {
        let mut store = Store::new(options.seed);
        store.set_accounts(options.service_accounts);
        store.behave_like(options.emulated.as_deref().unwrap_or(&options.version));
        Self {
            store,
            engine: Engine::new(options.seed, options.start, options.partial),
            faults: Faults::default(),
            watches: Watches::default(),
            refused: BTreeMap::new(),
            closed: None,
            version: options.version,
            emulated: options.emulated,
            furnished: false,
            ledger: Vec::new(),
        }
    }

    /// An independent copy at the same instant. Objects are shared until one side writes; watches are not carried over.
    #[must_use]
    pub fn fork(&self) -> Self {
        let mut store = self.store.clone();
        store.pin(u64::MAX);
        Self {
            store,
            engine: self.engine.clone(),
            faults: self.faults.clone(),
            watches: Watches::default(),
            refused: self.refused.clone(),
            closed: self.closed.clone(),
            version: self.version.clone(),
            emulated: self.emulated.clone(),
            furnished: self.furnished,
            ledger: Vec::new(),
        }
    }

    /// Adds what a real server and its controllers make by themselves and a fixture leaves out: the first namespaces, the two classes of
    /// priority, the ClusterRoles that people are bound to with their bindings, and in each namespace, from now on too, the
    /// ServiceAccount `default` and the ConfigMap `kube-root-ca.crt` (without a certificate). What exists is left as it is. Not for an
    /// overlay.
    pub fn furnish(&mut self) {
        let now = self.engine.now();
        let first = ["default", "kube-node-lease", "kube-public", "kube-system"];
        let namespaces = first.map(|name| json!({"kind": "Namespace", "metadata": {"name": name}}));
        for object in namespaces.iter().chain(access::bootstrap::objects()) {
            let kind = kinds::ALL.iter().copied().find(|kind| view::text(object, &["kind"]) == kind.kind);
            if let Some(kind) = kind.filter(|kind| self.store.get(&Key::of(kind, object)).is_none())
                && let Err(status) = self.store.create(kind, object.clone(), now)
            {
                self.engine.note(&format!("FAILURE furnish: {}", status.message()));
            }
        }
        self.engine.run(&mut self.store, "apiserver");
        self.furnished = true;
        self.keep_up(kinds::NAMESPACE);
        self.keep_up(kinds::CLUSTER_ROLE);
    }

    /// Lets the controllers work that need nothing but the store.
    fn keep_up(&mut self, written: &Kind) {
        let known = self.engine.is_loaded(&Scope::all(kinds::CLUSTER_ROLE, None));
        while let Some(step) = upkeep::next(&self.store, written, self.furnished).filter(|_| known) {
            let actor = step.actor;
            if let Err(status) = step.write(&mut self.store, self.engine.now()) {
                self.engine.note(&format!("FAILURE {actor}: {}", status.message()));
                return;
            }
            self.engine.run(&mut self.store, actor);
        }
    }

    /// Answers a request at the current instant. After a write the controllers run until nothing is left to do at this
    /// instant, or until [`Self::needs`] names what must be loaded first.
    pub fn handle(&mut self, request: &Request) -> Response {
        let target = access::authorize(&self.store, request).and_then(|()| api::path::target(request, self.store.customs()));
        let response = match &target {
            Ok(target) if self.is_unreachable(request, target) => Response::refused(),
            Err(status) if status.code() == 404 && api::path::is_nowhere(request, self.store.customs()) => {
                Response::text(404, "404 page not found\n")
            }
            Err(status) => Response::from(status.clone()),
            Ok(Target::Health) => Response::text(200, "ok"),
            Ok(Target::Version) => Response::json(200, api::discovery::version(self.git_version(), self.emulated.as_deref()).into()),
            Ok(Target::Discovery(path)) => api::discovery::answer(path, request, &self.store.customs().kinds()),
            Ok(Target::OpenApi(path)) => openapi::answer(path, request, &self.version, &self.store.customs().kinds()),
            Ok(Target::OpenApi2) => openapi::second(request, &self.version),
            Ok(Target::Resource(call)) => self.resource(call, request),
        };
        let subject = match &target {
            Ok(Target::Resource(call)) => format!("{} {}", call.verb.as_str(), call.subject()),
            _ => format!("{} {}", request.method.as_str(), request.path),
        };
        self.engine.note(&format!("REQUEST {subject} {} rv={} {}", response.status, self.store.rv(), actor(request)));
        if let Ok(Target::Resource(call)) = &target
            && (call.verb.writes() || matches!(&response.body, Body::Exec(_)))
        {
            self.engine.run(&mut self.store, actor(request));
            self.keep_up(call.kind);
        }
        self.happen(self.engine.now());
        response
    }

    fn resource(&mut self, call: &Call, request: &Request) -> Response {
        if let Some(failure) = self.engine.failure() {
            return Status::internal(format!("simulator: {failure}")).into();
        }
        let elsewhere = kinds::REVIEWS.contains(&call.kind) || call.kind.status == kinds::Modelling::Absent;
        if elsewhere && !self.engine.is_loaded(&Scope::all(call.kind, None)) {
            // An overlay knows neither whom the live cluster trusts nor what of other kinds there is.
            return Status::not_modelled(&call.kind.group_resource()).into();
        }
        self.faults.note(Asked {
            verb: call.verb.as_str(),
            what: call.subject(),
            subresource: call.subresource.clone(),
            client: request.user_agent.clone(),
        });
        if self.faults.is_empty() { self.answer(call, request, &Order::default()) } else { self.disturbed(call, request) }
    }

    fn answer(&mut self, call: &Call, request: &Request, order: &Order) -> Response {
        if let Some(status) = self.refusal(call, request) {
            return status.into();
        }
        let now = self.engine.now();
        let form = match Form::negotiate(call, request) {
            Ok(form) => form,
            Err(status) => return status.into(),
        };
        if call.verb == Verb::Watch {
            let opened = self.watches.open(&self.store, call, request, now, form, order.watch);
            self.store.pin(self.watches.seen());
            return match opened {
                Ok(id) => {
                    let headers = vec![("Content-Type".to_owned(), "application/json".to_owned())];
                    Response { status: 200, headers, body: Body::Watch(id), conduct: Conduct::default() }
                }
                Err(status) => status.into(),
            };
        }
        let any_namespace = self.is_unreadable_namespace(call);
        let mut cx = Cx {
            store: &mut self.store,
            now,
            any_namespace,
            models: &self.engine.models,
            warnings: Vec::new(),
            admit: order.admit.as_ref(),
            user: request.user.as_ref(),
            will: None,
        };
        let before = cx.store.rv();
        let mut response = api::answer(&mut cx, call, request).unwrap_or_else(Response::from);
        response.headers.extend(api::warning_headers(&cx.warnings));
        if let Some((pod, will)) = cx.will.take() {
            let reads = self.engine.begin(pod, will);
            tell_reader(&mut response, reads);
        }
        let ran = matches!(&response.body, Body::Exec(exec) if exec.outcome.is_ok());
        if ran || call.verb.writes() && self.store.rv() != before {
            self.ledger.push(Effect::of(call, request, now, self.store.rv()));
        }
        form.answer(response, now)
    }

    /// Standard input of a command in a container has ended, and this was in it. Its number is [`Ran::reads`](crate::Ran::reads).
    ///
    /// # Errors
    /// Why the command fails: what the text should be and is not.
    pub fn input(&mut self, command: u64, text: &str) -> Result<(), String> {
        self.engine.input(&self.store, command, text)?;
        self.engine.run(&mut self.store, "command");
        Ok(())
    }

    /// The answer for what the base of an overlay would not tell. What was created on top can be read all the same.
    fn refusal(&self, call: &Call, request: &Request) -> Option<Status> {
        let known = !call.name.is_empty() && self.store.get(&call.key()).is_some();
        let is_all_known = self.refused.is_empty() && self.closed.is_none();
        if is_all_known || (call.verb == Verb::Create && call.subresource.is_empty()) || known {
            return None;
        }
        let all = |namespace: Option<&str>| self.refused.get(&Scope::all(call.kind, namespace)).cloned();
        let itself = loading::primary(call, request);
        let by_part = itself.as_ref().and_then(|scope| self.refused.get(scope)).cloned();
        let by_part = by_part.or_else(|| self.lacking(call, itself.as_ref()));
        if itself.is_some_and(|scope| matches!(scope.part, crate::engine::Part::Name(_))) {
            return by_part;
        }
        by_part.or_else(|| all(call.namespace.as_deref())).or_else(|| all(None))
    }

    /// The requests that changed the store or ran a command, in order; not those of the cluster that this one was forked from.
    #[must_use]
    pub fn ledger(&self) -> &[Effect] {
        &self.ledger
    }

    /// The current instant.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.engine.now()
    }

    /// When something happens next by itself. The end of a watch is not counted: see [`Self::next_watch_end`].
    #[must_use]
    pub fn next_event_at(&self) -> Option<Timestamp> {
        self.engine.next_event_at().into_iter().chain(self.faults.next_at()).min()
    }

    /// When the next open watch reaches its `timeoutSeconds`.
    #[must_use]
    pub fn next_watch_end(&self) -> Option<Timestamp> {
        self.watches.next_deadline()
    }

    /// Runs everything that happens up to `to`; then it is `to`. False when it stopped earlier because [`Self::needs`] names
    /// something to load. A `to` in the past changes nothing.
    pub fn advance_to(&mut self, to: Timestamp) -> bool {
        while let Some(stop) = self.watches.next_deadline().into_iter().chain(self.faults.next_at()).min().filter(|stop| *stop < to) {
            if !self.arrive(stop) {
                return false;
            }
        }
        self.arrive(to)
    }

    fn arrive(&mut self, at: Timestamp) -> bool {
        let arrived = self.engine.advance_to(&mut self.store, at);
        if arrived {
            self.watches.expire(at, self.store.rv());
            self.happen(at);
        }
        arrived
    }

    /// What a watch has to say next.
    pub fn poll_watch(&mut self, id: WatchId) -> WatchPoll {
        if self.engine.machines.no_api(self.engine.now()) {
            self.close_watch(id);
        }
        let poll = self.watches.poll(id, &self.store, self.engine.now());
        self.store.pin(self.watches.seen());
        poll
    }

    /// What a followed log has to say next.
    pub fn poll_log(&self, follow: &mut LogFollow) -> LogPoll {
        follow.poll(&self.store, self.engine.now())
    }

    /// Closes a watch; closing it twice does nothing.
    pub fn close_watch(&mut self, id: WatchId) {
        self.watches.close(id);
        self.store.pin(self.watches.seen());
    }

    /// One line per effective change and per request, in their order. Equal seed and equal inputs give equal lines.
    pub fn event_log(&self) -> impl ExactSizeIterator<Item = &str> {
        self.engine.log().iter().map(String::as_str)
    }

    /// What went wrong inside the simulator itself, such as controllers that never come to rest. Every request for a resource
    /// is then answered with a 500 that says so.
    #[must_use]
    pub fn failure(&self) -> Option<&str> {
        self.engine.failure()
    }

    /// Runs the controllers until nothing is left to do at this instant; to be called after loading.
    pub fn settle(&mut self) {
        self.engine.run(&mut self.store, "loaded");
    }

    /// Puts one object into a complete cluster, as a fixture does. One that carries a uid or a status is kept as it is; another
    /// one is created as by a client. Controllers begin with it at the next [`Self::settle`].
    ///
    /// # Errors
    /// What the API server would answer: wrong types, invalid values, an object that exists.
    pub fn load_object(&mut self, kind: &'static Kind, mut object: Value) -> Result<Key, Status> {
        validate::shape(kind, &object).map_err(Status::bad_request)?;
        let now = self.engine.now();
        let recorded = !view::uid(&object).is_empty() || (kind.has_status() && object.get("status").is_some_and(|s| !s.is_null()));
        crd::load(kind, &mut object)?;
        defaults::apply(kind, &mut object);
        if kind.is(kinds::JOB) {
            defaults::workload::identify(&mut self.store, &mut object);
        }
        if crd::define::is_definition(kind) {
            validate::create(kind, &crd::define::as_if_new(&object))?;
        } else {
            validate::create(kind, &object)?;
        }
        crd::refuse(kind, &object)?;
        if kind.is(kinds::SERVICE) && view::text(&object, &["spec", "clusterIPs"]).is_empty() {
            api::allocate(&mut self.store, &mut object)?;
        }
        if !recorded {
            let created = self.store.create(kind, object, now)?;
            return Ok(Key::of(kind, &created));
        }
        let key = Key::of(kind, &object);
        if self.store.get(&key).is_some() {
            return Err(Status::already_exists(kind, &key.name, false));
        }
        let (key, object) = self.store.put_loaded(kind, object, now);
        self.store.announce(&key);
        self.engine.object_loaded(&key, &object);
        Ok(key)
    }

    /// Puts an object that is at rest into a complete cluster: no change, and no controller starts.
    pub(crate) fn adopt(&mut self, kind: &'static Kind, object: Value) {
        let now = self.engine.now();
        let (key, object) = self.store.put_loaded(kind, object, now);
        self.engine.object_loaded(&key, &object);
    }

    /// Lets the controllers of these objects look at them once more.
    #[cfg(test)]
    pub(crate) fn reconsider(&mut self, keys: &[Key]) {
        keys.iter().cloned().filter_map(crate::controllers::work_of).for_each(|work| self.engine.enqueue(work));
        self.settle();
    }

    /// The objects.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Whether nobody can say what the status of this object would be: its content was changed here, and neither a controller nor an entry of
    /// a model acts on its kind. Its status is then that of before, or there is none.
    #[must_use]
    pub fn is_unmodelled(&self, object: &Value) -> bool {
        let kind = self.store.kind_named(view::text(object, &["apiVersion"]), view::text(object, &["kind"]));
        kind.is_some_and(|kind| self.engine.unmodelled.has(&Key::of(kind, object)))
    }

    /// Takes every status as it stands now for what it would be: what was changed before counts no more for [`Self::is_unmodelled`].
    pub fn take_as_modelled(&mut self) {
        self.engine.unmodelled = crate::unmodelled::Unmodelled::default();
    }

    /// How many changes can be watched again after they were missed; see [`Store::set_history_limit`].
    pub fn set_history_limit(&mut self, changes: usize) {
        self.store.set_history_limit(changes);
    }

    /// Begins something on the machine of a node; tells when it ends. A second order of the same name does nothing and gives the end
    /// of the first.
    ///
    /// # Errors
    /// Why it cannot be begun.
    pub fn order(&mut self, order: &machines::Order) -> Result<Timestamp, Refusal> {
        let ends = self.engine.order(&mut self.store, order)?;
        self.engine.run(&mut self.store, "machine");
        Ok(ends)
    }

    /// How far something is that was begun on the machine of a node.
    ///
    /// # Errors
    /// `Away` while the machine is not there.
    pub fn ordered(&self, node: &str, id: &str) -> Result<Progress, Refusal> {
        self.engine.ordered(node, id)
    }

    /// What the world behind the API is like.
    #[must_use]
    pub fn models(&self) -> &Models {
        &self.engine.models
    }

    /// What the world behind the API is like, to be changed.
    pub fn models_mut(&mut self) -> &mut Models {
        &mut self.engine.models
    }

    /// Lets a single rule of the simulation not hold from now on, for tests of tests. Its name is one of [`crate::RULES`].
    ///
    /// Returns whether there is such a rule.
    pub fn switch_off(&mut self, rule: &str) -> bool {
        self.store.rules.switch_off(rule)
    }

    /// Lets a controller do nothing from now on, as if its process were gone. Its name is one of [`CONTROLLERS`].
    ///
    /// Returns whether there is such a controller.
    pub fn stop_controller(&mut self, name: &str) -> bool {
        let known = CONTROLLERS.iter().find(|known| **known == name);
        known.is_some_and(|known| self.engine.stopped.insert(known) || self.engine.stopped.contains(known))
    }

    /// Lets a controller that was stopped work again. Like one whose process starts, it looks at everything that is its own.
    ///
    /// Returns whether it had been stopped.
    pub fn start_controller(&mut self, name: &str) -> bool {
        let was_stopped = self.engine.stopped.remove(name);
        if was_stopped {
            let kinds = self.store.served_kinds();
            let keys = kinds.into_iter().flat_map(|kind| self.store.list(kind, None).map(|(key, _)| key.clone()));
            let work: Vec<_> = keys.filter_map(crate::controllers::work_of).filter(|work| work.actor() == name).collect();
            work.into_iter().for_each(|work| self.engine.enqueue(work));
            self.engine.run(&mut self.store, "started");
        }
        was_stopped
    }

    /// Forgets what the cluster was before now, as a server does that begins anew on a compacted store: watches from earlier versions
    /// and the rest of lists that have begun are answered with 410.
    pub fn compact(&mut self) {
        self.store.forget();
    }

    /// What `/version` says: what the tag of the first API server's mirror pod says; without such pods, what the options say.
    fn git_version(&self) -> &str {
        let servers = self.store.list(kinds::POD, Some("kube-system")).map(|(_, pod)| pod);
        let mut servers = servers.filter(|pod| view::label(pod, "component") == "kube-apiserver" && !view::is_terminating(pod));
        let image = servers.next().and_then(|pod| machines::image_of_component(pod));
        let tag = image.and_then(|image| image.rsplit_once(':')).map(|(_, tag)| tag);
        tag.filter(|tag| tag.starts_with("v1.")).unwrap_or(&self.version)
    }

    /// The fault rules.
    #[must_use]
    pub fn faults(&self) -> &Faults {
        &self.faults
    }
}

/// Tells whoever has the stream of a command that it acts on standard input.
fn tell_reader(response: &mut Response, number: Option<u64>) {
    if let Body::Exec(exec) = &mut response.body
        && let Ok(ran) = &mut Arc::make_mut(exec).outcome
    {
        ran.reads = number;
    }
}

/// Who sent a request, for the log: the product of the user agent, without version and comment.
fn actor(request: &Request) -> &str {
    let product = request.user_agent.split(['/', ' ']).next().unwrap_or_default();
    if product.is_empty() { "client" } else { product }
}
