//! What a runbook file declared, as plain data: no Lua, no cluster. `list`, `show` and the generated pages read only this.

use std::collections::BTreeMap;

use crate::base::json::Value as Json;
use serde::{Deserialize, Serialize};

use crate::base::{Place, Value};

/// One runbook, as its file declares it.
#[derive(Clone, Debug, PartialEq)]
pub struct Runbook {
    /// The name it is called by: its folder, or its file without the ending.
    pub name: String,
    /// The `runbook { }` declaration.
    pub header: Header,
    /// The `param` declarations, in file order.
    pub params: Vec<ParamDecl>,
    /// The `check` declarations, in file order.
    pub checks: Vec<CheckDecl>,
    /// The `step` declarations, in file order.
    pub steps: Vec<StepDecl>,
    /// The `coverage` tables, in file order.
    pub coverage: Vec<Coverage>,
}

/// The `runbook { }` declaration.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Header {
    /// What it is, as a heading.
    pub title: String,
    /// What it does, in a sentence or two.
    pub summary: String,
    /// What users of the cluster notice.
    pub impact: Impact,
    /// The document it follows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// The namespace of references that name none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// The versions it is written for, as text for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub versions: Option<String>,
    /// How long it takes, as text for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration: Option<String>,
    /// Free labels for catalogues.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

/// What users of the cluster notice of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Impact {
    /// Nothing.
    #[default]
    None,
    /// Pods are restarted.
    Restarts,
    /// Some service works less well for a while.
    Degraded,
    /// Some service does not work for a while.
    Outage,
}

impl Impact {
    /// The words of the declaration, from least to most.
    pub const WORDS: &'static [&'static str] = &["none", "restarts", "degraded", "outage"];

    /// The impact of that word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        match word {
            "none" => Some(Impact::None),
            "restarts" => Some(Impact::Restarts),
            "degraded" => Some(Impact::Degraded),
            "outage" => Some(Impact::Outage),
            _ => None,
        }
    }

    /// The word of the declaration.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Impact::None => "none",
            Impact::Restarts => "restarts",
            Impact::Degraded => "degraded",
            Impact::Outage => "outage",
        }
    }
}

macro_rules! param_types {
    ($($(#[$doc:meta])* $variant:ident = $word:literal, $text:literal);+ $(;)?) => {
        /// The type of a parameter.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum ParamType { $($(#[$doc])* $variant),+ }
        impl ParamType {
            /// The words of the declaration.
            pub const WORDS: &'static [&'static str] = &[$($word),+];
            /// The type of that word.
            #[must_use]
            pub fn parse(word: &str) -> Option<Self> {
                match word { $($word => Some(ParamType::$variant),)+ _ => None }
            }
            /// The word of the declaration.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(ParamType::$variant => $word),+ }
            }
            /// What people call a value of it, with the article.
            #[must_use]
            pub fn text(self) -> &'static str {
                match self { $(ParamType::$variant => $text),+ }
            }
        }
    };
}
param_types! {
    /// Any text.
    String = "string", "a text";
    /// True or false.
    Boolean = "boolean", "true or false";
    /// A whole number.
    Integer = "integer", "a whole number";
    /// Any number.
    Number = "number", "a number";
    /// A version such as `v1.9.3`.
    Version = "version", "a version such as v1.9.3";
    /// An image reference.
    Image = "image", "an image such as registry.example/name:v1.9.3";
    /// A length of time such as `90s`.
    Duration = "duration", "a duration such as 90s or 1h30m";
    /// A quantity such as `500m` or `2Gi`.
    Quantity = "quantity", "a quantity such as 500m or 2Gi";
    /// A list; on the command line separated by commas.
    List = "list", "a list such as a,b,c";
    /// A table; only in a parameter file.
    Map = "map", "a table in a parameter file";
    /// One of the declared choices.
    Choice = "choice", "one of its choices";
    /// Manifests in a file, read by the host.
    Manifests = "manifests", "a file of Kubernetes YAML";
    /// A text that is never printed.
    Secret = "secret", "a secret text";
}

/// A `param "name" { }` declaration.
#[derive(Clone, Debug, PartialEq)]
pub struct ParamDecl {
    /// Its name.
    pub name: String,
    /// Its type.
    pub ty: ParamType,
    /// What it means.
    pub doc: String,
    /// The value when none is given, already of its type.
    pub default: Option<Value>,
    /// Whether it may be left out without a default; it is `nil` then.
    pub optional: bool,
    /// The allowed values of a `choice`.
    pub choices: Vec<String>,
    /// The least number allowed.
    pub min: Option<f64>,
    /// The greatest number allowed.
    pub max: Option<f64>,
    /// A Lua pattern that a text must match as a whole.
    pub pattern: Option<String>,
    /// A value as one would type it.
    pub example: Option<String>,
    /// Where it is declared.
    pub place: Place,
}

