//! Webhooks that a dry run must not reach: those that do something besides saying yes or no, and do not promise to leave it in a dry run.
//! Servers refuse a dry run that would call one (`k8s.io/apiserver/pkg/admission/plugin/webhook/mutating/dispatcher.go`). A plan reads the
//! configurations beforehand, names these webhooks, and does not ask about writes that would reach them.

use lockgate_sim::kinds::Kind;
use lockgate_sim::selector::LabelSelector;
use lockgate_sim::{Scope, kinds};

use super::overlay::asking;
use super::page::{self, meta};
use super::request::{Act, Verb};
use super::wire::Wire;
use crate::base::json::Value as Json;
use crate::base::{Reason, Result};

/// What a webhook may say of itself that lets it take a dry run.
const HARMLESS: [&str; 2] = ["None", "NoneOnDryRun"];

/// The webhooks of a cluster that take no dry run.
#[derive(Clone, Debug, Default)]
pub(super) struct Webhooks {
    found: Vec<Webhook>,
    /// Why the configurations could not be read, for people.
    pub(super) unread: Option<String>,
}

#[derive(Clone, Debug)]
struct Webhook {
    /// `webhook w.example of validatingwebhookconfiguration/w`.
    about: String,
    /// What it says of its side effects.
    effects: String,
    rules: Vec<Json>,
    namespaces: Option<Json>,
    objects: Option<Json>,
}

impl Webhooks {
    /// Reads the configurations. That they may not be read is told: then the server's own refusal is all that is known.
    ///
    /// # Errors
    /// When the operator stops it.
    pub(super) async fn read(base: &Wire) -> Result<Webhooks> {
        let mut all = Webhooks::default();
        let mut unread = Vec::new();
        for kind in [kinds::MUTATING_WEBHOOK_CONFIGURATION, kinds::VALIDATING_WEBHOOK_CONFIGURATION] {
            let (_, call) = asking(&Scope::all(kind, None));
            match page::read(base, &call, &kind.api_version(), kind.kind).await {
                Ok(listed) => all.found.extend(listed.items.iter().flat_map(|one| of_configuration(kind, one))),
                Err(error) if error.reason == Reason::Interrupted => return Err(error),
                Err(error) => {
                    let needs = error.hint.as_ref().filter(|_| error.reason == Reason::Forbidden);
                    let cause = error.causes.first().unwrap_or(&error.message);
                    unread.push(needs.map_or_else(|| format!("{}: {cause}", kind.plural), Clone::clone));
                }
            }
        }
        if !unread.is_empty() {
            let why = unread.join("; ");
            all.unread = Some(format!(
                "which webhooks take no dry run could not be read, so only the server's refusal of a dry run tells of one: {why}"
            ));
        }
        Ok(all)
    }

    /// Why the server must not be asked about this write: the webhooks that it would reach. `labels` are those of its namespace, as far as
    /// they are known; `objects` what is written, before and after.
    pub(super) fn reached(&self, act: &Act, labels: Option<&Json>, objects: &[&Json]) -> Option<String> {
        let reached: Vec<String> = self
            .found
            .iter()
            .filter(|webhook| webhook.is_reached(act, labels, objects))
            .map(|webhook| format!("{} (side effects: {})", webhook.about, webhook.effects))
            .collect();
        let part = act.subresource.as_ref().map_or_else(String::new, |part| format!("/{part}"));
        (!reached.is_empty()).then(|| {
            format!(
                "not asked about writes of `{}{part}`: a dry run would reach what takes none, which is not called in a plan: {}",
                act.resource,
                reached.join(", ")
            )
        })
    }
}

impl Webhook {
    fn is_reached(&self, act: &Act, labels: Option<&Json>, objects: &[&Json]) -> bool {
        let by_label = |selector: &Option<Json>, found: &[&Json]| {
            // What a selector means that cannot be read here nobody knows: it may select.
            let Some(selector) = selector.as_ref().and_then(|selector| LabelSelector::from_value(selector).ok()) else { return true };
            selector.is_empty() || found.is_empty() || found.iter().any(|object| selector.matches(object))
        };
        let is_namespace = act.group.is_empty() && act.resource == "namespaces";
        // A namespace is selected by its own labels, another object without a namespace never is left out.
        let namespaces: Vec<&Json> = if is_namespace { objects.to_vec() } else { labels.into_iter().collect() };
        self.rules.iter().any(|rule| fits(rule, act)) && by_label(&self.namespaces, &namespaces) && by_label(&self.objects, objects)
    }
}

/// Those of a configuration that take no dry run.
fn of_configuration(kind: &Kind, configuration: &Json) -> Vec<Webhook> {
    let all = configuration.get("webhooks").and_then(Json::as_array).into_iter().flatten();
    let text = |webhook: &Json, field: &str| webhook.get(field).and_then(Json::as_str).unwrap_or_default().to_owned();
    all.filter(|webhook| !HARMLESS.contains(&text(webhook, "sideEffects").as_str()))
        .map(|webhook| Webhook {
            about: format!("webhook `{}` of {}/{}", text(webhook, "name"), kind.singular, meta(configuration, "name")),
            effects: Some(text(webhook, "sideEffects")).filter(|text| !text.is_empty()).unwrap_or_else(|| "not said".to_owned()),
            rules: webhook.get("rules").and_then(Json::as_array).map(|rules| rules.to_vec()).unwrap_or_default(),
            namespaces: webhook.get("namespaceSelector").cloned(),
            objects: webhook.get("objectSelector").cloned(),
        })
        .collect()
}

