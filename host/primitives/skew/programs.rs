//! Programs whose versions no API server knows: kubectl beside lockgate, and kubeadm on the machines.

use futures::stream::{self, StreamExt as _, TryStreamExt as _};

use super::component::Component;
use super::read::{Reading, Readings};
use crate::base::json::Value as Json;
use crate::base::{Reason, Result, Span, Version};
use crate::cluster::Cluster;
use crate::cluster::door::{Child, on_path};
use crate::cluster::machines::{Command, Reached, line};
use crate::primitives::view;

/// How many machines are asked at the same time.
const AT_ONCE: usize = 16;
/// How long one of them may take.
const LIMIT: Span = Span::from_secs(30);
/// What is asked of a machine.
const KUBEADM: [&str; 4] = ["kubeadm", "version", "-o", "short"];
/// The exit code of a command that is not there.
const NOT_THERE: i32 = 127;

/// The kubectl that a person here would use: the first on `PATH`. None when there is none, or when the cluster is simulated.
///
/// A run never uses it, so that it belongs into a person's report and not into a runbook's check.
///
/// # Errors
/// The run was stopped. A kubectl that does not answer is unknown.
pub async fn kubectl(cluster: &Cluster) -> Result<Option<Reading>> {
    if cluster.label().simulated {
        return Ok(None);
    }
    let Some(program) = on_path("kubectl") else { return Ok(None) };
    let (component, words) = (Component::Kubectl, ["version", "--client", "-o", "json"]);
    let source = format!("kubectl {}", words.join(" "));
    // It says who it is, and needs no cluster for that.
    let child = Child::new(program, words).env("KUBECONFIG", "/dev/null").limit(LIMIT).ends_at_once();
    let ended = match cluster.start(&child).await {
        Err(error) if error.is_stop() => return Err(error),
        Err(error) => return Ok(Some(Reading::missing(component, None, error.to_string(), source))),
        Ok(ended) => ended,
    };
    let said: Option<Json> = Some(&ended).filter(|ended| ended.is_well()).and_then(|ended| serde_json::from_str(&ended.stdout).ok());
    Ok(Some(match said.as_ref().map(|said| view::text(said, "/clientVersion/gitVersion")) {
        Some(version) => Reading::of(component, None, version, source),
        None => Reading::missing(component, None, format!("`{source}` did not tell it"), source),
    }))
}

/// The Kubernetes whose API this program is built with: the feature of `k8s-openapi` in `Cargo.toml`.
const OWN: &str = "v1.36";

/// This program itself, beside these readings; none for a simulated cluster. Where an API server is more than a minor away (R-T1) that is a
/// warning: what is sent follows the server's own discovery.
///
/// # Errors
/// When its own version is none, which would be a fault of this program.
pub fn own(cluster: &Cluster, readings: &Readings) -> Result<Option<Reading>> {
    if cluster.label().simulated {
        return Ok(None);
    }
    let line = Version::parse(OWN)?;
    let mut reading = Reading::of(Component::Lockgate, None, OWN, "the API that lockgate is built with");
    let servers = readings.all.iter().filter(|reading| reading.component == Component::ApiServer);
    let known: Vec<&Version> = servers.filter_map(|reading| reading.version.as_ref()).collect();
    if let Some(far) = known.into_iter().find(|version| version.major != 1 || version.minor.abs_diff(line.minor) > 1) {
        reading.warnings.push(format!(
            "its requests are written for Kubernetes 1.{}, and an API server is at {far}: it asks only for what the server lists, and what is \
             newer than the server is not there",
            line.minor
        ));
    }
    Ok(Some(reading))
}

/// The kubeadm on each of these nodes' machines, where somebody said how they are reached and reading there leaves nothing behind.
/// A machine without kubeadm, and one that no model knows, has none.
pub(super) async fn kubeadm(cluster: &Cluster, nodes: &[&str]) -> Result<Vec<Reading>> {
    let Some(machines) = cluster.machines_to_read()? else { return Ok(Vec::new()) };
    let asked = stream::iter(nodes.iter().map(|node| on_node(&machines, node))).buffered(AT_ONCE);
    let all: Vec<Option<Reading>> = asked.try_collect().await?;
    Ok(all.into_iter().flatten().collect())
}

async fn on_node(machines: &Reached, node: &str) -> Result<Option<Reading>> {
    let component = Component::Kubeadm;
    let words = KUBEADM.map(str::to_owned).to_vec();
    let source = format!("{} on {node}", line(&words));
    let command = Command { words, ..Command::default() };
    let missing = |why: String| Ok(Some(Reading::missing(component, Some(node), why, source.clone())));
    match machines.read(node, &command, LIMIT).await {
        Ok(output) if output.code == NOT_THERE => Ok(None),
        Ok(output) if output.code == 0 && !output.late => Ok(Some(Reading::of(component, Some(node), output.stdout.trim(), source))),
        Ok(output) if output.late => missing("it did not answer in time".to_owned()),
        Ok(output) => missing(format!("it ended with exit code {}", output.code)),
        Err(error) if error.is_stop() => Err(error),
        Err(error) if matches!(error.reason, Reason::Unmodelled | Reason::CommandMissing) => Ok(None),
        Err(error) => missing(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::OWN;

    #[test]
    fn its_own_line_is_that_of_its_types() {
        let feature = format!("k8s-openapi = {{ version = \"0.29.0\", features = [\"{}\"] }}", OWN.replace('.', "_"));
        assert!(include_str!("../../../Cargo.toml").contains(&feature), "{feature}");
    }
}
