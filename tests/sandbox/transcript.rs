//! A transcript of a shell: run again and compared.

use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use super::Outcome;
use super::clients::Clients;
use super::served::{Served, files};

/// A cluster as the shell sees it.
pub(super) struct Shell<'a> {
    pub(super) kubeconfig: &'a Path,
    /// Where clients keep what they remember.
    pub(super) home: &'a Path,
    /// Where they are.
    pub(super) path: String,
}

/// Runs the commands of a transcript on a sandbox and compares what comes with what is written there.
///
/// # Errors
/// The first line that differs, or what could not be started.
pub(super) fn check(file: &Path, clients: &Clients) -> Outcome {
    let wanted = read(file)?;
    let words = words(&wanted).unwrap_or_default();
    let served = Served::start(&words.split_whitespace().collect::<Vec<_>>())?;
    let shell = Shell { kubeconfig: &served.kubeconfig, home: served.home(), path: clients.path() };
    let came = shell.again(&wanted)?;
    if std::env::var_os("BLESS").is_some_and(|value| value == "1") {
        return std::fs::write(file, came).map_err(|error| format!("{}: {error}", file.display()));
    }
    compare(&wanted, &came).map_err(|difference| format!("{}: {difference}", file.display()))
}

/// Does the same on a cluster that is there already. Nothing is written: what a sandbox says must be what this cluster says.
///
/// # Errors
/// The first line that differs.
pub(super) fn check_on(file: &Path, shell: &Shell<'_>) -> Outcome {
    let wanted = read(file)?;
    compare(&wanted, &shell.again(&wanted)?).map_err(|difference| format!("{}: {difference}", file.display()))
}

/// The text of a transcript.
///
/// # Errors
/// It cannot be read.
pub(super) fn read(file: &Path) -> Outcome<String> {
    std::fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))
}

/// The words of `lockgate sandbox` in a transcript.
pub(super) fn words(transcript: &str) -> Option<&str> {
    transcript.lines().find_map(|line| line.strip_prefix("% "))
}

impl Shell<'_> {
    /// The same transcript with what comes now.
    fn again(&self, transcript: &str) -> Outcome<String> {
        let mut out = String::new();
        for line in transcript.lines().filter(|line| ["% ", "# ", "$ "].iter().any(|kept| line.starts_with(kept))) {
            let _ = writeln!(out, "{line}");
            let Some(command) = line.strip_prefix("$ ") else { continue };
            let output = self.run(command)?;
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            for line in text(&output.stdout).lines() {
                let _ = writeln!(out, "{}", plain(line));
            }
            for line in text(&output.stderr).lines().filter(|line| !ended_its_own_watch(line) && !is_our_warning(line)) {
                let _ = writeln!(out, "! {}", plain(line));
            }
            match output.status.code() {
                Some(0) => {}
                code => {
                    let _ = writeln!(out, "[{}]", code.map_or("signal".to_owned(), |code| code.to_string()));
                }
            }
        }
        Ok(out)
    }

    /// Runs a line with nothing of the user's settings, for two minutes at most.
    fn run(&self, line: &str) -> Outcome<Output> {
        Command::new("timeout")
            .args(["120", "sh", "-c", line])
            .current_dir(files())
            .env_clear()
            .env("PATH", &self.path)
            .env("HOME", self.home)
            .env("KUBECONFIG", self.kubeconfig)
            .stdin(Stdio::null())
            .output()
            .map_err(|error| format!("{line}: {error}"))
    }
}

/// What is not modelled in the simulator no other server says, and transcripts are played on both.
fn is_our_warning(line: &str) -> bool {
    line.starts_with("Warning: simulator: ")
}

/// Whether a client logs that a watch ended which it ended itself: helm 4 does so when it is done in the middle of an event, or not.
fn ended_its_own_watch(line: &str) -> bool {
    line.contains("reflector.go") && line.contains("watch ended with error") && line.contains("context canceled")
}

