//! `versions` and `skew_check`: the policy's worked cases, what is read off a cluster, and what an upgrade needs.

mod cluster;

use std::fmt::Write as _;

use lockgate::base::Version;
use lockgate::primitives::skew::{
    Assumed, Component, PASSING, RULES, Reading, Readings, Report, Servers, Verdict, allowed, judge_step, report,
};

/// A version of a component as if it had been read.
fn reading(component: Component, node: Option<&str>, text: &str) -> Reading {
    let version = Version::parse(text).ok();
    Reading {
        component,
        node: node.map(str::to_owned),
        text: Some(text.to_owned()).filter(|text| text != "-"),
        why: version.is_none().then(|| "it cannot be read".to_owned()),
        version,
        source: "the test".to_owned(),
        warnings: Vec::new(),
        control_plane: false,
    }
}

fn reported(all: Vec<Reading>, target: Option<&str>) -> Report {
    let target = target.map(|target| Version::parse(target).unwrap());
    report(Readings { all, kubeadm: false }, target.as_ref(), &Assumed::new()).unwrap()
}

/// The verdict and rule of one line of the table.
fn worked(component: &str, version: &str, servers: &[&str], kubelet: &str) -> (Verdict, &'static str) {
    let versions: Vec<Version> = servers.iter().map(|text| Version::parse(text).unwrap()).collect();
    if component == "kubeadm-step" {
        let judged = judge_step(&Version::parse(version).unwrap(), Servers::of(&versions).unwrap());
        return (judged.verdict, judged.rule.unwrap());
    }
    let component = Component::parse(component).unwrap();
    let mut all: Vec<Reading> = servers.iter().map(|text| reading(Component::ApiServer, None, text)).collect();
    if component != Component::ApiServer {
        all.push(reading(component, Some("n1"), version));
    }
    if kubelet != "-" {
        all.push(reading(Component::Kubelet, Some("n1"), kubelet));
    }
    let report = reported(all, None);
    let row = report.rows.iter().find(|row| row.component == component).unwrap();
    (row.verdict, row.rule.unwrap())
}

#[test]
fn the_worked_cases_of_the_policy() {
    let table = include_str!("worked.txt");
    let (mut count, mut wrong) = (0, String::new());
    for line in table.lines().filter(|line| !line.starts_with('#')) {
        let cells: Vec<&str> = line.split(" | ").collect();
        let [number, component, version, servers, kubelet, verdict, rule, why] = cells[..] else { panic!("{line}") };
        let servers: Vec<&str> = servers.split(' ').collect();
        let verdict = match verdict {
            "ok" => Verdict::Ok,
            "ok-at-limit" => Verdict::AtLimit,
            "violation" => Verdict::Violation,
            "unknown" => Verdict::Unknown,
            other => panic!("case {number}: {other}"),
        };
        let found = worked(component, version, &servers, kubelet);
        if found != (verdict, rule) {
            writeln!(wrong, "case {number} ({why}): {verdict:?} by {rule} is right, got {found:?}").unwrap();
        }
        count += 1;
    }
    assert!(wrong.is_empty(), "{wrong}");
    assert_eq!(count, 59, "the reference has 59 cases");
}

/// The policy's own table: which kubelets each line of API servers takes.
#[test]
fn the_kubelets_that_each_line_takes() {
    let oldest = [
        (18, 16),
        (19, 17),
        (20, 18),
        (21, 19),
        (22, 20),
        (23, 21),
        (24, 22),
        (25, 23),
        (26, 24),
        (27, 25),
        (28, 25),
        (29, 26),
        (30, 27),
        (31, 28),
        (32, 29),
        (33, 30),
        (34, 31),
        (35, 32),
        (36, 33),
        (37, 34),
    ];
    for (server, kubelet) in oldest {
        let servers = Servers { lo: server, hi: server };
        let range = |component| allowed(component, servers, None).unwrap();
        assert_eq!(range(Component::Kubelet), format!("1.{kubelet} to 1.{server}"));
        assert_eq!(range(Component::KubeProxy), format!("1.{kubelet} to 1.{server}"));
        assert_eq!(range(Component::Scheduler), format!("1.{} to 1.{server}", server - 1));
        assert_eq!(range(Component::Kubectl), format!("1.{} to 1.{}", server - 1, server + 1));
    }
    // Servers of two minors take what both take.
    let mixed = Servers { lo: 29, hi: 30 };
    assert_eq!(allowed(Component::Kubelet, mixed, None).as_deref(), Some("1.27 to 1.29"));
    assert_eq!(allowed(Component::ControllerManager, mixed, None).as_deref(), Some("1.29"));
    assert_eq!(allowed(Component::Kubectl, mixed, None).as_deref(), Some("1.29 to 1.30"));
    assert_eq!(allowed(Component::ApiServer, mixed, None).as_deref(), Some("1.29 to 1.30"));
    assert_eq!(allowed(Component::Etcd, mixed, None), None);
    // Before 1.28 kube-proxy had to be its kubelet's twin.
    let kubelet = Version::parse("v1.25.3").unwrap();
    let old = Servers { lo: 27, hi: 27 };
    assert_eq!(allowed(Component::KubeProxy, old, Some(&kubelet)).as_deref(), Some("1.25"));
}

