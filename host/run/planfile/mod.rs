//! A bound plan as a file: what was planned, by which runbook with which parameters and which lockgate, on which cluster, and every object
//! that it read, without what moves by itself. A run can be held to it: it does exactly that, or is refused and says what is another.
//!
//! `hash` is the SHA-256 of the document without it. It tells an edit or a damage; it is no signature.

pub(super) mod claims;
mod objects;
mod status;

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use self::claims::Claim;
use self::objects::Bound;
use super::event::{Confirmation, Record, Summary};
use super::journal::Pinned;
use super::journal::chain::sha256;
use super::journal::pin;
use super::params_file::ParamFile;
use super::runbook::{ParamDecl, ParamType, Params, Runbook, shown};
use super::source::unreadable;
use super::steady::Steady;
use crate::base::json::{Value as Json, from_value, to_value};
use crate::base::{Error, Kind, Reason, Result};
use crate::cluster::reads::Inputs;

/// The schema of a plan file.
pub const SCHEMA: &str = "lockgate.dev/planfile/v1";
/// What the names of all versions of the schema begin with.
const FAMILY: &str = "lockgate.dev/planfile/v";
/// What stands for a secret parameter.
const SECRET: &str = "(secret)";
/// So many digits of a hash are told.
const SHORT: usize = 12;
/// How many differences are told.
const TOLD: usize = 12;

/// A bound plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlanFile {
    /// [`SCHEMA`].
    pub schema: String,
    /// SHA-256 of the document without this member.
    #[serde(default)]
    pub hash: String,
    /// The version of lockgate that made it.
    pub tool: String,
    /// The runbook's name.
    pub runbook: String,
    /// SHA-256 of its file, of every module that it may require, and of the standard library.
    pub files: BTreeMap<String, String>,
    /// The parameters; of secret ones only that they were given.
    pub params: BTreeMap<String, Json>,
    /// The name of the cluster, for people.
    pub cluster: String,
    /// The `uid` of its namespace `kube-system`; none where it could not be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
    /// Whether it is simulated.
    pub simulated: bool,
    /// The namespace of references that name none.
    pub namespace: String,
    /// How the plan ends.
    pub summary: Json,
    /// What it does and says, in order.
    pub(crate) claims: Vec<Claim>,
    /// The questions that accepting it answers.
    pub confirmations: Vec<Confirmation>,
    /// The objects that it read.
    pub(crate) inputs: BTreeMap<String, Bound>,
    /// The lists that it read, by what was asked for, with what was in them.
    pub(crate) lists: BTreeMap<String, Vec<String>>,
    /// The digests of the charts that it used.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) charts: BTreeMap<String, String>,
}

/// What a plan file is made of.
pub struct Facts<'a> {
    /// The runbook.
    pub runbook: &'a Runbook,
    /// Its parameters.
    pub params: &'a Params,
    /// Its sources.
    pub pinned: &'a Pinned,
    /// The name of the cluster.
    pub cluster: String,
    /// Its identity.
    pub uid: Option<String>,
    /// Whether it is simulated.
    pub simulated: bool,
    /// The namespace of the plan.
    pub namespace: String,
}

impl PlanFile {
    /// Binds a plan.
    ///
    /// # Errors
    /// Internal, when something cannot be written as JSON.
    pub fn bind(facts: &Facts<'_>, steady: &Steady, summary: &Summary, records: &[Record], inputs: &Inputs) -> Result<PlanFile> {
        let mut told = to_value(summary).map_err(|error| broken(&error))?;
        steady.json(&mut told);
        let charts = inputs.charts.clone();
        let (inputs, lists) = objects::bind(inputs, steady);
        let mut file = PlanFile {
            schema: SCHEMA.to_owned(),
            hash: String::new(),
            tool: env!("CARGO_PKG_VERSION").to_owned(),
            runbook: facts.runbook.name.clone(),
            files: facts.pinned.hashes(),
            params: params(facts.runbook, facts.params),
            cluster: facts.cluster.clone(),
            uid: facts.uid.clone(),
            simulated: facts.simulated,
            namespace: facts.namespace.clone(),
            summary: told,
            claims: claims::of(&steady.records(records)?),
            confirmations: summary.confirmations.clone(),
            inputs,
            lists,
            charts,
        };
        file.hash = file.sum()?;
        Ok(file)
    }

