//! The certificates of one control plane: an authority made for it, one certificate per user, one kubeconfig each.

use std::fs;
use std::path::Path;

use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose};

use super::Outcome;

/// Everybody who speaks to the API server, and the group that gives the rights.
///
/// The controllers have rights of their own that no single role of the server grants, so they are administrators under a
/// name that the audit log can tell apart.
const USERS: [(&str, &str); 6] = [
    ("admin", "system:masters"),
    ("operator", "system:masters"),
    ("controllers", "system:masters"),
    ("kubelets", "system:masters"),
    ("system:kube-scheduler", ""),
    ("nobody", ""),
];

/// Writes `ca.crt`, `server.crt`, `server.key`, `accounts.key`, `accounts.pub` and `USER.kubeconfig` for every user.
///
/// # Errors
/// What could not be made or written.
pub(crate) fn write(folder: &Path, port: u16) -> Outcome {
    let (authority, certificate) = authority().map_err(|error| format!("making the test authority: {error}"))?;
    save(&folder.join("ca.crt"), &certificate)?;
    let accounts = KeyPair::generate().map_err(|error| format!("making the service account key: {error}"))?;
    save(&folder.join("accounts.key"), &accounts.serialize_pem())?;
    save(&folder.join("accounts.pub"), &accounts.public_key_pem())?;

    let names = ["127.0.0.1", "localhost", "10.0.0.1", "kubernetes.default.svc"].map(String::from).to_vec();
    let (certificate, key) = issue(&authority, "kube-apiserver", "", names)?;
    save(&folder.join("server.crt"), &certificate)?;
    save(&folder.join("server.key"), &key)?;
    for (user, group) in USERS {
        let (certificate, key) = issue(&authority, user, group, Vec::new())?;
        let name = file_name(user);
        save(&folder.join(format!("{name}.crt")), &certificate)?;
        save(&folder.join(format!("{name}.key")), &key)?;
        save(&folder.join(format!("{name}.kubeconfig")), &kubeconfig(user, port))?;
    }
    Ok(())
}

/// The name of a user's files: its name without the colons.
pub(crate) fn file_name(user: &str) -> String {
    user.replace(':', "-")
}

fn authority() -> Result<(Issuer<'static, KeyPair>, String), rcgen::Error> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, "lockgate test authority");
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let key = KeyPair::generate()?;
    let certificate = params.self_signed(&key)?.pem();
    Ok((Issuer::new(params, key), certificate))
}

fn issue(authority: &Issuer<'static, KeyPair>, user: &str, group: &str, names: Vec<String>) -> Outcome<(String, String)> {
    let made = || -> Result<(String, String), rcgen::Error> {
        let purpose = if names.is_empty() { ExtendedKeyUsagePurpose::ClientAuth } else { ExtendedKeyUsagePurpose::ServerAuth };
        let mut params = CertificateParams::new(names)?;
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, user);
        if !group.is_empty() {
            params.distinguished_name.push(DnType::OrganizationName, group);
        }
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
        params.extended_key_usages = vec![purpose];
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, authority)?;
        Ok((certificate.pem(), key.serialize_pem()))
    };
    made().map_err(|error| format!("making the certificate of {user}: {error}"))
}

/// The files are named without their folder: kubeconfigs resolve them beside themselves.
fn kubeconfig(user: &str, port: u16) -> String {
    let name = file_name(user);
    format!(
        r#"apiVersion: v1
kind: Config
clusters:
- name: real
  cluster: {{ server: "https://127.0.0.1:{port}", certificate-authority: ca.crt }}
users:
- name: "{user}"
  user: {{ client-certificate: "{name}.crt", client-key: "{name}.key" }}
contexts:
- name: real
  context: {{ cluster: real, user: "{user}" }}
current-context: real
"#
    )
}

fn save(path: &Path, text: &str) -> Outcome {
    fs::write(path, text).map_err(|error| format!("writing {}: {error}", path.display()))
}
