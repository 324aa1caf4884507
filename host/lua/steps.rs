//! `step "id" { }` and `group "id" { }`.

use std::collections::BTreeMap;

use mlua::{Function, Lua, Table, Value as LuaValue};

use super::declare::Declared;
use super::engine::Core;
use super::error::{broken, fault, kind};
use super::fields::{Fields, Plain};
use crate::base::json::Value as Json;
use crate::base::{Error, Place, Result, Value};
use crate::run::runbook::{Batch, BatchDecl, Each, GroupDecl, Owner, StepDecl, Title};
use crate::run::{CallbackId, Phase};

/// The field of the table that `step "id" { }` gives: the number of the step, for the `steps` of a group.
const STEP: &str = "lockgate.step";

type Functions = BTreeMap<CallbackId, Function>;

/// What `step "id" { }` gives: the step, for the `steps` of a group.
pub(super) fn token(lua: &Lua, declared: &Declared) -> Result<LuaValue> {
    let table = lua.create_table().map_err(fault)?;
    table.raw_set(STEP, declared.steps.len().saturating_sub(1)).map_err(fault)?;
    Ok(LuaValue::Table(table))
}

/// Reads a step.
pub(super) fn step(core: &Core, id: &str, mut fields: Fields<'_>, owner: Owner, functions: &mut Functions) -> Result<StepDecl> {
    let title = match fields.text_or_function("title")? {
        Some(plain) => plain_or(plain, owner, Phase::Title, functions),
        None => return Err(fields.missing("title")),
    };
    functions.insert(CallbackId { owner, phase: Phase::Run }, fields.need_function("run")?);
    let mut optional = |field: &'static str, phase: Phase| -> Result<bool> {
        let function = fields.function(field)?;
        let there = function.is_some();
        functions.extend(function.map(|function| (CallbackId { owner, phase }, function)));
        Ok(there)
    };
    let has_verify = optional("verify", Phase::Verify)?;
    let has_recover = optional("recover", Phase::Recover)?;
    let has_when = optional("when", Phase::When)?;
    let has_rollback = optional("rollback", Phase::Rollback)?;
    let gate = fields.text_or_function("gate")?.map(|plain| plain_or(plain, owner, Phase::Gate, functions));
    let irreversible = fields.text("irreversible")?;
    if has_rollback && irreversible.is_some() {
        return Err(fields.wrong("irreversible", "says that it cannot be taken back, and it has a `rollback`"));
    }
    let each = each(core, &mut fields, owner, functions)?;
    let batch = batch(core, &mut fields, owner, functions)?;
    if batch.is_some() && each.is_none() {
        return Err(fields.wrong("batch", "says how many items at once, and it has no `each`"));
    }
    let place = fields.place().clone();
    let id = id.to_owned();
    Ok(StepDecl { id, title, has_verify, has_recover, has_when, irreversible, has_rollback, each, batch, gate, group: None, place })
}

/// Reads a group, and takes its steps.
pub(super) fn group(core: &Core, id: &str, mut fields: Fields<'_>, declared: &mut Declared) -> Result<GroupDecl> {
    let owner = Owner::Group(declared.groups.len());
    let title = fields.need_text("title")?;
    let functions = &mut declared.functions;
    let Some(each) = each(core, &mut fields, owner, functions)? else {
        return Err(fields.missing("each").hint("a group does its steps for each item: `each = function() return … end`"));
    };
    let batch = batch(core, &mut fields, owner, functions)?;
    let when = fields.function("when")?;
    let has_when = when.is_some();
    functions.extend(when.map(|when| (CallbackId { owner, phase: Phase::When }, when)));
    let count = steps(&fields, &declared.steps)?;
    let first = declared.steps.len().saturating_sub(count);
    for step in declared.steps.iter_mut().skip(first) {
        if step.each.is_some() {
            let mut error = broken(format!("`step \"{}\"` of `group \"{id}\"` has an `each` of its own", step.id))
                .hint("the steps of a group are done for each of its items");
            error.places.push(step.place.clone());
            return Err(error);
        }
        step.group = Some(declared.groups.len());
    }
    Ok(GroupDecl { id: id.to_owned(), title, each, batch, has_when, place: fields.place().clone() })
}

