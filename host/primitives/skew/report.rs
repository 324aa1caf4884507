//! The report: every version with its verdict, and what is wrong, unsure or worth knowing.

use std::collections::BTreeMap;

use serde::Serialize;

use super::component::Component;
use super::judge::{Around, Judged, Servers, Verdict, allowed, judge_in, judge_step};
use super::order::{self, Move};
use super::passing::Underway;
use super::read::{Reading, Readings, kubelet_versions};
use super::rules::{Bound, id_of};
use crate::base::{Error, Result, Version};
use crate::primitives::view;

/// One version in the report.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// Of what.
    pub component: Component,
    /// On which node, or at which address.
    pub node: Option<String>,
    /// The version as it was read.
    pub version: Option<String>,
    /// The minors that it may have.
    pub allowed: Option<String>,
    /// What the rules say.
    pub verdict: Verdict,
    /// The rule that says so.
    pub rule: Option<&'static str>,
    /// Where it was read.
    pub source: String,
}

/// Something that a report has to say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// About what.
    pub component: Component,
    /// On which node, or at which address.
    pub node: Option<String>,
    /// The version, where there is one.
    pub version: Option<String>,
    /// The rule behind it, where there is one.
    pub rule: Option<&'static str>,
    /// What.
    pub message: String,
}

impl Finding {
    /// What and about what, in one sentence.
    #[must_use]
    pub fn sentence(&self) -> String {
        let node = self.node.as_ref().map_or_else(String::new, |node| format!(" on {node}"));
        let version = self.version.as_ref().map_or_else(String::new, |version| format!(" {version}"));
        format!("{}{node}{version}: {}", self.component.as_str(), self.message)
    }
}

/// A skew report.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Whether nothing is wrong and nothing is unknown.
    pub ok: bool,
    /// The version that an upgrade is to go to.
    pub target: Option<String>,
    /// Every version.
    pub rows: Vec<Row>,
    /// What a rule does not allow.
    pub violations: Vec<Finding>,
    /// What is allowed and worth knowing.
    pub warnings: Vec<Finding>,
    /// What nobody can say.
    pub unknown: Vec<Finding>,
    /// The minors between now and the target, with the target's: one upgrade each.
    pub path: Vec<String>,
    /// What moves in the next upgrade, in order.
    pub order: Vec<Move>,
}

/// What somebody says where nothing can be read: `COMPONENT` or `COMPONENT/NODE`, and a version.
pub type Assumed = BTreeMap<String, Version>;

/// Puts what is assumed in the place of what is not known.
fn assume(readings: &mut Readings, assumed: &Assumed, warnings: &mut Vec<Finding>) -> Result<()> {
    for (key, version) in assumed {
        let (name, node) = key.split_once('/').map_or((key.as_str(), None), |(name, node)| (name, Some(node)));
        let component = Component::parse(name).map_err(|error| error.context(format!("the assumption `{key}` cannot be used")))?;
        let mut used = false;
        let mut seen = false;
        for reading in readings.all.iter_mut().filter(|reading| reading.component == component) {
            if node.is_some() && reading.node.as_deref() != node {
                continue;
            }
            seen = true;
            if reading.version.is_none() {
                used = true;
                *reading = Reading { why: None, version: Some(version.clone()), text: Some(version.to_string()), ..reading.clone() };
                reading.warnings.push("assumed, not read".to_owned());
            }
        }
        // What the cluster cannot know of is added.
        if !seen && (matches!(component, Component::Kubectl | Component::Kubeadm) || node.is_none() && component.has_rules()) {
            let mut reading = Reading::of(component, node, version.as_str(), "assumed");
            reading.warnings.push("assumed, not read".to_owned());
            readings.all.push(reading);
            used = true;
        }
        if !seen && !used {
            return Err(nowhere(key, component, readings));
        }
        if !used {
            let message = format!("`{version}` need not be assumed: the version was read");
            warnings.push(Finding { component, node: node.map(str::to_owned), version: None, rule: None, message });
        }
    }
    readings.all.sort_by(|a, b| (a.component, &a.node, &a.source).cmp(&(b.component, &b.node, &b.source)));
    Ok(())
}

fn nowhere(key: &str, component: Component, readings: &Readings) -> Error {
    let error = Error::usage(format!("the assumption `{key}` is about nothing that was found"));
    let those = readings.all.iter().filter(|reading| reading.component == component);
    let known: Vec<String> =
        those.filter_map(|reading| Some(format!("`{}/{}`", component.as_str(), reading.node.as_ref()?))).take(8).collect();
    if known.is_empty() { error } else { error.hint(format!("there are {}", view::and(&known))) }
}

fn finding(reading: &Reading, rule: Option<&'static str>, message: impl Into<String>) -> Finding {
    Finding { component: reading.component, node: reading.node.clone(), version: reading.text.clone(), rule, message: message.into() }
}

