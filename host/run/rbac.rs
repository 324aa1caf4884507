//! The least roles that a run needs, from the requests of its plan.
//!
//! A role of Kubernetes says less than a permission does: it knows no values and no name of what is created. What it can say is said:
//! names, where they are the same in every run; nothing that no request needs.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::cluster::permit::Planned;
use crate::cluster::{LOCK_LEASE, Recorded, Verb};

/// One rule of a role.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rule {
    /// The group.
    pub api_groups: Vec<String>,
    /// Kinds, with their parts: `pods/eviction`.
    pub resources: Vec<String>,
    /// The only objects; all when there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub resource_names: Vec<String>,
    /// What may be done.
    pub verbs: Vec<String>,
}

/// The rules of a run, by where they hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Roles {
    /// In the whole cluster: a ClusterRole.
    pub cluster: Vec<Rule>,
    /// In one namespace: a Role.
    pub namespaces: BTreeMap<String, Vec<Rule>>,
    /// Those of these namespaces that the run would make by applying them: a Role needs them beforehand, and the run finds them then.
    pub early: Vec<String>,
}

/// The namespace by whose uid a cluster is known.
const HOME: &str = "kube-system";

/// Kinds whose names are made up anew by controllers.
const MADE_UP: [&str; 6] = ["pods", "replicasets", "controllerrevisions", "endpointslices", "jobs", "events"];

/// The group of roles and bindings. Whoever writes one needs all that it grants, or may `escalate` this role, and `bind` that one.
const RBAC: &str = "rbac.authorization.k8s.io";

/// What everybody may do who has signed in (`system:basic-user`).
const EVERYBODY: [&str; 3] = ["selfsubjectaccessreviews", "selfsubjectrulesreviews", "selfsubjectreviews"];

/// What is granted on one kind, in one namespace or in the cluster.
#[derive(Default)]
struct Granted {
    /// Verbs on all objects.
    all: BTreeSet<&'static str>,
    /// Verbs on some.
    some: BTreeMap<&'static str, BTreeSet<String>>,
}

/// Group and resource, with its part.
type What = (String, String);

impl Roles {
    /// What the requests of a plan need, in the plan itself (unless `run_only`) and in the run: the lock is added. `absent`: namespaces
    /// that are not there, in which no role can be.
    #[must_use]
    pub fn of(planned: &Planned, run_only: bool, absent: &BTreeSet<String>) -> Roles {
        let mut places: BTreeMap<Option<String>, BTreeMap<What, Granted>> = BTreeMap::new();
        let mut grant = |namespace: Option<&str>, what: What, verb: &'static str, name: Option<&str>| {
            let granted = places.entry(namespace.map(str::to_owned)).or_default().entry(what).or_default();
            match name {
                Some(name) => drop(granted.some.entry(verb).or_default().insert(name.to_owned())),
                None => drop(granted.all.insert(verb)),
            }
        };
        let homes = Homes::of(planned, absent);
        for request in planned.requests.iter().filter(|request| !request.by_hand && (request.dry || !run_only)) {
            let namespace = homes.role_in(request.namespace.as_deref());
            for (verb, name) in needs(request, planned) {
                if verb == Verb::Create && homes.is_early(request) {
                    continue;
                }
                grant(namespace, what(request), verb.as_str(), name);
                if is_role(request) && verb.is_write() && verb != Verb::Delete {
                    grant(namespace, what(request), "escalate", name);
                }
            }
            if let Some((resource, role)) = request.gives.as_deref().and_then(|role| role.split_once('/')) {
                grant(namespace, (RBAC.to_owned(), resource.to_owned()), "bind", Some(role));
            }
        }
        // What is waited for may be there in a plan and not yet in the run.
        for (group, plural, namespace) in &planned.followed {
            let namespace = homes.role_in(namespace.as_deref());
            for verb in [Verb::List.as_str(), Verb::Watch.as_str()] {
                grant(namespace, (group.clone(), plural.clone()), verb, None);
            }
        }
        if planned.writes() && !run_only {
            // A plan looks for webhooks that its questions must not reach.
            for resource in ["mutatingwebhookconfigurations", "validatingwebhookconfigurations"] {
                grant(None, ("admissionregistration.k8s.io".to_owned(), resource.to_owned()), Verb::List.as_str(), None);
            }
        }
        if planned.writes() {
            let lease = ("coordination.k8s.io".to_owned(), "leases".to_owned());
            let (namespace, name) = LOCK_LEASE;
            grant(Some(namespace), lease.clone(), Verb::Create.as_str(), None);
            for verb in [Verb::Get.as_str(), Verb::Update.as_str()] {
                grant(Some(namespace), lease.clone(), verb, Some(name));
            }
            // By its uid a cluster is known again.
            grant(None, (String::new(), "namespaces".to_owned()), Verb::Get.as_str(), Some(HOME));
        }
        let everywhere = places.remove(&None).unwrap_or_default();
        let mut namespaces = BTreeMap::new();
        for (namespace, kinds) in places {
            let rules = rules(&kinds, Some(&everywhere));
            if let (Some(namespace), false) = (namespace, rules.is_empty()) {
                drop(namespaces.insert(namespace, rules));
            }
        }
        let early = homes.early.into_iter().filter(|name| namespaces.contains_key(name)).collect();
        Roles { cluster: rules(&everywhere, None), namespaces, early }
    }
}

