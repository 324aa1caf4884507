//! What the probes of a container find out during one run of it, laid down when it starts (`pkg/kubelet/prober` of v1.36).
//!
//! Workers ask at their period from the moment that the pod is on its node; that for readiness begins anew when the container has
//! started. Nobody asks before `initialDelaySeconds`, and only the startup probe before the container has started. A model says how
//! the container answers: see [`Life`].

use std::collections::VecDeque;

use jiff::{SignedDuration, Timestamp};

use crate::json::Value;
use crate::model::{Life, Readiness};
use crate::view;

/// A kubelet lets so many events about one object through in a row (`tools/record/events_cache.go`); the few after that are left out.
const BURST: usize = 25;

/// Which probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Probe {
    Startup,
    Readiness,
    Liveness,
}

impl Probe {
    /// The field of a container that asks for it.
    pub(super) fn field(self) -> &'static str {
        match self {
            Self::Startup => "startupProbe",
            Self::Readiness => "readinessProbe",
            Self::Liveness => "livenessProbe",
        }
    }
}

/// What a probe changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Change {
    /// The container has started.
    Started,
    /// A probe failed, in this mood of the container.
    Failed(Probe, Mood),
    /// It is ready.
    Ready,
    /// It is not ready any more.
    Unready,
    /// A probe failed so often that the container is stopped.
    Kill(Probe),
}

/// Why a probe fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Mood {
    /// Nobody listens yet.
    Silent,
    /// It says that it is not well.
    Unwell,
    /// No answer comes in time.
    Hanging,
}

/// Changes to come, in their order.
pub(super) type Plan = VecDeque<(Timestamp, Change)>;

/// Where a run of a container stands.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    /// When the pod came to its node: probes are asked at whole periods after that.
    pub(super) origin: Timestamp,
    /// When the container was started.
    pub(super) since: Timestamp,
    /// The present; the container runs since then, or longer.
    pub(super) now: Timestamp,
    /// Whether it has started.
    pub(super) started: bool,
    /// Whether it is ready, or when it will be. `None` when the model is to say.
    pub(super) ready: Option<Option<Timestamp>>,
}

/// The numbers of one probe.
#[derive(Debug, Clone, Copy)]
struct Asked {
    /// The first instant at which it is asked.
    first: Timestamp,
    period: SignedDuration,
    failures: usize,
    successes: usize,
}

impl Asked {
    /// `origin` is where whole periods are counted from; `from` is the earliest instant.
    fn of(container: &Value, probe: Probe, origin: Timestamp, since: Timestamp, from: Timestamp) -> Option<Self> {
        let spec = container.get(probe.field())?;
        let at_least_1 = |field: &str, default: i64| view::int(spec, &[field]).unwrap_or(default).max(1);
        let period = SignedDuration::from_secs(at_least_1("periodSeconds", 10));
        let from = from.max(view::later_s(since, view::count(spec, &["initialDelaySeconds"])));
        let threshold = |field: &str, default: i64| usize::try_from(at_least_1(field, default)).unwrap_or(usize::MAX);
        Some(Self {
            first: whole(origin, period, from),
            period,
            failures: threshold("failureThreshold", 3),
            successes: threshold("successThreshold", 1),
        })
    }

    /// The instants at which it is asked, from `from` on.
    fn times(self, from: Timestamp) -> impl Iterator<Item = Timestamp> {
        let first = whole(self.first, self.period, from);
        std::iter::successors(Some(first), move |at| Some(view::later(*at, self.period)))
    }

    /// The instant of the first answer that makes `count` equal ones, counted from `from`.
    fn nth(self, from: Timestamp, count: usize) -> Timestamp {
        self.times(from).nth(count.saturating_sub(1)).unwrap_or(Timestamp::MAX)
    }
}

/// The first whole period after `origin` that is not before `from`.
fn whole(origin: Timestamp, period: SignedDuration, from: Timestamp) -> Timestamp {
    let passed = from.duration_since(origin).as_millis();
    let period_ms = period.as_millis().max(1);
    if passed <= 0 {
        return origin;
    }
    let periods = (passed + period_ms - 1) / period_ms;
    view::later(origin, SignedDuration::from_millis(i64::try_from(periods * period_ms).unwrap_or(i64::MAX)))
}

