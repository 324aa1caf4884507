//! `stdlib/reference.md`: every word of the language, from the same table that binds them.

use super::catalogue::generated;
use crate::base::Reason;
use crate::lua::declarations::{VALUES, WORDS, Word};
use crate::lua::types::is_value;
use crate::primitives::{self, Definition, Effect, Param};

/// The groups of the reference: what the verbs in them have in common.
const GROUPS: &[(Effect, &str, &str)] = &[
    (Effect::Read, "Reading", "Allowed in checks, `verify` and steps."),
    (
        Effect::Write,
        "Writing",
        "Allowed in `run` and `recover` of a step. Each returns a table with `changed` and what it replaced, and records how it is \
         taken back.",
    ),
    (Effect::Ask, "Asking", "Allowed in checks and steps; a plan answers as the text says."),
    (Effect::Tell, "Telling", "Allowed everywhere but while the file loads."),
    (Effect::Pure, "Values and helpers", "They touch nothing but their arguments, so they are allowed while the file loads too."),
];

/// The whole page.
#[must_use]
pub fn page() -> String {
    let mut out = String::from(
        "# Reference\n\n\
         *Braces declare, parentheses act.* A file declares when it is loaded; what its functions call happens in a run, a plan or at\n\
         the prompt. Object first, operands next, one options table last. Verbs raise; `pcall` catches; a stop (Ctrl-C, a limit) cannot\n\
         be caught.\n\n\
         A reference is `\"kind/name\"`, `\"kind/namespace/name\"` or an object that was read. Durations are `\"90s\"`, `\"1h30m\"`, or\n\
         seconds. An unknown option is an error that names the nearest known one.\n",
    );
    out.push_str("\n## Declarations\n");
    for word in WORDS {
        out.push_str(&declaration(word));
    }
    out.push_str("\n### Values\n\n| name | what it is |\n|---|---|\n");
    for (name, _, doc) in VALUES {
        out.push_str(&format!("| `{name}` | {doc} |\n"));
    }
    for (effect, title, text) in GROUPS {
        let verbs: Vec<&Definition> = primitives::ALL.iter().copied().filter(|definition| definition.effect == *effect).collect();
        if verbs.is_empty() {
            continue;
        }
        out.push_str(&format!("\n## {title}\n\n{text}\n"));
        for definition in verbs {
            out.push_str(&verb(definition));
        }
    }
    out.push_str("\n## Errors\n\nAn error is a table with `kind`, `reason`, `message`, `object`, `hint`, `causes`, `details`. Branch on `reason` only:\n\n");
    let reasons: Vec<String> = Reason::ALL.iter().map(|reason| format!("`{}`", reason.as_str())).collect();
    for line in reasons.chunks(8) {
        out.push_str(&format!("{}\n", line.join(" ")));
    }
    out.push_str(&generated("the table of verbs"));
    out
}

fn declaration(word: &Word) -> String {
    let id = if word.id { " \"id\"" } else { "" };
    let mut out = format!("\n### `{}{id} {{ }}`\n\n{}\n", word.name, word.doc);
    if !word.fields.is_empty() {
        out.push_str("\n| field | type | |\n|---|---|---|\n");
        for field in word.fields {
            let must = if field.required { " Required." } else { "" };
            out.push_str(&format!("| `{}` | `{}` | {}{must} |\n", field.name, cell(field.luau), cell(field.doc)));
        }
    }
    out
}

/// The entry of one verb; also what the prompt shows for `?verb`.
#[must_use]
pub fn verb(definition: &Definition) -> String {
    let signature = if is_value(definition) { definition.name.to_owned() } else { definition.signature() };
    let mut out = format!("\n### `{signature}`\n\n{}\n", doc(definition.doc));
    let rows: Vec<String> = definition
        .params
        .iter()
        .map(|param| row(param, !param.ty.optional))
        .chain(definition.options.iter().map(|option| row(option, false)))
        .collect();
    if !rows.is_empty() {
        out.push_str("\n| argument | type | |\n|---|---|---|\n");
        out.push_str(&rows.concat());
    }
    if !is_value(definition) && definition.returns != "()" {
        out.push_str(&format!("\nGives `{}`: {}.\n", definition.returns, definition.returns_doc.trim_end_matches('.')));
    }
    if !definition.needs.is_empty() {
        let needs: Vec<String> = definition.needs.iter().map(|need| format!("`{need}`")).collect();
        out.push_str(&format!("\nNeeds {}.\n", needs.join(", ")));
    }
    out.push_str(&format!("\n```lua\n{}\n```\n", definition.example.trim()));
    out
}

fn row(param: &Param, required: bool) -> String {
    let mut text = doc(param.doc);
    if !param.ty.choices.is_empty() {
        let choices: Vec<String> = param.ty.choices.iter().map(|choice| format!("`\"{choice}\"`")).collect();
        text.push_str(&format!(" One of {}.", choices.join(", ")));
    }
    if required {
        text.push_str(" Required.");
    }
    format!("| `{}` | {} | {} |\n", param.name, cell(param.ty.text), cell(&text))
}

/// Doc lines as a paragraph each.
fn doc(lines: &[&str]) -> String {
    lines.iter().map(|line| line.trim()).collect::<Vec<_>>().join("\n").trim().to_owned()
}

fn cell(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|")
}
