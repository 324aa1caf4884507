//! A plan as one HTML file that needs nothing else, with a picture of which nodes and workloads are down when, on the virtual time axis.
//! The picture reads without colour: each bar says in words what it is, and a table below says the same.

use super::html::STYLE;
use super::markup::{html, html_lines, html_table};
use super::planned::{Plan, diff, moment, outages};
use super::transcript::needs;
use crate::base::Span;
use crate::cluster::downtime::{Down, Line, Outage};

const MORE: &str = "summary{cursor:pointer;padding:.2rem 0}.bar{stroke:currentColor}.axis{stroke:#8492a6}.doubt{font-weight:600}\
.cordoned{fill:url(#stripes)}.short{fill:#f2c063}.whole{fill:#d92d20}.lab{fill:currentColor}.on{fill:#fff}.dark{fill:#14181d}\
@media print{details{display:block}}";
const WIDTH: f64 = 1_000.0;
/// Where the bars begin.
const LEFT: f64 = 260.0;
/// Where they end.
const RIGHT: f64 = 985.0;
/// Height of a row.
const ROW: f64 = 26.0;
/// Width of a character of a label, about.
const LETTER: f64 = 6.4;

impl Plan<'_> {
    /// The page.
    #[must_use]
    pub fn html(&self) -> String {
        let title = format!("Plan of {}", self.title());
        let (verdict, class) = self.verdict();
        let class = match class {
            0 => "good",
            1 => "warn",
            _ => "bad",
        };
        let mut out = format!(
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width\">\n\
             <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
             <title>{0}</title>\n<style>{STYLE}{MORE}</style>\n</head>\n<body>\n<h1>{0}</h1>\n<p class=\"{class}\"><strong>{1}</strong></p>\n",
            html(&title),
            html(&verdict)
        );
        if let Some(error) = self.summary().and_then(|summary| summary.error.as_ref()) {
            let causes: String = error.causes.iter().map(|cause| format!("<br>{}", html(cause))).collect();
            out.push_str(&format!("<p class=\"bad\">{}{causes}</p>\n", html(&error.message)));
        }
        out.push_str(&html_table(&["", ""], &self.facts()));
        out.push_str("<h2>What this rests on</h2>\n");
        let doubts = self.doubts();
        if doubts.is_empty() {
            out.push_str("<p>Nothing is assumed, nothing is unknown, nothing is asked.</p>\n");
        } else {
            let items = doubts.iter().map(|(head, text)| format!("<li><span class=\"doubt\">{head}</span>: {}</li>\n", html(text)));
            out.push_str(&format!("<ul>\n{}</ul>\n", items.collect::<String>()));
        }
        out.push_str(&format!("<h2>What is down when</h2>\n{}", self.picture()));
        if !self.downtime.is_empty() {
            out.push_str(&html_table(&["what", "from", "until", "how"], &outages(self.downtime)));
        }
        let checks = self.checks();
        if !checks.is_empty() {
            out.push_str(&format!("<h2>Checks</h2>\n{}", html_table(&["check", "", "", "known"], &checks)));
        }
        out.push_str("<h2>Steps</h2>\n");
        for section in self.sections() {
            let open = if section.is_open() { " open" } else { "" };
            let head = format!("<strong>{}</strong> ({})", html(&section.title()), html(&section.about()));
            out.push_str(&format!(
                "<details{open}><summary>{head}</summary>\n<pre>{}</pre>\n</details>\n",
                html_lines(&diff(&section.said))
            ));
        }
        let legend: String = self.legend().iter().map(|(word, text)| format!("<li><code>[{word}]</code> {}</li>\n", html(text))).collect();
        out.push_str(&format!("<h2>How each line is known</h2>\n<ul>\n{legend}</ul>\n"));
        if let Some(summary) = self.summary().filter(|summary| !summary.requests.is_empty()) {
            out.push_str(&format!("<p>Needs: {}</p>\n", html(&needs(&summary.requests))));
        }
        out.push_str("</body>\n</html>\n");
        out
    }

    /// Rows over one axis: the steps above, then each node and workload with a bar for every time that it is down.
    fn picture(&self) -> String {
        let sections = self.sections();
        let took = self.summary().map_or(Span::ZERO, |summary| summary.took).as_secs_f64();
        let ends = sections.iter().map(|section| section.from.plus(section.took).as_secs_f64());
        let span = ends.fold(took.max(1.0), f64::max);
        let at = |after: Span| LEFT + (RIGHT - LEFT) * (after.as_secs_f64() / span).min(1.0);
        let rows = sections.len() + self.downtime.len();
        let bottom = ROW * rows as f64 + 6.0;
        let mut out = format!(
            "<svg viewBox=\"0 0 {WIDTH} {:.0}\" role=\"img\" aria-label=\"Which nodes and workloads are down when; the table below says the same\">\n\
             <defs><pattern id=\"stripes\" width=\"6\" height=\"6\" patternUnits=\"userSpaceOnUse\" patternTransform=\"rotate(45)\">\
             <line x1=\"0\" y1=\"0\" x2=\"0\" y2=\"6\" stroke=\"#8492a6\" stroke-width=\"3\"/></pattern></defs>\n",
            bottom + 30.0
        );
        for (place, section) in sections.iter().enumerate() {
            let (top, from) = (ROW * place as f64 + 4.0, at(section.from));
            let wide = (at(section.from.plus(section.took)) - from).max(2.0);
            let name = &section.item.id;
            out.push_str(&label(&format!("step {name}"), top));
            out.push_str(&format!(
                "<rect class=\"bar\" x=\"{from:.1}\" y=\"{:.1}\" width=\"{wide:.1}\" height=\"8\" fill=\"none\"><title>{}</title></rect>\n",
                top + 5.0,
                html(&format!("{} ({})", section.title(), section.about()))
            ));
        }
        for (place, line) in self.downtime.iter().enumerate() {
            let top = ROW * (sections.len() + place) as f64 + 4.0;
            out.push_str(&label(&line.object, top));
            out.push_str(&bars(line, top, Span::from_secs_f64(span), &at));
        }
        for tick in 0..=4_u32 {
            let part = f64::from(tick) / 4.0;
            let x = LEFT + (RIGHT - LEFT) * part;
            let anchor = if tick == 4 { "end" } else { "middle" };
            let text = Span::from_secs_f64(span * part).rounded();
            out.push_str(&format!(
                "<line class=\"axis\" x1=\"{x:.1}\" y1=\"0\" x2=\"{x:.1}\" y2=\"{bottom:.1}\" stroke-dasharray=\"2 6\"/>\n\
                 <text class=\"lab\" x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\">{text}</text>\n",
                bottom + 18.0
            ));
        }
        out.push_str("</svg>\n");
        if self.downtime.is_empty() {
            out.push_str("<p>No node and no workload that was there before has fewer ready pods than it is to have.</p>\n");
        }
        out
    }
}

