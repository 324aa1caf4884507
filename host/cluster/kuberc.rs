//! What the user's preferences for kubectl say about commands that sign in: `credentialPluginPolicy` and `credentialPluginAllowlist` of
//! the `kuberc` (`kubectl.config.k8s.io/v1beta1`, Kubernetes 1.35). Whoever forbade kubectl a command forbade it to lockgate: both get it
//! from the same kubeconfig.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::door::{is_program, on_path};
use crate::base::{Error, Kind, Reason, Result};

/// A file of preferences, as far as it is about commands that sign in.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Preferences {
    credential_plugin_policy: String,
    credential_plugin_allowlist: Option<Vec<Entry>>,
}

/// A command that may be run. `name` is what 1.35 calls it, `command` what later versions do.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Entry {
    name: Option<String>,
    command: Option<String>,
}

impl Entry {
    fn command(&self) -> Option<&str> {
        self.command.as_deref().or(self.name.as_deref()).filter(|command| !command.trim().is_empty())
    }
}

/// Refuses a command that signs in where the user's preferences do: `KUBERC`, else `~/.kube/kuberc`; `KUBERC=off` and
/// `KUBECTL_KUBERC=false` turn them off.
///
/// # Errors
/// Refused when they do not allow it. Input when they cannot be read: what cannot be read is not taken for leave.
pub(super) fn allows(command: &str) -> Result<()> {
    let Some(file) = file() else { return Ok(()) };
    let shown = file.display().to_string();
    let cannot = |cause: String| Error::usage(format!("the preferences `{shown}` cannot be used")).cause(cause);
    let text = std::fs::read_to_string(&file)
        .map_err(|error| cannot(error.to_string()).hint("they say which commands may sign in; set `KUBERC` right, or `KUBERC=off`"))?;
    let documents: Vec<Preferences> =
        serde_saphyr::from_multiple(&text).map_err(|error| cannot(lockgate_sim::fixture::yaml_message(&error.to_string())))?;
    // The same preferences may be there in several versions of the format; kubectl takes the first.
    let Some(preferences) = documents.first() else { return Ok(()) };
    judge(preferences, &shown, command)
}

fn file() -> Option<PathBuf> {
    let is_off = |name: &str, word: &str| std::env::var(name).is_ok_and(|value| value.eq_ignore_ascii_case(word));
    if is_off("KUBECTL_KUBERC", "false") || is_off("KUBERC", "off") {
        return None;
    }
    if let Some(named) = std::env::var_os("KUBERC").filter(|value| !value.is_empty()) {
        return Some(PathBuf::from(named));
    }
    let home = std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".kube/kuberc"));
    home.filter(|file| file.exists())
}

fn judge(preferences: &Preferences, file: &str, command: &str) -> Result<()> {
    let policy = preferences.credential_plugin_policy.as_str();
    let wrong = |message: String| Err(Error::usage(format!("the preferences `{file}` cannot be used")).cause(message));
    let entries = preferences.credential_plugin_allowlist.as_deref();
    if entries.is_some() && policy != "Allowlist" {
        return wrong(format!("`credentialPluginAllowlist` stands beside `credentialPluginPolicy: {policy}`: only `Allowlist` has one"));
    }
    let refused = |why: &str| {
        let message = format!("`{command}`, by which the kubeconfig signs in, is not run");
        Err(Error::new(Kind::Refused, Reason::Refused, message)
            .cause(format!("`{file}` {why}"))
            .hint("look what it is; then allow it there by `credentialPluginPolicy: Allowlist` and `credentialPluginAllowlist`"))
    };
    match policy {
        "" | "AllowAll" => Ok(()),
        "DenyAll" => refused("allows no command (`credentialPluginPolicy: DenyAll`)"),
        "Allowlist" => {
            let entries = entries.unwrap_or_default();
            if entries.iter().any(|entry| entry.command().is_none()) {
                return wrong("an entry of `credentialPluginAllowlist` names no `command`".to_owned());
            }
            // As kubectl compares them: both are looked for on the PATH, and have to be the same file.
            let found = program(command);
            let same = |entry: &Entry| found.is_some() && entry.command().and_then(program) == found;
            if entries.iter().any(same) { Ok(()) } else { refused("does not name it (`credentialPluginAllowlist`)") }
        }
        other => wrong(format!("`credentialPluginPolicy: {other}` is none of `AllowAll`, `DenyAll` and `Allowlist`")),
    }
}

/// The file that is run for this word.
fn program(word: &str) -> Option<PathBuf> {
    if word.contains('/') { Some(PathBuf::from(word)).filter(|path: &PathBuf| is_program(Path::new(path))) } else { on_path(word) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str, command: &str) -> std::result::Result<(), String> {
        let preferences: Preferences = serde_saphyr::from_str(text).unwrap();
        judge(&preferences, "kuberc", command).map_err(|error| error.to_string())
    }

    #[test]
    fn only_what_is_allowed_signs_in() {
        let head = "apiVersion: kubectl.config.k8s.io/v1beta1\nkind: Preference\ndefaults: [{command: get, options: []}]\n";
        let list = |entries: &str| format!("{head}credentialPluginPolicy: Allowlist\ncredentialPluginAllowlist: {entries}\n");
        for text in [head.to_owned(), format!("{head}credentialPluginPolicy: AllowAll\n"), list("[{command: sh}]"), list("[{name: sh}]")] {
            assert_eq!(said(&text, "sh"), Ok(()), "{text}");
        }
        let found = on_path("sh").unwrap();
        assert_eq!(said(&list(&format!("[{{command: {}}}]", found.display())), "sh"), Ok(()), "the same file by its path");
        assert_eq!(said(&list("[{command: sh}]"), &found.display().to_string()), Ok(()));
        for (text, told) in [
            (format!("{head}credentialPluginPolicy: DenyAll\n"), "allows no command"),
            (list("[]"), "does not name it"),
            (list("[{command: no-such-program}]"), "does not name it"),
            (list("[{command: ''}]"), "names no `command`"),
            (format!("{head}credentialPluginAllowlist: [{{command: sh}}]\n"), "only `Allowlist` has one"),
            (format!("{head}credentialPluginPolicy: Sometimes\n"), "is none of"),
        ] {
            let error = said(&text, "sh").unwrap_err();
            assert!(error.contains(told), "{error}");
        }
        // Another file of the same name is another command.
        let folder = tempfile::TempDir::new().unwrap();
        let other = folder.path().join("sh");
        std::fs::copy(&found, &other).unwrap();
        assert!(said(&list("[{command: sh}]"), &other.display().to_string()).is_err());
        // What is not there matches nothing, not even itself.
        assert!(said(&list("[{command: no-such-program}]"), "no-such-program").is_err());
    }
}
