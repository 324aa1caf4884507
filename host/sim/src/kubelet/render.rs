//! The status of a pod as its kubelet writes it.

use std::sync::LazyLock;

use crate::json::{Map, Text, Value, json};
use jiff::Timestamp;

use super::container::{Container, Exit, SHOWN, State, refusal};
use super::mirror;
use crate::view;

/// Fields of a status that the kubelet writes, or that others have written and it keeps.
const KNOWN: &[&str] = &[
    "phase",
    "conditions",
    "startTime",
    "hostIP",
    "hostIPs",
    "podIP",
    "podIPs",
    "initContainerStatuses",
    "containerStatuses",
    "observedGeneration",
    "qosClass",
    "nominatedNodeName",
    "ephemeralContainerStatuses",
    "resize",
];

/// The whole status. Conditions that did not change keep their transition time, those of others are kept.
pub(super) fn status(pod: &Value, node: &Value, containers: &[Container], ip: &str, started: Timestamp, now: Timestamp) -> Value {
    let old = view::at(pod, &["status"]).and_then(Value::as_object);
    // The one before, changed: most fields stand there already, and what stays the same is shared.
    let mut status = old.cloned().unwrap_or_default();
    status.retain(|field, _| KNOWN.contains(&field.as_str()));
    let host = internal_ip(node);
    let (init, main): (Vec<&Container>, Vec<&Container>) = containers.iter().partition(|c| c.is_init);
    let phase = phase(pod, containers);
    put(&mut status, "phase", phase);
    status.insert("conditions", conditions(pod, phase, containers, now).into());
    status.insert("startTime", view::stamp(started).into());
    addresses(&mut status, ["hostIP", "hostIPs"], Some(host));
    let address = if ip.is_empty() { host } else { ip };
    // An address is known once the sandbox is there, which comes before the first container.
    let known = ip.is_empty() || containers.iter().any(|c| c.state != State::Waiting);
    addresses(&mut status, ["podIP", "podIPs"], known.then_some(address));
    let initialized = init.iter().all(|c| c.is_initialized());
    let statuses = |list: &[&Container]| -> Vec<Value> { list.iter().map(|c| container(pod, c, initialized, now)).collect() };
    if init.is_empty() {
        status.remove("initContainerStatuses");
    } else {
        status.insert(long(0), statuses(&init).into());
    }
    status.insert(long(1), statuses(&main).into());
    match view::generation(pod) {
        generation if generation > 0 => drop(status.insert(long(2), generation.into())),
        _ => drop(status.remove("observedGeneration")),
    }
    status.into()
}

/// Sets a text that mostly stands there.
fn put(status: &mut Map, field: &str, text: &str) {
    if status.get(field).and_then(Value::as_str) != Some(text) {
        status.insert(field, text.into());
    }
}

/// Long keys of every status, held once.
fn long(place: usize) -> Text {
    static LONG: LazyLock<[Text; 3]> =
        LazyLock::new(|| ["initContainerStatuses", "containerStatuses", "observedGeneration"].map(Text::from));
    LONG.get(place).cloned().unwrap_or_default()
}

/// An address in both of its forms; the list that stands there stays when it is the same address. Without an address, neither.
fn addresses(status: &mut Map, [one, all]: [&str; 2], address: Option<&str>) {
    let Some(address) = address else {
        status.remove(one);
        status.remove(all);
        return;
    };
    let known = status.get(one).and_then(Value::as_str) == Some(address);
    let list = status.get(all).and_then(Value::as_array);
    if !known || list.is_none_or(|list| list.len() != 1 || view::text(&list[0], &["ip"]) != address) {
        let text = Text::from(address);
        status.insert(one, text.clone().into());
        status.insert(all, json!([{"ip": text}]));
    }
}

/// The address of a node; empty when it has none.
fn internal_ip(node: &Value) -> &str {
    let addresses = view::list(node, &["status", "addresses"]);
    addresses.iter().find(|a| view::text(a, &["type"]) == "InternalIP").map_or("", |a| view::text(a, &["address"]))
}

