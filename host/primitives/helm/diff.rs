//! `helm.diff`: what an upgrade or an installation would change in the cluster.

use std::rc::Rc;

use futures::future::LocalBoxFuture;

use super::explain;
use super::install::HelmInstall;
use super::release::ReleaseRef;
use super::upgrade::HelmUpgrade;
use super::values_file::ValuesFrom;
use crate::base::json::Value as Json;
use crate::base::{Error, Result, Value};
use crate::primitive;
use crate::primitives::cx::{AskOptions, Cx, Progress, Talk};
use crate::primitives::done::{Done, Wrote};
use crate::primitives::edit::rows;

primitive! {
    /// Tells what an upgrade of a release would change in the cluster, or an installation where there is no such release.
    ///
    /// The upgrade is really made, on a copy: what others changed meanwhile and helm would put back is told too, and what hooks do.
    /// Where helm 4 would end with a conflict, because somebody else set fields that it applies, these are among the changes, and a note
    /// says whose they are.
    /// What Secrets hold is hidden. Nothing is written to the cluster.
    pub read fn helm.diff as HelmDiff(
        /// The release, for example `cilium`, or `kube-system/cilium`.
        release: ReleaseRef,
        /// The chart: a name with `repo`, `oci://…`, or a path.
        chart: String,
    ) options {
        /// The namespace, when the release names none.
        namespace: Option<String>,
        /// The address of the chart's repository.
        repo: Option<String>,
        /// The chart's version, exactly; needed unless the chart is a path.
        version: Option<String>,
        /// Values for the chart.
        values: Option<Json>,
        /// Whether the release's values are kept beneath those given: `"previous"` or `"none"`. It must be said when the release exists.
        values_from: Option<ValuesFrom>,
        /// Applies the chart's definitions of custom resources first.
        crds: Option<bool>,
    } -> "{ changed: boolean, changes: { { path: string, before: any?, after: any? } }, notes: { string } }",
        "each field that would change, as `deployment/web spec.replicas`; an object that comes or goes by its name alone";
    since "0.1";
    example r#"for _, change in helm.diff("cilium", "./cilium", { values_from = "previous" }).changes do print(change.path) end"#;
    needs ["list secrets", "list configmaps"];
}

impl HelmDiff {
    async fn run(self, cx: Cx) -> Result<Done> {
        let place = cx.release(&self.release, self.namespace.as_deref());
        let exists = !cx.revisions_of(&place).await?.is_empty();
        let (heard, done) = match self.on_a_copy(&cx, exists, false).await {
            Err(error) if explain::is_about_fields(&error) => {
                let (heard, done) = self.on_a_copy(&cx, exists, true).await?;
                heard.note(&format!(
                    "the upgrade itself would be refused, because others own fields that it sets: {}",
                    error.causes.join(": ")
                ));
                (heard, done)
            }
            made => made?,
        };
        let mut all: Vec<Wrote> = heard.wrote.borrow().clone();
        all.extend(done.wrote.into_iter().filter(|wrote| !heard.wrote.borrow().contains(wrote)));
        let changes: Vec<_> = all
            .into_iter()
            .flat_map(|wrote| {
                let name = (!wrote.target.starts_with("release/")).then(|| wrote.target.clone());
                wrote.changes.into_iter().map(move |mut change| {
                    if let Some(name) = &name {
                        change.path = format!("{name} {}", change.path);
                    }
                    change
                })
            })
            // That there would be one more revision is no change of the cluster.
            .filter(|change| !["revision", "status"].contains(&change.path.as_str()))
            .collect();
        let notes: Vec<Value> = heard.notes.borrow().iter().map(|note| Value::from(note.clone())).collect();
        let changed = Value::from(!changes.is_empty());
        let fields = [("changed", changed), ("changes", Value::Json(rows(&changes))), ("notes", Value::List(notes))];
        Ok(Done::read(Value::Map(fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())))
    }

    /// Does it on a copy of its own. `take`: fields of others are taken over there.
    async fn on_a_copy(&self, cx: &Cx, exists: bool, take: bool) -> Result<(Rc<Heard>, Done)> {
        let heard = Rc::new(Heard::default());
        let copy = Cx { cluster: cx.cluster.planning().with_namespace(cx.cluster.namespace()), talk: heard.clone() };
        let (release, namespace) = (self.release.clone(), self.namespace.clone());
        let (chart, repo, version) = (self.chart.clone(), self.repo.clone(), self.version.clone());
        let (values, crds, timeout, stall, wait) = (self.values.clone(), self.crds, None, None, None);
        let made = if exists {
            let (values_from, expect_revision) = (self.values_from, None);
            let upgrade =
                HelmUpgrade { release, chart, namespace, repo, version, values, values_from, crds, expect_revision, timeout, stall, wait };
            upgrade.make(&copy, false, take).await
        } else {
            HelmInstall { release, chart, namespace, repo, version, values, crds, timeout, stall, wait }.make(&copy, false).await
        };
        made.map(|done| (heard, done))
    }
}

/// Hears what is said on the copy, and tells nobody.
#[derive(Default)]
pub(super) struct Heard {
    notes: std::cell::RefCell<Vec<String>>,
    wrote: std::cell::RefCell<Vec<Wrote>>,
}

impl Talk for Heard {
    fn confirm<'a>(&'a self, _: &'a str) -> LocalBoxFuture<'a, Result<()>> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn ask<'a>(&'a self, question: &'a str, options: &'a AskOptions) -> LocalBoxFuture<'a, Result<String>> {
        let unanswered = || Error::internal(format!("`{question}` is asked where nobody answers"));
        Box::pin(std::future::ready(options.default.clone().ok_or_else(unanswered)))
    }

    fn manual<'a>(&'a self, _: &'a str) -> LocalBoxFuture<'a, Result<()>> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn assume(&self, _: &str, _: Option<&Error>) {}

    fn note(&self, text: &str) {
        self.notes.borrow_mut().push(text.to_owned());
    }

    fn wrote(&self, wrote: &Wrote) {
        self.wrote.borrow_mut().push(wrote.clone());
    }

    fn progress(&self, _: Progress) {}
}
