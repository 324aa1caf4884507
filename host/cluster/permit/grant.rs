//! What may be written, as data: the lines of a runbook's `permissions`, or what an accepted plan showed.
//!
//! The words are the API's own (verb, resource, subresource, namespace, name), so that a line is judged from the request itself.

use std::fmt;

use lockgate_sim::model::glob;
use serde::{Deserialize, Serialize};

use super::wanted::Wanted;
use crate::base::{Error, Result, did_you_mean};
use crate::cluster::discovery;
use crate::cluster::request::{Act, Verb};

/// Everything that may be done beside reading.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Permissions {
    /// Requests to the API server.
    #[serde(default)]
    pub grants: Vec<Grant>,
    /// Charts that helm may install, as globs over what the runbook calls them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub charts: Vec<String>,
    /// Commands on machines.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub machine: Vec<MachineGrant>,
    /// How much of it.
    #[serde(default, skip_serializing_if = "Caps::is_none")]
    pub limits: Caps,
}

/// One line: requests that fit all of its fields. A field left out fits everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// The API's verbs, those that write.
    pub verbs: Vec<Verb>,
    /// The kinds.
    pub kinds: Vec<KindName>,
    /// Globs over namespaces; `!shop` takes one away, whatever other lines say. With namespaces, kinds without one do not fit.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub namespaces: Vec<String>,
    /// Globs over names; `!coredns` takes one away, whatever other lines say.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<String>,
    /// Globs over images: each image that the request sets must fit one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub images: Vec<String>,
    /// The least and the greatest number of replicas that the request may set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<(i64, i64)>,
    /// Pods by their controller, `deployment/web`: only an accepted plan grants so.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub owners: Vec<String>,
    /// Whether names and namespaces are just these, and no globs: so an accepted plan has them.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub exact: bool,
}

/// The beginning of a command on machines.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MachineGrant {
    /// Its first words, each a glob; `write PATH` for files.
    pub argv: Vec<String>,
    /// The nodes; all when there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nodes: Vec<String>,
    /// Whether these are all words of the command.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub whole: bool,
}

/// One more thing that a person lets a run do, when they are asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Line {
    /// Requests to the API server.
    Request(Box<Grant>),
    /// Commands on machines, on every node.
    Command {
        /// What they begin with.
        machine: MachineGrant,
    },
    /// A chart that helm may install.
    Chart {
        /// As the runbook calls it.
        chart: String,
    },
}

impl Line {
    /// The line as a runbook has it in its `permissions`.
    #[must_use]
    pub fn text(&self) -> String {
        match self {
            Line::Request(grant) => grant.line(),
            Line::Command { machine } => format!("machine = {{ {} }}", machine.line()),
            Line::Chart { chart } => format!("helm = {{ charts = {{ {chart:?} }} }}"),
        }
    }
}

/// How much a run may do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Caps {
    /// Different nodes that are cordoned, drained or changed by a command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nodes: Option<u64>,
    /// Different pods that are evicted or deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evictions: Option<u64>,
    /// Writes within a minute: above it the run waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub writes_per_minute: Option<u64>,
}

impl Caps {
    /// Whether there is no limit.
    #[must_use]
    pub fn is_none(&self) -> bool {
        *self == Caps::default()
    }
}

impl Permissions {
    /// These and those. The limits are these.
    #[must_use]
    pub fn and(mut self, those: Permissions) -> Permissions {
        self.grants.extend(those.grants);
        self.charts.extend(those.charts);
        self.machine.extend(those.machine);
        self
    }

    /// Whether nothing is permitted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.grants.is_empty() && self.charts.is_empty() && self.machine.is_empty()
    }
}

/// A kind in the words of roles: `deployments`, `pods/eviction`, `ciliumnodes.cilium.io`; `*` is every kind with every subresource.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum KindName {
    /// Every kind.
    All,
    /// One.
    One {
        /// The group; empty for the core.
        group: String,
        /// The plural.
        plural: String,
        /// The part of it.
        subresource: Option<String>,
    },
}

impl KindName {
    /// The kind of a request.
    #[must_use]
    pub fn of(act: &Act) -> KindName {
        KindName::One { group: act.group.clone(), plural: act.resource.clone(), subresource: act.subresource.clone() }
    }

