//! What a file says about the machines: `--inventory FILE`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;

use crate::base::{Error, Result, did_you_mean};

/// How machines are reached. Everything may be left out: then SSH asks the user's own configuration, and a machine's address is that
/// of its Node.
///
/// ```yaml
/// user: admin                    # for all machines
/// known_hosts: ./known_hosts
/// machines:
///   w1: { address: 192.0.2.11, port: 2222 }
/// pod: { image: registry.example/busybox:1.36, namespace: lockgate, privileged: true }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Inventory {
    /// The user of all machines.
    pub user: Option<String>,
    /// The port of all machines.
    pub port: Option<u16>,
    /// The file with the key to log in with.
    pub identity: Option<PathBuf>,
    /// A configuration of SSH in the place of the user's own.
    pub config: Option<PathBuf>,
    /// The file with the known host keys, in the place of the user's own.
    pub known_hosts: Option<PathBuf>,
    /// What to do with a host key that is not known.
    #[serde(default)]
    pub host_keys: HostKeys,
    /// Machines by the names of their nodes.
    #[serde(default)]
    pub machines: BTreeMap<String, Machine>,
    /// The pod of `--machines pod`.
    pub pod: Option<PodImage>,
}

/// What to do with a host key that is not known. One that has changed is always refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HostKeys {
    /// Refuse it.
    #[default]
    Strict,
    /// Believe it, and remember it.
    AcceptNew,
}

/// One machine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Machine {
    /// Its address, or its name in the configuration of SSH; that of the Node when left out.
    pub address: Option<String>,
    /// Its port.
    pub port: Option<u16>,
    /// The user there.
    pub user: Option<String>,
}

/// The pod that commands are run from.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PodImage {
    /// An image with `nsenter`, for example a busybox.
    pub image: String,
    /// A namespace where privileged pods are allowed; `lockgate` when left out.
    pub namespace: Option<String>,
    /// Must be `true`: such a pod is root on its node.
    #[serde(default)]
    pub privileged: bool,
}

impl Inventory {
    /// Reads an inventory.
    ///
    /// # Errors
    /// Input: what is wrong, with its line.
    pub fn parse(label: &str, text: &str) -> Result<Inventory> {
        if text.trim().is_empty() {
            return Ok(Inventory::default());
        }
        let inventory: Inventory = serde_saphyr::from_str(text).map_err(|error| {
            let message = lockgate_sim::fixture::yaml_message(&error.to_string());
            Error::usage(format!("the inventory `{label}` cannot be used")).cause(message)
        })?;
        inventory.check(label)?;
        Ok(inventory)
    }

    fn check(&self, label: &str) -> Result<()> {
        let addresses = self.machines.values().filter_map(|machine| machine.address.as_ref());
        let users = self.machines.values().filter_map(|machine| machine.user.as_ref()).chain(&self.user);
        for word in addresses.chain(users) {
            // What SSH would read as an option, or as several words.
            if word.is_empty() || word.starts_with('-') || word.chars().any(|c| c.is_whitespace() || c.is_control() || c == '@') {
                return Err(Error::usage(format!("the inventory `{label}`: `{}` is neither an address nor a user", word.escape_default())));
            }
        }
        Ok(())
    }

    /// What is said about the machine of a node.
    #[must_use]
    pub fn machine(&self, node: &str) -> Machine {
        let own = self.machines.get(node).cloned().unwrap_or_default();
        Machine { port: own.port.or(self.port), user: own.user.or_else(|| self.user.clone()), address: own.address }
    }

    /// The name that may have been meant.
    #[must_use]
    pub fn near(&self, node: &str) -> Option<&str> {
        did_you_mean(node, self.machines.keys().map(String::as_str))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_takes_what_it_does_not_say_from_all() {
        let text = "user: admin\nport: 22\nhost_keys: accept-new\nmachines:\n  w1: {address: 192.0.2.1, port: 2222}\n  w2: {user: root}\n";
        let inventory = Inventory::parse("i.yaml", text).unwrap();
        let w1 = inventory.machine("w1");
        assert_eq!((w1.address.as_deref(), w1.port, w1.user.as_deref()), (Some("192.0.2.1"), Some(2222), Some("admin")));
        let w2 = inventory.machine("w2");
        assert_eq!((w2.address, w2.port, w2.user.as_deref()), (None, Some(22), Some("root")));
        assert_eq!(inventory.machine("w3").user.as_deref(), Some("admin"));
        assert_eq!((inventory.host_keys, inventory.near("W1")), (HostKeys::AcceptNew, Some("w1")));
        assert_eq!(Inventory::parse("i.yaml", "").unwrap(), Inventory::default());
    }

    #[test]
    fn what_is_wrong_is_named() {
        let wrong = |text: &str| Inventory::parse("i.yaml", text).unwrap_err().to_string();
        assert!(wrong("machine: {}").contains("unknown field `machine`"));
        assert!(wrong("host_keys: no").contains("unknown variant"));
        assert_eq!(
            wrong("machines: {w1: {address: -oProxyCommand=x}}"),
            "the inventory `i.yaml`: `-oProxyCommand=x` is neither an address nor a user"
        );
        assert!(wrong("user: 'a b'").contains("`a b`"));
        assert!(wrong("machines: {w1: {address: 'root@w1'}}").contains("`root@w1`"));
    }
}
