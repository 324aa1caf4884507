//! Checks of volumes, and of where they are mounted.

use std::collections::{BTreeMap, BTreeSet};

use crate::json::Value;

use super::{common, container, sources};
use crate::quantity::Quantity;
use crate::status::Cause;
use crate::view;

const MODE_TEXT: &str = "must be a number between 0 and 0777 (octal), both inclusive";
/// The types of volumes, in the order in which the server looks for them.
const TYPES: [&str; 30] = [
    "emptyDir",
    "hostPath",
    "gitRepo",
    "gcePersistentDisk",
    "awsElasticBlockStore",
    "secret",
    "nfs",
    "iscsi",
    "glusterfs",
    "flocker",
    "persistentVolumeClaim",
    "rbd",
    "cinder",
    "cephfs",
    "quobyte",
    "downwardAPI",
    "fc",
    "flexVolume",
    "configMap",
    "azureFile",
    "vsphereVolume",
    "photonPersistentDisk",
    "portworxVolume",
    "azureDisk",
    "storageos",
    "projected",
    "scaleIO",
    "csi",
    "ephemeral",
    "image",
];
const HOST_TYPES: [&str; 8] = ["", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket"];

/// Volumes that containers can use, by name.
pub(super) type Volumes<'a> = BTreeMap<&'a str, &'a Value>;

/// Checks the volumes of a pod and gives those that are right. In a template an image may still be missing.
pub(super) fn check<'a>(spec: &'a Value, field: &str, is_pod: bool, causes: &mut Vec<Cause>) -> Volumes<'a> {
    let mut right = Volumes::new();
    for (at, volume) in view::list(spec, &["volumes"]).iter().enumerate() {
        let field = format!("{field}.volumes[{at}]");
        let (before, name) = (causes.len(), view::text(volume, &["name"]));
        source(volume, &field, is_pod, causes);
        let field = format!("{field}.name");
        if common::required(name, &field, "", causes) {
            common::label(name, &field, causes);
        }
        if right.contains_key(name) {
            causes.push(Cause::duplicate(field, &name.into()));
        }
        if causes.len() == before {
            right.insert(name, volume);
        }
    }
    right
}

/// A volume is of one type.
fn source(volume: &Value, field: &str, is_pod: bool, causes: &mut Vec<Cause>) {
    let given = TYPES.iter().filter(|kind| volume.get(**kind).is_some_and(|source| !source.is_null()));
    for (number, kind) in given.enumerate() {
        let field = format!("{field}.{kind}");
        match volume.get(*kind) {
            Some(source) if number == 0 => of_type(kind, source, &field, is_pod, causes),
            _ => causes.push(Cause::forbidden(field, "may not specify more than 1 volume type")),
        }
    }
}

fn of_type(kind: &str, source: &Value, field: &str, is_pod: bool, causes: &mut Vec<Cause>) {
    let text = |name: &str| view::text(source, &[name]);
    let mut need = |name: &str| common::required(text(name), &format!("{field}.{name}"), "", causes);
    match kind {
        "emptyDir" => {
            let limit = source.get("sizeLimit").and_then(common::quantity);
            if limit.is_some_and(|limit| limit < Quantity::from_int(0)) {
                causes.push(Cause::forbidden(format!("{field}.sizeLimit"), "SizeLimit field must be a valid resource quantity"));
            }
        }
        "hostPath" if need("path") => {
            descends(text("path"), &format!("{field}.path"), causes);
            common::one_of(text("type"), &format!("{field}.type"), &HOST_TYPES, causes);
        }
        "secret" | "configMap" => {
            need(if kind == "secret" { "secretName" } else { "name" });
            mode(source, "defaultMode", field, causes);
            keys(source, field, &mut |_| None, causes);
        }
        "nfs" => {
            need("server");
            need("path");
            if !text("path").starts_with('/') {
                causes.push(Cause::invalid(format!("{field}.path"), &text("path").into(), "must be an absolute path"));
            }
        }
        "csi" => csi(source, field, causes),
        "ephemeral" if source.get("volumeClaimTemplate").is_none() => {
            causes.push(Cause::required(format!("{field}.volumeClaimTemplate"), ""));
        }
        "downwardAPI" => {
            mode(source, "defaultMode", field, causes);
            view::list(source, &["items"]).iter().for_each(|file| file_of_pod(file, field, causes));
        }
        "projected" => projected(source, field, causes),
        "rbd" | "cephfs" if view::list(source, &["monitors"]).is_empty() => causes.push(Cause::required(format!("{field}.monitors"), "")),
        "fc" if view::list(source, &["targetWWNs"]).is_empty() == view::list(source, &["wwids"]).is_empty() => {
            let why = "must specify either targetWWNs or wwids, but not both";
            causes.push(Cause::required(format!("{field}.targetWWNs"), why));
        }
        _ => {}
    }
    let needed: &[&str] = match kind {
        "persistentVolumeClaim" => &["claimName"],
        "gitRepo" => &["repository"],
        "iscsi" => &["targetPortal", "iqn"],
        "glusterfs" => &["endpoints", "path"],
        "azureFile" => &["secretName", "shareName"],
        "rbd" => &["image"],
        "image" if is_pod => &["reference"],
        _ => &[],
    };
    for name in needed {
        common::required(text(name), &format!("{field}.{name}"), "", causes);
    }
    if kind == "image" {
        container::pull_policy(source, "pullPolicy", field, causes);
    }
}

