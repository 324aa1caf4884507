//! Package tools: those of Debian and those of Red Hat. Which of them a machine has is decided by its `os`.

use std::cmp::Ordering;

use jiff::{SignedDuration, Timestamp};

use super::Machine;
use super::effect::Effect;
use super::scene::Answer;
use crate::model::glob;
use crate::view;

/// The families of package tools.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Family {
    Debian,
    RedHat,
}

fn family(machine: &Machine) -> Option<Family> {
    match machine.os.as_deref()?.split(' ').next()? {
        "debian" | "ubuntu" => Some(Family::Debian),
        "centos" | "rhel" | "rocky" | "almalinux" | "fedora" | "amzn" | "ol" | "openEuler" => Some(Family::RedHat),
        _ => None,
    }
}

/// Runs one of these programs; `None` when it is none of them, is not on this machine, or is called in another way.
pub(super) fn run(machine: &Machine, now: Timestamp, program: &str, words: &[&str]) -> Option<Answer> {
    let (words, flags) = plain(program, words);
    match (family(machine)?, program) {
        (Family::Debian, "apt-get") => apt_get(machine, now, &words, &flags),
        (Family::Debian, "apt-mark") => apt_mark(machine, &words),
        (Family::Debian, "apt-cache") => apt_cache(machine, &words),
        (Family::Debian, "dpkg-query") => dpkg_query(machine, &words, &flags),
        (Family::Debian, "dpkg") if flags.contains(&"--configure") => Some(Answer::default().takes(1)),
        (Family::RedHat, "yum" | "dnf") => yum(machine, now, &words, &flags),
        (Family::RedHat, "rpm") => rpm(machine, &words, &flags),
        _ => None,
    }
}

/// Words that are no options, and options. `-o X` and `--qf X` are one option.
fn plain<'a>(program: &str, words: &[&'a str]) -> (Vec<&'a str>, Vec<&'a str>) {
    let (mut plain, mut flags) = (Vec::new(), Vec::new());
    let mut rest = words.iter().copied();
    while let Some(word) = rest.next() {
        if word == "--" {
            plain.extend(rest.by_ref());
        } else if word.starts_with('-') {
            flags.push(word);
            if matches!(word, "-o" | "--qf" | "--queryformat") || (program == "dpkg-query" && word == "-f") {
                flags.extend(rest.next());
            }
        } else {
            plain.push(word);
        }
    }
    (plain, flags)
}

fn apt_get(machine: &Machine, now: Timestamp, words: &[&str], flags: &[&str]) -> Option<Answer> {
    match words {
        ["update"] => Some(Answer::says("Reading package lists...\n").takes(5)),
        ["install", wanted @ ..] if !wanted.is_empty() => {
            let patience = lock_timeout(flags)?;
            Some(with_lock(machine, now, patience, APT_LOCKED, || apt_install(machine, wanted, flags)))
        }
        _ => None,
    }
}

const APT_LOCKED: &str = "E: Could not get lock /var/lib/dpkg/lock-frontend. It is held by process 1912 (unattended-upgr)\n\
                          N: Be aware that removing the lock file is not a solution and may break your system.\n\
                          E: Unable to acquire the dpkg frontend lock (/var/lib/dpkg/lock-frontend), is another process using it?\n";

/// How long `apt-get` waits for the lock: not at all unless it is told to, and for ever with -1. `None` when what it is told is no number.
fn lock_timeout(flags: &[&str]) -> Option<SignedDuration> {
    let told = flags.iter().rev().find_map(|flag| flag.trim_start_matches("-o").strip_prefix("DPkg::Lock::Timeout="));
    let seconds: i64 = told.map_or(Some(0), |text| text.parse().ok())?;
    Some(if seconds < 0 { SignedDuration::MAX } else { SignedDuration::from_secs(seconds) })
}

/// What comes of a command that needs the lock of the package tool: it waits while somebody else has it, and gives up in these words when
/// its patience ends first.
fn with_lock(machine: &Machine, now: Timestamp, patience: SignedDuration, words: &str, then: impl FnOnce() -> Answer) -> Answer {
    let until = machine.locked_until.unwrap_or_else(|| view::later(now, machine.times.locked));
    let wait = view::since(until, now).max(SignedDuration::ZERO);
    let answer = if wait <= patience { then().later(wait) } else { Answer { takes: patience, ..Answer::fails(100, words) } };
    // The time of the lock runs from the first command on that needs it.
    if wait.is_zero() || machine.locked_until.is_some() { answer } else { answer.after(0, Effect::Lock(until)) }
}

