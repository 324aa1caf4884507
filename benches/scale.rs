//! The simulated cluster at 10, 100, 1,000 and 5,000 nodes with 30 pods each: `cargo bench --bench scale`.
//!
//! What takes seconds is measured once a size and printed with the memory of the process; what takes micro- to milliseconds is
//! measured by criterion, and once more against its goal. A goal that is missed ends it with an error, at the end; the rate of events
//! depends on the machine's memory most of all. `LOCKGATE_BENCH_NODES=10,100` limits the sizes.

#![allow(missing_docs, clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark ends when something is wrong, and prints")]

mod goals;

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use lockgate_sim::generate::Size;
use lockgate_sim::{Cluster, Options, Request, json};

use goals::Missed;

/// That of the program.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const PODS_PER_NODE: usize = 30;
/// So many rollouts are timed, each in a fork of its own; the first also takes the memory from the system.
const ROLLS: usize = 5;

/// Resident memory of this process in MiB; 0 where the system does not tell.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or("0 kB");
    line.split_whitespace().next().and_then(|kib| kib.parse::<usize>().ok()).unwrap_or(0) / 1024
}

/// The memory that the largest cluster may take, in MiB.
const MEMORY: usize = 1 << 10;
/// So many events of controllers a second are wanted at every size.
const RATE: f64 = 100_000.0;

/// How long something takes, in the median.
fn median(mut work: impl FnMut()) -> Duration {
    let mut times: Vec<Duration> = (0..50)
        .map(|_| {
            let began = Instant::now();
            work();
            began.elapsed()
        })
        .collect();
    times.sort_unstable();
    times[times.len() / 2]
}

/// What a cluster of any size must be able to do.
fn judge(cluster: &mut Cluster, nodes: usize, missed: &mut Missed) {
    let name = |what: &str| format!("{what} at {nodes} nodes");
    missed.unless(resident() <= MEMORY, format!("{}: {} MiB is more than {MEMORY}", name("memory"), resident()));
    missed.within(&name("a fork"), median(|| drop(black_box(cluster.fork()))), Duration::from_millis(1));
    let page = median(|| assert!(get(cluster, "/api/v1/pods?limit=500") > 0));
    missed.within(&name("a page of 500 pods"), page, Duration::from_millis(5));
    let few = median(|| assert!(get(cluster, "/api/v1/namespaces/team-0000/pods?labelSelector=app=app-00000") > 0));
    missed.within(&name("the pods of one app"), few, Duration::from_millis(1));
}

fn timed<T>(what: &str, nodes: usize, work: impl FnOnce() -> T) -> T {
    let (begin, memory) = (Instant::now(), resident());
    let result = work();
    println!(
        "{nodes:>6} nodes  {what:<44} {:>9.1} ms  {:>5} MiB more",
        begin.elapsed().as_secs_f64() * 1e3,
        resident().saturating_sub(memory)
    );
    result
}

fn get(cluster: &mut Cluster, path: &str) -> usize {
    let answer = cluster.handle(&Request::get(path));
    assert_eq!(answer.status, 200, "{path}");
    answer.value().unwrap()["items"].as_array().map_or(1, |items| items.len())
}

/// A new image for the agents, until the rollout is over. Gives the number of changes and log lines.
fn roll(cluster: &mut Cluster, nodes: usize) -> (u64, usize) {
    let path = "/apis/apps/v1/namespaces/kube-system/daemonsets/agent";
    let (rv, lines) = (cluster.store().rv(), cluster.event_log().len());
    let change = json!({"spec": {"updateStrategy": {"rollingUpdate": {"maxUnavailable": "10%"}}, "template": {"spec": {
        "containers": [{"name": "agent", "image": "registry.example/agent:v2.0.0"}]}}}});
    let answer = cluster.handle(&Request::patch(path, "application/strategic-merge-patch+json", &change));
    assert_eq!(answer.status, 200);
    while let Some(at) = cluster.next_event_at() {
        cluster.advance_to(at);
    }
    let set = cluster.handle(&Request::get(path));
    assert_eq!(set.value().unwrap()["status"]["updatedNumberScheduled"], nodes);
    assert_eq!(set.value().unwrap()["status"]["numberAvailable"], nodes);
    (cluster.store().rv() - rv, cluster.event_log().len() - lines)
}

