//! One container: pulled, started, running, ready, crashed, started again.

use imbl::OrdMap;

use crate::json::{Text, Value};
use jiff::{SignedDuration, Timestamp};

use super::probes::{self, Change, Moment, Plan, Probe};
use crate::model::{DEFAULT_CRASH_AFTER, Models, Readiness};
use crate::view;

/// First delay after a failure; it doubles each time.
const FIRST_BACK_OFF: SignedDuration = SignedDuration::from_secs(10);
/// The longest delay after failures.
const LONGEST_BACK_OFF: SignedDuration = SignedDuration::from_secs(300);
/// A container that ran so long starts over with the first delay.
const GOOD_RUN: SignedDuration = SignedDuration::from_secs(600);
/// Exit code of a program that does not handle SIGTERM.
const STOPPED: i32 = 143;
/// Exit code of a program that had to be killed.
const KILLED: i32 = 137;
/// How long a refused pull takes.
const REFUSAL: SignedDuration = SignedDuration::from_secs(1);
/// How long `ErrImagePull` and the end of a container are shown before the back-off is.
pub(super) const SHOWN: SignedDuration = SignedDuration::from_secs(1);

/// The end of one run of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Exit {
    pub(super) started: Timestamp,
    pub(super) finished: Timestamp,
    pub(super) code: i32,
}

/// A run of a container with another image than the one that is to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Former {
    pub(super) image: Text,
    pub(super) exit: Exit,
}

/// What a container does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum State {
    /// Not begun.
    Waiting,
    /// Its image comes.
    Pulling { until: Timestamp },
    /// Its image did not come; next try at `retry`.
    PullFailed { since: Timestamp, retry: Timestamp },
    /// The image is there.
    Starting { until: Timestamp },
    /// It runs. `started` is what its startup probe says; `ends` is its planned end.
    Running { since: Timestamp, started: bool, ready: bool, ends: Option<(Timestamp, i32)> },
    /// It ended and is started again at `restart`.
    BackOff { exit: Exit, restart: Timestamp, delay: SignedDuration },
    /// It ended for good.
    Ended { exit: Exit },
}

/// A container with its history.
#[derive(Debug, Clone)]
pub(super) struct Container {
    pub(super) name: Text,
    pub(super) image: Text,
    pub(super) is_init: bool,
    is_sidecar: bool,
    /// `Never`, `OnFailure` or `Always` of the pod.
    policy: Text,
    pub(super) state: State,
    /// What its probes will find out while it runs.
    plan: Plan,
    /// Whether a probe has stopped it, or another image is to run.
    condemned: bool,
    /// What it was before its image was changed, until it is started with the new one.
    pub(super) former: Option<Former>,
    pub(super) restarts: u32,
    pub(super) last: Option<Exit>,
    /// Failed pulls in a row; the refusal stays visible until one succeeds.
    pub(super) failed_pulls: u32,
    /// Failures in a row.
    crashes: u32,
}

/// An event that a container causes.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) severity: &'static str,
    pub(super) reason: &'static str,
    pub(super) message: String,
    pub(super) part: String,
}

/// What containers see of the world, and where they report to.
pub(super) struct World<'a> {
    pub(super) now: Timestamp,
    pub(super) models: &'a Models,
    pub(super) images: &'a mut OrdMap<(Text, Text), Timestamp>,
    pub(super) pod: &'a Value,
    pub(super) owners: &'a [String],
    /// When the pod came to its node.
    pub(super) origin: Timestamp,
    pub(super) events: &'a mut Vec<Told>,
}

impl World<'_> {
    fn image_key(&self, image: &Text) -> (Text, Text) {
        (view::text(self.pod, &["spec", "nodeName"]).into(), image.clone())
    }
}

impl Container {
    /// The containers of a pod as its status says: init containers first.
    pub(super) fn all_of(pod: &Value) -> Vec<Self> {
        let of = |list: &str, statuses: &str, is_init: bool| -> Vec<Self> {
            let statuses = view::list(pod, &["status", statuses]);
            view::list(pod, &["spec", list]).iter().map(|spec| Self::of(pod, spec, statuses, is_init)).collect()
        };
        let mut all = of("initContainers", "initContainerStatuses", true);
        all.extend(of("containers", "containerStatuses", false));
        all
    }

