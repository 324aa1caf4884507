//! What `-o json` prints is what the published schemas say.

use lockgate_sim::json::Value as Json;

use super::support::{HEAD, Host, MOVE};

/// Checks the words of JSON Schema that our schemas use; gives the first fault.
fn fault(schema: &Json, value: &Json, at: &str) -> Option<String> {
    let schema = schema.as_object()?;
    for (word, rule) in schema {
        let fault = match word.as_str() {
            "const" => (rule != value).then(|| format!("{at}: {value} is not {rule}")),
            "enum" => (!rule.as_array()?.contains(value)).then(|| format!("{at}: {value} is none of {rule}")),
            "type" => {
                let types: Vec<&str> = rule
                    .as_array()
                    .map_or_else(|| vec![rule.as_str().unwrap()], |types| types.iter().map(|ty| ty.as_str().unwrap()).collect());
                (!types.iter().any(|ty| is(value, ty))).then(|| format!("{at}: {value} is no {rule}"))
            }
            "minimum" => value.as_f64().filter(|number| *number < rule.as_f64().unwrap()).map(|number| format!("{at}: {number}")),
            "required" => {
                let names = rule.as_array()?.iter().map(|name| name.as_str().unwrap());
                names.filter(|name| value.get(name).is_none()).map(|name| format!("{at}: no `{name}`")).next()
            }
            "properties" => {
                let fields = value.as_object().into_iter().flatten();
                fields.filter_map(|(name, value)| fault(rule.get(name)?, value, &format!("{at}.{name}"))).next()
            }
            "additionalProperties" => {
                let known = schema.get("properties").and_then(Json::as_object);
                if let (Json::Object(_), None) = (rule, known) {
                    // Members with names of their own.
                    let members = value.as_object().into_iter().flatten();
                    return members.filter_map(|(name, value)| fault(rule, value, &format!("{at}.{name}"))).next();
                }
                let known = known?;
                value
                    .as_object()
                    .into_iter()
                    .flatten()
                    .map(|(name, _)| name)
                    .find(|name| !known.contains_key(name))
                    .map(|name| format!("{at}: `{name}` is not in the schema"))
            }
            "items" => value
                .as_array()
                .into_iter()
                .flatten()
                .enumerate()
                .filter_map(|(place, item)| fault(rule, item, &format!("{at}[{place}]")))
                .next(),
            "oneOf" => {
                let faults: Vec<Option<String>> = rule.as_array()?.iter().map(|case| fault(case, value, at)).collect();
                let fits = faults.iter().filter(|fault| fault.is_none()).count();
                (fits != 1).then(|| format!("{at}: fits {fits} cases: {value}\n{faults:#?}"))
            }
            "$schema" | "$id" | "title" => None,
            other => Some(format!("the test does not know `{other}`")),
        };
        if fault.is_some() {
            return fault;
        }
    }
    None
}

fn is(value: &Json, ty: &str) -> bool {
    match ty {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        "number" => value.is_number(),
        "integer" => value.as_i64().is_some() || value.as_u64().is_some(),
        _ => false,
    }
}

#[track_caller]
pub(super) fn fits(file: &str, text: &str) -> Json {
    let schemas = lockgate::report::schema::all();
    let (_, schema) = schemas.iter().find(|(name, _)| *name == file).unwrap();
    let value: Json = serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"));
    assert_eq!(fault(schema, &value, "$"), None);
    value
}

const IMAGE: &str = "image=registry.example/web:v1.2.4";

#[test]
fn documents_fit_their_schemas() {
    let host = Host::with_runbook(MOVE);
    let list = fits("list.v1.json", &host.run(&["list", "-o", "json"]).exits(0).stdout);
    assert_eq!(list["schema"], "lockgate.dev/list/v1");
    fits("show.v1.json", &host.run(&["show", "r", "-o", "json"]).exits(0).stdout);
    for name in lockgate::run::Source::bundled_names() {
        fits("show.v1.json", &host.run(&["show", &name, "-o", "json"]).exits(0).stdout);
    }
    let plan = fits("plan.v1.json", &host.run(&["plan", "r", IMAGE, "--sandbox", "-o", "json"]).exits(0).stdout);
    assert_eq!(plan["summary"]["end"], "succeeded");
    assert_eq!(plan["summary"]["writes"], 1);
    let error = fits("error.v1.json", &host.run(&["plan", "r", "--sandbox", "-o", "json"]).exits(2).stdout);
    assert_eq!(error["exit_code"], 2);
}

