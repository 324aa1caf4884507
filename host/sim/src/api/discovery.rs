//! What the server says about itself: versions, groups, resources; in one aggregated document or in many.

use sha2::{Digest, Sha256};

use crate::json::{Value, json};

use super::accept;
use crate::kinds::{self, Kind};
use crate::request::{Body, Request, Response};
use crate::view;

/// The order of groups on a real server. Groups of custom resources come behind these, by name.
const GROUPS: [&str; 20] = [
    "apiregistration.k8s.io",
    "apps",
    "events.k8s.io",
    "authentication.k8s.io",
    "authorization.k8s.io",
    "autoscaling",
    "batch",
    "certificates.k8s.io",
    "networking.k8s.io",
    "policy",
    "rbac.authorization.k8s.io",
    "storage.k8s.io",
    "admissionregistration.k8s.io",
    "apiextensions.k8s.io",
    "scheduling.k8s.io",
    "coordination.k8s.io",
    "node.k8s.io",
    "discovery.k8s.io",
    "resource.k8s.io",
    "flowcontrol.apiserver.k8s.io",
];

/// The type of an aggregated document.
const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

const VERBS: [&str; 8] = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];
const CHANGED: &[&str] = &["get", "patch", "update"];

/// The answer of a subresource that is not the object itself, and its verbs: name, group, version, kind, verbs.
type Subresource = (&'static str, &'static str, &'static str, &'static str, &'static [&'static str]);
const SUBRESOURCES: &[Subresource] = &[
    ("binding", "", "", "Binding", &["create"]),
    ("eviction", "policy", "v1", "Eviction", &["create"]),
    ("exec", "", "", "PodExecOptions", &["create", "get"]),
    ("log", "", "", "", &["get"]),
    ("scale", "autoscaling", "v1", "Scale", CHANGED),
    ("finalize", "", "", "", &["update"]),
    ("token", "authentication.k8s.io", "v1", "TokenRequest", &["create"]),
];

/// The older way to bind a pod, in the body of which the pod is named: no kind of its own, but listed as one.
static BINDING: Kind = Kind {
    group: "",
    version: "v1",
    kind: "Binding",
    plural: "bindings",
    singular: "binding",
    short: &[],
    namespaced: true,
    subresources: &[],
    has_generation: false,
    categories: &[],
    status: kinds::Modelling::Modelled,
    definition: None,
    rank: kinds::rank("", "bindings"),
};

/// Answers `/api`, `/apis` and below. The path was checked before. `customs` are the served kinds of custom resources.
pub(crate) fn answer(segments: &[String], request: &Request, customs: &[&'static Kind]) -> Response {
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    let here = Here { customs };
    let wanted = accept::wanted(&request.accept);
    let aggregates =
        |wanted: &accept::Wanted<'_>| (wanted.kind, wanted.group, wanted.version) == ("APIGroupDiscoveryList", "apidiscovery.k8s.io", "v2");
    if segments.len() == 1 && wanted.iter().any(aggregates) {
        return here.aggregated(segments == ["api"], request);
    }
    if !wanted.iter().any(|wanted| wanted.kind.is_empty()) {
        return accept::not_acceptable(&request.accept).into();
    }
    Response::json(200, here.document(&segments).into())
}

/// `/version` of a server of this version, which behaves like the emulated one (`1.35`).
pub(crate) fn version(git_version: &str, emulated: Option<&str>) -> Value {
    let mut numbers = git_version.trim_start_matches('v').split('.');
    let major = numbers.next().unwrap_or_default();
    let minor = numbers.next().unwrap_or_default();
    let (_, emulated) = emulated.and_then(|emulated| emulated.split_once('.')).unwrap_or((major, minor));
    let oldest = emulated.parse::<u32>().unwrap_or(0).saturating_sub(1).to_string();
    json!({
        "emulationMajor": major, "emulationMinor": emulated, "minCompatibilityMajor": major, "minCompatibilityMinor": oldest,
        "major": major, "minor": minor, "gitVersion": git_version, "gitCommit": "simulator", "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z", "goVersion": "go1.26", "compiler": "gc", "platform": "linux/amd64",
    })
}

/// All that discovery lists.
struct Here<'a> {
    customs: &'a [&'static Kind],
}

