//! The report of a run as one HTML file that needs nothing else: no script, no font, no picture from elsewhere. The timeline is SVG.

use super::markup::{html as text, html_lines as lines, html_table as table};
use super::runs::{clock, cluster, end, facts, state, step_cells, timed, unknown, write_cells};
use crate::base::{Span, Timestamp};
use crate::run::event::StepEnd;
use crate::run::journal::view::{Became, Standing, Stepped, Story};

pub(super) const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;max-width:76rem;margin:2rem auto;padding:0 1rem;color:#1c2430;background:#fff}\
h1{font-size:1.5rem}h2{font-size:1.1rem;margin-top:2rem}table{border-collapse:collapse;width:100%}\
th,td{text-align:left;vertical-align:top;padding:.2rem .8rem .2rem 0;border-bottom:1px solid #e3e7ec}th{color:#5b6675;font-weight:600}\
pre{background:#f5f7f9;padding:1rem;overflow-x:auto;font-size:13px}.good{color:#1a7f45}.warn{color:#9a6700}.bad{color:#b42318}\
svg{width:100%;height:auto;font:12px system-ui,sans-serif}code{font-size:13px}\
@media(prefers-color-scheme:dark){body{background:#14181d;color:#d8dee6}pre{background:#1c2229}th,td{border-color:#2b333d}}";

/// Width of the picture, in its own units.
const WIDTH: f64 = 1_000.0;
/// Where the bars begin.
const LEFT: f64 = 220.0;
/// Where they end.
const RIGHT: f64 = 985.0;
/// Height of a row.
const ROW: f64 = 24.0;

/// The page.
#[must_use]
pub fn page(story: &Story) -> String {
    let what = if story.what == "rollback" { "Rollback" } else { "Run" };
    let title = format!("{what} of {} on {}", story.runbook, cluster(&story.target.name, story.target.simulated));
    let mut out = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
         <title>{0}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<h1>{0}</h1>\n",
        text(&title)
    );
    out.push_str(&format!("<p class=\"{}\"><strong>{}</strong></p>\n", class(story.standing), text(&state(story))));
    if let Some(error) = story.error() {
        let causes: String = error.causes.iter().map(|cause| format!("<br>{}", text(cause))).collect();
        out.push_str(&format!("<p class=\"bad\">{}{causes}</p>\n", text(&error.message)));
    }
    let half: Vec<String> = story.half_done().map(|write| format!("<li>{}</li>\n", text(&unknown(write)))).collect();
    if !half.is_empty() {
        out.push_str(&format!("<h2 class=\"bad\">Half-done</h2>\n<ul>\n{}</ul>\n", half.concat()));
    }
    out.push_str("<h2>What was asked</h2>\n<table>\n");
    facts(story, |head, said| out.push_str(&format!("<tr><th>{head}</th><td>{}</td></tr>\n", text(&said))));
    out.push_str("</table>\n");
    if !story.steps.is_empty() {
        out.push_str(&format!("<h2>When</h2>\n{}", timeline(story)));
        let rows: Vec<Vec<String>> = story.steps.iter().map(step_cells).collect();
        out.push_str(&format!("<h2>Steps</h2>\n{}", table(&["step", "title", "end", "took", "planned", "writes"], &rows)));
    }
    if !story.writes.is_empty() {
        let rows: Vec<Vec<String>> = story.writes.iter().map(write_cells).collect();
        out.push_str(&format!("<h2>Writes</h2>\n{}", table(&["time", "write", "object", "where", "outcome"], &rows)));
    }
    if let Some(planned) = story.consent.as_ref().and_then(|consent| consent.planned.as_ref()) {
        out.push_str(&format!("<h2>The plan</h2>\n<pre>{}</pre>\n", lines(&planned.text)));
    }
    out.push_str(&format!("<h2>What happened</h2>\n<pre>{}</pre>\n", lines(&timed(&story.events))));
    out.push_str(&format!("<p>Journal: {} lines, chain head <code>{}</code></p>\n</body>\n</html>\n", story.lines, text(&story.head)));
    out
}

/// One row a step: a bar for the time it took, a frame for the time it was planned to take, a mark for each write; lines through all
/// rows where a process began.
fn timeline(story: &Story) -> String {
    let span = Span::between(story.started, story.last).as_secs_f64().max(1.0);
    let planned =
        story.steps.iter().filter_map(|step| Some(Span::between(story.started, step.predicted?.after(step.started)).as_secs_f64()));
    let span = planned.fold(span, f64::max);
    let scale = |at: Timestamp| LEFT + (RIGHT - LEFT) * Span::between(story.started, at).as_secs_f64() / span;
    let height = ROW * (story.steps.len() as f64 + 1.5);
    let mut out = format!("<svg viewBox=\"0 0 {WIDTH} {height:.0}\" role=\"img\" aria-label=\"Timeline of the run\">\n");
    for (place, step) in story.steps.iter().enumerate() {
        let top = ROW * place as f64 + 4.0;
        out.push_str(&row(story, step, top, &scale));
    }
    let bottom = ROW * story.steps.len() as f64 + 4.0;
    for worked in &story.processes {
        let at = scale(worked.at);
        out.push_str(&format!(
            "<line x1=\"{at:.1}\" y1=\"0\" x2=\"{at:.1}\" y2=\"{bottom:.1}\" stroke=\"#8492a6\" stroke-dasharray=\"3 3\"><title>{}</title></line>\n",
            text(&format!("process {} on {} begins: {}", worked.pid, worked.host, clock(worked.at)))
        ));
    }
    for tick in 0..=4_u32 {
        let part = f64::from(tick) / 4.0;
        let at = LEFT + (RIGHT - LEFT) * part;
        let anchor = if tick == 4 { "end" } else { "middle" };
        let label = Span::from_secs_f64(span * part).rounded();
        out.push_str(&format!("<text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\" fill=\"#8492a6\">{label}</text>\n", bottom + 18.0));
    }
    out.push_str("</svg>\n");
    out
}

fn row(story: &Story, step: &Stepped, top: f64, scale: &dyn Fn(Timestamp) -> f64) -> String {
    let colour = match &step.end {
        Some(StepEnd::Done { .. }) => "#2da160",
        Some(StepEnd::Skipped { .. }) => "#aab4c0",
        Some(StepEnd::Failed { .. } | StepEnd::Unknown { .. }) => "#d92d20",
        None => "#dc8a00",
    };
    let name = &step.step.id;
    let shown: String = if name.chars().count() > 30 { name.chars().take(29).chain(['…']).collect() } else { name.clone() };
    let from = scale(step.started);
    let wide = |to: Timestamp| (scale(to) - from).max(2.0);
    let mut out = format!("<text x=\"0\" y=\"{:.1}\" fill=\"currentColor\">{}</text>\n", top + 13.0, text(&shown));
    let about = format!("{}: {}, {}", step.step.title, end(step.end.as_ref()), step.took.unwrap_or(Span::ZERO).rounded());
    out.push_str(&format!(
        "<rect x=\"{from:.1}\" y=\"{top:.1}\" width=\"{:.1}\" height=\"16\" rx=\"2\" fill=\"{colour}\"><title>{}</title></rect>\n",
        wide(step.ended.unwrap_or(story.last)),
        text(&about)
    ));
    if let Some(predicted) = step.predicted {
        out.push_str(&format!(
            "<rect x=\"{from:.1}\" y=\"{top:.1}\" width=\"{:.1}\" height=\"16\" rx=\"2\" fill=\"none\" stroke=\"#8492a6\"><title>planned: {}</title></rect>\n",
            wide(predicted.after(step.started)),
            predicted.rounded()
        ));
    }
    let place = format!("step {}", step.step.id);
    for write in story.writes.iter().filter(|write| write.place == place) {
        let colour = if write.became == Became::Made { "#14324a" } else { "#d92d20" };
        out.push_str(&format!(
            "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"3\" fill=\"{colour}\"><title>{}</title></circle>\n",
            scale(write.at),
            top + 8.0,
            text(&write_cells(write).join(" "))
        ));
    }
    out
}

fn class(standing: Standing) -> &'static str {
    match standing {
        Standing::Done | Standing::NothingToDo | Standing::Running => "good",
        Standing::Parked | Standing::Interrupted => "warn",
        Standing::Failed | Standing::Killed => "bad",
    }
}
