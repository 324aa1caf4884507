//! The API servers of a cluster, one by one where they can be told apart.
//!
//! One answer of `/version` is about one of them only. So they are read off their mirror pods and at their own addresses, and
//! counted by the leases that each holds under its identity. What is counted and was not read is unknown.

use std::collections::{BTreeMap, BTreeSet};

use futures::future::join_all;

use super::component::Component;
use super::read::{Lists, Reading, living, of_pod};
use crate::base::clock::Duration;
use crate::base::json::Value as Json;
use crate::base::{Reason, Result, Version};
use crate::cluster::Cluster;
use crate::primitives::view;

/// How often the balancer is asked when it hides who answers.
const SAMPLES: usize = 10;
/// A lease is renewed every 10 s and collected after an hour: one that is so much older than the newest is of a server that is gone.
const FRESH: Duration = Duration::from_secs(60);

/// What is known about one API server.
struct Server {
    reading: Reading,
    /// The address of its pod's host, until somebody has answered there.
    host: Option<String>,
}

/// Reads the versions of all API servers.
pub(super) async fn read(cluster: &Cluster, lists: &Lists) -> Result<Vec<Reading>> {
    let component = Component::ApiServer;
    let is_server = |pod: &&Json| view::label(pod, "component") == component.as_str();
    let pods = living(&lists.pods).filter(is_server);
    let mut servers: Vec<Server> = pods.map(|pod| Server { reading: of_pod(component, pod), host: Some(host(pod)) }).collect();
    let addresses = addresses(lists);
    ask_each(cluster, &addresses, &mut servers).await?;
    let counted = identities(lists).max(addresses.len());
    let mut found: Vec<Reading> = servers.into_iter().map(|server| server.reading).collect();
    let own = match cluster.server_version().await {
        Ok(own) => own,
        Err(error) if matches!(error.reason, Reason::Forbidden | Reason::Unmodelled) => {
            let unread = || Reading::missing(component, None, error.to_string(), "/version");
            if found.is_empty() {
                found.push(unread());
            }
            return Ok(found);
        }
        Err(error) => return Err(error),
    };
    let known = found.iter().filter(|reading| reading.version.is_some()).count();
    if known == 0 {
        found.extend(through_the_balancer(cluster, own, counted.max(found.len())).await?);
        return Ok(found);
    }
    let minor = |reading: &Reading| reading.version.as_ref().map(|version| (version.major, version.minor));
    let answered = Reading::of(component, None, &own, "/version");
    if !found.iter().any(|reading| minor(reading) == minor(&answered)) {
        found.push(answered);
    }
    if counted > found.len() {
        let why = format!("there are {counted} API servers by their leases and addresses, and {} could be read", found.len());
        found.push(Reading::missing(component, None, why, "leases in kube-system"));
    }
    Ok(found)
}

/// The address at which the API server of a mirror pod serves: what `kubeadm` notes, else that of its host.
fn host(pod: &Json) -> String {
    let noted = view::annotation(pod, "kubeadm.kubernetes.io/kube-apiserver.advertise-address.endpoint");
    let noted = noted.and_then(|noted| noted.rsplit_once(':')).map(|(host, _)| host.trim_matches(['[', ']']));
    noted.unwrap_or_else(|| view::text(pod, "/status/hostIP")).to_owned()
}

/// `host:port` of each API server behind the Service `default/kubernetes`.
fn addresses(lists: &Lists) -> BTreeSet<(String, u64)> {
    let mut found = BTreeSet::new();
    for slice in lists.slices.objects() {
        let ports = view::list(slice, "/ports");
        let port = ports.iter().find(|port| view::text(port, "/name") == "https").or(ports.first());
        let port = port.and_then(|port| port.pointer("/port")).and_then(Json::as_u64).unwrap_or(6443);
        for endpoint in view::list(slice, "/endpoints") {
            let hosts = view::list(endpoint, "/addresses").iter().filter_map(Json::as_str);
            found.extend(hosts.map(|host| (host.to_owned(), port)));
        }
    }
    found
}

