//! The lock of a cluster on the real server: its own validation of Leases, its conflicts, its restarts.

use std::thread::sleep;
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use lockgate::base::Error;
use lockgate::cluster::{Access, Claim, Cluster, Lease, LiveOptions, Lock, Options, Over, PatchType, RunId, Taken};
use serde_json::Value;
use tokio::runtime::Runtime;

use super::binaries::Binaries;
use super::plane::{ControlPlane, Pace};
use super::{Outcome, command, needs_binaries};

/// The cases, by name.
pub(crate) fn cases() -> Vec<Trial> {
    vec![
        needs_binaries("lock::one_at_a_time", one_at_a_time),
        needs_binaries("lock::outlives_a_restart_of_the_server", outlives_a_restart),
        needs_binaries("lock::a_resumed_run_takes_it_over", taken_over),
        needs_binaries("lock::without_the_right_to_it", forbidden),
        needs_binaries("lock::foreign_actors", foreign),
    ]
}

fn told(error: Error) -> String {
    format!("{error} ({:?})", error.hint)
}

/// One process on the real cluster.
struct Process {
    runtime: Runtime,
    cluster: Cluster,
}

impl Process {
    fn new(plane: &ControlPlane, user: &str) -> Outcome<Process> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| error.to_string())?;
        let live = LiveOptions { kubeconfig: Some(plane.kubeconfig(user)), context: None };
        let cluster = runtime.block_on(Cluster::live(live, Options::new(RunId::generate()))).map_err(told)?;
        cluster.set_access(Access::ReadWrite);
        Ok(Process { runtime, cluster })
    }

    fn take(&self, run: &str, over: Option<Over>) -> Outcome<Taken> {
        let claim = Claim {
            run: run.to_owned(),
            host: "here".to_owned(),
            user: "me".to_owned(),
            runbook: "tried".to_owned(),
            known_epoch: 0,
            over,
        };
        self.runtime.block_on(self.cluster.take_lock(&claim)).map_err(told)
    }

    fn ours(&self, run: &str, over: Option<Over>) -> Outcome<Lock> {
        match self.take(run, over)? {
            Taken::Ours(lock, _) => Ok(lock),
            Taken::Held(lease) | Taken::Left(lease) => Err(format!("the lock is held: {lease:?}")),
        }
    }

    fn lease(&self) -> Outcome<Lease> {
        self.runtime.block_on(self.cluster.lease()).map_err(told)?.ok_or_else(|| "there is no lease".to_owned())
    }

    /// Writes something that changes nothing.
    fn write(&self, value: &str) -> Result<(), Error> {
        self.runtime.block_on(async {
            let map = self.cluster.target(&"configmap/kube-root-ca.crt".parse()?, Some("default")).await?;
            let body = lockgate_sim::json::json!({"metadata": {"labels": {"tried": value}}});
            self.cluster.patch(&map, PatchType::Merge, body, None).await.map(drop)
        })
    }
}

fn ensure(holds: bool, what: &str) -> Outcome {
    if holds { Ok(()) } else { Err(what.to_owned()) }
}

fn plane(binaries: &Binaries) -> Outcome<ControlPlane> {
    let plane = ControlPlane::start(binaries, Pace::default())?;
    plane.until("the ConfigMap that is written", Duration::from_secs(30), |plane| {
        Ok(plane.kubectl(&["get", "configmap", "kube-root-ca.crt", "-n", "default"]).is_ok())
    })?;
    Ok(plane)
}

/// Two runs at once: the second is told who has it; a person frees it by name with the command; the first writes nothing more.
fn one_at_a_time(binaries: &Binaries) -> Outcome {
    let plane = plane(binaries)?;
    let (first, second) = (Process::new(&plane, "admin")?, Process::new(&plane, "admin")?);
    let (a, b) = (RunId::generate().to_string(), RunId::generate().to_string());
    let lock = first.ours(&a, None)?;
    first.cluster.now_in("ipam");
    first.write("1").map_err(told)?;
    let Taken::Held(held) = second.take(&b, None)? else { return Err("two runs have the lock".to_owned()) };
    ensure(held.run.as_deref() == Some(&*a) && held.epoch == 1, &format!("{held:?}"))?;
    // Nothing drives the first process meanwhile: its thread renews all the same.
    let before = first.lease()?;
    sleep(Duration::from_secs(12));
    let after = first.lease()?;
    ensure(after.renewed > before.renewed, &format!("not renewed: {before:?}, {after:?}"))?;
    ensure(after.step.as_deref() == Some("ipam"), &format!("the step was not told: {after:?}"))?;
    command::run(&plane, "admin", &["unlock", &b, "--yes"])?.expect_code(5)?;
    let freed = command::run(&plane, "admin", &["unlock", &a, "--yes"])?;
    freed.expect_code(0)?;
    freed.expect_said(&a)?;
    sleep(Duration::from_secs(11));
    let lost = first.write("2").err().ok_or("a run wrote without its lock")?;
    // Nobody knows here that it has noticed: the next one waits until it must have.
    let asked = Instant::now();
    let next = second.ours(&b, None)?;
    ensure(next.epoch() == 1, "another run begins with epoch 1")?;
    ensure(asked.elapsed() >= Duration::from_secs(59), &format!("the next run waited for {:?} only", asked.elapsed()))?;
    ensure(lost.kind.exit_code() == 4 && lost.message.contains("has lost its lock"), &lost.to_string())?;
    first.runtime.block_on(lock.release(None)).map_err(told)?;
    ensure(second.lease()?.run.as_deref() == Some(&*b), "what is not ours was given back")?;
    second.runtime.block_on(next.release(Some("failed"))).map_err(told)?;
    let free = second.lease()?;
    ensure(free.run.is_none() && free.last.as_deref() == Some(&*b), &format!("{free:?}"))?;
    let object: Value = serde_json::from_str(&plane.kubectl(&["get", "lease", "lockgate", "-n", "kube-system", "-o", "json"])?)
        .map_err(|error| error.to_string())?;
    ensure(object["spec"].get("holderIdentity").is_none(), &format!("it has a holder: {object}"))
}

