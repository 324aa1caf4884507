//! `helm.uninstall`: a release goes, with everything that it put into the cluster.

use super::binary::{Helm, TIMEOUT};
use super::change::{Work, operation, result};
use super::contents;
use super::release::{Release, ReleaseRef};
use super::rendered;
use crate::base::{Result, Span};
use crate::primitive;
use crate::primitives::cx::Cx;
use crate::primitives::done::Done;

primitive! {
    /// Uninstalls a release, by the real helm, and waits until its objects are gone.
    ///
    /// A release that is not there is nothing to do. Objects with the annotation `helm.sh/resource-policy: keep`, definitions of custom
    /// resources and what they defined stay. There is no way back: the history goes too.
    pub write fn helm.uninstall as HelmUninstall(
        /// The release, for example `cilium`, or `kube-system/cilium`.
        release: ReleaseRef,
    ) options {
        /// The namespace, when the release names none.
        namespace: Option<String>,
        /// The time for each of helm's waits, such as a hook; default 5 minutes.
        timeout: Option<Span>,
    } -> "{ changed: boolean, previous_revision: number? }", "whether there was something to do";
    since "0.1";
    example r#"helm.uninstall("old-agent")"#;
    needs ["get,list,update,delete secrets", "list configmaps"];
}

impl HelmUninstall {
    async fn run(self, cx: Cx) -> Result<Done> {
        let place = cx.release(&self.release, self.namespace.as_deref());
        let before = cx.revisions_of(&place).await?;
        let timeout = self.timeout.unwrap_or(TIMEOUT);
        let work = Work {
            cx: &cx,
            place: &place,
            doing: "uninstalling",
            word: "uninstall",
            before,
            timeout,
            stall: None,
            wait: false,
            earlier: Vec::new(),
            begun: operation(&cx, &place, "uninstall"),
        };
        let Some(last) = work.last()? else { return gone(work).await };
        if is_at_work(&last) {
            work.unlocked(&last)?;
        }
        let items = contents::look(&cx, &place, &work.doing(), &[last.manifest(), ""]).await?;
        if rendered::is_ours(&cx, &last) {
            return rendered::uninstall(work, items).await;
        }
        let mut helm = Helm::new(&cx, work.driver()).await?;
        let mut words = work.words(&[&place.name]);
        words.push("--wait".into());
        let made = work.carried_out(&mut helm, &words, items).await?;
        let previous = Some(last.revision());
        Ok(Done::changed(result(true, None, previous), made.wrote))
    }
}

/// Nothing is there: it was never there, or it went before this call was interrupted.
async fn gone(work: Work<'_>) -> Result<Done> {
    let Some((about, _)) = work.begun.before() else { return Ok(Done::unchanged(result(false, None, None))) };
    let previous = about["revision"].as_i64();
    work.intend()?;
    let made = work.looked(Vec::new()).await?;
    work.begun.became(&Ok(()))?;
    Ok(Done::changed(result(true, None, previous), made.wrote))
}

/// Whether somebody may be at work on it. An installation that never ended is taken away like any other.
fn is_at_work(last: &Release) -> bool {
    last.is_pending() && last.status() != "pending-install" && last.status() != "uninstalling"
}
