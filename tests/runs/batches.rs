//! The items of a batch are done at the same time: faster, each with its own look at `state`, and no less safe for it.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use futures::future::LocalBoxFuture;
use lockgate::base::{Result, Span};
use lockgate::cli::test::kill::Deeds;
use lockgate::cluster::{Cancel, Cluster, Options, RunId};
use lockgate::lua::LuaHost;
use lockgate::primitives::AskOptions;
use lockgate::run::event::StepEnd;
use lockgate::run::journal::Fact;
use lockgate::run::journal::book::OnDrift;
use lockgate::run::{Confirmation, End, Event, Job, Operator, Params, Record, Script as _, Summary, Voice, What, perform};

use super::harness::{Disk, Kill, Scene, state};

/// Three workloads, each of which takes a while to roll out.
const FIXTURE: &str = r#"
apiVersion: v1
kind: Node
metadata: { name: n1 }
---
apiVersion: apps/v1
kind: Deployment
metadata: { name: a }
spec:
  replicas: 2
  selector: { matchLabels: { app: a } }
  template: { metadata: { labels: { app: a } }, spec: { containers: [{ name: app, image: "registry.example/app:v1" }] } }
---
apiVersion: apps/v1
kind: Deployment
metadata: { name: b }
spec:
  replicas: 2
  selector: { matchLabels: { app: b } }
  template: { metadata: { labels: { app: b } }, spec: { containers: [{ name: app, image: "registry.example/app:v1" }] } }
---
apiVersion: apps/v1
kind: Deployment
metadata: { name: c }
spec:
  replicas: 2
  selector: { matchLabels: { app: c } }
  template: { metadata: { labels: { app: c } }, spec: { containers: [{ name: app, image: "registry.example/app:v1" }] } }
---
apiVersion: lockgate.dev/v1
kind: Model
images: [{ match: "registry.example/app:v2", ready: 40s, why: it warms up }]
"#;

fn roll(batch: &str) -> Scene {
    let text = format!(
        r#"
runbook {{ title = "t", summary = "s", impact = "restarts" }}
step "roll" {{
  title = "Roll",
  each = {{ "a", "b", "c" }},
  batch = {batch},
  run = function(name)
    set_image("deployment/" .. name, {{ app = "registry.example/app:v2" }})
    state[name] = now()
    wait_rollout("deployment/" .. name)
  end,
  verify = function(name) ensure(ready("deployment/" .. name).status == "Current", "not ready") end,
}}
"#
    );
    Scene::new(&text, FIXTURE)
}

#[test]
fn items_of_a_batch_are_done_at_the_same_time() {
    let took = |batch: &str| {
        let (ended, world) = roll(batch).whole();
        let summary = ended.summary.unwrap();
        assert_eq!((summary.end, summary.writes), (End::Succeeded, 3), "{:?}", summary.error);
        (summary.took, world.disk)
    };
    let (one, alone) = took("{ serial = 1 }");
    let (three, together) = took("{ serial = 3 }");
    assert!(one >= Span::from_secs(3 * 80), "{one}");
    assert!(three < Span::from_secs(100) && three >= Span::from_secs(80), "as long as one of them: {three} against {one}");
    let batches = |disk: &Disk| disk.entries.borrow().iter().filter(|entry| matches!(entry.fact, Fact::Batch { .. })).count();
    assert_eq!((batches(&alone), batches(&together)), (0, 1));
    // Whoever speaks says for which item.
    let said = |disk: &Disk| -> Vec<Option<String>> {
        let entries = disk.entries.borrow();
        let items = entries.iter().filter_map(|entry| match &entry.fact {
            Fact::Told { item, event, .. } if matches!(**event, Event::Wrote { .. }) => Some(item.clone()),
            _ => None,
        });
        items.collect()
    };
    assert_eq!(said(&alone), [None, None, None]);
    let named = |name: &str| Some(format!("roll/{name}"));
    assert_eq!(said(&together), [named("a"), named("b"), named("c")]);
}

#[test]
fn the_same_run_goes_the_same_way() {
    let lines = || format!("{:?}", roll("{ serial = 3 }").whole().1.disk.entries.borrow());
    assert_eq!(lines(), lines());
}