/// What a server says when it was built without its version is no version, and stops.
#[test]
fn the_placeholder_of_a_build_without_version_is_not_taken_for_one() {
    let all = vec![reading(Component::ApiServer, None, "v0.0.0-master+$Format:%H$"), reading(Component::Kubelet, Some("n1"), "v1.30.1")];
    let report = reported(all, None);
    assert!(!report.ok);
    assert!(report.violations.is_empty());
    assert_eq!(report.unknown.len(), 2, "{:?}", report.unknown);
    // Readable, and no Kubernetes version.
    let report =
        reported(vec![reading(Component::ApiServer, None, "v1.30.0"), reading(Component::CloudControllerManager, None, "v2.9.1")], None);
    assert_eq!(report.unknown[0].rule, Some("R-U2"));
    assert!(!report.ok);
}

#[test]
fn a_pre_release_counts_as_its_minor_and_is_told() {
    let report =
        reported(vec![reading(Component::ApiServer, None, "v1.30.0"), reading(Component::Kubelet, Some("n1"), "v1.30.0-rc.1")], None);
    assert!(report.ok, "{:?}", report.violations);
    assert_eq!(report.warnings[0].rule, Some("R-W1"));
    let vendor =
        reported(vec![reading(Component::ApiServer, None, "v1.30.0-gke.100"), reading(Component::Kubelet, None, "v1.30.0-eks-a5")], None);
    assert!(vendor.ok && vendor.warnings.is_empty(), "{:?}", vendor.warnings);
}

/// A target several minors away is refused, and the order is that of the first upgrade.
#[test]
fn a_target_that_skips_minors_is_refused_with_the_way_there() {
    let all = || vec![reading(Component::ApiServer, Some("m1"), "v1.28.4"), reading(Component::Kubelet, Some("w1"), "v1.28.4")];
    let report = reported(all(), Some("v1.31.2"));
    assert_eq!(report.violations[0].rule, Some("R-S1"));
    assert_eq!(report.violations[0].message, "1.28 to `v1.31.2` skips 1.29 and 1.30");
    assert_eq!(report.path, ["1.29", "1.30", "1.31"]);
    assert_eq!(report.order[0].to, "1.29");
    let next = reported(all(), Some("v1.29.2"));
    assert!(next.ok, "{:?}", next.violations);
    assert_eq!(next.path, ["1.29"]);
    let moves: Vec<String> = next.order.iter().map(|step| format!("{} {}", step.component.as_str(), step.to)).collect();
    assert_eq!(moves, ["kube-apiserver v1.29.2", "kubelet v1.29.2"]);
}

/// What the new API servers would not take moves first: then the rule is about the target, not about now.
#[test]
fn what_is_too_old_for_the_target_moves_first() {
    let all = vec![
        reading(Component::ApiServer, Some("m1"), "v1.30.1"),
        reading(Component::Kubelet, Some("m1"), "v1.30.1"),
        reading(Component::Kubelet, Some("w1"), "v1.27.9"),
    ];
    let now = reported(all.clone(), None);
    assert!(now.ok, "{:?}", now.violations);
    assert_eq!(now.warnings[0].rule, Some("R-W2"));
    let then = reported(all, Some("v1.31.0"));
    assert_eq!((then.violations.len(), then.violations[0].rule), (1, Some("R-S3")));
    assert_eq!((then.violations[0].node.as_deref(), then.order[0].component), (Some("w1"), Component::Kubelet));
    assert_eq!((then.order[0].nodes.as_slice(), then.order[0].to.as_str()), (["w1".to_owned()].as_slice(), "1.30"));
    assert_eq!(then.order[1].component, Component::ApiServer);
}

