//! The cases.

use std::fs;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use lockgate::base::{Kind, Reason, Span};
use lockgate::cluster::machines::{Command, Operation, Progress};
use lockgate_sim::json::{Value as Json, json};

use super::Outcome;
use super::rig::Rig;
use super::sshd::{Programs, is_root};

/// Says what is not as it should be.
fn expect(holds: bool, what: impl Into<String>) -> Outcome {
    if holds { Ok(()) } else { Err(what.into()) }
}

/// Root logs in as root; anybody else has no rights that could be tried here.
fn sudo() -> Json {
    json!({ "sudo": is_root() })
}

pub(super) fn several_nodes(programs: &Programs) -> Outcome {
    let rig = Rig::new(programs, 3, "")?;
    for node in ["n1", "n2", "n3"] {
        let said = rig.read(node, json!(["printenv", "NODE"]))?;
        expect(said == format!("{node}\n"), format!("{node} says it is {said}"))?;
    }
    let error = rig.error("machine.read", json!(["n4", ["true"]]), Json::Null)?;
    expect(error.reason == Reason::Unreachable, format!("n4 is in no inventory, and its Node's address is nobody's: {error}"))
}

pub(super) fn hostile_words(programs: &Programs) -> Outcome {
    let rig = Rig::new(programs, 1, "")?;
    let hostile = [
        "a b", "", "'", "\"", "\\", "$HOME", "$(id)", "`id`", "a;b", "a&b", "*", "~", "-n", "a\nb", "!!", "\t", "ä😀", "%s", "#", "{a,b}",
        "<x", ">x", "|x", "${IFS}", "\\n", "''\\''",
    ];
    let wanted: String = hostile.iter().map(|word| format!("<{word}>")).collect();
    let mut words = vec![json!("printf"), json!("<%s>")];
    words.extend(hostile.iter().map(|word| json!(*word)));
    let read = rig.read("n1", Json::Array(words.clone().into_iter().collect()))?;
    expect(read == wanted, format!("read: {read}"))?;
    let ran = rig.value("machine.run", json!(["n1", words]), sudo())?;
    expect(ran["stdout"] == wanted.as_str(), format!("run: {ran}"))?;
    let text = "it's\n$HOME `id`\n\n";
    let value = rig.value("machine.run", json!(["n1", ["cat"]]), json!({ "stdin": text, "sudo": is_root() }))?;
    expect(value["stdout"] == text, format!("stdin: {value}"))
}

pub(super) fn large_output(programs: &Programs) -> Outcome {
    let rig = Rig::new(programs, 1, "")?;
    let words = json!(["seq", "1", "400000"]);
    let read = rig.value("machine.read", json!(["n1", words.clone()]), Json::Null)?;
    let text = read["stdout"].as_str().unwrap_or_default();
    expect(read["truncated"] == true && text.len() == 1 << 20 && text.starts_with("1\n2\n"), "of a reading command the beginning is kept")?;
    let ran = rig.value("machine.run", json!(["n1", words]), sudo())?;
    let text = ran["stdout"].as_str().unwrap_or_default();
    expect(ran["truncated"] == true && text.len() == 1 << 20 && text.ends_with("399999\n400000\n"), "of another one the end is kept")
}

/// Cuts every connection again and again while a call goes on, and gives how many were cut.
fn while_cutting<T>(rig: &Rig, call: impl FnOnce() -> T) -> (T, usize) {
    let (over, cuts) = (AtomicBool::new(false), AtomicUsize::new(0));
    let server = &rig.servers[0];
    let result = std::thread::scope(|scope| {
        scope.spawn(|| {
            let begun = Instant::now();
            while !over.load(Ordering::SeqCst) && begun.elapsed() < Duration::from_millis(1200) {
                // From the very beginning of a connection to its end, at ever other moments.
                std::thread::sleep(Duration::from_millis(15 + 13 * (cuts.load(Ordering::SeqCst) as u64 % 23)));
                cuts.fetch_add(server.cut_all(), Ordering::SeqCst);
            }
        });
        let result = call();
        over.store(true, Ordering::SeqCst);
        result
    });
    (result, cuts.load(Ordering::SeqCst))
}

