//! What can stand at the cursor: verbs, options, choices, kinds, object names. Pure functions over the line and the registry.

use crate::primitives::registry::{Definition, Param};
use crate::primitives::types::{Completes, Type};

/// What completion may ask about the session and its cluster.
pub(super) trait Source {
    /// Verbs and words of the language.
    fn definitions(&self) -> Vec<&'static Definition>;
    /// Names that the session has assigned.
    fn session_names(&self) -> Vec<String>;
    /// Kinds of the cluster, singular and lower case.
    fn kinds(&self) -> Vec<String>;
    /// Names of the objects of a kind; of a namespace when one was written.
    fn object_names(&self, kind: &str, namespace: Option<&str>) -> Vec<String>;
    /// The prompt's own commands, with their colon.
    fn commands(&self) -> Vec<&'static str>;
}

/// What can be inserted from `start` (a byte index of the line) on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Completion {
    /// Where the replaced text begins.
    pub(super) start: usize,
    /// The candidates, sorted.
    pub(super) candidates: Vec<String>,
}

/// An open bracket left of the cursor.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Open {
    /// `name(`, and how many arguments are finished.
    Call { name: String, argument: usize },
    /// `{`, with the keys written so far and the key whose value is being written.
    Table { keys: Vec<String>, key: Option<String> },
    /// `(` or `[` that is no call.
    Group,
}

/// What stands left of the cursor.
#[derive(Debug)]
struct Scan {
    open: Vec<Open>,
    /// Start of the string the cursor is in, after its quote.
    string: Option<usize>,
    /// Start of the word the cursor is in or behind.
    word: usize,
}

/// Completes at byte `position` of `line`.
pub(super) fn complete(line: &str, position: usize, source: &dyn Source) -> Completion {
    let before = line.get(..position).unwrap_or(line);
    if let Some(rest) = before.strip_prefix('?') {
        let names = source.definitions().into_iter().map(|definition| definition.name.to_owned());
        return finish(1, rest, names.collect());
    }
    if before.starts_with(':') && !before.contains(' ') {
        return finish(0, before, source.commands().into_iter().map(str::to_owned).collect());
    }
    let scan = scan(before);
    if let Some(start) = scan.string {
        return complete_string(before, start, &scan.open, source);
    }
    let word = before.get(scan.word..).unwrap_or_default();
    if let Some(options) = option_names(&scan.open, source) {
        return finish(scan.word, word, options);
    }
    let mut names: Vec<String> = source.definitions().into_iter().map(|definition| definition.name.to_owned()).collect();
    names.extend(source.session_names());
    if word.is_empty() {
        return Completion { start: scan.word, candidates: Vec::new() };
    }
    finish(scan.word, word, names)
}

/// The signature of the call that the cursor is in, for the hint line.
pub(super) fn call_at(line: &str, position: usize) -> Option<String> {
    let before = line.get(..position)?;
    scan(before).open.into_iter().rev().find_map(|open| match open {
        Open::Call { name, .. } => Some(name),
        Open::Table { .. } | Open::Group => None,
    })
}

fn finish(start: usize, prefix: &str, names: Vec<String>) -> Completion {
    let mut candidates: Vec<String> = names.into_iter().filter(|name| name.starts_with(prefix)).collect();
    candidates.sort();
    candidates.dedup();
    Completion { start, candidates }
}

fn find(source: &dyn Source, name: &str) -> Option<&'static Definition> {
    source.definitions().into_iter().find(|definition| definition.name == name)
}

/// The names of options when the cursor is at a key of a verb's options table.
fn option_names(open: &[Open], source: &dyn Source) -> Option<Vec<String>> {
    let [.., Open::Call { name, argument }, Open::Table { keys, key: None }] = open else {
        return None;
    };
    let definition = find(source, name)?;
    if *argument < definition.params.len() {
        return None;
    }
    let names = definition.options.iter().filter(|option| !keys.iter().any(|key| key == option.name));
    Some(names.map(|option| format!("{} = ", option.name)).collect())
}