    /// Reads it. A plural without a group is one of Kubernetes' own.
    ///
    /// # Errors
    /// Input, with what may have been meant.
    pub fn parse(text: &str) -> Result<KindName> {
        if text == "*" {
            return Ok(KindName::All);
        }
        let (whole, subresource) = match text.split_once('/') {
            Some((whole, part)) => (whole, Some(part.to_owned())),
            None => (text, None),
        };
        let wrong = |hint: String| Err(Error::usage(format!("`{text}` is no kind in the words of the API")).hint(hint));
        if whole.is_empty() || subresource.as_deref() == Some("") || whole.contains(char::is_whitespace) {
            return wrong("write a plural such as `deployments`, `pods/eviction` or `ciliumnodes.cilium.io`".to_owned());
        }
        if let Some((plural, group)) = whole.split_once('.') {
            return Ok(KindName::One { group: group.to_owned(), plural: plural.to_owned(), subresource });
        }
        let known = discovery::built_in();
        if let Some(found) = known.iter().find(|kind| kind.plural == whole) {
            return Ok(KindName::One { group: found.group.clone(), plural: found.plural.clone(), subresource });
        }
        let part = subresource.map(|part| format!("/{part}")).unwrap_or_default();
        let named = known.iter().find(|kind| kind.singular == whole.to_lowercase() || kind.short.iter().any(|short| short == whole));
        let near = named.map(|kind| kind.plural.as_str()).or_else(|| did_you_mean(whole, known.iter().map(|kind| kind.plural.as_str())));
        match near {
            Some(near) => wrong(format!("did you mean `{near}{part}`?")),
            None => wrong(format!("a kind that is not Kubernetes' own has its group behind it: `{whole}.GROUP{part}`")),
        }
    }

    /// The kind of a reference, where it is one of Kubernetes' own, and whether it has namespaces: `deployment`, `deploy`, `deployments`.
    #[must_use]
    pub fn of_reference(kind: &str, group: Option<&str>, subresource: Option<&str>) -> Option<(KindName, bool)> {
        let found = discovery::find(&discovery::built_in(), kind, group)?;
        let (group, plural) = (found.group.clone(), found.plural.clone());
        Some((KindName::One { group, plural, subresource: subresource.map(str::to_owned) }, found.namespaced))
    }

    /// Whether the request is about this kind.
    fn is_of(&self, act: &Act) -> bool {
        match self {
            KindName::All => true,
            KindName::One { group, plural, subresource } => {
                *group == act.group && *plural == act.resource && *subresource == act.subresource
            }
        }
    }
}

impl fmt::Display for KindName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let KindName::One { group, plural, subresource } = self else { return f.write_str("*") };
        f.write_str(plural)?;
        // What Kubernetes brings needs no group.
        if !group.is_empty() && !discovery::built_in().iter().any(|kind| kind.plural == *plural && kind.group == *group) {
            write!(f, ".{group}")?;
        }
        subresource.as_ref().map_or(Ok(()), |part| write!(f, "/{part}"))
    }
}

impl TryFrom<String> for KindName {
    type Error = Error;
    fn try_from(text: String) -> Result<KindName> {
        KindName::parse(&text)
    }
}

impl From<KindName> for String {
    fn from(kind: KindName) -> String {
        kind.to_string()
    }
}

/// What a line says about a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Says {
    /// Nothing: it is about something else.
    Nothing,
    /// It takes it away, for everybody.
    Denies(String),
    /// It would fit but for a value.
    Almost(String),
    /// It may be done.
    Allows,
}

impl Grant {
    /// Whether it may be meant for such a write, whose namespace or name need not be known.
    #[must_use]
    pub fn may_cover(&self, verb: Verb, kind: &KindName, namespace: Option<&str>, name: Option<&str>) -> bool {
        self.verbs.contains(&verb)
            && self.kinds.iter().any(|known| *known == KindName::All || known == kind)
            && namespace.is_none_or(|namespace| fits(&self.namespaces, Some(namespace)))
            && name.is_none_or(|name| fits(&self.names, Some(name)))
    }

