//! `permissions { … }`: what a runbook may do, read into the words of the API.

use mlua::{Table, Value as LuaValue};

use super::engine::Core;
use super::error::{broken, fault, kind};
use super::stack;
use crate::base::{Error, Place, Result, did_you_mean};
use crate::cluster::Verb;
use crate::cluster::permit::{Caps, Grant, KindName, MachineGrant, Permissions};
use crate::primitives::registry::list;

/// The verbs that a line may name.
const VERBS: [Verb; 5] = [Verb::Create, Verb::Update, Verb::Patch, Verb::Delete, Verb::DeleteCollection];
/// Verbs of the API that need no grant.
const READS: [&str; 3] = ["get", "list", "watch"];
/// The fields of a line.
const LINE: [&str; 6] = ["verbs", "kinds", "namespaces", "names", "images", "replicas"];
/// What stands beside the lines.
const BESIDE: [&str; 3] = ["helm", "machine", "limits"];
const LIMITS: [&str; 3] = ["nodes", "evictions", "writes_per_minute"];

/// Reads the table of `permissions`, which is declared at this place.
///
/// # Errors
/// What is wrong with it, at its line, with what may have been meant.
pub(super) fn read(core: &Core, table: &Table, place: &Place) -> Result<Permissions> {
    let reader = Reader { core, place };
    let mut permissions = Permissions::default();
    let lines = table.raw_len();
    for at in 1..=lines {
        match table.raw_get::<LuaValue>(at).map_err(fault)? {
            LuaValue::Table(line) => permissions.grants.push(reader.line(&line)?),
            other => {
                let error = reader.wrong("permissions", &format!("has a {} where a line should be", kind(&other)), None);
                return Err(error.hint("write `{ verbs = { \"patch\" }, kinds = { \"deployments\" } }`"));
            }
        }
    }
    for (name, value) in reader.named(table, "permissions", &BESIDE, lines)? {
        match name.as_str() {
            "helm" => {
                let helm = reader.table("helm", &value)?;
                for (_, charts) in reader.named(&helm, "helm", &["charts"], 0)? {
                    permissions.charts = reader.texts("charts", &charts)?;
                }
            }
            "machine" => permissions.machine = reader.commands(&value)?,
            _ => permissions.limits = reader.limits(&value)?,
        }
    }
    Ok(permissions)
}

struct Reader<'a> {
    core: &'a Core,
    place: &'a Place,
}

