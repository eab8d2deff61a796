//! Typed reading of TOML values. Every error is collected with its place; reading goes on.

use std::{
    collections::{HashMap, HashSet},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use jiff::tz::TimeZone;
use lapwing_core::{
    kind::{KindInfo, OptionType, OptionValue, nearest},
    time::parse_duration,
};
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    Environment, Report,
    command_line::kinds,
    diagnostic::{At, Place, Problem, Source},
    keys::{Key, KeyType},
    secrets::{self, Wrong},
    stored::{NO_FILES, NO_SECRET_FILE},
    vocabulary,
};

/// All that reading carries along: the sources, the problems so far, and what must not be shown of them.
pub(super) struct Reading<'a> {
    pub(super) env: &'a Environment,
    pub(super) sources: &'a [Arc<Source>],
    /// From which number on the sources are added monitors.
    first_added: usize,
    /// Lists of hosts; their numbers go on from `sources`.
    pub(super) lists: Vec<Source>,
    pub(super) kinds: Vec<&'static KindInfo>,
    problems: Vec<Problem>,
    told: HashSet<(Place, String)>,
    pub(super) masks: Vec<Place>,
    hidden: HashSet<String>,
    pub(super) zones: HashMap<String, TimeZone>,
}

/// What must not be shown of the sources: places in them, and values from elsewhere.
#[derive(Clone, Debug, Default)]
pub(super) struct Unshown {
    masks: Vec<Place>,
    hidden: HashSet<String>,
}

/// A key and its value.
#[derive(Clone, Copy)]
pub(super) struct Node<'d> {
    pub(super) key: &'d str,
    pub(super) key_at: Place,
    pub(super) value: &'d DeValue<'d>,
    pub(super) at: Place,
}

/// The value of an option with its place, ready for the kind or notifier that reads it.
#[derive(Clone, Debug)]
pub(super) struct GivenOption {
    /// The kind that it is addressed to, or all.
    pub(super) kind: Option<String>,
    pub(super) name: String,
    pub(super) value: OptionValue,
    pub(super) key_at: Place,
    pub(super) at: Place,
    /// True when a part of it came from the environment or a file.
    pub(super) hidden: bool,
}

/// The entries of a table.
pub(super) fn nodes<'d>(file: u32, table: &'d DeTable<'d>) -> impl Iterator<Item = Node<'d>> {
    table.iter().map(move |(key, value)| Node {
        key: key.get_ref(),
        key_at: Place::new(file, &key.span()),
        value: value.get_ref(),
        at: Place::new(file, &value.span()),
    })
}

impl<'a> Reading<'a> {
    pub(super) fn new(env: &'a Environment, sources: &'a [Arc<Source>]) -> Self {
        Self {
            env,
            sources,
            first_added: usize::MAX,
            lists: Vec::new(),
            kinds: kinds(),
            problems: Vec::new(),
            told: HashSet::new(),
            masks: Vec::new(),
            hidden: HashSet::new(),
            zones: HashMap::new(),
        }
    }

