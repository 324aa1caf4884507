//! The table: what a drain comes to in each situation.

use lockgate_sim::json::{Value as Json, json};

use super::given::Ends::{Empty, Refused, Stuck};
use super::given::Situation;

/// The namespace of [`FLAGGED`].
pub(crate) const FLAGS: &str = "flags";

/// A node with a pod of each kind that kubectl's flags are about.
pub(crate) const FLAGGED: Situation = row(
    "a pod of each kind",
    "deployment web 1\ndaemonset agent\npod static mirror\ndeployment data 1 emptydir\npod tool\npod scratch emptydir\npod done succeeded emptydir",
    "{}",
    ("", ""),
    Empty(&[]),
);

/// The sixteen combinations of kubectl's flags, with what they are called here.
pub(crate) fn combinations() -> Vec<(String, Json)> {
    const FLAGS: [(&str, &str); 4] = [
        ("--force", "force"),
        ("--ignore-daemonsets", "ignore_daemonsets"),
        ("--delete-emptydir-data", "delete_emptydir_data"),
        ("--disable-eviction", "disable_eviction"),
    ];
    let one = |bits: usize| {
        let (mut name, mut options) = (Vec::new(), json!({}));
        for (place, (flag, option)) in FLAGS.iter().enumerate() {
            let on = bits >> place & 1 == 1;
            name.push(format!("{flag}={on}"));
            options[*option] = on.into();
        }
        (name.join(" "), options)
    };
    (0..16).map(one).collect()
}

/// What a plan comes to, as the recording of kubectl has it: the apps of the pods that go, and of those that stand in the way.
pub(crate) fn summary(plan: &Json) -> Json {
    let apps = |actions: &[&str]| {
        let pods = plan["pods"].as_array().into_iter().flatten();
        let of = pods.filter(|pod| pod["action"].as_str().is_some_and(|action| actions.contains(&action)));
        let mut apps: Vec<String> = of.filter_map(|pod| app(pod["pod"].as_str()?)).collect();
        apps.sort();
        apps
    };
    let refused = apps(&["refuse"]);
    let goes = if refused.is_empty() { apps(&["evict", "delete"]) } else { Vec::new() };
    json!({ "goes": goes, "refused": refused })
}

/// The app of `NAMESPACE/NAME`: a pod of a workload has more parts to its name.
pub(crate) fn app(pod: &str) -> Option<String> {
    pod.split_once('/')?.1.split('-').next().map(str::to_owned)
}

const fn row(
    name: &'static str,
    given: &'static str,
    options: &'static str,
    verdict: (&'static str, &'static str),
    ends: super::given::Ends,
) -> Situation {
    Situation { name, given, options, verdict: verdict.0, says: verdict.1, ends }
}

