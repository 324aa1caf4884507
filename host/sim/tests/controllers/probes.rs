//! Startup, readiness and liveness probes: what the kubelet asks, what the model answers, and what follows.

use jiff::Timestamp;
use lockgate_sim::json::{Value, json};

use crate::support::{Sim, condition, model, nodes};

/// A cluster with one pod `web-0` of the image `shop/web:v1`, whose container has these probes.
fn one(probes: &Value, more: &str) -> Sim {
    let mut sim = Sim::new(&(nodes(&["n1"]) + "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n---\n" + more));
    let mut container = json!({"name": "web", "image": "shop/web:v1", "ports": [{"containerPort": 80}]});
    for (name, probe) in probes.as_object().unwrap() {
        container[name.as_str()] = probe.clone();
    }
    sim.create("pod", &json!({"metadata": {"name": "web-0", "labels": {"app": "web"}}, "spec": {"containers": [container]}}));
    sim
}

fn status(sim: &mut Sim) -> Value {
    sim.get("pod/web-0")["status"]["containerStatuses"][0].clone()
}

/// Every change of what `show` sees within so many seconds, with the seconds since the container was first started.
fn changes(sim: &mut Sim, seconds: i64, show: impl Fn(&Value) -> String) -> Vec<(i64, String)> {
    let mut seen: Vec<(Timestamp, String)> = Vec::new();
    let mut first = None;
    sim.step_through(seconds, |sim| {
        let status = status(sim);
        let running = status["state"]["running"]["startedAt"].as_str().map(|at| at.parse::<Timestamp>().unwrap());
        first = first.or(running);
        let now = show(&status);
        if seen.last().is_none_or(|(_, last)| *last != now) {
            seen.push((sim.0.now(), now));
        }
    });
    let first = first.unwrap();
    seen.into_iter().map(|(at, what)| (at.duration_since(first).as_secs(), what)).collect()
}

fn flags(status: &Value) -> String {
    format!("started={} ready={} restarts={}", status["started"], status["ready"], status["restartCount"])
}

#[test]
fn nothing_is_ready_before_the_startup_probe_is_answered() {
    let images = model("images: [{match: '*', pull: 1s, start: 1s, startup: 25s, ready: 3s, why: a slow start}]");
    let mut sim = one(&json!({"startupProbe": {"httpGet": {"port": 80}, "periodSeconds": 10, "failureThreshold": 5}}), &images);
    let seen = changes(&mut sim, 120, flags);
    // Pulled and started 2 s after the pod came; asked 10, 20, 30 s after it came.
    let want = [
        (-2, "started=false ready=false restarts=0"),
        (28, "started=true ready=false restarts=0"),
        (31, "started=true ready=true restarts=0"),
    ];
    assert_eq!(seen, want.map(|(at, what)| (at, what.to_owned())));
    let events = sim.events("Unhealthy");
    assert_eq!(events.len(), 1, "one event, counted: {events:?}");
    assert!(events[0].starts_with("Startup probe failed: Get \"http://10.244."), "{events:?}");
    assert!(events[0].ends_with(":80: connect: connection refused"), "{events:?}");
    let counted = sim.list("event").into_iter().find(|event| event["reason"] == "Unhealthy").unwrap();
    assert_eq!((&counted["count"], &counted["type"]), (&json!(2), &json!("Warning")));
    assert_eq!(counted["involvedObject"]["fieldPath"], "spec.containers{web}");
}

#[test]
fn a_container_that_never_starts_is_started_again_with_back_offs() {
    let images = model("images: [{match: '*', pull: 1s, start: 1s, startup: never, stop: 1s, why: broken}]");
    let mut sim = one(&json!({"startupProbe": {"tcpSocket": {"port": 80}, "periodSeconds": 10, "failureThreshold": 3}}), &images);
    let seen = changes(&mut sim, 400, |status| status["restartCount"].to_string());
    let gaps: Vec<i64> = seen.windows(2).map(|pair| pair[1].0 - pair[0].0).collect();
    // Asked at whole tens after the pod came, three times, and a second to stop; then at once, then after 10 s, 20 s and so on.
    assert_eq!(gaps, [32, 39, 50, 70, 110], "{seen:?}");
    assert_eq!(sim.events("Killing")[0], "Container web failed startup probe, will be restarted");
    assert!(sim.events("BackOff")[0].starts_with("Back-off restarting failed container web in pod web-0_shop("));
    let last = status(&mut sim);
    assert_eq!(last["lastState"]["terminated"]["exitCode"], 143);
    assert_eq!(condition(&sim.get("pod/web-0"), "Ready").0, "False");
}

#[test]
fn a_container_that_hangs_is_killed_and_started_again() {
    let images = model("images: [{match: '*', pull: 1s, start: 1s, stop: 60s, hangs: {after: 40s, times: 1}, why: a deadlock}]");
    let probes = json!({"livenessProbe": {"httpGet": {"port": 80, "path": "/healthz"}, "periodSeconds": 5, "failureThreshold": 2, "terminationGracePeriodSeconds": 4}});
    let mut sim = one(&probes, &images);
    let seen = changes(&mut sim, 300, flags);
    // Hangs at 40; asked at 43 and 48 after the start, killed 4 s later, started again a second after that.
    let want = [
        (-2, "started=false ready=false restarts=0"),
        (0, "started=true ready=false restarts=0"),
        (2, "started=true ready=true restarts=0"),
        (52, "started=false ready=false restarts=0"),
        (53, "started=true ready=false restarts=1"),
        (55, "started=true ready=true restarts=1"),
    ];
    assert_eq!(seen, want.map(|(at, what)| (at, what.to_owned())));
    assert_eq!(status(&mut sim)["lastState"]["terminated"]["exitCode"], 137);
    assert_eq!(sim.events("Killing"), ["Container web failed liveness probe, will be restarted"]);
    let unhealthy = sim.events("Unhealthy");
    assert!(unhealthy[0].starts_with("Liveness probe failed: Get \"http://10.244."), "{unhealthy:?}");
    assert!(unhealthy[0].ends_with(":80/healthz\": context deadline exceeded (Client.Timeout exceeded while awaiting headers)"));
}

