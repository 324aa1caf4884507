//! `lockgate check`: every rule finds what it is for, at its exact place, and is silent about what is right.

use std::path::PathBuf;

use lockgate::check::{Checker, Finding, Rule};
use lockgate::run::Source;
use lockgate::run::source::Beside;

/// A runbook around declarations, which begin in line 3.
fn runbook(text: &str) -> Source {
    let head = "runbook { title = \"T\", summary = \"S\", impact = \"none\", namespace = \"shop\" }\n\n";
    Source::of_text("r", &format!("{head}{text}"))
}

fn found(strict: bool, source: Source) -> Vec<Finding> {
    Checker::new(strict, Vec::new()).unwrap().check(&[source]).unwrap().findings
}

/// What is found, as `rule line:column length message`.
fn told(source: Source) -> Vec<String> {
    let place = |finding: &Finding| format!("{}:{} {}", finding.place.line, finding.place.column.unwrap(), finding.place.length.unwrap());
    found(false, source).iter().map(|finding| format!("{} {} {}", finding.rule.as_str(), place(finding), finding.message)).collect()
}

fn one(text: &str) -> String {
    let mut told = told(runbook(text));
    assert_eq!(told.len(), 1, "{text}\n{told:#?}");
    told.remove(0)
}

fn silent(text: &str) {
    let told = told(runbook(text));
    assert!(told.is_empty(), "{text}\n{told:#?}");
}

/// A step around the body of its `run`, which begins in line 5.
fn step(body: &str) -> String {
    format!("step \"s\" {{\n  title = \"T\", run = function()\n{body}\n  end,\n}}\n")
}

#[test]
fn what_cannot_be_read_is_told_alone() {
    let told = told(runbook("step \"a\" {\n  title = = \"x\",\n}\nnobody()\n"));
    assert!(told[0].starts_with("syntax 4:11 1 "), "{told:?}");
    assert!(told.iter().all(|told| told.starts_with("syntax ")), "{told:?}");
}

#[test]
fn names() {
    assert_eq!(one(&step("drian(\"w1\")")), "name 5:1 5 nothing is called `drian`");
    assert_eq!(one(&step("helm.instal(\"r\", \"c\")")), "name 5:1 11 `helm` has no `instal`");
    assert_eq!(one(&step("print(os.time())")), "name 5:7 2 there is no `os` here");
    assert_eq!(one(&step("count = 1")), "name 5:1 5 `count` is assigned as a global");
    let finding = &found(false, runbook(&step("drian(\"w1\")")))[0];
    assert_eq!(finding.hint.as_deref(), Some("did you mean `drain`?"));
    silent(&step("local count = 1\nnote(`{count} {string.upper(\"x\")}`)\ndrain(\"w1\")"));
}

#[test]
fn modules_and_scenarios_have_names_of_their_own() {
    let module = Source::of_text("m", "local m = {}\nfunction m.f() return params.x end\nreturn m\n");
    assert_eq!(told(module), ["name 2:23 8 there is no `params` here"]);
    let scenarios = |body: &str| Source::of_text("test", &format!("scenario \"s\" {{\n  expect = function(run)\n{body}\n  end,\n}}\n"));
    assert_eq!(told(scenarios("scale(\"deployment/x\", 1)")), ["place 3:1 5 `scale` is called in a scenario"]);
    assert_eq!(told(scenarios("run:shows(param)")), ["name 3:11 5 there is no `param` here"]);
    assert!(told(scenarios("run:succeeds()\nrun:leaves(\"x/y\", { spec = absent })")).is_empty());
}

#[test]
fn options_and_arguments() {
    assert_eq!(one(&step("wait_rollout(\"deployment/x\", { timeot = \"5m\" })")), "option 5:32 6 `wait_rollout` has no option `timeot`");
    assert_eq!(
        one(&step("pcall(wait_rollout, \"deployment/x\", { timeot = \"5m\" })")),
        "option 5:39 6 `wait_rollout` has no option `timeot`"
    );
    assert_eq!(
        one(&step("scale(\"deployment/x\", 1, { wait = \"gon\" })")),
        "option 5:35 5 `scale`: option `wait` must be one of `gone`, got `gon`"
    );
    assert_eq!(
        one(&step("scale(\"deployment/x\")")),
        "option 5:1 5 `scale`: argument `replicas` is missing: it is a whole number, 0 or more"
    );
    assert_eq!(one(&step("uncordon(\"w1\", {}, 3)")), "option 5:20 1 `uncordon` takes 1 argument, got 3");
    assert_eq!(
        one(&step("wait_rollout(\"deployment/x\", { \"5m\" })")),
        "option 5:32 4 `wait_rollout`: the options must have names: `{ name = value }`"
    );
    silent(&step(
        "local options = { timeout = \"5m\" }\nwait_rollout(\"deployment/x\", options)\nscale(\"deployment/x\", 1, { wait = \"gone\" })",
    ));
    silent(&step("local function both() return \"deployment/x\", 1 end\nscale(both())"));
}

