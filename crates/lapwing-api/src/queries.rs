//! The queries of the API as pairs of texts, for whoever asks and for whoever answers.
//!
//! What a query cannot hold is refused in one sentence with a hint; nothing is passed over in silence.

use lapwing_core::{kind::nearest, state::State};

use crate::{
    monitors::{
        HistoryQuery, MAX_BUCKETS, MAX_PAGE, MAX_SERIES, MonitorQuery, ReportQuery, SeriesQuery, Sort,
    },
    steering::ErrorShape,
};

/// Pairs as they are written behind the `?`.
pub type Pairs = Vec<(&'static str, String)>;
/// Pairs as they were read.
pub type Words = Vec<(String, String)>;

/// Every [`Sort`] and its word.
const SORTS: [(&str, Sort); 6] = [
    ("state", Sort::State),
    ("name", Sort::Name),
    ("target", Sort::Target),
    ("since", Sort::Since),
    ("latency", Sort::Latency),
    ("loss", Sort::Loss),
];

impl Sort {
    /// As it stands in a query.
    pub fn word(self) -> &'static str {
        SORTS
            .iter()
            .find(|(_, sort)| *sort == self)
            .map_or("state", |(word, _)| word)
    }

    /// Reads the word back.
    pub fn parse(word: &str) -> Option<Self> {
        SORTS
            .into_iter()
            .find_map(|(known, sort)| (known == word).then_some(sort))
    }

    /// All words, in the order in which they are best offered.
    pub fn words() -> impl Iterator<Item = &'static str> {
        SORTS.into_iter().map(|(word, _)| word)
    }
}

impl SeriesQuery {
    pub fn pairs(&self) -> Pairs {
        let mut pairs = text("search", &self.search);
        pairs.extend(each("state", &self.states));
        pairs.extend(each("monitor", &self.monitors));
        pairs.push(("sort", self.sort.word().to_owned()));
        if self.reverse {
            pairs.push(("reverse", "true".to_owned()));
        }
        pairs.extend(page(self.offset, self.limit));
        pairs
    }

    pub fn from_pairs(words: Words) -> Result<Self, ErrorShape> {
        let once = ["search", "sort", "reverse", "offset", "limit"];
        let mut read = Reader::new(words, &once, &["state", "monitor"])?;
        let states = read.all("state");
        for state in &states {
            let known = State::ALL.map(State::as_str);
            if !known.contains(&state.as_str()) {
                return Err(not_one_of("state", state, &known));
            }
        }
        let usual = Self::default();
        Ok(Self {
            search: read.one("search").unwrap_or_default(),
            states,
            monitors: read.all("monitor"),
            sort: read.sort()?,
            reverse: read.truth("reverse")?,
            offset: read.number("offset", 0, usual.offset, usize::MAX)?,
            limit: read.number("limit", 0, usual.limit, MAX_PAGE)?,
        })
    }
}

impl MonitorQuery {
    pub fn pairs(&self) -> Pairs {
        let mut pairs = text("search", &self.search);
        pairs.extend(page(self.offset, self.limit));
        pairs
    }

    pub fn from_pairs(words: Words) -> Result<Self, ErrorShape> {
        let mut read = Reader::new(words, &["search", "offset", "limit"], &[])?;
        let usual = Self::default();
        Ok(Self {
            search: read.one("search").unwrap_or_default(),
            offset: read.number("offset", 0, usual.offset, usize::MAX)?,
            limit: read.number("limit", 0, usual.limit, MAX_PAGE)?,
        })
    }
}

/// Which names to list: the query of `GET /api/v1/names`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamesQuery {
    /// What they begin with.
    pub prefix: String,
    /// At most [`MAX_PAGE`].
    pub limit: usize,
}

impl NamesQuery {
    /// Names where nobody says how many.
    pub const LIMIT: usize = 100;

    pub fn pairs(&self) -> Pairs {
        let mut pairs = text("prefix", &self.prefix);
        pairs.push(("limit", self.limit.to_string()));
        pairs
    }

