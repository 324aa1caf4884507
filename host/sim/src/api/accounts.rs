//! The admission plugin `ServiceAccount`: every pod runs as an account of its namespace and gets a volume with a token of it.
//!
//! Order and texts are those of `plugin/pkg/admission/serviceaccount/admission.go` of v1.36. It is on by default in a real server and off
//! here unless [`crate::Options::service_accounts`] says otherwise, as most clusters of a fixture have no accounts.

use crate::json::{Value, json};

use crate::kinds;
use crate::status::Status;
use crate::store::{Key, Store};
use crate::view;

/// What a pod runs as that says nothing.
const DEFAULT: &str = "default";
/// Where the token is in a container.
const PLACE: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
/// What the name of the volume begins with; the rest is drawn.
const VOLUME: &str = "kube-api-access-";
/// An hour and seven seconds: the kubelet takes it for a wish for an hour, and tells tokens of this plugin from others by it.
const SECONDS: i64 = 3607;
/// The pod of a file on the node has no account.
const MIRROR: &str = "kubernetes.io/config.mirror";

/// Gives a new pod its account and the volume with the token. Nothing happens where the plugin is off.
///
/// # Errors
/// 403 when there is no such account.
pub(crate) fn admit(store: &mut Store, pod: &mut Value) -> Result<(), Status> {
    if !store.has_accounts() || view::annotation(pod, MIRROR).is_some() {
        return Ok(());
    }
    let given = ["serviceAccountName", "serviceAccount"].map(|field| view::text(pod, &["spec", field]).to_owned());
    let name = given.into_iter().find(|name| !name.is_empty()).unwrap_or_else(|| DEFAULT.to_owned());
    view::set(pod, &["spec", "serviceAccountName"], name.as_str());
    let key = Key::new(kinds::SERVICE_ACCOUNT, view::namespace(pod), &name);
    let Some(account) = store.get(&key).cloned() else {
        let why = format!("error looking up service account {}/{name}: serviceaccount {name:?} not found", view::namespace(pod));
        return Err(Status::forbidden(kinds::POD, &shown(pod), &why));
    };
    let wish = |object: &Value, path: &[&str]| view::at(object, path).and_then(Value::as_bool);
    let mounts = wish(pod, &["spec", "automountServiceAccountToken"]).or_else(|| wish(&account, &["automountServiceAccountToken"]));
    if mounts.unwrap_or(true) {
        mount(store, pod);
    }
    let secrets = view::list(&account, &["imagePullSecrets"]);
    if view::list(pod, &["spec", "imagePullSecrets"]).is_empty() && !secrets.is_empty() {
        view::set(pod, &["spec", "imagePullSecrets"], secrets.to_vec());
    }
    Ok(())
}

/// The name of an object, or the beginning of one that is yet to be made.
fn shown(object: &Value) -> String {
    let name = view::name(object);
    if name.is_empty() { view::text(object, &["metadata", "generateName"]).to_owned() } else { name.to_owned() }
}

/// Mounts the token into every container that has nothing at its place.
fn mount(store: &mut Store, pod: &mut Value) {
    let volumes = view::list(pod, &["spec", "volumes"]);
    let known = volumes.iter().map(|volume| view::text(volume, &["name"])).find(|name| name.starts_with(VOLUME)).map(str::to_owned);
    let name = known.clone().unwrap_or_else(|| format!("{VOLUME}{}", store.rng().suffix(5)));
    let mut needed = false;
    for list in ["initContainers", "containers"] {
        for container in view::list_mut(pod, &["spec", list]).into_iter().flat_map(|list| list.iter_mut()) {
            if view::list(container, &["volumeMounts"]).iter().any(|mount| view::text(mount, &["mountPath"]) == PLACE) {
                continue;
            }
            needed = true;
            if let Some(mounts) = view::list_mut(container, &["volumeMounts"]) {
                mounts.push(json!({"name": name, "readOnly": true, "mountPath": PLACE}));
            }
        }
    }
    if needed
        && known.is_none()
        && let Some(volumes) = view::list_mut(pod, &["spec", "volumes"])
    {
        volumes.push(volume(&name));
    }
}

fn volume(name: &str) -> Value {
    json!({"name": name, "projected": {"defaultMode": 420, "sources": [
        {"serviceAccountToken": {"expirationSeconds": SECONDS, "path": "token"}},
        {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
        {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}]}},
    ]}})
}
