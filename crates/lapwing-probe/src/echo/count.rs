//! In which direction datagrams were lost, from the number of those received that the server writes into each echo.

use std::collections::BTreeSet;

use lapwing_core::time::Mono;

/// Copies that are told apart; of older ones only the number is kept.
const COPIES: usize = 4096;

/// Datagrams lost in each direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Directions {
    /// On the way to the server, or at its door.
    pub out: u64,
    /// On the way back.
    pub back: u64,
}

/// The server's account of one run. Sequence numbers begin with 1.
///
/// The newest echo says how many datagrams the server had received when it answered. Those sent up to then and not
/// received were lost on the way out; those received and not back, on the way back. Of later ones nobody can tell.
/// A server that begins to count anew (it was restarted) begins a new chapter.
#[derive(Debug)]
pub(super) struct Count {
    /// The chapters that are closed.
    closed: Directions,
    /// First sequence number of this chapter.
    first: u64,
    newest: Option<Newest>,
    /// Datagrams of this chapter that are back.
    back: u64,
    /// What the server counted for copies that the network made on the way out.
    copies: BTreeSet<u32>,
    copies_forgotten: u64,
    counted: bool,
}

/// The echo with the highest sequence number and the highest count.
#[derive(Clone, Copy, Debug)]
struct Newest {
    seq: u64,
    received: u32,
    heard: Mono,
}

impl Count {
    pub(super) fn new() -> Self {
        Self {
            closed: Directions::default(),
            first: 1,
            newest: None,
            back: 0,
            copies: BTreeSet::new(),
            copies_forgotten: 0,
            counted: false,
        }
    }

    /// Takes the first echo of `seq`. `received` is 0 when the server does not count; `later` says how many with
    /// higher numbers than the given one are back.
    pub(super) fn echo(
        &mut self,
        seq: u64,
        received: u32,
        sent: Mono,
        now: Mono,
        later: impl Fn(u64) -> u64,
    ) {
        if seq < self.first {
            return;
        }
        if received == 0 {
            // It has no room for us, or no longer.
            let upto = self.newest.map_or(seq, |newest| newest.seq.max(seq));
            return self.close(upto + 1, 0, &later);
        }
        self.counted = true;
        // What was sent after an echo was heard is counted after it, as long as the server remembers us.
        let anew = self
            .newest
            .filter(|newest| sent >= newest.heard && received <= newest.received);
        if let Some(newest) = anew {
            self.close(newest.seq + 1, later(newest.seq), &later);
        }
        self.back += 1;
        if self
            .newest
            .is_none_or(|newest| seq > newest.seq && received > newest.received)
        {
            self.newest = Some(Newest {
                seq,
                received,
                heard: now,
            });
        }
    }

    /// Takes a further echo of a datagram whose first one said `first`. The same number again is a copy that the
    /// network made on the way back.
    pub(super) fn copy(&mut self, seq: u64, first: u32, received: u32) {
        if seq < self.first || received == 0 || received == first {
            return;
        }
        self.copies.insert(received);
        if self.copies.len() > COPIES {
            self.copies.pop_first();
            self.copies_forgotten += 1;
        }
    }

    /// None when the server never counted.
    pub(super) fn lost(&self, later: impl Fn(u64) -> u64) -> Option<Directions> {
        let open = self.chapter(&later);
        self.counted.then(|| Directions {
            out: self.closed.out + open.out,
            back: self.closed.back + open.back,
        })
    }

    /// Losses of this chapter.
    fn chapter(&self, later: &impl Fn(u64) -> u64) -> Directions {
        let Some(newest) = self.newest else {
            return Directions::default();
        };
        let sent = newest.seq + 1 - self.first;
        let copies = self.copies_forgotten + self.copies.range(..=newest.received).count() as u64;
        let arrived = u64::from(newest.received).saturating_sub(copies).min(sent);
        let back = self.back.saturating_sub(later(newest.seq)).min(sent);
        let out = (sent - arrived).min(sent - back);
        Directions {
            out,
            back: sent - back - out,
        }
    }

    /// Begins a new chapter with `first`, of which `back` are back already.
    fn close(&mut self, first: u64, back: u64, later: &impl Fn(u64) -> u64) {
        let chapter = self.chapter(later);
        *self = Self {
            closed: Directions {
                out: self.closed.out + chapter.out,
                back: self.closed.back + chapter.back,
            },
            first,
            back,
            counted: self.counted,
            ..Self::new()
        };
    }
}
