//! Charts that a fixture carries in rendered form: a simulated cluster is changed as helm would change it, without helm.
//!
//! The objects are those that the fixture has for such values, and there are no hooks. The record of the release is written as helm
//! writes it, so that everything that reads releases reads these too.

use super::change;
use super::change::Work;
use super::contents::{self, Item};
use super::fixture;
use super::release::{Release, SECRET_TYPE, Stored, TRIES, encode, write};
use super::source::Chart;
use super::upgrade::is_same;
use crate::base::json::{Value as Json, json};
use crate::base::{Error, Reason, Result, base64};
use crate::cluster::{Applying, Target};
use crate::primitives::cx::Cx;
use crate::primitives::delete::is_absent;
use crate::primitives::done::Done;
use crate::primitives::view;

/// The mark of a release that was made here, among the annotations of its chart.
const MARK: &str = "lockgate.dev/rendered";
/// The history that helm keeps.
const HISTORY: usize = 10;

/// Whether a revision was made from a fixture's chart: by a verb, or by the fixture itself.
pub(super) fn is_ours(cx: &Cx, release: &Release) -> bool {
    let is_marked = release.0.pointer("/chart/metadata/annotations").and_then(|all| all.get(MARK)).is_some();
    is_marked || fixture::has(cx, &release.chart())
}

/// Upgrades to a chart of the fixture.
pub(super) async fn upgrade(work: Work<'_>, last: &Release, chart: &Chart, values: Json) -> Result<Done> {
    let rendered = release(&work, chart, values, "upgrade", Some(last));
    let items = contents::look(work.cx, work.place, &work.doing(), &[last.manifest(), rendered.manifest()]).await?;
    if last.status() == "deployed" && is_same(last, &rendered) && contents::stands(&items) {
        return Ok(work.left_alone(last));
    }
    assumed(work.cx, chart, &rendered);
    make(work, rendered, items).await
}

/// Installs a chart of the fixture.
pub(super) async fn install(work: Work<'_>, chart: &Chart, values: Json) -> Result<Done> {
    let rendered = release(&work, chart, values, "install", None);
    let items = contents::look(work.cx, work.place, &work.doing(), &["", rendered.manifest()]).await?;
    assumed(work.cx, chart, &rendered);
    make(work, rendered, items).await
}

/// Goes back to what an earlier revision had.
pub(super) async fn rollback(work: Work<'_>, to: &Release, items: Vec<Item>) -> Result<Done> {
    let revision = work.before.last().map_or(0, Stored::revision) + 1;
    let mut rendered = to.clone();
    let now = work.cx.now().to_string();
    rendered.0["version"] = revision.into();
    rendered.0["info"]["last_deployed"] = now.into();
    rendered.0["info"]["status"] = "pending-rollback".into();
    rendered.0["info"]["description"] = format!("Rollback to {}", to.revision()).into();
    make(work, rendered, items).await
}

/// Takes a release away: its objects, then its record.
pub(super) async fn uninstall(work: Work<'_>, items: Vec<Item>) -> Result<Done> {
    work.intend()?;
    for item in items.iter().rev() {
        remove(work.cx, item).await?;
    }
    for stored in &work.before {
        gone(work.cx.cluster.delete(&stored.target, json!({})).await)?;
    }
    let previous = work.before.last().map(Stored::revision);
    let made = work.looked(items).await?;
    work.begun.became(&Ok(()))?;
    Ok(Done::changed(change::result(true, None, previous), made.wrote))
}

/// Takes the record of an installation away that never ended; what it made is made again.
pub(super) async fn forget(cx: &Cx, pending: &Stored) -> Result<()> {
    gone(cx.cluster.delete(&pending.target, json!({})).await)
}

/// Says that the objects are the fixture's, where values were given that they cannot show.
fn assumed(cx: &Cx, chart: &Chart, rendered: &Release) {
    // What the chart has by itself, and what the entry was chosen by, is in its objects.
    let mut known = chart.values.clone();
    if let Some(model) = &chart.model {
        known.merge(&model.when);
    }
    if !fixture::holds(&known, &rendered.config()) {
        let (name, version) = (chart.name(), chart.version());
        cx.talk.note(&format!("the objects of chart {name} {version} are those of the fixture: the values given here are not in them"));
    }
}

/// The record of a release whose operation begins.
fn release(work: &Work<'_>, chart: &Chart, values: Json, operation: &str, last: Option<&Release>) -> Release {
    let now = work.cx.now().to_string();
    let first = last.map(|last| last.text("/info/first_deployed").to_owned()).filter(|first| !first.is_empty());
    let mut meta = chart.meta.clone();
    meta["annotations"] = json!({ MARK: "true" });
    let manifest = chart.model.as_ref().map(|model| model.manifest.clone()).unwrap_or_default();
    Release(json!({
        "name": work.place.name,
        "namespace": work.place.namespace,
        "version": last.map_or(0, Release::revision) + 1,
        "info": {
            "first_deployed": first.unwrap_or_else(|| now.clone()),
            "last_deployed": now,
            "deleted": "",
            "description": "",
            "status": format!("pending-{operation}"),
        },
        "chart": { "metadata": meta, "lock": null, "templates": [], "values": chart.values, "schema": null, "files": [] },
        "config": values,
        "manifest": manifest,
        "hooks": [],
    }))
}

