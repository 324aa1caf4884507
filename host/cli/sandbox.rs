//! `lockgate sandbox`: a simulated cluster behind a socket, for kubectl, helm and whatever else speaks to a cluster.

use std::fs::{File, OpenOptions};
use std::future::pending;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::SignedDuration;
use lockgate_sim::fixture::Fixture;
use lockgate_sim::generate::Size;
use lockgate_sim::{Cluster as Sim, Options as SimOptions};
use tokio::sync::mpsc;

use super::args::SandboxArgs;
use super::target::{self, FIXTURE};
use super::{Done, chaos, find, host, interrupt};
use crate::base::clock::wall;
use crate::base::{Error, Result};
use crate::cluster::serve::{Asked, Front, Speed};
use crate::cluster::{RunId, Simulation};
use crate::report::{Screen, json, sandbox as page};
use crate::run::Source;
use crate::run::source::unreadable;

/// The only context of the kubeconfig.
const NAME: &str = "sandbox";
/// What is served when nothing is named.
const DEFAULT: &str = include_str!("sandbox.yaml");

/// Serves a cluster until Ctrl-C.
///
/// # Errors
/// Input errors before anything is served: fixture, numbers, port, the file of `--record`. Afterwards what ended the service, or a
/// record that is not complete.
pub(super) fn sandbox(args: &SandboxArgs, screen: &Rc<Screen>) -> Done {
    if args.gaps {
        screen.data(&page::gaps());
        return Ok(0);
    }
    if args.stages {
        return stages(args.fixture.as_deref().unwrap_or_default(), screen);
    }
    let faults = args.chaos.as_deref().map(chaos::faults).transpose()?;
    let skew = faults.as_ref().and_then(|faults| faults.clock).map_or(SignedDuration::ZERO, |skew| skew.0);
    let (shape, mut sim, mut told) = cluster(args, skew)?;
    sim.furnish();
    if let Some(faults) = faults {
        told.extend(chaos::told(&faults));
        sim.disturb(faults);
    }
    told.iter().for_each(|line| screen.talk(line));
    let record = Arc::new(Record::new(args.record.as_deref())?);
    host::runtime()?.block_on(serve(args, &shape, sim, record, screen))
}

/// Prints the models of a fixture as stages.
fn stages(word: &str, screen: &Screen) -> Done {
    let (label, text) = fixture(word)?;
    let parsed = Fixture::parse(&label, &text);
    let parsed = parsed.map_err(|error| target::broken(&format!("the fixture `{label}` cannot be used"), &text, &error))?;
    screen.data(&parsed.stages());
    Ok(0)
}

async fn serve(args: &SandboxArgs, shape: &str, sim: Sim, record: Arc<Record>, screen: &Screen) -> Done {
    let end = interrupt::end()?;
    let front = Front::bind(args.port).await?;
    let kubeconfig = front.kubeconfig(NAME);
    let file = if args.print_kubeconfig { None } else { Some(Kubeconfig::write(&kubeconfig)?) };
    match &file {
        Some(file) => screen.data(&page::export(&file.0)),
        None => screen.data(&kubeconfig),
    }
    screen.talk(&page::begins(shape, &front.address(), args.speed, screen.talk_paint));
    let simulation = Simulation::new(sim);
    // What goes wrong is told by who serves, and printed here.
    let (witness, (happens, mut happened)) = (record.clone(), mpsc::unbounded_channel());
    let (deeds, in_vain) = (happens.clone(), simulation.clone());
    // Nobody reads any more when the service has ended.
    simulation.on_deed(move |at, deed| deeds.send(page::happened(at, deed)).unwrap_or_default());
    let served = front.serve(
        simulation,
        args.speed,
        Some(Box::new(move |asked| {
            if let Some(fault) = &asked.fault {
                happens.send(page::happened(asked.at, &format!("{}: {fault}", asked.act))).unwrap_or_default();
            }
            witness.note(&asked);
        })),
    );
    let tell = async {
        while let Some(line) = happened.recv().await {
            screen.talk(&line);
        }
        pending().await
    };
    let served = tokio::select! {
        served = served => served,
        () = tell => Ok(()),
        () = end => Ok(()),
    };
    drop(file);
    screen.talk(&page::ends(record.count.load(Ordering::Relaxed)));
    in_vain.with(|sim| {
        let unfired = sim.faults().unfired().map(|rule| format!("{rule}: met no request"));
        unfired.chain(sim.faults().misfires().iter().cloned()).for_each(|line| screen.talk(&page::in_vain(&line)));
    });
    served?;
    record.finish()?;
    Ok(0)
}

/// The cluster that the words mean, what it is called, and what is odd about its fixture. Its clock is so far ahead of the world's, where
/// time goes with that.
fn cluster(args: &SandboxArgs, skew: SignedDuration) -> Result<(String, Sim, Vec<String>)> {
    let mut options = SimOptions { seed: args.seed, ..SimOptions::default() };
    if args.speed != Speed::Instant {
        // Clients tell ages by their own clock; from event to event that one is soon left behind anyway.
        options.start = wall().saturating_add(skew).unwrap_or_else(|_| wall());
    }
    if let Some(nodes) = args.nodes {
        let size = Size { nodes, pods_per_node: args.pods_per_node };
        let sim = size.cluster(options).map_err(Error::usage)?;
        return Ok((format!("a generated cluster of {nodes} nodes with {} pods each", args.pods_per_node), sim, Vec::new()));
    }
    let Some(word) = &args.fixture else {
        return Ok(("a small cluster".to_owned(), target::simulated("sandbox.yaml", DEFAULT, options)?, Vec::new()));
    };
    let (label, text) = fixture(word)?;
    let sim = target::simulated(&label, &text, options)?;
    Ok((format!("the cluster of {label}"), sim, target::notes(&label, &text)))
}

