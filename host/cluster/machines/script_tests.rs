//! The scripts, run by the shells of this machine.

use std::process::{Command as Process, Stdio};

use super::*;
use crate::base::clock::{Clock, Duration, between};

/// A machine in a folder: operations are kept there, as those of a user who is not root.
struct Home(tempfile::TempDir);

impl Home {
    fn new() -> Home {
        Home(tempfile::TempDir::new().unwrap())
    }

    /// What a shell says to a script. Where operations are kept is turned to this folder.
    fn say(&self, shell: &str, script: &Script) -> String {
        use std::io::Write as _;
        let text = script.text.replace("base=/var/lib/lockgate", &format!("base={}", self.0.path().display()));
        let text = text.replace("[ -d /run/systemd/system ]", "false");
        let mut words = shell.split(' ');
        let mut child = Process::new(words.next().unwrap())
            .args(words)
            .arg("-s")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .env("XDG_STATE_HOME", self.0.path())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        let ended = child.wait_with_output().unwrap();
        assert_eq!(String::from_utf8_lossy(&ended.stderr), "", "{shell}");
        String::from_utf8(ended.stdout).unwrap()
    }

    fn ask(&self, script: &Script) -> Answer {
        let said = self.say("/bin/sh", script);
        script.answer(&said).unwrap_or_else(|missing| panic!("{missing:?}: {said}"))
    }

    fn read(&self, words: &[&str], stdin: Option<&str>) -> Output {
        match self.ask(&Script::reading("r/1".to_owned(), &command(words, stdin), Span::from_secs(20))) {
            Answer::Ended(output) => output,
            other => panic!("{other:?}"),
        }
    }

    fn begin(&self, number: u64, words: &[&str], stdin: Option<&str>) -> Answer {
        self.ask(&Script::starting(&operation(number, words, stdin)))
    }

    fn look(&self, number: u64) -> Answer {
        self.ask(&Script::looking(&OperationId::of(&format!("RUN/{number}/1")), false, LIMIT))
    }

    /// The end of an operation.
    fn end(&self, number: u64) -> Answer {
        let clock = Clock::real();
        let begun = clock.now();
        loop {
            match self.look(number) {
                Answer::At(Progress::Running(_) | Progress::Absent) if between(begun, clock.now()) < Duration::from_secs(20) => {}
                other => return other,
            }
        }
    }
}

const LIMIT: Span = Span::from_secs(30);

fn operation(number: u64, words: &[&str], stdin: Option<&str>) -> Operation {
    Operation { id: OperationId::of(&format!("RUN/{number}/1")), command: command(words, stdin), limit: LIMIT, finally: None }
}

fn command(words: &[&str], stdin: Option<&str>) -> Command {
    Command { words: words.iter().map(|word| (*word).to_owned()).collect(), stdin: stdin.map(str::to_owned), sudo: false }
}

/// Words that a shell would take for something else.
const HOSTILE: [&str; 16] = [
    "a b",
    "",
    "'",
    "''",
    "\"",
    "\\",
    "\\'",
    "$HOME",
    "$(touch /tmp/owned)",
    "`id`",
    "a;b",
    "*",
    "-n",
    "a\nb\n",
    "!!",
    "\u{e4}\u{1f600}\t\u{7f}",
];

#[test]
fn hostile_words_come_through_unchanged() {
    let home = Home::new();
    let mut words = vec!["printf", "%s\\0"];
    words.extend(HOSTILE);
    let wanted: String = HOSTILE.iter().map(|word| format!("{word}\0")).collect();
    let output = home.read(&words, None);
    assert_eq!((output.code, output.stdout.as_str()), (0, wanted.as_str()));
    home.begin(1, &words, None);
    let Answer::Ended(output) = home.end(1) else { panic!("it did not end") };
    assert_eq!((output.code, output.stdout.as_str()), (0, wanted.as_str()), "detached");
    let output = home.read(&["cat"], Some("it's\n$HOME\\n\n\n"));
    assert_eq!(output.stdout, "it's\n$HOME\\n\n\n", "standard input too");
}

#[test]
fn every_shell_that_may_be_sh_reads_them_alike() {
    for shell in ["/bin/dash", "/bin/bash --posix", "/bin/busybox sh"] {
        if !std::path::Path::new(shell.split(' ').next().unwrap()).exists() {
            continue;
        }
        let script = Script::reading("r/1".to_owned(), &command(&["printf", "%s|", "a'b", "$x", "\\n"], Some("x")), LIMIT);
        let Ok(Answer::Ended(output)) = script.answer(&Home::new().say(shell, &script)) else { panic!("{shell}") };
        assert_eq!(output.stdout, "a'b|$x|\\n|", "{shell}");
    }
}