    /// The file as text.
    ///
    /// # Errors
    /// Internal, when it cannot be written as JSON.
    pub fn text(&self) -> Result<String> {
        let text = serde_json::to_string_pretty(self).map_err(|error| broken(&error))?;
        Ok(format!("{text}\n"))
    }

    /// Reads one.
    ///
    /// # Errors
    /// Input: it is not there, is no plan file, ends too early, is of a newer version. Refused: it was edited since it was written.
    pub fn open(path: &Path) -> Result<PlanFile> {
        let text = std::fs::read_to_string(path).map_err(|error| unreadable(path, &error))?;
        PlanFile::read(&path.display().to_string(), &text)
    }

    /// The same of its text.
    ///
    /// # Errors
    /// As [`PlanFile::open`].
    pub fn read(label: &str, text: &str) -> Result<PlanFile> {
        let wrong = |message: String| Err(Error::usage(message).hint("make it again: `lockgate plan … --out FILE`"));
        let value: Json = match serde_json::from_str(text) {
            Ok(value) => value,
            Err(error) if error.is_eof() => return wrong(format!("the plan file `{label}` ends too early: it is not whole")),
            Err(error) => return Err(Error::usage(format!("`{label}` is no plan file")).cause(error.to_string())),
        };
        match value.get("schema").and_then(Json::as_str) {
            Some(SCHEMA) => {}
            Some(other) if other.starts_with(FAMILY) => {
                let error = Error::usage(format!("the plan file `{label}` is of another version than this lockgate reads"));
                return Err(error.cause(format!("it is `{other}`, and this one reads `{SCHEMA}`")).hint("use the lockgate that made it"));
            }
            _ => return wrong(format!("`{label}` is no plan file")),
        }
        let file: PlanFile = match from_value(&value) {
            Ok(file) => file,
            Err(error) => return Err(Error::usage(format!("the plan file `{label}` cannot be read")).cause(error.to_string())),
        };
        // Over the document as it stands there: what this version does not know counts too.
        let sum = sum(value)?;
        if sum != file.hash {
            return Err(refused(format!("the plan file `{label}` is not as it was written"))
                .cause(format!("its content has the hash {}, and it says {}", short(&sum), short(&file.hash)))
                .hint("a plan that was edited is no plan that anybody made: make it again with `lockgate plan … --out FILE`"));
        }
        Ok(file)
    }

    /// Its parameters as a file, without the secret ones.
    #[must_use]
    pub fn params_file(&self, label: &str) -> ParamFile {
        let open = self.params.iter().filter(|(_, value)| **value != SECRET && !value.is_null());
        let text: Json = open.map(|(name, value)| (name.as_str(), value.clone())).collect();
        ParamFile { label: label.to_owned(), text: text.to_string() }
    }

    /// What makes it a plan of something else than what is about to be run; nothing has to be contacted for that.
    ///
    /// # Errors
    /// Refused, with what is another.
    pub fn is_of(&self, label: &str, facts: &Facts<'_>) -> Result<()> {
        let refuse = |cause: String| {
            let error = refused(format!("this is not what the plan `{label}` planned")).cause(cause);
            Err(error.hint("nothing was contacted; run what was planned, or make the plan again"))
        };
        if self.runbook != facts.runbook.name {
            return refuse(format!("it is a plan of the runbook `{}`, and this is `{}`", self.runbook, facts.runbook.name));
        }
        let now = env!("CARGO_PKG_VERSION");
        if self.tool != now {
            return refuse(format!("lockgate {} made it, and this is {now}", self.tool));
        }
        let files = pin::differences(&self.files, &facts.pinned.hashes());
        let mut causes: Vec<String> = files.iter().map(ToString::to_string).collect();
        let given = params(facts.runbook, facts.params);
        for name in self.params.keys().chain(given.keys().filter(|name| !self.params.contains_key(*name))) {
            let (then, now) = (self.params.get(name), given.get(name));
            if then != now {
                let told = |value: Option<&Json>| value.map_or_else(|| "not given".to_owned(), told);
                causes.push(format!("parameter `{name}`: {} -> {}", told(then), told(now)));
            }
        }
        if self.simulated != facts.simulated {
            let of = |simulated: bool| if simulated { "a simulated" } else { "a live" };
            causes.push(format!("it is of {} cluster, `{}`, and this is {} one", of(self.simulated), self.cluster, of(facts.simulated)));
        }
        if self.namespace != facts.namespace {
            causes.push(format!("namespace: {} -> {}", self.namespace, facts.namespace));
        }
        match causes.is_empty() {
            true => Ok(()),
            false => {
                let error = refused(format!("this is not what the plan `{label}` planned"));
                let error = causes.into_iter().fold(error, Error::cause);
                Err(error.hint("nothing was contacted; run what was planned, or make the plan again"))
            }
        }
    }

