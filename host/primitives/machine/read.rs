//! `machine.read`: a short command that changes nothing.

use super::hand::Hand;
use super::{failed, told, words};
use crate::base::{Result, Span};
use crate::cluster::machines::Command;
use crate::primitive;
use crate::primitives::cx::Cx;
use crate::primitives::done::Done;
use crate::primitives::types::NodeRef;

primitive! {
    /// Runs a short command on the machine of a node that changes nothing there, and gives its output.
    ///
    /// No shell reads its words. It is run while the connection lasts, and again when that goes: what changes something belongs into
    /// `machine.run`. In a simulated cluster the models of the fixture answer. A plan of a live one runs nothing on machines: what a
    /// command would say there, or one that no model knows, is `unmodelled`. Rights to pods are needed with `--machines pod` only, which
    /// cannot read in checks: it would have to make a pod.
    pub read fn machine.read as MachineRead(
        /// The node.
        node: NodeRef,
        /// The words of the command; the first is the program.
        argv: Vec<String>,
    ) options {
        /// `true`: as root.
        sudo: Option<bool>,
        /// What it reads from its standard input.
        stdin: Option<String>,
        /// The time allowed; default 30 s.
        limit: Option<Span>,
        /// `false`: a command that fails is no error.
        check: Option<bool>,
    } -> "{ code: number, stdout: string, stderr: string, truncated: boolean }", "exit code and outputs, of each the first 1 MiB";
    since "0.1";
    example r#"local version = machine.read("w1", { "kubeadm", "version", "-o", "short" }).stdout"#;
    needs ["get nodes", "get namespaces", "get,create,delete pods", "get,create pods/exec"];
}

impl MachineRead {
    async fn run(self, cx: Cx) -> Result<Done> {
        words("machine.read", &self.argv)?;
        let hand = Hand::on(&cx, &self.node).await?;
        let command = Command { words: self.argv.clone(), stdin: self.stdin.clone(), sudo: self.sudo == Some(true) };
        let read = hand.read(&command, self.limit).await;
        let output = hand.leave(read).await?;
        if self.check != Some(false) && (output.code != 0 || output.late) {
            return Err(failed(&hand, &self.argv, &output));
        }
        Ok(Done::read(told(&output)))
    }
}