#[test]
fn declarations() {
    let bad = "step \"s\" {\n  titel = \"T\",\n  run = function() end,\n}\n";
    assert_eq!(
        told(runbook(bad)),
        ["declaration 3:1 8 `step \"s\"` has no `title`", "declaration 4:3 5 `step \"s\"` has no field `titel`"]
    );
    assert_eq!(one("step \"s\" { title = \" \", run = function() end }\n"), "declaration 3:20 3 `step \"s\"`: `title` is empty");
    // What only the loader knows.
    assert_eq!(one(&format!("{0}{0}", step(""))).split(' ').take(2).collect::<Vec<_>>(), ["declaration", "8:1"]);
    silent(
        "group \"g\" { title = \"T\", each = { \"a\" }, steps = { step \"s\" { title = \"T\", run = function(item) note(item) end } } }\n",
    );
}

#[test]
fn writes_where_only_reading_is_allowed() {
    let check = |body: &str| {
        format!("local x = \"deployment/x\"\ncheck \"c\" {{\n  title = \"T\", run = function()\n{body}\n  end,\n}}\n{}", step(""))
    };
    assert_eq!(one(&check("scale(x, 1)")), "place 6:1 5 `scale` writes, and is called in a check");
    assert_eq!(one(&check("pcall(scale, x, 1)")), "place 6:7 5 `scale` writes, and is called in a check");
    assert_eq!(one(&check("note(x) exec(\"pod/x\", { \"ls\" })")), "place 6:9 4 `exec` writes, and is called in a check");
    silent(&check(
        "note(x)\nexec(\"pod/x\", { \"ls\" }, { read = true })\nwait_rollout(x, { timeout = 0 })\nask(\"why?\")\nnot_needed(\"done\")",
    ));
    // Through a function of the file, which is named.
    let through = format!("local function settle(ref)\n  scale(ref, 1)\nend\n{}", check("settle(x)"));
    let finding = &found(false, runbook(&through))[0];
    assert_eq!((finding.rule, finding.place.line, finding.place.column), (Rule::Place, 4, Some(3)));
    assert_eq!(finding.causes, ["`run` of `check \"c\"` calls `settle` in line 9"]);
    let verify = "step \"s\" { title = \"T\", run = function() end, verify = function()\n  confirm(\"sure?\")\nend }\n";
    assert_eq!(one(verify), "place 4:3 7 `confirm` asks the operator, and is called in `verify`");
    assert_eq!(
        one("step \"s\" { title = \"T\", run = function()\n  not_needed(\"x\")\nend }\n"),
        "place 4:3 10 `not_needed` is called outside of a check"
    );
    for field in ["when", "title", "gate", "each"] {
        let text = format!(
            "local f = function() return scale(\"deployment/x\", 1) end\nstep \"s\" {{ {}run = function() end, {field} = f }}\n",
            if field == "title" { "" } else { "title = \"T\", " }
        );
        assert!(one(&text).starts_with("place 3:29 5 `scale` writes"), "{field}");
    }
    // What a function makes, and what stands for the operator.
    let made = "local function waits(ref) return function() scale(ref, 1) end end\nstep \"s\" { title = \"T\", run = function() end, verify = waits(\"deployment/x\") }\n";
    assert!(one(made).starts_with("place 3:45 5 `scale` writes"), "{}", one(made));
    silent(
        "step \"s\" { title = \"T\", run = function() scale(\"deployment/x\", 1) end, recover = function() scale(\"deployment/x\", 1) end, rollback = function() scale(\"deployment/x\", 0) end }\n",
    );
}

#[test]
fn verbs_of_modules_are_seen_through_them() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(
        folder.path().join("helper.luau"),
        "local helper = {}\nfunction helper.move(ref)\n  scale(ref, 1)\nend\nreturn helper\n",
    )
    .unwrap();
    let text = runbook(
        "local helper = require(\"helper\")\ncheck \"c\" { title = \"T\", run = function()\n  helper.move(\"deployment/x\")\nend }\nstep \"s\" { title = \"T\", run = function() helper.move(\"deployment/x\") end }\n",
    );
    let source = Source { beside: Beside::Disk(folder.path().to_path_buf()), ..text };
    let found = found(false, source);
    assert_eq!(found.len(), 1, "{found:#?}");
    assert_eq!((found[0].rule, found[0].place.line, found[0].place.column), (Rule::Place, 5, Some(3)));
    assert!(found[0].causes[1].ends_with("helper.luau` line 3"), "{:?}", found[0].causes);
}

