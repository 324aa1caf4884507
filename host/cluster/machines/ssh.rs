//! Machines by the `ssh` of this machine: the user's own configuration, agent and jump hosts hold, with strict host keys and no
//! question ever.

use std::cell::RefCell;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

use futures::future::LocalBoxFuture;

use super::inventory::{HostKeys, Inventory, Machine};
use super::script::{Missing, Script};
use super::shell::{Remote, Said, Shell};
use super::ssh_said;
use crate::base::json::Value as Json;
use crate::base::{Error, Kind, ObjectRef, Reason, Result, Span};
use crate::cluster::client::Cluster;
use crate::cluster::door::{Child, on_path};

/// What the login shell of a machine is given: the script comes on standard input, so that it never reads a word of ours.
const AS_USER: &str = "/bin/sh -s";
/// The same as root, without a question. Constant, and the same for every login shell.
const AS_ROOT: &str = "/bin/sh -c 'if [ \"$(id -u)\" = 0 ]; then exec /bin/sh -s; else exec sudo -n /bin/sh -s; fi'";
/// How much of an answer is taken: both outputs in base64, and what goes with them.
const ROOM: usize = 4 << 20;

/// Options that hold whatever the user's configuration says.
const OPTIONS: [&str; 13] = [
    "BatchMode=yes",
    "ConnectTimeout=10",
    "ServerAliveInterval=15",
    "ServerAliveCountMax=4",
    "RequestTTY=no",
    "RemoteCommand=none",
    "PermitLocalCommand=no",
    "ClearAllForwardings=yes",
    "ForwardAgent=no",
    "ForwardX11=no",
    "EscapeChar=none",
    "ControlMaster=no",
    "LogLevel=ERROR",
];

/// The way by SSH.
pub(super) struct Ssh {
    cluster: Cluster,
    program: PathBuf,
    inventory: Inventory,
    /// Addresses of nodes that were asked for.
    addresses: RefCell<HashMap<String, String>>,
}

/// The error of a machine without `ssh`.
pub(super) fn missing() -> Error {
    Error::new(Kind::Input, Reason::CommandMissing, "there is no `ssh` on the PATH").hint("install the client of OpenSSH")
}

impl Ssh {
    /// The machines behind it.
    ///
    /// # Errors
    /// `command_missing` without an `ssh`.
    pub(super) fn remote(cluster: Cluster, inventory: Inventory) -> Result<Remote<Ssh>> {
        let program = on_path("ssh").ok_or_else(missing)?;
        let run = cluster.run().to_string();
        Ok(Remote::new(Ssh { cluster, program, inventory, addresses: RefCell::default() }, run))
    }

    /// The machine of a node with its address: what the inventory says, else what the Node says.
    async fn machine(&self, node: &str) -> Result<(Machine, String)> {
        let machine = self.inventory.machine(node);
        let known = machine.address.clone().or_else(|| self.addresses.borrow().get(node).cloned());
        if let Some(address) = known {
            return Ok((machine, address));
        }
        let target = self.cluster.target(&ObjectRef::parse(&format!("node/{node}"))?, None).await?;
        let object = self.cluster.get(&target).await.map_err(|error| match self.inventory.near(node) {
            Some(near) if error.reason == Reason::NotFound => error.hint(format!("did you mean `{near}`, of the inventory?")),
            _ => error,
        })?;
        let address = address(&object).ok_or_else(|| {
            Error::not_found(format!("machine of node `{node}`: the Node tells no address"))
                .about(format!("node/{node}"))
                .hint("say it in the inventory: `machines: { NODE: { address: … } }`")
        })?;
        self.addresses.borrow_mut().insert(node.to_owned(), address.clone());
        Ok((machine, address))
    }

