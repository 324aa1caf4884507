//! How containers answer the probes that their pod spec asks: when they have started, when they fall silent for a while, when they hang.

use jiff::SignedDuration;
use serde::Deserialize;

use super::{DEFAULT_READY, ImageModel, Models, PodMatch, PodModel, Readiness, Span, glob};
use crate::json::Value;
use crate::view;

/// A time in which a container that was ready does not answer its readiness probe well.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lapse {
    /// Since the container runs, or since the entry came if it ran already.
    pub after: Span,
    /// How long; for as long as the container runs when absent.
    #[serde(rename = "for")]
    pub lasts: Option<Span>,
}

/// From when on a container answers neither its liveness nor its readiness probe, until it is started again.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hang {
    /// Since the container runs, or since the entry came if it ran already.
    pub after: Span,
    /// How many runs hang before one does not; all of them when absent.
    pub times: Option<u32>,
}

/// What the models say of one run of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Life {
    /// When it answers its startup probe well.
    pub(crate) startup: Readiness,
    /// When it gets ready, counted from its startup.
    pub(crate) ready: Readiness,
    /// When it is not ready for a while.
    pub(crate) lapses: Vec<Lapse>,
    /// When it hangs.
    pub(crate) hangs: Option<SignedDuration>,
}

/// Which pods an entry is about that changes how running containers answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Concerned {
    /// Those with such an image.
    Image(String),
    /// These.
    Pods(PodMatch),
}

impl Concerned {
    /// Whether a pod is one of them; `owners` are told on demand.
    pub(crate) fn are(&self, pod: &Value, owners: impl FnOnce() -> Vec<String>) -> bool {
        match self {
            Self::Image(pattern) => has_image(pod, pattern),
            Self::Pods(pods) => pods.matches(pod, &owners()),
        }
    }
}

/// Whether a container of a pod has an image that matches.
fn has_image(pod: &Value, pattern: &str) -> bool {
    let of = |list: &str| view::list(pod, &["spec", list]).iter().any(|c| glob(pattern, view::text(c, &["image"])));
    of("containers") || of("initContainers")
}

impl Models {
    /// What is known about a run of a container that was started again `restarts` times.
    pub(crate) fn life(&self, image: &str, pod: &Value, owners: &[String], restarts: u32) -> Life {
        let startup = self.of_pod(pod, owners, |m| m.startup).or_else(|| self.of_image(image, |m| m.startup));
        let ready = self.of_pod(pod, owners, |m| m.ready).or_else(|| self.of_image(image, |m| m.ready));
        let lapses = self.of_pod(pod, owners, |m| m.lapses.clone()).or_else(|| self.of_image(image, |m| m.lapses.clone()));
        let hangs = self.of_pod(pod, owners, |m| m.hangs.clone()).or_else(|| self.of_image(image, |m| m.hangs.clone()));
        Life {
            startup: startup.unwrap_or(Readiness::After(SignedDuration::ZERO)),
            ready: ready.unwrap_or(Readiness::After(DEFAULT_READY)),
            lapses: lapses.unwrap_or_default(),
            hangs: hangs.filter(|hang| hang.times.is_none_or(|times| restarts < times)).map(|hang| hang.after.0),
        }
    }

    /// The entries that say that probes of running containers fail.
    fn failing(&self) -> (impl Iterator<Item = &ImageModel>, impl Iterator<Item = &PodModel>) {
        let images = self.images.iter().filter(|m| m.lapses.is_some() || m.hangs.is_some());
        (images, self.pods.iter().filter(|m| m.lapses.is_some() || m.hangs.is_some()))
    }

    /// Whether there is such an entry.
    pub(crate) fn knows_probes(&self) -> bool {
        let (mut images, mut pods) = self.failing();
        images.next().is_some() || pods.next().is_some()
    }

    /// Whether such an entry is about this pod.
    pub(crate) fn heeds(&self, pod: &Value, owners: &[String]) -> bool {
        let (mut images, mut pods) = self.failing();
        images.any(|m| has_image(pod, &m.pattern)) || pods.any(|m| m.pods.matches(pod, owners))
    }

    /// Notes an entry about images that containers which run already heed.
    pub(super) fn heed_image(&mut self, model: &ImageModel) {
        if model.lapses.is_some() || model.hangs.is_some() {
            self.news_of_probes.push(Concerned::Image(model.pattern.clone()));
        }
    }

    /// The same for an entry about pods.
    pub(super) fn heed_pods(&mut self, model: &PodModel) {
        if model.lapses.is_some() || model.hangs.is_some() {
            self.news_of_probes.push(Concerned::Pods(model.pods.clone()));
        }
    }

    /// Which pods answer otherwise since the last call.
    pub(crate) fn take_news_of_probes(&mut self) -> Vec<Concerned> {
        std::mem::take(&mut self.news_of_probes)
    }
}