impl Here<'_> {
    /// The kinds of a group and version in the order of their names.
    fn kinds(&self, group: &str, version: Option<&str>) -> Vec<&'static Kind> {
        let all = kinds::ALL.iter().chain(kinds::REVIEWS).chain(kinds::ABSENT).chain(self.customs).copied().chain([&BINDING]);
        let mut found: Vec<&Kind> =
            all.filter(|kind| kind.group == group && version.is_none_or(|version| kind.version == version)).collect();
        found.sort_by_key(|kind| (kind.plural, kind.version));
        found
    }

    fn groups(&self) -> Vec<&'static str> {
        let built_in = GROUPS.iter().copied().filter(|group| !self.kinds(group, None).is_empty());
        let mut own: Vec<&str> = self.customs.iter().map(|kind| kind.group).filter(|group| !GROUPS.contains(group)).collect();
        own.sort_unstable();
        own.dedup();
        built_in.chain(own).collect()
    }

    /// The versions of a group, the preferred one first.
    fn versions(&self, group: &str) -> Vec<&'static str> {
        let mut versions: Vec<&str> = self.kinds(group, None).iter().map(|kind| kind.version).collect();
        versions.sort_by(|a, b| kinds::compare_versions(a, b));
        versions.dedup();
        versions
    }

    fn document(&self, segments: &[&str]) -> Value {
        match segments {
            ["api"] => json!({
                "kind": "APIVersions", "versions": ["v1"],
                "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": "simulator"}],
            }),
            ["apis"] => {
                let groups: Value = self.groups().into_iter().map(|name| self.group(name)).collect();
                json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
            }
            ["apis", name] => {
                let mut value = self.group(name);
                view::set(&mut value, &["kind"], "APIGroup");
                view::set(&mut value, &["apiVersion"], "v1");
                value
            }
            ["api", version] => self.resources("", version),
            ["apis", group, version] => self.resources(group, version),
            _ => Value::Null,
        }
    }

    fn group(&self, name: &str) -> Value {
        let version = |version: &str| json!({"groupVersion": format!("{name}/{version}"), "version": version});
        let versions: Vec<Value> = self.versions(name).into_iter().map(version).collect();
        let preferred = versions.first().cloned();
        json!({"name": name, "versions": versions, "preferredVersion": preferred})
    }

    fn resources(&self, group: &str, version: &str) -> Value {
        let group_version = if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
        let resources: Value = self.kinds(group, Some(version)).into_iter().flat_map(|kind| self.resource(kind)).collect();
        let mut list = json!({"kind": "APIResourceList", "groupVersion": group_version, "resources": resources});
        // The core group leaves it out on a real server.
        if !group.is_empty() {
            view::set(&mut list, &["apiVersion"], "v1");
        }
        list
    }

    fn is_custom(&self, kind: &'static Kind) -> bool {
        self.customs.contains(&kind)
    }

    fn verbs(&self, kind: &'static Kind) -> Value {
        if kind.is(&BINDING) || kinds::REVIEWS.contains(&kind) {
            return json!(["create"]);
        }
        if self.is_custom(kind) {
            return json!(["delete", "deletecollection", "get", "list", "patch", "create", "update", "watch"]);
        }
        let all = VERBS.into_iter().filter(|verb| !(kind.is(kinds::NAMESPACE) && *verb == "deletecollection"));
        all.map(Value::from).collect()
    }

    /// The subresources of a kind, in the order of discovery.
    fn subresources(&self, kind: &'static Kind) -> Vec<Subresource> {
        let mut names = kind.subresources.to_vec();
        names.sort_unstable();
        if self.is_custom(kind) {
            names.reverse();
        }
        let row = |name: &'static str| SUBRESOURCES.iter().find(|row| row.0 == name).copied().unwrap_or((name, "", "", "", CHANGED));
        names.into_iter().map(row).collect()
    }

    /// A resource and its subresources as `APIResourceList` has them.
    fn resource(&self, kind: &'static Kind) -> Vec<Value> {
        let mut main = json!({
            "name": kind.plural, "singularName": kind.singular, "namespaced": kind.namespaced, "kind": kind.kind,
            "verbs": self.verbs(kind),
        });
        name_shortly(kind, &mut main);
        if !kind.is(&BINDING) && !kinds::REVIEWS.contains(&kind) {
            view::set(&mut main, &["storageVersionHash"], storage_version_hash(kind));
        }
        let mut all = vec![main];
        for (name, group, version, of, verbs) in self.subresources(kind) {
            let mut sub = json!({
                "name": format!("{}/{name}", kind.plural), "singularName": "", "namespaced": kind.namespaced,
                "kind": if of.is_empty() { kind.kind } else { of }, "verbs": verbs,
            });
            if !group.is_empty() {
                view::set(&mut sub, &["group"], group);
                view::set(&mut sub, &["version"], version);
            }
            all.push(sub);
        }
        all
    }

    fn aggregated(&self, core: bool, request: &Request) -> Response {
        let groups = if core { vec![""] } else { self.groups() };
        let item = |group: &str| {
            let version = |version: &str| {
                let resources: Value = self.kinds(group, Some(version)).into_iter().map(|kind| self.aggregated_resource(kind)).collect();
                json!({"version": version, "resources": resources, "freshness": "Current"})
            };
            let versions: Value = self.versions(group).into_iter().map(version).collect();
            let metadata = if core { json!({}) } else { json!({"name": group}) };
            json!({"metadata": metadata, "versions": versions})
        };
        let items: Value = groups.into_iter().map(item).collect();
        let document = json!({"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}, "items": items});
        let tag = tag(&document);
        let mut response = Response::json(200, document.into());
        if request.if_none_match.split(',').any(|known| known.trim() == tag) {
            response.status = 304;
            response.body = Body::Text(String::new());
        }
        let headers = [("Cache-Control", "public"), ("Content-Type", AGGREGATED), ("ETag", tag.as_str()), ("Vary", "Accept")];
        response.headers = headers.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        response
    }

    fn aggregated_resource(&self, kind: &'static Kind) -> Value {
        let (group, version) = if self.is_custom(kind) { (kind.group, kind.version) } else { ("", "") };
        let mut resource = json!({
            "resource": kind.plural, "singularResource": kind.singular, "scope": if kind.namespaced { "Namespaced" } else { "Cluster" },
            "responseKind": {"group": group, "version": version, "kind": kind.kind}, "verbs": self.verbs(kind),
        });
        name_shortly(kind, &mut resource);
        let own = (group, version, kind.kind);
        let sub = |(name, group, version, kind, verbs): Subresource| {
            let (group, version, kind) = if kind.is_empty() { own } else { (group, version, kind) };
            json!({"subresource": name, "responseKind": {"group": group, "version": version, "kind": kind}, "verbs": verbs})
        };
        let subresources: Vec<Value> = self.subresources(kind).into_iter().map(sub).collect();
        if !subresources.is_empty() {
            view::set(&mut resource, &["subresources"], subresources);
        }
        resource
    }
}

fn name_shortly(kind: &Kind, resource: &mut Value) {
    for (field, names) in [("shortNames", kind.short), ("categories", kind.categories)] {
        if !names.is_empty() {
            view::set(resource, &[field], names.iter().copied().map(Value::from).collect::<Value>());
        }
    }
}

/// What tells the version in which objects of a kind are stored from any other (`StorageVersionHash` of
/// `k8s.io/apiserver/pkg/endpoints/discovery`).
fn storage_version_hash(kind: &Kind) -> String {
    let version = crate::crd::stored_version(kind);
    let version = if kind.group.is_empty() { format!("/{version}") } else { version };
    let digest = Sha256::digest(format!("{version}/{}", kind.kind).as_bytes());
    crate::base64::encode(&digest[..8])
}

/// The tag of a document: equal documents have equal tags. FNV-1a, for nobody guards anything with it.
fn tag(document: &Value) -> String {
    let hash =
        document.to_string().bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    format!("\"{hash:016X}\"")
}

/// Whether this group, in this version if one is given, has anything to list.
pub(crate) fn serves(group: &str, version: Option<&str>, customs: &[&'static Kind]) -> bool {
    !group.is_empty() && !Here { customs }.kinds(group, version).is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(path: &str) -> Value {
        let segments: Vec<String> = path.split('/').map(str::to_owned).collect();
        answer(&segments, &Request::get(path), &[]).value().unwrap().clone()
    }

    #[test]
    fn groups_and_resources_are_listed() {
        let apps = at("apis/apps/v1");
        assert_eq!(apps["groupVersion"], "apps/v1");
        let deployments = apps["resources"].as_array().unwrap().iter().find(|r| r["name"] == "deployments").unwrap();
        assert_eq!(deployments["shortNames"], json!(["deploy"]));
        let scale = apps["resources"].as_array().unwrap().iter().find(|r| r["name"] == "deployments/scale").unwrap();
        assert_eq!((scale["kind"].as_str(), scale["group"].as_str()), (Some("Scale"), Some("autoscaling")));
        let names: Vec<Value> = at("apis")["groups"].as_array().unwrap().iter().map(|g| g["name"].clone()).collect();
        assert_eq!((names[0].as_str(), names[1].as_str()), (Some("apiregistration.k8s.io"), Some("apps")));
        for name in ["authorization.k8s.io", "policy", "rbac.authorization.k8s.io"] {
            assert!(names.iter().any(|listed| listed == name), "{name} is missing: {names:?}");
        }
        let review = at("apis/authorization.k8s.io/v1")["resources"][1].clone();
        assert_eq!((review["name"].as_str(), &review["verbs"]), (Some("selfsubjectaccessreviews"), &json!(["create"])));
        assert_eq!(at("apis/apps")["preferredVersion"]["groupVersion"], "apps/v1");
        assert_eq!(at("api/v1")["resources"][0]["name"], "bindings");
        assert_eq!(at("api/v1")["resources"][1]["name"], "configmaps");
    }

    #[test]
    fn every_group_of_the_table_has_its_place() {
        for kind in kinds::ALL.iter().chain(kinds::REVIEWS) {
            assert!(kind.group.is_empty() || GROUPS.contains(&kind.group), "{}", kind.group);
        }
    }

    #[test]
    fn versions_are_split() {
        let v = version("v1.33.2", None);
        assert_eq!((v["major"].as_str(), v["minor"].as_str(), v["gitVersion"].as_str()), (Some("1"), Some("33"), Some("v1.33.2")));
    }
}
