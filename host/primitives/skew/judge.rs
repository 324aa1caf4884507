//! The rules applied to one version.

use serde::Serialize;

use super::component::Component;
use super::passing::Underway;
use super::rules::{Bound, Lag, RULES, Rule, id_of};
use crate::base::Version;

/// What the rules say about one version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It is as it should be.
    Ok,
    /// It is allowed, and as old as it may be.
    AtLimit,
    /// A rule does not allow it, and the upgrade that is on its way brings it about and takes it away again.
    Expected,
    /// A rule does not allow it.
    Violation,
    /// Nobody can say.
    Unknown,
    /// No rule is about it.
    NoRule,
}

impl Verdict {
    /// All of them, for schemas.
    pub const WORDS: &'static [&'static str] = &["ok", "at_limit", "expected", "violation", "unknown", "no_rule"];

    /// As tables show it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Verdict::Ok => "ok",
            Verdict::AtLimit => "at limit",
            Verdict::Expected => "expected",
            Verdict::Violation => "violation",
            Verdict::Unknown => "unknown",
            Verdict::NoRule => "no rule",
        }
    }
}

/// A verdict, the rule that gave it, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judged {
    /// The verdict.
    pub verdict: Verdict,
    /// The rule; none for what no rule is about.
    pub rule: Option<&'static str>,
    /// Why; empty when all is well.
    pub message: String,
}

impl Judged {
    fn new(verdict: Verdict, rule: &'static str, message: impl Into<String>) -> Judged {
        Judged { verdict, rule: Some(rule), message: message.into() }
    }

    /// Not known, and why.
    #[must_use]
    pub fn unknown(why: impl Into<String>) -> Judged {
        Judged::new(Verdict::Unknown, id_of(Bound::Readable), why)
    }
}

/// The minors of the API servers of a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Servers {
    /// Of the oldest.
    pub lo: u64,
    /// Of the newest.
    pub hi: u64,
}

impl Servers {
    /// From the versions that are known and are Kubernetes 1.x; none when there is no such version.
    #[must_use]
    pub fn of<'a>(versions: impl IntoIterator<Item = &'a Version>) -> Option<Servers> {
        let mut minors = versions.into_iter().filter(|version| version.major == 1).map(|version| version.minor);
        let first = minors.next()?;
        Some(minors.fold(Servers { lo: first, hi: first }, |all, minor| Servers { lo: all.lo.min(minor), hi: all.hi.max(minor) }))
    }

    /// Whether all have the same minor.
    #[must_use]
    pub fn are_even(self) -> bool {
        self.lo == self.hi
    }
}

/// What is around a version that is judged.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Around<'a> {
    /// The API servers, where one is known.
    pub(super) servers: Option<Servers>,
    /// Its node.
    pub(super) node: Option<&'a str>,
    /// The kubelet of its node.
    pub(super) kubelet: Option<&'a Version>,
    /// The upgrade that is on its way.
    pub(super) underway: Option<&'a Underway<'a>>,
}

/// Judges a version that was read; `kubelet` is that of the same node, where it is known.
#[must_use]
pub fn judge(component: Component, version: &Version, servers: Option<Servers>, kubelet: Option<&Version>) -> Judged {
    judge_in(component, version, &Around { servers, kubelet, ..Around::default() })
}

