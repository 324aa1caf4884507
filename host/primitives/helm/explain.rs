//! What helm leaves out of its errors, and the cluster or the repository can tell: which hook failed and what it wrote, which workload is
//! not ready and why, what belongs to somebody else, which versions there are. Rows of `reference/primitives.md` §4.4.
//!
//! All of it is looked up after something failed: what cannot be found out is left out, and the error itself is never another one.

use std::ffi::OsString;

use super::binary::Helm;
use super::change::{Made, Work};
use super::release::Release;
use super::source::{Chart, Named};
use super::{contents, template};
use crate::base::json::{Value as Json, json};
use crate::base::{Error, ObjectRef, Reason, Result, Span, did_you_mean};
use crate::cluster::{LogPart, Target};
use crate::primitives::containers::{has_started, regular};
use crate::primitives::cx::Cx;
use crate::primitives::why::Why;
use crate::primitives::{logs, pod_trouble, view};

/// How long it is looked for. The server may be what failed.
const PATIENCE: Span = Span::from_secs(5);
/// Of how many hooks, pods and workloads something is told.
const SEVERAL: usize = 3;
/// How much of a log is told.
const LINES: u32 = 5;
/// How much of it is read, in bytes.
const LARGEST: u32 = 16 << 10;
/// How the hint begins of an error about a hook of which nothing more is known.
const LOOK: &str = "look at the Job of the hook and its logs; ";

/// The error of a helm that left a failed release: with what its hooks wrote, and what its workloads wait for.
pub(super) async fn release(work: &Work<'_>, error: Error, made: &Made) -> Error {
    let about_hooks = matches!(error.reason, Reason::HelmHook | Reason::Timeout);
    let Some(release) = made.release.as_ref().filter(|_| about_hooks) else { return error };
    let looked = async {
        let mut found = hooks(work, release).await?;
        if error.reason == Reason::Timeout {
            found.extend(workloads(work.cx, made).await?);
        }
        Ok::<Vec<String>, Error>(found)
    };
    let found = soon(work.cx, looked).await;
    if found.is_empty() {
        return error;
    }
    let shorter = error.hint.as_deref().and_then(|hint| hint.strip_prefix(LOOK)).map(|rest| format!("mend what the hook says; {rest}"));
    let error = found.into_iter().fold(error, Error::cause);
    match shorter {
        Some(hint) => error.hint(hint),
        None => error,
    }
}

/// What was found in time; nothing when it could not be looked for.
async fn soon(cx: &Cx, look: impl Future<Output = Result<Vec<String>>>) -> Vec<String> {
    tokio::select! {
        biased;
        found = look => found.unwrap_or_default(),
        _ = cx.clock().sleep(PATIENCE) => Vec::new(),
    }
}

/// The hooks of a release that did not end well, each with what its pods wrote.
async fn hooks(work: &Work<'_>, release: &Release) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for hook in view::list(&release.0, "/hooks").iter().filter(|hook| is_bad(hook)).take(SEVERAL) {
        let Some(object) = contents::documents(&work.doing(), view::text(hook, "/manifest"))?.into_iter().next() else { continue };
        let Some(target) = contents::target(work.cx, work.place, &object).await? else { continue };
        let Some(live) = work.cx.cluster.find(&target).await? else {
            found.push(format!("the hook is `{target}`, and its `hook-delete-policy` has taken it away"));
            continue;
        };
        found.push(match view::condition(&live, "Failed").filter(|failed| view::text(failed, "/status") == "True") {
            Some(failed) => {
                format!("the hook is `{target}`: {}: {}", view::text(failed, "/reason"), view::text(failed, "/message"))
            }
            None => format!("the hook is `{target}`, which has not ended"),
        });
        if matches!(target.resource.kind.as_str(), "Job" | "Pod") {
            found.extend(pods(work.cx, &target).await?);
        }
    }
    Ok(found)
}

/// Whether a hook was begun and did not end well (`pkg/release/v1/hook.go`).
fn is_bad(hook: &Json) -> bool {
    let begun = view::text(hook, "/last_run/started_at");
    let phase = view::text(hook, "/last_run/phase");
    // The zero of Go's time.
    !begun.is_empty() && !begun.starts_with("0001-") && phase != "Succeeded"
}

