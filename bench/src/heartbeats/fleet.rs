//! Sensors as datagrams: written here anew from the format's description, so that the two programs check each other.

use std::{
    io::ErrorKind,
    net::{SocketAddr, UdpSocket},
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use hmac::{Hmac, KeyInit as _, Mac as _};
use nix::time::{ClockId, clock_gettime};
use sha2::Sha256;
use socket2::{Domain, Protocol, Socket, Type};

use crate::clock;

const LEN: usize = 120;
const ID_AT: usize = 72;
const MAC_AT: usize = 104;
const REPLY: u8 = 0x80;
/// Datagrams sent before replies are read again.
const TURN: u64 = 500;
/// How long replies may take after the last beat.
const LAST: Duration = Duration::from_secs(3);
const PAUSE: Duration = Duration::from_micros(200);
const REPLY_BUFFER: usize = 8 << 20;

/// The id of a sensor, and the name of its monitor.
pub(crate) fn name(number: u32) -> String {
    format!("s{number:06}")
}

pub(crate) fn key(number: u32) -> String {
    format!("a key for the bench {number:06}").replace(' ', "-")
}

/// What was sent, and what came back.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) sent: u64,
    pub(crate) malformed: u64,
    /// For each beat that was acknowledged, after how many µs.
    answers: Vec<u32>,
}

impl Tally {
    pub(crate) fn acknowledged(&self) -> usize {
        self.answers.len()
    }

    /// The time in ms within which `share` (0 to 1) of the answers came.
    pub(crate) fn answered_within(&self, share: f64) -> f64 {
        let mut sorted = self.answers.clone();
        sorted.sort_unstable();
        let place = (sorted.len() as f64 * share).ceil() as usize;
        sorted
            .get(place.saturating_sub(1))
            .map_or(f64::NAN, |us| f64::from(*us) / 1e3)
    }
}

/// Many sensors behind one socket.
pub(crate) struct Fleet {
    socket: UdpSocket,
    begun: Instant,
    /// Number of the session, the same for all.
    boot: u64,
    /// When each sensor last sent, µs after the begin.
    last: Vec<u64>,
    /// Beats so far, in turn over all sensors.
    beats: u64,
}

impl Fleet {
    pub(crate) fn new(to: SocketAddr, sensors: u32) -> anyhow::Result<Self> {
        Ok(Self {
            socket: connected(to)?,
            begun: clock::now(),
            boot: wall_us(),
            last: vec![0; sensors as usize],
            beats: 0,
        })
    }

    /// Beats at `rate` a second for `length`, with a flood beside if one is given; then waits for the last answers.
    pub(crate) fn run(
        &mut self,
        length: Duration,
        rate: f64,
        mut flood: Option<&mut Flood>,
    ) -> anyhow::Result<Tally> {
        let begun = clock::now();
        let wanted = (length.as_secs_f64() * rate).round() as u64;
        let mut tally = Tally::default();
        while begun.elapsed() < length || tally.sent < wanted {
            let passed = begun.elapsed().min(length).as_secs_f64();
            let due = ((passed * rate) as u64).min(wanted);
            let due = if passed < length.as_secs_f64() {
                due
            } else {
                wanted
            };
            for _ in 0..due.saturating_sub(tally.sent).min(TURN) {
                self.beat()?;
                tally.sent += 1;
            }
            if let Some(flood) = &mut flood {
                tally.malformed += flood.send(passed, tally.malformed)?;
            }
            if self.hear(&mut tally)? == 0 {
                std::thread::sleep(PAUSE);
            }
        }
        let last = clock::now();
        while (tally.acknowledged() as u64) < tally.sent && last.elapsed() < LAST {
            if self.hear(&mut tally)? == 0 {
                std::thread::sleep(PAUSE);
            }
        }
        Ok(tally)
    }

    fn beat(&mut self) -> anyhow::Result<()> {
        let sensors = self.last.len() as u64;
        let (number, seq) = ((self.beats % sensors) as u32, self.beats / sensors + 1);
        let running = self.begun.elapsed().as_micros() as u64;
        let bytes = beat(number, self.boot, seq, running);
        self.last[number as usize] = running;
        self.beats += 1;
        self.socket.send(&bytes).context("a beat cannot be sent")?;
        Ok(())
    }

    /// Takes the replies that are there.
    fn hear(&self, tally: &mut Tally) -> anyhow::Result<u64> {
        let mut bytes = [0; LEN];
        let mut count = 0;
        while count < TURN {
            match self.socket.recv(&mut bytes) {
                Ok(LEN) if bytes[5] == REPLY => {
                    let id = std::str::from_utf8(&bytes[ID_AT + 1..ID_AT + 7])?;
                    let number: usize = id.parse()?;
                    let sent = *self.last.get(number).context("a reply to nobody")?;
                    let now = self.begun.elapsed().as_micros() as u64;
                    tally.answers.push((now - sent) as u32);
                    count += 1;
                }
                Ok(_) => bail!("the daemon answers otherwise than that a beat was heard"),
                Err(e) if e.kind() == ErrorKind::WouldBlock => break,
                Err(e) => return Err(e).context("replies cannot be received"),
            }
        }
        Ok(count)
    }
}