/// The namespaces that a run makes: there can be no role in one before it is there.
struct Homes {
    /// Those that are applied: somebody else can make them beforehand. Only those with something in them.
    early: BTreeSet<String>,
    /// Those that are created, which fails when they are there, and those that nobody makes, in which something is looked for: what is
    /// needed in them is granted everywhere.
    late: BTreeSet<String>,
}

impl Homes {
    fn of(planned: &Planned, absent: &BTreeSet<String>) -> Homes {
        let made = planned.requests.iter().filter(|request| request.resource == "namespaces" && request.status == Some(201));
        let (late, early): (Vec<&Recorded>, Vec<&Recorded>) = made.partition(|request| request.verb == Verb::Create);
        let used = |name: &String| planned.requests.iter().any(|request| request.namespace.as_ref() == Some(name));
        let early: BTreeSet<String> = early.into_iter().filter_map(|request| request.name.clone()).filter(used).collect();
        let late = late.into_iter().filter_map(|request| request.made.clone());
        let late = late.chain(absent.iter().filter(|name| !early.contains(*name)).cloned()).collect();
        Homes { early, late }
    }

    /// Where the role for this namespace is.
    fn role_in<'a>(&self, namespace: Option<&'a str>) -> Option<&'a str> {
        namespace.filter(|name| !self.late.contains(*name))
    }

    /// Whether this makes a namespace that is there by then.
    fn is_early(&self, request: &Recorded) -> bool {
        request.resource == "namespaces" && request.name.as_ref().is_some_and(|name| self.early.contains(name))
    }
}

fn is_role(request: &Recorded) -> bool {
    matches!(request.resource.strip_suffix(RBAC), Some("roles." | "clusterroles."))
}

fn what(request: &Recorded) -> What {
    let (plural, group) = request.resource.split_once('.').unwrap_or((&request.resource, ""));
    let part = request.subresource.as_ref().map(|part| format!("/{part}")).unwrap_or_default();
    (group.to_owned(), format!("{plural}{part}"))
}

/// The verbs that the server asks about for one request, with the name where it is the same in every run.
fn needs<'a>(request: &'a Recorded, planned: &Planned) -> Vec<(Verb, Option<&'a str>)> {
    let plural = request.resource.split('.').next().unwrap_or_default();
    // A path such as `/version` is open to everybody.
    if request.resource.is_empty() || request.resource.starts_with('/') || EVERYBODY.contains(&plural) {
        return Vec::new();
    }
    let name = request.name.as_deref().filter(|name| !MADE_UP.contains(&plural) && !planned.is_made_up(&request.resource, name));
    let streams = matches!(request.subresource.as_deref(), Some("exec" | "attach" | "portforward"));
    match request.verb {
        // Over WebSocket it is a GET, and since 1.35 the server asks about `create` besides.
        Verb::Create if streams => vec![(Verb::Create, name), (Verb::Get, name)],
        // The name of what is created stands in the body, which no role sees; that of a part in the path.
        Verb::Create if request.subresource.is_none() => vec![(Verb::Create, None)],
        // An apply, or an update, that creates.
        Verb::Patch | Verb::Update if request.status == Some(201) => vec![(request.verb, name), (Verb::Create, None)],
        // A list of one object by its name is not told from others here.
        Verb::List | Verb::Watch | Verb::DeleteCollection => vec![(request.verb, None)],
        verb => vec![(verb, name)],
    }
}

