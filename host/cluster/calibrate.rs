//! How long pods take to come up, as the pods of a live cluster did: a plan foresees by that, not by a guess.
//!
//! Of each pod that is ready and never restarted, its status tells when the kubelet took it (`startTime`), when each container began to run,
//! and when it became ready (`lastTransitionTime` of `Ready`, which the kubelet sets: `pkg/kubelet/status/generate.go`). A pod that lost its
//! readiness and found it again tells a later time; so the median of all counts, and what took longer than an hour does not.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use lockgate_sim::model::{DEFAULT_PULL, DEFAULT_START, ImageModel, Models, Readiness, Span as SimSpan};

use crate::base::json::Value as Json;
use crate::base::{Image, Span, Timestamp};

/// Longer than any start takes: what is above it is something else.
const LONGEST: Span = Span::from_secs(3_600);

/// What was seen of one image, whatever its tag.
#[derive(Clone, Debug, Default, PartialEq)]
struct Seen {
    /// From the pod's start, or the end of its init containers, to the running container: it was pulled and started.
    come: Vec<Span>,
    /// From running to ready.
    ready: Vec<Span>,
}

/// What was seen so far, by image without tag and digest.
#[derive(Clone, Debug, Default)]
pub(super) struct Starts(BTreeMap<String, Seen>);

impl Starts {
    /// Takes notice of pods, and tells the models what they say about their images.
    pub(super) fn learn<'a>(&mut self, pods: impl Iterator<Item = &'a Json>, models: &mut Models) {
        let mut news: Vec<String> = Vec::new();
        for pod in pods {
            for (image, come, ready) in starts(pod) {
                let seen = self.0.entry(image.clone()).or_default();
                seen.come.push(come);
                seen.ready.push(ready);
                news.push(image);
            }
        }
        news.sort();
        news.dedup();
        for image in news {
            let Some(seen) = self.0.get(&image) else { continue };
            let why = format!("so long the pods of this cluster took ({} seen)", seen.ready.len());
            // The repository itself, and with a tag or a digest.
            for pattern in [image.clone(), format!("{image}:*"), format!("{image}@*")] {
                let mut model = ImageModel::new(&pattern, &why);
                // What is new to a node is pulled once more; how long of that was the pull is not told. Where the image was there already the
                // pod says nothing about it: then it takes as long as any.
                model.pull = median(&seen.come).map(|span| SimSpan((simulated(span).0 - DEFAULT_START).max(DEFAULT_PULL)));
                model.start = Some(SimSpan(DEFAULT_START));
                model.ready = median(&seen.ready).map(|span| Readiness::After(simulated(span).0));
                models.image(model);
            }
        }
    }
}

fn simulated(span: Span) -> SimSpan {
    SimSpan(SignedDuration::try_from(span.as_duration()).unwrap_or(SignedDuration::MAX))
}

/// The median, the lower one of two.
fn median(spans: &[Span]) -> Option<Span> {
    let mut spans = spans.to_vec();
    spans.sort();
    spans.get(spans.len().saturating_sub(1) / 2).copied()
}

/// Of each container: its image without tag and digest, how long it took to run, and from then to the readiness of the pod.
fn starts(pod: &Json) -> Vec<(String, Span, Span)> {
    let status = pod.get("status").unwrap_or(&Json::Null);
    let Some(ready) = condition(status, "Ready") else { return Vec::new() };
    let of_init = list(status, "initContainerStatuses").iter().filter_map(|of| time(of.pointer("/state/terminated/finishedAt")));
    let Some(begun) = of_init.max().or_else(|| time(status.get("startTime"))) else { return Vec::new() };
    let containers = list(status, "containerStatuses");
    if containers.iter().any(|of| of.get("restartCount").and_then(Json::as_u64) != Some(0)) {
        return Vec::new();
    }
    let named = pod.get("spec").map(|spec| list(spec, "containers")).unwrap_or_default();
    let image = |of: &Json| {
        let found = named.iter().find(|container| container.get("name") == of.get("name"))?.get("image")?.as_str()?;
        repository(found)
    };
    let came = containers.iter().filter_map(|of| Some((image(of)?, time(of.pointer("/state/running/startedAt"))?)));
    let spans = came.map(|(image, running)| (image, Span::between(begun, running), Span::between(running, ready)));
    spans.filter(|(_, come, ready)| *come <= LONGEST && *ready <= LONGEST).collect()
}

