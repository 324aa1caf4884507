//! Tokens of service accounts: `POST …/serviceaccounts/NAME/token`.
//!
//! A token looks like a server's and says the same of itself; it is signed by nobody, and nobody can log in with it.

use super::{Call, Cx, body};
use crate::base64;
use crate::json::{Value, json};
use crate::kinds;
use crate::request::{Request, Response};
use crate::rng::Rng;
use crate::status::{Cause, Status};
use crate::store::Key;
use crate::view;

const GROUP: &str = "authentication.k8s.io";
const ISSUER: &str = "https://kubernetes.default.svc";
/// An hour, when nothing is asked for.
const SECONDS: i64 = 3600;

/// Answers with a new token.
///
/// # Errors
/// 404 for an account or an object to bind to that is not there, 409 for another one of that name, 422 for a time that cannot be, 400
/// for what no token can be bound to.
pub(super) fn request(cx: &mut Cx<'_>, call: &Call, request: &Request) -> Result<Response, Status> {
    let asked = body::json(request)?;
    let (kind, version) = (view::text(&asked, &["kind"]), view::text(&asked, &["apiVersion"]));
    if !asked.is_object() || !matches!(kind, "" | "TokenRequest") || !matches!(version, "" | "authentication.k8s.io/v1") {
        let why = format!("no kind {kind:?} is registered for version {version:?} in scheme \"pkg/runtime/scheme.go:111\"");
        return Err(Status::bad_request(format!("{kind} in version {version:?} cannot be handled as a TokenRequest: {why}")));
    }
    let rehearsal = super::dry_run(request)?;
    let Some(account) = cx.store.get(&call.key()).cloned() else { return Err(Status::not_found(call.kind, &call.name)) };
    let seconds = view::int(&asked, &["spec", "expirationSeconds"]).unwrap_or(SECONDS);
    check(&asked, &call.name, seconds)?;
    let (until, given) = (view::later_s(cx.now, seconds), view::list(&asked, &["spec", "audiences"]));
    let audiences: Vec<Value> = if given.is_empty() { vec![ISSUER.into()] } else { given.to_vec() };
    let mut rng = cx.store.rng().clone();
    let mut claims = json!({
        "aud": audiences.clone(), "exp": until.as_second(), "iat": cx.now.as_second(), "nbf": cx.now.as_second(), "iss": ISSUER, "jti": rng.uuid(),
        "sub": format!("system:serviceaccount:{}:{}", view::namespace(&account), call.name),
        "kubernetes.io": {"namespace": view::namespace(&account), "serviceaccount": {"name": call.name.clone(), "uid": view::uid(&account)}},
    });
    let bound = view::at(&asked, &["spec", "boundObjectRef"]).filter(|bound| !bound.is_null()).cloned().unwrap_or_default();
    if bound.is_object() {
        bind(cx, call, &bound, &mut claims)?;
    }
    let token = signed(&claims, &mut rng);
    if !rehearsal {
        *cx.store.rng() = rng;
    }
    let answer = json!({
        "kind": "TokenRequest", "apiVersion": "authentication.k8s.io/v1",
        "metadata": {"name": call.name.clone(), "namespace": view::namespace(&account), "creationTimestamp": view::stamp(cx.now)},
        "spec": {"audiences": audiences, "expirationSeconds": seconds, "boundObjectRef": bound},
        "status": {"token": token, "expirationTimestamp": view::stamp(until)},
    });
    Ok(Response::json(201, answer.into()))
}