fn phase(pod: &Value, containers: &[Container]) -> &'static str {
    match view::text(pod, &["status", "phase"]) {
        "Succeeded" => return "Succeeded",
        "Failed" => return "Failed",
        _ => {}
    }
    let main = || containers.iter().filter(|c| !c.is_init);
    let code = |c: &Container| if let State::Ended { exit } = &c.state { Some(exit.code) } else { None };
    if containers.iter().any(|c| c.is_init && code(c).is_some_and(|code| code != 0)) {
        return "Failed";
    }
    if main().all(|c| code(c).is_some()) && main().next().is_some() {
        return if main().all(|c| code(c) == Some(0)) { "Succeeded" } else { "Failed" };
    }
    if containers.iter().all(|c| c.is_initialized() && c.has_run()) { "Running" } else { "Pending" }
}

/// Why the containers of a pod that has ended are not ready.
fn ended(phase: &str) -> Option<&'static str> {
    match phase {
        "Succeeded" => Some("PodCompleted"),
        "Failed" => Some("PodFailed"),
        _ => None,
    }
}

fn conditions(pod: &Value, phase: &str, containers: &[Container], now: Timestamp) -> Vec<Value> {
    let names = |pick: &dyn Fn(&&Container) -> bool| -> Vec<&str> { containers.iter().filter(pick).map(|c| c.name.as_str()).collect() };
    let uninitialized = names(&|c| !c.is_initialized());
    let unready = names(&|c| !c.is_init && !c.is_ready());
    let ended = ended(phase);
    let sandbox = ended.is_none() && containers.iter().any(|c| !matches!(c.state, State::Waiting));
    let not_ready = || Some(("ContainersNotReady", format!("containers with unready status: [{}]", unready.join(" "))));
    let gates: Vec<&str> = view::list(pod, &["spec", "readinessGates"])
        .iter()
        .map(|gate| view::text(gate, &["conditionType"]))
        .filter(|kind| !view::condition_is_true(pod, kind))
        .collect();
    let ready = if !unready.is_empty() {
        not_ready()
    } else if gates.is_empty() {
        None
    } else {
        let quoted: Vec<String> =
            gates.iter().map(|g| format!("corresponding condition of pod readiness gate \"{g}\" does not exist.")).collect();
        Some(("ReadinessGatesNotReady", quoted.join(", ")))
    };
    let incomplete = || ("ContainersNotInitialized", format!("containers with incomplete status: [{}]", uninitialized.join(" ")));
    let ready = ended.map_or(ready, |reason| Some((reason, String::new())));
    let containers_ready = match ended {
        Some(reason) => Some((reason, String::new())),
        None if unready.is_empty() => None,
        None => not_ready(),
    };
    let initialized = match phase {
        "Succeeded" => Some(("PodCompleted", String::new())),
        _ => (!uninitialized.is_empty()).then(incomplete),
    };
    let own = [
        ("PodReadyToStartContainers", sandbox, None),
        ("Initialized", phase == "Succeeded" || uninitialized.is_empty(), initialized),
        ("Ready", ready.is_none(), ready),
        ("ContainersReady", containers_ready.is_none(), containers_ready),
        // The kubelet writes the scheduler's verdict anew, with the generation that it has seen.
        ("PodScheduled", true, None),
    ];
    let mut conditions: Vec<Value> = Vec::with_capacity(own.len());
    let before = view::list(pod, &["status", "conditions"]);
    for (at, (kind, holds, why)) in own.into_iter().enumerate() {
        let is_it = |condition: &&Value| view::text(condition, &["type"]) == kind;
        // Mostly it stands where it stood.
        let old = before.get(at).filter(is_it).or_else(|| before.iter().find(is_it));
        conditions.push(condition(old, kind, holds, why, view::generation(pod), now));
    }
    let known = |c: &&Value| !conditions.iter().any(|own| own.get("type") == c.get("type"));
    let foreign: Vec<Value> = before.iter().filter(known).cloned().collect();
    conditions.extend(foreign);
    conditions
}

