//! From the target flags to a cluster: simulated from a fixture, or live.

use std::path::Path;

use lockgate_sim::fixture::{Fixture, FixtureError};
use lockgate_sim::{Cluster as Sim, Options as SimOptions};
use tokio::runtime::Runtime;

use super::args::{MachinesBy, TargetArgs};
use super::chaos;
use crate::base::{Error, Kind, Place, Reason, Result};
use crate::cluster::door::on_path;
use crate::cluster::machines::{Inventory, Way, Ways};
use crate::cluster::snapshot::Contents;
use crate::cluster::{Cancel, Cluster, LiveOptions, Options, RunId};
use crate::primitives::registry::plural;
use crate::report::{escape, sandbox as page};
use crate::run::Source;
use crate::run::source::{Beside, FILES, unreadable};

/// The fixture of a runbook's folder.
pub(super) const FIXTURE: &str = "cluster.yaml";

/// The runbook whose fixture a bare `--sandbox` means where no runbook is named.
const EXAMPLE: &str = "cce-cni-v1-patch";

/// A fixture as text.
pub(super) struct Text {
    label: String,
    pub(super) text: String,
}

/// Makes the cluster that the flags name, with lines about it for the operator: what is odd about its fixture, and what `--chaos`
/// does to it. Nothing is contacted here.
///
/// # Errors
/// Input errors: a fixture that is missing or broken (with file and line), a kubeconfig or context that is not there.
pub(super) fn cluster(runtime: &Runtime, target: &TargetArgs, source: &Source, cancel: &Cancel) -> Result<(Cluster, Vec<String>)> {
    if let Some(path) = &target.snapshot {
        return snapshot(path, cancel);
    }
    let Some(fixture) = &target.sandbox else {
        let options = Options { cancel: cancel.clone(), machines: machines(target)?, ..Options::new(RunId::generate()) };
        let live = LiveOptions { kubeconfig: target.kubeconfig.clone(), context: target.context.clone() };
        from_elsewhere(&live, source)?;
        let cluster = runtime.block_on(Cluster::live(live, options))?;
        let told = cluster.signs_in_by().map(|plugin| signs_in(&plugin)).into_iter().collect();
        return Ok((cluster, told));
    };
    let fixture = text(source, fixture)?;
    let chaos = target.chaos.as_deref().map(chaos::faults).transpose()?;
    let name = name(target);
    let cluster = sandbox(&name, &fixture.label, &fixture.text, cancel)?;
    let mut told = notes(&fixture.label, &fixture.text);
    told.extend(chaos.iter().flat_map(chaos::told));
    if let (Some(faults), Some(simulation)) = (chaos, cluster.simulation()) {
        simulation.with(|sim| sim.disturb(faults));
    }
    Ok((cluster, told))
}

/// A snapshot, with what is to be known of it.
fn snapshot(path: &Path, cancel: &Cancel) -> Result<(Cluster, Vec<String>)> {
    let contents = Contents::open(path)?;
    let told = told(&contents);
    Ok((on_snapshot(&label(path), contents, cancel), vec![told]))
}

/// What a snapshot is called.
pub(super) fn label(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}

/// A cluster that is a snapshot: for reading.
pub(super) fn on_snapshot(label: &str, contents: Contents, cancel: &Cancel) -> Cluster {
    let options = Options { cancel: cancel.clone(), ..Options::new(RunId::generate()) };
    Cluster::on_snapshot(label, contents, options)
}

/// What is to be known of a snapshot before anything is done on it.
pub(super) fn told(contents: &Contents) -> String {
    let head = &contents.head;
    let slim = if head.scopes.iter().any(|part| part.slim) { "; some pods are slim: what runs in them is not in it" } else { "" };
    let made = if head.tool == "imported" { "it was imported".to_owned() } else { format!("made at {}", head.at) };
    format!(
        "on the snapshot of `{}`: {}, {made}{slim}; nothing is contacted",
        escape::line(&head.cluster),
        plural(contents.len(), "object")
    )
}

/// What a simulated cluster is called.
pub(super) fn name(target: &TargetArgs) -> String {
    match target.sandbox.as_deref() {
        None | Some("") => "sandbox".to_owned(),
        Some(word) => format!("sandbox {}", Path::new(word).file_stem().unwrap_or_default().to_string_lossy()),
    }
}

/// Refuses a kubeconfig that came with the runbook: it could name any cluster, and any command to sign in.
fn from_elsewhere(live: &LiveOptions, source: &Source) -> Result<()> {
    let Beside::Disk(folder) = &source.beside else { return Ok(()) };
    if !FILES.iter().any(|file| folder.join(file).is_file()) {
        return Ok(());
    }
    let Ok(folder) = folder.canonicalize() else { return Ok(()) };
    let inside = live.files().into_iter().find(|file| file.canonicalize().is_ok_and(|file| file.starts_with(&folder)));
    inside.map_or(Ok(()), |file| {
        let message = format!("kubeconfig `{}` is in the folder of the runbook", file.display());
        Err(Error::new(Kind::Refused, Reason::Refused, message)
            .cause("a runbook does not choose its cluster, nor the command that signs in to it")
            .hint("if it is yours, move it out of that folder"))
    })
}

