//! `machine.service`: a unit of systemd.

use super::failed;
use super::hand::Hand;
use super::task::Task;
use crate::base::diff::Change;
use crate::base::json::{Value as Json, json};
use crate::base::{Error, Kind, Reason, Result};
use crate::choice;
use crate::primitive;
use crate::primitives::cx::Cx;
use crate::primitives::done::{Done, Inverse, Wrote};
use crate::primitives::types::NodeRef;

choice! {
    /// What is done to a unit.
    pub enum Action {
        /// It is to run.
        Start = "start",
        /// It is not to run.
        Stop = "stop",
        /// It starts anew.
        Restart = "restart",
        /// It reads its configuration again.
        Reload = "reload",
        /// It starts with the machine.
        Enable = "enable",
        /// It does not start with the machine.
        Disable = "disable",
    } is "\"start\" | \"stop\" | \"restart\" | \"reload\" | \"enable\" | \"disable\"",
    "what to do: \"start\", \"stop\", \"restart\", \"reload\", \"enable\" or \"disable\""
}

impl Action {
    fn word(self) -> &'static str {
        match self {
            Action::Start => "start",
            Action::Stop => "stop",
            Action::Restart => "restart",
            Action::Reload => "reload",
            Action::Enable => "enable",
            Action::Disable => "disable",
        }
    }
}

primitive! {
    /// Starts, stops, restarts, reloads, enables or disables a unit of systemd on the machine of a node.
    ///
    /// What is so already is left alone; a restart and a reload are always done. Before a start or restart systemd reads its units again,
    /// since a package may have changed them, and afterwards the unit must run. It does not wait for the node: after the kubelet use
    /// `wait_for(node, "Ready")`.
    pub write fn machine.service as MachineService(
        /// The node.
        node: NodeRef,
        /// The unit, for example `kubelet`.
        unit: String,
        /// What to do.
        action: Action,
    ) -> "{ changed: boolean, active: boolean, enabled: boolean }", "whether something was done, and how the unit is now";
    since "0.1";
    example r#"machine.service("w1", "kubelet", "restart")"#;
    needs ["get nodes", "get namespaces", "get,create,delete pods", "get,create pods/exec"];
}

/// How a unit is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct State {
    active: bool,
    enabled: bool,
}

impl MachineService {
    async fn run(self, cx: Cx) -> Result<Done> {
        let is_name = |c: char| c.is_ascii_alphanumeric() || "-_.@:\\".contains(c);
        if self.unit.is_empty() || self.unit.starts_with('-') || !self.unit.chars().all(is_name) {
            let error = Error::usage(format!("`machine.service`: `{}` is no unit", self.unit.escape_default()));
            return Err(error.hint("write its name: \"kubelet\", or with its type: \"kubelet.service\""));
        }
        let hand = Hand::on(&cx, &self.node).await?;
        let done = self.bring(&hand).await;
        hand.leave(done).await
    }

    async fn bring(&self, hand: &Hand) -> Result<Done> {
        let record = hand.operation(&format!("{} {}", self.action.word(), self.unit));
        // How it was before an interruption was noted then.
        let before = match record.before() {
            Some((about, _)) => State { active: about["active"] == true, enabled: about["enabled"] == true },
            None => self.state(hand).await?,
        };
        let is_so = match self.action {
            Action::Start => before.active,
            Action::Stop => !before.active,
            Action::Enable => before.enabled,
            Action::Disable => !before.enabled,
            Action::Restart | Action::Reload => false,
        };
        if is_so {
            return Ok(Done::unchanged(result(false, before)));
        }
        record.intend(json!({ "active": before.active, "enabled": before.enabled }))?;
        let done = self.act(hand, before).await;
        record.became(&done)?;
        done
    }

