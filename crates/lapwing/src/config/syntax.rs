//! Errors in the TOML itself, said for people. Shows no part of a line that may hold a secret.

use std::ops::Range;

use toml::de::Error;

use super::{
    diagnostic::{Place, Source},
    value::Reading,
    vocabulary,
};

const NOT_TOML: &str = "this is not TOML: ";

/// Tells each error and gives the places.
pub(super) fn report(reading: &mut Reading<'_>, file: u32, source: &Source, errors: &[Error]) -> Vec<Place> {
    let mut places: Vec<Place> = Vec::new();
    for error in errors {
        let span = error.span().unwrap_or_default();
        let end = source.text.len();
        let mut place = Place::new(file, &(span.start.min(end)..span.end.min(end)));
        // An error at a line's end belongs to that line.
        if place.start as usize == end && end > 0 && source.text.ends_with('\n') {
            place.start -= 1;
        }
        let line = line_of(&source.text, place);
        // One mistake often makes several errors on its line: the first says what it is.
        if places
            .last()
            .is_some_and(|last| line_of(&source.text, *last) == line)
        {
            continue;
        }
        let text = &source.text[line.clone()];
        if let Some(from) = secret_part(&source.text[..line.end], text) {
            let blank = text[from..].len() - text[from..].trim_start().len();
            reading
                .masks
                .push(Place::new(file, &(line.start + from + blank..line.end)));
        }
        let message = error.message().trim_end_matches(", expected literal string");
        reading.error(place, format!("{NOT_TOML}{message}"), hint(text));
        places.push(place);
    }
    places
}

/// What the broken lines of a configuration leave certain.
pub(super) struct Broken {
    /// The tables that broken lines stand in.
    tables: Vec<(u32, Range<usize>)>,
    /// True where the head of a table is broken: then nothing is certain.
    head: bool,
}

impl Broken {
    pub(super) fn of(reading: &Reading<'_>, lines: &[Place]) -> Self {
        let text = |place: Place| {
            reading
                .sources
                .get(place.file as usize)
                .map_or("", |s| s.text.as_str())
        };
        let is_head = |line: &str| line.trim_start().starts_with('[');
        let head = lines
            .iter()
            .any(|place| is_head(&text(*place)[line_of(text(*place), *place)]));
        let tables = lines
            .iter()
            .map(|place| (place.file, table_of(text(*place), *place)))
            .collect();
        Self { tables, head }
    }

    /// True when what stands here is as it was meant.
    pub(super) fn leaves(&self, place: Place) -> bool {
        let inside = |(file, table): &(u32, Range<usize>)| {
            *file == place.file && table.contains(&(place.start as usize))
        };
        !self.head && !self.tables.iter().any(inside)
    }

    /// Forgets what the broken lines may have caused.
    pub(super) fn keep_certain(&self, reading: &mut Reading<'_>) {
        reading.retain(|problem| problem.message.starts_with(NOT_TOML) || self.leaves(problem.place));
    }
}

fn line_of(text: &str, place: Place) -> Range<usize> {
    let at = text.floor_char_boundary(place.start as usize);
    let start = text[..at].rfind('\n').map_or(0, |n| n + 1);
    start..text[at..].find('\n').map_or(text.len(), |n| at + n)
}

/// From the head of the table that a place lies in to the next head.
fn table_of(text: &str, place: Place) -> Range<usize> {
    let line = line_of(text, place);
    let start = text[..line.start].rfind("\n[").map_or(0, |n| n + 1);
    start
        ..text[line.end..]
            .find("\n[")
            .map_or(text.len(), |n| line.end + n + 1)
}

/// What usually went wrong on such a line.
fn hint(line: &str) -> Option<String> {
    let (key, value) = line.split_once('=')?;
    let (key, value) = (key.trim(), value.split('#').next().unwrap_or_default().trim());
    if value.is_empty() {
        return Some("a value stands after the =".to_owned());
    }
    let bare = value.starts_with(|c: char| c.is_alphanumeric() || c == '/' || c == '$');
    if bare && !matches!(value, "true" | "false") && secret_part(line, line).is_none() {
        return Some(format!(
            "a text stands in quotes: {key} = \"{}\"",
            value.trim_matches('"')
        ));
    }
    if bare {
        return Some("a text stands in quotes".to_owned());
    }
    let quotes = value.matches('"').count();
    (quotes % 2 == 1).then(|| "a quote is missing".to_owned())
}

/// From where on a line may hold a secret: after the `=` of any key that is not known to be harmless. A line without a
/// key goes on with the value of the key before it.
fn secret_part(before: &str, line: &str) -> Option<usize> {
    let trimmed = line.trim_start();
    if trimmed.starts_with(['[', '#']) && !trimmed.contains('=') {
        return None;
    }
    let secret_inside = line
        .split(|c: char| !c.is_alphanumeric() && c != '_')
        .any(vocabulary::is_secret);
    match line.split_once('=') {
        Some((key, _)) if secret_inside || !harmless(key) => Some(key.len() + 1),
        Some(_) => None,
        None => {
            let above = before
                .lines()
                .rev()
                .skip(1)
                .find_map(|l| l.split_once('=').map(|(key, _)| key));
            (secret_inside || !above.is_some_and(harmless)).then_some(0)
        }
    }
}

fn harmless(key: &str) -> bool {
    let name = key
        .trim()
        .rsplit('.')
        .next()
        .unwrap_or_default()
        .trim()
        .trim_matches(['"', '\'']);
    vocabulary::is_harmless(name)
}
