//! Markdown rows, wide enough to be read as they are.

use std::io::{self, Write as _};

/// Prints a line at once: a row that is measured is shown, whatever becomes of the next.
pub(crate) fn say(line: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}

/// The head of a table.
pub(crate) fn head(columns: &[&str]) -> String {
    format!("| {} |\n|{}", columns.join(" | "), "---|".repeat(columns.len()))
}

/// A row of it.
pub(crate) fn row(cells: &[String]) -> String {
    format!("| {} |", cells.join(" | "))
}

/// A count with its thousands apart.
pub(crate) fn count(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_markdown() {
        assert_eq!(head(&["a", "b"]), "| a | b |\n|---|---|");
        assert_eq!(row(&["1".to_owned(), "2".to_owned()]), "| 1 | 2 |");
        assert_eq!(
            ["7", "999", "1,000", "12,346", "1,000,000"],
            [7.0, 999.0, 1000.4, 12345.6, 1e6]
                .map(count)
                .each_ref()
                .map(String::as_str)
        );
    }
}