/// What will become of a run of a container.
pub(super) fn plan(container: &Value, life: &Life, moment: Moment) -> Plan {
    let mut changes = Vec::new();
    let started = if moment.started { Some(moment.since) } else { startup(container, life, moment, &mut changes) };
    if let Some(started) = started {
        let windows = windows(life, moment);
        let asked = Asked::of(container, Probe::Readiness, started, moment.since, moment.now.max(started));
        readiness(asked, life, moment, started, &windows, &mut changes);
        liveness(container, life, moment, started, &mut changes);
    }
    changes.sort();
    let end = changes.iter().position(|(_, change)| matches!(change, Change::Kill(_))).map_or(changes.len(), |kill| kill + 1);
    changes.truncate(end);
    changes.into()
}

/// When the container has started: at once without a startup probe; `None` when it is stopped before.
fn startup(container: &Value, life: &Life, moment: Moment, changes: &mut Vec<(Timestamp, Change)>) -> Option<Timestamp> {
    // The first question comes after the start: the worker sees the container in the status.
    let from = moment.now.max(view::later(moment.since, SignedDuration::from_millis(1)));
    let Some(asked) = Asked::of(container, Probe::Startup, moment.origin, moment.since, from) else {
        changes.push((moment.now, Change::Started));
        return Some(moment.now);
    };
    let answers = match life.startup {
        Readiness::Never => Timestamp::MAX,
        Readiness::After(span) => view::later(moment.since, span),
    };
    let last = asked.nth(asked.first, asked.failures);
    let good = whole(asked.first, asked.period, answers.min(last));
    let failed = asked.times(asked.first).take_while(|at| *at < answers && *at <= last);
    changes.extend(failed.take(BURST).map(|at| (at, Change::Failed(Probe::Startup, Mood::Silent))));
    if good < answers {
        changes.push((last, Change::Kill(Probe::Startup)));
        return None;
    }
    changes.push((good, Change::Started));
    Some(good)
}

/// The times in which the readiness probe fails, apart from each other and in their order.
fn windows(life: &Life, moment: Moment) -> Vec<(Timestamp, Timestamp, Mood)> {
    let mut all: Vec<(Timestamp, Timestamp, Mood)> = Vec::new();
    for lapse in &life.lapses {
        let begin = view::later(moment.now, lapse.after.0);
        let end = lapse.lasts.map_or(Timestamp::MAX, |lasts| view::later(begin, lasts.0));
        all.push((begin, end, Mood::Unwell));
    }
    all.extend(life.hangs.map(|hangs| (view::later(moment.now, hangs), Timestamp::MAX, Mood::Hanging)));
    all.sort();
    let mut apart: Vec<(Timestamp, Timestamp, Mood)> = Vec::new();
    for (begin, end, mood) in all {
        match apart.last_mut().filter(|last| begin <= last.1) {
            Some(last) => last.1 = last.1.max(end),
            None => apart.push((begin, end, mood)),
        }
    }
    apart
}

/// When the container is ready and when it is not.
fn readiness(
    asked: Option<Asked>,
    life: &Life,
    moment: Moment,
    started: Timestamp,
    windows: &[(Timestamp, Timestamp, Mood)],
    changes: &mut Vec<(Timestamp, Change)>,
) {
    let mut told = 0;
    let ready = match (moment.ready, life.ready) {
        (Some(ready), _) => ready,
        (None, Readiness::Never) => None,
        (None, Readiness::After(span)) => Some(view::later(started, span)),
    };
    let Some(asked) = asked else {
        changes.extend(ready.map(|at| (at, Change::Ready)));
        return;
    };
    // While it has not been ready yet.
    let until = ready.unwrap_or(Timestamp::MAX);
    let mut fail = |from: Timestamp, until: Timestamp, mood: Mood, changes: &mut Vec<(Timestamp, Change)>| {
        let times = asked.times(from).take_while(|at| *at < until).take(BURST.saturating_sub(told));
        let before = changes.len();
        changes.extend(times.map(|at| (at, Change::Failed(Probe::Readiness, mood))));
        told += changes.len() - before;
    };
    fail(asked.first, until, Mood::Silent, changes);
    let Some(mut ready) = ready else { return };
    if ready > moment.now || moment.ready.is_none() {
        changes.push((ready, Change::Ready));
    }
    for (begin, end, mood) in windows {
        let begin = (*begin).max(ready).max(asked.first);
        fail(begin, *end, *mood, changes);
        let unready = asked.nth(begin, asked.failures);
        if unready >= *end {
            continue;
        }
        changes.push((unready, Change::Unready));
        ready = asked.nth(*end, asked.successes);
        if *end < Timestamp::MAX {
            changes.push((ready, Change::Ready));
        }
    }
}