#[test]
fn codes_outputs_and_limits_are_told() {
    let home = Home::new();
    let output = home.read(&["sh", "-c", "echo out; echo err >&2; exit 7"], None);
    assert_eq!(output, Output { code: 7, stdout: "out\n".to_owned(), stderr: "err\n".to_owned(), truncated: false, late: false });
    assert_eq!(home.read(&["no-such-program"], None).code, 127);
    let output = home.read(&["sh", "-c", "printf '\\377a'; seq 1 400000"], None);
    assert!(output.truncated && output.stdout.starts_with("\u{fffd}a1\n2\n"), "the beginning is kept");
    let script = Script::reading("r/2".to_owned(), &command(&["sleep", "20"], None), Span::from_millis(200));
    let Answer::Ended(output) = home.ask(&script) else { panic!("no end") };
    assert_eq!((output.code, output.late), (124, true));
    assert!(!home.read(&["sh", "-c", "exit 124"], None).late, "a command may give 124 itself");
}

#[test]
fn an_operation_runs_once_however_often_it_is_begun() {
    let home = Home::new();
    let count = home.0.path().join("count");
    let counts = format!("echo once >>{}; sleep 0.3", count.display());
    assert_eq!(home.look(1), Answer::At(Progress::Absent));
    for _ in 0..3 {
        assert_eq!(home.begin(1, &["sh", "-c", &counts], None), Answer::Begun);
    }
    assert!(matches!(home.end(1), Answer::Ended(Output { code: 0, .. })));
    assert_eq!(home.begin(1, &["sh", "-c", &counts], None), Answer::Begun, "after its end too");
    assert!(matches!(home.look(1), Answer::Ended(Output { code: 0, .. })));
    assert_eq!(std::fs::read_to_string(&count).unwrap(), "once\n");
    assert_eq!(home.begin(1, &["true"], None), Answer::Fault("another command was begun under this name".to_owned()));
    assert_eq!(home.begin(2, &["sh", "-c", &counts], None), Answer::Begun, "another operation is another");
    assert!(matches!(home.end(2), Answer::Ended(_)));
    assert_eq!(std::fs::read_to_string(&count).unwrap(), "once\nonce\n");
}

#[test]
fn a_launcher_that_fails_after_it_began_does_not_make_two_of_it() {
    use std::os::unix::fs::PermissionsExt as _;
    let home = Home::new();
    let launcher = home.0.path().join("systemd-run");
    // It starts what it is given, as systemd does, tells how it was called, and then says that it failed.
    let text = format!(
        "#!/bin/sh\necho \"$*\" >{0}/called\nwhile [ \"$1\" != /bin/sh ]; do shift; done\nsetsid \"$@\" </dev/null >/dev/null 2>&1 &\nsleep 0.2\nexit 1\n",
        home.0.path().display()
    );
    std::fs::write(&launcher, text).unwrap();
    std::fs::set_permissions(&launcher, std::fs::Permissions::from_mode(0o755)).unwrap();
    let count = home.0.path().join("count");
    let mut script = Script::starting(&operation(1, &["sh", "-c", &format!("echo \"$HOME\" >>{}", count.display())], None));
    let has_systemd = "[ \"$(id -u)\" = 0 ] && [ -d /run/systemd/system ]";
    assert!(script.text.contains(has_systemd));
    script.text =
        script.text.replace(has_systemd, "true").replace("PATH=\"${PATH:", &format!("PATH=\"{}:${{PATH:", home.0.path().display()));
    assert_eq!(home.ask(&script), Answer::Begun);
    assert!(matches!(home.end(1), Answer::Ended(Output { code: 0, .. })));
    assert_eq!(std::fs::read_to_string(&count).unwrap().lines().count(), 1, "setsid began it a second time, and the gate was shut");
    let called = std::fs::read_to_string(home.0.path().join("called")).unwrap();
    assert!(called.starts_with("--quiet --unit=lockgate-run-1 --description=lockgate lockgate-run-1 /bin/sh /"), "{called}");
    assert!(!called.contains("HOME"), "no word of the command reaches it: systemd would fill in variables");
}

#[test]
fn two_that_begin_at_once_are_one() {
    let home = Home::new();
    let count = home.0.path().join("count");
    let script = Script::starting(&operation(1, &["sh", "-c", &format!("echo once >>{}", count.display())], None));
    std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| assert_eq!(home.ask(&script), Answer::Begun));
        }
    });
    assert!(matches!(home.end(1), Answer::Ended(_)));
    // Those that came second end without a trace.
    assert!(matches!(home.look(1), Answer::Ended(_)));
    assert_eq!(std::fs::read_to_string(&count).unwrap(), "once\n");
}

#[test]
fn what_was_killed_is_gone_and_of_long_outputs_the_end_is_kept() {
    let home = Home::new();
    home.begin(1, &["sleep", "60"], None);
    let pid = loop {
        if let Answer::At(Progress::Running(_)) = home.look(1) {
            let text = std::fs::read_to_string(home.0.path().join(folder_of(1)).join("pid")).unwrap();
            break text.split(' ').next().unwrap().to_owned();
        }
    };
    // The whole session, as when the machine runs out of memory.
    assert!(Process::new("pkill").args(["-KILL", "-s", &pid]).status().unwrap().success());
    assert_eq!(home.end(1), Answer::At(Progress::Gone { booted: false }));
    home.begin(2, &["sh", "-c", "seq 1 400000"], None);
    let Answer::Ended(output) = home.end(2) else { panic!("no end") };
    assert!(output.truncated && output.stdout.ends_with("399999\n400000\n"));
}

