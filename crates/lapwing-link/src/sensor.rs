//! `lapwing sensor`: tells a monitor elsewhere, beat by beat, that this machine and its line are up.
//!
//! Invariant: nothing but the account of a silence is kept for later, no beat is caught up on, steps of the wall clock
//! change nothing, and only a reply that proves its key counts. One thread; a second one lives while a name is resolved.

mod alarm;
mod line;
mod names;
mod silence;
mod start;
mod voice;

use std::{io, net::SocketAddr, os::fd::BorrowedFd, time::Duration};

use lapwing_core::{
    secret::Secret,
    target::Host,
    time::{Clock, Mono, micros},
};
use lapwing_wire::heartbeat::{Answer, Beat, Kind, LEN, Reply, SensorId, peek, verify};

use alarm::{Alarm, Woken};
use line::Asked;
use names::Names;
pub use names::{Lookup, system_lookup};
use silence::Silence;
pub use start::{Machine, Start, state_file};
pub use voice::{Level, Word};
use voice::{Loss, Voice};

/// Longest wait for a reply. The monitor answers when the beat is on its disk.
const PATIENCE: Duration = Duration::from_secs(5);
/// The last beat is sent so often, with so long a wait for each reply: an end must not take long.
const FAREWELLS: usize = 2;
const FAREWELL: Duration = Duration::from_secs(1);

/// Where beats go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    pub host: Host,
    pub port: u16,
}

impl std::fmt::Display for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// What makes a beat provable.
#[derive(Clone, Debug)]
pub struct Identity {
    pub id: SensorId,
    pub key: Secret,
}

/// What a sensor does.
#[derive(Debug)]
pub struct SensorSettings {
    pub server: Server,
    /// None: plain beats, as the netmonitor script sends them. Nobody replies to those.
    pub identity: Option<Identity>,
    pub period: Duration,
    /// How long a reply is waited for.
    pub patience: Duration,
    /// Random for each start of the process.
    pub instance: u64,
}

impl SensorSettings {
    /// The usual wait for a reply: half a period, 5 s at most.
    pub fn patience(period: Duration) -> Duration {
        (period / 2).min(PATIENCE)
    }
}

/// A sensor, ready to run.
pub struct Sensor<'a> {
    settings: SensorSettings,
    start: Start,
    clock: &'a dyn Clock,
    alarm: Alarm<'a>,
    names: Names,
    silence: Silence,
    voice: Voice,
    say: &'a mut dyn FnMut(Word),
    began: Mono,
    seq: u64,
    /// The boot of the machine is still to be told.
    tell_boot: bool,
}

/// What became of a beat.
enum Outcome {
    /// Acknowledged; of a plain beat: sent without an error.
    Heard(SocketAddr, Duration),
    Lost(Loss),
    /// We were told to stop meanwhile.
    Stopped,
}

impl<'a> Sensor<'a> {
    /// `clock`'s monotonic side must be `CLOCK_BOOTTIME`: microseconds since the machine booted, suspend included. The
    /// sensor runs until `stop` is readable, and says through `say` what a person should know.
    pub fn new(
        settings: SensorSettings,
        start: Start,
        lookup: Lookup,
        clock: &'a dyn Clock,
        stop: BorrowedFd<'a>,
        say: &'a mut dyn FnMut(Word),
    ) -> io::Result<Self> {
        let began = clock.mono();
        Ok(Self {
            names: Names::new(settings.server.clone(), lookup)?,
            silence: Silence::new(began),
            voice: Voice::new(settings.identity.as_ref().map(|i| i.id)),
            alarm: Alarm::new(clock, stop)?,
            tell_boot: start.booted,
            settings,
            start,
            clock,
            say,
            began,
            seq: 0,
        })
    }

    /// Has `alive` called at least `every` so often, whatever is waited for, as long as the sensor is not stuck.
    #[must_use]
    pub fn watched(mut self, every: Duration, alive: &'a dyn Fn()) -> Self {
        self.alarm.watched(every, alive);
        self
    }

