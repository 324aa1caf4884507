//! Charts: found once, kept for the rest of the run as they were then, and known by their digest.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use lockgate_sim::model::ChartModel;
use sha2::{Digest as _, Sha256};

use super::binary::Helm;
use super::explain;
use super::fixture;
use super::release::typed;
use crate::base::json::{Map, Value as Json};
use crate::base::{Error, Kind, Reason, Result, Value, did_you_mean};
use crate::cluster::RunId;
use crate::cluster::keep::{Pin, hex};
use crate::primitives::cx::Cx;
use crate::primitives::view;

/// What a script names as a chart.
#[derive(Clone, Debug)]
pub(super) struct Named<'a> {
    /// `cilium` with `repo`, `oci://…`, a path.
    pub(super) chart: &'a str,
    pub(super) repo: Option<&'a str>,
    pub(super) version: Option<&'a str>,
}

/// A chart that is at hand.
#[derive(Clone, Debug)]
pub(super) struct Chart {
    /// Where helm finds it; a chart of the fixture is nowhere.
    pub(super) path: PathBuf,
    /// `Chart.yaml`.
    pub(super) meta: Json,
    /// Its own values.
    pub(super) values: Json,
    /// `sha256:…` over its content.
    pub(super) digest: String,
    /// The fixture's entry, when it is one of the fixture.
    pub(super) model: Option<Box<ChartModel>>,
}

impl Chart {
    pub(super) fn name(&self) -> &str {
        view::text(&self.meta, "/name")
    }

    pub(super) fn version(&self) -> &str {
        view::text(&self.meta, "/version")
    }

    /// What scripts get of it.
    pub(super) fn facts(&self) -> Value {
        let text = |field: &str| view::text(&self.meta, field).to_owned();
        let mut facts = BTreeMap::from([
            ("name".to_owned(), Value::from(text("/name"))),
            ("version".to_owned(), typed(self.version())),
            ("app_version".to_owned(), typed(&text("/appVersion"))),
            ("values".to_owned(), Value::Json(self.values.clone())),
            ("digest".to_owned(), Value::from(self.digest.clone())),
        ]);
        if !text("/kubeVersion").is_empty() {
            facts.insert("kube_version".to_owned(), Value::from(text("/kubeVersion")));
        }
        Value::Map(facts)
    }
}

impl Named<'_> {
    /// For errors: ``chart `cilium` 1.16.5``.
    pub(super) fn told(&self) -> String {
        match self.version {
            Some(version) => format!("chart `{}` {version}", self.chart),
            None => format!("chart `{}`", self.chart),
        }
    }

    fn is_path(&self) -> bool {
        self.chart.starts_with(['.', '/']) || self.chart.ends_with(".tgz") && !self.is_remote()
    }

    fn is_remote(&self) -> bool {
        self.chart.contains("://")
    }

    /// Refuses what does not say exactly which chart is meant.
    ///
    /// # Errors
    /// Usage errors.
    fn check(&self, verb: &str) -> Result<()> {
        let wrong = |text: String| Err(Error::usage(format!("`{verb}`: {text}")));
        if self.chart.is_empty() || self.chart.starts_with('-') || self.chart.chars().any(char::is_whitespace) {
            return wrong(format!("`{}` is no chart: name one with its `repo`, an `oci://` chart, or a path", self.chart));
        }
        if let Some(repo) = self.repo {
            if !["https://", "http://", "file://"].iter().any(|scheme| repo.starts_with(scheme)) {
                return wrong(format!("`{repo}` is no address of a repository")).map_err(|error: Error| {
                    error.hint("it begins with `https://`; a chart in a registry is named `oci://…` and has no `repo`")
                });
            }
            if self.is_path() || self.is_remote() {
                return wrong(format!("the chart `{}` has an address already, so that `repo` says nothing", self.chart));
            }
        } else if !self.is_path() && !self.is_remote() {
            let hint = match self.chart.split_once('/') {
                Some((_, name)) => {
                    format!("names of the operator's repositories are not known here: write `\"{name}\", {{ repo = \"https://…\" }}`")
                }
                None => format!("give its repository, or write `./{}` for a folder", self.chart),
            };
            return wrong(format!("the chart `{}` has no address", self.chart)).map_err(|error: Error| error.hint(hint));
        }
        match self.version {
            Some(version) if !is_exact(version) => wrong(format!("`{version}` is no exact version"))
                .map_err(|error: Error| error.hint("a range would be another chart next week: give the one version that was tested")),
            None if !self.is_path() && !self.chart.ends_with(".tgz") => wrong(format!("{} needs a `version`", self.told()))
                .map_err(|error: Error| error.hint("without one it would be whatever is newest when the runbook runs")),
            _ => Ok(()),
        }
    }

    /// The name of the folder that it is kept in: it can be read, and is another one for each chart, repository and version.
    fn id(&self) -> String {
        let (repo, version) = (self.repo.unwrap_or_default(), self.version.unwrap_or_default());
        let whole = hex(&Sha256::digest(format!("{}\n{repo}\n{version}", self.chart)));
        let fits = |letter: &char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_');
        let name: String = self.short().trim_end_matches(".tgz").chars().filter(fits).take(40).collect();
        format!("{name}-{}", whole.get(..12).unwrap_or(&whole)).trim_start_matches('-').to_owned()
    }

    /// The last part of its address: the name by which a fixture knows it.
    pub(super) fn short(&self) -> &str {
        self.chart.trim_end_matches('/').rsplit('/').next().unwrap_or(self.chart)
    }
}

