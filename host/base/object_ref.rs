//! References to objects as people write them: `deployment/web`, `deployment/shop/web`, `issuer.cert-manager.io/ca`.

use std::fmt;
use std::str::FromStr;

use crate::base::json::Value as Json;
use serde::{Deserialize, Serialize};

use super::{Error, Result};

/// A reference to one object. Kinds are resolved by the cluster, which knows plurals and short names.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ObjectRef {
    /// The kind as it was written: singular, plural or short name.
    pub kind: String,
    /// The API group, when it was written behind the kind.
    pub group: Option<String>,
    /// The namespace, when it was written.
    pub namespace: Option<String>,
    /// The name.
    pub name: String,
}

impl ObjectRef {
    /// A reference without group and namespace; the name is not checked.
    #[must_use]
    pub fn new(kind: impl Into<String>, name: impl Into<String>) -> ObjectRef {
        ObjectRef { kind: kind.into(), group: None, namespace: None, name: name.into() }
    }

    /// The same in this namespace.
    #[must_use]
    pub fn in_namespace(mut self, namespace: impl Into<String>) -> ObjectRef {
        self.namespace = Some(namespace.into());
        self
    }

    /// Reads `kind/name` or `kind/namespace/name`; the kind may carry its group: `kind.group/name`.
    ///
    /// # Errors
    /// A usage error that says which part is wrong.
    pub fn parse(text: &str) -> Result<ObjectRef> {
        let wrong = |why: String| Error::usage(format!("`{text}`: {why}"));
        let parts: Vec<&str> = text.split('/').collect();
        let (kind, namespace, name) = match parts[..] {
            [kind, name] => (kind, None, name),
            [kind, namespace, name] => (kind, Some(namespace), name),
            [_] => {
                let error = wrong("it has no kind".to_owned());
                return Err(error.hint("write `kind/name` or `kind/namespace/name`, for example `deployment/web`"));
            }
            _ => {
                let error = wrong("it has too many parts".to_owned());
                return Err(error.hint("write `kind/name` or `kind/namespace/name`; a group follows the kind: `kind.group/name`"));
            }
        };
        let (kind, group) = match kind.split_once('.') {
            Some((kind, group)) => (kind, Some(group)),
            None => (kind, None),
        };
        if kind.is_empty() || !kind.chars().all(|c| c.is_ascii_alphanumeric() || c == '-') {
            return Err(wrong(format!("`{kind}` is no kind")));
        }
        if let Some(group) = group {
            check_subdomain("group", group).map_err(wrong)?;
        }
        if let Some(namespace) = namespace {
            check_label("namespace", namespace).map_err(wrong)?;
        }
        check_name_of(kind, name).map_err(wrong)?;
        Ok(ObjectRef {
            kind: kind.to_owned(),
            group: group.map(str::to_owned),
            namespace: namespace.map(str::to_owned),
            name: name.to_owned(),
        })
    }

    /// Reads `node/name` or a bare node name.
    ///
    /// # Errors
    /// A usage error when it is neither.
    pub fn parse_node(text: &str) -> Result<ObjectRef> {
        if text.contains('/') {
            return ObjectRef::parse(text);
        }
        check_name_of("node", text).map_err(|why| Error::usage(format!("`{text}`: {why}")))?;
        Ok(ObjectRef::new("node", text))
    }

    /// The reference to an object, from its `apiVersion`, `kind` and `metadata`.
    ///
    /// # Errors
    /// A usage error that says what the object lacks.
    pub fn of(object: &Json) -> Result<ObjectRef> {
        let field = |pointer: &str| object.pointer(pointer).and_then(Json::as_str).filter(|text| !text.is_empty());
        let lacks = |what: &str| {
            let error = Error::usage(format!("the table has no `{what}`"));
            error.hint("give a reference such as `deployment/web`, or an object that `get` or `list` gave")
        };
        let kind = field("/kind").ok_or_else(|| lacks("kind"))?;
        let version = field("/apiVersion").ok_or_else(|| lacks("apiVersion"))?;
        let name = field("/metadata/name").ok_or_else(|| lacks("metadata.name"))?;
        Ok(ObjectRef {
            kind: kind.to_ascii_lowercase(),
            group: version.split_once('/').map(|(group, _)| group.to_owned()),
            namespace: field("/metadata/namespace").map(str::to_owned),
            name: name.to_owned(),
        })
    }
}

/// Whether a text can be the name of an object or namespace.
///
/// # Errors
/// A usage error that says what is wrong with it.
pub fn check_name(name: &str) -> Result<()> {
    check_subdomain("name", name).map_err(Error::usage)
}