    /// Sends beats until told to stop. An error means that this machine cannot even wait.
    pub fn run(mut self) -> io::Result<()> {
        let mut due = self.began;
        loop {
            let sent_at = self.clock.mono();
            due = paced(due, sent_at, self.settings.period);
            let outcome = self.beat()?;
            if matches!(outcome, Outcome::Stopped) {
                break;
            }
            self.settle(sent_at, outcome);
            due = (due + self.settings.period).max(self.clock.mono());
            if self.alarm.until(due, None)? == Woken::Stop {
                break;
            }
        }
        self.farewell()
    }

    fn beat(&mut self) -> io::Result<Outcome> {
        self.hear_of_names();
        self.names.tend(self.clock.mono(), self.names.is_empty());
        if self.names.is_empty() {
            let patience = self.clock.mono() + self.settings.patience;
            if self.alarm.until(patience, Some(self.names.news()))? == Woken::Stop {
                return Ok(Outcome::Stopped);
            }
            self.hear_of_names();
        }
        let kind = if self.tell_boot { Kind::Boot } else { Kind::Beat };
        self.seq += 1;
        match self.settings.identity.clone() {
            Some(identity) => self.keyed(kind, &identity),
            None => self.plain(kind),
        }
    }

    /// A keyed beat. One that the monitor calls stale is sent again at once, in a session above the one it knows.
    fn keyed(&mut self, kind: Kind, identity: &Identity) -> io::Result<Outcome> {
        for _ in 0..2 {
            let beat = self.word(kind);
            let datagram = beat.write(&identity.id, identity.key.expose().as_bytes());
            let (answer, by, after) = match self.offer(&datagram, |bytes| accept(bytes, &beat, identity))? {
                Offered::Answered(answer, by, after) => (answer, by, after),
                Offered::Silent(to, ignored) => {
                    self.names.next();
                    return Ok(Outcome::Lost(Loss::Unanswered { to, ignored }));
                }
                Offered::Not(outcome) => return Ok(outcome),
            };
            self.names.prefer(by);
            match answer {
                Answer::Heard => return Ok(Outcome::Heard(by, after)),
                Answer::Superseded => return Ok(Outcome::Lost(Loss::Superseded)),
                Answer::Stale { newest } => {
                    if let Some(words) = self.start.raise(newest) {
                        (self.say)(words);
                    }
                    self.seq = 1;
                }
            }
        }
        Ok(Outcome::Lost(Loss::Stale))
    }

    fn word(&self, kind: Kind) -> Beat {
        let now = self.clock.now();
        let account = self.silence.account(now.mono, self.settings.period);
        Beat {
            kind,
            boot: self.start.session,
            seq: self.seq,
            instance: self.settings.instance,
            time: now.wall.0,
            uptime_us: now.mono.0,
            running_us: micros(now.mono.since(self.began)),
            silent_us: account.map_or(0, |a| micros(a.silent)),
            lost: account.map_or(0, |a| a.lost),
            hindrance: account.map_or(0, |a| a.hindrance as u8),
        }
    }

    /// A plain beat: silence is all that can be hoped for.
    fn plain(&mut self, kind: Kind) -> io::Result<Outcome> {
        let uptime = Duration::from_micros(self.clock.mono().0);
        let text = match kind {
            Kind::Boot => format!("BOOT{:.2}", uptime.as_secs_f64()),
            Kind::Beat | Kind::Stop => "PING".to_owned(),
        };
        match self.offer(text.as_bytes(), |_| None::<()>)? {
            Offered::Silent(to, _) | Offered::Answered((), to, _) => Ok(Outcome::Heard(to, Duration::ZERO)),
            Offered::Not(outcome) => Ok(outcome),
        }
    }

