//! A run whose process stands still for longer than its lock holds without renewal: a suspended machine, SIGSTOP (`reference/safety.md` §2.7).

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::audit::Request;
use super::binaries::Binaries;
use super::plane::{ControlPlane, Pace};
use super::{Outcome, command};

/// Longer than the fence stays open after a renewal (40 s).
const LONG: Duration = Duration::from_secs(44);
/// So many writes are seen before it is stopped, and after it went on.
const SOME: usize = 5;

const RUNBOOK: &str = r#"runbook { title = "Writes and writes", summary = "S.", impact = "none", namespace = "default" }
permissions { { verbs = { "patch" }, kinds = { "configmaps" }, namespaces = { "default" } } }
step "many" { title = "Many", run = function()
  for i = 1, 1000000 do annotate("configmap/counted", { n = tostring(i) }) end
end }
"#;

/// It goes on only after its lock was renewed; and when somebody has freed the lock meanwhile, it writes nothing more.
pub(crate) fn stands_still(binaries: &Binaries) -> Outcome {
    let plane = ControlPlane::start(binaries, Pace::default())?;
    plane.apply("apiVersion: v1\nkind: ConfigMap\nmetadata: { name: counted, namespace: default }\n")?;
    let file = plane.path().join("many.luau");
    std::fs::write(&file, RUNBOOK).map_err(|error| format!("writing {}: {error}", file.display()))?;
    let running = command::start(&plane, "operator", &["run", "./many.luau", "--yes", "--no-plan"])?;
    let writes = |plane: &ControlPlane| plane.audit().map(|all| all.into_iter().filter(is_write).collect::<Vec<Request>>());
    let more_than = |plane: &ControlPlane, count: usize| plane.until("it writes", LONG, |plane| Ok(writes(plane)?.len() > count));
    more_than(&plane, SOME)?;

    let stand = |running: &command::Running| -> Outcome<usize> {
        running.signal(Signal::SIGSTOP)?;
        // What was sent before is answered, and in the log, soon after.
        let (begun, mut last) = (Instant::now(), 0);
        while begun.elapsed() < LONG {
            std::thread::sleep(Duration::from_secs(4));
            let now = writes(&plane)?.len();
            if begun.elapsed() > Duration::from_secs(10) && now != last {
                return Err("it writes while it is stopped".to_owned());
            }
            last = now;
        }
        Ok(last)
    };
    let before = stand(&running)?;
    running.signal(Signal::SIGCONT)?;
    more_than(&plane, before + SOME)?;
    let first = writes(&plane)?.into_iter().nth(before).ok_or("it does not go on")?;
    let gap = plane.audit()?.into_iter().filter(|request| request.user == "operator" && request.answered <= first.received);
    let asleep = first.received - i64::try_from(LONG.as_micros()).map_err(|error| error.to_string())? / 2;
    let renewed = gap.filter(|request| request.received > asleep && request.verb == "update" && request.resource == "leases");
    if renewed.count() == 0 {
        return Err(format!("its lock was not renewed before it wrote again: {first:?}"));
    }

    let before = stand(&running)?;
    let run = plane.kubectl(&["get", "lease", "lockgate", "-n", "kube-system", "-o", "jsonpath={.spec.holderIdentity}"])?;
    let run = run.split(['/', ' ', '@']).find(|word| word.len() == 26).ok_or_else(|| format!("no run in {run:?}"))?.to_owned();
    command::run(&plane, "admin", &["unlock", &run, "--yes"])?.expect_code(0)?;
    running.signal(Signal::SIGCONT)?;
    let finished = running.finish()?;
    finished.expect_code(4)?;
    finished.expect_said("has lost its lock")?;
    let after = writes(&plane)?.len();
    if after == before { Ok(()) } else { Err(format!("{} writes after its lock was freed", after - before)) }
}

fn is_write(request: &Request) -> bool {
    request.user == "operator" && request.resource == "configmaps" && request.verb == "patch" && !request.is_question()
}