/// `v1.2.3` and `1.2.3` are the same version of a chart.
pub(super) fn plain(version: &str) -> &str {
    version.strip_prefix('v').unwrap_or(version)
}

fn is_exact(version: &str) -> bool {
    let plain = plain(version);
    let dots = plain.split(['-', '+']).next().unwrap_or_default().split('.').collect::<Vec<_>>();
    dots.len() == 3
        && dots.iter().all(|part| !part.is_empty() && part.chars().all(|c| c.is_ascii_digit()))
        && plain.chars().all(|c| c.is_ascii_alphanumeric() || ".-+".contains(c))
}

/// Where a chart comes from: the fixture, or helm.
pub(super) enum Way {
    /// A chart that the fixture has in rendered form.
    Rendered(Chart),
    /// A chart that helm renders.
    Helm(Chart, Box<Helm>),
}

impl Way {
    /// Finds a chart, and helm where it is needed. A fixture may have it in several forms, by the values that it is rendered with.
    ///
    /// # Errors
    /// Usage errors; `command_missing`, `helm_chart_not_found` and what else helm says.
    pub(super) async fn find(cx: &Cx, verb: &str, named: &Named<'_>, values: Option<&Json>, driver: &'static str) -> Result<Way> {
        let way = match fixture::find(cx, named, values)? {
            Some(found) => Way::Rendered(rendered(found)),
            None => {
                named.check(verb)?;
                let mut helm = Helm::new(cx, driver).await?;
                let chart = pinned(cx, named, &mut helm).await?;
                Way::Helm(chart, Box::new(helm))
            }
        };
        cx.cluster.used_chart(&named.told(), &way.chart().digest);
        Ok(way)
    }

    pub(super) fn chart(&self) -> &Chart {
        match self {
            Way::Rendered(chart) | Way::Helm(chart, _) => chart,
        }
    }
}

fn rendered(found: fixture::Found) -> Chart {
    let fixture::Found { model, content } = found;
    let mut meta = Map::from_iter([
        ("apiVersion".to_owned(), Json::from("v2")),
        ("name".to_owned(), model.name.clone().into()),
        ("version".to_owned(), model.version.clone().into()),
    ]);
    for (field, text) in [("appVersion", &model.app_version), ("kubeVersion", &model.kube_version)] {
        if let Some(text) = text {
            meta.insert(field.to_owned(), text.clone().into());
        }
    }
    let digest = format!("sha256:{}", hex(&Sha256::digest(content.as_bytes())));
    Chart { path: PathBuf::new(), meta: meta.into(), values: model.values.clone(), digest, model: Some(Box::new(model)) }
}

