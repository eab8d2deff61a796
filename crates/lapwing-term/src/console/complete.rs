//! What may stand at the cursor: commands, flags, names, targets, options and their values.
//!
//! It knows nothing by itself: the commands and kinds are given as values, names are asked of [`Known`].

use lapwing_api::monitors::{NamesShape, shared};

use super::words::{self, Word};

/// Most words that are offered: more is nothing to choose from.
pub const MOST: usize = 100;

/// A command, or the whole of them: what can follow its name.
#[derive(Clone, Debug, Default)]
pub struct Verb {
    pub name: String,
    pub about: String,
    pub verbs: Vec<Self>,
    pub flags: Vec<Flag>,
    /// What stands without a flag, in order; the last of them again and again where `repeats`.
    pub places: Vec<Values>,
    pub repeats: bool,
}

/// `--for`, `-o`.
#[derive(Clone, Debug, Default)]
pub struct Flag {
    /// With their dashes.
    pub names: Vec<String>,
    pub about: String,
    /// None where it takes no value.
    pub value: Option<Values>,
    /// May be given again.
    pub repeats: bool,
}

/// What a value may be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Values {
    /// Nothing can be offered.
    #[default]
    Free,
    Names(Which),
    /// These words alone, or names.
    WordsOrNames(Vec<(String, String)>),
    Notifiers,
    Targets,
    /// Names of monitors, and targets.
    NamesAndTargets,
    /// `key=value`, by the scheme of the target.
    Options,
    /// As `Options`, and the keys of a monitor.
    Keys,
    /// `key=value` of monitors.
    Labels,
    /// These words, and what they mean.
    Words(Vec<(String, String)>),
}

/// Which monitors and series are meant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Which {
    #[default]
    All,
    /// Monitors that were added, and can be changed.
    Added,
    /// Those that are down, unless somebody acknowledged it.
    Down,
    Paused,
}

/// A scheme of targets.
#[derive(Clone, Debug, Default)]
pub struct Scheme {
    /// What a target begins with: `tcp://`, `heartbeat:`.
    pub prefix: String,
    /// `tcp`
    pub kind: String,
    pub about: String,
    pub options: Vec<Choice>,
}

/// An option and what it may be.
#[derive(Clone, Debug, Default)]
pub struct Choice {
    pub name: String,
    pub about: String,
    /// All that it may be, or examples.
    pub values: Vec<String>,
}

/// All that a line can say.
#[derive(Clone, Debug, Default)]
pub struct Grammar {
    pub root: Verb,
    pub schemes: Vec<Scheme>,
    /// Options of every kind.
    pub options: Vec<Choice>,
    /// Keys of a monitor besides.
    pub keys: Vec<Choice>,
}

/// Names that only the daemon knows. It must answer at once, or with nothing.
pub trait Known {
    /// Monitors and series whose name begins with `prefix`.
    fn names(&mut self, which: Which, prefix: &str) -> NamesShape;
    fn notifiers(&mut self) -> Vec<String>;
    /// `key=value`
    fn labels(&mut self) -> Vec<String>;
}

/// What may stand in place of a stretch of the line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// As it is written into the line, quoted where it must be.
    pub value: String,
    pub about: String,
    /// Of the line, in bytes.
    pub start: usize,
    pub end: usize,
    /// The word is not over: `tcp://`, `family=`.
    pub goes_on: bool,
    /// There is more than is offered; this is what all of it begins with.
    pub is_more: bool,
}

/// What may stand at the cursor, a byte of `line` at a border of characters.
pub fn candidates(grammar: &Grammar, line: &str, cursor: usize, known: &mut dyn Known) -> Vec<Candidate> {
    let before = line.get(..cursor).unwrap_or(line);
    // Each line of a paste is a command of its own.
    let start = before.rfind('\n').map_or(0, |at| at + 1);
    let mut read = words::split(&before[start..]);
    let is_begun = read
        .words
        .last()
        .is_some_and(|word| word.end == before.len() - start);
    let current = if is_begun { read.words.pop() } else { None };
    let current = current.unwrap_or(Word {
        text: String::new(),
        start: before.len() - start,
        end: before.len() - start,
    });
    let place = Place::of(&grammar.root, &read.words);
    let mut found = Vec::new();
    place.offer(grammar, &current.text, known, &mut found);
    let typed = current.text.as_str();
    let found = first(found, typed);
    let is_quoted = before[start + current.start..].starts_with(['\'', '"']);
    found
        .into_iter()
        .map(|offer| Candidate {
            value: written(&offer, is_quoted),
            about: offer.about,
            start: start + current.start,
            end: cursor,
            goes_on: offer.goes_on,
            is_more: offer.is_more,
        })
        .collect()
}

