//! What the copy reads, and when: what a request names, and what controllers need to carry on what was written.

use std::collections::BTreeSet;
use std::sync::PoisonError;

use crate::base::json::{Value as Json, json};
use lockgate_sim::request::Request as SimRequest;
use lockgate_sim::{Part, Scope, kinds};

use super::Overlay;
use crate::base::{Error, Reason, Result, Timestamp};
use crate::cluster::page::{self, Step};
use crate::cluster::request::{Act, Call, Verb};

/// Objects a page when all of a kind are read that there may be many of.
const LARGE_PAGE: &str = "1000";
/// The same as a number.
const LARGE: u64 = 1_000;
/// Objects a page otherwise: what `kubectl` asks for too.
const PAGE: &str = "500";
/// So many objects of a kind and namespace are asked for by name before all of them are read.
const BY_NAME: usize = 8;
/// Kinds that there are many of and that controllers write: field ownership is the larger part of them, and nobody applies them.
const UNOWNED: [&str; 8] = ["Pod", "Node", "ReplicaSet", "ControllerRevision", "Endpoints", "EndpointSlice", "Event", "Lease"];

/// For whom something is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum For {
    /// A request: it is read, whatever it takes.
    Request,
    /// A simulated controller: as far as the budget goes.
    Controller,
}

impl Overlay {
    /// Reads what a request needs.
    pub(super) async fn prepare(&self, request: &SimRequest) -> Result<()> {
        loop {
            let missing = self.simulation.with(|sim| {
                let mut scopes = sim.scopes(request);
                scopes.retain(|scope| !sim.is_loaded(scope));
                scopes
            });
            if missing.is_empty() {
                return Ok(());
            }
            for scope in missing {
                self.load(scope, For::Request).await?;
            }
        }
    }

    /// Reads what the controllers ask for until they come to rest.
    pub(super) async fn settle(&self) -> Result<()> {
        let mut before = BTreeSet::new();
        loop {
            let needs = self.simulation.with(|sim| {
                sim.settle();
                sim.needs()
            });
            if needs.is_empty() {
                return Ok(());
            }
            if needs.iter().any(|scope| !before.insert(scope.clone())) {
                return Err(Error::internal("the simulated cluster asks twice for the same objects"));
            }
            // What is wide may save what is narrow.
            let (narrow, wide): (Vec<_>, Vec<_>) = needs.into_iter().partition(|scope| matches!(scope.part, Part::Name(_)));
            for scope in wide {
                self.load(scope, For::Controller).await?;
            }
            self.load_named(narrow).await?;
        }
    }

    /// Time goes on, as far as what is known lets it.
    pub(super) async fn advance_to(&self, to: Timestamp) -> Result<()> {
        loop {
            self.settle().await?;
            let (whole, stuck) = self.simulation.with(|sim| (sim.advance_to(to), sim.needs().is_empty()));
            if whole {
                return self.settle().await;
            }
            if stuck {
                return Err(Error::internal("the simulated cluster stopped in the middle of a step in time"));
            }
        }
    }

    /// Single objects: many of one kind are one list.
    async fn load_named(&self, scopes: Vec<Scope>) -> Result<()> {
        for scope in &scopes {
            if self.is_loaded(scope) {
                continue;
            }
            let place = (scope.kind.plural, scope.namespace.clone());
            let same = scopes.iter().filter(|other| other.kind == scope.kind && other.namespace == scope.namespace).count();
            let asked = self.read().named.get(&place).copied().unwrap_or_default();
            if asked + same > BY_NAME {
                self.load(Scope::all(scope.kind, scope.namespace.as_deref()), For::Controller).await?;
            }
            if !self.is_loaded(scope) {
                *self.read().named.entry(place).or_default() += 1;
                self.load(scope.clone(), For::Controller).await?;
            }
        }
        Ok(())
    }

    fn is_loaded(&self, scope: &Scope) -> bool {
        self.simulation.with(|sim| sim.is_loaded(scope))
    }

    /// Copies what a scope holds.
    async fn load(&self, scope: Scope, whom: For) -> Result<()> {
        if self.is_loaded(&scope) {
            return Ok(());
        }
        if whom == For::Controller && self.read().calls >= self.budget.calls {
            let why = format!("not read: the plan may send {} requests (`--overlay-calls`)", self.budget.calls);
            self.leave_out(scope, &why, None);
            return Ok(());
        }
        let (about, call) = asking(&scope);
        let read = match &scope.part {
            Part::Name(_) => self.one(&scope, &call).await,
            Part::All | Part::Selected { .. } | Part::Reduced => self.many(&scope, &call, whom).await,
        };
        match read {
            Ok(()) => Ok(()),
            Err(error) if matches!(error.reason, Reason::Forbidden | Reason::Unsupported | Reason::Unmodelled) => {
                self.leave_out(scope, &why(&error), Some(&error));
                Ok(())
            }
            Err(error) => Err(error.context(format!("copying {about} for the plan"))),
        }
    }