/// Most names are DNS subdomains; those of RBAC may hold anything that is one part of a path.
fn check_name_of(kind: &str, name: &str) -> Result<(), String> {
    let kind = kind.to_ascii_lowercase();
    if kind.starts_with("role") || kind.starts_with("clusterrole") {
        let good = !name.is_empty() && name != "." && name != ".." && !name.contains('%');
        return if good { Ok(()) } else { Err(format!("`{name}` is no name")) };
    }
    check_subdomain("name", name)
}

fn check_label(what: &str, text: &str) -> Result<(), String> {
    if text.len() > 63 || text.contains('.') {
        return Err(format!("`{text}` is no {what}"));
    }
    check_subdomain(what, text)
}

/// RFC 1123: lower-case letters, digits, `-` and `.`; each label begins and ends with a letter or digit.
fn check_subdomain(what: &str, text: &str) -> Result<(), String> {
    if text.is_empty() {
        return Err(format!("the {what} is empty"));
    }
    if text.len() > 253 {
        return Err(format!("the {what} is longer than 253 characters"));
    }
    let is_word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let good = |label: &str| label.starts_with(is_word) && label.ends_with(is_word) && label.chars().all(|c| is_word(c) || c == '-');
    if text.split('.').all(good) {
        return Ok(());
    }
    let why = if text.contains(|c: char| c.is_ascii_uppercase()) {
        "it has capital letters"
    } else {
        "only lower-case letters, digits, `-` and `.` may be in it"
    };
    Err(format!("`{text}` is no {what}: {why}"))
}

impl fmt::Display for ObjectRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.kind)?;
        if let Some(group) = &self.group {
            write!(f, ".{group}")?;
        }
        if let Some(namespace) = &self.namespace {
            write!(f, "/{namespace}")?;
        }
        write!(f, "/{}", self.name)
    }
}

impl FromStr for ObjectRef {
    type Err = Error;
    fn from_str(text: &str) -> Result<ObjectRef> {
        ObjectRef::parse(text)
    }
}

impl TryFrom<String> for ObjectRef {
    type Error = Error;
    fn try_from(text: String) -> Result<ObjectRef> {
        ObjectRef::parse(&text)
    }
}

impl From<ObjectRef> for String {
    fn from(reference: ObjectRef) -> String {
        reference.to_string()
    }
}

#[cfg(test)]
mod tests {
    use crate::base::json::json;

    use super::*;

    #[test]
    fn reads_and_prints_every_form() {
        for text in [
            "deployment/web",
            "deploy/shop/web",
            "deployment.apps/web",
            "hostendpoint.projectcalico.org/node-1.eth0",
            "issuer.cert-manager.io/shop/ca",
            "clusterrole/system:node",
            "pod/a.b-c",
        ] {
            assert_eq!(ObjectRef::parse(text).unwrap().to_string(), text);
        }
        let full = ObjectRef::parse("issuer.cert-manager.io/shop/ca").unwrap();
        assert_eq!((full.kind.as_str(), full.group.as_deref()), ("issuer", Some("cert-manager.io")));
        assert_eq!((full.namespace.as_deref(), full.name.as_str()), (Some("shop"), "ca"));
    }

    #[test]
    fn says_which_part_is_wrong() {
        for (text, message) in [
            ("web", "it has no kind"),
            ("a/b/c/d", "it has too many parts"),
            ("/web", "`` is no kind"),
            ("deployment/", "the name is empty"),
            ("deployment/Web", "`Web` is no name: it has capital letters"),
            ("deployment/shop.x/web", "`shop.x` is no namespace"),
            ("deployment/we b", "`we b` is no name: only lower-case letters, digits, `-` and `.` may be in it"),
            ("deployment/-web", "`-web` is no name: only lower-case letters, digits, `-` and `.` may be in it"),
            ("clusterrole/..", "`..` is no name"),
        ] {
            assert_eq!(ObjectRef::parse(text).unwrap_err().message, format!("`{text}`: {message}"));
        }
    }

    #[test]
    fn nodes_may_be_bare() {
        assert_eq!(ObjectRef::parse_node("w1").unwrap().to_string(), "node/w1");
        assert_eq!(ObjectRef::parse_node("node/w1").unwrap().to_string(), "node/w1");
        assert!(ObjectRef::parse_node("W1").is_err());
    }

    #[test]
    fn objects_name_themselves() {
        let object = json!({ "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "web", "namespace": "shop" } });
        assert_eq!(ObjectRef::of(&object).unwrap().to_string(), "deployment.apps/shop/web");
        let object = json!({ "apiVersion": "v1", "kind": "Node", "metadata": { "name": "w1" } });
        assert_eq!(ObjectRef::of(&object).unwrap().to_string(), "node/w1");
        let error = ObjectRef::of(&json!({ "kind": "Node", "apiVersion": "v1" })).unwrap_err();
        assert_eq!(error.message, "the table has no `metadata.name`");
    }
}