/// Datagrams that are no beats, each for another reason.
pub(crate) struct Flood {
    socket: UdpSocket,
    rate: f64,
    datagrams: Vec<Vec<u8>>,
}

impl Flood {
    pub(crate) fn new(to: SocketAddr, rate: u32) -> anyhow::Result<Self> {
        let good = beat(0, 1, 1, 0);
        let changed = |at: usize, value: u8| {
            let mut bytes = good;
            bytes[at] = value;
            bytes.to_vec()
        };
        let datagrams = vec![
            vec![b'x'; LEN],        // foreign
            good[..60].to_vec(),    // cut off
            changed(4, 9),          // another version
            changed(6, 1),          // malformed
            changed(LEN - 1, b'x'), // forged
            changed(ID_AT, b'z'),   // unknown
            vec![0; 1400],          // oversized
        ];
        Ok(Self {
            socket: connected(to)?,
            rate: f64::from(rate),
            datagrams,
        })
    }

    /// Sends what is due `passed` seconds after the begin, when `sent` were sent before. Gives how many.
    fn send(&mut self, passed: f64, sent: u64) -> anyhow::Result<u64> {
        let due = ((passed * self.rate) as u64).saturating_sub(sent).min(TURN);
        for number in sent..sent + due {
            let bytes = &self.datagrams[(number % self.datagrams.len() as u64) as usize];
            self.socket.send(bytes).context("the flood cannot be sent")?;
        }
        Ok(due)
    }
}

/// A beat in version 1 of the format.
fn beat(number: u32, boot: u64, seq: u64, running_us: u64) -> [u8; LEN] {
    let mut bytes = [0; LEN];
    bytes[..5].copy_from_slice(b"LWhb\x01");
    let instance = boot;
    let numbers = [
        boot,
        seq,
        instance,
        wall_us(),
        running_us + 3_600_000_000,
        running_us,
    ];
    for (field, number) in bytes[8..56].chunks_exact_mut(8).zip(numbers) {
        field.copy_from_slice(&number.to_be_bytes());
    }
    let id = name(number);
    bytes[ID_AT..ID_AT + id.len()].copy_from_slice(id.as_bytes());
    let mut mac = Hmac::<Sha256>::new_from_slice(key(number).as_bytes()).expect("any length will do");
    mac.update(&bytes[..MAC_AT]);
    bytes[MAC_AT..].copy_from_slice(&mac.finalize().into_bytes()[..LEN - MAC_AT]);
    bytes
}

fn connected(to: SocketAddr) -> anyhow::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(to), Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_recv_buffer_size(REPLY_BUFFER)?;
    socket.connect(&to.into())?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

fn wall_us() -> u64 {
    let now = clock_gettime(ClockId::CLOCK_REALTIME).map(Duration::from);
    now.map_or(0, |now| now.as_micros() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beats_are_signed_with_the_key_of_their_sensor() {
        let bytes = beat(7, 1, 2, 3);
        let mut mac = Hmac::<Sha256>::new_from_slice(key(7).as_bytes()).unwrap();
        mac.update(&bytes[..MAC_AT]);
        mac.verify_truncated_left(&bytes[MAC_AT..]).unwrap();
        assert_eq!(&bytes[ID_AT..ID_AT + 8], b"s000007\0");
        assert_eq!(bytes[8..24], [0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2]);
    }

    #[test]
    fn answers_have_their_ranks() {
        let tally = Tally {
            answers: vec![4_000, 1_000, 3_000, 2_000],
            ..Tally::default()
        };
        let within = [0.0, 0.25, 0.5, 0.99, 1.0].map(|share| tally.answered_within(share).to_string());
        assert_eq!(within, ["1", "1", "2", "4", "4"]);
        assert!(Tally::default().answered_within(0.5).is_nan());
    }

    #[test]
    fn every_sensor_beats_in_turn_and_answers_are_counted() {
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        let mut fleet = Fleet::new(server.local_addr().unwrap(), 2).unwrap();
        for expected in [(b'0', 1), (b'1', 1), (b'0', 2)] {
            fleet.beat().unwrap();
            let mut bytes = [0; LEN];
            let (_, from) = server.recv_from(&mut bytes).unwrap();
            assert_eq!((bytes[ID_AT + 6], bytes[23]), expected);
            bytes[5] = REPLY;
            server.send_to(&bytes, from).unwrap();
        }
        let mut tally = Tally::default();
        let done = clock::wait_for(LAST, PAUSE, || {
            fleet.hear(&mut tally)?;
            Ok(tally.acknowledged() == 3)
        });
        assert!(done.unwrap().is_some());
    }
}
