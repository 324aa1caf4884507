//! Foreign actors: other programs that change the same nodes or objects, found before the first write of a run
//! (`reference/safety.md` §2.5).
//!
//! What would undo the run on nodes, or race it there, refuses it: kured with its lock held, running jobs of the
//! system-upgrade-controller, machines of Cluster API in the middle of a roll-out, a node that somebody else drains. What may get in the
//! way is warned of: kured at rest, autoscalers, planned maintenance, Argo CD and Flux on objects that the plan writes. Reads only, one
//! list a kind; a kind that is not served, or may not be read, is skipped, and that is said.

mod nodes;
mod owned;

use crate::base::{Error, Kind, Reason, Result};
use crate::cluster::permit::Planned;
use crate::cluster::{Cluster, Listed, Recorded, Select, Verb};

/// What a run is going to touch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Touch {
    /// Whether it changes nodes, or pods by way of their node.
    pub nodes: bool,
    /// The objects that it writes: plural name with group, namespace, name.
    pub objects: Vec<(String, Option<String>, String)>,
}

impl Touch {
    /// What the requests of a plan wrote.
    #[must_use]
    pub fn of(requests: &[Recorded]) -> Touch {
        let mut touch = Touch::default();
        for request in requests.iter().filter(|request| request.verb.is_write()) {
            let part = request.subresource.as_deref();
            touch.nodes |= request.resource == "nodes" || (request.resource == "pods" && matches!(part, Some("eviction")));
            let Some(name) = &request.name else { continue };
            let object = (request.resource.clone(), request.namespace.clone(), name.clone());
            let whole = matches!(request.verb, Verb::Patch | Verb::Update | Verb::Delete) && request.resource != "pods";
            if whole && !touch.objects.contains(&object) {
                touch.objects.push(object);
            }
        }
        touch
    }

    /// What a plan wrote. A run may touch nodes, too, when its plan ended where nobody knows how it goes on.
    #[must_use]
    pub fn of_plan(planned: &Planned) -> Touch {
        let touch = Touch::of(&planned.requests);
        Touch { nodes: touch.nodes || planned.open, ..touch }
    }

    /// What nobody knows beforehand: it counts as everything.
    #[must_use]
    pub fn unknown() -> Touch {
        Touch { nodes: true, objects: Vec::new() }
    }
}

/// Another program that works on the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor {
    /// What it does.
    pub what: String,
    /// What to do about it.
    pub hint: String,
    /// Whether the run would be undone or raced by it.
    pub refuses: bool,
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// The programs.
    pub actors: Vec<Actor>,
    /// What could not be looked at, and why.
    pub skipped: Vec<String>,
}

impl Found {
    fn refuses(&mut self, what: impl Into<String>, hint: impl Into<String>) {
        self.add(what.into(), hint.into(), true);
    }

    fn warns(&mut self, what: impl Into<String>, hint: impl Into<String>) {
        self.add(what.into(), hint.into(), false);
    }

    fn add(&mut self, what: String, hint: String, refuses: bool) {
        self.actors.push(Actor { what, hint, refuses });
    }

    /// The warnings, one text each.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        self.actors.iter().filter(|actor| !actor.refuses).map(|actor| format!("{}: {}", actor.what, actor.hint)).collect()
    }

    /// Goes on unless something refuses the run.
    ///
    /// # Errors
    /// Refused (exit 5), with each program that is in the way as a cause.
    pub fn admits(&self, cluster: &str) -> Result<()> {
        let mut in_the_way = self.actors.iter().filter(|actor| actor.refuses).peekable();
        let Some(first) = in_the_way.peek() else { return Ok(()) };
        let message = format!("another program is changing the nodes of `{cluster}`: nothing was written");
        let error = Error::new(Kind::Refused, Reason::Refused, message).hint(first.hint.clone());
        Err(in_the_way.fold(error, |error, actor| error.cause(actor.what.clone())))
    }
}

/// Looks for other programs that would touch what this run touches.
///
/// # Errors
/// When the server does not answer; `interrupted`.
pub async fn look(cluster: &Cluster, touch: &Touch) -> Result<Found> {
    // A look beside the run: what it asks is none of the run's requests.
    looked(&cluster.aside(), touch).await
}

/// What looking for other programs asks of the server, for whoever grants it.
///
/// # Errors
/// As [`look`].
pub async fn requests(cluster: &Cluster, touch: &Touch) -> Result<Vec<Recorded>> {
    let cluster = cluster.aside();
    looked(&cluster, touch).await?;
    Ok(cluster.requests())
}

async fn looked(cluster: &Cluster, touch: &Touch) -> Result<Found> {
    let mut found = Found::default();
    if touch.nodes {
        nodes::look(cluster, &mut found).await?;
    }
    owned::look(cluster, touch, &mut found).await?;
    Ok(found)
}

/// The objects of a kind; `None` where the server does not serve it or does not let this user list it.
async fn listed(
    cluster: &Cluster,
    kind: &str,
    group: &str,
    namespace: Option<&str>,
    select: &Select,
    found: &mut Found,
) -> Result<Option<Listed>> {
    let resource = match cluster.resolve(kind, Some(group)).await {
        Ok(resource) => resource,
        Err(error) if error.kind == Kind::Input => return Ok(None),
        Err(error) => return skip(error, kind, found),
    };
    match cluster.list(&resource, namespace, select).await {
        Ok(listed) => Ok(Some(listed)),
        Err(error) => skip(error, &resource.group_resource(), found),
    }
}

/// A read that is not allowed, or not served, leaves something unseen; every other error stops the run before it has begun.
fn skip<T>(error: Error, what: &str, found: &mut Found) -> Result<Option<T>> {
    match error.reason {
        Reason::Forbidden => found.skipped.push(format!("{what}: this user may not read them")),
        // Served by name only, or taken away meanwhile; a simulated cluster does not model it.
        Reason::Unsupported | Reason::NotFound | Reason::Unmodelled => {}
        _ => return Err(error),
    }
    Ok(None)
}
