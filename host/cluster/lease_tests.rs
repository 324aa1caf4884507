//! The lease in a simulated cluster: who gets it, who does not, and what a process that lost it notices.

use lockgate_sim::request::Request;
use lockgate_sim::{Cluster as Sim, Options as SimOptions};

use super::*;
use crate::base::Kind;
use crate::cluster::{Cancel, Lock, Options, PatchType, RunId, Taken, Target};

const PATH: &str = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/lockgate";

fn cluster() -> Cluster {
    let mut sim = Sim::new(SimOptions::default());
    for name in ["default", "kube-system"] {
        sim.handle(&Request::post("/api/v1/namespaces", &json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})));
    }
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m"}});
    sim.handle(&Request::post("/api/v1/namespaces/default/configmaps", &map));
    Cluster::simulated(sim, Options::new(RunId::simulated(Timestamp::UNIX_EPOCH, 1)))
}

fn run<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

fn claim(run: &str) -> Claim {
    Claim {
        run: run.to_owned(),
        host: "bastion".to_owned(),
        user: "ops".to_owned(),
        runbook: "cce-cni-v1-patch".to_owned(),
        known_epoch: 0,
        over: None,
    }
}

fn again(run: &str, host: &str, gone: bool, known_epoch: u64) -> Claim {
    Claim { host: host.to_owned(), known_epoch, over: Some(Over { run: run.to_owned(), gone }), ..claim(run) }
}

async fn ours(cluster: &Cluster, claim: &Claim) -> Lock {
    match cluster.take_lock(claim).await.unwrap() {
        Taken::Ours(lock, _) => lock,
        Taken::Held(lease) | Taken::Left(lease) => panic!("{lease:?}"),
    }
}

async fn theirs(cluster: &Cluster, claim: &Claim) -> Lease {
    match cluster.take_lock(claim).await.unwrap() {
        Taken::Ours(lock, _) => panic!("{lock:?}"),
        Taken::Held(lease) | Taken::Left(lease) => *lease,
    }
}

/// Another way to the same simulated cluster, as another process has it; its time is its own.
fn another(cluster: &Cluster) -> Cluster {
    let simulation = cluster.simulation().unwrap();
    Cluster::beside(&simulation, Options::new(RunId::simulated(Timestamp::UNIX_EPOCH, 2)))
}

async fn write(cluster: &Cluster, value: &str) -> Result<Target> {
    let map = cluster.target(&"configmap/m".parse().unwrap(), None).await?;
    cluster.patch(&map, PatchType::Merge, json!({"data": {"k": value}}), None).await?;
    Ok(map)
}

async fn wait(cluster: &Cluster, seconds: u64) {
    cluster.clock().sleep(Span::from_secs(seconds)).await.unwrap();
}

/// Does something to the lease behind everybody's back.
fn meddle(cluster: &Cluster, change: impl FnOnce(&mut Json)) {
    cluster.simulation().unwrap().with(|sim| {
        let lease = sim.handle(&Request::get(PATH));
        let mut lease: Json = lease.value().unwrap().clone();
        change(&mut lease);
        let answer = sim.handle(&Request::put(PATH, &lease));
        assert_eq!(answer.status, 200, "{answer:?}");
    });
}

#[test]
fn the_first_run_creates_it_and_gives_it_back_by_an_update() {
    run(async {
        let cluster = cluster();
        assert_eq!(cluster.lease().await.unwrap(), None);
        let lock = ours(&cluster, &claim("A")).await;
        assert_eq!(lock.epoch(), 1);
        cluster.now_in("ipam");
        write(&cluster, "1").await.unwrap();
        let lease = cluster.lease().await.unwrap().unwrap();
        let seen = (lease.run.as_deref(), &*lease.host, &*lease.user, &*lease.runbook, lease.step.as_deref());
        assert_eq!(seen, (Some("A"), "bastion", "ops", "cce-cni-v1-patch", Some("ipam")));
        assert!(lease.acquired.is_some() && lease.renewed.is_some());
        cluster.journal_is_at("abc");
        lock.release(Some("stopped in step ipam")).await.unwrap();
        let lease = cluster.lease().await.unwrap().unwrap();
        assert_eq!((lease.run, lease.last.as_deref(), lease.head.as_deref()), (None, Some("A"), Some("abc")));
        assert_eq!(lease.left.as_deref(), Some("stopped in step ipam"));
        write(&cluster, "2").await.unwrap();
        let (all, leases) = (cluster.requests(), |entry: &&crate::cluster::Recorded| entry.resource.starts_with("leases"));
        assert_eq!(all.iter().filter(leases).count(), 0, "the lock is no act of the runbook");
    });
}

