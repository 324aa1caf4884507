//! Makes what two clusters say comparable. What is left out is a closed list; everything else must be equal.
//!
//! | what | becomes | why |
//! |---|---|---|
//! | `uid`, `resourceVersion`, `managedFields`, `selfLink` | nothing; `managedFields` stay where a case is about them, without times | identity within one cluster |
//! | a text that is a point in time, an IP address, a token of a list | `<time>`, `<ip>`, `<token>` | two clocks, two address ranges |
//! | `ca.crt`, `nodePort` | `<certificate>`, `<port>` | the certificate of the cluster; drawn at random |
//! | the description of a column of a table | nothing | prose, which the simulated cluster leaves out on purpose |
//! | of `/version`, what is of the build: commit, date, compiler, platform | nothing | another program |
//! | the end of the name of a volume with a token | `*` | drawn at random |
//! | a uid or a version inside a text | `<uid>`, `<version>` | as above |
//! | the end of a made-up name; the hash of a template | `*`; `H1`, `H2`, … by owner and revision | random; two hash functions |
//! | the node of a pod (in the affinity of a DaemonSet's pods too), of an endpoint | `<node>`, where the case leaves the scheduler a choice | its tie-breaks are random |
//! | a whole object inside of a message | `<object>` | the order of its fields, its times and versions |
//! | conditions | sorted by type | their order means nothing |
//! | status of a pod | phase, reason, message, `qosClass`, conditions, and of containers name, image, readiness and restarts | KWOK stands for the kubelet on the real side: the rest is its invention |
//! | status of a node; what a kubelet says of itself in its metadata and spec | readiness; nothing | as above |
//! | events | object's kind, reason, type; the kubelets' left out, and those of the server's allocators; each once | how often and in which order they are told is a race; so is when the repair loops of addresses and ports look |
//! | `metadata.generation` of an EndpointSlice or a ReplicaSet above 1, and that it was observed | `<changed>` | how many changes come with one write is a race |
//! | when compared: of a Deployment, that its ReplicaSet is new or that it progresses | the same | whether the controller counts before or after the first pod is there is a race |
//! | endpoints, items of lists | sorted by their content | the real order is that of a map, or of made-up names |
//! | what kubectl says | a document as an answer; else its lines, each once, in order; without the lines of `Waiting for`, without the log of its libraries, without ages | how often it tells how far it is, and which of several pods it tells first, depends on the clock |
//! | how long a watch of kubectl may last | `<some>` | it draws it |
//! | in snaps: ConfigMap `kube-root-ca.crt`, ServiceAccount `default` | nothing | in every namespace; a case of their own is about them |

use std::net::IpAddr;

use serde_json::{Map, Value, json};

use super::case::Keep;
use super::names::{Names, items, text};

/// Metadata that means something only in the cluster it comes from.
const IDENTITY: [&str; 3] = ["uid", "resourceVersion", "selfLink"];

/// Fields that are others on every cluster, and what stands for them.
const OF_CLUSTER: [(&str, &str); 3] = [("continue", "<token>"), ("ca.crt", "<certificate>"), ("nodePort", "<port>")];

/// What `/version` says of how the program was built.
const OF_BUILD: [&str; 6] = ["buildDate", "compiler", "gitCommit", "gitTreeState", "goVersion", "platform"];

/// What the name of a volume with the token of an account begins with, and how many letters follow.
const TOKEN_VOLUME: (&str, usize) = ("kube-api-access-", 5);

/// What a pod's condition and a node's keep.
const OF_CONDITION: [&str; 4] = ["type", "status", "reason", "message"];

/// What the status of a container keeps.
const OF_CONTAINER: [&str; 4] = ["name", "image", "ready", "restartCount"];