impl ParamDecl {
    /// Whether a run needs it to be given.
    #[must_use]
    pub fn required(&self) -> bool {
        self.default.is_none() && !self.optional
    }
}

/// When a check is asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum At {
    /// Once; its verdict stands when the run is resumed.
    #[default]
    Start,
    /// Again whenever the run goes on.
    Always,
}

/// A `check "id" { }` declaration.
#[derive(Clone, Debug, PartialEq)]
pub struct CheckDecl {
    /// Its id.
    pub id: String,
    /// What holds when it says yes.
    pub title: String,
    /// When it is asked.
    pub at: At,
    /// Whether it has a `when`.
    pub has_when: bool,
    /// Where it is declared.
    pub place: Place,
}

/// The title of a step.
#[derive(Clone, Debug, PartialEq)]
pub enum Title {
    /// Plain text.
    Text(String),
    /// A function; it is called when the step begins.
    Function,
}

/// A `step "id" { }` declaration. Every step has a `run`.
#[derive(Clone, Debug, PartialEq)]
pub struct StepDecl {
    /// Its id.
    pub id: String,
    /// What it does.
    pub title: Title,
    /// Whether it has a `verify`.
    pub has_verify: bool,
    /// Whether it has a `recover`.
    pub has_recover: bool,
    /// Whether it has a `when`.
    pub has_when: bool,
    /// Why it cannot be taken back, when it cannot.
    pub irreversible: Option<String>,
    /// Where it is declared.
    pub place: Place,
}

impl StepDecl {
    /// The title where it is plain text, else the id.
    #[must_use]
    pub fn title_or_id(&self) -> &str {
        match &self.title {
            Title::Text(text) => text,
            Title::Function => &self.id,
        }
    }
}

/// A `coverage "002" { }` table: which part of the runbook answers for which lines of its source document.
#[derive(Clone, Debug, PartialEq)]
pub struct Coverage {
    /// The document's number.
    pub document: String,
    /// One entry a range, in the order of the lines.
    pub entries: Vec<CoverageEntry>,
    /// Where it is declared.
    pub place: Place,
}

/// One range of a coverage table.
#[derive(Clone, Debug, PartialEq)]
pub struct CoverageEntry {
    /// The key as written: `12` or `12-14`.
    pub key: String,
    /// The first line, from 1.
    pub from: u32,
    /// The last line.
    pub to: u32,
    /// What answers for it.
    pub by: CoveredBy,
}

/// What answers for lines of a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CoveredBy {
    /// A part of the runbook: `step ipam recover`, `check patch-only`.
    Part(String),
    /// Nothing, for this reason.
    Waived(String),
}

/// Whose function is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Owner {
    /// The check at this place of [`Runbook::checks`].
    Check(usize),
    /// The step at this place of [`Runbook::steps`].
    Step(usize),
}

/// A function of a declaration. The same in every load of the same file, so that each step can start from a fresh load.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CallbackId {
    /// Whose.
    pub owner: Owner,
    /// Which.
    pub phase: Phase,
}

/// Which function of a check or step; decides what may be called there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// `title`, when it is a function.
    Title,
    /// `when`.
    When,
    /// `run` of a check.
    Check,
    /// `run` of a step.
    Run,
    /// `verify`.
    Verify,
    /// `recover`.
    Recover,
}

impl Phase {
    /// The field of the declaration.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Phase::Title => "title",
            Phase::When => "when",
            Phase::Check | Phase::Run => "run",
            Phase::Verify => "verify",
            Phase::Recover => "recover",
        }
    }

    /// Whether writes are allowed.
    #[must_use]
    pub fn writes(self) -> bool {
        matches!(self, Phase::Run | Phase::Recover)
    }

    /// Whether the operator may be asked something.
    #[must_use]
    pub fn asks(self) -> bool {
        matches!(self, Phase::Check | Phase::Run | Phase::Recover)
    }
}

/// What a run was given, typed.
pub type Params = BTreeMap<String, Value>;

/// What steps hand on to each other.
pub type State = BTreeMap<String, Value>;

/// The parameters as they may be shown: secrets are hidden.
#[must_use]
pub fn shown(runbook: &Runbook, params: &Params) -> BTreeMap<String, Json> {
    params
        .iter()
        .filter(|(_, value)| !matches!(value, Value::Nil))
        .map(|(name, value)| {
            let secret = runbook.params.iter().any(|decl| decl.name == *name && decl.ty == ParamType::Secret);
            (name.clone(), if secret { Json::from("(secret)") } else { value.clone().into_json() })
        })
        .collect()
}