#[test]
fn nothing_is_called_while_a_file_loads() {
    let told = told(runbook(&format!("local nodes = list(\"nodes\")\n{}", step("note(`{#nodes}`)"))));
    assert_eq!(told, ["place 3:15 4 `list` is called while the file loads"]);
    assert_eq!(
        one(&format!("local to = params.to\nparam \"to\" {{ type = \"string\", doc = \"D\", example = \"x\" }}\n{}", step("note(to)"))),
        "place 3:12 9 `params` is read while the file loads"
    );
    silent(&format!("local to = version(\"v1.2.3\")\nlocal function now() return list(\"nodes\") end\n{}", step("note(`{to} {#now()}`)")));
}

#[test]
fn parameters() {
    let with = |body: &str| format!("param \"to\" {{ type = \"version\", doc = \"D\", example = \"v1.2.3\" }}\n{}", step(body));
    let bad = told(runbook(&with("note(`{params.two}`)")));
    assert_eq!(bad, ["param 3:1 10 parameter `to` is never read", "param 6:15 3 there is no parameter `two`"]);
    silent(&with("note(`{params.to}`)"));
    silent(&with("note(`{params[\"to\"]}`)"));
    silent(&with("for name, value in pairs(params) do note(`{name}={value}`) end"));
}

#[test]
fn versions_compared_with_text() {
    let with = |body: &str| {
        format!(
            "param \"to\" {{ type = \"version\", doc = \"D\", example = \"v1.2.3\" }}\n{}",
            step(&format!("note(`{{params.to}}`)\n{body}"))
        )
    };
    for (body, message) in [
        ("if params.to == \"v1.2.3\" then note(\"x\") end", "compare 7:4 21 a version compared with a text is always false"),
        ("if version(\"v1\") ~= \"v1\" then note(\"x\") end", "compare 7:4 21 a version compared with a text is always true"),
        (
            "if params.to < 2 then note(\"x\") end",
            "compare 7:4 13 a version compared with a number fails when it is reached: `<` has no meaning for them",
        ),
        (
            "local is = images(\"deployment/x\").x\nif is == \"a:b\" then note(\"x\") end",
            "compare 8:4 11 an image compared with a text is always false",
        ),
        (
            "local is = images(\"deployment/x\")[\"x\"].version\nif \"v1\" == is then note(\"x\") end",
            "compare 8:4 10 a version compared with a text is always false",
        ),
        ("if duration(\"1m\") == `{1}m` then note(\"x\") end", "compare 7:4 24 a duration compared with a text is always false"),
        (
            "if images(\"deployment/x\").x == params.to then note(\"x\") end",
            "compare 7:4 37 an image compared with a version is always false",
        ),
    ] {
        assert_eq!(one(&with(body)), message, "{body}");
    }
    silent(&with(
        "local is = images(\"deployment/x\").x\nif is.version == params.to or is.tag == \"v1\" or params.to >= version(\"v1\") or tostring(params.to) == \"v1\" then note(\"x\") end",
    ));
    // What is set again may be anything.
    silent(&with("local is: any = version(\"v1\")\nis = \"v1\"\nif is == \"v1\" then note(\"x\") end"));
}

#[test]
fn maps_walked_over_in_no_order() {
    assert_eq!(
        one(&step("for name, image in images(\"deployment/x\") do note(`{name} {image}`) end")),
        "order 5:20 22 a map is walked over in no order"
    );
    assert_eq!(one(&step("for key in get(\"node/x\").metadata.labels do note(key) end")), "order 5:12 29 a map is walked over in no order");
    assert_eq!(
        one(&step("local parts = { agent = 1, ipam = 2 }\nfor name, n in parts do note(`{name} {n}`) end")),
        "order 6:16 5 a map is walked over in no order"
    );
    silent(&step(
        "for name, image in pairs(images(\"deployment/x\")) do note(`{name} {image}`) end\nfor place, pod in list(\"pods\") do note(`{place} {pod.metadata.name}`) end\nfor _, x in { 1, 2 } do note(`{x}`) end",
    ));
}

#[test]
fn requires() {
    assert_eq!(one(&format!("local x = require(\"nods\")\n{}", step("note(`{x}`)"))), "require 3:19 6 there is no module `nods`");
    let source = runbook(&format!("local nodes = require(\"nodes\")\n{}", step("note(`{#nodes.workers()}`)")));
    assert!(told(source).is_empty());
}

