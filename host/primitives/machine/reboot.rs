//! `machine.reboot`: the machine goes down and comes back.

use super::hand::Hand;
use crate::base::json::json;
use crate::base::{Error, Kind, Reason, Result, Span};
use crate::cluster::machines::{Command, Operation, OperationId};
use crate::cluster::{Target, may_recover};
use crate::primitive;
use crate::primitives::cx::Cx;
use crate::primitives::done::{Done, Inverse, Wrote};
use crate::primitives::pace::Pace;
use crate::primitives::types::NodeRef;
use crate::primitives::view;

primitive! {
    /// Reboots the machine of a node and waits until its node is ready again.
    ///
    /// It has happened when the kernel tells another boot id, and is over when the Node tells that one too and is ready. It neither drains
    /// nor cordons: what runs there goes down with it. The machine that lockgate itself runs on, in a pod, is left alone.
    pub write fn machine.reboot as MachineReboot(
        /// The node.
        node: NodeRef,
    ) options {
        /// The time allowed until the node is ready again; default 15 minutes.
        limit: Option<Span>,
    } -> "{ changed: boolean, boot_id: string }", "the new boot id";
    since "0.1";
    example r#"machine.reboot("w1", { limit = "20m" })"#;
    needs ["get nodes", "get namespaces", "get,create,delete pods", "get,create pods/exec"];
}

const LIMIT: Span = Span::from_secs(15 * 60);
/// Between two looks.
const PAUSE: Span = Span::from_secs(5);
/// Where the kernel tells its boot id.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

impl MachineReboot {
    async fn run(self, cx: Cx) -> Result<Done> {
        let hand = Hand::on(&cx, &self.node).await?;
        let target = cx.target(&self.node.0, None).await?;
        let done = self.reboot(&hand, &target).await;
        hand.leave(done).await
    }

    async fn reboot(&self, hand: &Hand, target: &Target) -> Result<Done> {
        let record = hand.operation("reboot");
        if record.before().is_none() {
            hand.cx.cluster.spares_home(&hand.node, &format!("rebooting `{target}`")).await?;
        }
        let noted = |field: &str| record.before().map(|(about, _)| view::text(about, field).to_owned());
        // A machine that has booted since is not booted again: which boot it was in is noted before.
        let (before, there) = match (noted("/node"), noted("/machine")) {
            (Some(node), Some(machine)) => (node, machine),
            _ => {
                let node = view::text(&*hand.cx.read(target).await?, "/status/nodeInfo/bootID").to_owned();
                let machine = if hand.reached().is_some() { hand.text(&["cat", BOOT_ID], false).await? } else { String::new() };
                (node, machine)
            }
        };
        record.intend(json!({ "node": before, "machine": there }))?;
        let wrote = Wrote {
            verb: "reboot".to_owned(),
            target: format!("node/{}", hand.node),
            changes: Vec::new(),
            inverse: Inverse::Irreversible("a reboot cannot be taken back".to_owned()),
        };
        let mut pace = Pace::begin(&hand.cx, format!("reboot of {target}"), self.limit.unwrap_or(LIMIT), Some(self.limit.unwrap_or(LIMIT)));
        let booted = match hand.reached() {
            Some(_) => {
                let booted = self.boot(hand, &mut pace, &wrote, (record.op(), &there)).await;
                record.became(&booted)?;
                Some(booted?)
            }
            None => {
                let code = hand.done_by_hand("run `systemctl reboot`").await?;
                if code != 0 {
                    let message = format!("`systemctl reboot` on `{}` ended with exit code {code}", hand.node);
                    return Err(Error::new(Kind::Cluster, Reason::CommandFailed, message).about(target.full_name()));
                }
                None
            }
        };
        hand.cx.talk.wrote(&wrote);
        let boot_id = self.ready(hand, target, &mut pace, &before, booted.as_deref()).await?;
        pace.done(&hand.cx, "ready");
        Ok(Done::changed(json!({ "changed": true, "boot_id": boot_id }), wrote))
    }

    /// Makes the machine reboot, by this operation and out of that boot, and gives its new boot id.
    async fn boot(&self, hand: &Hand, pace: &mut Pace, wrote: &Wrote, (stamp, before): (&str, &str)) -> Result<String> {
        let Some(reached) = hand.reached() else { return Err(Error::internal("nobody reaches this machine")) };
        let command = Command { words: vec!["systemctl".to_owned(), "reboot".to_owned()], stdin: None, sudo: true };
        let operation = Operation { id: OperationId::of(stamp), command, limit: Span::from_secs(300), finally: None };
        // Beginning it twice is beginning it once, so that an answer that is lost, as it will be, is no trouble.
        let mut begun = false;
        loop {
            if !begun {
                match reached.begin(&hand.node, &operation).await {
                    Ok(()) => begun = true,
                    Err(error) if error.reason == Reason::Unreachable => {}
                    Err(error) => return Err(error),
                }
            }
            hand.pause(PAUSE).await?;
            let read = Command { words: vec!["cat".to_owned(), BOOT_ID.to_owned()], stdin: None, sudo: false };
            match reached.read(&hand.node, &read, Span::from_secs(10)).await {
                Ok(output) if output.code == 0 && output.stdout != before => return Ok(output.stdout.trim().to_owned()),
                Ok(_) => pace.show(&hand.cx, "it is still up"),
                Err(error) if error.reason == Reason::Unreachable => pace.show(&hand.cx, "it is down"),
                Err(error) => return Err(error),
            }
            if let Some(ended) = pace.ended(hand.cx.now(), None) {
                hand.cx.talk.wrote(wrote);
                let message = pace.says(ended, &format!("the reboot of `{}`", hand.node));
                let error = Error::new(Kind::Stuck, ended.reason(), format!("{message}: it does not come back"));
                return Err(error.about(format!("node/{}", hand.node)).details(json!({ "outcome": "unknown" })));
            }
        }
    }

    /// Waits until the node is ready after its boot; gives the boot id that it tells.
    async fn ready(&self, hand: &Hand, target: &Target, pace: &mut Pace, before: &str, booted: Option<&str>) -> Result<String> {
        loop {
            let state = match hand.cx.cluster.get(target).await {
                Ok(node) => {
                    let told = view::text(&node, "/status/nodeInfo/bootID").to_owned();
                    let is_new = booted.map_or(told != before, |booted| told == booted);
                    if is_new && view::holds(&node, "Ready") {
                        return Ok(told);
                    }
                    if is_new { "it is up and not ready" } else { "its node tells the former boot" }
                }
                // The API server may be on this very machine.
                Err(error) if may_recover(&error) => "the API server does not answer",
                Err(error) => return Err(error),
            };
            pace.show(&hand.cx, state);
            if let Some(ended) = pace.ended(hand.cx.now(), None) {
                let message = pace.says(ended, &format!("the reboot of `{}`", hand.node));
                let error = Error::new(Kind::Stuck, Reason::NotReady, format!("{message}: {state}")).about(target.full_name());
                return Err(error.hint("look at its kubelet: `journalctl -xeu kubelet` on the machine"));
            }
            hand.pause(PAUSE).await?;
        }
    }
}