fn apt_install(machine: &Machine, wanted: &[&str], flags: &[&str]) -> Answer {
    let has = |flag: &str| flags.contains(&flag);
    if !flags.iter().any(|flag| matches!(*flag, "-y" | "--yes" | "--assume-yes" | "-qq")) {
        return Answer { code: 1, ..Answer::says("Do you want to continue? [Y/n] Abort.\n") };
    }
    let mut answer = Answer::says("Reading package lists...\nBuilding dependency tree...\n").takes(20);
    let mut changes = Vec::new();
    for word in wanted {
        let (name, pattern) = word.split_once('=').unwrap_or((word, "*"));
        let Some(versions) = machine.available.get(name) else {
            return Answer::fails(100, format!("E: Unable to locate package {name}\n"));
        };
        let Some(version) = newest(versions, pattern) else {
            return Answer::fails(100, format!("E: Version '{pattern}' for '{name}' was not found\n"));
        };
        let now = machine.packages.get(name);
        if now == Some(version) {
            answer.stdout.push_str(&format!("{name} is already the newest version ({version}).\n"));
            continue;
        }
        if machine.held.contains(name) && !has("--allow-change-held-packages") {
            return Answer::fails(100, "E: Held packages were changed and -y was used without --allow-change-held-packages.\n");
        }
        if now.is_some_and(|now| compare(version, now) == Ordering::Less) && !has("--allow-downgrades") {
            return Answer::fails(100, "E: Packages were downgraded and -y was used without --allow-downgrades.\n");
        }
        answer.stdout.push_str(&format!("Setting up {name} ({version}) ...\n"));
        changes.push((name.to_owned(), Some(version.clone())));
    }
    if changes.is_empty() {
        return answer.takes(2);
    }
    // Whoever installs a held package takes the hold away (seen with apt 2.6).
    let names = changes.iter().map(|(name, _)| name.clone()).collect();
    answer.then(Effect::Packages(changes)).then(Effect::Hold(names, false))
}

fn apt_mark(machine: &Machine, words: &[&str]) -> Option<Answer> {
    match words {
        ["showhold"] => Some(Answer::says(machine.held.iter().map(|name| format!("{name}\n")).collect::<String>())),
        [action @ ("hold" | "unhold"), names @ ..] if !names.is_empty() => {
            let holds = *action == "hold";
            if let Some(name) = names.iter().find(|name| !machine.packages.contains_key(**name)) {
                return Some(Answer::fails(100, format!("E: Unable to locate package {name}\n")));
            }
            let mut answer = Answer::default();
            let (mut told, mut changed) = (String::new(), Vec::new());
            for name in names {
                let is_held = machine.held.contains(*name);
                told.push_str(&match (is_held, holds) {
                    (true, true) => format!("{name} was already set on hold.\n"),
                    (false, false) => format!("{name} was already not on hold.\n"),
                    (false, true) => format!("{name} set on hold.\n"),
                    (true, false) => format!("Canceled hold on {name}.\n"),
                });
                if is_held != holds {
                    changed.push((*name).to_owned());
                }
            }
            answer.stdout = told;
            Some(if changed.is_empty() { answer } else { answer.then(Effect::Hold(changed, holds)) })
        }
        _ => None,
    }
}

fn apt_cache(machine: &Machine, words: &[&str]) -> Option<Answer> {
    let ["madison", names @ ..] = words else { return None };
    let lines = |name: &&str| {
        let mut versions = machine.available.get(*name).cloned().unwrap_or_default();
        versions.sort_by(|a, b| compare(b, a));
        versions.iter().map(|version| format!("{name:>10} | {version:>12} | https://packages.example ./ Packages\n")).collect::<String>()
    };
    Some(Answer::says(names.iter().map(lines).collect::<String>()))
}

/// Only in the form in which the host asks: a line each with name, state and version.
fn dpkg_query(machine: &Machine, words: &[&str], flags: &[&str]) -> Option<Answer> {
    if !flags.contains(&"-W") || !flags.contains(&"-f") || !flags.contains(&"${Package} ${db:Status-Status} ${Version}\\n") {
        return None;
    }
    Some(installed(machine, words, |answer, name| answer.stderr.push_str(&format!("dpkg-query: no packages found matching {name}\n"))))
}

/// A line for each package that is there; what `missing` says of each other one, and exit code 1.
fn installed(machine: &Machine, words: &[&str], missing: fn(&mut Answer, &str)) -> Answer {
    let mut answer = Answer::default();
    for name in words {
        match machine.packages.get(*name) {
            Some(version) => answer.stdout.push_str(&format!("{name} installed {version}\n")),
            None => {
                answer.code = 1;
                missing(&mut answer, name);
            }
        }
    }
    answer
}

fn yum(machine: &Machine, now: Timestamp, words: &[&str], flags: &[&str]) -> Option<Answer> {
    match words {
        ["makecache"] => Some(Answer::says("Metadata cache created.\n").takes(5)),
        ["list", "available" | "--showduplicates", ..] | ["list", ..] if flags.contains(&"--showduplicates") => {
            Some(yum_list(machine, words.last()?))
        }
        [action @ ("install" | "downgrade"), wanted @ ..] if !wanted.is_empty() => {
            // It waits as long as it takes.
            Some(with_lock(machine, now, SignedDuration::MAX, "", || yum_install(machine, action, wanted, flags)))
        }
        _ => None,
    }
}

