//! confirm, ask, note.

use lockgate::base::{Kind, Reason};
use lockgate_sim::json::json;

use super::support::Rig;

#[test]
fn confirm_goes_on_after_yes_and_not_after_no() {
    let rig = Rig::new();
    assert_eq!(rig.value("confirm", json!(["Go on?"]), json!({})), json!(true));
    assert_eq!(rig.operator.asked.borrow()[0].0, "Go on?");
    rig.operator.declines.set(true);
    let error = rig.error("confirm", json!(["Go on?"]), json!({}));
    assert_eq!((error.kind, error.reason), (Kind::Cancelled, Reason::Declined));
    assert_eq!(rig.error("confirm", json!([" "]), json!({})).reason, Reason::Usage);
}

#[test]
fn ask_passes_choices_and_default_on() {
    let rig = Rig::new();
    assert_eq!(rig.value("ask", json!(["How many?"]), json!({})), json!("2"));
    let answer = rig.value("ask", json!(["Which?"]), json!({ "choices": ["a", "b"], "default": "b" }));
    assert_eq!(answer, json!("b"));
    assert_eq!(rig.operator.asked.borrow()[1].1.choices, ["a", "b"]);
    let error = rig.error("ask", json!(["Which?"]), json!({ "choices": ["staging", "production"], "default": "prodution" }));
    assert_eq!((error.reason, error.hint.as_deref()), (Reason::Usage, Some("did you mean `production`?")));
}

#[test]
fn note_says_it() {
    let rig = Rig::new();
    assert_eq!(rig.value("note", json!(["careful"]), json!({})), json!(null));
    assert_eq!(*rig.operator.notes.borrow(), ["careful"]);
    assert_eq!(rig.error("note", json!([]), json!({})).reason, Reason::Usage);
}
