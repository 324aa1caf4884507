//! Errors as people read them: what was being done, why it failed, where in the script, and what would be right.
//!
//! ```text
//! error: step `ipam`: rollout of `deployment/cce-eni-ipam` made no progress for 3m
//!   cause: pod `cce-eni-ipam-x2x` is unschedulable
//!    --> cce-cni-v1-patch/runbook.luau:44
//!     |
//!  44 |   verify = function() wait_rollout(ipam) end,
//!     |                       ^^^^^^^^^^^^
//!   hint: start it again when the port is free
//! ```

use super::escape;
use super::paint::Paint;
use crate::base::{Error, Place};

/// How many outer places are shown beneath the innermost.
const CALLERS: usize = 4;
/// How much of a long source line is shown.
const WIDTH: usize = 160;

/// The whole error, ending with a line end.
#[must_use]
pub fn error(error: &Error, paint: Paint) -> String {
    told("error:", error, false, paint)
}

/// The same under another heading; `columns`: the place has its column, as editors read it.
#[must_use]
pub(super) fn told(heading: &str, error: &Error, columns: bool, paint: Paint) -> String {
    let mut out = format!("{} {}\n", paint.bad(heading), hanging(&error.message, "  "));
    for cause in &error.causes {
        line(&mut out, &paint.strong("  cause:"), &hanging(cause, "         "));
    }
    let mut places = error.places.iter();
    if let Some(innermost) = places.next() {
        excerpt(&mut out, innermost, columns, paint);
    }
    for place in places.take(CALLERS) {
        out.push_str(&format!("   called from {}\n", at(place)));
    }
    if let Some(hint) = &error.hint {
        line(&mut out, &paint.strong("  hint:"), &hanging(hint, "        "));
    }
    out
}

/// A line with a heading word.
fn line(out: &mut String, head: &str, text: &str) {
    out.push_str(head);
    out.push(' ');
    out.push_str(text);
    out.push('\n');
}

/// Text from anywhere, its further lines indented.
fn hanging(text: &str, indent: &str) -> String {
    escape::lines(text.trim_end()).replace('\n', &format!("\n{indent}"))
}

fn exactly(place: &Place) -> String {
    format!("{}:{}:{}", escape::line(&place.file), place.line, place.column.unwrap_or(1))
}

fn at(place: &Place) -> String {
    let mut text = format!("{}:{}", escape::line(&place.file), place.line);
    if let Some(function) = &place.function {
        text.push_str(&format!(" in `{}`", escape::line(function)));
    }
    text
}

fn excerpt(out: &mut String, place: &Place, columns: bool, paint: Paint) {
    let number = place.line.to_string();
    let margin = " ".repeat(number.len() + 2);
    out.push_str(&format!("{}{} {}\n", " ".repeat(number.len() + 1), paint.dim("-->"), if columns { exactly(place) } else { at(place) }));
    let Some(source) = place.source.as_deref().filter(|source| !source.trim().is_empty()) else { return };
    let column = place.column.unwrap_or(0) as usize;
    let (shown, caret) = cut(source, column);
    let bar = paint.dim("|");
    out.push_str(&format!("{margin}{bar}\n {} {bar} {}\n", paint.dim(&number), shown.trim_end()));
    if let Some(offset) = caret {
        let length = (place.length.unwrap_or(1) as usize).clamp(1, WIDTH.saturating_sub(offset).max(1));
        out.push_str(&format!("{margin}{bar} {}{}\n", " ".repeat(offset), paint.bad("^".repeat(length))));
    }
}

/// The source line with tabs and control characters made plain, cut around the column where it is too long; and where the column
/// (from 1; 0 is none) is in what is shown.
fn cut(source: &str, column: usize) -> (String, Option<usize>) {
    let before: String = source.chars().take(column.saturating_sub(1)).collect();
    let offset = escape::line(&before).chars().count();
    let shown = escape::line(source).into_owned();
    let skip = (offset + 20).saturating_sub(WIDTH);
    let caret = (column > 0).then_some(offset - skip);
    if skip == 0 && shown.chars().count() <= WIDTH {
        return (shown, caret);
    }
    (shown.chars().skip(skip).take(WIDTH).collect(), caret)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{Kind, Reason};

    fn place(line: u32, column: u32, length: u32, source: &str) -> Place {
        Place {
            file: "r/runbook.luau".into(),
            line,
            column: Some(column),
            length: Some(length),
            source: Some(source.into()),
            function: None,
        }
    }

    #[test]
    fn an_error_has_cause_place_caret_and_hint() {
        let mut told = Error::new(Kind::Stuck, Reason::Stalled, "rollout of `deployment/x` made no progress for 3m")
            .cause("pod `x-1` is unschedulable")
            .hint("free the port");
        told.places.push(place(44, 12, 12, "  verify = wait_rollout(x),"));
        told.places.push(Place { file: "r/helper.luau".into(), line: 7, function: Some("roll".into()), ..Place::default() });
        let expected = "\
error: rollout of `deployment/x` made no progress for 3m
  cause: pod `x-1` is unschedulable
   --> r/runbook.luau:44
    |
 44 |   verify = wait_rollout(x),
    |            ^^^^^^^^^^^^
   called from r/helper.luau:7 in `roll`
  hint: free the port
";
        assert_eq!(error(&told, Paint::plain()), expected);
    }

    #[test]
    fn text_of_others_is_escaped_and_long_lines_are_cut() {
        let mut told = Error::usage("a\u{1b}[2Jb\nsecond");
        told.places.push(place(1, 301, 3, &format!("{}bad{}", "x".repeat(300), "y".repeat(300))));
        let text = error(&told, Paint::plain());
        assert!(!text.contains('\u{1b}'));
        assert!(text.contains("a\\u{1b}[2Jb\n  second"));
        assert!(text.lines().all(|line| line.chars().count() < 200), "{text}");
        let lines: Vec<&str> = text.lines().collect();
        let caret = lines.iter().position(|line| line.contains('^')).unwrap();
        let column = lines[caret].find('^').unwrap();
        assert_eq!(&lines[caret - 1][column..column + 3], "bad");
    }

    #[test]
    fn a_tab_does_not_move_the_caret() {
        let mut told = Error::usage("x");
        told.places.push(place(1, 2, 1, "\tbad"));
        let text = error(&told, Paint::plain());
        assert!(text.contains(" 1 |     bad\n   |     ^\n"), "{text}");
    }
}
