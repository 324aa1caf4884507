//! What a runbook file declared, as plain data: no Lua, no cluster. `list`, `show` and the generated pages read only this.

use std::collections::BTreeMap;

use crate::base::json::Value as Json;
use serde::{Deserialize, Serialize};

use crate::base::{Place, Value};
use crate::cluster::permit::Permissions;

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
    /// The `step` declarations, in file order; those of groups stand where their group does.
    pub steps: Vec<StepDecl>,
    /// The `group` declarations, in file order.
    pub groups: Vec<GroupDecl>,
    /// The `coverage` tables, in file order.
    pub coverage: Vec<Coverage>,
    /// The `permissions { }` declaration.
    pub permissions: Option<Permissions>,
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
    /// Whether it has a `rollback`, which replaces the recorded inverses.
    pub has_rollback: bool,
    /// For which items it is done, each after the other; none for a step that is done once.
    pub each: Option<Each>,
    /// How many items at once.
    pub batch: Option<BatchDecl>,
    /// What is always asked before it, also with `--yes`.
    pub gate: Option<Title>,
    /// The group it belongs to, by its place in [`Runbook::groups`].
    pub group: Option<usize>,
    /// Where it is declared.
    pub place: Place,
}

/// A `group "id" { }` declaration: several steps for one item, then for the next.
#[derive(Clone, Debug, PartialEq)]
pub struct GroupDecl {
    /// Its id.
    pub id: String,
    /// What it does.
    pub title: String,
    /// Its items.
    pub each: Each,
    /// How many items at once.
    pub batch: Option<BatchDecl>,
    /// Whether it has a `when`.
    pub has_when: bool,
    /// Where it is declared.
    pub place: Place,
}

/// Where the items of a step or group come from.
#[derive(Clone, Debug, PartialEq)]
pub enum Each {
    /// From the file.
    List(Vec<Value>),
    /// From a function, asked once when the step or group begins.
    Function,
}

/// How many items are done at once, as declared.
#[derive(Clone, Debug, PartialEq)]
pub enum BatchDecl {
    /// As the file says.
    Plain(Batch),
    /// As a function says, asked once when the step or group begins.
    Function,
}

/// How many items are done at once, and how many may fail.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Batch {
    /// The sizes of the first batches, in order.
    pub ramp: Vec<Amount>,
    /// The size of every batch after them; 1 when left out.
    pub serial: Option<Amount>,
    /// How many items may fail before no further one begins. Default 0.
    pub max_failures: u64,
}

/// A number of items.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Amount {
    /// So many.
    Count(u64),
    /// So many of a hundred, at least one.
    Percent(u64),
}

impl Amount {
    /// `3` or `"10%"`, from 1.
    fn parse(field: &str, value: &Json) -> Result<Amount, String> {
        let percent = value.as_str().and_then(|text| text.strip_suffix('%')).and_then(|text| text.parse().ok());
        match (value.as_u64(), percent) {
            (Some(count @ 1..), _) => Ok(Amount::Count(count)),
            (None, Some(percent @ 1..=100)) => Ok(Amount::Percent(percent)),
            _ => Err(format!("`{field}` must be a whole number from 1, or a share such as \"10%\", got `{value}`")),
        }
    }

    /// So many of `all`, at least one.
    #[must_use]
    pub fn of(self, all: usize) -> usize {
        let count = match self {
            Amount::Count(count) => usize::try_from(count).unwrap_or(usize::MAX),
            Amount::Percent(percent) => all.saturating_mul(usize::try_from(percent).unwrap_or(100)) / 100,
        };
        count.max(1)
    }
}

impl Batch {
    /// `{ serial = 2, ramp = { 1, "10%" }, max_failures = 0 }`.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub fn of(value: &Json) -> Result<Batch, String> {
        let Some(fields) = value.as_object() else { return Err("it must be a table such as `{ serial = 2 }`".to_owned()) };
        let mut batch = Batch::default();
        for (name, value) in fields {
            match &**name {
                "serial" => batch.serial = Some(Amount::parse("serial", value)?),
                "ramp" => {
                    let Some(steps) = value.as_array() else { return Err("`ramp` must be a list such as `{ 1, \"10%\" }`".to_owned()) };
                    batch.ramp = steps.iter().map(|step| Amount::parse("ramp", step)).collect::<Result<_, _>>()?;
                }
                "max_failures" => {
                    batch.max_failures = value.as_u64().ok_or_else(|| format!("`max_failures` must be a whole number, got `{value}`"))?;
                }
                other => {
                    let near = crate::base::did_you_mean(other, ["serial", "ramp", "max_failures"]);
                    let hint = near.map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
                    return Err(format!("it has no field `{other}`{hint}"));
                }
            }
        }
        Ok(batch)
    }

    /// The sizes of the batches of so many items.
    #[must_use]
    pub fn sizes(&self, all: usize) -> Vec<usize> {
        let last = self.serial.or_else(|| self.ramp.last().copied()).unwrap_or(Amount::Count(1));
        let mut sizes = Vec::new();
        let mut left = all;
        let mut ramp = self.ramp.iter().copied();
        while left > 0 {
            let size = ramp.next().unwrap_or(last).of(all).min(left);
            sizes.push(size);
            left -= size;
        }
        sizes
    }
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
    /// The group at this place of [`Runbook::groups`].
    Group(usize),
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
    /// `each`, when it is a function.
    Each,
    /// `batch`, when it is a function.
    Batch,
    /// `gate`, when it is a function.
    Gate,
    /// `rollback`.
    Rollback,
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
            Phase::Each => "each",
            Phase::Batch => "batch",
            Phase::Gate => "gate",
            Phase::Rollback => "rollback",
        }
    }

    /// Whether writes are allowed.
    #[must_use]
    pub fn writes(self) -> bool {
        matches!(self, Phase::Run | Phase::Recover | Phase::Rollback)
    }

    /// Whether the operator may be asked something.
    #[must_use]
    pub fn asks(self) -> bool {
        matches!(self, Phase::Check | Phase::Run | Phase::Recover | Phase::Rollback)
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
