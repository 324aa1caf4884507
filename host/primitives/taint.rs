//! `taint`: what keeps pods off a node.

use std::collections::BTreeMap;
use std::fmt;

use crate::base::json::{Value as Json, json};

use super::cx::Cx;
use super::done::{Done, Inverse, Wrote};
use super::registry::{Arg, list};
use super::tries::{Tries, version};
use super::types::{ArgType, NodeRef, Type, choose};
use super::view;
use crate::base::diff::changes;
use crate::base::{Error, Result, Value};
use crate::cluster::{PatchType, Target};
use crate::primitive;

const EFFECTS: &[&str] = &["NoSchedule", "PreferNoSchedule", "NoExecute"];

/// A change of a node's taints, as `kubectl taint` writes it.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Taint {
    /// `key=value:Effect`, `key:Effect`: there shall be one.
    Set { key: String, value: String, effect: &'static str },
    /// `key:Effect-`, `key-`: there shall be none of this key, or of this key and effect.
    Clear { key: String, effect: Option<&'static str> },
}

impl Taint {
    fn parse(text: &str) -> Result<Taint> {
        let (body, clears) = text.strip_suffix('-').map_or((text, false), |body| (body, true));
        let (pair, effect) = body.rsplit_once(':').map_or((body, None), |(pair, effect)| (pair, Some(effect)));
        let effect = effect
            .map(|effect| {
                choose(effect, EFFECTS).map_err(|error| {
                    let wrong = Error::usage(format!("has a wrong entry `{text}`: its effect {}", error.message));
                    wrong.hint(error.hint.clone().unwrap_or_else(|| format!("the effects are {}", list(EFFECTS.iter().copied()))))
                })
            })
            .transpose()?;
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let wrong = |what: String| {
            Error::usage(format!("has a wrong entry `{text}`: {what}"))
                .hint("write `key=value:Effect` or `key:Effect`; `key:Effect-` and `key-` take away")
        };
        lockgate_sim::selector::check_key(key).map_err(|_| wrong(format!("`{key}` cannot be its key")))?;
        lockgate_sim::selector::check_value(value).map_err(|_| wrong(format!("`{value}` cannot be its value")))?;
        match (clears, effect) {
            (true, effect) => Ok(Taint::Clear { key: key.to_owned(), effect }),
            (false, Some(effect)) => Ok(Taint::Set { key: key.to_owned(), value: value.to_owned(), effect }),
            (false, None) => Err(wrong("it has no effect".to_owned())),
        }
    }

    fn key(&self) -> &str {
        match self {
            Taint::Set { key, .. } | Taint::Clear { key, .. } => key,
        }
    }

    /// Whether a taint of a node is the one that this is about.
    fn means(&self, taint: &Json) -> bool {
        let effect = match self {
            Taint::Set { effect, .. } => Some(*effect),
            Taint::Clear { effect, .. } => *effect,
        };
        view::text(taint, "/key") == self.key() && effect.is_none_or(|effect| view::text(taint, "/effect") == effect)
    }
}

/// `key=value:Effect`
impl fmt::Display for Taint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Taint::Set { key, value, effect } if value.is_empty() => write!(f, "{key}:{effect}"),
            Taint::Set { key, value, effect } => write!(f, "{key}={value}:{effect}"),
            Taint::Clear { key, effect: Some(effect) } => write!(f, "{key}:{effect}-"),
            Taint::Clear { key, effect: None } => write!(f, "{key}-"),
        }
    }
}

/// A taint of a node as text.
fn text(taint: &Json) -> String {
    let of = |field: &str| view::text(taint, field);
    match (of("/key"), of("/value"), of("/effect")) {
        (key, "", effect) => format!("{key}:{effect}"),
        (key, value, effect) => format!("{key}={value}:{effect}"),
    }
}

/// Changes of a node's taints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taints(Vec<Taint>);

impl ArgType for Taints {
    const TYPE: Type = Type::new("{ string }", "a list of taints such as \"key=value:NoSchedule\" or \"key-\"");
    fn from_arg(arg: Arg) -> Result<Self> {
        let texts = Vec::<String>::from_arg(arg)?;
        if texts.is_empty() {
            return Err(Error::usage(format!("must be {}, got an empty list", Self::TYPE.text)));
        }
        let taints = texts.iter().map(|text| Taint::parse(text)).collect::<Result<Vec<_>>>()?;
        let sets = |taint: &&Taint| matches!(taint, Taint::Set { .. });
        for (place, taint) in taints.iter().enumerate().filter(|(_, taint)| sets(taint)) {
            let same = taints.iter().enumerate().find(|(other, made)| *other != place && made.means(&made_of(taint)));
            if let Some((_, other)) = same {
                return Err(Error::usage(format!("says two things about one taint: `{taint}` and `{other}`")));
            }
        }
        Ok(Taints(taints))
    }
}

/// A taint as the API writes it.
fn made_of(taint: &Taint) -> Json {
    match taint {
        Taint::Set { key, value, effect } if value.is_empty() => json!({ "key": key, "effect": effect }),
        Taint::Set { key, value, effect } => json!({ "key": key, "value": value, "effect": effect }),
        Taint::Clear { key, .. } => json!({ "key": key }),
    }
}

