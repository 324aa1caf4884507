//! Versions, images, durations and quantities compared with something else: `==` is silently false, `<` an error of the run.

use crate::check::finding::{Finding, Rule};
use crate::check::space::{Space, Unit};
use crate::check::tree::Ty;

/// Looks at every comparison.
pub(super) fn compare(unit: &Unit, found: &mut Vec<Finding>) {
    for compared in &unit.tree.compares {
        let [left, right] = &compared.sides;
        let (Some(left), Some(right)) = (Space::ty(unit, left), Space::ty(unit, right)) else { continue };
        let (Some(typed), other) = (match (left.word(), right.word()) {
            (Some(_), _) => (Some(left), right),
            (None, Some(_)) => (Some(right), left),
            (None, None) => (None, right),
        }) else {
            continue;
        };
        if typed == other {
            continue;
        }
        let word = typed.word().unwrap_or_default();
        let what = match other {
            Ty::Text => "a text",
            Ty::Number => "a number",
            Ty::Version => "a version",
            Ty::Image => "an image",
            Ty::Duration => "a duration",
            Ty::Quantity => "a quantity",
            Ty::Images | Ty::Map | Ty::List => "a table",
        };
        let article = if typed == Ty::Image { "an" } else { "a" };
        let ends = match compared.op {
            "==" => "is always false".to_owned(),
            "~=" => "is always true".to_owned(),
            op => format!("fails when it is reached: `{op}` has no meaning for them"),
        };
        let finding = Finding::new(Rule::Compare, unit.tree.place(compared.at), format!("{article} {word} compared with {what} {ends}"));
        found.push(match other {
            Ty::Text | Ty::Number => finding.hint(format!("make both {word}s: `{word}(…)`; or compare texts: `tostring(…)`")),
            Ty::Image if typed == Ty::Version => finding.hint("compare with the image's `.version`"),
            Ty::Version if typed == Ty::Image => finding.hint("compare the image's `.version`"),
            _ => finding,
        });
    }
}
