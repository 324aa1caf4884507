//! The cluster as primitives see it: objects in, objects out, the same for every target.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

use crate::base::json::Value as Json;

use super::cancel::Cancel;
use super::discovery::{self, Resource};
use super::endpoint::Scratch;
use super::follow::{Follow, Following};
use super::keep::{Keeper, Key, Prior, Sign};
use super::layers::{Access, Gate, Recorded, Recorder};
use super::op;
use super::page::{self, meta};
use super::place::{Label, Place};
use super::request::{Act, Call, MANAGER, PatchType, Verb};
use super::run_id::RunId;
use super::settle;
use super::wire::{Delay, Wire};
use crate::base::{Clock, Error, ObjectRef, Reason, Result, Timestamp};

/// Which objects of a kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Select {
    /// A label selector, for example `app=web,tier!=x`.
    pub labels: Option<String>,
    /// A field selector, for example `spec.nodeName=w1`.
    pub fields: Option<String>,
}

/// A list as it was at one moment.
#[derive(Clone, Debug)]
pub struct Listed {
    /// The objects, sorted by namespace and name.
    pub items: Vec<Arc<Json>>,
    /// The moment, for a watch that goes on from it.
    pub resource_version: String,
}

/// One object of a cluster, whether it exists or not.
#[derive(Clone, Debug)]
pub struct Target {
    /// Its kind.
    pub resource: Rc<Resource>,
    /// Its namespace; `None` for kinds without.
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
    /// Whether the namespace goes without saying.
    at_home: bool,
}

impl Target {
    /// `kind/namespace/name`, or `kind/name` for kinds without namespaces: the same wherever it is said.
    #[must_use]
    pub fn full_name(&self) -> String {
        match &self.namespace {
            Some(namespace) => format!("{}/{namespace}/{}", self.resource, self.name),
            None => format!("{}/{}", self.resource, self.name),
        }
    }
}

impl PartialEq for Target {
    fn eq(&self, other: &Self) -> bool {
        self.resource == other.resource && self.namespace == other.namespace && self.name == other.name
    }
}

impl Eq for Target {}

impl fmt::Display for Target {
    /// `deployment/name`, with the namespace when it is not the one of the run.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.namespace {
            Some(namespace) if !self.at_home => write!(f, "{}/{namespace}/{}", self.resource, self.name),
            _ => write!(f, "{}/{}", self.resource, self.name),
        }
    }
}