/// One condition, from the one before.
fn condition(known: Option<&Value>, kind: &str, holds: bool, why: Option<(&str, String)>, generation: i64, now: Timestamp) -> Value {
    let status = if holds { "True" } else { "False" };
    let old = known.filter(|old| view::text(old, &["status"]) == status);
    if let Some(old) = old.filter(|old| says(old, generation, why.as_ref())) {
        return old.clone();
    }
    let since = old.map_or_else(|| view::stamp(now), |old| view::shared(old, &["lastTransitionTime"]));
    // The name of a condition that was there before is shared with it.
    let kind = known.map_or_else(|| kind.into(), |old| view::shared(old, &["type"]));
    let mut condition = json!({"type": kind, "status": status, "lastProbeTime": null, "lastTransitionTime": since});
    let Some(members) = condition.as_object_mut() else { return condition };
    if generation > 0 {
        members.insert(long(2), generation.into());
    }
    if let Some((reason, message)) = why {
        members.insert("reason", reason.into());
        if !message.is_empty() {
            members.insert("message", message.into());
        }
    }
    condition
}

/// Whether a condition says this already, in the form in which it is written.
fn says(condition: &Value, generation: i64, why: Option<&(&str, String)>) -> bool {
    let (reason, message) = why.map_or(("", ""), |(reason, message)| (*reason, message.as_str()));
    let members = 4 + usize::from(generation > 0) + usize::from(!reason.is_empty()) + usize::from(!message.is_empty());
    condition.get("lastProbeTime").is_some_and(Value::is_null)
        && condition.as_object().is_some_and(|map| map.len() == members)
        && view::count(condition, &["observedGeneration"]) == generation
        && view::text(condition, &["reason"]) == reason
        && view::text(condition, &["message"]) == message
}

fn container(pod: &Value, c: &Container, initialized: bool, now: Timestamp) -> Value {
    let ran = c.has_run();
    let image = c.former.as_ref().map_or(&c.image, |former| &former.image);
    let (image_id, container_id) = if ran { ids(pod, c, image) } else { Default::default() };
    let mut status = json!({
        "name": c.name.clone(), "image": image.clone(), "imageID": image_id,
        "ready": c.is_ready(), "restartCount": c.restarts, "started": c.is_started(),
        "state": state(pod, c, initialized, now),
        "lastState": c.last.as_ref().map_or_else(|| json!({}), |exit| json!({"terminated": terminated(exit)})),
    });
    if ran {
        view::set(&mut status, &["containerID"], container_id);
    }
    if let Some(former) = &c.former {
        // It is what is shown until the new image runs, or cannot be had.
        let over = json!({"terminated": terminated(&former.exit)});
        let place = if c.failed_pulls > 0 { "lastState" } else { "state" };
        view::set(&mut status, &[place], over);
    }
    // In a back-off the last run is what `lastState` shows.
    if let State::BackOff { exit, .. } = &c.state
        && shows_back_off(c, now)
    {
        view::set(&mut status, &["lastState"], json!({"terminated": terminated(exit)}));
    }
    status
}

/// The ids of the image and of the container: those that its status has, while it is the same image and the same start.
fn ids(pod: &Value, c: &Container, image: &str) -> (Text, Text) {
    let list = if c.is_init { "initContainerStatuses" } else { "containerStatuses" };
    let known = view::list(pod, &["status", list]).iter().find(|status| view::text(status, &["name"]) == c.name);
    let same = |known: &&Value| view::text(known, &["image"]) == image && view::count(known, &["restartCount"]) == i64::from(c.restarts);
    let known = known.filter(same).map(|known| (known.get("imageID"), known.get("containerID")));
    match known {
        Some((Some(Value::String(image)), Some(Value::String(container)))) if !image.is_empty() => (image.clone(), container.clone()),
        _ => {
            let id = format!("{}/{}/{}", mirror::identity(pod), c.name, c.restarts);
            (image_id(image).into(), format!("containerd://{}", digest(&id)).into())
        }
    }
}

