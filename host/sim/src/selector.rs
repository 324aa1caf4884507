//! Label selectors and field selectors, as strings in a query and as objects in a spec.

use std::fmt;

use crate::json::{Map, Value};

use crate::kinds::Kind;
use crate::status::Status;
use crate::view;

/// What a label must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operator {
    /// One of the values.
    In,
    /// None of the values; an absent label fits.
    NotIn,
    /// Present.
    Exists,
    /// Absent.
    DoesNotExist,
    /// A whole number above the value.
    GreaterThan,
    /// A whole number below the value.
    LessThan,
}

/// One condition on one label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requirement {
    /// The label.
    pub key: String,
    /// The condition.
    pub operator: Operator,
    /// The values it speaks about.
    pub values: Vec<String>,
}

impl Requirement {
    /// Whether a label with this value fits; `None` is an absent label.
    #[must_use]
    pub fn matches(&self, actual: Option<&str>) -> bool {
        let among = |actual: &str| self.values.iter().any(|value| value == actual);
        let compare = |above: bool| {
            let number = |text: Option<&str>| text.and_then(|text| text.parse::<i64>().ok());
            let bound = number(self.values.first().map(String::as_str));
            number(actual).zip(bound).is_some_and(|(actual, bound)| if above { actual > bound } else { actual < bound })
        };
        match self.operator {
            Operator::In => actual.is_some_and(among),
            Operator::NotIn => !actual.is_some_and(among),
            Operator::Exists => actual.is_some(),
            Operator::DoesNotExist => actual.is_none(),
            Operator::GreaterThan => compare(true),
            Operator::LessThan => compare(false),
        }
    }
}

/// A selector is wrong; the text says how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SelectorError(pub String);

impl fmt::Display for SelectorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for SelectorError {}

/// Conditions on labels, all of which must hold. Without any it selects everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LabelSelector {
    /// The conditions.
    pub requirements: Vec<Requirement>,
}

impl LabelSelector {
    /// Reads the form of a query: `a=b,c!=d,e in (f,g),h notin (i),j,!k,l>1`.
    ///
    /// # Errors
    /// A sentence that says what cannot be read.
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        let mut requirements = Vec::new();
        let parts = split_top(text)?;
        for (at, part) in parts.iter().enumerate() {
            let part = part.trim();
            if part.is_empty() {
                if parts.len() == 1 {
                    break;
                }
                let what = if at + 1 == parts.len() { "identifier after ','" } else { "!, identifier, or 'end of string'" };
                return Err(SelectorError(format!("found '', expected: {what}")));
            }
            requirements.push(requirement(part)?);
        }
        Ok(Self { requirements })
    }

    /// Reads a `LabelSelector` object (`matchLabels`, `matchExpressions`).
    ///
    /// # Errors
    /// A sentence that says what is wrong with it.
    pub fn from_value(value: &Value) -> Result<Self, SelectorError> {
        let mut requirements = Vec::new();
        for (key, value) in view::at(value, &["matchLabels"]).and_then(Value::as_object).into_iter().flatten() {
            let value = value.as_str().ok_or_else(|| SelectorError(format!("the value of label {key:?} is not a string")))?;
            requirements.push(Requirement { key: key.to_string(), operator: Operator::In, values: vec![value.to_owned()] });
        }
        for expression in view::list(value, &["matchExpressions"]) {
            let values: Vec<String> = view::list(expression, &["values"]).iter().filter_map(Value::as_str).map(str::to_owned).collect();
            let name = view::text(expression, &["operator"]);
            let operator = match name {
                "In" => Operator::In,
                "NotIn" => Operator::NotIn,
                "Exists" => Operator::Exists,
                "DoesNotExist" => Operator::DoesNotExist,
                _ => return Err(SelectorError(format!("{name:?} is not a valid label selector operator"))),
            };
            let needs = matches!(operator, Operator::In | Operator::NotIn);
            if needs == values.is_empty() {
                let must = if needs { "must be specified" } else { "may not be specified" };
                return Err(SelectorError(format!("values {must} when `operator` is {name:?}")));
            }
            requirements.push(Requirement { key: view::text(expression, &["key"]).to_owned(), operator, values });
        }
        Ok(Self { requirements })
    }

    /// Whether it selects everything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.requirements.is_empty()
    }

    /// Whether everything that the other selects is selected here, as far as their conditions tell.
    pub(crate) fn covers(&self, other: &Self) -> bool {
        self.requirements.iter().all(|requirement| other.requirements.contains(requirement))
    }

    /// Labels that must have exactly one value.
    pub(crate) fn equalities(&self) -> impl Iterator<Item = (&str, &str)> {
        self.requirements.iter().filter(|r| r.operator == Operator::In).filter_map(|r| match r.values.as_slice() {
            [value] => Some((r.key.as_str(), value.as_str())),
            _ => None,
        })
    }

    /// Whether these labels fit.
    #[must_use]
    pub fn matches_labels(&self, labels: Option<&Map>) -> bool {
        self.requirements.iter().all(|r| r.matches(labels.and_then(|l| l.get(&r.key)).and_then(Value::as_str)))
    }

    /// Whether the labels of an object fit.
    #[must_use]
    pub fn matches(&self, object: &Value) -> bool {
        self.requirements.is_empty() || self.matches_labels(view::labels(object))
    }
}

