//! Named cases, one test each: the tests of every bundled runbook, and what needs a real component. A case that cannot be run here
//! is reported as ignored, with its reason.

mod conformance;
mod controlplane;
mod helm;
mod machine;
#[path = "support/roles.rs"]
mod roles;
mod runbooks;
mod sandbox;
#[path = "support/simulated_only.rs"]
mod simulated_only;
mod truth;

use std::io::Write as _;
use std::path::Path;

use libtest_mimic::{Arguments, Failed, Trial};
use lockgate::cli::test::{self, Test};
use lockgate::run::Source;

fn main() {
    let arguments = Arguments::from_args();
    let mut trials = runbooks();
    trials.extend(modules());
    trials.extend(runbooks::cases());
    trials.extend(controlplane::cases());
    trials.extend(sandbox::cases());
    trials.extend(machine::cases());
    trials.extend(helm::cases());
    trials.extend(conformance::cases());
    trials.extend(truth::cases());
    trials.push(Trial::test("simulated_only::the_list_is_complete", || Ok(simulated_only::is_complete()?)));
    let conclusion = libtest_mimic::run(&arguments, trials);
    if !arguments.list {
        let told = [conformance::count(), truth::told(), helm::told(), controlplane::slowest(), simulated_only::told(), runbooks::told()];
        write!(std::io::stdout(), "{}", told.concat()).ok();
    }
    conclusion.exit();
}

/// The tests of every folder in `runbooks/`, read from disk so that `BLESS=1` can write the plans.
fn runbooks() -> Vec<Trial> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("runbooks");
    Source::bundled_names()
        .into_iter()
        .flat_map(|name| {
            let path = folder.join(&name);
            let tests = Source::on_disk(&path).and_then(|source| test::tests(&source));
            match tests {
                Ok(tests) => tests.into_iter().map(|test| trial(&name, &path, test)).collect(),
                Err(error) => {
                    let told = error.to_string();
                    vec![Trial::test(format!("runbook::{name}::its tests load"), move || Err(Failed::from(told)))]
                }
            }
        })
        .collect()
}

/// The tests of the modules of `stdlib/`; a module without one fails.
fn modules() -> Vec<Trial> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("stdlib");
    lockgate::lua::standard_modules()
        .into_iter()
        .flat_map(|name| {
            let path = folder.join(format!("{name}_test.luau"));
            match Source::on_disk(&path).and_then(|source| test::tests(&source)) {
                Ok(tests) => tests.into_iter().map(|test| trial_of("stdlib", &name, &path, test)).collect(),
                Err(error) => {
                    let told = error.to_string();
                    vec![Trial::test(format!("stdlib::{name}::has a test"), move || Err(Failed::from(told)))]
                }
            }
        })
        .collect()
}

fn trial(name: &str, path: &Path, test: Test) -> Trial {
    trial_of("runbook", name, path, test)
}

fn trial_of(kind: &str, name: &str, path: &Path, test: Test) -> Trial {
    let (title, path) = (format!("{kind}::{name}::{test}"), path.to_path_buf());
    let bless = std::env::var_os("BLESS").is_some_and(|value| value == "1");
    Trial::test(title, move || {
        let source = Source::on_disk(&path).map_err(|error| error.to_string())?;
        test::one(&source, &test, bless, 0).map(|played| runbooks::played(&source.name, &test, &played)).map_err(|error| {
            let place = error.places.first().map(|place| format!("{}:{}: ", place.file, place.line)).unwrap_or_default();
            Failed::from(format!("{place}{error}"))
        })
    })
}