/// Judges a version beside everything that is around it.
pub(super) fn judge_in(component: Component, version: &Version, around: &Around<'_>) -> Judged {
    if !component.has_rules() {
        return Judged { verdict: Verdict::NoRule, rule: None, message: String::new() };
    }
    if version.major != 1 {
        let why = format!("`{version}` does not count as Kubernetes 1.x does");
        return Judged::new(Verdict::Unknown, id_of(Bound::MajorOne), why);
    }
    let Some(servers) = around.servers else {
        return Judged::unknown("no API server's version is known, so that there is nothing to compare with");
    };
    let kubelet = around.kubelet.filter(|kubelet| kubelet.major == 1).map(|kubelet| kubelet.minor);
    let mut passed = None;
    let mut at_limit = None;
    let mut expected = None;
    let about = |rule: &&Rule| rule.about.contains(&component) && (rule.lines.0..=rule.lines.1).contains(&servers.hi);
    for rule in RULES.iter().filter(about) {
        match measure(rule, component, version.minor, servers, kubelet) {
            Measured::Broken(why) => {
                let says = around.underway.and_then(|underway| underway.expects(rule.id, version.minor, around.node, kubelet));
                let Some(says) = says else { return Judged::new(Verdict::Violation, rule.id, why) };
                expected = expected.or_else(|| Some(format!("{why} ({}); expected until the upgrade is finished: {says}", rule.id)));
            }
            Measured::AtLimit(why) => {
                passed = Some(rule.id);
                at_limit = at_limit.or(Some((rule.id, why)));
            }
            Measured::Holds => passed = passed.or(Some(rule.id)),
            Measured::Compares => passed = Some(rule.id),
            Measured::NotAsked => {}
        }
    }
    if let Some(why) = expected {
        return Judged::new(Verdict::Expected, id_of(Bound::Passing), why);
    }
    match (at_limit, passed) {
        (Some((rule, why)), _) => Judged::new(Verdict::AtLimit, rule, why),
        (None, Some(rule)) => Judged::new(Verdict::Ok, rule, ""),
        // What has no rule of its own but for upgrades.
        (None, None) => Judged { verdict: Verdict::NoRule, rule: None, message: String::new() },
    }
}

/// How one rule looks at one version.
enum Measured {
    /// It is broken, and how.
    Broken(String),
    /// It holds, as far as it may.
    AtLimit(String),
    /// It holds, and its distance from the API servers is what a report names.
    Compares,
    /// It holds.
    Holds,
    /// It is about upgrades, warnings, or something that is not known here.
    NotAsked,
}

fn measure(rule: &Rule, component: Component, minor: u64, servers: Servers, kubelet: Option<u64>) -> Measured {
    let Servers { lo, hi } = servers;
    match rule.bound {
        Bound::Spread(most) if hi - lo > most => {
            Measured::Broken(format!("the API servers are from 1.{lo} to 1.{hi}: {} apart, {most} is allowed", minors(hi - lo)))
        }
        Bound::Spread(_) => Measured::Compares,
        Bound::NotNewerThanOldest if minor > lo => {
            let which = if servers.are_even() { "the API server's" } else { "the oldest API server's" };
            Measured::Broken(format!("1.{minor} is newer than {which} 1.{lo}"))
        }
        Bound::NotNewerThanOldest => Measured::Holds,
        Bound::BehindNewest(lag) => behind(component, minor, servers, lag),
        Bound::SameAsKubelet => match kubelet {
            Some(kubelet) if kubelet != minor => Measured::Broken(format!(
                "1.{minor} is not the 1.{kubelet} of its node's kubelet, as it must be with API servers below 1.28"
            )),
            Some(_) => Measured::Holds,
            None => Measured::NotAsked,
        },
        Bound::NearKubelet(lag) => match kubelet {
            Some(kubelet) if kubelet.abs_diff(minor) > lag.limit(minor) => Measured::Broken(format!(
                "1.{minor} is {} from the 1.{kubelet} of its node's kubelet; {} are allowed",
                minors(kubelet.abs_diff(minor)),
                lag.limit(minor)
            )),
            Some(_) => Measured::Holds,
            None => Measured::NotAsked,
        },
        Bound::NearEveryServer(most) => match [lo, hi].into_iter().find(|server| server.abs_diff(minor) > most) {
            Some(server) => {
                let all = if servers.are_even() { "the API server's" } else { "an API server's" };
                Measured::Broken(format!("1.{minor} is {} from {all} 1.{server}; {most} is allowed", minors(server.abs_diff(minor))))
            }
            None => Measured::Compares,
        },
        Bound::Readable
        | Bound::MajorOne
        | Bound::Released
        | Bound::NotAtLimit
        | Bound::Passing
        | Bound::StepAhead(_)
        | Bound::NoStepBack
        | Bound::ReadyForTarget
        | Bound::NearTarget(..)
        | Bound::SameAsTarget => Measured::NotAsked,
    }
}