impl fmt::Display for LabelSelector {
    /// The form of a query; sets are sorted.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, r) in self.requirements.iter().enumerate() {
            if at > 0 {
                f.write_str(",")?;
            }
            let mut values: Vec<&str> = r.values.iter().map(String::as_str).collect();
            values.sort_unstable();
            let (key, list) = (&r.key, values.join(","));
            match (&r.operator, values.len()) {
                (Operator::In, 1) => write!(f, "{key}={list}")?,
                (Operator::In, _) => write!(f, "{key} in ({list})")?,
                (Operator::NotIn, 1) => write!(f, "{key}!={list}")?,
                (Operator::NotIn, _) => write!(f, "{key} notin ({list})")?,
                (Operator::Exists, _) => f.write_str(key)?,
                (Operator::DoesNotExist, _) => write!(f, "!{key}")?,
                (Operator::GreaterThan, _) => write!(f, "{key}>{list}")?,
                (Operator::LessThan, _) => write!(f, "{key}<{list}")?,
            }
        }
        Ok(())
    }
}

/// Splits at commas outside parentheses.
fn split_top(text: &str) -> Result<Vec<&str>, SelectorError> {
    let (mut parts, mut start, mut inside) = (Vec::new(), 0, false);
    for (at, c) in text.char_indices() {
        match c {
            '(' if inside => return Err(SelectorError("found '(', expected: ',' or ')'".to_owned())),
            '(' => inside = true,
            ')' => inside = false,
            ',' if !inside => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    if inside {
        return Err(SelectorError("found '', expected: ',' or ')'".to_owned()));
    }
    parts.push(&text[start..]);
    Ok(parts)
}

fn requirement(part: &str) -> Result<Requirement, SelectorError> {
    let make = |key: &str, operator: Operator, values: Vec<String>| {
        check_key(key.trim())?;
        values.iter().try_for_each(|value| check_value(value))?;
        Ok(Requirement { key: key.trim().to_owned(), operator, values })
    };
    if let Some(open) = part.find('(') {
        let (head, list) = part.split_at(open);
        let list = list[1..].trim_end().strip_suffix(')').filter(|inner| !inner.contains(')'));
        let list = list.ok_or_else(|| SelectorError(format!("found '{part}', expected: ',' or 'end of string'")))?;
        let mut words = head.split_whitespace();
        let operator = match (words.next(), words.next(), words.next()) {
            (Some(_), Some("in"), None) => Operator::In,
            (Some(_), Some("notin"), None) => Operator::NotIn,
            (_, other, _) => {
                let found = other.unwrap_or("(");
                return Err(SelectorError(format!("found '{found}', expected: in, notin, =, ==, !=, gt, lt")));
            }
        };
        let key = head.split_whitespace().next().unwrap_or_default();
        return make(key, operator, list.split(',').map(|value| value.trim().to_owned()).collect());
    }
    if let Some(key) = part.strip_prefix('!') {
        return make(key, Operator::DoesNotExist, Vec::new());
    }
    for (token, operator) in
        [("!=", Operator::NotIn), ("==", Operator::In), ("=", Operator::In), (">", Operator::GreaterThan), ("<", Operator::LessThan)]
    {
        let Some((key, value)) = part.split_once(token) else { continue };
        if matches!(token, ">" | "<") && value.trim().parse::<i64>().is_err() {
            return Err(SelectorError(format!("for 'Gt', 'Lt' operators, the value must be an integer: {:?}", value.trim())));
        }
        return make(key, operator, vec![value.trim().to_owned()]);
    }
    let mut words = part.split_whitespace();
    if let (Some(_), Some(found)) = (words.next(), words.next()) {
        return Err(SelectorError(format!("found '{found}', expected: in, notin, =, ==, !=, gt, lt")));
    }
    make(part, Operator::Exists, Vec::new())
}

/// Checks a label key: an optional DNS prefix, then a name.
///
/// # Errors
/// A sentence that names the key.
pub fn check_key(key: &str) -> Result<(), SelectorError> {
    let (prefix, name) = key.split_once('/').map_or((None, key), |(prefix, name)| (Some(prefix), name));
    let fits = !name.is_empty()
        && name.len() <= 63
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
        && name.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric())
        && name.bytes().last().is_some_and(|b| b.is_ascii_alphanumeric());
    let prefix_fits = prefix.is_none_or(|p| !p.is_empty() && p.len() <= 253 && p.split('.').all(is_dns_label));
    if fits && prefix_fits {
        return Ok(());
    }
    Err(SelectorError(format!(
        "key: Invalid value: {key:?}: name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end \
         with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is \
         '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
    )))
}

/// Checks a label value: empty, or up to 63 characters of the same form as a name.
///
/// # Errors
/// A sentence that names the value.
pub fn check_value(value: &str) -> Result<(), SelectorError> {
    let fits = value.is_empty()
        || value.len() <= 63
            && value.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
            && value.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric())
            && value.bytes().last().is_some_and(|b| b.is_ascii_alphanumeric());
    if fits {
        return Ok(());
    }
    Err(SelectorError(format!(
        "values: Invalid value: {value:?}: a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or \
         '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for \
         validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
    )))
}