/// An answer to a request.
pub(crate) fn answer(body: &Value, names: &Names, keep: Keep) -> Value {
    let mut body = body.clone();
    let kind = text(&body, "/kind").to_owned();
    match kind.strip_suffix("List").filter(|_| body.get("items").is_some()) {
        Some(kind) => {
            if let Some(Value::Array(items)) = body.get_mut("items") {
                for item in items.iter_mut() {
                    // What kubectl prints of several is a `List` whose items say themselves what they are.
                    let own = if kind.is_empty() { text(item, "/kind").to_owned() } else { kind.to_owned() };
                    object(&own, item, names, keep);
                }
                items.sort_by_cached_key(Value::to_string);
            }
            clean(&mut body, names, keep);
        }
        None => object(&kind, &mut body, names, keep),
    }
    body
}

/// Puts one word in the place of two that say the same: that a rollout has begun. A Deployment whose controller counts before the
/// first new pod is there tells later that it progresses; one that counts after it goes on telling that the ReplicaSet is new.
pub(crate) fn without_race(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            let text = |name: &str| fields.get(name).and_then(Value::as_str).unwrap_or_default();
            let begun = matches!(text("reason"), "NewReplicaSetCreated" | "ReplicaSetUpdated");
            if begun && (text("type"), text("status")) == ("Progressing", "True") {
                fields.insert("reason".to_owned(), "<begun>".into());
                fields.insert("message".to_owned(), "<begun>".into());
            }
            fields.values_mut().for_each(without_race);
        }
        Value::Array(items) => items.iter_mut().for_each(without_race),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// The path of a request of kubectl.
pub(crate) fn path(path: &str) -> String {
    let Some((path, query)) = path.split_once('?') else { return path.to_owned() };
    let drawn = |pair: &&str| pair.starts_with("timeoutSeconds=") && query.contains("watch=true");
    let pairs: Vec<&str> = query.split('&').map(|pair| if drawn(&pair) { "timeoutSeconds=<some>" } else { pair }).collect();
    format!("{path}?{}", pairs.join("&"))
}

/// The body of a request of kubectl.
pub(crate) fn sent(body: &str) -> String {
    match serde_json::from_str::<Value>(body) {
        Ok(mut value) => {
            clean(&mut value, &Names::default(), Keep::default());
            value.to_string()
        }
        Err(_) => body.to_owned(),
    }
}

/// What kubectl said on standard output and on standard error.
pub(crate) fn said(stdout: &str, stderr: &str, names: &Names, keep: Keep) -> Value {
    let document = serde_json::from_str::<Value>(stdout).ok().filter(Value::is_object);
    let errors = lines(stderr, names).into_iter().map(|line| format!("! {line}"));
    match document {
        Some(document) => json!({"document": answer(&document, names, keep), "errors": errors.collect::<Vec<_>>()}),
        None => lines(stdout, names).into_iter().chain(errors).collect(),
    }
}

/// Lines that can be compared: each once, in order. A sentence that says how far it is gone is told as often as somebody asks.
fn lines(text: &str, names: &Names) -> Vec<String> {
    let mut lines: Vec<String> = text
        .lines()
        .map(str::trim_end)
        .filter(|line| !line.is_empty() && !line.starts_with("Waiting for") && !is_logged(line))
        .map(|line| line_of(line, names))
        .collect();
    lines.sort();
    lines.dedup();
    lines
}

/// Whether a line is one of the log of its libraries, which is not about errors: `I1121 17:55:54.440849 …`.
fn is_logged(line: &str) -> bool {
    let date = line.strip_prefix(['I', 'W']).and_then(|rest| rest.get(..5));
    date.is_some_and(|date| {
        date.starts_with(|letter: char| letter.is_ascii_digit()) && date.trim_end().len() == 4 && date.trim_end().parse::<u32>().is_ok()
    })
}

fn line_of(line: &str, names: &Names) -> String {
    let words: Vec<String> =
        plain(line, names).split_whitespace().map(|word| if is_age(word) { "<age>".to_owned() } else { plain(word, names) }).collect();
    in_order(&words.join(" "))
}

