//! `lockgate sandbox` with the real clients: transcripts of what people type, each against a cluster of its own.
//!
//! A transcript is a text file in the folder of its client. `$ ` begins a command of the shell, `! ` a line of standard error,
//! `[3]` an exit code other than 0; `# ` is a remark, `% ` holds the words of `lockgate sandbox`. `BLESS=1` writes what came.

mod clients;
mod real;
mod served;
mod stages;
mod transcript;

use std::path::{Path, PathBuf};

use libtest_mimic::{Completion, Failed, Trial};

pub(crate) use self::clients::helm;
use crate::controlplane;

/// What a part of the harness gives, or what went wrong.
type Outcome<T = ()> = Result<T, String>;

/// The folders of transcripts: the client that each needs, and the component that it comes with.
const CLIENTS: [(&str, &str); 4] = [("kubectl", "controlplane"), ("kubectl-old", "kubectl-old"), ("helm3", "helm"), ("helm4", "helm")];

/// All the cases, by name.
pub(crate) fn cases() -> Vec<Trial> {
    let mut cases = vec![Trial::test("sandbox::transcripts_are_compared", || Ok(transcript::differences_are_noticed()?))];
    for (client, component) in CLIENTS {
        let files = match transcripts(client) {
            Ok(files) => files,
            Err(error) => {
                cases.push(Trial::test(format!("sandbox::{client}::there are transcripts"), move || Err(Failed::from(error))));
                continue;
            }
        };
        for file in files {
            let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            cases.push(Trial::ignorable_test(format!("sandbox::{client}::{name}"), move || match clients::find(client) {
                Ok(clients) => {
                    transcript::check(&file, &clients)?;
                    Ok(Completion::Completed)
                }
                Err(reason) if controlplane::is_required(component) => Err(Failed::from(reason)),
                Err(reason) => Ok(Completion::ignored_with(reason)),
            }));
        }
    }
    cases.extend(real::cases());
    cases.extend(stages::cases());
    cases
}

fn transcripts(client: &str) -> Outcome<Vec<PathBuf>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sandbox").join(client);
    let cannot = |error: std::io::Error| format!("{}: {error}", folder.display());
    let entries: Result<Vec<_>, _> = std::fs::read_dir(&folder).map_err(cannot)?.collect();
    let mut files: Vec<PathBuf> = entries.map_err(cannot)?.iter().map(std::fs::DirEntry::path).collect();
    files.sort();
    Ok(files)
}