    async fn act(&self, hand: &Hand, before: State) -> Result<Done> {
        if matches!(self.action, Action::Start | Action::Restart) {
            Task::of(hand, &["systemctl", "daemon-reload"]).well().await?;
        }
        let wrote = self.wrote(hand, before);
        let task = Task::of(hand, &["systemctl", self.action.word(), &self.unit]);
        let output = task.run().await?;
        if output.code != 0 || output.late {
            return Err(self.explained(hand, failed(hand, &task.command.words, &output)).await);
        }
        hand.cx.talk.wrote(&wrote);
        let after = self.state(hand).await?;
        if let Some(wrong) = self.wrong(hand, after) {
            let message = format!("unit `{}` on `{}` {wrong} after its {}", self.unit, hand.node, self.action.word());
            let error = Error::new(Kind::Cluster, Reason::CommandFailed, message).about(format!("node/{}", hand.node));
            return Err(self.explained(hand, error).await);
        }
        Ok(Done::changed(result(true, after), wrote))
    }

    /// What is wrong with a unit after it. A `systemctl` that ended well is believed that it stopped, enabled or disabled the unit, a person
    /// is not.
    fn wrong(&self, hand: &Hand, after: State) -> Option<&'static str> {
        let by_hand = hand.reached().is_none();
        match self.action {
            Action::Start | Action::Restart | Action::Reload => (!after.active).then_some("does not run"),
            Action::Stop => (by_hand && after.active).then_some("still runs"),
            Action::Enable => (by_hand && !after.enabled).then_some("does not start with the machine"),
            Action::Disable => (by_hand && after.enabled).then_some("still starts with the machine"),
        }
    }

    async fn state(&self, hand: &Hand) -> Result<State> {
        let active = hand.output(&["systemctl", "is-active", "--", &self.unit], false).await?;
        let enabled = hand.output(&["systemctl", "is-enabled", "--", &self.unit], false).await?;
        if active.code == 127 {
            return Err(failed(hand, &["systemctl".to_owned()], &active).hint("this machine has no systemd: use `machine.run`"));
        }
        let said = |text: &str, word: &str| text.trim() == word;
        Ok(State { active: said(&active.stdout, "active"), enabled: ["enabled", "static"].iter().any(|word| said(&enabled.stdout, word)) })
    }

    /// With the end of the unit's journal; who works by hand reads it on the machine.
    async fn explained(&self, hand: &Hand, mut error: Error) -> Error {
        if hand.reached().is_none() {
            return error.hint(format!("its journal is on the machine: `journalctl -xeu {}`", self.unit));
        }
        if let Ok(journal) = hand.output(&["journalctl", "--no-pager", "-q", "-n", "20", "-u", &self.unit], true).await {
            let mut details = if error.details.is_object() { error.details.clone() } else { json!({}) };
            details["journal"] = journal.stdout.into();
            error.details = details;
        }
        error.hint(format!("its journal is in `details.journal`, and on the machine: `journalctl -xeu {}`", self.unit))
    }

    fn wrote(&self, hand: &Hand, before: State) -> Wrote {
        let change = |path: &str, before: bool, after: bool| Change {
            path: path.to_owned(),
            before: Some(before.into()),
            after: Some(after.into()),
        };
        let back = |action: &str| Inverse::Call {
            verb: "machine.service".to_owned(),
            arguments: vec![hand.node.clone().into(), self.unit.clone().into(), action.into()],
            options: Json::Null,
        };
        let (changes, inverse) = match self.action {
            Action::Start => (vec![change("active", false, true)], back("stop")),
            Action::Stop => (vec![change("active", true, false)], back("start")),
            Action::Enable => (vec![change("enabled", false, true)], back("disable")),
            Action::Disable => (vec![change("enabled", true, false)], back("enable")),
            Action::Restart if !before.active => (vec![change("active", false, true)], back("stop")),
            Action::Restart | Action::Reload => {
                (Vec::new(), Inverse::Irreversible(format!("a {} leaves nothing to take back", self.action.word())))
            }
        };
        Wrote { verb: self.action.word().to_owned(), target: format!("{} on {}", self.unit, hand.node), changes, inverse }
    }
}

fn result(changed: bool, state: State) -> Json {
    json!({ "changed": changed, "active": state.active, "enabled": state.enabled })
}
