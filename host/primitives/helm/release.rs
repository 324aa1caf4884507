//! Releases as Helm keeps them: a Secret or ConfigMap for each revision, with the release as JSON, compressed and coded.
//!
//! `data.release` is base64 (once more in a Secret, as all its data) of the gzipped JSON; releases of old Helms are not compressed.
//! Source: helm 4.2, `pkg/storage/driver/{secrets,cfgmaps,util}.go`.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::base::base64;
use crate::base::json::{Value as Json, json};
pub(super) use crate::base::release::{SECRET_TYPE, pack as encode, unpack as decode};
use crate::base::{Error, Kind, Reason, Result, Value, Version, did_you_mean};
use crate::cluster::{PatchType, Select, Target};
use crate::primitives::cx::Cx;
use crate::primitives::registry::Arg;
use crate::primitives::types::{ArgType, Type, mismatch};
use crate::primitives::view;

/// The longest name of a release.
const LONGEST_NAME: usize = 53;

/// Which release: `cilium`, or `kube-system/cilium`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReleaseRef {
    /// Its namespace, where one is given.
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
}

impl ArgType for ReleaseRef {
    const TYPE: Type = Type::new("string", "a release such as \"cilium\" or \"kube-system/cilium\"");

    fn from_arg(arg: Arg) -> Result<Self> {
        let Arg::Value(Value::Json(Json::String(text))) = &arg else { return Err(mismatch::<Self>(&arg)) };
        let (namespace, name) = match text.split_once('/') {
            Some((namespace, name)) => (Some(namespace), name),
            None => (None, text.as_str()),
        };
        let is_label = |word: &str| {
            let ends = |c: Option<char>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
            ends(word.chars().next())
                && ends(word.chars().last())
                && word.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "-.".contains(c))
        };
        if !is_label(name) || name.len() > LONGEST_NAME || namespace.is_some_and(|namespace| !is_label(namespace)) {
            return Err(Error::usage(format!("is no name of a release: `{text}`")).hint(format!(
                "lower-case letters, digits, `-` and `.`, at most {LONGEST_NAME} characters; `namespace/name` where it is elsewhere"
            )));
        }
        Ok(ReleaseRef { namespace: namespace.map(str::to_owned), name: name.to_owned() })
    }
}

/// A release somewhere, whether it exists or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) namespace: String,
    pub(super) name: String,
    at_home: bool,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.at_home { f.write_str(&self.name) } else { write!(f, "{}/{}", self.namespace, self.name) }
    }
}

impl Place {
    /// `release/namespace/name`: the same wherever it is said.
    pub(super) fn full_name(&self) -> String {
        format!("release/{}/{}", self.namespace, self.name)
    }
}

impl Cx {
    /// The release that a reference means; `namespace` is the option of that name.
    pub(super) fn release(&self, reference: &ReleaseRef, namespace: Option<&str>) -> Place {
        let home = self.cluster.namespace();
        let namespace = reference.namespace.as_deref().or(namespace).unwrap_or(home);
        Place { namespace: namespace.to_owned(), name: reference.name.clone(), at_home: namespace == home }
    }

    /// All revisions of a release, oldest first; none when there is no such release.
    pub(super) async fn revisions_of(&self, place: &Place) -> Result<Vec<Stored>> {
        self.stored(Some(&place.namespace), &format!("owner=helm,name={}", place.name)).await
    }

    /// The same for a release that must be there.
    ///
    /// # Errors
    /// `not_found`, with what may have been meant.
    pub(super) async fn revisions_there(&self, place: &Place, doing: &str) -> Result<Vec<Stored>> {
        let found = self.revisions_of(place).await?;
        if !found.is_empty() {
            return Ok(found);
        }
        let error = Error::not_found(format!("{doing} release `{place}`: there is no such release in namespace `{}`", place.namespace))
            .about(place.full_name());
        let everywhere = match self.stored(None, "owner=helm").await {
            Ok(everywhere) => everywhere,
            Err(stop) if stop.is_stop() => return Err(stop),
            // It is missing whether or not others may be read.
            Err(_) => return Err(error),
        };
        if let Some(elsewhere) = everywhere.iter().find(|stored| stored.name() == place.name) {
            return Err(error.hint(format!(
                "there is one in namespace `{}`: write `{}/{}`",
                elsewhere.namespace(),
                elsewhere.namespace(),
                place.name
            )));
        }
        Err(match did_you_mean(&place.name, everywhere.iter().map(Stored::name)) {
            Some(near) => error.hint(format!("did you mean `{near}`?")),
            None if everywhere.is_empty() => {
                error.hint("there are no releases in Secrets or ConfigMaps; Helm may keep them elsewhere (HELM_DRIVER)")
            }
            None => error.hint("`helm.list { all_namespaces = true }` tells what there is"),
        })
    }

