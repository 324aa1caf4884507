//! Jobs: completions, parallelism, failures and their back-off, deadlines, suspension, indexes, and how they end.

use jiff::{SignedDuration, Timestamp};
use lockgate_sim::Request;
use lockgate_sim::json::{Value, json};
use lockgate_sim::model::{Crash, ImageModel, PodMatch, PodModel, Running, Span};
use proptest::prelude::*;

use crate::support::{Sim, condition, nodes, path};

/// Job `load`; `spec` goes beside its template, `restart` is the policy of its pods.
fn job(spec: &Value, restart: &str) -> Value {
    let template = json!({"metadata": {"labels": {"app": "load"}},
        "spec": {"restartPolicy": restart, "containers": [{"name": "a", "image": "shop/load:v1"}]}});
    let mut job = json!({"metadata": {"name": "load"}, "spec": {"template": template}});
    for (field, value) in spec.as_object().unwrap() {
        job["spec"][field.as_str()] = value.clone();
    }
    job
}

fn started(spec: &Value, restart: &str, prepare: impl FnOnce(&mut Sim)) -> Sim {
    let mut sim = Sim::new(&(nodes(&["n1", "n2"]) + "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n"));
    prepare(&mut sim);
    sim.create("job", &job(spec, restart));
    sim
}

/// Every run of the image ends with this code after some seconds.
fn ends(sim: &mut Sim, seconds: i64, code: i32) {
    let crash = Crash { after: Some(Span(SignedDuration::from_secs(seconds))), times: None, exit_code: Some(code) };
    sim.0.models_mut().image(ImageModel { crash: Some(crash), ..ImageModel::new("*/load:*", "a test") });
}

fn runs_forever(sim: &mut Sim) {
    sim.0.models_mut().image(ImageModel { run: Some(Running::Forever), ..ImageModel::new("*/load:*", "a test") });
}

/// active, succeeded, failed, ready, terminating.
fn counts(sim: &mut Sim) -> [i64; 5] {
    let status = sim.get("job/load")["status"].clone();
    ["active", "succeeded", "failed", "ready", "terminating"].map(|field| status[field].as_i64().unwrap_or(0))
}

