//! Machines with a real systemd.

use lockgate_sim::json::{Value as Json, json};

use super::Outcome;
use super::rig::Rig;
use super::sshd::Programs;

fn expect(holds: bool, what: impl Into<String>) -> Outcome {
    if holds { Ok(()) } else { Err(what.into()) }
}

/// An operation is a unit of the machine's systemd, named by run and number, and leaves none behind.
pub(super) fn operations(programs: &Programs) -> Outcome {
    let rig = Rig::new(programs, 1, "")?;
    let ran = rig.value("machine.run", json!(["n1", ["cat", "/proc/self/cgroup"]]), json!({ "sudo": true }))?;
    let groups = ran["stdout"].as_str().unwrap_or_default();
    expect(groups.contains("/lockgate-") && groups.contains(".service"), format!("it is no unit: {ran}"))?;
    let left = rig.read("n1", json!(["systemctl", "list-units", "--all", "--plain", "--no-legend", "lockgate-*"]))?;
    expect(left.trim().is_empty(), format!("left: {left}"))?;
    let failed = rig.error("machine.run", json!(["n1", ["false"]]), json!({ "sudo": true }))?;
    expect(failed.details["code"] == 1, format!("{failed}"))
}

/// `machine.service` does what systemd then says, and nothing a second time.
pub(super) fn services(programs: &Programs) -> Outcome {
    let rig = Rig::new(programs, 1, "")?;
    let state = |word: &str| -> Outcome<String> {
        let value = rig.value("machine.read", json!(["n1", ["systemctl", word, "probe.service"]]), json!({ "check": false }))?;
        Ok(value["stdout"].as_str().unwrap_or_default().trim().to_owned())
    };
    let does = |action: &str| -> Outcome<Json> { rig.value("machine.service", json!(["n1", "probe.service", action]), json!({})) };
    let before = state("is-active")?;
    expect(before == "inactive", format!("before: {before}"))?;
    for (action, word, after) in [
        ("start", "is-active", "active"),
        ("enable", "is-enabled", "enabled"),
        ("disable", "is-enabled", "disabled"),
        ("stop", "is-active", "inactive"),
    ] {
        let first = does(action)?;
        expect(first["changed"] == true, format!("{action}: {first}"))?;
        let now = state(word)?;
        expect(now == after, format!("{action}: {now}"))?;
        let second = does(action)?;
        expect(second["changed"] == false, format!("{action} again: {second}"))?;
    }
    does("start")?;
    let pid = rig.read("n1", json!(["systemctl", "show", "-p", "MainPID", "probe.service"]))?;
    does("restart")?;
    let new = rig.read("n1", json!(["systemctl", "show", "-p", "MainPID", "probe.service"]))?;
    expect(pid != new && state("is-active")? == "active", format!("restarted: {pid} {new}"))?;
    let file = rig.value("machine.file", json!(["n1", "/etc/systemd/system/probe.service"]), json!({}))?;
    expect(file.as_str().is_some_and(|text| text.contains("ExecStart=/bin/sleep")), format!("file: {file}"))
}