#[test]
fn coverage_says_everything_that_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("coverage-009.lines"), "1 aa\n2 bb\n3 cc\n5 ee\n").unwrap();
    let text = format!(
        "{}coverage \"009\" {{\n  [\"1-2\"] = \"step s\",\n  [\"2\"] = \"step s verify\",\n  [\"9\"] = waived \"why\",\n}}\n",
        step("note(\"x\")")
    );
    let source = Source { beside: Beside::Disk(folder.path().to_path_buf()), ..runbook(&text) };
    assert_eq!(
        told(source),
        [
            "coverage 8:1 14 coverage \"009\": nobody answers for lines 3, 5",
            "coverage 10:4 3 coverage \"009\": line 2 is answered for twice, the second time by `2`",
            "coverage 10:4 3 coverage \"009\": `2` names a part that does not exist",
            "coverage 11:4 3 coverage \"009\": `9` is no range of the document's 5 lines",
        ]
    );
    let text = format!("{}coverage \"009\" {{\n  [\"1-5\"] = \"step s\",\n}}\n", step("note(\"x\")"));
    let source = Source { beside: Beside::Disk(folder.path().to_path_buf()), ..runbook(&text) };
    assert!(told(source).is_empty());
}

#[test]
fn permissions_are_what_the_steps_need() {
    let with = |body: &str, lines: &str| format!("{}permissions {{\n{lines}\n}}\n", step(body));
    let grant = "  { verbs = { \"patch\" }, kinds = { \"deployments\" }, names = { \"x\" } },";
    silent(&with("scale(\"deployment/x\", 1)", grant));
    assert_eq!(
        one(&with("scale(\"deployment/x\", 1)\nset_image(\"daemonset/y\", { y = \"a:b\" })", grant)),
        "permission 6:1 9 `set_image` needs to patch daemonsets `y`, which `permissions` does not grant"
    );
    assert_eq!(
        one(&with("scale(\"deployment/y\", 1)", grant)),
        "permission 5:1 5 `scale` needs to patch deployments `y`, which `permissions` does not grant"
    );
    assert_eq!(one(&with("drain(\"w1\")", "")), "permission 5:1 5 `drain` needs to patch nodes, which `permissions` does not grant");
    let two = format!("{grant}\n  {{ verbs = {{ \"create\" }}, kinds = {{ \"configmaps\" }} }},");
    assert_eq!(
        one(&with("scale(\"deployment/x\", 1)", &two)),
        "permission 10:3 50 nothing needs this line: no step comes to create configmaps"
    );
    // What is only known in the run is not found fault with.
    silent(&with("for _, one in list(\"configmaps\") do delete(one) end", "  { verbs = { \"delete\" }, kinds = { \"configmaps\" } },"));
    silent(&with(
        "helm.upgrade(\"r\", \"c\", { values_from = \"previous\" })",
        "  { verbs = { \"create\" }, kinds = { \"secrets\" } },\n  helm = { charts = { \"c\" } },",
    ));
}

#[test]
#[cfg(feature = "check")]
fn types() {
    let strict = |body: &str| -> Vec<String> {
        let found = found(true, runbook(&step(body)));
        found.iter().map(|finding| format!("{} {}:{}", finding.rule.as_str(), finding.place.line, finding.place.column.unwrap())).collect()
    };
    assert_eq!(strict("scale(\"deployment/x\", \"one\")"), ["type 5:23"]);
    assert_eq!(strict("local is: Version = version(\"v1\")\nnote(is.majr)"), ["type 6:6"]);
    assert_eq!(
        strict("local ok, err = pcall(get, \"node/x\")\nif not ok and err.reason == \"not_found\" then note(err.message) end"),
        [""; 0]
    );
    assert_eq!(strict("note(tostring(get(\"deployment/x\").spec.replicas + 1))"), [""; 0]);
    // A file says for itself how it wants to be looked at.
    let text = "--!strict\nlocal m = {}\nfunction m.f(x: number): string return x end\nreturn m\n";
    assert_eq!(found(false, Source::of_text("m", text)).len(), 1);
    assert!(found(false, Source::of_text("m", &text.replace("--!strict", ""))).is_empty());
}

#[test]
fn nothing_is_found_in_every_file_of_a_folder_that_is_right() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("stdlib");
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|ending| ending == "luau") {
            let source = Source::on_disk(&path).unwrap();
            assert!(told(source.clone()).is_empty(), "{}: {:#?}", path.display(), told(source));
        }
    }
}
