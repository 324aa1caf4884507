//! What an operator that nobody plays would write: never read in silence after a plan has changed what it works on.

use super::served::Served;
use super::support::{CLUSTER, HEAD, Host};

/// A custom resource whose operator is elsewhere, and one that is at rest.
const GADGETS: &str = r"---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: { name: gadgets.example.org }
spec:
  group: example.org
  scope: Namespaced
  names: { plural: gadgets, singular: gadget, kind: Gadget, listKind: GadgetList }
  versions:
  - name: v1
    served: true
    storage: true
    subresources: { status: {} }
    schema: { openAPIV3Schema: { type: object, x-kubernetes-preserve-unknown-fields: true } }
---
apiVersion: example.org/v1
kind: Gadget
metadata: { name: one, namespace: shop }
spec: { size: 1 }
status: { phase: Fine, parts: [a, b], conditions: [{ type: Ready, status: 'True' }] }
";
const MODEL: &str = "---\napiVersion: lockgate.dev/v1\nkind: Model\nobjects:\n- kind: Gadget.example.org\n  after: 30s\n  \
                     status: { phase: Moved }\n  why: a test\n";
const ALL: &str = "permissions { { verbs = { \"*\" }, kinds = { \"*\" } } }\n";
const CHANGE: &str = "patch(\"gadget/one\", { spec = { size = 2 } })\n";

fn host(body: &str, more: &str) -> Host {
    let text = format!(
        "{HEAD}{ALL}step \"s\" {{ title = \"S\", run = function()\n{body}\nend }}\nstep \"t\" {{ title = \"T\", run = function() note(\"later\") end }}\n"
    );
    Host::with_runbook(&text).file("r/cluster.yaml", &format!("{CLUSTER}{GADGETS}{more}"))
}

const SAYS: &str = "/one` is not known: the plan has changed the object, and nobody plays its operator here";

#[test]
fn each_way_of_reading_it_says_so_and_the_plan_is_unknown_from_there() {
    let ways = [
        "note(get(\"gadget/one\").status.phase)",
        "note(list(\"gadgets\")[1].status.phase)",
        "note(`{#get(\"gadget/one\").status}`)",
        "for key in pairs(get(\"gadget/one\").status) do note(key) end",
        "for key in get(\"gadget/one\").status do note(key) end",
        "for key in ipairs(get(\"gadget/one\").status) do note(key) end",
        "note(next(get(\"gadget/one\").status))",
        "note(rawget(get(\"gadget/one\").status, \"phase\"))",
        "note(at(get(\"gadget/one\"), { \"status\", \"phase\" }, \"none\"))",
        "state.status = get(\"gadget/one\").status",
        "local copy = table.clone(get(\"gadget/one\").status)",
        "merge(get(\"gadget/one\").status, {})",
        "get(\"gadget/one\").status.phase = \"mine\"",
        "ready(\"gadget/one\")",
        "why(\"gadget/one\")",
        "wait_for(\"gadget/one\", \"Ready\")",
        "wait_for(\"gadget/one\", function(gadget) return gadget.status.phase == \"Fine\" end)",
    ];
    for way in ways {
        let plan = host(&format!("{CHANGE}{way}"), "").run(&["plan", "r", "--sandbox"]).exits(3);
        plan.tells("the status of `gadget").tells(SAYS).shows("[unknown]").hides("later");
    }
}

/// What a program makes that the plan has started or changed: on a cluster whose programs nobody plays, nobody knows; where the plan has
/// touched none, nothing will make it.
#[test]
fn whether_a_program_makes_what_is_waited_for_is_not_known() {
    let waits = "wait_for(\"customresourcedefinition/parts.example.org\", \"Established\", { timeout = \"5m\" })";
    let planned = |body: &str| {
        let host = host(body, "");
        let served = Served::start(&host, &["r"]);
        host.run(&["plan", "r", "--kubeconfig", served.kubeconfig()])
    };
    let said = planned(&format!("set_image(\"deployment/web\", {{ web = \"registry.example/web:v2\" }})\n{waits}"));
    said.exits(3).tells("comes is not known: the plan has started or changed programs that may make it").shows("[unknown]");
    planned(&format!("{CHANGE}{waits}")).exits(1).tells("it is not there yet");
}

