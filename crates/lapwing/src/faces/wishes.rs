//! Pause, resume, acknowledge, silence: from what somebody writes to what the engine is asked, and back to a sentence.

use std::{sync::Arc, time::Duration};

use jiff::tz::TimeZone;
use lapwing_api::{
    shapes::VERSION,
    steering::{DoneShape, WishShape, WishWord},
};
use lapwing_core::{
    lookout::{Input, Named},
    mute::{Mute, Wish},
    notice,
    observation::clean,
    time::Wall,
};
use lapwing_web::steering::{Refusal, Why};
use nix::unistd::{Uid, User};

use super::Faces;
use crate::{ear::Unheard, engine::Message};

/// A hundred thousand series are paused and stored in two seconds.
const STORED_WITHIN: Duration = Duration::from_secs(10);
/// Longest name and reason that are kept, in bytes.
pub(super) const BY: usize = 64;
const REASON: usize = 300;
/// Most names in a sentence.
const SPOKEN: usize = 5;

impl Faces {
    pub(super) async fn grant(&self, order: WishShape, uid: Option<u32>) -> Result<DoneShape, Refusal> {
        if order.names.is_empty() {
            return Err(Refusal::new(Why::Bad, "no monitor is named").hint("name at least one"));
        }
        let now = self.clock.now().wall;
        let wish = wish(&order, uid, now)?;
        let zone = order.zone.as_deref().map(zone).transpose()?;
        let mut found = self.find(&order.names).await?;
        let asked = found.clone();
        found.retain(|named| named.heeds(&wish));
        if found.is_empty() {
            return nothing_to_do(&wish, &asked);
        }
        let series = found.iter().map(|named| Arc::clone(&named.series.key)).collect();
        let done = DoneShape {
            v: VERSION,
            text: sentence(&wish, &found, now, zone),
            series: found.iter().map(|named| named.series.name.clone()).collect(),
        };
        let input = |ticket| {
            Message::Input(Box::new(Input::Wish {
                series,
                wish,
                ticket: Some(ticket),
            }))
        };
        match self.reception.heed(STORED_WITHIN, input).await {
            Ok(()) => Ok(done),
            Err(Unheard::Closed) => Err(Refusal::stopping()),
            Err(Unheard::Late) => Err(Refusal::new(
                Why::Unable,
                "it was asked for, but it is not stored yet, and a restart may forget it",
            )
            .hint("the log says why; storing is tried again every second")),
        }
    }
}

fn wish(order: &WishShape, uid: Option<u32>, now: Wall) -> Result<Wish, Refusal> {
    let until = order.until.as_deref().map(|text| moment(text, now)).transpose()?;
    let mute = || Mute {
        by: clean(order.by.clone().unwrap_or_else(|| user(uid)).trim(), BY),
        reason: clean(order.reason.as_deref().unwrap_or_default().trim(), REASON),
        since: now,
        until,
    };
    let wish = match order.wish {
        WishWord::Pause => Wish::Pause(mute()),
        WishWord::Ack => Wish::Acknowledge(mute()),
        WishWord::Silence => Wish::Silence(mute()),
        WishWord::Resume => Wish::Resume,
        WishWord::Unsilence => Wish::Unsilence,
    };
    if until.is_some() && matches!(wish, Wish::Resume | Wish::Unsilence) {
        return Err(Refusal::new(Why::Bad, "what is taken back has no \"until\""));
    }
    Ok(wish)
}

fn moment(text: &str, now: Wall) -> Result<Wall, Refusal> {
    let at: jiff::Timestamp = text.parse().map_err(|_| {
        Refusal::new(Why::Bad, format!("\"{}\" is not a time", clean(text, 64)))
            .hint("\"until\" is RFC 3339, like 2026-11-20T18:00:00Z")
    })?;
    let at = Wall(at.as_microsecond());
    if at <= now {
        let text = format!("the end {} is past", at.rfc3339());
        return Err(Refusal::new(Why::Bad, text).hint("give a time that is still to come"));
    }
    Ok(at)
}

/// The name of a user, or its number where it has none.
pub(super) fn user(uid: Option<u32>) -> String {
    let Some(uid) = uid else { return String::new() };
    match User::from_uid(Uid::from_raw(uid)) {
        Ok(Some(user)) => user.name,
        _ => format!("uid {uid}"),
    }
}

fn nothing_to_do(wish: &Wish, asked: &[Named]) -> Result<DoneShape, Refusal> {
    let be = if asked.len() == 1 { "is" } else { "are" };
    let lacking = match wish {
        Wish::Acknowledge(_) => {
            let text = format!("{} {be} not down: there is nothing to acknowledge", names(asked));
            return Err(Refusal::new(Why::Conflict, text).hint("`lapwing status` shows what is down"));
        }
        Wish::Resume => "paused",
        Wish::Unsilence => "silenced",
        Wish::Pause(_) | Wish::Silence(_) => "watched",
    };
    Ok(DoneShape {
        v: VERSION,
        text: format!("nothing to do: {} {be} not {lacking}", names(asked)),
        series: Vec::new(),
    })
}