fn shows_back_off(c: &Container, now: Timestamp) -> bool {
    match &c.state {
        State::BackOff { exit, delay, .. } => *delay > SHOWN && now >= view::later(exit.finished, SHOWN),
        State::PullFailed { since, .. } => now >= view::later(*since, SHOWN),
        _ => false,
    }
}

fn state(pod: &Value, c: &Container, initialized: bool, now: Timestamp) -> Value {
    let waiting = |reason: &str, message: Option<String>| {
        let mut waiting = json!({"reason": reason});
        if let Some(message) = message {
            view::set(&mut waiting, &["message"], message);
        }
        json!({"waiting": waiting})
    };
    match &c.state {
        State::Running { since, .. } => json!({"running": {"startedAt": view::stamp(*since)}}),
        State::Ended { exit } => json!({"terminated": terminated(exit)}),
        State::BackOff { delay, .. } if shows_back_off(c, now) => {
            let place = format!("{}_{}({})", view::name(pod), view::namespace(pod), view::uid(pod));
            let text = format!("back-off {} restarting failed container={} pod={place}", printed(delay.as_secs()), c.name);
            waiting("CrashLoopBackOff", Some(text))
        }
        State::BackOff { exit, .. } => json!({"terminated": terminated(exit)}),
        State::PullFailed { .. } if !shows_back_off(c, now) => waiting("ErrImagePull", Some(refusal(&c.image))),
        // While it is tried again the back-off is still what is shown.
        State::PullFailed { .. } | State::Pulling { .. } if c.failed_pulls > 0 => {
            let text = format!("Back-off pulling image \"{}\": ErrImagePull: {}", c.image, refusal(&c.image));
            waiting("ImagePullBackOff", Some(text))
        }
        _ if c.is_init || !initialized => waiting("PodInitializing", None),
        _ => waiting("ContainerCreating", None),
    }
}

fn terminated(exit: &Exit) -> Value {
    json!({
        "exitCode": exit.code, "reason": if exit.code == 0 { "Completed" } else { "Error" },
        "startedAt": view::stamp(exit.started), "finishedAt": view::stamp(exit.finished),
    })
}

/// Seconds as Go prints a duration: `10s`, `1m20s`, `5m0s`.
fn printed(seconds: i64) -> String {
    if seconds < 60 { format!("{seconds}s") } else { format!("{}m{}s", seconds / 60, seconds % 60) }
}

/// A made-up but stable digest: equal images have equal ids.
fn image_id(image: &str) -> String {
    let bare = image.split_once('@').map_or(image, |(name, _)| name);
    let colon = bare.rfind(':').filter(|at| !bare[*at..].contains('/'));
    format!("{}@sha256:{}", &bare[..colon.unwrap_or(bare.len())], digest(image))
}

/// 64 hexadecimal digits from FNV-1a; no cryptography is meant.
fn digest(text: &str) -> String {
    (0_u64..4)
        .map(|part| {
            let seed = 0xcbf2_9ce4_8422_2325_u64 ^ part.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let hash = text.bytes().fold(seed, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
            format!("{hash:016x}")
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_digests_look_like_the_real_ones() {
        let texts: Vec<String> = [10, 80, 300].into_iter().map(printed).collect();
        assert_eq!(texts, ["10s", "1m20s", "5m0s"]);
        assert_eq!(digest("x").len(), 64);
        assert!(image_id("registry.example:5000/a/b:v1").starts_with("registry.example:5000/a/b@sha256:"));
        assert_eq!(image_id("a:1"), image_id("a:1"));
        assert_ne!(image_id("a:1"), image_id("a:2"));
    }
}