    fn of(pod: &Value, spec: &Value, statuses: &[Value], is_init: bool) -> Self {
        let name = view::text(spec, &["name"]);
        let status = statuses.iter().find(|s| view::text(s, &["name"]) == name).unwrap_or(&Value::Null);
        let policy = view::text(pod, &["spec", "restartPolicy"]);
        // A status without container states (written by hand) counts as a whole.
        let runs = statuses.is_empty() && view::text(pod, &["status", "phase"]) == "Running";
        Self {
            name: name.into(),
            image: view::text(spec, &["image"]).into(),
            is_init,
            is_sidecar: is_init && view::text(spec, &["restartPolicy"]) == "Always",
            policy: if policy.is_empty() { "Always".into() } else { policy.into() },
            state: if runs { Self::assumed(pod, is_init) } else { known_state(status) },
            plan: Plan::new(),
            condemned: false,
            former: None,
            restarts: u32::try_from(view::count(status, &["restartCount"])).unwrap_or(0),
            last: view::at(status, &["lastState", "terminated"]).map(exit_of),
            failed_pulls: 0,
            crashes: 0,
        }
    }

    fn assumed(pod: &Value, is_init: bool) -> State {
        let since = view::time(pod, &["status", "startTime"]).unwrap_or(Timestamp::UNIX_EPOCH);
        if is_init {
            return State::Ended { exit: Exit { started: since, finished: since, code: 0 } };
        }
        State::Running { since, started: true, ready: view::condition_is_true(pod, "Ready"), ends: None }
    }

    /// Whether its image must be on the node.
    pub(super) fn has_run(&self) -> bool {
        matches!(self.state, State::Running { .. } | State::BackOff { .. } | State::Ended { .. })
            || self.last.is_some()
            || self.former.is_some()
    }

    /// Whether an init container lets the next ones start.
    pub(super) fn lets_others_start(&self) -> bool {
        match &self.state {
            State::Ended { exit } => exit.code == 0,
            State::Running { started, .. } => self.is_sidecar && *started,
            _ => false,
        }
    }

    /// Whether it ended well or, as one that keeps running, is ready.
    pub(super) fn is_ready(&self) -> bool {
        match &self.state {
            State::Running { ready, .. } => *ready,
            State::Ended { exit } => self.is_init && exit.code == 0,
            _ => false,
        }
    }

    /// Whether it runs and its startup probe has nothing to say.
    pub(super) fn is_started(&self) -> bool {
        matches!(self.state, State::Running { started: true, .. })
    }

    /// Whether an init container has done what it is there for.
    pub(super) fn is_initialized(&self) -> bool {
        !self.is_init || self.lets_others_start()
    }

    /// When it changes next by itself, after now. What is due earlier waits for another container to go on.
    pub(super) fn due(&self, now: Timestamp) -> Option<Timestamp> {
        let candidates = match &self.state {
            State::Waiting | State::Ended { .. } => [None, None],
            State::Pulling { until } | State::Starting { until } => [Some(*until), None],
            State::PullFailed { since, retry } => [Some(view::later(*since, SHOWN)), Some(*retry)],
            State::Running { ends, .. } => [self.plan.front().map(|(at, _)| *at), ends.map(|(at, _)| at)],
            State::BackOff { exit, restart, .. } => [Some(view::later(exit.finished, SHOWN)), Some(*restart)],
        };
        candidates.into_iter().flatten().filter(|at| *at > now).min()
    }

    /// The container as a part of its pod, in the words of the API.
    pub(super) fn part(&self) -> String {
        let list = if self.is_init { "initContainers" } else { "containers" };
        format!("spec.{list}{{{}}}", self.name)
    }

    fn tell(&self, world: &mut World<'_>, severity: &'static str, reason: &'static str, message: String) {
        world.events.push(Told { severity, reason, message, part: self.part() });
    }

    /// Does everything that is due.
    pub(super) fn advance(&mut self, world: &mut World<'_>) {
        while let Some(next) = self.next(world) {
            self.state = next;
        }
    }

    fn next(&mut self, world: &mut World<'_>) -> Option<State> {
        let now = world.now;
        if let Some(next) = self.renewed(world) {
            return Some(next);
        }
        match self.state.clone() {
            State::Waiting => Some(self.fetch(world)),
            State::PullFailed { retry, .. } if retry <= now => Some(self.fetch(world)),
            State::Pulling { until } if until <= now => Some(self.pulled(world)),
            State::Starting { until } if until <= now => Some(self.start(world)),
            State::Running { since, ends: Some((at, code)), .. } if at <= now => Some(self.exited(since, code, world)),
            State::Running { .. } => {
                let (_, change) = self.plan.pop_front_if(|(at, _)| *at <= now)?;
                Some(self.probed(change, world))
            }
            State::BackOff { exit, restart, .. } if restart <= now => {
                self.restarts += 1;
                self.last = Some(exit);
                Some(self.start(world))
            }
            _ => None,
        }
    }