pub(super) fn killed_connections(programs: &Programs) -> Outcome {
    let rig = Rig::new(programs, 1, "")?;
    let count = rig.file("count");
    for round in 1..=3 {
        let line = format!("echo once >>{}; sleep 0.5; echo done", count.display());
        let (ran, cuts) = while_cutting(&rig, || rig.value("machine.run", json!(["n1", ["sh", "-c", line]]), sudo()));
        let ran = ran?;
        expect(cuts > 0, "no connection was cut")?;
        expect(ran["code"] == 0 && ran["stdout"] == "done\n", format!("{ran}"))?;
        let times = fs::read_to_string(&count).map_err(|error| error.to_string())?.lines().count();
        expect(times == round, format!("{times} times after {round} calls and {cuts} cuts"))?;
    }
    let path = rig.file("written").display().to_string();
    if is_root() {
        let (written, _) = while_cutting(&rig, || rig.value("machine.write", json!(["n1", path.clone(), "whole\n"]), Json::Null));
        written?;
        expect(fs::read_to_string(&path).is_ok_and(|text| text == "whole\n"), "the file is not whole")?;
    }
    Ok(())
}

pub(super) fn outlives(programs: &Programs) -> Outcome {
    let rig = Rig::new(programs, 1, "")?;
    let reached = rig.reached()?;
    let command = Command { words: ["sh", "-c", "sleep 1; echo late"].map(str::to_owned).to_vec(), stdin: None, sudo: is_root() };
    let operation = Operation { id: rig.operation(), command, limit: Span::from_secs(60), finally: None };
    rig.block(async {
        reached.begin("n1", &operation).await.map_err(|error| error.to_string())?;
        rig.servers[0].cut_all();
        let begun = Instant::now();
        loop {
            match reached.look("n1", &operation).await.map_err(|error| error.to_string())? {
                Progress::Ended(output) => return expect(output.stdout == "late\n" && output.code == 0, format!("{output:?}")),
                Progress::Running(_) | Progress::Absent if begun.elapsed() < Duration::from_secs(20) => {}
                other => return Err(format!("{other:?}")),
            }
        }
    })
}

pub(super) fn twice(programs: &Programs) -> Outcome {
    let rig = Rig::new(programs, 1, "")?;
    let reached = rig.reached()?;
    let count = rig.file("count");
    let line = format!("echo once >>{}", count.display());
    let command = Command { words: vec!["sh".to_owned(), "-c".to_owned(), line], stdin: None, sudo: is_root() };
    let operation = Operation { id: rig.operation(), command, limit: Span::from_secs(60), finally: None };
    rig.block(async {
        let begin = || reached.begin("n1", &operation);
        // At once, and one after the other's end.
        let (one, two) = futures::join!(begin(), begin());
        one.and(two).map_err(|error| error.to_string())?;
        while !matches!(reached.look("n1", &operation).await.map_err(|error| error.to_string())?, Progress::Ended(_)) {}
        begin().await.map_err(|error| error.to_string())?;
        let other = Operation { command: Command { words: vec!["true".to_owned()], ..operation.command.clone() }, ..operation.clone() };
        match reached.begin("n1", &other).await {
            Err(error) if error.reason == Reason::Invalid && error.message.contains("another command was begun under this name") => Ok(()),
            other => Err(format!("another command under the same name: {other:?}")),
        }
    })?;
    let times = fs::read_to_string(&count).map_err(|error| error.to_string())?.lines().count();
    expect(times == 1, format!("it ran {times} times"))
}

pub(super) fn another_process(programs: &Programs) -> Outcome {
    let mut rig = Rig::new(programs, 1, "")?;
    let (count, begun) = (rig.file("count"), rig.file("begun"));
    let line = format!("echo once >>{}; touch {}; sleep 1; echo done; exit 3", count.display(), begun.display());
    let words = json!(["n1", ["sh", "-c", line]]);
    let options = json!({ "sudo": is_root(), "check": false });
    let times = || fs::read_to_string(&count).map(|text| text.lines().count()).map_err(|error| error.to_string());
    rig.cut_short("machine.run", words.clone(), options.clone(), &begun)?;
    // The name of an operation is made of the run and its number there: the first of this process is the first of the other.
    rig.another_process()?;
    let ran = rig.value("machine.run", words.clone(), options.clone())?;
    expect(ran["stdout"] == "done\n" && ran["code"] == 3, format!("its end is found: {ran}"))?;
    expect(times()? == 1, format!("it ran {} times", times()?))?;
    rig.another_process()?;
    let told = rig.value("machine.run", words.clone(), options.clone())?;
    expect(told == ran && times()? == 1, format!("what has ended is told again, and not run: {told}"))?;
    // The second operation of the run is another one, though its words are the same.
    rig.value("machine.run", words, options)?;
    expect(times()? == 2, format!("it ran {} times", times()?))?;
    // Other words under the first name are refused: the script was changed.
    rig.another_process()?;
    let error = rig.error("machine.run", json!(["n1", ["true"]]), sudo())?;
    expect(error.reason == Reason::Invalid && error.message.contains("another command was begun under this name"), format!("{error}"))
}