/// The reasons why kubectl drain does not begin come out of a map: in any order.
fn in_order(line: &str) -> String {
    const NEXT: &str = ", cannot delete ";
    let Some((head, (reasons, tail))) = line.split_once('[').and_then(|(head, rest)| Some((head, rest.rsplit_once(']')?))) else {
        return line.to_owned();
    };
    let Some(reasons) = reasons.strip_prefix("cannot delete ") else { return line.to_owned() };
    let mut reasons: Vec<&str> = reasons.split(NEXT).collect();
    reasons.sort_unstable();
    format!("{head}[cannot delete {}]{tail}", reasons.join(NEXT))
}

/// Whether a word is an age as kubectl prints it: `11s`, `3m20s`.
fn is_age(word: &str) -> bool {
    let units = word.trim_start_matches(|letter: char| letter.is_ascii_digit() || "smhdy".contains(letter));
    units.is_empty() && word.starts_with(|letter: char| letter.is_ascii_digit()) && word.ends_with(['s', 'm', 'h', 'd', 'y'])
}

/// What a watch told.
pub(crate) fn told(event: &Value, names: &Names, keep: Keep) -> Value {
    let body = event.get("object").map_or(Value::Null, |object| answer(object, names, keep));
    json!({"type": event.get("type"), "object": body})
}

/// The objects of one kind under names that do not depend on the cluster.
pub(crate) fn objects(plural: &str, list: &Value, names: &Names, keep: Keep) -> Map<String, Value> {
    let kind = text(list, "/kind").trim_end_matches("List").to_owned();
    let wanted = items(list).iter().filter(|item| !is_left_out(plural, item));
    let mut found: Vec<(String, String, Value)> = wanted
        .map(|item| {
            let mut item = item.clone();
            object(&kind, &mut item, names, keep);
            let name = match plural {
                "events" => format!("{} {}", text(&item, "/object"), text(&item, "/reason")),
                _ => text(&item, "/metadata/name").to_owned(),
            };
            (name, item.to_string(), item)
        })
        .collect();
    found.sort_by(|a, b| (&a.0, &a.1).cmp(&(&b.0, &b.1)));
    if plural == "events" {
        found.dedup_by(|a, b| a.1 == b.1);
    }
    let mut named = Map::new();
    for (name, _, item) in found {
        let mut number = 1;
        let mut key = name.clone();
        while named.contains_key(&key) {
            number += 1;
            key = format!("{name} {number}");
        }
        named.insert(key, item);
    }
    named
}

/// The content of an object, as one text in which nothing is left that depends on the cluster.
pub(crate) fn content(item: &Value, names: &Names) -> String {
    answer(item, names, Keep::default()).to_string()
}

fn is_left_out(plural: &str, item: &Value) -> bool {
    let by = |wanted: &dyn Fn(&str) -> bool| ["/source/component", "/reportingComponent"].iter().any(|place| wanted(text(item, place)));
    match plural {
        "events" => by(&|component| component == "kubelet" || component.ends_with("-repair-controller")),
        "configmaps" => text(item, "/metadata/name") == "kube-root-ca.crt",
        "serviceaccounts" => text(item, "/metadata/name") == "default",
        _ => false,
    }
}

fn object(kind: &str, object: &mut Value, names: &Names, keep: Keep) {
    match kind {
        "Event" => {
            let kind = text(object, "/involvedObject/kind").to_owned();
            *object = json!({"object": kind, "reason": text(object, "/reason"), "type": text(object, "/type")});
            return;
        }
        "Pod" => pod(object, keep),
        "Node" => node(object),
        "EndpointSlice" => changed(object, "/metadata/generation"),
        "ReplicaSet" => {
            if object.pointer("/metadata/generation") == object.pointer("/status/observedGeneration") {
                changed(object, "/status/observedGeneration");
            }
            changed(object, "/metadata/generation");
        }
        _ => {}
    }
    clean(object, names, keep);
    if matches!(kind, "EndpointSlice" | "Endpoints") {
        endpoints(object, keep);
    }
}

/// How often something was written is left open, that it was written again is not.
fn changed(object: &mut Value, place: &str) {
    if let Some(generation) = object.pointer_mut(place)
        && generation.as_u64().is_some_and(|generation| generation > 1)
    {
        *generation = "<changed>".into();
    }
}

