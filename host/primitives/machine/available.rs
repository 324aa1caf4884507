//! `machine.available`: whether a package can be had.

use super::hand::Hand;
use super::tools::{Tool, is_asked};
use crate::base::{Error, Result};
use crate::primitive;
use crate::primitives::cx::Cx;
use crate::primitives::done::Done;
use crate::primitives::types::NodeRef;

primitive! {
    /// Whether the repositories of a machine have a version of a package, as far as the machine has looked last.
    ///
    /// A version without its revision means any revision of it: `1.30.2` is `1.30.2-1.1`. It does not look for new versions, since that
    /// changes the machine: `machine.packages` does.
    pub read fn machine.available as MachineAvailable(
        /// The node.
        node: NodeRef,
        /// The name of the package.
        package: String,
        /// Its version.
        version: String,
    ) -> "boolean", "whether it can be had";
    since "0.1";
    example r#"ensure(machine.available("w1", "kubeadm", "1.31.0"), "the repository of w1 has no kubeadm 1.31.0")"#;
    needs ["get nodes", "get namespaces", "get,create,delete pods", "get,create pods/exec"];
}

impl MachineAvailable {
    async fn run(self, cx: Cx) -> Result<Done> {
        check("machine.available", &self.package, &self.version)?;
        let hand = Hand::on(&cx, &self.node).await?;
        let versions = self.versions(&hand).await;
        let versions = hand.leave(versions).await?;
        Ok(Done::read(versions.iter().any(|version| is_asked(version, &self.version))))
    }

    async fn versions(&self, hand: &Hand) -> Result<Vec<String>> {
        Tool::of(hand).await?.versions(hand, &self.package).await
    }
}

/// Refuses what is no name or no version of a package, and could be taken for something else by a package tool.
pub(super) fn check(verb: &str, name: &str, version: &str) -> Result<()> {
    let is_one = |text: &str, signs: &str| {
        text.starts_with(|c: char| c.is_ascii_alphanumeric()) && text.chars().all(|c| c.is_ascii_alphanumeric() || signs.contains(c))
    };
    if !is_one(name, "+-._") {
        return Err(Error::usage(format!("`{verb}`: `{}` is no name of a package", name.escape_default())));
    }
    if !is_one(version, "+-._:~^") {
        let error = Error::usage(format!("`{verb}`: `{}` is no version of package `{name}`", version.escape_default()));
        return Err(error.hint("write it whole: \"1.31.0-1.1\", or without its revision: \"1.31.0\""));
    }
    Ok(())
}