/// How many steps a group has; they are the ones that were declared last.
fn steps(fields: &Fields<'_>, declared: &[StepDecl]) -> Result<usize> {
    let wanted = "write `steps = { step \"drain\" { … }, step \"upgrade\" { … } }`";
    let table = match fields.raw("steps")? {
        Some(LuaValue::Table(table)) => table,
        None => return Err(fields.missing("steps").hint(wanted)),
        Some(other) => return Err(fields.wrong("steps", &format!("must be a list of steps, got a {}", kind(&other))).hint(wanted)),
    };
    let count = table.raw_len();
    if count == 0 {
        return Err(fields.wrong("steps", "is empty").hint(wanted));
    }
    let first = declared.len().checked_sub(count);
    for at in 0..count {
        let item: LuaValue = table.raw_get(at + 1).map_err(fault)?;
        let number = match &item {
            LuaValue::Table(token) => number(token)?,
            _ => None,
        };
        let Some(number) = number else {
            return Err(fields.wrong("steps", &format!("has an entry {} that is no step", at + 1)).hint(wanted));
        };
        let is_own = first.is_some_and(|first| number == first + at) && declared.get(number).is_some_and(|step| step.group.is_none());
        if !is_own {
            return Err(fields.wrong("steps", "has a step that is declared somewhere else").hint(wanted));
        }
    }
    Ok(count)
}

fn number(token: &Table) -> Result<Option<usize>> {
    token.raw_get(STEP).map_err(fault)
}

fn plain_or(plain: Plain, owner: Owner, phase: Phase, functions: &mut Functions) -> Title {
    match plain {
        Plain::Text(text) => Title::Text(text),
        Plain::Function(function) => {
            functions.insert(CallbackId { owner, phase }, function);
            Title::Function
        }
    }
}

fn each(core: &Core, fields: &mut Fields<'_>, owner: Owner, functions: &mut Functions) -> Result<Option<Each>> {
    match fields.raw("each")? {
        Some(LuaValue::Function(function)) => {
            functions.insert(CallbackId { owner, phase: Phase::Each }, function);
            return Ok(Some(Each::Function));
        }
        Some(LuaValue::Table(_)) | None => {}
        Some(other) => return Err(fields.wrong("each", &format!("must be a list or a function, got a {}", kind(&other)))),
    }
    let items = match fields.value(core, "each")? {
        None => return Ok(None),
        Some(Value::Json(Json::Array(items))) => items.into_iter().map(Value::Json).collect(),
        Some(Value::List(items)) => items,
        Some(other) => {
            let wrong = fields.wrong("each", &format!("must be a list or a function, got {}", other.kind_name()));
            return Err(wrong.hint("write names, tables with an `id`, or `function() return … end`"));
        }
    };
    Ok(Some(Each::List(items)))
}

fn batch(core: &Core, fields: &mut Fields<'_>, owner: Owner, functions: &mut Functions) -> Result<Option<BatchDecl>> {
    match fields.raw("batch")? {
        Some(LuaValue::Function(function)) => {
            functions.insert(CallbackId { owner, phase: Phase::Batch }, function);
            return Ok(Some(BatchDecl::Function));
        }
        Some(LuaValue::Table(_)) | None => {}
        Some(other) => return Err(fields.wrong("batch", &format!("must be a table or a function, got a {}", kind(&other)))),
    }
    let Some(value) = fields.value(core, "batch")? else { return Ok(None) };
    Batch::of(&value.into_json())
        .map(|batch| Some(BatchDecl::Plain(batch)))
        .map_err(|why| fields.wrong("batch", &format!("is wrong: {why}")))
}

/// Refuses two steps or groups of one name.
pub(super) fn unique(declared: &Declared) -> Result<()> {
    let mut seen: BTreeMap<(Option<usize>, &str), &Place> = BTreeMap::new();
    let groups = declared.groups.iter().map(|group| (None, group.id.as_str(), &group.place, "group"));
    let steps = declared.steps.iter().map(|step| (step.group, step.id.as_str(), &step.place, "step"));
    for (group, id, place, word) in groups.chain(steps) {
        if let Some(earlier) = seen.insert((group, id), place) {
            let (earlier, place) = if earlier.line <= place.line { (earlier, place) } else { (place, earlier) };
            let mut error: Error =
                broken(format!("`{word} \"{id}\"` is declared twice")).hint(format!("it is declared in line {} already", earlier.line));
            error.places.push(place.clone());
            return Err(error);
        }
    }
    Ok(())
}
