//! What came of one try to deliver: a receipt, or an error with a stable code and a word on trying again.

use std::{
    future::Future,
    pin::Pin,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

pub use lapwing_core::outbox::Retry;
use lapwing_core::{
    kind::CodeInfo,
    observation::{Fault, clean},
    time::short,
};
use lapwing_net::Stages;

use crate::redact::Redactor;

/// A boxed future of this crate.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// How long one try may take.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// Longest wait that a receiver can ask for; what it asks beyond is not believed.
pub(crate) const RETRY_AFTER_MAX: Duration = Duration::from_hours(24);

/// The receiver has it: a final 2xx, a 250 after DATA, a synced file, exit status 0.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Receipt {
    /// Something that should be known although it was delivered: a recipient that was refused.
    pub note: Option<String>,
}

impl Receipt {
    pub(crate) fn noted(note: impl Into<String>) -> Self {
        Self {
            note: Some(note.into()),
        }
    }
}

/// Why a message was not delivered. `message` is one sentence for people and holds no secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct DeliveryError {
    /// Stable, one of [`CODES`].
    pub code: &'static str,
    pub message: String,
    pub retry: Retry,
    /// The receiver may have it all the same; another try has to say so.
    pub maybe_arrived: bool,
}

/// Every code of a delivery that failed.
pub const CODES: &[CodeInfo] = &[
    CodeInfo {
        code: "notify.unreachable",
        doc: "The service could not be reached: name, route or connection.",
    },
    CodeInfo {
        code: "notify.tls",
        doc: "No trusted TLS connection to the service could be made.",
    },
    CodeInfo {
        code: "notify.timeout",
        doc: "The service did not give its final answer in time.",
    },
    CodeInfo {
        code: "notify.unavailable",
        doc: "The service answered that it cannot take the message now.",
    },
    CodeInfo {
        code: "notify.rate_limited",
        doc: "The service wants fewer messages; it is tried again when it allows.",
    },
    CodeInfo {
        code: "notify.auth",
        doc: "The service does not accept the token, password or key.",
    },
    CodeInfo {
        code: "notify.rejected",
        doc: "The service refused the message; it would refuse it again.",
    },
    CodeInfo {
        code: "notify.redirected",
        doc: "The service, or something on the way, redirects; redirects are not followed.",
    },
    CodeInfo {
        code: "notify.protocol",
        doc: "The answer is not what the protocol allows.",
    },
    CodeInfo {
        code: "notify.config",
        doc: "The notifier cannot work as it is configured on this machine.",
    },
    CodeInfo {
        code: "notify.file",
        doc: "The file could not be written.",
    },
    CodeInfo {
        code: "notify.command",
        doc: "The command could not be run, or did not end with status 0.",
    },
];

impl DeliveryError {
    pub(crate) fn new(code: &'static str, message: impl AsRef<str>, retry: Retry) -> Self {
        debug_assert!(CODES.iter().any(|c| c.code == code), "{code} is not listed");
        Self {
            code,
            message: clean(message.as_ref(), 500),
            retry,
            maybe_arrived: false,
        }
    }

    pub(crate) fn never(code: &'static str, message: impl AsRef<str>) -> Self {
        Self::new(code, message, Retry::Never)
    }

    pub(crate) fn backoff(code: &'static str, message: impl AsRef<str>) -> Self {
        Self::new(code, message, Retry::Backoff)
    }

    #[must_use]
    pub(crate) fn maybe_arrived(mut self, maybe: bool) -> Self {
        self.maybe_arrived = maybe;
        self
    }

    /// A fault of the network on the way to `service`. It passes, so it is tried again.
    pub(crate) fn network(service: &str, fault: &Fault, redactor: &Redactor) -> Self {
        let reason = fault.reason();
        let code = match reason.code.as_str() {
            code if code.starts_with("timeout.") => "notify.timeout",
            code if code.starts_with("tls.") => "notify.tls",
            _ => "notify.unreachable",
        };
        Self::backoff(code, format!("{service}: {}", redactor.quote(&reason.detail)))
    }
}

/// Whether the message has left: from then on nobody knows whether it arrived, until there is an answer.
#[derive(Default)]
pub(crate) struct Handed(AtomicBool);

impl Handed {
    pub(crate) fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// An HTTP request is on its way when its first byte of answer is awaited.
impl Stages for Handed {
    fn enter(&self, stage: &'static str) {
        if stage == "first_byte" {
            self.set();
        }
    }

    fn leave(&self) {}
}

/// `work`, ended at `limit` with an error that names `service`.
pub(crate) async fn within<T>(
    limit: Duration,
    service: &str,
    handed: &Handed,
    work: impl Future<Output = Result<T, DeliveryError>> + Send,
) -> Result<T, DeliveryError> {
    tokio::time::timeout(limit, work).await.unwrap_or_else(|_| {
        let message = format!("{service}: no final answer within {}", short(limit));
        Err(DeliveryError::backoff("notify.timeout", message).maybe_arrived(handed.get()))
    })
}
