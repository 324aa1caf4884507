//! Machines by a real `sshd` on loopback, several of them as several nodes. Found on the PATH, or by `SSHD`; where there is none the cases
//! are reported as ignored, with the reason, and `LOCKGATE_REQUIRE=sshd` makes that a failure.

mod cases;
mod rig;
mod services;
pub(crate) mod sshd;

use libtest_mimic::{Completion, Failed, Trial};

use crate::controlplane::is_required;

/// What a part of the harness gives, or what went wrong.
type Outcome<T = ()> = Result<T, String>;

/// One case, with the programs that it needs.
type Case = fn(&sshd::Programs) -> Outcome;

/// All the cases, by name.
pub(crate) fn cases() -> Vec<Trial> {
    let cases: [(&str, Case); 14] = [
        ("several_nodes_are_several_machines", cases::several_nodes),
        ("hostile_words_come_through", cases::hostile_words),
        ("a_large_output_is_cut_and_said_to_be", cases::large_output),
        ("connections_killed_in_the_middle_do_no_harm", cases::killed_connections),
        ("a_command_outlives_its_connections", cases::outlives),
        ("the_same_operation_twice_runs_once", cases::twice),
        ("another_process_of_the_run_finds_what_the_first_began", cases::another_process),
        ("a_machine_that_is_away_for_a_while_is_waited_for", cases::away),
        ("a_host_key_that_changed_is_refused_by_its_line", cases::host_key_changed),
        ("a_host_key_that_is_not_known_is_refused_or_learnt", cases::host_key_unknown),
        ("who_may_not_log_in_is_told", cases::no_login),
        ("sudo_that_is_needed_and_absent_is_told", cases::no_sudo),
        ("a_jump_host_of_the_configuration_is_used", cases::jump_host),
        ("files_and_failures_cross_as_they_are", cases::files_and_failures),
    ];
    let mut all: Vec<Trial> =
        cases.into_iter().map(|(name, case)| Trial::ignorable_test(format!("machine::{name}"), move || whole(case))).collect();
    let systemd: [(&str, Case); 7] = [
        ("operations_are_units", services::operations),
        ("services_are_started_and_stopped", services::services),
        ("connections_killed_in_the_middle_do_no_harm", cases::killed_connections),
        ("a_command_outlives_its_connections", cases::outlives),
        ("the_same_operation_twice_runs_once", cases::twice),
        ("another_process_of_the_run_finds_what_the_first_began", cases::another_process),
        ("files_and_failures_cross_as_they_are", cases::files_and_failures),
    ];
    let found = |case: Case| match sshd::Programs::under_systemd() {
        Ok(programs) => Ok(case(&programs).map(|()| Completion::Completed)?),
        Err(reason) if is_required("systemd") => Err(Failed::from(reason)),
        Err(reason) => Ok(Completion::ignored_with(reason)),
    };
    all.extend(systemd.into_iter().map(|(name, case)| Trial::ignorable_test(format!("machine::systemd::{name}"), move || found(case))));
    all
}

fn whole(case: fn(&sshd::Programs) -> Outcome) -> Result<Completion, Failed> {
    match sshd::Programs::find() {
        Ok(programs) => {
            case(&programs)?;
            Ok(Completion::Completed)
        }
        Err(reason) if is_required("sshd") => Err(Failed::from(reason)),
        Err(reason) => Ok(Completion::ignored_with(reason)),
    }
}
