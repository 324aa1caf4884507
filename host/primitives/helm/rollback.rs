//! `helm.rollback`: a release as an earlier revision had it.

use super::binary::{Helm, TIMEOUT};
use super::change::{Work, operation, result};
use super::contents;
use super::interrupted;
use super::release::{Place, Release, ReleaseRef, Stored};
use super::rendered;
use crate::base::{Error, Kind, Reason, Result, Span};
use crate::primitive;
use crate::primitives::cx::Cx;
use crate::primitives::done::Done;

primitive! {
    /// Makes a release as an earlier revision had it, by the real helm, and waits for its workloads.
    ///
    /// Without `revision` it is the last good one: the deployed one when the last revision failed, else the one before it. (helm itself
    /// counts back by one, which after two failures is a failed one.) The rollback is a new revision. When the release is as that
    /// revision had it already, nothing is sent.
    pub write fn helm.rollback as HelmRollback(
        /// The release, for example `cilium`, or `kube-system/cilium`.
        release: ReleaseRef,
    ) options {
        /// The namespace, when the release names none.
        namespace: Option<String>,
        /// The revision to go back to.
        revision: Option<u32>,
        /// The time for each of helm's waits, such as a hook; default 5 minutes.
        timeout: Option<Span>,
        /// The time that a workload may make no progress; default 3 minutes.
        stall: Option<Span>,
        /// Waits for the workloads of the release; default true. With false that is the script's: `wait_rollout` of each.
        wait: Option<bool>,
    } -> "{ changed: boolean, revision: number, previous_revision: number, status: string, chart: string, chart_version: Version | string, app_version: Version | string, notes: string }",
        "the release as it is now";
    since "0.1";
    example r#"helm.rollback("cilium", { revision = 3 })"#;
    needs ["get,list,create,update,delete secrets", "list configmaps"];
}

impl HelmRollback {
    async fn run(self, cx: Cx) -> Result<Done> {
        let place = cx.release(&self.release, self.namespace.as_deref());
        let before = cx.revisions_there(&place, "rolling back").await?;
        let timeout = self.timeout.unwrap_or(TIMEOUT);
        let stall = self.stall;
        let mut work = Work {
            cx: &cx,
            place: &place,
            doing: "rolling back",
            word: "rollback",
            before,
            timeout,
            stall,
            wait: self.wait != Some(false),
            earlier: Vec::new(),
            begun: operation(&cx, &place, "rollback"),
        };
        if let Some(made) = interrupted::found(&mut work).await? {
            return work.done(made).await;
        }
        let Some(last) = work.last()? else { return Err(Error::internal("a release without revisions")) };
        work.unlocked(&last)?;
        back(work, &last, self.revision.map(i64::from)).await
    }
}

/// Goes back to this revision, or to the last good one.
pub(super) async fn back(work: Work<'_>, last: &Release, revision: Option<i64>) -> Result<Done> {
    let to = aim(work.place, &work.before, revision)?.release()?;
    let items = contents::look(work.cx, work.place, &work.doing(), &[last.manifest(), to.manifest()]).await?;
    let is_there = last.status() == "deployed"
        && last.manifest() == to.manifest()
        && last.config() == to.config()
        && last.chart() == to.chart()
        && contents::stands(&items);
    if is_there {
        return Ok(Done::unchanged(result(false, Some(last), Some(last.revision()))));
    }
    if rendered::is_ours(work.cx, &to) || rendered::is_ours(work.cx, last) {
        return rendered::rollback(work, &to, items).await;
    }
    let mut helm = Helm::new(work.cx, work.driver()).await?;
    let words = work.words(&[&work.place.name, &to.revision().to_string()]);
    let made = work.carried_out(&mut helm, &words, items).await?;
    work.done(made).await
}

/// The revision to go back to.
fn aim<'a>(place: &Place, revisions: &'a [Stored], wanted: Option<i64>) -> Result<&'a Stored> {
    let numbers = || revisions.iter().map(|stored| stored.revision().to_string()).collect::<Vec<_>>().join(", ");
    let Some(wanted) = wanted else {
        let is_good = |stored: &&Stored| ["deployed", "superseded"].contains(&stored.status());
        let earlier = revisions.split_last().map_or(&[][..], |(_, earlier)| earlier);
        return earlier.iter().rev().find(is_good).ok_or_else(|| {
            let message = format!("rolling back release `{place}`: no earlier revision of it was ever good");
            Error::new(Kind::Cluster, Reason::NotFound, message)
                .about(place.full_name())
                .hint(format!("its revisions are {}; `helm.uninstall` takes it away", numbers()))
        });
    };
    revisions.iter().find(|stored| stored.revision() == wanted).ok_or_else(|| {
        Error::not_found(format!("rolling back release `{place}`: it has no revision {wanted}"))
            .about(place.full_name())
            .hint(format!("its revisions are {}", numbers()))
    })
}