/// The type that a string at the cursor is for.
fn type_at(open: &[Open], source: &dyn Source) -> Option<Type> {
    match open {
        [.., Open::Call { name, argument }] => find(source, name)?.params.get(*argument).map(|param| param.ty),
        [.., Open::Call { name, .. }, Open::Table { key: Some(key), .. }] => {
            let options: &[Param] = find(source, name)?.options;
            options.iter().find(|option| option.name == key).map(|option| option.ty)
        }
        _ => None,
    }
}

fn complete_string(before: &str, start: usize, open: &[Open], source: &dyn Source) -> Completion {
    let written = before.get(start..).unwrap_or_default();
    let Some(ty) = type_at(open, source) else {
        return Completion { start, candidates: Vec::new() };
    };
    match ty.completes {
        Completes::Nothing => Completion { start, candidates: Vec::new() },
        Completes::Choices => finish(start, written, ty.choices.iter().map(|choice| (*choice).to_owned()).collect()),
        Completes::Kind => finish(start, written, source.kinds()),
        Completes::Reference => {
            let Some((kind, rest)) = written.split_once('/') else {
                return finish(start, written, source.kinds().into_iter().map(|kind| format!("{kind}/")).collect());
            };
            let (namespace, name) = match rest.split_once('/') {
                Some((namespace, name)) => (Some(namespace), name),
                None => (None, rest),
            };
            finish(start + written.len() - name.len(), name, source.object_names(kind, namespace))
        }
    }
}

fn is_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

/// Reads the text left of the cursor once and remembers which brackets and which string are open.
fn scan(text: &str) -> Scan {
    let mut open: Vec<Open> = Vec::new();
    let mut string: Option<(char, usize)> = None;
    let mut escaped = false;
    let mut word = 0;
    let mut last_word = String::new();
    for (index, character) in text.char_indices() {
        let after = index + character.len_utf8();
        if let Some((quote, _)) = string {
            match (escaped, character) {
                (true, _) => escaped = false,
                (false, '\\') => escaped = true,
                (false, closing) if closing == quote => {
                    string = None;
                    word = after;
                }
                (false, _) => {}
            }
            continue;
        }
        // `helm.list` is one word; `a..b` is two.
        if is_word(character) || (character == '.' && text.get(word..index).is_some_and(|so_far| so_far.ends_with(is_word))) {
            continue;
        }
        let current = text.get(word..index).unwrap_or_default();
        if !current.is_empty() {
            current.clone_into(&mut last_word);
        }
        bracket(character, &mut open, &last_word);
        if matches!(character, '"' | '\'' | '`') {
            string = Some((character, after));
        }
        if !character.is_whitespace() {
            last_word.clear();
        }
        word = after;
    }
    Scan { open, string: string.map(|(_, start)| start), word }
}