impl Reader<'_> {
    /// An error about a part, at the line where this text stands first.
    fn wrong(&self, what: &str, why: &str, text: Option<&str>) -> Error {
        let mut error =
            broken(if what == "permissions" { format!("`permissions` {why}") } else { format!("`permissions`: `{what}` {why}") });
        error.places.push(text.map_or_else(|| self.place.clone(), |text| self.find(text)));
        error
    }

    /// The place of a text of the declaration.
    fn find(&self, text: &str) -> Place {
        let Some(source) = self.core.text(&self.place.file) else { return self.place.clone() };
        for (number, line) in (1u32..).zip(source.lines()).skip(self.place.line.saturating_sub(1) as usize) {
            if number > self.place.line && line.starts_with(|first: char| first.is_ascii_lowercase()) {
                break;
            }
            if let Some(at) = line.find(text) {
                let column = line.get(..at).map_or(0, |before| before.chars().count());
                let place = stack::place(self.core, &self.place.file, number, None, None);
                return Place { column: u32::try_from(column + 1).ok(), length: u32::try_from(text.chars().count()).ok(), ..place };
            }
        }
        self.place.clone()
    }

    /// The named entries of a table, in order; those of its list are left out.
    fn named(&self, table: &Table, what: &str, known: &[&str], lines: usize) -> Result<Vec<(String, LuaValue)>> {
        let mut found = Vec::new();
        for pair in table.pairs::<LuaValue, LuaValue>() {
            let (key, value) = pair.map_err(fault)?;
            let name = match key {
                LuaValue::Integer(at) if usize::try_from(at).is_ok_and(|at| (1..=lines).contains(&at)) => continue,
                LuaValue::Number(at) if at.fract() == 0.0 && at >= 1.0 && at <= lines as f64 => continue,
                LuaValue::String(name) => name.to_string_lossy(),
                _ => return Err(self.wrong(what, "has an entry without a name", None)),
            };
            if !known.contains(&name.as_str()) {
                let error = self.wrong(what, &format!("has no field `{name}`"), Some(&name));
                return Err(match did_you_mean(&name, known.iter().copied()) {
                    Some(near) => error.hint(format!("did you mean `{near}`?")),
                    None => error.hint(format!("its fields are {}", list(known.iter().copied()))),
                });
            }
            found.push((name, value));
        }
        found.sort_by(|one, other| one.0.cmp(&other.0));
        Ok(found)
    }

    fn table(&self, field: &str, value: &LuaValue) -> Result<Table> {
        match value {
            LuaValue::Table(table) => Ok(table.clone()),
            other => Err(self.wrong(field, &format!("must be a table, got a {}", kind(other)), Some(field))),
        }
    }

    /// A list of texts, not empty.
    fn texts(&self, field: &str, value: &LuaValue) -> Result<Vec<String>> {
        let mut texts = Vec::new();
        for item in self.table(field, value)?.sequence_values::<LuaValue>() {
            match item.map_err(fault)? {
                LuaValue::String(text) if !text.as_bytes().is_empty() => texts.push(text.to_string_lossy()),
                other => return Err(self.wrong(field, &format!("must be a list of texts, got a {}", kind(&other)), Some(field))),
            }
        }
        if texts.is_empty() {
            return Err(self.wrong(field, "is empty", Some(field)).hint("leave it out where everything is meant"));
        }
        Ok(texts)
    }

    fn line(&self, line: &Table) -> Result<Grant> {
        let mut grant = Grant::default();
        for (name, value) in self.named(line, "permissions", &LINE, 0)? {
            match name.as_str() {
                "verbs" => {
                    let verbs = self.texts("verbs", &value)?;
                    grant.verbs = match verbs.as_slice() {
                        [all] if all == "*" => VERBS.to_vec(),
                        verbs => verbs.iter().map(|verb| self.verb(verb)).collect::<Result<_>>()?,
                    };
                }
                "kinds" => grant.kinds = self.texts("kinds", &value)?.iter().map(|kind| self.kind(kind)).collect::<Result<_>>()?,
                "namespaces" => grant.namespaces = self.texts("namespaces", &value)?,
                "names" => grant.names = self.texts("names", &value)?,
                "images" => grant.images = self.texts("images", &value)?,
                _ => grant.replicas = Some(self.range(&value)?),
            }
        }
        for (field, empty) in [("verbs", grant.verbs.is_empty()), ("kinds", grant.kinds.is_empty())] {
            if empty {
                let error = self.wrong("permissions", &format!("has a line without `{field}`"), None);
                return Err(error.hint("write `{ verbs = { \"patch\" }, kinds = { \"deployments\" } }`"));
            }
        }
        Ok(grant)
    }

    fn verb(&self, text: &str) -> Result<Verb> {
        if let Some(verb) = VERBS.into_iter().find(|verb| verb.as_str() == text) {
            return Ok(verb);
        }
        let error = self.wrong("verbs", &format!("has `{text}`, which is no verb that writes"), Some(&format!("\"{text}\"")));
        if READS.contains(&text) {
            return Err(error.hint("reading needs no grant"));
        }
        let known = || VERBS.iter().map(|verb| verb.as_str());
        Err(match text {
            "apply" => error.hint("an apply is a `patch`, and a `create` of what is not there yet"),
            "evict" => error.hint("an eviction is a `create` of `pods/eviction`"),
            "exec" => error.hint("a command in a pod is a `create` of `pods/exec`"),
            _ => match did_you_mean(text, known()) {
                Some(near) => error.hint(format!("did you mean `{near}`?")),
                None => error.hint(format!("they are {}", list(known()))),
            },
        })
    }

    fn kind(&self, text: &str) -> Result<KindName> {
        KindName::parse(text).map_err(|error| {
            let wrong =
                self.wrong("kinds", &format!("has `{text}`, which is no kind in the words of the API"), Some(&format!("\"{text}\"")));
            match &error.hint {
                Some(hint) => wrong.hint(hint.clone()),
                None => wrong,
            }
        })
    }

    fn whole(&self, field: &str, value: &LuaValue) -> Result<i64> {
        let number = match value {
            LuaValue::Integer(number) => Some(*number),
            LuaValue::Number(number) if number.fract() == 0.0 && number.abs() < 1e15 => Some(*number as i64),
            _ => None,
        };
        number.filter(|number| *number >= 0).ok_or_else(|| {
            let got = value.to_string().unwrap_or_else(|_| kind(value).to_owned());
            self.wrong(field, &format!("must be a whole number from 0, got {got}"), Some(field))
        })
    }

    fn range(&self, value: &LuaValue) -> Result<(i64, i64)> {
        let bounds = self.table("replicas", value)?;
        let bounds: Vec<LuaValue> = bounds.sequence_values().collect::<mlua::Result<_>>().map_err(fault)?;
        if let [least, most] = bounds.as_slice() {
            let (least, most) = (self.whole("replicas", least)?, self.whole("replicas", most)?);
            if least <= most {
                return Ok((least, most));
            }
        }
        Err(self.wrong("replicas", "must be the least and the greatest number", Some("replicas")).hint("write `replicas = { 0, 5 }`"))
    }

    fn commands(&self, value: &LuaValue) -> Result<Vec<MachineGrant>> {
        let mut grants = Vec::new();
        for item in self.table("machine", value)?.sequence_values::<LuaValue>() {
            let item = item.map_err(fault)?;
            if !matches!(item, LuaValue::Table(_)) {
                let error = self.wrong("machine", &format!("must be a list of commands, got a {}", kind(&item)), Some("machine"));
                return Err(error.hint("write `machine = { { \"kubeadm\", \"upgrade\" } }`"));
            }
            grants.push(MachineGrant { argv: self.texts("machine", &item)?, ..MachineGrant::default() });
        }
        Ok(grants)
    }

    fn limits(&self, value: &LuaValue) -> Result<Caps> {
        let mut caps = Caps::default();
        for (name, value) in self.named(&self.table("limits", value)?, "limits", &LIMITS, 0)? {
            let number = u64::try_from(self.whole(&name, &value)?).ok();
            match name.as_str() {
                "nodes" => caps.nodes = number,
                "evictions" => caps.evictions = number,
                _ if number == Some(0) => return Err(self.wrong(&name, "must be at least 1", Some(&name))),
                _ => caps.writes_per_minute = number,
            }
        }
        Ok(caps)
    }
}