    /// What is not known of: controllers take it for empty, and the plan lists it.
    fn leave_out(&self, scope: Scope, why: &str, error: Option<&Error>) {
        let about = about(&scope);
        let mut unknowns = self.unknowns.lock().unwrap_or_else(PoisonError::into_inner);
        if unknowns.insert(format!("{about}: {why}")) {
            tracing::info!(target: "lockgate::plan", %about, %why, "is not read: unknown in this plan");
        }
        drop(unknowns);
        // The answer says what the server said; what would be needed is said of each request by itself.
        let cause = error.and_then(|error| error.causes.first()).map_or(why, String::as_str);
        let status = refusal(error, cause);
        self.simulation.with(|sim| sim.load_refused(scope, status));
    }

    async fn one(&self, scope: &Scope, call: &Call) -> Result<()> {
        self.count();
        let objects = match self.base.json(call).await {
            Ok(object) => vec![std::sync::Arc::unwrap_or_clone(object)],
            Err(error) if error.details["code"] == 404 => Vec::new(),
            Err(error) => return Err(error),
        };
        self.admission.copied(scope.kind, objects.iter());
        self.read().take(scope, &objects);
        self.learn(scope, &objects);
        self.simulation.with(|sim| sim.load(scope.clone(), objects));
        Ok(())
    }

    /// All lists of a kind are of one moment, that of the first, as long as the server remembers it.
    async fn many(&self, scope: &Scope, call: &Call, whom: For) -> Result<()> {
        let moment = self.read().moments.get(scope.kind).cloned();
        if let Some(moment) = moment {
            match self.pages(scope, &page::at_moment(call, &moment), whom).await {
                Err(error) if matches!(error.details["code"].as_u64(), Some(400 | 410 | 501 | 504)) => {
                    tracing::debug!(target: "lockgate::plan", about = %about(scope), %error, "is read as it is now");
                }
                other => return other.map(drop),
            }
        }
        let version = self.pages(scope, call, whom).await?;
        if !version.is_empty() {
            self.read().moments.insert(scope.kind, version);
        }
        Ok(())
    }

    /// Reads a list page by page; gives its resource version.
    async fn pages(&self, scope: &Scope, call: &Call, whom: For) -> Result<String> {
        let kind = scope.kind;
        let reduced = scope.part == Part::Reduced;
        let mut over = None;
        let mut found = 0;
        let api_version = kind.api_version();
        self.count();
        let version = {
            let mut take = |step| {
                let Step::Page(objects, left) = step else { return true };
                found += objects.len();
                self.admission.copied(kind, objects.iter());
                let objects: Vec<Json> = match UNOWNED.contains(&kind.kind) {
                    true => objects.into_iter().map(without_managed_fields).collect(),
                    false => objects,
                };
                self.read().take(scope, &objects);
                self.learn(scope, &objects);
                self.simulation.with(|sim| sim.load_part(scope, objects));
                if left > 0 {
                    self.read().calls += 1;
                }
                over = self.over(left).filter(|_| whom == For::Controller).map(|why| (why, left));
                over.is_none()
            };
            let size = if reduced || scope.namespace.is_none() { LARGE_PAGE } else { PAGE };
            page::each(&self.base, call, (&api_version, kind.kind), size, &mut take).await?
        };
        match over {
            Some((why, left)) => {
                let why = format!("{found} of {} were read: {why}; what depends on the others is assumed", found as u64 + left);
                self.leave_out(scope.clone(), &why, None);
            }
            None => self.simulation.with(|sim| sim.load_done(scope.clone())),
        }
        Ok(version)
    }

    /// The pods of the cluster say how long the next ones take.
    fn learn(&self, scope: &Scope, objects: &[Json]) {
        if scope.kind.is(kinds::POD) && scope.part != Part::Reduced {
            let mut starts = self.starts.lock().unwrap_or_else(PoisonError::into_inner);
            self.simulation.with(|sim| starts.learn(objects.iter(), sim.models_mut()));
        }
    }

