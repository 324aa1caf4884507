//! What `lockgate sandbox` says.

use std::path::Path;

use super::escape;
use super::paint::Paint;
use crate::base::Timestamp;
use crate::cluster::serve::Speed;

/// The line for the shell that is to use the cluster.
#[must_use]
pub fn export(kubeconfig: &Path) -> String {
    format!("export KUBECONFIG={}", quoted(&kubeconfig.to_string_lossy()))
}

/// A word as a shell reads it.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:,@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) { word.to_owned() } else { format!("'{}'", word.replace('\'', r"'\''")) }
}

/// What is served, and what may be tried.
#[must_use]
pub fn begins(shape: &str, address: &str, speed: Speed, paint: Paint) -> String {
    let time = match speed {
        Speed::Instant => {
            "instant: while clients are connected and all of them wait, it goes on to the next event; without any it is real".to_owned()
        }
        Speed::Times(1.0) => "real".to_owned(),
        Speed::Times(_) => format!("{speed}: so many times as fast as real"),
    };
    let mut out = String::new();
    for (head, text) in [
        ("serving", format!("{} at {address}", escape::line(shape))),
        ("time", time),
        ("try", "the line above in another terminal, then `kubectl get nodes` or `helm install`".to_owned()),
        ("end", "Ctrl-C; nothing is kept".to_owned()),
    ] {
        out.push_str(&format!("{} {text}\n", paint.strong(format!("{head:<9}"))));
    }
    out
}

/// A line about a fixture that is odd and not wrong.
#[must_use]
pub fn note(text: &str) -> String {
    format!("{:<9} {}", "note", escape::line(text))
}

/// A line about a fault that is going to happen.
#[must_use]
pub fn fault(text: &str) -> String {
    format!("{:<9} {}", "fault", escape::line(text))
}

/// A line about what went wrong, or what somebody else did, in the time of the cluster.
#[must_use]
pub fn happened(at: Timestamp, text: &str) -> String {
    format!("{:<9} {} {}", "happened", at.strftime("%H:%M:%S"), escape::line(text))
}

/// A line about a fault that did not happen.
#[must_use]
pub fn in_vain(text: &str) -> String {
    format!("{:<9} {}", "in vain", escape::line(text))
}

/// How it ended.
#[must_use]
pub fn ends(requests: u64) -> String {
    let requests = match requests {
        1 => "1 request".to_owned(),
        many => format!("{many} requests"),
    };
    format!("ended     after {requests}; the cluster and its kubeconfig are gone\n")
}

/// What the simulated cluster does not model.
#[must_use]
pub fn gaps() -> String {
    lockgate_sim::gaps::page()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_reads_the_line_as_one_word() {
        assert_eq!(export(Path::new("/tmp/a-b.c")), "export KUBECONFIG=/tmp/a-b.c");
        assert_eq!(export(Path::new("/tmp/a b")), "export KUBECONFIG='/tmp/a b'");
        assert_eq!(export(Path::new("/tmp/it's")), r"export KUBECONFIG='/tmp/it'\''s'");
    }
}
