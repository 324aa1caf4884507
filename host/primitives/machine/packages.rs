//! `machine.packages`: packages at exactly these versions.

use std::collections::BTreeMap;

use super::available::check;
use super::failed;
use super::hand::Hand;
use super::task::Task;
use super::tools::{Tool, is_asked};
use crate::base::diff::Change;
use crate::base::json::{Value as Json, from_value, json};
use crate::base::{Error, Kind, Reason, Result, Span, Value};
use crate::cluster::machines::{Command, Output, line};
use crate::primitive;
use crate::primitives::cx::Cx;
use crate::primitives::done::{Done, Inverse, Wrote};
use crate::primitives::registry::{Arg, list};
use crate::primitives::types::{ArgType, NodeRef, Type, entries, mismatch};

/// Packages with their versions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packages(pub BTreeMap<String, String>);

impl ArgType for Packages {
    const TYPE: Type = Type::new("{ [string]: Version | string }", "a table from packages to versions");
    fn from_arg(arg: Arg) -> Result<Self> {
        let entries = entries(arg).map_err(|other| mismatch::<Self>(&other))?;
        if entries.is_empty() {
            return Err(Error::usage("is empty: give packages and versions, such as `{ kubeadm = \"1.31.0\" }`"));
        }
        let made = entries.into_iter().map(|(name, value)| match String::from_arg(value) {
            // Versions of Kubernetes are written with a `v`, those of packages never.
            Ok(version) => Ok((name, version.strip_prefix('v').map_or(version.clone(), str::to_owned))),
            Err(error) => Err(Error::usage(format!("has a wrong entry `{name}`: it {}", error.message))),
        });
        made.collect::<Result<_>>().map(Packages)
    }
}

primitive! {
    /// Installs packages on the machine of a node, all of them in one go and each at exactly its version, older ones too.
    ///
    /// A version without its revision means the newest revision of it. Packages that are there already are left alone, and nothing is
    /// done when all are. Held packages are held again afterwards, on the machine itself, even when the installation failed or the
    /// connection went. No question is asked: files of configuration that were changed by hand stay. A package tool that is busy is
    /// waited for, up to 10 minutes, and an installation that was interrupted earlier is ended first.
    pub write fn machine.packages as MachinePackages(
        /// The node.
        node: NodeRef,
        /// The version of each package.
        packages: Packages,
    ) options {
        /// The time allowed for the installation; default 30 minutes.
        limit: Option<Span>,
    } -> "{ changed: boolean, previous: { [string]: string }, packages: { [string]: string } }", "the versions before, of those that were there, and now";
    since "0.1";
    example r#"machine.packages("w1", { kubelet = "1.31.0", kubectl = "1.31.0" })"#;
    needs ["get nodes", "get namespaces", "get,create,delete pods", "get,create pods/exec"];
}

impl MachinePackages {
    async fn run(self, cx: Cx) -> Result<Done> {
        for (name, version) in &self.packages.0 {
            check("machine.packages", name, version)?;
        }
        let hand = Hand::on(&cx, &self.node).await?;
        let done = self.bring(&hand).await;
        hand.leave(done).await
    }

    async fn bring(&self, hand: &Hand) -> Result<Done> {
        let tool = Tool::of(hand).await?;
        let names: Vec<&str> = self.packages.0.keys().map(String::as_str).collect();
        let asked: Vec<String> = self.packages.0.iter().map(|(name, version)| format!("{name}={version}")).collect();
        let record = hand.operation(&format!("install {}", asked.join(" ")));
        // What was installed before an interruption was noted then.
        let noted = record.before().and_then(|(about, _)| from_value(about["before"].clone()).ok());
        let before: BTreeMap<String, String> = match noted {
            Some(before) => before,
            None => tool.installed(hand, &names).await?,
        };
        let missing: Vec<(&String, &String)> =
            self.packages.0.iter().filter(|(name, asked)| !before.get(*name).is_some_and(|version| is_asked(version, asked))).collect();
        if missing.is_empty() {
            return Ok(Done::unchanged(result(false, &before, &before)));
        }
        let mut wanted = Vec::new();
        for (name, asked) in missing {
            wanted.push((name.clone(), self.version(hand, tool, name, asked).await?));
        }
        let wrote = wrote(hand, &wanted, &before);
        record.intend(json!({ "before": before }))?;
        let installed = self.install(hand, tool, &wanted, &before, &wrote).await;
        record.became(&installed)?;
        drop(installed?);
        // Who did it by hand is asked for the versions too, and may not be there any more to tell them.
        let after = tool.installed(hand, &names).await.inspect_err(|_| hand.cx.talk.wrote(&wrote))?;
        let wrong: Vec<&str> =
            wanted.iter().filter(|(name, version)| after.get(name) != Some(version)).map(|(name, _)| name.as_str()).collect();
        if !wrong.is_empty() {
            hand.cx.talk.wrote(&wrote);
            let message =
                format!("packages on `{}`: the installation ended well, and {} is not at its version", hand.node, list(wrong.into_iter()));
            let error = Error::new(Kind::Cluster, Reason::CommandFailed, message).about(format!("node/{}", hand.node));
            let hint = "look on the machine what kept them from it; a second call leaves alone what is at its version";
            return Err(error.details(json!({ "packages": after })).hint(hint));
        }
        Ok(Done::changed(result(true, &before, &after), wrote))
    }

