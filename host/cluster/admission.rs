//! What the live server says about the writes of a plan (`reference/clusters.md` B6, `reference/primitives.md` §6).
//!
//! A write that the copy would take is put to the server as a dry run, before the copy carries it out: the very request while nobody
//! has changed the object in the copy, and else all that the plan has done to it, since the server remembers no dry run. Its no is the
//! answer that the plan gets, as the run would; what it changes or fills in, the copy stores. What cannot be put like that (a change of
//! something that only the copy has) is asked as a question of access. Disruption budgets are the copy's own business. A server that
//! cannot be asked is no failure: the plan says so.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use http::Response;
use lockgate_sim::kinds::Kind;
use lockgate_sim::request::{Request as SimRequest, Response as SimResponse};
use lockgate_sim::{Cluster as Sim, Scope, kinds};

use super::dry_run::{self, Tries};
use super::page::meta;
use super::question::{Original, Question, warnings};
use super::request::{Act, Call, Verb};
use super::sim::Simulation;
use super::webhooks::Webhooks;
use super::wire::Wire;
use crate::base::clock::{Duration, later};
use crate::base::diff::merge_patch;
use crate::base::json::{Map, Text, Value as Json, json};
use crate::base::{Reason, Result};

/// How often a question is asked that is not answered, and how long is waited in between.
const TRIES: u32 = 3;
const PAUSE: Duration = Duration::from_secs(1);

/// What the server said about the writes of one plan.
#[derive(Debug)]
pub(super) struct Admission {
    asks: AtomicBool,
    state: Mutex<State>,
}

#[derive(Clone, Debug, Default)]
struct State {
    /// Objects that are on the cluster, by hashes of where they are and of their uids. What else is in the copy, the copy made.
    copied: HashMap<u64, u64>,
    /// Objects that the plan wrote.
    written: BTreeMap<String, Written>,
    /// Whether this user may do that, as far as it was asked.
    access: BTreeMap<String, Option<String>>,
    /// What was said of what was not asked, so that it is said once.
    said: BTreeSet<String>,
    /// Why this server cannot be asked at all; an empty text when it can.
    server: Option<String>,
    /// The webhooks that a dry run must not reach, when they were looked for.
    webhooks: Option<Webhooks>,
    /// Which verbs the server says can be tried.
    tries: Tries,
    /// Writes of the present call, and those of them that the server admitted.
    writes: (u64, u64),
}

/// An object that the plan wrote.
#[derive(Clone, Debug)]
struct Written {
    /// As it is on the cluster; `None` when it is not there.
    was: Option<Json>,
    /// With what the plan did to it, and without what the controllers of the copy did.
    now: Json,
    /// Its uid in the copy.
    uid: String,
}

/// What becomes of a write of the plan.
pub(super) enum Judged {
    /// The server would not do it.
    Refused(SimResponse),
    /// The copy does it.
    Goes {
        /// What the server changes in what is stored.
        admitted: Option<Json>,
        /// Values of `Warning` headers.
        warnings: Vec<String>,
    },
}

/// What the server said.
enum Said {
    /// It would do it; with the object as it would store it.
    Yes(Json, Vec<String>),
    /// It would not.
    No(u16, Json),
    /// It was not asked, and why.
    Nothing(String),
}

/// What can be put to it.
enum Put {
    /// This, as a dry run.
    Dry(Question),
    /// Only whether the user may.
    Access,
}

/// A write beside the copy that it is about to change.
struct Writing<'a> {
    act: &'a Act,
    original: &'a Original,
    /// The object before, in the copy.
    before: Option<Json>,
    /// What the copy would answer.
    answer: Json,
    /// What the plan knew of it.
    known: Option<Written>,
}

impl Admission {
    /// One that asks, or one that never does.
    pub(super) fn new(asks: bool) -> Admission {
        Admission { asks: AtomicBool::new(asks), state: Mutex::default() }
    }

