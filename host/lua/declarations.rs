//! The table of the words that declare: what `braces declare` means, field by field.
//!
//! The loader takes a declaration's field names from here, the reference and the editor's types all of it.

/// A declaring word.
#[derive(Debug)]
pub struct Word {
    /// The word: `step`.
    pub name: &'static str,
    /// Whether an id stands between the word and its braces: `step "id" { }`.
    pub id: bool,
    /// What it declares.
    pub doc: &'static str,
    /// Its fields; empty when the keys are free.
    pub fields: &'static [Field],
    /// The Luau type of the table where the keys are free.
    pub free: &'static str,
}

/// A field of a declaration.
#[derive(Debug)]
pub struct Field {
    /// Its name.
    pub name: &'static str,
    /// Its Luau type.
    pub luau: &'static str,
    /// Whether it must be there.
    pub required: bool,
    /// What it means.
    pub doc: &'static str,
}

const fn must(name: &'static str, luau: &'static str, doc: &'static str) -> Field {
    Field { name, luau, required: true, doc }
}

const fn may(name: &'static str, luau: &'static str, doc: &'static str) -> Field {
    Field { name, luau, required: false, doc }
}

/// The fields of a declaring word; none when its keys are free.
pub(super) fn fields(word: &str) -> &'static [Field] {
    WORDS.iter().find(|known| known.name == word).map_or(&[], |known| known.fields)
}

/// Whether it is a word of declarations: only the runbook's own file has them.
pub(super) fn is_declaring(name: &str) -> bool {
    declaring().any(|word| word == name)
}

/// The words of declarations.
pub(super) fn declaring() -> impl Iterator<Item = &'static str> {
    WORDS.iter().map(|word| word.name).chain(["waived"])
}

const IMPACT: &str = "\"none\" | \"restarts\" | \"degraded\" | \"outage\"";
const EACH: &str = "{ any } | () -> { any }";
const BATCH: &str = "{ serial: (number | string)?, ramp: { number | string }?, max_failures: number? } | () -> any";
const PARAM_TYPE: &str = "\"string\" | \"boolean\" | \"integer\" | \"number\" | \"version\" | \"image\" | \"duration\" \
                          | \"quantity\" | \"list\" | \"map\" | \"choice\" | \"manifests\" | \"secret\"";

