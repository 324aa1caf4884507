//! The containers of one pod, for verbs that go into them.

use crate::base::json::Value as Json;

use super::registry::list;
use super::view;
use crate::base::{Error, Kind, Reason, Result, did_you_mean};
use crate::cluster::Target;

/// The annotation that names the container meant where none is named.
const DEFAULT: &str = "kubectl.kubernetes.io/default-container";
const LISTS: [(&str, &str); 3] = [
    ("/spec/containers", "/status/containerStatuses"),
    ("/spec/initContainers", "/status/initContainerStatuses"),
    ("/spec/ephemeralContainers", "/status/ephemeralContainerStatuses"),
];

/// The names of a pod's containers, in the order of their lists.
pub(super) fn names(pod: &Json) -> Vec<&str> {
    LISTS.iter().flat_map(|(spec, _)| view::list(pod, spec)).map(|container| view::text(container, "/name")).collect()
}

/// The names of the containers that run as long as the pod does.
pub(super) fn regular(pod: &Json) -> Vec<&str> {
    view::list(pod, "/spec/containers").iter().map(|container| view::text(container, "/name")).collect()
}

/// The container that is meant: the one named, the pod's own default, or the first.
///
/// # Errors
/// `not_found` when there is none of that name.
pub(super) fn meant(target: &Target, doing: &str, pod: &Json, named: Option<&str>) -> Result<String> {
    let all = names(pod);
    let Some(named) = named else {
        let own = view::annotation(pod, DEFAULT).filter(|name| all.contains(name));
        return Ok(own.or_else(|| all.first().copied()).unwrap_or_default().to_owned());
    };
    if all.contains(&named) {
        return Ok(named.to_owned());
    }
    let message = format!("{doing} `{target}`: it has no container `{named}`");
    let error = Error::new(Kind::Cluster, Reason::NotFound, message).about(target.full_name());
    Err(match did_you_mean(named, all.iter().copied()) {
        Some(near) => error.hint(format!("did you mean `{near}`? it has {}", list(all.iter().copied()))),
        None => error.hint(format!("it has {}", list(all.iter().copied()))),
    })
}

/// What the kubelet says of a container.
pub(super) fn status<'a>(pod: &'a Json, name: &str) -> Option<&'a Json> {
    LISTS.iter().flat_map(|(_, status)| view::list(pod, status)).find(|status| view::text(status, "/name") == name)
}

/// Whether it runs or has run: before that there is no log.
pub(super) fn has_started(pod: &Json, name: &str) -> bool {
    status(pod, name).is_some_and(|status| {
        status.pointer("/state/running").is_some() || status.pointer("/state/terminated").is_some() || has_ended_before(pod, name)
    })
}

/// Why nothing can run in it now, when its node says so; `None` also where nothing is said.
pub(super) fn does_not_run(pod: &Json, name: &str) -> Option<String> {
    if view::text(pod, "/spec/nodeName").is_empty() {
        return Some("its pod has no node yet".to_owned());
    }
    let status = status(pod, name)?;
    if let Some(ended) = status.pointer("/state/terminated") {
        return Some(format!("it has ended with code {}", view::count(ended, "/exitCode")));
    }
    let waiting = status.pointer("/state/waiting")?;
    Some(match (view::text(waiting, "/reason"), view::text(waiting, "/message")) {
        ("", _) => "it has not started".to_owned(),
        (reason, "") => format!("it waits: {reason}"),
        (reason, message) => format!("it waits: {reason}: {message}"),
    })
}

/// Whether it has ended and was started again.
pub(super) fn has_ended_before(pod: &Json, name: &str) -> bool {
    status(pod, name).is_some_and(|status| status.pointer("/lastState/terminated").is_some())
}
