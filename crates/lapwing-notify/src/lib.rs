//! Tells people: one file a notifier, and what they share.
//!
//! Invariant: a notifier tries once and says what came of it. Queue, order, retries, rate limit and digest are
//! outside, once for all. No secret ever stands in an error, a receipt or a debug text.

mod delivery;
mod endpoint;
mod message;
pub mod notifiers;
mod options;
mod redact;
mod smtp;
mod template;
#[cfg(test)]
mod testkit;

pub use delivery::{BoxFuture, CODES, DEADLINE, DeliveryError, Receipt, Retry};
pub use message::{FIELDS, Message};
pub use notifiers::{NOTIFIERS, parse};
pub use options::{Common, Dial};
pub use template::{Template, TemplateError};

use std::sync::Arc;

use lapwing_core::{
    kind::{OptionInfo, OptionReader},
    monitor::NotifierPolicy,
};
use lapwing_net::Net;

/// A configured way to tell somebody.
pub trait Notifier: Send + Sync {
    /// Tries once to deliver `message`. Ends by the deadline of the notifier (30 s).
    fn deliver<'a>(
        &'a self,
        message: &'a Message,
        net: &'a Net,
    ) -> BoxFuture<'a, Result<Receipt, DeliveryError>>;

    /// Proves that the notifier is valid, without a message to people where the service allows that; slack, and a
    /// webhook, get a short test message. Ends by the same deadline.
    fn verify<'a>(&'a self, net: &'a Net) -> BoxFuture<'a, Result<Receipt, DeliveryError>>;

    /// True when it works while this host is offline: a file, a command, an address in the local network.
    fn is_local(&self) -> bool;
}

/// Static description of a notifier. The notifier's own file holds it.
#[derive(Debug)]
pub struct NotifierInfo {
    /// The `type` of its table: `slack`.
    pub name: &'static str,
    /// One line.
    pub summary: &'static str,
    /// A few sentences for the reference page.
    pub about: &'static str,
    /// Its own options.
    pub options: &'static [OptionInfo],
    /// Options that it shares with others.
    pub shared: &'static [OptionInfo],
    /// Options that must be given.
    pub required: &'static [&'static str],
    /// A table as it stands in a configuration.
    pub example: &'static str,
}

impl NotifierInfo {
    /// All options, its own first.
    pub fn all_options(&self) -> impl Iterator<Item = &'static OptionInfo> {
        self.options.iter().chain(self.shared)
    }
}

/// A kind of notifier: its description, and how options become a notifier.
pub struct NotifierKind {
    pub info: &'static NotifierInfo,
    /// Reads the options; None only after an error was put into the reader.
    pub build: fn(&mut OptionReader<'_>, &Dial) -> Option<Box<dyn Notifier>>,
}

/// A notifier and the options that every notifier has.
pub struct Built {
    pub info: &'static NotifierInfo,
    pub notifier: Box<dyn Notifier>,
    pub common: Common,
}

impl Built {
    /// What the outbox needs to know of this notifier.
    pub fn policy(&self, name: Arc<str>) -> NotifierPolicy {
        let Common {
            rate_limit,
            give_up,
            on,
            ..
        } = self.common.clone();
        NotifierPolicy {
            name,
            on,
            rate_limit,
            give_up,
            local: self.notifier.is_local(),
        }
    }
}

/// Without the notifier itself, which holds secrets.
impl std::fmt::Debug for Built {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Built")
            .field("type", &self.info.name)
            .field("common", &self.common)
            .finish_non_exhaustive()
    }
}
