//! What people ask for: pauses, acknowledgements, silences.

use std::sync::Arc;

use super::Lookout;
use crate::{mute::Wish, time::Now};

impl Lookout {
    pub(super) fn wish(&mut self, series: &[Arc<str>], wish: &Wish, ticket: Option<u64>, now: Now) {
        for key in series {
            let Some(slot) = self.by_key.get(key).copied() else {
                continue;
            };
            let Some(entry) = &mut self.entries[slot as usize] else {
                continue;
            };
            let was_paused = entry.standing.is_paused();
            let step = entry.standing.wish(wish, now.wall);
            match wish {
                Wish::Pause(_) => {
                    entry.running.clear();
                    entry.waiting = None;
                    entry.next_slot = entry.first_slot(now.mono, 1);
                }
                Wish::Resume if was_paused => entry.next_slot = entry.first_slot(now.mono, series.len()),
                Wish::Resume | Wish::Acknowledge(_) | Wish::Silence(_) | Wish::Unsilence => {}
            }
            self.apply(slot, step, now);
            self.arm(slot, now);
        }
        self.recount();
        self.tell_after_commit(ticket);
    }
}
