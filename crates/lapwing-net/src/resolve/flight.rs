//! One question at a time for each key: those who want to know the same wait for the one who asks. It holds no lock while
//! anybody waits, and whoever waits bounds that by its own deadline.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Mutex, MutexGuard, PoisonError},
};

use tokio::sync::watch;

/// The questions that are being asked.
pub(super) struct Flights<K, T> {
    most: usize,
    asked: Mutex<HashMap<K, watch::Receiver<Option<T>>>>,
}

/// Whether somebody asks already.
pub(super) enum Seat<'a, K: Clone + Eq + Hash, T> {
    /// Nobody does: ask, and tell.
    First(Asking<'a, K, T>),
    /// The answer will be here; the sender is gone without one when the asker gave up.
    Other(watch::Receiver<Option<T>>),
}

impl<K: Clone + Eq + Hash, T: Clone> Flights<K, T> {
    /// Knows of at most `most` questions; those beyond are asked by everybody.
    pub(super) fn new(most: usize) -> Self {
        Self {
            most,
            asked: Mutex::default(),
        }
    }

    pub(super) fn board(&self, key: &K) -> Seat<'_, K, T> {
        let mut asked = self.held();
        if let Some(told) = asked.get(key) {
            return Seat::Other(told.clone());
        }
        let (tell, told) = watch::channel(None);
        let listed = asked.len() < self.most;
        if listed {
            asked.insert(key.clone(), told);
        }
        Seat::First(Asking {
            flights: self,
            key: listed.then(|| key.clone()),
            tell,
        })
    }

    fn held(&self) -> MutexGuard<'_, HashMap<K, watch::Receiver<Option<T>>>> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A question that is being asked, until this is dropped.
pub(super) struct Asking<'a, K: Clone + Eq + Hash, T> {
    flights: &'a Flights<K, T>,
    /// None where nobody else knows of it.
    key: Option<K>,
    tell: watch::Sender<Option<T>>,
}

impl<K: Clone + Eq + Hash, T> Asking<'_, K, T> {
    /// Gives the answer to all who wait.
    pub(super) fn tell(self, answer: T) {
        self.tell.send_replace(Some(answer));
    }
}

impl<K: Clone + Eq + Hash, T> Drop for Asking<'_, K, T> {
    fn drop(&mut self) {
        if let Some(key) = &self.key {
            let asked = &self.flights.asked;
            asked.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_asks_and_all_are_told() {
        let flights = Flights::new(1);
        let Seat::First(asking) = flights.board(&"a") else {
            panic!()
        };
        let Seat::Other(mut told) = flights.board(&"a") else {
            panic!()
        };
        // No room: this one asks unseen, and does not disturb the first.
        let Seat::First(unseen) = flights.board(&"b") else {
            panic!()
        };
        unseen.tell(2);
        asking.tell(1);
        assert_eq!(*told.wait_for(Option::is_some).await.unwrap(), Some(1));
        assert!(flights.held().is_empty());
    }

    #[tokio::test]
    async fn who_gives_up_makes_room() {
        let flights = Flights::<_, ()>::new(9);
        let first = flights.board(&"a");
        let Seat::Other(mut told) = flights.board(&"a") else {
            panic!()
        };
        drop(first);
        assert!(told.wait_for(Option::is_some).await.is_err());
        assert!(matches!(flights.board(&"a"), Seat::First(_)));
    }
}