fn behind(component: Component, minor: u64, servers: Servers, lag: Lag) -> Measured {
    let newest = if servers.are_even() { "the API server's" } else { "the newest API server's" };
    let (distance, limit) = (servers.hi.saturating_sub(minor), lag.limit(minor));
    if distance > limit {
        let below = if limit == lag.most { "" } else { " below 1.25" };
        let allowed = if limit == 1 { "1 is".to_owned() } else { format!("{limit} are") };
        return Measured::Broken(format!("1.{minor} is {} behind {newest} 1.{}; {allowed} allowed{below}", minors(distance), servers.hi));
    }
    if distance == limit && distance > 0 {
        let what = if component.is_on_nodes() {
            "the API servers cannot move to the next minor before it does"
        } else {
            "allowed during an upgrade"
        };
        return Measured::AtLimit(format!(
            "1.{minor} is {} behind {newest} 1.{}, the most that is allowed: {what}",
            minors(distance),
            servers.hi
        ));
    }
    Measured::Compares
}

/// `1 minor`, `2 minors`.
pub(super) fn minors(count: u64) -> String {
    if count == 1 { "1 minor".to_owned() } else { format!("{count} minors") }
}

/// Judges a step of an upgrade by what the API servers have now.
#[must_use]
pub fn judge_step(target: &Version, servers: Servers) -> Judged {
    let Servers { lo, hi } = servers;
    if target.major != 1 {
        return Judged::new(Verdict::Unknown, id_of(Bound::MajorOne), format!("`{target}` does not count as Kubernetes 1.x does"));
    }
    let (back, ahead) = (id_of(Bound::NoStepBack), id_of(Bound::StepAhead(1)));
    if target.minor < hi {
        return Judged::new(Verdict::Violation, back, format!("`{target}` is an earlier minor than the 1.{hi} that an API server has"));
    }
    if !servers.are_even() && target.minor > hi {
        let why = format!("the API servers are between 1.{lo} and 1.{hi}: that upgrade must be finished before one to `{target}`");
        return Judged::new(Verdict::Violation, ahead, why);
    }
    if target.minor - hi > 1 {
        let skipped: Vec<String> = (hi + 1..target.minor).map(|minor| format!("1.{minor}")).collect();
        return Judged::new(Verdict::Violation, ahead, format!("1.{hi} to `{target}` skips {}", super::super::view::and(&skipped)));
    }
    Judged::new(Verdict::Ok, ahead, "")
}

/// The minors that a component may have beside these API servers: `1.27 to 1.30`; none where no rule says so.
#[must_use]
pub fn allowed(component: Component, servers: Servers, kubelet: Option<&Version>) -> Option<String> {
    let Servers { lo, hi } = servers;
    let fits = |minor: &u64| match component {
        // An API server is judged beside the others: what this one may be.
        Component::ApiServer => minor.abs_diff(lo) <= 1 && minor.abs_diff(hi) <= 1,
        _ => Version::parse(&format!("1.{minor}"))
            .is_ok_and(|version| matches!(judge(component, &version, Some(servers), kubelet).verdict, Verdict::Ok | Verdict::AtLimit)),
    };
    if !component.has_rules() || component == Component::Kubeadm {
        return None;
    }
    let all: Vec<u64> = (lo.saturating_sub(6)..=hi + 3).filter(fits).collect();
    match (all.first(), all.last()) {
        (Some(first), Some(last)) if first == last => Some(format!("1.{first}")),
        (Some(first), Some(last)) => Some(format!("1.{first} to 1.{last}")),
        _ => Some("none".to_owned()),
    }
}
