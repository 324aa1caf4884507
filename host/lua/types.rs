//! `stdlib/types/lockgate.d.luau`: everything a runbook may name, for editors.

use std::collections::BTreeMap;

use super::declarations::{Field, VALUES, WORDS, Word};
use crate::base::Reason;
use crate::primitives::{self, Definition, Param};

/// The types that verbs take and give.
const PREAMBLE: &str = r#"--- A reference: `"kind/name"`, `"kind/namespace/name"`, or an object that `get` or `list` gave.
export type Ref = string | Object

--- An API object as JSON tables.
export type Object = {
    apiVersion: string,
    kind: string,
    metadata: { name: string, namespace: string?, [string]: any },
    [string]: any,
}

--- A reason for not covering lines of a document; made by `waived`.
export type Waived = { waived: string }

--- A version such as `v1.9.3`. Compares with its own type.
declare extern type Version with
    major: number
    minor: number
    patch: number?
    function is_patch_of(self, other: Version): boolean
    function same_minor(self, other: Version): boolean
    function __eq(self, other: Version): boolean
    function __lt(self, other: Version): boolean
    function __le(self, other: Version): boolean
    function __tostring(self): string
end

--- An image such as `registry.example/cni:v1.9.3`.
declare extern type Image with
    registry: string?
    repository: string
    tag: string?
    digest: string?
    version: Version?
    function __eq(self, other: Image): boolean
    function __tostring(self): string
end

--- A length of time such as `1h30m`. Compares with its own type.
declare extern type Duration with
    function __eq(self, other: Duration): boolean
    function __lt(self, other: Duration): boolean
    function __le(self, other: Duration): boolean
    function __tostring(self): string
end

--- A Kubernetes quantity such as `500m`. Compares with its own type.
declare extern type Quantity with
    function __eq(self, other: Quantity): boolean
    function __lt(self, other: Quantity): boolean
    function __le(self, other: Quantity): boolean
    function __tostring(self): string
end
"#;

/// What there is in `test.luau`, and functions of Luau that give more here than elsewhere.
const SCENARIOS: &str = r#"
-- Scenarios, in `test.luau`

--- Plays a run in a simulated cluster and looks at what came of it.
declare function scenario(name: string): (fields: {
    --- The fixture beside the runbook. Default: `cluster.yaml`.
    fixture: string?,
    --- The parameters of the run.
    params: any,
    --- Changes the cluster before the plan.
    given: ((cluster: any) -> ...any)?,
    --- Changes the cluster between plan and run.
    drift: ((cluster: any) -> ...any)?,
    --- Changes the cluster while the run goes, by the time after its beginning.
    at: any,
    --- What the operator answers: patterns over questions.
    answers: any,
    --- What goes wrong at the API server during the run.
    faults: any,
    --- When the run is killed: after a write, so long after one, or so long after its beginning.
    kill: any,
    --- Looks at the outcome.
    expect: (run: any) -> ...any,
}) -> ()

--- As the value of a field in `run:leaves`: it is not there.
declare absent: any

-- Functions of Luau

--- Calls a function; what it raised is a `Failure`.
declare function pcall(called: any, ...: any): (boolean, any, ...any)

--- The same with a handler.
declare function xpcall(called: any, handler: any, ...: any): (boolean, any, ...any)
"#;

/// The whole file.
#[must_use]
pub fn file() -> String {
    let mut out = String::from("--!strict\n-- Generated from the table of verbs; `BLESS=1 cargo test docs` writes it again.\n\n");
    out.push_str(&preamble_types());
    out.push_str("\n-- Declarations\n");
    for word in WORDS {
        out.push('\n');
        out.push_str(&declaration(word));
    }
    out.push_str(SCENARIOS);
    out.push_str("\n-- Values\n");
    for (name, luau, doc) in VALUES {
        out.push_str(&format!("\n--- {doc}\ndeclare {name}: {luau}\n"));
    }
    out.push_str("\n-- Verbs\n");
    let mut families: BTreeMap<&str, String> = BTreeMap::new();
    for definition in primitives::ALL {
        match definition.name.split_once('.') {
            None => out.push_str(&format!("\n{}", verb(definition))),
            Some((family, name)) => families.entry(family).or_default().push_str(&member(definition, name)),
        }
    }
    for (family, members) in families {
        out.push_str(&format!("\n--- The verbs of `{family}`.\ndeclare {family}: {{\n{members}}}\n"));
    }
    out
}

fn preamble_types() -> String {
    let reasons: Vec<String> = Reason::ALL.iter().map(|reason| format!("    | \"{}\"", reason.as_str())).collect();
    format!(
        "--- What an error's `reason` may be: the only key to branch on.\nexport type Reason =\n{}\n\n\
         --- An error as `pcall` and `recover` see it.\n\
         export type Failure = {{\n    kind: string,\n    reason: Reason,\n    message: string,\n    object: string?,\n    \
         hint: string?,\n    causes: {{ string }},\n    details: any,\n}}\n\n{PREAMBLE}",
        reasons.join("\n")
    )
}