    /// Judges a request; `owner` is the controller of the pod that it is about.
    pub(super) fn says(&self, wanted: &Wanted, owner: Option<&str>) -> Says {
        let act = &wanted.act;
        if !self.verbs.contains(&act.verb) || !self.kinds.iter().any(|kind| kind.is_of(act)) {
            return Says::Nothing;
        }
        if let Some(denied) = self.denied(wanted) {
            return Says::Denies(denied);
        }
        let (namespace, name) = (act.namespace.as_deref(), act.name.as_deref());
        let here = if self.exact { is(&self.namespaces, namespace) } else { fits(&self.namespaces, namespace) };
        let named = if self.exact { is(&self.names, name) && self.owners.is_empty() } else { fits(&self.names, name) };
        let owned = owner.is_some_and(|owner| self.owners.iter().any(|known| known == owner));
        if !here || !(named || owned) {
            return Says::Nothing;
        }
        self.misfit(wanted).map_or(Says::Allows, Says::Almost)
    }

    /// What a `!` of this line takes away.
    fn denied(&self, wanted: &Wanted) -> Option<String> {
        if self.exact {
            return None;
        }
        let hit = |patterns: &[String], text: &str| {
            patterns.iter().filter_map(|pattern| pattern.strip_prefix('!')).any(|pattern| glob(pattern, text))
        };
        let of = |patterns: &[String], text: Option<&String>, field: &str| {
            text.filter(|text| hit(patterns, text)).map(|text| format!("its `{field}` take `{text}` away"))
        };
        of(&self.namespaces, wanted.act.namespace.as_ref(), "namespaces")
            .or_else(|| of(&self.names, wanted.act.name.as_ref(), "names"))
            .or_else(|| wanted.images.iter().find_map(|image| of(&self.images, Some(image), "images")))
    }

    /// The value that does not fit.
    fn misfit(&self, wanted: &Wanted) -> Option<String> {
        let bounded = !self.images.is_empty() || self.replicas.is_some();
        if let (true, Some(why)) = (bounded, &wanted.unreadable) {
            return Some(format!("nobody can tell which values it sets: {why}"));
        }
        if let Some(image) = wanted.images.iter().find(|image| !fits(&self.images, Some(image))) {
            return Some(format!("the image `{image}` is none of {}", texts(&self.images)));
        }
        let (least, most) = self.replicas?;
        let beyond = wanted.replicas.iter().find(|count| **count < least || **count > most)?;
        Some(format!("{beyond} replicas are not within {least} and {most}"))
    }

    /// The line as a runbook has it.
    #[must_use]
    pub fn line(&self) -> String {
        let list = |name: &str, items: Vec<String>| (!items.is_empty()).then(|| format!("{name} = {{ {} }}", items.join(", ")));
        let quoted = |items: &[String]| items.iter().map(|item| format!("{item:?}")).collect::<Vec<_>>();
        let fields = [
            list("verbs", self.verbs.iter().map(|verb| format!("{:?}", verb.as_str())).collect()),
            list("kinds", self.kinds.iter().map(|kind| format!("{:?}", kind.to_string())).collect()),
            list("namespaces", quoted(&self.namespaces)),
            list("names", quoted(&self.names)),
            list("images", quoted(&self.images)),
            self.replicas.map(|(least, most)| format!("replicas = {{ {least}, {most} }}")),
        ];
        format!("{{ {} }}", fields.into_iter().flatten().collect::<Vec<_>>().join(", "))
    }
}

impl MachineGrant {
    /// The entry that would grant this command: its program and what it is told to do first. Of a program that runs others the first words
    /// say nothing, so that all of them are meant.
    pub(super) fn granting(words: &[String]) -> MachineGrant {
        const RUNS_OTHERS: [&str; 14] =
            ["sh", "bash", "dash", "ash", "zsh", "python3", "perl", "env", "sudo", "nsenter", "chroot", "systemd-run", "timeout", "xargs"];
        let program = words.first().map_or("", |word| word.rsplit('/').next().unwrap_or_default());
        let count = if RUNS_OTHERS.contains(&program) { words.len() } else { 2 };
        MachineGrant { argv: words.iter().take(count).cloned().collect(), ..MachineGrant::default() }
    }

    /// Whether it lets this command run on this node.
    pub(super) fn allows(&self, node: &str, words: &[String]) -> bool {
        let here = self.nodes.is_empty() || self.nodes.iter().any(|pattern| glob(pattern, node));
        let long = if self.whole { words.len() == self.argv.len() } else { words.len() >= self.argv.len() };
        here && long && !self.argv.is_empty() && self.argv.iter().zip(words).all(|(pattern, word)| self.word(pattern, word))
    }

