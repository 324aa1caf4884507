//! The machines behind nodes: what a command on one does, as entries of a `Model` document and a few well-known programs say.
//!
//! A machine is modelled when an entry under `machines` matches its node; a command that neither an entry nor a known program
//! answers is refused by name. Commands take virtual time. What they change takes effect on the way: packages and files on the
//! machine, versions and readiness of its Node, static pods and ConfigMaps of a kubeadm cluster.

mod effect;
mod files;
mod kubeadm;
mod model;
mod packages;
mod scene;
mod units;

#[cfg(test)]
mod tests;

use imbl::{OrdMap, OrdSet};
use jiff::Timestamp;

pub use self::model::{Activity, CommandModel, EffectModel, FileHolds, Holds, MachineModel};
pub use crate::model::ObjectChange;

use self::effect::Effect;
pub(crate) use self::kubeadm::image_of_component;
use self::model::Times;
use self::scene::{Answer, Scene};
use crate::engine::{Ctx, Engine, Work};
use crate::json::Value;
use crate::kinds;
use crate::model::Models;
use crate::status::Status;
use crate::store::{Key, Store};
use crate::view;

/// Something that is to be done on a machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// The node.
    pub node: String,
    /// Which operation it is: a second order of the same name does nothing.
    pub id: String,
    /// Whether it may only read: a command that changes something is refused.
    pub reads: bool,
    /// What.
    pub deed: Deed,
}

/// What is to be done on a machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Deed {
    /// A command.
    Run {
        /// Its words.
        argv: Vec<String>,
    },
    /// A file is written.
    Write {
        /// Its path.
        path: String,
        /// Its text.
        text: String,
        /// Its mode, such as 0o644; that of the file, or 0o644, when left out.
        mode: Option<u32>,
    },
}

/// Why an order is not carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// There is no such node.
    NoNode,
    /// No entry and no known program says what it does: the words say what is missing.
    Unmodelled(String),
    /// It was to read and would change something.
    Changes,
    /// The machine is not there now: it reboots until then.
    Away(Timestamp),
}

/// How far an order is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// Nothing is known of it.
    Unknown,
    /// It ends then.
    Running(Timestamp),
    /// It ended.
    Ended {
        /// The exit code.
        code: u8,
        /// Standard output.
        stdout: String,
        /// Standard error.
        stderr: String,
    },
    /// The machine went down while it ran.
    Killed,
}

/// One order as it was begun.
#[derive(Debug, Clone)]
struct Job {
    ends: Timestamp,
    answer: Answer,
    killed: bool,
}

/// A file.
#[derive(Debug, Clone, PartialEq, Eq)]
struct File {
    text: String,
    mode: u32,
}

/// A unit of systemd.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Unit {
    activity: Activity,
    enabled: bool,
}

/// One machine as it is now.
#[derive(Debug, Clone)]
pub(crate) struct Machine {
    os: Option<String>,
    packages: OrdMap<String, String>,
    held: OrdSet<String>,
    available: OrdMap<String, Vec<String>>,
    files: OrdMap<String, File>,
    units: OrdMap<String, Unit>,
    times: Times,
    /// Until when somebody else holds the lock of the package tool; unknown until it is asked for.
    locked_until: Option<Timestamp>,
    boots: u32,
    boot_id: String,
    away: Option<Timestamp>,
    jobs: OrdMap<String, Job>,
    /// What is still to happen, by time, in the order in which it was set.
    pending: OrdMap<(Timestamp, u64), Effect>,
    sequence: u64,
}

/// All machines that somebody looked at.
#[derive(Debug, Clone, Default)]
pub(crate) struct Machines {
    known: OrdMap<String, Machine>,
    /// Until when no API server is there.
    no_api_until: Option<Timestamp>,
}

impl Machines {
    /// Whether the kubelet of a node works, as far as its machine says.
    pub(crate) fn kubelet_runs(&self, node: &str) -> bool {
        self.known.get(node).is_none_or(|machine| machine.away.is_none() && machine.activity("kubelet") == Some(Activity::Active))
    }

    /// Whether the only API server is being replaced.
    pub(crate) fn no_api(&self, now: Timestamp) -> bool {
        self.no_api_until.is_some_and(|until| now < until)
    }
}

