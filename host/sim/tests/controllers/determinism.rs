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
    sim.0.event_log().to_vec()
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