/// A name that is another one, and times that are too short or too long.
fn check(asked: &Value, account: &str, seconds: i64) -> Result<(), Status> {
    let refused = |name: &str, cause: Cause| {
        let message = format!("TokenRequest.{GROUP} {name:?} is invalid: {}: {}", cause.field, cause.message);
        let mut details = json!({"group": GROUP, "kind": "TokenRequest",
            "causes": [{"reason": cause.reason, "message": cause.message, "field": cause.field}]});
        if !name.is_empty() {
            view::set(&mut details, &["name"], name);
        }
        Err(Status::new(422, "Invalid", message, details))
    };
    let name = view::text(asked, &["metadata", "name"]);
    if !name.is_empty() && name != account {
        let why = "must match the service account name if specified";
        return refused(account, Cause::invalid("metadata.name", &name.into(), why));
    }
    let why = if seconds < 600 {
        "may not specify a duration less than 10 minutes"
    } else if seconds > 1 << 32 {
        "may not specify a duration larger than 2^32 seconds"
    } else {
        return Ok(());
    };
    refused(name, Cause::invalid("spec.expirationSeconds", &seconds.into(), why))
}

/// A token that is good for as long as an object is there.
fn bind(cx: &Cx<'_>, call: &Call, bound: &Value, claims: &mut Value) -> Result<(), Status> {
    let text = |field: &str| view::text(bound, &[field]);
    let (kind, claim) = match (text("apiVersion"), text("kind")) {
        ("v1" | "", "Pod") => (kinds::POD, "pod"),
        ("v1" | "", "Secret") => (kinds::SECRET, "secret"),
        ("v1" | "", "Node") => (kinds::NODE, "node"),
        (version, kind) => {
            let (group, version) = version.split_once('/').unwrap_or(("", version));
            return Err(Status::bad_request(format!("cannot bind token to object of type {group}/{version}, Kind={kind}")));
        }
    };
    let key = Key::new(kind, call.namespace.as_deref().unwrap_or_default(), text("name"));
    let Some(object) = cx.store.get(&key) else { return Err(Status::not_found(kind, text("name"))) };
    let uid = view::uid(object);
    if !text("uid").is_empty() && text("uid") != uid {
        let why = format!(
            "the UID in the bound object reference ({}) does not match the UID in record. The object might have been deleted and then recreated",
            text("uid")
        );
        return Err(Status::conflict(kind, text("name"), &why));
    }
    view::set(claims, &["kubernetes.io", claim], json!({"name": text("name"), "uid": uid}));
    Ok(())
}

/// Header, claims and as many bytes as a signature has.
fn signed(claims: &Value, rng: &mut Rng) -> String {
    let part = |bytes: &[u8]| base64::encode(bytes).replace('+', "-").replace('/', "_").trim_end_matches('=').to_owned();
    let header = json!({"alg": "RS256", "kid": "simulated"}).to_string();
    let signature: Vec<u8> = (0..256).map(|_| u8::try_from(rng.below(256)).unwrap_or_default()).collect();
    format!("{}.{}.{}", part(header.as_bytes()), part(claims.to_string().as_bytes()), part(&signature))
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    /// The account in a token that was made here, as `namespace` and `name`, while it is good.
    fn subject(token: &str, now: Timestamp) -> Option<String> {
        let claims = token.split('.').nth(1)?.replace('-', "+").replace('_', "/");
        let padded = format!("{claims}{}", "=".repeat((4 - claims.len() % 4) % 4));
        let claims: Value = serde_json::from_slice(&base64::decode(&padded)?).ok()?;
        (view::count(&claims, &["exp"]) > now.as_second()).then(|| view::text(&claims, &["sub"]).to_owned())
    }

    #[test]
    fn a_token_says_whose_it_is_and_until_when() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let claims = json!({"sub": "system:serviceaccount:x:a", "exp": 100, "note": "ü?>"});
        let token = signed(&claims, &mut Rng::new(1));
        assert_eq!(token.split('.').count(), 3);
        assert!(!token.contains(['+', '/', '=']));
        assert_eq!(subject(&token, at(99)), Some("system:serviceaccount:x:a".to_owned()));
        assert_eq!(subject(&token, at(100)), None);
        assert_eq!(token, signed(&claims, &mut Rng::new(1)));
    }
}
