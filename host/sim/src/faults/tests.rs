use super::*;
use crate::json::json;
use crate::kinds;

fn subject<'a>(verb: &'a str, name: &'a str) -> Subject<'a> {
    Subject { verb, kind: kinds::DEPLOYMENT, namespace: "x", name, subresource: "", client: "kubectl/v1.36.4" }
}

fn rule(value: crate::json::Value) -> Rule {
    crate::json::from_value(value).unwrap()
}

/// Rules, and what they decide about requests at a time in seconds.
struct Bench(Faults, Store);

impl Bench {
    fn new(rules: impl IntoIterator<Item = crate::json::Value>) -> Bench {
        let mut faults = Faults::default();
        rules.into_iter().for_each(|value| faults.push(rule(value), Timestamp::UNIX_EPOCH));
        Bench(faults, Store::new(0))
    }

    fn check_at(&mut self, second: i64, subject: &Subject<'_>) -> Option<Action> {
        match self.0.check(subject, Timestamp::from_second(second).unwrap(), &self.1).0 {
            Decision::None => None,
            Decision::Action(action) => Some(action),
            Decision::Stale(_) => Some(Action::Stale),
        }
    }

    fn check(&mut self, verb: &str, name: &str) -> Option<Action> {
        self.check_at(0, &subject(verb, name))
    }
}

#[test]
fn rules_count_what_matches() {
    let mut bench = Bench::new([
        json!({"match": {"verb": "patch", "kind": "Deployment", "nth": 2}, "do": {"fail": {"code": 503}}}),
        json!({"match": {"every": 3}, "do": "lost_after"}),
    ]);
    assert_eq!(bench.check("patch", "a"), None);
    assert_eq!(bench.check("get", "a"), None);
    let Some(Action::Fail(failure)) = bench.check("patch", "a") else { panic!("the second patch passes") };
    assert_eq!((failure.status().code(), failure.status().reason()), (503, "ServiceUnavailable"));
    // The third request was also the third of the second rule, which only counted it.
    assert_eq!(bench.0.fired(), [1, 0]);
    assert_eq!(bench.check("patch", "a"), None);
    assert_eq!(bench.check("get", "a"), None);
    assert_eq!(bench.check("get", "a"), Some(Action::LostAfter));
}

#[test]
fn rules_look_at_time_step_group_and_client() {
    let mut bench = Bench::new([json!({"match": {"after": "1m", "until": "2m"}, "do": "refuse"})]);
    assert_eq!([59, 60, 119, 120].map(|second| bench.check_at(second, &subject("get", "a")).is_some()), [false, true, true, false]);

    let mut bench = Bench::new([json!({"match": {"step": "ipam", "group": "apps", "client": "kubectl"}, "do": "refuse"})]);
    assert_eq!(bench.check("get", "a"), None);
    bench.0.enter(Some("ipam"));
    assert_eq!(bench.check("get", "a"), Some(Action::Refuse));
    assert_eq!(bench.check_at(0, &Subject { client: "helm", ..subject("get", "a") }), None);
    assert_eq!(bench.check_at(0, &Subject { kind: kinds::POD, ..subject("get", "a") }), None);
    bench.0.enter(None);
    assert_eq!(bench.check("get", "a"), None);
}

#[test]
fn rules_are_data() {
    let mut bench = Bench::new([json!({"match": {"name": "a", "subresource": ""}, "do": {"drop_watch": 2}})]);
    assert_eq!(bench.check("get", "a"), None);
    assert_eq!(bench.check("watch", "a"), Some(Action::DropWatch(2)));
    let wrong = |value: crate::json::Value| match crate::json::from_value::<Rule>(value) {
        Ok(rule) => rule.check().unwrap_err(),
        Err(error) => error.to_string(),
    };
    for (value, why) in [
        (json!({"match": {"nmae": "a"}, "do": "conflict"}), "unknown field `nmae`"),
        (json!({"match": {"verb": "evict"}, "do": "conflict"}), "`evict` is no verb"),
        (json!({"match": {"kind": "deployment"}, "do": "conflict"}), "begin with a capital letter"),
        (json!({"match": {"nth": 0}, "do": "conflict"}), "count from 1"),
        (json!({"match": {"after": "2m", "until": "1m"}, "do": "conflict"}), "`until` is not later"),
        (json!({"match": {"verb": "get"}, "do": {"drop_watch": 1}}), "it happens to a watch alone"),
        (json!({"match": {"verb": "patch"}, "do": "stale"}), "it happens to a read alone"),
        (json!({"do": {"fail": {"code": 200}}}), "200 is no status of a failure"),
        (json!({"do": {"before": {"delay": "1s"}}}), "either a `write`, a `model` or a `clock`"),
        (json!({"do": {"after": {"write": {"verb": "get", "path": "/"}}}}), "`get` is none of"),
        (json!({"do": {"late": "soon"}}), "is not a duration"),
    ] {
        let said = wrong(value.clone());
        assert!(said.contains(why), "{value}: {said}");
    }
}

#[test]
fn failures_carry_their_retry_time() {
    let failure = Failure { code: 429, reason: None, message: Some("slow down".into()), retry_after: Some(3), causes: Vec::new() };
    assert_eq!(failure.status().retry_after_seconds(), Some(3));
    assert_eq!(failure.status().message(), "slow down");
}

#[test]
fn chaos_is_a_function_of_its_seed_and_has_only_sound_rules() {
    assert_eq!(chaos(7), chaos(7));
    assert_ne!(chaos(7), chaos(8));
    for seed in 0..200 {
        for rule in chaos(seed) {
            rule.check().unwrap_or_else(|why| panic!("seed {seed}: {rule:?}: {why}"));
        }
    }
}