    pub fn from_pairs(words: Words) -> Result<Self, ErrorShape> {
        let mut read = Reader::new(words, &["prefix", "limit"], &[])?;
        Ok(Self {
            prefix: read.one("prefix").unwrap_or_default(),
            limit: read.number("limit", 0, Self::LIMIT, MAX_PAGE)?,
        })
    }
}

/// Whose last results: the query of `GET /api/v1/tails`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TailsQuery {
    /// Names, at most [`MAX_SERIES`].
    pub series: Vec<String>,
    /// Results of each, at most [`MAX_BUCKETS`].
    pub count: usize,
}

impl TailsQuery {
    /// Results where nobody says how many.
    pub const COUNT: usize = 60;

    pub fn pairs(&self) -> Pairs {
        let mut pairs: Pairs = each("series", &self.series).collect();
        pairs.push(("count", self.count.to_string()));
        pairs
    }

    pub fn from_pairs(words: Words) -> Result<Self, ErrorShape> {
        let mut read = Reader::new(words, &["count"], &["series"])?;
        Ok(Self {
            series: read.series()?,
            count: read.number("count", 1, Self::COUNT, MAX_BUCKETS)?,
        })
    }
}

impl HistoryQuery {
    pub fn pairs(&self) -> Pairs {
        let mut pairs: Pairs = each("series", &self.series).collect();
        pairs.push(("from", self.from.clone()));
        pairs.push(("to", self.to.clone()));
        pairs.push(("buckets", self.buckets.to_string()));
        pairs
    }

    pub fn from_pairs(words: Words) -> Result<Self, ErrorShape> {
        let mut read = Reader::new(words, &["from", "to", "buckets"], &["series"])?;
        Ok(Self {
            series: read.series()?,
            from: read.needed("from", "an RFC 3339 time such as 2026-11-20T18:00:00Z")?,
            to: read.needed("to", "an RFC 3339 time such as 2026-11-20T18:00:00Z")?,
            buckets: read.number("buckets", 1, 60, MAX_BUCKETS)?,
        })
    }
}

impl ReportQuery {
    pub fn pairs(&self) -> Pairs {
        let mut pairs: Pairs = each("monitor", &self.monitors).collect();
        pairs.extend(self.since.clone().map(|since| ("since", since)));
        pairs.extend(self.until.clone().map(|until| ("until", until)));
        pairs
    }

    pub fn from_pairs(words: Words) -> Result<Self, ErrorShape> {
        let mut read = Reader::new(words, &["since", "until"], &["monitor"])?;
        Ok(Self {
            monitors: read.all("monitor"),
            since: read.one("since"),
            until: read.one("until"),
        })
    }
}

/// Of which monitors and series a stream tells: the query of `GET /api/v1/events` and of `GET /api/v1/results`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StreamQuery {
    /// All when there is none.
    pub monitors: Vec<String>,
}

impl StreamQuery {
    pub fn pairs(&self) -> Pairs {
        each("monitor", &self.monitors).collect()
    }

    pub fn from_pairs(words: Words) -> Result<Self, ErrorShape> {
        let mut read = Reader::new(words, &[], &["monitor"])?;
        Ok(Self {
            monitors: read.all("monitor"),
        })
    }
}

/// The query of a request that has none.
pub fn nothing(words: Words) -> Result<(), ErrorShape> {
    Reader::new(words, &[], &[]).map(drop)
}

fn text(key: &'static str, text: &str) -> Pairs {
    let mut pairs = Pairs::new();
    if !text.is_empty() {
        pairs.push((key, text.to_owned()));
    }
    pairs
}

fn each(key: &'static str, texts: &[String]) -> impl Iterator<Item = (&'static str, String)> {
    texts.iter().map(move |text| (key, text.clone()))
}

fn page(offset: usize, limit: usize) -> Pairs {
    let mut pairs = Pairs::new();
    if offset > 0 {
        pairs.push(("offset", offset.to_string()));
    }
    pairs.push(("limit", limit.to_string()));
    pairs
}

/// The words of a query that is allowed to hold them.
struct Reader(Words);

