//! The words that declare: `runbook`, `param`, `check`, `step`, `group`, `coverage`. *Braces declare, parentheses act.*

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use mlua::{Function, Lua, MultiValue, Table, Value as LuaValue};

use super::declarations::{WORDS, fields};
use super::engine::Core;
use super::error::{broken, fault, kind, one};
use super::fields::Fields;
use super::stack;
use super::values;
use crate::base::json::Array;
use crate::base::{Error, Place, Result, Typed, Value};
use crate::cluster::permit::Permissions;
use crate::run::runbook::{
    At, CheckDecl, Coverage, CoverageEntry, CoveredBy, GroupDecl, Header, Impact, Owner, ParamDecl, ParamType, StepDecl,
};
use crate::run::{CallbackId, Phase};

/// What a file has declared so far.
#[derive(Default)]
pub(crate) struct Declared {
    pub(crate) header: Option<(Header, Place)>,
    pub(crate) permissions: Option<(Permissions, Place)>,
    pub(crate) params: Vec<ParamDecl>,
    pub(crate) checks: Vec<CheckDecl>,
    pub(crate) steps: Vec<StepDecl>,
    pub(crate) groups: Vec<GroupDecl>,
    pub(crate) coverage: Vec<Coverage>,
    pub(crate) functions: BTreeMap<CallbackId, Function>,
    /// Words whose braces have not come yet.
    open: Vec<Open>,
    next: usize,
}

/// A word that waits for its braces.
struct Open {
    key: usize,
    word: &'static str,
    id: String,
    place: Place,
}

/// What `waived "reason"` gives; known by its metatable's name field.
const WAIVED: &str = "lockgate.waived";

/// Adds the declaring words to the words of one file.
pub(crate) fn add(core: &Rc<Core>, lua: &Lua, words: &Table, declared: &Rc<RefCell<Declared>>) -> mlua::Result<()> {
    let this = declared.clone();
    let runbook = core.function(lua, "runbook", move |core, lua, arguments| {
        let place = here(core, lua, "runbook");
        let table = braces("runbook", arguments.front(), "runbook { title = \"…\", summary = \"…\", impact = \"none\" }")?;
        let mut declared = this.borrow_mut();
        if let Some((_, earlier)) = &declared.header {
            return Err(broken("`runbook` is declared twice").hint(format!("it is declared in line {} already", earlier.line)));
        }
        let header = header(Fields::new(core, "runbook".to_owned(), table, place.clone(), fields("runbook"))?)?;
        declared.header = Some((header, place));
        Ok(MultiValue::new())
    })?;
    words.raw_set("runbook", runbook)?;
    let this = declared.clone();
    let permissions = core.function(lua, "permissions", move |core, lua, arguments| {
        let place = here(core, lua, "permissions");
        let example = "permissions { { verbs = { \"patch\" }, kinds = { \"deployments\" } } }";
        let table = braces("permissions", arguments.front(), example)?;
        let mut declared = this.borrow_mut();
        if let Some((_, earlier)) = &declared.permissions {
            return Err(broken("`permissions` are declared twice").hint(format!("they are declared in line {} already", earlier.line)));
        }
        declared.permissions = Some((super::permissions::read(core, table, &place)?, place));
        Ok(MultiValue::new())
    })?;
    words.raw_set("permissions", permissions)?;
    for word in WORDS.iter().filter(|word| word.id) {
        words.raw_set(word.name, opener(core, lua, word.name, declared)?)?;
    }
    let waived = core.function(lua, "waived", |_, lua, arguments| {
        let Some(LuaValue::String(reason)) = arguments.front() else {
            return Err(broken("`waived` needs a reason").hint("write `waived \"why nothing answers for these lines\"`"));
        };
        let table = lua.create_table().map_err(fault)?;
        table.raw_set(WAIVED, reason.clone()).map_err(fault)?;
        one(LuaValue::Table(table))
    })?;
    words.raw_set("waived", waived)
}