    /// The whole version of a package. When it is not known the machine looks once for new ones.
    async fn version(&self, hand: &Hand, tool: Tool, name: &str, asked: &str) -> Result<String> {
        let known = tool.versions(hand, name).await?;
        if let Some(version) = known.iter().find(|version| is_asked(version, asked)) {
            return Ok(version.clone());
        }
        Task::of(hand, tool.refresh()).well().await?;
        let known = tool.versions(hand, name).await?;
        known.iter().find(|version| is_asked(version, asked)).cloned().ok_or_else(|| {
            let message = format!("packages on `{}`: the repositories have no `{name}` {asked}", hand.node);
            let error = Error::not_found(message).about(format!("node/{}", hand.node));
            let newest: Vec<&str> = known.iter().take(3).map(String::as_str).collect();
            match newest.is_empty() {
                true => error.hint(format!("they have no `{name}` at all: is the repository of Kubernetes configured there?")),
                false => error.hint(format!("the newest are {}; has the repository the right minor version?", list(newest.into_iter()))),
            }
        })
    }

    async fn install(
        &self,
        hand: &Hand,
        tool: Tool,
        wanted: &[(String, String)],
        before: &BTreeMap<String, String>,
        wrote: &Wrote,
    ) -> Result<Output> {
        let names: Vec<&str> = wanted.iter().map(|(name, _)| name.as_str()).collect();
        let held = tool.held(hand, &names).await?;
        // What is installed by its version loses its hold, so that it is held again in the same operation.
        let finally = (!held.is_empty()).then(|| ["apt-mark".to_owned(), "hold".to_owned()].into_iter().chain(held).collect());
        let is_older = |(name, version): &(String, String)| before.get(name).is_some_and(|now| older(version, now));
        // yum goes either way, and not both at once.
        let (back, forth): (Vec<_>, Vec<_>) = wanted.iter().cloned().partition(|package| tool == Tool::Yum && is_older(package));
        let mut last = Output::default();
        for (packages, back) in [(back, true), (forth, false)] {
            if !packages.is_empty() {
                let command = Command { words: tool.install(&packages, back), stdin: None, sudo: true };
                let limit = self.limit.unwrap_or(super::task::LIMIT);
                let task = Task { hand, command, limit, idempotent: true, finally: finally.clone() };
                last = whole(&task, wrote).await?;
            }
        }
        Ok(last)
    }
}

/// Runs an installation; one that was interrupted earlier is ended first.
async fn whole(task: &Task<'_>, wrote: &Wrote) -> Result<Output> {
    let output = task.run().await?;
    if output.code == 0 && !output.late {
        return Ok(output);
    }
    // Nobody knows what a failed installation did before it failed.
    task.hand.cx.talk.wrote(wrote);
    if !output.stderr.contains("dpkg was interrupted") {
        return Err(explained(failed(task.hand, &task.command.words, &output), &output));
    }
    Task::of(task.hand, &["dpkg", "--configure", "-a"]).well().await?;
    task.well().await
}

/// With what to do about the failures that are known.
fn explained(error: Error, output: &Output) -> Error {
    if output.stderr.contains("Could not get lock") || output.stderr.contains("another app is currently holding the yum lock") {
        return error.hint("another installation goes on there: look who it is; no lock is ever deleted here");
    }
    if output.stderr.contains("unmet dependencies") {
        return error.hint("give the packages that need each other in one call");
    }
    error
}

/// Whether one version comes before another, as far as their numbers tell.
fn older(one: &str, other: &str) -> bool {
    let numbers = |version: &str| -> Vec<u64> {
        version.split(|c: char| !c.is_ascii_digit()).filter(|part| !part.is_empty()).map(|part| part.parse().unwrap_or(u64::MAX)).collect()
    };
    numbers(one) < numbers(other)
}

fn wrote(hand: &Hand, wanted: &[(String, String)], before: &BTreeMap<String, String>) -> Wrote {
    let words: Vec<String> = wanted.iter().map(|(name, version)| format!("{name}={version}")).collect();
    let changes = wanted.iter().map(|(name, version)| Change {
        path: name.clone(),
        before: before.get(name).map(|version| version.clone().into()),
        after: Some(version.clone().into()),
    });
    let new: Vec<&str> = wanted.iter().filter(|(name, _)| !before.contains_key(name)).map(|(name, _)| name.as_str()).collect();
    let inverse = if new.is_empty() {
        let former: BTreeMap<&String, &String> = wanted.iter().filter_map(|(name, _)| before.get_key_value(name)).collect();
        Inverse::Call { verb: "machine.packages".to_owned(), arguments: vec![hand.node.clone().into(), json!(former)], options: Json::Null }
    } else {
        Inverse::Irreversible(format!("{} was not installed before, and nothing is removed", list(new.into_iter())))
    };
    Wrote { verb: "install".to_owned(), target: format!("{} on {}", line(&words), hand.node), changes: changes.collect(), inverse }
}

fn result(changed: bool, before: &BTreeMap<String, String>, after: &BTreeMap<String, String>) -> Value {
    Value::Json(json!({ "changed": changed, "previous": before, "packages": after }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_packages_compare_by_their_numbers() {
        assert!(older("1.9.0-0", "1.19.0-0") && older("1.30.2-1.1", "1.30.2-1.2"));
        assert!(!older("1.19.16-0", "1.19.16-0") && !older("1.20.0-0", "1.19.16-0"));
    }

    #[test]
    fn only_names_and_versions_reach_a_package_tool() {
        assert!(check("v", "kubeadm", "1.30.2-1.1").is_ok() && check("v", "libstdc++6", "1:2.3~rc1+b2").is_ok());
        for (name, version) in [("-y", "1"), ("a b", "1"), ("", "1"), ("a", "-1"), ("a", "1 2"), ("a", "1*"), ("a;b", "1"), ("a", "")] {
            assert!(check("v", name, version).is_err(), "{name} {version}");
        }
    }
}