/// When the container is stopped because it hangs.
fn liveness(container: &Value, life: &Life, moment: Moment, started: Timestamp, changes: &mut Vec<(Timestamp, Change)>) {
    let Some(hangs) = life.hangs.map(|hangs| view::later(moment.now, hangs).max(started)) else { return };
    let Some(asked) = Asked::of(container, Probe::Liveness, moment.origin, moment.since, hangs) else { return };
    let last = asked.nth(asked.first, asked.failures);
    let failed = asked.times(asked.first).take_while(|at| *at <= last).take(BURST);
    changes.extend(failed.map(|at| (at, Change::Failed(Probe::Liveness, Mood::Hanging))));
    changes.push((last, Change::Kill(Probe::Liveness)));
}

/// What a failed probe says, by how it asks.
pub(super) fn output(pod: &Value, container: &Value, probe: Probe, mood: Mood) -> String {
    let Some(spec) = container.get(probe.field()) else { return String::new() };
    let seconds = view::int(spec, &["timeoutSeconds"]).unwrap_or(1);
    let address = |of: &Value, host: &str| {
        let host = if host.is_empty() { view::text(pod, &["status", "podIP"]) } else { host };
        format!("{host}:{}", port(container, of))
    };
    let refused = |address: &str| format!("dial tcp {address}: connect: connection refused");
    if let Some(get) = spec.get("httpGet") {
        let address = address(get, view::text(get, &["host"]));
        let scheme = view::text(get, &["scheme"]).to_ascii_lowercase();
        let url = format!("Get \"{scheme}://{address}{}\"", view::text(get, &["path"]));
        return match mood {
            Mood::Silent => format!("{url}: {}", refused(&address)),
            Mood::Unwell => "HTTP probe failed with statuscode: 503".to_owned(),
            Mood::Hanging => format!("{url}: context deadline exceeded (Client.Timeout exceeded while awaiting headers)"),
        };
    }
    if let Some(socket) = spec.get("tcpSocket") {
        let address = address(socket, view::text(socket, &["host"]));
        return if mood == Mood::Hanging { format!("dial tcp {address}: i/o timeout") } else { refused(&address) };
    }
    if let Some(grpc) = spec.get("grpc") {
        let address = address(grpc, "");
        return match mood {
            Mood::Silent => format!("timeout: failed to connect service \"{address}\" within {seconds}s: context deadline exceeded"),
            Mood::Unwell => "service unhealthy (responded with \"NOT_SERVING\")".to_owned(),
            Mood::Hanging => format!("timeout: health rpc did not complete within {seconds}s"),
        };
    }
    // A command: what it writes is not known.
    let words: Vec<&str> = view::list(spec, &["exec", "command"]).iter().filter_map(Value::as_str).collect();
    if mood == Mood::Hanging { format!("command timed out: \"{}\" timed out after {seconds}s", words.join(" ")) } else { String::new() }
}