    fn word(&self, pattern: &str, word: &str) -> bool {
        if self.whole { pattern == word } else { glob(pattern, word) }
    }

    /// The entry as a runbook has it.
    #[must_use]
    pub fn line(&self) -> String {
        format!("{{ {} }}", self.argv.iter().map(|word| format!("{word:?}")).collect::<Vec<_>>().join(", "))
    }
}

/// Whether a text is among globs. None at all fit everything; globs that only take away leave the rest.
pub(super) fn fits(patterns: &[String], text: Option<&str>) -> bool {
    let (away, among): (Vec<&String>, Vec<&String>) = patterns.iter().partition(|pattern| pattern.starts_with('!'));
    let Some(text) = text else { return among.is_empty() && away.is_empty() };
    let taken = away.iter().filter_map(|pattern| pattern.strip_prefix('!')).any(|pattern| glob(pattern, text));
    !taken && (among.is_empty() || among.iter().any(|pattern| glob(pattern, text)))
}

/// Whether a text is one of these; nothing is where there are none.
fn is(texts: &[String], text: Option<&str>) -> bool {
    text.map_or(texts.is_empty(), |text| texts.iter().any(|known| known == text))
}

fn texts(items: &[String]) -> String {
    items.iter().map(|item| format!("`{item}`")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_the_words_of_the_api() {
        for (text, shown) in [
            ("deployments", "deployments"),
            ("deployments.apps", "deployments"),
            ("pods/eviction", "pods/eviction"),
            ("ciliumnodes.cilium.io", "ciliumnodes.cilium.io"),
            ("*", "*"),
        ] {
            assert_eq!(KindName::parse(text).unwrap().to_string(), shown);
        }
        for (text, hint) in [
            ("deployment", "did you mean `deployments`?"),
            ("Pod/eviction", "did you mean `pods/eviction`?"),
            ("deploymnts", "did you mean `deployments`?"),
            ("ciliumnodes", "a kind that is not Kubernetes' own has its group behind it: `ciliumnodes.GROUP`"),
        ] {
            assert_eq!(KindName::parse(text).unwrap_err().hint.as_deref(), Some(hint), "{text}");
        }
        let act = |path: &str| Act::of(&http::Method::PATCH, path, "");
        let apps = KindName::parse("deployments").unwrap();
        assert!(apps.is_of(&act("/apis/apps/v1/namespaces/d/deployments/x")));
        assert!(!apps.is_of(&act("/apis/apps/v1/namespaces/d/deployments/x/scale")));
        assert!(!apps.is_of(&act("/apis/evil.example/v1/namespaces/d/deployments/x")));
    }

    #[test]
    fn globs_take_away_too() {
        let list = |items: &[&str]| items.iter().map(|item| (*item).to_owned()).collect::<Vec<_>>();
        assert!(fits(&[], None) && fits(&[], Some("x")));
        assert!(fits(&list(&["web-*"]), Some("web-1")) && !fits(&list(&["web-*"]), Some("db")) && !fits(&list(&["*"]), None));
        assert!(fits(&list(&["!db"]), Some("web")) && !fits(&list(&["!db", "*"]), Some("db")));
    }

    #[test]
    fn commands_are_granted_by_their_beginning() {
        let grant = |argv: &[&str]| MachineGrant { argv: argv.iter().map(|word| (*word).to_owned()).collect(), ..MachineGrant::default() };
        let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
        assert!(grant(&["kubeadm", "upgrade"]).allows("n1", &words("kubeadm upgrade apply v1.34.1")));
        assert!(!grant(&["kubeadm", "upgrade"]).allows("n1", &words("kubeadm reset")));
        assert!(!grant(&["kubeadm", "upgrade"]).allows("n1", &words("kubeadm")));
        assert!(!grant(&[]).allows("n1", &words("rm -rf /")));
        let one = MachineGrant { nodes: vec!["n1".into()], whole: true, ..grant(&["kubeadm", "reset*"]) };
        assert!(!one.allows("n2", &words("kubeadm reset*")) && !one.allows("n1", &words("kubeadm reset")));
    }
}
