//! `machine.file`: the text of a file.

use super::failed;
use super::hand::Hand;
use crate::base::{Error, Result};
use crate::primitive;
use crate::primitives::cx::Cx;
use crate::primitives::done::Done;
use crate::primitives::types::NodeRef;

primitive! {
    /// Reads a file on the machine of a node. In a simulated cluster the models of the fixture say what is in it; in a
    /// plan of a live one nobody does, and it is `unmodelled`.
    pub read fn machine.file as MachineFile(
        /// The node.
        node: NodeRef,
        /// Its whole path.
        path: String,
    ) options {
        /// `true`: as root.
        sudo: Option<bool>,
    } -> "string", "its text; at most 1 MiB";
    since "0.1";
    example r#"local list = machine.file("w1", "/etc/apt/sources.list.d/kubernetes.list")"#;
    needs ["get nodes", "get namespaces", "get,create,delete pods", "get,create pods/exec"];
}

impl MachineFile {
    async fn run(self, cx: Cx) -> Result<Done> {
        absolute("machine.file", &self.path)?;
        let hand = Hand::on(&cx, &self.node).await?;
        let read = text(&hand, &self.path, self.sudo == Some(true)).await;
        match hand.leave(read).await? {
            Some(text) => Ok(Done::read(text)),
            None => {
                let message = format!("reading `{}` on `{}`: there is no such file", self.path, hand.node);
                Err(Error::not_found(message).about(format!("node/{}", hand.node)))
            }
        }
    }
}

/// Refuses a path that depends on where one is.
pub(super) fn absolute(verb: &str, path: &str) -> Result<()> {
    if path.starts_with('/') && !path.ends_with('/') {
        return Ok(());
    }
    let shown = path.escape_default();
    Err(Error::usage(format!("`{verb}`: argument `path` must be the whole path of a file, got `{shown}`")).hint("it begins with `/`"))
}

/// The text of a file; `None` when there is none.
pub(super) async fn text(hand: &Hand, path: &str, sudo: bool) -> Result<Option<String>> {
    let words = ["cat", "--", path];
    let output = hand.output(&words, sudo).await?;
    let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
    match output.code {
        0 if output.truncated => Err(Error::new(
            crate::base::Kind::Cluster,
            crate::base::Reason::Unsupported,
            format!("reading `{path}` on `{}`: it is longer than 1 MiB", hand.node),
        )),
        0 => Ok(Some(output.stdout)),
        1 if output.stderr.contains("No such file or directory") => Ok(None),
        _ => Err(failed(hand, &words, &output)),
    }
}