    /// Goes on where the files, the first `files` of `sources`, were read: what must not be shown of them still is not.
    pub(super) fn beside(
        env: &'a Environment,
        (sources, files): (&'a [Arc<Source>], usize),
        Unshown { masks, hidden }: Unshown,
    ) -> Self {
        Self {
            first_added: files,
            masks,
            hidden,
            ..Self::new(env, sources)
        }
    }

    /// True for the number of an added monitor: whoever may ask the daemon wrote it, not whoever owns the files.
    pub(super) fn is_added(&self, file: u32) -> bool {
        file as usize >= self.first_added
    }

    pub(super) fn error(
        &mut self,
        place: Place,
        message: impl Into<String>,
        hint: impl Into<Option<String>>,
    ) {
        self.problem(Problem {
            message: message.into(),
            hint: hint.into(),
            place,
            also: None,
        });
    }

    /// The same problem at the same place is told once: a wrong default would else be told for each monitor.
    pub(super) fn problem(&mut self, problem: Problem) {
        if self.told.insert((problem.place, problem.message.clone())) {
            self.problems.push(problem);
        }
    }

    /// Keeps the problems that pass.
    pub(super) fn retain(&mut self, keep: impl Fn(&Problem) -> bool) {
        self.problems.retain(keep);
    }

    pub(super) fn failed(&self) -> bool {
        !self.problems.is_empty()
    }

    pub(super) fn count(&self) -> usize {
        self.problems.len()
    }

    /// The lists that were read, and what must not be shown; or a report when anything is wrong.
    pub(super) fn done(mut self) -> Result<(Vec<Source>, Unshown), Report> {
        if let Some(report) = self.report() {
            return Err(report);
        }
        let Self {
            lists, masks, hidden, ..
        } = self;
        Ok((lists, Unshown { masks, hidden }))
    }

    /// What is wrong so far, if anything is. It is forgotten.
    pub(super) fn report(&mut self) -> Option<Report> {
        if self.problems.is_empty() {
            return None;
        }
        self.told.clear();
        let problems = std::mem::take(&mut self.problems);
        let sources = self.sources.iter().map(|source| &**source);
        let all: Vec<&Source> = sources.chain(&self.lists).collect();
        let hidden: Vec<_> = self.hidden.iter().cloned().collect();
        Some(Report::new(problems, &all, &self.masks, &hidden))
    }

    /// The folder that relative paths of this file start at.
    pub(super) fn folder(&self, file: u32) -> PathBuf {
        // An added monitor lies beside the files.
        let file = if self.is_added(file) { 0 } else { file as usize };
        let path = self.sources.get(file).map(|s| s.path.as_path());
        path.and_then(Path::parent)
            .map(Path::to_owned)
            .unwrap_or_default()
    }

    /// The text of a place, for messages.
    pub(super) fn literal(&self, place: Place) -> &'a str {
        let source = self
            .sources
            .get(place.file as usize)
            .map_or("", |s| s.text.as_str());
        source
            .get(place.start as usize..place.end as usize)
            .unwrap_or_default()
    }

    /// Says that a value is not what its key asks for.
    pub(super) fn wrong(&mut self, node: Node<'_>, key: &Key, expected: &str) {
        let literal = self.literal(node.at);
        let shown = if literal.len() > 60 || literal.contains('\n') {
            "this"
        } else {
            literal
        };
        let message = format!("{} = {shown} is not {expected}", key.name);
        let unit = matches!(
            (node.value, key.ty),
            (DeValue::Integer(_), KeyType::Duration | KeyType::Durations)
        );
        let hint = match (unit, key.example) {
            (true, _) => Some(format!("did you mean {} = \"{literal}s\"?", key.name)),
            (_, "") => None,
            (_, example) => Some(format!("for example: {} = {example}", key.name)),
        };
        self.error(node.at, message, hint);
    }

    /// Tells of a key that is not known, with the nearest that is.
    pub(super) fn unknown(&mut self, node: Node<'_>, owner: &str, known: &[&str]) {
        self.mask_unknown(node);
        let message = format!("{owner} has no key \"{}\"", node.key);
        let hint = match nearest(node.key, known.iter().copied()) {
            Some(near) => format!("did you mean \"{near}\"?"),
            None if known.len() <= 12 => format!("it has: {}", known.join(", ")),
            None => "\"lapwing config schema\" lists every key".to_owned(),
        };
        self.error(node.key_at, message, hint);
    }

    pub(super) fn later(&mut self, place: Place, what: &str) {
        let hint = "take it out: nothing is accepted and then ignored".to_owned();
        self.error(
            place,
            format!("this version of Lapwing does not have {what}"),
            hint,
        );
    }

    /// Keeps a value out of the lines shown, but for numbers, true and false, and texts that only name their source.
    pub(super) fn mask(&mut self, node: Node<'_>) {
        self.mask_value(node.at, node.value);
    }