#[test]
fn the_next_run_takes_a_free_one_with_an_epoch_of_its_own_and_hears_of_the_last() {
    run(async {
        let cluster = cluster();
        let lock = ours(&cluster, &again("A", "bastion", true, 4)).await;
        assert_eq!(lock.epoch(), 5);
        cluster.now_in("ipam");
        lock.release(Some("failed in step ipam")).await.unwrap();
        let Taken::Ours(lock, before) = cluster.take_lock(&claim("B")).await.unwrap() else { panic!("held") };
        assert_eq!(lock.epoch(), 1);
        let before = before.unwrap();
        assert_eq!((before.last.as_deref(), before.left.as_deref()), (Some("A"), Some("failed in step ipam")));
        let lease = cluster.lease().await.unwrap().unwrap();
        assert_eq!((lease.step, lease.last, lease.left), (None, None, None), "what was of the last run is gone");
    });
}

#[test]
fn a_second_run_is_told_who_has_it_even_when_it_has_run_out() {
    run(async {
        let cluster = cluster();
        let lock = ours(&cluster, &claim("A")).await;
        let held = theirs(&another(&cluster), &claim("B")).await;
        assert_eq!((held.run.as_deref(), &*held.host), (Some("A"), "bastion"));
        drop(lock);
        wait(&cluster, 3600).await;
        assert_eq!(theirs(&another(&cluster), &claim("B")).await.run.as_deref(), Some("A"), "run out is not free");
    });
}

#[test]
fn a_resumed_run_takes_its_own_over_when_its_process_is_gone() {
    run(async {
        let cluster = cluster();
        drop(ours(&cluster, &claim("A")).await);
        let second = another(&cluster);
        let before = second.clock().now();
        let lock = ours(&second, &again("A", "bastion", true, 1)).await;
        assert_eq!((lock.epoch(), second.clock().now()), (2, before), "at once");
        // Its record lost a process; the lease has it.
        let third = another(&cluster);
        assert_eq!(ours(&third, &again("A", "bastion", true, 1)).await.epoch(), 3);
    });
}

#[test]
fn from_another_machine_it_waits_until_the_lease_has_run_out_by_its_own_clock() {
    run(async {
        let cluster = cluster();
        drop(ours(&cluster, &claim("A")).await);
        let second = another(&cluster);
        let before = second.clock().now();
        // The free lock of a folder there says nothing about the process here.
        let lock = ours(&second, &again("A", "laptop", true, 1)).await;
        assert_eq!(lock.epoch(), 2);
        assert_eq!(Span::between(before, second.clock().now()), LASTS);
    });
}

#[test]
fn a_lease_that_is_renewed_meanwhile_is_alive() {
    run(async {
        let cluster = cluster();
        let _lock = ours(&cluster, &claim("A")).await;
        let second = another(&cluster);
        let simulation = cluster.simulation().unwrap();
        // The holder renews in the middle of the wait.
        let at = later(second.clock().now(), Duration::from_secs(25));
        let meddler = async {
            let clock = second.clock().join();
            clock.sleep_until(at).await.unwrap();
            drop(clock);
            simulation.with(|sim| {
                let mut lease: Json = sim.handle(&Request::get(PATH)).value().unwrap().clone();
                lease["spec"]["renewTime"] = time(at).into();
                assert_eq!(sim.handle(&Request::put(PATH, &lease)).status, 200);
            });
        };
        let claim = again("A", "laptop", false, 1);
        let (held, ()) = futures::join!(theirs(&second, &claim), meddler);
        assert_eq!(held.run.as_deref(), Some("A"));
        assert!(Span::between(at, second.clock().now()) < Span::from_secs(11));
    });
}