    /// What follows when the pod names another image than before: what runs is stopped first, whatever the restart policy says, and what
    /// waits for the old image waits for it no longer (`computePodActions` of `pkg/kubelet/kuberuntime`). An init container that runs or
    /// is over stays as it is.
    fn renewed(&mut self, world: &mut World<'_>) -> Option<State> {
        let named = view::text(self.spec(world.pod), &["image"]);
        if named == self.image || named.is_empty() {
            return None;
        }
        let image = Text::from(named);
        match self.state.clone() {
            State::Running { since, started, ready, ends } if !self.is_init || self.is_sidecar => {
                let (at, code) = match ends.filter(|_| self.condemned) {
                    Some(end) => end,
                    None => self.condemn(format!("Container {} definition changed, will be restarted", self.name), None, world),
                };
                if at > world.now {
                    // It runs until it has stopped; then comes the new one.
                    let stopping = State::Running { since, started, ready, ends: Some((at, code)) };
                    return (self.state != stopping).then_some(stopping);
                }
                Some(self.succeeded(image, Exit { started: since, finished: at, code }, world))
            }
            State::BackOff { exit, .. } if !self.is_init || self.is_sidecar => Some(self.succeeded(image, exit, world)),
            State::Waiting => {
                self.image = image;
                None
            }
            State::Pulling { .. } | State::PullFailed { .. } | State::Starting { .. } => {
                self.image = image;
                self.failed_pulls = 0;
                Some(self.fetch(world))
            }
            State::Running { .. } | State::BackOff { .. } | State::Ended { .. } => None,
        }
    }

    /// The container begins anew with another image.
    fn succeeded(&mut self, image: Text, exit: Exit, world: &mut World<'_>) -> State {
        self.former = Some(Former { image: std::mem::replace(&mut self.image, image), exit });
        self.failed_pulls = 0;
        self.crashes = 0;
        self.fetch(world)
    }

    /// Looks for the image on the node, or pulls it. A pull that another pod started is waited for.
    fn fetch(&mut self, world: &mut World<'_>) -> State {
        let key = world.image_key(&self.image);
        if let Some(at) = world.images.get(&key).copied() {
            if at > world.now {
                return State::Pulling { until: at };
            }
            let text = format!("Container image \"{}\" already present on machine and can be accessed by the pod", self.image);
            self.tell(world, "Normal", "Pulled", text);
            return self.starting(world);
        }
        self.tell(world, "Normal", "Pulling", format!("Pulling image \"{}\"", self.image));
        if world.models.pull_fails(&self.image) {
            return State::Pulling { until: view::later(world.now, REFUSAL) };
        }
        let until = view::later(world.now, world.models.pull_time(&self.image));
        world.images.insert(key, until);
        State::Pulling { until }
    }

    fn pulled(&mut self, world: &mut World<'_>) -> State {
        let key = world.image_key(&self.image);
        if world.images.contains_key(&key) {
            let text = format!("Successfully pulled image \"{}\" in {}", self.image, took(world.models.pull_time(&self.image)));
            self.tell(world, "Normal", "Pulled", text);
            return self.starting(world);
        }
        if !world.models.pull_fails(&self.image) {
            // The model was repaired while the refusal was on its way.
            return self.fetch(world);
        }
        let delay = back_off(self.failed_pulls);
        self.failed_pulls += 1;
        let text = format!("Failed to pull image \"{}\": {}", self.image, refusal(&self.image));
        self.tell(world, "Warning", "Failed", text);
        self.tell(world, "Warning", "Failed", "Error: ErrImagePull".to_owned());
        self.tell(world, "Normal", "BackOff", format!("Back-off pulling image \"{}\"", self.image));
        self.tell(world, "Warning", "Failed", "Error: ImagePullBackOff".to_owned());
        State::PullFailed { since: world.now, retry: view::later(world.now, delay) }
    }

    fn starting(&mut self, world: &World<'_>) -> State {
        self.failed_pulls = 0;
        // An init container's time goes by while it runs.
        let wait = if self.is_init { SignedDuration::ZERO } else { world.models.start_time(&self.image) };
        State::Starting { until: view::later(world.now, wait) }
    }