/// The rules, without what holds everywhere anyway; kinds with the same verbs share one.
fn rules(kinds: &BTreeMap<What, Granted>, everywhere: Option<&BTreeMap<What, Granted>>) -> Vec<Rule> {
    // By group, names and verbs.
    let mut shared: BTreeMap<(String, Vec<String>, Vec<String>), BTreeSet<String>> = BTreeMap::new();
    for (what, granted) in kinds {
        let (group, resource) = what;
        let above = everywhere.and_then(|everywhere| everywhere.get(what));
        let is_new = |verb: &&'static str| !above.is_some_and(|above| above.all.contains(verb));
        let is_named_above =
            |verb: &'static str, name: &String| above.and_then(|above| above.some.get(verb)).is_some_and(|names| names.contains(name));
        let texts = |verbs: Vec<&'static str>| verbs.into_iter().map(str::to_owned).collect::<Vec<_>>();
        let all: Vec<&'static str> = granted.all.iter().copied().filter(is_new).collect();
        if !all.is_empty() {
            shared.entry((group.clone(), Vec::new(), texts(all))).or_default().insert(resource.clone());
        }
        let mut by_names: BTreeMap<Vec<String>, Vec<&'static str>> = BTreeMap::new();
        for (verb, names) in granted.some.iter().filter(|(verb, _)| !granted.all.contains(*verb) && is_new(verb)) {
            let names: Vec<String> = names.iter().filter(|name| !is_named_above(verb, name)).cloned().collect();
            if !names.is_empty() {
                by_names.entry(names).or_default().push(verb);
            }
        }
        for (names, verbs) in by_names {
            shared.entry((group.clone(), names, texts(verbs))).or_default().insert(resource.clone());
        }
    }
    shared
        .into_iter()
        .map(|((group, resource_names, verbs), resources)| Rule {
            api_groups: vec![group],
            resources: resources.into_iter().collect(),
            resource_names,
            verbs,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Timestamp;

    fn request(verb: Verb, resource: &str, namespace: Option<&str>, name: Option<&str>, dry: bool) -> Recorded {
        Recorded {
            seq: 1,
            verb,
            resource: resource.to_owned(),
            namespace: namespace.map(str::to_owned),
            name: name.map(str::to_owned),
            subresource: None,
            status: Some(200),
            at: Timestamp::UNIX_EPOCH,
            dry,
            dry_run: false,
            reads: false,
            by_hand: false,
            made: None,
            gives: None,
        }
    }

    fn roles(requests: Vec<Recorded>, run_only: bool) -> Roles {
        let mut planned = Planned::default();
        planned.requests.extend(requests);
        Roles::of(&planned, run_only, &BTreeSet::new())
    }

    fn rule(group: &str, resources: &[&str], names: &[&str], verbs: &[&str]) -> Rule {
        let texts = |items: &[&str]| items.iter().map(|item| (*item).to_owned()).collect();
        Rule { api_groups: vec![group.to_owned()], resources: texts(resources), resource_names: texts(names), verbs: texts(verbs) }
    }

    #[test]
    fn names_where_they_stay_and_no_rule_twice() {
        let found = roles(
            vec![
                request(Verb::List, "pods", None, None, true),
                request(Verb::List, "pods", Some("shop"), None, true),
                request(Verb::Get, "deployments.apps", Some("shop"), Some("web"), true),
                request(Verb::Patch, "deployments.apps", Some("shop"), Some("web"), true),
                request(Verb::Get, "daemonsets.apps", Some("shop"), Some("web"), true),
                request(Verb::Patch, "daemonsets.apps", Some("shop"), Some("web"), true),
                request(Verb::Delete, "pods", Some("shop"), Some("web-x"), true),
                request(Verb::Get, "/version", None, None, true),
            ],
            false,
        );
        assert_eq!(found.cluster, [rule("", &["pods"], &[], &["list"])]);
        assert_eq!(
            found.namespaces["shop"],
            [rule("", &["pods"], &[], &["delete"]), rule("apps", &["daemonsets", "deployments"], &["web"], &["get", "patch"])]
        );
    }

    #[test]
    fn a_verb_on_all_objects_needs_no_names_beside() {
        let found = roles(
            vec![
                request(Verb::Get, "nodes", None, Some("n1"), true),
                request(Verb::List, "nodes", None, None, false),
                request(Verb::Create, "configmaps", Some("shop"), None, true),
                Recorded { status: Some(201), ..request(Verb::Patch, "configmaps", Some("shop"), Some("c"), true) },
            ],
            true,
        );
        assert_eq!(found.cluster, [rule("", &["nodes"], &["n1"], &["get"])]);
        assert_eq!(found.namespaces["shop"], [rule("", &["configmaps"], &[], &["create"]), rule("", &["configmaps"], &["c"], &["patch"])]);
    }

    #[test]
    fn roles_and_bindings_that_are_written_need_their_own_verbs() {
        let (role, binding) = ("clusterroles.rbac.authorization.k8s.io", "rolebindings.rbac.authorization.k8s.io");
        let bound = Recorded { gives: Some("clusterroles/agent".to_owned()), ..request(Verb::Create, binding, Some("shop"), None, true) };
        let found =
            roles(vec![request(Verb::Patch, role, None, Some("agent"), true), request(Verb::Create, role, None, None, true), bound], true);
        let group = "rbac.authorization.k8s.io";
        assert_eq!(
            found.cluster,
            [rule(group, &["clusterroles"], &[], &["create", "escalate"]), rule(group, &["clusterroles"], &["agent"], &["patch"])]
        );
        assert_eq!(
            found.namespaces["shop"],
            [rule(group, &["rolebindings"], &[], &["create"]), rule(group, &["clusterroles"], &["agent"], &["bind"])]
        );
    }

    #[test]
    fn a_shell_is_asked_about_twice() {
        let exec = Recorded { subresource: Some("exec".to_owned()), ..request(Verb::Create, "pods", Some("shop"), Some("web-x"), true) };
        assert_eq!(roles(vec![exec], true).namespaces["shop"], [rule("", &["pods/exec"], &[], &["create", "get"])]);
    }
}
