//! What is wrong in a configuration, and where. Never shows a secret: values that may be one are masked in the lines
//! shown, and values taken from the environment or from files are masked in the texts.

use std::{fmt, ops::Range, path::PathBuf};

use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet, renderer::DecorStyle};

/// A text that was read: a configuration file, a list of hosts or an added monitor.
#[derive(Debug)]
pub(super) struct Source {
    /// As it is shown.
    pub(super) path: PathBuf,
    pub(super) text: String,
}

/// A range of bytes in a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) file: u32,
    pub(super) start: u32,
    pub(super) end: u32,
}

impl Place {
    /// For what has no place in any file.
    pub(super) const NONE: Self = Self {
        file: u32::MAX,
        start: 0,
        end: 0,
    };

    pub(super) fn new(file: u32, span: &Range<usize>) -> Self {
        Self {
            file,
            start: span.start as u32,
            end: span.end as u32,
        }
    }
}

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(super) struct At<T> {
    pub(super) value: T,
    pub(super) place: Place,
}

/// A diagnostic before its place is looked up.
#[derive(Debug)]
pub(super) struct Problem {
    pub(super) message: String,
    pub(super) hint: Option<String>,
    pub(super) place: Place,
    /// Another place that it is about.
    pub(super) also: Option<(&'static str, Place)>,
}

/// One error: what, where and what to do.
#[derive(Clone, Debug)]
pub struct Diagnostic {
    pub message: String,
    pub hint: Option<String>,
    /// None when it is about no place in a file.
    pub at: Option<Excerpt>,
    /// Another place that it is about, and why.
    pub also: Option<(&'static str, Excerpt)>,
}

/// A line of a file with a part of it marked; what may be secret in it reads `***`.
#[derive(Clone, Debug)]
pub struct Excerpt {
    pub path: String,
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    text: String,
    marked: Range<usize>,
}

/// Every error of a configuration.
#[derive(Clone, Debug, Default)]
pub struct Report {
    diagnostics: Vec<Diagnostic>,
}

/// Most diagnostics that are written out; the rest is counted.
const MOST_SHOWN: usize = 200;
/// Most masked ranges that are looked at for one line.
const MOST_MASKS: usize = 1000;
/// Longest part of a line that is shown, in bytes.
const LONGEST_LINE: usize = 300;

impl Report {
    /// One error that has no place in a file.
    pub(super) fn one(message: impl Into<String>, hint: Option<String>) -> Self {
        Self {
            diagnostics: vec![Diagnostic {
                message: message.into(),
                hint,
                at: None,
                also: None,
            }],
        }
    }

    /// Looks up the places. `hidden` are values that must not be shown, `masks` the ranges that may hold such.
    pub(super) fn new(
        mut problems: Vec<Problem>,
        sources: &[&Source],
        masks: &[Place],
        hidden: &[String],
    ) -> Self {
        problems.sort_by_key(|p| (p.place.file, p.place.start));
        let mut masks = masks.to_vec();
        masks.sort();
        let excerpts = Excerpts {
            lines: sources.iter().map(|s| line_starts(&s.text)).collect(),
            sources,
            masks,
        };
        let redact = |text: String| {
            hidden
                .iter()
                .filter(|h| h.len() >= 4)
                .fold(text, |text, hidden| text.replace(hidden.as_str(), "***"))
        };
        let diagnostics = problems.into_iter().map(|problem| Diagnostic {
            message: redact(problem.message),
            hint: problem.hint.map(redact),
            at: excerpts.get(problem.place),
            also: problem
                .also
                .and_then(|(why, place)| Some((why, excerpts.get(place)?))),
        });
        Self {
            diagnostics: diagnostics.collect(),
        }
    }

    pub fn diagnostics(&self) -> &[Diagnostic] {
        &self.diagnostics
    }

