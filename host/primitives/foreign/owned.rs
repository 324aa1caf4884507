//! Objects of the plan that a program keeps as a repository says: it would revert the run.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Found, Touch, skip};
use crate::base::json::Value as Json;
use crate::base::{Kind, Result};
use crate::cluster::{Cluster, Select};

/// From how many objects of one kind in one place on they are listed instead of read one by one.
const MANY: usize = 3;
/// How many objects are named in a warning.
const NAMED: usize = 3;

/// How a program shows that an object is its: the beginnings of the names of its labels, annotations and field managers.
struct Program {
    name: &'static str,
    labels: &'static [&'static str],
    annotations: &'static [&'static str],
    managers: &'static [&'static str],
    hint: &'static str,
}

const PROGRAMS: [Program; 2] = [
    Program {
        name: "Argo CD",
        labels: &["argocd.argoproj.io/instance"],
        annotations: &["argocd.argoproj.io/tracking-id"],
        managers: &["argocd-controller", "argocd-application-controller"],
        hint: "switch automatic sync off for its application, and make the change in the repository too",
    },
    Program {
        name: "Flux",
        labels: &["kustomize.toolkit.fluxcd.io/name", "helm.toolkit.fluxcd.io/name"],
        annotations: &[],
        managers: &["kustomize-controller", "helm-controller"],
        hint: "suspend it (`flux suspend`), and make the change in the repository too",
    },
];

/// What Flux is told to leave alone.
const SUSPENDED: (&str, &str) = ("kustomize.toolkit.fluxcd.io/reconcile", "disabled");

pub(super) async fn look(cluster: &Cluster, touch: &Touch, found: &mut Found) -> Result<()> {
    let mut places: BTreeMap<(&str, Option<&str>), Vec<&str>> = BTreeMap::new();
    for (resource, namespace, name) in touch.objects.iter().filter(|(resource, ..)| resource != "nodes") {
        places.entry((resource, namespace.as_deref())).or_default().push(name);
    }
    let mut owned: BTreeMap<usize, Vec<String>> = BTreeMap::new();
    for ((resource, namespace), names) in places {
        for (full, object) in read(cluster, resource, namespace, &names, found).await? {
            if let Some(program) = PROGRAMS.iter().position(|program| is_of(program, &object)) {
                owned.entry(program).or_default().push(full);
            }
        }
    }
    for (program, objects) in owned {
        let Some(program) = PROGRAMS.get(program) else { continue };
        let mut shown: Vec<String> = objects.iter().take(NAMED).map(|object| format!("`{object}`")).collect();
        if objects.len() > NAMED {
            shown.push(format!("{} more", objects.len() - NAMED));
        }
        let verb = if objects.len() == 1 { "belongs" } else { "belong" };
        found.warns(format!("{} {verb} to {}, which will revert the run", shown.join(", "), program.name), program.hint);
    }
    Ok(())
}

/// Those of the named objects that are there.
async fn read(
    cluster: &Cluster,
    resource: &str,
    namespace: Option<&str>,
    names: &[&str],
    found: &mut Found,
) -> Result<Vec<(String, Arc<Json>)>> {
    let (plural, group) = resource.split_once('.').unwrap_or((resource, ""));
    let resource = match cluster.resolve(plural, Some(group)).await {
        Ok(resource) => resource,
        // The run brings the kind itself.
        Err(error) if error.kind == Kind::Input => return Ok(Vec::new()),
        Err(error) => return Ok(skip(error, resource, found)?.unwrap_or_default()),
    };
    let target = |name: &str| cluster.object(resource.clone(), namespace.map(str::to_owned), name);
    let mut objects = Vec::new();
    if names.len() > MANY {
        let listed = match cluster.list(&resource, namespace, &Select::default()).await {
            Ok(listed) => listed.items,
            Err(error) => skip(error, &resource.group_resource(), found)?.unwrap_or_default(),
        };
        let wanted = listed.into_iter().filter_map(|object| {
            let name = object.pointer("/metadata/name").and_then(Json::as_str)?.to_owned();
            names.contains(&&*name).then(|| (target(&name).to_string(), object))
        });
        objects.extend(wanted);
        return Ok(objects);
    }
    for name in names {
        let target = target(name);
        match cluster.find(&target).await {
            Ok(Some(object)) => objects.push((target.to_string(), object)),
            Ok(None) => {}
            Err(error) => drop(skip::<()>(error, &target.full_name(), found)?),
        }
    }
    Ok(objects)
}

fn is_of(program: &Program, object: &Json) -> bool {
    let has = |pointer: &str, keys: &[&str]| object.pointer(pointer).is_some_and(|map| keys.iter().any(|key| map.get(key).is_some()));
    let managers = object.pointer("/metadata/managedFields").and_then(Json::as_array).into_iter().flatten();
    let managed = managers.filter_map(|entry| entry["manager"].as_str()).any(|manager| program.managers.contains(&manager));
    let suspended = object.pointer("/metadata/annotations").and_then(|all| all.get(SUSPENDED.0)).is_some_and(|set| set == SUSPENDED.1);
    !suspended && (managed || has("/metadata/labels", program.labels) || has("/metadata/annotations", program.annotations))
}