/// The first of what fits, and where that is not all, what all of it begins with.
fn first(found: Vec<Offer>, typed: &str) -> Vec<Offer> {
    let (more, mut found): (Vec<Offer>, Vec<Offer>) = found.into_iter().partition(|offer| offer.is_more);
    found.retain(|offer| offer.word.starts_with(typed) && !offer.word.contains(char::is_control));
    let mut words = found.iter().chain(&more).map(|offer| offer.word.as_str());
    let is_cut = !found.is_empty() && (!more.is_empty() || found.len() > MOST);
    let common = words.next().map(|word| words.fold(word, shared));
    let begun = common.filter(|common| common.starts_with(typed));
    let more = is_cut.then(|| Offer::more(begun.unwrap_or(typed).to_owned()));
    found.truncate(MOST);
    found.extend(more);
    found
}

/// A word that fits, as it is meant.
struct Offer {
    word: String,
    about: String,
    goes_on: bool,
    is_more: bool,
}

impl Offer {
    fn new(word: impl Into<String>, about: &str) -> Self {
        Self {
            word: word.into(),
            about: about.to_owned(),
            goes_on: false,
            is_more: false,
        }
    }

    fn more(common: String) -> Self {
        Self {
            is_more: true,
            ..Self::going_on(common, "")
        }
    }

    fn going_on(word: String, about: &str) -> Self {
        Self {
            goes_on: true,
            ..Self::new(word, about)
        }
    }
}

/// As it stands in the line; a quote that somebody began stays.
fn written(offer: &Offer, is_quoted: bool) -> String {
    let word = words::quoted(&offer.word);
    if is_quoted && word == offer.word {
        format!("'{word}'")
    } else {
        word
    }
}

/// Where the cursor stands.
struct Place<'g> {
    verb: &'g Verb,
    /// Words without a flag, after the name of the command.
    given: Vec<&'g str>,
    /// Flags that stand there already.
    used: Vec<&'g str>,
    /// The flag whose value comes now.
    open: Option<&'g Flag>,
    /// After `--` nothing is a flag.
    only_places: bool,
}

impl<'g> Place<'g> {
    fn of(root: &'g Verb, words: &'g [Word]) -> Self {
        let mut place = Self {
            verb: root,
            given: Vec::new(),
            used: Vec::new(),
            open: None,
            only_places: false,
        };
        for word in words {
            place.step(&word.text);
        }
        place
    }

    fn step(&mut self, word: &'g str) {
        if self.open.take().is_some() {
            return;
        }
        if word == "--" {
            self.only_places = true;
        } else if word.starts_with('-') && !self.only_places {
            let name = word.split('=').next().unwrap_or(word);
            self.used.push(name);
            let flag = self.flag(name).filter(|flag| flag.value.is_some());
            self.open = flag.filter(|_| !word.contains('='));
        } else if let Some(verb) = self.verb.verbs.iter().find(|verb| verb.name == word) {
            (self.verb, self.given) = (verb, Vec::new());
        } else {
            self.given.push(word);
        }
    }