pub(super) fn away(programs: &Programs) -> Outcome {
    let mut rig = Rig::new(programs, 1, "")?;
    let mut server = rig.servers.remove(0);
    let flag = rig.file("begun");
    let line = format!("touch {}; sleep 1; echo survived", flag.display());
    let noticed = rig.told.away.clone();
    std::thread::scope(|scope| {
        // Down as soon as the command runs, and up when somebody has noticed.
        let helper = scope.spawn(|| -> Outcome {
            while !flag.exists() {
                std::thread::sleep(Duration::from_millis(5));
            }
            server.down();
            let begun = Instant::now();
            while !noticed.load(Ordering::SeqCst) && begun.elapsed() < Duration::from_secs(60) {
                std::thread::sleep(Duration::from_millis(20));
            }
            server.up()
        });
        let ran = rig.value("machine.run", json!(["n1", ["sh", "-c", line]]), sudo());
        helper.join().map_err(|_| "the helper panicked".to_owned())??;
        let ran = ran?;
        expect(ran["stdout"] == "survived\n", format!("{ran}"))
    })?;
    let states = rig.told.states.borrow();
    expect(states.iter().any(|state| state.contains("does not answer")), format!("nobody noticed: {states:?}"))
}

pub(super) fn host_key_changed(programs: &Programs) -> Outcome {
    let mut rig = Rig::new(programs, 1, "")?;
    rig.read("n1", json!(["true"]))?;
    rig.servers[0].down();
    rig.servers[0].new_key(programs)?;
    rig.servers[0].up()?;
    let error = rig.error("machine.read", json!(["n1", ["true"]]), Json::Null)?;
    let place = format!("line 1 of `{}`", rig.file("known_hosts").display());
    expect((error.kind, error.reason) == (Kind::Refused, Reason::Refused), format!("{error}"))?;
    expect(error.message.contains("its host key has changed") && error.message.contains(&place), format!("{error}"))?;
    rig.with("host_keys: accept-new\n")?;
    let error = rig.error("machine.run", json!(["n1", ["true"]]), sudo())?;
    expect(error.message.contains("has changed"), format!("one that changed is never learnt: {error}"))
}

pub(super) fn host_key_unknown(programs: &Programs) -> Outcome {
    let mut rig = Rig::new(programs, 1, "")?;
    let known = rig.file("other_hosts");
    fs::write(&known, "").map_err(|error| error.to_string())?;
    rig.with(&format!("known_hosts: {}\n", known.display()))?;
    let error = rig.error("machine.read", json!(["n1", ["true"]]), Json::Null)?;
    expect(error.reason == Reason::Refused && error.message.contains("is not known here"), format!("{error}"))?;
    rig.with(&format!("known_hosts: {}\nhost_keys: accept-new\n", known.display()))?;
    rig.read("n1", json!(["true"]))?;
    rig.with(&format!("known_hosts: {}\n", known.display()))?;
    rig.read("n1", json!(["true"])).map(|_| ())
}

pub(super) fn no_login(programs: &Programs) -> Outcome {
    let mut rig = Rig::new(programs, 1, "")?;
    let other = rig.file("other");
    programs.key(&other)?;
    rig.with(&format!("identity: {}\n", other.display()))?;
    let begun = Instant::now();
    let error = rig.error("machine.read", json!(["n1", ["true"]]), Json::Null)?;
    expect(error.reason == Reason::Forbidden && error.message.contains("may not log in"), format!("{error}"))?;
    expect(begun.elapsed() < Duration::from_secs(10), "it was tried again and again")
}

