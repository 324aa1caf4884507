use super::*;

fn generated(nodes: usize, pods_per_node: usize) -> Cluster {
    Size { nodes, pods_per_node }.cluster(Options::default()).unwrap()
}

#[test]
fn it_is_at_rest_and_as_large_as_asked() {
    let mut cluster = generated(7, 30);
    let count = |kind: &'static Kind| cluster.store().list(kind, None).count();
    assert_eq!((count(kinds::NODE), count(kinds::POD), count(kinds::DEPLOYMENT)), (7, 210, 5));
    let rv = cluster.store().rv();
    assert_eq!(cluster.next_event_at(), None);
    let later = view::later(cluster.now(), jiff::SignedDuration::from_hours(1));
    assert!(cluster.advance_to(later));
    assert_eq!((cluster.store().rv(), cluster.failure()), (rv, None));
}

#[test]
fn the_controllers_agree_with_what_was_generated() {
    let mut cluster = generated(3, 20);
    let keys: Vec<_> = [kinds::DEPLOYMENT, kinds::REPLICA_SET, kinds::DAEMON_SET]
        .iter()
        .flat_map(|kind| cluster.store().list(kind, None).map(|(key, _)| key.clone()))
        .collect();
    let rv = cluster.store().rv();
    cluster.reconsider(&keys);
    assert_eq!(cluster.store().rv(), rv, "{:?}", cluster.event_log().collect::<Vec<_>>());
}

#[test]
fn equal_seeds_give_equal_clusters() {
    let text = |seed| {
        let cluster = Size { nodes: 2, pods_per_node: 5 }.cluster(Options { seed, ..Options::default() }).unwrap();
        let objects: Vec<String> = cluster.store().list(kinds::POD, None).map(|(_, pod)| pod.to_string()).collect();
        objects.join("\n")
    };
    assert_eq!(text(1), text(1));
    assert_ne!(text(1), text(2));
}

#[test]
fn sizes_out_of_bounds_are_refused() {
    let refused = |nodes, pods_per_node| Size { nodes, pods_per_node }.cluster(Options::default()).unwrap_err();
    assert_eq!(refused(0, 1), "a generated cluster has between 1 and 100000 nodes, not 0");
    assert_eq!(refused(1, 111), "a node takes at most 110 pods, not 111");
}