fn declaration(word: &Word) -> String {
    let table = if word.fields.is_empty() { word.free.to_owned() } else { format!("{{\n{}}}", fields(word.fields)) };
    let head = doc(word.doc.split('\n'));
    if word.id {
        // What it gives is for the `steps` of a group.
        let gives = if word.name == "step" { "any" } else { "()" };
        format!("{head}declare function {}(id: string): (declaration: {table}) -> {gives}\n", word.name)
    } else {
        format!("{head}declare function {}(declaration: {table}): ()\n", word.name)
    }
}

fn fields(fields: &[Field]) -> String {
    fields
        .iter()
        .map(|field| {
            // The type of all entries of a list says nothing of how many there are.
            let ty = if field.required || field.name.starts_with('[') { field.luau.to_owned() } else { optional(field.luau) };
            format!("    --- {}\n    {}: {ty},\n", field.doc, field.name)
        })
        .collect()
}

/// A type that may be absent; what is more than one word is put in parentheses.
fn optional(luau: &str) -> String {
    let simple = luau.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') || is_table(luau);
    if luau == "any" || (luau.ends_with('?') && !luau.contains("->")) {
        luau.to_owned()
    } else if simple {
        format!("{luau}?")
    } else {
        format!("({luau})?")
    }
}

/// Whether the text is one table type: its first brace is closed by its last.
fn is_table(luau: &str) -> bool {
    let mut open = 0_usize;
    let closes = luau.char_indices().find_map(|(at, character)| {
        match character {
            '{' => open += 1,
            '}' => open = open.saturating_sub(1),
            _ => {}
        }
        (open == 0).then_some(at)
    });
    luau.starts_with('{') && closes == Some(luau.len() - 1)
}

/// A parameter's name; those that Luau keeps for itself get a line behind them.
fn named(name: &str) -> String {
    const KEPT: &[&str] = &["function", "end", "repeat", "until", "then", "local", "return", "nil", "not", "and", "or", "in", "if", "for"];
    if KEPT.contains(&name) { format!("{name}_") } else { name.to_owned() }
}

fn doc<'a>(lines: impl Iterator<Item = &'a str>) -> String {
    lines.map(|line| format!("--- {}", line.trim()).trim_end().to_owned() + "\n").collect()
}

fn typed(param: &Param) -> String {
    let luau = if param.ty.choices.is_empty() {
        param.ty.luau.to_owned()
    } else {
        param.ty.choices.iter().map(|choice| format!("\"{choice}\"")).collect::<Vec<_>>().join(" | ")
    };
    if param.ty.optional { optional(&luau) } else { luau }
}

fn verb(definition: &Definition) -> String {
    if is_value(definition) {
        return format!("{}declare {}: any\n", doc(definition.doc.iter().copied()), definition.name);
    }
    let (params, returns) = shape(definition);
    format!("{}declare function {}({params}): {returns}\n", doc(definition.doc.iter().copied()), definition.name)
}

/// A verb of a family, as a field of its table.
fn member(definition: &Definition, name: &str) -> String {
    let (params, returns) = shape(definition);
    let doc: String = doc(definition.doc.iter().copied()).lines().map(|line| format!("    {line}\n")).collect();
    format!("{doc}    {name}: ({params}) -> {returns},\n")
}

/// The parameters and the result of a verb.
fn shape(definition: &Definition) -> (String, &'static str) {
    let mut params: Vec<String> = definition.params.iter().map(|param| format!("{}: {}", named(param.name), typed(param))).collect();
    if !definition.options.is_empty() {
        let options: Vec<String> =
            definition.options.iter().map(|option| format!("{}: {}", option.name, optional(&typed(option)))).collect();
        params.push(format!("options: {{ {} }}?", options.join(", ")));
    }
    (params.join(", "), if definition.returns.is_empty() { "()" } else { definition.returns })
}

/// Whether the word is a value rather than a function: `null`.
pub(crate) fn is_value(definition: &Definition) -> bool {
    definition.returns == definition.name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_absent_says_so() {
        assert_eq!(optional("string"), "string?");
        assert_eq!(optional("string?"), "string?");
        assert_eq!(optional("{ string }"), "{ string }?");
        assert_eq!(optional("Version | string"), "(Version | string)?");
        assert_eq!(optional("() -> string"), "(() -> string)?");
        assert_eq!(optional("() -> string?"), "(() -> string?)?");
        assert_eq!(optional("any"), "any");
        assert_eq!(optional("{ any } | () -> { any }"), "({ any } | () -> { any })?");
    }

    #[test]
    fn every_verb_and_every_word_is_declared() {
        let file = file();
        let functions = primitives::ALL.iter().filter(|definition| !is_value(definition));
        for name in functions.map(|definition| definition.name).chain(WORDS.iter().map(|word| word.name)) {
            let declared = match name.split_once('.') {
                None => format!("declare function {name}("),
                Some((_, name)) => format!("\n    {name}: ("),
            };
            assert!(file.contains(&declared), "{name}");
        }
        assert!(file.contains("declare null: any"));
    }
}
