//! Files of scenarios, as data and functions, and objects with methods.

use std::cell::RefCell;
use std::rc::Rc;

use lockgate::base::{Error, Value};
use lockgate::lua::{ABSENT, Field, Given, Methods, TestFile};
use lockgate::run::Source;
use lockgate_sim::json::json;

use super::support::engine;

const FILE: &str = r#"
scenario "the first one" {
  params = { to = "v1" },
  at     = { ["5m"] = function(cluster) cluster:patch("node/a", { spec = absent }) end },
  given  = function(cluster)
    cluster:patch("node/b", { spec = { x = 1 } })
    return cluster.name
  end,
}
scenario "the second" { expect = function(run) run:suceeds() end }
"#;

#[test]
fn scenarios_are_data_and_functions() {
    let file = TestFile::load(&engine(), &Source::of_text("test", FILE)).unwrap();
    let names: Vec<&str> = file.scenarios.iter().map(|scenario| scenario.name.as_str()).collect();
    assert_eq!(names, ["the first one", "the second"]);
    let first = &file.scenarios[0];
    assert_eq!((first.place.line, first.field_place("given").line), (2, 5));
    let Field::Value(params) = &first.fields["params"] else { panic!("no value") };
    assert_eq!(params.clone().into_json(), json!({ "to": "v1" }));

    let heard = Rc::new(RefCell::new(Vec::new()));
    let ears = heard.clone();
    let cluster = Methods::new("cluster").field("name", Value::from("two-nodes".to_owned())).method("patch", move |arguments, places| {
        ears.borrow_mut().push((arguments, places[0].line));
        Ok(Value::Nil)
    });
    let Field::Function(given) = &first.fields["given"] else { panic!("no function") };
    let returned = file.call(given, &[Given::Object(cluster.clone())]).unwrap();
    assert_eq!(returned[0].clone().into_json(), json!("two-nodes"));
    let Field::Functions(at) = &first.fields["at"] else { panic!("no functions") };
    assert_eq!(at[0].0, "5m");
    file.call(&at[0].1, &[Given::Object(cluster)]).unwrap();
    let heard = heard.borrow();
    assert_eq!(heard[0].1, 6);
    assert_eq!(heard[1].0[1].clone().into_json(), json!({ "spec": ABSENT }));
}

#[test]
fn methods_raise_with_places_and_unknown_ones_have_suggestions() {
    let file = TestFile::load(&engine(), &Source::of_text("test", FILE)).unwrap();
    let Field::Function(expect) = &file.scenarios[1].fields["expect"] else { panic!("no function") };
    let run = Methods::new("run").method("succeeds", |_, _| Err(Error::usage("it did not")));
    let error = file.call(expect, &[Given::Object(run)]).unwrap_err();
    assert_eq!((error.message.as_str(), error.hint.as_deref()), ("`run` has no `suceeds`", Some("did you mean `succeeds`?")));
    assert_eq!(error.places[0].line, 10);

    let text = "scenario \"x\" { expect = function(run)\n  run:succeeds()\nend }\nscenario \"y\" { expect = function(run) run.succeeds() end }\nscenario \"z\" { expect = function() get(\"node/a\") end }";
    let file = TestFile::load(&engine(), &Source::of_text("test", text)).unwrap();
    let run = Methods::new("run").method("succeeds", |_, _| Err(Error::usage("it did not")));
    let call = |place: usize| {
        let Field::Function(expect) = &file.scenarios[place].fields["expect"] else { panic!("no function") };
        file.call(expect, &[Given::Object(run.clone())]).unwrap_err()
    };
    let raised = call(0);
    assert_eq!((raised.message.as_str(), raised.places[0].line, raised.places[0].column), ("it did not", 2, Some(7)));
    assert_eq!(call(1).hint.as_deref(), Some("write `run:succeeds(…)` with a colon"));
    assert_eq!(call(2).message, "`get` is called in a scenario");
}

#[test]
fn a_scenario_without_body_or_name_is_an_error() {
    for (text, expected) in [
        ("scenario \"x\"", "`scenario \"x\"` has no body"),
        ("scenario { }", "`scenario` needs a name first"),
        ("scenario \"x\" { params = { f = { print } , y = 1 } }", "`scenario \"x\"`: `params` holds a function at `f[1]`"),
        ("scenario \"x\" { }\nscenario \"x\" { }", "`scenario \"x\"` is declared twice"),
        ("runbook { }", "there is no `runbook` here"),
    ] {
        let error = TestFile::load(&engine(), &Source::of_text("test", text)).unwrap_err();
        assert_eq!(error.message, expected, "{text}");
        assert!(!error.places.is_empty(), "{text}");
    }
}