impl Reader {
    /// Every word must be one of `once`, at most once, or one of `often`.
    fn new(words: Words, once: &[&'static str], often: &[&'static str]) -> Result<Self, ErrorShape> {
        for (at, (key, _)) in words.iter().enumerate() {
            let key = key.as_str();
            if often.contains(&key) {
                continue;
            }
            if !once.contains(&key) {
                return Err(not_one_of("key", key, &[once, often].concat()));
            }
            if words[..at].iter().any(|(before, _)| before == key) {
                return Err(refusal(format!("\"{key}\" stands twice"), "write it once"));
            }
        }
        Ok(Self(words))
    }

    fn one(&mut self, key: &str) -> Option<String> {
        let at = self.0.iter().position(|(known, _)| known == key)?;
        Some(self.0.swap_remove(at).1)
    }

    fn all(&mut self, key: &str) -> Vec<String> {
        let words = self.0.iter().filter(|(known, _)| known == key);
        words.map(|(_, value)| value.clone()).collect()
    }

    fn needed(&mut self, key: &str, what: &str) -> Result<String, ErrorShape> {
        self.one(key)
            .ok_or_else(|| refusal(format!("\"{key}\" is missing"), format!("give it {what}")))
    }

    fn series(&mut self) -> Result<Vec<String>, ErrorShape> {
        let series = self.all("series");
        match series.len() {
            0 => Err(refusal(
                "no series is named",
                "write series=NAME, as often as there are names",
            )),
            count if count > MAX_SERIES => Err(refusal(
                format!("{count} series are named, and {MAX_SERIES} may be"),
                "ask for the others in a further request",
            )),
            _ => Ok(series),
        }
    }

    fn sort(&mut self) -> Result<Sort, ErrorShape> {
        let Some(word) = self.one("sort") else {
            return Ok(Sort::default());
        };
        let words: Vec<&str> = Sort::words().collect();
        Sort::parse(&word).ok_or_else(|| not_one_of("sort", &word, &words))
    }

    fn truth(&mut self, key: &str) -> Result<bool, ErrorShape> {
        match self.one(key).as_deref() {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(other) => Err(not_one_of(key, other, &["true", "false"])),
        }
    }

    fn number(&mut self, key: &str, least: usize, usual: usize, most: usize) -> Result<usize, ErrorShape> {
        let Some(word) = self.one(key) else {
            return Ok(usual);
        };
        match word.parse() {
            Ok(number) if (least..=most).contains(&number) => Ok(number),
            _ if most == usize::MAX => Err(refusal(
                format!("{key}={word} is no whole number"),
                format!("write one from {least} on"),
            )),
            _ => Err(refusal(
                format!("{key}={word} is no whole number from {least} to {most}"),
                format!("leave it out for {usual}"),
            )),
        }
    }
}

fn refusal(error: impl Into<String>, hint: impl Into<String>) -> ErrorShape {
    ErrorShape {
        error: error.into(),
        hint: Some(hint.into()),
    }
}