/// Says which command signs in.
fn signs_in(plugin: &str) -> String {
    let program = plugin.split(' ').next().unwrap_or_default();
    let found = if program.contains('/') { Some(Path::new(program).to_owned()) } else { on_path(program) };
    let place = found.map_or_else(|| "not found".to_owned(), |path| path.display().to_string());
    format!("signing in runs `{}` ({}), which the kubeconfig names", escape::line(plugin), escape::line(&place))
}

/// How the machines of a live cluster are reached.
fn machines(target: &TargetArgs) -> Result<Option<Ways>> {
    let Some(way) = target.machines else { return Ok(None) };
    let kind = match way {
        MachinesBy::Ssh => Way::Ssh,
        MachinesBy::Pod => Way::Pod,
        MachinesBy::Manual => Way::Manual,
    };
    let inventory = match &target.inventory {
        None => Inventory::default(),
        Some(path) => {
            let text = std::fs::read_to_string(path).map_err(|error| unreadable(path, &error))?;
            Inventory::parse(&path.display().to_string(), &text)?
        }
    };
    Ok(Some(Ways { kind, inventory }))
}

/// What is odd about a fixture, a line each; nothing about one that cannot be read.
pub(super) fn notes(label: &str, text: &str) -> Vec<String> {
    let notes = Fixture::parse(label, text).map(|fixture| fixture.notes()).unwrap_or_default();
    notes.iter().map(|note| page::note(&note.to_string())).collect()
}

/// The runbook to look beside for commands that have none.
///
/// # Errors
/// It is not in the binary.
pub(super) fn example() -> Result<Source> {
    Source::bundled(EXAMPLE).ok_or_else(|| Error::internal(format!("the runbook `{EXAMPLE}` is not in the binary")))
}

/// A simulated cluster from the text of a fixture.
///
/// # Errors
/// What is wrong with the fixture, with its line.
pub(super) fn sandbox(name: &str, label: &str, text: &str, cancel: &Cancel) -> Result<Cluster> {
    let simulation = SimOptions::default();
    let (start, seed) = (simulation.start, simulation.seed);
    let sim = simulated(label, text, simulation)?;
    let options = Options { cancel: cancel.clone(), name: Some(name.to_owned()), ..Options::new(RunId::simulated(start, seed)) };
    Ok(Cluster::simulated(sim, options))
}

/// The cluster that a fixture describes.
///
/// # Errors
/// What is wrong with the fixture, with its line.
pub(super) fn simulated(label: &str, text: &str, options: SimOptions) -> Result<Sim> {
    let made = Fixture::parse(label, text).and_then(|fixture| {
        let mut sim = fixture.cluster(options)?;
        fixture.faults().for_each(|faults| sim.disturb(faults.clone()));
        Ok(sim)
    });
    made.map_err(|error| broken(&format!("the fixture `{label}` cannot be used"), text, &error))
}

/// The fixture that `--sandbox` means: the runbook's own, a file, one beside the runbook, or another runbook's.
pub(super) fn text(source: &Source, word: &str) -> Result<Text> {
    if word.is_empty() {
        return match source.beside.read(FIXTURE)? {
            Some(text) => Ok(Text { label: source.beside.label(FIXTURE), text }),
            None => Err(Error::usage(format!("runbook `{}` has no `{FIXTURE}` for `--sandbox`", source.name))
                .hint("name a fixture: `--sandbox=FILE`")),
        };
    }
    let path = Path::new(word);
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Text { label: word.to_owned(), text }),
        Err(error) => match source.beside.read(word)? {
            Some(text) => Ok(Text { label: source.beside.label(word), text }),
            None if path.is_dir() || Source::bundled(word).is_some() => {
                super::sandbox::fixture(word).map(|(label, text)| Text { label, text })
            }
            None => Err(unreadable(path, &error).context(format!("no fixture `{word}` for `--sandbox`"))),
        },
    }
}

/// The error of a fixture, or of a file that is read as one, at its line.
pub(super) fn broken(message: &str, text: &str, error: &FixtureError) -> Error {
    let line = u32::try_from(error.line).unwrap_or(0);
    let mut told = Error::usage(message).cause(error.message.clone());
    if line > 0 {
        told.places.push(Place {
            file: error.file.clone(),
            line,
            column: u32::try_from(error.column).ok().filter(|column| *column > 0),
            length: None,
            source: text.lines().nth(line as usize - 1).map(str::to_owned),
            function: None,
        });
    }
    told
}
