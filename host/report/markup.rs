//! Text of others in pages of Markdown and HTML: nothing of it is markup there.

use super::escape;

/// In a line of a page of Markdown.
#[must_use]
pub fn page(text: &str) -> String {
    let mut out = String::new();
    for c in escape::line(text.trim_end()).chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '|' | '`' | '*' | '_' | '[' | ']' | '\\' | '!' | '#' | '~' => out.extend(['\\', c]),
            c => out.push(c),
        }
    }
    out
}

/// The same between backticks.
#[must_use]
pub fn code(text: &str) -> String {
    escape::line(text).replace('`', "'")
}

/// Lines as they are, in a fence of this language that none of them can end.
#[must_use]
pub fn fenced(language: &str, text: &str) -> String {
    let longest = text.lines().map(|line| line.trim_start().chars().take_while(|c| *c == '`').count()).max().unwrap_or(0);
    let fence = "`".repeat(longest.max(2) + 1);
    format!("{fence}{language}\n{}\n{fence}\n", escape::lines(text).trim_end())
}

/// A table of Markdown.
#[must_use]
pub fn page_table(heads: &[&str], rows: &[Vec<String>]) -> String {
    let line = |cells: &mut dyn Iterator<Item = String>| format!("| {} |\n", cells.collect::<Vec<_>>().join(" | "));
    let mut out = line(&mut heads.iter().map(|head| (*head).to_owned()));
    out.push_str(&format!("|{}\n", "---|".repeat(heads.len())));
    rows.iter().for_each(|row| out.push_str(&line(&mut row.iter().map(|cell| page(cell)))));
    out
}

/// On one line of HTML, in an attribute too.
#[must_use]
pub fn html(said: &str) -> String {
    markup_free(&escape::line(said))
}

/// The same on several.
#[must_use]
pub fn html_lines(said: &str) -> String {
    markup_free(&escape::lines(said))
}

/// A table of HTML.
#[must_use]
pub fn html_table(heads: &[&str], rows: &[Vec<String>]) -> String {
    let heads: String = heads.iter().map(|head| format!("<th>{head}</th>")).collect();
    let row = |row: &Vec<String>| format!("<tr>{}</tr>\n", row.iter().map(|cell| format!("<td>{}</td>", html(cell))).collect::<String>());
    format!("<table>\n<tr>{heads}</tr>\n{}</table>\n", rows.iter().map(row).collect::<String>())
}

fn markup_free(said: &str) -> String {
    said.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;").replace('\'', "&#39;")
}
