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

mod diagnosis;
mod edit;
mod kstatus;
mod objects;
mod pace;
mod pod_trouble;
mod revisions;
mod rollout;
mod scaled;
mod tries;
mod view;
mod watched;
mod workload;

pub mod ask;
pub mod builtins;
pub mod confirm;
pub mod events;
pub mod exists;
pub mod get;
pub mod images;
pub mod list;
pub mod note;
pub mod patch;
pub mod ready;
pub mod rollout_history;
pub mod rollout_undo;
pub mod scale;
pub mod set_image;
pub mod update;
pub mod wait_for;
pub mod wait_gone;
pub mod wait_rollout;
pub mod why;

pub use cx::{AskOptions, Cx, Progress, Talk};
pub use done::{Done, Inverse, Wrote};
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
    &events::Events::DEFINITION,
    &rollout_history::RolloutHistory::DEFINITION,
    // write
    &patch::Patch::DEFINITION,
    &update::Update::DEFINITION,
    &set_image::SetImage::DEFINITION,
    &scale::Scale::DEFINITION,
    &rollout_undo::RolloutUndo::DEFINITION,
    // wait
    &wait_rollout::WaitRollout::DEFINITION,
    &wait_for::WaitFor::DEFINITION,
    &wait_gone::WaitGone::DEFINITION,
    // talk
    &confirm::Confirm::DEFINITION,
    &ask::Ask::DEFINITION,
    &note::Note::DEFINITION,
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