/// Whether a rule is about an act. Versions are left out: by default a webhook hears of every version of what it names.
fn fits(rule: &Json, act: &Act) -> bool {
    let has = |field: &str, wanted: &dyn Fn(&str) -> bool| {
        let words = rule.get(field).and_then(Json::as_array).into_iter().flatten();
        words.filter_map(Json::as_str).any(|word| word == "*" || wanted(word))
    };
    let operation = match act.verb {
        Verb::Create => "CREATE",
        Verb::Update | Verb::Patch => "UPDATE",
        Verb::Delete | Verb::DeleteCollection => "DELETE",
        _ => return false,
    };
    let part = act.subresource.as_deref();
    let is_resource = |word: &str| match (word.split_once('/'), part) {
        (None, None) => word == act.resource,
        (Some((resource, own)), Some(part)) => (resource == "*" || resource == act.resource) && (own == "*" || own == part),
        (Some((resource, "*")), None) => resource == "*" || resource == act.resource,
        _ => false,
    };
    let is_in_scope = match rule.get("scope").and_then(Json::as_str) {
        Some("Namespaced") => act.namespace.is_some(),
        Some("Cluster") => act.namespace.is_none(),
        _ => true,
    };
    // A bare star means every kind, and no part of one.
    let is_any = |word: &str| part.is_none() && word == "*";
    let resources = rule.get("resources").and_then(Json::as_array).into_iter().flatten().filter_map(Json::as_str);
    is_in_scope
        && has("operations", &|word| word == operation)
        && has("apiGroups", &|word| word == act.group)
        && resources.into_iter().any(|word| is_any(word) || is_resource(word))
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::*;
    use crate::base::json::json;

    fn act(method: &Method, path: &str) -> Act {
        Act::of(method, path, "")
    }

    fn configuration(effects: &str, more: Json) -> Webhooks {
        let mut webhook = json!({
            "name": "w.example", "sideEffects": effects,
            "rules": [{ "operations": ["CREATE", "UPDATE"], "apiGroups": ["apps"], "apiVersions": ["v1"], "resources": ["deployments"] }],
        });
        webhook.merge(&more);
        let whole = json!({ "metadata": { "name": "w" }, "webhooks": [webhook] });
        Webhooks { found: of_configuration(kinds::VALIDATING_WEBHOOK_CONFIGURATION, &whole), unread: None }
    }

    #[test]
    fn only_what_takes_no_dry_run_and_is_reached_is_named() {
        let patch = act(&Method::PATCH, "/apis/apps/v1/namespaces/shop/deployments/web");
        let web = json!({ "metadata": { "labels": { "app": "web" } } });
        let shop = json!({ "metadata": { "labels": { "team": "a" } } });
        let reached = |webhooks: &Webhooks, act: &Act| webhooks.reached(act, Some(&shop), &[&web]).is_some();
        for (effects, expected) in [("None", false), ("NoneOnDryRun", false), ("Some", true), ("Unknown", true), ("", true)] {
            assert_eq!(reached(&configuration(effects, json!({})), &patch), expected, "{effects}");
        }
        for (method, path, expected) in [
            (Method::POST, "/apis/apps/v1/namespaces/shop/deployments", true),
            (Method::DELETE, "/apis/apps/v1/namespaces/shop/deployments/web", false),
            (Method::PATCH, "/apis/apps/v1/namespaces/shop/deployments/web/scale", false),
            (Method::PATCH, "/apis/apps/v1/namespaces/shop/daemonsets/web", false),
            (Method::PATCH, "/api/v1/namespaces/shop/configmaps/web", false),
        ] {
            assert_eq!(reached(&configuration("Some", json!({})), &act(&method, path)), expected, "{method} {path}");
        }
        for (more, expected) in [
            (json!({ "objectSelector": { "matchLabels": { "app": "web" } } }), true),
            (json!({ "objectSelector": { "matchLabels": { "app": "db" } } }), false),
            (json!({ "namespaceSelector": { "matchLabels": { "team": "a" } } }), true),
            (json!({ "namespaceSelector": { "matchExpressions": [{ "key": "team", "operator": "DoesNotExist" }] } }), false),
        ] {
            assert_eq!(reached(&configuration("Some", more.clone()), &patch), expected, "{more}");
        }
        let told = configuration("", json!({})).reached(&patch, None, &[&web]).unwrap();
        assert!(told.ends_with("webhook `w.example` of validatingwebhookconfiguration/w (side effects: not said)"), "{told}");
        // Parts are named by themselves.
        let parts = |resources: &[&str]| {
            let rule = json!({ "operations": ["*"], "apiGroups": ["*"], "apiVersions": ["*"], "resources": resources });
            configuration("Some", json!({ "rules": [rule] }))
        };
        let evict = act(&Method::POST, "/api/v1/namespaces/shop/pods/p/eviction");
        for (resources, expected) in
            [(&["pods"][..], false), (&["*"], false), (&["pods/eviction"], true), (&["*/*"], true), (&["pods/*"], true)]
        {
            assert_eq!(reached(&parts(resources), &evict), expected, "{resources:?}");
        }
    }
}