/// `registry/repository`, as it is written.
fn repository(image: &str) -> Option<String> {
    let parsed = Image::parse(image).ok()?;
    let rest = image.split('@').next().unwrap_or(image);
    let tag = parsed.tag.as_ref().map(|tag| format!(":{tag}")).unwrap_or_default();
    Some(rest.strip_suffix(&tag).unwrap_or(rest).to_owned())
}

fn list<'a>(of: &'a Json, field: &str) -> &'a [Json] {
    of.get(field).and_then(Json::as_array).map(|items| &**items).unwrap_or_default()
}

/// When a condition became true.
fn condition(status: &Json, name: &str) -> Option<Timestamp> {
    let found = list(status, "conditions").iter().find(|condition| condition.get("type").and_then(Json::as_str) == Some(name))?;
    let holds = found.get("status").and_then(Json::as_str) == Some("True");
    time(found.get("lastTransitionTime")).filter(|_| holds)
}

fn time(text: Option<&Json>) -> Option<Timestamp> {
    text.and_then(Json::as_str)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::json::json;

    fn pod(image: &str, running: &str, ready: &str) -> Json {
        json!({
            "spec": {"containers": [{"name": "c", "image": image}]},
            "status": {
                "startTime": "2026-01-01T00:00:00Z",
                "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": ready}],
                "containerStatuses": [{"name": "c", "restartCount": 0, "state": {"running": {"startedAt": running}}}],
            }
        })
    }

    #[test]
    fn the_median_of_the_pods_is_what_an_image_takes_whatever_its_tag() {
        let pods = [
            pod("r.example:5000/web:v1", "2026-01-01T00:00:20Z", "2026-01-01T00:01:00Z"),
            pod("r.example:5000/web:v2", "2026-01-01T00:00:10Z", "2026-01-01T00:00:40Z"),
            // It lost its readiness at noon.
            pod("r.example:5000/web:v2", "2026-01-01T00:00:30Z", "2026-01-01T00:45:00Z"),
        ];
        let (mut starts, mut models) = (Starts::default(), Models::default());
        starts.learn(pods.iter(), &mut models);
        let seen = &starts.0["r.example:5000/web"];
        assert_eq!(median(&seen.come), Some(Span::from_secs(20)));
        assert_eq!(median(&seen.ready), Some(Span::from_secs(40)));
        assert_eq!(starts.0.len(), 1);
    }

    #[test]
    fn what_says_nothing_about_a_start_is_left_out() {
        let mut restarted = pod("web:v1", "2026-01-01T00:00:20Z", "2026-01-01T00:01:00Z");
        restarted["status"]["containerStatuses"][0]["restartCount"] = json!(2);
        let mut unready = pod("web:v1", "2026-01-01T00:00:20Z", "2026-01-01T00:01:00Z");
        unready["status"]["conditions"][0]["status"] = json!("False");
        let late = pod("web:v1", "2026-01-01T00:00:20Z", "2026-01-01T09:00:00Z");
        for pod in [restarted, unready, late, json!({}), json!({"status": {"conditions": 1, "containerStatuses": {}}})] {
            assert_eq!(starts(&pod), Vec::new(), "{pod}");
        }
    }

    #[test]
    fn init_containers_are_not_the_time_of_the_first_container() {
        let mut pod = pod(
            "web@sha256:0000000000000000000000000000000000000000000000000000000000000000",
            "2026-01-01T00:01:05Z",
            "2026-01-01T00:01:10Z",
        );
        pod["status"]["initContainerStatuses"] = json!([{"state": {"terminated": {"finishedAt": "2026-01-01T00:01:00Z"}}}]);
        assert_eq!(starts(&pod), vec![("web".to_owned(), Span::from_secs(5), Span::from_secs(5))]);
    }
}