/// All of them.
pub(crate) const SITUATIONS: &[Situation] = &[
    // Who is there.
    row("an empty node", "", "{}", ("ok", "there is nothing to evict"), Empty(&[])),
    row("pods of a Deployment", "deployment web 3", "{}", ("ok", "3 pods go"), Empty(&[])),
    row("a ReplicaSet of its own", "replicaset web 2", "{}", ("ok", "2 pods go"), Empty(&[])),
    row("a StatefulSet with one pod", "statefulset db 1", "{}", ("ok", "1 pod goes"), Empty(&[])),
    row("a StatefulSet with two", "statefulset db 2", "{}", ("slow", "go one after another"), Empty(&[])),
    row("a DaemonSet", "daemonset agent\ndeployment web 1", "{}", ("ok", "1 pod goes, 1 stays"), Empty(&["agent"])),
    row(
        "a DaemonSet that is not ignored",
        "daemonset agent\ndeployment web 1",
        r#"{"ignore_daemonsets":false}"#,
        ("refused", "a DaemonSet puts it back at once"),
        Refused("refused"),
    ),
    row(
        "a pod whose DaemonSet was deleted",
        "daemonset agent\norphan agent",
        "{}",
        ("refused", "no controller makes it again"),
        Refused("refused"),
    ),
    row("the same, forced", "daemonset agent\norphan agent", r#"{"force":true}"#, ("ok", "1 pod goes"), Empty(&[])),
    row("a static pod", "pod api mirror\ndeployment web 1", "{}", ("ok", "1 pod goes, 1 stays"), Empty(&["api"])),
    row("a pod of nobody", "pod tool", "{}", ("refused", "no controller makes it again"), Refused("refused")),
    row("a pod of nobody, forced", "pod tool", r#"{"force":true}"#, ("ok", "1 pod goes"), Empty(&[])),
    row("data in an emptyDir", "deployment web 1 emptydir", "{}", ("refused", "it has data in an emptyDir"), Refused("refused")),
    row("data in an emptyDir, allowed", "deployment web 1 emptydir", r#"{"delete_emptydir_data":true}"#, ("ok", "1 pod goes"), Empty(&[])),
    row("an emptyDir in memory", "deployment web 1 memory", "{}", ("refused", "it has data in an emptyDir"), Refused("refused")),
    row("a hostPath", "deployment web 1 hostpath", "{}", ("ok", "1 pod goes"), Empty(&[])),
    row(
        "two reasons in one pod",
        "pod tool emptydir",
        r#"{"force":false}"#,
        ("refused", "it has data in an emptyDir and no controller makes it again"),
        Refused("refused"),
    ),
    row("one pod that may not go among others", "deployment web 2\npod tool", "{}", ("refused", "tool"), Refused("refused")),
    row("a pod that succeeded", "pod done succeeded emptydir", "{}", ("ok", "1 pod goes"), Empty(&[])),
    row("a pod that failed", "pod done failed", "{}", ("ok", "1 pod goes"), Empty(&[])),
    row("only some pods", "deployment web 1\npod tool", r#"{"pod_selector":"app=web"}"#, ("ok", "1 pod goes"), Empty(&["tool"])),
    row("a node that somebody cordoned", "deployment web 1\ncordoned it", "{}", ("ok", "1 pod goes"), Empty(&[])),
    row("no grace", "deployment web 2", r#"{"grace_period":0}"#, ("ok", "2 pods go"), Empty(&[])),
    row("two at a time", "deployment web 4", r#"{"max_evictions":2}"#, ("ok", "4 pods go"), Empty(&[])),
    // Budgets that let pods go.
    row("one of two must stay", "deployment web 2\nbudget web min=1", "{}", ("slow", "lets 1 of 2 pods go at a time"), Empty(&[])),
    row("one of three may go", "deployment web 3\nbudget web max=1", "{}", ("slow", "lets 1 of 3 pods go at a time"), Empty(&[])),
    row("half of four may go", "deployment web 4\nbudget web max=50%", "{}", ("slow", "lets 2 of 4 pods go at a time"), Empty(&[])),
    row("a third of four may go, rounded up", "deployment web 4\nbudget web max=30%", "{}", ("slow", "lets 2 of 4 pods"), Empty(&[])),
    row("half of two must stay", "deployment web 2\nbudget web min=50%", "{}", ("slow", "lets 1 of 2 pods"), Empty(&[])),
    row("none must stay", "deployment web 2\nbudget web min=0", "{}", ("ok", "2 pods go"), Empty(&[])),
    row("all may go", "deployment web 2\nbudget web max=100%", "{}", ("ok", "2 pods go"), Empty(&[])),
    row("a StatefulSet under a budget", "statefulset db 3\nbudget db max=1", "{}", ("slow", "lets 1 of 3 pods"), Empty(&[])),
    row(
        "two Deployments under one budget",
        "deployment web 2\ndeployment api 2\nbudget both max=1 of=web,api",
        "{}",
        ("slow", "lets 1 of 4 pods"),
        Empty(&[]),
    ),
    row("a budget of other pods", "deployment web 1\nbudget api max=0", "{}", ("ok", "1 pod goes"), Empty(&[])),
    row("a budget of another namespace", "deployment web 1\nbudget web max=0 in=default", "{}", ("ok", "1 pod goes"), Empty(&[])),
    row("a budget without selector", "deployment web 1\nbudget web max=0 of=none", "{}", ("ok", "1 pod goes"), Empty(&[])),
    row(
        "only one of two pods here",
        "deployment web 1\nreplicaset api 1\nbudget both min=1 of=web,api",
        r#"{"pod_selector":"app=web"}"#,
        ("ok", "1 pod goes"),
        Empty(&["api"]),
    ),
    // Budgets that never do.
    row(
        "the only one must stay",
        "deployment web 1\nbudget web min=1",
        "{}",
        ("never", "keeps 1 of its 1 pod"),
        Refused("blocked_by_budget"),
    ),
    row("none may go", "deployment web 2\nbudget web max=0", "{}", ("never", "keeps 2 of its 2 pods"), Refused("blocked_by_budget")),
    row("all must stay", "deployment web 2\nbudget web min=100%", "{}", ("never", "keeps 2 of its 2 pods"), Refused("blocked_by_budget")),
    row(
        "three of three must stay",
        "deployment web 3\nbudget web min=3",
        "{}",
        ("never", "keeps 3 of its 3 pods"),
        Refused("blocked_by_budget"),
    ),
    row(
        "more than there are must stay",
        "deployment web 2\nbudget web min=5",
        "{}",
        ("never", "keeps 5 of its 2 pods"),
        Refused("blocked_by_budget"),
    ),
    row(
        "an empty selector covers all",
        "deployment web 1\nbudget all max=0 of=all",
        "{}",
        ("never", "keeps 1 of its 1 pod"),
        Refused("blocked_by_budget"),
    ),
    row(
        "a selector by expressions",
        "deployment web 2\nbudget some max=0 of=web,api",
        "{}",
        ("never", "keeps 2 of its 2"),
        Refused("blocked_by_budget"),
    ),
    row(
        "two budgets on one pod",
        "deployment web 2\nbudget web max=1\nbudget more max=1 of=web",
        "{}",
        ("never", "more than one"),
        Refused("blocked_by_budget"),
    ),
    row(
        "one blocked workload among others",
        "deployment api 2\ndeployment web 1\nbudget web max=0",
        "{}",
        ("never", "keeps 1 of its 1 pod"),
        Refused("blocked_by_budget"),
    ),
    row(
        "a share of pods that a DaemonSet shares",
        "daemonset agent\ndeployment web 1\nbudget mixed max=1 of=web,agent",
        "{}",
        ("never", "cannot be counted"),
        Refused("blocked_by_budget"),
    ),
    row(
        "a share of pods of nobody",
        "pod tool\nbudget tool max=1",
        r#"{"force":true}"#,
        ("never", "no controller counts"),
        Refused("blocked_by_budget"),
    ),
    row(
        "pods of nobody, of which one must stay",
        "pod tool-1\npod tool-2\nbudget tools min=1 of=tool-1,tool-2",
        r#"{"force":true}"#,
        ("never", "no controller makes another in its place"),
        Refused("blocked_by_budget"),
    ),
    row(
        "an impossible budget, waited for",
        "deployment web 1\nbudget web max=0",
        r#"{"on_impossible_budget":"wait","stall":"2s"}"#,
        ("never", "keeps 1 of its 1 pod"),
        Stuck("blocked_by_budget"),
    ),
    row(
        "an impossible budget, by deletion",
        "deployment web 1\nbudget web max=0",
        r#"{"on_impossible_budget":"delete"}"#,
        ("ok", "1 pod goes"),
        Empty(&[]),
    ),
    row(
        "two budgets, by deletion",
        "deployment web 1\nbudget web max=1\nbudget more max=1 of=web",
        r#"{"on_impossible_budget":"delete"}"#,
        ("ok", "1 pod goes"),
        Empty(&[]),
    ),
    row("past all budgets", "deployment web 2\nbudget web max=0", r#"{"disable_eviction":true}"#, ("ok", "2 pods go"), Empty(&[])),
    // Pods that are not ready.
    row("a pod that is not ready, unguarded", "deployment web 1 unready", "{}", ("ok", "1 pod goes"), Empty(&[])),
    row(
        "the only one, not ready",
        "deployment web 1 unready\nbudget web min=1",
        "{}",
        ("never", "ready or not"),
        Refused("blocked_by_budget"),
    ),
    row(
        "the only one, not ready, always allowed",
        "deployment web 1 unready\nbudget web min=1 always",
        "{}",
        ("ok", "1 pod goes"),
        Empty(&[]),
    ),
    row(
        "one not ready while enough are",
        "deployment web 2\nreplicaset api 1 unready\nbudget both min=2 of=web,api",
        r#"{"pod_selector":"app=api"}"#,
        ("ok", "1 pod goes"),
        Empty(&["web"]),
    ),
    row(
        "one not ready while too few are",
        "deployment web 1\nreplicaset api 2 unready\nbudget both min=2 of=web,api",
        r#"{"stall":"2s"}"#,
        ("slow", "needs 2 healthy pods and has 1"),
        Stuck("blocked_by_budget"),
    ),
    row("a pod that has not started", "deployment web 1 pending\nbudget web max=0", "{}", ("ok", "1 pod goes"), Empty(&[])),
    // Pods that do not end, or come again.
    row(
        "a pod held by a finalizer",
        "deployment web 1 held",
        r#"{"stall":"2s"}"#,
        ("slow", "finalizer `example.com/held`"),
        Stuck("stalled"),
    ),
    row(
        "one that is going already, held",
        "deployment web 1 held\ngoing web",
        r#"{"stall":"2s"}"#,
        ("slow", "finalizer `example.com/held`"),
        Stuck("stalled"),
    ),
    row(
        "one that should have been gone for long",
        "pod old held\ngoing old",
        r#"{"skip_wait_for_delete_timeout":1}"#,
        ("ok", ""),
        Empty(&["old"]),
    ),
    row(
        "a pod that tolerates the cordon and fits nowhere else",
        "deployment web 1 tolerant pinned",
        r#"{"stall":"20s"}"#,
        ("slow", "it tolerates the cordon"),
        Stuck("stalled"),
    ),
    row("a pod that fits nowhere else", "deployment web 1 pinned", "{}", ("ok", "1 pod goes"), Empty(&[])),
    row(
        "a budget whose pods fit nowhere else",
        "deployment web 2 pinned\nbudget web max=1",
        r#"{"stall":"3s"}"#,
        ("slow", "lets 1 of 2 pods go at a time"),
        Stuck("blocked_by_budget"),
    ),
];