#[test]
fn who_lost_it_writes_nothing_more_and_hears_why() {
    type Meddle = fn(&mut Json);
    let cases: [(Meddle, &str); 3] = [
        (|lease| lease["spec"]["holderIdentity"] = Json::Null, "somebody has freed it (`lockgate unlock A`)"),
        (|lease| lease["spec"]["holderIdentity"] = "B@laptop".into(), "the run `B`, on `laptop` by ops, has it now"),
        (|lease| lease["spec"]["leaseTransitions"] = 2.into(), "process 2 of it, on `bastion` by ops, has resumed the run"),
    ];
    for (change, why) in cases {
        run(async {
            let cluster = cluster();
            let lock = ours(&cluster, &claim("A")).await;
            let map = write(&cluster, "1").await.unwrap();
            meddle(&cluster, change);
            wait(&cluster, 10).await;
            let error = write(&cluster, "2").await.unwrap_err();
            assert_eq!((error.message.clone(), error.kind), (format!("the run `A` has lost its lock: {why}"), Kind::Cancelled));
            assert!(lock.check().is_err());
            let object = cluster.get(&map).await.unwrap();
            assert_eq!(object["data"]["k"], "1", "reads go on, the write did not");
            let before = cluster.lease().await.unwrap();
            lock.release(None).await.unwrap();
            assert_eq!(cluster.lease().await.unwrap(), before, "what is not ours is left alone");
        });
    }
}

#[test]
fn a_deleted_lease_is_lost_too_and_is_not_made_anew() {
    run(async {
        let cluster = cluster();
        let _lock = ours(&cluster, &claim("A")).await;
        cluster.simulation().unwrap().with(|sim| assert_eq!(sim.handle(&Request::delete(PATH)).status, 200));
        wait(&cluster, 10).await;
        let error = write(&cluster, "1").await.unwrap_err();
        assert_eq!(error.message, "the run `A` has lost its lock: somebody has deleted `lease/kube-system/lockgate`");
        assert_eq!(cluster.lease().await.unwrap(), None);
    });
}

#[test]
fn what_others_note_on_it_is_no_loss() {
    run(async {
        let cluster = cluster();
        let lock = ours(&cluster, &claim("A")).await;
        meddle(&cluster, |lease| lease["metadata"]["labels"] = json!({"seen": "yes"}));
        wait(&cluster, 60).await;
        write(&cluster, "1").await.unwrap();
        lock.release(None).await.unwrap();
        assert_eq!(cluster.lease().await.unwrap().unwrap().run, None);
    });
}

#[test]
fn a_person_frees_it_by_the_name_of_the_run_and_nobody_elses() {
    run(async {
        let cluster = cluster();
        let error = cluster.unlock("A", true).await.unwrap_err();
        assert_eq!(error.reason, Reason::NotFound);
        drop(ours(&cluster, &claim("A")).await);
        let other = another(&cluster);
        let error = other.unlock("B", true).await.unwrap_err();
        assert_eq!(error.message, "the lock of `sandbox` is held by the run `A`, not by `B`");
        assert_eq!(other.unlock("A", true).await.unwrap().run.as_deref(), Some("A"));
        let lease = other.lease().await.unwrap().unwrap();
        assert_eq!((lease.run, lease.last.as_deref()), (None, Some("A")));
        assert_eq!(ours(&other, &claim("B")).await.epoch(), 1);
    });
}

#[test]
fn ctrl_c_ends_the_wait_for_it() {
    run(async {
        let cluster = cluster();
        drop(ours(&cluster, &claim("A")).await);
        let cancel = Cancel::new();
        let simulation = cluster.simulation().unwrap();
        let second =
            Cluster::beside(&simulation, Options { cancel: cancel.clone(), ..Options::new(RunId::simulated(Timestamp::UNIX_EPOCH, 2)) });
        cancel.press();
        let error = second.take_lock(&again("A", "laptop", false, 1)).await.unwrap_err();
        assert_eq!(error.message, "interrupted");
    });
}

