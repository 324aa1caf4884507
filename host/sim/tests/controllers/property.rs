//! Random strategies and failures: the fence posts hold at every instant and every rollout comes to rest.

use lockgate_sim::json::json;
use lockgate_sim::model::PodMatch;
use proptest::prelude::*;

use crate::support::{Sim, deployment, nodes};

fn limit(total: i64, text: &str, up: bool) -> i64 {
    match text.strip_suffix('%') {
        Some(percent) => {
            let product = total * percent.parse::<i64>().unwrap();
            if up { (product + 99) / 100 } else { product / 100 }
        }
        None => text.parse().unwrap(),
    }
}

fn limits() -> impl Strategy<Value = String> {
    prop_oneof![(0..4_i64).prop_map(|n| n.to_string()), (0..=100_i64).prop_map(|n| format!("{n}%"))]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn rollouts_stay_between_their_fence_posts(
        replicas in 1..9_i64,
        surge in limits(),
        unavailable in limits(),
        failure in 0..4_u8,
        seed in any::<u64>(),
    ) {
        let (up, mut down) = (limit(replicas, &surge, true), limit(replicas, &unavailable, false));
        // The API refuses an explicit zero for both; percentages that come to zero mean one.
        prop_assume!(!(surge.trim_end_matches('%') == "0" && unavailable.trim_end_matches('%') == "0"));
        if up == 0 && down == 0 {
            down = 1;
        }
        let mut sim = Sim::seeded(&(nodes(&["n1", "n2"]) + &deployment(replicas, "")), seed);
        let number = |text: &str| text.parse::<i64>().map_or_else(|_| json!(text), |n| json!(n));
        let rolling = json!({"maxSurge": number(&surge), "maxUnavailable": number(&unavailable)});
        sim.patch("deploy/web", &json!({"spec": {"strategy": {"rollingUpdate": rolling}}}));
        match failure {
            1 => sim.0.models_mut().never_pulls("*:v2"),
            2 => sim.0.models_mut().crashes(PodMatch { node: Some("n1".to_owned()), ..PodMatch::default() }),
            3 => sim.0.models_mut().never_ready(PodMatch { node: Some("n2".to_owned()), ..PodMatch::default() }),
            _ => {}
        }
        sim.set_image("deploy/web", "shop/web:v2");
        sim.step_through(700, |sim| {
            let pods = i64::try_from(sim.images().len()).unwrap();
            let available = sim.counters("deploy/web")[3];
            assert!(pods <= replicas + up, "{pods} pods of {replicas} + {up}");
            assert!(available >= replicas - down, "{available} available of {replicas} - {down}");
        });
        if failure == 0 {
            prop_assert_eq!(sim.images(), vec!["shop/web:v2".to_owned(); usize::try_from(replicas).unwrap()]);
        }
        // The way back always works: the old image is there and runs.
        sim.0.models_mut().image(lockgate_sim::model::ImageModel {
            never_pulls: Some(false),
            ..lockgate_sim::model::ImageModel::new("*", "the way back")
        });
        sim.set_image("deploy/web", "shop/web:v1");
        sim.go(400);
        let images = sim.images();
        prop_assert!(failure > 1 || images.iter().all(|image| image == "shop/web:v1"), "{:?}", images);
    }
}