fn yum_list(machine: &Machine, name: &str) -> Answer {
    match machine.available.get(name) {
        Some(versions) => {
            let lines: String = versions.iter().map(|version| format!("{name}.x86_64    {version}    kubernetes\n")).collect();
            Answer::says(format!("Available Packages\n{lines}"))
        }
        None => Answer::fails(1, "Error: No matching Packages to list\n"),
    }
}

fn yum_install(machine: &Machine, action: &str, wanted: &[&str], flags: &[&str]) -> Answer {
    if !flags.iter().any(|flag| matches!(*flag, "-y" | "--assumeyes")) {
        return Answer { code: 1, ..Answer::says("Is this ok [y/d/N]: Exiting on user command\n") };
    }
    let mut answer = Answer::default().takes(20);
    let mut changes = Vec::new();
    for word in wanted {
        // `NAME-VERSION`: a name may have hyphens too.
        let found = machine.available.iter().filter_map(|(name, versions)| {
            let pattern = if word == name { "*" } else { word.strip_prefix(name.as_str())?.strip_prefix('-')? };
            newest(versions, pattern).map(|version| (name, version))
        });
        let Some((name, version)) = found.max_by_key(|(name, _)| name.len()) else {
            return Answer { code: 1, ..Answer::fails(1, format!("No package {word} available.\nError: Nothing to do\n")) };
        };
        let order = machine.packages.get(name).map(|now| compare(version, now));
        match (action, order) {
            (_, Some(Ordering::Equal)) | ("install", Some(Ordering::Less)) => {
                answer.stdout.push_str(&format!("Package matching {word} already installed. Checking for update.\nNothing to do\n"));
            }
            ("downgrade", None | Some(Ordering::Greater)) => {
                return Answer::fails(1, format!("Only Upgrade available on package: {word}\nError: Nothing to do\n"));
            }
            _ => {
                answer.stdout.push_str(&format!("Installed: {name}.x86_64 {version}\nComplete!\n"));
                changes.push((name.clone(), Some(version.clone())));
            }
        }
    }
    if changes.is_empty() { answer.takes(2) } else { answer.then(Effect::Packages(changes)) }
}

/// Only in the form in which the host asks.
fn rpm(machine: &Machine, words: &[&str], flags: &[&str]) -> Option<Answer> {
    if !flags.contains(&"-q") || !flags.contains(&"%{NAME} installed %{VERSION}-%{RELEASE}\\n") {
        return None;
    }
    Some(installed(machine, words, |answer, name| answer.stdout.push_str(&format!("package {name} is not installed\n"))))
}

fn newest<'a>(versions: &'a [String], pattern: &str) -> Option<&'a String> {
    versions.iter().filter(|version| glob(pattern, version)).max_by(|a, b| compare(a, b))
}

/// The order of two versions of a package: numbers by their value, all else by its text.
fn compare(a: &str, b: &str) -> Ordering {
    let (a, b) = (pieces(a), pieces(b));
    a.cmp(&b)
}

fn pieces(version: &str) -> Vec<(u64, &str)> {
    version
        .split(|c: char| !c.is_ascii_alphanumeric())
        .map(|piece| {
            let digits = piece.find(|c: char| !c.is_ascii_digit()).unwrap_or(piece.len());
            (piece[..digits].parse().unwrap_or(0), &piece[digits..])
        })
        .collect()
}

/// The version of Kubernetes in that of a package: `v1.19.16` of `1.19.16-00`.
pub(super) fn kubernetes(version: &str) -> String {
    format!("v{}", version.split('-').next().unwrap_or(version))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_compare_by_their_numbers() {
        for (older, newer) in [("1.9.0-00", "1.10.0-00"), ("1.19.16-00", "1.20.1-00"), ("1.30.2-1.1", "1.30.10-1.1"), ("1.2-1", "1.2-1.1")]
        {
            assert_eq!(compare(older, newer), Ordering::Less, "{older} {newer}");
            assert_eq!(compare(newer, older), Ordering::Greater);
        }
        assert_eq!(compare("1.19.16-00", "1.19.16-00"), Ordering::Equal);
        assert_eq!(kubernetes("1.19.16-00"), "v1.19.16");
    }

    #[test]
    fn the_newest_that_fits_the_pattern_is_taken() {
        let versions = ["1.30.2-1.1".to_owned(), "1.30.10-1.1".to_owned(), "1.29.0-1.1".to_owned()];
        assert_eq!(newest(&versions, "1.30.*").unwrap(), "1.30.10-1.1");
        assert_eq!(newest(&versions, "1.29.0-1.1").unwrap(), "1.29.0-1.1");
        assert!(newest(&versions, "1.31.*").is_none());
    }
}
