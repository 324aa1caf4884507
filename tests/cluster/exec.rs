//! Commands in containers of a simulated cluster, through the client library and its WebSocket, in this process.

use lockgate::base::{Kind, ObjectRef, Reason, Span};
use lockgate::cluster::{Access, Cluster, Command, Executed, Options, RunId, Target};
use lockgate_sim::Options as SimOptions;
use lockgate_sim::fixture::Fixture;

use super::support::run;

const FIXTURE: &str = r#"
apiVersion: v1
kind: Node
metadata: {name: n1}
---
apiVersion: v1
kind: Pod
metadata: {name: web}
spec: {containers: [{name: web, image: "registry.example/web:v1"}, {name: side, image: "registry.example/side:v1"}]}
---
apiVersion: lockgate.dev/v1
kind: Model
exec:
- {match: {command: hostname}, answer: {stdout: "web\n", stderr: "a warning\n"}, why: a test}
- {match: {command: "slow *"}, answer: {stdout: "done\n", code: 3, takes: 40s}, why: a test}
- {match: {command: cat}, answer: {echo: true}, why: a test}
"#;

fn cluster(fixture: &str) -> Cluster {
    let sim = Fixture::parse("cluster.yaml", fixture).unwrap().cluster(SimOptions::default()).unwrap();
    Cluster::simulated(sim, Options::new(RunId::generate()))
}

async fn pod(cluster: &Cluster) -> Target {
    cluster.target(&ObjectRef::parse("pod/web").unwrap(), None).await.unwrap()
}

fn command(words: &[&str]) -> Command {
    Command { words: words.iter().map(|word| (*word).to_owned()).collect(), container: Some("web".to_owned()), stdin: None }
}

const MINUTE: Span = Span::from_secs(60);

#[test]
fn a_command_gives_its_code_and_both_outputs() {
    run(async {
        let cluster = cluster(FIXTURE);
        let pod = pod(&cluster).await;
        let executed = cluster.exec(&pod, &command(&["hostname"]), MINUTE).await.unwrap();
        let expected = Executed { code: 0, stdout: "web\n".to_owned(), stderr: "a warning\n".to_owned(), truncated: false };
        assert_eq!(executed, expected);
        let sent = cluster.requests();
        let last = sent.last().unwrap();
        assert_eq!((last.resource.as_str(), last.subresource.as_deref(), last.status), ("pods", Some("exec"), Some(101)));
    });
}

#[test]
fn a_command_takes_its_virtual_time_and_no_more() {
    run(async {
        let cluster = cluster(FIXTURE);
        let (pod, start) = (pod(&cluster).await, cluster.clock().now());
        let executed = cluster.exec(&pod, &command(&["slow", "er"]), MINUTE).await.unwrap();
        assert_eq!((executed.code, executed.stdout.as_str()), (3, "done\n"));
        assert_eq!(cluster.clock().now().duration_since(start).as_secs(), 40);
        let error = cluster.exec(&pod, &command(&["slow", "er"]), Span::from_secs(10)).await.unwrap_err();
        assert_eq!((error.reason, &error.details["outcome"]), (Reason::Timeout, &"unknown".into()));
        assert_eq!(cluster.clock().now().duration_since(start).as_secs(), 50);
        // What was given up holds time no longer.
        cluster.clock().sleep(MINUTE).await.unwrap();
        assert_eq!(cluster.clock().now().duration_since(start).as_secs(), 110);
    });
}

#[test]
fn standard_input_arrives_whole_and_ends() {
    run(async {
        let cluster = cluster(FIXTURE);
        let pod = pod(&cluster).await;
        // Longer than every pipe on the way, and than what is kept of it.
        let text = "0123456789abcde\n".repeat(100_000);
        let stdin = Some(text.clone());
        let executed = cluster.exec(&pod, &Command { stdin, ..command(&["cat"]) }, MINUTE).await.unwrap();
        assert_eq!((executed.code, executed.truncated), (0, true));
        assert!(executed.stdout == text[..1 << 20], "{} bytes", executed.stdout.len());
        let without = cluster.exec(&pod, &command(&["cat"]), MINUTE).await.unwrap();
        assert_eq!((without.code, without.stdout.as_str()), (0, ""));
    });
}

#[test]
fn what_cannot_be_run_is_an_error_with_the_servers_words() {
    run(async {
        let cluster = cluster(FIXTURE);
        let pod = pod(&cluster).await;
        let error = cluster.exec(&pod, &command(&["rm", "-rf", "/"]), MINUTE).await.unwrap_err();
        assert_eq!((error.kind, error.reason), (Kind::Cluster, Reason::Unmodelled));
        assert!(format!("{error:?}").contains("`rm -rf /` in container web of pod default/web"), "{error:?}");
        let missing = Command { container: Some("nope".to_owned()), ..command(&["hostname"]) };
        let error = cluster.exec(&pod, &missing, MINUTE).await.unwrap_err();
        assert!(format!("{error:?}").contains("container nope is not valid for pod web"), "{error:?}");
        let gone = cluster.target(&ObjectRef::parse("pod/gone").unwrap(), None).await.unwrap();
        assert_eq!(cluster.exec(&gone, &command(&["hostname"]), MINUTE).await.unwrap_err().reason, Reason::NotFound);
        cluster.set_access(Access::ReadOnly);
        assert_eq!(cluster.exec(&pod, &command(&["hostname"]), MINUTE).await.unwrap_err().kind, Kind::Refused);
    });
}

#[test]
fn a_plan_of_a_live_cluster_runs_no_command() {
    run(async {
        let sim = Fixture::parse("cluster.yaml", FIXTURE).unwrap().cluster(SimOptions::default()).unwrap();
        let live = Cluster::stand_in(sim, Options::new(RunId::generate()));
        let plan = live.planning();
        let pod = pod(&plan).await;
        let error = plan.exec(&pod, &command(&["hostname"]), MINUTE).await.unwrap_err();
        assert_eq!(error.reason, Reason::Unmodelled);
        assert!(live.requests().iter().all(|sent| sent.subresource.is_none()), "{:?}", live.requests());
    });
}