fn csi(source: &Value, field: &str, causes: &mut Vec<Cause>) {
    let driver = view::text(source, &["driver"]);
    let place = format!("{field}.driver");
    if common::required(driver, &place, "", causes) {
        common::subdomain(&driver.to_lowercase(), &place, causes);
        if let Some(cause) = causes.last_mut().filter(|cause| cause.field == place) {
            cause.message = cause.message.replace(&driver.to_lowercase(), driver);
        }
    }
    if let Some(secret) = source.get("nodePublishSecretRef").filter(|secret| !secret.is_null()) {
        let name = view::text(secret, &["name"]);
        if common::required(name, &format!("{field}.nodePublishSecretRef.name"), "", causes) {
            common::subdomain(name, &format!("{field}.name"), causes);
        }
    }
}

/// The bits of a file's mode.
fn mode(source: &Value, name: &str, field: &str, causes: &mut Vec<Cause>) {
    if let Some(bits) = view::int(source, &[name]).filter(|bits| !(0..=0o777).contains(bits)) {
        causes.push(Cause::invalid(format!("{field}.{name}"), &bits.into(), MODE_TEXT));
    }
}

/// Keys and the files that they become; `clash` says what is wrong with a path that another file has.
fn keys(source: &Value, field: &str, clash: &mut dyn FnMut(&str) -> Option<Cause>, causes: &mut Vec<Cause>) {
    for (at, item) in view::list(source, &["items"]).iter().enumerate() {
        let (field, path) = (format!("{field}.items[{at}]"), view::text(item, &["path"]));
        common::required(view::text(item, &["key"]), &format!("{field}.key"), "", causes);
        common::required(path, &format!("{field}.path"), "", causes);
        stays_inside(path, &format!("{field}.path"), causes);
        mode(item, "mode", &field, causes);
        causes.extend(clash(path));
    }
}

/// A file with a field of the pod or an amount of a container. The server names the list and not the file.
fn file_of_pod(file: &Value, field: &str, causes: &mut Vec<Cause>) {
    let path = view::text(file, &["path"]);
    common::required(path, &format!("{field}.path"), "", causes);
    stays_inside(path, &format!("{field}.path"), causes);
    let part = |name: &str| file.get(name).filter(|part| !part.is_null());
    match (part("fieldRef"), part("resourceFieldRef")) {
        (Some(of_pod), of_container) => {
            sources::field_of_pod(of_pod, &format!("{field}.fieldRef"), &sources::OF_FILES, causes);
            if of_container.is_some() {
                let why = "fieldRef and resourceFieldRef can not be specified simultaneously";
                causes.push(Cause::invalid(field, &"resource".into(), why));
            }
        }
        (None, Some(of_container)) => {
            sources::amount_of_container(of_container, &format!("{field}.resourceFieldRef"), true, causes);
        }
        (None, None) => causes.push(Cause::required(field, "one of fieldRef and resourceFieldRef is required")),
    }
    mode(file, "mode", field, causes);
}