/// The port that is asked; a name is one of the container's own.
fn port(container: &Value, of: &Value) -> String {
    let name = view::text(of, &["port"]);
    if name.is_empty() {
        return view::count(of, &["port"]).to_string();
    }
    let named = view::list(container, &["ports"]).iter().find(|port| view::text(port, &["name"]) == name);
    named.map_or_else(|| name.to_owned(), |port| view::count(port, &["containerPort"]).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::json;
    use crate::model::{Lapse, Span};

    const T0: Timestamp = Timestamp::UNIX_EPOCH;

    fn seconds(n: i64) -> SignedDuration {
        SignedDuration::from_secs(n)
    }

    fn at(n: i64) -> Timestamp {
        view::later_s(T0, n)
    }

    /// A container that runs 3 s after its pod came to the node.
    fn planned(container: &Value, life: &Life) -> Vec<(i64, Change)> {
        let moment = Moment { origin: T0, since: at(3), now: at(3), started: false, ready: None };
        plan(container, life, moment).into_iter().map(|(when, change)| (when.as_second(), change)).collect()
    }

    fn life() -> Life {
        Life { startup: Readiness::After(seconds(0)), ready: Readiness::After(seconds(2)), lapses: Vec::new(), hangs: None }
    }

    #[test]
    fn without_probes_only_readiness_changes() {
        let hung = Life { hangs: Some(seconds(9)), lapses: vec![Lapse { after: Span(seconds(5)), lasts: None }], ..life() };
        assert_eq!(planned(&json!({}), &hung), [(3, Change::Started), (5, Change::Ready)]);
        assert_eq!(planned(&json!({}), &Life { ready: Readiness::Never, ..life() }), [(3, Change::Started)]);
    }

    #[test]
    fn startup_is_seen_at_whole_periods_and_ends_after_so_many_failures() {
        let failed = Change::Failed(Probe::Startup, Mood::Silent);
        let container = json!({"startupProbe": {"periodSeconds": 5, "failureThreshold": 4, "initialDelaySeconds": 6}});
        // Asked at 10, 15, 20 and 25: not before 3 + 6.
        assert_eq!(planned(&container, &life()), [(10, Change::Started), (12, Change::Ready)]);
        let slow = |s| Life { startup: Readiness::After(seconds(s)), ..life() };
        assert_eq!(planned(&container, &slow(8)), [(10, failed), (15, Change::Started), (17, Change::Ready)]);
        assert_eq!(planned(&container, &slow(22)).last(), Some(&(27, Change::Ready)), "25 is the last question");
        let killed = [(10, failed), (15, failed), (20, failed), (25, failed), (25, Change::Kill(Probe::Startup))];
        assert_eq!(planned(&container, &slow(23)), killed);
        assert_eq!(planned(&container, &Life { startup: Readiness::Never, ..life() }), killed);
    }

    #[test]
    fn readiness_comes_and_goes_by_its_thresholds() {
        let container = json!({"readinessProbe": {"periodSeconds": 10, "failureThreshold": 2, "successThreshold": 2}});
        let lapse =
            |after, lasts| Life { lapses: vec![Lapse { after: Span(seconds(after)), lasts: Some(Span(seconds(lasts))) }], ..life() };
        let (silent, unwell) = (Change::Failed(Probe::Readiness, Mood::Silent), Change::Failed(Probe::Readiness, Mood::Unwell));
        // Asked at 3, 13, 23 and so on; unwell from 33 to 63.
        let begun = [(3, Change::Started), (3, silent), (5, Change::Ready)];
        let lapsed = [(33, unwell), (43, unwell), (43, Change::Unready), (53, unwell), (73, Change::Ready)];
        assert_eq!(planned(&container, &lapse(30, 30)), [&begun[..], &lapsed].concat());
        // One question in vain is not enough.
        assert_eq!(planned(&container, &lapse(35, 9)), [&begun[..], &[(43, unwell)]].concat());
        let never = planned(&container, &Life { ready: Readiness::Never, ..life() });
        assert_eq!(never.len(), 1 + BURST, "the start and no more events than a kubelet lets through");
    }

    #[test]
    fn a_hanging_container_is_stopped_by_its_liveness_probe() {
        let container = json!({"livenessProbe": {"periodSeconds": 10, "failureThreshold": 3}});
        let hung = Life { hangs: Some(seconds(20)), ..life() };
        let failed = Change::Failed(Probe::Liveness, Mood::Hanging);
        let want =
            [(3, Change::Started), (5, Change::Ready), (30, failed), (40, failed), (50, failed), (50, Change::Kill(Probe::Liveness))];
        assert_eq!(planned(&container, &hung)[..], want);
        assert_eq!(planned(&container, &life()), want[..2]);
    }

    #[test]
    fn what_a_probe_says_follows_from_how_it_asks() {
        let pod = json!({"status": {"podIP": "10.0.0.1"}});
        let says = |probe: Value, mood| {
            let container = json!({"ports": [{"name": "web", "containerPort": 80}], "livenessProbe": probe});
            output(&pod, &container, Probe::Liveness, mood)
        };
        let get = json!({"httpGet": {"path": "/x", "port": "web", "scheme": "HTTP"}});
        assert_eq!(says(get.clone(), Mood::Silent), "Get \"http://10.0.0.1:80/x\": dial tcp 10.0.0.1:80: connect: connection refused");
        assert_eq!(says(get, Mood::Unwell), "HTTP probe failed with statuscode: 503");
        assert_eq!(says(json!({"tcpSocket": {"port": 90}}), Mood::Hanging), "dial tcp 10.0.0.1:90: i/o timeout");
        assert_eq!(says(json!({"exec": {"command": ["a", "b"]}}), Mood::Hanging), "command timed out: \"a b\" timed out after 1s");
    }
}