/// `step "id"`: remembers the place and gives the function that takes the braces.
fn opener(core: &Rc<Core>, lua: &Lua, word: &'static str, declared: &Rc<RefCell<Declared>>) -> mlua::Result<Function> {
    let declared = declared.clone();
    core.function(lua, word, move |core, lua, arguments| {
        let example = format!("{word} \"name\" {{ … }}");
        let Some(LuaValue::String(id)) = arguments.front() else {
            return Err(broken(format!("`{word}` needs a name first")).hint(format!("write `{example}`")));
        };
        let id = id.to_string_lossy();
        check_id(word, &id)?;
        let place = here(core, lua, word);
        let key = {
            let mut declared = declared.borrow_mut();
            declared.next += 1;
            let key = declared.next;
            declared.open.push(Open { key, word, id: id.clone(), place: place.clone() });
            key
        };
        let this = declared.clone();
        let take = core
            .function(lua, word, move |core, lua, arguments| {
                let table = braces(word, arguments.front(), &example)?;
                let mut declared = this.borrow_mut();
                let Some(at) = declared.open.iter().position(|open| open.key == key) else {
                    return Err(broken(format!("`{word} \"{id}\"` has two bodies")));
                };
                declared.open.remove(at);
                declare(core, &mut declared, word, &id, table, &place)?;
                if word == "step" { one(super::steps::token(lua, &declared)?) } else { Ok(MultiValue::new()) }
            })
            .map_err(fault)?;
        one(LuaValue::Function(take))
    })
}

impl Declared {
    /// Refuses a word that was left without its braces.
    pub(crate) fn finish(&self) -> Result<()> {
        let Some(open) = self.open.first() else { return super::steps::unique(self) };
        let mut error =
            broken(format!("`{} \"{}\"` has no body", open.word, open.id)).hint(format!("write `{} \"{}\" {{ … }}`", open.word, open.id));
        error.places.push(open.place.clone());
        Err(error)
    }
}

fn here(core: &Core, lua: &Lua, word: &str) -> Place {
    stack::places(core, lua, Some(word)).into_iter().next().unwrap_or_default()
}

fn braces<'a>(word: &str, argument: Option<&'a LuaValue>, example: &str) -> Result<&'a Table> {
    match argument {
        Some(LuaValue::Table(table)) => Ok(table),
        other => {
            let got = other.map_or("nothing", kind);
            Err(broken(format!("`{word}` takes a table in braces, got {got}")).hint(format!("write `{example}`")))
        }
    }
}

fn check_id(word: &str, id: &str) -> Result<()> {
    let extra = if word == "param" { '_' } else { '-' };
    let good = id.starts_with(|first: char| first.is_ascii_lowercase() || (word != "param" && first.is_ascii_digit()))
        && id
            .chars()
            .all(|character| character.is_ascii_lowercase() || character.is_ascii_digit() || character == '_' || character == extra);
    if good {
        return Ok(());
    }
    let form = if word == "param" { "small letters, digits and `_`" } else { "small letters, digits, `-` and `_`" };
    Err(broken(format!("`{id}` cannot be the name of a {word}")).hint(format!("names have {form}")))
}