fn pod(pod: &mut Value, keep: Keep) {
    if !keep.nodes
        && let Some(node) = pod.pointer_mut("/spec/nodeName")
    {
        *node = "<node>".into();
    }
    let own = "/spec/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution/nodeSelectorTerms/0/matchFields/0";
    if !keep.nodes
        && let Some(field) = pod.pointer_mut(own)
        && text(field, "/key") == "metadata.name"
    {
        field["values"] = json!(["<node>"]);
    }
    let Some(Value::Object(status)) = pod.get_mut("status") else { return };
    status.retain(|name, _| {
        matches!(name.as_str(), "phase" | "reason" | "message" | "qosClass" | "conditions" | "containerStatuses" | "initContainerStatuses")
    });
    keep_of_each(status.get_mut("conditions"), &OF_CONDITION);
    for list in ["containerStatuses", "initContainerStatuses"] {
        keep_of_each(status.get_mut(list), &OF_CONTAINER);
    }
}

fn node(node: &mut Value) {
    if let Some(Value::Object(spec)) = node.get_mut("spec") {
        spec.retain(|name, _| matches!(name.as_str(), "taints" | "unschedulable"));
    }
    if let Some(Value::Object(metadata)) = node.get_mut("metadata") {
        metadata.remove("annotations");
        metadata.remove("managedFields");
    }
    let ready = items_at(node, "/status/conditions").iter().find(|condition| text(condition, "/type") == "Ready");
    let ready = ready.map_or(Value::Null, |condition| condition["status"].clone());
    if let Some(fields) = node.as_object_mut() {
        fields.insert("status".to_owned(), json!({ "ready": ready }));
    }
}

fn endpoints(object: &mut Value, keep: Keep) {
    for set in ["/endpoints", "/subsets/0/addresses", "/subsets/0/notReadyAddresses"] {
        let Some(Value::Array(items)) = object.pointer_mut(set) else { continue };
        for item in items.iter_mut() {
            if let Some(node) = item.get_mut("nodeName").filter(|_| !keep.nodes) {
                *node = "<node>".into();
            }
        }
        items.sort_by_cached_key(Value::to_string);
    }
}

fn keep_of_each(list: Option<&mut Value>, wanted: &[&str]) {
    if let Some(Value::Array(items)) = list {
        for item in items.iter_mut().filter_map(Value::as_object_mut) {
            item.retain(|name, _| wanted.contains(&name.as_str()));
        }
    }
}