/// What the pods of a hook wrote, or why they did not begin.
async fn pods(cx: &Cx, target: &Target) -> Result<Vec<String>> {
    let resource = cx.cluster.resolve("pods", Some("")).await?;
    let mut found = Vec::new();
    for pod in logs::pods(cx, target).await?.iter().rev().take(SEVERAL) {
        let the_pod = cx.cluster.object(resource.clone(), target.namespace.clone(), view::name(pod));
        let mut lines = Vec::new();
        for container in regular(pod).into_iter().filter(|container| has_started(pod, container)) {
            let part = LogPart { container: Some(container.to_owned()), tail: Some(LINES), limit: Some(LARGEST), ..LogPart::default() };
            match cx.cluster.log(&the_pod, &part).await {
                Ok(text) => {
                    lines.extend(text.lines().filter(|line| !line.trim().is_empty()).map(|line| format!("`{the_pod}` wrote: {line}")))
                }
                Err(stop) if stop.is_stop() => return Err(stop),
                Err(error) if error.reason == Reason::Forbidden => lines.push(format!("its log cannot be read: {error}")),
                // A kubelet that does not answer, a pod that has gone, a model that says nothing of it.
                Err(_) => {}
            }
        }
        if lines.is_empty() {
            let trouble = pod_trouble::of(pod, None);
            lines.extend(trouble.map(|trouble| {
                let evidence = trouble.evidence.as_ref().map(|said| format!(": {said}")).unwrap_or_default();
                format!("`{the_pod}` {}{evidence}", trouble.says(1))
            }));
        }
        found.extend(lines);
    }
    Ok(found)
}

/// The workloads of a release that are not ready, and why.
async fn workloads(cx: &Cx, made: &Made) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for target in contents::workloads(&made.items).take(SEVERAL) {
        let why = Why { object: ObjectRef::parse(&target.full_name())?, namespace: None };
        let told = why.run(cx.clone()).await?.value.into_json();
        if told.get("reason").is_some() {
            found.push(format!("`{target}`: {}", view::text(&told, "/message")));
        }
    }
    Ok(found)
}

/// The error of a helm that found objects which are not the release's: with all of them. helm names the first.
pub(super) async fn owners(
    work: &Work<'_>,
    error: Error,
    old: Option<&Release>,
    chart: &Chart,
    values: &[OsString],
    helm: &mut Helm,
) -> Error {
    if error.reason != Reason::Conflict || !error.causes.iter().any(|cause| cause.contains("invalid ownership metadata")) {
        return error;
    }
    let doing = work.doing();
    // helm 4 meets the same objects when it may ask the server.
    let Ok(words) = template::alone(work.cx, work.place, chart, values).await else { return error };
    let Ok(manifest) = helm.ask(&doing, &words).await else { return error };
    let (wanted, former) = (manifest.as_str(), old.map(Release::manifest).unwrap_or_default());
    let looked = async {
        let former: Vec<Target> =
            contents::look(work.cx, work.place, &doing, &[former]).await?.into_iter().map(|item| item.target).collect();
        let items = contents::look(work.cx, work.place, &doing, &[wanted]).await?;
        let others = items.into_iter().filter(|item| !former.contains(&item.target));
        let told = others
            .filter_map(|item| item.live.as_ref().and_then(|live| owner(work, live)).map(|owner| format!("`{}` {owner}", item.target)));
        Ok(told.collect())
    };
    let found = soon(work.cx, looked).await;
    let details = json!({ "objects": found.iter().filter_map(|line| line.split('`').nth(1)).collect::<Vec<_>>() });
    found.into_iter().fold(error, Error::cause).details(details)
}

/// Whose an object is, where it is not this release's.
fn owner(work: &Work<'_>, live: &Json) -> Option<String> {
    let by = |part: &str| view::annotation(live, &format!("meta.helm.sh/release-{part}")).unwrap_or_default();
    let (name, namespace) = (by("name"), by("namespace"));
    if view::label(live, "app.kubernetes.io/managed-by") != "Helm" || name.is_empty() {
        return Some("belongs to no release".to_owned());
    }
    (name != work.place.name || namespace != work.place.namespace).then(|| format!("belongs to release `{namespace}/{name}`"))
}

/// Whether helm was refused because somebody else owns fields that it applies.
pub(super) fn is_about_fields(error: &Error) -> bool {
    let says = |cause: &String| cause.contains("Apply failed with") || cause.contains("conflict occurred while applying object");
    error.reason == Reason::Conflict && error.causes.iter().any(says)
}

