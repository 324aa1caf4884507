//! Lines at the prompt.

use std::rc::Rc;

use lockgate::base::Value;
use lockgate::lua::{Evaluated, Prompt};
use lockgate_sim::json::json;

use super::support::{Book, HEADER, engine};

fn prompt() -> Prompt {
    let engine = engine();
    let book = Book::on(&engine, HEADER);
    let runtime = Rc::new(tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap());
    Prompt::new(&engine, runtime, book.scene(), vec![]).unwrap()
}

fn values(evaluated: Evaluated) -> Vec<lockgate_sim::json::Value> {
    match evaluated {
        Evaluated::Values(values) => values.into_iter().map(Value::into_json).collect(),
        Evaluated::Incomplete => panic!("incomplete"),
    }
}

#[test]
fn expressions_give_values_and_statements_none() {
    let prompt = prompt();
    assert_eq!(values(prompt.eval("1 + 1, \"x\"").unwrap()), [json!(2), json!("x")]);
    assert_eq!(values(prompt.eval("local x = 3").unwrap()), Vec::<lockgate_sim::json::Value>::new());
    assert_eq!(values(prompt.eval("get(\"configmap/nasty\").metadata.name").unwrap()), [json!("nasty")]);
    assert_eq!(values(prompt.eval("print").unwrap()), [json!("(function that is a function)")]);
}

#[test]
fn assigned_names_live_and_locals_die() {
    let prompt = prompt();
    prompt.eval("seen = { a = 1, b = 2 }").unwrap();
    prompt.eval("function twice(x) return x * 2 end").unwrap();
    assert_eq!(values(prompt.eval("twice(seen.b)").unwrap()), [json!(4)]);
    assert_eq!(
        (prompt.names(), prompt.fields("seen")),
        (vec!["seen".to_owned(), "twice".to_owned()], vec!["a".to_owned(), "b".to_owned()])
    );
    prompt.eval("local gone = 1").unwrap();
    assert_eq!(prompt.eval("gone").unwrap_err().message, "nothing is called `gone`");
    assert_eq!(prompt.eval("get = 1").unwrap_err().message, "`get` is a word of lockgate and cannot be replaced");
    prompt.eval("seen = nil").unwrap();
    assert_eq!(prompt.names(), ["twice"]);
}

#[test]
fn unfinished_lines_are_told_from_wrong_ones() {
    let prompt = prompt();
    for unfinished in ["for i = 1, 3 do", "get(", "x = {", "if true then", "function f()"] {
        assert_eq!(prompt.eval(unfinished).unwrap(), Evaluated::Incomplete, "{unfinished}");
    }
    for wrong in ["1 +* 2", "end", "x = = 1"] {
        assert!(prompt.eval(wrong).unwrap_err().message.starts_with("syntax error"), "{wrong}");
    }
}

#[test]
fn an_error_points_into_the_line_as_it_was_typed() {
    let prompt = prompt();
    let error = prompt.eval("get(\"configmap/none\")").unwrap_err();
    let place = &error.places[0];
    assert_eq!(
        (place.file.as_str(), place.line, place.column, place.source.as_deref()),
        ("prompt", 1, Some(1), Some("get(\"configmap/none\")"))
    );
    assert!(prompt.eval("1").is_ok());
}

#[test]
fn a_stopped_line_does_not_end_the_session() {
    let prompt = prompt();
    prompt.eval("kept = 1").unwrap();
    assert!(prompt.eval("while true do end").unwrap_err().is_stop());
    assert_eq!(values(prompt.eval("kept").unwrap()), [json!(1)]);
}
