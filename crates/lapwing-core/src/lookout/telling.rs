//! What happened, made into events and notices. It must never decide whether something happened.

use std::sync::Arc;

use super::{Change, Entry, Lookout};
use crate::{
    event::{Event, EventKind},
    id::Id,
    judge::Happening,
    monitor::Series,
    notice,
    observation::Reason,
    outage::Outage,
    outbox::Notice,
    selfcheck::Line,
    state::State,
    time::{Now, Wall},
};

impl Lookout {
    pub(super) fn describe(
        &mut self,
        entry: &Entry,
        happening: Happening,
        previous: State,
        now: Now,
    ) -> Event {
        let kind = match &happening {
            Happening::Down => EventKind::Down,
            Happening::Up(_) => EventKind::Up,
            Happening::Reminder(_) => EventKind::Reminder,
            Happening::Loss(_) => EventKind::Loss,
            Happening::Degraded => EventKind::Degraded,
            Happening::Cleared(..) => EventKind::Cleared,
            Happening::Paused(_) => EventKind::Paused,
            Happening::Resumed => EventKind::Resumed,
            Happening::Acknowledged(_) => EventKind::Acknowledged,
            Happening::Silenced(_) => EventKind::Silenced,
            Happening::Unsilenced => EventKind::Unsilenced,
        };
        let mut event = self.event(kind, Some(entry), now);
        event.previous = previous;
        match happening {
            Happening::Down => event.of_outage(entry.standing.outage.as_deref(), now.wall),
            Happening::Up(outage) => event.of_outage(Some(&outage), now.wall),
            Happening::Reminder(reminder) => {
                event.reminder = Some(reminder);
                event.of_outage(entry.standing.outage.as_deref(), now.wall);
            }
            Happening::Loss(change) => event.loss = Some(change),
            Happening::Acknowledged(mute) => {
                event.mute = Some(mute);
                event.of_outage(entry.standing.outage.as_deref(), now.wall);
            }
            Happening::Paused(mute) | Happening::Silenced(mute) => event.mute = Some(mute),
            Happening::Resumed | Happening::Unsilenced => {}
            Happening::Degraded => {
                if let Some((since, reason)) = entry.standing.degraded.as_deref() {
                    (event.since, event.reason) = (Some(*since), Some(reason.clone()));
                }
            }
            Happening::Cleared(since, reason) => {
                (event.since, event.reason) = (Some(since), Some(reason));
                event.duration = Some(now.wall.since(since));
            }
        }
        event
    }

    pub(super) fn event(&mut self, kind: EventKind, entry: Option<&Entry>, now: Now) -> Event {
        let state = entry.map_or(State::Inconclusive, |e| e.standing.state);
        Event {
            id: Id::new(now.wall, &mut self.rng),
            kind,
            series: entry.map(|e| Arc::clone(&e.series)),
            state,
            previous: state,
            at: now.wall,
            since: None,
            duration: None,
            uncertainty: None,
            reason: None,
            reminder: None,
            loss: None,
            ended: None,
            failed_checks: None,
            last_up: None,
            verdict: None,
            mute: None,
            withheld: false,
            text: String::new(),
        }
    }

    /// Writes the event's text, queues its notices, and has it shown.
    pub(super) fn tell(&mut self, mut event: Event, series: Option<&Arc<Series>>) {
        let zone = series.map_or(&self.zone, |s| &s.monitor.policy.zone);
        event.text = notice::text(&event, zone);
        let notifiers: &[Arc<str>] = series.map_or(&self.notifiers, |s| &s.monitor.notify);
        if !notifiers.is_empty() && !event.withheld {
            let notice = Arc::new(Notice::of(&event, self.render));
            for notifier in notifiers {
                self.outbox.enqueue(notifier, &notice);
            }
        }
        self.out.events.push(Arc::new(event));
    }

    pub(super) fn check_line(&mut self, slot: u32, at: Wall, cause: Option<&Reason>, now: Now) {
        let Some(entry) = self.entries[slot as usize].as_mut().filter(|e| e.tells_of_line()) else {
            return;
        };
        let blind = entry.is_blind();
        match (entry.blind, blind) {
            (false, true) => self.line.lost_sight(),
            (true, false) => self.line.regained_sight(),
            (true, true) | (false, false) => {}
        }
        entry.blind = blind;
        if let Some(line) = self.line.saw(at, cause) {
            self.tell_line(line, now);
        }
    }

    pub(super) fn tell_line(&mut self, line: Line, now: Now) {
        let mut event = match &line {
            Line::Offline { .. } => self.event(EventKind::Offline, None, now),
            Line::Online { .. } => self.event(EventKind::Online, None, now),
        };
        match line {
            Line::Offline { since, reason } => {
                (event.since, event.reason) = (Some(since), Some(reason));
            }
            Line::Online {
                since,
                reason,
                lasted,
            } => {
                event.state = State::Up;
                (event.since, event.reason, event.duration) = (Some(since), Some(reason), Some(lasted));
                self.outbox.unblock();
                self.cut_off(since, now);
            }
        }
        self.out.changes.push(Change::Line(self.line.offline.clone()));
        self.tell(event, None);
    }
}

impl Event {
    fn of_outage(&mut self, outage: Option<&Outage>, now: Wall) {
        let Some(outage) = outage else { return };
        self.since = Some(outage.began);
        self.duration = Some(outage.length(now));
        self.uncertainty = outage.uncertainty();
        self.reason = Some(outage.reason.clone());
        self.ended = outage.end.map(|e| e.at);
        // Nobody asks for beats: none of ours failed.
        self.failed_checks = Some(outage.failed_checks).filter(|n| *n > 0);
        self.verdict = outage.verdict;
        self.last_up = outage.last_up;
    }
}

impl Notice {
    fn of(event: &Event, render: fn(&Event) -> String) -> Self {
        let series = event.series.as_deref();
        let of = |text: fn(&Series) -> &str| series.map_or(String::new(), |s| text(s).to_owned());
        Self {
            id: event.id,
            kind: event.kind,
            lane: series.map_or_else(|| "".into(), |s| Arc::clone(&s.key)),
            monitor: of(|s| &s.monitor.name),
            series: of(|s| &s.name),
            target: of(|s| &s.target),
            probe: of(|s| s.kind),
            host: of(|s| &s.host),
            at: event.at,
            text: event.text.clone(),
            json: render(event),
        }
    }
}