/// Kills a run everywhere; goes on, and compares.
fn everywhere(scene: &Scene) -> usize {
    let whole = scene.world();
    whole.watch();
    let ended = scene.process(&whole, Kill::No, OnDrift::Stop);
    let summary = ended.summary.unwrap();
    assert_eq!(summary.end, End::Succeeded, "{:?}", summary.error);
    let moments = whole.moments();
    let made = Deeds::of(&whole).effective();
    let wanted = state(&ended.cluster);
    let mut killed = 0;
    for (points, world) in whole.worlds(&moments) {
        let what = || moments[points[0].moment].told(&points[0]);
        let second = scene.process(&world, Kill::No, OnDrift::Stop);
        let summary = second.summary.unwrap();
        assert_eq!(summary.end, End::Succeeded, "{}: {:?}\n{:#?}", what(), summary.error, world.disk.entries.borrow());
        assert_eq!(Deeds::of(&world).effective(), made, "{}\n{:#?}", what(), world.disk.entries.borrow());
        assert_eq!(state(&second.cluster), wanted, "{}", what());
        killed += points.len();
    }
    killed
}

#[test]
fn a_batch_is_killed_in_its_middle_and_goes_on() {
    let killed = everywhere(&roll("{ serial = 3 }"));
    assert!(killed > 20, "{killed}");
}

#[test]
fn groups_recoveries_and_state_survive_in_the_middle_of_a_batch() {
    let scene = Scene::new(
        r#"
runbook { title = "t", summary = "s", impact = "restarts" }
step "before" { title = "Before", run = function() state.old = "v1" state.count = 0 end }
group "apps" {
  title = "Every app",
  each = { "a", "b", "c" },
  batch = { ramp = { 1 }, serial = 2 },
  steps = {
    step "move" {
      title = function(name) return `Move {name}` end,
      gate = function(name) if name == "b" then return "Move b?" end end,
      run = function(name)
        ensure(state.old == "v1", "no state of the step before")
        state["moved-" .. name] = state.count
        state.old = if name == "c" then nil else state.old
        set_image("deployment/" .. name, { app = "registry.example/app:v2" })
      end,
      verify = function(name) wait_rollout("deployment/" .. name) end,
    },
    step "mark" {
      title = "Mark",
      run = function(name)
        -- What the item itself has left is there; what its neighbours do meanwhile is not.
        ensure(state["moved-" .. name] == 0, "its own state is lost")
        ensure(not (state["moved-b"] and state["moved-c"]), "it sees its neighbour")
        patch("deployment/" .. name, { metadata = { annotations = { marked = "yes" } } })
        if name == "b" then get("configmap/of-" .. name) end
        label("deployment/" .. name, { over = "yes" })
      end,
      recover = function(err, name)
        if err.reason ~= "not_found" then return false end
        create { apiVersion = "v1", kind = "ConfigMap", metadata = { name = "of-" .. name } }
        return "again"
      end,
    },
  },
}
step "after" {
  title = "After",
  run = function()
    ensure(state["moved-a"] == 0 and state["moved-b"] == 0 and state["moved-c"] == 0, "an item's state is lost")
    ensure(state.old == nil and state.count == 0, "what an item took away is there")
  end,
}
"#,
        FIXTURE,
    );
    let killed = everywhere(&scene);
    assert!(killed > 50, "{killed}");
}

/// Presses the switch when it is asked, or says no to what has this word.
struct At {
    word: &'static str,
    cancel: Option<Cancel>,
    open: Cell<u32>,
    most: Cell<u32>,
}

impl Operator for At {
    fn confirm<'a>(&'a self, question: &'a Confirmation) -> LocalBoxFuture<'a, Result<Option<bool>>> {
        Box::pin(async move {
            self.open.set(self.open.get() + 1);
            self.most.set(self.most.get().max(self.open.get()));
            tokio::task::yield_now().await;
            self.open.set(self.open.get() - 1);
            if let Some(cancel) = self.cancel.as_ref().filter(|_| question.question.contains(self.word)) {
                cancel.press();
            }
            Ok(Some(!question.question.contains(self.word)))
        })
    }

    fn ask<'a>(&'a self, _: &'a Confirmation, _: &'a AskOptions) -> LocalBoxFuture<'a, Result<Option<String>>> {
        Box::pin(async { Ok(None) })
    }
}

/// Runs without a journal; gives the end, what was told, and how many questions were open at once.
fn run(scene: &Scene, word: &'static str, presses: bool) -> (Summary, Vec<Record>, u32) {
    let cluster = Cluster::beside(&scene.cluster(), Options::new(RunId::simulated(scene.sim.now(), 1)));
    let runtime = Rc::new(tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap());
    let mut script = LuaHost::new(scene.source.clone(), Some(runtime)).unwrap();
    let runbook = Rc::new(script.load().unwrap());
    let records: Rc<RefCell<Vec<Record>>> = Rc::default();
    let cancel = presses.then(|| cluster.cancel().clone());
    let operator = Rc::new(At { word, cancel, open: Cell::default(), most: Cell::default() });
    let voice = Voice::Person { operator: operator.clone(), consented: Vec::new() };
    let params = Rc::new(Params::new());
    let summary = perform(&mut script, Job { what: What::Run, cluster, runbook, params, voice, sink: records.clone(), record: None });
    (summary, records.take(), operator.most.get())
}