#[test]
fn words_that_cannot_be_read_are_an_error_in_json_too() {
    for words in [&["plan", "--bogus", "-o", "json"][..], &["list", "--output=json", "x"], &["plna", "-ojson"]] {
        let said = Host::new().run(words).exits(2).tells("Usage:");
        let error = fits("error.v1.json", &said.stdout);
        assert_eq!((&error["error"]["reason"], &error["exit_code"]), (&"usage".into(), &2.into()), "{}", said.transcript());
        assert!(!error["error"]["message"].as_str().unwrap().contains('\n'), "{}", said.transcript());
    }
    let said = Host::new().run(&["plan", "cce-cni-v1-patch", "--sandbx", "-o", "json"]).exits(2);
    let error = &fits("error.v1.json", &said.stdout)["error"];
    assert_eq!(error["message"], "unexpected argument '--sandbx' found");
    assert!(error["hint"].as_str().unwrap().contains("--sandbox"), "{}", said.transcript());
    assert!(Host::new().run(&["plan", "--bogus"]).exits(2).stdout.is_empty());
    Host::new().run(&["plan", "--help", "-o", "json"]).exits(0).shows("Usage:").hides("schema\"");
}

#[test]
fn the_results_of_tests_fit_theirs() {
    let said = Host::with_runbook(MOVE).run(&["test", "r", "-o", "json"]).exits(1);
    let tests = fits("test.v1.json", &said.stdout);
    assert_eq!((&tests["passed"], &tests["failed"]), (&1.into(), &1.into()));
    assert_eq!(tests["tests"][1]["error"]["reason"], "check_failed");
}

#[test]
fn a_failed_plan_fits_too() {
    let words = ["plan", "r", "image=registry.example/web:v1.3.0", "--sandbox", "-o", "json"];
    let plan = fits("plan.v1.json", &Host::with_runbook(MOVE).run(&words).exits(1).stdout);
    assert_eq!(plan["summary"]["error"]["reason"], "check_failed");
}

#[test]
fn every_line_of_a_run_fits() {
    let asking = format!(
        "{HEAD}step \"a\" {{ title = \"A\", run = function()\n confirm(\"Now?\")\n note(\"x\")\n \
         scale(\"deployment/web\", 2)\n scale(\"deployment/web\", 1)\n wait_rollout(\"deployment/web\")\n end }}\n\
         step \"b\" {{ title = \"B\", when = function() return false, \"why\" end, run = function() end }}\n\
         step \"c\" {{ title = \"C\", run = function() get(\"deployment/none\") end, recover = function() return \"again\" end }}\n"
    );
    let mut seen: Vec<String> = Vec::new();
    for (text, words, code) in [
        (MOVE, &["run", "r", IMAGE, "--sandbox", "-o", "json"][..], 0),
        (asking.as_str(), &["run", "r", "--sandbox", "--no-plan", "--yes", "-o", "json"], 4),
        (asking.as_str(), &["run", "r", "--sandbox", "-o", "json"], 1),
    ] {
        let said = Host::with_runbook(text).run(words).exits(code);
        for line in said.stdout.lines() {
            seen.push(fits("event.v1.json", line)["event"].as_str().unwrap().to_owned());
        }
    }
    for event in ["started", "wrote", "unchanged", "waited", "note", "asked", "recovering", "again", "finished"] {
        assert!(seen.iter().any(|seen| seen == event), "no `{event}` was seen");
    }
}

#[test]
fn the_test_of_the_schemas_sees_faults() {
    let schema = lockgate_sim::json::json!({ "type": "object", "required": ["a"], "additionalProperties": false, "properties": { "a": { "enum": ["x"] } } });
    assert_eq!(fault(&schema, &lockgate_sim::json::json!({ "a": "x" }), "$"), None);
    for wrong in [
        lockgate_sim::json::json!({}),
        lockgate_sim::json::json!({ "a": "y" }),
        lockgate_sim::json::json!({ "a": "x", "b": 1 }),
        lockgate_sim::json::json!([]),
    ] {
        assert!(fault(&schema, &wrong, "$").is_some(), "{wrong}");
    }
}

#[test]
fn items_that_are_done_at_the_same_time_say_which_they_are() {
    let host = Host::with_runbook(&format!(
        "{HEAD}step \"mark\" {{ title = \"Mark\", each = {{ \"a\", \"b\" }}, batch = {{ serial = 2 }},\n \
         run = function(name) annotate(\"deployment/web\", {{ [name] = \"1\" }}) end }}\n"
    ));
    let said = host.run(&["run", "r", "--sandbox", "-o", "json"]).exits(0);
    let lines: Vec<Json> = said.stdout.lines().map(|line| fits("event.v1.json", line)).collect();
    let mut wrote: Vec<&Json> =
        lines.iter().filter(|line| line["event"] == "wrote" && line["in"] == "run").map(|line| &line["item_key"]).collect();
    wrote.sort_by_key(|key| key.to_string());
    assert_eq!(wrote, [&Json::from("mark/a"), &Json::from("mark/b")]);
    host.run(&["plan", "r", "--sandbox"]).exits(0).shows("patch    a: deployment/web").shows("done     b: it is over");
}