    /// Why a list cannot be read to its end, of which so many objects are left.
    fn over(&self, left: u64) -> Option<String> {
        let (calls, bytes) = {
            let read = self.read();
            (read.calls, read.bytes)
        };
        if left == 0 {
            return None;
        }
        if bytes > self.budget.bytes {
            return Some(format!("the plan may hold about {} MiB (`--overlay-mem`)", self.budget.bytes >> 20));
        }
        let wanted = calls + left.div_ceil(LARGE);
        (wanted > self.budget.calls).then(|| format!("the plan may send {} requests (`--overlay-calls`)", self.budget.calls))
    }

    /// One more request.
    fn count(&self) {
        self.read().calls += 1;
    }

    /// What the machine of a node may be asked for: its node, what stands beside it, and what runs there.
    pub(in crate::cluster) async fn machines(&self) -> Result<()> {
        let _turn = self.turn.lock().await;
        let of_system = |kind| Scope::all(kind, Some("kube-system"));
        for scope in [Scope::all(kinds::NODE, None), of_system(kinds::POD), of_system(kinds::CONFIG_MAP)] {
            self.load(scope, For::Controller).await?;
        }
        self.settle().await
    }
}

impl super::Read {
    fn take(&mut self, scope: &Scope, objects: &[Json]) {
        if scope.part == Part::Reduced {
            let weight: usize = objects.iter().map(|object| weight(&lockgate_sim::reduced(object))).sum();
            self.bytes += weight as u64;
            return;
        }
        self.bytes += objects.iter().map(weight).sum::<usize>() as u64;
        self.inputs.take(scope, objects);
    }
}

/// About how much memory a document takes.
fn weight(value: &Json) -> usize {
    const MEMBER: usize = 56;
    const TEXT: usize = 24;
    let text = |text: &str| if text.len() > 15 { text.len() + TEXT } else { 0 };
    match value {
        Json::Null | Json::Bool(_) | Json::Number(_) => 0,
        Json::String(string) => text(string),
        Json::Array(items) => items.iter().map(|item| TEXT + weight(item)).sum(),
        Json::Object(map) => map.iter().map(|(_, value)| MEMBER + weight(value)).sum(),
    }
}

/// Why something cannot be read, with the right that would be needed.
pub(super) fn why(error: &Error) -> String {
    let cause = error.causes.first().unwrap_or(&error.message);
    match error.hint.as_ref().filter(|_| error.reason == Reason::Forbidden) {
        Some(hint) => format!("{cause}; {hint}"),
        None => cause.clone(),
    }
}

/// What a scope is, for people.
fn about(scope: &Scope) -> String {
    let kind = scope.kind.plural;
    let place = scope.namespace.as_ref().map_or_else(String::new, |namespace| format!(" in namespace `{namespace}`"));
    match &scope.part {
        Part::Name(name) => format!("{} `{name}`{place}", scope.kind.singular),
        Part::All | Part::Reduced => format!("{kind}{place}"),
        Part::Selected { labels, fields } => {
            let selected: Vec<&str> = [labels.as_str(), fields.as_str()].into_iter().filter(|text| !text.is_empty()).collect();
            format!("{kind} with `{}`{place}", selected.join(","))
        }
    }
}

/// How it is asked for.
pub(in crate::cluster) fn asking(scope: &Scope) -> (String, Call) {
    let kind = scope.kind;
    let name = match &scope.part {
        Part::Name(name) => Some(name.clone()),
        Part::All | Part::Selected { .. } | Part::Reduced => None,
    };
    let act = Act {
        verb: if name.is_some() { Verb::Get } else { Verb::List },
        group: kind.group.to_owned(),
        version: kind.version.to_owned(),
        resource: kind.plural.to_owned(),
        namespace: scope.namespace.clone(),
        name,
        subresource: None,
    };
    let about = about(scope);
    let mut call = Call::new(act, about.as_str());
    if let Part::Selected { labels, fields } = &scope.part {
        for (parameter, text) in [("labelSelector", labels), ("fieldSelector", fields)] {
            if !text.is_empty() {
                call = call.query(parameter, text.clone());
            }
        }
    }
    (about, call)
}

/// The `Status` that reading what was left out is answered with.
fn refusal(error: Option<&Error>, cause: &str) -> Json {
    let detail = |name: &str| error.and_then(|error| error.details.get(name)).cloned();
    let code = detail("code").and_then(|code| code.as_u64()).unwrap_or(403);
    let reason = detail("reason").and_then(|reason| reason.as_str().map(str::to_owned)).unwrap_or_else(|| "Forbidden".to_owned());
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": code, "reason": reason, "message": cause})
}

fn without_managed_fields(mut object: Json) -> Json {
    if let Some(meta) = object.get_mut("metadata").and_then(Json::as_object_mut) {
        drop(meta.remove("managedFields"));
    }
    object
}