/// The error of a chart that its repository does not have: with what it has.
pub(super) async fn versions(error: Error, named: &Named<'_>, helm: &mut Helm) -> Error {
    let Some(repo) = named.repo.filter(|_| error.reason == Reason::HelmChartNotFound) else { return error };
    match offered(repo, helm).await {
        // It cannot be read at all, which the error says.
        None => error,
        Some(offered) => error.hint(told(named, &offered)),
    }
}

/// The charts of a repository with their versions, newest first, as helm reads its index.
async fn offered(repo: &str, helm: &mut Helm) -> Option<Vec<(String, String)>> {
    // A name that only this helm knows, in a home of its own.
    const NAME: &str = "asked";
    let words = |words: &[&str]| words.iter().map(OsString::from).collect::<Vec<_>>();
    let doing = "reading the repository's index";
    helm.ask(doing, &words(&["repo", "add", NAME, repo, "--force-update"])).await.ok()?;
    let said = helm.ask(doing, &words(&["search", "repo", "--versions", "--devel", "--output", "json"])).await.ok()?;
    let rows: Json = serde_json::from_str(&said).ok()?;
    let row = |row: &Json| {
        let name = view::text(row, "/name").strip_prefix(NAME)?.strip_prefix('/')?;
        Some((name.to_owned(), view::text(row, "/version").to_owned()))
    };
    Some(rows.as_array()?.iter().filter_map(row).collect())
}

/// What there is of a chart, or what there is instead of it.
fn told(named: &Named<'_>, offered: &[(String, String)]) -> String {
    const MOST: usize = 5;
    let versions: Vec<&str> = offered.iter().filter(|(name, _)| name == named.chart).map(|(_, version)| version.as_str()).collect();
    let list = |all: &[&str]| match all.len().checked_sub(MOST) {
        None | Some(0) => all.join(", "),
        Some(more) => format!("{}, and {more} more", all.iter().take(MOST).copied().collect::<Vec<_>>().join(", ")),
    };
    if !versions.is_empty() {
        return format!("the repository has {}", list(&versions));
    }
    let mut names: Vec<&str> = offered.iter().map(|(name, _)| name.as_str()).collect();
    names.dedup();
    match did_you_mean(named.chart, names.iter().copied()) {
        Some(near) => format!("the repository has no chart of this name; did you mean `{near}`?"),
        None if names.is_empty() => "the repository has no charts".to_owned(),
        None => format!("the repository has no chart of this name; it has {}", list(&names)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_repository_offers_is_told_in_a_line() {
        let named = |chart: &'static str| Named { chart, repo: Some("https://charts.example"), version: Some("9.9.9") };
        let offered = |rows: &[(&str, &str)]| -> Vec<(String, String)> {
            rows.iter().map(|(name, version)| ((*name).to_owned(), (*version).to_owned())).collect()
        };
        let few = offered(&[("shop", "1.1.0"), ("shop", "1.0.0"), ("till", "3.0.0")]);
        assert_eq!(told(&named("shop"), &few), "the repository has 1.1.0, 1.0.0");
        assert_eq!(told(&named("sohp"), &few), "the repository has no chart of this name; did you mean `shop`?");
        assert_eq!(told(&named("cilium"), &few), "the repository has no chart of this name; it has shop, till");
        assert_eq!(told(&named("cilium"), &[]), "the repository has no charts");
        let many = offered(&["7", "6", "5", "4", "3", "2", "1"].map(|version| ("shop", version)));
        assert_eq!(told(&named("shop"), &many), "the repository has 7, 6, 5, 4, 3, and 2 more");
    }

    #[test]
    fn only_hooks_that_were_begun_and_did_not_end_well_are_told() {
        let hook = |started: &str, phase: &str| json!({ "last_run": { "started_at": started, "phase": phase } });
        let now = "2026-01-02T03:04:05Z";
        assert!(is_bad(&hook(now, "Failed")) && is_bad(&hook(now, "Running")) && is_bad(&hook(now, "Unknown")));
        assert!(!is_bad(&hook(now, "Succeeded")) && !is_bad(&hook("", "")) && !is_bad(&hook("0001-01-01T00:00:00Z", "Unknown")));
    }
}