fn declare(core: &Core, declared: &mut Declared, word: &str, id: &str, table: &Table, place: &Place) -> Result<()> {
    let what = format!("{word} \"{id}\"");
    let fields = || Fields::new(core, what.clone(), table, place.clone(), fields(word));
    let twice = |earlier: &Place| {
        let mut error = broken(format!("`{what}` is declared twice")).hint(format!("it is declared in line {} already", earlier.line));
        error.places.push(place.clone());
        Err(error)
    };
    match word {
        "param" => {
            if let Some(earlier) = declared.params.iter().find(|param| param.name == id) {
                return twice(&earlier.place);
            }
            declared.params.push(param(core, id, fields()?)?);
        }
        "check" => {
            if let Some(earlier) = declared.checks.iter().find(|check| check.id == id) {
                return twice(&earlier.place);
            }
            let owner = Owner::Check(declared.checks.len());
            let check = check(id, fields()?, owner, &mut declared.functions)?;
            declared.checks.push(check);
        }
        "step" => {
            let owner = Owner::Step(declared.steps.len());
            let step = super::steps::step(core, id, fields()?, owner, &mut declared.functions)?;
            declared.steps.push(step);
        }
        "group" => {
            let group = super::steps::group(core, id, fields()?, declared)?;
            declared.groups.push(group);
        }
        "coverage" => {
            if let Some(earlier) = declared.coverage.iter().find(|coverage| coverage.document == id) {
                return twice(&earlier.place);
            }
            declared.coverage.push(coverage(core, id, table, place)?);
        }
        other => return Err(Error::internal(format!("nothing reads the declaration `{other}`"))),
    }
    Ok(())
}

fn header(mut fields: Fields<'_>) -> Result<Header> {
    let impact = fields.need_word("impact", Impact::WORDS)?;
    Ok(Header {
        title: fields.need_text("title")?,
        summary: fields.need_text("summary")?,
        impact: Impact::parse(impact).unwrap_or_default(),
        source: fields.text("source")?,
        namespace: fields.text("namespace")?,
        versions: fields.text("versions")?,
        duration: fields.text("duration")?,
        labels: fields.texts_by_name("labels")?,
    })
}

fn param(core: &Core, name: &str, mut fields: Fields<'_>) -> Result<ParamDecl> {
    let word = fields.need_word("type", ParamType::WORDS)?;
    let ty = ParamType::parse(word).ok_or_else(|| Error::internal(format!("type `{word}` has no variant")))?;
    let decl = ParamDecl {
        name: name.to_owned(),
        ty,
        doc: fields.need_text("doc")?,
        optional: fields.flag("optional")?.unwrap_or(false),
        choices: fields.texts("choices")?,
        min: fields.number("min")?,
        max: fields.number("max")?,
        pattern: fields.text("pattern")?,
        example: fields.scalar("example")?,
        default: fields.value(core, "default")?,
        place: fields.place().clone(),
    };
    if (decl.ty == ParamType::Choice) == decl.choices.is_empty() {
        let why = if decl.choices.is_empty() { "has no `choices`" } else { "has `choices`, and is no `choice`" };
        return Err(fields.wrong("choices", why).hint("write `type = \"choice\", choices = { \"a\", \"b\" }`"));
    }
    let default = match decl.default.clone() {
        Some(value) => Some(typed_default(&fields, &decl, value)?),
        None => None,
    };
    Ok(ParamDecl { default, ..decl })
}

/// The default as a value of the parameter's type.
fn typed_default(fields: &Fields<'_>, decl: &ParamDecl, value: Value) -> Result<Value> {
    let wrong = |got: &str| fields.wrong("default", &format!("must be {}, got {got}", decl.ty.text()));
    let maker = match decl.ty {
        ParamType::Version => "version",
        ParamType::Image => "image",
        ParamType::Duration => "duration",
        ParamType::Quantity => "quantity",
        _ => "",
    };
    if !maker.is_empty() {
        let kind = value.kind_name();
        return values::make(maker, value).map(Value::Typed).map_err(|error| {
            let wrong = wrong(kind).cause(error.message.clone());
            match &error.hint {
                Some(hint) => wrong.hint(hint.clone()),
                None => wrong,
            }
        });
    }
    use crate::base::json::Value as Json;
    let fits = match (&value, decl.ty) {
        (Value::Json(Json::String(_)), ParamType::String | ParamType::Secret | ParamType::Manifests)
        | (Value::Json(Json::Bool(_)), ParamType::Boolean)
        | (Value::Json(Json::Number(_)), ParamType::Number)
        | (Value::Json(Json::Array(_)) | Value::List(_), ParamType::List)
        | (Value::Json(Json::Object(_)) | Value::Map(_), ParamType::Map) => true,
        (Value::Json(Json::Number(number)), ParamType::Integer) => number.is_i64() || number.is_u64(),
        (Value::Json(Json::String(text)), ParamType::Choice) => decl.choices.iter().any(|choice| choice == text),
        // `{}` is an empty list too.
        (Value::Json(Json::Object(map)), ParamType::List) if map.is_empty() => return Ok(Value::Json(Json::Array(Array::new()))),
        _ => false,
    };
    if !fits {
        return Err(match &value {
            Value::Typed(Typed::Version(_) | Typed::Image(_)) => wrong(value.kind_name()),
            other => wrong(&other.as_text().map_or_else(|| other.kind_name().to_owned(), |text| format!("`{text}`"))),
        });
    }
    Ok(value)
}

