//! Models as `Stage` documents of KWOK: real API servers and controllers then play with pods that take as long as here.
//!
//! One stage brings a pod from its node to ready, so its containers are all waited for at once. What a stage cannot say is named at
//! the head of the document: images that are on a node already are pulled again, and probes, crashes, back-offs, commands, logs, stopped
//! kubelets, machines and operators are left out.

use std::fmt::Write as _;

use jiff::SignedDuration;

use crate::fixture::Fixture;
use crate::model::{
    DEFAULT_PULL, DEFAULT_READY, DEFAULT_RUN, DEFAULT_START, DEFAULT_STOP, ImageModel, ModelDocument, PodMatch, PodModel, Readiness,
    Running,
};

/// The stages, with the places of what models say in capitals.
const TEMPLATE: &str = include_str!("stages/stages.yaml");

impl Fixture {
    /// The models of the fixture as `Stage` documents for KWOK 0.8.
    #[must_use]
    pub fn stages(&self) -> String {
        let mut out = String::from("# Made by `lockgate sandbox --stages` from the Model documents of a fixture.\n");
        for left in left_out(self.models()) {
            let _ = writeln!(out, "# Not in here: {left}.");
        }
        let jq = Jq {
            images: self.models().flat_map(|model| &model.images).collect(),
            pods: self.models().flat_map(|model| &model.pods).collect(),
        };
        let quoted = |text: String| text.replace('\'', "''");
        let stages = [
            ("FATE", jq.fate()),
            ("TIME_TO_READY", jq.time_to_ready()),
            ("TIME_TO_RUN", jq.time_to_run()),
            ("RUN_TIME", jq.run_time()),
            ("STOP_TIME", jq.stop_time()),
            ("IS_STUCK", jq.is_stuck()),
        ];
        out + &stages.into_iter().fold(TEMPLATE.to_owned(), |text, (place, query)| text.replace(place, &quoted(query)))
    }
}

/// What the models say and no stage does.
fn left_out<'a>(models: impl Iterator<Item = &'a ModelDocument>) -> Vec<&'static str> {
    let mut left = vec!["images that a node has already are pulled once more"];
    let mut add = |is: bool, what: &'static str| {
        if is && !left.contains(&what) {
            left.push(what);
        }
    };
    for model in models {
        add(model.images.iter().any(|entry| entry.crash.is_some()) || model.pods.iter().any(|entry| entry.crash.is_some()), "crashes");
        let probed = |startup: bool, lapses: bool, hangs: bool| startup || lapses || hangs;
        let images = model.images.iter().any(|m| probed(m.startup.is_some(), m.lapses.is_some(), m.hangs.is_some()));
        let pods = model.pods.iter().any(|m| probed(m.startup.is_some(), m.lapses.is_some(), m.hangs.is_some()));
        add(images || pods, "probes: what has started late, falls silent, hangs");
        add(!model.nodes.is_empty(), "kubelets that are stopped");
        add(!model.exec.is_empty() || !model.logs.is_empty(), "commands and logs");
        add(!model.machines.is_empty(), "machines");
        add(!model.objects.is_empty() || !model.definitions.is_empty(), "objects whose operator is a model");
        add(!model.charts.is_empty(), "charts");
    }
    left
}

/// Entries as queries in jq, later ones first: they win.
struct Jq<'a> {
    images: Vec<&'a ImageModel>,
    pods: Vec<&'a PodModel>,
}

impl Jq<'_> {
    /// A value for each image, which is the input.
    fn of_image(&self, value: impl Fn(&ImageModel) -> Option<String>, default: &str) -> String {
        let rows = self.images.iter().rev().filter_map(|entry| Some((format!("test({})", pattern(&entry.pattern)), value(entry)?)));
        choice(rows, default)
    }

    /// A value for each pod, which is the input.
    fn of_pod(&self, value: impl Fn(&PodModel) -> Option<String>, default: &str) -> String {
        choice(self.pods.iter().rev().filter_map(|entry| Some((matches(&entry.pods), value(entry)?))), default)
    }

    fn pull(&self) -> String {
        self.of_image(|entry| entry.pull.map(|span| millis(span.0)), &millis(DEFAULT_PULL))
    }

    fn start(&self) -> String {
        self.of_image(|entry| entry.start.map(|span| millis(span.0)), &millis(DEFAULT_START))
    }

    /// Until a container is ready; null for never.
    fn ready(&self) -> String {
        let of_image = self.of_image(|entry| entry.ready.map(readiness), &millis(DEFAULT_READY));
        let of_pod = self.of_pod(|entry| entry.ready.map(readiness), "\"image\"");
        format!("def ready($pod): ($pod | {of_pod}) as $own | if $own == \"image\" then {of_image} else $own end; ")
    }

    /// Definitions that the others use.
    fn words(&self) -> String {
        let fails = self.of_image(|entry| entry.never_pulls.map(|never| never.to_string()), "false");
        format!(
            "def pull: {}; def start: {}; def fails: {fails}; {}def inits: [.spec.initContainers[]? | .image]; def images: [.spec.containers[] | .image]; \
             def before: [inits[] | pull + start] | add // 0; ",
            self.pull(),
            self.start(),
            self.ready(),
        )
    }

    /// `ready`, `runs` or `waits`: how far a pod gets.
    fn fate(&self) -> String {
        format!(
            "{}. as $pod | if [inits[], images[] | fails] | any then \"waits\" elif [images[] | ready($pod)] | any(. == null) then \"runs\" else \"ready\" end",
            self.words()
        )
    }

    fn time_to_ready(&self) -> String {
        let ready = "([images[] | pull + start + (ready($pod) // 0)] | max)";
        format!("{}. as $pod | (before + {ready} | tostring) + \"ms\"", self.words())
    }

    fn time_to_run(&self) -> String {
        format!("{}(before + ([images[] | pull + start] | max) | tostring) + \"ms\"", self.words())
    }

    /// How long the containers run before they end well; null for ever.
    fn run_time(&self) -> String {
        let of_image = self.of_image(|entry| entry.run.map(running), "\"job\"");
        let of_pod = self.of_pod(|entry| entry.run.map(running), "\"image\"");
        let job = format!("if [$pod.metadata.ownerReferences[]?.kind] | any(. == \"Job\") then {} else null end", millis(DEFAULT_RUN));
        format!(
            "def of_image: {of_image}; . as $pod | ({of_pod}) as $own | [.spec.containers[] | .image | if $own == \"image\" then of_image else $own end \
             | if . == \"job\" then {job} else . end] | if any(. == null) then empty else (max | tostring) + \"ms\" end"
        )
    }

    fn stop_time(&self) -> String {
        let stop = self.of_image(|entry| entry.stop.map(|span| millis(span.0)), &millis(DEFAULT_STOP));
        format!(
            "def stop: {stop}; ([[.spec.containers[] | .image | stop] | max, (.metadata.deletionGracePeriodSeconds // 30) * 1000] | min | tostring) + \"ms\""
        )
    }

    /// Something for a pod whose deletion never ends, nothing for others.
    fn is_stuck(&self) -> String {
        format!("if {} then \"stuck\" else empty end", self.of_pod(|entry| entry.stuck_terminating.map(|stuck| stuck.to_string()), "false"))
    }
}

