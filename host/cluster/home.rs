//! The pod that this process runs in, where it runs in one. A run must not take that pod away: it would end in the middle.

use std::path::Path;

use super::client::Cluster;
use crate::base::{Error, Kind, ObjectRef, Reason, Result};

/// Where the credentials of a pod are, with the name of its namespace beside them.
const ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// A pod, by its names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Home {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub pod: String,
}

impl Home {
    /// The pod of this process; `None` on a person's machine.
    #[must_use]
    pub fn find() -> Option<Home> {
        Home::of(|name| std::env::var(name).ok(), Path::new(ACCOUNT))
    }

    /// From `POD_NAMESPACE` and `POD_NAME`, which a pod's own manifest sets (`fieldRef`); else from the namespace beside the credentials
    /// and the host's name, which is the pod's unless the pod says otherwise.
    fn of(variable: impl Fn(&str) -> Option<String>, account: &Path) -> Option<Home> {
        let said = |name: &str| variable(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty());
        // No server, no pod: a terminal may have a variable `POD_NAME` for reasons of its own.
        said("KUBERNETES_SERVICE_HOST")?;
        let beside = || std::fs::read_to_string(account.join("namespace")).ok().map(|text| text.trim().to_owned());
        let namespace = said("POD_NAMESPACE").or_else(beside)?;
        let pod = said("POD_NAME").or_else(|| said("HOSTNAME"))?;
        Some(Home { namespace, pod })
    }
}

impl Cluster {
    /// Says no to what takes a machine down when the pod of this process is on its node: the run would end in the middle. `doing` is what
    /// that is, with the node: ``rebooting `node/w1` ``.
    ///
    /// # Errors
    /// Refused, when it is there. Where the pod may not be read nobody knows where it is, and that is the error.
    pub async fn spares_home(&self, node: &str, doing: &str) -> Result<()> {
        let Some(home) = self.home() else { return Ok(()) };
        let name = format!("pod/{}/{}", home.namespace, home.pod);
        let found = self.find(&self.target(&ObjectRef::parse(&name)?, None).await?).await;
        let found = found.map_err(|error| error.context(format!("{doing}: whether lockgate itself runs there cannot be told")))?;
        // A pod of another cluster may be the one of this process.
        if found.is_none_or(|pod| pod.pointer("/spec/nodeName").is_none_or(|on| on != node)) {
            return Ok(());
        }
        let message = format!("{doing}: `{name}` on it is the one that lockgate runs in, and the run would end with it");
        let hint = format!("nothing was done; go on from elsewhere, or start lockgate on another node and come to `{node}` last");
        Err(Error::new(Kind::Refused, Reason::Refused, message).about(format!("node/{node}")).hint(hint))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn home(variables: &[(&str, &str)], namespace: Option<&str>) -> Option<(String, String)> {
        let folder = tempfile::tempdir().unwrap();
        if let Some(namespace) = namespace {
            std::fs::write(folder.path().join("namespace"), format!("{namespace}\n")).unwrap();
        }
        let variable = |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        Home::of(variable, folder.path()).map(|home| (home.namespace, home.pod))
    }

    #[test]
    fn a_pod_knows_its_name() {
        let server = ("KUBERNETES_SERVICE_HOST", "10.0.0.1");
        let found = |namespace: &str, pod: &str| Some((namespace.to_owned(), pod.to_owned()));
        assert_eq!(home(&[server, ("HOSTNAME", "upgrade-x7k2p")], Some("ops")), found("ops", "upgrade-x7k2p"));
        let said = [server, ("HOSTNAME", "node-1"), ("POD_NAMESPACE", "ops"), ("POD_NAME", "upgrade-x7k2p")];
        assert_eq!(home(&said, Some("other")), found("ops", "upgrade-x7k2p"));
        assert_eq!(home(&said[1..], Some("ops")), None, "a person's machine");
        assert_eq!(home(&[server, ("HOSTNAME", "upgrade-x7k2p")], None), None, "a container without an account says its names itself");
    }
}
