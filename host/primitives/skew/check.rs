//! `skew_check`: the version skew policy applied to the cluster.

use std::collections::BTreeMap;

use super::read::read;
use super::report::{Assumed, Finding, report};
use crate::base::json::Value as Json;
use crate::base::{Error, Result, Value, Version};
use crate::primitive;
use crate::primitives::cx::Cx;
use crate::primitives::done::Done;
use crate::primitives::registry::Arg;
use crate::primitives::types::{ArgType, Type, mismatch};

/// The option `assume`: what somebody says where nothing can be read.
pub struct Assumptions(Assumed);

impl ArgType for Assumptions {
    const TYPE: Type = Type::new("{ [string]: Version | string }", "a table from components, or `component/node`, to versions");
    fn from_arg(arg: Arg) -> Result<Self> {
        let entries: Vec<(String, Value)> = match arg {
            Arg::Value(Value::Map(map)) => map.into_iter().collect(),
            Arg::Value(Value::Json(Json::Object(map))) => map.into_iter().map(|(key, value)| (key.into(), Value::Json(value))).collect(),
            Arg::Value(Value::Json(Json::Array(items))) if items.is_empty() => Vec::new(),
            Arg::Value(Value::List(items)) if items.is_empty() => Vec::new(),
            other => return Err(mismatch::<Self>(&other)),
        };
        let version = |(key, value): (String, Value)| match Version::from_arg(Arg::Value(value)) {
            Ok(version) => Ok((key, version)),
            Err(error) => Err(Error::usage(format!("has a wrong entry `{key}`: it {}", error.message))),
        };
        entries.into_iter().map(version).collect::<Result<_>>().map(Assumptions)
    }
}

primitive! {
    /// Compares every version of the cluster with the version skew policy.
    ///
    /// With `target` also whether the API servers may move there, and what has to move before them. `ok` is true only when no
    /// rule is broken and nothing is unknown: a version that nobody can read does not pass. `assume` says what such a version
    /// is, after a look at the machine; it is ignored where the version was read. An answer that is not ok raises nothing:
    /// `ensure(found.ok, …, { reason = "skew" })` does.
    pub read fn skew_check as SkewCheck() options {
        /// The version that an upgrade is to go to, or is on its way to: then what that upgrade breaks for a while is a warning.
        target: Option<Version>,
        /// Versions that cannot be read, by `component` or `component/node`; and those of `kubectl` and `kubeadm`.
        assume: Option<Assumptions>,
    } -> "{ ok: boolean, violations: { { component: string, node: string?, version: string?, rule: string?, message: string } }, warnings: { { component: string, node: string?, version: string?, rule: string?, message: string } }, unknown: { { component: string, node: string?, version: string?, rule: string?, message: string } } }",
        "whether all is well, and what is not";
    since "0.1";
    example r#"local found = skew_check({ target = "v1.37.0" }) for _, wrong in found.violations do print(wrong.component, wrong.node, wrong.message) end"#;
    needs ["list nodes", "list pods", "list leases", "list endpointslices", "list daemonsets", "list deployments", "get configmaps"];
}

impl SkewCheck {
    async fn run(self, cx: Cx) -> Result<Done> {
        let assumed = self.assume.map(|assumptions| assumptions.0).unwrap_or_default();
        let readings = read(&cx.cluster).await?;
        let report = report(readings, self.target.as_ref(), &assumed)?;
        let list = |findings: Vec<Finding>| Value::Json(Json::Array(findings.into_iter().map(told).collect()));
        Ok(Done::read(Value::Map(BTreeMap::from([
            ("ok".to_owned(), Value::from(report.ok)),
            ("violations".to_owned(), list(report.violations)),
            ("warnings".to_owned(), list(report.warnings)),
            ("unknown".to_owned(), list(report.unknown)),
        ]))))
    }
}

fn told(finding: Finding) -> Json {
    let message = finding.sentence();
    let fields = [
        ("component", Some(finding.component.as_str().to_owned())),
        ("node", finding.node),
        ("version", finding.version),
        ("rule", finding.rule.map(str::to_owned)),
        ("message", Some(message)),
    ];
    fields.into_iter().filter_map(|(name, text)| Some((name, Json::from(text?)))).collect()
}