    /// Keeps the value of an unknown key out of the lines shown, unless it is a misspelt harmless one.
    pub(super) fn mask_unknown(&mut self, node: Node<'_>) {
        if !vocabulary::is_harmless(node.key) {
            self.mask(node);
        }
    }

    fn mask_value(&mut self, at: Place, value: &DeValue<'_>) {
        match value {
            DeValue::String(text) if is_variable(text) => {}
            DeValue::String(_) => {
                let quotes = u32::from(self.literal(at).len() >= 2);
                self.masks.push(Place {
                    start: at.start + quotes,
                    end: at.end - quotes,
                    ..at
                });
            }
            DeValue::Array(items) => {
                for item in items {
                    self.mask_value(Place::new(at.file, &item.span()), item.get_ref());
                }
            }
            DeValue::Table(table) if is_file(table) => {}
            DeValue::Table(table) => {
                for node in nodes(at.file, table) {
                    self.mask_value(node.at, node.value);
                }
            }
            _ => {}
        }
    }

    /// The text of a key with its variables put in.
    fn interpolated(&mut self, at: Place, text: &str) -> Option<(String, Vec<String>)> {
        self.no_variable(at, text)?;
        self.filled(at, text)
    }

    /// The text with its variables put in, and what they held.
    fn filled(&mut self, at: Place, text: &str) -> Option<(String, Vec<String>)> {
        if !text.contains('$') {
            return Some((text.to_owned(), Vec::new()));
        }
        match secrets::interpolate(text, self.env) {
            Ok(done) => Some(done),
            Err(errors) => {
                for wrong in errors {
                    self.wrong_source(at, wrong);
                }
                None
            }
        }
    }

    /// Where `part` stands in the text of a place.
    pub(super) fn part(&self, at: Place, part: &str) -> Option<Place> {
        let start = at.start + self.literal(at).find(part)? as u32;
        Some(Place {
            start,
            end: start + part.len() as u32,
            ..at
        })
    }

    fn wrong_source(&mut self, at: Place, wrong: Wrong) {
        let place = wrong.part.and_then(|part| self.part(at, &part));
        self.error(place.unwrap_or(at), wrong.message, wrong.hint);
    }

    pub(super) fn text(&mut self, node: Node<'_>, key: &Key) -> Option<String> {
        let DeValue::String(text) = node.value else {
            self.wrong(node, key, "a text in quotes");
            return None;
        };
        self.interpolated(node.at, text).map(|(text, _)| text)
    }

    pub(super) fn duration(&mut self, node: Node<'_>, key: &Key) -> Option<Duration> {
        let DeValue::String(text) = node.value else {
            self.wrong(node, key, "a length of time");
            return None;
        };
        let (text, _) = self.interpolated(node.at, text)?;
        match parse_duration(&text) {
            Ok(length) => Some(length),
            Err(_) => {
                self.wrong(node, key, "a length of time, like \"500ms\", \"30s\" or \"14d\"");
                None
            }
        }
    }