/// `kubeadm` is stricter than the policy, and asked only where it installed the cluster.
#[test]
fn kubeadm_takes_kubelets_one_minor_behind_up_to_1_28() {
    let all = || vec![reading(Component::ApiServer, Some("m1"), "v1.19.16"), reading(Component::Kubelet, Some("w1"), "v1.18.4")];
    let target = Version::parse("v1.20.2").unwrap();
    let of = |kubeadm| report(Readings { all: all(), kubeadm }, Some(&target), &Assumed::new()).unwrap();
    assert!(of(false).ok, "the policy itself takes it");
    let strict = of(true);
    assert_eq!((strict.violations[0].rule, strict.violations[0].node.as_deref()), (Some("R-S4"), Some("w1")));
}

/// Assumptions fill what is not known, are told, and change nothing that was read.
#[test]
fn assumptions_are_for_what_is_unknown() {
    let all = || vec![reading(Component::ApiServer, None, "v1.30.1"), reading(Component::Kubelet, Some("w1"), "-")];
    let of = |assumed: &[(&str, &str)]| {
        let assumed: Assumed = assumed.iter().map(|(key, text)| ((*key).to_owned(), Version::parse(text).unwrap())).collect();
        report(Readings { all: all(), kubeadm: false }, None, &assumed)
    };
    assert_eq!(of(&[]).unwrap().unknown[0].rule, Some("R-U1"));
    let good = of(&[("kubelet/w1", "v1.29.9")]).unwrap();
    assert!(good.ok && good.warnings[0].message.contains("assumed"), "{good:?}");
    assert_eq!(of(&[("kubelet", "v1.31.0")]).unwrap().violations[0].rule, Some("R-K1"));
    assert_eq!(of(&[("kubelet/w1", "v1.30.1"), ("kubectl", "v1.33.0")]).unwrap().violations[0].rule, Some("R-T1"));
    let idle = of(&[("kubelet/w1", "v1.30.1"), ("kube-apiserver", "v1.20.0")]).unwrap();
    assert!(idle.ok && idle.warnings.iter().any(|warning| warning.message.contains("need not be assumed")), "{idle:?}");
    let nowhere = of(&[("kubelet/w9", "v1.30.1")]).unwrap_err();
    assert_eq!(nowhere.to_string(), "the assumption `kubelet/w9` is about nothing that was found");
    let typo = of(&[("kubelett", "v1.30.1")]).unwrap_err();
    assert_eq!(typo.hint.as_deref(), Some("did you mean `kubelet`?"));
}

/// A kubeadm of another minor, or of an earlier patch, is exchanged first; that is no obstacle.
#[test]
fn an_upgrade_by_kubeadm_begins_with_kubeadm() {
    let of = |installer: &str, target: &str| {
        let mut all = vec![reading(Component::ApiServer, Some("m1"), "v1.30.1"), reading(Component::Kubelet, Some("m1"), "v1.30.1")];
        all.push(reading(Component::Kubeadm, Some("m1"), installer));
        let target = Version::parse(target).unwrap();
        report(Readings { all, kubeadm: true }, Some(&target), &Assumed::new()).unwrap()
    };
    for (installer, target, message) in [
        ("v1.30.1", "v1.31.2", "it upgrades to 1.30, not to 1.31: it moves first"),
        ("v1.32.0", "v1.31.2", "it upgrades to 1.32, not to 1.31: it moves first"),
        ("v1.31.0", "v1.31.2", "it upgrades to nothing newer than itself, not to `v1.31.2`: it moves first"),
    ] {
        let report = of(installer, target);
        assert!(report.ok, "{:?}", report.violations);
        assert_eq!((report.warnings[0].rule, report.warnings[0].message.as_str()), (Some("R-S4"), message));
        let first = &report.order[0];
        assert_eq!(
            (first.component, first.nodes.as_slice(), first.to.as_str()),
            (Component::Kubeadm, ["m1".to_owned()].as_slice(), "v1.31.2")
        );
    }
    let ready = of("v1.31.2", "v1.31.2");
    assert!(ready.warnings.is_empty() && ready.order[0].component == Component::ApiServer, "{:?}", ready.warnings);
}

/// Every state that passes is about a rule that there is.
#[test]
fn states_that_pass_break_known_rules() {
    for passing in PASSING {
        let rule = RULES.iter().find(|rule| rule.id == passing.breaks).unwrap();
        assert!(rule.lines.0 <= passing.lines.1 && passing.lines.0 <= rule.lines.1, "{}", passing.breaks);
    }
}
