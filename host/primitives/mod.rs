//! L2: the verbs. One file each and one line in [`ALL`]; no Lua, no printing, no journal.
//!
//! Files that are no verb: [`cx`] and [`done`] are what a verb gets and gives, [`registry`], [`types`] and [`macros`] what it is
//! declared with. What several verbs share has a file of its own: objects, the tries of a write, workloads, what can be scaled, revisions, a
//! rollout at one moment, its diagnosis, the pace of a wait.

pub mod cx;
pub mod done;
pub mod macros;
pub mod registry;
pub mod types;

mod applied;
mod containers;
mod diagnosis;
mod edit;
mod established;
mod install_order;
mod kstatus;
mod manifest;
mod objects;
mod owners;
mod pace;
mod pod_trouble;
mod reverted;
mod revisions;
mod rollout;
mod scaled;
mod settings;
mod tries;
mod view;
mod watched;
mod workload;

pub mod annotate;
pub mod apply;
pub mod ask;
pub mod assume;
pub mod builtins;
pub mod confirm;
pub mod cordon;
pub mod create;
pub mod delete;
pub mod drain;
pub mod env;
pub mod events;
pub mod exec;
pub mod exists;
pub mod foreign;
pub mod get;
pub mod helm;
pub mod images;
pub mod label;
pub mod list;
pub mod logs;
pub mod machine;
pub mod manual;
pub mod note;
pub mod now;
pub mod patch;
pub mod random;
pub mod ready;
pub mod replace_pod;
pub mod rollout_history;
pub mod rollout_pause;
pub mod rollout_restart;
pub mod rollout_resume;
pub mod rollout_undo;
pub mod scale;
pub mod set_env;
pub mod set_image;
pub mod skew;
pub mod taint;
pub mod uncordon;
pub mod update;
pub mod wait_for;
pub mod wait_gone;
pub mod wait_rollout;
pub mod why;

pub use cx::{AskOptions, Cx, Progress, Talk};
pub use done::{Done, Inverse, Wrote};
pub use edit::{plain, restoring};
pub use registry::{Arg, Arguments, Callback, Definition, Effect, Param};

/// Every verb, in the order of the reference.
pub static ALL: &[&Definition] = &[
    // read
    &get::Get::DEFINITION,
    &list::List::DEFINITION,
    &exists::Exists::DEFINITION,
    &images::Images::DEFINITION,
    &ready::Ready::DEFINITION,
    &why::Why::DEFINITION,
    &logs::Logs::DEFINITION,
    &events::Events::DEFINITION,
    &rollout_history::RolloutHistory::DEFINITION,
    &drain::DrainPlan::DEFINITION,
    &skew::check::SkewCheck::DEFINITION,
    &skew::versions::Versions::DEFINITION,
    &helm::list::HelmList::DEFINITION,
    &helm::get::HelmGet::DEFINITION,
    &helm::history::HelmHistory::DEFINITION,
    &helm::values::HelmValues::DEFINITION,
    &helm::manifest::HelmManifest::DEFINITION,
    &helm::chart::HelmChart::DEFINITION,
    &helm::template::HelmTemplate::DEFINITION,
    &helm::diff::HelmDiff::DEFINITION,
    &machine::read::MachineRead::DEFINITION,
    &machine::file::MachineFile::DEFINITION,
    &machine::available::MachineAvailable::DEFINITION,
    &now::Now::DEFINITION,
    &random::Random::DEFINITION,
    &env::Env::DEFINITION,
    // write
    &create::Create::DEFINITION,
    &apply::Apply::DEFINITION,
    &delete::Delete::DEFINITION,
    &patch::Patch::DEFINITION,
    &update::Update::DEFINITION,
    &set_image::SetImage::DEFINITION,
    &set_env::SetEnv::DEFINITION,
    &label::Label::DEFINITION,
    &annotate::Annotate::DEFINITION,
    &taint::TaintNode::DEFINITION,
    &scale::Scale::DEFINITION,
    &rollout_restart::RolloutRestart::DEFINITION,
    &rollout_pause::RolloutPause::DEFINITION,
    &rollout_resume::RolloutResume::DEFINITION,
    &rollout_undo::RolloutUndo::DEFINITION,
    &replace_pod::ReplacePod::DEFINITION,
    &exec::Exec::DEFINITION,
    &cordon::Cordon::DEFINITION,
    &uncordon::Uncordon::DEFINITION,
    &drain::Drain::DEFINITION,
    &helm::install::HelmInstall::DEFINITION,
    &helm::upgrade::HelmUpgrade::DEFINITION,
    &helm::rollback::HelmRollback::DEFINITION,
    &helm::uninstall::HelmUninstall::DEFINITION,
    &helm::unlock::HelmUnlock::DEFINITION,
    &machine::run::MachineRun::DEFINITION,
    &machine::write::MachineWrite::DEFINITION,
    &machine::packages::MachinePackages::DEFINITION,
    &machine::service::MachineService::DEFINITION,
    &machine::reboot::MachineReboot::DEFINITION,
    // wait
    &wait_rollout::WaitRollout::DEFINITION,
    &wait_for::WaitFor::DEFINITION,
    &wait_gone::WaitGone::DEFINITION,
    // talk
    &confirm::Confirm::DEFINITION,
    &ask::Ask::DEFINITION,
    &manual::Manual::DEFINITION,
    &note::Note::DEFINITION,
    &assume::Assume::DEFINITION,
    // words
    &builtins::ENSURE,
    &builtins::NOT_NEEDED,
    &builtins::VERSION,
    &builtins::IMAGE,
    &builtins::DURATION,
    &builtins::QUANTITY,
    &builtins::NULL,
    &builtins::ARRAY,
    &builtins::OBJECT,
    &builtins::AT,
    &builtins::MERGE,
    &builtins::JSON,
];

/// The verb of that name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Definition> {
    ALL.iter().copied().find(|definition| definition.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_whole() {
        let mut names: Vec<&str> = ALL.iter().map(|definition| definition.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), ALL.len(), "a name is there twice");
        for definition in ALL {
            let name = definition.name;
            assert!(definition.summary().ends_with('.') || definition.doc.len() > 1, "{name}: the summary is no sentence");
            assert!(!definition.example.is_empty() && !definition.returns.is_empty(), "{name}");
            assert!(definition.example.contains(name), "{name}: the example does not call it");
            for param in definition.params.iter().chain(definition.options) {
                assert!(!param.doc.is_empty(), "{name}: `{}` has no documentation", param.name);
            }
            for option in definition.options {
                assert!(option.ty.optional, "{name}: option `{}` is not optional", option.name);
            }
            for need in definition.needs {
                assert!(need.split_once(' ').is_some(), "{name}: `{need}` is no need");
            }
        }
    }

    #[test]
    fn a_kind_in_braces_is_a_parameter() {
        for definition in ALL {
            for need in definition.needs {
                if let Some(param) = need.split_once('{').and_then(|(_, rest)| rest.strip_suffix('}')) {
                    assert!(definition.params.iter().any(|known| known.name == param), "{}: `{need}`", definition.name);
                }
            }
        }
    }
}
