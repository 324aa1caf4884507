//! What `ssh`, `sudo` and login shells say when they do not do what they were asked.

use super::script::Missing;
use super::shell::{Said, unreachable};
use crate::base::{Error, Kind, Reason};

/// The exit code of `ssh` for its own failures.
const OWN: i32 = 255;

/// The error for what was said in the place of an answer.
pub(super) fn explain(node: &str, said: &Said, missing: Missing) -> Error {
    let text = said.stderr.trim();
    let has = |needle: &str| text.to_lowercase().contains(needle);
    if missing == Missing::NotBegun
        && let Some(error) = refusal(node, said)
    {
        return error;
    }
    if said.late {
        return told(unreachable(node, "no answer in time", missing), text);
    }
    match said.code {
        Some(OWN) | None if missing == Missing::Cut => told(unreachable(node, "the connection was lost", missing), text),
        Some(OWN) | None => {
            // Only before there is a connection is it certain that nothing was done.
            let never = ["connect to host", "could not resolve", "kex_exchange", "banner exchange"].into_iter().any(has);
            if !never {
                return told(unreachable(node, "the connection was lost", Missing::Cut), text);
            }
            let error = told(unreachable(node, "no connection by ssh", missing), text);
            if has("could not resolve hostname") {
                return error.hint("give its address in the inventory: `machines: { NODE: { address: … } }`");
            }
            error
        }
        Some(_) if missing == Missing::Cut => told(unreachable(node, "the answer is not whole", missing), text),
        Some(code) => {
            let message = format!("machine of node `{node}`: its login shell did not run `/bin/sh` (exit code {code})");
            told(
                Error::new(Kind::Cluster, Reason::CommandFailed, message).about(format!("node/{node}")),
                &format!("{text}{}", said.stdout.trim()),
            )
            .hint("log in there by hand and look: a shell that runs commands is needed")
        }
    }
}

/// What does not change by trying again.
fn refusal(node: &str, said: &Said) -> Option<Error> {
    let text = said.stderr.trim();
    let has = |needle: &str| text.to_lowercase().contains(needle);
    let refused = |reason: Reason, what: &str| {
        let kind = if reason == Reason::CommandMissing { Kind::Cluster } else { Kind::Refused };
        Error::new(kind, reason, format!("machine of node `{node}`: {what}")).about(format!("node/{node}"))
    };
    if has("remote host identification has changed") {
        let place = offending(text).map(|place| format!(": it is not the one in {place}")).unwrap_or_default();
        let error = refused(Reason::Refused, &format!("its host key has changed{place}"));
        return Some(error.hint("find out why, for somebody may be in between; when the machine was installed anew, remove that line"));
    }
    if has("host key verification failed") || has("no host key is known") || has("host key is known") {
        let error = told(refused(Reason::Refused, "its host key is not known here"), text);
        return Some(error.hint("log in by hand once and compare the key, or say `host_keys: accept-new` in the inventory"));
    }
    if has("permission denied (") || has("too many authentication failures") {
        let error = told(refused(Reason::Forbidden, "ssh may not log in"), text);
        return Some(
            error.hint("is the key in the agent, and is the user right? nothing is ever asked here: `ssh -o BatchMode=yes` must work"),
        );
    }
    if has("sudo: not found") || has("sudo: command not found") || (has("sudo") && has("not found")) {
        let error = refused(Reason::CommandMissing, "it has no `sudo`, and the user there is not root");
        return Some(error.hint("log in as root (`user: root` in the inventory), or install sudo"));
    }
    if has("sudo:") || has("sudoers") {
        let error = told(refused(Reason::Forbidden, "`sudo -n` is not allowed without a password"), text);
        return Some(error.hint("allow the user there `NOPASSWD` in the sudoers, or log in as root"));
    }
    None
}

/// The place of the key that differs: `/home/u/.ssh/known_hosts:3`, told as a file and a line.
fn offending(text: &str) -> Option<String> {
    let place = text.lines().find_map(|line| line.trim().strip_prefix("Offending ")?.split_once(" key in ").map(|(_, place)| place))?;
    let (file, line) = place.trim().rsplit_once(':')?;
    Some(format!("line {line} of `{file}`"))
}

/// With what was said as causes, the last lines of it.
fn told(error: Error, text: &str) -> Error {
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("@@@")).collect();
    let first = lines.len().saturating_sub(3);
    lines.iter().skip(first).fold(error, |error, line| error.cause(*line))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(code: i32, stderr: &str) -> Said {
        Said { code: Some(code), stderr: stderr.to_owned(), ..Said::default() }
    }

    fn error(code: i32, stderr: &str) -> Error {
        explain("w1", &said(code, stderr), Missing::NotBegun)
    }

    #[test]
    fn a_changed_host_key_is_named_with_its_line() {
        let text = "@@@@@@@@\n@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @\n@@@@@@@@\n\
                    Offending ECDSA key in /home/u/.ssh/known_hosts:3\nHost key verification failed.\r\n";
        let error = error(255, text);
        assert_eq!((error.kind, error.reason), (Kind::Refused, Reason::Refused));
        assert_eq!(
            error.message,
            "machine of node `w1`: its host key has changed: it is not the one in line 3 of `/home/u/.ssh/known_hosts`"
        );
    }

    #[test]
    fn what_trying_again_does_not_change_is_no_lost_connection() {
        for (code, text, reason) in [
            (
                255,
                "No ED25519 host key is known for [127.0.0.1]:2222 and you have requested strict checking.\nHost key verification failed.",
                Reason::Refused,
            ),
            (255, "admin@192.0.2.1: Permission denied (publickey,password).", Reason::Forbidden),
            (1, "sudo: a password is required", Reason::Forbidden),
            (1, "admin is not in the sudoers file.", Reason::Forbidden),
            (127, "/bin/sh: 1: exec: sudo: not found", Reason::CommandMissing),
            (127, "sudo: command not found", Reason::CommandMissing),
            (1, "This account is currently not available.", Reason::CommandFailed),
        ] {
            let error = error(code, text);
            assert_eq!(error.reason, reason, "{text}: {error}");
            assert!(error.hint.is_some(), "{text}");
        }
    }

    #[test]
    fn lost_connections_say_whether_something_may_have_been_done() {
        let refused = error(255, "ssh: connect to host 192.0.2.1 port 22: Connection refused");
        assert_eq!((refused.reason, refused.details.is_null()), (Reason::Unreachable, true));
        assert!(
            refused.to_string().ends_with("no connection by ssh: ssh: connect to host 192.0.2.1 port 22: Connection refused"),
            "{refused}"
        );
        let lost = explain("w1", &said(255, "Connection to 192.0.2.1 closed by remote host."), Missing::Cut);
        assert_eq!((lost.reason, lost.details["outcome"].as_str()), (Reason::Unreachable, Some("unknown")));
        let early = explain("w1", &said(255, "client_loop: send disconnect: Broken pipe"), Missing::NotBegun);
        assert_eq!(early.details["outcome"], "unknown", "the script may have come through");
        let late = explain("w1", &Said { late: true, ..Said::default() }, Missing::Cut);
        assert_eq!(late.details["outcome"], "unknown");
    }
}