#[test]
fn in_a_plan_there_is_none() {
    run(async {
        let copy = Cluster::stand_in(Sim::new(SimOptions::default()), Options::new(RunId::simulated(Timestamp::UNIX_EPOCH, 1))).planning();
        assert_eq!(copy.take_lock(&claim("A")).await.unwrap_err().kind, Kind::Internal);
    });
}

#[test]
fn who_takes_a_lock_that_was_freed_from_a_live_process_waits_until_that_one_writes_no_more() {
    run(async {
        let cluster = cluster();
        let lock = ours(&cluster, &claim("A")).await;
        write(&cluster, "1").await.unwrap();
        let other = another(&cluster);
        other.unlock("A", false).await.unwrap();
        assert!(other.lease().await.unwrap().unwrap().is_warm(other.clock().now()));
        // It has not noticed, and its fence is open.
        write(&cluster, "2").await.unwrap();
        let before = other.clock().now();
        let next = ours(&other, &claim("B")).await;
        assert_eq!((next.epoch(), Span::between(before, other.clock().now())), (1, LASTS));
        assert!(!other.lease().await.unwrap().unwrap().freed, "the next one may be taken from it at once");
        let error = write(&cluster, "3").await.unwrap_err();
        assert!(error.message.contains("the run `B`, on `bastion` by ops, has it now"), "{error}");
        assert_eq!(error.hint.as_deref(), Some("this process writes nothing more; `lockgate status A` says how far it came"));
        drop(lock);
    });
}

#[test]
fn a_process_that_was_not_heard_of_for_long_is_not_waited_for() {
    run(async {
        let cluster = cluster();
        drop(ours(&cluster, &claim("A")).await);
        wait(&cluster, 3600).await;
        let other = another(&cluster);
        other.unlock("A", false).await.unwrap();
        let before = other.clock().now();
        ours(&other, &claim("B")).await;
        assert_eq!(other.clock().now(), before);
    });
}

#[test]
fn no_other_run_begins_over_one_that_failed() {
    run(async {
        let cluster = cluster();
        ours(&cluster, &claim("A")).await.release(Some(FAILED)).await.unwrap();
        let left = theirs(&cluster, &claim("B")).await;
        assert_eq!((left.unfinished(), left.run.as_deref()), (Some("A"), None));
        assert_eq!(theirs(&cluster, &again("B", "bastion", true, 1)).await.unfinished(), Some("A"), "nor does one go on");
        // The run itself does, and who takes it back; that one is as unfinished when it fails.
        ours(&cluster, &again("A", "bastion", true, 1)).await.release(Some(FAILED)).await.unwrap();
        let back = Claim { over: Some(Over { run: "A".to_owned(), gone: true }), ..claim("C") };
        ours(&cluster, &back).await.release(Some(FAILED)).await.unwrap();
        let left = theirs(&cluster, &claim("B")).await;
        assert_eq!((left.unfinished(), left.takes_back.as_deref()), (Some("C"), Some("A")));
        ours(&cluster, &again("C", "bastion", true, 1)).await.release(Some(FAILED)).await.unwrap();
        assert_eq!(theirs(&cluster, &claim("B")).await.takes_back.as_deref(), Some("A"), "a resumed rollback is one still");
        // A person gives it up by its name, and nobody elses.
        assert_eq!(cluster.unlock("A", true).await.unwrap_err().reason, Reason::NotFound);
        assert_eq!(cluster.unlock("C", true).await.unwrap().unfinished(), Some("C"));
        let lock = ours(&cluster, &claim("B")).await;
        let lease = cluster.lease().await.unwrap().unwrap();
        assert_eq!((lease.takes_back, lease.left, lease.last), (None, None, None));
        drop(lock);
    });
}