fn choice(rows: impl Iterator<Item = (String, String)>, default: &str) -> String {
    let mut out = String::new();
    for (condition, value) in rows {
        let word = if out.is_empty() { "if" } else { " elif" };
        let _ = write!(out, "{word} {condition} then {value}");
    }
    if out.is_empty() { format!("({default})") } else { format!("({out} else {default} end)") }
}

fn millis(span: SignedDuration) -> String {
    span.as_millis().to_string()
}

fn readiness(ready: Readiness) -> String {
    match ready {
        Readiness::Never => "null".to_owned(),
        Readiness::After(span) => millis(span),
    }
}

fn running(run: Running) -> String {
    match run {
        Running::Forever => "null".to_owned(),
        Running::For(span) => millis(span),
    }
}

/// A pattern with `*` and `?` as a regular expression, in quotes.
fn pattern(glob: &str) -> String {
    let mut regex = String::from("^");
    for c in glob.chars() {
        match c {
            '*' => regex.push_str(".*"),
            '?' => regex.push('.'),
            // In a class of its own a character means itself.
            c if "\\^".contains(c) => {
                regex.push('\\');
                regex.push(c);
            }
            c if c.is_ascii_alphanumeric() || "-_/:@".contains(c) || !c.is_ascii() => regex.push(c),
            c => {
                let _ = write!(regex, "[{c}]");
            }
        }
    }
    regex.push('$');
    crate::json::Value::from(regex.as_str()).to_string()
}

/// Which pods are meant, as a condition on one.
fn matches(pods: &PodMatch) -> String {
    let text = |text: &str| crate::json::Value::from(text).to_string();
    let mut all = vec!["true".to_owned()];
    all.extend(pods.namespace.as_ref().map(|namespace| format!(".metadata.namespace == {}", text(namespace))));
    all.extend(pods.name.as_ref().map(|name| format!("(.metadata.name | test({}))", pattern(name))));
    all.extend(pods.node.as_ref().map(|node| format!(".spec.nodeName == {}", text(node))));
    all.extend(pods.labels.iter().map(|(key, value)| format!(".metadata.labels[{}] == {}", text(key), text(value))));
    all.extend(pods.owner.as_ref().map(|owner| owned_by(owner)));
    format!("({})", all.join(" and "))
}

/// Whether a pod belongs to an object; to a Deployment by the name of its ReplicaSet, and to a CronJob by that of its Job.
fn owned_by(owner: &str) -> String {
    let (kind, name) = owner.split_once('/').unwrap_or((owner, ""));
    let kind = kind.to_ascii_lowercase();
    let (direct, name) = match kind.as_str() {
        "deployment" => ("replicaset", format!("{name}-*")),
        "cronjob" => ("job", format!("{name}-*")),
        direct => (direct, name.to_owned()),
    };
    let direct = crate::json::Value::from(direct).to_string();
    format!("([.metadata.ownerReferences[]? | (.kind | ascii_downcase) == {direct} and (.name | test({}))] | any)", pattern(&name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_become_regular_expressions() {
        assert_eq!(pattern("*/web:v?.1"), r#""^.*/web:v.[.]1$""#);
        assert_eq!(pattern(r"a\b"), r#""^a\\\\b$""#);
    }

    #[test]
    fn every_place_is_filled_and_the_last_entry_wins() {
        let fixture = "apiVersion: lockgate.dev/v1\nkind: Model\nimages:\n- {match: '*', pull: 20s, why: x}\n- {match: '*:v2', pull: 3s, never_pulls: true, why: x}\n\
                       pods:\n- {match: {owner: deployment/web}, ready: never, why: x}\n";
        let stages = Fixture::parse("c.yaml", fixture).unwrap().stages();
        for place in ["FATE", "TIME_TO", "RUN_TIME", "STOP_TIME", "IS_STUCK"] {
            assert!(!stages.contains(place), "{place}");
        }
        assert!(stages.contains(r#"def pull: (if test("^.*:v2$") then 3000 elif test("^.*$") then 20000 else 8000 end);"#), "{stages}");
        assert!(stages.starts_with("# Made by `lockgate sandbox --stages`"));
        assert_eq!(stages.matches("kind: Stage").count(), 6);
    }
}