/// An answer of a read of an object that may not be there.
fn found(read: Result<Arc<Json>>) -> Result<Option<Arc<Json>>> {
    match read {
        Ok(object) => Ok(Some(object)),
        Err(error) if error.reason == Reason::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// What a call read, by full name and part; `None` where nothing was.
type Seen = HashMap<(String, Option<String>), Option<Arc<Json>>>;

/// What all clones of a cluster share.
pub(super) struct Shared {
    pub(super) place: Place,
    pub(super) wire: Wire,
    pub(super) gate: Gate,
    pub(super) recorder: Recorder,
    pub(super) label: Label,
    pub(super) run: Cell<RunId>,
    /// The run that this one takes back.
    pub(super) takes_back: RefCell<Option<String>>,
    pub(super) writes: Rc<Cell<u64>>,
    pub(super) keeper: RefCell<Option<Rc<dyn Keeper>>>,
    pub(super) grantor: RefCell<Option<Rc<dyn super::permit::Grantor>>>,
    /// What the present call read, by full name and part: `None` was not there.
    pub(super) seen: RefCell<Seen>,
    /// Objects that a creation given up for lost may still make, by their full names, and until when.
    pub(super) stragglers: RefCell<BTreeMap<String, Timestamp>>,
    pub(super) drawn: Rc<Cell<u64>>,
    pub(super) known: RefCell<Vec<Rc<Resource>>>,
    pub(super) discovered: Cell<bool>,
    /// Groups that the server did not tell of, with the reason.
    pub(super) silent: RefCell<Vec<String>>,
    pub(super) scratch: Scratch,
    pub(super) helm: Option<std::path::PathBuf>,
    pub(super) ways: Option<super::machines::Ways>,
    pub(super) home: Option<super::Home>,
    /// Whether plans leave the server out.
    pub(super) local: Cell<bool>,
    /// How much a plan may read by itself.
    pub(super) budget: Cell<super::budget::Budget>,
    /// Where the end of a plan can look at the cluster again.
    pub(super) looks_back: Rc<RefCell<Option<Rc<tokio::runtime::Runtime>>>>,
    pub(super) on_machines: Rc<RefCell<Vec<super::machines::OnMachine>>>,
    /// What the verbs of a plan read.
    pub(super) reads: Rc<RefCell<super::reads::Reads>>,
}

/// A way to one cluster: live, simulated, or the copy that a plan works on. Cheap to clone.
#[derive(Clone)]
pub struct Cluster {
    pub(super) shared: Rc<Shared>,
    pub(super) namespace: Rc<str>,
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cluster({}, {})", self.shared.label.name, self.namespace)
    }
}

impl Cluster {
    /// The kind of this name: singular, plural or short, `kind.group`, `kind.version.group`. Built-in kinds cost no request.
    ///
    /// # Errors
    /// Input when there is none, with what may have been meant; or the errors of a read, when the server had to be asked.
    pub async fn resolve(&self, kind: &str, group: Option<&str>) -> Result<Rc<Resource>> {
        if let Some(found) = discovery::find(&self.shared.known.borrow(), kind, group) {
            return Ok(found);
        }
        if !self.shared.discovered.get() {
            let discovery::Discovered { found, silent } = discovery::discover(self.wire()).await?;
            self.shared.discovered.set(true);
            drop(self.shared.silent.replace(silent));
            let mut known = self.shared.known.borrow_mut();
            let new: Vec<_> = found.into_iter().filter(|resource| !known.contains(resource)).collect();
            known.extend(new);
        }
        let known = self.shared.known.borrow();
        discovery::find(&known, kind, group).ok_or_else(|| {
            let silent = self.shared.silent.borrow();
            let told = silent.iter().map(|group| format!("the server does not say what it serves of {group}"));
            told.fold(discovery::unknown(&known, kind, group), Error::cause)
        })
    }

    /// The object that a reference means. Its namespace is the one in the reference, else `namespace`, else the cluster's own.
    ///
    /// # Errors
    /// As [`Cluster::resolve`]; input when a kind without namespaces is given one in the reference.
    pub async fn target(&self, reference: &ObjectRef, namespace: Option<&str>) -> Result<Target> {
        let resource = self.resolve(&reference.kind, reference.group.as_deref()).await?;
        let namespace = match (&reference.namespace, resource.namespaced) {
            (Some(given), false) => {
                return Err(Error::usage(format!("`{reference}`: a {resource} lives in no namespace"))
                    .hint(format!("write `{resource}/{}` without `{given}`", reference.name)));
            }
            (None, false) => None,
            (given, true) => Some(given.as_deref().or(namespace).unwrap_or(&self.namespace).to_owned()),
        };
        Ok(self.object(resource, namespace, reference.name.clone()))
    }

    /// The object of this kind, namespace and name. A namespace left out is the cluster's own; for kinds without, it is dropped.
    #[must_use]
    pub fn object(&self, resource: Rc<Resource>, namespace: Option<String>, name: impl Into<String>) -> Target {
        let namespace = resource.namespaced.then(|| namespace.unwrap_or_else(|| self.namespace.to_string()));
        let at_home = namespace.as_deref().is_none_or(|namespace| namespace == &*self.namespace);
        Target { resource, namespace, name: name.into(), at_home }
    }

    /// Reads an object.
    ///
    /// # Errors
    /// `not_found` when it is not there; `forbidden`, `unreachable`, `unmodelled`.
    pub async fn get(&self, target: &Target) -> Result<Arc<Json>> {
        self.get_part(target, None).await
    }

    /// Reads an object, or a subresource of it such as `scale`.
    ///
    /// # Errors
    /// As [`Cluster::get`].
    pub async fn get_part(&self, target: &Target, subresource: Option<&str>) -> Result<Arc<Json>> {
        let read = match self.read_before(target, subresource).await? {
            None => self.as_it_is(target, subresource).await,
            Some(Prior::Was(object)) => Ok(object),
            Some(Prior::Absent) => {
                let call = self.call(Verb::Get, target, subresource);
                Err(Error::new(crate::base::Kind::Cluster, Reason::NotFound, format!("{}: it does not exist", call.doing()))
                    .about(target.full_name()))
            }
        };
        match &read {
            Ok(object) => {
                self.saw(target, subresource, Some(object));
                self.noted(target, subresource, Some(object));
            }
            Err(error) if error.reason == Reason::NotFound => {
                self.saw(target, subresource, None);
                self.noted(target, subresource, None);
            }
            Err(_) => {}
        }
        read
    }

    /// Reads an object of the cluster as it is, whatever the record says.
    pub(super) async fn as_it_is(&self, target: &Target, subresource: Option<&str>) -> Result<Arc<Json>> {
        let call = self.call(Verb::Get, target, subresource);
        let answer = self.wire().json(&call).await?;
        self.gate().fence().saw(&answer);
        if subresource.is_none() {
            self.learn(&target.resource.group, &target.resource.plural, [&*answer]);
        }
        if subresource.is_none() && !settle::is_it(target, &answer) {
            return Err(settle::strange(&call, &answer, "the object"));
        }
        Ok(answer)
    }

    /// Reads an object that may not be there.
    ///
    /// # Errors
    /// As [`Cluster::get`], except `not_found`.
    pub async fn find(&self, target: &Target) -> Result<Option<Arc<Json>>> {
        found(self.get(target).await)
    }

    /// The same as it is, whatever the record says.
    pub(super) async fn find_live(&self, target: &Target, part: Option<&str>) -> Result<Option<Arc<Json>>> {
        found(self.as_it_is(target, part).await)
    }

    /// Reads all objects of a kind, in one namespace or (`None`) in all.
    ///
    /// # Errors
    /// As [`Cluster::get`].
    pub async fn list(&self, resource: &Rc<Resource>, namespace: Option<&str>, select: &Select) -> Result<Listed> {
        self.listed(resource, &self.collection(Verb::List, resource, namespace, select)).await
    }

    /// The same by this call.
    pub(super) async fn listed(&self, resource: &Rc<Resource>, call: &Call) -> Result<Listed> {
        let pages = page::read(self.wire(), call, &resource.api_version(), &resource.kind).await?;
        let mut items: Vec<Arc<Json>> = pages.items.into_iter().map(Arc::new).collect();
        self.learn(&resource.group, &resource.plural, items.iter().map(|item| &**item));
        items.sort_by(|a, b| (meta(a, "namespace"), meta(a, "name")).cmp(&(meta(b, "namespace"), meta(b, "name"))));
        self.noted_list(resource, call, &items);
        Ok(Listed { items, resource_version: pages.resource_version })
    }

    /// Creates an object. `namespace` counts where the object names none.
    ///
    /// # Errors
    /// `conflict` when it exists; `invalid`, `forbidden`, `unreachable`, `refused` where writing is not allowed.
    pub async fn create(&self, resource: &Rc<Resource>, namespace: Option<&str>, mut object: Json) -> Result<Arc<Json>> {
        let own = Some(meta(&object, "namespace")).filter(|own| !own.is_empty());
        let namespace = own.or(namespace).map(str::to_owned);
        let named = if meta(&object, "name").is_empty() { meta(&object, "generateName") } else { meta(&object, "name") };
        let operation = self.begin_write(Key::of("create", &self.object(resource.clone(), namespace.clone(), named), None));
        let stamp = operation.stamp.clone();
        if meta(&object, "name").is_empty() && !meta(&object, "generateName").is_empty() {
            // Chosen here and not by the server, so that one read tells whether it was created.
            // In a plan not from the run's id: two plans of the same input make up the same names.
            let chosen = stamp.split_once('/').filter(|_| self.shared.label.plan).map_or(stamp.as_str(), |(_, rest)| rest);
            let name = format!("{}{}", meta(&object, "generateName"), op::suffix(chosen));
            object["metadata"]["name"] = name.into();
        }
        let target = self.object(resource.clone(), namespace, meta(&object, "name"));
        op::annotate(&mut object, &stamp);
        let mut call =
            self.call(Verb::Create, &target, None).query("fieldManager", MANAGER).query("fieldValidation", "Strict").body(object);
        call.act.name = None;
        self.settled(call, &target, &Sign::Stamp(stamp), &operation).await
    }

    /// Changes an object in part. Merge and strategic patches say absolute values, so that they are sent again when the server
    /// was too busy to begin. A JSON patch reads the object first and is bound to what was read: what it adds to a list it shall not
    /// add twice. A write whose answer is lost is looked at (see `settle.rs`).
    ///
    /// # Errors
    /// As [`Cluster::create`], and `not_found`. When nobody can tell whether it was made, the error's `details.outcome` is `unknown`.
    pub async fn patch(&self, target: &Target, kind: PatchType, body: Json, subresource: Option<&str>) -> Result<Arc<Json>> {
        let mut body = body;
        let operation = self.begin_write(Key::of("patch", target, subresource));
        let stamp = operation.stamp.clone();
        if subresource.is_none() {
            match kind {
                PatchType::Merge | PatchType::Strategic => op::annotate(&mut body, &stamp),
                PatchType::Json => {
                    self.gate().access().allows(&self.call(Verb::Patch, target, None).act)?;
                    let object = self.get(target).await?;
                    op::annotate_json_patch(&mut body, &object, &stamp);
                }
            }
        }
        let mut call = self.call(Verb::Patch, target, subresource).query("fieldManager", MANAGER).body(body);
        call.content_type = kind.content_type();
        call.idempotent = kind != PatchType::Json;
        let sign = match (subresource, kind) {
            (None, _) => Sign::Stamp(stamp),
            // Such a patch says fields as they shall be.
            (Some(_), PatchType::Merge | PatchType::Strategic) => Sign::Fields(call.body.clone().unwrap_or_default()),
            // Nobody can say afterwards whether it was made.
            (Some(_), PatchType::Json) => Sign::Elsewhere,
        };
        self.settled(call, target, &sign, &operation).await
    }

    /// Replaces an object. With a `resourceVersion` in it the server refuses when the object has changed since.
    ///
    /// # Errors
    /// As [`Cluster::patch`].
    pub async fn replace(&self, target: &Target, mut object: Json) -> Result<Arc<Json>> {
        let operation = self.begin_write(Key::of("update", target, None));
        let stamp = operation.stamp.clone();
        op::annotate(&mut object, &stamp);
        let call = self.call(Verb::Update, target, None).query("fieldManager", MANAGER).body(object);
        self.settled(call, target, &Sign::Stamp(stamp), &operation).await
    }

    /// Deletes an object. `options` are the fields of `DeleteOptions` (grace period, preconditions, propagation). There is no
    /// place for the operation's annotation in this request.
    ///
    /// # Errors
    /// As [`Cluster::patch`].
    pub async fn delete(&self, target: &Target, options: Json) -> Result<Arc<Json>> {
        let mut body = crate::base::json::json!({"kind": "DeleteOptions", "apiVersion": "v1"});
        if let (Some(body), Json::Object(options)) = (body.as_object_mut(), options) {
            body.extend(options);
        }
        let uid = body.pointer("/preconditions/uid").and_then(Json::as_str).map(str::to_owned);
        let operation = self.begin_write(Key::of("delete", target, uid.as_deref()));
        self.settled(self.call(Verb::Delete, target, None).body(body), target, &Sign::Ended { uid }, &operation).await
    }

    /// Follows objects: one list now, then one watch per scope for as long as somebody waits for changes.
    ///
    /// # Errors
    /// As [`Cluster::list`].
    pub async fn follow(&self, scopes: Vec<Follow>) -> Result<Following> {
        Following::begin(self.clone(), scopes).await
    }

    /// The version that the server says it has, `gitVersion` of `/version`.
    ///
    /// # Errors
    /// As [`Cluster::get`].
    pub async fn server_version(&self) -> Result<String> {
        let document = self.wire().json(&Call::path("/version", "the server's version")).await?;
        document["gitVersion"]
            .as_str()
            .map(str::to_owned)
            .ok_or_else(|| Error::new(crate::base::Kind::Cluster, Reason::Unsupported, "reading the server's version: it does not say"))
    }

    /// The namespace of objects that name none.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The same cluster with another namespace for objects that name none.
    #[must_use]
    pub fn with_namespace(&self, namespace: &str) -> Cluster {
        Cluster { shared: self.shared.clone(), namespace: namespace.into() }
    }

    /// The clock of everything that waits for this cluster.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        self.wire().clock()
    }

    /// The switch that stops what is being done here.
    #[must_use]
    pub fn cancel(&self) -> &Cancel {
        self.wire().cancel()
    }

    /// What this is, for people.
    #[must_use]
    pub fn label(&self) -> Label {
        self.shared.label.clone()
    }

    /// The address of the API server, and a fingerprint of the authorities that it is trusted by; none of a simulated cluster.
    #[must_use]
    pub fn server(&self) -> Option<String> {
        self.shared.place.server()
    }

    /// The run whose id the writes carry.
    #[must_use]
    pub fn run(&self) -> RunId {
        self.shared.run.get()
    }

    /// From now on what that run left counts as this run's own: it takes that one back.
    pub fn set_takes_back(&self, run: &str) {
        *self.shared.takes_back.borrow_mut() = Some(run.to_owned());
    }

    /// Whether this run takes another one back.
    #[must_use]
    pub fn takes_back(&self) -> bool {
        self.shared.takes_back.borrow().is_some()
    }

    /// Whether something with the name of this run on it is the run's own.
    #[must_use]
    pub fn is_own(&self, run: &str) -> bool {
        run == self.run().to_string() || self.shared.takes_back.borrow().as_deref() == Some(run)
    }

    /// From now on it works for this run.
    pub fn set_run(&self, run: RunId) {
        self.shared.run.set(run);
    }

    /// The next random number of the run: its id and how many were drawn decide it.
    #[must_use]
    pub fn draw(&self) -> u64 {
        let place = self.shared.drawn.get() + 1;
        self.shared.drawn.set(place);
        self.shared.run.get().draw(place)
    }

    /// Does nothing until then.
    ///
    /// # Errors
    /// When the operator stops it, or virtual time cannot be moved on.
    pub async fn rest(&self, until: crate::base::Timestamp) -> Result<()> {
        self.wire().rest(until).await
    }

    /// What may be sent at present.
    #[must_use]
    pub fn access(&self) -> Access {
        self.gate().access()
    }

    /// Sets what may be sent from now on, for all clones.
    pub fn set_access(&self, access: Access) {
        self.gate().set(access);
    }

    /// Every request so far, in the order in which they were sent.
    #[must_use]
    pub fn requests(&self) -> Vec<Recorded> {
        self.shared.recorder.all()
    }

    /// What the server warned of in its answers to writes since the last call of this function.
    #[must_use]
    pub fn take_warnings(&self) -> Vec<String> {
        self.wire().take_warnings()
    }

    /// How many requests were sent so far.
    #[must_use]
    pub fn sent(&self) -> usize {
        self.shared.recorder.count()
    }

    /// The requests after the first `count`.
    #[must_use]
    pub fn requests_after(&self, count: usize) -> Vec<Recorded> {
        self.shared.recorder.after(count)
    }

    /// Requests that have taken long since the last call of this function, those of a plan's copy to its server included.
    #[must_use]
    pub fn take_delays(&self) -> Vec<Delay> {
        let mut delays = self.wire().take_delays();
        if let Place::Copy(overlay) = &self.shared.place {
            delays.extend(overlay.base().take_delays());
        }
        delays
    }

    /// Kinds that the server serves, as far as they are known without asking: for completion.
    #[must_use]
    pub fn known_kinds(&self) -> Vec<Rc<Resource>> {
        self.shared.known.borrow().clone()
    }

    pub(super) fn gate(&self) -> &Gate {
        &self.shared.gate
    }

    pub(super) fn wire(&self) -> &Wire {
        &self.shared.wire
    }

    /// The stamp of the next write: `RUN/SEQ/EPOCH`. The epoch counts the processes that worked on the run.
    pub(super) fn next_op(&self) -> String {
        let seq = self.shared.writes.get() + 1;
        self.shared.writes.set(seq);
        let epoch = self.shared.keeper.borrow().as_ref().map_or(1, |keeper| keeper.epoch());
        format!("{}/{seq}/{epoch}", self.shared.run.get())
    }

    pub(super) fn call(&self, verb: Verb, target: &Target, subresource: Option<&str>) -> Call {
        let act = Act {
            verb,
            group: target.resource.group.clone(),
            version: target.resource.version.clone(),
            resource: target.resource.plural.clone(),
            namespace: target.namespace.clone(),
            name: Some(target.name.clone()),
            subresource: subresource.map(str::to_owned),
        };
        Call { object: Some(target.full_name()), ..Call::new(act, format!("`{target}`")) }
    }

    pub(super) fn collection(&self, verb: Verb, resource: &Resource, namespace: Option<&str>, select: &Select) -> Call {
        let namespace = namespace.filter(|_| resource.namespaced).map(str::to_owned);
        let about = match &namespace {
            Some(namespace) if **namespace != *self.namespace => format!("{} in `{namespace}`", resource.plural),
            _ => resource.plural.clone(),
        };
        let act = Act {
            verb,
            group: resource.group.clone(),
            version: resource.version.clone(),
            resource: resource.plural.clone(),
            namespace,
            name: None,
            subresource: None,
        };
        let mut call = Call::new(act, about);
        if let Some(labels) = &select.labels {
            call = call.query("labelSelector", labels.clone());
        }
        if let Some(fields) = &select.fields {
            call = call.query("fieldSelector", fields.clone());
        }
        call
    }
}