/// The fixture that the word means, with its name: that of a bundled runbook, of a folder, beside a runbook's file, or a file.
///
/// # Errors
/// There is none, or it cannot be read.
pub(super) fn fixture(word: &str) -> Result<(String, String)> {
    if let Some(source) = Source::bundled(word) {
        return beside(&source, word);
    }
    let path = Path::new(word);
    if path.is_dir() {
        let file = path.join(FIXTURE);
        return if file.is_file() {
            read(&file.to_string_lossy())
        } else {
            Err(Error::usage(format!("the folder `{word}` holds no `{FIXTURE}`")).hint("name a fixture file"))
        };
    }
    if word.ends_with(".luau") || word.ends_with(".lua") {
        return beside(&find::runbook(word)?, word);
    }
    let is_path = word.contains('/') || word.ends_with(".yaml") || word.ends_with(".yml") || word.ends_with(".json");
    // A word that is no file is a runbook with a mistake in its name, and the error names the nearest.
    if path.exists() || is_path { read(word) } else { beside(&find::runbook(word)?, word) }
}

fn read(word: &str) -> Result<(String, String)> {
    let path = Path::new(word);
    let text = std::fs::read_to_string(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => Error::usage(format!("there is no fixture `{word}`")).cause("no such file"),
        _ => unreadable(path, &error),
    })?;
    Ok((word.to_owned(), text))
}

fn beside(source: &Source, word: &str) -> Result<(String, String)> {
    match source.beside.read(FIXTURE)? {
        Some(text) => Ok((source.beside.label(FIXTURE), text)),
        None => Err(Error::usage(format!("runbook `{word}` has no `{FIXTURE}`")).hint("name a fixture file")),
    }
}

/// The system's words without its number.
fn plain(error: &io::Error) -> String {
    error.to_string().split(" (os error").next().unwrap_or_default().to_lowercase()
}

/// The kubeconfig in a file that only its owner may read; gone with this value.
struct Kubeconfig(PathBuf);

impl Kubeconfig {
    fn write(text: &str) -> Result<Kubeconfig> {
        let path = std::env::temp_dir().join(format!("lockgate-{}.kubeconfig", RunId::generate()));
        let cannot = |error: io::Error| {
            Error::usage(format!("cannot write the kubeconfig `{}`", path.display()))
                .cause(plain(&error))
                .hint("set TMPDIR to a folder that can be written to, or print it with `--print-kubeconfig`")
        };
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).map_err(cannot)?;
        let kubeconfig = Kubeconfig(path.clone());
        file.write_all(text.as_bytes()).map_err(cannot)?;
        Ok(kubeconfig)
    }
}

impl Drop for Kubeconfig {
    fn drop(&mut self) {
        // Somebody else may have removed it.
        std::fs::remove_file(&self.0).ok();
    }
}

/// Counts the requests and writes down each, where that is wanted.
struct Record {
    count: AtomicU64,
    file: Option<Mutex<Written>>,
}

struct Written {
    path: PathBuf,
    file: File,
    /// Why the record is not complete.
    fault: Option<Error>,
}

impl Record {
    fn new(path: Option<&Path>) -> Result<Record> {
        let open = |path: &Path| {
            let file = File::create(path)
                .map_err(|error| Error::usage(format!("cannot write the record `{}`", path.display())).cause(plain(&error)))?;
            Ok::<_, Error>(Mutex::new(Written { path: path.to_owned(), file, fault: None }))
        };
        Ok(Record { count: AtomicU64::new(0), file: path.map(open).transpose()? })
    }

    fn written(&self) -> Option<MutexGuard<'_, Written>> {
        Some(self.file.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn note(&self, asked: &Asked) {
        self.count.fetch_add(1, Ordering::Relaxed);
        let Some(mut written) = self.written().filter(|written| written.fault.is_none()) else { return };
        // One write a line, so that a reader of the growing file never sees half of one.
        let line = json::line(json::REQUEST, asked).and_then(|line| {
            let write = written.file.write_all(format!("{line}\n").as_bytes());
            write.map_err(|error| Error::internal("writing the record").cause(error.to_string()))
        });
        written.fault = line.err();
    }

    /// # Errors
    /// When a line could not be written.
    fn finish(&self) -> Result<()> {
        let Some(mut written) = self.written() else { return Ok(()) };
        let path = written.path.display().to_string();
        let fault = written.fault.take();
        fault.map_or(Ok(()), |error| Err(error.context(format!("the record `{path}` is not complete"))))
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::args::{Cli, Command};

    /// How far the time of a cluster at this speed is from that of the machine, in seconds.
    fn off(speed: &str) -> i64 {
        let Command::Sandbox(args) = Cli::try_parse_from(["lockgate", "sandbox", "--speed", speed]).unwrap().command else {
            unreachable!()
        };
        cluster(&args, SignedDuration::ZERO).unwrap().1.now().duration_since(wall()).as_secs().abs()
    }

    #[test]
    fn ages_are_true_where_time_goes_as_in_the_world() {
        // What a cluster needs to come up is behind it.
        assert!(off("real") < 900 && off("x60") < 900, "{} {}", off("real"), off("x60"));
        assert!(off("instant") > 900);
    }
}