/// Several sources under one roof.
fn projected(volume: &Value, field: &str, causes: &mut Vec<Cause>) {
    mode(volume, "defaultMode", field, causes);
    let mut taken = BTreeSet::new();
    for (at, source) in view::list(volume, &["sources"]).iter().enumerate() {
        let place = format!("{field}.sources[{at}]");
        let part = |name: &str| source.get(name).filter(|part| !part.is_null());
        let mut clash = |path: &str, shown: &str| {
            let double = !path.is_empty() && !taken.insert(path.to_owned());
            double.then(|| Cause::invalid(field, &shown.into(), "conflicting duplicate paths"))
        };
        for kind in ["secret", "configMap"] {
            let Some(given) = part(kind) else { continue };
            let (field, name) = (format!("{place}.{kind}"), view::text(given, &["name"]));
            common::required(name, &format!("{field}.name"), "", causes);
            keys(given, &field, &mut |path| clash(path, name), causes);
        }
        if let Some(given) = part("downwardAPI") {
            for file in view::list(given, &["items"]) {
                file_of_pod(file, &format!("{place}.downwardAPI"), causes);
                let path = view::text(file, &["path"]);
                causes.extend(clash(path, path));
            }
        }
        if let Some(given) = part("serviceAccountToken") {
            token(given, field, &format!("{place}.serviceAccountToken"), causes);
        }
        let several = ["secret", "configMap", "downwardAPI", "serviceAccountToken", "clusterTrustBundle", "podCertificate"];
        if several.into_iter().filter(|name| part(name).is_some()).count() > 1 {
            causes.push(Cause::forbidden(place, "may not specify more than 1 volume type per source"));
        }
    }
}

/// A token lasts at least ten minutes. The server names its path as one of the volume.
fn token(given: &Value, volume: &str, field: &str, causes: &mut Vec<Cause>) {
    let (seconds, path) = (view::count(given, &["expirationSeconds"]), view::text(given, &["path"]));
    let mut wrong = |why: &str| causes.push(Cause::invalid(format!("{field}.expirationSeconds"), &seconds.into(), why));
    if seconds < 600 {
        wrong("may not specify a duration less than 10 minutes");
    }
    if seconds > 1 << 32 {
        wrong("may not specify a duration larger than 2^32 seconds");
    }
    let place = format!("{volume}.path");
    if common::required(path, &place, "", causes) {
        stays_inside(path, &place, causes);
    }
}

/// A pod without an account has no token of one. Templates may leave the account to the defaults of their pods.
pub(super) fn tokens_need_an_account(spec: &Value, causes: &mut Vec<Cause>) {
    if !view::text(spec, &["serviceAccountName"]).is_empty() {
        return;
    }
    for (at, volume) in view::list(spec, &["volumes"]).iter().enumerate() {
        for (number, source) in view::list(volume, &["projected", "sources"]).iter().enumerate() {
            if source.get("serviceAccountToken").is_some_and(|token| !token.is_null()) {
                let field = format!("spec.volumes[{at}].projected.sources[{number}].serviceAccountToken");
                causes.push(Cause::forbidden(field, "must not be specified when serviceAccountName is not set"));
            }
        }
    }
}

fn steps_back(path: &str) -> bool {
    path.split('/').any(|step| step == "..")
}

/// A path that does not lead out again.
pub(super) fn descends(path: &str, field: &str, causes: &mut Vec<Cause>) {
    if steps_back(path) {
        causes.push(Cause::invalid(field, &path.into(), "must not contain '..'"));
    }
}

/// A path below a place that is not known yet.
pub(super) fn relative(path: &str, field: &str, causes: &mut Vec<Cause>) {
    if path.starts_with('/') {
        causes.push(Cause::invalid(field, &path.into(), "must be a relative path"));
    }
    descends(path, field, causes);
}

/// As [`relative`], and not one that the kubelet uses itself.
fn stays_inside(path: &str, field: &str, causes: &mut Vec<Cause>) {
    relative(path, field, causes);
    if path.starts_with("..") && !path.starts_with("../") {
        causes.push(Cause::invalid(field, &path.into(), "must not start with '..'"));
    }
}

