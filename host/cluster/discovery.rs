//! Which words name which kinds: a built-in table, and the server's own discovery for everything else.

use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

use crate::base::json::Value as Json;
use lockgate_sim::kinds;

use super::request::Call;
use super::wire::Wire;
use crate::base::{Error, Result, did_you_mean};

/// Asks for everything in two answers; servers older than 1.27 give the plain lists instead.
const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json";

/// A kind that an API server serves.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Resource {
    /// API group; empty for the core group.
    pub group: String,
    /// API version inside the group.
    pub version: String,
    /// The kind, for example `Deployment`.
    pub kind: String,
    /// The name in paths, for example `deployments`.
    pub plural: String,
    /// The singular name, for example `deployment`.
    pub singular: String,
    /// Whether objects live in namespaces.
    pub namespaced: bool,
    /// Short names, for example `deploy`.
    pub short: Vec<String>,
    /// Whether it has a `scale` subresource.
    pub scalable: bool,
}

impl Resource {
    /// `group/version`, or the version alone for the core group.
    #[must_use]
    pub fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.clone() } else { format!("{}/{}", self.group, self.version) }
    }

    /// The name in roles and messages of the server: `deployments.apps`, `pods`.
    #[must_use]
    pub fn group_resource(&self) -> String {
        if self.group.is_empty() { self.plural.clone() } else { format!("{}.{}", self.plural, self.group) }
    }

    fn is_called(&self, word: &str) -> bool {
        let is = |name: &str| name.eq_ignore_ascii_case(word);
        is(&self.singular) || is(&self.plural) || is(&self.kind) || self.short.iter().any(|short| is(short))
    }

    fn row(row: &(&str, &str, &str, &str, &str, bool)) -> Resource {
        let (group, version, kind, plural, short, namespaced) = *row;
        Resource {
            group: group.into(),
            version: version.into(),
            kind: kind.into(),
            plural: plural.into(),
            singular: kind.to_lowercase(),
            namespaced,
            short: short.split_whitespace().map(str::to_owned).collect(),
            scalable: matches!(kind, "StatefulSet" | "ReplicationController"),
        }
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.singular)
    }
}

/// Kinds of every supported server that the simulator does not serve: with them no word of daily use costs a discovery, and a
/// simulated cluster refuses them by name.
const STANDARD: &[(&str, &str, &str, &str, &str, bool)] = &[
    ("", "v1", "PersistentVolumeClaim", "persistentvolumeclaims", "pvc", true),
    ("", "v1", "PersistentVolume", "persistentvolumes", "pv", false),
    ("", "v1", "ResourceQuota", "resourcequotas", "quota", true),
    ("", "v1", "LimitRange", "limitranges", "limits", true),
    ("", "v1", "ReplicationController", "replicationcontrollers", "rc", true),
    ("storage.k8s.io", "v1", "StorageClass", "storageclasses", "sc", false),
];

/// The singular name of a kind that is known without asking, by any of its names: `cm` is `configmap`.
#[must_use]
pub fn singular(word: &str) -> Option<String> {
    built_in().iter().find(|kind| kind.is_called(word)).map(|kind| kind.singular.clone())
}

/// The kinds that are known without asking.
pub(super) fn built_in() -> Vec<Rc<Resource>> {
    let modelled = kinds::ALL.iter().map(|kind| Resource {
        group: kind.group.into(),
        version: kind.version.into(),
        kind: kind.kind.into(),
        plural: kind.plural.into(),
        singular: kind.singular.into(),
        namespaced: kind.namespaced,
        short: kind.short.iter().map(|short| (*short).to_owned()).collect(),
        scalable: kind.has_subresource("scale"),
    });
    modelled.chain(STANDARD.iter().map(Resource::row)).map(Rc::new).collect()
}

/// A kind as it was written: a word, perhaps with version and group behind it.
struct Wanted<'a> {
    word: &'a str,
    version: Option<&'a str>,
    group: Option<&'a str>,
}

