//! `versions`: every version of the cluster, and where it was read.

use std::collections::BTreeMap;

use super::read::{Reading, read};
use crate::base::{Result, Typed, Value};
use crate::primitive;
use crate::primitives::cx::Cx;
use crate::primitives::done::Done;

primitive! {
    /// Reads the version of every component of the cluster, and says where each was read.
    ///
    /// API servers are read off their mirror pods and, on a live cluster, at their own addresses, and counted by their leases.
    /// Controllers, scheduler and etcd are read off mirror pods; kubelets off their nodes; kube-proxy off its pods; besides
    /// CoreDNS and what `kubeadm` was last told; with `--machines ssh`, and where a fixture has models, `kubeadm` on each machine. A version that cannot be read is there without `version`, and `why` says why.
    pub read fn versions as Versions() -> "{ { component: string, node: string?, version: Version?, text: string?, source: string, why: string? } }",
        "the components, API servers first";
    since "0.1";
    example r#"for _, found in versions() do print(found.component, found.node, found.version, found.source) end"#;
    needs ["list nodes", "list pods", "list leases", "list endpointslices", "list daemonsets", "list deployments", "get configmaps"];
}

impl Versions {
    async fn run(self, cx: Cx) -> Result<Done> {
        let readings = read(&cx.cluster).await?;
        Ok(Done::read(Value::List(readings.all.into_iter().map(row).collect())))
    }
}

fn row(reading: Reading) -> Value {
    let mut row = BTreeMap::from([
        ("component".to_owned(), Value::from(reading.component.as_str().to_owned())),
        ("source".to_owned(), Value::from(reading.source)),
    ]);
    let texts = [("node", reading.node), ("text", reading.text), ("why", reading.why)];
    row.extend(texts.into_iter().filter_map(|(name, text)| Some((name.to_owned(), Value::from(text?)))));
    row.extend(reading.version.map(|version| ("version".to_owned(), Value::Typed(Typed::Version(version)))));
    Value::Map(row)
}
