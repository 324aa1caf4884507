//! A real control plane under test: Kubernetes' own servers on loopback, with KWOK in the place of the kubelets.
//!
//! `tests/controlplane/build` makes the programs. Where they are not built the cases are reported as ignored, with the reason;
//! `LOCKGATE_REQUIRE=controlplane` makes that a failure.

mod answers;
mod asked;
mod audit;
mod binaries;
pub(crate) mod command;
mod custom;
mod drain;
mod drain_speed;
mod fixture;
mod identity;
mod kills;
mod lock;
mod messages;
pub(crate) mod normalise;
pub(crate) mod plane;
mod procedures;
mod process;
mod rbac;
mod read_speed;
mod recording;
mod rows;
mod schemas;
mod simulated;
mod skew;
mod suspended;
mod tables;
mod trials;
mod truth;
mod verbs;
mod verbs_apply;
mod verbs_delete;
mod verbs_ends;
mod verbs_images;
mod verbs_rollout;

use std::sync::{Condvar, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use libtest_mimic::{Completion, Failed, Trial};
use lockgate::run::End;

pub(crate) use binaries::Binaries;

/// What a part of the harness gives, or what went wrong in words for the person who reads the test's output.
pub(crate) type Outcome<T = ()> = Result<T, String>;

/// A case that needs the programs.
type Real = fn(&Binaries) -> Outcome;

/// All the cases, by name.
pub(crate) fn cases() -> Vec<Trial> {
    let real: [(&str, Real); 29] = [
        ("clean_run", trials::clean_run),
        ("clean_end_state", trials::clean_end_state),
        ("completion_is_noticed", trials::completion_is_noticed),
        ("no_polling", trials::no_polling),
        ("trap_with_consent", trials::trap_with_consent),
        ("trap_declined", trials::trap_declined),
        ("plan_writes_nothing", trials::plan_writes_nothing),
        ("plans_ask_the_server", asked::plans),
        ("truth", truth::scripts),
        ("forbidden", trials::forbidden),
        ("roles_are_exact", rbac::exact),
        ("kills", kills::random_moments),
        ("stands_still_and_goes_on", suspended::stands_still),
        ("server_restarts", trials::server_restarts),
        ("custom_resources_are_scaled", custom::scaled),
        ("custom_resources_without_scale_are_refused", custom::refused),
        ("verbs_equal_kubectl", verbs::equal_kubectl),
        ("verbs_set_images_as_kubectl", verbs_images::bodies),
        ("verbs_delete_as_kubectl", verbs_delete::deletions),
        ("verbs_replace_pods", verbs_delete::replacements),
        ("verbs_apply_definitions", verbs_apply::definitions),
        ("verbs_apply_and_owners", verbs_apply::owners),
        ("verbs_histories_as_kubectl", verbs_rollout::histories),
        ("verbs_edit_and_wait_as_kubectl", verbs_rollout::edits),
        ("verbs_that_read", verbs_rollout::reads),
        ("messages_are_current", messages::are_current),
        ("schemas_are_current", schemas::are_current),
        ("tables_are_current", tables::are_current),
        ("answers_are_current", answers::are_current),
    ];
    let mut cases: Vec<Trial> = real.into_iter().map(|(name, case)| needs_binaries(name, case)).collect();
    cases.push(needs_binaries("rows::bootstrap", rows::bootstrap));
    for name in rows::names() {
        cases.push(needs_binaries(&format!("rows::{name}"), move |binaries| rows::are_current(binaries, name)));
    }
    cases.extend(skew::cases());
    cases.extend(drain::cases());
    cases.extend(lock::cases());
    cases.extend(procedures::cases());
    cases.push(Trial::test("controlplane::watchdog", || Ok(process::watchdog_ends_what_is_left()?)));
    for (name, fixture, consent, end) in [
        ("clean", trials::CLEAN, false, End::Succeeded),
        ("trap", trials::TRAP, true, End::Succeeded),
        ("trap-moment", trials::TRAP, false, End::Parked),
    ] {
        cases.push(Trial::test(format!("recorded::{name}::the_simulated_cluster_agrees"), move || {
            let state = simulated::state_after(fixture, trials::IMAGE, consent, end)?;
            Ok(recording::compare_simulated(name, &state)?)
        }));
        let alterations = move || Ok(recording::alterations_are_noticed(name)?);
        cases.push(Trial::test(format!("recorded::{name}::alterations_are_noticed"), alterations));
    }
    cases
}

/// The kubectl of the control plane, or why there is none.
///
/// # Errors
/// The reason of an ignored test.
pub(crate) fn kubectl() -> Outcome<std::path::PathBuf> {
    found().as_ref().map(|binaries| binaries.path("kubectl")).map_err(Clone::clone)
}

/// A case that is ignored, with the reason, where the programs are not built.
pub(crate) fn needs_binaries(name: &str, case: impl Fn(&Binaries) -> Outcome + Send + 'static) -> Trial {
    let name = format!("controlplane::{name}");
    Trial::ignorable_test(name.clone(), move || with_binaries(&name, &case))
}

/// Runs a case with the programs when it is its turn, or says why they are not there.
fn with_binaries(name: &str, case: impl Fn(&Binaries) -> Outcome) -> Result<Completion, Failed> {
    match found() {
        Ok(binaries) => in_turn(name, || {
            case(binaries)?;
            Ok(Completion::Completed)
        }),
        Err(reason) if is_required("controlplane") => Err(Failed::from(reason)),
        Err(reason) => Ok(Completion::ignored_with(reason)),
    }
}

/// How long each case took.
static TOOK: Mutex<Vec<(Duration, String)>> = Mutex::new(Vec::new());

/// At most so many control planes run at the same time, where as many cases do: most of the time they wait.
const AT_ONCE: usize = 3;

/// What takes times, and has the cores for itself.
const ALONE: [&str; 5] = [
    "controlplane::completion_is_noticed",
    "controlplane::no_polling",
    "controlplane::kills",
    "controlplane::drain_speed",
    "controlplane::read_speed",
];

/// Who is at work, and how many wait to be alone: they come before others.
struct Turns {
    busy: usize,
    waiting: usize,
}

static TURNS: Mutex<Turns> = Mutex::new(Turns { busy: 0, waiting: 0 });
static ENDED: Condvar = Condvar::new();

/// The right to run so many control planes; given back when it is dropped.
struct Turn(usize);

impl Turn {
    fn of(name: &str) -> Turn {
        let alone = ALONE.contains(&name);
        let mut turns = TURNS.lock().unwrap_or_else(PoisonError::into_inner);
        turns.waiting += usize::from(alone);
        let must_wait = |turns: &mut Turns| if alone { turns.busy > 0 } else { turns.waiting > 0 || turns.busy >= AT_ONCE };
        turns = ENDED.wait_while(turns, must_wait).unwrap_or_else(PoisonError::into_inner);
        turns.waiting -= usize::from(alone);
        let taken = if alone { AT_ONCE } else { 1 };
        turns.busy += taken;
        Turn(taken)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        TURNS.lock().unwrap_or_else(PoisonError::into_inner).busy -= self.0;
        ENDED.notify_all();
    }
}

/// A case with a control plane of its own, when it is its turn.
fn in_turn<T>(name: &str, work: impl FnOnce() -> T) -> T {
    let _turn = Turn::of(name);
    let begun = Instant::now();
    let done = work();
    TOOK.lock().unwrap_or_else(PoisonError::into_inner).push((begun.elapsed(), name.to_owned()));
    done
}

/// The cases that took longest, for whoever wants to know where the time goes.
pub(crate) fn slowest() -> String {
    let mut took = TOOK.lock().unwrap_or_else(PoisonError::into_inner).clone();
    took.sort();
    let all: Duration = took.iter().map(|(time, _)| *time).sum();
    let rows = took.iter().rev().take(20).map(|(time, name)| format!("  {:>5.1} s  {name}\n", time.as_secs_f64()));
    match took.len() {
        0 => String::new(),
        count => format!("{count} cases on a real control plane took {} s; the slowest:\n{}", all.as_secs(), rows.collect::<String>()),
    }
}

/// The programs, or why they cannot be used.
pub(crate) fn found() -> &'static Result<Binaries, String> {
    static FOUND: OnceLock<Result<Binaries, String>> = OnceLock::new();
    FOUND.get_or_init(Binaries::find)
}

/// Whether whoever runs the tests has installed this component and does not accept that it is missing.
pub(crate) fn is_required(component: &str) -> bool {
    std::env::var("LOCKGATE_REQUIRE").is_ok_and(|list| list.split(',').any(|required| required == component))
}