impl<'a> Wanted<'a> {
    /// The ways to read `kind`, `kind.group` and `kind.version.group`.
    fn readings(written: &'a str) -> Vec<Wanted<'a>> {
        let Some((word, rest)) = written.split_once('.') else {
            return vec![Wanted { word: written, version: None, group: None }];
        };
        let mut readings = vec![Wanted { word, version: None, group: Some(rest) }];
        if let Some((version, group)) = rest.split_once('.') {
            readings.push(Wanted { word, version: Some(version), group: Some(group) });
        } else if rest.starts_with('v') {
            readings.push(Wanted { word, version: Some(rest), group: Some("") });
        }
        readings
    }

    fn fits(&self, resource: &Resource) -> bool {
        resource.is_called(self.word)
            && self.group.is_none_or(|group| group == resource.group)
            && self.version.is_none_or(|version| version == resource.version)
    }
}

/// The kind of this name among those known.
pub(super) fn find(known: &[Rc<Resource>], kind: &str, group: Option<&str>) -> Option<Rc<Resource>> {
    let written = written(kind, group);
    Wanted::readings(&written).iter().find_map(|wanted| known.iter().find(|resource| wanted.fits(resource)).cloned())
}

fn written(kind: &str, group: Option<&str>) -> String {
    group.map_or_else(|| kind.to_owned(), |group| format!("{kind}.{group}"))
}

/// The error for a word that names no kind.
pub(super) fn unknown(known: &[Rc<Resource>], kind: &str, group: Option<&str>) -> Error {
    let word = kind.split_once('.').map_or(kind, |(word, _)| word);
    let written = written(kind, group);
    let error = Error::usage(format!("the cluster has no kind `{written}`"));
    let names = known.iter().flat_map(|resource| [resource.singular.as_str(), resource.plural.as_str()]);
    if let Some(other) = known.iter().find(|resource| resource.is_called(word)) {
        return error.hint(format!("`{word}` is a kind of group `{}`", other.group));
    }
    match did_you_mean(word, names) {
        Some(near) => error.hint(format!("did you mean `{near}`?")),
        None => error.hint("a kind is written as `kubectl` does: `deployment`, `deploy`, `daemonset.apps`"),
    }
}

/// What a server says that it serves.
#[derive(Debug, Default)]
pub(super) struct Discovered {
    /// The kinds.
    pub(super) found: Vec<Rc<Resource>>,
    /// Group versions of which it does not say what they hold, each with the reason.
    pub(super) silent: Vec<String>,
}

/// Asks the server for everything it serves.
pub(super) async fn discover(wire: &Wire) -> Result<Discovered> {
    let mut found = Discovered::default();
    for root in ["/api", "/apis"] {
        let mut call = Call::path(root, "the kinds that the cluster serves");
        call.accept = AGGREGATED;
        let document = wire.json(&call).await?;
        match document["kind"].as_str() {
            Some("APIGroupDiscoveryList") => aggregated(&document, &mut found),
            _ => plain(wire, root, &document, &mut found).await?,
        }
    }
    Ok(found)
}

fn texts(value: &Json) -> Vec<String> {
    value.as_array().into_iter().flatten().filter_map(Json::as_str).map(str::to_owned).collect()
}

fn text(value: &Json) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn or_lowercase(singular: String, kind: &str) -> String {
    if singular.is_empty() { kind.to_lowercase() } else { singular }
}

/// Reads `APIGroupDiscoveryList`: versions come in the order that the server prefers.
fn aggregated(document: &Json, discovered: &mut Discovered) {
    let Discovered { found, silent } = discovered;
    for group in document["items"].as_array().into_iter().flatten() {
        for version in group["versions"].as_array().into_iter().flatten() {
            if version["freshness"] == "Stale" {
                silent.push(format!("`{}/{}`: the server cannot reach it", text(&group["metadata"]["name"]), text(&version["version"])));
            }
            for resource in version["resources"].as_array().into_iter().flatten() {
                let kind = text(&resource["responseKind"]["kind"]);
                if kind.is_empty() {
                    continue;
                }
                found.push(Rc::new(Resource {
                    group: text(&group["metadata"]["name"]),
                    version: text(&version["version"]),
                    plural: text(&resource["resource"]),
                    singular: or_lowercase(text(&resource["singularResource"]), &kind),
                    namespaced: resource["scope"] == "Namespaced",
                    short: texts(&resource["shortNames"]),
                    scalable: resource["subresources"].as_array().into_iter().flatten().any(|part| part["subresource"] == "scale"),
                    kind,
                }));
            }
        }
    }
}

/// Reads the older form: one list of groups, one list of resources per version.
async fn plain(wire: &Wire, root: &str, document: &Arc<Json>, discovered: &mut Discovered) -> Result<()> {
    let Discovered { found, silent } = discovered;
    let mut versions = texts(&document["versions"]);
    for group in document["groups"].as_array().into_iter().flatten() {
        let preferred = text(&group["preferredVersion"]["groupVersion"]);
        let others = group["versions"].as_array().into_iter().flatten().map(|version| text(&version["groupVersion"]));
        versions.push(preferred.clone());
        versions.extend(others.filter(|version| *version != preferred));
    }
    for version in versions {
        let call = Call::path(&format!("{root}/{version}"), format!("the kinds of `{version}`"));
        let list = match wire.json(&call).await {
            Ok(list) => list,
            // One broken extension server must not hide everybody else's kinds.
            Err(error) if !error.is_stop() => {
                tracing::info!(target: "lockgate::cluster", %version, %error, "no discovery for this group");
                silent.push(format!("`{version}`: {}", error.causes.first().unwrap_or(&error.message)));
                continue;
            }
            Err(error) => return Err(error),
        };
        let (group, version) = version.split_once('/').unwrap_or(("", &version));
        let resources = || list["resources"].as_array().into_iter().flatten();
        for resource in resources() {
            let (plural, kind) = (text(&resource["name"]), text(&resource["kind"]));
            if plural.contains('/') || plural.is_empty() {
                continue;
            }
            found.push(Rc::new(Resource {
                group: group.to_owned(),
                version: version.to_owned(),
                singular: or_lowercase(text(&resource["singularName"]), &kind),
                namespaced: resource["namespaced"] == true,
                short: texts(&resource["shortNames"]),
                scalable: resources().any(|other| other["name"] == format!("{plural}/scale")),
                plural,
                kind,
            }));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::base::json::json;

    use super::*;

    fn named(kind: &str, group: Option<&str>) -> Option<String> {
        find(&built_in(), kind, group).map(|resource| format!("{} {}", resource.api_version(), resource.plural))
    }

    #[test]
    fn words_people_write() {
        for (word, expected) in [
            ("deployment", "apps/v1 deployments"),
            ("Deployments", "apps/v1 deployments"),
            ("deploy", "apps/v1 deployments"),
            ("ds", "apps/v1 daemonsets"),
            ("daemonset.apps", "apps/v1 daemonsets"),
            ("daemonsets.v1.apps", "apps/v1 daemonsets"),
            ("po", "v1 pods"),
            ("pods.v1", "v1 pods"),
            ("sts", "apps/v1 statefulsets"),
            ("cm", "v1 configmaps"),
            ("pdb", "policy/v1 poddisruptionbudgets"),
        ] {
            assert_eq!(named(word, None).as_deref(), Some(expected), "{word}");
        }
        assert_eq!(named("daemonset", Some("apps")).as_deref(), Some("apps/v1 daemonsets"));
        assert_eq!(named("daemonset", Some("batch")), None);
        assert_eq!(named("deployment.v1beta1.apps", None), None);
    }

    #[test]
    fn unknown_words_get_a_suggestion() {
        let known = built_in();
        assert_eq!(unknown(&known, "deploymnt", None).hint.as_deref(), Some("did you mean `deployment`?"));
        assert_eq!(unknown(&known, "deployment.batch", None).hint.as_deref(), Some("`deployment` is a kind of group `apps`"));
    }

    #[test]
    fn no_two_built_in_kinds_share_a_word() {
        let known = built_in();
        for resource in &known {
            for word in resource.short.iter().chain([&resource.plural, &resource.singular]) {
                assert_eq!(find(&known, word, None).as_ref(), Some(resource), "{word}");
            }
        }
    }

    #[test]
    fn aggregated_discovery_is_read() {
        let stale = json!({"metadata": {"name": "metrics.k8s.io"}, "versions": [{"version": "v1beta1", "freshness": "Stale"}]});
        let document = json!({"kind": "APIGroupDiscoveryList", "items": [stale, {"metadata": {"name": "crd.projectcalico.org"},
            "versions": [{"version": "v1", "resources": [{"resource": "ippools", "scope": "Cluster", "shortNames": ["ipp"],
            "responseKind": {"group": "", "version": "", "kind": "IPPool"}, "singularResource": "",
            "subresources": [{"subresource": "status"}, {"subresource": "scale"}]}]}]}]});
        let mut discovered = Discovered::default();
        aggregated(&document, &mut discovered);
        let Discovered { found, silent } = discovered;
        assert_eq!(silent, ["`metrics.k8s.io/v1beta1`: the server cannot reach it"]);
        let pool = find(&found, "ipp", None).unwrap();
        assert_eq!((pool.singular.as_str(), pool.namespaced, pool.scalable), ("ippool", false, true));
        assert_eq!(pool.group_resource(), "ippools.crd.projectcalico.org");
    }

    #[test]
    fn no_kind_is_known_twice() {
        for (group, version, kind, plural, ..) in STANDARD {
            assert!(kinds::by_resource(group, version, plural).is_none(), "{kind} is the simulator's to name");
        }
    }
}
