//! What the server says about itself: versions, groups, resources.

use crate::json::{Value, json};

use crate::kinds::{self, Kind};

/// Answers `/api`, `/apis` and below. The path was checked before.
pub(crate) fn answer(segments: &[String]) -> Value {
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    match segments.as_slice() {
        ["api"] => json!({
            "kind": "APIVersions", "versions": ["v1"],
            "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": "simulator"}],
        }),
        ["apis"] => json!({"kind": "APIGroupList", "apiVersion": "v1",
            "groups": groups().into_iter().map(group).collect::<Vec<_>>()}),
        ["apis", name] => {
            let mut value = group(name);
            value["kind"] = "APIGroup".into();
            value["apiVersion"] = "v1".into();
            value
        }
        ["api", version] => resources("", version),
        ["apis", group, version] => resources(group, version),
        _ => Value::Null,
    }
}

/// `/version`.
pub(crate) fn version(git_version: &str) -> Value {
    let mut numbers = git_version.trim_start_matches('v').split('.');
    let major = numbers.next().unwrap_or_default();
    let minor = numbers.next().unwrap_or_default();
    let oldest = minor.parse::<u32>().unwrap_or(0).saturating_sub(1).to_string();
    json!({
        "emulationMajor": major, "emulationMinor": minor, "minCompatibilityMajor": major, "minCompatibilityMinor": oldest,
        "major": major, "minor": minor, "gitVersion": git_version, "gitCommit": "simulator", "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z", "goVersion": "go1.26", "compiler": "gc", "platform": "linux/amd64",
    })
}

fn groups() -> Vec<&'static str> {
    let mut names: Vec<&str> = kinds::ALL.iter().map(|kind| kind.group).filter(|group| !group.is_empty()).collect();
    names.dedup();
    names
}

fn group(name: &str) -> Value {
    let mut versions: Vec<Value> = kinds::ALL
        .iter()
        .filter(|kind| kind.group == name)
        .map(|kind| json!({"groupVersion": kind.api_version(), "version": kind.version}))
        .collect();
    versions.dedup();
    let preferred = versions.first().cloned();
    json!({"name": name, "versions": versions, "preferredVersion": preferred})
}

fn resources(group: &str, version: &str) -> Value {
    let kinds = kinds::ALL.iter().filter(|kind| kind.group == group && kind.version == version);
    let group_version = if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
    let mut list = json!({"kind": "APIResourceList", "groupVersion": group_version,
        "resources": kinds.flat_map(|kind| resource(kind)).collect::<Vec<_>>()});
    // The core group leaves it out on a real server.
    if !group.is_empty() {
        list["apiVersion"] = "v1".into();
    }
    list
}

fn resource(kind: &Kind) -> Vec<Value> {
    let mut main = json!({
        "name": kind.plural, "singularName": kind.singular, "namespaced": kind.namespaced, "kind": kind.kind,
        "verbs": ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"],
    });
    if !kind.short.is_empty() {
        main["shortNames"] = json!(kind.short);
    }
    if !kind.categories.is_empty() {
        main["categories"] = json!(kind.categories);
    }
    let mut all = vec![main];
    for name in kind.subresources {
        let mut sub = json!({
            "name": format!("{}/{name}", kind.plural), "singularName": "", "namespaced": kind.namespaced, "kind": kind.kind,
            "verbs": ["get", "patch", "update"],
        });
        if *name == "scale" {
            sub["kind"] = "Scale".into();
            sub["group"] = "autoscaling".into();
            sub["version"] = "v1".into();
        }
        all.push(sub);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(path: &str) -> Value {
        answer(&path.split('/').map(str::to_owned).collect::<Vec<_>>())
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
        assert_eq!(names, ["apps", "autoscaling", "coordination.k8s.io", "discovery.k8s.io", "policy"]);
        assert_eq!(at("apis/apps")["preferredVersion"]["groupVersion"], "apps/v1");
        assert_eq!(at("api/v1")["resources"][0]["name"], "configmaps");
    }

    #[test]
    fn versions_are_split() {
        let v = version("v1.33.2");
        assert_eq!((v["major"].as_str(), v["minor"].as_str(), v["gitVersion"].as_str()), (Some("1"), Some("33"), Some("v1.33.2")));
    }
}
