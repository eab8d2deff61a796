//! What a sensor says to the people on its machine: a line where something changes, never one for each beat.

use std::{io, net::SocketAddr, time::Duration};

use lapwing_core::{
    heartbeat::Hindrance,
    notice::about,
    time::{Mono, measured},
};
use lapwing_wire::heartbeat::SensorId;

use super::silence::Silence;

/// One lost beat is a lost datagram; so many in a row are a silence.
const SILENCE: u32 = 2;
/// Reasons told of one silence.
const REASONS: usize = 8;
/// A second sensor with our id is told again after so long.
const REPEAT: Duration = Duration::from_hours(1);

/// How much a line matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Each beat: for whoever asks for it.
    Detail,
    Notice,
    Warning,
}

/// A line for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Word {
    pub level: Level,
    pub text: String,
}

impl Word {
    fn detail(text: impl Into<String>) -> Self {
        let (level, text) = (Level::Detail, text.into());
        Self { level, text }
    }

    pub(super) fn notice(text: impl Into<String>) -> Self {
        let (level, text) = (Level::Notice, text.into());
        Self { level, text }
    }

    pub(super) fn warning(text: impl Into<String>) -> Self {
        let (level, text) = (Level::Warning, text.into());
        Self { level, text }
    }
}

/// Why a beat was not acknowledged.
#[derive(Debug)]
pub(super) enum Loss {
    Unanswered {
        to: SocketAddr,
        ignored: u32,
    },
    Refused {
        to: SocketAddr,
        error: io::Error,
    },
    NoRoute {
        to: SocketAddr,
        error: io::Error,
    },
    /// Holds the whole sentence.
    NoName(String),
    Superseded,
    Stale,
}

impl Loss {
    pub(super) fn hindrance(&self) -> Hindrance {
        match self {
            Self::Unanswered { .. } | Self::Refused { .. } | Self::Superseded | Self::Stale => {
                Hindrance::Unanswered
            }
            Self::NoRoute { .. } => Hindrance::NoRoute,
            Self::NoName(_) => Hindrance::NoName,
        }
    }

    /// Whether the server may have another address by now, after so many losses in a row.
    pub(super) fn is_about_the_way(&self, in_a_row: u32) -> bool {
        match self {
            Self::Unanswered { .. } => in_a_row >= SILENCE,
            Self::Refused { .. } | Self::NoRoute { .. } => true,
            // Without an address, each beat begins with a look-up.
            Self::NoName(_) | Self::Superseded | Self::Stale => false,
        }
    }

    fn reason(&self) -> String {
        match self {
            Self::Unanswered { to, ignored: 0 } => format!("no answer from {to}"),
            Self::Unanswered { to, ignored } => {
                format!("no valid answer from {to} (datagrams ignored: {ignored})")
            }
            Self::Refused { to, error } => format!("{to} is not reached: {}", plain(error)),
            Self::NoRoute { to, error } => format!("this machine cannot send to {to}: {}", plain(error)),
            Self::NoName(sentence) => sentence.clone(),
            Self::Superseded => "another sensor took over".to_owned(),
            Self::Stale => "the monitor calls every session of this sensor outdated".to_owned(),
        }
    }
}

/// The system's words, without its number, as a fragment.
pub(super) fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    let words = text.split(" (os error").next().unwrap_or_default();
    let mut letters = words.chars();
    let first = letters.next().map(|c| c.to_ascii_lowercase());
    first.into_iter().chain(letters).collect()
}

pub(super) struct Voice {
    /// None: plain beats.
    id: Option<SensorId>,
    ever_heard: bool,
    /// What was said about the silence that lasts.
    said: Vec<String>,
    said_superseded: Option<Mono>,
}

impl Voice {
    pub(super) fn new(id: Option<SensorId>) -> Self {
        Self {
            id,
            ever_heard: false,
            said: Vec::new(),
            said_superseded: None,
        }
    }

    /// A beat was acknowledged, or sent where nobody acknowledges; `silence` is what ends with it.
    pub(super) fn heard(
        &mut self,
        seq: u64,
        by: SocketAddr,
        after: Duration,
        silence: &Silence,
        now: Mono,
    ) -> Vec<Word> {
        let detail = match self.id {
            Some(_) => format!("beat {seq}: heard by {by} after {}", measured(after)),
            None => format!("beat {seq}: sent to {by}"),
        };
        let mut words = vec![Word::detail(detail)];
        let first = !std::mem::replace(&mut self.ever_heard, true);
        let why = std::mem::take(&mut self.said).into_iter().next();
        self.said_superseded = None;
        match (first, why, self.id) {
            (_, Some(why), id) => {
                let heard = if id.is_some() { "heard" } else { "sending" };
                let lost = match silence.count() {
                    1 => "1 beat".to_owned(),
                    count => format!("{count} beats"),
                };
                words.push(Word::notice(format!(
                    "{heard} again by way of {by}, after {} ({lost} lost; {why})",
                    about(silence.length(now))
                )));
            }
            (true, None, Some(_)) => words.push(Word::notice(format!(
                "heard by {by}, answered after {}",
                measured(after)
            ))),
            (true, None, None) => words.push(Word::notice(format!("the first beat went out to {by}"))),
            (false, None, _) => {}
        }
        words
    }

    /// A beat was not acknowledged; `silence` counts it.
    pub(super) fn lost(&mut self, seq: u64, loss: &Loss, silence: &Silence, now: Mono) -> Vec<Word> {
        let reason = loss.reason();
        let mut words = vec![Word::detail(format!("beat {seq}: lost: {reason}"))];
        words.extend(self.superseded(loss, now));
        // A single datagram gets lost now and then; what our own system says does not come by chance.
        let chance = matches!(loss, Loss::Unanswered { .. }) && silence.count() < SILENCE;
        if chance || self.said.len() >= REASONS || self.said.contains(&reason) {
            return words;
        }
        let how_long = match (self.ever_heard, &self.id) {
            (true, Some(_)) => format!("not heard for {}", about(silence.length(now))),
            (false, Some(_)) => "not heard yet".to_owned(),
            (true, None) => "no longer sending".to_owned(),
            (false, None) => "not sending yet".to_owned(),
        };
        let hint = match loss {
            Loss::Unanswered { .. } if !self.ever_heard && self.said.is_empty() => {
                ". A monitor does not answer an id or a key that it does not know"
            }
            _ => "",
        };
        words.push(Word::warning(format!("{how_long}: {reason}{hint}")));
        self.said.push(reason);
        words
    }

    /// Two sensors with one id is a mistake that nobody sees on the monitor: told again and again, at a bounded rate.
    fn superseded(&mut self, loss: &Loss, now: Mono) -> Option<Word> {
        let (Loss::Superseded, Some(id)) = (loss, &self.id) else {
            return None;
        };
        if self.said_superseded.is_some_and(|said| now.since(said) < REPEAT) {
            return None;
        }
        self.said_superseded = Some(now);
        Some(Word::warning(format!(
            "ANOTHER SENSOR sends as \"{id}\" with the same key: the monitor listens to that one and no longer to this \
             one. Give each an id and key of its own; to go on with this one, stop the other and restart this"
        )))
    }
}
