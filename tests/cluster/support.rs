//! What the tests of this folder share.

use lockgate::cluster::{Cluster, Options};
use lockgate_sim::json::{Value, json};
use lockgate_sim::request::Request;
use lockgate_sim::{Cluster as Sim, Options as SimOptions};

/// Runs a future to its end, on one thread as the product does.
pub(super) fn run<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// A simulated cluster with nothing but the namespaces `default` and `kube-system`.
pub(super) fn empty() -> Sim {
    let mut sim = Sim::new(SimOptions::default());
    for name in ["default", "kube-system"] {
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
        sim.handle(&Request::post("/api/v1/namespaces", &namespace));
    }
    sim
}

/// The same behind the client.
pub(super) fn simulated(options: Options) -> Cluster {
    Cluster::simulated(empty(), options)
}

/// A ConfigMap without namespace.
pub(super) fn config_map(name: &str, data: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data})
}