fn sizes() -> Vec<usize> {
    let given = std::env::var("LOCKGATE_BENCH_NODES").unwrap_or_else(|_| "10,100,1000,5000".to_owned());
    given.split(',').map(|nodes| nodes.trim().parse().unwrap()).collect()
}

fn scale(criterion: &mut Criterion) {
    let mut missed = Missed::default();
    for nodes in sizes() {
        let size = Size { nodes, pods_per_node: PODS_PER_NODE };
        let began = Instant::now();
        let mut cluster = timed("generate and load", nodes, || size.cluster(Options::default()).unwrap());
        missed.within(&format!("loading {nodes} nodes"), began.elapsed(), Duration::from_secs(10));
        judge(&mut cluster, nodes, &mut missed);
        let mut rolled = timed("fork", nodes, || cluster.fork());
        let mut rates = Vec::new();
        for round in 0..ROLLS {
            if round > 0 {
                rolled = cluster.fork();
            }
            let begin = Instant::now();
            let (changes, lines) = timed("roll the DaemonSet over all nodes, in a fork", nodes, || roll(&mut rolled, nodes));
            let rate = f64::from(u32::try_from(lines).unwrap()) / begin.elapsed().as_secs_f64();
            println!("{nodes:>6} nodes  {changes} changes, {lines} events of controllers, {rate:.0} a second");
            rates.push(rate);
            missed.within(&format!("a rollout over {nodes} nodes"), begin.elapsed(), Duration::from_secs(10));
        }
        rates.sort_by(f64::total_cmp);
        let rate = rates[ROLLS / 2];
        println!("{nodes:>6} nodes  the median of {ROLLS} rollouts: {rate:.0} events of controllers a second");
        missed.unless(rate >= RATE, format!("{rate:.0} events of controllers a second at {nodes} nodes are fewer than {RATE:.0}"));
        let differs = timed("what the rollout changed", nodes, || cluster.store().diff(rolled.store()).len());
        println!("{nodes:>6} nodes  {differs} objects differ");
        drop(rolled);
        let mut group = criterion.benchmark_group("scale");
        group.sample_size(20);
        group.bench_with_input(BenchmarkId::new("fork", nodes), &nodes, |bench, _| bench.iter(|| black_box(cluster.fork())));
        group.bench_with_input(BenchmarkId::new("one page of 500 pods", nodes), &nodes, |bench, _| {
            bench.iter(|| get(&mut cluster, "/api/v1/pods?limit=500"));
        });
        group.bench_with_input(BenchmarkId::new("pods of one app by label", nodes), &nodes, |bench, _| {
            bench.iter(|| get(&mut cluster, "/api/v1/namespaces/team-0000/pods?labelSelector=app=app-00000"));
        });
        group.bench_with_input(BenchmarkId::new("pods of one app by label, all namespaces", nodes), &nodes, |bench, _| {
            bench.iter(|| get(&mut cluster, "/api/v1/pods?labelSelector=app=app-00000"));
        });
        group.bench_with_input(BenchmarkId::new("pods of one node", nodes), &nodes, |bench, _| {
            bench.iter(|| get(&mut cluster, "/api/v1/pods?fieldSelector=spec.nodeName=node-00001"));
        });
        group.bench_with_input(BenchmarkId::new("one write in a new fork", nodes), &nodes, |bench, _| {
            let change = json!({"metadata": {"annotations": {"a": "b"}}});
            let request = Request::patch("/api/v1/nodes/node-00001", "application/merge-patch+json", &change);
            bench.iter(|| cluster.fork().handle(&request).status);
        });
        group.finish();
    }
    missed.end();
}

criterion_group!(benches, scale);
criterion_main!(benches);