    /// Whether it is of this cluster.
    ///
    /// # Errors
    /// Refused, with both identities.
    pub fn is_of_cluster(&self, label: &str, uid: Option<&str>, name: &str) -> Result<()> {
        match (&self.uid, uid) {
            (Some(then), Some(now)) if then != now => Err(refused(format!("the plan `{label}` is of another cluster"))
                .cause(format!("it is of `{}`, whose kube-system has the uid {then}; that of `{name}` has {now}", self.cluster))
                .hint("nothing was written")),
            _ => Ok(()),
        }
    }

    /// Whether the same plan, made now, is this one: everything that it read is as it was, and it would do the same.
    ///
    /// # Errors
    /// Refused, with which object is another and how: exit code 5.
    pub fn holds(&self, label: &str, now: &PlanFile) -> Result<()> {
        let mut causes = self.other_charts(now);
        let repacked = !causes.is_empty();
        causes.extend(objects::differences(&self.inputs, &now.inputs));
        causes.extend(objects::list_differences(&self.lists, &now.lists, &self.inputs, &now.inputs));
        let moved = !causes.is_empty();
        // What the plan does differently follows from what it read; where nothing of that is another, a status is.
        let claims = claims::differences(&self.claims, &now.claims);
        causes.extend(claims.into_iter().take(if moved { 3 } else { TOLD }));
        if causes.is_empty() {
            return Ok(());
        }
        let count = causes.len();
        let counts = if causes.iter().any(|cause| cause.contains(": status.")) { "; what a check read of a status counts" } else { "" };
        let message = match moved {
            _ if repacked => format!("a chart is not what it was when the plan `{label}` was made"),
            true => format!("the cluster is not as it was when the plan `{label}` was made"),
            false => format!("the plan of now is not the plan `{label}`"),
        };
        let mut error = causes.into_iter().take(TOLD).fold(refused(message), Error::cause);
        if count > TOLD {
            error = error.cause(format!("and {} more differences", count - TOLD));
        }
        Err(error.hint(format!("nothing was written; look at what has changed, and make the plan again{counts}")))
    }

    /// Charts of which the content is another now, though they are asked for by the same words.
    fn other_charts(&self, now: &PlanFile) -> Vec<String> {
        let both = self.charts.iter().filter_map(|(chart, then)| Some((chart, then, now.charts.get(chart)?)));
        let short = |digest: &str| digest.chars().take("sha256:".len() + SHORT).collect::<String>();
        both.filter(|(_, then, now)| then != now)
            .map(|(chart, then, now)| format!("{chart}: its content is another: {} -> {}", short(then), short(now)))
            .collect()
    }

    fn sum(&self) -> Result<String> {
        sum(to_value(self).map_err(|error| broken(&error))?)
    }
}

/// The hash of a document without its own.
fn sum(mut document: Json) -> Result<String> {
    if let Some(fields) = document.as_object_mut() {
        fields.remove("hash");
    }
    let text = serde_json::to_string(&document).map_err(|error| broken(&error))?;
    Ok(sha256(text.as_bytes()))
}

/// The beginning of a hash, for people.
#[must_use]
pub fn short(hash: &str) -> String {
    hash.chars().take(SHORT).collect()
}

/// What a file may hold of the parameters: a secret is a mark only.
fn params(runbook: &Runbook, params: &Params) -> BTreeMap<String, Json> {
    let secret = |decl: &&ParamDecl| decl.ty == ParamType::Secret && params.contains_key(&decl.name);
    let mut all = shown(runbook, params);
    all.extend(runbook.params.iter().filter(secret).map(|decl| (decl.name.clone(), SECRET.into())));
    all
}

fn told(value: &Json) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn refused(message: String) -> Error {
    Error::new(Kind::Refused, Reason::Refused, message)
}

fn broken(error: &serde_json::Error) -> Error {
    Error::internal("writing a plan file").cause(error.to_string())
}

#[cfg(test)]
mod tests;
