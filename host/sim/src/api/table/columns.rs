//! What the table of each kind shows: one row of columns a kind.

use jiff::Timestamp;

use super::{cells, duration, network, pods, workloads};
use crate::crd::{self, Version};
use crate::json::{Value, json};
use crate::kinds::Kind;
use crate::view;

/// A column.
#[derive(Debug)]
pub(super) struct Column {
    name: &'static str,
    kind: &'static str,
    format: &'static str,
    /// 0: always shown; 1: shown when more is asked for.
    priority: u8,
    cell: Cell,
}

type Path = &'static [&'static str];

/// Where a cell comes from.
#[derive(Debug, Clone, Copy)]
enum Cell {
    /// The text at a path; empty when absent.
    Text(Path),
    /// The text at a path, or another one when it is absent or empty.
    TextOr(Path, &'static str),
    /// The integer at a path; 0 when absent.
    Int(Path),
    /// An integer made of the object.
    Number(fn(&Value) -> i64),
    /// Whether the value at a path is true.
    Flag(Path),
    /// How many entries the lists or maps at these paths have together.
    Count(&'static [Path]),
    /// How long ago the time at a path was.
    Since(Path),
    /// A text made of the object.
    Made(fn(&Value) -> String),
    /// A text made of the object and the time.
    MadeAt(fn(&Value, Timestamp) -> String),
    /// A label selector at a path.
    Selector(Path),
    /// Labels at a path.
    Labels(Path),
}

const fn column(name: &'static str, kind: &'static str, cell: Cell) -> Column {
    Column { name, kind, format: "", priority: 0, cell }
}

const fn text(name: &'static str, cell: Cell) -> Column {
    column(name, "string", cell)
}

const fn integer(name: &'static str, cell: Cell) -> Column {
    column(name, "integer", cell)
}

const fn wide(name: &'static str, cell: Cell) -> Column {
    Column { priority: 1, ..text(name, cell) }
}

const NAME: Column = Column { format: "name", ..text("Name", Cell::Text(&["metadata", "name"])) };
const AGE: Column = text("Age", Cell::Since(&["metadata", "creationTimestamp"]));
const CONTAINERS: Column = wide("Containers", Cell::Made(workloads::containers));
const IMAGES: Column = wide("Images", Cell::Made(workloads::images));
const SELECTOR: Column = wide("Selector", Cell::Selector(&["spec", "selector"]));
const DESIRED: Column = integer("Desired", Cell::Int(&["spec", "replicas"]));

/// What any kind shows that has nothing of its own.
const DEFAULT: &[Column] = &[NAME, column("Created At", "date", Cell::Text(&["metadata", "creationTimestamp"]))];

/// What the `scale` of any kind shows.
pub(super) const SCALE: &[Column] =
    &[text("Name", Cell::Text(&["metadata", "name"])), DESIRED, integer("Available", Cell::Int(&["status", "replicas"])), AGE];

const BINDING: &[Column] = &[
    NAME,
    text("Role", Cell::Made(|object| format!("{}/{}", view::text(object, &["roleRef", "kind"]), view::text(object, &["roleRef", "name"])))),
    AGE,
    wide("Users", Cell::Made(|object| workloads::subjects(object, "User"))),
    wide("Groups", Cell::Made(|object| workloads::subjects(object, "Group"))),
    wide("ServiceAccounts", Cell::Made(|object| workloads::subjects(object, "ServiceAccount"))),
];

const WEBHOOKS: &[Column] = &[NAME, integer("Webhooks", Cell::Count(&[&["webhooks"]])), AGE];

/// The columns of the kinds, by group and kind.
const TABLES: &[(&str, &str, &[Column])] = &[
    ("", "ConfigMap", &[NAME, text("Data", Cell::Count(&[&["data"], &["binaryData"]])), AGE]),
    ("", "Endpoints", &[NAME, text("Endpoints", Cell::Made(network::endpoints)), AGE]),
    (
        "",
        "Event",
        &[
            text("Last Seen", Cell::MadeAt(workloads::last_seen)),
            text("Type", Cell::Text(&["type"])),
            text("Reason", Cell::Text(&["reason"])),
            text("Object", Cell::Made(workloads::involved)),
            wide("Subobject", Cell::Text(&["involvedObject", "fieldPath"])),
            wide("Source", Cell::Made(workloads::event_source)),
            text("Message", Cell::Made(|event| view::text(event, &["message"]).trim().to_owned())),
            wide("First Seen", Cell::MadeAt(workloads::first_seen)),
            wide("Count", Cell::Number(workloads::event_count)),
            Column { format: "name", ..wide("Name", Cell::Text(&["metadata", "name"])) },
        ],
    ),
    ("", "Namespace", &[NAME, text("Status", Cell::Text(&["status", "phase"])), AGE]),
    (
        "",
        "Node",
        &[
            NAME,
            text("Status", Cell::Made(workloads::node_status)),
            text("Roles", Cell::Made(workloads::node_roles)),
            AGE,
            text("Version", Cell::Text(&["status", "nodeInfo", "kubeletVersion"])),
            wide("Internal-IP", Cell::Made(|node| workloads::node_address(node, "InternalIP"))),
            wide("External-IP", Cell::Made(|node| workloads::node_address(node, "ExternalIP"))),
            wide("OS-Image", Cell::TextOr(&["status", "nodeInfo", "osImage"], "<unknown>")),
            wide("Kernel-Version", Cell::Made(workloads::node_kernel)),
            wide("Container-Runtime", Cell::TextOr(&["status", "nodeInfo", "containerRuntimeVersion"], "<unknown>")),
        ],
    ),
    (
        "",
        "Pod",
        &[
            NAME,
            text("Ready", Cell::Made(pods::ready)),
            text("Status", Cell::Made(pods::status)),
            text("Restarts", Cell::MadeAt(pods::restarts)),
            AGE,
            wide("IP", Cell::TextOr(&["status", "podIP"], "<none>")),
            wide("Node", Cell::TextOr(&["spec", "nodeName"], "<none>")),
            wide("Nominated Node", Cell::TextOr(&["status", "nominatedNodeName"], "<none>")),
            wide("Readiness Gates", Cell::Made(pods::gates)),
        ],
    ),
    ("", "Secret", &[NAME, text("Type", Cell::Text(&["type"])), text("Data", Cell::Count(&[&["data"]])), AGE]),
    (
        "",
        "Service",
        &[
            NAME,
            text("Type", Cell::Text(&["spec", "type"])),
            text("Cluster-IP", Cell::TextOr(&["spec", "clusterIP"], "<none>")),
            text("External-IP", Cell::Made(network::external)),
            text("Port(s)", Cell::Made(network::service_ports)),
            AGE,
            wide("Selector", Cell::Labels(&["spec", "selector"])),
        ],
    ),
    ("", "ServiceAccount", &[NAME, AGE]),
    ("admissionregistration.k8s.io", "MutatingWebhookConfiguration", WEBHOOKS),
    ("admissionregistration.k8s.io", "ValidatingWebhookConfiguration", WEBHOOKS),
    (
        "apiregistration.k8s.io",
        "APIService",
        &[NAME, text("Service", Cell::Made(network::api_service)), text("Available", Cell::Made(network::api_available)), AGE],
    ),
    (
        "apps",
        "ControllerRevision",
        &[NAME, text("Controller", Cell::Made(workloads::owner)), text("Revision", Cell::Int(&["revision"])), AGE],
    ),
    (
        "apps",
        "DaemonSet",
        &[
            NAME,
            integer("Desired", Cell::Int(&["status", "desiredNumberScheduled"])),
            integer("Current", Cell::Int(&["status", "currentNumberScheduled"])),
            integer("Ready", Cell::Int(&["status", "numberReady"])),
            integer("Up-to-date", Cell::Int(&["status", "updatedNumberScheduled"])),
            integer("Available", Cell::Int(&["status", "numberAvailable"])),
            text("Node Selector", Cell::Labels(&["spec", "template", "spec", "nodeSelector"])),
            AGE,
            CONTAINERS,
            IMAGES,
            SELECTOR,
        ],
    ),
    (
        "apps",
        "Deployment",
        &[
            NAME,
            text("Ready", Cell::Made(workloads::ready)),
            text("Up-to-date", Cell::Int(&["status", "updatedReplicas"])),
            text("Available", Cell::Int(&["status", "availableReplicas"])),
            AGE,
            CONTAINERS,
            IMAGES,
            SELECTOR,
        ],
    ),
    (
        "apps",
        "ReplicaSet",
        &[
            NAME,
            DESIRED,
            integer("Current", Cell::Int(&["status", "replicas"])),
            integer("Ready", Cell::Int(&["status", "readyReplicas"])),
            AGE,
            CONTAINERS,
            IMAGES,
            SELECTOR,
        ],
    ),
    ("apps", "StatefulSet", &[NAME, text("Ready", Cell::Made(workloads::ready)), AGE, CONTAINERS, IMAGES]),
    (
        "autoscaling",
        "HorizontalPodAutoscaler",
        &[
            NAME,
            text("Reference", Cell::Made(workloads::scaled)),
            text("Targets", Cell::Made(workloads::targets)),
            text("MinPods", Cell::Made(|hpa| cells::int_or_text(view::at(hpa, &["spec", "minReplicas"]), "<unset>"))),
            text("MaxPods", Cell::Int(&["spec", "maxReplicas"])),
            text("Replicas", Cell::Int(&["status", "currentReplicas"])),
            AGE,
        ],
    ),
    (
        "batch",
        "CronJob",
        &[
            NAME,
            text("Schedule", Cell::Text(&["spec", "schedule"])),
            text("Timezone", Cell::TextOr(&["spec", "timeZone"], "<none>")),
            column("Suspend", "boolean", Cell::Made(workloads::suspended)),
            integer("Active", Cell::Count(&[&["status", "active"]])),
            text("Last Schedule", Cell::MadeAt(workloads::last_schedule)),
            AGE,
            CONTAINERS,
            IMAGES,
            wide("Selector", Cell::Selector(&["spec", "jobTemplate", "spec", "selector"])),
        ],
    ),
    (
        "batch",
        "Job",
        &[
            NAME,
            text("Status", Cell::Made(workloads::job_status)),
            text("Completions", Cell::Made(workloads::completions)),
            text("Duration", Cell::MadeAt(workloads::job_duration)),
            AGE,
            CONTAINERS,
            IMAGES,
            SELECTOR,
        ],
    ),
    ("coordination.k8s.io", "Lease", &[NAME, text("Holder", Cell::Text(&["spec", "holderIdentity"])), AGE]),
    (
        "discovery.k8s.io",
        "EndpointSlice",
        &[
            NAME,
            text("AddressType", Cell::Text(&["addressType"])),
            text("Ports", Cell::Made(network::slice_ports)),
            text("Endpoints", Cell::Made(network::slice_endpoints)),
            AGE,
        ],
    ),
    (
        "networking.k8s.io",
        "Ingress",
        &[
            NAME,
            text("Class", Cell::Made(network::ingress_class)),
            text("Hosts", Cell::Made(network::ingress_hosts)),
            text("Address", Cell::Made(network::balancers)),
            text("Ports", Cell::Made(|ingress| if view::list(ingress, &["spec", "tls"]).is_empty() { "80" } else { "80, 443" }.to_owned())),
            AGE,
        ],
    ),
    (
        "networking.k8s.io",
        "IngressClass",
        &[NAME, text("Controller", Cell::Text(&["spec", "controller"])), text("Parameters", Cell::Made(network::class_parameters)), AGE],
    ),
    ("networking.k8s.io", "NetworkPolicy", &[NAME, text("Pod-Selector", Cell::Selector(&["spec", "podSelector"])), AGE]),
    (
        "policy",
        "PodDisruptionBudget",
        &[
            NAME,
            text("Min Available", Cell::Made(|budget| cells::int_or_text(view::at(budget, &["spec", "minAvailable"]), "N/A"))),
            text("Max Unavailable", Cell::Made(|budget| cells::int_or_text(view::at(budget, &["spec", "maxUnavailable"]), "N/A"))),
            integer("Allowed Disruptions", Cell::Int(&["status", "disruptionsAllowed"])),
            AGE,
        ],
    ),
    ("rbac.authorization.k8s.io", "ClusterRoleBinding", BINDING),
    ("rbac.authorization.k8s.io", "RoleBinding", BINDING),
    (
        "scheduling.k8s.io",
        "PriorityClass",
        &[
            NAME,
            integer("Value", Cell::Int(&["value"])),
            column("Global-Default", "boolean", Cell::Flag(&["globalDefault"])),
            AGE,
            text("PreemptionPolicy", Cell::Text(&["preemptionPolicy"])),
        ],
    ),
];

/// The columns of a kind.
pub(super) fn of(kind: &Kind) -> &'static [Column] {
    let row = TABLES.iter().find(|(group, name, _)| *group == kind.group && *name == kind.kind);
    row.map_or(DEFAULT, |(_, _, columns)| columns)
}

/// The columns of a custom resource: its name, and what its definition says.
pub(super) fn of_custom(version: &Version) -> impl Iterator<Item = Value> {
    let column = |column: &crd::Column| {
        json!({"name": column.name, "type": column.kind, "format": column.format, "description": column.description,
            "priority": column.priority})
    };
    [NAME.definition()].into_iter().chain(version.columns.iter().map(column))
}

/// The cells of a custom resource. What is not there, or of another type than the column, is null.
pub(super) fn custom_cells<'a>(version: &'a Version, object: &'a Value, now: Timestamp) -> impl Iterator<Item = Value> + use<'a> {
    let cell = move |column: &crd::Column| {
        let Some(found) = column.path.as_ref().and_then(|path| path.find(object).into_iter().next()) else { return Value::Null };
        match (column.kind.as_str(), found) {
            (_, Value::Null) => Value::Null,
            ("string", Value::String(_)) => found.clone(),
            ("string", other) => other.to_string().into(),
            ("integer", Value::Number(_)) => {
                found.as_i64().or_else(|| found.as_f64().map(|number| number as i64)).map_or(Value::Null, Value::from)
            }
            ("number", Value::Number(_)) | ("boolean", Value::Bool(_)) => found.clone(),
            ("date", Value::String(text)) => match text.parse() {
                Ok(then) => duration::since(now, Some(then)).into(),
                Err(_) => "<invalid>".into(),
            },
            _ => Value::Null,
        }
    };
    [NAME.cell(object, now)].into_iter().chain(version.columns.iter().map(cell))
}

impl Column {
    /// The column as a table declares it.
    pub(super) fn definition(&self) -> Value {
        json!({"name": self.name, "type": self.kind, "format": self.format, "description": "", "priority": self.priority})
    }

    /// The cell of an object.
    pub(super) fn cell(&self, object: &Value, now: Timestamp) -> Value {
        let count = |path: &Path| match view::at(object, path) {
            Some(Value::Array(items)) => items.len(),
            Some(Value::Object(fields)) => fields.len(),
            _ => 0,
        };
        match self.cell {
            Cell::Text(path) => view::text(object, path).into(),
            Cell::TextOr(path, empty) => cells::or(view::text(object, path), empty).into(),
            Cell::Int(path) => view::count(object, path).into(),
            Cell::Number(make) => make(object).into(),
            Cell::Flag(path) => view::flag(object, path).into(),
            Cell::Count(paths) => paths.iter().map(count).sum::<usize>().into(),
            Cell::Since(path) => duration::since(now, view::time(object, path)).into(),
            Cell::Made(make) => make(object).into(),
            Cell::MadeAt(make) => make(object, now).into(),
            Cell::Selector(path) => cells::selector(view::at(object, path)).into(),
            Cell::Labels(path) => cells::labels(view::at(object, path)).into(),
        }
    }
}