/// A server that goes away and comes back costs nothing but time.
fn outlives_a_restart(binaries: &Binaries) -> Outcome {
    let mut plane = plane(binaries)?;
    let process = Process::new(&plane, "admin")?;
    let run = RunId::generate().to_string();
    let lock = process.ours(&run, None)?;
    process.write("1").map_err(told)?;
    plane.restart_apiserver()?;
    process.write("2").map_err(told)?;
    let before = process.lease()?.renewed;
    sleep(Duration::from_secs(14));
    ensure(process.lease()?.renewed > before, "it was not renewed after the restart")?;
    process.runtime.block_on(lock.release(None)).map_err(told)
}

/// A process that is gone without a word; the run goes on in another one, and the first, when it was not gone after all, stops.
fn taken_over(binaries: &Binaries) -> Outcome {
    let plane = plane(binaries)?;
    let (first, second) = (Process::new(&plane, "admin")?, Process::new(&plane, "admin")?);
    let run = RunId::generate().to_string();
    let _lock = first.ours(&run, None)?;
    let over = Over { run: run.clone(), gone: true };
    let lock = second.ours(&run, Some(over))?;
    ensure(lock.epoch() == 2, "a resumed run has the next epoch")?;
    sleep(Duration::from_secs(11));
    let lost = first.write("1").err().ok_or("a process that was replaced still writes")?;
    ensure(lost.message.contains("process 2 of it"), &lost.to_string())?;
    second.write("2").map_err(told)?;
    second.runtime.block_on(lock.release(None)).map_err(told)
}

/// Who may not touch leases is told what to grant.
fn forbidden(binaries: &Binaries) -> Outcome {
    let plane = plane(binaries)?;
    let process = Process::new(&plane, "nobody")?;
    let said = process.take(&RunId::generate().to_string(), None).err().ok_or("a lock without the right to it")?;
    ensure(said.contains("grant `get`, `create`, `update` on `leases.coordination.k8s.io` in `kube-system`"), &said)
}

/// kured's lock on a real DaemonSet refuses the run before its first write.
fn foreign(binaries: &Binaries) -> Outcome {
    use lockgate::primitives::foreign::{Touch, look};
    let plane = plane(binaries)?;
    let process = Process::new(&plane, "admin")?;
    let alone = process.runtime.block_on(look(&process.cluster, &Touch::unknown())).map_err(told)?;
    ensure(alone.actors.is_empty(), &format!("{alone:?}"))?;
    plane.apply(
        r#"
apiVersion: apps/v1
kind: DaemonSet
metadata:
  name: kured
  namespace: kube-system
  annotations:
    weave.works/kured-node-lock: '{"nodeID":"w1","metadata":{"unschedulable":false},"created":"2026-01-01T00:00:00Z","TTL":0}'
spec:
  selector: { matchLabels: { name: kured } }
  template:
    metadata: { labels: { name: kured } }
    spec: { containers: [{ name: kured, image: "ghcr.io/kubereboot/kured:1.16.0" }] }
"#,
    )?;
    let found = process.runtime.block_on(look(&process.cluster, &Touch::unknown())).map_err(told)?;
    let error = found.admits("real").err().ok_or("kured's lock refuses nothing")?;
    ensure(error.causes.iter().any(|cause| cause.contains("holds its lock for `w1`")), &error.to_string())?;
    // Who may not look is told what was not looked at.
    let blind = Process::new(&plane, "nobody")?;
    let found = blind.runtime.block_on(look(&blind.cluster, &Touch::unknown())).map_err(told)?;
    ensure(found.actors.is_empty() && !found.skipped.is_empty(), &format!("{found:?}"))
}
