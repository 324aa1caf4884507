//! A cluster with the disk of a run on it, and what processes did there.

use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::SignedDuration;
use lockgate_sim::faults::{Act, Action, Deed, FaultsDocument, Happening, Match, Rule, Side};
use lockgate_sim::ledger::Effect;
use lockgate_sim::model::Span as SimSpan;
use lockgate_sim::request::Request as SimRequest;

use super::disk::{Disk, Kill};
use super::point::{Does, Moment, Point, Watch, points, writes};
use crate::cluster::{Cancel, Simulation};
use crate::run::journal::Fact;
use crate::run::journal::entry::Header;

/// Who else writes in tests.
pub const SOMEBODY: &str = "somebody-else";

/// So many changes of the cluster are kept, so that each effect can be told in full.
const HISTORY: usize = 1 << 20;

/// Whether the run did it: not what its lock needs, nor what somebody else did, nor an event.
#[must_use]
pub fn is_ours(effect: &Effect) -> bool {
    !["lease/", "event/"].iter().any(|kind| effect.subject.starts_with(kind)) && effect.by != SOMEBODY
}

/// How many effects of runs there were in this simulation.
pub(super) fn count(simulation: &Simulation) -> usize {
    simulation.with(|sim| sim.ledger().iter().filter(|effect| is_ours(effect)).count())
}

/// A cluster and the disk of a run on it. What processes did is kept across forks.
#[derive(Debug)]
pub struct World {
    /// The cluster.
    pub simulation: Simulation,
    /// The disk.
    pub disk: Rc<Disk>,
    /// The version of the store when the run began.
    pub begun: u64,
    /// How much had happened in the cluster then.
    pub happened: usize,
    /// How many effects there were before the run: what its scenario prepared.
    pub(super) earlier: usize,
    /// What was done before this was forked.
    former: Vec<Effect>,
    /// The request that was on the way to the server when its sender died.
    late: Arc<Mutex<Option<SimRequest>>>,
    /// Requests that arrive, or have arrived, when their senders are dead.
    pub stragglers: Vec<SimRequest>,
}

impl World {
    /// Before a run.
    #[must_use]
    pub fn of(simulation: Simulation, header: Option<Header>) -> World {
        let disk = Disk::default();
        if let Some(header) = header {
            disk.note(simulation.now(), &Fact::Header(Box::new(header)), 0);
        }
        let (begun, happened) = simulation.with(|sim| {
            sim.set_history_limit(HISTORY);
            (sim.store().rv(), sim.event_log().len())
        });
        let (earlier, disk) = (count(&simulation), Rc::new(disk));
        World { simulation, disk, begun, happened, earlier, former: Vec::new(), late: Arc::default(), stragglers: Vec::new() }
    }

    /// Another world with the same past, and no more faults.
    #[must_use]
    pub fn fork(&self) -> World {
        let mut sim = self.simulation.fork();
        let former = self.ledger();
        sim.clear_faults();
        let late = Arc::new(Mutex::new(self.late().clone()));
        let World { begun, happened, earlier, ref stragglers, .. } = *self;
        let disk = Rc::new(self.disk.copy());
        World { simulation: Simulation::new(sim), disk, begun, happened, earlier, former, late, stragglers: stragglers.clone() }
    }

    fn late(&self) -> std::sync::MutexGuard<'_, Option<SimRequest>> {
        self.late.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many effects there had been before this was forked.
    pub(super) fn former(&self) -> usize {
        self.former.len()
    }

    /// Every effect that the run had so far, behind those that there were before it.
    #[must_use]
    pub fn ledger(&self) -> Vec<Effect> {
        let own = self.simulation.with(|sim| sim.ledger().to_vec());
        self.former.iter().cloned().chain(own.into_iter().filter(is_ours)).collect()
    }

    /// How many requests that write a killed process made after its death. What another item of its batch was reading at that moment is no
    /// harm.
    #[must_use]
    pub fn written_since_death(&self) -> usize {
        let since = self.disk.death.asked();
        self.simulation.with(|sim| sim.faults().asked().skip(since).filter(|asked| writes(asked.verb, &asked.subresource)).count())
    }