/// Every declaring word, in the order in which a runbook uses them.
pub static WORDS: &[Word] = &[
    Word {
        name: "runbook",
        id: false,
        doc: "Says what this runbook is. Once a file.",
        fields: &[
            must("title", "string", "What it is, as a heading."),
            must("summary", "string", "What it does, in a sentence or two."),
            must("impact", IMPACT, "What users of the cluster notice."),
            may("source", "string", "The document it follows."),
            may("namespace", "string", "The namespace of references that name none."),
            may("versions", "string", "The versions it is written for, for people."),
            may("duration", "string", "How long it takes, for people."),
            may("labels", "{ [string]: string }", "Free labels for catalogues."),
        ],
        free: "",
    },
    Word {
        name: "param",
        id: true,
        doc: "Declares a parameter, read as `params.NAME` from functions. Without `default` or `optional` it must be given.",
        fields: &[
            must("type", PARAM_TYPE, "What values it takes. Scalars stay text until typed, so `1.10` is not 1.1."),
            must("doc", "string", "What it means."),
            may("default", "any", "The value when none is given."),
            may("optional", "boolean", "Whether it may be left out; it is `nil` then."),
            may("choices", "{ string }", "The values of a `choice`."),
            may("min", "number", "The least number allowed."),
            may("max", "number", "The greatest number allowed."),
            may("pattern", "string", "A Lua pattern that the whole text must match."),
            may("example", "string", "A value as one would type it."),
        ],
        free: "",
    },
    Word {
        name: "check",
        id: true,
        doc: "Declares what must hold before the first write. Read-only. `run` raises, or returns `false`, when it does not hold; a \
              text that it returns is shown.",
        fields: &[
            must("title", "string", "What holds when it says yes."),
            must("run", "() -> ...any", "Finds out."),
            may("when", "() -> (boolean, string?)", "Whether it is asked at all, and why not."),
            may("at", "\"start\" | \"always\"", "`always`: asked again whenever the run goes on. Default: `start`."),
        ],
        free: "",
    },
    Word {
        name: "step",
        id: true,
        doc: "Declares a step. Steps run in the order of the file, each from a fresh load of it; what a later one needs goes into \
              `state`.",
        fields: &[
            must("title", "string | (item: any) -> string", "What it does."),
            must("run", "(item: any) -> ...any", "Does it."),
            may("verify", "(item: any) -> ...any", "Raises, or returns `false`, unless it is done. Read-only."),
            may(
                "recover",
                "(err: Failure, item: any) -> ...any",
                "Asked once about an error of `run` or `verify`: `false` declines, nothing has `verify` judge, `\"again\"` enters \
                 `run` again, where calls that are over give their recorded results.",
            ),
            may("when", "(item: any) -> (boolean, string?)", "Whether it is needed at all, and why not. Asked once."),
            may(
                "each",
                EACH,
                "The items for which it is done, one after the other: names, or tables with an `id`. Frozen when first asked.",
            ),
            may("batch", BATCH, "How many items at once: `{ serial = 2 }`, `{ ramp = { 1, \"10%\" }, max_failures = 0 }`. Default: one."),
            may("gate", "string | (item: any) -> string?", "A question that is always asked before it, also with `--yes`."),
            may("irreversible", "string", "Why it cannot be taken back, when it cannot."),
            may(
                "rollback",
                "(item: any) -> ...any",
                "Takes it back, in place of the recorded inverses: only for what the host cannot invert.",
            ),
        ],
        free: "",
    },
    Word {
        name: "group",
        id: true,
        doc: "Declares several steps that are done for one item before the next. The key of a step is `group/item/step`.",
        fields: &[
            must("title", "string", "What it does."),
            must("each", EACH, "Its items: names, or tables with an `id`. Frozen when first asked."),
            must("steps", "{ any }", "Its steps: `{ step \"drain\" { … }, step \"upgrade\" { … } }`. Their functions get the item."),
            may("batch", BATCH, "How many items at once."),
            may("when", "() -> (boolean, string?)", "Whether it is needed at all, and why not."),
        ],
        free: "",
    },
    Word {
        name: "permissions",
        id: false,
        doc: "Says what the runbook may do beside reading; what no line grants is refused. Once a file. Without it, an accepted plan \
              grants what it showed. The words are the API's: an eviction is `create` of `pods/eviction`, a command in a pod `create` \
              of `pods/exec`. `!` before a glob takes it away, whatever other lines say.",
        fields: &[
            may(
                "[number]",
                "{ verbs: { string }, kinds: { string }, namespaces: { string }?, names: { string }?, images: { string }?, \
                 replicas: { number }? }",
                "A line: requests of these verbs for these kinds (`*`: all of them), where namespace, name and every image fit one of the globs \
                 and the replicas are within the least and the greatest. A field left out fits everything.",
            ),
            may(
                "helm",
                "{ charts: { string } }",
                "The charts that helm may install, as globs over what the runbook calls them. What it writes needs lines too; its own records do not.",
            ),
            may("machine", "{ { string } }", "Commands on machines, each by its first words; files by `{ \"write\", PATH }`."),
            may(
                "limits",
                "{ nodes: number?, evictions: number?, writes_per_minute: number? }",
                "How many nodes may be cordoned or changed, how many pods evicted or deleted, and how many writes leave in a minute \
                 (above it the run waits).",
            ),
        ],
        free: "",
    },
    Word {
        name: "coverage",
        id: true,
        doc: "Says which part of the runbook answers for which lines of its source document: `[\"12-14\"] = \"step ipam recover\"`, \
              or `waived \"reason\"`.",
        fields: &[],
        free: "{ [string]: string | Waived }",
    },
];

/// Other names that a file has: name, Luau type, meaning.
pub static VALUES: &[(&str, &str, &str)] = &[
    ("waived", "(reason: string) -> Waived", "In a `coverage` table: says why lines of the document are not covered."),
    ("params", "{ [string]: any }", "The parameters, typed. Read from functions only."),
    ("state", "{ [string]: any }", "What steps hand on to each other: JSON and typed values. It is kept when a step has ended well."),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::runbook::{Impact, ParamType};

    #[test]
    fn the_types_of_words_have_every_word() {
        let union = |words: &[&str]| words.iter().map(|word| format!("\"{word}\"")).collect::<Vec<_>>().join(" | ");
        assert_eq!(IMPACT, union(Impact::WORDS));
        assert_eq!(PARAM_TYPE, union(ParamType::WORDS));
    }
}