/// Finds the chart, once in a run; from then on it is as it was, also for a process that resumes the run.
async fn pinned(cx: &Cx, named: &Named<'_>, helm: &mut Helm) -> Result<Chart> {
    let doing = format!("finding {}", named.told());
    let kept = |error: std::io::Error| Error::internal(format!("{doing}: keeping it")).cause(error.to_string());
    let id = named.id();
    let folder = cx.cluster.charts()?.join(&id);
    let mut path = match only(&folder).map_err(kept)? {
        Some(path) => path,
        None => fetch(cx, named, &folder, helm).await?,
    };
    let digest = |path: &Path| digest(path).map(|digest| format!("sha256:{digest}")).map_err(kept);
    let pin = |digest: &str| Pin { id: id.clone(), chart: named.told(), digest: digest.to_owned() };
    let mut now = digest(&path)?;
    if let Err(error) = cx.cluster.pin_chart(&pin(&now)) {
        // What is kept may have been damaged, or never have come to the disk: what is fetched anew tells.
        if error.reason != Reason::Replaced {
            return Err(error);
        }
        std::fs::remove_dir_all(&folder).map_err(kept)?;
        path = fetch(cx, named, &folder, helm).await?;
        now = digest(&path)?;
        cx.cluster.pin_chart(&pin(&now))?;
    }
    let show = |what: &str| [OsString::from("show"), OsString::from(what), path.clone().into_os_string()];
    let meta = yaml(&doing, &helm.ask(&doing, &show("chart")).await?)?;
    let values = yaml(&doing, &helm.ask(&doing, &show("values")).await?)?;
    let values = if values.is_null() { Json::Object(Map::new()) } else { values };
    if let Some(version) = named.version.filter(|version| plain(version) != plain(view::text(&meta, "/version"))) {
        let is = view::text(&meta, "/version");
        return Err(
            Error::new(Kind::Input, Reason::HelmChartNotFound, doing).cause(format!("what is there is version {is}, not {version}"))
        );
    }
    Ok(Chart { path, meta, values, digest: now, model: None })
}

