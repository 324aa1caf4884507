//! What a run may do: by its runbook's `permissions`, else by the plan that was accepted. What neither grants is asked for on a
//! terminal, once, and refused where nobody is there. A plan keeps the runbook's permissions too, so that a reviewer sees what lacks.

use std::rc::Rc;

use futures::future::LocalBoxFuture;

use super::event::What;
use super::runbook::Runbook;
use super::session::Session;
use crate::base::Result;
use crate::cluster::Cluster;
use crate::cluster::permit::{GrantedBy, Grantor, Permissions};

/// Restricts the cluster of a plan or run that begins.
pub(super) fn begin(cluster: &Cluster, runbook: &Runbook, what: What, session: &Rc<Session>) {
    match (&runbook.permissions, cluster.planned()) {
        (Some(permissions), _) => cluster.restrict(permissions.clone(), GrantedBy::Block),
        (None, Some(planned)) if what == What::Run => cluster.restrict(planned.permissions(), GrantedBy::Plan),
        // Whoever runs without a plan says what is granted then ([`unplanned`]).
        (None, _) => {}
    }
    if what == What::Run {
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
    fn grants<'a>(&'a self, question: &'a str) -> LocalBoxFuture<'a, Result<bool>> {
        Box::pin(self.0.granted(question))
    }
}
