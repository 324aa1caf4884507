//! What is wrong with a server's certificate, in words, and what would be right.
//!
//! The library's texts are for programmers: seconds since 1970, names of enum variants. Tests meet a real server for each row, to
//! notice when the texts change; a text that is not known here is passed on as it is.

use crate::base::Timestamp;

/// The cause and the hint for what the TLS library said.
pub(super) fn explained(said: &str) -> (String, &'static str) {
    let said = said.trim_start_matches("invalid peer certificate: ");
    if said == "UnknownIssuer" {
        let cause = "its certificate is signed by an authority that is not trusted here".to_owned();
        let hint = "`certificate-authority` of the kubeconfig must be the authority of this very cluster (without one, those of this \
                    machine count): was the cluster made anew, or is this another server?";
        return (cause, hint);
    }
    if let Some((name, names)) = names(said) {
        let hint = "make `server` in the kubeconfig an address that the certificate names, or say its name with `tls-server-name`";
        return (format!("its certificate is for {names}, not for `{name}`"), hint);
    }
    if let Some(end) = time(said, "certificate is not valid after ") {
        let hint = "renew the certificate on the server (kubeadm: `kubeadm certs renew apiserver`); if it is newer than that, is the clock \
                    of this machine right?";
        return (format!("its certificate expired at {end}"), hint);
    }
    if let Some(start) = time(said, "certificate is not valid before ") {
        return (format!("its certificate is valid only from {start} on"), "is the clock of this machine right, and that of the server?");
    }
    if said.contains("InvalidContentType") {
        let hint = "check the port of `server` in the kubeconfig: what listens there answers without TLS";
        return (said.to_owned(), hint);
    }
    if let Some(alert) = said.strip_prefix("received fatal alert: ") {
        let hint = "the server ended it: has the client certificate of the kubeconfig's user expired, or is it another cluster's?";
        return (format!("the server refused with `{alert}`"), hint);
    }
    (said.to_owned(), "check `certificate-authority` and the server's address in the kubeconfig")
}

/// The name that was expected, and those that the certificate has.
fn names(said: &str) -> Option<(&str, String)> {
    let (name, rest) = said.strip_prefix("certificate not valid for name \"")?.split_once('"')?;
    let Some((_, listed)) = rest.split_once("is only valid for ") else { return Some((name, "no name at all".to_owned())) };
    // `DnsName("a.example"), DnsName("b.example") or IpAddress(10.0.0.1)`
    let listed = listed.replace(" or ", ", ");
    let names: Vec<String> = listed
        .split(", ")
        .map(|listed| {
            let inner = listed.split_once('(').and_then(|(_, inner)| inner.strip_suffix(')')).unwrap_or(listed);
            format!("`{}`", inner.trim_matches('"'))
        })
        .collect();
    Some((name, names.join(", ")))
}

/// The time whose seconds since 1970 follow this text.
fn time(said: &str, before: &str) -> Option<Timestamp> {
    let (_, rest) = said.split_once(before)?;
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    Timestamp::from_second(digits.parse().ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_listed_as_people_write_them() {
        let said = "invalid peer certificate: certificate not valid for name \"h\"; certificate is only valid for DnsName(\"a.b\"), \
                    DnsName(\"c\") or IpAddress(10.0.0.1)";
        assert_eq!(explained(said).0, "its certificate is for `a.b`, `c`, `10.0.0.1`, not for `h`");
        let said = "invalid peer certificate: certificate not valid for name \"h\"; certificate is not valid for any names (according to \
                    its subjectAltName extension)";
        assert_eq!(explained(said).0, "its certificate is for no name at all, not for `h`");
    }

    #[test]
    fn what_is_not_known_is_passed_on() {
        assert_eq!(explained("peer is incompatible: X").0, "peer is incompatible: X");
    }
}
