//! What the daemon has told, by whichever way. The sinks put messages in; a test waits for them.

use std::{
    sync::{Condvar, Mutex},
    time::Duration,
};

/// A way on which the daemon tells us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Slack,
    Webhook,
    /// Mail in the clear.
    Mail,
    /// Mail after STARTTLS and a login.
    SafeMail,
}

impl Way {
    pub(crate) const ALL: [Self; 4] = [Self::Slack, Self::Webhook, Self::Mail, Self::SafeMail];
}

/// A message.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    pub(crate) way: Way,
    /// The message that a person reads: Slack's text, the event's text, the mail's subject.
    pub(crate) text: String,
    /// The message's id, where the way carries one.
    pub(crate) id: Option<String>,
    /// The event, in webhooks.
    pub(crate) event: serde_json::Value,
    /// To whom a mail is addressed.
    pub(crate) to: String,
    /// The body of a mail.
    pub(crate) body: String,
}

impl Told {
    /// Whether the message begins with `start`, such as `DOWN web`.
    pub(crate) fn starts(&self, start: &str) -> bool {
        self.text
            .strip_prefix(start)
            .is_some_and(|rest| rest.starts_with(' '))
    }
}

#[derive(Debug, Default)]
pub(crate) struct Inbox {
    told: Mutex<Vec<Told>>,
    more: Condvar,
}

impl Inbox {
    pub(crate) fn put(&self, told: Told) {
        self.told.lock().unwrap().push(told);
        self.more.notify_all();
    }

    pub(crate) fn all(&self) -> Vec<Told> {
        self.told.lock().unwrap().clone()
    }

    /// Waits until what has been told is enough. None when it is not after `patience`.
    pub(crate) fn wait<T>(&self, patience: Duration, enough: impl Fn(&[Told]) -> Option<T>) -> Option<T> {
        let told = self.told.lock().unwrap();
        let waiting = self
            .more
            .wait_timeout_while(told, patience, |told| enough(told).is_none());
        enough(&waiting.unwrap().0)
    }
}