primitive! {
    /// Sets and takes away taints of a node.
    ///
    /// One of the same key and effect gets the new value. All other taints stay as they are, and the list is written for the node that was
    /// read only, so that a taint which a controller adds at the same moment is not lost. When all is as asked nothing is sent; taking
    /// away what is not there is no error.
    pub write fn taint as TaintNode(
        /// The node, for example `w1`.
        node: NodeRef,
        /// `key=value:Effect` or `key:Effect` sets one, `key:Effect-` and `key-` take away; effects are `NoSchedule`,
        /// `PreferNoSchedule` and `NoExecute`.
        taints: Taints,
    ) -> "{ changed: boolean, previous: { string }, taints: { string } }", "the node's taints before, and now";
    since "0.1";
    example r#"taint("w1", { "upgrade=running:NoSchedule", "old-" })"#;
    needs ["get {node}", "patch {node}"];
}

impl TaintNode {
    async fn run(self, cx: Cx) -> Result<Done> {
        let target = cx.target(&self.node.0, None).await?;
        let mut tries = Tries::of(&cx, &target, "tainting");
        loop {
            let before = tries.read().await?;
            let now = view::list(&before, "/spec/taints").to_vec();
            let wanted = self.applied(&now);
            if wanted == now {
                return Ok(Done::unchanged(result(false, &now, &now)));
            }
            let taints = Json::Array(wanted.iter().cloned().collect());
            // The list is replaced whole: only in the node that was read.
            let body = json!({ "metadata": { "resourceVersion": version(&before) }, "spec": { "taints": taints.clone() } });
            match cx.cluster.patch(&target, PatchType::Merge, body, None).await {
                Err(error) => tries.again(PatchType::Merge, &before, error).await?,
                Ok(_) => return Ok(Done::changed(result(true, &now, &wanted), wrote(&target, &now, &wanted))),
            }
        }
    }

    /// The taints after the changes. A taint that has its value already stays as it is, with what else it says.
    fn applied(&self, now: &[Json]) -> Vec<Json> {
        let mut taints = now.to_vec();
        for change in &self.taints.0 {
            match change {
                Taint::Clear { .. } => taints.retain(|taint| !change.means(taint)),
                Taint::Set { value, .. } => match taints.iter_mut().find(|taint| change.means(taint)) {
                    Some(taint) if view::text(taint, "/value") == value => {}
                    Some(taint) => *taint = made_of(change),
                    None => taints.push(made_of(change)),
                },
            }
        }
        taints
    }
}

fn texts(taints: &[Json]) -> Json {
    Json::Array(taints.iter().map(|taint| Json::from(text(taint))).collect())
}

fn result(changed: bool, before: &[Json], after: &[Json]) -> Value {
    Value::Json(json!({ "changed": changed, "previous": texts(before), "taints": texts(after) }))
}

fn wrote(target: &Target, before: &[Json], after: &[Json]) -> Wrote {
    let by_name = |taints: &[Json]| -> BTreeMap<(String, String), String> {
        let of = |taint: &Json| (view::text(taint, "/key").to_owned(), view::text(taint, "/effect").to_owned());
        taints.iter().map(|taint| (of(taint), text(taint))).collect()
    };
    let (old, new) = (by_name(before), by_name(after));
    let back = old.iter().filter(|(name, text)| new.get(*name) != Some(*text)).map(|(_, text)| text.clone());
    let away = new.keys().filter(|name| !old.contains_key(*name)).map(|(key, effect)| format!("{key}:{effect}-"));
    let back: Vec<String> = back.chain(away).collect();
    let list = |taints: &[Json]| if taints.is_empty() { json!({}) } else { json!({ "spec": { "taints": texts(taints) } }) };
    Wrote {
        verb: "patch".to_owned(),
        target: target.to_string(),
        changes: changes(&list(before), &list(after)),
        inverse: Inverse::Call { verb: "taint".to_owned(), arguments: vec![target.full_name().into(), json!(back)], options: Json::Null },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn taints_are_written_as_for_kubectl() {
        for text in ["a=b:NoSchedule", "a:NoExecute", "example.com/a=b:PreferNoSchedule", "a:NoSchedule-", "a-", "a=b:NoSchedule-"] {
            let taint = Taint::parse(text).unwrap();
            let told = if text == "a=b:NoSchedule-" { "a:NoSchedule-" } else { text };
            assert_eq!(taint.to_string(), told);
        }
        for (text, why) in [
            ("a=b", "it has no effect"),
            ("a=b:NoShedule", "its effect must be one of"),
            ("=b:NoSchedule", "`` cannot be its key"),
            ("a=b c:NoSchedule", "`b c` cannot be its value"),
            ("", "`` cannot be its key"),
        ] {
            let error = Taint::parse(text).unwrap_err();
            assert!(error.message.contains(why), "{text}: {}", error.message);
        }
    }

    #[test]
    fn one_taint_cannot_be_said_twice() {
        let given = |texts: &[&str]| Taints::from_arg(Arg::Value(Value::Json(json!(texts))));
        assert!(given(&["a=b:NoSchedule", "a=b:NoExecute", "c-"]).is_ok());
        for wrong in [&["a=b:NoSchedule", "a-"][..], &["a=b:NoSchedule", "a=c:NoSchedule"], &["a:NoSchedule-", "a:NoSchedule"], &[]] {
            assert!(given(wrong).is_err(), "{wrong:?}");
        }
    }
}