/// A line without what no two runs share, or what depends on the order of draws: ages, the last part of generated names, and
/// the spaces that they push about.
fn plain(line: &str) -> String {
    let indent: String = line.chars().take_while(|c| *c == ' ').collect();
    let mut words = Vec::new();
    let mut rest = line.trim_start();
    while !rest.is_empty() {
        let end = rest.find("  ").unwrap_or(rest.len());
        let (column, after) = rest.split_at(end);
        words.push(column.split(' ').map(plain_word).collect::<Vec<_>>().join(" "));
        rest = after.trim_start();
    }
    format!("{indent}{}", words.join("  ")).trim_end().to_owned()
}

fn plain_word(word: &str) -> String {
    if is_age(word.trim_start_matches('(')) {
        return format!("{}<age>", if word.starts_with('(') { "(" } else { "" });
    }
    let mut out = String::new();
    for (number, part) in word.split('-').enumerate() {
        let end = part.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(part.len());
        let (id, rest) = part.split_at(end);
        out.push_str(if number > 0 { "-" } else { "" });
        out.push_str(if number > 0 { plain_part(id) } else { id });
        out.push_str(rest);
    }
    out
}

/// What Kubernetes appends to names: five characters that make them unique, or the hash of a template. Neither has vowels.
fn plain_part(part: &str) -> &str {
    let is_made = part.chars().all(|c| "bcdfghjklmnpqrstvwxz2456789".contains(c));
    match part.len() {
        5 if is_made => "<id>",
        7..=10 if is_made && part.contains(|c: char| c.is_ascii_digit()) => "<hash>",
        _ => part,
    }
}

/// Whether a word is an age as kubectl prints it: `11s`, `3m20s`, `25y`, `<invalid>`.
fn is_age(word: &str) -> bool {
    if word == "<invalid>" {
        return true;
    }
    let mut digits = 0;
    let mut units = 0;
    for c in word.chars() {
        match c {
            '0'..='9' => digits += 1,
            's' | 'm' | 'h' | 'd' | 'y' if digits > 0 => (digits, units) = (0, units + 1),
            _ => return false,
        }
    }
    digits == 0 && units > 0
}

/// # Errors
/// The first line that differs, with its command.
fn compare(wanted: &str, came: &str) -> Outcome {
    let (mut wanted, mut came) = (wanted.lines(), came.lines());
    let (mut command, mut number) = ("", 0);
    loop {
        number += 1;
        match (wanted.next(), came.next()) {
            (None, None) => return Ok(()),
            (Some(a), Some(b)) if a == b => {
                if a.starts_with("$ ") {
                    command = a;
                }
            }
            (a, b) => {
                let shown = |line: Option<&str>| line.unwrap_or("(nothing more)").to_owned();
                return Err(format!("line {number} differs, after `{command}`\n  written: {}\n  came:    {}", shown(a), shown(b)));
            }
        }
    }
}

/// The comparison itself is tried.
///
/// # Errors
/// What it does not notice.
pub(super) fn differences_are_noticed() -> Outcome {
    let wanted = "$ a\none\n$ b\n! two\n[3]\n";
    for came in ["$ a\none\n$ b\n! two\n", "$ a\none\n$ b\n! two\n[3]\nmore\n", "$ a\none\n$ b\n! tow\n[3]\n", ""] {
        if compare(wanted, came).is_ok() {
            return Err(format!("{came:?} passes for {wanted:?}"));
        }
    }
    compare(wanted, wanted)?;
    let lines = [
        ("NAME   AGE", "NAME  AGE"),
        ("web-1  1/1   Running   0   3m20s", "web-1  1/1  Running  0  <age>"),
        ("web-1  1/1   Running   2 (5m ago)   25y", "web-1  1/1  Running  2 (<age> ago)  <age>"),
        ("  Type  Status", "  Type  Status"),
        ("pod/web-b55fbbcb4-5tqbc: web-shop", "pod/web-<hash>-<id>: web-shop"),
        ("m1 s 3", "m1 s 3"),
    ];
    match lines.iter().find(|(line, wanted)| plain(line) != *wanted) {
        None => Ok(()),
        Some((line, wanted)) => Err(format!("{line:?} becomes {:?}, not {wanted:?}", plain(line))),
    }
}