/// Whether a text is a DNS label of RFC 1123, of any length.
#[must_use]
pub(crate) fn is_dns_label(text: &str) -> bool {
    let edge = |b: Option<u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && edge(text.bytes().next())
        && edge(text.bytes().last())
}

/// Conditions on fields, all of which must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FieldSelector {
    terms: Vec<(String, bool, String)>,
}

impl FieldSelector {
    /// Reads the form of a query: `metadata.name=a,status.phase!=Running`. Which fields there are depends on the kind.
    ///
    /// # Errors
    /// 400 with the server's text.
    pub fn parse(kind: &Kind, text: &str) -> Result<Self, Status> {
        let mut terms = Vec::new();
        for part in text.split(',').filter(|part| !part.is_empty()) {
            let unreadable = || Status::bad_request(format!("invalid selector: '{text}'; can't understand '{part}'"));
            let (field, equal, value) = ["!=", "==", "="]
                .iter()
                .filter_map(|token| part.split_once(token).map(|(field, value)| (field, *token != "!=", value)))
                .min_by_key(|(field, _, _)| field.len())
                .ok_or_else(unreadable)?;
            let field = if kind.kind == "Pod" && field == "spec.host" { "spec.nodeName" } else { field };
            if !supported(kind, field) {
                return Err(unsupported(kind, field));
            }
            terms.push((field.to_owned(), equal, value.to_owned()));
        }
        Ok(Self { terms })
    }

    /// Whether it selects everything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.terms.is_empty()
    }

    /// The one name that can fit, when there is only one.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.equal_to("metadata.name")
    }

    /// Whether everything that the other selects is selected here, as far as their conditions tell.
    pub(crate) fn covers(&self, other: &Self) -> bool {
        self.terms.iter().all(|term| other.terms.contains(term))
    }

    /// The text that a field must have.
    pub(crate) fn equal_to(&self, field: &str) -> Option<&str> {
        self.terms.iter().find(|(name, equal, _)| *equal && name == field).map(|(_, _, value)| value.as_str())
    }

    /// Whether an object fits.
    #[must_use]
    pub fn matches(&self, object: &Value) -> bool {
        self.terms.iter().all(|(field, equal, value)| (field_text(object, field) == *value) == *equal)
    }
}

fn supported(kind: &Kind, field: &str) -> bool {
    let common = field == "metadata.name" || (field == "metadata.namespace" && !matches!(kind.built_in(), "Node" | "Namespace"));
    common || own_fields(kind).contains(&field)
}

/// Selectable fields beside name and namespace.
fn own_fields(kind: &Kind) -> &'static [&'static str] {
    match kind.built_in() {
        "Pod" => &[
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "spec.hostNetwork",
            "status.phase",
            "status.podIP",
            "status.podIPs",
            "status.nominatedNodeName",
        ],
        "Event" => &[
            "involvedObject.kind",
            "involvedObject.namespace",
            "involvedObject.name",
            "involvedObject.uid",
            "involvedObject.apiVersion",
            "involvedObject.resourceVersion",
            "involvedObject.fieldPath",
            "reason",
            "reportingComponent",
            "source",
            "type",
        ],
        "Node" => &["spec.unschedulable"],
        "Secret" => &["type"],
        "Namespace" => &["status.phase"],
        "Service" => &["spec.clusterIP", "spec.type"],
        "Job" => &["status.successful"],
        _ => &[],
    }
}

