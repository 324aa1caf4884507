//! An upgrade whose run was killed, and that is made anew by the next process of the run.

use std::rc::Rc;

use lockgate::base::Reason;
use lockgate_sim::json::json;

use super::bench::{Bench, Outcome, ensure, is, same};
use super::kept::Kept;
use super::locks::{endless, installed, until};

/// helm came to its end, and nobody could note it.
pub(super) fn ended(bench: &Bench) -> Outcome {
    installed(bench)?;
    let next = bench.chart("0.2.0", &[("tag: v1.0.0", "tag: v2.0.0")])?;
    let upgrade = || bench.value("helm.upgrade", json!(["shop", next]), json!({ "values_from": "previous" }));
    let first = Rc::new(Kept::default());
    bench.cluster.keep(first.clone());
    let once = upgrade()?;
    let second = Rc::new(first.interrupted());
    bench.cluster.keep(second.clone());
    let again = upgrade()?;
    same("the result", &again, &once)?;
    same("what the record has is come to", second.unmet(), Vec::<String>::new())?;
    same("it is the same operation", second.operations(), first.operations())?;
    is("it was upgraded once", &bench.release()?["revision"], 2)?;
    is("from the first", &again["previous_revision"], 1)
}

/// helm was in the middle of it, and went with its run.
pub(super) fn killed(bench: &Bench) -> Outcome {
    let chart = installed(bench)?;
    let options = json!({ "values_from": "previous", "values": endless(), "timeout": "3s" });
    let first = Rc::new(Kept::default());
    bench.cluster.keep(first.clone());
    let call = bench.calling("helm.upgrade", json!(["shop", chart]), options.clone());
    bench.run(async {
        tokio::select! {
            // Its helm is killed when this future is dropped.
            done = call => Err(format!("it ended: {:?}", done.map(|done| done.value))),
            pending = until(bench, "pending-upgrade") => pending.map_err(|error| error.to_string()),
        }
    })?;
    bench.cluster.keep(Rc::new(first.interrupted()));
    // Its hook never ends this time either; that it is come to is what shows that nothing holds the release.
    bench.fails(Reason::HelmHook, "helm.upgrade", json!(["shop", chart]), options)?;
    let notes = bench.operator.notes.borrow().join("\n");
    ensure(notes.contains("its helm went with the run that was interrupted; revision 2 is `pending-upgrade`"), || notes.clone())?;
    let history = bench.helm_json(&["history", "shop"])?;
    let statuses: Vec<&str> = history.as_array().into_iter().flatten().filter_map(|row| row["status"].as_str()).collect();
    same("both tries are told", statuses, ["deployed", "failed", "failed"])?;
    ensure(history[1]["description"].as_str().is_some_and(|text| text.contains("its run was interrupted")), || history.to_string())
}