/// What is in a folder of one thing; `None` where there is no such folder, or nothing in it.
fn only(folder: &Path) -> std::io::Result<Option<PathBuf>> {
    match std::fs::read_dir(folder) {
        Ok(mut entries) => Ok(entries.next().transpose()?.map(|entry| entry.path())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Puts a chart into a folder of its own, at once or not at all; gives where it is then. One that a plan has found is that one.
async fn fetch(cx: &Cx, named: &Named<'_>, folder: &Path, helm: &mut Helm) -> Result<PathBuf> {
    let doing = format!("finding {}", named.told());
    let kept = |error: std::io::Error| Error::internal(format!("{doing}: keeping it")).cause(error.to_string());
    let charts = folder.parent().unwrap_or(folder);
    let fresh = charts.join(format!(".{}", RunId::generate()));
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&fresh).map_err(kept)?;
    let found = async {
        match only(&cx.cluster.passing_charts()?.join(named.id())).map_err(kept)? {
            Some(planned) => copy_tree(&planned, &fresh.join(planned.file_name().unwrap_or_default()), 0).map_err(kept)?,
            None if named.is_path() => copy(named, &doing, &fresh)?,
            None => {
                if let Err(error) = pull(named, &doing, &fresh, helm).await {
                    return Err(explain::versions(error, named, helm).await);
                }
            }
        }
        synced(&fresh).map_err(kept)
    };
    let found = found.await;
    if found.is_err() || only(folder).map_err(kept)?.is_some() {
        // It was not found, or somebody has found it meanwhile.
        std::fs::remove_dir_all(&fresh).map_err(kept)?;
        found?;
    } else {
        std::fs::rename(&fresh, folder).and_then(|()| std::fs::File::open(charts)?.sync_all()).map_err(kept)?;
    }
    only(folder).map_err(kept)?.ok_or_else(|| Error::internal(format!("{doing}: it is not where it was put")))
}

/// Brings all that is in a folder to the disk.
fn synced(folder: &Path) -> std::io::Result<()> {
    for path in files(folder)? {
        std::fs::File::open(path)?.sync_all()?;
    }
    Ok(())
}

async fn pull(named: &Named<'_>, doing: &str, folder: &Path, helm: &mut Helm) -> Result<()> {
    let mut words: Vec<OsString> = vec!["pull".into(), named.chart.into(), "--destination".into(), folder.into()];
    for (flag, value) in [("--repo", named.repo), ("--version", named.version)] {
        if let Some(value) = value {
            words.extend([flag.into(), value.into()]);
        }
    }
    helm.ask(doing, &words).await.map(drop)
}

fn copy(named: &Named<'_>, doing: &str, folder: &Path) -> Result<()> {
    let from = Path::new(named.chart);
    let missing = |said: String| {
        Error::new(Kind::Input, Reason::HelmChartNotFound, doing)
            .cause(said)
            .hint("name a folder with `Chart.yaml`, a packed chart, or a chart with its `repo`")
    };
    if from.is_dir() && !from.join("Chart.yaml").is_file() {
        return Err(missing(format!("the folder `{}` has no `Chart.yaml`", from.display())));
    }
    let name = from.canonicalize().ok().and_then(|whole| whole.file_name().map(OsString::from));
    let name = name.ok_or_else(|| missing(format!("there is no `{}`", from.display())))?;
    copy_tree(from, &folder.join(name), 0).map_err(|error| missing(error.to_string()))
}

/// Copies a file, or a folder with all that is in it.
fn copy_tree(from: &Path, to: &Path, depth: usize) -> std::io::Result<()> {
    if depth > 32 {
        return Err(std::io::Error::other("its folders do not end"));
    }
    if !from.is_dir() {
        return std::fs::copy(from, to).map(drop);
    }
    std::fs::create_dir(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        copy_tree(&entry.path(), &to.join(entry.file_name()), depth + 1)?;
    }
    Ok(())
}

/// The digest of a file, or of the names and contents of all files in a folder.
fn digest(path: &Path) -> std::io::Result<String> {
    if !path.is_dir() {
        return Ok(hex(&Sha256::digest(std::fs::read(path)?)));
    }
    let mut whole = Sha256::new();
    for file in files(path)? {
        let name = file.strip_prefix(path).unwrap_or(&file).to_string_lossy().into_owned();
        whole.update(format!("{name}\n{}\n", hex(&Sha256::digest(std::fs::read(&file)?))));
    }
    Ok(hex(&whole.finalize()))
}

/// The files in a folder and in those below it, in order.
fn files(path: &Path) -> std::io::Result<Vec<PathBuf>> {
    let (mut folders, mut files) = (vec![path.to_path_buf()], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder)? {
            let entry = entry?.path();
            if entry.is_dir() { folders.push(entry) } else { files.push(entry) }
        }
    }
    files.sort();
    Ok(files)
}

pub(super) fn yaml(doing: &str, text: &str) -> Result<Json> {
    if text.trim().is_empty() {
        return Ok(Json::Null);
    }
    serde_saphyr::from_str_with_options(text, lockgate_sim::fixture::yaml_options())
        .map_err(|error| Error::new(Kind::Input, Reason::HelmRender, doing).cause(error.to_string()))
}

/// What about these values looks like a mistake: names that the chart does not know, above all those that it knew before.
pub(super) fn lint(given: &Json, chart: &Chart, former: &Json) -> Vec<String> {
    let mut parts: Vec<String> = view::list(&chart.meta, "/dependencies")
        .iter()
        .flat_map(|dependency| [view::text(dependency, "/name").to_owned(), view::text(dependency, "/alias").to_owned()])
        .collect();
    parts.push("global".to_owned());
    let mut notes = Vec::new();
    let label = format!("chart {} {}", chart.name(), chart.version());
    unknown(given, &chart.values, former, &mut String::new(), &parts, &mut |path, was_known, near| {
        let mut note = if was_known {
            format!("{label} has no value `{path}` any more: the release sets it, and it has no effect unless a template reads it")
        } else {
            format!("{label} has no value `{path}`: it has no effect unless a template reads it")
        };
        if let Some(near) = near {
            note.push_str(&format!("; it has `{near}`"));
        }
        notes.push(note);
    });
    notes
}

fn unknown(
    given: &Json,
    known: &Json,
    former: &Json,
    path: &mut String,
    free: &[String],
    tell: &mut dyn FnMut(&str, bool, Option<String>),
) {
    let (Some(given), Some(known)) = (given.as_object(), known.as_object()) else { return };
    // What is empty in the chart is for anything.
    if known.is_empty() {
        return;
    }
    for (key, value) in given {
        if path.is_empty() && free.iter().any(|free| free.as_str() == key.as_str()) {
            continue;
        }
        let length = path.len();
        if length > 0 {
            path.push('.');
        }
        path.push_str(key);
        let before = former.get(key.as_str());
        match known.get(key.as_str()) {
            Some(known) => unknown(value, known, before.unwrap_or(&Json::Null), path, &[], tell),
            None => {
                let near = did_you_mean(key, known.keys().map(|key| key.as_str()));
                let near = near.map(|near| format!("{}{near}", path.get(..path.len() - key.len()).unwrap_or_default()));
                tell(path, before.is_some(), near);
            }
        }
        path.truncate(length);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::json::json;

    fn named<'a>(chart: &'a str, repo: Option<&'a str>, version: Option<&'a str>) -> Named<'a> {
        Named { chart, repo, version }
    }

    #[test]
    fn which_chart_is_meant_must_be_said_exactly() {
        let good = [
            named("cilium", Some("https://helm.example"), Some("1.16.5")),
            named("oci://registry.example/charts/cilium", None, Some("v1.16.5-rc.1")),
            named("https://helm.example/cilium-1.16.5.tgz", None, None),
            named("./cilium", None, None),
            named("/charts/cilium-1.16.5.tgz", None, Some("1.16.5")),
        ];
        for good in good {
            good.check("helm.upgrade").unwrap();
        }
        let bad = [
            (named("cilium", None, Some("1.16.5")), "has no address"),
            (named("cilium/cilium", None, Some("1.16.5")), "has no address"),
            (named("cilium", Some("helm.example"), Some("1.16.5")), "is no address of a repository"),
            (named("cilium", Some("https://helm.example"), None), "needs a `version`"),
            (named("oci://registry.example/cilium", None, Some("^1.16")), "is no exact version"),
            (named("oci://registry.example/cilium", None, Some("1.16")), "is no exact version"),
            (named("./cilium", Some("https://helm.example"), None), "has an address already"),
            (named("--post-renderer", None, None), "is no chart"),
        ];
        for (bad, says) in bad {
            let error = bad.check("helm.upgrade").unwrap_err();
            assert!(error.message.contains(says), "{error}");
        }
    }

    #[test]
    fn values_that_the_chart_does_not_know_are_told() {
        let chart = Chart {
            path: PathBuf::new(),
            meta: json!({ "name": "shop", "version": "2.0.0", "dependencies": [{ "name": "redis" }] }),
            values: json!({ "image": { "tag": "v1", "repository": "x" }, "labels": {}, "replicas": 1, "none": null }),
            digest: String::new(),
            model: None,
        };
        let former = json!({ "image": { "tag": "v0" }, "colour": "green" });
        let given = json!({
            "image": { "tga": "v2" }, "labels": { "any": "thing" }, "colour": "red", "redis": { "x": 1 }, "global": { "y": 1 }, "none": { "a": 1 },
        });
        let notes = lint(&given, &chart, &former);
        assert_eq!(
            notes,
            [
                "chart shop 2.0.0 has no value `colour` any more: the release sets it, and it has no effect unless a template reads it",
                "chart shop 2.0.0 has no value `image.tga`: it has no effect unless a template reads it; it has `image.tag`",
            ]
        );
    }

    #[test]
    fn the_digest_is_of_names_and_contents() {
        let folder = tempfile::TempDir::new().unwrap();
        let (a, b) = (folder.path().join("a"), folder.path().join("b"));
        std::fs::create_dir_all(a.join("templates")).unwrap();
        std::fs::write(a.join("Chart.yaml"), "name: a").unwrap();
        std::fs::write(a.join("templates/x.yaml"), "x").unwrap();
        copy_tree(&a, &b, 0).unwrap();
        let same = digest(&a).unwrap();
        assert_eq!(digest(&b).unwrap(), same);
        std::fs::rename(b.join("templates/x.yaml"), b.join("templates/y.yaml")).unwrap();
        assert_ne!(digest(&b).unwrap(), same);
    }
}
