//! `machine.write`: a file with this text.

use sha2::{Digest as _, Sha256};

use super::file::{absolute, text};
use super::hand::Hand;
use crate::base::diff::Change;
use crate::base::json::{Value as Json, json};
use crate::base::{Error, Kind, Reason, Result, Span};
use crate::cluster::keep::hex;
use crate::cluster::machines::{File, OperationId, Reached};
use crate::primitive;
use crate::primitives::cx::Cx;
use crate::primitives::done::{Done, Inverse, Wrote};
use crate::primitives::types::NodeRef;

primitive! {
    /// Writes a file on the machine of a node as root: whole or not at all.
    ///
    /// A file that holds the text already, and has the mode that is asked for, is left alone. Owner and mode of a file that is replaced
    /// stay, unless `mode` says otherwise; a link stays one, and the file behind it is replaced. What was there is kept on the machine,
    /// beside the operation, so that it can be put back without ever having been here.
    pub write fn machine.write as MachineWrite(
        /// The node.
        node: NodeRef,
        /// Its whole path; its folder must be there.
        path: String,
        /// The text.
        text: String,
    ) options {
        /// The mode in octal, such as `"0600"`; of a new file `"0644"` when left out.
        mode: Option<String>,
    } -> "{ changed: boolean }", "whether it was written";
    since "0.1";
    example r#"machine.write("w1", "/etc/apt/sources.list.d/kubernetes.list", "deb [signed-by=/etc/apt/keyrings/k8s.gpg] https://pkgs.k8s.io/core:/stable:/v1.31/deb/ /\n")"#;
    needs ["get nodes", "get namespaces", "get,create,delete pods", "get,create pods/exec"];
}

/// Between two tries, and how long a machine that does not answer is tried.
const PAUSES: (Span, Span) = (Span::from_secs(2), Span::from_secs(60));

impl MachineWrite {
    async fn run(self, cx: Cx) -> Result<Done> {
        absolute("machine.write", &self.path)?;
        let mode = self.mode.as_deref().map(mode).transpose()?;
        let hand = Hand::on(&cx, &self.node).await?;
        let written = self.write(&hand, mode).await;
        hand.leave(written).await
    }

    async fn write(&self, hand: &Hand, mode: Option<u32>) -> Result<Done> {
        let record = hand.operation(&format!("write {}", self.path));
        let size = |text: &str| -> Json { format!("{} bytes", text.len()).into() };
        // What was there before an interruption was noted then.
        let before = match record.before() {
            Some((about, _)) => about.get("size").filter(|size| !size.is_null()).cloned(),
            None => {
                let before = text(hand, &self.path, true).await?;
                if before.as_deref() == Some(self.text.as_str()) && self.has(hand, mode).await? {
                    return Ok(Done::unchanged(json!({ "changed": false })));
                }
                before.as_deref().map(size)
            }
        };
        record.intend(json!({ "size": before }))?;
        let written = self.put(hand, mode, record.op()).await;
        record.became(&written)?;
        let change = Change { path: "text".to_owned(), before, after: Some(size(&self.text)) };
        let target = format!("{} on {}", self.path, hand.node);
        let wrote = Wrote { verb: "write".to_owned(), target, changes: vec![change], inverse: written? };
        self.seen(hand, mode).await.inspect_err(|_| hand.cx.talk.wrote(&wrote))?;
        Ok(Done::changed(json!({ "changed": true }), wrote))
    }

    /// Puts it there; how it is taken back.
    async fn put(&self, hand: &Hand, mode: Option<u32>, stamp: &str) -> Result<Inverse> {
        Ok(match hand.reached() {
            Some(reached) => {
                let file = File { id: OperationId::of(stamp), path: self.path.clone(), text: self.text.clone(), mode, sudo: true };
                let kept = tried(hand, reached, &file).await?;
                self.inverse(hand, kept)
            }
            None => {
                hand.cx.talk.note(&format!("`{}` on `{}` is to hold:\n{}", self.path, hand.node, self.text));
                let with = mode.map_or_else(String::new, |mode| format!(", with mode {mode:04o}"));
                let code = hand.done_by_hand(&format!("write the text above into `{}`{with}", self.path)).await?;
                if code != 0 {
                    let message = format!("writing `{}` on `{}` ended with exit code {code}", self.path, hand.node);
                    return Err(Error::new(Kind::Cluster, Reason::CommandFailed, message).about(format!("node/{}", hand.node)));
                }
                Inverse::Irreversible("it was written by hand".to_owned())
            }
        })
    }

    /// Looks at what was written by hand: a person's word is not the file.
    async fn seen(&self, hand: &Hand, mode: Option<u32>) -> Result<()> {
        if hand.reached().is_some() {
            return Ok(());
        }
        let wrong = |what: &str| {
            let message = format!("writing `{}` on `{}`: {what}", self.path, hand.node);
            Error::new(Kind::Cluster, Reason::CommandFailed, message).about(format!("node/{}", hand.node))
        };
        let told = hand.text(&["sha256sum", "--", &self.path], true).await?;
        // The line begins with a backslash when the path has one.
        let found = told.split_whitespace().next().unwrap_or_default().trim_start_matches('\\').to_ascii_lowercase();
        let wanted = hex(&Sha256::digest(self.text.as_bytes()));
        if found != wanted {
            let ending = if self.text.ends_with('\n') { "with the end of its last line" } else { "without an end of its last line" };
            let error = wrong("it does not hold the text").details(json!({ "sha256": found, "wanted": wanted }));
            return Err(error.hint(format!("write the text exactly as it was shown, {ending}; `sha256sum` tells {wanted} then")));
        }
        let has = self.has(hand, mode).await?;
        if let Some(mode) = mode.filter(|_| !has) {
            return Err(wrong(&format!("it does not have the mode {mode:04o}")).hint(format!("give it that: `chmod {mode:04o}`")));
        }
        Ok(())
    }

    /// Whether the file has the mode.
    async fn has(&self, hand: &Hand, mode: Option<u32>) -> Result<bool> {
        let Some(mode) = mode else { return Ok(true) };
        let told = hand.text(&["stat", "-L", "-c", "%a", "--", &self.path], true).await?;
        Ok(u32::from_str_radix(told.trim(), 8) == Ok(mode))
    }

    fn inverse(&self, hand: &Hand, kept: Option<String>) -> Inverse {
        let argv = match kept {
            Some(kept) => json!(["cp", "-p", "--", kept, self.path]),
            None => json!(["rm", "-f", "--", self.path]),
        };
        Inverse::Call {
            verb: "machine.run".to_owned(),
            arguments: vec![hand.node.clone().into(), argv],
            options: json!({ "idempotent": true }),
        }
    }
}

/// Writes it, and again when the answer is lost: it says what is to be in the file.
async fn tried(hand: &Hand, reached: &Reached, file: &File) -> Result<Option<String>> {
    let last = PAUSES.1.after(hand.cx.now());
    loop {
        match reached.write(&hand.node, file).await {
            Err(error) if error.reason == Reason::Unreachable && hand.cx.now() < last => hand.pause(PAUSES.0).await?,
            other => return other,
        }
    }
}

fn mode(text: &str) -> Result<u32> {
    u32::from_str_radix(text, 8).ok().filter(|mode| *mode <= 0o7777 && !text.is_empty()).ok_or_else(|| {
        Error::usage(format!("`machine.write`: option `mode` must be a mode in octal, got `{}`", text.escape_default()))
            .hint("write `\"0644\"`")
    })
}