    /// The same for an independent copy of the copy.
    pub(super) fn fork(&self) -> Admission {
        Admission { asks: AtomicBool::new(self.asks()), state: Mutex::new(self.state().clone()) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether writes are put to the server.
    pub(super) fn asks(&self) -> bool {
        self.asks.load(Ordering::Relaxed)
    }

    /// These objects of a kind are on the cluster.
    pub(super) fn copied<'a>(&self, kind: &Kind, objects: impl Iterator<Item = &'a Json>) {
        if self.asks() {
            let place = |object: &Json| key(kind.group, kind.plural, meta(object, "namespace"), meta(object, "name"));
            self.state().copied.extend(objects.map(|object| (hash(&place(object)), hash(meta(object, "uid")))));
        }
    }

    /// A call of a verb begins.
    pub(super) fn begin(&self) {
        self.state().writes = (0, 0);
    }

    /// Whether the present call has written, and the server would do all of it.
    pub(super) fn all_admitted(&self) -> bool {
        let (writes, admitted) = self.state().writes;
        writes > 0 && writes == admitted
    }

    /// Puts a write to the server that the copy is about to carry out.
    ///
    /// # Errors
    /// When the operator stops it, or the copy fails.
    pub(super) async fn judge(
        &self,
        base: &Wire,
        simulation: &Simulation,
        act: &Act,
        original: &Original,
        request: &SimRequest,
    ) -> Result<Judged> {
        let goes = |warnings| Judged::Goes { admitted: None, warnings };
        let mut trial = simulation.fork();
        let before = act.name.as_ref().and_then(|_| read(&mut trial, act));
        let mut tried = request.clone().with_query("dryRun", "All");
        "application/json".clone_into(&mut tried.accept);
        let answer = trial.handle(&tried);
        let Some(answer) = answer.value().filter(|_| (200..300).contains(&answer.status)).cloned() else {
            // The copy says no by itself.
            return Ok(goes(Vec::new()));
        };
        let act = Act {
            name: act.name.clone().or_else(|| Some(meta(&answer, "name").to_owned()).filter(|name| !name.is_empty())),
            ..act.clone()
        };
        let key = key_of(&act);
        let known = self.state().written.get(&key).cloned();
        let writing = Writing { act: &act, original, before, answer, known };
        let (put, next) = self.put(&mut trial, &writing);
        let mut notes = Vec::new();
        let said = match self.unable(base).await? {
            why if !why.is_empty() => Said::Nothing(why),
            _ => match &put {
                Put::Access => self.may(base, &act).await?,
                Put::Dry(question) => match self.hindered(base, &mut trial, (&writing, question), &mut notes).await? {
                    Some(why) => Said::Nothing(why),
                    None => ask(base, &act, question).await?,
                },
            },
        };
        let mut state = self.state();
        notes.retain(|note| state.said.insert(note.clone()));
        let notes: Vec<String> = notes.iter().map(|note| warning(note)).collect();
        state.writes.0 += 1;
        match said {
            Said::No(code, status) => Ok(Judged::Refused(SimResponse::json(code, status.into()))),
            Said::Nothing(why) => {
                state.keep(key, next);
                let told = state.said.insert(why.clone()).then(|| warning(&why));
                Ok(goes(notes.into_iter().chain(told).collect()))
            }
            Said::Yes(object, mut warnings) => {
                warnings.extend(notes);
                state.writes.1 += 1;
                let admitted = next.as_ref().and_then(|next| changed(&act, &next.now, &object)).filter(|_| matches!(put, Put::Dry(_)));
                let next = next.map(|mut next| {
                    admitted.iter().for_each(|patch| next.now.merge(patch));
                    next
                });
                state.keep(key, next);
                Ok(Judged::Goes { admitted, warnings })
            }
        }
    }

    /// How a write is put to the server, and what the plan knows of its object then.
    fn put(&self, trial: &mut Sim, writing: &Writing<'_>) -> (Put, Option<Written>) {
        let Writing { act, original, before, answer, known } = writing;
        if act.namespace.as_deref().is_some_and(|namespace| self.is_own_namespace(trial, namespace)) {
            return (Put::Access, None);
        }
        let whole = act.subresource.is_none();
        let Some(before) = before else {
            let place = key_of(act);
            let was_copied = self.state().copied.remove(&hash(&place)).is_some();
            let stands = was_copied || known.as_ref().is_some_and(|known| known.was.is_some());
            return match act.verb {
                Verb::DeleteCollection => (Put::Dry(Question::verbatim(original, act, None)), None),
                // Gone in the plan, and made anew: the cluster still has the former one.
                _ if stands => (Put::Access, Some(Written { was: Some(Json::Null), now: Json::Null, uid: String::new() })),
                _ if !whole => (Put::Access, None),
                _ => {
                    let next = Written { was: None, now: answer.clone(), uid: meta(answer, "uid").to_owned() };
                    (Put::Dry(Question::verbatim(original, act, None)), Some(next))
                }
            };
        };
        let known = known.clone().filter(|known| known.uid == meta(before, "uid"));
        let Some(known) = known.or_else(|| {
            let on_cluster = self.state().is_copied(&key_of(act), before);
            on_cluster.then(|| Written { was: Some(before.clone()), now: before.clone(), uid: meta(before, "uid").to_owned() })
        }) else {
            // Its controllers made it, or the plan after it had deleted the one that the cluster has.
            return (Put::Access, None);
        };
        let mut next = known.clone();
        if whole && matches!(act.verb, Verb::Patch | Verb::Update) {
            next.now.merge(&merge_patch(&own(before), &own(answer)).unwrap_or_else(|| json!({})));
        } else if act.subresource.as_deref() == Some("scale") {
            let replicas = answer.pointer("/spec/replicas").cloned().unwrap_or_default();
            next.now.merge(&json!({ "spec": { "replicas": replicas } }));
        }
        (question(writing, before, &known, &next), Some(next))
    }

    /// Whether only the copy has this namespace.
    fn is_own_namespace(&self, trial: &mut Sim, namespace: &str) -> bool {
        if !trial.is_loaded(&Scope::named(kinds::NAMESPACE, None, namespace)) {
            return false;
        }
        let answer = trial.handle(&SimRequest::get(&format!("/api/v1/namespaces/{namespace}")));
        let place = key("", kinds::NAMESPACE.plural, "", namespace);
        answer.value().filter(|_| answer.status == 200).is_some_and(|found| !self.state().is_copied(&place, found))
    }

    /// Why the server is not asked about a write though it could be: it does not say that the verb can be tried, or there are webhooks that
    /// take no dry run. Each is looked up once, before the first question.
    async fn hindered(
        &self,
        base: &Wire,
        trial: &mut Sim,
        (writing, question): (&Writing<'_>, &Question),
        notes: &mut Vec<String>,
    ) -> Result<Option<String>> {
        let asked = question.act();
        if !self.state().tries.knows(&asked) {
            let found = dry_run::look_up(base, &asked).await?;
            self.state().tries.take(&asked, found);
        }
        if let Some(why) = self.state().tries.lacks(&asked) {
            return Ok(Some(why));
        }
        let known = self.state().webhooks.clone();
        let webhooks = match known {
            Some(known) => known,
            None => {
                let found = Webhooks::read(base).await?;
                self.state().webhooks.insert(found).clone()
            }
        };
        notes.extend(webhooks.unread.clone());
        let namespace = writing.act.namespace.as_ref().and_then(|name| {
            let answer = trial.handle(&SimRequest::get(&format!("/api/v1/namespaces/{name}")));
            answer.value().filter(|_| answer.status == 200).cloned()
        });
        let objects: Vec<&Json> = writing.before.iter().chain([&writing.answer]).collect();
        // What is applied and not there is created; what only the plan has is asked about as a whole, as something new.
        let is_change = matches!(writing.act.verb, Verb::Patch | Verb::Update);
        let creates = is_change && (writing.before.is_none() || asked.verb == Verb::Create);
        let verb = if creates { Verb::Create } else { writing.act.verb };
        Ok(webhooks.reached(&Act { verb, ..writing.act.clone() }, namespace.as_ref(), &objects))
    }

    /// Why this server cannot be asked; an empty text when it can. Servers before 1.13 may carry out what they are asked about.
    async fn unable(&self, base: &Wire) -> Result<String> {
        if let Some(known) = self.state().server.clone() {
            return Ok(known);
        }
        let why = match base.json(&Call::path("/version", "the server's version")).await {
            Ok(version) => {
                let number = |field: &str| {
                    let digits: String = version[field].as_str().unwrap_or_default().chars().take_while(char::is_ascii_digit).collect();
                    digits.parse::<u64>().unwrap_or(0)
                };
                match (number("major"), number("minor")) {
                    (major, minor) if (major, minor) >= (1, 13) => String::new(),
                    (major, minor) => format!("the server is of {major}.{minor} and cannot be asked about writes, which takes 1.13"),
                }
            }
            Err(error) if error.reason == Reason::Interrupted => return Err(error),
            Err(error) => format!("the server cannot be asked about writes: {error}"),
        };
        self.state().server = Some(why.clone());
        Ok(why)
    }

    /// Whether this user may do it: for all objects of the kind, else for this one.
    async fn may(&self, base: &Wire, act: &Act) -> Result<Said> {
        let mut refused = None;
        for name in [None, act.name.as_deref().filter(|_| act.verb != Verb::Create || act.subresource.is_some())] {
            let key = format!("{} {} {:?} {:?} {name:?}", act.verb, act.resource, act.subresource, act.namespace);
            let known = self.state().access.get(&key).cloned();
            let answer = match known {
                Some(known) => known,
                None => {
                    let said = ask(base, act, &Question::may(act, name)).await?;
                    let Said::Yes(review, _) = said else {
                        return Ok(Said::Nothing(format!("whether this user may {act} could not be asked")));
                    };
                    let allowed = review.pointer("/status/allowed").and_then(Json::as_bool) == Some(true);
                    let why = review.pointer("/status/reason").and_then(Json::as_str).unwrap_or_default().to_owned();
                    let answer = (!allowed).then_some(why);
                    self.state().access.insert(key, answer.clone());
                    answer
                }
            };
            let Some(why) = answer else { return Ok(Said::Yes(Json::Null, Vec::new())) };
            refused = Some(why);
        }
        let why = refused.filter(|why| !why.is_empty()).map_or_else(String::new, |why| format!(": {why}"));
        Ok(Said::No(403, forbidden(act, &why)))
    }
}

impl State {
    fn is_copied(&self, place: &str, object: &Json) -> bool {
        self.copied.get(&hash(place)) == Some(&hash(meta(object, "uid")))
    }

    fn keep(&mut self, key: String, next: Option<Written>) {
        if let Some(next) = next {
            drop(self.written.insert(key, next));
        }
    }
}

/// The question about a write to an object that is on the cluster, or that the plan made by itself.
fn question(writing: &Writing<'_>, before: &Json, known: &Written, next: &Written) -> Put {
    let Writing { act, original, .. } = writing;
    let version = known.was.as_ref().map(|was| meta(was, "resourceVersion")).filter(|version| !version.is_empty());
    let verbatim = || Put::Dry(Question::verbatim(original, act, version));
    let Some(was) = &known.was else {
        return match (act.verb, act.subresource.as_deref()) {
            (Verb::Patch | Verb::Update, None | Some("scale")) => Put::Dry(Question::create(original, &plain(act), fresh(act, &next.now))),
            _ => Put::Access,
        };
    };
    match (act.verb, act.subresource.as_deref()) {
        (Verb::Delete, None) | (Verb::Create, Some("eviction")) | (_, Some("scale")) => verbatim(),
        (_, Some("status")) if is_untouched(was, before) => verbatim(),
        (_, Some(_)) => Put::Access,
        (Verb::Patch | Verb::Update, None) if is_untouched(was, before) => verbatim(),
        (Verb::Patch, None) => match merge_patch(&own(was), &own(&next.now)) {
            Some(patch) => Put::Dry(Question::patch(original, act, &patch)),
            None => Put::Access,
        },
        (Verb::Update, None) => {
            let mut whole = was.clone();
            whole.merge(&merge_patch(&own(was), &own(&next.now)).unwrap_or_else(|| json!({})));
            Put::Dry(Question::update(original, act, whole))
        }
        _ => Put::Access,
    }
}

/// Whether an object is in the copy as it is on the cluster; who owns which fields of it decides what an apply does.
fn is_untouched(was: &Json, before: &Json) -> bool {
    own(was) == own(before) && was.pointer("/metadata/managedFields") == before.pointer("/metadata/managedFields")
}

/// Asks, again if there is no answer.
async fn ask(base: &Wire, act: &Act, question: &Question) -> Result<Said> {
    let call = Call::new(act.clone(), format!("`{act}`")).query("dryRun", "All");
    let mut made = 0;
    loop {
        made += 1;
        let answer = base.forward(question.request()?, &call).await;
        let busy = match &answer {
            Ok(answer) => match answer.status().as_u16() {
                401 if made == 1 => {
                    base.renew();
                    continue;
                }
                429 => !is_budget(answer),
                502..=504 => true,
                _ => false,
            },
            Err(error) if matches!(error.reason, Reason::Unreachable | Reason::Timeout) => true,
            Err(_) => false,
        };
        if !busy || made >= TRIES {
            return match answer {
                Ok(answer) => Ok(understood(&answer)),
                Err(error) if error.reason == Reason::Interrupted => Err(error),
                Err(error) => Ok(Said::Nothing(not_asked(&error.to_string()))),
            };
        }
        base.rest(later(base.clock().now(), PAUSE)).await?;
    }
}

fn is_budget(answer: &Response<Bytes>) -> bool {
    let status: Json = serde_json::from_slice(answer.body()).unwrap_or_default();
    status.pointer("/details/causes/0/reason").is_some_and(|reason| reason == "DisruptionBudget")
}

/// What an answer means for the plan.
fn understood(answer: &Response<Bytes>) -> Said {
    let code = answer.status().as_u16();
    let Ok(document) = serde_json::from_slice::<Json>(answer.body()) else {
        return Said::Nothing(not_asked("its answer cannot be read"));
    };
    let text = |field: &str| document.get(field).and_then(Json::as_str).unwrap_or_default();
    let (reason, message) = (text("reason"), text("message"));
    match code {
        200..=299 => Said::Yes(document, warnings(answer.headers())),
        // Webhooks with side effects, and servers that have the feature switched off.
        _ if message.contains("does not support dry run") || message.contains("dryRun") && message.contains("disabled") => {
            Said::Nothing(not_asked(message))
        }
        // The copy counts the budgets, with what the plan has evicted so far.
        429 if is_budget(answer) => Said::Yes(Json::Null, Vec::new()),
        // Somebody was faster than the plan, which is about one state.
        409 if reason == "Conflict" && document.pointer("/details/causes").is_none() => Said::Nothing(not_asked(message)),
        404 => Said::Nothing(not_asked(message)),
        500 if message.contains("failed calling webhook") => Said::No(code, document),
        400..=428 | 430..=499 => Said::No(code, document),
        _ => Said::Nothing(not_asked(if message.is_empty() { "it failed" } else { message })),
    }
}

fn not_asked(why: &str) -> String {
    format!("the server could not be asked about every write: {why}")
}

/// A `Warning` header with this text.
fn warning(text: &str) -> String {
    let text: String = text.chars().map(|character| if character.is_control() { ' ' } else { character }).collect();
    format!("299 - \"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// The refusal of a server whose authorizer was asked beforehand.
fn forbidden(act: &Act, why: &str) -> Json {
    let name = act.name.clone().unwrap_or_default();
    let part = act.subresource.as_ref().map_or_else(String::new, |part| format!("/{part}"));
    let message = format!("{}{part} \"{name}\" is forbidden: this user cannot {} it{why}", act.resource, act.verb);
    json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": 403, "reason": "Forbidden", "message": message,
        "details": { "name": name, "group": act.group, "kind": act.resource },
    })
}

fn hash(uid: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    uid.hash(&mut hasher);
    hasher.finish()
}

fn plain(act: &Act) -> Act {
    Act { subresource: None, ..act.clone() }
}

fn key(group: &str, resource: &str, namespace: &str, name: &str) -> String {
    format!("{group}/{resource}/{namespace}/{name}")
}

fn key_of(act: &Act) -> String {
    key(&act.group, &act.resource, act.namespace.as_deref().unwrap_or_default(), act.name.as_deref().unwrap_or_default())
}

/// The object of an act as the copy has it.
fn read(trial: &mut Sim, act: &Act) -> Option<Json> {
    let act = Act { verb: Verb::Get, ..plain(act) };
    let request = SimRequest::from_uri("GET", &Call::new(act, String::new()).uri())?;
    let answer = trial.handle(&request);
    answer.value().filter(|_| answer.status == 200).cloned()
}

/// What of an object is whoever writes it, and not the server's or the controllers'.
fn own(object: &Json) -> Json {
    let mut object = object.clone();
    let Some(map) = object.as_object_mut() else { return object };
    drop(map.remove("status"));
    let kept: Map = ["labels", "annotations", "finalizers", "ownerReferences"]
        .iter()
        .filter_map(|field| Some((Text::from(*field), map.get("metadata")?.get(field)?.clone())))
        .collect();
    drop(map.insert(Text::from("metadata"), Json::Object(kept)));
    object
}

/// An object as it is created: without what the copy's server gave it, which the real one gives out anew.
fn fresh(act: &Act, object: &Json) -> Json {
    let mut fresh = own(object);
    fresh["metadata"]["name"] = act.name.clone().unwrap_or_default().into();
    if let Some(namespace) = &act.namespace {
        fresh["metadata"]["namespace"] = namespace.clone().into();
    }
    given_out(act, &mut fresh);
    fresh
}

/// Takes away what a server gives out anew to each object: addresses and ports of a Service, the uid by which a Job knows its pods.
fn given_out(act: &Act, object: &mut Json) {
    let remove = |part: Option<&mut Json>, fields: &[&str]| {
        if let Some(map) = part.and_then(Json::as_object_mut) {
            fields.iter().for_each(|field| drop(map.remove(field)));
        }
    };
    match (act.group.as_str(), act.resource.as_str()) {
        ("", "services") => {
            remove(object.get_mut("spec"), &["clusterIP", "clusterIPs", "healthCheckNodePort"]);
            for port in object.pointer_mut("/spec/ports").and_then(Json::as_array_mut).into_iter().flatten() {
                remove(Some(port), &["nodePort"]);
            }
        }
        ("batch", "jobs") if object.pointer("/spec/manualSelector").and_then(Json::as_bool) != Some(true) => {
            remove(object.get_mut("spec"), &["selector"]);
            remove(object.pointer_mut("/spec/template/metadata/labels"), &["controller-uid", "batch.kubernetes.io/controller-uid"]);
        }
        _ => {}
    }
}

/// What the server stores otherwise than the copy, as a merge patch: what its webhooks change, what it fills in. What it leaves out it
/// may only not know. Of pods it adds what is different each time.
fn changed(act: &Act, expected: &Json, stored: &Json) -> Option<Json> {
    if act.subresource.is_some() || act.resource == "pods" || !matches!(act.verb, Verb::Create | Verb::Patch | Verb::Update) {
        return None;
    }
    let (mut expected, mut stored) = (own(expected), own(stored));
    given_out(act, &mut expected);
    given_out(act, &mut stored);
    if stored.get("kind") != expected.get("kind") {
        return None;
    }
    merge_patch(&expected, &with(&expected, &stored))
}

/// The first with what the second has more or otherwise.
fn with(expected: &Json, stored: &Json) -> Json {
    match (expected, stored) {
        (Json::Object(mine), Json::Object(theirs)) => {
            let mut both = mine.clone();
            for (key, value) in theirs.iter().filter(|(_, value)| !value.is_null()) {
                let value = mine.get(key).map_or_else(|| value.clone(), |mine| with(mine, value));
                drop(both.insert(key.clone(), value));
            }
            Json::Object(both)
        }
        (Json::Array(mine), Json::Array(theirs)) if mine.len() == theirs.len() => {
            Json::Array(mine.iter().zip(theirs.iter()).map(|(mine, theirs)| with(mine, theirs)).collect())
        }
        (_, Json::Null) => expected.clone(),
        _ => stored.clone(),
    }
}
