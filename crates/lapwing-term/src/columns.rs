//! Text in columns, each as wide as what it holds. Tens of thousands of rows are laid out at once.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use crate::paint::Paint;

/// Rows under their titles.
pub(crate) struct Columns {
    titles: &'static [&'static str],
    rows: Vec<Vec<String>>,
    widths: Vec<usize>,
}

impl Columns {
    pub(crate) fn new(titles: &'static [&'static str]) -> Self {
        Self {
            titles,
            rows: Vec::new(),
            widths: titles.iter().map(|title| shown(title)).collect(),
        }
    }

    /// Adds a row: a cell for each title.
    pub(crate) fn add(&mut self, row: Vec<String>) {
        for (width, cell) in self.widths.iter_mut().zip(&row) {
            *width = shown(cell).max(*width);
        }
        self.rows.push(row);
    }

    /// Cells that a line takes with the first `columns` columns.
    pub(crate) fn width(&self, columns: usize) -> usize {
        self.indent(columns).saturating_sub(GAP.len())
    }

    /// The first `columns` columns of all rows. With `below`, what stands in the column after them comes on a line of
    /// its own, under the last of them.
    pub(crate) fn render(&self, columns: usize, below: bool, paint: Paint) -> String {
        let mut text = String::new();
        let titles: Vec<String> = self.titles.iter().map(|title| paint.bold(title)).collect();
        self.line(&mut text, titles.iter().take(columns));
        for row in &self.rows {
            self.line(&mut text, row.iter().take(columns));
            if let Some(cell) = row.get(columns).filter(|cell| below && !cell.is_empty()) {
                text.push_str(&format!("{:1$}{cell}\n", "", self.indent(columns - 1)));
            }
        }
        text
    }

    /// For a narrow screen: the first `columns` columns, and what stands in those after them on lines of its own, not
    /// wider than `width`, under the second column.
    pub(crate) fn render_narrow(&self, columns: usize, width: usize, paint: Paint) -> String {
        let mut text = String::new();
        let titles: Vec<String> = self.titles.iter().map(|title| paint.bold(title)).collect();
        self.line(&mut text, titles.iter().take(columns));
        let indent = self.indent(1);
        for row in &self.rows {
            self.line(&mut text, row.iter().take(columns));
            for cell in row.iter().skip(columns) {
                for line in wrapped(cell, width.saturating_sub(indent)) {
                    text.push_str(&format!("{:indent$}{line}\n", ""));
                }
            }
        }
        text
    }

    fn line<'a>(&self, text: &mut String, cells: impl Iterator<Item = &'a String>) {
        text.push(' ');
        for (cell, width) in cells.zip(&self.widths) {
            text.push_str(cell);
            let padding = width.saturating_sub(shown(cell)) + GAP.len();
            text.extend(std::iter::repeat_n(' ', padding));
        }
        text.truncate(text.trim_end_matches(' ').len());
        text.push('\n');
    }

    /// Where the column with this number begins.
    fn indent(&self, column: usize) -> usize {
        1 + self
            .widths
            .iter()
            .take(column)
            .map(|width| width + GAP.len())
            .sum::<usize>()
    }
}

const GAP: &str = "  ";

/// Cells that a text takes on a terminal; colours take none.
fn shown(text: &str) -> usize {
    let mut parts = text.split('\u{1b}');
    let first = parts.next().map_or(0, UnicodeWidthStr::width);
    let coloured = parts.filter_map(|part| part.split_once('m'));
    first + coloured.map(|(_, rest)| rest.width()).sum::<usize>()
}

/// As much of a text as fits into so many cells; what is cut ends in `…`.
pub(crate) fn cut(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let mut fits = String::new();
    for c in text.chars() {
        if fits.width() + c.width().unwrap_or(0) >= width {
            break;
        }
        fits.push(c);
    }
    fits + "…"
}

/// The words of a text in lines of at most `width` cells, where no word is wider.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.width() + 1 + word.width() <= width => line.extend([" ", word]),
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns(paint: Paint) -> Columns {
        let mut columns = Columns::new(&["NAME", "STATE", "WHY"]);
        columns.add(vec!["żółw".into(), paint.state("down", "down"), "refused".into()]);
        columns.add(vec!["東京".into(), "up".into(), String::new()]);
        columns
    }

    #[test]
    fn columns_are_as_wide_as_what_is_seen() {
        let plain = columns(Paint::Plain);
        let expected = " NAME  STATE  WHY
 żółw  down   refused
 東京  up
";
        assert_eq!(plain.render(3, false, Paint::Plain), expected);
        assert_eq!((plain.width(3), plain.width(2)), (21, 12));
        let coloured = columns(Paint::Colour);
        assert_eq!(coloured.width(3), 21);
        assert!(
            coloured
                .render(3, false, Paint::Plain)
                .contains("\u{1b}[31;1mdown\u{1b}[0m   refused\n")
        );
    }

    #[test]
    fn on_a_narrow_screen_the_rest_stands_below_in_lines() {
        let expected = " NAME
 żółw
       down
       refused
 東京
       up
";
        assert_eq!(columns(Paint::Plain).render_narrow(1, 14, Paint::Plain), expected);
        assert_eq!(
            wrapped("a bc 東京 d", 5),
            ["a bc", "東京", "d"].map(str::to_owned)
        );
        assert_eq!(wrapped("longer than that", 3), ["longer", "than", "that"]);
    }

    #[test]
    fn what_is_cut_says_so() {
        assert_eq!(
            (cut("東京", 4), cut("東京", 3), cut("web", 2)),
            ("東京".into(), "東…".into(), "w…".into())
        );
    }

    #[test]
    fn what_does_not_fit_stands_below_or_is_left_out() {
        let expected = " NAME  STATE
 żółw  down
       refused
 東京  up
";
        assert_eq!(columns(Paint::Plain).render(2, true, Paint::Plain), expected);
        assert!(
            !columns(Paint::Plain)
                .render(2, false, Paint::Plain)
                .contains("refused")
        );
    }
}