/// Where volumes are mounted: each at a place of its own. Some faults the server tells of the list and not of the mount.
pub(super) fn mounts(container: &Value, field: &str, volumes: &Volumes<'_>, causes: &mut Vec<Cause>) {
    let mut taken = BTreeSet::new();
    let devices = view::list(container, &["volumeDevices"]);
    for (at, mount) in view::list(container, &["volumeMounts"]).iter().enumerate() {
        let (list, field) = (format!("{field}.volumeMounts"), format!("{field}.volumeMounts[{at}]"));
        let text = |name: &str| view::text(mount, &[name]);
        let (name, path) = (text("name"), text("mountPath"));
        common::required(name, &format!("{field}.name"), "", causes);
        if !volumes.contains_key(name) {
            causes.push(Cause::not_found(format!("{field}.name"), &name.into()));
        }
        common::required(path, &format!("{field}.mountPath"), "", causes);
        if !taken.insert(path) {
            causes.push(Cause::invalid(format!("{field}.mountPath"), &path.into(), "must be unique"));
        }
        if devices.iter().any(|device| view::text(device, &["name"]) == name) {
            causes.push(Cause::invalid(format!("{field}.name"), &name.into(), "must not already exist in volumeDevices"));
        }
        if devices.iter().any(|device| view::text(device, &["devicePath"]) == path) {
            causes.push(Cause::invalid(format!("{field}.mountPath"), &path.into(), "must not already exist as a path in volumeDevices"));
        }
        relative(text("subPath"), &format!("{list}.subPath"), causes);
        if !text("subPathExpr").is_empty() {
            if !text("subPath").is_empty() {
                let why = "subPathExpr and subPath are mutually exclusive";
                causes.push(Cause::invalid(format!("{field}.subPathExpr"), &text("subPathExpr").into(), why));
            }
            relative(text("subPathExpr"), &format!("{list}.subPathExpr"), causes);
        }
        propagation(mount, container, &list, causes);
    }
}

fn propagation(mount: &Value, container: &Value, list: &str, causes: &mut Vec<Cause>) {
    let given = view::text(mount, &["mountPropagation"]);
    let place = format!("{list}.mountPropagation");
    if mount.get("mountPropagation").is_some_and(|given| !given.is_null()) {
        common::one_of(given, &place, &["Bidirectional", "HostToContainer", "None"], causes);
        if given == "Bidirectional" && !view::flag(container, &["securityContext", "privileged"]) {
            causes.push(Cause::forbidden(place, "Bidirectional mount propagation is available only to privileged containers"));
        }
    }
    let place = format!("{list}.recursiveReadOnly");
    match mount.get("recursiveReadOnly").and_then(Value::as_str) {
        None | Some("Disabled") => {}
        Some("Enabled" | "IfPossible") => {
            if !view::flag(mount, &["readOnly"]) {
                causes.push(Cause::forbidden(place.as_str(), "may only be specified when readOnly is true"));
            }
            if !matches!(given, "" | "None") {
                causes.push(Cause::forbidden(place, "may only be specified when mountPropagation is None or not specified"));
            }
        }
        Some(other) => common::one_of(other, &place, &["Disabled", "Enabled", "IfPossible"], causes),
    }
}

/// Volumes that are given as devices.
pub(super) fn devices(container: &Value, field: &str, volumes: &Volumes<'_>, causes: &mut Vec<Cause>) {
    let (mut names, mut paths) = (BTreeSet::new(), BTreeSet::new());
    let mounts = view::list(container, &["volumeMounts"]);
    for (at, device) in view::list(container, &["volumeDevices"]).iter().enumerate() {
        let field = format!("{field}.volumeDevices[{at}]");
        let (name, path) = (view::text(device, &["name"]), view::text(device, &["devicePath"]));
        let (of_name, of_path) = (format!("{field}.name"), format!("{field}.devicePath"));
        common::required(name, &of_name, "", causes);
        if names.contains(name) {
            causes.push(Cause::invalid(of_name.as_str(), &name.into(), "must be unique"));
        }
        match volumes.get(name) {
            Some(volume) if volume.get("persistentVolumeClaim").is_none() && volume.get("ephemeral").is_none() => {
                let why = "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode";
                causes.push(Cause::invalid(of_name.as_str(), &name.into(), why));
            }
            Some(_) => {}
            None => causes.push(Cause::not_found(of_name.as_str(), &name.into())),
        }
        common::required(path, &of_path, "", causes);
        if paths.contains(path) {
            causes.push(Cause::invalid(of_path.as_str(), &path.into(), "must be unique"));
        }
        if steps_back(path) {
            causes.push(Cause::invalid(of_path.as_str(), &path.into(), "can not contain backsteps ('..')"));
        } else {
            paths.insert(path);
        }
        if mounts.iter().any(|mount| view::text(mount, &["name"]) == name) {
            causes.push(Cause::invalid(of_name, &name.into(), "must not already exist in volumeMounts"));
        }
        if mounts.iter().any(|mount| view::text(mount, &["mountPath"]) == path) {
            causes.push(Cause::invalid(of_path, &path.into(), "must not already exist as a path in volumeMounts"));
        }
        if !name.is_empty() {
            names.insert(name);
        }
    }
}