/// Makes the report of these versions.
///
/// # Errors
/// An assumption about something that is not there.
pub fn report(mut readings: Readings, target: Option<&Version>, assumed: &Assumed) -> Result<Report> {
    let mut warnings = Vec::new();
    assume(&mut readings, assumed, &mut warnings)?;
    let mut report = Report {
        ok: false,
        target: target.map(ToString::to_string),
        rows: Vec::new(),
        violations: Vec::new(),
        warnings,
        unknown: Vec::new(),
        path: Vec::new(),
        order: Vec::new(),
    };
    let all = &readings.all;
    let kubelets = kubelet_versions(all);
    let servers = servers(all);
    let underway = Underway::of(&readings, target, servers);
    let single = all.iter().filter(|reading| reading.component == Component::ApiServer).count() == 1;
    for reading in all {
        let kubelet = reading.node.as_deref().and_then(|node| kubelets.get(node)).copied();
        let judged = judged(reading, &Around { servers, node: reading.node.as_deref(), kubelet, underway: underway.as_ref() });
        let mut allowed = servers.and_then(|servers| allowed(reading.component, servers, kubelet));
        // The only API server is what the others are measured by.
        let alone = reading.component == Component::ApiServer && single;
        if judged.verdict == Verdict::NoRule || alone {
            allowed = None;
        }
        report.rows.push(Row {
            component: reading.component,
            node: reading.node.clone(),
            version: reading.text.clone(),
            allowed,
            verdict: judged.verdict,
            rule: judged.rule,
            source: reading.source.clone(),
        });
        let told = finding(reading, judged.rule, judged.message);
        match judged.verdict {
            Verdict::Violation => report.violations.push(told),
            Verdict::Unknown => report.unknown.push(told),
            Verdict::AtLimit => report.warnings.push(Finding { rule: Some(id_of(Bound::NotAtLimit)), ..told }),
            Verdict::Expected => report.warnings.push(told),
            Verdict::Ok | Verdict::NoRule => {}
        }
        report.warn(reading);
    }
    report.warnings.extend(undone(all));
    if servers.is_none() && !all.iter().any(|reading| reading.component == Component::ApiServer) {
        let none = Reading::missing(Component::ApiServer, None, "no API server's version could be read", "/version");
        report.unknown.push(finding(&none, Some(id_of(Bound::Readable)), "no API server's version could be read"));
    }
    if let (Some(target), Some(servers)) = (target, servers) {
        report.step(&readings, target, servers);
    }
    report.ok = report.violations.is_empty() && report.unknown.is_empty();
    Ok(report)
}

/// What `kubeadm` was last told and not every API server runs: an upgrade that is not finished, or that failed.
fn undone(all: &[Reading]) -> Option<Finding> {
    let told = all.iter().find(|reading| reading.component == Component::Declared)?;
    let version = told.version.as_ref()?;
    let mut servers = all.iter().filter(|reading| reading.component == Component::ApiServer);
    let other = servers.find(|server| server.version.as_ref().is_some_and(|runs| runs != version))?;
    let runs = other.text.as_deref().unwrap_or_default();
    Some(finding(told, None, format!("{} is `{runs}`: the upgrade is not finished, or it failed", other.name())))
}

/// The minors of the API servers that are known.
fn servers(readings: &[Reading]) -> Option<Servers> {
    let servers = readings.iter().filter(|reading| reading.component == Component::ApiServer);
    Servers::of(servers.filter_map(|reading| reading.version.as_ref()))
}

fn judged(reading: &Reading, around: &Around<'_>) -> Judged {
    match (&reading.version, reading.component.has_rules()) {
        (Some(version), _) => judge_in(reading.component, version, around),
        (None, false) => Judged { verdict: Verdict::NoRule, rule: None, message: String::new() },
        (None, true) => Judged::unknown(reading.why.clone().unwrap_or_default()),
    }
}

impl Report {
    /// What is worth knowing about a version whatever the verdict.
    fn warn(&mut self, reading: &Reading) {
        self.warnings.extend(reading.warnings.iter().map(|warning| finding(reading, None, warning)));
        let pre = reading.version.as_ref().and_then(|version| version.pre.as_ref()).filter(|_| reading.component.has_rules());
        if let Some(pre) = pre {
            self.warnings.push(finding(reading, Some(id_of(Bound::Released)), format!("`{pre}` is a pre-release")));
        }
    }

    /// What stands in the way of an upgrade, and the order in which things move.
    fn step(&mut self, readings: &Readings, target: &Version, servers: Servers) {
        let about = |message: String, rule| Finding {
            component: Component::ApiServer,
            node: None,
            version: Some(target.to_string()),
            rule,
            message,
        };
        let step = judge_step(target, servers);
        match step.verdict {
            Verdict::Violation => self.violations.push(about(step.message, step.rule)),
            Verdict::Unknown => self.unknown.push(about(step.message, step.rule)),
            Verdict::Ok | Verdict::AtLimit | Verdict::Expected | Verdict::NoRule => {}
        }
        if let Some(pre) = &target.pre {
            self.warnings.push(about(format!("the target `{pre}` is a pre-release"), Some(id_of(Bound::Released))));
        }
        if target.major != 1 || target.minor < servers.hi {
            return;
        }
        self.path = (servers.hi.max(servers.lo + 1).min(target.minor)..=target.minor).map(|minor| format!("1.{minor}")).collect();
        let ahead = order::order(readings, target, servers);
        for (reading, rule, message) in &ahead.blockers {
            self.violations.push(finding(reading, Some(rule), message));
        }
        for (reading, rule, message) in &ahead.installers {
            self.warnings.push(finding(reading, Some(rule), message));
        }
        self.order = ahead.moves;
    }
}
