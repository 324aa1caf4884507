use std::sync::{Arc, Mutex};

use http_body_util::Full;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::api::{ListParams, PostParams};
use kube::client::Body;
use kube::{Api, Client, ResourceExt as _};
use lockgate_sim::fixture::Fixture;
use lockgate_sim::{Cluster, Options};

/// The controller under test: a Deployment with several replicas gets a budget that lets one of its pods go at a time.
async fn reconcile(client: &Client) -> kube::Result<()> {
    for deployment in Api::<Deployment>::all(client.clone()).list(&ListParams::default()).await? {
        let (name, namespace) = (deployment.name_any(), deployment.namespace().unwrap_or_default());
        let budgets = Api::<PodDisruptionBudget>::namespaced(client.clone(), &namespace);
        let Some(spec) = deployment.spec.filter(|spec| spec.replicas > Some(1)) else { continue };
        if budgets.get_opt(&name).await?.is_none() {
            let spec =
                PodDisruptionBudgetSpec { max_unavailable: Some(IntOrString::Int(1)), selector: Some(spec.selector), ..Default::default() };
            let metadata = ObjectMeta { name: Some(name), ..Default::default() };
            budgets.create(&PostParams::default(), &PodDisruptionBudget { metadata, spec: Some(spec), status: None }).await?;
        }
    }
    Ok(())
}

/// A client whose server is a plain function: no socket, no thread, no waiting.
fn client(cluster: &Arc<Mutex<Cluster>>) -> Client {
    let cluster = cluster.clone();
    let service = tower::service_fn(move |request: http::Request<Body>| {
        let cluster = cluster.clone();
        async move {
            let (parts, body) = request.into_parts();
            let mut asked = lockgate_sim::Request::from_uri(parts.method.as_str(), &parts.uri.to_string()).ok_or("a method of no API")?;
            if let Some(kind) = parts.headers.get("content-type") {
                asked.content_type = kind.to_str()?.to_owned();
            }
            asked.body = body.collect_bytes().await?.to_vec();
            let answer = cluster.lock().map_err(|_| "a test panicked")?.handle(&asked);
            let text = answer.value().map(ToString::to_string).unwrap_or_default();
            Ok::<_, tower::BoxError>(http::Response::builder().status(answer.status).body(Full::from(text))?)
        }
    });
    Client::new(service, "default")
}

const CLUSTER: &str = "
{apiVersion: v1, kind: Node, metadata: {name: n1}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec:
  replicas: 3
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: 'registry.example/web:v1'}]}
";

#[tokio::test]
async fn a_deployment_gets_a_budget_that_holds() -> Result<(), Box<dyn std::error::Error>> {
    let cluster = Arc::new(Mutex::new(Fixture::parse("cluster.yaml", CLUSTER)?.cluster(Options::default())?));
    let client = client(&cluster);
    reconcile(&client).await?;

    // The other controllers have worked in the same instant: the budget knows its pods.
    let budget = Api::<PodDisruptionBudget>::namespaced(client.clone(), "shop").get("web").await?;
    let status = budget.status.unwrap_or_default();
    assert_eq!((status.current_healthy, status.disruptions_allowed), (Some(3), Some(1)));

    // It holds: of three pods that are evicted at once, one goes, and the next one when its successor is ready.
    let pods = Api::<Pod>::namespaced(client.clone(), "shop");
    let names: Vec<String> = pods.list(&ListParams::default()).await?.iter().map(|pod| pod.name_any()).collect();
    assert!(pods.evict(&names[0], &Default::default()).await.is_ok());
    assert!(pods.evict(&names[1], &Default::default()).await.is_err());
    {
        let mut sim = cluster.lock().unwrap();
        while let Some(at) = sim.next_event_at() {
            sim.advance_to(at);
        }
    }
    assert!(pods.evict(&names[1], &Default::default()).await.is_ok());
    Ok(())
}
