//! What a run may do: by its runbook's `permissions`, else by the plan that was accepted. What neither grants is asked for on a
//! terminal, once, and refused where nobody is there. A plan keeps the runbook's permissions too, so that a reviewer sees what lacks.

use std::rc::Rc;

use futures::future::LocalBoxFuture;

use super::event::What;
use super::journal::Past;
use super::runbook::Runbook;
use super::session::Session;
use crate::base::Result;
use crate::base::json::Value as Json;
use crate::cluster::Cluster;
use crate::cluster::keep::{Open, Outcome, Prior, Sign};
use crate::cluster::permit::{GrantedBy, Grantor, Line, Permissions, Spent};

/// Restricts the cluster of a plan or run that begins.
pub(super) fn begin(cluster: &Cluster, runbook: &Runbook, what: What, session: &Rc<Session>) {
    match (&runbook.permissions, cluster.planned()) {
        (Some(permissions), _) => cluster.restrict(permissions.clone(), GrantedBy::Block),
        (None, Some(planned)) if what == What::Run => cluster.restrict(planned.permissions(), GrantedBy::Plan),
        // Whoever runs without a plan says what is granted then ([`unplanned`]).
        (None, _) => {}
    }
    asks(cluster, what, session);
}

/// The same for a rollback. What the host itself takes back was granted when it was done: the plan of the rollback shows it, and accepting
/// that grants it. What the runbook's own functions write needs the runbook's permissions, as ever.
pub(super) fn begin_rollback(cluster: &Cluster, runbook: &Runbook, what: What, session: &Rc<Session>) {
    let accepted = cluster.planned().filter(|_| what == What::Run).map(|planned| planned.permissions());
    match (runbook.permissions.clone(), accepted) {
        (Some(block), Some(accepted)) => cluster.restrict(block.and(accepted), GrantedBy::Block),
        (Some(block), None) => cluster.restrict(block, GrantedBy::Block),
        (None, Some(accepted)) => cluster.restrict(accepted, GrantedBy::Plan),
        (None, None) => {}
    }
    asks(cluster, what, session);
}

/// Whether the host's own inverses are let through as they come: in a plan, which shows them, and where there was none, or one that ended
/// where nobody knew how it goes on: then it did not show all of them.
pub(super) fn lets_inverses_through(cluster: &Cluster, what: What) -> bool {
    what == What::Plan || cluster.planned().is_none_or(|planned| planned.open)
}

/// Whom this cluster, or this branch of it, asks for what is not granted: in a run the operator of this session, in a plan nobody.
pub(super) fn asks(cluster: &Cluster, what: What, session: &Rc<Session>) {
    if what == What::Run {
        cluster.set_granted(session.granted_before());
        cluster.set_grantor(Some(Rc::new(Asks(session.clone()))));
    }
}

/// A run without a plan: without `permissions` of its runbook nothing is granted, and everything is asked for.
pub fn unplanned(cluster: &Cluster, runbook: &Runbook) {
    if runbook.permissions.is_none() {
        cluster.restrict(Permissions::default(), GrantedBy::Nobody);
    }
}

/// The operator of a run.
struct Asks(Rc<Session>);

impl Grantor for Asks {
    fn grants<'a>(&'a self, question: &'a str, line: &'a Line, answered: &'a dyn Fn() -> Option<bool>) -> LocalBoxFuture<'a, Result<bool>> {
        Box::pin(self.0.granted(question, line, answered))
    }
}

/// How much of the limits a run has used up, by what its journal says it wrote. What nobody knows of counts as made.
pub(super) fn spent(past: &Past) -> Spent {
    let mut spent = Spent { writes: past.newest.clone(), ..Spent::default() };
    let writes = past.places.values().flat_map(|place| &place.writes);
    for write in writes.filter(|write| !matches!(write.outcome, Some(Outcome::NotMade { .. }))) {
        let intent = &write.intent;
        match intent.object().split_once('/') {
            Some(("node", name)) if closes(write) => drop(spent.nodes.insert(name.to_owned())),
            Some(("pod", name)) if matches!(intent.key.verb.as_str(), "evict" | "delete") => {
                let uid = match &intent.sign {
                    Sign::Ended { uid } => uid.clone(),
                    _ => None,
                };
                spent.pods.insert(uid.unwrap_or_else(|| name.to_owned()));
            }
            _ => {}
        }
    }
    spent
}

/// Whether a write took a node out of service or ran a command there.
fn closes(write: &Open) -> bool {
    let open = |object: &Json| object.pointer("/spec/unschedulable") != Some(&Json::Bool(true));
    match (&write.intent.sign, &write.intent.prior, &write.outcome) {
        (Sign::Elsewhere, ..) => true,
        (_, Some(Prior::Was(before)), Some(Outcome::Made { after: Some(after) })) => open(before) && !open(after),
        (_, _, Some(Outcome::Made { after })) => after.as_ref().is_some_and(|after| !open(after)),
        _ => true,
    }
}