    fn flag(&self, name: &str) -> Option<&'g Flag> {
        let mut flags = self.verb.flags.iter();
        flags.find(|flag| flag.names.iter().any(|known| known == name))
    }

    fn offer(&self, grammar: &Grammar, typed: &str, known: &mut dyn Known, found: &mut Vec<Offer>) {
        if let Some(value) = self.open.and_then(|flag| flag.value.as_ref()) {
            self.values(value, grammar, typed, known, found);
        } else if typed.starts_with('-') && !self.only_places {
            self.flags(grammar, typed, known, found);
        } else if !self.verb.verbs.is_empty() {
            // A word that is no command makes the rest of the line nonsense.
            if self.given.is_empty() {
                found.extend(self.verb.verbs.iter().map(|v| Offer::new(&v.name, &v.about)));
            }
        } else {
            let last = self.verb.places.last().filter(|_| self.verb.repeats);
            if let Some(values) = self.verb.places.get(self.given.len()).or(last) {
                self.values(values, grammar, typed, known, found);
            }
        }
    }

    fn flags(&self, grammar: &Grammar, typed: &str, known: &mut dyn Known, found: &mut Vec<Offer>) {
        if let Some((name, value)) = typed.split_once('=') {
            let flag = self.flag(name).and_then(|flag| flag.value.as_ref());
            let Some(values) = flag else { return };
            let from = found.len();
            self.values(values, grammar, value, known, found);
            for offer in &mut found[from..] {
                offer.word.insert_str(0, &format!("{name}="));
            }
            return;
        }
        let is_left =
            |flag: &&Flag| flag.repeats || !flag.names.iter().any(|n| self.used.contains(&n.as_str()));
        for flag in self.verb.flags.iter().filter(is_left) {
            // One name is enough to choose from: the long one unless the short one is being written.
            let fitting = flag.names.iter().filter(|name| name.starts_with(typed));
            let longest = fitting.max_by_key(|name| name.len());
            found.extend(longest.map(|name| Offer::new(name, &flag.about)));
        }
    }

    fn values(
        &self,
        values: &Values,
        grammar: &Grammar,
        typed: &str,
        known: &mut dyn Known,
        found: &mut Vec<Offer>,
    ) {
        // What begins with a dash is a name only after `--`.
        let is_name = |name: &String| self.only_places || !name.starts_with('-');
        let is_new = |name: &String| is_name(name) && !self.given.contains(&name.as_str());
        let mut names = |which: Which, known: &mut dyn Known| {
            let told = known.names(which, typed);
            let names = told.names.into_iter().filter(is_new);
            found.extend(names.map(|name| Offer::new(name, "")));
            found.extend(told.more.then(|| Offer::more(told.common)));
        };
        match values {
            Values::Free => {}
            Values::Names(which) => names(*which, known),
            Values::WordsOrNames(words) => {
                names(Which::All, known);
                let alone = words.iter().filter(|_| self.given.is_empty());
                found.extend(alone.map(|(word, about)| Offer::new(word, about)));
            }
            Values::NamesAndTargets => {
                names(Which::All, known);
                found.extend(targets(grammar));
            }
            Values::Targets => found.extend(targets(grammar)),
            Values::Notifiers => {
                let names = known.notifiers().into_iter().filter(is_new);
                found.extend(names.map(|name| Offer::new(name, "")));
            }
            Values::Labels => found.extend(known.labels().into_iter().map(|label| Offer::new(label, ""))),
            Values::Words(words) => {
                found.extend(words.iter().map(|(word, about)| Offer::new(word, about)));
            }
            Values::Options => self.options(grammar, &[], typed, found),
            Values::Keys => self.options(grammar, &grammar.keys, typed, found),
        }
    }

    /// `count=`, and behind it what it may be; of the kinds of the targets that stand there, else of all.
    fn options(&self, grammar: &Grammar, keys: &[Choice], typed: &str, found: &mut Vec<Offer>) {
        let meant = |scheme: &&Scheme| self.given.iter().any(|word| word.starts_with(&scheme.prefix));
        let mut schemes: Vec<&Scheme> = grammar.schemes.iter().filter(meant).collect();
        if schemes.is_empty() {
            schemes = grammar.schemes.iter().collect();
        }
        let (prefix, name) = match typed.split_once('.') {
            Some((kind, name)) if grammar.schemes.iter().any(|s| s.kind == kind) => {
                schemes = grammar.schemes.iter().filter(|s| s.kind == kind).collect();
                (format!("{kind}."), name)
            }
            _ => (String::new(), typed),
        };
        let own = schemes.iter().flat_map(|scheme| &scheme.options);
        let mut choices: Vec<&Choice> = own.chain(&grammar.options).chain(keys).collect();
        choices.sort_by(|a, b| a.name.cmp(&b.name));
        choices.dedup_by(|a, b| a.name == b.name);
        match name.split_once('=') {
            None => found.extend(
                choices
                    .iter()
                    .map(|choice| Offer::going_on(format!("{prefix}{}=", choice.name), &choice.about)),
            ),
            Some((name, _)) => {
                let values = choices.iter().filter(|c| c.name == name).flat_map(|c| &c.values);
                found.extend(values.map(|value| Offer::new(format!("{prefix}{name}={value}"), "")));
            }
        }
    }
}