/// Asks each API server at its own address. What it answers is what runs, whatever its pod's image is called.
async fn ask_each(cluster: &Cluster, addresses: &BTreeSet<(String, u64)>, servers: &mut Vec<Server>) -> Result<()> {
    let asked = addresses.iter().map(|(host, port)| async move {
        let shown = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
        let answer = cluster.version_at(&shown).await;
        (host, shown, answer)
    });
    for (host, shown, answer) in join_all(asked).await {
        let known = servers.iter_mut().find(|server| server.host.as_ref() == Some(host));
        let source = format!("https://{shown}/version");
        match (answer, known) {
            (Err(error), _) if error.is_stop() => return Err(error),
            (Ok(Some(text)), Some(server)) => {
                server.reading = corrected(&server.reading, &text, source);
                server.host = None;
            }
            (Ok(Some(text)), None) => {
                let reading = Reading::of(Component::ApiServer, Some(&shown), &text, source);
                servers.push(Server { reading, host: None });
            }
            // Its pod tells its version, or it is counted as one that could not be read.
            (Ok(None), _) | (Err(_), Some(_)) => {}
            (Err(error), None) => {
                let reading = Reading::missing(Component::ApiServer, Some(&shown), error.to_string(), source);
                servers.push(Server { reading, host: None });
            }
        }
    }
    Ok(())
}

/// A pod's reading with the version that its server itself says.
fn corrected(pod: &Reading, text: &str, source: String) -> Reading {
    let mut reading = Reading::of(Component::ApiServer, pod.node.as_deref(), text, source);
    if pod.version.is_some() && pod.version != reading.version {
        let image = pod.text.as_deref().unwrap_or_default();
        reading.warnings.push(format!("the image of `{}` is tagged `{image}`, and it answers `{text}`", pod.source));
    }
    reading
}

/// How many API servers renew a lease under their identity (from 1.26).
fn identities(lists: &Lists) -> usize {
    let label = |lease: &Json| view::label(lease, "apiserver.kubernetes.io/identity") == "kube-apiserver";
    let renewed: Vec<_> =
        lists.leases.objects().iter().filter(|lease| label(lease)).filter_map(|lease| view::time(lease, "/spec/renewTime")).collect();
    // Compared with each other: the server's clock is not this host's.
    let Some(newest) = renewed.iter().max() else { return 0 };
    renewed.iter().filter(|at| newest.duration_since(**at).unsigned_abs() <= FRESH).count()
}

/// What can be said when only the one address is there that everybody uses.
async fn through_the_balancer(cluster: &Cluster, own: String, counted: usize) -> Result<Vec<Reading>> {
    let component = Component::ApiServer;
    if counted == 1 || cluster.label().simulated {
        return Ok(vec![Reading::of(component, None, &own, "/version")]);
    }
    let mut answers: BTreeMap<String, usize> = BTreeMap::new();
    for answer in cluster.sampled_versions(SAMPLES).await?.into_iter().chain([own]) {
        *answers.entry(answer).or_default() += 1;
    }
    let asked: usize = answers.values().sum();
    let source = |count: usize| format!("/version, {count} of {asked} answers");
    let mut found: Vec<Reading> = answers.iter().map(|(text, count)| Reading::of(component, None, text, source(*count))).collect();
    let distinct: BTreeSet<Option<&Version>> = found.iter().map(|reading| reading.version.as_ref()).collect();
    let how_many =
        if counted == 0 { "nothing tells how many API servers there are".to_owned() } else { format!("there are {counted} API servers") };
    if distinct.len() < counted || counted == 0 {
        let why = format!("{how_many}, and only what stands in front of them answers");
        found.push(Reading::missing(component, None, why, "leases in kube-system"));
    }
    Ok(found)
}