/// Does what helm does: the lock, the objects, the record.
async fn make(work: Work<'_>, mut release: Release, items: Vec<Item>) -> Result<Done> {
    let (cx, place) = (work.cx, work.place);
    work.intend()?;
    let description = work.description();
    let lock = store(&work, &release).await?;
    let wanted = contents::documents(&work.doing(), release.manifest())?;
    let mut trouble = None;
    for item in &items {
        let object = item.wanted.clone().filter(|wanted| wanted.get("kind").is_some());
        let made = match object {
            Some(object) => put(cx, item, owned(object, &place.name, &place.namespace)).await,
            None => remove(cx, item).await,
        };
        if let Err(error) = made {
            trouble = Some(error);
            break;
        }
    }
    if trouble.is_none() && wanted.len() > items.iter().filter(|item| item.wanted.is_some()).count() {
        let cause = "the cluster does not know a kind of the manifest: apply its definition first, for example with `crds = true`";
        trouble = Some(Error::new(crate::base::Kind::Cluster, Reason::HelmRemovedApi, work.doing()).cause(cause));
    }
    let (status, said) = match &trouble {
        None => ("deployed", description),
        Some(error) => ("failed", format!("{}: {error}", work.doing())),
    };
    release.0["info"]["status"] = status.into();
    release.0["info"]["description"] = said.into();
    if trouble.is_none() {
        supersede(&work).await?;
    }
    let stored = Stored { object: cx.cluster.get(&lock).await?, target: lock };
    write(cx, &stored, &release).await?;
    let made = work.looked(items).await?;
    work.begun.became(&trouble.clone().map_or(Ok(()), Err))?;
    match trouble {
        None => work.done(made).await,
        Some(error) => {
            cx.talk.wrote(&made.wrote);
            Err(error.cause(format!("revision {} is `failed` now", release.revision())))
        }
    }
}

/// Writes the record of a revision: who writes it first holds the release.
async fn store(work: &Work<'_>, release: &Release) -> Result<Target> {
    let (cx, place) = (work.cx, work.place);
    let revision = release.revision();
    let coded = base64::encode(encode(&release.0)?.as_bytes());
    let secret = json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "type": SECRET_TYPE,
        "metadata": {
            "name": format!("sh.helm.release.v1.{}.v{revision}", place.name),
            "labels": { "owner": "helm", "name": place.name, "version": revision.to_string(), "status": release.status() },
        },
        "data": { "release": coded },
    });
    let resource = cx.cluster.resolve("secrets", Some("")).await?;
    let target = cx.cluster.object(resource.clone(), Some(place.namespace.clone()), view::name(&secret));
    match cx.cluster.create(&resource, Some(&place.namespace), secret).await {
        Ok(_) => {}
        Err(mut error) if error.reason == Reason::Conflict => {
            error.reason = Reason::HelmLocked;
            return Err(error.context(format!("{}: somebody else began a moment before", work.doing())));
        }
        Err(error) => return Err(error),
    }
    for old in work.before.iter().rev().skip(HISTORY.saturating_sub(1)).filter(|stored| stored.status() != "deployed") {
        gone(cx.cluster.delete(&old.target, json!({})).await)?;
    }
    Ok(target)
}

/// The revision that was deployed is so no more.
async fn supersede(work: &Work<'_>) -> Result<()> {
    for stored in work.before.iter().filter(|stored| stored.status() == "deployed") {
        let mut release = stored.release()?;
        release.0["info"]["status"] = "superseded".into();
        write(work.cx, stored, &release).await?;
    }
    Ok(())
}

/// Gives an object the marks by which helm knows its own.
fn owned(mut object: Json, release: &str, namespace: &str) -> Json {
    object.merge(&json!({ "metadata": {
        "labels": { "app.kubernetes.io/managed-by": "Helm" },
        "annotations": { "meta.helm.sh/release-name": release, "meta.helm.sh/release-namespace": namespace },
    }}));
    object
}

/// Makes an object as the chart wants it. It is bound to no version: who was overtaken does it again.
async fn put(cx: &Cx, item: &Item, object: Json) -> Result<()> {
    let force = Applying { force: true, dry_run: false };
    for _ in 1..TRIES {
        match cx.cluster.apply(&item.target, object.clone(), force).await {
            Err(error) if error.reason == Reason::Conflict => {}
            other => return other.map(drop),
        }
    }
    cx.cluster.apply(&item.target, object, force).await.map(drop)
}

/// A deletion; what is gone already was to go.
fn gone<T>(deleted: Result<T>) -> Result<()> {
    match deleted {
        Err(error) if is_absent(&error) => Ok(()),
        other => other.map(drop),
    }
}

async fn remove(cx: &Cx, item: &Item) -> Result<()> {
    let Some(live) = &item.live else { return Ok(()) };
    if view::annotation(live, "helm.sh/resource-policy") == Some("keep") {
        return Ok(());
    }
    gone(cx.cluster.delete(&item.target, json!({ "propagationPolicy": "Background" })).await)
}