    /// Sends a datagram to the address in use; where the system or the network refuses it, to the next one.
    fn offer<T>(&mut self, datagram: &[u8], accept: impl Fn(&[u8]) -> Option<T>) -> io::Result<Offered<T>> {
        let deadline = self.clock.mono() + self.settings.patience;
        let mut loss = None;
        for _ in 0..self.names.len() {
            let Some(to) = self.names.current() else { break };
            let sent = self.clock.mono();
            match line::ask(to, datagram, deadline, &accept, &self.alarm)? {
                Asked::Answered(answer) => {
                    return Ok(Offered::Answered(answer, to, self.clock.mono().since(sent)));
                }
                Asked::Silent { ignored } => return Ok(Offered::Silent(to, ignored)),
                Asked::Stopped => return Ok(Offered::Not(Outcome::Stopped)),
                // What somebody beyond our network says tells more than that we cannot send elsewhere.
                Asked::Refused(error) => loss = Some(Loss::Refused { to, error }),
                Asked::NotSent(error) => loss = loss.or(Some(Loss::NoRoute { to, error })),
            }
            self.names.next();
        }
        let loss = loss.unwrap_or_else(|| Loss::NoName(self.names.failure()));
        Ok(Offered::Not(Outcome::Lost(loss)))
    }

    /// Keeps the account, says what is new, and looks the name up again when something is wrong.
    fn settle(&mut self, sent_at: Mono, outcome: Outcome) {
        let now = self.clock.mono();
        match outcome {
            Outcome::Heard(by, after) => {
                self.tell_boot = false;
                let words = self.voice.heard(self.seq, by, after, &self.silence, now);
                self.silence.ended(sent_at);
                words.into_iter().for_each(&mut self.say);
            }
            Outcome::Lost(loss) => {
                self.silence.lost(loss.hindrance());
                let words = self.voice.lost(self.seq, &loss, &self.silence, now);
                words.into_iter().for_each(&mut self.say);
                if loss.is_about_the_way(self.silence.count()) {
                    self.names.tend(now, true);
                }
            }
            Outcome::Stopped => {}
        }
    }

    fn hear_of_names(&mut self) {
        if let Some(words) = self.names.collect() {
            (self.say)(words);
        }
    }

    /// The last beat, so that the monitor expects the silence. Plain beats have no word for it.
    fn farewell(mut self) -> io::Result<()> {
        self.alarm.no_longer_stops();
        self.settings.patience = self.settings.patience.min(FAREWELL);
        let Some(identity) = self.settings.identity.clone() else {
            (self.say)(Word::notice("stopped"));
            return Ok(());
        };
        for _ in 0..FAREWELLS {
            self.seq += 1;
            if let Outcome::Heard(..) = self.keyed(Kind::Stop, &identity)? {
                (self.say)(Word::notice("stopped; the monitor knows"));
                return Ok(());
            }
        }
        (self.say)(Word::notice("stopped; the monitor could not be told"));
        Ok(())
    }
}

/// What became of a datagram.
enum Offered<T> {
    Answered(T, SocketAddr, Duration),
    /// Nobody refused it, nobody answered: so many datagrams were ignored.
    Silent(SocketAddr, u32),
    Not(Outcome),
}

/// The answer to `beat`, if these bytes are one and prove it.
fn accept(bytes: &[u8], beat: &Beat, identity: &Identity) -> Option<Answer> {
    let ours = bytes.len() == LEN
        && peek(bytes) == Ok(identity.id)
        && verify(bytes, identity.key.expose().as_bytes());
    let reply = Reply::parse(bytes).ok().filter(|_| ours)?;
    let echoed = (reply.boot, reply.seq, reply.instance) == (beat.boot, beat.seq, beat.instance);
    echoed.then_some(reply.answer)
}

/// When the beat that is sent now was due. After a suspend or a stall, now: nothing is caught up on.
fn paced(due: Mono, now: Mono, period: Duration) -> Mono {
    if now < due + period { due } else { now }
}

#[cfg(test)]
mod tests;