    /// All of it for people, each error with its line and a marker.
    pub fn render(&self, colour: bool) -> String {
        let renderer = if colour {
            Renderer::styled()
        } else {
            Renderer::plain()
        };
        let renderer = renderer.decor_style(DecorStyle::Ascii);
        let mut out = String::new();
        for diagnostic in self.diagnostics.iter().take(MOST_SHOWN) {
            out.push_str(&renderer.render(&diagnostic.groups()));
            out.push_str("\n\n");
        }
        let count = self.diagnostics.len();
        if count > MOST_SHOWN {
            out.push_str(&format!(
                "and {} more errors that are not shown\n",
                count - MOST_SHOWN
            ));
        }
        out.push_str(&match count {
            1 => "1 error".to_owned(),
            count => format!("{count} errors"),
        });
        out
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl std::error::Error for Report {}

impl From<Report> for String {
    fn from(report: Report) -> Self {
        report.render(false)
    }
}

impl Diagnostic {
    fn groups(&self) -> Vec<Group<'_>> {
        let title = Level::ERROR.primary_title(self.message.as_str());
        let mut group = Group::with_title(title);
        if let Some(at) = &self.at {
            group = at.put(group);
        }
        let mut groups = Vec::new();
        if let Some(hint) = &self.hint {
            group = group.element(Level::HELP.message(hint.as_str()));
        }
        groups.push(group);
        if let Some((why, at)) = &self.also {
            groups.push(at.put(Group::with_title(Level::NOTE.secondary_title(*why))));
        }
        groups
    }
}

impl Excerpt {
    fn put<'a>(&'a self, group: Group<'a>) -> Group<'a> {
        let marker = AnnotationKind::Primary.span(self.marked.clone());
        let snippet = Snippet::source(self.text.as_str())
            .line_start(self.line)
            .annotation(marker);
        // The renderer counts columns in what is shown; where that is not what is written, they are given.
        if self.text[..self.marked.start].chars().count() + 1 == self.column {
            return group.element(snippet.path(self.path.as_str()));
        }
        let origin = Origin::path(self.path.as_str())
            .line(self.line)
            .char_column(self.column);
        group.element(origin).element(snippet)
    }
}

/// Makes excerpts; finds lines by binary search, so that a large file with many errors stays fast.
struct Excerpts<'a> {
    sources: &'a [&'a Source],
    lines: Vec<Vec<u32>>,
    masks: Vec<Place>,
}

impl Excerpts<'_> {
    fn get(&self, place: Place) -> Option<Excerpt> {
        let source = self.sources.get(place.file as usize)?;
        let starts = &self.lines[place.file as usize];
        let line = starts.partition_point(|s| *s <= place.start).max(1);
        let begin = starts[line - 1] as usize;
        let rest = &source.text[begin..];
        let end = begin + rest.find('\n').unwrap_or(rest.len());
        let end = begin + source.text[begin..end].trim_end_matches('\r').len();
        let (start, stop) = (place.start as usize, (place.end as usize).min(end));
        let column = source
            .text
            .get(begin..start.min(end))
            .map_or(1, |t| t.chars().count() + 1);
        let (text, marked) = self.masked(place.file, begin..end, start..stop.max(start));
        let (text, marked) = cut(text, marked);
        Some(Excerpt {
            path: source.path.display().to_string(),
            line,
            column,
            text,
            marked,
        })
    }

    /// The line with its secrets replaced, and where in it the marked part lies.
    fn masked(&self, file: u32, line: Range<usize>, marked: Range<usize>) -> (String, Range<usize>) {
        let source = &self.sources[file as usize].text;
        // Ranges sorted by begin; one that began on an earlier line may reach into this one.
        let after = self
            .masks
            .partition_point(|m| (m.file, m.start as usize) < (file, line.end));
        let near = self.masks[..after].iter().rev().take(MOST_MASKS);
        let masks: Vec<_> = near
            .filter(|m| m.file == file && m.end as usize > line.start)
            .collect();
        let (mut out, mut from, mut to, mut at) = (String::new(), None, None, line.start);
        while at < line.end {
            let mask = masks
                .iter()
                .find(|m| (m.start as usize..m.end as usize).contains(&at));
            let next = match mask {
                Some(mask) => (mask.end as usize).min(line.end),
                None => at + source[at..].chars().next().map_or(1, char::len_utf8),
            };
            if from.is_none() && marked.start < next {
                from = Some(out.len());
            }
            out.push_str(if mask.is_some() { "***" } else { &source[at..next] });
            if to.is_none() && marked.end <= next {
                to = Some(if marked.end > at {
                    out.len()
                } else {
                    from.unwrap_or(out.len())
                });
            }
            at = next;
        }
        let from = from.unwrap_or(out.len());
        let to = to.unwrap_or(out.len()).max(from);
        (out, from..to)
    }
}

/// Where each line begins.
pub(super) fn line_starts(text: &str) -> Vec<u32> {
    std::iter::once(0)
        .chain(text.match_indices('\n').map(|(at, _)| at as u32 + 1))
        .collect()
}

/// A long line is cut after what is marked, a very long one before it too.
fn cut(text: String, marked: Range<usize>) -> (String, Range<usize>) {
    if text.len() <= LONGEST_LINE {
        return (text, marked);
    }
    let before = if marked.start < LONGEST_LINE {
        0
    } else {
        marked.start - LONGEST_LINE / 3
    };
    let from = text.floor_char_boundary(before);
    let to = text.floor_char_boundary((marked.start + LONGEST_LINE / 3).min(text.len()));
    let shown = &text[from..to];
    let (head, tail) = (
        if from > 0 { "…" } else { "" },
        if to < text.len() { "…" } else { "" },
    );
    let shift = |at: usize| at.saturating_sub(from).min(shown.len()) + head.len();
    (
        format!("{head}{shown}{tail}"),
        shift(marked.start)..shift(marked.end),
    )
}
