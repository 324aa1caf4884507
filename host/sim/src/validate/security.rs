//! Checks of security contexts, of pods and of containers.

use std::collections::BTreeSet;

use crate::json::Value;

use super::{common, volumes};
use crate::status::Cause;
use crate::view;

const ID_TEXT: &str = "must be between 0 and 2147483647, inclusive";
const SYSCTL_TEXT: &str =
    "must have at most 253 characters and match regex ^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$";

/// What a container may do. Without users of its own (`hostUsers`) it sees `/proc` masked.
pub(super) fn of_container(container: &Value, field: &str, host_users: bool, causes: &mut Vec<Cause>) {
    let Some(context) = container.get("securityContext").filter(|context| !context.is_null()) else { return };
    let field = &format!("{field}.securityContext");
    for name in ["runAsUser", "runAsGroup"] {
        id(context, name, field, causes);
    }
    if let Some(mount) = context.get("procMount").and_then(Value::as_str) {
        let place = format!("{field}.procMount");
        common::one_of(mount, &place, &["Default", "Unmasked"], causes);
        if host_users && mount == "Unmasked" {
            causes.push(Cause::invalid(place, &mount.into(), "`hostUsers` must be false to use `Unmasked`"));
        }
    }
    seccomp(context, field, causes);
    if context.get("allowPrivilegeEscalation").and_then(Value::as_bool) == Some(false) {
        let mut wrong = |why: &str| causes.push(Cause::invalid_text(field, &shown(context), why));
        if view::flag(context, &["privileged"]) {
            wrong("cannot set `allowPrivilegeEscalation` to false and `privileged` to true");
        }
        for _ in view::list(context, &["capabilities", "add"]).iter().filter(|one| one.as_str() == Some("CAP_SYS_ADMIN")) {
            wrong("cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN");
        }
    }
    app_armor(context, field, causes);
}