fn unsupported(kind: &Kind, field: &str) -> Status {
    // Kinds with a list of their own answer in other words than those without.
    Status::bad_request(match kind.built_in() {
        "Job" => format!("field label {field:?} not supported for Job"),
        _ if own_fields(kind).is_empty() && kind.custom().is_none() => {
            format!(r#"{field:?} is not a known field selector: only "metadata.name", "metadata.namespace""#)
        }
        _ => format!("field label not supported: {field}"),
    })
}

/// A field as text: absent booleans are `false`, absent numbers `0`, all else that is absent is empty.
fn field_text(object: &Value, field: &str) -> String {
    match field {
        "source" => {
            let of = |path: &[&str]| view::text(object, path).to_owned();
            return Some(of(&["source", "component"])).filter(|s| !s.is_empty()).unwrap_or_else(|| of(&["reportingComponent"]));
        }
        // A real server takes it and finds nothing in it.
        "status.podIPs" => return String::new(),
        "status.successful" => return view::count(object, &["status", "succeeded"]).to_string(),
        _ => {}
    }
    let path: Vec<&str> = field.split('.').collect();
    match view::at(object, &path) {
        Some(Value::String(text)) => text.to_string(),
        Some(Value::Null) | None => match field {
            "spec.unschedulable" | "spec.hostNetwork" => "false".to_owned(),
            _ => String::new(),
        },
        Some(other) => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::json;
    use crate::kinds;

    fn selects(selector: &str, labels: Value) -> bool {
        LabelSelector::parse(selector).unwrap().matches(&json!({"metadata": {"labels": labels}}))
    }

    #[test]
    fn every_operator_selects() {
        let web = json!({"app": "web", "tier": "front", "n": "5"});
        for yes in [
            "",
            "app",
            "app=web",
            "app==web",
            "app!=db",
            "!zone",
            "app in (web, db)",
            "app notin (db)",
            "zone notin (a)",
            "zone!=a",
            "n>4",
            "n<6",
            "app=web,tier in (front,back),!zone",
            " app = web ",
        ] {
            assert!(selects(yes, web.clone()), "{yes}");
        }
        for no in ["zone", "!app", "app=db", "app!=web", "app in (db)", "app notin (web,db)", "n>5", "n<5", "app>1", "zone<1"] {
            assert!(!selects(no, web.clone()), "{no}");
        }
        assert!(selects("app!=web", Value::Null));
    }

    #[test]
    fn malformed_selectors_are_refused() {
        for wrong in [
            "a,",
            ",a",
            "a,,b",
            "a in",
            "a in (b",
            "a in b)",
            "a like (b)",
            "a in (b) c",
            "a=b=c",
            "a>x",
            "a b",
            "!",
            "=b",
            "a=!b",
            "a in ((b))",
        ] {
            assert!(LabelSelector::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn objects_and_strings_agree() {
        let object = json!({"matchLabels": {"app": "web"}, "matchExpressions": [
            {"key": "tier", "operator": "In", "values": ["b", "a"]}, {"key": "zone", "operator": "DoesNotExist"}]});
        let selector = LabelSelector::from_value(&object).unwrap();
        assert_eq!(selector.to_string(), "app=web,tier in (a,b),!zone");
        assert!(selector.matches(&json!({"metadata": {"labels": {"app": "web", "tier": "a"}}})));
        assert!(LabelSelector::from_value(&json!({"matchExpressions": [{"key": "a", "operator": "In"}]})).is_err());
        assert!(LabelSelector::from_value(&json!({"matchExpressions": [{"key": "a", "operator": "Like"}]})).is_err());
    }

    #[test]
    fn fields_depend_on_the_kind() {
        let pod = json!({"metadata": {"name": "p", "namespace": "x"}, "spec": {"nodeName": "n1"}, "status": {"phase": "Running"}});
        let fits = |text: &str| FieldSelector::parse(kinds::POD, text).unwrap().matches(&pod);
        assert!(fits("spec.nodeName=n1,status.phase!=Succeeded,status.phase!=Failed"));
        assert!(fits("spec.host=n1"));
        assert!(fits("spec.hostNetwork=false"));
        assert!(!fits("metadata.name==q"));
        let wrong = FieldSelector::parse(kinds::POD, "spec.image=x").unwrap_err();
        assert_eq!((wrong.code(), wrong.message()), (400, "field label not supported: spec.image"));
        let wrong = FieldSelector::parse(kinds::DEPLOYMENT, "spec.replicas=1").unwrap_err();
        assert_eq!(wrong.message(), r#""spec.replicas" is not a known field selector: only "metadata.name", "metadata.namespace""#);
        assert_eq!(FieldSelector::parse(kinds::POD, "nonsense").unwrap_err().code(), 400);
        assert_eq!(FieldSelector::parse(kinds::POD, "metadata.name=p").unwrap().name(), Some("p"));
    }
}
