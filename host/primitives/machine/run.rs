//! `machine.run`: a command that changes a machine.

use super::hand::Hand;
use super::task::{LIMIT, Task};
use super::{failed, told, words};
use crate::base::{Result, Span};
use crate::cluster::machines::Command;
use crate::primitive;
use crate::primitives::cx::Cx;
use crate::primitives::done::{Done, Inverse};
use crate::primitives::types::NodeRef;

primitive! {
    /// Runs a command on the machine of a node, once, and waits for its end.
    ///
    /// It runs detached: when the connection goes, the kubelet restarts or the API server is away, it goes on, and its end is asked for
    /// until it is known. A start whose answer was lost is made again under the same name, which does nothing when it had begun. When it
    /// was killed on the way, or the machine went down, nobody knows what it did: with `idempotent` it is run anew (up to 3 times),
    /// otherwise that is the error, with `details.outcome` `"unknown"`. No shell reads its words. In a simulated cluster the models of the
    /// fixture answer. A plan of a live one runs nothing on machines: what a command would say there, or one that no model knows, is
    /// `unmodelled`.
    pub write fn machine.run as MachineRun(
        /// The node.
        node: NodeRef,
        /// The words of the command; the first is the program. None of them may be a secret: others can see them on the machine.
        argv: Vec<String>,
    ) options {
        /// The time allowed; then it is ended on the machine. Default 30 minutes.
        limit: Option<Span>,
        /// `true`: it may be run again, because a second time changes nothing more.
        idempotent: Option<bool>,
        /// `false`: as the user who logs in, and not as root.
        sudo: Option<bool>,
        /// What it reads from its standard input; nothing when left out.
        stdin: Option<String>,
        /// `false`: a command that fails is no error.
        check: Option<bool>,
    } -> "{ changed: boolean, code: number, stdout: string, stderr: string, truncated: boolean }", "exit code and outputs, of each the last 1 MiB";
    since "0.1";
    example r#"machine.run("w1", { "kubeadm", "upgrade", "node" }, { idempotent = true })"#;
    needs ["get nodes", "get namespaces", "get,create,delete pods", "get,create pods/exec"];
}

impl MachineRun {
    async fn run(self, cx: Cx) -> Result<Done> {
        words("machine.run", &self.argv)?;
        let hand = Hand::on(&cx, &self.node).await?;
        let task = Task {
            hand: &hand,
            command: Command { words: self.argv.clone(), stdin: self.stdin.clone(), sudo: self.sudo != Some(false) },
            limit: self.limit.unwrap_or(LIMIT),
            idempotent: self.idempotent == Some(true),
            finally: None,
        };
        let ran = task.run().await;
        let output = hand.leave(ran).await?;
        let wrote = task.wrote(Inverse::Irreversible("what a command does on a machine is not known".to_owned()));
        // It has run, however it ended.
        cx.talk.wrote(&wrote);
        if hand.reached().is_none() {
            // Nothing tells what the command did but who ran it.
            cx.talk.assume(&format!("done by hand: {} ended with exit code {}", wrote.target, output.code), None);
        }
        if self.check != Some(false) && (output.code != 0 || output.late) {
            return Err(failed(&hand, &self.argv, &output));
        }
        let mut value = told(&output);
        value["changed"] = true.into();
        Ok(Done::changed(value, wrote))
    }
}
