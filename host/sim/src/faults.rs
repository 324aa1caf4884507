//! Faults: rules that make the n-th matching request fail, get lost, or cut a watch.

use serde::Deserialize;

use crate::kinds::Kind;
use crate::status::Status;

/// What a rule applies to. What is left out matches everything.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Match {
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete` or `deletecollection`.
    pub verb: Option<String>,
    /// The kind, for example `Deployment`.
    pub kind: Option<String>,
    /// The namespace of the request.
    pub namespace: Option<String>,
    /// The name of the object.
    pub name: Option<String>,
    /// The subresource, for example `scale`; an empty text matches requests without one.
    pub subresource: Option<String>,
    /// Which of the matching requests, counted from 1. Without `nth` and `every`: all of them.
    pub nth: Option<u64>,
    /// Every so-many-th of the matching requests.
    pub every: Option<u64>,
}

/// What happens to a request.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// The server answers with this failure and does nothing.
    Fail(Failure),
    /// The server answers 409 as if somebody else had changed the object in between.
    Conflict,
    /// The connection is lost before the request arrives: nothing is done.
    LostBefore,
    /// The request is carried out, then the connection is lost.
    LostAfter,
    /// The watch is cut after so many events, without a last bookmark.
    DropWatch(u64),
}

/// A failure to answer with.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Failure {
    /// The HTTP status code, 400 to 599.
    pub code: u16,
    /// The reason; by default the server's usual one for the code.
    #[serde(default)]
    pub reason: Option<String>,
    /// The message.
    #[serde(default)]
    pub message: Option<String>,
    /// Seconds for `Retry-After`.
    #[serde(default)]
    pub retry_after: Option<u32>,
}

impl Failure {
    /// The `Status` to answer with.
    #[must_use]
    pub fn status(&self) -> Status {
        let usual = match self.code {
            401 => ("Unauthorized", "Unauthorized"),
            403 => ("Forbidden", "forbidden"),
            404 => ("NotFound", "the server could not find the requested resource"),
            409 => ("Conflict", "the object has been modified"),
            410 => ("Expired", "the resource version is too old"),
            429 => ("TooManyRequests", "too many requests, please try again later"),
            500 => ("InternalError", "an internal error occurred"),
            503 => ("ServiceUnavailable", "the server is currently unable to handle the request"),
            504 => ("Timeout", "the server was unable to return a response in the time allotted"),
            _ => ("", "the request failed"),
        };
        let details = match self.retry_after {
            Some(seconds) => crate::json::json!({"retryAfterSeconds": seconds}),
            None => crate::json::Value::Null,
        };
        Status::new(self.code, self.reason.as_deref().unwrap_or(usual.0), self.message.as_deref().unwrap_or(usual.1), details)
    }
}

/// A rule: what it applies to, and what then happens.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// What it applies to.
    #[serde(rename = "match", default)]
    pub when: Match,
    /// What happens.
    #[serde(rename = "do")]
    pub action: Action,
}

/// What a rule looks at.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Subject<'a> {
    pub(crate) verb: &'a str,
    pub(crate) kind: &'static Kind,
    pub(crate) namespace: &'a str,
    pub(crate) name: &'a str,
    pub(crate) subresource: &'a str,
}

/// The rules of a cluster, with their counts. The first rule that is due decides.
#[derive(Debug, Clone, Default)]
pub struct Faults {
    rules: Vec<Counted>,
}

#[derive(Debug, Clone)]
struct Counted {
    rule: Rule,
    seen: u64,
    fired: u64,
}

impl Faults {
    /// Adds a rule behind the others.
    pub fn push(&mut self, rule: Rule) {
        self.rules.push(Counted { rule, seen: 0, fired: 0 });
    }

    /// Takes all rules away.
    pub fn clear(&mut self) {
        self.rules.clear();
    }

    /// Whether there are no rules.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// How often each rule has fired, in their order.
    #[must_use]
    pub fn fired(&self) -> Vec<u64> {
        self.rules.iter().map(|rule| rule.fired).collect()
    }

    /// What happens to this request. Every rule that matches counts it, also behind the one that decides.
    pub(crate) fn check(&mut self, subject: &Subject<'_>) -> Option<Action> {
        let mut decided = None;
        for counted in &mut self.rules {
            let when = &counted.rule.when;
            if !applies(when, &counted.rule.action, subject) {
                continue;
            }
            counted.seen += 1;
            let due =
                when.nth.is_none_or(|nth| nth == counted.seen) && when.every.is_none_or(|every| every > 0 && counted.seen % every == 0);
            if due && decided.is_none() {
                counted.fired += 1;
                decided = Some(counted.rule.action.clone());
            }
        }
        decided
    }
}

fn applies(when: &Match, action: &Action, subject: &Subject<'_>) -> bool {
    let is = |wanted: &Option<String>, actual: &str| wanted.as_deref().is_none_or(|wanted| wanted == actual);
    is(&when.verb, subject.verb)
        && is(&when.kind, subject.kind.kind)
        && is(&when.namespace, subject.namespace)
        && is(&when.name, subject.name)
        && is(&when.subresource, subject.subresource)
        && (!matches!(action, Action::DropWatch(_)) || subject.verb == "watch")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::json;
    use crate::kinds;

    fn subject<'a>(verb: &'a str, name: &'a str) -> Subject<'a> {
        Subject { verb, kind: kinds::DEPLOYMENT, namespace: "x", name, subresource: "" }
    }

    fn rule(value: crate::json::Value) -> Rule {
        crate::json::from_value(value).unwrap()
    }

    #[test]
    fn rules_count_what_matches() {
        let mut faults = Faults::default();
        faults.push(rule(json!({"match": {"verb": "patch", "kind": "Deployment", "nth": 2}, "do": {"fail": {"code": 503}}})));
        faults.push(rule(json!({"match": {"every": 3}, "do": "lost_after"})));
        assert_eq!(faults.check(&subject("patch", "a")), None);
        assert_eq!(faults.check(&subject("get", "a")), None);
        let Some(Action::Fail(failure)) = faults.check(&subject("patch", "a")) else { panic!("the second patch passes") };
        assert_eq!((failure.status().code(), failure.status().reason()), (503, "ServiceUnavailable"));
        // The third request was also the third of the second rule, which only counted it.
        assert_eq!(faults.fired(), [1, 0]);
        assert_eq!(faults.check(&subject("patch", "a")), None);
        assert_eq!(faults.check(&subject("get", "a")), None);
        assert_eq!(faults.check(&subject("get", "a")), Some(Action::LostAfter));
    }

    #[test]
    fn rules_are_data() {
        let r = rule(json!({"match": {"name": "a", "subresource": ""}, "do": {"drop_watch": 2}}));
        assert_eq!(r.action, Action::DropWatch(2));
        assert!(crate::json::from_value::<Rule>(json!({"match": {"nmae": "a"}, "do": "conflict"})).is_err());
        let mut faults = Faults::default();
        faults.push(r);
        assert_eq!(faults.check(&subject("get", "a")), None);
        assert_eq!(faults.check(&subject("watch", "a")), Some(Action::DropWatch(2)));
    }

    #[test]
    fn failures_carry_their_retry_time() {
        let failure = Failure { code: 429, reason: None, message: Some("slow down".into()), retry_after: Some(3) };
        assert_eq!(failure.status().retry_after_seconds(), Some(3));
        assert_eq!(failure.status().message(), "slow down");
    }
}
