//! `helm.upgrade`: another chart or other values for a release.

use std::ffi::OsString;

use super::binary::{Helm, TIMEOUT};
use super::change::{Work, operation};
use super::contents::{self, Item};
use super::crds;
use super::explain;
use super::interrupted;
use super::release::{Place, Release, ReleaseRef};
use super::rendered;
use super::source::{Chart, Named, Way, lint};
use super::values_file::{self, ValuesFrom};
use crate::base::json::Value as Json;
use crate::base::{Error, Kind, Reason, Result, Span};
use crate::primitive;
use crate::primitives::cx::Cx;
use crate::primitives::done::Done;
use crate::primitives::view;

primitive! {
    /// Brings a release to another chart or to other values, by the real helm, and waits for its workloads.
    ///
    /// The values are put together here: with `values_from = "previous"` those of the deployed revision (a failed one does not count)
    /// beneath those given (a `null` takes a former one back), with `"none"` only those given; the chart's own lie beneath both. Values that the chart does not know are
    /// noted. When chart, values and the objects in the cluster are as asked already, nothing is sent. An operation that has not ended
    /// is `helm_locked`. Hooks run; a failure leaves the release `failed`, and `helm.rollback` leads back.
    pub write fn helm.upgrade as HelmUpgrade(
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
        /// Whether the release's values are kept beneath those given: `"previous"` or `"none"`. It must be said.
        values_from: Option<ValuesFrom>,
        /// Applies the chart's definitions of custom resources first: helm never upgrades them.
        crds: Option<bool>,
        /// The revision that the release must have now; otherwise `precondition`, and nothing is sent.
        expect_revision: Option<u32>,
        /// The time for each of helm's waits, such as a hook; default 5 minutes.
        timeout: Option<Span>,
        /// The time that a workload may make no progress; default 3 minutes.
        stall: Option<Span>,
        /// Waits for the workloads of the release; default true. With false that is the script's: `wait_rollout` of each.
        wait: Option<bool>,
    } -> "{ changed: boolean, revision: number, previous_revision: number, status: string, chart: string, chart_version: Version | string, app_version: Version | string, notes: string }",
        "the release as it is now";
    since "0.1";
    example r#"helm.upgrade("cilium", "cilium", { repo = "https://helm.cilium.io", version = "1.16.5", values_from = "previous" })"#;
    needs ["get,list,create,update,delete secrets", "list configmaps"];
}

impl HelmUpgrade {
    async fn run(self, cx: Cx) -> Result<Done> {
        self.make(&cx, true, false).await
    }

    /// Does it, and waits for the workloads where that is wanted. `take`: fields of others are taken over, which only a copy can bear.
    ///
    /// # Errors
    /// As the verb.
    pub(super) async fn make(self, cx: &Cx, wait: bool, take: bool) -> Result<Done> {
        let place = cx.release(&self.release, self.namespace.as_deref());
        let before = cx.revisions_there(&place, "upgrading").await?;
        let timeout = self.timeout.unwrap_or(TIMEOUT);
        let stall = self.stall;
        let begun = operation(cx, &place, "upgrade");
        let mut work = Work {
            cx,
            place: &place,
            doing: "upgrading",
            word: "upgrade",
            before,
            timeout,
            stall,
            wait: wait && self.wait != Some(false),
            earlier: Vec::new(),
            begun,
        };
        if let Some(made) = interrupted::found(&mut work).await? {
            return work.done(made).await;
        }
        let (Some(last), Some(base)) = (work.last()?, work.base()?) else { return Err(Error::internal("a release without revisions")) };
        work.unlocked(&last)?;
        self.check_revision(&place, &last)?;
        let given = values_file::given("helm.upgrade", self.values.as_ref())?;
        let values = values_file::of_upgrade("helm.upgrade", given, self.values_from, &base)?;
        let named = Named { chart: &self.chart, repo: self.repo.as_deref(), version: self.version.as_deref() };
        cx.cluster.permits_chart(&self.chart).await?;
        let mut way = Way::find(cx, "helm.upgrade", &named, Some(&values), work.driver()).await?;
        for note in lint(&values, way.chart(), &base.defaults()) {
            cx.talk.note(&note);
        }
        if self.crds == Some(true) {
            work.earlier = crds::apply(cx, &work.doing(), &mut way).await?;
        }
        match way {
            Way::Rendered(chart) => rendered::upgrade(work, &last, &chart, values).await,
            Way::Helm(chart, mut helm) => upgrade(work, &last, &chart, &values, take, &mut helm).await,
        }
    }