fn not_one_of(what: &str, word: &str, known: &[&str]) -> ErrorShape {
    let hint = match nearest(word, known.iter().copied()) {
        Some(near) => format!("did you mean \"{near}\"?"),
        None if known.is_empty() => "nothing can be chosen here".to_owned(),
        None => format!("write one of: {}", known.join(", ")),
    };
    refusal(format!("there is no {what} \"{word}\""), hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(pairs: Pairs) -> Words {
        pairs
            .into_iter()
            .map(|(key, value)| (key.to_owned(), value))
            .collect()
    }

    fn of(text: &str) -> Words {
        let pairs = text.split('&').filter(|pair| !pair.is_empty());
        pairs
            .map(|pair| pair.split_once('=').unwrap())
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect()
    }

    #[test]
    fn what_is_asked_is_what_is_read() {
        let names = || vec!["a/b".to_owned(), "ü &=?".to_owned()];
        for sort in SORTS.map(|(_, sort)| sort) {
            let series = SeriesQuery {
                search: "role=db".to_owned(),
                states: vec!["down".to_owned(), "failing".to_owned()],
                monitors: names(),
                sort,
                reverse: true,
                offset: 7,
                limit: 0,
            };
            assert_eq!(SeriesQuery::from_pairs(words(series.pairs())), Ok(series));
        }
        let monitors = MonitorQuery {
            search: "x".to_owned(),
            offset: 3,
            limit: 5,
        };
        assert_eq!(MonitorQuery::from_pairs(words(monitors.pairs())), Ok(monitors));
        let prefix = NamesQuery {
            prefix: "we".to_owned(),
            limit: 9,
        };
        assert_eq!(NamesQuery::from_pairs(words(prefix.pairs())), Ok(prefix));
        let tails = TailsQuery {
            series: names(),
            count: 4,
        };
        assert_eq!(TailsQuery::from_pairs(words(tails.pairs())), Ok(tails));
        let history = HistoryQuery {
            series: names(),
            from: "2026-11-20T18:00:00Z".to_owned(),
            to: "2026-11-20T19:00:00+01:00".to_owned(),
            buckets: 30,
        };
        assert_eq!(HistoryQuery::from_pairs(words(history.pairs())), Ok(history));
        let report = ReportQuery {
            monitors: names(),
            since: Some("2026-11-20T18:00:00Z".to_owned()),
            until: Some("2026-11-21T18:00:00Z".to_owned()),
        };
        assert_eq!(ReportQuery::from_pairs(words(report.pairs())), Ok(report));
        let stream = StreamQuery { monitors: names() };
        assert_eq!(StreamQuery::from_pairs(words(stream.pairs())), Ok(stream));
    }

    #[test]
    fn without_words_everything_is_as_usual() {
        assert_eq!(SeriesQuery::from_pairs(Words::new()), Ok(SeriesQuery::default()));
        assert_eq!(
            MonitorQuery::from_pairs(Words::new()),
            Ok(MonitorQuery::default())
        );
        assert_eq!(ReportQuery::from_pairs(Words::new()), Ok(ReportQuery::default()));
        assert_eq!(StreamQuery::from_pairs(Words::new()), Ok(StreamQuery::default()));
    }

    #[test]
    fn what_a_query_cannot_hold_is_refused_with_a_hint() {
        fn told<T: std::fmt::Debug>(read: Result<T, ErrorShape>) -> String {
            let told = read.unwrap_err();
            format!("{}; {}", told.error, told.hint.unwrap())
        }
        let series = |text| told(SeriesQuery::from_pairs(of(text)));
        assert_eq!(
            series("serch=x"),
            "there is no key \"serch\"; did you mean \"search\"?"
        );
        assert_eq!(
            series("page=2"),
            "there is no key \"page\"; write one of: search, sort, reverse, offset, limit, state, monitor"
        );
        assert_eq!(
            series("sort=latenzy"),
            "there is no sort \"latenzy\"; did you mean \"latency\"?"
        );
        assert_eq!(
            series("state=dwn"),
            "there is no state \"dwn\"; did you mean \"down\"?"
        );
        assert_eq!(series("limit=1&limit=2"), "\"limit\" stands twice; write it once");
        assert_eq!(
            series("limit=10001"),
            "limit=10001 is no whole number from 0 to 10000; leave it out for 100"
        );
        assert_eq!(
            series("offset=-1"),
            "offset=-1 is no whole number; write one from 0 on"
        );
        assert_eq!(
            series("reverse=yes"),
            "there is no reverse \"yes\"; write one of: true, false"
        );
        let tails = |text: &str| told(TailsQuery::from_pairs(of(text)));
        assert!(tails("count=3").starts_with("no series is named; "));
        let many = "series=a&".repeat(MAX_SERIES + 1);
        assert!(tails(&many).starts_with("201 series are named"));
        assert!(tails("series=a&count=0").starts_with("count=0 is no whole number from 1 to 2000"));
        let history = told(HistoryQuery::from_pairs(of("series=a&to=x")));
        assert!(history.starts_with("\"from\" is missing; "), "{history}");
    }
}
