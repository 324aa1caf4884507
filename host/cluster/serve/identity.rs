//! Who a served cluster is: a certificate of an authority made for this one process, and the token that opens it.

use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::PrivateKeyDer;

use crate::base::{Error, Result};

/// Addresses that the certificate is good for: loopback only.
const NAMES: [&str; 3] = ["127.0.0.1", "::1", "localhost"];
/// Random bytes in a token.
const TOKEN: usize = 24;

/// What a client needs to know, and what the server shows it.
pub(super) struct Identity {
    /// The authority, as PEM.
    pub(super) authority: String,
    /// The bearer token.
    pub(super) token: String,
    /// The server's side of TLS.
    pub(super) tls: Arc<ServerConfig>,
}

impl Identity {
    /// A fresh one; nothing of it is kept anywhere.
    ///
    /// # Errors
    /// When the system has no randomness, or the libraries do not agree about a certificate.
    pub(super) fn new() -> Result<Identity> {
        let wrong = |what: &str, error: &dyn std::fmt::Display| Error::internal(what.to_owned()).cause(error.to_string());
        let (authority, certificate, key) = certificates().map_err(|error| wrong("making a certificate", &error))?;
        let provider = Arc::new(ring::default_provider());
        let mut bytes = [0; TOKEN];
        provider.secure_random.fill(&mut bytes).map_err(|_| wrong("making a token", &"the system gives no randomness"))?;
        let token = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let mut tls = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .and_then(|builder| builder.with_no_client_auth().with_single_cert(vec![certificate], key))
            .map_err(|error| wrong("preparing TLS", &error))?;
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Identity { authority, token, tls: Arc::new(tls) })
    }

    /// The kubeconfig for this address; its only context has this name.
    pub(super) fn kubeconfig(&self, name: &str, address: &str) -> String {
        format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: {name}\n\
             clusters:\n- name: {name}\n  cluster:\n    server: {address}\n    certificate-authority-data: {authority}\n\
             users:\n- name: {name}\n  user:\n    token: {token}\n\
             contexts:\n- name: {name}\n  context:\n    cluster: {name}\n    user: {name}\n",
            authority = base64(self.authority.as_bytes()),
            token = self.token,
        )
    }

    /// Whether a request may come in. The comparison takes as long for a token that is nearly right.
    pub(super) fn admits(&self, authorization: Option<&[u8]>) -> bool {
        const SCHEME: &[u8] = b"bearer ";
        let Some((scheme, given)) = authorization.and_then(|text| text.split_at_checked(SCHEME.len())) else { return false };
        if !scheme.eq_ignore_ascii_case(SCHEME) {
            return false;
        }
        let own = self.token.as_bytes();
        given.len() == own.len() && given.iter().zip(own).fold(0, |differs, (a, b)| differs | (a ^ b)) == 0
    }
}

type Made = (String, rustls::pki_types::CertificateDer<'static>, PrivateKeyDer<'static>);

fn certificates() -> std::result::Result<Made, rcgen::Error> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "lockgate sandbox, good for one process");
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let key = KeyPair::generate()?;
    let authority = params.self_signed(&key)?;
    let issuer = Issuer::new(params, key);

    let mut params = CertificateParams::new(NAMES.map(str::to_owned))?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "lockgate sandbox");
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let key = KeyPair::generate()?;
    let certificate = params.signed_by(&key, &issuer)?;
    let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
    Ok((authority.pem(), certificate.der().clone(), key))
}

/// Base 64 with padding (RFC 4648, section 4).
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let byte = |at: usize| u32::from(chunk.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for place in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * place) & 63) as usize];
            text.push(if place > chunk.len() { '=' } else { char::from(digit) });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_as_in_the_standard() {
        for (plain, coded) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="), ("fooba", "Zm9vYmE=")] {
            assert_eq!(base64(plain.as_bytes()), coded);
        }
    }

    #[test]
    fn only_the_whole_token_opens() {
        let identity = Identity::new().unwrap();
        let header = format!("Bearer {}", identity.token);
        assert!(identity.admits(Some(header.as_bytes())));
        assert!(identity.admits(Some(header.replace("Bearer", "bearer").as_bytes())), "schemes are not told apart by case");
        for wrong in [header[..header.len() - 1].to_owned(), format!("{header}0"), header.replace("Bearer", "Basic"), String::new()] {
            assert!(!identity.admits(Some(wrong.as_bytes())), "{wrong}");
        }
        assert!(!identity.admits(None));
        assert_ne!(identity.token, Identity::new().unwrap().token);
    }
}