    fn check_revision(&self, place: &Place, last: &Release) -> Result<()> {
        match self.expect_revision {
            Some(expected) if i64::from(expected) != last.revision() => {
                let message = format!("upgrading release `{place}`: its revision is {}, not {expected}", last.revision());
                Err(Error::new(Kind::Cluster, Reason::Precondition, message)
                    .about(place.full_name())
                    .hint("somebody changed it meanwhile: look at `helm.history`; nothing was sent"))
            }
            _ => Ok(()),
        }
    }
}

async fn upgrade(work: Work<'_>, last: &Release, chart: &Chart, values: &Json, take: bool, helm: &mut Helm) -> Result<Done> {
    let file = values_file::file(work.cx, values)?;
    let path = chart.path.to_string_lossy().into_owned();
    let mut words = work.words(&[&work.place.name, &path]);
    words.push("--reset-values".into());
    words.extend(values_file::words(&file));
    if take {
        words.push("--force-conflicts".into());
    }
    let (rendered, items) = match foreseen(&work, &words, helm, last.manifest()).await {
        Ok(foreseen) => foreseen,
        Err(error) => return Err(explain::owners(&work, error, Some(last), chart, &values_file::words(&file), helm).await),
    };
    if last.status() == "deployed" && is_same(last, &rendered) && contents::stands(&items) {
        return Ok(work.left_alone(last));
    }
    words.extend(["--description".into(), work.description().into()]);
    let made = work.carried_out(helm, &words, items).await?;
    work.done(made).await
}

/// What helm would make of it, and how the objects of both manifests stand now.
pub(super) async fn foreseen(work: &Work<'_>, words: &[OsString], helm: &mut Helm, old: &str) -> Result<(Release, Vec<Item>)> {
    let mut words = words.to_vec();
    words.extend(["--dry-run=server".into(), "--output".into(), "json".into()]);
    let said = helm.ask(&work.doing(), &words).await?;
    let rendered = Release(parse(&work.doing(), &said)?);
    let items = contents::look(work.cx, work.place, &work.doing(), &[old, rendered.manifest()]).await?;
    Ok((rendered, items))
}

/// The release in helm's output, which some helms begin with other talk.
fn parse(doing: &str, said: &str) -> Result<Json> {
    let text = said.find('{').and_then(|start| said.get(start..)).unwrap_or_default();
    let mut documents = serde_json::Deserializer::from_str(text).into_iter::<Json>();
    let strange = || Error::new(Kind::Cluster, Reason::Unsupported, format!("{doing}: helm's answer cannot be read"));
    match documents.next() {
        Some(Ok(json)) => Ok(json),
        Some(Err(error)) => Err(strange().cause(error.to_string())),
        None => Err(strange().cause("it holds no release")),
    }
}

/// Whether a revision is what was rendered: chart, values, objects and hooks.
pub(super) fn is_same(last: &Release, rendered: &Release) -> bool {
    let hooks = |release: &Release| -> Vec<(String, String)> {
        view::list(&release.0, "/hooks")
            .iter()
            .map(|hook| (view::text(hook, "/path").to_owned(), view::text(hook, "/manifest").to_owned()))
            .collect()
    };
    last.chart() == rendered.chart()
        && last.manifest() == rendered.manifest()
        && last.config() == rendered.config()
        && hooks(last) == hooks(rendered)
}
