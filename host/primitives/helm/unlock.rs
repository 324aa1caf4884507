//! `helm.unlock`: a release that a dead helm left in the middle.

use super::binary::TIMEOUT;
use super::change::{Work, operation, result};
use super::interrupted;
use super::release::{Release, ReleaseRef, Stored, deployed, write};
use super::rollback::back;
use crate::base::diff::Change;
use crate::base::json::Value as Json;
use crate::base::{Error, Kind, Reason, Result};
use crate::choice;
use crate::primitive;
use crate::primitives::cx::Cx;
use crate::primitives::done::{Done, Inverse, Wrote};

choice! {
    /// What becomes of a release whose operation never ended.
    pub enum UnlockTo {
        /// Its last revision counts as failed; nothing else changes.
        Failed = "failed",
        /// It is rolled back to the revision that Helm calls deployed.
        Rollback = "rollback",
    } is "\"failed\" | \"rollback\"", "\"failed\" or \"rollback\""
}

primitive! {
    /// Releases a release that an operation holds which never ended, because its helm was killed or lost its connection.
    ///
    /// `to = "failed"` (the default) only notes that the operation failed, so that the next upgrade can begin; `to = "rollback"` also
    /// puts the objects back as the deployed revision had them. Nobody can tell from the cluster whether a helm still lives: how long
    /// ago it began is noted. A release that nothing holds is left as it is.
    pub write fn helm.unlock as HelmUnlock(
        /// The release, for example `cilium`, or `kube-system/cilium`.
        release: ReleaseRef,
    ) options {
        /// The namespace, when the release names none.
        namespace: Option<String>,
        /// What becomes of it.
        to: Option<UnlockTo>,
    } -> "{ changed: boolean, revision: number, previous_revision: number, status: string }", "the release as it is now";
    since "0.1";
    example r#"helm.unlock("cilium", { to = "rollback" })"#;
    needs ["list,patch secrets", "list configmaps"];
}

impl HelmUnlock {
    async fn run(self, cx: Cx) -> Result<Done> {
        let place = cx.release(&self.release, self.namespace.as_deref());
        let before = cx.revisions_there(&place, "unlocking").await?;
        let mut work = Work {
            cx: &cx,
            place: &place,
            doing: "unlocking",
            word: "rollback",
            before,
            timeout: TIMEOUT,
            stall: None,
            wait: true,
            earlier: Vec::new(),
            begun: operation(&cx, &place, "unlock"),
        };
        if let Some(made) = interrupted::found(&mut work).await? {
            return work.done(made).await;
        }
        let (Some(stored), Some(last)) = (work.before.last().cloned(), work.last()?) else {
            return Err(Error::internal("a release without revisions"));
        };
        if !last.is_pending() {
            return Ok(Done::unchanged(result(false, Some(&last), Some(last.revision()))));
        }
        let age = super::change::locked(&cx, &place, &work.doing(), &stored, &last, TIMEOUT);
        cx.talk.note(&age.message);
        match self.to {
            None | Some(UnlockTo::Failed) => failed(&work, &stored, last).await,
            Some(UnlockTo::Rollback) => {
                let Some(good) = deployed(&work.before).map(Stored::revision) else {
                    let message = format!("{}: no revision of it is deployed, so that there is nothing to go back to", work.doing());
                    return Err(Error::new(Kind::Cluster, Reason::Precondition, message)
                        .about(place.full_name())
                        .hint("`helm.uninstall` takes away what an installation left; `to = \"failed\"` keeps it for the next upgrade"));
                };
                back(work, &last, Some(good)).await
            }
        }
    }
}

/// Notes in the record of the release that the operation failed, and in nothing else.
async fn failed(work: &Work<'_>, stored: &Stored, mut last: Release) -> Result<Done> {
    let was = last.status().to_owned();
    if let Some(info) = last.0.get_mut("info").and_then(Json::as_object_mut) {
        info.insert("status".to_owned(), "failed".into());
        info.insert("description".to_owned(), format!("unlocked by lockgate {}: it was `{was}`", work.cx.cluster.operation()).into());
    }
    write(work.cx, stored, &last).await?;
    let changes = vec![Change { path: "status".to_owned(), before: Some(was.into()), after: Some("failed".into()) }];
    let wrote = Wrote {
        verb: "unlock".to_owned(),
        target: format!("release/{}", work.place),
        changes,
        inverse: Inverse::Irreversible("an operation that was given up cannot be taken up again".to_owned()),
    };
    let previous = Some(last.revision());
    Ok(Done::changed(result(true, Some(&last), previous), wrote))
}
