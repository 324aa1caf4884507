//! The way of a cluster's own requests past its permissions: a missing grant is asked for once, before anything is sent. The guard
//! judges again what is then sent, and asks nobody.

use std::rc::Rc;

use futures::future::LocalBoxFuture;

use super::{GrantedBy, Lacking, Line, Permissions, Permit, Planned, Spent, Wanted};
use crate::base::Result;
use crate::base::json::Value as Json;
use crate::cluster::client::Cluster;
use crate::cluster::request::{Act, Call, Verb};

/// Who can be asked for what no permission grants.
pub trait Grantor {
    /// Whether it may be done all the same: what this line grants, for as long as the run goes on. Where several things of a run want to
    /// know the same at once, one of them asks; `answered` says what came of it.
    ///
    /// # Errors
    /// When asking failed or was interrupted, or the answer cannot be kept.
    fn grants<'a>(&'a self, question: &'a str, line: &'a Line, answered: &'a dyn Fn() -> Option<bool>) -> LocalBoxFuture<'a, Result<bool>>;
}

impl Cluster {
    /// From now on only this may be written, by everything that goes through this cluster.
    pub fn restrict(&self, permissions: Permissions, by: GrantedBy) {
        self.permit().restrict(permissions, by);
    }

    /// Whom to ask for what is not granted; nobody when `None`.
    pub fn set_grantor(&self, grantor: Option<Rc<dyn Grantor>>) {
        *self.shared.grantor.borrow_mut() = grantor;
    }

    /// Keeps what a plan on its planning twin asked for: accepting it grants that. `open`: it ended where nobody knows how it goes on.
    pub fn remember_plan(&self, twin: &Cluster, open: bool) {
        self.permit().keep_planned(Planned { open, requests: twin.requests(), ..twin.permit().asked() });
    }

    /// What the newest plan on this cluster asked for.
    #[must_use]
    pub fn planned(&self) -> Option<Planned> {
        self.permit().planned()
    }

    /// The same of a plan that was made before: a run that goes on keeps what was granted.
    pub fn set_planned(&self, planned: Planned) {
        self.permit().keep_planned(planned);
    }

    /// With `true`, what no line grants may be done too, until `false`: for taking back what was granted once. What a line takes away, and
    /// limits, stand.
    pub fn lift_permissions(&self, lifted: bool) {
        self.permit().lift(lifted);
    }

    /// What a person allowed before, when they were asked: a run that goes on does not ask again.
    pub fn set_granted(&self, lines: impl IntoIterator<Item = Line>) {
        lines.into_iter().for_each(|line| self.permit().answered(line, true));
    }

    /// How much of the limits is used up.
    #[must_use]
    pub fn spent(&self) -> Spent {
        self.permit().spent()
    }

    /// Sets how much of the limits is used up: a run that goes on begins with what it had.
    pub fn set_spent(&self, spent: Spent) {
        self.permit().set_spent(spent);
    }

    /// Comes back when helm may install this chart, as the runbook calls it.
    ///
    /// # Errors
    /// `refused`, with the line that would grant it; those of asking.
    pub async fn permits_chart(&self, chart: &str) -> Result<()> {
        self.granted(|permit| permit.look_chart(chart)).await
    }

    /// Comes back when this may be run on the machine of this node.
    ///
    /// # Errors
    /// `refused`, with the line that would grant it; those of asking.
    pub async fn permits_command(&self, node: &str, words: &[String]) -> Result<()> {
        self.granted(|permit| permit.look_command(node, words)).await
    }

    /// Counts a command that is about to be begun on the machine of this node.
    ///
    /// # Errors
    /// `refused`, with the line that would grant it, or when a limit is reached.
    pub(in crate::cluster) fn counts_command(&self, node: &str, words: &[String]) -> Result<()> {
        if self.gate().is_by_hand() { Ok(()) } else { self.permit().command(node, words) }
    }

    /// Comes back when nothing lacks for this: a person may give it.
    async fn granted(&self, look: impl Fn(&Permit) -> Result<(), Lacking>) -> Result<()> {
        if self.gate().is_by_hand() {
            return Ok(());
        }
        let permit = self.permit();
        let Err(Lacking { error, line }) = look(permit) else { return Ok(()) };
        let grantor = self.shared.grantor.borrow().clone();
        let (Some(grantor), Some(line)) = (grantor, line) else { return Err(error) };
        let causes: String = error.causes.iter().map(|cause| format!("\n  {cause}")).collect();
        let question = format!("{}{causes}\nAllow `{}` for this run?", error.message, line.text());
        let yes = grantor.grants(&question, &line, &|| permit.answer(&line)).await?;
        permit.answered(line, yes);
        if !yes {
            return Err(error);
        }
        // A yes to the line lifts no limit.
        look(permit).map_err(|lacking| lacking.error)
    }

    /// From now on what is done here stands for what people do, on their own rights: the run's permissions do not count, nor does it count as
    /// asked for by the run; with `false` it is the run's again. For plans and simulated clusters.
    pub fn set_by_hand(&self, by_hand: bool) {
        self.gate().set_by_hand(by_hand);
    }

    /// A pod that lockgate makes for itself, to reach a machine; with `false` it is gone again.
    pub(in crate::cluster) fn own_pod(&self, namespace: &str, name: &str, is: bool) {
        self.permit().own(namespace, name, is);
    }

    pub(in crate::cluster) fn permit(&self) -> &Permit {
        self.gate().permit()
    }

    /// Notes whose the pods are that were read.
    pub(in crate::cluster) fn learn<'a>(&self, group: &str, plural: &str, objects: impl IntoIterator<Item = &'a Json>) {
        if group.is_empty() && plural == "pods" && self.permit().wants_owners() {
            self.permit().learn(objects);
        }
    }

    /// Comes back when this request may be sent: it is granted, and there is room for it in this minute.
    ///
    /// # Errors
    /// `refused`, with the line that would grant it; those of asking.
    pub(in crate::cluster) async fn permitted(&self, call: &Call) -> Result<()> {
        let permit = self.permit();
        if Permit::is_free(&call.act) || self.gate().is_by_hand() || !permit.is_watching() {
            return Ok(());
        }
        self.gate().opens_for(&call.act)?;
        if permit.wants_owners() && permit.is_unknown(&call.act) {
            self.look_whose(&call.act).await;
        }
        let request = call.to_http()?;
        let uri = request.uri();
        let (path, query) = (uri.path(), uri.query().unwrap_or_default());
        let wanted = Wanted::of(request.method(), path, query, call.content_type, request.body());
        self.granted(|permit| permit.look(&wanted)).await?;
        while let Some(next) = permit.next_write(self.clock().now()) {
            self.rest(next).await?;
        }
        Ok(())
    }

    /// Finds out whose a pod is. Where it cannot be read, its name alone counts.
    async fn look_whose(&self, act: &Act) {
        let (Some(namespace), Some(name)) = (&act.namespace, &act.name) else { return };
        if act.verb == Verb::Create && act.subresource.is_none() {
            return;
        }
        let Ok(resource) = self.resolve("pod", None).await else { return };
        let pod = self.object(resource, Some(namespace.clone()), name.clone());
        if let Ok(pod) = self.as_it_is(&pod, None).await {
            self.permit().learn([&*pod]);
        }
    }
}
