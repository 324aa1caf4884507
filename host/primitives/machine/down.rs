//! Commands that take their machine down, or its node out of the cluster, as far as their words say it.

/// What hands a command on: the program that counts comes after it, its options, assignments and numbers.
const BEFORE: [&str; 9] = ["sudo", "doas", "env", "nohup", "nice", "setsid", "exec", "timeout", "systemd-run"];
/// Shells: what they run is a text.
const SHELLS: [&str; 5] = ["sh", "bash", "dash", "ash", "zsh"];
/// What `systemctl` does to the whole machine. Asleep is down to everybody else.
const OF_MACHINE: [&str; 10] =
    ["reboot", "poweroff", "halt", "kexec", "soft-reboot", "suspend", "hibernate", "hybrid-sleep", "suspend-then-hibernate", "rescue"];
/// Units that do the same when they are started.
const TARGETS: [&str; 9] = [
    "reboot.target",
    "poweroff.target",
    "halt.target",
    "kexec.target",
    "shutdown.target",
    "soft-reboot.target",
    "rescue.target",
    "emergency.target",
    "ctrl-alt-del.target",
];

/// Whether the words of a command take their machine, or what Kubernetes runs on it, down.
pub(super) fn takes_down(words: &[String]) -> bool {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    is_down(&words)
}

fn is_down(words: &[&str]) -> bool {
    let mut rest = words;
    let mut handed_on = false;
    while let Some((first, after)) = rest.split_first() {
        let passed = handed_on && (first.starts_with('-') || first.contains('=') || first.starts_with(|c: char| c.is_ascii_digit()));
        if !passed && !BEFORE.contains(&program(first)) {
            break;
        }
        handed_on = true;
        rest = after;
    }
    let Some((first, arguments)) = rest.split_first() else { return false };
    let mut plain = arguments.iter().filter(|word| !word.starts_with('-'));
    match program(first) {
        "reboot" | "poweroff" | "halt" | "kexec" => true,
        // `-c` takes one back that was announced.
        "shutdown" => !arguments.contains(&"-c"),
        "init" | "telinit" => plain.next().is_some_and(|level| ["0", "1", "6", "s", "S"].contains(level)),
        "kubeadm" => plain.next().is_some_and(|phase| *phase == "reset"),
        "systemctl" => plain.next().is_some_and(|action| {
            OF_MACHINE.contains(action) || (["start", "restart", "isolate"].contains(action) && plain.any(|unit| TARGETS.contains(unit)))
        }),
        shell if SHELLS.contains(&shell) => {
            let is_text = |word: &&str| word.starts_with('-') && !word.starts_with("--") && word.ends_with('c');
            let text = arguments.iter().position(is_text).and_then(|at| arguments.get(at + 1));
            text.is_some_and(|text| commands(text).iter().any(|command| is_down(command)))
        }
        _ => false,
    }
}

/// The name of a program without its folder.
fn program(word: &str) -> &str {
    word.rsplit('/').next().unwrap_or(word)
}

/// The commands of a shell's text, as far as that can be told without being a shell.
fn commands(text: &str) -> Vec<Vec<&str>> {
    let parts = text.split([';', '&', '|', '\n', '(', ')', '{', '}']);
    parts.map(|part| part.split_whitespace().map(|word| word.trim_matches(['"', '\''])).collect()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn down(line: &str) -> bool {
        takes_down(&line.split(' ').map(|word| word.replace('_', " ")).collect::<Vec<String>>())
    }

    #[test]
    fn what_takes_a_machine_down_is_known_by_its_words() {
        for line in [
            "reboot",
            "/sbin/reboot -f",
            "poweroff",
            "halt -p",
            "kexec -e",
            "shutdown -r now",
            "init 6",
            "telinit 0",
            "systemctl reboot",
            "systemctl --no-block poweroff",
            "systemctl start reboot.target",
            "systemctl isolate rescue.target",
            "systemctl suspend",
            "kubeadm reset -f",
            "kubeadm --v=5 reset",
            "sudo -n systemctl reboot",
            "env LANG=C timeout 10s shutdown -h now",
            "sh -c sleep_5;_systemctl_reboot",
            "bash -lc cd_/;_(sudo_reboot)_&",
        ] {
            assert!(down(line), "{line}");
        }
    }

    #[test]
    fn everything_else_is_not_taken_for_it() {
        for line in [
            "systemctl restart kubelet",
            "systemctl stop reboot.target",
            "systemctl status reboot",
            "shutdown -c",
            "echo reboot",
            "kubeadm upgrade node",
            "kubeadm init phase upload-config",
            "init 3",
            "apt-get install -y systemd",
            "test -f /var/run/reboot-required",
            "sh -c echo_reboot",
            "sh /opt/reboot.sh",
            "sudo",
            "",
        ] {
            assert!(!down(line), "{line}");
        }
    }
}