/// A context as the server shows it: its own type, with all fields in their order.
fn shown(context: &Value) -> String {
    const FIELDS: [(&str, &str); 12] = [
        ("Capabilities", "capabilities"),
        ("Privileged", "privileged"),
        ("SELinuxOptions", "seLinuxOptions"),
        ("WindowsOptions", "windowsOptions"),
        ("RunAsUser", "runAsUser"),
        ("RunAsGroup", "runAsGroup"),
        ("RunAsNonRoot", "runAsNonRoot"),
        ("ReadOnlyRootFilesystem", "readOnlyRootFilesystem"),
        ("AllowPrivilegeEscalation", "allowPrivilegeEscalation"),
        ("ProcMount", "procMount"),
        ("SeccompProfile", "seccompProfile"),
        ("AppArmorProfile", "appArmorProfile"),
    ];
    let value = |name: &str| match context.get(name) {
        Some(list) if name == "capabilities" && !list.is_null() => {
            let part = |name: &str| list.get(name).cloned().unwrap_or_default();
            format!(r#"{{"Add":{},"Drop":{}}}"#, part("add"), part("drop"))
        }
        Some(value) => value.to_string(),
        None => "null".to_owned(),
    };
    let members: Vec<String> = FIELDS.iter().map(|(shown, name)| format!("{shown:?}:{}", value(name))).collect();
    format!("{{{}}}", members.join(","))
}

/// What all containers of a pod may do.
pub(super) fn of_pod(spec: &Value, field: &str, causes: &mut Vec<Cause>) {
    let context = spec.get("securityContext").unwrap_or(&Value::Null);
    let field = &format!("{field}.securityContext");
    for name in ["fsGroup", "runAsUser", "runAsGroup"] {
        id(context, name, field, causes);
    }
    for (at, group) in view::list(context, &["supplementalGroups"]).iter().enumerate() {
        if let Some(number) = group.as_i64().filter(|number| !is_id(*number)) {
            causes.push(Cause::invalid(format!("{field}.supplementalGroups[{at}]"), &number.into(), ID_TEXT));
        }
    }
    if view::flag(spec, &["shareProcessNamespace"]) && view::flag(spec, &["hostPID"]) {
        let why = "ShareProcessNamespace and HostPID cannot both be enabled";
        causes.push(Cause::invalid(format!("{field}.shareProcessNamespace"), &true.into(), why));
    }
    sysctls(spec, context, field, causes);
    let known = ["Always", "OnRootMismatch"];
    common::one_of_if_any(context, &["fsGroupChangePolicy"], &format!("{field}.fsGroupChangePolicy"), &known, causes);
    seccomp(context, field, causes);
    app_armor(context, field, causes);
    let known = ["Merge", "Strict"];
    common::one_of_if_any(context, &["supplementalGroupsPolicy"], &format!("{field}.supplementalGroupsPolicy"), &known, causes);
    // The other one is a feature that is off by default.
    let known = ["Recursive"];
    common::one_of_if_any(context, &["seLinuxChangePolicy"], &format!("{field}.seLinuxChangePolicy"), &known, causes);
}

/// Users and groups are numbers of 31 bits.
fn is_id(number: i64) -> bool {
    (0..=i64::from(i32::MAX)).contains(&number)
}

fn id(context: &Value, name: &str, field: &str, causes: &mut Vec<Cause>) {
    if let Some(number) = view::int(context, &[name]).filter(|number| !is_id(*number)) {
        causes.push(Cause::invalid(format!("{field}.{name}"), &number.into(), ID_TEXT));
    }
}

/// Settings of the kernel; those of a namespace that the pod shares with its node may not be set.
fn sysctls(spec: &Value, context: &Value, field: &str, causes: &mut Vec<Cause>) {
    let mut names = BTreeSet::new();
    for (at, one) in view::list(context, &["sysctls"]).iter().enumerate() {
        let (name, field) = (view::text(one, &["name"]), format!("{field}.sysctls[{at}].name"));
        if common::required(name, &field, "", causes) {
            if !is_sysctl(name) {
                causes.push(Cause::invalid(field.as_str(), &name.into(), SYSCTL_TEXT));
            } else if names.contains(name) {
                causes.push(Cause::duplicate(field.as_str(), &name.into()));
            }
        }
        let dotted = name.replace('/', ".");
        let of_net = view::flag(spec, &["hostNetwork"]) && dotted.starts_with("net.");
        let of_ipc = view::flag(spec, &["hostIPC"])
            && (["kernel.shm", "kernel.msg", "fs.mqueue."].iter().any(|prefix| dotted.starts_with(prefix)) || dotted == "kernel.sem");
        if of_net {
            causes.push(Cause::invalid(field, &name.into(), "may not be specified when 'hostNetwork' is true"));
        } else if of_ipc {
            causes.push(Cause::invalid(field, &name.into(), "may not be specified when 'hostIPC' is true"));
        }
        names.insert(name);
    }
}

/// Segments of small letters, digits, hyphens and underscores between dots or slashes.
fn is_sysctl(name: &str) -> bool {
    let edge = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'_';
    name.len() <= 253
        && name.split(['.', '/']).all(|part| edge(part.bytes().next()) && edge(part.bytes().last()) && part.bytes().all(inner))
}

fn seccomp(context: &Value, field: &str, causes: &mut Vec<Cause>) {
    let Some(profile) = context.get("seccompProfile").filter(|profile| !profile.is_null()) else { return };
    let field = format!("{field}.seccompProfile");
    let kind = view::text(profile, &["type"]);
    if common::required(kind, &format!("{field}.type"), "type is required when seccompProfile is set", causes) {
        common::one_of(kind, &format!("{field}.type"), &["Localhost", "RuntimeDefault", "Unconfined"], causes);
    }
    let (place, file) = (format!("{field}.localhostProfile"), profile.get("localhostProfile").and_then(Value::as_str));
    match file {
        None if kind == "Localhost" => causes.push(Cause::required(place, "must be set when seccomp type is Localhost")),
        Some(file) if kind == "Localhost" => volumes::relative(file, &place, causes),
        None => {}
        Some(file) => {
            let shown = format!(r#"{{"Type":{kind:?},"LocalhostProfile":{file:?}}}"#);
            causes.push(Cause::invalid_text(place, &shown, "can only be set when seccomp type is Localhost"));
        }
    }
}

fn app_armor(context: &Value, field: &str, causes: &mut Vec<Cause>) {
    let Some(profile) = context.get("appArmorProfile").filter(|profile| !profile.is_null()) else { return };
    let field = format!("{field}.appArmorProfile");
    let (place, file) = (format!("{field}.localhostProfile"), profile.get("localhostProfile").and_then(Value::as_str));
    match (view::text(profile, &["type"]), file) {
        ("Localhost", Some(file)) if file.trim() != file => {
            causes.push(Cause::invalid(place, &file.into(), "must not be padded with whitespace"));
        }
        ("Localhost", None | Some("")) => causes.push(Cause::required(place, "must be set when AppArmor type is Localhost")),
        ("RuntimeDefault" | "Unconfined", Some(file)) => {
            causes.push(Cause::invalid(place, &file.into(), "can only be set when AppArmor type is Localhost"));
        }
        ("Localhost" | "RuntimeDefault" | "Unconfined", _) => {}
        ("", _) => causes.push(Cause::required(format!("{field}.type"), "type is required when appArmorProfile is set")),
        (other, _) => common::one_of(other, &format!("{field}.type"), &["Localhost", "RuntimeDefault", "Unconfined"], causes),
    }
}