fn label(name: &str, top: f64) -> String {
    let count = name.chars().count();
    let shown: String = if count > 36 { std::iter::once('…').chain(name.chars().skip(count - 35)).collect() } else { name.to_owned() };
    format!("<text class=\"lab\" x=\"0\" y=\"{:.1}\">{}</text>\n", top + 13.0, html(&shown))
}

fn bars(line: &Line, top: f64, end: Span, at: &dyn Fn(Span) -> f64) -> String {
    let bar = |outage: &Outage| {
        let from = at(outage.from);
        let wide = (at(outage.to.unwrap_or(end)) - from).max(3.0);
        let class = match &outage.how {
            Down::Cordoned => "cordoned",
            how if how.is_whole() => "whole",
            _ => "short",
        };
        let to = outage.to.map_or_else(|| "the end".to_owned(), moment);
        let told = outage.how.told();
        let about = html(&format!("{}: {told}, {} to {to}", line.object, moment(outage.from)));
        let mut out = format!(
            "<rect class=\"bar {class}\" x=\"{from:.1}\" y=\"{top:.1}\" width=\"{wide:.1}\" height=\"18\"><title>{about}</title></rect>\n"
        );
        // What does not fit is in its title and in the table.
        if wide > LETTER * told.chars().count() as f64 + 6.0 {
            let ink = match class {
                "whole" => "on",
                "short" => "dark",
                _ => "lab",
            };
            out.push_str(&format!("<text class=\"{ink}\" x=\"{:.1}\" y=\"{:.1}\">{}</text>\n", from + 4.0, top + 13.0, html(&told)));
        }
        out
    };
    line.outages.iter().map(bar).collect()
}