    fn start(&mut self, world: &mut World<'_>) -> State {
        let now = world.now;
        self.tell(world, "Normal", "Created", "Container created".to_owned());
        self.tell(world, "Normal", "Started", "Container started".to_owned());
        self.plan.clear();
        self.condemned = false;
        if let Some(former) = self.former.take() {
            self.restarts += 1;
            self.last = Some(former.exit);
        }
        if self.is_init && !self.is_sidecar {
            let ends = self.crash(world).or_else(|| Some((view::later(now, world.models.start_time(&self.image)), 0)));
            return State::Running { since: now, started: true, ready: false, ends };
        }
        let run = if self.is_sidecar { None } else { world.models.run_time(&self.image, world.pod, world.owners) };
        let ends = self.crash(world).or_else(|| run.map(|run| (view::later(now, run), 0)));
        let life = world.models.life(&self.image, world.pod, world.owners, self.restarts);
        let moment = Moment { origin: world.origin, since: now, now, started: false, ready: None };
        self.plan = probes::plan(self.spec(world.pod), &life, moment);
        State::Running { since: now, started: false, ready: false, ends }
    }

    /// When a run that was just begun crashes, and with which code.
    fn crash(&self, world: &World<'_>) -> Option<(Timestamp, i32)> {
        let crash = world.models.crash(&self.image, world.pod, world.owners)?;
        let after = crash.after.map_or(DEFAULT_CRASH_AFTER, |span| span.0);
        let crashes = crash.times.is_none_or(|times| self.restarts < times);
        crashes.then(|| (view::later(world.now, after), crash.exit_code.unwrap_or(1)))
    }

    /// The container in the spec of its pod.
    fn spec<'a>(&self, pod: &'a Value) -> &'a Value {
        let list = if self.is_init { "initContainers" } else { "containers" };
        view::list(pod, &["spec", list]).iter().find(|spec| view::text(spec, &["name"]) == self.name).unwrap_or(&Value::Null)
    }

    /// When it gets ready, as the models say, counted from its start; `None` when it does not run or never does.
    pub(super) fn gets_ready(&self, models: &Models, pod: &Value, owners: &[String]) -> Option<Timestamp> {
        let State::Running { since, .. } = self.state else { return None };
        match models.life(&self.image, pod, owners, self.restarts).ready {
            Readiness::After(span) => Some(view::later(since, span)),
            Readiness::Never => None,
        }
    }

    /// Lays down what the probes find out of a container that was read while it was starting.
    pub(super) fn start_on(&mut self, world: &World<'_>) {
        let State::Running { since, started, ready: false, .. } = self.state else { return };
        if !self.is_init {
            let life = world.models.life(&self.image, world.pod, world.owners, self.restarts);
            let moment = Moment { origin: world.origin, since, now: world.now, started, ready: None };
            self.plan = probes::plan(self.spec(world.pod), &life, moment);
        }
    }

    /// Lays down anew what the probes of a running container find out, because the models say something else now.
    pub(super) fn plan_anew(&mut self, world: &World<'_>) {
        let State::Running { since, started, ready, .. } = self.state else { return };
        if self.is_init && !self.is_sidecar || self.condemned {
            return;
        }
        let life = world.models.life(&self.image, world.pod, world.owners, self.restarts);
        let to_come = self.plan.iter().find(|(_, change)| *change == Change::Ready).map(|(at, _)| *at);
        let known = started.then_some(if ready { Some(world.now) } else { to_come });
        let moment = Moment { origin: world.origin, since, now: world.now, started, ready: known };
        self.plan = probes::plan(self.spec(world.pod), &life, moment);
    }

    /// What a probe found out.
    fn probed(&mut self, change: Change, world: &mut World<'_>) -> State {
        let State::Running { since, mut started, mut ready, mut ends } = self.state.clone() else { return self.state.clone() };
        match change {
            Change::Started => started = true,
            Change::Ready => ready = true,
            Change::Unready => ready = false,
            Change::Failed(probe, mood) => {
                let output = probes::output(world.pod, self.spec(world.pod), probe, mood);
                self.tell(world, "Warning", "Unhealthy", format!("{probe:?} probe failed: {output}"));
            }
            Change::Kill(probe) => ends = Some(self.killed(probe, world)),
        }
        State::Running { since, started, ready, ends }
    }

    /// Stops a container that a probe has condemned: when it has ended, and with which code.
    fn killed(&mut self, probe: Probe, world: &mut World<'_>) -> (Timestamp, i32) {
        let again = if self.policy == "Never" && !self.is_sidecar { "" } else { ", will be restarted" };
        let kind = format!("{probe:?}").to_ascii_lowercase();
        let own = view::int(self.spec(world.pod), &[probe.field(), "terminationGracePeriodSeconds"]);
        self.condemn(format!("Container {} failed {kind} probe{again}", self.name), own, world)
    }

    /// Stops a container that runs, for this reason and with a grace period of its own, if it has one.
    fn condemn(&mut self, why: String, own: Option<i64>, world: &mut World<'_>) -> (Timestamp, i32) {
        self.plan.clear();
        self.condemned = true;
        self.tell(world, "Normal", "Killing", why);
        let grace = own.or_else(|| view::int(world.pod, &["spec", "terminationGracePeriodSeconds"])).unwrap_or(30);
        let (grace, stop) = (SignedDuration::from_secs(grace), world.models.stop_time(&self.image));
        // What does not end in time is killed.
        (view::later(world.now, stop.min(grace)), if stop > grace { KILLED } else { STOPPED })
    }

    /// Ends a container that runs because its pod is stopped.
    pub(super) fn stop(&mut self, now: Timestamp) {
        if let State::Running { since, .. } = self.state {
            self.state = State::Ended { exit: Exit { started: since, finished: now, code: STOPPED } };
        }
    }

    fn exited(&mut self, started: Timestamp, code: i32, world: &mut World<'_>) -> State {
        let exit = Exit { started, finished: world.now, code };
        let again = match self.policy.as_str() {
            _ if self.is_sidecar => true,
            "Never" => false,
            "OnFailure" => code != 0,
            _ => !self.is_init || code != 0,
        };
        if !again {
            return State::Ended { exit };
        }
        if view::since(world.now, started) >= GOOD_RUN {
            self.crashes = 0;
        }
        // The first restart comes at once, the back-off begins with the second.
        let delay = if self.crashes == 0 { SHOWN } else { back_off(self.crashes - 1) };
        if self.crashes > 0 {
            let (pod, uid) = (view::name(world.pod), view::uid(world.pod));
            let place = format!("{pod}_{}({uid})", view::namespace(world.pod));
            self.tell(world, "Warning", "BackOff", format!("Back-off restarting failed container {} in pod {place}", self.name));
        }
        self.crashes += 1;
        State::BackOff { exit, restart: view::later(world.now, delay), delay }
    }
}

