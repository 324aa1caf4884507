//! Equal seeds and inputs give equal logs, to the byte.

use crate::support::{Sim, deployment, nodes};

fn run(seed: u64) -> Vec<String> {
    let mut sim = Sim::seeded(&(nodes(&["n1", "n2", "n3"]) + &deployment(5, "")), seed);
    sim.set_image("deploy/web", "shop/web:v2");
    sim.go(20);
    sim.scale("deploy/web", 8);
    sim.go(100);
    sim.delete("deploy/web");
    sim.go(60);
    sim.0.event_log().map(str::to_owned).collect()
}

#[test]
fn the_same_seed_gives_the_same_log() {
    let first = run(7);
    assert!(first.len() > 200, "{}", first.len());
    assert_eq!(first, run(7));
    assert_ne!(first, run(8), "names of pods come from the seed");
}

#[test]
fn a_fork_goes_its_own_way() {
    let mut sim = Sim::new(&(nodes(&["n1"]) + &deployment(1, "")));
    let mut fork = Sim(sim.0.fork());
    fork.set_image("deploy/web", "shop/web:v2");
    fork.go(60);
    assert_eq!(fork.images(), ["shop/web:v2"]);
    assert_eq!(sim.images(), ["shop/web:v1"]);
    sim.set_image("deploy/web", "shop/web:v2");
    sim.go(60);
    let names = |sim: &mut Sim| sim.list("pod")[0]["metadata"]["name"].clone();
    assert_eq!(names(&mut sim), names(&mut fork), "both go on from the same seed");
}

/// Set in the processes that [`two_processes_write_the_same_log`] starts.
const CHILD: &str = "LOCKGATE_SIM_PRINT_LOG";

/// Hash seeds, addresses and the order of maps differ between processes: none of that may reach a log.
#[test]
fn two_processes_write_the_same_log() {
    if std::env::var_os(CHILD).is_some() {
        println!("{}", run(7).join("\n"));
        return;
    }
    let log = || {
        let output = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "determinism::two_processes_write_the_same_log", "--nocapture", "--test-threads=1"])
            .env(CHILD, "1")
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        // What the test harness says around it holds how long it took.
        text.lines().filter(|line| line.contains(" rv=")).map(str::to_owned).collect::<Vec<_>>()
    };
    let first = log();
    assert!(first.len() > 200, "{}", first.len());
    assert_eq!(first, log());
}