fn conditions(sim: &mut Sim) -> Vec<(String, String, String)> {
    let job = sim.get("job/load");
    let all = job["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let text = |c: &Value, field: &str| c[field].as_str().unwrap().to_owned();
    all.iter().map(|c| (text(c, "type"), text(c, "status"), text(c, "reason"))).collect()
}

fn said(kind: &str, status: &str, reason: &str) -> (String, String, String) {
    (kind.to_owned(), status.to_owned(), reason.to_owned())
}

fn time(value: &Value) -> Timestamp {
    value.as_str().unwrap().parse().unwrap()
}

#[test]
fn completions_are_reached_with_so_many_at_a_time() {
    let mut sim = started(&json!({"completions": 5, "parallelism": 2}), "Never", |_| {});
    assert_eq!(counts(&mut sim), [2, 0, 0, 0, 0]);
    sim.step_through(300, |sim| {
        let [active, succeeded, failed, ..] = counts(sim);
        assert!(active <= 2 && active + succeeded <= 5 && failed == 0, "{active} {succeeded}");
    });
    assert_eq!(counts(&mut sim), [0, 5, 0, 0, 0]);
    let reason = "CompletionsReached";
    assert_eq!(conditions(&mut sim), [said("SuccessCriteriaMet", "True", reason), said("Complete", "True", reason)]);
    let status = sim.get("job/load")["status"].clone();
    assert!(status["completionTime"].is_string() && status["startTime"].is_string());
    assert_eq!(status["uncountedTerminatedPods"], json!({}));
    assert_eq!(sim.events("Completed"), ["Job completed"]);
    assert_eq!(sim.events("SuccessfulCreate").len(), 5);
    let pods = sim.list("pod");
    assert_eq!(pods.len(), 5, "finished pods stay");
    for pod in pods {
        assert_eq!(pod["status"]["phase"], "Succeeded");
        assert_eq!(pod["metadata"].get("finalizers"), None, "it is counted");
        assert_eq!(condition(&pod, "Ready"), ("False".into(), "PodCompleted".into(), String::new()));
        assert_eq!(condition(&pod, "Initialized").1, "PodCompleted");
    }
}

#[test]
fn without_completions_the_first_success_ends_it() {
    let mut sim = started(&json!({"completions": null, "parallelism": 3}), "Never", |sim| {
        runs_forever(sim);
        let on_n1 = PodMatch { node: Some("n1".to_owned()), ..PodMatch::default() };
        sim.0.models_mut().pod(PodModel { run: Some(Running::For(SignedDuration::from_secs(20))), ..PodModel::new(on_n1, "a test") });
    });
    sim.go(60);
    let [active, succeeded, ..] = counts(&mut sim);
    assert!(active > 0 && succeeded > 0 && active + succeeded == 3, "no pod takes the place of the one that succeeded");
    assert_eq!(conditions(&mut sim), []);
}

#[test]
fn failures_back_off_and_end_the_job() {
    let mut sim = started(&json!({"backoffLimit": 3}), "Never", |sim| ends(sim, 1, 1));
    let mut made = Vec::new();
    sim.step_through(400, |sim| {
        let now = sim.0.now();
        let count = sim.list("pod").len();
        if made.len() < count {
            made.push(now);
        }
    });
    assert_eq!(made.len(), 4, "the first and three more");
    let pods = sim.list("pod");
    let mut ended: Vec<Timestamp> =
        pods.iter().map(|p| time(&p["status"]["containerStatuses"][0]["state"]["terminated"]["finishedAt"])).collect();
    ended.sort();
    let waited: Vec<i64> = made[1..].iter().zip(&ended).map(|(next, end)| next.as_second() - end.as_second()).collect();
    assert_eq!(waited, [10, 20, 40]);
    assert_eq!(counts(&mut sim), [0, 0, 4, 0, 0]);
    let reason = "BackoffLimitExceeded";
    assert_eq!(conditions(&mut sim), [said("FailureTarget", "True", reason), said("Failed", "True", reason)]);
    assert_eq!(sim.events(reason), ["Job has reached the specified backoff limit"]);
    assert_eq!(sim.get("job/load")["status"].get("completionTime"), None);
}

#[test]
fn restarts_in_the_pod_count_against_the_limit() {
    let mut sim = started(&json!({"backoffLimit": 2}), "OnFailure", |sim| ends(sim, 1, 1));
    sim.go(300);
    assert_eq!(sim.events("SuccessfulCreate").len(), 1, "the container is started again, not the pod");
    assert_eq!(conditions(&mut sim)[1], said("Failed", "True", "BackoffLimitExceeded"));
    assert_eq!(sim.list("pod"), Vec::<Value>::new(), "what still runs is deleted");
    assert_eq!(counts(&mut sim), [0, 0, 1, 0, 0]);
}

#[test]
fn a_deadline_stops_what_runs() {
    let mut sim = started(&json!({"activeDeadlineSeconds": 30, "completions": 2, "parallelism": 2}), "Never", runs_forever);
    sim.go(29);
    assert_eq!(counts(&mut sim), [2, 0, 0, 2, 0]);
    sim.go(1);
    let reason = "DeadlineExceeded";
    assert_eq!(conditions(&mut sim), [said("FailureTarget", "True", reason)]);
    assert_eq!(counts(&mut sim)[4], 2, "its pods are about to stop");
    sim.go(60);
    assert_eq!(conditions(&mut sim), [said("FailureTarget", "True", reason), said("Failed", "True", reason)]);
    assert_eq!(counts(&mut sim), [0, 0, 2, 0, 0]);
}

#[test]
fn a_suspended_job_has_no_pods_and_starts_its_clock_anew() {
    let mut sim = started(&json!({"completions": 2, "parallelism": 2, "suspend": true}), "Never", runs_forever);
    assert_eq!((counts(&mut sim), conditions(&mut sim)), ([0; 5], vec![said("Suspended", "True", "JobSuspended")]));
    assert_eq!(sim.get("job/load")["status"].get("startTime"), None);
    sim.go(10);
    sim.patch("job/load", &json!({"spec": {"suspend": false}}));
    assert_eq!((counts(&mut sim)[0], conditions(&mut sim)), (2, vec![said("Suspended", "False", "JobResumed")]));
    assert_eq!(time(&sim.get("job/load")["status"]["startTime"]), sim.0.now());
    sim.go(60);
    sim.patch("job/load", &json!({"spec": {"suspend": true}}));
    assert_eq!(counts(&mut sim), [0, 0, 0, 0, 2]);
    sim.go(60);
    assert_eq!(counts(&mut sim), [0; 5], "pods that were taken away are no failures");
    assert_eq!(sim.get("job/load")["status"].get("startTime"), None);
    assert_eq!(sim.events("Suspended"), ["Job suspended"], "equal events are counted");
    assert_eq!(sim.list("pod"), Vec::<Value>::new());
}

#[test]
fn indexed_pods_have_their_places() {
    let mut sim = started(&json!({"completions": 4, "parallelism": 2, "completionMode": "Indexed"}), "Never", |_| {});
    let index = "batch.kubernetes.io/job-completion-index";
    let mut places: Vec<String> = sim.list("pod").iter().map(|p| p["metadata"]["labels"][index].as_str().unwrap().to_owned()).collect();
    places.sort();
    assert_eq!(places, ["0", "1"]);
    let pod = sim.list("pod")[0].clone();
    assert_eq!(pod["spec"]["containers"][0]["env"][0]["name"], "JOB_COMPLETION_INDEX");
    assert_eq!(pod["spec"]["hostname"].as_str().unwrap(), format!("load-{}", pod["metadata"]["annotations"][index].as_str().unwrap()));
    sim.go(300);
    let status = sim.get("job/load")["status"].clone();
    assert_eq!((&status["completedIndexes"], &status["succeeded"]), (&json!("0-3"), &json!(4)));
    assert_eq!(conditions(&mut sim)[1], said("Complete", "True", "CompletionsReached"));
}

#[test]
fn a_finished_job_goes_after_its_time() {
    let mut sim = started(&json!({"ttlSecondsAfterFinished": 100}), "Never", |_| {});
    sim.step_through(60, |_| {});
    let done = time(&sim.get("job/load")["status"]["completionTime"]);
    sim.until(done.checked_add(SignedDuration::from_secs(99)).unwrap());
    assert!(sim.exists("job/load"));
    sim.go(1);
    assert!(!sim.exists("job/load"));
    assert_eq!(sim.list("pod"), Vec::<Value>::new(), "with its pods");
}

#[test]
fn deleting_a_job_alone_leaves_pods_that_nobody_holds() {
    let mut sim = started(&json!({}), "Never", runs_forever);
    sim.go(30);
    sim.ok(&Request::delete(&path("job/load")));
    assert!(!sim.exists("job/load"));
    let pods = sim.list("pod");
    assert_eq!(pods.len(), 1, "old clients know no other way");
    assert_eq!((pods[0]["metadata"].get("finalizers"), pods[0]["metadata"].get("ownerReferences")), (None, None));
    let mut sim = started(&json!({}), "Never", runs_forever);
    sim.go(30);
    sim.ok(&Request::delete(&format!("{}?propagationPolicy=Background", path("job/load"))));
    sim.go(60);
    assert_eq!(sim.list("pod"), Vec::<Value>::new());
}

#[test]
fn only_pods_that_have_failed_are_replaced_when_that_is_asked() {
    for (policy, failed_at_once) in [("TerminatingOrFailed", 1), ("Failed", 0)] {
        let mut sim = started(&json!({"podReplacementPolicy": policy}), "Never", runs_forever);
        sim.go(30);
        let name = sim.list("pod")[0]["metadata"]["name"].as_str().unwrap().to_owned();
        sim.delete(&format!("pod/{name}"));
        assert_eq!(counts(&mut sim), [0, 0, failed_at_once, 0, 1], "{policy}");
        // Another takes its place 10 s after that.
        sim.go(30);
        assert_eq!(sim.events("SuccessfulCreate").len(), 2, "{policy}");
        assert_eq!(counts(&mut sim), [1, 0, 1, 1, 0], "{policy}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever fails: never more pods than asked for, no pod counted twice or lost, and an end.
    #[test]
    fn jobs_end_with_every_pod_counted_once(
        completions in 1..6_i64,
        parallelism in 1..5_i64,
        limit in 0..4_i64,
        failing in 0..3_u8,
        indexed in any::<bool>(),
        restart in prop_oneof![Just("Never"), Just("OnFailure")],
        seed in any::<u64>(),
    ) {
        let mut sim = Sim::seeded(&(nodes(&["n1", "n2"]) + "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n"), seed);
        let crash = Crash { after: None, times: None, exit_code: Some(3) };
        match failing {
            1 => sim.0.models_mut().image(ImageModel { crash: Some(crash), ..ImageModel::new("*/load:*", "a test") }),
            2 => {
                let some = PodMatch { node: Some("n2".to_owned()), ..PodMatch::default() };
                sim.0.models_mut().pod(PodModel { crash: Some(crash), ..PodModel::new(some, "a test") });
            }
            _ => {}
        }
        let mode = if indexed { "Indexed" } else { "NonIndexed" };
        let spec = json!({"completions": completions, "parallelism": parallelism, "backoffLimit": limit, "completionMode": mode});
        sim.create("job", &job(&spec, restart));
        let mut seen = std::collections::BTreeMap::new();
        sim.step_through(4000, |sim| {
            let pods = sim.list("pod");
            let active = pods.iter().filter(|p| !matches!(p["status"]["phase"].as_str(), Some("Succeeded" | "Failed")));
            let active = active.filter(|p| p["metadata"].get("deletionTimestamp").is_none()).count();
            assert!(i64::try_from(active).unwrap() <= parallelism.min(completions), "{active} active");
            for pod in pods {
                seen.insert(pod["metadata"]["uid"].to_string(), pod["status"]["phase"] == "Succeeded");
            }
        });
        let [active, succeeded, failed, _, terminating] = counts(&mut sim);
        let well = i64::try_from(seen.values().filter(|well| **well).count()).unwrap();
        prop_assert_eq!((active, terminating, succeeded), (0, 0, well));
        prop_assert_eq!(failed, i64::try_from(seen.len()).unwrap() - well);
        let ends = conditions(&mut sim);
        let complete = ends.iter().any(|(kind, ..)| kind == "Complete");
        prop_assert_eq!(ends.len(), 2, "{:?}", ends);
        prop_assert_eq!(complete, succeeded == completions);
        prop_assert!(complete || failed > limit || restart == "OnFailure");
    }
}