fn targets(grammar: &Grammar) -> impl Iterator<Item = Offer> {
    let schemes = grammar.schemes.iter();
    schemes.map(|scheme| Offer::going_on(scheme.prefix.clone(), &scheme.about))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fake;

    impl Known for Fake {
        fn names(&mut self, which: Which, prefix: &str) -> NamesShape {
            let many: Vec<String> = (0..12_000).map(|n| format!("host-{n:05}")).collect();
            if which == Which::Added || prefix.starts_with("host") {
                let fitting = many.iter().map(String::as_str).filter(|n| n.starts_with(prefix));
                return NamesShape::of(&fitting.collect::<Vec<_>>(), MOST + 1);
            }
            let all = [
                "-x",
                "db",
                "my server",
                "my service",
                "web",
                "web/https",
                "we\u{7}ird",
            ];
            let fitting = all.into_iter().filter(|name| name.starts_with(prefix));
            NamesShape::of(&fitting.collect::<Vec<_>>(), MOST + 1)
        }

        fn notifiers(&mut self) -> Vec<String> {
            vec!["ops".to_owned(), "phone".to_owned()]
        }

        fn labels(&mut self) -> Vec<String> {
            vec!["team=db".to_owned(), "team=web".to_owned()]
        }
    }

    fn flag(names: &[&str], value: Option<Values>) -> Flag {
        Flag {
            names: names.iter().map(ToString::to_string).collect(),
            about: "what it does".to_owned(),
            value,
            repeats: names[0] == "-o",
        }
    }

    fn verb(name: &str, places: Vec<Values>, flags: Vec<Flag>) -> Verb {
        Verb {
            name: name.to_owned(),
            about: format!("about {name}"),
            places,
            flags,
            repeats: true,
            ..Verb::default()
        }
    }

    fn choice(name: &str, values: &[&str]) -> Choice {
        Choice {
            name: name.to_owned(),
            about: String::new(),
            values: values.iter().map(ToString::to_string).collect(),
        }
    }

    fn scheme(prefix: &str, options: Vec<Choice>) -> Scheme {
        Scheme {
            prefix: prefix.to_owned(),
            kind: prefix.split(':').next().unwrap().to_owned(),
            about: String::new(),
            options,
        }
    }

    fn grammar() -> Grammar {
        let lengths = Values::Words(vec![
            ("30m".to_owned(), String::new()),
            ("2h".to_owned(), String::new()),
        ]);
        let options = || flag(&["-o", "--option"], Some(Values::Options));
        let test = verb("test", vec![Values::Notifiers], Vec::new());
        let verbs = vec![
            verb(
                "pause",
                vec![Values::Names(Which::All)],
                vec![flag(&["--for"], Some(lengths)), flag(&["--json"], None)],
            ),
            verb("add", vec![Values::Free, Values::Targets], vec![options()]),
            verb("remove", vec![Values::Names(Which::Added)], Vec::new()),
            verb("check", vec![Values::NamesAndTargets], vec![options()]),
            verb(
                "events",
                vec![Values::WordsOrNames(vec![
                    ("on".to_owned(), String::new()),
                    ("off".to_owned(), String::new()),
                ])],
                Vec::new(),
            ),
            verb(
                "list",
                Vec::new(),
                vec![flag(&["--search"], Some(Values::Labels))],
            ),
            Verb {
                verbs: vec![test],
                ..verb("notify", Vec::new(), Vec::new())
            },
        ];
        Grammar {
            root: Verb {
                verbs,
                ..Verb::default()
            },
            schemes: vec![
                scheme(
                    "tcp://",
                    vec![choice("send", &[]), choice("tls", &["true", "false"])],
                ),
                scheme("icmp://", vec![choice("count", &["5"])]),
            ],
            keys: vec![choice("remind", &["10m"])],
            options: vec![
                choice("family", &["4", "6", "any", "both"]),
                choice("timeout", &["2s"]),
            ],
        }
    }

    fn offered(line: &str) -> Vec<String> {
        let found = candidates(&grammar(), line, line.len(), &mut Fake);
        found.into_iter().map(|candidate| candidate.value).collect()
    }

    #[test]
    fn the_word_at_the_cursor_is_completed_by_what_stands_before_it() {
        for (line, expected) in [
            (
                "",
                &["pause", "add", "remove", "check", "events", "list", "notify"] as &[&str],
            ),
            ("p", &["pause"]),
            ("nonsense ", &[]),
            ("pause w", &["web", "web/https"]),
            ("pause web we", &["web/https"]),
            ("pause web --", &["--for", "--json"]),
            ("pause --json web --", &["--for"]),
            ("pause --for ", &["30m", "2h"]),
            ("pause --for=", &["--for=30m", "--for=2h"]),
            ("pause --for 2", &["2h"]),
            ("pause --for 2h d", &["db"]),
            ("pause -- --", &[]),
            (
                "pause --json ",
                &["db", "'my server'", "'my service'", "web", "web/https"],
            ),
            ("pause -", &["--for", "--json"]),
            ("pause -- -", &["-x"]),
            ("events o", &["on", "off"]),
            ("events web o", &[]),
            ("events w", &["web", "web/https"]),
            ("pause my", &["'my server'", "'my service'"]),
            ("pause 'my s", &["'my server'", "'my service'"]),
            ("pause \"we", &["'web'", "'web/https'"]),
            ("pause we\u{7}", &[]),
            ("notify ", &["test"]),
            ("notify test p", &["phone"]),
            ("add ", &[]),
            ("add web ", &["tcp://", "icmp://"]),
            ("add web tcp://h:1 -o ", &["family=", "send=", "timeout=", "tls="]),
            ("add web tcp://h:1 -o s", &["send="]),
            ("add web icmp://h -o send=1 -o c", &["count="]),
            (
                "add web icmp://h -o family=",
                &["family=4", "family=6", "family=any", "family=both"],
            ),
            ("add web icmp://h -o family=a", &["family=any"]),
            ("add web icmp://h -o tcp.t", &["tcp.timeout=", "tcp.tls="]),
            ("add web icmp://h -o tcp.tls=t", &["tcp.tls=true"]),
            ("check -o c", &["count="]),
            ("check t", &["tcp://"]),
            ("check d", &["db"]),
            ("list --search team=w", &["team=web"]),
            ("pause web\np", &["pause"]),
        ] {
            assert_eq!(offered(line), expected, "{line:?}");
        }
    }

    #[test]
    fn of_many_names_only_what_all_begin_with_is_completed() {
        for (line, count, common) in [
            ("show host-0", 0, None),
            ("pause host-0", 101, Some("host-0")),
            ("pause h", 0, None),
            ("pause hos", 0, None),
            ("pause host", 101, Some("host-")),
            ("pause host-000 host-0", 101, Some("host-0")),
            ("pause host-0012", 10, None),
            ("remove ", 101, Some("host-")),
            ("remove host-0123", 10, None),
        ] {
            let found = candidates(&grammar(), line, line.len(), &mut Fake);
            assert_eq!(found.len(), count, "{line}");
            let more = found.iter().find(|candidate| candidate.is_more);
            assert_eq!(more.map(|candidate| &*candidate.value), common, "{line}");
        }
        // In another case than was typed, or as the value of a flag.
        let told = || {
            vec![
                Offer::new("Web-1", ""),
                Offer::new("web-1", ""),
                Offer::more(String::new()),
            ]
        };
        let words: Vec<String> = first(told(), "we").into_iter().map(|offer| offer.word).collect();
        assert_eq!(words, ["web-1", "we"]);
        assert!(first(told(), "x").is_empty());
        let labels = (0..=MOST)
            .map(|n| Offer::new(format!("team={}{n}", n / MOST), ""))
            .collect();
        assert_eq!(first(labels, "t").pop().unwrap().word, "team=");
    }

    #[test]
    fn a_candidate_says_where_it_goes() {
        let line = "pause 'my s --json";
        let found = candidates(&grammar(), line, 11, &mut Fake);
        assert_eq!((found[0].start, found[0].end, found[0].goes_on), (6, 11, false));
        let found = candidates(&grammar(), "list\nadd x t", 12, &mut Fake);
        assert_eq!((found[0].start, found[0].end, found[0].goes_on), (11, 12, true));
        assert_eq!(candidates(&grammar(), "p", 0, &mut Fake).len(), 7);
    }
}
