//! Operations that do not end, and those that are in the way of each other.

use lockgate::base::{Clock, Reason, Result, Span};
use lockgate_sim::json::{Value as Json, json};

use super::bench::{Bench, Outcome, ensure, is, same};

pub(super) fn installed(bench: &Bench) -> Outcome<String> {
    let chart = bench.chart("0.1.0", &[])?;
    bench.value("helm.install", json!(["shop", chart]), json!({}))?;
    Ok(chart)
}

/// Values with which the hook before the upgrade never ends.
pub(super) fn endless() -> Json {
    json!({ "migration": "v6.6.6", "annotations": { "never-ready": "yes" } })
}

/// Comes when the release has this status.
pub(super) async fn until(bench: &Bench, status: &str) -> Result<()> {
    let clock = Clock::real();
    for _ in 0..600 {
        let release = bench.calling("helm.get", json!(["shop"]), json!({})).await?.value.into_json();
        if release["status"] == status {
            return Ok(());
        }
        clock.sleep(Span::from_millis(50)).await?;
    }
    Err(lockgate::base::Error::internal(format!("the release never became {status}")))
}

pub(super) fn killed(bench: &Bench) -> Outcome {
    let chart = installed(bench)?;
    let words = ["upgrade", "shop", &chart, "--set", "migration=v6.6.6,annotations.never-ready=yes", "--timeout", "10m"];
    bench.run(async {
        tokio::select! {
            // Its process group is killed when this future is dropped.
            ended = bench.helming(&words) => Err(format!("{ended:?}")),
            pending = until(bench, "pending-upgrade") => pending.map_err(|error| error.to_string()),
        }
    })?;
    let upgrade = json!({ "values_from": "previous", "values": { "colour": "red", "migration": "v1.0.0" } });
    let error = bench.fails(Reason::HelmLocked, "helm.upgrade", json!(["shop", chart]), upgrade.clone())?;
    is("the revision", &error.details["revision"], 2)?;
    ensure(error.hint.as_deref().is_some_and(|hint| hint.contains("helm.unlock")), || format!("{:?}", error.hint))?;
    bench.value("helm.unlock", json!(["shop"]), json!({ "to": "failed" }))?;
    is("helm says so too", &bench.helm_json(&["history", "shop"])?[1]["status"], "failed")?;
    bench.value("helm.upgrade", json!(["shop", chart]), upgrade)?;
    same("the next one works", bench.release()?["status"].as_str(), Some("deployed"))
}

pub(super) fn two(bench: &Bench) -> Outcome {
    let chart = installed(bench)?;
    let first = json!({ "values_from": "previous", "values": endless(), "timeout": "5s" });
    let first = bench.calling("helm.upgrade", json!(["shop", chart]), first);
    let second = bench.calling("helm.upgrade", json!(["shop", chart]), json!({ "values_from": "previous", "values": { "colour": "red" } }));
    let (first, second) = bench.run(async {
        let second = async {
            until(bench, "pending-upgrade").await?;
            second.await
        };
        tokio::join!(first, second)
    });
    let reason = |result: Result<_>| result.map_or_else(|error: lockgate::base::Error| Some(error.reason), |_| None);
    same("the second", reason(second), Some(Reason::HelmLocked))?;
    ensure(matches!(reason(first), Some(Reason::HelmHook | Reason::Timeout)), || "the first ends by itself".to_owned())
}

pub(super) fn late(bench: &Bench) -> Outcome {
    let chart = installed(bench)?;
    // In virtual time the door's own limit comes first, and helm is asked to end; on a real cluster helm's limit does.
    let timeout = if bench.is_real { "2s" } else { "10m" };
    let upgrade = json!({ "values_from": "previous", "values": endless(), "timeout": timeout });
    let error = match bench.call("helm.upgrade", json!(["shop", chart]), upgrade) {
        Err(error) => error,
        Ok(done) => return Err(format!("{:?}", done.value)),
    };
    let expected = if bench.is_real { Reason::HelmHook } else { Reason::Timeout };
    same("the reason", error.reason, expected)?;
    let hook = "the hook is `job/shop-migration`, which has not ended";
    ensure(error.causes.iter().any(|cause| cause == hook), || format!("{:#?}", error.causes))?;
    same("failed, not pending", bench.release()?["status"].as_str(), Some("failed"))?;
    is("helm says so too", &bench.helm_json(&["history", "shop"])?[1]["status"], "failed")
}
