//! `helm.*` with the real helms, 3.21 and 4.2, on the simulated cluster and on a real control plane: the acceptance list of
//! the helm verbs, each case four times. Without the helms the cases are ignored, with the reason.

mod away;
mod bench;
mod changes;
mod charts;
mod cut;
mod faults;
#[path = "../support/kept.rs"]
mod kept;
#[path = "../support/killed.rs"]
mod killed;
mod locks;
mod other;
mod processes;
mod reads;
mod recorded;
mod repository;
mod resumed;
mod told;

use libtest_mimic::{Completion, Failed, Trial};

use self::bench::{Bench, Outcome};
use crate::controlplane;

type Case = fn(&Bench) -> Outcome;

/// The cases, by name.
const CASES: [(&str, Case); 22] = [
    ("reads_equal_those_of_helm", reads::equal),
    ("uncompressed_releases_are_read", reads::uncompressed),
    ("previous_values_are_those_of_reset_then_reuse", changes::previous_values),
    ("reuse_values_is_explained", changes::reuse_values),
    ("a_killed_helm_leaves_a_lock_that_is_released", locks::killed),
    ("a_failed_upgrade_is_as_helm_says_and_rolled_back", changes::failed),
    ("a_diff_shows_drift", changes::drift),
    ("a_diff_hides_secrets", changes::secrets),
    ("definitions_are_upgraded_when_asked", changes::definitions),
    ("releases_of_helm_3_stay_client_side_and_conflicts_are_told", changes::conflicts),
    ("a_release_of_the_other_helm_goes_on_and_back", other::crossed),
    ("an_upgrade_that_ended_before_its_run_was_killed_is_found", resumed::ended),
    ("an_upgrade_that_was_killed_with_its_run_is_made_anew", resumed::killed),
    ("of_two_at_once_the_second_finds_a_lock", locks::two),
    ("what_the_repository_lacks_is_said", repository::missing),
    ("a_chart_is_pulled_once", repository::once),
    ("a_helm_without_time_leaves_a_failed_release", locks::late),
    ("a_release_lives_and_goes", changes::life),
    ("what_is_as_asked_is_left_alone", changes::unchanged),
    ("a_plan_does_it_on_the_copy", changes::planned),
    ("a_webhooks_no_is_in_the_plan_and_not_in_that_of_helm", changes::denied),
    ("a_chart_is_rendered_for_this_cluster", changes::template),
];

/// All the cases.
pub(crate) fn cases() -> Vec<Trial> {
    let mut cases = vec![];
    for helm in ["helm3", "helm4"] {
        for (name, case) in CASES {
            cases.push(simulated(&format!("helm::{helm}::{name}"), helm, case));
            cases.push(controlplane::needs_binaries(&format!("helm::{helm}::{name}"), move |binaries| {
                case(&Bench::real(helm, binaries, name)?)
            }));
        }
        cases.push(simulated(&format!("helm::recorded::{helm}"), helm, recorded::check));
        cases.push(served(&format!("helm::{helm}::the_command_is_killed_at_every_write"), move || processes::everywhere(helm), helm));
        cases.push(simulated(&format!("helm::{helm}::faults_in_the_middle_of_an_upgrade"), helm, faults::in_the_middle));
        cases.push(simulated(&format!("helm::{helm}::a_server_that_is_away_is_waited_for"), helm, away::waited_for));
        cases.push(simulated(&format!("helm::{helm}::writes_wait_for_a_server_that_is_away"), helm, away::writes_wait));
        cases.push(simulated(&format!("helm::{helm}::charts_stay_what_they_were"), helm, away::charts_stay));
        cases.push(simulated(&format!("helm::{helm}::what_helm_could_not_write_is_no_success"), helm, away::unwritten));
        cases.push(simulated(&format!("helm::{helm}::a_failed_hook_is_told_with_its_log"), helm, told::hook_log));
        cases.push(simulated(&format!("helm::{helm}::what_is_in_the_way_is_told_with_its_owners"), helm, told::owners));
        cases.push(simulated(&format!("helm::{helm}::releases_in_config_maps"), helm, told::in_config_maps));
        cases.push(simulated(&format!("helm::{helm}::what_is_sent_is_what_is_needed"), helm, told::needs));
        cases.push(controlplane::needs_binaries(
            &format!("helm::{helm}::a_server_that_goes_in_the_middle_of_an_upgrade"),
            move |binaries| cut::in_the_middle(helm, binaries),
        ));
        cases.push(controlplane::needs_binaries(&format!("helm::{helm}::charts_are_ready_when_helm_says_so"), move |binaries| {
            charts::agree(helm, binaries)
        }));
    }
    cases
}

/// What the run of the cases found, in figures.
pub(crate) fn told() -> String {
    charts::told()
}

/// A case on a simulated cluster.
fn simulated(name: &str, helm: &'static str, case: Case) -> Trial {
    served(name, move || case(&Bench::simulated(helm)?), helm)
}

/// A case that needs this helm.
fn served(name: &str, case: impl FnOnce() -> Outcome + Send + 'static, helm: &'static str) -> Trial {
    Trial::ignorable_test(name, move || match crate::sandbox::helm(helm) {
        Ok(_) => {
            case()?;
            Ok(Completion::Completed)
        }
        Err(reason) if controlplane::is_required("helm") => Err(Failed::from(reason)),
        Err(reason) => Ok(Completion::ignored_with(reason)),
    })
}