/// 10 s doubled for each failure before, at most 300 s.
fn back_off(failures: u32) -> SignedDuration {
    2_i32
        .checked_pow(failures)
        .and_then(|factor| FIRST_BACK_OFF.checked_mul(factor))
        .map_or(LONGEST_BACK_OFF, |delay| delay.min(LONGEST_BACK_OFF))
}

/// What the container runtime says about an image that the registry does not have.
pub(super) fn refusal(image: &str) -> String {
    format!(
        "rpc error: code = NotFound desc = failed to pull and unpack image \"{image}\": failed to resolve reference \
         \"{image}\": {image}: not found"
    )
}

/// A duration as the kubelet prints it in the `Pulled` event.
fn took(span: SignedDuration) -> String {
    let ms = span.as_millis();
    if ms % 1000 == 0 { format!("{0}s ({0}s including waiting)", ms / 1000) } else { format!("{ms}ms ({ms}ms including waiting)") }
}

fn exit_of(terminated: &Value) -> Exit {
    let time = |field: &str| view::time(terminated, &[field]).unwrap_or(Timestamp::UNIX_EPOCH);
    let code = i32::try_from(view::count(terminated, &["exitCode"])).unwrap_or(1);
    Exit { started: time("startedAt"), finished: time("finishedAt"), code }
}

/// The state that a status shows. What runs without being ready stays so; what waits is begun anew.
fn known_state(status: &Value) -> State {
    if let Some(running) = view::at(status, &["state", "running"]) {
        let since = view::time(running, &["startedAt"]).unwrap_or(Timestamp::UNIX_EPOCH);
        let started = view::at(status, &["started"]).and_then(Value::as_bool).unwrap_or(true);
        return State::Running { since, started, ready: view::flag(status, &["ready"]), ends: None };
    }
    match view::at(status, &["state", "terminated"]) {
        Some(terminated) => State::Ended { exit: exit_of(terminated) },
        None => State::Waiting,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn back_offs_double_up_to_five_minutes() {
        let seconds: Vec<i64> = (0..7).map(|n| back_off(n).as_secs()).collect();
        assert_eq!(seconds, [10, 20, 40, 80, 160, 300, 300]);
        assert_eq!(back_off(100), LONGEST_BACK_OFF);
    }
}