#[test]
fn without_a_liveness_probe_nobody_notices() {
    let images = model("images: [{match: '*', hangs: {after: 40s}, lapses: [{after: 10s}], why: a deadlock}]");
    let mut sim = one(&json!({}), &images);
    sim.go(600);
    assert_eq!(flags(&status(&mut sim)), "started=true ready=true restarts=0");
    assert!(sim.events("Unhealthy").is_empty() && sim.events("Killing").is_empty());
}

#[test]
fn readiness_lapses_and_the_endpoints_follow() {
    let images = model("images: [{match: '*', pull: 1s, start: 1s, lapses: [{after: 60s, for: 30s}], why: a full queue}]");
    let service =
        "apiVersion: v1\nkind: Service\nmetadata: {name: web, namespace: shop}\nspec: {selector: {app: web}, ports: [{port: 80}]}\n---\n";
    let probes = json!({"readinessProbe": {"httpGet": {"port": 80}, "periodSeconds": 10, "initialDelaySeconds": 2}});
    let mut sim = one(&probes, &(images + service));
    let mut seen = Vec::new();
    sim.step_through(200, |sim| {
        let ready = condition(&sim.get("pod/web-0"), "Ready").0 == "True";
        let slices = sim.list("slice");
        let served = slices.iter().flat_map(|s| s["endpoints"].as_array().into_iter().flatten()).any(|e| e["conditions"]["ready"] == true);
        assert_eq!(ready, served);
        if seen.last().is_none_or(|(_, last)| *last != ready) {
            seen.push((sim.0.now(), ready));
        }
    });
    let gaps: Vec<i64> = seen.windows(2).map(|pair| pair[1].0.duration_since(pair[0].0).as_secs()).collect();
    // Ready 4 s after it came; unwell from 62 to 92, asked at 62, 72, 82 (unready) and 92 (ready).
    assert_eq!(gaps, [4, 78, 10], "{seen:?}");
    assert_eq!(sim.events("Unhealthy"), ["Readiness probe failed: HTTP probe failed with statuscode: 503"]);
}

#[test]
fn an_entry_that_comes_later_counts_for_what_runs() {
    let mut sim = one(&json!({"readinessProbe": {"tcpSocket": {"port": 80}, "periodSeconds": 10, "failureThreshold": 1}}), "");
    sim.go(1000);
    assert!(status(&mut sim)["ready"].as_bool().unwrap());
    let entry = json!({"match": {"name": "web-*"}, "lapses": [{"after": "0s", "for": "1m"}], "why": "a test"});
    sim.0.models_mut().pod(lockgate_sim::json::from_value(entry).unwrap());
    sim.go(10);
    assert!(!status(&mut sim)["ready"].as_bool().unwrap());
    let other = json!({"match": {"name": "db-*"}, "lapses": [{"after": "0s"}], "why": "a test"});
    sim.0.models_mut().pod(lockgate_sim::json::from_value(other).unwrap());
    sim.go(60);
    assert!(status(&mut sim)["ready"].as_bool().unwrap(), "an entry about others changes nothing");
}

#[test]
fn a_pod_that_was_loaded_at_rest_heeds_its_entry() {
    let probes = json!({"readinessProbe": {"tcpSocket": {"port": 80}, "periodSeconds": 10}});
    let mut first = one(&probes, "");
    first.go(100);
    let mut pod = first.get("pod/web-0");
    pod["apiVersion"] = json!("v1");
    pod["kind"] = json!("Pod");
    let entry = model("pods: [{match: {name: web-0}, lapses: [{after: 50s, for: 100s}], why: a test}]");
    let mut sim = Sim::new(&format!("{}{entry}{pod}\n", nodes(&["n1"])));
    // The cluster was booted until nothing was left to happen.
    assert!(status(&mut sim)["ready"].as_bool().unwrap());
    assert_eq!(sim.events("Unhealthy").len(), 1);
}

#[test]
fn a_sidecar_that_has_not_started_holds_up_what_comes_after_it() {
    let mut sim = Sim::new(
        &(nodes(&["n1"])
            + "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n---\n"
            + &model("images: [{match: '*side*', startup: 30s, why: a slow proxy}]")),
    );
    let sidecar = json!({"name": "side", "image": "shop/side:v1", "restartPolicy": "Always",
        "startupProbe": {"exec": {"command": ["true"]}, "periodSeconds": 5, "failureThreshold": 20}});
    let spec = json!({"initContainers": [sidecar], "containers": [{"name": "web", "image": "shop/web:v1"}]});
    sim.create("pod", &json!({"metadata": {"name": "web-0"}, "spec": spec}));
    sim.go(30);
    assert_eq!(status(&mut sim)["state"]["waiting"]["reason"], "PodInitializing");
    sim.go(60);
    assert_eq!(flags(&status(&mut sim)), "started=true ready=true restarts=0");
    assert_eq!(sim.events("Unhealthy"), ["Startup probe failed: "]);
}