    /// Revisions in Secrets, else in ConfigMaps.
    pub(super) async fn stored(&self, namespace: Option<&str>, labels: &str) -> Result<Vec<Stored>> {
        let select = Select { labels: Some(labels.to_owned()), fields: None };
        for kind in ["secrets", "configmaps"] {
            let resource = self.cluster.resolve(kind, Some("")).await?;
            let listed = self.cluster.list(&resource, namespace, &select).await?;
            let mut found: Vec<Stored> = listed
                .items
                .into_iter()
                .map(|object| Stored {
                    target: self.cluster.object(
                        resource.clone(),
                        Some(view::text(&object, "/metadata/namespace").to_owned()),
                        view::name(&object),
                    ),
                    object,
                })
                .filter(Stored::is_release)
                .collect();
            found.sort_by(|a, b| (a.namespace(), a.name(), a.revision()).cmp(&(b.namespace(), b.name(), b.revision())));
            if !found.is_empty() {
                return Ok(found);
            }
        }
        Ok(Vec::new())
    }
}

/// One revision as it is stored.
#[derive(Clone, Debug)]
pub(super) struct Stored {
    /// The Secret or ConfigMap.
    pub(super) target: Target,
    pub(super) object: Arc<Json>,
}

impl Stored {
    fn is_secret(&self) -> bool {
        self.target.resource.kind == "Secret"
    }

    fn is_release(&self) -> bool {
        let kind = view::text(&self.object, "/type");
        (!self.is_secret() || kind == SECRET_TYPE) && self.revision() > 0 && !self.name().is_empty()
    }

    pub(super) fn name(&self) -> &str {
        view::label(&self.object, "name")
    }

    pub(super) fn namespace(&self) -> &str {
        view::text(&self.object, "/metadata/namespace")
    }

    pub(super) fn revision(&self) -> i64 {
        view::label(&self.object, "version").parse().unwrap_or(0)
    }

    /// The status of its label, by which Helm itself looks for the deployed one.
    pub(super) fn status(&self) -> &str {
        view::label(&self.object, "status")
    }

    /// What is in it.
    ///
    /// # Errors
    /// `unsupported` when it is no release that can be read.
    pub(super) fn release(&self) -> Result<Release> {
        let data = view::text(&self.object, "/data/release");
        let read = || {
            let coded = if self.is_secret() {
                String::from_utf8(base64::decode(data).ok_or("not base64")?).map_err(|_| "not base64")?
            } else {
                data.to_owned()
            };
            decode(&coded)
        };
        match read() {
            Ok(json) => Ok(Release(json)),
            Err(why) => {
                let message = format!("reading release `{}`: revision {} cannot be read", self.name(), self.revision());
                Err(Error::new(Kind::Cluster, Reason::Unsupported, message).about(self.target.full_name()).cause(why))
            }
        }
    }

    /// The change of the stored object that makes this release of it: a merge patch with the version that was read.
    pub(super) fn change(&self, release: &Release) -> Result<Json> {
        let coded = encode(&release.0)?;
        let coded = if self.is_secret() { base64::encode(coded.as_bytes()) } else { coded };
        Ok(json!({
            "metadata": { "resourceVersion": view::text(&self.object, "/metadata/resourceVersion"), "labels": { "status": release.status() } },
            "data": { "release": coded },
        }))
    }
}

/// How often a record is written anew at most.
pub(super) const TRIES: usize = 5;

/// Writes a changed release into its record. Somebody else may have written to the Secret meanwhile, for example a label: then it is read
/// anew, and written as long as it still holds the release that was read.
///
/// # Errors
/// Of the API; `conflict` when the release itself was changed.
pub(super) async fn write(cx: &Cx, stored: &Stored, release: &Release) -> Result<()> {
    let was = view::text(&stored.object, "/data/release").to_owned();
    let mut stored = stored.clone();
    for _ in 1..TRIES {
        match cx.cluster.patch(&stored.target, PatchType::Merge, stored.change(release)?, None).await {
            Err(error) if error.reason == Reason::Conflict => {
                stored.object = cx.cluster.get(&stored.target).await?;
                if view::text(&stored.object, "/data/release") != was {
                    return Err(error.hint("another operation on the release wrote to it: look at `helm.history`"));
                }
            }
            other => return other.map(drop),
        }
    }
    cx.cluster.patch(&stored.target, PatchType::Merge, stored.change(release)?, None).await.map(drop)
}