    /// What was on its way to the server when its sender died arrives so many seconds later; false when nothing was.
    pub fn arrives(&mut self, seconds: i64) -> bool {
        let Some(request) = self.late().take() else { return false };
        self.stragglers.push(request.clone());
        let deed = Deed { delay: SimSpan::ZERO, act: Act::Late(Box::new(request)) };
        let at = SimSpan(SignedDuration::from_secs(seconds));
        let document = FaultsDocument { happenings: vec![Happening { at, deed }], ..FaultsDocument::default() };
        self.simulation.with(|sim| sim.disturb(document));
        true
    }

    /// From now on the next process is watched.
    pub fn watch(&self) {
        let asked = self.simulation.with(|sim| sim.faults().asked().len());
        *self.disk.watch.borrow_mut() = Some(Arc::new(Watch::new(self.former(), asked)));
    }

    /// The moments of the process that was watched.
    #[must_use]
    pub fn moments(&self) -> Vec<Moment> {
        self.disk.watch.borrow_mut().take().map(|watch| watch.take(&self.simulation)).unwrap_or_default()
    }

    /// The worlds that a killed process may leave, after a watched run in this one: each with all the points that lead to it.
    #[must_use]
    pub fn worlds(&self, moments: &[Moment]) -> Vec<(Vec<Point>, World)> {
        let seen: Vec<_> = moments.iter().map(|moment| moment.seen.clone()).collect();
        let mut found: std::collections::BTreeMap<_, Vec<Point>> = std::collections::BTreeMap::new();
        for point in points(&seen) {
            let Some(moment) = moments.get(point.moment) else { continue };
            // What nothing has happened between is one world.
            let of = if point.does == Does::Nothing { 0 } else { point.moment };
            found.entry((moment.state, of, point.does, point.kept)).or_default().push(point);
        }
        let mut worlds: Vec<(Vec<Point>, World)> = Vec::new();
        for points in found.into_values() {
            if let Some(world) = points.first().and_then(|first| self.at(moments, first)) {
                worlds.push((points, world));
            }
        }
        worlds.sort_by_key(|(points, _)| points.first().map(|first| (first.moment, first.kept)));
        worlds
    }

    /// The world of one point; none when there is no such moment.
    #[must_use]
    pub fn at(&self, moments: &[Moment], point: &Point) -> Option<World> {
        let moment = moments.get(point.moment)?;
        let entries = self.disk.entries.borrow().get(..point.kept)?.to_vec();
        let marks = self.disk.marks.borrow().get(..point.kept)?.to_vec();
        let former = self.ledger().get(..moment.effects)?.to_vec();
        let World { begun, happened, earlier, ref stragglers, .. } = *self;
        let mut world = World {
            simulation: Simulation::new(moment.sim.fork()),
            disk: Rc::new(Disk::with(entries, marks)),
            begun,
            happened,
            earlier,
            former,
            late: Arc::default(),
            stragglers: stragglers.clone(),
        };
        if let super::At::Asking { request, .. } = &moment.seen.at {
            match point.does {
                Does::Nothing => {}
                Does::CarriesOut => world.simulation.with(|sim| drop(sim.handle(request))),
                Does::Receives(seconds) => {
                    *world.late() = Some((**request).clone());
                    world.arrives(seconds);
                }
            }
        }
        Some(world)
    }

    /// Sees to it that a process dies over its request when it is told to, and only then.
    pub(super) fn arm(&self, kill: &Kill, cancel: &Cancel) {
        if let Kill::Asking(number, side) = *kill {
            let when = Match { nth: Some(number), ..Match::default() };
            self.simulation.with(|sim| sim.add_fault(Rule { when, action: Action::Hold(side) }));
        }
        let (death, cancel, late, kill) = (self.disk.death.clone(), cancel.clone(), self.late.clone(), self.dies_over(kill));
        self.simulation.on_hold(move |simulation, request, hold| match kill {
            Some(side) if !death.is_here() => {
                if side == Side::Before {
                    *late.lock().unwrap_or_else(PoisonError::into_inner) = Some(request.clone());
                }
                death.come(simulation, &cancel);
            }
            _ => drop(simulation.release(hold)),
        });
        match self.disk.watch.borrow().clone() {
            Some(watch) => self.simulation.on_request(move |simulation, request| watch.asks(simulation, request)),
            None => self.simulation.on_request(|_, _| {}),
        }
    }

    fn dies_over(&self, kill: &Kill) -> Option<Side> {
        match kill {
            Kill::Asking(_, side) => Some(*side),
            _ => None,
        }
    }
}