    fn words(&self, machine: &Machine, address: &str, sudo: bool) -> Vec<String> {
        let mut words: Vec<String> = vec!["-T".to_owned()];
        let mut option = |text: String| words.extend(["-o".to_owned(), text]);
        OPTIONS.iter().for_each(|text| option((*text).to_owned()));
        option(match self.inventory.host_keys {
            HostKeys::Strict => "StrictHostKeyChecking=yes".to_owned(),
            HostKeys::AcceptNew => "StrictHostKeyChecking=accept-new".to_owned(),
        });
        if let Some(file) = &self.inventory.known_hosts {
            option(format!("UserKnownHostsFile={}", for_option(file)));
        }
        if let Some(port) = machine.port {
            words.extend(["-p".to_owned(), port.to_string()]);
        }
        if let Some(user) = &machine.user {
            words.extend(["-l".to_owned(), user.clone()]);
        }
        for (flag, file) in [("-i", &self.inventory.identity), ("-F", &self.inventory.config)] {
            words.extend(file.iter().flat_map(|file| [flag.to_owned(), home(file).display().to_string()]));
        }
        words.extend(["--".to_owned(), address.to_owned(), if sudo { AS_ROOT } else { AS_USER }.to_owned()]);
        words
    }
}

/// A path in an option, where `%` and blanks have a meaning.
fn for_option(file: &Path) -> String {
    format!("\"{}\"", home(file).display().to_string().replace('%', "%%"))
}

/// A path with `~/` at its beginning made whole.
fn home(file: &Path) -> PathBuf {
    match (file.strip_prefix("~"), std::env::var_os("HOME")) {
        (Ok(rest), Some(home)) => PathBuf::from(home).join(rest),
        _ => file.to_path_buf(),
    }
}

/// The address of a Node: the internal one, else its name in the network.
fn address(node: &Json) -> Option<String> {
    let addresses = node.pointer("/status/addresses").and_then(Json::as_array)?;
    let of = |kind: &str| {
        let found = addresses.iter().find(|entry| entry.get("type").and_then(Json::as_str) == Some(kind));
        found.and_then(|entry| entry.get("address")?.as_str()).filter(|text| !text.is_empty() && !text.starts_with('-'))
    };
    ["InternalIP", "InternalDNS", "Hostname"].iter().find_map(|kind| of(kind)).map(str::to_owned)
}

impl Shell for Ssh {
    fn say<'a>(&'a self, node: &'a str, script: &'a Script, limit: Span) -> LocalBoxFuture<'a, Result<Said>> {
        Box::pin(async move {
            let (machine, address) = self.machine(node).await?;
            let mut child = Child::new(&self.program, self.words(&machine, &address, script.sudo))
                .stdin(script.text.clone().into_bytes())
                .kept(ROOM)
                .limit(limit)
                .grace(Span::from_secs(2));
            if script.reads {
                child = child.ends_at_once();
            }
            if let Some(agent) = std::env::var_os("SSH_AUTH_SOCK") {
                child = child.env("SSH_AUTH_SOCK", agent);
            }
            let ended = self.cluster.start(&child).await?;
            Ok(Said { code: ended.code, stdout: ended.stdout, stderr: ended.stderr, late: ended.late })
        })
    }

    fn explain(&self, node: &str, said: &Said, missing: Missing) -> Error {
        ssh_said::explain(node, said, missing)
    }

    fn leave<'a>(&'a self, _: &'a str) -> LocalBoxFuture<'a, Result<()>> {
        Box::pin(std::future::ready(Ok(())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::json::json;

    #[test]
    fn the_internal_address_of_a_node_comes_first() {
        let node = |addresses: Json| address(&json!({"status": {"addresses": addresses}}));
        let both = json!([{"type": "Hostname", "address": "w1"}, {"type": "InternalIP", "address": "192.0.2.1"}]);
        assert_eq!(node(both).as_deref(), Some("192.0.2.1"));
        assert_eq!(node(json!([{"type": "Hostname", "address": "w1"}])).as_deref(), Some("w1"));
        assert_eq!(node(json!([{"type": "Hostname", "address": "-oProxyCommand=x"}])), None);
        assert_eq!(node(json!([{"type": "ExternalIP", "address": "203.0.113.1"}])), None);
    }

    #[test]
    fn paths_in_options_keep_their_blanks_and_signs() {
        assert_eq!(for_option(Path::new("/a b/100%")), "\"/a b/100%%\"");
    }
}