fn zone(name: &str) -> Result<TimeZone, Refusal> {
    TimeZone::get(name).map_err(|_| {
        let text = format!("there is no time zone \"{}\"", clean(name, 64));
        Refusal::new(Why::Bad, text).hint("\"zone\" is a name like Europe/Berlin")
    })
}

/// With times in `zone`, or in that of the monitor.
fn sentence(wish: &Wish, found: &[Named], now: Wall, zone: Option<TimeZone>) -> String {
    let of_monitor = || Some(found.first()?.series.monitor.policy.zone.clone());
    let zone = zone.or_else(of_monitor).unwrap_or(TimeZone::UTC);
    let until = |mute: &Mute| mute.until.map(|at| notice::clock(at, now, &zone));
    let names = names(found);
    match wish {
        Wish::Pause(mute) => match until(mute) {
            Some(end) => format!("paused {names} until {end}"),
            None => format!("paused {names} until it is resumed"),
        },
        Wish::Resume => format!("resumed {names}"),
        Wish::Acknowledge(mute) => match until(mute) {
            Some(end) => format!("acknowledged {names}: no reminders until {end} or until it is up"),
            None => format!("acknowledged {names}: no reminders until it is up"),
        },
        Wish::Silence(mute) => match until(mute) {
            Some(end) => format!("silenced {names} until {end}; what is down then is told then"),
            None => format!("silenced {names} until that is ended; what is down then is told then"),
        },
        Wish::Unsilence => format!("ended the silence of {names}"),
    }
}

/// `web`, `web and db`, `12 series (a, b, c, d, e, …)`.
fn names(found: &[Named]) -> String {
    let mut names: Vec<&str> = found.iter().map(|named| named.series.name.as_str()).collect();
    names.sort_unstable();
    match names.as_slice() {
        [one] => (*one).to_owned(),
        [one, other] => format!("{one} and {other}"),
        many if many.len() <= SPOKEN => format!("{} series ({})", many.len(), many.join(", ")),
        many => format!("{} series ({}, …)", many.len(), many[..SPOKEN].join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Wall = Wall(1_700_000_000_000_000);

    fn order(word: WishWord, until: Option<&str>) -> WishShape {
        WishShape {
            wish: word,
            names: vec!["web".to_owned()],
            by: None,
            reason: Some(" new\u{1b}disk ".to_owned()),
            until: until.map(ToOwned::to_owned),
            zone: None,
        }
    }

    #[test]
    fn the_time_zone_has_a_name_that_is_known() {
        assert!(zone("Asia/Tokyo").is_ok());
        for bad in ["Asia/Atlantis", "", "+09:00", "\u{1b}[31m"] {
            let refusal = zone(bad).unwrap_err();
            assert!(
                refusal.why == Why::Bad && refusal.text.contains("there is no time zone"),
                "{refusal:?}"
            );
            assert!(!refusal.text.contains('\u{1b}'), "{refusal:?}");
        }
    }

    #[test]
    fn who_asks_is_the_user_unless_a_program_says_for_whom() {
        let Ok(Wish::Pause(mute)) = wish(&order(WishWord::Pause, None), Some(0), NOW) else {
            panic!("no pause");
        };
        let expected = Mute {
            by: "root".to_owned(),
            reason: "new disk".to_owned(),
            since: NOW,
            until: None,
        };
        assert_eq!(mute, expected);
        assert_eq!(
            (user(Some(4_000_000_001)), user(None)),
            ("uid 4000000001".to_owned(), String::new())
        );
        let by = WishShape {
            by: Some("anna via chat\n".to_owned()),
            ..order(WishWord::Ack, Some("2100-01-01T00:00:00+01:00"))
        };
        let Ok(Wish::Acknowledge(mute)) = wish(&by, Some(0), NOW) else {
            panic!("no acknowledgement");
        };
        assert_eq!(mute.by, "anna via chat");
        assert_eq!(
            mute.until.map(Wall::rfc3339).as_deref(),
            Some("2099-12-31T23:00:00.000000Z")
        );
    }

    #[test]
    fn an_end_must_be_a_time_that_is_still_to_come() {
        for (word, until, says) in [
            (WishWord::Silence, "18:00", "is not a time"),
            (WishWord::Silence, "2023-11-14T22:13:20Z", "is past"),
            (WishWord::Resume, "2100-01-01T00:00:00Z", "taken back"),
        ] {
            let refusal = wish(&order(word, Some(until)), None, NOW).unwrap_err();
            assert!(
                refusal.why == Why::Bad && refusal.text.contains(says),
                "{refusal:?}"
            );
        }
    }
}
