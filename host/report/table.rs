//! Columns under headings, as wide as their content.

use super::escape;
use super::paint::Paint;

/// Lines of columns; the last column is not padded. Empty when there are no rows.
#[must_use]
pub fn columns(headings: &[&str], rows: &[Vec<String>], paint: Paint) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let rows: Vec<Vec<String>> = rows.iter().map(|row| row.iter().map(|cell| escape::line(cell).into_owned()).collect()).collect();
    let width = |place: usize| {
        let cells = rows.iter().filter_map(|row| row.get(place)).map(|cell| cell.chars().count());
        cells.chain(headings.get(place).map(|heading| heading.chars().count())).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..headings.len()).map(width).collect();
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let padded: Vec<String> = cells.zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        padded.join("  ").trim_end().to_owned()
    };
    let mut out = format!("{}\n", paint.dim(line(&mut headings.iter().copied())));
    for row in &rows {
        out.push_str(&line(&mut row.iter().map(String::as_str)));
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_content() {
        let rows = [vec!["a".to_owned(), "none".to_owned(), "T".to_owned()], vec!["long-name".into(), "x".into(), "U".into()]];
        let text = columns(&["NAME", "IMPACT", "TITLE"], &rows, Paint::plain());
        assert_eq!(text, "NAME       IMPACT  TITLE\na          none    T\nlong-name  x       U\n");
        assert_eq!(columns(&["NAME"], &[], Paint::plain()), "");
    }
}