/// What one character outside of strings does to the open brackets.
fn bracket(character: char, open: &mut Vec<Open>, last_word: &str) {
    match character {
        '(' if last_word.is_empty() => open.push(Open::Group),
        '(' => open.push(Open::Call { name: last_word.to_owned(), argument: 0 }),
        '[' => open.push(Open::Group),
        '{' => open.push(Open::Table { keys: Vec::new(), key: None }),
        ')' | ']' | '}' => {
            open.pop();
        }
        ',' | ';' => match open.last_mut() {
            Some(Open::Call { argument, .. }) => *argument += 1,
            Some(Open::Table { key, .. }) => *key = None,
            Some(Open::Group) | None => {}
        },
        '=' => {
            if let Some(Open::Table { keys, key }) = open.last_mut()
                && !last_word.is_empty()
            {
                keys.push(last_word.to_owned());
                *key = Some(last_word.to_owned());
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::primitives::Effect;

    static LIST: Definition = Definition { name: "helm.list", params: &[], ..SCALE };

    const SCALE: Definition = Definition {
        name: "scale",
        effect: Effect::Write,
        doc: &[" Scales."],
        params: &[
            Param { name: "workload", doc: &[], ty: Type::new("Ref", "a reference").completes(Completes::Reference) },
            Param { name: "replicas", doc: &[], ty: Type::new("number", "a number") },
        ],
        options: &[
            Param { name: "timeout", doc: &[], ty: Type::new("string", "a duration").optional() },
            Param {
                name: "wait",
                doc: &[],
                ty: Type { choices: &["gone", "ready"], completes: Completes::Choices, ..Type::new("string", "a word").optional() },
            },
        ],
        returns: "any",
        returns_doc: "",
        since: "0.1",
        example: "",
        needs: &[],
        call: None,
    };

    struct Fake;
    impl Source for Fake {
        fn definitions(&self) -> Vec<&'static Definition> {
            vec![&const { SCALE }, &LIST]
        }
        fn session_names(&self) -> Vec<String> {
            vec!["seen".into()]
        }
        fn kinds(&self) -> Vec<String> {
            vec!["deployment".into(), "daemonset".into(), "pod".into()]
        }
        fn object_names(&self, kind: &str, namespace: Option<&str>) -> Vec<String> {
            vec![format!("{kind}-a"), format!("{}-b", namespace.unwrap_or("here"))]
        }
        fn commands(&self) -> Vec<&'static str> {
            vec![":help", ":ns"]
        }
    }

    fn at_end(line: &str) -> (String, Vec<String>) {
        let completion = complete(line, line.len(), &Fake);
        (line[..completion.start].to_owned(), completion.candidates)
    }

    #[test]
    fn verbs_and_session_names_complete_a_word() {
        assert_eq!(at_end("local x = s"), ("local x = ".into(), vec!["scale".into(), "seen".into()]));
        assert_eq!(at_end(""), (String::new(), vec![]));
        assert_eq!(at_end("f(helm.l"), ("f(".into(), vec!["helm.list".into()]));
        assert_eq!(at_end("a..sc"), ("a..".into(), vec!["scale".into()]));
    }

    #[test]
    fn kinds_then_names_complete_a_reference() {
        assert_eq!(at_end("scale(\"d"), ("scale(\"".into(), vec!["daemonset/".into(), "deployment/".into()]));
        assert_eq!(at_end("scale(\"pod/"), ("scale(\"pod/".into(), vec!["here-b".into(), "pod-a".into()]));
        assert_eq!(at_end("scale(\"pod/web/w"), ("scale(\"pod/web/".into(), vec!["web-b".into()]));
    }

    #[test]
    fn options_complete_in_the_options_table_only_and_once() {
        assert_eq!(at_end("scale(\"pod/x\", 1, { t"), ("scale(\"pod/x\", 1, { ".into(), vec!["timeout = ".into()]));
        assert_eq!(at_end("scale(x, 1, { timeout = \"1s\", "), ("scale(x, 1, { timeout = \"1s\", ".into(), vec!["wait = ".into()]));
        assert_eq!(at_end("scale(x, { t"), ("scale(x, { ".into(), Vec::<String>::new()));
    }

    #[test]
    fn choices_complete_the_value_of_an_option() {
        assert_eq!(at_end("scale(x, 1, { wait = \"g"), ("scale(x, 1, { wait = \"".into(), vec!["gone".into()]));
    }

    #[test]
    fn help_and_commands_complete_at_the_start() {
        assert_eq!(at_end("?sc"), ("?".into(), vec!["scale".into()]));
        assert_eq!(at_end(":n"), (String::new(), vec![":ns".into()]));
    }

    #[test]
    fn the_hint_knows_the_innermost_call() {
        let line = "f(scale(x, g";
        assert_eq!(call_at(line, line.len()), Some("scale".into()));
        assert_eq!(call_at("x = 1", 5), None);
        assert_eq!(call_at("helm.list({", 11), Some("helm.list".into()));
    }
}