type Functions = BTreeMap<CallbackId, Function>;

fn check(id: &str, mut fields: Fields<'_>, owner: Owner, functions: &mut Functions) -> Result<CheckDecl> {
    let at = match fields.word("at", &["start", "always"])? {
        Some("always") => At::Always,
        _ => At::Start,
    };
    let title = fields.need_text("title")?;
    functions.insert(CallbackId { owner, phase: Phase::Check }, fields.need_function("run")?);
    let when = fields.function("when")?;
    let has_when = when.is_some();
    functions.extend(when.map(|when| (CallbackId { owner, phase: Phase::When }, when)));
    Ok(CheckDecl { id: id.to_owned(), title, at, has_when, place: fields.place().clone() })
}

fn coverage(core: &Core, document: &str, table: &Table, place: &Place) -> Result<Coverage> {
    let what = format!("coverage \"{document}\"");
    let mut entries = Vec::new();
    for pair in table.pairs::<LuaValue, LuaValue>() {
        let (key, value) = pair.map_err(fault)?;
        let LuaValue::String(key) = key else {
            return Err(at_place(broken(format!("`{what}` has a key that is not text")), place)
                .hint("write line numbers as text: `[\"12-14\"] = \"step ipam\"`"));
        };
        let key = key.to_string_lossy();
        // Looked for only when it is needed: a table has a hundred entries.
        let at = || super::fields::field_place(core, place, &key);
        let (from, to) = range(&key).ok_or_else(|| {
            at_place(broken(format!("`{what}`: `{key}` is no line and no range of lines")), &at()).hint("write `\"12\"` or `\"12-14\"`")
        })?;
        let by = match &value {
            LuaValue::String(part) => CoveredBy::Part(part.to_string_lossy()),
            LuaValue::Table(waived) => match waived.raw_get::<Option<String>>(WAIVED).ok().flatten() {
                Some(reason) if !reason.trim().is_empty() => CoveredBy::Waived(reason),
                _ => return Err(at_place(broken(format!("`{what}`: `{key}` is waived without a reason")), &at())),
            },
            other => {
                let error = broken(format!("`{what}`: `{key}` must be a text or `waived \"reason\"`, got a {}", kind(other)));
                return Err(at_place(error, &at()));
            }
        };
        entries.push(CoverageEntry { key: key.clone(), from, to, by });
    }
    entries.sort_by_key(|entry| (entry.from, entry.to));
    Ok(Coverage { document: document.to_owned(), entries, place: place.clone() })
}

fn at_place(mut error: Error, place: &Place) -> Error {
    error.places.push(place.clone());
    error
}

/// `12` or `12-14`, from 1.
fn range(key: &str) -> Option<(u32, u32)> {
    let (from, to) = key.split_once('-').unwrap_or((key, key));
    let (from, to) = (from.trim().parse().ok()?, to.trim().parse().ok()?);
    (1 <= from && from <= to).then_some((from, to))
}