const QUESTIONS: &str = r#"
runbook { title = "t", summary = "s", impact = "restarts" }
step "roll" {
  title = "Roll",
  each = { "a", "b", "c" },
  batch = { serial = 2, max_failures = MOST },
  run = function(name)
    confirm("Touch " .. name .. "?")
    set_image("deployment/" .. name, { app = "registry.example/app:v2" })
    wait_rollout("deployment/" .. name)
    ensure(name ~= "a", "a fails after its rollout")
  end,
}
"#;

fn ends(records: &[Record]) -> Vec<(String, bool)> {
    let ends = records.iter().filter_map(|record| match &record.event {
        Event::StepFinished { step, end, .. } => Some((step.id.clone(), matches!(end, StepEnd::Done { .. }))),
        _ => None,
    });
    let mut ends: Vec<(String, bool)> = ends.collect();
    ends.sort();
    ends
}

fn said(names: &[(&str, bool)]) -> Vec<(String, bool)> {
    names.iter().map(|(name, done)| (format!("roll/{name}"), *done)).collect()
}

#[test]
fn what_has_begun_is_done_to_its_end_and_nothing_more_begins() {
    let scene = Scene::new(&QUESTIONS.replace("MOST", "0"), FIXTURE);
    let (summary, records, asked) = run(&scene, "nothing", false);
    assert_eq!(asked, 1, "one question at a time");
    assert_eq!((summary.end, summary.writes), (End::Failed, 2));
    assert_eq!(summary.error.unwrap().message, "step `roll/a`: a fails after its rollout");
    assert_eq!(ends(&records), said(&[("a", false), ("b", true)]), "c was not begun");
    let scene = Scene::new(&QUESTIONS.replace("MOST", "1"), FIXTURE);
    let (summary, records, _) = run(&scene, "nothing", false);
    assert_eq!((summary.end, summary.writes), (End::Failed, 3));
    assert!(summary.error.unwrap().message.contains("within its `max_failures`"));
    assert_eq!(ends(&records), said(&[("a", false), ("b", true), ("c", true)]));
}

#[test]
fn a_question_that_is_declined_parks_the_run_when_its_neighbours_are_done() {
    let scene = Scene::new(&QUESTIONS.replace("MOST", "3"), FIXTURE);
    let (summary, records, _) = run(&scene, "Touch a", false);
    assert_eq!((summary.end, summary.exit_code), (End::Parked, 4), "{:?}", summary.error);
    assert_eq!(ends(&records), said(&[("a", false), ("b", true)]));
}

#[test]
fn ctrl_c_stops_every_item() {
    let scene = Scene::new(&QUESTIONS.replace("MOST", "3"), FIXTURE);
    let (summary, records, _) = run(&scene, "Touch b", true);
    assert_eq!((summary.end, summary.exit_code), (End::Interrupted, 4), "{:?}", summary.error);
    assert_eq!(ends(&records), said(&[("a", false), ("b", false)]), "{records:#?}");
}

#[test]
fn functions_that_verbs_call_work_in_every_item() {
    let scene = Scene::new(
        r#"
runbook { title = "t", summary = "s", impact = "restarts" }
step "wait" {
  title = "Wait",
  each = { "a", "b" },
  batch = { serial = 2 },
  run = function(name)
    set_image("deployment/" .. name, { app = "registry.example/app:v2" })
    local other = if name == "a" then "b" else "a"
    wait_for("deployment/" .. name, function(object)
      -- A verb inside of a function that a verb asks.
      local there = get("deployment/" .. other)
      return object.status.updatedReplicas == 2 and at(there, { "status", "updatedReplicas" }) == 2, "not both"
    end)
    local ok, err = pcall(get, "configmap/none")
    ensure(not ok and err.reason == "not_found", "an error of a verb is an error of the script")
  end,
}
"#,
        FIXTURE,
    );
    let (summary, _, _) = run(&scene, "nothing", false);
    assert_eq!((summary.end, summary.writes), (End::Succeeded, 2), "{:?}", summary.error);
}