    pub(super) fn integer(&mut self, node: Node<'_>, key: &Key) -> Option<i64> {
        let KeyType::Integer { min, max } = key.ty else {
            return None;
        };
        let given = match node.value {
            DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix()).ok(),
            DeValue::String(text) if text.contains('$') => {
                self.interpolated(node.at, text)?.0.trim().parse().ok()
            }
            _ => None,
        };
        let good = given.filter(|v| (min..=max).contains(v));
        if good.is_none() {
            self.wrong(node, key, &format!("a whole number from {min} to {max}"));
        }
        good
    }

    pub(super) fn number(&mut self, node: Node<'_>, key: &Key) -> Option<f64> {
        let KeyType::Number { min, max } = key.ty else {
            return None;
        };
        let given: Option<f64> = match node.value {
            DeValue::Integer(number) if number.radix() == 10 => number.as_str().parse().ok(),
            DeValue::Float(number) => number.as_str().parse().ok(),
            DeValue::String(text) if text.contains('$') => {
                self.interpolated(node.at, text)?.0.trim().parse().ok()
            }
            _ => None,
        };
        let good = given.filter(|v| (min..=max).contains(v));
        if good.is_none() {
            self.wrong(node, key, &format!("a number from {min} to {max}"));
        }
        good
    }

    pub(super) fn flag(&mut self, node: Node<'_>, key: &Key) -> Option<bool> {
        let given = match node.value {
            DeValue::Boolean(flag) => Some(*flag),
            DeValue::String(text) if text.contains('$') => {
                self.interpolated(node.at, text)?.0.trim().parse().ok()
            }
            _ => None,
        };
        if given.is_none() {
            self.wrong(node, key, "true or false");
        }
        given
    }

    pub(super) fn choice(&mut self, node: Node<'_>, key: &Key) -> Option<&'static str> {
        let KeyType::Choice(words) = key.ty else {
            return None;
        };
        let given = match node.value {
            DeValue::String(text) => self.interpolated(node.at, text)?.0,
            // `family = 4` says what it means.
            DeValue::Integer(number) => number.as_str().to_owned(),
            _ => String::new(),
        };
        let good = words.iter().copied().find(|w| *w == given);
        if good.is_none() {
            let message = format!("{} = {} is not known", key.name, self.literal(node.at));
            let hint = match nearest(&given, words.iter().copied()) {
                Some(near) if !given.is_empty() => format!("did you mean \"{near}\"?"),
                _ => format!("it is one of: {}", words.join(", ")),
            };
            self.error(node.at, message, hint);
        }
        good
    }

    /// A list of texts; one text is a list of one.
    pub(super) fn texts(&mut self, node: Node<'_>, key: &Key) -> Vec<At<String>> {
        let mut texts = Vec::new();
        for (value, at) in items(node) {
            let DeValue::String(text) = value else {
                self.wrong(Node { value, at, ..node }, key, "a text in quotes");
                continue;
            };
            if let Some((value, _)) = self.interpolated(at, text) {
                texts.push(At { value, place: at });
            }
        }
        texts
    }

    /// A list of lengths of time; one is a list of one.
    pub(super) fn durations(&mut self, node: Node<'_>, key: &Key) -> Vec<At<Duration>> {
        let items: Vec<_> = items(node).collect();
        let read = |(value, at)| {
            Some(At {
                value: self.duration(Node { value, at, ..node }, key)?,
                place: at,
            })
        };
        items.into_iter().filter_map(read).collect()
    }

    /// The value of an option, by what its kind or notifier declares; None only after an error. Paths start at the
    /// folder of the configuration file.
    pub(super) fn option(&mut self, node: Node<'_>, ty: Option<OptionType>) -> Option<GivenOption> {
        match ty {
            None => self.mask_unknown(node),
            Some(OptionType::Secret | OptionType::Secrets | OptionType::Pairs) => self.mask(node),
            Some(_) => {}
        }
        match (ty, self.is_added(node.at.file)) {
            (Some(OptionType::Secrets), _) | (Some(OptionType::Secret), true) => self.no_literals(node)?,
            (Some(OptionType::Pairs), true) => self.no_secret_pairs(node)?,
            (Some(OptionType::Path | OptionType::Output), true) => self.no_paths(node)?,
            _ => {}
        }
        let mut hidden = false;
        let pairs = matches!(ty, Some(OptionType::Pairs));
        let mut value = match node.value {
            DeValue::Table(table) if pairs => self.option_table(node.at.file, table, &mut hidden)?,
            value => self.option_value(node.at, value, &mut hidden)?,
        };
        let folder = match ty {
            Some(OptionType::Path) => Some(self.folder(node.at.file)),
            Some(OptionType::Output) => Some(self.folder_of_output(node.at.file)),
            _ => None,
        };
        if let (Some(folder), OptionValue::Text(path)) = (folder, &value)
            && !path.is_empty()
        {
            value = OptionValue::Text(folder.join(path).to_string_lossy().into_owned());
        }
        let name = node.key.to_owned();
        Some(GivenOption {
            kind: None,
            name,
            value,
            key_at: node.key_at,
            at: node.at,
            hidden,
        })
    }

    fn option_value(&mut self, at: Place, value: &DeValue<'_>, hidden: &mut bool) -> Option<OptionValue> {
        Some(match value {
            DeValue::String(text) => {
                let (text, used) = self.filled(at, text)?;
                *hidden |= !used.is_empty();
                self.hidden.extend(used);
                OptionValue::Text(text)
            }
            DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
                Ok(number) => OptionValue::Int(number),
                Err(_) => {
                    self.error(at, "this number is too large", None);
                    return None;
                }
            },
            DeValue::Float(number) => OptionValue::Float(number.as_str().parse().unwrap_or(f64::NAN)),
            DeValue::Boolean(flag) => OptionValue::Bool(*flag),
            DeValue::Datetime(date) => OptionValue::Text(date.to_string()),
            DeValue::Array(items) => {
                let mut values = Vec::with_capacity(items.len());
                for item in items {
                    values.push(self.option_value(
                        Place::new(at.file, &item.span()),
                        item.get_ref(),
                        hidden,
                    )?);
                }
                OptionValue::List(values)
            }
            DeValue::Table(table) if is_file(table) => {
                *hidden = true;
                OptionValue::Text(self.secret_file(at, table)?)
            }
            DeValue::Table(table) => self.option_table(at.file, table, hidden)?,
        })
    }

    fn option_table(&mut self, file: u32, table: &DeTable<'_>, hidden: &mut bool) -> Option<OptionValue> {
        let mut pairs = Vec::new();
        for node in nodes(file, table) {
            pairs.push((
                node.key.to_owned(),
                self.option_value(node.at, node.value, hidden)?,
            ));
        }
        Some(OptionValue::Table(pairs))
    }

    /// A service of systemd may not write beside its configuration, but where it is told to.
    fn folder_of_output(&self, file: u32) -> PathBuf {
        match self.env.folder("LOGS_DIRECTORY") {
            Some(folder) => folder,
            None => self.folder(file),
        }
    }

    fn secret_file(&mut self, at: Place, table: &DeTable<'_>) -> Option<String> {
        if self.is_added(at.file) {
            self.error(at, NO_FILES, NO_SECRET_FILE.to_owned());
            return None;
        }
        let node = nodes(at.file, table).next()?;
        let DeValue::String(path) = node.value else {
            let hint = "for example: { file = \"/etc/lapwing/token\" }".to_owned();
            self.error(node.at, "the path of a secret file is a text in quotes", hint);
            return None;
        };
        let (path, _) = self.interpolated(node.at, path)?;
        match secrets::read_file(&path, &self.folder(at.file), self.env) {
            Ok(secret) => {
                self.hidden.insert(secret.clone());
                Some(secret)
            }
            Err(wrong) => {
                self.wrong_source(node.at, wrong);
                None
            }
        }
    }
}

/// `${NAME}` and nothing else.
pub(super) fn is_variable(text: &str) -> bool {
    let name = text.strip_prefix("${").and_then(|t| t.strip_suffix('}'));
    name.is_some_and(|name| !name.contains(['$', '{', '}']))
}

/// `{ file = … }`
pub(super) fn is_file(table: &DeTable<'_>) -> bool {
    table.len() == 1 && table.keys().all(|key| key.get_ref() == "file")
}

/// The items of an array, or the one value.
pub(super) fn items<'d>(node: Node<'d>) -> impl Iterator<Item = (&'d DeValue<'d>, Place)> {
    let (array, one): (&[Spanned<DeValue<'d>>], _) = match node.value {
        DeValue::Array(items) => (items, None),
        value => (&[], Some((value, node.at))),
    };
    array
        .iter()
        .map(move |item| (item.get_ref(), Place::new(node.at.file, &item.span())))
        .chain(one)
}