pub(super) fn no_sudo(programs: &Programs) -> Outcome {
    // A machine whose user is not root, as far as it can tell.
    let extra = "ForceCommand PATH=FOLDER/bin exec /bin/sh -c \"$SSH_ORIGINAL_COMMAND\"";
    let rig = Rig::new(programs, 1, extra)?;
    rig.servers[0].program("bin/id", "#!/bin/sh\necho 1000\n")?;
    rig.read("n1", json!(["true"]))?;
    let error = rig.error("machine.run", json!(["n1", ["true"]]), Json::Null)?;
    expect(error.reason == Reason::CommandMissing && error.message.contains("no `sudo`"), format!("{error}"))?;
    rig.servers[0].program("bin/sudo", "#!/bin/sh\necho 'sudo: a password is required' >&2\nexit 1\n")?;
    let error = rig.error("machine.run", json!(["n1", ["true"]]), Json::Null)?;
    expect((error.kind, error.reason) == (Kind::Refused, Reason::Forbidden), format!("{error}"))?;
    expect(error.to_string().contains("a password is required"), format!("{error}"))?;
    expect(rig.told.wrote.borrow().is_empty(), "nothing was begun")?;
    // With a sudo that may, the words reach it and no others.
    rig.servers[0].program("bin/sudo", "#!/bin/sh\n[ \"$*\" = '-n /bin/sh -s' ] || exit 9\nshift\nPATH=/usr/bin:/bin exec \"$@\"\n")?;
    rig.value("machine.run", json!(["n1", ["true"]]), Json::Null).map(|_| ())
}

pub(super) fn jump_host(programs: &Programs) -> Outcome {
    let mut rig = Rig::new(programs, 2, "")?;
    let config = rig.file("config");
    let user = super::sshd::user_name();
    let text = format!(
        "Host inner\n  HostName 127.0.0.1\n  Port {}\n  ProxyJump 127.0.0.1:{}\nHost *\n  User {user}\n  IdentityFile {}\n  UserKnownHostsFile {}\n",
        rig.servers[1].port,
        rig.servers[0].port,
        rig.file("key").display(),
        rig.file("known_hosts").display(),
    );
    fs::write(&config, text).map_err(|error| error.to_string())?;
    rig.by(&format!("config: {}\nmachines:\n  n2: {{ address: inner }}\n", config.display()))?;
    let said = rig.read("n2", json!(["printenv", "NODE"]))?;
    expect(said == "n2\n", said)?;
    rig.servers[0].down();
    let error = rig.error("machine.read", json!(["n2", ["true"]]), Json::Null)?;
    expect(error.reason == Reason::Unreachable, format!("the way goes by the first one: {error}"))
}

pub(super) fn files_and_failures(programs: &Programs) -> Outcome {
    let rig = Rig::new(programs, 1, "")?;
    let error = rig.error("machine.run", json!(["n1", ["sh", "-c", "echo why >&2; exit 255"]]), sudo())?;
    expect(error.reason == Reason::CommandFailed, format!("255 is a code like any other: {error}"))?;
    expect(error.to_string().ends_with("ended with exit code 255: why"), format!("{error}"))?;
    let error = rig.error("machine.run", json!(["n1", ["no-such-program"]]), sudo())?;
    expect(error.reason == Reason::CommandMissing, format!("{error}"))?;
    let error = rig.error("machine.run", json!(["n1", ["sleep", "60"]]), json!({ "limit": "1s", "sudo": is_root() }))?;
    expect(error.reason == Reason::Timeout, format!("{error}"))?;
    let error = rig.error("machine.read", json!(["n1", ["printf", "a\u{0}b"]]), Json::Null)?;
    expect(error.reason == Reason::Usage, format!("{error}"))?;
    if !is_root() {
        return Ok(());
    }
    let path = rig.file("it's a file").display().to_string();
    let text = "one $HOME\n";
    let write = |text: &str| rig.call("machine.write", json!(["n1", path.clone(), text]), Json::Null).map_err(|error| error.to_string());
    let first = write(text)?;
    expect(first.wrote.len() == 1 && fs::read_to_string(&path).is_ok_and(|read| read == text), "it is not written")?;
    expect(write(text)?.wrote.is_empty(), "it was written a second time")?;
    let second = write("two\n")?;
    for (done, wanted) in [(&second, Some(text)), (&first, None)] {
        let lockgate::primitives::Inverse::Call { verb, arguments, options } = &done.wrote[0].inverse else {
            return Err("no inverse".to_owned());
        };
        rig.value(verb, arguments.clone().into(), options.clone())?;
        expect(fs::read_to_string(&path).ok().as_deref() == wanted, format!("taken back to {wanted:?}"))?;
    }
    Ok(())
}
