//! `helm.install`: a release that is not there yet.

use super::binary::{Helm, TIMEOUT};
use super::change::{Work, operation, result};
use super::crds;
use super::explain;
use super::interrupted;
use super::release::ReleaseRef;
use super::rendered;
use super::source::{Chart, Named, Way, lint};
use super::values_file;
use crate::base::json::{Value as Json, json};
use crate::base::{Error, Kind, Reason, Result, Span};
use crate::primitive;
use crate::primitives::cx::Cx;
use crate::primitives::done::Done;

primitive! {
    /// Installs a chart under the name of a release, by the real helm, and waits for its workloads.
    ///
    /// A release that is there with this chart and these values is left as it is; one that is there otherwise is `precondition`: use
    /// `helm.upgrade`. The namespace must exist. Values that the chart does not know are noted.
    pub write fn helm.install as HelmInstall(
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
        /// Applies the chart's definitions of custom resources first, those that are there already too.
        crds: Option<bool>,
        /// The time for each of helm's waits, such as a hook; default 5 minutes.
        timeout: Option<Span>,
        /// The time that a workload may make no progress; default 3 minutes.
        stall: Option<Span>,
        /// Waits for the workloads of the release; default true. With false that is the script's: `wait_rollout` of each.
        wait: Option<bool>,
    } -> "{ changed: boolean, revision: number, status: string, chart: string, chart_version: Version | string, app_version: Version | string, notes: string }",
        "the release as it is now";
    since "0.1";
    example r#"helm.install("cilium", "oci://quay.io/cilium/charts/cilium", { version = "1.16.5" })"#;
    needs ["list,create,update secrets", "list configmaps"];
}

impl HelmInstall {
    async fn run(self, cx: Cx) -> Result<Done> {
        self.make(&cx, true).await
    }

    /// Does it, and waits for the workloads where that is wanted.
    ///
    /// # Errors
    /// As the verb.
    pub(super) async fn make(self, cx: &Cx, wait: bool) -> Result<Done> {
        let place = cx.release(&self.release, self.namespace.as_deref());
        let before = cx.revisions_of(&place).await?;
        let timeout = self.timeout.unwrap_or(TIMEOUT);
        let stall = self.stall;
        let begun = operation(cx, &place, "install");
        let mut work = Work {
            cx,
            place: &place,
            doing: "installing",
            word: "install",
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
        let values = values_file::given("helm.install", self.values.as_ref())?;
        let named = Named { chart: &self.chart, repo: self.repo.as_deref(), version: self.version.as_deref() };
        cx.cluster.permits_chart(&self.chart).await?;
        let mut way = Way::find(cx, "helm.install", &named, Some(&values), work.driver()).await?;
        if let Some(last) = work.last()? {
            work.unlocked(&last)?;
            let wanted = format!("{}-{}", way.chart().name(), way.chart().version());
            if last.status() == "deployed" && last.chart() == wanted && last.config() == values {
                return Ok(Done::unchanged(result(false, Some(&last), None)));
            }
            let message =
                format!("{}: it is there already, revision {} of {} ({})", work.doing(), last.revision(), last.chart(), last.status());
            return Err(Error::new(Kind::Cluster, Reason::Precondition, message).about(place.full_name()).hint("use `helm.upgrade`"));
        }
        for note in lint(&values, way.chart(), &json!({})) {
            cx.talk.note(&note);
        }
        if self.crds == Some(true) {
            work.earlier = crds::apply(cx, &work.doing(), &mut way).await?;
        }
        match way {
            Way::Rendered(chart) => rendered::install(work, &chart, values).await,
            Way::Helm(chart, mut helm) => install(work, &chart, &values, &mut helm).await,
        }
    }
}

async fn install(work: Work<'_>, chart: &Chart, values: &Json, helm: &mut Helm) -> Result<Done> {
    let file = values_file::file(work.cx, values)?;
    let path = chart.path.to_string_lossy().into_owned();
    let mut words = work.words(&[&work.place.name, &path]);
    words.extend(values_file::words(&file));
    words.extend(["--description".into(), work.description().into()]);
    if work.begun.before().is_some() {
        // What this very call had begun has failed by now, and helm installs no name that is taken by that otherwise.
        words.push("--replace".into());
    }
    let made = match work.carried_out(helm, &words, Vec::new()).await {
        Ok(made) => made,
        Err(error) => return Err(explain::owners(&work, error, None, chart, &values_file::words(&file), helm).await),
    };
    work.done(made).await
}
