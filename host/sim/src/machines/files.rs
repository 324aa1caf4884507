//! Programs about files: `cat`, `test`, `cp`, `mv`, `rm`, `mkdir`, `tar` and a few more.

use std::collections::BTreeSet;

use regex::Regex;
use sha2::{Digest as _, Sha256};

use super::effect::Effect;
use super::scene::Answer;
use super::{File, Machine};

/// Files that a machine has whether or not an entry names them.
fn read(machine: &Machine, path: &str) -> Option<String> {
    if let Some(file) = machine.files.get(path) {
        return Some(file.text.clone());
    }
    match path {
        "/proc/sys/kernel/random/boot_id" => Some(format!("{}\n", machine.boot_id)),
        "/etc/os-release" => machine.os.as_deref().map(os_release),
        _ => None,
    }
}

fn os_release(os: &str) -> String {
    let (id, version) = os.split_once(' ').unwrap_or((os, ""));
    let like = match id {
        "ubuntu" => "ID_LIKE=debian\n",
        "centos" | "rocky" | "almalinux" => "ID_LIKE=\"rhel fedora\"\n",
        _ => "",
    };
    format!("ID={id}\n{like}VERSION_ID=\"{version}\"\nPRETTY_NAME=\"{os}\"\n")
}

fn is_folder(machine: &Machine, path: &str) -> bool {
    let folder = format!("{}/", path.trim_end_matches('/'));
    machine.files.keys().any(|file| file.starts_with(&folder))
}

/// Runs one of these programs; `None` when it is none of them, or is called in another way.
pub(super) fn run(machine: &Machine, program: &str, words: &[&str]) -> Option<Answer> {
    let (flags, paths) = split(words);
    match (program, flags.as_slice(), paths.as_slice()) {
        ("cat", [], [_, ..]) => Some(cat(machine, &paths)),
        ("test", [flag @ ("-e" | "-f" | "-d" | "-s")], [path]) => {
            let text = read(machine, path);
            let holds = match *flag {
                "-d" => is_folder(machine, path),
                "-f" => text.is_some(),
                "-s" => text.is_some_and(|text| !text.is_empty()),
                _ => text.is_some() || is_folder(machine, path),
            };
            Some(if holds { Answer::default() } else { Answer::fails(1, "") })
        }
        ("stat", ["-L", "-c"], ["%a", path]) => Some(match machine.files.get(*path) {
            Some(file) => Answer::says(format!("{:o}\n", file.mode)),
            None => Answer::fails(1, format!("stat: cannot stat '{path}': No such file or directory\n")),
        }),
        ("cp", _, [from, to]) => Some(copy(machine, "cp", from, to)),
        ("mv", _, [from, to]) => {
            let answer = copy(machine, "mv", from, to);
            Some(if answer.code == 0 { answer.then(Effect::File((*from).to_owned(), None)) } else { answer })
        }
        ("rm", flags, [_, ..]) => {
            let forced = flags.iter().any(|flag| flag.starts_with('-') && flag.contains('f'));
            let missing = paths.iter().find(|path| !forced && !machine.files.contains_key(**path));
            if let Some(path) = missing {
                return Some(Answer::fails(1, format!("rm: cannot remove '{path}': No such file or directory\n")));
            }
            Some(paths.iter().fold(Answer::default(), |answer, path| answer.then(Effect::File((*path).to_owned(), None))))
        }
        ("mkdir", ["-p"], [_, ..]) | ("install", ["-d", ..], [_, ..]) => Some(Answer::default()),
        ("sha256sum", [], [path]) => Some(match read(machine, path) {
            Some(text) => Answer::says(format!("{}  {path}\n", digest(&text))),
            None => Answer::fails(1, format!("sha256sum: {path}: No such file or directory\n")),
        }),
        ("grep", ["-c"], [pattern, path]) => {
            let pattern = plain_pattern(pattern)?;
            Some(match read(machine, path).map(|text| text.lines().filter(|line| pattern.is_match(line)).count()) {
                Some(count) => Answer { code: u8::from(count == 0), ..Answer::says(format!("{count}\n")) },
                None => Answer::fails(2, format!("grep: {path}: No such file or directory\n")),
            })
        }
        ("tar", ["-C", "-czf"], [from, to, name]) => {
            let whole = format!("{}/{name}", from.trim_end_matches('/'));
            let there = machine.files.contains_key(&whole) || is_folder(machine, &whole);
            Some(match there {
                // What is packed is not looked into: its name stands for it.
                true => {
                    Answer::default().takes(2).then(Effect::File((*to).to_owned(), Some(File { text: format!("{whole}\n"), mode: 0o644 })))
                }
                false => Answer::fails(2, format!("tar: {name}: Cannot stat: No such file or directory\n")),
            })
        }
        ("ls", ["-1"], [path]) => Some(entries(machine, path)),
        _ => None,
    }
}

fn digest(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A pattern of grep, as far as it means the same everywhere.
fn plain_pattern(pattern: &str) -> Option<Regex> {
    if pattern.contains(['\\', '+', '?', '|', '(', ')', '{', '}']) {
        return None;
    }
    Regex::new(pattern).ok()
}

/// The names in a folder.
fn entries(machine: &Machine, path: &str) -> Answer {
    let folder = format!("{}/", path.trim_end_matches('/'));
    let below = machine.files.keys().filter_map(|file| file.strip_prefix(&folder));
    let names: BTreeSet<&str> = below.map(|rest| rest.split('/').next().unwrap_or(rest)).collect();
    match names.is_empty() {
        true => Answer::fails(2, format!("ls: cannot access '{path}': No such file or directory\n")),
        false => Answer::says(names.iter().map(|name| format!("{name}\n")).collect::<String>()),
    }
}

/// Flags, and the words that are none.
fn split<'a>(words: &[&'a str]) -> (Vec<&'a str>, Vec<&'a str>) {
    let end = words.iter().position(|word| *word == "--").unwrap_or(words.len());
    let (flags, mut paths): (Vec<&str>, Vec<&str>) = words[..end].iter().partition(|word| word.starts_with('-'));
    paths.extend(words.iter().skip(end + 1));
    (flags, paths)
}

fn cat(machine: &Machine, paths: &[&str]) -> Answer {
    let mut answer = Answer::default();
    for path in paths {
        match read(machine, path) {
            Some(text) => answer.stdout.push_str(&text),
            None if is_folder(machine, path) => {
                answer.code = 1;
                answer.stderr.push_str(&format!("cat: {path}: Is a directory\n"));
            }
            None => {
                answer.code = 1;
                answer.stderr.push_str(&format!("cat: {path}: No such file or directory\n"));
            }
        }
    }
    answer
}

fn copy(machine: &Machine, program: &str, from: &str, to: &str) -> Answer {
    match machine.files.get(from) {
        Some(file) => Answer::default().then(Effect::File(to.to_owned(), Some(File { text: file.text.clone(), mode: file.mode }))),
        None => Answer::fails(1, format!("{program}: cannot stat '{from}': No such file or directory\n")),
    }
}
