//! Images that this run set and somebody else sets otherwise, while the rollout is waited for: an operator that keeps a workload as
//! its own settings have it. Without a look at this the wait would end well, with the old image.

use std::collections::BTreeMap;

use crate::base::json::Value as Json;

use super::cx::Cx;
use super::view;
use super::workload::{self, LISTS};
use crate::base::{Error, Kind, Reason};
use crate::cluster::{Cluster, OP_ANNOTATION, Target};

/// The images of a workload that are this run's own.
pub(super) struct OwnImages {
    pod_spec: &'static str,
    by_container: BTreeMap<String, String>,
}

impl OwnImages {
    /// Those that lockgate owns by the object's `managedFields`, where its last write was of this run.
    pub(super) fn of(cx: &Cx, target: &Target, object: &Json) -> OwnImages {
        let Some(pod_spec) = workload::pod_spec(&target.resource) else {
            return OwnImages { pod_spec: "", by_container: BTreeMap::new() };
        };
        let stamp = view::annotation(object, OP_ANNOTATION).and_then(|stamp| stamp.split('/').next());
        let is_mine = stamp == Some(cx.cluster.run().to_string().as_str());
        let own = |name: &str| is_mine && owners(object, pod_spec, name).any(|owner| owner == Cluster::MANAGER);
        let by_container = workload::images(object, pod_spec).into_iter().filter(|(name, _)| own(name)).collect();
        OwnImages { pod_spec, by_container }
    }

    /// The error when one of them is another now.
    pub(super) fn taken(&self, target: &Target, now: &Json) -> Option<Error> {
        let images = workload::images(now, self.pod_spec);
        let (name, own, is) = self.by_container.iter().find_map(|(name, own)| {
            let is = images.get(name).filter(|is| *is != own)?;
            Some((name, own, is))
        })?;
        let who = owners(now, self.pod_spec, name).find(|owner| *owner != Cluster::MANAGER).unwrap_or("somebody");
        let message = format!("rollout of `{target}`: `{who}` set container `{name}` to image `{is}`; this run had set it to `{own}`");
        Some(
            Error::new(Kind::Cluster, Reason::Conflict, message)
                .about(target.full_name())
                .hint("change what that one takes the image from, or it will set it again"),
        )
    }
}

/// The managers that own the image of a container.
fn owners<'a>(object: &'a Json, pod_spec: &str, container: &str) -> impl Iterator<Item = &'a str> {
    let place: String = pod_spec.split('/').skip(1).map(|part| format!("/f:{part}")).collect();
    let paths = LISTS.map(|list| format!("/fieldsV1{place}/f:{list}/k:{{\"name\":\"{container}\"}}/f:image"));
    let entries = view::list(object, "/metadata/managedFields").iter();
    entries.filter(move |entry| paths.iter().any(|path| entry.pointer(path).is_some())).map(|entry| view::text(entry, "/manager"))
}
