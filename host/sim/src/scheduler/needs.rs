//! What a pod takes from its node.

use std::collections::BTreeMap;

use crate::json::{Text, Value};

use crate::quantity::Quantity;
use crate::view;

/// A port on the host: protocol, address, number.
pub(crate) type HostPort = (Text, Text, i64);

/// Requests, host ports, and whether the pod keeps others away.
#[derive(Debug, Clone, Default)]
pub(crate) struct Needs {
    /// Requests in thousandths by resource name.
    pub(crate) requests: BTreeMap<Text, i128>,
    /// Ports on the host.
    pub(crate) ports: Vec<HostPort>,
    /// Whether it has a required anti-affinity to other pods.
    pub(crate) repels: bool,
    /// Uid of its controller; empty without one.
    pub(crate) owner: Text,
    /// Its priority: 0 when nobody gave it one.
    pub(crate) priority: i64,
}

impl Needs {
    /// Reads them off a pod.
    pub(crate) fn of(pod: &Value) -> Self {
        Self {
            requests: requests(pod),
            ports: ports(pod),
            repels: !super::affinity::pod_terms(pod, "podAntiAffinity").is_empty(),
            owner: view::controller_of(pod).map(|owner| view::shared(owner, &["uid"])).unwrap_or_default(),
            priority: view::count(pod, &["spec", "priority"]),
        }
    }

    /// Whether two pods want the same port; an address of 0.0.0.0 stands for all addresses.
    pub(crate) fn ports_collide(&self, other: &Self) -> bool {
        let any = |ip: &str| ip.is_empty() || ip == "0.0.0.0";
        self.ports
            .iter()
            .any(|(protocol, ip, port)| other.ports.iter().any(|(p, i, n)| p == protocol && n == port && (i == ip || any(i) || any(ip))))
    }
}

/// A quantity in thousandths; unreadable text counts as nothing, as validation lets none through.
pub(crate) fn milli(value: &Value) -> i128 {
    let read = match value {
        Value::String(text) => text.parse::<Quantity>(),
        other => other.to_string().parse(),
    };
    read.map_or(0, |q| q.milli())
}

/// The sum of the containers, or one init container if that is more; sidecars count as containers. Plus overhead.
fn requests(pod: &Value) -> BTreeMap<Text, i128> {
    let of = |container: &Value| -> Vec<(Text, i128)> {
        let requests = view::at(container, &["resources", "requests"]).and_then(Value::as_object);
        requests.into_iter().flatten().map(|(name, value)| (name.clone(), milli(value))).collect()
    };
    let mut total: BTreeMap<Text, i128> = BTreeMap::new();
    let mut add = |part: Vec<(Text, i128)>| part.into_iter().for_each(|(name, n)| *total.entry(name).or_default() += n);
    let (sidecars, inits): (Vec<&Value>, Vec<&Value>) =
        view::list(pod, &["spec", "initContainers"]).iter().partition(|c| view::text(c, &["restartPolicy"]) == "Always");
    view::list(pod, &["spec", "containers"]).iter().chain(sidecars).for_each(|c| add(of(c)));
    for (name, n) in inits.into_iter().flat_map(of) {
        let most = total.entry(name).or_default();
        *most = (*most).max(n);
    }
    let overhead = view::at(pod, &["spec", "overhead"]).and_then(Value::as_object);
    for (name, value) in overhead.into_iter().flatten() {
        *total.entry(name.clone()).or_default() += milli(value);
    }
    total
}

/// Host ports of containers and sidecars. In the network of the host every container port is one, also when the object was
/// stored before the server filled that in.
fn ports(pod: &Value) -> Vec<HostPort> {
    let host_network = view::flag(pod, &["spec", "hostNetwork"]);
    let sidecars = view::list(pod, &["spec", "initContainers"]).iter().filter(|c| view::text(c, &["restartPolicy"]) == "Always");
    view::list(pod, &["spec", "containers"])
        .iter()
        .chain(sidecars)
        .flat_map(|container| view::list(container, &["ports"]))
        .filter_map(|port| {
            let given = view::count(port, &["hostPort"]);
            let number = if given == 0 && host_network { view::count(port, &["containerPort"]) } else { given };
            let protocol = Some(view::text(port, &["protocol"])).filter(|p| !p.is_empty()).unwrap_or("TCP");
            (number > 0).then(|| (protocol.into(), view::text(port, &["hostIP"]).into(), number))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::json;

    fn with_port(port: Value) -> Needs {
        Needs::of(&json!({"spec": {"containers": [{"ports": [port]}]}}))
    }

    #[test]
    fn host_ports_collide_by_protocol_and_address() {
        let a = with_port(json!({"containerPort": 80, "hostPort": 8080}));
        assert!(a.ports_collide(&with_port(json!({"containerPort": 1, "hostPort": 8080, "hostIP": "10.0.0.1"}))));
        assert!(!a.ports_collide(&with_port(json!({"containerPort": 1, "hostPort": 8080, "protocol": "UDP"}))));
        let here = with_port(json!({"hostPort": 8080, "hostIP": "10.0.0.1"}));
        assert!(!here.ports_collide(&with_port(json!({"hostPort": 8080, "hostIP": "10.0.0.2"}))));
        assert!(!a.ports_collide(&with_port(json!({"containerPort": 8080}))));
        let on_host = Needs::of(&json!({"spec": {"hostNetwork": true, "containers": [{"ports": [{"containerPort": 8080}]}]}}));
        assert!(a.ports_collide(&on_host));
    }

    #[test]
    fn init_containers_count_as_the_greatest_of_them() {
        let c = |cpu: &str| json!({"resources": {"requests": {"cpu": cpu}}});
        let mut sidecar = c("100m");
        sidecar["restartPolicy"] = json!("Always");
        let needs = Needs::of(&json!({"spec": {"containers": [c("200m"), c("1")], "initContainers": [c("3"), sidecar, c("2")]}}));
        assert_eq!(needs.requests["cpu"], 3000);
        let needs = Needs::of(&json!({"spec": {"containers": [c("1500m")], "initContainers": [c("1")]}}));
        assert_eq!(needs.requests["cpu"], 1500);
    }
}