impl Machine {
    /// The machine of a node, as the entries about it say; `None` when there are none.
    fn of(models: &Models, node: &Value) -> Option<Machine> {
        let entries: Vec<&MachineModel> = models.machines(view::name(node)).collect();
        if entries.is_empty() {
            return None;
        }
        let mut machine = Machine {
            os: None,
            packages: OrdMap::new(),
            held: OrdSet::new(),
            available: OrdMap::new(),
            files: OrdMap::new(),
            units: OrdMap::from(vec![("kubelet".to_owned(), Unit { activity: Activity::Active, enabled: true })]),
            times: Times::of(&entries),
            locked_until: None,
            boots: 0,
            boot_id: view::text(node, &["status", "nodeInfo", "bootID"]).to_owned(),
            away: None,
            jobs: OrdMap::new(),
            pending: OrdMap::new(),
            sequence: 0,
        };
        if machine.boot_id.is_empty() {
            machine.boot_id = boot_id(view::name(node), 0);
        }
        if kubeadm::is_control_plane(node) {
            let config = File { text: "apiVersion: v1\nkind: Config\n".to_owned(), mode: 0o600 };
            machine.files.insert(kubeadm::ADMIN.to_owned(), config);
        }
        for entry in entries {
            machine.os = entry.os.clone().or(machine.os);
            machine.packages.extend(entry.packages.clone());
            machine.held.extend(entry.held.clone());
            machine.available.extend(entry.available.clone());
            machine.files.extend(entry.files.iter().map(|(path, text)| (path.clone(), File { text: text.clone(), mode: 0o644 })));
            let unit = |activity: Activity| Unit { activity, enabled: activity == Activity::Active };
            machine.units.extend(entry.units.iter().map(|(name, activity)| (units::plain(name).to_owned(), unit(*activity))));
        }
        Some(machine)
    }

    fn activity(&self, unit: &str) -> Option<Activity> {
        self.units.get(unit).map(|unit| unit.activity)
    }

    fn expect(&mut self, at: Timestamp, effect: Effect) {
        self.sequence += 1;
        self.pending.insert((at, self.sequence), effect);
    }
}

/// A boot id that depends on nothing but the node and how often it booted.
fn boot_id(node: &str, boots: u32) -> String {
    let seed = node.bytes().fold(u64::from(boots) + 1, |sum, byte| sum.wrapping_mul(0x0100_0000_01b3) ^ u64::from(byte));
    crate::rng::Rng::new(seed).uuid().to_string()
}

fn node_key(name: &str) -> Key {
    Key::new(kinds::NODE, "", name)
}

impl Engine {
    /// Begins an order; tells when it ends.
    pub(crate) fn order(&mut self, store: &mut Store, order: &Order) -> Result<Timestamp, Refusal> {
        if self.models.machines(&order.node).next().is_none() {
            let what = format!("the machine of node {}: no `machines` entry of a Model document is about it", order.node);
            return Err(Refusal::Unmodelled(what));
        }
        let node = store.get(&node_key(&order.node)).cloned().ok_or(Refusal::NoNode)?;
        let now = self.now();
        let known = self.machines.known.get(&order.node).cloned();
        let Some(mut machine) = known.or_else(|| Machine::of(&self.models, &node)) else { return Err(Refusal::NoNode) };
        if let Some(until) = machine.away {
            return Err(Refusal::Away(until));
        }
        if let Some(job) = machine.jobs.get(&order.id) {
            return Ok(job.ends);
        }
        let answer = Scene { machine: &machine, node: &node, store, models: &self.models, now }.answer(&order.deed)?;
        if order.reads && !answer.effects.is_empty() {
            return Err(Refusal::Changes);
        }
        let ends = view::later(now, answer.takes);
        for (after, effect) in &answer.effects {
            machine.expect(view::later(now, *after), effect.clone());
        }
        machine.jobs.insert(order.id.clone(), Job { ends, answer, killed: false });
        self.note(&format!("MACHINE {} {}", order.node, told(&order.deed)));
        self.machines.known.insert(order.node.clone(), machine);
        self.enqueue(Work::Machine(node_key(&order.node)));
        Ok(ends)
    }

    /// How far an order is.
    pub(crate) fn ordered(&self, node: &str, id: &str) -> Result<Progress, Refusal> {
        let Some(machine) = self.machines.known.get(node) else { return Ok(Progress::Unknown) };
        if let Some(until) = machine.away {
            return Err(Refusal::Away(until));
        }
        Ok(match machine.jobs.get(id) {
            None => Progress::Unknown,
            Some(job) if job.killed => Progress::Killed,
            Some(job) if job.ends > self.now() => Progress::Running(job.ends),
            Some(job) => {
                let Answer { code, stdout, stderr, .. } = job.answer.clone();
                Progress::Ended { code, stdout, stderr }
            }
        })
    }
}

fn told(deed: &Deed) -> String {
    match deed {
        Deed::Run { argv } => argv.join(" "),
        Deed::Write { path, .. } => format!("write {path}"),
    }
}

/// Lets happen on a machine what is due.
pub(crate) fn sync(ctx: &mut Ctx<'_>, key: &Key) -> Result<(), Status> {
    let now = ctx.now();
    loop {
        let Some(machine) = ctx.engine.machines.known.get_mut(key.name.as_str()) else { return Ok(()) };
        let Some((first, _)) = machine.pending.get_min().cloned() else { return Ok(()) };
        if first.0 > now {
            ctx.engine.wake_at(Work::Machine(key.clone()), first.0);
            return Ok(());
        }
        let Some(effect) = machine.pending.remove(&first) else { return Ok(()) };
        effect::apply(ctx, key, effect)?;
    }
}