/// The last of a list of revisions that Helm calls deployed.
pub(super) fn deployed(revisions: &[Stored]) -> Option<&Stored> {
    revisions.iter().rev().find(|stored| stored.status() == "deployed")
}

/// One revision of a release.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Release(pub(super) Json);

impl Release {
    pub(super) fn text(&self, pointer: &str) -> &str {
        view::text(&self.0, pointer)
    }

    pub(super) fn revision(&self) -> i64 {
        view::count(&self.0, "/version")
    }

    pub(super) fn status(&self) -> &str {
        self.text("/info/status")
    }

    /// Whether an operation has begun and not ended, as far as the record says.
    pub(super) fn is_pending(&self) -> bool {
        self.status().starts_with("pending-") || self.status() == "uninstalling"
    }

    pub(super) fn description(&self) -> &str {
        self.text("/info/description")
    }

    pub(super) fn manifest(&self) -> &str {
        self.text("/manifest")
    }

    /// The values that a person gave; an empty map for none.
    pub(super) fn config(&self) -> Json {
        self.0.get("config").filter(|config| config.is_object()).cloned().unwrap_or_else(|| json!({}))
    }

    /// The chart's own values.
    pub(super) fn defaults(&self) -> Json {
        self.0.pointer("/chart/values").filter(|values| values.is_object()).cloned().unwrap_or_else(|| json!({}))
    }

    /// The time as Helm wrote it. Old Helms wrote an empty text for one that they did not know.
    fn stamp(&self, field: &str) -> Value {
        match self.text(&format!("/info/{field}")) {
            "" => Value::Json(Json::Null),
            text => Value::from(text.to_owned()),
        }
    }

    /// `cilium-1.16.5`, as Helm prints it.
    pub(super) fn chart(&self) -> String {
        match (self.text("/chart/metadata/name"), self.text("/chart/metadata/version")) {
            ("", _) => "MISSING".to_owned(),
            (name, version) => format!("{name}-{version}"),
        }
    }

    /// A row as `helm history -o json` has it.
    pub(super) fn history_row(&self) -> BTreeMap<String, Value> {
        BTreeMap::from([
            ("revision".to_owned(), Value::Json(self.revision().into())),
            ("updated".to_owned(), self.stamp("last_deployed")),
            ("status".to_owned(), Value::from(self.status().to_owned())),
            ("chart".to_owned(), Value::from(self.chart())),
            ("app_version".to_owned(), typed(self.text("/chart/metadata/appVersion"))),
            ("description".to_owned(), Value::from(self.description().to_owned())),
        ])
    }

    /// A row as `helm list -o json` has it.
    pub(super) fn list_row(&self) -> BTreeMap<String, Value> {
        let mut row = self.history_row();
        drop(row.remove("description"));
        row.insert("name".to_owned(), Value::from(self.text("/name").to_owned()));
        row.insert("namespace".to_owned(), Value::from(self.text("/namespace").to_owned()));
        row
    }

    /// Everything but what is large.
    pub(super) fn whole_row(&self) -> BTreeMap<String, Value> {
        let mut row = self.list_row();
        row.insert("description".to_owned(), Value::from(self.description().to_owned()));
        row.insert("first_deployed".to_owned(), self.stamp("first_deployed"));
        row.insert("notes".to_owned(), Value::from(self.text("/info/notes").to_owned()));
        row.insert("chart_name".to_owned(), Value::from(self.text("/chart/metadata/name").to_owned()));
        row.insert("chart_version".to_owned(), typed(self.text("/chart/metadata/version")));
        row
    }
}

/// A version where it can be read as one, else its text.
pub(super) fn typed(text: &str) -> Value {
    match Version::parse(text) {
        Ok(version) if version.to_string() == text => Value::Typed(crate::base::Typed::Version(version)),
        _ => Value::from(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_without_moments_has_none() {
        let release = json!({ "name": "shop", "version": 3, "info": { "status": "deployed", "last_deployed": "" } });
        assert_eq!(Release(release).history_row()["updated"], Value::Json(Json::Null));
    }

    #[test]
    fn names_are_checked_before_they_reach_a_command_line() {
        let named = |text: &str| ReleaseRef::from_arg(Arg::Value(Value::from(text.to_owned())));
        assert_eq!(
            named("kube-system/cilium").unwrap(),
            ReleaseRef { namespace: Some("kube-system".to_owned()), name: "cilium".to_owned() }
        );
        for wrong in ["", "-f", "--kubeconfig", "Cilium", "a/b/c", "a_b", "/a", "a/", &"a".repeat(54)] {
            let error = named(wrong).unwrap_err();
            assert!(error.message.contains("is no name of a release"), "{wrong}: {error}");
        }
    }
}