#[test]
fn what_the_plan_did_not_touch_is_read_as_it_is() {
    let plan = host("note(get(\"gadget/one\").status.phase)", "").run(&["plan", "r", "--sandbox"]).exits(0);
    plan.shows("Fine").shows("later");
    // A label is nobody's business but its reader's.
    let labelled = "label(\"gadget/one\", { seen = \"yes\" })\nnote(get(\"gadget/one\").status.phase)";
    host(labelled, "").run(&["plan", "r", "--sandbox"]).exits(0).shows("Fine").shows("later");
    // The rest of a changed object is known.
    host(&format!("{CHANGE}note(`{{get(\"gadget/one\").spec.size}} big`)"), "").run(&["plan", "r", "--sandbox"]).exits(0).shows("2 big");
}

#[test]
fn an_object_that_the_plan_made_has_no_status_that_anybody_knows() {
    let made = "create({ apiVersion = \"example.org/v1\", kind = \"Gadget\", metadata = { name = \"two\" }, spec = { size = 1 } })\n";
    let plan = host(&format!("{made}note(tostring(get(\"gadget/two\").status.phase))"), "").run(&["plan", "r", "--sandbox"]).exits(3);
    plan.tells("/two` is not known: the plan has changed the object");
}

#[test]
fn the_object_can_be_written_back_and_carried() {
    let body = format!(
        "{CHANGE}local gadget = get(\"gadget/one\")\ngadget.spec.size = 3\nupdate(gadget)\nnote(`{{get(\"gadget/one\").spec.size}} big`)"
    );
    host(&body, "").run(&["plan", "r", "--sandbox"]).exits(0).shows("3 big");
}

#[test]
fn a_model_of_the_operator_makes_it_known() {
    let body = format!("{CHANGE}wait_for(\"gadget/one\", function(gadget) return gadget.status.phase == \"Moved\" end)\nnote(\"moved\")");
    host(&body, MODEL).run(&["plan", "r", "--sandbox"]).exits(0).shows("moved").shows("later");
}

#[test]
fn an_assumption_stands_in_and_everything_after_it_rests_on_it() {
    let body = format!(
        "{CHANGE}local phase = assume(function() return get(\"gadget/one\").status.phase end, \"Moved\", \"its operator is quick\")\n\
         note(phase)\nlabel(\"gadget/one\", {{ phase = phase }})"
    );
    let plan = host(&body, "").run(&["plan", "r", "--sandbox"]).exits(3);
    let plan = plan.shows("\"Moved\" (its operator is quick)").shows("later").shows("[assumed]");
    let lines: Vec<String> = plan.stdout.lines().map(str::to_owned).collect();
    let wrote: Vec<&String> = lines.iter().filter(|line| line.trim_start().starts_with("patch")).collect();
    assert!(wrote[0].ends_with("[modelled]") && wrote[1].ends_with("[assumed]"), "{wrote:?}");
}

/// Nobody plays the machines of a real cluster; in a simulated one its fixture could.
#[test]
fn what_a_machine_would_say_is_not_known_in_a_plan_on_a_real_cluster() {
    let host = host("note(machine.read(\"n1\", { \"kubeadm\", \"version\" }).stdout)", "");
    let served = Served::start(&host, &["r"]);
    let plan = host.run(&["plan", "r", "--kubeconfig", served.kubeconfig()]).exits(3);
    plan.tells("a plan runs no commands on machines: what `kubeadm version` on `n1` would do is not known").hides("fixture");
    host.run(&["plan", "r", "--sandbox"]).exits(3).tells("under `machines`, what it does");
}