fn items_at<'a>(value: &'a Value, pointer: &str) -> &'a [Value] {
    value.pointer(pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// Identity, times, addresses and made-up names, wherever they stand.
fn clean(value: &mut Value, names: &Names, keep: Keep) {
    match value {
        Value::Object(fields) => {
            for name in IDENTITY {
                fields.remove(name);
            }
            if fields.contains_key("gitVersion") {
                OF_BUILD.iter().for_each(|name| drop(fields.remove(*name)));
            }
            match fields.get_mut("managedFields") {
                Some(Value::Array(entries)) if keep.managed_fields => {
                    for entry in entries.iter_mut().filter_map(Value::as_object_mut) {
                        entry.remove("time");
                    }
                    entries.sort_by_cached_key(Value::to_string);
                }
                _ => drop(fields.remove("managedFields")),
            }
            for (name, shown) in OF_CLUSTER {
                if let Some(value) = fields.get_mut(name).filter(|value| value.as_str() != Some("")) {
                    *value = shown.into();
                }
            }
            if fields.contains_key("priority") && fields.contains_key("format") {
                // A column of a table.
                fields.remove("description");
            }
            fields.values_mut().for_each(|value| clean(value, names, keep));
        }
        Value::Array(items) => {
            items.iter_mut().for_each(|item| clean(item, names, keep));
            let is_condition = |item: &Value| item.get("type").is_some() && item.get("status").is_some();
            if items.iter().all(is_condition) {
                items.sort_by_cached_key(|item| text(item, "/type").to_owned());
            }
        }
        Value::String(text) => *text = plain(text, names),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn plain(text: &str, names: &Names) -> String {
    // Nearly all texts are neither; to find out by parsing takes long.
    if text.starts_with(|first: char| first.is_ascii_digit()) && text.parse::<jiff::Timestamp>().is_ok() {
        return "<time>".to_owned();
    }
    if text.contains(['.', ':']) && text.parse::<IpAddr>().is_ok() {
        return "<ip>".to_owned();
    }
    let text = without_object(&without_uids(&names.plain(text)));
    let (volume, letters) = TOKEN_VOLUME;
    if text.strip_prefix(volume).is_some_and(|rest| rest.len() == letters) {
        return format!("{volume}*");
    }
    let text = match text.split_once("too old resource version: ") {
        Some((before, _)) => format!("{before}too old resource version: <version>"),
        None => text,
    };
    match text.split_once("ResourceVersion in record (").and_then(|(before, rest)| Some((before, rest.split_once(')')?.1))) {
        Some((before, after)) => format!("{before}ResourceVersion in record (<version>){after}"),
        None => text,
    }
}

/// A text with `<object>` in the place of a whole object that is told as a wrong value.
fn without_object(text: &str) -> String {
    let end = "}\": ";
    match (text.find("Invalid value: \"{"), text.rfind(end)) {
        (Some(start), Some(last)) if start < last => format!("{}Invalid value: <object>: {}", &text[..start], &text[last + end.len()..]),
        _ => text.to_owned(),
    }
}

/// A text with `<uid>` in the place of every uid.
fn without_uids(text: &str) -> String {
    let is_uid = |bytes: &[u8]| {
        bytes.iter().enumerate().all(|(index, byte)| match index {
            8 | 13 | 18 | 23 => *byte == b'-',
            _ => byte.is_ascii_digit() || (b'a'..=b'f').contains(byte),
        })
    };
    let mut done = String::new();
    let mut rest = text;
    while let Some(at) = (0..rest.len().saturating_sub(35)).find(|at| rest.as_bytes().get(*at..at + 36).is_some_and(is_uid)) {
        done = done + &rest[..at] + "<uid>";
        rest = &rest[at + 36..];
    }
    done + rest
}

/// Every place at which two values differ: path, left, right.
pub(crate) fn differences(path: &str, left: Option<&Value>, right: Option<&Value>, found: &mut Vec<(String, String, String)>) {
    match (left, right) {
        (Some(Value::Object(a)), Some(Value::Object(b))) => {
            let keys: std::collections::BTreeSet<&String> = a.keys().chain(b.keys()).collect();
            for key in keys {
                differences(&format!("{path}/{key}"), a.get(key), b.get(key), found);
            }
        }
        (Some(Value::Array(a)), Some(Value::Array(b))) => {
            for index in 0..a.len().max(b.len()) {
                differences(&format!("{path}/{index}"), a.get(index), b.get(index), found);
            }
        }
        (left, right) if left == right => {}
        (left, right) => {
            let show = |side: Option<&Value>| side.map_or_else(|| "nothing".to_owned(), Value::to_string);
            found.push((path.to_owned(), show(left), show(right)));
        }
    }
}

/// The rules above, each on an example of its own.
///
/// # Errors
/// The rule that does not hold.
pub(crate) fn rules() -> Result<(), String> {
    let mut names = Names::default();
    names.learn_hashes(&json!({"items": [
        {"metadata": {"name": "web-5d9", "ownerReferences": [{"name": "web"}], "annotations": {"deployment.kubernetes.io/revision": "2"}}},
        {"metadata": {"name": "web-77c", "ownerReferences": [{"name": "web"}], "annotations": {"deployment.kubernetes.io/revision": "1"}}},
    ]}));
    names.learn_made(&json!({"metadata": {"generateName": "web-5d9-", "name": "web-5d9-bcdfg"}}));
    let uid = "0b0a7f6e-0c5e-4d2b-9f0e-3a0f4d7a9b11";
    let texts = [
        ("web-5d9-bcdfg", "web-H2-*"),
        ("pods of web-77c", "pods of web-H1"),
        ("2026-11-21T10:00:00Z", "<time>"),
        ("10.0.0.1", "<ip>"),
        ("2 of 3", "2 of 3"),
        ("1.2", "1.2"),
        ("kube-api-access-x7k2p", "kube-api-access-*"),
        ("patch: Invalid value: \"{\\\"a\\\":{}}\": no", "patch: Invalid value: <object>: no"),
    ];
    let uids = format!("UID {uid}, again {uid}.");
    for (raw, wanted) in texts.into_iter().chain([(uids.as_str(), "UID <uid>, again <uid>.")]) {
        let got = plain(raw, &names);
        if got != wanted {
            return Err(format!("{raw} becomes {got} instead of {wanted}"));
        }
    }
    let condition = |reason: &str, status: &str| json!({"type": "Progressing", "status": status, "reason": reason, "message": reason});
    let mut conditions = json!([condition("NewReplicaSetCreated", "True"), condition("ReplicaSetUpdated", "True")]);
    without_race(&mut conditions);
    let mut others = json!([condition("ReplicaSetUpdated", "False"), condition("NewReplicaSetAvailable", "True")]);
    let before = others.clone();
    without_race(&mut others);
    if conditions[0] != conditions[1] || others != before {
        return Err(format!("a rollout that has begun becomes {conditions}, anything else {others}"));
    }
    for (raw, wanted) in [
        ("/a?b=c&watch=true&timeoutSeconds=367", "/a?b=c&watch=true&timeoutSeconds=<some>"),
        ("/a?timeoutSeconds=3", "/a?timeoutSeconds=3"),
    ] {
        if path(raw) != wanted {
            return Err(format!("{raw} becomes {}", path(raw)));
        }
    }
    let told = said(
        "web-5d9-bcdfg  1/1  3m20s\nb\n\nWaiting for a\nb\n",
        "Warning: c  2s\nI1121 17:55:54.440849   27598 reflector.go:664] ended\n",
        &names,
        Keep::default(),
    );
    if told != json!(["b", "web-H2-* 1/1 <age>", "! Warning: c <age>"]) {
        return Err(format!("kubectl says {told}"));
    }
    let told = said("{\"kind\": \"Pod\", \"spec\": {\"nodeName\": \"n1\"}}", "", &names, Keep::default());
    if told != json!({"document": {"kind": "Pod", "spec": {"nodeName": "<node>"}}, "errors": []}) {
        return Err(format!("a document becomes {told}"));
    }
    let by = |component: &str| json!({"source": {"component": component}});
    let left_out =
        ["kubelet", "ipallocator-repair-controller", "deployment-controller"].map(|component| is_left_out("events", &by(component)));
    if left_out != [true, true, false] {
        return Err(format!("of the events of kubelet, allocator and controller are left out: {left_out:?}"));
    }
    let pod = json!({"kind": "Pod", "metadata": {"name": "a", "uid": uid, "generation": 2}, "spec": {"nodeName": "n1"}, "status": {"phase": "Running", "hostIP": "10.0.0.1"}});
    let wanted =
        json!({"kind": "Pod", "metadata": {"name": "a", "generation": 2}, "spec": {"nodeName": "<node>"}, "status": {"phase": "Running"}});
    let got = answer(&pod, &names, Keep::default());
    if got != wanted {
        return Err(format!("{got} instead of {wanted}"));
    }
    let kept = answer(&pod, &names, Keep { nodes: true, managed_fields: false });
    let mut found = Vec::new();
    differences("", Some(&wanted), Some(&kept), &mut found);
    if found != [("/spec/nodeName".to_owned(), "\"<node>\"".to_owned(), "\"n1\"".to_owned())] {
        return Err(format!("the difference of a kept node is {found:?}"));
    }
    Ok(())
}