/// Where an operation of these tests is kept.
fn folder_of(number: u64) -> String {
    let is_root = Process::new("id").arg("-u").output().unwrap().stdout == b"0\n";
    if is_root { format!("RUN/{number}") } else { format!("lockgate/RUN/{number}") }
}

#[test]
fn what_is_to_follow_follows_however_it_ended() {
    let home = Home::new();
    let finally = Some(vec!["printf".to_owned(), "%s\n".to_owned(), "it's $HOME".to_owned()]);
    let begin = |number: u64, words: &[&str], finally: &Option<Vec<String>>| {
        home.ask(&Script::starting(&Operation { finally: finally.clone(), ..operation(number, words, None) }));
        let Answer::Ended(output) = home.end(number) else { panic!("no end") };
        (output.code, output.stdout)
    };
    assert_eq!(begin(1, &["sh", "-c", "echo a; exit 3"], &finally), (3, "a\nit's $HOME\n".to_owned()));
    assert_eq!(begin(2, &["echo", "a"], &Some(vec!["false".to_owned()])), (1, "a\n".to_owned()));
}

#[test]
fn a_boot_in_between_is_noticed() {
    let home = Home::new();
    home.begin(1, &["sleep", "0.1"], None);
    home.end(1);
    let folder = home.0.path().join(folder_of(1));
    std::fs::remove_file(folder.join("rc")).unwrap();
    assert_eq!(home.end(1), Answer::At(Progress::Gone { booted: false }));
    std::fs::write(folder.join("pid"), "1 1 another-boot\n").unwrap();
    assert_eq!(home.look(1), Answer::At(Progress::Gone { booted: true }));
}

#[test]
fn files_are_written_whole_and_the_former_one_is_kept() {
    use std::os::unix::fs::PermissionsExt as _;
    let home = Home::new();
    let path = home.0.path().join("it's a file");
    let write = |number: u64, text: &str, mode: Option<u32>| {
        let id = OperationId::of(&format!("RUN/{number}/1"));
        home.ask(&Script::writing(&File { id, path: path.display().to_string(), text: text.to_owned(), mode, sudo: false }))
    };
    let mode = || std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
    assert_eq!(write(1, "one\n", None), Answer::Written(None));
    assert_eq!((std::fs::read_to_string(&path).unwrap().as_str(), mode()), ("one\n", 0o644));
    let Answer::Written(Some(former)) = write(2, "$two\n", Some(0o600)) else { panic!("nothing is kept") };
    assert_eq!(std::fs::read_to_string(&former).unwrap(), "one\n");
    assert_eq!((std::fs::read_to_string(&path).unwrap().as_str(), mode()), ("$two\n", 0o600));
    assert_eq!(write(2, "$two\n", None), Answer::Written(Some(former.clone())), "once more, after a lost answer");
    assert_eq!((std::fs::read_to_string(&former).unwrap().as_str(), mode()), ("one\n", 0o600), "what is kept is what was there first");
    let link = home.0.path().join("link");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    let id = OperationId::of("RUN/3/1");
    home.ask(&Script::writing(&File { id, path: link.display().to_string(), text: "three".to_owned(), mode: None, sudo: false }));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "three", "a link stays a link");
    let id = OperationId::of("RUN/4/1");
    let folder = home.0.path().display().to_string();
    let refused = home.ask(&Script::writing(&File { id, path: folder.clone(), text: String::new(), mode: None, sudo: false }));
    assert_eq!(refused, Answer::Fault(format!("{folder} is a folder")));
}

#[test]
fn half_a_script_does_nothing_and_half_an_answer_is_none() {
    let home = Home::new();
    let file = home.0.path().join("made");
    let script = Script::reading("r/1".to_owned(), &command(&["touch", &file.display().to_string()], None), LIMIT);
    for part in [script.text.len() / 2, script.text.len() - 20] {
        let cut = Script { text: script.text[..part].to_owned(), ..script.clone() };
        let child = Process::new("/bin/sh").arg("-c").arg(&cut.text).output().unwrap();
        assert_eq!(script.answer(&String::from_utf8_lossy(&child.stdout)), Err(Missing::NotBegun));
    }
    assert!(!file.exists());
    let said = format!("Welcome!\nanswer of nobody\n{}", home.say("/bin/sh", &script));
    assert!(matches!(script.answer(&said), Ok(Answer::Ended(_))), "what a profile prints before it does no harm");
    assert!(file.exists());
    let without_end = said.lines().filter(|line| !line.starts_with("end ")).collect::<Vec<_>>().join("\n");
    assert_eq!(script.answer(&without_end), Err(Missing::Cut));
    let shorter = said.replace("size-out 0", "size-out 1");
    assert_eq!(script.answer(&shorter), Err(Missing::Cut), "an output that is not whole");
    assert_eq!(Script { id: "r/2".to_owned(), ..script }.answer(&said), Err(Missing::NotBegun), "the answer to another question");
}
