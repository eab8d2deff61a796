//! What other crates keep beside a [`Net`], one of each type: engines that share sockets between probes.
//!
//! An extension lives as long as the last clone of the `Net` that it was made for; nothing is global.

use std::{
    any::{Any, TypeId},
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use lapwing_core::{observation::Fault, time::Clock};

use crate::Net;

/// Extensions by their type.
#[derive(Default)]
pub(crate) struct Extensions(Mutex<HashMap<TypeId, Arc<dyn Any + Send + Sync>>>);

impl Net {
    /// The extension of type `T`, shared by all clones of this `Net`; made on first use. `make` must not ask for
    /// another extension.
    pub fn extension<T: Any + Send + Sync>(&self, make: impl FnOnce(&Arc<dyn Clock>) -> T) -> Arc<T> {
        let mut held = self.extensions.0.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = held
            .entry(TypeId::of::<T>())
            .or_insert_with(|| Arc::new(make(&self.clock)));
        let entry = Arc::clone(entry);
        drop(held);
        entry.downcast().expect("an extension stands under its own type")
    }

    /// Asks the policy whether packets may go to `addr`; for sockets that are not opened by this crate.
    pub fn permits(&self, addr: SocketAddr) -> Result<(), Fault> {
        (self.policy)(addr)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use lapwing_core::time::Now;

    use super::*;

    struct Still;

    impl Clock for Still {
        fn now(&self) -> Now {
            Now::default()
        }
    }

    #[test]
    fn made_once_and_shared_by_clones() {
        let net = Net::new(Arc::new(Still));
        let first = net.clone().extension(|_| AtomicU32::new(7));
        first.store(8, Ordering::Relaxed);
        assert_eq!(net.extension(|_| AtomicU32::new(0)).load(Ordering::Relaxed), 8);
        assert_eq!(*net.extension(|_| "another type"), "another type");
        assert_eq!(
            Net::new(Arc::new(Still))
                .extension(|_| AtomicU32::new(1))
                .load(Ordering::Relaxed),
            1
        );
    }
}
