//! `lockgate new`: a folder with a runbook that can be planned, tested and checked at once.

use std::io::ErrorKind;
use std::path::Path;

use super::args::NewArgs;
use super::{Done, test};
use crate::base::{Error, Result};
use crate::report::Screen;
use crate::run::Source;

/// The files of the folder; `NAME` in them is its name.
const FILES: [(&str, &str); 3] = [
    ("runbook.luau", include_str!("new/runbook.luau")),
    ("cluster.yaml", include_str!("new/cluster.yaml")),
    ("test.luau", include_str!("new/test.luau")),
];

/// Makes the folder. Nothing that is there already is touched.
///
/// # Errors
/// A name that cannot be a runbook's, one that is taken, or a folder that cannot be written.
pub(super) fn new(args: &NewArgs, screen: &Screen) -> Done {
    check_name(&args.name)?;
    let folder = args.dir.join(&args.name);
    let shown = folder.display().to_string();
    let shown = shown.strip_prefix("./").unwrap_or(&shown).to_owned();
    std::fs::create_dir_all(&args.dir).map_err(|error| cannot(&args.dir, &error))?;
    // Made, not looked for: what somebody else makes at the same time is not overwritten either.
    std::fs::create_dir(&folder).map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => Error::usage(format!("`{shown}` is there already")).hint("choose another name, or another `--dir`"),
        _ => cannot(&folder, &error),
    })?;
    for (name, text) in FILES {
        let path = folder.join(name);
        std::fs::write(&path, text.replace("NAME", &args.name)).map_err(|error| cannot(&path, &error))?;
    }
    // The plan on its own cluster, which `lockgate test` compares.
    test::one(&Source::on_disk(&folder)?, &test::Test::Plan, true, 0)?;
    screen.data(&format!(
        "{shown}: runbook.luau, cluster.yaml, test.luau, plan.txt\n\n\
         lockgate test {shown}\n\
         lockgate check {shown} --strict\n\
         lockgate plan {shown} image=registry.example/web:v1.2.4 --sandbox\n"
    ));
    Ok(0)
}

fn cannot(path: &Path, error: &std::io::Error) -> Error {
    Error::usage(format!("cannot write `{}`", path.display())).cause(error.to_string())
}

/// `cilium-upgrade`: what a folder, a journal and a Lease can be called, and no bundled runbook is.
fn check_name(name: &str) -> Result<()> {
    let fits = |character: char| character.is_ascii_lowercase() || character.is_ascii_digit() || character == '-';
    let begins = name.chars().next().is_some_and(|first| first.is_ascii_lowercase());
    if !begins || name.ends_with('-') || name.len() > 60 || !name.chars().all(fits) {
        return Err(Error::usage(format!("`{name}` cannot be the name of a runbook"))
            .hint("a name has lower-case letters, digits and `-`, begins with a letter, and has at most 60 of them: `cilium-upgrade`"));
    }
    if Source::bundled(name).is_some() {
        return Err(Error::usage(format!("`{name}` is the name of a bundled runbook"))
            .hint("a name on the command line would mean the bundled one: choose another"));
    }
    Ok(())
}
